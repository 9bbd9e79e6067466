/* The waiting list and the parking place: retries, messages without a route or a connection,
 * refused batches being taken apart. */
#include "dataplane/lane_internal.h"

void salvo_lane_wait(struct salvo_lane *lane, struct salvo_request *request)
{
    uint32_t index = salvo_inflight_index(&lane->inflight, request);

    salvo_assert(request->state == SALVO_REQUEST_WAITING);
    request->flags |= SALVO_REQUEST_IN_LIST;
    request->next = SALVO_REQUEST_NONE;
    request->previous = lane->waiting.tail;
    if (lane->waiting.tail != SALVO_REQUEST_NONE)
        lane->inflight.requests[lane->waiting.tail].next = index;
    else
        lane->waiting.head = index;
    lane->waiting.tail = index;
    lane->waiting.count++;
    lane->waiting_dirty = true;
}

void salvo_lane_unwait(struct salvo_lane *lane, struct salvo_request *request)
{
    salvo_assert((request->flags & SALVO_REQUEST_IN_LIST) != 0);
    request->flags &= (uint16_t)~SALVO_REQUEST_IN_LIST;
    if (request->previous != SALVO_REQUEST_NONE)
        lane->inflight.requests[request->previous].next = request->next;
    else
        lane->waiting.head = request->next;
    if (request->next != SALVO_REQUEST_NONE)
        lane->inflight.requests[request->next].previous = request->previous;
    else
        lane->waiting.tail = request->previous;
    request->next = SALVO_REQUEST_NONE;
    request->previous = SALVO_REQUEST_NONE;
    lane->waiting.count--;
}

bool salvo_lane_park(struct salvo_lane *lane, struct salvo_request *request,
                     const uint8_t *properties, uint32_t properties_size, const uint8_t *body,
                     uint32_t body_size, bool urgent)
{
    struct salvo_conn *parking = &lane->parking;
    size_t size = (size_t)properties_size + body_size;
    uint32_t needed = salvo_conn_chunks_needed(parking, &lane->chunks, size);

    if (needed != 0 && !salvo_lane_chunks_room(lane, needed + 1, urgent))
        return false;
    salvo_conn_frame_start(parking, &lane->chunks, 1, &request->chunk, &request->offset);
    salvo_conn_append(parking, &lane->chunks, properties, properties_size);
    salvo_conn_append(parking, &lane->chunks, body, body_size);
    salvo_conn_forget(parking, &lane->chunks);
    request->prefix_size = 0;
    request->properties_size = properties_size;
    request->suffix_size = 0;
    request->body_size = body_size;
    request->flags |= SALVO_REQUEST_RAW_PROPERTIES | SALVO_REQUEST_PARKED;
    return true;
}

const char *salvo_lane_route_trouble(const struct salvo_route_topic *topic)
{
    return salvo_route_trouble(topic == NULL ? SALVO_ROUTE_UNKNOWN : topic->state);
}

/* One item of a refused batch becomes a request of its own. False: something is short, later. */
static bool lane_split_one(struct salvo_lane *lane, struct salvo_request *request)
{
    uint32_t at = request->offset + request->prefix_size + request->properties_size +
                  request->suffix_size + (uint32_t)request->sent_ns;
    uint32_t left = request->body_size - (uint32_t)request->sent_ns;
    struct salvo_reader r = salvo_reader_over(
        salvo_chunk_linear(&lane->chunks, request->chunk, at, left, lane->scratch), left);
    struct salvo_batch_item item;
    struct salvo_request *single;

    if (lane->inflight.free_count < 2)
        return false;
    if (salvo_batch_item_read(&r, &item) != 0)
        salvo_unreachable(); /* we wrote it */
    single = salvo_request_take(&lane->inflight);
    if (!salvo_lane_park(lane, single, item.properties, item.properties_size, item.body,
                         item.body_size, true)) {
        salvo_request_free(&lane->inflight, single);
        return false;
    }
    single->flags |= request->flags & (SALVO_REQUEST_COMPRESSED | SALVO_REQUEST_ORDERED |
                                       SALVO_REQUEST_PINNED | SALVO_REQUEST_STORED_MAYBE);
    single->item_first = request->item_first;
    single->items_count = 1;
    request->item_first = lane->inflight.items[single->item_first].next;
    request->items_count--;
    lane->inflight.items[single->item_first].next = SALVO_ITEM_NONE;
    single->topic = request->topic;
    single->queue = request->queue;
    single->budget_ns = request->budget_ns;
    single->try_ms = request->try_ms;
    single->flag = item.flag;
    /* Each gets one more try at least, whatever the batch has used up. */
    single->tries = (uint8_t)(SALVO_MIN(request->tries + 1u, lane->conf.tries_max) - 1);
    single->broker_last = request->broker_last;
    single->refused_code = request->refused_code;
    request->sent_ns += (int64_t)(left - salvo_reader_left(&r));
    salvo_wheel_add(&lane->inflight, single, single->budget_ns);
    if (request->flags & SALVO_REQUEST_ORDERED) {
        /* In order: the single has the turn, the rest of the batch stands right behind it. */
        lane->lines[request->queue].busy = salvo_inflight_index(&lane->inflight, single);
    }
    salvo_lane_wait(lane, single);
    return true;
}

