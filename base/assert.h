/* Assertions: what must hold by our own hand. On in every build; never on what a peer sent.
 *
 * A failed assertion prints place and condition to standard error and aborts: going on with a
 * broken invariant could lose or double a message, which is worse than stopping. */
#pragma once

#include "base/base.h"

#include <assert.h> /* static_assert */

#define salvo_assert(condition)                                                                    \
    do {                                                                                           \
        if (SALVO_UNLIKELY(!(condition)))                                                          \
            salvo_assert_failed(__FILE__, __LINE__, __func__, #condition);                         \
    } while (0)

/* Checks too slow for a hot path; compiled in when SALVO_SLOW_ASSERT is defined (debug builds). */
#if defined(SALVO_SLOW_ASSERT)
#define salvo_slow_assert(condition) salvo_assert(condition)
#else
#define salvo_slow_assert(condition)                                                               \
    do {                                                                                           \
        (void)sizeof(!!(condition));                                                               \
    } while (0)
#endif

#define salvo_unreachable() salvo_assert_failed(__FILE__, __LINE__, __func__, "unreachable")

_Noreturn void salvo_assert_failed(const char *file, int line, const char *function,
                                   const char *condition);
