/* The report of a run: text table, JSON (docs/REPORT.md) and percentile file, made from one result.
 *
 * A report that cannot be trusted says so: it is invalid when its accounting does not close, when
 * the generator itself was late, or when nothing was measured. */
#pragma once

#include "bench/load.h"

#include <stdio.h>

#define SALVO_REPORT_REASONS_MAX 8
#define SALVO_REPORT_REASON_SIZE 224
#define SALVO_REPORT_OPTIONS_MAX 128

/* Late messages that make a run invalid: more than this share of the measured ones. */
#define SALVO_REPORT_LATE_SHARE_MAX 0.001

struct salvo_machine {
    char model[96];
    char kernel[96];
    unsigned cores; /* that this process may use */
    uint64_t memory_bytes;
};

struct salvo_build {
    const char *version;
    const char *git; /* "" when it was not built from a repository */
    const char *compiler;
    const char *buildtype;
};

/* What the user asked for, beside what load.h knows. */
struct salvo_report_settings {
    const char *nameserver;
    bool embedded_mock;
    const char *net;      /* in use */
    const char *net_note; /* why not the one asked for; NULL */
    struct {
        const char *name;
        const char *value;
    } options[SALVO_REPORT_OPTIONS_MAX]; /* of the configuration: not at their default, or worth
                                            knowing */
    unsigned options_count;
};

struct salvo_report {
    /* given */
    const struct salvo_load_conf *conf;
    const struct salvo_load_result *result;
    struct salvo_report_settings settings;
    struct salvo_machine machine;
    struct salvo_build build;
    char started[32]; /* UTC, ISO 8601 */

    /* by salvo_report_judge */
    bool valid;
    char reasons[SALVO_REPORT_REASONS_MAX][SALVO_REPORT_REASON_SIZE];
    unsigned reasons_count;
    bool was_limit;
    char limit_reason[SALVO_REPORT_REASON_SIZE]; /* "" when it was not */
    double seconds;
    double rate_per_s;
    double bytes_per_s;
    double cpu_us_per_message;
    double generator_busy_share; /* of `seconds`, which the rate is of */
    double lane_busy_share;
};

/* Fills the second half of the report. */
void salvo_report_judge(struct salvo_report *report);

/* 0: all acknowledged; 1: some message was not; 2: the run is invalid. */
int salvo_report_exit_code(const struct salvo_report *report);

void salvo_report_text(const struct salvo_report *report, FILE *to);
/* 0 or -errno: the write failed. */
int salvo_report_json(const struct salvo_report *report, FILE *to);
/* The latency histogram as HdrHistogram's tools print and plot it (.hgrm), in microseconds. */
int salvo_report_hgrm(const struct salvo_hist *latency, FILE *to);

void salvo_machine_read(struct salvo_machine *ret_machine);
/* Of the program that asks. */
struct salvo_build salvo_build_info(void);
