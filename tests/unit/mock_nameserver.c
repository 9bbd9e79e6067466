/* mock/mock_nameserver.c and mock_topic.c: routes, and how they change while clients look. */
#include "tests/support/mock_rig.h"

#include "codec/route_data.h"

#define TOKENS_MAX 4096

static struct salvo_route_data route; /* large */
static struct salvo_json_token tokens[TOKENS_MAX];

/* The code of a route request; at 0 `route` is filled. */
static int32_t ask(struct rig *rig, unsigned link, const char *topic)
{
    struct rig_answer answer;
    const char *why = "";
    int32_t code;

    rig_ask(rig, link, SALVO_REQUEST_GET_ROUTEINFO_BY_TOPIC, "topic", topic, &answer);
    code = answer.header.code;
    if (code == 0 && salvo_route_data_read(&route, answer.frame.body, answer.frame.body_size,
                                           tokens, TOKENS_MAX, &why))
        fail_msg("%s: %.*s", why, (int)answer.frame.body_size, answer.frame.body);
    if (code != 0)
        assert_true(answer.header.remark.size > 0);
    rig_answer_free(&answer);
    return code;
}

static void routes_name_every_broker_and_its_queues(void **state)
{
    struct salvo_mock_conf conf;
    struct rig rig;
    unsigned link;

    rig_conf(&conf);
    conf.nameservers = 2;
    conf.brokers = 3;
    rig_open(&rig, state, &conf);
    assert_non_null(strchr(salvo_mock_nameserver_address(rig.mock), ';'));
    for (uint32_t ns = 0; ns < 2; ns++) {
        link = rig_connect(&rig, ns);
        assert_int_equal(ask(&rig, link, "T"), 0);
        assert_int_equal(route.brokers_count, 3);
        assert_int_equal(route.queue_datas_count, 3);
        assert_string_equal(route.brokers[1].brokerName, "broker-b");
        assert_string_equal(route.brokers[1].cluster, "DefaultCluster");
        assert_true(route.brokers[1].has_master);
        assert_string_equal(route.brokers[1].master_address, salvo_mock_host_address(rig.mock, 3));
        assert_int_equal(route.queue_datas[2].writeQueueNums, 4);
        assert_int_equal(route.queue_datas[2].perm, 6);
        assert_int_equal(ask(&rig, link, "Nobody"), SALVO_RESPONSE_TOPIC_NOT_EXIST);
        assert_int_equal(ask(&rig, link, "TBW102"), 0);
        assert_int_equal(route.queue_datas[0].perm, 7);
    }
    rig_close(&rig);
}

/* The body's first key of brokerAddrs, as text. */
static bool keys_are_bare(struct rig *rig, unsigned link, int32_t version, bool standard)
{
    struct salvo_header header = {.code = 105, .version = version, .opaque = 9};
    struct rig_answer answer;
    ssize_t size;
    bool bare;

    salvo_header_add(&header, "topic", SALVO_TEXT("T"));
    if (standard)
        salvo_header_add(&header, "acceptStandardJsonOnly", SALVO_TEXT("true"));
    size = salvo_frame_write(rig->out, RIG_OUT_MAX, SALVO_HEADER_JSON, &header, NULL, 0);
    rig_send(rig, link, rig->out, (size_t)size);
    rig_answer_take(rig, link, &answer);
    assert_int_equal(answer.header.code, 0);
    bare = memmem(answer.frame.body, answer.frame.body_size, "{0:", 3) != NULL;
    assert_true(bare || memmem(answer.frame.body, answer.frame.body_size, "{\"0\":", 5) != NULL);
    rig_answer_free(&answer);
    return bare;
}

