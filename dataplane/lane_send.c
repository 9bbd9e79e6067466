/* Messages into frames: from a slot, an open batch, or the waiting list. */
#include "dataplane/lane_internal.h"

#include <string.h>

/* Bodies up to this size are compressed here; larger ones were by commit (submitter.c). */
#define LANE_COMPRESS_MAX SALVO_KIB(16)

/* --- one frame -------------------------------------------------------------------------------- */

/* The template of a queue that fits the request; one is made on the spot for a message with a flag.
 */
static const struct salvo_send_template *lane_template(const struct salvo_lane *lane,
                                                       const struct salvo_route_topic *topic,
                                                       const struct salvo_route_queue *queue,
                                                       const struct salvo_request *request,
                                                       struct salvo_send_template *own)
{
    bool batch = (request->flags & SALVO_REQUEST_BATCH) != 0;
    bool compressed = (request->flags & SALVO_REQUEST_COMPRESSED) != 0;
    struct salvo_send_fields fields;
    int r;

    if (SALVO_LIKELY(request->flag == 0 || batch))
        return &queue->templates[(batch ? SALVO_TEMPLATE_BATCH : SALVO_TEMPLATE_SINGLE) +
                                 (compressed ? 1 : 0)];
    fields = *topic->fields;
    fields.code = SALVO_REQUEST_SEND_MESSAGE_V2;
    fields.queueId = queue->queueId;
    fields.flag = request->flag;
    fields.batch = false;
    fields.sysFlag = compressed ? lane->conf.compressed_sysflag : 0;
    if (fields.brokerName.text != NULL) /* the declared version sends it */
        fields.brokerName = salvo_text_of(lane->route->brokers[queue->broker].name);
    r = salvo_send_template_init(own, lane->conf.form, &fields, false);
    salvo_assert(r == 0); /* control has tried it with the longest flag */
    return own;
}

static size_t lane_header_bound(const struct salvo_send_template *t,
                                const struct salvo_lane_payload *p)
{
    return p->encoded ? salvo_send_template_bound(t, 0) + p->properties_size
                      : salvo_send_template_bound(t, p->properties_size);
}

/* Writes a header at `to`, which has room for the bound. */
static size_t lane_write_header(const struct salvo_send_template *t,
                                const struct salvo_lane_payload *p, uint8_t *to, int32_t opaque,
                                const struct salvo_born *born)
{
    if (!p->encoded)
        return salvo_send_template_write(t, to, opaque, born, p->properties, p->properties_size,
                                         p->body_size);
    memcpy(to + t->prefix_size, p->properties, p->properties_size);
    return salvo_send_template_write(t, to, opaque, born, NULL, p->properties_size, p->body_size);
}

/* Adds a body that lies in chunks, piece by piece. */
static void lane_append_chunks(struct salvo_lane *lane, struct salvo_conn *conn, uint32_t index,
                               uint32_t offset, uint32_t size)
{
    while (size != 0) {
        const struct salvo_chunk *chunk = &lane->chunks.chunks[index];
        uint32_t here;

        if (offset >= chunk->used) {
            offset -= chunk->used;
            index = chunk->next;
            continue;
        }
        here = SALVO_MIN(size, chunk->used - offset);
        salvo_conn_append(conn, &lane->chunks, chunk->bytes + offset, here);
        size -= here;
        offset = 0;
        index = chunk->next;
    }
}

/* When the try that starts now is over: the last one may use what is left of the budget. */
static int64_t lane_try_deadline(const struct salvo_lane *lane, const struct salvo_request *request,
                                 int64_t now_ns)
{
    if (request->tries + 1u >= lane->conf.tries_max)
        return request->budget_ns;
    return SALVO_MIN(now_ns + request->try_ms * SALVO_NS_PER_MS, request->budget_ns);
}

