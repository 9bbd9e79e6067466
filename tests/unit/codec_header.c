/* codec/header: both forms, against the examples, against each other, and against what no peer
 * should send. */
#include "tests/unit/unit.h"
#include "tests/unit/codec_examples.h"

#include "base/random.h"
#include "codec/header.h"
#include "codec/heartbeat.h"

#include <errno.h>
#include <stdio.h>

static uint8_t bytes[65536], scratch[65536], expected[65536];

static struct salvo_header header_of(int32_t code, int32_t version, int32_t opaque)
{
    return (struct salvo_header){.code = code, .version = version, .opaque = opaque};
}

static void check_frame(const struct salvo_header *header, enum salvo_header_form form,
                        const char *body, const char *example)
{
    size_t expected_size = example_bytes(example, expected, sizeof(expected));
    ssize_t size = salvo_frame_write(bytes, sizeof(bytes), form, header, body,
                                     body == NULL ? 0 : (uint32_t)strlen(body));

    assert_int_equal(size, expected_size);
    assert_memory_equal(bytes, expected, expected_size);
    for (size_t room = 0; room < expected_size; room++)
        assert_int_equal(salvo_frame_write(bytes, room, form, header, body,
                                           body == NULL ? 0 : (uint32_t)strlen(body)),
                         -ENOSPC);
}

static void the_examples_are_written_byte_for_byte(void **state)
{
    static char body[512];
    struct salvo_writer w = salvo_writer_over(body, sizeof(body) - 1);
    struct salvo_text groups[] = {SALVO_TEXT("CLIENT_INNER_PRODUCER"), SALVO_TEXT("PG_A")};
    struct salvo_text client_id = SALVO_TEXT("10.1.2.3@4242");
    struct salvo_header header = header_of(SALVO_REQUEST_HEART_BEAT, 355, 7);

    salvo_heartbeat_write(&w, client_id, groups, 2, false);
    check_frame(&header, SALVO_HEADER_JSON, body, example_heartbeat_4);

    memset(body, 0, sizeof(body));
    w = salvo_writer_over(body, sizeof(body) - 1);
    salvo_heartbeat_write(&w, client_id, groups, 2, true);
    header.version = 479;
    header.has_ext = true;
    check_frame(&header, SALVO_HEADER_JSON, body, example_heartbeat_5);

    header = header_of(SALVO_REQUEST_GET_ROUTEINFO_BY_TOPIC, 479, 1);
    salvo_header_add(&header, "topic", SALVO_TEXT("TBW102"));
    check_frame(&header, SALVO_HEADER_JSON, NULL, example_route_request);

    salvo_unregister_header(&header, client_id, SALVO_TEXT("PG_A"));
    header.language = SALVO_LANGUAGE_JAVA;
    header.version = 355;
    header.opaque = 10;
    check_frame(&header, SALVO_HEADER_JSON, NULL, example_unregister);

    header = header_of(SALVO_REQUEST_END_TRANSACTION, 355, 11);
    header.flag = SALVO_REMOTING_ONEWAY;
    salvo_header_add(&header, "producerGroup", SALVO_TEXT("PG_A"));
    salvo_header_add(&header, "tranStateTableOffset", SALVO_TEXT("3"));
    salvo_header_add(&header, "commitLogOffset", SALVO_TEXT("291"));
    salvo_header_add(&header, "commitOrRollback", SALVO_TEXT("8"));
    salvo_header_add(&header, "fromTransactionCheck", SALVO_TEXT("false"));
    salvo_header_add(&header, "msgId", SALVO_TEXT(EXAMPLE_UNIQ_KEY));
    salvo_header_add(&header, "transactionId", SALVO_TEXT(EXAMPLE_UNIQ_KEY));
    check_frame(&header, SALVO_HEADER_BINARY, NULL, example_end_transaction);

    header = header_of(3, 479, 12);
    header.flag = SALVO_REMOTING_RESPONSE;
    header.remark = SALVO_TEXT(" request type 40 not supported");
    check_frame(&header, SALVO_HEADER_JSON, NULL, example_answer_unsupported);
}

static int read_json(const char *text, struct salvo_header *ret_header)
{
    return salvo_header_read(ret_header, SALVO_HEADER_JSON, text, strlen(text), scratch,
                             strlen(text));
}

