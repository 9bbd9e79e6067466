/* The connection table, what the user calls, and the events given back. See tcp.h.
 *
 * Connections with something to send stand on the ready list, those with something to tell on the
 * event list; both are links inside the connections, so that neither can be full. */
#include "dataplane/tcp/tcp_conn.h"

#include <string.h>

/* The connection of a handle, or NULL when it is gone. */
static struct salvo_tcp_conn *conn_of(const struct salvo_tcp *tcp, uint64_t handle)
{
    uint32_t index = (uint32_t)handle;

    if (index >= tcp->config.conns_max)
        return NULL;
    struct salvo_tcp_conn *conn = &tcp->conns[index];
    if (conn->generation != (uint32_t)(handle >> 32) || conn->state == SALVO_TCP_FREE)
        return NULL;
    return conn;
}

struct salvo_tcp_conn *salvo_tcp_find(struct salvo_tcp *tcp, const struct salvo_ip_address *remote,
                                      uint16_t remote_port, uint16_t local_port)
{
    uint32_t bucket = salvo_tcp_hash(remote, remote_port, local_port) & tcp->bucket_mask;

    for (uint32_t i = tcp->buckets[bucket]; i != TCP_NONE; i = tcp->conns[i].bucket_next) {
        struct salvo_tcp_conn *conn = &tcp->conns[i];
        if (conn->local_port == local_port && conn->remote_port == remote_port &&
            salvo_ip_equal(&conn->remote, remote))
            return conn;
    }
    return NULL;
}

void salvo_tcp_ready(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn)
{
    if (conn->on_ready || conn->state == SALVO_TCP_DEAD)
        return;
    conn->on_ready = true;
    conn->turn = 0;
    conn->ready_next = TCP_NONE;
    if (tcp->ready_tail == TCP_NONE)
        tcp->ready_head = conn->index;
    else
        tcp->conns[tcp->ready_tail].ready_next = conn->index;
    tcp->ready_tail = conn->index;
}

void salvo_tcp_note_event(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn)
{
    if (conn->on_events)
        return;
    conn->on_events = true;
    conn->event_next = TCP_NONE;
    if (tcp->event_tail == TCP_NONE)
        tcp->event_head = conn->index;
    else
        tcp->conns[tcp->event_tail].event_next = conn->index;
    tcp->event_tail = conn->index;
}

static size_t send_take(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn,
                        const struct salvo_tcp_range *range)
{
    struct tcp_sender *s = &conn->send;

    if (range->size == 0)
        return 0;
    if (s->span_tail != s->span_head) {
        struct tcp_span *last = tcp_span_at(tcp, conn, s->span_tail - 1);
        if (last->bytes + last->size == range->bytes) { /* frames behind each other in one chunk */
            last->size += range->size;
            s->end += range->size;
            return range->size;
        }
    }
    if (s->span_tail - s->span_head == tcp->config.ranges_max)
        return 0;
    *tcp_span_at(tcp, conn, s->span_tail++) =
        (struct tcp_span){.bytes = range->bytes, .seq = s->end, .size = range->size};
    s->end += range->size;
    return range->size;
}

size_t salvo_tcp_send(struct salvo_tcp *tcp, uint64_t handle, const struct salvo_tcp_range *ranges,
                      unsigned range_count, int64_t now_us)
{
    struct salvo_tcp_conn *conn = conn_of(tcp, handle);
    size_t taken = 0;

    if (conn == NULL || conn->state == SALVO_TCP_DEAD || conn->send.fin_wanted)
        return 0;
    if (conn->send.una == conn->send.end)
        conn->progress_us = now_us; /* the user timeout counts from the first byte that waits */
    for (unsigned i = 0; i < range_count; i++) {
        size_t n = send_take(tcp, conn, &ranges[i]);
        taken += n;
        if (n != ranges[i].size)
            break;
    }
    if (taken != 0 && conn->state != SALVO_TCP_SYN_SENT)
        salvo_tcp_ready(tcp, conn);
    return taken;
}