/* Encodes the request into the connection's chunks. The caller has looked at window and chunks. */
void salvo_lane_encode(struct salvo_lane *lane, struct salvo_request *request,
                       const struct salvo_route_topic *topic, const struct salvo_route_queue *queue,
                       const struct salvo_lane_payload *p, int64_t now_ns)
{
    struct salvo_conn *conn = &lane->conns[queue->broker];
    struct salvo_send_template own;
    const struct salvo_send_template *t = lane_template(lane, topic, queue, request, &own);
    size_t bound = lane_header_bound(t, p);
    size_t size;

    if (SALVO_LIKELY(bound <= lane->chunks.chunk_size / 2)) {
        uint8_t *to =
            salvo_conn_frame_start(conn, &lane->chunks, bound, &request->chunk, &request->offset);

        request->stream_start = conn->stream_written;
        size = lane_write_header(t, p, to, request->opaque, &lane->born);
        salvo_conn_wrote(conn, &lane->chunks, size);
    } else {
        salvo_assert(bound <= lane->conf.frame_size_max);
        size = lane_write_header(t, p, lane->scratch, request->opaque, &lane->born);
        salvo_conn_frame_start(conn, &lane->chunks, 1, &request->chunk, &request->offset);
        request->stream_start = conn->stream_written;
        salvo_conn_append(conn, &lane->chunks, lane->scratch, size);
    }
    if (p->buffer != NULL)
        salvo_conn_append_buffer(conn, &lane->chunks, p->buffer, p->body_size);
    else if (p->body != NULL)
        salvo_conn_append(conn, &lane->chunks, p->body, p->body_size);
    else
        lane_append_chunks(lane, conn, p->chunk, p->offset, p->body_size);
    request->prefix_size = t->prefix_size;
    request->suffix_size = t->suffix_size;
    request->properties_size = (uint32_t)size - t->prefix_size - t->suffix_size;
    request->body_size = p->body_size;
    request->flags &= (uint16_t) ~(SALVO_REQUEST_RAW_PROPERTIES | SALVO_REQUEST_PARKED);
    request->stream_end = conn->stream_written;
    request->state = SALVO_REQUEST_SENT;
    request->conn = queue->broker;
    request->queue = queue->queue;
    request->broker_last = (uint16_t)queue->broker;
    request->sent_ns = now_ns;
    salvo_wheel_add(&lane->inflight, request, lane_try_deadline(lane, request, now_ns));
    if (request->tries != 0)
        lane_count(lane, SALVO_LANE_REQUESTS_RETRIED, 1);
    request->tries++;
    conn->inflight++;
    lane_count(lane, SALVO_LANE_REQUESTS_SENT, 1);
    salvo_lane_touch(lane, queue->broker);
}

bool salvo_lane_chunks_room(struct salvo_lane *lane, uint32_t chunks, bool urgent)
{
    if (SALVO_LIKELY(chunks <= salvo_chunk_pool_room(&lane->chunks, urgent)))
        return true;
    if (lane->chunks_gathered)
        return false;
    lane->chunks_gathered = true;
    for (uint32_t i = 0; i < lane->conf.brokers_max; i++)
        salvo_conn_spare(&lane->conns[i], &lane->chunks);
    salvo_conn_spare(&lane->parking, &lane->chunks);
    return chunks <= salvo_chunk_pool_room(&lane->chunks, urgent);
}

/* Whether the chunks suffice for a frame on this connection. */
bool salvo_lane_chunks_suffice(struct salvo_lane *lane, uint32_t broker, size_t size, bool urgent)
{
    /* 768: the header's fixed part at its longest. Properties may take six bytes for one in JSON.
     */
    uint32_t needed = salvo_conn_chunks_needed(&lane->conns[broker], &lane->chunks, size + 768);

    /* One more: a header that does not fit the rest of a chunk leaves that rest unused. */
    return needed == 0 || salvo_lane_chunks_room(lane, needed + 1, urgent);
}

size_t salvo_lane_size_bound(const struct salvo_lane *lane, uint32_t properties_size,
                             uint32_t body_size)
{
    return (size_t)properties_size * (lane->conf.form == SALVO_HEADER_JSON ? 6 : 1) + body_size;
}

/* --- requests and items ----------------------------------------------------------------------- */

uint32_t salvo_lane_item(struct salvo_lane *lane, const struct salvo_submitter *s,
                         const struct salvo_slot *slot)
{
    uint32_t index;
    struct salvo_item *item = salvo_item_take(&lane->inflight, &index);

    item->cookie = slot->cookie;
    item->submitter = s->conf.index;
    item->shard_hash = slot->shard_hash;
    memcpy(item->id, slot->id, SALVO_ID_SIZE);
    lane->open++;
    lane_count(lane, SALVO_LANE_MESSAGES_TAKEN, 1);
    return index;
}

