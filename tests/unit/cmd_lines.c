/* Lines of a pipe: every split of the reads gives the same lines; an over-long one costs itself
 * alone. */
#include "cmd/lines.h"

#include <stdio.h>

#include "tests/unit/unit.h"

enum { SIZE_MAX_TEST = 10, OUT_MAX = 512 };

/* What came of a text, as text: lines in brackets, "(empty)", "(long)". */
static void read_all(const char *text, size_t size, size_t step, char *ret_out)
{
    const uint8_t *line;
    struct lines lines;
    size_t at = 0, used = 0, line_size;
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    assert_int_equal(lines_init(&lines, SIZE_MAX_TEST), 0);
    ret_out[0] = '\0';
    for (;;) {
        enum lines_code code = lines_next(&lines, &line, &line_size);

        used += strlen(ret_out + used);
        if (code == LINES_END)
            break;
        if (code == LINES_LINE)
            snprintf(ret_out + used, OUT_MAX - used, "%d[%.*s]", (int)lines.number, (int)line_size,
                     (const char *)line);
        else if (code == LINES_EMPTY)
            snprintf(ret_out + used, OUT_MAX - used, "%d(empty)", (int)lines.number);
        else if (code == LINES_LONG)
            snprintf(ret_out + used, OUT_MAX - used, "%d(long)", (int)lines.number);
        if (code != LINES_MORE)
            continue;
        if (at < size) {
            size_t n = size - at < step ? size - at : step;

            assert_int_equal(write(fds[1], text + at, n), n);
            at += n;
        } else if (fds[1] >= 0) {
            close(fds[1]);
            fds[1] = -1;
        }
        assert_int_equal(lines_read(&lines, fds[0]), 0);
    }
    close(fds[0]);
    lines_deinit(&lines);
}

static void lines_are_the_same_for_every_split(void **state)
{
    static const struct {
        const char *text;
        const char *expected;
    } cases[] = {
        {"", ""},
        {"\n", "1(empty)"},
        {"a", "1[a]"},
        {"a\n", "1[a]"},
        {"a\nbb\n\nccc", "1[a]2[bb]3(empty)4[ccc]"},
        {"a\r\n\r\nb", "1[a\r]2[\r]3[b]"}, /* no byte but the line feed is taken away */
        {"0123456789\n", "1[0123456789]"},
        {"0123456789", "1[0123456789]"},
        {"01234567890\nb\n", "1(long)2[b]"},
        {"a\n01234567890123456789012345678901234567890123456789\nb", "1[a]2(long)3[b]"},
        {"01234567890", "1(long)"},
        {"01234567890123456789\n\nx", "1(long)2(empty)3[x]"},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        for (size_t step = 1; step <= 64; step++) {
            char out[OUT_MAX];

            read_all(cases[i].text, strlen(cases[i].text), step, out);
            assert_string_equal(out, cases[i].expected);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_the_same_for_every_split),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
