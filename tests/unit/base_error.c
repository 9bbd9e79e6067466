/* base/error: a million equal failures are one line; a full log says so and keeps what it has. */
#include "tests/unit/unit.h"

#include "base/bytes.h"
#include "base/error.h"

#include <errno.h>
#include <stdio.h>

static struct salvo_error_log error_log;

static int start_empty(void **state)
{
    memset(&error_log, 0, sizeof(error_log));
    return 0;
}

static void only_an_errno_of_a_limit_names_it(void **state)
{
    static const int limits[] = {-ENOMEM, -EMFILE};

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(limits); i++) {
        const char *text = salvo_error_text(limits[i]);
        const char *remedy = salvo_error_remedy(limits[i], NULL);

        assert_non_null(remedy);
        assert_non_null(strstr(remedy, "ulimit"));
        assert_memory_equal(text, strerror(-limits[i]), strlen(strerror(-limits[i])));
        assert_string_equal(text + strlen(text) - strlen(remedy), remedy);
    }
    assert_string_equal(salvo_error_remedy(-EACCES, "or so"), "or so");
    assert_string_equal(salvo_error_text(-EACCES), strerror(EACCES));
}

static void equal_errors_are_one_entry(void **state)
{
    struct salvo_error_entry entry;

    assert_true(salvo_error_log_note(&error_log, "connect", -ECONNREFUSED, 100, "to %s", "a:1"));
    for (unsigned i = 1; i < 1000; i++)
        assert_false(salvo_error_log_note(&error_log, "connect", -ECONNREFUSED, 100 + i, "to b"));
    assert_int_equal(salvo_error_log_read(&error_log, &entry, 1), 1);
    assert_string_equal(entry.place, "connect");
    assert_int_equal(entry.code, -ECONNREFUSED);
    assert_int_equal(entry.count, 1000);
    assert_int_equal(entry.first_ms, 100);
    assert_int_equal(entry.last_ms, 1099);
    assert_string_equal(entry.text, "to a:1"); /* of the first */
}

static void a_text_is_cut_behind_a_whole_character(void **state)
{
    static const char *const characters[] = {"x", "\u00e9", "\u20ac", "\U0001f600"};
    int32_t code = 0;

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(characters); i++) {
        for (int before = 0; before < 4; before++, code++) {
            const char *character = characters[i];
            char text[SALVO_ERROR_TEXT_MAX * 2] = "";
            struct salvo_error_entry entries[16];
            size_t size;

            memset(text, '.', (size_t)before);
            for (size = (size_t)before; size < SALVO_ERROR_TEXT_MAX; size += strlen(character))
                memcpy(text + size, character, strlen(character));
            assert_true(salvo_error_log_note(&error_log, "remark", code, 1, "%s", text));
            salvo_error_log_read(&error_log, entries, 16);
            size = strlen(entries[code].text);
            assert_true(salvo_utf8_valid(entries[code].text, size));
            assert_true(size + strlen(character) >= SALVO_ERROR_TEXT_MAX); /* and no sooner */
            assert_memory_equal(entries[code].text, text, size);
        }
    }
}

static void place_and_code_tell_errors_apart(void **state)
{
    char same_text[] = "connect"; /* equal, elsewhere */
    struct salvo_error_entry entries[4];

    assert_true(salvo_error_log_note(&error_log, "connect", 1, 1, "x"));
    assert_true(salvo_error_log_note(&error_log, "connect", 2, 2, "x"));
    assert_true(salvo_error_log_note(&error_log, "route", 1, 3, "x"));
    assert_false(salvo_error_log_note(&error_log, same_text, 1, 4, "x"));
    assert_int_equal(salvo_error_log_read(&error_log, entries, 4), 3);
    assert_int_equal(entries[0].count, 2);
    assert_int_equal(entries[1].code, 2);
    assert_string_equal(entries[2].place, "route");
    assert_int_equal(salvo_error_log_read(&error_log, entries, 0), 3);
}

static void a_full_log_counts_what_it_drops(void **state)
{
    struct salvo_error_entry entries[SALVO_ERROR_LOG_MAX];

    for (int32_t code = 0; code < SALVO_ERROR_LOG_MAX; code++)
        assert_true(salvo_error_log_note(&error_log, "here", code, code, "%d", code));
    assert_false(salvo_error_log_note(&error_log, "here", SALVO_ERROR_LOG_MAX, 1000, "too many"));
    assert_false(salvo_error_log_note(&error_log, "there", 0, 1000, "too many"));
    assert_int_equal(error_log.dropped, 2);
    assert_false(salvo_error_log_note(&error_log, "here", 63, 2000, "an old one"));
    assert_int_equal(error_log.dropped, 2);
    assert_int_equal(salvo_error_log_read(&error_log, entries, SALVO_ERROR_LOG_MAX),
                     SALVO_ERROR_LOG_MAX);
    assert_int_equal(entries[63].count, 2);
    assert_int_equal(entries[63].last_ms, 2000);
    assert_string_equal(entries[63].text, "63");
}

static void a_long_text_is_cut_off(void **state)
{
    salvo_error_log_note(&error_log, "here", 1, 1, "%0999d", 7);
    assert_int_equal(strlen(error_log.entries[0].text), SALVO_ERROR_TEXT_MAX - 1);
}

static void a_trace_gives_its_code_back(void **state)
{
    assert_int_equal(salvo_raise(-EPIPE), -EPIPE);
    assert_int_equal(salvo_trace(-EPIPE), -EPIPE);
    assert_int_equal(salvo_error_trace(-EPIPE, "raised", "here.c", 1), -EPIPE);
    assert_int_equal(salvo_error_trace(0, "raised", "here.c", 1), 0);
    assert_int_equal(salvo_error_trace(-99999, "raised", "here.c", 1), -99999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_an_errno_of_a_limit_names_it),
        cmocka_unit_test_setup(equal_errors_are_one_entry, start_empty),
        cmocka_unit_test_setup(a_text_is_cut_behind_a_whole_character, start_empty),
        cmocka_unit_test_setup(place_and_code_tell_errors_apart, start_empty),
        cmocka_unit_test_setup(a_full_log_counts_what_it_drops, start_empty),
        cmocka_unit_test_setup(a_long_text_is_cut_off, start_empty),
        cmocka_unit_test(a_trace_gives_its_code_back),
    };

    setenv("SALVO_TRACE_ERRORS", "1", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
