/* The network over salvo's own TCP and a frame device. See net_tcp.h.
 *
 * A turn takes frames, timers and the machine's events; what they change stands in the links, and
 * links with something to report wait in `pending`. Packets leave in flush(), once per turn, and in
 * wait().
 *
 * A link is the owner's, a connection the machine's, and they part twice. When a link ends in
 * order, its connection goes on alone until the peer has closed too (an orphan; the oldest is reset
 * when there are too many). When a connection ends first, its link stays until everything was
 * reported. */
#include "dataplane/net_tcp_internal.h"

#include "base/error.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TCP_BURST  64
#define TCP_EVENTS 64
/* 512: what a full receive queue of a device may hold; the rest is taken in the next turn. */
#define TCP_FRAMES_PER_TURN 512
/* Most devices cannot wake a sleeper: naps are this long, from the first to the longest, and longer
 * still when nothing has come for a while: 100 us cost an eighth of a core for nothing. */
#define TCP_NAP_NS_MIN   (20 * SALVO_NS_PER_US)
#define TCP_NAP_NS_MAX   (100 * SALVO_NS_PER_US)
#define TCP_NAP_NS_QUIET SALVO_NS_PER_MS
#define TCP_QUIET_NS     (100 * SALVO_NS_PER_MS)
/* One hour: links have deadlines of their own. */
#define TCP_CONNECT_US_MAX INT64_C(3600000000)

static struct tcp_link *link_of(struct net_tcp *n, uint32_t index)
{
    salvo_assert(index < n->conf.links_max);
    return &n->links[index];
}

/* --- what the machine says -------------------------------------------------------------------- */

static enum salvo_net_down down_of(enum salvo_tcp_reason reason, int *ret_code)
{
    static const struct {
        enum salvo_net_down reason;
        int code;
    } table[] = {
        [SALVO_TCP_REASON_CLOSED] = {SALVO_NET_DOWN_PEER, 0},
        [SALVO_TCP_REASON_REFUSED] = {SALVO_NET_DOWN_REFUSED, ECONNREFUSED},
        [SALVO_TCP_REASON_RESET] = {SALVO_NET_DOWN_RESET, ECONNRESET},
        [SALVO_TCP_REASON_TIMEOUT] = {SALVO_NET_DOWN_TIMEOUT, ETIMEDOUT},
        [SALVO_TCP_REASON_UNREACHABLE] = {SALVO_NET_DOWN_UNREACHABLE, EHOSTUNREACH},
        [SALVO_TCP_REASON_ABORTED] = {SALVO_NET_DOWN_RESET, ECONNABORTED},
    };

    salvo_assert(reason < SALVO_ARRAY_LENGTH(table));
    *ret_code = table[reason].code;
    return table[reason].reason;
}

static void link_released(struct net_tcp *n, struct tcp_link *link, uint64_t bytes)
{
    link->acknowledged += bytes;
    salvo_assert(link->acknowledged <= link->taken);
    if (n->references && n->ops->completed(n->device) != n->attached) {
        salvo_assert(n->holds_tail - n->holds_head < TCP_HOLDS_MAX);
        n->holds[n->holds_tail++ & (TCP_HOLDS_MAX - 1)] =
            (struct tcp_hold){link->index, bytes, n->attached};
        return;
    }
    link->releasable += bytes;
    net_tcp_link_queue(n, link);
}

/* The device has done more packets: what waited for them is free. */
static void holds_end(struct net_tcp *n)
{
    uint64_t completed;

    if (n->holds_head == n->holds_tail)
        return;
    completed = n->ops->completed(n->device);
    while (n->holds_head != n->holds_tail) {
        struct tcp_hold *hold = &n->holds[n->holds_head & (TCP_HOLDS_MAX - 1)];
        struct tcp_link *link = &n->links[hold->link];

        if (completed - hold->attached > UINT64_MAX / 2)
            return;
        n->holds_head++;
        link->releasable += hold->bytes;
        net_tcp_link_queue(n, link);
    }
}

