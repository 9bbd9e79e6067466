/* codec/id: no id twice, whatever the clock does. */
#include "tests/unit/unit.h"
#include "tests/unit/codec_examples.h"

#include "codec/message.h"

#define MONTH_MS INT64_C(2592000000) /* 30 days: months of the tests start at multiples of it */

static unsigned months_asked;

static void month(int64_t ms, int64_t *ret_start_ms, int64_t *ret_end_ms)
{
    *ret_start_ms = ms / MONTH_MS * MONTH_MS;
    *ret_end_ms = *ret_start_ms + MONTH_MS;
    months_asked++;
}

static const uint8_t ip[4] = {10, 1, 2, 3};

static void the_example_is_made(void **state)
{
    struct salvo_id_source source;
    uint8_t id[SALVO_ID_SIZE];
    char text[SALVO_UNIQ_KEY_SIZE_MAX];

    salvo_id_source_init(&source, ip, sizeof(ip), 0x1092, 0x1234abcd);
    salvo_id_make(&source, 600 * MONTH_MS + 1, month, id);
    assert_int_equal(salvo_id_write(ip, sizeof(ip), id, text), 32);
    assert_memory_equal(text, EXAMPLE_UNIQ_KEY, 32);
}

static void an_ipv6_id_has_56_digits(void **state)
{
    static const uint8_t ip6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 0xff};
    static const uint8_t id[SALVO_ID_SIZE] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xab, 0xcd};
    char text[SALVO_UNIQ_KEY_SIZE_MAX];

    assert_int_equal(salvo_id_write(ip6, sizeof(ip6), id, text), 56);
    assert_memory_equal(text, "20010DB80000000000000000000000FF00010203040506070809ABCD", 56);
}

/* Ids of one source rise: (ms, counter) as an eight-byte number. */
static uint64_t id_order(const uint8_t id[SALVO_ID_SIZE])
{
    return salvo_load_be(id + 6, 6);
}

static void a_stepping_clock_gives_rising_ids(void **state)
{
    static const int steps[] = {0, 0, 1, -1, -1000, 5, 0, -2000000, 1, 3000000, 0, -1};
    struct salvo_id_source source;
    uint8_t id[SALVO_ID_SIZE];
    int64_t now = 600 * MONTH_MS + 10000000;
    uint64_t last = 0;

    salvo_id_source_init(&source, ip, sizeof(ip), 1, 2);
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(steps); i++) {
        now += steps[i];
        for (int k = 0; k < 3; k++) {
            salvo_id_make(&source, now, month, id);
            assert_true(last < id_order(id));
            last = id_order(id);
        }
    }
}

static void the_65537th_id_of_a_millisecond_belongs_to_the_next(void **state)
{
    struct salvo_id_source source;
    uint8_t id[SALVO_ID_SIZE];
    int64_t now = 600 * MONTH_MS + 77;
    uint64_t last = 0;

    salvo_id_source_init(&source, ip, sizeof(ip), 1, 2);
    for (uint32_t i = 0; i < 3 * 65536; i++) {
        salvo_id_make(&source, now, month, id);
        assert_true(i == 0 || last + 1 == id_order(id));
        last = id_order(id);
        assert_int_equal(salvo_load_be32(id + 6), 77 + i / 65536);
    }
    /* the clock catches up: nothing is given twice */
    salvo_id_make(&source, now + 1, month, id);
    assert_true(last < id_order(id));
    salvo_id_make(&source, now + 4, month, id);
    assert_int_equal(salvo_load_be32(id + 6), 81);
    assert_int_equal(salvo_load_be16(id + 10), 0);
}

