/* What both header forms share: texts, the ext table, the choice of the form, whole frames. */
#include "codec/header.h"

#include "base/error.h"

#include <errno.h>

int salvo_header_read(struct salvo_header *ret_header, enum salvo_header_form form,
                      const void *bytes, size_t size, void *scratch, size_t scratch_size)
{
    if (form == SALVO_HEADER_BINARY)
        return salvo_header_binary_read(ret_header, bytes, size);
    if (form == SALVO_HEADER_JSON)
        return salvo_header_json_read(ret_header, bytes, size, scratch, scratch_size);
    return salvo_raise(-EBADMSG);
}

ssize_t salvo_frame_write(void *ret_bytes, size_t size_max, enum salvo_header_form form,
                          const struct salvo_header *header, const void *body, uint32_t body_size)
{
    struct salvo_writer w = salvo_writer_over(ret_bytes, size_max);
    size_t header_size;

    if (salvo_write_room(&w, SALVO_FRAME_PREFIX_SIZE) == NULL)
        return salvo_raise(-ENOSPC);
    if (form == SALVO_HEADER_BINARY)
        salvo_header_binary_write(&w, header);
    else
        salvo_header_json_write(&w, header);
    header_size = salvo_writer_size(&w) - SALVO_FRAME_PREFIX_SIZE;
    salvo_write_bytes(&w, body, body_size);
    if (w.failed || salvo_writer_size(&w) > SALVO_FRAME_SIZE_MAX)
        return salvo_raise(-ENOSPC);

    salvo_frame_write_prefix(ret_bytes, form, (uint32_t)header_size, body_size);
    return (ssize_t)salvo_writer_size(&w);
}

struct salvo_text salvo_text_of(const char *terminated)
{
    if (terminated == NULL)
        return (struct salvo_text){0};
    return (struct salvo_text){terminated, (uint32_t)strlen(terminated)};
}

bool salvo_text_same(struct salvo_text a, struct salvo_text b)
{
    return a.size == b.size && memcmp(a.text, b.text, a.size) == 0;
}

bool salvo_text_equals(struct salvo_text text, const char *terminated)
{
    return text.text != NULL && salvo_text_same(text, salvo_text_of(terminated));
}

/* From behind: where a key comes twice, Java's map keeps the last. */
struct salvo_text salvo_header_ext(const struct salvo_header *header, const char *key)
{
    struct salvo_text wanted = salvo_text_of(key); /* measured once */

    for (uint32_t i = header->ext_count; i > 0; i--) {
        if (salvo_text_same(header->ext[i - 1].key, wanted))
            return header->ext[i - 1].value;
    }
    return (struct salvo_text){0};
}

int salvo_header_ext_integer(const struct salvo_header *header, const char *key, int64_t *ret_value)
{
    struct salvo_text value = salvo_header_ext(header, key);

    if (value.text == NULL)
        return -ENOENT;
    return salvo_parse_decimal(value.text, value.size, ret_value);
}

bool salvo_header_add(struct salvo_header *header, const char *key, struct salvo_text value)
{
    if (header->ext_count == SALVO_EXT_FIELDS_MAX)
        return false;
    header->ext[header->ext_count++] = (struct salvo_ext_field){salvo_text_of(key), value};
    header->has_ext = true;
    return true;
}
