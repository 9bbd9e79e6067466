/* The ring against a plain counter: what comes out is what went in, in order, whatever the fill
 * level, the split and the place of the counters; alone and with a thread at each end. */
#include "tests/unit/unit.h"

#include "base/cpu.h"
#include "base/random.h"
#include "dataplane/ring.h"

#include <stdio.h>

#define RING_SIZE  UINT64_C(1024)
#define LARGE_SIZE (4 * SALVO_RING_WARM)

static _Alignas(64) uint8_t ring_memory[LARGE_SIZE];

static const uint64_t positions[] = {
    0, 8, RING_SIZE - 8, UINT64_MAX - 7, UINT64_MAX - RING_SIZE + 1, UINT64_MAX - 3 * RING_SIZE + 9,
};

/* A record that says its number and its size, in every byte. */
static void put(void *payload, uint32_t number, uint64_t size)
{
    memset(payload, (int)(number % 251), size);
}

static void take(struct salvo_ring *ring, uint32_t number, uint64_t size)
{
    uint32_t got;
    const uint8_t *payload = salvo_ring_peek(ring, &got);

    assert_non_null(payload);
    assert_int_equal((uintptr_t)payload & 7, 0);
    assert_in_range((uintptr_t)payload, (uintptr_t)ring->memory,
                    (uintptr_t)ring->memory + ring->size - got);
    assert_int_equal(got, size);
    for (uint32_t i = 0; i < got; i++)
        assert_int_equal(payload[i], number % 251);
    salvo_ring_advance(ring, got);
}

/* Fills up with records of one size from every starting point: as many fit as there is room for,
 * and all come out. */
static void every_size_at_every_place(void **state)
{
    (void)state;
    for (uint64_t position = 0; position < RING_SIZE; position += 8) {
        for (uint64_t size = 1; size <= RING_SIZE / 2 - 8;
             size = size < 40 ? size + 1 : size + 61) {
            struct salvo_ring ring;
            uint64_t record = salvo_ring_record_size(size);
            uint64_t to_end = RING_SIZE - position;
            /* Whole records up to the end, then from the front to where the oldest begins, which is
             * at the front when not one was put before the end. */
            uint64_t expected =
                to_end < record ? RING_SIZE / record : to_end / record + position / record;
            uint32_t n = 0;
            void *payload = NULL;

            salvo_ring_init(&ring, ring_memory, RING_SIZE,
                            UINT64_MAX - 4 * RING_SIZE + 1 + position);
            while (salvo_ring_claim(&ring, size, &payload) == 0) {
                put(payload, n++, size);
                salvo_ring_commit(&ring, size);
                assert_true(n <= expected);
            }
            assert_int_equal(n, expected);
            salvo_ring_publish(&ring);
            for (uint32_t i = 0; i < n; i++)
                take(&ring, i, size);
            assert_null(salvo_ring_peek(&ring, &(uint32_t){0}));
            salvo_ring_release(&ring);
            assert_true(salvo_ring_empty(&ring));
            /* Empty again: the largest claim fits wherever the counters stand. */
            assert_int_equal(salvo_ring_claim(&ring, RING_SIZE / 2 - 8, &payload), 0);
        }
    }
}

/* Every fill level: `fill` records are inside, then one goes out and one comes in, round and round,
 * over the wrap of the counters. */
static void every_fill_level_over_the_wrap(void **state)
{
    (void)state;
    for (size_t p = 0; p < SALVO_ARRAY_LENGTH(positions); p++) {
        for (uint32_t fill = 0; fill < RING_SIZE / 32; fill++) {
            struct salvo_ring ring;
            uint32_t in = 0;
            uint32_t out = 0;
            void *payload = NULL;

            salvo_ring_init(&ring, ring_memory, RING_SIZE, positions[p]);
            for (uint32_t step = 0; step < 200; step++) {
                while (in - out <= fill && salvo_ring_claim(&ring, 24, &payload) == 0) {
                    put(payload, in++, 24);
                    salvo_ring_commit(&ring, 24);
                }
                salvo_ring_publish(&ring);
                assert_true(in != out);
                take(&ring, out++, 24);
                salvo_ring_release(&ring);
            }
            assert_true(in > 199);
        }
    }
}

/* Random sizes, bursts, aborts and smaller commits against a queue of sizes. */
/* Room for up to eight records, of which some are made: the number behind them. */
static uint32_t put_burst(struct salvo_ring *ring, uint32_t number, uint64_t sizes[4096],
                          struct salvo_random *random, uint32_t *full)
{
    uint64_t count = 1 + salvo_random_below(random, 8);
    uint64_t size = 1 + salvo_random_below(random, 50); /* 8 x 64 is half the ring */
    struct salvo_ring_burst burst;

