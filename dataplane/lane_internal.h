/* What the lane's own files share: lane.c (the turn), lane_send.c (messages into frames), lane_answer.c
 * (answers, deadlines, deaths), lane_result.c (results and ordered lines), lane_link.c (connections and
 * streams). Nobody else includes this. */
#pragma once

#include "dataplane/lane.h"

#define SALVO_LANE_STREAM_COOKIE (UINT64_C(1) << 32)

/* A connection of control's that this lane carries (lane_msg.h, STREAM_*). */
struct salvo_lane_stream {
    bool used;
    bool up;
    uint32_t link;
    const uint8_t *bytes; /* of the STREAM_SEND being sent, owner: control */
    size_t size;
    size_t taken;
    bool blocked;
};

/* How a request ended, for its results. */
struct salvo_lane_end {
    enum salvo_code code;
    enum salvo_stored stored;
    const struct salvo_send_answer *answer; /* NULL: none */
    const char *detail;                     /* when there is no remark; a literal or NULL */
};

static inline void lane_count(struct salvo_lane *lane, enum salvo_lane_counter counter, uint64_t n)
{
    salvo_counter_add(lane->conf.counters, counter, n);
}

static inline const struct salvo_route_topic *lane_topic(const struct salvo_lane *lane, uint32_t topic)
{
    if (lane->route == NULL || topic >= lane->route->topics_count)
        return NULL;
    return lane->route->topics[topic];
}

/* Frame bytes of a request: what its chunks are awaited for. */
static inline uint32_t lane_request_size(const struct salvo_request *request)
{
    return request->prefix_size + request->properties_size + request->suffix_size +
           request->body_size;
}

/* --- lane_send.c --- */

enum lane_take { LANE_TAKEN = 0, LANE_SHORT = 1 };

/* Takes one message out of a slot: into a frame, a batch, the parking place, or straight to a result.
 * LANE_SHORT: nothing was changed, try again next turn. */
enum lane_take salvo_lane_take_slot(struct salvo_lane *lane, struct salvo_submitter *s,
                                    struct salvo_slot *slot, int64_t now_ns);
int salvo_lane_send_waiting(struct salvo_lane *lane, int64_t now_ns);
int salvo_lane_send_batches(struct salvo_lane *lane, int64_t now_ns);
/* Puts a request on the waiting list: it goes as soon as a connection takes it. */
void salvo_lane_wait(struct salvo_lane *lane, struct salvo_request *request, int64_t now_ns);
void salvo_lane_unwait(struct salvo_lane *lane, struct salvo_request *request);
void salvo_lane_send_heartbeat(struct salvo_lane *lane, uint32_t broker, int64_t now_ns);
bool salvo_lane_park(struct salvo_lane *lane, struct salvo_request *request,
                     const uint8_t *properties, uint32_t properties_size, const uint8_t *body,
                     uint32_t body_size, bool urgent);
/* The request holds its chunks no more. */
void salvo_lane_unhold(struct salvo_lane *lane, struct salvo_request *request);

/* --- lane_answer.c --- */

int salvo_lane_on_data(struct salvo_lane *lane, uint32_t broker, const uint8_t *bytes, uint32_t size,
                       int64_t now_ns);
void salvo_lane_on_expired(struct salvo_lane *lane, struct salvo_request *request, int64_t now_ns);
void salvo_lane_on_down(struct salvo_lane *lane, uint32_t broker, uint64_t handed_over,
                        int64_t now_ns);
/* The drain's deadline has come: everything open gets its result. */
void salvo_lane_give_up(struct salvo_lane *lane, int64_t now_ns);

/* --- lane_result.c --- */

/* Gives each item its result and frees the request. It is in no list, not in the wheel, and not counted on
 * its connection any more; its queue's line moves on. */
void salvo_lane_finish(struct salvo_lane *lane, struct salvo_request *request,
                       const struct salvo_lane_end *end, int64_t now_ns);
/* A result for a message that never became a request. */
void salvo_lane_finish_slot(struct salvo_lane *lane, struct salvo_submitter *s,
                            const struct salvo_slot *slot, enum salvo_code code, const char *detail,
                            int64_t now_ns);
/* A result for one item of an open batch, or of a request (taken out of its list already). */
void salvo_lane_finish_item(struct salvo_lane *lane, uint32_t item, const struct salvo_lane_end *end,
                            int64_t now_ns);
void salvo_lane_publish_results(struct salvo_lane *lane);

/* Adds an ordered request to its queue's line; it is sent when its turn comes. */
void salvo_lane_line_add(struct salvo_lane *lane, struct salvo_request *request, int64_t now_ns);
/* Out of the line, wherever it stands. */
void salvo_lane_line_remove(struct salvo_lane *lane, struct salvo_request *request);
/* Whose turn it is next, when nobody's. */
void salvo_lane_line_advance(struct salvo_lane *lane, uint32_t queue, int64_t now_ns);

/* --- lane_link.c --- */

/* Connects, reconnects, drains, keeps alive. */
void salvo_lane_tend(struct salvo_lane *lane, int64_t now_ns);
void salvo_lane_touch(struct salvo_lane *lane, uint32_t broker);
void salvo_lane_on_event(struct salvo_lane *lane, const struct salvo_net_event *event, int64_t now_ns);
void salvo_lane_on_command(struct salvo_lane *lane, const struct salvo_command *command, int64_t now_ns);
/* Closes a connection over something it said. */
void salvo_lane_frame_error(struct salvo_lane *lane, uint32_t broker, const char *why);
/* An event to control: false when its ring is full (counted). */
bool salvo_lane_tell(struct salvo_lane *lane, struct salvo_event *event);
void salvo_lane_want_route(struct salvo_lane *lane, uint32_t topic, int64_t now_ns);
/* A try on `broker` ended so. */
void salvo_lane_outcome(struct salvo_lane *lane, uint32_t broker, enum salvo_outcome outcome,
                        int32_t code, int64_t latency_ns);
bool salvo_lane_events_room(struct salvo_lane *lane);
