/* Runs packet scripts (README.md tells the language) against dataplane/tcp. Exit 0 when all pass.
 *
 * The machine is driven by hand: a line's time is waited for by running the timers that come before
 * it, and every packet put out is noted with its time. A `>` line takes the next noted packet; a
 * packet that no line takes fails the script, as does one that is malformed or carries a wrong
 * byte. */
#include "tests/packet/check.h"
#include "tests/packet/wire.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNS_MAX   8
#define PACKETS_MAX 4096
#define EVENTS_MAX  4096
#define WORDS_MAX   48
#define STREAM_SIZE (8u << 20)

struct noted {
    int64_t at_us;
    enum wire_kind kind;
    struct wire_segment segment;
    uint32_t size;
};

struct peer { /* one connection as the script sees it */
    uint64_t handle;
    uint16_t port;
    uint32_t iss;         /* ours, known from the SYN */
    uint32_t timestamp_0; /* of our SYN */
    uint32_t timestamp_last;
    bool timestamps;
    uint64_t sent, released, read;
    int shift; /* that we told the peer in our SYN */
    bool opened;
};

static struct {
    const char *path;
    int line;
    struct salvo_tcp_config config;
    struct salvo_tcp *tcp;
    void *memory;
    int64_t now_us;
    struct peer peers[CONNS_MAX];
    int current, peer_count;
    uint32_t peer_isn, peer_timestamp;
    bool six, arp_manual;
    struct noted packets[PACKETS_MAX];
    int packet_head, packet_tail;
    struct salvo_tcp_event events[EVENTS_MAX];
    int event_head, event_tail;
    uint8_t last_frame_addresses[64];
    struct wire_segment last_sent; /* of ours: what ICMP quotes */
    uint16_t ports_even;
} run;

static uint8_t
    stream[STREAM_SIZE]; /* what is sent in both directions: byte n of every stream is stream[n] */
static jmp_buf failed;
static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 2};
static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1};

static _Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
static _Noreturn void fail(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fprintf(stderr, "%s:%d: ", run.path, run.line);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, " (at %lld us)\n", (long long)run.now_us);
    va_end(arguments);
    longjmp(failed, 1);
}

static void address(uint8_t bytes[16], uint8_t last)
{
    static const uint8_t six[16] = {0x20, 1, 0xd, 0xb8};
    static const uint8_t four[16] = {10};

    memcpy(bytes, run.six ? six : four, 16);
    bytes[run.six ? 15 : 3] = last;
}

static struct peer *peer_of_port(uint16_t port)
{
    for (int i = 0; i < run.peer_count; i++)
        if (run.peers[i].port == port || run.peers[i].port == 0)
            return &run.peers[i];
    return NULL;
}

/* Bytes of ours must be the stream's, whatever was retransmitted and how it was cut. */
static void note_payload(struct peer *p, const struct wire_segment *s)
{
    uint32_t offset = s->seq - p->iss - 1;

    if (s->size == 0)
        return;
    if (offset + (uint64_t)s->size > p->sent)
        fail("packet carries %u:%u, but only %llu bytes were given", offset + 1,
             offset + 1 + s->size, (unsigned long long)p->sent);
    if (offset < p->released)
        fail("packet carries byte %u, which was released", offset);
    if (memcmp(s->payload, stream + offset, s->size) != 0)
        fail("wrong bytes in %u:%u", offset + 1, offset + 1 + s->size);
}

static void note_segment(struct noted *n)
{
    struct peer *p = peer_of_port(n->segment.source_port);

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
    run.last_sent = n->segment;
    n->segment.payload = NULL;
}

/* Neighbours are answered for by the runner unless a script wants to see the questions. */
static bool note_neighbour(const struct noted *n)
{
    uint8_t frame[128];
    uint32_t size = 0;

    if (run.arp_manual)
        return false;
    if (n->kind == WIRE_ARP_ASK)
        size = wire_arp(frame, 2, peer_mac, n->segment.target, our_mac, n->segment.source);
    else if (n->kind == WIRE_ND_ASK)
        size = wire_nd(frame, 136, 255, peer_mac, n->segment.target, our_mac, n->segment.source,
                       n->segment.target);
    else
        return false;
    salvo_tcp_input(run.tcp, frame, size, false, run.now_us);
    return true;
}

static void take_events(void)
{
    unsigned n;

    while ((n = salvo_tcp_events(run.tcp, run.events + run.event_tail, 16)) != 0) {
        for (unsigned i = 0; i < n; i++) {
            const struct salvo_tcp_event *e = &run.events[run.event_tail + (int)i];
            struct peer *p = &run.peers[e->cookie];
            if (e->kind == SALVO_TCP_RELEASED)
                p->released += e->bytes;
            if (p->released > p->sent)
                fail("released %llu of %llu bytes", (unsigned long long)p->released,
                     (unsigned long long)p->sent);
            if (e->kind == SALVO_TCP_DOWN && p->released != p->sent)
                fail("DOWN with %llu of %llu bytes released", (unsigned long long)p->released,
                     (unsigned long long)p->sent);
        }
        run.event_tail += (int)n;
        if (run.event_tail + 16 > EVENTS_MAX)
            fail("too many events");
    }
}

/* The device's part of checksum offload: the field holds the pseudo header's sum, without the
 * length when the device also cuts segments. The wire's checksum is filled in over it. */
