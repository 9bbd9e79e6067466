/* Fuzzes the input path of dataplane/tcp: frames as they come, segments with right checksums and
 * wrong everything else, time, and what an application may do, in any order. After every step the
 * machine's books must balance (tests/packet/check.h).
 *
 * The input is a list of steps: a byte says which, the next ones are its operands. Numbers of
 * segments are taken relative to what the machine expects, so that most of them reach the code
 * behind the first check.
 *
 *     clang -fsanitize=fuzzer ...   explores;  tests/fuzz/replay.c runs the stored corpus as a unit
 * test */
#include "tests/packet/check.h"
#include "tests/packet/wire.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STREAM_SIZE (1u << 20)

struct fuzz {
    struct salvo_reader in;
    struct salvo_tcp *tcp;
    int64_t now_us;
    uint64_t conn;
    uint32_t given;
    bool six;
};

static uint8_t stream[STREAM_SIZE];
static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 2};
static const uint8_t us[2][16] = {{10, 0, 0, 1}, {0x20, 1, 0xd, 0xb8, [15] = 1}};
static const uint8_t them[2][16] = {{10, 0, 0, 2}, {0x20, 1, 0xd, 0xb8, [15] = 2}};

static void drain(struct fuzz *f)
{
    static uint8_t frame[WIRE_FRAME_MAX];
    struct salvo_tcp_packet packet;
    struct salvo_tcp_event events[4];
    struct wire_segment s;
    const char *bad;

    for (int i = 0; i < 512 && salvo_tcp_output(f->tcp, f->now_us, UINT32_MAX, &packet); i++) {
        struct tcp_frames frames = {0};
        uint32_t size;

        while ((size = tcp_frame_next(f->tcp, &packet, &frames, frame)) != 0)
            salvo_assert(wire_parse(frame, size, &s, &bad) != WIRE_BAD);
    }
    while (salvo_tcp_events(f->tcp, events, 4) != 0)
        continue;
    tcp_check(f->tcp);
}

static void input(struct fuzz *f, const uint8_t *frame, uint32_t size)
{
    uint8_t *exact = malloc(size == 0 ? 1 : size); /* so that one byte too far is seen */

    memcpy(exact, frame, size);
    salvo_tcp_input(f->tcp, exact, size, false, f->now_us);
    free(exact);
}

static const struct salvo_tcp_conn *conn_of(const struct fuzz *f)
{
    return &f->tcp->conns[(uint32_t)f->conn];
}

/* Distances of either sign, modulo 2^32. */
static uint32_t small(struct fuzz *f)
{
    int32_t distance = (int8_t)salvo_read_u8(&f->in);

    return (uint32_t)distance;
}

static uint32_t medium(struct fuzz *f)
{
    int32_t distance = (int16_t)salvo_read_u16(&f->in);

    return (uint32_t)distance;
}

static void step_segment(struct fuzz *f, bool exact)
{
    static uint8_t frame[WIRE_FRAME_MAX];
    const struct salvo_tcp_conn *c = conn_of(f);
    struct wire_segment s = {
        .six = f->six, .shift = -1, .source_port = 9876, .target_port = c->local_port};

    memcpy(s.source_mac, peer_mac, 6);
    memcpy(s.target_mac, our_mac, 6);
    memcpy(s.source, them[f->six], 16);
    memcpy(s.target, us[f->six], 16);
    s.flags = exact ? WIRE_ACK : salvo_read_u8(&f->in);
    uint32_t options = salvo_read_u8(&f->in);
    s.seq = (uint32_t)c->receive.next + (exact ? 0u : medium(f));
    s.ack = (uint32_t)c->send.una + medium(f);
    s.window = salvo_read_u16(&f->in);
    s.size = options & 0x80 ? salvo_read_u8(&f->in) * 8u : 0u;
    s.payload = stream;
    if (options & 1) {
        s.has_timestamp = true;
        s.timestamp = c->receive.timestamp_recent + small(f);
        s.echo =
            c->timestamp_offset + (uint32_t)(uint64_t)(f->now_us / 1000) - salvo_read_u8(&f->in);
    }
    if (options & 2)
        s.mss = salvo_read_u16(&f->in);
    if (options & 4)
        s.shift = salvo_read_u8(&f->in);
    s.sack_permitted = options & 8;
    s.sack_count = SALVO_MIN(options >> 4 & 3u, s.has_timestamp || s.mss != 0 ? 1u : 3u);
    for (unsigned i = 0; i < s.sack_count; i++) {
        s.sack[i][0] = (uint32_t)c->send.una + medium(f);
        s.sack[i][1] = s.sack[i][0] + salvo_read_u16(&f->in);
    }
    input(f, frame, wire_build(frame, &s));
}

static void step_icmp(struct fuzz *f)
{
    uint8_t frame[256];
    const struct salvo_tcp_conn *c = conn_of(f);
    struct wire_segment s = {.six = f->six, .source_port = c->local_port, .target_port = 9876};

    memcpy(s.source_mac, our_mac, 6);
    memcpy(s.target_mac, our_mac, 6);
    memcpy(s.source, us[f->six], 16);
    memcpy(s.target, them[f->six], 16);
    s.seq = (uint32_t)c->send.una + small(f);
    uint8_t type = salvo_read_u8(&f->in), code = salvo_read_u8(&f->in);
    input(f, frame, wire_icmp(frame, &s, type, code, salvo_read_u16(&f->in)));
}

