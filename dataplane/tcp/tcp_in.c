/* Segment arrival: RFC 9293 section 3.10.7, with RFC 7323 (timestamps) and RFC 5961 (blind
 * attacks).
 *
 * Nothing a peer sends is asserted: it is parsed, checked, and used, answered or dropped. */
#include "dataplane/tcp/tcp_conn.h"

#define OPTION_END            0
#define OPTION_NOP            1
#define OPTION_MSS            2
#define OPTION_WINDOW_SCALE   3
#define OPTION_SACK_PERMITTED 4
#define OPTION_SACK           5
#define OPTION_TIMESTAMPS     8

static void parse_sack(struct salvo_reader *r, struct tcp_arrival *arrival)
{
    while (salvo_reader_left(r) >= 8 && arrival->sack_count < TCP_SACK_BLOCKS_MAX) {
        arrival->sack_start[arrival->sack_count] = salvo_read_u32(r);
        arrival->sack_end[arrival->sack_count] = salvo_read_u32(r);
        arrival->sack_count++;
    }
}

/* One option's value. Options that make sense only in a SYN are taken only there (RFC 9293
 * section 3.2). */
static void parse_option(uint8_t kind, struct salvo_reader value, struct tcp_arrival *arrival)
{
    bool syn = arrival->flags & TCP_SYN;
    size_t size = salvo_reader_left(&value);

    if (kind == OPTION_MSS && syn && size == 2) {
        arrival->mss = salvo_read_u16(&value);
    } else if (kind == OPTION_WINDOW_SCALE && syn && size == 1) {
        uint8_t shift = salvo_read_u8(&value);
        arrival->shift = SALVO_MIN(shift, (uint8_t)14); /* RFC 7323 section 2.3 */
    } else if (kind == OPTION_SACK_PERMITTED && syn && size == 0) {
        arrival->sack_permitted = true;
    } else if (kind == OPTION_SACK && size % 8 == 0) {
        parse_sack(&value, arrival);
    } else if (kind == OPTION_TIMESTAMPS && size == 8) {
        arrival->has_timestamp = true;
        arrival->timestamp = salvo_read_u32(&value);
        arrival->timestamp_echo = salvo_read_u32(&value);
    }
}

/* At most 40 bytes. A broken length ends the reading: what came before it holds (RFC 9293, MUST-7).
 */
static void parse_options(const uint8_t *bytes, uint32_t size, struct tcp_arrival *arrival)
{
    /* Two NOPs and the timestamps in front, as RFC 7323, appendix A, writes them: nearly always. */
    if (SALVO_LIKELY(size >= 12 && salvo_load_be32(bytes) == 0x0101080a)) {
        arrival->has_timestamp = true;
        arrival->timestamp = salvo_load_be32(bytes + 4);
        arrival->timestamp_echo = salvo_load_be32(bytes + 8);
        bytes += 12, size -= 12;
    }
    struct salvo_reader r = salvo_reader_over(bytes, size);

    while (salvo_reader_left(&r) != 0) {
        uint8_t kind = salvo_read_u8(&r);
        if (kind == OPTION_END)
            return;
        if (kind == OPTION_NOP)
            continue;
        uint8_t length = salvo_read_u8(&r);
        const uint8_t *value = length < 2 ? NULL : salvo_read_bytes(&r, length - 2u);
        if (value == NULL)
            return;
        parse_option(kind, salvo_reader_over(value, length - 2u), arrival);
    }
}

/*   0           2             4     8     12            13      14       16         18       20
 *   | from port | to port     | seq | ack | size, 4 bit | flags | window | checksum | urgent |
 * options ... */
