/* Runs packet scripts (README.md tells the language) against dataplane/tcp. Exit 0 when all pass.
 *
 * The machine is driven by hand: a line's time is waited for by running the timers that come before
 * it, and every packet put out is noted with its time. A `>` line takes the next noted packet; a
 * packet that no line takes fails the script, as does one that is malformed or carries a wrong
 * byte. */
#include "tests/packet/rig.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 48

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
    rig_fail("not a time: %s", text);
}

static uint32_t parse_number(const char *text)
{
    char *end;
    long long value = strtoll(text, &end, 0);

    if (end == text || *end != '\0')
        rig_fail("not a number: %s", text);
    return (uint32_t)value;
}

static void parse_pair(const char *text, uint32_t pair[2])
{
    char *end;

    pair[0] = (uint32_t)strtoll(text, &end, 0);
    if (*end != ':')
        rig_fail("not a pair a:b: %s", text);
    pair[1] = (uint32_t)strtoll(end + 1, &end, 0);
}

static uint8_t parse_flags(const char *text)
{
    uint8_t flags = 0;

    for (; *text != '\0'; text++) {
        const char *at = strchr("FSRPA", *text);
        if (at == NULL)
            rig_fail("no such flag: %c", *text);
        flags |= (uint8_t)(1 << (at - "FSRPA"));
    }
    return flags;
}

static struct peer *current(void)
{
    return &rig.peers[rig.current];
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
    rig_fail("what is '%s'?", w);
}

static void expect_same(const char *what, uint32_t got, uint32_t wanted, const struct noted *n)
{
    if (got != wanted)
        rig_fail("%s is %u, expected %u: %s", what, got, wanted, rig_noted_text(n));
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
        expect_same("echo", got->echo - rig.peer_timestamp, want->echo, n);
    if (named & NAMED_NOTS)
        expect_same("timestamps present", got->has_timestamp, 0, n);
    expect_same("number of SACK blocks", got->sack_count, want->sack_count, n);
    for (unsigned i = 0; i < want->sack_count; i++) {
        expect_same("SACK start", got->sack[i][0] - rig.peer_isn, sack[i][0], n);
        expect_same("SACK end", got->sack[i][1] - rig.peer_isn, sack[i][1], n);
    }
}

static const struct noted *next_packet(int64_t early_us, int64_t late_us, enum wire_kind kind)
{
    rig_advance(late_us, true);
    if (rig.packet_head == rig.packet_tail)
        rig_fail("no packet came");
    const struct noted *n = &rig.packets[rig.packet_head++];
    if (n->kind != kind)
        rig_fail("another kind of packet: %s", rig_noted_text(n));
    if (n->at_us < early_us || n->at_us > late_us)
        rig_fail("at %lld us, expected %lld to %lld: %s", (long long)n->at_us, (long long)early_us,
                 (long long)late_us, rig_noted_text(n));
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
        rig_fail("> FLAGS start:end ...");
    want.flags = parse_flags(words[0]);
    bool anywhere = strcmp(words[1], "*") == 0;
    if (!anywhere)
        parse_pair(words[1], range);
    while (i < count)
        i += parse_option_word(words + i, count - i, &want, sack, &named);

    const struct noted *n = next_packet(early_us, late_us, WIRE_TCP);
    const struct peer *p = rig_peer_of_port(n->segment.source_port);
    uint8_t ignored = want.flags & WIRE_PSH ? 0 : WIRE_PSH;
    if (p == NULL)
        rig_fail("packet of no connection: %s", rig_noted_text(n));
    if ((n->segment.flags & ~ignored) != want.flags)
        rig_fail("flags differ: %s", rig_noted_text(n));
    if (!anywhere) {
        expect_same("seq", n->segment.seq - p->iss, range[0], n);
        expect_same("size", n->segment.size, range[1] - range[0], n);
    }
    if (named & NAMED_ACK)
        expect_same("ack", n->segment.ack - rig.peer_isn, want.ack, n);
    expect_options(n, &want, sack, named, p);
}

static void input(uint8_t *frame, uint32_t size)
{
    salvo_tcp_input(rig.tcp, frame, size, false, rig.now_us);
    tcp_check(rig.tcp);
    rig_drain();
}

