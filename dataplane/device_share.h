/* One port for several lanes: a frame device (device.h) for each lane, over as many queue pairs as
 * the port has.
 *
 * Who owns a connection follows from its local port alone (salvo_device_share_owns). A lane looks
 * at the frames of its queue, keeps its own and hands the others over to their lanes, copied into
 * the ring between the two; what is no TCP (ARP, neighbour discovery, ICMP) goes to all. So it is
 * right whatever queue a device chooses, and costs a look at a port number where the device chooses
 * the owner's (rss.h).
 *
 * Lanes without a queue pair of their own send by lane 0's: the packet, whole, goes into a ring to
 * it. A ring that is full loses what would go in, as a wire would, and counts it.
 *
 * Owner: each device one lane; open and close when no lane runs. */
#pragma once

#include "dataplane/device.h"

struct salvo_device_share;

struct salvo_device_share_conf {
    uint32_t lanes;
    uint32_t pairs; /* lanes 0 to pairs - 1 have a queue pair; 1 to lanes */
    /* One for each lane, and the share's from here on. Of those without a queue pair nothing is
     * asked but nap(), wake() and close(). */
    struct salvo_device **devices;
};

/* 0 or -ENOMEM, and the devices are still the caller's. */
int salvo_device_share_open(const struct salvo_device_share_conf *conf,
                            struct salvo_device_share **ret_share);
struct salvo_device *salvo_device_share_lane(struct salvo_device_share *share, uint32_t lane);

/* Whether answers to this local port are the lane's. */
static inline bool salvo_device_share_owns(uint32_t lanes, uint32_t lane, uint16_t local_port)
{
    return local_port % lanes == lane;
}

/* Frames that found their ring full. Thread: any. */
uint64_t salvo_device_share_lost(struct salvo_device_share *share);

/* After the lanes' devices were closed; closes those below. */
void salvo_device_share_close(struct salvo_device_share *share);
