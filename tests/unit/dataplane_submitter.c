/* A submitter and its two rings: what claim refuses, what lies in a slot, and that whoever sleeps
 * on the file descriptor is woken. */
#include "tests/unit/unit.h"

#include "base/cpu.h"
#include "base/random.h"
#include "dataplane/submitter.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>

#define OUT_MAX  4u
#define BODY_MAX SALVO_KIB(256)

static const uint8_t ip[4] = {10, 0, 0, 7};

static struct {
    struct salvo_submitter s;
    struct salvo_clock_manual clock;
    struct salvo_lane_port port;
    _Atomic(uint32_t) draining;
    void *memory;
} f;

static void month(int64_t ms, int64_t *ret_start_ms, int64_t *ret_end_ms)
{
    *ret_start_ms = ms - ms % 2592000000;
    *ret_end_ms = *ret_start_ms + 2592000000;
}

static void init_with(enum salvo_compression compression, uint64_t ring_size, uint32_t out_max)
{
    struct salvo_submitter_conf conf = {
        .index = 3,
        .ring_size = ring_size,
        .messages_out_max = out_max,
        .body_size_max = BODY_MAX,
        .timeout_ns = 3000 * SALVO_NS_PER_MS,
        .compression = compression,
        .compress_min = 4096,
        .clock = &f.clock.clock,
        .month = month,
        .ip = ip,
        .ip_size = 4,
        .pid = 77,
        .mid = 5,
    };

    memset(&f, 0, sizeof(f));
    salvo_clock_manual_init(&f.clock, SALVO_NS_PER_S, INT64_C(1700000000000));
    f.memory = aligned_alloc(64, salvo_align_up(salvo_submitter_memory_size(&conf), 64));
    assert_int_equal(salvo_submitter_init(&f.s, &conf, f.memory, NULL, &f.draining), 0);
    assert_true(salvo_submitter_take(&f.s, &f.port));
}

static void init(void)
{
    init_with(SALVO_COMPRESS_NONE, SALVO_MIB(1), OUT_MAX);
}

static int teardown(void **state)
{
    (void)state;
    if (f.memory != NULL)
        salvo_submitter_deinit(&f.s);
    free(f.memory);
    f.memory = NULL;
    return 0;
}

static struct salvo_msg *claim(size_t size)
{
    struct salvo_msg *m = NULL;

    assert_int_equal(salvo_submitter_claim(&f.s, 1, size, &m), 0);
    return m;
}

/* A message of `size` bytes out of a claim of `claimed`. */
static void submit(size_t claimed, size_t size, uint64_t cookie)
{
    struct salvo_msg *m = claim(claimed);

    for (size_t i = 0; i < claimed; i++)
        salvo_slot_body(m->slot)[i] = (uint8_t)(cookie + i / 64);
    assert_int_equal(salvo_submitter_commit(m, size, cookie), 0);
}

static struct salvo_slot *lane_slot(void)
{
    uint32_t size;
    struct salvo_slot *slot = salvo_ring_peek(&f.s.messages, &size);

    assert_non_null(slot);
    assert_int_equal(slot->magic, SALVO_SLOT_MAGIC);
    /* The record holds exactly the slot. */
    assert_int_equal(size, sizeof(*slot) + slot->body_room + slot->properties_size);
    salvo_ring_advance(&f.s.messages, size);
    salvo_ring_release(&f.s.messages);
    return slot;
}

static void lane_result(uint64_t cookie, const char *detail)
{
    struct salvo_ring_burst burst;
    struct salvo_result_slot *result;

    salvo_submitter_results_claim(&f.s, 1, &burst);
    result = salvo_submitter_result_next(&burst);
    memset(result, 0, sizeof(*result));
    result->cookie = cookie;
    if (detail != NULL)
        result->detail = salvo_submitter_detail(&f.s, detail, strlen(detail));
    salvo_submitter_results_commit(&f.s, &burst);
}

