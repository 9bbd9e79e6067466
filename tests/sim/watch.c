/* A net between a lane and its backend: see sim.h.
 *
 * From the end of a lane's poll to its flush the lane may not allocate; the simulated network may,
 * so the ban is lifted inside each call. Answers that lie are made here, where a frame begins. */
#include "tests/sim/sim.h"

#include "base/arena.h"
#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

struct watch_net {
    struct salvo_net_head head;
    struct salvo_net *inner;
    struct sim_watch *watch;
    bool forbidden;
};

static struct watch_net *watch_of(struct salvo_net *net)
{
    struct watch_net *w = (struct watch_net *)net;

    salvo_assert(w->head.magic == SALVO_NET_MAGIC);
    salvo_alloc_forbid(false);
    return w;
}

/* On the way back to the lane. */
static void watch_back(const struct watch_net *w)
{
    salvo_alloc_forbid(w->forbidden);
}

static int watch_connect(struct salvo_net *net, const struct salvo_endpoint *to, int64_t timeout_ns,
                         uint64_t cookie, uint32_t *ret_link)
{
    struct watch_net *w = watch_of(net);
    int r = salvo_net_connect(w->inner, to, timeout_ns, cookie, ret_link);

    watch_back(w);
    return r;
}

static int watch_listen(struct salvo_net *net, struct salvo_endpoint *at, uint64_t cookie)
{
    struct watch_net *w = watch_of(net);
    int r = salvo_net_listen(w->inner, at, cookie);

    watch_back(w);
    return r;
}

static void watch_set_cookie(struct salvo_net *net, uint32_t link, uint64_t cookie)
{
    struct watch_net *w = watch_of(net);

    salvo_net_set_cookie(w->inner, link, cookie);
    watch_back(w);
}

static size_t watch_send(struct salvo_net *net, uint32_t link, const struct salvo_range *ranges,
                         unsigned ranges_count)
{
    struct watch_net *w = watch_of(net);
    size_t n = salvo_net_send(w->inner, link, ranges, ranges_count);

    watch_back(w);
    return n;
}

static void watch_give_back(struct salvo_net *net, uint32_t buffer)
{
    struct watch_net *w = watch_of(net);

    salvo_net_give_back(w->inner, buffer);
    watch_back(w);
}

/* Lengths that no frame has; each must cost the connection and nothing else. */
static uint32_t watch_lie(struct sim *sim)
{
    switch (sim_below(sim, 5)) {
    case 0:
        return UINT32_MAX;
    case 1:
        return 0;
    case 2:
        return 3;
    case 3:
        return 0x01000001;
    default:
        return 0x7fffffff;
    }
}

/* Spoils the first bytes that came from a broker when they begin a frame. */
static void watch_spoil(struct watch_net *w, const struct salvo_net_event *events, unsigned count)
{
    struct sim_watch *watch = w->watch;
    struct salvo_lane *lane = salvo_sender_of(watch->sim->sender)->lanes[watch->lane];
    uint32_t broker = sim_broker_number(watch->sim, watch->lies_broker);

    for (unsigned i = 0; i < count; i++) {
        const struct salvo_net_event *event = &events[i];
        struct salvo_conn *conn;

        if (event->kind != SALVO_NET_DATA || event->cookie != broker)
            continue;
        conn = &lane->conns[broker];
        if (event->data.size < 8 || (conn->gather_size != 0 && !conn->gather_used))
            return;
        salvo_store_be32((uint8_t *)(uintptr_t)event->data.bytes, watch_lie(watch->sim));
        sim_note(watch->sim, "lane %u: an answer lies", watch->lane);
        watch->lies--;
        watch->lies_made++;
        return;
    }
}

static unsigned watch_poll(struct salvo_net *net, struct salvo_net_event *ret_events,
                           unsigned events_max)
{
    struct watch_net *w = watch_of(net);
    unsigned n = salvo_net_poll(w->inner, ret_events, events_max);

    if (w->watch->lies != 0)
        watch_spoil(w, ret_events, n);
    w->forbidden = true;
    watch_back(w);
    return n;
}

static void watch_flush(struct salvo_net *net)
{
    struct watch_net *w = watch_of(net);

    salvo_net_flush(w->inner);
    w->forbidden = false;
}

static void watch_wait(struct salvo_net *net, unsigned events_min, int64_t gather_ns,
                       int64_t timeout_ns)
{
    struct watch_net *w = watch_of(net);

    salvo_net_wait(w->inner, events_min, gather_ns, timeout_ns);
    watch_back(w);
}

static void watch_wake(struct salvo_net *net)
{
    struct watch_net *w = watch_of(net);

    salvo_net_wake(w->inner);
    watch_back(w);
}

static void watch_close(struct salvo_net *net, uint32_t link)
{
    struct watch_net *w = watch_of(net);

    salvo_net_close(w->inner, link);
    watch_back(w);
}

static uint32_t watch_caps(struct salvo_net *net)
{
    struct watch_net *w = watch_of(net);
    uint32_t caps = salvo_net_caps(w->inner) | SALVO_NET_CAP_VIRTUAL_TIME;

    watch_back(w);
    return caps;
}

static void watch_destroy(struct salvo_net *net)
{
    struct watch_net *w = watch_of(net);

    salvo_net_destroy(w->inner);
    free(w);
}

static const struct salvo_net_ops watch_ops = {
    .name = "watch",
    .connect = watch_connect,
    .listen = watch_listen,
    .set_cookie = watch_set_cookie,
    .send = watch_send,
    .give_back = watch_give_back,
    .poll = watch_poll,
    .flush = watch_flush,
    .wait = watch_wait,
    .wake = watch_wake,
    .close = watch_close,
    .caps = watch_caps,
    .destroy = watch_destroy,
};

int sim_watch_open(struct sim_watch *watch, struct salvo_net *inner, struct salvo_net **ret_net)
{
    struct watch_net *w = calloc(1, sizeof(*w));

    salvo_assert(w != NULL);
    w->head = (struct salvo_net_head){.magic = SALVO_NET_MAGIC, .ops = &watch_ops};
    w->inner = inner;
    w->watch = watch;
    *ret_net = (struct salvo_net *)w;
    return 0;
}
