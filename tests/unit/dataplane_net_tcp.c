/* dataplane/net_tcp: what the suite of dataplane_net.c cannot bring about, over a device in this
 * process with a peer that acknowledges everything: references that outlive their ACKs, a link that
 * is down, answers that meet a reset, time that only naps move. */
#include "tests/packet/wire.h"
#include "tests/unit/unit.h"

#include "dataplane/net_tcp.h"

#include <arpa/inet.h>
#include <errno.h>

#define FRAMES_MAX 64
#define EVENTS_MAX 32

static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 2};

/* The device, and the other end of it. */
struct wire_device {
    struct salvo_device_head head;
    struct salvo_clock_manual clock;
    bool down;
    bool closed;
    unsigned naps;

    uint8_t frames[FRAMES_MAX][2048]; /* to salvo; those below `given` have been received */
    uint32_t sizes[FRAMES_MAX];
    unsigned given, count;

    uint8_t out[WIRE_FRAME_MAX];
    uint32_t out_size;
    unsigned room; /* at most, in a turn; 0: as many as there are places for answers */
    unsigned committed;
    uint64_t attached, completed;
    bool holds; /* completes nothing */

    /* the peer */
    unsigned dhcp_lease_s; /* 0: no DHCP server */
    bool dhcp_refuses;     /* what it has offered */
    bool mute;             /* acknowledges nothing */
    uint32_t next, seq;
    uint64_t received;
    bool fin_seen, reset_seen;
    struct wire_segment last; /* addresses and ports as salvo sees them */
};

static struct wire_device device;

static struct wire_device *device_of(struct salvo_device *d)
{
    return (struct wire_device *)d;
}

static void to_salvo(struct wire_device *d, const uint8_t *frame, uint32_t size)
{
    assert_true(d->count < FRAMES_MAX);
    memcpy(d->frames[d->count], frame, size);
    d->sizes[d->count++] = size;
}

static void peer_says(struct wire_device *d, uint8_t flags, const uint8_t *payload, uint32_t size)
{
    uint8_t frame[2048];
    struct wire_segment s = {.source_port = d->last.target_port,
                             .target_port = d->last.source_port,
                             .seq = d->seq,
                             .ack = d->next,
                             .flags = flags,
                             .window = 65535,
                             .mss = flags & WIRE_SYN ? 1000 : 0,
                             .shift = -1,
                             .payload = payload,
                             .size = size};

    memcpy(s.source_mac, peer_mac, 6);
    memcpy(s.target_mac, d->head.caps.mac, 6);
    memcpy(s.source, d->last.target, 4);
    memcpy(s.target, d->last.source, 4);
    to_salvo(d, frame, wire_build(frame, &s));
    d->seq += size + ((flags & (WIRE_SYN | WIRE_FIN)) != 0);
}

/* A DHCP server that grants 10.0.0.1/24 to whoever asks. */
static void server_takes(struct wire_device *d, const uint8_t *frame)
{
    uint8_t f[14 + 20 + 8 + 300] = {0};
    uint8_t *ip = f + 14, *m = f + 42;
    uint32_t sum = 0;
    /* DISCOVER gets OFFER, REQUEST gets ACK */
    uint8_t options[] = {99,
                         130,
                         83,
                         99,
                         53,
                         1,
                         frame[42 + 242] == 1 ? 2
                         : d->dhcp_refuses    ? 6
                                              : 5,
                         54,
                         4,
                         10,
                         0,
                         0,
                         9,
                         1,
                         4,
                         255,
                         255,
                         255,
                         0,
                         3,
                         4,
                         10,
                         0,
                         0,
                         9,
                         51,
                         4,
                         0,
                         0,
                         (uint8_t)(d->dhcp_lease_s >> 8),
                         (uint8_t)d->dhcp_lease_s,
                         26,
                         2,
                         1000 >> 8,
                         1000 & 255,
                         255};

    memcpy(f, d->head.caps.mac, 6);
    memcpy(f + 6, peer_mac, 6);
    memcpy(f + 12, (const uint8_t[]){8, 0, 0x45, 0, 328 >> 8, 328 & 255}, 6);
    memcpy(ip + 8, (const uint8_t[]){64, 17, 0, 0, 10, 0, 0, 9, 10, 0, 0, 1}, 12);
    for (unsigned i = 0; i < 20; i += 2)
        sum += (uint32_t)ip[i] << 8 | ip[i + 1];
    sum = ~((sum & 0xffff) + (sum >> 16));
    ip[10] = (uint8_t)(sum >> 8);
    ip[11] = (uint8_t)sum;
    memcpy(ip + 20, (const uint8_t[]){0, 67, 0, 68, 308 >> 8, 308 & 255}, 6); /* no sum */
    memcpy(m, (const uint8_t[]){2, 1, 6}, 3);
    memcpy(m + 4, frame + 42 + 4, 4);
    memcpy(m + 16, (const uint8_t[]){10, 0, 0, 1}, 4);
    memcpy(m + 28, d->head.caps.mac, 6);
    memcpy(m + 236, options, sizeof(options));
    to_salvo(d, f, sizeof(f));
}

