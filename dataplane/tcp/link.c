/* Frames in, by what they carry; and the few frames that belong to no connection out.
 *
 * Raw frames (ARP, neighbour discovery, ICMP answers, RSTs) wait in a small ring of their own. When
 * it is full the next is dropped and counted: each of them is either asked for again or was a
 * courtesy. */
#include "dataplane/tcp/tcp_conn.h"

#include <string.h>

struct tcp_raw *salvo_tcp_raw_claim(struct salvo_tcp *tcp)
{
    if (tcp->raw_tail - tcp->raw_head == TCP_RAW_MAX) {
        tcp->stats.frames_raw_dropped++;
        return NULL;
    }
    return &tcp->raws[tcp->raw_tail++ % TCP_RAW_MAX];
}

bool salvo_tcp_raw_out(struct salvo_tcp *tcp, struct salvo_tcp_packet *ret_packet)
{
    if (SALVO_LIKELY(tcp->raw_head == tcp->raw_tail))
        return false;
    const struct tcp_raw *raw = &tcp->raws[tcp->raw_head++ % TCP_RAW_MAX];

    ret_packet->header_size = raw->size;
    ret_packet->payload_size = ret_packet->range_count = 0;
    ret_packet->segment_size = 0;
    ret_packet->ip_size = ret_packet->tcp_size = 0;
    ret_packet->header_sum = ret_packet->conn = 0;
    memcpy(ret_packet->header, raw->bytes, raw->size);
    tcp->stats.packets_out++;
    return true;
}

uint8_t *salvo_tcp_raw_headers(struct salvo_tcp *tcp, struct tcp_raw *raw, const uint8_t mac[6],
                               const struct salvo_ip_address *source,
                               const struct salvo_ip_address *target, uint8_t protocol,
                               uint8_t hop_limit, uint32_t payload_size)
{
    memcpy(raw->bytes, mac, 6);
    memcpy(raw->bytes + 6, tcp->config.mac, 6);
    salvo_store_be16(raw->bytes + 12,
                     source->version == 6 ? SALVO_ETHERTYPE_IP6 : SALVO_ETHERTYPE_IP4);
    uint32_t ip_size = salvo_ip_build(raw->bytes + SALVO_ETHERNET_SIZE, source, target, protocol,
                                      hop_limit, payload_size);
    raw->size = SALVO_ETHERNET_SIZE + ip_size + payload_size;
    salvo_assert(raw->size <= sizeof(raw->bytes));
    return raw->bytes + SALVO_ETHERNET_SIZE + ip_size;
}

/* Ours, or for neighbour discovery the group and the link-local address that go with it. */
static bool link_is_ours(const struct salvo_tcp *tcp, const struct salvo_ip_packet *ip)
{
    const struct salvo_ip_address *a6 = &tcp->config.address6;

    if (ip->target.version == 4)
        return salvo_ip_equal(&ip->target, &tcp->config.address4);
    if (a6->version == 0)
        return false;
    if (salvo_ip_equal(&ip->target, a6) || salvo_ip_equal(&ip->target, &tcp->link_local6))
        return true;
    /* ff02::1:ff + the last three bytes: the solicited-node group (RFC 4291 section 2.7.1);
     * ff02::1. */
    static const uint8_t solicited[13] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
    static const uint8_t all_nodes[16] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    return ip->protocol == SALVO_IP_PROTOCOL_ICMP6 &&
           (memcmp(ip->target.bytes, all_nodes, 16) == 0 ||
            memcmp(ip->target.bytes, solicited, 13) == 0);
}

static void link_ip_in(struct salvo_tcp *tcp, const uint8_t *frame, uint32_t size,
                       bool checksum_verified, int64_t now_us)
{
    struct salvo_ip_packet ip;
    enum salvo_ip_result r = salvo_ip_parse(frame + SALVO_ETHERNET_SIZE, size - SALVO_ETHERNET_SIZE,
                                            checksum_verified, &ip);

    if (r == SALVO_IP_CHECKSUM)
        tcp->stats.checksum_wrong++;
    else if (r == SALVO_IP_FRAGMENT)
        tcp->stats.fragments_dropped++;
    else if (r != SALVO_IP_OK)
        tcp->stats.frames_malformed++;
    if (r != SALVO_IP_OK || !link_is_ours(tcp, &ip))
        return;
    switch (ip.protocol) {
    case SALVO_IP_PROTOCOL_TCP:
        /* RFC 9293 section 3.9.2.3, MUST-57: nothing from or to a broadcast or multicast address.
         */
        if (salvo_ip_is_unicast(&ip.source) && !(frame[0] & 1))
            salvo_tcp_segment_in(tcp, &ip, frame + 6, checksum_verified, now_us);
        break;
    case SALVO_IP_PROTOCOL_ICMP:
        if (ip.source.version == 4)
            salvo_icmp4_in(tcp, &ip, frame + 6, now_us);
        break;
    case SALVO_IP_PROTOCOL_ICMP6:
        if (ip.source.version == 6)
            salvo_icmp6_in(tcp, &ip, frame + 6, now_us);
        break;
    }
}

/*   0           6             12          14
 *   | to (MAC)  | from (MAC)  | ethertype | datagram ... */
void salvo_tcp_input(struct salvo_tcp *tcp, const uint8_t *frame, uint32_t size,
                     bool checksum_verified, int64_t now_us)
{
    tcp->stats.frames_in++;
    if (size < SALVO_ETHERNET_SIZE) {
        tcp->stats.frames_malformed++;
        return;
    }
    if (!(frame[0] & 1) && memcmp(frame, tcp->config.mac, 6) != 0)
        return; /* a promiscuous device shows us others' */
    switch (salvo_load_be16(frame + 12)) {
    case SALVO_ETHERTYPE_IP4:
    case SALVO_ETHERTYPE_IP6:
        link_ip_in(tcp, frame, size, checksum_verified, now_us);
        break;
    case SALVO_ETHERTYPE_ARP:
        salvo_arp_in(tcp, frame, size, now_us);
        break;
    }
}
