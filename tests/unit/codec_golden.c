/* Every frame in tests/golden, which RocketMQ's own encoder made, in both directions: what it was
 * made from is read out of it, and writing that again gives the same bytes.
 *
 * Not byte for byte, but of the same size and the same fields:
 *  - sends in V1 names: Java writes them in the order of a HashMap, we in the order of the class
 *  - JSON text where Java escapes what need not be escaped (0x7f, U+0085, U+2028), and hex digits
 * above 9, which are upper case there
 *  - binary fields and remarks that are empty: Java writes a size of zero, which it then reads as
 * null; we leave fields out */
#include "tests/unit/unit.h"

#include "codec/heartbeat.h"
#include "codec/message.h"
#include "codec/route_data.h"
#include "codec/send.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>

#define LINES_MAX  256
#define TOKENS_MAX 4096

struct line {
    char *key;
    uint8_t *value;
    size_t size;
};

struct golden {
    char name[1024];
    struct line lines[LINES_MAX];
    size_t lines_count;
    uint8_t *frame;
    size_t frame_size;
};

static const char *golden_folder(void)
{
    const char *folder = getenv("SALVO_GOLDEN");

    return folder != NULL ? folder : SALVO_SOURCE_ROOT "/tests/golden";
}

static size_t unhex(const char *text, uint8_t *bytes)
{
    size_t size = 0;

    for (unsigned value; sscanf(text + 2 * size, "%2x", &value) == 1; size++)
        bytes[size] = (uint8_t)value;
    return size;
}

/* "key: value", "key-hex: 00ff", "body: pattern:N" */
static void golden_line(struct golden *g, char *text)
{
    struct line *line = &g->lines[g->lines_count++];
    char *colon = strchr(text, ':'), *value;
    size_t key_size;

    assert_non_null(colon);
    assert_true(g->lines_count < LINES_MAX);
    *colon = '\0';
    value = colon[1] == ' ' ? colon + 2 : colon + 1;
    line->key = strdup(text);
    key_size = strlen(line->key);
    line->value = malloc(strlen(value) + 1);
    if (strncmp(value, "pattern:", 8) == 0) {
        line->size = strtoul(value + 8, NULL, 10);
        line->value = realloc(line->value, line->size);
        for (size_t i = 0; i < line->size; i++)
            line->value[i] = (uint8_t)(i * 31 + 7);
    } else if (key_size > 4 && strcmp(line->key + key_size - 4, "-hex") == 0) {
        line->key[key_size - 4] = '\0';
        line->size = unhex(value, line->value);
    } else if (strcmp(line->key, "body") == 0 || strstr(line->key, ".body") != NULL) {
        line->size = unhex(value, line->value);
    } else {
        line->size = strlen(value);
        memcpy(line->value, value, line->size);
    }
}

static bool golden_load(struct golden *g, const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = NULL;
    size_t room = 0;
    ssize_t size;

    *g = (struct golden){0};
    snprintf(g->name, sizeof(g->name), "%s", path);
    if (file == NULL)
        return false;
    while ((size = getline(&text, &room, file)) > 0) {
        if (text[size - 1] == '\n')
            text[--size] = '\0';
        if (text[0] == '#') {
            golden_line(g, text + 2);
        } else {
            g->frame = realloc(g->frame, g->frame_size + (size_t)size / 2 + 1);
            g->frame_size += unhex(text, g->frame + g->frame_size);
        }
    }
    free(text);
    fclose(file);
    return true;
}

static void golden_free(struct golden *g)
{
    for (size_t i = 0; i < g->lines_count; i++) {
        free(g->lines[i].key);
        free(g->lines[i].value);
    }
    free(g->frame);
}

static const struct line *golden_find(const struct golden *g, const char *key)
{
    for (size_t i = 0; i < g->lines_count; i++) {
        if (strcmp(g->lines[i].key, key) == 0)
            return &g->lines[i];
    }
    return NULL;
}

