/* What a seed of the TCP simulator decides: see tcp_sim.c. */
#include "tests/sim/tcp_sim.h"

#include <string.h>

static uint32_t pick(struct world *w, const uint32_t *values, unsigned count)
{
    return values[salvo_random_below(&w->random, count)];
}

#define PICK(w, ...)                                                                               \
    pick((w), (const uint32_t[]){__VA_ARGS__}, (unsigned)(sizeof((uint32_t[]){__VA_ARGS__}) / 4))

static void draw_link(struct world *w, struct bad_link *l, uint32_t loss_max)
{
    *l = (struct bad_link){
        .seed = salvo_random_next(&w->random),
        .delay_us = PICK(w, 10, 100, 1000, 5000, 20000, 80000),
        .jitter_us = PICK(w, 0, 0, 0, 50, 2000),
        .loss = SALVO_MIN(PICK(w, 0, 0, 10, 100, 300, 1000), loss_max),
        .burst = SALVO_MIN(PICK(w, 0, 0, 0, 10, 50), loss_max),
        .reorder = PICK(w, 0, 0, 0, 100, 1000),
        .duplicate = PICK(w, 0, 0, 0, 100, 1000),
        .corrupt = SALVO_MIN(PICK(w, 0, 0, 0, 100), loss_max),
        .rate = PICK(w, 0, 0, 1250000, 12500000, 125000000),
    };
    l->queue_us = PICK(w, 2000, 20000, 100000);
}

static void draw_config(struct world *w, struct salvo_tcp_config *c)
{
    uint8_t six[16] = {0x20, 1, 0xd, 0xb8, [15] = 1};

    salvo_tcp_config_defaults(c);
    memcpy(c->mac, tcp_sim_mac, 6);
    c->address4 = salvo_ip4_address(10, 0, 0, 1);
    c->address6 = salvo_ip6_address(six);
    c->prefix4_bits = 24;
    c->prefix6_bits = 64;
    for (unsigned i = 0; i < sizeof(c->key); i++)
        c->key[i] = (uint8_t)salvo_random_next(&w->random);
    c->conns_max = 4;
    c->segments_max = PICK(w, 16, 64, 1024, 4096);
    c->ranges_max = PICK(w, 4, 32, 256);
    c->receive_size = PICK(w, 4096, 65536, 262144);
    c->congestion = PICK(w, 0, 0, 1) ? SALVO_TCP_NEWRENO : SALVO_TCP_CUBIC;
    c->nagle = PICK(w, 0, 0, 0, 1);
    c->pacing = PICK(w, 0, 0, 1);
    c->sack = PICK(w, 0, 1, 1, 1);
    c->timestamps = PICK(w, 0, 1, 1);
    c->window_scale = PICK(w, 0, 1, 1);
    c->rto_min_us = PICK(w, 5000, 50000, 200000);
    c->connect_timeout_us = INT64_C(600000000);
    c->user_timeout_us = INT64_C(1200000000);
    c->keepalive_us = PICK(w, 0, 1000000);
    c->keepalive_probes = 50;
    c->rto_max_us = RTO_MAX_US;
}

static void draw_peer(struct world *w)
{
    struct tcp_peer_config p = {
        .isn = PICK(w, 0, 1, 2) == 0 ? 0u - (uint32_t)salvo_random_below(&w->random, 20000)
                                     : (uint32_t)salvo_random_next(&w->random),
        .timestamp_0 = PICK(w, 0, 1) ? 0u - 1 - (uint32_t)salvo_random_below(&w->random, 500)
                                     : (uint32_t)salvo_random_next(&w->random),
        .start_us = 0, /* with the time, in run_seed() */
        .mss = (uint16_t)PICK(w, 64, 536, 1000, 1460, 8960),
        .shift = PICK(w, 0, 1, 1) ? (int)PICK(w, 0, 2, 7) : -1,
        .sack = PICK(w, 0, 1, 1, 1),
        .timestamps = PICK(w, 0, 1, 1),
        .buffer_size = PICK(w, 2000, 20000, 65535, 500000, 2000000),
        .ack_every = PICK(w, 1, 2, 2, 8),
        .delayed_ack_us = PICK(w, 1000, 40000),
        .send_total = PICK(w, 0, 100, 5000, 200000),
        .fin_at_once = PICK(w, 0, 1),
        .shrinks = PICK(w, 0, 0, 0, 1),
        .reneges = PICK(w, 0, 0, 0, 1),
        .splits_acks = PICK(w, 0, 0, 0, 1),
        .random = &w->random,
    };
    static uint8_t have[TCP_PEER_STREAM_MAX];

    tcp_peer_init(&w->peer, &p, have);
}

