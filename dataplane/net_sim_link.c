/* Links of the simulated network: what send() takes, what goes on a wire, what a peer reads.
 *
 * Bytes are referred to where the caller has them until they are put on the wire, in flush or
 * later, and looked at once more when they are released: whoever touched them in between has a bug,
 * and the simulation stops there. */
#include "dataplane/net_sim_world.h"

#include "base/error.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* 2 s: a zero-copy notification can wait for an acknowledgement that was lost a few times. */
#define SIM_RELEASE_LATE_NS_MAX (2 * SALVO_NS_PER_S)
#define SIM_PIECES_MAX          4

static struct sim_net *sim_of(struct salvo_net *net)
{
    struct sim_net *sim = (struct sim_net *)net;
    salvo_assert(sim->head.magic == SALVO_NET_MAGIC);
    return sim;
}

static struct sim_link *link_of(struct sim_net *net, uint32_t index)
{
    salvo_assert(index < net->conf.links_max);
    return &net->links[index];
}

/* FNV-1a over 8-byte words, then bytes: it only has to notice a change. */
static uint64_t hash_of(const uint8_t *bytes, size_t size)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (; size >= 8; bytes += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, bytes, sizeof(word));
        hash = (hash ^ word) * UINT64_C(0x100000001b3);
        hash ^= hash >> 29;
    }
    for (; size != 0; bytes++, size--)
        hash = (hash ^ *bytes) * UINT64_C(0x100000001b3);
    return hash;
}

static void link_queue(struct sim_net *net, struct sim_link *link)
{
    if (link->queued)
        return;
    link->queued = true;
    link->pending_next = NULL;
    if (net->pending_first == NULL)
        net->pending_first = link;
    else
        net->pending_last->pending_next = link;
    net->pending_last = link;
    net->pending_count++;
}

static struct sim_link *link_take(struct sim_net *net, struct sim_wire *wire, unsigned side,
                                  uint64_t cookie)
{
    for (uint32_t i = 0; i < net->conf.links_max; i++) {
        uint32_t index = (net->links_free_hint + i) % net->conf.links_max;
        struct sim_link *link = &net->links[index];

        if (link->state != SIM_LINK_FREE || link->queued)
            continue;
        *link = (struct sim_link){.index = index, .wire = wire, .side = side, .cookie = cookie};
        wire->refs++;
        wire->side[side].net = net;
        wire->side[side].link = index;
        net->links_free_hint = index + 1;
        net->links_count++;
        return link;
    }
    return NULL;
}

static struct sim_link *wire_link(const struct sim_wire *wire, unsigned side)
{
    struct sim_net *net = wire->side[side].net;
    return net == NULL ? NULL : link_of(net, wire->side[side].link);
}

static bool sim_is_full(const struct sim_net *net)
{
    return net->links_count + net->listeners_count >= net->conf.links_max;
}

/* Gives up what the link holds; its number is free. */
static void link_free(struct sim_net *net, struct sim_link *link)
{
    struct sim_happening *happening;

    while ((happening = sim_list_pop(&link->received)) != NULL)
        sim_happening_free(net->world, happening);
    free(link->segments);
    free(link->releases);
    link->segments = NULL;
    link->releases = NULL;
    link->wire->side[link->side].net = NULL;
    sim_wire_unref(net->world, link->wire);
    link->state = SIM_LINK_FREE;
    net->links_count--;
}

/* --- bytes out -------------------------------------------------------------------------------- */

static uint64_t link_unwired(const struct sim_link *link)
{
    return link->taken - link->handed_over;
}

static size_t link_room(const struct sim_net *net, const struct sim_link *link)
{
    uint64_t window = net->world->conf.window_bytes;
    uint64_t used = link->wire->side[!link->side].in_flight + link_unwired(link);
    uint64_t most = SALVO_MIN(window, net->conf.send_max + link->wire->side[!link->side].in_flight);

    if (link->state != SIM_LINK_UP || used >= most)
        return 0;
    return (size_t)(most - used);
}

