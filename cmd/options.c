/* The argument parser: see options.h. */
#include "cmd/options.h"
#include "base/assert.h"
#include "cmd/cmd.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define HELP_COLUMNS      80u   /* a terminal that nobody has made wider */
#define OPTIONS_UNITS_MIN 1.5e6 /* "1000, 10k or 1.5M" are all within bounds that reach so far */

struct options_parse {
    const struct cmd_usage *usage;
    int argc;
    char *const *argv;
    int at;
    void *values;
    char *error;
};

static int options_error(const struct options_parse *p, const char *format, ...) SALVO_PRINTF(2, 3);

static int options_error(const struct options_parse *p, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(p->error, CMD_ERROR_MAX, format, args);
    va_end(args);
    return -EINVAL;
}

static const char *options_name_of(const void *arg, unsigned i)
{
    const struct cmd_usage *usage = arg;

    return usage->options[i].name;
}

/* Finds the option an argument names; *ret_value is the text behind its '=', or NULL. */
static const struct cmd_option *options_find(const struct cmd_usage *usage, const char *argument,
                                             const char **ret_value)
{
    bool is_long = argument[1] == '-';
    const char *name = argument + (is_long ? 2 : 1);
    size_t size = is_long ? strcspn(name, "=") : 1;

    *ret_value = NULL;
    if (is_long && name[size] == '=')
        *ret_value = name + size + 1;
    if (!is_long && name[0] != '\0' && name[1] != '\0')
        *ret_value = name + 1; /* -Dname=value */
    for (unsigned i = 0; i < usage->options_count; i++) {
        const struct cmd_option *o = &usage->options[i];

        if (is_long ? strlen(o->name) == size && memcmp(o->name, name, size) == 0
                    : o->letter != 0 && o->letter == name[0])
            return o;
    }
    return NULL;
}

static int options_unknown(const struct options_parse *p, const char *argument)
{
    const struct cmd_usage *usage = p->usage;
    const char *near = NULL;
    char name[64];

    if (strncmp(argument, "--", 2) == 0) {
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(argument + 2, "="), argument + 2);
        near = cmd_nearest(name, options_name_of, usage, usage->options_count);
    }
    return options_error(p, "unknown option %s;%s%s%s 'salvo %s --help' lists all", argument,
                         near != NULL ? " did you mean --" : "", near != NULL ? near : "",
                         near != NULL ? "?" : "", usage->command);
}

static int options_check_range(const struct options_parse *p, const struct cmd_option *o,
                               const char *text, double value)
{
    const char *unit = "";
    double scale = 1;

    salvo_assert(o->max > 0);
    if (value >= o->min && value <= o->max)
        return 0;
    if (o->kind == CMD_TIME) {
        unit = " s";
        scale = 1e-9;
    } else if (o->kind == CMD_SIZES) {
        unit = " bytes";
    }
    /* Whole numbers up to 1e15 in full; scaled ones have no more digits than this that are right.
     */
    return options_error(p, "--%s %s: out of range; it may be %.*g to %.*g%s", o->name, text,
                         scale < 1 ? 10 : 16, o->min * scale, scale < 1 ? 10 : 16, o->max * scale,
                         unit);
}

/* A number that is none; to one with small bounds they are the advice, and not units. */
static int options_no_number(const struct options_parse *p, const struct cmd_option *o,
                             const char *text, const char *why)
{
    if (o->max >= OPTIONS_UNITS_MIN)
        return options_error(p, "--%s %s: %s", o->name, text, why);
    return options_error(p, "--%s %s: not a number; it may be %.16g to %.16g", o->name, text,
                         o->min, o->max);
}

static int options_store_number(const struct options_parse *p, const struct cmd_option *o,
                                const char *text)
{
    void *field = (char *)p->values + o->offset;
    const char *why;
    double value;

    if (cmd_parse_number(text, &value, &why))
        return options_no_number(p, o, text, why);
    if (options_check_range(p, o, text, value))
        return -EINVAL;
    if (o->kind == CMD_COUNT && value != (double)(uint64_t)value)
        return options_error(p, "--%s %s: not a whole number", o->name, text);
    if (o->kind == CMD_COUNT)
        *(uint64_t *)field = (uint64_t)value;
    else
        *(double *)field = value;
    return 0;
}

static int options_store_time(const struct options_parse *p, const struct cmd_option *o,
                              const char *text)
{
    const char *why;
    int64_t ns;

    if (cmd_parse_time(text, &ns, &why))
        return options_error(p, "--%s %s: %s", o->name, text, why);
    if (options_check_range(p, o, text, (double)ns))
        return -EINVAL;
    *(int64_t *)(void *)((char *)p->values + o->offset) = ns;
    return 0;
}