static void keys_are_quoted_for_those_who_ask_so(void **state)
{
    for (int g = 0; g < 3; g++) {
        static const enum salvo_mock_generation all[] = {SALVO_MOCK_4_7_1, SALVO_MOCK_4_9_7,
                                                         SALVO_MOCK_5_3_3};
        bool old = all[g] == SALVO_MOCK_4_7_1;
        struct salvo_mock_conf conf;
        struct rig_answer answer;
        struct rig rig;
        unsigned link;

        rig_conf(&conf);
        conf.generation = all[g];
        rig_open(&rig, state, &conf);
        link = rig_connect(&rig, 0);
        assert_true(keys_are_bare(&rig, link, 0, false));
        assert_true(keys_are_bare(&rig, link, 400, false));
        assert_int_equal(keys_are_bare(&rig, link, 401, false), old);
        assert_int_equal(keys_are_bare(&rig, link, 0, true), old);
        rig_ask(&rig, link, 105, "topic", "T", &answer);
        assert_int_equal(
            memmem(answer.frame.body, answer.frame.body_size, "topicSynFlag", 12) != NULL, old);
        rig_answer_free(&answer);
        rig_close(&rig);
    }
}

static void routes_change_while_the_mock_runs(void **state)
{
    struct salvo_mock_conf conf;
    struct rig rig;
    unsigned link;

    rig_conf(&conf);
    conf.brokers = 2;
    rig_open(&rig, state, &conf);
    link = rig_connect(&rig, 0);
    assert_int_equal(salvo_mock_topic_set(rig.mock, "New", 1, 7, 6), 0);
    assert_int_equal(ask(&rig, link, "New"), 0);
    assert_int_equal(route.brokers_count, 1);
    assert_string_equal(route.brokers[0].brokerName, "broker-b");
    assert_int_equal(route.queue_datas[0].writeQueueNums, 7);
    assert_int_equal(salvo_mock_topic_set(rig.mock, "New", 1, 2, 4), 0);
    assert_int_equal(ask(&rig, link, "New"), 0);
    assert_int_equal(route.queue_datas[0].writeQueueNums, 2);
    assert_int_equal(route.queue_datas[0].perm, 4);
    assert_int_equal(salvo_mock_topic_remove(rig.mock, "New", SALVO_MOCK_ALL), 0);
    assert_int_equal(ask(&rig, link, "New"), 17);

    assert_int_equal(salvo_mock_route_broker(rig.mock, 0, false), 0);
    assert_int_equal(ask(&rig, link, "T"), 0);
    assert_int_equal(route.brokers_count, 1);
    assert_int_equal(salvo_mock_route_broker(rig.mock, 1, false), 0);
    assert_int_equal(ask(&rig, link, "T"), 17);
    assert_int_equal(salvo_mock_route_broker(rig.mock, 0, true), 0);
    assert_int_equal(salvo_mock_route_slave_only(rig.mock, 0, true), 0);
    assert_int_equal(ask(&rig, link, "T"), 0);
    assert_false(route.brokers[0].has_master);
    assert_int_equal(salvo_mock_route_slave_only(rig.mock, 0, false), 0);
    assert_int_equal(salvo_mock_route_address(rig.mock, 0, "192.0.2.1:1"), 0);
    assert_int_equal(ask(&rig, link, "T"), 0);
    assert_string_equal(route.brokers[0].master_address, "192.0.2.1:1");
    rig_close(&rig);
}

