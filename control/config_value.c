/* Option values: text with units to numbers and back, each refusal in one sentence that names the
 * option and what it would take. */
#include "base/assert.h"
#include "control/config_table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct config_unit {
    const char *name;
    uint64_t factor;
};

/* Largest first: printing takes the first that divides. */
static const struct config_unit units_of_time_us[] = {
    {"m", 60000000}, {"s", 1000000}, {"ms", 1000}, {"us", 1}};
static const struct config_unit units_of_size[] = {{"GiB", UINT64_C(1) << 30},
                                                   {"MiB", UINT64_C(1) << 20},
                                                   {"KiB", UINT64_C(1) << 10},
                                                   {"GB", 1000000000},
                                                   {"MB", 1000000},
                                                   {"KB", 1000},
                                                   {"B", 1}};

static void *field_of(struct salvo_config *config, const struct config_row *row)
{
    return (char *)config + row->offset;
}

static const void *field_of_const(const struct salvo_config *config, const struct config_row *row)
{
    return (const char *)config + row->offset;
}

/* Microseconds in one of a time option's own unit: names end in _us or _ms. */
static uint64_t time_unit_us(const struct config_row *row)
{
    size_t n = strlen(row->name);

    salvo_assert(n > 3);
    if (strcmp(row->name + n - 3, "_us") == 0)
        return 1;
    salvo_assert(strcmp(row->name + n - 3, "_ms") == 0);
    return 1000;
}

static void number_set(struct salvo_config *config, const struct config_row *row, uint64_t value)
{
    void *field = field_of(config, row);

    switch (row->kind) {
    case CONFIG_U32:
    case CONFIG_ENUM:
        *(uint32_t *)field = (uint32_t)value;
        return;
    case CONFIG_BOOL:
        *(bool *)field = value != 0;
        return;
    case CONFIG_TIME:
        *(int64_t *)field = (int64_t)value;
        return;
    case CONFIG_SIZE:
        *(uint64_t *)field = value;
        return;
    case CONFIG_TEXT:
        break;
    }
    salvo_unreachable();
}

static uint64_t number_get(const struct salvo_config *config, const struct config_row *row)
{
    const void *field = field_of_const(config, row);

    switch (row->kind) {
    case CONFIG_U32:
    case CONFIG_ENUM:
        return *(const uint32_t *)field;
    case CONFIG_BOOL:
        return *(const bool *)field;
    case CONFIG_TIME:
        return (uint64_t) * (const int64_t *)field;
    case CONFIG_SIZE:
        return *(const uint64_t *)field;
    case CONFIG_TEXT:
        break;
    }
    salvo_unreachable();
}

/* The index of `value` in "a|b|c", or -1. */
static int choice_index(const char *names, const char *value)
{
    size_t size = strlen(value);
    int index = 0;

    for (const char *at = names; *at != '\0'; index++) {
        size_t n = strcspn(at, "|");

        if (n == size && strncasecmp(at, value, n) == 0)
            return index;
        at += n + (at[n] == '|');
    }
    return -1;
}

static size_t choice_name(const char *names, uint64_t index, const char **ret_name)
{
    const char *at = names;

    for (uint64_t i = 0; i < index; i++) {
        at += strcspn(at, "|");
        salvo_assert(*at == '|');
        at++;
    }
    *ret_name = at;
    return strcspn(at, "|");
}

/* Digits at the front. 0, -EINVAL (none), -ERANGE. */
static int digits_parse(const char *text, uint64_t *ret_value, const char **ret_rest)
{
    uint64_t value = 0;
    const char *at = text;

    for (; *at >= '0' && *at <= '9'; at++) {
        unsigned digit = (unsigned)(*at - '0');

        if (value > (UINT64_MAX - digit) / 10)
            return -ERANGE;
        value = value * 10 + digit;
    }
    if (at == text)
        return -EINVAL;
    *ret_value = value;
    *ret_rest = at;
    return 0;
}

static const struct config_unit *unit_find(const struct config_unit *units, size_t count,
                                           const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(units[i].name, name) == 0)
            return &units[i];
    return NULL;
}

