/* The chunk pool: what is free, what a frame over several chunks holds, and how its bytes are read
 * back. */
#include "tests/unit/unit.h"

#include "dataplane/chunk.h"

#define CHUNKS     6u
#define CHUNK_SIZE 64u

struct fixture {
    struct salvo_chunk_pool pool;
    struct salvo_chunk chunks[CHUNKS];
    uint8_t memory[CHUNKS * CHUNK_SIZE];
};

static struct fixture f;

static void init(uint32_t reserve)
{
    for (uint32_t i = 0; i < sizeof(f.memory); i++)
        f.memory[i] = (uint8_t)(i * 7 + i / 64);
    salvo_chunk_pool_init(&f.pool, f.chunks, f.memory, CHUNKS, CHUNK_SIZE, reserve);
}

/* Takes n chunks in a row, each full. */
static uint32_t chain(unsigned n, uint32_t *ret_indices)
{
    for (unsigned i = 0; i < n; i++) {
        ret_indices[i] = salvo_chunk_take(&f.pool);
        f.chunks[ret_indices[i]].used = CHUNK_SIZE;
        if (i != 0)
            f.chunks[ret_indices[i - 1]].next = ret_indices[i];
    }
    return ret_indices[0];
}

static void detach(uint32_t index)
{
    f.chunks[index].attached = false;
    salvo_chunk_settle(&f.pool, index);
}

static void every_chunk_is_given_once_and_lies_apart(void **state)
{
    bool seen[CHUNKS] = {false};

    (void)state;
    init(0);
    for (uint32_t i = 0; i < CHUNKS; i++) {
        uint32_t index = salvo_chunk_take(&f.pool);

        assert_true(index < CHUNKS);
        assert_false(seen[index]);
        seen[index] = true;
        assert_ptr_equal(f.chunks[index].bytes, f.memory + index * CHUNK_SIZE);
        assert_true(f.chunks[index].attached);
        assert_int_equal(f.chunks[index].used + f.chunks[index].awaited + f.chunks[index].cut, 0);
        assert_int_equal(f.pool.free_count, CHUNKS - 1 - i);
    }
}

static void take_from_empty(void *arg)
{
    (void)arg;
    for (uint32_t i = 0; i <= CHUNKS; i++)
        salvo_chunk_take(&f.pool);
}

static void taking_what_is_not_there_stops_the_process(void **state)
{
    (void)state;
    init(0);
    assert_true(unit_aborts(take_from_empty, NULL));
}

static void the_reserve_is_for_the_urgent(void **state)
{
    (void)state;
    init(2);
    for (uint32_t i = 0; i <= CHUNKS; i++) {
        assert_int_equal(salvo_chunk_pool_room(&f.pool, true), CHUNKS - i);
        assert_int_equal(salvo_chunk_pool_room(&f.pool, false),
                         CHUNKS - i > 2 ? CHUNKS - i - 2 : 0);
        if (i < CHUNKS)
            salvo_chunk_take(&f.pool);
    }
}

static void the_last_one_given_back_is_taken_next(void **state)
{
    uint32_t at[3];

    (void)state;
    init(0);
    chain(3, at);
    detach(at[0]);
    detach(at[2]);
    assert_int_equal(salvo_chunk_take(&f.pool), at[2]);
    assert_int_equal(salvo_chunk_take(&f.pool), at[0]);
}

/* Free means: not attached, and no frame awaited; in either order. */
static void free_when_detached_and_not_awaited(void **state)
{
    uint32_t at[2];

    (void)state;
    for (int detach_first = 0; detach_first < 2; detach_first++) {
        init(0);
        chain(1, at);
        salvo_chunk_await(&f.pool, at[0], 10, 20);
        salvo_chunk_await(&f.pool, at[0], 30, 34);
        if (detach_first)
            detach(at[0]);
        salvo_chunk_unawait(&f.pool, at[0], 10, 20);
        assert_int_equal(f.pool.free_count, CHUNKS - 1);
        salvo_chunk_unawait(&f.pool, at[0], 30, 34);
        assert_int_equal(f.pool.free_count, CHUNKS - (detach_first ? 0 : 1));
        if (!detach_first)
            detach(at[0]);
        assert_int_equal(f.pool.free_count, CHUNKS);
        assert_true(f.chunks[at[0]].free);
    }
}

