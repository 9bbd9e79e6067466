/* A lane's connections, the streams it carries for control, and what it tells control. */
#include "dataplane/lane_internal.h"

#include <errno.h>

/* Reconnecting: at once after a good connection, then doubling to a second, with a quarter of
 * jitter. */
#define LANE_BACKOFF_NS_MIN (10 * SALVO_NS_PER_MS)
#define LANE_BACKOFF_NS_MAX SALVO_NS_PER_S
/* A topic's route is asked for again while messages wait for it. */
#define LANE_ROUTE_ASK_NS (100 * SALVO_NS_PER_MS)

/* --- events to control ------------------------------------------------------------------------ */

bool salvo_lane_tell(struct salvo_lane *lane, struct salvo_event *event)
{
    void *slot;

    event->lane_index = lane->conf.lane_index;
    /* What is advice, or can be told next turn, leaves the room that this turn's stream events may
     * need. */
    if ((lane->conf.streams_max != 0 && event->kind < SALVO_EVENT_STREAM_UP &&
         !salvo_lane_events_room(lane)) ||
        salvo_ring_claim(&lane->port.events, sizeof(*event), &slot)) {
        lane_count(lane, SALVO_LANE_EVENTS_DROPPED, 1);
        return false;
    }
    *(struct salvo_event *)slot = *event;
    salvo_ring_commit(&lane->port.events, sizeof(*event));
    salvo_ring_publish(&lane->port.events);
    if (lane->control_net == NULL || event->kind == SALVO_EVENT_OUTCOME)
        return true;
    /* Our store of the tail before our load of asleep; pairs with the fence in control's sleep. */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(lane->control_asleep, memory_order_relaxed) != 0)
        salvo_net_wake(lane->control_net);
    return true;
}

bool salvo_lane_events_room(struct salvo_lane *lane)
{
    void *slot;
    uint64_t size =
        salvo_ring_record_size(sizeof(struct salvo_event)) * SALVO_LANE_EVENTS_PER_CYCLE;

    if (salvo_ring_claim(&lane->port.events, size, &slot))
        return false;
    salvo_ring_abort(&lane->port.events);
    return true;
}

void salvo_lane_want_route(struct salvo_lane *lane, uint32_t topic, int64_t now_ns)
{
    struct salvo_event event = {.kind = SALVO_EVENT_ROUTE_WANTED, .topic = topic};

    if (now_ns - lane->route_wanted_ns[topic] < LANE_ROUTE_ASK_NS)
        return;
    if (salvo_lane_tell(lane, &event))
        lane->route_wanted_ns[topic] = now_ns;
}

void salvo_lane_outcome(struct salvo_lane *lane, uint32_t broker, enum salvo_outcome outcome,
                        int32_t code, int64_t latency_ns)
{
    struct salvo_event event = {
        .kind = SALVO_EVENT_OUTCOME,
        .broker = broker,
        .outcome = outcome,
        .code = code,
        .latency_ns = latency_ns,
    };
    struct salvo_conn *conn = &lane->conns[broker];

    if (lane->route == NULL || !lane->route->outcomes_wanted)
        return;
    /* Good and fast is the rule: one in 1,024 is told, so that a penalty of old can be cleared. */
    if (outcome == SALVO_OUTCOME_GOOD && latency_ns < 50 * SALVO_NS_PER_MS &&
        (conn->outcomes_untold++ & 1023) != 0)
        return;
    salvo_lane_tell(lane, &event);
}

/* --- connections ------------------------------------------------------------------------------ */

void salvo_lane_touch(struct salvo_lane *lane, uint32_t broker)
{
    if (lane->conns[broker].touched)
        return;
    lane->conns[broker].touched = true;
    lane->touched[lane->touched_count++] = broker;
}

void salvo_lane_close(struct salvo_lane *lane, struct salvo_conn *conn)
{
    if (conn->closing || (conn->state != SALVO_CONN_UP && conn->state != SALVO_CONN_CONNECTING))
        return;
    conn->closing = true;
    lane->close_wanted = true;
}