static void the_month_is_asked_for_once_and_again_when_it_is_over(void **state)
{
    struct salvo_id_source source;
    uint8_t id[SALVO_ID_SIZE];

    months_asked = 0;
    salvo_id_source_init(&source, ip, sizeof(ip), 1, 2);
    salvo_id_make(&source, 601 * MONTH_MS - 2, month, id);
    salvo_id_make(&source, 601 * MONTH_MS - 1, month, id);
    assert_int_equal(months_asked, 1);
    assert_int_equal(salvo_load_be32(id + 6), MONTH_MS - 1);
    salvo_id_make(&source, 601 * MONTH_MS, month, id);
    assert_int_equal(months_asked, 2);
    assert_int_equal(salvo_load_be32(id + 6), 0);
    salvo_id_make(&source, 601 * MONTH_MS - 50, month, id); /* back into the last month */
    assert_int_equal(months_asked, 2);
    assert_int_equal(salvo_load_be32(id + 6), 0);
    assert_int_equal(salvo_load_be16(id + 10), 1);
    /* a used-up millisecond that ends the month */
    salvo_id_make(&source, 602 * MONTH_MS - 1, month, id);
    for (uint32_t i = 1; i < 65536; i++)
        salvo_id_make(&source, 602 * MONTH_MS - 1, month, id);
    assert_int_equal(months_asked, 2);
    salvo_id_make(&source, 602 * MONTH_MS - 1, month, id);
    assert_int_equal(months_asked, 3);
    assert_int_equal(salvo_load_be32(id + 6), 0);
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, SALVO_ID_SIZE);
}

static void sources_do_not_make_each_others_ids(void **state)
{
    enum { SOURCES = 8, IDS = 20000 };
    static uint8_t ids[SOURCES * IDS][SALVO_ID_SIZE];
    size_t count = 0;

    for (uint32_t s = 0; s < SOURCES; s++) {
        struct salvo_id_source source;

        salvo_id_source_init(&source, ip, sizeof(ip), 1, 0xfffffffc + s); /* wraps */
        for (int i = 0; i < IDS; i++)
            salvo_id_make(&source, 600 * MONTH_MS + i / 1000, month, ids[count++]);
    }
    qsort(ids, count, SALVO_ID_SIZE, compare);
    for (size_t i = 1; i < count; i++)
        assert_true(compare(ids[i - 1], ids[i]) < 0);
}

/* Across milliseconds, used-up ones and months. */
static void the_text_kept_is_that_of_the_id_made(void **state)
{
    static const uint8_t ip6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 0xff};
    struct salvo_id_source sources[2];
    uint8_t id[SALVO_ID_SIZE];
    char made[SALVO_UNIQ_KEY_SIZE_MAX];
    char text[SALVO_UNIQ_KEY_SIZE_MAX];

    salvo_id_source_init(&sources[0], ip, sizeof(ip), 0xabcd, 7);
    salvo_id_source_init(&sources[1], ip6, sizeof(ip6), 0xabcd, 7);
    for (int i = 0; i < 400000; i++) {
        struct salvo_id_source *source = &sources[i % 2];
        int64_t ms = 601 * MONTH_MS - 1 + i / 300000;
        size_t size;

        salvo_id_make(source, ms, month, id);
        size = salvo_id_write(source->ip, source->ip_size, id, text);
        assert_int_equal(salvo_id_write_made(source, made), size);
        assert_memory_equal(made, text, size);
    }
}

/* The clock of a host whose battery is empty stands at the start of its epoch. */
static void ids_are_made_at_time_0(void **state)
{
    struct salvo_id_source source;
    uint8_t first[SALVO_ID_SIZE], second[SALVO_ID_SIZE];
    char text[SALVO_UNIQ_KEY_SIZE_MAX];

    salvo_id_source_init(&source, ip, sizeof(ip), 0x1092, 0x1234abcd);
    salvo_id_make(&source, 0, month, first);
    salvo_id_make(&source, 0, month, second);
    assert_int_equal(salvo_load_be(first, 6), salvo_load_be(second, 6));
    assert_int_equal(salvo_load_be(first, 6), 0x10921234abcd);
    assert_int_equal(id_order(second), id_order(first) + 1);
    assert_int_equal(salvo_id_write_made(&source, text), 32);
    assert_memory_equal(text + 8, "10921234ABCD000000000001", 24);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_is_made),
        cmocka_unit_test(an_ipv6_id_has_56_digits),
        cmocka_unit_test(a_stepping_clock_gives_rising_ids),
        cmocka_unit_test(the_65537th_id_of_a_millisecond_belongs_to_the_next),
        cmocka_unit_test(the_month_is_asked_for_once_and_again_when_it_is_over),
        cmocka_unit_test(sources_do_not_make_each_others_ids),
        cmocka_unit_test(the_text_kept_is_that_of_the_id_made),
        cmocka_unit_test(ids_are_made_at_time_0),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
