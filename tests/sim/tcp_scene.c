/* Scenes of the TCP simulator: what recovery costs on a link of 1 ms and 1 Gbit/s, over many seeds.
 *
 * The bounds are what 30 seeds came to and a third more, or a little where that is about nothing.
 * Theory: each loss is sent again once. With SACK a timeout is left when the last that was sent is
 * lost twice; without it (RFC 6582), when a retransmission is lost, 10 of 1,000 at 1 %, 50 at 5 %,
 * and when too little is in flight behind a loss for three duplicates. */
#include "tests/sim/tcp_sim.h"

#include <inttypes.h>
#include <stdio.h>

const struct tcp_scene tcp_scenes[] = {
    {"1 % lost", .loss = 100, .again_percent_max = 105, .timeouts_permille_max = 8,
     .undone_permille_max = 2},
    {"1 % lost, no SACK", .loss = 100, .no_sack = true, .again_percent_max = 112,
     .timeouts_permille_max = 28, .undone_permille_max = 2},
    {"5 % lost", .loss = 500, .again_percent_max = 105, .timeouts_permille_max = 8,
     .undone_permille_max = 2},
    {"5 % lost, no SACK", .loss = 500, .no_sack = true, .again_percent_max = 115,
     .timeouts_permille_max = 80, .undone_permille_max = 2},
    {"1 % lost, 1 % late", .loss = 100, .reorder = 100, .again_percent_max = 240,
     .timeouts_permille_max = 8, .undone_permille_max = 450},
    {"1 % lost, 1 % late, no SACK", .loss = 100, .reorder = 100, .no_sack = true,
     .again_percent_max = 215, .timeouts_permille_max = 30, .undone_permille_max = 450},
    {"1 % lost, 1 % late, no SACK, no timestamps", .loss = 100, .reorder = 100, .no_sack = true,
     .no_timestamps = true, .again_percent_max = 360, .timeouts_permille_max = 25,
     .undone_permille_max = 2},
    {"1 % lost, 2 % twice", .loss = 100, .duplicate = 200, .again_percent_max = 105,
     .timeouts_permille_max = 8, .undone_permille_max = 2},
    {"1 % lost, 2 % twice, no SACK", .loss = 100, .duplicate = 200, .no_sack = true,
     .again_percent_max = 112, .timeouts_permille_max = 28, .undone_permille_max = 8},
    {"1 % lost, 20 % of ACKs", .loss = 100, .loss_back = 2000, .again_percent_max = 105,
     .timeouts_permille_max = 8, .undone_permille_max = 2},
    {"1 % lost, 20 % of ACKs, no SACK", .loss = 100, .loss_back = 2000, .no_sack = true,
     .again_percent_max = 115, .timeouts_permille_max = 80, .undone_permille_max = 2},
    {"1 % lost, the window shrinks", .loss = 100, .shrinks = true, .again_percent_max = 105,
     .timeouts_permille_max = 8, .undone_permille_max = 2},
    {"1 % lost, the window shrinks, no SACK", .loss = 100, .shrinks = true, .no_sack = true,
     .again_percent_max = 125, .timeouts_permille_max = 90, .undone_permille_max = 2},
    {"1 % lost, read slowly", .loss = 100, .slow_reader = true, .again_percent_max = 105,
     .timeouts_permille_max = 8, .undone_permille_max = 2},
    {"1 % lost, read slowly, no SACK", .loss = 100, .slow_reader = true, .no_sack = true,
     .again_percent_max = 150, .timeouts_permille_max = 35, .undone_permille_max = 110},
};
const unsigned tcp_scenes_count = sizeof(tcp_scenes) / sizeof(tcp_scenes[0]);

void tcp_scene_add(struct tcp_tally *tally, const struct world *w)
{
    const struct salvo_tcp_stats *s = salvo_tcp_stats(w->tcp);

    tally->seeds++;
    tally->lost += w->links[0].lost;
    tally->bytes_lost += w->links[0].bytes_lost + w->peer.bytes_refused;
    tally->bytes_again += w->links[0].bytes_sent - w->total;
    tally->timeouts += s->timeouts;
    tally->recoveries += s->recoveries;
    tally->undone += s->spurious_recoveries;
    tally->time_us += w->now_us - w->start_us;
    if (w->gap_percent > tally->gap_percent) {
        tally->gap_percent = w->gap_percent;
        tally->gap_seed = w->seed;
    }
}

static uint64_t permille(uint64_t count, const struct tcp_tally *t)
{
    return count * 1000 / SALVO_MAX(t->lost, UINT64_C(1));
}

bool tcp_scene_judge(const struct tcp_scene *scene, const struct tcp_tally *t)
{
    uint64_t again_percent = t->bytes_again * 100 / SALVO_MAX(t->bytes_lost, UINT64_C(1));
    uint64_t timeouts_permille = permille(t->timeouts, t);
    uint64_t undone_permille = permille(t->undone, t);
    bool good = again_percent <= scene->again_percent_max &&
                timeouts_permille <= scene->timeouts_permille_max &&
                undone_permille <= scene->undone_permille_max;

    printf("%3" PRIu64 " %% sent again (at most %u), %2" PRIu64 " timeouts (%u), %3" PRIu64
           " undone (%u), %4" PRIu64
           " recoveries; longest wait %3u %% of the timeout (seed %" PRIu64 "), %4.0f ms: %s%s\n",
           again_percent, scene->again_percent_max, timeouts_permille, scene->timeouts_permille_max,
           undone_permille, scene->undone_permille_max, permille(t->recoveries, t), t->gap_percent,
           t->gap_seed, (double)t->time_us / 1e3 / (double)t->seeds, scene->name,
           good ? "" : ": TOO MUCH");
    return good;
}
