/* The latencies and the kinds of failure that the generator hands to who writes a line each
 * second. */
#include "base/cpu.h"
#include "bench/load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static void what_the_generator_leaves_at_its_end_is_taken_once(void **state)
{
    static struct scene scene;

    scene_begin(&scene);
    record(&scene, 1, 7);
    salvo_load_live_ask(&scene.live);
    swap(&scene); /* heard, and not taken yet */
    record(&scene, 2, 5);
    salvo_load_live_end(&scene.live);
    assert_true(take(&scene));
    assert_int_equal(scene.line.count, 12);
    assert_int_equal(scene.line.max, 2);
    salvo_load_live_ask(&scene.live); /* nobody hears it */
    assert_true(take(&scene));
    assert_int_equal(scene.line.count, 12);
}

static const char *errors(const struct salvo_load_live *live)
{
    static char text[160];

    salvo_load_live_errors(live, text, sizeof(text));
    return text;
}

/* What the generator does with `times` failures of a kind, and at the end of its turn. */
static void fail_as(struct salvo_load_live *live, unsigned index, uint64_t count, uint64_t failed)
{
    salvo_load_live_count_kind(live, index, count);
    atomic_store(&live->failed, failed);
}

static void a_line_names_the_most_frequent_kinds_of_failure(void **state)
{
    static struct scene scene;
    struct salvo_load_live *live = &scene.live;

    scene_begin(&scene);
    assert_string_equal(errors(live), "errors 0");
    salvo_load_live_add_kind(live, "no_route");
    salvo_load_live_count_kind(live, 0, 1);
    assert_string_equal(errors(live), "errors 1: no_route 1"); /* in the midst of a turn */
    fail_as(live, 0, 3, 3);
    assert_string_equal(errors(live), "errors 3: no_route 3");
    salvo_load_live_add_kind(live, "refused_13");
    assert_string_equal(errors(live), "errors 3: no_route 3"); /* before its count */
    fail_as(live, 1, 3, 6);
    assert_string_equal(errors(live), "errors 6: no_route 3, refused_13 3");
    fail_as(live, 1, 4, 7);
    assert_string_equal(errors(live), "errors 7: refused_13 4, no_route 3");
    salvo_load_live_add_kind(live, "timed_out");
    salvo_load_live_count_kind(live, 2, 5);
    atomic_store(&live->timed_out, 5);
    assert_string_equal(errors(live), "errors 12: timed_out 5, refused_13 4, others 3");
    atomic_store(&live->unsent, 2); /* of kinds that found the table full */
    assert_string_equal(errors(live), "errors 14: timed_out 5, refused_13 4, others 5");
}

static void a_line_of_the_longest_names_and_counts_has_its_end(void **state)
{
    static struct scene scene;
    char small[20];

    scene_begin(&scene);
    for (unsigned i = 0; i < SALVO_LOAD_KINDS_MAX; i++) {
        salvo_load_live_add_kind(&scene.live, "unsent_earlier_failed");
        salvo_load_live_count_kind(&scene.live, i, 100000000000000000);
    }
    assert_string_equal(errors(&scene.live),
                        "errors 4800000000000000000: unsent_earlier_failed 100000000000000000, "
                        "unsent_earlier_failed 100000000000000000, others 4600000000000000000");
    salvo_load_live_errors(&scene.live, small, sizeof(small));
    assert_string_equal(small, "errors 480000000000");
}

#define KINDS_COUNTED 100000u

static void *count_kinds(void *arg)
{
    struct salvo_load_live *live = arg;
    char name[16];

    for (unsigned i = 0; i < SALVO_LOAD_KINDS_MAX; i++) {
        snprintf(name, sizeof(name), "kind_%u", i);
        salvo_load_live_add_kind(live, name);
        for (unsigned n = 1; n <= KINDS_COUNTED / (i + 1); n++)
            salvo_load_live_count_kind(live, i, n);
    }
    return NULL;
}

/* For ThreadSanitizer, and for names that are seen half. */
static void kinds_are_followed_while_they_come(void **state)
{
    static struct scene scene;
    pthread_t generator;

    scene_begin(&scene);
    assert_int_equal(salvo_thread_start(&generator, "generator", count_kinds, &scene.live), 0);
    do {
        assert_true(strcmp(errors(&scene.live), "errors 0") == 0 ||
                    strstr(errors(&scene.live), ": kind_0 ") != NULL);
    } while (atomic_load(&scene.live.kinds_count) < SALVO_LOAD_KINDS_MAX);
    salvo_thread_join(generator);
    assert_non_null(strstr(errors(&scene.live), ": kind_0 100000, kind_1 50000, others "));
}

static void *count_one_kind(void *arg)
{
    struct salvo_load_live *live = arg;

    salvo_load_live_add_kind(live, "kind");
    for (unsigned n = 1; n <= 20 * KINDS_COUNTED; n++) {
        salvo_load_live_count_kind(live, 0, n);
        atomic_store_explicit(&live->failed, n, memory_order_release); /* as load_publish */
    }
    return NULL;
}

static void of_one_kind_there_are_no_others(void **state)
{
    static struct scene scene;
    pthread_t generator;

    scene_begin(&scene);
    assert_int_equal(salvo_thread_start(&generator, "generator", count_one_kind, &scene.live), 0);
    do {
        assert_null(strstr(errors(&scene.live), "others"));
    } while (atomic_load(&scene.live.failed) < 20 * KINDS_COUNTED);
    salvo_thread_join(generator);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_all_up_to_its_end_and_nothing_older),
        cmocka_unit_test(nothing_is_lost_when_the_generator_answers_after_the_line),
        cmocka_unit_test(what_the_generator_leaves_at_its_end_is_taken_once),
        cmocka_unit_test(a_line_names_the_most_frequent_kinds_of_failure),
        cmocka_unit_test(a_line_of_the_longest_names_and_counts_has_its_end),
        cmocka_unit_test(kinds_are_followed_while_they_come),
        cmocka_unit_test(of_one_kind_there_are_no_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
