/* Packets that are cut into frames (salvo_tcp_cut_*): each frame is, bit for bit, what a machine
 * that makes single segments sends; a packet has no more segments than the device has room for; and
 * a connection with much to send gives way as often as if each segment were a packet. */
#include "tests/packet/check.h"
#include "tests/packet/wire.h"
#include "tests/unit/unit.h"

#define FRAMES_MAX  128
#define PAYLOAD_MAX 90000

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 2};
static const uint8_t us[2][16] = {{10, 0, 0, 1}, {0x20, 1, 0xd, 0xb8, [15] = 1}};
static const uint8_t them[2][16] = {{10, 0, 0, 2}, {0x20, 1, 0xd, 0xb8, [15] = 2}};

static uint8_t payload[PAYLOAD_MAX];

/* A machine and what it has sent. */
struct side {
    void *memory;
    struct salvo_tcp *tcp;
    uint64_t conns[2];
    bool six;
    int64_t now_us;
    unsigned count, packets, segments_most;
    uint16_t ports[FRAMES_MAX]; /* of packets */
    uint32_t sizes[FRAMES_MAX];
    uint8_t frames[FRAMES_MAX][2048];
};

static void side_open(struct side *s, bool six, bool timestamps, uint32_t tso_max, bool pacing,
                      bool offload)
{
    struct salvo_tcp_config config;

    salvo_tcp_config_defaults(&config);
    memcpy(config.mac, our_mac, 6);
    config.address4 = salvo_ip4_address(10, 0, 0, 1);
    config.prefix4_bits = 24;
    memcpy(config.address6.bytes, us[1], 16);
    config.address6.version = 6;
    config.prefix6_bits = 64;
    config.tso_max = tso_max;
    config.timestamps = timestamps;
    config.pacing = pacing;
    config.checksum_offload = offload;
    config.window_initial_segments = 4096;
    assert_int_equal(salvo_tcp_config_check(&config), 0);
    memset(s, 0, sizeof(*s));
    s->memory = aligned_alloc(64, salvo_align_up(salvo_tcp_memory_size(&config), 64));
    s->tcp = salvo_tcp_init(s->memory, &config);
    s->six = six;
    s->now_us = 1000000;
}

static void side_close(struct side *s)
{
    free(s->memory);
}

static void take(struct side *s, uint32_t room)
{
    struct salvo_tcp_packet packet;
    uint8_t frame[2048];
    uint32_t size;

    while (salvo_tcp_output(s->tcp, s->now_us, room, &packet)) {
        struct tcp_frames frames = {0};
        uint32_t segments = salvo_tcp_packet_segments(&packet);

        assert_true(segments <= room);
        s->segments_most = SALVO_MAX(s->segments_most, segments);
        s->packets++;
        assert_true(s->packets <= FRAMES_MAX);
        s->ports[s->packets - 1] = salvo_load_be16(packet.header + (s->six ? 54 : 34));
        if (segments > 1 && s->tcp->config.checksum_offload)
            continue; /* the device's affair */
        while ((size = tcp_frame_next(s->tcp, &packet, &frames, frame)) != 0) {
            assert_true(s->count < FRAMES_MAX && size <= sizeof(frame));
            memcpy(s->frames[s->count], frame, size);
            s->sizes[s->count++] = size;
            segments--;
        }
        assert_int_equal(segments, 0);
    }
}

/* What is in a frame; its sums are right. */
static struct wire_segment parsed(struct side *s, unsigned index)
{
    struct wire_segment segment;
    const char *bad = "";

    assert_true(index < s->count);
    assert_int_equal(wire_parse(s->frames[index], s->sizes[index], &segment, &bad), WIRE_TCP);
    return segment;
}