/* Counts the bytes below `seq` as released and forgets the spans that end there. */
void salvo_tcp_release_to(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, uint64_t seq)
{
    struct tcp_sender *s = &conn->send;

    while (s->span_head != s->span_tail) {
        struct tcp_span *span = tcp_span_at(tcp, conn, s->span_head);
        uint64_t size = SALVO_MIN(span->size, seq > span->seq ? seq - span->seq : 0);

        conn->released += size;
        if (size < span->size) {
            span->bytes += size;
            span->seq += size;
            span->size -= size;
            break;
        }
        if (s->span_next == s->span_head)
            s->span_next++;
        s->span_head++;
    }
    if (conn->released != 0)
        salvo_tcp_note_event(tcp, conn);
}

unsigned salvo_tcp_readable(struct salvo_tcp *tcp, uint64_t handle,
                            struct salvo_tcp_range ret_ranges[2])
{
    struct salvo_tcp_conn *conn = conn_of(tcp, handle);

    if (conn == NULL || conn->state == SALVO_TCP_SYN_SENT)
        return 0;
    const struct tcp_receiver *r = &conn->receive;
    size_t mask = tcp->config.receive_size - 1;
    size_t size = (size_t)(r->next - (r->fin_known && r->next > r->fin_seq) - r->consumed);
    size_t start = (size_t)r->consumed & mask;
    size_t first = SALVO_MIN(size, mask + 1 - start);

    if (size == 0)
        return 0;
    ret_ranges[0] = (struct salvo_tcp_range){r->memory + start, first};
    ret_ranges[1] = (struct salvo_tcp_range){r->memory, size - first};
    return size > first ? 2 : 1;
}

void salvo_tcp_consume(struct salvo_tcp *tcp, uint64_t handle, size_t size, int64_t now_us)
{
    struct salvo_tcp_conn *conn = conn_of(tcp, handle);

    if (conn == NULL || conn->state == SALVO_TCP_SYN_SENT)
        return;
    struct tcp_receiver *r = &conn->receive;
    salvo_assert(size <= r->next - r->consumed);
    r->consumed += size;
    if (size == 0 || conn->state == SALVO_TCP_DEAD)
        return;

    /* RFC 9293 section 3.8.6.2.2, silly window avoidance: tell of room only when there are two
     * segments' or half the memory's worth more than the peer knows of, and it may be waiting for
     * it. */
    uint64_t edge = salvo_tcp_receive_edge(tcp, conn);
    if (edge >= r->advertised + SALVO_MIN(tcp->config.receive_size / 2, 2 * r->mss_seen) &&
        r->advertised - r->next < tcp->config.receive_size / 2)
        salvo_tcp_ack_now(tcp, conn);
}

void salvo_tcp_shutdown(struct salvo_tcp *tcp, uint64_t handle, int64_t now_us)
{
    struct salvo_tcp_conn *conn = conn_of(tcp, handle);

    if (conn == NULL || conn->state == SALVO_TCP_DEAD || conn->send.fin_wanted)
        return;
    if (conn->send.una == conn->send.end)
        conn->progress_us = now_us;
    conn->send.fin_wanted = true;
    conn->send.end++; /* the FIN's sequence number */
    if (conn->state != SALVO_TCP_SYN_SENT)
        salvo_tcp_ready(tcp, conn);
}

void salvo_tcp_close(struct salvo_tcp *tcp, uint64_t handle, int64_t now_us)
{
    struct salvo_tcp_conn *conn = conn_of(tcp, handle);

    if (conn == NULL || conn->state == SALVO_TCP_DEAD)
        return;
    if (conn->state == SALVO_TCP_SYN_SENT) {
        salvo_tcp_down(tcp, conn, SALVO_TCP_REASON_ABORTED);
        return;
    }
    conn->closed_here = true;
    if (conn->receive.next - conn->receive.consumed >
        (conn->receive.fin_known && conn->receive.next > conn->receive.fin_seq ? 1u : 0u)) {
        /* RFC 2525 section 2.17, RFC 9293 section 3.6.1: closing over unread bytes is a reset, so
         * that the peer learns that they were lost. */
        salvo_tcp_abort(tcp, handle, now_us);
        return;
    }
    salvo_tcp_shutdown(tcp, handle, now_us);
    conn->fin_wait_due_us = now_us + tcp->config.fin_wait_us;
    salvo_tcp_wake_by(tcp, conn, conn->fin_wait_due_us);
}

