/* The links under control's requests: connect, send, gather frames, end. See rpc.h and net.h. */
#include "control/rpc_link.h"

#include "base/assert.h"
#include "base/error.h"
#include "control/resolve.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define RPC_EVENTS_PER_TURN 64
#define RPC_RANGES_PER_SEND 16
#define RPC_IN_ROOM_FIRST   4096

static struct rpc_link *link_at(struct salvo_rpc *rpc, uint32_t link)
{
    salvo_assert(link < rpc->links_max);
    return &rpc->links[link];
}

int rpc_link_for(struct salvo_rpc *rpc, uint32_t peer, uint32_t *ret_link)
{
    struct rpc_peer *to = &rpc->peers[peer];
    uint32_t index;
    int r;

    if (to->link != RPC_LINK_NONE) {
        *ret_link = to->link;
        return 0;
    }
    for (index = 0; index < rpc->links_max; index++)
        if (rpc->links[index].state == RPC_LINK_FREE)
            break;
    if (index == rpc->links_max)
        return -EAGAIN;
    rpc->links[index] = (struct rpc_link){
        .state = RPC_LINK_CONNECTING,
        .peer = peer,
        .origin = peer,
        .user = to->user,
        .received_ns = INT64_MIN,
    };
    r = salvo_net_connect(rpc->conf.net, &to->endpoint, rpc->conf.connect_timeout_ns, index,
                          &rpc->links[index].net_link);
    if (r) {
        rpc->links[index].state = RPC_LINK_FREE;
        return salvo_trace(r);
    }
    to->link = index;
    *ret_link = index;
    return 0;
}

static void link_offer(struct salvo_rpc *rpc, struct rpc_link *link)
{
    while (link->unsent != NULL) {
        struct salvo_range ranges[RPC_RANGES_PER_SEND];
        unsigned count = 0;
        size_t offered = 0, taken, skip = link->unsent_taken;

        for (struct rpc_frame *f = link->unsent; f != NULL && count < RPC_RANGES_PER_SEND;
             f = f->next) {
            ranges[count++] = (struct salvo_range){f->bytes + skip, f->size - skip};
            offered += f->size - skip;
            skip = 0;
        }
        taken = salvo_net_send(rpc->conf.net, link->net_link, ranges, count);
        salvo_assert(taken <= offered);
        offered -= taken;
        while (link->unsent != NULL && taken >= link->unsent->size - link->unsent_taken) {
            taken -= link->unsent->size - link->unsent_taken;
            link->unsent = link->unsent->next;
            link->unsent_taken = 0;
        }
        link->unsent_taken += taken;
        if (offered != 0)
            return; /* RELEASED says when to offer again */
    }
}

void rpc_link_send(struct salvo_rpc *rpc, uint32_t index, struct rpc_frame *frame)
{
    struct rpc_link *link = link_at(rpc, index);

    salvo_assert(link->state == RPC_LINK_CONNECTING || link->state == RPC_LINK_UP);
    frame->users++;
    frame->next = NULL;
    if (link->last != NULL)
        link->last->next = frame;
    else
        link->first = frame;
    link->last = frame;
    if (link->unsent == NULL)
        link->unsent = frame;
    if (link->state == RPC_LINK_UP)
        link_offer(rpc, link);
}

/* Frames wholly released are nobody's but their requests' any more. */
static void link_released(struct rpc_link *link, uint64_t bytes)
{
    link->released += bytes;
    while (link->first != NULL && link->first != link->unsent &&
           link->released >= link->first->size) {
        struct rpc_frame *frame = link->first;

        link->released -= frame->size;
        link->first = frame->next;
        if (link->first == NULL)
            link->last = NULL;
        rpc_frame_put(frame);
    }
}

void rpc_link_free_memory(struct rpc_link *link)
{
    while (link->first != NULL) {
        struct rpc_frame *frame = link->first;

        link->first = frame->next;
        rpc_frame_put(frame);
    }
    free(link->in);
    *link = (struct rpc_link){.state = RPC_LINK_FREE};
}

