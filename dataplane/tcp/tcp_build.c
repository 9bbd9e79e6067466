/* Segments into bytes: headers, options, checksums, and the answers of no connection.
 *
 * A connection keeps its headers ready made, as a segment with the timestamp option alone has them:
 * nearly every segment. Such a packet copies them and fills in lengths, numbers and sums; one with
 * other options has its own written over them. */
#include "dataplane/tcp/tcp_conn.h"

#include <string.h>

/* Two NOPs in front, so that its words are aligned (RFC 7323, appendix A). */
#define TIMESTAMP_HEAD 0x0101080au
#define TIMESTAMP_SIZE 12u

void salvo_tcp_header_init(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn)
{
    bool six = conn->remote.version == 6;
    const struct salvo_ip_address *local = six ? &tcp->config.address6 : &tcp->config.address4;
    uint8_t *ip = conn->header + SALVO_ETHERNET_SIZE;

    memcpy(conn->header + 6, tcp->config.mac, 6);
    salvo_store_be16(conn->header + 12, six ? SALVO_ETHERTYPE_IP6 : SALVO_ETHERTYPE_IP4);
    conn->ip_size = (uint8_t)salvo_ip_build(ip, local, &conn->remote, SALVO_IP_PROTOCOL_TCP, 64, 0);
    if (!six) { /* length and checksum are each packet's own */
        memset(ip + 2, 0, 2);
        memset(ip + 10, 0, 2);
        conn->sum_ip = salvo_sum_bytes(ip, SALVO_IP4_SIZE, 0);
    }
    uint8_t *segment = ip + conn->ip_size;
    memset(segment, 0, SALVO_TCP_SIZE + TIMESTAMP_SIZE);
    salvo_store_be16(segment, conn->local_port);
    salvo_store_be16(segment + 2, conn->remote_port);
    salvo_store_be32(segment + SALVO_TCP_SIZE, TIMESTAMP_HEAD);
    conn->sum_pseudo = salvo_sum_pseudo(local, &conn->remote, SALVO_IP_PROTOCOL_TCP, 0);
    conn->sum_usual = salvo_sum_bytes(segment, SALVO_TCP_SIZE + TIMESTAMP_SIZE, conn->sum_pseudo);
}

static void write_timestamp(struct salvo_writer *w, const struct salvo_tcp_conn *conn,
                            int64_t now_us)
{
    salvo_write_u16(w, 0x080a);
    salvo_write_u32(w, tcp_timestamp(conn, now_us));
    salvo_write_u32(w, conn->receive.timestamp_recent);
}

/*  MSS | SACK permitted, timestamps | NOP, window scale: 20 bytes when all are offered */
static void write_syn_options(const struct salvo_tcp *tcp, const struct salvo_tcp_conn *conn,
                              struct salvo_writer *w, int64_t now_us)
{
    const struct salvo_tcp_config *c = &tcp->config;

    /* RFC 9293 section 3.7.1, RFC 6691: the MTU less the fixed headers, options not counted. */
    salvo_write_u16(w, 0x0204);
    salvo_write_u16(w, (uint16_t)(c->mtu - conn->ip_size - SALVO_TCP_SIZE));
    if (c->sack || c->timestamps) {
        salvo_write_u16(w, c->sack ? 0x0402 : 0x0101);
        if (c->timestamps)
            write_timestamp(w, conn, now_us);
        else
            salvo_write_u16(w, 0x0101);
    }
    if (c->window_scale) {
        salvo_write_u16(w, 0x0103);
        salvo_write_u8(w, 3);
        salvo_write_u8(w, conn->receive.shift);
    }
}

/* RFC 2018 section 4: the newest island first, then as many others as fit, newest first; before all
 * of them what came twice (RFC 2883). */