static void step_raw(struct fuzz *f)
{
    uint32_t size = salvo_read_u8(&f->in);
    const uint8_t *bytes = salvo_read_bytes(&f->in, size);

    if (bytes != NULL)
        input(f, bytes, size);
}

static void step_time(struct fuzz *f)
{
    f->now_us += (int64_t)salvo_read_u16(&f->in) * 100;
    for (int i = 0; i < 64 && salvo_tcp_deadline_us(f->tcp) <= f->now_us; i++)
        salvo_tcp_timers(f->tcp, f->now_us);
}

static void step_open(struct fuzz *f)
{
    struct salvo_tcp_target target = {.port = 9876};
    uint64_t conn;

    target.address = f->six ? salvo_ip6_address(them[1]) : salvo_ip4_address(10, 0, 0, 2);
    if (salvo_tcp_open(f->tcp, &target, f->now_us, &conn) == SALVO_TCP_OPEN_OK)
        f->conn = conn;
}

static void step_send(struct fuzz *f)
{
    uint32_t size = salvo_read_u16(&f->in);
    struct salvo_tcp_range range = {stream + f->given % (STREAM_SIZE / 2), SALVO_MAX(size, 1u)};

    f->given += (uint32_t)salvo_tcp_send(f->tcp, f->conn, &range, 1, f->now_us);
}

static void step_read(struct fuzz *f)
{
    struct salvo_tcp_range ranges[2];
    unsigned n = salvo_tcp_readable(f->tcp, f->conn, ranges);
    size_t size = salvo_read_u16(&f->in);

    if (n != 0)
        salvo_tcp_consume(f->tcp, f->conn, SALVO_MIN(size, ranges[0].size), f->now_us);
}

static void step(struct fuzz *f)
{
    switch (salvo_read_u8(&f->in) % 12) {
    case 0:
    case 1:
        step_segment(f, true);
        break;
    case 2:
    case 3:
        step_segment(f, false);
        break;
    case 4:
        step_raw(f);
        break;
    case 5:
        step_icmp(f);
        break;
    case 6:
        step_time(f);
        break;
    case 7:
        step_send(f);
        break;
    case 8:
        step_read(f);
        break;
    case 9:
        salvo_tcp_shutdown(f->tcp, f->conn, f->now_us);
        break;
    case 10:
        salvo_tcp_close(f->tcp, f->conn, f->now_us);
        break;
    case 11:
        step_open(f);
        break;
    }
}

/* The first two bytes draw the configuration. */
static void configure(struct fuzz *f, struct salvo_tcp_config *c)
{
    uint8_t a = salvo_read_u8(&f->in), b = salvo_read_u8(&f->in);

    salvo_tcp_config_defaults(c);
    memcpy(c->mac, our_mac, 6);
    c->address4 = salvo_ip4_address(10, 0, 0, 1);
    c->address6 = salvo_ip6_address(us[1]);
    c->prefix4_bits = 24;
    c->prefix6_bits = 64;
    c->conns_max = 3;
    c->segments_max = a & 1 ? 8 : 64;
    c->ranges_max = 8;
    c->receive_size = a & 2 ? 2048 : 16384;
    c->time_wait_max = 2;
    c->sack = !(a & 4);
    c->timestamps = !(a & 8);
    c->window_scale = !(a & 16);
    c->nagle = a & 32;
    c->pacing = a & 64;
    c->congestion = a & 128 ? SALVO_TCP_NEWRENO : SALVO_TCP_CUBIC;
    c->tso_max = b & 16 ? 24000 : 0; /* cut into frames */
    f->six = b & 1;
}

/* Neighbour and handshake, so that the input need not find them. */
static void establish(struct fuzz *f, bool synack)
{
    static uint8_t frame[256];
    uint32_t size = f->six ? wire_nd(frame, 136, 255, peer_mac, them[1], our_mac, us[1], them[1])
                           : wire_arp(frame, 2, peer_mac, them[0], our_mac, us[0]);

    step_open(f);
    drain(f);
    input(f, frame, size);
    drain(f);
    if (!synack)
        return;
    const struct salvo_tcp_conn *c = conn_of(f);
    struct wire_segment s = {.six = f->six,
                             .shift = 2,
                             .source_port = 9876,
                             .target_port = c->local_port,
                             .flags = WIRE_SYN | WIRE_ACK,
                             .window = 30000,
                             .mss = 500,
                             .sack_permitted = true,
                             .has_timestamp = true,
                             .timestamp = 5};
    memcpy(s.source_mac, peer_mac, 6);
    memcpy(s.target_mac, our_mac, 6);
    memcpy(s.source, them[f->six], 16);
    memcpy(s.target, us[f->six], 16);
    s.ack = (uint32_t)c->send.iss + 1;
    s.seq = (uint32_t)c->send.iss * 7;
    input(f, frame, wire_build(frame, &s));
    drain(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz f = {.in = salvo_reader_over(data, size), .now_us = 1000000};
    struct salvo_tcp_config config;

    if (size < 3)
        return 0;
    configure(&f, &config);
    size_t memory_size = salvo_align_up(salvo_tcp_memory_size(&config), 64);
    void *memory = aligned_alloc(64, memory_size);
    f.tcp = salvo_tcp_init(memory, &config);
    establish(&f, data[1] & 2);
    for (int i = 0; i < 400 && salvo_reader_left(&f.in) != 0; i++) {
        step(&f);
        drain(&f);
    }
    salvo_tcp_abort(f.tcp, f.conn, f.now_us);
    drain(&f);
    free(memory);
    return 0;
}
