/* What a connection sends next, one packet a call: SYN, probes, what is lost, what is new, or a
 * bare ACK. */
#include "dataplane/tcp/tcp_conn.h"

#include <string.h>

/* 16 records, ten cache lines. */
#define RECORDS_AHEAD 16u

static void packet_clear(struct salvo_tcp_packet *packet)
{
    packet->payload_size = 0;
    packet->range_count = 0;
    packet->segment_size = 0;
}

static bool out_syn(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us,
                    struct salvo_tcp_packet *packet)
{
    if (!conn->syn_wanted)
        return false;
    conn->syn_wanted = false;
    conn->send.max = conn->send.next = conn->send.iss + 1;
    conn->sent_us = now_us;
    packet_clear(packet);
    salvo_tcp_build(tcp, conn, now_us, conn->send.iss, TCP_SYN, packet);
    salvo_tcp_timer_set(tcp, conn, TCP_TIMER_RTO, now_us + salvo_tcp_rto_us(tcp, conn));
    return true;
}

static bool out_ack(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us,
                    uint64_t seq, struct salvo_tcp_packet *packet)
{
    packet_clear(packet);
    salvo_tcp_build(tcp, conn, now_us, seq, TCP_ACK, packet);
    return true;
}

/* Adds [seq, seq + size) to the packet's ranges, from the span on that holds seq. Returns how many
 * bytes there was room for. *span is left at the one that holds the next byte. */
static uint32_t payload_add(const struct salvo_tcp *tcp, const struct salvo_tcp_conn *conn,
                            struct salvo_tcp_packet *packet, uint32_t *span, uint64_t seq,
                            uint32_t size)
{
    uint32_t done = 0;

    while (done < size) {
        const struct tcp_span *s = tcp_span_at(tcp, conn, *span);
        uint64_t at = seq + done - s->seq;
        uint32_t n = (uint32_t)SALVO_MIN((uint64_t)(size - done), s->size - at);
        const uint8_t *bytes = s->bytes + at;
        struct salvo_tcp_range *last =
            packet->range_count == 0 ? NULL : &packet->ranges[packet->range_count - 1];

        if (last != NULL && last->bytes + last->size == bytes) {
            last->size += n; /* the segment before ended here */
        } else {
            if (packet->range_count == SALVO_TCP_PACKET_RANGES_MAX)
                break;
            packet->ranges[packet->range_count++] = (struct salvo_tcp_range){bytes, n};
        }
        done += n;
        if (at + n == s->size && *span + 1 != conn->send.span_tail)
            (*span)++;
    }
    packet->payload_size += done;
    return done;
}

/* The last `size` bytes leave the packet again, which had `ranges` ranges without them. */
static void payload_take_back(struct salvo_tcp_packet *packet, unsigned ranges, uint32_t size)
{
    packet->payload_size -= size;
    while (packet->range_count > ranges)
        size -= (uint32_t)packet->ranges[--packet->range_count].size;
    packet->ranges[ranges - 1].size -= size; /* the rest went on where it ended */
}

/* Payload of a record; a FIN has a number and no byte. */
static uint32_t record_payload(const struct tcp_segment *segment)
{
    return segment->size - (segment->fin ? 1 : 0);
}

static void record_sent(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, uint32_t slot,
                        int64_t now_us)
{
    struct tcp_segment *segment = &conn->send.segments[slot];

    segment->sent_us = now_us;
    segment->sends = (uint8_t)SALVO_MIN(segment->sends + 1, 255);
    salvo_tcp_list_append(tcp, conn, slot, TCP_LIST_OUTSTANDING);
    if (segment->sends > 1) {
        tcp->stats.segments_retransmitted++;
        conn->control.sent_again += conn->recovery != TCP_OPEN;
    }
    if (conn->recovery == TCP_RECOVERING)
        conn->control.prr_out += segment->size;
}

/* The packet of one record that was sent before. */
static bool out_again(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, uint32_t slot,
                      int64_t now_us, struct salvo_tcp_packet *packet)
{
    struct tcp_segment *segment = &conn->send.segments[slot];
    uint32_t span = segment->span;
    uint32_t size = record_payload(segment);
    uint8_t flags = TCP_ACK | (segment->fin ? TCP_FIN : 0);

    packet_clear(packet);
    if (size != 0) {
        uint32_t added = payload_add(tcp, conn, packet, &span, segment->seq, size);
        salvo_assert(added == size);
        flags |= TCP_PSH;
    }
    salvo_tcp_list_remove(tcp, conn, slot);
    record_sent(tcp, conn, slot, now_us);
    conn->sent_us = now_us;
    salvo_tcp_build(tcp, conn, now_us, segment->seq, flags, packet);
    bool first = slot == (conn->send.segment_head & (tcp->config.segments_max - 1));
    if (first)
        conn->timeout_due_us = 0; /* the hole gets its whole time to be filled */
    if ((first && conn->timer != TCP_TIMER_REORDER) || conn->timer == TCP_TIMER_NONE)
        salvo_tcp_timer_rearm(tcp, conn, now_us);
    return true;
}

