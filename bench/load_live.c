/* Latencies and kinds of failure on their way from the generator to who follows it: see
 * salvo_load_live in load.h. */
#include "bench/load.h"
#include "base/assert.h"

#include <stdio.h>
#include <string.h>

/* Kinds that a line names. More would push the latencies off most terminals. */
#define LIVE_KINDS_NAMED 2

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

static void live_take_hist(struct salvo_hist *filled, struct salvo_hist *into)
{
    salvo_hist_merge(into, filled);
    salvo_hist_reset(filled);
}

bool salvo_load_live_take(struct salvo_load_live *live, struct salvo_hist *into)
{
    /* The other hist is filled and ours: pairs with the release in salvo_load_live_swap. */
    uint32_t swaps = atomic_load_explicit(&live->swaps, memory_order_acquire);
    struct salvo_hist *filled = &live->hists[(swaps + 1) % 2];

    /* Both are: pairs with the release in salvo_load_live_end. */
    if (atomic_load_explicit(&live->ended, memory_order_acquire)) {
        live_take_hist(&live->hists[0], into);
        live_take_hist(&live->hists[1], into);
        return true;
    }
    if (swaps != atomic_load_explicit(&live->swaps_wanted, memory_order_relaxed))
        return false;
    live_take_hist(filled, into);
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

void salvo_load_live_end(struct salvo_load_live *live)
{
    /* Hands both hists over: pairs with the acquire in salvo_load_live_take. */
    atomic_store_explicit(&live->ended, true, memory_order_release);
}

void salvo_load_live_add_kind(struct salvo_load_live *live, const char *name)
{
    uint32_t count = atomic_load_explicit(&live->kinds_count, memory_order_relaxed);

    salvo_assert(count < SALVO_LOAD_KINDS_MAX);
    snprintf(live->kinds[count].name, sizeof(live->kinds[count].name), "%s", name);
    /* Hands the name over: pairs with the acquire in salvo_load_live_errors. */
    atomic_store_explicit(&live->kinds_count, count + 1, memory_order_release);
}

void salvo_load_live_count_kind(struct salvo_load_live *live, unsigned index, uint64_t count)
{
    salvo_assert(index < atomic_load_explicit(&live->kinds_count, memory_order_relaxed));
    atomic_store_explicit(&live->kinds[index].count, count, memory_order_relaxed);
}

/* The most frequent kind, of those alike the first; kinds_count when none is left. */
static unsigned live_most_frequent(const uint64_t *counts, unsigned kinds_count)
{
    unsigned most = kinds_count;

    for (unsigned i = 0; i < kinds_count; i++)
        if (counts[i] != 0 && (most == kinds_count || counts[i] > counts[most]))
            most = i;
    return most;
}

/* The sums, read before the kinds: what is in them has been counted by its kind. Pairs with the
 * release in load_publish. */
static uint64_t live_failures(const struct salvo_load_live *live)
{
    return atomic_load_explicit(&live->failed, memory_order_acquire) +
           atomic_load_explicit(&live->timed_out, memory_order_acquire) +
           atomic_load_explicit(&live->unsent, memory_order_acquire);
}

void salvo_load_live_errors(const struct salvo_load_live *live, char *ret_text, size_t size)
{
    uint64_t counts[SALVO_LOAD_KINDS_MAX], of_kinds = 0, left = live_failures(live);
    /* The names are there: pairs with the release in salvo_load_live_add_kind. */
    unsigned kinds_count = atomic_load_explicit(&live->kinds_count, memory_order_acquire);
    int used;

    for (unsigned i = 0; i < kinds_count; i++) {
        counts[i] = atomic_load_explicit(&live->kinds[i].count, memory_order_relaxed);
        of_kinds += counts[i];
    }
    left = SALVO_MAX(left, of_kinds); /* some came since */
    used = snprintf(ret_text, size, "errors %llu", (unsigned long long)left);
    for (unsigned n = 0; n < LIVE_KINDS_NAMED && (size_t)used < size; n++) {
        unsigned i = live_most_frequent(counts, kinds_count);

        if (i == kinds_count)
            break;
        used += snprintf(ret_text + used, size - (size_t)used, "%s %s %llu", n == 0 ? ":" : ",",
                         live->kinds[i].name, (unsigned long long)counts[i]);
        left -= counts[i];
        counts[i] = 0;
    }
    if (left != 0 && kinds_count != 0 && (size_t)used < size)
        snprintf(ret_text + used, size - (size_t)used, ", others %llu", (unsigned long long)left);
}
