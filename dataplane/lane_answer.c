/* What ends a try: an answer, a deadline, the death of its connection. */
#include "dataplane/lane_internal.h"

/* The pause before the same broker is tried again after it said "busy": doubles with each try. */
#define LANE_BUSY_PAUSE_NS (5 * SALVO_NS_PER_MS)
/* ... and after a try on a fixed queue failed otherwise. */
#define LANE_FIXED_PAUSE_NS (2 * SALVO_NS_PER_MS)

/* Another try: the request keeps its body where it lies and waits for a connection. `code`: the
 * broker's answer to this one; 0: it had none. */
static void lane_again(struct salvo_lane *lane, struct salvo_request *request,
                       const struct salvo_retry_decision *d, int32_t code, int64_t now_ns)
{
    int64_t pause_ns = 0;

    if (d->busy)
        pause_ns = LANE_BUSY_PAUSE_NS << SALVO_MIN(request->tries, 8);
    else if (d->action == SALVO_RETRY_SAME)
        pause_ns = LANE_FIXED_PAUSE_NS << SALVO_MIN(request->tries, 8);
    request->state = SALVO_REQUEST_WAITING;
    request->refused_code = code;
    request->not_before_ns = now_ns + pause_ns;
    salvo_request_renew(&lane->inflight, request);
    if (d->stored_maybe)
        request->flags |= SALVO_REQUEST_STORED_MAYBE;
    if (d->action == SALVO_RETRY_SPLIT) {
        request->flags |= SALVO_REQUEST_SPLITTING;
        request->sent_ns = 0;
        lane_count(lane, SALVO_LANE_REQUESTS_SPLIT, 1);
    }
    salvo_wheel_add(&lane->inflight, request, request->budget_ns);
    salvo_lane_wait(lane, request);
}

/* One try has ended: the request goes on or gets its result. It is out of the wheel and not counted
 * on its connection any more. */
static void lane_decide(struct salvo_lane *lane, struct salvo_request *request,
                        enum salvo_try_end try_end, const struct salvo_send_answer *answer,
                        int64_t now_ns)
{
    bool time_left = now_ns < SALVO_MIN(request->budget_ns, lane->drain_at_ns);
    bool fixed = (request->flags & (SALVO_REQUEST_ORDERED | SALVO_REQUEST_PINNED)) != 0;
    struct salvo_retry_input input = {
        .end = try_end,
        .code = answer == NULL ? 0 : answer->code,
        .tries = request->tries,
        .tries_max = lane->conf.tries_max,
        .time_left = time_left,
        .queue_fixed = fixed,
        .batch = request->items_count > 1,
        .stored_maybe = (request->flags & SALVO_REQUEST_STORED_MAYBE) != 0,
        .stored_ok_elsewhere = lane->conf.retry_not_stored_ok,
    };
    struct salvo_retry_decision d;
    struct salvo_lane_end end;

    if (try_end == SALVO_TRY_NOT_SENT)
        request->tries--; /* no try: nothing of it can have been stored */
    if (input.code == SALVO_RESPONSE_GO_AWAY && input.time_left &&
        (request->flags & SALVO_REQUEST_GONE_AWAY) == 0) {
        request->flags |= SALVO_REQUEST_GONE_AWAY;
        request->tries--; /* the first time it is the connection's matter, not a try */
    }
    input.tries = request->tries;
    d = salvo_retry_decide(&input);
    if (d.busy)
        salvo_conn_busy(&lane->conns[request->conn], now_ns);
    if (d.route_stale)
        salvo_lane_want_route(lane, request->topic, now_ns);
    if (d.go_away) {
        lane_count(lane, SALVO_LANE_GO_AWAYS, 1);
        lane->conns[request->conn].draining = true;
        lane->tend_at_ns = now_ns;
    }
    if (d.action != SALVO_RETRY_GOOD && d.action != SALVO_RETRY_FAIL) {
        lane_again(lane, request, &d, input.code, now_ns);
        return;
    }
    end = (struct salvo_lane_end){.code = d.code, .stored = d.stored, .answer = answer};
    if (d.action == SALVO_RETRY_FAIL && d.code == SALVO_TIMED_OUT_UNSENT &&
        now_ns >= lane->drain_at_ns)
        end.code = SALVO_UNSENT_STOPPED;
    salvo_lane_finish(lane, request, &end, now_ns);
}

/* --- answers ---------------------------------------------------------------------------------- */

