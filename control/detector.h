/* The reachability detector (LatencyFaultToleranceImpl.detectByOneRound): brokers that the fault
 * table has as not reachable are probed each detect_interval_ms, on control's own connection, for
 * the highest offset of a queue (GET_MAX_OFFSET). An answer of success within detect_timeout_ms
 * makes the broker reachable; what it still has of its penalty stays.
 *
 * Java probes every broker of its table, in rounds of 3 s; here only those of which an answer would
 * change something. A probe that comes late fails, but its connection lives until api_timeout_ms:
 * the group is registered on it. Owner: control. */
#pragma once

#include "control/heartbeat.h"
#include "control/route_build.h"

struct salvo_detector_broker {
    bool asking;
    int64_t asked_ns;
    int64_t due_ns; /* INT64_MAX: reachable, as far as is known */
};

struct salvo_detector {
    /* fixed after start */
    const struct salvo_config *config;
    struct salvo_fault *fault;
    const struct salvo_route_table *routes;
    struct salvo_heartbeat *heartbeat;
    struct salvo_report *report;

    /* control only */
    struct salvo_detector_broker *table; /* brokers_max */
    uint32_t unreachable_version;        /* of the fault table, as noticed */
    int64_t next_ns;                     /* the earliest due_ns */
};

/* 0 or -ENOMEM. */
int salvo_detector_init(struct salvo_detector *detector, const struct salvo_config *config,
                        struct salvo_fault *fault, const struct salvo_route_table *routes,
                        struct salvo_heartbeat *heartbeat, struct salvo_report *report);
void salvo_detector_deinit(struct salvo_detector *detector);

/* Notices who is not reachable, sends the probes that are due. Returns work. */
int salvo_detector_do_work(struct salvo_detector *detector, int64_t now_ns);
int64_t salvo_detector_next_ns(const struct salvo_detector *detector);