static void link_ended(struct net_tcp *n, struct tcp_link *link,
                       const struct salvo_tcp_event *event)
{
    struct salvo_tcp_range ranges[2];
    int code;

    link->ended = true;
    if (link->state >= TCP_LINK_DYING) {
        net_tcp_link_deadline_end(n, link);
        net_tcp_link_queue(n, link);
        return;
    }
    link->handed_over = event->bytes;
    salvo_assert(link->handed_over <= link->taken);
    if (link->state == TCP_LINK_UP && salvo_tcp_readable(n->tcp, link->conn, ranges) != 0) {
        link->reason = down_of(event->reason, &link->code);
        link->readable = link->unread = true; /* first what came before the end */
        n->unread_count++;
        net_tcp_link_queue(n, link);
        return;
    }
    enum salvo_net_down reason = down_of(event->reason, &code);
    net_tcp_link_die(n, link, reason, code);
}

static void machine_event(struct net_tcp *n, const struct salvo_tcp_event *event)
{
    uint32_t index = (uint32_t)event->cookie;
    struct tcp_link *link = link_of(n, index);

    if (link->generation != (uint32_t)(event->cookie >> 32) || link->state == TCP_LINK_FREE)
        return; /* an orphan */
    switch (event->kind) {
    case SALVO_TCP_UP:
        if (link->state != TCP_LINK_CONNECTING)
            return;
        net_tcp_link_deadline_end(n, link);
        link->state = TCP_LINK_UP;
        link->announce = true;
        break;
    case SALVO_TCP_DATA:
        link->readable = true;
        break;
    case SALVO_TCP_RELEASED:
        link_released(n, link, event->bytes);
        return;
    case SALVO_TCP_PEER_CLOSED:
        link->peer_closed = true;
        break;
    case SALVO_TCP_DOWN:
        link_ended(n, link, event);
        return;
    }
    net_tcp_link_queue(n, link);
}

static void machine_events(struct net_tcp *n)
{
    struct salvo_tcp_event events[TCP_EVENTS];
    unsigned count = TCP_EVENTS;

    /* Asking forgets what an ended connection still had to read. */
    while (count == TCP_EVENTS && n->unread_count == 0 &&
           n->holds_tail - n->holds_head <= TCP_HOLDS_MAX - TCP_EVENTS) {
        count = salvo_tcp_events(n->tcp, events, TCP_EVENTS);
        for (unsigned i = 0; i < count; i++)
            machine_event(n, &events[i]);
    }
}

/* Links that connect or linger too long. */
static void links_expire(struct net_tcp *n)
{
    int64_t now_ns = salvo_clock_mono_ns(n->conf.clock);

    for (uint32_t i = 0; i < n->conf.links_max; i++) {
        struct tcp_link *link = &n->links[i];

        if (link->state == TCP_LINK_FREE || link->deadline_ns == 0 || now_ns < link->deadline_ns)
            continue;
        if (link->state == TCP_LINK_CONNECTING) {
            net_tcp_link_die(n, link, SALVO_NET_DOWN_TIMEOUT, ETIMEDOUT);
        } else {
            net_tcp_link_deadline_end(n, link);
            salvo_tcp_abort(n->tcp, link->conn, now_ns / SALVO_NS_PER_US);
        }
    }
}

/* They have no right to it any more. */
static void links_lose_address(struct net_tcp *n)
{
    for (uint32_t i = 0; i < n->conf.links_max; i++)
        if (n->links[i].state == TCP_LINK_CONNECTING || n->links[i].state == TCP_LINK_UP)
            net_tcp_link_die(n, &n->links[i], SALVO_NET_DOWN_UNREACHABLE, ENETUNREACH);
}

/* Takes what has happened: frames, time, events. Returns how many frames there were. */
static unsigned net_tcp_turn(struct net_tcp *n)
{
    struct salvo_device_frame frames[TCP_BURST];
    int64_t now = net_tcp_now_us(n);
    unsigned total = 0;
    unsigned count;

    do {
        count = n->ops->receive(n->device, frames, TCP_BURST);
        if (salvo_mirror_on(n->mirror))
            salvo_mirror_received(n->mirror, frames, count, salvo_clock_mono_ns(n->conf.clock));
        for (unsigned i = 0; i < count; i++) {
            if (n->lease_renews)
                salvo_dhcp_input(&n->lease->dhcp, frames[i].bytes, frames[i].size, now);
            salvo_tcp_input(n->tcp, frames[i].bytes, frames[i].size, frames[i].checksum_verified,
                            now);
        }
        total += count;
    } while (count == TCP_BURST && total < TCP_FRAMES_PER_TURN);
    if (now >= salvo_tcp_deadline_us(n->tcp))
        salvo_tcp_timers(n->tcp, now);
    if (n->lease_renews)
        net_tcp_lease_look(n, now);
    if (!net_tcp_lease_holds(n))
        links_lose_address(n);
    if (n->references)
        holds_end(n);
    if (n->deadlines_count != 0)
        links_expire(n);
    machine_events(n);
    return total;
}

