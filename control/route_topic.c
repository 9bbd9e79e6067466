/* From a route answer to one topic's queues and templates, see route_topic.h and 5.1 of the
 * protocol reference. */
#include "control/route_topic.h"

#include "base/assert.h"
#include "base/error.h"
#include "codec/compress.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Brokers learned to read the field n (broker name) with 5.1.0. */
#define VERSION_BROKER_NAME 433

static const struct salvo_route_broker_data *broker_data_find(const struct salvo_route_data *data,
                                                              const char *name)
{
    for (uint32_t i = 0; i < data->brokers_count; i++)
        if (strcmp(data->brokers[i].brokerName, name) == 0)
            return &data->brokers[i];
    return NULL;
}

struct want_list {
    struct salvo_brokers *brokers;
    struct salvo_route_want *wants;
    uint32_t wants_max;
    uint32_t count;
    bool no_room; /* a broker got no number */
    int64_t now_ns;
};

/* An answer may name a broker twice; the first counts. */
static bool wants_have(const struct want_list *list, uint32_t broker)
{
    for (uint32_t i = 0; i < SALVO_MIN(list->count, list->wants_max); i++)
        if (list->wants[i].broker == broker)
            return true;
    return false;
}

static void wants_add(struct want_list *list, const struct salvo_route_data *data, const char *name,
                      int32_t queues_count)
{
    const struct salvo_route_broker_data *broker_data = broker_data_find(data, name);
    uint32_t broker;

    if (queues_count <= 0)
        return;
    broker = salvo_brokers_take(list->brokers, name);
    list->no_room |= broker == SALVO_BROKER_NONE;
    if (broker == SALVO_BROKER_NONE || wants_have(list, broker))
        return;
    if (broker_data != NULL && broker_data->has_master)
        salvo_brokers_address(list->brokers, broker, broker_data->master_address, list->now_ns);
    for (int32_t id = 0; id < queues_count; id++, list->count++) {
        if (list->count < list->wants_max)
            list->wants[list->count] = (struct salvo_route_want){
                .broker = broker, .queueId = id, .queue = SALVO_QUEUE_NONE};
        else if (list->count == UINT32_MAX / 2)
            return; /* nobody has that many: the caller refuses */
    }
}

/* orderTopicConf "brokerName:count;...": no look at permissions or masters. */
static void wants_from_order(struct want_list *list, const struct salvo_route_data *data)
{
    for (const char *at = data->orderTopicConf; *at != '\0';) {
        size_t size = strcspn(at, ";");
        const char *colon = memrchr(at, ':', size);
        char name[SALVO_ROUTE_NAME_MAX];
        int64_t count;

        if (colon != NULL && (size_t)(colon - at) < sizeof(name) &&
            salvo_parse_decimal(colon + 1, size - (size_t)(colon + 1 - at), &count) == 0 &&
            count > 0 && count <= INT32_MAX) {
            memcpy(name, at, (size_t)(colon - at));
            name[colon - at] = '\0';
            wants_add(list, data, name, (int32_t)count);
        }
        at += size + (at[size] == ';');
    }
}

static int queue_data_compare(const void *a, const void *b)
{
    const struct salvo_route_queue_data *const *x = a, *const *y = b;

    return strcmp((*x)->brokerName, (*y)->brokerName);
}

/* By broker name; those that may be written and whose master is known. */
static void wants_from_queue_datas(struct want_list *list, const struct salvo_route_data *data,
                                   uint32_t queues_cap)
{
    const struct salvo_route_queue_data *sorted[SALVO_ROUTE_QUEUE_DATAS_MAX];

    for (uint32_t i = 0; i < data->queue_datas_count; i++)
        sorted[i] = &data->queue_datas[i];
    qsort(sorted, data->queue_datas_count, sizeof(sorted[0]), queue_data_compare);
    for (uint32_t i = 0; i < data->queue_datas_count; i++) {
        const struct salvo_route_broker_data *broker =
            broker_data_find(data, sorted[i]->brokerName);
        int32_t count = sorted[i]->writeQueueNums;

        if ((sorted[i]->perm & SALVO_PERM_WRITE) == 0 || broker == NULL || !broker->has_master)
            continue;
        if (queues_cap != 0)
            count = SALVO_MIN((int32_t)queues_cap, sorted[i]->readQueueNums);
        wants_add(list, data, sorted[i]->brokerName, count);
    }
}

enum salvo_route_state salvo_route_wants(const struct salvo_route_data *data, uint32_t queues_cap,
                                         struct salvo_brokers *brokers,
                                         struct salvo_route_want *ret_wants, uint32_t wants_max,
                                         uint32_t *ret_count, int64_t now_ns)
{
    struct want_list list = {
        .brokers = brokers, .wants = ret_wants, .wants_max = wants_max, .now_ns = now_ns};

    *ret_count = 0;
    if (data->orderTopicConf[0] != '\0')
        wants_from_order(&list, data);
    else if (data->static_topic)
        return SALVO_ROUTE_UNSUPPORTED;
    else
        wants_from_queue_datas(&list, data, queues_cap);
    *ret_count = list.count;
    if (list.count > 0)
        return SALVO_ROUTE_GOOD;
    return list.no_room ? SALVO_ROUTE_NO_ROOM : SALVO_ROUTE_NO_QUEUE;
}

bool salvo_route_object_equal(const struct salvo_route_object *object, enum salvo_route_state state,
                              const struct salvo_route_want *wants, uint32_t wants_count)
{
    if (object == NULL || object->route.state != state || object->route.queues_count != wants_count)
        return false;
    for (uint32_t i = 0; i < wants_count; i++)
        if (object->route.queues[i].broker != wants[i].broker ||
            object->route.queues[i].queueId != wants[i].queueId)
            return false;
    return true;
}

