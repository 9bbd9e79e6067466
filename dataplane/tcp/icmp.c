/* ICMP for both families: what it says of our connections, and answers to small pings.
 *
 * An error is believed only when what it quotes is a segment that we have in flight (RFC 5927
 * section 4.1); even then it never ends an established connection (RFC 1122 section 4.2.3.9, RFC
 * 5927 section 5.2). */
#include "dataplane/tcp/tcp_conn.h"

#include <string.h>

enum icmp_meaning {
    ICMP_HARD,    /* ends an attempt to connect */
    ICMP_SOFT,    /* does nothing: the network may come back */
    ICMP_TOO_BIG, /* a segment did not fit */
};

/* RFC 1191 section 7.1: an old router names no MTU. The next smaller common one below what was
 * sent. */
static uint32_t mtu_plateau(uint32_t size)
{
    static const uint16_t plateaus[] = {32000, 17914, 8166, 4352, 2002, 1492, 1006, 576};

    for (unsigned i = 0; i < SALVO_ARRAY_LENGTH(plateaus); i++)
        if (plateaus[i] < size)
            return plateaus[i];
    return SALVO_IP4_MTU_SAFE;
}

/* RFC 1191, RFC 8201, RFC 5927 section 7. */
static void icmp_too_big(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, uint32_t mtu,
                         int64_t now_us)
{
    uint32_t safe = conn->ip_size == SALVO_IP6_SIZE ? SALVO_IP6_MTU_SAFE : SALVO_IP4_MTU_SAFE;

    if (mtu == 0)
        mtu = mtu_plateau(conn->send.mss + (uint32_t)conn->ip_size + SALVO_TCP_SIZE +
                          (conn->timestamps ? 12u : 0u));
    mtu = SALVO_MAX(mtu, safe); /* smaller is an attack on our packet rate (CVE-2019-11479) */
    if (mtu >= conn->send.mtu) {
        tcp->stats.icmp_ignored++;
        return;
    }
    conn->send.mtu = (uint16_t)mtu;
    conn->mtu_raise_us = now_us + tcp->config.mtu_raise_us;
    tcp->stats.icmp_used++;
    tcp->stats.mtu_lowered++;
    if (!tcp_synchronized(conn))
        return;
    uint32_t mss = conn->send.mss;
    salvo_tcp_mss_update(conn);
    if (conn->send.mss == mss || tcp_in_flight(conn) == 0)
        return;
    /* RFC 1191 section 6.5: sent again at once, in smaller segments; that is no congestion. */
    salvo_tcp_rewind(tcp, conn);
    conn->force_one = true;
    salvo_tcp_ready(tcp, conn);
}

/* `quote` is the beginning of the TCP segment the error is about; its target is the peer. */
static void icmp_error(struct salvo_tcp *tcp, const struct salvo_ip_address *peer,
                       const uint8_t *quote, enum icmp_meaning meaning, uint32_t mtu,
                       int64_t now_us)
{
    struct salvo_tcp_conn *conn =
        salvo_tcp_find(tcp, peer, salvo_load_be16(quote + 2), salvo_load_be16(quote));

    if (conn == NULL) {
        tcp->stats.icmp_ignored++;
        return;
    }
    uint64_t seq = tcp_wide(conn->send.una, salvo_load_be32(quote + 4));
    if (seq < conn->send.una || seq >= conn->send.max) {
        tcp->stats.icmp_ignored++;
        return;
    }
    if (meaning == ICMP_TOO_BIG) {
        icmp_too_big(tcp, conn, mtu, now_us);
    } else if (meaning == ICMP_HARD && conn->state == SALVO_TCP_SYN_SENT) {
        tcp->stats.icmp_used++;
        salvo_tcp_down(tcp, conn, SALVO_TCP_REASON_UNREACHABLE);
    } else {
        tcp->stats.icmp_ignored++;
    }
}

/* RFC 1122 section 3.2.2.6: an echo is answered, as far as it fits a raw frame (the usual ping
 * does). */
static void icmp_echo(struct salvo_tcp *tcp, const struct salvo_ip_packet *ip, const uint8_t *mac,
                      uint8_t type)
{
    uint32_t ip_size = ip->source.version == 6 ? SALVO_IP6_SIZE : SALVO_IP4_SIZE;
    bool six = ip->source.version == 6;

    if (!tcp->config.address_answers ||
        SALVO_ETHERNET_SIZE + ip_size + ip->payload_size > SALVO_TCP_HEADER_MAX ||
        !salvo_ip_is_unicast(&ip->source) || !salvo_ip_is_unicast(&ip->target))
        return;
    struct tcp_raw *raw = salvo_tcp_raw_claim(tcp);
    if (raw == NULL)
        return;
    uint8_t *p = salvo_tcp_raw_headers(tcp, raw, mac, &ip->target, &ip->source, ip->protocol, 64,
                                       ip->payload_size);
    memcpy(p, ip->payload, ip->payload_size);
    p[0] = type;
    memset(p + 2, 0, 2);
    uint64_t sum =
        six ? salvo_sum_pseudo(&ip->target, &ip->source, ip->protocol, ip->payload_size) : 0;
    uint16_t checksum = salvo_sum_finish(salvo_sum_bytes(p, ip->payload_size, sum));
    memcpy(p + 2, &checksum, 2);
}

