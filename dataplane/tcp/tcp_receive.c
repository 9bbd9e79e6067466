/* Payload in: the receive memory, early data, and the ACKs owed.
 *
 * A byte with number n lies at n modulo receive_size, whether it is early or in order, so filling a
 * hole moves nothing. Early data is kept as islands: intervals behind receive.next, sorted and
 * disjoint, a fixed number of them. What is told to the peer by SACK is never thrown away again. */
#include "dataplane/tcp/tcp_conn.h"

#include <string.h>

void salvo_tcp_ack_now(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn)
{
    conn->receive.ack_now = true;
    conn->receive.ack_delayed = false;
    salvo_tcp_ready(tcp, conn);
}

/* RFC 5961 section 7: the limit is each connection's own, for a shared one tells of other
 * connections (CVE-2016-5696). */
void salvo_tcp_challenge(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us)
{
    if (now_us - conn->challenge_start_us >= INT64_C(1000000)) {
        conn->challenge_start_us = now_us;
        conn->challenge_count = 0;
    }
    if (conn->challenge_count >= tcp->config.challenge_acks_per_s) {
        tcp->stats.challenge_acks_held++;
        return;
    }
    conn->challenge_count++;
    tcp->stats.challenge_acks++;
    salvo_tcp_ack_now(tcp, conn);
}

/* The right edge to advertise now: never moved left (RFC 9293 section 3.8.6), and moved right only
 * by a worthwhile step (section 3.8.6.2.2). The wire carries multiples of 2^shift: what was
 * promised is rounded up while there is memory for it, else down (RFC 7323 section 2.4 knows of
 * both). */
uint64_t salvo_tcp_receive_edge(const struct salvo_tcp *tcp, struct salvo_tcp_conn *conn)
{
    struct tcp_receiver *r = &conn->receive;
    uint64_t room = r->consumed + tcp->config.receive_size;
    uint64_t limit = r->next + (UINT64_C(65535) << r->shift);
    uint64_t step = SALVO_MIN(tcp->config.receive_size / 2, r->mss_seen);
    uint64_t edge = SALVO_MIN(room, limit);
    uint64_t unit = UINT64_C(1) << r->shift;

    if (edge < r->advertised + step)
        edge = SALVO_MAX(r->advertised, r->next);
    uint64_t up = r->next + ((edge - r->next + unit - 1) & ~(unit - 1));
    uint64_t down = r->next + ((edge - r->next) & ~(unit - 1));
    return up <= SALVO_MIN(room, limit) ? up : down;
}

static void receive_store(const struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, uint64_t seq,
                          const uint8_t *bytes, size_t size)
{
    size_t mask = tcp->config.receive_size - 1;
    size_t start = (size_t)seq & mask;
    size_t first = SALVO_MIN(size, mask + 1 - start);

    memcpy(conn->receive.memory + start, bytes, first);
    memcpy(conn->receive.memory, bytes + first, size - first);
}

/* RFC 2883: what came a second time is reported in the next ACK. */
static void receive_duplicate(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, uint64_t start,
                              uint64_t end)
{
    tcp->stats.duplicates++;
    conn->receive.duplicate_start = start;
    conn->receive.duplicate_end = end;
}

static void island_remove(struct tcp_receiver *r, unsigned i)
{
    r->island_count--;
    memmove(&r->islands[i], &r->islands[i + 1], sizeof(r->islands[0]) * (r->island_count - i));
}

/* Adds [start, end) to the islands, joining those it touches. False when there is no room for one
 * more. */
static bool island_add(struct tcp_receiver *r, uint64_t start, uint64_t end)
{
    unsigned i = 0;

    while (i < r->island_count && r->islands[i].end < start)
        i++;
    if (i == r->island_count || r->islands[i].start > end) {
        if (r->island_count == TCP_ISLANDS_MAX)
            return false;
        memmove(&r->islands[i + 1], &r->islands[i], sizeof(r->islands[0]) * (r->island_count - i));
        r->islands[i] = (struct tcp_island){start, end, ++r->stamp};
        r->island_count++;
        return true;
    }
    struct tcp_island *island = &r->islands[i];
    island->start = SALVO_MIN(island->start, start);
    island->end = SALVO_MAX(island->end, end);
    island->stamp = ++r->stamp;
    while (i + 1u < r->island_count && r->islands[i + 1].start <= island->end) {
        island->end = SALVO_MAX(island->end, r->islands[i + 1].end);
        island_remove(r, i + 1);
    }
    return true;
}

static bool island_holds(const struct tcp_receiver *r, uint64_t start, uint64_t end)
{
    for (unsigned i = 0; i < r->island_count; i++)
        if (r->islands[i].start <= start && end <= r->islands[i].end)
            return true;
    return false;
}

static void receive_early(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, uint64_t seq,
                          const uint8_t *bytes, size_t size)
{
    struct tcp_receiver *r = &conn->receive;

    if (island_holds(r, seq, seq + size)) {
        receive_duplicate(tcp, conn, seq, seq + size);
    } else if (island_add(r, seq, seq + size)) {
        receive_store(tcp, conn, seq, bytes, size);
        tcp->stats.out_of_order++;
    } else {
        tcp->stats.out_of_order_dropped++;
    }
    salvo_tcp_ack_now(
        tcp, conn); /* RFC 5681 section 4.2: at once, so that the sender learns of the hole */
}