static void peer_takes(struct wire_device *d, const uint8_t *frame, uint32_t size)
{
    uint8_t answer[64];
    struct wire_segment s;
    const char *bad;
    enum wire_kind kind;

    if (size == SALVO_DHCP_FRAME_SIZE && frame[12] == 8 && frame[23] == 17) {
        if (d->dhcp_lease_s != 0)
            server_takes(d, frame);
        return;
    }
    kind = wire_parse(frame, size, &s, &bad);
    if (kind == WIRE_ARP_ASK)
        to_salvo(d, answer, wire_arp(answer, 2, peer_mac, s.target, d->head.caps.mac, s.source));
    if (kind != WIRE_TCP)
        return;
    d->last = s;
    d->reset_seen |= (s.flags & WIRE_RST) != 0;
    if (s.flags & WIRE_SYN) {
        d->next = s.seq + 1;
        d->seq = 5000;
        peer_says(d, WIRE_SYN | WIRE_ACK, NULL, 0);
    } else if (s.seq == d->next && !d->mute && !d->reset_seen) {
        d->next += s.size + ((s.flags & WIRE_FIN) != 0);
        d->received += s.size;
        d->fin_seen |= (s.flags & WIRE_FIN) != 0;
        if (s.size != 0 || s.flags & WIRE_FIN)
            peer_says(d, WIRE_ACK, NULL, 0);
    }
}

static unsigned wire_receive(struct salvo_device *dev, struct salvo_device_frame *ret_frames,
                             unsigned frames_max)
{
    struct wire_device *d = device_of(dev);
    unsigned count = 0;

    if (d->given == d->count)
        d->given = d->count = 0; /* the last ones have been read */
    for (; count < frames_max && d->given != d->count; d->given++)
        ret_frames[count++] =
            (struct salvo_device_frame){.bytes = d->frames[d->given], .size = d->sizes[d->given]};
    return count;
}

static unsigned wire_room(struct salvo_device *dev)
{
    const struct wire_device *d = device_of(dev);
    unsigned places = FRAMES_MAX - d->count;

    return d->room == 0 ? places : SALVO_MIN(d->room, places);
}

static uint8_t *wire_claim(struct salvo_device *dev, uint32_t size)
{
    assert_true(size <= WIRE_FRAME_MAX);
    device_of(dev)->out_size = size;
    return device_of(dev)->out;
}

/* The field holds the pseudo header's sum, without the length when the packet is to be cut: the
 * rest is summed over it, as a device would. */
static void packet_sum(struct wire_device *d, const struct salvo_tcp_packet *packet)
{
    uint8_t *tcp = d->out + SALVO_ETHERNET_SIZE + packet->ip_size;
    uint32_t size = packet->header_size + packet->payload_size;
    uint16_t length = htons((uint16_t)(packet->tcp_size + packet->payload_size));
    uint16_t sum;

    if (packet->ip_size == 0 || !d->head.caps.checksum)
        return;
    sum = salvo_sum_finish(salvo_sum_bytes(tcp, size - SALVO_ETHERNET_SIZE - packet->ip_size,
                                           packet->segment_size != 0 ? length : 0));
    memcpy(tcp + 16, &sum, sizeof(sum));
}

static void wire_commit(struct salvo_device *dev, const struct salvo_tcp_packet *packet)
{
    struct wire_device *d = device_of(dev);

    assert_false(d->down);
    packet_sum(d, packet);
    d->committed++;
    peer_takes(d, d->out, d->out_size);
}

static void wire_attach(struct salvo_device *dev, const struct salvo_tcp_packet *packet)
{
    struct wire_device *d = device_of(dev);
    uint32_t at = packet->header_size;

    memcpy(d->out, packet->header, at);
    for (uint32_t i = 0; i < packet->range_count; i++) {
        memcpy(d->out + at, packet->ranges[i].bytes, packet->ranges[i].size);
        at += (uint32_t)packet->ranges[i].size;
    }
    packet_sum(d, packet);
    d->attached++;
    if (!d->holds)
        d->completed = d->attached;
    peer_takes(d, d->out, at);
}

