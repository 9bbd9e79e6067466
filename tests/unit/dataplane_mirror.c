/* dataplane/mirror: which frames a filter lets through, what lies in the ring, and what happens
 * when it is full. */
#include "tests/packet/wire.h"
#include "tests/unit/unit.h"

#include "base/arena.h"
#include "dataplane/mirror.h"

static struct salvo_mirror mirror;
static uint8_t memory[SALVO_MIRROR_RING_SIZE];

static const uint8_t ours[16] = {10, 0, 0, 1}, theirs[16] = {10, 0, 0, 2};
static const uint8_t ours_six[16] = {0xfd, [15] = 1}, theirs_six[16] = {0xfd, [15] = 2};

static const struct salvo_mirror_filter everything = {0};

/* A segment of ours to port 9876. */
static uint32_t segment(uint8_t *frame, bool six, uint16_t local_port)
{
    struct wire_segment s = {.six = six,
                             .source_port = local_port,
                             .target_port = 9876,
                             .flags = WIRE_ACK,
                             .shift = -1,
                             .window = 1000};

    memcpy(s.source, six ? ours_six : ours, 16);
    memcpy(s.target, six ? theirs_six : theirs, 16);
    return wire_build(frame, &s);
}

static struct salvo_mirror_filter filter_of(bool six, uint8_t host, uint16_t port, uint16_t port_2)
{
    struct salvo_mirror_filter filter = {.ports = {port, port_2}};

    if (host == 0)
        return filter;
    filter.host.version = six ? 6 : 4;
    memcpy(filter.host.bytes, six ? theirs_six : theirs, 16);
    filter.host.bytes[six ? 15 : 3] = host;
    return filter;
}

static void a_filter_takes_its_connection_and_no_other(void **state)
{
    static const struct {
        uint8_t host; /* the address' last byte; 0: any */
        uint16_t port, port_2;
        bool wanted;
    } cases[] = {
        {0, 0, 0, true},         {2, 0, 0, true},         {1, 0, 0, true},
        {3, 0, 0, false},        {0, 9876, 0, true},      {0, 40000, 0, true},
        {0, 40001, 0, false},    {2, 9876, 40000, true},  {2, 40000, 9876, true},
        {2, 9876, 40001, false}, {3, 9876, 40000, false},
    };
    uint8_t frame[2048];

    for (int six = 0; six < 2; six++) {
        uint32_t size = segment(frame, six, 40000);

        for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
            struct salvo_mirror_filter filter =
                filter_of(six, cases[i].host, cases[i].port, cases[i].port_2);
            struct salvo_mirror_filter other =
                filter_of(!six, cases[i].host, cases[i].port, cases[i].port_2);

            assert_int_equal(salvo_mirror_wants(&filter, frame, size), cases[i].wanted);
            if (cases[i].host != 0)
                assert_false(salvo_mirror_wants(&other, frame, size));
        }
    }
}

/* Whatever a peer sends: no byte behind the frame's end is looked at (the sanitizers see it). */
static void short_frames_are_of_no_connection(void **state)
{
    struct salvo_mirror_filter host = filter_of(false, 2, 0, 0),
                               port = filter_of(false, 0, 9876, 0);
    uint8_t frame[2048];
    uint32_t size = segment(frame, false, 40000);

    for (uint32_t cut = 0; cut < 38; cut++) {
        uint8_t *copy = malloc(cut + 1);

        memcpy(copy, frame, cut);
        assert_true(salvo_mirror_wants(&everything, copy, cut));
        assert_int_equal(salvo_mirror_wants(&host, copy, cut), cut >= 34);
        assert_false(salvo_mirror_wants(&port, copy, cut));
        free(copy);
    }
    assert_true(salvo_mirror_wants(&port, frame, size));
    frame[20] = 0x01; /* a later fragment has no ports */
    assert_false(salvo_mirror_wants(&port, frame, size));
}

static void begin(uint32_t lane_index, const struct salvo_mirror_filter *filter)
{
    salvo_mirror_init(&mirror, lane_index, memory);
    assert_false(salvo_mirror_on(&mirror));
    salvo_mirror_begin(&mirror, filter);
    assert_true(salvo_mirror_on(&mirror));
}

static const struct salvo_mirror_record *next_record(void)
{
    uint32_t size;
    const struct salvo_mirror_record *record = salvo_ring_peek(&mirror.ring, &size);

    if (record != NULL) {
        assert_int_equal(size, sizeof(*record) + record->size);
        salvo_ring_advance(&mirror.ring, size);
    }
    return record;
}

static void frames_lie_in_the_ring_as_they_came(void **state)
{
    uint8_t bytes[3][2048];
    struct salvo_device_frame frames[3];
    struct salvo_mirror_filter filter = filter_of(false, 0, 40000, 9876);
    const struct salvo_mirror_record *record;

    for (unsigned i = 0; i < 3; i++)
        frames[i] = (struct salvo_device_frame){
            .bytes = bytes[i], .size = segment(bytes[i], false, (uint16_t)(40000 + i % 2))};
    begin(0, &filter);
    salvo_mirror_received(&mirror, frames, 3, 77);
    for (unsigned i = 0; i < 3; i += 2) {
        record = next_record();
        assert_non_null(record);
        assert_int_equal(record->mono_ns, 77);
        assert_int_equal(record->size, frames[i].size);
        assert_memory_equal(record->bytes, bytes[i], record->size);
    }
    assert_null(next_record());
    salvo_mirror_end(&mirror);
    assert_false(salvo_mirror_on(&mirror));
    assert_int_equal(mirror.ended, 1);
}

/* ARP comes to every lane. */
static void what_comes_to_all_lanes_is_kept_by_lane_0(void **state)
{
    uint8_t arp[64], tcp[2048];
    struct salvo_device_frame frames[2] = {
        {.bytes = arp, .size = wire_arp(arp, 1, ours, ours, theirs, theirs)},
        {.bytes = tcp, .size = segment(tcp, false, 40000)}};

    for (uint32_t lane = 0; lane < 2; lane++) {
        begin(lane, &everything);
        salvo_mirror_received(&mirror, frames, 2, 1);
        if (lane == 0)
            assert_int_equal(next_record()->size, frames[0].size);
        assert_int_equal(next_record()->size, frames[1].size);
        assert_null(next_record());
    }
}

static void a_full_ring_leaves_out_and_counts(void **state)
{
    static uint8_t frame[1514];
    uint64_t sent = 0, got = 0;

    segment(frame, false, 40000);
    begin(0, &everything);
    salvo_alloc_forbid(true);
    for (; mirror.dropped < 3; sent++)
        salvo_mirror_frame(&mirror, frame, sizeof(frame), (int64_t)sent);
    salvo_alloc_forbid(false);
    salvo_mirror_publish(&mirror);
    for (const struct salvo_mirror_record *record; (record = next_record()) != NULL; got++)
        assert_int_equal(record->mono_ns, got);
    assert_int_equal(got + 3, sent);
    assert_true(got * sizeof(frame) > SALVO_MIRROR_RING_SIZE / 10 * 9);
    salvo_ring_release(&mirror.ring);
    salvo_mirror_frame(&mirror, frame, sizeof(frame), 0);
    assert_int_equal(mirror.dropped, 3); /* there is room again */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_filter_takes_its_connection_and_no_other),
        cmocka_unit_test(short_frames_are_of_no_connection),
        cmocka_unit_test(frames_lie_in_the_ring_as_they_came),
        cmocka_unit_test(what_comes_to_all_lanes_is_kept_by_lane_0),
        cmocka_unit_test(a_full_ring_leaves_out_and_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
