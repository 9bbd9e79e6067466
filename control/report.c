/* Errors of control's parts, see report.h. */
#include "control/report.h"

#include <stdarg.h>
#include <stdio.h>

void salvo_report_error(struct salvo_report *report, const char *place, int32_t code,
                        const char *format, ...)
{
    char text[400];
    va_list args;
    bool first;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    salvo_counter_add(report->counters, SALVO_CONTROL_ERRORS, 1);
    first = salvo_error_log_note(report->errors, place, code, salvo_clock_wall_ms(report->clock),
                                 "%s", text);
    if (first)
        salvo_log_write(report->log, SALVO_LOG_WARN, "%s: %s", place, text);
    else
        salvo_log_write(report->log, SALVO_LOG_DEBUG, "%s: %s", place, text);
}
