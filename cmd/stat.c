/* salvo stat: counters, errors and latencies of a running salvo, read from its stat file without
 * asking it. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "cmd/cmd.h"
#include "cmd/options.h"
#include "cmd/stop.h"
#include "control/statfile.h"

#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct stat_values {
    bool watch;
    bool json;
    bool all;
    const char *file;
};

static const struct cmd_option stat_options[] = {
    {"watch", 0, NULL, CMD_FLAG, offsetof(struct stat_values, watch), 0, 0, NULL,
     "show it each second, with rates, until it ends"},
    {"json", 0, NULL, CMD_FLAG, offsetof(struct stat_values, json), 0, 0, NULL,
     "as JSON; with --watch one line each second"},
    {"all", 0, NULL, CMD_FLAG, offsetof(struct stat_values, all), 0, 0, NULL,
     "counters that are 0 as well"},
};

static const struct cmd_usage stat_usage = {
    .command = "stat",
    .summary =
        "Shows the counters, errors and latencies of a running salvo from the file that its option "
        "stat_file names.",
    .positional = "FILE",
    .positional_needed = true,
    .positional_offset = offsetof(struct stat_values, file),
    .options = stat_options,
    .options_count = SALVO_ARRAY_LENGTH(stat_options),
    .notes = "Exit code: 0; 1 the file cannot be read, is no stat file that this salvo\n"
             "knows, or was cut off while it was watched; 2 the options are wrong, or what\n"
             "it printed was lost. That its salvo is gone is no failure.\n\n"
             "  salvo load -D stat_file=/dev/shm/salvo.stat &\n"
             "  salvo stat --watch /dev/shm/salvo.stat\n",
};

struct stat_run {
    struct stat_values values;
    struct salvo_statfile_view view;
    uint64_t *before;  /* all counters at the last look, lanes' first; for rates */
    int64_t before_ns; /* when that was; 0: this is the first */
};

static uint32_t stat_counters(const struct stat_run *run)
{
    return run->view.header->lane_counters_count + run->view.header->control_counters_count;
}

/* The i-th counter, lanes' first; those of lanes are summed, maxima and all. */
static const struct salvo_statfile_name *stat_counter(const struct stat_run *run, uint32_t i,
                                                      uint64_t *ret_value)
{
    const struct salvo_statfile_header *header = run->view.header;
    const struct salvo_statfile_name *name;
    uint64_t total = 0;

    if (i >= header->lane_counters_count) {
        i -= header->lane_counters_count;
        *ret_value = salvo_statfile_view_control(&run->view, i);
        return salvo_statfile_view_control_name(&run->view, i);
    }
    name = salvo_statfile_view_lane_name(&run->view, i);
    for (uint32_t lane = 0; lane < header->lanes_count; lane++) {
        uint64_t value = salvo_statfile_view_lane(&run->view, lane, i);

        total = name->kind == SALVO_COUNTER_MAX ? SALVO_MAX(total, value) : total + value;
    }
    *ret_value = total;
    return name;
}

static const char *stat_time(int64_t ms, char buf[32])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm utc;

    gmtime_r(&seconds, &utc);
    strftime(buf, 32, "%Y-%m-%dT%H:%M:%SZ", &utc);
    return buf;
}

/* A look comes when it can: behind a signal, or a reader that took its time. */
static void stat_text_rate(uint64_t more, int64_t ns)
{
    printf(" %14.0f/s", ns > 0 ? (double)more * 1e9 / (double)ns : 0);
}

static void stat_text_counters(struct stat_run *run)
{
    int64_t now_ns = salvo_clock_mono_ns(salvo_clock_system());

    for (uint32_t i = 0; i < stat_counters(run); i++) {
        uint64_t value, before = run->before[i];
        const struct salvo_statfile_name *name = stat_counter(run, i, &value);

        run->before[i] = value;
        if (value == 0 && !run->values.all)
            continue;
        printf("  %-28s %20" PRIu64 " %-12s", name->name, value, name->unit);
        if (run->before_ns != 0 && name->kind == SALVO_COUNTER_COUNT)
            stat_text_rate(value - before, now_ns - run->before_ns);
        printf("\n");
    }
    run->before_ns = now_ns;
}

static void stat_text_hists(const struct stat_run *run)
{
    for (uint32_t i = 0; i < run->view.header->hists_count; i++) {
        const struct salvo_statfile_hist *entry = salvo_statfile_view_hist(&run->view, i);
        const struct salvo_hist *hist = &entry->hist;

        size_t size = strlen(entry->label);

        if (hist->count == 0 && !run->values.all)
            continue;
        if (size > 4 && strcmp(entry->label + size - 4, ", ns") == 0)
            size -= 4; /* the unit of the file, and of --json; here they are microseconds */
        printf("  %-28.*s %20" PRIu64 " times; us p50 %.1f, p99 %.1f, p99.9 %.1f, max %.1f\n",
               (int)size, entry->label, hist->count, (double)salvo_hist_quantile(hist, 0.5) / 1e3,
               (double)salvo_hist_quantile(hist, 0.99) / 1e3,
               (double)salvo_hist_quantile(hist, 0.999) / 1e3, (double)hist->max / 1e3);
    }
}

