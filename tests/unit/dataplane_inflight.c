/* The inflight table: an opaque names one try of one request; free slots go round; the wheel gives
 * every deadline once, never early, and knows when to look next. */
#include "tests/unit/unit.h"

#include "base/random.h"
#include "dataplane/inflight.h"

#define MS SALVO_NS_PER_MS

static struct salvo_inflight inflight;
static struct salvo_request requests[SALVO_REQUESTS_MAX];
static struct salvo_item items[64];
static uint32_t wheel[SALVO_WHEEL_SLOTS];
static uint64_t wheel_used[SALVO_WHEEL_SLOTS / 64];

static void init(uint32_t requests_max, int64_t now_ns)
{
    salvo_inflight_init(&inflight, requests, requests_max, items, 64, wheel, wheel_used, now_ns);
}

static struct salvo_request *take_sent(uint32_t conn)
{
    struct salvo_request *request = salvo_request_take(&inflight);

    request->state = SALVO_REQUEST_SENT;
    request->conn = conn;
    return request;
}

/* --- opaque ----------------------------------------------------------------------------------- */

static void an_answer_counts_when_all_of_it_fits(void **state)
{
    struct salvo_request *request;
    int32_t opaque;

    (void)state;
    init(8, 0);
    request = take_sent(3);
    opaque = request->opaque;
    assert_ptr_equal(salvo_inflight_find(&inflight, opaque, 3), request);
    assert_null(salvo_inflight_find(&inflight, opaque, 2));
    assert_null(salvo_inflight_find(&inflight, opaque + 1, 3));
    assert_null(salvo_inflight_find(&inflight, opaque + (int32_t)SALVO_REQUESTS_MAX, 3));
    assert_null(salvo_inflight_find(&inflight, opaque - (int32_t)SALVO_REQUESTS_MAX, 3));
    assert_null(salvo_inflight_find(&inflight, 0, 3));
    assert_null(salvo_inflight_find(&inflight, -1, 3));
    assert_null(salvo_inflight_find(&inflight, INT32_MIN, 3));
    assert_null(salvo_inflight_find(&inflight, INT32_MAX, 3));
    assert_null(salvo_inflight_find(&inflight, SALVO_OPAQUE_BASE + 8, 3));
    request->state = SALVO_REQUEST_WAITING;
    assert_null(salvo_inflight_find(&inflight, opaque, 3));
    request->state = SALVO_REQUEST_CUT;
    assert_null(salvo_inflight_find(&inflight, opaque, 3));
    salvo_request_free(&inflight, request);
    assert_null(salvo_inflight_find(&inflight, opaque, 3));
}

static void a_renewed_request_is_not_met_by_its_old_answer(void **state)
{
    struct salvo_request *request;
    int32_t old;

    (void)state;
    init(8, 0);
    request = take_sent(1);
    old = request->opaque;
    salvo_request_renew(&inflight, request);
    assert_int_not_equal(request->opaque, old);
    assert_null(salvo_inflight_find(&inflight, old, 1));
    assert_ptr_equal(salvo_inflight_find(&inflight, request->opaque, 1), request);
}

/* One slot is used over and over: 16,384 opaques, all different, all of ten digits; then the first
 * comes again. */
static void generations_wrap_within_ten_digits(void **state)
{
    int32_t first = 0;

    (void)state;
    init(1, 0);
    for (uint32_t i = 0; i <= (1u << 14); i++) {
        struct salvo_request *request = take_sent(0);

        assert_true(request->opaque >= SALVO_OPAQUE_BASE);
        if (i == 0)
            first = request->opaque;
        else
            assert_int_equal(request->opaque == first, i == 1u << 14);
        assert_ptr_equal(salvo_inflight_find(&inflight, request->opaque, 0), request);
        salvo_request_free(&inflight, request);
    }
}