static void write_sack(struct salvo_tcp_conn *conn, struct salvo_writer *w, unsigned blocks_max)
{
    struct tcp_receiver *r = &conn->receive;
    bool duplicate = r->duplicate_end != r->duplicate_start;
    unsigned blocks = SALVO_MIN(r->island_count + (duplicate ? 1u : 0u), blocks_max);
    uint64_t below = UINT64_MAX;

    if (blocks == 0)
        return;
    salvo_write_u16(w, 0x0101);
    salvo_write_u8(w, 5);
    salvo_write_u8(w, (uint8_t)(2 + 8 * blocks));
    if (duplicate) {
        salvo_write_u32(w, (uint32_t)r->duplicate_start);
        salvo_write_u32(w, (uint32_t)r->duplicate_end);
        r->duplicate_start = r->duplicate_end = 0;
        blocks--;
    }
    while (blocks-- != 0) {
        const struct tcp_island *newest = NULL;
        for (unsigned i = 0; i < r->island_count; i++)
            if (r->islands[i].stamp < below &&
                (newest == NULL || r->islands[i].stamp > newest->stamp))
                newest = &r->islands[i];
        below = newest->stamp;
        salvo_write_u32(w, (uint32_t)newest->start);
        salvo_write_u32(w, (uint32_t)newest->end);
    }
}

static void write_options(const struct salvo_tcp *tcp, struct salvo_tcp_conn *conn,
                          struct salvo_writer *w, uint8_t flags, uint32_t payload_size,
                          int64_t now_us)
{
    if (flags & TCP_SYN) {
        write_syn_options(tcp, conn, w, now_us);
        return;
    }
    if (conn->timestamps) { /* RFC 7323 section 3.2: on every segment, or on none */
        salvo_write_u16(w, 0x0101);
        write_timestamp(w, conn, now_us);
    }
    /* A full segment has no room for SACK; a bare ACK goes before it (tcp_out.c). */
    if (conn->sack && payload_size == 0 && !(flags & TCP_RST))
        write_sack(conn, w, conn->timestamps ? TCP_SACK_BLOCKS_MAX - 1 : TCP_SACK_BLOCKS_MAX);
}

static uint16_t window_field(const struct salvo_tcp *tcp, struct salvo_tcp_conn *conn,
                             uint8_t flags)
{
    struct tcp_receiver *r = &conn->receive;

    if (flags & TCP_SYN) /* never scaled, RFC 7323 section 2.2 */
        return (uint16_t)SALVO_MIN(tcp->config.receive_size, 65535u);
    uint64_t edge = salvo_tcp_receive_edge(tcp, conn);
    r->advertised = SALVO_MAX(r->advertised, edge);
    return (uint16_t)SALVO_MIN((edge - r->next) >> r->shift, UINT64_C(65535));
}

/* `sum_ip` is IPv4's, without length and checksum. */
static void fill_ip(uint64_t sum_ip, uint8_t ip_size, uint8_t *ip, uint32_t tcp_length)
{
    if (ip_size == SALVO_IP6_SIZE) {
        salvo_store_be16(ip + 4, (uint16_t)tcp_length);
        return;
    }
    uint16_t length = __builtin_bswap16((uint16_t)(SALVO_IP4_SIZE + tcp_length));
    uint16_t checksum = salvo_sum_finish(sum_ip + length);
    memcpy(ip + 2, &length, 2);
    memcpy(ip + 10, &checksum, 2);
}

/* Whether the timestamps are the only option: so it is but for SYNs and ACKs with SACK blocks. */
static bool options_usual(const struct salvo_tcp_conn *conn, uint8_t flags, uint32_t payload_size)
{
    const struct tcp_receiver *r = &conn->receive;

    if (!conn->timestamps || (flags & (TCP_SYN | TCP_RST)))
        return false;
    return payload_size != 0 || !conn->sack ||
           (r->island_count == 0 && r->duplicate_end == r->duplicate_start);
}

/* The usual header: fills the template's gaps and returns the sum, of what is known ahead and of
 * the words as they are written. */
static uint64_t fill_usual(const struct salvo_tcp_conn *conn, uint8_t *segment,
                           const uint32_t words[3], int64_t now_us)
{
    uint32_t now = __builtin_bswap32(tcp_timestamp(conn, now_us));
    uint32_t recent = __builtin_bswap32(conn->receive.timestamp_recent);

    memcpy(segment + 4, words, 12);
    memcpy(segment + SALVO_TCP_SIZE + 4, &now, 4);
    memcpy(segment + SALVO_TCP_SIZE + 8, &recent, 4);
    return conn->sum_usual + words[0] + words[1] + words[2] + now + recent;
}

