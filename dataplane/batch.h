/* Batches: messages of one topic that may share a frame, gathered until full or due.
 *
 * One open batch for each key (topic, fixed queue or none, compressed, WAIT, budget). Items lie in
 * the batch's buffer in wire form (codec/message.h), so that closing one is writing a header. Lane
 * only. */
#pragma once

#include "base/base.h"
#include "dataplane/inflight.h"

enum salvo_batch_mode { SALVO_BATCH_MODE_OFF, SALVO_BATCH_MODE_NATURAL, SALVO_BATCH_MODE_LINGER };

struct salvo_batch_limits {
    enum salvo_batch_mode mode;
    int64_t linger_ns;
    uint32_t bytes_max;
    uint32_t count_max;
    uint32_t open_max;
};

struct salvo_batch_key {
    uint32_t topic;
    uint32_t queue; /* number of a fixed queue, or SALVO_QUEUE_NONE */
    uint32_t flags; /* SALVO_REQUEST_COMPRESSED, _ORDERED, _PINNED; SALVO_BATCH_NO_WAIT */
    int64_t budget_ns;
};
#define SALVO_BATCH_NO_WAIT (1u << 16)

struct salvo_batch {
    struct salvo_batch_key key;
    uint8_t *bytes; /* may be exchanged for another buffer of the same length */
    uint32_t used;
    uint32_t count;
    uint32_t item_first;
    uint32_t item_last;
    int64_t due_ns;      /* waits for company until then */
    int64_t deadline_ns; /* the earliest of its messages' */
    bool full;           /* takes no more: to be sent as soon as it can */
    bool held;           /* was ready and could not go: something else than time has to change */
};

struct salvo_batches {
    /* fixed after start */
    struct salvo_batch_limits limits;
    struct salvo_batch *open; /* the first `count` are open, oldest first */

    /* lane only */
    uint32_t count;
    uint32_t last; /* where the last message went: the next often goes there too */
};

/* buffers: open_max pieces of `room` bytes, at least bytes_max. */
void salvo_batches_init(struct salvo_batches *batches, const struct salvo_batch_limits *limits,
                        struct salvo_batch *open, uint8_t *buffers, size_t room);

/* The open batch of the key, or NULL. */
struct salvo_batch *salvo_batch_find(struct salvo_batches *batches,
                                     const struct salvo_batch_key *key);
/* Opens one; the caller has looked that fewer than open_max are open. */
struct salvo_batch *salvo_batch_open(struct salvo_batches *batches,
                                     const struct salvo_batch_key *key, int64_t now_ns,
                                     int64_t deadline_ns);
/* The time of one of its messages is up at deadline_ns: at least half of what is left of that is
 * for sending, not for waiting for company. */
void salvo_batch_end_by(struct salvo_batch *batch, int64_t now_ns, int64_t deadline_ns);
/* Adds an item; false when it does not fit (and the batch is then full). */
bool salvo_batch_add(struct salvo_batches *batches, struct salvo_batch *batch,
                     const struct salvo_batch_item *item);
/* Gives it up after its messages have moved on; others keep their order. */
void salvo_batch_close(struct salvo_batches *batches, struct salvo_batch *batch);
/* When the next one is due; INT64_MAX: none. */
int64_t salvo_batches_next_ns(const struct salvo_batches *batches);
