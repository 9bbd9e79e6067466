/* Arguments of commands: each kind of value, each kind of mistake with the remedy in its error, and
 * --help from the same table. */
#include "cmd/options.h"
#include "cmd/cmd.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

struct values {
    bool flag;
    const char *text;
    struct cmd_list list;
    uint64_t count;
    double number;
    int64_t time_ns;
    struct cmd_sizes sizes;
    struct cmd_settings settings;
    const char *file;
};

#define AT(field) offsetof(struct values, field)

static const struct cmd_option options[] = {
    {"flag", 0, NULL, CMD_FLAG, AT(flag), 0, 0, NULL, "a flag"},
    {"text", 't', "TEXT", CMD_TEXT, AT(text), 0, 0, NULL, "a text"},
    {"list", 0, "ITEM", CMD_LIST, AT(list), 0, 0, NULL, "a list"},
    {"count", 0, "N", CMD_COUNT, AT(count), 1, 2e6, NULL, "a count"},
    {"number", 0, "X", CMD_NUMBER, AT(number), 0, 1, NULL, "a number"},
    {"time", 0, "TIME", CMD_TIME, AT(time_ns), 1e6, 3600e9, NULL, "a time"},
    {"size", 0, "B|MIN-MAX", CMD_SIZES, AT(sizes), 1, 4194304, NULL, "a size"},
    {"linger", 0, "TIME", CMD_SETTING, AT(settings), 0, 0, "linger_us", "a setting"},
    {"define", 'D', "NAME=VALUE", CMD_DEFINE, AT(settings), 0, 0, NULL, "any setting"},
};

static const struct cmd_usage usage = {
    .command = "test",
    .summary = "A command.",
    .positional = "[FILE]",
    .positional_offset = AT(file),
    .options = options,
    .options_count = SALVO_ARRAY_LENGTH(options),
};

int cmd_fail(const char *command, int code, const char *format, ...)
{
    return code;
}

/* Arguments in one text, separated by blanks; "" is none. */
static int parse(const char *line, struct values *values, char error[CMD_ERROR_MAX])
{
    static char buffer[512];
    char *argv[32] = {(char *)"test"};
    char *rest = buffer, *word;
    int argc = 1;

    memset(values, 0, sizeof(*values));
    error[0] = '\0';
    snprintf(buffer, sizeof(buffer), "%s", line);
    while (*line != '\0' && (word = strsep(&rest, " ")) != NULL)
        argv[argc++] = word;
    return cmd_options_parse(&usage, argc, argv, values, error);
}

static void values_of_each_kind_are_taken(void **state)
{
    struct values v;
    char error[CMD_ERROR_MAX];

    assert_int_equal(parse("--flag --text=a --list x --list=y --count 10k --number 0.5 --time 30s "
                           "--size 100-4KiB --linger 1ms -D a=b -Dc=d -- --name",
                           &v, error),
                     0);
    assert_true(v.flag);
    assert_string_equal(v.text, "a");
    assert_int_equal(v.list.count, 2);
    assert_string_equal(v.list.items[1], "y");
    assert_int_equal(v.count, 10000);
    assert_true(v.number == 0.5);
    assert_int_equal(v.time_ns, 30 * SALVO_NS_PER_S);
    assert_int_equal(v.sizes.min, 100);
    assert_int_equal(v.sizes.max, 4096);
    assert_int_equal(v.settings.count, 3);
    assert_string_equal(v.settings.items[0].name, "linger_us");
    assert_string_equal(v.settings.items[0].value, "1ms");
    assert_null(v.settings.items[1].name);
    assert_string_equal(v.settings.items[1].value, "a=b");
    assert_string_equal(v.settings.items[2].value, "c=d");
    assert_string_equal(v.file, "--name");
}

static void help_is_asked_for_anywhere(void **state)
{
    struct values v;
    char error[CMD_ERROR_MAX];

    assert_int_equal(parse("--help", &v, error), 1);
    assert_int_equal(parse("--flag -h", &v, error), 1);
    assert_int_equal(parse("-- --help", &v, error), 0);
    assert_string_equal(v.file, "--help");
}

