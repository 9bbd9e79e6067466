/* See wire.h. Written for clearness: byte by byte, nothing shared with dataplane/tcp. */
#include "tests/packet/wire.h"

#include <string.h>

static void put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v & 0xffff);
}

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

uint16_t wire_sum(const uint8_t *bytes, uint32_t size, uint32_t start)
{
    uint32_t sum = start;

    for (uint32_t i = 0; i < size; i++) {
        sum += i & 1 ? bytes[i] : (uint32_t)bytes[i] << 8;
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)sum;
}

static uint16_t sum_pseudo(const struct wire_segment *s, uint8_t protocol, const uint8_t *bytes,
                           uint32_t size)
{
    uint32_t address = s->six ? 16 : 4;
    uint32_t sum = wire_sum(s->source, address, 0);

    sum = wire_sum(s->target, address, sum);
    uint8_t tail[4] = {(uint8_t)(size >> 8), (uint8_t)size, 0, protocol};
    sum = wire_sum(tail, 4, sum);
    return wire_sum(bytes, size, sum);
}

static uint32_t build_ip(uint8_t *p, const struct wire_segment *s, uint8_t protocol, uint8_t hops,
                         uint32_t size)
{
    if (s->six) {
        memset(p, 0, 40);
        p[0] = 0x60;
        put16(p + 4, size);
        p[6] = protocol;
        p[7] = hops;
        memcpy(p + 8, s->source, 16);
        memcpy(p + 24, s->target, 16);
        return 40;
    }
    memset(p, 0, 20);
    p[0] = 0x45;
    put16(p + 2, 20 + size);
    put16(p + 6, 0x4000);
    p[8] = hops;
    p[9] = protocol;
    memcpy(p + 12, s->source, 4);
    memcpy(p + 16, s->target, 4);
    put16(p + 10, (uint16_t)~wire_sum(p, 20, 0));
    return 20;
}

static uint32_t build_options(uint8_t *p, const struct wire_segment *s)
{
    uint32_t n = 0;

    if (s->mss != 0) {
        p[n] = 2, p[n + 1] = 4;
        put16(p + n + 2, s->mss);
        n += 4;
    }
    if (s->shift >= 0) {
        p[n] = 1, p[n + 1] = 3, p[n + 2] = 3, p[n + 3] = (uint8_t)s->shift;
        n += 4;
    }
    if (s->sack_permitted) {
        p[n] = 1, p[n + 1] = 1, p[n + 2] = 4, p[n + 3] = 2;
        n += 4;
    }
    if (s->has_timestamp) {
        p[n] = 1, p[n + 1] = 1, p[n + 2] = 8, p[n + 3] = 10;
        put32(p + n + 4, s->timestamp);
        put32(p + n + 8, s->echo);
        n += 12;
    }
    if (s->sack_count != 0) {
        p[n] = 1, p[n + 1] = 1, p[n + 2] = 5, p[n + 3] = (uint8_t)(2 + 8 * s->sack_count);
        n += 4;
        for (unsigned i = 0; i < s->sack_count; i++, n += 8) {
            put32(p + n, s->sack[i][0]);
            put32(p + n + 4, s->sack[i][1]);
        }
    }
    return n;
}

static uint32_t build_link(uint8_t *frame, const struct wire_segment *s)
{
    memcpy(frame, s->target_mac, 6);
    memcpy(frame + 6, s->source_mac, 6);
    put16(frame + 12, s->six ? 0x86dd : 0x0800);
    return 14;
}

uint32_t wire_build(uint8_t *frame, const struct wire_segment *s)
{
    uint32_t link = build_link(frame, s);
    uint32_t ip_size = s->six ? 40 : 20;
    uint8_t *t = frame + link + ip_size;

    memset(t, 0, 20);
    uint32_t header = 20 + build_options(t + 20, s);
    put16(t, s->source_port);
    put16(t + 2, s->target_port);
    put32(t + 4, s->seq);
    put32(t + 8, s->ack);
    t[12] = (uint8_t)(header / 4 << 4);
    t[13] = s->flags;
    put16(t + 14, s->window);
    if (s->size != 0)
        memcpy(t + header, s->payload, s->size);
    build_ip(frame + link, s, 6, 64, header + s->size);
    put16(t + 16, (uint16_t)~sum_pseudo(s, 6, t, header + s->size));
    return link + ip_size + header + s->size;
}

