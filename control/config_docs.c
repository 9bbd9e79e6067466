/* What people read of the option table: values in force, docs/CONFIG.md, deploy/salvo.yaml. */
#include "base/assert.h"
#include "control/config_table.h"

#include <string.h>

struct salvo_config_option_info salvo_config_option_info(enum salvo_config_option option)
{
    static const char *const kinds[] = {
        [CONFIG_TEXT] = "text",   [CONFIG_U32] = "number", [CONFIG_BOOL] = "boolean",
        [CONFIG_ENUM] = "choice", [CONFIG_TIME] = "time",  [CONFIG_SIZE] = "size"};
    /* Made anew on each call, always the same text: static, so that the struct can be kept. */
    static char values[SALVO_OPTIONS][64], ranges[SALVO_OPTIONS][192];
    const struct config_row *row = &config_rows[option];
    bool text = row->kind == CONFIG_TEXT || row->kind == CONFIG_ENUM;

    salvo_assert(option < SALVO_OPTIONS);
    if (!text)
        config_number_print(row, row->value, values[option], sizeof(values[option]));
    config_range_print(row, ranges[option], sizeof(ranges[option]));
    return (struct salvo_config_option_info){
        .section = row->section,
        .name = row->name,
        .kind = kinds[row->kind],
        .value = text ? row->value_text : values[option],
        .range = ranges[option],
        .text = row->text,
    };
}

void salvo_config_value(const struct salvo_config *config, enum salvo_config_option option,
                        char *ret_text, size_t size)
{
    salvo_assert(option < SALVO_OPTIONS);
    salvo_assert(size > 0);
    config_row_print(config, &config_rows[option], ret_text, size);
}

const char *salvo_config_source_name(enum salvo_config_source source)
{
    switch (source) {
    case SALVO_CONFIG_DEFAULT:
        return "default";
    case SALVO_CONFIG_FILE:
        return "file";
    case SALVO_CONFIG_ENVIRONMENT:
        return "environment";
    case SALVO_CONFIG_ARGUMENT:
        return "-D";
    }
    salvo_unreachable();
}

const char *salvo_config_enum_name(const struct salvo_config *config,
                                   enum salvo_config_option option)
{
    /* One place for each name of each list, filled with the same bytes every time. */
    static char names[SALVO_OPTIONS][16][16];
    const struct config_row *row = &config_rows[option];
    uint32_t value;

    salvo_assert(option < SALVO_OPTIONS);
    salvo_assert(row->kind == CONFIG_ENUM);
    memcpy(&value, (const char *)config + row->offset, sizeof(value));
    salvo_assert(value < SALVO_ARRAY_LENGTH(names[0]));
    config_number_print(row, value, names[option][value], sizeof(names[option][value]));
    return names[option][value];
}

void salvo_config_print(const struct salvo_config *config, FILE *to)
{
    for (int i = 0; i < SALVO_OPTIONS; i++) {
        char value[4096];

        config_row_print(config, &config_rows[i], value, sizeof(value));
        fprintf(to, "%-8s %-28s %-24s %s\n", config_rows[i].section, config_rows[i].name,
                value[0] == '\0' ? "\"\"" : value, salvo_config_source_name(config->sources[i]));
    }
}

void salvo_config_write_markdown(FILE *to)
{
    const char *section = "";

    fputs("# Options\n\n"
          "Made from `control/config.def`; do not edit. Sources, each later one wins: defaults, "
          "the YAML\n"
          "file (`--config`; of several each later one wins), the environment (`SALVO_<NAME>` in "
          "capitals), `-D name=value`.\n"
          "Times take us, ms, s, m (a bare number is in the unit of the name); sizes take B, KiB, "
          "MiB, GiB,\n"
          "KB, MB, GB (a bare number is bytes).\n",
          to);
    for (int i = 0; i < SALVO_OPTIONS; i++) {
        struct salvo_config_option_info info =
            salvo_config_option_info((enum salvo_config_option)i);

        if (strcmp(section, info.section) != 0) {
            section = info.section;
            fprintf(
                to,
                "\n## %s\n\n| option | default | takes | meaning |\n| --- | --- | --- | --- |\n",
                section);
        }
        fprintf(to, "| `%s` | %s%s%s | %s | %s |\n", info.name, info.value[0] == '\0' ? "" : "`",
                info.value, info.value[0] == '\0' ? "empty" : "`", info.range, info.text);
    }
}

/* Plain where YAML reads it as we mean it; quoted where it would see a number, a boolean or
 * nothing. */
static bool yaml_needs_quotes(const struct config_row *row, const char *value)
{
    if (row->kind != CONFIG_TEXT && row->kind != CONFIG_ENUM)
        return false;
    return value[0] == '\0' || (value[0] >= '0' && value[0] <= '9') || strcmp(value, "off") == 0 ||
           strcmp(value, "none") == 0;
}

void salvo_config_write_yaml(FILE *to)
{
    const char *section = "";

    fputs(
        "# Every option of salvo with its default, made from control/config.def. Take the mark off "
        "a\n"
        "# line, and off its section's, to change it. Options may also stand without a section.\n",
        to);
    for (int i = 0; i < SALVO_OPTIONS; i++) {
        struct salvo_config_option_info info =
            salvo_config_option_info((enum salvo_config_option)i);
        const char *quote = yaml_needs_quotes(&config_rows[i], info.value) ? "\"" : "";

        if (strcmp(section, info.section) != 0) {
            section = info.section;
            fprintf(to, "\n#%s:\n", section);
        }
        fprintf(to, "#  # %s; %s\n#  %s: %s%s%s\n", info.text, info.range, info.name, quote,
                info.value, quote);
    }
}