static uint64_t wire_completed(struct salvo_device *dev)
{
    return device_of(dev)->completed;
}

static void wire_flush(struct salvo_device *dev)
{
}

static bool wire_link_up(struct salvo_device *dev)
{
    return !device_of(dev)->down;
}

static void wire_nap(struct salvo_device *dev, int64_t ns)
{
    assert_true(ns > 0);
    device_of(dev)->naps++;
    salvo_clock_manual_advance(&device_of(dev)->clock, ns);
}

static void wire_wake(struct salvo_device *dev)
{
}

static void wire_close(struct salvo_device *dev)
{
    device_of(dev)->closed = true;
}

static const struct salvo_device_ops wire_ops = {
    .name = "wire",
    .receive = wire_receive,
    .room = wire_room,
    .claim = wire_claim,
    .commit = wire_commit,
    .attach = wire_attach,
    .completed = wire_completed,
    .flush = wire_flush,
    .link_up = wire_link_up,
    .nap = wire_nap,
    .wake = wire_wake,
    .close = wire_close,
};

/* --- the net over it -------------------------------------------------------------------------- */

struct seen {
    unsigned up, down, gone;
    uint64_t released, handed_over, bytes;
    enum salvo_net_down reason;
};

static void device_init(bool references)
{
    memset(&device, 0, sizeof(device));
    salvo_clock_manual_init(&device.clock, SALVO_NS_PER_S, 0);
    device.head = (struct salvo_device_head){.magic = SALVO_DEVICE_MAGIC,
                                             .ops = &wire_ops,
                                             .caps = {.mac = {2, 0, 0, 0, 0, 1},
                                                      .mtu = 1500,
                                                      .checksum = references,
                                                      .references = references}};
}

static struct salvo_mirror *net_mirror; /* NULL: none */

static struct salvo_net *open_over(struct salvo_net_tcp_lease *lease)
{
    struct salvo_net_tcp_conf tcp_conf = {.device = (struct salvo_device *)&device,
                                          .lease = lease,
                                          .lease_renews = lease != NULL,
                                          .mirror = net_mirror};
    struct salvo_net_conf conf;
    struct salvo_net *net;

    salvo_net_conf_default(&conf, &device.clock.clock);
    conf.links_max = 4;
    salvo_tcp_config_defaults(&tcp_conf.tcp);
    tcp_conf.tcp.address4 = salvo_ip4_address(10, 0, 0, 1);
    tcp_conf.tcp.prefix4_bits = 24;
    assert_int_equal(salvo_net_tcp_open(&conf, &tcp_conf, &net), 0);
    return net;
}

static struct salvo_net *start(bool references)
{
    device_init(references);
    return open_over(NULL);
}

/* One turn. */
static void turn(struct salvo_net *net, struct seen *seen)
{
    struct salvo_net_event events[EVENTS_MAX];
    unsigned count = salvo_net_poll(net, events, EVENTS_MAX);

    for (unsigned i = 0; i < count; i++) {
        seen->up += events[i].kind == SALVO_NET_UP;
        seen->gone += events[i].kind == SALVO_NET_GONE;
        if (events[i].kind == SALVO_NET_RELEASED)
            seen->released += events[i].released.bytes;
        if (events[i].kind == SALVO_NET_DATA) {
            assert_int_equal(seen->down, 0);
            seen->bytes += events[i].data.size;
            salvo_net_give_back(net, events[i].data.buffer);
        }
        if (events[i].kind == SALVO_NET_DOWN) {
            seen->down++;
            seen->reason = events[i].down.reason;
            seen->handed_over = events[i].down.handed_over;
        }
    }
    salvo_net_flush(net);
}

/* Turns with time between them: what can happen by itself has happened. */
static void turns(struct salvo_net *net, struct seen *seen, int64_t for_ns)
{
    int64_t until_ns = device.clock.mono_now_ns + for_ns;

    while (device.clock.mono_now_ns < until_ns) {
        turn(net, seen);
        salvo_clock_manual_advance(&device.clock, SALVO_NS_PER_MS);
    }
    turn(net, seen);
}