/* Results of `count` messages whose cookies follow one another. */
static void lane_results(uint64_t cookie, uint32_t count)
{
    struct salvo_ring_burst burst;

    salvo_submitter_results_claim(&f.s, count, &burst);
    for (uint32_t i = 0; i < count; i++)
        *salvo_submitter_result_next(&burst) = (struct salvo_result_slot){.cookie = cookie + i};
    salvo_submitter_results_commit(&f.s, &burst);
}

static uint64_t poll_one(void)
{
    const struct salvo_result_slot *result = salvo_submitter_result(&f.s);
    uint64_t cookie;

    assert_non_null(result);
    cookie = result->cookie;
    salvo_submitter_result_done(&f.s, result);
    salvo_submitter_results_release(&f.s);
    return cookie;
}

/* --- claim ------------------------------------------------------------------------------------ */

static void only_a_free_one_can_be_taken(void **state)
{
    (void)state;
    init();
    assert_false(salvo_submitter_take(&f.s, &f.port));
    atomic_store(&f.s.state, SALVO_SUBMITTER_CLOSING);
    assert_false(salvo_submitter_take(&f.s, &f.port));
    atomic_store(&f.s.state, SALVO_SUBMITTER_FREE);
    assert_true(salvo_submitter_take(&f.s, &f.port));
}

static void claim_says_why_it_is_busy(void **state)
{
    struct salvo_msg *m = NULL;

    (void)state;
    init_with(SALVO_COMPRESS_NONE, SALVO_MIB(1), OUT_MAX);
    for (uint64_t i = 0; i < OUT_MAX; i++)
        submit(10, 10, i);
    assert_int_equal(salvo_submitter_claim(&f.s, 1, 10, &m), SALVO_BUSY_RESULTS);
    lane_slot();
    lane_result(0, NULL);
    salvo_submitter_results_publish(&f.s);
    assert_int_equal(salvo_submitter_claim(&f.s, 1, 10, &m), SALVO_BUSY_RESULTS); /* not polled */
    poll_one();
    assert_int_equal(salvo_submitter_claim(&f.s, 1, 10, &m), 0);
    salvo_submitter_abort(m);
    atomic_store(&f.draining, 1);
    m = NULL;
    assert_int_equal(salvo_submitter_claim(&f.s, 1, 10, &m), SALVO_BUSY_DRAINING);
    assert_null(m);
    teardown(NULL);

    init_with(SALVO_COMPRESS_NONE, SALVO_MIB(1), 1000);
    for (int i = 0; i < 3; i++)
        submit(BODY_MAX, BODY_MAX, 1);
    assert_int_equal(salvo_submitter_claim(&f.s, 1, BODY_MAX, &m), SALVO_BUSY_RING_FULL);
    lane_slot();
    lane_slot(); /* a claim does not wrap: the room in front of the first two, in one piece */
    assert_int_equal(salvo_submitter_claim(&f.s, 1, BODY_MAX, &m), 0);
}

static void claim_refuses_sizes_out_of_bounds(void **state)
{
    struct salvo_msg *m = NULL;

    (void)state;
    init();
    assert_int_equal(salvo_submitter_claim(&f.s, 1, 0, &m), -EINVAL);
    assert_int_equal(salvo_submitter_claim(&f.s, 1, BODY_MAX + 1, &m), -EINVAL);
    assert_int_equal(salvo_submitter_claim(&f.s, 1, SIZE_MAX, &m), -EINVAL);
    assert_null(m);
    m = claim(BODY_MAX);
    assert_int_equal(salvo_submitter_commit(m, 0, 1), -EINVAL);
    assert_int_equal(salvo_submitter_commit(m, BODY_MAX + 1, 1), -EINVAL);
    assert_int_equal(salvo_submitter_commit(m, BODY_MAX, 1), 0); /* was still claimed */
}

static void an_aborted_claim_leaves_no_message(void **state)
{
    (void)state;
    init();
    salvo_submitter_abort(claim(100));
    submit(10, 10, 42);
    assert_int_equal(lane_slot()->cookie, 42);
    assert_null(salvo_ring_peek(&f.s.messages, &(uint32_t){0}));
    assert_int_equal(f.s.committed, 1);
}

/* --- what lies in a slot ---------------------------------------------------------------------- */

