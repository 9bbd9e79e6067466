/* The one ring of the program: single producer, single consumer, records of bytes.
 *
 *     producer:  claim -> write -> commit ... -> publish
 *                claim_burst -> (burst_next -> write) ... -> commit_burst ... -> publish
 *
 *     consumer:  peek -> read -> advance ... -> release
 *
 * A record is an 8-byte header and its payload, rounded up to 8. It never wraps: where the rest of
 * the ring is too short a padding record fills it. Several commits may share one publish, several
 * advances one release: each publish and release costs the other core a cache miss.
 *
 * Memory ordering. There are two words that both sides touch, `tail` and `head`, each stored by one
 * side:
 *
 * T: publish stores tail with release: every byte of the records in front of it was written before.
 * Pairs with the acquire load of tail in peek (t): who sees the tail sees the records.
 *
 * H: release stores head with release: the consumer has read the records behind it, and written
 * into them, for the last time. Pairs with the acquire load of head in claim (h): who sees the room
 * may overwrite it.
 *
 * Both sides keep the other's word in a cached copy and load it anew only when the copy says full
 * or empty: that load is the miss that a ring costs. Positions run free in 64 bits and are compared
 * by difference; index = position & mask. The two sides' fields stand two lines apart, because the
 * neighbour-line prefetcher fetches pairs.
 *
 * The front of the memory. A ring for large records is mostly empty, and to walk through all of it
 * would put each record where the caches have nothing. So whenever SALVO_RING_WARM bytes were used
 * the producer looks whether the consumer has given everything back, and if so moves on to the next
 * position whose index is 0, without a record: what lies between was never used, and all of the
 * ring is free.
 *
 * S: it stores that position in `start`, before the next publish (T). The consumer, which had read
 * and released all there was, loads tail before it reads on (t), then start (s), and follows.
 * Positions in front of start hold nothing: a head that is not there yet counts as start.
 *
 * Bursts. A core's stores become visible in order, and several to one line at once. Stores to the
 * ring's own fields between those to two records end such a run, and while a line comes from the
 * other core everything behind it waits: records that are laid in one claim touch the fields once
 * for all of them (8 bytes each, two cores: 6.4 ns one by one, 2.8 in bursts of 8).
 *
 * Sleeping consumers are not the ring's business: a producer that must wake somebody stores tail
 * (T), then a full fence, then looks at the consumer's `asleep` word; the consumer stores `asleep`,
 * a full fence, then peeks once more (lane.c). One of the two sees the other. */
#pragma once

#include "base/assert.h"
#include "base/base.h"

enum salvo_ring_code { SALVO_RING_FULL = 1 };

/* So much is used of a large ring that never fills. A part of a core's own cache. */
#define SALVO_RING_WARM SALVO_KIB(64)

struct salvo_ring_record {
    uint32_t size;    /* of the payload */
    uint32_t padding; /* 1: nothing but filler */
};

#define SALVO_RING_RECORD_HEADER sizeof(struct salvo_ring_record)
static_assert(sizeof(struct salvo_ring_record) == 8, "payloads are 8-byte aligned");

struct salvo_ring {
    /* fixed after start */
    uint8_t *memory;
    uint64_t size; /* power of two */

    /* producer only */
    alignas(2 * SALVO_CACHE_LINE) uint64_t tail_next; /* behind what was committed */
    uint64_t claim_size;                              /* payload size of the open claim, 0: none */
    uint64_t head_cached;
    uint64_t index_end; /* no record reaches beyond: the memory's end, or where to look whether the
                           ring is empty */

    /* producer -> consumer */
    alignas(2 * SALVO_CACHE_LINE) _Atomic uint64_t tail;
    _Atomic uint64_t start;

    /* consumer only */
    alignas(2 * SALVO_CACHE_LINE) uint64_t head_next; /* in front of what was advanced over */
    uint64_t tail_cached;

    /* consumer -> producer */
    alignas(2 * SALVO_CACHE_LINE) _Atomic uint64_t head;
};