/* Any other header. Returns its sum. */
static uint64_t fill_unusual(const struct salvo_tcp *tcp, struct salvo_tcp_conn *conn,
                             struct salvo_tcp_packet *packet, const uint32_t words[3],
                             uint8_t flags, int64_t now_us)
{
    uint8_t *segment = packet->header + SALVO_ETHERNET_SIZE + conn->ip_size;
    struct salvo_writer w = salvo_writer_over(segment + SALVO_TCP_SIZE, 40);

    memcpy(segment + 4, words, 12);
    write_options(tcp, conn, &w, flags, packet->payload_size, now_us);
    salvo_assert(!w.failed);
    packet->tcp_size = (uint8_t)(SALVO_TCP_SIZE + salvo_writer_size(&w));
    segment[12] = (uint8_t)(packet->tcp_size / 4 << 4);
    return salvo_sum_bytes(segment, packet->tcp_size, conn->sum_pseudo);
}

void salvo_tcp_build(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us,
                     uint64_t seq, uint8_t flags, struct salvo_tcp_packet *packet)
{
    struct tcp_receiver *r = &conn->receive;
    uint32_t link_size = SALVO_ETHERNET_SIZE + (uint32_t)conn->ip_size;
    uint8_t *segment = packet->header + link_size;
    /* Numbers; header size, flags and window, as they lie in memory. */
    uint32_t words[3] = {
        __builtin_bswap32((uint32_t)seq),
        __builtin_bswap32(flags & TCP_ACK ? (uint32_t)r->next : 0),
        __builtin_bswap32((uint32_t)(SALVO_TCP_SIZE + TIMESTAMP_SIZE) / 4 << 28 |
                          (uint32_t)flags << 16 | window_field(tcp, conn, flags)),
    };
    uint64_t sum;

    memcpy(packet->header, conn->header, sizeof(conn->header));
    packet->tcp_size = SALVO_TCP_SIZE + TIMESTAMP_SIZE;
    if (SALVO_LIKELY(options_usual(conn, flags, packet->payload_size)))
        sum = fill_usual(conn, segment, words, now_us);
    else
        sum = fill_unusual(tcp, conn, packet, words, flags, now_us);
    packet->ip_size = conn->ip_size;
    packet->header_size = link_size + packet->tcp_size;
    packet->conn = tcp_handle(conn);

    uint32_t tcp_length = packet->tcp_size + packet->payload_size;
    uint16_t length = __builtin_bswap16((uint16_t)tcp_length);
    fill_ip(conn->sum_ip, conn->ip_size, packet->header + SALVO_ETHERNET_SIZE, tcp_length);
    if (tcp->config.checksum_offload) { /* devices add each segment's own length */
        uint16_t pseudo =
            salvo_sum_fold(conn->sum_pseudo + (packet->segment_size == 0 ? length : 0));
        memcpy(segment + 16, &pseudo, 2);
        packet->header_sum = 0;
    } else {
        packet->header_sum = sum + length;
    }
    if (flags & TCP_ACK) {
        r->acked = r->next;
        r->ack_now = r->ack_delayed = false;
    }
    tcp->stats.packets_out++;
    tcp->stats.segments_out += salvo_tcp_packet_segments(packet);
}

/* Copies the next `size` bytes of payload and returns their sum. */
static uint64_t write_payload(const struct salvo_tcp *tcp, const struct salvo_tcp_packet *packet,
                              struct salvo_tcp_cut *cut, uint8_t *target, uint32_t size)
{
    uint64_t sum = 0;
    uint32_t at = 0;

    while (at < size) {
        salvo_assert(cut->range < packet->range_count);
        const struct salvo_tcp_range *range = &packet->ranges[cut->range];
        uint32_t n = (uint32_t)SALVO_MIN((uint64_t)(size - at), range->size - cut->range_at);
        uint64_t part = tcp->copy(target + at, range->bytes + cut->range_at, n);
        /* A piece at an odd place has its bytes the other way round (RFC 1071 section 2B). */
        sum += at & 1 ? __builtin_bswap16(salvo_sum_fold(part)) : part;
        at += n;
        cut->range_at += n;
        if (cut->range_at == range->size) {
            cut->range++;
            cut->range_at = 0;
        }
    }
    cut->done += size;
    salvo_assert(cut->done != packet->payload_size || cut->range == packet->range_count);
    return sum;
}

