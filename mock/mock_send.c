/* A broker's side of SEND_MESSAGE, SEND_MESSAGE_V2 and SEND_BATCH_MESSAGE: checks, storing, answer.
 * SendMessageProcessor.java, AbstractSendMessageProcessor.java, TopicValidator.java,
 * CommitLog.java.
 *
 * The checks come in a broker's order and give its codes and remarks. Four are stricter than a
 * broker, which would store the message and leave the trouble to the consumer: properties that are
 * not well formed, a compression type nobody defined, a body and a batch item that do not
 * decompress. They give 13, with a remark that begins with "mock:". */
#include "mock/mock_internal.h"
#include "codec/compress.h"
#include "codec/message.h"
#include "codec/send.h"

#include <arpa/inet.h>

/* MSG_REGION, TRACE_ON and CLUSTER, which a broker adds. */
#define SEND_PROPERTIES_ADDED 62u
#define SEND_PROPERTIES_MAX   32767u
#define SEND_RECORD_SIZE      91u /* of a stored message without body, topic and properties */
#define SEND_FAQ              "\nSee http://rocketmq.apache.org/docs/faq/ for further details."

struct send {
    struct salvo_send_fields fields;
    uint32_t broker;
    struct mock_topic *topic;
    struct mock_topic_part *part;
    uint32_t queue;
    enum salvo_compression compression;
    uint32_t items; /* of a batch */
};

static bool send_is_5(const struct salvo_mock *mock)
{
    return mock->conf.generation == SALVO_MOCK_5_3_3;
}

/* --- topic and queue -------------------------------------------------------------------------- */

/* False: refused, the answer says so. So do all checks below. */
static bool send_check_topic(struct salvo_mock *mock, const struct send *s)
{
    struct salvo_text topic = s->fields.topic;
    int32_t code = send_is_5(mock) ? SALVO_RESPONSE_INVALID_PARAMETER : SALVO_RESPONSE_SYSTEM_ERROR;

    switch (salvo_topic_check(topic.text, topic.size)) {
    case 0:
        return true;
    case SALVO_REFUSED_EMPTY:
        mock_answer_code(mock, code, "The specified topic is blank.");
        break;
    case SALVO_REFUSED_TOO_LONG:
        mock_answer_code(mock, code, "The specified topic is longer than topic max length.");
        break;
    case SALVO_REFUSED_FORBIDDEN:
        mock_answer_code(mock, SALVO_RESPONSE_NO_PERMISSION,
                         "Sending message to topic[%.*s] is forbidden.", (int)topic.size,
                         topic.text);
        break;
    default:
        mock_answer_code(mock, code,
                         "The specified topic contains illegal characters, allowing only "
                         "^[%%|a-zA-Z0-9_-]+$");
    }
    return false;
}

/* TopicConfigManager.createTopicInSendMessageMethod: from the template the client names. */
static void send_create_topic(struct salvo_mock *mock, struct send *s)
{
    struct salvo_text name = s->fields.defaultTopic;
    const struct mock_topic *template = mock_topic_find(mock, name.text, name.size);
    const struct mock_topic_part *part;
    uint32_t queues;

    if (template == NULL)
        return;
    part = &template->parts[s->broker];
    if (!part->present || !(part->perm & SALVO_PERM_INHERIT) ||
        (!mock->auto_create && salvo_text_equals(name, SALVO_TOPIC_AUTO_CREATE)))
        return;
    queues = SALVO_MIN((uint32_t)SALVO_MAX(s->fields.defaultTopicQueueNums, 0), part->queues);
    s->topic = mock_topic_get(mock, s->fields.topic.text, s->fields.topic.size);
    if (s->topic == NULL || mock_topic_part_set(&s->topic->parts[s->broker], queues,
                                                part->perm & ~(uint32_t)SALVO_PERM_INHERIT))
        return;
    s->part = &s->topic->parts[s->broker];
    mock->stats.topics_created++;
}

static bool send_find_topic(struct salvo_mock *mock, struct send *s)
{
    struct salvo_text name = s->fields.topic;

    s->topic = mock_topic_find(mock, name.text, name.size);
    if (s->topic != NULL && s->topic->parts[s->broker].present)
        s->part = &s->topic->parts[s->broker];
    if (s->part == NULL)
        send_create_topic(mock, s);
    if (s->part != NULL)
        return true;
    mock_answer_code(mock, SALVO_RESPONSE_TOPIC_NOT_EXIST,
                     "topic[%.*s] not exist, apply first please!" SEND_FAQ, (int)name.size,
                     name.text);
    return false;
}