static void a_slot_holds_what_was_set(void **state)
{
    struct salvo_msg *m;
    struct salvo_slot *slot;
    struct salvo_text value;

    (void)state;
    init();
    m = claim(5);
    memcpy(salvo_slot_body(m->slot), "hello", 5);
    assert_int_equal(salvo_submitter_set_property(m, "colour", "blue", false), 0);
    assert_int_equal(salvo_submitter_commit(m, 5, 9), 0);
    slot = lane_slot();
    assert_int_equal(slot->topic, 1);
    assert_int_equal(slot->cookie, 9);
    assert_int_equal(slot->flags, 0);
    assert_int_equal(slot->body_size, 5);
    assert_memory_equal(salvo_slot_body(slot), "hello", 5);
    assert_int_equal(slot->budget_ns, 3000 * SALVO_NS_PER_MS);
    assert_int_equal(slot->deadline_ns, SALVO_NS_PER_S + 3000 * SALVO_NS_PER_MS);
    value = salvo_property_find(salvo_slot_properties(slot), slot->properties_size, "colour");
    assert_int_equal(value.size, 4);
    assert_memory_equal(value.text, "blue", 4);
    value = salvo_property_find(salvo_slot_properties(slot), slot->properties_size, "UNIQ_KEY");
    assert_int_equal(value.size, 32);
    assert_memory_equal(value.text, "0A000007004D", 12); /* address and process */
    assert_int_equal(salvo_slot_properties(slot)[slot->properties_size - 1], 2);
}

static void a_time_that_was_handed_over_counts_in_place_of_the_clock(void **state)
{
    static const int64_t refused[] = {-SALVO_NS_PER_S / 2, 3 * SALVO_NS_PER_S, INT64_MIN,
                                      INT64_MAX};
    int64_t now_ns = SALVO_NS_PER_S - 5 * SALVO_NS_PER_MS;
    struct salvo_msg *m;

    (void)state;
    init();
    m = claim(5);
    assert_int_equal(salvo_submitter_set_now(m, SALVO_NS_PER_S + 10 * SALVO_NS_PER_MS), -EINVAL);
    assert_int_equal(salvo_submitter_set_now(m, now_ns), 0);
    assert_int_equal(salvo_submitter_commit(m, 5, 1), 0);
    assert_int_equal(lane_slot()->deadline_ns, now_ns + 3000 * SALVO_NS_PER_MS);
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(refused); i++) {
        m = claim(5);
        assert_int_equal(salvo_submitter_set_now(m, refused[i]), -EINVAL);
        assert_non_null(m->error);
        assert_int_equal(salvo_submitter_commit(m, 5, 2), 0);
        assert_int_equal(lane_slot()->deadline_ns, SALVO_NS_PER_S + 3000 * SALVO_NS_PER_MS);
        f.s.polled = f.s.committed;
    }
    submit(5, 5, 3); /* the next message has to be told anew */
    assert_int_equal(lane_slot()->deadline_ns, SALVO_NS_PER_S + 3000 * SALVO_NS_PER_MS);
}

static void a_time_that_is_never_read_anew_is_noticed(void **state)
{
    int64_t now_ns = SALVO_NS_PER_S;
    unsigned taken = 0;

    (void)state;
    init();
    for (;;) {
        struct salvo_msg *m = claim(5);
        int r = salvo_submitter_set_now(m, now_ns);

        salvo_submitter_commit(m, 5, 1);
        lane_slot();
        f.s.polled = f.s.committed;
        if (r != 0)
            break;
        taken++;
        assert_in_range(taken, 1, 256);
        salvo_clock_manual_advance(&f.clock, SALVO_NS_PER_S);
    }
}

