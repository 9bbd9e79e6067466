/* base/bytes: nothing passes an end, failure sticks, decimal text and UTF-8 by tables of edges. */
#include "tests/unit/unit.h"

#include "base/bytes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static void a_reader_stops_at_its_end_and_stays_failed(void **state)
{
    static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0xff};
    struct salvo_reader r = salvo_reader_over(bytes, sizeof(bytes));

    assert_int_equal(salvo_read_u8(&r), 0x01);
    assert_int_equal(salvo_read_u16(&r), 0x0203);
    assert_int_equal(salvo_read_u32(&r), 0x04050607);
    assert_int_equal(salvo_read_u64(&r), 0x08090a0b0c0d0e0f);
    assert_int_equal(salvo_reader_left(&r), 1);
    assert_false(r.failed);
    assert_int_equal(salvo_read_u16(&r), 0);
    assert_true(r.failed);
    assert_int_equal(salvo_read_u8(&r), 0); /* one byte is left, but what it means is unknown now */
    assert_null(salvo_read_bytes(&r, 0));
    assert_int_equal(salvo_reader_left(&r), 0);
}

static void a_size_near_the_top_does_not_wrap(void **state)
{
    uint8_t bytes[4] = {0};
    struct salvo_reader r = salvo_reader_over(bytes, sizeof(bytes));
    struct salvo_writer w = salvo_writer_over(bytes, sizeof(bytes));

    assert_null(salvo_read_bytes(&r, SIZE_MAX));
    assert_null(salvo_write_room(&w, SIZE_MAX));
    w = salvo_writer_over(bytes, sizeof(bytes));
    salvo_write_hex(&w, bytes, SIZE_MAX / 2 + 2); /* twice that is 2 */
    assert_true(w.failed);
}

static void a_writer_writes_what_a_reader_reads(void **state)
{
    uint8_t bytes[15];
    struct salvo_writer w = salvo_writer_over(bytes, sizeof(bytes));
    struct salvo_reader r;

    salvo_write_u8(&w, 0xfe);
    salvo_write_u16(&w, 0xfedc);
    salvo_write_u32(&w, 0xfedcba98);
    salvo_write_u64(&w, 0xfedcba9876543210);
    assert_false(w.failed);
    assert_int_equal(salvo_writer_room(&w), 0);
    r = salvo_reader_over(bytes, salvo_writer_size(&w));
    assert_int_equal(salvo_read_u8(&r), 0xfe);
    assert_int_equal(salvo_read_u16(&r), 0xfedc);
    assert_int_equal(salvo_read_u32(&r), 0xfedcba98);
    assert_true(salvo_read_u64(&r) == 0xfedcba9876543210);
    assert_int_equal(salvo_load_be(bytes + 1, 6), 0xfedcfedcba98);
}

static void a_full_writer_writes_nothing_more(void **state)
{
    uint8_t bytes[4] = {0, 0, 0, 0x55};
    struct salvo_writer w = salvo_writer_over(bytes, 3);

    salvo_write_text(&w, "ab");
    salvo_write_u16(&w, 0x6364);
    assert_true(w.failed);
    salvo_write_u8(&w, 'c');
    assert_int_equal(salvo_writer_size(&w), 2);
    assert_memory_equal(bytes, "ab\0\x55", 4);
}

static void hex_is_upper_case(void **state)
{
    char text[8];
    struct salvo_writer w = salvo_writer_over(text, sizeof(text));

    salvo_write_hex(&w, "\x00\x9f\xab\xff", 4);
    assert_false(w.failed);
    assert_memory_equal(text, "009FABFF", 8);
}

