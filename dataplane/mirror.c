/* Frames copied for captures: see mirror.h. */
#include "dataplane/mirror.h"

#include "base/bytes.h"

#include <string.h>

/* A packet that the device cuts into segments is kept as one. */
static_assert(SALVO_MIRROR_RING_SIZE / 2 > SALVO_KIB(64) + SALVO_TCP_HEADER_MAX + 64,
              "the largest packet fits a ring's claim");

void salvo_mirror_init(struct salvo_mirror *mirror, uint32_t lane_index, void *memory)
{
    memset(mirror, 0, sizeof(*mirror));
    mirror->lane_index = lane_index;
    salvo_ring_init(&mirror->ring, memory, SALVO_MIRROR_RING_SIZE, 0);
}

void salvo_mirror_begin(struct salvo_mirror *mirror, const struct salvo_mirror_filter *filter)
{
    salvo_assert(!mirror->on);
    mirror->filter = *filter;
    mirror->on = true;
}

void salvo_mirror_end(struct salvo_mirror *mirror)
{
    uint32_t ended = atomic_load_explicit(&mirror->ended, memory_order_relaxed);

    salvo_assert(mirror->on);
    mirror->on = false;
    salvo_mirror_publish(mirror);
    /* Release: what is in the ring comes before; pairs with the acquire in capture_lanes_ended. */
    atomic_store_explicit(&mirror->ended, ended + 1, memory_order_release);
}

/* --- the filter ------------------------------------------------------------------------------- */

static bool frame_is_of_host(const struct salvo_ip_address *host, const uint8_t *frame,
                             uint32_t size)
{
    bool six = host->version == 6;
    uint32_t at = SALVO_ETHERNET_SIZE + (six ? 8 : 12); /* of the source; the target's follows */
    uint32_t address_size = six ? 16 : 4;

    return size >= at + 2 * address_size &&
           salvo_load_be16(frame + 12) == (six ? SALVO_ETHERTYPE_IP6 : SALVO_ETHERTYPE_IP4) &&
           (memcmp(frame + at, host->bytes, address_size) == 0 ||
            memcmp(frame + at + address_size, host->bytes, address_size) == 0);
}

static bool frame_is_of_port(uint16_t port, const uint8_t *frame, uint32_t size)
{
    uint32_t at = salvo_ip_tcp_ports_at(frame, size);

    return at != 0 &&
           (salvo_load_be16(frame + at) == port || salvo_load_be16(frame + at + 2) == port);
}

bool salvo_mirror_wants(const struct salvo_mirror_filter *filter, const uint8_t *frame,
                        uint32_t size)
{
    if (filter->host.version != 0 && !frame_is_of_host(&filter->host, frame, size))
        return false;
    for (unsigned i = 0; i < SALVO_ARRAY_LENGTH(filter->ports); i++)
        if (filter->ports[i] != 0 && !frame_is_of_port(filter->ports[i], frame, size))
            return false;
    return true;
}

/* --- frames ----------------------------------------------------------------------------------- */

uint8_t *salvo_mirror_claim(struct salvo_mirror *mirror, const uint8_t *header,
                            uint32_t header_size, uint32_t size, int64_t now_ns)
{
    struct salvo_mirror_record *record;
    void *place;

    salvo_assert(mirror->on);
    if (!salvo_mirror_wants(&mirror->filter, header, header_size))
        return NULL;
    if (salvo_ring_claim(&mirror->ring, sizeof(*record) + size, &place)) {
        uint64_t dropped = atomic_load_explicit(&mirror->dropped, memory_order_relaxed);

        atomic_store_explicit(&mirror->dropped, dropped + 1, memory_order_relaxed);
        return NULL;
    }
    record = place;
    record->mono_ns = now_ns;
    record->size = size;
    return record->bytes;
}

void salvo_mirror_commit(struct salvo_mirror *mirror, uint32_t size)
{
    salvo_ring_commit(&mirror->ring, sizeof(struct salvo_mirror_record) + size);
}

void salvo_mirror_publish(struct salvo_mirror *mirror)
{
    salvo_ring_publish(&mirror->ring);
}

void salvo_mirror_frame(struct salvo_mirror *mirror, const uint8_t *frame, uint32_t size,
                        int64_t now_ns)
{
    uint8_t *place = salvo_mirror_claim(mirror, frame, size, size, now_ns);

    if (place == NULL)
        return;
    memcpy(place, frame, size);
    salvo_mirror_commit(mirror, size);
}

void salvo_mirror_received(struct salvo_mirror *mirror, const struct salvo_device_frame *frames,
                           unsigned count, int64_t now_ns)
{
    for (unsigned i = 0; i < count; i++) {
        const struct salvo_device_frame *frame = &frames[i];

        if (mirror->lane_index == 0 || salvo_ip_tcp_ports_at(frame->bytes, frame->size) != 0)
            salvo_mirror_frame(mirror, frame->bytes, frame->size, now_ns);
    }
    salvo_mirror_publish(mirror);
}
