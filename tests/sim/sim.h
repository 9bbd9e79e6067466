/* The sender simulation: one seed drives a whole sender (public API, caller mode) and the mock
 * cluster in one world of virtual time, on one thread.
 *
 *   main.c     seeds, jobs, the table of faults by connection state
 *   world.c    what a seed means; the world's set-up, one step of it, a run from start to close
 *   load.c     which messages there are, how they are submitted, how results are noted
 *   faults.c   what goes wrong, when, and in which state of the connection concerned
 *   watch.c    a net between a lane and its backend: no allocation in a turn, answers that lie
 *   path.c     between a lane on salvo's own TCP and the world: a bad wire, and a model TCP
 *   checks.c   what must hold after a run; shares no code with the sender
 *
 * Nothing here may depend on anything but the seed: no address, no real time, no order of a hash.
 */
#pragma once

#include "base/base.h"
#include "base/random.h"
#include "control/api.h"
#include "dataplane/net_sim.h"
#include "mock/mock.h"

#include <stdio.h>

#define SIM_BROKERS_MAX    3u
#define SIM_SENDER_BROKERS 6u /* brokers_max of the sender */
#define SIM_TOPICS         4u
#define SIM_SUBMITTERS_MAX 3u
#define SIM_SHARDS         12u
#define SIM_MESSAGES_MAX   4096u

/* Numbers of hosts in the world: the mock's are its own, from 0. */
#define SIM_HOST_LANE(index) (100u + (index))
#define SIM_HOST_CONTROL     110u

/* Phases of a run, in virtual time from its start. */
#define SIM_FAULTS_FROM_NS (1 * SALVO_NS_PER_S)
#define SIM_FAULTS_END_NS  (46 * SALVO_NS_PER_S)
#define SIM_HEAL_NS        (48 * SALVO_NS_PER_S)
/* After this every message with a budget of SIM_LIVE_BUDGET_MS is to be acknowledged. */
#define SIM_LIVE_NS        (61 * SALVO_NS_PER_S)
#define SIM_LIVE_BUDGET_MS 6000
#define SIM_LOAD_END_NS    (63 * SALVO_NS_PER_S)

enum sim_kind { SIM_FREE, SIM_PINNED, SIM_ORDERED };

/* One message: what was asked for, and what came back. */
struct sim_message {
    uint8_t topic;
    uint8_t submitter;
    uint8_t kind;
    uint8_t shard;
    uint8_t queue_index;
    bool no_wait;
    bool delayed;
    bool live; /* committed after all faults had healed */
    int32_t flag;
    uint32_t body_size;
    uint64_t body_digest;
    int64_t commit_ns;
    int64_t budget_ns;
    uint32_t results_before; /* polled when it was committed */

    /* its result */
    uint32_t results;
    uint32_t result_order;
    enum salvo_code code;
    enum salvo_stored stored;
    int broker_code;
    int tries;
    int queue_id;
    int64_t queue_offset;
    int64_t done_ns;
    char broker[32];
    char id[SALVO_MSG_ID_MAX];

    /* what the mock has of it */
    uint32_t copies;
    uint64_t first_order;
    uint32_t first_broker;
    int32_t first_queue;
    bool elsewhere; /* copies on more than one queue */
    bool offset_found;
};

/* Connection states, as the table's columns. */
enum sim_state {
    SIM_STATE_DOWN,
    SIM_STATE_CONNECTING,
    SIM_STATE_IDLE,
    SIM_STATE_INFLIGHT,
    SIM_STATE_BLOCKED, /* the network took less than offered */
    SIM_STATE_DYING,   /* dead, but bytes are still referred to */
    SIM_STATES,
};

enum sim_fault_kind {
    SIM_FAULT_RESET,
    SIM_FAULT_CUT,
    SIM_FAULT_DELAY,
    SIM_FAULT_LATE,
    SIM_FAULT_TWICE,
    SIM_FAULT_WRONG_OPAQUE,
    SIM_FAULT_LOST,
    SIM_FAULT_KILLED,
    SIM_FAULT_SILENT,
    SIM_FAULT_NAMESERVER_DOWN,
    SIM_FAULT_NAMESERVER_SILENT,
    SIM_FAULT_PARTITION,
    SIM_FAULT_SLOW_HOST,
    SIM_FAULT_BUSY,
    SIM_FAULT_CODES,
    SIM_FAULT_GO_AWAY,
    SIM_FAULT_QUEUES_SHRINK,
    SIM_FAULT_BROKER_LEAVES,
    SIM_FAULT_PERM,
    SIM_FAULT_BATCH_REFUSED,
    SIM_FAULT_NOT_READING,
    SIM_FAULT_SLOW_READING,
    SIM_FAULT_CLOSED,
    SIM_FAULT_HALF_FRAME,
    SIM_FAULT_LYING_FRAME,
    SIM_FAULT_LATE_RELEASE,
    SIM_FAULT_PARTIAL_SEND,
    SIM_FAULT_KINDS,
};

extern const char *const sim_fault_names[SIM_FAULT_KINDS];
extern const char *const sim_state_names[SIM_STATES];

#define SIM_FAULTS_MAX 12u

