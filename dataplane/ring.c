/* The ring's set-up; the rest is inline (ring.h). */
#include "dataplane/ring.h"

void salvo_ring_init(struct salvo_ring *ring, void *memory, uint64_t size, uint64_t position)
{
    salvo_assert(salvo_is_power_of_two(size));
    salvo_assert(size >= 64);
    salvo_assert(((uintptr_t)memory & 7) == 0);
    salvo_assert((position & 7) == 0);
    *ring = (struct salvo_ring){.memory = memory, .size = size};
    ring->tail_next = position;
    ring->head_cached = position;
    ring->head_next = position;
    ring->tail_cached = position;
    atomic_init(&ring->tail, position);
    atomic_init(&ring->head, position);
}