static void do_icmp(char **words, int count)
{
    uint8_t frame[256];
    struct wire_segment quoted = rig.last_sent;
    struct peer *p = current();
    uint32_t mtu = 0;
    uint8_t type = rig.six ? 1 : 3, code = 0;

    if (strcmp(words[0], "echo") == 0) {
        uint32_t size = wire_icmp(frame, &quoted, rig.six ? 128 : 8, 0, 0x00010001);
        input(frame, size);
        return;
    }
    if (strcmp(words[0], "toobig") == 0) {
        type = rig.six ? 2 : 3;
        code = rig.six ? 0 : 4;
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

    memcpy(mac, rig_peer_mac, 6);
    rig_address(us, 1);
    rig_address(them, 2);
    for (int i = 2; i + 1 < count; i += 2) {
        if (strcmp(words[i], "mac") == 0)
            mac[5] = (uint8_t)parse_number(words[i + 1]);
        else if (strcmp(words[i], "from") == 0)
            rig_address(them, (uint8_t)parse_number(words[i + 1]));
        else if (strcmp(words[i], "for") == 0)
            rig_address(us, (uint8_t)parse_number(words[i + 1]));
    }
    if (strcmp(words[0], "arp") == 0)
        input(frame, wire_arp(frame, ask ? 1 : 2, mac, them, ask ? all : rig_our_mac, us));
    else
        input(frame, wire_nd(frame, ask ? 135 : 136, strcmp(words[1], "far") == 0 ? 254 : 255, mac,
                             them, rig_our_mac, us, ask ? us : them));
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

    rig_expect_no_packet();
    if (strcmp(words[0], "icmp") == 0) {
        do_icmp(words + 1, count - 1);
        return;
    }
    if (strcmp(words[0], "arp") == 0 || strcmp(words[0], "nd") == 0) {
        do_link(words, count);
        return;
    }
    if (count < 2)
        rig_fail("< FLAGS start:end ...");
    s.flags = parse_flags(words[0]);
    parse_pair(words[1], range);
    while (i < count)
        i += parse_option_word(words + i, count - i, &s, sack, &named);

    s.six = rig.six;
    memcpy(s.source_mac, rig_peer_mac, 6);
    memcpy(s.target_mac, rig_our_mac, 6);
    rig_address(s.source, 2);
    rig_address(s.target, 1);
    s.seq = range[0] + rig.peer_isn;
    s.size = range[1] - range[0];
    s.payload = rig_stream + (range[0] == 0 ? 0 : (range[0] - 1) % (STREAM_SIZE / 2));
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
            s.timestamp = (uint32_t)(rig.now_us / 1000);
        s.has_timestamp = true;
        s.timestamp += rig.peer_timestamp;
        s.echo = named & NAMED_ECR ? s.echo + p->timestamp_0 : p->timestamp_last;
    }
    uint32_t size = wire_build(frame, &s);
    if (named & NAMED_CORRUPT)
        frame[size - 1] ^= 0x40;
    input(frame, size);
}

static void start(void)
{
    if (rig.tcp != NULL)
        return;
    if (salvo_tcp_config_check(&rig.config) != 0)
        rig_fail("the configuration cannot be");
    size_t size = salvo_align_up(salvo_tcp_memory_size(&rig.config), 64);
    rig.memory = aligned_alloc(64, size);
    /* Nothing may rely on zeros. Of gigabytes of receive memory, which lie last, only the
     * beginning. */
    memset(rig.memory, 0xa5, SALVO_MIN(size, SALVO_MIB(64)));
    rig.tcp = salvo_tcp_init(rig.memory, &rig.config);
}

static void do_open(char **words, int count)
{
    struct salvo_tcp_target target = {.port = 9876, .cookie = (uint64_t)rig.peer_count};
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
    rig_address(bytes, last);
    target.address = rig.six ? salvo_ip6_address(bytes)
                             : salvo_ip4_address(bytes[0], bytes[1], bytes[2], bytes[3]);
    if (rig.isn_given && rig.peer_count == 0) { /* the clock's part of the ISN: RFC 6528 */
        uint32_t isn, timestamp;
        tcp_first_numbers(rig.memory, &rig.config, &target, &isn, &timestamp);
        rig.now_us = (int64_t)(rig.isn - isn) * 4;
        rig.tcp = salvo_tcp_init(rig.memory, &rig.config);
    }
    uint64_t handle = 0;
    enum salvo_tcp_open_result r = salvo_tcp_open(rig.tcp, &target, rig.now_us, &handle);
    if (r != wanted)
        rig_fail("open gives %d, expected %d", (int)r, (int)wanted);
    if (r != SALVO_TCP_OPEN_OK)
        return;
    if (rig.peer_count == CONNS_MAX)
        rig_fail("too many connections in one script");
    struct salvo_tcp_info info;
    salvo_tcp_conn_info(rig.tcp, handle, &info);
    rig.current = rig.peer_count++;
    *current() = (struct peer){.handle = handle, .port = info.local_port, .opened = true};
    rig_drain();
}

