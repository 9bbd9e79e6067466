/* One port for several lanes: see device_share.h.
 *
 * A ring for each pair (from, to) that has something to say: from those with a queue to everybody,
 * and from everybody to lane 0. What lies in a ring to a lane is a received frame when `from` has a
 * queue, else a packet to send.
 *
 * Sleep: a lane says `napping`, then looks at its rings once more; who fills a ring publishes it,
 * then looks at `napping`. One of the two sees the other (ring.h). */
#include "dataplane/device_share.h"

#include "base/bytes.h"
#include "base/error.h"
#include "dataplane/ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* 256 KiB: 170 full frames of 1,500 bytes, or thousands of ACKs; more lanes have more rings, and
 * less each. 64 KiB hold three of 9,000. */
#define SHARE_RING_SIZE     SALVO_KIB(256)
#define SHARE_RING_SIZE_LOW SALVO_KIB(64)
#define SHARE_LANES_FEW     8u
#define SHARE_BURST         64u
/* 8: bursts of which nothing was ours, in one receive(). */
#define SHARE_BURSTS_MAX 8u
#define SHARE_LANE_ALL   UINT32_MAX

struct share_record {
    uint32_t size;
    uint16_t segment_size;
    uint8_t ip_size, tcp_size;  /* of a packet to send */
    uint32_t checksum_verified; /* of a received frame */
    uint8_t bytes[];
};

struct share_lane {
    /* fixed after start */
    struct salvo_device_head head;
    struct salvo_device_share *share;
    uint32_t index;
    bool pair;
    struct salvo_device *below;
    const struct salvo_device_ops *ops; /* of below */

    /* closer, when no lane runs -> anyone: the end of the lanes' threads lies between */
    bool closed;

    /* lane only */
    uint32_t from_next; /* whose ring is looked at first */
    bool published_due; /* some rings of ours have commits that nobody sees yet */

    /* lane -> anyone */
    alignas(SALVO_CACHE_LINE) _Atomic uint32_t napping;
    _Atomic uint64_t lost;
};

struct salvo_device_share {
    /* fixed after start */
    uint32_t lanes;
    uint32_t pairs;
    uint32_t frame_max;
    struct share_lane *lane;
    struct salvo_ring *rings; /* from * lanes + to; memory NULL: there is none */
    uint8_t *memory;
    struct salvo_tcp_packet packet; /* lane 0's */

    /* lane 0 -> lanes without a queue */
    alignas(SALVO_CACHE_LINE) _Atomic bool link_up;
};

static struct share_lane *lane_of(struct salvo_device *device)
{
    struct share_lane *lane = (struct share_lane *)device;
    salvo_assert(lane->head.magic == SALVO_DEVICE_MAGIC);
    return lane;
}

static struct salvo_ring *ring_of(const struct salvo_device_share *share, uint32_t from,
                                  uint32_t to)
{
    return &share->rings[(size_t)from * share->lanes + to];
}

/* --- from lane to lane ------------------------------------------------------------------------ */

static void lane_wake(struct share_lane *to)
{
    /* Full fence: our publish before our load of napping; pairs with the fence in share_nap. */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&to->napping, memory_order_relaxed) != 0 &&
        atomic_exchange_explicit(&to->napping, 0, memory_order_relaxed) != 0)
        to->ops->wake(to->below);
}

static struct share_record *record_claim(struct share_lane *lane, uint32_t to, uint32_t size)
{
    void *place;

    if (salvo_ring_claim(ring_of(lane->share, lane->index, to), sizeof(struct share_record) + size,
                         &place)) {
        uint64_t lost = atomic_load_explicit(&lane->lost, memory_order_relaxed);

        atomic_store_explicit(&lane->lost, lost + 1, memory_order_relaxed);
        return NULL;
    }
    return place;
}

static void record_commit(struct share_lane *lane, uint32_t to, const struct share_record *record)
{
    salvo_ring_commit(ring_of(lane->share, lane->index, to),
                      sizeof(struct share_record) + record->size);
    lane->published_due = true;
}

static void rings_publish(struct share_lane *lane)
{
    struct salvo_device_share *share = lane->share;

    if (!lane->published_due)
        return;
    lane->published_due = false;
    for (uint32_t to = 0; to < share->lanes; to++) {
        struct salvo_ring *ring = ring_of(share, lane->index, to);

        if (ring->memory == NULL ||
            atomic_load_explicit(&ring->tail, memory_order_relaxed) == ring->tail_next)
            continue;
        salvo_ring_publish(ring);
        lane_wake(&share->lane[to]);
    }
}

