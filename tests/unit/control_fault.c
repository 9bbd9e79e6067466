/* Both tables against the reference's values (6.2 to 6.4 of the protocol reference). */
#include "tests/unit/unit.h"

#include "control/fault.h"

#define MS SALVO_NS_PER_MS

static void each_latency_falls_in_its_row(void **state)
{
    static const struct {
        int64_t latency_ms, old_ms, new_ms;
    } rows[] = {
        {0, 0, 0},
        {49, 0, 0},
        {50, 0, 0},
        {100, 0, 0},
        {549, 0, 0},
        {550, 30000, 2000},
        {999, 30000, 2000},
        {1000, 60000, 2000},
        {1799, 60000, 2000},
        {1800, 60000, 5000},
        {2000, 120000, 5000},
        {2999, 120000, 5000},
        {3000, 180000, 6000},
        {4999, 180000, 6000},
        {5000, 180000, 10000},
        {10000, 180000, 10000},
        {14999, 180000, 10000},
        {15000, 600000, 30000},
        {30000, 600000, 30000},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(rows); i++) {
        assert_int_equal(salvo_fault_penalty_ns(SALVO_FAULT_TABLE_4_7_1, rows[i].latency_ms * MS),
                         rows[i].old_ms * MS);
        assert_int_equal(salvo_fault_penalty_ns(SALVO_FAULT_TABLE_5_1_4, rows[i].latency_ms * MS),
                         rows[i].new_ms * MS);
    }
}

static salvo_availability words[4];

static void fault_init(struct salvo_fault *fault, bool enabled, enum salvo_config_fault_table table)
{
    static struct salvo_config config;

    salvo_config_init(&config);
    config.brokers_max = 4;
    config.fault_latency = enabled;
    config.fault_table = table;
    salvo_fault_init(fault, &config, words);
}

struct step {
    int64_t at_ms;
    enum salvo_outcome outcome;
    int64_t latency_ms;
    int64_t until_ms; /* afterwards */
};

static void run_steps(enum salvo_config_fault_table table, const struct step *steps, size_t count)
{
    struct salvo_fault fault;

    fault_init(&fault, true, table);
    for (size_t i = 0; i < count; i++) {
        salvo_fault_outcome(&fault, 2, steps[i].outcome, steps[i].latency_ms * MS,
                            steps[i].at_ms * MS);
        assert_int_equal(atomic_load(&words[2]), steps[i].until_ms * MS);
        assert_int_equal(salvo_fault_unavailable(&fault, steps[i].at_ms * MS),
                         steps[i].until_ms > steps[i].at_ms);
    }
    assert_int_equal(atomic_load(&words[1]), 0);
}

static void the_old_table_isolates_for_600_s_and_a_fast_success_ends_it(void **state)
{
    static const struct step steps[] = {
        {1000, SALVO_OUTCOME_BROKER_ERROR, 3, 601000},    {2000, SALVO_OUTCOME_GOOD, 3, 2000},
        {3000, SALVO_OUTCOME_TIMEOUT, 3000, 603000},      {4000, SALVO_OUTCOME_GOOD, 700, 34000},
        {5000, SALVO_OUTCOME_CONNECTION_LOST, 0, 605000}, {6000, SALVO_OUTCOME_GOOD, 120, 6000},
    };

    run_steps(SALVO_FAULT_TABLE_4_7_1, steps, SALVO_ARRAY_LENGTH(steps));
}

static void the_new_table_isolates_for_10_s_and_only_moves_later(void **state)
{
    static const struct step steps[] = {
        {1000, SALVO_OUTCOME_GOOD, 100, 0},
        {1000, SALVO_OUTCOME_BROKER_ERROR, 3, 11000},
        {2000, SALVO_OUTCOME_GOOD, 3, 11000},     /* does not clear it */
        {3000, SALVO_OUTCOME_GOOD, 700, 11000},   /* 5000 is earlier */
        {10000, SALVO_OUTCOME_GOOD, 1800, 15000}, /* later */
        {11000, SALVO_OUTCOME_TIMEOUT, 3000, 21000},
        {30000, SALVO_OUTCOME_CONNECTION_LOST, 0, 40000},
        {50000, SALVO_OUTCOME_GOOD, 1, 40000},
    };

    run_steps(SALVO_FAULT_TABLE_5_1_4, steps, SALVO_ARRAY_LENGTH(steps));
}

