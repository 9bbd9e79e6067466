/* Frames made by hand through a DPDK device: what it carries without a TCP (bulk.c).
 *
 * "bulk raw": raw frames, unread. As long as TCP's, their payload copied from memory as TCP's is,
 * and their MAC nobody's: the kernel drops what has arrived before it looks into it. What arrived
 * is what the device's own interface says was passed on.
 *
 * "bulk bare": raw frames into the sink. Segments that the kernel's TCP takes: numbers that go on,
 * its window filled and kept, sums made while the payload is copied. Nothing is remembered of what
 * was sent, or measured. At the third duplicate ACK, and when nothing is acknowledged for LOST_NS,
 * all is sent again from there. */
#include "bench/micro/bulk.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "dataplane/tcp/tcp_copy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ether.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAMES_MAX   64
#define TCP_OFFSET   (SALVO_ETHERNET_SIZE + SALVO_IP4_SIZE)
#define OPTIONS_SIZE 12 /* timestamps */
#define TCP_BYTES    (SALVO_TCP_SIZE + OPTIONS_SIZE)
#define HEADER_SIZE  (TCP_OFFSET + TCP_BYTES)

static struct salvo_ip_address address_of(const char *text)
{
    struct salvo_ip_address address = {.version = 4};

    if (inet_pton(AF_INET, text, address.bytes) != 1) {
        errno = EINVAL;
        bulk_fail(text);
    }
    return address;
}

/* Ethernet and IPv4, for `size` bytes behind them. */
static void headers_make(uint8_t *frame, const struct salvo_device *device, const uint8_t mac[6],
                         const struct salvo_ip_address *source,
                         const struct salvo_ip_address *target, uint8_t protocol, uint32_t size)
{
    memcpy(frame, mac, 6);
    memcpy(frame + 6, salvo_device_head(device)->caps.mac, 6);
    salvo_store_be16(frame + 12, SALVO_ETHERTYPE_IP4);
    salvo_ip_build(frame + SALVO_ETHERNET_SIZE, source, target, protocol, 64, size);
}

static void frame_send(struct salvo_device *device, const uint8_t *frame, uint32_t size)
{
    static const struct salvo_tcp_packet packet = {0};
    const struct salvo_device_ops *ops = salvo_device_head(device)->ops;

    memcpy(ops->claim(device, size), frame, size);
    ops->commit(device, &packet);
    ops->flush(device);
}

/* --- frames that nobody reads ----------------------------------------------------------------- */

static uint64_t passed_on(const char *interface)
{
    char text[128];

    snprintf(text, sizeof(text), "/sys/class/net/%s/statistics/tx_packets", interface);
    FILE *file = fopen(text, "r");
    if (file == NULL || fgets(text, sizeof(text), file) == NULL)
        bulk_fail(interface);
    fclose(file);
    return strtoull(text, NULL, 10);
}

/* One datagram to everybody's MAC, of UDP without a sum. */
static void datagram_send(struct salvo_device *device, const struct salvo_ip_address *source,
                          const struct salvo_endpoint *to)
{
    enum { UDP_SIZE = 8 };
    static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct salvo_ip_address target = {.version = 4};
    uint8_t frame[TCP_OFFSET + UDP_SIZE] = {0}, *udp = frame + TCP_OFFSET;

    memcpy(target.bytes, &to->v4.sin_addr, 4);
    headers_make(frame, device, everybody, source, &target, IPPROTO_UDP, UDP_SIZE);
    salvo_store_be16(udp, ntohs(to->v4.sin_port));
    salvo_store_be16(udp + 2, ntohs(to->v4.sin_port));
    salvo_store_be16(udp + 4, UDP_SIZE);
    frame_send(device, frame, sizeof(frame));
}

/* As net_tcp's turns: look for frames, then as many as there is room for. */
static unsigned raw_turn(struct salvo_device *device, const uint8_t header[HEADER_SIZE],
                         uint32_t payload_size, uint64_t *offset)
{
    static const struct salvo_tcp_packet packet = {0};
    const struct salvo_device_ops *ops = salvo_device_head(device)->ops;
    struct salvo_device_frame frames[FRAMES_MAX];
    unsigned count = ops->room(device);

    while (ops->receive(device, frames, FRAMES_MAX) == FRAMES_MAX)
        ;
    for (unsigned i = 0; i < count; i++) {
        uint8_t *frame = ops->claim(device, HEADER_SIZE + payload_size);

        memcpy(frame, header, HEADER_SIZE);
        memcpy(frame + HEADER_SIZE, bulk_memory + *offset % BULK_MEMORY_SIZE, payload_size);
        *offset += payload_size;
        ops->commit(device, &packet);
    }
    ops->flush(device);
    return count;
}

