/* dataplane/device_share: who gets which frame, lanes that send by lane 0's queue, rings that are
 * full, and lanes that sleep while others hand over. The queues below are arrays. */
#include "tests/packet/wire.h"
#include "tests/unit/unit.h"

#include "base/arena.h"
#include "base/cpu.h"
#include "dataplane/device_share.h"

#include <poll.h>
#include <sys/eventfd.h>

#define LANES      3u
#define FRAMES_MAX 64u

struct queue {
    struct salvo_device_head head;
    uint8_t in[FRAMES_MAX][2048], out[FRAMES_MAX][2048];
    uint32_t in_sizes[FRAMES_MAX], out_sizes[FRAMES_MAX];
    struct salvo_tcp_packet last; /* as committed */
    unsigned in_count, in_given, out_count, room, flushed;
    bool down, closed;
    int fd;
    _Atomic uint32_t overslept;
};

static struct queue queues[LANES];
static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t mac_other[6] = {2, 0, 0, 0, 0, 9};

static struct queue *queue_of(struct salvo_device *device)
{
    return (struct queue *)device;
}

static unsigned queue_receive(struct salvo_device *device, struct salvo_device_frame *ret_frames,
                              unsigned frames_max)
{
    struct queue *q = queue_of(device);
    unsigned count = 0;

    for (; count < frames_max && q->in_given != q->in_count; q->in_given++)
        ret_frames[count++] = (struct salvo_device_frame){q->in[q->in_given % FRAMES_MAX],
                                                          q->in_sizes[q->in_given % FRAMES_MAX],
                                                          q->in_given % 2 == 0};
    return count;
}

static unsigned queue_room(struct salvo_device *device)
{
    return queue_of(device)->room;
}

static uint8_t *queue_claim(struct salvo_device *device, uint32_t size)
{
    struct queue *q = queue_of(device);

    assert_true(q->room != 0 && size <= sizeof(q->out[0]));
    q->out_sizes[q->out_count] = size;
    return q->out[q->out_count];
}

static void queue_commit(struct salvo_device *device, const struct salvo_tcp_packet *packet)
{
    struct queue *q = queue_of(device);

    q->last = *packet;
    q->out_count++;
    q->room--;
}

static void queue_flush(struct salvo_device *device)
{
    queue_of(device)->flushed++;
}

static bool queue_link_up(struct salvo_device *device)
{
    return !queue_of(device)->down;
}

/* One minute is never: nobody may need it. */
static void queue_nap(struct salvo_device *device, int64_t ns)
{
    struct queue *q = queue_of(device);
    struct pollfd fd = {.fd = q->fd, .events = POLLIN};
    uint64_t count;

    if (poll(&fd, 1, 60000) <= 0)
        atomic_fetch_add(&q->overslept, 1);
    else
        assert_int_equal(read(q->fd, &count, sizeof(count)), sizeof(count));
}

static void queue_wake(struct salvo_device *device)
{
    uint64_t one = 1;

    assert_int_equal(write(queue_of(device)->fd, &one, sizeof(one)), sizeof(one));
}

static void queue_close(struct salvo_device *device)
{
    queue_of(device)->closed = true;
    close(queue_of(device)->fd);
}

static const struct salvo_device_ops queue_ops = {
    .name = "queue",
    .receive = queue_receive,
    .room = queue_room,
    .claim = queue_claim,
    .commit = queue_commit,
    .flush = queue_flush,
    .link_up = queue_link_up,
    .nap = queue_nap,
    .wake = queue_wake,
    .close = queue_close,
};

static struct salvo_device_share *start(uint32_t pairs)
{
    struct salvo_device *devices[LANES];
    struct salvo_device_share_conf conf = {.lanes = LANES, .pairs = pairs, .devices = devices};
    struct salvo_device_share *share;

    memset(queues, 0, sizeof(queues));
    for (unsigned i = 0; i < LANES; i++) {
        queues[i].head.magic = SALVO_DEVICE_MAGIC;
        queues[i].head.ops = &queue_ops;
        queues[i].head.caps.mtu = 1500;
        queues[i].head.caps.references = true;
        queues[i].head.caps.checksum = true;
        memcpy(queues[i].head.caps.mac, mac, 6);
        queues[i].room = FRAMES_MAX;
        queues[i].fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        devices[i] = (struct salvo_device *)&queues[i];
    }
    assert_int_equal(salvo_device_share_open(&conf, &share), 0);
    return share;
}

static void end(struct salvo_device_share *share)
{
    salvo_device_share_close(share);
    for (unsigned i = 0; i < LANES; i++)
        assert_true(queues[i].closed);
}

