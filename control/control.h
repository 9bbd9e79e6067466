/* The one control thread: routes, heartbeats, the fault table, lane events. Everything else is
 * reached from salvo_control_do_work.
 *
 * Life: init, then do_work again and again (the first call binds control to its thread), drain,
 * begin_stop, do_work until stopped, deinit. Functions marked `Thread: any` may be called between
 * init and deinit; all others belong to control's thread, or to the starter before and after it
 * runs. */
#pragma once

#include "base/random.h"
#include "control/capture.h"
#include "control/detector.h"
#include "control/fault.h"
#include "control/heartbeat.h"
#include "control/identity.h"
#include "control/lease_watch.h"
#include "control/nameserver.h"
#include "control/report.h"
#include "control/resolve.h"
#include "control/route_build.h"
#include "control/routes.h"
#include "control/rpc.h"
#include "control/statfile.h"
#include "control/timers.h"
#include "control/topics.h"

struct salvo_control_conf {
    const struct salvo_config *config; /* stays as it is until deinit */
    struct salvo_clock *clock;
    uint64_t seed;                  /* which nameserver comes first */
    struct salvo_lane_port **ports; /* lanes_count of them */
    uint32_t lanes_count;
    struct salvo_mirror *mirrors;     /* lanes_count of them; NULL: nothing can be captured */
    salvo_availability *availability; /* brokers_max words, the ports' */
    salvo_counter *counters;          /* SALVO_CONTROL_COUNTERS */
    struct salvo_error_log *errors;
    struct salvo_log *log;
    struct salvo_statfile *statfile;         /* gets the errors copied in; may be NULL */
    const struct salvo_net_tcp_lease *lease; /* of the lanes' address; NULL: static */
    struct salvo_net *net; /* control's own; NULL: lane 0 carries its connections. Has
                              room for salvo_control_links_max() links */
};

struct salvo_control {
    /* fixed after start */
    struct salvo_control_conf conf;
    struct salvo_net *net;
    bool net_is_ours; /* by lane: made here */
    struct salvo_identity identity;
    struct salvo_report report;

    /* control only */
    uint32_t owner; /* salvo_thread_id of control's thread; 0: not yet */
    struct salvo_timers timers;
    struct salvo_resolver resolver;
    struct salvo_rpc rpc;
    struct salvo_nameservers nameservers;
    struct salvo_fault fault;
    struct salvo_brokers brokers;
    struct salvo_route_table table;
    struct salvo_routes routes;
    struct salvo_heartbeat heartbeat;
    struct salvo_detector detector;
    struct salvo_lease_watch lease_watch;
    struct salvo_capture capture;
    int64_t drain_ns;    /* the deadline that lanes are told */
    uint64_t lanes_told; /* DRAIN; a bit each */
    uint64_t lanes_drained;
    bool stopping;
    int64_t stop_ns; /* when it gives up waiting */

    /* control -> anyone */
    alignas(SALVO_CACHE_LINE) _Atomic(uint32_t) asleep; /* 1: in or about to enter its wait */

    /* any thread adds, control reads */
    struct salvo_topics topics;
};

/* Links that control can have open at once under this configuration. */
uint32_t salvo_control_links_max(const struct salvo_config *config);

/* 0; -ENOMEM; -EINVAL and others with a sentence in ret_error. */
int salvo_control_init(struct salvo_control *control, const struct salvo_control_conf *conf,
                       char *ret_error, size_t error_size);

/* When no lane runs any more. Destroys the net it was given: frames on their way are its until
 * then. */
void salvo_control_deinit(struct salvo_control *control);

/* One turn. Returns work done; 0 lets the caller idle. */
int salvo_control_do_work(struct salvo_control *control);

/* When the next turn is due, at the latest; INT64_MAX: nothing is planned. Events of lanes and new
 * topics make one due at once: they end salvo_control_wait. */
int64_t salvo_control_next_ns(const struct salvo_control *control);

/* Sleeps until something is to be done, at most until next_ns (0: as salvo_control_next_ns has it).
 * Lanes wake it through `asleep` (dataplane/lane.h: control_asleep). */
void salvo_control_wait(struct salvo_control *control, int64_t next_ns);

/* Ends control's wait. Thread: any. */
void salvo_control_wake(struct salvo_control *control);

/* --- topics and names. Thread: any ------------------------------------------------------- */

/* The number of a topic whose name was checked. 0, -ENOSPC (option topics_max), -EINVAL. Wakes
 * control when the topic is new. */
int salvo_control_topic_add(struct salvo_control *control, const char *name, size_t size,
                            uint32_t *ret_topic);
enum salvo_route_state salvo_control_topic_state(struct salvo_control *control, uint32_t topic);
/* Queues that can be written, 0 while there is no good route. */
uint32_t salvo_control_topic_queues(struct salvo_control *control, uint32_t topic);
const char *salvo_control_topic_name(struct salvo_control *control, uint32_t topic);
const char *salvo_control_broker_name(struct salvo_control *control, uint32_t broker); /* or NULL */

/* --- the end ----------------------------------------------------------------------------- */

/* Tells every lane to drain until deadline_ns. May be called again: a lane that was told is not
 * told twice, unless the deadline is another. False while a command ring was full: call again next
 * turn. */
bool salvo_control_drain(struct salvo_control *control, int64_t deadline_ns);
/* True when every lane has said DRAINED. */
bool salvo_control_drained(const struct salvo_control *control);

/* No more questions and heartbeats; unregisters from brokers, for at most api_timeout_ms. */
void salvo_control_begin_stop(struct salvo_control *control);
/* True when that is done or given up; before begin_stop false. */
bool salvo_control_stopped(const struct salvo_control *control);
