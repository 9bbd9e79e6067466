/* The ring's set-up, and its turns back to the front of the memory; the rest is inline (ring.h). */
#include "dataplane/ring.h"

/* The next look is due SALVO_RING_WARM bytes behind `index`, or at the end of the memory. */
static void ring_look_after(struct salvo_ring *ring, uint64_t index)
{
    ring->index_end = SALVO_MIN(index + SALVO_RING_WARM, ring->size);
}

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
    atomic_init(&ring->start, position);
    ring_look_after(ring, position & (size - 1));
}

/* Fills the memory from `index` to its end, when `need` more bytes are free behind it. */
static bool ring_fill(struct salvo_ring *ring, uint64_t index, uint64_t need)
{
    struct salvo_ring_record *filler = (struct salvo_ring_record *)(void *)(ring->memory + index);
    uint64_t to_end = ring->size - index;

    if (!salvo_ring_has_room(ring, to_end + need))
        return false;
    filler->size = (uint32_t)(to_end - SALVO_RING_RECORD_HEADER);
    filler->padding = 1;
    ring->tail_next += to_end;
    return true;
}

bool salvo_ring_turn(struct salvo_ring *ring, uint64_t need)
{
    uint64_t index = ring->tail_next & (ring->size - 1);

    salvo_ring_look_back(ring);
    if (ring->head_cached == ring->tail_next) {
        ring->tail_next += (0 - index) & (ring->size - 1);
        ring->head_cached = ring->tail_next;
        atomic_store_explicit(&ring->start, ring->tail_next, memory_order_relaxed); /* (S) */
    } else if (need > ring->size - index) {
        if (!ring_fill(ring, index, need))
            return false;
    } else if (!salvo_ring_has_room(ring, need)) {
        return false;
    }
    ring_look_after(ring, (ring->tail_next & (ring->size - 1)) + need);
    return true;
}
