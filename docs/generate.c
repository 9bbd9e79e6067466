/* Prints the documents that are made from tables in the source:
 *
 *     generate              the names of the documents, one a line
 *     generate counters     docs/COUNTERS.md, from base/counters.def
 *     generate config       docs/CONFIG.md, from control/config.def
 *     generate yaml         deploy/salvo.yaml, from the same
 *
 * A test of meson compares them with what is in the tree; tests/tidy/tidy.py --write brings the
 * tree up to date. */
#include "base/counters.h"
#include "control/config.h"

#include <stdio.h>
#include <string.h>

static void generate_counters_table(const struct salvo_counter_info *info, unsigned count, FILE *to)
{
    static const char *const kinds[] = {
        [SALVO_COUNTER_COUNT] = "count",
        [SALVO_COUNTER_GAUGE] = "gauge",
        [SALVO_COUNTER_MAX] = "max",
    };

    fprintf(to, "| name | kind | unit | |\n| --- | --- | --- | --- |\n");
    for (unsigned i = 0; i < count; i++)
        fprintf(to, "| `%s` | %s | %s | %s |\n", info[i].name, kinds[info[i].kind], info[i].unit,
                info[i].text);
}

static void generate_counters(FILE *to)
{
    fprintf(to, "# Counters\n\n"
                "Made from `base/counters.def`: do not edit. `salvo stat FILE` prints them, "
                "`salvo_counter_value()` reads them.\n"
                "A count only grows, a gauge is how it is now, a max is the largest seen since the "
                "start.\n\n"
                "## Of each lane\n\n");
    generate_counters_table(salvo_lane_counter_info, SALVO_LANE_COUNTERS, to);
    fprintf(to, "\n## Of control\n\n");
    generate_counters_table(salvo_control_counter_info, SALVO_CONTROL_COUNTERS, to);
}

static const struct document {
    const char *name;
    void (*print)(FILE *to);
} documents[] = {
    {"counters", generate_counters},
    {"config", salvo_config_write_markdown},
    {"yaml", salvo_config_write_yaml},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(documents); i++) {
        if (argc < 2) {
            printf("%s\n", documents[i].name);
        } else if (strcmp(argv[1], documents[i].name) == 0) {
            documents[i].print(stdout);
            return 0;
        }
    }
    if (argc >= 2)
        fprintf(stderr, "generate: no document is called %s\n", argv[1]);
    return argc >= 2;
}