void salvo_lane_frame_error(struct salvo_lane *lane, uint32_t broker, const char *why)
{
    struct salvo_event event = {.kind = SALVO_EVENT_FRAME_ERROR, .broker = broker, .text = why};

    lane_count(lane, SALVO_LANE_FRAMES_BAD, 1);
    salvo_lane_tell(lane, &event);
    salvo_lane_close(lane, &lane->conns[broker]);
}

static void lane_back_off(struct salvo_lane *lane, struct salvo_conn *conn, int64_t now_ns)
{
    conn->backoff_ns = SALVO_CLAMP(conn->backoff_ns * 2, LANE_BACKOFF_NS_MIN, LANE_BACKOFF_NS_MAX);
    conn->attempt_at_ns =
        now_ns + conn->backoff_ns -
        (int64_t)salvo_random_below(&lane->random, (uint64_t)conn->backoff_ns / 4);
    lane->tend_at_ns = SALVO_MIN(lane->tend_at_ns, conn->attempt_at_ns);
}

static void lane_connect(struct salvo_lane *lane, uint32_t broker,
                         const struct salvo_route_broker *to, int64_t now_ns)
{
    struct salvo_conn *conn = &lane->conns[broker];
    struct salvo_event event = {
        .kind = SALVO_EVENT_CONNECTION_DOWN, .broker = broker, .down = SALVO_NET_DOWN_ERROR};
    int r = salvo_net_connect(lane->net, &to->endpoint, lane->conf.connect_timeout_ns, broker,
                              &conn->link);

    if (r) { /* for want of something of ours: the broker's record stays clean */
        event.code = -r;
        lane_count(lane, SALVO_LANE_CONNECTS_FAILED, 1);
        lane_back_off(lane, conn, now_ns);
        salvo_lane_tell(lane, &event);
        return;
    }
    conn->state = SALVO_CONN_CONNECTING;
    conn->generation = to->generation;
    conn->closing = false;
    conn->close_called = false;
    conn->draining = false;
}

/* What the network does not take is cut when its time is up and keeps its chunks. When there are
 * none for more, no time-out comes any more that could end the connection. */
static void lane_tend_blocked(struct salvo_lane *lane, struct salvo_conn *conn, int64_t now_ns,
                              int64_t *at)
{
    if (now_ns >= salvo_lane_silence_ends_ns(conn))
        salvo_lane_close(lane, conn);
    else
        *at = SALVO_MIN(*at, salvo_lane_silence_ends_ns(conn));
}

/* Looks after one broker; *at is lowered to when it wants to be looked after again. */
static void lane_tend_broker(struct salvo_lane *lane, uint32_t broker, int64_t now_ns, int64_t *at)
{
    struct salvo_conn *conn = &lane->conns[broker];
    const struct salvo_route_broker *to = lane->route != NULL && broker < lane->route->brokers_count
                                              ? &lane->route->brokers[broker]
                                              : NULL;
    struct salvo_event dropped = {.kind = SALVO_EVENT_BROKER_DROPPED, .broker = broker};
    int64_t heartbeat_ns;

    conn->wanted = to != NULL && to->used && to->has_endpoint && !conn->dropping;
    if (conn->state == SALVO_CONN_UP) {
        if (!conn->wanted || conn->generation != to->generation)
            conn->draining = true;
        if (conn->draining && conn->inflight == 0)
            salvo_lane_close(lane, conn);
        if (conn->draining) /* gets no heartbeats; what it still has in flight has deadlines */
            return;
        heartbeat_ns = conn->last_sent_ns + lane->conf.heartbeat_ns;
        if (now_ns >= heartbeat_ns) {
            conn->last_sent_ns = now_ns;
            heartbeat_ns = now_ns + lane->conf.heartbeat_ns;
            salvo_lane_send_heartbeat(lane, broker, now_ns);
        }
        *at = SALVO_MIN(*at, heartbeat_ns);
        if (conn->blocked)
            lane_tend_blocked(lane, conn, now_ns, at);
    } else if (conn->state == SALVO_CONN_CONNECTING) {
        /* To a broker that has left, or where it was before: nobody waits for that. */
        if (!conn->wanted || conn->generation != to->generation)
            salvo_lane_close(lane, conn);
    } else if (conn->state == SALVO_CONN_DOWN && conn->wanted) {
        if (now_ns >= conn->attempt_at_ns)
            lane_connect(lane, broker, to, now_ns);
        if (conn->state == SALVO_CONN_DOWN)
            *at = SALVO_MIN(*at, conn->attempt_at_ns);
    } else if (conn->state == SALVO_CONN_DOWN && conn->dropping) {
        if (salvo_lane_tell(lane, &dropped))
            salvo_conn_hand_on(conn);
        else
            *at = now_ns + SALVO_NS_PER_MS;
    }
}

