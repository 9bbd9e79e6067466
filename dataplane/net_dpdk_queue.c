/* A queue pair of a port as a frame device: see net_dpdk.h and device.h.
 *
 * The pool is a stack, so that the packet written next is one that is still in the cache; nobody
 * but the lane uses it, whose thread the EAL need not know. What the device has no room for waits
 * in `out`, and room() says so before anything is lost. */
#include "dataplane/net_dpdk_internal.h"

#include "base/assert.h"

#include <poll.h>
#include <time.h>
#include <unistd.h>

#include <rte_ip.h>

/* 10 ms: asking for the link state is a system call with some devices. */
#define DPDK_LINK_LOOK_NS (10 * SALVO_NS_PER_MS)

static struct dpdk_queue *queue_of(struct salvo_device *device)
{
    struct dpdk_queue *queue = (struct dpdk_queue *)device;
    salvo_assert(queue->head.magic == SALVO_DEVICE_MAGIC);
    return queue;
}

/* IPv4 has a sum of its own, IPv6 has not. */
static bool mbuf_verified(const struct rte_mbuf *m)
{
    uint64_t ip = m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;
    bool ip4 = rte_pktmbuf_data_len(m) > 14 && rte_pktmbuf_mtod(m, const uint8_t *)[12] == 0x08 &&
               rte_pktmbuf_mtod(m, const uint8_t *)[13] == 0x00;

    return (m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD &&
           (!ip4 || ip == RTE_MBUF_F_RX_IP_CKSUM_GOOD);
}

static void received_free(struct dpdk_queue *queue)
{
    rte_pktmbuf_free_bulk(queue->received, queue->received_count);
    queue->received_count = 0;
}

static unsigned queue_receive(struct salvo_device *device, struct salvo_device_frame *ret_frames,
                              unsigned frames_max)
{
    struct dpdk_queue *queue = queue_of(device);
    unsigned count;

    received_free(queue);
    count = rte_eth_rx_burst(queue->port->id, queue->index, queue->received,
                             (uint16_t)SALVO_MIN(frames_max, DPDK_RECEIVE_MAX));
    queue->received_count = count;
    for (unsigned i = 0; i < count; i++) {
        const struct rte_mbuf *m = queue->received[i];

        ret_frames[i] = (struct salvo_device_frame){
            .bytes = rte_pktmbuf_mtod(m, const uint8_t *),
            .size = rte_pktmbuf_data_len(m), /* of its first piece: we ask for no others */
            .checksum_verified = mbuf_verified(m)};
    }
    return count;
}

static void out_done(struct dpdk_queue *queue, unsigned count)
{
    queue->out_head += count;
    queue->out_count -= count;
}

static void out_push(struct dpdk_queue *queue)
{
    while (queue->out_count != 0) {
        unsigned burst = SALVO_MIN(queue->out_count, (unsigned)DPDK_BURST);
        struct rte_mbuf **first = queue->out + queue->out_head;
        uint16_t prepared = (uint16_t)burst;

        if (queue->port->transmit_offloads != 0)
            prepared = rte_eth_tx_prepare(queue->port->id, queue->index, first, prepared);
        uint16_t sent = rte_eth_tx_burst(queue->port->id, queue->index, first, prepared);
        out_done(queue, sent);
        if (sent < prepared)
            return;
        /* What the driver refuses (segments shorter than the device cuts) is lost as on a wire: it
         * would be refused again, and all that is behind it would wait. */
        if (prepared < burst) {
            rte_pktmbuf_free(first[prepared]);
            out_done(queue, 1);
        }
    }
    queue->out_head = 0;
}

static unsigned queue_room(struct salvo_device *device)
{
    struct dpdk_queue *queue = queue_of(device);
    unsigned room = DPDK_OUT_MAX - queue->out_head - queue->out_count;
    unsigned free = rte_mempool_avail_count(queue->pool);

    free -= SALVO_MIN(free, DPDK_RECEIVE_MAX); /* receiving goes on */
    if (queue->head.caps.references)
        free = dpdk_attach_room(queue, free);
    return SALVO_MIN(room, free);
}

static uint8_t *queue_claim(struct salvo_device *device, uint32_t size)
{
    struct dpdk_queue *queue = queue_of(device);

    salvo_assert(queue->claimed == NULL);
    queue->claimed = rte_pktmbuf_alloc(queue->pool);
    salvo_assert(queue->claimed != NULL); /* room() has counted */
    char *bytes = rte_pktmbuf_append(queue->claimed, (uint16_t)size);
    salvo_assert(bytes != NULL);
    return (uint8_t *)bytes;
}

/* What the device is to fill in. Its own rules for the pseudo header's sum are DPDK's, not ours:
 * with segmentation the length is left out of it. */
static void mbuf_offload(const struct salvo_dpdk_port *port, struct rte_mbuf *m,
                         const struct salvo_tcp_packet *packet)
{
    uint8_t *ip = rte_pktmbuf_mtod_offset(m, uint8_t *, SALVO_ETHERNET_SIZE);
    struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)(void *)(ip + packet->ip_size);

    m->l2_len = SALVO_ETHERNET_SIZE;
    m->l3_len = packet->ip_size;
    m->l4_len = packet->tcp_size;
    m->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM;
    if (packet->segment_size != 0) {
        m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
        m->tso_segsz = packet->segment_size;
    }
    if (packet->ip_size == SALVO_IP4_SIZE) {
        struct rte_ipv4_hdr *ip4 = (struct rte_ipv4_hdr *)(void *)ip;

        m->ol_flags |= RTE_MBUF_F_TX_IPV4;
        if (port->transmit_offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM) {
            m->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
            ip4->hdr_checksum = 0;
        }
        tcp->cksum = rte_ipv4_phdr_cksum(ip4, m->ol_flags);
    } else {
        m->ol_flags |= RTE_MBUF_F_TX_IPV6;
        tcp->cksum = rte_ipv6_phdr_cksum((struct rte_ipv6_hdr *)(void *)ip, m->ol_flags);
    }
}