static void link_add_segment(struct sim_link *link, const uint8_t *bytes, size_t size)
{
    if (link->segments_count == link->segments_max) {
        link->segments_max = SALVO_MAX(link->segments_max * 2, (size_t)16);
        link->segments = realloc(link->segments, link->segments_max * sizeof(*link->segments));
        salvo_assert(link->segments != NULL);
    }
    link->segments[link->segments_count++] =
        (struct sim_segment){.bytes = bytes, .size = size, .hash = hash_of(bytes, size)};
}

static size_t sim_send(struct salvo_net *handle, uint32_t index, const struct salvo_range *ranges,
                       unsigned ranges_count)
{
    struct sim_net *net = sim_of(handle);
    struct sim_link *link = link_of(net, index);
    size_t room = link_room(net, link);
    size_t offered = 0;
    size_t taken = 0;

    salvo_assert(link->state != SIM_LINK_CONNECTING);
    if (link->state == SIM_LINK_FREE)
        return 0;
    for (unsigned i = 0; i < ranges_count; i++)
        offered += ranges[i].size;
    room = SALVO_MIN(room, offered);
    if (room > 1 &&
        salvo_random_chance(&net->world->random, net->world->conf.partial_permille, 1000))
        room = 1 + (size_t)salvo_random_below(&net->world->random, room);
    for (unsigned i = 0; i < ranges_count && taken < room; i++) {
        size_t size = SALVO_MIN(ranges[i].size, room - taken);

        if (size == 0)
            continue;
        link_add_segment(link, ranges[i].bytes, size);
        taken += size;
    }
    link->taken += taken;
    if (taken < offered) {
        link->wants = true;
        link_queue(net, link);
    }
    return taken;
}

static void link_note_releases(struct sim_net *net, struct sim_link *link)
{
    size_t done = 0;
    size_t gone = 0;

    while (done < link->releases_count && link->releases[done].done)
        link->releasable = link->releases[done++].until;
    link->releases_count -= done;
    if (done != 0)
        memmove(link->releases, link->releases + done,
                link->releases_count * sizeof(*link->releases));

    while (gone < link->segments_count && link->segments_start < link->releasable) {
        struct sim_segment *segment = &link->segments[gone];
        bool untouched_until_released = hash_of(segment->bytes, segment->size) == segment->hash;
        size_t part =
            (size_t)SALVO_MIN(link->releasable - link->segments_start, (uint64_t)segment->size);

        salvo_assert(untouched_until_released);
        link->segments_start += part;
        segment->bytes += part;
        segment->size -= part;
        segment->hash = hash_of(segment->bytes, segment->size);
        gone += segment->size == 0;
    }
    link->segments_count -= gone;
    if (gone != 0)
        memmove(link->segments, link->segments + gone,
                link->segments_count * sizeof(*link->segments));
    link_queue(net, link);
}

/* Bytes up to `until` are no longer needed: now, or only later. */
static void link_release(struct sim_net *net, struct sim_link *link, uint64_t until)
{
    struct salvo_random *random = &net->world->random;
    bool late = salvo_random_chance(random, net->world->conf.release_late_permille, 1000);

    if (link->releases_count == link->releases_max) {
        link->releases_max = SALVO_MAX(link->releases_max * 2, (size_t)16);
        link->releases = realloc(link->releases, link->releases_max * sizeof(*link->releases));
        salvo_assert(link->releases != NULL);
    }
    link->releases[link->releases_count++] =
        (struct sim_release){.until = until, .number = link->releases_made, .done = !late};
    if (late)
        sim_happen(net->world, link->wire, link->side, SIM_RELEASE,
                   (int64_t)salvo_random_below(random, SIM_RELEASE_LATE_NS_MAX),
                   link->releases_made, NULL, 0);
    link->releases_made++;
    link_note_releases(net, link);
}

