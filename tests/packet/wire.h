/* Frames as tests write and read them: an encoder and a decoder of their own, so that a mistake in
 * dataplane/tcp is not made twice in the same way. */
#pragma once

#include "base/base.h"

#define WIRE_FRAME_MAX (64 * 1024 + 256)

#define WIRE_FIN 1
#define WIRE_SYN 2
#define WIRE_RST 4
#define WIRE_PSH 8
#define WIRE_ACK 16

struct wire_segment {
    uint8_t source_mac[6], target_mac[6];
    uint8_t source[16], target[16]; /* IPv4 in the first four bytes */
    bool six;
    uint16_t source_port, target_port;
    uint32_t seq, ack;
    uint8_t flags;
    uint16_t window;
    uint16_t mss; /* 0: absent */
    int shift;    /* -1: absent */
    bool sack_permitted, has_timestamp;
    uint32_t timestamp, echo;
    unsigned sack_count;
    uint32_t sack[4][2];
    const uint8_t *payload;
    uint32_t size;
};

enum wire_kind {
    WIRE_BAD,
    WIRE_TCP,
    WIRE_ARP_ASK,
    WIRE_ARP_ANSWER,
    WIRE_ND_ASK,
    WIRE_ND_ANSWER,
    WIRE_ECHO,
    WIRE_OTHER
};

/* One's complement sum of bytes, byte by byte. */
uint16_t wire_sum(const uint8_t *bytes, uint32_t size, uint32_t start);
uint32_t wire_build(uint8_t *frame, const struct wire_segment *segment);
/* Checks lengths and checksums; for ARP and neighbour discovery `source` and `target` are the
 * addresses asked about. `bad` says why WIRE_BAD was returned. */
enum wire_kind wire_parse(const uint8_t *frame, uint32_t size, struct wire_segment *ret,
                          const char **ret_bad);
/* An ICMP or ICMPv6 message about `quoted`, which we sent. mtu for "too big". */
uint32_t wire_icmp(uint8_t *frame, const struct wire_segment *quoted, uint8_t type, uint8_t code,
                   uint32_t mtu);
uint32_t wire_arp(uint8_t *frame, uint16_t operation, const uint8_t sender_mac[6],
                  const uint8_t sender[4], const uint8_t target_mac[6], const uint8_t target[4]);
uint32_t wire_nd(uint8_t *frame, uint8_t type, uint8_t hop_limit, const uint8_t sender_mac[6],
                 const uint8_t source[16], const uint8_t to_mac[6], const uint8_t to[16],
                 const uint8_t target[16]);