uint32_t salvo_lane_try_ms(const struct salvo_lane *lane, int64_t budget_ns)
{
    int64_t try_ns = lane->conf.try_timeout_ns != 0 ? lane->conf.try_timeout_ns : budget_ns / 3;

    return (uint32_t)SALVO_CLAMP(try_ns / SALVO_NS_PER_MS, 1, INT64_C(86400000));
}

/* A request for one message that is not in a batch. */
static struct salvo_request *lane_request(struct salvo_lane *lane, const struct salvo_submitter *s,
                                          const struct salvo_slot *slot, uint32_t flags)
{
    struct salvo_request *request = salvo_request_take(&lane->inflight);

    request->flags = (uint16_t)flags;
    request->item_first = salvo_lane_item(lane, s, slot);
    request->items_count = 1;
    request->topic = slot->topic;
    request->queue = SALVO_QUEUE_NONE;
    request->budget_ns = slot->deadline_ns;
    request->try_ms = salvo_lane_try_ms(lane, slot->budget_ns);
    request->flag = slot->flag;
    if (flags & SALVO_REQUEST_PINNED) /* has no shard; salvo_lane_bind asks for it */
        lane->inflight.items[request->item_first].shard_hash = slot->queue_index;
    return request;
}

/* Parks a message of a slot as a request that waits, in the open or in its queue's line. */
static enum lane_take lane_park_slot(struct salvo_lane *lane, struct salvo_submitter *s,
                                     struct salvo_slot *slot, uint32_t flags, uint32_t queue,
                                     const uint8_t *body, uint32_t body_size)
{
    struct salvo_request *request;

    if (!lane_may_park(lane))
        return LANE_SHORT;
    request = lane_request(lane, s, slot, flags);
    if (!salvo_lane_park(lane, request, salvo_slot_properties(slot), slot->properties_size, body,
                         body_size, false)) {
        salvo_item_free(&lane->inflight, request->item_first);
        lane->open--;
        lane_count(lane, SALVO_LANE_MESSAGES_TAKEN, UINT64_MAX); /* taken back */
        salvo_request_free(&lane->inflight, request);
        lane_count(lane, SALVO_LANE_CHUNKS_SHORT, 1);
        return LANE_SHORT;
    }
    request->queue = queue;
    salvo_wheel_add(&lane->inflight, request, request->budget_ns);
    if ((flags & SALVO_REQUEST_ORDERED) || lane_is_unbound(lane, request))
        salvo_lane_line_add(lane, request);
    else
        salvo_lane_wait(lane, request);
    return LANE_TAKEN;
}

/* --- from a slot ------------------------------------------------------------------------------ */

const struct salvo_route_queue *salvo_lane_find_queue(const struct salvo_route_topic *topic,
                                                      uint32_t queue)
{
    for (uint32_t i = 0; i < topic->queues_count; i++)
        if (topic->queues[i].queue == queue)
            return &topic->queues[i];
    return NULL;
}

int salvo_lane_pinned_queue(const struct salvo_route_topic *topic, uint32_t index,
                            uint32_t *ret_queue)
{
    if (index >= topic->queues_count)
        return -1;
    *ret_queue = topic->queues[index].queue;
    return 0;
}

uint32_t salvo_lane_shard_queue(const struct salvo_route_topic *topic, uint32_t shard_hash)
{
    return topic->queues[salvo_java_hash_queue((int32_t)shard_hash, topic->queues_count)].queue;
}

/* The queue a slot is bound to (pinned or ordered): number, or SALVO_QUEUE_NONE when it is free.
 * -1: it named one that is not there. */
static int lane_bound_queue(const struct salvo_route_topic *topic, const struct salvo_slot *slot,
                            uint32_t *ret_queue)
{
    *ret_queue = SALVO_QUEUE_NONE;
    if (slot->flags & SALVO_SLOT_PINNED)
        return salvo_lane_pinned_queue(topic, slot->queue_index, ret_queue);
    if (slot->flags & SALVO_SLOT_SHARD)
        *ret_queue = salvo_lane_shard_queue(topic, slot->shard_hash);
    return 0;
}

