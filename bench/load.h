/* The load generator: messages at a constant rate (open loop) or through a window (closed loop),
 * through salvo.h alone, and what became of each of them.
 *
 * Open loop: message i is due at start + i / rate, whatever happened to those before it; latency
 * counts from there. Closed loop: the next message waits for a free place in the window; latency
 * counts from its commit. Due or commit time travels in the cookie, so that nothing is kept per
 * message and nothing is allocated between start and end.
 *
 * The accounting covers every message of the run, the warm-up included; latencies, rates, times and
 * CPU cover what was due (or committed) behind the warm-up.
 *
 * salvo_load_run() is the generator's thread; in caller mode it turns the sender too. A second
 * thread may follow it through struct salvo_load_live. */
#pragma once

#include "base/hist.h"
#include "bench/payload.h"
#include "include/salvo.h"

#include <signal.h>

#define SALVO_LOAD_SUBMITTERS_MAX 64
#define SALVO_LOAD_TOPICS_MAX     64
#define SALVO_LOAD_KINDS_MAX      48 /* distinct kinds of error that are told apart */
#define SALVO_LOAD_TEXT_MAX       160
#define SALVO_LOAD_KIND_NAME_MAX  48 /* "unsent_earlier_failed", with room */
#define SALVO_LOAD_LATE_NS        (1 * SALVO_NS_PER_MS)

/* When the generator finds nothing to do. */
enum salvo_load_idle {
    SALVO_LOAD_SLEEP, /* sleeps; messages due within 50 us of each other go out together */
    SALVO_LOAD_SPIN,  /* turns again: each message goes out at its time, for a whole core */
};

struct salvo_load_conf {
    salvo *sender;
    salvo_topic *topics[SALVO_LOAD_TOPICS_MAX]; /* round robin */
    unsigned topics_count;
    unsigned submitters; /* one per lane, round robin */
    unsigned lanes;
    bool caller; /* threads=caller: the generator turns the sender */
    enum salvo_load_idle idle;

    double rate;         /* messages per second; 0: closed loop */
    uint64_t window;     /* closed loop: messages out at most; 0: what the sender allows */
    uint64_t count;      /* messages behind the warm-up; 0: no limit */
    int64_t duration_ns; /* behind the warm-up; 0: no limit */
    int64_t warmup_ns;
    int64_t drain_ns; /* how long open messages are waited for at the end */
    struct salvo_payload_conf payload;
    const volatile sig_atomic_t *stop; /* not 0: submit no more, drain, report */
};

/* One kind of failure: a code, and for refusals the broker's code. */
struct salvo_load_kind {
    enum salvo_code code;
    int broker_code; /* -1 unless refused */
    uint64_t count;
    char text[SALVO_LOAD_TEXT_MAX]; /* the first one's detail */
};

/* What became of the messages. Each field counts messages. */
struct salvo_load_counts {
    uint64_t planned;
    uint64_t committed;
    uint64_t codes[SALVO_CODES];
    uint64_t acked;
    uint64_t failed;
    uint64_t timed_out;
    uint64_t unsent; /* never committed, or committed and not sent */
    uint64_t stored_unknown;
    uint64_t stored_unknown_unsent; /* a contradiction: makes the run invalid */
    uint64_t retried;               /* with more than one transmission */
    uint64_t bytes;                 /* bodies of committed messages */
};

struct salvo_load_result {
    struct salvo_load_counts all;      /* the whole run */
    struct salvo_load_counts measured; /* behind the warm-up; planned is not counted here */
    struct salvo_load_kind kinds[SALVO_LOAD_KINDS_MAX];
    unsigned kinds_count;
    uint64_t kinds_dropped; /* failures of kinds that found the table full */

    bool open_loop;
    bool interrupted;
    bool drain_cut;      /* the drain's deadline was needed */
    const char *trouble; /* why the generator gave up before its time; NULL: it did not */
    int64_t warmup_ns;   /* as it was */
    /* From the end of the warm-up to the last submission or acknowledgement; to the last result
     * where nothing was acknowledged. */
    int64_t measured_ns;
    double cpu_seconds;    /* the whole process, behind the warm-up */
    double stolen_seconds; /* kept from all CPUs by a hypervisor, the whole run */

