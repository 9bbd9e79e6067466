/* dataplane/net_null: what it answers, whatever the cuts; and what it does when nobody reads. */
#include "tests/unit/unit.h"

#include "base/bytes.h"
#include "codec/send.h"
#include "dataplane/net.h"

#include <stdio.h>

static struct salvo_net *net;
static uint32_t connection;
static uint8_t answers[1 << 20];
static size_t answers_size;
static uint64_t taken, released;
static unsigned down_count, gone_count;

static void turn(bool give_back)
{
    struct salvo_net_event events[8];
    unsigned count;

    do {
        count = salvo_net_poll(net, events, 8);
        for (unsigned i = 0; i < count; i++) {
            const struct salvo_net_event *event = &events[i];

            assert_int_equal(event->link, connection);
            assert_int_equal(event->cookie, 5);
            if (event->kind == SALVO_NET_DATA) {
                memcpy(answers + answers_size, event->data.bytes, event->data.size);
                answers_size += event->data.size;
                if (give_back)
                    salvo_net_give_back(net, event->data.buffer);
            }
            if (event->kind == SALVO_NET_RELEASED)
                released += event->released.bytes;
            down_count += event->kind == SALVO_NET_DOWN;
            gone_count += event->kind == SALVO_NET_GONE;
            if (event->kind == SALVO_NET_DOWN)
                assert_true(event->down.handed_over <= taken);
        }
        salvo_net_flush(net);
    } while (count != 0);
}

static void open_net(uint32_t buffers, uint32_t buffer_size)
{
    struct salvo_net_conf conf;
    struct salvo_endpoint nowhere = {.v4 = {.sin_family = AF_INET}};
    const char *note = "";

    salvo_net_conf_default(&conf, salvo_clock_system());
    conf.links_max = 2;
    conf.receive_buffers = buffers;
    conf.receive_buffer_size = buffer_size;
    assert_int_equal(salvo_net_open("null", &conf, &net, &note), 0);
    assert_null(note);
    assert_true(salvo_net_listen(net, &nowhere, 0) < 0);
    answers_size = 0;
    taken = released = 0;
    down_count = gone_count = 0;
    assert_int_equal(salvo_net_connect(net, &nowhere, 1000, 5, &connection), 0);
    turn(true);
}

static size_t request(uint8_t *bytes, size_t size_max, enum salvo_header_form form, int32_t code,
                      int32_t queue, int32_t opaque, bool oneway, const void *body,
                      size_t body_size)
{
    struct salvo_send_fields fields = {
        .code = code,
        .producerGroup = SALVO_TEXT("group"),
        .topic = SALVO_TEXT("topic"),
        .defaultTopic = SALVO_TEXT("TBW102"),
        .defaultTopicQueueNums = 4,
        .queueId = queue,
        .bornTimestamp = 1700000000000,
        .properties = SALVO_TEXT("KEYS\001k\002"),
        .maxReconsumeTimes = -1,
        .batch = code == SALVO_REQUEST_SEND_BATCH_MESSAGE,
    };
    ssize_t size =
        salvo_send_write(bytes, size_max, form, &fields, opaque, oneway, (uint32_t)body_size);

    assert_true(size > 0 && (size_t)size + body_size <= size_max);
    memcpy(bytes + size, body, body_size);
    return (size_t)size + body_size;
}

/* A batch body as far as anyone here looks: items that begin with their size. */
static size_t batch_body(uint8_t *bytes, unsigned items)
{
    size_t at = 0;

    for (unsigned i = 0; i < items; i++) {
        uint32_t size = 4 + i % 50;

        salvo_store_be32(bytes + at, size);
        memset(bytes + at + 4, 0, size - 4);
        at += size;
    }
    return at;
}

static void expect_answer(size_t *at, int32_t opaque, int32_t queue, size_t items)
{
    struct salvo_frame frame;
    struct salvo_send_answer answer;
    const char *why = NULL;

    assert_int_equal(
        salvo_frame_parse(answers + *at, answers_size - *at, SALVO_FRAME_SIZE_MAX, &frame, &why),
        0);
    assert_int_equal(salvo_send_answer_read(&answer, &frame), 0);
    assert_int_equal(answer.code, SALVO_RESPONSE_SUCCESS);
    assert_int_equal(answer.opaque, opaque);
    assert_int_equal(answer.flag & 1, 1);
    assert_true(answer.has_offset);
    assert_int_equal(answer.queueId, queue);
    assert_int_equal(answer.msgId.size, items * 33 - 1);
    *at += frame.size;
}