/* No new requests; what is open fails. The net's DOWN and GONE may still be to come. */
static void link_detach(struct salvo_rpc *rpc, uint32_t index, int result, bool connected,
                        const char *why, int64_t now_ns)
{
    struct rpc_link *link = link_at(rpc, index);

    if (link->peer != SALVO_RPC_PEER_NONE && rpc->peers[link->peer].link == index)
        rpc->peers[link->peer].link = RPC_LINK_NONE;
    link->peer = SALVO_RPC_PEER_NONE;
    link->state = RPC_LINK_ENDING;
    rpc_requests_fail(rpc, index, result, connected, why, now_ns);
}

void rpc_link_end(struct salvo_rpc *rpc, uint32_t index, int result, const char *why,
                  int64_t now_ns)
{
    struct rpc_link *link = link_at(rpc, index);
    bool connected = link->state == RPC_LINK_UP;

    salvo_assert(link->state == RPC_LINK_CONNECTING || link->state == RPC_LINK_UP);
    salvo_net_close(rpc->conf.net, link->net_link);
    link_detach(rpc, index, result, connected, why, now_ns);
}

static int link_gather(struct rpc_link *link, const uint8_t *bytes, size_t size)
{
    size_t need = link->in_size + size;

    if (need > link->in_room) {
        size_t room = (size_t)salvo_power_of_two_up(SALVO_MAX(need, (size_t)RPC_IN_ROOM_FIRST));
        uint8_t *in = realloc(link->in, room);

        if (in == NULL)
            return -ENOMEM;
        link->in = in;
        link->in_room = room;
    }
    memcpy(link->in + link->in_size, bytes, size);
    link->in_size = need;
    return 0;
}

static int link_header_read(struct salvo_rpc *rpc, const struct salvo_frame *frame,
                            struct salvo_header *ret_header)
{
    if (frame->header_size > rpc->scratch_size) {
        uint8_t *scratch = realloc(rpc->scratch, frame->header_size);

        if (scratch == NULL)
            return -ENOMEM;
        rpc->scratch = scratch;
        rpc->scratch_size = frame->header_size;
    }
    return salvo_header_read(ret_header, frame->form, frame->header, frame->header_size,
                             rpc->scratch, rpc->scratch_size);
}

/* Says what a peer that does not speak RocketMQ is, where that can be told. */
static const char *bad_frame_why(const struct rpc_link *link, const char *why)
{
    if (link->in_size >= 5 && memcmp(link->in, "HTTP/", 5) == 0)
        return "it answers HTTP: not a RocketMQ port";
    if (link->in_size >= 4 && memcmp(link->in, "SSH-", 4) == 0)
        return "it answers SSH: not a RocketMQ port";
    if (link->in_size >= 2 && (link->in[0] == 0x15 || link->in[0] == 0x16) && link->in[1] == 0x03)
        return "it answers TLS, which is not built yet";
    return why;
}

static void link_bad(struct salvo_rpc *rpc, uint32_t index, const char *why, int64_t now_ns)
{
    struct rpc_link *link = link_at(rpc, index);
    char name[64] = "a broker or nameserver";

    if (link->peer != SALVO_RPC_PEER_NONE)
        salvo_endpoint_print(&rpc->peers[link->peer].endpoint, name, sizeof(name));
    salvo_report_error(rpc->conf.report, "control: bad frame", -EBADMSG,
                       "%s: %s; connection closed", name, why);
    rpc_link_end(rpc, index, -EBADMSG, why, now_ns);
}

/* Takes whole frames off the front. A frame's handler may end this link: its memory stays until
 * GONE. */
static void link_frames(struct salvo_rpc *rpc, uint32_t index, int64_t now_ns)
{
    struct rpc_link *link = link_at(rpc, index);
    size_t at = 0;

    while (link->state == RPC_LINK_UP) {
        struct salvo_frame frame;
        struct salvo_header header;
        const char *why = "malformed header";
        int r = salvo_frame_parse(link->in + at, link->in_size - at, SALVO_FRAME_SIZE_MAX, &frame,
                                  &why);

        if (r == SALVO_FRAME_MORE)
            break;
        if (r == 0)
            r = link_header_read(rpc, &frame, &header);
        if (r) {
            memmove(link->in, link->in + at, link->in_size - at);
            link->in_size -= at;
            link_bad(rpc, index, bad_frame_why(link, why), now_ns);
            return;
        }
        at += frame.size;
        rpc_frame_came(rpc, index, &frame, &header, now_ns);
    }
    memmove(link->in, link->in + at, link->in_size - at);
    link->in_size -= at;
    if (link->in_size == 0 &&
        link->in_room > SALVO_KIB(64)) { /* a large answer was read: let it go */
        free(link->in);
        link->in = NULL;
        link->in_room = 0;
    }
}

