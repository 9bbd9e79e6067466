/* Timers: periodic and one-shot work, driven by hand. */
#include "tests/unit/unit.h"

#include "control/timers.h"

static int ran[4];

static void count(void *arg, int64_t now_ns)
{
    ran[(size_t)arg]++;
}

static void periodic_work_keeps_its_grid_and_runs_once_after_a_pause(void **state)
{
    struct salvo_timers timers;

    memset(ran, 0, sizeof(ran));
    salvo_timers_init(&timers);
    salvo_timers_add(&timers, "a", 100, 50, count, (void *)0);
    assert_int_equal(salvo_timers_next_ns(&timers), 100);
    assert_int_equal(salvo_timers_run(&timers, 99), 0);
    assert_int_equal(salvo_timers_run(&timers, 100), 1);
    assert_int_equal(salvo_timers_next_ns(&timers), 150);
    assert_int_equal(salvo_timers_run(&timers, 149), 0);
    assert_int_equal(salvo_timers_run(&timers, 1234), 1); /* not twenty times */
    assert_int_equal(salvo_timers_next_ns(&timers), 1250);
    assert_int_equal(ran[0], 2);
}

static void one_shot_work_runs_once_each_time_it_is_armed(void **state)
{
    struct salvo_timers timers;
    uint32_t index;

    memset(ran, 0, sizeof(ran));
    salvo_timers_init(&timers);
    assert_true(salvo_timers_next_ns(&timers) == INT64_MAX);
    index = salvo_timers_add(&timers, "once", INT64_MAX, 0, count, (void *)1);
    assert_int_equal(salvo_timers_run(&timers, 1000), 0);
    salvo_timers_arm(&timers, index, 2000);
    assert_int_equal(salvo_timers_next_ns(&timers), 2000);
    assert_int_equal(salvo_timers_run(&timers, 2000), 1);
    assert_int_equal(salvo_timers_run(&timers, 3000), 0);
    salvo_timers_arm(&timers, index, 4000);
    salvo_timers_arm(&timers, index, INT64_MAX);
    assert_int_equal(salvo_timers_run(&timers, 5000), 0);
    assert_int_equal(ran[1], 1);
}

struct rearm {
    struct salvo_timers timers;
    uint32_t index;
};

static void arm_again(void *arg, int64_t now_ns)
{
    struct rearm *rearm = arg;

    salvo_timers_arm(&rearm->timers, rearm->index, now_ns + 7);
}

static void work_may_arm_itself_again(void **state)
{
    struct rearm rearm;

    salvo_timers_init(&rearm.timers);
    rearm.index = salvo_timers_add(&rearm.timers, "again", 10, 0, arm_again, &rearm);
    assert_int_equal(salvo_timers_run(&rearm.timers, 10), 1);
    assert_int_equal(salvo_timers_next_ns(&rearm.timers), 17);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(periodic_work_keeps_its_grid_and_runs_once_after_a_pause),
        cmocka_unit_test(one_shot_work_runs_once_each_time_it_is_armed),
        cmocka_unit_test(work_may_arm_itself_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