/* "what is wrong with which option; what it takes". */
static int refuse(const struct config_row *row, const char *value, const char *why,
                  char ret_error[SALVO_CONFIG_ERROR_MAX])
{
    char range[256];

    config_range_print(row, range, sizeof(range));
    snprintf(ret_error, SALVO_CONFIG_ERROR_MAX, "option %s: \"%.80s\" %s; it takes %s", row->name,
             value, why, range);
    return -EINVAL;
}

/* Behind the digits is something that is none of the units. */
static int number_refuse_rest(const struct config_row *row, const char *value, const char *rest,
                              char ret_error[SALVO_CONFIG_ERROR_MAX])
{
    if ((*rest != '.' && *rest != ',') || rest[1] < '0' || rest[1] > '9')
        return refuse(row, value, "has a unit that nobody knows", ret_error);
    if (row->kind == CONFIG_SIZE)
        return refuse(row, value, "is not a whole number with a unit, such as 1536KiB", ret_error);
    return refuse(row, value,
                  time_unit_us(row) == 1 ? "is not a whole number with a unit, such as 1500us"
                                         : "is not a whole number with a unit, such as 1500ms",
                  ret_error);
}

static int number_parse(const struct config_row *row, const char *value, uint64_t *ret_value,
                        char ret_error[SALVO_CONFIG_ERROR_MAX])
{
    const struct config_unit *unit = NULL;
    uint64_t number, own = 1;
    const char *rest;
    int r = digits_parse(value, &number, &rest);

    if (r == -ERANGE)
        return refuse(row, value, "is too large", ret_error);
    if (r)
        return refuse(row, value, value[0] == '-' ? "is negative" : "is not a whole number",
                      ret_error);
    while (*rest == ' ')
        rest++;
    if (*rest != '\0' && row->kind == CONFIG_U32)
        return refuse(row, value, "is not a whole number without a unit", ret_error);
    if (*rest != '\0' && row->kind == CONFIG_TIME)
        unit = unit_find(units_of_time_us, SALVO_ARRAY_LENGTH(units_of_time_us), rest);
    if (*rest != '\0' && row->kind == CONFIG_SIZE)
        unit = unit_find(units_of_size, SALVO_ARRAY_LENGTH(units_of_size), rest);
    if (*rest != '\0' && unit == NULL)
        return number_refuse_rest(row, value, rest, ret_error);
    if (unit != NULL) {
        if (row->kind == CONFIG_TIME)
            own = time_unit_us(row);
        if (number > UINT64_MAX / unit->factor)
            return refuse(row, value, "is too large", ret_error);
        number *= unit->factor;
        if (number % own != 0)
            return refuse(row, value, "is not whole in the option's unit", ret_error);
        number /= own;
    }
    if (number < row->min || number > row->max)
        return refuse(row, value, number < row->min ? "is too small" : "is too large", ret_error);
    *ret_value = number;
    return 0;
}

static int boolean_parse(const struct config_row *row, const char *value, uint64_t *ret_value,
                         char ret_error[SALVO_CONFIG_ERROR_MAX])
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(words); i++) {
        if (strcasecmp(words[i], value) == 0) {
            *ret_value = i & 1;
            return 0;
        }
    }
    return refuse(row, value, "is neither true nor false", ret_error);
}

static int text_parse(struct salvo_config *config, const struct config_row *row, const char *value,
                      char ret_error[SALVO_CONFIG_ERROR_MAX])
{
    size_t size = strlen(value);

    if (size + 1 > row->max)
        return refuse(row, value, "is too long", ret_error);
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f)
            return refuse(row, "...", "holds a control character", ret_error);
    memcpy(field_of(config, row), value, size + 1);
    return 0;
}

int config_row_parse(struct salvo_config *config, const struct config_row *row, const char *value,
                     char ret_error[SALVO_CONFIG_ERROR_MAX])
{
    uint64_t number = 0;
    int r = 0;

    switch (row->kind) {
    case CONFIG_TEXT:
        return text_parse(config, row, value, ret_error);
    case CONFIG_BOOL:
        r = boolean_parse(row, value, &number, ret_error);
        break;
    case CONFIG_ENUM:
        r = choice_index(row->names, value);
        if (r < 0)
            return refuse(row, value, "is not one of its values", ret_error);
        number = (uint64_t)r;
        r = 0;
        break;
    case CONFIG_U32:
    case CONFIG_TIME:
    case CONFIG_SIZE:
        r = number_parse(row, value, &number, ret_error);
        break;
    }
    if (r == 0)
        number_set(config, row, number);
    return r;
}

