/* base/cpu: as far as a machine one knows nothing of can be tested. */
#include "tests/unit/unit.h"

#include "base/cpu.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

static void the_allowed_cpus_are_in_order(void **state)
{
    int cpus[1024], first = -1;
    unsigned count = salvo_cpu_allowed(cpus, SALVO_ARRAY_LENGTH(cpus));

    assert_true(count >= 1);
    for (unsigned i = 1; i < SALVO_MIN(count, 1024u); i++)
        assert_true(cpus[i] > cpus[i - 1]);
    assert_int_equal(salvo_cpu_allowed(NULL, 0), count);
    assert_int_equal(salvo_cpu_allowed(&first, 1), count);
    assert_int_equal(first, cpus[0]);
}

static void a_cpu_is_allowed_when_it_is_listed(void **state)
{
    int cpus[SALVO_CPU_MAX];
    unsigned count = salvo_cpu_allowed(cpus, SALVO_ARRAY_LENGTH(cpus)), found = 0;

    for (int cpu = 0; cpu < SALVO_CPU_MAX; cpu++) {
        bool listed = found < count && cpus[found] == cpu;

        assert_int_equal(salvo_cpu_is_allowed(cpu), listed);
        found += listed;
    }
    assert_int_equal(found, count);
    assert_false(salvo_cpu_is_allowed(-1));
    assert_false(salvo_cpu_is_allowed(SALVO_CPU_MAX));
}

/* The set of a list that -1 ends, printed into `size` bytes. */
static const char *printed(const int *cpus, size_t size)
{
    static char text[64];
    cpu_set_t set;

    CPU_ZERO(&set);
    for (; *cpus >= 0; cpus++)
        CPU_SET((size_t)*cpus, &set);
    salvo_cpu_print(&set, sizeof(set), text, size);
    return text;
}

static void cpus_are_printed_as_ranges(void **state)
{
    static const int none[] = {-1}, one[] = {5, -1}, two[] = {0, 8, -1};
    static const int many[] = {0, 1, 2, 3, 8, 10, 11, 1022, 1023, -1};
    char allowed[64];

    assert_string_equal(printed(none, 64), "");
    assert_string_equal(printed(one, 64), "5");
    assert_string_equal(printed(two, 64), "0,8");
    assert_string_equal(printed(many, 64), "0-3,8,10-11,1022-1023");
    assert_string_equal(printed(many, 24), "0-3,8,10-11,..."); /* room for what may follow */
    assert_string_equal(printed(many, 8), "0-3,...");
    assert_string_equal(printed(many + 7, 8), "...");
    salvo_cpu_print_allowed(allowed, sizeof(allowed));
    assert_true(salvo_cpu_is_allowed((int)strtol(allowed, NULL, 10)));
}

static void *pin_a_thread(void *arg)
{
    int cpus[1024], *ret_pinned = arg, now;
    unsigned count = salvo_cpu_allowed(cpus, SALVO_ARRAY_LENGTH(cpus));
    int last = cpus[SALVO_MIN(count, 1024u) - 1];

    *ret_pinned = salvo_cpu_pin(last) == 0 && sched_getcpu() == last &&
                  salvo_cpu_allowed(&now, 1) == 1 && now == last;
    return NULL;
}

static void a_pinned_thread_stays(void **state)
{
    pthread_t thread;
    unsigned before = salvo_cpu_allowed(NULL, 0);
    int pinned = 0;

    assert_int_equal(salvo_thread_start(&thread, "pinned", pin_a_thread, &pinned), 0);
    salvo_thread_join(thread);
    assert_true(pinned);
    assert_int_equal(salvo_cpu_allowed(NULL, 0), before); /* the starter is as free as it was */
}

static void a_cpu_that_is_not_ours_is_refused(void **state)
{
    assert_int_equal(salvo_cpu_pin(-1), -EINVAL);
    assert_int_equal(salvo_cpu_pin(16383), -EINVAL);
    assert_int_equal(salvo_cpu_pin(1 << 20), -EINVAL);
}

static void *look_at_signals(void *arg)
{
    sigset_t *ret_blocked = arg;

    sigprocmask(SIG_SETMASK, NULL, ret_blocked);
    return NULL;
}

