/* mock/mock_conn.c and mock_turn.c: streams however they are cut, frames that lie, peers that do
 * not read, idle ones; each costs one connection and nothing else. */
#include "tests/support/mock_rig.h"

#include "base/random.h"
#include "codec/heartbeat.h"

#define MS SALVO_NS_PER_MS

static void frames_survive_any_split(void **state)
{
    struct salvo_send_fields fields = rig_fields("T", "UNIQ_KEY\001k\002");
    struct rig_answer answer;
    struct rig rig;
    uint8_t frame[1024];
    ssize_t size;
    unsigned link;

    rig_open(&rig, state, NULL);
    link = rig_connect(&rig, 1);
    size = salvo_send_write(frame, sizeof(frame), SALVO_HEADER_BINARY, &fields, 1, false, 4);
    assert_true(size > 0);
    memcpy(frame + size, "body", 4);
    size += 4;
    memcpy(frame + size, frame, (size_t)size); /* two frames, so that a piece holds parts of both */
    for (size_t cut = 1; cut < 2 * (size_t)size; cut += rig.sim ? 1 : 17) {
        rig_send(&rig, link, frame, cut);
        rig_quiet(&rig, MS);
        rig_send(&rig, link, frame + cut, 2 * (size_t)size - cut);
        for (int i = 0; i < 2; i++) {
            rig_answer_take(&rig, link, &answer);
            assert_int_equal(answer.header.code, 0);
            rig_answer_free(&answer);
        }
    }
    for (ssize_t i = 0; i < size; i++) { /* byte by byte */
        rig_send(&rig, link, frame + i, 1);
        rig_turn(&rig, MS);
    }
    rig_answer_take(&rig, link, &answer);
    assert_int_equal(answer.header.code, 0);
    rig_answer_free(&answer);
    rig_close(&rig);
}

static void frames_that_lie_cost_one_connection(void **state)
{
    static const struct {
        uint8_t bytes[40];
        size_t size;
    } cases[] = {
        {{0, 0, 0, 0, 0, 0, 0, 0}, 8},               /* length 0 */
        {{0, 0, 0, 3, 0, 0, 0, 1}, 8},               /* below its own header word */
        {{0, 0, 0, 4, 0, 0, 0, 0}, 8},               /* no header */
        {{0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 100}, 8}, /* 2 GiB */
        {{0x01, 0, 0, 0, 0, 0, 0, 100}, 8},          /* 16 MiB and a prefix */
        {{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 100}, 8}, /* negative */
        {{0, 0, 0, 20, 0, 0, 0, 100}, 8},            /* header beyond length */
        {{0, 0, 0, 20, 2, 0, 0, 10}, 8},             /* a form nobody knows */
        {"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 35},
        {{0, 0, 0, 6, 0, 0, 0, 2, '{', 'x'}, 10}, /* not JSON */
        {{0, 0, 0, 6, 1, 0, 0, 2, 0, 34}, 10},    /* binary header cut short */
        {{0, 0, 0, 25, 1, 0, 0,    21,   0,    34,   0, 1, 0, 0, 0,
          0, 1, 0, 0,  0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0},
         29}, /* remark of -1 bytes */
        {{0, 0, 0, 25, 1, 0, 0, 21, 0, 34, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9},
         29}, /* ext beyond the header */
    };
    struct salvo_send_fields fields = rig_fields("T", "");
    struct salvo_mock_stats stats;
    struct rig rig;
    unsigned good;

    for (int answer_only = 0; answer_only < 2; answer_only++) {
        struct salvo_mock_conf conf;

        rig_conf(&conf);
        conf.answer_only = answer_only;
        rig_open(&rig, state, &conf);
        good = rig_connect(&rig, 1);
        for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
            unsigned bad = rig_connect(&rig, i % 2);

            rig_send(&rig, bad, cases[i].bytes, cases[i].size);
            rig_expect_down(&rig, bad);
            assert_int_equal(rig.links[bad].in_size, 0);
            rig.links[bad].used = false; /* the rig has 16 */
            free(rig.links[bad].in);
            memset(&rig.links[bad], 0, sizeof(rig.links[bad]));
            assert_int_equal(rig_send_code(&rig, good, &fields, "b", 1), 0);
        }
        salvo_mock_stats(rig.mock, &stats);
        assert_int_equal(stats.connections_bad, SALVO_ARRAY_LENGTH(cases));
        rig_close(&rig);
    }
}