static void hand_over(struct share_lane *lane, uint32_t to, const struct salvo_device_frame *frame)
{
    struct share_record *record;

    if (frame->size > lane->share->frame_max)
        return; /* no machine takes it */
    record = record_claim(lane, to, frame->size);
    if (record == NULL)
        return;
    *record =
        (struct share_record){.size = frame->size, .checksum_verified = frame->checksum_verified};
    memcpy(record->bytes, frame->bytes, frame->size);
    record_commit(lane, to, record);
}

/* --- receive ---------------------------------------------------------------------------------- */

static uint32_t frame_owner(const struct share_lane *lane, const struct salvo_device_frame *frame)
{
    uint32_t at;

    if (frame->size >= SALVO_ETHERNET_SIZE && !(frame->bytes[0] & 1) &&
        memcmp(frame->bytes, lane->head.caps.mac, 6) != 0)
        return lane->index; /* another host's: its machine drops it */
    at = salvo_ip_tcp_ports_at(frame->bytes, frame->size);
    if (at == 0)
        return SHARE_LANE_ALL;
    return salvo_load_be16(frame->bytes + at + 2) % lane->share->lanes;
}

/* Returns how many of the frames are this lane's, moved to the front. */
static unsigned frames_sort(struct share_lane *lane, struct salvo_device_frame *frames,
                            unsigned count)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < count; i++) {
        uint32_t owner = frame_owner(lane, &frames[i]);

        for (uint32_t to = 0; to < lane->share->lanes; to++)
            if (to != lane->index && (owner == to || owner == SHARE_LANE_ALL))
                hand_over(lane, to, &frames[i]);
        if (owner == lane->index || owner == SHARE_LANE_ALL)
            frames[kept++] = frames[i];
    }
    return kept;
}

/* What others have handed over. The frames stay in the rings until rings_release. */
static unsigned rings_take(struct share_lane *lane, struct salvo_device_frame *ret_frames,
                           unsigned frames_max)
{
    struct salvo_device_share *share = lane->share;
    unsigned count = 0;

    for (uint32_t i = 0; i < share->pairs && count < frames_max; i++) {
        uint32_t from = (lane->from_next + i) % share->pairs;
        struct salvo_ring *ring = ring_of(share, from, lane->index);
        const struct share_record *record;
        uint32_t size;

        while (from != lane->index && count < frames_max &&
               (record = salvo_ring_peek(ring, &size)) != NULL) {
            ret_frames[count++] =
                (struct salvo_device_frame){.bytes = record->bytes,
                                            .size = record->size,
                                            .checksum_verified = record->checksum_verified};
            salvo_ring_advance(ring, size);
        }
    }
    lane->from_next = (lane->from_next + 1) % share->pairs;
    return count;
}

static void rings_release(struct share_lane *lane)
{
    for (uint32_t from = 0; from < lane->share->pairs; from++)
        if (from != lane->index)
            salvo_ring_release(ring_of(lane->share, from, lane->index));
}

static unsigned share_receive(struct salvo_device *device, struct salvo_device_frame *ret_frames,
                              unsigned frames_max)
{
    struct share_lane *lane = lane_of(device);
    unsigned count, burst, own = 0;
    unsigned bursts = 0;

    rings_release(lane);
    count = rings_take(lane, ret_frames, frames_max);
    if (!lane->pair || count == frames_max)
        return count;
    /* Again only while nothing is ours: the next burst ends the frames of this one. */
    do {
        burst = SALVO_MIN(frames_max - count, SHARE_BURST);
        own = lane->ops->receive(lane->below, ret_frames + count, burst);
        burst = own == burst ? burst : 0;
        own = frames_sort(lane, ret_frames + count, own);
    } while (own == 0 && burst != 0 && ++bursts < SHARE_BURSTS_MAX);
    rings_publish(lane);
    return count + own;
}

/* --- send ------------------------------------------------------------------------------------- */

static unsigned share_room(struct salvo_device *device)
{
    struct share_lane *lane = lane_of(device);

    if (lane->pair)
        return lane->ops->room(lane->below);
    return (unsigned)salvo_ring_room(ring_of(lane->share, lane->index, 0),
                                     sizeof(struct share_record) + lane->share->frame_max);
}

static uint8_t *share_claim(struct salvo_device *device, uint32_t size)
{
    struct share_lane *lane = lane_of(device);
    struct share_record *record;

    if (lane->pair)
        return lane->ops->claim(lane->below, size);
    salvo_assert(size <= lane->share->frame_max);
    record = record_claim(lane, 0, size);
    salvo_assert(record != NULL); /* room() has counted */
    record->size = size;
    return record->bytes;
}