static void json_is_taken_as_java_takes_it(void **state)
{
    static const char text[] =
        " {\"version\" : "
        "\"479\",\n\t\"unknown\":{\"a\":[1,{\"b\":null}]},\"opaque\":\"-9\",\"remark\":null,"
        "\"language\":\"cpp\",\"extFields\":{\"number\":12,\"yes\":true,\"no\":false,\"gone\":null,"
        "\"slash\":\"a\\/b\",\"one\":\"\\u0001\",\"raw\":\"\x01\",\"smile\":\"\\ud83d\\ude00\","
        "\"k\\u0065y\":\"v\",\"empty\":\"\"},\"code\":0}";
    struct salvo_header header;
    int64_t number;

    assert_int_equal(read_json(text, &header), 0);
    assert_int_equal(header.code, 0);
    assert_int_equal(header.version, 479);
    assert_int_equal(header.opaque, -9);
    assert_int_equal(header.flag, 0);
    assert_int_equal(header.language, SALVO_LANGUAGE_CPP);
    assert_null(header.remark.text);
    assert_int_equal(header.ext_count, 9);
    assert_true(header.has_ext);
    assert_true(salvo_text_equals(salvo_header_ext(&header, "number"), "12"));
    assert_int_equal(salvo_header_ext_integer(&header, "number", &number), 0);
    assert_int_equal(number, 12);
    assert_int_equal(salvo_header_ext_integer(&header, "yes", &number), -EINVAL);
    assert_int_equal(salvo_header_ext_integer(&header, "gone", &number), -ENOENT);
    assert_true(salvo_text_equals(salvo_header_ext(&header, "yes"), "true"));
    assert_true(salvo_text_equals(salvo_header_ext(&header, "no"), "false"));
    assert_true(salvo_text_equals(salvo_header_ext(&header, "slash"), "a/b"));
    assert_true(salvo_text_equals(salvo_header_ext(&header, "one"), "\x01"));
    assert_true(salvo_text_equals(salvo_header_ext(&header, "raw"), "\x01"));
    assert_true(salvo_text_equals(salvo_header_ext(&header, "smile"), "\xf0\x9f\x98\x80"));
    assert_true(salvo_text_equals(salvo_header_ext(&header, "key"), "v"));
    assert_true(salvo_text_equals(salvo_header_ext(&header, "empty"), ""));
}

static void json_that_is_no_header_is_refused(void **state)
{
    static const char *const cases[] = {
        "",
        "{}",
        "[]",
        "{\"code\":0}",
        "{\"opaque\":1}",
        "{\"code\":0,\"opaque\":1",
        "{\"code\":0,\"opaque\":1}x",
        "{\"code\":\"x\",\"opaque\":1}",
        "{\"code\":2147483648,\"opaque\":1}",
        "{\"code\":0,\"opaque\":1.5}",
        "{\"code\":0,\"opaque\":1,\"extFields\":[]}",
        "{\"code\":0,\"opaque\":1,\"extFields\":{\"a\":\"\xff\"}}",
        "{\"code\":0,\"opaque\":1,\"extFields\":{\"a\":\"\\ud800\"}}",
    };
    struct salvo_header header;

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++)
        assert_int_equal(read_json(cases[i], &header), -EBADMSG);
    assert_int_equal(read_json("{\"code\":0,\"opaque\":1,\"extFields\":null}", &header), 0);
    assert_false(header.has_ext);
}

static void the_ext_table_has_an_end(void **state)
{
    struct salvo_header header = header_of(0, 479, 1), again;

    for (uint32_t i = 0; i < SALVO_EXT_FIELDS_MAX; i++)
        assert_true(salvo_header_add(&header, "key", SALVO_TEXT("value")));
    assert_false(salvo_header_add(&header, "key", SALVO_TEXT("value")));
    for (int form = 0; form <= 1; form++) {
        struct salvo_writer w = salvo_writer_over(bytes, sizeof(bytes));
        size_t size;

        if (form == SALVO_HEADER_BINARY)
            salvo_header_binary_write(&w, &header);
        else
            salvo_header_json_write(&w, &header);
        size = salvo_writer_size(&w);
        assert_int_equal(
            salvo_header_read(&again, (enum salvo_header_form)form, bytes, size, scratch, size), 0);
        assert_int_equal(again.ext_count, SALVO_EXT_FIELDS_MAX);
    }
    /* one more, binary: 11 bytes behind the last */
    {
        struct salvo_writer w = salvo_writer_over(bytes, sizeof(bytes));
        size_t size;

        salvo_header_binary_write(&w, &header);
        size = salvo_writer_size(&w);
        memcpy(bytes + size, "\0\3key\0\0\0\1x", 10);
        salvo_store_be32(bytes + 17, salvo_load_be32(bytes + 17) + 10);
        assert_int_equal(salvo_header_binary_read(&again, bytes, size + 10), -EBADMSG);
    }
}