/* Good frames with bytes changed at random: whatever comes of it, the next connection works. */
static void frames_with_changed_bytes_harm_nobody(void **state)
{
    struct salvo_send_fields fields = rig_fields("T", "UNIQ_KEY\001k\002");
    struct salvo_random random;
    struct rig rig;
    uint64_t seed = 20240817;

    for (int answer_only = 0; answer_only < 2; answer_only++) {
        struct salvo_mock_conf conf;
        unsigned good;

        printf("seed %llu\n", (unsigned long long)seed);
        salvo_random_init(&random, seed);
        rig_conf(&conf);
        conf.answer_only = answer_only;
        rig_open(&rig, state, &conf);
        good = rig_connect(&rig, 1);
        for (int round = 0; round < 400; round++) {
            unsigned link = rig_connect(&rig, 1);
            enum salvo_header_form form = round & 1 ? SALVO_HEADER_JSON : SALVO_HEADER_BINARY;
            uint8_t frame[1024];
            ssize_t size = salvo_send_write(frame, sizeof(frame), form, &fields, 1, false, 4);

            assert_true(size > 0);
            memcpy(frame + size, "body", 4);
            size += 4;
            for (uint64_t n = 1 + salvo_random_below(&random, 4); n > 0; n--)
                frame[salvo_random_below(&random, (uint64_t)size)] =
                    (uint8_t)salvo_random_next(&random);
            rig_send(&rig, link, frame, (size_t)size);
            rig_quiet(&rig, rig.sim ? 5 * MS : 0);
            if (rig.links[link].up)
                salvo_net_close(rig.net, rig.links[link].link);
            while (!rig.links[link].gone)
                rig_turn(&rig, MS);
            free(rig.links[link].in);
            memset(&rig.links[link], 0, sizeof(rig.links[link]));
        }
        assert_int_equal(rig_send_code(&rig, good, &fields, "b", 1), 0);
        rig_close(&rig);
    }
}

/* Requests without end and no look at the answers. */
static void peer_that_does_not_read_is_closed(void **state)
{
    struct salvo_mock_conf conf;
    struct salvo_mock_stats stats = {0};
    struct rig rig;
    size_t size, at = 0;
    struct salvo_net_event events[8];
    unsigned link, n;
    uint8_t *many;

    rig_conf(&conf);
    conf.brokers = SALVO_MOCK_BROKERS_MAX; /* a route of some 5 KB for a request of 60 bytes */
    rig_open(&rig, state, &conf);
    link = rig_connect(&rig, 0);
    size = rig_request(&rig, SALVO_HEADER_BINARY, 105, 1, "topic", "T", NULL, 0);
    many = malloc(size * 1000);
    assert_non_null(many);
    for (size_t i = 0; i < 1000; i++)
        memcpy(many + i * size, rig.out, size);
    for (int round = 0; round < 10000 && stats.connections_unread == 0; round++) {
        struct salvo_range range = {many + at, size * 1000 - at};

        if (rig.links[link].up)
            at += salvo_net_send(rig.net, rig.links[link].link, &range, 1);
        at %= size * 1000;
        salvo_net_flush(rig.net);
        (void)salvo_mock_do_work(rig.mock);
        if (rig.sim)
            salvo_sim_world_advance(rig.world, salvo_clock_mono_ns(rig.clock) + MS);
        salvo_mock_stats(rig.mock, &stats);
        /* What comes is taken and kept: no buffer is given back. */
        n = salvo_net_poll(rig.net, events, 8);
        for (unsigned i = 0; i < n; i++)
            rig.links[link].up &= events[i].kind != SALVO_NET_DOWN;
    }
    assert_int_equal(stats.connections_bad, 0);
    assert_int_equal(stats.connections_unread, 1);
    rig_close(&rig);
    free(many);
}

static void idle_connections_are_closed(void **state)
{
    struct salvo_mock_stats stats;
    struct rig_answer answer;
    struct rig rig;
    unsigned idle, busy;
    uint8_t body[256];
    struct salvo_writer w = salvo_writer_over(body, sizeof(body));
    struct salvo_text group = SALVO_TEXT("PG");

    rig_open(&rig, state, NULL);
    idle = rig_connect(&rig, 1);
    busy = rig_connect(&rig, 1);
    salvo_heartbeat_write(&w, SALVO_TEXT("client"), &group, 1, true);
    for (int i = 0; i < 5; i++) {
        rig_send(&rig, busy, rig.out,
                 rig_request(&rig, SALVO_HEADER_JSON, SALVO_REQUEST_HEART_BEAT, 1, NULL, NULL, body,
                             salvo_writer_size(&w)));
        rig_answer_take(&rig, busy, &answer);
        assert_int_equal(answer.header.code, 0);
        rig_answer_free(&answer);
        rig_quiet(&rig, 30 * SALVO_NS_PER_S);
    }
    assert_true(rig.links[idle].down);
    assert_true(rig.links[busy].up);
    assert_int_equal(salvo_mock_group_connections(rig.mock, 0, "PG"), 1);
    assert_int_equal(salvo_mock_group_connections(rig.mock, 0, "Other"), 0);
    salvo_mock_stats(rig.mock, &stats);
    assert_int_equal(stats.connections_idle, 1);
    assert_int_equal(stats.heartbeats, 5);
    rig_close(&rig);
}

