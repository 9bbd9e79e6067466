/* codec/send: requests in both names and forms, and the template, which must write what the general
 * writer writes. */
#include "tests/unit/unit.h"
#include "tests/unit/codec_examples.h"

#include "base/random.h"
#include "codec/send.h"

#include <errno.h>
#include <stdio.h>

static uint8_t general[262144], templated[262144], expected[1024], scratch[262144];

static const struct salvo_born *born_of(int64_t ms)
{
    static struct salvo_born born;

    salvo_born_set(&born, ms);
    return &born;
}

static struct salvo_send_fields fields_of_example(void)
{
    return (struct salvo_send_fields){
        .code = SALVO_REQUEST_SEND_MESSAGE_V2,
        .version = 479,
        .producerGroup = SALVO_TEXT("PG_A"),
        .topic = SALVO_TEXT("TopicTest"),
        .defaultTopic = SALVO_TEXT("TBW102"),
        .defaultTopicQueueNums = 4,
        .queueId = 2,
        .bornTimestamp = EXAMPLE_BORN,
        .properties = SALVO_TEXT(EXAMPLE_PROPERTIES),
        .maxReconsumeTimes = -1,
        .brokerName = SALVO_TEXT("broker-a"),
    };
}

static void check_example(const struct salvo_send_fields *fields, enum salvo_header_form form,
                          const char *example)
{
    size_t size = example_bytes(example, expected, sizeof(expected)) - 5; /* Hello */

    assert_int_equal(salvo_send_write(general, sizeof(general), form, fields, 9, false, 5), size);
    assert_memory_equal(general, expected, size);
    for (size_t room = 0; room < size; room++)
        assert_int_equal(salvo_send_write(general, room, form, fields, 9, false, 5), -ENOSPC);
}

static void the_examples_are_written_byte_for_byte(void **state)
{
    struct salvo_send_fields fields = fields_of_example();

    check_example(&fields, SALVO_HEADER_BINARY, example_send_binary);
    check_example(&fields, SALVO_HEADER_JSON, example_send_json_5);
    fields.brokerName = (struct salvo_text){0};
    fields.version = 355;
    check_example(&fields, SALVO_HEADER_JSON, example_send_json_4);
}

static void read_back(size_t size, enum salvo_header_form form,
                      struct salvo_send_fields *ret_fields)
{
    struct salvo_header header;
    const char *why = "";

    assert_int_equal(
        salvo_header_read(&header, form, general + 8, size - 8, scratch, sizeof(scratch)), 0);
    if (salvo_send_read(&header, ret_fields, &why))
        fail_msg("%s", why);
}

static void check_text(struct salvo_text a, struct salvo_text b)
{
    assert_int_equal(a.size, b.size);
    if (a.size > 0)
        assert_memory_equal(a.text, b.text, a.size);
}

static void check_fields(const struct salvo_send_fields *a, const struct salvo_send_fields *b)
{
    assert_int_equal(a->code, b->code);
    assert_int_equal(a->language, b->language);
    assert_int_equal(a->version, b->version);
    check_text(a->producerGroup, b->producerGroup);
    check_text(a->topic, b->topic);
    check_text(a->defaultTopic, b->defaultTopic);
    assert_int_equal(a->defaultTopicQueueNums, b->defaultTopicQueueNums);
    assert_int_equal(a->queueId, b->queueId);
    assert_int_equal(a->sysFlag, b->sysFlag);
    assert_int_equal(a->bornTimestamp, b->bornTimestamp);
    assert_int_equal(a->flag, b->flag);
    check_text(a->properties, b->properties);
    assert_int_equal(a->reconsumeTimes, b->reconsumeTimes);
    assert_int_equal(a->unitMode, b->unitMode);
    assert_int_equal(a->maxReconsumeTimes, b->maxReconsumeTimes);
    assert_int_equal(a->batch, b->batch);
    check_text(a->brokerName, b->brokerName);
}

static const int32_t codes[] = {SALVO_REQUEST_SEND_MESSAGE, SALVO_REQUEST_SEND_MESSAGE_V2,
                                SALVO_REQUEST_SEND_BATCH_MESSAGE};

