/* A lane: open batches, and what an ordered message has to wait for. */
#include "tests/support/lane_rig.h"

/* --- batches ---------------------------------------------------------------------------------- */

static void a_refused_batch_is_taken_apart(void **state)
{
    static struct rig_request batch, r;
    uint32_t cookies[3];

    (void)state;
    rig.conf.batch.mode = SALVO_BATCH_MODE_NATURAL;
    rig_start();
    for (int i = 0; i < 3; i++)
        cookies[i] = rig_submit(0, 50 + (size_t)i);
    rig_turn();
    assert_true(rig_any_request(&batch));
    assert_true(batch.fields.batch);
    assert_int_equal(batch.cookie, cookies[0]);
    rig_answer(&batch, SALVO_RESPONSE_MESSAGE_ILLEGAL);
    rig_turns(2);
    for (int i = 0; i < 3; i++) {
        assert_true(rig_any_request(&r));
        assert_false(r.fields.batch);
        assert_int_equal(r.body_size, 50 + (r.cookie - cookies[0]));
        assert_int_equal(strlen(r.id), 32); /* its own id, from the item */
        rig_answer(&r, r.cookie == cookies[1] ? SALVO_RESPONSE_MESSAGE_ILLEGAL : 0);
    }
    assert_false(rig_any_request(&r));
    rig_turns(2);
    rig_expect(cookies[0], SALVO_OK, SALVO_STORED_YES, 2);
    rig_expect(cookies[1], SALVO_REFUSED, SALVO_STORED_NO, 2);
    rig_expect(cookies[2], SALVO_OK, SALVO_STORED_YES, 2);
    assert_int_equal(salvo_counter_get(rig.counters, SALVO_LANE_REQUESTS_SPLIT), 1);
}

/* Each item has its own offsets: queue offsets count up, ids come as a list. */
static void a_batch_answer_is_shared_out(void **state)
{
    static struct rig_request batch;
    struct salvo_header header = {.version = 479, .flag = 1};
    struct salvo_net_event *e;
    uint32_t cookies[2];

    (void)state;
    rig.conf.batch.mode = SALVO_BATCH_MODE_NATURAL;
    rig_start();
    for (int i = 0; i < 2; i++)
        cookies[i] = rig_submit(0, 50);
    rig_turn();
    assert_true(rig_any_request(&batch));
    header.opaque = batch.opaque;
    salvo_header_add(&header, "msgId",
                     SALVO_TEXT("0A00000200002A9F0000000000000ABC,"
                                "0A00000200002A9F0000000000000DEF"));
    salvo_header_add(&header, "queueId", SALVO_TEXT("1"));
    salvo_header_add(&header, "queueOffset", SALVO_TEXT("5"));
    e = rig_push_event(SALVO_NET_DATA, batch.link);
    e->data.bytes = rig_net.buffers[0];
    e->data.size =
        (uint32_t)salvo_frame_write(rig_net.buffers[0], 512, SALVO_HEADER_BINARY, &header, NULL, 0);
    rig_net.buffers_out++;
    rig_turn();
    for (int i = 0; i < 2; i++) {
        rig_expect(cookies[i], SALVO_OK, SALVO_STORED_YES, 1);
        assert_int_equal(rig.got[cookies[i]].slot.queue_offset, 5 + i);
        assert_int_equal(rig.got[cookies[i]].slot.commit_log_offset, i == 0 ? 0xabc : 0xdef);
    }
}

/* Sends three messages as a batch; true when its buffer was given away. */
static bool submit_batch(struct rig_request *ret_batch, uint32_t ret_cookies[3], size_t size)
{
    const uint8_t *buffer = rig.lane.batches.open[0].bytes;

    for (int i = 0; i < 3; i++)
        ret_cookies[i] = rig_submit(0, size);
    rig_turn();
    assert_true(rig_any_request(ret_batch));
    assert_true(ret_batch->fields.batch);
    assert_true(ret_batch->body_size > 3 * size);
    return rig.lane.batches.open[0].bytes != buffer;
}

/* A long batch's buffer is sent, and kept for another try, as it is; what is gathered meanwhile is
 * written elsewhere. A short one is copied: it would leave most of a chunk empty. */
