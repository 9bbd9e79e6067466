/* mock/mock_send.c: what a broker checks, what it answers, what the mock remembers. */
#include "tests/support/mock_rig.h"

#include "codec/compress.h"

#define KEY        "0A01020310921234ABCD000000010000"
#define PROPERTIES "TAGS\001TagA\002UNIQ_KEY\001" KEY "\002"

static void good_send_is_answered_as_a_broker_does(void **state)
{
    struct salvo_send_fields fields = rig_fields("T", PROPERTIES);
    struct salvo_mock_stored stored;
    struct rig_answer answer;
    struct rig rig;
    struct salvo_offset_msg_id id;
    int64_t number;
    unsigned link;

    rig_open(&rig, state, NULL);
    link = rig_connect(&rig, 1);
    fields.queueId = 2;
    for (int i = 0; i < 2; i++) { /* the second has queueOffset 1 */
        rig_send_message(&rig, link, &fields, 1000000001, "Hello", 5);
        rig_answer_take(&rig, link, &answer);
        assert_int_equal(answer.frame.form, SALVO_HEADER_BINARY);
        assert_int_equal(answer.header.code, 0);
        assert_int_equal(answer.header.opaque, 1000000001);
        assert_int_equal(answer.header.version, 479);
        assert_null(answer.header.remark.text);
        assert_int_equal(salvo_header_ext_integer(&answer.header, "queueId", &number), 0);
        assert_int_equal(number, 2);
        assert_int_equal(salvo_header_ext_integer(&answer.header, "queueOffset", &number), 0);
        assert_int_equal(number, i);
        assert_true(salvo_text_equals(salvo_header_ext(&answer.header, "transactionId"), KEY));
        assert_true(
            salvo_text_equals(salvo_header_ext(&answer.header, "MSG_REGION"), "DefaultRegion"));
        assert_true(salvo_text_equals(salvo_header_ext(&answer.header, "TRACE_ON"), "true"));
        assert_int_equal(salvo_offset_msg_id_read(salvo_header_ext(&answer.header, "msgId"), &id),
                         0);
        assert_int_equal(salvo_mock_stored_at(rig.mock, (uint64_t)i, &stored), 0);
        assert_int_equal(stored.commit_log_offset, id.commit_log_offset);
        rig_answer_free(&answer);
    }
    assert_int_equal(salvo_mock_queue_offset(rig.mock, "T", 0, 2), 2);
    rig_close(&rig);
}

static void stored_messages_are_found_by_id_and_by_queue(void **state)
{
    struct salvo_send_fields fields = rig_fields("T", PROPERTIES);
    struct salvo_mock_stored stored[3];
    struct rig rig;
    unsigned link;

    rig_open(&rig, state, NULL);
    link = rig_connect(&rig, 1);
    fields.flag = 5;
    assert_int_equal(rig_send_code(&rig, link, &fields, "Hello", 5), 0);
    fields.queueId = 3;
    assert_int_equal(rig_send_code(&rig, link, &fields, "Hello again", 11), 0);
    fields.properties = SALVO_TEXT("UNIQ_KEY\001other\002");
    assert_int_equal(rig_send_code(&rig, link, &fields, "x", 1), 0);

    assert_int_equal(salvo_mock_stored_count(rig.mock), 3);
    assert_int_equal(salvo_mock_stored_remembered(rig.mock), 3);
    assert_int_equal(salvo_mock_stored_find(rig.mock, KEY, stored, 3), 2);
    assert_int_equal(stored[0].queue, 0);
    assert_int_equal(stored[0].order, 0);
    assert_int_equal(stored[0].flag, 5);
    assert_int_equal(stored[0].body_size, 5);
    assert_int_equal(stored[0].body_digest, salvo_mock_digest("Hello", 5));
    assert_int_equal(stored[0].properties_digest,
                     salvo_mock_digest(PROPERTIES, sizeof(PROPERTIES) - 1));
    assert_string_equal(stored[0].uniq_key, KEY);
    assert_string_equal(salvo_mock_topic_name(rig.mock, stored[0].topic), "T");
    assert_int_equal(stored[1].queue, 3);
    assert_int_equal(salvo_mock_stored_find(rig.mock, "nobody", stored, 3), 0);
    assert_int_equal(salvo_mock_stored_each(rig.mock, "T", 0, 3, NULL, NULL), 2);
    salvo_mock_stored_clear(rig.mock);
    assert_int_equal(salvo_mock_stored_find(rig.mock, KEY, stored, 3), 0);
    assert_int_equal(rig_send_code(&rig, link, &fields, "x", 1), 0);
    assert_int_equal(salvo_mock_stored_at(rig.mock, 3, stored), 0);
    assert_int_equal(salvo_mock_stored_at(rig.mock, 2, stored), -ENOENT);
    rig_close(&rig);
}