/* With every slot in use all opaques differ, in the last generation too. */
static void opaques_of_all_slots_differ(void **state)
{
    static uint8_t seen[SALVO_REQUESTS_MAX];

    (void)state;
    init(SALVO_REQUESTS_MAX, 0);
    for (uint32_t i = 0; i < SALVO_REQUESTS_MAX; i++)
        requests[i].opaque += (1 << 30) - (int32_t)SALVO_REQUESTS_MAX; /* the last generation */
    memset(seen, 0, sizeof(seen));
    for (uint32_t i = 0; i < SALVO_REQUESTS_MAX; i++) {
        struct salvo_request *request = take_sent(0);
        uint32_t slot = (uint32_t)(request->opaque - SALVO_OPAQUE_BASE) & (SALVO_REQUESTS_MAX - 1);

        assert_true(request->opaque >= SALVO_OPAQUE_BASE); /* wrapped round to generation 0 */
        assert_true(request->opaque < SALVO_OPAQUE_BASE + (int32_t)SALVO_REQUESTS_MAX);
        assert_int_equal(seen[slot]++, 0);
    }
    assert_int_equal(inflight.free_count, 0);
}

static void take_too_many(void *arg)
{
    (void)arg;
    salvo_request_take(&inflight);
    salvo_request_take(&inflight);
    salvo_request_take(&inflight);
}

static void free_twice(void *arg)
{
    struct salvo_request *request = salvo_request_take(&inflight);

    (void)arg;
    salvo_request_free(&inflight, request);
    salvo_request_free(&inflight, request);
}

static void free_with_a_deadline(void *arg)
{
    struct salvo_request *request = salvo_request_take(&inflight);

    (void)arg;
    salvo_wheel_add(&inflight, request, 5 * MS);
    salvo_request_free(&inflight, request);
}

static void add_twice(void *arg)
{
    struct salvo_request *request = salvo_request_take(&inflight);

    (void)arg;
    salvo_wheel_add(&inflight, request, 5 * MS);
    salvo_wheel_add(&inflight, request, 6 * MS);
}

static void wrong_use_stops_the_process(void **state)
{
    (void)state;
    init(2, 0);
    assert_true(unit_aborts(take_too_many, NULL));
    assert_true(unit_aborts(free_twice, NULL));
    assert_true(unit_aborts(free_with_a_deadline, NULL));
    assert_true(unit_aborts(add_twice, NULL));
}

/* The slot that was given back longest ago is taken next, also after the list ran empty. */
static void slots_are_reused_first_in_first_out(void **state)
{
    uint32_t order[64];
    uint32_t head = 0;
    uint32_t tail = 0;
    struct salvo_random random;

    (void)state;
    init(16, 0);
    for (; tail < 16; tail++)
        order[tail] = tail;
    salvo_random_init(&random, unit_seed(3));
    for (int step = 0; step < 20000; step++) {
        static uint32_t out[16];
        static uint32_t out_count;

        if (step == 0)
            out_count = 0;
        if (inflight.free_count != 0 && salvo_random_chance(&random, 1, 2)) {
            struct salvo_request *request = take_sent(0);

            assert_int_equal(salvo_inflight_index(&inflight, request), order[head++ % 64]);
            out[out_count++] = salvo_inflight_index(&inflight, request);
        } else if (out_count != 0) {
            uint32_t i = (uint32_t)salvo_random_below(&random, out_count);

            order[tail++ % 64] = out[i];
            salvo_request_free(&inflight, &requests[out[i]]);
            out[i] = out[--out_count];
        }
        assert_int_equal(inflight.free_count, tail - head);
    }
}