static void a_thread_starts_with_every_signal_blocked(void **state)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGCHLD, SIGPIPE};
    sigset_t blocked, ours;
    pthread_t thread;

    sigemptyset(&blocked);
    assert_int_equal(salvo_thread_start(&thread, "fifteen letters", look_at_signals, &blocked), 0);
    salvo_thread_join(thread);
    sigprocmask(SIG_SETMASK, NULL, &ours);
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(signals); i++) {
        assert_int_equal(sigismember(&blocked, signals[i]), 1);
        assert_int_equal(sigismember(&ours, signals[i]), 0);
    }
}

static void a_thread_has_fifteen_characters_of_its_name(void **state)
{
    char before[16], name[16];

    prctl(PR_GET_NAME, before);
    salvo_cpu_name_thread("lane-0");
    prctl(PR_GET_NAME, name);
    assert_string_equal(name, "lane-0");
    salvo_cpu_name_thread("a name that is too long");
    prctl(PR_GET_NAME, name);
    assert_string_equal(name, "a name that is ");
    salvo_cpu_name_thread(before);
}

static void *read_id(void *arg)
{
    uint32_t *ret_id = arg;

    *ret_id = salvo_thread_id();
    if (*ret_id != salvo_thread_id())
        *ret_id = 0;
    return NULL;
}

static void thread_ids_are_never_zero_and_never_reused(void **state)
{
    uint32_t ids[8] = {salvo_thread_id()};

    for (unsigned i = 1; i < SALVO_ARRAY_LENGTH(ids); i++) {
        pthread_t thread;

        assert_int_equal(salvo_thread_start(&thread, "id", read_id, &ids[i]), 0);
        salvo_thread_join(thread);
    }
    for (unsigned i = 0; i < SALVO_ARRAY_LENGTH(ids); i++) {
        assert_int_not_equal(ids[i], 0);
        for (unsigned k = 0; k < i; k++)
            assert_int_not_equal(ids[i], ids[k]);
    }
}

static void used_time_grows_with_use(void **state)
{
    double thread = salvo_cpu_thread_seconds(), process = salvo_cpu_process_seconds();

    while (salvo_cpu_thread_seconds() <= thread)
        ;
    assert_true(salvo_cpu_process_seconds() > process);
    assert_true(process < 3600);
}

static double stolen_as_proc_says(void)
{
    FILE *stat = fopen("/proc/stat", "r");
    double fields[8] = {0};
    char name[8];

    assert_non_null(stat);
    assert_int_equal(fscanf(stat, "%7s", name), 1);
    assert_string_equal(name, "cpu");
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(fscanf(stat, "%lf", &fields[i]), 1);
    fclose(stat);
    return fields[7] / (double)sysconf(_SC_CLK_TCK);
}

static void stolen_time_is_the_kernels_figure(void **state)
{
    double before = stolen_as_proc_says();
    double stolen = salvo_cpu_stolen_seconds();

    assert_true(stolen >= before);
    assert_true(stolen <= stolen_as_proc_says());
}

static void the_machine_is_described_in_one_line(void **state)
{
    char text[256], cut[8];

    salvo_cpu_describe(text, sizeof(text));
    printf("%s\n", text);
    assert_non_null(strstr(text, "cores allowed, Linux "));
    assert_null(strchr(text, '\n'));
    salvo_cpu_describe(cut, sizeof(cut));
    assert_int_equal(strlen(cut), sizeof(cut) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_allowed_cpus_are_in_order),
        cmocka_unit_test(a_cpu_is_allowed_when_it_is_listed),
        cmocka_unit_test(cpus_are_printed_as_ranges),
        cmocka_unit_test(a_pinned_thread_stays),
        cmocka_unit_test(a_cpu_that_is_not_ours_is_refused),
        cmocka_unit_test(a_thread_starts_with_every_signal_blocked),
        cmocka_unit_test(a_thread_has_fifteen_characters_of_its_name),
        cmocka_unit_test(thread_ids_are_never_zero_and_never_reused),
        cmocka_unit_test(used_time_grows_with_use),
        cmocka_unit_test(stolen_time_is_the_kernels_figure),
        cmocka_unit_test(the_machine_is_described_in_one_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
