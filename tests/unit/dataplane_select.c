/* Queue choice: the passes, what stands in the way of a connection, and that round robin is fair.
 */
#include "tests/unit/unit.h"

#include "dataplane/select.h"

#define BROKERS 4u
#define SHARE   8u
#define NOW_NS  INT64_C(1000000)

static struct {
    struct salvo_select select;
    uint32_t next[2];
    struct salvo_conn conns[BROKERS];
    salvo_availability availability[BROKERS];
    union {
        struct salvo_route_topic topic;
        uint8_t room[sizeof(struct salvo_route_topic) + 64 * sizeof(struct salvo_route_queue)];
    } route;
} f;

/* queues_count queues, one after the other on each of the brokers. */
static void init(uint32_t queues_count, uint32_t brokers_count)
{
    struct salvo_random random;

    memset(&f, 0, sizeof(f));
    salvo_random_init(&random, 1);
    salvo_select_init(&f.select, f.next, 2, &random);
    f.next[1] = 0;
    f.route.topic.topic = 1;
    f.route.topic.queues_count = queues_count;
    f.route.topic.brokers_count = brokers_count;
    for (uint32_t i = 0; i < queues_count; i++)
        f.route.topic.queues[i].broker = i % brokers_count;
    for (uint32_t i = 0; i < BROKERS; i++) {
        f.conns[i].state = SALVO_CONN_UP;
        f.conns[i].window = f.conns[i].window_max = 10;
    }
}

static int draw(uint32_t broker_last, uint32_t *ret_index)
{
    return salvo_select_queue(&f.select, &f.route.topic, f.conns, f.availability, SHARE,
                              broker_last, NOW_NS, ret_index);
}

/* What a broker may be, from the best to what is never taken. */
enum kind {
    GOOD,
    PENALTY_OVER,
    PENALTY,
    UNREACHABLE,
    LAST,
    FULL,
    SHARE_USED,
    DOWN,
    DRAINING,
    KINDS
};

/* Passes: available; reachable; any other; the last one. Not at all: full, down. */
static const int ranks[KINDS] = {
    [GOOD] = 0, [PENALTY_OVER] = 0, [PENALTY] = 1, [UNREACHABLE] = 2, [LAST] = 3,
    [FULL] = 4, [SHARE_USED] = 4,   [DOWN] = 5,    [DRAINING] = 5,
};

static void make(uint32_t broker, enum kind kind, uint32_t *broker_last)
{
    uint64_t word = 0;

    f.conns[broker].state = kind == DOWN ? SALVO_CONN_CONNECTING : SALVO_CONN_UP;
    f.conns[broker].draining = kind == DRAINING;
    f.conns[broker].inflight = kind == FULL ? 10 : 9;
    f.conns[broker].chunks_held = kind == SHARE_USED ? SHARE + 1 : SHARE;
    if (kind == PENALTY_OVER)
        word = NOW_NS;
    if (kind == PENALTY)
        word = NOW_NS + 1;
    if (kind == UNREACHABLE)
        word = SALVO_AVAILABILITY_UNREACHABLE;
    if (kind == LAST)
        *broker_last = broker;
    atomic_store(&f.availability[broker], word);
}

/* Every mixture of three brokers, from every starting point: the best rank is taken, the first of
 * it in round-robin order, and when none takes anything the code says why. */
static void the_table_of_passes(void **state)
{
    (void)state;
    for (unsigned mix = 0; mix < KINDS * KINDS * KINDS; mix++) {
        const enum kind kinds[3] = {mix % KINDS, mix / KINDS % KINDS, mix / KINDS / KINDS};
        uint32_t broker_last = SALVO_BROKER_NONE;
        int best = 4;
        bool full = false;

        if ((kinds[0] == LAST) + (kinds[1] == LAST) + (kinds[2] == LAST) > 1)
            continue;
        init(3, 3);
        for (uint32_t i = 0; i < 3; i++) {
            make(i, kinds[i], &broker_last);
            best = SALVO_MIN(best, ranks[kinds[i]]);
            full |= ranks[kinds[i]] == 4;
        }
        for (uint32_t start = 0; start < 3; start++) {
            uint32_t expected = start;
            uint32_t index = 77;
            int r;

            f.next[1] = start;
            r = draw(broker_last, &index);
            if (best == 4) {
                assert_int_equal(r, full ? SALVO_SELECT_FULL : SALVO_SELECT_DOWN);
                assert_int_equal(index, 77);
                assert_int_equal(f.next[1], start);
                continue;
            }
            while (ranks[kinds[expected]] != best)
                expected = (expected + 1) % 3;
            assert_int_equal(r, 0);
            assert_int_equal(index, expected);
        }
    }
}