static void device_checksum(const struct salvo_tcp_packet *packet, uint8_t *frame, uint32_t size)
{
    uint8_t *tcp_header = frame + 14 + packet->ip_size;
    uint32_t length = size - 14 - packet->ip_size;
    uint8_t tail[2] = {(uint8_t)(length >> 8), (uint8_t)length};

    if (!run.config.checksum_offload || packet->ip_size == 0)
        return;
    uint16_t sum =
        wire_sum(tcp_header, length, packet->segment_size != 0 ? wire_sum(tail, 2, 0) : 0);
    tcp_header[16] = (uint8_t)(~sum >> 8);
    tcp_header[17] = (uint8_t)~sum;
}

/* Everything that is to be sent now is noted. */
static void drain(void)
{
    static uint8_t frame[WIRE_FRAME_MAX];
    struct salvo_tcp_packet packet;
    const char *bad;

    while (salvo_tcp_output(run.tcp, run.now_us, &packet)) {
        struct noted *n = &run.packets[run.packet_tail];
        uint32_t size = salvo_tcp_packet_write(run.tcp, &packet, frame);

        device_checksum(&packet, frame, size);
        n->at_us = run.now_us;
        n->kind = wire_parse(frame, size, &n->segment, &bad);
        n->size = size;
        if (n->kind == WIRE_BAD)
            fail("a malformed packet was sent: %s", bad);
        if (n->kind == WIRE_TCP)
            note_segment(n);
        tcp_check(run.tcp);
        if (note_neighbour(n))
            continue;
        if (++run.packet_tail == PACKETS_MAX)
            fail("too many packets");
    }
    take_events();
    tcp_check(run.tcp);
}

/* To `at_us`, stopping at the first packet if asked to. */
static void advance(int64_t at_us, bool stop_at_packet)
{
    for (;;) {
        if (stop_at_packet && run.packet_head != run.packet_tail)
            return;
        int64_t next_us = salvo_tcp_deadline_us(run.tcp);
        if (next_us > at_us)
            break;
        run.now_us = SALVO_MAX(run.now_us, next_us);
        salvo_tcp_timers(run.tcp, run.now_us);
        if (salvo_tcp_deadline_us(run.tcp) <= run.now_us)
            fail("timers() left a deadline behind");
        drain();
    }
    run.now_us = at_us;
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

static const char *noted_text(const struct noted *n)
{
    static char text[256];
    const struct wire_segment *s = &n->segment;
    const struct peer *p = peer_of_port(s->source_port);
    static const char *kinds[] = {"bad",    "tcp",       "arp ask", "arp answer",
                                  "nd ask", "nd answer", "echo",    "other"};

    if (n->kind != WIRE_TCP) {
        snprintf(text, sizeof(text), "%s", kinds[n->kind]);
        return text;
    }
    uint32_t base = p == NULL ? 0 : p->iss;
    int at = snprintf(text, sizeof(text), "%s %u:%u ack %u win %u", flags_text(s->flags),
                      s->seq - base, s->seq - base + s->size, s->ack - run.peer_isn, s->window);
    for (unsigned i = 0; i < s->sack_count; i++)
        at += snprintf(text + at, sizeof(text) - (size_t)at, " sack %u:%u",
                       s->sack[i][0] - run.peer_isn, s->sack[i][1] - run.peer_isn);
    snprintf(text + at, sizeof(text) - (size_t)at, " at %lld us", (long long)n->at_us);
    return text;
}

static void expect_no_packet(void)
{
    if (run.packet_head != run.packet_tail)
        fail("unexpected packet: %s", noted_text(&run.packets[run.packet_head]));
}

/* "10ms", "1.5s", "300us", "3h", "2d" */
static int64_t parse_time(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (strcmp(text, "0") == 0)
        return 0;
    static const struct {
        const char *unit;
        double us;
    } units[] = {{"us", 1}, {"ms", 1e3}, {"s", 1e6}, {"h", 3600e6}, {"d", 86400e6}};

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(units); i++)
        if (strcmp(end, units[i].unit) == 0)
            return (int64_t)(value * units[i].us + 0.5);
    fail("not a time: %s", text);
}

static uint32_t parse_number(const char *text)
{
    char *end;
    long long value = strtoll(text, &end, 0);

    if (end == text || *end != '\0')
        fail("not a number: %s", text);
    return (uint32_t)value;
}

static void parse_pair(const char *text, uint32_t pair[2])
{
    char *end;

    pair[0] = (uint32_t)strtoll(text, &end, 0);
    if (*end != ':')
        fail("not a pair a:b: %s", text);
    pair[1] = (uint32_t)strtoll(end + 1, &end, 0);
}

static uint8_t parse_flags(const char *text)
{
    uint8_t flags = 0;

    for (; *text != '\0'; text++) {
        const char *at = strchr("FSRPA", *text);
        if (at == NULL)
            fail("no such flag: %c", *text);
        flags |= (uint8_t)(1 << (at - "FSRPA"));
    }
    return flags;
}

static struct peer *current(void)
{
    return &run.peers[run.current];
}

/* One option word of a segment line; returns how many words it took. What was named is set in
 * *named. */
enum {
    NAMED_ACK = 1,
    NAMED_WIN = 2,
    NAMED_MSS = 4,
    NAMED_WS = 8,
    NAMED_SACKOK = 16,
    NAMED_TS = 32,
    NAMED_ECR = 64,
    NAMED_NOTS = 128,
    NAMED_CORRUPT = 256,
    NAMED_PORT = 512
};

