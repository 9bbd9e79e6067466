/* TCP against a model peer over a bad link, in virtual time, from a seed.
 *
 *     tcp_sim                       the fixed seeds, 1 to 400
 *     tcp_sim --seed N              one, told packet by packet
 *     tcp_sim --first N --count M   others
 *
 * A seed draws the link (delay, jitter, loss, bursts of loss, reordering, duplication, corruption,
 * rate and queue), the peer's options and vices, both machines' initial numbers, and how much goes
 * each way. What is checked: every byte, duplicates too, in both directions; that released memory
 * is never sent from (it is overwritten on the spot); exactly one DOWN with the right reason; no
 * stall beyond STALL_RTOS timeouts while the window is open; a bound on retransmissions; that all
 * memory came back; and that the same seed gives the same packets twice. */
#include "tests/packet/check.h"
#include "tests/sim/tcp_peer.h"

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
#define FLIGHT_MAX 16384
#define STEPS_MAX  3000000
#define HORIZON_US INT64_C(3600000000)

struct link {
    int64_t delay_us, jitter_us;
    uint32_t loss, burst, reorder, duplicate, corrupt; /* per 10,000 */
    uint64_t rate;                                     /* bytes a second; 0: no limit */
    int64_t queue_us; /* longest wait in the queue; beyond it: loss */
    int64_t busy_until_us;
    int64_t burst_until_us; /* a burst is a time: a count would eat one timeout after the other */
    uint64_t sent, lost;
};

struct flying {
    int64_t at_us;
    uint64_t order;
    uint8_t *frame;
    uint32_t size;
    bool to_peer;
};

struct world {
    uint64_t seed;
    bool loud;
    struct salvo_random random;
    int64_t now_us;
    struct salvo_tcp *tcp;
    struct salvo_tcp_config config;
    struct tcp_peer peer;
    struct link links[2];             /* to the peer, to us */
    struct flying flying[FLIGHT_MAX]; /* a heap */
    uint32_t flying_count;
    uint64_t order, digest;
    /* the application */
    uint64_t conn;
    uint8_t *data;
    uint32_t total, given, released, received;
    uint32_t write_max, read_max;
    int64_t write_us, read_us; /* pauses */
    int64_t write_due_us, read_due_us;
    bool up, peer_closed, down, shut, close_late;
    enum salvo_tcp_reason reason;
    uint64_t handed_over;
    int64_t progress_us, rto_us;
    uint64_t una;
    char failure[256];
};

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1};
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