/* --- the table -------------------------------------------------------------------------------- */

static int target_of(const struct salvo_endpoint *to, struct salvo_tcp_target *ret_target)
{
    if (to->any.sa_family == AF_INET) {
        memcpy(ret_target->address.bytes, &to->v4.sin_addr, 4);
        ret_target->address.version = 4;
        ret_target->port = ntohs(to->v4.sin_port);
    } else if (to->any.sa_family == AF_INET6) {
        memcpy(ret_target->address.bytes, &to->v6.sin6_addr, 16);
        ret_target->address.version = 6;
        ret_target->port = ntohs(to->v6.sin6_port);
    } else {
        return salvo_raise(-EAFNOSUPPORT);
    }
    return 0;
}

static struct tcp_link *link_take(struct net_tcp *n)
{
    for (uint32_t i = 0; i < n->conf.links_max; i++) {
        uint32_t index = (n->links_free_hint + i) % n->conf.links_max;
        struct tcp_link *link = &n->links[index];
        uint32_t generation = link->generation + 1;

        if (link->state != TCP_LINK_FREE || link->queued)
            continue;
        *link = (struct tcp_link){.index = index, .generation = generation};
        n->links_free_hint = index + 1;
        return link;
    }
    return NULL;
}

static int net_tcp_connect(struct salvo_net *net, const struct salvo_endpoint *to,
                           int64_t timeout_ns, uint64_t cookie, uint32_t *ret_link)
{
    struct net_tcp *n = net_tcp_of(net);
    struct salvo_tcp_target target = {0};
    enum salvo_tcp_open_result result;
    struct tcp_link *link;
    int r = target_of(to, &target);

    salvo_assert(timeout_ns > 0);
    if (r)
        return salvo_trace(r);
    link = link_take(n);
    if (link == NULL)
        return salvo_raise(-ENOSPC);
    target.cookie = (uint64_t)link->generation << 32 | link->index;
    result = salvo_tcp_open(n->tcp, &target, net_tcp_now_us(n), &link->conn);
    if (result == SALVO_TCP_OPEN_FULL)
        return salvo_raise(-ENOSPC); /* orphans that were reset and not yet forgotten */
    link->cookie = cookie;
    link->state = TCP_LINK_CONNECTING;
    if (result == SALVO_TCP_OPEN_OK) {
        net_tcp_link_deadline(n, link, timeout_ns);
    } else {
        link->ended = true;
        if (result == SALVO_TCP_OPEN_NO_PORT)
            net_tcp_link_die(n, link, SALVO_NET_DOWN_ERROR, EADDRNOTAVAIL);
        else
            net_tcp_link_die(n, link, SALVO_NET_DOWN_UNREACHABLE, ENETUNREACH);
    }
    *ret_link = link->index;
    return 0;
}

static int net_tcp_listen(struct salvo_net *net, struct salvo_endpoint *at, uint64_t cookie)
{
    return salvo_raise(-EOPNOTSUPP);
}

static void net_tcp_set_cookie(struct salvo_net *net, uint32_t index, uint64_t cookie)
{
    struct tcp_link *link = link_of(net_tcp_of(net), index);

    salvo_assert(link->state != TCP_LINK_FREE);
    link->cookie = cookie;
}

