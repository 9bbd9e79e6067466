/* IPv4 and IPv6 headers: parse, build, sum. See ip.h. */
#include "dataplane/tcp/ip.h"

#include "base/assert.h"
#include "base/bytes.h"

#include <string.h>

/* IPv4, RFC 791:
 *   0           1            2              4      6             8     9          10         12 16
 *   | 4 and ihl | dscp, ecn  | total length | id   | flags, frag | ttl | protocol | checksum |
 * source | target | IPv6, RFC 8200: 0                       4                6             7 8 24
 *   | 6, class, flow label  | payload length | next header | hop limit | source (16) | target (16)
 * |      */
#define IP4_DONT_FRAGMENT  0x4000
#define IP4_MORE_FRAGMENTS 0x2000
#define IP4_OFFSET_MASK    0x1fff

struct salvo_ip_address salvo_ip4_address(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
    return (struct salvo_ip_address){.bytes = {a, b, c, d}, .version = 4};
}

struct salvo_ip_address salvo_ip6_address(const uint8_t bytes[16])
{
    struct salvo_ip_address address = {.version = 6};

    memcpy(address.bytes, bytes, 16);
    return address;
}

/* Read by halves, as ip4_address_at writes them. */
bool salvo_ip_equal(const struct salvo_ip_address *a, const struct salvo_ip_address *b)
{
    uint64_t x[2], y[2];

    memcpy(x, a->bytes, 16);
    memcpy(y, b->bytes, 16);
    return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0 && a->version == b->version;
}

bool salvo_ip_same_prefix(const struct salvo_ip_address *a, const struct salvo_ip_address *b,
                          unsigned prefix_bits)
{
    unsigned whole = SALVO_MIN(prefix_bits / 8, 16u);
    unsigned rest = prefix_bits % 8;

    if (a->version != b->version || memcmp(a->bytes, b->bytes, whole) != 0)
        return false;
    if (rest == 0 || whole == 16)
        return true;
    return ((a->bytes[whole] ^ b->bytes[whole]) >> (8 - rest)) == 0;
}

bool salvo_ip_is_unicast(const struct salvo_ip_address *a)
{
    static const uint8_t zero[16];

    if (memcmp(a->bytes, zero, 16) == 0)
        return false;
    if (a->version == 4)
        return a->bytes[0] < 224; /* 224/4 multicast, 240/4 reserved, 255.255.255.255 broadcast */
    return a->version == 6 && a->bytes[0] != 0xff;
}

bool salvo_ip4_is_host(const struct salvo_ip_address *a, uint32_t host_mask)
{
    uint32_t host = salvo_load_be32(a->bytes) & host_mask;

    return a->version == 4 && salvo_ip_is_unicast(a) && a->bytes[0] != 0 && a->bytes[0] != 127 &&
           (host_mask <= 1 || (host != 0 && host != host_mask));
}

struct salvo_ip_address salvo_ip6_link_local(const uint8_t mac[6])
{
    const uint8_t bytes[16] = {0xfe,       0x80,   0,      0,    0,    0,      0,      0,
                               mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]};

    return salvo_ip6_address(bytes);
}

/* Written by halves: a half that is written byte by byte holds up who reads it as one, and each
 * packet's addresses are read so at once. */
static void ip4_address_at(const uint8_t *bytes, struct salvo_ip_address *ret)
{
    uint32_t word;

    memcpy(&word, bytes, 4);
    uint64_t halves[2] = {word, 0}; /* little endian puts the word first */
    memcpy(ret->bytes, halves, 16);
    ret->version = 4;
}

static enum salvo_ip_result ip4_parse(const uint8_t *bytes, uint32_t size, bool checksum_verified,
                                      struct salvo_ip_packet *ret)
{
    if (size < SALVO_IP4_SIZE)
        return SALVO_IP_MALFORMED;
    uint32_t header_size = (uint32_t)(bytes[0] & 15) * 4;
    uint32_t total_size = salvo_load_be16(bytes + 2);
    uint16_t fragment = salvo_load_be16(bytes + 6);

    if (header_size < SALVO_IP4_SIZE || total_size < header_size || total_size > size)
        return SALVO_IP_MALFORMED;
    if (!checksum_verified && salvo_sum_fold(salvo_sum_bytes(bytes, header_size, 0)) != 0xffff)
        return SALVO_IP_CHECKSUM;
    if (fragment & (IP4_MORE_FRAGMENTS | IP4_OFFSET_MASK))
        return SALVO_IP_FRAGMENT;

    /* Options between 20 and header_size are passed over: RFC 1122 section 3.2.1.8 lets a host
     * ignore those it does not use. */
    ip4_address_at(bytes + 12, &ret->source);
    ip4_address_at(bytes + 16, &ret->target);
    ret->payload = bytes + header_size;
    ret->payload_size = total_size - header_size;
    ret->protocol = bytes[9];
    ret->hop_limit = bytes[8];
    return SALVO_IP_OK;
}

