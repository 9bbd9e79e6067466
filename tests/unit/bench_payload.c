/* Payloads: sizes stay in range, the same seed gives the same bytes, bodies differ, and the
 * compressibility dial holds for zlib. */
#include "bench/payload.h"

#include <errno.h>
#include <libdeflate.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct salvo_payload_conf conf_of(uint64_t size_min, uint64_t size_max, double share)
{
    return (struct salvo_payload_conf){
        .size_min = size_min, .size_max = size_max, .compressibility = share, .seed = 7};
}

static void sizes_stay_in_range_and_reach_both_ends(void **state)
{
    struct salvo_payload_conf conf = conf_of(3, 9, 0);
    struct salvo_payload payload;
    struct salvo_payload_draw draw;
    unsigned seen[10] = {0};

    assert_int_equal(salvo_payload_init(&payload, &conf), 0);
    for (unsigned i = 0; i < 1000; i++) {
        salvo_payload_next(&payload, &draw);
        assert_in_range(draw.size, 3, 9);
        assert_int_equal(draw.number, i);
        seen[draw.size]++;
    }
    for (unsigned size = 3; size <= 9; size++)
        assert_true(seen[size] > 50);
    salvo_payload_deinit(&payload);
}

static void impossible_settings_are_refused(void **state)
{
    struct salvo_payload_conf confs[] = {
        conf_of(0, 5, 0),   conf_of(9, 3, 0),           conf_of(1, 1, -0.1),
        conf_of(1, 1, 1.1), conf_of(1, 1, (double)NAN), conf_of(1, UINT64_C(1) << 40, 0),
    };
    struct salvo_payload payload;

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(confs); i++)
        assert_int_equal(salvo_payload_init(&payload, &confs[i]), -EINVAL);
}

static void one_seed_gives_one_sequence(void **state)
{
    struct salvo_payload_conf conf = conf_of(1, 3000, 0.3);
    struct salvo_payload a, b;
    struct salvo_payload_draw draw_a, draw_b;
    static uint8_t body_a[3000], body_b[3000];

    conf.keys = 50;
    conf.tags[0] = "red";
    conf.tags[1] = "blue";
    conf.tags_count = 2;
    assert_int_equal(salvo_payload_init(&a, &conf), 0);
    assert_int_equal(salvo_payload_init(&b, &conf), 0);
    for (unsigned i = 0; i < 500; i++) {
        salvo_payload_next(&a, &draw_a);
        salvo_payload_next(&b, &draw_b);
        assert_int_equal(draw_a.size, draw_b.size);
        assert_string_equal(draw_a.key, draw_b.key);
        assert_string_equal(draw_a.tag, draw_b.tag);
        salvo_payload_fill(&a, &draw_a, body_a);
        salvo_payload_fill(&b, &draw_b, body_b);
        assert_memory_equal(body_a, body_b, draw_a.size);
    }
    salvo_payload_deinit(&a);
    salvo_payload_deinit(&b);
}

/* Nothing of a body comes again within 64 KiB, twice zlib's window, and no two laps of the pool
 * start at one place. */
static void nothing_repeats_within_reach(void **state)
{
    struct salvo_payload_conf conf = conf_of(128, 128, 0);
    struct salvo_payload payload;
    struct salvo_payload_draw draw;
    uint64_t end = 0, lap_bytes = 0, starts[8];
    unsigned laps = 0;

    assert_int_equal(salvo_payload_init(&payload, &conf), 0);
    salvo_payload_next(&payload, &draw);
    while (laps < SALVO_ARRAY_LENGTH(starts)) {
        end = draw.pool_offset + draw.size;
        lap_bytes += draw.size;
        salvo_payload_next(&payload, &draw);
        if (draw.pool_offset == end)
            continue;
        assert_true(lap_bytes >= UINT64_C(64) * 1024);
        for (unsigned i = 0; i < laps; i++)
            assert_int_not_equal(starts[i], draw.pool_offset);
        starts[laps++] = draw.pool_offset;
        lap_bytes = 0;
    }
    salvo_payload_deinit(&payload);
}

