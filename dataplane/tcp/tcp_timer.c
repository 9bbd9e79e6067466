/* Time: one heap entry per connection, and what is done when a time comes.
 *
 * A connection has one retransmission-class timer (timeout, tail probe, reordering, persist: they
 * exclude each other) and some slow ones. The heap's key may be earlier than the earliest of them:
 * timers that move away with every ACK then cost nothing, and a connection that is looked at too
 * early is put back. */
#include "dataplane/tcp/tcp_conn.h"

static void heap_put(struct salvo_tcp *tcp, uint32_t place, uint32_t index)
{
    tcp->heap[place] = index;
    tcp->conns[index].heap_place = place;
}

static void heap_up(struct salvo_tcp *tcp, uint32_t place)
{
    uint32_t index = tcp->heap[place];

    while (place != 0) {
        uint32_t parent = (place - 1) / 2;
        if (tcp->conns[tcp->heap[parent]].wake_us <= tcp->conns[index].wake_us)
            break;
        heap_put(tcp, place, tcp->heap[parent]);
        place = parent;
    }
    heap_put(tcp, place, index);
}

static void heap_down(struct salvo_tcp *tcp, uint32_t place)
{
    uint32_t index = tcp->heap[place];

    for (;;) {
        uint32_t child = 2 * place + 1;
        if (child >= tcp->heap_count)
            break;
        if (child + 1 < tcp->heap_count &&
            tcp->conns[tcp->heap[child + 1]].wake_us < tcp->conns[tcp->heap[child]].wake_us)
            child++;
        if (tcp->conns[tcp->heap[child]].wake_us >= tcp->conns[index].wake_us)
            break;
        heap_put(tcp, place, tcp->heap[child]);
        place = child;
    }
    heap_put(tcp, place, index);
}

void salvo_tcp_heap_insert(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t at_us)
{
    salvo_assert(conn->heap_place == TCP_NONE);
    salvo_assert(tcp->heap_count < tcp->config.conns_max);
    conn->wake_us = at_us;
    heap_put(tcp, tcp->heap_count, conn->index);
    heap_up(tcp, tcp->heap_count++);
}

void salvo_tcp_heap_remove(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn)
{
    uint32_t place = conn->heap_place;
    uint32_t last = tcp->heap[--tcp->heap_count];

    salvo_assert(place <= tcp->heap_count);
    conn->heap_place = TCP_NONE;
    if (last == conn->index)
        return;
    heap_put(tcp, place, last);
    heap_down(tcp, place);
    heap_up(tcp, tcp->conns[last].heap_place);
}

void salvo_tcp_wake_by(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t at_us)
{
    if (SALVO_LIKELY(at_us >= conn->wake_us) || conn->heap_place == TCP_NONE)
        return;
    conn->wake_us = at_us;
    heap_up(tcp, conn->heap_place);
}

void salvo_tcp_timer_set(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, enum tcp_timer kind,
                         int64_t at_us)
{
    conn->timer = (uint8_t)kind;
    conn->timer_us = at_us;
    if (kind != TCP_TIMER_NONE)
        salvo_tcp_wake_by(tcp, conn, at_us);
}

int64_t salvo_tcp_rto_us(const struct salvo_tcp *tcp, const struct salvo_tcp_conn *conn)
{
    /* RFC 6298 section 5.5: doubled at each timeout, up to a limit. */
    int64_t rto_us = conn->rtt.rto_us << SALVO_MIN(conn->rtt.backoff, 16u);

    return SALVO_MIN(rto_us, tcp->config.rto_max_us);
}

/* RFC 6298 section 2, on the microsecond clock: G is 1, far below the minimum. */
void salvo_tcp_rtt_sample(const struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t rtt_us,
                          bool exact, int64_t now_us)
{
    struct tcp_rtt *t = &conn->rtt;

    rtt_us = SALVO_MAX(rtt_us, INT64_C(1));
    if (t->smoothed_us == 0) {
        t->smoothed_us = rtt_us;
        t->variation_us = rtt_us / 2;
    } else {
        int64_t error = rtt_us - t->smoothed_us;
        int64_t distance = error < 0 ? -error : error;
        t->variation_us += (distance - t->variation_us) / 4;
        t->smoothed_us = SALVO_MAX(t->smoothed_us + error / 8, INT64_C(1));
    }
    /* A steady round trip longer than the least timeout would be its own timeout, and the first ACK
     * that the peer delays one for nothing. */
    int64_t spare_us = SALVO_MIN(t->smoothed_us, tcp->config.rto_min_us);
    t->rto_us = SALVO_CLAMP(t->smoothed_us + SALVO_MAX(4 * t->variation_us, spare_us),
                            tcp->config.rto_min_us, tcp->config.rto_max_us);

    /* The least of the last 10 s or so, for RACK's reordering window (RFC 8985 section 6.2 step 1).
     */
    if (!exact)
        return;
    if (t->min_us == 0 || rtt_us <= t->min_us || now_us - t->min_taken_us > INT64_C(10000000)) {
        t->min_us = rtt_us;
        t->min_taken_us = now_us;
    }
}

