/* The fast JSON escaper: finds the bytes to escape 64 at a time, as a bit mask, so that copying
 * what lies between them does not wait for the search. Words are little-endian, as everywhere in
 * salvo. */
#include "codec/text.h"

#include "base/assert.h"
#include "codec/escape_mask.h"

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

/* A run between two escapes is copied in whole pieces: 32 bytes hold an id, most others are
 * shorter. */
#define COPY_SIZE 32u

static_assert(SALVO_ESCAPE_SLACK >= COPY_SIZE + sizeof(escapes[0]), "both may overrun");

/* Copies a run that ends before `end`. Writes up to 31 bytes past it and reads as many, if they are
 * there. */
static uint8_t *escape_run(uint8_t *out, const uint8_t *text, size_t size, const uint8_t *end)
{
    if (SALVO_LIKELY((size_t)(end - text) >= COPY_SIZE && size <= COPY_SIZE))
        memcpy(out, text, COPY_SIZE);
    else if (size > 0)
        memcpy(out, text, size);
    return out + size;
}

uint8_t *salvo_escape(uint8_t *out, const void *text, size_t size)
{
    const uint8_t *block = text, *end = block + size, *copied = block;

    while (block < end) {
        size_t part = SALVO_MIN((size_t)(end - block), (size_t)SALVO_ESCAPE_BLOCK_SIZE);
        uint64_t mask = salvo_escape_mask(block, part);

        for (; mask != 0; mask &= mask - 1) {
            const uint8_t *at = block + __builtin_ctzll(mask);
            const char *escape = escapes[*at];

            out = escape_run(out, copied, (size_t)(at - copied), end);
            memcpy(out, escape, sizeof(escapes[0]));
            out += escape[7];
            copied = at + 1;
        }
        block += part;
    }
    return escape_run(out, copied, (size_t)(end - copied), end);
}
