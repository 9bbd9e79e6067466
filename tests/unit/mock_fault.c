/* mock/mock_fault.c, mock_script.c and the faults of mock_answer.c: each kind does what it says, to
 * the request it names, so many times. */
#include "tests/support/mock_rig.h"

#define MS SALVO_NS_PER_MS

static void add(struct rig *rig, struct salvo_mock_fault fault)
{
    assert_int_equal(salvo_mock_fault_add(rig->mock, &fault), 0);
}

static struct salvo_mock_fault fault_of(enum salvo_mock_fault_kind kind)
{
    return (struct salvo_mock_fault){
        .kind = kind, .host = SALVO_MOCK_ALL, .request = SALVO_MOCK_REQUEST_SENDS, .count = 1};
}

static void send_one(struct rig *rig, unsigned link, int32_t opaque)
{
    struct salvo_send_fields fields = rig_fields("T", "UNIQ_KEY\001k\002");

    rig_send_message(rig, link, &fields, opaque, "body", 4);
}

static int32_t send_code(struct rig *rig, unsigned link)
{
    struct salvo_send_fields fields = rig_fields("T", "UNIQ_KEY\001k\002");

    return rig_send_code(rig, link, &fields, "body", 4);
}

static void codes_hit_the_next_k_after_n(void **state)
{
    struct salvo_mock_fault fault = fault_of(SALVO_MOCK_FAULT_CODE);
    struct rig rig;
    unsigned link;

    rig_open(&rig, state, NULL);
    link = rig_connect(&rig, 1);
    fault.code = 2;
    fault.after = 2;
    fault.count = 3;
    snprintf(fault.remark, sizeof(fault.remark), "[REJECTREQUEST]system busy");
    add(&rig, fault);
    for (int i = 0; i < 8; i++)
        assert_int_equal(send_code(&rig, link), i >= 2 && i < 5 ? 2 : 0);
    assert_int_equal(salvo_mock_stored_count(rig.mock), 5); /* refused ones are not stored */
    assert_int_equal(salvo_mock_fault_hits(rig.mock, SALVO_MOCK_FAULT_CODE), 3);

    fault = fault_of(SALVO_MOCK_FAULT_CODE);
    fault.code = 10; /* stored all the same */
    fault.count = 0; /* for ever */
    add(&rig, fault);
    for (int i = 0; i < 4; i++) {
        struct rig_answer answer;

        send_one(&rig, link, 5);
        rig_answer_take(&rig, link, &answer);
        assert_int_equal(answer.header.code, 10);
        assert_true(salvo_header_ext(&answer.header, "msgId").size > 0);
        rig_answer_free(&answer);
    }
    assert_int_equal(salvo_mock_stored_count(rig.mock), 9);
    salvo_mock_fault_clear(rig.mock);
    assert_int_equal(send_code(&rig, link), 0);
    rig_close(&rig);
}

static void faults_name_hosts_and_requests(void **state)
{
    struct salvo_mock_fault fault = fault_of(SALVO_MOCK_FAULT_CODE);
    struct salvo_mock_conf conf;
    struct rig_answer answer;
    struct rig rig;
    unsigned a, b, ns;

    rig_conf(&conf);
    conf.brokers = 2;
    rig_open(&rig, state, &conf);
    ns = rig_connect(&rig, 0);
    a = rig_connect(&rig, 1);
    b = rig_connect(&rig, 2);
    fault.code = 14;
    fault.count = 0;
    snprintf(fault.remark, sizeof(fault.remark), "not serving");
    assert_int_equal(salvo_mock_host_find(rig.mock, "broker-b", &fault.host), 0);
    add(&rig, fault);
    assert_int_equal(send_code(&rig, a), 0);
    assert_int_equal(send_code(&rig, b), 14);
    rig_ask(&rig, b, SALVO_REQUEST_UNREGISTER_CLIENT, "clientID", "c", &answer);
    assert_int_equal(answer.header.code, 0);
    rig_answer_free(&answer);
    fault.host = 0;
    fault.request = SALVO_REQUEST_GET_ROUTEINFO_BY_TOPIC;
    fault.code = 17;
    fault.remark[0] = '\0';
    add(&rig, fault);
    rig_ask(&rig, ns, 105, "topic", "T", &answer);
    assert_int_equal(answer.header.code, 17);
    assert_null(answer.header.remark.text);
    assert_int_equal(answer.frame.body_size, 0);
    rig_answer_free(&answer);
    rig_close(&rig);
}

