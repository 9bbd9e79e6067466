/* Topic route answers (TopicRouteData.java, BrokerData.java, QueueData.java). */
#include "codec/route_data.h"

#include "base/error.h"

#include <errno.h>

/* A read under way; `why` is a literal once something was wrong. */
struct route_read {
    const struct salvo_json *json;
    struct salvo_route_data *route;
    const char *why;
};

static int route_bad(struct route_read *read, const char *why)
{
    read->why = why;
    return salvo_raise(-EBADMSG);
}

static int route_too_big(struct route_read *read, const char *why)
{
    read->why = why;
    return salvo_raise(-E2BIG);
}

/* Copies a string, with a terminator; null gives an empty one. */
static int route_string(struct route_read *read, uint32_t index, char *ret_text, size_t size_max)
{
    const struct salvo_json_token *token = &read->json->tokens[index];
    ssize_t size;

    if (token->kind == SALVO_JSON_NULL) {
        ret_text[0] = '\0';
        return 0;
    }
    if (token->kind != SALVO_JSON_STRING)
        return route_bad(read, "route: a name is not a string");
    size = salvo_json_string(read->json, index, ret_text, size_max - 1);
    if (size == -ENOSPC)
        return route_too_big(read, "route: a name is too long");
    if (size < 0 || memchr(ret_text, '\0', (size_t)size) != NULL)
        return route_bad(read, "route: a name is malformed");
    ret_text[size] = '\0';
    return 0;
}

static int route_int32(struct route_read *read, uint32_t index, int32_t *ret_value)
{
    int64_t value;

    if (read->json->tokens[index].kind == SALVO_JSON_NULL)
        return 0; /* as if it were absent */
    if (salvo_json_integer(read->json, index, &value) || value < INT32_MIN || value > INT32_MAX)
        return route_bad(read, "route: a number is malformed");
    *ret_value = (int32_t)value;
    return 0;
}

/* {"0":"host:port"} or {0:"host:port"}: only the master, id 0, is ours. */
static int route_addresses(struct route_read *read, uint32_t object,
                           struct salvo_route_broker_data *broker)
{
    const struct salvo_json_token *tokens = read->json->tokens;
    uint32_t key = object + 1;

    if (tokens[object].kind == SALVO_JSON_NULL)
        return 0;
    if (tokens[object].kind != SALVO_JSON_OBJECT)
        return route_bad(read, "route: brokerAddrs is not an object");
    broker->addresses_count = tokens[object].children;
    for (uint32_t i = 0; i < tokens[object].children; i++) {
        int64_t id;

        if (salvo_json_integer(read->json, key, &id))
            return route_bad(read, "route: a broker id is not a number");
        if (id == 0) {
            int r =
                route_string(read, key + 1, broker->master_address, sizeof(broker->master_address));

            if (r)
                return salvo_trace(r);
            broker->has_master = broker->master_address[0] != '\0';
        }
        key = tokens[key + 1].next;
    }
    return 0;
}

static int route_broker(struct route_read *read, uint32_t object)
{
    const struct salvo_json_token *tokens = read->json->tokens;
    struct salvo_route_broker_data *broker = &read->route->brokers[read->route->brokers_count];
    uint32_t key = object + 1;

    if (tokens[object].kind != SALVO_JSON_OBJECT)
        return route_bad(read, "route: a broker is not an object");
    *broker = (struct salvo_route_broker_data){0};
    for (uint32_t i = 0; i < tokens[object].children; i++) {
        int r = 0;

        if (salvo_json_equals(read->json, key, "brokerAddrs"))
            r = route_addresses(read, key + 1, broker);
        else if (salvo_json_equals(read->json, key, "brokerName"))
            r = route_string(read, key + 1, broker->brokerName, sizeof(broker->brokerName));
        else if (salvo_json_equals(read->json, key, "cluster"))
            r = route_string(read, key + 1, broker->cluster, sizeof(broker->cluster));
        if (r)
            return salvo_trace(r);
        key = tokens[key + 1].next;
    }
    if (broker->brokerName[0] == '\0')
        return route_bad(read, "route: a broker has no name");
    read->route->brokers_count++;
    return 0;
}

static int route_queue_pair(struct route_read *read, uint32_t key,
                            struct salvo_route_queue_data *queue)
{
    const struct salvo_json *json = read->json;

