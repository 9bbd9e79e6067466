/* codec/message: properties, batch bodies, what is refused, and Java's hash. */
#include "tests/unit/unit.h"
#include "tests/unit/codec_examples.h"

#include "codec/message.h"

#include <stdio.h>
#include <errno.h>

#define BYTES(literal) (literal), sizeof(literal) - 1

static void properties_are_written_with_the_last_separator(void **state)
{
    uint8_t bytes[128];
    struct salvo_writer w = salvo_writer_over(bytes, sizeof(bytes));

    salvo_property_write(&w, BYTES("TAGS"), BYTES("TagA"));
    salvo_property_write(&w, BYTES("WAIT"), BYTES("true"));
    salvo_property_write(&w, BYTES("UNIQ_KEY"), BYTES(EXAMPLE_UNIQ_KEY));
    assert_false(w.failed);
    assert_int_equal(salvo_writer_size(&w), 62);
    assert_memory_equal(bytes, EXAMPLE_PROPERTIES, 62);
    for (size_t room = 0; room < 10; room++) {
        w = salvo_writer_over(bytes, room);
        salvo_property_write(&w, BYTES("TAGS"), BYTES("TagA"));
        assert_true(w.failed);
    }
}

static void properties_of_every_java_version_are_walked(void **state)
{
    static const struct {
        const char *text;
        size_t size;
        const char *seen; /* name=value; of each */
    } cases[] = {
        {BYTES(""), ""},
        {BYTES("a\1b\2"), "a=b;"},
        {BYTES("a\1b"), "a=b;"}, /* no last separator */
        {BYTES("a\1b\2c\1d"), "a=b;c=d;"},
        {BYTES("a\1b\2\2\2c\1d\2"), "a=b;c=d;"}, /* doubled */
        {BYTES("\2a\1b\2"), "a=b;"},
        {BYTES("a\1\2c\1d\2"), "c=d;"}, /* empty value */
        {BYTES("\1b\2c\1d\2"), "c=d;"}, /* empty name */
        {BYTES("abc\2c\1d\2"), "c=d;"}, /* no 0x01 */
        {BYTES("a\1b=c\2"), "a=b=c;"},
        {BYTES("a\1b\1c\2"), "a=b\1c;"},
        {BYTES("\1"), ""},
        {BYTES("\2"), ""},
        {BYTES("a\1"), ""},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        char *exact = malloc(cases[i].size + 1), seen[128] = "";
        struct salvo_text name, value;
        size_t at = 0;

        memcpy(exact, cases[i].text, cases[i].size);
        while (salvo_property_next(exact, cases[i].size, &at, &name, &value)) {
            size_t n = strlen(seen);

            snprintf(seen + n, sizeof(seen) - n, "%.*s=%.*s;", (int)name.size, name.text,
                     (int)value.size, value.text);
        }
        assert_string_equal(seen, cases[i].seen);
        free(exact);
    }
}

static void a_long_property_string_is_walked_to_its_end(void **state)
{
    static char text[32767];
    struct salvo_text name, value;
    size_t at = 0;

    memset(text, 'x', sizeof(text));
    text[4] = 1;
    assert_true(salvo_property_next(text, sizeof(text), &at, &name, &value));
    assert_int_equal(name.size, 4);
    assert_int_equal(value.size, sizeof(text) - 5);
    assert_false(salvo_property_next(text, sizeof(text), &at, &name, &value));
}

static void of_equal_names_the_last_is_found(void **state)
{
    assert_true(salvo_text_equals(salvo_property_find(BYTES("a\1b\2c\1d\2a\1e\2"), "a"), "e"));
    assert_true(salvo_text_equals(salvo_property_find(BYTES("a\1b\2c\1d\2a\1e\2"), "c"), "d"));
    assert_null(salvo_property_find(BYTES("a\1b\2"), "b").text);
}