static struct salvo_send_fields random_fields(struct salvo_random *random, char *properties,
                                              uint32_t properties_size_max)
{
    struct salvo_send_fields fields = fields_of_example();
    uint32_t size = (uint32_t)salvo_random_below(random, properties_size_max);

    for (uint32_t i = 0; i < size; i++) {
        properties[i] =
            (char)(salvo_random_chance(random, 1, 4) ? salvo_random_below(random, 0x80)
                                                     : 'a' + salvo_random_below(random, 26));
    }
    fields.code = codes[salvo_random_below(random, 3)];
    fields.language = (int32_t)salvo_random_below(random, 14);
    fields.version = (int32_t)salvo_random_below(random, 500);
    fields.properties = (struct salvo_text){properties, size};
    fields.queueId = (int32_t)salvo_random_below(random, 1 << salvo_random_below(random, 31));
    fields.sysFlag = (int32_t)salvo_random_below(random, 0x800);
    fields.flag = (int32_t)salvo_random_next(random);
    fields.bornTimestamp =
        INT64_C(1000000000000) + (int64_t)salvo_random_below(random, 9000000000000);
    fields.unitMode = salvo_random_chance(random, 1, 4);
    fields.batch = salvo_random_chance(random, 1, 2);
    if (salvo_random_chance(random, 1, 4))
        fields.maxReconsumeTimes = (int32_t)salvo_random_below(random, 100);
    if (salvo_random_chance(random, 1, 4))
        fields.brokerName = (struct salvo_text){0};
    return fields;
}

static void a_template_writes_what_the_general_writer_writes(void **state)
{
    static char properties[SALVO_PROPERTIES_SIZE_MAX];
    uint64_t seed = unit_seed(20240229);
    struct salvo_random random;

    print_message("seed %llu\n", (unsigned long long)seed);
    salvo_random_init(&random, seed);
    for (int round = 0; round < 20000; round++) {
        enum salvo_header_form form = round % 2 == 0 ? SALVO_HEADER_JSON : SALVO_HEADER_BINARY;
        struct salvo_send_fields fields =
            random_fields(&random, properties, round % 1000 < 2 ? SALVO_PROPERTIES_SIZE_MAX : 400);
        int32_t opaque = (int32_t)(1000000000 + salvo_random_below(&random, 1147483648));
        uint32_t body_size = (uint32_t)salvo_random_below(&random, SALVO_BODY_SIZE_MAX + 1);
        bool oneway = salvo_random_chance(&random, 1, 2);
        bool in_place = form == SALVO_HEADER_BINARY && salvo_random_chance(&random, 1, 2);
        struct salvo_send_template template;
        size_t bound, size;
        uint8_t *exact;

        assert_int_equal(salvo_send_template_init(&template, form, &fields, oneway), 0);
        bound = salvo_send_template_bound(&template, fields.properties.size);
        exact = malloc(bound);
        if (in_place)
            memcpy(exact + template.prefix_size, properties, fields.properties.size);
        size = salvo_send_template_write(&template, exact, opaque, born_of(fields.bornTimestamp),
                                         in_place ? NULL : properties, fields.properties.size,
                                         body_size);
        assert_true(size <= bound);
        assert_int_equal(
            salvo_send_write(general, sizeof(general), form, &fields, opaque, oneway, body_size),
            size);
        assert_memory_equal(exact, general, size);
        free(exact);
    }
}

/* A retry: other numbers around the properties as they stand in the old header. */
static void a_retry_takes_its_properties_from_the_old_header(void **state)
{
    struct salvo_send_fields fields = fields_of_example();

    for (int form = 0; form <= 1; form++) {
        struct salvo_send_template template;
        size_t size, escaped_size;

        assert_int_equal(
            salvo_send_template_init(&template, (enum salvo_header_form)form, &fields, false), 0);
        size = salvo_send_template_write(&template, templated, 1234567890, born_of(EXAMPLE_BORN),
                                         EXAMPLE_PROPERTIES, sizeof(EXAMPLE_PROPERTIES) - 1, 5);
        escaped_size = size - template.prefix_size - template.suffix_size;
        assert_int_equal(salvo_send_template_write(&template, templated, 1987654321,
                                                   born_of(EXAMPLE_BORN + 1), NULL, escaped_size,
                                                   6),
                         size);
        fields.bornTimestamp = EXAMPLE_BORN + 1;
        assert_int_equal(salvo_send_write(general, sizeof(general), (enum salvo_header_form)form,
                                          &fields, 1987654321, false, 6),
                         size);
        assert_memory_equal(general, templated, size);
        fields.bornTimestamp = EXAMPLE_BORN;
    }
}

