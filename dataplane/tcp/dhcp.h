/* An IPv4 address by DHCP (RFC 2131, 2132), as a pure machine: frames and time in, frames, a lease
 * and the next deadline out. Like tcp.h it reads no clock, allocates nothing and draws no chance
 * but from its seed. It needs no address: a device's frames are shown to it before tcp has one, and
 * those to UDP port 68 afterwards.
 *
 *     salvo_dhcp_input() each frame; salvo_dhcp_timers() at the deadline;
 *     while ((size = salvo_dhcp_output(dhcp, frame, now_us)) != 0) transmit it;
 *     then look at salvo_dhcp_bound() and `lease`
 *
 * A lease is renewed from half of its time on. When it ends, or the server takes it back, `lost`
 * counts: connections over the address have no right to it any more. The machine then asks anew.
 *
 * Left out: DECLINE and the ARP probe before an address is used (section 4.4.1 leaves it to the
 * client; servers probe), RELEASE (the lease runs out), INIT-REBOOT (nothing is kept). */
#pragma once

#include "base/random.h"
#include "dataplane/tcp/ip.h"

/* Ethernet, IPv4, UDP, and the 300 bytes that relays of BOOTP's time insist on. */
#define SALVO_DHCP_FRAME_SIZE (SALVO_ETHERNET_SIZE + SALVO_IP4_SIZE + 8 + 300)

enum salvo_dhcp_state {
    SALVO_DHCP_SELECTING = 0, /* DISCOVER is out */
    SALVO_DHCP_REQUESTING,    /* an OFFER was taken */
    SALVO_DHCP_BOUND,
    SALVO_DHCP_RENEWING,  /* past T1: the server is asked */
    SALVO_DHCP_REBINDING, /* past T2: any server is */
};

struct salvo_dhcp_lease {
    struct salvo_ip_address address;
    struct salvo_ip_address gateway; /* version 0: none was given */
    struct salvo_ip_address server;
    uint8_t prefix_bits;
    uint16_t mtu;    /* 0: not given */
    int64_t ends_us; /* INT64_MAX: never */
};

struct salvo_dhcp {
    /* fixed after start */
    uint8_t mac[6];

    enum salvo_dhcp_state state;
    struct salvo_random random;
    uint32_t exchange; /* xid */
    int64_t started_us, asked_us;
    int64_t due_us;    /* of the next message, or of the end of the state */
    unsigned tries;    /* of this state */
    unsigned refusals; /* NAKs since the last ACK */
    bool wanted;       /* a message is to go out */
    int64_t renew_us, rebind_us;
    uint8_t server_mac[6]; /* who the last ACK came from: the server, or its relay */
    struct salvo_dhcp_lease offer;
    struct salvo_dhcp_lease lease; /* holds while salvo_dhcp_bound() */

    uint32_t acks, naks, lost, malformed;
};

void salvo_dhcp_init(struct salvo_dhcp *dhcp, const uint8_t mac[6], uint64_t seed, int64_t now_us);
/* A whole Ethernet frame; what is not for this machine is ignored. */
void salvo_dhcp_input(struct salvo_dhcp *dhcp, const uint8_t *frame, uint32_t size, int64_t now_us);
/* When time alone changes something; a message that waits for output is none of it. */
int64_t salvo_dhcp_deadline_us(const struct salvo_dhcp *dhcp);
void salvo_dhcp_timers(struct salvo_dhcp *dhcp, int64_t now_us);
/* Writes the next frame (SALVO_DHCP_FRAME_SIZE bytes, checksums filled) and returns its size; 0:
 * there is none. */
uint32_t salvo_dhcp_output(struct salvo_dhcp *dhcp, uint8_t *frame, int64_t now_us);

static inline bool salvo_dhcp_bound(const struct salvo_dhcp *dhcp)
{
    return dhcp->state >= SALVO_DHCP_BOUND;
}
