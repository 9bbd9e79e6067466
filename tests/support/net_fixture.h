/* Two nets of one backend, a client and a server, and what the contract of net.h says about every
 * event: checked for every event of every test. */
#pragma once

#include "tests/unit/unit.h"

#include "base/random.h"
#include "dataplane/net.h"
#include "dataplane/net_sim.h"

#define FIXTURE_LINKS_MAX 512
#define NET_SERVER_HOST   1
#define NET_CLIENT_HOST   2

enum net_backend_kind { NET_KERNEL, NET_SIM };

struct net_backend {
    const char *name;
    enum net_backend_kind kind;
    int (*open)(const struct salvo_net_conf *conf, struct salvo_net **ret_net); /* NET_KERNEL */
    bool filtered;
    /* The client's, when it is another: it opens connections only. */
    int (*open_client)(const struct salvo_net_conf *conf, struct salvo_net **ret_net);
    uint32_t (*address)(void); /* of the server, network byte order; NULL: loopback */
};

/* Bytes on their way out of a link; byte i of the stream is fixture_byte(seed, i). */
struct net_outgoing {
    uint8_t *bytes;
    size_t size;
    size_t taken;
    size_t released;
    size_t range_size; /* offered in ranges of at most so many; 0: one range */
    bool refused;      /* less was taken than offered: RELEASED must come before the next offer */
};

struct net_end {
    /* state, as the events told it */
    bool used, up, down, gone, closed;
    bool accepted;
    uint64_t cookie;
    enum salvo_net_down reason;
    uint64_t handed_over;
    unsigned released_events;

    struct net_outgoing out;
    uint64_t seed; /* of what is sent */

    uint64_t received;
    uint64_t received_seed; /* what must come in */
    bool received_any;      /* do not look at it */
};

struct net_side {
    struct salvo_net *net;
    struct net_end ends[FIXTURE_LINKS_MAX];
    uint32_t accepted[FIXTURE_LINKS_MAX];
    unsigned accepted_count, gone_count, up_count, down_count;
    uint64_t data_events;
    bool echo;  /* send back what comes */
    bool hold;  /* do not give buffers back */
    bool still; /* is not turned */
    uint32_t held[4096];
    unsigned held_count;
};

struct net_fixture {
    const struct net_backend *backend;
    struct salvo_net_conf conf;
    struct salvo_sim_conf sim;
    struct salvo_sim_world *world;
    struct salvo_clock *clock;
    struct salvo_random random;
    struct net_side client, server;
    struct salvo_endpoint endpoint; /* of the server's listener */
    size_t echo_max;                /* bytes a link can echo */
    int64_t started_ns;
};

uint8_t fixture_byte(uint64_t seed, uint64_t offset);
void fixture_init(struct net_fixture *f, const struct net_backend *backend);
void fixture_open(struct net_fixture *f); /* with f->conf and f->sim as they are now; listens */
void fixture_close(struct net_fixture *f);
in_addr_t fixture_address(const struct net_fixture *f); /* where the server listens */
int fixture_open_net(struct net_fixture *f, uint32_t host, struct salvo_net **ret_net);

/* Both sides, or one, take their events and send what they may; sleeps when there is nothing. */
void fixture_turn(struct net_fixture *f);
unsigned fixture_turn_side(struct net_fixture *f, struct net_side *side);
void fixture_give_back(struct net_side *side);

uint32_t
fixture_connect(struct net_fixture *f); /* from client to server; waits for UP and ACCEPTED */
/* Sends a byte and waits for it and its release: a filter's handshake is over, nothing is under
 * way. */
void fixture_settle(struct net_fixture *f, uint32_t link, uint32_t peer);
uint32_t fixture_connect_start(struct net_fixture *f, const struct salvo_endpoint *to,
                               int64_t timeout_ns);
/* The link has `size` bytes more to send. */
void fixture_send(struct net_fixture *f, struct net_side *side, uint32_t link, size_t size,
                  size_t range_size);
void fixture_end(struct net_side *side, uint32_t link); /* close() */

/* 60 s of the net's own time: long enough for any machine. Nothing here passes by waiting so long.
 */
#define FIXTURE_TURN_UNTIL(f, condition)                                                           \
    do {                                                                                           \
        (f)->started_ns = salvo_clock_mono_ns((f)->clock);                                         \
        while (!(condition)) {                                                                     \
            fixture_turn(f);                                                                       \
            if (salvo_clock_mono_ns((f)->clock) - (f)->started_ns > 60 * SALVO_NS_PER_S)           \
                fail_msg("never: %s", #condition);                                                 \
        }                                                                                          \
    } while (0)