void salvo_lane_tend(struct salvo_lane *lane, int64_t now_ns)
{
    int64_t at = INT64_MAX;
    uint32_t used = 0;

    lane->tend_at_ns = INT64_MAX;
    for (uint32_t i = 0; i < lane->conf.brokers_max; i++) {
        lane_tend_broker(lane, i, now_ns, &at);
        used += lane->conns[i].wanted;
    }
    lane->tend_at_ns = SALVO_MIN(lane->tend_at_ns, at);
    /* One silent broker may hold its share of the chunks and no more; one at least, or with more
     * brokers than chunks each that holds any would count as full. */
    lane->chunks_share = (lane->chunks.chunks_max - lane->chunks.reserve) / SALVO_MAX(used, 1u);
    lane->chunks_share = SALVO_MAX(lane->chunks_share, 1u);
}

/* --- what the network says -------------------------------------------------------------------- */

static void lane_on_up(struct salvo_lane *lane, uint32_t broker, int64_t now_ns)
{
    struct salvo_conn *conn = &lane->conns[broker];
    struct salvo_event event = {.kind = SALVO_EVENT_CONNECTION_UP, .broker = broker};

    if (conn->closing)
        return; /* closed while it came up: DOWN follows */
    salvo_assert(conn->state == SALVO_CONN_CONNECTING);
    conn->state = SALVO_CONN_UP;
    conn->window = conn->silent ? 1 : conn->window_max;
    conn->last_sent_ns = now_ns;
    conn->answered_ns = now_ns;
    conn->silent_since_ns = now_ns;
    lane->tend_at_ns = now_ns;
    lane_count(lane, SALVO_LANE_CONNECTIONS_OPENED, 1);
    lane_count(lane, SALVO_LANE_CONNECTIONS_UP, 1);
    salvo_lane_tell(lane, &event);
}

static void lane_on_down(struct salvo_lane *lane, uint32_t broker, const struct salvo_net_event *e,
                         int64_t now_ns)
{
    struct salvo_conn *conn = &lane->conns[broker];
    struct salvo_event event = {
        .kind = SALVO_EVENT_CONNECTION_DOWN,
        .broker = broker,
        .down = e->down.reason,
        .code = e->down.code,
    };

    if (conn->state == SALVO_CONN_UP) {
        lane_count(lane, SALVO_LANE_CONNECTIONS_UP, UINT64_MAX); /* a gauge: one less */
        if (!conn->closing) {
            lane_count(lane, SALVO_LANE_CONNECTIONS_LOST, 1);
            salvo_lane_outcome(lane, broker, SALVO_OUTCOME_CONNECTION_LOST, e->down.code, 0);
        }
    } else if (!conn->closing) {
        lane_count(lane, SALVO_LANE_CONNECTS_FAILED, 1);
        salvo_lane_outcome(lane, broker, SALVO_OUTCOME_CONNECTION_LOST, e->down.code, 0);
    }
    if (conn->answered)
        conn->backoff_ns = 0;
    lane_back_off(lane, conn, now_ns);
    salvo_lane_on_down(lane, broker, e->down.handed_over, now_ns);
    salvo_lane_tell(lane, &event);
}