static void user_properties_are_checked(void **state)
{
    static char long_value[SALVO_PROPERTIES_SIZE_MAX];
    static const struct {
        const char *name, *value;
        size_t name_size, value_size;
        int refusal;
    } cases[] = {
        {"a", "b", 1, 1, 0},
        {"__SHARDINGKEY", "b", 13, 1, 0},
        {"KEYSX", "b", 5, 1, 0},
        {"keys", "b", 4, 1, 0},
        {"KEYS", "b", 4, 1, SALVO_REFUSED_RESERVED},
        {"UNIQ_KEY", "b", 8, 1, SALVO_REFUSED_RESERVED},
        {"1ST_POP_TIME", "b", 12, 1, SALVO_REFUSED_RESERVED},
        {"__CRC32#", "b", 8, 1, SALVO_REFUSED_RESERVED},
        {"TRAN_PREPARED_QUEUE_OFFSET", "b", 26, 1, SALVO_REFUSED_RESERVED},
        {"DLQ_ORIGIN_MESSAGE_ID", "b", 21, 1, SALVO_REFUSED_RESERVED},
        {"", "b", 0, 1, SALVO_REFUSED_EMPTY},
        {" \t", "b", 2, 1, SALVO_REFUSED_EMPTY},
        {"a", "", 1, 0, SALVO_REFUSED_EMPTY},
        {"a", "  ", 1, 2, SALVO_REFUSED_EMPTY},
        {"a\1", "b", 2, 1, SALVO_REFUSED_SEPARATOR},
        {"a", "b\2", 1, 2, SALVO_REFUSED_SEPARATOR},
        {"a\2", "b", 2, 1, SALVO_REFUSED_SEPARATOR},
        {"\xff", "b", 1, 1, SALVO_REFUSED_UTF8},
        {"a", "\xc3", 1, 1, SALVO_REFUSED_UTF8},
        {"a", "\xed\xa0\x80", 1, 3, SALVO_REFUSED_UTF8},
        {"gr\xc3\xbcn", "\xf0\x9f\x98\x80", 5, 4, 0},
        {"a", long_value, 1, SALVO_PROPERTIES_SIZE_MAX - 3, 0},
        {"a", long_value, 1, SALVO_PROPERTIES_SIZE_MAX - 2, SALVO_REFUSED_TOO_LONG},
    };

    memset(long_value, 'x', sizeof(long_value));
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++)
        assert_int_equal(salvo_property_check(cases[i].name, cases[i].name_size, cases[i].value,
                                              cases[i].value_size),
                         cases[i].refusal);
    for (int refusal = SALVO_REFUSED_EMPTY; refusal <= SALVO_REFUSED_FORBIDDEN; refusal++)
        assert_true(strlen(salvo_refusal_text(refusal)) > 0);
}

static void topics_and_groups_are_checked(void **state)
{
    static char name[200];
    static const struct {
        const char *text;
        size_t size;
        int topic, group;
    } cases[] = {
        {BYTES("TopicTest"), 0, 0},
        {BYTES("%RETRY%a_b-c|9"), 0, 0},
        {BYTES(""), SALVO_REFUSED_EMPTY, SALVO_REFUSED_EMPTY},
        {BYTES("  "), SALVO_REFUSED_EMPTY, SALVO_REFUSED_EMPTY},
        {BYTES("a b"), SALVO_REFUSED_CHARACTER, SALVO_REFUSED_CHARACTER},
        {BYTES("a.b"), SALVO_REFUSED_CHARACTER, SALVO_REFUSED_CHARACTER},
        {BYTES("a\0b"), SALVO_REFUSED_CHARACTER, SALVO_REFUSED_CHARACTER},
        {BYTES("gr\xc3\xbcn"), SALVO_REFUSED_CHARACTER, SALVO_REFUSED_CHARACTER},
        {BYTES("SCHEDULE_TOPIC_XXXX"), SALVO_REFUSED_FORBIDDEN, 0},
        {BYTES("RMQ_SYS_TRANS_HALF_TOPIC"), SALVO_REFUSED_FORBIDDEN, 0},
        {BYTES("RMQ_SYS_TRANS_OP_HALF_TOPIC"), SALVO_REFUSED_FORBIDDEN, 0},
        {BYTES("TRANS_CHECK_MAX_TIME_TOPIC"), SALVO_REFUSED_FORBIDDEN, 0},
        {BYTES("SELF_TEST_TOPIC"), SALVO_REFUSED_FORBIDDEN, 0},
        {BYTES("OFFSET_MOVED_EVENT"), SALVO_REFUSED_FORBIDDEN, 0},
        {BYTES("RMQ_SYS_TRACE_TOPIC"), 0, 0},
        {BYTES("TBW102"), 0, 0},
        {BYTES("DEFAULT_PRODUCER"), 0, SALVO_REFUSED_FORBIDDEN},
        {name, 120, 0, 0},
        {name, 121, 0, SALVO_REFUSED_TOO_LONG},
        {name, 127, 0, SALVO_REFUSED_TOO_LONG},
        {name, 128, SALVO_REFUSED_TOO_LONG, SALVO_REFUSED_TOO_LONG},
    };

    memset(name, 'n', sizeof(name));
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        assert_int_equal(salvo_topic_check(cases[i].text, cases[i].size), cases[i].topic);
        assert_int_equal(salvo_group_check(cases[i].text, cases[i].size), cases[i].group);
    }
    assert_true(salvo_topic_is_system(BYTES("TBW102")));
    assert_true(salvo_topic_is_system(BYTES("CHECKPOINT_TOPIC")));
    assert_true(salvo_topic_is_system(BYTES("rmq_sys_wheel_timer")));
    assert_false(salvo_topic_is_system(BYTES("rmq_sys")));
    assert_false(salvo_topic_is_system(BYTES("TopicTest")));
}

