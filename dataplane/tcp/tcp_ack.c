/* What an arriving ACK does: records go, memory is released, round trips are measured, losses are
 * found, windows move. Every step costs what the ACK covers, never what is in flight. */
#include "dataplane/tcp/tcp_conn.h"

#define DUPLICATE_THRESHOLD 3

/* What one ACK has told; filled step by step. */
struct ack_news {
    uint64_t acked;     /* bytes the cumulative ACK moved over */
    uint64_t delivered; /* bytes newly known to have arrived, SACKed ones too */
    int64_t rtt_us;     /* of the last record that was sent once; 0: none */
    bool rtt_is_rough;  /* in milliseconds, by the echo of a timestamp */
    bool spurious;      /* the original arrived, not what we sent again */
    bool duplicate;     /* nothing new at all: no data, no SACK, the same ACK and window */
};

/* RFC 9293 section 3.10.7.4, "fifth": only a segment newer than the last update moves the window,
 * so that a late one cannot bring back an old one. One that acknowledges new data is newer whatever
 * its number: a peer's retransmission carries an old number and today's window. */
void salvo_tcp_window_in(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn,
                         const struct tcp_arrival *arrival, uint64_t seq, uint64_t ack)
{
    struct tcp_sender *s = &conn->send;
    uint64_t window = (uint64_t)arrival->window << s->shift; /* RFC 7323 section 2.3 */
    bool was_shut = s->window == 0;

    if (ack <= s->una && (seq < s->wl1 || (seq == s->wl1 && ack < s->wl2)))
        return;
    s->wl1 = seq;
    s->wl2 = ack;
    s->window = window;
    s->window_max = SALVO_MAX(s->window_max, window);
    if (was_shut && window != 0) {
        /* The long waits are over. Probes were thrown away: begin anew behind una, in full
         * segments. */
        conn->rtt.backoff = 0;
        conn->persist_wanted = false;
        conn->timer = TCP_TIMER_NONE;
        conn->reopened = true;
    }
}

/* Eifel detection, RFC 3522 section 3.2: the ACK of what this recovery sent again echoes a time
 * before it began. What an earlier one sent again says nothing: its echo is always older. */
static bool ack_is_spurious(const struct salvo_tcp_conn *conn, const struct tcp_segment *segment,
                            const struct tcp_arrival *arrival)
{
    uint32_t began = conn->control.undo_timestamp;

    return conn->control.undo_possible && arrival->has_timestamp && segment->sends > 1 &&
           (int32_t)(tcp_timestamp(conn, segment->sent_us) - began) >= 0 &&
           (int32_t)(arrival->timestamp_echo - began) < 0;
}

/* Takes the records below `ack` off; a record that is covered in part keeps its rest. */
static void ack_records(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn,
                        const struct tcp_arrival *arrival, uint64_t ack, int64_t now_us,
                        struct ack_news *news)
{
    struct tcp_sender *s = &conn->send;
    bool filled = false;

    while (s->segment_head != s->segment_tail) {
        uint32_t slot = s->segment_head & (tcp->config.segments_max - 1);
        struct tcp_segment *segment = &s->segments[slot];
        uint64_t covered = ack - segment->seq;

        if (ack <= segment->seq)
            break;
        if (covered < segment->size) {
            if (segment->list == TCP_LIST_OUTSTANDING)
                conn->control.pipe -= covered;
            else if (segment->list == TCP_LIST_NONE)
                conn->control.sacked -= covered;
            if (segment->list != TCP_LIST_NONE)
                news->delivered += covered;
            segment->seq = ack;
            segment->size -= (uint32_t)covered;
            while (tcp_span_at(tcp, conn, segment->span)->seq +
                           tcp_span_at(tcp, conn, segment->span)->size <=
                       ack &&
                   segment->span + 1 != s->span_tail)
                segment->span++;
            break;
        }
        if (segment->list == TCP_LIST_NONE) {
            conn->control.sacked -= segment->size;
            conn->control.sacked_count--;
        } else {
            news->delivered += segment->size;
            news->spurious |= ack_is_spurious(conn, segment, arrival);
            salvo_tcp_rack_note(conn, segment, arrival, now_us);
            if (segment->sends == 1) /* RFC 6298 section 3: Karn */
                news->rtt_us = SALVO_MAX(now_us - segment->sent_us, INT64_C(1));
            else
                filled = true;
            salvo_tcp_list_remove(tcp, conn, slot);
        }
        s->segment_head++;
    }
    if (filled) /* what was sent once waited behind the hole: that is no round trip */
        news->rtt_us = 0;
}

