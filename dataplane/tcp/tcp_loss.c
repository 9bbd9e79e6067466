/* The scoreboard: what the peer has, what is lost, what is sent again.
 *
 * Losses are found by time: a segment is lost when one sent later has arrived and a reordering
 * window has passed (RACK, RFC 8985 section 6). So neither duplicate ACKs nor their windows are
 * looked at; a peer that reads while we lose, and whose window so grows with each ACK, makes no
 * difference. Peers without SACK are in tcp_ack.c. */
#include "dataplane/tcp/tcp_conn.h"

#define DUPLICATE_THRESHOLD 3

static struct tcp_segment *at_slot(const struct salvo_tcp_conn *conn, uint32_t slot)
{
    return &conn->send.segments[slot];
}

void salvo_tcp_list_append(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, uint32_t slot,
                           enum tcp_list list)
{
    struct tcp_slot_list *l = &conn->lists[list];
    struct tcp_segment *segment = at_slot(conn, slot);

    (void)tcp;
    segment->list = (uint8_t)list;
    segment->next = TCP_NONE;
    segment->previous = l->tail;
    if (l->tail == TCP_NONE)
        l->head = slot;
    else
        at_slot(conn, l->tail)->next = slot;
    l->tail = slot;
    if (list == TCP_LIST_OUTSTANDING)
        conn->control.pipe += segment->size;
    else
        conn->control.lost_count++;
}

void salvo_tcp_list_remove(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, uint32_t slot)
{
    struct tcp_segment *segment = at_slot(conn, slot);

    (void)tcp;
    if (segment->list == TCP_LIST_NONE)
        return;
    struct tcp_slot_list *l = &conn->lists[segment->list];
    if (segment->previous == TCP_NONE)
        l->head = segment->next;
    else
        at_slot(conn, segment->previous)->next = segment->next;
    if (segment->next == TCP_NONE)
        l->tail = segment->previous;
    else
        at_slot(conn, segment->next)->previous = segment->previous;
    if (segment->list == TCP_LIST_OUTSTANDING) {
        salvo_assert(conn->control.pipe >= segment->size);
        conn->control.pipe -= segment->size;
    } else {
        conn->control.lost_count--;
    }
    segment->list = TCP_LIST_NONE;
}

/* `first` puts it in front of what waits to be sent again: the oldest hole holds everything up. */
void salvo_tcp_mark_lost(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, uint32_t slot,
                         bool first)
{
    struct tcp_slot_list *l = &conn->lists[TCP_LIST_LOST];

    salvo_tcp_list_remove(tcp, conn, slot);
    if (!first || l->head == TCP_NONE) {
        salvo_tcp_list_append(tcp, conn, slot, TCP_LIST_LOST);
        return;
    }
    struct tcp_segment *segment = at_slot(conn, slot);
    segment->list = TCP_LIST_LOST;
    segment->previous = TCP_NONE;
    segment->next = l->head;
    at_slot(conn, l->head)->previous = slot;
    l->head = slot;
    conn->control.lost_count++;
}

/* The index of the first record that ends behind `seq`. Records are in order of seq: log2(in
 * flight). */