static uint32_t connected(struct salvo_net *net, struct seen *seen)
{
    struct salvo_endpoint to = {.v4 = {.sin_family = AF_INET,
                                       .sin_port = htons(9876),
                                       .sin_addr.s_addr = htonl(0x0a000002)}};
    uint32_t link;

    assert_int_equal(salvo_net_connect(net, &to, SALVO_NS_PER_S, 1, &link), 0);
    turns(net, seen, 10 * SALVO_NS_PER_MS);
    assert_int_equal(seen->up, 1);
    return link;
}

static size_t send_bytes(struct salvo_net *net, uint32_t link, size_t size)
{
    static uint8_t bytes[SALVO_KIB(512)];
    struct salvo_range range = {bytes, size};

    assert_true(size <= sizeof(bytes));
    return salvo_net_send(net, link, &range, 1);
}

static void bytes_are_released_when_the_device_lets_go_of_them(void **state)
{
    struct salvo_net *net = start(true);
    struct seen seen = {0};
    uint32_t link = connected(net, &seen);

    device.holds = true;
    assert_int_equal(send_bytes(net, link, 3000), 3000);
    turns(net, &seen, 100 * SALVO_NS_PER_MS);
    assert_int_equal(device.received, 3000); /* and acknowledged */
    assert_int_equal(seen.released, 0);
    device.completed = device.attached - 1;
    turns(net, &seen, 5 * SALVO_NS_PER_MS);
    assert_int_equal(seen.released, 0);
    salvo_net_close(net, link);
    turns(net, &seen, 5 * SALVO_NS_PER_S);
    assert_int_equal(seen.down, 1);
    assert_int_equal(seen.gone, 0); /* however long it takes */
    device.completed = device.attached;
    turns(net, &seen, 5 * SALVO_NS_PER_MS);
    assert_int_equal(seen.released, 3000);
    assert_int_equal(seen.gone, 1);
    salvo_net_destroy(net);
    assert_true(device.closed);
}

static void nothing_leaves_while_the_link_is_down_and_all_of_it_after(void **state)
{
    struct salvo_net *net = start(false);
    struct seen seen = {0};
    uint32_t link = connected(net, &seen);

    device.down = true; /* wire_commit asserts on it */
    assert_int_equal(send_bytes(net, link, 50000), 50000);
    turns(net, &seen, 10 * SALVO_NS_PER_S);
    assert_int_equal(device.received, 0);
    assert_int_equal(seen.down, 0);
    device.down = false;
    turns(net, &seen, 10 * SALVO_NS_PER_S);
    assert_int_equal(device.received, 50000);
    assert_int_equal(seen.released, 50000);
    salvo_net_destroy(net);
}

/* Without segmentation offload each segment is a frame, however they were made. */
static void a_device_gets_no_more_frames_than_it_has_room_for(void **state)
{
    struct salvo_net *net = start(false);
    struct seen seen = {0};
    uint32_t link = connected(net, &seen);
    const struct salvo_tcp_stats *stats = salvo_net_tcp_stats(net);
    unsigned before = device.committed;

    device.room = 3;
    device.mute = true;
    assert_int_equal(send_bytes(net, link, 10000), 10000);
    salvo_net_flush(net);
    assert_int_equal(device.committed - before, 3);
    assert_int_equal(device.out_size, 14 + 20 + 20 + 1000);
    salvo_net_flush(net);
    assert_int_equal(device.committed - before, 6);
    device.room = 0;
    device.mute = false;
    turns(net, &seen, 5 * SALVO_NS_PER_S);
    assert_int_equal(device.received, 10000);
    assert_int_equal(seen.released, 10000);
    assert_true(stats->packets_out < stats->segments_out); /* which is why they had to be cut */
    salvo_net_destroy(net);
}

/* More attempts than the machine has slots (72). */
static void connects_in_vain(struct salvo_net *net)
{
    struct salvo_endpoint to = {.v4 = {.sin_family = AF_INET,
                                       .sin_port = htons(9876),
                                       .sin_addr.s_addr = htonl(0x0a000002)}};
    uint32_t link;

    for (unsigned i = 0; i < 200; i++) {
        struct seen seen = {0};

        assert_int_equal(salvo_net_connect(net, &to, 10 * SALVO_NS_PER_MS, 1, &link), 0);
        turns(net, &seen, 20 * SALVO_NS_PER_MS);
        assert_int_equal(seen.down, 1);
        assert_int_equal(seen.gone, 1);
    }
}

static void attempts_while_the_link_is_down_keep_no_slot(void **state)
{
    struct salvo_net *net = start(false);
    struct seen seen = {0};

    device.down = true;
    connects_in_vain(net);
    device.down = false;
    connected(net, &seen);
    salvo_net_destroy(net);
}

