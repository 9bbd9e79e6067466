/* The in-process network: one world of virtual time, many nets in it, one thread, one seed.
 *
 * Every byte put on a link travels with the link's latency and jitter, is cut at random places, may
 * be held back, and links may be reset or die in the middle of a frame. What happens is decided by
 * the world's random numbers alone, so a seed gives the same run again, event for event. */
#pragma once

#include "base/clock.h"
#include "base/random.h"
#include "dataplane/net.h"

struct salvo_sim_world; /* opaque */

struct salvo_sim_conf {
    uint64_t seed;
    int64_t latency_ns_min; /* one way */
    int64_t latency_ns_max;
    uint32_t cut_permille;          /* chance that a delivery is cut into pieces */
    uint32_t partial_permille;      /* chance that send() takes less than offered */
    uint32_t release_late_permille; /* chance that RELEASED comes long after the bytes went (up to 2
                                       s, also after DOWN) */
    uint32_t window_bytes; /* bytes on a link not yet read by the peer; send() takes no more */
};

void salvo_sim_conf_default(struct salvo_sim_conf *conf, uint64_t seed);
/* A line of the event log; the log of two runs of one seed must be equal. */
typedef void salvo_sim_log_fn(void *arg, int64_t now_ns, const char *line);

int salvo_sim_world_new(const struct salvo_sim_conf *conf, struct salvo_sim_world **ret_world);
void salvo_sim_world_free(struct salvo_sim_world *world); /* after its nets */
struct salvo_clock *salvo_sim_world_clock(struct salvo_sim_world *world);
struct salvo_random *salvo_sim_world_random(struct salvo_sim_world *world);
void salvo_sim_world_log(struct salvo_sim_world *world, salvo_sim_log_fn *log, void *arg);

/* A net in the world. Endpoints are looked up among the listeners of all its nets. `host` is a
 * small number that faults name. */
int salvo_net_sim_open(struct salvo_sim_world *world, uint32_t host,
                       const struct salvo_net_conf *conf, struct salvo_net **ret_net);

/* The time of the next thing that will happen in the network, INT64_MAX: nothing. */
int64_t salvo_sim_world_next_ns(struct salvo_sim_world *world);
/* Moves the clock to `to_ns` (not back). Events that fell due are seen by the nets' polls. */
void salvo_sim_world_advance(struct salvo_sim_world *world, int64_t to_ns);

/* Faults, at once. A host is a net's number. */
void salvo_sim_reset_links(struct salvo_sim_world *world,
                           uint32_t host); /* each link of it is reset */
/* Down: its links are reset (when `silent`, they stay and nothing passes), connects are refused
 * (silent: never answered). Up again with down = false. */
void salvo_sim_host_down(struct salvo_sim_world *world, uint32_t host, bool down, bool silent);
/* Nothing between the two hosts passes until healed; links stay up. */
void salvo_sim_partition(struct salvo_sim_world *world, uint32_t a, uint32_t b, bool on);
/* Extra one-way latency to and from a host. */
void salvo_sim_slow(struct salvo_sim_world *world, uint32_t host, int64_t extra_ns);
/* After `bytes` more bytes towards a host the link that carries them is reset: cuts a frame in
 * half. */
void salvo_sim_cut_after(struct salvo_sim_world *world, uint32_t host, uint64_t bytes);
