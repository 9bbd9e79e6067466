/* Values with units, as options carry them. */
#include "cmd/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct values_unit {
    const char *name;
    double factor;
};

static const struct values_unit number_units[] = {
    {"", 1}, {"k", 1e3}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9},
};

static const struct values_unit time_units[] = {
    {"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"min", 60e9}, {"h", 3600e9},
};

static const struct values_unit size_units[] = {
    {"", 1},      {"B", 1},    {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824},
    {"KB", 1000}, {"MB", 1e6}, {"GB", 1e9},   {"k", 1000},
};

/* A plain decimal number ("1e6" and "-1" are; "0x10" and "inf" are not) and what is behind it. One
 * that is too large for a double is infinite: that it is out of range is for the bounds to say. */
static int values_split(const char *text, double *ret_value, const char **ret_unit)
{
    const char *digits = text + (text[0] == '-');
    char *end;

    if (digits[0] < '0' || digits[0] > '9' || digits[1] == 'x' || digits[1] == 'X')
        return -EINVAL;
    *ret_value = strtod(text, &end);
    *ret_unit = end;
    return 0;
}

static int values_parse(const char *text, const struct values_unit *units, size_t units_count,
                        double *ret_value)
{
    const char *unit;
    double value;

    if (values_split(text, &value, &unit))
        return -EINVAL;
    for (size_t i = 0; i < units_count; i++) {
        if (strcmp(unit, units[i].name) == 0) {
            *ret_value = value * units[i].factor;
            return 0;
        }
    }
    return -EINVAL;
}

int cmd_parse_number(const char *text, double *ret_value, const char **ret_why)
{
    if (values_parse(text, number_units, SALVO_ARRAY_LENGTH(number_units), ret_value) == 0)
        return 0;
    *ret_why = "not a number; write it as 1000, 10k or 1.5M";
    return -EINVAL;
}

int cmd_parse_time(const char *text, int64_t *ret_ns, const char **ret_why)
{
    const char *unit;
    double value;

    if (values_parse(text, time_units, SALVO_ARRAY_LENGTH(time_units), &value) == 0) {
        *ret_ns = (int64_t)SALVO_CLAMP(value, -9e18, 9e18); /* 285 years, beyond every bound */
        return 0;
    }
    if (values_split(text, &value, &unit) == 0 && *unit == '\0') {
        if (value == 0) {
            *ret_ns = 0;
            return 0;
        }
        *ret_why = "a time needs its unit; write it as 500ms, 30s or 2m";
    } else {
        *ret_why = "not a time; write it as 500ms, 30s or 2m";
    }
    return -EINVAL;
}

static int values_parse_size(const char *text, uint64_t *ret_size)
{
    double value;

    if (values_parse(text, size_units, SALVO_ARRAY_LENGTH(size_units), &value) || value < 0)
        return -EINVAL;
    *ret_size = (uint64_t)SALVO_MIN(value, 1e18); /* above every bound */
    return 0;
}

int cmd_parse_sizes(const char *text, struct cmd_sizes *ret_sizes, const char **ret_why)
{
    const char *dash = strchr(text, '-');
    struct cmd_sizes sizes;
    char low[32];

    *ret_why = "not a size; write bytes or a unit, as 512, 4KiB or 100-4KiB";
    if (dash == NULL) {
        if (values_parse_size(text, &sizes.min))
            return -EINVAL;
        sizes.max = sizes.min;
    } else {
        if ((size_t)(dash - text) >= sizeof(low))
            return -EINVAL;
        memcpy(low, text, (size_t)(dash - text));
        low[dash - text] = '\0';
        if (values_parse_size(low, &sizes.min) || values_parse_size(dash + 1, &sizes.max))
            return -EINVAL;
    }
    if (sizes.min > sizes.max) {
        *ret_why = "the range is upside down; write the smaller size first";
        return -EINVAL;
    }
    *ret_sizes = sizes;
    return 0;
}