static void a_close_in_order_says_fin_and_needs_no_answer_to_it(void **state)
{
    struct salvo_net *net = start(false);
    struct seen seen = {0};
    uint32_t link = connected(net, &seen);

    assert_int_equal(send_bytes(net, link, 1000), 1000);
    turns(net, &seen, 10 * SALVO_NS_PER_MS);
    salvo_net_close(net, link);
    turns(net, &seen, 10 * SALVO_NS_PER_MS);
    assert_true(device.fin_seen && !device.reset_seen);
    assert_int_equal(seen.handed_over, 1000);
    assert_int_equal(seen.gone, 1); /* the peer has not closed */
    salvo_net_destroy(net);
    assert_true(device.reset_seen); /* and hears that nobody is left to listen */
}

static void a_close_with_bytes_unsent_is_a_reset(void **state)
{
    struct salvo_net *net = start(false);
    struct seen seen = {0};
    uint32_t link = connected(net, &seen);

    device.mute = true;
    assert_int_equal(send_bytes(net, link, 200000), 200000);
    turns(net, &seen, 2 * SALVO_NS_PER_MS);
    salvo_net_close(net, link);
    turns(net, &seen, 2 * SALVO_NS_PER_MS);
    assert_true(device.reset_seen && !device.fin_seen);
    assert_true(seen.handed_over > 0 && seen.handed_over < 200000);
    assert_int_equal(seen.released, 200000);
    assert_int_equal(seen.gone, 1);
    salvo_net_destroy(net);
}

/* Three timeouts make the machine begin anew behind una, in smaller segments: all of it waits to be
 * sent again, and all of it may have arrived. */
static void what_is_to_be_sent_again_was_handed_over(void **state)
{
    struct salvo_net *net = start(false);
    struct seen seen = {0};
    uint32_t link = connected(net, &seen);

    device.mute = true;
    assert_int_equal(send_bytes(net, link, 5000), 5000);
    turns(net, &seen, 2500 * SALVO_NS_PER_MS);
    assert_int_equal(salvo_net_tcp_stats(net)->mtu_lowered, 1);
    salvo_net_close(net, link);
    turns(net, &seen, 2 * SALVO_NS_PER_MS);
    assert_int_equal(seen.down, 1);
    assert_int_equal(seen.handed_over, 5000);
    assert_false(device.reset_seen); /* the rest goes on, with FIN behind it */
    salvo_net_destroy(net);
}

/* As above, and the initial window of ten segments leaves some bytes that never left. */
static void what_was_never_sent_was_not_handed_over(void **state)
{
    struct salvo_net *net = start(false);
    struct seen seen = {0};
    uint32_t link = connected(net, &seen);

    device.mute = true;
    assert_int_equal(send_bytes(net, link, 12000), 12000);
    turns(net, &seen, 2500 * SALVO_NS_PER_MS);
    assert_int_equal(salvo_net_tcp_stats(net)->mtu_lowered, 1);
    salvo_net_close(net, link);
    turns(net, &seen, 2 * SALVO_NS_PER_MS);
    assert_int_equal(seen.handed_over, 10000);
    assert_true(device.reset_seen && !device.fin_seen);
    salvo_net_destroy(net);
}

static void a_closed_link_that_nobody_acknowledges_ends(void **state)
{
    struct salvo_net *net = start(false);
    struct seen seen = {0};
    uint32_t link = connected(net, &seen);

    device.mute = true;
    assert_int_equal(send_bytes(net, link, 1000), 1000);
    turns(net, &seen, 2 * SALVO_NS_PER_MS);
    salvo_net_close(net, link);
    turns(net, &seen, SALVO_NS_PER_S);
    assert_int_equal(seen.down, 1);
    assert_int_equal(seen.gone, 0);
    turns(net, &seen, 5 * SALVO_NS_PER_S);
    assert_int_equal(seen.gone, 1);
    assert_true(device.reset_seen);
    salvo_net_destroy(net);
}

static void what_came_before_a_reset_is_told_before_it(void **state)
{
    static const uint8_t answer[800];
    struct salvo_net *net = start(false);
    struct seen seen = {0};

    connected(net, &seen);
    peer_says(&device, WIRE_ACK, answer, sizeof(answer));
    peer_says(&device, WIRE_ACK, answer, sizeof(answer));
    peer_says(&device, WIRE_RST | WIRE_ACK, NULL, 0); /* all in one burst */
    turns(net, &seen, 5 * SALVO_NS_PER_MS);
    assert_int_equal(seen.bytes, 2 * sizeof(answer)); /* turn() asserts: before DOWN */
    assert_int_equal(seen.down, 1);
    assert_int_equal(seen.reason, SALVO_NET_DOWN_RESET);
    assert_int_equal(seen.gone, 1);
    salvo_net_destroy(net);
}

