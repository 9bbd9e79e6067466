/* What a generated message carries: size, contents, key, tag. All of it follows from the seed.
 *
 * Bodies are cut from a pool of random bytes that is made once; the compressible share of each is a
 * run of one byte value. The first bytes of a body are its number, so that no two are equal.
 * Drawing and filling allocate nothing. Owner: one thread. */
#pragma once

#include "base/random.h"

#define SALVO_PAYLOAD_TAGS_MAX 64
#define SALVO_PAYLOAD_KEY_MAX  24 /* "k" and up to 20 digits, terminated */

struct salvo_payload_conf {
    uint64_t size_min; /* 1 .. size_max */
    uint64_t size_max;
    double compressibility; /* 0 .. 1: the share of a body that zlib takes away */
    uint64_t keys;          /* how many different keys; 0: messages have none */
    const char *tags[SALVO_PAYLOAD_TAGS_MAX];
    unsigned tags_count; /* 0: messages have none */
    uint64_t seed;
};

/* The next message, drawn and not yet filled. */
struct salvo_payload_draw {
    uint64_t number; /* 0, 1, 2, ... */
    uint64_t size;
    uint64_t pool_offset;
    const char *tag;                 /* NULL: none */
    char key[SALVO_PAYLOAD_KEY_MAX]; /* "": none */
};

struct salvo_payload {
    struct salvo_payload_conf conf;
    struct salvo_random random;
    uint64_t number;
    uint8_t *pool;
    uint64_t pool_span; /* a body may start at 0 .. pool_span - 1 */
    uint64_t pool_at;   /* where the next one starts */
};

/* 0, -EINVAL (sizes, share) or -ENOMEM. */
int salvo_payload_init(struct salvo_payload *payload, const struct salvo_payload_conf *conf);
void salvo_payload_deinit(struct salvo_payload *payload);

void salvo_payload_next(struct salvo_payload *payload, struct salvo_payload_draw *ret_draw);

/* Writes draw->size bytes. */
void salvo_payload_fill(const struct salvo_payload *payload, const struct salvo_payload_draw *draw,
                        void *ret_body);