static int parse_option_word(char **words, int count, struct wire_segment *s, uint32_t sack[4][2],
                             unsigned *named)
{
    const char *w = words[0];
    const char *v = count > 1 ? words[1] : "";

    if (strcmp(w, "ack") == 0)
        return s->ack = parse_number(v), s->flags |= WIRE_ACK, *named |= NAMED_ACK, 2;
    if (strcmp(w, "win") == 0)
        return s->window = (uint16_t)parse_number(v), *named |= NAMED_WIN, 2;
    if (strcmp(w, "mss") == 0)
        return s->mss = (uint16_t)parse_number(v), *named |= NAMED_MSS, 2;
    if (strcmp(w, "ws") == 0)
        return s->shift = (int)parse_number(v), *named |= NAMED_WS, 2;
    if (strcmp(w, "sackok") == 0)
        return s->sack_permitted = true, *named |= NAMED_SACKOK, 1;
    if (strcmp(w, "ts") == 0)
        return s->timestamp = parse_number(v), s->has_timestamp = true, *named |= NAMED_TS, 2;
    if (strcmp(w, "ecr") == 0)
        return s->echo = parse_number(v), *named |= NAMED_ECR, 2;
    if (strcmp(w, "nots") == 0)
        return *named |= NAMED_NOTS, 1;
    if (strcmp(w, "corrupt") == 0)
        return *named |= NAMED_CORRUPT, 1;
    if (strcmp(w, "port") == 0)
        return s->source_port = (uint16_t)parse_number(v), *named |= NAMED_PORT, 2;
    if (strcmp(w, "sack") == 0) {
        int taken = 1;
        for (; taken < count && isdigit((unsigned char)words[taken][0]) && s->sack_count < 4;
             taken++)
            parse_pair(words[taken], sack[s->sack_count++]);
        return taken;
    }
    fail("what is '%s'?", w);
}

static void expect_same(const char *what, uint32_t got, uint32_t wanted, const struct noted *n)
{
    if (got != wanted)
        fail("%s is %u, expected %u: %s", what, got, wanted, noted_text(n));
}

static void expect_options(const struct noted *n, const struct wire_segment *want,
                           uint32_t sack[4][2], unsigned named, const struct peer *p)
{
    const struct wire_segment *got = &n->segment;

    if (named & NAMED_WIN)
        expect_same("window", (uint32_t)got->window << (want->flags & WIRE_SYN ? 0 : p->shift),
                    want->window, n);
    if (named & NAMED_MSS)
        expect_same("MSS", got->mss, want->mss, n);
    if (named & NAMED_WS)
        expect_same("window scale", (uint32_t)got->shift, (uint32_t)want->shift, n);
    if (named & NAMED_SACKOK)
        expect_same("SACK permitted", got->sack_permitted, 1, n);
    if (named & NAMED_TS)
        expect_same("timestamp", got->timestamp - p->timestamp_0, want->timestamp, n);
    if (named & NAMED_ECR)
        expect_same("echo", got->echo - run.peer_timestamp, want->echo, n);
    if (named & NAMED_NOTS)
        expect_same("timestamps present", got->has_timestamp, 0, n);
    expect_same("number of SACK blocks", got->sack_count, want->sack_count, n);
    for (unsigned i = 0; i < want->sack_count; i++) {
        expect_same("SACK start", got->sack[i][0] - run.peer_isn, sack[i][0], n);
        expect_same("SACK end", got->sack[i][1] - run.peer_isn, sack[i][1], n);
    }
}

static const struct noted *next_packet(int64_t early_us, int64_t late_us, enum wire_kind kind)
{
    advance(late_us, true);
    if (run.packet_head == run.packet_tail)
        fail("no packet came");
    const struct noted *n = &run.packets[run.packet_head++];
    if (n->kind != kind)
        fail("another kind of packet: %s", noted_text(n));
    if (n->at_us < early_us || n->at_us > late_us)
        fail("at %lld us, expected %lld to %lld: %s", (long long)n->at_us, (long long)early_us,
             (long long)late_us, noted_text(n));
    return n;
}

/* > FLAGS start:end [ack N] [win N] [sack a:b ...] [ts N] [ecr N] [nots] ... */
static void do_expect(char **words, int count, int64_t early_us, int64_t late_us)
{
    struct wire_segment want = {.shift = -1};
    uint32_t sack[4][2], range[2] = {0, 0};
    unsigned named = 0;
    int i = 2;

    if (count >= 2 && strcmp(words[0], "arp") == 0) {
        next_packet(early_us, late_us,
                    strcmp(words[1], "ask") == 0 ? WIRE_ARP_ASK : WIRE_ARP_ANSWER);
        return;
    }
    if (count >= 2 && strcmp(words[0], "nd") == 0) {
        next_packet(early_us, late_us, strcmp(words[1], "ask") == 0 ? WIRE_ND_ASK : WIRE_ND_ANSWER);
        return;
    }
    if (count >= 1 && strcmp(words[0], "echo") == 0) {
        next_packet(early_us, late_us, WIRE_ECHO);
        return;
    }
    if (count < 2)
        fail("> FLAGS start:end ...");
    want.flags = parse_flags(words[0]);
    bool anywhere = strcmp(words[1], "*") == 0;
    if (!anywhere)
        parse_pair(words[1], range);
    while (i < count)
        i += parse_option_word(words + i, count - i, &want, sack, &named);

    const struct noted *n = next_packet(early_us, late_us, WIRE_TCP);
    const struct peer *p = peer_of_port(n->segment.source_port);
    uint8_t ignored = want.flags & WIRE_PSH ? 0 : WIRE_PSH;
    if (p == NULL)
        fail("packet of no connection: %s", noted_text(n));
    if ((n->segment.flags & ~ignored) != want.flags)
        fail("flags differ: %s", noted_text(n));
    if (!anywhere) {
        expect_same("seq", n->segment.seq - p->iss, range[0], n);
        expect_same("size", n->segment.size, range[1] - range[0], n);
    }
    if (named & NAMED_ACK)
        expect_same("ack", n->segment.ack - run.peer_isn, want.ack, n);
    expect_options(n, &want, sack, named, p);
}