/* Copies `size` bytes of the stream from `offset` on. */
static uint8_t *link_copy(const struct sim_link *link, uint64_t offset, size_t size)
{
    uint8_t *copy = malloc(size);
    uint64_t start = link->segments_start;
    size_t copied = 0;

    salvo_assert(copy != NULL);
    for (size_t i = 0; i < link->segments_count && copied < size; i++) {
        const struct sim_segment *segment = &link->segments[i];
        uint64_t end = start + segment->size;

        if (offset + copied < end) {
            size_t skip = (size_t)(offset + copied - start);
            size_t part = SALVO_MIN(segment->size - skip, size - copied);
            memcpy(copy + copied, segment->bytes + skip, part);
            copied += part;
        }
        start = end;
    }
    salvo_assert(copied == size);
    return copy;
}

/* Puts bytes on the wire, in pieces. */
static void link_put(struct sim_net *net, struct sim_link *link, size_t size)
{
    struct salvo_random *random = &net->world->random;
    struct sim_wire *wire = link->wire;
    unsigned to = !link->side;

    for (unsigned pieces = 1; size != 0; pieces++) {
        size_t piece = size;

        if (piece > 1 && pieces < SIM_PIECES_MAX &&
            salvo_random_chance(random, net->world->conf.cut_permille, 1000))
            piece = 1 + (size_t)salvo_random_below(random, piece - 1);
        if (!wire->side[to].lost) {
            sim_happen(net->world, wire, to, SIM_BYTES, 0, 0,
                       link_copy(link, link->handed_over, piece), piece);
            wire->side[to].in_flight += piece;
        }
        link->handed_over += piece;
        size -= piece;
    }
}

/* As link_put, but for the host whose links are to be cut. */
static void link_wire(struct sim_net *net, struct sim_link *link, size_t size)
{
    struct sim_wire *wire = link->wire;
    unsigned to = !link->side;
    struct sim_host *host = &net->world->hosts[wire->side[to].host];
    size_t before_cut = size;

    if (host->cut && !wire->side[to].lost)
        before_cut = (size_t)SALVO_MIN(host->cut_after, (uint64_t)size);
    link_put(net, link, before_cut);
    if (host->cut && !wire->side[to].lost) {
        host->cut_after -= before_cut;
        if (host->cut_after == 0) {
            host->cut = false;
            sim_log(net->world, "wire %llu: cut", (unsigned long long)wire->number);
            sim_happen(net->world, wire, to, SIM_RST, 0, 0, NULL, 0);
            sim_happen(net->world, wire, link->side, SIM_RST, 0, 0, NULL, 0);
            wire->side[to].lost = wire->side[link->side].lost = true;
        }
    }
    link_put(net, link, size - before_cut);
    link_release(net, link, link->handed_over);
}

static void sim_flush(struct salvo_net *handle)
{
    struct sim_net *net = sim_of(handle);
    struct salvo_random *random = &net->world->random;

    for (uint32_t i = 0; i < net->conf.links_max; i++) {
        struct sim_link *link = &net->links[i];
        size_t size = link->state == SIM_LINK_UP ? (size_t)link_unwired(link) : 0;

        if (size == 0 || link->holding)
            continue;
        if (size > 1 && salvo_random_chance(random, net->world->conf.partial_permille, 1000)) {
            int64_t rest_ns =
                (int64_t)salvo_random_below(random, (uint64_t)net->world->conf.latency_ns_max + 1);

            size = (size_t)salvo_random_below(random, size);
            link->holding = true;
            sim_happen(net->world, link->wire, link->side, SIM_WIRE_REST, rest_ns, 0, NULL, 0);
        }
        if (size != 0)
            link_wire(net, link, size);
    }
}

/* --- life and death --------------------------------------------------------------------------- */

static void link_die(struct sim_net *net, struct sim_link *link, enum salvo_net_down reason,
                     int code)
{
    struct sim_happening *happening;

    link->state = SIM_LINK_DYING;
    link->reason = reason;
    link->code = code;
    link->wants = false;
    while ((happening = sim_list_pop(&link->received)) != NULL)
        sim_happening_free(net->world, happening);
    if (link->taken != link->handed_over)
        link_release(net, link, link->taken);
    link_queue(net, link);
}