    if (salvo_ring_claim_burst(ring, count * salvo_ring_record_size(size), &burst) != 0) {
        ++*full;
        return number;
    }
    memset(burst.from, 0xee, (size_t)(burst.end - burst.from)); /* all of it may be written */
    for (uint64_t k = salvo_random_below(random, count + 1); k != 0; k--) {
        put(salvo_ring_burst_next(&burst, (uint32_t)size), number, size);
        sizes[number++ % 4096] = size;
    }
    salvo_ring_commit_burst(ring, &burst);
    return number;
}

static void random_work_against_a_list(void **state)
{
    struct salvo_random random;
    uint64_t seed = unit_seed(41);

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    salvo_random_init(&random, seed);
    for (size_t p = 0; p < SALVO_ARRAY_LENGTH(positions); p++) {
        struct salvo_ring ring;
        static uint64_t sizes[4096];
        uint32_t in = 0, published = 0, out = 0, full = 0;

        salvo_ring_init(&ring, ring_memory, RING_SIZE, positions[p]);
        for (int step = 0; step < 200000; step++) {
            uint64_t claimed = 1 + salvo_random_below(&random, RING_SIZE / 2 - 8);
            uint64_t used = 1 + salvo_random_below(&random, claimed);
            void *payload = NULL;

            if (salvo_random_chance(&random, 1, 4))
                claimed = used = 1 + salvo_random_below(&random, 40);
            switch (salvo_random_below(&random, 7)) {
            case 0:
            case 1:
                if (salvo_ring_claim(&ring, claimed, &payload) != 0) {
                    full++;
                    break;
                }
                memset(payload, 0xee, claimed); /* all that was claimed may be written */
                put(payload, in, used);
                if (salvo_random_chance(&random, 1, 5)) {
                    salvo_ring_abort(&ring);
                    break;
                }
                salvo_ring_commit(&ring, used);
                sizes[in++ % 4096] = used;
                break;
            case 2:
                salvo_ring_publish(&ring);
                published = in;
                break;
            case 3:
            case 4:
                if (out == published)
                    assert_null(salvo_ring_peek(&ring, &(uint32_t){0}));
                else {
                    take(&ring, out, sizes[out % 4096]);
                    out++;
                }
                break;
            case 5:
                salvo_ring_release(&ring);
                break;
            case 6:
                in = put_burst(&ring, in, sizes, &random, &full);
                break;
            }
        }
        assert_true(in > 10000 && full > 1000 && in - out < 200);
    }
}

static void committed_is_unseen_until_published(void **state)
{
    struct salvo_ring ring;
    void *payload = NULL;
    uint32_t size;

    (void)state;
    salvo_ring_init(&ring, ring_memory, RING_SIZE, 0);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(salvo_ring_claim(&ring, 10, &payload), 0);
        put(payload, i, 10);
        salvo_ring_commit(&ring, 10);
        assert_null(salvo_ring_peek(&ring, &size));
        assert_true(salvo_ring_empty(&ring));
    }
    salvo_ring_publish(&ring);
    assert_false(salvo_ring_empty(&ring));
    for (uint32_t i = 0; i < 3; i++)
        take(&ring, i, 10);
}

/* What was stepped over still lies there: its room is nobody's until release. */
static void room_comes_back_with_release_only(void **state)
{
    struct salvo_ring ring;
    void *payload = NULL;

    (void)state;
    salvo_ring_init(&ring, ring_memory, 64, 0);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(salvo_ring_claim(&ring, 8, &payload), 0);
        put(payload, i, 8);
        salvo_ring_commit(&ring, 8);
    }
    salvo_ring_publish(&ring);
    take(&ring, 0, 8);
    take(&ring, 1, 8);
    assert_int_equal(salvo_ring_claim(&ring, 8, &payload), SALVO_RING_FULL);
    salvo_ring_release(&ring);
    assert_int_equal(salvo_ring_claim(&ring, 24, &payload), 0);
    salvo_ring_abort(&ring);
    assert_int_equal(salvo_ring_claim(&ring, 8, &payload), 0);
}

