/* Results, and the lines of ordered messages behind them. */
#include "base/json.h"
#include "dataplane/lane_internal.h"

#include <string.h>

/* --- results ---------------------------------------------------------------------------------- */

/* Room for results, and the submitter on this turn's list. */
static inline void lane_results_claim(struct salvo_lane *lane, struct salvo_submitter *s,
                                      uint32_t count, struct salvo_ring_burst *ret_burst)
{
    if (!s->results_dirty) {
        s->next_dirty = lane->dirty_first;
        lane->dirty_first = s->conf.index;
    }
    salvo_submitter_results_claim(s, count, ret_burst);
}

void salvo_lane_publish_results(struct salvo_lane *lane)
{
    while (lane->dirty_first != UINT32_MAX) {
        struct salvo_submitter *s = &lane->conf.submitters[lane->dirty_first];

        lane->dirty_first = s->next_dirty;
        salvo_submitter_results_publish(s);
    }
}

static enum salvo_lane_counter lane_code_counter(enum salvo_code code)
{
    switch (code) {
    case SALVO_OK:
    case SALVO_OK_FLUSH_DISK_TIMEOUT:
    case SALVO_OK_SLAVE_NOT_AVAILABLE:
    case SALVO_OK_FLUSH_SLAVE_TIMEOUT:
        return SALVO_LANE_MESSAGES_GOOD;
    case SALVO_TIMED_OUT:
    case SALVO_TIMED_OUT_UNSENT:
        return SALVO_LANE_MESSAGES_TIMED_OUT;
    case SALVO_UNSENT_STOPPED:
    case SALVO_UNSENT_EARLIER_FAILED:
        return SALVO_LANE_MESSAGES_UNSENT;
    default:
        return SALVO_LANE_MESSAGES_FAILED;
    }
}

/* The fields every result has; the caller fills the rest, commits, and counts it. */
static inline struct salvo_result_slot *lane_result(struct salvo_submitter *s,
                                                    struct salvo_ring_burst *burst, uint64_t cookie,
                                                    const uint8_t id[SALVO_ID_SIZE],
                                                    enum salvo_code code, enum salvo_stored stored,
                                                    int64_t now_ns)
{
    struct salvo_result_slot *result = salvo_submitter_result_next(burst);

    result->cookie = cookie;
    result->code = (uint8_t)code;
    result->stored = (uint8_t)stored;
    result->tries = 0;
    result->has_offset = 0;
    result->broker_code = -1;
    result->store_port = 0;
    result->queueId = -1;
    result->broker = UINT16_MAX;
    result->detail = 0;
    result->queue_offset = -1;
    result->commit_log_offset = -1;
    memcpy(result->id, id, SALVO_ID_SIZE);
    result->store_ip = 0;
    result->done_ns = now_ns;
    if (SALVO_UNLIKELY(stored != SALVO_STORED_YES))
        s->failures.number++;
    return result;
}

void salvo_lane_finish_slot(struct salvo_lane *lane, struct salvo_submitter *s,
                            const struct salvo_slot *slot, enum salvo_code code, const char *detail,
                            int64_t now_ns)
{
    struct salvo_ring_burst burst;
    struct salvo_result_slot *result;

    lane_results_claim(lane, s, 1, &burst);
    result = lane_result(s, &burst, slot->cookie, slot->id, code, SALVO_STORED_NO, now_ns);
    if (detail != NULL)
        result->detail = salvo_submitter_detail(s, detail, strlen(detail));
    if ((slot->flags & SALVO_SLOT_SHARD) != 0 && code != SALVO_UNSENT_EARLIER_FAILED)
        salvo_failures_add(&s->failures, slot->topic, slot->shard_hash, ++lane->failures);
    salvo_submitter_results_commit(s, &burst);
    lane_count(lane, lane_code_counter(code), 1);
}

static struct salvo_submitter *lane_item_submitter(struct salvo_lane *lane,
                                                   const struct salvo_item *item)
{
    return &lane->conf.submitters[item->submitter];
}

