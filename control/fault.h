/* The latency fault table (LatencyFaultToleranceImpl, MQFaultStrategy): how long to keep away from
 * a broker that was slow or failed; published to lanes as availability words (dataplane/route.h).
 *
 * Two generations. 4.7.1: the time is set anew by every outcome, so that one fast answer ends an
 * isolation. 5.1.4: it only ever moves later, and there is a reachable flag. With the detector on
 * a lost connection or a time-out clears it; a good result or a probe (control/detector.h) sets it
 * again. Without, every row keeps it set. Owner: control. */
#pragma once

#include "control/config.h"
#include "dataplane/lane_msg.h"
#include "dataplane/route.h"

struct salvo_fault {
    /* fixed after start */
    bool enabled; /* off: nothing is recorded, every word stays 0 */
    enum salvo_config_fault_table table;
    bool detector; /* somebody restores the reachable flag */
    uint32_t brokers_max;

    /* control only */
    uint32_t unreachable_count;
    uint32_t unreachable_version; /* goes up whenever a broker becomes unreachable */

    /* control -> lane */
    salvo_availability *availability; /* brokers_max words */
};

void salvo_fault_init(struct salvo_fault *fault, const struct salvo_config *config,
                      salvo_availability *availability);

/* notAvailableDuration of the row that this latency falls in. */
int64_t salvo_fault_penalty_ns(enum salvo_config_fault_table table, int64_t latency_ns);

/* updateFaultItem: isolation counts as the table's own large latency. */
void salvo_fault_update(struct salvo_fault *fault, uint32_t broker, int64_t latency_ns,
                        bool isolation, bool reachable, int64_t now_ns);

/* A try ended: the row of 6.4 of the protocol reference for asynchronous sends, which ours are. */
void salvo_fault_outcome(struct salvo_fault *fault, uint32_t broker, enum salvo_outcome outcome,
                         int64_t latency_ns, int64_t now_ns);

/* A probe was answered: reachable, though maybe not available yet. */
void salvo_fault_reached(struct salvo_fault *fault, uint32_t broker);
bool salvo_fault_reachable(const struct salvo_fault *fault, uint32_t broker);

/* The broker has left: whoever gets its number begins with a clean sheet. */
void salvo_fault_forget(struct salvo_fault *fault, uint32_t broker);

/* How many are kept away from now. */
uint32_t salvo_fault_unavailable(const struct salvo_fault *fault, int64_t now_ns);