static void input(uint8_t *frame, uint32_t size)
{
    salvo_tcp_input(run.tcp, frame, size, false, run.now_us);
    tcp_check(run.tcp);
    drain();
}

static void do_icmp(char **words, int count)
{
    uint8_t frame[256];
    struct wire_segment quoted = run.last_sent;
    struct peer *p = current();
    uint32_t mtu = 0;
    uint8_t type = run.six ? 1 : 3, code = 0;

    if (strcmp(words[0], "echo") == 0) {
        uint32_t size = wire_icmp(frame, &quoted, run.six ? 128 : 8, 0, 0x00010001);
        input(frame, size);
        return;
    }
    if (strcmp(words[0], "toobig") == 0) {
        type = run.six ? 2 : 3;
        code = run.six ? 0 : 4;
        mtu = parse_number(words[1]);
    } else if (strcmp(words[0], "unreachable") == 0) {
        code = (uint8_t)parse_number(words[1]);
    } else if (strcmp(words[0], "type") == 0) {
        type = (uint8_t)parse_number(words[1]);
    }
    if (count >= 4 && strcmp(words[2], "seq") == 0)
        quoted.seq = p->iss + parse_number(words[3]);
    input(frame, wire_icmp(frame, &quoted, type, code, mtu));
}

static void do_link(char **words, int count)
{
    uint8_t frame[128], us[16], them[16], mac[6];
    uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    bool ask = strcmp(words[1], "ask") == 0;

    memcpy(mac, peer_mac, 6);
    address(us, 1);
    address(them, 2);
    for (int i = 2; i + 1 < count; i += 2) {
        if (strcmp(words[i], "mac") == 0)
            mac[5] = (uint8_t)parse_number(words[i + 1]);
        else if (strcmp(words[i], "from") == 0)
            address(them, (uint8_t)parse_number(words[i + 1]));
        else if (strcmp(words[i], "for") == 0)
            address(us, (uint8_t)parse_number(words[i + 1]));
    }
    if (strcmp(words[0], "arp") == 0)
        input(frame, wire_arp(frame, ask ? 1 : 2, mac, them, ask ? all : our_mac, us));
    else
        input(frame, wire_nd(frame, ask ? 135 : 136, strcmp(words[1], "far") == 0 ? 254 : 255, mac,
                             them, our_mac, us, ask ? us : them));
}

/* < FLAGS start:end [ack N] [win N] ... */
static void do_segment(char **words, int count)
{
    static uint8_t frame[WIRE_FRAME_MAX];
    struct peer *p = current();
    struct wire_segment s = {
        .shift = -1, .window = 65535, .source_port = 9876, .target_port = p->port};
    uint32_t sack[4][2], range[2] = {0, 0};
    unsigned named = 0;
    int i = 2;

    expect_no_packet();
    if (strcmp(words[0], "icmp") == 0) {
        do_icmp(words + 1, count - 1);
        return;
    }
    if (strcmp(words[0], "arp") == 0 || strcmp(words[0], "nd") == 0) {
        do_link(words, count);
        return;
    }
    if (count < 2)
        fail("< FLAGS start:end ...");
    s.flags = parse_flags(words[0]);
    parse_pair(words[1], range);
    while (i < count)
        i += parse_option_word(words + i, count - i, &s, sack, &named);

    s.six = run.six;
    memcpy(s.source_mac, peer_mac, 6);
    memcpy(s.target_mac, our_mac, 6);
    address(s.source, 2);
    address(s.target, 1);
    s.seq = range[0] + run.peer_isn;
    s.size = range[1] - range[0];
    s.payload = stream + (range[0] == 0 ? 0 : (range[0] - 1) % (STREAM_SIZE / 2));
    s.ack = s.flags & WIRE_ACK && (named & NAMED_ACK) ? s.ack + p->iss : 0;
    for (unsigned b = 0; b < s.sack_count; b++) {
        s.sack[b][0] = sack[b][0] + p->iss;
        s.sack[b][1] = sack[b][1] + p->iss;
    }
    if (s.flags & WIRE_SYN && s.has_timestamp)
        p->timestamps = true;
    if (s.flags & WIRE_SYN && s.shift < 0)
        p->shift = 0; /* scaling needs both sides */
    if (p->timestamps && !(named & NAMED_NOTS)) {
        if (!(named & NAMED_TS))
            s.timestamp = (uint32_t)(run.now_us / 1000);
        s.has_timestamp = true;
        s.timestamp += run.peer_timestamp;
        s.echo = named & NAMED_ECR ? s.echo + p->timestamp_0 : p->timestamp_last;
    }
    uint32_t size = wire_build(frame, &s);
    if (named & NAMED_CORRUPT)
        frame[size - 1] ^= 0x40;
    input(frame, size);
}

