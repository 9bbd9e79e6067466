/* Every message between control and a lane. There is no other way but the route pointer and the
 * availability words (dataplane/route.h).
 *
 * Commands go control -> lane, events lane -> control, each through its own SPSC ring as one
 * fixed-size record. A full event ring never stops a lane: ROUTE_WANTED, OUTCOME and *_ERROR are
 * advice and CONNECTION_* news, and are dropped and counted; the others are tried again by the lane
 * next turn until they fit. */
#pragma once

#include "base/base.h"
#include "dataplane/mirror.h"
#include "dataplane/net.h"

enum salvo_command_kind {
    /* control -> lane: from deadline_ns on everything still open gets its result: not sent, or
     * unknown. DRAINED follows as soon as nothing is open (at once when nothing is). Inputs are
     * already closed. */
    SALVO_COMMAND_DRAIN = 1,
    /* control -> lane: broker number `broker` is in no route any more. Its connection is closed
     * when nothing awaits an answer on it; then BROKER_DROPPED. The number is not used again
     * before. */
    SALVO_COMMAND_BROKER_DROP,
    /* control -> lane: copy the frames that `filter` lets through; and no more of them. */
    SALVO_COMMAND_MIRROR_BEGIN,
    SALVO_COMMAND_MIRROR_END,
    /* control -> lane: open a connection for control to `endpoint`; `stream` is control's number
     * for it. STREAM_UP or STREAM_CLOSED follows. */
    SALVO_COMMAND_STREAM_OPEN,
    /* control -> lane: send `size` bytes at `bytes` on `stream`. The memory belongs to control and
     * stays untouched until STREAM_RELEASED (in order) or STREAM_CLOSED. */
    SALVO_COMMAND_STREAM_SEND,
    /* control -> lane: the bytes of a STREAM_BYTES event have been read; `buffer` as in the event.
     */
    SALVO_COMMAND_STREAM_GIVE_BACK,
    /* control -> lane: close `stream`; STREAM_CLOSED follows. */
    SALVO_COMMAND_STREAM_CLOSE,
};

struct salvo_command {
    enum salvo_command_kind kind;
    uint32_t broker;
    uint32_t stream;
    uint32_t buffer;
    int64_t deadline_ns;
    int64_t timeout_ns;
    const uint8_t *bytes; /* owner: control */
    size_t size;
    struct salvo_endpoint endpoint;
    struct salvo_mirror_filter filter;
};

enum salvo_event_kind {
    SALVO_EVENT_ROUTE_WANTED = 1, /* lane -> control: messages for `topic` wait without a route; or
                                     a broker said that it does not know the topic (code 17) */
    SALVO_EVENT_OUTCOME, /* lane -> control: tries on `broker` ended so (for the fault table) */
    SALVO_EVENT_CONNECTION_UP,   /* lane -> control: data connection to `broker` */
    SALVO_EVENT_CONNECTION_DOWN, /* lane -> control: it went down, or could not be made: `down`,
                                    `code` */
    SALVO_EVENT_FRAME_ERROR,     /* lane -> control: bad frame from `broker`; `text` is a literal */
    SALVO_EVENT_BROKER_DROPPED,  /* lane -> control */
    SALVO_EVENT_DRAINED,         /* lane -> control: nothing is open any more */
    SALVO_EVENT_STREAM_UP,
    SALVO_EVENT_STREAM_BYTES, /* lane -> control: `size` bytes at `bytes`; lane's until GIVE_BACK */
    SALVO_EVENT_STREAM_RELEASED, /* lane -> control: `size` bytes of STREAM_SENDs are free again */
    SALVO_EVENT_STREAM_CLOSED, /* lane -> control: `down`, `code`; all memory sent is free again */
};

/* How a try ended, as the fault table sees it (MQFaultStrategy.updateFaultItem, section 6.4). */
enum salvo_outcome {
    SALVO_OUTCOME_GOOD,            /* answered well; latency_ns counts */
    SALVO_OUTCOME_BROKER_ERROR,    /* answered with an error code */
    SALVO_OUTCOME_TIMEOUT,         /* no answer in time */
    SALVO_OUTCOME_CONNECTION_LOST, /* died, or could not be made */
};

struct salvo_event {
    enum salvo_event_kind kind;
    uint32_t lane_index;
    uint32_t topic;
    uint32_t broker;
    uint32_t stream;
    uint32_t buffer;
    enum salvo_outcome outcome;
    enum salvo_net_down down;
    int32_t code; /* errno or response code */
    int64_t latency_ns;
    const char *text;     /* a literal */
    const uint8_t *bytes; /* owner: lane */
    size_t size;
};