    if (salvo_json_equals(json, key, "brokerName"))
        return route_string(read, key + 1, queue->brokerName, sizeof(queue->brokerName));
    if (salvo_json_equals(json, key, "readQueueNums"))
        return route_int32(read, key + 1, &queue->readQueueNums);
    if (salvo_json_equals(json, key, "writeQueueNums"))
        return route_int32(read, key + 1, &queue->writeQueueNums);
    if (salvo_json_equals(json, key, "perm"))
        return route_int32(read, key + 1, &queue->perm);
    /* topicSynFlag: so it was written up to 4.7.1 */
    if (salvo_json_equals(json, key, "topicSysFlag") ||
        salvo_json_equals(json, key, "topicSynFlag"))
        return route_int32(read, key + 1, &queue->topicSysFlag);
    return 0;
}

static int route_queue(struct route_read *read, uint32_t object)
{
    const struct salvo_json_token *tokens = read->json->tokens;
    struct salvo_route_queue_data *queue =
        &read->route->queue_datas[read->route->queue_datas_count];
    uint32_t key = object + 1;

    if (tokens[object].kind != SALVO_JSON_OBJECT)
        return route_bad(read, "route: a queue is not an object");
    *queue = (struct salvo_route_queue_data){0};
    for (uint32_t i = 0; i < tokens[object].children; i++) {
        int r = route_queue_pair(read, key, queue);

        if (r)
            return salvo_trace(r);
        key = tokens[key + 1].next;
    }
    if (queue->brokerName[0] == '\0')
        return route_bad(read, "route: a queue has no broker");
    if (queue->readQueueNums < 0 || queue->writeQueueNums < 0)
        return route_bad(read, "route: a count of queues is negative");
    read->route->queue_datas_count++;
    return 0;
}

static int route_array(struct route_read *read, uint32_t array, uint32_t count_max,
                       int (*each)(struct route_read *, uint32_t))
{
    const struct salvo_json_token *tokens = read->json->tokens;
    uint32_t item = array + 1;

    if (tokens[array].kind == SALVO_JSON_NULL)
        return 0;
    if (tokens[array].kind != SALVO_JSON_ARRAY)
        return route_bad(read, "route: brokerDatas or queueDatas is not an array");
    if (tokens[array].children > count_max)
        return route_too_big(read, "route: more brokers or queues than the tables hold");
    for (uint32_t i = 0; i < tokens[array].children; i++) {
        int r = each(read, item);

        if (r)
            return salvo_trace(r);
        item = tokens[item].next;
    }
    return 0;
}

static int route_pair(struct route_read *read, uint32_t key)
{
    const struct salvo_json *json = read->json;
    struct salvo_route_data *route = read->route;

    if (salvo_json_equals(json, key, "brokerDatas")) {
        route->brokers_count = 0;
        return route_array(read, key + 1, SALVO_ROUTE_BROKERS_MAX, route_broker);
    }
    if (salvo_json_equals(json, key, "queueDatas")) {
        route->queue_datas_count = 0;
        return route_array(read, key + 1, SALVO_ROUTE_QUEUE_DATAS_MAX, route_queue);
    }
    if (salvo_json_equals(json, key, "orderTopicConf"))
        return route_string(read, key + 1, route->orderTopicConf, sizeof(route->orderTopicConf));
    if (salvo_json_equals(json, key, "topicQueueMappingByBroker"))
        route->static_topic =
            json->tokens[key + 1].kind == SALVO_JSON_OBJECT && json->tokens[key + 1].children > 0;
    return 0;
}

/* *ret_route is filled as the body is read: what it holds after a failure means nothing. */
int salvo_route_data_read(struct salvo_route_data *ret_route, const void *body, size_t size,
                          struct salvo_json_token *tokens, uint32_t tokens_max,
                          const char **ret_why)
{
    struct salvo_json json;
    struct route_read read = {.json = &json, .route = ret_route};
    uint32_t key = 1;
    int r;

    ret_route->brokers_count = 0;
    ret_route->queue_datas_count = 0;
    ret_route->orderTopicConf[0] = '\0';
    ret_route->static_topic = false;

    r = salvo_json_parse(&json, body, size, tokens, tokens_max, NULL);
    if (r) {
        *ret_why = r == -E2BIG ? "route: more JSON than expected" : "route: not JSON";
        return salvo_trace(r);
    }
    if (tokens[0].kind != SALVO_JSON_OBJECT) {
        *ret_why = "route: not an object";
        return salvo_raise(-EBADMSG);
    }
    for (uint32_t i = 0; i < tokens[0].children; i++) {
        r = route_pair(&read, key);
        if (r) {
            *ret_why = read.why;
            return salvo_trace(r);
        }
        key = tokens[key + 1].next;
    }
    return 0;
}

