/* Chunks: the memory frames are encoded into, sent from, and retried from.
 *
 * A chunk belongs to one connection at a time (or to the lane's parking place, for messages that
 * wait for a route or their turn). Frames lie in it one behind the other and may run over into the
 * chunk that `next` names. Its life is counted in bytes and in frames:
 *
 *   used      bytes written                        taken     of these, taken by the backend
 *   cut       of these, never to be sent           released  of the taken ones, no longer referred
 * to awaited   frames with bytes here whose body may be needed again
 *
 * It is attached while its connection writes to it or the network may refer to its bytes;
 * connections detach in stream order, when it is sealed, taken + cut == used and released == taken.
 * It is free when it is not attached and awaited is 0. Owner: one lane. */
#pragma once

#include "base/assert.h"
#include "base/base.h"

#define SALVO_CHUNK_NONE UINT32_MAX

struct salvo_chunk {
    uint8_t *bytes; /* may be exchanged for another buffer as long (conn.h) */
    uint32_t used;
    uint32_t taken;
    uint32_t cut;
    uint32_t released;
    uint32_t awaited;
    uint32_t next; /* in its connection's order; kept while frames run over into it; free list */
    bool sealed;   /* nothing more is written here */
    bool attached;
    bool free;
};

struct salvo_chunk_pool {
    /* fixed after start */
    struct salvo_chunk *chunks;
    uint32_t chunks_max;
    uint32_t chunk_size;
    uint32_t reserve; /* kept for retries and waiting messages */

    /* lane only */
    uint32_t free_first; /* last in, first out: a warm chunk */
    uint32_t free_count;
};

/* memory: chunks_max * chunk_size bytes. */
void salvo_chunk_pool_init(struct salvo_chunk_pool *pool, struct salvo_chunk *chunks,
                           uint8_t *memory, uint32_t chunks_max, uint32_t chunk_size,
                           uint32_t reserve);

/* How many chunks a new frame may take (urgent: a retry may also use the reserve). */
static inline uint32_t salvo_chunk_pool_room(const struct salvo_chunk_pool *pool, bool urgent)
{
    if (urgent)
        return pool->free_count;
    return pool->free_count > pool->reserve ? pool->free_count - pool->reserve : 0;
}

/* Takes a free chunk; the caller has looked at the room. */
uint32_t salvo_chunk_take(struct salvo_chunk_pool *pool);

/* Gives the chunk back if nothing holds it any more. */
void salvo_chunk_settle(struct salvo_chunk_pool *pool, uint32_t index);

/* One frame less is awaited in each chunk of a frame of `size` bytes that starts at (first,
 * offset). */
void salvo_chunk_unawait(struct salvo_chunk_pool *pool, uint32_t first, uint32_t offset,
                         uint32_t size);

/* One frame more is awaited in each of those chunks. */
void salvo_chunk_await(struct salvo_chunk_pool *pool, uint32_t first, uint32_t offset,
                       uint32_t size);

/* Copies `size` bytes from (first, offset), over chunk borders, to `to`. */
void salvo_chunk_copy(const struct salvo_chunk_pool *pool, uint32_t first, uint32_t offset,
                      uint32_t size, uint8_t *to);

/* The same bytes in one piece: in place when they lie in one chunk, else copied to `scratch`. */
const uint8_t *salvo_chunk_linear(const struct salvo_chunk_pool *pool, uint32_t first,
                                  uint32_t offset, uint32_t size, uint8_t *scratch);