static void lane_item_result(struct salvo_lane *lane, const struct salvo_item *item,
                             const struct salvo_lane_end *end, int64_t now_ns)
{
    struct salvo_submitter *s = lane_item_submitter(lane, item);
    struct salvo_ring_burst burst;
    struct salvo_result_slot *result;

    lane_results_claim(lane, s, 1, &burst);
    result = lane_result(s, &burst, item->cookie, item->id, end->code, end->stored, now_ns);
    result->tries = end->tries;
    if (end->detail != NULL)
        result->detail = salvo_submitter_detail(s, end->detail, strlen(end->detail));
    salvo_submitter_results_commit(s, &burst);
    lane_count(lane, lane_code_counter(end->code), 1);
    lane->open--;
}

static void lane_finish_item(struct salvo_lane *lane, uint32_t index,
                             const struct salvo_lane_end *end, int64_t now_ns)
{
    lane_item_result(lane, &lane->inflight.items[index], end, now_ns);
    salvo_item_free(&lane->inflight, index);
}

/* The next offset message id of a comma list into the result: | 4|16 ip | 4 port | 8 offset | in
 * hex. */
static void lane_result_offset_id(struct salvo_submitter *s, struct salvo_result_slot *result,
                                  struct salvo_text *ids)
{
    struct salvo_text id = *ids;
    struct salvo_offset_msg_id read;
    const char *comma;
    int host;

    /* Nearly always: the only one, or the next in a list, of an IPv4 host. */
    if (id.size > SALVO_OFFSET_MSG_ID_V4_SIZE && id.text[SALVO_OFFSET_MSG_ID_V4_SIZE] == ',') {
        id.size = SALVO_OFFSET_MSG_ID_V4_SIZE;
    } else if (id.size > SALVO_OFFSET_MSG_ID_V4_SIZE) {
        comma = memchr(id.text, ',', id.size);
        id.size = comma == NULL ? id.size : (uint32_t)(comma - id.text);
    }
    ids->text += SALVO_MIN(id.size + 1, ids->size);
    ids->size -= SALVO_MIN(id.size + 1, ids->size);
    if (id.size == 0 || salvo_offset_msg_id_read(id, &read))
        return;
    if (SALVO_UNLIKELY(read.ip_size != 4)) {
        host = salvo_submitter_host(s, id.text);
        if (host < 0)
            return;
        read.ip4 = (uint32_t)host;
    }
    result->commit_log_offset = (int64_t)read.commit_log_offset;
    result->has_offset = read.ip_size == 4 ? 1 : 2;
    result->store_ip = read.ip4;
    result->store_port = (uint16_t)read.port;
}

static void lane_result_remark(struct salvo_submitter *s, struct salvo_result_slot *result,
                               const struct salvo_send_answer *answer)
{
    struct salvo_text remark = answer->remark;
    char plain[SALVO_DETAIL_SIZE];

    if (answer->remark_escaped)
        remark = (struct salvo_text){
            plain, (uint32_t)salvo_json_unescape(remark.text, remark.size, plain, sizeof(plain))};
    result->detail = salvo_submitter_detail(s, remark.text, remark.size);
}

static inline void lane_result_answer(struct salvo_submitter *s, struct salvo_result_slot *result,
                                      const struct salvo_send_answer *answer, uint32_t item,
                                      struct salvo_text *ids)
{
    result->broker_code = (int16_t)answer->code;
    if (answer->has_offset) {
        result->queueId = answer->queueId;
        result->queue_offset = answer->queueOffset + item;
        lane_result_offset_id(s, result, ids);
    }
    if (SALVO_UNLIKELY(answer->remark.size != 0 && result->detail == 0))
        lane_result_remark(s, result, answer);
}

/* --- lines ------------------------------------------------------------------------------------ */

/* Whether the list has a message of the same submitter and shard: order holds within one. */
static bool lane_line_has_shard(const struct salvo_lane *lane, uint32_t items, uint32_t index)
{
    const struct salvo_item *all = lane->inflight.items;

    for (; items != SALVO_ITEM_NONE; items = all[items].next)
        if (all[items].shard_hash == all[index].shard_hash &&
            all[items].submitter == all[index].submitter)
            return true;
    return false;
}

const char salvo_lane_earlier_failed[] = "an earlier message of its shard failed";

static const struct salvo_lane_end lane_end_earlier_failed = {
    .code = SALVO_UNSENT_EARLIER_FAILED,
    .stored = SALVO_STORED_NO,
    .detail = salvo_lane_earlier_failed,
    .line_goes_on = true,
};

/* ... of a batch that was refused and is being taken apart: before that a try may have stored it.
 */