static void naps_grow_longer_while_nothing_comes(void **state)
{
    struct salvo_net *net = start(false);
    struct seen seen = {0};
    unsigned busy, quiet;

    connected(net, &seen);
    device.naps = 0;
    salvo_net_wait(net, 1, 0, 50 * SALVO_NS_PER_MS);
    busy = device.naps;
    device.naps = 0;
    salvo_net_wait(net, 1, 0, 500 * SALVO_NS_PER_MS);
    quiet = device.naps;
    assert_in_range(busy, 500, 520);          /* 50 ms of 100 us, and the first short ones */
    assert_in_range(quiet, 1000 + 395, 1450); /* 100 ms so, and 400 of 1 ms */
    salvo_net_wake(net);
    device.naps = 0;
    salvo_net_wait(net, 1, 0, 500 * SALVO_NS_PER_MS);
    assert_int_equal(device.naps, 0);
    salvo_net_destroy(net);
}

/* A process that was stopped, or a machine that slept, asks for timers late. */
static void after_a_pause_keepalive_waits_for_each_answer(void **state)
{
    struct salvo_net *net = start(false);
    struct seen seen = {0};

    connected(net, &seen);
    salvo_clock_manual_advance(&device.clock, 95 * SALVO_NS_PER_S); /* 60 s, and all of 3 * 10 s */
    turns(net, &seen, 9 * SALVO_NS_PER_S);
    assert_int_equal(seen.down, 0);
    assert_int_equal(salvo_net_tcp_stats(net)->keepalive_probes, 1);
    peer_says(&device, WIRE_ACK, NULL, 0);
    turns(net, &seen, 89 * SALVO_NS_PER_S);
    assert_int_equal(seen.down, 0);
    assert_int_equal(salvo_net_tcp_stats(net)->keepalive_probes, 4);
    turns(net, &seen, 2 * SALVO_NS_PER_S);
    assert_int_equal(seen.down, 1);
    assert_int_equal(seen.reason, SALVO_NET_DOWN_TIMEOUT);
    salvo_net_destroy(net);
}

static int lease_take(struct salvo_net_tcp_lease *lease, struct salvo_mirror *mirror)
{
    struct salvo_device *devices[] = {(struct salvo_device *)&device};

    return salvo_net_tcp_lease_take(lease, devices, 1, mirror, &device.clock.clock, 1,
                                    10 * SALVO_NS_PER_S);
}

static void without_a_dhcp_server_the_wait_ends_in_time(void **state)
{
    struct salvo_net_tcp_lease lease = {0};
    int64_t start_ns;

    device_init(false);
    start_ns = device.clock.mono_now_ns;
    assert_int_equal(lease_take(&lease, NULL), -ETIMEDOUT);
    assert_in_range(device.clock.mono_now_ns - start_ns, 10 * SALVO_NS_PER_S, 11 * SALVO_NS_PER_S);
}

static void a_dhcp_server_that_refuses_is_told_from_none(void **state)
{
    struct salvo_net_tcp_lease lease = {0};

    device_init(false);
    device.dhcp_lease_s = 4;
    device.dhcp_refuses = true;
    assert_int_equal(lease_take(&lease, NULL), -ECONNREFUSED);
    assert_true(lease.dhcp.naks > 1);
}

static void a_lease_is_renewed_and_links_end_when_it_is_lost(void **state)
{
    struct salvo_net_tcp_lease lease = {0};
    struct seen seen = {0};
    struct salvo_net *net;

    device_init(false);
    device.dhcp_lease_s = 4;
    assert_int_equal(lease_take(&lease, NULL), 0);
    assert_memory_equal(lease.first.address.bytes, ((const uint8_t[]){10, 0, 0, 1}), 4);
    assert_memory_equal(lease.first.gateway.bytes, ((const uint8_t[]){10, 0, 0, 9}), 4);
    assert_int_equal(lease.first.prefix_bits, 24);
    assert_int_equal(lease.first.mtu, 1000);
    net = open_over(&lease);
    connected(net, &seen);
    turns(net, &seen, 9 * SALVO_NS_PER_S);
    assert_true(lease.dhcp.acks >= 3);
    assert_int_equal(seen.down, 0);
    device.dhcp_lease_s = 0;
    turns(net, &seen, 5 * SALVO_NS_PER_S);
    assert_int_equal(lease.dhcp.lost, 1);
    assert_int_equal(lease.lost, 1);
    assert_int_equal(lease.regained, 0);
    assert_int_equal(seen.down, 1);
    assert_int_equal(seen.reason, SALVO_NET_DOWN_UNREACHABLE);
    assert_false(device.reset_seen || device.fin_seen); /* nothing is sent from the address */
    connects_in_vain(net);
    device.dhcp_lease_s = 4;
    turns(net, &seen, 70 * SALVO_NS_PER_S);
    assert_int_equal(lease.regained, 1);
    assert_int_equal(lease.other, 0);
    seen = (struct seen){0};
    connected(net, &seen);
    salvo_net_destroy(net);
}

