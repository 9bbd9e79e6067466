/* Open batches into frames, and what an ordered message has to wait for. */
#include "dataplane/lane_internal.h"

#include <string.h>

/* A batch request's own properties: brokers 4.8.0 to 5.3.3 add them to each item, so no UNIQ_KEY.
 */
const char salvo_lane_wait_true[] = "WAIT\x01true\x02";
const char salvo_lane_wait_false[] = "WAIT\x01"
                                     "false\x02";

/* A batch of one is sent as a single message; its item says where body and properties are. */
static struct salvo_lane_payload lane_batch_payload(const struct salvo_batch *batch,
                                                    bool *ret_single, int32_t *ret_flag)
{
    bool no_wait = (batch->key.flags & SALVO_BATCH_NO_WAIT) != 0;
    const char *wait = no_wait ? salvo_lane_wait_false : salvo_lane_wait_true;
    struct salvo_reader r;
    struct salvo_batch_item item;

    *ret_single = batch->count == 1;
    *ret_flag = 0;
    if (!*ret_single)
        return (struct salvo_lane_payload){
            .properties = (const uint8_t *)wait,
            .properties_size = (uint32_t)strlen(wait),
            .body = batch->bytes,
            .body_size = batch->used,
        };
    r = salvo_reader_over(batch->bytes, batch->used);
    if (salvo_batch_item_read(&r, &item) != 0)
        salvo_unreachable();
    *ret_flag = item.flag;
    return (struct salvo_lane_payload){
        .properties = item.properties,
        .properties_size = item.properties_size,
        .body = item.body,
        .body_size = item.body_size,
    };
}

static struct salvo_request *lane_batch_request(struct salvo_lane *lane,
                                                const struct salvo_batch *batch, bool single,
                                                int32_t flag)
{
    struct salvo_request *request = salvo_request_take(&lane->inflight);

    request->flags = (uint16_t)(batch->key.flags & ~SALVO_BATCH_NO_WAIT);
    if (!single)
        request->flags |= SALVO_REQUEST_BATCH;
    if (batch->key.flags & SALVO_BATCH_NO_WAIT)
        request->flags |= SALVO_REQUEST_NO_WAIT;
    request->item_first = batch->item_first;
    request->items_count = batch->count;
    request->topic = batch->key.topic;
    request->queue = batch->key.queue;
    request->budget_ns = batch->deadline_ns;
    request->try_ms = salvo_lane_try_ms(lane, batch->key.budget_ns);
    request->flag = flag;
    if (!single)
        lane_count(lane, SALVO_LANE_BATCHES_CLOSED, 1);
    return request;
}

/* Makes an open batch a request that waits: in its queue's line when it is ordered, else in the
 * open. False: no room, later. */
static bool lane_batch_to_wait(struct salvo_lane *lane, struct salvo_batch *batch)
{
    bool single;
    int32_t flag;
    struct salvo_lane_payload payload = lane_batch_payload(batch, &single, &flag);
    struct salvo_request *request;

    if (lane->inflight.free_count < 2 || !lane_may_wait(lane))
        return false;
    request = lane_batch_request(lane, batch, single, flag);
    if (!salvo_lane_park(lane, request, payload.properties, payload.properties_size, payload.body,
                         payload.body_size, false)) {
        salvo_request_free(&lane->inflight, request);
        return false;
    }
    salvo_wheel_add(&lane->inflight, request, request->budget_ns);
    if (request->flags & SALVO_REQUEST_ORDERED)
        salvo_lane_line_add(lane, request);
    else
        salvo_lane_wait(lane, request);
    return true;
}

/* An ordered message that cannot join an open batch of its queue stands behind it: every such batch
 * but `joins` moves into the line first. False: no room, later. */
bool salvo_lane_order_before(struct salvo_lane *lane, uint32_t queue,
                             const struct salvo_batch *joins)
{
    for (uint32_t i = 0; i < lane->batches.count;) {
        struct salvo_batch *batch = &lane->batches.open[i];

        if (batch == joins || batch->key.queue != queue ||
            (batch->key.flags & SALVO_REQUEST_ORDERED) == 0) {
            i++;
            continue;
        }
        if (!lane_batch_to_wait(lane, batch))
            return false;
        salvo_batch_close(&lane->batches, batch);
        if (joins != NULL && joins > batch)
            joins--;
    }
    return true;
}

/* Whether the message's time is up at about the same time as the batch's: those that share a frame
 * share its deadline, the earliest of theirs, and lose at most an eighth of their budget by it. */
