/* base/assert: what holds goes on, what does not stops the process with a word about it. */
#include "tests/unit/unit.h"

#include "base/assert.h"

static int evaluations;

static void fail_assertion(void *arg)
{
    salvo_assert(arg != NULL);
}

static void reach_unreachable(void *arg)
{
    salvo_unreachable();
}

static void a_true_condition_goes_on(void **state)
{
    salvo_assert(1 + 1 == 2);
    salvo_slow_assert(1 + 1 == 2);
    assert_false(unit_aborts(fail_assertion, &evaluations));
}

static void a_false_condition_aborts(void **state)
{
    assert_true(unit_aborts(fail_assertion, NULL));
    assert_true(unit_aborts(reach_unreachable, NULL));
}

static void fail_at_length(void *arg)
{
    salvo_assert_failed("file.c", 1, "function", arg);
}

static void a_long_condition_is_cut_off(void **state)
{
    char condition[4096];

    memset(condition, 'x', sizeof(condition) - 1);
    condition[sizeof(condition) - 1] = 0;
    assert_true(unit_aborts(fail_at_length, condition));
}

static bool evaluate(void)
{
    evaluations++;
    return true;
}

static void a_condition_is_evaluated_once(void **state)
{
    salvo_assert(evaluate());
    assert_int_equal(evaluations, 1);
#if defined(SALVO_SLOW_ASSERT)
    salvo_slow_assert(evaluate());
    assert_int_equal(evaluations, 2);
#else
    salvo_slow_assert(evaluate());
    assert_int_equal(evaluations, 1);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_true_condition_goes_on),
        cmocka_unit_test(a_false_condition_aborts),
        cmocka_unit_test(a_long_condition_is_cut_off),
        cmocka_unit_test(a_condition_is_evaluated_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
