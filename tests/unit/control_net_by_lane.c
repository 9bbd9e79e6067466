/* Control's connections carried by a lane: the STREAM_* messages on one side, net events on the
 * other. */
#include "tests/unit/unit.h"

#include "control/net_by_lane.h"

#include <errno.h>

static struct salvo_lane_port port;
static alignas(8) uint8_t commands[1 << 11], events[1 << 12];
static struct salvo_net *net, *lane_net;

static int setup(void **state)
{
    struct salvo_net_conf conf;

    salvo_net_conf_default(&conf, salvo_clock_system());
    conf.links_max = 4;
    assert_int_equal(salvo_net_epoll_open(&conf, &lane_net), 0);
    memset(&port, 0, sizeof(port));
    port.net = lane_net;
    salvo_ring_init(&port.commands, commands, sizeof(commands), 0);
    salvo_ring_init(&port.events, events, sizeof(events), 0);
    assert_int_equal(salvo_net_by_lane_open(&conf, &port, &net), 0);
    return 0;
}

static int teardown(void **state)
{
    salvo_net_destroy(net);
    salvo_net_destroy(lane_net);
    return 0;
}

static struct salvo_command next_command(void)
{
    struct salvo_command command = {0};
    uint32_t size;
    const struct salvo_command *at = salvo_ring_peek(&port.commands, &size);

    if (at == NULL)
        return command;
    command = *at;
    salvo_ring_advance(&port.commands, size);
    salvo_ring_release(&port.commands);
    return command;
}

static struct salvo_net_event next_event(void)
{
    struct salvo_net_event event = {.link = UINT32_MAX};

    salvo_net_poll(net, &event, 1);
    return event;
}

static uint32_t connect_up(void)
{
    struct salvo_endpoint to = {0};
    struct salvo_command command;
    uint32_t link;

    assert_int_equal(salvo_net_connect(net, &to, 1000, 7, &link), 0);
    command = next_command();
    assert_int_equal(command.kind, SALVO_COMMAND_STREAM_OPEN);
    assert_int_equal(command.stream, link);
    assert_int_equal(command.timeout_ns, 1000);
    assert_true(salvo_net_by_lane_event(
        net, &(struct salvo_event){.kind = SALVO_EVENT_STREAM_UP, .stream = link}));
    assert_int_equal(next_event().kind, SALVO_NET_UP);
    return link;
}

static void a_link_lives_as_net_h_says(void **state)
{
    static const uint8_t bytes[100];
    struct salvo_range ranges[2] = {{bytes, 60}, {bytes + 60, 40}};
    uint32_t link = connect_up();
    struct salvo_command command;
    struct salvo_net_event event;

    assert_int_equal(salvo_net_send(net, link, ranges, 2), 100);
    command = next_command();
    assert_int_equal(command.kind, SALVO_COMMAND_STREAM_SEND);
    assert_ptr_equal(command.bytes, bytes);
    assert_int_equal(command.size, 60);
    assert_int_equal(next_command().size, 40);

    salvo_net_by_lane_event(
        net,
        &(struct salvo_event){.kind = SALVO_EVENT_STREAM_RELEASED, .stream = link, .size = 70});
    event = next_event();
    assert_int_equal(event.kind, SALVO_NET_RELEASED);
    assert_int_equal(event.released.bytes, 70);

    salvo_net_by_lane_event(net, &(struct salvo_event){.kind = SALVO_EVENT_STREAM_BYTES,
                                                       .stream = link,
                                                       .bytes = bytes,
                                                       .size = 5,
                                                       .buffer = 3});
    event = next_event();
    assert_int_equal(event.kind, SALVO_NET_DATA);
    assert_int_equal(event.cookie, 7);
    assert_int_equal(event.data.size, 5);
    salvo_net_give_back(net, event.data.buffer);
    command = next_command();
    assert_int_equal(command.kind, SALVO_COMMAND_STREAM_GIVE_BACK);
    assert_int_equal(command.buffer, 3);

    salvo_net_by_lane_event(net, &(struct salvo_event){.kind = SALVO_EVENT_STREAM_CLOSED,
                                                       .stream = link,
                                                       .down = SALVO_NET_DOWN_RESET,
                                                       .code = ECONNRESET});
    event = next_event();
    assert_int_equal(event.kind, SALVO_NET_DOWN);
    assert_int_equal(event.down.reason, SALVO_NET_DOWN_RESET);
    event = next_event();
    assert_int_equal(event.kind, SALVO_NET_RELEASED);
    assert_int_equal(event.released.bytes, 30); /* the rest */
    assert_int_equal(next_event().kind, SALVO_NET_GONE);
    assert_int_equal(next_event().link, UINT32_MAX);
    assert_int_equal(connect_up(), link); /* its number is free */
}

