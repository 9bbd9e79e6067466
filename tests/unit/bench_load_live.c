/* The latencies that the generator hands to who writes a line each second. */
#include "bench/load.h"

#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct scene {
    struct salvo_load_live live;
    struct salvo_hist line; /* what the follower has */
    uint32_t swaps;         /* the generator's */
};

static void scene_begin(struct scene *scene)
{
    scene->swaps = 0;
    salvo_load_live_init(&scene->live);
    salvo_hist_reset(&scene->line);
}

static void record(struct scene *scene, uint64_t latency_ns, unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        salvo_hist_record(&scene->live.hists[scene->swaps % 2], latency_ns);
}

/* A turn of the generator. */
static void swap(struct scene *scene)
{
    scene->swaps = salvo_load_live_swap(&scene->live, scene->swaps);
}

static bool take(struct scene *scene)
{
    return salvo_load_live_take(&scene->live, &scene->line);
}

static void a_line_has_all_up_to_its_end_and_nothing_older(void **state)
{
    static struct scene scene;

    scene_begin(&scene);
    for (unsigned second = 1; second <= 5; second++) {
        record(&scene, second, 100);
        swap(&scene); /* nobody has asked */
        record(&scene, second, second);
        salvo_load_live_ask(&scene.live);
        assert_false(take(&scene)); /* it has not been heard */
        record(&scene, second, 10);
        swap(&scene);
        assert_true(take(&scene));
        assert_int_equal(scene.line.count, 110 + second);
        assert_int_equal(scene.line.min, second);
        assert_int_equal(scene.line.max, second);
        salvo_hist_reset(&scene.line);
    }
}

static void nothing_is_lost_when_the_generator_answers_after_the_line(void **state)
{
    static struct scene scene;

    scene_begin(&scene);
    record(&scene, 1, 7);
    salvo_load_live_ask(&scene.live);
    assert_false(take(&scene));
    salvo_load_live_ask(&scene.live); /* the next line's end: still not heard */
    assert_false(take(&scene));
    swap(&scene);
    record(&scene, 2, 5);
    assert_true(take(&scene));
    assert_int_equal(scene.line.count, 7);
    assert_int_equal(scene.line.max, 1);
    salvo_load_live_ask(&scene.live);
    swap(&scene);
    assert_true(take(&scene));
    assert_int_equal(scene.line.count, 12);
    assert_true(take(&scene)); /* no more than once */
    assert_int_equal(scene.line.count, 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_all_up_to_its_end_and_nothing_older),
        cmocka_unit_test(nothing_is_lost_when_the_generator_answers_after_the_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
