/* Time comes in through this struct, so that the simulator can drive it.
 *
 * `mono_ns` never goes back and has no meaning but its differences; `wall_ns` is Unix time and may
 * jump. The system and TSC clocks may be read by any thread; the hand-driven
 * one belongs to the simulation's one thread. */
#pragma once

#include "base/base.h"

struct salvo_clock {
    int64_t (*mono_ns)(struct salvo_clock *clock);
    int64_t (*mono_loose_ns)(struct salvo_clock *clock);
    int64_t (*wall_ns)(struct salvo_clock *clock);
};

static inline int64_t salvo_clock_mono_ns(struct salvo_clock *clock)
{
    return clock->mono_ns(clock);
}

/* The same time, read up to some hundred nanoseconds before the loads in front of it are done, and
 * half as dear for that: for deadlines, never to be compared with a time that another thread took.
 */
static inline int64_t salvo_clock_mono_loose_ns(struct salvo_clock *clock)
{
    return clock->mono_loose_ns(clock);
}

static inline int64_t salvo_clock_wall_ns(struct salvo_clock *clock)
{
    return clock->wall_ns(clock);
}

static inline int64_t salvo_clock_wall_ms(struct salvo_clock *clock)
{
    return clock->wall_ns(clock) / SALVO_NS_PER_MS;
}

/* clock_gettime: CLOCK_MONOTONIC and CLOCK_REALTIME. Lives for ever. */
struct salvo_clock *salvo_clock_system(void);

/* The time-stamp counter, calibrated once against CLOCK_MONOTONIC on first call (some 20 ms); on
 * the same origin as the system clock within its drift (some millionths), and cheaper: 32 ns
 * against 42 on a virtual Xeon, of which 23 are the counter's own. Where the counter is not
 * constant and non-stop this is the system clock. Lives for ever. */
struct salvo_clock *salvo_clock_tsc(void);

/* A clock that stands still until it is set: for tests and the simulator. */
struct salvo_clock_manual {
    struct salvo_clock clock;
    int64_t mono_now_ns;
    int64_t wall_now_ms;
};

void salvo_clock_manual_init(struct salvo_clock_manual *clock, int64_t mono_ns, int64_t wall_ms);

/* Moves both times forward; `ns` is not negative. */
void salvo_clock_manual_advance(struct salvo_clock_manual *clock, int64_t ns);