/* Straight into a frame: the common case of unbatched sending. */
static enum lane_take lane_send_slot(struct salvo_lane *lane, struct salvo_submitter *s,
                                     struct salvo_slot *slot, const struct salvo_route_topic *topic,
                                     uint32_t flags, uint32_t bound_queue, const uint8_t *body,
                                     uint32_t body_size, int64_t now_ns)
{
    struct salvo_lane_payload payload = {
        .properties = salvo_slot_properties(slot),
        .properties_size = slot->properties_size,
        .body = body,
        .body_size = body_size,
    };
    size_t size = salvo_lane_size_bound(lane, slot->properties_size, body_size);
    const struct salvo_route_queue *queue;
    uint32_t index;
    int r;

    if (bound_queue != SALVO_QUEUE_NONE) {
        queue = salvo_lane_find_queue(topic, bound_queue);
        r = salvo_select_check(&lane->conns[queue->broker], lane->chunks_share);
    } else {
        r = salvo_select_queue(&lane->select, topic, lane->conns, lane->conf.availability,
                               lane->chunks_share, SALVO_BROKER_NONE, now_ns, &index);
        queue = r == 0 ? &topic->queues[index] : NULL;
    }
    if (r == SALVO_SELECT_DOWN)
        return lane_park_slot(lane, s, slot, flags, bound_queue, body, body_size);
    if (r != 0)
        return LANE_SHORT;
    if (!salvo_lane_chunks_suffice(lane, queue->broker, size, false)) {
        lane_count(lane, SALVO_LANE_CHUNKS_SHORT, 1);
        return LANE_SHORT;
    }
    salvo_lane_encode(lane, lane_request(lane, s, slot, flags), topic, queue, &payload, now_ns);
    return LANE_TAKEN;
}

/* Compresses the body in its slot when that pays, so that a message which cannot be taken this turn
 * is not compressed again in the next. True: it is compressed. */
static bool lane_compress(struct salvo_lane *lane, struct salvo_slot *slot)
{
    size_t size;

    if (slot->flags & SALVO_SLOT_COMPRESSED)
        return true;
    if (lane->compressor == NULL || (slot->flags & SALVO_SLOT_PLAIN) != 0 ||
        slot->body_size < lane->conf.compress_min || slot->body_size > LANE_COMPRESS_MAX)
        return false;
    lane->compressed += slot->body_size;
    size = salvo_compress(lane->compressor, salvo_slot_body(slot), slot->body_size,
                          lane->compress_scratch, slot->body_size - 1);
    if (size == 0) {
        slot->flags |= SALVO_SLOT_PLAIN;
        return false;
    }
    memcpy(salvo_slot_body(slot), lane->compress_scratch, size);
    slot->body_size = (uint32_t)size;
    slot->flags |= SALVO_SLOT_COMPRESSED;
    lane_count(lane, SALVO_LANE_MESSAGES_COMPRESSED, 1);
    return true;
}

enum lane_take salvo_lane_take_slot(struct salvo_lane *lane, struct salvo_submitter *s,
                                    struct salvo_slot *slot, int64_t now_ns)
{
    const struct salvo_route_topic *topic = lane_topic(lane, slot->topic);
    bool routed = topic != NULL && topic->state == SALVO_ROUTE_GOOD;
    const uint8_t *body = salvo_slot_body(slot);
    uint32_t body_size;
    uint32_t flags = 0;
    uint32_t queue = SALVO_QUEUE_NONE;
    bool bound = (slot->flags & (SALVO_SLOT_SHARD | SALVO_SLOT_PINNED)) != 0;

