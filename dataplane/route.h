/* Route snapshots and availability words: what control lets lanes know of the cluster.
 *
 * A snapshot is immutable once published. Control builds it (control/route_build.c), stores its
 * address in each lane's `route_published`, and frees an old one when every lane has moved on
 * (`route_seen`, or asleep). A lane loads the pointer once a turn and keeps nothing of it across
 * turns but small integers: topic, broker and queue numbers, which are not used again while
 * anything refers to them. Topics that did not change are shared with the snapshot before,
 * templates included. */
#pragma once

#include "base/assert.h"
#include "base/base.h"
#include "codec/send.h"
#include "dataplane/net.h"

#define SALVO_BROKER_NONE UINT32_MAX
#define SALVO_QUEUE_NONE  UINT32_MAX
#define SALVO_TOPIC_NONE  UINT32_MAX

/* Templates differ in what cannot be patched: code and batch flag, and sysFlag. */
enum salvo_template_kind {
    SALVO_TEMPLATE_SINGLE = 0,            /* 310, m=false, f=0 */
    SALVO_TEMPLATE_SINGLE_COMPRESSED = 1, /* 310, m=false, f=the configured type's bits */
    SALVO_TEMPLATE_BATCH = 2,             /* 320, m=true, f=0 */
    SALVO_TEMPLATE_BATCH_COMPRESSED = 3,  /* 320, m=true, every item compressed by the type */
    SALVO_TEMPLATE_KINDS = 4,
};

struct salvo_route_queue {
    uint32_t queue;  /* small number of (topic, broker, queueId), below queues_max */
    uint32_t broker; /* small number of the broker, below brokers_max */
    int32_t queueId;
    const struct salvo_send_template *templates; /* SALVO_TEMPLATE_KINDS of them */
};

enum salvo_route_state {
    SALVO_ROUTE_UNKNOWN = 0, /* not asked, or no answer yet */
    SALVO_ROUTE_GOOD,        /* queues_count > 0 */
    SALVO_ROUTE_NO_QUEUE,    /* the nameserver knows the topic, but nothing of it can be written */
    SALVO_ROUTE_NO_ROOM,     /* it could be, but queues_max or brokers_max left none of it in */
    SALVO_ROUTE_NO_TOPIC,    /* unknown, and there is no TBW102 to create it from */
    SALVO_ROUTE_UNSUPPORTED, /* static topic (5.x logical queues) */
};

/* Why nothing can be sent there, for people; NULL: it can. */
static inline const char *salvo_route_trouble(enum salvo_route_state state)
{
    switch (state) {
    case SALVO_ROUTE_GOOD:
        return NULL;
    case SALVO_ROUTE_UNKNOWN:
        return "no nameserver has answered with a route of the topic";
    case SALVO_ROUTE_NO_QUEUE:
        return "no queue of the topic can be written";
    case SALVO_ROUTE_NO_ROOM:
        return "the topic's queues or brokers did not fit; raise option queues_max or brokers_max";
    case SALVO_ROUTE_NO_TOPIC:
        return "the topic does not exist and brokers do not create it";
    case SALVO_ROUTE_UNSUPPORTED:
        return "static topics (5.x logical queues) are not supported";
    }
    salvo_unreachable();
}

struct salvo_route_topic {
    enum salvo_route_state state;
    uint32_t topic;
    /* What the general writer needs for a message that no template fits (a flag was set). */
    const struct salvo_send_fields
        *fields; /* all but queueId, properties, times; brokerName by broker */
    uint32_t queues_count;
    uint32_t brokers_count; /* distinct brokers among the queues */
    struct salvo_route_queue queues[];
};

struct salvo_route_broker {
    bool used;
    bool has_endpoint;   /* the master's address is known and resolved */
    uint32_t generation; /* goes up when the endpoint changes: the connection is made anew */
    struct salvo_endpoint endpoint;
    const char *name; /* brokerName */
};

struct salvo_route {
    uint64_t epoch; /* 1, 2, 3... */
    uint32_t topics_count;
    const struct salvo_route_topic *const
        *topics; /* by topic number; NULL: as SALVO_ROUTE_UNKNOWN */
    uint32_t brokers_count;
    const struct salvo_route_broker *brokers; /* by broker number */
    /* The empty heartbeat that keeps a data connection alive: a whole frame with ten-digit opaque 0
     * to patch at heartbeat_opaque_offset (binary: 4 bytes; JSON: ten digits). */
    const uint8_t *heartbeat;
    uint32_t heartbeat_size;
    uint32_t heartbeat_opaque_offset;
    enum salvo_header_form heartbeat_form;
    bool outcomes_wanted; /* the fault-latency table is on: lanes report latencies */
};

/* One word for each broker, written by control, read by lanes (relaxed: it is advice).
 * Bits 0..62: not available until this mono time in ns (0: available). Bit 63: not reachable. */
typedef _Atomic uint64_t salvo_availability;

#define SALVO_AVAILABILITY_UNREACHABLE (UINT64_C(1) << 63)

static inline bool salvo_availability_available(uint64_t word, int64_t now_ns)
{
    return (word & SALVO_AVAILABILITY_UNREACHABLE) == 0 && (uint64_t)now_ns >= word;
}

static inline bool salvo_availability_reachable(uint64_t word)
{
    return (word & SALVO_AVAILABILITY_UNREACHABLE) == 0;
}
