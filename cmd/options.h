/* Arguments of a command: one table per command gives parser, ranges, error texts and --help.
 *
 * Options are `--name value` or `--name=value`; a table may give one a letter as well (`-D
 * name=value`). A lone `--` ends them. Values carry units (30s, 4KiB, 1M). An error is one sentence
 * that names the option and what would be right. Options that stand for an option of the
 * configuration are kept as text, in their order, for salvo_conf_set. */
#pragma once

#include "base/base.h"

#include <stdio.h>

#define CMD_ERROR_MAX    768
#define CMD_LIST_MAX     64  /* values of one option that may be repeated */
#define CMD_SETTINGS_MAX 256 /* as many as there are options in the configuration, and some */

enum cmd_option_kind {
    CMD_FLAG,    /* bool */
    CMD_TEXT,    /* const char * */
    CMD_LIST,    /* struct cmd_list: every value given */
    CMD_COUNT,   /* uint64_t: 1000, 10k, 1M */
    CMD_NUMBER,  /* double: 0.5, 10k, 1M */
    CMD_TIME,    /* int64_t nanoseconds: 100us, 500ms, 30s, 2m, 1h */
    CMD_SIZES,   /* struct cmd_sizes: 512, 4KiB or 100-4KiB */
    CMD_SETTING, /* struct cmd_settings: value of the configuration's option `config` */
    CMD_DEFINE,  /* struct cmd_settings: "name=value" of the configuration */
};

struct cmd_option {
    const char *name;
    char letter;          /* 0: none */
    const char *argument; /* as --help shows it; NULL: takes none */
    enum cmd_option_kind kind;
    size_t offset; /* of the field in the command's struct of values */
    double min;    /* bounds of counts, numbers, times (ns) and sizes: each has some */
    double max;
    const char *config; /* CMD_SETTING */
    const char *text;
};

struct cmd_list {
    const char *items[CMD_LIST_MAX];
    unsigned count;
};

struct cmd_sizes {
    uint64_t min;
    uint64_t max;
};

struct cmd_settings {
    struct {
        const char *given; /* "--linger", as the user wrote it */
        const char *name;  /* NULL: the value is "name=value" */
        const char *value;
    } items[CMD_SETTINGS_MAX];
    unsigned count;
};

struct cmd_usage {
    const char *command; /* "load" */
    const char *summary;
    const char *positional; /* "FILE", "[FILE|-]"; NULL: none allowed */
    bool positional_needed;
    size_t positional_offset; /* of a const char * */
    const struct cmd_option *options;
    unsigned options_count;
    const char *notes; /* behind the options in --help; may be NULL */
};

/* Fills `values`, which the caller set to its defaults. 0; 1 when --help was asked for; -EINVAL
 * with one sentence in ret_error. */
int cmd_options_parse(const struct cmd_usage *usage, int argc, char *const *argv, void *values,
                      char ret_error[CMD_ERROR_MAX]);
void cmd_options_help(const struct cmd_usage *usage, FILE *to);

/* The usual beginning of a command. True: go on. False: --help or an error was printed, and
 * *ret_exit is the exit code. */
bool cmd_options_begin(const struct cmd_usage *usage, int argc, char *const *argv, void *values,
                       int *ret_exit);

/* The name nearest to a mistyped one, or NULL when none is near. `name_of` gives the i-th, of
 * count. */
const char *cmd_nearest(const char *mistyped, const char *(*name_of)(const void *arg, unsigned i),
                        const void *arg, unsigned count);

/* Values by themselves: 0, or -EINVAL with the remedy in ret_why (a literal). Whoever asks for
 * numbers and times knows their bounds: they may be negative, and numbers infinite. */
int cmd_parse_number(const char *text, double *ret_value, const char **ret_why);
int cmd_parse_time(const char *text, int64_t *ret_ns, const char **ret_why);
int cmd_parse_sizes(const char *text, struct cmd_sizes *ret_sizes, const char **ret_why);