static int64_t golden_integer(const struct golden *g, const char *key)
{
    const struct line *line = golden_find(g, key);
    int64_t value = 0;

    assert_non_null(line);
    assert_int_equal(salvo_parse_decimal((const char *)line->value, line->size, &value), 0);
    return value;
}

static bool golden_is(const struct golden *g, const char *key, const char *value)
{
    const struct line *line = golden_find(g, key);

    return line != NULL && line->size == strlen(value) &&
           memcmp(line->value, value, line->size) == 0;
}

static bool golden_named(const struct golden *g, const char *part)
{
    const char *name = strrchr(g->name, '/');

    return strstr(name == NULL ? g->name : name, part) != NULL;
}

/* True when a value of the frame is empty: see the top. */
static bool golden_has_empty(const struct golden *g)
{
    for (size_t i = 0; i < g->lines_count; i++) {
        if (g->lines[i].size == 0 && strncmp(g->lines[i].key, "ext.", 4) == 0)
            return true;
    }
    return false;
}

/* Bytes that Java escapes otherwise than we do. */
static bool escaped_otherwise(const struct line *line)
{
    for (size_t i = 0; i < line->size; i++) {
        uint8_t c = line->value[i];

        if (c == 0x7f || c == 0xc2 || c == 0xe2 || (c < 0x20 && (c & 0x0f) > 9))
            return true;
    }
    return false;
}

static bool golden_escapes_otherwise(const struct golden *g)
{
    if (!golden_is(g, "form", "json"))
        return false;
    for (size_t i = 0; i < g->lines_count; i++) {
        const struct line *line = &g->lines[i];

        if (strncmp(line->key, "ext.", 4) == 0 || strcmp(line->key, "remark") == 0) {
            if (escaped_otherwise(line))
                return true;
        }
    }
    return false;
}

static struct salvo_text text_of(const struct line *line)
{
    if (line == NULL)
        return (struct salvo_text){0};
    return (struct salvo_text){(const char *)line->value, (uint32_t)line->size};
}

static void check_text(const char *what, struct salvo_text text, struct salvo_text expected)
{
    if (text.text == NULL && expected.size == 0)
        return; /* binary: empty is null */
    if (text.size != expected.size || memcmp(text.text, expected.text, text.size) != 0)
        fail_msg("%s: '%.*s' is not '%.*s'", what, (int)text.size, text.text, (int)expected.size,
                 expected.text);
}

/* --- headers ---------------------------------------------------------------------------------- */

static struct salvo_header header_expected(const struct golden *g)
{
    const struct line *language = golden_find(g, "language");
    struct salvo_header header = {0};

    header.code = (int32_t)golden_integer(g, "code");
    header.version = (int32_t)golden_integer(g, "version");
    header.opaque = (int32_t)golden_integer(g, "opaque");
    header.flag = (int32_t)golden_integer(g, "flag");
    header.language = salvo_language_number((const char *)language->value, language->size);
    header.remark = text_of(golden_find(g, "remark"));
    for (size_t i = 0; i < g->lines_count; i++) {
        if (strncmp(g->lines[i].key, "ext.", 4) == 0)
            assert_true(salvo_header_add(&header, g->lines[i].key + 4, text_of(&g->lines[i])));
    }
    return header;
}

static void check_header(const struct golden *g, const struct salvo_header *header,
                         const struct salvo_header *expected, bool binary)
{
    uint32_t at = 0;

    assert_int_equal(header->code, expected->code);
    assert_int_equal(header->version, expected->version);
    assert_int_equal(header->opaque, expected->opaque);
    assert_int_equal(header->flag, expected->flag);
    assert_int_equal(header->language, expected->language);
    check_text("remark", header->remark, expected->remark);
    for (uint32_t i = 0; i < expected->ext_count; i++) {
        if (binary && expected->ext[i].value.size == 0)
            continue;
        assert_true(at < header->ext_count);
        check_text("key", header->ext[at].key, expected->ext[i].key);
        check_text("value", header->ext[at].value, expected->ext[i].value);
        at++;
    }
    assert_int_equal(at, header->ext_count);
}