void config_row_reset(struct salvo_config *config, const struct config_row *row)
{
    if (row->kind == CONFIG_TEXT) {
        size_t size = strlen(row->value_text) + 1;

        salvo_assert(size <= row->max);
        memcpy(field_of(config, row), row->value_text, size);
    } else if (row->kind == CONFIG_ENUM) {
        int index = choice_index(row->names, row->value_text);

        salvo_assert(index >= 0);
        number_set(config, row, (uint64_t)index);
    } else {
        salvo_assert(row->value >= row->min);
        salvo_assert(row->value <= row->max);
        number_set(config, row, row->value);
    }
}

static void units_print(const struct config_unit *units, size_t count, uint64_t number,
                        char *ret_text, size_t size)
{
    for (size_t i = 0; i < count; i++) {
        if (number % units[i].factor == 0) {
            snprintf(ret_text, size, "%" PRIu64 "%s", number / units[i].factor, units[i].name);
            return;
        }
    }
}

void config_number_print(const struct config_row *row, uint64_t value, char *ret_text, size_t size)
{
    const char *name;
    int n;

    switch (row->kind) {
    case CONFIG_U32:
        snprintf(ret_text, size, "%" PRIu64, value);
        return;
    case CONFIG_BOOL:
        snprintf(ret_text, size, "%s", value ? "true" : "false");
        return;
    case CONFIG_ENUM:
        n = (int)choice_name(row->names, value, &name);
        snprintf(ret_text, size, "%.*s", n, name);
        return;
    case CONFIG_TIME:
        if (value == 0)
            snprintf(ret_text, size, "0");
        else
            units_print(units_of_time_us, SALVO_ARRAY_LENGTH(units_of_time_us),
                        value * time_unit_us(row), ret_text, size);
        return;
    case CONFIG_SIZE: /* in powers of two or in bytes: nobody reads 4096 as 4.096 KB */
        if (value == 0)
            snprintf(ret_text, size, "0");
        else if (value % 1024 != 0)
            snprintf(ret_text, size, "%" PRIu64 "B", value);
        else
            units_print(units_of_size, SALVO_ARRAY_LENGTH(units_of_size), value, ret_text, size);
        return;
    case CONFIG_TEXT:
        break;
    }
    salvo_unreachable();
}

void config_row_print(const struct salvo_config *config, const struct config_row *row,
                      char *ret_text, size_t size)
{
    if (row->kind == CONFIG_TEXT)
        snprintf(ret_text, size, "%s", (const char *)field_of_const(config, row));
    else
        config_number_print(row, number_get(config, row), ret_text, size);
}

/* "a, b or c". */
static void choices_print(const char *names, char *ret_text, size_t size)
{
    size_t used = 0;

    ret_text[0] = '\0';
    for (const char *at = names; *at != '\0' && used < size;) {
        size_t n = strcspn(at, "|");
        bool last = at[n] == '\0' || strchr(at + n + 1, '|') == NULL;
        const char *glue = at[n] == '\0' ? "" : last ? " or " : ", ";
        int wrote = snprintf(ret_text + used, size - used, "%.*s%s", (int)n, at, glue);

        used += (size_t)wrote;
        at += n + (at[n] == '|');
    }
}

void config_range_print(const struct config_row *row, char *ret_text, size_t size)
{
    char low[32], high[32];

    switch (row->kind) {
    case CONFIG_TEXT:
        snprintf(ret_text, size, "text of up to %" PRIu64 " bytes", row->max - 1);
        return;
    case CONFIG_BOOL:
        snprintf(ret_text, size, "true or false");
        return;
    case CONFIG_ENUM:
        choices_print(row->names, ret_text, size);
        return;
    case CONFIG_U32:
        snprintf(ret_text, size, "%" PRIu64 " to %" PRIu64, row->min, row->max);
        return;
    case CONFIG_TIME:
    case CONFIG_SIZE:
        config_number_print(row, row->min, low, sizeof(low));
        config_number_print(row, row->max, high, sizeof(high));
        snprintf(ret_text, size, "%s to %s (units %s)", low, high,
                 row->kind == CONFIG_TIME ? "us, ms, s, m" : "B, KiB, MiB, GiB, KB, MB, GB");
        return;
    }
    salvo_unreachable();
}
