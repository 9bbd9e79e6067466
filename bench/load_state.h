/* What load.c, load_result.c and load_wait.c share. */
#pragma once

#include "bench/load.h"

struct salvo_load {
    const struct salvo_load_conf *conf;
    struct salvo_load_live *live;
    struct salvo_load_result *result;
    salvo_submitter *submitters[SALVO_LOAD_SUBMITTERS_MAX];
    struct salvo_payload payload;

    int64_t start_ns; /* message 0 is due */
    double interval_ns;
    uint64_t target; /* messages of the plan, warm-up included; UINT64_MAX: until told otherwise */
    int64_t end_ns;  /* closed loop, or the grace of an open one; INT64_MAX: none */
    bool measuring;
    double cpu_before;
    double stolen_before;
    uint64_t lane_busy_before_ns;

    struct salvo_load_counts warm; /* before the end of the warm-up; the rest is the result's */

    /* submitting */
    uint64_t next; /* number of the message to submit next */
    struct salvo_payload_draw draw;
    unsigned submitter_next;
    unsigned topic_next;
    bool backlogged;       /* was refused room and has not caught up with the plan since */
    int64_t full_since_ns; /* no submitter has room; 0: there is room */
    int64_t last_commit_ns;
    int64_t last_ack_ns;
    int64_t last_result_ns; /* good or not */
    uint64_t out;           /* committed, without a result */
    uint32_t swaps;
};

/* load_result.c: polls every submitter. Returns how many results came. */
int salvo_load_poll(struct salvo_load *load);
/* Adds what was counted of messages: all but planned and committed. */
void salvo_load_counts_add(struct salvo_load_counts *to, const struct salvo_load_counts *counts);

/* load_wait.c: nothing to do for now; sleeps as configured, at most until `until_ns`. */
void salvo_load_wait(struct salvo_load *load, int64_t now_ns, int64_t until_ns);
/* Makes sleeps of the calling thread end within microseconds of their time. */
void salvo_load_wait_init(void);
