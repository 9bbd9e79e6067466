/* Congestion control: CUBIC (RFC 9438), NewReno's growth (RFC 5681) by option, proportional rate
 * reduction (RFC 6937), and the undo of reductions that were for nothing (RFC 3522, RFC 4015).
 *
 * What is lost is decided elsewhere (tcp_loss.c); here is only how much may be in the pipe. All
 * windows are bytes. CUBIC's cubes and roots are in double: a few per ACK, and none of it on a
 * lane's hot loop other than through an ACK. */
#include "dataplane/tcp/tcp_conn.h"

#include <math.h>

/* RFC 9438 sections 4.1.2 and 4.6. */
#define CUBIC_C    0.4
#define CUBIC_BETA 0.7
/* 1 GiB: no peer's window is larger (65,535 << 14), so a larger one would have no effect. */
#define WINDOW_MAX (UINT32_C(1) << 30)

static uint32_t window_floor(const struct salvo_tcp_conn *conn)
{
    return 2 * conn->send.mss; /* RFC 5681 equation (4), RFC 9438 section 4.6 */
}

static uint32_t window_initial(const struct salvo_tcp *tcp, const struct salvo_tcp_conn *conn)
{
    /* RFC 6928 section 2: min(10 * MSS, max(2 * MSS, 14600)). */
    uint32_t segments = tcp->config.window_initial_segments * conn->send.mss;

    return SALVO_MIN(segments, SALVO_MAX(2 * conn->send.mss,
                                         tcp->config.window_initial_segments * UINT32_C(1460)));
}

void salvo_tcp_cc_init(const struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, bool syn_lost)
{
    struct tcp_control *c = &conn->control;

    /* RFC 5681 section 3.1: one segment when the SYN or its answer was lost. */
    c->window = syn_lost ? conn->send.mss : window_initial(tcp, conn);
    c->threshold = WINDOW_MAX; /* RFC 5681: arbitrarily high */
}

/* RFC 9438 section 4.2: W_cubic(t) = C * (t - K)^3 + W_max, in segments and seconds. */
static double cubic_target(const struct salvo_tcp_conn *conn, double t_s)
{
    const struct tcp_control *c = &conn->control;
    double d = t_s - c->k;

    return (CUBIC_C * d * d * d) * conn->send.mss + c->w_max;
}

static void cubic_epoch(struct salvo_tcp_conn *conn, int64_t now_us)
{
    struct tcp_control *c = &conn->control;
    double window = (double)c->window;

    c->epoch_us = SALVO_MAX(now_us, INT64_C(1));
    c->w_est = window;
    if (c->w_max <= window) { /* section 4.8: after slow start there is no K to come back to */
        c->w_max = window;
        c->k = 0;
    } else {
        c->k = cbrt((c->w_max - window) / conn->send.mss / CUBIC_C);
    }
}

/* RFC 9438 sections 4.3 to 4.5. */
static void cubic_grow(struct salvo_tcp_conn *conn, uint32_t bytes, int64_t now_us)
{
    struct tcp_control *c = &conn->control;
    double window = (double)c->window;

    if (c->epoch_us == 0)
        cubic_epoch(conn, now_us);
    double t_s = (double)(now_us - c->epoch_us) * 1e-6;
    double target = cubic_target(conn, t_s + (double)conn->rtt.smoothed_us * 1e-6);
    double part = bytes / window; /* the one division of an ACK */

    target = SALVO_CLAMP(target, window, 1.5 * window);
    /* Section 4.3: what Reno would have reached; alpha is 1 again once the old maximum is passed.
     */
    double alpha = c->w_est < c->w_max ? 3 * (1 - CUBIC_BETA) / (1 + CUBIC_BETA) : 1.0;
    c->w_est += alpha * conn->send.mss * part;

    double grown = window + (target - window) * part;
    if (cubic_target(conn, t_s) < c->w_est)
        grown = SALVO_MAX(grown, c->w_est);
    c->window = (uint32_t)SALVO_MIN(grown + 0.5, (double)WINDOW_MAX);
}