static bool send_check_queue(struct salvo_mock *mock, struct send *s)
{
    const struct mock_broker *broker = &mock->brokers[s->broker];

    if (!(broker->perm & SALVO_PERM_WRITE) && s->topic->order) {
        mock_answer_code(mock, SALVO_RESPONSE_NO_PERMISSION,
                         "the broker[%s] sending message is forbidden",
                         mock->hosts[mock->request.conn->host].address);
        return false;
    }
    if (s->part->queues == 0 || s->fields.queueId >= (int32_t)s->part->queues) {
        mock_answer_code(
            mock, send_is_5(mock) ? SALVO_RESPONSE_INVALID_PARAMETER : SALVO_RESPONSE_SYSTEM_ERROR,
            "request queueId[%d] is illegal, TopicConfig [topicName=%s, readQueueNums=%u, "
            "writeQueueNums=%u]",
            s->fields.queueId, s->topic->name, s->part->queues, s->part->queues);
        return false;
    }
    /* Below 0 a broker takes any; here the next in turn, since a run must be repeatable. */
    s->queue = s->fields.queueId >= 0 ? (uint32_t)s->fields.queueId
                                      : (uint32_t)(mock->stats.sends % s->part->queues);
    return true;
}

/* --- message ---------------------------------------------------------------------------------- */

static bool send_refuse(struct salvo_mock *mock, const char *why)
{
    mock_answer_code(mock, SALVO_RESPONSE_MESSAGE_ILLEGAL, "mock: %s", why);
    return false;
}

static bool send_check_sizes(struct salvo_mock *mock, const struct send *s)
{
    if (mock->request.frame.body_size <= mock->conf.body_size_max &&
        s->fields.properties.size + SEND_PROPERTIES_ADDED <= SEND_PROPERTIES_MAX)
        return true;
    if (send_is_5(mock))
        mock_answer_code(
            mock, SALVO_RESPONSE_MESSAGE_ILLEGAL,
            "the message is illegal, maybe msg body or properties length not matched. msg "
            "body length limit %uB, msg properties length limit 32767B.",
            mock->conf.body_size_max);
    else
        mock_answer_code(
            mock, SALVO_RESPONSE_MESSAGE_ILLEGAL,
            "the message is illegal, maybe msg body or properties length not matched. msg "
            "body length limit 128k, msg properties length limit 32k.");
    return false;
}

/* Pairs of name 0x01 value 0x02, neither empty; the last 0x02 may be missing (4.9.1 to 5.1.4). */
static bool send_properties_well_formed(const uint8_t *at, size_t size)
{
    const uint8_t *end;

    if (size == 0) /* then there may be no bytes to point at */
        return true;
    end = at + size;
    if (!salvo_utf8_valid(at, size))
        return false;
    while (at < end) {
        const uint8_t *value_end = memchr(at, SALVO_PROPERTY_VALUE_END, (size_t)(end - at));
        const uint8_t *stop = value_end != NULL ? value_end : end;
        const uint8_t *name_end = memchr(at, SALVO_PROPERTY_NAME_END, (size_t)(stop - at));

        if (name_end == NULL || name_end == at || name_end + 1 == stop ||
            memchr(name_end + 1, SALVO_PROPERTY_NAME_END, (size_t)(stop - name_end - 1)) != NULL)
            return false;
        at = value_end != NULL ? value_end + 1 : end;
    }
    return true;
}

/* The body as the application gave it. */
static bool send_inflate(struct salvo_mock *mock, const struct send *s, const uint8_t *body,
                         uint32_t size, const uint8_t **ret_body, uint32_t *ret_size)
{
    ssize_t n;

    *ret_body = body;
    *ret_size = size;
    if (s->compression == SALVO_COMPRESS_NONE)
        return true;
    n = salvo_decompress(s->compression, body, size, mock->inflated, mock->conf.body_size_max);
    if (n < 0)
        return false;
    *ret_body = mock->inflated;
    *ret_size = (uint32_t)n;
    return true;
}

static bool send_check_single(struct salvo_mock *mock, const struct send *s)
{
    const uint8_t *body;
    uint32_t size;

    if (!send_inflate(mock, s, mock->request.frame.body, mock->request.frame.body_size, &body,
                      &size))
        return send_refuse(
            mock, "the body is flagged compressed and does not decompress to a legal size");
    return true;
}

static bool send_check_item(struct salvo_mock *mock, const struct send *s,
                            const struct salvo_batch_item *item)
{
    size_t properties_size = (size_t)item->properties_size + s->fields.properties.size;
    const uint8_t *body;
    uint32_t size;

    if (item->body_size == 0)
        return send_refuse(mock, "a batch item has no body");
    if (properties_size + SEND_PROPERTIES_ADDED > SEND_PROPERTIES_MAX)
        return send_refuse(mock, "the properties of a batch item are too long");
    if (!send_properties_well_formed(item->properties, item->properties_size))
        return send_refuse(mock, "the properties of a batch item are not well formed");
    if (!send_inflate(mock, s, item->body, item->body_size, &body, &size))
        return send_refuse(mock, "the batch is flagged compressed and an item does not decompress");
    return true;
}