static size_t net_tcp_send(struct salvo_net *net, uint32_t index, const struct salvo_range *ranges,
                           unsigned ranges_count)
{
    struct net_tcp *n = net_tcp_of(net);
    struct tcp_link *link = link_of(n, index);
    uint64_t unsent;
    size_t taken = 0;
    bool refused = false;

    if (link->state == TCP_LINK_FREE)
        return 0;
    salvo_assert(link->state >= TCP_LINK_UP);
    if (link->state != TCP_LINK_UP || link->ended)
        return 0;
    /* send_max bounds what was not sent: what was is the peer's window's to bound. */
    unsent = net_tcp_link_unsent(n, link);
    for (unsigned i = 0; i < ranges_count && !refused; i++) {
        struct salvo_tcp_range range = {ranges[i].bytes, ranges[i].size};
        size_t part;

        range.size = SALVO_MIN(range.size, n->conf.send_max - SALVO_MIN(n->conf.send_max, unsent));
        part =
            range.size == 0 ? 0 : salvo_tcp_send(n->tcp, link->conn, &range, 1, net_tcp_now_us(n));
        unsent += part;
        taken += part;
        refused = part < ranges[i].size;
        link->starved = part < range.size;
    }
    link->taken += taken;
    if (refused && !link->wants) {
        link->wants = true;
        n->wants_count++;
    }
    return taken;
}

static void net_tcp_give_back(struct salvo_net *net, uint32_t buffer)
{
    struct net_tcp *n = net_tcp_of(net);

    salvo_assert(buffer < n->conf.receive_buffers);
    salvo_assert(n->buffers_free_count < n->conf.receive_buffers);
    n->buffers_free[n->buffers_free_count++] = buffer;
}

static void net_tcp_close(struct salvo_net *net, uint32_t index)
{
    struct net_tcp *n = net_tcp_of(net);
    struct tcp_link *link = link_of(n, index);

    if (link->state == TCP_LINK_FREE || link->closed || link->state == TCP_LINK_DOWN)
        return;
    link->closed = true;
    link->announce = false;
    if (link->state < TCP_LINK_DYING)
        net_tcp_link_die(n, link, SALVO_NET_DOWN_CLOSED, 0);
}

/* --- packets out ------------------------------------------------------------------------------ */

/* As frames leave: where the device fills in sums, they are as we left them. */
static void frame_mirror(struct net_tcp *n, const uint8_t *frame, uint32_t size)
{
    if (SALVO_UNLIKELY(salvo_mirror_on(n->mirror)))
        salvo_mirror_frame(n->mirror, frame, size, salvo_clock_mono_ns(n->conf.clock));
}

/* One that leaves by reference: written out for the mirror alone. */
static void packet_mirror(struct net_tcp *n, const struct salvo_tcp_packet *packet)
{
    uint32_t size = packet->header_size + packet->payload_size;
    uint8_t *place = salvo_mirror_claim(n->mirror, packet->header, packet->header_size, size,
                                        salvo_clock_mono_ns(n->conf.clock));

    if (place == NULL)
        return;
    salvo_assert(salvo_tcp_packet_write(n->tcp, packet, place) == size);
    salvo_mirror_commit(n->mirror, size);
}

static void packet_attach(struct net_tcp *n, const struct salvo_tcp_packet *packet)
{
    if (SALVO_UNLIKELY(salvo_mirror_on(n->mirror)))
        packet_mirror(n, packet);
    n->ops->attach(n->device, packet);
    n->attached++;
}

static void packet_copy(struct net_tcp *n, const struct salvo_tcp_packet *packet)
{
    uint32_t size = packet->header_size + packet->payload_size;
    uint8_t *frame = n->ops->claim(n->device, size);

    salvo_assert(salvo_tcp_packet_write(n->tcp, packet, frame) == size);
    frame_mirror(n, frame, size);
    n->ops->commit(n->device, packet);
}

/* Segments for a device that cannot cut them. */
static void packet_cut(struct net_tcp *n, const struct salvo_tcp_packet *packet)
{
    struct salvo_tcp_cut cut;
    uint32_t size;

    salvo_tcp_cut_start(&cut, packet);
    while ((size = salvo_tcp_cut_size(&cut, packet)) != 0) {
        uint8_t *frame = n->ops->claim(n->device, size);

        salvo_tcp_cut_write(n->tcp, packet, &cut, frame);
        frame_mirror(n, frame, size);
        n->ops->commit(n->device, packet);
    }
}

