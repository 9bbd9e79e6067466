/* The network backend over salvo's own TCP (dataplane/tcp) and a frame device (device.h).
 *
 * It opens connections and does not listen. Bytes taken are RELEASED when the peer has acknowledged
 * them and the device has let go of them. A close in order says FIN, reports DOWN at once, and is
 * GONE when everything was acknowledged; with bytes that were never sent it is a reset, because
 * those must not arrive any more. Everything follows from device, clock and configuration. */
#pragma once

#include "dataplane/device.h"
#include "dataplane/net.h"

struct salvo_net_tcp_conf {
    /* Addresses, prefixes, gateways and the key, and whatever differs from
     * salvo_tcp_config_defaults(); what the device says (MAC, MTU, offloads) and the number of
     * connections are filled in. */
    struct salvo_tcp_config tcp;
    struct salvo_device *device; /* the net's from here on, closed with it; not when open fails */
};

/* 0; -EINVAL (salvo_tcp_config_check), -ENOMEM. */
int salvo_net_tcp_open(const struct salvo_net_conf *conf, const struct salvo_net_tcp_conf *tcp_conf,
                       struct salvo_net **ret_net);

/* The machine's counters. */
const struct salvo_tcp_stats *salvo_net_tcp_stats(struct salvo_net *net);