static void late_answers_come_late_and_may_overtake(void **state)
{
    struct salvo_mock_fault fault = fault_of(SALVO_MOCK_FAULT_DELAY);
    struct rig_answer answer;
    struct rig rig;
    int64_t start_ns;
    unsigned link;

    rig_open(&rig, state, NULL);
    link = rig_connect(&rig, 1);
    fault.delay_ms = 60;
    add(&rig, fault);
    start_ns = salvo_clock_mono_ns(rig.clock);
    send_one(&rig, link, 1);
    send_one(&rig, link, 2);
    rig_answer_take(&rig, link, &answer);
    assert_int_equal(answer.header.opaque, 2);
    rig_answer_free(&answer);
    assert_int_equal(salvo_mock_stored_count(rig.mock), 2); /* stored at once */
    rig_answer_take(&rig, link, &answer);
    assert_int_equal(answer.header.opaque, 1);
    rig_answer_free(&answer);
    assert_true(salvo_clock_mono_ns(rig.clock) - start_ns >= 60 * MS);

    /* One that falls due when its connection is gone, and its slot taken by another. */
    fault.delay_ms = 50;
    add(&rig, fault);
    send_one(&rig, link, 3);
    rig_quiet(&rig, 10 * MS);
    salvo_net_close(rig.net, rig.links[link].link);
    link = rig_connect(&rig, 1);
    rig_expect_silence(&rig, link, 200 * MS);
    rig_close(&rig);
}

static void drop_reset_and_half(void **state)
{
    static const enum salvo_mock_fault_kind ends[] = {SALVO_MOCK_FAULT_RESET,
                                                      SALVO_MOCK_FAULT_HALF};
    struct salvo_mock_fault fault = fault_of(SALVO_MOCK_FAULT_DROP);
    uint64_t stored = 0;
    struct rig rig;
    unsigned link;

    rig_open(&rig, state, NULL);
    link = rig_connect(&rig, 1);
    for (int i = 0; i < 2; i++) {
        fault.stored = i == 1;
        stored += (uint64_t)i;
        add(&rig, fault);
        send_one(&rig, link, 1);
        rig_expect_silence(&rig, link, 500 * MS);
        assert_int_equal(salvo_mock_stored_count(rig.mock), stored);
    }
    for (size_t k = 0; k < SALVO_ARRAY_LENGTH(ends); k++) {
        for (int i = 0; i < 4; i++) {
            fault = fault_of(ends[k]);
            fault.stored = i & 1;
            fault.delay_ms = i & 2 ? 20 : 0;
            stored += fault.stored;
            add(&rig, fault);
            send_one(&rig, link, 1);
            rig_expect_down(&rig, link);
            assert_int_equal(rig.links[link].in_size > 0, ends[k] == SALVO_MOCK_FAULT_HALF);
            assert_int_equal(salvo_mock_stored_count(rig.mock), stored);
            link = rig_connect(&rig, 1);
        }
    }
    assert_int_equal(send_code(&rig, link), 0);
    rig_close(&rig);
}

static void silence_ends_and_what_waited_is_read(void **state)
{
    struct salvo_mock_fault fault = fault_of(SALVO_MOCK_FAULT_SILENCE);
    struct rig rig;
    unsigned link, other;

    rig_open(&rig, state, NULL);
    link = rig_connect(&rig, 1);
    other = rig_connect(&rig, 1);
    fault.delay_ms = 300;
    add(&rig, fault);
    send_one(&rig, link, 1); /* swallowed */
    rig_quiet(&rig, 10 * MS);
    send_one(&rig, other, 2);
    send_one(&rig, link, 3);
    rig_expect_silence(&rig, other, 100 * MS);
    assert_int_equal(salvo_mock_stored_count(rig.mock), 0);
    for (int i = 0; i < 2; i++) {
        struct rig_answer answer;

        rig_answer_take(&rig, i == 0 ? other : link, &answer);
        assert_int_equal(answer.header.opaque, i == 0 ? 2 : 3);
        rig_answer_free(&answer);
    }
    assert_int_equal(salvo_mock_stored_count(rig.mock), 2);

    fault.delay_ms = 0; /* until it is cleared */
    fault.stored = true;
    add(&rig, fault);
    send_one(&rig, link, 4);
    rig_expect_silence(&rig, link, 2000 * MS);
    assert_int_equal(salvo_mock_stored_count(rig.mock), 3);
    send_one(&rig, link, 5);
    rig_quiet(&rig, 10 * MS);
    salvo_mock_fault_clear(rig.mock);
    {
        struct rig_answer answer;

        rig_answer_take(&rig, link, &answer);
        assert_int_equal(answer.header.opaque, 5);
        rig_answer_free(&answer);
    }
    rig_close(&rig);
}