/* An aborted claim adds no record; the filler in front of it may stay, once. */
static void an_abort_adds_no_record(void **state)
{
    struct salvo_ring ring;
    void *payload = NULL;

    (void)state;
    salvo_ring_init(&ring, ring_memory, 128, 128 - 40);
    assert_int_equal(salvo_ring_claim(&ring, 8, &payload), 0);
    put(payload, 3, 8);
    salvo_ring_commit(&ring, 8);
    salvo_ring_publish(&ring);
    assert_int_equal(salvo_ring_claim(&ring, 56, &payload), 0); /* 24 bytes to the end: padding */
    assert_ptr_equal(payload, ring_memory + 8);
    salvo_ring_abort(&ring);
    take(&ring, 3, 8);
    assert_null(salvo_ring_peek(&ring, &(uint32_t){0}));
    salvo_ring_release(&ring);
    assert_true(salvo_ring_empty(&ring));
    assert_int_equal(salvo_ring_claim(&ring, 56, &payload), 0);
    assert_ptr_equal(payload, ring_memory + 8);
    salvo_ring_abort(&ring);
    assert_int_equal(salvo_ring_claim(&ring, 16, &payload), 0);
    assert_ptr_equal(payload, ring_memory + 8);
    put(payload, 7, 16);
    salvo_ring_commit(&ring, 16);
    salvo_ring_publish(&ring);
    take(&ring, 7, 16);
    assert_null(salvo_ring_peek(&ring, &(uint32_t){0}));
}

/* --- the front of the memory ------------------------------------------------------------------ */

#define WARM_RECORD UINT64_C(1000)

static uint64_t put_one(struct salvo_ring *ring, uint32_t number)
{
    void *payload = NULL;

    assert_int_equal(salvo_ring_claim(ring, WARM_RECORD, &payload), 0);
    put(payload, number, WARM_RECORD);
    salvo_ring_commit(ring, WARM_RECORD);
    salvo_ring_publish(ring);
    return (uint64_t)((uint8_t *)payload - ring->memory);
}

static void what_never_fills_stays_at_the_front(void **state)
{
    (void)state;
    for (size_t p = 0; p < SALVO_ARRAY_LENGTH(positions); p++) {
        struct salvo_ring ring;
        uint64_t furthest = 0;

        salvo_ring_init(&ring, ring_memory, LARGE_SIZE, positions[p] & ~(LARGE_SIZE - 1));
        for (uint32_t i = 0; i < 2000; i++) {
            uint64_t index = put_one(&ring, i);

            furthest = SALVO_MAX(furthest, index);
            take(&ring, i, WARM_RECORD);
            salvo_ring_release(&ring);
        }
        assert_in_range(furthest, SALVO_RING_WARM / 2, SALVO_RING_WARM + WARM_RECORD);
    }
}

/* From wherever it began anew: as many records fit as ever, and come out. */
static void a_new_beginning_costs_no_room(void **state)
{
    (void)state;
    for (uint32_t before = 0; before < 150; before++) {
        struct salvo_ring ring;
        uint64_t record = salvo_ring_record_size(WARM_RECORD);
        uint32_t n = 0;
        void *payload = NULL;

        salvo_ring_init(&ring, ring_memory, LARGE_SIZE, 0);
        for (uint32_t i = 0; i < before; i++) {
            put_one(&ring, i);
            take(&ring, i, WARM_RECORD);
            salvo_ring_release(&ring);
        }
        for (; salvo_ring_claim(&ring, WARM_RECORD, &payload) == 0; n++) {
            put(payload, n, WARM_RECORD);
            salvo_ring_commit(&ring, WARM_RECORD);
        }
        assert_in_range(n, LARGE_SIZE / record - 1, LARGE_SIZE / record);
        salvo_ring_publish(&ring);
        for (uint32_t i = 0; i < n; i++)
            take(&ring, i, WARM_RECORD);
        assert_null(salvo_ring_peek(&ring, &(uint32_t){0}));
    }
}

/* A record that was not released, and one that was not read, stay as they are. */
static void it_begins_anew_only_when_all_was_given_back(void **state)
{
    struct salvo_ring ring;
    uint32_t size;
    uint8_t *first;
    uint32_t in = 0, out = 0;

    (void)state;
    salvo_ring_init(&ring, ring_memory, LARGE_SIZE, 0);
    put_one(&ring, in++);
    first = salvo_ring_peek(&ring, &size);
    assert_ptr_equal(first, ring_memory + 8);
    take(&ring, out++, WARM_RECORD); /* and not released */
    for (; in < 2 * SALVO_RING_WARM / WARM_RECORD; out++) {
        assert_in_range(put_one(&ring, in), in * WARM_RECORD, LARGE_SIZE);
        in++;
        take(&ring, out, WARM_RECORD);
    }
    for (uint32_t i = 0; i < WARM_RECORD; i++)
        assert_int_equal(first[i], 0);
    put_one(&ring, in++);
    salvo_ring_release(&ring); /* all but the last */
    while (in < 3 * SALVO_RING_WARM / WARM_RECORD) {
        assert_in_range(put_one(&ring, in), in * WARM_RECORD, LARGE_SIZE);
        in++;
    }
    for (; out < in; out++)
        take(&ring, out, WARM_RECORD);
    salvo_ring_look(&ring);
    salvo_ring_release(&ring);
    while (put_one(&ring, in++) != 8)
        assert_true(in < LARGE_SIZE / WARM_RECORD - 1);
    for (; out < in; out++)
        take(&ring, out, WARM_RECORD);
}