/* The neighbour is known, and the peer's SYN has come; nothing of it stays in `frames`. */
static void connect_one(struct side *s, unsigned index, uint16_t mss)
{
    struct salvo_tcp_target target = {.port = 9876, .local_port = (uint16_t)(20000 + index)};
    uint8_t frame[256];

    memcpy(target.address.bytes, them[s->six], 16);
    target.address.version = s->six ? 6 : 4;
    assert_int_equal(salvo_tcp_open(s->tcp, &target, s->now_us, &s->conns[index]),
                     SALVO_TCP_OPEN_OK);
    take(s, 1);
    if (index == 0) {
        uint32_t size = s->six
                            ? wire_nd(frame, 136, 255, peer_mac, them[1], our_mac, us[1], them[1])
                            : wire_arp(frame, 2, peer_mac, them[0], our_mac, us[0]);
        salvo_tcp_input(s->tcp, frame, size, false, s->now_us);
        take(s, 1);
    }
    struct wire_segment syn = parsed(s, s->count - 1);
    struct wire_segment answer = {.six = s->six,
                                  .source_port = 9876,
                                  .target_port = syn.source_port,
                                  .seq = 5000,
                                  .ack = syn.seq + 1,
                                  .flags = WIRE_SYN | WIRE_ACK,
                                  .window = 65535,
                                  .mss = mss,
                                  .shift = 7,
                                  .sack_permitted = true,
                                  .has_timestamp = syn.has_timestamp,
                                  .timestamp = 77,
                                  .echo = syn.timestamp};
    memcpy(answer.source_mac, peer_mac, 6);
    memcpy(answer.target_mac, our_mac, 6);
    memcpy(answer.source, them[s->six], 16);
    memcpy(answer.target, us[s->six], 16);
    salvo_tcp_input(s->tcp, frame, wire_build(frame, &answer), false, s->now_us);
    take(s, 1);
    answer.flags = WIRE_ACK; /* its window is scaled */
    answer.seq++;
    answer.mss = 0;
    answer.shift = -1;
    answer.sack_permitted = false;
    salvo_tcp_input(s->tcp, frame, wire_build(frame, &answer), false, s->now_us);
    s->count = s->packets = 0;
}

/* In pieces of odd and even sizes, none of them next to the one before: all of `piece`, or 0. A
 * packet has place for 48. */
static void give(struct side *s, unsigned conn, uint32_t size, uint32_t piece)
{
    static const uint32_t pieces[] = {700, 1, 333, 2049, 4096, 11, 1448};
    uint32_t at = 0;

    for (unsigned i = 0; at < size; i++) {
        uint32_t part = piece != 0 ? piece : pieces[i % SALVO_ARRAY_LENGTH(pieces)];
        part = SALVO_MIN(part, size - at);
        struct salvo_tcp_range range = {payload + (at + i) % (PAYLOAD_MAX / 2), part};

        assert_int_equal(salvo_tcp_send(s->tcp, s->conns[conn], &range, 1, s->now_us), part);
        at += part;
    }
}

/* From one place in memory: one range. */
static void give_at_once(struct side *s, unsigned conn, uint32_t size)
{
    static uint8_t bytes[4000000];
    struct salvo_tcp_range range = {bytes, size};

    assert_true(size <= sizeof(bytes));
    assert_int_equal(salvo_tcp_send(s->tcp, s->conns[conn], &range, 1, s->now_us), size);
}

static void the_same_frames(bool six, bool timestamps, bool fin, uint32_t size, uint32_t piece)
{
    static struct side one, other;

    side_open(&one, six, timestamps, 0, false, false);
    side_open(&other, six, timestamps, 24000, false, false);
    for (unsigned i = 0; i < 2; i++) {
        struct side *s = i == 0 ? &one : &other;

        connect_one(s, 0, 1460);
        give(s, 0, size, piece);
        if (fin)
            salvo_tcp_shutdown(s->tcp, s->conns[0], s->now_us);
        take(s, UINT32_MAX);
    }
    assert_int_equal(one.packets, one.count);
    assert_true(size < 3000 || other.packets < other.count);
    assert_int_equal(one.count, other.count);
    for (unsigned i = 0; i < one.count; i++) {
        assert_int_equal(one.sizes[i], other.sizes[i]);
        assert_memory_equal(one.frames[i], other.frames[i], one.sizes[i]);
        parsed(&other, i);
    }
    assert_int_equal(parsed(&other, other.count - 1).flags & (WIRE_FIN | WIRE_PSH),
                     fin ? WIRE_FIN | WIRE_PSH : WIRE_PSH);
    side_close(&one);
    side_close(&other);
}

