/* Packets by reference: the header in a packet buffer of ours, the payload where it lies, cut into
 * segments by the device if it can. See net_dpdk.h and device.h.
 *
 * Only memory that DPDK gave (salvo_dpdk_port_memory) is referred to: devices reach no other.
 * Whatever else is sent by reference is copied into packet buffers, and so is a packet of more
 * pieces than the device takes. A packet's pieces share one count; when the device has let go of
 * the last, its place in `attached` is done, and places are completed in order.
 *
 * Some drivers (net_virtio) look for what was sent only when more is sent, and what they hold may
 * be what there is to send. Then a frame to our own address, which no switch passes on, is more. */
#include "dataplane/net_dpdk_internal.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* 65,280: of the 65,535 bytes of a datagram, less the headers. */
#define ATTACH_TSO_MAX 65280u
/* 256: what is shorter is copied; a piece costs a packet buffer and a descriptor. */
#define ATTACH_SIZE_MIN 256u
/* 8,192 references, of which a packet takes up to 48. */
#define ATTACH_REFERENCES 8192u
/* 1 ms without one packet done. */
#define ATTACH_NUDGE_NS SALVO_NS_PER_MS
/* 8: what most NICs take at least where they say nothing. */
#define ATTACH_SEGMENTS_MIN 8u
/* 2,048: a packet buffer holds no less. */
#define ATTACH_BUFFER_MIN 2048u
/* 4: the header's, and three for what is copied between references; a packet that is in more pieces
 * is copied wholly. */
#define ATTACH_BUFFERS 4u

void dpdk_attach_choose(struct salvo_dpdk_port *port)
{
    const struct rte_eth_dev_info *info = &port->info;

    if (!(port->transmit_offloads & RTE_ETH_TX_OFFLOAD_TCP_CKSUM) ||
        !(info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS))
        return;
    port->transmit_offloads |= RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
    /* net_tap cuts by itself, in software, and IPv4 alone: nothing is won. */
    if (info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_TCP_TSO &&
        strncmp(port->name, "net_tap", 7) != 0) {
        port->transmit_offloads |= RTE_ETH_TX_OFFLOAD_TCP_TSO;
        port->tso_max = ATTACH_TSO_MAX;
    }
    port->references = true;
    port->segments_max = info->tx_desc_lim.nb_mtu_seg_max == 0 ? ATTACH_SEGMENTS_MIN
                                                               : info->tx_desc_lim.nb_mtu_seg_max;
    port->segments_tso_max = info->tx_desc_lim.nb_seg_max == 0 ? SALVO_TCP_PACKET_RANGES_MAX + 1u
                                                               : info->tx_desc_lim.nb_seg_max;
    /* Copied wholly it still has to be a packet that the device takes: header, and a piece that is
     * not full. */
    port->tso_max = SALVO_MIN(port->tso_max, (SALVO_MAX(port->segments_tso_max, 2u) - 2) *
                                                 (uint32_t)ATTACH_BUFFER_MIN);
}

unsigned dpdk_attach_buffers(const struct salvo_dpdk_port *port)
{
    return port->tso_max != 0 ? DPDK_OUT_MAX * 16 : port->references ? DPDK_OUT_MAX * 2 : 0;
}

int dpdk_attach_open(struct dpdk_queue *queue, int socket)
{
    char name[RTE_MEMPOOL_NAMESIZE];

    if (!queue->port->references)
        return 0;
    snprintf(name, sizeof(name), "salvo-ref-%u-%u", queue->port->id, queue->index);
    queue->references = rte_pktmbuf_pool_create_by_ops(
        name, ATTACH_REFERENCES, 0, 0, 0, socket < 0 ? SOCKET_ID_ANY : socket, "stack");
    return queue->references == NULL ? salvo_raise(-ENOMEM) : 0;
}

static void attached_done(void *address, void *place)
{
    ((struct dpdk_attached *)place)->done = true;
}

static bool can_refer(const struct dpdk_queue *queue, const struct salvo_tcp_range *range)
{
    uintptr_t at = (uintptr_t)range->bytes, memory = (uintptr_t)queue->memory;

    return range->size >= ATTACH_SIZE_MIN && at >= memory &&
           at + range->size <= memory + queue->memory_size;
}