/* Sixteen bytes go at once, what is left one by one: each value at each place. */
static void hex_is_the_same_at_each_place(void **state)
{
    for (unsigned value = 0; value < 256; value++) {
        uint8_t bytes[39];
        char text[2 * sizeof(bytes) + 1], expected[2 * sizeof(bytes) + 1];

        for (unsigned i = 0; i < sizeof(bytes); i++) {
            bytes[i] = (uint8_t)(value + i);
            snprintf(expected + (size_t)2 * i, 3, "%02X", bytes[i]);
        }
        for (size_t size = 0; size <= sizeof(bytes); size++) {
            memset(text, '?', sizeof(text));
            salvo_hex_encode(text, bytes, size);
            assert_memory_equal(text, expected, 2 * size);
            assert_int_equal(text[2 * size], '?');
        }
    }
}

static void decimal_text_survives_both_ways(void **state)
{
    static const int64_t values[] = {
        0,
        1,
        -1,
        9,
        10,
        -10,
        99,
        100,
        INT32_MAX,
        INT32_MIN,
        INT64_MAX,
        INT64_MIN,
        INT64_MAX - 1,
        INT64_MIN + 1,
        1700000000000,
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(values); i++) {
        char text[20], expected[32];
        struct salvo_writer w = salvo_writer_over(text, sizeof(text));
        int size = snprintf(expected, sizeof(expected), "%" PRId64, values[i]);
        int64_t value = 42;

        salvo_write_decimal(&w, values[i]);
        assert_false(w.failed);
        assert_int_equal(salvo_writer_size(&w), size);
        assert_memory_equal(text, expected, (size_t)size);
        assert_int_equal(salvo_parse_decimal(text, (size_t)size, &value), 0);
        assert_true(value == values[i]);

        w = salvo_writer_over(text, (size_t)size - 1);
        salvo_write_decimal(&w, values[i]);
        assert_true(w.failed);
        assert_int_equal(salvo_writer_size(&w), 0);
    }
}

static void decimal_text_with_anything_else_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "-",
        "--1",
        "+1",
        " 1",
        "1 ",
        "1.0",
        "1e3",
        "0x1",
        "1-",
        "-1-",
        "a",
        ":",
        "/",
        "12\n",
        "\xb2",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551616",
        "18446744073709551617",
        "99999999999999999999999999",
        "92233720368547758070",
        "-92233720368547758080",
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(texts); i++) {
        int64_t value = 42;

        assert_int_equal(salvo_parse_decimal(texts[i], strlen(texts[i]), &value), -EINVAL);
        assert_int_equal(value, 42);
    }
}

static void decimal_text_may_have_leading_zeros(void **state)
{
    static const struct {
        const char *text;
        int64_t value;
    } cases[] = {
        {"007", 7}, {"-0", 0}, {"00000000000000000000000000012", 12}, {"-00", 0}, {"-010", -10},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        int64_t value = 42;

        assert_int_equal(salvo_parse_decimal(cases[i].text, strlen(cases[i].text), &value), 0);
        assert_true(value == cases[i].value);
    }
}

/* Each sequence is tried at every distance from the start of a word and from the end of the text.
 */