/* RFC 5681 equation (3) by bytes counted (RFC 3465 section 2.1). */
static void newreno_grow(struct salvo_tcp_conn *conn, uint32_t bytes)
{
    struct tcp_control *c = &conn->control;

    c->bytes_acked += bytes;
    if (c->bytes_acked >= c->window) {
        c->bytes_acked -= c->window;
        c->window = SALVO_MIN(c->window + conn->send.mss, WINDOW_MAX);
    }
}

void salvo_tcp_cc_acked(const struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, uint32_t bytes,
                        int64_t now_us)
{
    struct tcp_control *c = &conn->control;

    /* A window that was not used is not known to fit (RFC 7661 section 4.3, RFC 9438 section 5.8).
     */
    if (!c->window_limited || bytes == 0) {
        c->epoch_us = 0;
        return;
    }
    if (c->window < c->threshold) {
        /* Slow start. L is 8 segments per ACK (RFC 9406 section 4.2: receivers with large receive
         * offload acknowledge rarely), and 1 after a timeout (RFC 3465 section 2.3). */
        uint32_t limit = (conn->recovery == TCP_TIMED_OUT ? 1 : 8) * conn->send.mss;
        uint32_t gain = SALVO_MIN(SALVO_MIN(bytes, limit), c->threshold - c->window);
        c->window = SALVO_MIN(c->window + gain, WINDOW_MAX);
        return;
    }
    if (tcp->config.congestion == SALVO_TCP_NEWRENO)
        newreno_grow(conn, bytes);
    else
        cubic_grow(conn, bytes, now_us);
}

/* What was in flight when we last sent. ACKs are taken many at a time, and nothing is sent between
 * them: the one that tells of a loss may find a window behind una of which little is left, though
 * the lost segment was sent into a full one. */
static uint64_t flight_sent(const struct salvo_tcp_conn *conn)
{
    return SALVO_MAX(conn->control.flight, conn->send.max - conn->send.una);
}

/* What a congestion event does to the threshold; the window follows by PRR or at once. */
static void threshold_reduce(const struct salvo_tcp *tcp, struct salvo_tcp_conn *conn)
{
    struct tcp_control *c = &conn->control;
    /* RFC 9438 section 4.6: flight_size, and not a window that was never filled. */
    uint64_t flight = SALVO_MIN((uint64_t)c->window, flight_sent(conn));
    double beta = tcp->config.congestion == SALVO_TCP_NEWRENO ? 0.5 : CUBIC_BETA;
    double window = (double)c->window;

    /* RFC 9438 section 4.7, fast convergence: room for those who came later. */
    c->w_max = window < c->w_max ? window * (1 + CUBIC_BETA) / 2 : window;
    c->epoch_us = 0;
    c->bytes_acked = 0;
    c->threshold = SALVO_MAX((uint32_t)((double)flight * beta), window_floor(conn));
}

/* What to go back to when the loss turns out to be reordering or delay (RFC 4015 section 3.2). */
static void undo_remember(struct salvo_tcp_conn *conn, int64_t now_us)
{
    struct tcp_control *c = &conn->control;

    c->undo_window = c->window;
    c->undo_threshold = c->threshold;
    c->undo_timestamp = tcp_timestamp(conn, now_us);
    c->undo_possible = conn->timestamps;
}

void salvo_tcp_cc_recover(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us)
{
    struct tcp_control *c = &conn->control;

    tcp->stats.recoveries++;
    undo_remember(conn, now_us);
    threshold_reduce(tcp, conn);
    /* What has been acknowledged and not replaced counts: packets are conserved. */
    c->prr_delivered = flight_sent(conn) - (conn->send.max - conn->send.una);
    c->prr_out = 0;
    c->sent_again = 0;
    c->prr_flight = SALVO_MAX(flight_sent(conn) - c->sacked, UINT64_C(1));
    c->recovery_point = conn->send.max;
    conn->recovery = TCP_RECOVERING;
    conn->rack.probe_end = 0;
    conn->force_one = true; /* RFC 6675 section 5 step 4.3: the first retransmission goes at once */
}