static void bodies_differ_even_when_wholly_compressible(void **state)
{
    struct salvo_payload_conf conf = conf_of(16, 16, 1);
    struct salvo_payload payload;
    struct salvo_payload_draw draw;
    uint8_t body[16], last[16] = {0xff};

    assert_int_equal(salvo_payload_init(&payload, &conf), 0);
    for (unsigned i = 0; i < 1000; i++) {
        salvo_payload_next(&payload, &draw);
        salvo_payload_fill(&payload, &draw, body);
        assert_memory_not_equal(body, last, sizeof(body));
        memcpy(last, body, sizeof(body));
    }
    salvo_payload_deinit(&payload);
}

static void keys_and_tags_are_spread(void **state)
{
    struct salvo_payload_conf conf = conf_of(1, 1, 0);
    struct salvo_payload payload;
    struct salvo_payload_draw draw;
    unsigned keys[4] = {0}, tags[2] = {0};

    conf.keys = 4;
    conf.tags[0] = "A";
    conf.tags[1] = "B";
    conf.tags_count = 2;
    assert_int_equal(salvo_payload_init(&payload, &conf), 0);
    for (unsigned i = 0; i < 4000; i++) {
        salvo_payload_next(&payload, &draw);
        assert_int_equal(draw.key[0], 'k');
        keys[strtoul(draw.key + 1, NULL, 10)]++;
        tags[draw.tag[0] - 'A']++;
    }
    for (unsigned k = 0; k < 4; k++)
        assert_in_range(keys[k], 850, 1150);
    assert_in_range(tags[0], 1850, 2150);
    salvo_payload_deinit(&payload);
}

/* The share that zlib level 6 takes away is the dial within 2.5 %, from 4 KiB up. Short bodies also
 * pay for zlib's frame and its code table, some 70 bytes: 7 % of 1 KiB. */
static void compressibility_holds_for_zlib(void **state)
{
    static const uint64_t sizes[] = {1024, 4096, 10000, 65536, 1048576};
    struct libdeflate_compressor *zlib = libdeflate_alloc_compressor(6);

    assert_non_null(zlib);
    for (size_t s = 0; s < SALVO_ARRAY_LENGTH(sizes); s++) {
        for (int tenth = 0; tenth <= 10; tenth++) {
            struct salvo_payload_conf conf = conf_of(sizes[s], sizes[s], tenth / 10.0);
            size_t bound = libdeflate_zlib_compress_bound(zlib, sizes[s]);
            struct salvo_payload payload;
            struct salvo_payload_draw draw;
            uint8_t *body = malloc(sizes[s]), *small = malloc(bound);
            double saved, off_max = sizes[s] < 4096 ? 0.07 : 0.025;

            assert_int_equal(salvo_payload_init(&payload, &conf), 0);
            salvo_payload_next(&payload, &draw);
            salvo_payload_fill(&payload, &draw, body);
            saved = 1 - (double)libdeflate_zlib_compress(zlib, body, sizes[s], small, bound) /
                            (double)sizes[s];
            if (fabs(saved - tenth / 10.0) > off_max)
                fail_msg("size %lu, dial %.1f: zlib saved %.3f", sizes[s], tenth / 10.0, saved);
            salvo_payload_deinit(&payload);
            free(body);
            free(small);
        }
    }
    libdeflate_free_compressor(zlib);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_stay_in_range_and_reach_both_ends),
        cmocka_unit_test(impossible_settings_are_refused),
        cmocka_unit_test(one_seed_gives_one_sequence),
        cmocka_unit_test(nothing_repeats_within_reach),
        cmocka_unit_test(bodies_differ_even_when_wholly_compressible),
        cmocka_unit_test(keys_and_tags_are_spread),
        cmocka_unit_test(compressibility_holds_for_zlib),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
