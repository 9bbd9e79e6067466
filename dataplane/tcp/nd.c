/* IPv6 neighbour discovery (RFC 4861): asks for neighbours and answers for our own addresses.
 * Routers are configured, not discovered; addresses are given, not made; duplicates are not looked
 * for (docs/TCP.md). */
#include "dataplane/tcp/tcp_conn.h"

#include <string.h>

#define SOLICITATION  135
#define ADVERTISEMENT 136

#define OPTION_SOURCE_LINK 1
#define OPTION_TARGET_LINK 2

#define FLAG_SOLICITED 0x40000000u
#define FLAG_OVERRIDE  0x20000000u

/*   0      1      2          4       8             24     25     26
 *   | type | code | checksum | flags | target (16) | kind | size | MAC | */
#define MESSAGE_SIZE 32

static void nd_out(struct salvo_tcp *tcp, const uint8_t mac[6],
                   const struct salvo_ip_address *source, const struct salvo_ip_address *to,
                   uint8_t type, uint32_t flags, const struct salvo_ip_address *target)
{
    struct tcp_raw *raw = salvo_tcp_raw_claim(tcp);

    if (raw == NULL)
        return;
    uint8_t *p = salvo_tcp_raw_headers(tcp, raw, mac, source, to, SALVO_IP_PROTOCOL_ICMP6, 255,
                                       MESSAGE_SIZE);
    memset(p, 0, MESSAGE_SIZE);
    p[0] = type;
    salvo_store_be32(p + 4, flags);
    memcpy(p + 8, target->bytes, 16);
    p[24] = type == SOLICITATION ? OPTION_SOURCE_LINK : OPTION_TARGET_LINK;
    p[25] = 1;
    memcpy(p + 26, tcp->config.mac, 6);
    uint64_t sum = salvo_sum_pseudo(source, to, SALVO_IP_PROTOCOL_ICMP6, MESSAGE_SIZE);
    uint16_t checksum = salvo_sum_finish(salvo_sum_bytes(p, MESSAGE_SIZE, sum));
    memcpy(p + 2, &checksum, 2);
}

/* Section 7.2.2 to the solicited-node group, 7.3.3 to the known address of one that is only
 * checked. */
void salvo_nd_ask(struct salvo_tcp *tcp, const struct tcp_neighbour *neighbour)
{
    const uint8_t *a = neighbour->address.bytes;
    const uint8_t group[16] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a[13], a[14], a[15]};
    const uint8_t group_mac[6] = {0x33, 0x33, 0xff, a[13], a[14], a[15]}; /* RFC 2464 section 7 */
    struct salvo_ip_address to = salvo_ip6_address(group);

    if (neighbour->state == TCP_NEIGHBOUR_PROBING)
        nd_out(tcp, neighbour->mac, &tcp->config.address6, &neighbour->address, SOLICITATION, 0,
               &neighbour->address);
    else
        nd_out(tcp, group_mac, &tcp->config.address6, &to, SOLICITATION, 0, &neighbour->address);
}

/* The link address in the options, NULL when there is none, and *ret_good false when an option has
 * no size (section 7.1: such a message is dropped). */
static const uint8_t *nd_option(const struct salvo_ip_packet *ip, uint8_t kind, bool *ret_good)
{
    struct salvo_reader r = salvo_reader_over(ip->payload + 24, ip->payload_size - 24);
    const uint8_t *mac = NULL;

    *ret_good = true;
    while (salvo_reader_left(&r) >= 2) {
        uint8_t option = salvo_read_u8(&r);
        uint8_t units = salvo_read_u8(&r);
        const uint8_t *value = units == 0 ? NULL : salvo_read_bytes(&r, units * 8u - 2);
        if (value == NULL) {
            *ret_good = false;
            return NULL;
        }
        if (option == kind && units == 1)
            mac = value;
    }
    return mac;
}

static void nd_solicited(struct salvo_tcp *tcp, const struct salvo_ip_packet *ip,
                         const struct salvo_ip_address *target, const uint8_t *mac, int64_t now_us)
{
    if (!salvo_ip_equal(target, &tcp->config.address6) &&
        !salvo_ip_equal(target, &tcp->link_local6))
        return;
    if (!salvo_ip_is_unicast(
            &ip->source)) { /* from ::, another host's duplicate check: we have it */
        static const uint8_t all_nodes[16] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
        static const uint8_t all_nodes_mac[6] = {0x33, 0x33, 0, 0, 0, 1};
        struct salvo_ip_address to = salvo_ip6_address(all_nodes);
        if (tcp->config.address_answers)
            nd_out(tcp, all_nodes_mac, target, &to, ADVERTISEMENT, FLAG_OVERRIDE, target);
        return;
    }
    if (mac == NULL)
        return;
    salvo_tcp_neighbour_heard(tcp, &ip->source, mac, false, true, now_us);
    if (tcp->config.address_answers)
        nd_out(tcp, mac, target, &ip->source, ADVERTISEMENT, FLAG_SOLICITED | FLAG_OVERRIDE,
               target);
}

void salvo_nd_in(struct salvo_tcp *tcp, const struct salvo_ip_packet *ip, const uint8_t *source_mac,
                 int64_t now_us)
{
    const uint8_t *p = ip->payload;

    /* Sections 7.1.1 and 7.1.2. Hop limit 255: it has not passed a router, so it is of this link.
     */
    if (ip->payload_size < 24 || ip->hop_limit != 255 || p[1] != 0)
        return;
    struct salvo_ip_address target = salvo_ip6_address(p + 8);
    bool good;
    const uint8_t *mac =
        nd_option(ip, p[0] == SOLICITATION ? OPTION_SOURCE_LINK : OPTION_TARGET_LINK, &good);
    uint32_t flags = salvo_load_be32(p + 4);

    if (!good || !salvo_ip_is_unicast(&target))
        return;
    if (p[0] == SOLICITATION) {
        nd_solicited(tcp, ip, &target, mac != NULL ? mac : source_mac, now_us);
    } else if (mac != NULL || (flags & FLAG_SOLICITED)) {
        salvo_tcp_neighbour_heard(tcp, &target, mac != NULL ? mac : source_mac,
                                  flags & FLAG_SOLICITED, flags & FLAG_OVERRIDE, now_us);
    }
}