void salvo_tcp_abort(struct salvo_tcp *tcp, uint64_t handle, int64_t now_us)
{
    struct salvo_tcp_conn *conn = conn_of(tcp, handle);

    (void)now_us;
    if (conn == NULL || conn->state == SALVO_TCP_DEAD)
        return;
    if (conn->state != SALVO_TCP_SYN_SENT) /* RFC 9293 section 3.10.5: SYN-SENT is just forgotten */
        salvo_tcp_reset_out(tcp, conn);
    salvo_tcp_down(tcp, conn, SALVO_TCP_REASON_ABORTED);
}

void salvo_tcp_down(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn,
                    enum salvo_tcp_reason reason)
{
    uint32_t bucket =
        salvo_tcp_hash(&conn->remote, conn->remote_port, conn->local_port) & tcp->bucket_mask;
    uint32_t *link = &tcp->buckets[bucket];

    salvo_assert(conn->state != SALVO_TCP_FREE);
    salvo_assert(conn->state != SALVO_TCP_DEAD);
    while (*link != conn->index)
        link = &tcp->conns[*link].bucket_next;
    *link = conn->bucket_next;
    salvo_tcp_heap_remove(tcp, conn);
    salvo_tcp_neighbour_drop(tcp, conn->neighbour);
    conn->neighbour = TCP_NONE;
    conn->state = SALVO_TCP_DEAD;
    conn->reason = (uint8_t)reason;
    conn->event_down = true;
    salvo_tcp_release_to(tcp, conn, UINT64_MAX);
    salvo_tcp_note_event(tcp, conn);
}

static void conn_free(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn)
{
    conn->state = SALVO_TCP_FREE;
    conn->generation++;
    conn->free_next = TCP_NONE;
    if (tcp->free_tail == TCP_NONE)
        tcp->free_head = conn->index;
    else
        tcp->conns[tcp->free_tail].free_next = conn->index;
    tcp->free_tail = conn->index;
}

/* How many of the user's bytes were handed to the network at least once. */
static uint64_t bytes_handed_over(const struct salvo_tcp_conn *conn)
{
    uint64_t sent = conn->send.max > conn->send.iss ? conn->send.max - conn->send.iss - 1 : 0;

    return sent - (conn->send.fin_sent && conn->send.max == conn->send.end ? 1 : 0);
}

/* Takes one event off the connection, in the order of tcp.h. False when there is none. */
static bool event_take(struct salvo_tcp_conn *conn, struct salvo_tcp_event *ret_event)
{
    struct tcp_receiver *r = &conn->receive;
    uint64_t in_order = r->next - (r->fin_known && r->next > r->fin_seq ? 1 : 0);

    *ret_event = (struct salvo_tcp_event){.conn = tcp_handle(conn), .cookie = conn->cookie};
    if (conn->event_up) {
        conn->event_up = false;
        ret_event->kind = SALVO_TCP_UP;
    } else if (r->reported != in_order) {
        ret_event->kind = SALVO_TCP_DATA;
        ret_event->bytes = in_order - r->reported;
        r->reported = in_order;
    } else if (conn->released != 0) {
        ret_event->kind = SALVO_TCP_RELEASED;
        ret_event->bytes = conn->released;
        conn->released = 0;
    } else if (conn->event_peer_closed) {
        conn->event_peer_closed = false;
        ret_event->kind = SALVO_TCP_PEER_CLOSED;
    } else if (conn->event_down) {
        conn->event_down = false;
        ret_event->kind = SALVO_TCP_DOWN;
        ret_event->reason = conn->reason;
        ret_event->bytes = bytes_handed_over(conn);
    } else {
        return false;
    }
    return true;
}

/* Frees the connections whose DOWN was taken by an earlier call: until then the user may still read
 * what had arrived before it. */
static void graves_clear(struct salvo_tcp *tcp)
{
    while (tcp->grave_head != TCP_NONE) {
        struct salvo_tcp_conn *conn = &tcp->conns[tcp->grave_head];

        tcp->grave_head = conn->event_next;
        conn->buried = true;
        if (!conn->on_ready)
            conn_free(tcp, conn);
    }
}