static const struct salvo_lane_end lane_end_earlier_failed_maybe = {
    .code = SALVO_REFUSED,
    .stored = SALVO_STORED_UNKNOWN,
    .detail = "its batch was refused, and an earlier message of its shard failed",
    .line_goes_on = true,
};

/* Takes the items whose shard is among `failed` out of a list of items and, in step, out of the
 * batch body; each gets its result. The body is written to `to`. Returns the new size of the body.
 */
static uint32_t lane_drop_shards(struct salvo_lane *lane, uint32_t *items, uint32_t *items_count,
                                 uint32_t failed, const uint8_t *body, uint32_t body_size,
                                 uint8_t *to, const struct salvo_lane_end *end, int64_t now_ns)
{
    struct salvo_reader r = salvo_reader_over(body, body_size);
    struct salvo_writer w = salvo_writer_over(to, body_size);
    uint32_t *link = items;

    while (*link != SALVO_ITEM_NONE) {
        uint32_t index = *link;
        struct salvo_batch_item item;
        int code = salvo_batch_item_read(&r, &item);

        salvo_assert(code == 0); /* we wrote it, an item for an item */
        if (lane_line_has_shard(lane, failed, index)) {
            *link = lane->inflight.items[index].next;
            (*items_count)--;
            lane_finish_item(lane, index, end, now_ns);
            continue;
        }
        salvo_batch_item_write(&w, &item);
        link = &lane->inflight.items[index].next;
    }
    salvo_assert(!w.failed);
    return (uint32_t)salvo_writer_size(&w);
}

/* Parks a shorter batch body, from compress_scratch, with the properties every batch has. */
static bool lane_park_batch(struct salvo_lane *lane, struct salvo_request *request, uint32_t size)
{
    const char *wait =
        (request->flags & SALVO_REQUEST_NO_WAIT) ? salvo_lane_wait_false : salvo_lane_wait_true;

    return salvo_lane_park(lane, request, (const uint8_t *)wait, (uint32_t)strlen(wait),
                           lane->compress_scratch, size, true);
}

/* A waiting request of the line loses the items of failed shards, or ends when all are. */
static void lane_line_fail_request(struct salvo_lane *lane, struct salvo_request *request,
                                   uint32_t failed, int64_t now_ns)
{
    /* A batch that is being taken apart has lost its first items already. */
    uint32_t skip = (request->flags & SALVO_REQUEST_SPLITTING) ? (uint32_t)request->sent_ns : 0;
    struct salvo_lane_end end = (request->flags & SALVO_REQUEST_STORED_MAYBE)
                                    ? lane_end_earlier_failed_maybe
                                    : lane_end_earlier_failed;
    struct salvo_request before;
    const uint8_t *body;
    uint32_t hits = 0;
    uint32_t size;

    if ((request->flags & SALVO_REQUEST_ORDERED) == 0) /* pinned, in the line of its topic */
        return;
    for (uint32_t i = request->item_first; i != SALVO_ITEM_NONE; i = lane->inflight.items[i].next)
        hits += lane_line_has_shard(lane, failed, i);
    end.tries = request->tries;
    if (hits == 0)
        return;
    if (hits == request->items_count || (request->flags & SALVO_REQUEST_BATCH) == 0) {
        salvo_lane_line_remove(lane, request);
        salvo_wheel_remove(&lane->inflight, request);
        salvo_lane_finish(lane, request, &end, now_ns);
        return;
    }
    body = salvo_chunk_linear(&lane->chunks, request->chunk,
                              request->offset + request->prefix_size + request->properties_size +
                                  request->suffix_size + skip,
                              request->body_size - skip, lane->scratch);
    size = lane_drop_shards(lane, &request->item_first, &request->items_count, failed, body,
                            request->body_size - skip, lane->compress_scratch, &end, now_ns);
    before = *request;
    if (lane_park_batch(lane, request, size)) {
        salvo_lane_unhold(lane, &before);
        request->sent_ns = 0;
        return;
    }
    /* No room to keep the shorter body: what is left of it fails too, unsent. */
    salvo_lane_line_remove(lane, request);
    salvo_wheel_remove(&lane->inflight, request);
    salvo_lane_finish(lane, request, &end, now_ns);
}

