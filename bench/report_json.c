/* The report as JSON: docs/REPORT.md names every field, and a test compares. */
#include "bench/report.h"

#include <errno.h>
#include <jansson.h>

static void json_count(json_t *object, const char *name, uint64_t value)
{
    json_object_set_new(object, name, json_integer((json_int_t)value));
}

static void json_number(json_t *object, const char *name, double value)
{
    json_object_set_new(object, name, json_real(value));
}

/* Text that is not UTF-8 (an option's value) still leaves a report. */
static void json_text(json_t *object, const char *name, const char *text)
{
    json_t *value = text == NULL ? json_null() : json_string(text);

    json_object_set_new(object, name, value != NULL ? value : json_string("(not UTF-8)"));
}

static double json_us(const struct salvo_hist *hist, double fraction)
{
    return (double)salvo_hist_quantile(hist, fraction) / 1e3;
}

static json_t *json_latency(const struct salvo_hist *hist)
{
    json_t *latency = json_object();

    json_number(latency, "min", hist->count > 0 ? (double)hist->min / 1e3 : 0);
    json_number(latency, "mean", salvo_hist_mean(hist) / 1e3);
    json_number(latency, "p50", json_us(hist, 0.5));
    json_number(latency, "p90", json_us(hist, 0.9));
    json_number(latency, "p99", json_us(hist, 0.99));
    json_number(latency, "p999", json_us(hist, 0.999));
    json_number(latency, "p9999", json_us(hist, 0.9999));
    json_number(latency, "max", (double)hist->max / 1e3);
    return latency;
}

static void json_add_errors(json_t *root, const struct salvo_load_result *result)
{
    json_t *errors = json_object(), *texts = json_object();

    for (unsigned i = 0; i < result->kinds_count; i++) {
        char name[64];

        salvo_load_kind_name(&result->kinds[i], name, sizeof(name));
        json_count(errors, name, result->kinds[i].count);
        json_text(texts, name, result->kinds[i].text);
    }
    if (result->all.planned > result->all.committed)
        json_count(errors, "never_submitted", result->all.planned - result->all.committed);
    if (result->kinds_dropped > 0)
        json_count(errors, "other", result->kinds_dropped);
    json_object_set_new(root, "errors", errors);
    json_object_set_new(root, "error_texts", texts);
}

static void json_add_accounting(json_t *root, const struct salvo_report *report)
{
    const struct salvo_load_result *result = report->result;
    const struct salvo_load_counts *all = &result->all;
    json_t *answers = json_object(), *reasons = json_array();

    json_count(root, "planned", all->planned);
    json_count(root, "acked", all->acked);
    json_count(root, "failed", all->failed);
    json_count(root, "timed_out", all->timed_out);
    json_count(root, "unsent", all->unsent);
    json_count(root, "stored_unknown", all->stored_unknown);
    json_count(root, "retried", all->retried);
    for (int code = SALVO_OK; code <= SALVO_OK_FLUSH_SLAVE_TIMEOUT; code++)
        json_count(answers, salvo_code_name((enum salvo_code)code), all->codes[code]);
    json_object_set_new(root, "answers", answers);
    json_add_errors(root, result);
    json_object_set_new(root, "valid", json_boolean(report->valid));
    for (unsigned i = 0; i < report->reasons_count; i++)
        json_array_append_new(reasons, json_string(report->reasons[i]));
    json_object_set_new(root, "invalid_reasons", reasons);
    json_object_set_new(root, "interrupted", json_boolean(result->interrupted));
    json_object_set_new(root, "drain_cut", json_boolean(result->drain_cut));
}

static void json_add_figures(json_t *root, const struct salvo_report *report)
{
    const struct salvo_load_result *result = report->result;

    json_text(root, "loop", result->open_loop ? "open" : "closed");
    json_text(root, "latency_from", result->open_loop ? "intended" : "submission");
    json_number(root, "warmup_seconds", (double)result->warmup_ns / 1e9);
    json_count(root, "measured_messages", result->measured.committed);
    json_count(root, "measured_acked", result->measured.acked);
    json_number(root, "seconds", report->seconds);
    json_number(root, "rate_per_s", report->rate_per_s);
    json_number(root, "bytes_per_s", report->bytes_per_s);
    json_number(root, "cpu_seconds", result->cpu_seconds);
    json_number(root, "cpu_us_per_message", report->cpu_us_per_message);
    json_object_set_new(root, "cpu_includes_mock", json_boolean(report->settings.embedded_mock));
    json_object_set_new(root, "latency_us", json_latency(&result->latency));
}

