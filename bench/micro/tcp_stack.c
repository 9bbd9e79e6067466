/* The TCP stack alone: nanoseconds per segment, against a peer in the same process, with no device.
 *
 *     tcp_stack [seconds per row]
 *
 * MSS 1460 (IPv4, timestamps on: 1448), software checksum: each segment is copied and summed into a
 * frame, as for a device that can do neither. The peer reads the headers, acknowledges every second
 * segment, and keeps as many segments in flight as the row says. With "sack" it also reports a hole
 * that moves: one segment in 100 is said to be late for a while, so that every ACK carries blocks.
 * Each figure is the least of many slices of some milliseconds: others may use the machine too.
 * Times are of both sides together; the peer's part alone, a dozen loads and stores, is not taken
 * off. */
#include "dataplane/tcp/tcp.h"
#include "dataplane/tcp/tcp_copy.h"

#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STREAM_SIZE (16u << 20)
#define FRAMES      64

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 2};

struct bench {
    struct salvo_tcp *tcp;
    uint64_t conn;
    int64_t now_us;
    uint8_t ack_frame[14 + 20 + 20 + 12 + 12];
    uint16_t port;
    uint32_t seq, ack, timestamp_last;
    uint8_t *stream;
    uint64_t given, segments;
};

/* CPU time of this thread: the machine may have other work. */
static int64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* A bare segment of the peer's; its checksum is said to have been verified. */
static void peer_segment(struct bench *b, uint8_t flags, const uint32_t *sack)
{
    uint8_t *p = b->ack_frame;
    uint32_t options = flags & 2 ? 20 : sack != NULL ? 24 : 12;
    uint32_t size = 20 + options;
    struct salvo_ip_address us = salvo_ip4_address(10, 0, 0, 1),
                            peer = salvo_ip4_address(10, 0, 0, 2);

    memcpy(p, our_mac, 6);
    memcpy(p + 6, peer_mac, 6);
    salvo_store_be16(p + 12, 0x0800);
    salvo_ip_build(p + 14, &peer, &us, 6, 64, size);
    uint8_t *t = p + 34;
    salvo_store_be16(t, 9876);
    salvo_store_be16(t + 2, b->port);
    salvo_store_be32(t + 4, b->seq);
    salvo_store_be32(t + 8, b->ack);
    t[12] = (uint8_t)(size / 4 << 4);
    t[13] = flags;
    salvo_store_be16(t + 14, 65535);
    uint8_t *o = t + 20;
    if (flags & 2) {
        salvo_store_be32(o, 0x020405b4);
        salvo_store_be32(o + 4, 0x0103030a);
        o += 8;
    }
    salvo_store_be32(o, flags & 2 ? 0x0402080a : 0x0101080a);
    salvo_store_be32(o + 4, (uint32_t)(uint64_t)(b->now_us / 1000));
    salvo_store_be32(o + 8, b->timestamp_last);
    if (sack != NULL) {
        salvo_store_be32(o + 12, 0x0101050a);
        salvo_store_be32(o + 16, sack[0]);
        salvo_store_be32(o + 20, sack[1]);
    }
    salvo_tcp_input(b->tcp, p, 34 + size, true, b->now_us);
}

static void open_connection(struct bench *b, uint32_t in_flight)
{
    struct salvo_tcp_target target = {.address = salvo_ip4_address(10, 0, 0, 2), .port = 9876};
    struct salvo_tcp_packet packet;
    uint8_t arp[42] = {0};
    struct salvo_tcp_event events[8];

    if (salvo_tcp_open(b->tcp, &target, b->now_us, &b->conn) != 0)
        abort();
    while (salvo_tcp_output(b->tcp, b->now_us, &packet))
        continue;
    memcpy(arp, our_mac, 6);
    memcpy(arp + 6, peer_mac, 6);
    salvo_store_be16(arp + 12, 0x0806);
    memcpy(arp + 14, (uint8_t[]){0, 1, 8, 0, 6, 4, 0, 2}, 8);
    memcpy(arp + 22, peer_mac, 6);
    memcpy(arp + 28, (uint8_t[]){10, 0, 0, 2}, 4);
    memcpy(arp + 32, our_mac, 6);
    memcpy(arp + 38, (uint8_t[]){10, 0, 0, 1}, 4);
    salvo_tcp_input(b->tcp, arp, sizeof(arp), true, b->now_us);
    if (!salvo_tcp_output(b->tcp, b->now_us, &packet))
        abort();
    b->port = salvo_load_be16(packet.header + 34);
    b->ack = salvo_load_be32(packet.header + 38) + 1;
    b->timestamp_last = salvo_load_be32(packet.header + 34 + 20 + 8);
    b->seq = 1000;
    b->now_us += 50;
    peer_segment(b, 0x12, NULL);
    b->seq++;
    while (salvo_tcp_output(b->tcp, b->now_us, &packet))
        continue;
    salvo_tcp_events(b->tcp, events, 8);
    (void)in_flight;
}