/* A frame of every size from every offset is awaited in exactly the chunks that hold its bytes. */
static void a_frame_is_awaited_where_its_bytes_are(void **state)
{
    (void)state;
    for (uint32_t offset = 0; offset < CHUNK_SIZE; offset++) {
        for (uint32_t size = 1; size <= 3 * CHUNK_SIZE - offset; size++) {
            uint32_t at[3];
            uint32_t last = (offset + size - 1) / CHUNK_SIZE;

            init(0);
            chain(3, at);
            salvo_chunk_await(&f.pool, at[0], offset, size);
            for (uint32_t i = 0; i < 3; i++)
                assert_int_equal(f.chunks[at[i]].awaited, i <= last);
            for (uint32_t i = 0; i < 3; i++)
                detach(at[i]);
            assert_int_equal(f.pool.free_count, CHUNKS - 1 - last);
            salvo_chunk_unawait(&f.pool, at[0], offset, size);
            assert_int_equal(f.pool.free_count, CHUNKS);
        }
    }
}

static void settle_a_free_one(void *arg)
{
    uint32_t index = salvo_chunk_take(&f.pool);

    (void)arg;
    detach(index);
    salvo_chunk_settle(&f.pool, index);
}

static void unawait_twice(void *arg)
{
    uint32_t index = salvo_chunk_take(&f.pool);

    (void)arg;
    f.chunks[index].used = 10;
    salvo_chunk_await(&f.pool, index, 0, 10);
    salvo_chunk_unawait(&f.pool, index, 0, 10);
    salvo_chunk_unawait(&f.pool, index, 0, 10);
}

static void release_more_than_taken(void *arg)
{
    uint32_t index = salvo_chunk_take(&f.pool);

    (void)arg;
    f.chunks[index].used = 10;
    f.chunks[index].taken = 5;
    f.chunks[index].released = 6;
    salvo_chunk_settle(&f.pool, index);
}

static void wrong_counts_stop_the_process(void **state)
{
    (void)state;
    init(0);
    assert_true(unit_aborts(settle_a_free_one, NULL));
    assert_true(unit_aborts(unawait_twice, NULL));
    assert_true(unit_aborts(release_more_than_taken, NULL));
}

/* Copy and linear of every piece of a chain whose chunks are filled to different heights. */
static void bytes_are_read_over_the_borders(void **state)
{
    static const uint32_t used[3] = {CHUNK_SIZE, 17, CHUNK_SIZE - 5};
    uint8_t flat[3 * CHUNK_SIZE];
    uint8_t copy[3 * CHUNK_SIZE];
    uint8_t scratch[3 * CHUNK_SIZE];
    uint32_t at[3];
    uint32_t total = 0;

    (void)state;
    init(0);
    chain(3, at);
    for (int i = 0; i < 3; i++) {
        f.chunks[at[i]].used = used[i];
        memcpy(flat + total, f.chunks[at[i]].bytes, used[i]);
        total += used[i];
    }
    for (uint32_t offset = 0; offset < total; offset++) {
        for (uint32_t size = 1; size <= total - offset; size++) {
            const uint8_t *linear;
            bool one = (offset < used[0] && offset + size <= used[0]) ||
                       (offset >= used[0] && offset + size <= used[0] + used[1]) ||
                       offset >= used[0] + used[1];

            memset(copy, 0, sizeof(copy));
            salvo_chunk_copy(&f.pool, at[0], offset, size, copy);
            assert_memory_equal(copy, flat + offset, size);
            linear = salvo_chunk_linear(&f.pool, at[0], offset, size, scratch);
            assert_memory_equal(linear, flat + offset, size);
            assert_int_equal(linear != scratch, one); /* in place when it can be */
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_chunk_is_given_once_and_lies_apart),
        cmocka_unit_test(taking_what_is_not_there_stops_the_process),
        cmocka_unit_test(the_reserve_is_for_the_urgent),
        cmocka_unit_test(the_last_one_given_back_is_taken_next),
        cmocka_unit_test(free_when_detached_and_not_awaited),
        cmocka_unit_test(a_frame_is_awaited_where_its_bytes_are),
        cmocka_unit_test(wrong_counts_stop_the_process),
        cmocka_unit_test(bytes_are_read_over_the_borders),
    };

    return cmocka_run_group_tests_name("dataplane/chunk", tests, NULL, NULL);
}
