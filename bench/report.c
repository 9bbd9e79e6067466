/* What a result means: derived figures, validity, and whether the client was the limit. */
#include "bench/report.h"

#include <stdarg.h>

/* From this share of its time a thread is taken to be the limit. */
#define REPORT_BUSY_SHARE_LIMIT 0.9

static void report_reason(struct salvo_report *report, const char *format, ...) SALVO_PRINTF(2, 3);

static void report_reason(struct salvo_report *report, const char *format, ...)
{
    va_list args;

    report->valid = false;
    if (report->reasons_count == SALVO_REPORT_REASONS_MAX)
        return;
    va_start(args, format);
    vsnprintf(report->reasons[report->reasons_count++], SALVO_REPORT_REASON_SIZE, format, args);
    va_end(args);
}

static void report_judge_identity(struct salvo_report *report)
{
    const struct salvo_load_counts *all = &report->result->all;
    const struct salvo_load_counts *measured = &report->result->measured;
    uint64_t ended = all->acked + all->failed + all->timed_out + all->unsent;

    if (ended != all->planned)
        report_reason(
            report,
            "the accounting does not close: planned %llu, but acked + failed + timed_out + "
            "unsent = %llu",
            (unsigned long long)all->planned, (unsigned long long)ended);
    if (all->stored_unknown > all->failed + all->timed_out)
        report_reason(report, "stored_unknown is more than failed + timed_out");
    if (all->stored_unknown_unsent > 0)
        report_reason(report, "%llu messages were reported unsent and yet may have been stored",
                      (unsigned long long)all->stored_unknown_unsent);
    if (report->result->latency.count != measured->acked)
        report_reason(report, "%llu acknowledgements were measured, but %llu latencies recorded",
                      (unsigned long long)measured->acked,
                      (unsigned long long)report->result->latency.count);
}

static void report_judge_generator(struct salvo_report *report)
{
    const struct salvo_load_result *result = report->result;
    uint64_t measured = result->measured.committed;
    char stolen[80] = "";

    if (result->stolen_seconds > 0)
        snprintf(stolen, sizeof(stolen), "; the machine's hypervisor kept its CPUs for %.2f s",
                 result->stolen_seconds);
    if (result->trouble != NULL)
        report_reason(report, "%s", result->trouble);
    if (measured == 0)
        report_reason(report, "nothing was measured: the run ended before its warm-up did");
    else if ((double)result->late > SALVO_REPORT_LATE_SHARE_MAX * (double)measured)
        report_reason(
            report,
            "the generator was late by more than 1 ms for %llu of %llu messages (%.2f %%); "
            "lower the rate or free a core%s",
            (unsigned long long)result->late, (unsigned long long)measured,
            100.0 * (double)result->late / (double)measured, stolen);
}

/* Where nothing arrived there is no rate that the client could have limited. */
static void report_judge_limit(struct salvo_report *report)
{
    const struct salvo_load_result *result = report->result;
    double generator = report->generator_busy_share;
    const char *thread =
        report->conf->caller ? "the one thread of generator and lane" : "the generator's thread";

    if (result->measured.acked == 0)
        return;
    if (report->lane_busy_share >= REPORT_BUSY_SHARE_LIMIT)
        snprintf(report->limit_reason, sizeof(report->limit_reason),
                 "the lanes were busy for %.0f %% of the time", 100 * report->lane_busy_share);
    else if (generator >= REPORT_BUSY_SHARE_LIMIT)
        snprintf(report->limit_reason, sizeof(report->limit_reason),
                 "%s was busy for %.0f %% of the time", thread, 100 * generator);
    else if ((double)result->late >
             SALVO_REPORT_LATE_SHARE_MAX * (double)result->measured.committed)
        snprintf(report->limit_reason, sizeof(report->limit_reason), "the generator was late");
    report->was_limit = report->limit_reason[0] != '\0';
}

static double report_share(int64_t part_ns, int64_t whole_ns)
{
    return whole_ns > 0 ? SALVO_MIN((double)part_ns / (double)whole_ns, 1.0) : 0;
}

void salvo_report_judge(struct salvo_report *report)
{
    const struct salvo_load_result *result = report->result;
    const struct salvo_load_counts *measured = &result->measured;

    report->seconds = (double)SALVO_MAX(result->measured_ns, INT64_C(0)) / 1e9;
    if (report->seconds > 0) {
        report->rate_per_s = (double)measured->acked / report->seconds;
        if (measured->committed > 0)
            report->bytes_per_s =
                report->rate_per_s * (double)measured->bytes / (double)measured->committed;
    }
    if (measured->acked > 0)
        report->cpu_us_per_message = result->cpu_seconds * 1e6 / (double)measured->acked;
    report->generator_busy_share = report_share(result->busy_ns, result->measured_ns);
    report->lane_busy_share = report_share(
        result->lanes_busy_ns, result->measured_ns * (int64_t)SALVO_MAX(report->conf->lanes, 1u));
    report->valid = true;
    report_judge_identity(report);
    report_judge_generator(report);
    report_judge_limit(report);
}

int salvo_report_exit_code(const struct salvo_report *report)
{
    if (!report->valid)
        return 2;
    return report->result->all.acked == report->result->all.planned ? 0 : 1;
}
