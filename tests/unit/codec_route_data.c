/* codec/route_data: the answers of every generation of name servers, and addresses. */
#include "tests/unit/unit.h"

#include "codec/route_data.h"

#include <errno.h>
#include <stdio.h>

#define TOKENS_MAX 8192

static struct salvo_route_data route;
static struct salvo_json_token tokens[TOKENS_MAX];
static const char *why;

static int read_size(const char *text, size_t size)
{
    char *exact = malloc(size + 1);
    int r;

    memcpy(exact, text, size);
    why = NULL;
    r = salvo_route_data_read(&route, exact, size, tokens, TOKENS_MAX, &why);
    free(exact);
    return r;
}

static int read_text(const char *text)
{
    return read_size(text, strlen(text));
}

static void routes_of_every_generation_read_alike(void **state)
{
    static const char *const cases[] = {
        /* bare keys, 5.x */
        "{\"brokerDatas\":[{\"brokerAddrs\":{0:\"127.0.0.1:10911\",1:\"127.0.0.1:10921\"},"
        "\"brokerName\":\"broker-a\",\"cluster\":\"DefaultCluster\",\"enableActingMaster\":false}],"
        "\"filterServerTable\":{},\"queueDatas\":[{\"brokerName\":\"broker-a\",\"perm\":6,"
        "\"readQueueNums\":4,\"topicSysFlag\":1,\"writeQueueNums\":8}]}",
        /* quoted keys */
        "{\"brokerDatas\":[{\"brokerAddrs\":{\"0\":\"127.0.0.1:10911\",\"1\":\"127.0.0.1:10921\"},"
        "\"brokerName\":\"broker-a\",\"cluster\":\"DefaultCluster\"}],\"filterServerTable\":{},"
        "\"queueDatas\":[{\"brokerName\":\"broker-a\",\"perm\":6,\"readQueueNums\":4,"
        "\"topicSysFlag\":1,\"writeQueueNums\":8}]}",
        /* 4.7.1's name of the flags, other order, white space, negative keys, escapes */
        "{ \"queueDatas\" : [ { \"perm\" : 6 , \"writeQueueNums\" : 8 ,\n\"readQueueNums\":4,"
        "\"topicSynFlag\":1,\"brokerName\":\"broker\\u002da\" } ],\r\n\t\"orderTopicConf\":null,"
        "\"brokerDatas\":[{\"cluster\":\"DefaultCluster\",\"brokerName\":\"broker-a\","
        "\"zoneName\":\"z\",\"brokerAddrs\":{ -1 : \"x:1\" , 0 : \"127.0.0.1:10911\" }}] }",
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        assert_int_equal(read_text(cases[i]), 0);
        assert_int_equal(route.brokers_count, 1);
        assert_true(route.brokers[0].has_master);
        assert_string_equal(route.brokers[0].master_address, "127.0.0.1:10911");
        assert_string_equal(route.brokers[0].brokerName, "broker-a");
        assert_string_equal(route.brokers[0].cluster, "DefaultCluster");
        assert_int_equal(route.brokers[0].addresses_count, 2);
        assert_int_equal(route.queue_datas_count, 1);
        assert_string_equal(route.queue_datas[0].brokerName, "broker-a");
        assert_int_equal(route.queue_datas[0].readQueueNums, 4);
        assert_int_equal(route.queue_datas[0].writeQueueNums, 8);
        assert_int_equal(route.queue_datas[0].perm, 6);
        assert_int_equal(route.queue_datas[0].topicSysFlag, 1);
        assert_string_equal(route.orderTopicConf, "");
        assert_false(route.static_topic);
        for (size_t cut = 0; cut < strlen(cases[i]); cut++)
            assert_int_equal(read_size(cases[i], cut), -EBADMSG);
    }
}

static void what_may_be_missing_may_be_missing(void **state)
{
    assert_int_equal(read_text("{}"), 0);
    assert_int_equal(route.brokers_count, 0);
    assert_int_equal(
        read_text("{\"brokerDatas\":null,\"queueDatas\":null,\"orderTopicConf\":\"a:4;b:4\"}"), 0);
    assert_string_equal(route.orderTopicConf, "a:4;b:4");
    assert_int_equal(
        read_text("{\"brokerDatas\":[{\"brokerName\":\"b\",\"cluster\":null,"
                  "\"brokerAddrs\":{\"1\":\"x:1\"}}],\"queueDatas\":[{\"brokerName\":\"b\"}]}"),
        0);
    assert_false(route.brokers[0].has_master);
    assert_string_equal(route.brokers[0].cluster, "");
    assert_int_equal(route.queue_datas[0].perm, 0);
    assert_int_equal(read_text("{\"topicQueueMappingByBroker\":{}}"), 0);
    assert_false(route.static_topic);
    assert_int_equal(read_text("{\"topicQueueMappingByBroker\":{\"b\":{\"x\":[1]}}}"), 0);
    assert_true(route.static_topic);
}

