/* The report as a table for people. */
#include "bench/report.h"

#include <string.h>

/* 1234567 as "1,234,567". */
static const char *text_count(uint64_t value, char buf[32])
{
    char digits[24];
    int size = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)value);
    char *at = buf;

    for (int i = 0; i < size; i++) {
        if (i > 0 && (size - i) % 3 == 0)
            *at++ = ',';
        *at++ = digits[i];
    }
    *at = '\0';
    return buf;
}

/* Of few a second three digits, or one every ten seconds would be none. */
static const char *text_rate(double rate, char buf[32])
{
    if (rate >= 100)
        return text_count((uint64_t)(rate + 0.5), buf);
    snprintf(buf, 32, "%.3g", rate);
    return buf;
}

static void text_counts(const struct salvo_report *report, FILE *to)
{
    const struct salvo_load_counts *all = &report->result->all;
    char a[32], b[32], c[32], d[32], e[32];

    fprintf(to, "  messages   planned %s = acked %s + failed %s + timed out %s + unsent %s\n",
            text_count(all->planned, a), text_count(all->acked, b), text_count(all->failed, c),
            text_count(all->timed_out, d), text_count(all->unsent, e));
    if (all->stored_unknown > 0)
        fprintf(to,
                "             of the failed and timed out, %s may have been stored all the same\n",
                text_count(all->stored_unknown, a));
    if (all->acked != all->codes[SALVO_OK])
        fprintf(to,
                "             of the acked: flush disk timeout %s, slave not available %s, "
                "flush slave timeout %s\n",
                text_count(all->codes[SALVO_OK_FLUSH_DISK_TIMEOUT], a),
                text_count(all->codes[SALVO_OK_SLAVE_NOT_AVAILABLE], b),
                text_count(all->codes[SALVO_OK_FLUSH_SLAVE_TIMEOUT], c));
    if (all->retried > 0)
        fprintf(to, "             retried %s\n", text_count(all->retried, a));
}

static void text_errors(const struct salvo_report *report, FILE *to)
{
    const struct salvo_load_result *result = report->result;
    uint64_t never = result->all.planned - SALVO_MIN(result->all.committed, result->all.planned);
    char count[32], name[64];

    for (unsigned i = 0; i < result->kinds_count; i++) {
        const struct salvo_load_kind *kind = &result->kinds[i];

        salvo_load_kind_name(kind, name, sizeof(name));
        fprintf(to, "  error      %s %s%s%s\n", text_count(kind->count, count), name,
                kind->text[0] != '\0' ? ": " : "", kind->text);
    }
    if (result->kinds_dropped > 0)
        fprintf(to, "  error      %s of other kinds\n", text_count(result->kinds_dropped, count));
    if (never > 0)
        fprintf(to,
                "  error      %s never_submitted: the sender had no room before the run ended\n",
                text_count(never, count));
}

static double text_us(const struct salvo_hist *hist, double fraction)
{
    return (double)salvo_hist_quantile(hist, fraction) / 1e3;
}

static void text_latency(const struct salvo_load_result *result, FILE *to)
{
    const struct salvo_hist *hist = &result->latency;

    if (hist->count == 0) {
        fprintf(to, "  latency    none: no message was acknowledged\n");
        return;
    }
    fprintf(to, "  latency    from %s, in microseconds\n",
            result->open_loop ? "the intended send time"
                              : "submission (closed loop: a wait for room is not in it)");
    fprintf(to, "             %10s %10s %10s %10s %10s %10s %10s %10s\n", "min", "mean", "p50",
            "p90", "p99", "p99.9", "p99.99", "max");
    fprintf(to, "             %10.1f %10.1f %10.1f %10.1f %10.1f %10.1f %10.1f %10.1f\n",
            (double)hist->min / 1e3, salvo_hist_mean(hist) / 1e3, text_us(hist, 0.5),
            text_us(hist, 0.9), text_us(hist, 0.99), text_us(hist, 0.999), text_us(hist, 0.9999),
            (double)hist->max / 1e3);
}