static enum salvo_ip_result ip6_parse(const uint8_t *bytes, uint32_t size,
                                      struct salvo_ip_packet *ret)
{
    if (size < SALVO_IP6_SIZE)
        return SALVO_IP_MALFORMED;
    uint32_t payload_size = salvo_load_be16(bytes + 4);

    if (payload_size > size - SALVO_IP6_SIZE)
        return SALVO_IP_MALFORMED;
    switch (bytes[6]) {
    case 44:
        return SALVO_IP_FRAGMENT;
    case 0:
    case 43:
    case 51:
    case 60:
        return SALVO_IP_EXTENSION;
    }
    *ret = (struct salvo_ip_packet){
        .source = salvo_ip6_address(bytes + 8),
        .target = salvo_ip6_address(bytes + 24),
        .payload = bytes + SALVO_IP6_SIZE,
        .payload_size = payload_size,
        .protocol = bytes[6],
        .hop_limit = bytes[7],
    };
    return SALVO_IP_OK;
}

enum salvo_ip_result salvo_ip_parse(const uint8_t *bytes, uint32_t size, bool checksum_verified,
                                    struct salvo_ip_packet *ret_packet)
{
    if (size < 1)
        return SALVO_IP_MALFORMED;
    if (bytes[0] >> 4 == 4)
        return ip4_parse(bytes, size, checksum_verified, ret_packet);
    if (bytes[0] >> 4 == 6)
        return ip6_parse(bytes, size, ret_packet);
    return SALVO_IP_MALFORMED;
}

uint32_t salvo_ip_tcp_ports_at(const uint8_t *frame, uint32_t size)
{
    const uint8_t *ip = frame + SALVO_ETHERNET_SIZE;
    uint32_t at = 0;

    if (size < SALVO_ETHERNET_SIZE + SALVO_IP4_SIZE)
        return 0;
    if (salvo_load_be16(frame + 12) == SALVO_ETHERTYPE_IP4 && ip[9] == SALVO_IP_PROTOCOL_TCP &&
        (salvo_load_be16(ip + 6) & 0x1fff) == 0)
        at = SALVO_ETHERNET_SIZE + (ip[0] & 15u) * 4;
    else if (salvo_load_be16(frame + 12) == SALVO_ETHERTYPE_IP6 && ip[6] == SALVO_IP_PROTOCOL_TCP)
        at = SALVO_ETHERNET_SIZE + SALVO_IP6_SIZE;
    return at != 0 && size >= at + 4 ? at : 0;
}

uint32_t salvo_ip_build(uint8_t *bytes, const struct salvo_ip_address *source,
                        const struct salvo_ip_address *target, uint8_t protocol, uint8_t hop_limit,
                        uint32_t payload_size)
{
    salvo_assert(source->version == target->version);
    if (source->version == 6) {
        memset(bytes, 0, 8);
        bytes[0] = 0x60;
        salvo_store_be16(bytes + 4, (uint16_t)payload_size);
        bytes[6] = protocol;
        bytes[7] = hop_limit;
        memcpy(bytes + 8, source->bytes, 16);
        memcpy(bytes + 24, target->bytes, 16);
        return SALVO_IP6_SIZE;
    }

    memset(bytes, 0, 12);
    bytes[0] = 0x45;
    salvo_store_be16(bytes + 2, (uint16_t)(SALVO_IP4_SIZE + payload_size));
    /* The id stays 0: with DF set a datagram is atomic and its id means nothing (RFC 6864, 4.1). */
    salvo_store_be16(bytes + 6, IP4_DONT_FRAGMENT);
    bytes[8] = hop_limit;
    bytes[9] = protocol;
    memcpy(bytes + 12, source->bytes, 4);
    memcpy(bytes + 16, target->bytes, 4);
    uint16_t checksum = salvo_sum_finish(salvo_sum_bytes(bytes, SALVO_IP4_SIZE, 0));
    memcpy(bytes + 10, &checksum, 2);
    return SALVO_IP4_SIZE;
}

uint64_t salvo_sum_bytes(const void *bytes, size_t size, uint64_t sum)
{
    const uint8_t *p = bytes;

    for (; size >= 4; size -= 4, p += 4) {
        uint32_t word;
        memcpy(&word, p, 4);
        sum += word;
    }
    if (size >= 2) {
        uint16_t half;
        memcpy(&half, p, 2);
        sum += half;
        size -= 2, p += 2;
    }
    if (size != 0) {
        uint16_t last = 0;
        memcpy(&last, p, 1); /* as if a zero byte followed */
        sum += last;
    }
    return sum;
}

uint64_t salvo_sum_pseudo(const struct salvo_ip_address *source,
                          const struct salvo_ip_address *target, uint8_t protocol,
                          uint32_t payload_size)
{
    uint64_t sum = 0;
    uint32_t tail[2] = {__builtin_bswap32(payload_size), __builtin_bswap32(protocol)};

    sum =
        salvo_sum_bytes(source->bytes, 16, sum); /* the unused bytes of an IPv4 address are zero */
    sum = salvo_sum_bytes(target->bytes, 16, sum);
    return salvo_sum_bytes(tail, sizeof(tail), sum);
}
