/* sender_sim: runs seeds, each twice where asked, and prints the table of faults by state.
 *
 *   sender_sim --seed N [--verbose]                 one seed; its event log
 *   sender_sim --seeds FROM-TO [--jobs N]           a range
 *   sender_sim --random SECONDS [--jobs N]          new seeds for so long
 *   --tcp           the lanes' connections run over salvo's own TCP and a bad wire (path.c)
 *   --full-table    exit 1 when a cell of the table is empty
 *   --twice N       runs every N-th seed twice and compares the logs (default 10; 0: none)
 *   --stop-at N     ends after so many seeds that failed (default 10)
 *
 * Seeds run in processes of their own, so that an assertion costs one seed. */
#include "tests/sim/sim.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAIN_JOBS_MAX       64
#define MAIN_SEED_SECONDS   40 /* a seed that takes longer hangs */
#define MAIN_SEEDS_PER_WORK 50 /* then the process is made anew */

struct main_options {
    uint64_t from;
    uint64_t to;
    unsigned jobs;
    unsigned random_seconds;
    unsigned twice;
    unsigned stop_at;
    bool tcp;
    bool verbose;
    bool full_table;
};

/* Shared with the processes. */
struct main_shared {
    _Atomic uint64_t next;
    _Atomic uint64_t done;
    _Atomic uint64_t failed;
    _Atomic uint64_t messages;
    _Atomic uint64_t seed[MAIN_JOBS_MAX]; /* being run */
    struct sim_table tables[MAIN_JOBS_MAX];
};

static struct main_options main_options = {.jobs = 1, .twice = 10, .stop_at = 10};
static struct main_shared *main_shared;

static void main_say_failed(uint64_t seed, const char *why)
{
    fprintf(
        stderr,
        "seed %llu FAILED%s; replay it with: build/tests/sim/sender_sim --seed %llu%s --verbose\n",
        (unsigned long long)seed, why, (unsigned long long)seed, main_options.tcp ? " --tcp" : "");
    atomic_fetch_add_explicit(&main_shared->failed, 1, memory_order_relaxed);
}

static void main_run(uint64_t seed, unsigned job)
{
    struct sim_table again = {0};
    uint64_t hash;
    uint64_t hash_again;
    uint32_t messages;
    bool good;

    alarm(MAIN_SEED_SECONDS);
    good = sim_run(seed, main_options.tcp, main_options.verbose, &main_shared->tables[job], &hash,
                   &messages);
    atomic_fetch_add_explicit(&main_shared->messages, messages, memory_order_relaxed);
    if (!good) {
        main_say_failed(seed, "");
    } else if (main_options.twice != 0 && seed % main_options.twice == 0 && !main_options.verbose) {
        alarm(MAIN_SEED_SECONDS);
        good = sim_run(seed, main_options.tcp, false, &again, &hash_again, &messages);
        if (!good || hash != hash_again)
            main_say_failed(seed, ": two runs of it differ");
    }
    atomic_fetch_add_explicit(&main_shared->done, 1, memory_order_relaxed);
}

static bool main_ended(time_t until)
{
    if (atomic_load_explicit(&main_shared->failed, memory_order_relaxed) >= main_options.stop_at)
        return true;
    return main_options.random_seconds != 0 && time(NULL) >= until;
}

/* A process: takes seeds until there are none, or it has run enough. */
static int main_work(unsigned job, time_t until)
{
    for (int n = 0; n < MAIN_SEEDS_PER_WORK; n++) {
        uint64_t seed;

        if (main_ended(until))
            return 0;
        seed = atomic_fetch_add_explicit(&main_shared->next, 1, memory_order_relaxed);
        if (seed > main_options.to)
            return 0;
        atomic_store_explicit(&main_shared->seed[job], seed, memory_order_relaxed);
        main_run(seed, job);
        fflush(stdout);
    }
    return 0;
}

static pid_t main_fork(unsigned job, time_t until)
{
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid == 0)
        _exit(main_work(job, until));
    return pid;
}

static bool main_more(time_t until)
{
    return !main_ended(until) &&
           atomic_load_explicit(&main_shared->next, memory_order_relaxed) <= main_options.to;
}

static void main_run_all(time_t until)
{
    pid_t pids[MAIN_JOBS_MAX] = {0};
    unsigned running = 0;

    for (unsigned i = 0; i < main_options.jobs; i++, running++)
        pids[i] = main_fork(i, until);
    while (running != 0) {
        int status;
        pid_t pid = wait(&status);
        unsigned job = 0;

        if (pid < 0)
            break;
        while (job < main_options.jobs && pids[job] != pid)
            job++;
        if (job == main_options.jobs)
            continue;
        running--;
        if (WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) != 0)) {
            int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

            main_say_failed(atomic_load_explicit(&main_shared->seed[job], memory_order_relaxed),
                            number == SIGALRM ? ": it hangs" : ": it died");
            atomic_fetch_add_explicit(&main_shared->done, 1, memory_order_relaxed);
        }
        if (main_more(until)) {
            pids[job] = main_fork(job, until);
            running++;
        }
    }
}

