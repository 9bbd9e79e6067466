/* The TCP stack alone: nanoseconds per segment, against a peer in the same process, with no device.
 *
 *     tcp_stack [ROUNDS]
 *     tcp_stack --count ROW plain|sack SEGMENTS      one row without times, for callgrind
 *
 * MSS 1460 (IPv4, timestamps on: 1448), software checksum: each segment is copied and summed into a
 * frame, as for a device that can do neither; a packet has the two that an ACK lets go. The peer
 * patches a ready-made ACK for every second segment and keeps as many segments in flight as the row
 * says. In the rows "sack" it also reports a hole that moves: of 100 segments two are told of
 * before the two in front of them.
 *
 * All rows take turns, a slice of a millisecond or two each, so that what else the machine does
 * hits them alike. Before a slice the ring of records goes round once, unmeasured: other rows have
 * had the cache. Times are CPU time of both sides; what the peer costs alone is a row too, and is
 * not taken off. No segment is lost, and all rows begin at the end of slow start: each ACK has
 * CUBIC's arithmetic in it. */
#include "dataplane/tcp/tcp.h"
#include "dataplane/tcp/tcp_copy.h"

#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define HUGE_PAGE      (2u << 20)
#define STREAM_SIZE    (16u << 20)
#define FRAMES         64u
#define FRAME_SIZE     2048u
#define SEGMENTS_MAX   8192u /* the least power of two above 4,096 in flight */
#define SLICE_SEGMENTS 8192u
/* Two segments an ACK: slow start ends at 1 GiB, the largest window there is. */
#define SLOW_START_SEGMENTS (1u << 20)
#define MSS                 1448u
#define ROUNDS_MAX          1000u

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 2};

/* What all rows share. The bytes sent are the same all the time: only their place matters. */
static uint8_t *stream;
static uint8_t *frames;

struct stack {
    struct salvo_tcp *tcp;
    uint64_t conn;
    int64_t now_us;
    uint32_t in_flight;
    bool with_sack;
    uint16_t port;
    uint32_t seq, ack, sent, timestamp_last;
    uint64_t given, segments, turns;
    uint8_t acks[2][14 + 20 + 20 + 24]; /* without a SACK block and with one */
};

struct row {
    const char *name;
    uint32_t in_flight; /* 0: no stack */
    double ns[ROUNDS_MAX];
};

/* CPU time of this thread: the machine may have other work. */
static int64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* As the program's arena is. */
static void *huge_alloc(size_t size)
{
    void *memory = aligned_alloc(HUGE_PAGE, salvo_align_up(size, HUGE_PAGE));

    if (memory == NULL)
        abort();
    madvise(memory, size, MADV_HUGEPAGE);
    memset(memory, 'x', size);
    return memory;
}

/* A frame of the peer's but for numbers and times. Its checksum is said to have been verified. */
static uint8_t *peer_headers(const struct stack *s, uint8_t *frame, uint8_t flags, uint32_t options)
{
    struct salvo_ip_address us = salvo_ip4_address(10, 0, 0, 1),
                            peer = salvo_ip4_address(10, 0, 0, 2);
    uint8_t *t = frame + 34;

    memcpy(frame, our_mac, 6);
    memcpy(frame + 6, peer_mac, 6);
    salvo_store_be16(frame + 12, 0x0800);
    salvo_ip_build(frame + 14, &peer, &us, 6, 64, 20 + options);
    salvo_store_be16(t, 9876);
    salvo_store_be16(t + 2, s->port);
    salvo_store_be32(t + 4, s->seq);
    salvo_store_be32(t + 8, s->ack);
    t[12] = (uint8_t)((20 + options) / 4 << 4);
    t[13] = flags;
    salvo_store_be16(t + 14, 65535);
    return t + 20;
}

