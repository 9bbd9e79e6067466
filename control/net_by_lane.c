/* Links carried by a lane, see net_by_lane.h.
 *
 * A link's number is its stream's number on the lane. Events wait in a ring of EVENTS_MAX: each
 * came out of the lane's event ring, and those that control makes itself (DOWN and GONE are two of
 * one STREAM_CLOSED) have their room kept. */
#include "control/net_by_lane.h"

#include "base/assert.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVENTS_MAX 1024u /* power of two */
#define COMMANDS_MAX                                                                               \
    4096u /* power of two; one each for every buffer that EVENTS_MAX can hold, and sends */
#define SENDS_STOP (COMMANDS_MAX / 4)

/* The lane does not wake control: with streams open control looks this often. */
#define LOOK_AGAIN_NS (2 * SALVO_NS_PER_MS)

enum by_lane_state { BY_LANE_FREE, BY_LANE_CONNECTING, BY_LANE_UP, BY_LANE_CLOSING };

struct by_lane_link {
    enum by_lane_state state;
    bool close_asked;
    bool offered_too_much; /* owed a RELEASED to say when to offer again */
    uint64_t cookie;
    uint64_t taken;
    uint64_t released;
};

struct net_by_lane {
    struct salvo_net_head head;
    struct salvo_lane_port *port;
    uint32_t links_max;
    uint32_t links_open;
    int wake_fd;
    struct by_lane_link *links;
    uint32_t events_head;
    uint32_t events_tail;
    struct salvo_net_event events[EVENTS_MAX];
    uint32_t commands_head;
    uint32_t commands_tail;
    struct salvo_command commands[COMMANDS_MAX];
};

static struct net_by_lane *by_lane_of(struct salvo_net *net)
{
    struct net_by_lane *n = (struct net_by_lane *)(void *)net;

    salvo_assert(n->head.magic == SALVO_NET_MAGIC);
    return n;
}

static void event_put(struct net_by_lane *n, const struct salvo_net_event *event)
{
    salvo_assert(n->events_tail - n->events_head < EVENTS_MAX);
    n->events[n->events_tail++ & (EVENTS_MAX - 1)] = *event;
}

static uint32_t commands_waiting(const struct net_by_lane *n)
{
    return n->commands_tail - n->commands_head;
}

static void commands_pass_on(struct net_by_lane *n)
{
    while (n->commands_head != n->commands_tail) {
        if (salvo_lane_port_command(n->port, &n->commands[n->commands_head & (COMMANDS_MAX - 1)]))
            return;
        n->commands_head++;
    }
}

static void command_put(struct net_by_lane *n, const struct salvo_command *command)
{
    salvo_assert(commands_waiting(n) < COMMANDS_MAX);
    n->commands[n->commands_tail++ & (COMMANDS_MAX - 1)] = *command;
    commands_pass_on(n);
}

static struct by_lane_link *link_of(struct net_by_lane *n, uint32_t link)
{
    salvo_assert(link < n->links_max);
    salvo_assert(n->links[link].state != BY_LANE_FREE);
    return &n->links[link];
}

static int by_lane_connect(struct salvo_net *net, const struct salvo_endpoint *to,
                           int64_t timeout_ns, uint64_t cookie, uint32_t *ret_link)
{
    struct net_by_lane *n = by_lane_of(net);
    struct salvo_command command = {
        .kind = SALVO_COMMAND_STREAM_OPEN, .timeout_ns = timeout_ns, .endpoint = *to};
    uint32_t link = 0;

    while (link < n->links_max && n->links[link].state != BY_LANE_FREE)
        link++;
    if (link == n->links_max || commands_waiting(n) >= SENDS_STOP)
        return -ENOSPC;
    n->links[link] = (struct by_lane_link){.state = BY_LANE_CONNECTING, .cookie = cookie};
    n->links_open++;
    command.stream = link;
    command_put(n, &command);
    *ret_link = link;
    return 0;
}

static int by_lane_listen(struct salvo_net *net, struct salvo_endpoint *at, uint64_t cookie)
{
    return -EOPNOTSUPP;
}

static void by_lane_set_cookie(struct salvo_net *net, uint32_t link, uint64_t cookie)
{
    link_of(by_lane_of(net), link)->cookie = cookie;
}