/* What a send to this topic says, but for what differs by queue, kind or message. */
static struct salvo_send_fields fields_of(const struct salvo_config *config, const char *name)
{
    return (struct salvo_send_fields){
        .code = SALVO_REQUEST_SEND_MESSAGE_V2,
        .language = (int32_t)config->language,
        .version = (int32_t)config->version,
        .producerGroup = salvo_text_of(config->group),
        .topic = salvo_text_of(name),
        .defaultTopic = salvo_text_of(config->create_topic_key),
        .defaultTopicQueueNums = (int32_t)config->default_topic_queues,
        .maxReconsumeTimes = -1,
        /* Empty, but there: the lane puts the queue's broker in (lane_send.c). */
        .brokerName =
            config->version >= VERSION_BROKER_NAME ? SALVO_TEXT("") : (struct salvo_text){0},
    };
}

/* sysFlag of a kind's bodies. Without compression the compressed kinds stand for zlib: nobody asks.
 */
static int32_t kind_sysflag(const struct salvo_config *config, uint32_t kind)
{
    enum salvo_compression compression = (enum salvo_compression)config->compress;

    if ((kind & 1) == 0)
        return 0;
    if (compression == SALVO_COMPRESS_NONE)
        compression = SALVO_COMPRESS_ZLIB;
    return salvo_compression_sysflag(compression, config->compress_old_flag);
}

/* A lane makes a template of its own for a message with a flag; these names must fit it then. */
static int templates_check_flag(enum salvo_header_form form, const struct salvo_send_fields *fields)
{
    struct salvo_send_fields longest = *fields;
    struct salvo_send_template unused;

    longest.flag = INT32_MIN;
    return salvo_trace(salvo_send_template_init(&unused, form, &longest, false));
}

static int templates_of_queue(const struct salvo_config *config,
                              const struct salvo_send_fields *fields,
                              const struct salvo_route_queue *queue, const char *broker_name,
                              struct salvo_send_template *ret_templates)
{
    enum salvo_header_form form = (enum salvo_header_form)config->header;

    for (uint32_t kind = 0; kind < SALVO_TEMPLATE_KINDS; kind++) {
        struct salvo_send_fields f = *fields;
        int r;

        f.batch = kind >= SALVO_TEMPLATE_BATCH;
        f.code = f.batch ? SALVO_REQUEST_SEND_BATCH_MESSAGE : SALVO_REQUEST_SEND_MESSAGE_V2;
        f.sysFlag = kind_sysflag(config, kind);
        f.queueId = queue->queueId;
        if (fields->brokerName.text != NULL)
            f.brokerName = salvo_text_of(broker_name);
        if (kind == SALVO_TEMPLATE_SINGLE_COMPRESSED) { /* the longer sysFlag */
            r = templates_check_flag(form, &f);
            if (r)
                return salvo_trace(r);
        }
        r = salvo_send_template_init(&ret_templates[kind], form, &f, false);
        if (r)
            return salvo_trace(r);
    }
    return 0;
}

static_assert(SALVO_TEMPLATE_SINGLE_COMPRESSED == 1 && SALVO_TEMPLATE_BATCH == 2 &&
                  SALVO_TEMPLATE_BATCH_COMPRESSED == 3,
              "bit 0 of a kind is compression, bit 1 the batch");

static uint32_t brokers_distinct(const struct salvo_route_want *wants, uint32_t count)
{
    uint32_t distinct = 0;

    for (uint32_t i = 0; i < count; i++)
        distinct +=
            wants[i].queueId == 0; /* a broker's queues stand together, from 0 (wants_add) */
    return distinct;
}

int salvo_route_object_new(const struct salvo_config *config, uint32_t topic, const char *name,
                           enum salvo_route_state state, const struct salvo_brokers *brokers,
                           const struct salvo_route_want *wants, uint32_t wants_count,
                           struct salvo_route_object **ret_object)
{
    size_t size =
        sizeof(struct salvo_route_object) + sizeof(struct salvo_route_queue) * wants_count;
    struct salvo_route_object *object = calloc(1, size);
    int r = 0;

    if (object == NULL)
        return salvo_raise(-ENOMEM);
    object->users = 1;
    object->fields = fields_of(config, name);
    object->route.state = state;
    object->route.topic = topic;
    object->route.fields = &object->fields;
    object->route.queues_count = wants_count;
    object->route.brokers_count = brokers_distinct(wants, wants_count);
    if (wants_count > 0) {
        object->templates =
            calloc((size_t)wants_count * SALVO_TEMPLATE_KINDS, sizeof(*object->templates));
        r = object->templates == NULL ? -ENOMEM : 0;
    }
    for (uint32_t i = 0; i < wants_count && r == 0; i++) {
        struct salvo_route_queue *queue = &object->route.queues[i];

        salvo_assert(wants[i].queue != SALVO_QUEUE_NONE);
        *queue = (struct salvo_route_queue){
            .queue = wants[i].queue,
            .broker = wants[i].broker,
            .queueId = wants[i].queueId,
            .templates = &object->templates[(size_t)i * SALVO_TEMPLATE_KINDS],
        };
        r = templates_of_queue(config, &object->fields, queue,
                               brokers->table[queue->broker].route.name,
                               &object->templates[(size_t)i * SALVO_TEMPLATE_KINDS]);
    }
    if (r) {
        salvo_route_object_put(object);
        return salvo_trace(r);
    }
    *ret_object = object;
    return 0;
}

void salvo_route_object_put(struct salvo_route_object *object)
{
    salvo_assert(object->users > 0);
    if (--object->users > 0)
        return;
    free(object->templates);
    free(object);
}