static void out_put(struct dpdk_queue *queue, struct rte_mbuf *m)
{
    salvo_assert(queue->out_head + queue->out_count < DPDK_OUT_MAX);
    queue->out[queue->out_head + queue->out_count++] = m;
    if (queue->out_count % DPDK_BURST == 0)
        out_push(queue);
}

static void queue_commit(struct salvo_device *device, const struct salvo_tcp_packet *packet)
{
    struct dpdk_queue *queue = queue_of(device);
    struct rte_mbuf *m = queue->claimed;

    queue->claimed = NULL;
    if (queue->head.caps.checksum && packet->ip_size != 0)
        mbuf_offload(queue->port, m, packet);
    out_put(queue, m);
}

static void queue_attach(struct salvo_device *device, const struct salvo_tcp_packet *packet)
{
    struct dpdk_queue *queue = queue_of(device);
    struct rte_mbuf *m = dpdk_attach_build(queue, packet);

    mbuf_offload(queue->port, m, packet);
    out_put(queue, m);
}

static uint64_t queue_completed(struct salvo_device *device)
{
    return dpdk_attach_completed(queue_of(device));
}

static void queue_flush(struct salvo_device *device)
{
    struct dpdk_queue *queue = queue_of(device);

    out_push(queue);
    if (queue->out_count == 0 || queue->out_head == 0)
        return;
    memmove(queue->out, queue->out + queue->out_head, queue->out_count * sizeof(queue->out[0]));
    queue->out_head = 0;
}

static bool queue_link_up(struct salvo_device *device)
{
    struct dpdk_queue *queue = queue_of(device);
    int64_t now_ns = salvo_clock_mono_ns(queue->port->conf.clock);
    struct rte_eth_link link;

    if (now_ns < queue->link_look_ns)
        return queue->link_up;
    queue->link_look_ns = now_ns + DPDK_LINK_LOOK_NS;
    queue->link_up =
        rte_eth_link_get_nowait(queue->port->id, &link) != 0 || link.link_status == RTE_ETH_LINK_UP;
    return queue->link_up;
}

static void queue_nap(struct salvo_device *device, int64_t ns)
{
    struct dpdk_queue *queue = queue_of(device);
    struct pollfd fd = {.fd = queue->wake_fd, .events = POLLIN};
    struct timespec time = {ns / SALVO_NS_PER_S, ns % SALVO_NS_PER_S};
    uint64_t count;

    if (ppoll(&fd, 1, &time, NULL) > 0)
        (void)!read(queue->wake_fd, &count, sizeof(count));
}

static void queue_wake(struct salvo_device *device)
{
    uint64_t one = 1;

    (void)!write(queue_of(device)->wake_fd, &one, sizeof(one));
}

static void queue_close(struct salvo_device *device)
{
    struct dpdk_queue *queue = queue_of(device);

    out_push(queue);
    rte_pktmbuf_free_bulk(queue->out + queue->out_head, queue->out_count);
    queue->out_count = queue->out_head = 0;
    received_free(queue);
    queue->open = false;
}

static const struct salvo_device_ops queue_ops = {
    .name = "dpdk",
    .receive = queue_receive,
    .room = queue_room,
    .claim = queue_claim,
    .commit = queue_commit,
    .attach = queue_attach,
    .completed = queue_completed,
    .flush = queue_flush,
    .link_up = queue_link_up,
    .nap = queue_nap,
    .wake = queue_wake,
    .close = queue_close,
};

void dpdk_queue_init(struct dpdk_queue *queue, struct salvo_dpdk_port *port,
                     const struct salvo_device_caps *caps)
{
    queue->head =
        (struct salvo_device_head){.magic = SALVO_DEVICE_MAGIC, .ops = &queue_ops, .caps = *caps};
    queue->port = port;
}
