/* A lane that is short of something: a full window, no chunks; what makes room again. */
#include "tests/support/lane_rig.h"

#include <errno.h>

/* --- a full window ---------------------------------------------------------------------------- */

/* Whether a lane that is sent to sleep now waits for the network. */
static bool sleeps(void)
{
    unsigned before = rig_net.waits;

    salvo_lane_sleep(&rig.lane, 1, 0, MS, true);
    return rig_net.waits != before;
}

static void a_ring_that_cannot_be_taken_from_lets_the_lane_sleep(void **state)
{
    static struct rig_request r;
    uint32_t first;

    (void)state;
    rig.conf.window = 1;
    rig_start();
    first = rig_submit(0, 50);
    for (int i = 0; i < 4; i++)
        rig_submit(0, 50);
    assert_false(sleeps());
    rig_turns(2);
    assert_int_equal(rig.lane.open, 2); /* one to each broker; three stay in the ring */
    assert_true(sleeps());
    rig_submit(0, 50); /* is news, once */
    assert_false(sleeps());
    rig_turn();
    assert_true(sleeps());
    for (int i = 0; i < 6; i++) {
        assert_true(rig_any_request(&r));
        rig_answer(&r, 0);
        rig_turns(2);
    }
    for (uint32_t i = first; i < first + 6; i++)
        rig_expect(i, SALVO_OK, SALVO_STORED_YES, 1);
}

static void a_message_at_the_front_of_its_ring_ends_at_its_own_deadline(void **state)
{
    struct salvo_msg *m;
    uint32_t front;

    (void)state;
    rig.conf.window = 1;
    rig_start();
    rig_submit(0, 50);
    rig_submit(0, 50);
    rig_turns(2);
    m = rig_claim(0, 0, 50);
    m->slot->budget_ns = 20 * MS;
    front = rig_commit(m);
    rig_turns(2);
    assert_int_equal(salvo_lane_next_ns(&rig.lane, rig.clock.mono_now_ns), 20 * MS);
    salvo_clock_manual_advance(&rig.clock, 20 * MS);
    rig_turn();
    rig_expect(front, SALVO_TIMED_OUT_UNSENT, SALVO_STORED_NO, 0);
    assert_true(salvo_lane_next_ns(&rig.lane, rig.clock.mono_now_ns) > 100 * MS);
}

/* --- chunks ----------------------------------------------------------------------------------- */

/* More than the chunks hold: nothing is lost, and all goes as answers and releases come. */
static void short_chunks_only_hold_up(void **state)
{
    static struct rig_request r;
    unsigned seen = 0;

    (void)state;
    rig_start();
    for (int i = 0; i < 40; i++)
        rig_submit(0, 3 * RIG_CHUNK);
    for (int round = 0; round < 400 && seen < 40; round++) {
        rig_turn();
        while (rig_any_request(&r)) {
            struct rig_link *l = &rig_net.links[r.link];

            seen++;
            rig_answer(&r, 0);
            rig_push_event(SALVO_NET_RELEASED, r.link)->released.bytes = l->taken - l->released;
            l->released = l->taken;
        }
    }
    rig_turn();
    assert_int_equal(seen, 40);
    assert_true(salvo_counter_get(rig.counters, SALVO_LANE_CHUNKS_SHORT) != 0);
    for (uint32_t i = 0; i < 40; i++)
        rig_expect(i, SALVO_OK, SALVO_STORED_YES, 1);
}

/* --- what makes room -------------------------------------------------------------------------- */

/* A message on queue 0 or 2: the first of broker 0 or 1. */
static uint32_t submit_to(uint32_t broker, size_t size, int64_t budget_ns)
{
    struct salvo_msg *m = rig_claim(0, 0, size);

    m->slot->flags |= SALVO_SLOT_PINNED;
    m->slot->queue_index = 2 * broker;
    m->slot->budget_ns = budget_ns;
    return rig_commit(m);
}

/* After a silence one request at a time: the other's time-out makes room as an answer does. */
static void a_time_out_makes_room_for_what_waits(void **state)
{
    static struct rig_request r;
    uint32_t again, last;

    (void)state;
    rig_start();
    again = submit_to(0, 40, 10000 * MS);
    rig_pass_ms(100);
    last = submit_to(0, 40, 1000 * MS);
    rig_pass_ms(999);
    while (rig_any_request(&r))
        assert_true(r.cookie == again || r.cookie == last);
    rig_pass_ms(2);
    rig_expect(last, SALVO_TIMED_OUT, SALVO_STORED_UNKNOWN, 1);
    assert_true(rig_any_request(&r));
    assert_int_equal(r.cookie, again);
    rig_answer(&r, 0);
    rig_turn();
    rig_expect(again, SALVO_OK, SALVO_STORED_YES, 2);
}