/* A segment for a local port arrives at a queue. */
static void arrives(struct queue *q, bool six, uint16_t port, const uint8_t to[6])
{
    struct wire_segment s = {.six = six,
                             .source_port = 9876,
                             .target_port = port,
                             .flags = WIRE_ACK,
                             .shift = -1,
                             .window = 1000};
    unsigned at = q->in_count++ % FRAMES_MAX;

    memcpy(s.target_mac, to, 6);
    q->in_sizes[at] = wire_build(q->in[at], &s);
}

static const struct salvo_device_ops *ops_of(struct salvo_device_share *share, uint32_t lane)
{
    return salvo_device_head(salvo_device_share_lane(share, lane))->ops;
}

/* What a lane receives now, as the ports its frames are for. */
static unsigned received(struct salvo_device_share *share, uint32_t lane, uint16_t *ret_ports)
{
    struct salvo_device_frame frames[FRAMES_MAX];
    unsigned count =
        ops_of(share, lane)->receive(salvo_device_share_lane(share, lane), frames, FRAMES_MAX);

    for (unsigned i = 0; i < count; i++) {
        struct wire_segment s;
        const char *bad;
        enum wire_kind kind = wire_parse(frames[i].bytes, frames[i].size, &s, &bad);

        assert_int_not_equal(kind, WIRE_BAD);
        ret_ports[i] = kind == WIRE_TCP ? s.target_port : 0;
    }
    return count;
}

static void a_frame_comes_to_the_lane_that_owns_its_port(void **state)
{
    for (uint32_t pairs = 1; pairs <= LANES; pairs++) {
        struct salvo_device_share *share = start(pairs);
        uint16_t ports[FRAMES_MAX];
        unsigned total = 0;

        for (uint16_t port = 40000; port < 40012; port++)
            arrives(&queues[port / 3 % pairs], port & 1, port, mac);
        for (unsigned round = 0; round < 2; round++)
            for (uint32_t lane = 0; lane < LANES; lane++) {
                unsigned count = received(share, lane, ports);

                for (unsigned i = 0; i < count; i++) {
                    assert_true(salvo_device_share_owns(LANES, lane, ports[i]));
                    total++;
                }
            }
        assert_int_equal(total, 12);
        assert_int_equal(salvo_device_share_lost(share), 0);
        end(share);
    }
}

static void what_is_no_tcp_comes_to_all_and_other_hosts_frames_to_none(void **state)
{
    struct salvo_device_share *share = start(2);
    const uint8_t ours[4] = {10, 0, 0, 1}, theirs[4] = {10, 0, 0, 2};
    uint16_t ports[FRAMES_MAX];

    arrives(&queues[1], false, 40000, mac_other);
    assert_int_equal(received(share, 1, ports), 1); /* its own machine drops it */
    queues[1].in_sizes[1] = wire_arp(queues[1].in[1], 2, mac_other, theirs, mac, ours);
    queues[1].in_count++;
    assert_int_equal(received(share, 1, ports), 1);
    for (uint32_t lane = 0; lane < LANES; lane++)
        assert_int_equal(received(share, lane, ports), lane != 1);
    end(share);
}

static void what_the_device_has_verified_stays_verified(void **state)
{
    struct salvo_device_share *share = start(1);
    struct salvo_device_frame frames[FRAMES_MAX];
    uint16_t ports[FRAMES_MAX];

    arrives(&queues[0], false, 40000, mac); /* 40000 % 3: lane 1; verified */
    arrives(&queues[0], false, 40003, mac); /* not */
    assert_int_equal(received(share, 0, ports), 0);
    struct salvo_device *lane = salvo_device_share_lane(share, 1);
    assert_int_equal(ops_of(share, 1)->receive(lane, frames, FRAMES_MAX), 2);
    assert_true(frames[0].checksum_verified && !frames[1].checksum_verified);
    assert_memory_equal(frames[1].bytes, queues[0].in[1], queues[0].in_sizes[1]);
    end(share);
}

static void sends(struct salvo_device_share *share, uint32_t index, uint8_t fill, uint32_t size)
{
    struct salvo_device *lane = salvo_device_share_lane(share, index);
    struct salvo_tcp_packet packet = {.header_size = 54,
                                      .payload_size = size - 54,
                                      .ip_size = 20,
                                      .tcp_size = 32,
                                      .segment_size = 7};

    assert_true(ops_of(share, index)->room(lane) != 0);
    memset(ops_of(share, index)->claim(lane, size), fill, size);
    ops_of(share, index)->commit(lane, &packet);
}

static void flush(struct salvo_device_share *share, uint32_t lane)
{
    ops_of(share, lane)->flush(salvo_device_share_lane(share, lane));
}