/* Returns how much of the device's room it took. */
static unsigned packet_transmit(struct net_tcp *n, const struct salvo_tcp_packet *packet)
{
    if (n->references && packet->payload_size != 0) {
        packet_attach(n, packet);
        return 1;
    }
    if (packet->segment_size == 0) {
        packet_copy(n, packet);
        return 1;
    }
    packet_cut(n, packet);
    return salvo_tcp_packet_segments(packet);
}

/* Links whose offer was refused. */
static void wants_look(struct net_tcp *n)
{
    for (uint32_t i = 0; i < n->conf.links_max && n->wants_count != 0; i++) {
        struct tcp_link *link = &n->links[i];

        if (!link->queued && net_tcp_link_may_offer(n, link))
            net_tcp_link_queue(n, link);
    }
}

static void net_tcp_flush(struct salvo_net *net)
{
    struct net_tcp *n = net_tcp_of(net);
    int64_t now = net_tcp_now_us(n);
    unsigned room;

    if (!n->ops->link_up(n->device))
        return; /* timers go on: what is lost meanwhile is sent again */
    if (n->lease_renews)
        net_tcp_lease_output(n, now);
    if (!net_tcp_lease_holds(n))
        return;
    room = n->ops->room(n->device);
    while (room != 0 &&
           salvo_tcp_output(n->tcp, now, n->references ? UINT32_MAX : room, &n->packet))
        room -= packet_transmit(n, &n->packet);
    if (SALVO_UNLIKELY(salvo_mirror_on(n->mirror)))
        salvo_mirror_publish(n->mirror);
    n->ops->flush(n->device);
    if (n->wants_count != 0)
        wants_look(n);
}

static unsigned net_tcp_poll(struct salvo_net *net, struct salvo_net_event *ret_events,
                             unsigned events_max)
{
    struct net_tcp *n = net_tcp_of(net);
    unsigned count = 0;
    uint32_t idle = 0;

    net_tcp_turn(n);
    /* `idle` bounds the turn when all that is left waits for buffers. */
    while (n->pending_first != NULL && count < events_max && idle <= n->conf.links_max) {
        if (net_tcp_report(n, &ret_events[count])) {
            count++;
            idle = 0;
        } else {
            idle++;
        }
    }
    return count;
}

/* --- sleep and wake --------------------------------------------------------------------------- */

/* The next thing that happens by itself, in ns from now. */
static int64_t next_ns(const struct net_tcp *n, int64_t now_ns)
{
    int64_t due_us = salvo_tcp_deadline_us(n->tcp);
    int64_t due_ns = due_us > INT64_MAX / SALVO_NS_PER_US ? INT64_MAX : due_us * SALVO_NS_PER_US;

    if (n->lease_renews)
        due_ns = SALVO_MIN(due_ns, SALVO_MIN(salvo_dhcp_deadline_us(&n->lease->dhcp),
                                             INT64_MAX / SALVO_NS_PER_US) *
                                       SALVO_NS_PER_US);
    for (uint32_t i = 0; n->deadlines_count != 0 && i < n->conf.links_max; i++)
        if (n->links[i].state != TCP_LINK_FREE && n->links[i].deadline_ns != 0)
            due_ns = SALVO_MIN(due_ns, n->links[i].deadline_ns);
    return due_ns - SALVO_MIN(due_ns, now_ns);
}

static bool net_tcp_woken(const struct net_tcp *n)
{
    return atomic_load_explicit(&n->sleep, memory_order_acquire) == TCP_WOKEN;
}

/* Naps between turns, the longer the longer nothing comes: a device that could call us is rare. */
static void net_tcp_sleep(struct net_tcp *n, unsigned events_min, int64_t gather_ns,
                          int64_t timeout_ns)
{
    int64_t start_ns = salvo_clock_mono_ns(n->conf.clock);
    int64_t quiet_ns = TCP_QUIET_NS;
    int64_t nap_ns = TCP_NAP_NS_MIN;

    while (!net_tcp_woken(n)) {
        int64_t passed_ns = salvo_clock_mono_ns(n->conf.clock) - start_ns;
        unsigned pending = net_tcp_pending_count(n);
        int64_t limit_ns = timeout_ns - passed_ns;

        if (limit_ns <= 0 || pending >= SALVO_MAX(events_min, 1u) ||
            (pending != 0 && passed_ns >= gather_ns))
            return;
        if (pending != 0)
            limit_ns = SALVO_MIN(limit_ns, gather_ns - passed_ns);
        limit_ns = SALVO_MIN(limit_ns, SALVO_MAX(next_ns(n, start_ns + passed_ns), 1));
        n->ops->nap(n->device, SALVO_MIN(nap_ns, limit_ns));
        nap_ns = SALVO_MIN(nap_ns * 2, passed_ns < quiet_ns ? TCP_NAP_NS_MAX : TCP_NAP_NS_QUIET);
        if (net_tcp_turn(n) != 0) {
            nap_ns = TCP_NAP_NS_MIN;
            quiet_ns = passed_ns + TCP_QUIET_NS;
        }
        net_tcp_flush((struct salvo_net *)n);
    }
}

