/* The error model.
 *
 * A function that can fail returns 0; or a negative errno, which the caller passes on with
 * salvo_trace(); or a positive code of the module's own enum, which the caller handles and never
 * passes on. Work functions (`*_do_work`, `*_poll`) return how much they did; their errors go to
 * the distinct-error log below and to a counter, and the cycle goes on.
 *
 * salvo_raise() marks where an errno is born. In debug builds both print the trace when
 * SALVO_TRACE_ERRORS is set in the environment; in release builds they cost nothing. */
#pragma once

#include "base/base.h"

#if defined(SALVO_SLOW_ASSERT)
#define salvo_raise(code) salvo_error_trace((code), "raised", __FILE__, __LINE__)
#define salvo_trace(code) salvo_error_trace((code), "passed on", __FILE__, __LINE__)
#else
#define salvo_raise(code) (code)
#define salvo_trace(code) (code)
#endif

int salvo_error_trace(int code, const char *what, const char *file, int line);

/* What to raise where a limit of this process is the usual cause. */
#define SALVO_RAISE_MEMORY      "raise ulimit -v or the cgroup's memory limit"
#define SALVO_RAISE_DESCRIPTORS "raise ulimit -n or LimitNOFILE"
#define SALVO_NO_MEMORY         "out of memory; " SALVO_RAISE_MEMORY

/* The one of them for an errno (negative), or `otherwise` where it is of no such limit. */
const char *salvo_error_remedy(int code, const char *otherwise);

/* What the system says of an errno (negative), with the remedy where it is of such a limit. */
const char *salvo_error_text(int code);

/* The distinct-error log: one entry for each (place, code), with a count and the first and last
 * time, so that a million equal failures are one line. Place is a string that lives for ever (a
 * literal).
 *
 * Owner: one thread writes (control). Any thread of the process may copy it out with
 * salvo_error_log_read(); an entry is published by its `used` count. */
#define SALVO_ERROR_LOG_MAX  64
#define SALVO_ERROR_TEXT_MAX 160

struct salvo_error_entry {
    const char *place;
    int32_t code;
    _Atomic uint64_t count; /* with last_ms the only part that changes once it is published */
    int64_t first_ms;       /* wall clock, ms since the epoch */
    _Atomic int64_t last_ms;
    char text[SALVO_ERROR_TEXT_MAX]; /* of the first occurrence */
};

struct salvo_error_log {
    struct salvo_error_entry entries[SALVO_ERROR_LOG_MAX];
    _Atomic uint32_t used;
    uint64_t dropped; /* owner only: occurrences that had no entry and found the log full */
};

/* Counts one occurrence. Returns true when this (place, code) was not there before, so that the
 * caller may also write it to the human log, once; false as well when the log is full. */
bool salvo_error_log_note(struct salvo_error_log *log, const char *place, int32_t code,
                          int64_t now_ms, const char *format, ...) SALVO_PRINTF(5, 6);

/* Copies the oldest entries_max entries at most, in order. Returns how many there are. Any thread.
 */
uint32_t salvo_error_log_read(const struct salvo_error_log *log,
                              struct salvo_error_entry *ret_entries, uint32_t entries_max);