    salvo_assert(slot->magic == SALVO_SLOT_MAGIC);
    if ((slot->flags & SALVO_SLOT_SHARD) &&
        salvo_failures_before(&s->failures, slot->topic, slot->shard_hash, slot->failures_polled)) {
        lane_count(lane, SALVO_LANE_MESSAGES_TAKEN, 1);
        salvo_lane_finish_slot(lane, s, slot, SALVO_UNSENT_EARLIER_FAILED,
                               salvo_lane_earlier_failed, now_ns);
        return LANE_TAKEN;
    }
    if (now_ns >= SALVO_MIN(slot->deadline_ns, lane->drain_at_ns)) {
        bool stopped = now_ns < slot->deadline_ns;

        lane->drain_late |= stopped;
        lane_count(lane, SALVO_LANE_MESSAGES_TAKEN, 1);
        salvo_lane_finish_slot(lane, s, slot,
                               stopped  ? SALVO_UNSENT_STOPPED
                               : routed ? SALVO_TIMED_OUT_UNSENT
                                        : SALVO_NO_ROUTE,
                               routed || stopped ? NULL : salvo_lane_route_trouble(topic), now_ns);
        return LANE_TAKEN;
    }
    if (lane->inflight.free_count < 2 || lane->inflight.items_free_count == 0) {
        lane_count(lane, SALVO_LANE_INFLIGHT_SHORT, 1);
        return LANE_SHORT;
    }
    if (routed && bound && lane_topic_line(lane, slot->topic)->head != SALVO_REQUEST_NONE)
        return LANE_SHORT; /* those before it are not bound to their queues yet */
    if (!routed)
        salvo_lane_want_route(lane, slot->topic, now_ns);
    else if (lane_bound_queue(topic, slot, &queue) != 0) {
        lane_count(lane, SALVO_LANE_MESSAGES_TAKEN, 1);
        salvo_lane_finish_slot(lane, s, slot, SALVO_NO_ROUTE,
                               "the topic has no queue of that index", now_ns);
        return LANE_TAKEN;
    }
    if (bound)
        flags = (slot->flags & SALVO_SLOT_SHARD) ? SALVO_REQUEST_ORDERED : SALVO_REQUEST_PINNED;
    if (lane_compress(lane, slot))
        flags |= SALVO_REQUEST_COMPRESSED;
    body_size = slot->body_size;
    if (!routed && bound) /* its queue is not known yet: it waits in the line of its topic */
        return lane_park_slot(lane, s, slot, flags, lane->conf.queues_max + slot->topic, body,
                              body_size);
    if (lane->conf.batch.mode != SALVO_BATCH_MODE_OFF && (slot->flags & SALVO_SLOT_ALONE) == 0 &&
        (size_t)body_size + slot->properties_size + SALVO_BATCH_ITEM_OVERHEAD <=
            lane->conf.batch.bytes_max) {
        enum lane_take r =
            salvo_lane_batch_slot(lane, s, slot, flags, queue, body, body_size, now_ns);

        if (r != LANE_ALONE)
            return r;
    }
    if (!routed)
        return lane_park_slot(lane, s, slot, flags, queue, body, body_size);
    if (flags & SALVO_REQUEST_ORDERED) {
        if (!salvo_lane_order_before(lane, queue, NULL))
            return LANE_SHORT;
        return lane_park_slot(lane, s, slot, flags, queue, body, body_size);
    }
    return lane_send_slot(lane, s, slot, topic, flags, queue, body, body_size, now_ns);
}

void salvo_lane_send_heartbeat(struct salvo_lane *lane, uint32_t broker, int64_t now_ns)
{
    const struct salvo_route *route = lane->route;
    struct salvo_conn *conn = &lane->conns[broker];
    struct salvo_request *request;
    uint8_t *to;

    if (lane->inflight.free_count < 2 || route->heartbeat_size > lane->chunks.chunk_size / 2 ||
        !salvo_lane_chunks_suffice(lane, broker, route->heartbeat_size, true))
        return;
    request = salvo_request_take(&lane->inflight);
    request->flags = SALVO_REQUEST_HEARTBEAT;
    to = salvo_conn_frame_start(conn, &lane->chunks, route->heartbeat_size, &request->chunk,
                                &request->offset);
    request->stream_start = conn->stream_written;
    memcpy(to, route->heartbeat, route->heartbeat_size);
    if (route->heartbeat_form == SALVO_HEADER_BINARY) {
        salvo_store_be32(to + route->heartbeat_opaque_offset, (uint32_t)request->opaque);
    } else {
        struct salvo_writer w = salvo_writer_over(to + route->heartbeat_opaque_offset, 10);

        salvo_write_decimal(&w, request->opaque);
    }
    salvo_conn_wrote(conn, &lane->chunks, route->heartbeat_size);
    request->stream_end = conn->stream_written;
    request->prefix_size = route->heartbeat_size;
    request->properties_size = 0;
    request->suffix_size = 0;
    request->body_size = 0;
    request->state = SALVO_REQUEST_SENT;
    request->conn = broker;
    request->sent_ns = now_ns;
    request->budget_ns = now_ns + lane->conf.connect_timeout_ns;
    salvo_wheel_add(&lane->inflight, request, request->budget_ns);
    conn->inflight++;
    lane_count(lane, SALVO_LANE_HEARTBEATS, 1);
    salvo_lane_touch(lane, broker);
}
