/* The latency fault table, see fault.h and 6.2 to 6.4 of the protocol reference. */
#include "control/fault.h"

#include "base/assert.h"

struct fault_row {
    int32_t latency_ms;     /* from here on (latencyMax) */
    int32_t unavailable_ms; /* notAvailableDuration */
};

#define FAULT_ROWS 7

static const struct fault_row fault_rows[2][FAULT_ROWS] = {
    [SALVO_FAULT_TABLE_4_7_1] = {{50, 0},
                                 {100, 0},
                                 {550, 30000},
                                 {1000, 60000},
                                 {2000, 120000},
                                 {3000, 180000},
                                 {15000, 600000}},
    [SALVO_FAULT_TABLE_5_1_4] =
        {{50, 0}, {100, 0}, {550, 2000}, {1800, 5000}, {3000, 6000}, {5000, 10000}, {15000, 30000}},
};

/* What isolation counts as: 600 s in the old table, 10 s in the new one. */
static const int32_t isolation_latency_ms[2] = {
    [SALVO_FAULT_TABLE_4_7_1] = 30000,
    [SALVO_FAULT_TABLE_5_1_4] = 10000,
};

void salvo_fault_init(struct salvo_fault *fault, const struct salvo_config *config,
                      salvo_availability *availability)
{
    *fault = (struct salvo_fault){
        .enabled = config->fault_latency,
        .table = (enum salvo_config_fault_table)config->fault_table,
        .brokers_max = config->brokers_max,
        .availability = availability,
    };
    fault->detector =
        config->fault_detector && fault->enabled && fault->table == SALVO_FAULT_TABLE_5_1_4;
    for (uint32_t i = 0; i < fault->brokers_max; i++)
        atomic_store_explicit(&availability[i], 0, memory_order_relaxed);
}

int64_t salvo_fault_penalty_ns(enum salvo_config_fault_table table, int64_t latency_ns)
{
    for (int i = FAULT_ROWS - 1; i >= 0; i--)
        if (latency_ns >= fault_rows[table][i].latency_ms * SALVO_NS_PER_MS)
            return fault_rows[table][i].unavailable_ms * SALVO_NS_PER_MS;
    return 0;
}

static uint64_t fault_load(const struct salvo_fault *fault, uint32_t broker)
{
    salvo_assert(broker < fault->brokers_max);
    return atomic_load_explicit(&fault->availability[broker], memory_order_relaxed);
}

static void fault_store(struct salvo_fault *fault, uint32_t broker, uint64_t word)
{
    bool was = salvo_fault_reachable(fault, broker), is = salvo_availability_reachable(word);

    fault->unreachable_count += was && !is;
    fault->unreachable_version += was && !is;
    fault->unreachable_count -= !was && is;
    /* Relaxed: advice; lanes read it when they choose a queue (dataplane/select.c). */
    atomic_store_explicit(&fault->availability[broker], word, memory_order_relaxed);
}

void salvo_fault_update(struct salvo_fault *fault, uint32_t broker, int64_t latency_ns,
                        bool isolation, bool reachable, int64_t now_ns)
{
    int64_t counted_ns =
        isolation ? isolation_latency_ms[fault->table] * SALVO_NS_PER_MS : latency_ns;
    int64_t penalty_ns = salvo_fault_penalty_ns(fault->table, counted_ns);
    uint64_t until;

    salvo_assert(broker < fault->brokers_max);
    salvo_assert(now_ns >= 0);
    if (!fault->enabled)
        return;
    until = fault_load(fault, broker) & ~SALVO_AVAILABILITY_UNREACHABLE;
    if (fault->table == SALVO_FAULT_TABLE_4_7_1) {
        until = (uint64_t)(now_ns + penalty_ns);
        reachable = true; /* that generation knows no such thing */
    } else if (penalty_ns > 0 && (uint64_t)(now_ns + penalty_ns) > until) {
        until = (uint64_t)(now_ns + penalty_ns);
    }
    fault_store(fault, broker, until | (reachable ? 0 : SALVO_AVAILABILITY_UNREACHABLE));
}

void salvo_fault_outcome(struct salvo_fault *fault, uint32_t broker, enum salvo_outcome outcome,
                         int64_t latency_ns, int64_t now_ns)
{
    switch (outcome) {
    case SALVO_OUTCOME_GOOD: /* async success callback: (false, true) */
        salvo_fault_update(fault, broker, latency_ns, false, true, now_ns);
        return;
    case SALVO_OUTCOME_BROKER_ERROR: /* async broker error: (true, true) */
        salvo_fault_update(fault, broker, latency_ns, true, true, now_ns);
        return;
    case SALVO_OUTCOME_TIMEOUT: /* RemotingException: (true, false), detector off (true, true) */
    case SALVO_OUTCOME_CONNECTION_LOST: /* the same */
        salvo_fault_update(fault, broker, latency_ns, true, !fault->detector, now_ns);
        return;
    }
    salvo_unreachable();
}

void salvo_fault_reached(struct salvo_fault *fault, uint32_t broker)
{
    fault_store(fault, broker, fault_load(fault, broker) & ~SALVO_AVAILABILITY_UNREACHABLE);
}

bool salvo_fault_reachable(const struct salvo_fault *fault, uint32_t broker)
{
    return salvo_availability_reachable(fault_load(fault, broker));
}

void salvo_fault_forget(struct salvo_fault *fault, uint32_t broker)
{
    fault_store(fault, broker, 0);
}

uint32_t salvo_fault_unavailable(const struct salvo_fault *fault, int64_t now_ns)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < fault->brokers_max; i++)
        count += !salvo_availability_available(fault_load(fault, i), now_ns);
    return count;
}
