/* What holds for a header of either form once it was read: its texts are whole, and written again
 * it reads the same. */
#pragma once

#include "tests/fuzz/fuzz.h"

#include "codec/send.h"

static inline bool fuzz_text_equal(struct salvo_text a, struct salvo_text b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.text, b.text, a.size) == 0);
}

static inline void fuzz_header_touch(const struct salvo_header *header)
{
    FUZZ_CHECK(header->ext_count <= SALVO_EXT_FIELDS_MAX);
    fuzz_touch(header->remark.text, header->remark.size);
    for (uint32_t i = 0; i < header->ext_count; i++) {
        FUZZ_CHECK(header->ext[i].key.text != NULL);
        FUZZ_CHECK(header->ext[i].value.text != NULL);
        fuzz_touch(header->ext[i].key.text, header->ext[i].key.size);
        fuzz_touch(header->ext[i].value.text, header->ext[i].value.size);
    }
}

/* Only for a header whose texts are what the form can carry. */
static inline void fuzz_header_again(const struct salvo_header *header, enum salvo_header_form form)
{
    static uint8_t bytes[1 << 20], scratch[1 << 20];
    struct salvo_writer w = salvo_writer_over(bytes, sizeof(bytes));
    struct salvo_header again;

    if (form == SALVO_HEADER_BINARY)
        salvo_header_binary_write(&w, header);
    else
        salvo_header_json_write(&w, header);
    if (w.failed)
        return;
    FUZZ_CHECK(salvo_header_read(&again, form, bytes, salvo_writer_size(&w), scratch,
                                 salvo_writer_size(&w)) == 0);
    FUZZ_CHECK(again.code == header->code);
    FUZZ_CHECK(again.version == header->version);
    FUZZ_CHECK(again.opaque == header->opaque);
    FUZZ_CHECK(again.flag == header->flag);
    FUZZ_CHECK(fuzz_text_equal(again.remark, header->remark));
    FUZZ_CHECK(again.ext_count == header->ext_count);
    for (uint32_t i = 0; i < header->ext_count; i++) {
        FUZZ_CHECK(fuzz_text_equal(again.ext[i].key, header->ext[i].key));
        FUZZ_CHECK(fuzz_text_equal(again.ext[i].value, header->ext[i].value));
    }
}

/* A send read out of it can be written, and reads the same. */
static inline void fuzz_header_send(const struct salvo_header *header)
{
    struct salvo_send_fields fields;
    const char *why = NULL;

    if (salvo_send_read(header, &fields, &why)) {
        FUZZ_CHECK(why != NULL);
        return;
    }
    fuzz_touch(fields.properties.text, fields.properties.size);
    fuzz_touch(fields.topic.text, fields.topic.size);
}
