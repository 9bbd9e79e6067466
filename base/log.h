/* Human log lines, on standard error or into the host program's function. Never called by a lane.
 */
#pragma once

#include "base/base.h"

enum salvo_log_level { SALVO_LOG_ERROR, SALVO_LOG_WARN, SALVO_LOG_INFO, SALVO_LOG_DEBUG };

typedef void salvo_log_sink(void *arg, enum salvo_log_level level, const char *line);

struct salvo_log {
    enum salvo_log_level level; /* lines above it are not made */
    salvo_log_sink *sink;       /* NULL: standard error */
    void *arg;
};

#define SALVO_LOG_LINE_MAX 512

/* One line, at most SALVO_LOG_LINE_MAX bytes (the rest is cut off), no line feed at its end;
 * what a terminal would obey is taken out as salvo_text_make_printable does. */
void salvo_log_write(struct salvo_log *log, enum salvo_log_level level, const char *format, ...)
    SALVO_PRINTF(3, 4);

#define salvo_log_error(log, ...) salvo_log_write((log), SALVO_LOG_ERROR, __VA_ARGS__)
#define salvo_log_warn(log, ...)  salvo_log_write((log), SALVO_LOG_WARN, __VA_ARGS__)
#define salvo_log_info(log, ...)  salvo_log_write((log), SALVO_LOG_INFO, __VA_ARGS__)
#define salvo_log_debug(log, ...) salvo_log_write((log), SALVO_LOG_DEBUG, __VA_ARGS__)
