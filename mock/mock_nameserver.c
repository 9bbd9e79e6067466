/* The nameserver: GET_ROUTEINFO_BY_TOPIC and GET_BROKER_CLUSTER_INFO. ClientRequestProcessor.java,
 * RouteInfoManager.java.
 *
 * The body is written here and not by codec/route_data, because it has to be able to lie, and
 * because fastjson's key order and bare keys are what real clients meet. */
#include "mock/mock_internal.h"
#include "base/json.h"

static void route_quoted(struct salvo_writer *w, const char *text)
{
    salvo_json_write_string(w, text, strlen(text));
}

/* {0:"host:port"} or {"0":"host:port"} */
static void route_addresses(struct salvo_mock *mock, struct salvo_writer *w, uint32_t broker,
                            bool bare)
{
    const struct mock_broker *b = &mock->brokers[broker];
    const struct mock_host *host = &mock->hosts[mock->conf.nameservers + broker];
    const char *id = b->slave_only ? "1" : "0";

    salvo_write_text(w, "\"brokerAddrs\":{");
    if (bare)
        salvo_write_text(w, id);
    else
        route_quoted(w, id);
    salvo_write_u8(w, ':');
    route_quoted(w, b->lie_address[0] != '\0' ? b->lie_address : host->address);
    salvo_write_u8(w, '}');
}

static void route_broker(struct salvo_mock *mock, struct salvo_writer *w, uint32_t broker,
                         bool bare)
{
    salvo_write_u8(w, '{');
    route_addresses(mock, w, broker, bare);
    salvo_write_text(w, ",\"brokerName\":");
    route_quoted(w, mock->brokers[broker].name);
    salvo_write_text(w, ",\"cluster\":");
    route_quoted(w, mock->brokers[broker].cluster);
    if (mock->conf.generation == SALVO_MOCK_5_3_3)
        salvo_write_text(w, ",\"enableActingMaster\":false");
    salvo_write_u8(w, '}');
}

static bool route_shows(const struct salvo_mock *mock, const struct mock_topic *topic,
                        uint32_t broker)
{
    return topic->parts[broker].present && mock->brokers[broker].in_routes;
}

static uint32_t route_queues(const struct mock_topic_part *part)
{
    return part->lie_queues != SALVO_MOCK_ALL ? part->lie_queues : part->queues;
}

static void route_queue_data(struct salvo_mock *mock, struct salvo_writer *w,
                             const struct mock_topic *topic, uint32_t broker)
{
    const struct mock_topic_part *part = &topic->parts[broker];
    bool lie = part->lie_queues != SALVO_MOCK_ALL;

    salvo_write_text(w, "{\"brokerName\":");
    route_quoted(w, mock->brokers[broker].name);
    salvo_write_text(w, ",\"perm\":");
    salvo_write_decimal(w, lie ? part->lie_perm : part->perm);
    salvo_write_text(w, ",\"readQueueNums\":");
    salvo_write_decimal(w, route_queues(part));
    salvo_write_text(w, mock->conf.generation == SALVO_MOCK_4_7_1 ? ",\"topicSynFlag\":0"
                                                                  : ",\"topicSysFlag\":0");
    salvo_write_text(w, ",\"writeQueueNums\":");
    salvo_write_decimal(w, route_queues(part));
    salvo_write_u8(w, '}');
}

static void route_order(struct salvo_mock *mock, struct salvo_writer *w,
                        const struct mock_topic *topic)
{
    bool first = true;

    salvo_write_text(w, ",\"orderTopicConf\":\"");
    for (uint32_t i = 0; i < mock->conf.brokers; i++) {
        if (!route_shows(mock, topic, i))
            continue;
        if (!first)
            salvo_write_u8(w, ';');
        first = false;
        salvo_json_write_escaped(w, mock->brokers[i].name, strlen(mock->brokers[i].name));
        salvo_write_u8(w, ':');
        salvo_write_decimal(w, route_queues(&topic->parts[i]));
    }
    salvo_write_u8(w, '"');
}

static void route_body(struct salvo_mock *mock, struct salvo_writer *w,
                       const struct mock_topic *topic, bool bare)
{
    bool first = true;

    salvo_write_text(w, "{\"brokerDatas\":[");
    for (uint32_t i = 0; i < mock->conf.brokers; i++) {
        if (!route_shows(mock, topic, i))
            continue;
        if (!first)
            salvo_write_u8(w, ',');
        first = false;
        route_broker(mock, w, i, bare);
    }
    salvo_write_text(w, "],\"filterServerTable\":{}");
    if (topic->order)
        route_order(mock, w, topic);
    salvo_write_text(w, ",\"queueDatas\":[");
    first = true;
    for (uint32_t i = 0; i < mock->conf.brokers; i++) {
        if (!route_shows(mock, topic, i))
            continue;
        if (!first)
            salvo_write_u8(w, ',');
        first = false;
        route_queue_data(mock, w, topic, i);
    }
    salvo_write_text(w, "]}");
}