uint32_t salvo_tcp_packet_write(const struct salvo_tcp *tcp, const struct salvo_tcp_packet *packet,
                                uint8_t *frame)
{
    struct salvo_tcp_cut whole = {0};
    uint64_t sum = packet->header_sum;

    salvo_assert(packet->segment_size == 0 || tcp->config.checksum_offload);
    memcpy(frame, packet->header, packet->header_size);
    sum += write_payload(tcp, packet, &whole, frame + packet->header_size, packet->payload_size);
    if (packet->ip_size != 0 && !tcp->config.checksum_offload) {
        uint16_t checksum = salvo_sum_finish(sum);
        memcpy(frame + SALVO_ETHERNET_SIZE + packet->ip_size + 16, &checksum, 2);
    }
    return packet->header_size + packet->payload_size;
}

/* Segments differ in lengths, number and, at the end, flags: these words are taken out of the sums
 * (a word's complement is what takes it out, RFC 1624), and each segment adds its own. */
void salvo_tcp_cut_start(struct salvo_tcp_cut *cut, const struct salvo_tcp_packet *packet)
{
    const uint8_t *ip = packet->header + SALVO_ETHERNET_SIZE;
    const uint8_t *segment = ip + packet->ip_size;
    uint16_t length = __builtin_bswap16((uint16_t)(packet->tcp_size + packet->payload_size));
    uint16_t ip_length, ip_checksum;
    uint32_t seq;

    salvo_assert(packet->segment_size != 0);
    *cut = (struct salvo_tcp_cut){0};
    memcpy(&seq, segment + 4, 4);
    memcpy(&cut->flags, segment + 12, 2);
    cut->seq = __builtin_bswap32(seq);
    cut->sum = packet->header_sum + (uint32_t)~seq + (uint16_t)~cut->flags + (uint16_t)~length;
    memcpy(&ip_length, ip + 2, 2); /* IPv6 has other fields here, and no sum */
    memcpy(&ip_checksum, ip + 10, 2);
    cut->sum_ip = (uint64_t)(uint16_t)~ip_checksum + (uint16_t)~ip_length;
}

void salvo_tcp_cut_write(const struct salvo_tcp *tcp, const struct salvo_tcp_packet *packet,
                         struct salvo_tcp_cut *cut, uint8_t *frame)
{
    uint32_t size = salvo_tcp_cut_size(cut, packet) - packet->header_size;
    uint8_t *ip = frame + SALVO_ETHERNET_SIZE;
    uint8_t *segment = ip + packet->ip_size;
    uint16_t length = __builtin_bswap16((uint16_t)(packet->tcp_size + size));
    uint32_t seq = __builtin_bswap32(cut->seq + cut->done);
    uint16_t flags = cut->flags;

    salvo_assert(!tcp->config.checksum_offload);
    if (cut->done + size != packet->payload_size)
        flags &= __builtin_bswap16((uint16_t) ~(TCP_FIN | TCP_PSH));
    memcpy(frame, packet->header, packet->header_size);
    fill_ip(cut->sum_ip, packet->ip_size, ip, packet->tcp_size + size);
    memcpy(segment + 4, &seq, 4);
    memcpy(segment + 12, &flags, 2);
    uint64_t sum = cut->sum + seq + flags + length;
    sum += write_payload(tcp, packet, cut, frame + packet->header_size, size);
    uint16_t checksum = salvo_sum_finish(sum);
    memcpy(segment + 16, &checksum, 2);
}

/* A bare segment of a connection, as a raw frame: it goes even when the connection does not live to
 * see it. Its checksum is filled in here, whatever the device could do. */