/* The host reads no more than it wants, which the sender feels: its link takes no more bytes. */
static void silent_host_stops_the_sender(void **state)
{
    struct salvo_mock_fault fault = fault_of(SALVO_MOCK_FAULT_SILENCE);
    enum { MANY = 4 << 20 };
    struct salvo_range range;
    struct rig rig;
    unsigned link;
    size_t taken = 0;
    uint8_t *bytes = calloc(1, MANY);

    assert_non_null(bytes);
    rig_open(&rig, state, NULL);
    link = rig_connect(&rig, 1);
    add(&rig, fault);
    send_one(&rig, link, 1);
    rig_quiet(&rig, 100 * MS);
    for (int i = 0; i < 200; i++) {
        range = (struct salvo_range){bytes + taken, MANY - taken};
        taken += salvo_net_send(rig.net, rig.links[link].link, &range, 1);
        rig_quiet(&rig, 50 * MS);
    }
    assert_true(taken < MANY);
    assert_true(rig.links[link].up);
    rig_close(&rig);
    free(bytes);
}

static void slow_reads_take_their_time(void **state)
{
    struct salvo_mock_fault fault = fault_of(SALVO_MOCK_FAULT_SLOW);
    struct salvo_send_fields fields = rig_fields("T", "");
    char body[2000];
    int64_t start_ns, took_ns;
    struct rig rig;
    unsigned link;

    rig_open(&rig, state, NULL);
    link = rig_connect(&rig, 1);
    memset(body, 'x', sizeof(body));
    fault.rate = 20000;
    fault.request = SALVO_REQUEST_UNREGISTER_CLIENT;
    add(&rig, fault);
    {
        struct rig_answer answer;

        rig_ask(&rig, link, SALVO_REQUEST_UNREGISTER_CLIENT, "clientID", "c", &answer);
        rig_answer_free(&answer);
    }
    start_ns = salvo_clock_mono_ns(rig.clock);
    assert_int_equal(rig_send_code(&rig, link, &fields, body, sizeof(body)), 0);
    took_ns = salvo_clock_mono_ns(rig.clock) - start_ns;
    assert_true(took_ns >= 100 * MS); /* some 2,200 bytes at 20,000 a second */
    assert_true(took_ns <= 5000 * MS);
    salvo_mock_fault_clear(rig.mock);
    assert_int_equal(rig_send_code(&rig, link, &fields, body, sizeof(body)), 0);
    rig_close(&rig);
}

/* What went over the connection before is neither owed nor in hand. */
static void each_slow_time_begins_anew(void **state)
{
    enum { MANY = 400000, FEW = 4000 };
    struct salvo_mock_fault fault = fault_of(SALVO_MOCK_FAULT_SLOW);
    struct salvo_send_fields fields = rig_fields("T", "");
    uint8_t *body = calloc(1, MANY);
    struct rig rig;
    unsigned link;

    assert_non_null(body);
    rig_open(&rig, state, NULL);
    link = rig_connect(&rig, 1);
    fault.rate = 20000;
    fault.delay_ms = 600;
    for (int i = 0; i < 3; i++) {
        size_t size = i == 1 ? MANY : 1; /* a lot between the first two, a pause behind them */
        int64_t start_ns, took_ns;

        add(&rig, fault);
        assert_int_equal(rig_send_code(&rig, link, &fields, "x", 1), 0);
        start_ns = salvo_clock_mono_ns(rig.clock);
        assert_int_equal(rig_send_code(&rig, link, &fields, body, FEW), 0);
        took_ns = salvo_clock_mono_ns(rig.clock) - start_ns;
        assert_true(took_ns >= 180 * MS);                 /* some 4,100 bytes at 20,000 a second */
        assert_true(took_ns <= 500 * MS);                 /* and not when the time is over */
        while (salvo_mock_next_ns(rig.mock) != INT64_MAX) /* until the slow time is over */
            rig_turn(&rig, 10 * MS);
        assert_int_equal(rig_send_code(&rig, link, &fields, body, size), 0);
        rig_quiet(&rig, 3000 * MS);
    }
    rig_close(&rig);
    free(body);
}

