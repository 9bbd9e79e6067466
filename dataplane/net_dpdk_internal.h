/* Between net_dpdk.c (the environment and the port), net_dpdk_queue.c (a queue pair as a frame
 * device), net_dpdk_attach.c (packets by reference), net_dpdk_steer.c (which queue an answer comes
 * to) and net_dpdk_interface.c (the kernel's interface beneath a virtual device). */
#pragma once

#include "dataplane/net_dpdk.h"
#include "dataplane/rss.h"

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#define DPDK_BURST 32
/* 256: packets taken and not yet in the device's own queue. */
#define DPDK_OUT_MAX     256u
#define DPDK_RECEIVE_MAX 64u

/* 1024: packets by reference that the device has not let go of. */
#define DPDK_ATTACHED_MAX 1024u

enum { DPDK_RSS_IP4 = 1, DPDK_RSS_IP6 = 2 };

/* A packet by reference; its pieces share the count. */
struct dpdk_attached {
    struct rte_mbuf_ext_shared_info shared;
    bool done;
};

struct dpdk_queue {
    /* fixed after start */
    struct salvo_device_head head;
    struct salvo_dpdk_port *port;
    uint16_t index;
    bool open;
    int wake_fd;
    struct rte_mempool *pool;       /* of both directions: net_af_xdp copies and loses others' */
    struct rte_mempool *references; /* pieces without memory of their own */
    struct dpdk_attached *attached; /* DPDK_ATTACHED_MAX */
    uint64_t attached_base;         /* attached_tail when the device was opened */
    const struct rte_memzone *zone;
    uint8_t *memory; /* what may be referred to */
    size_t memory_size;

    /* owner only */
    struct rte_mbuf *received[DPDK_RECEIVE_MAX]; /* frames given out by the last receive */
    unsigned received_count;
    struct rte_mbuf *claimed;
    struct rte_mbuf *out[DPDK_OUT_MAX]; /* from out_head on: what the device had no room for */
    unsigned out_head;
    unsigned out_count;
    uint64_t attached_head, attached_tail; /* places: the oldest not done, the next */
    int64_t nudge_ns;
    int64_t link_look_ns;
    bool link_up;
};

struct salvo_dpdk_port {
    /* fixed after start */
    struct salvo_dpdk_conf conf;
    char name[128]; /* of the device, without its arguments */
    uint16_t id;
    bool pci;
    bool probed;  /* by us, and to be removed */
    int claim_fd; /* nobody else uses the interface; -1: it may be shared */
    bool configured;
    bool started;
    uint64_t transmit_offloads;
    struct rte_eth_dev_info info;
    struct dpdk_queue *queues; /* conf.queues; those from `pairs` on only sleep and wake */
    uint32_t pairs;
    uint32_t rss_families; /* whose segments come where rss says */
    struct salvo_rss rss;
    bool rules;
    bool references;
    uint32_t tso_max;
    uint32_t segments_max; /* pieces of a packet; of one that the device cuts */
    uint32_t segments_tso_max;
};

/* Before the device is opened: whether the interface it is over is there, may be used, and is
 * nobody else's where it cannot be shared. conf.mtu is not above its MTU afterwards. */
int dpdk_interface_open(struct salvo_dpdk_port *port, char *ret_error, size_t error_size);
void dpdk_interface_close(struct salvo_dpdk_port *port);

/* A queue of the port as a device. */
void dpdk_queue_init(struct dpdk_queue *queue, struct salvo_dpdk_port *port,
                     const struct salvo_device_caps *caps);

/* The sums of received frames that a device of such capabilities is asked to check. */
uint64_t dpdk_sums_received(uint64_t capabilities);

/* Before the port is configured, after it was started, and before it is stopped. */
void dpdk_steer_configure(const struct salvo_dpdk_port *port, struct rte_eth_conf *conf);
void dpdk_steer_learn(struct salvo_dpdk_port *port);
int dpdk_steer_rules(struct salvo_dpdk_port *port, char *ret_error, size_t error_size);
void dpdk_steer_end(struct salvo_dpdk_port *port);

/* Chooses offloads before the port is configured. */
void dpdk_attach_choose(struct salvo_dpdk_port *port);
/* More packet buffers that a queue needs because of them. */
unsigned dpdk_attach_buffers(const struct salvo_dpdk_port *port);
int dpdk_attach_open(struct dpdk_queue *queue, int socket);
struct rte_mbuf *dpdk_attach_build(struct dpdk_queue *queue, const struct salvo_tcp_packet *packet);
uint64_t dpdk_attach_completed(struct dpdk_queue *queue);
unsigned dpdk_attach_room(struct dpdk_queue *queue, unsigned buffers_free);
void dpdk_attach_close(struct dpdk_queue *queue);
