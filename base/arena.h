/* Memory taken once at start, touched, then locked: a later take asserts.
 *
 * The plan (control/plan.c) adds up what will be taken; the arena maps that much (huge pages when
 * there are any and they are wanted, else ordinary pages), hands out aligned zeroed pieces in
 * order, and gives everything back at once in deinit. A child made by fork does not have it. Owner:
 * the thread that starts the sender. */
#pragma once

#include "base/base.h"

struct salvo_arena {
    uint8_t *base;
    size_t size;
    size_t used;
    bool locked;
    bool huge; /* huge pages were asked for and given */
};

/* Maps and touches `size` bytes. With `huge` tries 2 MiB pages first and falls back silently; the
 * `huge` field says what happened. 0 or -ENOMEM. */
int salvo_arena_init(struct salvo_arena *arena, size_t size, bool huge);
void salvo_arena_deinit(struct salvo_arena *arena);

/* A zeroed piece. alignment is a power of two up to 2 MiB; never NULL: what was planned is there,
 * and asking for more than was planned is an assertion. */
void *salvo_arena_take(struct salvo_arena *arena, size_t size, size_t alignment);

/* What salvo_arena_take(size, alignment) can use up at most, for adding up a plan. */
static inline size_t salvo_arena_cost(size_t size, size_t alignment)
{
    return salvo_align_up(size, alignment) + alignment;
}

/* From here on a take asserts. */
void salvo_arena_lock(struct salvo_arena *arena);

#define SALVO_ARENA_TAKE(arena, type, count)                                                       \
    ((type *)salvo_arena_take((arena), sizeof(type) * (count),                                     \
                              SALVO_MAX(alignof(type), (size_t)SALVO_CACHE_LINE)))

/* Marks the calling thread as one that must not allocate (lanes, after start). In builds with
 * alloc_check the wrapped malloc family aborts when such a thread calls it; elsewhere a no-op. */
void salvo_alloc_forbid(bool forbidden);
