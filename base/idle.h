/* What a thread does when a turn found no work. Chosen by name.
 *
 * spin      turns again at once (lowest latency, a whole core)
 * yield     sched_yield between turns
 * backoff   spins, then yields, then sleeps in the backend's wait with doubling time up to 1 ms
 * gather    sleeps in the backend's wait until several answers are there or some tens of
 *           microseconds have passed, or more where answers take long anyway: a sixteenth of that,
 *           at most half a millisecond; then, when this brought nothing, until the first answer;
 *           with nothing outstanding until it is woken (default)
 *
 * The strategy only says how long and for how many events to wait; the caller does the waiting,
 * because only it can announce that it sleeps (the lane's `asleep` word). */
#pragma once

#include "base/base.h"

enum salvo_idle_kind {
    SALVO_IDLE_GATHER = 0,
    SALVO_IDLE_SPIN,
    SALVO_IDLE_YIELD,
    SALVO_IDLE_BACKOFF,
};

struct salvo_idle {
    enum salvo_idle_kind kind;
    uint32_t gather_us;      /* how long answers may gather (default 50); 0: not at all */
    uint32_t gather_answers; /* or until so many are there (default 64) */
    uint32_t idle_turns;     /* consecutive turns without work */
    int64_t answer_ns;       /* how long answers take, roughly; 0: not known */
};

/* What to do now. wait_ns 0: turn again at once. */
struct salvo_idle_plan {
    int64_t wait_ns;     /* sleep at most so long; 0: do not; INT64_MAX: until woken */
    uint32_t events_min; /* wake when so many events are there */
    bool yield;
};

/* By name: "gather", "spin", "yield", "backoff". 0 or -EINVAL. */
int salvo_idle_parse(const char *name, enum salvo_idle_kind *ret_kind);
const char *salvo_idle_name(enum salvo_idle_kind kind);

void salvo_idle_init(struct salvo_idle *idle, enum salvo_idle_kind kind, uint32_t gather_us,
                     uint32_t gather_answers);

/* What salvo_idle_next uses of it: gather_us, or more where answers take long. */
int64_t salvo_idle_gather_ns(const struct salvo_idle *idle);

/* An answer came after so long: one for each turn is enough. */
void salvo_idle_note_answer(struct salvo_idle *idle, int64_t answer_ns);

/* After a turn: `work` is what it returned, `outstanding` how many answers are awaited, `next_ns`
 * how long until the next deadline (INT64_MAX: none). */
struct salvo_idle_plan salvo_idle_next(struct salvo_idle *idle, int work, uint64_t outstanding,
                                       int64_t next_ns);