/* The oldest loss, if the window lets it go. `force_one` lets the first one after a loss or timeout
 * go whatever is in the pipe. */
static bool out_lost(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us,
                     struct salvo_tcp_packet *packet)
{
    uint32_t slot = conn->lists[TCP_LIST_LOST].head;
    const struct tcp_segment *segment = &conn->send.segments[slot];

    if (!conn->force_one) {
        if (conn->control.pipe != 0 && conn->control.pipe + segment->size > conn->control.window) {
            conn->control.window_limited = true;
            return false;
        }
        /* RFC 9293 section 3.8.6: nothing new behind a window that shrank; its first is the probe.
         */
        if (segment->seq + segment->size > conn->send.una + conn->send.window)
            return false;
    }
    conn->force_one = false;
    return out_again(tcp, conn, slot, now_us, packet);
}

/* The span that holds the next byte: the one before may just have ended. */
static uint32_t span_of_next(const struct salvo_tcp *tcp, struct salvo_tcp_conn *conn)
{
    struct tcp_sender *s = &conn->send;

    while (s->span_next + 1 != s->span_tail && s->span_next != s->span_tail &&
           tcp_span_at(tcp, conn, s->span_next)->seq + tcp_span_at(tcp, conn, s->span_next)->size <=
               s->next)
        s->span_next++;
    return s->span_next;
}

/* Makes the record of the next `size` bytes (and FIN), which are in the packet already. */
static void record_new(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, uint32_t span,
                       uint32_t size, bool fin, int64_t now_us)
{
    struct tcp_sender *s = &conn->send;
    uint32_t slot = s->segment_tail & (tcp->config.segments_max - 1);

    s->segments[slot] = (struct tcp_segment){
        .seq = s->next,
        .size = size + (fin ? 1 : 0),
        .span = span,
        .fin = fin,
        .sends = s->next < s->max ? 1 : 0, /* after a rewind: Karn has to know */
    };
    s->segment_tail++;
    /* The ring is larger than the nearest cache. Seen: 1 to 2 % more bits/s. */
    __builtin_prefetch(&s->segments[(slot + RECORDS_AHEAD) & (tcp->config.segments_max - 1)], 1);
    s->next += s->segments[slot].size;
    record_sent(tcp, conn, slot, now_us);
    s->max = SALVO_MAX(s->max, s->next);
    if (!fin)
        return;
    s->fin_sent = true;
    if (conn->state == SALVO_TCP_ESTABLISHED)
        conn->state = SALVO_TCP_FIN_WAIT_1;
    else if (conn->state == SALVO_TCP_CLOSE_WAIT)
        conn->state = SALVO_TCP_LAST_ACK;
}

/* What the congestion window lets into the pipe. RFC 3042: without SACK the first two duplicates,
 * which take nothing out of the pipe, let a new segment go each. */
static uint64_t window_for_new(const struct salvo_tcp_conn *conn)
{
    uint32_t limited = conn->recovery == TCP_OPEN ? SALVO_MIN(conn->control.duplicate_acks, 2u) : 0;

    return conn->control.window + (uint64_t)limited * conn->send.mss;
}

/* Why the next segment is not sent. */
enum out_limit {
    OUT_SEND = 0,
    OUT_NOTHING,
    OUT_CONGESTION,
    OUT_PEER,    /* the peer's window, or what would be a silly segment in it */
    OUT_RECORDS, /* config.segments_max in flight */
    OUT_COMPANY, /* Nagle */
};

/* Whether the next segment may go, and how large: *ret_size bytes and perhaps the FIN. */
static enum out_limit next_segment(const struct salvo_tcp *tcp, const struct salvo_tcp_conn *conn,
                                   bool probe, uint32_t *ret_size, bool *ret_fin)
{
    const struct tcp_sender *s = &conn->send;
    bool fin_left = s->fin_wanted && s->next < s->end;
    uint64_t bytes = tcp_unsent(conn) - (fin_left ? 1 : 0);
    uint64_t edge = s->una + s->window;
    uint64_t room = edge > s->next ? edge - s->next : 0;
    uint32_t size = (uint32_t)SALVO_MIN(SALVO_MIN(bytes, (uint64_t)s->mss), room);
    bool last = size == bytes;

    if (bytes == 0 && !fin_left)
        return OUT_NOTHING;
    if (tcp_in_flight(conn) == tcp->config.segments_max)
        return OUT_RECORDS;
    if (room == 0)
        return OUT_PEER;
    /* RFC 9293 section 3.8.6.2.1: a full segment, or all there is, or half of the largest window.
     */
    if (size < s->mss && !last && size < s->window_max / 2)
        return OUT_PEER;
    if (!probe && size != 0 && conn->control.pipe + size > window_for_new(conn) &&
        conn->control.pipe != 0)
        return OUT_CONGESTION;
    /* RFC 896, only when asked for; never in front of a FIN. */
    if (tcp->config.nagle && size < s->mss && last && !fin_left && tcp_in_flight(conn) != 0)
        return OUT_COMPANY;
    *ret_size = size;
    *ret_fin = fin_left && last && room > size;
    return OUT_SEND;
}