/* code 0, language 0, version 479, opaque 9, flag 1, then what the case says */
static int read_binary(const char *rest, size_t rest_size, struct salvo_header *ret_header)
{
    uint8_t *exact = malloc(13 + rest_size);
    int r;

    memcpy(exact, "\0\0\0\x01\xdf\0\0\0\x09\0\0\0\x01", 13);
    memcpy(exact + 13, rest, rest_size);
    r = salvo_header_binary_read(ret_header, exact, 13 + rest_size);
    if (!r && ret_header->ext_count > 0)
        assert_true(ret_header->ext[0].value.size < rest_size);
    free(exact);
    return r;
}

static void binary_headers_that_lie_are_refused(void **state)
{
#define CASE(text, result)                                                                         \
    {                                                                                              \
        text, sizeof(text) - 1, result                                                             \
    }
    static const struct {
        const char *rest;
        size_t size;
        int result;
    } cases[] = {
        CASE("\0\0\0\0\0\0\0\0", 0),
        CASE("\0\0\0\0\0\0\0", -EBADMSG),
        CASE("\0\0\0\0\0\0\0\1", -EBADMSG), /* ext over the header */
        CASE("\0\0\0\0\x7f\xff\xff\xff", -EBADMSG),
        CASE("\0\0\0\0\xff\xff\xff\xff", -EBADMSG),
        CASE("\0\0\0\0\0\0\0\0x", -EBADMSG),        /* bytes behind */
        CASE("\xff\xff\xff\xff\0\0\0\0", -EBADMSG), /* remark negative */
        CASE("\0\0\0\1r\0\0\0\0", 0),
        CASE("\0\0\0\2r\0\0\0\0", -EBADMSG),
        CASE("\0\0\0\0\0\0\0\x08\0\1k\0\0\0\1v", 0),
        CASE("\0\0\0\0\0\0\0\x08\0\2k\0\0\0\1v", -EBADMSG),         /* key runs past */
        CASE("\0\0\0\0\0\0\0\x08\x80\1k\0\0\0\1v", -EBADMSG),       /* key negative */
        CASE("\0\0\0\0\0\0\0\x08\0\1k\xff\xff\xff\xffv", -EBADMSG), /* value negative */
        CASE("\0\0\0\0\0\0\0\x08\0\1k\0\0\0\2v", -EBADMSG),
        CASE("\0\0\0\0\0\0\0\x07\0\1k\0\0\0\0", 0), /* empty value: absent */
        CASE("\0\0\0\0\0\0\0\x07\0\0\0\0\0\1v", 0), /* empty key: absent */
    };
    struct salvo_header header;

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++)
        assert_int_equal(read_binary(cases[i].rest, cases[i].size, &header), cases[i].result);
    assert_int_equal(read_binary("\0\0\0\0\0\0\0\x07\0\1k\0\0\0\0", 15, &header), 0);
    assert_int_equal(header.ext_count, 0);
    assert_null(salvo_header_ext(&header, "k").text);
}

static void a_binary_code_is_sixteen_signed_bits(void **state)
{
    struct salvo_header header;
    uint8_t text[21] = {0xff, 0xff, 1, 0xff, 0xff};

    assert_int_equal(salvo_header_binary_read(&header, text, sizeof(text)), 0);
    assert_int_equal(header.code, -1);
    assert_int_equal(header.language, SALVO_LANGUAGE_CPP);
    assert_int_equal(header.version, -1);
}

static void of_equal_keys_the_last_one_counts(void **state)
{
    struct salvo_header header = header_of(0, 0, 0);

    salvo_header_add(&header, "k", SALVO_TEXT("first"));
    salvo_header_add(&header, "k", SALVO_TEXT("last"));
    assert_true(salvo_text_equals(salvo_header_ext(&header, "k"), "last"));
}

/* Random text: any byte below 0x80, or some UTF-8. */
static struct salvo_text random_text(struct salvo_random *random, char *room, uint32_t size_max)
{
    uint32_t size = (uint32_t)salvo_random_below(random, size_max) + 1, at = 0;

