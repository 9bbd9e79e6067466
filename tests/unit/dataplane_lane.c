/* A lane: tries, time-outs, deaths, routes and the end. */
#include "tests/support/lane_rig.h"

#include "codec/compress.h"

#include <errno.h>

/* --- one message ------------------------------------------------------------------------------ */

static void a_good_answer_fills_every_field(void **state)
{
    static struct rig_request r;
    uint32_t cookie;
    const struct salvo_result_slot *slot = &rig.got[0].slot;

    (void)state;
    rig_start();
    cookie = rig_submit(0, 100);
    rig_turn();
    assert_true(rig_any_request(&r));
    assert_int_equal(r.cookie, cookie);
    assert_int_equal(r.body_size, 100);
    assert_int_equal(r.fields.code, SALVO_REQUEST_SEND_MESSAGE_V2);
    assert_false(rig_any_request(&r));
    assert_int_equal(rig.got[0].count, 0);
    salvo_clock_manual_advance(&rig.clock, 5 * MS);
    rig_answer(&r, 0);
    rig_turn();
    rig_expect(cookie, SALVO_OK, SALVO_STORED_YES, 1);
    assert_int_equal(slot->broker, r.broker);
    assert_int_equal(slot->broker_code, 0);
    assert_int_equal(slot->queueId, 1);
    assert_int_equal(slot->queue_offset, 77);
    assert_int_equal(slot->commit_log_offset, 0xabc);
    assert_int_equal(slot->store_ip, 0x0a000002);
    assert_int_equal(slot->store_port, 10911);
    assert_int_equal(slot->has_offset, 1);
    assert_int_equal(slot->detail, 0);
    assert_int_equal(slot->done_ns, rig.clock.mono_now_ns);
}

/* A machine that has just started may not know the time yet. */
static void a_wall_clock_that_was_never_set_stops_nothing(void **state)
{
    static struct rig_request r;
    uint32_t cookie;

    (void)state;
    rig.clock.wall_now_ms = 5000;
    rig_start();
    cookie = rig_submit(0, 40);
    rig_turn();
    assert_true(rig_any_request(&r));
    assert_int_equal(r.fields.bornTimestamp, INT64_C(1000000000000));
    rig_answer(&r, 0);
    rig_turn();
    rig_expect(cookie, SALVO_OK, SALVO_STORED_YES, 1);
}

static void a_refused_try_goes_to_the_other_broker(void **state)
{
    static struct rig_request first, second;
    uint32_t cookie;

    (void)state;
    rig_start();
    cookie = rig_submit(0, 100);
    rig_turn();
    assert_true(rig_any_request(&first));
    rig_answer(&first, SALVO_RESPONSE_SYSTEM_ERROR);
    rig_turn();
    assert_true(rig_next_request(!first.broker, &second));
    assert_int_not_equal(second.opaque, first.opaque);
    assert_string_equal(second.id, first.id);
    assert_memory_equal(second.body, first.body, 100);
    rig_answer(&second, 0);
    rig_turn();
    rig_expect(cookie, SALVO_OK, SALVO_STORED_YES, 2);
    assert_int_equal(rig.got[cookie].slot.broker, second.broker);
}

static void after_the_last_try_the_brokers_word_is_given(void **state)
{
    static struct rig_request r;
    uint32_t cookie;

    (void)state;
    rig_start();
    cookie = rig_submit(0, 100);
    for (int i = 0; i < 3; i++) {
        rig_turn();
        assert_true(rig_any_request(&r));
        rig_answer(&r, SALVO_RESPONSE_SYSTEM_ERROR);
    }
    rig_turns(3);
    assert_false(rig_any_request(&r));
    rig_expect(cookie, SALVO_REFUSED, SALVO_STORED_NO, 3);
    assert_int_equal(rig.got[cookie].slot.broker_code, 1);
    assert_string_equal(rig.got[cookie].detail, "remark");
    assert_int_equal(rig.got[cookie].slot.has_offset, 0);
}

/* The fake broker answers in JSON, which escapes: the word is shown as it was meant. */
static void a_brokers_word_is_shown_without_escapes(void **state)
{
    static struct rig_request r;
    uint32_t cookie;

    (void)state;
    rig_start();
    cookie = rig_submit(0, 100);
    for (int i = 0; i < 3; i++) {
        rig_turn();
        assert_true(rig_any_request(&r));
        rig_answer_opaque(r.link, r.opaque, SALVO_RESPONSE_SYSTEM_ERROR, "say \"no\"\n\\");
    }
    rig_turns(3);
    assert_string_equal(rig.got[cookie].detail, "say \"no\"\n\\");
}

