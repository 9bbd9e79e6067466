/* The one option table (config.def) as a struct, and its four sources: defaults, YAML file,
 * environment SALVO_<NAME>, -D name=value; each later one wins. Bad input gives one error that
 * names the place and the remedy. Before start; one thread. */
#pragma once

#include "base/base.h"

#include <stdio.h>

enum salvo_config_source {
    SALVO_CONFIG_DEFAULT,
    SALVO_CONFIG_FILE,
    SALVO_CONFIG_ENVIRONMENT,
    SALVO_CONFIG_ARGUMENT,
};

enum salvo_config_option {
#define OPT_TEXT(section, name, value, size_max, text) SALVO_OPTION_##name,
#define OPT_U32(section, name, value, min, max, text)  SALVO_OPTION_##name,
#define OPT_BOOL(section, name, value, text)           SALVO_OPTION_##name,
#define OPT_ENUM(section, name, value, names, text)    SALVO_OPTION_##name,
#define OPT_TIME(section, name, value, min, max, text) SALVO_OPTION_##name,
#define OPT_SIZE(section, name, value, min, max, text) SALVO_OPTION_##name,
#include "control/config.def"
#include "control/config_undef.h"
    SALVO_OPTIONS
};

struct salvo_config {
#define OPT_TEXT(section, name, value, size_max, text) char name[size_max];
#define OPT_U32(section, name, value, min, max, text)  uint32_t name;
#define OPT_BOOL(section, name, value, text)           bool name;
#define OPT_ENUM(section, name, value, names, text)    uint32_t name;
#define OPT_TIME(section, name, value, min, max, text) int64_t name;
#define OPT_SIZE(section, name, value, min, max, text) uint64_t name;
#include "control/config.def"
#include "control/config_undef.h"
    enum salvo_config_source sources[SALVO_OPTIONS];
};

/* Field values of the OPT_ENUM options that the program branches on, in list order. */
enum salvo_config_batch { SALVO_BATCH_OFF, SALVO_BATCH_NATURAL, SALVO_BATCH_LINGER };
enum salvo_config_threads { SALVO_THREADS_DEDICATED, SALVO_THREADS_SHARED, SALVO_THREADS_CALLER };
enum salvo_config_net {
    SALVO_NET_AUTO,
    SALVO_NET_URING,
    SALVO_NET_EPOLL,
    SALVO_NET_NULL,
    SALVO_NET_DPDK
};
enum salvo_config_control_net {
    SALVO_CONTROL_NET_AUTO,
    SALVO_CONTROL_NET_KERNEL,
    SALVO_CONTROL_NET_LANE
};
enum salvo_config_fault_table { SALVO_FAULT_TABLE_4_7_1, SALVO_FAULT_TABLE_5_1_4 };

#define SALVO_CONFIG_ERROR_MAX 512

void salvo_config_init(struct salvo_config *config);

/* One option by name, value as text with its unit. 0, or -EINVAL / -ENOENT (unknown; the nearest
 * name is suggested) with one sentence in ret_error: what is wrong with which option, and what
 * would be right. */
int salvo_config_set(struct salvo_config *config, const char *name, const char *value,
                     enum salvo_config_source source, char ret_error[SALVO_CONFIG_ERROR_MAX]);

/* A YAML file: top-level keys are sections or option names; a section holds option names. Errors
 * name file, line and column. -ENOENT and friends when it cannot be read. */
int salvo_config_load_file(struct salvo_config *config, const char *path,
                           char ret_error[SALVO_CONFIG_ERROR_MAX]);

/* Every SALVO_<NAME> in the environment; an unknown SALVO_* name is an error, but for a
 * short list of those that tests and tools read (config.c), and SALVO_TEST_*. */
int salvo_config_load_environment(struct salvo_config *config, char *const *environment,
                                  char ret_error[SALVO_CONFIG_ERROR_MAX]);

/* "name=value" as after -D. */
int salvo_config_set_argument(struct salvo_config *config, const char *argument,
                              char ret_error[SALVO_CONFIG_ERROR_MAX]);

/* Value as text (with unit), name, section, text, default, range: for --help, printing and
 * documents. salvo_config_option_info writes its texts anew with each call: for one thread. */
struct salvo_config_option_info {
    const char *section;
    const char *name;
    const char *kind;  /* "text", "number", "boolean", "choice", "time", "size" */
    const char *value; /* default, as text with unit */
    const char *range; /* "1 to 64", "json or binary", ... */
    const char *text;
};
struct salvo_config_option_info salvo_config_option_info(enum salvo_config_option option);
void salvo_config_value(const struct salvo_config *config, enum salvo_config_option option,
                        char *ret_text, size_t size);
const char *salvo_config_source_name(enum salvo_config_source source);

/* Name of an enum option's current value ("uring"), written anew with each call: for one thread. */
const char *salvo_config_enum_name(const struct salvo_config *config,
                                   enum salvo_config_option option);

/* Every option with its value and where it came from; and the two generated documents. */
void salvo_config_print(const struct salvo_config *config, FILE *to);
void salvo_config_write_markdown(FILE *to); /* docs/CONFIG.md */
void salvo_config_write_yaml(FILE *to);     /* deploy/salvo.yaml: every option, commented */