static void memory_that_is_full_counts_what_it_forgets(void **state)
{
    struct salvo_send_fields fields = rig_fields("T", PROPERTIES);
    struct salvo_mock_conf conf;
    struct salvo_mock_stats stats;
    struct rig rig;
    unsigned link;

    rig_conf(&conf);
    conf.remember_max = 2;
    rig_open(&rig, state, &conf);
    link = rig_connect(&rig, 1);
    for (int i = 0; i < 5; i++)
        assert_int_equal(rig_send_code(&rig, link, &fields, "x", 1), 0);
    salvo_mock_stats(rig.mock, &stats);
    assert_int_equal(salvo_mock_stored_remembered(rig.mock), 2);
    assert_int_equal(salvo_mock_stored_count(rig.mock), 5);
    assert_int_equal(stats.forgotten, 3);
    rig_close(&rig);
}

/* One change to a good message, and the code of each generation. */
struct refusal {
    const char *what;
    const char *topic;
    const char *properties;
    int32_t queueId;
    int32_t sysFlag;
    const char *body;
    int32_t code_5;
    int32_t code_4; /* 4.7.1 */
};

static const struct refusal refusals[] = {
    {"good", "T", PROPERTIES, 0, 0, "b", 0, 0},
    {"no properties", "T", "", 0, 0, "b", 0, 0},
    {"blank in the topic", "a b", PROPERTIES, 0, 0, "b", 29, 1},
    {"system topic", "SCHEDULE_TOPIC_XXXX", PROPERTIES, 0, 0, "b", 16, 16},
    {"queue out of range", "T", PROPERTIES, 4, 0, "b", 29, 1},
    {"any queue", "T", PROPERTIES, -1, 0, "b", 0, 0},
    {"no body", "T", PROPERTIES, 0, 0, "", 1, 0},
    {"last separator missing", "T", "TAGS\001x", 0, 0, "b", 0, 0},
    {"property without value", "T", "TAGS\001\002", 0, 0, "b", 13, 13},
    {"property without name", "T", "\001x\002", 0, 0, "b", 13, 13},
    {"property without separator", "T", "TAGS\002", 0, 0, "b", 13, 13},
    {"two separators in a property", "T", "TAGS\001x\001y\002", 0, 0, "b", 13, 13},
    {"empty property", "T", "\002", 0, 0, "b", 13, 13},
    {"properties not UTF-8", "T", "TAGS\001\xff\xfe\002", 0, 0, "b", 13, 13},
    {"compression nobody defined", "T", PROPERTIES, 0, 0x501, "b", 13, 13},
    {"zlib flag, plain body", "T", PROPERTIES, 0, 0x301, "plain", 13, 13},
    {"old zlib flag, plain body", "T", PROPERTIES, 0, 0x1, "plain", 13, 13},
    {"lz4 flag, plain body", "T", PROPERTIES, 0, 0x101, "plain", 13, 13},
    {"zstd flag, plain body", "T", PROPERTIES, 0, 0x201, "plain", 13, 13},
};

static void refusals_of(void **state, enum salvo_mock_generation generation)
{
    struct salvo_mock_conf conf;
    struct rig rig;
    unsigned link;

    rig_conf(&conf);
    conf.generation = generation;
    rig_open(&rig, state, &conf);
    link = rig_connect(&rig, 1);
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(refusals); i++) {
        const struct refusal *c = &refusals[i];
        struct salvo_send_fields fields = rig_fields(c->topic, c->properties);
        uint64_t before = salvo_mock_stored_count(rig.mock);
        int32_t wanted = generation == SALVO_MOCK_5_3_3 ? c->code_5 : c->code_4;
        int32_t code;

        fields.queueId = c->queueId;
        fields.sysFlag = c->sysFlag;
        code = rig_send_code(&rig, link, &fields, c->body, strlen(c->body));
        if (code != wanted)
            fail_msg("%s: code %d, not %d", c->what, code, wanted);
        assert_int_equal(salvo_mock_stored_count(rig.mock) - before, wanted == 0 ? 1 : 0);
    }
    rig_close(&rig);
}

