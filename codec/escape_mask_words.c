/* Eight bytes at a time in a word, little-endian as everywhere in salvo. */
#include "codec/escape_mask.h"

#include "base/assert.h"

#include <string.h>

#define BYTES(x) (UINT64_C(0x0101010101010101) * (x))

/* Exact: the sums stay inside their bytes. */
static uint64_t mask_8(const uint8_t *text)
{
    uint64_t x, plain, quote, backslash;

    memcpy(&x, text, sizeof(x));
    quote = x ^ BYTES('"');
    backslash = x ^ BYTES('\\');
    plain = ((x & BYTES(0x7f)) + BYTES(0x80 - 0x20)) | x;
    plain &= ((quote & BYTES(0x7f)) + BYTES(0x7f)) | quote;
    plain &= ((backslash & BYTES(0x7f)) + BYTES(0x7f)) | backslash;
    /* Gathers the eight top bits. */
    return ((~plain & BYTES(0x80)) >> 7) * UINT64_C(0x0102040810204080) >> 56;
}

uint64_t salvo_escape_mask(const uint8_t *text, size_t size)
{
    uint64_t mask = 0;
    size_t at = 0;

    salvo_assert(size > 0);
    salvo_assert(size <= SALVO_ESCAPE_BLOCK_SIZE);

    for (; at + 8 <= size; at += 8)
        mask |= mask_8(text + at) << at;
    for (; at < size; at++)
        mask |= (uint64_t)(text[at] < 0x20 || text[at] == '"' || text[at] == '\\') << at;
    return mask;
}