static bool flying_before(const struct flying *a, const struct flying *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void flying_push(struct world *w, struct flying f)
{
    uint32_t i = w->flying_count++;

    if (w->flying_count == FLIGHT_MAX) {
        fail(w, "too many packets in flight");
        w->flying_count--;
        free(f.frame);
        return;
    }
    for (; i != 0 && flying_before(&f, &w->flying[(i - 1) / 2]); i = (i - 1) / 2)
        w->flying[i] = w->flying[(i - 1) / 2];
    w->flying[i] = f;
}

static struct flying flying_pop(struct world *w)
{
    struct flying first = w->flying[0], last = w->flying[--w->flying_count];
    uint32_t i = 0;

    for (uint32_t c; (c = 2 * i + 1) < w->flying_count; i = c) {
        if (c + 1 < w->flying_count && flying_before(&w->flying[c + 1], &w->flying[c]))
            c++;
        if (flying_before(&last, &w->flying[c]))
            break;
        w->flying[i] = w->flying[c];
    }
    w->flying[i] = last;
    return first;
}

static void link_carry(struct world *w, bool to_peer, const uint8_t *frame, uint32_t size)
{
    struct link *l = &w->links[to_peer ? 0 : 1];
    struct salvo_random *r = &w->random;
    int64_t at_us = w->now_us + l->delay_us;

    l->sent++;
    for (uint32_t i = 0; i < size; i++)
        w->digest = (w->digest ^ frame[i]) * UINT64_C(0x100000001b3);
    if (l->rate != 0) {
        l->busy_until_us = SALVO_MAX(l->busy_until_us, w->now_us);
        if (l->busy_until_us - w->now_us > l->queue_us) {
            l->lost++;
            return;
        }
        l->busy_until_us += (int64_t)(size * UINT64_C(1000000) / l->rate);
        at_us = l->busy_until_us + l->delay_us;
    }
    if (w->now_us >= l->burst_until_us && salvo_random_chance(r, l->burst, 10000))
        l->burst_until_us = w->now_us + (int64_t)salvo_random_below(r, 20000);
    if (w->now_us < l->burst_until_us || salvo_random_chance(r, l->loss, 10000)) {
        l->lost++;
        return;
    }
    if (l->jitter_us != 0)
        at_us += (int64_t)salvo_random_below(r, (uint64_t)l->jitter_us);
    if (salvo_random_chance(r, l->reorder, 10000))
        at_us += (int64_t)salvo_random_below(r, (uint64_t)(l->delay_us * 2 + 1000));
    unsigned copies = salvo_random_chance(r, l->duplicate, 10000) ? 2 : 1;
    for (unsigned c = 0; c < copies; c++) {
        uint8_t *copy = malloc(size);
        memcpy(copy, frame, size);
        if (salvo_random_chance(r, l->corrupt, 10000)) {
            l->lost++;
            copy[14 + salvo_random_below(r, size - 14)] ^=
                (uint8_t)(1u << salvo_random_below(r, 8));
        }
        flying_push(w, (struct flying){at_us + c * 50, w->order++, copy, size, to_peer});
    }
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

/* A frame of ours goes on its way. Neighbours are asked and answered without the link's help. */
static void send_frame(struct world *w, const uint8_t *frame, uint32_t size)
{
    struct wire_segment s;
    const char *bad;
    uint8_t answer[128];
    uint32_t answer_size = 0;

    switch (wire_parse(frame, size, &s, &bad)) {
    case WIRE_TCP:
        tell(w, ">", &s);
        link_carry(w, true, frame, size);
        break;
    case WIRE_ARP_ASK:
        answer_size = wire_arp(answer, 2, peer_mac, s.target, our_mac, s.source);
        break;
    case WIRE_ND_ASK:
        answer_size = wire_nd(answer, 136, 255, peer_mac, s.target, our_mac, s.source, s.target);
        break;
    default:
        fail(w, "a malformed frame: %s", bad);
    }
    if (answer_size != 0)
        salvo_tcp_input(w->tcp, answer, answer_size, false, w->now_us);
}

static void send_all(struct world *w)
{
    static uint8_t frame[WIRE_FRAME_MAX];
    struct salvo_tcp_packet packet;

    while (salvo_tcp_output(w->tcp, w->now_us, &packet))
        send_frame(w, frame, salvo_tcp_packet_write(w->tcp, &packet, frame));
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
        memcpy(s.target_mac, our_mac, 6);
        memcpy(s.source, addresses.target, 16);
        memcpy(s.target, addresses.source, 16);
        s.source_port = addresses.target_port;
        s.target_port = addresses.source_port;
        tell(w, "<", &s);
        link_carry(w, false, frame, wire_build(frame, &s));
    }
}

static void arrive(struct world *w, const struct flying *f)
{
    struct wire_segment s;
    const char *bad;

    if (!f->to_peer) {
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

/* No stall: una moves, or the peer's window is shut, or little time has passed. */
static void check_progress(struct world *w)
{
    struct salvo_tcp_info info;

    if (!salvo_tcp_conn_info(w->tcp, w->conn, &info) || info.state == SALVO_TCP_DEAD)
        return;
    uint64_t una = w->given - info.bytes_unacked - info.bytes_unsent;
    bool waits = info.bytes_unacked + info.bytes_unsent != 0;
    uint32_t seen = (uint32_t)w->peer.buffer_now - (w->peer.next - w->peer.read);
    if (una != w->una || !waits || info.window_peer < info.mss || seen < info.mss ||
        info.state == SALVO_TCP_SYN_SENT) {
        w->una = una;
        w->progress_us = w->now_us;
        w->rto_us = SALVO_MAX(info.rto_us, w->config.rto_min_us);
    }
    if (w->now_us - w->progress_us > STALL_RTOS * w->rto_us)
        fail(w, "no progress for %lld us, timeout %lld us", (long long)(w->now_us - w->progress_us),
             (long long)w->rto_us);
}

static uint32_t pick(struct world *w, const uint32_t *values, unsigned count)
{
    return values[salvo_random_below(&w->random, count)];
}

#define PICK(w, ...)                                                                               \
    pick((w), (const uint32_t[]){__VA_ARGS__}, (unsigned)(sizeof((uint32_t[]){__VA_ARGS__}) / 4))

static void draw_link(struct world *w, struct link *l, uint32_t loss_max)
{
    *l = (struct link){
        .delay_us = PICK(w, 10, 100, 1000, 5000, 20000, 80000),
        .jitter_us = PICK(w, 0, 0, 0, 50, 2000),
        .loss = SALVO_MIN(PICK(w, 0, 0, 10, 100, 300, 1000), loss_max),
        .burst = SALVO_MIN(PICK(w, 0, 0, 0, 10, 50), loss_max),
        .reorder = PICK(w, 0, 0, 0, 100, 1000),
        .duplicate = PICK(w, 0, 0, 0, 100, 1000),
        .corrupt = SALVO_MIN(PICK(w, 0, 0, 0, 100), loss_max),
        .rate = PICK(w, 0, 0, 1250000, 12500000, 125000000),
    };
    l->queue_us = PICK(w, 2000, 20000, 100000);
}

static void draw_config(struct world *w, struct salvo_tcp_config *c)
{
    uint8_t six[16] = {0x20, 1, 0xd, 0xb8, [15] = 1};

    salvo_tcp_config_defaults(c);
    memcpy(c->mac, our_mac, 6);
    c->address4 = salvo_ip4_address(10, 0, 0, 1);
    c->address6 = salvo_ip6_address(six);
    c->prefix4_bits = 24;
    c->prefix6_bits = 64;
    for (unsigned i = 0; i < sizeof(c->key); i++)
        c->key[i] = (uint8_t)salvo_random_next(&w->random);
    c->conns_max = 4;
    c->segments_max = PICK(w, 16, 64, 1024, 4096);
    c->ranges_max = PICK(w, 4, 32, 256);
    c->receive_size = PICK(w, 4096, 65536, 262144);
    c->congestion = PICK(w, 0, 0, 1) ? SALVO_TCP_NEWRENO : SALVO_TCP_CUBIC;
    c->nagle = PICK(w, 0, 0, 0, 1);
    c->pacing = PICK(w, 0, 0, 1);
    c->sack = PICK(w, 0, 1, 1, 1);
    c->timestamps = PICK(w, 0, 1, 1);
    c->window_scale = PICK(w, 0, 1, 1);
    c->rto_min_us = PICK(w, 5000, 50000, 200000);
    c->connect_timeout_us = INT64_C(600000000);
    c->user_timeout_us = INT64_C(1200000000);
    c->keepalive_us = PICK(w, 0, 1000000);
    c->keepalive_probes = 50;
    c->rto_max_us = 5000000;
}

static void draw_peer(struct world *w)
{
    struct tcp_peer_config p = {
        .isn = PICK(w, 0, 1, 2) == 0 ? 0u - (uint32_t)salvo_random_below(&w->random, 20000)
                                     : (uint32_t)salvo_random_next(&w->random),
        .timestamp_0 = PICK(w, 0, 1) ? 0u - 100 : (uint32_t)salvo_random_next(&w->random),
        .mss = (uint16_t)PICK(w, 64, 536, 1000, 1460, 8960),
        .shift = PICK(w, 0, 1, 1) ? (int)PICK(w, 0, 2, 7) : -1,
        .sack = PICK(w, 0, 1, 1, 1),
        .timestamps = PICK(w, 0, 1, 1),
        .buffer_size = PICK(w, 2000, 20000, 65535, 500000, 2000000),
        .ack_every = PICK(w, 1, 2, 2, 8),
        .delayed_ack_us = PICK(w, 1000, 40000),
        .send_total = PICK(w, 0, 100, 5000, 200000),
        .fin_at_once = PICK(w, 0, 1),
        .shrinks = PICK(w, 0, 0, 0, 1),
        .reneges = PICK(w, 0, 0, 0, 1),
        .splits_acks = PICK(w, 0, 0, 0, 1),
        .random = &w->random,
    };
    static uint8_t have[TCP_PEER_STREAM_MAX];

    tcp_peer_init(&w->peer, &p, have);
}

static void draw(struct world *w, uint64_t seed)
{
    static uint8_t data[TCP_PEER_STREAM_MAX];

    memset(w, 0, sizeof(*w));
    w->seed = seed;
    salvo_random_init(&w->random, seed);
    draw_config(w, &w->config);
    draw_peer(w);
    uint32_t loss_max = PICK(w, 0, 100, 10000);
    draw_link(w, &w->links[0], loss_max);
    draw_link(w, &w->links[1], loss_max);
    /* Our numbers wrap soon in every third run: the clock part of the ISN is the lever. */
    w->now_us = PICK(w, 0, 1, 2) == 0 ? 1000000
                                      : (int64_t)salvo_random_below(&w->random, UINT64_C(1) << 40);
    w->total = PICK(w, 0, 1, 1000, 100000, 400000, 1500000);
    if (w->peer.config.buffer_size == 2000 || w->peer.config.mss == 64)
        w->total = SALVO_MIN(w->total, 100000u);
    w->write_max = PICK(w, 10, 300, 5000, 65536);
    w->read_max = PICK(w, 50, 5000, 1000000);
    w->write_us = PICK(w, 10, 1000, 30000);
    w->read_us = PICK(w, 10, 1000, 30000);
    w->total = SALVO_MIN(w->total, w->write_max * 300); /* what trickles shall end, too */
    w->close_late = w->peer.config.fin_at_once && PICK(w, 0, 1);
    w->data = data;
    for (uint32_t i = 0; i < w->total; i++)
        data[i] = tcp_peer_byte(0, i);
}

/* The time of the next thing that happens. */
static int64_t next_us(const struct world *w)
{
    int64_t at_us = SALVO_MIN(salvo_tcp_deadline_us(w->tcp), tcp_peer_deadline_us(&w->peer));

    if (w->flying_count != 0)
        at_us = SALVO_MIN(at_us, w->flying[0].at_us);
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
    while (w->flying_count != 0 && w->flying[0].at_us <= w->now_us) {
        struct flying f = flying_pop(w);
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
        tcp_peer_read(&w->peer, 1 + (uint32_t)salvo_random_below(&w->random, w->read_max));
    }
    send_all(w);
    peer_send_all(w, NULL);
    app_events(w);
    if (w->peer.wrong != NULL)
        fail(w, "the peer says: the client %s", w->peer.wrong);
    check_progress(w);
}

static void check_end(struct world *w)
{
    const struct salvo_tcp_stats *s = salvo_tcp_stats(w->tcp);
    uint64_t lost = w->links[0].lost + w->links[1].lost;
    const struct tcp_peer_config *p = &w->peer.config;
    /* Without SACK an eager reader's window updates cannot be told from duplicate ACKs
     * (docs/TCP.md): what is sent again for them is not bounded here. */
    bool sack = w->config.sack && p->sack;
    bool calm = sack && lost == 0 && w->links[0].reorder + w->links[1].reorder == 0 &&
                w->links[0].jitter_us + w->links[1].jitter_us == 0 && !p->shrinks && !p->reneges &&
                w->links[0].duplicate + w->links[1].duplicate == 0 && s->window_probes == 0;

    if (!w->down)
        fail(w, "never DOWN");
    else if (w->reason != SALVO_TCP_REASON_CLOSED)
        fail(w, "DOWN for reason %d", (int)w->reason);
    if (w->released != w->total || w->handed_over != w->total)
        fail(w, "released %u, handed over %" PRIu64 " of %u", w->released, w->handed_over,
             w->total);
    if (w->peer.next != w->total)
        fail(w, "the peer has %u of %u bytes", w->peer.next, w->total);
    if (w->received != p->send_total)
        fail(w, "received %u of %u bytes", w->received, p->send_total);
    if (calm && s->segments_retransmitted > 10 + s->tail_probes)
        fail(w, "%" PRIu64 " segments sent again on a calm link", s->segments_retransmitted);
    /* A peer that takes its window back, or SACKed data, makes us send again what it threw away. */
    if (sack && !p->shrinks && !p->reneges &&
        s->segments_retransmitted > 50 + 20 * lost + s->segments_out / 2)
        fail(w, "%" PRIu64 " of %" PRIu64 " segments sent again for %" PRIu64 " lost packets",
             s->segments_retransmitted, s->segments_out, lost);
    app_events(w); /* buries */
    salvo_assert(w->failure[0] != '\0' || w->tcp->heap_count == 0);
    uint32_t free_count = 0;
    for (uint32_t i = w->tcp->free_head; i != TCP_NONE; i = w->tcp->conns[i].free_next)
        free_count++;
    if (w->failure[0] == '\0' && free_count != w->config.conns_max)
        fail(w, "%u of %u slots free at the end", free_count, w->config.conns_max);
    for (uint32_t i = 0; i < TCP_NEIGHBOURS_MAX; i++)
        if (w->failure[0] == '\0' && w->tcp->neighbours[i].conns != 0)
            fail(w, "a neighbour is still held");
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

/* Runs one seed; true when all held. */
static bool run_seed(uint64_t seed, bool loud, uint64_t *ret_digest)
{
    static struct world world;
    struct world *w = &world;

    seed_now = seed;
    draw(w, seed);
    w->loud = loud;
    if (salvo_tcp_config_check(&w->config) != 0)
        abort();
    size_t size = salvo_align_up(salvo_tcp_memory_size(&w->config), 64);
    void *memory = aligned_alloc(64, size);
    memset(memory, 0xa5, size);
    w->tcp = salvo_tcp_init(memory, &w->config);

    struct salvo_tcp_target target = {.port = 9876, .address = salvo_ip4_address(10, 0, 0, 2)};
    uint8_t six[16] = {0x20, 1, 0xd, 0xb8, [15] = 2};
    if (PICK(w, 0, 0, 1))
        target.address = salvo_ip6_address(six);
    if (salvo_tcp_open(w->tcp, &target, w->now_us, &w->conn) != SALVO_TCP_OPEN_OK)
        abort();
    w->write_due_us = w->read_due_us = w->progress_us = w->now_us;
    int64_t start_us = w->now_us;
    send_all(w);

    for (uint32_t i = 0; i < STEPS_MAX && w->failure[0] == '\0'; i++) {
        if (w->down && w->peer.next == w->total && w->flying_count == 0)
            break;
        int64_t at_us = next_us(w);
        if (at_us == INT64_MAX || at_us - start_us > HORIZON_US)
            break;
        w->now_us = at_us;
        step(w);
        if (i % 16 == 0)
            tcp_check(w->tcp);
    }
    check_end(w);
    while (w->flying_count != 0)
        free(flying_pop(w).frame);
    const struct salvo_tcp_stats *s = salvo_tcp_stats(w->tcp);
    if (loud)
        printf("%u bytes out, %u in, %.3f s; %" PRIu64 " segments, %" PRIu64 " again, %" PRIu64
               " timeouts, %" PRIu64 " probes, %" PRIu64 "+%" PRIu64 " packets lost\n",
               w->total, w->received, (double)(w->now_us - start_us) / 1e6, s->segments_out,
               s->segments_retransmitted, s->timeouts, s->tail_probes, w->links[0].lost,
               w->links[1].lost);
    if (w->failure[0] != '\0')
        fprintf(stderr, "seed %" PRIu64 ": %s (at %.6f s)\n  again: tcp_sim --seed %" PRIu64 "\n",
                seed, w->failure, (double)(w->now_us - start_us) / 1e6, seed);
    *ret_digest = w->digest;
    free(memory);
    return w->failure[0] == '\0';
}

int main(int argc, char **argv)
{
    uint64_t first = 1, count = 400, digest, again;
    unsigned failed = 0;
    bool loud = false;

    signal(SIGABRT, on_abort);
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t value = strtoull(argv[i + 1], NULL, 0);
        if (strcmp(argv[i], "--seed") == 0)
            first = value, count = 1, loud = true;
        else if (strcmp(argv[i], "--first") == 0)
            first = value;
        else if (strcmp(argv[i], "--count") == 0)
            count = value;
    }
    for (uint64_t seed = first; seed < first + count; seed++) {
        bool good = run_seed(seed, loud, &digest);
        if (good && seed % 50 == 0) {
            good = run_seed(seed, false, &again) && digest == again;
            if (!good)
                fprintf(stderr, "seed %" PRIu64 ": not the same packets twice\n", seed);
        }
        failed += !good;
    }
    printf("seeds %" PRIu64 " to %" PRIu64 ": %" PRIu64 " passed, %u failed\n", first,
           first + count - 1, count - failed, failed);
    return failed == 0 ? 0 : 1;
}