int bulk_raw(uint32_t payload_size, const char *ours, const char *device_name, uint16_t mtu,
             double seconds, double warmup, const char *interface,
             const struct salvo_endpoint *poller)
{
    static const uint8_t nobody[6] = {0x02, 0, 0, 0, 0, 0x99};
    struct salvo_dpdk_port *port = bulk_port_open(device_name, mtu);
    struct salvo_device *device = salvo_dpdk_port_device(port, 0);
    struct salvo_ip_address source = address_of(ours);
    int64_t warm_ns = bulk_now_ns() + (int64_t)(warmup * 1e9), end_ns, began_ns;
    uint64_t sent = 0, offset = 0, earlier;
    uint8_t header[HEADER_SIZE] = {0};

    if (payload_size + HEADER_SIZE > mtu + (uint32_t)SALVO_ETHERNET_SIZE) {
        errno = EMSGSIZE;
        bulk_fail("PAYLOAD");
    }
    headers_make(header, device, nobody, &source, &source, IPPROTO_TCP, TCP_BYTES + payload_size);
    if (poller != NULL)
        datagram_send(device, &source, poller);
    while (bulk_now_ns() < warm_ns)
        raw_turn(device, header, payload_size, &offset);
    earlier = passed_on(interface);
    began_ns = bulk_now_ns();
    end_ns = began_ns + (int64_t)(seconds * 1e9);
    while (bulk_now_ns() < end_ns)
        sent += raw_turn(device, header, payload_size, &offset);
    uint64_t arrived = passed_on(interface) - earlier;
    printf("{\"bytes\": %llu, \"seconds\": %.6f, \"frames\": %llu, \"arrived\": %llu}\n",
           (unsigned long long)arrived * payload_size, (double)(bulk_now_ns() - began_ns) / 1e9,
           (unsigned long long)sent, (unsigned long long)arrived);
    salvo_device_head(device)->ops->close(device);
    salvo_dpdk_port_close(port);
    return 0;
}

/* --- segments without a TCP ------------------------------------------------------------------- */

#define PORT       33333
#define SYN_NS     (100 * SALVO_NS_PER_MS) /* between one and the next */
#define LOST_NS    (10 * SALVO_NS_PER_MS)
#define SILENCE_NS (10 * SALVO_NS_PER_S) /* of the sink, before it is given up */
#define BURSTS_MAX 4u                    /* of received frames, in a turn */

struct bare {
    struct salvo_device *device;
    salvo_tcp_copy_fn *copy;
    struct salvo_ip_address source, target;
    uint16_t port;
    uint8_t mac[6];              /* the sink's */
    uint8_t header[HEADER_SIZE]; /* of a full segment */
    uint64_t pseudo;             /* its pseudo header's sum */
    uint32_t payload_size;
    uint64_t offset; /* where in memory the next payload is */

    uint32_t una, next;    /* the oldest byte without an ACK, the next byte */
    uint32_t window, edge; /* the peer's, and where it ends */
    uint32_t peer_next;    /* what we acknowledge */
    uint32_t peer_time;    /* its last timestamp */
    uint8_t peer_shift;    /* of its window */
    uint32_t duplicates;   /* ACKs of nothing new, in a row */
    uint32_t recover;      /* until here no duplicate sends all again: RFC 6582 */
    bool up, down;
    int64_t began_ns, heard_ns, progress_ns; /* last frame, last ACK of something new */
    uint64_t received, sent, again;
};

static bool before(uint32_t one, uint32_t other)
{
    return one - other > INT32_MAX;
}

/* Our timestamp. From 1 on: the machine's own could stand on the far side of a wrap. */
static uint32_t bare_time(const struct bare *b, int64_t now_ns)
{
    return 1 + (uint32_t)((now_ns - b->began_ns) / SALVO_NS_PER_MS);
}

/* The two options that matter; a window's scale is a SYN's. */
static void bare_options(struct bare *b, const uint8_t *at, const uint8_t *end)
{
    while (at + 1 < end && at[0] != TCPOPT_EOL) {
        unsigned size = at[0] == TCPOPT_NOP ? 1 : at[1];

        if (size == 0 || size > (unsigned)(end - at))
            return;
        if (at[0] == TCPOPT_TIMESTAMP && size == TCPOLEN_TIMESTAMP)
            b->peer_time = salvo_load_be32(at + 2);
        else if (at[0] == TCPOPT_WINDOW && size == TCPOLEN_WINDOW && !b->up)
            b->peer_shift = SALVO_MIN(at[2], (uint8_t)TCP_MAX_WINSHIFT);
        at += size;
    }
}