static void a_long_batchs_buffer_becomes_a_chunk(void **state)
{
    static struct rig_request batches[3], again;
    uint32_t cookies[3][3];

    (void)state;
    rig.conf.batch.mode = SALVO_BATCH_MODE_NATURAL;
    rig_start();
    assert_false(submit_batch(&batches[0], cookies[0], 50));
    assert_true(submit_batch(&batches[1], cookies[1], 400));
    assert_true(submit_batch(&batches[2], cookies[2], 450));
    rig_answer(&batches[1], SALVO_RESPONSE_SYSTEM_ERROR);
    rig_turn();
    assert_true(rig_any_request(&again));
    assert_int_equal(again.body_size, batches[1].body_size);
    assert_memory_equal(again.body, batches[1].body, again.body_size);
    rig_answer(&batches[0], 0);
    rig_answer(&batches[2], 0);
    rig_answer(&again, 0);
    rig_turn();
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++)
            rig_expect(cookies[i][k], SALVO_OK, SALVO_STORED_YES, i == 1 ? 2 : 1);
}

/* However many might be open: the arena has room for none, and something else behind it. */
static void without_batching_no_batch_is_set_up(void **state)
{
    (void)state;
    rig.conf.batch.open_max = 64;
    rig.conf.topics_max = 64;
    rig_start();
    for (uint32_t i = 0; i < rig.conf.topics_max; i++)
        assert_int_equal(rig.lane.route_wanted_ns[i], INT64_MIN / 2);
}

/* Buffers are as long as chunks only where they may become chunks; without batching there are none.
 */
static void buffers_are_as_long_as_they_need_to_be(void **state)
{
    static const struct {
        enum salvo_batch_mode mode;
        uint32_t bytes_max;
        bool zero_copy;
        uint32_t room;
    } cases[] = {
        {SALVO_BATCH_MODE_NATURAL, RIG_CHUNK, false, RIG_CHUNK},
        {SALVO_BATCH_MODE_NATURAL, RIG_CHUNK / 4, false, RIG_CHUNK},
        {SALVO_BATCH_MODE_NATURAL, RIG_CHUNK / 4 - 1, false, RIG_CHUNK / 4 - 1},
        {SALVO_BATCH_MODE_LINGER, RIG_CHUNK + 1, false, RIG_CHUNK + 1},
        {SALVO_BATCH_MODE_LINGER, RIG_CHUNK / 2, true, RIG_CHUNK / 2},
        {SALVO_BATCH_MODE_OFF, RIG_CHUNK / 2, false, 0},
    };

    (void)state;
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        rig.conf.batch.mode = cases[i].mode;
        rig.conf.batch.bytes_max = cases[i].bytes_max;
        rig.conf.zero_copy = cases[i].zero_copy;
        assert_int_equal(salvo_lane_chunks_memory_size(&rig.conf),
                         RIG_CHUNKS * RIG_CHUNK + RIG_BATCHES * cases[i].room);
    }
    rig_start();
}

static void linger_gathers_until_due(void **state)
{
    static struct rig_request r;
    uint32_t first;

    (void)state;
    rig.conf.batch.mode = SALVO_BATCH_MODE_LINGER;
    rig.conf.batch.linger_ns = 10 * MS;
    rig_start();
    first = rig_submit(0, 50);
    rig_turn();
    rig_pass_ms(5);
    rig_submit(0, 50);
    rig_pass_ms(4);
    assert_false(rig_any_request(&r));
    rig_pass_ms(1);
    assert_true(rig_any_request(&r));
    assert_true(r.fields.batch);
    assert_int_equal(r.cookie, first);
    rig_answer(&r, 0);
    rig_turn();
    rig_expect(first, SALVO_OK, SALVO_STORED_YES, 1);
    rig_expect(first + 1, SALVO_OK, SALVO_STORED_YES, 1);
}