static bool parse_segment(const struct salvo_ip_packet *ip, struct tcp_arrival *arrival)
{
    const uint8_t *p = ip->payload;

    if (ip->payload_size < SALVO_TCP_SIZE)
        return false;
    uint32_t header_size = (uint32_t)(p[12] >> 4) * 4;
    if (header_size < SALVO_TCP_SIZE || header_size > ip->payload_size)
        return false;
    arrival->ip = ip;
    arrival->payload = p + header_size;
    arrival->size = ip->payload_size - header_size;
    arrival->source_port = salvo_load_be16(p);
    arrival->target_port = salvo_load_be16(p + 2);
    arrival->seq = salvo_load_be32(p + 4);
    arrival->ack = salvo_load_be32(p + 8);
    arrival->flags = p[13];
    arrival->window = salvo_load_be16(p + 14);
    /* The SACK blocks are left as they are: none is read before it was written. */
    arrival->shift = UINT8_MAX;
    arrival->mss = 0;
    arrival->sack_permitted = arrival->has_timestamp = false;
    arrival->sack_count = 0;
    arrival->timestamp = arrival->timestamp_echo = 0;
    parse_options(p + SALVO_TCP_SIZE, header_size - SALVO_TCP_SIZE, arrival);
    return true;
}

/* What the SYN's answer agrees to. An option is on when both said so. */
static void synack_options(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn,
                           const struct tcp_arrival *arrival, int64_t now_us)
{
    const struct salvo_tcp_config *c = &tcp->config;

    conn->sack = c->sack && arrival->sack_permitted;
    conn->timestamps = c->timestamps && arrival->has_timestamp;
    if (!c->window_scale || arrival->shift == UINT8_MAX)
        conn->receive.shift = conn->send.shift = 0; /* RFC 7323 section 2.2: both or neither */
    else
        conn->send.shift = arrival->shift;
    if (conn->timestamps) {
        conn->receive.timestamp_recent = arrival->timestamp;
        conn->receive.timestamp_recent_us = now_us;
    }
    if (arrival->mss !=
        0) /* 64: what would be all header otherwise (Linux has 48; CVE-2019-11479) */
        conn->send.mss_peer = SALVO_MAX(arrival->mss, (uint16_t)64);
    salvo_tcp_mss_update(conn);
}

static void synack_in(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn,
                      const struct tcp_arrival *arrival, int64_t now_us)
{
    struct tcp_receiver *r = &conn->receive;
    bool syn_lost = conn->timeouts != 0;

    synack_options(tcp, conn, arrival, now_us);
    r->irs = (UINT64_C(1) << 32) + arrival->seq;
    r->next = r->consumed = r->reported = r->acked = r->irs + 1;
    /* The SYN's window is not scaled (RFC 7323 section 2.2), and was all we told. */
    r->advertised = r->next + SALVO_MIN(tcp->config.receive_size, 65535u);
    r->mss_seen = 536;

    conn->state = SALVO_TCP_ESTABLISHED;
    conn->send.una = conn->send.next = conn->send.max = conn->send.iss + 1;
    conn->send.window = conn->send.window_max = arrival->window; /* unscaled in a SYN */
    conn->send.wl1 = r->irs;
    conn->send.wl2 = conn->send.una;
    conn->timer = TCP_TIMER_NONE;
    conn->rtt.backoff = 0;
    conn->timeouts = 0;
    conn->syn_wanted = false;
    conn->progress_us = conn->heard_us = now_us;
    if (!syn_lost) /* Karn, RFC 6298 section 3 */
        salvo_tcp_rtt_sample(tcp, conn, now_us - conn->sent_us, true, now_us);
    else /* RFC 6298 section 5.7 */
        conn->rtt.rto_us =
            SALVO_MIN(SALVO_MAX(conn->rtt.rto_us, INT64_C(3000000)), tcp->config.rto_max_us);
    salvo_tcp_cc_init(tcp, conn, syn_lost);
    salvo_tcp_wake_by(tcp, conn, now_us + SALVO_MAX(tcp->config.keepalive_us, INT64_C(1000000)));
    conn->event_up = true;
    salvo_tcp_note_event(tcp, conn);
    salvo_tcp_ack_now(tcp, conn);
}