static void lane_stream_push(struct salvo_lane *lane, struct salvo_lane_stream *stream)
{
    while (stream->up && !stream->blocked && stream->sends_count != 0) {
        struct salvo_range *range = &stream->sends[stream->sends_first];
        size_t n = salvo_net_send(lane->net, stream->link, range, 1);

        if (n < range->size) {
            range->bytes += n;
            range->size -= n;
            stream->blocked = true;
            return;
        }
        stream->sends_first = (stream->sends_first + 1) % SALVO_LANE_STREAM_SENDS;
        stream->sends_count--;
    }
}

/* Passes a net event of a stream on to control; there is room in the ring for a turn's worth of
 * them. */
static void lane_on_stream(struct salvo_lane *lane, const struct salvo_net_event *e)
{
    uint32_t number = (uint32_t)e->cookie;
    struct salvo_lane_stream *stream = &lane->streams[number];
    struct salvo_event event = {.stream = number};

    switch (e->kind) {
    case SALVO_NET_UP:
        stream->up = true;
        event.kind = SALVO_EVENT_STREAM_UP;
        break;
    case SALVO_NET_DATA:
        event.kind = SALVO_EVENT_STREAM_BYTES;
        event.bytes = e->data.bytes;
        event.size = e->data.size;
        event.buffer = e->data.buffer;
        break;
    case SALVO_NET_RELEASED:
        stream->blocked = false;
        lane->streams_wanted = true;
        event.kind = SALVO_EVENT_STREAM_RELEASED;
        event.size = e->released.bytes;
        if (event.size == 0)
            return;
        break;
    case SALVO_NET_DOWN:
        stream->up = false;
        stream->down = e->down.reason;
        stream->code = e->down.code;
        return; /* CLOSED is told when nothing refers to control's memory any more */
    case SALVO_NET_GONE:
        event.kind = SALVO_EVENT_STREAM_CLOSED;
        event.down = stream->down;
        event.code = stream->code;
        *stream = (struct salvo_lane_stream){0};
        break;
    default:
        salvo_unreachable();
    }
    if (!salvo_lane_tell(lane, &event))
        salvo_unreachable(); /* the turn began with room for all it may tell */
}

void salvo_lane_on_event(struct salvo_lane *lane, const struct salvo_net_event *e, int64_t now_ns)
{
    uint32_t broker = (uint32_t)e->cookie;
    struct salvo_conn *conn;

    if (e->cookie & SALVO_LANE_STREAM_COOKIE) {
        lane_on_stream(lane, e);
        return;
    }
    salvo_assert(broker < lane->conf.brokers_max);
    conn = &lane->conns[broker];
    /* Whatever it is, it may be what a request waits for: a window, chunks, a connection. */
    lane->waiting_dirty |= lane->waiting.count != 0;
    switch (e->kind) {
    case SALVO_NET_UP:
        lane_on_up(lane, broker, now_ns);
        return;
    case SALVO_NET_DATA:
        salvo_lane_on_data(lane, broker, e->data.bytes, e->data.size, now_ns);
        salvo_net_give_back(lane->net, e->data.buffer);
        if (conn->draining && conn->inflight == 0)
            lane->tend_at_ns = now_ns;
        return;
    case SALVO_NET_RELEASED:
        salvo_conn_released(conn, &lane->chunks, e->released.bytes);
        if (conn->state == SALVO_CONN_UP)
            salvo_lane_touch(lane, broker);
        return;
    case SALVO_NET_DOWN:
        lane_on_down(lane, broker, e, now_ns);
        return;
    case SALVO_NET_GONE:
        salvo_conn_gone(conn, &lane->chunks);
        lane->tend_at_ns = now_ns;
        return;
    case SALVO_NET_ACCEPTED:
        break;
    }
    salvo_unreachable();
}

/* The events of one poll may hold a link's end: nothing is sent on a link or closed while they are
 * gone through, but here, when it is known which links still live. */
