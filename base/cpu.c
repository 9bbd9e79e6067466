/* CPUs and threads: the only file that calls pthread_*. */
#include "base/cpu.h"

#include "base/assert.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define CPU_NAME_MAX 15

/* glibc's cpu_set_t alone stops at 1024. */
struct cpu_mask {
    cpu_set_t sets[SALVO_CPU_MAX / CPU_SETSIZE];
};
static_assert(sizeof(struct cpu_mask) * 8 == SALVO_CPU_MAX, "one bit for each CPU");

static bool cpu_mask_get(struct cpu_mask *ret_mask)
{
    memset(ret_mask, 0, sizeof(*ret_mask));
    return sched_getaffinity(0, sizeof(*ret_mask), ret_mask->sets) == 0;
}

unsigned salvo_cpu_allowed(int *ret_cpus, unsigned cpus_max)
{
    struct cpu_mask mask;
    unsigned count = 0;

    if (!cpu_mask_get(&mask))
        return 0;
    for (int cpu = 0; cpu < SALVO_CPU_MAX; cpu++) {
        if (!CPU_ISSET_S((size_t)cpu, sizeof(mask), mask.sets))
            continue;
        if (count < cpus_max)
            ret_cpus[count] = cpu;
        count++;
    }
    return count;
}

bool salvo_cpu_is_allowed(int cpu)
{
    struct cpu_mask mask;

    return cpu >= 0 && cpu < SALVO_CPU_MAX && cpu_mask_get(&mask) &&
           CPU_ISSET_S((size_t)cpu, sizeof(mask), mask.sets);
}

/* The first behind `cpu` that is in the set, or is not; the set's end when there is none. */
static int cpu_next(const cpu_set_t *cpus, size_t cpus_size, int cpu, bool in)
{
    while (cpu < (int)cpus_size * 8 && (CPU_ISSET_S((size_t)cpu, cpus_size, cpus) != 0) != in)
        cpu++;
    return cpu;
}

void salvo_cpu_print(const cpu_set_t *cpus, size_t cpus_size, char *ret_text, size_t size)
{
    const int end = (int)cpus_size * 8;
    size_t used = 0;
    int last;

    salvo_assert(size >= 8);
    ret_text[0] = '\0';
    for (int first = cpu_next(cpus, cpus_size, 0, true); first < end;
         first = cpu_next(cpus, cpus_size, last + 1, true)) {
        const char *glue = used > 0 ? "," : "";
        char range[32];
        size_t n;

        last = cpu_next(cpus, cpus_size, first, false) - 1;
        if (first == last)
            snprintf(range, sizeof(range), "%s%d", glue, first);
        else
            snprintf(range, sizeof(range), "%s%d-%d", glue, first, last);
        n = strlen(range);
        if (used + n + strlen(",...") >= size) {
            snprintf(ret_text + used, size - used, "%s...", glue);
            return;
        }
        memcpy(ret_text + used, range, n + 1);
        used += n;
    }
}

void salvo_cpu_print_allowed(char *ret_text, size_t size)
{
    struct cpu_mask mask;

    cpu_mask_get(&mask); /* empty where it is not told */
    salvo_cpu_print(mask.sets, sizeof(mask), ret_text, size);
}

int salvo_cpu_pin(int cpu)
{
    struct cpu_mask mask = {0};

    if (cpu < 0 || cpu >= SALVO_CPU_MAX)
        return -EINVAL;
    CPU_SET_S((size_t)cpu, sizeof(mask), mask.sets);
    return -pthread_setaffinity_np(pthread_self(), sizeof(mask), mask.sets);
}

static void cpu_name(pthread_t thread, const char *name)
{
    char text[CPU_NAME_MAX + 1];

    snprintf(text, sizeof(text), "%.*s", CPU_NAME_MAX, name);
    pthread_setname_np(thread, text); /* a name is a comfort: nothing depends on it */
}

void salvo_cpu_name_thread(const char *name)
{
    cpu_name(pthread_self(), name);
}

static double cpu_seconds(clockid_t id)
{
    struct timespec used = {0};
    int r = clock_gettime(id, &used);

    salvo_assert(r == 0);
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

double salvo_cpu_process_seconds(void)
{
    return cpu_seconds(CLOCK_PROCESS_CPUTIME_ID);
}

double salvo_cpu_thread_seconds(void)
{
    return cpu_seconds(CLOCK_THREAD_CPUTIME_ID);
}

double salvo_cpu_stolen_seconds(void)
{
    /* cpu user nice system idle iowait irq softirq steal: the first line sums all CPUs */
    char text[256];
    char *at = text + strlen("cpu");
    unsigned long long ticks = 0;
    ssize_t got = -1;
    int fd = open("/proc/stat", O_RDONLY | O_CLOEXEC);

    if (fd >= 0) {
        got = read(fd, text, sizeof(text) - 1);
        close(fd);
    }
    text[got > 0 ? got : 0] = '\0';
    if (strncmp(text, "cpu ", strlen("cpu ")) != 0)
        return 0;
    for (unsigned i = 0; i < 8; i++)
        ticks = strtoull(at, &at, 10);
    return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

/* The value of the first "model name" line of /proc/cpuinfo; "unknown CPU" where there is none
 * (ARM). */
static void cpu_model(char *ret_text, size_t size)
{
    static const char key[] = "model name";
    char info[2048]; /* the line is the fifth */
    const char *line, *value;
    ssize_t got = -1;
    int fd = open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);

    if (fd >= 0) {
        got = read(fd, info, sizeof(info) - 1);
        close(fd);
    }
    info[got > 0 ? got : 0] = 0;
    line = strstr(info, key);
    value = line == NULL ? NULL : strchr(line, ':');
    if (value == NULL) {
        snprintf(ret_text, size, "unknown CPU");
        return;
    }
    value += 1 + strspn(value + 1, " \t");
    snprintf(ret_text, size, "%.*s", (int)strcspn(value, "\n"), value);
}

void salvo_cpu_describe(char *ret_text, size_t size)
{
    struct utsname system = {0};
    char model[128];

    cpu_model(model, sizeof(model));
    uname(&system);
    snprintf(ret_text, size, "%s (%s), %u cores allowed, %s %s", model, system.machine,
             salvo_cpu_allowed(NULL, 0), system.sysname, system.release);
}

int salvo_thread_start(pthread_t *ret_thread, const char *name, void *(*run)(void *), void *arg)
{
    sigset_t all, before;
    pthread_t thread;
    int r;

    salvo_assert(strlen(name) <= CPU_NAME_MAX);

    /* A thread inherits the mask of its starter, so that no signal can reach it before it runs. */
    sigfillset(&all);
    r = pthread_sigmask(SIG_SETMASK, &all, &before);
    salvo_assert(r == 0);
    r = pthread_create(&thread, NULL, run, arg);
    if (r == 0) {
        cpu_name(thread, name);
        *ret_thread = thread;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -r;
}

void salvo_thread_join(pthread_t thread)
{
    int r = pthread_join(thread, NULL);

    salvo_assert(r == 0);
}

void salvo_thread_once(pthread_once_t *once, void (*run)(void))
{
    int r = pthread_once(once, run);

    salvo_assert(r == 0);
}

uint32_t salvo_thread_id(void)
{
    static _Atomic uint32_t last;
    static _Thread_local uint32_t mine;

    if (SALVO_UNLIKELY(mine == 0)) {
        mine = atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
        salvo_assert(mine != 0); /* four thousand million threads later */
    }
    return mine;
}
