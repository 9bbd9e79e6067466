/* Length-prefixed framing: where a frame begins and ends in a stream that was cut anywhere. */
#include "codec/frame.h"

#include "base/assert.h"

#define FORM_SHIFT       24
#define HEADER_SIZE_MASK 0xffffffu

/* length counts the header word itself. */
#define LENGTH_SIZE      4u
#define HEADER_WORD_SIZE 4u

static_assert(LENGTH_SIZE + HEADER_WORD_SIZE == SALVO_FRAME_PREFIX_SIZE, "the prefix is two words");
static_assert(SALVO_FRAME_SIZE_MAX <= HEADER_SIZE_MASK + 1, "a header size fits its 24 bits");

/* A literal that says what is wrong with a prefix, or NULL. */
static const char *frame_complaint(uint32_t length, uint32_t form, uint32_t header_size,
                                   uint32_t size_max)
{
    if (length < HEADER_WORD_SIZE)
        return "frame: length under 4";
    if (length > size_max - LENGTH_SIZE)
        return "frame: length over the limit";
    if (form != SALVO_HEADER_JSON && form != SALVO_HEADER_BINARY)
        return "frame: unknown header form";
    if (header_size == 0)
        return "frame: empty header";
    if (header_size > length - HEADER_WORD_SIZE)
        return "frame: header longer than the frame";
    return NULL;
}

int salvo_frame_parse(const void *bytes, size_t size, uint32_t size_max,
                      struct salvo_frame *ret_frame, const char **ret_why)
{
    const uint8_t *p = bytes;
    uint32_t length, header_word, header_size;
    const char *complaint;

    salvo_assert(size_max >= SALVO_FRAME_PREFIX_SIZE);
    salvo_assert(size_max <= SALVO_FRAME_SIZE_MAX);

    if (size < SALVO_FRAME_PREFIX_SIZE) {
        ret_frame->size = 0;
        return SALVO_FRAME_MORE;
    }
    length = salvo_load_be32(p);
    header_word = salvo_load_be32(p + LENGTH_SIZE);
    header_size = header_word & HEADER_SIZE_MASK;

    complaint = frame_complaint(length, header_word >> FORM_SHIFT, header_size, size_max);
    if (complaint != NULL) {
        *ret_why = complaint;
        return SALVO_FRAME_BAD;
    }
    ret_frame->size = LENGTH_SIZE + length;
    if (size < ret_frame->size)
        return SALVO_FRAME_MORE;

    ret_frame->form = (enum salvo_header_form)(header_word >> FORM_SHIFT);
    ret_frame->header_size = header_size;
    ret_frame->header = p + SALVO_FRAME_PREFIX_SIZE;
    ret_frame->body = ret_frame->header + header_size;
    ret_frame->body_size = length - HEADER_WORD_SIZE - header_size;
    return 0;
}

void salvo_frame_write_prefix(void *bytes, enum salvo_header_form form, uint32_t header_size,
                              uint32_t body_size)
{
    uint8_t *p = bytes;

    salvo_assert(header_size > 0);
    salvo_assert(header_size <= SALVO_FRAME_SIZE_MAX - SALVO_FRAME_PREFIX_SIZE);
    salvo_assert(body_size <= SALVO_FRAME_SIZE_MAX - SALVO_FRAME_PREFIX_SIZE - header_size);

    salvo_store_be32(p, HEADER_WORD_SIZE + header_size + body_size);
    salvo_store_be32(p + LENGTH_SIZE, (uint32_t)form << FORM_SHIFT | header_size);
}