/*   0      1      2          4                8
 *   | type | code | checksum | MTU of the hop | the datagram it is about ...  */
static void icmp4_unreachable(struct salvo_tcp *tcp, const struct salvo_ip_packet *ip,
                              int64_t now_us)
{
    const uint8_t *p = ip->payload;
    const uint8_t *quote = p + 8;
    uint32_t quote_size = ip->payload_size - 8;

    if (quote_size < SALVO_IP4_SIZE || quote[0] >> 4 != 4)
        return;
    uint32_t header_size = (uint32_t)(quote[0] & 15) * 4;
    if (header_size < SALVO_IP4_SIZE || quote_size < header_size + 8 ||
        quote[9] != SALVO_IP_PROTOCOL_TCP || memcmp(quote + 12, tcp->config.address4.bytes, 4) != 0)
        return;
    struct salvo_ip_address peer = salvo_ip4_address(quote[16], quote[17], quote[18], quote[19]);
    /* RFC 1122 section 4.2.3.9: codes 2 to 4 are hard. 4 is now a size; 9, 10 and 13 say
     * "prohibited"; a client that is only connecting gives up on 0 and 1 too, and tries elsewhere.
     */
    enum icmp_meaning meaning = p[1] == 4 ? ICMP_TOO_BIG : p[1] == 5 ? ICMP_SOFT : ICMP_HARD;
    icmp_error(tcp, &peer, quote + header_size, meaning, salvo_load_be16(p + 6), now_us);
}

void salvo_icmp4_in(struct salvo_tcp *tcp, const struct salvo_ip_packet *ip,
                    const uint8_t *source_mac, int64_t now_us)
{
    if (ip->payload_size < 8 ||
        salvo_sum_fold(salvo_sum_bytes(ip->payload, ip->payload_size, 0)) != 0xffff) {
        tcp->stats.frames_malformed++;
        return;
    }
    switch (ip->payload[0]) {
    case 3: /* source quench and time exceeded say nothing that helps (RFC 6633, RFC 5927) */
        icmp4_unreachable(tcp, ip, now_us);
        break;
    case 8:
        icmp_echo(tcp, ip, source_mac, 0);
        break;
    }
}

static void icmp6_error(struct salvo_tcp *tcp, const struct salvo_ip_packet *ip,
                        enum icmp_meaning meaning, uint32_t mtu, int64_t now_us)
{
    const uint8_t *quote = ip->payload + 8;

    if (ip->payload_size < 8 + SALVO_IP6_SIZE + 8 || quote[0] >> 4 != 6 ||
        quote[6] != SALVO_IP_PROTOCOL_TCP || memcmp(quote + 8, tcp->config.address6.bytes, 16) != 0)
        return;
    struct salvo_ip_address peer = salvo_ip6_address(quote + 24);
    icmp_error(tcp, &peer, quote + SALVO_IP6_SIZE, meaning, mtu, now_us);
}

/* RFC 4443. */
void salvo_icmp6_in(struct salvo_tcp *tcp, const struct salvo_ip_packet *ip,
                    const uint8_t *source_mac, int64_t now_us)
{
    uint64_t sum =
        salvo_sum_pseudo(&ip->source, &ip->target, SALVO_IP_PROTOCOL_ICMP6, ip->payload_size);

    if (ip->payload_size < 8 ||
        salvo_sum_fold(salvo_sum_bytes(ip->payload, ip->payload_size, sum)) != 0xffff) {
        tcp->stats.frames_malformed++;
        return;
    }
    switch (ip->payload[0]) {
    case 1:
        icmp6_error(tcp, ip, ICMP_HARD, 0, now_us);
        break;
    case 2: /* RFC 8201: 32 bits of MTU; 0 would ask for the plateaus of IPv4, so at least the safe
               one */
        icmp6_error(tcp, ip, ICMP_TOO_BIG,
                    SALVO_MAX(salvo_load_be32(ip->payload + 4), (uint32_t)SALVO_IP6_MTU_SAFE),
                    now_us);
        break;
    case 128:
        icmp_echo(tcp, ip, source_mac, 129);
        break;
    case 135:
    case 136:
        salvo_nd_in(tcp, ip, source_mac, now_us);
        break;
    }
}
