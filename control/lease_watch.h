/* Control's look at the address that lanes have by DHCP: what became of it is counted, and told
 * once. Owner: control. */
#pragma once

#include "control/report.h"
#include "dataplane/net_tcp.h"

struct salvo_lease_watch {
    const struct salvo_net_tcp_lease *lease; /* NULL: the address is static */
    uint32_t lost_seen, regained_seen, other_seen;
};

void salvo_lease_watch_look(struct salvo_lease_watch *watch, struct salvo_report *report);