static void one_connection(void **state)
{
    static const int expected[KINDS] = {
        [FULL] = SALVO_SELECT_FULL,
        [SHARE_USED] = SALVO_SELECT_FULL,
        [DOWN] = SALVO_SELECT_DOWN,
        [DRAINING] = SALVO_SELECT_DOWN,
    };

    (void)state;
    init(1, 1);
    for (enum kind kind = 0; kind < KINDS; kind++) {
        uint32_t broker_last;

        make(0, kind, &broker_last);
        assert_int_equal(salvo_select_check(&f.conns[0], SHARE), expected[kind]);
    }
    for (enum salvo_conn_state s = SALVO_CONN_DOWN; s <= SALVO_CONN_DYING; s++) {
        uint32_t broker_last;

        make(0, GOOD, &broker_last);
        f.conns[0].state = s;
        assert_int_equal(salvo_select_check(&f.conns[0], SHARE),
                         s == SALVO_CONN_UP ? 0 : SALVO_SELECT_DOWN);
    }
}

static void round_robin_is_fair(void **state)
{
    (void)state;
    for (uint32_t queues = 1; queues <= 64; queues++) {
        uint32_t drawn[64] = {0};

        init(queues, SALVO_MIN(queues, BROKERS));
        for (uint32_t i = 0; i < queues * 50; i++) {
            uint32_t index;

            assert_int_equal(draw(SALVO_BROKER_NONE, &index), 0);
            drawn[index]++;
        }
        for (uint32_t i = 0; i < queues; i++)
            assert_int_equal(drawn[i], 50);
    }
}

/* The place to start is random at first, anywhere in 32 bits. */
static void no_queue_is_missed_wherever_the_round_starts(void **state)
{
    (void)state;
    for (uint32_t back = 0; back < 8; back++) {
        for (uint32_t good = 0; good < 3; good++) {
            uint32_t broker_last;
            uint32_t index;

            init(3, 3);
            for (uint32_t i = 0; i < 3; i++)
                make(i, i == good ? GOOD : DOWN, &broker_last);
            f.next[1] = UINT32_MAX - back;
            assert_int_equal(draw(SALVO_BROKER_NONE, &index), 0);
            assert_int_equal(index, good);
        }
    }
}

/* The topic has fewer queues than when it was last drawn from. */
static void a_shorter_list_is_no_trouble(void **state)
{
    uint32_t index;

    (void)state;
    init(64, 4);
    f.next[1] = 63;
    assert_int_equal(draw(SALVO_BROKER_NONE, &index), 0);
    assert_int_equal(index, 63);
    f.route.topic.queues_count = 5;
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(draw(SALVO_BROKER_NONE, &index), 0);
        assert_true(index < 5);
    }
}

static void topics_have_rounds_of_their_own(void **state)
{
    uint32_t first;
    uint32_t index;

    (void)state;
    init(8, 4);
    first = f.next[0];
    draw(SALVO_BROKER_NONE, &index);
    assert_int_equal(f.next[0], first);
    assert_int_not_equal(first, 0); /* of the seed */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_of_passes),
        cmocka_unit_test(one_connection),
        cmocka_unit_test(round_robin_is_fair),
        cmocka_unit_test(no_queue_is_missed_wherever_the_round_starts),
        cmocka_unit_test(a_shorter_list_is_no_trouble),
        cmocka_unit_test(topics_have_rounds_of_their_own),
    };

    return cmocka_run_group_tests_name("dataplane/select", tests, NULL, NULL);
}
