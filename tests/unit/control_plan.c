/* control/plan: whether the host has what is planned. */
#include "tests/unit/unit.h"

#include "control/plan.h"

#include <errno.h>

#define GIB (UINT64_C(1) << 30)

static char error[SALVO_CONFIG_ERROR_MAX];

static void a_plan_that_fits_is_taken(void **state)
{
    struct salvo_memory memory = {.available = 4 * GIB};

    assert_int_equal(salvo_plan_fits(4 * GIB, false, &memory, error), 0);
    memory.available = UINT64_MAX; /* not known */
    assert_int_equal(salvo_plan_fits(400 * GIB, false, &memory, error), 0);
}

static void a_plan_that_is_larger_than_the_host_is_refused_with_the_remedy(void **state)
{
    struct salvo_memory memory = {.available = 4 * GIB};

    assert_int_equal(salvo_plan_fits(4 * GIB + 1, false, &memory, error), -ENOMEM);
    assert_non_null(strstr(error, "this host has available 4096 MiB"));
    assert_non_null(strstr(error, "lower submitters_max"));
    memory.limited = true;
    assert_int_equal(salvo_plan_fits(19 * GIB, false, &memory, error), -ENOMEM);
    assert_non_null(strstr(error, "19456 MiB would be taken"));
    assert_non_null(strstr(error, "limit of the cgroup is 4096 MiB"));
}

/* The arena is in huge pages wholly or not at all. */
static void free_huge_pages_count_where_they_are_wanted(void **state)
{
    struct salvo_memory memory = {.available = GIB, .huge = 2 * GIB};

    assert_int_equal(salvo_plan_fits(2 * GIB, true, &memory, error), 0);
    assert_int_equal(salvo_plan_fits(2 * GIB, false, &memory, error), -ENOMEM);
    assert_int_equal(salvo_plan_fits(3 * GIB, true, &memory, error), -ENOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_that_fits_is_taken),
        cmocka_unit_test(a_plan_that_is_larger_than_the_host_is_refused_with_the_remedy),
        cmocka_unit_test(free_huge_pages_count_where_they_are_wanted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