/* memory: `size` bytes, 8-byte aligned, size a power of two of at least 64. `position` is where
 * both ends start: 0, but in tests just below the wrap of the counters. */
void salvo_ring_init(struct salvo_ring *ring, void *memory, uint64_t size, uint64_t position);

static inline uint64_t salvo_ring_record_size(uint64_t payload_size)
{
    return SALVO_RING_RECORD_HEADER + ((payload_size + 7) & ~UINT64_C(7));
}

/* Looks how far the consumer is. Thread: producer. */
static inline void salvo_ring_look_back(struct salvo_ring *ring)
{
    uint64_t start = atomic_load_explicit(&ring->start, memory_order_relaxed); /* our own */
    /* (h) pairs with (H) in salvo_ring_release. */
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);

    ring->head_cached = (int64_t)(head - start) < 0 ? start : head;
}

/* Whether `need` bytes are free behind tail_next. Thread: producer. */
static inline bool salvo_ring_has_room(struct salvo_ring *ring, uint64_t need)
{
    if (SALVO_LIKELY(ring->size - (ring->tail_next - ring->head_cached) >= need))
        return true;
    salvo_ring_look_back(ring);
    return ring->size - (ring->tail_next - ring->head_cached) >= need;
}

/* False when there is no room for `need` bytes that would reach beyond index_end; tail_next is
 * where they begin. */
bool salvo_ring_turn(struct salvo_ring *ring, uint64_t need);

/* Room for a payload of up to size_max bytes, or SALVO_RING_FULL. size_max is 1 to half the ring
 * less the header. One claim is open at a time; it ends with commit or abort. Thread: producer. */
static inline int salvo_ring_claim(struct salvo_ring *ring, uint64_t size_max, void **ret_payload)
{
    uint64_t need = salvo_ring_record_size(size_max);
    uint64_t index = ring->tail_next & (ring->size - 1);

    salvo_assert(ring->claim_size == 0);
    salvo_assert(size_max != 0 && need <= ring->size / 2);
    if (SALVO_UNLIKELY(index + need > ring->index_end)) {
        if (!salvo_ring_turn(ring, need))
            return SALVO_RING_FULL;
        index = ring->tail_next & (ring->size - 1);
    } else if (!salvo_ring_has_room(ring, need)) {
        return SALVO_RING_FULL;
    }
    ring->claim_size = size_max;
    *ret_payload = ring->memory + index + SALVO_RING_RECORD_HEADER;
    return 0;
}

/* At least how many payloads of up to size_max bytes can be claimed. Thread: producer. */
static inline uint64_t salvo_ring_room(struct salvo_ring *ring, uint64_t size_max)
{
    salvo_ring_look_back(ring);
    uint64_t records =
        (ring->size - (ring->tail_next - ring->head_cached)) / salvo_ring_record_size(size_max);
    return records - (records != 0); /* one may go into padding */
}

/* Ends the claim with what it really holds: 1 to the claimed size. Not yet visible. */
static inline void salvo_ring_commit(struct salvo_ring *ring, uint64_t size)
{
    struct salvo_ring_record *record =
        (struct salvo_ring_record *)(void *)(ring->memory + (ring->tail_next & (ring->size - 1)));

    salvo_assert(size != 0 && size <= ring->claim_size);
    record->size = (uint32_t)size;
    record->padding = 0;
    ring->tail_next += salvo_ring_record_size(size);
    ring->claim_size = 0;
}

/* Gives the claim up; no record was added. */
static inline void salvo_ring_abort(struct salvo_ring *ring)
{
    salvo_assert(ring->claim_size != 0);
    ring->claim_size = 0;
}

/* A claim that holds several records. On the producer's stack. */
struct salvo_ring_burst {
    uint8_t *from;
    uint8_t *at; /* the next record */
    uint8_t *end;
};

/* Room for records of `size` bytes together, salvo_ring_record_size() each, or SALVO_RING_FULL.
 * size is at most half the ring. An open claim as any other; it ends with commit_burst. */