static void lane_line_fail_requests(struct salvo_lane *lane, uint32_t index, uint32_t failed,
                                    int64_t now_ns)
{
    while (index != SALVO_REQUEST_NONE) {
        struct salvo_request *request = &lane->inflight.requests[index];

        index = request->next;
        lane_line_fail_request(lane, request, failed, now_ns);
    }
}

/* A request of the line failed for good: so does what waits behind it on the same shards, from
 * `index` on; what is still in its ring will (dataplane/failures.h). */
static void lane_line_fail(struct salvo_lane *lane, uint32_t queue, uint32_t index, uint32_t failed,
                           int64_t now_ns)
{
    lane_line_fail_requests(lane, index, failed, now_ns);
    for (uint32_t i = 0; i < lane->batches.count; i++) {
        struct salvo_batch *batch = &lane->batches.open[i];

        if (batch->key.queue != queue || (batch->key.flags & SALVO_REQUEST_ORDERED) == 0)
            continue;
        memcpy(lane->scratch, batch->bytes, batch->used);
        batch->used =
            lane_drop_shards(lane, &batch->item_first, &batch->count, failed, lane->scratch,
                             batch->used, batch->bytes, &lane_end_earlier_failed, now_ns);
        batch->item_last = batch->item_first;
        while (batch->item_last != SALVO_ITEM_NONE &&
               lane->inflight.items[batch->item_last].next != SALVO_ITEM_NONE)
            batch->item_last = lane->inflight.items[batch->item_last].next;
        if (batch->count == 0) {
            salvo_batch_close(&lane->batches, batch);
            i--;
        }
    }
}

void salvo_lane_line_add(struct salvo_lane *lane, struct salvo_request *request)
{
    struct salvo_lane_line *line = &lane->lines[request->queue];
    uint32_t index = salvo_inflight_index(&lane->inflight, request);

    request->flags |= SALVO_REQUEST_IN_LINE;
    lane->lined++;
    lane->unbound += request->queue >= lane->conf.queues_max;
    request->next = SALVO_REQUEST_NONE;
    request->previous = line->tail;
    if (line->tail != SALVO_REQUEST_NONE)
        lane->inflight.requests[line->tail].next = index;
    else
        line->head = index;
    line->tail = index;
    salvo_lane_line_advance(lane, request->queue);
}

void salvo_lane_line_remove(struct salvo_lane *lane, struct salvo_request *request)
{
    struct salvo_lane_line *line = &lane->lines[request->queue];

    salvo_assert((request->flags & SALVO_REQUEST_IN_LINE) != 0);
    request->flags &= (uint16_t)~SALVO_REQUEST_IN_LINE;
    lane->lined--;
    lane->unbound -= request->queue >= lane->conf.queues_max;
    if (request->previous != SALVO_REQUEST_NONE)
        lane->inflight.requests[request->previous].next = request->next;
    else
        line->head = request->next;
    if (request->next != SALVO_REQUEST_NONE)
        lane->inflight.requests[request->next].previous = request->previous;
    else
        line->tail = request->previous;
    request->previous = SALVO_REQUEST_NONE; /* next stays: who stood behind it, for lane_finish */
}

void salvo_lane_line_advance(struct salvo_lane *lane, uint32_t queue)
{
    struct salvo_lane_line *line = &lane->lines[queue];
    struct salvo_request *request;

    if (line->busy != SALVO_REQUEST_NONE || line->head == SALVO_REQUEST_NONE ||
        queue >= lane->conf.queues_max) /* those go on when their queue is known */
        return;
    line->busy = line->head;
    request = &lane->inflight.requests[line->head];
    salvo_lane_line_remove(lane, request);
    salvo_lane_wait(lane, request);
}

/* --- the end of a request --------------------------------------------------------------------- */

/* Items from `index` on that are of one submitter, at most a burst. No ring has room for more than
 * its own messages' results. */
static uint32_t lane_items_of_one(const struct salvo_inflight *inflight, uint32_t index)
{
    const struct salvo_item *all = inflight->items;
    uint32_t submitter = all[index].submitter;
    uint32_t n = 0;

    for (; n < SALVO_RESULTS_BURST_MAX && index != SALVO_ITEM_NONE; n++) {
        if (all[index].submitter != submitter)
            break;
        /* A list leads from one item to the one behind it, as a rule: those of the next burst come
         * side by side, and not one when the one before it is there. */
        __builtin_prefetch(
            &all[SALVO_MIN(index + SALVO_RESULTS_BURST_MAX, inflight->items_max - 1)]);
        index = all[index].next;
    }
    return n;
}

