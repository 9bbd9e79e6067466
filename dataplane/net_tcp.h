/* The network backend over salvo's own TCP (dataplane/tcp) and a frame device (device.h).
 *
 * It opens connections and does not listen. Bytes taken are RELEASED when the peer has acknowledged
 * them and the device has let go of them. A close in order says FIN, reports DOWN at once, and is
 * GONE when everything was acknowledged; with bytes that were never sent it is a reset, because
 * those must not arrive any more. Everything follows from device, clock and configuration. */
#pragma once

#include "dataplane/device.h"
#include "dataplane/mirror.h"
#include "dataplane/net.h"
#include "dataplane/tcp/dhcp.h"

/* An address by DHCP. While it does not hold, links of all nets over it end, nothing is sent, and
 * connects end as unreachable. */
struct salvo_net_tcp_lease {
    /* fixed after start */
    struct salvo_dhcp_lease first; /* what the nets were opened with */

    struct salvo_dhcp dhcp; /* starter, then the net that renews */
    _Atomic bool holds;     /* the net that renews -> all nets */

    /* the net that renews -> control */
    _Atomic uint32_t lost, regained; /* how often */
    _Atomic uint32_t other;          /* IPv4: granted now in place of the first; 0: none */
};

struct salvo_net_tcp_conf {
    /* Addresses, prefixes, gateways and the key, and whatever differs from
     * salvo_tcp_config_defaults(); what the device says (MAC, MTU, offloads) and the number of
     * connections are filled in. */
    struct salvo_tcp_config tcp;
    struct salvo_net_tcp_lease *lease; /* of tcp.address4, outlives the net; NULL: static */
    bool lease_renews;                 /* this net renews it: one of all */
    struct salvo_mirror *mirror;       /* the lane's, outlives the net; NULL: none */
    struct salvo_device *device; /* the net's from here on, closed with it; not when open fails */
};

/* What the machine of a net takes, with the defaults' sizes. */
uint64_t salvo_net_tcp_memory_size(const struct salvo_net_conf *conf);

/* 0; -EINVAL (salvo_tcp_config_check), -ENOMEM. */
int salvo_net_tcp_open(const struct salvo_net_conf *conf, const struct salvo_net_tcp_conf *tcp_conf,
                       struct salvo_net **ret_net);

/* Asks for an address by the first device until there is one: 0, or when the time is up
 * -ECONNREFUSED (a server answered NAK) or -ETIMEDOUT (none did). The others are read meanwhile,
 * for they may hand its frames over. mirror: of the first, or NULL. Thread: the starter; it waits.
 */
int salvo_net_tcp_lease_take(struct salvo_net_tcp_lease *lease, struct salvo_device *const *devices,
                             uint32_t devices_count, struct salvo_mirror *mirror,
                             struct salvo_clock *clock, uint64_t seed, int64_t timeout_ns);

/* The machine's counters. */
const struct salvo_tcp_stats *salvo_net_tcp_stats(struct salvo_net *net);
