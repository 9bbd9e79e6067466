/* Named periodic and one-shot work, see timers.h. */
#include "control/timers.h"

#include "base/assert.h"

void salvo_timers_init(struct salvo_timers *timers)
{
    *timers = (struct salvo_timers){0};
}

uint32_t salvo_timers_add(struct salvo_timers *timers, const char *name, int64_t due_ns,
                          int64_t period_ns, salvo_timer_fn *run, void *arg)
{
    uint32_t index = timers->count;

    salvo_assert(index < SALVO_TIMERS_MAX);
    salvo_assert(period_ns >= 0);
    timers->table[index] = (struct salvo_timer){name, due_ns, period_ns, run, arg};
    timers->count++;
    return index;
}

void salvo_timers_arm(struct salvo_timers *timers, uint32_t index, int64_t due_ns)
{
    salvo_assert(index < timers->count);
    timers->table[index].due_ns = due_ns;
}

/* The next due time on the timer's own grid, so that periods do not drift with the turns. */
static int64_t timer_next(const struct salvo_timer *timer, int64_t now_ns)
{
    int64_t missed;

    if (timer->period_ns == 0)
        return INT64_MAX;
    missed = (now_ns - timer->due_ns) / timer->period_ns;
    return timer->due_ns + (missed + 1) * timer->period_ns;
}

int salvo_timers_run(struct salvo_timers *timers, int64_t now_ns)
{
    int ran = 0;

    for (uint32_t i = 0; i < timers->count; i++) {
        struct salvo_timer *timer = &timers->table[i];

        if (timer->due_ns > now_ns)
            continue;
        timer->due_ns = timer_next(timer, now_ns); /* before the call, which may arm it otherwise */
        timer->run(timer->arg, now_ns);
        ran++;
    }
    return ran;
}

int64_t salvo_timers_next_ns(const struct salvo_timers *timers)
{
    int64_t next_ns = INT64_MAX;

    for (uint32_t i = 0; i < timers->count; i++)
        next_ns = SALVO_MIN(next_ns, timers->table[i].due_ns);
    return next_ns;
}
