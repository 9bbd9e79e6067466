/* What lies between a lane on salvo's own TCP and the simulated world: see sim.h.
 *
 *   lane, net_tcp, device | a wire that loses, doubles, reorders, spoils | model TCP, net_sim, mock
 *
 * The far end listens for everything: each SYN opens a link of net_sim to the endpoint it names, so
 * that all faults of the world happen behind it, and the model peer of the TCP simulator
 * (tcp_peer.h) carries the bytes to and fro. It acknowledges what it has, as a kernel does, whether
 * the mock reads or not; its window is its memory.
 *
 * Everything moves inside receive(), which a lane's every turn calls. */
#include "tests/sim/sim.h"

#include "dataplane/net_tcp.h"
#include "tests/sim/tcp_peer.h"
#include "tests/support/bad_link.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PATH_FLOWS_MAX  512u
#define PATH_STREAM_MAX (32u << 20) /* on a connection, each way */
#define PATH_EVENTS     32u
/* A connection whose client was lost sight of is given up, as keepalive would. */
#define PATH_IDLE_US INT64_C(120000000)

enum path_way { PATH_TO_SERVER, PATH_TO_LANE, PATH_WAYS };

/* A connection at the far end. */
struct path_flow {
    enum {
        FLOW_FREE,
        FLOW_CONNECTING, /* the world is asked; the SYN waits for its answer */
        FLOW_OPEN,
        FLOW_DEAD, /* for the client; the link has not gone yet */
    } state;
    struct wire_segment syn; /* addresses, as the lane's side writes them */
    struct tcp_peer peer;
    uint32_t link; /* SALVO_NET_LINK_NONE: gone */
    bool closed;
    uint8_t *memory; /* flags, bytes from the lane, bytes to it */
    uint32_t offered, released;
    int64_t heard_us;
};

struct sim_path {
    struct salvo_device_head head;
    struct sim *sim;
    uint32_t lane;
    struct salvo_net *net;
    struct salvo_random random;
    struct tcp_peer_config peer; /* what all its model peers are */
    struct bad_link links[PATH_WAYS];
    struct bad_link good; /* neighbours and resets: nobody would say them twice */
    struct bad_air air;
    struct path_flow flows[PATH_FLOWS_MAX];
    uint32_t flows_high; /* those behind are free */
    uint8_t *given[64];  /* frames that the lane looks at */
    unsigned given_count;
    uint8_t frame[WIRE_FRAME_MAX];
    uint32_t frame_size;
    uint64_t digest; /* of every frame */
    uint64_t connections;
};

static const uint8_t path_mac[6] = {2, 0, 0, 0, 0, 2};

static int64_t path_now_us(const struct sim_path *p)
{
    return salvo_clock_mono_ns(p->sim->clock) / SALVO_NS_PER_US;
}

static void path_carry(struct sim_path *p, struct bad_link *link, enum path_way way,
                       const uint8_t *frame, uint32_t size, uint32_t payload_size)
{
    for (uint32_t i = 0; i < size; i++)
        p->digest = (p->digest ^ frame[i]) * UINT64_C(0x100000001b3);
    if (!bad_link_carry(link, &p->air, way, frame, size, payload_size, path_now_us(p)))
        sim_fail(p->sim, "lane %u: too many frames on their way", p->lane);
}

/* A segment to the lane; `like` came from it. */
static void path_say(struct sim_path *p, struct bad_link *link, const struct wire_segment *like,
                     struct wire_segment *s)
{
    memcpy(s->source_mac, path_mac, 6);
    memcpy(s->target_mac, p->head.caps.mac, 6);
    memcpy(s->source, like->target, 16);
    memcpy(s->target, like->source, 16);
    s->source_port = like->target_port;
    s->target_port = like->source_port;
    path_carry(p, link, PATH_TO_LANE, p->frame, wire_build(p->frame, s), s->size);
}

static void path_reset(struct sim_path *p, const struct wire_segment *like, uint32_t seq,
                       uint32_t ack)
{
    struct wire_segment s = {.seq = seq, .ack = ack, .flags = WIRE_RST | WIRE_ACK, .shift = -1};

    path_say(p, &p->good, like, &s);
}