static const char *parse_options(const uint8_t *p, uint32_t size, struct wire_segment *s)
{
    for (uint32_t i = 0; i < size;) {
        if (p[i] == 0)
            break;
        if (p[i] == 1) {
            i++;
            continue;
        }
        if (i + 1 >= size || p[i + 1] < 2 || i + p[i + 1] > size)
            return "an option's length is wrong";
        const uint8_t *v = p + i + 2;
        if (p[i] == 2)
            s->mss = get16(v);
        else if (p[i] == 3)
            s->shift = v[0];
        else if (p[i] == 4)
            s->sack_permitted = true;
        else if (p[i] == 8)
            s->has_timestamp = true, s->timestamp = get32(v), s->echo = get32(v + 4);
        else if (p[i] == 5)
            for (unsigned b = 0; b < (p[i + 1] - 2u) / 8 && b < 4; b++) {
                s->sack[b][0] = get32(v + 8 * b);
                s->sack[b][1] = get32(v + 8 * b + 4);
                s->sack_count = b + 1;
            }
        i += p[i + 1];
    }
    return NULL;
}

static enum wire_kind parse_icmp6(const uint8_t *p, uint32_t size, struct wire_segment *s,
                                  const char **bad)
{
    if (sum_pseudo(s, 58, p, size) != 0xffff) {
        *bad = "ICMPv6 checksum";
        return WIRE_BAD;
    }
    if (p[0] == 129)
        return WIRE_ECHO;
    if (size >= 24 && (p[0] == 135 || p[0] == 136)) {
        memcpy(s->target, p + 8, 16);
        return p[0] == 135 ? WIRE_ND_ASK : WIRE_ND_ANSWER;
    }
    return WIRE_OTHER;
}

static enum wire_kind parse_tcp(const uint8_t *t, uint32_t size, struct wire_segment *s,
                                const char **bad)
{
    *bad = "TCP header";
    if (size < 20 || (uint32_t)(t[12] >> 4) * 4 < 20 || (uint32_t)(t[12] >> 4) * 4 > size)
        return WIRE_BAD;
    *bad = "TCP checksum";
    if (sum_pseudo(s, 6, t, size) != 0xffff)
        return WIRE_BAD;
    uint32_t header = (uint32_t)(t[12] >> 4) * 4;
    s->source_port = get16(t);
    s->target_port = get16(t + 2);
    s->seq = get32(t + 4);
    s->ack = get32(t + 8);
    s->flags = t[13];
    s->window = get16(t + 14);
    s->payload = t + header;
    s->size = size - header;
    *bad = parse_options(t + 20, header - 20, s);
    return *bad == NULL ? WIRE_TCP : WIRE_BAD;
}

static enum wire_kind parse_arp(const uint8_t *p, uint32_t size, struct wire_segment *s)
{
    if (size < 28)
        return WIRE_BAD;
    memcpy(s->source, p + 14, 4);
    memcpy(s->target, p + 24, 4);
    return get16(p + 6) == 1 ? WIRE_ARP_ASK : WIRE_ARP_ANSWER;
}

