/* What bench/micro/dataplane.cc measures. The headers of dataplane are C and stay so; C++ sees a
 * table. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct dataplane_case {
    const char *name;
    /* Does `items` of the work; items is a multiple of DATAPLANE_ITEMS. */
    void (*run)(uint64_t items);
    void (*begin)(void); /* before and after a measurement; NULL: nothing to do */
    void (*end)(void);
};

#define DATAPLANE_ITEMS 8192

/* Makes the cases, which live as long as the process. Returns how many. */
size_t dataplane_cases(const struct dataplane_case **ret_cases);

/* From here on (until false) an allocation by the calling thread stops the process, in builds
 * without a sanitizer. */
void dataplane_forbid_allocation(int forbidden);
