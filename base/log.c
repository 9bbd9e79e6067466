/* Human log lines. Each is one write, so that lines of several threads do not mix. */
#include "base/log.h"

#include "base/assert.h"
#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static const char *const log_level_names[] = {
    [SALVO_LOG_ERROR] = "error",
    [SALVO_LOG_WARN] = "warning",
    [SALVO_LOG_INFO] = "info",
    [SALVO_LOG_DEBUG] = "debug",
};

static void log_to_stderr(enum salvo_log_level level, const char *line)
{
    char text[SALVO_LOG_LINE_MAX + 32];
    int size = snprintf(text, sizeof(text), "salvo: %s: %s\n", log_level_names[level], line);
    ssize_t written SALVO_UNUSED;

    salvo_assert(size > 0);
    salvo_assert((size_t)size < sizeof(text));
    written = write(STDERR_FILENO, text, (size_t)size);
}

void salvo_log_write(struct salvo_log *log, enum salvo_log_level level, const char *format, ...)
{
    char line[SALVO_LOG_LINE_MAX + 1];
    va_list args;

    salvo_assert((size_t)level < SALVO_ARRAY_LENGTH(log_level_names));
    if (level > log->level)
        return;
    va_start(args, format);
    if (vsnprintf(line, sizeof(line), format, args) < 0)
        line[0] = 0;
    va_end(args);

    salvo_text_make_printable(line); /* what a broker says goes into lines */
    if (log->sink != NULL)
        log->sink(log->arg, level, line);
    else
        log_to_stderr(level, line);
}