/* The linger is twice the message's time. */
static void linger_leaves_time_for_sending(void **state)
{
    static struct rig_request r;
    struct salvo_msg *m;
    uint32_t cookie;

    (void)state;
    rig.conf.batch.mode = SALVO_BATCH_MODE_LINGER;
    rig.conf.batch.linger_ns = 100 * MS;
    rig_start();
    m = rig_claim(0, 0, 40);
    m->slot->budget_ns = 50 * MS;
    cookie = rig_commit(m);
    rig_pass_ms(24);
    assert_false(rig_any_request(&r));
    rig_pass_ms(2);
    assert_true(rig_any_request(&r));
    rig_answer(&r, 0);
    rig_turn();
    rig_expect(cookie, SALVO_OK, SALVO_STORED_YES, 1);
}

/* A batch that is due and finds every window full must not keep the lane from sleeping. */
static void a_batch_that_cannot_go_lets_the_lane_sleep(void **state)
{
    static struct rig_request r;

    (void)state;
    rig.conf.batch.mode = SALVO_BATCH_MODE_LINGER;
    rig.conf.batch.linger_ns = 2 * MS;
    rig.conf.window = 1;
    rig_start();
    for (int i = 0; i < 3; i++) {
        rig_submit(0, 50);
        rig_pass_ms(3);
    }
    assert_int_equal(rig.lane.batches.count, 1);
    assert_true(salvo_lane_next_ns(&rig.lane, rig.clock.mono_now_ns) > 100 * MS);
    for (int i = 0; i < 3; i++) {
        assert_true(rig_any_request(&r));
        rig_answer(&r, 0);
        rig_turns(2);
    }
    rig_expect(2, SALVO_OK, SALVO_STORED_YES, 1);
}

/* As many batches as can be open, all to broker 0: of topic 0 and pinned there, or of topic 1,
 * which is given no other broker. */
static void open_batches_to_0(bool pinned, uint32_t ret_cookies[RIG_BATCHES])
{
    static struct salvo_route route;

    rig.topics[1] = rig.topics[0];
    rig.topics[1].topic.topic = 1;
    rig.topics[1].topic.queues_count = 2;
    rig.topic_list[1] = &rig.topics[1].topic;
    route = rig.route;
    route.epoch = 2;
    salvo_lane_port_publish(&rig.lane.port, &route);
    for (uint32_t i = 0; i < RIG_BATCHES; i++) {
        struct salvo_msg *m = rig_claim(0, pinned ? 0 : 1, 40);

        m->slot->flags |= pinned ? SALVO_SLOT_PINNED : 0;
        m->slot->queue_index = i % 2;
        m->slot->budget_ns -= i * MS; /* so that none may share a batch */
        ret_cookies[i] = rig_commit(m);
    }
    rig_turns(2);
    assert_int_equal(rig.lane.batches.count, RIG_BATCHES);
}

/* Broker 1 has room, so what may go there does. */
static void expect_others_go_to_1(void)
{
    static struct rig_request r;
    uint32_t cookies[20];

    for (int i = 0; i < 20; i++)
        cookies[i] = rig_commit(rig_claim(1, 0, 50));
    for (int turns = 0; turns < 10; turns++) {
        rig_turn();
        while (rig_next_request(1, &r))
            rig_answer(&r, 0);
    }
    for (int i = 0; i < 20; i++)
        rig_expect(cookies[i], SALVO_OK, SALVO_STORED_YES, 1);
}

static void batches_for_a_dead_broker_do_not_stop_the_others(void **state)
{
    static struct rig_request r;
    uint32_t cookies[RIG_BATCHES];

    (void)state;
    for (int pinned = 0; pinned < 2; pinned++) {
        if (pinned) {
            assert_int_equal(rig_teardown(NULL), 0);
            rig_setup(NULL);
        }
        rig.conf.batch.mode = SALVO_BATCH_MODE_NATURAL;
        rig_start();
        rig_link_dies(rig_link_to(0), SALVO_NET_DOWN_RESET, 0); /* is called again after 10 ms */
        rig_turns(3);
        open_batches_to_0(pinned, cookies);
        expect_others_go_to_1();
        for (uint32_t i = 0; i < RIG_BATCHES; i++)
            assert_int_equal(rig.got[cookies[i]].count, 0);
        rig_pass_ms(20);
        while (rig_next_request(0, &r))
            rig_answer(&r, 0);
        rig_turns(2);
        for (uint32_t i = 0; i < RIG_BATCHES; i++)
            rig_expect(cookies[i], SALVO_OK, SALVO_STORED_YES, 1);
    }
}

