/* The machine on a bench: its configuration, its time, what it put out, and what a script knows of
 * its connections. rig.c drives it and notes; runner.c speaks the language. */
#pragma once

#include "tests/packet/check.h"
#include "tests/packet/wire.h"

#include <setjmp.h>

#define CONNS_MAX   8
#define PACKETS_MAX 4096
#define EVENTS_MAX  4096
#define STREAM_SIZE (8u << 20)

struct noted {
    int64_t at_us;
    enum wire_kind kind;
    struct wire_segment segment;
    uint32_t size;
};

struct peer { /* one connection as the script sees it */
    uint64_t handle;
    uint16_t port;
    uint32_t iss;         /* ours, known from the SYN */
    uint32_t timestamp_0; /* of our SYN */
    uint32_t timestamp_last;
    bool timestamps;
    uint64_t sent, released, read;
    int shift; /* that we told the peer in our SYN */
    bool opened;
};

struct rig {
    const char *path;
    int line;
    struct salvo_tcp_config config;
    struct salvo_tcp *tcp;
    void *memory;
    int64_t now_us;
    struct peer peers[CONNS_MAX];
    int current, peer_count;
    uint32_t peer_isn, peer_timestamp;
    uint32_t isn; /* that the first connection shall have, if isn_given */
    bool isn_given;
    bool six, arp_manual;
    bool link_down; /* nothing is taken to be sent */
    struct noted packets[PACKETS_MAX];
    int packet_head, packet_tail;
    struct salvo_tcp_event events[EVENTS_MAX];
    int event_head, event_tail;
    struct wire_segment last_sent; /* of ours: what ICMP quotes */
};

extern struct rig rig;
extern uint8_t rig_stream[STREAM_SIZE]; /* byte n of every stream, both ways, is rig_stream[n] */
extern const uint8_t rig_peer_mac[6], rig_our_mac[6];
extern sigjmp_buf rig_failed;

/* Ends the script with its place and this text. */
_Noreturn void rig_fail(const char *format, ...) SALVO_PRINTF(1, 2);
/* The address in our network that ends in `last`, of the script's family. */
void rig_address(uint8_t bytes[16], uint8_t last);
struct peer *rig_peer_of_port(uint16_t port);
/* Notes everything that is to be sent now, and takes the events. */
void rig_drain(void);
/* Lets time pass, to `at_us` or to the first packet. */
void rig_advance(int64_t at_us, bool stop_at_packet);
const char *rig_noted_text(const struct noted *n);
void rig_expect_no_packet(void);