/* A broker that was silent once and has answered since is not silent yet when a second try times
 * out, however long after. */
static void an_answer_ends_a_silence(void **state)
{
    static struct rig_request r;
    uint32_t link;

    (void)state;
    rig_start();
    link = rig_link_to(0);
    submit_to(0, 40, 1000 * MS);
    rig_pass_ms(1001);
    while (rig_any_request(&r))
        ;
    submit_to(0, 40, 1000 * MS);
    rig_turn();
    assert_true(rig_any_request(&r));
    rig_answer(&r, 0);
    rig_pass_ms(12000);
    submit_to(0, 40, 1000 * MS);
    rig_pass_ms(1100);
    assert_int_equal(rig.counters[SALVO_LANE_MESSAGES_TIMED_OUT], 2);
    assert_false(rig_net.links[link].down);
}

static void release(uint32_t link)
{
    struct rig_link *l = &rig_net.links[link];

    rig_push_event(SALVO_NET_RELEASED, link)->released.bytes = l->taken - l->released;
    l->released = l->taken;
}

/* Four messages are over, but the network still has their chunks: they suffice for another try of
 * one of the other two. */
static void released_chunks_make_room_for_what_waits(void **state)
{
    static struct rig_request r;
    uint32_t again[RIG_BROKERS];
    uint32_t next;

    (void)state;
    rig.conf.chunks_reserve = 4;
    rig_start();
    for (uint32_t i = 0; i < 6; i++) {
        uint32_t cookie = submit_to(i % RIG_BROKERS, RIG_BODY_MAX, (i < 2 ? 10000 : 500) * MS);

        if (i < 2)
            again[i] = cookie;
    }
    rig_turn();
    while (rig_any_request(&r))
        ;
    rig_pass_ms(1100);
    assert_true(rig_any_request(&r));
    next = again[0] + again[1] - r.cookie;
    assert_int_equal(rig.lane.waiting.count, 1);
    release(r.link);
    rig_turn();
    assert_true(rig_any_request(&r));
    assert_int_equal(r.cookie, next);
}

/* Four frames were cut before the network took any of them: their chunks are free when it takes
 * again, though there is nothing to release. */
static void cut_frames_make_room_for_what_waits(void **state)
{
    static struct rig_request r;
    uint32_t again, link;

    (void)state;
    rig.conf.chunks_reserve = 0;
    rig_start();
    link = rig_link_to(0);
    rig_net.links[link].room = 0;
    again = submit_to(1, RIG_BODY_MAX, 10000 * MS);
    for (uint32_t i = 0; i < 6; i++)
        submit_to(i / 4, RIG_BODY_MAX, 500 * MS);
    rig_turn();
    while (rig_any_request(&r))
        ;
    rig_pass_ms(1100);
    assert_int_equal(rig.lane.waiting.count, 1);
    rig_net.links[link].room = SIZE_MAX;
    release(link);
    rig_turns(2);
    assert_true(rig_any_request(&r));
    assert_int_equal(r.cookie, again);
}

/* One request at a time goes to a broker that was silent: what it is to get besides waits beside
 * the ring, as when it is down. */
static void behind_a_silent_broker(uint32_t (*to_it)(void))
{
    static struct rig_request r;
    uint32_t other;

    rig_start();
    rig.topic_list[1] = &rig.topics[1].topic;
    rig.topics[1].topic.queues_count = 2; /* of broker 0 */
    submit_to(0, 40, 1000 * MS);
    rig_pass_ms(1001);
    while (rig_any_request(&r))
        ;
    for (int i = 0; i < 3; i++)
        to_it();
    other = submit_to(1, 40, 3000 * MS);
    rig_turn();
    assert_true(rig_next_request(1, &r));
    assert_int_equal(r.cookie, other);
    rig_answer(&r, 0);
    for (int i = 0; i < 3; i++) {
        assert_true(rig_next_request(0, &r));
        rig_answer(&r, 0);
        rig_turn();
        rig_expect(r.cookie, SALVO_OK, SALVO_STORED_YES, 1);
    }
}

static uint32_t submit_pinned_to_0(void)
{
    return submit_to(0, 40, 3000 * MS);
}

static uint32_t submit_free_to_0(void)
{
    return rig_submit(1, 40);
}

static void pinned_messages_to_a_silent_broker_do_not_stop_the_others(void **state)
{
    (void)state;
    behind_a_silent_broker(submit_pinned_to_0);
}