static void lane_on_answer(struct salvo_lane *lane, uint32_t broker,
                           const struct salvo_send_answer *answer, int64_t now_ns)
{
    static const struct salvo_lane_end good = {.code = SALVO_OK, .stored = SALVO_STORED_YES};
    struct salvo_conn *conn = &lane->conns[broker];
    struct salvo_request *request = salvo_inflight_find(&lane->inflight, answer->opaque, broker);
    struct salvo_lane_end end;

    if (request == NULL) {
        lane_count(lane, SALVO_LANE_ANSWERS_LATE, 1);
        conn->answered_ns = now_ns; /* late, but not silent */
        return;
    }
    lane_count(lane, SALVO_LANE_ANSWERS, 1);
    salvo_wheel_remove(&lane->inflight, request);
    conn->inflight--;
    salvo_conn_answered(conn, now_ns);
    if (SALVO_UNLIKELY(request->flags & SALVO_REQUEST_HEARTBEAT)) {
        salvo_lane_unhold(lane, request);
        salvo_request_free(&lane->inflight, request);
        return;
    }
    lane->answer_ns = now_ns - request->sent_ns;
    if (lane->conf.latency != NULL)
        salvo_hist_record(lane->conf.latency, (uint64_t)lane->answer_ns);
    if (SALVO_LIKELY(answer->code == SALVO_RESPONSE_SUCCESS)) {
        salvo_lane_outcome(lane, broker, SALVO_OUTCOME_GOOD, 0, now_ns - request->sent_ns);
        end = good;
        end.answer = answer;
        salvo_lane_finish(lane, request, &end, now_ns);
        return;
    }
    salvo_lane_outcome(lane, broker, SALVO_OUTCOME_BROKER_ERROR, answer->code,
                       now_ns - request->sent_ns);
    lane_decide(lane, request, SALVO_TRY_ANSWERED, answer, now_ns);
}

int salvo_lane_on_data(struct salvo_lane *lane, uint32_t broker, const uint8_t *bytes,
                       uint32_t size, int64_t now_ns)
{
    struct salvo_conn *conn = &lane->conns[broker];
    const char *why = "not a remoting header";
    int work = 0;

    lane_count(lane, SALVO_LANE_BYTES_RECEIVED, size);
    if (conn->state != SALVO_CONN_UP || conn->closing)
        return 0;
    for (;;) {
        struct salvo_frame frame;
        struct salvo_send_answer answer;
        int r = salvo_conn_next_frame(conn, &bytes, &size, &frame, &why);

        if (r == SALVO_FRAME_MORE)
            break;
        if (r != 0 || salvo_send_answer_read_like(&lane->moulds[broker], &answer, &frame) != 0) {
            salvo_lane_frame_error(lane, broker, why);
            break;
        }
        work++;
        if ((answer.flag & SALVO_REMOTING_RESPONSE) == 0) {
            lane_count(lane, SALVO_LANE_FRAMES_UNASKED, 1);
            continue;
        }
        lane_on_answer(lane, broker, &answer, now_ns);
    }
    return work;
}

/* --- deadlines -------------------------------------------------------------------------------- */

static void lane_expire_waiting(struct salvo_lane *lane, struct salvo_request *request,
                                int64_t now_ns)
{
    const struct salvo_route_topic *topic = lane_topic(lane, request->topic);
    bool maybe = (request->flags & SALVO_REQUEST_STORED_MAYBE) != 0;
    bool refused = !maybe && request->tries > 0 && request->refused_code != 0;
    bool routed = topic != NULL && topic->state == SALVO_ROUTE_GOOD;
    /* The broker's own words are gone: keeping them for every request would cost too much. */
    struct salvo_send_answer answer = {
        .code = request->refused_code,
        .remark = SALVO_TEXT("the broker refused it, and time was up before the next try"),
    };
    struct salvo_lane_end end = {
        .code = maybe                          ? SALVO_TIMED_OUT
                : refused                      ? SALVO_REFUSED
                : now_ns < request->budget_ns  ? SALVO_UNSENT_STOPPED
                : routed || request->tries > 0 ? SALVO_TIMED_OUT_UNSENT
                                               : SALVO_NO_ROUTE,
        .stored = maybe ? SALVO_STORED_UNKNOWN : SALVO_STORED_NO,
        .answer = refused ? &answer : NULL,
    };

    if (end.code == SALVO_NO_ROUTE)
        end.detail = salvo_lane_route_trouble(topic);
    else if (end.code == SALVO_TIMED_OUT_UNSENT)
        end.detail = (request->flags & SALVO_REQUEST_IN_LINE)
                         ? "it waited for the ordered messages before it until time was up"
                         : "no connection to a broker of the topic took it in time";
    if (request->flags & SALVO_REQUEST_IN_LINE)
        salvo_lane_line_remove(lane, request);
    else
        salvo_lane_unwait(lane, request);
    salvo_lane_finish(lane, request, &end, now_ns);
}