static void closing_is_asked_once_and_ends_as_ours(void **state)
{
    uint32_t link = connect_up();
    struct salvo_net_event event;

    salvo_net_close(net, link);
    salvo_net_close(net, link);
    assert_int_equal(next_command().kind, SALVO_COMMAND_STREAM_CLOSE);
    assert_int_equal(next_command().kind, 0);
    salvo_net_by_lane_event(net, &(struct salvo_event){.kind = SALVO_EVENT_STREAM_CLOSED,
                                                       .stream = link,
                                                       .down = SALVO_NET_DOWN_CLOSED});
    event = next_event();
    assert_int_equal(event.down.reason, SALVO_NET_DOWN_CLOSED);
    assert_int_equal(next_event().kind, SALVO_NET_GONE); /* nothing was sent: nothing to release */
}

/* The command ring holds a dozen: more wait here, in order, and too many are not taken. */
static void a_full_command_ring_is_waited_for(void **state)
{
    static const uint8_t bytes[4000];
    uint32_t link = connect_up();
    size_t sent = 0, seen = 0;
    bool refused = false;

    while (!refused) {
        struct salvo_range range = {bytes + sent % sizeof(bytes), 1};
        size_t taken = salvo_net_send(net, link, &range, 1);

        refused = taken == 0;
        sent += taken;
        assert_true(sent < 100000);
    }
    for (int turns = 0; seen < sent; turns++) {
        struct salvo_command command = next_command();

        assert_true(turns < 100000);
        if (command.kind == 0) {
            salvo_net_flush(net);
            continue;
        }
        assert_ptr_equal(command.bytes, bytes + seen % sizeof(bytes));
        seen++;
    }
    /* And it says that more can be offered. */
    assert_int_equal(next_event().kind, SALVO_NET_RELEASED);
    assert_int_equal(next_event().link, UINT32_MAX);
}

static void a_full_event_queue_leaves_events_with_the_lane(void **state)
{
    uint32_t link = connect_up(), taken = 0;
    struct salvo_event released = {.kind = SALVO_EVENT_STREAM_RELEASED, .stream = link, .size = 0};

    while (salvo_net_by_lane_event(net, &released))
        assert_true(++taken < 100000);
    next_event();
    assert_true(salvo_net_by_lane_event(net, &released));
}

static void waiting_ends_by_wake(void **state)
{
    int64_t started_ns = salvo_clock_mono_ns(salvo_clock_system());

    salvo_net_wake(net);
    salvo_net_wait(net, 1, 0, 10 * SALVO_NS_PER_S);
    assert_true(salvo_clock_mono_ns(salvo_clock_system()) - started_ns < 5 * SALVO_NS_PER_S);
    salvo_net_wait(net, 1, 0, SALVO_NS_PER_MS); /* the wake is used up; this one is time */
    assert_int_equal(salvo_net_listen(net, &(struct salvo_endpoint){0}, 0), -EOPNOTSUPP);
}

int main(void)
{
#define BY_LANE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        BY_LANE_TEST(a_link_lives_as_net_h_says),
        BY_LANE_TEST(closing_is_asked_once_and_ends_as_ours),
        BY_LANE_TEST(a_full_command_ring_is_waited_for),
        BY_LANE_TEST(a_full_event_queue_leaves_events_with_the_lane),
        BY_LANE_TEST(waiting_ends_by_wake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