static void share_commit(struct salvo_device *device, const struct salvo_tcp_packet *packet)
{
    struct share_lane *lane = lane_of(device);
    struct salvo_ring *ring = ring_of(lane->share, lane->index, 0);
    struct share_record *record;

    if (lane->pair) {
        lane->ops->commit(lane->below, packet);
        return;
    }
    record = (struct share_record *)(void *)(ring->memory + (ring->tail_next & (ring->size - 1)) +
                                             SALVO_RING_RECORD_HEADER);
    record->segment_size = packet->segment_size;
    record->ip_size = packet->ip_size;
    record->tcp_size = packet->tcp_size;
    record_commit(lane, 0, record);
}

static void share_attach(struct salvo_device *device, const struct salvo_tcp_packet *packet)
{
    struct share_lane *lane = lane_of(device);

    salvo_assert(lane->pair);
    lane->ops->attach(lane->below, packet);
}

static uint64_t share_completed(struct salvo_device *device)
{
    struct share_lane *lane = lane_of(device);

    salvo_assert(lane->pair);
    return lane->ops->completed(lane->below);
}

/* By lane 0: the packets of lanes without a queue, as far as there is room. */
static void packets_forward(struct share_lane *hub)
{
    struct salvo_device_share *share = hub->share;
    struct salvo_tcp_packet *packet = &share->packet;
    unsigned room = hub->ops->room(hub->below);

    for (uint32_t from = share->pairs; from < share->lanes; from++) {
        struct salvo_ring *ring = ring_of(share, from, 0);
        const struct share_record *record;
        uint32_t size;

        while (room != 0 && (record = salvo_ring_peek(ring, &size)) != NULL) {
            memcpy(hub->ops->claim(hub->below, record->size), record->bytes, record->size);
            packet->header_size = record->size;
            packet->segment_size = record->segment_size;
            packet->ip_size = record->ip_size;
            packet->tcp_size = record->tcp_size;
            hub->ops->commit(hub->below, packet);
            salvo_ring_advance(ring, size);
            room--;
        }
        salvo_ring_release(ring);
    }
}

static void share_flush(struct salvo_device *device)
{
    struct share_lane *lane = lane_of(device);
    struct share_lane *hub = &lane->share->lane[0];

    rings_publish(lane);
    /* When lane 0 is closed no lane runs: the last words of the others go by whoever has them. */
    if (lane == hub || (hub->closed && !lane->pair)) {
        packets_forward(hub);
        hub->ops->flush(hub->below);
    } else if (lane->pair) {
        lane->ops->flush(lane->below);
    }
}

static bool share_link_up(struct salvo_device *device)
{
    struct share_lane *lane = lane_of(device);
    bool up;

    /* Relaxed: a word of its own, no other memory hangs on it. */
    if (!lane->pair)
        return atomic_load_explicit(&lane->share->link_up, memory_order_relaxed);
    up = lane->ops->link_up(lane->below);
    if (lane->index == 0)
        atomic_store_explicit(&lane->share->link_up, up, memory_order_relaxed);
    return up;
}

/* --- sleep, wake, close ----------------------------------------------------------------------- */

static bool rings_empty(struct share_lane *lane)
{
    bool up = atomic_load_explicit(&lane->share->link_up, memory_order_relaxed);

    for (uint32_t from = 0; from < lane->share->lanes; from++) {
        struct salvo_ring *ring = ring_of(lane->share, from, lane->index);

        if (ring->memory == NULL || (from >= lane->share->pairs && !up))
            continue; /* packets wait for the link */
        if (ring->head_next != atomic_load_explicit(&ring->tail, memory_order_acquire))
            return false;
    }
    return true;
}

static void share_nap(struct salvo_device *device, int64_t ns)
{
    struct share_lane *lane = lane_of(device);

    atomic_store_explicit(&lane->napping, 1, memory_order_relaxed);
    /* Full fence: our store of napping before our look at the rings; pairs with the one in
     * lane_wake. */
    atomic_thread_fence(memory_order_seq_cst);
    if (rings_empty(lane))
        lane->ops->nap(lane->below, ns);
    atomic_store_explicit(&lane->napping, 0, memory_order_relaxed);
}

static void share_wake(struct salvo_device *device)
{
    struct share_lane *lane = lane_of(device);

    lane->ops->wake(lane->below);
}

