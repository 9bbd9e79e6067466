/* The option table as a struct, filled from its sources. Values are in config_value.c, the YAML
 * file in config_yaml.c, help and documents in config_docs.c. */
#include "control/config.h"

#include "base/assert.h"
#include "control/config_table.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CONFIG_NAME_MAX 64

const struct config_row config_rows[SALVO_OPTIONS] = {
#define OFFSET(name) offsetof(struct salvo_config, name)
#define OPT_TEXT(section, name, value, size_max, text)                                             \
    {section, #name, CONFIG_TEXT, OFFSET(name), value, 0, 0, size_max, NULL, text},
#define OPT_U32(section, name, value, min, max, text)                                              \
    {section, #name, CONFIG_U32, OFFSET(name), NULL, value, min, max, NULL, text},
#define OPT_BOOL(section, name, value, text)                                                       \
    {section, #name, CONFIG_BOOL, OFFSET(name), NULL, value, 0, 1, NULL, text},
#define OPT_ENUM(section, name, value, names, text)                                                \
    {section, #name, CONFIG_ENUM, OFFSET(name), value, 0, 0, 0, names, text},
#define OPT_TIME(section, name, value, min, max, text)                                             \
    {section, #name, CONFIG_TIME, OFFSET(name), NULL, value, min, max, NULL, text},
#define OPT_SIZE(section, name, value, min, max, text)                                             \
    {section, #name, CONFIG_SIZE, OFFSET(name), NULL, value, min, max, NULL, text},
#include "control/config.def"
#include "control/config_undef.h"
#undef OFFSET
};

void salvo_config_init(struct salvo_config *config)
{
    memset(config, 0, sizeof(*config));
    for (int i = 0; i < SALVO_OPTIONS; i++)
        config_row_reset(config, &config_rows[i]);
}

int config_find(const char *name)
{
    for (int i = 0; i < SALVO_OPTIONS; i++)
        if (strcmp(config_rows[i].name, name) == 0)
            return i;
    return -1;
}

bool config_is_section(const char *name)
{
    for (int i = 0; i < SALVO_OPTIONS; i++)
        if (strcmp(config_rows[i].section, name) == 0)
            return true;
    return false;
}

/* Letters to insert, delete or exchange to make one name of the other; '-' counts as '_' and case
 * does not count. Names over CONFIG_NAME_MAX are near nothing. */
static unsigned edit_distance(const char *a, const char *b)
{
    unsigned row[CONFIG_NAME_MAX + 1];
    size_t a_size = strlen(a), b_size = strlen(b);

    if (a_size > CONFIG_NAME_MAX || b_size > CONFIG_NAME_MAX)
        return CONFIG_NAME_MAX;
    for (size_t j = 0; j <= b_size; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= a_size; i++) {
        unsigned diagonal = row[0];
        int letter = a[i - 1] == '-' ? '_' : tolower((unsigned char)a[i - 1]);

        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_size; j++) {
            unsigned exchange = diagonal + (letter != b[j - 1]);

            diagonal = row[j];
            row[j] = SALVO_MIN(exchange, SALVO_MIN(row[j], row[j - 1]) + 1);
        }
    }
    return row[b_size];
}

/* Near: at most a third of the letters differ, or one name begins the other (linger, linger_us). */
static const char *nearest(const char *name, bool sections)
{
    const char *best = NULL;
    unsigned best_distance = (unsigned)SALVO_MAX(strlen(name) / 3, (size_t)1) + 1;

    for (int i = 0; i < SALVO_OPTIONS; i++) {
        const char *other = sections ? config_rows[i].section : config_rows[i].name;
        unsigned distance = edit_distance(name, other);

        if (strlen(name) >= 4 && strncmp(name, other, strlen(name)) == 0)
            distance = 1;
        if (distance < best_distance) {
            best_distance = distance;
            best = other;
        }
    }
    return best;
}

const char *config_nearest_option(const char *name)
{
    return nearest(name, false);
}

const char *config_nearest_section(const char *name)
{
    return nearest(name, true);
}

void config_unknown_error(const char *name, char ret_error[SALVO_CONFIG_ERROR_MAX])
{
    const char *near = config_nearest_option(name);

    if (near != NULL)
        snprintf(ret_error, SALVO_CONFIG_ERROR_MAX,
                 "no option is called \"%.80s\"; did you mean %s?", name, near);
    else
        snprintf(ret_error, SALVO_CONFIG_ERROR_MAX,
                 "no option is called \"%.80s\"; docs/CONFIG.md and salvo check list them all",
                 name);
}

int salvo_config_set(struct salvo_config *config, const char *name, const char *value,
                     enum salvo_config_source source, char ret_error[SALVO_CONFIG_ERROR_MAX])
{
    int option = config_find(name);
    int r;

    if (option < 0) {
        config_unknown_error(name, ret_error);
        return -ENOENT;
    }
    r = config_row_parse(config, &config_rows[option], value, ret_error);
    if (r)
        return r;
    config->sources[option] = source;
    return 0;
}

/* Names in the environment that are no options: those of the build, the tests and the tools. */
static bool environment_is_ours_elsewhere(const char *name, size_t size)
{
    static const char *const others[] = {
        "SALVO_BIN", "SALVO_BUILD",     "SALVO_CACHE", "SALVO_E2E_KEEP", "SALVO_GOLDEN",
        "SALVO_LIB", "SALVO_PEER_JAVA", "SALVO_SEED",  "SALVO_VERBOSE",  "SALVO_TRACE_ERRORS"};

    if (size >= 11 && strncmp(name, "SALVO_TEST_", 11) == 0)
        return true;
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(others); i++)
        if (strlen(others[i]) == size && strncmp(others[i], name, size) == 0)
            return true;
    return false;
}

int salvo_config_load_environment(struct salvo_config *config, char *const *environment,
                                  char ret_error[SALVO_CONFIG_ERROR_MAX])
{
    for (size_t i = 0; environment != NULL && environment[i] != NULL; i++) {
        const char *at = environment[i];
        size_t size = strcspn(at, "=");
        char name[CONFIG_NAME_MAX + 1], error[SALVO_CONFIG_ERROR_MAX];
        int r;

        if (strncmp(at, "SALVO_", 6) != 0 || at[size] != '=')
            continue;
        if (environment_is_ours_elsewhere(at, size))
            continue;
        snprintf(name, sizeof(name), "%.*s", (int)SALVO_MIN(size - 6, (size_t)CONFIG_NAME_MAX),
                 at + 6);
        for (char *c = name; *c != '\0'; c++)
            *c = (char)tolower((unsigned char)*c);
        r = salvo_config_set(config, name, at + size + 1, SALVO_CONFIG_ENVIRONMENT, error);
        if (r) {
            snprintf(ret_error, SALVO_CONFIG_ERROR_MAX, "environment variable %.*s: %.400s",
                     (int)SALVO_MIN(size, (size_t)80), at, error);
            return r;
        }
    }
    return 0;
}

int salvo_config_set_argument(struct salvo_config *config, const char *argument,
                              char ret_error[SALVO_CONFIG_ERROR_MAX])
{
    size_t size = strcspn(argument, "=");
    char name[CONFIG_NAME_MAX + 1], error[SALVO_CONFIG_ERROR_MAX];
    int r;

    if (argument[size] != '=' || size == 0) {
        snprintf(ret_error, SALVO_CONFIG_ERROR_MAX,
                 "-D %.80s: an option is given as -D name=value, for instance -D lanes=2",
                 argument);
        return -EINVAL;
    }
    snprintf(name, sizeof(name), "%.*s", (int)SALVO_MIN(size, (size_t)CONFIG_NAME_MAX), argument);
    r = salvo_config_set(config, name, argument + size + 1, SALVO_CONFIG_ARGUMENT, error);
    if (r)
        snprintf(ret_error, SALVO_CONFIG_ERROR_MAX, "-D %.80s: %.400s", argument, error);
    return r;
}