static void start(void)
{
    if (run.tcp != NULL)
        return;
    if (salvo_tcp_config_check(&run.config) != 0)
        fail("the configuration cannot be");
    size_t size = salvo_align_up(salvo_tcp_memory_size(&run.config), 64);
    run.memory = aligned_alloc(64, size);
    memset(run.memory, 0xa5, size);
    run.tcp = salvo_tcp_init(run.memory, &run.config);
}

static void do_open(char **words, int count)
{
    struct salvo_tcp_target target = {.port = 9876, .cookie = (uint64_t)run.peer_count};
    enum salvo_tcp_open_result wanted = SALVO_TCP_OPEN_OK;
    uint8_t bytes[16], last = 2;

    start();
    for (int i = 0; i < count; i++) {
        if (strcmp(words[i], "port") == 0)
            target.local_port = (uint16_t)parse_number(words[++i]);
        else if (strcmp(words[i], "host") == 0)
            last = (uint8_t)parse_number(words[++i]);
        else if (strcmp(words[i], "far") == 0)
            last = 200; /* outside of the prefix */
        else if (strcmp(words[i], "full") == 0)
            wanted = SALVO_TCP_OPEN_FULL;
        else if (strcmp(words[i], "noport") == 0)
            wanted = SALVO_TCP_OPEN_NO_PORT;
        else if (strcmp(words[i], "noroute") == 0)
            wanted = SALVO_TCP_OPEN_NO_ROUTE;
    }
    address(bytes, last);
    target.address = run.six ? salvo_ip6_address(bytes)
                             : salvo_ip4_address(bytes[0], bytes[1], bytes[2], bytes[3]);
    uint64_t handle = 0;
    enum salvo_tcp_open_result r = salvo_tcp_open(run.tcp, &target, run.now_us, &handle);
    if (r != wanted)
        fail("open gives %d, expected %d", (int)r, (int)wanted);
    if (r != SALVO_TCP_OPEN_OK)
        return;
    if (run.peer_count == CONNS_MAX)
        fail("too many connections in one script");
    struct salvo_tcp_info info;
    salvo_tcp_conn_info(run.tcp, handle, &info);
    run.current = run.peer_count++;
    *current() = (struct peer){.handle = handle, .port = info.local_port, .opened = true};
    drain();
}

static void do_event(char **words, int count)
{
    static const char *kinds[] = {"UP", "DATA", "RELEASED", "PEER_CLOSED", "DOWN"};
    static const char *reasons[] = {"CLOSED",  "REFUSED",     "RESET",
                                    "TIMEOUT", "UNREACHABLE", "ABORTED"};

    if (strcmp(words[0], "none") == 0) {
        if (run.event_head != run.event_tail)
            fail("unexpected event: %s %llu", kinds[run.events[run.event_head].kind],
                 (unsigned long long)run.events[run.event_head].bytes);
        return;
    }
    if (run.event_head == run.event_tail)
        fail("no event, expected %s", words[0]);
    const struct salvo_tcp_event *e = &run.events[run.event_head++];
    if (strcmp(kinds[e->kind], words[0]) != 0)
        fail("event %s %llu, expected %s", kinds[e->kind], (unsigned long long)e->bytes, words[0]);
    for (int i = 1; i < count; i++) {
        if (isdigit((unsigned char)words[i][0])) {
            if (e->bytes != parse_number(words[i]))
                fail("event %s %llu, expected %s", kinds[e->kind], (unsigned long long)e->bytes,
                     words[i]);
        } else if (strcmp(reasons[e->reason], words[i]) != 0) {
            fail("reason %s, expected %s", reasons[e->reason], words[i]);
        }
    }
}

static void do_send(char **words, int count)
{
    struct peer *p = current();
    uint32_t size = parse_number(words[0]);
    uint32_t piece = count >= 3 && strcmp(words[1], "by") == 0 ? parse_number(words[2]) : size;
    uint32_t wanted = size;

    for (int i = 1; i + 1 < count; i++)
        if (strcmp(words[i], "takes") == 0)
            wanted = parse_number(words[i + 1]);
    /* Pieces that do not follow each other in memory, so that each is a range of its own: copies.
     */
    static uint8_t scattered[STREAM_SIZE * 2];
    size_t taken = 0;
    for (uint32_t at = 0; at < size; at += piece) {
        uint32_t n = SALVO_MIN(piece, size - at);
        uint8_t *copy = scattered + 2 * (p->sent + taken) % STREAM_SIZE + (n == size ? 0 : 1);
        const uint8_t *bytes = n == size ? stream + p->sent + taken : copy;
        if (bytes == copy)
            memcpy(copy, stream + p->sent + taken, n);
        struct salvo_tcp_range range = {bytes, n};
        size_t t = salvo_tcp_send(run.tcp, p->handle, &range, 1, run.now_us);
        taken += t;
        if (t != n)
            break;
    }
    if (taken != wanted)
        fail("send took %zu, expected %u", taken, wanted);
    p->sent += taken;
    drain();
}

