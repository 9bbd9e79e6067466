/* One turn of the mock: what the nets report, what falls due, what goes out.
 *
 * A link's cookie names its connection's slot and generation; a listener's cookie names its host.
 * Links the mock has no room for keep the listener's cookie.
 *
 * One poll may report the whole life of a link, ACCEPTED to GONE, and at GONE its number is free:
 * so while events are being looked at no call is made on a link. Cookies are set and links closed
 * when all have been seen; until then a new link's events carry the listener's cookie and find
 * their connection by the link. */
#include "mock/mock_internal.h"

#define IDLE_LOOK_NS SALVO_NS_PER_S

static uint64_t cookie_of(const struct mock_conn *conn)
{
    return (uint64_t)(conn->generation & INT32_MAX) << 32 | conn->index;
}

/* NULL: a link we had no room for. */
static struct mock_conn *conn_of(struct salvo_mock *mock, const struct salvo_net_event *event)
{
    struct mock_conn *conn;

    if (event->cookie & MOCK_COOKIE_LISTENER) {
        for (uint32_t i = 0; i < mock->fresh_count; i++) {
            conn = &mock->conns[mock->fresh[i]];
            if (conn->state != MOCK_CONN_FREE && !conn->has_cookie && conn->link == event->link)
                return conn;
        }
        return NULL;
    }
    salvo_assert((uint32_t)event->cookie < mock->conf.connections_max);
    conn = &mock->conns[(uint32_t)event->cookie];
    salvo_assert(conn->state != MOCK_CONN_FREE && cookie_of(conn) == event->cookie);
    return conn;
}

/* --- received bytes, and the hosts that do not want them -------------------------------------- */

/* How many bytes of a connection its host reads now. */
static size_t turn_allowance(struct salvo_mock *mock, struct mock_conn *conn)
{
    const struct mock_host *host = &mock->hosts[conn->host];
    int64_t ms;

    if (host->silent_until_ns != 0)
        return 0;
    if (host->slow_rate == 0)
        return SIZE_MAX;
    if (conn->slow_times != host->slow_times) {
        conn->slow_times = host->slow_times;
        conn->slow_from_ns = mock->now_ns;
        conn->slow_taken = 0;
    }
    ms = (mock->now_ns - conn->slow_from_ns) / SALVO_NS_PER_MS;
    return (size_t)SALVO_MAX(ms * host->slow_rate / 1000 - conn->slow_taken, 0);
}

/* Keeps a buffer back; the net's pool running dry is what stops the peer. Where hosts share a net
 * half of the pool is left to the others: what comes then is thrown away, and the connection with
 * it. */
static bool turn_hold(struct salvo_mock *mock, struct mock_conn *conn,
                      const struct salvo_net_event *event)
{
    struct mock_held *held;

    if (conn->held_lost || (mock->own_net && mock->held_total >= mock->conf.receive_buffers / 2)) {
        conn->held_lost = true;
        return false;
    }
    held = malloc(sizeof(*held));
    if (held == NULL) {
        conn->held_lost = true;
        return false;
    }
    *held = (struct mock_held){
        .bytes = event->data.bytes, .size = event->data.size, .buffer = event->data.buffer};
    if (conn->held_last != NULL)
        conn->held_last->next = held;
    else
        conn->held_first = held;
    conn->held_last = held;
    conn->held_count++;
    mock->held_total++;
    return true;
}

void mock_turn_drop_held(struct salvo_mock *mock, struct mock_conn *conn)
{
    while (conn->held_first != NULL) {
        struct mock_held *held = conn->held_first;

        conn->held_first = held->next;
        salvo_net_give_back(mock->hosts[conn->host].net, held->buffer);
        free(held);
        mock->held_total--;
    }
    conn->held_last = NULL;
    conn->held_count = 0;
}

static void turn_data(struct salvo_mock *mock, struct mock_conn *conn,
                      const struct salvo_net_event *event)
{
    struct salvo_net *net = mock->hosts[conn->host].net;

    conn->last_ns = mock->now_ns;
    mock->stats.bytes_in += event->data.size;
    if (conn->state == MOCK_CONN_UP && !conn->closing) {
        if (conn->held_first == NULL && !conn->held_lost &&
            turn_allowance(mock, conn) >= event->data.size) {
            conn->slow_taken += event->data.size;
            (void)mock_conn_take(mock, conn, event->data.bytes, event->data.size);
        } else if (turn_hold(mock, conn, event)) {
            return;
        }
    }
    salvo_net_give_back(net, event->data.buffer);
}