static void text_figures(const struct salvo_report *report, FILE *to)
{
    const struct salvo_load_result *result = report->result;
    char rate[32];

    if (result->warmup_ns > 0)
        fprintf(to, "  measured   behind a warm-up of %.3g s\n", (double)result->warmup_ns / 1e9);
    fprintf(to, "  rate       %s messages/s, %.1f MB/s, over %.3f s\n",
            text_rate(report->rate_per_s, rate), report->bytes_per_s / 1e6, report->seconds);
    text_latency(result, to);
    fprintf(to, "  cpu        %.3f s, %.3f us per message%s\n", result->cpu_seconds,
            report->cpu_us_per_message,
            report->settings.embedded_mock ? " (with the embedded mock)" : "");
}

static void text_client(const struct salvo_report *report, FILE *to)
{
    const struct salvo_load_result *result = report->result;
    const struct salvo_hist *error = &result->schedule_error;

    fprintf(to,
            "  client     was %sthe limit%s%s; lanes busy %.0f %%, generator busy %.0f %%, "
            "without room %.3f s\n",
            report->was_limit ? "" : "not ", report->was_limit ? ": " : "", report->limit_reason,
            100 * report->lane_busy_share, 100 * report->generator_busy_share,
            (double)result->ring_full_ns / 1e9);
    if (result->open_loop)
        fprintf(to, "             schedule error p50 %.1f us, p99 %.1f us, max %.1f us\n",
                text_us(error, 0.5), text_us(error, 0.99), (double)error->max / 1e3);
}

static void text_head(const struct salvo_report *report, FILE *to)
{
    const struct salvo_load_conf *conf = report->conf;
    char text[32];

    fprintf(to, "\nsalvo load: ");
    if (conf->rate > 0)
        fprintf(to, "open loop, %s messages/s", text_rate(conf->rate, text));
    else
        fprintf(to, "closed loop, window %s", text_count(conf->window, text));
    if (conf->payload.size_min == conf->payload.size_max)
        fprintf(to, ", %llu bytes each", (unsigned long long)conf->payload.size_min);
    else
        fprintf(to, ", %llu to %llu bytes each", (unsigned long long)conf->payload.size_min,
                (unsigned long long)conf->payload.size_max);
    fprintf(to, ", to %s%s\n", report->settings.embedded_mock ? "the embedded mock at " : "",
            report->settings.nameserver);
    if (strcmp(report->settings.net, "null") == 0)
        fprintf(to, "  net null   answered by itself: nothing was sent\n");
    if (report->result->interrupted)
        fprintf(to, "  interrupted before its end\n");
    if (report->result->drain_cut)
        fprintf(to, "  the drain's deadline came before the last results\n");
}

static void text_foot(const struct salvo_report *report, FILE *to)
{
    const struct salvo_report_settings *s = &report->settings;

    fprintf(to, "  machine    %s, %u cores, %.1f GiB, %s\n", report->machine.model,
            report->machine.cores, (double)report->machine.memory_bytes / 1073741824.0,
            report->machine.kernel);
    if (report->result->stolen_seconds > 0)
        fprintf(to, "             its hypervisor kept its CPUs from it for %.2f s of the run\n",
                report->result->stolen_seconds);
    fprintf(to, "  build      salvo %s%s%s, %s, %s\n", report->build.version,
            report->build.git[0] != '\0' ? " " : "", report->build.git, report->build.compiler,
            report->build.buildtype);
    fprintf(to, "  settings   net=%s%s%s%s", s->net, s->net_note != NULL ? " (" : "",
            s->net_note != NULL ? s->net_note : "", s->net_note != NULL ? ")" : "");
    for (unsigned i = 0; i < s->options_count; i++) {
        if (strcmp(s->options[i].name, "net") != 0)
            fprintf(to, "%s%s=%s", i % 6 == 5 ? "\n             " : " ", s->options[i].name,
                    s->options[i].value);
    }
    fprintf(to, "\n");
    if (report->valid)
        fprintf(to, "  valid\n");
    for (unsigned i = 0; i < report->reasons_count; i++)
        fprintf(to, "  INVALID    %s\n", report->reasons[i]);
}

void salvo_report_text(const struct salvo_report *report, FILE *to)
{
    text_head(report, to);
    text_counts(report, to);
    text_errors(report, to);
    text_figures(report, to);
    text_client(report, to);
    text_foot(report, to);
    fflush(to);
}