static void nothing_is_recorded_when_the_switch_is_off(void **state)
{
    struct salvo_fault fault;

    fault_init(&fault, false, SALVO_FAULT_TABLE_5_1_4);
    salvo_fault_outcome(&fault, 0, SALVO_OUTCOME_TIMEOUT, 99999 * MS, 1000 * MS);
    assert_int_equal(atomic_load(&words[0]), 0);
}

static void the_reachable_flag_is_the_new_tables_alone(void **state)
{
    struct salvo_fault fault;
    uint64_t word;

    fault_init(&fault, true, SALVO_FAULT_TABLE_5_1_4);
    salvo_fault_update(&fault, 1, 0, true, false, 1000 * MS);
    word = atomic_load(&words[1]);
    assert_false(salvo_availability_reachable(word));
    assert_false(salvo_availability_available(word, 20000 * MS));
    salvo_fault_update(&fault, 1, 1 * MS, false, true, 12000 * MS); /* a success restores it */
    word = atomic_load(&words[1]);
    assert_true(salvo_availability_reachable(word));
    assert_true(salvo_availability_available(word, 12000 * MS));
    salvo_fault_forget(&fault, 1);
    assert_int_equal(atomic_load(&words[1]), 0);

    fault_init(&fault, true, SALVO_FAULT_TABLE_4_7_1);
    salvo_fault_update(&fault, 1, 0, true, false, 1000 * MS);
    assert_true(salvo_availability_reachable(atomic_load(&words[1])));
}

static void with_the_detector_losses_and_silence_make_it_unreachable(void **state)
{
    static const struct {
        enum salvo_outcome outcome;
        bool reachable;
    } rows[] = {
        {SALVO_OUTCOME_CONNECTION_LOST, false}, {SALVO_OUTCOME_GOOD, true},
        {SALVO_OUTCOME_TIMEOUT, false},         {SALVO_OUTCOME_TIMEOUT, false},
        {SALVO_OUTCOME_BROKER_ERROR, true},
    };
    struct salvo_fault fault;

    fault_init(&fault, true, SALVO_FAULT_TABLE_5_1_4);
    fault.detector = true;
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(rows); i++) {
        salvo_fault_outcome(&fault, 3, rows[i].outcome, 1 * MS, 1000 * MS);
        assert_int_equal(salvo_fault_reachable(&fault, 3), rows[i].reachable);
        assert_int_equal(fault.unreachable_count, !rows[i].reachable);
    }
    assert_int_equal(fault.unreachable_version, 2);
    salvo_fault_update(&fault, 3, 0, true, false, 1000 * MS);
    salvo_fault_reached(&fault, 3);
    assert_true(salvo_fault_reachable(&fault, 3));
    assert_int_equal(atomic_load(&words[3]), 11000 * MS); /* the penalty stays */
    salvo_fault_update(&fault, 3, 0, true, false, 1000 * MS);
    salvo_fault_forget(&fault, 3);
    assert_int_equal(fault.unreachable_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_latency_falls_in_its_row),
        cmocka_unit_test(the_old_table_isolates_for_600_s_and_a_fast_success_ends_it),
        cmocka_unit_test(the_new_table_isolates_for_10_s_and_only_moves_later),
        cmocka_unit_test(nothing_is_recorded_when_the_switch_is_off),
        cmocka_unit_test(the_reachable_flag_is_the_new_tables_alone),
        cmocka_unit_test(with_the_detector_losses_and_silence_make_it_unreachable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