/* A try's time is up. What was not handed over at all is cut out of the stream: not sent. */
static void lane_expire_sent(struct salvo_lane *lane, struct salvo_request *request, int64_t now_ns)
{
    uint32_t broker = request->conn;
    struct salvo_conn *conn = &lane->conns[broker];
    enum salvo_try_end try_end = SALVO_TRY_TIMED_OUT;

    if (!salvo_conn_has_taken(conn, request) && lane->inflight.free_count != 0) {
        salvo_conn_cut(conn, &lane->chunks, &lane->inflight, request,
                       salvo_request_take(&lane->inflight));
        try_end = SALVO_TRY_NOT_SENT;
    }
    conn->inflight--;
    salvo_conn_timed_out(conn, request->sent_ns, now_ns);
    if (conn->draining && conn->inflight == 0)
        lane->tend_at_ns = now_ns; /* the last one: it can be closed */
    if (request->flags & SALVO_REQUEST_HEARTBEAT) {
        salvo_lane_unhold(lane, request);
        salvo_request_free(&lane->inflight, request);
    } else {
        salvo_lane_outcome(lane, broker, SALVO_OUTCOME_TIMEOUT, 0, now_ns - request->sent_ns);
        lane_decide(lane, request, try_end, NULL, now_ns);
    }
    if (now_ns >= salvo_lane_silence_ends_ns(conn))
        salvo_lane_close(lane, conn);
    else
        lane->tend_at_ns = SALVO_MIN(lane->tend_at_ns, salvo_lane_silence_ends_ns(conn));
}

void salvo_lane_on_expired(struct salvo_lane *lane, struct salvo_request *request, int64_t now_ns)
{
    if (request->state == SALVO_REQUEST_WAITING)
        lane_expire_waiting(lane, request, now_ns);
    else
        lane_expire_sent(lane, request, now_ns);
    /* There is room now: in a window, or where its bytes were. */
    lane->waiting_dirty |= lane->waiting.count != 0;
}

/* --- deaths ----------------------------------------------------------------------------------- */

void salvo_lane_on_down(struct salvo_lane *lane, uint32_t broker, uint64_t handed_over,
                        int64_t now_ns)
{
    struct salvo_conn *conn = &lane->conns[broker];

    /* Each request of the connection: few deaths, so a look at every slot is cheap enough. */
    for (uint32_t i = 0; conn->inflight != 0 && i < lane->inflight.requests_max; i++) {
        struct salvo_request *request = &lane->inflight.requests[i];
        bool arrived;

        if (request->state != SALVO_REQUEST_SENT || request->conn != broker)
            continue;
        conn->inflight--;
        salvo_wheel_remove(&lane->inflight, request);
        if (request->flags & SALVO_REQUEST_HEARTBEAT) {
            salvo_lane_unhold(lane, request);
            salvo_request_free(&lane->inflight, request);
            continue;
        }
        arrived = salvo_conn_may_have_arrived(conn, request->stream_end, handed_over);
        lane_decide(lane, request, arrived ? SALVO_TRY_LOST : SALVO_TRY_NOT_SENT, NULL, now_ns);
    }
    salvo_assert(conn->inflight == 0);
    salvo_conn_down(conn, &lane->chunks, &lane->inflight);
}

/* --- the end ---------------------------------------------------------------------------------- */

void salvo_lane_give_up(struct salvo_lane *lane, int64_t now_ns)
{
    for (uint32_t i = 0; i < lane->inflight.requests_max; i++) {
        struct salvo_request *request = &lane->inflight.requests[i];

        if (request->flags & SALVO_REQUEST_HEARTBEAT)
            continue;
        if (request->state != SALVO_REQUEST_WAITING && request->state != SALVO_REQUEST_SENT)
            continue;
        salvo_wheel_remove(&lane->inflight, request);
        salvo_lane_on_expired(lane, request, now_ns);
    }
}
