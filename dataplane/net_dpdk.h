/* Frame devices over a NIC that DPDK drives, physical or virtual: a port, and a queue pair of it
 * for each lane, as far as the device has them (device.h). net_dpdk*.c is all of salvo that knows
 * DPDK; net_dpdk_absent.c stands in where it was built without.
 *
 * DPDK's environment (EAL) is started once in a process and stays; ports come and go. It takes no
 * signals, no CPUs and no standard output of the host program.
 *
 * Thread: the one that starts and stops the sender; each device then belongs to its lane. */
#pragma once

#include "base/clock.h"
#include "base/log.h"
#include "dataplane/device.h"

struct salvo_dpdk_port;

struct salvo_dpdk_conf {
    const char *device; /* "0000:03:00.0", or "net_af_packet0,iface=veth1" */
    const char *eal;    /* more arguments for the EAL, separated by spaces; "" */
    uint32_t queues;    /* one for each lane, if there are so many */
    bool rules;         /* steer by rte_flow rules */
    uint16_t mtu;       /* of IP datagrams */
    uint32_t memory_mb; /* of ordinary pages, where there are no huge ones */
    bool huge_pages;    /* when there are any */
    struct salvo_clock *clock;
    struct salvo_log *log; /* DPDK's own lines; until the port is closed */
};

/* 0, or a negative errno with one sentence in ret_error: what is wrong and what would help.
 * -ENOSYS: this salvo was built without DPDK. */
int salvo_dpdk_port_open(const struct salvo_dpdk_conf *conf, struct salvo_dpdk_port **ret_port,
                         char *ret_error, size_t error_size);

/* How many queue pairs there are: conf.queues, or fewer. */
uint32_t salvo_dpdk_port_pairs(const struct salvo_dpdk_port *port);

/* Whether the device says which queue a segment comes to; and whether what remote:remote_port sends
 * to local:local_port comes to this one. Thread: any. */
bool salvo_dpdk_port_steers(const struct salvo_dpdk_port *port);
bool salvo_dpdk_port_prefers(const struct salvo_dpdk_port *port, uint32_t queue,
                             const struct salvo_ip_address *remote, uint16_t remote_port,
                             const struct salvo_ip_address *local, uint16_t local_port);

/* Zeroed memory that packets of this queue may refer to, or NULL: the device takes no references,
 * there are no huge pages or not enough. The port's, until it is closed; once for each queue. */
void *salvo_dpdk_port_memory(struct salvo_dpdk_port *port, uint32_t queue, size_t size);

/* The device of a queue; the port keeps the memory. Of queues from salvo_dpdk_port_pairs() on only
 * nap(), wake() and close() are there. */
struct salvo_device *salvo_dpdk_port_device(struct salvo_dpdk_port *port, uint32_t queue);

/* Stops and closes the port, after its devices: nothing sent by reference is referred to any more,
 * and nothing of ours is left on the interface. */
void salvo_dpdk_port_close(struct salvo_dpdk_port *port);