static void flow_free(struct path_flow *f)
{
    munmap(f->memory, (size_t)3 * PATH_STREAM_MAX);
    f->state = FLOW_FREE;
}

/* The client has heard or said its last word. */
static void flow_kill(struct sim_path *p, struct path_flow *f)
{
    f->state = FLOW_DEAD;
    if (f->link == SALVO_NET_LINK_NONE)
        flow_free(f);
    else if (!f->closed)
        salvo_net_close(p->net, f->link);
    f->closed = true;
}

static struct path_flow *flow_find(struct sim_path *p, const struct wire_segment *s)
{
    for (uint32_t i = 0; i < p->flows_high; i++) {
        struct path_flow *f = &p->flows[i];

        if ((f->state == FLOW_CONNECTING || f->state == FLOW_OPEN) &&
            f->syn.source_port == s->source_port && f->syn.target_port == s->target_port &&
            memcmp(f->syn.target, s->target, 4) == 0)
            return f;
    }
    return NULL;
}

static void flow_open(struct sim_path *p, const struct wire_segment *s)
{
    struct salvo_endpoint to = {.v4 = {.sin_family = AF_INET}};
    struct path_flow *f = p->flows;
    struct tcp_peer_config config = p->peer;

    while (f != p->flows + PATH_FLOWS_MAX && f->state != FLOW_FREE)
        f++;
    if (f == p->flows + PATH_FLOWS_MAX)
        return; /* the SYN comes again */
    *f = (struct path_flow){.state = FLOW_CONNECTING, .syn = *s, .heard_us = path_now_us(p)};
    f->syn.payload = NULL;
    memcpy(&to.v4.sin_addr, s->target, 4);
    to.v4.sin_port = __builtin_bswap16(s->target_port);
    if (salvo_net_connect(p->net, &to, 60 * SALVO_NS_PER_S, (uint64_t)(f - p->flows), &f->link)) {
        f->state = FLOW_FREE;
        return;
    }
    f->memory = mmap(NULL, (size_t)3 * PATH_STREAM_MAX, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    salvo_assert(f->memory != MAP_FAILED);
    config.isn = (uint32_t)salvo_random_next(&p->random);
    config.timestamp_0 = (uint32_t)salvo_random_next(&p->random);
    config.start_us = path_now_us(p);
    config.bytes_in = f->memory + PATH_STREAM_MAX;
    config.bytes_out = f->memory + 2 * (size_t)PATH_STREAM_MAX;
    tcp_peer_init(&f->peer, &config, f->memory);
    p->flows_high = SALVO_MAX(p->flows_high, (uint32_t)(f - p->flows) + 1);
    p->connections++;
}

/* What the lane sent goes on to the mock, what the mock sent to the lane. */
static void flow_turn(struct sim_path *p, struct path_flow *f)
{
    static uint8_t payload[65536];
    int64_t now_us = path_now_us(p);
    struct wire_segment s;

    if (f->state != FLOW_OPEN)
        return;
    if (f->peer.wrong != NULL) {
        sim_fail(p->sim, "lane %u, port %u: TCP %s", p->lane, f->syn.source_port, f->peer.wrong);
        f->peer.wrong = NULL;
    }
    if (tcp_peer_deadline_us(&f->peer) <= now_us)
        tcp_peer_tick(&f->peer, now_us);
    if (f->peer.next > f->offered && !f->closed) {
        struct salvo_range range = {f->peer.config.bytes_in + f->offered,
                                    f->peer.next - f->offered};

        f->offered += (uint32_t)salvo_net_send(p->net, f->link, &range, 1);
    }
    if (f->peer.fin_taken && f->released == f->peer.next && !f->closed) {
        f->closed = true;
        salvo_net_close(p->net, f->link);
    }
    while (tcp_peer_output(&f->peer, now_us, &s, payload))
        path_say(p, &p->links[PATH_TO_LANE], &f->syn, &s);
    if (f->peer.state == PEER_RESET || now_us - f->heard_us > PATH_IDLE_US ||
        (tcp_peer_done(&f->peer) && f->link == SALVO_NET_LINK_NONE))
        flow_kill(p, f);
}

/* --- the world's side ------------------------------------------------------------------------- */

static void flow_down(struct sim_path *p, struct path_flow *f, enum salvo_net_down reason)
{
    if (f->state == FLOW_CONNECTING) {
        if (reason == SALVO_NET_DOWN_REFUSED || reason == SALVO_NET_DOWN_RESET)
            path_reset(p, &f->syn, 0, f->syn.seq + 1);
        flow_kill(p, f);
    } else if (f->state == FLOW_OPEN && !f->closed) {
        f->closed = true;
        if (reason == SALVO_NET_DOWN_PEER) {
            f->peer.config.fin_at_once = true;
            return;
        }
        path_reset(p, &f->syn, f->peer.config.isn + 1 + f->peer.sent_max,
                   f->peer.irs + 1 + f->peer.next);
        flow_kill(p, f);
    }
}

static void flow_event(struct sim_path *p, const struct salvo_net_event *event)
{
    struct path_flow *f = &p->flows[event->cookie];

    switch (event->kind) {
    case SALVO_NET_UP:
        if (f->state == FLOW_CONNECTING) {
            f->state = FLOW_OPEN;
            tcp_peer_input(&f->peer, &f->syn, path_now_us(p));
        }
        break;
    case SALVO_NET_DATA:
        if (f->state == FLOW_OPEN) {
            salvo_assert(f->peer.config.send_total + event->data.size <= PATH_STREAM_MAX);
            memcpy(f->memory + 2 * (size_t)PATH_STREAM_MAX + f->peer.config.send_total,
                   event->data.bytes, event->data.size);
            f->peer.config.send_total += event->data.size;
        }
        salvo_net_give_back(p->net, event->data.buffer);
        break;
    case SALVO_NET_RELEASED:
        f->released += (uint32_t)event->released.bytes;
        if (f->state == FLOW_OPEN && event->released.bytes != 0)
            tcp_peer_read(&f->peer, (uint32_t)event->released.bytes, path_now_us(p));
        break;
    case SALVO_NET_DOWN:
        flow_down(p, f, event->down.reason);
        break;
    case SALVO_NET_GONE:
        f->link = SALVO_NET_LINK_NONE;
        if (f->state == FLOW_DEAD)
            flow_free(f);
        break;
    case SALVO_NET_ACCEPTED:
        break;
    }
}

/* --- the lane's side -------------------------------------------------------------------------- */

static void path_arrive(struct sim_path *p, const struct bad_flight *flight)
{
    struct wire_segment s;
    const char *bad;
    struct path_flow *f;

    if (wire_parse(flight->frame, flight->size, &s, &bad) != WIRE_TCP)
        return; /* spoilt on the way */
    f = flow_find(p, &s);
    if (f != NULL && (s.flags & WIRE_SYN) && s.seq != f->syn.seq) {
        flow_kill(p, f); /* the port is used again */
        f = NULL;
    }
    if (f == NULL) {
        if (s.flags & WIRE_RST)
            return;
        if (s.flags & WIRE_SYN)
            flow_open(p, &s);
        else
            path_reset(p, &s, s.ack, s.seq + s.size);
        return;
    }
    f->heard_us = path_now_us(p);
    if (f->state == FLOW_CONNECTING) {
        if (s.flags & WIRE_RST)
            flow_kill(p, f);
        return;
    }
    tcp_peer_input(&f->peer, &s, f->heard_us);
}

static struct sim_path *path_of(struct salvo_device *device)
{
    return (struct sim_path *)device;
}

static unsigned path_receive(struct salvo_device *device, struct salvo_device_frame *ret_frames,
                             unsigned frames_max)
{
    struct sim_path *p = path_of(device);
    struct salvo_net_event events[PATH_EVENTS];
    unsigned count;

    while (p->given_count != 0)
        free(p->given[--p->given_count]);
    do {
        count = salvo_net_poll(p->net, events, PATH_EVENTS);
        for (unsigned i = 0; i < count; i++)
            flow_event(p, &events[i]);
    } while (count == PATH_EVENTS);
    frames_max = SALVO_MIN(frames_max, (unsigned)SALVO_ARRAY_LENGTH(p->given));
    while (p->given_count < frames_max && bad_air_next_us(&p->air) <= path_now_us(p)) {
        struct bad_flight flight = bad_air_pop(&p->air);

        if (flight.way == PATH_TO_SERVER) {
            path_arrive(p, &flight);
            free(flight.frame);
            continue;
        }
        ret_frames[p->given_count] =
            (struct salvo_device_frame){.bytes = flight.frame, .size = flight.size};
        p->given[p->given_count++] = flight.frame;
    }
    for (uint32_t i = 0; i < p->flows_high; i++)
        flow_turn(p, &p->flows[i]);
    salvo_net_flush(p->net);
    return p->given_count;
}

static unsigned path_room(struct salvo_device *device)
{
    return path_of(device)->air.count < BAD_AIR_MAX / 4 ? 64 : 0;
}

static uint8_t *path_claim(struct salvo_device *device, uint32_t size)
{
    struct sim_path *p = path_of(device);

    salvo_assert(size <= WIRE_FRAME_MAX);
    p->frame_size = size;
    return p->frame;
}

static void path_commit(struct salvo_device *device, const struct salvo_tcp_packet *packet)
{
    struct sim_path *p = path_of(device);
    struct wire_segment s;
    const char *bad = "";
    uint8_t answer[64];

    switch (wire_parse(p->frame, p->frame_size, &s, &bad)) {
    case WIRE_TCP:
        path_carry(p, &p->links[PATH_TO_SERVER], PATH_TO_SERVER, p->frame, p->frame_size, s.size);
        break;
    case WIRE_ARP_ASK:
        path_carry(p, &p->good, PATH_TO_LANE, answer,
                   wire_arp(answer, 2, path_mac, s.target, p->head.caps.mac, s.source), 0);
        break;
    default:
        sim_fail(p->sim, "lane %u: a malformed frame: %s", p->lane, bad);
    }
}

static void path_flush(struct salvo_device *device)
{
}

static bool path_link_up(struct salvo_device *device)
{
    return true;
}

static void path_nap(struct salvo_device *device, int64_t ns)
{
    salvo_assert(ns < 0); /* nobody sleeps in virtual time */
}

static void path_wake(struct salvo_device *device)
{
}

static void path_close(struct salvo_device *device)
{
    struct sim_path *p = path_of(device);

    sim_note(p->sim,
             "lane %u: %llu connections, %llu and %llu frames, %llu and %llu lost, digest %llx",
             p->lane, (unsigned long long)p->connections,
             (unsigned long long)p->links[PATH_TO_SERVER].sent,
             (unsigned long long)p->links[PATH_TO_LANE].sent,
             (unsigned long long)p->links[PATH_TO_SERVER].lost,
             (unsigned long long)p->links[PATH_TO_LANE].lost, (unsigned long long)p->digest);
    salvo_net_destroy(p->net);
    for (uint32_t i = 0; i < p->flows_high; i++)
        if (p->flows[i].state != FLOW_FREE)
            flow_free(&p->flows[i]);
    while (p->given_count != 0)
        free(p->given[--p->given_count]);
    while (p->air.count != 0)
        free(bad_air_pop(&p->air).frame);
    p->sim->paths[p->lane] = NULL;
    free(p);
}

static const struct salvo_device_ops path_ops = {
    .name = "path",
    .receive = path_receive,
    .room = path_room,
    .claim = path_claim,
    .commit = path_commit,
    .flush = path_flush,
    .link_up = path_link_up,
    .nap = path_nap,
    .wake = path_wake,
    .close = path_close,
};

/* --- what a seed means ------------------------------------------------------------------------ */

static uint32_t path_draw(struct sim_path *p, uint32_t permille, uint32_t most)
{
    return salvo_random_chance(&p->random, permille, 1000)
               ? 1 + (uint32_t)salvo_random_below(&p->random, most)
               : 0;
}

static void path_draw_link(struct sim_path *p, struct bad_link *link)
{
    *link = (struct bad_link){
        .seed = salvo_random_next(&p->random),
        .delay_us = 10 + (int64_t)salvo_random_below(&p->random, 2000),
        .jitter_us = path_draw(p, 400, 500),
        .loss = path_draw(p, 600, 200),
        .burst = path_draw(p, 200, 10),
        .reorder = path_draw(p, 400, 300),
        .duplicate = path_draw(p, 400, 200),
        .corrupt = path_draw(p, 400, 50),
    };
}

void sim_path_open(struct sim *sim, uint32_t lane, const struct salvo_net_conf *conf,
                   struct salvo_net **ret_net)
{
    struct sim_path *p = calloc(1, sizeof(*p));
    struct salvo_net_tcp_conf tcp = {.device = (struct salvo_device *)p};
    struct salvo_net_conf far = *conf;

    salvo_assert(p != NULL);
    p->head = (struct salvo_device_head){
        .magic = SALVO_DEVICE_MAGIC, .ops = &path_ops, .caps = {.mac = {2, 0, 0, 0, 0, 1}}};
    p->sim = sim;
    p->lane = lane;
    salvo_random_init(&p->random, sim->seed * 2 + lane);
    p->head.caps.mtu = salvo_random_chance(&p->random, 1, 4) ? 9000 : 1500;
    for (unsigned way = 0; way < PATH_WAYS; way++)
        path_draw_link(p, &p->links[way]);
    p->good = (struct bad_link){.delay_us = 20};
    p->peer = (struct tcp_peer_config){
        .mss = p->head.caps.mtu - 40,
        .shift = (int)salvo_random_below(&p->random, 8) - 1,
        .sack = salvo_random_chance(&p->random, 9, 10),
        .timestamps = salvo_random_chance(&p->random, 9, 10),
        .buffer_size = 16384u << salvo_random_below(&p->random, 4),
        .ack_every = 1 + (uint32_t)salvo_random_below(&p->random, 3),
        .delayed_ack_us = 1000 + (int64_t)salvo_random_below(&p->random, 39000),
        .splits_acks = salvo_random_chance(&p->random, 1, 8),
        .random = &p->random,
        .stream_max = PATH_STREAM_MAX,
    };
    far.links_max = PATH_FLOWS_MAX;
    far.receive_buffers = 16;
    int r = salvo_net_sim_open(sim->world, SIM_HOST_LANE(lane), &far, &p->net);
    salvo_assert(r == 0);
    salvo_tcp_config_defaults(&tcp.tcp);
    tcp.tcp.address4 = salvo_ip4_address(10, 9, 8, (uint8_t)(10 + lane));
    tcp.tcp.gateway4 = salvo_ip4_address(10, 9, 8, 1);
    tcp.tcp.prefix4_bits = 24;
    memcpy(tcp.tcp.key, &sim->seed, sizeof(sim->seed));
    tcp.tcp.congestion =
        salvo_random_chance(&p->random, 1, 4) ? SALVO_TCP_NEWRENO : SALVO_TCP_CUBIC;
    tcp.tcp.pacing = salvo_random_chance(&p->random, 1, 4);
    sim->paths[lane] = p;
    r = salvo_net_tcp_open(conf, &tcp, ret_net);
    salvo_assert(r == 0);
}

int64_t sim_path_next_ns(const struct sim_path *p)
{
    int64_t next_us = bad_air_next_us(&p->air);

    for (uint32_t i = 0; i < p->flows_high; i++)
        if (p->flows[i].state == FLOW_OPEN)
            next_us = SALVO_MIN(next_us, tcp_peer_deadline_us(&p->flows[i].peer));
    return next_us == INT64_MAX ? INT64_MAX : next_us * SALVO_NS_PER_US;
}

void sim_path_heal(struct sim_path *p)
{
    for (unsigned way = 0; way < PATH_WAYS; way++)
        p->links[way].loss = p->links[way].burst = p->links[way].corrupt = 0;
}