/* RFC 8985 section 7.2: when a tail loss probe is due, or 0 when there is to be none: only with
 * SACK, out of recovery, with no SACK hole open and no probe in flight. */
static int64_t probe_due_us(const struct salvo_tcp *tcp, const struct salvo_tcp_conn *conn,
                            int64_t now_us)
{
    int64_t wait_us = INT64_C(1000000);

    if (!conn->sack || conn->recovery != TCP_OPEN || conn->control.sacked_count != 0 ||
        conn->rack.probe_end != 0 || conn->rtt.backoff != 0 || conn->send.window == 0)
        return 0;
    if (conn->rtt.smoothed_us != 0) {
        wait_us = 2 * conn->rtt.smoothed_us;
        if (tcp_in_flight(conn) == 1) /* the peer may be holding its ACK back */
            wait_us += tcp->config.peer_delayed_ack_us;
    }
    return now_us + wait_us;
}

/* The timeout counts from the last ACK that moved una, or from the transmission of the first
 * segment in flight (RFC 6298 sections 5.1 and 5.3). SACK does not restart it: a peer that takes
 * what is new and throws away what it had would hold it off for ever. */
static int64_t timeout_due_us(const struct salvo_tcp *tcp, struct salvo_tcp_conn *conn,
                              int64_t now_us)
{
    if (conn->timeout_due_us == 0)
        conn->timeout_due_us = now_us + salvo_tcp_rto_us(tcp, conn);
    return conn->timeout_due_us;
}

void salvo_tcp_timer_rearm(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us)
{
    if (tcp_in_flight(conn) == 0) { /* RFC 6298 section 5.2; a window that stays shut has its own */
        if (conn->timer != TCP_TIMER_PERSIST)
            conn->timer = TCP_TIMER_NONE;
        conn->timeout_due_us = 0;
        return;
    }
    int64_t timeout_us = timeout_due_us(tcp, conn, now_us);
    int64_t probe_us = probe_due_us(tcp, conn, now_us);

    if (probe_us != 0) /* RFC 8985 section 7.2: in place of a timeout that would come before it */
        salvo_tcp_timer_set(tcp, conn, TCP_TIMER_PROBE, SALVO_MIN(probe_us, timeout_us));
    else
        salvo_tcp_timer_set(tcp, conn, TCP_TIMER_RTO, timeout_us);
}

void salvo_tcp_timer_reorder(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t at_us,
                             int64_t now_us)
{
    int64_t timeout_us = timeout_due_us(tcp, conn, now_us);

    if (at_us < timeout_us)
        salvo_tcp_timer_set(tcp, conn, TCP_TIMER_REORDER, at_us);
    else
        salvo_tcp_timer_set(tcp, conn, TCP_TIMER_RTO, timeout_us);
}

/* 10 s: nothing but timeouts says that full segments do not pass, and a path that was away for a
 * while has as many. So they are tried again soon; mtu_raise_us later when that has just failed. */
#define MTU_DOUBT_US INT64_C(10000000)

static int64_t mtu_raise_due_us(const struct salvo_tcp *tcp, const struct salvo_tcp_conn *conn,
                                int64_t now_us)
{
    int64_t wait_us = tcp->config.mtu_raise_us;

    if (conn->mtu_raised_us != 0 && now_us - conn->mtu_raised_us < wait_us)
        return now_us + wait_us;
    return now_us + SALVO_MIN(wait_us, MTU_DOUBT_US);
}

/* RFC 2923 section 2.1 and RFC 4821 section 7.7: full segments time out again and again while
 * nothing says why. Smaller ones may pass: halve down to what every path carries. */
static void timer_try_smaller(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us)
{
    uint16_t safe = conn->ip_size == SALVO_IP6_SIZE ? SALVO_IP6_MTU_SAFE : SALVO_IP4_MTU_SAFE;
    const struct tcp_segment *first = tcp_segment_at(tcp, conn, conn->send.segment_head);

    if (tcp->config.black_hole_timeouts == 0 || conn->timeouts < tcp->config.black_hole_timeouts ||
        tcp_in_flight(conn) == 0 || conn->send.mtu <= safe ||
        first->size <= safe - (uint32_t)conn->ip_size - SALVO_TCP_SIZE)
        return;
    /* A TCP header is 20 bytes and options: what the peer or path takes now, halved. */
    uint32_t size = conn->send.mss + (uint32_t)conn->ip_size + SALVO_TCP_SIZE + 12;
    conn->send.mtu = (uint16_t)SALVO_MAX((uint32_t)safe, SALVO_MIN(size, conn->send.mtu) / 2);
    /* What a router has told before outlasts the doubt (RFC 1191 section 3). */
    conn->mtu_raise_us = SALVO_MAX(conn->mtu_raise_us, mtu_raise_due_us(tcp, conn, now_us));
    salvo_tcp_mss_update(conn);
    conn->control.window = conn->send.mss; /* still the loss window */
    salvo_tcp_rewind(tcp, conn);
    tcp->stats.mtu_lowered++;
}