/* Moves una, and what hangs on it. */
static void ack_advance(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, uint64_t ack,
                        int64_t now_us)
{
    struct tcp_sender *s = &conn->send;
    struct tcp_neighbour *neighbour = &tcp->neighbours[conn->neighbour];

    s->una = ack;
    if (s->next < ack) { /* after a rewind, originals arrived after all */
        s->next = ack;
        while (s->span_next != s->span_tail && tcp_span_at(tcp, conn, s->span_next)->seq +
                                                       tcp_span_at(tcp, conn, s->span_next)->size <=
                                                   ack)
            s->span_next++;
    }
    salvo_tcp_release_to(tcp, conn, ack);
    if (SALVO_UNLIKELY(conn->mtu_raise_us != 0 && conn->mtu_raise_us <= now_us)) {
        conn->mtu_raise_us = 0; /* RFC 1191 section 6.3: the path may have changed back */
        conn->mtu_raised_us = now_us;
        s->mtu = tcp->config.mtu;
        salvo_tcp_mss_update(conn);
    }
    conn->progress_us = now_us;
    conn->timeouts = 0;
    neighbour->confirmed_us = now_us; /* RFC 4861 section 7.3.1: forward progress */
    if (SALVO_UNLIKELY(neighbour->state == TCP_NEIGHBOUR_PROBING)) {
        neighbour->state = TCP_NEIGHBOUR_KNOWN; /* section 7.3.3: as good as an answer */
        neighbour->due_us = INT64_MAX;
    }
}

/* A round trip ends the backoff, an ACK alone does not (RFC 6298 section 5): when round trips have
 * grown beyond the timeout, each segment is sent twice, none is measured (Karn), and a timeout that
 * fell back would stay too short for ever. The echo of a timestamp tells the two transmissions
 * apart (RFC 7323 section 4.1). */
static void ack_round_trip(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn,
                           const struct tcp_arrival *arrival, int64_t now_us, struct ack_news *news)
{
    if (news->acked != 0 && news->rtt_us == 0 && conn->timestamps && arrival->has_timestamp) {
        int32_t ticks = (int32_t)(tcp_timestamp(conn, now_us) - arrival->timestamp_echo);

        if (ticks < 0 || ticks > tcp->config.rto_max_us / 1000)
            return; /* no echo of ours */
        news->rtt_us = SALVO_MAX(ticks, 1) * INT64_C(1000);
        news->rtt_is_rough = true;
    }
    if (news->rtt_us == 0)
        return;
    salvo_tcp_rtt_sample(tcp, conn, news->rtt_us, !news->rtt_is_rough, now_us);
    if (conn->send.window != 0)
        conn->rtt.backoff = 0;
}

/* RFC 8985 section 7.4.2: what the ACK says of the tail loss probe. One that ends with the probe
 * may be the original's, late: when both have arrived, a D-SACK or a duplicate follows. */
static void ack_probe(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, uint64_t ack,
                      int64_t now_us, const struct ack_news *news)
{
    struct tcp_rack *k = &conn->rack;

    if (k->probe_end == 0 || ack < k->probe_end)
        return;
    if (!k->probe_is_retransmission || k->dsack_seen) {
        k->probe_end = 0; /* nothing had been lost */
    } else if (ack > k->probe_end) {
        /* The probe repaired a loss all alone: the window answers as to any other. */
        k->probe_end = 0;
        salvo_tcp_cc_recover(tcp, conn, now_us);
        conn->force_one = false;
        conn->control.window = conn->control.threshold;
        salvo_tcp_cc_recovered(conn);
    } else if (news->duplicate) {
        k->probe_end = 0; /* both have arrived, and the peer has no D-SACK */
    }
}

/* Duplicate ACKs that are a loss. What the last recovery sent again in vain, all but its first at
 * worst, gives a duplicate each, once the ACK has come to its end (RFC 6582 section 3.2 step 2); so
 * many more are a loss right behind it, or in what was undone, which the RFC leaves to section 4's
 * heuristics or to the timeout. */