    struct salvo_hist latency;        /* acked messages, ns */
    struct salvo_hist schedule_error; /* open loop: due to committed, ns */
    uint64_t late;                    /* late by over 1 ms, the generator's own fault */
    uint64_t held_back;               /* late by over 1 ms, the sender had no room */
    int64_t ring_full_ns;             /* no submitter had room, behind the warm-up */
    int64_t busy_ns;                  /* turns of the generator that found work, drain included */
    int64_t lanes_busy_ns;            /* the same of the lanes, all together */
};

/* One kind of failure, for who follows. */
struct salvo_load_live_kind {
    char name[SALVO_LOAD_KIND_NAME_MAX]; /* fixed once kinds_count has it */
    _Atomic uint64_t count;
};

/* Followed by another thread while the run goes on. */
struct salvo_load_live {
    /* generator -> anyone */
    _Atomic uint64_t planned; /* 0: not known beforehand */
    _Atomic uint64_t committed;
    _Atomic uint64_t acked;
    _Atomic uint64_t failed;
    _Atomic uint64_t timed_out;
    _Atomic uint64_t unsent;
    _Atomic bool warming;
    _Atomic bool draining;

    /* The generator records into hists[swaps % 2]. Who follows asks for a swap at the end of a line
     * and, once `swaps` has moved on, owns the other one until it asks again: it merges and resets
     * it. Once the generator has ended it records no more, and both are the follower's. */
    _Atomic uint32_t swaps_wanted; /* written by the follower */
    _Atomic uint32_t swaps;        /* written by the generator */
    _Atomic bool ended;            /* written by the generator */
    struct salvo_hist hists[2];

    /* generator -> anyone, when a message has failed */
    _Atomic uint32_t kinds_count;
    struct salvo_load_live_kind kinds[SALVO_LOAD_KINDS_MAX]; /* as in the result */
};

/* False for an open loop whose duration lies between two messages: none is due in it. */
bool salvo_load_measures(const struct salvo_load_conf *conf);

void salvo_load_live_init(struct salvo_load_live *live);

/* The follower: asks the generator for the latencies up to now. What it was asked for before has
 * been taken. */
void salvo_load_live_ask(struct salvo_load_live *live);
/* The follower: merges those that were asked for into `into`, and all that are left when the
 * generator has ended; false when it has not swapped yet (try again later). */
bool salvo_load_live_take(struct salvo_load_live *live, struct salvo_hist *into);
/* The generator: what it records from now on goes into hists[return % 2]; `swaps` is what this
 * returned last, at first 0. */
uint32_t salvo_load_live_swap(struct salvo_load_live *live, uint32_t swaps);
/* The generator: it records no more, and does not swap. */
void salvo_load_live_end(struct salvo_load_live *live);

/* The generator: a kind that was not seen before, as the next of `kinds`. */
void salvo_load_live_add_kind(struct salvo_load_live *live, const char *name);
/* The generator: how often kind `index` was seen by now. */
void salvo_load_live_count_kind(struct salvo_load_live *live, unsigned index, uint64_t count);
/* Anyone: "errors 0", "errors 15: refused_13 10, timed_out 2, others 3": of the most frequent two
 * kinds each by name. */
void salvo_load_live_errors(const struct salvo_load_live *live, char *ret_text, size_t size);

/* Runs to the end, drains and fills *ret_result (large: keep it off the stack), all but the
 * latencies, which salvo_load_result_join brings home. The sender stays open; all its messages have
 * their results. 0, or a negative errno when it could not start (-ENOSPC: submitters, -ENOMEM,
 * -EINVAL: payload). */
int salvo_load_run(const struct salvo_load_conf *conf, struct salvo_load_live *live,
                   struct salvo_load_result *ret_result);

/* After run, when nobody follows any more: adds the latencies left in `live`, and those the
 * follower took away (may be NULL). */
void salvo_load_result_join(struct salvo_load_result *result, const struct salvo_load_live *live,
                            const struct salvo_hist *taken);

/* "refused_17", "timed_out": the stable name of a kind. */
void salvo_load_kind_name(const struct salvo_load_kind *kind, char *ret_name, size_t size);
