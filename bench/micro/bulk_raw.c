/* Frames made by hand through a DPDK device: what it carries without a TCP (bulk.c).
 *
 * Raw frames are as long as TCP's, their payload is copied from memory as TCP's is, and their MAC
 * is nobody's: the kernel drops what has arrived before it looks into it. What arrived is what the
 * device's own interface says was passed on.
 *
 * Bare segments are what the kernel's TCP takes: numbers that go on, its window kept, sums made
 * while the payload is copied. Nothing is remembered of what was sent, nothing is measured or
 * timed. When nothing is acknowledged for LOST_NS, all is sent again from there. */
#include "bench/micro/bulk.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/cpu.h"
#include "dataplane/tcp/tcp_copy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ether.h>
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

    if (inet_pton(AF_INET, text, address.bytes) != 1)
        bulk_fail(text);
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
    uint64_t sent = 0, offset = 0, before;
    uint8_t header[HEADER_SIZE] = {0};

    headers_make(header, device, nobody, &source, &source, IPPROTO_TCP, TCP_BYTES + payload_size);
    if (poller != NULL)
        datagram_send(device, &source, poller);
    while (bulk_now_ns() < warm_ns)
        raw_turn(device, header, payload_size, &offset);
    double cpu_s = salvo_cpu_process_seconds();
    before = passed_on(interface);
    began_ns = bulk_now_ns();
    end_ns = began_ns + (int64_t)(seconds * 1e9);
    while (bulk_now_ns() < end_ns)
        sent += raw_turn(device, header, payload_size, &offset);
    uint64_t arrived = passed_on(interface) - before;
    printf("{\"bytes\": %llu, \"seconds\": %.6f, \"frames\": %llu, \"arrived\": %llu, "
           "\"cpu_seconds\": %.3f}\n",
           (unsigned long long)arrived * payload_size, (double)(bulk_now_ns() - began_ns) / 1e9,
           (unsigned long long)sent, (unsigned long long)arrived,
           salvo_cpu_process_seconds() - cpu_s);
    salvo_device_head(device)->ops->close(device);
    salvo_dpdk_port_close(port);
    return 0;
}

/* --- segments without a TCP ------------------------------------------------------------------- */

#define PORT       33333
#define CONNECT_NS (10 * SALVO_NS_PER_S)
#define SYN_NS     (100 * SALVO_NS_PER_MS) /* between one and the next */
#define LOST_NS    (10 * SALVO_NS_PER_MS)

#define FLAG_SYN 0x02
#define FLAG_RST 0x04
#define FLAG_ACK 0x10

struct bare {
    struct salvo_device *device;
    salvo_tcp_copy_fn *copy;
    struct salvo_ip_address source, target;
    uint8_t header[HEADER_SIZE]; /* of a full segment */
    uint64_t pseudo;             /* its pseudo header's sum */
    uint32_t payload_size;
    uint64_t offset; /* where in memory the next payload is */

    uint32_t una, next, edge; /* oldest byte without an ACK, next byte, end of the peer's window */
    uint32_t peer_next;       /* what we acknowledge */
    uint32_t peer_time;       /* its last timestamp */
    uint8_t peer_shift;       /* of its window */
    bool up, down;
    int64_t progress_ns; /* last ACK of something new */
    uint64_t sent, again;
};

static bool bare_full(const struct bare *b)
{
    return b->edge - b->next < b->payload_size || b->edge - b->next > UINT32_MAX / 2;
}

/* The two options that matter. */
static void bare_options(struct bare *b, const uint8_t *at, const uint8_t *end)
{
    while (at + 1 < end && at[0] != 0) {
        unsigned size = at[0] == 1 ? 1 : at[1];

        if (size == 0 || size > (unsigned)(end - at))
            return;
        if (at[0] == 8 && size == 10)
            b->peer_time = salvo_load_be32(at + 2);
        else if (at[0] == 3 && size == 3)
            b->peer_shift = at[2];
        at += size;
    }
}

static void bare_in(struct bare *b, const struct salvo_device_frame *frame)
{
    uint32_t at = salvo_ip_tcp_ports_at(frame->bytes, frame->size);
    const uint8_t *tcp = frame->bytes + at;

    if (at == 0 || frame->size < at + SALVO_TCP_SIZE || salvo_load_be16(tcp + 2) != PORT ||
        frame->size < at + (tcp[12] >> 4) * 4u)
        return;
    if (tcp[13] & FLAG_RST) {
        b->down = true;
        return;
    }
    bare_options(b, tcp + SALVO_TCP_SIZE, tcp + (size_t)(tcp[12] >> 4) * 4);
    uint32_t ack = salvo_load_be32(tcp + 8), window = salvo_load_be16(tcp + 14);
    if (tcp[13] & FLAG_SYN) {
        b->peer_next = salvo_load_be32(tcp + 4) + 1;
        b->up = true;
    } else {
        window <<= b->peer_shift;
    }
    b->edge = ack + window;
    if (ack - b->una == 0 || ack - b->una > UINT32_MAX / 2)
        return;
    b->una = ack;
    if (b->next - ack > UINT32_MAX / 2)
        b->next = ack; /* it had what we were about to send again */
    b->progress_ns = bulk_now_ns();
}

static void bare_receive(struct bare *b)
{
    struct salvo_device_frame frames[FRAMES_MAX];
    unsigned count;

    do {
        count = salvo_device_head(b->device)->ops->receive(b->device, frames, FRAMES_MAX);
        for (unsigned i = 0; i < count; i++)
            bare_in(b, &frames[i]);
    } while (count == FRAMES_MAX);
}