static void routes_can_lie_and_order(void **state)
{
    struct salvo_mock_conf conf;
    struct rig rig;
    unsigned link, broker;

    rig_conf(&conf);
    conf.brokers = 2;
    rig_open(&rig, state, &conf);
    link = rig_connect(&rig, 0);
    broker = rig_connect(&rig, salvo_mock_host_of_broker(rig.mock, 0));
    assert_int_equal(salvo_mock_route_lie(rig.mock, "T", 0, 9, 4), 0);
    assert_int_equal(ask(&rig, link, "T"), 0);
    assert_int_equal(route.queue_datas[0].writeQueueNums, 9);
    assert_int_equal(route.queue_datas[0].perm, 4);
    assert_int_equal(route.queue_datas[1].writeQueueNums, 4);
    {
        struct salvo_send_fields fields = rig_fields("T", "");

        fields.queueId = 8; /* the broker has four */
        assert_int_equal(rig_send_code(&rig, broker, &fields, "b", 1), 29);
    }
    assert_int_equal(salvo_mock_topic_order(rig.mock, "T", true), 0);
    assert_int_equal(ask(&rig, link, "T"), 0);
    assert_string_equal(route.orderTopicConf, "broker-a:9;broker-b:4");
    assert_int_equal(salvo_mock_route_lie(rig.mock, "T", 0, SALVO_MOCK_ALL, 0), 0);
    assert_int_equal(ask(&rig, link, "T"), 0);
    assert_string_equal(route.orderTopicConf, "broker-a:4;broker-b:4");
    assert_int_equal(salvo_mock_topic_order(rig.mock, "Nobody", true), -ENOENT);
    assert_int_equal(salvo_mock_route_broker(rig.mock, 2, true), -EINVAL);
    assert_int_equal(salvo_mock_topic_set(rig.mock, "T", 0, SALVO_MOCK_QUEUES_MAX + 1, 6), -EINVAL);
    rig_close(&rig);
}

static void cluster_info_is_in_the_old_style(void **state)
{
    static const char wanted[] = "\"clusterAddrTable\":{\"DefaultCluster\":[\"broker-a\"],"
                                 "\"Other\":[\"b\",\"broker-c\"]}}";
    struct salvo_mock_conf conf;
    struct rig_answer answer;
    struct rig rig;
    unsigned link;

    rig_conf(&conf);
    conf.brokers = 3;
    snprintf(conf.broker_names[1], sizeof(conf.broker_names[1]), "b");
    snprintf(conf.clusters[1], sizeof(conf.clusters[1]), "Other");
    snprintf(conf.clusters[2], sizeof(conf.clusters[2]), "Other");
    rig_open(&rig, state, &conf);
    link = rig_connect(&rig, 0);
    rig_ask(&rig, link, SALVO_REQUEST_GET_BROKER_CLUSTER_INFO, NULL, NULL, &answer);
    assert_int_equal(answer.header.code, 0);
    assert_non_null(memmem(answer.frame.body, answer.frame.body_size, wanted, sizeof(wanted) - 1));
    assert_non_null(memmem(answer.frame.body, answer.frame.body_size, "{0:\"", 4));
    rig_answer_free(&answer);
    rig_ask(&rig, link, 9999, NULL, NULL, &answer);
    assert_int_equal(answer.header.code, 3);
    rig_answer_free(&answer);
    rig_ask(&rig, link, 105, NULL, NULL, &answer);
    assert_int_equal(answer.header.code, 1);
    rig_answer_free(&answer);
    rig_close(&rig);
}

static void topic_table_that_is_full_creates_no_more(void **state)
{
    struct rig rig;
    char name[32];
    int r = 0, made = 0;

    rig_open(&rig, state, NULL);
    for (; r == 0; made++) {
        snprintf(name, sizeof(name), "T%d", made);
        r = salvo_mock_topic_set(rig.mock, name, SALVO_MOCK_ALL, 1, 6);
    }
    assert_int_equal(r, -ENOSPC);
    assert_int_equal(made - 1, SALVO_MOCK_TOPICS_MAX - 2); /* T and TBW102 were there */
    {
        struct salvo_send_fields fields = rig_fields("OneMore", "");
        unsigned link = rig_connect(&rig, 1);

        assert_int_equal(rig_send_code(&rig, link, &fields, "b", 1), 17);
    }
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_BOTH(routes_name_every_broker_and_its_queues),
        RIG_BOTH(keys_are_quoted_for_those_who_ask_so),
        RIG_BOTH(routes_change_while_the_mock_runs),
        RIG_BOTH(routes_can_lie_and_order),
        RIG_BOTH(cluster_info_is_in_the_old_style),
        RIG_SIM(topic_table_that_is_full_creates_no_more),
    };

    return cmocka_run_group_tests_name("mock_nameserver", tests, NULL, NULL);
}