struct sim_fault {
    enum sim_fault_kind kind;
    uint32_t broker; /* of the mock */
    uint32_t lane;
    enum sim_state wanted;
    int64_t from_ns;  /* the state is provoked and waited for from here on */
    int64_t until_ns; /* and it happens here at the latest */
    int64_t lasts_ns;
    bool provoked;
    bool done;
    enum sim_state hit;
};

/* Something that ends by itself: a fault, or what was done to provoke a state. */
struct sim_cure {
    int64_t at_ns; /* 0: none */
    enum sim_fault_kind kind;
    uint32_t broker;
    uint32_t lane;
    bool aftershock; /* the connections that came through are reset */
};
#define SIM_CURES_MAX 64u

struct sim_table {
    uint64_t cells[SIM_FAULT_KINDS][SIM_STATES];
};

/* What a seed decides before anything happens. */
struct sim_plan {
    uint32_t nameservers;
    uint32_t brokers;
    uint32_t lanes;
    uint32_t submitters;
    uint32_t messages;
    uint32_t faults;
    bool filter;
    bool auto_create;
    bool batch;
    uint32_t body_max;
    uint32_t broker_body_max;
    uint32_t large_permille;
    uint32_t properties_permille; /* long ones */
    uint32_t ordered_permille;
    uint32_t pinned_permille;
    uint32_t unknown_permille;
    uint32_t burst_max;
    uint32_t receive_buffers;
    bool drain_short;
    bool routes_change; /* a fault of this run changes queues */
    int64_t timeout_ms;
    int tries_max;
};

struct sim_watch {
    struct sim *sim;
    uint32_t lane;
    uint32_t lies;        /* so many answers are still to be spoilt ... */
    uint32_t lies_broker; /* ... of this broker of the mock */
    uint32_t lies_made;
};

struct sim_path; /* path.c */

struct sim {
    uint64_t seed;
    bool verbose;
    bool tcp;                   /* the lanes' connections run over net_tcp */
    struct salvo_random random; /* the harness's own; the world has another */
    struct sim_plan plan;

    struct salvo_sim_world *world;
    struct salvo_clock *clock;
    int64_t start_ns;
    struct salvo_mock *mock;
    salvo *sender;
    salvo_topic *topics[SIM_TOPICS];
    salvo_submitter *submitters[SIM_SUBMITTERS_MAX];
    struct sim_watch watches[2];
    struct sim_path *paths[2]; /* with `tcp`; NULL when closed */
    uint32_t rests;            /* turns without work in a row */
    int64_t draining_since_ns[2][SIM_SENDER_BROKERS];
    int64_t unreachable_since_ns[SIM_SENDER_BROKERS];
    uint64_t turns;

    struct sim_message *messages;
    uint32_t messages_count; /* accepted */
    uint32_t results_count;
    int64_t burst_at_ns;
    uint32_t burst_left;
    bool load_done;
    bool draining; /* what is submitted now meets the drain's deadline */

    struct sim_fault faults[SIM_FAULTS_MAX];
    struct sim_cure cures[SIM_CURES_MAX];
    struct sim_table table;

    uint64_t hash; /* of the event log */
    uint32_t failures;
};

/* world.c */

/* Runs a seed. True when everything held. */
bool sim_run(uint64_t seed, bool tcp, bool verbose, struct sim_table *table, uint64_t *ret_hash,
             uint32_t *ret_messages);
/* A line of the event log. */
void sim_note(struct sim *sim, const char *format, ...) SALVO_PRINTF(2, 3);
/* Something that must hold does not. */
void sim_fail(struct sim *sim, const char *format, ...) SALVO_PRINTF(2, 3);
int64_t sim_now(const struct sim *sim); /* from the run's start */
uint64_t sim_below(struct sim *sim, uint64_t bound);
bool sim_chance(struct sim *sim, uint32_t permille);
uint32_t sim_between(struct sim *sim, uint32_t least, uint32_t most);

/* load.c */
extern const char *const sim_topic_names[SIM_TOPICS];
void sim_load_step(struct sim *sim);
int64_t sim_load_next_ns(const struct sim *sim); /* world time */
/* Messages at once, so that connections have something to do. */
void sim_load_burst(struct sim *sim, uint32_t count);
void sim_load_poll(struct sim *sim);
/* The property string a broker is to store for a message, without its terminator. */
size_t sim_load_properties(const struct sim *sim, uint32_t index, char *ret_text, size_t size);

/* faults.c */
void sim_faults_plan(struct sim *sim);
void sim_faults_step(struct sim *sim);
int64_t sim_faults_next_ns(const struct sim *sim);
void sim_faults_heal(struct sim *sim);
/* The number the sender knows a broker of the mock by; SALVO_BROKER_NONE: it does not. */
uint32_t sim_broker_number(const struct sim *sim, uint32_t broker);

/* watch.c */
int sim_watch_open(struct sim_watch *watch, struct salvo_net *inner, struct salvo_net **ret_net);

/* path.c */

/* A net over salvo's own TCP, which reaches the world's hosts as host SIM_HOST_LANE(lane). */
void sim_path_open(struct sim *sim, uint32_t lane, const struct salvo_net_conf *conf,
                   struct salvo_net **ret_net);
int64_t sim_path_next_ns(const struct sim_path *path); /* world time; INT64_MAX: never */
/* From here on nothing is lost or spoilt. */
void sim_path_heal(struct sim_path *path);

/* checks.c */
void sim_checks(struct sim *sim);
