/* What the lane's own files share: lane.c (the turn), lane_send.c (a message into a frame),
 * lane_batch.c, lane_waiting.c (retries and parking), lane_answer.c (answers, deadlines, deaths),
 * lane_result.c (results and ordered lines), lane_link.c (connections and streams). Nobody else
 * includes this. */
#pragma once

#include "dataplane/lane.h"

#define SALVO_LANE_STREAM_COOKIE (UINT64_C(1) << 32)

/* Sends of one stream that stand behind each other; then its commands wait in the ring. */
#define SALVO_LANE_STREAM_SENDS 64u

/* A connection of control's that this lane carries (lane_msg.h, STREAM_*). */
struct salvo_lane_stream {
    bool used;
    bool up;
    bool blocked;
    uint32_t link;
    struct salvo_range sends[SALVO_LANE_STREAM_SENDS]; /* not yet taken; owner: control */
    uint32_t sends_first;
    uint32_t sends_count;
    enum salvo_net_down down; /* why it went down, until CLOSED is told */
    int code;
};

/* How a request ended, for its results. */
struct salvo_lane_end {
    enum salvo_code code;
    enum salvo_stored stored;
    const struct salvo_send_answer *answer; /* NULL: none */
    const char *detail;                     /* when there is no remark; a literal or NULL */
    uint8_t tries;                          /* of an item that leaves its request alone */
    bool line_goes_on; /* who stands behind on its shard is seen to by the caller, or need not be */
};

static inline void lane_count(struct salvo_lane *lane, enum salvo_lane_counter counter, uint64_t n)
{
    salvo_counter_add(lane->conf.counters, counter, n);
}

static inline const struct salvo_route_topic *lane_topic(const struct salvo_lane *lane,
                                                         uint32_t topic)
{
    if (lane->route == NULL || topic >= lane->route->topics_count)
        return NULL;
    return lane->route->topics[topic];
}

/* Whether one more request may wait, in the open or in a line: a quarter of them at most stand for
 * something that may never come, the others keep moving. */
static inline bool lane_may_wait(const struct salvo_lane *lane)
{
    return lane->waiting.count + lane->lined < lane->conf.requests_max / 4;
}

/* The line of bound messages (pinned or ordered) whose topic has no route yet. */
static inline struct salvo_lane_line *lane_topic_line(const struct salvo_lane *lane, uint32_t topic)
{
    return &lane->lines[lane->conf.queues_max + topic];
}

static inline bool lane_is_unbound(const struct salvo_lane *lane,
                                   const struct salvo_request *request)
{
    return request->queue != SALVO_QUEUE_NONE && request->queue >= lane->conf.queues_max;
}

/* Frame bytes of a request: what its chunks are awaited for. */
static inline uint32_t lane_request_size(const struct salvo_request *request)
{
    return request->prefix_size + request->properties_size + request->suffix_size +
           request->body_size;
}

/* --- lane_send.c: from a slot, and the frame itself --- */

/* What a frame is made of. The body is at `body`, or in chunks. */
struct salvo_lane_payload {
    const uint8_t *properties;
    uint32_t properties_size;
    bool encoded;        /* as they lie in a header of our form, not in wire form */
    const uint8_t *body; /* NULL: in chunks, from (chunk, offset) */
    uint32_t chunk;
    uint32_t offset;
    uint32_t body_size;
    uint8_t **buffer; /* the body's, as long as a chunk, to be exchanged for one; NULL: copied */
};

enum lane_take {
    LANE_TAKEN = 0,
    LANE_SHORT = 1,
    LANE_ALONE = 2, /* of a batch: none can be opened, perhaps for long */
};

/* Takes one message out of a slot: into a frame, a batch, the parking place, or straight to a
 * result. LANE_SHORT: nothing was changed, try again next turn. */
enum lane_take salvo_lane_take_slot(struct salvo_lane *lane, struct salvo_submitter *s,
                                    struct salvo_slot *slot, int64_t now_ns);