static void each_check_gives_its_code(void **state)
{
    refusals_of(state, SALVO_MOCK_5_3_3);
    refusals_of(state, SALVO_MOCK_4_7_1);
}

static void sizes_are_checked_at_their_limits(void **state)
{
    struct salvo_send_fields fields = rig_fields("T", "");
    struct salvo_mock_conf conf;
    struct rig rig;
    char *text = malloc(40000);
    unsigned link;

    assert_non_null(text);
    rig_conf(&conf);
    conf.body_size_max = 30000;
    rig_open(&rig, state, &conf);
    link = rig_connect(&rig, 1);
    memset(text, 'x', 40000);
    assert_int_equal(rig_send_code(&rig, link, &fields, text, 30000), 0);
    assert_int_equal(rig_send_code(&rig, link, &fields, text, 30001), 13);
    text[1] = '\001';
    text[32767 - 62 - 1] = '\002';
    fields.properties = (struct salvo_text){text, 32767 - 62};
    assert_int_equal(rig_send_code(&rig, link, &fields, "b", 1), 0);
    text[32767 - 62 - 1] = 'x';
    text[32767 - 62] = '\002';
    fields.properties.size++;
    assert_int_equal(rig_send_code(&rig, link, &fields, "b", 1), 13);
    memset(text, 't', 128);
    fields = rig_fields("T", "");
    fields.topic = (struct salvo_text){text, 128};
    assert_int_equal(rig_send_code(&rig, link, &fields, "b", 1), 29);
    fields.topic.size = 127;
    assert_int_equal(rig_send_code(&rig, link, &fields, "b", 1), 0);
    rig_close(&rig);
    free(text);
}

static void topics_are_created_from_the_template(void **state)
{
    struct salvo_send_fields fields = rig_fields("New", PROPERTIES);
    struct salvo_mock_conf conf;
    struct rig rig;
    unsigned link;

    rig_conf(&conf);
    conf.auto_create_queues = 3;
    rig_open(&rig, state, &conf);
    link = rig_connect(&rig, 1);
    fields.queueId = 2; /* min(4 asked for, 3 of the template) */
    assert_int_equal(rig_send_code(&rig, link, &fields, "b", 1), 0);
    fields.queueId = 3;
    assert_int_equal(rig_send_code(&rig, link, &fields, "b", 1), 29);
    fields = rig_fields("New2", PROPERTIES);
    fields.defaultTopicQueueNums = 1;
    fields.queueId = 1;
    assert_int_equal(rig_send_code(&rig, link, &fields, "b", 1), 29);
    fields = rig_fields("New3", PROPERTIES);
    fields.defaultTopic = SALVO_TEXT("NoSuchTemplate");
    assert_int_equal(rig_send_code(&rig, link, &fields, "b", 1), 17);
    fields.defaultTopic = SALVO_TEXT("T"); /* there, but without INHERIT */
    assert_int_equal(rig_send_code(&rig, link, &fields, "b", 1), 17);
    salvo_mock_auto_create(rig.mock, false);
    fields = rig_fields("New4", PROPERTIES);
    assert_int_equal(rig_send_code(&rig, link, &fields, "b", 1), 17);
    salvo_mock_auto_create(rig.mock, true);
    assert_int_equal(rig_send_code(&rig, link, &fields, "b", 1), 0);
    assert_int_equal(salvo_mock_topic_remove(rig.mock, "T", SALVO_MOCK_ALL), 0);
    rig_close(&rig);
}

static void broker_without_write_refuses_order_topics_alone(void **state)
{
    struct salvo_send_fields fields = rig_fields("T", PROPERTIES);
    struct rig rig;
    unsigned link;

    rig_open(&rig, state, NULL);
    link = rig_connect(&rig, 1);
    assert_int_equal(salvo_mock_broker_perm(rig.mock, 0, SALVO_PERM_READ), 0);
    assert_int_equal(rig_send_code(&rig, link, &fields, "b", 1), 0);
    assert_int_equal(salvo_mock_topic_order(rig.mock, "T", true), 0);
    assert_int_equal(rig_send_code(&rig, link, &fields, "b", 1), 16);
    rig_close(&rig);
}

