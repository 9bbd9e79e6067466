/* Log-linear latency histogram: fixed size, mergeable, relative error at most 1/1024 (< 0.1 %).
 *
 * Values are unsigned integers (nanoseconds here) from 0 to 2^42 - 1 (73 minutes); larger ones
 * count in the top bucket and in `clamped`. Below 2^11 each value has its own bucket; above, each
 * power of two is cut into 2^10 equal buckets: the HDR histogram's layout. Owner: one thread
 * writes; merge copies. */
#pragma once

#include "base/base.h"

#define SALVO_HIST_SUB_BITS   11
#define SALVO_HIST_VALUE_BITS 42
#define SALVO_HIST_BUCKETS                                                                         \
    ((size_t)(SALVO_HIST_VALUE_BITS - SALVO_HIST_SUB_BITS + 2) << (SALVO_HIST_SUB_BITS - 1))

struct salvo_hist {
    uint64_t count;
    uint64_t min; /* UINT64_MAX while empty */
    uint64_t max;
    uint64_t clamped;
    double sum;
    uint64_t buckets[SALVO_HIST_BUCKETS];
};

void salvo_hist_reset(struct salvo_hist *hist);
void salvo_hist_merge(struct salvo_hist *into, const struct salvo_hist *from);

static inline size_t salvo_hist_bucket(uint64_t value)
{
    unsigned shift;

    if (value < (UINT64_C(1) << SALVO_HIST_SUB_BITS))
        return (size_t)value;
    shift = (unsigned)(63 - __builtin_clzll(value)) - (SALVO_HIST_SUB_BITS - 1);
    return ((size_t)shift << (SALVO_HIST_SUB_BITS - 1)) + (size_t)(value >> shift);
}

static inline void salvo_hist_record_n(struct salvo_hist *hist, uint64_t value, uint64_t n)
{
    if (SALVO_UNLIKELY(value >> SALVO_HIST_VALUE_BITS)) {
        hist->clamped += n;
        value = (UINT64_C(1) << SALVO_HIST_VALUE_BITS) - 1;
    }
    hist->count += n;
    hist->sum += (double)value * (double)n;
    hist->min = SALVO_MIN(hist->min, value);
    hist->max = SALVO_MAX(hist->max, value);
    hist->buckets[salvo_hist_bucket(value)] += n;
}

static inline void salvo_hist_record(struct salvo_hist *hist, uint64_t value)
{
    salvo_hist_record_n(hist, value, 1);
}

/* The value at or below which `fraction` (0 to 1) of the counts lie: the upper end of its bucket,
 * but never above max; 0 when empty. Fraction 1 is the exact maximum; so is what lies behind the
 * buckets' sum. */
uint64_t salvo_hist_quantile(const struct salvo_hist *hist, double fraction);
double salvo_hist_mean(const struct salvo_hist *hist);

/* Lowest and highest value that share a bucket, for writing the histogram out. */
uint64_t salvo_hist_bucket_low(size_t bucket);
uint64_t salvo_hist_bucket_high(size_t bucket);
