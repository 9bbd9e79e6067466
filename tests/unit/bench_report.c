/* When a report is valid, what it exits with, and who was the limit. */
#include "bench/report.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

static struct salvo_load_conf conf;
static struct salvo_load_result result;
static struct salvo_report report;

/* A thousand messages, all well, in one second. */
static int all_well(void **state)
{
    memset(&conf, 0, sizeof(conf));
    memset(&result, 0, sizeof(result));
    memset(&report, 0, sizeof(report));
    salvo_hist_reset(&result.latency);
    salvo_hist_reset(&result.schedule_error);
    conf.rate = 1000;
    conf.lanes = 1;
    result.open_loop = true;
    result.all.planned = result.all.committed = result.all.acked = 1000;
    result.all.codes[SALVO_OK] = 1000;
    result.measured = result.all;
    result.measured.bytes = 128000;
    result.measured_ns = SALVO_NS_PER_S;
    result.cpu_seconds = 0.5;
    salvo_hist_record_n(&result.latency, 50000, 1000);
    report.conf = &conf;
    report.result = &result;
    report.settings.nameserver = "127.0.0.1:9876";
    report.settings.net = "uring";
    report.build.git = "";
    return 0;
}

static void judge(void)
{
    report.reasons_count = 0;
    report.limit_reason[0] = '\0';
    salvo_report_judge(&report);
}

static void expect_invalid(const char *reason)
{
    judge();
    assert_false(report.valid);
    assert_true(report.reasons_count >= 1);
    if (strstr(report.reasons[0], reason) == NULL)
        fail_msg("expected '%s', got '%s'", reason, report.reasons[0]);
    assert_int_equal(salvo_report_exit_code(&report), 2);
}

static void a_good_run_is_valid_and_its_figures_follow(void **state)
{
    judge();
    assert_true(report.valid);
    assert_int_equal(report.reasons_count, 0);
    assert_false(report.was_limit);
    assert_int_equal(salvo_report_exit_code(&report), 0);
    assert_true(report.seconds == 1.0);
    assert_true(report.rate_per_s == 1000.0);
    assert_true(report.bytes_per_s == 128000.0);
    assert_true(report.cpu_us_per_message == 500.0);
}

static void answers_10_11_12_are_acknowledgements(void **state)
{
    result.all.codes[SALVO_OK] = 997;
    result.all.codes[SALVO_OK_FLUSH_DISK_TIMEOUT] = 1;
    result.all.codes[SALVO_OK_SLAVE_NOT_AVAILABLE] = 1;
    result.all.codes[SALVO_OK_FLUSH_SLAVE_TIMEOUT] = 1;
    judge();
    assert_true(report.valid);
    assert_int_equal(salvo_report_exit_code(&report), 0);
}

static void a_failed_message_gives_exit_code_1(void **state)
{
    uint64_t *fields[] = {&result.all.failed, &result.all.timed_out, &result.all.unsent};

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(fields); i++) {
        *fields[i] = 1;
        result.all.acked = 999;
        judge();
        assert_true(report.valid);
        assert_int_equal(salvo_report_exit_code(&report), 1);
        *fields[i] = 0;
    }
}

static void an_accounting_that_does_not_close_is_invalid(void **state)
{
    result.all.planned = 1001;
    expect_invalid("does not close");
    result.all.planned = 1000;
    result.all.failed = 1;
    expect_invalid("does not close");
}

static void unknown_fate_belongs_to_failed_and_timed_out(void **state)
{
    result.all.acked = 998;
    result.all.failed = 1;
    result.all.timed_out = 1;
    result.all.stored_unknown = 2;
    judge();
    assert_true(report.valid);
    result.all.stored_unknown = 3;
    expect_invalid("stored_unknown");
    result.all.stored_unknown = 0;
    result.all.stored_unknown_unsent = 1;
    expect_invalid("unsent and yet may have been stored");
}

static void a_late_generator_is_invalid_from_one_in_a_thousand_on(void **state)
{
    result.late = 1;
    judge();
    assert_true(report.valid);
    result.late = 2;
    expect_invalid("late by more than 1 ms for 2 of 1000");
    assert_true(report.was_limit);
    assert_null(strstr(report.reasons[0], "hypervisor"));
    result.stolen_seconds = 0.05;
    expect_invalid("free a core; the machine's hypervisor kept its CPUs for 0.05 s");
}

static void messages_held_back_by_a_full_ring_do_not_make_it_invalid(void **state)
{
    result.held_back = 500;
    result.ring_full_ns = SALVO_NS_PER_S / 2;
    judge();
    assert_true(report.valid);
}

static void a_latency_that_was_lost_is_invalid(void **state)
{
    salvo_hist_record(&result.latency, 1);
    expect_invalid("latencies recorded");
}

