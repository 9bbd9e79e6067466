/* The x86-64 time-stamp counter as a clock. Elsewhere clock_tsc_absent.c is linked.
 *
 *   now_ns = start_ns + (tsc - start_tsc) * ns_per_tick, the last as a 32.32 fixed-point number
 *
 * The product is taken in 128 bits and so cannot overflow. The rate is measured over 20 ms between
 * two readings that are each known to some 30 ns: 3 parts in a million, 11 ms an hour. Both clocks
 * serve for differences of seconds, so it is not corrected afterwards. */
#include "base/clock.h"

#include "base/assert.h"
#include "base/cpu.h"

#include <cpuid.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#define CLOCK_TSC_CALIBRATION_NS (20 * SALVO_NS_PER_MS)

/* 64: enough that some try is not interrupted between its three readings, some 4 us in all. */
#define CLOCK_TSC_TRIES 64

struct clock_tsc {
    struct salvo_clock clock;
    int64_t start_ns;
    uint64_t start_tsc;
    uint64_t ns_per_tick; /* 32.32 */
};

static uint64_t clock_tsc_read(void)
{
    /* The counter may otherwise be read before an earlier load is done; a time stamp taken by
     * another thread and read just before would then lie in the future. */
    _mm_lfence();
    return __rdtsc();
}

static inline int64_t clock_tsc_ns(struct salvo_clock *clock, uint64_t now_tsc)
{
    const struct clock_tsc *tsc = SALVO_CONTAINER_OF(clock, struct clock_tsc, clock);
    uint64_t ticks = now_tsc - tsc->start_tsc;

    /* Cores may differ by some ticks from the one that read start_tsc. */
    if (SALVO_UNLIKELY((int64_t)ticks < 0))
        ticks = 0;
    return tsc->start_ns + (int64_t)((unsigned __int128)ticks * tsc->ns_per_tick >> 32);
}

static int64_t clock_tsc_mono_ns(struct salvo_clock *clock)
{
    return clock_tsc_ns(clock, clock_tsc_read());
}

static int64_t clock_tsc_mono_loose_ns(struct salvo_clock *clock)
{
    return clock_tsc_ns(clock, __rdtsc());
}

static int64_t clock_tsc_wall_ns(struct salvo_clock *clock)
{
    return salvo_clock_wall_ns(salvo_clock_system());
}

/* The kernel's constant_tsc and nonstop_tsc are one bit of the CPU: the invariant TSC. */
static bool clock_tsc_is_invariant(void)
{
    unsigned a, b, c, d;

    return __get_cpuid(0x80000007, &a, &b, &c, &d) != 0 && (d & 1u << 8) != 0;
}

/* A kernel that caught the counter misbehaving uses one of these instead. */
static bool clock_tsc_is_distrusted(void)
{
    static const char *const others[] = {"hpet", "acpi_pm", "jiffies", "refined-jiffies"};
    static const char path[] = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    char name[32];
    ssize_t size;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false; /* no /sys here: the CPU's word has to do */
    size = read(fd, name, sizeof(name) - 1);
    close(fd);
    if (size <= 0)
        return false;
    name[size] = 0;
    name[strcspn(name, "\n")] = 0;
    for (unsigned i = 0; i < SALVO_ARRAY_LENGTH(others); i++)
        if (strcmp(name, others[i]) == 0)
            return true;
    return false;
}

/* Reads both clocks at the same time: the try with the fewest ticks around the system's reading. */
static void clock_tsc_pair(uint64_t *ret_tsc, int64_t *ret_ns)
{
    struct salvo_clock *system = salvo_clock_system();
    uint64_t width_min = UINT64_MAX;

    for (unsigned i = 0; i < CLOCK_TSC_TRIES; i++) {
        uint64_t before = clock_tsc_read();
        int64_t now_ns = salvo_clock_mono_ns(system);
        uint64_t width = clock_tsc_read() - before;

        if (width < width_min) {
            width_min = width;
            *ret_tsc = before + width / 2;
            *ret_ns = now_ns;
        }
    }
}

static bool clock_tsc_calibrate(struct clock_tsc *tsc)
{
    struct timespec pause = {.tv_nsec = CLOCK_TSC_CALIBRATION_NS};
    uint64_t first_tsc = 0, last_tsc = 0;
    int64_t first_ns = 0, last_ns = 0;

    clock_tsc_pair(&first_tsc, &first_ns);
    clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL); /* its exact length does not matter */
    clock_tsc_pair(&last_tsc, &last_ns);
    if (last_tsc <= first_tsc || last_ns - first_ns < CLOCK_TSC_CALIBRATION_NS / 2)
        return false;
    tsc->start_ns = last_ns;
    tsc->start_tsc = last_tsc;
    tsc->ns_per_tick =
        (uint64_t)(((unsigned __int128)(last_ns - first_ns) << 32) / (last_tsc - first_tsc));
    return tsc->ns_per_tick != 0;
}

static struct clock_tsc clock_tsc = {
    .clock = {.mono_ns = clock_tsc_mono_ns,
              .mono_loose_ns = clock_tsc_mono_loose_ns,
              .wall_ns = clock_tsc_wall_ns},
};
static struct salvo_clock *clock_tsc_chosen;

static void clock_tsc_choose(void)
{
    bool good =
        clock_tsc_is_invariant() && !clock_tsc_is_distrusted() && clock_tsc_calibrate(&clock_tsc);

    clock_tsc_chosen = good ? &clock_tsc.clock : salvo_clock_system();
}

struct salvo_clock *salvo_clock_tsc(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    salvo_thread_once(&once, clock_tsc_choose);
    return clock_tsc_chosen;
}
