/* Open batches: who may share one, when one is full, and that closing one leaves the others as they
 * were. */
#include "tests/unit/unit.h"

#include "dataplane/batch.h"
#include "dataplane/route.h"

#define OPEN  4u
#define BYTES 256u

static struct salvo_batches batches;
static struct salvo_batch open_batches[OPEN];
static uint8_t buffers[OPEN * BYTES];

static void init(enum salvo_batch_mode mode, uint32_t count_max)
{
    const struct salvo_batch_limits limits = {
        .mode = mode,
        .linger_ns = 1000,
        .bytes_max = BYTES,
        .count_max = count_max,
        .open_max = OPEN,
    };

    salvo_batches_init(&batches, &limits, open_batches, buffers, BYTES);
}

static struct salvo_batch_key key_of(uint32_t topic)
{
    return (struct salvo_batch_key){.topic = topic, .queue = SALVO_QUEUE_NONE, .budget_ns = 5};
}

static struct salvo_batch *open_one(uint32_t topic, int64_t now_ns, int64_t deadline_ns)
{
    struct salvo_batch_key key = key_of(topic);

    return salvo_batch_open(&batches, &key, now_ns, deadline_ns);
}

static struct salvo_batch *find(uint32_t topic)
{
    struct salvo_batch_key key = key_of(topic);

    return salvo_batch_find(&batches, &key);
}

static struct salvo_batch_item item_of(const char *body, const char *properties)
{
    return (struct salvo_batch_item){
        .flag = 7,
        .body = (const uint8_t *)body,
        .body_size = (uint32_t)strlen(body),
        .properties = (const uint8_t *)properties,
        .properties_size = (uint16_t)strlen(properties),
    };
}

static void items_lie_in_wire_form(void **state)
{
    static const char *const bodies[] = {"one", "two2", "three"};
    struct salvo_batch *batch;
    struct salvo_reader r;
    struct salvo_batch_item item;

    (void)state;
    init(SALVO_BATCH_MODE_NATURAL, 100);
    batch = open_one(1, 0, 10);
    for (int i = 0; i < 3; i++) {
        item = item_of(bodies[i], "A\x01"
                                  "b\x02");
        assert_true(salvo_batch_add(&batches, batch, &item));
        assert_int_equal(batch->count, i + 1);
    }
    assert_int_equal(batch->used, 3 * (SALVO_BATCH_ITEM_OVERHEAD + 4) + 12);
    r = salvo_reader_over(batch->bytes, batch->used);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(salvo_batch_item_read(&r, &item), 0);
        assert_int_equal(item.flag, 7);
        assert_int_equal(item.body_size, strlen(bodies[i]));
        assert_memory_equal(item.body, bodies[i], item.body_size);
        assert_int_equal(item.properties_size, 4);
    }
    assert_int_equal(salvo_batch_item_read(&r, &item), -2); /* -ENOENT */
}

/* Each part of the key keeps messages apart. */
static void only_equal_keys_share(void **state)
{
    const struct salvo_batch_key base = {.topic = 1, .queue = 2, .flags = 3, .budget_ns = 4};
    struct salvo_batch *batch;

    (void)state;
    init(SALVO_BATCH_MODE_LINGER, 100);
    batch = salvo_batch_open(&batches, &base, 0, 10);
    assert_ptr_equal(salvo_batch_find(&batches, &base), batch);
    for (int part = 0; part < 4; part++) {
        struct salvo_batch_key key = base;

        key.topic += part == 0;
        key.queue += part == 1;
        key.flags += part == 2;
        key.budget_ns += part == 3;
        assert_null(salvo_batch_find(&batches, &key));
    }
}

static void full_by_count(void **state)
{
    struct salvo_batch_item item = item_of("x", "");
    struct salvo_batch *batch;

    (void)state;
    init(SALVO_BATCH_MODE_LINGER, 3);
    batch = open_one(1, 0, 10);
    for (int i = 0; i < 3; i++) {
        assert_false(batch->full);
        assert_true(salvo_batch_add(&batches, batch, &item));
    }
    assert_true(batch->full);
    assert_null(find(1)); /* a full one takes nobody */
    assert_ptr_not_equal(open_one(1, 0, 10), batch);
    assert_ptr_equal(find(1), &open_batches[1]);
}

/* Every size of item at the end: it goes in when it fits to the byte, and else changes nothing but
 * `full`. */
static void full_by_bytes_to_the_byte(void **state)
{
    char body[BYTES + 1];

    (void)state;
    memset(body, 'b', BYTES);
    body[BYTES] = 0;
    for (uint32_t first = 0; first + 2 * SALVO_BATCH_ITEM_OVERHEAD <= BYTES; first++) {
        for (int over = 0; over < 2; over++) {
            struct salvo_batch_item item;
            struct salvo_batch *batch;
            uint32_t left = BYTES - 2 * SALVO_BATCH_ITEM_OVERHEAD - first;

            init(SALVO_BATCH_MODE_LINGER, 100);
            open_one(9, 0, 10);
            batch = open_one(1, 0, 10);
            memset(buffers + 2 * BYTES, 0xcc, BYTES);
            item = item_of(body + BYTES - first, "");
            assert_true(salvo_batch_add(&batches, batch, &item));
            item = item_of(body + BYTES - left, "");
            item.body_size += (uint32_t)over;
            item.body -= over;
            assert_int_equal(salvo_batch_add(&batches, batch, &item), !over);
            assert_int_equal(batch->count, over ? 1 : 2);
            assert_int_equal(batch->used, over ? SALVO_BATCH_ITEM_OVERHEAD + first : BYTES);
            assert_int_equal(batch->full, over);
            for (uint32_t i = 0; i < BYTES; i++)
                assert_int_equal(buffers[2 * BYTES + i], 0xcc);
        }
    }
}