static void ids_differ_and_a_given_one_is_kept(void **state)
{
    static const uint8_t given[SALVO_ID_SIZE] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    uint8_t last[SALVO_ID_SIZE] = {0};
    struct salvo_msg *m;
    struct salvo_text value;
    struct salvo_slot *slot;

    (void)state;
    init_with(SALVO_COMPRESS_NONE, SALVO_MIB(1), 1000);
    for (uint64_t i = 0; i < 100; i++) {
        submit(1, 1, i);
        slot = lane_slot();
        assert_memory_not_equal(slot->id, last, SALVO_ID_SIZE);
        memcpy(last, slot->id, SALVO_ID_SIZE);
    }
    m = claim(1);
    memcpy(m->slot->id, given, SALVO_ID_SIZE);
    m->has_id = true;
    salvo_slot_body(m->slot)[0] = 1;
    assert_int_equal(salvo_submitter_commit(m, 1, 0), 0);
    slot = lane_slot();
    assert_memory_equal(slot->id, given, SALVO_ID_SIZE);
    value = salvo_property_find(salvo_slot_properties(slot), slot->properties_size, "UNIQ_KEY");
    assert_memory_equal(value.text, "0A0000070102030405060708090A0B0C", 32);
}

static void bad_properties_change_nothing(void **state)
{
    static const struct {
        const char *name;
        const char *value;
    } bad[] = {
        {"", "v"},     {"n", ""},         {"n\x01", "v"}, {"n", "v\x02"},
        {"n", "\xff"}, {"UNIQ_KEY", "v"}, {"KEYS", "k"},
    };
    static char text[SALVO_PROPERTIES_SIZE_MAX + 1];
    struct salvo_msg *m;
    struct salvo_slot *slot;
    size_t size;

    (void)state;
    init();
    m = claim(1);
    salvo_slot_body(m->slot)[0] = 1;
    assert_int_equal(salvo_submitter_set_property(m, "KEYS", "k", true), 0);
    size = salvo_writer_size(&m->properties);
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(bad); i++) {
        m->error = NULL;
        assert_int_equal(salvo_submitter_set_property(m, bad[i].name, bad[i].value, false),
                         -EINVAL);
        assert_non_null(m->error);
        assert_int_equal(salvo_writer_size(&m->properties), size);
    }
    assert_int_equal(salvo_submitter_set_property(m, "KEYS", "again", true), -EINVAL);
    memset(text, 'x', sizeof(text) - 1);
    text[SALVO_PROPERTIES_SIZE_MAX - size - 5] = 0;
    assert_int_equal(salvo_submitter_set_property(m, "long", text, false), -ENOSPC);
    assert_int_equal(salvo_writer_size(&m->properties), size);
    text[SALVO_PROPERTIES_SIZE_MAX - size - 6] = 0; /* to the byte: long 0x01 text 0x02 */
    assert_int_equal(salvo_submitter_set_property(m, "long", text, false), 0);
    assert_int_equal(salvo_writer_size(&m->properties), SALVO_PROPERTIES_SIZE_MAX);
    assert_int_equal(salvo_submitter_set_property(m, "n", "v", false), -ENOSPC);
    m->slot->flags |= SALVO_SLOT_NO_WAIT;
    assert_int_equal(salvo_submitter_commit(m, 1, 0), 0);
    slot = lane_slot();
    assert_int_equal(slot->properties_size, SALVO_PROPERTIES_SIZE_MAX + 9 + 32 + 1 + 11);
    assert_int_equal(
        salvo_property_find(salvo_slot_properties(slot), slot->properties_size, "WAIT").size, 5);
}

/* Every difference between claimed and committed: body and properties are where the slot says, and
 * the next message is whole too. */
static void less_than_claimed_leaves_no_gap(void **state)
{
    (void)state;
    init_with(SALVO_COMPRESS_NONE, SALVO_MIB(1), 10000);
    for (size_t claimed = 1; claimed <= 64; claimed++) {
        for (size_t size = 1; size <= claimed; size++) {
            struct salvo_msg *m = claim(claimed);
            struct salvo_slot *slot;
            struct salvo_text value;

            memset(salvo_slot_body(m->slot), 'b', claimed);
            assert_int_equal(salvo_submitter_set_property(m, "name", "value", false), 0);
            assert_int_equal(salvo_submitter_commit(m, size, claimed), 0);
            slot = lane_slot();
            assert_int_equal(slot->body_size, size);
            assert_int_equal(slot->body_room, (size + 7) & ~(size_t)7);
            for (size_t i = 0; i < size; i++)
                assert_int_equal(salvo_slot_body(slot)[i], 'b');
            value = salvo_property_find(salvo_slot_properties(slot), slot->properties_size, "name");
            assert_int_equal(value.size, 5);
            assert_memory_equal(value.text, "value", 5);
            assert_int_equal(
                salvo_property_find(salvo_slot_properties(slot), slot->properties_size, "UNIQ_KEY")
                    .size,
                32);
        }
    }
}