/* RFC 6937 section 3.1, with the slow start reduction bound. */
void salvo_tcp_cc_prr(struct salvo_tcp_conn *conn, uint64_t delivered, bool advanced)
{
    struct tcp_control *c = &conn->control;
    int64_t send;

    c->prr_delivered += delivered;
    if (c->pipe > c->threshold) {
        send = (int64_t)((c->prr_delivered * c->threshold + c->prr_flight - 1) / c->prr_flight) -
               (int64_t)c->prr_out;
    } else {
        int64_t limit =
            SALVO_MAX((int64_t)c->prr_delivered - (int64_t)c->prr_out, (int64_t)delivered);
        if (advanced)
            limit += conn->send.mss;
        send = SALVO_MIN((int64_t)(c->threshold - c->pipe), limit);
    }
    c->window = (uint32_t)(c->pipe + (uint64_t)SALVO_MAX(send, INT64_C(0)));
    c->window = SALVO_MAX(c->window, conn->send.mss);
}

void salvo_tcp_cc_recovered(struct salvo_tcp_conn *conn)
{
    if (conn->recovery == TCP_RECOVERING)
        conn->control.window = conn->control.threshold;
    conn->recovery = TCP_OPEN;
    conn->control.undo_possible = false;
    /* RFC 8985 section 6.2 step 4: a widened reordering window lasts for 16 recoveries. */
    if (conn->rack.window_persist != 0 && --conn->rack.window_persist == 0)
        conn->rack.window_multiplier = 0;
}

void salvo_tcp_cc_timeout(const struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us)
{
    struct tcp_control *c = &conn->control;

    /* RFC 5681 section 3.1: the threshold is reduced once per loss, not at each repetition. */
    if (conn->timeouts <= 1) {
        if (conn->recovery == TCP_OPEN) {
            undo_remember(conn, now_us);
            c->sent_again = 0;
        }
        threshold_reduce(tcp, conn);
    }
    c->window = conn->send.mss; /* the loss window */
    c->recovery_point = conn->send.max;
    conn->recovery = TCP_TIMED_OUT;
}

/* RFC 5681 section 4.1: after an idle timeout the ACK clock is gone; start as a new connection
 * would. */
void salvo_tcp_cc_idle(const struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us)
{
    struct tcp_control *c = &conn->control;

    if (now_us - conn->sent_us <= salvo_tcp_rto_us(tcp, conn))
        return;
    c->window = SALVO_MIN(c->window, window_initial(tcp, conn));
    c->epoch_us = 0;
}

/* RFC 4015 section 3.2: the original was acknowledged, not the retransmission. */
void salvo_tcp_cc_undo(struct salvo_tcp_conn *conn)
{
    struct tcp_control *c = &conn->control;

    c->window = SALVO_MAX(c->window, c->undo_window);
    c->threshold = c->undo_threshold;
    c->undo_possible = false;
    c->epoch_us = 0;
    conn->recovery = TCP_OPEN;
}

uint64_t salvo_tcp_cc_pace(const struct salvo_tcp *tcp, const struct salvo_tcp_conn *conn)
{
    const struct tcp_control *c = &conn->control;

    if (!tcp->config.pacing || conn->rtt.smoothed_us == 0)
        return 0;
    /* Twice the window's rate in slow start, so as not to hold growth back; 1.2 times after it. */
    uint64_t gain_percent = c->window < c->threshold ? 200 : 120;
    return (uint64_t)c->window * gain_percent * 10000 / (uint64_t)conn->rtt.smoothed_us;
}
