/* Heartbeat bodies, always JSON whatever the header's form (HeartbeatData.java). */
#include "codec/heartbeat.h"

#include "base/error.h"
#include "base/json.h"

#include <errno.h>

/* A group takes three; the rest is for consumers, whose entries the mock skips. 24 KB of stack. */
#define TOKENS_MAX 1024

void salvo_heartbeat_write(struct salvo_writer *w, struct salvo_text client_id,
                           const struct salvo_text *groups, uint32_t groups_count, bool v5)
{
    salvo_write_text(w, "{\"clientID\":");
    salvo_json_write_string(w, client_id.text, client_id.size);
    salvo_write_text(w, ",\"consumerDataSet\":[]");
    if (v5)
        salvo_write_text(w, ",\"heartbeatFingerprint\":0");
    salvo_write_text(w, ",\"producerDataSet\":[");
    for (uint32_t i = 0; i < groups_count; i++) {
        salvo_write_text(w, i == 0 ? "{\"groupName\":" : ",{\"groupName\":");
        salvo_json_write_string(w, groups[i].text, groups[i].size);
        salvo_write_u8(w, '}');
    }
    salvo_write_u8(w, ']');
    if (v5)
        salvo_write_text(w, ",\"withoutSub\":false");
    salvo_write_u8(w, '}');
}

/* A string's text as written; absent for anything else. */
static struct salvo_text heartbeat_text(const struct salvo_json *json, int32_t index)
{
    if (index < 0 || json->tokens[index].kind != SALVO_JSON_STRING)
        return (struct salvo_text){0};
    return (struct salvo_text){json->text + json->tokens[index].start, json->tokens[index].size};
}

/* The groups of producerDataSet; entries without a name are bad. */
static int heartbeat_groups(const struct salvo_json *json, uint32_t array,
                            struct salvo_text *ret_groups, uint32_t groups_max,
                            uint32_t *ret_groups_count)
{
    uint32_t item = array + 1, count = 0;

    if (json->tokens[array].kind != SALVO_JSON_ARRAY)
        return salvo_raise(-EBADMSG);
    for (uint32_t i = 0; i < json->tokens[array].children && count < groups_max; i++) {
        struct salvo_text group;

        if (json->tokens[item].kind != SALVO_JSON_OBJECT)
            return salvo_raise(-EBADMSG);
        group = heartbeat_text(json, salvo_json_find(json, item, "groupName"));
        if (group.text == NULL)
            return salvo_raise(-EBADMSG);
        ret_groups[count++] = group;
        item = json->tokens[item].next;
    }
    *ret_groups_count = count;
    return 0;
}

int salvo_heartbeat_read(const void *body, size_t size, struct salvo_text *ret_client_id,
                         struct salvo_text *ret_groups, uint32_t groups_max,
                         uint32_t *ret_groups_count)
{
    struct salvo_json_token tokens[TOKENS_MAX];
    struct salvo_json json;
    struct salvo_text client_id;
    int32_t producers;

    if (salvo_json_parse(&json, body, size, tokens, TOKENS_MAX, NULL) ||
        tokens[0].kind != SALVO_JSON_OBJECT)
        return salvo_raise(-EBADMSG);
    client_id = heartbeat_text(&json, salvo_json_find(&json, 0, "clientID"));
    if (client_id.text == NULL)
        return salvo_raise(-EBADMSG);

    producers = salvo_json_find(&json, 0, "producerDataSet");
    if (producers < 0) {
        *ret_groups_count = 0;
    } else {
        int r =
            heartbeat_groups(&json, (uint32_t)producers, ret_groups, groups_max, ret_groups_count);

        if (r)
            return salvo_trace(r);
    }
    *ret_client_id = client_id;
    return 0;
}

/* producerGroup first, as Java's map has it. */
void salvo_unregister_header(struct salvo_header *header, struct salvo_text client_id,
                             struct salvo_text group)
{
    header->code = SALVO_REQUEST_UNREGISTER_CLIENT;
    header->language = SALVO_LANGUAGE_CPP;
    header->version = SALVO_VERSION_V5_3_3;
    header->opaque = 0;
    header->flag = 0;
    header->remark = (struct salvo_text){0};
    header->has_ext = true;
    header->ext_count = 0;
    (void)salvo_header_add(header, "producerGroup", group); /* two of 48 */
    (void)salvo_header_add(header, "clientID", client_id);
}
