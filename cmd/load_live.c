/* The live line: see load_live.h. */
#include "cmd/load_live.h"
#include "base/clock.h"
#include "base/cpu.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define LIVE_PERIOD_MS 1000
/* Together ten times the generator's longest sleep, for a busy machine: rather late than empty. */
#define LIVE_LOOK_MS   5
#define LIVE_LOOKS_MAX 200

static uint64_t live_get(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

/* "61.2us", "1.24ms", "3.02s": three digits, for a line that should not jump about. */
static const char *live_time(uint64_t ns, char buf[16])
{
    if (ns < 1000000)
        snprintf(buf, 16, "%.1fus", (double)ns / 1e3);
    else if (ns < 1000000000)
        snprintf(buf, 16, "%.2fms", (double)ns / 1e6);
    else
        snprintf(buf, 16, "%.2fs", (double)ns / 1e9);
    return buf;
}

static void live_latencies(const struct salvo_hist *hist, char *ret_text, size_t size)
{
    char p50[16], p99[16], p999[16], max[16];

    if (hist->count == 0) {
        snprintf(ret_text, size, "no latencies");
        return;
    }
    snprintf(ret_text, size, "p50 %s p99 %s p99.9 %s max %s",
             live_time(salvo_hist_quantile(hist, 0.5), p50),
             live_time(salvo_hist_quantile(hist, 0.99), p99),
             live_time(salvo_hist_quantile(hist, 0.999), p999), live_time(hist->max, max));
}

static void live_progress(const struct cmd_load_live *live, uint64_t ended, char *ret_text,
                          size_t size)
{
    const struct salvo_load_live *shared = &live->shared;
    uint64_t planned = live_get(&shared->planned);

    if (atomic_load_explicit(&shared->draining, memory_order_relaxed))
        snprintf(ret_text, size, "drain");
    else if (atomic_load_explicit(&shared->warming, memory_order_relaxed))
        snprintf(ret_text, size, "warm-up");
    else if (planned != 0)
        snprintf(ret_text, size, "%3.0f %%", 100.0 * (double)ended / (double)planned);
    else
        snprintf(ret_text, size, "%llu", (unsigned long long)ended);
}

static void live_print(struct cmd_load_live *live, int64_t now_ns)
{
    const struct salvo_load_live *shared = &live->shared;
    uint64_t acked = live_get(&shared->acked), committed = live_get(&shared->committed);
    uint64_t ended = acked + live_get(&shared->failed) + live_get(&shared->timed_out) +
                     live_get(&shared->unsent);
    double rate = (double)(acked - live->line_acked) * 1e9 / (double)(now_ns - live->line_ns);
    char progress[32], latencies[128], errors[160];

    live_progress(live, ended, progress, sizeof(progress));
    live_latencies(&live->second, latencies, sizeof(latencies));
    salvo_load_live_errors(shared, errors, sizeof(errors));
    /* A line that wraps could not be rewritten: on a narrow terminal its end is not shown, so what
     * matters least is last. */
    fprintf(stderr, "%s%4.0f s %8s %9.0f/s  %s  %s  in flight %llu%s",
            live->terminal ? "\r\033[?7l" : "", (double)(now_ns - live->start_ns) / 1e9, progress,
            rate, errors, latencies,
            (unsigned long long)(committed > ended ? committed - ended : 0),
            live->terminal ? "\033[K\033[?7h" : "\n");
    fflush(stderr);
    live->line_ns = now_ns;
    live->line_acked = acked;
    salvo_hist_merge(&live->taken, &live->second);
    salvo_hist_reset(&live->second);
}

/* The generator swaps within a turn, or within its longest sleep; or it ends, perhaps since the
 * last look. */
static void live_take(struct cmd_load_live *live)
{
    struct pollfd over = {.fd = live->over_fd, .events = POLLIN};

    (void)salvo_load_live_take(&live->shared, &live->second); /* too late for the line before */
    salvo_load_live_ask(&live->shared);
    for (int i = 0; i < LIVE_LOOKS_MAX; i++) {
        if (salvo_load_live_take(&live->shared, &live->second))
            return;
        if (poll(&over, 1, LIVE_LOOK_MS) != 0)
            break;
    }
    (void)salvo_load_live_take(&live->shared, &live->second);
}

static void *live_run(void *arg)
{
    struct cmd_load_live *live = arg;
    struct pollfd over = {.fd = live->over_fd, .events = POLLIN};
    struct salvo_clock *clock = salvo_clock_system();

    while (poll(&over, 1, LIVE_PERIOD_MS) == 0) {
        live_take(live);
        live_print(live, salvo_clock_mono_ns(clock));
    }
    return NULL;
}

void cmd_load_live_start(struct cmd_load_live *live)
{
    salvo_load_live_init(&live->shared);
    salvo_hist_reset(&live->taken);
    salvo_hist_reset(&live->second);
    live->terminal = isatty(STDERR_FILENO) == 1;
    live->start_ns = salvo_clock_mono_ns(salvo_clock_system());
    live->line_ns = live->start_ns;
    live->over_fd = eventfd(0, EFD_CLOEXEC);
    live->started =
        live->over_fd >= 0 && salvo_thread_start(&live->thread, "salvo-live", live_run, live) == 0;
}

void cmd_load_live_stop(struct cmd_load_live *live)
{
    if (live->started) {
        eventfd_write(live->over_fd, 1);
        salvo_thread_join(live->thread);
        if (live->terminal)
            fprintf(stderr, "\r\033[K");
        salvo_hist_merge(&live->taken, &live->second);
    }
    if (live->over_fd >= 0)
        close(live->over_fd);
}
