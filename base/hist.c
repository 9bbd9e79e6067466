/* The latency histogram's slow half: what is asked of it, not what is put in. */
#include "base/hist.h"

#include "base/assert.h"

#include <string.h>

#define HIST_SUB_HALF (UINT64_C(1) << (SALVO_HIST_SUB_BITS - 1))

void salvo_hist_reset(struct salvo_hist *hist)
{
    memset(hist, 0, sizeof(*hist));
    hist->min = UINT64_MAX;
}

void salvo_hist_merge(struct salvo_hist *into, const struct salvo_hist *from)
{
    into->count += from->count;
    into->min = SALVO_MIN(into->min, from->min);
    into->max = SALVO_MAX(into->max, from->max);
    into->clamped += from->clamped;
    into->sum += from->sum;
    for (size_t i = 0; i < SALVO_HIST_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
}

/* Which of `count` ordered values is meant: fraction * count, rounded up, at least the first. */
static uint64_t hist_rank(uint64_t count, double fraction)
{
    double exact = fraction * (double)count;
    uint64_t rank;

    /* 0.07 * 100 is 7.000000000000001 in binary and means 7. */
    exact -= exact * 1e-15;
    rank = (uint64_t)exact;
    if ((double)rank < exact)
        rank++;
    return SALVO_CLAMP(rank, 1, count);
}

/* The buckets of a stat file need not add up to count: its writer may stand between the two, or the
 * file is damaged. */
uint64_t salvo_hist_quantile(const struct salvo_hist *hist, double fraction)
{
    uint64_t rank, seen = 0;

    salvo_assert(fraction >= 0);
    salvo_assert(fraction <= 1);
    if (hist->count == 0)
        return 0;
    rank = hist_rank(hist->count, fraction);
    for (size_t i = 0; i < SALVO_HIST_BUCKETS; i++) {
        seen += hist->buckets[i];
        if (seen >= rank)
            return SALVO_MIN(salvo_hist_bucket_high(i), hist->max);
    }
    return hist->max;
}

double salvo_hist_mean(const struct salvo_hist *hist)
{
    return hist->count == 0 ? 0 : hist->sum / (double)hist->count;
}

/* Bucket b of shift s > 0 holds the values whose upper bits are b - s * HIST_SUB_HALF, which lies
 * in [HIST_SUB_HALF, 2 * HIST_SUB_HALF): the inverse of salvo_hist_bucket. */
static unsigned hist_shift(size_t bucket)
{
    return bucket < 2 * HIST_SUB_HALF ? 0 : (unsigned)(bucket / HIST_SUB_HALF) - 1;
}

uint64_t salvo_hist_bucket_low(size_t bucket)
{
    unsigned shift = hist_shift(bucket);

    salvo_assert(bucket < SALVO_HIST_BUCKETS);
    return (bucket - shift * HIST_SUB_HALF) << shift;
}

uint64_t salvo_hist_bucket_high(size_t bucket)
{
    return salvo_hist_bucket_low(bucket) + (UINT64_C(1) << hist_shift(bucket)) - 1;
}