static void answers_that_are_wrong(void **state)
{
    struct rig_answer answer;
    struct rig rig;
    unsigned link;

    rig_open(&rig, state, NULL);
    link = rig_connect(&rig, 1);
    add(&rig, fault_of(SALVO_MOCK_FAULT_WRONG_OPAQUE));
    send_one(&rig, link, 1000000001);
    rig_answer_take(&rig, link, &answer);
    assert_true(answer.header.opaque < 0);
    rig_answer_free(&answer);
    add(&rig, fault_of(SALVO_MOCK_FAULT_TWICE));
    send_one(&rig, link, 2);
    for (int i = 0; i < 2; i++) {
        rig_answer_take(&rig, link, &answer);
        assert_int_equal(answer.header.opaque, 2);
        rig_answer_free(&answer);
    }
    rig_expect_silence(&rig, link, 100 * MS);
    add(&rig, fault_of(SALVO_MOCK_FAULT_NO_EXT));
    send_one(&rig, link, 3);
    rig_answer_take(&rig, link, &answer);
    assert_int_equal(answer.header.code, 0);
    assert_int_equal(answer.header.ext_count, 0);
    rig_answer_free(&answer);
    add(&rig, fault_of(SALVO_MOCK_FAULT_JSON));
    send_one(&rig, link, 4);
    rig_answer_take(&rig, link, &answer);
    assert_int_equal(answer.frame.form, SALVO_HEADER_JSON);
    rig_answer_free(&answer);
    add(&rig, fault_of(SALVO_MOCK_FAULT_GO_AWAY));
    send_one(&rig, link, 5);
    rig_answer_take(&rig, link, &answer);
    assert_int_equal(answer.header.code, SALVO_RESPONSE_GO_AWAY);
    rig_answer_free(&answer);
    assert_int_equal(salvo_mock_stored_count(rig.mock), 4);
    assert_int_equal(send_code(&rig, link), 0);
    rig_close(&rig);
}

static void host_that_is_down_takes_nobody(void **state)
{
    struct rig rig;
    unsigned link;

    rig_open(&rig, state, NULL);
    link = rig_connect(&rig, 1);
    assert_int_equal(salvo_mock_host_down(rig.mock, 1, true), 0);
    rig_expect_down(&rig, link);
    link = rig_connect_maybe(&rig, 1);
    rig_expect_down(&rig, link);
    assert_int_equal(salvo_mock_host_down(rig.mock, 1, false), 0);
    link = rig_connect(&rig, 1);
    assert_int_equal(send_code(&rig, link), 0);
    rig_close(&rig);
}

/* --- the text --------------------------------------------------------------------------------- */

static void scripts_are_stories(void **state)
{
    static const char script[] =
        "# two brokers; the first is busy three times, then goes silent\n"
        "\n"
        "broker-a send code 2 remark \"[REJECTREQUEST]system busy\" next 3\n"
        "  b0 send silence stored   # for ever\r\n"
        "ns0 route delay 20ms after 1 forever\n"
        "* heartbeat drop next 2";
    struct salvo_mock_conf conf;
    struct rig_answer answer;
    char errbuf[200] = "";
    struct rig rig;
    unsigned a, b;

    rig_conf(&conf);
    conf.brokers = 2;
    rig_open(&rig, state, &conf);
    if (salvo_mock_script(rig.mock, script, sizeof(script) - 1, errbuf, sizeof(errbuf)))
        fail_msg("%s", errbuf);
    a = rig_connect(&rig, 1);
    b = rig_connect(&rig, 2);
    for (int i = 0; i < 3; i++) {
        send_one(&rig, a, i);
        rig_answer_take(&rig, a, &answer);
        assert_int_equal(answer.header.code, 2);
        assert_true(salvo_text_equals(answer.header.remark, "[REJECTREQUEST]system busy"));
        rig_answer_free(&answer);
        assert_int_equal(send_code(&rig, b), 0);
    }
    send_one(&rig, a, 9);
    rig_expect_silence(&rig, a, 3000 * MS);
    assert_int_equal(send_code(&rig, b), 0);
    assert_int_equal(salvo_mock_stored_count(rig.mock), 5);
    rig_close(&rig);
}

