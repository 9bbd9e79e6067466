/* base/json: what RocketMQ writes is read, what is no JSON is refused, at every byte and at each
 * limit. */
#include "tests/unit/unit.h"

#include "base/json.h"
#include "base/random.h"

#include <errno.h>
#include <stdio.h>

#define TOKENS 256

static const char send_response[] =
    "{\"code\":0,\"extFields\":{\"queueId\":\"2\",\"transactionId\":"
    "\"0A01020310921234ABCD000000010000\",\"msgId\":\"0A01020300002A9F0000000000000123\","
    "\"TRACE_ON\":\"true\",\"MSG_REGION\":\"DefaultRegion\",\"queueOffset\":\"55\"},\"flag\":1,"
    "\"language\":\"JAVA\",\"opaque\":9,\"serializeTypeCurrentRPC\":\"JSON\",\"version\":479}";

static const char route_bare[] =
    "{\"brokerDatas\":[{\"brokerAddrs\":{0:\"127.0.0.1:10911\",1:\"127.0.0.1:10921\"},"
    "\"brokerName\":\"broker-a\",\"cluster\":\"DefaultCluster\",\"enableActingMaster\":false}],"
    "\"filterServerTable\":{},\"queueDatas\":[{\"brokerName\":\"broker-a\",\"perm\":6,"
    "\"readQueueNums\":4,\"topicSysFlag\":0,\"writeQueueNums\":4}]}";

/* Everything the grammar has. */
static const char one_of_each[] = " { \"a\" : [ 1 , -2.5e+10 , true , false , null , "
                                  "\"\\u00e9\\n\\ud83d\\ude00\" , [ ] , { } ] ,\r\n"
                                  "\t-7 : \"\xc3\xa9\x01\" , \"\" : { \"b\" : [ [ { } ] ] } } ";

static struct salvo_json json;
static struct salvo_json_token tokens[TOKENS];

/* From memory of exactly that size, so that the address sanitizer sees a step past the end. */
static int parse_bytes(const char *text, size_t size, size_t *ret_offset)
{
    static char *kept;

    free(kept);
    kept = malloc(size == 0 ? 1 : size);
    memcpy(kept, text, size);
    return salvo_json_parse(&json, kept, size, tokens, TOKENS, ret_offset);
}

static int parse(const char *text)
{
    return parse_bytes(text, strlen(text), NULL);
}

static void check_text(int32_t token, const char *expected)
{
    char text[512];
    ssize_t size;

    assert_true(token >= 0);
    size = salvo_json_string(&json, (uint32_t)token, text, sizeof(text));
    assert_int_equal(size, strlen(expected));
    assert_memory_equal(text, expected, (size_t)size);
}

static void check_integer(int32_t token, int64_t expected)
{
    int64_t value;

    assert_true(token >= 0);
    assert_int_equal(salvo_json_integer(&json, (uint32_t)token, &value), 0);
    assert_true(value == expected);
}

static void a_send_response_is_read(void **state)
{
    int32_t ext;

    assert_int_equal(parse(send_response), 0);
    assert_int_equal(tokens[0].children, 7);
    assert_int_equal(tokens[0].next, json.tokens_count);
    check_integer(salvo_json_find(&json, 0, "code"), 0);
    check_integer(salvo_json_find(&json, 0, "opaque"), 9);
    check_integer(salvo_json_find(&json, 0, "version"), 479);
    assert_true(salvo_json_equals(&json, (uint32_t)salvo_json_find(&json, 0, "language"), "JAVA"));
    assert_int_equal(salvo_json_find(&json, 0, "remark"), -1);
    ext = salvo_json_find(&json, 0, "extFields");
    assert_true(ext > 0);
    assert_int_equal(tokens[ext].children, 6);
    check_integer(salvo_json_find(&json, (uint32_t)ext, "queueOffset"), 55);
    check_integer(salvo_json_find(&json, (uint32_t)ext, "queueId"), 2);
    check_text(salvo_json_find(&json, (uint32_t)ext, "msgId"), "0A01020300002A9F0000000000000123");
    assert_int_equal(salvo_json_find(&json, 0, "msgId"), -1); /* not that deep */
}