static uint32_t duplicate_threshold(const struct salvo_tcp_conn *conn)
{
    const struct tcp_control *c = &conn->control;

    if (conn->send.una > c->recovery_point || c->sent_again == 0)
        return DUPLICATE_THRESHOLD;
    return DUPLICATE_THRESHOLD + c->sent_again - 1;
}

/* Without SACK (RFC 5681 section 3.2, RFC 6582): three ACKs that move nothing are a loss, and each
 * is one segment out of the pipe. Their windows are not compared: a reading peer's grows with every
 * one. */
static void ack_duplicate(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us,
                          struct ack_news *news)
{
    struct tcp_control *c = &conn->control;

    c->duplicate_acks++;
    if (conn->recovery == TCP_OPEN && c->duplicate_acks == duplicate_threshold(conn)) {
        salvo_tcp_mark_lost(tcp, conn, conn->send.segment_head & (tcp->config.segments_max - 1),
                            true);
        salvo_tcp_cc_recover(tcp, conn, now_us);
    }
    if (conn->recovery == TCP_RECOVERING)
        news->delivered = conn->send.mss;
}

/* RFC 6582 section 3.2 step 3: an ACK that ends inside what was in flight when the loss was seen
 * shows the next hole. In fast recovery only: behind a timeout all is on its way again, and each
 * ACK of one segment would have the next one sent once more. */
static void ack_partial(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn)
{
    uint32_t slot = conn->send.segment_head & (tcp->config.segments_max - 1);

    if (tcp_in_flight(conn) == 0 || conn->send.segments[slot].list != TCP_LIST_OUTSTANDING)
        return;
    salvo_tcp_mark_lost(tcp, conn, slot, true);
    conn->force_one = true;
}

/* The losses were none: what was thought lost is back in the pipe, the window is as before. */
static void ack_undo(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn)
{
    uint32_t slot;

    tcp->stats.spurious_recoveries++;
    conn->rack.reordering_seen = true;
    conn->control.duplicate_acks = 0;
    while ((slot = conn->lists[TCP_LIST_LOST].head) != TCP_NONE) {
        salvo_tcp_list_remove(tcp, conn, slot);
        salvo_tcp_list_append(tcp, conn, slot, TCP_LIST_OUTSTANDING);
    }
    salvo_tcp_cc_undo(conn);
}

static void ack_recovery(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, uint64_t ack,
                         int64_t now_us, struct ack_news *news)
{
    struct tcp_control *c = &conn->control;

    if (news->spurious && conn->recovery != TCP_OPEN)
        ack_undo(tcp, conn);
    bool recovered = news->spurious;
    if (conn->recovery != TCP_OPEN && ack >= c->recovery_point) {
        recovered = true;
        salvo_tcp_cc_recovered(conn);
    }
    if (conn->sack && c->lost_count != 0 && conn->recovery == TCP_OPEN) {
        salvo_tcp_cc_recover(tcp, conn, now_us);
        news->delivered -= SALVO_MIN(news->delivered, news->acked); /* counted by that */
    } else if (!conn->sack && news->acked != 0) {
        /* RFC 6937 section 3: what duplicate ACKs announced is not delivered twice. */
        news->delivered -= SALVO_MIN(news->delivered, (uint64_t)c->duplicate_acks * conn->send.mss);
        c->duplicate_acks = 0;
        if (conn->recovery == TCP_RECOVERING)
            ack_partial(tcp, conn);
    }
    if (conn->recovery == TCP_RECOVERING)
        salvo_tcp_cc_prr(conn, news->delivered, news->acked != 0);
    else if (!recovered) /* what ends a recovery was already counted by it */
        salvo_tcp_cc_acked(tcp, conn, (uint32_t)SALVO_MIN(news->acked, (uint64_t)UINT32_MAX),
                           now_us);
}

/* The ACK of our FIN. */
static void ack_fin(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us)
{
    if (!conn->send.fin_sent || conn->send.una != conn->send.end)
        return;
    switch (conn->state) {
    case SALVO_TCP_FIN_WAIT_1:
        conn->state = SALVO_TCP_FIN_WAIT_2;
        if (conn->fin_wait_due_us != 0)
            salvo_tcp_wake_by(tcp, conn, conn->fin_wait_due_us);
        break;
    case SALVO_TCP_CLOSING:
        salvo_tcp_time_wait_enter(tcp, conn, now_us);
        salvo_tcp_down(tcp, conn, SALVO_TCP_REASON_CLOSED);
        break;
    case SALVO_TCP_LAST_ACK:
        salvo_tcp_down(tcp, conn, SALVO_TCP_REASON_CLOSED);
        break;
    }
}

