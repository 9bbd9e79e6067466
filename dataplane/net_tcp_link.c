/* Links of net_tcp: how they end, and what they have to say, in the order of net.h. */
#include "dataplane/net_tcp_internal.h"

#include <string.h>

/* 2 s: a closed link whose last bytes nobody acknowledges is reset then. */
#define TCP_LINGER_NS (2 * SALVO_NS_PER_S)

void net_tcp_link_queue(struct net_tcp *n, struct tcp_link *link)
{
    if (link->queued)
        return;
    link->queued = true;
    link->pending_next = NULL;
    if (n->pending_first == NULL)
        n->pending_first = link;
    else
        n->pending_last->pending_next = link;
    n->pending_last = link;
}

void net_tcp_link_deadline(struct net_tcp *n, struct tcp_link *link, int64_t in_ns)
{
    int64_t now_ns = salvo_clock_mono_ns(n->conf.clock);

    link->deadline_ns = in_ns < INT64_MAX - now_ns ? now_ns + in_ns : INT64_MAX;
    n->deadlines_count++;
}

void net_tcp_link_deadline_end(struct net_tcp *n, struct tcp_link *link)
{
    n->deadlines_count -= link->deadline_ns != 0;
    link->deadline_ns = 0;
}

uint64_t net_tcp_link_unsent(const struct net_tcp *n, const struct tcp_link *link)
{
    struct salvo_tcp_info info;

    return salvo_tcp_conn_info(n->tcp, link->conn, &info) ? info.bytes_unsent : 0;
}

static uint64_t link_handed_over(const struct net_tcp *n, const struct tcp_link *link)
{
    struct salvo_tcp_info info;
    bool known = salvo_tcp_conn_info(n->tcp, link->conn, &info);

    salvo_assert(known); /* its DOWN was not taken yet */
    return info.bytes_handed_over;
}

/* The end of a link, whoever wanted it: says FIN, or RST when there are bytes that must not go out
 * behind the DOWN that counts them. */
void net_tcp_link_die(struct net_tcp *n, struct tcp_link *link, enum salvo_net_down reason,
                      int code)
{
    bool connecting = link->state == TCP_LINK_CONNECTING;

    salvo_assert(connecting || link->state == TCP_LINK_UP);
    net_tcp_link_deadline_end(n, link);
    n->unread_count -= link->unread;
    link->unread = false;
    n->wants_count -= link->wants;
    link->wants = false;
    link->reason = reason;
    link->code = code;
    link->state = TCP_LINK_DYING;
    net_tcp_link_queue(n, link);
    if (link->ended)
        return;
    /* Not what waits to be sent: after a rewind that has been on the wire already. */
    link->handed_over = link_handed_over(n, link);
    salvo_assert(link->handed_over <= link->taken);
    if (connecting || link->handed_over != link->taken) {
        salvo_tcp_abort(n->tcp, link->conn, net_tcp_now_us(n));
    } else {
        salvo_tcp_close(n->tcp, link->conn, net_tcp_now_us(n));
        net_tcp_link_deadline(n, link, TCP_LINGER_NS);
    }
}

/* The connection outlives its link. */
static void orphan_keep(struct net_tcp *n, uint64_t conn)
{
    uint64_t *place = &n->orphans[n->orphans_next++ % TCP_ORPHANS_MAX];

    salvo_tcp_abort(n->tcp, *place, net_tcp_now_us(n)); /* nothing, when it has ended long ago */
    *place = conn;
}

static void link_free(struct net_tcp *n, struct tcp_link *link)
{
    net_tcp_link_deadline_end(n, link);
    if (!link->ended)
        orphan_keep(n, link->conn);
    link->state = TCP_LINK_FREE;
}

/* A refused offer may be made again when half of send_max is free. */
bool net_tcp_link_may_offer(const struct net_tcp *n, const struct tcp_link *link)
{
    return link->state == TCP_LINK_UP && link->wants && !link->starved && !link->ended &&
           net_tcp_link_unsent(n, link) <= n->conf.send_max / 2;
}

/* The next bytes, copied into a buffer. False when there are none. */
static bool link_receive(struct net_tcp *n, struct tcp_link *link,
                         struct salvo_net_event *ret_event)
{
    struct salvo_tcp_range ranges[2];
    unsigned count = salvo_tcp_readable(n->tcp, link->conn, ranges);

