/* net_tcp's address by DHCP: taken before it opens, renewed by one of the nets. See net_tcp.h. */
#include "dataplane/net_tcp_internal.h"

#include "base/bytes.h"
#include "base/error.h"

#include <errno.h>
#include <string.h>

#define LEASE_BURST 64
/* 1 ms: a start is in no hurry. */
#define LEASE_NAP_NS SALVO_NS_PER_MS

static void lease_send(struct salvo_dhcp *dhcp, struct salvo_device *device,
                       struct salvo_mirror *mirror, int64_t now_us)
{
    static const struct salvo_tcp_packet packet = {.header_size = SALVO_DHCP_FRAME_SIZE};
    const struct salvo_device_ops *ops = salvo_device_head(device)->ops;
    uint8_t frame[SALVO_DHCP_FRAME_SIZE];

    while (ops->room(device) != 0 && salvo_dhcp_output(dhcp, frame, now_us) != 0) {
        memcpy(ops->claim(device, sizeof(frame)), frame, sizeof(frame));
        ops->commit(device, &packet);
        if (salvo_mirror_on(mirror))
            salvo_mirror_frame(mirror, frame, sizeof(frame), now_us * SALVO_NS_PER_US);
    }
    ops->flush(device);
}

int salvo_net_tcp_lease_take(struct salvo_net_tcp_lease *lease, struct salvo_device *const *devices,
                             uint32_t devices_count, struct salvo_mirror *mirror,
                             struct salvo_clock *clock, uint64_t seed, int64_t timeout_ns)
{
    const struct salvo_device_head *head = salvo_device_head(devices[0]);
    int64_t end_ns = salvo_clock_mono_ns(clock) + timeout_ns;
    int64_t now_us = salvo_clock_mono_ns(clock) / SALVO_NS_PER_US;
    struct salvo_device_frame frames[LEASE_BURST];

    salvo_dhcp_init(&lease->dhcp, head->caps.mac, seed, now_us);
    while (!salvo_dhcp_bound(&lease->dhcp)) {
        if (salvo_clock_mono_ns(clock) >= end_ns)
            return salvo_raise(lease->dhcp.naks != 0 ? -ECONNREFUSED : -ETIMEDOUT);
        for (uint32_t i = devices_count; i-- != 0;) {
            const struct salvo_device_ops *ops = salvo_device_head(devices[i])->ops;
            unsigned count = ops->receive(devices[i], frames, LEASE_BURST);

            if (i == 0 && salvo_mirror_on(mirror))
                salvo_mirror_received(mirror, frames, count, now_us * SALVO_NS_PER_US);
            for (unsigned k = 0; i == 0 && k < count; k++)
                salvo_dhcp_input(&lease->dhcp, frames[k].bytes, frames[k].size, now_us);
        }
        if (now_us >= salvo_dhcp_deadline_us(&lease->dhcp))
            salvo_dhcp_timers(&lease->dhcp, now_us);
        if (head->ops->link_up(devices[0]))
            lease_send(&lease->dhcp, devices[0], mirror, now_us);
        if (!salvo_dhcp_bound(&lease->dhcp))
            head->ops->nap(devices[0], LEASE_NAP_NS);
        now_us = salvo_clock_mono_ns(clock) / SALVO_NS_PER_US;
    }
    lease->first = lease->dhcp.lease;
    atomic_store_explicit(&lease->holds, true, memory_order_release);
    return 0;
}

/* Counts for control, and tells other lanes, which read `holds` each turn: written when it changes.
 */
static void lease_changed(struct salvo_net_tcp_lease *lease, bool holds)
{
    _Atomic uint32_t *count = holds ? &lease->regained : &lease->lost;

    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    /* Release: pairs with the acquire in net_tcp_lease_holds. */
    atomic_store_explicit(&lease->holds, holds, memory_order_release);
}

/* Bound anew to another address is not bound: the nets have the first. */
void net_tcp_lease_look(struct net_tcp *n, int64_t now_us)
{
    struct salvo_net_tcp_lease *lease = n->lease;
    struct salvo_dhcp *dhcp = &lease->dhcp;

    if (now_us >= salvo_dhcp_deadline_us(dhcp))
        salvo_dhcp_timers(dhcp, now_us);
    bool bound = salvo_dhcp_bound(dhcp);
    bool holds = bound && salvo_ip_equal(&dhcp->lease.address, &lease->first.address);
    if (SALVO_LIKELY(holds == atomic_load_explicit(&lease->holds, memory_order_relaxed)) &&
        SALVO_LIKELY(bound == holds))
        return;
    uint32_t other = bound && !holds ? salvo_load_be32(dhcp->lease.address.bytes) : 0;
    if (other != atomic_load_explicit(&lease->other, memory_order_relaxed))
        atomic_store_explicit(&lease->other, other, memory_order_relaxed);
    if (holds != atomic_load_explicit(&lease->holds, memory_order_relaxed))
        lease_changed(lease, holds);
}

void net_tcp_lease_output(struct net_tcp *n, int64_t now_us)
{
    lease_send(&n->lease->dhcp, n->device, n->mirror, now_us);
}