static bool send_check_batch(struct salvo_mock *mock, struct send *s)
{
    struct salvo_reader r =
        salvo_reader_over(mock->request.frame.body, mock->request.frame.body_size);
    struct salvo_batch_item item;
    int result;

    if (s->topic->name_size >= 7 && memcmp(s->topic->name, "%RETRY%", 7) == 0) {
        mock_answer_code(mock, SALVO_RESPONSE_MESSAGE_ILLEGAL,
                         "batch request does not support retry group %s", s->topic->name);
        return false;
    }
    while ((result = salvo_batch_item_read(&r, &item)) == 0) {
        if (!send_check_item(mock, s, &item))
            return false;
        s->items++;
    }
    if (result != -ENOENT || s->items == 0) {
        mock_answer_code(
            mock, SALVO_RESPONSE_SYSTEM_ERROR,
            "java.lang.ArrayIndexOutOfBoundsException: the batch body does not decode");
        return false;
    }
    if ((size_t)s->items * (SALVO_OFFSET_MSG_ID_SIZE_MAX + 1) > MOCK_ANSWER_MAX / 2)
        return send_refuse(mock, "the batch has more items than an answer can list");
    return true;
}

static bool send_check_message(struct salvo_mock *mock, struct send *s)
{
    struct salvo_text properties = s->fields.properties;

    if (!send_check_sizes(mock, s))
        return false;
    if (!send_properties_well_formed((const uint8_t *)properties.text, properties.size))
        return send_refuse(mock, "the properties are not well formed");
    if (s->fields.sysFlag & SALVO_SYSFLAG_COMPRESSED &&
        salvo_compression_of_sysflag(s->fields.sysFlag, &s->compression))
        return send_refuse(mock, "the sysFlag names a compression type nobody defined");
    if (s->fields.batch)
        return send_check_batch(mock, s);
    return mock->request.frame.body_size == 0 || send_check_single(mock, s);
}

/* --- storing ---------------------------------------------------------------------------------- */

/* Writes the offset message id: address, port, commit-log offset. */
static void send_write_msg_id(struct salvo_mock *mock, const struct send *s,
                              int64_t commit_log_offset)
{
    const struct salvo_endpoint *at = &mock->hosts[mock->conf.nameservers + s->broker].endpoint;
    uint8_t tail[12];

    if (at->any.sa_family == AF_INET6) {
        salvo_write_hex(&mock->text, &at->v6.sin6_addr, 16);
        salvo_store_be32(tail, ntohs(at->v6.sin6_port));
    } else {
        salvo_write_hex(&mock->text, &at->v4.sin_addr, 4);
        salvo_store_be32(tail, ntohs(at->v4.sin_port));
    }
    salvo_store_be64(tail + 4, (uint64_t)commit_log_offset);
    salvo_write_hex(&mock->text, tail, sizeof(tail));
}

static void send_set_key(struct salvo_mock_stored *record, struct salvo_text key)
{
    record->uniq_key_size = (uint8_t)SALVO_MIN(key.size, SALVO_UNIQ_KEY_SIZE_MAX);
    if (key.text != NULL)
        memcpy(record->uniq_key, key.text, record->uniq_key_size);
    record->uniq_key[record->uniq_key_size] = '\0';
}

/* Stores one message and writes its id. */
static void send_store(struct salvo_mock *mock, const struct send *s,
                       const struct salvo_batch_item *item, struct salvo_text key)
{
    struct mock_broker *broker = &mock->brokers[s->broker];
    struct salvo_mock_stored record = {
        .broker = s->broker,
        .queue = (int32_t)s->queue,
        .offset = s->part->offsets[s->queue]++,
        .commit_log_offset = broker->commit_log_offset,
        .properties_size = item->properties_size,
        .sysFlag = s->fields.sysFlag,
        .flag = item->flag,
        .bornTimestamp = s->fields.bornTimestamp,
        .topic = (uint16_t)(s->topic - mock->topics),
        .batch = s->fields.batch,
    };
    const uint8_t *body = item->body;
    uint32_t size = item->body_size;

    if (size > 0)
        (void)send_inflate(mock, s, item->body, item->body_size, &body,
                           &size);     /* went well before */
    if (mock->store.records != NULL) { /* else nobody can ask for them */
        record.body_digest = salvo_mock_digest(body, size);
        record.properties_digest = salvo_mock_digest(item->properties, item->properties_size);
    }
    record.body_size = size;
    send_set_key(&record, key);
    send_write_msg_id(mock, s, broker->commit_log_offset);
    broker->commit_log_offset += SEND_RECORD_SIZE + item->body_size + s->topic->name_size +
                                 item->properties_size + SEND_PROPERTIES_ADDED;
    mock_store_add(mock, &record);
}

