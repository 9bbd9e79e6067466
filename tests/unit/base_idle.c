/* base/idle: what each strategy says after the n-th turn without work. */
#include "tests/unit/unit.h"

#include "base/idle.h"

#include <errno.h>

#define NEVER INT64_MAX

static const struct {
    enum salvo_idle_kind kind;
    uint32_t gather_us, gather_answers;
    unsigned idle_turns; /* the plan of this one is looked at, 0: of a turn with work */
    uint64_t outstanding;
    int64_t next_ns;
    struct salvo_idle_plan plan;
} cases[] = {
    {SALVO_IDLE_SPIN, 50, 64, 0, 0, NEVER, {0, 0, false}},
    {SALVO_IDLE_SPIN, 50, 64, 1000, 5, NEVER, {0, 0, false}},

    {SALVO_IDLE_YIELD, 50, 64, 0, 0, NEVER, {0, 0, false}},
    {SALVO_IDLE_YIELD, 50, 64, 1, 0, NEVER, {0, 0, true}},
    {SALVO_IDLE_YIELD, 50, 64, 1000, 5, NEVER, {0, 0, true}},
    {SALVO_IDLE_YIELD, 50, 64, 1, 0, 0, {0, 0, false}},

    {SALVO_IDLE_BACKOFF, 50, 64, 0, 0, NEVER, {0, 0, false}},
    {SALVO_IDLE_BACKOFF, 50, 64, 1, 0, NEVER, {0, 0, false}},
    {SALVO_IDLE_BACKOFF, 50, 64, 10, 0, NEVER, {0, 0, false}},
    {SALVO_IDLE_BACKOFF, 50, 64, 11, 0, NEVER, {0, 0, true}},
    {SALVO_IDLE_BACKOFF, 50, 64, 30, 0, NEVER, {0, 0, true}},
    {SALVO_IDLE_BACKOFF, 50, 64, 31, 0, NEVER, {1000, 1, false}},
    {SALVO_IDLE_BACKOFF, 50, 64, 32, 0, NEVER, {2000, 1, false}},
    {SALVO_IDLE_BACKOFF, 50, 64, 40, 0, NEVER, {512000, 1, false}},
    {SALVO_IDLE_BACKOFF, 50, 64, 41, 0, NEVER, {1000000, 1, false}},
    {SALVO_IDLE_BACKOFF, 50, 64, 100000, 0, NEVER, {1000000, 1, false}},
    {SALVO_IDLE_BACKOFF, 50, 64, 100000, 9, 700, {700, 1, false}}, /* a deadline comes first */
    {SALVO_IDLE_BACKOFF, 50, 64, 100000, 9, 0, {0, 0, false}},
    {SALVO_IDLE_BACKOFF, 50, 64, 100000, 9, -5, {0, 0, false}},

    {SALVO_IDLE_GATHER, 50, 64, 0, 100, NEVER, {0, 0, false}},
    {SALVO_IDLE_GATHER, 50, 64, 1, 100, NEVER, {50000, 64, false}},
    {SALVO_IDLE_GATHER, 50, 64, 1, 3, NEVER, {50000, 3, false}}, /* no more can come */
    {SALVO_IDLE_GATHER, 50, 64, 1, UINT64_MAX, NEVER, {50000, 64, false}},
    {SALVO_IDLE_GATHER, 50, 64, 1, 100, 20000, {20000, 64, false}},
    {SALVO_IDLE_GATHER, 50, 64, 1, 100, 0, {0, 0, false}},
    {SALVO_IDLE_GATHER, 50, 64, 1, 100, INT64_MIN, {0, 0, false}},
    {SALVO_IDLE_GATHER, 50, 64, 1, 0, NEVER, {NEVER, 1, false}},
    {SALVO_IDLE_GATHER, 50, 64, 1, 0, 12345, {12345, 1, false}},
    {SALVO_IDLE_GATHER, 50, 64, 2, 100, NEVER, {NEVER, 1, false}}, /* the window brought nothing */
    {SALVO_IDLE_GATHER, 50, 64, 2, 100, 700000, {700000, 1, false}},
    {SALVO_IDLE_GATHER, 50, 0, 1, 100, NEVER, {50000, 1, false}},
    {SALVO_IDLE_GATHER, 0, 64, 1, 100, NEVER, {NEVER, 1, false}}, /* no gathering */
    {SALVO_IDLE_GATHER, UINT32_MAX, 64, 1, 100, NEVER, {4294967295000, 64, false}},
};

