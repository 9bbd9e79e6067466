/* The JSON header form (RemotingSerializable.java, fastjson).
 *
 * Read: any key order, unknown keys skipped, numbers as strings, ext values of any scalar kind.
 * `code` and `opaque` must be there: without them the frame answers nothing and asks nothing.
 * Written: fastjson's order, which is alphabetical. */
#include "codec/header.h"

#include "base/error.h"
#include "base/json.h"

#include <errno.h>

/* A full ext table takes 96, the other keys 15; the rest is for keys we do not know. 12 KB of
 * stack. */
#define TOKENS_MAX 512

/* What a read works on. */
struct json_header {
    struct salvo_json json;
    const char *text;
    struct salvo_writer scratch; /* unescaped texts */
    struct salvo_header *header;
};

/* A scalar token's text, unescaped into scratch where need be; absent for null and for nested
 * values. */
static int json_text(struct json_header *j, uint32_t index, struct salvo_text *ret_text)
{
    const struct salvo_json_token *token = &j->json.tokens[index];
    ssize_t size;

    switch (token->kind) {
    case SALVO_JSON_NULL:
    case SALVO_JSON_ARRAY:
    case SALVO_JSON_OBJECT:
        *ret_text = (struct salvo_text){0};
        return 0;
    case SALVO_JSON_BOOL:
    case SALVO_JSON_NUMBER:
    case SALVO_JSON_STRING:
        break;
    }
    if (token->kind != SALVO_JSON_STRING || !token->escaped) {
        *ret_text = (struct salvo_text){j->text + token->start, token->size};
        return 0;
    }
    size = salvo_json_string(&j->json, index, j->scratch.at, salvo_writer_room(&j->scratch));
    if (size < 0)
        return salvo_raise(-EBADMSG);
    *ret_text = (struct salvo_text){(const char *)j->scratch.at, (uint32_t)size};
    j->scratch.at += size;
    return 0;
}

/* A number, or a string that holds one, that fits 32 bits. */
static int json_int32(const struct json_header *j, uint32_t index, int32_t *ret_value)
{
    int64_t value;

    if (salvo_json_integer(&j->json, index, &value) || value < INT32_MIN || value > INT32_MAX)
        return salvo_raise(-EBADMSG);
    *ret_value = (int32_t)value;
    return 0;
}

static int json_language(struct json_header *j, uint32_t index, int32_t *ret_language)
{
    struct salvo_text name;
    int64_t ordinal;
    int r;

    if (!salvo_json_integer(&j->json, index, &ordinal)) {
        *ret_language =
            ordinal < 0 || ordinal > UINT8_MAX ? SALVO_LANGUAGE_OTHER : (int32_t)ordinal;
        return 0;
    }
    r = json_text(j, index, &name);
    if (r)
        return salvo_trace(r);
    *ret_language =
        name.text == NULL ? SALVO_LANGUAGE_OTHER : salvo_language_number(name.text, name.size);
    return 0;
}

static int json_ext(struct json_header *j, uint32_t object)
{
    const struct salvo_json_token *tokens = j->json.tokens;
    uint32_t key = object + 1;

    if (tokens[object].kind == SALVO_JSON_NULL)
        return 0;
    if (tokens[object].kind != SALVO_JSON_OBJECT)
        return salvo_raise(-EBADMSG);
    j->header->has_ext = true;
    for (uint32_t i = 0; i < tokens[object].children; i++) {
        struct salvo_ext_field field;
        int r;

        r = json_text(j, key, &field.key);
        if (r)
            return salvo_trace(r);
        r = json_text(j, key + 1, &field.value);
        if (r)
            return salvo_trace(r);
        key = tokens[key + 1].next;
        if (field.value.text == NULL)
            continue;
        if (j->header->ext_count == SALVO_EXT_FIELDS_MAX)
            return salvo_raise(-EBADMSG);
        j->header->ext[j->header->ext_count++] = field;
    }
    return 0;
}