static void do_read(char **words)
{
    struct peer *p = current();
    struct salvo_tcp_range ranges[2];
    unsigned n = salvo_tcp_readable(run.tcp, p->handle, ranges);
    size_t readable = (n > 0 ? ranges[0].size : 0) + (n > 1 ? ranges[1].size : 0);
    size_t size = strcmp(words[0], "all") == 0 ? readable : parse_number(words[0]);

    if (size > readable)
        fail("only %zu bytes are readable", readable);
    for (size_t i = 0, left = size; i < n && left != 0; i++) {
        size_t part = SALVO_MIN(left, ranges[i].size);
        if (memcmp(ranges[i].bytes, stream + p->read, part) != 0)
            fail("wrong bytes received at %llu", (unsigned long long)p->read);
        p->read += part;
        left -= part;
    }
    salvo_tcp_consume(run.tcp, p->handle, size, run.now_us);
    drain();
}

static uint64_t check_value(const char *name, const struct salvo_tcp_info *info)
{
    const struct salvo_tcp_stats *t = salvo_tcp_stats(run.tcp);
    const struct {
        const char *name;
        uint64_t value;
    } values[] = {
        {"mss", info->mss},
        {"cwnd", info->window_congestion},
        {"ssthresh", info->threshold_slow_start},
        {"window", info->window_peer},
        {"unacked", info->bytes_unacked},
        {"unsent", info->bytes_unsent},
        {"pipe", info->bytes_in_pipe},
        {"segments", info->segments_in_flight},
        {"srtt", (uint64_t)info->rtt_smoothed_us},
        {"minrtt", (uint64_t)info->rtt_min_us},
        {"rto", (uint64_t)info->rto_us},
        {"recovering", info->recovering},
        {"released", current()->released},
        {"port", current()->port},
        {"retransmitted", t->segments_retransmitted},
        {"timeouts", t->timeouts},
        {"tail_probes", t->tail_probes},
        {"recoveries", t->recoveries},
        {"challenge_acks", t->challenge_acks},
        {"challenge_acks_held", t->challenge_acks_held},
        {"paws_rejected", t->paws_rejected},
        {"checksum_wrong", t->checksum_wrong},
        {"malformed", t->frames_malformed},
        {"icmp_ignored", t->icmp_ignored},
        {"mtu_lowered", t->mtu_lowered},
        {"out_of_order_dropped", t->out_of_order_dropped},
        {"duplicates", t->duplicates},
        {"time_wait_evicted", t->time_wait_evicted},
        {"window_probes", t->window_probes},
        {"spurious", t->spurious_recoveries},
        {"resets_out", t->resets_out},
        {"fragments", t->fragments_dropped},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(values); i++)
        if (strcmp(values[i].name, name) == 0)
            return values[i].value;
    fail("nothing to check called %s", name);
}

/* check NAME VALUE | check NAME LOW..HIGH | check state NAME */
static void do_check(char **words, int count)
{
    static const char *states[] = {"FREE",       "SYN_SENT",   "ESTABLISHED",
                                   "FIN_WAIT_1", "FIN_WAIT_2", "CLOSE_WAIT",
                                   "CLOSING",    "LAST_ACK",   "DEAD"};
    struct salvo_tcp_info info = {0};

    if (count < 2)
        fail("check NAME VALUE");
    salvo_tcp_conn_info(run.tcp, current()->handle, &info);
    if (strcmp(words[0], "state") == 0) {
        if (strcmp(states[info.state], words[1]) != 0)
            fail("state is %s, expected %s", states[info.state], words[1]);
        return;
    }
    uint64_t value = check_value(words[0], &info);
    char *dots = strstr(words[1], "..");
    char *last = words[1] + strlen(words[1]) - 1;
    bool is_time = *last == 's';
    int64_t high = 0, low = 0;
    if (dots != NULL) {
        *dots = '\0';
        high = is_time ? parse_time(dots + 2) : (int64_t)parse_number(dots + 2);
    }
    low = is_time && (dots == NULL || dots[-1] == 's') ? parse_time(words[1])
                                                       : (int64_t)parse_number(words[1]);
    if (dots == NULL)
        high = low;
    if ((int64_t)value < low || (int64_t)value > high)
        fail("%s is %llu, expected %lld to %lld", words[0], (unsigned long long)value,
             (long long)low, (long long)high);
}

static bool port_is_even(void *arg, const struct salvo_ip_address *remote, uint16_t remote_port,
                         uint16_t local_port)
{
    return local_port % 2 == 0;
}

static bool config_special(const char *name, const char *value)
{
    struct salvo_tcp_config *c = &run.config;

    if (strcmp(name, "ip") == 0) {
        run.six = value[0] == '6';
    } else if (strcmp(name, "arp") == 0) {
        run.arp_manual = strcmp(value, "manual") == 0;
    } else if (strcmp(name, "peer_isn") == 0) {
        run.peer_isn = parse_number(value);
    } else if (strcmp(name, "peer_timestamp") == 0) {
        run.peer_timestamp = parse_number(value);
    } else if (strcmp(name, "tso_max") == 0) {
        c->tso_max = parse_number(value);
        c->checksum_offload = true;
    } else if (strcmp(name, "clock") == 0) {
        run.now_us = parse_time(value);
    } else if (strcmp(name, "isn") == 0) {
        /* Moves the clock part of the ISN, RFC 6528, so that ours comes out near what the script
         * wants. */
        run.now_us = (int64_t)parse_number(value) * 4;
        memset(c->key, 0, sizeof(c->key));
    } else if (strcmp(name, "congestion") == 0) {
        c->congestion = strcmp(value, "newreno") == 0 ? SALVO_TCP_NEWRENO : SALVO_TCP_CUBIC;
    } else if (strcmp(name, "ports") == 0 && strcmp(value, "even") == 0) {
        c->port_accepts = port_is_even;
    } else if (strcmp(name, "gateway") == 0 && strcmp(value, "none") == 0) {
        c->gateway4.version = c->gateway6.version = 0;
    } else {
        return false;
    }
    return true;
}