static void peer_syn_ack(struct stack *s)
{
    uint8_t frame[14 + 20 + 20 + 20] = {0};
    uint8_t *o = peer_headers(s, frame, 0x12, 20);

    salvo_store_be32(o, 0x020405b4);
    salvo_store_be32(o + 4, 0x0103030a);
    salvo_store_be32(o + 8, 0x0402080a);
    salvo_store_be32(o + 12, (uint32_t)(uint64_t)s->now_us >> 10);
    salvo_store_be32(o + 16, s->timestamp_last);
    salvo_tcp_input(s->tcp, frame, sizeof(frame), true, s->now_us);
    s->seq++;
    for (unsigned i = 0; i < 2; i++) {
        o = peer_headers(s, s->acks[i], 0x10, i == 0 ? 12 : 24);
        salvo_store_be32(o, 0x0101080a);
        salvo_store_be32(o + 12, 0x0101050a);
    }
}

/* What the peer does for two segments: an ACK in the frame that comes back. */
static const uint8_t *peer_ack(struct stack *s, bool sack)
{
    uint8_t *frame = s->acks[sack];

    salvo_store_be32(frame + 42, s->ack);
    salvo_store_be32(frame + 58, (uint32_t)(uint64_t)s->now_us >> 10);
    salvo_store_be32(frame + 62, s->timestamp_last);
    if (sack) {
        salvo_store_be32(frame + 70, s->ack + 2 * MSS);
        salvo_store_be32(frame + 74, s->ack + 4 * MSS);
    }
    return frame;
}

static void peer_read(struct stack *s, const uint8_t *header, uint32_t payload_size)
{
    s->sent = salvo_load_be32(header + 38) + payload_size;
    s->timestamp_last = salvo_load_be32(header + 34 + 24);
    s->segments++;
}

static void open_connection(struct stack *s)
{
    struct salvo_tcp_target target = {.address = salvo_ip4_address(10, 0, 0, 2), .port = 9876};
    struct salvo_tcp_packet packet;
    uint8_t arp[42] = {0};

    if (salvo_tcp_open(s->tcp, &target, s->now_us, &s->conn) != 0)
        abort();
    while (salvo_tcp_output(s->tcp, s->now_us, UINT32_MAX, &packet))
        continue;
    memcpy(arp, our_mac, 6);
    memcpy(arp + 6, peer_mac, 6);
    salvo_store_be16(arp + 12, 0x0806);
    memcpy(arp + 14, (uint8_t[]){0, 1, 8, 0, 6, 4, 0, 2}, 8);
    memcpy(arp + 22, peer_mac, 6);
    memcpy(arp + 28, (uint8_t[]){10, 0, 0, 2}, 4);
    memcpy(arp + 32, our_mac, 6);
    memcpy(arp + 38, (uint8_t[]){10, 0, 0, 1}, 4);
    salvo_tcp_input(s->tcp, arp, sizeof(arp), true, s->now_us);
    if (!salvo_tcp_output(s->tcp, s->now_us, UINT32_MAX, &packet))
        abort();
    s->port = salvo_load_be16(packet.header + 34);
    s->sent = s->ack = salvo_load_be32(packet.header + 38) + 1;
    s->timestamp_last = salvo_load_be32(packet.header + 34 + 20 + 8);
    s->seq = 1000;
    s->now_us += 50;
    peer_syn_ack(s);
}

/* The caller's memory is used round and round, and is always behind what is in flight. */
static void give(struct stack *s)
{
    struct salvo_tcp_info info;
    struct salvo_tcp_event events[8];

    salvo_tcp_events(s->tcp, events, 8);
    salvo_tcp_conn_info(s->tcp, s->conn, &info);
    while (info.bytes_unsent + info.bytes_unacked < STREAM_SIZE / 2) {
        struct salvo_tcp_range range = {stream + s->given % STREAM_SIZE, 65536};
        size_t taken = salvo_tcp_send(s->tcp, s->conn, &range, 1, s->now_us);
        s->given += taken;
        info.bytes_unsent += taken;
        if (taken == 0)
            break;
    }
}

static uint8_t *frame_next(const struct stack *s)
{
    return frames + s->segments % FRAMES * FRAME_SIZE;
}