static void what_is_no_route_is_refused_with_a_reason(void **state)
{
    static const char *const cases[] = {
        "",
        "[]",
        "{\"brokerDatas\":{}}",
        "{\"brokerDatas\":[1]}",
        "{\"brokerDatas\":[{}]}",
        "{\"brokerDatas\":[{\"brokerName\":7}]}",
        "{\"brokerDatas\":[{\"brokerName\":\"a\\u0000b\"}]}",
        "{\"brokerDatas\":[{\"brokerName\":\"b\",\"brokerAddrs\":[]}]}",
        "{\"brokerDatas\":[{\"brokerName\":\"b\",\"brokerAddrs\":{\"x\":\"h:1\"}}]}",
        "{\"queueDatas\":[{}]}",
        "{\"queueDatas\":[{\"brokerName\":\"b\",\"perm\":\"x\"}]}",
        "{\"queueDatas\":[{\"brokerName\":\"b\",\"readQueueNums\":-1}]}",
        "{\"queueDatas\":[{\"brokerName\":\"b\",\"writeQueueNums\":4294967296}]}",
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        assert_int_equal(read_text(cases[i]), -EBADMSG);
        assert_non_null(why);
    }
}

static void the_tables_have_an_end(void **state)
{
    static char text[65536];
    struct salvo_writer w;

    for (unsigned count = SALVO_ROUTE_BROKERS_MAX; count <= SALVO_ROUTE_BROKERS_MAX + 1; count++) {
        w = salvo_writer_over(text, sizeof(text));
        salvo_write_text(&w, "{\"brokerDatas\":[");
        for (unsigned i = 0; i < count; i++)
            salvo_write_text(&w, i == 0 ? "{\"brokerName\":\"b\"}" : ",{\"brokerName\":\"b\"}");
        salvo_write_text(&w, "]}");
        assert_int_equal(read_size(text, salvo_writer_size(&w)),
                         count <= SALVO_ROUTE_BROKERS_MAX ? 0 : -E2BIG);
    }
    for (unsigned size = SALVO_ROUTE_NAME_MAX - 1; size <= SALVO_ROUTE_NAME_MAX; size++) {
        w = salvo_writer_over(text, sizeof(text));
        salvo_write_text(&w, "{\"brokerDatas\":[{\"brokerName\":\"");
        memset(salvo_write_room(&w, size), 'x', size);
        salvo_write_text(&w, "\"}]}");
        assert_int_equal(read_size(text, salvo_writer_size(&w)),
                         size < SALVO_ROUTE_NAME_MAX ? 0 : -E2BIG);
    }
    assert_int_equal(salvo_route_data_read(&route, "{\"a\":1}", 7, tokens, 2, &why), -E2BIG);
}

static void what_was_written_reads_back(void **state)
{
    static struct salvo_route_data made, again;
    static char text[65536];

    made.brokers_count = 3;
    made.queue_datas_count = 3;
    for (unsigned i = 0; i < 3; i++) {
        snprintf(made.brokers[i].cluster, SALVO_ROUTE_NAME_MAX, "cluster \"%u\"", i);
        snprintf(made.brokers[i].brokerName, SALVO_ROUTE_NAME_MAX, "broker-%u", i);
        made.brokers[i].has_master = i != 1;
        made.brokers[i].addresses_count = i != 1;
        if (i != 1)
            snprintf(made.brokers[i].master_address, SALVO_ROUTE_NAME_MAX, "[::%u]:10911", i);
        snprintf(made.queue_datas[i].brokerName, SALVO_ROUTE_NAME_MAX, "broker-%u", i);
        made.queue_datas[i].readQueueNums = (int32_t)i;
        made.queue_datas[i].writeQueueNums = 8;
        made.queue_datas[i].perm = 6;
        made.queue_datas[i].topicSysFlag = 1;
    }
    snprintf(made.orderTopicConf, sizeof(made.orderTopicConf), "broker-0:4");
    for (int bare = 0; bare <= 1; bare++) {
        struct salvo_writer w = salvo_writer_over(text, sizeof(text));

        made.static_topic = bare == 1;
        salvo_route_data_write(&w, &made, bare == 1);
        assert_false(w.failed);
        memset(&again, 0, sizeof(again));
        assert_int_equal(
            salvo_route_data_read(&again, text, salvo_writer_size(&w), tokens, TOKENS_MAX, &why),
            0);
        assert_memory_equal(&again, &made, sizeof(made));
    }
}

static void addresses_are_split_at_the_last_colon(void **state)
{
    static const struct {
        const char *address, *host;
        uint16_t port; /* 0: refused */
    } cases[] = {
        {"127.0.0.1:10911", "127.0.0.1", 10911},
        {"broker:1", "broker", 1},
        {"broker:65535", "broker", 65535},
        {"[::1]:10911", "::1", 10911},
        {"fe80::1:10911", "fe80::1", 10911},
        {"", "", 0},
        {"broker", "", 0},
        {":1", "", 0},
        {"[]:1", "", 0},
        {"[::1:1", "", 0},
        {"broker:", "", 0},
        {"broker:0", "", 0},
        {"broker:65536", "", 0},
        {"broker:-1", "", 0},
        {"broker:1x", "", 0},
        {"a-host-of-more-than-31-characters-:1", "", 0},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        char host[32] = "untouched";
        uint16_t port = 77;
        int r = salvo_address_split(cases[i].address, host, sizeof(host), &port);

        assert_int_equal(r, cases[i].port == 0 ? -EINVAL : 0);
        assert_string_equal(host, r ? "untouched" : cases[i].host);
        assert_int_equal(port, r ? 77 : cases[i].port);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routes_of_every_generation_read_alike),
        cmocka_unit_test(what_may_be_missing_may_be_missing),
        cmocka_unit_test(what_is_no_route_is_refused_with_a_reason),
        cmocka_unit_test(the_tables_have_an_end),
        cmocka_unit_test(what_was_written_reads_back),
        cmocka_unit_test(addresses_are_split_at_the_last_colon),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