static size_t by_lane_send(struct salvo_net *net, uint32_t index, const struct salvo_range *ranges,
                           unsigned ranges_count)
{
    struct net_by_lane *n = by_lane_of(net);
    struct by_lane_link *link = &n->links[index];
    size_t taken = 0;

    salvo_assert(index < n->links_max);
    salvo_assert(link->state != BY_LANE_CONNECTING);
    if (link->state != BY_LANE_UP)
        return 0; /* its DOWN has not been polled yet, or was in the last poll with its GONE */
    for (unsigned i = 0; i < ranges_count; i++) {
        struct salvo_command command = {
            .kind = SALVO_COMMAND_STREAM_SEND,
            .stream = index,
            .bytes = ranges[i].bytes,
            .size = ranges[i].size,
        };

        if (ranges[i].size == 0)
            continue;
        if (commands_waiting(n) >= SENDS_STOP) {
            link->offered_too_much = true;
            break;
        }
        command_put(n, &command);
        taken += ranges[i].size;
    }
    link->taken += taken;
    return taken;
}

static void by_lane_give_back(struct salvo_net *net, uint32_t buffer)
{
    struct salvo_command command = {.kind = SALVO_COMMAND_STREAM_GIVE_BACK, .buffer = buffer};

    command_put(by_lane_of(net), &command);
}

/* Links whose offer was cut short may offer again once commands have moved. */
static void releases_owed(struct net_by_lane *n)
{
    if (commands_waiting(n) >= SENDS_STOP)
        return;
    for (uint32_t i = 0; i < n->links_max; i++) {
        struct by_lane_link *link = &n->links[i];

        if (link->state != BY_LANE_UP || !link->offered_too_much ||
            n->events_tail - n->events_head >= EVENTS_MAX / 2)
            continue;
        link->offered_too_much = false;
        event_put(n, &(struct salvo_net_event){
                         .kind = SALVO_NET_RELEASED, .link = i, .cookie = link->cookie});
    }
}

static unsigned by_lane_poll(struct salvo_net *net, struct salvo_net_event *ret_events,
                             unsigned events_max)
{
    struct net_by_lane *n = by_lane_of(net);
    unsigned count = 0;

    commands_pass_on(n);
    releases_owed(n);
    for (; count < events_max && n->events_head != n->events_tail; count++) {
        ret_events[count] = n->events[n->events_head++ & (EVENTS_MAX - 1)];
        if (ret_events[count].kind == SALVO_NET_GONE) {
            n->links[ret_events[count].link].state = BY_LANE_FREE;
            n->links_open--;
        }
    }
    return count;
}

static void by_lane_flush(struct salvo_net *net)
{
    commands_pass_on(by_lane_of(net));
}

static void by_lane_wait(struct salvo_net *net, unsigned events_min, int64_t gather_ns,
                         int64_t timeout_ns)
{
    struct net_by_lane *n = by_lane_of(net);
    struct pollfd fd = {.fd = n->wake_fd, .events = POLLIN};
    struct timespec time;
    uint64_t count;

    commands_pass_on(n);
    if (n->events_head != n->events_tail)
        return;
    if (n->links_open > 0 || commands_waiting(n) > 0)
        timeout_ns = SALVO_MIN(timeout_ns, LOOK_AGAIN_NS);
    timeout_ns = SALVO_CLAMP(timeout_ns, 0, 3600 * SALVO_NS_PER_S);
    time = (struct timespec){timeout_ns / SALVO_NS_PER_S, timeout_ns % SALVO_NS_PER_S};
    if (ppoll(&fd, 1, &time, NULL) > 0)
        (void)!read(n->wake_fd, &count, sizeof(count));
}

static void by_lane_wake(struct salvo_net *net)
{
    uint64_t one = 1;

    (void)!write(by_lane_of(net)->wake_fd, &one, sizeof(one));
}

static void by_lane_close(struct salvo_net *net, uint32_t index)
{
    struct net_by_lane *n = by_lane_of(net);
    struct by_lane_link *link = &n->links[index];
    struct salvo_command command = {.kind = SALVO_COMMAND_STREAM_CLOSE, .stream = index};

    salvo_assert(index < n->links_max);
    if (link->state == BY_LANE_FREE || link->state == BY_LANE_CLOSING || link->close_asked)
        return;
    link->close_asked = true;
    command_put(n, &command);
}

