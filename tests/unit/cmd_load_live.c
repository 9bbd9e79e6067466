/* The line that `salvo load` writes each second: the test is the generator. */
#include "cmd/load_live.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct cmd_load_live live;

/* The follower wants what it has not got yet: a line is due. */
static bool asked(void)
{
    return atomic_load(&live.shared.swaps_wanted) != atomic_load(&live.shared.swaps);
}

/* What stands on standard error when a run of `acked` messages has ended while a line was due. */
static const char *lines_of(unsigned acked, bool swapped)
{
    static char text[1024];
    int standard_error = dup(STDERR_FILENO);
    FILE *file = tmpfile();
    size_t size;

    assert_non_null(file);
    dup2(fileno(file), STDERR_FILENO);
    cmd_load_live_start(&live);
    for (unsigned i = 0; i < acked; i++)
        salvo_hist_record(&live.shared.hists[0], 2000000);
    atomic_store(&live.shared.acked, acked);
    while (!asked())
        sched_yield();
    if (swapped)
        salvo_load_live_swap(&live.shared, 0);
    salvo_load_live_end(&live.shared);
    cmd_load_live_stop(&live);
    dup2(standard_error, STDERR_FILENO);
    close(standard_error);
    rewind(file);
    size = fread(text, 1, sizeof(text) - 1, file);
    text[size] = '\0';
    fclose(file);
    return text;
}

static void a_run_that_ends_while_a_line_is_due_has_its_latencies_in_it(void **state)
{
    for (unsigned i = 0; i < 2; i++) {
        const char *lines = lines_of(7, i == 0);

        assert_null(strstr(lines, "no latencies"));
        assert_non_null(strstr(lines, "p50 2.00ms"));
        assert_int_equal(live.taken.count, 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_that_ends_while_a_line_is_due_has_its_latencies_in_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