/* 13.15, 1: unquoted keys, quoted keys, negative keys, white space between all tokens. */
static void a_route_is_read_however_it_is_written(void **state)
{
    static const char *const addresses[] = {
        "{0:\"127.0.0.1:10911\",1:\"127.0.0.1:10921\"}",
        "{\"0\":\"127.0.0.1:10911\",\"1\":\"127.0.0.1:10921\"}",
        "{\"1\":\"127.0.0.1:10921\",-1:\"x\",0:\"127.0.0.1:10911\"}",
        " { 0 :\n\"127.0.0.1:10911\" ,\r\n\t1\t: \"127.0.0.1:10921\" } \n",
        "{\"\\u0030\":\"127.0.0.1:10911\",\"\\u0031\":\"127.0.0.1\\u003a10921\"}",
    };
    int32_t brokers, table;

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(addresses); i++) {
        assert_int_equal(parse(addresses[i]), 0);
        check_text(salvo_json_find(&json, 0, "0"), "127.0.0.1:10911");
        check_text(salvo_json_find(&json, 0, "1"), "127.0.0.1:10921");
        assert_int_equal(salvo_json_find(&json, 0, "-1") >= 0, i == 2);
        assert_int_equal(salvo_json_find(&json, 0, "2"), -1);
    }

    assert_int_equal(parse(route_bare), 0);
    brokers = salvo_json_find(&json, 0, "brokerDatas");
    assert_true(brokers > 0);
    assert_int_equal(tokens[brokers].kind, SALVO_JSON_ARRAY);
    assert_int_equal(tokens[brokers].children, 1);
    table = salvo_json_find(&json, (uint32_t)brokers + 1, "brokerAddrs");
    check_text(salvo_json_find(&json, (uint32_t)table, "0"), "127.0.0.1:10911");
    check_text(salvo_json_find(&json, (uint32_t)brokers + 1, "enableActingMaster"), "false");
}

/* 13.15, 2. */
static void strings_mean_what_they_escape(void **state)
{
    static const struct {
        const char *text;
        const char *meaning;
        size_t size;
    } cases[] = {
        {"\"\"", "", 0},
        {"\"a\\/b\"", "a/b", 3},
        {"\"a/b\"", "a/b", 3},
        {"\"TAGS\\u0001TagA\\u0002\"", "TAGS\1TagA\2", 10},
        {"\"TAGS\1TagA\2\"", "TAGS\1TagA\2", 10},
        {"\"\\\"\\\\\\b\\f\\n\\r\\t\"", "\"\\\b\f\n\r\t", 7},
        {"\"\\u0000\"", "\0", 1},
        {"\"\\u007f\\u0080\\u07ff\\u0800\\uffff\"", "\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf",
         11},
        {"\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80", 4},
        {"\"\\uD83D\\uDE00x\"", "\xf0\x9f\x98\x80x", 5},
        {"\"\\ud800\\udc00\\udbff\\udfff\"", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 8},
        {"\"\xf0\x9f\x98\x80\"", "\xf0\x9f\x98\x80", 4},
        {"\"12345678\\t12345678\xe2\x82\xac"
         "12345678\"",
         "12345678\t12345678\xe2\x82\xac"
         "12345678",
         28},
        {"-12.5e3", "-12.5e3", 7},
        {"true", "true", 4},
        {"false", "false", 5},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        char text[64];

        assert_int_equal(parse(cases[i].text), 0);
        assert_int_equal(json.tokens_count, 1);
        assert_int_equal(salvo_json_string(&json, 0, text, cases[i].size), cases[i].size);
        assert_memory_equal(text, cases[i].meaning, cases[i].size);
        if (cases[i].size > 0)
            assert_int_equal(salvo_json_string(&json, 0, text, cases[i].size - 1), -ENOSPC);
    }
    assert_int_equal(parse("null"), 0);
    assert_int_equal(salvo_json_string(&json, 0, tokens, 10), -EINVAL);
    assert_int_equal(parse("{}"), 0);
    assert_int_equal(salvo_json_string(&json, 0, NULL, 0), -EINVAL);
}