static void share_lane_close(struct salvo_device *device)
{
    share_flush(device);
    lane_of(device)->closed = true;
}

static const struct salvo_device_ops share_ops = {
    .name = "dpdk",
    .receive = share_receive,
    .room = share_room,
    .claim = share_claim,
    .commit = share_commit,
    .attach = share_attach,
    .completed = share_completed,
    .flush = share_flush,
    .link_up = share_link_up,
    .nap = share_nap,
    .wake = share_wake,
    .close = share_lane_close,
};

static void share_free(struct salvo_device_share *share)
{
    free(share->lane);
    free(share->rings);
    free(share->memory);
    free(share);
}

/* All of it is touched: lanes fault no pages in. */
static int rings_take_memory(struct salvo_device_share *share)
{
    uint64_t size = share->lanes <= SHARE_LANES_FEW ? SHARE_RING_SIZE : SHARE_RING_SIZE_LOW;
    size_t count = (size_t)share->pairs * (share->lanes - 1) + share->lanes - share->pairs;
    uint8_t *at;

    share->rings = aligned_alloc(2 * SALVO_CACHE_LINE,
                                 (size_t)share->lanes * share->lanes * sizeof(*share->rings));
    share->memory = aligned_alloc(SALVO_CACHE_LINE, count * size);
    if (share->rings == NULL || share->memory == NULL)
        return salvo_raise(-ENOMEM);
    memset(share->rings, 0, (size_t)share->lanes * share->lanes * sizeof(*share->rings));
    memset(share->memory, 0, count * size);
    at = share->memory;
    for (uint32_t from = 0; from < share->lanes; from++)
        for (uint32_t to = 0; to < share->lanes; to++)
            if (to != from && (from < share->pairs || to == 0)) {
                salvo_ring_init(ring_of(share, from, to), at, size, 0);
                at += size;
            }
    salvo_assert(at == share->memory + count * size);
    return 0;
}

static void lane_init(struct salvo_device_share *share, uint32_t index, struct salvo_device *below)
{
    struct share_lane *lane = &share->lane[index];
    struct salvo_device_caps caps = salvo_device_head(share->lane[0].below)->caps;

    lane->share = share;
    lane->index = index;
    lane->pair = index < share->pairs;
    lane->below = below;
    lane->ops = salvo_device_head(below)->ops;
    if (!lane->pair) {
        caps.references = false;
        caps.tso_max = 0;
    }
    lane->head = (struct salvo_device_head){SALVO_DEVICE_MAGIC, &share_ops, caps};
}

int salvo_device_share_open(const struct salvo_device_share_conf *conf,
                            struct salvo_device_share **ret_share)
{
    struct salvo_device_share *share;
    size_t lanes_size = conf->lanes * sizeof(struct share_lane);

    salvo_assert(conf->lanes > 1);
    salvo_assert(conf->pairs != 0 && conf->pairs <= conf->lanes);
    share = aligned_alloc(SALVO_CACHE_LINE, sizeof(*share));
    if (share == NULL)
        return salvo_raise(-ENOMEM);
    memset(share, 0, sizeof(*share));
    share->lanes = conf->lanes;
    share->pairs = conf->pairs;
    share->frame_max = salvo_device_head(conf->devices[0])->caps.mtu + SALVO_ETHERNET_SIZE + 4u;
    share->lane = aligned_alloc(SALVO_CACHE_LINE, lanes_size);
    if (share->lane == NULL || rings_take_memory(share)) {
        share_free(share);
        return salvo_raise(-ENOMEM);
    }
    memset(share->lane, 0, lanes_size);
    share->lane[0].below = conf->devices[0];
    for (uint32_t i = 0; i < conf->lanes; i++)
        lane_init(share, i, conf->devices[i]);
    atomic_init(&share->link_up, true);
    *ret_share = share;
    return 0;
}

struct salvo_device *salvo_device_share_lane(struct salvo_device_share *share, uint32_t lane)
{
    salvo_assert(lane < share->lanes);
    return (struct salvo_device *)&share->lane[lane];
}

uint64_t salvo_device_share_lost(struct salvo_device_share *share)
{
    uint64_t lost = 0;

    for (uint32_t i = 0; i < share->lanes; i++)
        lost += atomic_load_explicit(&share->lane[i].lost, memory_order_relaxed);
    return lost;
}

void salvo_device_share_close(struct salvo_device_share *share)
{
    for (uint32_t i = 0; i < share->lanes; i++)
        share->lane[i].ops->close(share->lane[i].below);
    share_free(share);
}