static void every_mistake_names_the_option_and_the_remedy(void **state)
{
    static const struct {
        const char *line;
        const char *option;
        const char *remedy;
    } cases[] = {
        {"--txt a", "--txt", "did you mean --text?"},
        {"--nothinglikeit", "--nothinglikeit", "--help"},
        {"-x", "-x", "--help"},
        {"--flag=1", "--flag", "takes no value"},
        {"--text", "--text", "needs a value: --text TEXT"},
        {"--text=", "--text", "it takes TEXT"},
        {"--count x", "--count x", "write it as 1000, 10k"},
        {"--count 1.5", "--count 1.5", "whole number"},
        {"--count 0", "--count 0", "out of range; it may be 1 to 2000000"},
        {"--count 3M", "--count 3M", "1 to 2000000"},
        {"--count -1", "--count -1", "out of range; it may be 1 to 2000000"},
        {"--count -1e999", "--count -1e999", "out of range; it may be 1 to 2000000"},
        {"--count -x", "--count -x", "not a number; write it as 1000, 10k"},
        {"--count 0x10", "--count 0x10", "write it as"},
        {"--number x", "--number x", "not a number; it may be 0 to 1"},
        {"--number nan", "--number nan", "not a number; it may be 0 to 1"},
        {"--number inf", "--number inf", "not a number; it may be 0 to 1"},
        {"--number -0x1", "--number -0x1", "not a number; it may be 0 to 1"},
        {"--number -1", "--number -1", "out of range; it may be 0 to 1"},
        {"--number -1e-9", "--number -1e-9", "out of range; it may be 0 to 1"},
        {"--number 1.1", "--number 1.1", "0 to 1"},
        {"--number 1e999", "--number 1e999", "out of range; it may be 0 to 1"},
        {"--time 30", "--time 30", "needs its unit; write it as 500ms, 30s"},
        {"--time 3x", "--time 3x", "write it as 500ms, 30s"},
        {"--time 1us", "--time 1us", "0.001 to 3600 s"},
        {"--time 99999999h", "--time 99999999h", "0.001 to 3600 s"},
        {"--time -5s", "--time -5s", "0.001 to 3600 s"},
        {"--time -1e999h", "--time -1e999h", "0.001 to 3600 s"},
        {"--time -5", "--time -5", "needs its unit; write it as 500ms, 30s"},
        {"--size 5q", "--size 5q", "512, 4KiB or 100-4KiB"},
        {"--size 0", "--size 0", "1 to 4194304 bytes"},
        {"--size 1-5MiB", "--size 1-5MiB", "1 to 4194304 bytes"},
        {"--size 9-3", "--size 9-3", "smaller size first"},
        {"--size 1e999", "--size 1e999", "1 to 4194304 bytes"},
        {"--size -5", "--size -5", "512, 4KiB"},
        {"--size 5--3", "--size 5--3", "512, 4KiB"},
        {"--size 5-", "--size 5-", "512, 4KiB"},
        {"-D lanes", "-D lanes", "name=value"},
        {"--linger=", "--linger has an empty value", "TIME"},
        {"a b", "'b'", "one [FILE]"},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        char error[CMD_ERROR_MAX];
        struct values v;

        assert_int_equal(parse(cases[i].line, &v, error), -EINVAL);
        if (strstr(error, cases[i].option) == NULL || strstr(error, cases[i].remedy) == NULL)
            fail_msg("'%s' gave: %s", cases[i].line, error);
    }
}

static void too_many_values_are_refused(void **state)
{
    static struct values v;
    char *argv[2 * CMD_SETTINGS_MAX + 4] = {(char *)"test"};
    char error[CMD_ERROR_MAX];

    for (int i = 0; i <= CMD_SETTINGS_MAX; i++) {
        argv[1 + 2 * i] = (char *)"-D";
        argv[2 + 2 * i] = (char *)"a=b";
    }
    memset(&v, 0, sizeof(v));
    assert_int_equal(cmd_options_parse(&usage, 2 * CMD_SETTINGS_MAX + 3, argv, &v, error), -EINVAL);
    assert_non_null(strstr(error, "--config"));
    for (int i = 0; i <= CMD_LIST_MAX; i++)
        argv[1 + i] = (char *)"--list=x";
    memset(&v, 0, sizeof(v));
    assert_int_equal(cmd_options_parse(&usage, CMD_LIST_MAX + 2, argv, &v, error), -EINVAL);
    assert_non_null(strstr(error, "--list"));
}

static void help_shows_every_option(void **state)
{
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);

    cmd_options_help(&usage, to);
    fclose(to);
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(options); i++) {
        assert_non_null(strstr(text, options[i].name));
        assert_non_null(strstr(text, options[i].text));
    }
    assert_non_null(strstr(text, "-D, --define NAME=VALUE"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_each_kind_are_taken),
        cmocka_unit_test(help_is_asked_for_anywhere),
        cmocka_unit_test(every_mistake_names_the_option_and_the_remedy),
        cmocka_unit_test(too_many_values_are_refused),
        cmocka_unit_test(help_shows_every_option),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
