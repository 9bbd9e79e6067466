/* See lease_watch.h. */
#include "control/lease_watch.h"

/* The numbers run free and are read relaxed: a look that comes between two stores is made up for by
 * the next. */
static uint32_t seen_anew(const _Atomic uint32_t *number, uint32_t *seen)
{
    uint32_t now = atomic_load_explicit(number, memory_order_relaxed);
    uint32_t more = now - *seen;

    *seen = now;
    return more;
}

void salvo_lease_watch_look(struct salvo_lease_watch *w, struct salvo_report *report)
{
    if (w->lease == NULL)
        return;
    const uint8_t *a = w->lease->first.address.bytes;
    uint32_t lost = seen_anew(&w->lease->lost, &w->lost_seen);
    uint32_t regained = seen_anew(&w->lease->regained, &w->regained_seen);
    uint32_t other = atomic_load_explicit(&w->lease->other, memory_order_relaxed);

    salvo_counter_add(report->counters, SALVO_CONTROL_LEASES_LOST, lost);
    salvo_counter_add(report->counters, SALVO_CONTROL_LEASES_REGAINED, regained);
    if (lost != 0)
        salvo_log_warn(report->log,
                       "control: the DHCP lease of %u.%u.%u.%u is lost: its connections end, and "
                       "nothing is sent until it is granted again",
                       a[0], a[1], a[2], a[3]);
    if (regained != 0)
        salvo_log_info(report->log, "control: %u.%u.%u.%u is granted by DHCP again", a[0], a[1],
                       a[2], a[3]);
    if (other != 0 && other != w->other_seen)
        salvo_log_warn(report->log,
                       "control: DHCP grants %u.%u.%u.%u in place of %u.%u.%u.%u: start salvo anew "
                       "to use it",
                       other >> 24, other >> 16 & 255, other >> 8 & 255, other & 255, a[0], a[1],
                       a[2], a[3]);
    w->other_seen = other;
}
