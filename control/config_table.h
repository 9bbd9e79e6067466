/* config.def as rows, and the conversions between text and value. Private to config*.c and
 * api.c. */
#pragma once

#include "control/config.h"

enum config_kind {
    CONFIG_TEXT,
    CONFIG_U32,
    CONFIG_BOOL,
    CONFIG_ENUM,
    CONFIG_TIME,
    CONFIG_SIZE,
};

struct config_row {
    const char *section;
    const char *name;
    enum config_kind kind;
    size_t offset;          /* of the field in struct salvo_config */
    const char *value_text; /* default of texts and enums */
    uint64_t value;         /* default of numbers */
    uint64_t min;
    uint64_t max;      /* texts: size of the field with its terminator */
    const char *names; /* enums: "a|b|c" */
    const char *text;
};

extern const struct config_row config_rows[SALVO_OPTIONS];

/* Parses `value` into the row's field. 0, or -EINVAL with a sentence in ret_error. */
int config_row_parse(struct salvo_config *config, const struct config_row *row, const char *value,
                     char ret_error[SALVO_CONFIG_ERROR_MAX]);

/* The default into the field. */
void config_row_reset(struct salvo_config *config, const struct config_row *row);

/* The field's value as text that config_row_parse takes back. */
void config_row_print(const struct salvo_config *config, const struct config_row *row,
                      char *ret_text, size_t size);

/* A number of the row's kind as text with its unit ("3s", "32KiB"). */
void config_number_print(const struct config_row *row, uint64_t value, char *ret_text, size_t size);

/* What the row takes, as in "1 to 64" or "json or binary". */
void config_range_print(const struct config_row *row, char *ret_text, size_t size);

/* The option of that name, or -1. */
int config_find(const char *name);
/* The option or section nearest to a name nobody knows, or NULL when none is near. */
const char *config_nearest_option(const char *name);
const char *config_nearest_section(const char *name);
bool config_is_section(const char *name);

/* "no option is called X; did you mean Y?", or a pointer to the list when nothing is near. */
void config_unknown_error(const char *name, char ret_error[SALVO_CONFIG_ERROR_MAX]);