static void link_data(struct salvo_rpc *rpc, uint32_t index, const struct salvo_net_event *event,
                      int64_t now_ns)
{
    struct rpc_link *link = link_at(rpc, index);

    if (link->state == RPC_LINK_UP) {
        link->received_ns = now_ns;
        if (link_gather(link, event->data.bytes, event->data.size))
            rpc_link_end(rpc, index, -ENOMEM, "no memory for its answer, " SALVO_RAISE_MEMORY,
                         now_ns);
        else
            link_frames(rpc, index, now_ns);
    }
    salvo_net_give_back(rpc->conf.net, event->data.buffer);
}

static int down_errno(const struct salvo_net_event *event)
{
    switch (event->down.reason) {
    case SALVO_NET_DOWN_REFUSED:
        return -ECONNREFUSED;
    case SALVO_NET_DOWN_TIMEOUT:
        return -ETIMEDOUT;
    case SALVO_NET_DOWN_UNREACHABLE:
        return -EHOSTUNREACH;
    default:
        return -ECONNRESET;
    }
}

static void link_down(struct salvo_rpc *rpc, uint32_t index, const struct salvo_net_event *event,
                      int64_t now_ns)
{
    struct rpc_link *link = link_at(rpc, index);
    bool connected = link->state == RPC_LINK_UP;
    bool current = link->peer != SALVO_RPC_PEER_NONE;
    uint64_t user = link->user;

    if (link->state == RPC_LINK_ENDING)
        return;
    link_detach(rpc, index, down_errno(event), connected, salvo_net_down_text(event->down.reason),
                now_ns);
    if (connected && current && rpc->conf.link_changed != NULL)
        rpc->conf.link_changed(rpc->conf.arg, user, false, now_ns);
}

static void link_event(struct salvo_rpc *rpc, const struct salvo_net_event *event, int64_t now_ns)
{
    uint32_t index = (uint32_t)event->cookie;
    struct rpc_link *link = link_at(rpc, index);

    salvo_assert(link->state != RPC_LINK_FREE);
    switch (event->kind) {
    case SALVO_NET_UP:
        if (link->state != RPC_LINK_CONNECTING)
            return;
        link->state = RPC_LINK_UP;
        link_offer(rpc, link);
        if (rpc->conf.link_changed != NULL)
            rpc->conf.link_changed(rpc->conf.arg, link->user, true, now_ns);
        return;
    case SALVO_NET_DATA:
        link_data(rpc, index, event, now_ns);
        return;
    case SALVO_NET_RELEASED:
        link_released(link, event->released.bytes);
        if (link->state == RPC_LINK_UP)
            link_offer(rpc, link);
        return;
    case SALVO_NET_DOWN:
        link_down(rpc, index, event, now_ns);
        return;
    case SALVO_NET_GONE:
        salvo_assert(link->state == RPC_LINK_ENDING);
        rpc_link_free_memory(link);
        return;
    case SALVO_NET_ACCEPTED:
        break;
    }
    salvo_unreachable(); /* control does not listen */
}

int rpc_links_poll(struct salvo_rpc *rpc, int64_t now_ns)
{
    struct salvo_net_event event;
    int count = 0;

    /* One at a time: an answer may send the next request on a link whose DOWN and GONE are already
     * behind it, and with GONE given out the net knows the link no more. */
    while (count < RPC_EVENTS_PER_TURN && salvo_net_poll(rpc->conf.net, &event, 1) == 1) {
        link_event(rpc, &event, now_ns);
        count++;
    }
    return count;
}