void tcp_sim_draw(struct world *w, uint64_t seed)
{
    static uint8_t data[TCP_PEER_STREAM_MAX];

    memset(w, 0, sizeof(*w));
    w->seed = seed;
    salvo_random_init(&w->random, seed);
    draw_config(w, &w->config);
    draw_peer(w);
    uint32_t loss_max = PICK(w, 0, 100, 10000);
    draw_link(w, &w->links[0], loss_max);
    draw_link(w, &w->links[1], loss_max);
    w->total = PICK(w, 0, 1, 1000, 100000, 400000, 1500000);
    if (w->peer.config.buffer_size == 2000 || w->peer.config.mss == 64)
        w->total = SALVO_MIN(w->total, 100000u);
    w->write_max = PICK(w, 10, 300, 5000, 65536);
    w->read_max = PICK(w, 50, 5000, 1000000);
    w->write_us = PICK(w, 10, 1000, 30000);
    w->read_us = PICK(w, 10, 1000, 30000);
    w->total = SALVO_MIN(w->total, w->write_max * 300); /* what trickles shall end, too */
    w->close_late = w->peer.config.fin_at_once && PICK(w, 0, 1);
    w->data = data;
    for (uint32_t i = 0; i < w->total; i++)
        data[i] = tcp_peer_byte(0, i);
    w->config.tso_max = PICK(w, 0, 0, 10000, 65000);
    /* A device cuts, or we do. */
    w->config.checksum_offload = w->config.tso_max != 0 && w->seed % 2 == 0;
}

static struct bad_link scene_link(const struct world *w, const struct tcp_scene *scene, bool out)
{
    return (struct bad_link){
        .seed = w->seed * 2 + out,
        .delay_us = 500,
        .loss = out ? scene->loss : scene->loss_back,
        .reorder = out ? scene->reorder : 0,
        .duplicate = out ? scene->duplicate : 0,
        .rate = 125000000,
        .queue_us = 100000,
    };
}

void tcp_sim_draw_scene(struct world *w, uint64_t seed, const struct tcp_scene *scene)
{
    struct salvo_tcp_config *c = &w->config;
    struct tcp_peer_config *p = &w->peer.config;

    tcp_sim_draw(w, seed);
    c->segments_max = 4096;
    c->ranges_max = 256;
    c->congestion = SALVO_TCP_CUBIC;
    c->nagle = c->pacing = false;
    c->sack = p->sack = !scene->no_sack;
    c->timestamps = p->timestamps = !scene->no_timestamps;
    c->window_scale = true;
    c->rto_min_us = 200000;
    c->tso_max = scene->tso_max;
    c->checksum_offload = c->tso_max != 0;
    p->mss = 1460;
    p->shift = 7;
    p->buffer_size = 500000;
    p->ack_every = 2;
    p->delayed_ack_us = 40000;
    p->send_total = 0;
    p->shrinks = scene->shrinks;
    p->reneges = p->splits_acks = false;
    w->peer.buffer_now = p->buffer_size;
    w->links[0] = scene_link(w, scene, true);
    w->links[1] = scene_link(w, scene, false);
    w->total = 1500000;
    for (uint32_t i = 0; i < w->total; i++)
        w->data[i] = tcp_peer_byte(0, i);
    w->write_max = 65536;
    w->write_us = 10;
    w->read_max = scene->slow_reader ? 20000 : 1000000;
    w->read_us = 1000;
}

int64_t tcp_sim_draw_time_us(struct world *w, void *memory, const struct salvo_tcp_target *target)
{
    struct salvo_random *r = &w->random;
    uint32_t isn, timestamp;

    tcp_first_numbers(memory, &w->config, target, &isn, &timestamp);
    switch (PICK(w, 0, 1, 2)) {
    case 0: /* wraps with a byte of the first half */
        return (int64_t)(0u - 1 - (uint32_t)salvo_random_below(r, w->total / 2 + 1) - isn) * 4;
    case 1: /* within the first half second */
        return (int64_t)(0u - 1 - (uint32_t)salvo_random_below(r, 500) - timestamp) * 1000;
    default:
        return (int64_t)salvo_random_below(r, UINT64_C(1) << 40);
    }
}