static uint32_t by_lane_caps(struct salvo_net *net)
{
    /* Virtual time is the lane's net's to say: names cannot be looked up there either. */
    return salvo_net_caps(by_lane_of(net)->port->net) & SALVO_NET_CAP_VIRTUAL_TIME;
}

static void by_lane_destroy(struct salvo_net *net)
{
    struct net_by_lane *n = by_lane_of(net);

    close(n->wake_fd);
    n->head.magic = 0;
    free(n->links);
    free(n);
}

static const struct salvo_net_ops by_lane_ops = {
    .name = "by lane",
    .connect = by_lane_connect,
    .listen = by_lane_listen,
    .set_cookie = by_lane_set_cookie,
    .send = by_lane_send,
    .give_back = by_lane_give_back,
    .poll = by_lane_poll,
    .flush = by_lane_flush,
    .wait = by_lane_wait,
    .wake = by_lane_wake,
    .close = by_lane_close,
    .caps = by_lane_caps,
    .destroy = by_lane_destroy,
};

int salvo_net_by_lane_open(const struct salvo_net_conf *conf, struct salvo_lane_port *port,
                           struct salvo_net **ret_net)
{
    struct net_by_lane *n = calloc(1, sizeof(*n));

    if (n == NULL)
        return -ENOMEM;
    n->head = (struct salvo_net_head){SALVO_NET_MAGIC, &by_lane_ops};
    n->port = port;
    n->links_max = conf->links_max;
    n->links = calloc(conf->links_max, sizeof(*n->links));
    n->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (n->links == NULL || n->wake_fd < 0) {
        int r = n->links == NULL ? -ENOMEM : -errno;

        if (n->wake_fd >= 0)
            close(n->wake_fd);
        free(n->links);
        free(n);
        return r;
    }
    *ret_net = (struct salvo_net *)(void *)n;
    return 0;
}

bool salvo_event_is_stream(const struct salvo_event *event)
{
    return event->kind >= SALVO_EVENT_STREAM_UP && event->kind <= SALVO_EVENT_STREAM_CLOSED;
}

/* STREAM_CLOSED frees all memory sent: the rest is released here, between DOWN and GONE. */
static void stream_closed(struct net_by_lane *n, struct by_lane_link *link,
                          struct salvo_net_event *out, const struct salvo_event *event)
{
    out->kind = SALVO_NET_DOWN;
    out->down.reason = link->close_asked ? SALVO_NET_DOWN_CLOSED : event->down;
    out->down.code = event->code;
    out->down.handed_over = link->taken; /* may have reached the peer: nobody here asks for more */
    event_put(n, out);
    out->kind = SALVO_NET_RELEASED;
    out->released.bytes = link->taken - link->released;
    if (out->released.bytes != 0)
        event_put(n, out);
    out->kind = SALVO_NET_GONE;
    event_put(n, out);
    link->state = BY_LANE_CLOSING;
}

bool salvo_net_by_lane_event(struct salvo_net *net, const struct salvo_event *event)
{
    struct net_by_lane *n = by_lane_of(net);
    struct by_lane_link *link = link_of(n, event->stream);
    struct salvo_net_event out = {.link = event->stream, .cookie = link->cookie};

    salvo_assert(salvo_event_is_stream(event));
    salvo_assert(link->state != BY_LANE_CLOSING);
    if (n->events_tail - n->events_head > EVENTS_MAX - 4)
        return false;
    switch (event->kind) {
    case SALVO_EVENT_STREAM_UP:
        link->state = BY_LANE_UP;
        out.kind = SALVO_NET_UP;
        break;
    case SALVO_EVENT_STREAM_BYTES:
        out.kind = SALVO_NET_DATA;
        out.data.bytes = event->bytes;
        out.data.size = (uint32_t)event->size;
        out.data.buffer = event->buffer;
        break;
    case SALVO_EVENT_STREAM_RELEASED:
        link->released += event->size;
        out.kind = SALVO_NET_RELEASED;
        out.released.bytes = event->size;
        break;
    case SALVO_EVENT_STREAM_CLOSED:
        stream_closed(n, link, &out, event);
        return true;
    default:
        salvo_unreachable();
    }
    event_put(n, &out);
    return true;
}