/* It was sent, so "unsent" would be wrong. */
static void time_that_is_up_in_the_pause_after_a_refusal_is_a_refusal(void **state)
{
    static struct rig_request r;
    struct salvo_msg *m;
    uint32_t cookie;

    (void)state;
    rig_start();
    m = rig_claim(0, 0, 40);
    m->slot->flags |= SALVO_SLOT_PINNED;
    m->slot->budget_ns = 5 * MS;
    cookie = rig_commit(m);
    rig_turn();
    assert_true(rig_any_request(&r));
    rig_answer(&r, SALVO_RESPONSE_SYSTEM_BUSY);
    rig_pass_ms(6);
    assert_false(rig_any_request(&r));
    rig_expect(cookie, SALVO_REFUSED, SALVO_STORED_NO, 1);
    assert_int_equal(rig.got[cookie].slot.broker_code, SALVO_RESPONSE_SYSTEM_BUSY);
    assert_non_null(strstr(rig.got[cookie].detail, "refused"));
}

/* A message whose property has `count` bytes that take six each in a JSON header is refused by one
 * broker and goes to the other. */
static void retry_with_escapes(unsigned count)
{
    static char value[SALVO_PROPERTIES_SIZE_MAX];
    static struct rig_request r;
    struct salvo_text wire;
    struct salvo_msg *m;
    uint32_t cookie, first;

    rig.conf.form = SALVO_HEADER_JSON;
    rig_start();
    m = rig_claim(0, 0, 40);
    memset(value, '\x07', count);
    value[count] = '\0';
    assert_int_equal(salvo_submitter_set_property(m, "K", value, false), 0);
    cookie = rig_commit(m);
    rig_turn();
    assert_true(rig_any_request(&r));
    first = r.broker;
    rig_answer(&r, SALVO_RESPONSE_SYSTEM_ERROR);
    rig_turn();
    assert_true(rig_next_request(1 - first, &r));
    assert_int_equal(r.cookie, cookie);
    wire = salvo_property_find(r.fields.properties.text, r.fields.properties.size, "K");
    assert_int_equal(wire.size, count);
    assert_memory_equal(wire.text, value, count);
    rig_answer(&r, 0);
    rig_turn();
    rig_expect(cookie, SALVO_OK, SALVO_STORED_YES, 2);
}

/* They lie escaped in the frame of the first try: no room is needed to escape them once more. */
static void escaped_properties_need_no_more_chunks_again(void **state)
{
    (void)state;
    retry_with_escapes(3500);
}

/* More than the 32,767 bytes that a broker takes of them unescaped. */
static void properties_may_be_longer_escaped_than_a_broker_takes(void **state)
{
    (void)state;
    retry_with_escapes(5500);
}

static void a_pinned_message_stays_on_its_queue(void **state)
{
    static struct rig_request r;
    uint32_t cookie;

    (void)state;
    rig_start();
    cookie = rig_submit_pinned(3);
    for (int i = 0; i < 3; i++) {
        rig_turn();
        assert_true(rig_next_request(1, &r));
        assert_int_equal(r.fields.queueId, 1);
        rig_answer(&r, i < 2 ? SALVO_RESPONSE_SYSTEM_ERROR : 0);
        rig_pass_ms(100); /* over the pause before the same broker */
    }
    rig_expect(cookie, SALVO_OK, SALVO_STORED_YES, 3);
}

/* --- time-outs, late answers, cut frames ------------------------------------------------------ */

