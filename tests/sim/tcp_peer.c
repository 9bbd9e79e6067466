/* See tcp_peer.h. */
#include "tests/sim/tcp_peer.h"

#include <string.h>

#define SEND_WINDOW_SEGMENTS 8

uint8_t tcp_peer_byte(unsigned side, uint32_t offset)
{
    uint32_t x = (offset + 1) * 2654435761u + side * 40503u;

    return (uint8_t)(x >> 24 ^ x >> 11);
}

void tcp_peer_init(struct tcp_peer *peer, const struct tcp_peer_config *config, uint8_t *have)
{
    memset(peer, 0, sizeof(*peer));
    peer->config = *config;
    if (config->stream_max == 0) {
        peer->config.stream_max = TCP_PEER_STREAM_MAX;
        memset(have, 0, TCP_PEER_STREAM_MAX);
    }
    peer->have = have;
    peer->buffer_now = config->buffer_size;
    peer->resend_wait_us = 300000;
}

static uint32_t window(const struct tcp_peer *peer)
{
    uint32_t used = peer->next - peer->read;
    uint32_t room = peer->buffer_now > used ? peer->buffer_now - used : 0;

    return SALVO_MIN(room >> peer->shift_ours, 65535u);
}

static void take_syn(struct tcp_peer *peer, const struct wire_segment *s)
{
    peer->irs = s->seq;
    peer->sack = peer->config.sack && s->sack_permitted;
    peer->timestamps = peer->config.timestamps && s->has_timestamp;
    bool scale = peer->config.shift >= 0 && s->shift >= 0;
    peer->shift_ours = scale ? peer->config.shift : 0;
    peer->shift_theirs = scale ? s->shift : 0;
    peer->mss_theirs = SALVO_MIN(s->mss == 0 ? 536u : s->mss, (uint32_t)peer->config.mss);
    peer->mss_theirs -= peer->timestamps ? 12 : 0;
    peer->window = s->window;
    peer->timestamp_recent = s->timestamp;
    peer->state = PEER_OPEN;
    peer->ack_now = true; /* the SYN-ACK */
}

/* The ACK and window of a segment. */
static void take_ack(struct tcp_peer *peer, const struct wire_segment *s, int64_t now_us)
{
    uint32_t acked = s->ack - peer->config.isn - 1;

    if (!peer->syn_acked) {
        if (s->ack == peer->config.isn)
            return;
        peer->syn_acked = true;
        peer->resend_us = 0;
    }
    if (acked > peer->sent_max + (peer->fin_sent ? 1 : 0)) {
        peer->wrong = "acknowledges what was not sent";
        return;
    }
    if ((int32_t)(acked - peer->una) < 0)
        return;
    peer->window = (uint32_t)s->window << peer->shift_theirs;
    if (peer->fin_sent && acked == peer->config.send_total + 1)
        peer->fin_acked = true;
    acked = SALVO_MIN(acked, peer->config.send_total);
    if (acked > peer->una) {
        peer->una = acked;
        peer->sent = SALVO_MAX(peer->sent, acked);
        peer->resend_wait_us = 300000;
        peer->resend_us = now_us + peer->resend_wait_us;
    }
}

/* Whether the byte is what it has to be; a new one of a real stream is kept. */
static bool byte_right(struct tcp_peer *peer, uint32_t offset, uint8_t byte)
{
    uint8_t *kept = peer->config.bytes_in;

    if (kept == NULL)
        return byte == tcp_peer_byte(0, offset);
    if (offset >= peer->config.stream_max)
        return true;
    if (!peer->have[offset])
        kept[offset] = byte;
    return kept[offset] == byte;
}

static void take_bytes(struct tcp_peer *peer, const struct wire_segment *s, uint32_t start)
{
    uint32_t edge = peer->read + peer->buffer_now;

    for (uint32_t i = 0; i < s->size; i++) {
        uint32_t offset = start + i;
        if (!byte_right(peer, offset, s->payload[i])) {
            peer->wrong = "sends a wrong byte";
            return;
        }
        if (offset < peer->next || offset >= edge || offset >= peer->config.stream_max) {
            peer->bytes_refused += offset >= edge;
            continue;
        }
        peer->have[offset] = 1;
        peer->highest = SALVO_MAX(peer->highest, offset + 1);
    }
    while (peer->next < peer->highest && peer->have[peer->next])
        peer->next++;
}