/* The caller's memory is used round and round, and is always behind what is in flight. */
static void give(struct bench *b)
{
    struct salvo_tcp_info info;
    struct salvo_tcp_event events[8];

    salvo_tcp_events(b->tcp, events, 8);
    salvo_tcp_conn_info(b->tcp, b->conn, &info);
    while (info.bytes_unsent + info.bytes_unacked < STREAM_SIZE / 2) {
        struct salvo_tcp_range range = {b->stream + b->given % STREAM_SIZE, 65536};
        size_t taken = salvo_tcp_send(b->tcp, b->conn, &range, 1, b->now_us);
        b->given += taken;
        info.bytes_unsent += taken;
        if (taken == 0)
            break;
    }
}

/* Sends until the window is full, then lets the peer acknowledge what lies `in_flight` segments
 * back. */
static double run_row(uint32_t in_flight, bool with_sack, double seconds)
{
    struct salvo_tcp_config config;
    static uint8_t frames[FRAMES][2048];
    struct bench b = {.now_us = 1000000};
    struct salvo_tcp_packet packet;

    salvo_tcp_config_defaults(&config);
    memcpy(config.mac, our_mac, 6);
    config.address4 = salvo_ip4_address(10, 0, 0, 1);
    config.prefix4_bits = 24;
    config.segments_max = 8192;
    config.window_initial_segments = in_flight; /* the row decides, not slow start */
    config.conns_max = 1;
    size_t size = salvo_align_up(salvo_tcp_memory_size(&config), 64);
    void *memory = aligned_alloc(64, size);
    memset(memory, 0, size);
    b.stream = aligned_alloc(64, STREAM_SIZE);
    memset(b.stream, 'x', STREAM_SIZE);
    b.tcp = salvo_tcp_init(memory, &config);
    open_connection(&b, in_flight);

    uint32_t sent = b.ack, slot = 0, since_give = 0;
    const uint32_t mss = 1448;
    int64_t start_ns = cpu_ns(), end_ns = start_ns + (int64_t)(seconds * 1e9);
    int64_t slice_ns = start_ns;
    uint64_t slice_segments = 0;
    double least_ns = 1e9;
    give(&b);
    for (uint64_t turn = 0;; turn++) {
        while ((sent - b.ack) / mss < in_flight && salvo_tcp_output(b.tcp, b.now_us, &packet)) {
            salvo_tcp_packet_write(b.tcp, &packet, frames[slot++ % FRAMES]);
            sent = salvo_load_be32(packet.header + 38) + packet.payload_size;
            b.timestamp_last = salvo_load_be32(packet.header + 34 + 24);
            b.segments++;
        }
        b.now_us += 1;
        if (salvo_tcp_deadline_us(b.tcp) <= b.now_us)
            salvo_tcp_timers(b.tcp, b.now_us);
        if (with_sack && in_flight >= 8 &&
            turn % 50 == 0) { /* one is late: blocks, then all at once */
            uint32_t sack[2] = {b.ack + mss, b.ack + 3 * mss};
            peer_segment(&b, 0x10, sack);
        }
        b.ack += 2 * mss;
        peer_segment(&b, 0x10, NULL);
        if (++since_give == 16) {
            since_give = 0;
            give(&b);
        }
        if (turn % 4096 != 0)
            continue;
        int64_t now_ns = cpu_ns();
        if (now_ns - start_ns > (end_ns - start_ns) / 5) /* it is warm */
            least_ns = SALVO_MIN(least_ns, (double)(now_ns - slice_ns) /
                                               (double)(b.segments - slice_segments));
        slice_ns = now_ns;
        slice_segments = b.segments;
        if (now_ns >= end_ns)
            break;
    }
    free(b.stream);
    free(memory);
    return least_ns;
}

/* The floor under every row: the same bytes copied and summed, and nothing else. */
static double copy_alone(double seconds)
{
    static uint8_t frames[FRAMES][2048];
    uint8_t *stream = aligned_alloc(64, STREAM_SIZE);
    salvo_tcp_copy_fn *copy = salvo_tcp_copy_choose();
    int64_t start_ns = cpu_ns(), now_ns = start_ns;
    double least_ns = 1e9;
    uint64_t count = 0;
    uint64_t sum = 0;

    memset(stream, 'x', STREAM_SIZE);
    for (uint32_t at = 0; now_ns - start_ns < (int64_t)(seconds * 1e9);) {
        int64_t slice_ns = now_ns;

        for (unsigned i = 0; i < 4096; i++, count++, at = (at + 1448) % (STREAM_SIZE - 2048))
            sum += copy(frames[count % FRAMES] + 66, stream + at, 1448);
        now_ns = cpu_ns();
        least_ns = SALVO_MIN(least_ns, (double)(now_ns - slice_ns) / 4096);
    }
    free(stream);
    if (sum == 0) /* so that the sums are taken */
        abort();
    return least_ns;
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 0.5;
    double copy_ns = copy_alone(seconds);
    static const uint32_t rows[] = {32, 128, 512, 1024, 2048, 4096};

    printf("copy and checksum of 1448 bytes alone: %.1f ns\n", copy_ns);
    printf("segments in flight   ns/segment   Gbit/s   ns/segment with SACK\n");
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(rows); i++) {
        double plain = run_row(rows[i], false, seconds);
        double sack = run_row(rows[i], true, seconds);
        printf("%18u   %10.1f   %6.1f   %20.1f\n", rows[i], plain, 1448 * 8 / plain, sack);
    }
    return 0;
}