void sim_link_reset(struct sim_net *net, struct sim_link *link)
{
    if (link->state == SIM_LINK_UP)
        sim_happen(net->world, link->wire, !link->side, SIM_RST, 0, 0, NULL, 0);
    link->wire->side[0].lost = link->wire->side[1].lost = true;
    link_die(net, link, SALVO_NET_DOWN_RESET, ECONNRESET);
}

static int sim_connect(struct salvo_net *handle, const struct salvo_endpoint *to,
                       int64_t timeout_ns, uint64_t cookie, uint32_t *ret_link)
{
    struct sim_net *net = sim_of(handle);
    struct sim_listener *listener = sim_listener_find(net->world, to);
    struct sim_wire *wire;
    struct sim_link *link;

    salvo_assert(timeout_ns > 0);
    if (sim_is_full(net))
        return salvo_raise(-ENOSPC);
    wire = sim_wire_new(net->world);
    wire->endpoint = *to;
    wire->side[0].host = net->host;
    wire->side[1].host = listener == NULL ? UINT32_MAX : listener->net->host;
    link = link_take(net, wire, 0, cookie);
    if (link == NULL) {
        sim_wire_unref(net->world, wire);
        return salvo_raise(-ENOSPC);
    }
    link->state = SIM_LINK_CONNECTING;
    sim_happen(net->world, wire, 1, SIM_SYN, 0, 0, NULL, 0);
    sim_happen(net->world, wire, 0, SIM_CONNECT_TIMEOUT, timeout_ns, 0, NULL, 0);
    sim_wire_unref(net->world, wire); /* the link and the happenings hold it now */
    *ret_link = link->index;
    return 0;
}

static int sim_listen(struct salvo_net *handle, struct salvo_endpoint *at, uint64_t cookie)
{
    struct sim_net *net = sim_of(handle);
    in_port_t *port = at->any.sa_family == AF_INET6 ? &at->v6.sin6_port : &at->v4.sin_port;
    struct sim_listener *listener;

    if (sim_is_full(net))
        return salvo_raise(-ENOSPC);
    if (*port == 0) {
        do {
            *port = htons(net->world->port_next++);
        } while (sim_listener_find(net->world, at) != NULL);
    }
    if (sim_listener_find(net->world, at) != NULL)
        return salvo_raise(-EADDRINUSE);
    listener = calloc(1, sizeof(*listener));
    salvo_assert(listener != NULL);
    *listener = (struct sim_listener){
        .next = net->world->listeners, .net = net, .endpoint = *at, .cookie = cookie};
    net->world->listeners = listener;
    net->listeners_count++;
    return 0;
}

static void sim_accept(struct salvo_sim_world *world, struct sim_wire *wire)
{
    struct sim_listener *listener = sim_listener_find(world, &wire->endpoint);
    struct sim_link *link = NULL;

    if (listener != NULL && !world->hosts[listener->net->host].down && !sim_is_full(listener->net))
        link = link_take(listener->net, wire, 1, listener->cookie);
    if (link == NULL) {
        sim_happen(world, wire, 0, SIM_REFUSE, 0, 0, NULL, 0);
        return;
    }
    wire->side[1].host = listener->net->host;
    link->state = SIM_LINK_UP;
    link->accepted = true;
    link->announce = true;
    link_queue(listener->net, link);
    sim_happen(world, wire, 0, SIM_SYN_ACK, 0, 0, NULL, 0);
}

static void sim_answered(struct salvo_sim_world *world, struct sim_wire *wire, bool accepted)
{
    struct sim_link *link = wire_link(wire, 0);

    if (link == NULL || link->state != SIM_LINK_CONNECTING) {
        if (accepted)
            sim_happen(world, wire, 1, SIM_RST, 0, 0, NULL, 0);
        return;
    }
    if (!accepted) {
        link_die(wire->side[0].net, link, SALVO_NET_DOWN_REFUSED, ECONNREFUSED);
        return;
    }
    link->state = SIM_LINK_UP;
    link->announce = true;
    link_queue(wire->side[0].net, link);
}