static void topics_of_a_silent_broker_do_not_stop_the_others(void **state)
{
    (void)state;
    behind_a_silent_broker(submit_free_to_0);
}

/* ... but not what waits for a broker that answers, if with a small window as yet. */
static void after_a_silence_a_full_window_is_only_full(void **state)
{
    static struct rig_request r;

    (void)state;
    rig_start();
    submit_to(0, 40, 1000 * MS);
    rig_pass_ms(1001);
    while (rig_any_request(&r))
        ;
    submit_to(0, 40, 3000 * MS);
    rig_turn();
    assert_true(rig_next_request(0, &r));
    rig_answer(&r, 0);
    rig_turn();
    for (int i = 0; i < 4; i++)
        submit_to(0, 40, 3000 * MS);
    rig_turn();
    assert_int_equal(rig.counters[SALVO_LANE_REQUESTS_INFLIGHT], 2);
    assert_int_equal(rig.lane.waiting.count, 0);
}

/* A broker that left was silent and could not be reached; its number goes to another. */
static void a_brokers_number_is_handed_on_without_its_past(void **state)
{
    static struct salvo_route route;
    struct salvo_command command = {.kind = SALVO_COMMAND_BROKER_DROP, .broker = 1};
    static struct rig_request r;

    (void)state;
    rig_start();
    submit_to(1, 40, 1000 * MS);
    rig_pass_ms(1001);
    while (rig_any_request(&r))
        ;
    rig_net.refuse = true;
    rig_link_dies(rig_link_to(1), SALVO_NET_DOWN_RESET, 0);
    rig_pass_ms(3000);
    rig.brokers[1].used = false;
    route = rig.route;
    route.epoch = 2;
    salvo_lane_port_publish(&rig.lane.port, &route);
    rig_turn();
    assert_int_equal(salvo_lane_port_command(&rig.lane.port, &command), 0);
    rig_turns(3);
    assert_int_equal(rig.dropped, 1);
    rig_net.refuse = false;
    rig.brokers[1].used = true;
    rig.brokers[1].generation++;
    rig.route.epoch = 3;
    salvo_lane_port_publish(&rig.lane.port, &rig.route);
    rig_turns(3); /* no time passes: it is called at once */
    for (int i = 0; i < 3; i++)
        submit_to(1, 40, 1000 * MS);
    rig_turn();
    for (int i = 0; i < 3; i++) {
        assert_true(rig_next_request(1, &r));
        rig_answer(&r, 0);
    }
    rig_turn();
}

/* They mark holes in their connection's stream: no answer is awaited for those. */
static void cut_frames_are_not_in_flight(void **state)
{
    uint32_t link;

    (void)state;
    rig_start();
    link = rig_link_to(0);
    rig_net.links[link].room = 0;
    for (int i = 0; i < 3; i++)
        submit_to(0, 40, 500 * MS);
    rig_turn();
    assert_int_equal(rig.counters[SALVO_LANE_REQUESTS_INFLIGHT], 3);
    rig_pass_ms(502);
    assert_int_equal(rig.lane.inflight.free_count, rig.conf.requests_max - 3);
    assert_int_equal(rig.counters[SALVO_LANE_REQUESTS_INFLIGHT], 0);
    rig_net.links[link].room = SIZE_MAX;
    release(link);
    rig_turn();
    assert_int_equal(rig.lane.inflight.free_count, rig.conf.requests_max);
    assert_int_equal(salvo_lane_outstanding(&rig.lane), 0);
}

/* What the network does not take is cut when its time is up, and keeps its chunks. When that leaves
 * none for another frame, no time-out comes any more that could end the connection. */
static void a_connection_that_takes_nothing_is_made_anew(void **state)
{
    static struct rig_request r;
    uint32_t link, cookie;

    (void)state;
    rig.conf.chunks_reserve = 4;
    rig_start();
    rig_net.pend = true;
    rig_link_dies(rig_link_to(1), SALVO_NET_DOWN_RESET, 0);
    link = rig_link_to(0);
    rig_net.links[link].room = 0;
    rig_turn();
    for (int i = 0; i < 5; i++)
        submit_to(0, RIG_BODY_MAX, 1000 * MS);
    rig_pass_ms(10900);
    assert_int_equal(rig.counters[SALVO_LANE_REQUESTS_SENT], 4); /* no chunks for the fifth */
    assert_false(rig_net.links[link].down);
    rig_net.pend = false;
    rig_pass_ms(300);
    assert_true(rig_net.links[link].down);
    assert_int_not_equal(rig_link_to(0), link);
    cookie = submit_to(0, RIG_BODY_MAX, 1000 * MS);
    rig_turn();
    assert_true(rig_any_request(&r));
    rig_answer(&r, 0);
    rig_turn();
    rig_expect(cookie, SALVO_OK, SALVO_STORED_YES, 1);
}