    while (at < size) {
        if (at + 2 <= size && salvo_random_chance(random, 1, 8)) {
            room[at++] = (char)(0xc2 + salvo_random_below(random, 0x1d));
            room[at++] = (char)(0x80 + salvo_random_below(random, 0x40));
        } else {
            room[at++] = (char)salvo_random_below(random, 0x80);
        }
    }
    return (struct salvo_text){room, size};
}

static void check_equal(const struct salvo_header *a, const struct salvo_header *b)
{
    assert_int_equal(a->code, b->code);
    assert_int_equal(a->language, b->language);
    assert_int_equal(a->version, b->version);
    assert_int_equal(a->opaque, b->opaque);
    assert_int_equal(a->flag, b->flag);
    assert_int_equal(a->remark.size, b->remark.size);
    if (a->remark.size > 0)
        assert_memory_equal(a->remark.text, b->remark.text, a->remark.size);
    assert_int_equal(a->ext_count, b->ext_count);
    for (uint32_t i = 0; i < a->ext_count; i++) {
        assert_int_equal(a->ext[i].key.size, b->ext[i].key.size);
        assert_memory_equal(a->ext[i].key.text, b->ext[i].key.text, a->ext[i].key.size);
        assert_int_equal(a->ext[i].value.size, b->ext[i].value.size);
        assert_memory_equal(a->ext[i].value.text, b->ext[i].value.text, a->ext[i].value.size);
    }
}

static void random_headers_come_back_in_both_forms(void **state)
{
    static char texts[2 * SALVO_EXT_FIELDS_MAX + 1][128];
    uint64_t seed = unit_seed(20231114);
    struct salvo_random random;

    print_message("seed %llu\n", (unsigned long long)seed);
    salvo_random_init(&random, seed);
    for (int round = 0; round < 2000; round++) {
        struct salvo_header header = {
            .code = (int16_t)salvo_random_next(&random),
            .language = (int32_t)salvo_random_below(&random, 14),
            .version = (int16_t)salvo_random_next(&random),
            .opaque = (int32_t)salvo_random_next(&random),
            .flag = (int32_t)salvo_random_next(&random),
        };
        uint32_t fields = (uint32_t)salvo_random_below(&random, SALVO_EXT_FIELDS_MAX + 1);

        if (salvo_random_chance(&random, 1, 2))
            header.remark = random_text(&random, texts[0], 127);
        for (uint32_t i = 0; i < fields; i++)
            header.ext[i] = (struct salvo_ext_field){random_text(&random, texts[2 * i + 1], 20),
                                                     random_text(&random, texts[2 * i + 2], 127)};
        header.ext_count = fields;
        for (int form = 0; form <= 1; form++) {
            struct salvo_writer w = salvo_writer_over(bytes, sizeof(bytes));
            struct salvo_header again;
            uint8_t *exact;
            size_t size;

            if (form == SALVO_HEADER_BINARY)
                salvo_header_binary_write(&w, &header);
            else
                salvo_header_json_write(&w, &header);
            assert_false(w.failed);
            size = salvo_writer_size(&w);
            exact = malloc(size);
            memcpy(exact, bytes, size);
            assert_int_equal(
                salvo_header_read(&again, (enum salvo_header_form)form, exact, size, scratch, size),
                0);
            check_equal(&again, &header);
            free(exact);
        }
    }
}

static void language_names_are_those_of_java(void **state)
{
    assert_string_equal(salvo_language_name(1), "CPP");
    assert_string_equal(salvo_language_name(13), "NODE_JS");
    assert_string_equal(salvo_language_name(14), "OTHER");
    assert_string_equal(salvo_language_name(-1), "OTHER");
    assert_int_equal(salvo_language_number("RUST", 4), SALVO_LANGUAGE_RUST);
    assert_int_equal(salvo_language_number("rust", 4), SALVO_LANGUAGE_RUST);
    assert_int_equal(salvo_language_number("C", 1), SALVO_LANGUAGE_OTHER);
    assert_int_equal(salvo_language_number("CPPX", 4), SALVO_LANGUAGE_OTHER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_are_written_byte_for_byte),
        cmocka_unit_test(json_is_taken_as_java_takes_it),
        cmocka_unit_test(json_that_is_no_header_is_refused),
        cmocka_unit_test(the_ext_table_has_an_end),
        cmocka_unit_test(binary_headers_that_lie_are_refused),
        cmocka_unit_test(a_binary_code_is_sixteen_signed_bits),
        cmocka_unit_test(of_equal_keys_the_last_one_counts),
        cmocka_unit_test(random_headers_come_back_in_both_forms),
        cmocka_unit_test(language_names_are_those_of_java),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
