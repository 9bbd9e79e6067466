/* codec/send_answer: what brokers answer, the usual and the odd; the fast way over JSON must say
 * what the general reader says. */
#include "tests/support/answers.h"
#include "tests/unit/unit.h"
#include "tests/unit/codec_examples.h"

#include "base/random.h"
#include "codec/send.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

static int read_header(enum salvo_header_form form, const char *text, size_t size,
                       struct salvo_send_answer *ret_answer)
{
    static uint8_t *exact;
    struct salvo_frame frame = {.form = form, .header_size = (uint32_t)size};

    free(exact);
    exact = malloc(size == 0 ? 1 : size); /* kept until the next one: the answer points into it */
    memcpy(exact, text, size);
    frame.header = exact;
    return salvo_send_answer_read(ret_answer, &frame);
}

static int read_json(const char *text, struct salvo_send_answer *ret_answer)
{
    return read_header(SALVO_HEADER_JSON, text, strlen(text), ret_answer);
}

static void the_example_answer_is_read_in_both_forms(void **state)
{
    static const char *const examples[] = {example_answer_json, example_answer_binary};
    uint8_t bytes[512];

    for (int i = 0; i < 2; i++) {
        size_t size = example_bytes(examples[i], bytes, sizeof(bytes));
        struct salvo_send_answer answer;
        struct salvo_frame frame;
        const char *why;

        assert_int_equal(salvo_frame_parse(bytes, size, SALVO_FRAME_SIZE_MAX, &frame, &why), 0);
        assert_int_equal(salvo_send_answer_read(&answer, &frame), 0);
        assert_int_equal(answer.code, 0);
        assert_int_equal(answer.opaque, 9);
        assert_int_equal(answer.flag, SALVO_REMOTING_RESPONSE);
        assert_int_equal(answer.version, 479);
        assert_true(answer.has_offset);
        assert_int_equal(answer.queueId, 2);
        assert_int_equal(answer.queueOffset, 55);
        assert_true(salvo_text_equals(answer.msgId, "0A01020300002A9F0000000000000123"));
        assert_true(salvo_text_equals(answer.transactionId, EXAMPLE_UNIQ_KEY));
        assert_null(answer.recallHandle.text);
        assert_null(answer.remark.text);
        assert_false(answer.trace_off);
    }
}

static void an_answer_may_lack_nearly_everything(void **state)
{
    struct salvo_send_answer answer;

    assert_int_equal(read_json("{\"code\":0,\"opaque\":1}", &answer), 0);
    assert_false(answer.has_offset);
    assert_int_equal(read_json("{\"code\":2,\"extFields\":{},\"flag\":1,\"opaque\":1,"
                               "\"remark\":\"[TIMEOUT_CLEAN_QUEUE]broker busy\"}",
                               &answer),
                     0);
    assert_int_equal(answer.code, 2);
    assert_true(salvo_text_equals(answer.remark, "[TIMEOUT_CLEAN_QUEUE]broker busy"));
    assert_int_equal(
        read_json("{\"code\":1,\"opaque\":1,\"remark\":\"a \\\"b\\\" \\u00e9\"}", &answer), 0);
    assert_true(salvo_text_equals(answer.remark, "a \\\"b\\\" \\u00e9")); /* as written */
    assert_int_equal(
        read_json("{\"code\":1,\"opaque\":1,\"remark\":null,\"extFields\":null}", &answer), 0);
    assert_null(answer.remark.text);
}

/* Whose answer it is, if anyone's, is for the reader to decide: nothing is masked. */
static void flags_and_opaque_are_given_as_they_come(void **state)
{
    struct salvo_send_answer answer;

    assert_int_equal(read_json("{\"code\":0,\"flag\":3,\"opaque\":-2147483648}", &answer), 0);
    assert_int_equal(answer.flag, SALVO_REMOTING_RESPONSE | SALVO_REMOTING_ONEWAY);
    assert_int_equal(answer.opaque, INT32_MIN);
    assert_int_equal(read_json("{\"code\":310,\"flag\":0,\"opaque\":2147483647}", &answer), 0);
    assert_int_equal(answer.flag, 0);
    assert_int_equal(answer.opaque, INT32_MAX);
}

static void only_false_turns_the_trace_off(void **state)
{
    static const struct {
        const char *value;
        bool off;
    } cases[] = {
        {"\"false\"", true}, {"\"true\"", false}, {"\"False\"", false},
        {"\"\"", false},     {"false", true},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        struct salvo_send_answer answer;
        char text[128];

        snprintf(text, sizeof(text), "{\"code\":0,\"extFields\":{\"TRACE_ON\":%s},\"opaque\":1}",
                 cases[i].value);
        assert_int_equal(read_json(text, &answer), 0);
        assert_int_equal(answer.trace_off, cases[i].off);
    }
}