static void json_add_client(json_t *root, const struct salvo_report *report)
{
    const struct salvo_load_result *result = report->result;
    const struct salvo_hist *error = &result->schedule_error;
    json_t *client = json_object(), *schedule = json_object();

    json_object_set_new(client, "was_limit", json_boolean(report->was_limit));
    json_text(client, "limit_reason", report->limit_reason);
    json_number(schedule, "p50", json_us(error, 0.5));
    json_number(schedule, "p99", json_us(error, 0.99));
    json_number(schedule, "max", (double)error->max / 1e3);
    json_object_set_new(client, "schedule_error_us", schedule);
    json_count(client, "late_messages", result->late);
    json_count(client, "held_back_messages", result->held_back);
    json_number(client, "ring_full_seconds", (double)result->ring_full_ns / 1e9);
    json_number(client, "lane_busy_share", report->lane_busy_share);
    json_number(client, "generator_busy_share", report->generator_busy_share);
    json_object_set_new(root, "client", client);
}

static void json_add_machine(json_t *root, const struct salvo_report *report)
{
    json_t *machine = json_object(), *build = json_object();

    json_text(machine, "model", report->machine.model);
    json_count(machine, "cores", report->machine.cores);
    json_text(machine, "kernel", report->machine.kernel);
    json_count(machine, "memory_bytes", report->machine.memory_bytes);
    json_number(machine, "stolen_seconds", report->result->stolen_seconds);
    json_object_set_new(root, "machine", machine);
    json_text(build, "version", report->build.version);
    json_text(build, "git", report->build.git);
    json_text(build, "compiler", report->build.compiler);
    json_text(build, "buildtype", report->build.buildtype);
    json_object_set_new(root, "build", build);
}

static void json_add_settings(json_t *root, const struct salvo_report *report)
{
    const struct salvo_load_conf *conf = report->conf;
    const struct salvo_report_settings *s = &report->settings;
    json_t *settings = json_object(), *topics = json_array(), *tags = json_array();
    json_t *options = json_object();

    json_number(settings, "rate_per_s", conf->rate);
    json_count(settings, "window", conf->window);
    json_count(settings, "count", conf->count);
    json_number(settings, "duration_seconds", (double)conf->duration_ns / 1e9);
    json_count(settings, "size_min", conf->payload.size_min);
    json_count(settings, "size_max", conf->payload.size_max);
    json_number(settings, "compressibility", conf->payload.compressibility);
    json_count(settings, "keys", conf->payload.keys);
    json_count(settings, "seed", conf->payload.seed);
    for (unsigned i = 0; i < conf->topics_count; i++)
        json_array_append_new(topics, json_string(salvo_topic_name(conf->topics[i])));
    json_object_set_new(settings, "topics", topics);
    for (unsigned i = 0; i < conf->payload.tags_count; i++)
        json_array_append_new(tags, json_string(conf->payload.tags[i]));
    json_object_set_new(settings, "tags", tags);
    json_text(settings, "nameserver", s->nameserver);
    json_object_set_new(settings, "embedded_mock", json_boolean(s->embedded_mock));
    json_text(settings, "net", s->net);
    json_text(settings, "net_note", s->net_note);
    for (unsigned i = 0; i < s->options_count; i++)
        json_text(options, s->options[i].name, s->options[i].value);
    json_object_set_new(settings, "options", options);
    json_object_set_new(root, "settings", settings);
}

int salvo_report_json(const struct salvo_report *report, FILE *to)
{
    json_t *root = json_object();
    int r;

    errno = 0; /* what keeps it from being written is the last thing that sets it */
    json_text(root, "started", report->started);
    json_add_accounting(root, report);
    json_add_figures(root, report);
    json_add_client(root, report);
    json_add_machine(root, report);
    json_add_settings(root, report);
    r = json_dumpf(root, to, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(root);
    if (r || fputc('\n', to) == EOF || fflush(to))
        return errno != 0 ? -errno : -EIO; /* free() keeps it */
    return 0;
}