static void raw_of_conn(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us,
                        uint64_t seq, uint8_t flags)
{
    const uint8_t *mac = salvo_tcp_neighbour_mac(tcp, conn->neighbour, now_us);
    struct tcp_raw *raw = mac == NULL ? NULL : salvo_tcp_raw_claim(tcp);
    struct salvo_tcp_packet packet;

    if (raw == NULL)
        return;
    packet.payload_size = packet.range_count = packet.segment_size = 0;
    memcpy(conn->header, mac, 6);
    salvo_tcp_build(tcp, conn, now_us, seq, flags, &packet);
    uint8_t *segment = packet.header + SALVO_ETHERNET_SIZE + conn->ip_size;
    memset(segment + 16, 0, 2);
    uint64_t sum = conn->sum_pseudo + __builtin_bswap16((uint16_t)packet.tcp_size);
    uint16_t checksum = salvo_sum_finish(salvo_sum_bytes(segment, packet.tcp_size, sum));
    memcpy(segment + 16, &checksum, 2);
    memcpy(raw->bytes, packet.header, packet.header_size);
    raw->size = packet.header_size;
}

void salvo_tcp_reset_out(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn)
{
    tcp->stats.resets_out++;
    raw_of_conn(tcp, conn, conn->heard_us, tcp_bare_seq(conn), TCP_RST | TCP_ACK);
}

void salvo_tcp_ack_out(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us)
{
    raw_of_conn(tcp, conn, now_us, conn->send.max, TCP_ACK);
}

/* A segment that answers `arrival` and belongs to no connection. */
static void raw_answer(struct salvo_tcp *tcp, const struct tcp_arrival *arrival, uint32_t seq,
                       uint32_t ack, uint8_t flags, const uint32_t *timestamps)
{
    uint32_t size = SALVO_TCP_SIZE + (timestamps != NULL ? 12u : 0u);
    struct tcp_raw *raw = salvo_tcp_raw_claim(tcp);

    if (raw == NULL)
        return;
    uint8_t *segment = salvo_tcp_raw_headers(tcp, raw, arrival->source_mac, &arrival->ip->target,
                                             &arrival->ip->source, SALVO_IP_PROTOCOL_TCP, 64, size);
    memset(segment, 0, size);
    salvo_store_be16(segment, arrival->target_port);
    salvo_store_be16(segment + 2, arrival->source_port);
    salvo_store_be32(segment + 4, seq);
    salvo_store_be32(segment + 8, ack);
    segment[12] = (uint8_t)(size / 4 << 4);
    segment[13] = flags;
    if (timestamps != NULL) {
        salvo_store_be32(segment + 20, 0x0101080a);
        salvo_store_be32(segment + 24, timestamps[0]);
        salvo_store_be32(segment + 28, timestamps[1]);
    }
    uint64_t sum =
        salvo_sum_pseudo(&arrival->ip->target, &arrival->ip->source, SALVO_IP_PROTOCOL_TCP, size);
    uint16_t checksum = salvo_sum_finish(salvo_sum_bytes(segment, size, sum));
    memcpy(segment + 16, &checksum, 2);
}

/* RFC 9293 section 3.5.2, group 1: a RST that the peer will accept. */
void salvo_tcp_reset_answer(struct salvo_tcp *tcp, const struct tcp_arrival *arrival)
{
    if (arrival->flags & TCP_RST)
        return;
    tcp->stats.resets_out++;
    if (arrival->flags & TCP_ACK) {
        raw_answer(tcp, arrival, arrival->ack, 0, TCP_RST, NULL);
        return;
    }
    uint32_t length =
        arrival->size + ((arrival->flags & TCP_SYN) ? 1 : 0) + ((arrival->flags & TCP_FIN) ? 1 : 0);
    raw_answer(tcp, arrival, 0, arrival->seq + length, TCP_RST | TCP_ACK, NULL);
}

/* RFC 9293 section 3.10.7.4, TIME-WAIT: the FIN came again, so our ACK was lost. */
void salvo_tcp_time_wait_answer(struct salvo_tcp *tcp, const struct tcp_time_wait *wait,
                                const struct tcp_arrival *arrival, int64_t now_us)
{
    uint32_t timestamps[2] = {wait->timestamp_offset + (uint32_t)(uint64_t)(now_us / 1000),
                              wait->timestamp_recent};

    raw_answer(tcp, arrival, wait->send_next, wait->receive_next, TCP_ACK,
               wait->timestamps ? timestamps : NULL);
}