/* The claim that begins anew is given up: nothing is in the ring, and both sides know it. */
static void a_new_beginning_without_a_record_is_empty(void **state)
{
    struct salvo_ring ring;
    void *payload = NULL;
    uint32_t i = 0;

    (void)state;
    salvo_ring_init(&ring, ring_memory, LARGE_SIZE, 0);
    do {
        put_one(&ring, i);
        take(&ring, i++, WARM_RECORD);
        salvo_ring_release(&ring);
        assert_int_equal(salvo_ring_claim(&ring, WARM_RECORD, &payload), 0);
        salvo_ring_abort(&ring);
        salvo_ring_publish(&ring);
        assert_null(salvo_ring_peek(&ring, &(uint32_t){0}));
        assert_true(salvo_ring_empty(&ring));
        assert_true(i < LARGE_SIZE / WARM_RECORD);
    } while (payload != ring_memory + SALVO_RING_RECORD_HEADER);
}

static void wrong_use(void *arg)
{
    struct salvo_ring ring;
    struct salvo_ring_burst burst = {0};
    void *payload = NULL;

    salvo_ring_init(&ring, ring_memory, RING_SIZE, 0);
    switch (*(int *)arg) {
    case 0: /* a second claim */
        salvo_ring_claim(&ring, 8, &payload);
        salvo_ring_claim(&ring, 8, &payload);
        break;
    case 1: /* nothing */
        salvo_ring_claim(&ring, 0, &payload);
        break;
    case 2: /* over half */
        salvo_ring_claim(&ring, RING_SIZE / 2 - 7, &payload);
        break;
    case 3: /* commit of more than was claimed */
        salvo_ring_claim(&ring, 8, &payload);
        salvo_ring_commit(&ring, 9);
        break;
    case 4: /* commit without a claim */
        salvo_ring_commit(&ring, 1);
        break;
    case 5:
        salvo_ring_abort(&ring);
        break;
    case 6:
        salvo_ring_init(&ring, ring_memory, RING_SIZE + 8, 0);
        break;
    case 7:
        salvo_ring_init(&ring, ring_memory, RING_SIZE, 4);
        break;
    case 8: /* a burst beside a claim */
        salvo_ring_claim(&ring, 8, &payload);
        salvo_ring_claim_burst(&ring, 32, &burst);
        break;
    case 9: /* a record more than was claimed */
        salvo_ring_claim_burst(&ring, 32, &burst);
        salvo_ring_burst_next(&burst, 8);
        salvo_ring_burst_next(&burst, 9);
        break;
    case 10: /* a burst that was never claimed */
        salvo_ring_commit_burst(&ring, &burst);
        break;
    }
}

static void wrong_use_stops_the_process(void **state)
{
    (void)state;
    for (int i = 0; i < 11; i++)
        assert_true(unit_aborts(wrong_use, &i));
}

/* --- two threads ------------------------------------------------------------------------------ */

#define PAIR_COUNT 300000u

struct pair {
    struct salvo_ring ring;
    uint64_t seed;
    bool batches; /* several commits to a publish, several advances to a release */
    uint64_t bad;
};

/* Sizes and contents follow from the number alone, so both sides know them. */
static uint64_t pair_size(uint32_t number)
{
    uint64_t x = number * UINT64_C(0x9e3779b97f4a7c15);

    return 8 + ((x >> 40) % ((x >> 32) % 16 == 0 ? 400 : 60));
}

static void pair_put(void *payload, uint32_t number, uint64_t size)
{
    memset(payload, (int)(number & 0xff), size);
    memcpy(payload, &number, sizeof(number));
}

/* As many of the next `count` as fit half the ring, with one claim: the number behind them, the
 * same when there is no room. */