static void compressed_bodies_are_remembered_as_they_were(void **state)
{
    static const enum salvo_compression all[] = {SALVO_COMPRESS_ZLIB, SALVO_COMPRESS_LZ4,
                                                 SALVO_COMPRESS_ZSTD};
    struct salvo_send_fields fields = rig_fields("T", PROPERTIES);
    struct salvo_mock_stored stored;
    struct rig rig;
    char body[4096], small[4096];
    unsigned link;

    rig_open(&rig, state, NULL);
    link = rig_connect(&rig, 1);
    memset(body, 'a', sizeof(body));
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(all); i++) {
        struct salvo_compressor *compressor;
        size_t size;

        assert_int_equal(salvo_compressor_new(&compressor, all[i], 0, sizeof(body)), 0);
        size = salvo_compress(compressor, body, sizeof(body), small, sizeof(small));
        salvo_compressor_free(compressor);
        assert_true(size > 0);
        fields.sysFlag = salvo_compression_sysflag(all[i], false);
        assert_int_equal(rig_send_code(&rig, link, &fields, small, size), 0);
        assert_int_equal(salvo_mock_stored_at(rig.mock, i, &stored), 0);
        assert_int_equal(stored.body_size, sizeof(body));
        assert_int_equal(stored.body_digest, salvo_mock_digest(body, sizeof(body)));
        assert_int_equal(rig_send_code(&rig, link, &fields, small, size - 1), 13); /* cut short */
    }
    rig_close(&rig);
}

/* --- batches ---------------------------------------------------------------------------------- */

static size_t batch_body(uint8_t *bytes, size_t size_max, unsigned items, const char *body,
                         size_t body_size)
{
    struct salvo_writer w = salvo_writer_over(bytes, size_max);

    for (unsigned i = 0; i < items; i++) {
        char properties[64];
        int n = snprintf(properties, sizeof(properties), "UNIQ_KEY\001item-%u\002", i);
        struct salvo_batch_item item = {
            .flag = (int32_t)i,
            .body = (const uint8_t *)body,
            .body_size = (uint32_t)body_size,
            .properties = (const uint8_t *)properties,
            .properties_size = (uint16_t)n,
        };

        salvo_batch_item_write(&w, &item);
    }
    assert_false(w.failed);
    return salvo_writer_size(&w);
}

static struct salvo_send_fields batch_fields(void)
{
    struct salvo_send_fields fields = rig_fields("T", "WAIT\001true\002");

    fields.code = SALVO_REQUEST_SEND_BATCH_MESSAGE;
    fields.batch = true;
    return fields;
}

static void batch_items_are_stored_one_by_one(void **state)
{
    struct salvo_send_fields fields = batch_fields();
    struct salvo_mock_stored stored;
    struct rig_answer answer;
    struct rig rig;
    uint8_t bytes[4096];
    size_t size = batch_body(bytes, sizeof(bytes), 5, "body", 4);
    struct salvo_text ids;
    unsigned link;

    rig_open(&rig, state, NULL);
    link = rig_connect(&rig, 1);
    rig_send_message(&rig, link, &fields, 7, bytes, size);
    rig_answer_take(&rig, link, &answer);
    assert_int_equal(answer.header.code, 0);
    ids = salvo_header_ext(&answer.header, "msgId");
    assert_int_equal(ids.size, 5 * 33 - 1);
    for (unsigned i = 1; i < 5; i++)
        assert_int_equal(ids.text[i * 33 - 1], ',');
    rig_answer_free(&answer);
    assert_int_equal(salvo_mock_stored_find(rig.mock, "item-3", &stored, 1), 1);
    assert_int_equal(stored.offset, 3);
    assert_int_equal(stored.flag, 3);
    assert_true(stored.batch);
    assert_int_equal(stored.body_digest, salvo_mock_digest("body", 4));
    fields.code = SALVO_REQUEST_SEND_MESSAGE_V2; /* m decides, not the code */
    assert_int_equal(rig_send_code(&rig, link, &fields, bytes, size), 0);
    assert_int_equal(salvo_mock_stored_find(rig.mock, "item-3", &stored, 1), 2);
    fields.batch = false;
    assert_int_equal(rig_send_code(&rig, link, &fields, bytes, size), 0);
    assert_int_equal(salvo_mock_stored_count(rig.mock), 11); /* as one message */
    rig_close(&rig);
}