static inline int salvo_ring_claim_burst(struct salvo_ring *ring, uint64_t size,
                                         struct salvo_ring_burst *ret_burst)
{
    void *payload;
    int r = salvo_ring_claim(ring, size - SALVO_RING_RECORD_HEADER, &payload);

    if (SALVO_UNLIKELY(r != 0))
        return r;
    ret_burst->from = (uint8_t *)payload - SALVO_RING_RECORD_HEADER;
    ret_burst->at = ret_burst->from;
    ret_burst->end = ret_burst->from + size;
    return 0;
}

/* The payload, `size` bytes, of the burst's next record. */
static inline void *salvo_ring_burst_next(struct salvo_ring_burst *burst, uint32_t size)
{
    struct salvo_ring_record *record = (struct salvo_ring_record *)(void *)burst->at;

    burst->at += salvo_ring_record_size(size);
    salvo_assert(size != 0 && burst->at <= burst->end);
    record->size = size;
    record->padding = 0;
    return record + 1;
}

/* Ends the claim with the records that were taken. Not yet visible. */
static inline void salvo_ring_commit_burst(struct salvo_ring *ring,
                                           const struct salvo_ring_burst *burst)
{
    salvo_assert(ring->claim_size != 0);
    ring->tail_next += (uint64_t)(burst->at - burst->from);
    ring->claim_size = 0;
}

/* Makes all commits visible. */
static inline void salvo_ring_publish(struct salvo_ring *ring)
{
    /* (T) pairs with (t) in salvo_ring_peek. */
    atomic_store_explicit(&ring->tail, ring->tail_next, memory_order_release);
}

/* Takes note of what is in the ring now, though the front cannot be taken. Thread: consumer. */
static inline void salvo_ring_look(struct salvo_ring *ring)
{
    uint64_t start;

    /* (t) pairs with (T) in salvo_ring_publish. */
    ring->tail_cached = atomic_load_explicit(&ring->tail, memory_order_acquire);
    if (ring->tail_cached == ring->head_next)
        return;
    start = atomic_load_explicit(&ring->start, memory_order_relaxed); /* (s) */
    if ((int64_t)(start - ring->head_next) <= 0)
        return;
    ring->head_next = start;
    atomic_store_explicit(&ring->head, start, memory_order_release); /* (H) */
}

/* The record at the front, or NULL. Stays the front until advance. Thread: consumer. */
static inline void *salvo_ring_peek(struct salvo_ring *ring, uint32_t *ret_size)
{
    for (;;) {
        struct salvo_ring_record *record;

        if (ring->head_next == ring->tail_cached) {
            salvo_ring_look(ring);
            if (ring->head_next == ring->tail_cached)
                return NULL;
        }
        record = (struct salvo_ring_record *)(void *)(ring->memory +
                                                      (ring->head_next & (ring->size - 1)));
        if (SALVO_LIKELY(record->padding == 0)) {
            *ret_size = record->size;
            return record + 1;
        }
        ring->head_next += salvo_ring_record_size(record->size); /* to the memory's front */
    }
}

/* Steps over the record that peek gave. Its bytes stay readable until release. */
static inline void salvo_ring_advance(struct salvo_ring *ring, uint32_t size)
{
    ring->head_next += salvo_ring_record_size(size);
}

/* True when something came in that neither peek nor look has seen. Thread: consumer. */
static inline bool salvo_ring_has_news(const struct salvo_ring *ring)
{
    return atomic_load_explicit(&ring->tail, memory_order_relaxed) != ring->tail_cached;
}

/* Gives the room of everything stepped over back to the producer. */
static inline void salvo_ring_release(struct salvo_ring *ring)
{
    /* (H) pairs with (h) in salvo_ring_claim. */
    atomic_store_explicit(&ring->head, ring->head_next, memory_order_release);
}

/* True when the consumer has nothing to read; a hint from any other thread. */
static inline bool salvo_ring_empty(struct salvo_ring *ring)
{
    return atomic_load_explicit(&ring->head, memory_order_acquire) ==
           atomic_load_explicit(&ring->tail, memory_order_acquire);
}