/* True when the receiver keeps the happening. */
static bool sim_receive(struct sim_happening *happening)
{
    struct sim_wire *wire = happening->wire;
    struct sim_link *link = wire_link(wire, happening->side);

    if (link == NULL || link->state != SIM_LINK_UP) {
        wire->side[happening->side].in_flight -= happening->size;
        return false;
    }
    if (happening->kind == SIM_RST)
        wire->side[0].lost = wire->side[1].lost = true;
    sim_list_push(&link->received, happening);
    link_queue(wire->side[happening->side].net, link);
    return true;
}

static void sim_release_due(struct sim_net *net, struct sim_link *link, uint64_t number)
{
    for (size_t i = 0; i < link->releases_count; i++) {
        if (link->releases[i].number == number)
            link->releases[i].done = true;
    }
    link_note_releases(net, link);
}

void sim_arrive(struct salvo_sim_world *world, struct sim_happening *happening)
{
    struct sim_wire *wire = happening->wire;
    struct sim_link *link = wire_link(wire, happening->side);
    struct sim_net *net = wire->side[happening->side].net;

    switch (happening->kind) {
    case SIM_SYN:
        sim_accept(world, wire);
        break;
    case SIM_SYN_ACK:
    case SIM_REFUSE:
        sim_answered(world, wire, happening->kind == SIM_SYN_ACK);
        break;
    case SIM_BYTES:
    case SIM_FIN:
    case SIM_RST:
        if (sim_receive(happening))
            return;
        break;
    case SIM_CONNECT_TIMEOUT:
        if (link != NULL && link->state == SIM_LINK_CONNECTING)
            link_die(net, link, SALVO_NET_DOWN_TIMEOUT, ETIMEDOUT);
        break;
    case SIM_WIRE_REST:
        if (link == NULL)
            break;
        link->holding = false;
        if (link->state == SIM_LINK_UP && link_unwired(link) != 0)
            link_wire(net, link, (size_t)link_unwired(link));
        break;
    case SIM_RELEASE:
        if (link != NULL)
            sim_release_due(net, link, happening->number);
        break;
    }
    sim_happening_free(world, happening);
}

static void sim_close(struct salvo_net *handle, uint32_t index)
{
    struct sim_net *net = sim_of(handle);
    struct sim_link *link = link_of(net, index);

    if (link->state == SIM_LINK_FREE || link->state >= SIM_LINK_DYING)
        return;
    link->announce = false;
    if (link->state == SIM_LINK_UP)
        sim_happen(net->world, link->wire, !link->side, SIM_FIN, 0, 0, NULL, 0);
    link_die(net, link, SALVO_NET_DOWN_CLOSED, 0);
}

/* --- what the owner sees ---------------------------------------------------------------------- */

/* The peer has read: who waits for the window hears of it. */
static void link_read_some(struct sim_link *link, size_t size)
{
    struct sim_wire *wire = link->wire;
    struct sim_link *writer = wire_link(wire, !link->side);

    salvo_assert(wire->side[link->side].in_flight >= size);
    wire->side[link->side].in_flight -= size;
    if (writer != NULL && writer->wants)
        link_queue(wire->side[!link->side].net, writer);
}

/* The next bytes, or the end of them. True when there is an event. */
static bool link_receive(struct sim_net *net, struct sim_link *link,
                         struct salvo_net_event *ret_event)
{
    struct sim_happening *first = link->received.first;
    uint32_t buffer;
    uint8_t *bytes;
    size_t size;

