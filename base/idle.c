/* The idle strategies: a table of names and one decision each. */
#include "base/idle.h"

#include "base/assert.h"

#include <errno.h>
#include <string.h>

/* Turns before the next, costlier step: some microseconds of spinning, then some tens of yielding.
 */
#define IDLE_BACKOFF_SPINS         10
#define IDLE_BACKOFF_YIELDS        20
#define IDLE_BACKOFF_WAIT_NS_MIN   INT64_C(1000)
#define IDLE_BACKOFF_WAIT_NS_MAX   SALVO_NS_PER_MS
#define IDLE_BACKOFF_DOUBLINGS_MAX 10
static_assert(IDLE_BACKOFF_WAIT_NS_MIN << IDLE_BACKOFF_DOUBLINGS_MAX >= IDLE_BACKOFF_WAIT_NS_MAX,
              "the doublings reach the longest wait");

/* What a wake-up costs is shared by the answers it finds, so that they gather longer where they
 * take longer: the latency grows by a sixteenth at most. 500 us: at 60,000 answers a second 30 of
 * them, which makes the wake-up's share small beside what an answer costs by itself. */
#define IDLE_GATHER_SHARE       16
#define IDLE_GATHER_NS_MAX      (500 * SALVO_NS_PER_US)
#define IDLE_ANSWER_AVERAGED_BY 8

static const char *const idle_names[] = {
    [SALVO_IDLE_GATHER] = "gather",
    [SALVO_IDLE_SPIN] = "spin",
    [SALVO_IDLE_YIELD] = "yield",
    [SALVO_IDLE_BACKOFF] = "backoff",
};

int salvo_idle_parse(const char *name, enum salvo_idle_kind *ret_kind)
{
    for (unsigned i = 0; i < SALVO_ARRAY_LENGTH(idle_names); i++)
        if (strcmp(name, idle_names[i]) == 0) {
            *ret_kind = (enum salvo_idle_kind)i;
            return 0;
        }
    return -EINVAL;
}

const char *salvo_idle_name(enum salvo_idle_kind kind)
{
    salvo_assert((unsigned)kind < SALVO_ARRAY_LENGTH(idle_names));
    return idle_names[kind];
}

void salvo_idle_init(struct salvo_idle *idle, enum salvo_idle_kind kind, uint32_t gather_us,
                     uint32_t gather_answers)
{
    salvo_assert((unsigned)kind < SALVO_ARRAY_LENGTH(idle_names));
    *idle = (struct salvo_idle){
        .kind = kind,
        .gather_us = gather_us,
        .gather_answers = gather_answers,
    };
}

static struct salvo_idle_plan idle_wait(int64_t wait_ns, uint64_t events_min)
{
    return (struct salvo_idle_plan){
        .wait_ns = wait_ns,
        .events_min = (uint32_t)SALVO_CLAMP(events_min, 1, UINT32_MAX),
    };
}

static struct salvo_idle_plan idle_backoff(uint32_t turns, int64_t next_ns)
{
    int64_t wait_ns;

    if (turns <= IDLE_BACKOFF_SPINS)
        return (struct salvo_idle_plan){0};
    turns -= IDLE_BACKOFF_SPINS;
    if (turns <= IDLE_BACKOFF_YIELDS)
        return (struct salvo_idle_plan){.yield = true};
    turns -= IDLE_BACKOFF_YIELDS;
    wait_ns = IDLE_BACKOFF_WAIT_NS_MIN << SALVO_MIN(turns - 1, IDLE_BACKOFF_DOUBLINGS_MAX);
    wait_ns = SALVO_MIN(wait_ns, IDLE_BACKOFF_WAIT_NS_MAX);
    return idle_wait(SALVO_MIN(wait_ns, next_ns), 1);
}

/* A waiting window that brought nothing is followed by a wait for the first answer: a broker that
 * is slower than the window must not cost a wake-up for each window that passes. */
static struct salvo_idle_plan idle_gather(const struct salvo_idle *idle, uint64_t outstanding,
                                          int64_t next_ns)
{
    int64_t gather_ns = salvo_idle_gather_ns(idle);

    if (outstanding == 0 || gather_ns == 0 || idle->idle_turns > 1)
        return idle_wait(next_ns, 1);
    return idle_wait(SALVO_MIN(gather_ns, next_ns), SALVO_MIN(idle->gather_answers, outstanding));
}

int64_t salvo_idle_gather_ns(const struct salvo_idle *idle)
{
    int64_t gather_ns = idle->gather_us * SALVO_NS_PER_US;

    if (gather_ns == 0) /* switched off */
        return 0;
    return SALVO_MAX(gather_ns, SALVO_MIN(idle->answer_ns / IDLE_GATHER_SHARE, IDLE_GATHER_NS_MAX));
}

void salvo_idle_note_answer(struct salvo_idle *idle, int64_t answer_ns)
{
    salvo_assert(answer_ns >= 0);
    idle->answer_ns += (answer_ns - idle->answer_ns) / IDLE_ANSWER_AVERAGED_BY;
}

struct salvo_idle_plan salvo_idle_next(struct salvo_idle *idle, int work, uint64_t outstanding,
                                       int64_t next_ns)
{
    salvo_assert(work >= 0);
    if (work > 0) {
        idle->idle_turns = 0;
        return (struct salvo_idle_plan){0};
    }
    if (idle->idle_turns < UINT32_MAX)
        idle->idle_turns++;
    if (next_ns <= 0) /* due already: there is work, whatever the turn said */
        return (struct salvo_idle_plan){0};

    switch (idle->kind) {
    case SALVO_IDLE_SPIN:
        return (struct salvo_idle_plan){0};
    case SALVO_IDLE_YIELD:
        return (struct salvo_idle_plan){.yield = true};
    case SALVO_IDLE_BACKOFF:
        return idle_backoff(idle->idle_turns, next_ns);
    case SALVO_IDLE_GATHER:
        return idle_gather(idle, outstanding, next_ns);
    }
    salvo_unreachable();
}