static void check_written(const struct golden *g, const struct salvo_frame *frame,
                          struct salvo_header expected, bool has_ext)
{
    const struct line *body = golden_find(g, "body");
    uint8_t *bytes = malloc(g->frame_size + 1);
    struct salvo_header again;
    uint8_t scratch[4096];
    ssize_t size;

    expected.has_ext = has_ext; /* the one thing the golden files do not say */
    if (golden_is(g, "form", "json") && golden_escapes_otherwise(g)) {
        size = salvo_frame_write(bytes, g->frame_size, frame->form, &expected, body->value,
                                 (uint32_t)body->size);
        assert_true(size > 0 && (size_t)size <= g->frame_size);
        assert_int_equal(salvo_header_read(&again, frame->form, bytes + 8,
                                           (size_t)size - 8 - body->size, scratch, sizeof(scratch)),
                         0);
        check_header(g, &again, &expected, false);
    } else {
        size = salvo_frame_write(bytes, g->frame_size, frame->form, &expected, body->value,
                                 (uint32_t)body->size);
        if (frame->form == SALVO_HEADER_BINARY && golden_has_empty(g)) {
            assert_true(size > 0 && (size_t)size < g->frame_size);
        } else {
            assert_int_equal(size, g->frame_size);
            assert_memory_equal(bytes, g->frame, g->frame_size);
        }
    }
    free(bytes);
}

/* --- sends ------------------------------------------------------------------------------------ */

static void check_template(const struct golden *g, const struct salvo_send_fields *fields,
                           const struct salvo_frame *frame, const struct salvo_header *header)
{
    bool oneway = header->flag == SALVO_REMOTING_ONEWAY;
    int32_t opaque = header->opaque;
    struct salvo_born born = {0};
    struct salvo_send_template template;
    uint8_t *general, *templated;
    size_t room, size;

    if (fields->properties.text == NULL)
        return; /* a template always has some */
    assert_int_equal(salvo_send_template_init(&template, frame->form, fields, oneway), 0);
    room = salvo_send_template_bound(&template, fields->properties.size);
    general = malloc(room);
    templated = malloc(room);
    if (frame->form == SALVO_HEADER_JSON && opaque < 1000000000)
        opaque = 1234567890; /* a template's is ten digits wide */
    salvo_born_set(&born, fields->bornTimestamp);
    size = salvo_send_template_write(&template, templated, opaque, &born, fields->properties.text,
                                     fields->properties.size, frame->body_size);
    assert_int_equal(
        salvo_send_write(general, room, frame->form, fields, opaque, oneway, frame->body_size),
        size);
    assert_memory_equal(general, templated, size);
    free(general);
    free(templated);
}

static void check_send(const struct golden *g, const struct salvo_frame *frame,
                       const struct salvo_header *header)
{
    size_t head_size = frame->size - frame->body_size;
    bool oneway = header->flag == SALVO_REMOTING_ONEWAY;
    struct salvo_send_fields fields;
    const char *why = "";
    uint8_t *bytes;
    ssize_t size;

    if (salvo_send_read(header, &fields, &why))
        fail_msg("%s", why);
    bytes = malloc(head_size);
    size = salvo_send_write(bytes, head_size, frame->form, &fields, header->opaque, oneway,
                            frame->body_size);
    if (golden_named(g, "-acl-")) {
        assert_true(size > 0); /* signed: has more fields than a send, and twice */
    } else if (golden_escapes_otherwise(g) ||
               (frame->form == SALVO_HEADER_BINARY && golden_has_empty(g))) {
        assert_true(size > 0 && (size_t)size <= head_size);
    } else {
        assert_int_equal(size, head_size);
        if (header->code != SALVO_REQUEST_SEND_MESSAGE)
            assert_memory_equal(bytes, g->frame, head_size);
    }
    free(bytes);
    check_template(g, &fields, frame, header);
}