enum wire_kind wire_parse(const uint8_t *frame, uint32_t size, struct wire_segment *s,
                          const char **bad)
{
    *s = (struct wire_segment){.shift = -1};
    *bad = "too short";
    if (size < 14)
        return WIRE_BAD;
    memcpy(s->target_mac, frame, 6);
    memcpy(s->source_mac, frame + 6, 6);
    const uint8_t *ip = frame + 14;
    uint16_t type = get16(frame + 12);
    if (type == 0x0806)
        return parse_arp(ip, size - 14, s);
    if (type == 0x0800 && size >= 34) {
        memcpy(s->source, ip + 12, 4);
        memcpy(s->target, ip + 16, 4);
        *bad = "IPv4 checksum or length";
        if (wire_sum(ip, 20, 0) != 0xffff || get16(ip + 2) != size - 14)
            return WIRE_BAD;
        return ip[9] == 6   ? parse_tcp(ip + 20, size - 34, s, bad)
               : ip[9] == 1 ? WIRE_ECHO
                            : WIRE_OTHER;
    }
    if (type == 0x86dd && size >= 54) {
        s->six = true;
        memcpy(s->source, ip + 8, 16);
        memcpy(s->target, ip + 24, 16);
        *bad = "IPv6 length";
        if (get16(ip + 4) != size - 54)
            return WIRE_BAD;
        return ip[6] == 6    ? parse_tcp(ip + 40, size - 54, s, bad)
               : ip[6] == 58 ? parse_icmp6(ip + 40, size - 54, s, bad)
                             : WIRE_OTHER;
    }
    return WIRE_OTHER;
}

uint32_t wire_icmp(uint8_t *frame, const struct wire_segment *quoted, uint8_t type, uint8_t code,
                   uint32_t mtu)
{
    struct wire_segment s = {.six = quoted->six};
    uint32_t ip_size = s.six ? 40 : 20;

    memcpy(s.source_mac, quoted->target_mac, 6);
    memcpy(s.target_mac, quoted->source_mac, 6);
    memcpy(s.source, quoted->target,
           16); /* said by the target itself; routers say it no differently */
    memcpy(s.target, quoted->source, 16);
    uint32_t link = build_link(frame, &s);
    uint8_t *p = frame + link + ip_size;
    uint32_t size = 8 + ip_size + 8;

    memset(p, 0, 8);
    p[0] = type;
    p[1] = code;
    put32(p + 4, mtu);
    build_ip(p + 8, quoted, 6, 63, 20);
    put16(p + 8 + ip_size, quoted->source_port);
    put16(p + 8 + ip_size + 2, quoted->target_port);
    put32(p + 8 + ip_size + 4, quoted->seq);
    build_ip(frame + link, &s, s.six ? 58 : 1, 64, size);
    put16(p + 2, (uint16_t) ~(s.six ? sum_pseudo(&s, 58, p, size) : wire_sum(p, size, 0)));
    return link + ip_size + size;
}

uint32_t wire_arp(uint8_t *frame, uint16_t operation, const uint8_t sender_mac[6],
                  const uint8_t sender[4], const uint8_t target_mac[6], const uint8_t target[4])
{
    memcpy(frame, target_mac, 6);
    memcpy(frame + 6, sender_mac, 6);
    put16(frame + 12, 0x0806);
    uint8_t *p = frame + 14;
    put32(p, 0x00010800);
    put16(p + 4, 0x0604);
    put16(p + 6, operation);
    memcpy(p + 8, sender_mac, 6);
    memcpy(p + 14, sender, 4);
    memcpy(p + 18, target_mac, 6);
    memcpy(p + 24, target, 4);
    return 14 + 28;
}

uint32_t wire_nd(uint8_t *frame, uint8_t type, uint8_t hop_limit, const uint8_t sender_mac[6],
                 const uint8_t source[16], const uint8_t to_mac[6], const uint8_t to[16],
                 const uint8_t target[16])
{
    struct wire_segment s = {.six = true};

    memcpy(s.source_mac, sender_mac, 6);
    memcpy(s.target_mac, to_mac, 6);
    memcpy(s.source, source, 16);
    memcpy(s.target, to, 16);
    uint32_t link = build_link(frame, &s);
    uint8_t *p = frame + link + 40;
    memset(p, 0, 32);
    p[0] = type;
    p[4] = type == 136 ? 0x60 : 0; /* solicited, override */
    memcpy(p + 8, target, 16);
    p[24] = type == 136 ? 2 : 1;
    p[25] = 1;
    memcpy(p + 26, sender_mac, 6);
    build_ip(frame + link, &s, 58, hop_limit, 32);
    put16(p + 2, (uint16_t)~sum_pseudo(&s, 58, p, 32));
    return link + 40 + 32;
}