/* One top-level pair; the last of equal keys wins, as in Java. */
static int json_pair(struct json_header *j, uint32_t key, bool *has_code, bool *has_opaque)
{
    const struct salvo_json *json = &j->json;
    struct salvo_header *header = j->header;
    uint32_t value = key + 1;

    if (salvo_json_equals(json, key, "code")) {
        *has_code = true;
        return json_int32(j, value, &header->code);
    }
    if (salvo_json_equals(json, key, "opaque")) {
        *has_opaque = true;
        return json_int32(j, value, &header->opaque);
    }
    if (salvo_json_equals(json, key, "flag"))
        return json_int32(j, value, &header->flag);
    if (salvo_json_equals(json, key, "version"))
        return json_int32(j, value, &header->version);
    if (salvo_json_equals(json, key, "language"))
        return json_language(j, value, &header->language);
    if (salvo_json_equals(json, key, "remark"))
        return json_text(j, value, &header->remark);
    if (salvo_json_equals(json, key, "extFields")) {
        header->ext_count = 0;
        return json_ext(j, value);
    }
    return 0;
}

int salvo_header_json_read(struct salvo_header *ret_header, const void *bytes, size_t size,
                           void *scratch, size_t scratch_size)
{
    struct salvo_json_token tokens[TOKENS_MAX];
    struct salvo_header header;
    struct json_header j = {.text = bytes, .header = &header};
    bool has_code = false, has_opaque = false;
    uint32_t key = 1;

    j.scratch = salvo_writer_over(scratch, scratch_size);
    header.language = SALVO_LANGUAGE_JAVA;
    header.version = 0;
    header.flag = 0;
    header.remark = (struct salvo_text){0};
    header.has_ext = false;
    header.ext_count = 0;

    if (salvo_json_parse(&j.json, bytes, size, tokens, TOKENS_MAX, NULL))
        return salvo_raise(-EBADMSG);
    if (tokens[0].kind != SALVO_JSON_OBJECT)
        return salvo_raise(-EBADMSG);
    for (uint32_t i = 0; i < tokens[0].children; i++) {
        int r = json_pair(&j, key, &has_code, &has_opaque);

        if (r)
            return salvo_trace(r);
        key = tokens[key + 1].next;
    }
    if (!has_code || !has_opaque)
        return salvo_raise(-EBADMSG);
    *ret_header = header;
    return 0;
}

static void json_write_ext(struct salvo_writer *w, const struct salvo_header *header)
{
    bool first = true;

    salvo_write_text(w, ",\"extFields\":{");
    for (uint32_t i = 0; i < header->ext_count; i++) {
        const struct salvo_ext_field *field = &header->ext[i];

        if (field->key.text == NULL || field->value.text == NULL)
            continue;
        if (!first)
            salvo_write_u8(w, ',');
        first = false;
        salvo_json_write_string(w, field->key.text, field->key.size);
        salvo_write_u8(w, ':');
        salvo_json_write_string(w, field->value.text, field->value.size);
    }
    salvo_write_u8(w, '}');
}

void salvo_header_json_write(struct salvo_writer *w, const struct salvo_header *header)
{
    salvo_write_text(w, "{\"code\":");
    salvo_write_decimal(w, header->code);
    if (header->has_ext || header->ext_count > 0)
        json_write_ext(w, header);
    salvo_write_text(w, ",\"flag\":");
    salvo_write_decimal(w, header->flag);
    salvo_write_text(w, ",\"language\":\"");
    salvo_write_text(w, salvo_language_name(header->language));
    salvo_write_text(w, "\",\"opaque\":");
    salvo_write_decimal(w, header->opaque);
    if (header->remark.text != NULL) {
        salvo_write_text(w, ",\"remark\":");
        salvo_json_write_string(w, header->remark.text, header->remark.size);
    }
    salvo_write_text(w, ",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
    salvo_write_decimal(w, header->version);
    salvo_write_u8(w, '}');
}