/* As net_tcp for a device without offloads. */
static void transmit(struct stack *s, const struct salvo_tcp_packet *packet)
{
    struct salvo_tcp_cut cut;
    uint32_t size;

    if (packet->segment_size == 0) {
        salvo_tcp_packet_write(s->tcp, packet, frame_next(s));
        peer_read(s, packet->header, packet->payload_size);
        return;
    }
    salvo_tcp_cut_start(&cut, packet);
    while ((size = salvo_tcp_cut_size(&cut, packet)) != 0) {
        uint8_t *frame = frame_next(s);

        salvo_tcp_cut_write(s->tcp, packet, &cut, frame);
        peer_read(s, frame, size - packet->header_size);
    }
}

/* Sends until as many are in flight as the row says, then lets the peer acknowledge the first two.
 */
static void stack_run(struct stack *s, uint32_t segments)
{
    uint64_t end = s->segments + segments;
    struct salvo_tcp_packet packet;
    uint32_t flying;

    while (s->segments < end) {
        if (s->turns++ % 16 == 0)
            give(s);
        while ((flying = (s->sent - s->ack) / MSS) < s->in_flight &&
               salvo_tcp_output(s->tcp, s->now_us, s->in_flight - flying, &packet))
            transmit(s, &packet);
        s->now_us +=
            s->turns == 1 ? s->in_flight / 2 : 1; /* the round trip is even from the start */
        if (salvo_tcp_deadline_us(s->tcp) <= s->now_us)
            salvo_tcp_timers(s->tcp, s->now_us);
        if (s->with_sack && s->turns % 50 == 0)
            salvo_tcp_input(s->tcp, peer_ack(s, true), sizeof(s->acks[1]), true, s->now_us);
        s->ack += 2 * MSS;
        salvo_tcp_input(s->tcp, peer_ack(s, false), sizeof(s->acks[0]) - 12, true, s->now_us);
    }
}

static struct stack *stack_new(uint32_t in_flight, bool with_sack)
{
    struct salvo_tcp_config config;
    struct stack *s = calloc(1, sizeof(*s));

    salvo_tcp_config_defaults(&config);
    memcpy(config.mac, our_mac, 6);
    config.address4 = salvo_ip4_address(10, 0, 0, 1);
    config.prefix4_bits = 24;
    config.segments_max = SEGMENTS_MAX;
    config.tso_max = SALVO_TCP_PACKET_PAYLOAD_MAX;
    config.window_initial_segments = in_flight; /* the row decides, not slow start */
    config.conns_max = 1;
    if (s == NULL)
        abort();
    *s = (struct stack){.now_us = 1000000, .in_flight = in_flight, .with_sack = with_sack};
    s->tcp = salvo_tcp_init(huge_alloc(salvo_tcp_memory_size(&config)), &config);
    open_connection(s);
    stack_run(s, SLOW_START_SEGMENTS);
    return s;
}

/* The peer's part, as if there were a stack. */
static void peer_run(struct stack *s, uint32_t segments)
{
    uint64_t end = s->segments + segments;

    while (s->segments < end) {
        peer_read(s, frames + s->segments % FRAMES * FRAME_SIZE, MSS);
        peer_read(s, frames + s->segments % FRAMES * FRAME_SIZE, MSS);
        s->now_us++;
        const uint8_t *frame = peer_ack(s, s->turns++ % 50 == 0);
        __asm__ volatile("" : : "r"(frame) : "memory"); /* it is used */
        s->ack += 2 * MSS;
    }
}

/* The floor under every row: the same bytes copied and summed, and nothing else. */
static void copy_run(uint32_t segments)
{
    static uint32_t at;
    static uint64_t sum;
    salvo_tcp_copy_fn *copy = salvo_tcp_copy_choose();

    for (uint32_t i = 0; i < segments; i++, at = (at + MSS) % (STREAM_SIZE - FRAME_SIZE))
        sum += copy(frames + i % FRAMES * FRAME_SIZE + 66, stream + at, MSS);
    __asm__ volatile("" : : "r"(sum)); /* it is used */
}

