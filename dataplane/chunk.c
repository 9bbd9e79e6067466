/* The chunk pool: see chunk.h for what a chunk counts. */
#include "dataplane/chunk.h"

#include <string.h>

void salvo_chunk_pool_init(struct salvo_chunk_pool *pool, struct salvo_chunk *chunks,
                           uint8_t *memory, uint32_t chunks_max, uint32_t chunk_size,
                           uint32_t reserve)
{
    salvo_assert(reserve < chunks_max);
    *pool = (struct salvo_chunk_pool){
        .chunks = chunks,
        .chunks_max = chunks_max,
        .chunk_size = chunk_size,
        .reserve = reserve,
        .free_first = SALVO_CHUNK_NONE,
    };
    for (uint32_t i = chunks_max; i-- > 0;) {
        chunks[i] = (struct salvo_chunk){
            .bytes = memory + (size_t)i * chunk_size,
            .next = pool->free_first,
            .free = true,
        };
        pool->free_first = i;
    }
    pool->free_count = chunks_max;
}

uint32_t salvo_chunk_take(struct salvo_chunk_pool *pool)
{
    uint32_t index = pool->free_first;
    struct salvo_chunk *chunk;

    salvo_assert(index != SALVO_CHUNK_NONE);
    chunk = &pool->chunks[index];
    salvo_assert(chunk->free);
    pool->free_first = chunk->next;
    pool->free_count--;
    chunk->used = 0;
    chunk->taken = 0;
    chunk->cut = 0;
    chunk->released = 0;
    chunk->awaited = 0;
    chunk->next = SALVO_CHUNK_NONE;
    chunk->sealed = false;
    chunk->attached = true;
    chunk->free = false;
    return index;
}

void salvo_chunk_settle(struct salvo_chunk_pool *pool, uint32_t index)
{
    struct salvo_chunk *chunk = &pool->chunks[index];

    salvo_assert(!chunk->free);
    salvo_assert(chunk->released <= chunk->taken);
    salvo_assert(chunk->taken + chunk->cut <= chunk->used);
    if (chunk->attached || chunk->awaited != 0)
        return;
    chunk->free = true;
    chunk->next = pool->free_first;
    pool->free_first = index;
    pool->free_count++;
}

void salvo_chunk_unawait(struct salvo_chunk_pool *pool, uint32_t first, uint32_t offset,
                         uint32_t size)
{
    for (;;) {
        struct salvo_chunk *chunk = &pool->chunks[first];
        uint32_t here = chunk->used - offset;
        uint32_t next = chunk->next;

        salvo_assert(chunk->awaited != 0);
        salvo_assert(offset <= chunk->used);
        chunk->awaited--;
        salvo_chunk_settle(pool, first);
        if (here >= size)
            return;
        size -= here;
        first = next;
        offset = 0;
    }
}

void salvo_chunk_await(struct salvo_chunk_pool *pool, uint32_t first, uint32_t offset,
                       uint32_t size)
{
    for (;;) {
        struct salvo_chunk *chunk = &pool->chunks[first];
        uint32_t here = chunk->used - offset;

        chunk->awaited++;
        if (here >= size)
            return;
        size -= here;
        first = chunk->next;
        offset = 0;
    }
}

void salvo_chunk_copy(const struct salvo_chunk_pool *pool, uint32_t first, uint32_t offset,
                      uint32_t size, uint8_t *to)
{
    while (size != 0) {
        const struct salvo_chunk *chunk = &pool->chunks[first];
        uint32_t here;

        if (offset >= chunk->used) { /* starts behind this chunk's end */
            offset -= chunk->used;
            first = chunk->next;
            continue;
        }
        here = SALVO_MIN(size, chunk->used - offset);
        memcpy(to, chunk->bytes + offset, here);
        to += here;
        size -= here;
        offset = 0;
        first = chunk->next;
    }
}

const uint8_t *salvo_chunk_linear(const struct salvo_chunk_pool *pool, uint32_t first,
                                  uint32_t offset, uint32_t size, uint8_t *scratch)
{
    while (offset >= pool->chunks[first].used && size != 0) {
        offset -= pool->chunks[first].used;
        first = pool->chunks[first].next;
    }
    if (size <= pool->chunks[first].used - offset)
        return pool->chunks[first].bytes + offset;
    salvo_chunk_copy(pool, first, offset, size, scratch);
    return scratch;
}