/* Puts the rest of a splitting ordered batch at the front of its line. */
static void lane_line_push_front(struct salvo_lane *lane, struct salvo_request *request)
{
    struct salvo_lane_line *line = &lane->lines[request->queue];
    uint32_t index = salvo_inflight_index(&lane->inflight, request);

    request->flags |= SALVO_REQUEST_IN_LINE;
    lane->lined++;
    request->previous = SALVO_REQUEST_NONE;
    request->next = line->head;
    if (line->head != SALVO_REQUEST_NONE)
        lane->inflight.requests[line->head].previous = index;
    else
        line->tail = index;
    line->head = index;
}

/* Takes a refused batch apart, as far as there is room. True when something was done. */
static bool lane_split(struct salvo_lane *lane, struct salvo_request *request)
{
    bool ordered = (request->flags & SALVO_REQUEST_ORDERED) != 0;
    bool done = false;

    while (request->items_count != 0 && lane_split_one(lane, request)) {
        done = true;
        if (ordered)
            break;
    }
    if (request->items_count == 0) {
        salvo_lane_unwait(lane, request);
        salvo_wheel_remove(&lane->inflight, request);
        salvo_lane_unhold(lane, request);
        salvo_request_free(&lane->inflight, request);
    } else if (done && ordered) {
        salvo_lane_unwait(lane, request);
        lane_line_push_front(lane, request);
    }
    return done;
}

/* The payload of a request that waits: its properties in one piece, its body where it lies. */
static struct salvo_lane_payload lane_waiting_payload(struct salvo_lane *lane,
                                                      const struct salvo_request *request)
{
    /* compress_scratch: scratch may be needed for the header. */
    return (struct salvo_lane_payload){
        .properties = salvo_chunk_linear(&lane->chunks, request->chunk,
                                         request->offset + request->prefix_size,
                                         request->properties_size, lane->compress_scratch),
        .properties_size = request->properties_size,
        .encoded = (request->flags & SALVO_REQUEST_RAW_PROPERTIES) == 0,
        .chunk = request->chunk,
        .offset = request->offset + request->prefix_size + request->properties_size +
                  request->suffix_size,
        .body_size = request->body_size,
    };
}

/* The queue a waiting request goes to now, or NULL. */
static const struct salvo_route_queue *lane_waiting_queue(struct salvo_lane *lane,
                                                          const struct salvo_request *request,
                                                          const struct salvo_route_topic *topic,
                                                          int64_t now_ns)
{
    bool fixed = (request->flags & (SALVO_REQUEST_ORDERED | SALVO_REQUEST_PINNED)) != 0;
    uint32_t last = request->broker_last == UINT16_MAX ? SALVO_BROKER_NONE : request->broker_last;
    const struct salvo_route_queue *queue;
    uint32_t index;

    if (fixed) {
        queue = salvo_lane_find_queue(topic, request->queue);
        if (queue == NULL || salvo_select_check(&lane->conns[queue->broker], UINT32_MAX))
            return NULL;
        return queue;
    }
    if (salvo_select_queue(&lane->select, topic, lane->conns, lane->conf.availability, UINT32_MAX,
                           last, now_ns, &index) != 0)
        return NULL;
    return &topic->queues[index];
}

/* The most bytes of its properties and body in another frame; what lies in one has its escapes. */
static size_t lane_waiting_bound(const struct salvo_lane *lane, const struct salvo_request *request)
{
    if (request->flags & SALVO_REQUEST_RAW_PROPERTIES)
        return salvo_lane_size_bound(lane, request->properties_size, request->body_size);
    return (size_t)request->properties_size + request->body_size;
}

/* Sends one waiting request if it can go. */
static bool lane_send_one_waiting(struct salvo_lane *lane, struct salvo_request *request,
                                  int64_t now_ns)
{
    const struct salvo_route_topic *topic = lane_topic(lane, request->topic);
    const struct salvo_route_queue *queue;
    struct salvo_request before = *request;
    struct salvo_lane_payload payload;

    if (request->flags & SALVO_REQUEST_SPLITTING)
        return lane_split(lane, request);
    if (topic == NULL || topic->state != SALVO_ROUTE_GOOD) {
        salvo_lane_want_route(lane, request->topic, now_ns);
        return false;
    }
    queue = lane_waiting_queue(lane, request, topic, now_ns);
    if (queue == NULL)
        return false;
    /* A pause holds only for the broker that asked for it. */
    if (request->not_before_ns > now_ns && queue->broker == request->broker_last) {
        lane->waiting_at_ns = SALVO_MIN(lane->waiting_at_ns, request->not_before_ns);
        return false;
    }
    if (!salvo_lane_chunks_suffice(lane, queue->broker, lane_waiting_bound(lane, request), true)) {
        lane_count(lane, SALVO_LANE_CHUNKS_SHORT, 1);
        return false;
    }
    payload = lane_waiting_payload(lane, request);
    salvo_lane_unwait(lane, request);
    salvo_wheel_remove(&lane->inflight, request);
    salvo_lane_encode(lane, request, topic, queue, &payload, now_ns);
    salvo_lane_unhold(lane, &before); /* the bytes it was copied from */
    return true;
}