/* A piece that is a reference. The address goes by as it is: devices that want a bus address get
 * no memory (salvo_dpdk_port_memory). */
static struct rte_mbuf *piece_refer(struct dpdk_queue *queue, struct dpdk_attached *place,
                                    const struct salvo_tcp_range *range)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(queue->references);

    salvo_assert(m != NULL); /* room() has counted */
    rte_pktmbuf_attach_extbuf(m, (void *)(uintptr_t)range->bytes,
                              (rte_iova_t)(uintptr_t)range->bytes, (uint16_t)range->size,
                              &place->shared);
    m->data_off = 0;
    m->data_len = (uint16_t)range->size;
    return m;
}

/* Copies into the last piece, and into new ones behind it. */
static struct rte_mbuf *pieces_copy(struct dpdk_queue *queue, struct rte_mbuf *head,
                                    struct rte_mbuf *last, const struct salvo_tcp_range *range)
{
    size_t at = 0;

    while (at < range->size) {
        uint16_t room = RTE_MBUF_HAS_EXTBUF(last) ? 0 : rte_pktmbuf_tailroom(last);
        uint16_t part = (uint16_t)SALVO_MIN(range->size - at, room);

        if (part == 0) {
            last->next = rte_pktmbuf_alloc(queue->pool);
            last = last->next;
            salvo_assert(last != NULL); /* room() has counted */
            head->nb_segs++;
            continue;
        }
        memcpy(rte_pktmbuf_mtod_offset(last, uint8_t *, last->data_len), range->bytes + at, part);
        last->data_len = (uint16_t)(last->data_len + part);
        at += part;
    }
    return last;
}

/* How many of our buffers a packet may take: by reference or, if that took more, copied wholly. */
static uint32_t buffers_max(const struct dpdk_queue *queue)
{
    return ATTACH_BUFFERS + queue->port->tso_max / (rte_pktmbuf_data_room_size(queue->pool) -
                                                    (uint32_t)RTE_PKTMBUF_HEADROOM);
}

/* Whether the packet may refer to its payload: in no more pieces than the device takes, and in no
 * more buffers than room() has counted. */
static bool may_refer(const struct dpdk_queue *queue, const struct salvo_tcp_packet *packet)
{
    const struct salvo_dpdk_port *port = queue->port;
    uint32_t pieces_max = packet->segment_size != 0 ? port->segments_tso_max : port->segments_max;
    uint32_t buffers = 1, references = 0;
    uint32_t copied = packet->header_size; /* one behind the other */

    for (uint32_t i = 0; i < packet->range_count; i++) {
        if (can_refer(queue, &packet->ranges[i])) {
            buffers += copied / ATTACH_BUFFER_MIN;
            copied = 0;
            references++;
        } else {
            buffers += copied == 0; /* nothing goes into a piece that is a reference */
            copied += (uint32_t)packet->ranges[i].size;
        }
    }
    buffers += copied / ATTACH_BUFFER_MIN;
    return buffers <= buffers_max(queue) && buffers + references <= pieces_max;
}

struct rte_mbuf *dpdk_attach_build(struct dpdk_queue *queue, const struct salvo_tcp_packet *packet)
{
    struct dpdk_attached *place = &queue->attached[queue->attached_tail++ % DPDK_ATTACHED_MAX];
    struct rte_mbuf *head = rte_pktmbuf_alloc(queue->pool);
    struct rte_mbuf *last = head;
    bool refer = may_refer(queue, packet);
    uint16_t references = 0;

    salvo_assert(queue->attached_tail - queue->attached_head <= DPDK_ATTACHED_MAX);
    salvo_assert(head != NULL); /* room() has counted */
    *place = (struct dpdk_attached){
        .shared = {.free_cb = attached_done, .fcb_opaque = place, .refcnt = 1}};
    memcpy(rte_pktmbuf_append(head, (uint16_t)packet->header_size), packet->header,
           packet->header_size);
    for (uint32_t i = 0; i < packet->range_count; i++) {
        const struct salvo_tcp_range *range = &packet->ranges[i];

        if (refer && can_refer(queue, range)) {
            last->next = piece_refer(queue, place, range);
            last = last->next;
            head->nb_segs++;
            references++;
        } else {
            last = pieces_copy(queue, head, last, range);
        }
    }
    head->pkt_len = packet->header_size + packet->payload_size;
    if (references == 0)
        place->done = true;
    else
        rte_mbuf_ext_refcnt_set(&place->shared, references);
    return head;
}