static void bare_again(struct bare *b, int64_t now_ns)
{
    b->again += (b->next - b->una) / b->payload_size;
    b->recover = b->next;
    b->next = b->una;
    b->duplicates = 0;
    b->progress_ns = now_ns;
}

static void bare_ack(struct bare *b, uint32_t ack, uint32_t window, int64_t now_ns)
{
    bool duplicate = ack == b->una && window == b->window && b->next != b->una;

    if (before(ack, b->una))
        return;
    if (ack != b->una) {
        b->una = ack;
        b->duplicates = 0;
        b->progress_ns = now_ns;
        if (before(b->next, ack))
            b->next = ack; /* it had what we were about to send again */
    }
    b->window = window;
    b->edge = ack + window;
    if (duplicate && ++b->duplicates == 3 && before(b->recover, b->una))
        bare_again(b, now_ns);
}

/* Whether this is of our connection; before it is up, what answers our SYN. */
static bool bare_takes(const struct bare *b, uint8_t flags, uint32_t seq, uint32_t ack)
{
    if (!b->up)
        return ack == b->next && (flags == (TH_SYN | TH_ACK) || flags == (TH_RST | TH_ACK));
    return flags == TH_ACK || ((flags & TH_RST) != 0 && seq == b->peer_next);
}

static void bare_in(struct bare *b, const struct salvo_device_frame *frame, int64_t now_ns)
{
    uint32_t at = salvo_ip_tcp_ports_at(frame->bytes, frame->size);
    const uint8_t *tcp = frame->bytes + at;

    if (at == 0 || frame->size < at + SALVO_TCP_SIZE || salvo_load_be16(tcp + 2) != PORT ||
        frame->size < at + (tcp[12] >> 4) * 4u)
        return;
    uint32_t seq = salvo_load_be32(tcp + 4), ack = salvo_load_be32(tcp + 8);
    uint32_t window = salvo_load_be16(tcp + 14);
    uint8_t flags = tcp[13] & (TH_SYN | TH_RST | TH_ACK);
    if (!bare_takes(b, flags, seq, ack))
        return;
    b->received++;
    b->heard_ns = now_ns;
    if (flags & TH_RST) {
        b->down = true;
        return;
    }
    bare_options(b, tcp + SALVO_TCP_SIZE, tcp + (size_t)(tcp[12] >> 4) * 4);
    if (!b->up)
        b->peer_next = seq + 1;
    bare_ack(b, ack, b->up ? window << b->peer_shift : window, now_ns);
    b->up = true;
}

static void bare_receive(struct bare *b, int64_t now_ns)
{
    struct salvo_device_frame frames[FRAMES_MAX];
    unsigned count = FRAMES_MAX;

    for (unsigned burst = 0; burst < BURSTS_MAX && count == FRAMES_MAX; burst++) {
        count = salvo_device_head(b->device)->ops->receive(b->device, frames, FRAMES_MAX);
        for (unsigned i = 0; i < count; i++)
            bare_in(b, &frames[i], now_ns);
    }
    if (now_ns - b->heard_ns > SILENCE_NS || (b->down && !b->up)) {
        errno = b->down ? ECONNREFUSED : ETIMEDOUT;
        bulk_fail("the sink");
    }
}

/* Ethernet, IPv4 and TCP, but for the sum. `tcp_size` is with its options, which follow. */
static uint8_t *bare_headers(const struct bare *b, uint8_t *frame, uint32_t tcp_size,
                             uint32_t payload_size, uint8_t flags)
{
    uint8_t *tcp = frame + TCP_OFFSET;

    headers_make(frame, b->device, b->mac, &b->source, &b->target, IPPROTO_TCP,
                 tcp_size + payload_size);
    salvo_store_be16(tcp, PORT);
    salvo_store_be16(tcp + 2, b->port);
    salvo_store_be32(tcp + 4, b->una);
    salvo_store_be32(tcp + 8, b->peer_next);
    tcp[12] = (uint8_t)(tcp_size / 4 << 4);
    tcp[13] = flags;
    salvo_store_be16(tcp + 14, UINT16_MAX);
    return tcp;
}

