/* control/plan: whether the host has what is planned. */
#include "tests/unit/unit.h"

#include "codec/compress.h"
#include "control/plan.h"

#include <errno.h>

#define GIB (UINT64_C(1) << 30)

static char error[SALVO_CONFIG_ERROR_MAX];

static const struct salvo_plan_row *row(const struct salvo_plan *plan, const char *what)
{
    for (uint32_t i = 0; i < plan->rows_count; i++)
        if (strcmp(plan->rows[i].what, what) == 0)
            return &plan->rows[i];
    return NULL;
}

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

/* Buffers of batches lie with the chunks and are as long, but where they cannot become chunks. */
static void the_memory_of_batches_follows_their_options(void **state)
{
    static const struct {
        const char *name, *value;
        uint64_t batches_memory;
    } steps[] = {
        {"batch", "off", 0},
        {"batch", "natural", 64 * SALVO_KIB(64)},
        {"zero_copy_min", "16KiB", 64 * SALVO_KIB(32)},
        {"zero_copy_min", "0", 64 * SALVO_KIB(64)},
        {"batch_bytes_max", "8KiB", 64 * SALVO_KIB(8)},
        {"batches_open_max", "10", 10 * SALVO_KIB(8)},
    };
    struct salvo_config config;
    struct salvo_plan plan;

    salvo_config_init(&config);
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(steps); i++) {
        assert_int_equal(
            salvo_config_set(&config, steps[i].name, steps[i].value, SALVO_CONFIG_ARGUMENT, error),
            0);
        assert_int_equal(salvo_plan_make(&config, &plan, error), 0);
        assert_int_equal(plan.chunks_memory, 512 * SALVO_KIB(64) + steps[i].batches_memory);
    }
}

/* salvo's own TCP takes far more than a lane, and grows with the brokers. */
static void with_dpdk_the_memory_of_its_tcp_has_a_row(void **state)
{
    static const char *const brokers[] = {"1", "64", "4096"};
    struct salvo_config config;
    struct salvo_plan plan;
    uint64_t before = 0;

    (void)state;
    salvo_config_init(&config);
    assert_int_equal(salvo_plan_make(&config, &plan, error), 0);
    assert_null(row(&plan, "salvo's own TCP of a lane"));
    assert_int_equal(salvo_config_set(&config, "net", "dpdk", SALVO_CONFIG_ARGUMENT, error), 0);
    assert_int_equal(
        salvo_config_set(&config, "dpdk_device", "net_x", SALVO_CONFIG_ARGUMENT, error), 0);
    assert_int_equal(
        salvo_config_set(&config, "dpdk_address", "10.0.0.1/24", SALVO_CONFIG_ARGUMENT, error), 0);
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(brokers); i++) {
        assert_int_equal(
            salvo_config_set(&config, "brokers_max", brokers[i], SALVO_CONFIG_ARGUMENT, error), 0);
        assert_int_equal(salvo_plan_make(&config, &plan, error), 0);
        assert_true(row(&plan, "salvo's own TCP of a lane")->size > before);
        before = row(&plan, "salvo's own TCP of a lane")->size;
    }
    assert_true(before > 4 * GIB);
}

/* What a lane's compressor would refuse is refused here, with the range. */
static void a_compress_level_must_be_one_of_the_compression(void **state)
{
    static const struct {
        const char *compress, *level, *refusal;
    } steps[] = {
        {"zlib", "12", NULL},
        {"zlib", "13", "compress_level is 13, but compress zlib has levels 0 to 12"},
        {"lz4", "1", NULL},
        {"lz4", "5", "compress_level is 5, but compress lz4 has levels 0 to 1"},
        {"zstd", "19", NULL},
        {"zstd", "22", "compress_level is 22, but compress zstd has levels 0 to 19"},
        {"none", "22", NULL}, /* nobody asks */
    };
    struct salvo_config config;
    struct salvo_plan plan;

    salvo_config_init(&config);
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(steps); i++) {
        int r;

        assert_int_equal(
            salvo_config_set(&config, "compress", steps[i].compress, SALVO_CONFIG_ARGUMENT, error),
            0);
        assert_int_equal(salvo_config_set(&config, "compress_level", steps[i].level,
                                          SALVO_CONFIG_ARGUMENT, error),
                         0);
        r = salvo_plan_make(&config, &plan, error);
        if (r == 0 && config.compress != SALVO_COMPRESS_NONE) {
            struct salvo_compressor *compressor;

            assert_int_equal(salvo_compressor_new(&compressor, plan.lane.compression,
                                                  plan.lane.compress_level, 1024),
                             0);
            salvo_compressor_free(compressor);
        }
        assert_int_equal(r, steps[i].refusal == NULL ? 0 : -EINVAL);
        if (steps[i].refusal != NULL)
            assert_non_null(strstr(error, steps[i].refusal));
    }
}

static void a_number_that_no_cpu_has_is_told_from_a_list_that_is_none(void **state)
{
    static const struct {
        const char *lane_cpus, *says; /* NULL: it is taken, whatever this host has */
    } cases[] = {
        {"", NULL},
        {"0,16383", NULL},
        {"00000002", NULL},
        {"16384", "lane_cpus names CPU 16384, and no CPU has a number above 16383"},
        {"0,99999", "lane_cpus names CPU 99999, and no CPU"},
        {"18446744073709551616,1", "lane_cpus names CPU 18446744073709551616, and no CPU"},
        {"0,99999,", "single commas"},
        {"1-2", "single commas"},
        {"0,1,99999", "3 CPUs for 2 threads"},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        struct salvo_config config;
        struct salvo_plan plan;
        int r;

        salvo_config_init(&config);
        config.lanes = 2;
        snprintf(config.lane_cpus, sizeof(config.lane_cpus), "%s", cases[i].lane_cpus);
        r = salvo_plan_make(&config, &plan, error);
        assert_int_equal(r, cases[i].says == NULL ? 0 : -EINVAL);
        if (r && strstr(error, cases[i].says) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", error, cases[i].says);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_that_fits_is_taken),
        cmocka_unit_test(a_plan_that_is_larger_than_the_host_is_refused_with_the_remedy),
        cmocka_unit_test(free_huge_pages_count_where_they_are_wanted),
        cmocka_unit_test(the_memory_of_batches_follows_their_options),
        cmocka_unit_test(with_dpdk_the_memory_of_its_tcp_has_a_row),
        cmocka_unit_test(a_compress_level_must_be_one_of_the_compression),
        cmocka_unit_test(a_number_that_no_cpu_has_is_told_from_a_list_that_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
