/* Linked where there is no x86-64 time-stamp counter: the system clock takes its place. */
#include "base/clock.h"

struct salvo_clock *salvo_clock_tsc(void)
{
    return salvo_clock_system();
}
