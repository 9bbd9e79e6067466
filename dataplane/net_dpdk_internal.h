/* Between net_dpdk.c (the environment and the port) and net_dpdk_queue.c (a queue pair as a frame
 * device). */
#pragma once

#include "dataplane/net_dpdk.h"

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#define DPDK_BURST 32
/* 256: packets taken and not yet in the device's own queue. */
#define DPDK_OUT_MAX     256u
#define DPDK_RECEIVE_MAX 64u

struct dpdk_queue {
    /* fixed after start */
    struct salvo_device_head head;
    struct salvo_dpdk_port *port;
    uint16_t index;
    bool open;
    int wake_fd;
    struct rte_mempool *pool; /* of both directions: net_af_xdp copies and loses others' */

    /* owner only */
    struct rte_mbuf *received[DPDK_RECEIVE_MAX]; /* frames given out by the last receive */
    unsigned received_count;
    struct rte_mbuf *claimed;
    struct rte_mbuf *out[DPDK_OUT_MAX]; /* from out_head on: what the device had no room for */
    unsigned out_head;
    unsigned out_count;
    int64_t link_look_ns;
    bool link_up;
};

struct salvo_dpdk_port {
    /* fixed after start */
    struct salvo_dpdk_conf conf;
    char name[128]; /* of the device, without its arguments */
    uint16_t id;
    bool probed; /* by us, and to be removed */
    bool configured;
    bool started;
    uint64_t transmit_offloads;
    struct rte_eth_dev_info info;
    struct dpdk_queue *queues;
};

/* A queue of the port as a device. */
void dpdk_queue_init(struct dpdk_queue *queue, struct salvo_dpdk_port *port, uint16_t index,
                     const struct salvo_device_caps *caps);