static void heartbeats_register_and_unregister(void **state)
{
    struct salvo_header header = {.code = 0};
    struct salvo_mock_stats stats;
    struct rig_answer answer;
    struct rig rig;
    uint8_t body[256];
    struct salvo_writer w = salvo_writer_over(body, sizeof(body));
    struct salvo_text groups[] = {SALVO_TEXT("A"), SALVO_TEXT("B")};
    unsigned link;
    ssize_t size;

    rig_open(&rig, state, NULL);
    link = rig_connect(&rig, 1);
    salvo_heartbeat_write(&w, SALVO_TEXT("client"), groups, 2, true);
    rig_send(&rig, link, rig.out,
             rig_request(&rig, SALVO_HEADER_BINARY, SALVO_REQUEST_HEART_BEAT, 1, NULL, NULL, body,
                         salvo_writer_size(&w)));
    rig_answer_take(&rig, link, &answer);
    assert_true(
        salvo_text_equals(salvo_header_ext(&answer.header, "IS_SUPPORT_HEART_BEAT_V2"), "true"));
    rig_answer_free(&answer);
    assert_int_equal(salvo_mock_group_connections(rig.mock, 0, "A"), 1);
    salvo_unregister_header(&header, SALVO_TEXT("client"), groups[0]);
    size = salvo_frame_write(rig.out, RIG_OUT_MAX, SALVO_HEADER_BINARY, &header, NULL, 0);
    rig_send(&rig, link, rig.out, (size_t)size);
    rig_answer_take(&rig, link, &answer);
    assert_int_equal(answer.header.code, 0);
    rig_answer_free(&answer);
    assert_int_equal(salvo_mock_group_connections(rig.mock, 0, "A"), 0);
    assert_int_equal(salvo_mock_group_connections(rig.mock, 0, "B"), 1);
    rig_send(
        &rig, link, rig.out,
        rig_request(&rig, SALVO_HEADER_BINARY, SALVO_REQUEST_HEART_BEAT, 1, NULL, NULL, "[]", 2));
    rig_answer_take(&rig, link, &answer);
    assert_int_equal(answer.header.code, 1);
    rig_answer_free(&answer);
    salvo_mock_stats(rig.mock, &stats);
    assert_int_equal(stats.heartbeats, 1);
    assert_int_equal(stats.unregisters, 1);
    rig_close(&rig);
}

static void connections_over_the_limit_are_refused(void **state)
{
    struct salvo_send_fields fields = rig_fields("T", "");
    struct salvo_mock_conf conf;
    struct rig rig;
    unsigned first, second;

    rig_conf(&conf);
    conf.connections_max = 1;
    rig_open(&rig, state, &conf);
    first = rig_connect(&rig, 1);
    assert_int_equal(rig_send_code(&rig, first, &fields, "b", 1), 0);
    second = rig_connect_maybe(&rig, 1);
    rig_expect_down(&rig, second);
    salvo_net_close(rig.net, rig.links[first].link);
    rig_quiet(&rig, 100 * MS);
    second = rig_connect(&rig, 1);
    assert_int_equal(rig_send_code(&rig, second, &fields, "b", 1), 0);
    rig_close(&rig);
}

static void largest_frame_is_taken(void **state)
{
    struct salvo_send_fields fields = rig_fields("T", "");
    struct salvo_mock_stored stored;
    struct rig rig;
    unsigned link;
    size_t size = SALVO_BODY_SIZE_MAX;
    char *body = malloc(size);

    assert_non_null(body);
    memset(body, 'x', size);
    rig_open(&rig, state, NULL);
    link = rig_connect(&rig, 1);
    assert_int_equal(rig_send_code(&rig, link, &fields, body, size), 0);
    assert_int_equal(salvo_mock_stored_at(rig.mock, 0, &stored), 0);
    assert_int_equal(stored.body_digest, salvo_mock_digest(body, size));
    rig_close(&rig);
    free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_BOTH(frames_survive_any_split),
        RIG_BOTH(frames_that_lie_cost_one_connection),
        RIG_BOTH(frames_with_changed_bytes_harm_nobody),
        RIG_BOTH(peer_that_does_not_read_is_closed),
        RIG_SIM(idle_connections_are_closed),
        RIG_BOTH(heartbeats_register_and_unregister),
        RIG_BOTH(connections_over_the_limit_are_refused),
        RIG_BOTH(largest_frame_is_taken),
    };

    return cmocka_run_group_tests_name("mock_conn", tests, NULL, NULL);
}