/* RFC 9293 section 3.10.7.3. */
static void syn_sent_in(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn,
                        const struct tcp_arrival *arrival, int64_t now_us)
{
    /* conn->send.max tells whether the SYN went out at all. */
    bool ack_good = (arrival->flags & TCP_ACK) && conn->send.max != conn->send.iss &&
                    arrival->ack == (uint32_t)(conn->send.iss + 1);

    if ((arrival->flags & TCP_ACK) && !ack_good) {
        salvo_tcp_reset_answer(tcp, arrival); /* an old connection's: let the peer forget it */
        return;
    }
    if (arrival->flags & TCP_RST) {
        tcp->stats.resets_in++;
        if (ack_good)
            salvo_tcp_down(tcp, conn, SALVO_TCP_REASON_REFUSED);
        return;
    }
    /* A SYN without ACK would be a simultaneous open, which two clients do; brokers do not. */
    if ((arrival->flags & TCP_SYN) && ack_good)
        synack_in(tcp, conn, arrival, now_us);
}

/* RFC 7323 section 5.3 R1: an older timestamp than the last in order is an old duplicate. A recent
 * value of more than 24 days says nothing any more (section 5.5). */
static bool timestamp_too_old(const struct salvo_tcp_conn *conn, const struct tcp_arrival *arrival,
                              int64_t now_us)
{
    const struct tcp_receiver *r = &conn->receive;

    return (int32_t)(arrival->timestamp - r->timestamp_recent) < 0 &&
           now_us - r->timestamp_recent_us <= INT64_C(24) * 86400 * 1000000;
}

/* RFC 9293 section 3.10.7.4 "first": any of it in the window. A bare ACK may stand on the right
 * edge: a peer that has filled the window, and whose first segment was lost, sends them from there.
 */
static bool seq_acceptable(const struct salvo_tcp_conn *conn, const struct tcp_arrival *arrival,
                           uint64_t seq)
{
    const struct tcp_receiver *r = &conn->receive;
    uint64_t end = seq + arrival->size + ((arrival->flags & TCP_FIN) ? 1 : 0);

    if (end == seq)
        return seq >= r->next && seq <= r->advertised;
    /* With the window shut the valid ACK of a segment is still used; its data is not. */
    return end > r->next && (seq < r->advertised || seq == r->next);
}

/* RFC 5961 section 3.2: only the exact next number resets; others in the window are asked about. */
static void reset_in(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, uint64_t seq,
                     int64_t now_us)
{
    if (seq == conn->receive.next) {
        tcp->stats.resets_in++;
        /* In LAST-ACK and CLOSING all of the peer's is here, and our FIN has reached it. */
        salvo_tcp_down(tcp, conn,
                       conn->state == SALVO_TCP_LAST_ACK || conn->state == SALVO_TCP_CLOSING
                           ? SALVO_TCP_REASON_CLOSED
                           : SALVO_TCP_REASON_RESET);
    } else if (seq > conn->receive.next &&
               seq < SALVO_MAX(conn->receive.advertised, conn->receive.next + 1)) {
        salvo_tcp_challenge(tcp, conn, now_us);
    }
}

/* Everything up to the ACK of RFC 9293 section 3.10.7.4. False when the segment ends here. */
static bool synchronized_check(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn,
                               const struct tcp_arrival *arrival, uint64_t seq, int64_t now_us)
{
    bool reset = arrival->flags & TCP_RST;

    if (conn->timestamps &&
        !reset) { /* RFC 7323 section 3.2: without one it is dropped; RST may lack it */
        if (!arrival->has_timestamp)
            return false;
        if (timestamp_too_old(conn, arrival, now_us)) {
            tcp->stats.paws_rejected++;
            salvo_tcp_challenge(tcp, conn, now_us);
            return false;
        }
    }
    if (reset) {
        reset_in(tcp, conn, seq, now_us);
        return false;
    }
    if (arrival->flags & TCP_SYN) { /* RFC 5961 section 4.2: whatever its number */
        salvo_tcp_challenge(tcp, conn, now_us);
        return false;
    }
    if (!seq_acceptable(conn, arrival, seq)) {
        /* Data is answered always: a retransmission means that our ACK was lost. Bare ACKs,
         * keepalive probes among them, up to the limit: two confused peers must not talk for ever.
         */
        if (arrival->size != 0 || (arrival->flags & TCP_FIN)) {
            if (arrival->size != 0 && seq + arrival->size <= conn->receive.next) {
                tcp->stats.duplicates++;
                conn->receive.duplicate_start = seq; /* RFC 2883 section 4 */
                conn->receive.duplicate_end = seq + arrival->size;
            }
            salvo_tcp_ack_now(tcp, conn);
        } else {
            salvo_tcp_challenge(tcp, conn, now_us);
        }
        return false;
    }
    return arrival->flags & TCP_ACK;
}