static void batch_that_does_not_decode_stores_nothing(void **state)
{
    struct salvo_send_fields fields = batch_fields();
    struct salvo_compressor *compressor;
    struct rig rig;
    uint8_t bytes[8192];
    uint8_t small[4096];
    char body[1000];
    size_t size = batch_body(bytes, sizeof(bytes), 5, "body", 4);
    unsigned link;

    rig_open(&rig, state, NULL);
    link = rig_connect(&rig, 1);
    for (size_t cut = 1; cut < size; cut++) {
        if (cut % (size / 5) != 0) /* not between two items */
            assert_int_equal(rig_send_code(&rig, link, &fields, bytes, cut), 1);
    }
    assert_int_equal(salvo_mock_stored_count(rig.mock), 0);

    /* As a whole compressed: refused with 1. Each item on its own: stored. One of them not: 13. */
    fields.sysFlag = salvo_compression_sysflag(SALVO_COMPRESS_ZLIB, false);
    memset(body, 'z', sizeof(body));
    size = batch_body(bytes, sizeof(bytes), 3, body, sizeof(body));
    assert_int_equal(salvo_compressor_new(&compressor, SALVO_COMPRESS_ZLIB, 0, sizeof(bytes)), 0);
    size = salvo_compress(compressor, bytes, size, small, sizeof(small));
    assert_int_equal(rig_send_code(&rig, link, &fields, small, size), 1);
    size = salvo_compress(compressor, body, sizeof(body), small, sizeof(small));
    salvo_compressor_free(compressor);
    size = batch_body(bytes, sizeof(bytes), 3, (char *)small, size);
    assert_int_equal(rig_send_code(&rig, link, &fields, bytes, size), 0);
    assert_int_equal(salvo_mock_stored_count(rig.mock), 3);
    size += batch_body(bytes + size, sizeof(bytes) - size, 1, "plain", 5);
    assert_int_equal(rig_send_code(&rig, link, &fields, bytes, size), 13);
    assert_int_equal(salvo_mock_stored_count(rig.mock), 3);
    rig_close(&rig);
}

static void header_key_of_a_batch_takes_the_place_of_the_items(void **state)
{
    struct salvo_send_fields fields = batch_fields();
    struct salvo_mock_conf conf;
    struct rig rig;
    uint8_t bytes[1024];
    size_t size = batch_body(bytes, sizeof(bytes), 2, "body", 4);
    unsigned link;

    for (int i = 0; i < 2; i++) {
        rig_conf(&conf);
        conf.generation = i == 0 ? SALVO_MOCK_4_7_1 : SALVO_MOCK_5_3_3;
        rig_open(&rig, state, &conf);
        link = rig_connect(&rig, 1);
        fields.properties = SALVO_TEXT("UNIQ_KEY\001" KEY "\002");
        assert_int_equal(rig_send_code(&rig, link, &fields, bytes, size), 0);
        assert_int_equal(salvo_mock_stored_find(rig.mock, KEY, NULL, 0), i == 0 ? 0 : 2);
        assert_int_equal(salvo_mock_stored_find(rig.mock, "item-1", NULL, 0), i == 0 ? 1 : 0);
        rig_close(&rig);
    }
}

/* --- forms, generations ----------------------------------------------------------------------- */

static void answers_come_in_the_form_that_was_configured(void **state)
{
    static const struct {
        enum salvo_mock_form conf;
        enum salvo_header_form asked, answered;
    } cases[] = {
        {SALVO_MOCK_FORM_AS_REQUEST, SALVO_HEADER_JSON, SALVO_HEADER_JSON},
        {SALVO_MOCK_FORM_AS_REQUEST, SALVO_HEADER_BINARY, SALVO_HEADER_BINARY},
        {SALVO_MOCK_FORM_JSON, SALVO_HEADER_BINARY, SALVO_HEADER_JSON},
        {SALVO_MOCK_FORM_BINARY, SALVO_HEADER_JSON, SALVO_HEADER_BINARY},
    };
    struct salvo_send_fields fields = rig_fields("T", PROPERTIES);

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        struct salvo_mock_conf conf;
        struct rig_answer answer;
        struct rig rig;
        unsigned link;
        ssize_t size;

        rig_conf(&conf);
        conf.answer_form = cases[i].conf;
        rig_open(&rig, state, &conf);
        link = rig_connect(&rig, 1);
        size =
            salvo_send_write(rig.out, RIG_OUT_MAX, cases[i].asked, &fields, 1000000042, false, 1);
        assert_true(size > 0);
        rig.out[size] = 'b';
        rig_send(&rig, link, rig.out, (size_t)size + 1);
        rig_answer_take(&rig, link, &answer);
        assert_int_equal(answer.frame.form, cases[i].answered);
        assert_int_equal(answer.header.code, 0);
        assert_int_equal(answer.header.opaque, 1000000042);
        rig_answer_free(&answer);
        assert_int_equal(salvo_mock_stored_find(rig.mock, KEY, NULL, 0), 1);
        rig_close(&rig);
    }
}

