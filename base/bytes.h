/* Bounded big-endian reader and writer: the only code that moves a pointer over foreign bytes.
 *
 * Both are sticky: after the first access past the end `failed` is set, reads return 0 and writes
 * do nothing, so that a parser checks once at its end. They own nothing and never allocate. */
#pragma once

#include "base/base.h"

#include <string.h>

struct salvo_reader {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
};

struct salvo_writer {
    uint8_t *start;
    uint8_t *at;
    uint8_t *end;
    bool failed;
};

/* `bytes` may be NULL when size is 0; NULL + 0 is undefined in C, hence the condition. */
static inline struct salvo_reader salvo_reader_over(const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    return (struct salvo_reader){.at = p, .end = size == 0 ? p : p + size};
}

static inline struct salvo_writer salvo_writer_over(void *bytes, size_t size)
{
    uint8_t *p = bytes;
    return (struct salvo_writer){.start = p, .at = p, .end = size == 0 ? p : p + size};
}

static inline size_t salvo_reader_left(const struct salvo_reader *r)
{
    return r->failed ? 0 : (size_t)(r->end - r->at);
}

static inline size_t salvo_writer_size(const struct salvo_writer *w)
{
    return (size_t)(w->at - w->start);
}

static inline size_t salvo_writer_room(const struct salvo_writer *w)
{
    return w->failed ? 0 : (size_t)(w->end - w->at);
}

/* The next `size` bytes, or NULL when there are fewer (and the reader has failed). */
static inline const uint8_t *salvo_read_bytes(struct salvo_reader *r, size_t size)
{
    const uint8_t *at = r->at;

    if (SALVO_UNLIKELY(r->failed || (size_t)(r->end - at) < size)) {
        r->failed = true;
        return NULL;
    }
    r->at = at + size;
    return at;
}

static inline uint64_t salvo_load_be(const uint8_t *p, unsigned size)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++)
        value = value << 8 | p[i];
    return value;
}

static inline uint16_t salvo_load_be16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof(v));
    return __builtin_bswap16(v);
}

static inline uint32_t salvo_load_be32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return __builtin_bswap32(v);
}

static inline uint64_t salvo_load_be64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return __builtin_bswap64(v);
}

static inline void salvo_store_be16(void *p, uint16_t v)
{
    v = __builtin_bswap16(v);
    memcpy(p, &v, sizeof(v));
}

static inline void salvo_store_be32(void *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(p, &v, sizeof(v));
}

static inline void salvo_store_be64(void *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, sizeof(v));
}

static inline uint8_t salvo_read_u8(struct salvo_reader *r)
{
    const uint8_t *p = salvo_read_bytes(r, 1);
    return p == NULL ? 0 : *p;
}

static inline uint16_t salvo_read_u16(struct salvo_reader *r)
{
    const uint8_t *p = salvo_read_bytes(r, 2);
    return p == NULL ? 0 : salvo_load_be16(p);
}

static inline uint32_t salvo_read_u32(struct salvo_reader *r)
{
    const uint8_t *p = salvo_read_bytes(r, 4);
    return p == NULL ? 0 : salvo_load_be32(p);
}

static inline uint64_t salvo_read_u64(struct salvo_reader *r)
{
    const uint8_t *p = salvo_read_bytes(r, 8);
    return p == NULL ? 0 : salvo_load_be64(p);
}

/* Room for `size` bytes, or NULL when there is less (and the writer has failed). */
static inline uint8_t *salvo_write_room(struct salvo_writer *w, size_t size)
{
    uint8_t *at = w->at;

    if (SALVO_UNLIKELY(w->failed || (size_t)(w->end - at) < size)) {
        w->failed = true;
        return NULL;
    }
    w->at = at + size;
    return at;
}

static inline void salvo_write_bytes(struct salvo_writer *w, const void *bytes, size_t size)
{
    uint8_t *p = salvo_write_room(w, size);
    if (p != NULL && size != 0)
        memcpy(p, bytes, size);
}

static inline void salvo_write_text(struct salvo_writer *w, const char *text)
{
    salvo_write_bytes(w, text, strlen(text));
}

static inline void salvo_write_u8(struct salvo_writer *w, uint8_t v)
{
    uint8_t *p = salvo_write_room(w, 1);
    if (p != NULL)
        *p = v;
}

static inline void salvo_write_u16(struct salvo_writer *w, uint16_t v)
{
    uint8_t *p = salvo_write_room(w, 2);
    if (p != NULL)
        salvo_store_be16(p, v);
}

static inline void salvo_write_u32(struct salvo_writer *w, uint32_t v)
{
    uint8_t *p = salvo_write_room(w, 4);
    if (p != NULL)
        salvo_store_be32(p, v);
}

static inline void salvo_write_u64(struct salvo_writer *w, uint64_t v)
{
    uint8_t *p = salvo_write_room(w, 8);
    if (p != NULL)
        salvo_store_be64(p, v);
}

/* Decimal text of a signed number, without a terminator. */
void salvo_write_decimal(struct salvo_writer *w, int64_t value);

/* Upper-case hex of `size` bytes, as Java's UtilAll.bytes2string writes it: 2 * size digits. */
void salvo_hex_encode(char *to, const void *bytes, size_t size);
void salvo_write_hex(struct salvo_writer *w, const void *bytes, size_t size);

/* Reads a whole decimal text ("-12"). 0, or -EINVAL when it is empty, holds anything else or does
 * not fit; *ret_value is then untouched. */
int salvo_parse_decimal(const char *text, size_t size, int64_t *ret_value);

/* The size (1 to 4) of the well-formed UTF-8 sequence that starts at p, or 0 when there is none. */
unsigned salvo_utf8_sequence(const uint8_t *p, size_t left);

/* True when the bytes are well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates). */
bool salvo_utf8_valid(const void *bytes, size_t size);

/* The size of the character that starts at p, or 0 when a terminal must not have it: what is not
 * UTF-8, and controls, the old ones as those of Unicode (U+0080 to U+009F). */
unsigned salvo_utf8_printable(const uint8_t *p, size_t left);

/* For what a peer said, before it is shown: it must not start a new line or drive the terminal.
 * In place, a byte for a byte: the old controls become spaces, all else that is not printable
 * becomes question marks. */
void salvo_text_make_printable(char *text);