static void take_payload(struct tcp_peer *peer, const struct wire_segment *s, int64_t now_us)
{
    uint32_t start = s->seq - peer->irs - 1;
    uint32_t before = peer->next;

    if (s->size != 0) {
        if ((int32_t)start < 0 && (int32_t)(start + s->size) > 0) {
            peer->wrong = "sends data over its SYN";
            return;
        }
        if ((int32_t)start >= 0)
            take_bytes(peer, s, start);
        peer->last_start = start;
        /* Early, old or beyond the window: answered at once. */
        if (start != before || peer->next != start + s->size || peer->highest > peer->next)
            peer->ack_now = true;
        else if (++peer->segments_unacked >= peer->config.ack_every)
            peer->ack_now = true;
        else if (peer->ack_due_us == 0)
            peer->ack_due_us = now_us + peer->config.delayed_ack_us;
    }
    if (s->flags & WIRE_FIN) {
        uint32_t at = start + s->size;
        if (peer->fin_known && peer->fin_at != at)
            peer->wrong = "moves its FIN";
        peer->fin_known = true;
        peer->fin_at = at;
        peer->ack_now = true;
    }
    if (peer->fin_known && peer->next > peer->fin_at)
        peer->wrong = "sends bytes behind its FIN";
    if (peer->fin_known && peer->next == peer->fin_at && !peer->fin_taken)
        peer->fin_taken = peer->ack_now = true;
}

void tcp_peer_input(struct tcp_peer *peer, const struct wire_segment *s, int64_t now_us)
{
    if (s->flags & WIRE_RST) {
        peer->state = PEER_RESET;
        return;
    }
    if (s->flags & WIRE_SYN) {
        if (peer->state == PEER_LISTEN)
            take_syn(peer, s);
        else if (s->seq == peer->irs)
            peer->ack_now = true;
        return;
    }
    if (peer->state != PEER_OPEN || !(s->flags & WIRE_ACK))
        return;
    if (peer->timestamps) {
        if (!s->has_timestamp) {
            peer->wrong = "leaves the timestamp out";
            return;
        }
        if ((int32_t)(s->timestamp - peer->timestamp_recent) >= 0 &&
            (int32_t)(s->seq - peer->irs - 1 - peer->ack_told) <= 0)
            peer->timestamp_recent = s->timestamp;
    }
    /* A bare segment with an old number is a keepalive, or late: it is answered. */
    if (s->size == 0 && !(s->flags & WIRE_FIN) &&
        (int32_t)(s->seq - peer->irs - 1 - peer->next) < 0)
        peer->ack_now = true;
    take_ack(peer, s, now_us);
    take_payload(peer, s, now_us);
}

static void add_block(const struct tcp_peer *peer, struct wire_segment *s, uint32_t start,
                      uint32_t end)
{
    for (unsigned i = 0; i < s->sack_count; i++)
        if (s->sack[i][0] == start + peer->irs + 1)
            return;
    if (s->sack_count == (peer->timestamps ? 3u : 4u))
        return;
    s->sack[s->sack_count][0] = start + peer->irs + 1;
    s->sack[s->sack_count++][1] = end + peer->irs + 1;
}

/* The block of the newest segment first, then from the left. */
static void fill_sack(const struct tcp_peer *peer, struct wire_segment *s)
{
    if (!peer->sack || peer->highest <= peer->next)
        return;
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t at = peer->next; at < peer->highest;) {
            while (at < peer->highest && !peer->have[at])
                at++;
            uint32_t start = at;
            while (at < peer->highest && peer->have[at])
                at++;
            if (start < at && (pass == 1 || (peer->last_start >= start && peer->last_start < at)))
                add_block(peer, s, start, at);
        }
    }
}

static uint32_t ack_number(struct tcp_peer *peer)
{
    uint32_t ack = peer->next + (peer->fin_taken ? 1 : 0);

    /* A silly peer acknowledges half of what is new, in the middle of segments. */
    if (peer->config.splits_acks && !peer->fin_taken && ack - peer->ack_told > 1 &&
        salvo_random_chance(peer->config.random, 1, 3)) {
        ack = peer->ack_told + 1 +
              (uint32_t)salvo_random_below(peer->config.random, ack - peer->ack_told);
        peer->segments_unacked = 1;
        peer->ack_due_us = 1; /* the rest soon */
        peer->acks_split++;
    }
    peer->ack_told = SALVO_MAX(peer->ack_told, ack);
    return peer->irs + 1 + peer->ack_told;
}

static void fill(struct tcp_peer *peer, struct wire_segment *s, int64_t now_us)
{
    peer->ack_now = false;
    peer->segments_unacked = 0;
    peer->ack_due_us = 0;
    s->flags |= WIRE_ACK;
    s->ack = ack_number(peer);
    s->window = (uint16_t)window(peer);
    s->has_timestamp = peer->timestamps;
    s->timestamp = peer->config.timestamp_0 + (uint32_t)((now_us - peer->config.start_us) / 1000);
    s->echo = peer->timestamp_recent;
    if (s->size == 0 && !(s->flags & WIRE_SYN))
        fill_sack(peer, s);
}

static bool output_synack(struct tcp_peer *peer, int64_t now_us, struct wire_segment *s)
{
    if (!peer->ack_now)
        return false;
    s->seq = peer->config.isn;
    s->flags = WIRE_SYN;
    fill(peer, s, now_us);
    s->ack = peer->irs + 1;
    s->window = (uint16_t)SALVO_MIN(peer->buffer_now, 65535u);
    peer->resend_us = now_us + peer->resend_wait_us;
    s->mss = peer->config.mss;
    s->shift = peer->config.shift;
    s->sack_permitted = peer->sack;
    return true;
}