static uint32_t scoreboard_find(const struct salvo_tcp *tcp, const struct salvo_tcp_conn *conn,
                                uint64_t seq)
{
    uint32_t low = conn->send.segment_head, count = tcp_in_flight(conn);

    while (count != 0) {
        uint32_t half = count / 2;
        const struct tcp_segment *segment = tcp_segment_at(tcp, conn, low + half);
        if (segment->seq + segment->size <= seq) {
            low += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    return low;
}

/* RFC 8985 section 6.2 step 2: remembers the most recently sent segment that has arrived. */
void salvo_tcp_rack_note(struct salvo_tcp_conn *conn, const struct tcp_segment *segment,
                         const struct tcp_arrival *arrival, int64_t now_us)
{
    struct tcp_rack *k = &conn->rack;
    int64_t rtt_us = now_us - segment->sent_us;
    uint64_t end_seq = segment->seq + segment->size;

    if (segment->sends > 1) {
        /* Was it the original that arrived? Then the echo is older than the retransmission, or the
         * round trip shorter than any seen. */
        if (arrival->has_timestamp && conn->timestamps &&
            (int32_t)(arrival->timestamp_echo - tcp_timestamp(conn, segment->sent_us)) < 0)
            return;
        if (rtt_us < conn->rtt.min_us)
            return;
    }
    /* Step 3: never sent again, and an ACK before told of later ones. What one ACK brings stands in
     * it the newest first, and says nothing of the order it came in. */
    if (segment->sends == 1 && end_seq < k->forward_before)
        k->reordering_seen = true;
    k->forward = SALVO_MAX(k->forward, end_seq);
    k->rtt_us = rtt_us;
    if (segment->sent_us > k->sent_us || (segment->sent_us == k->sent_us && end_seq > k->end_seq)) {
        k->sent_us = segment->sent_us;
        k->end_seq = end_seq;
    }
}

/* The first record from `index` on that is not SACKed. `next` of a SACKed record leads over the run
 * it stands in; paths are shortened as they are walked, so that blocks a peer repeats with every
 * ACK cost nothing. */
static uint32_t scoreboard_skip(const struct salvo_tcp *tcp, const struct salvo_tcp_conn *conn,
                                uint32_t index)
{
    uint32_t end = index;

    while (end != conn->send.segment_tail && tcp_segment_at(tcp, conn, end)->list == TCP_LIST_NONE)
        end = tcp_segment_at(tcp, conn, end)->next;
    while (index != end) {
        struct tcp_segment *segment = tcp_segment_at(tcp, conn, index);
        index = segment->next;
        segment->next = end;
    }
    return end;
}

/* A block that ends before the FIN of the last record, as of peers that drop an early FIN: it tells
 * of the arrival, once, though the record stays. */
static void sack_but_fin(struct salvo_tcp_conn *conn, const struct tcp_segment *segment,
                         uint64_t start, uint64_t end, const struct tcp_arrival *arrival,
                         int64_t now_us)
{
    const struct tcp_rack *k = &conn->rack;
    uint64_t end_seq = segment->seq + segment->size;

    if (segment->fin && start <= segment->seq && end + 1 == end_seq && end != segment->seq &&
        (segment->sent_us > k->sent_us || (segment->sent_us == k->sent_us && end_seq > k->end_seq)))
        salvo_tcp_rack_note(conn, segment, arrival, now_us);
}

static uint64_t sack_block_in(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, uint64_t start,
                              uint64_t end, const struct tcp_arrival *arrival, int64_t now_us)
{
    uint32_t i = scoreboard_skip(tcp, conn, scoreboard_find(tcp, conn, start));
    uint64_t delivered = 0;

    for (; i != conn->send.segment_tail; i = scoreboard_skip(tcp, conn, i)) {
        struct tcp_segment *segment = tcp_segment_at(tcp, conn, i);

        if (segment->seq + segment->size > end) {
            sack_but_fin(conn, segment, start, end, arrival, now_us);
            break;
        }
        if (segment->seq < start) { /* only a part of it: it counts when all of it has arrived */
            i++;
            continue;
        }
        salvo_tcp_rack_note(conn, segment, arrival, now_us);
        salvo_tcp_list_remove(tcp, conn, i & (tcp->config.segments_max - 1));
        segment->next = i + 1;
        conn->control.sacked += segment->size;
        conn->control.sacked_count++;
        delivered += segment->size;
    }
    return delivered;
}

/* RFC 2883 section 4: a first block at or below the ACK, or inside the second, tells of a
 * duplicate. */
static bool sack_is_duplicate(const struct salvo_tcp_conn *conn, const struct tcp_arrival *arrival,
                              uint64_t start, uint64_t end)
{
    uint64_t ack = tcp_wide(conn->send.una, arrival->ack);

    if (start < ack)
        return true;
    return arrival->sack_count > 1 && start >= tcp_wide(ack, arrival->sack_start[1]) &&
           end <= tcp_wide(ack, arrival->sack_end[1]);
}

/* RFC 8985 section 6.2 step 4: D-SACK widens the reordering window, once per round trip. */
static void sack_duplicate_in(struct salvo_tcp_conn *conn)
{
    struct tcp_rack *k = &conn->rack;

    k->dsack_seen = true;
    if (conn->send.una < k->dsack_round)
        return;
    k->dsack_round = conn->send.next;
    k->window_multiplier = SALVO_MIN(k->window_multiplier + 1, 64u);
    k->window_persist = 16;
}

/* Takes the SACK blocks (RFC 2018). Returns how many bytes are newly known to have arrived. */
uint64_t salvo_tcp_sack_in(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn,
                           const struct tcp_arrival *arrival, int64_t now_us)
{
    uint64_t delivered = 0;

    for (unsigned i = 0; i < arrival->sack_count; i++) {
        uint64_t start = tcp_wide(conn->send.una, arrival->sack_start[i]);
        uint64_t end = tcp_wide(conn->send.una, arrival->sack_end[i]);

        if (start >= end || end > conn->send.max)
            continue;
        if (i == 0 && sack_is_duplicate(conn, arrival, start, end)) {
            sack_duplicate_in(conn);
            continue;
        }
        if (end > conn->send.una)
            delivered += sack_block_in(tcp, conn, start, end, arrival, now_us);
    }
    return delivered;
}

/* RFC 8985 section 6.2 step 4. */
static int64_t reordering_window_us(const struct salvo_tcp_conn *conn)
{
    const struct tcp_rack *k = &conn->rack;

    if (!k->reordering_seen &&
        (conn->recovery != TCP_OPEN || conn->control.sacked_count >= DUPLICATE_THRESHOLD))
        return 0;
    int64_t window_us = (int64_t)(k->window_multiplier + 1) * conn->rtt.min_us / 4;
    return SALVO_MIN(window_us, conn->rtt.smoothed_us);
}

/* RFC 8985 section 6.2 step 5. `outstanding` is in order of transmission, so it ends at the first
 * segment that is not yet late: the RFC takes the longest wait, we the shortest, and look again
 * then. */
int64_t salvo_tcp_rack_detect(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us)
{
    const struct tcp_rack *k = &conn->rack;
    int64_t window_us = reordering_window_us(conn);
    uint32_t slot;

    while ((slot = conn->lists[TCP_LIST_OUTSTANDING].head) != TCP_NONE) {
        const struct tcp_segment *segment = at_slot(conn, slot);
        uint64_t end_seq = segment->seq + segment->size;

        if (segment->sent_us > k->sent_us ||
            (segment->sent_us == k->sent_us && end_seq >= k->end_seq))
            return 0;
        int64_t left_us = segment->sent_us + k->rtt_us + window_us - now_us;
        if (left_us > 0)
            return left_us;
        salvo_tcp_mark_lost(tcp, conn, slot, false);
    }
    return 0;
}

/* After a timeout. RFC 8985 section 6.3: the first, and all that had their round trip; and when the
 * first is one the peer said it had, the peer has thrown SACKed data away (RFC 2018 section 8):
 * all. Without SACK all too: of what is lost beside the first nothing would tell. */
void salvo_tcp_mark_all_lost(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us)
{
    uint32_t mask = tcp->config.segments_max - 1;
    uint32_t head = conn->send.segment_head;
    struct tcp_segment *first = tcp_segment_at(tcp, conn, head);

    if (tcp_in_flight(conn) == 0)
        return;
    if (first->list == TCP_LIST_NONE) {
        for (uint32_t i = head; i != conn->send.segment_tail; i++) {
            if (tcp_segment_at(tcp, conn, i)->list == TCP_LIST_NONE)
                salvo_tcp_list_append(tcp, conn, i & mask, TCP_LIST_LOST);
        }
        conn->control.sacked = 0;
        conn->control.sacked_count = 0;
    }
    for (uint32_t slot; (slot = conn->lists[TCP_LIST_OUTSTANDING].head) != TCP_NONE;) {
        if (conn->sack && at_slot(conn, slot)->sent_us + conn->rack.rtt_us > now_us)
            break;
        salvo_tcp_mark_lost(tcp, conn, slot, false);
    }
    if (conn->lists[TCP_LIST_LOST].head != (head & mask))
        salvo_tcp_mark_lost(tcp, conn, head & mask, true);
}

void salvo_tcp_rewind(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn)
{
    struct tcp_sender *s = &conn->send;

    s->segment_head = s->segment_tail;
    s->next = s->una;
    s->span_next = s->span_head;
    conn->lists[0] = conn->lists[1] = (struct tcp_slot_list){TCP_NONE, TCP_NONE};
    conn->control.pipe = conn->control.sacked = 0;
    conn->control.lost_count = conn->control.sacked_count = 0;
    conn->control.duplicate_acks = 0;
    conn->rack.probe_end = 0;
    conn->timer = TCP_TIMER_NONE;
    conn->timeout_due_us = 0;
    (void)tcp;
}