/* A turn looks at some of those that wait: when none of them can go, at the next ones then. */
static void many_that_cannot_go_do_not_hide_one_that_can(void **state)
{
    static struct rig_request r;
    uint32_t again;

    (void)state;
    rig.conf.requests_max = 512;
    rig_start();
    rig_net.pend = true;
    rig_link_dies(rig_link_to(0), SALVO_NET_DOWN_RESET, 0);
    rig_pass_ms(20);
    for (int i = 0; i < SALVO_LANE_WAITING_PER_CYCLE + 30; i++)
        submit_to(0, 40, 3000 * MS);
    again = submit_to(1, 40, 3000 * MS);
    rig_turn();
    assert_int_equal(rig.lane.waiting.count, SALVO_LANE_WAITING_PER_CYCLE + 30);
    assert_true(rig_any_request(&r));
    assert_int_equal(r.cookie, again);
    rig_answer(&r, SALVO_RESPONSE_SYSTEM_ERROR);
    rig_pass_ms(10);
    assert_true(rig_any_request(&r));
    assert_int_equal(r.cookie, again);
    rig_answer(&r, 0);
    rig_turn();
    rig_expect(again, SALVO_OK, SALVO_STORED_YES, 2);
}

/* Topic 0 has its route, or none, from the next turn on. */
static void publish(bool routed)
{
    static struct salvo_route route;

    rig.topic_list[0] = routed ? &rig.topics[0].topic : NULL;
    route = rig.route;
    route.epoch = rig.lane.route_epoch + 1;
    salvo_lane_port_publish(&rig.lane.port, &route);
}

/* As many wait as may, so the open batch cannot, and the message behind it cannot be given to its
 * queue: nothing to be busy with until that changes. */
static void a_line_that_cannot_be_bound_lets_the_lane_sleep(void **state)
{
    static struct rig_request r;
    uint32_t ordered[2], link;

    (void)state;
    rig.conf.requests_max = 4 * (SALVO_LANE_WAITING_PER_CYCLE + 30);
    rig.conf.batch.mode = SALVO_BATCH_MODE_NATURAL;
    rig_start();
    rig_net.pend = true;
    rig_link_dies(rig_link_to(0), SALVO_NET_DOWN_RESET, 0);
    rig_pass_ms(20);
    ordered[0] = rig_submit_shard(0, 8);
    for (int i = 0; i < SALVO_LANE_WAITING_PER_CYCLE + 29; i++) {
        struct salvo_msg *m = rig_claim(0, 0, 40);

        m->slot->flags |= SALVO_SLOT_PINNED | SALVO_SLOT_ALONE;
        m->slot->budget_ns = 500 * MS;
        rig_commit(m);
    }
    rig_turn();
    publish(false);
    ordered[1] = rig_submit_shard(0, 8);
    rig_turn();
    publish(true);
    rig_turns(3);
    assert_int_equal(rig.lane.batches.count, 1);
    assert_int_equal(rig.lane.unbound, 1);
    assert_int_equal(salvo_lane_do_work(&rig.lane), 0);
    rig_pass_ms(501);
    assert_int_equal(rig.lane.unbound, 0);
    link = rig_net.links_count - 1;
    rig_net.links[link].up = true;
    rig_push_event(SALVO_NET_UP, link);
    for (int i = 0; i < 2; i++) {
        rig_turns(2);
        assert_true(rig_any_request(&r));
        assert_int_equal(r.cookie, ordered[i]);
        rig_answer(&r, 0);
    }
    rig_turn();
    rig_expect(ordered[1], SALVO_OK, SALVO_STORED_YES, 1);
}

/* Sends messages one at a time, each answered and released before the next. */
static void send_one_by_one(unsigned count, size_t size)
{
    static struct rig_request r;

    for (unsigned i = 0; i < count; i++) {
        uint32_t cookie = rig_submit(0, size);
        struct rig_link *l;

        rig_turn();
        assert_true(rig_any_request(&r));
        assert_int_equal(r.cookie, cookie);
        l = &rig_net.links[r.link];
        rig_answer(&r, 0);
        rig_push_event(SALVO_NET_RELEASED, r.link)->released.bytes = l->taken - l->released;
        l->released = l->taken;
        rig_turn();
        rig_expect(cookie, SALVO_OK, SALVO_STORED_YES, 1);
    }
}