/* `late_us`: when the next segment would count as lost; 0: none is under suspicion. */
static void ack_timers(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t late_us,
                       int64_t now_us, const struct ack_news *news)
{
    if (conn->reopened && conn->window_probing)
        salvo_tcp_rewind(tcp, conn);
    if (conn->reopened)
        conn->window_probing = false;
    if (news->acked != 0 || conn->reopened)
        conn->timeout_due_us = 0; /* RFC 6298 section 5.3: from now on, anew */
    if (late_us != 0 && tcp_in_flight(conn) != 0)
        salvo_tcp_timer_reorder(tcp, conn, now_us + late_us, now_us);
    else if (news->acked != 0 || news->delivered != 0 || conn->timer == TCP_TIMER_REORDER ||
             conn->reopened)
        salvo_tcp_timer_rearm(tcp, conn, now_us);
    conn->reopened = false;
}

/* An ACK that is neither too old nor ahead of what was sent. */
static void ack_take(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn,
                     const struct tcp_arrival *arrival, uint64_t seq, uint64_t ack, int64_t now_us)
{
    struct ack_news news = {.acked = ack - conn->send.una};
    bool empty = arrival->size == 0 && !(arrival->flags & TCP_FIN);
    uint64_t window = conn->send.window;

    conn->rack.dsack_seen = false;
    conn->rack.forward_before = conn->rack.forward;
    salvo_tcp_window_in(tcp, conn, arrival, seq, ack);
    news.duplicate =
        news.acked == 0 && empty && arrival->sack_count == 0 && conn->send.window == window;
    if (news.acked != 0) {
        ack_records(tcp, conn, arrival, ack, now_us, &news);
        ack_advance(tcp, conn, ack, now_us);
    }
    if (conn->sack)
        news.delivered += salvo_tcp_sack_in(tcp, conn, arrival, now_us);
    else if (news.acked == 0 && empty && tcp_in_flight(conn) != 0 && conn->send.window != 0)
        ack_duplicate(tcp, conn, now_us, &news);
    /* RFC 9293 section 3.8.6.1: it answers, so it lives. Nobody is left to give up on a closed one,
     * which RFC 6429 leaves to us: that waits for a shut window until fin_wait is over. */
    if (conn->send.window == 0 && news.acked == 0 &&
        (conn->fin_wait_due_us == 0 || now_us < conn->fin_wait_due_us))
        conn->progress_us = now_us;
    ack_round_trip(tcp, conn, arrival, now_us, &news);
    ack_probe(tcp, conn, ack, now_us, &news);
    int64_t late_us = conn->sack ? salvo_tcp_rack_detect(tcp, conn, now_us) : 0;
    ack_recovery(tcp, conn, ack, now_us, &news);
    ack_timers(tcp, conn, late_us, now_us, &news);
    if (tcp_in_flight(conn) != 0 || tcp_unsent(conn) != 0)
        salvo_tcp_ready(tcp, conn);
}

bool salvo_tcp_ack_in(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn,
                      const struct tcp_arrival *arrival, int64_t now_us)
{
    const struct tcp_sender *s = &conn->send;
    uint64_t ack = tcp_wide(s->una, arrival->ack);
    uint64_t seq = tcp_wide(conn->receive.next, arrival->seq);

    if (ack > s->max) { /* RFC 9293 section 3.10.7.4: an ACK of what was not sent is answered */
        salvo_tcp_challenge(tcp, conn, now_us);
        return false;
    }
    if (ack < s->una) {
        /* RFC 5961 section 5.2: older than any window the peer had is blind injection. */
        if (s->una - ack > s->window_max) {
            salvo_tcp_challenge(tcp, conn, now_us);
            return false;
        }
        return true; /* an old duplicate; its data may still be good */
    }
    ack_take(tcp, conn, arrival, seq, ack, now_us);
    ack_fin(tcp, conn, now_us);
    return conn->state != SALVO_TCP_DEAD;
}