/* Encodes a request into the chunks of the queue's connection, and counts it as sent. The caller
 * has looked at window and chunks. */
void salvo_lane_encode(struct salvo_lane *lane, struct salvo_request *request,
                       const struct salvo_route_topic *topic, const struct salvo_route_queue *queue,
                       const struct salvo_lane_payload *p, int64_t now_ns);
/* The most bytes of properties and body in a frame; and whether the chunks suffice for so many. */
size_t salvo_lane_size_bound(const struct salvo_lane *lane, uint32_t properties_size,
                             uint32_t body_size);
/* Whether so many chunks are free. When they are short, once a turn, connections that have nothing
 * to do give back the chunk that they keep warm. */
bool salvo_lane_chunks_room(struct salvo_lane *lane, uint32_t chunks, bool urgent);
/* Whether one more may wait that has to be parked: a quarter of the chunks stay for what moves. */
static inline bool lane_may_park(struct salvo_lane *lane)
{
    return lane_may_wait(lane) &&
           salvo_lane_chunks_room(lane, (lane->chunks.chunks_max - lane->chunks.reserve) / 4,
                                  false);
}
bool salvo_lane_chunks_suffice(struct salvo_lane *lane, uint32_t broker, size_t size, bool urgent);
const struct salvo_route_queue *salvo_lane_find_queue(const struct salvo_route_topic *topic,
                                                      uint32_t queue);
/* The queue at an index of the topic's list (0; -1: there is none), and the one of a shard. */
int salvo_lane_pinned_queue(const struct salvo_route_topic *topic, uint32_t index,
                            uint32_t *ret_queue);
uint32_t salvo_lane_shard_queue(const struct salvo_route_topic *topic, uint32_t shard_hash);
/* Limit of one try for a budget. */
uint32_t salvo_lane_try_ms(const struct salvo_lane *lane, int64_t budget_ns);
/* The item of a message that was taken. */
uint32_t salvo_lane_item(struct salvo_lane *lane, const struct salvo_submitter *s,
                         const struct salvo_slot *slot);
void salvo_lane_send_heartbeat(struct salvo_lane *lane, uint32_t broker, int64_t now_ns);

/* --- lane_batch.c --- */

/* The properties of a batch's own header. */
extern const char salvo_lane_wait_true[];
extern const char salvo_lane_wait_false[];

/* A message into an open batch; LANE_ALONE: it is not in one. */
enum lane_take salvo_lane_batch_slot(struct salvo_lane *lane, struct salvo_submitter *s,
                                     struct salvo_slot *slot, uint32_t flags, uint32_t queue,
                                     const uint8_t *body, uint32_t body_size, int64_t now_ns);
/* An ordered message that cannot join an open batch of its queue stands behind it: every such batch
 * but `joins` moves into the line first. False: no room, later. */
bool salvo_lane_order_before(struct salvo_lane *lane, uint32_t queue,
                             const struct salvo_batch *joins);
int salvo_lane_send_batches(struct salvo_lane *lane, int64_t now_ns);

/* --- lane_waiting.c --- */

/* Puts a request on the waiting list: it goes as soon as a connection takes it. */
void salvo_lane_wait(struct salvo_lane *lane, struct salvo_request *request);
void salvo_lane_unwait(struct salvo_lane *lane, struct salvo_request *request);
/* Copies properties (wire form) and body to the parking place, and lets the request stand for them.
 * False: chunks are short (urgent: the reserve may be used). */
bool salvo_lane_park(struct salvo_lane *lane, struct salvo_request *request,
                     const uint8_t *properties, uint32_t properties_size, const uint8_t *body,
                     uint32_t body_size, bool urgent);
/* Why a topic cannot be sent to: a literal. */
const char *salvo_lane_route_trouble(const struct salvo_route_topic *topic);
int salvo_lane_send_waiting(struct salvo_lane *lane, int64_t now_ns);

/* --- lane_answer.c --- */

