/* base/alloc_check: a thread that forbade itself allocation is stopped at the first one; others go
 * on. */
#include "tests/unit/unit.h"

#include "base/arena.h"
#include "base/cpu.h"

#include <malloc.h>
#include <stdio.h>

/* Volatile: the compiler knows malloc and would leave out a piece nobody looks at. */
static void *volatile kept;

static void call_nothing(void)
{
    kept = NULL;
}

static void call_malloc(void)
{
    kept = malloc(10);
}

static void call_calloc(void)
{
    kept = calloc(2, 10);
}

static void call_realloc(void)
{
    kept = realloc(NULL, 10);
}

static void call_aligned_alloc(void)
{
    kept = aligned_alloc(64, 64);
}

static void call_memalign(void)
{
    kept = memalign(64, 64);
}

static void call_posix_memalign(void)
{
    void *memory = NULL;

    if (posix_memalign(&memory, 64, 64) == 0)
        kept = memory;
}

static void call_free(void)
{
    free(kept);
}

static void call_free_of_nothing(void)
{
    kept = NULL;
    free(kept);
}

static void call_strdup(void)
{
    kept = strdup("libc allocates for us");
}

static const struct {
    void (*call)(void);
    bool aborts;
} calls[] = {
    {call_nothing, false},       {call_malloc, true},        {call_calloc, true},
    {call_realloc, true},        {call_aligned_alloc, true}, {call_memalign, true},
    {call_posix_memalign, true}, {call_free, true},          {call_free_of_nothing, false},
    {call_strdup, true},
};

static void forbid_and_call(void *arg)
{
    void (*const *call)(void) = arg;

    kept = malloc(10);
    salvo_alloc_forbid(true);
    (*call)();
}

static void lift_and_call(void *arg)
{
    void (*const *call)(void) = arg;

    salvo_alloc_forbid(true);
    salvo_alloc_forbid(false);
    (*call)();
}

static void what_is_forbidden_aborts(void **state)
{
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(calls); i++) {
        void (*call)(void) = calls[i].call;

        assert_int_equal(unit_aborts(forbid_and_call, &call), calls[i].aborts);
        assert_false(unit_aborts(lift_and_call, &call));
    }
}

static void *allocate_on_a_thread(void *arg)
{
    free(malloc(10));
    kept = malloc(10);
    free(kept);
    return NULL;
}

static void forbid_and_wait_for_another(void *arg)
{
    pthread_t thread;

    if (salvo_thread_start(&thread, "allocates", allocate_on_a_thread, NULL) != 0)
        abort();
    salvo_alloc_forbid(true);
    while (kept == NULL)
        salvo_cpu_relax();
    salvo_alloc_forbid(false);
    salvo_thread_join(thread);
}

static void another_thread_may_allocate(void **state)
{
    kept = NULL;
    assert_false(unit_aborts(forbid_and_wait_for_another, NULL));
}

/* The definitions stand in for libc's in every other respect. */
static void memory_is_memory(void **state)
{
    char *text = malloc(4);
    void *aligned = NULL;

    assert_non_null(text);
    memcpy(text, "abc", 4);
    text = realloc(text, 100000);
    assert_string_equal(text, "abc");
    free(text);
    text = calloc(1000, 10);
    for (size_t i = 0; i < 10000; i++)
        assert_int_equal(text[i], 0);
    free(text);
    assert_int_equal(posix_memalign(&aligned, 4096, 10), 0);
    assert_int_equal((uintptr_t)aligned % 4096, 0);
    free(aligned);
    assert_int_not_equal(posix_memalign(&aligned, 3, 10), 0);
    free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_forbidden_aborts),
        cmocka_unit_test(another_thread_may_allocate),
        cmocka_unit_test(memory_is_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