static void places_complete(struct dpdk_queue *queue)
{
    while (queue->attached_head != queue->attached_tail &&
           queue->attached[queue->attached_head % DPDK_ATTACHED_MAX].done)
        queue->attached_head++;
}

/* IEEE's ethertype for local experiments. */
static void queue_nudge(struct dpdk_queue *queue)
{
    const uint8_t *mac = queue->head.caps.mac;
    struct rte_mbuf *m = rte_pktmbuf_alloc(queue->pool);
    uint8_t *frame;

    if (m == NULL)
        return;
    frame = rte_pktmbuf_mtod(m, uint8_t *);
    m->data_len = 60;
    m->pkt_len = 60;
    memset(frame, 0, 60);
    memcpy(frame, mac, 6);
    memcpy(frame + 6, mac, 6);
    salvo_store_be16(frame + 12, 0x88b5);
    if (rte_eth_tx_burst(queue->port->id, queue->index, &m, 1) == 0)
        rte_pktmbuf_free(m);
}

uint64_t dpdk_attach_completed(struct dpdk_queue *queue)
{
    uint64_t head = queue->attached_head;
    int64_t now_ns;

    places_complete(queue);
    if (queue->attached_head == queue->attached_tail)
        return queue->attached_head - queue->attached_base;
    (void)rte_eth_tx_done_cleanup(queue->port->id, queue->index, 0);
    places_complete(queue);
    now_ns = salvo_clock_mono_ns(queue->port->conf.clock);
    if (queue->attached_head != head) {
        queue->nudge_ns = now_ns + ATTACH_NUDGE_NS;
    } else if (now_ns >= queue->nudge_ns && queue->out_count == 0) {
        queue->nudge_ns = now_ns + ATTACH_NUDGE_NS;
        queue_nudge(queue);
        places_complete(queue);
    }
    return queue->attached_head - queue->attached_base;
}

/* How many packets, whatever they hold. */
unsigned dpdk_attach_room(struct dpdk_queue *queue, unsigned buffers_free)
{
    uint64_t places;

    places_complete(queue);
    places = DPDK_ATTACHED_MAX - (queue->attached_tail - queue->attached_head);
    return (unsigned)SALVO_MIN(SALVO_MIN(buffers_free / buffers_max(queue), places),
                               rte_mempool_avail_count(queue->references) /
                                   SALVO_TCP_PACKET_RANGES_MAX);
}

/* --- memory ----------------------------------------------------------------------------------- */

void *salvo_dpdk_port_memory(struct salvo_dpdk_port *port, uint32_t index, size_t size)
{
    struct dpdk_queue *queue = &port->queues[index];
    const struct rte_memzone *zone;
    char name[RTE_MEMZONE_NAMESIZE];

    salvo_assert(index < port->conf.queues && queue->memory == NULL);
    /* A bus address is one piece only where it is the virtual one. */
    if (!port->references || index >= port->pairs || !rte_eal_has_hugepages() ||
        (port->pci && rte_eal_iova_mode() != RTE_IOVA_VA))
        return NULL;
    snprintf(name, sizeof(name), "salvo-memory-%u-%u", port->id, index);
    zone = rte_memzone_reserve_aligned(name, size, SOCKET_ID_ANY, 0, 4096);
    if (zone == NULL)
        return NULL;
    memset(zone->addr, 0, size);
    queue->zone = zone;
    queue->memory = zone->addr;
    queue->memory_size = size;
    return queue->memory;
}

void dpdk_attach_close(struct dpdk_queue *queue)
{
    rte_mempool_free(queue->references);
    if (queue->zone != NULL)
        rte_memzone_free(queue->zone);
}
