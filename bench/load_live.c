/* Latencies on their way from the generator to who follows it: see salvo_load_live in load.h. */
#include "bench/load.h"

#include <string.h>

void salvo_load_live_init(struct salvo_load_live *live)
{
    memset(live, 0, sizeof(*live));
    salvo_hist_reset(&live->hists[0]);
    salvo_hist_reset(&live->hists[1]);
}

void salvo_load_live_ask(struct salvo_load_live *live)
{
    uint32_t wanted = atomic_load_explicit(&live->swaps_wanted, memory_order_relaxed);

    if (wanted != atomic_load_explicit(&live->swaps, memory_order_relaxed))
        return; /* it is on its way */
    /* Gives the other hist back, empty: pairs with the acquire in salvo_load_live_swap. */
    atomic_store_explicit(&live->swaps_wanted, wanted + 1, memory_order_release);
}

bool salvo_load_live_take(struct salvo_load_live *live, struct salvo_hist *into)
{
    /* The other hist is filled and ours: pairs with the release in salvo_load_live_swap. */
    uint32_t swaps = atomic_load_explicit(&live->swaps, memory_order_acquire);
    struct salvo_hist *filled = &live->hists[(swaps + 1) % 2];

    if (swaps != atomic_load_explicit(&live->swaps_wanted, memory_order_relaxed))
        return false;
    salvo_hist_merge(into, filled);
    salvo_hist_reset(filled);
    return true;
}

uint32_t salvo_load_live_swap(struct salvo_load_live *live, uint32_t swaps)
{
    /* Pairs with the release in salvo_load_live_ask: the follower is done with the other hist. */
    uint32_t wanted = atomic_load_explicit(&live->swaps_wanted, memory_order_acquire);

    if (wanted != swaps) /* hands the filled hist over: pairs with the acquire in live_take */
        atomic_store_explicit(&live->swaps, wanted, memory_order_release);
    return wanted;
}