static uint32_t pair_burst(struct pair *pair, uint32_t number, uint32_t count)
{
    struct salvo_ring_burst burst;
    uint64_t size = 0;
    uint32_t end = number;

    while (end < PAIR_COUNT && end - number < count &&
           size + salvo_ring_record_size(pair_size(end)) <= pair->ring.size / 2)
        size += salvo_ring_record_size(pair_size(end++));
    if (salvo_ring_claim_burst(&pair->ring, size, &burst) != 0)
        return number;
    for (; number < end; number++) {
        uint32_t one = (uint32_t)pair_size(number);

        pair_put(salvo_ring_burst_next(&burst, one), number, one);
    }
    salvo_ring_commit_burst(&pair->ring, &burst);
    return end;
}

static void *pair_producer(void *arg)
{
    struct pair *pair = arg;
    struct salvo_random random;

    salvo_random_init(&random, pair->seed);
    for (uint32_t i = 0; i < PAIR_COUNT;) {
        uint32_t burst = pair->batches ? 1 + (uint32_t)salvo_random_below(&random, 8) : 1;

        if (pair->batches && salvo_random_chance(&random, 1, 2)) {
            uint32_t next = pair_burst(pair, i, burst);

            salvo_ring_publish(&pair->ring);
            if (next == i)
                sched_yield();
            i = next;
            continue;
        }
        for (; burst != 0 && i < PAIR_COUNT; burst--) {
            uint64_t size = pair_size(i);
            uint64_t more = salvo_random_below(&random, 32);
            void *payload = NULL;

            if (salvo_ring_claim(&pair->ring, size + more, &payload) != 0)
                break;
            pair_put(payload, i, size);
            salvo_ring_commit(&pair->ring, size);
            i++;
        }
        salvo_ring_publish(&pair->ring);
        if (burst != 0)
            sched_yield();
    }
    return NULL;
}

static void *pair_consumer(void *arg)
{
    struct pair *pair = arg;
    uint32_t unreleased = 0;

    for (uint32_t i = 0; i < PAIR_COUNT;) {
        uint32_t size;
        const uint8_t *payload = salvo_ring_peek(&pair->ring, &size);
        uint32_t number;

        if (payload == NULL) {
            salvo_ring_release(&pair->ring);
            sched_yield();
            continue;
        }
        memcpy(&number, payload, sizeof(number));
        pair->bad += number != i || size != pair_size(i) || payload[size - 1] != (i & 0xff) ||
                     payload[size / 2 < 4 ? 4 : size / 2] != (i & 0xff);
        salvo_ring_advance(&pair->ring, size);
        if (!pair->batches || ++unreleased % 5 == 0)
            salvo_ring_release(&pair->ring);
        i++;
    }
    salvo_ring_release(&pair->ring);
    return NULL;
}

static void run_pair(uint64_t size, uint64_t position, bool batches)
{
    static struct pair pair;
    pthread_t consumer;

    pair = (struct pair){.seed = unit_seed(7), .batches = batches};
    salvo_ring_init(&pair.ring, ring_memory, size, position);
    assert_int_equal(salvo_thread_start(&consumer, "consumer", pair_consumer, &pair), 0);
    pair_producer(&pair);
    salvo_thread_join(consumer);
    assert_int_equal(pair.bad, 0);
    assert_true(salvo_ring_empty(&pair.ring));
    assert_true(pair.ring.tail_next - position >= PAIR_COUNT * UINT64_C(16));
}

/* The smallest ring that takes the records fills up all the time; the large one hardly ever. */
static void two_threads_lose_and_mix_nothing(void **state)
{
    (void)state;
    run_pair(1024, 0, false);
    run_pair(1024, UINT64_MAX - 1024 * 1000 + 1, true);
    run_pair(65536, UINT64_MAX - 65536 * 10 + 1, true);
    run_pair(LARGE_SIZE, 0, false);
    run_pair(LARGE_SIZE, UINT64_MAX - LARGE_SIZE * 10 + 1, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_at_every_place),
        cmocka_unit_test(every_fill_level_over_the_wrap),
        cmocka_unit_test(random_work_against_a_list),
        cmocka_unit_test(committed_is_unseen_until_published),
        cmocka_unit_test(room_comes_back_with_release_only),
        cmocka_unit_test(an_abort_adds_no_record),
        cmocka_unit_test(what_never_fills_stays_at_the_front),
        cmocka_unit_test(a_new_beginning_costs_no_room),
        cmocka_unit_test(it_begins_anew_only_when_all_was_given_back),
        cmocka_unit_test(a_new_beginning_without_a_record_is_empty),
        cmocka_unit_test(wrong_use_stops_the_process),
        cmocka_unit_test(two_threads_lose_and_mix_nothing),
    };

    return cmocka_run_group_tests_name("dataplane/ring", tests, NULL, NULL);
}
