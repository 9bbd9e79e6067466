/* What must hold of a machine between any two calls. Looks inside; aborts with a line on what
 * broke. */
#pragma once

#include "dataplane/tcp/tcp_conn.h"

void tcp_check(const struct salvo_tcp *tcp);

/* What a new machine gives `target` at time 0: the ISN then moves by one every 4 us, the timestamp
 * every millisecond. So a test finds the time at which they wrap. */
void tcp_first_numbers(void *memory, const struct salvo_tcp_config *config,
                       const struct salvo_tcp_target *target, uint32_t *ret_isn,
                       uint32_t *ret_timestamp);

/* The device's part of checksum offload: the field holds the pseudo header's sum, without the
 * length when the device also cuts segments. The wire's checksum is filled in over it. */
void tcp_device_checksum(const struct salvo_tcp *tcp, const struct salvo_tcp_packet *packet,
                         uint8_t *frame, uint32_t size);

/* A packet on its way into frames. */
struct tcp_frames {
    struct salvo_tcp_cut cut;
    bool begun;
};

/* The next frame of a packet as it leaves the driver, sums filled in: its segments one by one, or
 * all in one when it has one or a device cuts them. Returns its size; 0: there is none left. */
uint32_t tcp_frame_next(const struct salvo_tcp *tcp, const struct salvo_tcp_packet *packet,
                        struct tcp_frames *frames, uint8_t *frame);