static void check_batch(const struct golden *g, const struct salvo_frame *frame)
{
    struct salvo_reader r = salvo_reader_over(frame->body, frame->body_size);
    uint8_t *bytes = malloc(frame->body_size);
    struct salvo_writer w = salvo_writer_over(bytes, frame->body_size);
    int64_t count = golden_integer(g, "batch-count");
    struct salvo_batch_item item;

    for (int64_t i = 0; i < count; i++) {
        char key[64];

        assert_int_equal(salvo_batch_item_read(&r, &item), 0);
        snprintf(key, sizeof(key), "item.%d.flag", (int)i);
        assert_int_equal(item.flag, golden_integer(g, key));
        snprintf(key, sizeof(key), "item.%d.body", (int)i);
        check_text(key, (struct salvo_text){(const char *)item.body, item.body_size},
                   text_of(golden_find(g, key)));
        snprintf(key, sizeof(key), "item.%d.properties", (int)i);
        check_text(key, (struct salvo_text){(const char *)item.properties, item.properties_size},
                   text_of(golden_find(g, key)));
        salvo_batch_item_write(&w, &item);
    }
    assert_int_equal(salvo_batch_item_read(&r, &item), -ENOENT);
    assert_int_equal(salvo_writer_size(&w), frame->body_size);
    assert_memory_equal(bytes, frame->body, frame->body_size);
    free(bytes);
}

/* --- answers, heartbeats, routes -------------------------------------------------------------- */

static void check_answer(const struct golden *g, const struct salvo_frame *frame)
{
    struct salvo_send_answer answer;

    assert_int_equal(salvo_send_answer_read(&answer, frame), 0);
    assert_int_equal(answer.code, golden_integer(g, "code"));
    assert_int_equal(answer.opaque, golden_integer(g, "opaque"));
    assert_int_equal(answer.flag, golden_integer(g, "flag"));
    assert_int_equal(answer.version, golden_integer(g, "version"));
    check_text("transactionId", answer.transactionId, text_of(golden_find(g, "ext.transactionId")));
    check_text("recallHandle", answer.recallHandle, text_of(golden_find(g, "ext.recallHandle")));
    check_text("msgId", answer.msgId, text_of(golden_find(g, "ext.msgId")));
    assert_int_equal(answer.trace_off, golden_is(g, "ext.TRACE_ON", "false"));
    if (golden_find(g, "ext.queueOffset") == NULL) {
        assert_false(answer.has_offset);
        return;
    }
    assert_true(answer.has_offset);
    assert_int_equal(answer.queueId, golden_integer(g, "ext.queueId"));
    assert_int_equal(answer.queueOffset, golden_integer(g, "ext.queueOffset"));
}

static void check_heartbeat(const struct golden *g, const struct salvo_frame *frame)
{
    uint8_t *bytes = malloc(frame->body_size);
    struct salvo_writer w = salvo_writer_over(bytes, frame->body_size);
    struct salvo_text client_id, groups[16];
    uint32_t groups_count;

    assert_int_equal(
        salvo_heartbeat_read(frame->body, frame->body_size, &client_id, groups, 16, &groups_count),
        0);
    if (golden_named(g, "heartbeat-utf8")) { /* read as written: its escapes are still there */
        assert_int_equal(groups_count, 1);
        assert_true(salvo_text_equals(groups[0], "gr\xc3\xbcn \\\"\xf0\x9f\x9a\x80\\\""));
        groups[0] = salvo_text_of("gr\xc3\xbcn \"\xf0\x9f\x9a\x80\"");
    }
    salvo_heartbeat_write(&w, client_id, groups, groups_count, golden_is(g, "rocketmq", "5.3.3"));
    assert_false(w.failed);
    assert_int_equal(salvo_writer_size(&w), frame->body_size);
    assert_memory_equal(bytes, frame->body, frame->body_size);
    free(bytes);
}