static void what_was_written_reads_back(void **state)
{
    static char properties[400];
    uint64_t seed = unit_seed(7);
    struct salvo_random random;

    salvo_random_init(&random, seed);
    for (int round = 0; round < 2000; round++) {
        enum salvo_header_form form = round % 2 == 0 ? SALVO_HEADER_JSON : SALVO_HEADER_BINARY;
        struct salvo_send_fields fields = random_fields(&random, properties, 400), again;
        ssize_t size = salvo_send_write(general, sizeof(general), form, &fields, round, false, 1);

        assert_true(size > 0);
        read_back((size_t)size, form, &again);
        check_fields(&again, &fields);
    }
}

/* Each size up to two blocks and each byte at each place, so that no edge of the escaper is missed.
 */
static void properties_of_any_size_and_content_are_escaped(void **state)
{
    struct salvo_send_fields fields = fields_of_example();
    struct salvo_send_template template;
    char properties[200];

    assert_int_equal(salvo_send_template_init(&template, SALVO_HEADER_JSON, &fields, false), 0);
    for (uint32_t size = 0; size < sizeof(properties); size++) {
        for (unsigned c = 0; c < 0x80; c++) {
            uint32_t at = size == 0 ? 0 : (c * 7 + size) % size;
            size_t bound = salvo_send_template_bound(&template, size), written;
            uint8_t *exact = malloc(bound);

            memset(properties, 'x', sizeof(properties));
            properties[at] = (char)c;
            if (c % 2 == 0)
                memset(properties, (int)c, size); /* all of them */
            fields.properties = (struct salvo_text){properties, size};
            written = salvo_send_template_write(&template, exact, 1234567890, born_of(EXAMPLE_BORN),
                                                properties, size, 0);
            assert_int_equal(salvo_send_write(general, sizeof(general), SALVO_HEADER_JSON, &fields,
                                              1234567890, false, 0),
                             written);
            assert_memory_equal(exact, general, written);
            free(exact);
        }
    }
}

static void without_properties_the_binary_field_is_left_out(void **state)
{
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(codes); i++) {
        struct salvo_send_fields fields = fields_of_example();
        struct salvo_send_template template;
        size_t size;

        fields.code = codes[i];
        fields.properties = (struct salvo_text){0};
        assert_int_equal(salvo_send_template_init(&template, SALVO_HEADER_BINARY, &fields, false),
                         0);
        size =
            salvo_send_template_write(&template, templated, 5, born_of(EXAMPLE_BORN), NULL, 0, 5);
        assert_int_equal(
            salvo_send_write(general, sizeof(general), SALVO_HEADER_BINARY, &fields, 5, false, 5),
            size);
        assert_memory_equal(templated, general, size);
    }
}

static void names_that_do_not_fit_a_template_are_refused(void **state)
{
    static char name[600];
    struct salvo_send_fields fields = fields_of_example();
    struct salvo_send_template template;

    memset(name, 'x', sizeof(name));
    fields.topic = (struct salvo_text){name, SALVO_TOPIC_SIZE_MAX};
    fields.producerGroup = (struct salvo_text){name, SALVO_GROUP_SIZE_MAX};
    fields.brokerName = (struct salvo_text){name, 128};
    assert_int_equal(salvo_send_template_init(&template, SALVO_HEADER_JSON, &fields, false), 0);
    fields.brokerName = (struct salvo_text){name, sizeof(name)};
    assert_int_equal(salvo_send_template_init(&template, SALVO_HEADER_JSON, &fields, false),
                     -EINVAL);
    assert_int_equal(salvo_send_template_init(&template, SALVO_HEADER_BINARY, &fields, false),
                     -EINVAL);
}