/* Prints the table. Returns how many cells are empty. */
static unsigned main_table(void)
{
    unsigned empty = 0;

    printf("%-30s", "fault \\ connection");
    for (unsigned k = 0; k < SIM_STATES; k++)
        printf(" %11s", sim_state_names[k]);
    printf("\n");
    for (unsigned i = 0; i < SIM_FAULT_KINDS; i++) {
        printf("%-30s", sim_fault_names[i]);
        for (unsigned k = 0; k < SIM_STATES; k++) {
            uint64_t sum = 0;

            for (unsigned j = 0; j < main_options.jobs; j++)
                sum += main_shared->tables[j].cells[i][k];
            empty += sum == 0;
            printf(" %11llu", (unsigned long long)sum);
        }
        printf("\n");
    }
    return empty;
}

static int main_usage(void)
{
    fprintf(stderr, "usage: sender_sim --seed N [--verbose] | --seeds FROM-TO | --random SECONDS\n"
                    "       [--jobs N] [--tcp] [--full-table] [--twice N] [--stop-at N]\n");
    return 2;
}

static bool main_number(const char *text, uint64_t *ret_number, const char **ret_rest)
{
    char *end;

    if (text == NULL)
        return false;
    errno = 0;
    *ret_number = strtoull(text, &end, 10);
    *ret_rest = end;
    return end != text && errno == 0;
}

static int main_parse(int argc, char **argv)
{
    bool chosen = false;

    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        const char *rest = "";
        uint64_t n = 0;

        if (strcmp(name, "--verbose") == 0) {
            main_options.verbose = true;
            continue;
        }
        if (strcmp(name, "--tcp") == 0) {
            main_options.tcp = true;
            continue;
        }
        if (strcmp(name, "--full-table") == 0) {
            main_options.full_table = true;
            continue;
        }
        if (!main_number(argv[++i], &n, &rest))
            return main_usage();
        if (strcmp(name, "--seed") == 0) {
            main_options.from = main_options.to = n;
            main_options.twice = main_options.twice == 10 ? 1 : main_options.twice;
            chosen = true;
        } else if (strcmp(name, "--seeds") == 0) {
            main_options.from = n;
            if (*rest != '-' || !main_number(rest + 1, &main_options.to, &rest))
                return main_usage();
            chosen = true;
        } else if (strcmp(name, "--random") == 0) {
            struct salvo_random random;

            salvo_random_init_system(&random);
            main_options.random_seconds = (unsigned)n;
            main_options.from = salvo_random_below(&random, UINT64_C(1) << 40);
            main_options.to = UINT64_MAX - 1;
            chosen = true;
        } else if (strcmp(name, "--jobs") == 0) {
            main_options.jobs = (unsigned)SALVO_CLAMP(n, 1, MAIN_JOBS_MAX);
        } else if (strcmp(name, "--twice") == 0) {
            main_options.twice = (unsigned)n;
        } else if (strcmp(name, "--stop-at") == 0) {
            main_options.stop_at = (unsigned)n;
        } else {
            return main_usage();
        }
        if (*rest != '\0')
            return main_usage();
    }
    return chosen ? 0 : main_usage();
}

int main(int argc, char **argv)
{
    struct timespec start;
    struct timespec end;
    uint64_t done;
    uint64_t failed;
    unsigned empty;
    double seconds;
    int r = main_parse(argc, argv);

    if (r != 0)
        return r;
    main_shared =
        mmap(NULL, sizeof(*main_shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (main_shared == MAP_FAILED)
        return 2;
    atomic_store_explicit(&main_shared->next, main_options.from, memory_order_relaxed);
    clock_gettime(CLOCK_MONOTONIC, &start);
    main_run_all(time(NULL) + main_options.random_seconds);
    clock_gettime(CLOCK_MONOTONIC, &end);
    done = atomic_load_explicit(&main_shared->done, memory_order_relaxed);
    failed = atomic_load_explicit(&main_shared->failed, memory_order_relaxed);
    seconds = (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
    empty = main_options.from == main_options.to ? 0 : main_table();
    printf("%llu seeds from %llu, %llu messages, %.1f s (%.1f seeds a second), %llu failed",
           (unsigned long long)done, (unsigned long long)main_options.from,
           (unsigned long long)atomic_load_explicit(&main_shared->messages, memory_order_relaxed),
           seconds, (double)done / seconds, (unsigned long long)failed);
    if (empty != 0)
        printf(", %u cells of the table are empty", empty);
    printf("\n");
    return failed != 0 || done == 0 || (main_options.full_table && empty != 0);
}
