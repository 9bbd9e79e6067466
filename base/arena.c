/* The arena: one mapping, a mark that only rises, a lock. */
#include "base/arena.h"

#include "base/assert.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

/* The size is written out: a machine's default huge page may be another (1 GiB). */
#define ARENA_HUGE_SIZE  SALVO_MIB(2)
#define ARENA_HUGE_FLAGS (MAP_HUGETLB | 21 << MAP_HUGE_SHIFT)
static_assert(ARENA_HUGE_SIZE == 1u << 21, "the flags ask for pages of this size");

/* The smallest page there is: touching more often than needed costs a store. */
#define ARENA_PAGE_SIZE 4096

static uint8_t *arena_map(size_t size, int flags)
{
    void *base =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

    return base == MAP_FAILED ? NULL : base;
}

static size_t arena_mapped(const struct salvo_arena *arena)
{
    return salvo_align_up(arena->size, arena->huge ? ARENA_HUGE_SIZE : ARENA_PAGE_SIZE);
}

int salvo_arena_init(struct salvo_arena *arena, size_t size, bool huge)
{
    uint8_t *base = NULL;
    bool huge_given;

    salvo_assert(size != 0);
    if (size > SIZE_MAX - ARENA_HUGE_SIZE)
        return -ENOMEM;
    if (huge)
        base = arena_map(salvo_align_up(size, ARENA_HUGE_SIZE), ARENA_HUGE_FLAGS);
    huge_given = base != NULL;
    if (base == NULL)
        base = arena_map(salvo_align_up(size, ARENA_PAGE_SIZE), 0);
    if (base == NULL)
        return -ENOMEM;

    *arena = (struct salvo_arena){.base = base, .size = size, .huge = huge_given};

    /* Second best to reserved huge pages are those the kernel puts together; its refusal is none of
     * ours. Must come before the first touch. */
    if (huge && !huge_given)
        madvise(base, arena_mapped(arena), MADV_HUGEPAGE);

    /* A fork would copy what io_uring pinned, page by page, and fail where the reserve of huge
     * pages has not as many left again; what is not pinned would be copied by the lane's next
     * stores. A child has no use for any of it. */
    madvise(base, arena_mapped(arena), MADV_DONTFORK);

    /* Every page now, not at the first message that needs it. */
    for (size_t at = 0; at < arena_mapped(arena); at += ARENA_PAGE_SIZE)
        *(volatile uint8_t *)(base + at) = 0;
    return 0;
}

void salvo_arena_deinit(struct salvo_arena *arena)
{
    if (arena->base != NULL) {
        int r = munmap(arena->base, arena_mapped(arena));

        salvo_assert(r == 0);
    }
    *arena = (struct salvo_arena){0};
}

void *salvo_arena_take(struct salvo_arena *arena, size_t size, size_t alignment)
{
    uintptr_t at;
    size_t start;

    salvo_assert(!arena->locked);
    salvo_assert(salvo_is_power_of_two(alignment));
    salvo_assert(alignment <= ARENA_HUGE_SIZE);

    /* The address is aligned, not the offset: the mapping itself begins at any page. */
    at = (uintptr_t)arena->base + arena->used;
    start = arena->used + (salvo_align_up(at, alignment) - at);
    salvo_assert(start <= arena->size);
    salvo_assert(size <= arena->size - start);
    arena->used = start + size;
    return arena->base + start; /* zeroed: no page of it was ever given out before */
}

void salvo_arena_lock(struct salvo_arena *arena)
{
    arena->locked = true;
}