void salvo_lane_after_events(struct salvo_lane *lane)
{
    if (SALVO_UNLIKELY(lane->close_wanted)) {
        lane->close_wanted = false;
        for (uint32_t i = 0; i < lane->conf.brokers_max; i++) {
            struct salvo_conn *conn = &lane->conns[i];

            if (conn->closing && !conn->close_called &&
                (conn->state == SALVO_CONN_UP || conn->state == SALVO_CONN_CONNECTING)) {
                conn->close_called = true;
                salvo_net_close(lane->net, conn->link);
            }
        }
    }
    if (SALVO_UNLIKELY(lane->streams_wanted)) {
        lane->streams_wanted = false;
        for (uint32_t i = 0; i < lane->conf.streams_max; i++)
            lane_stream_push(lane, &lane->streams[i]);
    }
}

/* --- commands --------------------------------------------------------------------------------- */

/* True when it was taken: a connection is on its way, or its CLOSED could be told. */
static bool lane_stream_open(struct salvo_lane *lane, const struct salvo_command *command)
{
    struct salvo_lane_stream *stream = &lane->streams[command->stream];
    struct salvo_event closed = {
        .kind = SALVO_EVENT_STREAM_CLOSED,
        .stream = command->stream,
        .down = SALVO_NET_DOWN_ERROR,
    };
    int r;

    salvo_assert(!stream->used);
    r = salvo_net_connect(lane->net, &command->endpoint, command->timeout_ns,
                          SALVO_LANE_STREAM_COOKIE | command->stream, &stream->link);
    if (r == 0) {
        stream->used = true;
        return true;
    }
    closed.code = -r;
    return salvo_lane_tell(lane, &closed);
}

/* True when it was taken: STREAM_SEND onto a stream whose line of sends is not full. */
static bool lane_stream_send(struct salvo_lane *lane, const struct salvo_command *command)
{
    struct salvo_lane_stream *stream = &lane->streams[command->stream];
    uint32_t at;

    if (!stream->up)
        return true; /* CLOSED is on its way, and gives the memory back */
    if (stream->sends_count == SALVO_LANE_STREAM_SENDS)
        return false;
    at = (stream->sends_first + stream->sends_count++) % SALVO_LANE_STREAM_SENDS;
    stream->sends[at] = (struct salvo_range){command->bytes, command->size};
    lane_stream_push(lane, stream);
    return true;
}

bool salvo_lane_on_command(struct salvo_lane *lane, const struct salvo_command *command,
                           int64_t now_ns)
{
    if (command->kind >= SALVO_COMMAND_STREAM_OPEN &&
        command->kind != SALVO_COMMAND_STREAM_GIVE_BACK)
        salvo_assert(command->stream < lane->conf.streams_max);
    switch (command->kind) {
    case SALVO_COMMAND_DRAIN:
        lane->drain_at_ns = command->deadline_ns;
        lane->drained_wanted = true;
        return true;
    case SALVO_COMMAND_BROKER_DROP:
        salvo_assert(command->broker < lane->conf.brokers_max);
        lane->conns[command->broker].dropping = true;
        lane->tend_at_ns = now_ns;
        return true;
    case SALVO_COMMAND_MIRROR_BEGIN:
        salvo_mirror_begin(lane->conf.mirror, &command->filter);
        return true;
    case SALVO_COMMAND_MIRROR_END:
        salvo_mirror_end(lane->conf.mirror);
        return true;
    case SALVO_COMMAND_STREAM_OPEN:
        return lane_stream_open(lane, command);
    case SALVO_COMMAND_STREAM_SEND:
        return lane_stream_send(lane, command);
    case SALVO_COMMAND_STREAM_GIVE_BACK:
        salvo_net_give_back(lane->net, command->buffer);
        return true;
    case SALVO_COMMAND_STREAM_CLOSE:
        if (lane->streams[command->stream].used)
            salvo_net_close(lane->net, lane->streams[command->stream].link);
        return true;
    }
    salvo_unreachable();
}
