/* The rings and words between control and a lane. */
#include "tests/unit/unit.h"

#include "base/cpu.h"
#include "dataplane/lane_port.h"

static struct fake_net {
    struct salvo_net_head head;
    _Atomic unsigned wakes;
} net;

static struct salvo_lane_port port;
static _Alignas(64) uint8_t commands[1024];
static _Alignas(64) uint8_t events[1024];

static void fake_wake(struct salvo_net *self)
{
    (void)self;
    atomic_fetch_add(&net.wakes, 1);
}

static const struct salvo_net_ops fake_ops = {.name = "fake", .wake = fake_wake};

static void init(void)
{
    net.head = (struct salvo_net_head){.magic = SALVO_NET_MAGIC, .ops = &fake_ops};
    atomic_store(&net.wakes, 0);
    memset(&port, 0, sizeof(port));
    port.net = (struct salvo_net *)&net;
    salvo_ring_init(&port.commands, commands, sizeof(commands), 0);
    salvo_ring_init(&port.events, events, sizeof(events), 0);
}

static void commands_arrive_in_order_until_the_ring_is_full(void **state)
{
    struct salvo_command command = {.kind = SALVO_COMMAND_BROKER_DROP};
    uint32_t in = 0;

    (void)state;
    init();
    for (int round = 0; round < 20; round++) {
        uint32_t size;
        uint32_t out = in;

        for (command.broker = in; salvo_lane_port_command(&port, &command) == 0;)
            command.broker = ++in;
        assert_int_equal(salvo_lane_port_command(&port, &command), SALVO_RING_FULL);
        assert_true(in - out > 3);
        while (out != in) {
            const struct salvo_command *seen = salvo_ring_peek(&port.commands, &size);

            assert_non_null(seen);
            assert_int_equal(size, sizeof(*seen));
            assert_int_equal(seen->kind, SALVO_COMMAND_BROKER_DROP);
            assert_int_equal(seen->broker, out++);
            salvo_ring_advance(&port.commands, size);
        }
        assert_null(salvo_ring_peek(&port.commands, &size));
        salvo_ring_release(&port.commands);
    }
}

static void events_stay_until_done(void **state)
{
    (void)state;
    init();
    assert_null(salvo_lane_port_event(&port));
    for (uint32_t i = 0; i < 40; i++) {
        struct salvo_event *slot = NULL;

        assert_int_equal(salvo_ring_claim(&port.events, sizeof(*slot), (void **)&slot), 0);
        *slot = (struct salvo_event){.kind = SALVO_EVENT_OUTCOME, .broker = i};
        salvo_ring_commit(&port.events, sizeof(*slot));
        salvo_ring_publish(&port.events);
        assert_int_equal(salvo_lane_port_event(&port)->broker, i);
        assert_int_equal(salvo_lane_port_event(&port)->broker, i);
        salvo_lane_port_event_done(&port); /* gives the room back: 40 pass through a small ring */
        assert_null(salvo_lane_port_event(&port));
    }
}

static void only_a_sleeping_lane_is_woken(void **state)
{
    struct salvo_command command = {.kind = SALVO_COMMAND_DRAIN};
    struct salvo_route route = {.epoch = 1};

    (void)state;
    init();
    salvo_lane_port_wake(&port);
    salvo_lane_port_command(&port, &command);
    salvo_lane_port_publish(&port, &route);
    assert_int_equal(atomic_load(&net.wakes), 0);
    assert_ptr_equal(atomic_load(&port.route_published), &route);
    atomic_store(&port.asleep, 1);
    salvo_lane_port_wake(&port);
    assert_int_equal(atomic_load(&net.wakes), 1);
    salvo_lane_port_command(&port, &command);
    assert_int_equal(atomic_load(&net.wakes), 2);
    salvo_lane_port_publish(&port, &route);
    assert_int_equal(atomic_load(&net.wakes), 3);
    while (salvo_lane_port_command(&port, &command) == 0)
        ;
    atomic_store(&net.wakes, 0);
    assert_int_equal(salvo_lane_port_command(&port, &command), SALVO_RING_FULL);
    assert_int_equal(atomic_load(&net.wakes), 0); /* nothing was put in */
}

static void moved_on_when_seen_or_asleep(void **state)
{
    (void)state;
    init();
    for (int asleep = 0; asleep < 2; asleep++) {
        for (uint64_t seen = 0; seen < 4; seen++) {
            for (uint64_t epoch = 1; epoch < 4; epoch++) {
                atomic_store(&port.asleep, (uint32_t)asleep);
                atomic_store(&port.route_seen, seen);
                assert_int_equal(salvo_lane_port_moved_on(&port, epoch), asleep || seen >= epoch);
            }
        }
    }
}

/* --- two threads: routes that are poisoned as soon as the lane has moved on ------------------- */

#define EPOCHS 20000u

static struct salvo_route routes[EPOCHS + 1];
static _Atomic bool stop;

/* A lane as lane.c does it: loads the pointer once a turn, says what it saw, sleeps at times. */
static void *lane_thread(void *arg)
{
    uint64_t turns = 0;
    uint64_t *bad = arg;
    uint64_t last = 0;

    while (!atomic_load(&stop)) {
        const struct salvo_route *route =
            atomic_load_explicit(&port.route_published, memory_order_acquire);

        if (route != NULL) {
            *bad += route->brokers_count != 1 || route->epoch < last;
            last = route->epoch;
            atomic_store_explicit(&port.route_seen, route->epoch, memory_order_release);
            *bad += route->brokers_count != 1;
        }
        if (++turns % 3 == 0) {
            atomic_store_explicit(&port.asleep, 1, memory_order_release);
            atomic_thread_fence(memory_order_seq_cst);
            sched_yield();
            atomic_store_explicit(&port.asleep, 0, memory_order_relaxed);
            atomic_thread_fence(memory_order_seq_cst);
        }
    }
    return NULL;
}

static void a_route_is_read_no_more_once_the_lane_moved_on(void **state)
{
    pthread_t lane;
    uint64_t bad = 0;

    (void)state;
    init();
    atomic_store(&stop, false);
    for (uint64_t i = 1; i <= EPOCHS; i++)
        routes[i] = (struct salvo_route){.epoch = i, .brokers_count = 1};
    assert_int_equal(salvo_thread_start(&lane, "lane", lane_thread, &bad), 0);
    for (uint64_t i = 1; i <= EPOCHS; i++) {
        salvo_lane_port_publish(&port, &routes[i]);
        while (!salvo_lane_port_moved_on(&port, i))
            sched_yield();
        routes[i - 1].brokers_count = 77; /* "freed": TSan would see a late reader too */
    }
    atomic_store(&stop, true);
    salvo_thread_join(lane);
    assert_int_equal(bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_arrive_in_order_until_the_ring_is_full),
        cmocka_unit_test(events_stay_until_done),
        cmocka_unit_test(only_a_sleeping_lane_is_woken),
        cmocka_unit_test(moved_on_when_seen_or_asleep),
        cmocka_unit_test(a_route_is_read_no_more_once_the_lane_moved_on),
    };

    return cmocka_run_group_tests_name("dataplane/lane_port", tests, NULL, NULL);
}