static void nameserver_body(struct salvo_mock *mock, uint8_t *from)
{
    salvo_assert(!mock->text.failed); /* 32 brokers fit many times */
    mock->answer.body = from;
    mock->answer.body_size = (uint32_t)(mock->text.at - from);
}

static void nameserver_route(struct salvo_mock *mock)
{
    const struct salvo_header *request = &mock->request.header;
    struct salvo_text name = salvo_header_ext(request, "topic");
    struct salvo_text standard = salvo_header_ext(request, "acceptStandardJsonOnly");
    uint8_t *from = mock->text.at;
    const struct mock_topic *topic;
    bool shown = false, bare;

    mock->stats.routes++;
    if (name.text == NULL) {
        mock_answer_code(mock, SALVO_RESPONSE_SYSTEM_ERROR, "the custom field <topic> is null");
        return;
    }
    topic = mock_topic_find(mock, name.text, name.size);
    for (uint32_t i = 0; topic != NULL && i < mock->conf.brokers; i++)
        shown |= route_shows(mock, topic, i);
    if (!shown) {
        mock_answer_code(mock, SALVO_RESPONSE_TOPIC_NOT_EXIST,
                         "No topic route info in name server for the topic: %.*s\n"
                         "See http://rocketmq.apache.org/docs/faq/ for further details.",
                         (int)SALVO_MIN(name.size, SALVO_TOPIC_SIZE_MAX), name.text);
        return;
    }
    bare = mock->conf.generation == SALVO_MOCK_4_7_1 ||
           (request->version < SALVO_VERSION_V4_9_4 && !salvo_text_equals(standard, "true"));
    route_body(mock, &mock->text, topic, bare);
    nameserver_body(mock, from);
    mock_answer_code(mock, SALVO_RESPONSE_SUCCESS, NULL);
}

/* Always in the old style, whatever the client says. */
static void nameserver_cluster(struct salvo_mock *mock)
{
    struct salvo_writer *w = &mock->text;
    uint8_t *from = w->at;

    salvo_write_text(w, "{\"brokerAddrTable\":{");
    for (uint32_t i = 0; i < mock->conf.brokers; i++) {
        if (i != 0)
            salvo_write_u8(w, ',');
        route_quoted(w, mock->brokers[i].name);
        salvo_write_u8(w, ':');
        route_broker(mock, w, i, true);
    }
    salvo_write_text(w, "},\"clusterAddrTable\":{");
    for (uint32_t i = 0; i < mock->conf.brokers; i++) {
        const char *cluster = mock->brokers[i].cluster;
        bool seen = false;

        for (uint32_t k = 0; k < i; k++)
            seen |= strcmp(mock->brokers[k].cluster, cluster) == 0;
        if (seen)
            continue;
        if (i != 0)
            salvo_write_u8(w, ',');
        route_quoted(w, cluster);
        salvo_write_text(w, ":[");
        for (uint32_t k = i; k < mock->conf.brokers; k++) {
            if (strcmp(mock->brokers[k].cluster, cluster) != 0)
                continue;
            if (k != i)
                salvo_write_u8(w, ',');
            route_quoted(w, mock->brokers[k].name);
        }
        salvo_write_u8(w, ']');
    }
    salvo_write_text(w, "}}");
    nameserver_body(mock, from);
    mock_answer_code(mock, SALVO_RESPONSE_SUCCESS, NULL);
}

/* 4.7.1 does not answer a code it does not know; the others say 3. */
void mock_unknown_code(struct salvo_mock *mock)
{
    mock->stats.unknown_codes++;
    if (mock->conf.generation == SALVO_MOCK_4_7_1) {
        mock->answer.none = true;
        return;
    }
    mock_answer_code(mock, SALVO_RESPONSE_REQUEST_CODE_NOT_SUPPORTED,
                     " request type %d not supported", mock->request.header.code);
}

void mock_nameserver_request(struct salvo_mock *mock)
{
    switch (mock->request.header.code) {
    case SALVO_REQUEST_GET_ROUTEINFO_BY_TOPIC:
        nameserver_route(mock);
        break;
    case SALVO_REQUEST_GET_BROKER_CLUSTER_INFO:
        nameserver_cluster(mock);
        break;
    default:
        mock_unknown_code(mock);
    }
}