static int options_store_sizes(const struct options_parse *p, const struct cmd_option *o,
                               const char *text)
{
    struct cmd_sizes sizes;
    const char *why;

    if (cmd_parse_sizes(text, &sizes, &why))
        return options_error(p, "--%s %s: %s", o->name, text, why);
    if (options_check_range(p, o, text, (double)sizes.min) ||
        options_check_range(p, o, text, (double)sizes.max))
        return -EINVAL;
    *(struct cmd_sizes *)(void *)((char *)p->values + o->offset) = sizes;
    return 0;
}

static int options_store_setting(const struct options_parse *p, const struct cmd_option *o,
                                 const char *given, const char *value)
{
    struct cmd_settings *settings = (void *)((char *)p->values + o->offset);
    const char *why;
    int64_t ns;

    if (o->kind == CMD_DEFINE && strchr(value, '=') == NULL)
        return options_error(p, "-D %s: it takes name=value, such as -D timeout_ms=5s", value);
    /* The setting's name tells its unit, the option's does not. */
    if (o->kind == CMD_SETTING && strcmp(o->argument, "TIME") == 0 &&
        cmd_parse_time(value, &ns, &why))
        return options_error(p, "--%s %s: %s", o->name, value, why);
    if (settings->count == CMD_SETTINGS_MAX)
        return options_error(p, "more than %d settings; put them into a file and give --config",
                             CMD_SETTINGS_MAX);
    settings->items[settings->count].given = given;
    settings->items[settings->count].name = o->kind == CMD_DEFINE ? NULL : o->config;
    settings->items[settings->count].value = value;
    settings->count++;
    return 0;
}

static int options_store(const struct options_parse *p, const struct cmd_option *o,
                         const char *given, const char *value)
{
    void *field = (char *)p->values + o->offset;
    struct cmd_list *list = field;

    switch (o->kind) {
    case CMD_FLAG:
        *(bool *)field = true;
        return 0;
    case CMD_TEXT:
        *(const char **)field = value;
        return 0;
    case CMD_LIST:
        if (list->count == CMD_LIST_MAX)
            return options_error(p, "--%s: given more than %d times", o->name, CMD_LIST_MAX);
        list->items[list->count++] = value;
        return 0;
    case CMD_COUNT:
    case CMD_NUMBER:
        return options_store_number(p, o, value);
    case CMD_TIME:
        return options_store_time(p, o, value);
    case CMD_SIZES:
        return options_store_sizes(p, o, value);
    case CMD_SETTING:
    case CMD_DEFINE:
        return options_store_setting(p, o, given, value);
    }
    salvo_unreachable();
}

/* The option at p->at, with its value. */
static int options_take(struct options_parse *p)
{
    const char *argument = p->argv[p->at];
    const char *value;
    const struct cmd_option *o = options_find(p->usage, argument, &value);

    if (o == NULL)
        return options_unknown(p, argument);
    if (o->argument == NULL) {
        if (value != NULL)
            return options_error(p, "--%s takes no value; leave '=%s' out", o->name, value);
        return options_store(p, o, argument, NULL);
    }
    if (value == NULL) {
        if (p->at + 1 >= p->argc)
            return options_error(p, "%s needs a value: %s %s", argument, argument, o->argument);
        value = p->argv[++p->at];
    }
    if (value[0] == '\0')
        return options_error(p, "--%s has an empty value; it takes %s", o->name, o->argument);
    return options_store(p, o, argument, value);
}

static int options_take_positional(struct options_parse *p, bool *taken)
{
    const struct cmd_usage *usage = p->usage;
    const char *argument = p->argv[p->at];

    if (usage->positional == NULL)
        return options_error(p, "'%s' is not an option; 'salvo %s --help' lists all", argument,
                             usage->command);
    if (*taken)
        return options_error(p, "'%s' is one too many; there can be one %s", argument,
                             usage->positional);
    *taken = true;
    *(const char **)(void *)((char *)p->values + usage->positional_offset) = argument;
    return 0;
}