static void a_batch_is_written_as_the_example(void **state)
{
    static const char second[] = "TAGS\1TagA\2WAIT\1true\2UNIQ_KEY\1"
                                 "0A01020310921234ABCD000000010001\2";
    uint8_t expected[256], bytes[256];
    size_t size = example_bytes(example_batch_body, expected, sizeof(expected));
    struct salvo_writer w = salvo_writer_over(bytes, size);
    struct salvo_batch_item item = {
        .body = (const uint8_t *)"m0",
        .body_size = 2,
        .properties = (const uint8_t *)EXAMPLE_PROPERTIES,
        .properties_size = 62,
    };

    salvo_batch_item_write(&w, &item);
    item.body = (const uint8_t *)"m1";
    item.properties = (const uint8_t *)second;
    salvo_batch_item_write(&w, &item);
    assert_false(w.failed);
    assert_int_equal(salvo_writer_size(&w), 172);
    assert_memory_equal(bytes, expected, 172);
    salvo_batch_item_write(&w, &item);
    assert_true(w.failed);
}

static void a_batch_is_read_item_by_item_and_refused_when_it_lies(void **state)
{
    uint8_t bytes[256];
    size_t size = example_bytes(example_batch_body, bytes, sizeof(bytes));
    struct salvo_reader r = salvo_reader_over(bytes, size);
    struct salvo_batch_item item;

    assert_int_equal(salvo_batch_item_read(&r, &item), 0);
    assert_int_equal(item.body_size, 2);
    assert_memory_equal(item.body, "m0", 2);
    assert_int_equal(item.properties_size, 62);
    assert_int_equal(salvo_batch_item_read(&r, &item), 0);
    assert_memory_equal(item.body, "m1", 2);
    assert_int_equal(salvo_batch_item_read(&r, &item), -ENOENT);
    assert_int_equal(salvo_batch_item_read(&r, &item), -ENOENT);

    for (size_t cut = 1; cut < 86; cut++) {
        uint8_t *exact = malloc(cut);

        memcpy(exact, bytes, cut);
        r = salvo_reader_over(exact, cut);
        assert_int_equal(salvo_batch_item_read(&r, &item), -EBADMSG);
        assert_int_equal(salvo_batch_item_read(&r, &item), -EBADMSG);
        free(exact);
    }
    bytes[3]++; /* total size */
    r = salvo_reader_over(bytes, size);
    assert_int_equal(salvo_batch_item_read(&r, &item), -EBADMSG);
    bytes[3]--;
    bytes[16] = 0xff; /* body size */
    r = salvo_reader_over(bytes, size);
    assert_int_equal(salvo_batch_item_read(&r, &item), -EBADMSG);
}

static void the_hash_is_that_of_java(void **state)
{
    assert_int_equal(salvo_java_hash(BYTES("")), 0);
    assert_int_equal(salvo_java_hash(BYTES("TagA")), 2598919);
    assert_int_equal(salvo_java_hash(BYTES("TagB")), 2598920);
    assert_int_equal(salvo_java_hash(BYTES("order-17")), 1234255109);
    assert_int_equal(salvo_java_hash(BYTES("polygenelubricants")), INT32_MIN);
    assert_int_equal(salvo_java_hash(BYTES("\xc3\xa9")), 0xe9);
    assert_int_equal(salvo_java_hash(BYTES("\xe2\x82\xac")), 0x20ac);
    assert_int_equal(salvo_java_hash(BYTES("\xf0\x9f\x98\x80")), 0xd83d * 31 + 0xde00);
    assert_int_equal(salvo_java_hash(BYTES("\xff")), 0xfffd);
    assert_int_equal(salvo_java_hash(BYTES("\xc3")), 0xfffd);
}

static void the_fingerprint_of_a_heartbeat_hashes_as_in_java(void **state)
{
    /* heartbeat V2's check value: a long text that wraps many times */
    assert_int_equal(salvo_java_hash(BYTES(
                         "{\"clientID\":\"\",\"consumerDataSet\":[],\"heartbeatFingerprint\":0,"
                         "\"producerDataSet\":[{\"groupName\":\"PG_A\"},"
                         "{\"groupName\":\"CLIENT_INNER_PRODUCER\"}],\"withoutSub\":false}")),
                     -730979457);
}

static void a_hash_chooses_a_queue_whatever_its_sign(void **state)
{
    static const struct {
        int32_t hash;
        uint32_t queues, queue;
    } cases[] = {
        {1234255109, 8, 5}, {0, 1, 0},         {-1, 8, 1},          {-9, 8, 1},
        {INT32_MIN, 8, 0},  {INT32_MIN, 7, 2}, {INT32_MAX, 16, 15},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++)
        assert_int_equal(salvo_java_hash_queue(cases[i].hash, cases[i].queues), cases[i].queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(properties_are_written_with_the_last_separator),
        cmocka_unit_test(properties_of_every_java_version_are_walked),
        cmocka_unit_test(a_long_property_string_is_walked_to_its_end),
        cmocka_unit_test(of_equal_names_the_last_is_found),
        cmocka_unit_test(user_properties_are_checked),
        cmocka_unit_test(topics_and_groups_are_checked),
        cmocka_unit_test(a_batch_is_written_as_the_example),
        cmocka_unit_test(a_batch_is_read_item_by_item_and_refused_when_it_lies),
        cmocka_unit_test(the_hash_is_that_of_java),
        cmocka_unit_test(the_fingerprint_of_a_heartbeat_hashes_as_in_java),
        cmocka_unit_test(a_hash_chooses_a_queue_whatever_its_sign),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