static void scripts_with_mistakes_say_line_and_remedy(void **state)
{
    static const struct {
        const char *script, *error;
    } cases[] = {
        {"b0 send drop\nbroker-z send drop", "line 2: no host \"broker-z\""},
        {"b0 sned drop", "line 1: no request \"sned\"; use any, send"},
        {"b0 0 drop", "line 1: no request"},
        {"b0", "line 1: no request"},
        {"b0 send", "line 1: no fault"},
        {"b0 send explode", "line 1: no fault \"explode\"; use code"},
        {"b0 send code", "line 1: code wants a number"},
        {"b0 send code 99999", "line 1: code wants a number from 0 to 32767"},
        {"b0 send delay 5", "line 1: delay wants a time with its unit, as 200ms or 5s"},
        {"b0 send delay -5ms", "line 1: delay wants a time"},
        {"b0 send silence 5", "line 1: silence wants a time"},
        {"b0 send slow", "line 1: slow (bytes per second) wants"},
        {"b0 send slow 0", "line 1: slow (bytes per second) wants"},
        {"b0 send drop next 0", "line 1: next wants a number from 1"},
        {"b0 send drop after x", "line 1: after wants a number from 0"},
        {"b0 send drop always", "line 1: \"always\" does not fit here; use delay TIME"},
        {"b0 send drop remark \"x\"", "line 1: \"remark\" does not fit here"},
        {"b0 send code 2 remark", "line 1: remark wants a text"},
        {"b0 send code 2 remark \"x", "line 1: the text in quotes does not end"},
        {"a a a a a a a a a a a a a a a a a a a a a a a a a", "line 1: more than 24 words"},
    };
    struct rig rig;
    char errbuf[300];
    char many[SALVO_MOCK_FAULTS_MAX * 16 + 64] = "";

    rig_open(&rig, state, NULL);
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        const char *text = cases[i].script;

        assert_int_equal(salvo_mock_script(rig.mock, text, strlen(text), errbuf, sizeof(errbuf)),
                         -EINVAL);
        if (strncmp(errbuf, cases[i].error, strlen(cases[i].error)) != 0)
            fail_msg("%s\n  gave: %s\n  wanted: %s", text, errbuf, cases[i].error);
    }
    for (unsigned i = 0; i <= SALVO_MOCK_FAULTS_MAX; i++)
        memcpy(many + i * 13, "b0 send drop\n", 14);
    assert_int_equal(salvo_mock_script(rig.mock, many, strlen(many), errbuf, sizeof(errbuf)),
                     -EINVAL);
    assert_int_equal(strncmp(errbuf, "line 257: more than 256 steps", 29), 0);
    /* All or none: nothing of the above is in force. */
    assert_int_equal(send_code(&rig, rig_connect(&rig, 1)), 0);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_BOTH(codes_hit_the_next_k_after_n),
        RIG_BOTH(faults_name_hosts_and_requests),
        RIG_BOTH(late_answers_come_late_and_may_overtake),
        RIG_BOTH(drop_reset_and_half),
        RIG_BOTH(silence_ends_and_what_waited_is_read),
        RIG_SIM(silent_host_stops_the_sender),
        RIG_BOTH(slow_reads_take_their_time),
        RIG_BOTH(each_slow_time_begins_anew),
        RIG_BOTH(answers_that_are_wrong),
        RIG_BOTH(host_that_is_down_takes_nobody),
        RIG_SIM(scripts_are_stories),
        RIG_SIM(scripts_with_mistakes_say_line_and_remedy),
    };

    return cmocka_run_group_tests_name("mock_fault", tests, NULL, NULL);
}
