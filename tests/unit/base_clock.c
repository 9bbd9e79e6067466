/* base/clock: the hand-driven clock stands still and loses nothing; the time-stamp counter never
 * goes back and keeps to the system clock. */
#include "tests/unit/unit.h"

#include "base/clock.h"
#include "base/cpu.h"

static void a_manual_clock_moves_only_by_hand(void **state)
{
    struct salvo_clock_manual manual;
    struct salvo_clock *clock = &manual.clock;

    salvo_clock_manual_init(&manual, 5, 1700000000000);
    assert_int_equal(salvo_clock_mono_ns(clock), 5);
    assert_int_equal(salvo_clock_mono_ns(clock), 5);
    assert_int_equal(salvo_clock_wall_ms(clock), 1700000000000);
    salvo_clock_manual_advance(&manual, 3 * SALVO_NS_PER_S);
    assert_int_equal(salvo_clock_mono_ns(clock), 3 * SALVO_NS_PER_S + 5);
    assert_int_equal(salvo_clock_wall_ms(clock), 1700000003000);
    salvo_clock_manual_advance(&manual, 0);
    assert_int_equal(salvo_clock_mono_ns(clock), 3 * SALVO_NS_PER_S + 5);
}

static void many_small_steps_move_the_wall_as_one_large_step(void **state)
{
    struct salvo_clock_manual manual;

    salvo_clock_manual_init(&manual, 999999, 100);
    for (unsigned i = 0; i < 100000; i++)
        salvo_clock_manual_advance(&manual, 70);
    assert_int_equal(manual.mono_now_ns, 7999999);
    assert_int_equal(manual.wall_now_ms, 107);
    assert_int_equal(salvo_clock_wall_ns(&manual.clock), 107999999);
}

static void advance_backwards(void *arg)
{
    salvo_clock_manual_advance(arg, -1);
}

static void a_manual_clock_does_not_go_back(void **state)
{
    struct salvo_clock_manual manual;

    salvo_clock_manual_init(&manual, 0, 0);
    assert_true(unit_aborts(advance_backwards, &manual));
}

static void the_system_clock_is_of_this_century(void **state)
{
    int64_t wall_ms = salvo_clock_wall_ms(salvo_clock_system());

    assert_true(wall_ms > INT64_C(1577836800000)); /* 2020 */
    assert_true(wall_ms < INT64_C(4102444800000)); /* 2100 */
}

static void check_never_back(struct salvo_clock *clock)
{
    int64_t last = salvo_clock_mono_ns(clock);

    for (unsigned i = 0; i < 200000; i++) {
        int64_t now = salvo_clock_mono_ns(clock);

        assert_true(now >= last);
        last = now;
    }
}

static void *ask_for_tsc(void *ret_clock)
{
    struct salvo_clock *clock = salvo_clock_tsc();

    check_never_back(clock);
    *(struct salvo_clock **)ret_clock = clock;
    return NULL;
}

/* As when two senders are opened at once. Before any other that asks for it; TSan watches. */
static void the_tsc_clock_may_be_asked_for_by_two_threads_at_once(void **state)
{
    struct salvo_clock *clocks[2] = {NULL, NULL};
    pthread_t threads[2];

    for (int i = 0; i < 2; i++)
        assert_int_equal(salvo_thread_start(&threads[i], "asks", ask_for_tsc, &clocks[i]), 0);
    for (int i = 0; i < 2; i++)
        salvo_thread_join(threads[i]);
    assert_non_null(clocks[0]);
    assert_ptr_equal(clocks[0], clocks[1]);
}

static void no_clock_goes_back(void **state)
{
    check_never_back(salvo_clock_system());
    check_never_back(salvo_clock_tsc());
}

/* 1 ms: a hundred times what the calibration leaves within the test's time, and more than a reading
 * between two others takes unless the test is taken off the CPU; so the closest of many counts. */
static void the_tsc_clock_keeps_to_the_system_clock(void **state)
{
    struct salvo_clock *system = salvo_clock_system(), *tsc = salvo_clock_tsc();
    int64_t apart_min = INT64_MAX;

    assert_ptr_equal(salvo_clock_tsc(), tsc);
    for (unsigned i = 0; i < 10000; i++) {
        int64_t before = salvo_clock_mono_ns(system);
        int64_t now = salvo_clock_mono_ns(tsc);
        int64_t after = salvo_clock_mono_ns(system);
        int64_t apart = now < before ? before - now : now > after ? now - after : 0;

        apart_min = SALVO_MIN(apart_min, apart);
    }
    assert_true(apart_min < SALVO_NS_PER_MS);
    assert_true(salvo_clock_wall_ms(tsc) - salvo_clock_wall_ms(system) < 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_manual_clock_moves_only_by_hand),
        cmocka_unit_test(many_small_steps_move_the_wall_as_one_large_step),
        cmocka_unit_test(a_manual_clock_does_not_go_back),
        cmocka_unit_test(the_system_clock_is_of_this_century),
        cmocka_unit_test(the_tsc_clock_may_be_asked_for_by_two_threads_at_once),
        cmocka_unit_test(no_clock_goes_back),
        cmocka_unit_test(the_tsc_clock_keeps_to_the_system_clock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