static bool lane_batch_in_time(const struct salvo_batch *batch, const struct salvo_slot *slot)
{
    int64_t apart_ns = slot->deadline_ns - batch->deadline_ns;

    return (apart_ns < 0 ? -apart_ns : apart_ns) <= slot->budget_ns / 8;
}

/* Whether the batch waits for what others need not wait for: a route, its one queue's connection,
 * or a topic none of whose brokers answers. */
static bool lane_batch_stuck(const struct salvo_lane *lane, const struct salvo_batch *batch)
{
    const struct salvo_route_topic *topic = lane_topic(lane, batch->key.topic);

    if (topic == NULL || topic->state != SALVO_ROUTE_GOOD)
        return true;
    if (!batch->held || batch->key.queue != SALVO_QUEUE_NONE)
        return batch->held;
    for (uint32_t i = 0; i < topic->queues_count; i++) {
        const struct salvo_conn *conn = &lane->conns[topic->queues[i].broker];

        if (!conn->silent && salvo_select_check(conn, UINT32_MAX) != SALVO_SELECT_DOWN)
            return false;
    }
    return true;
}

/* The oldest closes: it goes as soon as it can, and makes room at once when that may be long. */
static enum lane_take lane_batch_close_oldest(struct salvo_lane *lane)
{
    struct salvo_batch *oldest = &lane->batches.open[0];

    oldest->full = true;
    if (!lane_batch_stuck(lane, oldest))
        return LANE_SHORT;
    if (!lane_may_park(lane) || !lane_batch_to_wait(lane, oldest))
        return LANE_ALONE;
    salvo_batch_close(&lane->batches, oldest);
    return LANE_TAKEN;
}

/* Into an open batch. */
enum lane_take salvo_lane_batch_slot(struct salvo_lane *lane, struct salvo_submitter *s,
                                     struct salvo_slot *slot, uint32_t flags, uint32_t queue,
                                     const uint8_t *body, uint32_t body_size, int64_t now_ns)
{
    struct salvo_batch_key key = {
        .topic = slot->topic,
        .queue = queue,
        .flags = flags | ((slot->flags & SALVO_SLOT_NO_WAIT) ? SALVO_BATCH_NO_WAIT : 0),
        .budget_ns = slot->budget_ns,
    };
    struct salvo_batch_item item = {
        .flag = slot->flag,
        .body = body,
        .body_size = body_size,
        .properties = salvo_slot_properties(slot),
        .properties_size = (uint16_t)slot->properties_size,
    };
    struct salvo_batch *batch = salvo_batch_find(&lane->batches, &key);
    uint32_t index;

    if (batch != NULL && !lane_batch_in_time(batch, slot)) {
        batch->full = true;
        batch = NULL;
    }
    if (flags & SALVO_REQUEST_ORDERED) {
        if (!salvo_lane_order_before(lane, queue, batch))
            return LANE_SHORT;
        batch = salvo_batch_find(&lane->batches, &key); /* others may have closed before it */
    }
    if (batch == NULL || !salvo_batch_add(&lane->batches, batch, &item)) {
        if (batch != NULL && (flags & SALVO_REQUEST_ORDERED) &&
            !salvo_lane_order_before(lane, queue, NULL))
            return LANE_SHORT;
        if (lane->batches.count == lane->conf.batch.open_max) {
            enum lane_take r = lane_batch_close_oldest(lane);

            if (r != LANE_TAKEN)
                return r;
        }
        batch = salvo_batch_open(&lane->batches, &key, now_ns, slot->deadline_ns);
        if (!salvo_batch_add(&lane->batches, batch, &item))
            salvo_unreachable(); /* an item that fits no batch is sent alone */
    }
    salvo_batch_end_by(batch, now_ns, slot->deadline_ns);
    index = salvo_lane_item(lane, s, slot);
    if (batch->item_last == SALVO_ITEM_NONE)
        batch->item_first = index;
    else
        lane->inflight.items[batch->item_last].next = index;
    batch->item_last = index;
    return LANE_TAKEN;
}

/* Whether the batch's buffer becomes a chunk, which saves the copy: chunks are so plentiful that
 * the rest of one may stay empty. */
static bool lane_batch_is_chunk(const struct salvo_lane *lane, const struct salvo_batch *batch,
                                const struct salvo_conn *conn)
{
    const struct salvo_chunk_pool *chunks = &lane->chunks;

    return salvo_lane_exchanges(&lane->conf) &&
           batch->used >= chunks->chunk_size / SALVO_LANE_EXCHANGE_PART &&
           conn->chunks_held <= lane->chunks_share / 2 &&
           salvo_chunk_pool_room(chunks, false) > chunks->chunks_max / 2;
}