static void an_answer_after_its_try_was_given_up_is_late(void **state)
{
    static struct rig_request first, second, other;
    uint32_t cookie;

    (void)state;
    rig_start();
    cookie = rig_submit(0, 100);
    rig_turn();
    assert_true(rig_any_request(&first));
    rig_pass_ms(1001);
    assert_true(rig_next_request(!first.broker, &second));
    rig_answer(&first, SALVO_RESPONSE_MESSAGE_ILLEGAL);
    rig_turn();
    assert_int_equal(rig.got[cookie].count, 0);
    assert_int_equal(salvo_counter_get(rig.counters, SALVO_LANE_ANSWERS_LATE), 1);
    rig_answer_opaque(first.link, second.opaque, 13, NULL); /* the right number on the wrong link */
    rig_turn();
    assert_int_equal(rig.got[cookie].count, 0);
    rig_answer(&second, 0);
    rig_turn();
    rig_expect(cookie, SALVO_OK, SALVO_STORED_YES, 2);
    /* The slots go round; an old answer meets none of the new requests. */
    for (int i = 0; i < 200; i++) {
        uint32_t next = rig_submit(0, 20);

        rig_turn();
        assert_true(rig_any_request(&other));
        rig_answer(&first, SALVO_RESPONSE_MESSAGE_ILLEGAL);
        rig_answer(&second, SALVO_RESPONSE_MESSAGE_ILLEGAL);
        rig_turn();
        assert_int_equal(rig.got[next].count, 0);
        rig_answer(&other, 0);
        rig_turn();
        rig_expect(next, SALVO_OK, SALVO_STORED_YES, 1);
    }
}

static void silence_until_the_budget_is_spent_is_unknown(void **state)
{
    static struct rig_request r;
    uint32_t cookie;
    int seen = 0;

    (void)state;
    rig_start();
    cookie = rig_submit(0, 100);
    rig_pass_ms(RIG_BUDGET_MS - 1);
    assert_int_equal(rig.got[cookie].count, 0);
    rig_pass_ms(2);
    rig_expect(cookie, SALVO_TIMED_OUT, SALVO_STORED_UNKNOWN, 3);
    while (rig_any_request(&r))
        seen++;
    assert_int_equal(seen, 3);
    assert_int_equal(rig.got[cookie].slot.broker_code, -1);
}

/* The network takes nothing: the frame is cut out of the stream, and is never on the wire. */
static void a_frame_that_was_not_begun_is_not_sent(void **state)
{
    static struct rig_request r;
    uint32_t cookie;
    uint32_t next;

    (void)state;
    rig_net.room = 0;
    rig_start();
    cookie = rig_submit(0, 100);
    rig_pass_ms(RIG_BUDGET_MS + 1);
    rig_expect(cookie, SALVO_TIMED_OUT_UNSENT, SALVO_STORED_NO, 0);
    for (uint32_t broker = 0; broker < RIG_BROKERS; broker++) {
        rig_net.links[rig_link_to(broker)].room = SIZE_MAX;
        rig_push_event(SALVO_NET_RELEASED, rig_link_to(broker));
    }
    rig_turns(2);
    assert_false(rig_any_request(&r));
    next = rig_submit(0, 100);
    rig_turns(2);
    assert_true(rig_any_request(&r));
    assert_int_equal(r.cookie, next);
    rig_answer(&r, 0);
    rig_turn();
    rig_expect(next, SALVO_OK, SALVO_STORED_YES, 1);
}

/* One byte of it was taken: whatever happens now, it may be stored. */
static void a_frame_that_was_begun_may_be_stored(void **state)
{
    uint32_t cookie;

    (void)state;
    rig.conf.tries_max = 1;
    rig_net.room = 1;
    rig_start();
    cookie = rig_submit(0, 100);
    rig_pass_ms(RIG_BUDGET_MS + 1);
    rig_expect(cookie, SALVO_TIMED_OUT, SALVO_STORED_UNKNOWN, 1);
}

/* --- a connection dies ------------------------------------------------------------------------ */

/* Dies after every byte of a frame: only with the last one it may have arrived. */
static void death_tells_sent_from_not_sent(void **state)
{
    static struct rig_request r;
    uint32_t link;
    uint32_t first, second;
    size_t before, size;

    (void)state;
    rig.conf.tries_max = 1;
    rig_start();
    for (int behind = 0; behind < 2; behind++) {
        rig_submit_pinned(0);
        rig_turn();
        assert_true(rig_next_request(0, &r));
        rig_answer(&r, 0);
        rig_turn();
        link = r.link;
        before = rig_net.links[link].taken;
        first = rig_submit_pinned(0);
        second = rig_submit_pinned(0);
        rig_turn();
        assert_true(rig_next_request(0, &r) && rig_next_request(0, &r));
        size = (rig_net.links[link].taken - before) / 2; /* of one frame */
        rig_link_dies(link, SALVO_NET_DOWN_RESET, before + size - (size_t)!behind);
        rig_turns(2);
        /* The second was not handed over: it goes again, though tries_max is 1. */
        if (behind)
            rig_expect(first, SALVO_CONNECTION_LOST, SALVO_STORED_UNKNOWN, 1);
        rig_pass_ms(50);
        while (rig_next_request(0, &r)) {
            assert_true(r.cookie == second || (!behind && r.cookie == first));
            rig_answer(&r, 0);
            rig_turn();
        }
        if (!behind)
            rig_expect(first, SALVO_OK, SALVO_STORED_YES, 1);
        rig_expect(second, SALVO_OK, SALVO_STORED_YES, 1);
    }
    assert_int_equal(rig.connections_down, 2);
}

