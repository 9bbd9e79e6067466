/* The plan: every size, worked out from the configuration before anything is taken, with its
 * formula. `salvo check` prints it; what cannot fit is refused here, with the reason and the
 * remedy. */
#pragma once

#include "base/memory.h"
#include "control/config.h"
#include "dataplane/lane.h"

#define SALVO_PLAN_ROWS_MAX 24

struct salvo_plan_row {
    const char *what;
    uint64_t count;
    uint64_t size;       /* bytes of one */
    const char *formula; /* of count and size */
};

struct salvo_plan {
    uint32_t lanes_count;
    uint64_t slot_size_max; /* of a message in its ring */
    uint64_t ring_size;
    uint64_t chunks_memory;    /* of one lane, with the buffers of open batches */
    uint64_t submitter_memory; /* of one */
    uint64_t lane_memory;      /* of one, without chunks */
    uint64_t arena_size;       /* all that is taken at start */
    /* For one lane; clock, net, submitters and other pointers are left out. */
    struct salvo_lane_conf lane;
    struct salvo_submitter_conf submitter; /* pointers and identity left out */
    struct salvo_net_conf net;             /* of a lane; clock and memory left out */
    uint32_t rows_count;
    struct salvo_plan_row rows[SALVO_PLAN_ROWS_MAX];
};

/* 0, or -EINVAL with one sentence: what does not fit, and which option would make it fit. */
int salvo_plan_make(const struct salvo_config *config, struct salvo_plan *ret_plan,
                    char ret_error[SALVO_CONFIG_ERROR_MAX]);

/* 0, or -ENOMEM with one sentence when the host has less than `size` bytes for the arena. All of it
 * is touched at start: the kernel would end this process or another, with swap it would crawl. */
int salvo_plan_fits(uint64_t size, bool huge_pages, const struct salvo_memory *memory,
                    char ret_error[SALVO_CONFIG_ERROR_MAX]);

/* The table with counts, sizes, bytes and formulas. */
void salvo_plan_print(const struct salvo_plan *plan, FILE *to);