/* --- writing --------------------------------------------------------------------------------- */

static void write_string(struct salvo_writer *w, const char *text)
{
    salvo_json_write_string(w, text, strlen(text));
}

static void write_broker(struct salvo_writer *w, const struct salvo_route_broker_data *broker,
                         bool bare_keys)
{
    salvo_write_text(w, "{\"brokerAddrs\":{");
    if (broker->has_master) {
        salvo_write_text(w, bare_keys ? "0:" : "\"0\":");
        write_string(w, broker->master_address);
    }
    salvo_write_text(w, "},\"brokerName\":");
    write_string(w, broker->brokerName);
    salvo_write_text(w, ",\"cluster\":");
    write_string(w, broker->cluster);
    salvo_write_text(w, bare_keys ? "}" : ",\"enableActingMaster\":false}");
}

static void write_queue(struct salvo_writer *w, const struct salvo_route_queue_data *queue,
                        bool bare_keys)
{
    salvo_write_text(w, "{\"brokerName\":");
    write_string(w, queue->brokerName);
    salvo_write_text(w, ",\"perm\":");
    salvo_write_decimal(w, queue->perm);
    salvo_write_text(w, ",\"readQueueNums\":");
    salvo_write_decimal(w, queue->readQueueNums);
    salvo_write_text(w, bare_keys ? ",\"topicSynFlag\":" : ",\"topicSysFlag\":");
    salvo_write_decimal(w, queue->topicSysFlag);
    salvo_write_text(w, ",\"writeQueueNums\":");
    salvo_write_decimal(w, queue->writeQueueNums);
    salvo_write_u8(w, '}');
}

void salvo_route_data_write(struct salvo_writer *w, const struct salvo_route_data *route,
                            bool bare_keys)
{
    salvo_write_text(w, "{\"brokerDatas\":[");
    for (uint32_t i = 0; i < route->brokers_count; i++) {
        if (i > 0)
            salvo_write_u8(w, ',');
        write_broker(w, &route->brokers[i], bare_keys);
    }
    salvo_write_text(w, "],\"filterServerTable\":{}");
    if (route->orderTopicConf[0] != '\0') {
        salvo_write_text(w, ",\"orderTopicConf\":");
        write_string(w, route->orderTopicConf);
    }
    salvo_write_text(w, ",\"queueDatas\":[");
    for (uint32_t i = 0; i < route->queue_datas_count; i++) {
        if (i > 0)
            salvo_write_u8(w, ',');
        write_queue(w, &route->queue_datas[i], bare_keys);
    }
    salvo_write_u8(w, ']');
    if (route->static_topic) /* just enough to be recognized: we do not support them */
        salvo_write_text(w, ",\"topicQueueMappingByBroker\":{\"static\":{}}");
    salvo_write_u8(w, '}');
}

/* --- addresses ------------------------------------------------------------------------------- */

int salvo_address_split(const char *address, char *ret_host, size_t host_size, uint16_t *ret_port)
{
    const char *colon = strrchr(address, ':');
    const char *host = address;
    size_t size;
    int64_t port;

    if (colon == NULL || salvo_parse_decimal(colon + 1, strlen(colon + 1), &port))
        return salvo_raise(-EINVAL);
    if (port < 1 || port > UINT16_MAX)
        return salvo_raise(-EINVAL);
    size = (size_t)(colon - address);
    if (size >= 2 && host[0] == '[' && host[size - 1] == ']') {
        host++;
        size -= 2;
    }
    if (size == 0 || size >= host_size || memchr(host, '[', size) != NULL ||
        memchr(host, ']', size) != NULL)
        return salvo_raise(-EINVAL);
    memcpy(ret_host, host, size);
    ret_host[size] = '\0';
    *ret_port = (uint16_t)port;
    return 0;
}