/* Whether this timeout is for what the last one sent again, of which some has arrived since: when
 * the originals were late and not lost, their ACKs would have come one behind the other. So an RTO
 * has passed in which round trips fitted, and the backoff may go (RFC 8961 section 4); a loss
 * needs no longer timeout. What was sent once may be late, and keeps doubling until it is measured
 * (RFC 6298 section 5.5). */
static bool timer_copy_lost(const struct salvo_tcp *tcp, const struct salvo_tcp_conn *conn)
{
    return conn->recovery == TCP_TIMED_OUT && conn->timeouts == 0 && tcp_in_flight(conn) != 0 &&
           tcp_segment_at(tcp, conn, conn->send.segment_head)->sends > 1;
}

static void timer_retransmit(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us)
{
    conn->rtt.backoff = SALVO_MIN(conn->rtt.backoff + 1, 16u);
    if (conn->state == SALVO_TCP_SYN_SENT) {
        tcp->stats.timeouts++;
        conn->timeouts++;
        conn->syn_wanted = true;
        salvo_tcp_ready(tcp, conn);
        return;
    }
    conn->force_one = true;
    conn->rack.probe_end = 0;
    if (conn->send.window == 0) {
        /* RFC 9293 section 3.8.6.1: a shut window is probed, with the first segment; that it is not
         * taken is no loss and no reason to give up. */
        uint32_t head = conn->send.segment_head & (tcp->config.segments_max - 1);
        tcp->stats.window_probes++;
        conn->window_probing = true;
        if (tcp_in_flight(conn) != 0 && conn->send.segments[head].list == TCP_LIST_NONE)
            salvo_tcp_mark_all_lost(tcp, conn, now_us); /* SACKed and thrown away again */
        else if (tcp_in_flight(conn) != 0 && conn->send.segments[head].list != TCP_LIST_LOST)
            salvo_tcp_mark_lost(tcp, conn, head, true);
    } else {
        if (timer_copy_lost(tcp, conn))
            conn->rtt.backoff = 1;
        tcp->stats.timeouts++;
        conn->timeouts++;
        salvo_tcp_cc_timeout(tcp, conn, now_us);
        salvo_tcp_mark_all_lost(tcp, conn, now_us);
        timer_try_smaller(tcp, conn, now_us);
    }
    conn->timeout_due_us = now_us + salvo_tcp_rto_us(tcp, conn);
    salvo_tcp_timer_set(tcp, conn, TCP_TIMER_RTO, conn->timeout_due_us);
    salvo_tcp_ready(tcp, conn);
}

/* Whether what was to be sent again at any rate has not left: the link is down, the device full, or
 * the neighbour unknown. Then nothing was sent whose ACK is late. */
static bool timer_held_up(const struct salvo_tcp *tcp, const struct salvo_tcp_conn *conn)
{
    return conn->force_one && tcp_in_flight(conn) != 0 &&
           tcp_segment_at(tcp, conn, conn->send.segment_head)->list == TCP_LIST_LOST;
}

static void timer_timeout(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us)
{
    if (timer_held_up(tcp, conn)) {
        conn->timeout_due_us = 0;
        salvo_tcp_timer_rearm(tcp, conn, now_us);
    } else {
        timer_retransmit(tcp, conn, now_us);
    }
}

static void timer_reorder(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us)
{
    int64_t wait_us = salvo_tcp_rack_detect(tcp, conn, now_us);

    if (conn->control.lost_count != 0 && conn->recovery == TCP_OPEN)
        salvo_tcp_cc_recover(tcp, conn, now_us);
    if (wait_us != 0)
        salvo_tcp_timer_reorder(tcp, conn, now_us + wait_us, now_us);
    else
        salvo_tcp_timer_rearm(tcp, conn, now_us);
    salvo_tcp_ready(tcp, conn);
}

static void timer_fire(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us)
{
    enum tcp_timer kind = conn->timer;

    conn->timer = TCP_TIMER_NONE;
    switch (kind) {
    case TCP_TIMER_RTO:
        timer_timeout(tcp, conn, now_us);
        break;
    case TCP_TIMER_PROBE:
        conn->probe_wanted = true;
        salvo_tcp_ready(tcp, conn);
        break;
    case TCP_TIMER_REORDER:
        timer_reorder(tcp, conn, now_us);
        break;
    case TCP_TIMER_PERSIST:
        conn->persist_wanted = true;
        salvo_tcp_ready(tcp, conn);
        break;
    case TCP_TIMER_NONE:
        break;
    }
}

