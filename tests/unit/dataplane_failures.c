/* Ordered failures, against a list that forgets nothing. */
#include "tests/unit/unit.h"

#include "base/random.h"
#include "dataplane/failures.h"

#define OUT_MAX  37u
#define SHARDS   6u
#define TOPICS   2u
#define FAILURES 20000u

static uint64_t memory[512];

static void init(struct salvo_failures *failures, uint32_t messages_out_max)
{
    assert_in_range(salvo_failures_memory_size(messages_out_max), 1, sizeof(memory));
    salvo_failures_init(failures, messages_out_max, memory);
}

static void fails(struct salvo_failures *failures, uint32_t topic, uint32_t shard, uint32_t event)
{
    failures->number++;
    salvo_failures_add(failures, topic, shard, event);
}

static void a_failure_holds_until_it_was_polled(void **state)
{
    struct salvo_failures failures;

    (void)state;
    init(&failures, 1);
    assert_false(salvo_failures_before(&failures, 0, 0, 0)); /* as the memory is, all zero */
    fails(&failures, 3, 77, 1);
    assert_true(salvo_failures_before(&failures, 3, 77, 0));
    assert_false(salvo_failures_before(&failures, 3, 78, 0));
    assert_false(salvo_failures_before(&failures, 4, 77, 0));
    assert_false(salvo_failures_before(&failures, 3, 77, 1));
    fails(&failures, 3, 77, 2);
    assert_true(salvo_failures_before(&failures, 3, 77, 1));
    assert_false(salvo_failures_before(&failures, 3, 77, 2));
}

static void what_failed_at_once_began_with_the_first(void **state)
{
    struct salvo_failures failures;

    (void)state;
    init(&failures, 4);
    fails(&failures, 0, 5, 1);
    fails(&failures, 0, 5, 1);
    assert_true(salvo_failures_before(&failures, 0, 5, 0));
    assert_false(salvo_failures_before(&failures, 0, 5, 1)); /* the first was polled */
}

static void a_new_submitter_begins_with_none(void **state)
{
    struct salvo_failures failures;

    (void)state;
    init(&failures, 4);
    for (uint32_t i = 0; i < 3; i++)
        fails(&failures, 0, i, 1);
    salvo_failures_clear(&failures);
    for (uint32_t i = 0; i < 3; i++)
        assert_false(salvo_failures_before(&failures, 0, i, 0));
    fails(&failures, 0, 1, 1);
    assert_true(salvo_failures_before(&failures, 0, 1, 0));
}

/* As many alive as there may be, over and over, past the wrap of numbers and indices. */
static void it_says_what_a_list_of_all_says(void **state)
{
    static struct salvo_failure all[FAILURES];
    struct salvo_failures failures;
    struct salvo_random random;
    uint64_t seed;
    uint32_t count = 0, first = 0, event = 0, stamp = UINT32_MAX - FAILURES / 2;

    (void)state;
    seed = unit_seed(3);
    print_message("seed %llu\n", (unsigned long long)seed);
    salvo_random_init(&random, seed);
    init(&failures, OUT_MAX);
    failures.number = stamp;
    failures.first = failures.next = UINT32_MAX - FAILURES / 4;
    while (count < FAILURES) {
        uint32_t topic = (uint32_t)salvo_random_below(&random, TOPICS);
        uint32_t shard = (uint32_t)salvo_random_below(&random, SHARDS);
        bool before = false, same = false;

        if (salvo_random_chance(&random, 1, 4))
            stamp += (uint32_t)salvo_random_below(&random, failures.number - stamp + 1);
        while (first < count && (int32_t)(all[first].number - stamp) <= 0)
            first++;
        for (uint32_t i = first; i < count; i++)
            before |= all[i].topic == topic && all[i].shard_hash == shard;
        assert_int_equal(salvo_failures_before(&failures, topic, shard, stamp), before);
        failures.number++;
        if (salvo_random_chance(&random, 1, 2) || count - first == OUT_MAX)
            continue; /* no ordered message */
        event += (uint32_t)salvo_random_below(&random, 2);
        salvo_failures_add(&failures, topic, shard, event);
        for (uint32_t i = first; i < count; i++)
            same |= all[i].topic == topic && all[i].shard_hash == shard && all[i].event == event;
        if (!same)
            all[count++] = (struct salvo_failure){topic, shard, failures.number, event, 0};
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_holds_until_it_was_polled),
        cmocka_unit_test(what_failed_at_once_began_with_the_first),
        cmocka_unit_test(a_new_submitter_begins_with_none),
        cmocka_unit_test(it_says_what_a_list_of_all_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
