/* A bad link: what it carries arrives late, in another order, twice, wrong, or not at all. For the
 * TCP simulator in virtual time and for the middlebox in real time.
 *
 * What becomes of a packet is a function of the link's seed and of how many came before it, of
 * nothing else: so two runs with one seed do the same to the n-th packet, whatever the time. Only a
 * full queue and a burst of loss depend on when packets come. */
#pragma once

#include "base/random.h"

#define BAD_AIR_MAX 16384

struct bad_link {
    /* fixed at start */
    uint64_t seed;
    int64_t delay_us, jitter_us;
    uint32_t loss, burst, reorder, duplicate, corrupt; /* per 10,000 */
    uint64_t rate;                                     /* bytes a second; 0: no limit */
    int64_t queue_us; /* longest wait in the queue; beyond it: loss */

    /* state */
    int64_t busy_until_us;
    int64_t burst_until_us; /* a burst is a time: a count would eat one timeout after the other */

    /* what happened: packets, and payload bytes of them */
    uint64_t sent, bare, lost, bytes_sent, bytes_lost;
    uint64_t bursts, reordered, duplicated, corrupted, queue_full;
};

/* What becomes of one packet. */
struct bad_fate {
    bool lost;
    int64_t burst_us; /* a burst of loss begins with it, so long; 0: none */
    int64_t late_us;  /* jitter, and what puts it behind later ones */
    bool reordered;
    unsigned copies;
    bool corrupt[2]; /* of each copy: one bit is turned */
    uint32_t corrupt_at;
};

struct bad_fate bad_link_fate(const struct bad_link *link, uint64_t n);

struct bad_flight {
    int64_t at_us;
    uint64_t order;
    uint8_t *frame;
    uint32_t size;
    unsigned way;
};

/* What is on its way, over any number of links. Zeroed is empty. */
struct bad_air {
    struct bad_flight flights[BAD_AIR_MAX]; /* a heap */
    uint32_t count;
    uint64_t order;
};

/* Sends a copy of an Ethernet frame on its way. `way` comes back with it. False when the air is
 * full. */
bool bad_link_carry(struct bad_link *link, struct bad_air *air, unsigned way, const uint8_t *frame,
                    uint32_t size, uint32_t payload_size, int64_t now_us);
/* When the next arrives; INT64_MAX: nothing is on its way. */
int64_t bad_air_next_us(const struct bad_air *air);
/* The next to arrive. Its frame is the caller's to free. */
struct bad_flight bad_air_pop(struct bad_air *air);
