/* TCP against a model peer over a bad link, in virtual time, from a seed.
 *
 *     tcp_sim                       the fixed seeds, 1 to 2,000, and the table of what they met
 *     tcp_sim --seed N              one, told packet by packet
 *     tcp_sim --first N --count M   others; --stop-at F ends after F failures
 *     tcp_sim --scene K ...         seeds of a scene of tcp_scene.c, counted from 1; 0: of each
 *
 * A seed draws the link (delay, jitter, loss, bursts of loss, reordering, duplication, corruption,
 * rate and queue), the family, the peer's options and vices, both machines' initial numbers and
 * timestamps (every third wraps), the size of packets that a device cuts, and how much goes each
 * way. What is checked:
 *
 * - Every byte, duplicates too, in both directions.
 * - Released memory is never sent from: it is overwritten on the spot.
 * - Exactly one DOWN, with the right reason; all slots, neighbours and timers come back.
 * - No stall: while there is something to send and the peer has room, una moves within STALL_RTOS
 *   timeouts, and WINDOW_LOST_US more when an update of its window was lost. The other way, while
 *   the application reads, the peer gets its ACKs within STALL_PEER_US.
 * - Bounded retransmission: check_bytes(). Bounded answers: a bare segment has a cause, an arrived
 *   one or a read.
 * - The books balance (tests/packet/check.h), and one seed gives the same packets twice.
 *
 * The fixed seeds as a whole must have met everything in the table of met_names. */
#include "tests/sim/tcp_sim.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Five timeouts in a row double to 31 of the first; at 10 % loss each way six in a row are not met.
 */
#define STALL_RTOS 64
/* Four probes of a shut window, one every rto_max at the worst. */
#define WINDOW_LOST_US (4 * RTO_MAX_US)
/* The peer sends again after 2 s at the latest: ten times. */
#define STALL_PEER_US INT64_C(20000000)
#define STEPS_MAX     3000000
#define HORIZON_US    INT64_C(3600000000)

static const char *const met_names[MET_COUNT] = {
    [MET_IP4] = "IPv4",
    [MET_IP6] = "IPv6",
    [MET_LOSS] = "loss",
    [MET_BURST] = "bursts of loss",
    [MET_REORDER] = "reordering",
    [MET_DUPLICATE] = "duplicates",
    [MET_CORRUPT] = "corruption",
    [MET_JITTER] = "jitter",
    [MET_QUEUE] = "a full queue",
    [MET_SEQ_WRAP] = "our numbers wrap",
    [MET_PEER_SEQ_WRAP] = "the peer's numbers wrap",
    [MET_TIMESTAMP_WRAP] = "our timestamps wrap",
    [MET_PEER_TIMESTAMP_WRAP] = "the peer's timestamps wrap",
    [MET_NO_SACK] = "no SACK",
    [MET_NO_TIMESTAMPS] = "no timestamps",
    [MET_NO_SCALING] = "no window scaling",
    [MET_WINDOW_SHRUNK] = "the peer's window shrinks",
    [MET_WINDOW_SHUT] = "probes of a shut window",
    [MET_RENEGED] = "SACKed data thrown away",
    [MET_ACKS_SPLIT] = "ACKs inside of segments",
    [MET_TIMEOUT] = "timeouts",
    [MET_TAIL_PROBE] = "tail loss probes",
    [MET_RECOVERY] = "recoveries",
    [MET_UNDONE] = "recoveries undone",
    [MET_PEER_CLOSED_FIRST] = "the peer closes first",
    [MET_CUT] = "packets that a device cuts",
    [MET_CUT_HERE] = "packets that are cut for a device",
    [MET_CUT_LOST_TWICE] = "several losses in such a packet",
    [MET_AGAIN_LOST] = "retransmissions lost",
};

const uint8_t tcp_sim_mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 2};