static void a_fresh_request_keeps_nothing_of_the_last(void **state)
{
    struct salvo_request *request;

    (void)state;
    init(1, 0);
    request = take_sent(9);
    request->tries = 7;
    request->flags = 0xffff;
    request->chunk = 3;
    request->item_first = 4;
    request->items_count = 5;
    request->not_before_ns = 6;
    request->flag = 8;
    request->broker_last = 9;
    request->next = request->previous = 0;
    salvo_request_free(&inflight, request);
    assert_ptr_equal(salvo_request_take(&inflight), request);
    assert_int_equal(request->state, SALVO_REQUEST_WAITING);
    assert_int_equal(request->tries + request->flags + request->not_before_ns + request->flag, 0);
    assert_int_equal(request->items_count, 0);
    assert_int_equal(request->chunk, SALVO_CHUNK_NONE);
    assert_int_equal(request->item_first, SALVO_ITEM_NONE);
    assert_int_equal(request->broker_last, UINT16_MAX);
    assert_int_equal(request->next, SALVO_REQUEST_NONE);
    assert_int_equal(request->previous, SALVO_REQUEST_NONE);
}

static void items_are_given_once(void **state)
{
    bool used[64] = {false};
    uint32_t index;

    (void)state;
    init(1, 0);
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 64; i++) {
            struct salvo_item *item = salvo_item_take(&inflight, &index);

            assert_ptr_equal(item, &items[index]);
            assert_false(used[index]);
            assert_int_equal(items[index].next, SALVO_ITEM_NONE);
            used[index] = true;
        }
        assert_int_equal(inflight.items_free_count, 0);
        for (uint32_t i = 0; i < 64; i++) {
            salvo_item_free(&inflight, (i * 29) % 64);
            used[(i * 29) % 64] = false;
        }
        assert_int_equal(inflight.items_free_count, 64);
    }
}

/* --- wheel ------------------------------------------------------------------------------------ */

#define ORACLE_MAX 512u

/* What the wheel holds, as a plain list. A deadline is due in the millisecond it is rounded up to,
 * and one in the past in the next that is looked at. */
static struct {
    struct salvo_request *request;
    int64_t deadline_ns;
    int64_t due_ns;
} oracle[ORACLE_MAX];
static uint32_t oracle_count;
static int64_t oracle_visited_ns;

static void oracle_add(struct salvo_request *request, int64_t deadline_ns)
{
    salvo_wheel_add(&inflight, request, deadline_ns);
    oracle[oracle_count].request = request;
    oracle[oracle_count].deadline_ns = deadline_ns;
    oracle[oracle_count++].due_ns =
        SALVO_MAX((deadline_ns + MS - 1) / MS * MS, (oracle_visited_ns / MS + 1) * MS);
}

static int64_t oracle_drop(struct salvo_request *request)
{
    for (uint32_t i = 0; i < oracle_count; i++) {
        if (oracle[i].request == request) {
            int64_t deadline_ns = oracle[i].deadline_ns;

            oracle[i] = oracle[--oracle_count];
            return deadline_ns;
        }
    }
    fail_msg("the wheel gave a request that is not in it");
    return 0;
}

static int64_t oracle_next_ns(void)
{
    int64_t next_ns = INT64_MAX;

    for (uint32_t i = 0; i < oracle_count; i++)
        next_ns = SALVO_MIN(next_ns, oracle[i].due_ns);
    return next_ns;
}

/* Those that are due together come in the order they went in; the first, one within and the last
 * have got a later deadline meanwhile. */
static void what_is_due_together_comes_in_order(void **state)
{
    static const unsigned moved[] = {7, 0, 3};
    static const unsigned order[] = {1, 2, 4, 5, 6, 0, 3, 7};
    struct salvo_request *taken[SALVO_ARRAY_LENGTH(order)];

    (void)state;
    init(16, 0);
    for (unsigned i = 0; i < SALVO_ARRAY_LENGTH(taken); i++) {
        taken[i] = salvo_request_take(&inflight);
        salvo_wheel_add(&inflight, taken[i], 5 * MS);
    }
    for (unsigned i = 0; i < SALVO_ARRAY_LENGTH(moved); i++) {
        salvo_wheel_remove(&inflight, taken[moved[i]]);
        salvo_wheel_add(&inflight, taken[moved[i]], 6 * MS);
    }
    for (unsigned i = 0; i < 5; i++)
        assert_ptr_equal(salvo_wheel_expired(&inflight, 5 * MS), taken[order[i]]);
    assert_null(salvo_wheel_expired(&inflight, 5 * MS));
    for (unsigned i = 5; i < SALVO_ARRAY_LENGTH(order); i++)
        assert_ptr_equal(salvo_wheel_expired(&inflight, 6 * MS), taken[order[i]]);
    assert_null(salvo_wheel_expired(&inflight, 6 * MS));
}

