/* base/counters: the table is whole, its names are those of the stat file, an owner's adds are
 * read. */
#include "tests/unit/unit.h"

#include "base/counters.h"

static void check_info(const struct salvo_counter_info *info, const char *prefix,
                       enum salvo_counter_scope scope)
{
    assert_int_equal(strncmp(info->name, prefix, strlen(prefix)), 0);
    assert_true(strlen(info->name) > strlen(prefix));
    assert_int_equal(strspn(info->name, "abcdefghijklmnopqrstuvwxyz0123456789_"),
                     strlen(info->name));
    assert_int_equal(info->scope, scope);
    assert_in_range(info->kind, SALVO_COUNTER_COUNT, SALVO_COUNTER_MAX);
    assert_true(strlen(info->unit) > 0);
    assert_true(strlen(info->text) > 0);
    assert_int_not_equal(info->text[strlen(info->text) - 1], '.');
}

static void every_counter_is_described(void **state)
{
    for (unsigned i = 0; i < SALVO_LANE_COUNTERS; i++)
        check_info(&salvo_lane_counter_info[i], "lane_", SALVO_COUNTER_LANE);
    for (unsigned i = 0; i < SALVO_CONTROL_COUNTERS; i++)
        check_info(&salvo_control_counter_info[i], "control_", SALVO_COUNTER_CONTROL);
}

static const char *name_at(unsigned i)
{
    return i < SALVO_LANE_COUNTERS ? salvo_lane_counter_info[i].name
                                   : salvo_control_counter_info[i - SALVO_LANE_COUNTERS].name;
}

static void names_are_unique(void **state)
{
    for (unsigned i = 0; i < SALVO_LANE_COUNTERS + SALVO_CONTROL_COUNTERS; i++)
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(name_at(i), name_at(k));
}

static void enum_and_table_agree(void **state)
{
    assert_string_equal(salvo_lane_counter_info[SALVO_LANE_MESSAGES_TAKEN].name,
                        "lane_messages_taken");
    assert_string_equal(salvo_lane_counter_info[SALVO_LANE_MESSAGES_TAKEN].unit, "messages");
    assert_int_equal(salvo_lane_counter_info[SALVO_LANE_CYCLE_NS_MAX].kind, SALVO_COUNTER_MAX);
    assert_string_equal(salvo_control_counter_info[SALVO_CONTROL_ERRORS].name, "control_errors");
    assert_int_equal(salvo_control_counter_info[SALVO_CONTROL_BROKERS].kind, SALVO_COUNTER_GAUGE);
}

static void add_set_and_max(void **state)
{
    salvo_counter counters[3] = {0};

    salvo_counter_add(counters, 0, 2);
    salvo_counter_add(counters, 0, 3);
    assert_int_equal(salvo_counter_get(counters, 0), 5);
    salvo_counter_set(counters, 1, 7);
    salvo_counter_set(counters, 1, 4);
    assert_int_equal(salvo_counter_get(counters, 1), 4);
    salvo_counter_max(counters, 2, 9);
    salvo_counter_max(counters, 2, 8);
    assert_int_equal(salvo_counter_get(counters, 2), 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_counter_is_described),
        cmocka_unit_test(names_are_unique),
        cmocka_unit_test(enum_and_table_agree),
        cmocka_unit_test(add_set_and_max),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
