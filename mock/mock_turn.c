/* One turn of the mock: what the nets report, what falls due, what goes out.
 *
 * A link's cookie names its connection's slot and generation; a listener's cookie names its host.
 * Links the mock has no room for keep the listener's cookie and are closed at once. */
#include "mock/mock_internal.h"

#include <arpa/inet.h>

#define COOKIE_LISTENER (UINT64_C(1) << 63)
#define IDLE_LOOK_NS    SALVO_NS_PER_S

static uint64_t cookie_of(const struct mock_conn *conn)
{
    return (uint64_t)(conn->generation & INT32_MAX) << 32 | conn->index;
}

static struct mock_conn *conn_of(struct salvo_mock *mock, uint64_t cookie)
{
    struct mock_conn *conn;

    if (cookie & COOKIE_LISTENER)
        return NULL;
    salvo_assert((uint32_t)cookie < mock->conf.connections_max);
    conn = &mock->conns[(uint32_t)cookie];
    salvo_assert(conn->state != MOCK_CONN_FREE && cookie_of(conn) == cookie);
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
    if (conn->slow_from_ns == 0) {
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

static void turn_drop_held(struct salvo_mock *mock, struct mock_conn *conn)
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
        turn_drop_held(mock, conn);
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
        if (host->slow_rate == 0)
            conn->slow_from_ns = 0;
        if (conn->held_first != NULL || conn->held_lost)
            taken += turn_resume_conn(mock, conn);
        if (woke || mock->look_at_hosts)
            mock_conn_send(mock, conn);
    }
    mock->look_at_hosts = false;
    return taken != 0;
}

/* --- events ----------------------------------------------------------------------------------- */

static void turn_accepted(struct salvo_mock *mock, struct salvo_net *net,
                          const struct salvo_net_event *event)
{
    uint32_t index = (uint32_t)event->cookie;
    struct mock_host *host = &mock->hosts[index];
    struct mock_conn *conn;

    salvo_assert(event->cookie & COOKIE_LISTENER);
    if (mock->conns_free_count == 0 || host->down) {
        mock->stats.connections_refused++;
        salvo_net_close(net, event->link);
        return;
    }
    conn = mock_conn_accepted(mock, index, event->link);
    salvo_net_set_cookie(net, event->link, cookie_of(conn));
}

static void turn_event(struct salvo_mock *mock, struct salvo_net *net,
                       const struct salvo_net_event *event)
{
    struct mock_conn *conn;

    if (event->kind == SALVO_NET_ACCEPTED) {
        turn_accepted(mock, net, event);
        return;
    }
    conn = conn_of(mock, event->cookie);
    if (conn == NULL) { /* a link we had no room for */
        if (event->kind == SALVO_NET_DATA)
            salvo_net_give_back(net, event->data.buffer);
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
        turn_drop_held(mock, conn);
        break;
    case SALVO_NET_GONE:
        mock_conn_gone(mock, conn);
        break;
    case SALVO_NET_UP:
    case SALVO_NET_ACCEPTED:
        salvo_unreachable(); /* we never connect */
    }
}