static struct salvo_text send_key(const void *properties, size_t size)
{
    return salvo_property_find(properties, size, "UNIQ_KEY");
}

/* Returns the transactionId for the answer. */
static struct salvo_text send_store_single(struct salvo_mock *mock, const struct send *s)
{
    struct salvo_text properties = s->fields.properties;
    struct salvo_text key = send_key(properties.text, properties.size);
    struct salvo_batch_item item = {
        .flag = s->fields.flag,
        .body = mock->request.frame.body,
        .body_size = mock->request.frame.body_size,
        .properties = (const uint8_t *)properties.text,
        .properties_size = (uint16_t)properties.size, /* at most 32767: checked */
    };

    if (key.size == 0 && send_is_5(mock)) /* the broker makes one, outside of the msgId text */
        key = (struct salvo_text){mock->generated_key,
                                  (uint32_t)snprintf(mock->generated_key,
                                                     sizeof(mock->generated_key), "%032llX",
                                                     (unsigned long long)++mock->generated)};
    send_store(mock, s, &item, key);
    return key;
}

/* From 4.8.0 to 5.3.3 brokers put the header's properties behind each item's, so that a UNIQ_KEY
 * there takes the place of the items' own. */
static struct salvo_text send_store_batch(struct salvo_mock *mock, const struct send *s)
{
    struct salvo_reader r =
        salvo_reader_over(mock->request.frame.body, mock->request.frame.body_size);
    struct salvo_text header_key = send_key(s->fields.properties.text, s->fields.properties.size);
    bool leaks = mock->conf.generation != SALVO_MOCK_4_7_1 && header_key.size > 0;
    struct salvo_batch_item item;

    for (uint32_t i = 0; i < s->items; i++) {
        if (salvo_batch_item_read(&r, &item) != 0)
            salvo_unreachable(); /* all were read before */
        if (i != 0)
            salvo_write_u8(&mock->text, ',');
        send_store(mock, s, &item,
                   leaks ? header_key : send_key(item.properties, item.properties_size));
    }
    return header_key;
}

static void send_accept(struct salvo_mock *mock, const struct send *s)
{
    int64_t first = s->part->offsets[s->queue];
    uint8_t *ids = mock->text.at;
    struct salvo_text key, msg_id;

    mock->stats.batches += s->fields.batch;
    key = s->fields.batch ? send_store_batch(mock, s) : send_store_single(mock, s);
    salvo_assert(!mock->text.failed);
    msg_id = (struct salvo_text){(const char *)ids, (uint32_t)(mock->text.at - ids)};
    mock_answer_add(mock, "msgId", msg_id);
    mock_answer_add(mock, "queueId", mock_answer_number(mock, s->queue));
    mock_answer_add(mock, "queueOffset", mock_answer_number(mock, first));
    if (key.size > 0)
        mock_answer_add(mock, "transactionId", key);
    mock_answer_code(mock, SALVO_RESPONSE_SUCCESS, NULL);
}

/* False: refused. */
static bool send_carry_out(struct salvo_mock *mock)
{
    struct send s = {.broker = mock->hosts[mock->request.conn->host].broker};
    const char *why = "";

    /* A header that lacks a field is only found out when the field is used: a null pointer, code 1.
     */
    if (salvo_send_read(&mock->request.header, &s.fields, &why)) {
        mock_answer_code(mock, SALVO_RESPONSE_SYSTEM_ERROR, "java.lang.NullPointerException: %s",
                         why);
        return false;
    }
    if (mock->request.frame.body_size == 0 && mock->conf.generation != SALVO_MOCK_4_7_1) {
        mock_answer_code(mock, SALVO_RESPONSE_SYSTEM_ERROR,
                         "java.lang.NullPointerException: no body");
        return false;
    }
    if (!send_check_topic(mock, &s) || !send_find_topic(mock, &s) || !send_check_queue(mock, &s) ||
        !send_check_message(mock, &s))
        return false;
    send_accept(mock, &s);
    return true;
}

void mock_send_request(struct salvo_mock *mock)
{
    mock->stats.sends++;
    mock_answer_add(mock, "MSG_REGION", SALVO_TEXT("DefaultRegion"));
    mock_answer_add(mock, "TRACE_ON", SALVO_TEXT("true"));
    if (!send_carry_out(mock))
        mock->stats.refused++;
}
