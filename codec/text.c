/* The fast JSON escaper: finds the bytes to escape 64 at a time, as a bit mask, so that copying
 * what lies between them does not wait for the search. Words are little-endian, as everywhere in
 * salvo. */
#include "codec/text.h"

#include "base/assert.h"

#include <string.h>

#define PAIRS(t) t "0" t "1" t "2" t "3" t "4" t "5" t "6" t "7" t "8" t "9"
const char salvo_digit_pairs[200] = PAIRS("0") PAIRS("1") PAIRS("2") PAIRS("3") PAIRS("4")
    PAIRS("5") PAIRS("6") PAIRS("7") PAIRS("8") PAIRS("9");

/* The escape of each byte up to '\\', eight bytes to store; the last one is its length. Zero: none.
 */
#define SHORT(c)                                                                                   \
    {                                                                                              \
        '\\', (c), 0, 0, 0, 0, 0, 2                                                                \
    }
#define LONG(high, low)                                                                            \
    {                                                                                              \
        '\\', 'u', '0', '0', (high), (low), 0, 6                                                   \
    }
static const char escapes['\\' + 1][8] = {
    LONG('0', '0'), LONG('0', '1'), LONG('0', '2'),     LONG('0', '3'),       LONG('0', '4'),
    LONG('0', '5'), LONG('0', '6'), LONG('0', '7'),     SHORT('b'),           SHORT('t'),
    SHORT('n'),     LONG('0', 'b'), SHORT('f'),         SHORT('r'),           LONG('0', 'e'),
    LONG('0', 'f'), LONG('1', '0'), LONG('1', '1'),     LONG('1', '2'),       LONG('1', '3'),
    LONG('1', '4'), LONG('1', '5'), LONG('1', '6'),     LONG('1', '7'),       LONG('1', '8'),
    LONG('1', '9'), LONG('1', 'a'), LONG('1', 'b'),     LONG('1', 'c'),       LONG('1', 'd'),
    LONG('1', 'e'), LONG('1', 'f'), ['"'] = SHORT('"'), ['\\'] = SHORT('\\'),
};

#define BLOCK_SIZE 64u
#define COPY_SIZE  16u

#define BYTES(x) (UINT64_C(0x0101010101010101) * (x))

static_assert(SALVO_ESCAPE_SLACK >= COPY_SIZE + sizeof(escapes[0]),
              "a copy and an escape may overrun");

/* Bit i is set when byte i of the word is a control character, a quote or a backslash. Exact: the
 * sums stay inside their bytes. */
static uint64_t escape_mask_word(const uint8_t *p)
{
    uint64_t x, plain, quote, backslash;

    memcpy(&x, p, sizeof(x));
    quote = x ^ BYTES('"');
    backslash = x ^ BYTES('\\');
    plain = ((x & BYTES(0x7f)) + BYTES(0x80 - 0x20)) | x;
    plain &= ((quote & BYTES(0x7f)) + BYTES(0x7f)) | quote;
    plain &= ((backslash & BYTES(0x7f)) + BYTES(0x7f)) | backslash;
    /* Gathers the eight top bits. */
    return ((~plain & BYTES(0x80)) >> 7) * UINT64_C(0x0102040810204080) >> 56;
}

static uint64_t escape_mask(const uint8_t *block)
{
    uint64_t mask = 0;

    for (unsigned i = 0; i < BLOCK_SIZE / 8; i++)
        mask |= escape_mask_word(block + 8 * i) << 8 * i;
    return mask;
}

/* Copies a run in steps of 16; reads and writes up to 15 bytes past it. */
static uint8_t *escape_run(uint8_t *out, const uint8_t *text, size_t size)
{
    for (size_t i = 0; i < size; i += COPY_SIZE)
        memcpy(out + i, text + i, COPY_SIZE);
    return out + size;
}

/* One block of `size` bytes; 15 more may be read behind it. */
static uint8_t *escape_block(uint8_t *out, const uint8_t *block, size_t size, uint64_t mask)
{
    size_t at = 0;

    while (mask != 0) {
        size_t next = (size_t)__builtin_ctzll(mask);
        const char *escape = escapes[block[next]];

        out = escape_run(out, block + at, next - at);
        memcpy(out, escape, sizeof(escapes[0]));
        out += escape[7];
        at = next + 1;
        mask &= mask - 1;
    }
    return escape_run(out, block + at, size - at);
}

uint8_t *salvo_escape(uint8_t *out, const void *text, size_t size)
{
    const uint8_t *at = text;
    uint8_t tail[BLOCK_SIZE + COPY_SIZE];

    while (size >= sizeof(tail)) {
        out = escape_block(out, at, BLOCK_SIZE, escape_mask(at));
        at += BLOCK_SIZE;
        size -= BLOCK_SIZE;
    }
    /* The rest may not be read past its end: it moves where it may. At most two rounds. */
    for (size_t part; size > 0; at += part, size -= part) {
        uint64_t mask;

        part = SALVO_MIN(size, (size_t)BLOCK_SIZE);
        memset(tail, ' ', sizeof(tail));
        memcpy(tail, at, part);
        mask = escape_mask(tail);
        out = escape_block(out, tail, part, mask);
    }
    return out;
}