int cmd_options_parse(const struct cmd_usage *usage, int argc, char *const *argv, void *values,
                      char ret_error[CMD_ERROR_MAX])
{
    struct options_parse p = {usage, argc, argv, 1, values, ret_error};
    bool positional_taken = false, ended = false;

    for (; p.at < argc; p.at++) {
        const char *argument = argv[p.at];
        int r;

        if (!ended && (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0))
            return 1;
        if (!ended && strcmp(argument, "--") == 0) {
            ended = true;
            continue;
        }
        if (!ended && argument[0] == '-' && argument[1] != '\0')
            r = options_take(&p);
        else
            r = options_take_positional(&p, &positional_taken);
        if (r)
            return r;
    }
    if (usage->positional_needed && !positional_taken)
        return options_error(&p, "%s is missing; 'salvo %s --help' shows how to use it",
                             usage->positional, usage->command);
    return 0;
}

bool cmd_options_begin(const struct cmd_usage *usage, int argc, char *const *argv, void *values,
                       int *ret_exit)
{
    char error[CMD_ERROR_MAX];
    int r = cmd_options_parse(usage, argc, argv, values, error);

    if (r == 0)
        return true;
    if (r > 0) {
        cmd_options_help(usage, stdout);
        *ret_exit = CMD_EXIT_GOOD;
    } else {
        *ret_exit = cmd_fail(usage->command, CMD_EXIT_INVALID, "%s", error);
    }
    return false;
}

/* Text in lines of at most HELP_COLUMNS, all but the first indented. */
static void options_help_wrap(const char *text, unsigned indent, FILE *to)
{
    unsigned column = indent;

    while (*text != '\0') {
        int word = (int)strcspn(text, " ");

        if (column > indent && column + 1 + (unsigned)word > HELP_COLUMNS) {
            fprintf(to, "\n%*s", (int)indent, "");
            column = indent;
        }
        fprintf(to, "%s%.*s", column > indent ? " " : "", word, text);
        column += (unsigned)word + (column > indent ? 1 : 0);
        text += word;
        text += *text == ' ';
    }
    fprintf(to, "\n");
}

void cmd_options_help(const struct cmd_usage *usage, FILE *to)
{
    enum { TEXT_COLUMN = 30 };

    fprintf(to, "usage: salvo %s [options]%s%s\n\n", usage->command,
            usage->positional != NULL ? " " : "",
            usage->positional != NULL ? usage->positional : "");
    options_help_wrap(usage->summary, 0, to);
    fprintf(to, "\n");
    for (unsigned i = 0; i < usage->options_count; i++) {
        const struct cmd_option *o = &usage->options[i];
        char left[80];
        int size;

        if (o->letter != 0)
            size = snprintf(left, sizeof(left), "  -%c, --%s %s", o->letter, o->name,
                            o->argument != NULL ? o->argument : "");
        else
            size = snprintf(left, sizeof(left), "  --%s %s", o->name,
                            o->argument != NULL ? o->argument : "");
        fprintf(to, "%-*s", TEXT_COLUMN, left);
        if (size >= TEXT_COLUMN)
            fprintf(to, "\n%*s", TEXT_COLUMN, "");
        options_help_wrap(o->text, TEXT_COLUMN, to);
    }
    fprintf(to, "%-*s%s\n", TEXT_COLUMN, "  -h, --help", "this text");
    if (usage->notes != NULL)
        fprintf(to, "\n%s", usage->notes);
}

/* Levenshtein distance, for short names. */
static unsigned nearest_distance(const char *a, const char *b)
{
    enum { NAME_MAX_SIZE = 63 };
    unsigned row[NAME_MAX_SIZE + 1];
    size_t a_size = strlen(a), b_size = strlen(b);

    if (a_size > NAME_MAX_SIZE || b_size > NAME_MAX_SIZE)
        return NAME_MAX_SIZE;
    for (unsigned j = 0; j <= b_size; j++)
        row[j] = j;
    for (unsigned i = 1; i <= a_size; i++) {
        unsigned diagonal = row[0];

        row[0] = i;
        for (unsigned j = 1; j <= b_size; j++) {
            unsigned change = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            row[j] = SALVO_MIN(change, SALVO_MIN(row[j], row[j - 1]) + 1);
        }
    }
    return row[b_size];
}

const char *cmd_nearest(const char *mistyped, const char *(*name_of)(const void *arg, unsigned i),
                        const void *arg, unsigned count)
{
    unsigned best = (unsigned)SALVO_MAX(strlen(mistyped) / 3, 1) + 1;
    const char *near = NULL;

    for (unsigned i = 0; i < count; i++) {
        const char *name = name_of(arg, i);
        unsigned distance = nearest_distance(mistyped, name);

        if (distance < best) {
            best = distance;
            near = name;
        }
    }
    return near;
}
