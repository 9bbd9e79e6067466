/* Names for numbers: RequestCode.java, ResponseCode.java, SendMessageRequestHeaderV2.java. */
#include "cmd/frame.h"

struct names_entry {
    int32_t code;
    const char *name;
};

#define NAME(kind, name)                                                                           \
    {                                                                                              \
        SALVO_##kind##_##name, #name                                                               \
    }

static const struct names_entry names_requests[] = {
    NAME(REQUEST, SEND_MESSAGE),
    NAME(REQUEST, PULL_MESSAGE),
    NAME(REQUEST, GET_MAX_OFFSET),
    NAME(REQUEST, GET_MIN_OFFSET),
    NAME(REQUEST, HEART_BEAT),
    NAME(REQUEST, UNREGISTER_CLIENT),
    NAME(REQUEST, END_TRANSACTION),
    NAME(REQUEST, CHECK_TRANSACTION_STATE),
    NAME(REQUEST, NOTIFY_CONSUMER_IDS_CHANGED),
    NAME(REQUEST, GET_ROUTEINFO_BY_TOPIC),
    NAME(REQUEST, GET_BROKER_CLUSTER_INFO),
    NAME(REQUEST, SEND_MESSAGE_V2),
    NAME(REQUEST, SEND_BATCH_MESSAGE),
    NAME(REQUEST, PUSH_REPLY_MESSAGE_TO_CLIENT),
    /* Seen on a broker's connections, and of no use to a sender. */
    {12, "QUERY_MESSAGE"},
    {14, "QUERY_CONSUMER_OFFSET"},
    {15, "UPDATE_CONSUMER_OFFSET"},
    {17, "UPDATE_AND_CREATE_TOPIC"},
    {29, "SEARCH_OFFSET_BY_TIMESTAMP"},
    {33, "VIEW_MESSAGE_BY_ID"},
    {36, "CONSUMER_SEND_MSG_BACK"},
    {38, "GET_CONSUMER_LIST_BY_GROUP"},
    {41, "LOCK_BATCH_MQ"},
    {42, "UNLOCK_BATCH_MQ"},
    {103, "REGISTER_BROKER"},
    {104, "UNREGISTER_BROKER"},
    {206, "GET_ALL_TOPIC_LIST_FROM_NAMESERVER"},
    {322, "QUERY_DATA_VERSION"},
    {324, "SEND_REPLY_MESSAGE"},
    {325, "SEND_REPLY_MESSAGE_V2"},
    {904, "BROKER_HEARTBEAT"},
};

static const struct names_entry names_responses[] = {
    NAME(RESPONSE, SUCCESS),
    NAME(RESPONSE, SYSTEM_ERROR),
    NAME(RESPONSE, SYSTEM_BUSY),
    NAME(RESPONSE, REQUEST_CODE_NOT_SUPPORTED),
    NAME(RESPONSE, FLUSH_DISK_TIMEOUT),
    NAME(RESPONSE, SLAVE_NOT_AVAILABLE),
    NAME(RESPONSE, FLUSH_SLAVE_TIMEOUT),
    NAME(RESPONSE, MESSAGE_ILLEGAL),
    NAME(RESPONSE, SERVICE_NOT_AVAILABLE),
    NAME(RESPONSE, VERSION_NOT_SUPPORTED),
    NAME(RESPONSE, NO_PERMISSION),
    NAME(RESPONSE, TOPIC_NOT_EXIST),
    NAME(RESPONSE, INVALID_PARAMETER),
    NAME(RESPONSE, NO_BUYER_ID),
    NAME(RESPONSE, NOT_IN_CURRENT_UNIT),
    NAME(RESPONSE, FLOW_CONTROL),
    NAME(RESPONSE, NOT_LEADER_FOR_QUEUE),
    NAME(RESPONSE, GO_AWAY),
    {19, "PULL_NOT_FOUND"},
    {20, "PULL_RETRY_IMMEDIATELY"},
    {21, "PULL_OFFSET_MOVED"},
    {22, "QUERY_NOT_FOUND"},
};

static const char *const names_send_fields[] = {
    "producerGroup", "topic",          "defaultTopic",  "defaultTopicQueueNums",
    "queueId",       "sysFlag",        "bornTimestamp", "flag",
    "properties",    "reconsumeTimes", "unitMode",      "maxReconsumeTimes",
    "batch",         "brokerName",
};

static const char *names_find(const struct names_entry *entries, size_t count, int32_t code)
{
    for (size_t i = 0; i < count; i++) {
        if (entries[i].code == code)
            return entries[i].name;
    }
    return "unknown";
}

const char *frame_request_name(int32_t code)
{
    return names_find(names_requests, SALVO_ARRAY_LENGTH(names_requests), code);
}

const char *frame_response_name(int32_t code)
{
    return names_find(names_responses, SALVO_ARRAY_LENGTH(names_responses), code);
}

const char *frame_send_field_name(struct salvo_text key)
{
    if (key.size != 1 || key.text[0] < 'a')
        return NULL;
    if ((size_t)(key.text[0] - 'a') >= SALVO_ARRAY_LENGTH(names_send_fields))
        return NULL;
    return names_send_fields[key.text[0] - 'a'];
}
