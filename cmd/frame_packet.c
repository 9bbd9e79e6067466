/* Packets of a capture: Ethernet, Linux cooked, loopback and raw IP; IPv4 and IPv6; TCP. */
#include "base/bytes.h"
#include "cmd/frame_pcap.h"

enum pcap_link {
    PCAP_LINK_NULL = 0,
    PCAP_LINK_ETHERNET = 1,
    PCAP_LINK_RAW_OLD = 12,
    PCAP_LINK_RAW = 101,
    PCAP_LINK_LOOP = 108,
    PCAP_LINK_SLL = 113,
    PCAP_LINK_IPV4 = 228,
    PCAP_LINK_IPV6 = 229,
    PCAP_LINK_SLL2 = 276,
};

/* True when it is a TCP segment; `r` stands behind the IP header, and holds no more than the
 * packet. */
static bool packet_tcp(struct salvo_reader *r, uint32_t wire_left, struct pcap_segment *segment)
{
    const uint8_t *p = salvo_read_bytes(r, 20);
    uint32_t header_size;

    if (p == NULL)
        return false;
    header_size = (uint32_t)(p[12] >> 4) * 4;
    if (header_size < 20 || salvo_read_bytes(r, header_size - 20) == NULL ||
        wire_left < header_size)
        return false;
    memcpy(segment->key + 33, p, 4);
    segment->syn = p[13] & 0x02;
    segment->sequence = salvo_load_be32(p + 4) + segment->syn; /* a SYN has a number of its own */
    segment->bytes = r->at;
    segment->size = (uint32_t)SALVO_MIN(salvo_reader_left(r), (size_t)(wire_left - header_size));
    return true;
}

static bool packet_ipv4(struct salvo_reader *r, struct pcap_segment *segment)
{
    const uint8_t *p = salvo_read_bytes(r, 20);
    uint32_t header_size, total;

    if (p == NULL || p[0] >> 4 != 4)
        return false;
    header_size = (uint32_t)(p[0] & 0x0f) * 4;
    total = salvo_load_be16(p + 2);
    if (total == 0) /* segmentation offload: the length is the packet's */
        total = (uint32_t)(salvo_reader_left(r) + 20);
    if (header_size < 20 || total < header_size || p[9] != 6 ||
        (salvo_load_be16(p + 6) & 0x3fff) != 0) /* not TCP, or a fragment */
        return false;
    if (salvo_read_bytes(r, header_size - 20) == NULL)
        return false;
    segment->key[0] = 4;
    memcpy(segment->key + 1, p + 12, 4);
    memcpy(segment->key + 17, p + 16, 4);
    return packet_tcp(r, total - header_size, segment);
}

static bool packet_ipv6(struct salvo_reader *r, struct pcap_segment *segment)
{
    const uint8_t *p = salvo_read_bytes(r, 40);
    uint32_t left;
    uint8_t next;

    if (p == NULL || p[0] >> 4 != 6)
        return false;
    left = salvo_load_be16(p + 4);
    if (left == 0)
        left = (uint32_t)salvo_reader_left(r);
    next = p[6];
    segment->key[0] = 6;
    memcpy(segment->key + 1, p + 8, 16);
    memcpy(segment->key + 17, p + 24, 16);
    for (int i = 0; i < 8 && (next == 0 || next == 43 || next == 60); i++) {
        const uint8_t *extension = salvo_read_bytes(r, 8);
        uint32_t size;

        if (extension == NULL)
            return false;
        size = 8 + (uint32_t)extension[1] * 8;
        if (left < size || salvo_read_bytes(r, size - 8) == NULL)
            return false;
        left -= size;
        next = extension[0];
    }
    return next == 6 && packet_tcp(r, left, segment);
}

static bool packet_ip(struct salvo_reader *r, struct pcap_segment *segment)
{
    if (salvo_reader_left(r) == 0)
        return false;
    return *r->at >> 4 == 4 ? packet_ipv4(r, segment) : packet_ipv6(r, segment);
}

static bool packet_ethertype(struct salvo_reader *r, uint16_t type, struct pcap_segment *segment)
{
    for (int i = 0; i < 2 && (type == 0x8100 || type == 0x88a8); i++) {
        salvo_read_u16(r);
        type = salvo_read_u16(r);
    }
    return (type == 0x0800 || type == 0x86dd) && packet_ip(r, segment);
}

static bool packet_link(struct salvo_reader *r, uint32_t link, struct pcap_segment *segment)
{
    const uint8_t *p;

    switch (link) {
    case PCAP_LINK_ETHERNET:
        p = salvo_read_bytes(r, 14);
        return p != NULL && packet_ethertype(r, salvo_load_be16(p + 12), segment);
    case PCAP_LINK_SLL:
        p = salvo_read_bytes(r, 16);
        return p != NULL && packet_ethertype(r, salvo_load_be16(p + 14), segment);
    case PCAP_LINK_SLL2:
        p = salvo_read_bytes(r, 20);
        return p != NULL && packet_ethertype(r, salvo_load_be16(p), segment);
    case PCAP_LINK_NULL:
    case PCAP_LINK_LOOP:
        return salvo_read_bytes(r, 4) != NULL && packet_ip(r, segment);
    case PCAP_LINK_RAW_OLD:
    case PCAP_LINK_RAW:
    case PCAP_LINK_IPV4:
    case PCAP_LINK_IPV6:
        return packet_ip(r, segment);
    default:
        return false;
    }
}

bool frame_packet_link_known(uint32_t link)
{
    switch (link) {
    case PCAP_LINK_NULL:
    case PCAP_LINK_ETHERNET:
    case PCAP_LINK_RAW_OLD:
    case PCAP_LINK_RAW:
    case PCAP_LINK_LOOP:
    case PCAP_LINK_SLL:
    case PCAP_LINK_IPV4:
    case PCAP_LINK_IPV6:
    case PCAP_LINK_SLL2:
        return true;
    default:
        return false;
    }
}

bool frame_packet_read(uint32_t link, const uint8_t *bytes, uint32_t size,
                       struct pcap_segment *ret_segment)
{
    struct salvo_reader r = salvo_reader_over(bytes, size);

    *ret_segment = (struct pcap_segment){0};
    return packet_link(&r, link, ret_segment);
}
