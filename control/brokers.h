/* Brokers by small number: name, address, and how a number becomes free again. Owner: control.
 *
 *   FREE -> USED      a route names the broker
 *   USED -> LEAVING   no topic has a queue on it any more; the next snapshot lacks it
 *   LEAVING -> FREE   every lane uses that snapshot or a later one, was sent BROKER_DROP after
 * that, and has answered BROKER_DROPPED
 *
 * BROKER_DROP goes out only to lanes that have moved on, so that none opens the connection again
 * from an old snapshot. A broker that comes back meanwhile gets another number. Free numbers are
 * used in turn, the longest free first: a result may name one long after. */
#pragma once

#include "control/fault.h"
#include "control/report.h"
#include "control/resolve.h"
#include "dataplane/lane_port.h"

enum salvo_broker_state { SALVO_BROKER_FREE, SALVO_BROKER_USED, SALVO_BROKER_LEAVING };

struct salvo_broker_name;

struct salvo_broker {
    enum salvo_broker_state state;
    uint32_t topics_count;  /* topics with a queue on it */
    uint64_t leaving_epoch; /* the first snapshot without it */
    uint64_t drop_sent;     /* a bit for each lane */
    uint64_t dropped;
    uint64_t freed_order;
    uint32_t question; /* to the resolver: the latest one */
    bool resolving;
    bool ask_again;           /* there was no room for the question */
    int64_t resolve_after_ns; /* a name is not looked up again before */
    char address[SALVO_RESOLVE_HOST_MAX];
    struct salvo_route_broker route; /* as it goes into the next snapshot */
};

struct salvo_brokers {
    /* fixed after start */
    uint32_t brokers_max;
    struct salvo_lane_port **ports;
    uint32_t lanes_count;
    struct salvo_report *report;
    struct salvo_resolver *resolver;
    struct salvo_fault *fault;

    /* control only */
    struct salvo_broker *table;
    struct salvo_broker_name *names; /* every name ever seen, until deinit */
    uint32_t leaving_count;
    uint64_t freed_count;
    uint32_t questions;
    int64_t ask_again_ns; /* INT64_MAX: nobody has to */
    uint32_t version;     /* goes up with every change that a snapshot shows */

    /* control -> anyone */
    _Atomic(const char *)
        *names_published; /* by number: as route.name, kept after the broker left */
};

#define SALVO_LANES_MAX 64u /* a bit each */

/* 0 or -ENOMEM. */
int salvo_brokers_init(struct salvo_brokers *brokers, uint32_t brokers_max,
                       struct salvo_lane_port **ports, uint32_t lanes_count,
                       struct salvo_report *report, struct salvo_resolver *resolver,
                       struct salvo_fault *fault);
void salvo_brokers_deinit(struct salvo_brokers *brokers);

/* The number of a broker in use, or a free one taken for it; SALVO_BROKER_NONE when brokers_max are
 * there (reported once). */
uint32_t salvo_brokers_take(struct salvo_brokers *brokers, const char *name);

/* Its master's "host:port", as the latest answer has it; looked up when it is new. */
void salvo_brokers_address(struct salvo_brokers *brokers, uint32_t broker, const char *address,
                           int64_t now_ns);

/* Looks up those that the resolver had no room for. Returns how many; and when the next is due. */
int salvo_brokers_ask_again(struct salvo_brokers *brokers, int64_t now_ns);
int64_t salvo_brokers_next_ns(const struct salvo_brokers *brokers);

/* A topic has gained or lost its queues on this broker. */
void salvo_brokers_topic(struct salvo_brokers *brokers, uint32_t broker, bool gained);

/* Before the snapshot of `epoch` is made: brokers without a topic leave, and with them their
 * entries in the fault table, their heartbeats and control's connections, in the same turn. */
void salvo_brokers_leave(struct salvo_brokers *brokers, uint64_t epoch);

/* Every lane uses snapshot `epoch` or a later one: tells lanes to drop what has left. Returns work.
 */
int salvo_brokers_do_work(struct salvo_brokers *brokers, uint64_t epoch);

/* A lane's BROKER_DROPPED. */
void salvo_brokers_dropped(struct salvo_brokers *brokers, uint32_t broker, uint32_t lane_index);

/* False for a broker that is leaving: what lanes still say of it is of no use. */
bool salvo_brokers_used(const struct salvo_brokers *brokers, uint32_t broker);

/* One more than the highest number in use. */
uint32_t salvo_brokers_count(const struct salvo_brokers *brokers);

/* The name last given to this number, or NULL. Lives until deinit. Thread: any. */
const char *salvo_brokers_name(struct salvo_brokers *brokers, uint32_t broker);