/* What DHCP has to say waits for the link; the lane need not watch it do so. */
static void a_lease_to_renew_lets_sleep_while_the_link_is_down(void **state)
{
    struct salvo_net_tcp_lease lease = {0};
    struct salvo_net *net;

    device_init(false);
    device.dhcp_lease_s = 4;
    assert_int_equal(lease_take(&lease, NULL), 0);
    net = open_over(&lease);
    device.down = true;
    device.clock.mono_now_ns += 2200 * SALVO_NS_PER_MS; /* T1 has passed */
    device.naps = 0;
    salvo_net_wait(net, 1, 0, 10 * SALVO_NS_PER_MS);
    assert_in_range(device.naps, 1, 1000);
    assert_int_equal(lease.dhcp.state, SALVO_DHCP_RENEWING);
    device.down = false;
    salvo_net_wait(net, 1, 0, 10 * SALVO_NS_PER_MS);
    assert_int_equal(lease.dhcp.acks, 2);
    salvo_net_destroy(net);
}

static const struct salvo_mirror_record *mirrored(void)
{
    uint32_t size;
    const struct salvo_mirror_record *record = salvo_ring_peek(&net_mirror->ring, &size);

    if (record != NULL)
        salvo_ring_advance(&net_mirror->ring, size);
    return record;
}

/* Discover, offer, request, acknowledgment. */
static void the_way_to_an_address_is_mirrored(void **state)
{
    static struct salvo_mirror mirror;
    static uint8_t memory[SALVO_MIRROR_RING_SIZE];
    static const struct salvo_mirror_filter everything = {0};
    static const uint8_t kinds[] = {1, 2, 3, 5};
    struct salvo_net_tcp_lease lease = {0};
    const struct salvo_mirror_record *record;
    int64_t before_ns = 0;

    device_init(false);
    device.dhcp_lease_s = 4;
    salvo_mirror_init(&mirror, 0, memory);
    salvo_mirror_begin(&mirror, &everything);
    net_mirror = &mirror;
    assert_int_equal(lease_take(&lease, &mirror), 0);
    salvo_mirror_end(&mirror);
    for (unsigned i = 0; i < SALVO_ARRAY_LENGTH(kinds); i++) {
        record = mirrored();
        assert_non_null(record);
        assert_int_equal(record->bytes[14 + 20 + 8 + 240 + 2], kinds[i]);
        assert_true(record->mono_ns >= before_ns);
        before_ns = record->mono_ns;
    }
    assert_null(mirrored());
    net_mirror = NULL;
}

/* A connection from its SYN on, while the mirror is on: payload bytes each way, and the largest
 * packet. */
