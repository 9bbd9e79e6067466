/* Where control's parts say what went wrong or changed: the distinct-error log, its counter, and a
 * human line the first time. Owner: control. */
#pragma once

#include "base/clock.h"
#include "base/counters.h"
#include "base/error.h"
#include "base/log.h"

struct salvo_report {
    struct salvo_clock *clock;
    struct salvo_log *log;
    struct salvo_error_log *errors;
    salvo_counter *counters; /* SALVO_CONTROL_COUNTERS of them */
};

/* Notes an error at `place` (a literal); the same (place, code) is logged once and counted ever
 * after. `text` is one sentence with the remedy where there is one. */
void salvo_report_error(struct salvo_report *report, const char *place, int32_t code,
                        const char *format, ...) SALVO_PRINTF(4, 5);
