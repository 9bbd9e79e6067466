/* base/random: the published sequences, bounds kept, no number favoured. */
#include "tests/unit/unit.h"

#include "base/random.h"

/* splitmix64 from seed 0 begins e220a8397b1dcdaf, 6e789e6aa1b965f4, 06c45d188009454f,
 * f88bb8a8724c81ec: Vigna's reference. xoshiro256** from the state 1, 2, 3, 4 begins 11520, 0,
 * 1509978240, 1215971899390074240: the vectors of the rand_xoshiro crate. */
static void the_sequence_is_the_published_one(void **state)
{
    static const uint64_t seeded[] = {0xe220a8397b1dcdaf, 0x6e789e6aa1b965f4, 0x06c45d188009454f,
                                      0xf88bb8a8724c81ec};
    static const uint64_t drawn[] = {11520, 0, 1509978240, UINT64_C(1215971899390074240)};
    struct salvo_random random;

    salvo_random_init(&random, 0);
    assert_memory_equal(random.state, seeded, sizeof(seeded));
    random = (struct salvo_random){{1, 2, 3, 4}};
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(drawn); i++)
        assert_true(salvo_random_next(&random) == drawn[i]);
}

static void equal_seeds_give_equal_sequences(void **state)
{
    struct salvo_random a, b, c;

    salvo_random_init(&a, 42);
    salvo_random_init(&b, 42);
    salvo_random_init(&c, 43);
    assert_memory_equal(&a, &b, sizeof(a));
    assert_memory_not_equal(&a, &c, sizeof(a));
}

static void the_system_seeds_differ(void **state)
{
    struct salvo_random a, b;

    salvo_random_init_system(&a);
    salvo_random_init_system(&b);
    assert_memory_not_equal(&a, &b, sizeof(a));
}

static void below_is_below(void **state)
{
    static const uint64_t bounds[] = {1, 2, 3, 7, 1000, UINT32_MAX, UINT64_C(1) << 63, UINT64_MAX};
    struct salvo_random random;

    salvo_random_init(&random, 1);
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(bounds); i++)
        for (unsigned n = 0; n < 1000; n++)
            assert_true(salvo_random_below(&random, bounds[i]) < bounds[i]);
}

/* 12000 draws into 12 bins: a standard deviation is 30, and 200 is far outside chance. */
static void below_favours_nothing(void **state)
{
    unsigned bins[12] = {0};
    struct salvo_random random;

    salvo_random_init(&random, 2);
    for (unsigned n = 0; n < 12000; n++)
        bins[salvo_random_below(&random, 12)]++;
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(bins); i++)
        assert_in_range(bins[i], 800, 1200);
}

static void chance_is_what_was_asked(void **state)
{
    unsigned hits = 0;
    struct salvo_random random;

    salvo_random_init(&random, 3);
    for (unsigned n = 0; n < 10000; n++) {
        assert_false(salvo_random_chance(&random, 0, 5));
        assert_true(salvo_random_chance(&random, 5, 5));
        hits += salvo_random_chance(&random, 1, 4);
    }
    assert_in_range(hits, 2200, 2800);
}

static void draw_below_nothing(void *arg)
{
    salvo_random_below(arg, 0);
}

static void below_nothing_asserts(void **state)
{
    struct salvo_random random;

    salvo_random_init(&random, 4);
    assert_true(unit_aborts(draw_below_nothing, &random));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sequence_is_the_published_one),
        cmocka_unit_test(equal_seeds_give_equal_sequences),
        cmocka_unit_test(the_system_seeds_differ),
        cmocka_unit_test(below_is_below),
        cmocka_unit_test(below_favours_nothing),
        cmocka_unit_test(chance_is_what_was_asked),
        cmocka_unit_test(below_nothing_asserts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
