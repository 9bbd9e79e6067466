/* See rig.h. Every packet put out is checked when it is noted: its form, its checksums, and that
 * its bytes are those that were given and not yet released. */
#include "tests/packet/rig.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct rig rig;
sigjmp_buf rig_failed;
const uint8_t rig_peer_mac[6] = {2, 0, 0, 0, 0, 2};
const uint8_t rig_our_mac[6] = {2, 0, 0, 0, 0, 1};
uint8_t rig_stream[STREAM_SIZE];

_Noreturn void rig_fail(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fprintf(stderr, "%s:%d: ", rig.path, rig.line);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, " (at %lld us)\n", (long long)rig.now_us);
    va_end(arguments);
    siglongjmp(rig_failed, 1);
}

void rig_address(uint8_t bytes[16], uint8_t last)
{
    static const uint8_t six[16] = {0x20, 1, 0xd, 0xb8};
    static const uint8_t four[16] = {10};

    memcpy(bytes, rig.six ? six : four, 16);
    bytes[rig.six ? 15 : 3] = last;
}

struct peer *rig_peer_of_port(uint16_t port)
{
    for (int i = 0; i < rig.peer_count; i++)
        if (rig.peers[i].port == port || rig.peers[i].port == 0)
            return &rig.peers[i];
    return NULL;
}

/* Bytes of ours must be the stream's, whatever was retransmitted and how it was cut. */
static void note_payload(struct peer *p, const struct wire_segment *s)
{
    uint32_t offset = s->seq - p->iss - 1;

    if (s->size == 0)
        return;
    if (offset + (uint64_t)s->size > p->sent)
        rig_fail("packet carries %u:%u, but only %llu bytes were given", offset + 1,
                 offset + 1 + s->size, (unsigned long long)p->sent);
    if (offset < p->released)
        rig_fail("packet carries byte %u, which was released", offset);
    if (memcmp(s->payload, rig_stream + offset, s->size) != 0)
        rig_fail("wrong bytes in %u:%u", offset + 1, offset + 1 + s->size);
}

static void note_segment(struct noted *n)
{
    struct peer *p = rig_peer_of_port(n->segment.source_port);

    if (p == NULL)
        return;
    if (n->segment.flags & WIRE_SYN) {
        p->iss = n->segment.seq;
        p->port = n->segment.source_port;
        p->shift = n->segment.shift < 0 ? 0 : n->segment.shift;
        if (n->segment.has_timestamp && p->timestamp_last == 0)
            p->timestamp_0 = n->segment.timestamp;
    }
    if (n->segment.has_timestamp)
        p->timestamp_last = n->segment.timestamp;
    note_payload(p, &n->segment);
    rig.last_sent = n->segment;
    n->segment.payload = NULL;
}

/* Neighbours are answered for by the runner unless a script wants to see the questions. */
static bool note_neighbour(const struct noted *n)
{
    uint8_t frame[128];
    uint32_t size = 0;

    if (rig.arp_manual)
        return false;
    if (n->kind == WIRE_ARP_ASK)
        size = wire_arp(frame, 2, rig_peer_mac, n->segment.target, rig_our_mac, n->segment.source);
    else if (n->kind == WIRE_ND_ASK)
        size = wire_nd(frame, 136, 255, rig_peer_mac, n->segment.target, rig_our_mac,
                       n->segment.source, n->segment.target);
    else
        return false;
    salvo_tcp_input(rig.tcp, frame, size, false, rig.now_us);
    return true;
}

static void take_events(void)
{
    unsigned n;

    while ((n = salvo_tcp_events(rig.tcp, rig.events + rig.event_tail, 16)) != 0) {
        for (unsigned i = 0; i < n; i++) {
            const struct salvo_tcp_event *e = &rig.events[rig.event_tail + (int)i];
            struct peer *p = &rig.peers[e->cookie];
            if (e->kind == SALVO_TCP_RELEASED)
                p->released += e->bytes;
            if (p->released > p->sent)
                rig_fail("released %llu of %llu bytes", (unsigned long long)p->released,
                         (unsigned long long)p->sent);
            if (e->kind == SALVO_TCP_DOWN && p->released != p->sent)
                rig_fail("DOWN with %llu of %llu bytes released", (unsigned long long)p->released,
                         (unsigned long long)p->sent);
        }
        rig.event_tail += (int)n;
        if (rig.event_tail + 16 > EVENTS_MAX)
            rig_fail("too many events");
    }
}