static void add_to_a_full_one(void *arg)
{
    struct salvo_batch_item item = item_of("x", "");
    struct salvo_batch *batch = open_one(1, 0, 10);

    (void)arg;
    batch->full = true;
    salvo_batch_add(&batches, batch, &item);
}

static void open_too_many(void *arg)
{
    (void)arg;
    for (uint32_t i = 0; i <= OPEN; i++)
        open_one(i, 0, 10);
}

static void wrong_use_stops_the_process(void **state)
{
    (void)state;
    init(SALVO_BATCH_MODE_LINGER, 3);
    assert_true(unit_aborts(add_to_a_full_one, NULL));
    assert_true(unit_aborts(open_too_many, NULL));
}

/* Any one of four closes: the others keep order and content, and no two ever share a buffer. */
static void closing_one_leaves_the_others_alone(void **state)
{
    (void)state;
    for (uint32_t gone = 0; gone < OPEN; gone++) {
        init(SALVO_BATCH_MODE_LINGER, 100);
        for (int round = 0; round < 3; round++) {
            while (batches.count < OPEN) {
                uint32_t topic = (uint32_t)round * 10 + batches.count;
                char body[8] = {(char)('a' + (int)topic), 0};
                struct salvo_batch_item item = item_of(body, "");
                struct salvo_batch *batch = open_one(topic, topic, 100 + topic);

                assert_int_equal(batch->count, 0);
                assert_true(salvo_batch_add(&batches, batch, &item));
            }
            for (uint32_t i = 0; i < OPEN; i++) {
                assert_int_equal(open_batches[i].bytes[20], 'a' + (int)open_batches[i].key.topic);
                for (uint32_t k = 0; k < i; k++)
                    assert_ptr_not_equal(open_batches[i].bytes, open_batches[k].bytes);
            }
            salvo_batch_close(&batches, &open_batches[gone]);
            assert_int_equal(batches.count, OPEN - 1);
            for (uint32_t i = 1; i < batches.count; i++)
                assert_true(open_batches[i - 1].due_ns < open_batches[i].due_ns); /* oldest first */
            for (uint32_t i = 0; i < batches.count; i++)
                assert_ptr_equal(find(open_batches[i].key.topic), &open_batches[i]);
        }
    }
}

static void next_is_the_earliest_that_is_due(void **state)
{
    (void)state;
    init(SALVO_BATCH_MODE_LINGER, 100);
    assert_int_equal(salvo_batches_next_ns(&batches), INT64_MAX);
    open_one(1, 5000, 100000);
    assert_int_equal(salvo_batches_next_ns(&batches), 6000);
    open_one(2, 4000, 4500);
    assert_int_equal(salvo_batches_next_ns(&batches), 4250);
    open_batches[0].held = true; /* only its deadline is left to wait for */
    open_batches[1].held = true;
    open_batches[1].deadline_ns = 99000;
    assert_int_equal(salvo_batches_next_ns(&batches), 99000);
    init(SALVO_BATCH_MODE_NATURAL, 100);
    open_one(1, 5000, 100000);
    assert_int_equal(salvo_batches_next_ns(&batches), 100000);
}

/* Linger is 1,000: half of what is left of the shortest time is left for sending. */
static void a_batch_is_due_in_time_to_be_sent(void **state)
{
    struct salvo_batch *batch;

    (void)state;
    init(SALVO_BATCH_MODE_LINGER, 100);
    batch = open_one(1, 5000, 7000);
    assert_int_equal(batch->due_ns, 6000);
    salvo_batch_end_by(batch, 5100, 7100); /* later: no reason to hurry */
    assert_int_equal(batch->due_ns, 6000);
    assert_int_equal(batch->deadline_ns, 7000);
    salvo_batch_end_by(batch, 5100, 6500);
    assert_int_equal(batch->due_ns, 5800);
    assert_int_equal(batch->deadline_ns, 6500);
    salvo_batch_end_by(batch, 5700, 6400);
    assert_int_equal(batch->due_ns, 5800);
    assert_int_equal(batch->deadline_ns, 6400);
    assert_int_equal(open_one(2, 5000, 5500)->due_ns, 5250);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_lie_in_wire_form),
        cmocka_unit_test(only_equal_keys_share),
        cmocka_unit_test(full_by_count),
        cmocka_unit_test(full_by_bytes_to_the_byte),
        cmocka_unit_test(wrong_use_stops_the_process),
        cmocka_unit_test(closing_one_leaves_the_others_alone),
        cmocka_unit_test(a_batch_is_due_in_time_to_be_sent),
        cmocka_unit_test(next_is_the_earliest_that_is_due),
    };

    return cmocka_run_group_tests_name("dataplane/batch", tests, NULL, NULL);
}