/* wake() and this: as uring_wait in net_uring.c. */
static void net_tcp_wait(struct salvo_net *net, unsigned events_min, int64_t gather_ns,
                         int64_t timeout_ns)
{
    struct net_tcp *n = net_tcp_of(net);
    uint32_t awake = TCP_AWAKE;

    net_tcp_flush(net);
    if (atomic_compare_exchange_strong_explicit(&n->sleep, &awake, TCP_ASLEEP, memory_order_acq_rel,
                                                memory_order_acquire))
        net_tcp_sleep(n, events_min, events_min > 1 ? gather_ns : 0, timeout_ns);
    atomic_exchange_explicit(&n->sleep, TCP_AWAKE, memory_order_acq_rel);
}

static void net_tcp_wake(struct salvo_net *net)
{
    struct net_tcp *n = net_tcp_of(net);

    /* Pairs with the exchanges in net_tcp_wait. */
    if (atomic_exchange_explicit(&n->sleep, TCP_WOKEN, memory_order_acq_rel) == TCP_ASLEEP)
        n->ops->wake(n->device);
}

static uint32_t net_tcp_caps(struct salvo_net *net)
{
    return net_tcp_of(net)->references ? SALVO_NET_CAP_ZERO_COPY : 0;
}

/* --- open and destroy ------------------------------------------------------------------------- */

static void net_tcp_free(struct net_tcp *n)
{
    free(n->tcp);
    free(n->links);
    free(n->buffers);
    free(n->buffers_free);
    free(n->holds);
    free(n);
}

/* Peers are told by RST: nobody will be here to answer a FIN of theirs. */
static void net_tcp_destroy(struct salvo_net *net)
{
    struct net_tcp *n = net_tcp_of(net);
    int64_t now = net_tcp_now_us(n);

    for (uint32_t i = 0; i < n->conf.links_max; i++) {
        if (n->links[i].state != TCP_LINK_FREE && !n->links[i].ended)
            salvo_tcp_abort(n->tcp, n->links[i].conn, now);
        net_tcp_flush(net); /* each: resets wait in a short queue */
    }
    for (uint32_t i = 0; i < TCP_ORPHANS_MAX; i++)
        salvo_tcp_abort(n->tcp, n->orphans[i], now);
    net_tcp_flush(net);
    n->ops->close(n->device);
    n->head.magic = 0;
    net_tcp_free(n);
}

static const struct salvo_net_ops net_tcp_ops = {
    .connect = net_tcp_connect,
    .listen = net_tcp_listen,
    .set_cookie = net_tcp_set_cookie,
    .send = net_tcp_send,
    .give_back = net_tcp_give_back,
    .poll = net_tcp_poll,
    .flush = net_tcp_flush,
    .wait = net_tcp_wait,
    .wake = net_tcp_wake,
    .close = net_tcp_close,
    .caps = net_tcp_caps,
    .destroy = net_tcp_destroy,
};

/* Twice the links and the orphans: the machine forgets what ended one turn later. */
static uint32_t machine_conns_max(const struct salvo_net_conf *conf)
{
    return 2 * (conf->links_max + TCP_ORPHANS_MAX);
}

uint64_t salvo_net_tcp_memory_size(const struct salvo_net_conf *conf)
{
    struct salvo_tcp_config config;

    salvo_tcp_config_defaults(&config);
    config.conns_max = machine_conns_max(conf);
    return salvo_tcp_memory_size(&config);
}