/* Over 16 KiB commit compresses, when it pays; up to there, and what does not shrink, it leaves. */
static void large_bodies_are_compressed_at_commit(void **state)
{
    static uint8_t plain[BODY_MAX];
    static uint8_t back[BODY_MAX];
    static const size_t sizes[] = {SALVO_KIB(16), SALVO_KIB(16) + 1, 100001, BODY_MAX};
    struct salvo_random random;

    (void)state;
    for (enum salvo_compression c = SALVO_COMPRESS_ZLIB; c <= SALVO_COMPRESS_ZSTD; c++) {
        init_with(c, SALVO_MIB(2), 100);
        for (size_t i = 0; i < SALVO_ARRAY_LENGTH(sizes); i++) {
            for (int noise = 0; noise < 2; noise++) {
                struct salvo_msg *m = claim(BODY_MAX);
                struct salvo_slot *slot;
                bool expected = sizes[i] > SALVO_KIB(16) && !noise;

                salvo_random_init(&random, 5);
                for (size_t b = 0; b < sizes[i]; b++)
                    plain[b] = noise ? (uint8_t)salvo_random_next(&random) : (uint8_t)(b / 100);
                memcpy(salvo_slot_body(m->slot), plain, sizes[i]);
                assert_int_equal(salvo_submitter_set_property(m, "name", "value", false), 0);
                assert_int_equal(salvo_submitter_commit(m, sizes[i], 1), 0);
                slot = lane_slot();
                assert_int_equal((slot->flags & SALVO_SLOT_COMPRESSED) != 0, expected);
                assert_int_equal(slot->body_size < sizes[i], expected);
                if (expected)
                    assert_int_equal(
                        salvo_decompress(c, salvo_slot_body(slot), slot->body_size, back, BODY_MAX),
                        sizes[i]);
                assert_memory_equal(expected ? back : salvo_slot_body(slot), plain, sizes[i]);
                assert_int_equal(
                    salvo_property_find(salvo_slot_properties(slot), slot->properties_size, "name")
                        .size,
                    5);
            }
        }
        teardown(NULL);
    }
}

/* --- results ---------------------------------------------------------------------------------- */

static void a_full_results_ring_still_takes_every_result(void **state)
{
    (void)state;
    init();
    for (int round = 0; round < 50; round++) {
        for (uint64_t i = 0; i < OUT_MAX; i++)
            submit(1, 1, i);
        for (uint64_t i = 0; i < OUT_MAX; i++) {
            lane_slot();
            lane_result(i, NULL);
        }
        salvo_submitter_results_publish(&f.s);
        for (uint64_t i = 0; i < OUT_MAX; i++)
            assert_int_equal(poll_one(), i);
        assert_null(salvo_submitter_result(&f.s));
    }
}

/* With as many out as a results ring of its size is made for, and with as many as would fit if a
 * burst left nothing unused at the ring's end. */
static void results_in_bursts_always_find_room(void **state)
{
    static const uint32_t out_max[] = {4096 / 72 - SALVO_RESULTS_BURST_MAX, 4096 / 72 - 2};
    struct salvo_random random;

    (void)state;
    salvo_random_init(&random, unit_seed(29));
    for (size_t n = 0; n < SALVO_ARRAY_LENGTH(out_max); n++) {
        uint64_t submitted = 0, put = 0, polled = 0;

        init_with(SALVO_COMPRESS_NONE, SALVO_MIB(1), out_max[n]);
        while (polled < 20000) {
            for (; submitted - polled < out_max[n]; submitted++) {
                submit(1, 1, submitted);
                lane_slot();
            }
            while (put < submitted) {
                uint32_t burst = 1 + (uint32_t)salvo_random_below(&random, SALVO_RESULTS_BURST_MAX);

                burst = (uint32_t)SALVO_MIN(burst, submitted - put);
                lane_results(put, burst);
                put += burst;
            }
            salvo_submitter_results_publish(&f.s);
            for (uint64_t k = 1 + salvo_random_below(&random, out_max[n]); k != 0; k--)
                assert_int_equal(poll_one(), polled++);
        }
        teardown(NULL);
    }
}