/* 13.15, 3: any order, unknown keys, null remark, values as numbers or booleans, things missing. */
static void a_header_is_read_in_any_order_and_shape(void **state)
{
    static const struct {
        const char *text;
        int64_t opaque;
        bool has_ext, has_version, has_remark;
    } cases[] = {
        {"{\"opaque\":9,\"code\":0}", 9, false, false, false},
        {"{\"version\":479,\"unknown\":[{\"opaque\":1}],\"opaque\":9,\"remark\":null}", 9, false,
         true, true},
        {"{\"extFields\":{\"queueId\":2,\"ok\":true},\"opaque\":\"9\"}", 9, true, false, false},
        {"{\"extFields\":{},\"opaque\":-1,\"remark\":\"opaque\"}", -1, true, false, true},
        {"{\"opaque\":2147483647,\"opaque\":5}", 2147483647, false, false, false}, /* the first */
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        assert_int_equal(parse(cases[i].text), 0);
        check_integer(salvo_json_find(&json, 0, "opaque"), cases[i].opaque);
        assert_int_equal(salvo_json_find(&json, 0, "extFields") >= 0, cases[i].has_ext);
        assert_int_equal(salvo_json_find(&json, 0, "version") >= 0, cases[i].has_version);
        assert_int_equal(salvo_json_find(&json, 0, "remark") >= 0, cases[i].has_remark);
    }
    assert_int_equal(parse(cases[2].text), 0);
    check_text(salvo_json_find(&json, (uint32_t)salvo_json_find(&json, 0, "extFields"), "queueId"),
               "2");
    check_text(salvo_json_find(&json, (uint32_t)salvo_json_find(&json, 0, "extFields"), "ok"),
               "true");
}

static void tokens_lie_in_document_order(void **state)
{
    static const struct {
        enum salvo_json_kind kind;
        uint32_t children, next;
    } expected[] = {
        {SALVO_JSON_OBJECT, 3, 20}, {SALVO_JSON_STRING, 0, 2},  {SALVO_JSON_ARRAY, 8, 11},
        {SALVO_JSON_NUMBER, 0, 4},  {SALVO_JSON_NUMBER, 0, 5},  {SALVO_JSON_BOOL, 0, 6},
        {SALVO_JSON_BOOL, 0, 7},    {SALVO_JSON_NULL, 0, 8},    {SALVO_JSON_STRING, 0, 9},
        {SALVO_JSON_ARRAY, 0, 10},  {SALVO_JSON_OBJECT, 0, 11}, {SALVO_JSON_NUMBER, 0, 12},
        {SALVO_JSON_STRING, 0, 13}, {SALVO_JSON_STRING, 0, 14}, {SALVO_JSON_OBJECT, 1, 20},
        {SALVO_JSON_STRING, 0, 16}, {SALVO_JSON_ARRAY, 1, 20},  {SALVO_JSON_ARRAY, 1, 20},
        {SALVO_JSON_OBJECT, 0, 20},
    };

    assert_int_equal(parse(one_of_each), 0);
    assert_int_equal(json.tokens_count, SALVO_ARRAY_LENGTH(expected));
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(expected); i++) {
        assert_int_equal(tokens[i].kind, expected[i].kind);
        assert_int_equal(tokens[i].children, expected[i].children);
        assert_int_equal(tokens[i].next, SALVO_MIN(expected[i].next, json.tokens_count));
    }
    assert_int_equal(tokens[0].start, 1);
    assert_int_equal(tokens[0].size, strlen(one_of_each) - 2);
    check_text(8, "\xc3\xa9\n\xf0\x9f\x98\x80");
}