static struct salvo_tcp_config machine_config(const struct salvo_net_conf *conf,
                                              const struct salvo_net_tcp_conf *tcp_conf)
{
    const struct salvo_device_caps *caps = &salvo_device_head(tcp_conf->device)->caps;
    struct salvo_tcp_config config = tcp_conf->tcp;

    memcpy(config.mac, caps->mac, sizeof(config.mac));
    config.mtu = caps->mtu;
    if (tcp_conf->lease != NULL && tcp_conf->lease->first.mtu != 0)
        config.mtu = SALVO_MIN(config.mtu, tcp_conf->lease->first.mtu);
    config.checksum_offload = caps->checksum;
    if (caps->checksum)
        config.tso_max = caps->references ? caps->tso_max : 0;
    else
        config.tso_max = SALVO_TCP_PACKET_PAYLOAD_MAX; /* we cut: packet_cut */
    config.conns_max = machine_conns_max(conf);
    config.connect_timeout_us = TCP_CONNECT_US_MAX;
    return config;
}

static int open_parts(struct net_tcp *n, const struct salvo_tcp_config *config)
{
    const struct salvo_net_conf *conf = &n->conf;
    size_t size = salvo_align_up(salvo_tcp_memory_size(config), SALVO_CACHE_LINE);
    void *memory = aligned_alloc(SALVO_CACHE_LINE, size);

    n->links = calloc(conf->links_max, sizeof(*n->links));
    n->buffers = calloc(conf->receive_buffers, conf->receive_buffer_size);
    n->buffers_free = calloc(conf->receive_buffers, sizeof(*n->buffers_free));
    n->holds = calloc(TCP_HOLDS_MAX, sizeof(*n->holds));
    if (memory == NULL || n->links == NULL || n->buffers == NULL || n->buffers_free == NULL ||
        n->holds == NULL) {
        free(memory);
        return salvo_raise(-ENOMEM);
    }
    for (uint32_t i = 0; i < conf->receive_buffers; i++)
        n->buffers_free[n->buffers_free_count++] = conf->receive_buffers - 1 - i;
    n->tcp = salvo_tcp_init(memory, config);
    salvo_assert((void *)n->tcp == memory);
    return 0;
}

int salvo_net_tcp_open(const struct salvo_net_conf *conf, const struct salvo_net_tcp_conf *tcp_conf,
                       struct salvo_net **ret_net)
{
    const struct salvo_device_caps *caps = &salvo_device_head(tcp_conf->device)->caps;
    struct salvo_tcp_config config = machine_config(conf, tcp_conf);
    struct net_tcp *n;
    int r;

    salvo_assert(conf->links_max != 0);
    salvo_assert(conf->receive_buffers != 0);
    salvo_assert(conf->send_max != 0);
    salvo_assert(!tcp_conf->lease_renews || tcp_conf->lease != NULL);
    salvo_assert(salvo_device_head(tcp_conf->device)->magic == SALVO_DEVICE_MAGIC);
    /* What is attached is summed and cut by the device. */
    salvo_assert(!caps->references || caps->checksum);
    r = salvo_tcp_config_check(&config);
    if (r)
        return salvo_trace(r);
    n = aligned_alloc(SALVO_CACHE_LINE, salvo_align_up(sizeof(*n), SALVO_CACHE_LINE));
    if (n == NULL)
        return salvo_raise(-ENOMEM);
    memset(n, 0, sizeof(*n));
    n->table = net_tcp_ops;
    n->head = (struct salvo_net_head){.magic = SALVO_NET_MAGIC, .ops = &n->table};
    n->conf = *conf;
    n->device = tcp_conf->device;
    n->mirror = tcp_conf->mirror;
    n->lease = tcp_conf->lease;
    n->lease_renews = tcp_conf->lease_renews;
    n->ops = salvo_device_head(n->device)->ops;
    n->table.name = n->ops->name; /* what reports call it */
    n->references = salvo_device_head(n->device)->caps.references;
    r = open_parts(n, &config);
    if (r) {
        net_tcp_free(n);
        return salvo_trace(r);
    }
    *ret_net = (struct salvo_net *)n;
    return 0;
}

const struct salvo_tcp_stats *salvo_net_tcp_stats(struct salvo_net *net)
{
    return salvo_tcp_stats(net_tcp_of(net)->tcp);
}