static void bare_connect(struct bare *b, const uint8_t mac[6], uint16_t port)
{
    enum { SYN_BYTES = SALVO_TCP_SIZE + 20 };
    const uint16_t mss = (uint16_t)(b->payload_size + OPTIONS_SIZE);
    const uint8_t options[] = {2,
                               4,
                               (uint8_t)(mss >> 8),
                               (uint8_t)mss, /* MSS */
                               1,
                               1,
                               8,
                               10,
                               0,
                               0,
                               0,
                               1,
                               0,
                               0,
                               0,
                               0, /* timestamps */
                               1,
                               3,
                               3,
                               0}; /* window scale */
    uint8_t syn[TCP_OFFSET + SYN_BYTES] = {0}, *tcp = syn + TCP_OFFSET;
    int64_t began_ns = bulk_now_ns(), sent_ns = 0;

    static_assert(sizeof(options) == SYN_BYTES - SALVO_TCP_SIZE, "as the header says");
    headers_make(syn, b->device, mac, &b->source, &b->target, IPPROTO_TCP, SYN_BYTES);
    salvo_store_be16(tcp, PORT);
    salvo_store_be16(tcp + 2, port);
    salvo_store_be32(tcp + 4, (uint32_t)began_ns);
    tcp[12] = SYN_BYTES / 4 << 4;
    tcp[13] = FLAG_SYN;
    salvo_store_be16(tcp + 14, UINT16_MAX);
    memcpy(tcp + SALVO_TCP_SIZE, options, sizeof(options));
    uint64_t pseudo = salvo_sum_pseudo(&b->source, &b->target, IPPROTO_TCP, SYN_BYTES);
    uint16_t sum = salvo_sum_finish(salvo_sum_bytes(tcp, SYN_BYTES, pseudo));
    memcpy(tcp + 16, &sum, 2);
    b->una = (uint32_t)began_ns;
    b->next = b->una + 1;
    while (!b->up) {
        int64_t now_ns = bulk_now_ns();

        if (b->down || now_ns - began_ns > CONNECT_NS) {
            errno = b->down ? ECONNREFUSED : ETIMEDOUT;
            bulk_fail("connect");
        }
        if (now_ns - sent_ns > SYN_NS) {
            frame_send(b->device, syn, sizeof(syn));
            sent_ns = now_ns;
        }
        bare_receive(b);
    }
}

static void bare_header(struct bare *b, const uint8_t mac[6], uint16_t port)
{
    uint8_t *tcp = b->header + TCP_OFFSET;

    headers_make(b->header, b->device, mac, &b->source, &b->target, IPPROTO_TCP,
                 TCP_BYTES + b->payload_size);
    salvo_store_be16(tcp, PORT);
    salvo_store_be16(tcp + 2, port);
    salvo_store_be32(tcp + 8, b->peer_next);
    tcp[12] = TCP_BYTES / 4 << 4;
    tcp[13] = FLAG_ACK;
    salvo_store_be16(tcp + 14, UINT16_MAX);
    memcpy(tcp + SALVO_TCP_SIZE, (const uint8_t[]){1, 1, 8, 10}, 4);
    b->pseudo = salvo_sum_pseudo(&b->source, &b->target, IPPROTO_TCP, TCP_BYTES + b->payload_size);
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

static void bare_turn(struct bare *b)
{
    const struct salvo_device_ops *ops = salvo_device_head(b->device)->ops;
    int64_t now_ns = bulk_now_ns();

    bare_receive(b);
    if (b->next != b->una && now_ns - b->progress_ns > LOST_NS) {
        b->next = b->una;
        b->progress_ns = now_ns;
        b->again++;
    }
    salvo_store_be32(b->header + TCP_OFFSET + 24, (uint32_t)(now_ns / SALVO_NS_PER_MS));
    salvo_store_be32(b->header + TCP_OFFSET + 28, b->peer_time);
    for (unsigned room = ops->room(b->device); room != 0 && !bare_full(b); room--)
        bare_segment(b);
    ops->flush(b->device);
}

int bulk_bare(const struct salvo_endpoint *to, const char *ours, const char *device_name,
              uint16_t mtu, const char *mac_text)
{
    struct salvo_dpdk_port *port = bulk_port_open(device_name, mtu);
    struct bare b = {.device = salvo_dpdk_port_device(port, 0),
                     .copy = salvo_tcp_copy_choose(),
                     .source = address_of(ours),
                     .target = {.version = 4},
                     .payload_size = mtu - SALVO_IP4_SIZE - TCP_BYTES};
    struct ether_addr mac;
    double cpu_s = salvo_cpu_process_seconds();

    if (ether_aton_r(mac_text, &mac) == NULL) {
        errno = EINVAL;
        bulk_fail(mac_text);
    }
    memcpy(b.target.bytes, &to->v4.sin_addr, 4);
    bare_connect(&b, mac.ether_addr_octet, ntohs(to->v4.sin_port));
    bare_header(&b, mac.ether_addr_octet, ntohs(to->v4.sin_port));
    while (!b.down)
        bare_turn(&b);
    printf("{\"segments_out\": %llu, \"again\": %llu, \"cpu_seconds\": %.3f}\n",
           (unsigned long long)b.sent, (unsigned long long)b.again,
           salvo_cpu_process_seconds() - cpu_s);
    salvo_device_head(b.device)->ops->close(b.device);
    salvo_dpdk_port_close(port);
    return 0;
}