static void a_lost_try_goes_to_the_other_broker(void **state)
{
    static struct rig_request first, second;
    uint32_t cookie;

    (void)state;
    rig_start();
    cookie =
        rig_submit(0, 3 * RIG_CHUNK); /* over several chunks, that a second frame is copied from */
    rig_turn();
    assert_true(rig_any_request(&first));
    rig_link_dies(first.link, SALVO_NET_DOWN_PEER, rig_net.links[first.link].taken);
    rig_turns(2);
    assert_true(rig_next_request(!first.broker, &second));
    assert_int_equal(second.body_size, 3 * RIG_CHUNK);
    assert_memory_equal(second.body, first.body, 3 * RIG_CHUNK);
    rig_answer(&second, SALVO_RESPONSE_MESSAGE_ILLEGAL);
    rig_turn();
    /* The second broker refused it; the first may have it. */
    rig_expect(cookie, SALVO_REFUSED, SALVO_STORED_UNKNOWN, 2);
}

static void rubbish_costs_one_connection(void **state)
{
    static struct rig_request r;
    struct salvo_net_event *e;
    uint32_t cookie;

    (void)state;
    rig_start();
    cookie = rig_submit_pinned(0);
    rig_turn();
    assert_true(rig_next_request(0, &r));
    e = rig_push_event(SALVO_NET_DATA, r.link);
    e->data.bytes = (const uint8_t *)"HTTP/1.1 400 Bad Request\r\n\r\n";
    e->data.size = 28;
    rig_net.buffers_out++;
    rig_turns(2);
    assert_int_equal(rig.frame_errors, 1);
    assert_true(rig_net.links[r.link].down);
    assert_false(rig_net.links[rig_link_to(1)].down);
    rig_pass_ms(200);
    assert_true(rig_next_request(0, &r)); /* on a new connection */
    rig_answer(&r, 0);
    rig_turn();
    rig_expect(cookie, SALVO_OK, SALVO_STORED_YES, 2);
}

/* Nobody would know why else: nothing of it is on the wire. */
static void a_connection_that_cannot_be_begun_is_told_with_the_cause(void **state)
{
    struct rig_request r;
    uint32_t cookie;

    (void)state;
    rig_net.refuse = true; /* so that rig_start() expects no links */
    rig_net.error = EMFILE;
    rig_start();
    assert_int_equal(rig.connections_down, RIG_BROKERS);
    assert_int_equal(rig.down_code, EMFILE);
    assert_int_equal(salvo_counter_get(rig.counters, SALVO_LANE_CONNECTS_FAILED), RIG_BROKERS);
    rig_net.refuse = false;
    rig_net.error = 0;
    cookie = rig_submit(0, 100);
    rig_pass_ms(200);
    assert_true(rig_any_request(&r));
    rig_answer(&r, 0);
    rig_turn();
    rig_expect(cookie, SALVO_OK, SALVO_STORED_YES, 1);
}

/* --- routes ----------------------------------------------------------------------------------- */

static void messages_without_a_route_wait_for_it(void **state)
{
    static struct rig_request r;
    static struct salvo_route with_both;
    static const struct salvo_route_topic *both[2];
    uint32_t cookies[5];

    (void)state;
    rig_start();
    for (int i = 0; i < 5; i++)
        cookies[i] = rig_submit(1, 60);
    rig_turn();
    assert_int_equal(rig.route_wanted, 1); /* asked once */
    rig_pass_ms(20);
    assert_false(rig_any_request(&r));
    both[0] = rig.topic_list[0];
    both[1] = &rig.topics[1].topic;
    with_both = rig.route;
    with_both.epoch = 2;
    with_both.topics = both;
    salvo_lane_port_publish(&rig.lane.port, &with_both);
    rig_turns(2);
    for (int i = 0; i < 5; i++) {
        assert_true(rig_any_request(&r));
        rig_answer(&r, 0);
    }
    rig_turn();
    for (int i = 0; i < 5; i++)
        rig_expect(cookies[i], SALVO_OK, SALVO_STORED_YES, 1);
    assert_int_equal(rig.lane.port.route_seen, 2);
}