static void a_lane_without_a_queue_sends_by_lane_0(void **state)
{
    struct salvo_device_share *share = start(2);

    assert_true(salvo_device_head(salvo_device_share_lane(share, 1))->caps.references);
    assert_false(salvo_device_head(salvo_device_share_lane(share, 2))->caps.references);
    sends(share, 1, 0x11, 100);
    assert_int_equal(queues[1].out_count, 1); /* by its own */
    sends(share, 2, 0x22, 1514);
    sends(share, 2, 0x33, 60);
    flush(share, 0);
    assert_int_equal(queues[0].out_count, 0); /* not published */
    flush(share, 2);
    queues[0].room = 1;
    flush(share, 0);
    assert_int_equal(queues[0].out_count, 1); /* as far as there is room */
    queues[0].room = 5;
    flush(share, 0);
    assert_int_equal(queues[0].out_count, 2);
    assert_int_equal(queues[0].out_sizes[0], 1514);
    assert_int_equal(queues[0].out[0][1513], 0x22);
    assert_int_equal(queues[0].out[1][59], 0x33);
    assert_int_equal(queues[0].last.ip_size, 20);
    assert_int_equal(queues[0].last.tcp_size, 32);
    assert_int_equal(queues[0].last.segment_size, 7);
    end(share);
}

static void the_link_of_lane_0_is_that_of_lanes_without_a_queue(void **state)
{
    struct salvo_device_share *share = start(1);

    queues[0].down = true;
    assert_false(ops_of(share, 0)->link_up(salvo_device_share_lane(share, 0)));
    assert_false(ops_of(share, 2)->link_up(salvo_device_share_lane(share, 2)));
    queues[0].down = false;
    assert_true(ops_of(share, 0)->link_up(salvo_device_share_lane(share, 0)));
    assert_true(ops_of(share, 2)->link_up(salvo_device_share_lane(share, 2)));
    end(share);
}

static void the_last_words_of_a_lane_need_no_lane_0(void **state)
{
    struct salvo_device_share *share = start(1);

    ops_of(share, 0)->close(salvo_device_share_lane(share, 0));
    sends(share, 2, 0x44, 60);
    ops_of(share, 2)->close(salvo_device_share_lane(share, 2));
    assert_int_equal(queues[0].out_count, 1);
    assert_true(queues[0].flushed != 0);
    end(share);
}

static void a_full_ring_loses_and_counts(void **state)
{
    struct salvo_device_share *share = start(1);
    uint16_t ports[FRAMES_MAX];
    unsigned sent = 0, got = 0, count;

    while (salvo_device_share_lost(share) == 0) {
        for (unsigned i = 0; i < FRAMES_MAX; i++, sent++)
            arrives(&queues[0], false, 40000, mac);
        assert_int_equal(received(share, 0, ports), 0);
        assert_true(sent < 100000);
    }
    while ((count = received(share, 1, ports)) != 0)
        got += count;
    assert_int_equal(got, sent - salvo_device_share_lost(share));
    arrives(&queues[0], false, 40000, mac);
    received(share, 0, ports);
    assert_int_equal(received(share, 1, ports), 1); /* there is room again */
    end(share);
}

/* --- two threads ------------------------------------------------------------------------------ */

#define PASSED_COUNT 20000u

static void *sleeper(void *arg)
{
    struct salvo_device_share *share = arg;
    struct salvo_device *lane = salvo_device_share_lane(share, 1);
    uint16_t ports[FRAMES_MAX];
    uintptr_t got = 0;

    salvo_alloc_forbid(true);
    while (got + salvo_device_share_lost(share) < PASSED_COUNT) {
        unsigned count = received(share, 1, ports);

        got += count;
        if (count == 0)
            ops_of(share, 1)->nap(lane, 1000);
    }
    salvo_alloc_forbid(false);
    return (void *)got;
}

static void who_sleeps_is_woken_by_what_is_handed_over(void **state)
{
    struct salvo_device_share *share = start(1);
    uint16_t ports[FRAMES_MAX];
    pthread_t thread;
    unsigned sent = 0;

    assert_int_equal(salvo_thread_start(&thread, "sleeper", sleeper, share), 0);
    while (sent < PASSED_COUNT) {
        for (unsigned i = 0; i < 1 + sent % 7 && sent < PASSED_COUNT; i++, sent++)
            arrives(&queues[0], false, 40000, mac);
        assert_int_equal(received(share, 0, ports), 0);
    }
    salvo_thread_join(thread);
    assert_int_equal(queues[1].overslept, 0);
    end(share);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_comes_to_the_lane_that_owns_its_port),
        cmocka_unit_test(what_is_no_tcp_comes_to_all_and_other_hosts_frames_to_none),
        cmocka_unit_test(what_the_device_has_verified_stays_verified),
        cmocka_unit_test(a_lane_without_a_queue_sends_by_lane_0),
        cmocka_unit_test(the_link_of_lane_0_is_that_of_lanes_without_a_queue),
        cmocka_unit_test(the_last_words_of_a_lane_need_no_lane_0),
        cmocka_unit_test(a_full_ring_loses_and_counts),
        cmocka_unit_test(who_sleeps_is_woken_by_what_is_handed_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
