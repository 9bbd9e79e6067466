/* The system clock and the one that is driven by hand. The time-stamp counter is in clock_tsc.c. */
#include "base/clock.h"

#include "base/assert.h"

#include <time.h>

static struct timespec clock_read(clockid_t id)
{
    struct timespec now = {0};
    int r = clock_gettime(id, &now);

    salvo_assert(r == 0);
    return now;
}

static int64_t clock_system_mono_ns(struct salvo_clock *clock)
{
    struct timespec now = clock_read(CLOCK_MONOTONIC);

    return (int64_t)now.tv_sec * SALVO_NS_PER_S + now.tv_nsec;
}

static int64_t clock_system_wall_ns(struct salvo_clock *clock)
{
    struct timespec now = clock_read(CLOCK_REALTIME);

    return (int64_t)now.tv_sec * SALVO_NS_PER_S + now.tv_nsec;
}

struct salvo_clock *salvo_clock_system(void)
{
    static struct salvo_clock clock = {
        .mono_ns = clock_system_mono_ns,
        .mono_loose_ns = clock_system_mono_ns,
        .wall_ns = clock_system_wall_ns,
    };

    return &clock;
}

static int64_t clock_manual_mono_ns(struct salvo_clock *clock)
{
    return SALVO_CONTAINER_OF(clock, struct salvo_clock_manual, clock)->mono_now_ns;
}

static int64_t clock_manual_wall_ns(struct salvo_clock *clock)
{
    const struct salvo_clock_manual *manual =
        SALVO_CONTAINER_OF(clock, struct salvo_clock_manual, clock);

    return manual->wall_now_ms * SALVO_NS_PER_MS + manual->mono_now_ns % SALVO_NS_PER_MS;
}

void salvo_clock_manual_init(struct salvo_clock_manual *clock, int64_t mono_ns, int64_t wall_ms)
{
    salvo_assert(mono_ns >= 0);
    *clock = (struct salvo_clock_manual){
        .clock = {.mono_ns = clock_manual_mono_ns,
                  .mono_loose_ns = clock_manual_mono_ns,
                  .wall_ns = clock_manual_wall_ns},
        .mono_now_ns = mono_ns,
        .wall_now_ms = wall_ms,
    };
}

void salvo_clock_manual_advance(struct salvo_clock_manual *clock, int64_t ns)
{
    int64_t mono_ns = clock->mono_now_ns + ns;

    salvo_assert(ns >= 0);

    /* The wall ticks where the monotonic time crosses a whole millisecond, so that many small steps
     * move it as far as one large step. */
    clock->wall_now_ms += mono_ns / SALVO_NS_PER_MS - clock->mono_now_ns / SALVO_NS_PER_MS;
    clock->mono_now_ns = mono_ns;
}