static void an_offset_that_is_no_number_is_no_offset(void **state)
{
    static const struct {
        const char *queue_id, *queue_offset;
        bool has_offset;
    } cases[] = {
        {"2", "55", true},
        {"2147483647", "9223372036854775807", true},
        {"2147483648", "55", false},
        {"2", "9223372036854775808", false},
        {"2", "999999999999999", true},
        {"2", "9999999999999999", true},
        {"-1", "55", false},
        {"2", "-1", false},
        {"", "55", false},
        {"x", "55", false},
        {"2 ", "55", false},
        {"2", "5x", false},
        {"2", "0", true},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        struct salvo_header header = {.flag = 1};
        struct salvo_writer w;
        struct salvo_send_answer answer;
        char bytes[512];

        salvo_header_add(&header, "queueId", salvo_text_of(cases[i].queue_id));
        salvo_header_add(&header, "queueOffset", salvo_text_of(cases[i].queue_offset));
        salvo_header_add(&header, "msgId", SALVO_TEXT("0"));
        for (int form = 0; form <= 1; form++) {
            w = salvo_writer_over(bytes, sizeof(bytes));
            if (form == SALVO_HEADER_BINARY)
                salvo_header_binary_write(&w, &header);
            else
                salvo_header_json_write(&w, &header);
            assert_int_equal(
                read_header((enum salvo_header_form)form, bytes, salvo_writer_size(&w), &answer),
                0);
            assert_int_equal(answer.has_offset, cases[i].has_offset);
        }
    }
}

/* What the fast way and the general reader say about any header must agree. */
static void check_against_header(enum salvo_header_form form, const char *text, size_t size)
{
    static uint8_t scratch[4096];
    struct salvo_header header;
    struct salvo_send_answer answer;
    int r = read_header(form, text, size, &answer);
    int general = salvo_header_read(&header, form, text, size, scratch, sizeof(scratch));
    int64_t value;
    bool has;

    if (r != general)
        fail_msg("answer %d, header %d: %.*s", r, general, (int)size, text);
    if (r)
        return;
    assert_int_equal(answer.code, header.code);
    assert_int_equal(answer.opaque, header.opaque);
    assert_int_equal(answer.flag, header.flag);
    assert_int_equal(answer.version, header.version);
    assert_int_equal(answer.remark.text != NULL, header.remark.text != NULL);
    if (!answer.remark_escaped) {
        assert_int_equal(answer.remark.size, header.remark.size);
        if (answer.remark.size != 0)
            assert_memory_equal(answer.remark.text, header.remark.text, answer.remark.size);
    }
    has = salvo_header_ext(&header, "msgId").text != NULL &&
          !salvo_header_ext_integer(&header, "queueId", &value) && value >= 0 &&
          value <= INT32_MAX && !salvo_header_ext_integer(&header, "queueOffset", &value) &&
          value >= 0;
    assert_int_equal(answer.has_offset, has);
    if (has)
        assert_int_equal(answer.queueOffset, value);
}