/* Reads what a connection's host is willing to read by now. Returns bytes. */
static size_t turn_resume_conn(struct salvo_mock *mock, struct mock_conn *conn)
{
    size_t taken = 0;

    while (conn->held_first != NULL && conn->state == MOCK_CONN_UP && !conn->closing) {
        struct mock_held *held = conn->held_first;
        size_t size = SALVO_MIN((size_t)(held->size - held->at), turn_allowance(mock, conn));

        if (size == 0)
            return taken;
        taken += size;
        conn->slow_taken += (int64_t)size;
        (void)mock_conn_take(mock, conn, held->bytes + held->at, size);
        held->at += (uint32_t)size;
        if (held->at < held->size)
            continue;
        conn->held_first = held->next;
        if (conn->held_first == NULL)
            conn->held_last = NULL;
        conn->held_count--;
        mock->held_total--;
        salvo_net_give_back(mock->hosts[conn->host].net, held->buffer);
        free(held);
    }
    if (conn->state != MOCK_CONN_UP || conn->closing)
        mock_turn_drop_held(mock, conn);
    else if (conn->held_lost)
        mock_conn_close(mock, conn); /* its stream has a hole */
    return taken;
}

/* Ends silences and slow reads whose time is up; then reads on. */
static int turn_hosts(struct salvo_mock *mock)
{
    size_t taken = 0;
    bool woke = false;

    for (uint32_t i = 0; i < mock->hosts_count; i++) {
        struct mock_host *host = &mock->hosts[i];

        if (host->silent_until_ns != 0 && host->silent_until_ns <= mock->now_ns) {
            host->silent_until_ns = 0;
            woke = true;
        }
        if (host->slow_until_ns != 0 && host->slow_until_ns <= mock->now_ns) {
            host->slow_until_ns = 0;
            host->slow_rate = 0;
        }
    }
    if (mock->held_total == 0 && !woke && !mock->look_at_hosts)
        return 0;
    for (uint32_t i = 0; i < mock->conf.connections_max; i++) {
        struct mock_conn *conn = &mock->conns[i];
        const struct mock_host *host = &mock->hosts[conn->host];

        if (conn->state != MOCK_CONN_UP)
            continue;
        if (host->down)
            mock_conn_close(mock, conn);
        if (host->silent_until_ns != 0)
            continue;
        if (conn->held_first != NULL || conn->held_lost)
            taken += turn_resume_conn(mock, conn);
        if (woke || mock->look_at_hosts)
            mock_conn_send(mock, conn);
    }
    mock->look_at_hosts = false;
    return taken != 0;
}

/* --- events ----------------------------------------------------------------------------------- */

static void turn_accepted(struct salvo_mock *mock, const struct salvo_net_event *event)
{
    uint32_t index = (uint32_t)event->cookie;
    struct mock_conn *conn;

    salvo_assert(event->cookie & MOCK_COOKIE_LISTENER && index < mock->hosts_count);
    if (mock->conns_free_count == 0 || mock->hosts[index].down) {
        mock->stats.connections_refused++;
        mock->refused[mock->refused_count++] = event->link;
        return;
    }
    conn = mock_conn_accepted(mock, index, event->link);
    mock->fresh[mock->fresh_count++] = conn->index;
}

static void turn_refused(struct salvo_mock *mock, struct salvo_net *net,
                         const struct salvo_net_event *event)
{
    if (event->kind == SALVO_NET_DATA)
        salvo_net_give_back(net, event->data.buffer);
    for (uint32_t i = 0; event->kind == SALVO_NET_GONE && i < mock->refused_count; i++) {
        if (mock->refused[i] == event->link)
            mock->refused[i] = SALVO_NET_LINK_NONE;
    }
}