static void check_route(const struct golden *g, const struct salvo_frame *frame)
{
    static struct salvo_route_data route, again;
    static struct salvo_json_token tokens[TOKENS_MAX];
    static uint8_t bytes[65536];
    struct salvo_writer w = salvo_writer_over(bytes, sizeof(bytes));
    const char *why = "";

    if (salvo_route_data_read(&route, frame->body, frame->body_size, tokens, TOKENS_MAX, &why))
        fail_msg("%s", why);
    salvo_route_data_write(&w, &route, false);
    assert_false(w.failed);
    if (golden_named(g, "standard-one-broker-5.3.3") ||
        golden_named(g, "standard-no-queues-5.3.3")) {
        assert_int_equal(salvo_writer_size(&w), frame->body_size);
        assert_memory_equal(bytes, frame->body, frame->body_size);
    }
    assert_int_equal(
        salvo_route_data_read(&again, bytes, salvo_writer_size(&w), tokens, TOKENS_MAX, &why), 0);
    assert_int_equal(again.brokers_count, route.brokers_count);
    assert_int_equal(again.queue_datas_count, route.queue_datas_count);
    assert_memory_equal(again.queue_datas, route.queue_datas,
                        route.queue_datas_count * sizeof(route.queue_datas[0]));
    assert_string_equal(again.orderTopicConf, route.orderTopicConf);
}

static void check_file(const struct golden *g)
{
    struct salvo_header expected = header_expected(g), header;
    uint8_t *scratch = malloc(g->frame_size);
    struct salvo_frame frame;
    const char *why = "";

    assert_int_equal(salvo_frame_parse(g->frame, g->frame_size, SALVO_FRAME_SIZE_MAX, &frame, &why),
                     0);
    assert_int_equal(frame.size, golden_integer(g, "frame-size"));
    assert_int_equal(frame.form == SALVO_HEADER_BINARY, golden_is(g, "form", "binary"));
    check_text("body", (struct salvo_text){(const char *)frame.body, frame.body_size},
               text_of(golden_find(g, "body")));
    assert_int_equal(salvo_header_read(&header, frame.form, frame.header, frame.header_size,
                                       scratch, g->frame_size),
                     0);
    check_header(g, &header, &expected, frame.form == SALVO_HEADER_BINARY);
    check_written(g, &frame, expected, header.has_ext);

    if ((header.flag & SALVO_REMOTING_RESPONSE) != 0)
        check_answer(g, &frame);
    else if (header.code == SALVO_REQUEST_HEART_BEAT)
        check_heartbeat(g, &frame);
    else if (header.code == SALVO_REQUEST_SEND_MESSAGE ||
             header.code == SALVO_REQUEST_SEND_MESSAGE_V2 ||
             header.code == SALVO_REQUEST_SEND_BATCH_MESSAGE)
        check_send(g, &frame, &header);
    if (golden_find(g, "batch-count") != NULL)
        check_batch(g, &frame);
    if (golden_named(g, "response-route-"))
        check_route(g, &frame);
    free(scratch);
}

static void every_golden_frame_reads_and_writes(void **state)
{
    DIR *folder = opendir(golden_folder());
    struct dirent *entry;
    unsigned count = 0;

    assert_non_null(folder);
    while ((entry = readdir(folder)) != NULL) {
        size_t size = strlen(entry->d_name);
        struct golden g;
        char path[1024];

        if (size < 4 || strcmp(entry->d_name + size - 4, ".hex") != 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", golden_folder(), entry->d_name);
        assert_true(golden_load(&g, path));
        if (getenv("SALVO_VERBOSE") != NULL)
            print_message("%s\n", entry->d_name);
        check_file(&g);
        golden_free(&g);
        count++;
    }
    closedir(folder);
    print_message("%u frames\n", count);
    assert_true(count >= 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_golden_frame_reads_and_writes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
