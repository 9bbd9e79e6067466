/* base/arena: pieces are aligned, zeroed, apart and counted; a locked or spent arena stops the
 * process. */
#include "tests/unit/unit.h"

#include "base/arena.h"
#include "base/random.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

static void pieces_are_aligned_zeroed_and_apart(void **state)
{
    static const size_t alignments[] = {1, 8, 64, 4096, SALVO_MIB(2), 64, 2};
    struct salvo_arena arena;
    uint8_t *end = NULL;
    size_t planned = 0;

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(alignments); i++)
        planned += salvo_arena_cost(1000 + i, alignments[i]);
    assert_int_equal(salvo_arena_init(&arena, planned, false), 0);
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(alignments); i++) {
        uint8_t *piece = salvo_arena_take(&arena, 1000 + i, alignments[i]);

        assert_int_equal((uintptr_t)piece % alignments[i], 0);
        assert_true(piece >= end);
        for (size_t n = 0; n < 1000 + i; n++)
            assert_int_equal(piece[n], 0);
        memset(piece, 0xff, 1000 + i);
        end = piece + 1000 + i;
    }
    assert_true(arena.used <= planned);
    salvo_arena_deinit(&arena);
}

/* The plan adds up costs and the arena must then suffice, in whatever order and size things are
 * taken. */
static void the_cost_covers_the_take(void **state)
{
    uint64_t seed = unit_seed(7);
    struct salvo_random random;

    printf("seed %llu\n", (unsigned long long)seed);
    salvo_random_init(&random, seed);
    for (unsigned round = 0; round < 100; round++) {
        size_t sizes[20], alignments[20], planned = 0;
        struct salvo_arena arena;

        for (size_t i = 0; i < SALVO_ARRAY_LENGTH(sizes); i++) {
            sizes[i] = salvo_random_below(&random, 10000);
            alignments[i] = (size_t)1 << salvo_random_below(&random, 14);
            planned += salvo_arena_cost(sizes[i], alignments[i]);
        }
        assert_int_equal(salvo_arena_init(&arena, planned, false), 0);
        for (size_t i = 0; i < SALVO_ARRAY_LENGTH(sizes); i++)
            assert_non_null(salvo_arena_take(&arena, sizes[i], alignments[i]));
        salvo_arena_deinit(&arena);
    }
}

static void the_macro_gives_whole_cache_lines_apart(void **state)
{
    struct salvo_arena arena;
    uint32_t *a, *b;

    assert_int_equal(salvo_arena_init(&arena, 4096, false), 0);
    a = SALVO_ARENA_TAKE(&arena, uint32_t, 3);
    b = SALVO_ARENA_TAKE(&arena, uint32_t, 3);
    assert_int_equal((uintptr_t)a % SALVO_CACHE_LINE, 0);
    assert_int_equal((uintptr_t)b - (uintptr_t)a, SALVO_CACHE_LINE);
    salvo_arena_deinit(&arena);
}

static void huge_pages_are_taken_or_done_without(void **state)
{
    struct salvo_arena arena;

    assert_int_equal(salvo_arena_init(&arena, SALVO_MIB(2) + 1, true), 0);
    printf("huge pages: %s\n", arena.huge ? "given" : "none here");
    memset(salvo_arena_take(&arena, SALVO_MIB(2) + 1, 1), 1, SALVO_MIB(2) + 1);
    salvo_arena_deinit(&arena);
    assert_null(arena.base);
}

/* A fork that had to copy it would fail where huge pages are short. */
static void a_forked_child_does_not_have_it(void **state)
{
    static const bool huge[] = {false, true};
    const uint8_t mark = 0x5a;

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(huge); i++) {
        struct salvo_arena arena;
        int status;
        pid_t child;

        assert_int_equal(salvo_arena_init(&arena, SALVO_MIB(2), huge[i]), 0);
        arena.base[0] = mark;
        child = fork();
        assert_true(child >= 0);
        if (child == 0) { /* nothing is mapped there, or what a sanitizer has put into the gap */
            bool mapped = msync(arena.base, arena.size, MS_ASYNC) == 0;

            _exit(mapped && arena.base[0] == mark ? 1 : 0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        assert_int_equal(arena.base[0], mark);
        salvo_arena_deinit(&arena);
    }
}

static void too_much_is_an_error(void **state)
{
    struct salvo_arena arena;

    assert_int_equal(salvo_arena_init(&arena, SIZE_MAX, true), -ENOMEM);
    assert_int_equal(salvo_arena_init(&arena, (size_t)1 << 62, true), -ENOMEM);
}

static void take_one(void *arg)
{
    salvo_arena_take(arg, 1, 1);
}

static void take_badly_aligned(void *arg)
{
    salvo_arena_take(arg, 1, 3);
}

static void take_everything(void *arg)
{
    salvo_arena_take(arg, SIZE_MAX, 1);
}

static void a_take_after_the_lock_asserts(void **state)
{
    struct salvo_arena arena;

    assert_int_equal(salvo_arena_init(&arena, 4096, false), 0);
    assert_false(unit_aborts(take_one, &arena));
    salvo_arena_lock(&arena);
    assert_true(unit_aborts(take_one, &arena));
    salvo_arena_deinit(&arena);
}

static void a_take_of_more_than_planned_asserts(void **state)
{
    struct salvo_arena arena;

    assert_int_equal(salvo_arena_init(&arena, 100, false), 0);
    assert_true(unit_aborts(take_everything, &arena));
    assert_true(unit_aborts(take_badly_aligned, &arena));
    salvo_arena_take(&arena, 100, 1);
    assert_true(unit_aborts(take_one, &arena)); /* the page has room left, the plan has not */
    salvo_arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_aligned_zeroed_and_apart),
        cmocka_unit_test(the_cost_covers_the_take),
        cmocka_unit_test(the_macro_gives_whole_cache_lines_apart),
        cmocka_unit_test(huge_pages_are_taken_or_done_without),
        cmocka_unit_test(a_forked_child_does_not_have_it),
        cmocka_unit_test(too_much_is_an_error),
        cmocka_unit_test(a_take_after_the_lock_asserts),
        cmocka_unit_test(a_take_of_more_than_planned_asserts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
