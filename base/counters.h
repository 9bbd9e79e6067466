/* Counters: one table (counters.def) gives storage, names, units, docs and the layout of the mapped
 * stat file. A counter is written by its one owner thread with relaxed stores and may be read by
 * anyone. */
#pragma once

#include "base/base.h"

enum salvo_counter_kind { SALVO_COUNTER_COUNT, SALVO_COUNTER_GAUGE, SALVO_COUNTER_MAX };
enum salvo_counter_scope { SALVO_COUNTER_LANE, SALVO_COUNTER_CONTROL };

/* SALVO_LANE_<NAME> and SALVO_CONTROL_<NAME>, in table order, then the number of each. */
enum salvo_lane_counter {
#define LANE_COUNTER(name, unit, kind, text) SALVO_LANE_##name,
#define CONTROL_COUNTER(name, unit, kind, text)
#include "base/counters.def"
#undef LANE_COUNTER
#undef CONTROL_COUNTER
    SALVO_LANE_COUNTERS
};

enum salvo_control_counter {
#define LANE_COUNTER(name, unit, kind, text)
#define CONTROL_COUNTER(name, unit, kind, text) SALVO_CONTROL_##name,
#include "base/counters.def"
#undef LANE_COUNTER
#undef CONTROL_COUNTER
    SALVO_CONTROL_COUNTERS
};

struct salvo_counter_info {
    const char *name; /* lower case, as in the stat file: "lane_messages_taken" */
    const char *unit;
    enum salvo_counter_kind kind;
    enum salvo_counter_scope scope;
    const char *text; /* one sentence */
};

extern const struct salvo_counter_info salvo_lane_counter_info[SALVO_LANE_COUNTERS];
extern const struct salvo_counter_info salvo_control_counter_info[SALVO_CONTROL_COUNTERS];

typedef _Atomic uint64_t salvo_counter;

/* Owner only: a plain add, published by a relaxed store; no locked instruction. */
static inline void salvo_counter_add(salvo_counter *counters, unsigned index, uint64_t n)
{
    atomic_store_explicit(&counters[index],
                          atomic_load_explicit(&counters[index], memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline void salvo_counter_set(salvo_counter *counters, unsigned index, uint64_t value)
{
    atomic_store_explicit(&counters[index], value, memory_order_relaxed);
}

static inline void salvo_counter_max(salvo_counter *counters, unsigned index, uint64_t value)
{
    if (value > atomic_load_explicit(&counters[index], memory_order_relaxed))
        atomic_store_explicit(&counters[index], value, memory_order_relaxed);
}

/* Any thread. */
static inline uint64_t salvo_counter_get(const salvo_counter *counters, unsigned index)
{
    return atomic_load_explicit(&counters[index], memory_order_relaxed);
}
