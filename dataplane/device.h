/* The frame device table: what net_tcp knows of the thing that carries Ethernet frames.
 *
 * A device gives received frames in bursts and takes packets, each by copy (claim, write, commit)
 * or by reference (attach: header copied, payload left where it is until completed() covers it).
 * It belongs to one thread; only wake() may be called by others. Whatever moves by itself (time,
 * chance, other ends) comes from outside of it, so that a device in the same process lets a whole
 * sender run in virtual time. Devices: net_dpdk (a queue pair of a NIC), tests/support/wire_device
 * (in process).
 *
 * A turn:  receive until less than asked for; then, while room() and the machine has packets:
 *          claim + commit for each frame, or attach; then flush. */
#pragma once

#include "dataplane/tcp/tcp.h"

struct salvo_device; /* begins with struct salvo_device_head */

/* A received frame; it is there until the next receive(). */
struct salvo_device_frame {
    const uint8_t *bytes;
    uint32_t size;
    bool checksum_verified; /* the device has found the IPv4 header's and the TCP sum right */
};

/* Fixed after the device is open. */
struct salvo_device_caps {
    uint8_t mac[6];
    uint16_t mtu;     /* of IP datagrams: frames are up to 14 bytes longer */
    bool checksum;    /* fills in TCP checksums over the pseudo header's sum */
    bool references;  /* attach() is there and pays. Needs checksum */
    uint32_t tso_max; /* payload of a packet that it cuts itself; 0: none. Needs references */
};

struct salvo_device_ops {
    const char *name;
    /* At most frames_max frames. */
    unsigned (*receive)(struct salvo_device *device, struct salvo_device_frame *ret_frames,
                        unsigned frames_max);
    /* How many packets it takes now: frames, or attached ones. */
    unsigned (*room)(struct salvo_device *device);
    /* Where the next frame of `size` bytes is to be written; commit() follows at once, with the
     * packet that it is, or is a segment of. */
    uint8_t *(*claim)(struct salvo_device *device, uint32_t size);
    void (*commit)(struct salvo_device *device, const struct salvo_tcp_packet *packet);
    /* Takes a packet by reference to its ranges. NULL without caps.references. */
    void (*attach)(struct salvo_device *device, const struct salvo_tcp_packet *packet);
    /* So many attached packets, the oldest first, are not referred to any more; runs free. NULL
     * without caps.references. */
    uint64_t (*completed)(struct salvo_device *device);
    /* What was taken goes out now, as far as the device has room. */
    void (*flush)(struct salvo_device *device);
    /* False: nothing would arrive anywhere; try again later. */
    bool (*link_up)(struct salvo_device *device);
    /* Sleeps about so long, or until wake(). */
    void (*nap)(struct salvo_device *device, int64_t ns);
    void (*wake)(struct salvo_device *device); /* Thread: any */
    /* Gives everything back. What was attached is not referred to any more when the last device of
     * a port is closed. */
    void (*close)(struct salvo_device *device);
};

#define SALVO_DEVICE_MAGIC 0x53a1de71u

struct salvo_device_head {
    uint32_t magic;
    const struct salvo_device_ops *ops;
    struct salvo_device_caps caps;
};

static inline const struct salvo_device_head *salvo_device_head(const struct salvo_device *device)
{
    return (const struct salvo_device_head *)device;
}