static void cut_frames_are_those_of_single_segments(void **state)
{
    /* 19,500 in pieces of 399: the last segment needs a 49th. */
    static const uint32_t sizes[] = {1, 1448, 1449, 2896, 19500, 30001, 80000};
    static const uint32_t pieces[] = {0, 1000, 399};

    for (unsigned i = 0; i < PAYLOAD_MAX; i++)
        payload[i] = (uint8_t)(i * 31 + i / 256);
    for (unsigned i = 0; i < SALVO_ARRAY_LENGTH(sizes) * SALVO_ARRAY_LENGTH(pieces); i++) {
        for (unsigned kind = 0; kind < 8; kind++)
            the_same_frames(kind & 1, kind & 2, kind & 4, sizes[i % SALVO_ARRAY_LENGTH(sizes)],
                            pieces[i / SALVO_ARRAY_LENGTH(sizes)]);
    }
}

static void a_packet_has_no_more_segments_than_there_is_room(void **state)
{
    static struct side s;

    side_open(&s, false, true, 24000, false, false);
    connect_one(&s, 0, 1460);
    give(&s, 0, 80000, 0);
    take(&s, 3);
    assert_int_equal(s.segments_most, 3);
    assert_int_equal(s.count, 56); /* 80,000 in pieces of 1,448 */
    side_close(&s);
}

/* Sixteen segments, TCP_TURN_MAX, then the other: whatever a packet could hold, and also when the
 * last packet of a turn has to be a smaller one. */
static void take_turns(uint16_t mss, uint32_t room, unsigned packets)
{
    static struct side s;
    uint32_t payload_size = mss - 12u; /* timestamps */

    side_open(&s, false, true, 65000, false, false);
    for (unsigned i = 0; i < 2; i++)
        connect_one(&s, i, mss);
    for (unsigned i = 0; i < 2; i++)
        give(&s, i, 32 * payload_size, 0);
    take(&s, room);
    assert_int_equal(s.count, 64);
    assert_int_equal(s.packets, packets);
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(parsed(&s, i).source_port, 20000 + i / 16 % 2);
    side_close(&s);
}

static void connections_give_way_by_segments(void **state)
{
    take_turns(1460, UINT32_MAX, 4);
    take_turns(536, UINT32_MAX, 4);
    take_turns(1460, 5, 16); /* 5, 5, 5 and 1 */
}

/* One that cuts gets packets as large as they can be, and sixteen of them are a turn. */
static void a_device_that_cuts_has_whole_packets(void **state)
{
    enum { SEGMENTS = 65000 / 1448, PACKETS = 2 * TCP_TURN_MAX };
    static struct side s;

    side_open(&s, false, true, 65000, false, true);
    for (unsigned i = 0; i < 2; i++)
        connect_one(&s, i, 1460);
    for (unsigned i = 0; i < 2; i++)
        give_at_once(&s, i, PACKETS * SEGMENTS * 1448);
    take(&s, UINT32_MAX);
    assert_int_equal(s.segments_most, SEGMENTS);
    assert_int_equal(s.packets, 2 * PACKETS);
    for (unsigned i = 0; i < s.packets; i++)
        assert_int_equal(s.ports[i], 20000 + i / TCP_TURN_MAX % 2);
    side_close(&s);
}

/* Which spreads segments over the round trip. */
static void a_paced_packet_is_one_segment(void **state)
{
    static struct side s;

    side_open(&s, false, true, 24000, true, false);
    connect_one(&s, 0, 1460);
    give(&s, 0, 80000, 0);
    for (unsigned i = 0; i < 200000 && s.count < 56; i++) {
        s.now_us += 10;
        take(&s, UINT32_MAX);
        if (s.now_us >= salvo_tcp_deadline_us(s.tcp))
            salvo_tcp_timers(s.tcp, s.now_us);
    }
    assert_int_equal(s.count, 56);
    assert_int_equal(s.segments_most, 1);
    side_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_frames_are_those_of_single_segments),
        cmocka_unit_test(a_packet_has_no_more_segments_than_there_is_room),
        cmocka_unit_test(connections_give_way_by_segments),
        cmocka_unit_test(a_device_that_cuts_has_whole_packets),
        cmocka_unit_test(a_paced_packet_is_one_segment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