static void batches_for_a_slow_broker_do_not_stop_the_others(void **state)
{
    static struct rig_request r;
    uint32_t cookies[RIG_BATCHES];

    (void)state;
    rig.conf.batch.mode = SALVO_BATCH_MODE_NATURAL;
    rig.conf.window = 2;
    rig_start();
    for (int i = 0; i < 2; i++) {
        rig_submit_pinned(0);
        rig_turn();
    }
    assert_true(rig_next_request(0, &r) && rig_next_request(0, &r));
    open_batches_to_0(true, cookies);
    expect_others_go_to_1();
    for (uint32_t i = 0; i < RIG_BATCHES; i++)
        assert_int_equal(rig.got[cookies[i]].count, 0);
}

/* ... and when no more than those may wait, they go alone. */
static void more_than_may_wait_for_a_dead_broker_do_not_stop_the_others(void **state)
{
    (void)state;
    rig.conf.batch.mode = SALVO_BATCH_MODE_NATURAL;
    rig_start();
    rig_net.pend = true;
    rig_link_dies(rig_link_to(0), SALVO_NET_DOWN_RESET, 0);
    rig_turns(3);
    for (uint32_t i = 0; i < 2 * rig.conf.requests_max / 4; i++) {
        struct salvo_msg *m = rig_claim(0, 0, 40);

        m->slot->flags |= SALVO_SLOT_PINNED;
        m->slot->budget_ns -= i * MS; /* so that none may share a batch */
        rig_commit(m);
    }
    rig_turns(10);
    assert_int_equal(rig.lane.batches.count, RIG_BATCHES);
    assert_int_equal(rig.lane.waiting.count, rig.conf.requests_max / 4);
    expect_others_go_to_1();
    rig_net.pend = false;
}

/* --- order ------------------------------------------------------------------------------------ */

static void ordered_messages_go_one_at_a_time(void **state)
{
    static struct rig_request r;

    (void)state;
    rig_start();
    for (int i = 0; i < 6; i++)
        rig_submit_shard(0, 8);
    for (uint32_t i = 0; i < 6; i++) {
        rig_turns(2);
        assert_true(rig_any_request(&r));
        assert_int_equal(r.cookie, i);
        rig_turns(2);
        {
            static struct rig_request more;
            assert_false(rig_any_request(&more));
        }
        if (i == 2) { /* tried again in place, nobody overtakes */
            rig_answer(&r, SALVO_RESPONSE_SYSTEM_ERROR);
            rig_pass_ms(100);
            assert_true(rig_any_request(&r));
            assert_int_equal(r.cookie, i);
        }
        rig_answer(&r, 0);
    }
    rig_turn();
    for (uint32_t i = 0; i < 6; i++)
        rig_expect(i, SALVO_OK, SALVO_STORED_YES, i == 2 ? 2 : 1);
}

static void who_stands_in_line_is_counted_as_waiting(void **state)
{
    (void)state;
    rig_start();
    for (int i = 0; i < 5; i++)
        rig_submit_shard(0, 8);
    rig_turns(2);
    assert_int_equal(salvo_counter_get(rig.counters, SALVO_LANE_REQUESTS_INFLIGHT), 1);
    assert_int_equal(salvo_counter_get(rig.counters, SALVO_LANE_WAITING), 4);
}

