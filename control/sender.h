/* A sender put together: plan, memory, lanes, control; threads or none; start, drain, stop.
 *
 * Threads are decided in one switch (sender_start). Everything that comes from outside (time,
 * network, chance) comes through struct salvo_sender_env, so that the simulator drives the
 * production code. */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/idle.h"
#include "base/log.h"
#include "control/control.h"
#include "control/nets.h"
#include "control/plan.h"
#include "dataplane/lane.h"

#include <pthread.h>

/* Lane index for salvo_sender_env.net_open: control's own net. */
#define SALVO_ENV_CONTROL UINT32_MAX

/* What comes from outside. NULL members: the machine's own. */
struct salvo_sender_env {
    struct salvo_clock *clock;
    uint64_t seed; /* 0: from the system */
    /* Makes the net of a lane, or of control (SALVO_ENV_CONTROL). */
    int (*net_open)(void *arg, uint32_t lane_index, const struct salvo_net_conf *conf,
                    struct salvo_net **ret_net, const char **ret_note);
    /* Caller mode: lets time pass while a blocking call waits, at most until the given time. */
    void (*pass)(void *arg, int64_t until_ns);
    void *arg;
};

struct salvo_sender {
    /* fixed after start */
    struct salvo_config config;
    struct salvo_plan plan;
    struct salvo_sender_env env;
    struct salvo_clock *clock;
    struct salvo_arena arena;
    struct salvo_log log;
    struct salvo_lane **lanes;
    struct salvo_lane_port **ports;
    struct salvo_idle *idles; /* a lane's; control has its own wait */
    uint32_t lanes_count;
    struct salvo_submitter *submitters;
    salvo_availability *availability;
    struct salvo_statfile statfile;
    bool statfile_open;
    struct salvo_error_log errors;
    struct salvo_nets nets;
    struct salvo_net *control_net;
    const char *net_note;    /* why a lane's backend is not the one asked for; NULL */
    uint32_t net_note_lanes; /* in how many lanes it is not */
    pthread_t *threads;
    uint32_t threads_count;
    uint32_t owner; /* caller mode: the thread that turns it */

    /* control only */
    struct salvo_control control;
    bool control_ready;
    int64_t drain_told_ns;  /* the deadline that every lane knows; 0: none */
    int64_t control_due_ns; /* caller and shared mode: when control's turn is due */

    /* anyone */
    alignas(SALVO_CACHE_LINE) _Atomic uint32_t submitters_epoch;
    _Atomic uint32_t draining;     /* inputs are closed */
    _Atomic int64_t drain_at_ns;   /* the earliest deadline; 0: no drain asked for */
    _Atomic uint32_t drained;      /* every lane has said so */
    _Atomic uint32_t stopping;     /* control unregisters */
    _Atomic uint32_t control_done; /* and has */
    _Atomic uint32_t stop;         /* threads end */
};

/* What can be told without making or opening anything: CPUs, nameserver addresses (none is no
 * mistake here: commands may bring their own) and the place of the stat file. 0, or a negative
 * errno with one sentence in errbuf. salvo_sender_start begins with it. */
int salvo_sender_check(const struct salvo_config *config, char *errbuf, size_t errbuf_size);

/* Takes everything and starts. 0, or a negative errno with one sentence in errbuf. */
int salvo_sender_start(struct salvo_sender *sender, const struct salvo_config *config,
                       const struct salvo_log *log, const struct salvo_sender_env *env,
                       char *errbuf, size_t errbuf_size);

/* Ends the threads and gives everything back. Nothing is out any more. */
void salvo_sender_stop(struct salvo_sender *sender);

/* A submitter bound to the lane with fewest: see salvo_submitter_open. 0, -ENOSPC or -EAGAIN.
 * Thread: any. */
int salvo_sender_submitter(struct salvo_sender *sender, struct salvo_submitter **ret_s);
/* Lets go of it. Thread: its own. */
void salvo_sender_submitter_done(struct salvo_sender *sender, struct salvo_submitter *s);

/* Caller mode: one turn of control (when it is due) and of each lane. */
int salvo_sender_do_work(struct salvo_sender *sender);
/* Caller mode: until when nothing happens by itself (mono ns). */
int64_t salvo_sender_next_ns(struct salvo_sender *sender);
/* Caller mode: sleeps by the idle strategy, at most max_ns. */
void salvo_sender_idle(struct salvo_sender *sender, int work, int64_t max_ns);

/* Closes the inputs and waits until every message has its result, at most drain_ns. 0 or
 * -ETIMEDOUT. Thread: any; the earliest deadline counts. */
int salvo_sender_drain(struct salvo_sender *sender, int64_t drain_ns);
