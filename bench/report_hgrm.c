/* The percentile file: HdrHistogram's text form (.hgrm), which its plotter reads. */
#include "bench/report.h"

#include <errno.h>
#include <math.h>

static double hgrm_deviation(const struct salvo_hist *hist)
{
    double mean = salvo_hist_mean(hist), sum = 0;

    for (size_t i = 0; i < SALVO_HIST_BUCKETS; i++) {
        double middle = ((double)salvo_hist_bucket_low(i) + (double)salvo_hist_bucket_high(i)) / 2;

        sum += (double)hist->buckets[i] * (middle - mean) * (middle - mean);
    }
    return hist->count > 0 ? sqrt(sum / (double)hist->count) : 0;
}

static void hgrm_line(const struct salvo_hist *hist, double fraction, uint64_t total, FILE *to)
{
    double value_us = (double)salvo_hist_quantile(hist, fraction) / 1e3;

    if (fraction < 1)
        fprintf(to, "%12.3f %14.12f %10llu %14.2f\n", value_us, fraction, (unsigned long long)total,
                1 / (1 - fraction));
    else
        fprintf(to, "%12.3f %14.12f %10llu\n", value_us, 1.0, (unsigned long long)total);
}

int salvo_report_hgrm(const struct salvo_hist *latency, FILE *to)
{
    /* HdrHistogram's percentile ticks: five to each halving of what is left. */
    enum { TICKS_PER_HALF = 5 };
    double fraction = 0, half = 0.5;

    fprintf(to, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    while (latency->count > 0 && (1 - fraction) * (double)latency->count >= 1) {
        for (int i = 0; i < TICKS_PER_HALF; i++)
            hgrm_line(
                latency, fraction + i * half / TICKS_PER_HALF,
                (uint64_t)ceil((fraction + i * half / TICKS_PER_HALF) * (double)latency->count),
                to);
        fraction += half;
        half /= 2;
    }
    hgrm_line(latency, 1, latency->count, to);
    fprintf(to, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n", salvo_hist_mean(latency) / 1e3,
            hgrm_deviation(latency) / 1e3);
    fprintf(to, "#[Max     = %12.3f, Total count    = %12llu]\n", (double)latency->max / 1e3,
            (unsigned long long)latency->count);
    fprintf(to, "#[Buckets = %12d, SubBuckets     = %12d]\n",
            SALVO_HIST_VALUE_BITS - SALVO_HIST_SUB_BITS + 1, 1 << SALVO_HIST_SUB_BITS);
    return fflush(to) || ferror(to) ? -EIO : 0;
}