/* The next snapshot, in which broker 1 is no more, or is somewhere else. */
static void publish_without_1(bool elsewhere)
{
    static struct salvo_route next;
    static struct salvo_route_broker brokers[RIG_BROKERS];

    memcpy(brokers, rig.brokers, sizeof(brokers));
    brokers[1].used = elsewhere;
    brokers[1].generation++;
    next = rig.route;
    next.epoch = 2;
    next.brokers = brokers;
    salvo_lane_port_publish(&rig.lane.port, &next);
}

static void drop_1(void)
{
    struct salvo_command command = {.kind = SALVO_COMMAND_BROKER_DROP, .broker = 1};

    assert_int_equal(salvo_lane_port_command(&rig.lane.port, &command), 0);
}

static void a_broker_that_leaves_may_answer_what_is_in_flight(void **state)
{
    static struct rig_request r;
    uint32_t cookie, link;

    (void)state;
    rig_start();
    link = rig_link_to(1);
    cookie = rig_submit_pinned(2);
    rig_turn();
    assert_true(rig_next_request(1, &r));
    publish_without_1(false);
    rig_turn();
    drop_1();
    rig_pass_ms(20);
    assert_false(rig_net.links[link].down);
    assert_int_equal(rig.dropped, 0);
    rig_answer(&r, 0);
    rig_turns(3);
    rig_expect(cookie, SALVO_OK, SALVO_STORED_YES, 1);
    assert_true(rig_net.links[link].down);
    assert_int_equal(rig.dropped, 1);
    assert_int_equal(rig.counters[SALVO_LANE_CONNECTIONS_LOST], 0);
    assert_int_equal(rig.counters[SALVO_LANE_CONNECTIONS_UP], 1);
}

/* ... and gets no heartbeats any more: that one is due is nothing to be awake for. */
static void a_broker_that_leaves_lets_the_lane_sleep(void **state)
{
    static struct rig_request r;

    (void)state;
    rig.conf.heartbeat_ns = 100 * MS;
    rig_start();
    rig_net.pend = true;
    rig_link_dies(rig_link_to(0), SALVO_NET_DOWN_RESET, 0);
    rig_submit_pinned(2);
    rig_turn();
    assert_true(rig_next_request(1, &r));
    publish_without_1(false);
    rig_pass_ms(200);
    assert_false(rig_net.links[r.link].down);
    assert_int_equal(salvo_lane_next_ns(&rig.lane, rig.clock.mono_now_ns), 800 * MS);
}

/* No time passes: nobody waits for the connection's time to be up. */
static void a_broker_that_leaves_is_not_waited_for_while_connecting(void **state)
{
    uint32_t link;

    (void)state;
    rig_start();
    rig_net.pend = true;
    rig_link_dies(rig_link_to(1), SALVO_NET_DOWN_RESET, 0);
    rig_turn();
    rig_pass_ms(20);
    link = rig_net.links_count - 1;
    assert_int_equal(rig_net.links[link].broker, 1);
    assert_false(rig_net.links[link].down);
    publish_without_1(false);
    rig_turn();
    drop_1();
    rig_turns(3);
    assert_true(rig_net.links[link].down);
    assert_int_equal(rig.dropped, 1);
}

static void a_broker_that_moves_is_connected_to_where_it_is_now(void **state)
{
    uint32_t links;

    (void)state;
    rig_start();
    links = rig_net.links_count;
    rig_net.pend = true;
    rig_link_dies(rig_link_to(1), SALVO_NET_DOWN_RESET, 0);
    rig_turn();
    rig_pass_ms(20);
    assert_int_equal(rig_net.links_count, links + 1);
    publish_without_1(true);
    rig_turns(3);
    assert_true(rig_net.links[links].down);
    rig_pass_ms(100);
    assert_int_equal(rig_net.links_count, links + 2);
    assert_false(rig_net.links[links + 1].down);
}

static void no_route_in_time_is_said(void **state)
{
    uint32_t cookie;

    (void)state;
    rig_start();
    cookie = rig_submit(1, 60);
    rig_pass_ms(RIG_BUDGET_MS - 1);
    assert_int_equal(rig.got[cookie].count, 0);
    rig_pass_ms(2);
    rig_expect(cookie, SALVO_NO_ROUTE, SALVO_STORED_NO, 0);
    assert_true(strlen(rig.got[cookie].detail) > 10);
}