static void mirror_a_connection(bool references, uint64_t *ret_payload, uint32_t *ret_size_max)
{
    static struct salvo_mirror mirror;
    static uint8_t memory[SALVO_MIRROR_RING_SIZE];
    static const struct salvo_mirror_filter everything = {0};
    static const uint8_t flags[] = {WIRE_SYN, WIRE_SYN | WIRE_ACK, WIRE_ACK};
    const struct salvo_mirror_record *record;
    int64_t last_ns = 0;
    struct seen seen = {0};
    unsigned segments = 0;
    struct salvo_net *net;
    uint32_t link;

    salvo_mirror_init(&mirror, 0, memory);
    net_mirror = &mirror;
    device_init(references);
    device.head.caps.tso_max = references ? 16000 : 0;
    net = open_over(NULL);
    turns(net, &seen, SALVO_NS_PER_MS);
    assert_null(mirrored()); /* off: nothing */
    salvo_mirror_begin(&mirror, &everything);
    link = connected(net, &seen);
    assert_int_equal(send_bytes(net, link, 10000), 10000);
    turns(net, &seen, 20 * SALVO_NS_PER_MS);
    assert_int_equal(device.received, 10000);
    salvo_mirror_end(&mirror);
    assert_int_equal(send_bytes(net, link, 1000), 1000);
    turns(net, &seen, 20 * SALVO_NS_PER_MS);
    assert_int_equal(device.received, 11000); /* of which the mirror has nothing */
    *ret_payload = *ret_size_max = 0;
    while ((record = mirrored()) != NULL) {
        const uint8_t *tcp = record->bytes + 34;

        assert_true(record->mono_ns >= last_ns);
        last_ns = record->mono_ns;
        if (salvo_ip_tcp_ports_at(record->bytes, record->size) == 0)
            continue; /* ARP */
        if (segments < SALVO_ARRAY_LENGTH(flags))
            assert_int_equal(tcp[13] & ~WIRE_PSH, flags[segments]);
        segments++;
        *ret_payload += record->size - 34 - (uint32_t)(tcp[12] >> 4) * 4;
        *ret_size_max = SALVO_MAX(*ret_size_max, record->size);
    }
    salvo_net_destroy(net);
    net_mirror = NULL;
}

static void a_mirror_has_a_connection_from_its_syn_on(void **state)
{
    uint64_t payload;
    uint32_t size_max;

    mirror_a_connection(false, &payload, &size_max);
    assert_int_equal(payload, 10000);
    assert_in_range(size_max, 1000, 1514);
}

static void a_mirror_has_a_packet_by_reference_whole(void **state)
{
    uint64_t payload;
    uint32_t size_max;

    mirror_a_connection(true, &payload, &size_max);
    assert_int_equal(payload, 10000);
    assert_true(size_max > 5000); /* the device would have cut it */
}

/* What lies in the ring is what the device was given. */
static void a_mirrored_packet_is_the_one_that_left(void **state)
{
    static struct salvo_mirror mirror;
    static uint8_t memory[SALVO_MIRROR_RING_SIZE];
    static const struct salvo_mirror_filter filter = {.ports = {9876}};
    const struct salvo_mirror_record *record, *last = NULL;
    struct seen seen = {0};
    struct salvo_net *net;
    uint32_t link;

    salvo_mirror_init(&mirror, 0, memory);
    net_mirror = &mirror;
    net = start(false);
    link = connected(net, &seen);
    device.mute = true;
    salvo_mirror_begin(&mirror, &filter);
    assert_int_equal(send_bytes(net, link, 500), 500);
    turn(net, &seen);
    while ((record = mirrored()) != NULL)
        last = record;
    assert_non_null(last);
    assert_int_equal(last->size, 14 + 20 + 20 + 500);
    assert_memory_equal(last->bytes, device.out, last->size); /* sums and all */
    salvo_net_destroy(net);
    net_mirror = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_released_when_the_device_lets_go_of_them),
        cmocka_unit_test(nothing_leaves_while_the_link_is_down_and_all_of_it_after),
        cmocka_unit_test(a_device_gets_no_more_frames_than_it_has_room_for),
        cmocka_unit_test(attempts_while_the_link_is_down_keep_no_slot),
        cmocka_unit_test(a_close_in_order_says_fin_and_needs_no_answer_to_it),
        cmocka_unit_test(a_close_with_bytes_unsent_is_a_reset),
        cmocka_unit_test(what_is_to_be_sent_again_was_handed_over),
        cmocka_unit_test(what_was_never_sent_was_not_handed_over),
        cmocka_unit_test(a_closed_link_that_nobody_acknowledges_ends),
        cmocka_unit_test(what_came_before_a_reset_is_told_before_it),
        cmocka_unit_test(after_a_pause_keepalive_waits_for_each_answer),
        cmocka_unit_test(without_a_dhcp_server_the_wait_ends_in_time),
        cmocka_unit_test(a_dhcp_server_that_refuses_is_told_from_none),
        cmocka_unit_test(a_lease_is_renewed_and_links_end_when_it_is_lost),
        cmocka_unit_test(a_lease_to_renew_lets_sleep_while_the_link_is_down),
        cmocka_unit_test(the_way_to_an_address_is_mirrored),
        cmocka_unit_test(a_mirror_has_a_connection_from_its_syn_on),
        cmocka_unit_test(a_mirror_has_a_packet_by_reference_whole),
        cmocka_unit_test(a_mirrored_packet_is_the_one_that_left),
        cmocka_unit_test(naps_grow_longer_while_nothing_comes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