static void turn_event(struct salvo_mock *mock, struct salvo_net *net,
                       const struct salvo_net_event *event)
{
    struct mock_conn *conn;

    if (event->kind == SALVO_NET_ACCEPTED) {
        turn_accepted(mock, event);
        return;
    }
    conn = conn_of(mock, event);
    if (conn == NULL) {
        turn_refused(mock, net, event);
        return;
    }
    switch (event->kind) {
    case SALVO_NET_DATA:
        turn_data(mock, conn, event);
        break;
    case SALVO_NET_RELEASED:
        mock_conn_released(mock, conn, event->released.bytes);
        break;
    case SALVO_NET_DOWN:
        conn->state = MOCK_CONN_DOWN;
        mock_turn_drop_held(mock, conn);
        break;
    case SALVO_NET_GONE:
        mock_conn_gone(mock, conn);
        break;
    case SALVO_NET_UP:
    case SALVO_NET_ACCEPTED:
        salvo_unreachable(); /* we never connect */
    }
}

/* Closes what asked for it. */
static void turn_close(struct salvo_mock *mock)
{
    for (uint32_t i = 0; i < mock->to_close_count; i++) {
        struct mock_conn *conn = &mock->conns[mock->to_close[i]];

        if (conn->state == MOCK_CONN_UP && conn->closing)
            salvo_net_close(mock->hosts[conn->host].net, conn->link);
    }
    mock->to_close_count = 0;
}

static int turn_poll(struct salvo_mock *mock, struct salvo_net *net)
{
    unsigned n = salvo_net_poll(net, mock->events, MOCK_EVENTS_PER_TURN);

    for (unsigned i = 0; i < n; i++)
        turn_event(mock, net, &mock->events[i]);
    for (uint32_t i = 0; i < mock->fresh_count; i++) {
        struct mock_conn *conn = &mock->conns[mock->fresh[i]];

        if (conn->state == MOCK_CONN_FREE || conn->has_cookie)
            continue;
        conn->has_cookie = true;
        salvo_net_set_cookie(net, conn->link, cookie_of(conn));
    }
    for (uint32_t i = 0; i < mock->refused_count; i++) {
        if (mock->refused[i] != SALVO_NET_LINK_NONE)
            salvo_net_close(net, mock->refused[i]);
    }
    mock->fresh_count = mock->refused_count = 0;
    turn_close(mock);
    return (int)n;
}

static void turn_send(struct salvo_mock *mock)
{
    uint32_t n = mock->to_send_count;

    mock->to_send_count = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct mock_conn *conn = &mock->conns[mock->to_send[i]];

        conn->listed = false;
        mock_conn_send(mock, conn);
    }
}

static void turn_close_idle(struct salvo_mock *mock)
{
    int64_t idle_ns = mock->conf.idle_close_ms * SALVO_NS_PER_MS;

    if (mock->now_ns - mock->idle_look_ns < IDLE_LOOK_NS)
        return;
    mock->idle_look_ns = mock->now_ns;
    for (uint32_t i = 0; i < mock->conf.connections_max && idle_ns > 0; i++) {
        struct mock_conn *conn = &mock->conns[i];

        if (conn->state != MOCK_CONN_UP || conn->closing || mock->now_ns - conn->last_ns < idle_ns)
            continue;
        mock->stats.connections_idle++;
        mock_conn_close(mock, conn);
    }
}

int mock_turn(struct salvo_mock *mock)
{
    uint32_t nets = mock->own_net ? 1 : mock->hosts_count;
    int work = 0;

    mock->now_ns = salvo_clock_mono_ns(mock->clock);
    for (uint32_t i = 0; i < nets; i++)
        work += turn_poll(mock, mock->hosts[i].net);
    work += turn_hosts(mock);
    mock_answer_late(mock);
    turn_close_idle(mock);
    turn_send(mock);
    turn_close(mock);
    for (uint32_t i = 0; i < nets; i++)
        salvo_net_flush(mock->hosts[i].net);
    return work;
}

int64_t mock_next_ns(struct salvo_mock *mock)
{
    int64_t next_ns = mock->late_count != 0 ? mock->late[0].due_ns : INT64_MAX;

    for (uint32_t i = 0; i < mock->hosts_count; i++) {
        const struct mock_host *host = &mock->hosts[i];

        if (host->silent_until_ns != 0)
            next_ns = SALVO_MIN(next_ns, host->silent_until_ns);
        if (host->slow_until_ns != 0)
            next_ns = SALVO_MIN(next_ns, host->slow_until_ns);
        if (host->slow_rate != 0 && mock->held_total != 0) /* reads on each 10 ms */
            next_ns = SALVO_MIN(next_ns, mock->now_ns + 10 * SALVO_NS_PER_MS);
    }
    if (mock->look_at_hosts)
        next_ns = 0;
    return next_ns;
}