static void a_queue_that_is_not_there_is_said_at_once(void **state)
{
    uint32_t cookie;

    (void)state;
    rig_start();
    cookie = rig_submit_pinned(RIG_QUEUES);
    rig_turn();
    rig_expect(cookie, SALVO_NO_ROUTE, SALVO_STORED_NO, 0);
}

/* --- the end ---------------------------------------------------------------------------------- */

static void the_drain_gives_every_message_its_result(void **state)
{
    static struct rig_request r;
    uint32_t sent, waiting, lined, ringed;

    (void)state;
    rig_start();
    sent = rig_submit(0, 50);
    rig_turn();
    assert_true(rig_any_request(&r));
    waiting = rig_submit(1, 50);
    rig_submit_shard(0, 8);
    lined = rig_submit_shard(0, 8);
    rig_turns(2);
    rig_drain(rig.clock.mono_now_ns + 100 * MS);
    rig_turn();
    assert_int_equal(rig.drained, 0);
    rig_pass_ms(99);
    assert_int_equal(rig.got[sent].count, 0);
    ringed = rig_submit(0, 50); /* committed just before the inputs were closed, say */
    salvo_clock_manual_advance(&rig.clock, MS);
    rig_turn();
    rig_expect(sent, SALVO_TIMED_OUT, SALVO_STORED_UNKNOWN, 1);
    rig_expect(waiting, SALVO_UNSENT_STOPPED, SALVO_STORED_NO, 0);
    assert_int_equal(rig.got[lined].slot.stored, SALVO_STORED_NO);
    rig_expect(ringed, SALVO_UNSENT_STOPPED, SALVO_STORED_NO, 0);
    rig_turn();
    assert_int_equal(rig.drained, 1);
}

static void a_drain_of_nothing_is_done_at_once(void **state)
{
    (void)state;
    rig_start();
    rig_drain(rig.clock.mono_now_ns + 100000 * MS);
    rig_turn();
    assert_int_equal(rig.drained, 1);
}

/* --- compression ------------------------------------------------------------------------------ */

static void a_turn_compresses_no_more_than_its_share(void **state)
{
    static struct rig_request r;
    const unsigned share = SALVO_LANE_COMPRESS_PER_CYCLE / RIG_BODY_MAX + 1;
    uint32_t cookies[40];

    (void)state;
    rig.conf.compression = SALVO_COMPRESS_ZLIB;
    rig.conf.compress_min = 1000;
    rig.conf.window = 64;
    rig_start();
    for (unsigned i = 0; i < SALVO_ARRAY_LENGTH(cookies); i++)
        cookies[i] = rig_submit(0, RIG_BODY_MAX);
    rig_turn();
    assert_int_equal(salvo_counter_get(rig.counters, SALVO_LANE_MESSAGES_TAKEN), share);
    rig_turn();
    assert_int_equal(salvo_counter_get(rig.counters, SALVO_LANE_MESSAGES_TAKEN), 2 * share);
    rig_turn();
    assert_int_equal(salvo_counter_get(rig.counters, SALVO_LANE_MESSAGES_COMPRESSED),
                     SALVO_ARRAY_LENGTH(cookies));
    while (rig_any_request(&r))
        rig_answer(&r, 0);
    rig_turns(2);
    for (unsigned i = 0; i < SALVO_ARRAY_LENGTH(cookies); i++)
        rig_expect(cookies[i], SALVO_OK, SALVO_STORED_YES, 1);
}

/* With one request out to each broker all others come to the front again and again. */
static void a_message_that_has_to_wait_is_compressed_once(void **state)
{
    static struct rig_request r;
    static uint8_t body[RIG_BODY_MAX];
    enum { count = 12 };
    bool came[count] = {false};
    unsigned seen = 0;

    (void)state;
    rig.conf.compression = SALVO_COMPRESS_ZLIB;
    rig.conf.compress_min = 1000;
    rig.conf.window = 1;
    rig_start();
    for (unsigned i = 0; i < count; i++)
        rig_submit(0, 2000);
    for (unsigned turns = 0; seen < count && turns < 100; turns++) {
        rig_turns(2);
        while (rig_any_request(&r)) {
            uint32_t cookie;

            assert_int_equal(
                salvo_decompress(SALVO_COMPRESS_ZLIB, r.body, r.body_size, body, sizeof(body)),
                2000);
            memcpy(&cookie, body, sizeof(cookie));
            assert_in_range(cookie, 0, count - 1);
            assert_false(came[cookie]);
            came[cookie] = true;
            seen++;
            rig_answer(&r, 0);
        }
    }
    assert_int_equal(seen, count);
    assert_int_equal(salvo_counter_get(rig.counters, SALVO_LANE_MESSAGES_COMPRESSED), count);
    rig_turns(2);
    for (uint32_t i = 0; i < count; i++)
        rig_expect(i, SALVO_OK, SALVO_STORED_YES, 1);
}