/* RFC 9293 section 3.8.6.1: nothing is in flight whose ACK could open the window, so a timer must.
 */
static void out_wait_window(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us)
{
    if (tcp_in_flight(conn) == 0 && conn->timer == TCP_TIMER_NONE && !conn->persist_wanted)
        salvo_tcp_timer_set(tcp, conn, TCP_TIMER_PERSIST, now_us + salvo_tcp_rto_us(tcp, conn));
}

/* New segments into one packet: one, or up to `room` and tso_max bytes of full ones. */
static bool out_new(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, bool probe, int64_t now_us,
                    uint32_t room, struct salvo_tcp_packet *packet)
{
    struct tcp_sender *s = &conn->send;
    uint32_t bytes_max = SALVO_MAX(tcp->config.tso_max, s->mss);
    uint64_t seq = s->next;
    uint8_t flags = TCP_ACK;
    unsigned segments = 0;
    enum out_limit limit = OUT_SEND;
    uint32_t size;
    bool fin = false;

    packet_clear(packet);
    while (segments < room && packet->payload_size + s->mss <= bytes_max && !fin) {
        uint32_t span = span_of_next(tcp, conn);

        limit = next_segment(tcp, conn, probe, &size, &fin);
        if (limit != OUT_SEND)
            break;
        unsigned ranges = packet->range_count;
        uint32_t added =
            size == 0 ? 0 : payload_add(tcp, conn, packet, &s->span_next, s->next, size);
        fin = fin && added == size;
        /* No range left in the packet: the next one has this segment, as far as it holds it. */
        if (added < size && segments != 0) {
            payload_take_back(packet, ranges, added);
            s->span_next = span;
            break;
        }
        record_new(tcp, conn, span, added, fin, now_us);
        segments++;
        if (added != s->mss)
            break;
    }
    conn->control.window_limited =
        limit == OUT_CONGESTION || (limit == OUT_SEND && tcp_unsent(conn) != 0);
    if (segments == 0) {
        if (limit == OUT_PEER)
            out_wait_window(tcp, conn, now_us);
        return false;
    }
    if (s->next + (s->fin_wanted && !fin ? 1 : 0) == s->end && packet->payload_size != 0)
        flags |= TCP_PSH; /* RFC 9293 section 3.9.1.2: the end of what we have */
    if (fin)
        flags |= TCP_FIN;
    if (segments > 1)
        packet->segment_size = (uint16_t)s->mss;
    conn->sent_us = now_us;
    salvo_tcp_build(tcp, conn, now_us, seq, flags, packet);
    if (conn->timer == TCP_TIMER_NONE || conn->timer == TCP_TIMER_PROBE ||
        conn->timer == TCP_TIMER_PERSIST)
        salvo_tcp_timer_rearm(tcp, conn, now_us);
    return true;
}

/* RFC 8985 section 7.3: a new segment if there is one, else the last one again, so that its ACK
 * tells of what was lost before it. */
static bool out_probe(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us,
                      struct salvo_tcp_packet *packet)
{
    uint32_t last = (conn->send.segment_tail - 1) & (tcp->config.segments_max - 1);
    bool again = false;

    conn->probe_wanted = false;
    if (tcp_in_flight(conn) == 0 || conn->recovery != TCP_OPEN || conn->send.window == 0) {
        if (conn->timer == TCP_TIMER_NONE)
            salvo_tcp_timer_rearm(tcp, conn, now_us);
        return false;
    }
    if (!out_new(tcp, conn, true, now_us, 1, packet)) {
        if (conn->send.segments[last].list != TCP_LIST_OUTSTANDING) {
            salvo_tcp_timer_rearm(tcp, conn, now_us);
            return false;
        }
        again = true;
        out_again(tcp, conn, last, now_us, packet);
    }
    tcp->stats.tail_probes++;
    conn->rack.probe_is_retransmission = again;
    conn->rack.probe_end = conn->send.next;
    conn->timeout_due_us = 0;
    salvo_tcp_timer_rearm(tcp, conn, now_us); /* the timeout now, section 7.3 */
    return true;
}