static void json_variants_read_as_the_general_reader_reads_them(void **state)
{
    static const char *const cases[] = {
        "{\"opaque\":9,\"code\":0,\"flag\":1,\"version\":479}",
        "{\"version\":-1,\"opaque\":-2147483648,\"code\":-0,\"flag\":1}",
        "{\"code\":0,\"opaque\":2147483648}",
        "{\"code\":00,\"opaque\":1}",
        "{\"code\":0,\"opaque\":1,}",
        "{\"code\":0,\"opaque\":1}}",
        "{\"code\":0,\"opaque\":1,\"code\":7}",
        "{ \"code\" : 0 , \"opaque\" : 1 }",
        "{\"code\":\"0\",\"opaque\":\"1\"}",
        "{\"code\":0,\"opaque\":1.0}",
        "{\"code\":0,\"opaque\":1e1}",
        "{\"code\":0,\"opaque\":1,\"extra\":[{\"x\":{}}]}",
        "{\"code\":0,\"opaque\":1,\"extFields\":{\"queueId\":2,\"msgId\":\"a\",\"queueOffset\":7}}",
        "{\"code\":0,\"opaque\":1,\"extFields\":{\"queueId\":\"2\",\"msgId\":\"a\",\"queueOffset\":"
        "\"7\","
        "\"queueId\":\"x\"}}",
        "{\"code\":0,\"opaque\":1,\"extFields\":{\"queueId\":\"2\",\"msgId\":null,\"queueOffset\":"
        "\"7\"}}",
        "{\"code\":0,\"opaque\":1,\"extFields\":{\"queueId\":\"2\",\"msgId\":\"\",\"queueOffset\":"
        "\"7\"}}",
        "{\"code\":0,\"opaque\":1,\"extFields\":{\"queue\\u0049d\":\"2\",\"msgId\":\"a\\u0041\","
        "\"queueOffset\":\"7\"}}",
        "{\"code\":0,\"opaque\":1,\"extFields\":{\"queueId\":\"2\",\"msgId\":\"a\",\"queueOffset\":"
        "\"7\"},"
        "\"extFields\":{}}",
        "{\"code\":0,\"opaque\":1,\"extFields\":{\"queueId\":\"02\",\"msgId\":\"a\","
        "\"queueOffset\":\"+7\"}}",
        "{\"code\":0,\"opaque\":1,\"extFields\":{\"msgId\":\"\xff\"}}",
        "{\"code\":0,\"opaque\":1,\"extFields\":{\"q\":\"\"}}",
        "{\"code\":0,\"opaque\":12345678901234567890}",
        "{\"code\":1,\"opaque\":1,\"remark\":\"gr\xc3\xbcn\"}",
        "{\"code\":1,\"opaque\":1,\"remark\":12}",
        "{\"code\":1,\"opaque\":1,\"language\":7}",
        "{}",
        "{\"code\":1}",
        "",
        "{",
        "{\"",
        "{\"c",
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++)
        check_against_header(SALVO_HEADER_JSON, cases[i], strlen(cases[i]));
}

/* A batch's ids are long: long strings are read many bytes at a time. */
static void what_is_unusual_is_seen_anywhere_in_a_long_string(void **state)
{
    enum { LENGTH = 200 };
    static const char *const parts[] = {"a",       "\"",       "\\\"", "\\\\", "\\n",
                                        "\\u00fc", "\xc3\xbc", "\xff", "\x01", "\\x"};
    char text[LENGTH + 64], plain[LENGTH + 1];

    memset(plain, '0', LENGTH);
    plain[LENGTH] = '\0';
    for (int length = 0; length <= LENGTH; length++)
        for (int at = 0; at <= length; at++)
            for (size_t part = length < LENGTH ? 1 : 0; part < SALVO_ARRAY_LENGTH(parts); part++) {
                int size = snprintf(text, sizeof(text),
                                    "{\"code\":1,\"opaque\":1,\"remark\":\"%.*s%s%.*s\"}", at,
                                    plain, parts[part], length - at, plain);

                check_against_header(SALVO_HEADER_JSON, text, (size_t)size);
            }
}

static void answers_cut_anywhere_are_refused(void **state)
{
    static const char *const examples[] = {example_answer_json, example_answer_binary};
    uint8_t bytes[512];

    for (int i = 0; i < 2; i++) {
        size_t size = example_bytes(examples[i], bytes, sizeof(bytes)) - 8;
        struct salvo_send_answer answer;

        for (size_t have = 0; have < size; have++)
            assert_int_equal(
                read_header((enum salvo_header_form)i, (const char *)bytes + 8, have, &answer),
                -EBADMSG);
    }
}

/* One byte of the example changed at a time, and then several. */
static void damaged_answers_read_as_the_general_reader_reads_them(void **state)
{
    static const char *const examples[] = {example_answer_json, example_answer_binary};
    static const char bad[] = "\"\\{}:,0-x \x01";
    uint64_t seed = unit_seed(99);
    struct salvo_random random;
    uint8_t bytes[512], damaged[512];

    print_message("seed %llu\n", (unsigned long long)seed);
    salvo_random_init(&random, seed);
    for (int form = 0; form < 2; form++) {
        size_t size = example_bytes(examples[form], bytes, sizeof(bytes)) - 8;

        for (size_t at = 0; at < size; at++) {
            for (size_t k = 0; k < sizeof(bad); k++) {
                memcpy(damaged, bytes + 8, size);
                damaged[at] = (uint8_t)bad[k];
                check_against_header((enum salvo_header_form)form, (char *)damaged, size);
            }
        }
        for (int round = 0; round < 20000; round++) {
            memcpy(damaged, bytes + 8, size);
            for (int k = 0; k < 3; k++)
                damaged[salvo_random_below(&random, size)] =
                    (uint8_t)bad[salvo_random_below(&random, sizeof(bad))];
            check_against_header((enum salvo_header_form)form, (char *)damaged, size);
        }
    }
}

/* An answer that is like the last one is read from its mould; it must say what the long way says,
 * whatever the bytes are. `like` has learnt from the header before it was damaged. */