/* In order: takes it, and every island it reaches. */
static void receive_in_order(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn,
                             const uint8_t *bytes, size_t size, int64_t now_us)
{
    struct tcp_receiver *r = &conn->receive;
    uint64_t unacked;

    receive_store(tcp, conn, r->next, bytes, size);
    r->next += size;
    if (r->island_count != 0) {
        while (r->island_count != 0 && r->islands[0].start <= r->next) {
            r->next = SALVO_MAX(r->next, r->islands[0].end);
            island_remove(r, 0);
        }
        salvo_tcp_ack_now(tcp, conn); /* RFC 5681 section 4.2: fills a hole, or leaves one */
    }
    salvo_tcp_note_event(tcp, conn);

    /* RFC 9293 section 3.8.6.3: at the latest with the second full segment, or delayed_ack_us. */
    unacked = r->next - r->acked;
    if (unacked >= 2 * (uint64_t)r->mss_seen) {
        salvo_tcp_ack_now(tcp, conn);
    } else if (!r->ack_delayed) {
        r->ack_delayed = true;
        r->ack_due_us = now_us + tcp->config.delayed_ack_us;
        salvo_tcp_wake_by(tcp, conn, r->ack_due_us);
    }
}

static void receive_bytes(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, const uint8_t *bytes,
                          uint64_t seq, size_t size, int64_t now_us)
{
    struct tcp_receiver *r = &conn->receive;
    uint64_t end = seq + size;
    uint64_t edge =
        SALVO_MIN(r->consumed + tcp->config.receive_size, r->fin_known ? r->fin_seq : end);

    r->mss_seen = SALVO_MAX(r->mss_seen, (uint32_t)SALVO_MIN(size, (size_t)65535));
    if (end <= r->next) {
        receive_duplicate(tcp, conn, seq, end);
        salvo_tcp_ack_now(tcp, conn);
        return;
    }
    if (seq < r->next) { /* a part is old */
        receive_duplicate(tcp, conn, seq, r->next);
        salvo_tcp_ack_now(tcp, conn);
        bytes += r->next - seq;
        seq = r->next;
    }
    if (end > edge) { /* no room, or behind the FIN: what does not fit was never promised */
        salvo_tcp_ack_now(tcp, conn);
        if (seq >= edge)
            return;
        end = edge;
    }
    if (seq == r->next)
        receive_in_order(tcp, conn, bytes, (size_t)(end - seq), now_us);
    else
        receive_early(tcp, conn, seq, bytes, (size_t)(end - seq));
}

/* The peer's FIN has come into order. */
static void receive_fin(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us)
{
    conn->receive.next++;
    conn->event_peer_closed = true;
    salvo_tcp_note_event(tcp, conn);
    salvo_tcp_ack_now(tcp, conn);
    switch (conn->state) {
    case SALVO_TCP_ESTABLISHED:
        conn->state = SALVO_TCP_CLOSE_WAIT;
        break;
    case SALVO_TCP_FIN_WAIT_1: /* our FIN is not acknowledged yet: simultaneous close */
        conn->state = SALVO_TCP_CLOSING;
        break;
    case SALVO_TCP_FIN_WAIT_2:
        salvo_tcp_ack_out(tcp, conn, now_us);
        salvo_tcp_time_wait_enter(tcp, conn, now_us);
        salvo_tcp_down(tcp, conn, SALVO_TCP_REASON_CLOSED);
        break;
    }
}

/* Payload and FIN of an acceptable segment (RFC 9293 section 3.10.7.4, "seventh" and "eighth"). */
void salvo_tcp_payload_in(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn,
                          const struct tcp_arrival *arrival, uint64_t seq, int64_t now_us)
{
    struct tcp_receiver *r = &conn->receive;

    if (arrival->size != 0) {
        if (conn->closed_here && seq + arrival->size > r->next) {
            /* RFC 9293 section 3.6.1, RFC 2525 section 2.17: nobody will read it, and the peer
             * shall know. */
            salvo_tcp_reset_out(tcp, conn);
            salvo_tcp_down(tcp, conn, SALVO_TCP_REASON_ABORTED);
            return;
        }
        if (r->fin_known && r->next > r->fin_seq) {
            salvo_tcp_challenge(tcp, conn, now_us); /* behind the peer's own FIN, or a duplicate */
            return;
        }
        receive_bytes(tcp, conn, arrival->payload, seq, arrival->size, now_us);
    }
    if (arrival->flags & TCP_FIN) {
        uint64_t fin_seq = seq + arrival->size;
        /* A FIN that would cut off what was already received or promised by SACK is not believed.
         */
        bool cuts = r->island_count != 0 && r->islands[r->island_count - 1].end > fin_seq;

        if (r->fin_known || fin_seq < r->next)
            salvo_tcp_ack_now(tcp, conn); /* again: our ACK was lost */
        else if (!cuts && fin_seq <= r->consumed + tcp->config.receive_size)
            r->fin_known = true, r->fin_seq = fin_seq;
        if (r->next < fin_seq)
            salvo_tcp_ack_now(tcp, conn);
    }
    if (r->fin_known && r->next == r->fin_seq)
        receive_fin(tcp, conn, now_us);
}