/* A result's callback submits the next message, which the lane finishes at once: one poll takes
 * more results than the ring holds. */
static void a_poll_that_never_ends_finds_room(void **state)
{
    const uint32_t out_max = 4096 / 72 - SALVO_RESULTS_BURST_MAX;

    (void)state;
    init_with(SALVO_COMPRESS_NONE, SALVO_MIB(1), out_max);
    for (uint64_t i = 0; i < out_max; i++)
        submit(1, 1, i);
    for (uint64_t i = 0; i < out_max; i++) {
        lane_slot();
        lane_results(i, 1);
    }
    salvo_submitter_results_publish(&f.s);
    for (uint64_t i = 0; i < 20000; i++) {
        const struct salvo_result_slot *result = salvo_submitter_result(&f.s);

        assert_non_null(result);
        if (i != 0) { /* behind the first there is room for one more */
            submit(1, 1, out_max + i - 1);
            lane_slot();
            lane_results(out_max + i - 1, 1);
            salvo_submitter_results_publish(&f.s);
        }
        assert_int_equal(result->cookie, i); /* what the callback looks at is still there */
        salvo_submitter_result_done(&f.s, result);
    }
}

static void details_come_back_when_they_were_polled(void **state)
{
    char text[400];

    (void)state;
    init_with(SALVO_COMPRESS_NONE, SALVO_MIB(1), 1000);
    memset(text, 'd', sizeof(text));
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < SALVO_DETAILS_MAX + 10; i++) {
            submit(1, 1, i);
            lane_slot();
            text[0] = (char)('a' + (int)i % 26);
            text[i] = 0;
            lane_result(i, text);
            text[i] = 'd';
        }
        salvo_submitter_results_publish(&f.s);
        for (uint32_t i = 0; i < SALVO_DETAILS_MAX + 10; i++) {
            const struct salvo_result_slot *result = salvo_submitter_result(&f.s);
            const char *detail;

            assert_non_null(result);
            assert_int_equal(result->detail != 0, i < SALVO_DETAILS_MAX); /* full: none, no harm */
            if (result->detail != 0) {
                detail = f.s.details[result->detail - 1];
                assert_int_equal(strlen(detail), SALVO_MIN(i, SALVO_DETAIL_SIZE - 1));
                if (i != 0)
                    assert_int_equal(detail[0], 'a' + (int)i % 26);
            }
            salvo_submitter_result_done(&f.s, result);
        }
        salvo_submitter_results_release(&f.s);
    }
}

static bool readable(void)
{
    struct pollfd fd = {.fd = salvo_submitter_fd(&f.s), .events = POLLIN};

    return poll(&fd, 1, 0) == 1;
}

/* Readable when results came after a poll that found none; quiet again after the next such poll. */
static void hosts_have_a_number_each_until_the_table_is_full(void **state)
{
    char text[SALVO_HOST_TEXT_SIZE + 1];

    (void)state;
    init();
    for (int round = 0; round < 2; round++)
        for (int i = 0; i <= SALVO_HOSTS_MAX; i++) {
            snprintf(text, sizeof(text), "%0*X", SALVO_HOST_TEXT_SIZE, 7 * i);
            assert_int_equal(salvo_submitter_host(&f.s, text), i < SALVO_HOSTS_MAX ? i : -1);
            if (i < SALVO_HOSTS_MAX)
                assert_memory_equal(f.s.hosts[i], text, SALVO_HOST_TEXT_SIZE);
        }
}

