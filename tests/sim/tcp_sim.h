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
    uint64_t una;
    int64_t peer_progress_us;
    uint32_t peer_una;
    uint64_t reads;
    uint32_t our_iss, our_timestamp_0;
    uint32_t our_highest;    /* behind the last byte sent */
    uint64_t met[MET_COUNT]; /* of this seed: how often or how much */
    char failure[256];
};

extern const uint8_t tcp_sim_mac[6];

/* tcp_draw.c: all that a seed decides before it starts. */
void tcp_sim_draw(struct world *w, uint64_t seed);
/* The time at which we begin: just before our numbers wrap, or our timestamps, or any. */
int64_t tcp_sim_draw_time_us(struct world *w, void *memory, const struct salvo_tcp_target *target);