static void do_event(char **words, int count)
{
    static const char *kinds[] = {"UP", "DATA", "RELEASED", "PEER_CLOSED", "DOWN"};
    static const char *reasons[] = {"CLOSED",  "REFUSED",     "RESET",
                                    "TIMEOUT", "UNREACHABLE", "ABORTED"};

    if (strcmp(words[0], "none") == 0) {
        if (rig.event_head != rig.event_tail)
            rig_fail("unexpected event: %s %llu", kinds[rig.events[rig.event_head].kind],
                     (unsigned long long)rig.events[rig.event_head].bytes);
        return;
    }
    if (rig.event_head == rig.event_tail)
        rig_fail("no event, expected %s", words[0]);
    const struct salvo_tcp_event *e = &rig.events[rig.event_head++];
    if (strcmp(kinds[e->kind], words[0]) != 0)
        rig_fail("event %s %llu, expected %s", kinds[e->kind], (unsigned long long)e->bytes,
                 words[0]);
    for (int i = 1; i < count; i++) {
        if (isdigit((unsigned char)words[i][0])) {
            if (e->bytes != parse_number(words[i]))
                rig_fail("event %s %llu, expected %s", kinds[e->kind], (unsigned long long)e->bytes,
                         words[i]);
        } else if (strcmp(reasons[e->reason], words[i]) != 0) {
            rig_fail("reason %s, expected %s", reasons[e->reason], words[i]);
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
        const uint8_t *bytes = n == size ? rig_stream + p->sent + taken : copy;
        if (bytes == copy)
            memcpy(copy, rig_stream + p->sent + taken, n);
        struct salvo_tcp_range range = {bytes, n};
        size_t t = salvo_tcp_send(rig.tcp, p->handle, &range, 1, rig.now_us);
        taken += t;
        if (t != n)
            break;
    }
    if (taken != wanted)
        rig_fail("send took %zu, expected %u", taken, wanted);
    p->sent += taken;
    rig_drain();
}

static void do_read(char **words)
{
    struct peer *p = current();
    struct salvo_tcp_range ranges[2];
    unsigned n = salvo_tcp_readable(rig.tcp, p->handle, ranges);
    size_t readable = (n > 0 ? ranges[0].size : 0) + (n > 1 ? ranges[1].size : 0);
    size_t size = strcmp(words[0], "all") == 0 ? readable : parse_number(words[0]);

    if (size > readable)
        rig_fail("only %zu bytes are readable", readable);
    for (size_t i = 0, left = size; i < n && left != 0; i++) {
        size_t part = SALVO_MIN(left, ranges[i].size);
        if (memcmp(ranges[i].bytes, rig_stream + p->read, part) != 0)
            rig_fail("wrong bytes received at %llu", (unsigned long long)p->read);
        p->read += part;
        left -= part;
    }
    salvo_tcp_consume(rig.tcp, p->handle, size, rig.now_us);
    rig_drain();
}

static uint64_t check_value(const char *name, const struct salvo_tcp_info *info)
{
    const struct salvo_tcp_stats *t = salvo_tcp_stats(rig.tcp);
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
    rig_fail("nothing to check called %s", name);
}

/* check NAME VALUE | check NAME LOW..HIGH | check state NAME */
static void do_check(char **words, int count)
{
    static const char *states[] = {"FREE",       "SYN_SENT",   "ESTABLISHED",
                                   "FIN_WAIT_1", "FIN_WAIT_2", "CLOSE_WAIT",
                                   "CLOSING",    "LAST_ACK",   "DEAD"};
    struct salvo_tcp_info info = {0};

    if (count < 2)
        rig_fail("check NAME VALUE");
    salvo_tcp_conn_info(rig.tcp, current()->handle, &info);
    if (strcmp(words[0], "state") == 0) {
        if (strcmp(states[info.state], words[1]) != 0)
            rig_fail("state is %s, expected %s", states[info.state], words[1]);
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
        rig_fail("%s is %llu, expected %lld to %lld", words[0], (unsigned long long)value,
                 (long long)low, (long long)high);
}

static bool port_is_even(void *arg, const struct salvo_ip_address *remote, uint16_t remote_port,
                         uint16_t local_port)
{
    return local_port % 2 == 0;
}

static bool config_special(const char *name, const char *value)
{
    struct salvo_tcp_config *c = &rig.config;

    if (strcmp(name, "ip") == 0) {
        rig.six = value[0] == '6';
    } else if (strcmp(name, "arp") == 0) {
        rig.arp_manual = strcmp(value, "manual") == 0;
    } else if (strcmp(name, "peer_isn") == 0) {
        rig.peer_isn = parse_number(value);
    } else if (strcmp(name, "peer_timestamp") == 0) {
        rig.peer_timestamp = parse_number(value);
    } else if (strcmp(name, "tso_max") == 0) {
        c->tso_max = parse_number(value);
        c->checksum_offload = true;
    } else if (strcmp(name, "cut_max") == 0) {
        c->tso_max = parse_number(value);
    } else if (strcmp(name, "clock") == 0) {
        rig.now_us = parse_time(value);
    } else if (strcmp(name, "isn") == 0) {
        rig.isn = parse_number(value);
        rig.isn_given = true;
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
    struct salvo_tcp_config *c = &rig.config;
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
        rig_fail("config NAME VALUE");
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
    rig_fail("no option %s", words[0]);
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
            rig_fail("establish: what is '%s'?", words[i]);
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
    rig_advance(late_us, false);
    if (strcmp(c, "quiet") == 0) /* nothing was sent until now */
        rig_expect_no_packet();
    else if (strcmp(c, "skip") == 0) /* whatever was sent until now is of no interest */
        rig.packet_head = rig.packet_tail;
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
        rig.current = (int)parse_number(words[1]);
    else if (strcmp(c, "link") == 0 && has_value)
        rig.link_down = strcmp(words[1], "down") == 0, rig_drain();
    else if (strcmp(c, "shutdown") == 0)
        salvo_tcp_shutdown(rig.tcp, current()->handle, rig.now_us), rig_drain();
    else if (strcmp(c, "close") == 0)
        salvo_tcp_close(rig.tcp, current()->handle, rig.now_us), rig_drain();
    else if (strcmp(c, "abort") == 0)
        salvo_tcp_abort(rig.tcp, current()->handle, rig.now_us), rig_drain();
    else
        rig_fail("no command %s", c);
}

/* [+TIME | +FROM..TO] command ... */
static void run_line(char *text)
{
    char *words[WORDS_MAX];
    int count = 0;
    int64_t early_us = rig.now_us, late_us = rig.now_us;
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
        early_us = rig.now_us + parse_time(words[0] + 1);
        late_us = dots != NULL ? rig.now_us + parse_time(dots + 2) : early_us;
        first = 1;
    }
    if (first == count)
        rig_fail("a time and nothing else");
    do_command(words + first, count - first, early_us, late_us);
}

static void run_end(void)
{
    if (rig.tcp == NULL)
        rig_fail("an empty script");
    rig_expect_no_packet();
    for (int i = rig.event_head; i < rig.event_tail; i++)
        if (rig.events[i].kind == SALVO_TCP_DOWN)
            rig_fail("a DOWN event that no line expects");
}

static void run_reset(const char *path)
{
    memset(&rig, 0, sizeof(rig));
    rig.path = path;
    rig.now_us = 1000000;
    rig.peer_isn = 5000;
    rig.peer_timestamp = 70000;
    salvo_tcp_config_defaults(&rig.config);
    struct salvo_tcp_config *c = &rig.config;
    memcpy(c->mac, rig_our_mac, 6);
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
    if (sigsetjmp(rig_failed, 1) == 0) {
        while (fgets(text, sizeof(text), file) != NULL) {
            rig.line++;
            run_line(text);
        }
        run_end();
        good = true;
    }
    fclose(file);
    free(rig.memory);
    return good;
}

/* An assertion fails its script alone. */
static void on_abort(int signal_number)
{
    rig_fail("the assertion above");
}

int main(int argc, char **argv)
{
    int passed = 0, count = 0;

    signal(SIGABRT, on_abort);
    for (uint32_t i = 0, x = 12345; i < STREAM_SIZE; i++)
        rig_stream[i] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
    printf("1..%d\n", argc - 1); /* TAP */
    for (int i = 1; i < argc; i++, count++) {
        const char *slash = strrchr(argv[i], '/');
        bool good = run_script(argv[i]);
        passed += good;
        printf("%s %d - %s\n", good ? "ok" : "not ok", i, slash == NULL ? argv[i] : slash + 1);
    }
    fprintf(stderr, "%d passed, %d failed\n", passed, count - passed);
    return passed == count && count != 0 ? 0 : 1;
}