/* Chunks for one frame at a time: a connection with nothing to do keeps none from the others. */
static void idle_connections_give_back_their_chunks(void **state)
{
    (void)state;
    rig.conf.chunks_max = rig.conf.chunks_reserve + 3;
    rig_start();
    send_one_by_one(10, RIG_CHUNK + 1000);
}

/* Ordered messages are parked before they are sent, which wants a quarter of the chunks free. */
static void idle_connections_do_not_keep_others_from_waiting(void **state)
{
    static struct rig_request r;

    (void)state;
    rig.conf.chunks_max = rig.conf.chunks_reserve + 3;
    rig.conf.chunks_reserve += 1;
    rig_start();
    send_one_by_one(2, 3000); /* each connection keeps one of two */
    rig_submit_shard(0, 7);
    rig_turns(2);
    assert_true(rig_any_request(&r));
}

/* A chunk that is finished is as good as an empty one. */
static void a_finished_chunk_takes_the_next_frame(void **state)
{
    (void)state;
    rig.conf.chunks_max = rig.conf.chunks_reserve + 2;
    rig_start();
    send_one_by_one(10, 3000);
}

static void more_brokers_than_chunks_leave_each_its_share(void **state)
{
    (void)state;
    rig.conf.chunks_max = rig.conf.chunks_reserve + 1;
    rig_start();
    assert_int_equal(rig.lane.chunks_share, 1);
}

/* --- room for events -------------------------------------------------------------------------- */

/* Control's connection that cannot be begun while no event finds room: control is told once there
 * is, and the stream's number can be used again. */
static void a_stream_that_cannot_be_opened_is_told_when_there_is_room(void **state)
{
    struct salvo_command open = {.kind = SALVO_COMMAND_STREAM_OPEN, .timeout_ns = 100 * MS};
    void *slot;

    (void)state;
    rig.conf.streams_max = 1;
    rig_start();
    rig_net.error = ENETUNREACH;
    while (salvo_ring_claim(&rig.lane.port.events, sizeof(struct salvo_event), &slot) == 0) {
        *(struct salvo_event *)slot = (struct salvo_event){.kind = SALVO_EVENT_OUTCOME};
        salvo_ring_commit(&rig.lane.port.events, sizeof(struct salvo_event));
    }
    salvo_ring_publish(&rig.lane.port.events);
    assert_int_equal(salvo_lane_port_command(&rig.lane.port, &open), 0);
    rig_turn();
    assert_int_equal(rig.streams_closed, 0);
    rig_turn();
    assert_int_equal(rig.streams_closed, 1);
    rig_turn();
    assert_int_equal(rig.streams_closed, 1);
    assert_int_equal(salvo_lane_port_command(&rig.lane.port, &open), 0);
    rig_turn();
    assert_int_equal(rig.streams_closed, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(a_ring_that_cannot_be_taken_from_lets_the_lane_sleep),
        RIG_TEST(a_message_at_the_front_of_its_ring_ends_at_its_own_deadline),
        RIG_TEST(short_chunks_only_hold_up),
        RIG_TEST(a_time_out_makes_room_for_what_waits),
        RIG_TEST(an_answer_ends_a_silence),
        RIG_TEST(released_chunks_make_room_for_what_waits),
        RIG_TEST(pinned_messages_to_a_silent_broker_do_not_stop_the_others),
        RIG_TEST(topics_of_a_silent_broker_do_not_stop_the_others),
        RIG_TEST(after_a_silence_a_full_window_is_only_full),
        RIG_TEST(a_brokers_number_is_handed_on_without_its_past),
        RIG_TEST(cut_frames_are_not_in_flight),
        RIG_TEST(a_connection_that_takes_nothing_is_made_anew),
        RIG_TEST(many_that_cannot_go_do_not_hide_one_that_can),
        RIG_TEST(a_line_that_cannot_be_bound_lets_the_lane_sleep),
        RIG_TEST(cut_frames_make_room_for_what_waits),
        RIG_TEST(idle_connections_give_back_their_chunks),
        RIG_TEST(idle_connections_do_not_keep_others_from_waiting),
        RIG_TEST(a_finished_chunk_takes_the_next_frame),
        RIG_TEST(more_brokers_than_chunks_leave_each_its_share),
        RIG_TEST(a_stream_that_cannot_be_opened_is_told_when_there_is_room),
    };

    return cmocka_run_group_tests_name("dataplane/lane_short", tests, NULL, NULL);
}
