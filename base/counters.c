/* The counter tables, made from counters.def. The preprocessor cannot write lower case, so the
 * names are brought to it once, before main. */
#include "base/counters.h"

#include "base/assert.h"

#include <ctype.h>

/* The longest name and its terminator, with room to grow. */
#define COUNTERS_NAME_SIZE 48

static char counters_lane_names[SALVO_LANE_COUNTERS][COUNTERS_NAME_SIZE] = {
#define LANE_COUNTER(name, unit, kind, text) "lane_" #name,
#define CONTROL_COUNTER(name, unit, kind, text)
#include "base/counters.def"
#undef LANE_COUNTER
#undef CONTROL_COUNTER
};

static char counters_control_names[SALVO_CONTROL_COUNTERS][COUNTERS_NAME_SIZE] = {
#define LANE_COUNTER(name, unit, kind, text)
#define CONTROL_COUNTER(name, unit, kind, text) "control_" #name,
#include "base/counters.def"
#undef LANE_COUNTER
#undef CONTROL_COUNTER
};

#define LANE_COUNTER(name, unit, kind, text)                                                       \
    static_assert(sizeof("lane_" #name) <= COUNTERS_NAME_SIZE, "the name fits");
#define CONTROL_COUNTER(name, unit, kind, text)                                                    \
    static_assert(sizeof("control_" #name) <= COUNTERS_NAME_SIZE, "the name fits");
#include "base/counters.def"
#undef LANE_COUNTER
#undef CONTROL_COUNTER

const struct salvo_counter_info salvo_lane_counter_info[SALVO_LANE_COUNTERS] = {
#define LANE_COUNTER(name, unit, kind, text)                                                       \
    {counters_lane_names[SALVO_LANE_##name], unit, SALVO_COUNTER_##kind, SALVO_COUNTER_LANE, text},
#define CONTROL_COUNTER(name, unit, kind, text)
#include "base/counters.def"
#undef LANE_COUNTER
#undef CONTROL_COUNTER
};

const struct salvo_counter_info salvo_control_counter_info[SALVO_CONTROL_COUNTERS] = {
#define LANE_COUNTER(name, unit, kind, text)
#define CONTROL_COUNTER(name, unit, kind, text)                                                    \
    {counters_control_names[SALVO_CONTROL_##name], unit, SALVO_COUNTER_##kind,                     \
     SALVO_COUNTER_CONTROL, text},
#include "base/counters.def"
#undef LANE_COUNTER
#undef CONTROL_COUNTER
};

static void counters_lower(char *name)
{
    for (; *name != 0; name++)
        *name = (char)tolower((unsigned char)*name);
}

__attribute__((constructor)) static void counters_lower_names(void)
{
    for (unsigned i = 0; i < SALVO_LANE_COUNTERS; i++)
        counters_lower(counters_lane_names[i]);
    for (unsigned i = 0; i < SALVO_CONTROL_COUNTERS; i++)
        counters_lower(counters_control_names[i]);
}