static void check_like(struct salvo_answer_mould mould, enum salvo_header_form form,
                       const uint8_t *text, size_t size)
{
    uint8_t *exact = malloc(size);
    struct salvo_frame frame = {.form = form, .header = exact, .header_size = (uint32_t)size};
    struct salvo_send_answer like, answer;
    int r;

    memcpy(exact, text, size);
    r = salvo_send_answer_read(&answer, &frame);
    assert_int_equal(salvo_send_answer_read_like(&mould, &like, &frame), r);
    if (r == 0)
        assert_true(answers_same(&like, &answer));
    free(exact);
}

static uint32_t misses_after(struct salvo_answer_mould *mould, enum salvo_header_form form,
                             const uint8_t *header, size_t size)
{
    struct salvo_frame frame = {.form = form, .header = header, .header_size = (uint32_t)size};
    struct salvo_send_answer answer;

    assert_int_equal(salvo_send_answer_read_like(mould, &answer, &frame), 0);
    return mould->misses;
}

static void an_answer_like_the_last_reads_as_any(void **state)
{
    static const char *const examples[] = {example_answer_json, example_answer_binary};
    static const char other[] = "0123456789abcF\"\\}-{\x80\x01 ";
    struct salvo_random random;
    uint64_t seed = unit_seed(77);
    uint8_t bytes[512], damaged[512];

    print_message("seed %llu\n", (unsigned long long)seed);
    salvo_random_init(&random, seed);
    for (int form = 0; form < 2; form++) {
        size_t size = example_bytes(examples[form], bytes, sizeof(bytes)) - 8;
        struct salvo_answer_mould mould = {0};

        assert_int_equal(misses_after(&mould, (enum salvo_header_form)form, bytes + 8, size), 1);
        assert_int_equal(misses_after(&mould, (enum salvo_header_form)form, bytes + 8, size), 1);
        for (size_t at = 0; at < size; at++) {
            for (size_t k = 0; k < sizeof(other); k++) {
                memcpy(damaged, bytes + 8, size);
                damaged[at] = (uint8_t)other[k];
                check_like(mould, (enum salvo_header_form)form, damaged, size);
            }
        }
        for (int round = 0; round < 20000; round++) {
            memcpy(damaged, bytes + 8, size);
            for (int k = 0; k < 3; k++)
                damaged[salvo_random_below(&random, size)] =
                    (uint8_t)other[salvo_random_below(&random, sizeof(other))];
            check_like(mould, (enum salvo_header_form)form, damaged, size);
        }
        /* A mould of the other form, or of another size, is none. */
        example_bytes(examples[1 - form], bytes, sizeof(bytes));
        check_like(mould, (enum salvo_header_form)(1 - form), bytes + 8, size);
    }
}

/* Numbers of every width, in both forms: those that are no longer like the last, and those that a
 * mould does not hold. */
static void numbers_of_every_width_read_alike(void **state)
{
    static const char *const offsets[] = {
        "0",
        "7",
        "55",
        "99999999",
        "100000000",
        "00000001",
        "123456789",
        "12345678a",
        "9999999999999999",
        "12345678901234567",
        "-1",
        "-12345678",
        "",
        "+5",
    };

    for (int form = 0; form < 2; form++) {
        for (size_t i = 0; i < SALVO_ARRAY_LENGTH(offsets); i++) {
            struct salvo_answer_mould mould = {0};

            for (size_t k = 0; k < SALVO_ARRAY_LENGTH(offsets); k++) {
                struct salvo_header header = {.opaque = k % 2 ? 1000000000 : -3, .flag = 1};
                uint8_t frame_bytes[1024];
                struct salvo_frame frame;
                const char *why;

                salvo_header_add(&header, "msgId", SALVO_TEXT("0A01020300002A9F0000000000000123"));
                salvo_header_add(&header, "queueOffset", salvo_text_of(offsets[k == 0 ? i : k]));
                salvo_header_add(&header, "queueId", salvo_text_of(offsets[i]));
                assert_true(salvo_frame_write(frame_bytes, sizeof(frame_bytes),
                                              (enum salvo_header_form)form, &header, NULL, 0) > 0);
                assert_int_equal(salvo_frame_parse(frame_bytes, sizeof(frame_bytes),
                                                   SALVO_FRAME_SIZE_MAX, &frame, &why),
                                 0);
                for (int times = 0; times < 20; times++) { /* until it is learnt */
                    check_like(mould, frame.form, frame.header, frame.header_size);
                    misses_after(&mould, frame.form, frame.header, frame.header_size);
                }
            }
        }
    }
}

