/* base/hist: quantiles against the sorted values themselves, over several shapes of distribution.
 */
#include "tests/unit/unit.h"

#include "base/hist.h"
#include "base/random.h"

#include <stdio.h>

#define VALUES    20000
#define VALUE_TOP ((UINT64_C(1) << SALVO_HIST_VALUE_BITS) - 1)

static struct salvo_hist hist, other, combined;
static uint64_t values[VALUES];

static void every_bucket_begins_where_the_last_ends(void **state)
{
    assert_int_equal(salvo_hist_bucket_low(0), 0);
    for (size_t i = 0; i < SALVO_HIST_BUCKETS; i++) {
        uint64_t low = salvo_hist_bucket_low(i), high = salvo_hist_bucket_high(i);

        assert_true(low <= high);
        assert_int_equal(salvo_hist_bucket(low), i);
        assert_int_equal(salvo_hist_bucket(high), i);
        assert_true((high - low) * 1024 <= low); /* the promised error */
        if (i > 0)
            assert_true(low == salvo_hist_bucket_high(i - 1) + 1);
    }
    assert_true(salvo_hist_bucket_high(SALVO_HIST_BUCKETS - 1) == VALUE_TOP);
}

static void an_empty_histogram_says_zero(void **state)
{
    salvo_hist_reset(&hist);
    assert_int_equal(salvo_hist_quantile(&hist, 0.5), 0);
    assert_int_equal(salvo_hist_quantile(&hist, 1), 0);
    assert_true(salvo_hist_mean(&hist) == 0);
    assert_true(hist.min == UINT64_MAX);
}

static void a_value_above_the_range_is_clamped_and_counted(void **state)
{
    salvo_hist_reset(&hist);
    salvo_hist_record(&hist, VALUE_TOP);
    assert_int_equal(hist.clamped, 0);
    salvo_hist_record(&hist, VALUE_TOP + 1);
    salvo_hist_record_n(&hist, UINT64_MAX, 2);
    assert_int_equal(hist.clamped, 3);
    assert_int_equal(hist.count, 4);
    assert_true(hist.max == VALUE_TOP);
    assert_true(salvo_hist_quantile(&hist, 1) == VALUE_TOP);
}

static void small_values_are_exact(void **state)
{
    salvo_hist_reset(&hist);
    for (uint64_t value = 1; value <= 1000; value++)
        salvo_hist_record(&hist, value);
    assert_int_equal(salvo_hist_quantile(&hist, 0), 1);
    assert_int_equal(salvo_hist_quantile(&hist, 0.0001), 1);
    assert_int_equal(salvo_hist_quantile(&hist, 0.001), 1);
    assert_int_equal(salvo_hist_quantile(&hist, 0.07), 70);
    assert_int_equal(salvo_hist_quantile(&hist, 0.5), 500);
    assert_int_equal(salvo_hist_quantile(&hist, 0.999), 999);
    assert_int_equal(salvo_hist_quantile(&hist, 0.9991), 1000);
    assert_int_equal(salvo_hist_quantile(&hist, 1), 1000);
    assert_true(salvo_hist_mean(&hist) == 500.5);
}

static int compare_values(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* The shapes: all magnitudes alike; a narrow hump; nearly all equal with a far tail. */
static uint64_t draw(struct salvo_random *random, unsigned shape)
{
    switch (shape) {
    case 0:
        return salvo_random_next(random) >> (64 - 1 - salvo_random_below(random, 42));
    case 1:
        return 150000 + salvo_random_below(random, 50000);
    default:
        return salvo_random_chance(random, 1, 1000) ? salvo_random_below(random, VALUE_TOP) : 3000;
    }
}

static void check_quantiles(const struct salvo_hist *h)
{
    static const uint64_t per_100000[] = {0,     1,     100,   1000,  7000,  10000, 25000, 50000,
                                          75000, 90000, 95000, 99000, 99900, 99990, 99999, 100000};

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(per_100000); i++) {
        uint64_t rank = (per_100000[i] * VALUES + 99999) / 100000;
        uint64_t exact = values[SALVO_MAX(rank, 1) - 1];
        uint64_t got = salvo_hist_quantile(h, (double)per_100000[i] / 100000);

        assert_true(got >= exact);
        assert_true((got - exact) * 1000 <= exact);
    }
    assert_true(salvo_hist_quantile(h, 1) == values[VALUES - 1]);
}

static void quantiles_are_within_a_thousandth_and_merging_changes_nothing(void **state)
{
    uint64_t seed = unit_seed(11);
    struct salvo_random random;

    printf("seed %llu\n", (unsigned long long)seed);
    salvo_random_init(&random, seed);
    for (unsigned shape = 0; shape < 3; shape++) {
        double sum = 0;

        salvo_hist_reset(&hist);
        salvo_hist_reset(&other);
        salvo_hist_reset(&combined);
        for (size_t i = 0; i < VALUES; i++) {
            values[i] = draw(&random, shape);
            sum += (double)values[i];
            salvo_hist_record(&combined, values[i]);
            salvo_hist_record(salvo_random_chance(&random, 1, 3) ? &hist : &other, values[i]);
        }
        qsort(values, VALUES, sizeof(values[0]), compare_values);
        check_quantiles(&combined);
        assert_true(combined.min == values[0]);
        assert_float_equal((float)(salvo_hist_mean(&combined) / (sum / VALUES)), 1, 1e-6);

        salvo_hist_merge(&hist, &other);
        assert_int_equal(hist.count, combined.count);
        assert_true(hist.min == combined.min);
        assert_true(hist.max == combined.max);
        assert_int_equal(hist.clamped, combined.clamped);
        assert_float_equal((float)(hist.sum / combined.sum), 1, 1e-6);
        assert_memory_equal(hist.buckets, combined.buckets, sizeof(hist.buckets));
    }
}

static void merging_an_empty_one_changes_nothing(void **state)
{
    salvo_hist_reset(&hist);
    salvo_hist_reset(&other);
    salvo_hist_record(&hist, 5000);
    combined = hist;
    salvo_hist_merge(&hist, &other);
    assert_memory_equal(&hist, &combined, sizeof(hist));
    salvo_hist_merge(&other, &hist);
    assert_memory_equal(&other, &combined, sizeof(hist));
}

/* As `salvo stat` finds one whose writer stands between the count and the bucket, or a damaged one.
 */
static void buckets_that_do_not_add_up_say_the_maximum(void **state)
{
    salvo_hist_reset(&hist);
    salvo_hist_record_n(&hist, 1000, 10);
    hist.count++;
    hist.max = 7000;
    assert_int_equal(salvo_hist_quantile(&hist, 0.5), 1000);
    assert_int_equal(salvo_hist_quantile(&hist, 0.999), 7000);
    hist.count = UINT64_MAX;
    assert_int_equal(salvo_hist_quantile(&hist, 1), 7000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bucket_begins_where_the_last_ends),
        cmocka_unit_test(an_empty_histogram_says_zero),
        cmocka_unit_test(a_value_above_the_range_is_clamped_and_counted),
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(quantiles_are_within_a_thousandth_and_merging_changes_nothing),
        cmocka_unit_test(buckets_that_do_not_add_up_say_the_maximum),
        cmocka_unit_test(merging_an_empty_one_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