static void synchronized_in(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn,
                            const struct tcp_arrival *arrival, int64_t now_us)
{
    struct tcp_receiver *r = &conn->receive;
    uint64_t seq = tcp_wide(r->next, arrival->seq);

    if (!synchronized_check(tcp, conn, arrival, seq, now_us))
        return;
    conn->heard_us = now_us;
    conn->keepalive_count = 0;
    if (!salvo_tcp_ack_in(tcp, conn, arrival, now_us))
        return;
    /* RFC 7323 section 4.3: of the segment that holds what was last acknowledged. What passed the
     * check though it is smaller did so because the recent value is too old to mean anything. After
     * the ACK's check: a forged one would have all that follows rejected as old. */
    if (conn->timestamps && seq <= r->acked) {
        r->timestamp_recent = arrival->timestamp;
        r->timestamp_recent_us = now_us;
    }
    if (arrival->size != 0 || (arrival->flags & TCP_FIN))
        salvo_tcp_payload_in(tcp, conn, arrival, seq, now_us);
}

/* RFC 9293 section 3.10.7.1 and TIME-WAIT of 3.10.7.4. */
static void unknown_in(struct salvo_tcp *tcp, const struct tcp_arrival *arrival, int64_t now_us)
{
    struct tcp_time_wait *wait = salvo_tcp_time_wait_find(
        tcp, &arrival->ip->source, arrival->source_port, arrival->target_port);

    if (wait != NULL && now_us < wait->until_us) {
        /* RFC 1337: a RST does not end TIME-WAIT. */
        if (arrival->flags & TCP_RST)
            return;
        if (arrival->size != 0 || (arrival->flags & (TCP_FIN | TCP_SYN)))
            salvo_tcp_time_wait_answer(tcp, wait, arrival, now_us);
        return;
    }
    tcp->stats.segments_unknown++;
    if (tcp->config.reset_unknown && !(arrival->flags & TCP_RST))
        salvo_tcp_reset_answer(tcp, arrival);
}

void salvo_tcp_segment_in(struct salvo_tcp *tcp, const struct salvo_ip_packet *ip,
                          const uint8_t *source_mac, bool checksum_verified, int64_t now_us)
{
    struct tcp_arrival arrival;

    if (!checksum_verified) {
        uint64_t sum =
            salvo_sum_pseudo(&ip->source, &ip->target, SALVO_IP_PROTOCOL_TCP, ip->payload_size);
        if (salvo_sum_fold(salvo_sum_bytes(ip->payload, ip->payload_size, sum)) != 0xffff) {
            tcp->stats.checksum_wrong++;
            return;
        }
    }
    if (!parse_segment(ip, &arrival)) {
        tcp->stats.frames_malformed++;
        return;
    }
    tcp->stats.segments_in++;
    arrival.source_mac = source_mac;
    struct salvo_tcp_conn *conn =
        salvo_tcp_find(tcp, &ip->source, arrival.source_port, arrival.target_port);
    if (conn == NULL)
        unknown_in(tcp, &arrival, now_us);
    else if (conn->state == SALVO_TCP_SYN_SENT)
        syn_sent_in(tcp, conn, &arrival, now_us);
    else
        synchronized_in(tcp, conn, &arrival, now_us);
}