static void what_is_no_json_is_refused_where_it_breaks(void **state)
{
    static const struct {
        const char *text;
        size_t offset;
    } cases[] = {
        {"", 0},
        {"   ", 3},
        {"x", 0},
        {"{", 1},
        {"}", 0},
        {"]", 0},
        {"[1 2]", 3},
        {"[1,]", 3},
        {"[,1]", 1},
        {"[1}", 2},
        {"{]", 1},
        {"{\"a\"}", 4},
        {"{\"a\":}", 5},
        {"{\"a\":1]", 6},
        {"{\"a\":1,}", 7},
        {"{,}", 1},
        {"{\"a\" 1}", 5},
        {"{a:1}", 1},
        {"{'a':1}", 1},
        {"{true:1}", 1},
        {"{-:1}", 2},
        {"{1.5:1}", 2},
        {"{1e2:1}", 2},
        {"{--1:1}", 2},
        {"{[]:1}", 1},
        {"1 1", 2},
        {"{}{}", 2},
        {"{} x", 3},
        {"tru", 3},
        {"trux", 3},
        {"True", 0},
        {"nul", 3},
        {"nulll", 4},
        {"falsy", 4},
        {"NaN", 0},
        {"-", 1},
        {"-x", 1},
        {"+1", 0},
        {".5", 0},
        {"1.", 2},
        {"1.x", 2},
        {"1e", 2},
        {"1e+", 3},
        {"01", 1},
        {"-01", 2},
        {"0x1", 1},
        {"\"", 1},
        {"\"abc", 4},
        {"\"abc\\", 4},
        {"\"\\x\"", 1},
        {"\"\\'\"", 1},
        {"\"\\u12\"", 1},
        {"\"\\u123g\"", 1},
        {"\"\\u 123\"", 1},
        {"\"\\ud83d\"", 1}, /* half a pair */
        {"\"\\ud83dx\"", 1},
        {"\"\\ud83d\\n\"", 1},
        {"\"\\ud83d\\u0041\"", 1},
        {"\"\\ud83d\\ud83d\"", 1},
        {"\"\\ude00\"", 1}, /* the other half */
        {"\"\\ude00\\ud83d\"", 1},
        {"\"12345678\x80\"", 9},
        {"\"\xc0\x80\"", 1},
        {"\"a\xc3\"", 2},
        {"\"\xed\xa0\x80\"", 1},
        {"\"\xf5\x80\x80\x80\"", 1},
        {"{\"\xff\":1}", 2},
        {"\xef\xbb\xbf{}", 0}, /* a byte order mark */
        {"\xc3\xa9", 0},
        {"/* c */ 1", 0},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        size_t offset = 12345;

        assert_int_equal(parse_bytes(cases[i].text, strlen(cases[i].text), &offset), -EBADMSG);
        assert_int_equal(offset, cases[i].offset);
        assert_int_equal(json.tokens_count, 0);
    }
    assert_int_equal(salvo_json_parse(&json, NULL, 0, tokens, TOKENS, NULL), -EBADMSG);
    assert_int_equal(parse_bytes("1\0", 2, NULL), -EBADMSG); /* NUL is no white space */
    assert_int_equal(parse_bytes("[\0]", 3, NULL), -EBADMSG);
    assert_int_equal(parse_bytes("tru\0", 4, NULL), -EBADMSG);
}

static void a_document_cut_short_anywhere_is_refused(void **state)
{
    static const char *const texts[] = {send_response, route_bare, one_of_each};

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(texts); i++) {
        size_t size = strlen(texts[i]);

        assert_int_equal(parse_bytes(texts[i], size, NULL), 0);
        while (texts[i][size - 1] == ' ')
            size--;
        for (size_t cut = 0; cut < size; cut++) {
            size_t offset = 12345;

            assert_int_equal(parse_bytes(texts[i], cut, &offset), -EBADMSG);
            assert_true(offset <= cut);
        }
    }
}

/* Whatever bytes come: a verdict, no step outside, and tokens that lie inside the text and each
 * other. */