/* RFC 9293 section 3.8.4: probes after silence, only when nothing of ours is in flight to probe
 * with. */
static int64_t timer_keepalive(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us)
{
    const struct salvo_tcp_config *c = &tcp->config;

    if (c->keepalive_us == 0 || !tcp_synchronized(conn) || conn->send.una != conn->send.end)
        return INT64_MAX;
    /* Each interval from the probe before: whoever asks may be late by more than all of them. */
    int64_t due_us = conn->keepalive_count == 0 ? conn->heard_us + c->keepalive_us
                                                : conn->keepalive_us + c->keepalive_interval_us;
    if (now_us < due_us)
        return due_us;
    if (conn->keepalive_count >= c->keepalive_probes)
        return INT64_MIN;
    conn->keepalive_us = now_us;
    conn->keepalive_count++;
    conn->keepalive_wanted = true;
    tcp->stats.keepalive_probes++;
    salvo_tcp_ready(tcp, conn);
    return now_us + c->keepalive_interval_us;
}

/* The slow timers that end a connection. INT64_MIN when one of them is due now, else the earliest.
 */
static int64_t timer_end_due(const struct salvo_tcp *tcp, const struct salvo_tcp_conn *conn,
                             int64_t now_us)
{
    int64_t due_us = INT64_MAX;

    if (conn->state == SALVO_TCP_SYN_SENT)
        due_us = conn->opened_us + tcp->config.connect_timeout_us;
    else if (conn->send.una != conn->send.end) /* RFC 5482: data waits for an ACK */
        due_us = conn->progress_us + tcp->config.user_timeout_us;
    if (conn->fin_wait_due_us != 0 && conn->state == SALVO_TCP_FIN_WAIT_2)
        due_us = SALVO_MIN(due_us, conn->fin_wait_due_us);
    return due_us <= now_us ? INT64_MIN : due_us;
}

static void timer_look(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us)
{
    int64_t end_us = timer_end_due(tcp, conn, now_us);
    int64_t keepalive_us = timer_keepalive(tcp, conn, now_us);

    if (end_us == INT64_MIN || keepalive_us == INT64_MIN) {
        if (conn->state == SALVO_TCP_FIN_WAIT_2 && conn->fin_wait_due_us != 0 &&
            conn->fin_wait_due_us <= now_us)
            salvo_tcp_down(tcp, conn, SALVO_TCP_REASON_CLOSED); /* all of ours was acknowledged */
        else
            salvo_tcp_down(tcp, conn, SALVO_TCP_REASON_TIMEOUT);
        return;
    }
    if (conn->timer != TCP_TIMER_NONE && conn->timer_us <= now_us)
        timer_fire(tcp, conn, now_us);
    if (conn->receive.ack_delayed && conn->receive.ack_due_us <= now_us)
        salvo_tcp_ack_now(tcp, conn);
    if (conn->pace_due_us != 0 && conn->pace_due_us <= now_us)
        salvo_tcp_ready(tcp, conn);

    conn->wake_us = SALVO_MIN(end_us, keepalive_us);
    if (conn->timer != TCP_TIMER_NONE)
        conn->wake_us = SALVO_MIN(conn->wake_us, conn->timer_us);
    if (conn->receive.ack_delayed)
        conn->wake_us = SALVO_MIN(conn->wake_us, conn->receive.ack_due_us);
    if (conn->pace_due_us > now_us)
        conn->wake_us = SALVO_MIN(conn->wake_us, conn->pace_due_us);
    heap_down(tcp, conn->heap_place);
}

int64_t salvo_tcp_deadline_us(const struct salvo_tcp *tcp)
{
    int64_t due_us = tcp->heap_count != 0 ? tcp->conns[tcp->heap[0]].wake_us : INT64_MAX;

    return SALVO_MIN(due_us, tcp->neighbour_due_us);
}

void salvo_tcp_timers(struct salvo_tcp *tcp, int64_t now_us)
{
    if (tcp->neighbour_due_us <= now_us)
        salvo_tcp_neighbour_timers(tcp, now_us);
    /* Ends: each look moves the connection behind now or takes it out. */
    for (uint32_t i = 0; i < 2 * tcp->config.conns_max && tcp->heap_count != 0; i++) {
        struct salvo_tcp_conn *conn = &tcp->conns[tcp->heap[0]];
        if (conn->wake_us > now_us)
            break;
        timer_look(tcp, conn, now_us);
    }
}
