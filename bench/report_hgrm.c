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

/* TotalCount is of all values up to this one, as in HdrHistogram, which may be more than the
 * fraction asks for: in the first row at least one. */
static uint64_t hgrm_count_to(const struct salvo_hist *hist, uint64_t value)
{
    uint64_t count = 0;

    for (size_t i = 0; i < SALVO_HIST_BUCKETS && salvo_hist_bucket_low(i) <= value; i++)
        count += hist->buckets[i];
    return count;
}

static void hgrm_line(const struct salvo_hist *hist, double fraction, FILE *to)
{
    uint64_t value = salvo_hist_quantile(hist, fraction);

    fprintf(to, "%12.3f %14.12f %10llu", (double)value / 1e3, fraction,
            (unsigned long long)hgrm_count_to(hist, value));
    if (fraction < 1)
        fprintf(to, " %14.2f", 1 / (1 - fraction));
    fputc('\n', to);
}

int salvo_report_hgrm(const struct salvo_hist *latency, FILE *to)
{
    /* HdrHistogram's percentile ticks: five to each halving of what is left. */
    enum { TICKS_PER_HALF = 5 };
    double fraction = 0, half = 0.5;

    errno = 0;
    fprintf(to, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    while (latency->count > 0 && (1 - fraction) * (double)latency->count >= 1) {
        for (int i = 0; i < TICKS_PER_HALF; i++)
            hgrm_line(latency, fraction + i * half / TICKS_PER_HALF, to);
        fraction += half;
        half /= 2;
    }
    hgrm_line(latency, 1, to);
    fprintf(to, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n", salvo_hist_mean(latency) / 1e3,
            hgrm_deviation(latency) / 1e3);
    fprintf(to, "#[Max     = %12.3f, Total count    = %12llu]\n", (double)latency->max / 1e3,
            (unsigned long long)latency->count);
    fprintf(to, "#[Buckets = %12d, SubBuckets     = %12d]\n",
            SALVO_HIST_VALUE_BITS - SALVO_HIST_SUB_BITS + 1, 1 << SALVO_HIST_SUB_BITS);
    if (fflush(to) || ferror(to))
        return errno != 0 ? -errno : -EIO;
    return 0;
}