/* Shards 8 and 12 share a queue: when one of 8 fails for good, 12 goes on. */
static void a_failed_shard_fails_alone(void **state)
{
    static struct rig_request r;
    uint32_t bad, behind, other, elsewhere;

    (void)state;
    for (int batched = 0; batched < 2; batched++) {
        if (batched) {
            assert_int_equal(rig_teardown(NULL), 0);
            rig_setup(NULL);
            rig.conf.batch.mode = SALVO_BATCH_MODE_NATURAL;
        }
        rig_start();
        bad = rig_submit_shard(0, 8);
        rig_turns(2);
        behind = rig_submit_shard(0, 8);
        other = rig_submit_shard(0, 12);
        elsewhere = rig_submit_shard(1, 8); /* another submitter's order is its own */
        rig_turns(2);
        assert_true(rig_any_request(&r));
        assert_int_equal(r.cookie, bad);
        rig_answer(&r, SALVO_RESPONSE_MESSAGE_ILLEGAL);
        rig_turns(2);
        rig_expect(bad, SALVO_REFUSED, SALVO_STORED_NO, 1);
        rig_expect(behind, SALVO_UNSENT_EARLIER_FAILED, SALVO_STORED_NO, 0);
        while (rig_any_request(&r)) {
            assert_int_not_equal(r.cookie, behind);
            rig_answer(&r, 0);
            rig_turns(2);
        }
        rig_expect(other, SALVO_OK, SALVO_STORED_YES, 1);
        rig_expect(elsewhere, SALVO_OK, SALVO_STORED_YES, 1);
    }
}

/* ... and so does what was committed before the submitter could know, and is still in its ring. */
static void a_failure_holds_for_what_is_in_the_ring_until_it_is_polled(void **state)
{
    static struct rig_request r;
    uint32_t bad, behind, other, elsewhere, anew;

    (void)state;
    for (int batched = 0; batched < 2; batched++) {
        if (batched) {
            assert_int_equal(rig_teardown(NULL), 0);
            rig_setup(NULL);
            rig.conf.batch.mode = SALVO_BATCH_MODE_NATURAL;
        }
        rig_start();
        bad = rig_submit_shard(0, 8);
        rig_turns(2);
        assert_true(rig_any_request(&r));
        assert_int_equal(r.cookie, bad);
        rig_answer(&r, SALVO_RESPONSE_MESSAGE_ILLEGAL);
        behind = rig_submit_shard(0, 8); /* seen by the same turn as the answer */
        other = rig_submit_shard(0, 12);
        elsewhere = rig_submit_shard(1, 8);
        rig_turn();
        rig_expect(bad, SALVO_REFUSED, SALVO_STORED_NO, 1);
        rig_expect(behind, SALVO_UNSENT_EARLIER_FAILED, SALVO_STORED_NO, 0);
        assert_string_equal(rig.got[behind].detail, "an earlier message of its shard failed");
        anew = rig_submit_shard(0, 8); /* both results were polled */
        rig_turns(2);
        while (rig_any_request(&r)) {
            rig_answer(&r, 0);
            rig_turns(2);
        }
        rig_expect(other, SALVO_OK, SALVO_STORED_YES, 1);
        rig_expect(elsewhere, SALVO_OK, SALVO_STORED_YES, 1);
        rig_expect(anew, SALVO_OK, SALVO_STORED_YES, 1);
    }
}

/* Its time may also be up in the ring, or in a batch that could not go. */
static void a_failure_before_the_first_byte_holds_too(void **state)
{
    static struct rig_request r;
    struct salvo_msg *m;
    uint32_t late, behind;

    (void)state;
    for (int batched = 0; batched < 2; batched++) {
        if (batched) {
            assert_int_equal(rig_teardown(NULL), 0);
            rig_setup(NULL);
            rig.conf.batch.mode = SALVO_BATCH_MODE_LINGER;
            rig.conf.batch.linger_ns = 1000 * MS;
        }
        rig_start();
        m = rig_claim(0, 0, 40);
        m->slot->flags |= SALVO_SLOT_SHARD;
        m->slot->shard_hash = 8;
        m->slot->budget_ns = MS;
        late = rig_commit(m);
        if (batched)
            rig_turn();
        salvo_clock_manual_advance(&rig.clock, 2 * MS);
        salvo_lane_do_work(&rig.lane); /* not polled yet */
        behind = rig_submit_shard(0, 8);
        rig_turns(2);
        rig_expect(late, SALVO_TIMED_OUT_UNSENT, SALVO_STORED_NO, 0);
        rig_expect(behind, SALVO_UNSENT_EARLIER_FAILED, SALVO_STORED_NO, 0);
        assert_false(rig_any_request(&r));
    }
}