static void note_frame(const uint8_t *frame, uint32_t size)
{
    struct noted *n = &rig.packets[rig.packet_tail];
    const char *bad;

    n->at_us = rig.now_us;
    n->kind = wire_parse(frame, size, &n->segment, &bad);
    n->size = size;
    if (n->kind == WIRE_BAD)
        rig_fail("a malformed packet was sent: %s", bad);
    if (n->kind == WIRE_TCP)
        note_segment(n);
    if (!note_neighbour(n) && ++rig.packet_tail == PACKETS_MAX)
        rig_fail("too many packets");
}

/* Everything that is to be sent now is noted. */
void rig_drain(void)
{
    static uint8_t frame[WIRE_FRAME_MAX];
    struct salvo_tcp_packet packet;

    while (!rig.link_down && salvo_tcp_output(rig.tcp, rig.now_us, UINT32_MAX, &packet)) {
        struct tcp_frames frames = {0};
        uint32_t size;

        while ((size = tcp_frame_next(rig.tcp, &packet, &frames, frame)) != 0)
            note_frame(frame, size);
        tcp_check(rig.tcp);
    }
    take_events();
    tcp_check(rig.tcp);
}

/* To `at_us`, stopping at the first packet if asked to. */
void rig_advance(int64_t at_us, bool stop_at_packet)
{
    for (;;) {
        if (stop_at_packet && rig.packet_head != rig.packet_tail)
            return;
        int64_t next_us = salvo_tcp_deadline_us(rig.tcp);
        if (next_us > at_us)
            break;
        rig.now_us = SALVO_MAX(rig.now_us, next_us);
        salvo_tcp_timers(rig.tcp, rig.now_us);
        if (salvo_tcp_deadline_us(rig.tcp) <= rig.now_us)
            rig_fail("timers() left a deadline behind");
        rig_drain();
    }
    rig.now_us = at_us;
}

static const char *flags_text(uint8_t flags)
{
    static char text[8];
    size_t n = 0;

    for (unsigned i = 0; i < 5; i++)
        if (flags & (uint8_t[]){WIRE_SYN, WIRE_FIN, WIRE_RST, WIRE_PSH, WIRE_ACK}[i])
            text[n++] = "SFRPA"[i];
    text[n] = '\0';
    return text;
}

const char *rig_noted_text(const struct noted *n)
{
    static char text[256];
    const struct wire_segment *s = &n->segment;
    const struct peer *p = rig_peer_of_port(s->source_port);
    static const char *kinds[] = {"bad",    "tcp",       "arp ask", "arp answer",
                                  "nd ask", "nd answer", "echo",    "other"};

    if (n->kind != WIRE_TCP) {
        snprintf(text, sizeof(text), "%s", kinds[n->kind]);
        return text;
    }
    uint32_t base = p == NULL ? 0 : p->iss;
    int at = snprintf(text, sizeof(text), "%s %u:%u ack %u win %u", flags_text(s->flags),
                      s->seq - base, s->seq - base + s->size, s->ack - rig.peer_isn, s->window);
    for (unsigned i = 0; i < s->sack_count; i++)
        at += snprintf(text + at, sizeof(text) - (size_t)at, " sack %u:%u",
                       s->sack[i][0] - rig.peer_isn, s->sack[i][1] - rig.peer_isn);
    snprintf(text + at, sizeof(text) - (size_t)at, " at %lld us", (long long)n->at_us);
    return text;
}

void rig_expect_no_packet(void)
{
    if (rig.packet_head != rig.packet_tail)
        rig_fail("unexpected packet: %s", rig_noted_text(&rig.packets[rig.packet_head]));
}