/* JSON has no zero in front of a bare number, however wide the last one was. */
static void a_zero_in_front_is_no_number_of_json(void **state)
{
    char text[] = "{\"code\":0,\"extFields\":{\"queueId\":\"1\",\"queueOffset\":\"55\","
                  "\"msgId\":\"0A01020300002A9F0000000000000123\"},\"flag\":1,"
                  "\"opaque\":1000000007,\"version\":479}";
    struct salvo_frame frame = {.form = SALVO_HEADER_JSON,
                                .header = (const uint8_t *)text,
                                .header_size = sizeof(text) - 1};
    struct salvo_answer_mould mould = {0};
    struct salvo_send_answer answer;

    assert_int_equal(salvo_send_answer_read_like(&mould, &answer, &frame), 0);
    assert_int_equal(salvo_send_answer_read_like(&mould, &answer, &frame), 0);
    assert_int_equal(mould.misses, 1); /* it was like the last */
    *strstr(text, "1000000007") = '0';
    assert_int_equal(salvo_send_answer_read_like(&mould, &answer, &frame), -EBADMSG);
}

static void an_offset_message_id_is_address_port_and_offset(void **state)
{
    struct salvo_offset_msg_id id = {.port = 77};

    assert_int_equal(salvo_offset_msg_id_read(SALVO_TEXT("0"), &id), -EINVAL);
    assert_int_equal(salvo_offset_msg_id_read((struct salvo_text){0}, &id), -EINVAL);
    assert_int_equal(salvo_offset_msg_id_read(SALVO_TEXT("0A01020300002A9F00000000000001234"), &id),
                     -EINVAL);
    assert_int_equal(id.port, 77);
    assert_int_equal(salvo_offset_msg_id_read(SALVO_TEXT("0A0102fE00002A9F0000000000000123"), &id),
                     0);
    assert_int_equal(id.commit_log_offset, 0x123);
    assert_int_equal(id.ip_size, 4);
    assert_int_equal(id.ip4, 0x0a0102fe);
    assert_int_equal(id.port, 10911);
    assert_int_equal(
        salvo_offset_msg_id_read(
            SALVO_TEXT("0000000000000000000000000000000100002A9Ffedcba9876543210"), &id),
        0);
    assert_true(id.commit_log_offset == UINT64_C(0xfedcba9876543210));
    assert_int_equal(id.ip_size, 16);
    assert_int_equal(id.port, 10911);
}

/* Eight digits are read at once, so that each byte is tried in each place. */
static void every_byte_of_an_offset_message_id_is_checked(void **state)
{
    for (unsigned place = 0; place < SALVO_OFFSET_MSG_ID_V4_SIZE; place++) {
        for (int byte = 0; byte < 256; byte++) {
            char text[SALVO_OFFSET_MSG_ID_V4_SIZE];
            struct salvo_offset_msg_id id;
            uint64_t want = 0;
            int r;

            memset(text, '0', sizeof(text));
            text[place] = (char)byte;
            r = salvo_offset_msg_id_read((struct salvo_text){text, sizeof(text)}, &id);
            if (byte >= 0x80 || !isxdigit(byte)) {
                assert_int_equal(r, -EINVAL);
                continue;
            }
            want = (uint64_t)(byte <= '9' ? byte - '0' : (byte | 0x20) - 'a' + 10)
                   << 4 * (7 - place % 8);
            assert_int_equal(r, 0);
            assert_int_equal(id.ip4, place < 8 ? want : 0);
            assert_int_equal(id.port, place / 8 == 1 ? want : 0);
            assert_true(id.commit_log_offset == (place < 16 ? 0 : place < 24 ? want << 32 : want));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_answer_is_read_in_both_forms),
        cmocka_unit_test(an_answer_may_lack_nearly_everything),
        cmocka_unit_test(flags_and_opaque_are_given_as_they_come),
        cmocka_unit_test(only_false_turns_the_trace_off),
        cmocka_unit_test(an_offset_that_is_no_number_is_no_offset),
        cmocka_unit_test(json_variants_read_as_the_general_reader_reads_them),
        cmocka_unit_test(what_is_unusual_is_seen_anywhere_in_a_long_string),
        cmocka_unit_test(answers_cut_anywhere_are_refused),
        cmocka_unit_test(damaged_answers_read_as_the_general_reader_reads_them),
        cmocka_unit_test(an_answer_like_the_last_reads_as_any),
        cmocka_unit_test(numbers_of_every_width_read_alike),
        cmocka_unit_test(a_zero_in_front_is_no_number_of_json),
        cmocka_unit_test(an_offset_message_id_is_address_port_and_offset),
        cmocka_unit_test(every_byte_of_an_offset_message_id_is_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