    if (first->kind != SIM_BYTES) {
        bool reset = first->kind == SIM_RST;
        link_die(net, link, reset ? SALVO_NET_DOWN_RESET : SALVO_NET_DOWN_PEER,
                 reset ? ECONNRESET : 0);
        return false;
    }
    if (net->buffers_free_count == 0)
        return false;
    buffer = net->buffers_free[--net->buffers_free_count];
    bytes = net->buffers + (size_t)buffer * net->conf.receive_buffer_size;
    size = SALVO_MIN(first->size - first->read, (size_t)net->conf.receive_buffer_size);
    memcpy(bytes, first->bytes + first->read, size);
    first->read += size;
    if (first->read == first->size)
        sim_happening_free(net->world, sim_list_pop(&link->received));
    ret_event->kind = SALVO_NET_DATA;
    ret_event->data.bytes = bytes;
    ret_event->data.size = (uint32_t)size;
    ret_event->data.buffer = buffer;
    link_read_some(link, size);
    return true;
}

static bool link_report(struct sim_net *net, struct sim_link *link,
                        struct salvo_net_event *ret_event)
{
    *ret_event = (struct salvo_net_event){.link = link->index, .cookie = link->cookie};
    if (link->announce) {
        link->announce = false;
        ret_event->kind = link->accepted ? SALVO_NET_ACCEPTED : SALVO_NET_UP;
        return true;
    }
    if (link->state == SIM_LINK_DYING) {
        link->state = SIM_LINK_DOWN;
        ret_event->kind = SALVO_NET_DOWN;
        ret_event->down.reason = link->reason;
        ret_event->down.code = link->code;
        ret_event->down.handed_over = link->handed_over;
        return true;
    }
    if (link->releasable != link->released || (link->wants && link_room(net, link) != 0)) {
        ret_event->kind = SALVO_NET_RELEASED;
        ret_event->released.bytes = link->releasable - link->released;
        link->released = link->releasable;
        link->wants = link->wants && link_room(net, link) == 0;
        return true;
    }
    if (link->state == SIM_LINK_DOWN && link->released == link->taken) {
        ret_event->kind = SALVO_NET_GONE;
        return true;
    }
    if (link->state == SIM_LINK_UP && link->received.first != NULL)
        return link_receive(net, link, ret_event);
    return false;
}

static void sim_log_event(struct sim_net *net, const struct salvo_net_event *event)
{
    static const char *const names[] = {"up", "accepted", "data", "released", "down", "gone"};
    unsigned long long number = 0;

    if (event->kind == SALVO_NET_DATA)
        number = event->data.size;
    else if (event->kind == SALVO_NET_RELEASED)
        number = event->released.bytes;
    else if (event->kind == SALVO_NET_DOWN)
        number = event->down.handed_over;
    sim_log(net->world, "host %u link %u: %s %llu%s%s", net->host, event->link, names[event->kind],
            number, event->kind == SALVO_NET_DOWN ? " " : "",
            event->kind == SALVO_NET_DOWN ? salvo_net_down_text(event->down.reason) : "");
}

static unsigned sim_poll(struct salvo_net *handle, struct salvo_net_event *ret_events,
                         unsigned events_max)
{
    struct sim_net *net = sim_of(handle);
    unsigned count = 0;

    while (net->pending_first != NULL && count < events_max) {
        struct sim_link *link = net->pending_first;
        bool dying = link->state == SIM_LINK_DYING;

        if (link->state != SIM_LINK_FREE && link_report(net, link, &ret_events[count])) {
            sim_log_event(net, &ret_events[count]);
            if (ret_events[count].kind == SALVO_NET_ACCEPTED)
                return count + 1; /* what comes next is to carry the cookie it gets now */
            if (ret_events[count++].kind != SALVO_NET_GONE)
                continue;
            link_free(net, link);
        } else if (!dying && link->state == SIM_LINK_DYING) {
            continue; /* it has just read its end */
        }
        net->pending_first = link->pending_next;
        link->queued = false;
        net->pending_count--;
    }
    return count;
}