static void a_run_that_measured_nothing_is_invalid(void **state)
{
    memset(&result.measured, 0, sizeof(result.measured));
    salvo_hist_reset(&result.latency);
    result.measured_ns = 0;
    expect_invalid("nothing was measured");
}

static void a_generator_in_trouble_is_invalid(void **state)
{
    result.trouble = "the sender takes no more messages";
    expect_invalid("takes no more");
}

static void a_busy_lane_or_generator_was_the_limit(void **state)
{
    conf.lanes = 2;
    result.lanes_busy_ns = 2 * SALVO_NS_PER_S * 95 / 100;
    judge();
    assert_true(report.was_limit);
    assert_non_null(strstr(report.limit_reason, "lanes"));
    result.lanes_busy_ns = SALVO_NS_PER_S;
    result.busy_ns = SALVO_NS_PER_S * 95 / 100;
    judge();
    assert_true(report.was_limit);
    assert_non_null(strstr(report.limit_reason, "generator"));
}

/* As when no broker could be reached: the window filled in one go, and then nothing. */
static void a_run_without_one_acknowledgement_had_another_limit(void **state)
{
    result.all.acked = result.measured.acked = 0;
    result.all.unsent = result.measured.unsent = 1000;
    salvo_hist_reset(&result.latency);
    result.busy_ns = result.lanes_busy_ns = result.measured_ns = 100000;
    judge();
    assert_true(report.valid);
    assert_false(report.was_limit);
    assert_string_equal(report.limit_reason, "");
}

/* Zeros would be the best latencies of all. */
static void the_text_has_no_latencies_where_nothing_was_acknowledged(void **state)
{
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);

    result.all.acked = result.measured.acked = 0;
    result.all.unsent = result.measured.unsent = 1000;
    salvo_hist_reset(&result.latency);
    judge();
    salvo_report_text(&report, to);
    fclose(to);
    assert_non_null(strstr(text, "latency    none"));
    assert_null(strstr(text, "p99.9"));
    free(text);
}

/* As HdrHistogram's outputPercentileDistribution: of all values up to the row's own. */
static void the_percentile_file_counts_up_to_the_value(void **state)
{
    static const unsigned totals[] = {3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4};
    char *text = NULL, *line;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    double value, fraction;
    unsigned total;

    salvo_hist_reset(&result.latency);
    for (int i = 0; i < 4; i++)
        salvo_hist_record(&result.latency, i < 3 ? 1000 : 2000);
    assert_int_equal(salvo_report_hgrm(&result.latency, to), 0);
    fclose(to);
    line = strstr(text, "\n\n") + 2;
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(totals); i++) {
        assert_int_equal(sscanf(line, "%lf %lf %u", &value, &fraction, &total), 3);
        assert_true(value == (totals[i] == 3 ? 1.0 : 2.0));
        assert_int_equal(total, totals[i]);
        line = strchr(line, '\n') + 1;
    }
    free(text);
}

static void the_percentile_file_rises_to_the_maximum(void **state)
{
    char *text = NULL, *line, *rest;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    double value, fraction, last_value = 0, last_fraction = -1;
    int lines = 0;

    salvo_hist_record(&result.latency, 900000);
    assert_int_equal(salvo_report_hgrm(&result.latency, to), 0);
    fclose(to);
    rest = text;
    while ((line = strsep(&rest, "\n")) != NULL) {
        if (sscanf(line, "%lf %lf", &value, &fraction) != 2)
            continue;
        assert_true(value >= last_value && fraction > last_fraction);
        last_value = value;
        last_fraction = fraction;
        lines++;
    }
    assert_true(lines > 20);
    assert_true(last_fraction == 1.0);
    assert_true(last_value == 900.0);
    free(text);
}

#define TEST(name) cmocka_unit_test_setup(name, all_well)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_good_run_is_valid_and_its_figures_follow),
        TEST(answers_10_11_12_are_acknowledgements),
        TEST(a_failed_message_gives_exit_code_1),
        TEST(an_accounting_that_does_not_close_is_invalid),
        TEST(unknown_fate_belongs_to_failed_and_timed_out),
        TEST(a_late_generator_is_invalid_from_one_in_a_thousand_on),
        TEST(messages_held_back_by_a_full_ring_do_not_make_it_invalid),
        TEST(a_latency_that_was_lost_is_invalid),
        TEST(a_run_that_measured_nothing_is_invalid),
        TEST(a_generator_in_trouble_is_invalid),
        TEST(a_busy_lane_or_generator_was_the_limit),
        TEST(a_run_without_one_acknowledgement_had_another_limit),
        TEST(the_text_has_no_latencies_where_nothing_was_acknowledged),
        TEST(the_percentile_file_counts_up_to_the_value),
        TEST(the_percentile_file_rises_to_the_maximum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