static void do_config(char **words, int count)
{
    struct salvo_tcp_config *c = &run.config;
    const struct {
        const char *name;
        bool *flag;
        uint32_t *u32;
        uint16_t *u16;
        int64_t *time;
    } table[] = {
        {"sack", &c->sack, NULL, NULL, NULL},
        {"timestamps", &c->timestamps, NULL, NULL, NULL},
        {"window_scale", &c->window_scale, NULL, NULL, NULL},
        {"nagle", &c->nagle, NULL, NULL, NULL},
        {"pacing", &c->pacing, NULL, NULL, NULL},
        {"checksum_offload", &c->checksum_offload, NULL, NULL, NULL},
        {"reset_unknown", &c->reset_unknown, NULL, NULL, NULL},
        {"mtu", NULL, NULL, &c->mtu, NULL},
        {"port_first", NULL, NULL, &c->port_first, NULL},
        {"port_last", NULL, NULL, &c->port_last, NULL},
        {"conns_max", NULL, &c->conns_max, NULL, NULL},
        {"segments_max", NULL, &c->segments_max, NULL, NULL},
        {"ranges_max", NULL, &c->ranges_max, NULL, NULL},
        {"receive_size", NULL, &c->receive_size, NULL, NULL},
        {"time_wait_max", NULL, &c->time_wait_max, NULL, NULL},
        {"window_initial_segments", NULL, &c->window_initial_segments, NULL, NULL},
        {"challenge_acks_per_s", NULL, &c->challenge_acks_per_s, NULL, NULL},
        {"keepalive_probes", NULL, &c->keepalive_probes, NULL, NULL},
        {"black_hole_timeouts", NULL, &c->black_hole_timeouts, NULL, NULL},
        {"rto_min", NULL, NULL, NULL, &c->rto_min_us},
        {"rto_initial", NULL, NULL, NULL, &c->rto_initial_us},
        {"rto_max", NULL, NULL, NULL, &c->rto_max_us},
        {"delayed_ack", NULL, NULL, NULL, &c->delayed_ack_us},
        {"peer_delayed_ack", NULL, NULL, NULL, &c->peer_delayed_ack_us},
        {"connect_timeout", NULL, NULL, NULL, &c->connect_timeout_us},
        {"user_timeout", NULL, NULL, NULL, &c->user_timeout_us},
        {"keepalive", NULL, NULL, NULL, &c->keepalive_us},
        {"keepalive_interval", NULL, NULL, NULL, &c->keepalive_interval_us},
        {"time_wait", NULL, NULL, NULL, &c->time_wait_us},
        {"fin_wait", NULL, NULL, NULL, &c->fin_wait_us},
        {"neighbour_fresh", NULL, NULL, NULL, &c->neighbour_fresh_us},
    };

    if (count != 2)
        fail("config NAME VALUE");
    if (config_special(words[0], words[1]))
        return;
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(table); i++) {
        if (strcmp(table[i].name, words[0]) != 0)
            continue;
        if (table[i].flag != NULL)
            *table[i].flag = strcmp(words[1], "on") == 0;
        else if (table[i].u32 != NULL)
            *table[i].u32 = parse_number(words[1]);
        else if (table[i].u16 != NULL)
            *table[i].u16 = (uint16_t)parse_number(words[1]);
        else
            *table[i].time = parse_time(words[1]);
        return;
    }
    fail("no option %s", words[0]);
}

static void run_line(char *text);

/* establish [ts] [nosack] [nows] [mss N] [win N] [rtt TIME]: a handshake in one line. */
static void do_establish(char **words, int count)
{
    char line[256];
    bool sack = true, timestamps = false, scale = true;
    unsigned mss = 1000, window = 65535;
    const char *rtt = "10ms";

    for (int i = 0; i < count; i++) {
        if (strcmp(words[i], "ts") == 0)
            timestamps = true;
        else if (strcmp(words[i], "nosack") == 0)
            sack = false;
        else if (strcmp(words[i], "nows") == 0)
            scale = false;
        else if (strcmp(words[i], "mss") == 0 && i + 1 < count)
            mss = parse_number(words[++i]);
        else if (strcmp(words[i], "win") == 0 && i + 1 < count)
            window = parse_number(words[++i]);
        else if (strcmp(words[i], "rtt") == 0 && i + 1 < count)
            rtt = words[++i];
        else
            fail("establish: what is '%s'?", words[i]);
    }
    const char *lines[] = {"open", "> S 0:0", NULL, "> A 1:1 ack 1", "event UP", "event none"};
    char synack[200];
    snprintf(synack, sizeof(synack), "+%s < SA 0:0 ack 1 win %u mss %u%s%s%s", rtt, window, mss,
             scale ? " ws 7" : "", sack ? " sackok" : "", timestamps ? " ts 0" : "");
    lines[2] = synack;
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(lines); i++) {
        snprintf(line, sizeof(line), "%s", lines[i]);
        run_line(line);
    }
}