static void sim_give_back(struct salvo_net *handle, uint32_t buffer)
{
    struct sim_net *net = sim_of(handle);

    salvo_assert(buffer < net->conf.receive_buffers);
    salvo_assert(net->buffers_free_count < net->conf.receive_buffers);
    net->buffers_free[net->buffers_free_count++] = buffer;
    for (uint32_t i = 0; net->buffers_free_count == 1 && i < net->conf.links_max; i++) {
        if (net->links[i].state == SIM_LINK_UP && net->links[i].received.first != NULL)
            link_queue(net, &net->links[i]);
    }
}

/* Virtual time passes while somebody sleeps: what happens until the wait is over happens now. */
static void sim_wait(struct salvo_net *handle, unsigned events_min, int64_t gather_ns,
                     int64_t timeout_ns)
{
    struct sim_net *net = sim_of(handle);
    int64_t now_ns = sim_now_ns(net->world);
    int64_t timeout_at_ns = timeout_ns < INT64_MAX - now_ns ? now_ns + timeout_ns : INT64_MAX;
    int64_t gather_at_ns = gather_ns < INT64_MAX - now_ns ? now_ns + gather_ns : INT64_MAX;

    sim_flush(handle);
    for (;;) {
        int64_t end_ns =
            net->pending_count != 0 ? SALVO_MIN(gather_at_ns, timeout_at_ns) : timeout_at_ns;
        int64_t next_ns = salvo_sim_world_next_ns(net->world);

        if (net->woken || net->pending_count >= events_min || sim_now_ns(net->world) >= end_ns)
            break;
        if (next_ns > end_ns) {
            if (end_ns != INT64_MAX)
                salvo_sim_world_advance(net->world, end_ns);
            break; /* or nothing will ever happen */
        }
        salvo_sim_world_advance(net->world, next_ns);
    }
    net->woken = false;
}

static void sim_wake(struct salvo_net *handle)
{
    sim_of(handle)->woken = true;
}

static void sim_set_cookie(struct salvo_net *handle, uint32_t index, uint64_t cookie)
{
    struct sim_link *link = link_of(sim_of(handle), index);

    salvo_assert(link->state != SIM_LINK_FREE);
    link->cookie = cookie;
}

static uint32_t sim_caps(struct salvo_net *handle)
{
    return SALVO_NET_CAP_VIRTUAL_TIME | SALVO_NET_CAP_GATHER_WAIT;
}

static void sim_destroy(struct salvo_net *handle)
{
    struct sim_net *net = sim_of(handle);
    struct salvo_sim_world *world = net->world;

    sim_log(world, "host %u: net destroyed", net->host);
    for (uint32_t i = 0; i < net->conf.links_max; i++) {
        struct sim_link *link = &net->links[i];

        if (link->state == SIM_LINK_FREE)
            continue;
        if (link->state < SIM_LINK_DYING)
            sim_close(handle, i);
        for (size_t k = 0; k < link->releases_count; k++)
            link->releases[k].done = true;
        link_note_releases(net, link); /* looks at the bytes once more */
        link_free(net, link);
    }
    for (struct sim_listener **at = &world->listeners; *at != NULL;) {
        struct sim_listener *listener = *at;

        if (listener->net == net) {
            *at = listener->next;
            free(listener);
        } else {
            at = &listener->next;
        }
    }
    for (struct sim_net **at = &world->nets; *at != NULL;) {
        if (*at == net)
            *at = net->next;
        else
            at = &(*at)->next;
    }
    free(net->links);
    free(net->buffers);
    free(net->buffers_free);
    net->head.magic = 0;
    free(net);
}

const struct salvo_net_ops sim_ops = {
    .name = "sim",
    .connect = sim_connect,
    .listen = sim_listen,
    .set_cookie = sim_set_cookie,
    .send = sim_send,
    .give_back = sim_give_back,
    .poll = sim_poll,
    .flush = sim_flush,
    .wait = sim_wait,
    .wake = sim_wake,
    .close = sim_close,
    .caps = sim_caps,
    .destroy = sim_destroy,
};