static void utf8_follows_rfc_3629(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        bool valid;
    } cases[] = {
        {"", 0, true},
        {"\0", 1, true},
        {"\x01\x02\x7f", 3, true},
        {"\xc2\x80", 2, true},         /* U+0080 */
        {"\xdf\xbf", 2, true},         /* U+07FF */
        {"\xe0\xa0\x80", 3, true},     /* U+0800 */
        {"\xed\x9f\xbf", 3, true},     /* U+D7FF */
        {"\xee\x80\x80", 3, true},     /* U+E000 */
        {"\xef\xbf\xbf", 3, true},     /* U+FFFF */
        {"\xf0\x90\x80\x80", 4, true}, /* U+10000 */
        {"\xf0\x9f\x98\x80", 4, true}, /* U+1F600 */
        {"\xf4\x8f\xbf\xbf", 4, true}, /* U+10FFFF */
        {"\x80", 1, false},
        {"\xbf", 1, false},
        {"\xc0\x80", 2, false}, /* Java's modified form of NUL */
        {"\xc1\xbf", 2, false},
        {"\xc2", 1, false},
        {"\xc2\x41", 2, false},
        {"\xc2\xc0", 2, false},
        {"\xe0\x9f\xbf", 3, false}, /* overlong U+07FF */
        {"\xe1\x80", 2, false},
        {"\xe1\x80\x41", 3, false},
        {"\xe1\x41\x80", 3, false},
        {"\xed\xa0\x80", 3, false}, /* U+D800 */
        {"\xed\xbf\xbf", 3, false}, /* U+DFFF */
        {"\xed\xa0\xbd\xed\xb8\x80", 6,
         false},                        /* a surrogate pair, as Java's modified form has it */
        {"\xf0\x8f\xbf\xbf", 4, false}, /* overlong U+FFFF */
        {"\xf0\x9f\x98", 3, false},
        {"\xf0\x9f\x98\x41", 4, false},
        {"\xf0\x9f\x41\x80", 4, false},
        {"\xf0\x41\x98\x80", 4, false},
        {"\xf4\x90\x80\x80", 4, false}, /* U+110000 */
        {"\xf5\x80\x80\x80", 4, false},
        {"\xf8\x88\x80\x80\x80", 5, false},
        {"\xfe", 1, false},
        {"\xff", 1, false},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++)
        for (size_t before = 0; before < 18; before++)
            for (size_t after = 0; after < 18; after++) {
                size_t size = before + cases[i].size + after;
                uint8_t *text = malloc(size + 1); /* of its size, for the address sanitizer */

                memset(text, 'a', size);
                memcpy(text + before, cases[i].bytes, cases[i].size);
                assert_int_equal(salvo_utf8_valid(text, size), cases[i].valid);
                free(text);
            }
}

static void utf8_sequence_gives_the_size(void **state)
{
    static const struct {
        const char *bytes;
        size_t left;
        unsigned size;
    } cases[] = {
        {"a", 1, 1},
        {"", 0, 0},
        {"\xc3\xa9", 2, 2},
        {"\xc3\xa9", 1, 0},
        {"\xe2\x82\xac", 3, 3},
        {"\xe2\x82\xac", 2, 0},
        {"\xf0\x9f\x98\x80z", 5, 4},
        {"\xf0\x9f\x98\x80", 3, 0},
        {"\x80", 1, 0},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++)
        assert_int_equal(salvo_utf8_sequence((const uint8_t *)cases[i].bytes, cases[i].left),
                         cases[i].size);
}

static void text_is_made_printable(void **state)
{
    static const struct {
        const char *text;
        const char *printable;
    } cases[] = {
        {"", ""},
        {"a \"b\" \\", "a \"b\" \\"},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"a\nb\r\tc\x1b[2Jd\x7f", "a b  c [2Jd "},
        {"\xc2\x9b"
         "2J\xc2\xa0",
         "??2J\xc2\xa0"},
        {"\x9b\xff\xe2\x82", "????"},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        char text[32];

        snprintf(text, sizeof(text), "%s", cases[i].text);
        salvo_text_make_printable(text);
        assert_string_equal(text, cases[i].printable);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reader_stops_at_its_end_and_stays_failed),
        cmocka_unit_test(a_size_near_the_top_does_not_wrap),
        cmocka_unit_test(a_writer_writes_what_a_reader_reads),
        cmocka_unit_test(a_full_writer_writes_nothing_more),
        cmocka_unit_test(hex_is_upper_case),
        cmocka_unit_test(hex_is_the_same_at_each_place),
        cmocka_unit_test(decimal_text_survives_both_ways),
        cmocka_unit_test(decimal_text_with_anything_else_is_refused),
        cmocka_unit_test(decimal_text_may_have_leading_zeros),
        cmocka_unit_test(utf8_follows_rfc_3629),
        cmocka_unit_test(utf8_sequence_gives_the_size),
        cmocka_unit_test(text_is_made_printable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
