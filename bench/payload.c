/* Bodies, keys and tags from a seed: see payload.h. */
#include "bench/payload.h"
#include "base/assert.h"
#include "base/bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Random and constant bytes alternate in units of this size. zlib spends some 3 bytes on a run and
 * on going back to literals: 0.3 % of 1 KiB. Shorter bodies are one unit. */
#define PAYLOAD_UNIT 1024u

/* Bodies are cut from the pool one behind the other, which the CPU fetches ahead by itself. It is
 * wider than zlib's window of 32 KiB, so that nothing repeats within reach, and takes no more of
 * the second-level cache than that needs: what is measured needs the rest. */
#define PAYLOAD_POOL_MIN (128u * 1024u)

#define PAYLOAD_RUN_BYTE 0x20

int salvo_payload_init(struct salvo_payload *payload, const struct salvo_payload_conf *conf)
{
    uint64_t span = SALVO_MAX((uint64_t)PAYLOAD_POOL_MIN, conf->size_max);

    if (conf->size_min < 1 || conf->size_min > conf->size_max || conf->size_max > SALVO_MIB(64))
        return -EINVAL;
    if (!(conf->compressibility >= 0 && conf->compressibility <= 1))
        return -EINVAL;
    if (conf->tags_count > SALVO_PAYLOAD_TAGS_MAX)
        return -EINVAL;
    span = salvo_align_up(span, 8);
    *payload = (struct salvo_payload){.conf = *conf, .pool_span = span};
    payload->pool = malloc(span + salvo_align_up(conf->size_max, 8));
    if (payload->pool == NULL)
        return -ENOMEM;
    salvo_random_init(&payload->random, conf->seed);
    for (uint64_t i = 0; i < span + salvo_align_up(conf->size_max, 8); i += 8) {
        uint64_t word = salvo_random_next(&payload->random);

        memcpy(payload->pool + i, &word, sizeof(word));
    }
    return 0;
}

void salvo_payload_deinit(struct salvo_payload *payload)
{
    free(payload->pool);
    payload->pool = NULL;
}

static void payload_next_key(char ret_key[SALVO_PAYLOAD_KEY_MAX], uint64_t value)
{
    char digits[20];
    unsigned count = 0;

    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    *ret_key++ = 'k';
    while (count > 0)
        *ret_key++ = digits[--count];
    *ret_key = '\0';
}

void salvo_payload_next(struct salvo_payload *payload, struct salvo_payload_draw *ret_draw)
{
    const struct salvo_payload_conf *conf = &payload->conf;
    struct salvo_random *random = &payload->random;

    ret_draw->number = payload->number++;
    ret_draw->size = conf->size_min;
    if (conf->size_max > conf->size_min)
        ret_draw->size += salvo_random_below(random, conf->size_max - conf->size_min + 1);
    if (payload->pool_at >= payload->pool_span) /* each lap starts elsewhere */
        payload->pool_at = salvo_random_below(random, PAYLOAD_UNIT);
    ret_draw->pool_offset = payload->pool_at;
    payload->pool_at += ret_draw->size;
    ret_draw->tag = NULL;
    if (conf->tags_count > 0)
        ret_draw->tag = conf->tags[salvo_random_below(random, conf->tags_count)];
    ret_draw->key[0] = '\0';
    if (conf->keys > 0)
        payload_next_key(ret_draw->key, salvo_random_below(random, conf->keys));
}

static void payload_fill_units(uint8_t *body, const uint8_t *from, uint64_t size, double share)
{
    for (uint64_t at = 0; at < size;) {
        uint64_t unit = SALVO_MIN(size - at, (uint64_t)PAYLOAD_UNIT);
        uint64_t run = (uint64_t)((double)unit * share + 0.5);

        memcpy(body + at, from + at, unit - run);
        if (run > 0)
            memset(body + at + unit - run, PAYLOAD_RUN_BYTE, run);
        at += unit;
    }
}

void salvo_payload_fill(const struct salvo_payload *payload, const struct salvo_payload_draw *draw,
                        void *ret_body)
{
    const uint8_t *from = payload->pool + draw->pool_offset;
    double share = payload->conf.compressibility;
    uint8_t *body = ret_body;
    uint8_t number[8];

    if (share > 0)
        payload_fill_units(body, from, draw->size, share);
    else
        memcpy(body, from, draw->size);
    salvo_store_be64(number, draw->number);
    if (draw->size >= sizeof(number))
        memcpy(body, number, sizeof(number));
    else
        memcpy(body, number + sizeof(number) - draw->size, draw->size);
}