bool tcp_peer_output(struct tcp_peer *peer, int64_t now_us, struct wire_segment *s,
                     uint8_t *payload)
{
    uint32_t total = peer->config.send_total;
    uint32_t room = SALVO_MIN(peer->window, SEND_WINDOW_SEGMENTS * peer->mss_theirs);
    if (room == 0 && peer->probe_due)
        room = 1;
    bool may_close = peer->config.fin_at_once || peer->fin_taken;

    *s = (struct wire_segment){.shift = -1, .payload = payload};
    if (peer->state != PEER_OPEN)
        return false;
    if (!peer->syn_acked)
        return output_synack(peer, now_us, s);
    if (peer->sent < total && peer->sent - peer->una < room) {
        s->size = SALVO_MIN(SALVO_MIN(total - peer->sent, peer->mss_theirs),
                            room - (peer->sent - peer->una));
        for (uint32_t i = 0; i < s->size; i++)
            payload[i] = peer->config.bytes_out != NULL ? peer->config.bytes_out[peer->sent + i]
                                                        : tcp_peer_byte(1, peer->sent + i);
        s->seq = peer->config.isn + 1 + peer->sent;
        peer->sent += s->size;
        peer->sent_max = SALVO_MAX(peer->sent_max, peer->sent);
    } else if (peer->sent == total && may_close && !peer->fin_acked && peer->resend_us == 0) {
        s->seq = peer->config.isn + 1 + total;
        s->flags = WIRE_FIN;
        peer->fin_sent = true;
    } else if (peer->ack_now) {
        s->seq = peer->config.isn + 1 + peer->sent_max + (peer->fin_sent ? 1 : 0);
    } else {
        if (peer->sent < total && room == 0 &&
            peer->resend_us == 0) /* probes a shut window later */
            peer->resend_us = now_us + peer->resend_wait_us;
        return false;
    }
    if (s->size != 0)
        peer->probe_due = false;
    if ((s->size != 0 || s->flags & WIRE_FIN) && peer->resend_us == 0)
        peer->resend_us = now_us + peer->resend_wait_us;
    fill(peer, s, now_us);
    return true;
}

int64_t tcp_peer_deadline_us(const struct tcp_peer *peer)
{
    int64_t due_us = INT64_MAX;

    if (peer->state != PEER_OPEN)
        return due_us;
    if (peer->ack_due_us != 0)
        due_us = peer->ack_due_us;
    if (peer->resend_us != 0)
        due_us = SALVO_MIN(due_us, peer->resend_us);
    return due_us;
}

void tcp_peer_tick(struct tcp_peer *peer, int64_t now_us)
{
    if (peer->ack_due_us != 0 && peer->ack_due_us <= now_us) {
        peer->ack_due_us = 0;
        peer->ack_now = true;
    }
    if (peer->resend_us != 0 && peer->resend_us <= now_us) {
        peer->sent = peer->una; /* go back N; the FIN goes again too, when resend_us is 0 */
        peer->resend_us = 0;
        peer->probe_due = true;
        peer->ack_now |= !peer->syn_acked; /* the SYN-ACK */
        peer->resend_wait_us = SALVO_MIN(peer->resend_wait_us * 2, INT64_C(2000000));
    }
    if (peer->syn_acked && peer->una == peer->config.send_total &&
        (peer->fin_acked || !peer->fin_sent))
        peer->resend_us = 0;
}

void tcp_peer_read(struct tcp_peer *peer, uint32_t size, int64_t now_us)
{
    uint32_t taken = SALVO_MIN(size, peer->next - peer->read);
    uint32_t buffer = peer->buffer_now, edge = peer->read + buffer;

    peer->read += taken;
    if (peer->config.shrinks && salvo_random_chance(peer->config.random, 1, 8))
        peer->buffer_now =
            peer->config.buffer_size / (1 + (uint32_t)salvo_random_below(peer->config.random, 4));
    peer->shrunk += peer->read + peer->buffer_now < edge;
    if (peer->config.reneges && now_us >= peer->renege_due_us &&
        salvo_random_chance(peer->config.random, 1, 40)) {
        peer->renege_due_us = now_us + 50000;
        for (uint32_t i = peer->next; i < peer->highest; i++) {
            peer->bytes_refused += peer->have[i];
            peer->have[i] = 0;
        }
        peer->reneged += peer->highest != peer->next;
        peer->highest = peer->next;
    }
    /* A window update with every read, as eager peers send them: they look like duplicate ACKs. */
    if (peer->state == PEER_OPEN && peer->syn_acked && (taken != 0 || peer->buffer_now != buffer))
        peer->ack_now = true;
}

bool tcp_peer_done(const struct tcp_peer *peer)
{
    return peer->fin_taken && peer->fin_acked && peer->una == peer->config.send_total;
}
