/* Linked in place of net_dpdk.c where there is no DPDK: says so. */
#include "dataplane/net_dpdk.h"

#include "base/assert.h"
#include "base/error.h"

#include <errno.h>
#include <stdio.h>

int salvo_dpdk_port_open(const struct salvo_dpdk_conf *conf, struct salvo_dpdk_port **ret_port,
                         char *ret_error, size_t error_size)
{
    snprintf(ret_error, error_size,
             "this salvo was built without DPDK: run deploy/install dpdk, then meson setup "
             "--reconfigure -Ddpdk=enabled, or set net to auto");
    return salvo_raise(-ENOSYS);
}

uint32_t salvo_dpdk_port_pairs(const struct salvo_dpdk_port *port)
{
    salvo_unreachable();
}

bool salvo_dpdk_port_steers(const struct salvo_dpdk_port *port)
{
    salvo_unreachable();
}

bool salvo_dpdk_port_prefers(const struct salvo_dpdk_port *port, uint32_t queue,
                             const struct salvo_ip_address *remote, uint16_t remote_port,
                             const struct salvo_ip_address *local, uint16_t local_port)
{
    salvo_unreachable();
}

void *salvo_dpdk_port_memory(struct salvo_dpdk_port *port, uint32_t queue, size_t size)
{
    salvo_unreachable();
}

struct salvo_device *salvo_dpdk_port_device(struct salvo_dpdk_port *port, uint32_t queue)
{
    salvo_unreachable();
}

void salvo_dpdk_port_close(struct salvo_dpdk_port *port)
{
    salvo_assert(port == NULL);
}