static void bare_connect(struct bare *b)
{
    enum { SIZE = SALVO_TCP_SIZE + 20 };
    uint8_t syn[TCP_OFFSET + SIZE] = {0};
    int64_t sent_ns = 0;

    b->began_ns = b->heard_ns = bulk_now_ns();
    b->una = b->recover = (uint32_t)b->began_ns;
    b->next = b->una + 1;
    uint8_t *tcp = bare_headers(b, syn, SIZE, 0, TH_SYN);
    uint8_t *options = tcp + SALVO_TCP_SIZE;
    salvo_store_be32(options, 0x02040000 | (b->payload_size + OPTIONS_SIZE)); /* MSS */
    salvo_store_be32(options + 4, 0x0101080a);                                /* timestamps */
    salvo_store_be32(options + 8, bare_time(b, b->began_ns));
    salvo_store_be32(options + 16, 0x01030300); /* window scale 0 */
    uint16_t sum = salvo_sum_finish(
        salvo_sum_bytes(tcp, SIZE, salvo_sum_pseudo(&b->source, &b->target, IPPROTO_TCP, SIZE)));
    memcpy(tcp + 16, &sum, 2);
    while (!b->up) {
        int64_t now_ns = bulk_now_ns();

        if (now_ns - sent_ns > SYN_NS) {
            frame_send(b->device, syn, sizeof(syn));
            sent_ns = now_ns;
        }
        bare_receive(b, now_ns);
    }
}

static void bare_segment(struct bare *b)
{
    static const struct salvo_tcp_packet packet = {0};
    const struct salvo_device_ops *ops = salvo_device_head(b->device)->ops;
    uint8_t *frame = ops->claim(b->device, HEADER_SIZE + b->payload_size);
    uint8_t *tcp = frame + TCP_OFFSET;

    memcpy(frame, b->header, HEADER_SIZE);
    salvo_store_be32(tcp + 4, b->next);
    uint64_t sum =
        salvo_sum_bytes(tcp, TCP_BYTES, b->pseudo) +
        b->copy(frame + HEADER_SIZE, bulk_memory + b->offset % BULK_MEMORY_SIZE, b->payload_size);
    uint16_t field = salvo_sum_finish(sum);
    memcpy(tcp + 16, &field, 2);
    ops->commit(b->device, &packet);
    b->offset += b->payload_size;
    b->next += b->payload_size;
    b->sent++;
}

static void bare_turn(struct bare *b, int64_t now_ns)
{
    const struct salvo_device_ops *ops = salvo_device_head(b->device)->ops;
    uint8_t *times = b->header + TCP_OFFSET + SALVO_TCP_SIZE + 4;

    bare_receive(b, now_ns);
    if (b->next != b->una && now_ns - b->progress_ns > LOST_NS)
        bare_again(b, now_ns);
    salvo_store_be32(times, bare_time(b, now_ns));
    salvo_store_be32(times + 4, b->peer_time);
    for (unsigned room = ops->room(b->device);
         room != 0 && !before(b->edge, b->next + b->payload_size); room--)
        bare_segment(b);
    ops->flush(b->device);
}

/* Until the sink ends it. Returns the time of turns that did something. */
static int64_t bare_run(struct bare *b)
{
    int64_t busy_ns = 0, last_ns = bulk_now_ns();
    uint8_t *tcp = bare_headers(b, b->header, TCP_BYTES, b->payload_size, TH_ACK);

    salvo_store_be32(tcp + SALVO_TCP_SIZE, 0x0101080a);
    b->pseudo = salvo_sum_pseudo(&b->source, &b->target, IPPROTO_TCP, TCP_BYTES + b->payload_size);
    while (!b->down) {
        uint64_t done = b->received + b->sent;

        bare_turn(b, last_ns);
        int64_t now_ns = bulk_now_ns();
        busy_ns += b->received + b->sent != done ? now_ns - last_ns : 0;
        last_ns = now_ns;
    }
    return busy_ns;
}

int bulk_bare(const struct salvo_endpoint *to, const char *ours, const char *device_name,
              uint16_t mtu, const char *mac_text)
{
    struct salvo_dpdk_port *port = bulk_port_open(device_name, mtu);
    struct bare b = {.device = salvo_dpdk_port_device(port, 0),
                     .copy = salvo_tcp_copy_choose(),
                     .source = address_of(ours),
                     .target = {.version = 4},
                     .port = ntohs(to->v4.sin_port),
                     .payload_size = mtu - SALVO_IP4_SIZE - TCP_BYTES};
    struct ether_addr mac;

    static_assert(UINT16_MAX <= BULK_OFFER_SIZE, "a payload is in one piece");
    if (ether_aton_r(mac_text, &mac) == NULL) {
        errno = EINVAL;
        bulk_fail(mac_text);
    }
    memcpy(b.mac, mac.ether_addr_octet, 6);
    memcpy(b.target.bytes, &to->v4.sin_addr, 4);
    bare_connect(&b);
    double busy_s = (double)bare_run(&b) / 1e9;
    printf("{\"segments_out\": %llu, \"retransmitted\": %llu, \"busy_seconds\": %.3f}\n",
           (unsigned long long)b.sent, (unsigned long long)b.again, busy_s);
    salvo_device_head(b.device)->ops->close(b.device);
    salvo_dpdk_port_close(port);
    return 0;
}