    if (count == 0) {
        link->readable = false;
        return false;
    }
    uint32_t buffer = n->buffers_free[--n->buffers_free_count];
    uint8_t *bytes = n->buffers + (size_t)buffer * n->conf.receive_buffer_size;
    size_t size = 0;

    for (unsigned i = 0; i < count; i++) {
        size_t part = SALVO_MIN(ranges[i].size, n->conf.receive_buffer_size - size);

        memcpy(bytes + size, ranges[i].bytes, part);
        size += part;
    }
    salvo_tcp_consume(n->tcp, link->conn, size, net_tcp_now_us(n));
    ret_event->kind = SALVO_NET_DATA;
    ret_event->data.bytes = bytes;
    ret_event->data.size = (uint32_t)size;
    ret_event->data.buffer = buffer;
    return true;
}

/* Bytes, or the end behind them. */
static bool link_report_up(struct net_tcp *n, struct tcp_link *link,
                           struct salvo_net_event *ret_event)
{
    if (link->readable) {
        if (n->buffers_free_count == 0)
            return false;
        if (link_receive(n, link, ret_event))
            return true;
    }
    if (link->ended)
        net_tcp_link_die(n, link, link->reason, link->code);
    else if (link->peer_closed)
        net_tcp_link_die(n, link, SALVO_NET_DOWN_PEER, 0);
    return false;
}

/* The next thing a link has to say. False when there is nothing (now). */
static bool link_report(struct net_tcp *n, struct tcp_link *link, struct salvo_net_event *ret_event)
{
    *ret_event = (struct salvo_net_event){.link = link->index, .cookie = link->cookie};
    if (link->announce) {
        link->announce = false;
        ret_event->kind = SALVO_NET_UP;
        return true;
    }
    if (link->state == TCP_LINK_DYING) {
        link->state = TCP_LINK_DOWN;
        ret_event->kind = SALVO_NET_DOWN;
        ret_event->down.reason = link->closed ? SALVO_NET_DOWN_CLOSED : link->reason;
        ret_event->down.code = link->code;
        ret_event->down.handed_over = link->handed_over;
        return true;
    }
    if (link->releasable != link->released || net_tcp_link_may_offer(n, link)) {
        ret_event->kind = SALVO_NET_RELEASED;
        ret_event->released.bytes = link->releasable - link->released;
        link->released = link->releasable;
        n->wants_count -= link->wants;
        link->wants = false;
        return true;
    }
    if (link->state == TCP_LINK_DOWN && link->released == link->taken) {
        ret_event->kind = SALVO_NET_GONE;
        return true;
    }
    return link->state == TCP_LINK_UP && link_report_up(n, link, ret_event);
}

/* Whether a link has something to say: one that only waits for buffers or ACKs has not. */
static bool link_speaks(const struct net_tcp *n, const struct tcp_link *link)
{
    switch (link->state) {
    case TCP_LINK_UP:
        return link->announce || link->releasable != link->released ||
               net_tcp_link_may_offer(n, link) || (n->buffers_free_count != 0 && link->readable) ||
               (!link->readable && (link->peer_closed || link->ended));
    case TCP_LINK_DYING:
        return true;
    case TCP_LINK_DOWN:
        return link->releasable != link->released || link->released == link->taken;
    default:
        return false;
    }
}

unsigned net_tcp_pending_count(const struct net_tcp *n)
{
    unsigned count = 0;

    for (const struct tcp_link *link = n->pending_first; link != NULL; link = link->pending_next)
        count += link_speaks(n, link);
    return count;
}

/* Takes one event from the oldest pending link, and puts one that may have more behind the others.
 */
bool net_tcp_report(struct net_tcp *n, struct salvo_net_event *ret_event)
{
    struct tcp_link *link = n->pending_first;
    bool reported;

    n->pending_first = link->pending_next;
    link->queued = false;
    reported = link_report(n, link, ret_event);
    if (reported && ret_event->kind == SALVO_NET_GONE)
        link_free(n, link);
    else if (reported || link->state == TCP_LINK_DYING ||
             (link->state == TCP_LINK_UP && link->readable))
        net_tcp_link_queue(n, link);
    return reported;
}