/* Random deadlines, up to three turns of the wheel away and in the past too, removals, and time
 * that creeps or jumps over many turns: what is due comes, once, and nothing comes early. */
static void every_deadline_comes_once_and_never_early(void **state)
{
    struct salvo_random random;
    uint64_t seed = unit_seed(11);
    uint64_t expired = 0, removed = 0, jumped = 0;
    int64_t now_ns = 123456789;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    salvo_random_init(&random, seed);
    init(ORACLE_MAX, now_ns);
    oracle_count = 0;
    oracle_visited_ns = now_ns;
    for (int step = 0; step < 60000; step++) {
        uint64_t what = salvo_random_below(&random, 100);

        if (what < 45 && inflight.free_count != 0) {
            int64_t ahead_ns = (int64_t)salvo_random_below(&random, what < 3    ? 12500 * MS
                                                                    : what < 15 ? 4200 * MS
                                                                                : 50 * MS);

            if (what == 44)
                ahead_ns = -ahead_ns;
            oracle_add(salvo_request_take(&inflight), now_ns + ahead_ns);
        } else if (what < 60 && oracle_count != 0) {
            struct salvo_request *request =
                oracle[salvo_random_below(&random, oracle_count)].request;

            oracle_drop(request);
            salvo_wheel_remove(&inflight, request);
            salvo_wheel_remove(&inflight, request); /* out already: nothing happens */
            salvo_request_free(&inflight, request);
            removed++;
        } else {
            struct salvo_request *request;
            int64_t next_ns;

            if (what == 99) {
                now_ns += (int64_t)salvo_random_below(&random, 20000 * MS);
                jumped++;
            } else {
                now_ns += (int64_t)salvo_random_below(&random, what < 70 ? MS / 2 : 3 * MS);
            }
            while ((request = salvo_wheel_expired(&inflight, now_ns)) != NULL) {
                assert_true(oracle_drop(request) <= now_ns);
                salvo_request_free(&inflight, request);
                expired++;
                if (salvo_random_chance(&random, 1, 20))
                    oracle_add(salvo_request_take(&inflight), now_ns + 1); /* another try */
            }
            oracle_visited_ns = now_ns;
            assert_true(oracle_next_ns() > now_ns);
            next_ns = salvo_wheel_next_ns(&inflight);
            assert_true(next_ns <= oracle_next_ns());
            assert_int_equal(next_ns == INT64_MAX, oracle_count == 0);
            assert_true(next_ns > now_ns);
        }
    }
    assert_true(expired > 5000 && removed > 2000 && jumped > 100);
}

/* Sleeping exactly until next_ns, again and again, meets each deadline in the millisecond it is
 * due. */
static void next_ns_is_never_later_than_the_next_deadline(void **state)
{
    struct salvo_random random;
    int64_t now_ns = 77 * MS + 5;
    uint32_t wakes = 0;

    (void)state;
    salvo_random_init(&random, unit_seed(13));
    init(ORACLE_MAX, now_ns);
    oracle_count = 0;
    oracle_visited_ns = now_ns;
    for (uint32_t i = 0; i < 300; i++)
        oracle_add(salvo_request_take(&inflight),
                   now_ns + (int64_t)salvo_random_below(&random, 9000 * MS));
    while (oracle_count != 0) {
        int64_t next_ns = salvo_wheel_next_ns(&inflight);
        struct salvo_request *request;

        assert_true(next_ns > now_ns && next_ns <= oracle_next_ns());
        now_ns = next_ns;
        oracle_visited_ns = now_ns;
        wakes++;
        while ((request = salvo_wheel_expired(&inflight, now_ns)) != NULL) {
            int64_t deadline_ns = oracle_drop(request);

            assert_true(deadline_ns <= now_ns && now_ns - deadline_ns < MS);
        }
    }
    /* Two turns of the wheel lie behind: a slot may have been looked at for a later round. */
    assert_in_range(wakes, 1, 900);
    assert_int_equal(salvo_wheel_next_ns(&inflight), INT64_MAX);
}