static void stat_text(struct stat_run *run, bool alive)
{
    const struct salvo_statfile_header *header = run->view.header;
    char first[32], last[32];

    printf("salvo %s, process %u%s, %u lanes, started %s\n", header->salvo_version, header->pid,
           alive ? "" : " (gone)", header->lanes_count, stat_time(header->start_ms, first));
    stat_text_counters(run);
    stat_text_hists(run);
    for (uint32_t i = 0; i < salvo_statfile_view_errors(&run->view); i++) {
        const struct salvo_statfile_error *error = salvo_statfile_view_error(&run->view, i);
        char text[SALVO_ERROR_TEXT_MAX];

        snprintf(text, sizeof(text), "%s", error->text);
        salvo_text_make_printable(text);
        printf("  error %s (%d), %" PRIu64 " times, %s to %s: %s\n", error->place, error->code,
               atomic_load_explicit(&error->count, memory_order_relaxed),
               stat_time(error->first_ms, first),
               stat_time(atomic_load_explicit(&error->last_ms, memory_order_relaxed), last), text);
    }
}

static json_t *stat_json_hists(const struct stat_run *run)
{
    json_t *hists = json_object();

    for (uint32_t i = 0; i < run->view.header->hists_count; i++) {
        const struct salvo_statfile_hist *entry = salvo_statfile_view_hist(&run->view, i);
        const struct salvo_hist *hist = &entry->hist;

        json_object_set_new(hists, entry->label,
                            json_pack("{s:I, s:f, s:f, s:f, s:f}", "count", (json_int_t)hist->count,
                                      "p50_us", (double)salvo_hist_quantile(hist, 0.5) / 1e3,
                                      "p99_us", (double)salvo_hist_quantile(hist, 0.99) / 1e3,
                                      "p999_us", (double)salvo_hist_quantile(hist, 0.999) / 1e3,
                                      "max_us", (double)hist->max / 1e3));
    }
    return hists;
}

/* Text that is not UTF-8 (a peer's) is no reason to leave an entry out. */
static json_t *stat_json_text(const char *text)
{
    json_t *value = json_string(text);

    return value != NULL ? value : json_string("(not UTF-8)");
}

static json_t *stat_json_errors(const struct stat_run *run)
{
    json_t *errors = json_array();

    for (uint32_t i = 0; i < salvo_statfile_view_errors(&run->view); i++) {
        const struct salvo_statfile_error *error = salvo_statfile_view_error(&run->view, i);

        json_array_append_new(
            errors,
            json_pack("{s:s, s:i, s:I, s:I, s:I, s:o}", "place", error->place, "code", error->code,
                      "count",
                      (json_int_t)atomic_load_explicit(&error->count, memory_order_relaxed),
                      "first_ms", (json_int_t)error->first_ms, "last_ms",
                      (json_int_t)atomic_load_explicit(&error->last_ms, memory_order_relaxed),
                      "text", stat_json_text(error->text)));
    }
    return errors;
}

static void stat_json(const struct stat_run *run, bool alive)
{
    const struct salvo_statfile_header *header = run->view.header;
    json_t *root = json_object(), *counters = json_object();

    json_object_set_new(root, "version", json_string(header->salvo_version));
    json_object_set_new(root, "pid", json_integer(header->pid));
    json_object_set_new(root, "alive", json_boolean(alive));
    json_object_set_new(root, "lanes", json_integer(header->lanes_count));
    json_object_set_new(root, "start_ms", json_integer(header->start_ms));
    for (uint32_t i = 0; i < stat_counters(run); i++) {
        uint64_t value;
        const struct salvo_statfile_name *name = stat_counter(run, i, &value);

        json_object_set_new(counters, name->name, json_integer((json_int_t)value));
    }
    json_object_set_new(root, "counters", counters);
    json_object_set_new(root, "latencies", stat_json_hists(run));
    json_object_set_new(root, "errors", stat_json_errors(run));
    json_dumpf(root, stdout, run->values.watch ? JSON_COMPACT : JSON_INDENT(2));
    printf("\n");
    json_decref(root);
}

/* The exit code. */
static int stat_show(struct stat_run *run)
{
    bool alive = salvo_statfile_view_alive(&run->view);
    bool terminal = isatty(STDOUT_FILENO) == 1;

    for (;;) {
        if (run->values.json)
            stat_json(run, alive);
        else
            stat_text(run, alive);
        if (fflush(stdout) || !run->values.watch || !alive || cmd_stop != 0)
            return CMD_EXIT_GOOD;
        poll(NULL, 0, 1000);
        if (!salvo_statfile_view_whole(&run->view))
            return cmd_fail("stat", CMD_EXIT_FAILED, "%s was cut off while it was watched",
                            run->values.file);
        alive = salvo_statfile_view_alive(&run->view);
        if (terminal && !run->values.json)
            printf("\033[H\033[J");
    }
}

int cmd_stat(int argc, char **argv)
{
    struct stat_run run = {0};
    char error[SALVO_STATFILE_ERROR_MAX];
    int code;

    if (!cmd_options_begin(&stat_usage, argc, argv, &run.values, &code))
        return code;
    cmd_stop_init();
    if (salvo_statfile_view_open(&run.view, run.values.file, error))
        return cmd_fail("stat", CMD_EXIT_FAILED, "%s", error);
    run.before = calloc(stat_counters(&run) + 1, sizeof(*run.before));
    cmd_stop_opened();
    if (run.before != NULL)
        code = stat_show(&run);
    else
        code = cmd_fail("stat", CMD_EXIT_FAILED, SALVO_NO_MEMORY);
    free(run.before);
    salvo_statfile_view_close(&run.view);
    return code;
}
