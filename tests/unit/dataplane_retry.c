/* The retry decision, whole: every way a try can end against everything that is left, and what the
 * protocol reference 7.1 says of each code. */
#include "tests/unit/unit.h"

#include "codec/remoting.h"
#include "dataplane/retry.h"

#define TRIES_MAX 3u

/* What each code means; a code that is not here fails at once. */
static const struct expected_code {
    int32_t code;
    bool again;
    bool stored;
    bool busy;
    bool route_stale;
    enum salvo_code good;
} codes[] = {
    {.code = 0, .stored = true, .good = SALVO_OK},
    {.code = 10, .stored = true, .good = SALVO_OK_FLUSH_DISK_TIMEOUT},
    {.code = 11, .stored = true, .good = SALVO_OK_SLAVE_NOT_AVAILABLE},
    {.code = 12, .stored = true, .good = SALVO_OK_FLUSH_SLAVE_TIMEOUT},
    /* the retry set of 5.3.1: 17, 14, 1, 16, 204, 205, 2, 1500; and 215 as flow control */
    {.code = 17, .again = true, .route_stale = true},
    {.code = 14, .again = true},
    {.code = 1, .again = true},
    {.code = 16, .again = true, .route_stale = true},
    {.code = 204, .again = true},
    {.code = 205, .again = true},
    {.code = 2, .again = true, .busy = true},
    {.code = 1500, .again = true},
    {.code = 215, .again = true, .busy = true},
    {.code = 29, .route_stale = true}, /* no such queue: our route is old */
};

static struct expected_code expect(int32_t code)
{
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(codes); i++)
        if (codes[i].code == code)
            return codes[i];
    return (struct expected_code){.code = code};
}

/* The inputs, one for each bit of a number. */
static struct salvo_retry_input input_of(enum salvo_try_end try_end, int32_t code, uint32_t tries,
                                         unsigned bits)
{
    return (struct salvo_retry_input){
        .end = try_end,
        .code = code,
        .tries = tries,
        .tries_max = TRIES_MAX,
        .time_left = (bits & 1) != 0,
        .queue_fixed = (bits & 2) != 0,
        .batch = (bits & 4) != 0,
        .stored_maybe = (bits & 8) != 0,
        .stored_ok_elsewhere = (bits & 16) != 0,
    };
}

/* All codes from -1 to 2000, all tries, all flags. */
static void every_answer(void **state)
{
    (void)state;
    for (int32_t code = -1; code <= 2000; code++) {
        for (uint32_t tries = 0; tries <= TRIES_MAX + 1; tries++) {
            for (unsigned bits = 0; bits < 32; bits++) {
                struct salvo_retry_input in = input_of(SALVO_TRY_ANSWERED, code, tries, bits);
                struct salvo_retry_decision d = salvo_retry_decide(&in);
                struct expected_code e = expect(code);
                bool left = in.time_left && tries < TRIES_MAX;

                assert_int_equal(d.busy, e.busy);
                assert_int_equal(d.route_stale, e.route_stale);
                assert_int_equal(d.go_away, code == 1500);
                if (e.stored && code != 0 && in.stored_ok_elsewhere && left && !in.queue_fixed) {
                    assert_int_equal(d.action, SALVO_RETRY_ELSEWHERE);
                    assert_true(d.stored_maybe);
                } else if (e.stored) {
                    assert_int_equal(d.action, SALVO_RETRY_GOOD);
                    assert_int_equal(d.code, e.good);
                    assert_int_equal(d.stored, SALVO_STORED_YES);
                } else if (code == 13 && in.batch && in.time_left) {
                    assert_int_equal(d.action, SALVO_RETRY_SPLIT); /* whatever tries are used up */
                    assert_int_equal(d.stored_maybe, in.stored_maybe);
                } else if (e.again && left) {
                    assert_int_equal(d.action,
                                     in.queue_fixed ? SALVO_RETRY_SAME : SALVO_RETRY_ELSEWHERE);
                    /* The broker said no, so this try stored nothing; an earlier one may have. */
                    assert_int_equal(d.stored_maybe, in.stored_maybe);
                } else {
                    assert_int_equal(d.action, SALVO_RETRY_FAIL);
                    assert_int_equal(d.code, SALVO_REFUSED);
                    assert_int_equal(d.stored,
                                     in.stored_maybe ? SALVO_STORED_UNKNOWN : SALVO_STORED_NO);
                }
            }
        }
    }
}

static void every_try_without_an_answer(void **state)
{
    static const enum salvo_try_end ends[] = {SALVO_TRY_TIMED_OUT, SALVO_TRY_LOST,
                                              SALVO_TRY_NOT_SENT};

    (void)state;
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(ends); i++) {
        for (uint32_t tries = 0; tries <= TRIES_MAX + 1; tries++) {
            for (unsigned bits = 0; bits < 32; bits++) {
                struct salvo_retry_input in = input_of(ends[i], 0, tries, bits);
                struct salvo_retry_decision d = salvo_retry_decide(&in);
                bool sent = ends[i] != SALVO_TRY_NOT_SENT;
                bool maybe = in.stored_maybe || sent;

                assert_false(d.busy || d.route_stale || d.go_away);
                if (in.time_left && (!sent || tries < TRIES_MAX)) {
                    assert_int_equal(d.action,
                                     in.queue_fixed ? SALVO_RETRY_SAME : SALVO_RETRY_ELSEWHERE);
                    assert_int_equal(d.stored_maybe, maybe);
                    continue;
                }
                assert_int_equal(d.action, SALVO_RETRY_FAIL);
                assert_int_equal(d.stored, maybe ? SALVO_STORED_UNKNOWN : SALVO_STORED_NO);
                if (ends[i] == SALVO_TRY_LOST)
                    assert_int_equal(d.code, SALVO_CONNECTION_LOST);
                else if (ends[i] == SALVO_TRY_TIMED_OUT || maybe)
                    assert_int_equal(d.code, SALVO_TIMED_OUT);
                else
                    assert_int_equal(d.code, SALVO_TIMED_OUT_UNSENT);
            }
        }
    }
}

/* A result never says "not stored" when some try may have stored it, nor "unsent" when it was. */
static void nothing_is_promised_that_is_not_known(void **state)
{
    (void)state;
    for (enum salvo_try_end e = SALVO_TRY_ANSWERED; e <= SALVO_TRY_NOT_SENT; e++) {
        for (int32_t code = 0; code <= 300; code++) {
            for (unsigned bits = 0; bits < 32; bits++) {
                struct salvo_retry_input in = input_of(e, code, TRIES_MAX, bits);
                struct salvo_retry_decision d = salvo_retry_decide(&in);

                if (d.action != SALVO_RETRY_FAIL || !in.stored_maybe)
                    continue;
                assert_int_equal(d.stored, SALVO_STORED_UNKNOWN);
                assert_int_not_equal(d.code, SALVO_TIMED_OUT_UNSENT);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_answer),
        cmocka_unit_test(every_try_without_an_answer),
        cmocka_unit_test(nothing_is_promised_that_is_not_known),
    };

    return cmocka_run_group_tests_name("dataplane/retry", tests, NULL, NULL);
}
