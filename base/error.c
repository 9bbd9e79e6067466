/* Errors: the trace of one in a debug build, and the log that keeps one entry for each kind. */
#include "base/error.h"

#include "base/assert.h"
#include "base/bytes.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool error_tracing(void)
{
    /* 0: not asked yet, 1: no, 2: yes. Two threads that ask at once get the same answer. */
    static _Atomic int known;
    int state = atomic_load_explicit(&known, memory_order_relaxed);

    if (state == 0) {
        state = getenv("SALVO_TRACE_ERRORS") == NULL ? 1 : 2;
        atomic_store_explicit(&known, state, memory_order_relaxed);
    }
    return state == 2;
}

int salvo_error_trace(int code, const char *what, const char *file, int line)
{
    if (code != 0 && error_tracing()) {
        char text[256];
        int size = snprintf(text, sizeof(text), "salvo: %s:%d: %d %s (%s)\n", file, line, code,
                            what, code < 0 ? strerrordesc_np(-code) : "not an errno");
        ssize_t written SALVO_UNUSED;

        if (size > 0)
            written = write(STDERR_FILENO, text, SALVO_MIN((size_t)size, sizeof(text) - 1));
    }
    return code;
}

const char *salvo_error_remedy(int code, const char *otherwise)
{
    switch (code) {
    case -ENOMEM:
        return SALVO_RAISE_MEMORY;
    case -EMFILE:
        return SALVO_RAISE_DESCRIPTORS;
    default:
        return otherwise;
    }
}

const char *salvo_error_text(int code)
{
    switch (code) {
    case -ENOMEM:
        return "Cannot allocate memory; " SALVO_RAISE_MEMORY;
    case -EMFILE:
        return "Too many open files; " SALVO_RAISE_DESCRIPTORS;
    default:
        return strerrordesc_np(-code);
    }
}

static struct salvo_error_entry *error_find(struct salvo_error_log *log, uint32_t used,
                                            const char *place, int32_t code)
{
    for (uint32_t i = 0; i < used; i++) {
        struct salvo_error_entry *entry = &log->entries[i];

        /* Equal literals of two files may lie at two addresses. */
        if (entry->code == code && (entry->place == place || strcmp(entry->place, place) == 0))
            return entry;
    }
    return NULL;
}

/* A text that did not fit ends behind a whole character of UTF-8: readers refuse a part of one. */
static void error_text_end(char *text, size_t size)
{
    size_t at = size - 1;

    while (at > 0 && size - at < 4 && ((uint8_t)text[at] & 0xc0) == 0x80)
        at--;
    if (salvo_utf8_sequence((const uint8_t *)text + at, size - at) == 0)
        text[at] = '\0';
}

bool salvo_error_log_note(struct salvo_error_log *log, const char *place, int32_t code,
                          int64_t now_ms, const char *format, ...)
{
    uint32_t used = atomic_load_explicit(&log->used, memory_order_relaxed);
    struct salvo_error_entry *entry = error_find(log, used, place, code);
    va_list args;

    salvo_assert(used <= SALVO_ERROR_LOG_MAX);
    if (entry != NULL) {
        uint64_t count = atomic_load_explicit(&entry->count, memory_order_relaxed);

        atomic_store_explicit(&entry->count, count + 1, memory_order_relaxed);
        atomic_store_explicit(&entry->last_ms, now_ms, memory_order_relaxed);
        return false;
    }
    if (used == SALVO_ERROR_LOG_MAX) {
        log->dropped++;
        return false;
    }

    entry = &log->entries[used];
    entry->place = place;
    entry->code = code;
    entry->first_ms = now_ms;
    atomic_store_explicit(&entry->count, 1, memory_order_relaxed);
    atomic_store_explicit(&entry->last_ms, now_ms, memory_order_relaxed);
    va_start(args, format);
    if (vsnprintf(entry->text, sizeof(entry->text), format, args) >= (int)sizeof(entry->text))
        error_text_end(entry->text, sizeof(entry->text) - 1);
    va_end(args);

    /* Publishes the entry: pairs with the acquire of used in salvo_error_log_read. */
    atomic_store_explicit(&log->used, used + 1, memory_order_release);
    return true;
}

uint32_t salvo_error_log_read(const struct salvo_error_log *log,
                              struct salvo_error_entry *ret_entries, uint32_t entries_max)
{
    /* Pairs with the release of used in salvo_error_log_note. */
    uint32_t used = atomic_load_explicit(&log->used, memory_order_acquire);
    uint32_t n = SALVO_MIN(used, entries_max);

    for (uint32_t i = 0; i < n; i++) {
        const struct salvo_error_entry *from = &log->entries[i];
        struct salvo_error_entry *to = &ret_entries[i];

        to->place = from->place;
        to->code = from->code;
        to->first_ms = from->first_ms;
        memcpy(to->text, from->text, sizeof(to->text));
        atomic_store_explicit(&to->count, atomic_load_explicit(&from->count, memory_order_relaxed),
                              memory_order_relaxed);
        atomic_store_explicit(&to->last_ms,
                              atomic_load_explicit(&from->last_ms, memory_order_relaxed),
                              memory_order_relaxed);
    }
    return used;
}