/* --- bound messages whose topic had no route -------------------------------------------------- */

/* Messages of a topic that has no route keep asking for it. */
#define LANE_UNBOUND_ASK_NS (100 * SALVO_NS_PER_MS)

/* Out of its topic's line, and on to its queue. False: no room for an open batch that is before it.
 */
static bool lane_bind_one(struct salvo_lane *lane, const struct salvo_route_topic *topic,
                          struct salvo_request *request, int64_t now_ns)
{
    static const struct salvo_lane_end no_queue = {
        .code = SALVO_NO_ROUTE,
        .stored = SALVO_STORED_NO,
        .detail = "the topic has no queue of that index",
    };
    uint32_t what = lane->inflight.items[request->item_first].shard_hash;
    uint32_t queue = SALVO_QUEUE_NONE;

    if (request->flags & SALVO_REQUEST_ORDERED) {
        queue = salvo_lane_shard_queue(topic, what);
        if (!salvo_lane_order_before(lane, queue, NULL))
            return false;
        salvo_lane_line_remove(lane, request);
        request->queue = queue;
        salvo_lane_line_add(lane, request);
        return true;
    }
    salvo_lane_line_remove(lane, request);
    if (salvo_lane_pinned_queue(topic, what, &queue) != 0) {
        salvo_wheel_remove(&lane->inflight, request);
        salvo_lane_finish(lane, request, &no_queue, now_ns);
        return true;
    }
    request->queue = queue;
    salvo_lane_wait(lane, request);
    return true;
}

/* In the order they were taken, each topic for itself; before anything new of the topic is taken.
 */
static int lane_bind(struct salvo_lane *lane, int64_t now_ns)
{
    int work = 0;

    lane->bind_again = false;
    for (uint32_t i = 0; lane->unbound != 0 && i < lane->conf.topics_max; i++) {
        struct salvo_lane_line *line = lane_topic_line(lane, i);
        const struct salvo_route_topic *topic = lane_topic(lane, i);

        if (line->head == SALVO_REQUEST_NONE)
            continue;
        if (topic == NULL || topic->state != SALVO_ROUTE_GOOD) {
            salvo_lane_want_route(lane, i, now_ns);
            lane->waiting_at_ns = SALVO_MIN(lane->waiting_at_ns, now_ns + LANE_UNBOUND_ASK_NS);
            continue;
        }
        while (line->head != SALVO_REQUEST_NONE &&
               lane_bind_one(lane, topic, &lane->inflight.requests[line->head], now_ns))
            work++;
        lane->bind_again |= line->head != SALVO_REQUEST_NONE;
    }
    return work;
}

int salvo_lane_send_waiting(struct salvo_lane *lane, int64_t now_ns)
{
    uint32_t index;
    uint32_t left;
    int work = 0;

    if (now_ns >= lane->waiting_at_ns) {
        lane->waiting_dirty = true;
        lane->waiting_at_ns = INT64_MAX;
    }
    if (lane->waiting_dirty || lane->bind_again)
        work += lane_bind(lane, now_ns);
    if (lane->waiting_dirty) {
        lane->waiting_dirty = false;
        lane->waiting_unseen = lane->waiting.count;
    }
    index = lane->waiting.head;
    left = SALVO_MIN(lane->waiting_unseen, (uint32_t)SALVO_LANE_WAITING_PER_CYCLE);
    lane->waiting_unseen -= left;
    for (; left != 0 && index != SALVO_REQUEST_NONE; left--) {
        struct salvo_request *request = &lane->inflight.requests[index];

        index = request->next;
        if (lane_send_one_waiting(lane, request, now_ns)) {
            work++;
        } else if (lane->waiting.tail != salvo_inflight_index(&lane->inflight, request)) {
            /* To the end, so that one that cannot go does not hide those behind it. */
            bool dirty = lane->waiting_dirty;

            salvo_lane_unwait(lane, request);
            salvo_lane_wait(lane, request);
            lane->waiting_dirty = dirty;
        }
    }
    return work + (lane->waiting_unseen != 0); /* work too: the rest next turn */
}