static void do_command(char **words, int count, int64_t early_us, int64_t late_us)
{
    const char *c = words[0];
    bool has_value = count > 1;

    if (strcmp(c, ">") == 0) {
        start();
        do_expect(words + 1, count - 1, early_us, late_us);
        return;
    }
    if (strcmp(c, "config") == 0) {
        do_config(words + 1, count - 1);
        return;
    }
    start();
    advance(late_us, false);
    if (strcmp(c, "quiet") == 0) /* nothing was sent until now */
        expect_no_packet();
    else if (strcmp(c, "skip") == 0) /* whatever was sent until now is of no interest */
        run.packet_head = run.packet_tail;
    else if (strcmp(c, "<") == 0 && has_value)
        do_segment(words + 1, count - 1);
    else if (strcmp(c, "open") == 0)
        do_open(words + 1, count - 1);
    else if (strcmp(c, "establish") == 0)
        do_establish(words + 1, count - 1);
    else if (strcmp(c, "event") == 0 && has_value)
        do_event(words + 1, count - 1);
    else if (strcmp(c, "send") == 0 && has_value)
        do_send(words + 1, count - 1);
    else if (strcmp(c, "read") == 0 && has_value)
        do_read(words + 1);
    else if (strcmp(c, "check") == 0)
        do_check(words + 1, count - 1);
    else if (strcmp(c, "use") == 0 && has_value)
        run.current = (int)parse_number(words[1]);
    else if (strcmp(c, "shutdown") == 0)
        salvo_tcp_shutdown(run.tcp, current()->handle, run.now_us), drain();
    else if (strcmp(c, "close") == 0)
        salvo_tcp_close(run.tcp, current()->handle, run.now_us), drain();
    else if (strcmp(c, "abort") == 0)
        salvo_tcp_abort(run.tcp, current()->handle, run.now_us), drain();
    else
        fail("no command %s", c);
}

/* [+TIME | +FROM..TO] command ... */
static void run_line(char *text)
{
    char *words[WORDS_MAX];
    int count = 0;
    int64_t early_us = run.now_us, late_us = run.now_us;
    char *comment = strchr(text, '#'), *save = NULL;

    if (comment != NULL)
        *comment = '\0';
    for (char *w = strtok_r(text, " \t\r\n", &save); w != NULL && count < WORDS_MAX;
         w = strtok_r(NULL, " \t\r\n", &save))
        words[count++] = w;
    if (count == 0)
        return;
    int first = 0;
    if (words[0][0] == '+') {
        char *dots = strstr(words[0], "..");
        if (dots != NULL)
            *dots = '\0';
        early_us = run.now_us + parse_time(words[0] + 1);
        late_us = dots != NULL ? run.now_us + parse_time(dots + 2) : early_us;
        first = 1;
    }
    if (first == count)
        fail("a time and nothing else");
    do_command(words + first, count - first, early_us, late_us);
}

static void run_end(void)
{
    if (run.tcp == NULL)
        fail("an empty script");
    expect_no_packet();
    for (int i = run.event_head; i < run.event_tail; i++)
        if (run.events[i].kind == SALVO_TCP_DOWN)
            fail("a DOWN event that no line expects");
}

static void run_reset(const char *path)
{
    memset(&run, 0, sizeof(run));
    run.path = path;
    run.now_us = 1000000;
    run.peer_isn = 5000;
    run.peer_timestamp = 70000;
    salvo_tcp_config_defaults(&run.config);
    struct salvo_tcp_config *c = &run.config;
    memcpy(c->mac, our_mac, 6);
    uint8_t six[16] = {0x20, 1, 0xd, 0xb8};
    six[15] = 1;
    c->address4 = salvo_ip4_address(10, 0, 0, 1);
    c->gateway4 = salvo_ip4_address(10, 0, 0, 2);
    c->address6 = salvo_ip6_address(six);
    six[15] = 2;
    c->gateway6 = salvo_ip6_address(six);
    c->prefix4_bits = 28;
    c->prefix6_bits = 124;
    c->conns_max = CONNS_MAX;
    c->segments_max = 256;
    c->ranges_max = 64;
    c->receive_size = 65536;
    c->keepalive_us = 0;
    c->timestamps = true;
    memset(c->key, 7, sizeof(c->key));
}

static bool run_script(const char *path)
{
    char text[512];
    FILE *file = fopen(path, "r");
    volatile bool good = false;

    run_reset(path);
    if (file == NULL) {
        fprintf(stderr, "%s: cannot be opened\n", path);
        return false;
    }
    if (setjmp(failed) == 0) {
        while (fgets(text, sizeof(text), file) != NULL) {
            run.line++;
            run_line(text);
        }
        run_end();
        good = true;
    }
    fclose(file);
    free(run.memory);
    return good;
}

int main(int argc, char **argv)
{
    int passed = 0, count = 0;

    for (uint32_t i = 0, x = 12345; i < STREAM_SIZE; i++)
        stream[i] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
    for (int i = 1; i < argc; i++, count++)
        passed += run_script(argv[i]);
    printf("%d passed, %d failed\n", passed, count - passed);
    return passed == count && count != 0 ? 0 : 1;
}
