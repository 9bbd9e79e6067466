/* The binary header form (RocketMQSerializable.java).
 *
 *   2 code   1 language   2 version   4 opaque   4 flag
 *   4 remark size, remark
 *   4 ext size, then until it is used up:   2 key size, key   4 value size, value
 *
 * All sizes are signed in Java: a negative one is as bad as one past the end. An empty remark, key
 * or value is null to Java 4.9 and later, so empty ones are neither written nor reported. */
#include "codec/header.h"

#include "base/error.h"

#include <errno.h>
#include <limits.h>

/* `size` bytes as a text, absent when there are none. */
static struct salvo_text binary_read_text(struct salvo_reader *r, uint32_t size)
{
    const uint8_t *p;

    if (size > INT32_MAX) {
        r->failed = true;
        return (struct salvo_text){0};
    }
    p = salvo_read_bytes(r, size);
    if (p == NULL || size == 0)
        return (struct salvo_text){0};
    return (struct salvo_text){(const char *)p, size};
}

static struct salvo_text binary_read_key(struct salvo_reader *r)
{
    uint16_t size = salvo_read_u16(r);

    return binary_read_text(r, size > INT16_MAX ? UINT32_MAX : size);
}

/* Takes the ext block, all of the reader. Each round uses at least six bytes. */
static int binary_read_ext(struct salvo_header *header, struct salvo_reader *r)
{
    while (salvo_reader_left(r) > 0) {
        struct salvo_ext_field field;

        field.key = binary_read_key(r);
        field.value = binary_read_text(r, salvo_read_u32(r));
        if (r->failed)
            return salvo_raise(-EBADMSG);
        if (field.key.text == NULL || field.value.text == NULL)
            continue;
        if (header->ext_count == SALVO_EXT_FIELDS_MAX)
            return salvo_raise(-EBADMSG);
        header->ext[header->ext_count++] = field;
    }
    return 0;
}

int salvo_header_binary_read(struct salvo_header *ret_header, const void *bytes, size_t size)
{
    struct salvo_reader r = salvo_reader_over(bytes, size);
    struct salvo_reader ext;
    struct salvo_header header;
    uint32_t ext_size;
    int error;

    header.code = (int16_t)salvo_read_u16(&r);
    header.language = salvo_read_u8(&r);
    header.version = (int16_t)salvo_read_u16(&r);
    header.opaque = (int32_t)salvo_read_u32(&r);
    header.flag = (int32_t)salvo_read_u32(&r);
    header.remark = binary_read_text(&r, salvo_read_u32(&r));
    ext_size = salvo_read_u32(&r);
    if (r.failed || ext_size != salvo_reader_left(&r))
        return salvo_raise(-EBADMSG);

    header.has_ext = ext_size > 0;
    header.ext_count = 0;
    ext = salvo_reader_over(r.at, ext_size);
    error = binary_read_ext(&header, &ext);
    if (error)
        return salvo_trace(error);
    *ret_header = header;
    return 0;
}

static void binary_write_field(struct salvo_writer *w, const struct salvo_ext_field *field)
{
    if (field->key.text == NULL || field->key.size == 0 || field->value.text == NULL ||
        field->value.size == 0)
        return;
    if (field->key.size > INT16_MAX || field->value.size > INT32_MAX) {
        w->failed = true;
        return;
    }
    salvo_write_u16(w, (uint16_t)field->key.size);
    salvo_write_bytes(w, field->key.text, field->key.size);
    salvo_write_u32(w, field->value.size);
    salvo_write_bytes(w, field->value.text, field->value.size);
}

void salvo_header_binary_write(struct salvo_writer *w, const struct salvo_header *header)
{
    uint8_t *ext_size;

    salvo_write_u16(w, (uint16_t)header->code);
    salvo_write_u8(w, (uint8_t)header->language);
    salvo_write_u16(w, (uint16_t)header->version);
    salvo_write_u32(w, (uint32_t)header->opaque);
    salvo_write_u32(w, (uint32_t)header->flag);
    if (header->remark.text == NULL) {
        salvo_write_u32(w, 0);
    } else {
        salvo_write_u32(w, header->remark.size);
        salvo_write_bytes(w, header->remark.text, header->remark.size);
    }
    ext_size = salvo_write_room(w, 4);
    for (uint32_t i = 0; i < header->ext_count; i++)
        binary_write_field(w, &header->ext[i]);
    if (!w->failed)
        salvo_store_be32(ext_size, (uint32_t)(w->at - (ext_size + 4)));
}
