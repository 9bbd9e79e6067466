/* IPv4 and IPv6: addresses, header layouts, checksums, parsing and building of headers.
 *
 * Everything here is a pure function over bytes. What a peer sent is parsed and refused, never
 * asserted. */
#pragma once

#include "base/base.h"

#define SALVO_ETHERNET_SIZE 14
#define SALVO_IP4_SIZE      20
#define SALVO_IP6_SIZE      40
#define SALVO_TCP_SIZE      20

#define SALVO_ETHERTYPE_IP4 0x0800
#define SALVO_ETHERTYPE_ARP 0x0806
#define SALVO_ETHERTYPE_IP6 0x86dd

#define SALVO_IP_PROTOCOL_ICMP  1
#define SALVO_IP_PROTOCOL_TCP   6
#define SALVO_IP_PROTOCOL_ICMP6 58

/* RFC 791: every host takes 576 bytes. RFC 8200 section 5: every IPv6 link carries 1280. */
#define SALVO_IP4_MTU_SAFE 576
#define SALVO_IP6_MTU_SAFE 1280

/* An address of either family. IPv4 lies in the first four bytes, the others are zero, so that two
 * addresses are equal when all their bytes are. version 0 means "none". */
struct salvo_ip_address {
    uint8_t bytes[16];
    uint8_t version; /* 4, 6 or 0 */
};

/* What an accepted datagram holds. */
struct salvo_ip_packet {
    struct salvo_ip_address source;
    struct salvo_ip_address target;
    const uint8_t *payload;
    uint32_t payload_size;
    uint8_t protocol;
    uint8_t hop_limit; /* neighbour discovery asks that it be 255 */
};

enum salvo_ip_result {
    SALVO_IP_OK = 0,
    SALVO_IP_MALFORMED, /* lengths or version that cannot be */
    SALVO_IP_CHECKSUM,  /* IPv4 header checksum wrong */
    SALVO_IP_FRAGMENT,  /* fragments are not reassembled: we send DF, brokers send TCP */
    SALVO_IP_EXTENSION, /* IPv6 extension headers are not walked */
};

struct salvo_ip_address salvo_ip4_address(uint8_t a, uint8_t b, uint8_t c, uint8_t d);
struct salvo_ip_address salvo_ip6_address(const uint8_t bytes[16]);
bool salvo_ip_equal(const struct salvo_ip_address *a, const struct salvo_ip_address *b);
/* True when both are of one family and share the first `prefix_bits` bits. */
bool salvo_ip_same_prefix(const struct salvo_ip_address *a, const struct salvo_ip_address *b,
                          unsigned prefix_bits);
bool salvo_ip_is_unicast(const struct salvo_ip_address *a);
/* A host's own IPv4 address: not of a group, of this host or of "this network" (RFC 1122 section
 * 3.2.1.3), nor, in a network of `host_mask`, the network's or everybody's. 0: of any network. */
bool salvo_ip4_is_host(const struct salvo_ip_address *a, uint32_t host_mask);

/* fe80::/64 with the interface identifier made from the MAC (RFC 4291, appendix A). */
struct salvo_ip_address salvo_ip6_link_local(const uint8_t mac[6]);

/* Parses a whole datagram of either family; bytes behind its own length (link padding) are cut off.
 * `checksum_verified` says that the device has checked the IPv4 header. */
enum salvo_ip_result salvo_ip_parse(const uint8_t *bytes, uint32_t size, bool checksum_verified,
                                    struct salvo_ip_packet *ret_packet);

/* Where in an Ethernet frame the ports of TCP begin, four bytes; 0: it is no TCP segment, or not
 * its beginning. */
uint32_t salvo_ip_tcp_ports_at(const uint8_t *frame, uint32_t size);

/* Writes an IPv4 (20 bytes, DF set, checksum filled) or IPv6 (40 bytes) header; returns its size.
 */
uint32_t salvo_ip_build(uint8_t *bytes, const struct salvo_ip_address *source,
                        const struct salvo_ip_address *target, uint8_t protocol, uint8_t hop_limit,
                        uint32_t payload_size);

/* One's complement sums (RFC 1071), in memory byte order, kept unfolded in 64 bits. */
uint64_t salvo_sum_bytes(const void *bytes, size_t size, uint64_t sum);
static inline uint16_t salvo_sum_fold(uint64_t sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

/* The pseudo header's sum (RFC 9293 section 3.1, RFC 8200 section 8.1), the length included. */
uint64_t salvo_sum_pseudo(const struct salvo_ip_address *source,
                          const struct salvo_ip_address *target, uint8_t protocol,
                          uint32_t payload_size);

/* The field's value for a finished sum. Store it as it is: both are in memory byte order. */
static inline uint16_t salvo_sum_finish(uint64_t sum)
{
    return (uint16_t)~salvo_sum_fold(sum);
}
