/* A mirror of what a lane sends and receives over its frame device, for captures: while it is on,
 * frames that its filter lets through are copied, whole and with their time, into a ring to
 * control, which writes them to a file (control/capture.h).
 *
 * net_tcp asks salvo_mirror_on() once for each burst that arrives and each frame or packet that
 * leaves: that is all that a mirror costs which is off.
 * When the ring is full a frame is left out and counted; a lane waits for nobody.
 *
 * Owner: the lane, which begins and ends it by control's command (lane_msg.h). Control reads the
 * ring and the words behind it. */
#pragma once

#include "dataplane/device.h"
#include "dataplane/ring.h"

/* 16 MiB: 13 ms of 10 Gbit/s. Control looks each millisecond, but may have to share its CPU: with
 * 4 MiB, on two cores with other work, one frame in 400 was left out. */
#define SALVO_MIRROR_RING_SIZE SALVO_MIB(16)

/* Which frames. Each port is either end's, so that two of them are one connection. */
struct salvo_mirror_filter {
    struct salvo_ip_address host; /* of either end; version 0: any */
    uint16_t ports[2];            /* 0: any */
};

/* What lies in the ring. */
struct salvo_mirror_record {
    int64_t mono_ns;
    uint32_t size;
    uint32_t reserved;
    uint8_t bytes[]; /* from the Ethernet header on */
};
static_assert(sizeof(struct salvo_mirror_record) == 16, "as the header of a pcap record");

struct salvo_mirror {
    /* fixed after start */
    uint32_t lane_index;

    /* lane only */
    bool on;
    struct salvo_mirror_filter filter;

    /* lane -> control */
    struct salvo_ring ring;
    alignas(SALVO_CACHE_LINE) _Atomic uint32_t ended; /* how often; all is in the ring then */
    _Atomic uint64_t dropped;                         /* frames that found the ring full */
};

/* memory: SALVO_MIRROR_RING_SIZE bytes, aligned to a cache line. */
void salvo_mirror_init(struct salvo_mirror *mirror, uint32_t lane_index, void *memory);

/* NULL: there is none. */
static inline bool salvo_mirror_on(const struct salvo_mirror *mirror)
{
    return SALVO_UNLIKELY(mirror != NULL && mirror->on);
}

void salvo_mirror_begin(struct salvo_mirror *mirror, const struct salvo_mirror_filter *filter);
void salvo_mirror_end(struct salvo_mirror *mirror);

/* A burst that came. Of what came to all lanes (device_share.h) lane 0 keeps the one copy. */
void salvo_mirror_received(struct salvo_mirror *mirror, const struct salvo_device_frame *frames,
                           unsigned count, int64_t now_ns);

/* One frame, as it lies there. */
void salvo_mirror_frame(struct salvo_mirror *mirror, const uint8_t *frame, uint32_t size,
                        int64_t now_ns);

/* Where a packet that is sent is to be written, `size` bytes, if it is wanted: `header` are its
 * first bytes. NULL: not wanted, or no room. commit() follows at once. */
uint8_t *salvo_mirror_claim(struct salvo_mirror *mirror, const uint8_t *header,
                            uint32_t header_size, uint32_t size, int64_t now_ns);
void salvo_mirror_commit(struct salvo_mirror *mirror, uint32_t size);

/* Control may read what there is: behind each burst. */
void salvo_mirror_publish(struct salvo_mirror *mirror);

bool salvo_mirror_wants(const struct salvo_mirror_filter *filter, const uint8_t *frame,
                        uint32_t size);