static void a_document_with_wrong_bytes_never_breaks_the_tree(void **state)
{
    uint64_t seed = unit_seed(5);
    struct salvo_random random;
    unsigned good = 0;

    printf("seed %llu\n", (unsigned long long)seed);
    salvo_random_init(&random, seed);
    for (unsigned round = 0; round < 20000; round++) {
        static const char bytes[] = "{}[]:,\"\\u0-1e. tfn\x80\xc3\xff";
        size_t size = strlen(one_of_each);
        char text[sizeof(one_of_each)];

        memcpy(text, one_of_each, size);
        for (uint64_t n = 1 + salvo_random_below(&random, 3); n > 0; n--)
            text[salvo_random_below(&random, size)] =
                bytes[salvo_random_below(&random, sizeof(bytes))];
        if (parse_bytes(text, size, NULL) != 0)
            continue;
        good++;
        for (uint32_t i = 0; i < json.tokens_count; i++) {
            char unescaped[sizeof(one_of_each)];

            assert_true(tokens[i].start + tokens[i].size <= size);
            assert_true(tokens[i].next > i);
            assert_true(tokens[i].next <= json.tokens_count);
            salvo_json_find(&json, i, "b");
            if (tokens[i].kind == SALVO_JSON_STRING) {
                ssize_t got = salvo_json_string(&json, i, unescaped, sizeof(unescaped));

                assert_true(got >= 0);
                assert_true(salvo_utf8_valid(unescaped, (size_t)got));
            }
        }
    }
    assert_true(good > 100);
}

static void depth_is_limited(void **state)
{
    char text[4 * SALVO_JSON_DEPTH_MAX];

    for (unsigned depth = 1; depth <= SALVO_JSON_DEPTH_MAX + 1; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        assert_int_equal(parse_bytes(text, 2 * depth, NULL),
                         depth <= SALVO_JSON_DEPTH_MAX ? 0 : -E2BIG);
    }
    memset(text, '[', sizeof(text));
    assert_int_equal(parse_bytes(text, sizeof(text), NULL), -E2BIG);
}

static void tokens_are_limited(void **state)
{
    uint32_t needed;

    assert_int_equal(parse(one_of_each), 0);
    needed = json.tokens_count;
    for (uint32_t max = 0; max <= needed; max++) {
        struct salvo_json_token few[32];
        size_t offset = 12345;
        int r;

        memset(few, 0x5a, sizeof(few));
        r = salvo_json_parse(&json, one_of_each, strlen(one_of_each), few, max, &offset);
        assert_int_equal(r, max < needed ? -E2BIG : 0);
        assert_int_equal(offset, 12345);
        assert_int_equal(((uint8_t *)&few[max])[0], 0x5a);
    }
}

static void integers_are_whole_or_refused(void **state)
{
    static const struct {
        const char *text;
        int r;
        int64_t value;
    } cases[] = {
        {"0", 0, 0},
        {"-5", 0, -5},
        {"\"55\"", 0, 55},
        {"\"\\u0035\\u0035\"", 0, 55},
        {"9223372036854775807", 0, INT64_MAX},
        {"-9223372036854775808", 0, INT64_MIN},
        {"\"-9223372036854775808\"", 0, INT64_MIN},
        {"9223372036854775808", -EINVAL, 0},
        {"1.0", -EINVAL, 0},
        {"1e3", -EINVAL, 0},
        {"\"\"", -EINVAL, 0},
        {"\"5 \"", -EINVAL, 0},
        {"\"\\u00e95\"", -EINVAL, 0},
        {"true", -EINVAL, 0},
        {"null", -EINVAL, 0},
        {"[1]", -EINVAL, 0},
        {"\"\\u0030\\u0030\\u0030\\u0030\\u0030\\u0030\\u0030\\u0030\\u0030\\u0030\\u0030\\u0030"
         "\\u0030\\u0030\\u0030\\u0030\\u0030\\u0030\\u0030\\u0030\\u0030\\u0030\\u0030\\u0030"
         "\\u0030\\u0030\\u0030\\u0030\\u0030\\u0030\\u0030\\u0030\\u0030\"",
         -EINVAL, 0},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        int64_t value = 42;

        assert_int_equal(parse(cases[i].text), 0);
        assert_int_equal(salvo_json_integer(&json, 0, &value), cases[i].r);
        assert_true(value == (cases[i].r ? 42 : cases[i].value));
    }
}