static void fail(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void fail(struct world *w, const char *format, ...)
{
    va_list arguments;

    if (w->failure[0] != '\0')
        return;
    va_start(arguments, format);
    vsnprintf(w->failure, sizeof(w->failure), format, arguments);
    va_end(arguments);
}

static void tell(const struct world *w, const char *way, const struct wire_segment *s)
{
    if (!w->loud)
        return;
    printf("%10.6f %s %s%s%s%s seq %u +%u ack %u win %u", (double)w->now_us / 1e6, way,
           s->flags & WIRE_SYN ? "S" : "", s->flags & WIRE_FIN ? "F" : "",
           s->flags & WIRE_RST ? "R" : "", s->flags & WIRE_ACK ? "A" : "", s->seq, s->size, s->ack,
           s->window);
    for (unsigned i = 0; i < s->sack_count; i++)
        printf(" sack %u:%u", s->sack[i][0], s->sack[i][1]);
    printf("\n");
}

static void carry(struct world *w, bool to_peer, const uint8_t *frame, uint32_t size,
                  uint32_t payload_size)
{
    for (uint32_t i = 0; i < size; i++)
        w->digest = (w->digest ^ frame[i]) * UINT64_C(0x100000001b3);
    if (!bad_link_carry(&w->links[to_peer ? 0 : 1], &w->air, to_peer, frame, size, payload_size,
                        w->now_us))
        fail(w, "too many packets on their way");
}

static void note_wraps(struct world *w, const struct wire_segment *s)
{
    if (s->flags & WIRE_SYN) {
        w->our_iss = s->seq;
        w->our_timestamp_0 = s->timestamp;
    }
    w->met[MET_SEQ_WRAP] |= s->seq < w->our_iss && s->size != 0;
    w->met[MET_TIMESTAMP_WRAP] |= s->has_timestamp && s->timestamp < w->our_timestamp_0;
    if (s->flags & WIRE_SYN) /* nothing of the peer's is in it */
        return;
    w->met[MET_PEER_SEQ_WRAP] |= s->ack < w->peer.config.isn && w->received != 0;
    w->met[MET_PEER_TIMESTAMP_WRAP] |= s->has_timestamp && s->echo < w->peer.config.timestamp_0;
}

/* Cuts a large packet as a device with segmentation offload does: FIN and PSH are the last one's.
 */
static void cut(struct world *w, const struct wire_segment *large, uint32_t segment_size)
{
    static uint8_t frame[WIRE_FRAME_MAX];
    uint64_t lost = w->links[0].lost;

    for (uint32_t at = 0; at < large->size; at += segment_size) {
        struct wire_segment s = *large;

        s.seq += at;
        s.payload += at;
        s.size = SALVO_MIN(large->size - at, segment_size);
        if (at + s.size != large->size)
            s.flags &= (uint8_t) ~(WIRE_FIN | WIRE_PSH);
        tell(w, ">", &s);
        carry(w, true, frame, wire_build(frame, &s), s.size);
    }
    w->met[MET_CUT]++;
    w->met[MET_CUT_LOST_TWICE] += w->links[0].lost - lost > 1;
}

/* Of ours, whole, and perhaps sent before. */
static void send_segment(struct world *w, const uint8_t *frame, uint32_t size,
                         const struct wire_segment *s)
{
    uint64_t lost = w->links[0].lost;
    bool again = s->size != 0 && (int32_t)(s->seq - w->our_highest) < 0;

    tell(w, ">", s);
    carry(w, true, frame, size, s->size);
    w->met[MET_AGAIN_LOST] += again && w->links[0].lost != lost;
}

/* A frame of ours goes on its way. Neighbours are asked and answered without the link's help. */
static void send_frame(struct world *w, const uint8_t *frame, uint32_t size, uint32_t segment_size)
{
    struct wire_segment s;
    const char *bad;
    uint8_t answer[128];
    uint32_t answer_size = 0;

    switch (wire_parse(frame, size, &s, &bad)) {
    case WIRE_TCP:
        note_wraps(w, &s);
        if (segment_size != 0)
            cut(w, &s, segment_size);
        else
            send_segment(w, frame, size, &s);
        if ((int32_t)(s.seq + s.size - w->our_highest) > 0 || (s.flags & WIRE_SYN))
            w->our_highest = s.seq + s.size;
        break;
    case WIRE_ARP_ASK:
        answer_size = wire_arp(answer, 2, peer_mac, s.target, tcp_sim_mac, s.source);
        break;
    case WIRE_ND_ASK:
        answer_size =
            wire_nd(answer, 136, 255, peer_mac, s.target, tcp_sim_mac, s.source, s.target);
        break;
    default:
        fail(w, "a malformed frame: %s", bad);
    }
    if (answer_size != 0)
        salvo_tcp_input(w->tcp, answer, answer_size, false, w->now_us);
}

/* Of a device that takes frames: anything. One that cuts has room for whole packets. */
static uint32_t room(const struct world *w)
{
    return w->config.checksum_offload ? UINT32_MAX : 1 + (uint32_t)(w->now_us % 20);
}

static void send_all(struct world *w)
{
    static uint8_t frame[WIRE_FRAME_MAX];
    struct salvo_tcp_packet packet;

    while (salvo_tcp_output(w->tcp, w->now_us, room(w), &packet)) {
        bool by_device = w->config.checksum_offload;
        struct tcp_frames frames = {0};
        uint32_t size;

        while ((size = tcp_frame_next(w->tcp, &packet, &frames, frame)) != 0)
            send_frame(w, frame, size, by_device ? packet.segment_size : 0);
        w->met[MET_CUT_HERE] += packet.segment_size != 0 && !by_device;
    }
}

static void peer_send_all(struct world *w, const struct wire_segment *like)
{
    static uint8_t frame[WIRE_FRAME_MAX], payload[65536];
    static struct wire_segment addresses;
    struct wire_segment s;

    if (like != NULL)
        addresses = *like;
    while (tcp_peer_output(&w->peer, w->now_us, &s, payload)) {
        s.six = addresses.six;
        memcpy(s.source_mac, peer_mac, 6);
        memcpy(s.target_mac, tcp_sim_mac, 6);
        memcpy(s.source, addresses.target, 16);
        memcpy(s.target, addresses.source, 16);
        s.source_port = addresses.target_port;
        s.target_port = addresses.source_port;
        tell(w, "<", &s);
        carry(w, false, frame, wire_build(frame, &s), s.size);
    }
}

static void arrive(struct world *w, const struct bad_flight *f)
{
    struct wire_segment s;
    const char *bad;

    bool to_peer = f->way;

    if (!to_peer) {
        salvo_tcp_input(w->tcp, f->frame, f->size, false, w->now_us);
        return;
    }
    if (wire_parse(f->frame, f->size, &s, &bad) != WIRE_TCP)
        return; /* corrupted on the way */
    tcp_peer_input(&w->peer, &s, w->now_us);
    peer_send_all(w, &s);
}

/* The application: gives bytes, reads bytes, closes. */
static void app_write(struct world *w)
{
    struct salvo_tcp_range ranges[3];
    unsigned count = 0;
    uint32_t at = w->given;

    while (count < 3 && at < w->total) {
        uint32_t n = 1 + (uint32_t)salvo_random_below(&w->random, w->write_max);
        n = SALVO_MIN(n, w->total - at);
        ranges[count++] = (struct salvo_tcp_range){w->data + at, n};
        at += n;
    }
    w->given += (uint32_t)salvo_tcp_send(w->tcp, w->conn, ranges, count, w->now_us);
    w->write_due_us =
        w->now_us + 1 + (int64_t)salvo_random_below(&w->random, (uint64_t)w->write_us);
    if (w->given == w->total && !w->shut && (!w->close_late || w->peer_closed)) {
        w->shut = true;
        salvo_tcp_shutdown(w->tcp, w->conn, w->now_us);
    }
}

static void app_read(struct world *w)
{
    struct salvo_tcp_range ranges[2];
    unsigned count = salvo_tcp_readable(w->tcp, w->conn, ranges);
    size_t left = 1 + salvo_random_below(&w->random, w->read_max), taken = 0;

    for (unsigned i = 0; i < count && left != 0; i++) {
        size_t n = SALVO_MIN(left, ranges[i].size);
        for (size_t k = 0; k < n; k++)
            if (ranges[i].bytes[k] != tcp_peer_byte(1, w->received + (uint32_t)k))
                fail(w, "wrong byte received at %zu", w->received + k);
        w->received += (uint32_t)n;
        taken += n;
        left -= n;
    }
    salvo_tcp_consume(w->tcp, w->conn, taken, w->now_us);
    w->reads++;
    w->read_due_us = w->now_us + 1 + (int64_t)salvo_random_below(&w->random, (uint64_t)w->read_us);
}

static void app_events(struct world *w)
{
    struct salvo_tcp_event events[8];
    unsigned count;

    while ((count = salvo_tcp_events(w->tcp, events, 8)) != 0) {
        for (unsigned i = 0; i < count; i++) {
            const struct salvo_tcp_event *e = &events[i];
            if (w->down)
                fail(w, "an event after DOWN");
            switch (e->kind) {
            case SALVO_TCP_UP:
                w->up = true;
                break;
            case SALVO_TCP_RELEASED:
                if (w->released + e->bytes > w->given)
                    fail(w, "released more than was given");
                else
                    memset(w->data + w->released, 0xee, e->bytes);
                w->released += (uint32_t)e->bytes;
                break;
            case SALVO_TCP_DATA:
                break;
            case SALVO_TCP_PEER_CLOSED:
                w->peer_closed = true;
                w->met[MET_PEER_CLOSED_FIRST] |= !w->shut;
                break;
            case SALVO_TCP_DOWN:
                while (w->received < w->peer.config.send_total &&
                       salvo_tcp_readable(w->tcp, w->conn, (struct salvo_tcp_range[2]){{0}}) != 0)
                    app_read(w);
                w->down = true;
                w->reason = e->reason;
                w->handed_over = e->bytes;
                break;
            }
        }
    }
}

/* No stall in what we send: see the top. */
static void check_progress(struct world *w)
{
    struct salvo_tcp_info info;

    if (!salvo_tcp_conn_info(w->tcp, w->conn, &info) || info.state == SALVO_TCP_DEAD)
        return;
    uint64_t una = w->given - info.bytes_unacked - info.bytes_unsent;
    bool waits = info.bytes_unacked + info.bytes_unsent != 0;
    uint32_t used = w->peer.next - w->peer.read;
    uint32_t room = w->peer.buffer_now > used ? w->peer.buffer_now - used : 0;
    if (una != w->una || !waits || room < info.mss || info.state == SALVO_TCP_SYN_SENT) {
        w->una = una;
        w->progress_us = w->now_us;
        w->rto_us = SALVO_MAX(info.rto_us, w->config.rto_min_us);
    }
    if (info.window_peer >= info.mss)
        w->gap_percent =
            SALVO_MAX(w->gap_percent, (uint32_t)((w->now_us - w->progress_us) * 100 / w->rto_us));
    int64_t limit_us = STALL_RTOS * w->rto_us + (info.window_peer < info.mss ? WINDOW_LOST_US : 0);
    if (w->now_us - w->progress_us > limit_us)
        fail(w, "no progress for %lld us, timeout %lld us", (long long)(w->now_us - w->progress_us),
             (long long)w->rto_us);
}

/* Nor in what the peer sends: what reached us is acknowledged, and room is told of. */
static void check_peer_progress(struct world *w)
{
    struct salvo_tcp_range ranges[2];
    bool waits = w->peer.state == PEER_OPEN && w->peer.syn_acked && !w->down &&
                 w->peer.una < w->peer.config.send_total;

    if (w->peer.una != w->peer_una || !waits ||
        salvo_tcp_readable(w->tcp, w->conn, ranges) != 0) { /* then the application is slow */
        w->peer_una = w->peer.una;
        w->peer_progress_us = w->now_us;
    }
    if (w->now_us - w->peer_progress_us > STALL_PEER_US)
        fail(w, "the peer waits for an ACK since %lld us",
             (long long)(w->now_us - w->peer_progress_us));
}

/* The time of the next thing that happens. */
static int64_t next_us(const struct world *w)
{
    int64_t at_us = SALVO_MIN(salvo_tcp_deadline_us(w->tcp), tcp_peer_deadline_us(&w->peer));

    at_us = SALVO_MIN(at_us, bad_air_next_us(&w->air));
    if (!w->down && (w->given < w->total || (!w->shut && (!w->close_late || w->peer_closed))))
        at_us = SALVO_MIN(at_us, w->write_due_us);
    struct salvo_tcp_range ranges[2];
    if (w->peer.read < w->peer.next ||
        (!w->down && salvo_tcp_readable(w->tcp, w->conn, ranges) != 0))
        at_us = SALVO_MIN(at_us, w->read_due_us);
    return SALVO_MAX(at_us, w->now_us);
}

static void step(struct world *w)
{
    while (bad_air_next_us(&w->air) <= w->now_us) {
        struct bad_flight f = bad_air_pop(&w->air);
        arrive(w, &f);
        free(f.frame);
        app_events(w);
    }
    tcp_peer_tick(&w->peer, w->now_us);
    if (salvo_tcp_deadline_us(w->tcp) <= w->now_us)
        salvo_tcp_timers(w->tcp, w->now_us);
    app_events(w);
    if (!w->down && w->write_due_us <= w->now_us && !w->shut)
        app_write(w);
    if (w->read_due_us <= w->now_us) {
        if (!w->down)
            app_read(w);
        else
            w->read_due_us = w->now_us + w->read_us;
        tcp_peer_read(&w->peer, 1 + (uint32_t)salvo_random_below(&w->random, w->read_max),
                      w->now_us);
    }
    send_all(w);
    peer_send_all(w, NULL);
    app_events(w);
    if (w->peer.wrong != NULL)
        fail(w, "the peer says: the client %s", w->peer.wrong);
    check_progress(w);
    check_peer_progress(w);
}

/* What was sent beyond what had to be: the bytes of the stream, and once more what the link lost
 * and what the peer threw away. With SACK the bound is half of that again: jitter and reordering
 * beyond the round trip make needless retransmissions (RACK's window is a quarter of it). Without
 * SACK, or when a window is taken back, what the peer has is sent again behind what it has not; and
 * a timeout shorter than the peer holds its ACKs back repeats each last segment: twice. On a calm
 * link nothing is sent again but for tail probes. */
static void check_bytes(struct world *w)
{
    const struct salvo_tcp_stats *s = salvo_tcp_stats(w->tcp);
    const struct bad_link *out = &w->links[0], *in = &w->links[1];
    const struct tcp_peer_config *p = &w->peer.config;
    uint64_t needed = w->total + out->bytes_lost + w->peer.bytes_refused;
    uint64_t some = 16 * (uint64_t)w->peer.mss_theirs;
    bool fair = w->config.sack && p->sack && !p->shrinks && !p->reneges &&
                w->config.rto_min_us > p->delayed_ack_us;
    bool calm = fair && out->lost + in->lost == 0 && out->reordered + in->reordered == 0 &&
                out->jitter_us + in->jitter_us == 0 && out->duplicated + in->duplicated == 0 &&
                s->window_probes == 0;
    uint64_t bound = (fair ? needed / 2 : 2 * needed) + some;

    if (out->bytes_sent > needed + bound)
        fail(w, "%" PRIu64 " bytes sent, %" PRIu64 " needed", out->bytes_sent, needed);
    if (calm && s->segments_retransmitted > 10 + s->tail_probes)
        fail(w, "%" PRIu64 " segments sent again on a calm link", s->segments_retransmitted);
    if (out->bare > s->frames_in + w->reads + 2 * (s->timeouts + s->keepalive_probes) + 10)
        fail(w, "%" PRIu64 " bare segments for %" PRIu64 " arrived", out->bare, s->frames_in);
}

static void check_left(struct world *w)
{
    app_events(w); /* buries */
    salvo_assert(w->failure[0] != '\0' || w->tcp->heap_count == 0);
    uint32_t free_count = 0;
    for (uint32_t i = w->tcp->free_head; i != TCP_NONE; i = w->tcp->conns[i].free_next)
        free_count++;
    if (free_count != w->config.conns_max)
        fail(w, "%u of %u slots free at the end", free_count, w->config.conns_max);
    for (uint32_t i = 0; i < w->config.conns_max; i++)
        if (w->tcp->neighbours[i].conns != 0)
            fail(w, "a neighbour is still held");
}

static void check_end(struct world *w)
{
    if (!w->down)
        fail(w, "never DOWN");
    else if (w->reason != SALVO_TCP_REASON_CLOSED)
        fail(w, "DOWN for reason %d", (int)w->reason);
    if (w->released != w->total || w->handed_over != w->total)
        fail(w, "released %u, handed over %" PRIu64 " of %u", w->released, w->handed_over,
             w->total);
    if (w->peer.next != w->total)
        fail(w, "the peer has %u of %u bytes", w->peer.next, w->total);
    if (w->received != w->peer.config.send_total)
        fail(w, "received %u of %u bytes", w->received, w->peer.config.send_total);
    check_bytes(w);
    check_left(w);
}

static void note_met(struct world *w)
{
    const struct salvo_tcp_stats *s = salvo_tcp_stats(w->tcp);
    const struct bad_link *out = &w->links[0], *in = &w->links[1];
    const struct tcp_peer *p = &w->peer;

    w->met[MET_LOSS] = out->lost + in->lost;
    w->met[MET_BURST] = out->bursts + in->bursts;
    w->met[MET_REORDER] = out->reordered + in->reordered;
    w->met[MET_DUPLICATE] = out->duplicated + in->duplicated;
    w->met[MET_CORRUPT] = out->corrupted + in->corrupted;
    w->met[MET_JITTER] = (uint64_t)(out->jitter_us + in->jitter_us);
    w->met[MET_QUEUE] = out->queue_full + in->queue_full;
    w->met[MET_NO_SACK] = !p->sack;
    w->met[MET_NO_TIMESTAMPS] = !p->timestamps;
    w->met[MET_NO_SCALING] = p->config.shift < 0 || !w->config.window_scale;
    w->met[MET_WINDOW_SHRUNK] = p->shrunk;
    w->met[MET_WINDOW_SHUT] = s->window_probes;
    w->met[MET_RENEGED] = p->reneged;
    w->met[MET_ACKS_SPLIT] = p->acks_split;
    w->met[MET_TIMEOUT] = s->timeouts;
    w->met[MET_TAIL_PROBE] = s->tail_probes;
    w->met[MET_RECOVERY] = s->recoveries;
    w->met[MET_UNDONE] = s->spurious_recoveries;
}

static uint64_t seed_now; /* for the line that an assertion leaves behind */

static void on_abort(int signal_number)
{
    char text[96];
    int n = snprintf(text, sizeof(text), "  again: tcp_sim --seed %" PRIu64 "\n", seed_now);

    (void)signal_number;
    if (write(2, text, (size_t)n) < 0)
        _exit(3);
    _exit(2);
}

static void run_open(struct world *w, void *memory)
{
    struct salvo_tcp_target target = {.port = 9876, .address = salvo_ip4_address(10, 0, 0, 2)};
    uint8_t six[16] = {0x20, 1, 0xd, 0xb8, [15] = 2};
    bool is_six = salvo_random_below(&w->random, 3) == 2;

    if (is_six)
        target.address = salvo_ip6_address(six);
    w->met[is_six ? MET_IP6 : MET_IP4] = 1;
    w->now_us = tcp_sim_draw_time_us(w, memory, &target);
    w->tcp = salvo_tcp_init(memory, &w->config);
    w->peer.config.start_us = w->now_us;
    if (salvo_tcp_open(w->tcp, &target, w->now_us, &w->conn) != SALVO_TCP_OPEN_OK)
        abort();
    w->write_due_us = w->read_due_us = w->now_us;
    w->start_us = w->progress_us = w->peer_progress_us = w->now_us;
    send_all(w);
}

static void tell_drawn(const struct world *w)
{
    const struct salvo_tcp_config *c = &w->config;
    const struct tcp_peer_config *p = &w->peer.config;

    printf("%s, SACK %d, timestamps %d, scaling %d, rto_min %" PRId64
           " us, segments %u, ranges %u, "
           "receive %u, nagle %d, pacing %d, packets of %u\n",
           c->congestion == SALVO_TCP_CUBIC ? "CUBIC" : "NewReno", c->sack, c->timestamps,
           c->window_scale, c->rto_min_us, c->segments_max, c->ranges_max, c->receive_size,
           c->nagle, c->pacing, c->tso_max);
    printf("peer: MSS %u, shift %d, SACK %d, timestamps %d, buffer %u, ACK every %u or %" PRId64
           " us%s%s%s\n",
           p->mss, p->shift, p->sack, p->timestamps, p->buffer_size, p->ack_every,
           p->delayed_ack_us, p->shrinks ? ", shrinks" : "", p->reneges ? ", reneges" : "",
           p->splits_acks ? ", splits ACKs" : "");
    for (unsigned i = 0; i < 2; i++) {
        const struct bad_link *l = &w->links[i];
        printf("%s: delay %" PRId64 " + %" PRId64 " us, rate %" PRIu64 ", queue %" PRId64
               " us, per 10,000: loss %u, bursts %u, reorder %u, duplicate %u, corrupt %u\n",
               i == 0 ? "out" : "in", l->delay_us, l->jitter_us, l->rate, l->queue_us, l->loss,
               l->burst, l->reorder, l->duplicate, l->corrupt);
    }
    printf("write %u every %" PRId64 " us, read %u every %" PRId64 " us\n", w->write_max,
           w->write_us, w->read_max, w->read_us);
}

static void tell_end(const struct world *w)
{
    const struct salvo_tcp_stats *s = salvo_tcp_stats(w->tcp);
    double seconds = (double)(w->now_us - w->start_us) / 1e6;

    if (w->loud)
        printf("%u bytes out, %u in, %.3f s; %" PRIu64 " segments, %" PRIu64 " again, %" PRIu64
               " timeouts, %" PRIu64 " probes, %" PRIu64 "+%" PRIu64 " packets lost\n",
               w->total, w->received, seconds, s->segments_out, s->segments_retransmitted,
               s->timeouts, s->tail_probes, w->links[0].lost, w->links[1].lost);
    if (w->failure[0] != '\0')
        fprintf(stderr, "seed %" PRIu64 ": %s (at %.6f s)\n  again: tcp_sim --seed %" PRIu64 "\n",
                w->seed, w->failure, seconds, w->seed);
}

static struct world world;

/* Runs what was drawn; true when all held. The tally of a scene counts it. */
static bool run_world(struct world *w, bool loud, struct tcp_tally *tally)
{
    seed_now = w->seed;
    w->loud = loud;
    if (loud)
        tell_drawn(w);
    if (salvo_tcp_config_check(&w->config) != 0)
        abort();
    size_t size = salvo_align_up(salvo_tcp_memory_size(&w->config), 64);
    void *memory = aligned_alloc(64, size);
    memset(memory, 0xa5, size);
    run_open(w, memory);
    for (uint32_t i = 0; i < STEPS_MAX && w->failure[0] == '\0'; i++) {
        if (w->down && w->peer.next == w->total && w->air.count == 0)
            break;
        int64_t at_us = next_us(w);
        if (at_us == INT64_MAX || at_us - w->start_us > HORIZON_US)
            break;
        w->now_us = at_us;
        step(w);
        if (i % 16 == 0)
            tcp_check(w->tcp);
    }
    check_end(w);
    note_met(w);
    if (tally != NULL)
        tcp_scene_add(tally, w);
    while (w->air.count != 0)
        free(bad_air_pop(&w->air).frame);
    tell_end(w);
    free(memory);
    return w->failure[0] == '\0';
}

/* `met` counts the seeds that met each thing. */
static bool run_seed(uint64_t seed, bool loud, uint64_t met[MET_COUNT], uint64_t *ret_digest)
{
    tcp_sim_draw(&world, seed);
    bool good = run_world(&world, loud, NULL);
    for (unsigned i = 0; i < MET_COUNT; i++)
        met[i] += world.met[i] != 0;
    *ret_digest = world.digest;
    return good;
}

/* Runs seeds from `first` on; returns how many failed. */
static uint64_t run_seeds(uint64_t first, uint64_t count, uint64_t stop_at, uint64_t met[MET_COUNT])
{
    uint64_t passed = 0, failed = 0, unused[MET_COUNT] = {0}, digest, again;

    for (uint64_t seed = first; seed < first + count && failed < stop_at; seed++) {
        bool good = run_seed(seed, count == 1, met, &digest);
        if (good && seed % 50 == 0) {
            good = run_seed(seed, false, unused, &again) && digest == again;
            if (!good)
                fprintf(stderr, "seed %" PRIu64 ": not the same packets twice\n", seed);
        }
        passed += good;
        failed += !good;
    }
    printf("seeds from %" PRIu64 ": %" PRIu64 " passed, %" PRIu64 " failed\n", first, passed,
           failed);
    return failed;
}

/* Runs each scene, or one; returns how many cost too much, and how many seeds failed. */
static uint64_t run_scenes(uint64_t only, uint64_t first, uint64_t count)
{
    uint64_t failed = 0;

    for (unsigned i = 0; i < tcp_scenes_count; i++) {
        struct tcp_tally tally = {0};

        if (only != 0 && only != i + 1)
            continue;
        for (uint64_t seed = first; seed < first + count; seed++) {
            tcp_sim_draw_scene(&world, seed, &tcp_scenes[i]);
            failed += !run_world(&world, count == 1, &tally);
        }
        failed += !tcp_scene_judge(&tcp_scenes[i], &tally);
    }
    return failed;
}

int main(int argc, char **argv)
{
    uint64_t first = 1, count = 2000, stop_at = UINT64_MAX, met[MET_COUNT] = {0}, missed = 0;
    uint64_t scene = 0;
    bool fixed = true, scenes = false;

    signal(SIGABRT, on_abort);
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t value = strtoull(argv[i + 1], NULL, 0);
        if (strcmp(argv[i], "--seed") == 0)
            first = value, count = 1;
        else if (strcmp(argv[i], "--first") == 0)
            first = value;
        else if (strcmp(argv[i], "--count") == 0)
            count = value;
        else if (strcmp(argv[i], "--stop-at") == 0)
            stop_at = value;
        else if (strcmp(argv[i], "--scene") == 0)
            scene = value, scenes = true;
        fixed = false;
    }
    if (scenes)
        return run_scenes(scene, first, count) != 0;
    uint64_t failed = run_seeds(first, count, stop_at, met);
    for (unsigned i = 0; i < MET_COUNT && count != 1; i++) {
        printf("%6" PRIu64 " seeds: %s\n", met[i], met_names[i]);
        missed += met[i] == 0;
    }
    if (fixed && missed != 0)
        fprintf(stderr, "%" PRIu64 " things were not met by any seed\n", missed);
    return failed == 0 && (!fixed || missed == 0) ? 0 : 1;
}
