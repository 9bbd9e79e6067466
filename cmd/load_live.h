/* The line that `salvo load` writes each second: rewritten in place on a terminal, plain lines
 * elsewhere. A thread of its own, so that a slow terminal never makes a message late. */
#pragma once

#include "bench/load.h"

#include <pthread.h>

struct cmd_load_live {
    struct salvo_load_live shared;
    struct salvo_hist taken;  /* since the start, handed back to the result */
    struct salvo_hist second; /* since the last line */
    pthread_t thread;
    bool started;
    bool terminal;
    int over_fd; /* readable: the run is over */
    int64_t start_ns;
    int64_t line_ns;
    uint64_t line_acked;
};

/* A live line costs nothing it could fail for: when the thread does not start there is no line. */
void cmd_load_live_start(struct cmd_load_live *live);
/* Joins the thread and ends the line. */
void cmd_load_live_stop(struct cmd_load_live *live);