/* Each distance, from each place in a word of the bitmap: also all the way round. */
static void each_distance_is_found(void **state)
{
    (void)state;
    for (int64_t start = 0; start < 70; start++) {
        for (int64_t ahead = 1; ahead <= (int64_t)SALVO_WHEEL_SLOTS; ahead += start == 0 ? 1 : 63) {
            struct salvo_request *request;

            init(1, start * MS);
            request = salvo_request_take(&inflight);
            salvo_wheel_add(&inflight, request, (start + ahead) * MS);
            assert_int_equal(salvo_wheel_next_ns(&inflight), (start + ahead) * MS);
            assert_null(salvo_wheel_expired(&inflight, (start + ahead) * MS - 1));
            assert_ptr_equal(salvo_wheel_expired(&inflight, (start + ahead) * MS), request);
            assert_null(salvo_wheel_expired(&inflight, (start + ahead) * MS));
        }
    }
}

/* A request that is answered long before its deadline, and used again, over and over: it is due
 * when the last deadline says, whether that is earlier or later than the ones before. */
static void only_the_last_deadline_counts(void **state)
{
    static const int64_t deadlines_ms[] = {1000, 1500, 300, 9000, 299, 4097 + 299, 20, 10000};

    (void)state;
    init(1, 0);
    for (size_t n = 1; n <= SALVO_ARRAY_LENGTH(deadlines_ms); n++) {
        int64_t start_ms = inflight.wheel_tick;
        struct salvo_request *request = NULL;

        for (size_t i = 0; i < n; i++) {
            request = salvo_request_take(&inflight);
            salvo_wheel_add(&inflight, request, (start_ms + deadlines_ms[i]) * MS);
            if (i + 1 < n) {
                salvo_wheel_remove(&inflight, request);
                salvo_request_free(&inflight, request);
                assert_int_equal(salvo_wheel_next_ns(&inflight), INT64_MAX);
            }
        }
        for (int64_t ms = start_ms; ms < start_ms + deadlines_ms[n - 1]; ms++) {
            assert_null(salvo_wheel_expired(&inflight, ms * MS));
            assert_true(salvo_wheel_next_ns(&inflight) > ms * MS);
            assert_true(salvo_wheel_next_ns(&inflight) <= (start_ms + deadlines_ms[n - 1]) * MS);
        }
        assert_ptr_equal(salvo_wheel_expired(&inflight, (start_ms + deadlines_ms[n - 1]) * MS),
                         request);
        salvo_request_free(&inflight, request);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_counts_when_all_of_it_fits),
        cmocka_unit_test(a_renewed_request_is_not_met_by_its_old_answer),
        cmocka_unit_test(generations_wrap_within_ten_digits),
        cmocka_unit_test(opaques_of_all_slots_differ),
        cmocka_unit_test(wrong_use_stops_the_process),
        cmocka_unit_test(slots_are_reused_first_in_first_out),
        cmocka_unit_test(a_fresh_request_keeps_nothing_of_the_last),
        cmocka_unit_test(items_are_given_once),
        cmocka_unit_test(what_is_due_together_comes_in_order),
        cmocka_unit_test(every_deadline_comes_once_and_never_early),
        cmocka_unit_test(next_ns_is_never_later_than_the_next_deadline),
        cmocka_unit_test(each_distance_is_found),
        cmocka_unit_test(only_the_last_deadline_counts),
    };

    return cmocka_run_group_tests_name("dataplane/inflight", tests, NULL, NULL);
}