static void each_request_is_answered_whatever_the_cut(void **state)
{
    static uint8_t bytes[1 << 16], body[4000];
    size_t size = 0;
    size_t body_size = batch_body(body, 100);

    size +=
        request(bytes, sizeof(bytes), SALVO_HEADER_BINARY, 310, 3, 1000000001, false, "body", 4);
    size += request(bytes + size, sizeof(bytes) - size, SALVO_HEADER_JSON, 310, 7, 1000000002,
                    false, "another", 7);
    size +=
        request(bytes + size, sizeof(bytes) - size, SALVO_HEADER_BINARY, 310, 1, 9, true, "x", 1);
    size += request(bytes + size, sizeof(bytes) - size, SALVO_HEADER_BINARY, 320, 5, 1000000003,
                    false, body, body_size);
    size += request(bytes + size, sizeof(bytes) - size, SALVO_HEADER_JSON, 10, 2, 1000000004, false,
                    "", 0);
    for (size_t cut = 1; cut < size; cut += cut < 700 ? 1 : 37) {
        size_t at = 0;

        open_net(4, 8192);
        for (size_t from = 0; from < size; from += cut) {
            struct salvo_range range = {bytes + from, SALVO_MIN(cut, size - from)};

            assert_int_equal(salvo_net_send(net, connection, &range, 1), range.size);
            taken += range.size;
            if (from / cut % 3 == 0)
                turn(true);
        }
        turn(true);
        expect_answer(&at, 1000000001, 3, 1);
        expect_answer(&at, 1000000002, 7, 1);
        expect_answer(&at, 1000000003, 5, 100);
        expect_answer(&at, 1000000004, 2, 1);
        assert_int_equal(at, answers_size);
        assert_int_equal(released, size);
        salvo_net_close(net, connection);
        turn(true);
        assert_int_equal(down_count + gone_count, 2);
        salvo_net_destroy(net);
    }
}

/* Two small buffers: an answer of 3 KB waits in the middle until they come back. */
static void without_buffers_it_stops_taking(void **state)
{
    static uint8_t bytes[1 << 16], body[4000];
    size_t body_size = batch_body(body, 90);
    size_t size = 0;
    size_t at = 0;
    unsigned rounds = 0;

    for (int32_t i = 0; i < 8; i++)
        size += request(bytes + size, sizeof(bytes) - size, SALVO_HEADER_BINARY, 320, i,
                        1000000000 + i, false, body, body_size);
    open_net(2, 500);
    while (answers_size < 8 * 3000) {
        struct salvo_range range = {bytes + taken, size - taken};
        struct salvo_net_event event;

        assert_true(rounds++ < 1000);
        taken += salvo_net_send(net, connection, &range, 1);
        assert_true(taken < size || rounds > 1);
        while (salvo_net_poll(net, &event, 1) != 0) {
            if (event.kind == SALVO_NET_DATA) {
                memcpy(answers + answers_size, event.data.bytes, event.data.size);
                answers_size += event.data.size;
                salvo_net_give_back(net, event.data.buffer);
            }
        }
    }
    assert_int_equal(taken, size);
    for (int32_t i = 0; i < 8; i++)
        expect_answer(&at, 1000000000 + i, i, 90);
    salvo_net_destroy(net);
}

static void nonsense_ends_the_link(void **state)
{
    static const uint8_t nonsense[] = "GET / HTTP/1.1\r\n\r\n";
    struct salvo_range range = {nonsense, sizeof(nonsense)};

    open_net(4, 8192);
    taken = salvo_net_send(net, connection, &range, 1);
    turn(true);
    assert_int_equal(down_count + gone_count, 2);
    salvo_net_destroy(net);
}

/* A link ends in the middle of its answer: the others, which were refused, may offer again. */
static void an_answer_that_is_given_up_frees_the_others(void **state)
{
    static uint8_t bytes[1 << 16], body[4000];
    size_t body_size = batch_body(body, 90);
    struct salvo_endpoint nowhere = {.v4 = {.sin_family = AF_INET}};
    struct salvo_net_event event;
    struct salvo_range range = {.bytes = bytes};
    bool released_other = false;
    uint32_t other;

    range.size = request(bytes, sizeof(bytes), SALVO_HEADER_BINARY, 320, 0, 1000000000, false, body,
                         body_size);
    open_net(1, 500);
    assert_int_equal(salvo_net_connect(net, &nowhere, 1000, 6, &other), 0);
    assert_int_equal(salvo_net_poll(net, &event, 1), 1);
    assert_int_equal(event.kind, SALVO_NET_UP);
    assert_int_equal(salvo_net_send(net, connection, &range, 1), range.size);
    assert_int_equal(salvo_net_send(net, other, &range, 1), 0);
    salvo_net_close(net, connection);
    while (salvo_net_poll(net, &event, 1) != 0)
        released_other |= event.kind == SALVO_NET_RELEASED && event.link == other;
    assert_true(released_other);
    assert_int_equal(salvo_net_send(net, other, &range, 1), range.size);
    salvo_net_destroy(net);
}

static void a_wake_ends_its_wait(void **state)
{
    open_net(4, 8192);
    salvo_net_wake(net);
    salvo_net_wait(net, 1, 0, 60 * SALVO_NS_PER_S);
    salvo_net_wait(net, 1, 0, SALVO_NS_PER_MS);
    assert_int_equal(salvo_net_caps(net), 0);
    salvo_net_destroy(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_request_is_answered_whatever_the_cut),
        cmocka_unit_test(without_buffers_it_stops_taking),
        cmocka_unit_test(nonsense_ends_the_link),
        cmocka_unit_test(an_answer_that_is_given_up_frees_the_others),
        cmocka_unit_test(a_wake_ends_its_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