void salvo_lane_unhold(struct salvo_lane *lane, struct salvo_request *request)
{
    if (request->chunk == SALVO_CHUNK_NONE)
        return;
    salvo_chunk_unawait(&lane->chunks, request->chunk, request->offset, lane_request_size(request));
    request->chunk = SALVO_CHUNK_NONE;
}

void salvo_lane_finish(struct salvo_lane *lane, struct salvo_request *request,
                       const struct salvo_lane_end *end, int64_t now_ns)
{
    const struct salvo_item *all = lane->inflight.items;
    uint32_t queue = request->queue;
    uint32_t items = request->item_first;
    uint32_t index = salvo_inflight_index(&lane->inflight, request);
    bool ordered = (request->flags & SALVO_REQUEST_ORDERED) != 0;
    bool broken = ordered && end->stored != SALVO_STORED_YES && !end->line_goes_on;
    bool turn = ordered && lane->lines[queue].busy == index;
    struct salvo_text ids = {0};
    uint32_t last = SALVO_ITEM_NONE;
    uint32_t n = 0;

    salvo_assert((request->flags & (SALVO_REQUEST_IN_LIST | SALVO_REQUEST_IN_LINE)) == 0);
    if (end->answer != NULL)
        ids = end->answer->msgId;
    lane->failures += broken;
    for (uint32_t i = items; i != SALVO_ITEM_NONE;) {
        struct salvo_submitter *s = lane_item_submitter(lane, &all[i]);
        struct salvo_ring_burst burst;

        lane_results_claim(lane, s, lane_items_of_one(&lane->inflight, i), &burst);
        do {
            const struct salvo_item *item = &all[i];
            struct salvo_result_slot *result;

            result = lane_result(s, &burst, item->cookie, item->id, end->code, end->stored, now_ns);
            result->tries = request->tries;
            result->broker = request->broker_last;
            if (end->answer != NULL)
                lane_result_answer(s, result, end->answer, n, &ids);
            else if (end->detail != NULL)
                result->detail = salvo_submitter_detail(s, end->detail, strlen(end->detail));
            if (SALVO_UNLIKELY(broken))
                salvo_failures_add(&s->failures, request->topic, item->shard_hash, lane->failures);
            last = i;
            i = item->next;
            n++;
        } while (burst.at != burst.end);
        salvo_submitter_results_commit(s, &burst);
    }
    salvo_assert(n == request->items_count);
    lane_count(lane, lane_code_counter(end->code), n);
    lane->open -= n;
    if (turn)
        lane->lines[queue].busy = SALVO_REQUEST_NONE;
    if (SALVO_UNLIKELY(broken)) {
        lane_line_fail(lane, queue, turn ? lane->lines[queue].head : request->next, items, now_ns);
        if (lane->unbound != 0 && queue < lane->conf.queues_max) /* the route was lost since */
            lane_line_fail_requests(lane, lane_topic_line(lane, request->topic)->head, items,
                                    now_ns);
    }
    if (n != 0)
        salvo_items_free(&lane->inflight, items, last, n);
    salvo_lane_unhold(lane, request);
    salvo_request_free(&lane->inflight, request);
    if (turn)
        salvo_lane_line_advance(lane, queue);
}

void salvo_lane_finish_batch(struct salvo_lane *lane, const struct salvo_batch *batch,
                             const struct salvo_lane_end *end, int64_t now_ns)
{
    const struct salvo_item *all = lane->inflight.items;
    bool ordered = (batch->key.flags & SALVO_REQUEST_ORDERED) != 0;

    lane->failures++;
    for (uint32_t i = batch->item_first; i != SALVO_ITEM_NONE; i = all[i].next) {
        lane_item_result(lane, &all[i], end, now_ns);
        if (ordered)
            salvo_failures_add(&lane_item_submitter(lane, &all[i])->failures, batch->key.topic,
                               all[i].shard_hash, lane->failures);
    }
    /* What is behind it is still in its ring, or came when the route had been lost. */
    if (ordered && lane->unbound != 0)
        lane_line_fail_requests(lane, lane_topic_line(lane, batch->key.topic)->head,
                                batch->item_first, now_ns);
    salvo_items_free(&lane->inflight, batch->item_first, batch->item_last, batch->count);
}
