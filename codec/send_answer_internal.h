/* What the two files that read answers to sends share: send_answer.c, which reads any, and
 * send_answer_mould.c, which reads the next one like the last. */
#pragma once

#include "base/bytes.h"
#include "codec/send.h"

#include <endian.h>

#define BYTES(x) (UINT64_C(0x0101010101010101) * (x))

/* A read under way. Where its numbers stand is noted for the mould, on the fast ways only. */
struct salvo_answer_read {
    struct salvo_send_answer *answer;
    unsigned seen;
    struct salvo_text opaque;
    struct salvo_text queue_id;
    struct salvo_text queue_offset;
};

/* As salvo_send_answer_read, with notes. read->answer is set, the rest is zero. */
int salvo_answer_read_noted(struct salvo_answer_read *read, const struct salvo_frame *frame);

/* The last up to eight of a text's digits, in one word. At least eight bytes lie in front of
 * `text`, which may be read. False when one is no digit. */
static inline bool digits_8_read(const uint8_t *text, size_t size, uint64_t *ret_value)
{
    uint64_t word;

    memcpy(&word, text + size - 8, sizeof(word));
    /* Its last digit on top, zeros in place of what lies in front. */
    word = (le64toh(word) ^ BYTES('0')) >> (8 * (8 - size)) << (8 * (8 - size));
    if (((word | (word + BYTES(0x76))) & BYTES(0x80)) != 0)
        return false;
    word = word * 10 + (word >> 8); /* pairs, then fours, then all eight */
    word = (word & UINT64_C(0x000000ff000000ff)) * (UINT64_C(100) + (UINT64_C(1000000) << 32)) +
           (word >> 16 & UINT64_C(0x000000ff000000ff)) * (1 + (UINT64_C(10000) << 32));
    *ret_value = word >> 32;
    return true;
}

#define ID_SIZE 32u

typedef int8_t bytes_16 __attribute__((vector_size(16), aligned(1)));

/* True when 32 bytes are ASCII without a quote or a backslash. */
static bool id_plain(const uint8_t *text)
{
    bytes_16 low, high, odd;
    uint64_t words[2];

    memcpy(&low, text, sizeof(low));
    memcpy(&high, text + sizeof(low), sizeof(high));
    odd = (low == '"') | (high == '"') | (low == '\\') | (high == '\\') | ((low | high) < 0);
    memcpy(words, &odd, sizeof(words));
    return (words[0] | words[1]) == 0;
}