/* RFC 9293 section 3.8.6.1: one byte into a shut window; or what the override timeout of
 * section 3.8.6.2.1 lets go into a silly one. From here on it is a segment like others: the timeout
 * repeats it. */
static bool out_persist(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us,
                        struct salvo_tcp_packet *packet)
{
    struct tcp_sender *s = &conn->send;
    bool fin_left = s->fin_wanted && s->next < s->end;
    uint64_t bytes = tcp_unsent(conn) - (fin_left ? 1 : 0);
    uint32_t size =
        (uint32_t)SALVO_MIN(SALVO_MIN(bytes, (uint64_t)s->mss), SALVO_MAX(s->window, UINT64_C(1)));
    uint32_t span = span_of_next(tcp, conn);
    uint64_t seq = s->next;

    conn->persist_wanted = false;
    if (tcp_in_flight(conn) != 0 || tcp_unsent(conn) == 0)
        return false;
    packet_clear(packet);
    if (bytes != 0)
        size = payload_add(tcp, conn, packet, &s->span_next, s->next, size);
    conn->window_probing = s->window == 0;
    if (conn->window_probing) {
        tcp->stats.window_probes++;
        conn->rtt.backoff =
            SALVO_MAX(conn->rtt.backoff, 1u); /* SHLD-30: each later than the last */
    }
    record_new(tcp, conn, span, size, bytes == 0, now_us);
    salvo_tcp_build(tcp, conn, now_us, seq, bytes == 0 ? TCP_ACK | TCP_FIN : TCP_ACK | TCP_PSH,
                    packet);
    conn->timeout_due_us = now_us + salvo_tcp_rto_us(tcp, conn);
    salvo_tcp_timer_set(tcp, conn, TCP_TIMER_RTO, conn->timeout_due_us);
    return true;
}

static bool out_data(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us,
                     uint32_t room, struct salvo_tcp_packet *packet)
{
    bool sent = false;

    if (conn->probe_wanted && out_probe(tcp, conn, now_us, packet))
        return true;
    if (conn->persist_wanted && out_persist(tcp, conn, now_us, packet))
        return true;
    if (conn->pace_due_us > now_us && !conn->force_one) {
        salvo_tcp_wake_by(tcp, conn, conn->pace_due_us);
        return false;
    }
    if (conn->lists[TCP_LIST_LOST].head != TCP_NONE) {
        sent = out_lost(tcp, conn, now_us, packet);
    } else if (tcp_unsent(conn) != 0) {
        if (tcp_in_flight(conn) == 0)
            salvo_tcp_cc_idle(tcp, conn, now_us);
        conn->force_one = false;
        sent = out_new(tcp, conn, false, now_us, room, packet);
    } else {
        conn->control.window_limited = false;
    }
    uint64_t pace = sent ? salvo_tcp_cc_pace(tcp, conn) : 0;
    if (pace != 0)
        conn->pace_due_us =
            now_us + (int64_t)((packet->payload_size + 66 * salvo_tcp_packet_segments(packet)) *
                               UINT64_C(1000000) / pace);
    return sent;
}

bool salvo_tcp_conn_out(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us,
                        uint32_t room, struct salvo_tcp_packet *packet)
{
    const uint8_t *mac = salvo_tcp_neighbour_mac(tcp, conn->neighbour, now_us);

    if (mac == NULL) { /* the answer puts it back on the list; its own timers go on */
        conn->wait_neighbour = true;
        salvo_tcp_wake_by(tcp, conn, now_us + tcp->config.neighbour_retry_us);
        return false;
    }
    memcpy(conn->header, mac, 6);
    if (conn->state == SALVO_TCP_SYN_SENT)
        return out_syn(tcp, conn, now_us, packet);
    if (conn->keepalive_wanted) { /* RFC 9293 section 3.8.4: an old number, so that it must be
                                     answered */
        conn->keepalive_wanted = false;
        return out_ack(tcp, conn, now_us, conn->send.una - 1, packet);
    }
    /* SACK blocks do not fit beside a full payload: they go first. */
    if (conn->receive.ack_now && conn->sack &&
        (conn->receive.island_count != 0 ||
         conn->receive.duplicate_end != conn->receive.duplicate_start))
        return out_ack(tcp, conn, now_us, tcp_bare_seq(conn), packet);
    if (out_data(tcp, conn, now_us, room, packet)) {
        conn->control.flight = conn->send.max - conn->send.una;
        return true;
    }
    if (conn->receive.ack_now)
        return out_ack(tcp, conn, now_us, tcp_bare_seq(conn), packet);
    return false;
}
