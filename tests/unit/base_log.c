/* base/log: levels, length, and what a line may not hold. */
#include "tests/unit/unit.h"

#include "base/base.h"
#include "base/log.h"

#include <stdio.h>

static struct {
    unsigned lines;
    enum salvo_log_level level;
    char line[1024];
} got;

static void take_line(void *arg, enum salvo_log_level level, const char *line)
{
    assert_ptr_equal(arg, &got);
    got.lines++;
    got.level = level;
    snprintf(got.line, sizeof(got.line), "%s", line);
}

static struct salvo_log log_at(enum salvo_log_level level)
{
    memset(&got, 0, sizeof(got));
    return (struct salvo_log){.level = level, .sink = take_line, .arg = &got};
}

static void lines_above_the_level_are_not_made(void **state)
{
    struct salvo_log log = log_at(SALVO_LOG_WARN);

    salvo_log_info(&log, "a");
    salvo_log_debug(&log, "b");
    assert_int_equal(got.lines, 0);
    salvo_log_warn(&log, "warn %d", 7);
    assert_int_equal(got.lines, 1);
    assert_int_equal(got.level, SALVO_LOG_WARN);
    assert_string_equal(got.line, "warn 7");
    salvo_log_error(&log, "error");
    assert_int_equal(got.lines, 2);
    assert_int_equal(got.level, SALVO_LOG_ERROR);
}

static void a_long_line_is_cut_off(void **state)
{
    struct salvo_log log = log_at(SALVO_LOG_DEBUG);

    salvo_log_info(&log, "%01000d", 1);
    assert_int_equal(strlen(got.line), SALVO_LOG_LINE_MAX);
}

static void foreign_text_starts_no_new_line(void **state)
{
    struct salvo_log log = log_at(SALVO_LOG_DEBUG);

    salvo_log_info(&log, "broker says %s", "x\nsalvo: error\r\t\x1b[2J\x7f \xc3\xa9\xc2\x9b\xff");
    assert_string_equal(got.line, "broker says x salvo: error   [2J  \xc3\xa9???");
}

static void without_a_sink_it_is_one_line_on_standard_error(void **state)
{
    struct salvo_log log = {.level = SALVO_LOG_INFO};
    char text[64] = "";
    int fds[2], saved = dup(STDERR_FILENO);

    assert_int_equal(pipe(fds), 0);
    dup2(fds[1], STDERR_FILENO);
    salvo_log_info(&log, "%d lanes", 2);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fds[1]);
    assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
    close(fds[0]);
    assert_string_equal(text, "salvo: info: 2 lanes\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_above_the_level_are_not_made),
        cmocka_unit_test(a_long_line_is_cut_off),
        cmocka_unit_test(foreign_text_starts_no_new_line),
        cmocka_unit_test(without_a_sink_it_is_one_line_on_standard_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
