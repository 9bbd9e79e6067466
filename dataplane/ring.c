/* The ring's set-up and its turn at the end of the memory; the rest is inline (ring.h). */
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

bool salvo_ring_wrap(struct salvo_ring *ring, uint64_t to_end, uint64_t need)
{
    struct salvo_ring_record *filler =
        (struct salvo_ring_record *)(void *)(ring->memory + ring->size - to_end);

    if (!salvo_ring_has_room(ring, to_end + need))
        return false;
    filler->size = (uint32_t)(to_end - SALVO_RING_RECORD_HEADER);
    filler->padding = 1;
    ring->tail_next += to_end;
    return true;
}