void salvo_tcp_ready_clear(struct salvo_tcp *tcp)
{
    uint32_t *place = &tcp->ready_head;

    tcp->ready_tail = TCP_NONE;
    while (*place != TCP_NONE) {
        struct salvo_tcp_conn *conn = &tcp->conns[*place];

        if (conn->state != SALVO_TCP_DEAD) {
            tcp->ready_tail = conn->index;
            place = &conn->ready_next;
            continue;
        }
        *place = conn->ready_next;
        conn->on_ready = false;
        if (conn->buried)
            conn_free(tcp, conn);
    }
}

unsigned salvo_tcp_events(struct salvo_tcp *tcp, struct salvo_tcp_event *events,
                          unsigned events_max)
{
    unsigned count = 0;

    graves_clear(tcp);
    while (tcp->event_head != TCP_NONE && count < events_max) {
        struct salvo_tcp_conn *conn = &tcp->conns[tcp->event_head];

        if (event_take(conn, &events[count])) {
            count++;
            continue;
        }
        tcp->event_head = conn->event_next;
        if (tcp->event_head == TCP_NONE)
            tcp->event_tail = TCP_NONE;
        conn->on_events = false;
        if (conn->state == SALVO_TCP_DEAD) {
            conn->event_next = tcp->grave_head;
            tcp->grave_head = conn->index;
        }
    }
    return count;
}

/* How many segments the connection's next packet may have. A device that cuts has room for packets;
 * where we cut, it is the turn that bounds them, and pacing, which spreads segments. */
static uint32_t conn_room(const struct salvo_tcp *tcp, const struct salvo_tcp_conn *conn,
                          uint32_t room)
{
    if (tcp->config.checksum_offload)
        return room;
    return tcp->config.pacing ? 1 : SALVO_MIN(room, TCP_TURN_MAX - conn->turn);
}

bool salvo_tcp_output(struct salvo_tcp *tcp, int64_t now_us, uint32_t room,
                      struct salvo_tcp_packet *ret_packet)
{
    salvo_assert(room != 0);
    if (salvo_tcp_raw_out(tcp, ret_packet))
        return true;
    while (tcp->ready_head != TCP_NONE) {
        struct salvo_tcp_conn *conn = &tcp->conns[tcp->ready_head];
        bool alive = conn->state != SALVO_TCP_DEAD;
        bool sent =
            alive && salvo_tcp_conn_out(tcp, conn, now_us, conn_room(tcp, conn, room), ret_packet);

        if (sent)
            conn->turn += tcp->config.checksum_offload ? 1 : salvo_tcp_packet_segments(ret_packet);
        if (!sent || conn->turn >= TCP_TURN_MAX) { /* round robin */
            tcp->ready_head = conn->ready_next;
            if (tcp->ready_head == TCP_NONE)
                tcp->ready_tail = TCP_NONE;
            conn->on_ready = false;
            if (sent)
                salvo_tcp_ready(tcp, conn);
            else if (conn->buried)
                conn_free(tcp, conn);
        }
        if (sent)
            return true;
        if (salvo_tcp_raw_out(tcp, ret_packet)) /* a question for a neighbour, say */
            return true;
    }
    return false;
}

bool salvo_tcp_conn_info(const struct salvo_tcp *tcp, uint64_t handle,
                         struct salvo_tcp_info *ret_info)
{
    const struct salvo_tcp_conn *conn = conn_of(tcp, handle);

    if (conn == NULL)
        return false;
    *ret_info = (struct salvo_tcp_info){
        .state = conn->state,
        .local_port = conn->local_port,
        .mss = conn->send.mss,
        .window_congestion = conn->control.window,
        .window_peer = (uint32_t)conn->send.window,
        .threshold_slow_start = conn->control.threshold,
        .bytes_unacked = conn->send.next - conn->send.una,
        .bytes_unsent = tcp_unsent(conn),
        .bytes_in_pipe = conn->control.pipe,
        .bytes_handed_over = bytes_handed_over(conn),
        .segments_in_flight = tcp_in_flight(conn),
        .rtt_smoothed_us = conn->rtt.smoothed_us,
        .rtt_min_us = conn->rtt.min_us,
        .rto_us = salvo_tcp_rto_us(tcp, conn),
        .recovering = conn->recovery != TCP_OPEN,
    };
    return true;
}

const struct salvo_tcp_stats *salvo_tcp_stats(const struct salvo_tcp *tcp)
{
    return &tcp->stats;
}
