/* A broker's requests other than sends: heartbeats and groups, offsets. ClientManageProcessor.java,
 * AdminBrokerProcessor.java. */
#include "mock/mock_internal.h"
#include "codec/heartbeat.h"

static void broker_group_add(struct mock_conn *conn, struct salvo_text group)
{
    uint64_t digest = salvo_mock_digest(group.text, group.size);

    for (uint32_t i = 0; i < conn->groups_count; i++) {
        if (conn->groups[i] == digest)
            return;
    }
    if (conn->groups_count < MOCK_GROUPS_MAX)
        conn->groups[conn->groups_count++] = digest;
}

static void broker_group_remove(struct mock_conn *conn, struct salvo_text group)
{
    uint64_t digest = salvo_mock_digest(group.text, group.size);

    for (uint32_t i = 0; i < conn->groups_count; i++) {
        if (conn->groups[i] == digest)
            conn->groups[i] = conn->groups[--conn->groups_count];
    }
}

static void broker_heartbeat(struct salvo_mock *mock)
{
    const struct salvo_frame *frame = &mock->request.frame;
    struct salvo_text client_id, groups[MOCK_GROUPS_MAX];
    uint32_t count;
    int r = salvo_heartbeat_read(frame->body, frame->body_size, &client_id, groups, MOCK_GROUPS_MAX,
                                 &count);

    if (r || client_id.text == NULL || client_id.size == 0) {
        mock_answer_code(mock, SALVO_RESPONSE_SYSTEM_ERROR,
                         "mock: the heartbeat body is not the JSON of a HeartbeatData");
        return;
    }
    mock->stats.heartbeats++;
    mock->stats.heartbeats_empty += count == 0;
    for (uint32_t i = 0; i < count; i++)
        broker_group_add(mock->request.conn, groups[i]);
    if (mock->conf.generation == SALVO_MOCK_5_3_3) {
        mock_answer_add(mock, "IS_SUPPORT_HEART_BEAT_V2", SALVO_TEXT("true"));
        mock_answer_add(mock, "IS_SUB_CHANGE", SALVO_TEXT("true"));
    }
    mock_answer_code(mock, SALVO_RESPONSE_SUCCESS, NULL);
}

/* The client is dropped by its id on whatever connection it says so: as on a real broker, its
 * group's mapping goes for that connection. */
static void broker_unregister(struct salvo_mock *mock)
{
    const struct salvo_header *request = &mock->request.header;
    struct salvo_text group = salvo_header_ext(request, "producerGroup");

    if (salvo_header_ext(request, "clientID").text == NULL) {
        mock_answer_code(mock, SALVO_RESPONSE_SYSTEM_ERROR, "the custom field <clientID> is null");
        return;
    }
    mock->stats.unregisters++;
    if (group.text != NULL)
        broker_group_remove(mock->request.conn, group);
    mock_answer_code(mock, SALVO_RESPONSE_SUCCESS, NULL);
}

static void broker_offset(struct salvo_mock *mock, bool max)
{
    const struct salvo_header *request = &mock->request.header;
    uint32_t broker = mock->hosts[mock->request.conn->host].broker;
    struct salvo_text name = salvo_header_ext(request, "topic");
    const struct mock_topic_part *part = NULL;
    const struct mock_topic *topic;
    int64_t queue, offset = 0;

    if (name.text == NULL || salvo_header_ext_integer(request, "queueId", &queue) != 0) {
        mock_answer_code(mock, SALVO_RESPONSE_SYSTEM_ERROR, "the custom field <%s> is null",
                         name.text == NULL ? "topic" : "queueId");
        return;
    }
    topic = mock_topic_find(mock, name.text, name.size);
    if (topic != NULL)
        part = &topic->parts[broker];
    if (max && part != NULL && part->present && queue >= 0 && queue < part->offsets_count)
        offset = part->offsets[queue];
    mock_answer_add(mock, "offset", mock_answer_number(mock, offset));
    mock_answer_code(mock, SALVO_RESPONSE_SUCCESS, NULL);
}

void mock_broker_request(struct salvo_mock *mock)
{
    switch (mock->request.header.code) {
    case SALVO_REQUEST_SEND_MESSAGE:
    case SALVO_REQUEST_SEND_MESSAGE_V2:
    case SALVO_REQUEST_SEND_BATCH_MESSAGE:
        mock_send_request(mock);
        break;
    case SALVO_REQUEST_HEART_BEAT:
        broker_heartbeat(mock);
        break;
    case SALVO_REQUEST_UNREGISTER_CLIENT:
        broker_unregister(mock);
        break;
    case SALVO_REQUEST_GET_MAX_OFFSET:
        broker_offset(mock, true);
        break;
    case SALVO_REQUEST_GET_MIN_OFFSET:
        broker_offset(mock, false);
        break;
    default:
        mock_unknown_code(mock);
    }
}

uint32_t salvo_mock_group_connections(struct salvo_mock *mock, uint32_t broker, const char *group)
{
    uint64_t digest = salvo_mock_digest(group, strlen(group));
    uint32_t count = 0;

    mock_lock(mock);
    for (uint32_t i = 0; i < mock->conf.connections_max; i++) {
        const struct mock_conn *conn = &mock->conns[i];

        if (conn->state != MOCK_CONN_UP || conn->host != mock->conf.nameservers + broker)
            continue;
        for (uint32_t k = 0; k < conn->groups_count; k++)
            count += conn->groups[k] == digest;
    }
    mock_unlock(mock);
    return count;
}
