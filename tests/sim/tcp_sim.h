/* What the files of the TCP simulator share. See tcp_sim.c. */
#pragma once

#include "tests/packet/check.h"
#include "tests/sim/tcp_peer.h"
#include "tests/support/bad_link.h"

#define RTO_MAX_US INT64_C(5000000)

/* What a seed has met; the fixed ones together must have met all of it. */
enum met {
    MET_IP4,
    MET_IP6,
    MET_LOSS,
    MET_BURST,
    MET_REORDER,
    MET_DUPLICATE,
    MET_CORRUPT,
    MET_JITTER,
    MET_QUEUE,
    MET_SEQ_WRAP,
    MET_PEER_SEQ_WRAP,
    MET_TIMESTAMP_WRAP,
    MET_PEER_TIMESTAMP_WRAP,
    MET_NO_SACK,
    MET_NO_TIMESTAMPS,
    MET_NO_SCALING,
    MET_WINDOW_SHRUNK,
    MET_WINDOW_SHUT,
    MET_RENEGED,
    MET_ACKS_SPLIT,
    MET_TIMEOUT,
    MET_TAIL_PROBE,
    MET_RECOVERY,
    MET_UNDONE,
    MET_PEER_CLOSED_FIRST,
    MET_CUT,
    MET_CUT_HERE,
    MET_CUT_LOST_TWICE,
    MET_AGAIN_LOST,
    MET_COUNT
};

struct world {
    uint64_t seed;
    bool loud;
    struct salvo_random random;
    int64_t now_us;
    struct salvo_tcp *tcp;
    struct salvo_tcp_config config;
    struct tcp_peer peer;
    struct bad_link links[2]; /* to the peer, to us */
    struct bad_air air;
    uint64_t digest; /* of every packet */
    /* the application */
    uint64_t conn;
    uint8_t *data;
    uint32_t total, given, released, received;
    uint32_t write_max, read_max;
    int64_t write_us, read_us; /* pauses */
    int64_t write_due_us, read_due_us;
    bool up, peer_closed, down, shut, close_late;
    enum salvo_tcp_reason reason;
    uint64_t handed_over;
    int64_t start_us;
    int64_t progress_us, rto_us;
    uint32_t gap_percent; /* the longest that una stood still, of the timeout */
    uint64_t una;
    int64_t peer_progress_us;
    uint32_t peer_una;
    uint64_t reads;
    uint32_t our_iss, our_timestamp_0;
    uint32_t our_highest;    /* behind the last byte sent */
    uint64_t met[MET_COUNT]; /* of this seed: how often or how much */
    char failure[256];
};

/* A link and a peer that are always the same, to count over many seeds what recovery costs. */
struct tcp_scene {
    const char *name;
    bool no_sack, no_timestamps, shrinks, slow_reader;
    uint32_t loss, reorder, duplicate, loss_back; /* per 10,000 */
    uint32_t tso_max;
    /* At most: bytes sent again for each 100 lost; for each 1,000 packets lost timeouts, and
     * recoveries undone. */
    uint32_t again_percent_max, timeouts_permille_max, undone_permille_max;
};

/* What the seeds of a scene came to. */
struct tcp_tally {
    uint64_t seeds, lost, bytes_lost, bytes_again, timeouts, recoveries, undone;
    int64_t time_us;
    uint32_t gap_percent; /* the longest wait, in percent of the timeout */
    uint64_t gap_seed;
};

extern const uint8_t tcp_sim_mac[6];

/* tcp_draw.c: all that a seed decides before it starts. */
void tcp_sim_draw(struct world *w, uint64_t seed);
/* The same, but for what the scene says. */
void tcp_sim_draw_scene(struct world *w, uint64_t seed, const struct tcp_scene *scene);
/* The time at which we begin: just before our numbers wrap, or our timestamps, or any. */
int64_t tcp_sim_draw_time_us(struct world *w, void *memory, const struct salvo_tcp_target *target);

/* tcp_scene.c */
extern const struct tcp_scene tcp_scenes[];
extern const unsigned tcp_scenes_count;
void tcp_scene_add(struct tcp_tally *tally, const struct world *w);
/* Prints a line; false when it cost more than the scene allows. */
bool tcp_scene_judge(const struct tcp_scene *scene, const struct tcp_tally *tally);