static void equality_is_of_meaning(void **state)
{
    assert_int_equal(parse("[\"JAVA\",\"J\\u0041VA\",\"JAV\",\"JAVAA\",\"\\u0000\",4,\"\"]"), 0);
    assert_true(salvo_json_equals(&json, 1, "JAVA"));
    assert_true(salvo_json_equals(&json, 2, "JAVA"));
    assert_false(salvo_json_equals(&json, 3, "JAVA"));
    assert_false(salvo_json_equals(&json, 4, "JAVA"));
    assert_false(salvo_json_equals(&json, 5, ""));
    assert_false(salvo_json_equals(&json, 6, "4")); /* no string */
    assert_true(salvo_json_equals(&json, 7, ""));
    assert_false(salvo_json_equals(&json, 0, ""));
    assert_int_equal(salvo_json_find(&json, 0, "JAVA"), -1); /* no object */
}

static void look_outside(void *arg)
{
    salvo_json_equals(arg, 1, "x");
}

static void a_token_that_is_not_there_asserts(void **state)
{
    assert_int_equal(parse("1"), 0);
    assert_true(unit_aborts(look_outside, &json));
}

static void escaped_text_is_read_as_far_as_there_is_room(void **state)
{
    static const char text[] = "a\\n\\\"\\u00e9z";
    static const struct {
        size_t room;
        const char *meaning;
    } cases[] = {{0, ""},
                 {1, "a"},
                 {2, "a\n"},
                 {3, "a\n\""},
                 {4, "a\n\""},
                 {5, "a\n\"\xc3\xa9"},
                 {99, "a\n\"\xc3\xa9z"}};

    (void)state;
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        char meaning[100];
        size_t size = strlen(cases[i].meaning);

        assert_int_equal(salvo_json_unescape(text, sizeof(text) - 1, meaning, cases[i].room), size);
        assert_memory_equal(meaning, cases[i].meaning, size);
    }
}

static void the_writer_escapes_as_fastjson_does(void **state)
{
    static const struct {
        const char *text;
        size_t size;
        const char *written;
    } cases[] = {
        {"", 0, "\"\""},
        {"abc/d", 5, "\"abc/d\""},
        {"a\"b\\c", 5, "\"a\\\"b\\\\c\""},
        {"\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\""},
        {"TAGS\1TagA\2", 10, "\"TAGS\\u0001TagA\\u0002\""},
        {"\0\x0b\x1f", 3, "\"\\u0000\\u000b\\u001f\""},
        {" \x7f\xc3\xa9", 4, "\" \x7f\xc3\xa9\""},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        char text[64], back[64];
        struct salvo_writer w = salvo_writer_over(text, sizeof(text));
        size_t size = strlen(cases[i].written);

        salvo_json_write_string(&w, cases[i].text, cases[i].size);
        assert_false(w.failed);
        assert_int_equal(salvo_writer_size(&w), size);
        assert_memory_equal(text, cases[i].written, size);
        assert_int_equal(parse_bytes(text, size, NULL), 0);
        assert_int_equal(salvo_json_string(&json, 0, back, sizeof(back)), cases[i].size);
        assert_memory_equal(back, cases[i].text, cases[i].size);
        for (size_t room = 0; room < size; room++) {
            w = salvo_writer_over(text, room);
            salvo_json_write_string(&w, cases[i].text, cases[i].size);
            assert_true(w.failed);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_send_response_is_read),
        cmocka_unit_test(a_route_is_read_however_it_is_written),
        cmocka_unit_test(strings_mean_what_they_escape),
        cmocka_unit_test(a_header_is_read_in_any_order_and_shape),
        cmocka_unit_test(tokens_lie_in_document_order),
        cmocka_unit_test(what_is_no_json_is_refused_where_it_breaks),
        cmocka_unit_test(a_document_cut_short_anywhere_is_refused),
        cmocka_unit_test(a_document_with_wrong_bytes_never_breaks_the_tree),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(tokens_are_limited),
        cmocka_unit_test(integers_are_whole_or_refused),
        cmocka_unit_test(equality_is_of_meaning),
        cmocka_unit_test(a_token_that_is_not_there_asserts),
        cmocka_unit_test(escaped_text_is_read_as_far_as_there_is_room),
        cmocka_unit_test(the_writer_escapes_as_fastjson_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