int salvo_lane_on_data(struct salvo_lane *lane, uint32_t broker, const uint8_t *bytes,
                       uint32_t size, int64_t now_ns);
void salvo_lane_on_expired(struct salvo_lane *lane, struct salvo_request *request, int64_t now_ns);
void salvo_lane_on_down(struct salvo_lane *lane, uint32_t broker, uint64_t handed_over,
                        int64_t now_ns);
/* The drain's deadline has come: everything open gets its result. */
void salvo_lane_give_up(struct salvo_lane *lane, int64_t now_ns);

/* --- lane_result.c --- */

/* The detail of UNSENT_EARLIER_FAILED. */
extern const char salvo_lane_earlier_failed[];

/* The request holds its chunks no more. */
void salvo_lane_unhold(struct salvo_lane *lane, struct salvo_request *request);

/* Gives each item its result and frees the request. It is in no list, not in the wheel, and not
 * counted on its connection any more; its queue's line moves on. */
void salvo_lane_finish(struct salvo_lane *lane, struct salvo_request *request,
                       const struct salvo_lane_end *end, int64_t now_ns);
/* A result for a message that never became a request. */
void salvo_lane_finish_slot(struct salvo_lane *lane, struct salvo_submitter *s,
                            const struct salvo_slot *slot, enum salvo_code code, const char *detail,
                            int64_t now_ns);
/* A result for each message of an open batch, which is closed then. */
void salvo_lane_finish_batch(struct salvo_lane *lane, const struct salvo_batch *batch,
                             const struct salvo_lane_end *end, int64_t now_ns);
void salvo_lane_publish_results(struct salvo_lane *lane);

/* Adds an ordered request to its queue's line; it is sent when its turn comes. */
void salvo_lane_line_add(struct salvo_lane *lane, struct salvo_request *request);
/* Out of the line, wherever it stands. */
void salvo_lane_line_remove(struct salvo_lane *lane, struct salvo_request *request);
/* Whose turn it is next, when nobody's. */
void salvo_lane_line_advance(struct salvo_lane *lane, uint32_t queue);

/* --- lane_link.c --- */

/* Connects, reconnects, drains, keeps alive. */
void salvo_lane_tend(struct salvo_lane *lane, int64_t now_ns);
void salvo_lane_touch(struct salvo_lane *lane, uint32_t broker);
void salvo_lane_on_event(struct salvo_lane *lane, const struct salvo_net_event *event,
                         int64_t now_ns);
/* False: not now, the command stays in the ring. */
bool salvo_lane_on_command(struct salvo_lane *lane, const struct salvo_command *command,
                           int64_t now_ns);

/* A broker that says nothing for so long while requests wait is given a new connection: this one
 * may be half open. */
#define SALVO_LANE_SILENCE_MAX_NS (10 * SALVO_NS_PER_S)

/* When that is; INT64_MAX: it is not silent. */
static inline int64_t salvo_lane_silence_ends_ns(const struct salvo_conn *conn)
{
    if (!salvo_conn_is_silent(conn))
        return INT64_MAX;
    return conn->silent_since_ns + SALVO_LANE_SILENCE_MAX_NS;
}

/* Ends a connection; the network is told when this turn's events are through. */
void salvo_lane_close(struct salvo_lane *lane, struct salvo_conn *conn);
void salvo_lane_after_events(struct salvo_lane *lane);
/* Closes a connection over something it said. */
void salvo_lane_frame_error(struct salvo_lane *lane, uint32_t broker, const char *why);
/* An event to control: false when its ring is full (counted). */
bool salvo_lane_tell(struct salvo_lane *lane, struct salvo_event *event);
void salvo_lane_want_route(struct salvo_lane *lane, uint32_t topic, int64_t now_ns);
/* A try on `broker` ended so. */
void salvo_lane_outcome(struct salvo_lane *lane, uint32_t broker, enum salvo_outcome outcome,
                        int32_t code, int64_t latency_ns);
bool salvo_lane_events_room(struct salvo_lane *lane);