static int turn_poll(struct salvo_mock *mock, struct salvo_net *net)
{
    unsigned n = salvo_net_poll(net, mock->events, MOCK_EVENTS_PER_TURN);

    for (unsigned i = 0; i < n; i++)
        turn_event(mock, net, &mock->events[i]);
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

/* --- open and close --------------------------------------------------------------------------- */

static int open_net(struct salvo_mock *mock, char *errbuf, size_t errbuf_size)
{
    struct salvo_net_conf net_conf;
    struct salvo_net *net;
    int r;

    salvo_net_conf_default(&net_conf, mock->clock);
    net_conf.links_max = mock->conf.connections_max + mock->hosts_count;
    net_conf.receive_buffers = mock->conf.receive_buffers;
    net_conf.receive_buffer_size = mock->conf.receive_buffer_size;
    r = salvo_net_open(mock->conf.net, &net_conf, &net, &mock->net_note);
    if (r) {
        snprintf(errbuf, errbuf_size,
                 "mock: network backend \"%s\" cannot be opened: %s; try \"epoll\"", mock->conf.net,
                 strerror(-r));
        return salvo_trace(r);
    }
    for (uint32_t i = 0; i < mock->hosts_count; i++)
        mock->hosts[i].net = net;
    return 0;
}

static int open_endpoint(struct salvo_mock *mock, uint32_t index,
                         struct salvo_endpoint *ret_endpoint)
{
    const struct mock_host *host = &mock->hosts[index];
    const struct salvo_mock_conf *conf = &mock->conf;
    uint16_t port = (uint16_t)(conf->port == 0 ? 0 : conf->port + index);

    memset(ret_endpoint, 0, sizeof(*ret_endpoint));
    if (!mock->own_net) {
        uint32_t address = host->nameserver ? 0x0a010001u + index : 0x0a020001u + host->broker;

        ret_endpoint->v4.sin_family = AF_INET;
        ret_endpoint->v4.sin_addr.s_addr = htonl(address);
        ret_endpoint->v4.sin_port = htons(host->nameserver ? 9876 : 10911);
    } else if (inet_pton(AF_INET, conf->listen_address, &ret_endpoint->v4.sin_addr) == 1) {
        ret_endpoint->v4.sin_family = AF_INET;
        ret_endpoint->v4.sin_port = htons(port);
    } else if (inet_pton(AF_INET6, conf->listen_address, &ret_endpoint->v6.sin6_addr) == 1) {
        ret_endpoint->v6.sin6_family = AF_INET6;
        ret_endpoint->v6.sin6_port = htons(port);
    } else {
        return salvo_raise(-EINVAL);
    }
    return 0;
}

static void open_address(struct salvo_mock *mock, struct mock_host *host)
{
    char text[INET6_ADDRSTRLEN];
    bool v6 = host->endpoint.any.sa_family == AF_INET6;
    const char *name = text;

    inet_ntop(host->endpoint.any.sa_family,
              v6 ? (void *)&host->endpoint.v6.sin6_addr : (void *)&host->endpoint.v4.sin_addr, text,
              sizeof(text));
    if (mock->own_net && mock->conf.advertise_address != NULL)
        name = mock->conf.advertise_address;
    snprintf(host->address, sizeof(host->address), strchr(name, ':') != NULL ? "[%s]:%u" : "%s:%u",
             name, ntohs(v6 ? host->endpoint.v6.sin6_port : host->endpoint.v4.sin_port));
}

static int open_host(struct salvo_mock *mock, uint32_t index, char *errbuf, size_t errbuf_size)
{
    struct mock_host *host = &mock->hosts[index];
    int r = open_endpoint(mock, index, &host->endpoint);

    if (r) {
        snprintf(errbuf, errbuf_size, "mock: \"%s\" is no IPv4 or IPv6 address to listen on",
                 mock->conf.listen_address);
        return salvo_trace(r);
    }
    r = salvo_net_listen(host->net, &host->endpoint, COOKIE_LISTENER | index);
    if (r) {
        open_address(mock, host);
        snprintf(errbuf, errbuf_size, "mock: cannot listen on %s: %s; choose another port, or 0",
                 host->address, strerror(-r));
        return salvo_trace(r);
    }
    open_address(mock, host);
    return 0;
}

int mock_open(struct salvo_mock *mock, char *errbuf, size_t errbuf_size)
{
    size_t at = 0;
    int r = 0;

    mock->now_ns = mock->idle_look_ns = salvo_clock_mono_ns(mock->clock);
    if (mock->own_net)
        r = open_net(mock, errbuf, errbuf_size);
    for (uint32_t i = 0; !r && i < mock->hosts_count; i++) {
        if (!mock->own_net)
            mock->hosts[i].net = mock->conf.nets[i];
        r = open_host(mock, i, errbuf, errbuf_size);
    }
    if (r) {
        if (mock->own_net && mock->hosts[0].net != NULL)
            salvo_net_destroy(mock->hosts[0].net);
        return salvo_trace(r);
    }
    mock->conf.nets = NULL;
    mock->started = true;
    for (uint32_t i = 0; i < mock->conf.nameservers; i++)
        at += (size_t)snprintf(mock->nameserver_address + at, sizeof(mock->nameserver_address) - at,
                               i == 0 ? "%s" : ";%s", mock->hosts[i].address);
    return 0;
}

void mock_close(struct salvo_mock *mock)
{
    for (uint32_t i = 0; i < mock->conf.connections_max; i++) {
        if (mock->conns[i].state != MOCK_CONN_FREE)
            turn_drop_held(mock, &mock->conns[i]);
    }
    for (uint32_t i = 0; i < (mock->own_net ? 1 : mock->hosts_count); i++)
        salvo_net_destroy(mock->hosts[i].net);
    mock->started = false; /* nothing refers to our output any more */
    for (uint32_t i = 0; i < mock->conf.connections_max; i++) {
        if (mock->conns[i].state != MOCK_CONN_FREE)
            mock_conn_gone(mock, &mock->conns[i]);
    }
    mock_answer_late_forget(mock);
}