static void each_strategy_does_as_its_table_says(void **state)
{
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        struct salvo_idle_plan plan;
        struct salvo_idle idle;

        salvo_idle_init(&idle, cases[i].kind, cases[i].gather_us, cases[i].gather_answers);
        plan = salvo_idle_next(&idle, 1, cases[i].outstanding, cases[i].next_ns);
        for (unsigned turn = 0; turn < cases[i].idle_turns; turn++)
            plan = salvo_idle_next(&idle, 0, cases[i].outstanding, cases[i].next_ns);
        assert_true(plan.wait_ns == cases[i].plan.wait_ns);
        assert_int_equal(plan.events_min, cases[i].plan.events_min);
        assert_int_equal(plan.yield, cases[i].plan.yield);
    }
}

/* A sixteenth of the time that answers take, between gather_us and half a millisecond; gather_us of
 * 0 stays off. */
static void answers_that_take_long_gather_longer(void **state)
{
    static const struct {
        uint32_t gather_us;
        int64_t answer_us, wait_us;
    } slow[] = {{50, 0, 50},     {50, 100, 50},    {50, 800, 50},      {50, 1600, 100},
                {50, 8000, 500}, {50, 16000, 500}, {50, 3000000, 500}, {2000, 16000, 2000}};
    struct salvo_idle idle;

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(slow); i++) {
        int64_t wait_ns;

        salvo_idle_init(&idle, SALVO_IDLE_GATHER, slow[i].gather_us, 64);
        for (unsigned n = 0; n < 200; n++)
            salvo_idle_note_answer(&idle, slow[i].answer_us * SALVO_NS_PER_US);
        wait_ns = salvo_idle_next(&idle, 0, 1000, NEVER).wait_ns;
        assert_true(wait_ns <= slow[i].wait_us * SALVO_NS_PER_US);
        assert_true(wait_ns > slow[i].wait_us * SALVO_NS_PER_US * 99 / 100);
        assert_true(wait_ns == salvo_idle_gather_ns(&idle));
    }
    salvo_idle_init(&idle, SALVO_IDLE_GATHER, 0, 64);
    salvo_idle_note_answer(&idle, SALVO_NS_PER_S);
    assert_true(salvo_idle_next(&idle, 0, 1000, NEVER).wait_ns == NEVER);
}

static void work_starts_over(void **state)
{
    struct salvo_idle idle;

    salvo_idle_init(&idle, SALVO_IDLE_BACKOFF, 50, 64);
    for (unsigned i = 0; i < 1000; i++)
        salvo_idle_next(&idle, 0, 0, NEVER);
    assert_true(salvo_idle_next(&idle, 0, 0, NEVER).wait_ns > 0);
    salvo_idle_next(&idle, 7, 0, NEVER);
    assert_int_equal(idle.idle_turns, 0);
    assert_true(salvo_idle_next(&idle, 0, 0, NEVER).wait_ns == 0);
}

static void the_count_of_idle_turns_does_not_wrap(void **state)
{
    struct salvo_idle idle;

    salvo_idle_init(&idle, SALVO_IDLE_BACKOFF, 50, 64);
    idle.idle_turns = UINT32_MAX;
    assert_true(salvo_idle_next(&idle, 0, 0, NEVER).wait_ns == SALVO_NS_PER_MS);
}

static void names_go_both_ways(void **state)
{
    static const char *const strangers[] = {"", "Spin", "gather ", "sleep", "yieldx"};
    enum salvo_idle_kind kind;

    for (unsigned i = SALVO_IDLE_GATHER; i <= SALVO_IDLE_BACKOFF; i++) {
        assert_int_equal(salvo_idle_parse(salvo_idle_name((enum salvo_idle_kind)i), &kind), 0);
        assert_int_equal(kind, i);
    }
    assert_string_equal(salvo_idle_name(SALVO_IDLE_GATHER), "gather");
    kind = SALVO_IDLE_SPIN;
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(strangers); i++) {
        assert_int_equal(salvo_idle_parse(strangers[i], &kind), -EINVAL);
        assert_int_equal(kind, SALVO_IDLE_SPIN);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_strategy_does_as_its_table_says),
        cmocka_unit_test(answers_that_take_long_gather_longer),
        cmocka_unit_test(work_starts_over),
        cmocka_unit_test(the_count_of_idle_turns_does_not_wrap),
        cmocka_unit_test(names_go_both_ways),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