static void the_descriptor_follows_the_results(void **state)
{
    (void)state;
    init();
    submit(1, 1, 1);
    submit(1, 1, 2);
    lane_slot();
    lane_slot();
    lane_result(1, NULL);
    salvo_submitter_results_publish(&f.s);
    assert_int_equal(poll(&(struct pollfd){.fd = f.s.event_fd, .events = POLLIN}, 1, 0), 0);
    assert_true(readable()); /* nobody had asked before */
    poll_one();
    assert_null(salvo_submitter_result(&f.s)); /* now somebody does */
    assert_false(readable());
    lane_result(2, NULL);
    assert_false(readable()); /* not published yet */
    salvo_submitter_results_publish(&f.s);
    assert_true(readable());
    assert_int_equal(poll_one(), 2);
    assert_null(salvo_submitter_result(&f.s));
    assert_false(readable());
}

/* Who polls without ever asking for the descriptor costs neither side a system call; the first to
 * ask finds it readable when a result waits, and armed when none does. */
static void a_descriptor_that_nobody_asked_for_is_not_rung(void **state)
{
    (void)state;
    init();
    submit(1, 1, 1);
    submit(1, 1, 2);
    lane_slot();
    lane_slot();
    assert_null(salvo_submitter_result(&f.s));
    assert_int_equal(atomic_load(&f.s.armed), SALVO_SUBMITTER_UNARMED);
    lane_result(1, NULL);
    salvo_submitter_results_publish(&f.s);
    assert_int_equal(poll(&(struct pollfd){.fd = f.s.event_fd, .events = POLLIN}, 1, 0), 0);
    assert_true(readable());
    assert_int_equal(poll_one(), 1);
    assert_null(salvo_submitter_result(&f.s));
    assert_false(readable());
    lane_result(2, NULL);
    salvo_submitter_results_publish(&f.s);
    assert_true(readable());
}

/* The lane is held up between its decision to ring and the write. What it would ring for is polled
 * meanwhile; the write that comes late is a wake-up for nothing, once, and not for ever. */
static void a_late_ring_does_not_keep_the_descriptor_readable(void **state)
{
    static const uint64_t one = 1;

    (void)state;
    init();
    submit(1, 1, 1);
    lane_slot();
    salvo_submitter_fd(&f.s);
    assert_null(salvo_submitter_result(&f.s)); /* armed */
    lane_result(1, NULL);
    salvo_ring_publish(&f.s.results);
    atomic_store(&f.s.armed, SALVO_SUBMITTER_RINGING);
    assert_int_equal(poll_one(), 1);
    assert_null(salvo_submitter_result(&f.s));
    assert_int_equal(atomic_load(&f.s.armed), SALVO_SUBMITTER_RINGING); /* not armed anew */
    assert_int_equal(write(f.s.event_fd, &one, 8), 8);
    assert_true(readable());
    assert_null(salvo_submitter_result(&f.s)); /* the lane is held up behind the write, too */
    assert_false(readable());
    assert_int_equal(atomic_load(&f.s.armed), SALVO_SUBMITTER_ARMED);
}

/* --- two threads ------------------------------------------------------------------------------ */

#define WAKE_ROUNDS 60000u

static void *wake_lane(void *arg)
{
    struct salvo_random random;

    (void)arg;
    salvo_random_init(&random, unit_seed(23));
    for (uint32_t taken = 0; taken < WAKE_ROUNDS;) {
        uint32_t size;
        struct salvo_slot *slot = salvo_ring_peek(&f.s.messages, &size);
        struct salvo_result_slot *result;
        struct salvo_ring_burst burst;

        if (slot == NULL) {
            if (f.s.results_dirty)
                salvo_submitter_results_publish(&f.s);
            sched_yield();
            continue;
        }
        salvo_submitter_results_claim(&f.s, 1, &burst);
        result = salvo_submitter_result_next(&burst);
        memset(result, 0, sizeof(*result));
        result->cookie = slot->cookie;
        salvo_submitter_results_commit(&f.s, &burst);
        salvo_ring_advance(&f.s.messages, size);
        salvo_ring_release(&f.s.messages);
        taken++;
        if (salvo_random_chance(&random, 1, 3))
            salvo_submitter_results_publish(&f.s);
        if (salvo_random_chance(&random, 1, 64))
            sched_yield();
    }
    if (f.s.results_dirty)
        salvo_submitter_results_publish(&f.s);
    return NULL;
}