/* Without a route messages wait in the line of their topic, not of their queue. */
static void a_failure_holds_for_what_came_after_the_route_was_lost(void **state)
{
    static struct rig_request r;
    struct salvo_route lost;
    struct salvo_route_topic none = {.state = SALVO_ROUTE_UNKNOWN};
    const struct salvo_route_topic *topics[2] = {&none, &none};
    uint32_t bad, behind, other;

    (void)state;
    rig_start();
    bad = rig_submit_shard(0, 8);
    rig_turns(2);
    assert_true(rig_any_request(&r));
    lost = rig.route;
    lost.epoch = 2;
    lost.topics = topics;
    salvo_lane_port_publish(&rig.lane.port, &lost);
    behind = rig_submit_shard(0, 8);
    other = rig_submit_shard(0, 12);
    rig_turns(2);
    rig_answer(&r, SALVO_RESPONSE_MESSAGE_ILLEGAL);
    rig_turns(2);
    rig_expect(bad, SALVO_REFUSED, SALVO_STORED_NO, 1);
    rig_expect(behind, SALVO_UNSENT_EARLIER_FAILED, SALVO_STORED_NO, 0);
    rig.route.epoch = 3;
    salvo_lane_port_publish(&rig.lane.port, &rig.route);
    rig_turns(3);
    assert_true(rig_any_request(&r));
    assert_int_equal(r.cookie, other);
    rig_answer(&r, 0);
    rig_turns(2);
    rig_expect(other, SALVO_OK, SALVO_STORED_YES, 1);
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

/* ... also when it was in a batch that was never sent. */
static void an_open_batchs_failure_holds_for_what_came_after_the_route_was_lost(void **state)
{
    static struct rig_request r;
    uint32_t first, late, behind, other;

    (void)state;
    rig.conf.batch.mode = SALVO_BATCH_MODE_NATURAL;
    rig_start();
    first = rig_submit_shard(0, 8);
    rig_turn();
    assert_true(rig_any_request(&r));
    assert_int_equal(r.cookie, first);
    late = rig_submit_shard(0, 8); /* stays open: it is not its turn */
    rig_turn();
    rig_pass_ms(500);
    publish(false);
    behind = rig_submit_shard(0, 8);
    other = rig_submit_shard(0, 12);
    rig_turns(2);
    rig_answer(&r, 0);
    rig_turns(2);
    rig_expect(first, SALVO_OK, SALVO_STORED_YES, 1);
    assert_int_equal(rig.got[late].count, 0);
    rig_pass_ms(RIG_BUDGET_MS - 500);
    rig_expect(late, SALVO_NO_ROUTE, SALVO_STORED_NO, 0);
    rig_expect(behind, SALVO_UNSENT_EARLIER_FAILED, SALVO_STORED_NO, 0);
    publish(true);
    rig_turns(3);
    assert_true(rig_any_request(&r));
    assert_int_equal(r.cookie, other);
    rig_answer(&r, 0);
    rig_turns(2);
    rig_expect(other, SALVO_OK, SALVO_STORED_YES, 1);
}

/* The failures come in order; who commits each again as it is polled has them stored in order. */
static void failed_messages_may_be_submitted_again_one_by_one(void **state)
{
    static struct rig_request r;
    struct salvo_submitter *s = &rig.submitters[0];
    const struct salvo_result_slot *result;
    uint32_t first = 0, again[4], n = 0;

    (void)state;
    rig.conf.batch.mode = SALVO_BATCH_MODE_NATURAL;
    rig.conf.tries_max = 1;
    rig_start();
    for (int i = 0; i < 4; i++) { /* two in a frame, one behind it, one in the ring */
        uint32_t cookie = rig_submit_shard(0, 8);

        first = i == 0 ? cookie : first;
        if (i == 1 || i == 2)
            rig_turns(2);
        if (i == 2) {
            assert_true(rig_any_request(&r));
            assert_int_equal(r.cookie, first);
            rig_answer(&r, SALVO_RESPONSE_SYSTEM_ERROR);
        }
    }
    salvo_lane_do_work(&rig.lane);
    while ((result = salvo_submitter_result(s)) != NULL) {
        assert_int_equal(result->cookie, first + n);
        assert_int_not_equal(result->stored, SALVO_STORED_YES);
        rig.got[result->cookie].count++;
        again[n++] = rig_submit_shard(0, 8);
        salvo_submitter_result_done(s, result);
        salvo_submitter_results_release(s);
        salvo_lane_do_work(&rig.lane);
    }
    assert_int_equal(n, 4);
    n = 0;
    rig_turns(2);
    while (rig_any_request(&r)) {
        assert_int_equal(r.cookie, again[n]);
        while (n < 4 && again[n] < r.cookie + (r.fields.batch ? 4 : 1))
            n++;
        rig_answer(&r, 0);
        rig_turns(2);
    }
    for (int i = 0; i < 4; i++)
        rig_expect(again[i], SALVO_OK, SALVO_STORED_YES, 1);
}

/* A slow queue's line may not use up what every other queue needs. */
static void a_message_that_waits_in_its_line_too_long_is_told_so(void **state)
{
    (void)state;
    rig_start();
    rig_submit_shard(0, 8); /* is sent, and never answered */
    for (int i = 0; i < 2; i++) {
        struct salvo_msg *m = rig_claim(0, 0, 40);

        m->slot->flags |= SALVO_SLOT_SHARD;
        m->slot->shard_hash = 8;
        m->slot->budget_ns = 50 * MS;
        rig_commit(m);
    }
    rig_turns(2);
    rig_pass_ms(60);
    rig_expect(1, SALVO_TIMED_OUT_UNSENT, SALVO_STORED_NO, 0);
    assert_non_null(strstr(rig.got[1].detail, "ordered messages before it"));
}

static void a_long_line_does_not_stop_the_others(void **state)
{
    static struct rig_request r;
    uint32_t cookie;

    (void)state;
    rig_start();
    for (int i = 0; i < 200; i++)
        rig_submit_shard(0, 8);
    rig_turns(10);
    {
        struct salvo_msg *m = rig_claim(1, 0, 40);

        m->slot->flags |= SALVO_SLOT_PINNED;
        m->slot->queue_index = 3;
        cookie = rig_commit(m);
    }
    rig_turns(3);
    assert_true(rig_next_request(1, &r) && r.cookie == cookie);
    rig_answer(&r, 0);
    rig_turn();
    rig_expect(cookie, SALVO_OK, SALVO_STORED_YES, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(a_refused_batch_is_taken_apart),
        RIG_TEST(a_batch_answer_is_shared_out),
        RIG_TEST(a_long_batchs_buffer_becomes_a_chunk),
        RIG_TEST(without_batching_no_batch_is_set_up),
        RIG_TEST(buffers_are_as_long_as_they_need_to_be),
        RIG_TEST(linger_gathers_until_due),
        RIG_TEST(linger_leaves_time_for_sending),
        RIG_TEST(a_batch_that_cannot_go_lets_the_lane_sleep),
        RIG_TEST(batches_for_a_dead_broker_do_not_stop_the_others),
        RIG_TEST(batches_for_a_slow_broker_do_not_stop_the_others),
        RIG_TEST(more_than_may_wait_for_a_dead_broker_do_not_stop_the_others),
        RIG_TEST(ordered_messages_go_one_at_a_time),
        RIG_TEST(who_stands_in_line_is_counted_as_waiting),
        RIG_TEST(a_failed_shard_fails_alone),
        RIG_TEST(a_failure_holds_for_what_is_in_the_ring_until_it_is_polled),
        RIG_TEST(a_failure_before_the_first_byte_holds_too),
        RIG_TEST(a_failure_holds_for_what_came_after_the_route_was_lost),
        RIG_TEST(an_open_batchs_failure_holds_for_what_came_after_the_route_was_lost),
        RIG_TEST(failed_messages_may_be_submitted_again_one_by_one),
        RIG_TEST(a_message_that_waits_in_its_line_too_long_is_told_so),
        RIG_TEST(a_long_line_does_not_stop_the_others),
    };

    return cmocka_run_group_tests_name("dataplane/lane_batch", tests, NULL, NULL);
}