/* Every ACK was taken, nothing was sent twice: else a row would measure something else. */
static void stack_check(const struct stack *s)
{
    const struct salvo_tcp_stats *stats = salvo_tcp_stats(s->tcp);
    struct salvo_tcp_info info;

    if (!salvo_tcp_conn_info(s->tcp, s->conn, &info) ||
        info.bytes_unacked != (uint32_t)(s->sent - s->ack) ||
        info.segments_in_flight > s->in_flight || stats->segments_retransmitted != 0 ||
        stats->challenge_acks != 0 || stats->timeouts != 0 || stats->recoveries != 0) {
        fprintf(stderr, "the peer and the stack do not agree\n");
        exit(1);
    }
}

static void row_run(struct stack *s, uint32_t segments)
{
    if (s == NULL) {
        copy_run(segments);
    } else if (s->in_flight == 0) {
        peer_run(s, segments);
    } else {
        stack_run(s, segments);
        stack_check(s);
    }
}

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static double median_of(double *values, unsigned count)
{
    qsort(values, count, sizeof(*values), by_value);
    return values[count / 2];
}

/* Beside the first row of its kind: each round's ratio, and of these the median. */
static double ratio_median(const struct row *row, const struct row *first, unsigned rounds)
{
    double ratios[ROUNDS_MAX];

    for (unsigned i = 0; i < rounds; i++)
        ratios[i] = row->ns[i] / first->ns[i];
    return median_of(ratios, rounds);
}

static void row_print(struct row *row, double beside, unsigned rounds)
{
    double median = median_of(row->ns, rounds), least = row->ns[0];

    printf("%-5s %9u %9.1f %9.1f", row->name, row->in_flight, least, median);
    if (row->in_flight != 0)
        printf(" %8.1f %8.1f %8.3f", MSS * 8 / least, MSS * 8 / median, beside);
    printf("\n");
}

static const uint32_t sizes[] = {32, 128, 512, 1024, 2048, 4096};
#define SIZES SALVO_ARRAY_LENGTH(sizes)
#define ROWS  (2 + 2 * SIZES)

static void rows_run(unsigned rounds)
{
    static struct row rows[ROWS] = {{.name = "copy"}, {.name = "peer"}};
    struct stack *stacks[ROWS] = {NULL, stack_new(32, false)};
    double beside[ROWS] = {0};

    stacks[1]->in_flight = 0;
    for (size_t i = 0; i < 2 * SIZES; i++) {
        bool sack = i >= SIZES;
        rows[2 + i] = (struct row){.name = sack ? "sack" : "plain", .in_flight = sizes[i % SIZES]};
        stacks[2 + i] = stack_new(sizes[i % SIZES], sack);
    }
    for (unsigned round = 0; round < rounds; round++) {
        for (size_t n = 0; n < ROWS; n++) {
            size_t i = round % 2 == 0 ? n : ROWS - 1 - n;
            row_run(stacks[i], SEGMENTS_MAX);
            int64_t start_ns = cpu_ns();
            row_run(stacks[i], SLICE_SEGMENTS);
            rows[i].ns[round] = (double)(cpu_ns() - start_ns) / SLICE_SEGMENTS;
        }
    }
    for (size_t i = 2; i < ROWS; i++)
        beside[i] = ratio_median(&rows[i], &rows[i < 2 + SIZES ? 2 : 2 + SIZES], rounds);
    printf("build: %s; %u rounds of %u segments\n", SALVO_BUILD_TYPE, rounds, SLICE_SEGMENTS);
    printf("row   in flight  ns least ns median     Gbit/s of each  ratio to 32, median\n");
    for (size_t i = 0; i < ROWS; i++)
        row_print(&rows[i], beside[i], rounds);
}

static uint32_t number(const char *text)
{
    return (uint32_t)strtoul(text, NULL, 10);
}

int main(int argc, char **argv)
{
    stream = huge_alloc(STREAM_SIZE);
    frames = huge_alloc(FRAMES * FRAME_SIZE);
    if (argc == 5 && strcmp(argv[1], "--count") == 0) {
        struct stack *s = stack_new(number(argv[2]), strcmp(argv[3], "sack") == 0);
        row_run(s, number(argv[4]));
        return 0;
    }
    unsigned rounds = argc > 1 ? number(argv[1]) : 50;
    rows_run(SALVO_CLAMP(rounds, 1u, ROUNDS_MAX));
    return 0;
}
