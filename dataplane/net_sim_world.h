/* The inside of the simulated network: the world (net_sim.c) and its links (net_sim_link.c).
 *
 * A wire joins two links. What is on its way is a happening in the world's queue, ordered by time
 * and then by the order of its making, so that a run depends on the seed alone. Happenings refer to
 * wires, never to nets, which may be destroyed at any time. Memory is taken as needed: this is for
 * tests. */
#pragma once

#include "base/assert.h"
#include "dataplane/net_sim.h"

#define SIM_HOSTS_MAX 256

enum sim_happening_kind {
    SIM_SYN,     /* side 0 asks side 1 */
    SIM_SYN_ACK, /* side 1 has accepted */
    SIM_REFUSE,
    SIM_BYTES,
    SIM_FIN,
    SIM_RST,
    SIM_LOCAL_FIRST, /* from here on: not subject to faults */
    SIM_CONNECT_TIMEOUT = SIM_LOCAL_FIRST,
    SIM_WIRE_REST, /* bytes that were held back go on the wire */
    SIM_RELEASE,   /* a late release is due */
};

struct sim_happening {
    int64_t at_ns;
    uint64_t sequence;
    enum sim_happening_kind kind;
    struct sim_wire *wire; /* holds a reference */
    unsigned side;         /* whom it reaches */
    uint64_t number;       /* SIM_RELEASE: which */
    uint8_t *bytes;        /* SIM_BYTES: owned */
    size_t size;
    size_t read;                /* of bytes, by the receiver */
    struct sim_happening *next; /* in a received or held list */
};

struct sim_list {
    struct sim_happening *first, *last;
};

struct sim_wire {
    unsigned refs;                    /* one per happening, one per attached link */
    struct sim_wire *previous, *next; /* all wires of the world */
    uint64_t number;
    struct salvo_endpoint endpoint; /* what side 0 asked for */
    struct {
        struct sim_net *net; /* NULL: not attached (yet, or any more) */
        uint32_t link;
        uint32_t host; /* UINT32_MAX: not known yet */
        /* the direction towards this side */
        int64_t last_arrival_ns;
        uint64_t in_flight;   /* bytes wired and not yet read */
        bool lost;            /* nothing more arrives (cut) */
        struct sim_list held; /* by a fault, until it heals */
    } side[2];
};

struct sim_host {
    bool down;
    bool silent;
    int64_t slow_ns;
    bool cut;
    uint64_t cut_after;
};

struct salvo_sim_world {
    struct salvo_sim_conf conf;
    struct salvo_clock_manual clock;
    struct salvo_random random;
    salvo_sim_log_fn *log;
    void *log_arg;

    struct sim_happening **heap;
    size_t heap_count, heap_max;
    uint64_t sequence;
    uint64_t wires_made;
    uint16_t port_next;
    struct sim_wire *wires;
    struct sim_net *nets;
    struct sim_listener *listeners;
    struct sim_host hosts[SIM_HOSTS_MAX];
    bool partitioned[SIM_HOSTS_MAX][SIM_HOSTS_MAX];
};

struct sim_listener {
    struct sim_listener *next;
    struct sim_net *net;
    struct salvo_endpoint endpoint;
    uint64_t cookie;
};

enum sim_link_state {
    SIM_LINK_FREE,
    SIM_LINK_CONNECTING,
    SIM_LINK_UP,
    SIM_LINK_DYING, /* DOWN is due */
    SIM_LINK_DOWN,  /* DOWN was reported */
};

/* Bytes taken by send(): where they are, and what they were. */
struct sim_segment {
    const uint8_t *bytes;
    size_t size;
    uint64_t hash;
};

struct sim_release {
    uint64_t until; /* stream offset */
    uint64_t number;
    bool done;
};

struct sim_link {
    uint32_t index;
    enum sim_link_state state;
    struct sim_wire *wire;
    unsigned side;
    uint64_t cookie;

    bool announce;
    bool accepted;
    bool wants;
    bool closed;
    bool queued; /* on the net's pending list */
    struct sim_link *pending_next;
    bool has_reason;
    enum salvo_net_down reason;
    int code;

    uint64_t taken;
    uint64_t handed_over; /* put on the wire */
    uint64_t releasable;
    uint64_t released;            /* as reported */
    bool holding;                 /* a SIM_WIRE_REST is coming */
    struct sim_segment *segments; /* not wholly released, oldest first */
    size_t segments_count, segments_max;
    uint64_t segments_start; /* stream offset of the first */
    struct sim_release *releases;
    size_t releases_count, releases_max;
    uint64_t releases_made;
    struct sim_list received; /* bytes, FIN and RST in the order they came */
};

struct sim_net {
    struct salvo_net_head head;
    struct salvo_net_conf conf;
    struct salvo_sim_world *world;
    struct sim_net *next;
    uint32_t host;
    uint32_t listeners_count;
    struct sim_link *links;
    uint32_t links_count;
    uint32_t links_free_hint;
    uint8_t *buffers;
    uint32_t *buffers_free;
    uint32_t buffers_free_count;
    struct sim_link *pending_first, *pending_last;
    uint32_t pending_count;
    bool woken;
};

/* net_sim.c */
int64_t sim_now_ns(struct salvo_sim_world *world);
void sim_log(struct salvo_sim_world *world, const char *format, ...) SALVO_PRINTF(2, 3);
struct sim_wire *sim_wire_new(struct salvo_sim_world *world);
void sim_wire_unref(struct salvo_sim_world *world, struct sim_wire *wire);
/* Puts something in the queue. What travels (below SIM_LOCAL_FIRST) takes the wire's latency from
 * `delay_ns` on and does not overtake what is before it. Takes `bytes` over. */
void sim_happen(struct salvo_sim_world *world, struct sim_wire *wire, unsigned side,
                enum sim_happening_kind kind, int64_t delay_ns, uint64_t number, uint8_t *bytes,
                size_t size);
void sim_happening_free(struct salvo_sim_world *world, struct sim_happening *happening);
void sim_list_push(struct sim_list *list, struct sim_happening *happening);
struct sim_happening *sim_list_pop(struct sim_list *list);
struct sim_listener *sim_listener_find(struct salvo_sim_world *world,
                                       const struct salvo_endpoint *at);

/* net_sim_link.c */
extern const struct salvo_net_ops sim_ops;
/* Something has reached a side. Takes it over. */
void sim_arrive(struct salvo_sim_world *world, struct sim_happening *happening);
/* The link dies at this moment, and its peer hears of it by RST. */
void sim_link_reset(struct sim_net *net, struct sim_link *link);
