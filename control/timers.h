/* Named periodic and one-shot work: a small fixed table, gone through in order. Owner: one thread.
 */
#pragma once

#include "base/base.h"

#define SALVO_TIMERS_MAX 16

typedef void salvo_timer_fn(void *arg, int64_t now_ns);

struct salvo_timer {
    const char *name;  /* a literal */
    int64_t due_ns;    /* INT64_MAX: not armed */
    int64_t period_ns; /* 0: one shot */
    salvo_timer_fn *run;
    void *arg;
};

struct salvo_timers {
    struct salvo_timer table[SALVO_TIMERS_MAX];
    uint32_t count;
};

void salvo_timers_init(struct salvo_timers *timers);

/* Adds work and returns its index. period_ns 0: runs once each time it is armed. due_ns INT64_MAX:
 * not armed yet. */
uint32_t salvo_timers_add(struct salvo_timers *timers, const char *name, int64_t due_ns,
                          int64_t period_ns, salvo_timer_fn *run, void *arg);

/* Sets when it runs next, earlier or later; INT64_MAX: not. */
void salvo_timers_arm(struct salvo_timers *timers, uint32_t index, int64_t due_ns);

/* Runs everything due, each at most once: after a long pause periodic work runs once and not for
 * every period it missed. Returns how many ran. */
int salvo_timers_run(struct salvo_timers *timers, int64_t now_ns);

/* The earliest deadline; INT64_MAX: none. */
int64_t salvo_timers_next_ns(const struct salvo_timers *timers);
