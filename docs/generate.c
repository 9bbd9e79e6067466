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

/* What cmd/stat.c writes; a test of tests/e2e/test_cli.py compares. */
static void generate_counters_json(FILE *to)
{
    static const struct {
        const char *name;
        const char *text;
    } fields[] = {
        {"version", "of the salvo that wrote the file"},
        {"pid", "its process"},
        {"alive", "it still runs"},
        {"lanes", "how many it has"},
        {"start_ms", "when it started, ms since 1970"},
        {"counters.*", "by name, as above: those of lanes added up, and of a max the largest"},
        {"latencies.*.count", "by label, as in `lane 0: sent to answered, ns`: how many"},
        {"latencies.*.p50_us", "half of them took no longer, in microseconds"},
        {"latencies.*.p99_us", "99 %"},
        {"latencies.*.p999_us", "99.9 %"},
        {"latencies.*.max_us", "the longest"},
        {"errors[].place", "what met it, as in `control: heartbeat`"},
        {"errors[].code", "a broker's answer, or a negative errno"},
        {"errors[].count", "how often this place met this code"},
        {"errors[].first_ms", "when first, ms since 1970"},
        {"errors[].last_ms", "when last"},
        {"errors[].text", "of the first; `(not UTF-8)` where a peer's words are not"},
    };

    fprintf(to, "\n## As JSON\n\n"
                "`salvo stat --json FILE` writes one object; with `--watch` one a line, each "
                "second.\n\n"
                "| name | |\n| --- | --- |\n");
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(fields); i++)
        fprintf(to, "| `%s` | %s |\n", fields[i].name, fields[i].text);
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
    generate_counters_json(to);
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