static void a_body_that_does_not_get_smaller_is_tried_once(void **state)
{
    static struct rig_request r;
    struct salvo_random random;
    unsigned seen = 0;

    (void)state;
    rig.conf.compression = SALVO_COMPRESS_ZLIB;
    rig.conf.compress_min = 1000;
    rig.conf.window = 1;
    rig_start();
    salvo_random_init(&random, 1);
    for (int i = 0; i < 3; i++) {
        struct salvo_msg *m = rig_claim(0, 0, 2000);

        for (size_t at = 8; at < 2000; at++)
            salvo_slot_body(m->slot)[at] = (uint8_t)salvo_random_below(&random, 256);
        rig_commit(m);
    }
    rig_turn();
    assert_int_equal(rig.lane.compressed, 3 * 2000); /* the third has to wait */
    rig_turn();
    assert_int_equal(rig.lane.compressed, 0);
    for (int turns = 0; turns < 4; turns++, rig_turn()) {
        while (rig_any_request(&r)) {
            assert_int_equal(r.body_size, 2000);
            assert_int_equal(r.cookie, seen++);
            rig_answer(&r, 0);
        }
    }
    assert_int_equal(salvo_counter_get(rig.counters, SALVO_LANE_MESSAGES_COMPRESSED), 0);
    for (uint32_t i = 0; i < 3; i++)
        rig_expect(i, SALVO_OK, SALVO_STORED_YES, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(a_good_answer_fills_every_field),
        RIG_TEST(a_wall_clock_that_was_never_set_stops_nothing),
        RIG_TEST(a_refused_try_goes_to_the_other_broker),
        RIG_TEST(after_the_last_try_the_brokers_word_is_given),
        RIG_TEST(a_brokers_word_is_shown_without_escapes),
        RIG_TEST(time_that_is_up_in_the_pause_after_a_refusal_is_a_refusal),
        RIG_TEST(escaped_properties_need_no_more_chunks_again),
        RIG_TEST(properties_may_be_longer_escaped_than_a_broker_takes),
        RIG_TEST(a_pinned_message_stays_on_its_queue),
        RIG_TEST(an_answer_after_its_try_was_given_up_is_late),
        RIG_TEST(silence_until_the_budget_is_spent_is_unknown),
        RIG_TEST(a_frame_that_was_not_begun_is_not_sent),
        RIG_TEST(a_frame_that_was_begun_may_be_stored),
        RIG_TEST(death_tells_sent_from_not_sent),
        RIG_TEST(a_lost_try_goes_to_the_other_broker),
        RIG_TEST(rubbish_costs_one_connection),
        RIG_TEST(a_connection_that_cannot_be_begun_is_told_with_the_cause),
        RIG_TEST(messages_without_a_route_wait_for_it),
        RIG_TEST(a_broker_that_leaves_may_answer_what_is_in_flight),
        RIG_TEST(a_broker_that_leaves_lets_the_lane_sleep),
        RIG_TEST(a_broker_that_leaves_is_not_waited_for_while_connecting),
        RIG_TEST(a_broker_that_moves_is_connected_to_where_it_is_now),
        RIG_TEST(no_route_in_time_is_said),
        RIG_TEST(a_queue_that_is_not_there_is_said_at_once),
        RIG_TEST(the_drain_gives_every_message_its_result),
        RIG_TEST(a_drain_of_nothing_is_done_at_once),
        RIG_TEST(a_turn_compresses_no_more_than_its_share),
        RIG_TEST(a_message_that_has_to_wait_is_compressed_once),
        RIG_TEST(a_body_that_does_not_get_smaller_is_tried_once),
    };

    return cmocka_run_group_tests_name("dataplane/lane", tests, NULL, NULL);
}