static void generations_differ_where_they_were_seen_to(void **state)
{
    static const enum salvo_mock_generation all[] = {SALVO_MOCK_4_7_1, SALVO_MOCK_4_9_7,
                                                     SALVO_MOCK_5_3_3};
    struct salvo_send_fields fields = rig_fields("T", "");

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(all); i++) {
        struct salvo_mock_conf conf;
        struct rig_answer answer;
        struct rig rig;
        unsigned link;

        rig_conf(&conf);
        conf.generation = all[i];
        rig_open(&rig, state, &conf);
        link = rig_connect(&rig, 1);
        rig_send_message(&rig, link, &fields, 7, "b", 1);
        rig_answer_take(&rig, link, &answer);
        assert_int_equal(salvo_header_ext(&answer.header, "transactionId").size,
                         all[i] == SALVO_MOCK_5_3_3 ? 32 : 0);
        rig_answer_free(&answer);
        fields.queueId = 9;
        assert_int_equal(rig_send_code(&rig, link, &fields, "b", 1),
                         all[i] == SALVO_MOCK_5_3_3 ? 29 : 1);
        fields.queueId = 0;
        rig_send(&rig, link, rig.out,
                 rig_request(&rig, SALVO_HEADER_JSON, 9999, 7, NULL, NULL, NULL, 0));
        if (all[i] == SALVO_MOCK_4_7_1) {
            rig_expect_silence(&rig, link, SALVO_NS_PER_S);
        } else {
            rig_answer_take(&rig, link, &answer);
            assert_int_equal(answer.header.code, 3);
            assert_true(
                salvo_text_equals(answer.header.remark, " request type 9999 not supported"));
            rig_answer_free(&answer);
        }
        rig_close(&rig);
    }
}

static void missing_fields_and_one_way_sends(void **state)
{
    struct salvo_send_fields fields = rig_fields("T", PROPERTIES);
    struct rig_answer answer;
    struct rig rig;
    unsigned link;
    ssize_t size;

    rig_open(&rig, state, NULL);
    link = rig_connect(&rig, 1);
    rig_ask(&rig, link, SALVO_REQUEST_SEND_MESSAGE_V2, "b", "T", &answer);
    assert_int_equal(answer.header.code, 1);
    rig_answer_free(&answer);
    size = salvo_send_write(rig.out, RIG_OUT_MAX, SALVO_HEADER_BINARY, &fields, 8, true, 1);
    assert_true(size > 0);
    rig.out[size] = 'b';
    rig_send(&rig, link, rig.out, (size_t)size + 1);
    rig_expect_silence(&rig, link, SALVO_NS_PER_S);
    assert_int_equal(salvo_mock_stored_count(rig.mock), 1);
    rig_ask(&rig, link, SALVO_REQUEST_GET_MAX_OFFSET, "topic", "T", &answer);
    assert_int_equal(answer.header.code, 1); /* queueId is missing */
    rig_answer_free(&answer);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_BOTH(good_send_is_answered_as_a_broker_does),
        RIG_BOTH(stored_messages_are_found_by_id_and_by_queue),
        RIG_SIM(memory_that_is_full_counts_what_it_forgets),
        RIG_BOTH(each_check_gives_its_code),
        RIG_BOTH(sizes_are_checked_at_their_limits),
        RIG_SIM(topics_are_created_from_the_template),
        RIG_SIM(broker_without_write_refuses_order_topics_alone),
        RIG_BOTH(compressed_bodies_are_remembered_as_they_were),
        RIG_BOTH(batch_items_are_stored_one_by_one),
        RIG_SIM(batch_that_does_not_decode_stores_nothing),
        RIG_SIM(header_key_of_a_batch_takes_the_place_of_the_items),
        RIG_BOTH(answers_come_in_the_form_that_was_configured),
        RIG_BOTH(generations_differ_where_they_were_seen_to),
        RIG_BOTH(missing_fields_and_one_way_sends),
    };

    return cmocka_run_group_tests_name("mock_send", tests, NULL, NULL);
}