/* The submitting thread sleeps on the descriptor whenever it finds no result: a lost wake-up would
 * let it sleep for ever. A wake-up without a result may happen, but does not repeat itself: the
 * descriptor is quiet again after the poll that found nothing. */
static void no_wake_up_is_lost(void **state)
{
    pthread_t lane;
    uint64_t committed = 0, polled = 0, sleeps = 0, empty = 0;

    (void)state;
    init_with(SALVO_COMPRESS_NONE, SALVO_MIB(1), 8);
    f.s.conf.clock = salvo_clock_system();
    salvo_submitter_fd(&f.s);
    assert_int_equal(salvo_thread_start(&lane, "lane", wake_lane, NULL), 0);
    while (polled < WAKE_ROUNDS) {
        const struct salvo_result_slot *result;
        uint32_t found = 0;

        while (committed < WAKE_ROUNDS && committed - polled < 1 + committed % 8) {
            struct salvo_msg *m = claim(8);

            memcpy(salvo_slot_body(m->slot), &committed, 8);
            assert_int_equal(salvo_submitter_commit(m, 8, committed++), 0);
        }
        while ((result = salvo_submitter_result(&f.s)) != NULL) {
            assert_int_equal(result->cookie, polled++);
            salvo_submitter_result_done(&f.s, result);
            found++;
        }
        salvo_submitter_results_release(&f.s);
        if (polled == committed)
            continue;
        empty += found == 0;
        sleeps++;
        assert_int_equal(poll(&(struct pollfd){.fd = f.s.event_fd, .events = POLLIN}, 1, 20000), 1);
    }
    salvo_thread_join(lane);
    print_message("%llu sleeps, %llu of them after a poll that found nothing\n",
                  (unsigned long long)sleeps, (unsigned long long)empty);
    assert_in_range(sleeps, 100, WAKE_ROUNDS + 1); /* one for each publish at most */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(only_a_free_one_can_be_taken, teardown),
        cmocka_unit_test_teardown(claim_says_why_it_is_busy, teardown),
        cmocka_unit_test_teardown(claim_refuses_sizes_out_of_bounds, teardown),
        cmocka_unit_test_teardown(an_aborted_claim_leaves_no_message, teardown),
        cmocka_unit_test_teardown(a_slot_holds_what_was_set, teardown),
        cmocka_unit_test_teardown(a_time_that_was_handed_over_counts_in_place_of_the_clock,
                                  teardown),
        cmocka_unit_test_teardown(a_time_that_is_never_read_anew_is_noticed, teardown),
        cmocka_unit_test_teardown(ids_differ_and_a_given_one_is_kept, teardown),
        cmocka_unit_test_teardown(bad_properties_change_nothing, teardown),
        cmocka_unit_test_teardown(less_than_claimed_leaves_no_gap, teardown),
        cmocka_unit_test_teardown(large_bodies_are_compressed_at_commit, teardown),
        cmocka_unit_test_teardown(a_full_results_ring_still_takes_every_result, teardown),
        cmocka_unit_test_teardown(results_in_bursts_always_find_room, teardown),
        cmocka_unit_test_teardown(a_poll_that_never_ends_finds_room, teardown),
        cmocka_unit_test_teardown(details_come_back_when_they_were_polled, teardown),
        cmocka_unit_test_teardown(hosts_have_a_number_each_until_the_table_is_full, teardown),
        cmocka_unit_test_teardown(the_descriptor_follows_the_results, teardown),
        cmocka_unit_test_teardown(a_descriptor_that_nobody_asked_for_is_not_rung, teardown),
        cmocka_unit_test_teardown(a_late_ring_does_not_keep_the_descriptor_readable, teardown),
        cmocka_unit_test_teardown(no_wake_up_is_lost, teardown),
    };

    return cmocka_run_group_tests_name("dataplane/submitter", tests, NULL, NULL);
}