static void a_missing_or_malformed_field_is_named(void **state)
{
    static const struct {
        const char *without;
        const char *why;
    } cases[] = {
        {"a", "producerGroup"},
        {"b", "topic"},
        {"c", "defaultTopic"},
        {"d", "defaultTopicQueueNums"},
        {"e", "queueId"},
        {"f", "sysFlag"},
        {"g", "bornTimestamp"},
        {"h", "flag"},
        {"i", NULL},
        {"j", NULL},
        {"k", NULL},
        {"m", NULL},
        {"n", NULL},
    };
    struct salvo_send_fields fields = fields_of_example(), read;
    struct salvo_header header;
    ssize_t size =
        salvo_send_write(general, sizeof(general), SALVO_HEADER_BINARY, &fields, 1, false, 0);

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        const char *why = NULL;

        assert_int_equal(salvo_header_binary_read(&header, general + 8, (size_t)size - 8), 0);
        for (uint32_t k = 0; k < header.ext_count; k++) {
            if (salvo_text_equals(header.ext[k].key, cases[i].without))
                header.ext[k].key = SALVO_TEXT("zz");
        }
        assert_int_equal(salvo_send_read(&header, &read, &why), cases[i].why ? -EBADMSG : 0);
        if (cases[i].why != NULL)
            assert_string_equal(why, cases[i].why);
    }
    assert_int_equal(salvo_header_binary_read(&header, general + 8, (size_t)size - 8), 0);
    for (uint32_t k = 0; k < header.ext_count; k++) {
        if (salvo_text_equals(header.ext[k].key, "e"))
            header.ext[k].value = SALVO_TEXT("2147483648");
    }
    {
        const char *why = NULL;

        assert_int_equal(salvo_send_read(&header, &read, &why), -EBADMSG);
        assert_string_equal(why, "queueId");
        header.code = 999;
        assert_int_equal(salvo_send_read(&header, &read, &why), -EBADMSG);
        assert_string_equal(why, "code");
    }
}

/* Other clients' maps come in any order, with fields that we do not know. */
static void fields_are_found_in_any_order(void **state)
{
    struct salvo_send_fields fields = fields_of_example();
    struct salvo_header header, turned;
    struct salvo_send_fields read;
    const char *why = NULL;
    ssize_t size =
        salvo_send_write(general, sizeof(general), SALVO_HEADER_BINARY, &fields, 1, false, 0);

    assert_int_equal(salvo_header_binary_read(&header, general + 8, (size_t)size - 8), 0);
    turned = header;
    turned.ext_count = 0;
    assert_true(
        salvo_header_add(&turned, "e", SALVO_TEXT("77"))); /* comes again: the last counts */
    for (uint32_t k = header.ext_count; k > 0; k--) {
        turned.ext[turned.ext_count++] = header.ext[k - 1];
        assert_true(salvo_header_add(&turned, "zz", SALVO_TEXT("unknown")));
    }
    assert_int_equal(salvo_send_read(&turned, &read, &why), 0);
    assert_int_equal(read.queueId, fields.queueId);
    assert_int_equal(read.bornTimestamp, fields.bornTimestamp);
    assert_int_equal(read.flag, fields.flag);
    assert_int_equal(read.batch, fields.batch);
    assert_true(salvo_text_same(read.topic, fields.topic));
    assert_true(salvo_text_same(read.producerGroup, fields.producerGroup));
    assert_true(salvo_text_same(read.properties, fields.properties));
    assert_true(salvo_header_add(&turned, "e", SALVO_TEXT("78")));
    assert_int_equal(salvo_send_read(&turned, &read, &why), 0);
    assert_int_equal(read.queueId, 78);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_are_written_byte_for_byte),
        cmocka_unit_test(a_template_writes_what_the_general_writer_writes),
        cmocka_unit_test(a_retry_takes_its_properties_from_the_old_header),
        cmocka_unit_test(what_was_written_reads_back),
        cmocka_unit_test(properties_of_any_size_and_content_are_escaped),
        cmocka_unit_test(without_properties_the_binary_field_is_left_out),
        cmocka_unit_test(names_that_do_not_fit_a_template_are_refused),
        cmocka_unit_test(a_missing_or_malformed_field_is_named),
        cmocka_unit_test(fields_are_found_in_any_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