/* Sends the batch, or lets it wait in its line. False: it stays open for now. */
static bool lane_send_batch(struct salvo_lane *lane, struct salvo_batch *batch, int64_t now_ns)
{
    const struct salvo_route_topic *topic = lane_topic(lane, batch->key.topic);
    bool ordered = (batch->key.flags & SALVO_REQUEST_ORDERED) != 0;
    const struct salvo_route_queue *queue = NULL;
    struct salvo_request *request;
    struct salvo_lane_payload payload;
    uint32_t index;
    int32_t flag;
    bool single;

    if (topic == NULL || topic->state != SALVO_ROUTE_GOOD) {
        salvo_lane_want_route(lane, batch->key.topic, now_ns);
        return false;
    }
    if (lane->inflight.free_count < 2)
        return false;
    payload = lane_batch_payload(batch, &single, &flag);
    if (batch->key.queue != SALVO_QUEUE_NONE) {
        queue = salvo_lane_find_queue(topic, batch->key.queue);
        if (queue != NULL && salvo_select_check(&lane->conns[queue->broker], lane->chunks_share))
            queue = NULL;
    } else if (salvo_select_queue(&lane->select, topic, lane->conns, lane->conf.availability,
                                  lane->chunks_share, SALVO_BROKER_NONE, now_ns, &index) == 0) {
        queue = &topic->queues[index];
    }
    if (ordered && lane->lines[batch->key.queue].busy != SALVO_REQUEST_NONE) {
        /* Behind others: it goes on gathering while it can, and makes room when it cannot. */
        return batch->full && lane_batch_to_wait(lane, batch);
    }
    if (queue == NULL ||
        !salvo_lane_chunks_suffice(
            lane, queue->broker,
            salvo_lane_size_bound(lane, payload.properties_size, payload.body_size), false))
        return false;
    request = lane_batch_request(lane, batch, single, flag);
    if (!single && lane_batch_is_chunk(lane, batch, &lane->conns[queue->broker]))
        payload.buffer = &batch->bytes;
    salvo_lane_encode(lane, request, topic, queue, &payload, now_ns);
    if (ordered)
        lane->lines[batch->key.queue].busy = salvo_inflight_index(&lane->inflight, request);
    return true;
}

/* Time is up for what was never sent: each message gets its result. */
static void lane_fail_batch(struct salvo_lane *lane, const struct salvo_batch *batch,
                            int64_t now_ns)
{
    const struct salvo_route_topic *topic = lane_topic(lane, batch->key.topic);
    bool routed = topic != NULL && topic->state == SALVO_ROUTE_GOOD;
    bool stopped = now_ns < batch->deadline_ns;
    struct salvo_lane_end end = {
        .code = stopped  ? SALVO_UNSENT_STOPPED
                : routed ? SALVO_TIMED_OUT_UNSENT
                         : SALVO_NO_ROUTE,
        .stored = SALVO_STORED_NO,
        .detail = stopped || routed ? NULL : salvo_lane_route_trouble(topic),
    };

    salvo_lane_finish_batch(lane, batch, &end, now_ns);
}

/* Whether a batch should go now: full, due, or nothing more can come to it this turn. */
static bool lane_batch_ready(const struct salvo_lane *lane, const struct salvo_batch *batch,
                             int64_t now_ns)
{
    return batch->full || now_ns >= batch->due_ns || lane->drain_at_ns != INT64_MAX ||
           (lane->conf.batch.mode == SALVO_BATCH_MODE_NATURAL && !lane->ring_has_more);
}

int salvo_lane_send_batches(struct salvo_lane *lane, int64_t now_ns)
{
    int work = 0;

    for (uint32_t i = 0; i < lane->batches.count;) {
        struct salvo_batch *batch = &lane->batches.open[i];

        if (now_ns >= SALVO_MIN(batch->deadline_ns, lane->drain_at_ns)) {
            lane_fail_batch(lane, batch, now_ns);
        } else if (!lane_batch_ready(lane, batch, now_ns)) {
            i++;
            continue;
        } else if (!lane_send_batch(lane, batch, now_ns)) {
            batch->held = true;
            i++;
            continue;
        }
        salvo_batch_close(&lane->batches, batch);
        work++;
    }
    return work;
}
