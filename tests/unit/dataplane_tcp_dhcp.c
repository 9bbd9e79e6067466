/* dataplane/tcp/dhcp: against a server of its own code, packet by packet, in driven time. */
#include "tests/unit/unit.h"

#include "base/bytes.h"
#include "dataplane/tcp/dhcp.h"

#define SECOND INT64_C(1000000)

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t server_mac[6] = {2, 0, 0, 0, 0, 9};
static const uint8_t server_ip[4] = {10, 1, 0, 1};
static const uint8_t our_ip[4] = {10, 1, 0, 77};

/* What the machine said, by a decoder of its own. */
struct said {
    bool any;
    uint8_t type;
    uint32_t exchange;
    uint8_t to_mac[6], from[4], to[4], ciaddr[4];
    bool has_address, has_server;
    uint8_t address[4], server[4];
};

struct rig {
    struct salvo_dhcp dhcp;
    int64_t now_us;
    struct said said;
};

/* What a server says; zero lengths and times are left out. */
struct answer {
    uint8_t type;
    uint32_t exchange, lease_s, t1_s, t2_s, mask;
    uint16_t mtu;
    uint8_t address[4], server[4], router[4]; /* both server_ip unless given */
    bool no_router, overloaded, cut, sum_wrong, no_sum, other_client;
};

static uint16_t sum16(const uint8_t *bytes, size_t size, uint32_t sum)
{
    for (size_t i = 0; i < size; i++)
        sum += i & 1 ? bytes[i] : (uint32_t)bytes[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static const uint8_t *option_of(const uint8_t *options, size_t size, uint8_t wanted)
{
    for (size_t i = 0; i + 1 < size && options[i] != 255;
         i += options[i] == 0 ? 1 : 2u + options[i + 1])
        if (options[i] == wanted)
            return options + i + 2;
    return NULL;
}

/* Takes the next frame and looks at everything that must be right in each. */
static const struct said *hear(struct rig *rig)
{
    uint8_t f[SALVO_DHCP_FRAME_SIZE];
    uint32_t size = salvo_dhcp_output(&rig->dhcp, f, rig->now_us);
    struct said *s = &rig->said;
    const uint8_t *ip = f + 14, *udp = f + 34, *m = f + 42, *option;

    *s = (struct said){.any = size != 0};
    if (size == 0)
        return s;
    assert_int_equal(size, sizeof(f));
    assert_int_equal(sum16(ip, 20, 0), 0xffff);
    assert_int_equal(salvo_load_be16(ip + 2), size - 14);
    assert_int_equal(salvo_load_be16(udp), 68);
    assert_int_equal(salvo_load_be16(udp + 2), 67);
    assert_int_equal(salvo_load_be16(udp + 4), size - 34);
    assert_int_equal(sum16(udp, size - 34, sum16(ip + 12, 8, 0) + 17u + (size - 34)), 0xffff);
    assert_int_equal(m[0], 1);
    assert_memory_equal(m + 28, our_mac, 6);
    assert_memory_equal(f + 6, our_mac, 6);
    assert_int_equal(salvo_load_be32(m + 236), 0x63825363);
    memcpy(s->to_mac, f, 6);
    memcpy(s->from, ip + 12, 4);
    memcpy(s->to, ip + 16, 4);
    memcpy(s->ciaddr, m + 12, 4);
    s->exchange = salvo_load_be32(m + 4);
    option = option_of(m + 240, 60, 53);
    assert_non_null(option);
    s->type = option[0];
    if ((option = option_of(m + 240, 60, 50)) != NULL) {
        s->has_address = true;
        memcpy(s->address, option, 4);
    }
    if ((option = option_of(m + 240, 60, 54)) != NULL) {
        s->has_server = true;
        memcpy(s->server, option, 4);
    }
    assert_false(salvo_dhcp_output(&rig->dhcp, f, rig->now_us));
    return s;
}

static void write_number(struct salvo_writer *w, uint8_t option, uint32_t value)
{
    if (value == 0)
        return;
    salvo_write_u8(w, option);
    salvo_write_u8(w, 4);
    salvo_write_u32(w, value);
}

static void say(struct rig *rig, const struct answer *a)
{
    uint8_t f[14 + 20 + 8 + 300] = {0};
    uint8_t *ip = f + 14, *udp = f + 34, *m = f + 42;
    struct salvo_writer w = salvo_writer_over(m + 236, 64);
    uint32_t size = sizeof(f);

    memcpy(f, our_mac, 6);
    memcpy(f + 6, server_mac, 6);
    salvo_store_be16(f + 12, 0x0800);
    m[0] = 2;
    m[1] = 1;
    m[2] = 6;
    salvo_store_be32(m + 4, a->exchange);
    memcpy(m + 16, a->address, 4);
    memcpy(m + 28, our_mac, 6);
    m[33] ^= a->other_client;
    salvo_write_u32(&w, 0x63825363);
    if (a->overloaded) { /* all but its type lies in `file` */
        salvo_write_bytes(&w, (const uint8_t[]){52, 1, 1, 53, 1, a->type, 255}, 7);
        w = salvo_writer_over(m + 108, 128);
    } else {
        salvo_write_bytes(&w, (const uint8_t[]){53, 1, a->type}, 3);
    }
    write_number(&w, 54, salvo_load_be32(a->server[0] != 0 ? a->server : server_ip));
    write_number(&w, 1, a->mask);
    if (!a->no_router)
        write_number(&w, 3, salvo_load_be32(a->router[0] != 0 ? a->router : server_ip));
    write_number(&w, 51, a->lease_s);
    write_number(&w, 58, a->t1_s);
    write_number(&w, 59, a->t2_s);
    if (a->mtu != 0) {
        salvo_write_u16(&w, 26 << 8 | 2);
        salvo_write_u16(&w, a->mtu);
    }
    salvo_write_u8(&w, a->cut ? 12 : 255);
    if (a->cut) /* a length that passes the end */
        salvo_write_u8(&w, 200);
    ip[0] = 0x45;
    salvo_store_be16(ip + 2, (uint16_t)(size - 14));
    ip[8] = 64;
    ip[9] = 17;
    memcpy(ip + 12, server_ip, 4);
    memcpy(ip + 16, a->address, 4);
    salvo_store_be16(ip + 10, (uint16_t)~sum16(ip, 20, 0));
    salvo_store_be16(udp, 67);
    salvo_store_be16(udp + 2, 68);
    salvo_store_be16(udp + 4, (uint16_t)(size - 34));
    if (!a->no_sum)
        salvo_store_be16(
            udp + 6, (uint16_t)~sum16(udp, size - 34, sum16(ip + 12, 8, 0) + 17u + (size - 34)));
    if (a->sum_wrong)
        m[20] ^= 1;
    for (uint32_t n = 0; n < size; n++) /* cut anywhere: nothing happens, nothing is read behind */
        if (n % 7 == 0) {
            uint8_t *exact = malloc(n == 0 ? 1 : n);

            memcpy(exact, f, n);
            salvo_dhcp_input(&rig->dhcp, exact, n, rig->now_us);
            free(exact);
        }
    salvo_dhcp_input(&rig->dhcp, f, size, rig->now_us);
}

static struct answer answer_of(const struct rig *rig, uint8_t type)
{
    struct answer a = {
        .type = type, .exchange = rig->said.exchange, .lease_s = 1000, .mask = 0xffffff00};

    memcpy(a.address, our_ip, 4);
    return a;
}

static struct rig rig_make(uint64_t seed)
{
    struct rig rig = {.now_us = 5 * SECOND};

    salvo_dhcp_init(&rig.dhcp, our_mac, seed, rig.now_us);
    return rig;
}

/* To the next deadline, which must not have passed. Returns how long that took. */
static int64_t pass(struct rig *rig)
{
    int64_t before_us = rig->now_us;

    assert_true(salvo_dhcp_deadline_us(&rig->dhcp) > rig->now_us);
    rig->now_us = salvo_dhcp_deadline_us(&rig->dhcp);
    salvo_dhcp_timers(&rig->dhcp, rig->now_us);
    return rig->now_us - before_us;
}

static void bind_it(struct rig *rig, uint32_t lease_s)
{
    struct answer a;

    assert_int_equal(hear(rig)->type, 1);
    a = answer_of(rig, 2);
    say(rig, &a);
    assert_int_equal(hear(rig)->type, 3);
    a = answer_of(rig, 5);
    a.lease_s = lease_s;
    say(rig, &a);
    assert_true(salvo_dhcp_bound(&rig->dhcp));
}

static void an_address_is_asked_for_and_taken(void **state)
{
    struct rig rig = rig_make(1);
    const struct said *s = hear(&rig);
    static const uint8_t everybody[6] = {255, 255, 255, 255, 255, 255}, none[4];
    struct answer a;

    assert_int_equal(s->type, 1);
    assert_false(s->has_address || s->has_server);
    assert_memory_equal(s->to_mac, everybody, 6);
    assert_memory_equal(s->from, none, 4);
    assert_memory_equal(s->to, everybody, 4);
    a = answer_of(&rig, 2);
    a.mtu = 1400;
    say(&rig, &a);
    assert_false(salvo_dhcp_bound(&rig.dhcp)); /* an offer is no lease */
    s = hear(&rig);
    assert_int_equal(s->type, 3);
    assert_int_equal(s->exchange, a.exchange);
    assert_true(s->has_address && s->has_server);
    assert_memory_equal(s->address, our_ip, 4);
    assert_memory_equal(s->server, server_ip, 4);
    assert_memory_equal(s->ciaddr, none, 4);
    assert_memory_equal(s->to_mac, everybody, 6);
    a.type = 5;
    say(&rig, &a);
    assert_true(salvo_dhcp_bound(&rig.dhcp));
    assert_memory_equal(rig.dhcp.lease.address.bytes, our_ip, 4);
    assert_memory_equal(rig.dhcp.lease.gateway.bytes, server_ip, 4);
    assert_int_equal(rig.dhcp.lease.prefix_bits, 24);
    assert_int_equal(rig.dhcp.lease.mtu, 1400);
    assert_int_equal(rig.dhcp.lease.ends_us, 1005 * SECOND);
    assert_int_equal(salvo_dhcp_deadline_us(&rig.dhcp), 505 * SECOND);
    assert_false(hear(&rig)->any);
}

/* 4, 8, 16, 32, 64, 64 seconds, a second more or less, and not the same for two seeds. */
static void questions_are_repeated_with_back_off(void **state)
{
    struct rig rig = rig_make(2), other = rig_make(3);
    bool differs = false;

    for (unsigned i = 0; i < 7; i++) {
        int64_t wanted_us = SALVO_MIN(4 * SECOND << i, 64 * SECOND);

        assert_int_equal(hear(&rig)->type, 1);
        assert_int_equal(hear(&other)->type, 1);
        int64_t us = pass(&rig);
        assert_in_range(us, wanted_us - SECOND, wanted_us + SECOND);
        differs |= us != pass(&other);
    }
    assert_true(differs);
}

static void a_request_without_answer_begins_anew(void **state)
{
    struct rig rig = rig_make(4);
    uint32_t first = hear(&rig)->exchange;
    struct answer a = answer_of(&rig, 2);

    say(&rig, &a);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(hear(&rig)->type, 3);
        pass(&rig);
    }
    assert_int_equal(hear(&rig)->type, 1);
    assert_int_not_equal(rig.said.exchange, first);
    a = answer_of(&rig, 5); /* an ACK of the exchange before */
    a.exchange = first;
    say(&rig, &a);
    assert_false(salvo_dhcp_bound(&rig.dhcp));
    assert_int_equal(rig.dhcp.lost, 0);
}

static void a_nak_begins_anew(void **state)
{
    struct rig rig = rig_make(5);
    struct answer a;

    hear(&rig);
    a = answer_of(&rig, 2);
    say(&rig, &a);
    hear(&rig);
    a = answer_of(&rig, 6);
    say(&rig, &a);
    assert_int_equal(rig.dhcp.naks, 1);
    assert_int_equal(rig.dhcp.lost, 0);
    bind_it(&rig, 1000);
}

/* It would be asked as fast as it answers. The first time at once: a lease may have been lost. */
static void a_server_that_refuses_what_it_offers_is_asked_with_back_off(void **state)
{
    struct rig rig = rig_make(5);
    struct answer a;

    for (unsigned i = 0; i < 8; i++) {
        if (i > 1) {
            int64_t wanted_us = SALVO_MIN(4 * SECOND << (i - 2), 64 * SECOND);

            assert_false(hear(&rig)->any);
            assert_in_range(pass(&rig), wanted_us - SECOND, wanted_us + SECOND);
        }
        assert_int_equal(hear(&rig)->type, 1);
        a = answer_of(&rig, 2);
        say(&rig, &a);
        assert_int_equal(hear(&rig)->type, 3);
        a = answer_of(&rig, 6);
        say(&rig, &a);
        say(&rig, &a); /* that exchange is over: nothing */
    }
    assert_int_equal(rig.dhcp.naks, 8);
    pass(&rig);
    bind_it(&rig, 1000);
    pass(&rig);
    hear(&rig);
    a = answer_of(&rig, 6);
    say(&rig, &a);
    assert_int_equal(rig.dhcp.lost, 1);
    bind_it(&rig, 1000);
}

static void a_lease_is_renewed_with_its_server(void **state)
{
    struct rig rig = rig_make(6);
    struct answer a;

    bind_it(&rig, 1000);
    assert_int_equal(pass(&rig), 500 * SECOND);
    assert_int_equal(hear(&rig)->type, 3);
    assert_false(rig.said.has_address || rig.said.has_server); /* table 5 */
    assert_memory_equal(rig.said.ciaddr, our_ip, 4);
    assert_memory_equal(rig.said.from, our_ip, 4);
    assert_memory_equal(rig.said.to, server_ip, 4);
    assert_memory_equal(rig.said.to_mac, server_mac, 6);
    assert_true(salvo_dhcp_bound(&rig.dhcp)); /* it holds meanwhile */
    rig.now_us += SECOND;
    a = answer_of(&rig, 5);
    a.t1_s = 100;
    a.t2_s = 200;
    say(&rig, &a);
    assert_int_equal(rig.dhcp.acks, 2);
    assert_int_equal(rig.dhcp.lease.ends_us, rig.now_us - SECOND + 1000 * SECOND);
    assert_int_equal(pass(&rig), 99 * SECOND);
    assert_int_equal(rig.dhcp.lost, 0);
}

/* Half of what is left, a minute at least; then anybody is asked; then it is over. */
static void a_lease_that_nobody_renews_is_lost(void **state)
{
    static const struct {
        int64_t after_s;
        bool anybody;
    } asks[] = {{1800, false}, {675, false}, {337, false}, {168, false}, {84, false},
                {60, false},   {24, true},   {225, true},  {112, true},  {60, true}};
    struct rig rig = rig_make(7);
    int64_t start_us = rig.now_us;

    bind_it(&rig, 3600);
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(asks); i++) {
        int64_t us = pass(&rig);

        assert_in_range(us, asks[i].after_s * SECOND, (asks[i].after_s + 1) * SECOND);
        assert_int_equal(hear(&rig)->type, 3);
        assert_int_equal(rig.said.to[0] == 255, asks[i].anybody);
        assert_memory_equal(rig.said.ciaddr, our_ip, 4);
        assert_int_equal(rig.dhcp.lost, 0);
    }
    pass(&rig);
    assert_int_equal(rig.now_us, start_us + 3600 * SECOND);
    assert_int_equal(rig.dhcp.lost, 1);
    assert_false(salvo_dhcp_bound(&rig.dhcp));
    bind_it(&rig, 1000);
}

/* No room, or no link: what the machine wants to say stays with it. */
static void a_lease_ends_while_nothing_can_be_sent(void **state)
{
    struct rig rig = rig_make(8);

    (void)state;
    bind_it(&rig, 1000);
    rig.now_us = rig.dhcp.renew_us;
    salvo_dhcp_timers(&rig.dhcp, rig.now_us);
    assert_true(salvo_dhcp_bound(&rig.dhcp));
    rig.now_us = rig.dhcp.lease.ends_us;
    salvo_dhcp_timers(&rig.dhcp, rig.now_us);
    assert_false(salvo_dhcp_bound(&rig.dhcp));
    assert_int_equal(rig.dhcp.lost, 1);
    assert_int_equal(hear(&rig)->type, 1);
}

static void a_lease_that_is_taken_back_is_lost(void **state)
{
    for (unsigned by_nak = 0; by_nak < 2; by_nak++) {
        struct rig rig = rig_make(8);
        struct answer a;

        bind_it(&rig, 1000);
        pass(&rig);
        hear(&rig);
        a = answer_of(&rig, by_nak ? 6 : 5);
        a.address[3]++; /* or another one in its place */
        say(&rig, &a);
        assert_int_equal(rig.dhcp.lost, 1);
        assert_false(salvo_dhcp_bound(&rig.dhcp));
        assert_int_equal(hear(&rig)->type, 1);
    }
}

static void a_lease_for_ever_asks_nothing(void **state)
{
    struct rig rig = rig_make(9);

    bind_it(&rig, UINT32_MAX);
    assert_true(salvo_dhcp_deadline_us(&rig.dhcp) == INT64_MAX);
    assert_true(rig.dhcp.lease.ends_us == INT64_MAX);
}

static void answers_that_cannot_be_are_refused(void **state)
{
    static const struct {
        const char *what;
        struct answer a;
        bool good;
    } cases[] = {
        {"as it should be", {.mask = 0xffff0000, .lease_s = 60}, true},
        {"no checksum", {.mask = 0xffff0000, .lease_s = 60, .no_sum = true}, true},
        {"no router", {.mask = 0xffff0000, .lease_s = 60, .no_router = true}, true},
        {"options in `file`", {.mask = 0xffff0000, .lease_s = 60, .overloaded = true}, true},
        {"no mask", {.lease_s = 60}, false},
        {"a mask with holes", {.mask = 0xff00ff00, .lease_s = 60}, false},
        {"no time", {.mask = 0xffff0000}, false},
        {"another's", {.mask = 0xffff0000, .lease_s = 60, .other_client = true}, false},
        {"wrong checksum", {.mask = 0xffff0000, .lease_s = 60, .sum_wrong = true}, false},
        {"length past the end", {.mask = 0xffff0000, .lease_s = 60, .cut = true}, false},
        {"a group's address",
         {.mask = 0xffff0000, .lease_s = 60, .address = {224, 0, 0, 1}},
         false},
        {"this host's", {.mask = 0xffff0000, .lease_s = 60, .address = {127, 0, 0, 1}}, false},
        {"the network's", {.mask = 0xffff0000, .lease_s = 60, .address = {10, 1, 0, 0}}, false},
        {"everybody's", {.mask = 0xffff0000, .lease_s = 60, .address = {10, 1, 255, 255}}, false},
        {"of two", {.mask = 0xfffffffe, .lease_s = 60, .address = {10, 1, 255, 255}}, true},
        {"of one", {.mask = 0xffffffff, .lease_s = 60, .address = {10, 1, 255, 255}}, true},
        {"a group for a server",
         {.mask = 0xffff0000, .lease_s = 60, .server = {224, 0, 0, 1}},
         false},
        {"everybody for a server",
         {.mask = 0xffff0000, .lease_s = 60, .server = {255, 255, 255, 255}},
         false},
        {"a server that is us",
         {.mask = 0xffff0000, .lease_s = 60, .server = {10, 1, 0, 77}},
         false},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        struct rig rig = rig_make(10 + i);
        struct answer a = cases[i].a;

        hear(&rig);
        a.type = 2;
        a.exchange = rig.said.exchange;
        if (a.address[0] == 0)
            memcpy(a.address, our_ip, 4);
        say(&rig, &a);
        if (hear(&rig)->any != cases[i].good)
            fail_msg("%s", cases[i].what);
    }
}

/* The brokers may be on the link: what is no gateway is left out. */
static void a_gateway_that_cannot_be_is_left_out(void **state)
{
    static const struct {
        uint8_t router[4];
        bool good;
    } cases[] = {
        {{10, 1, 0, 1}, true},      {{10, 9, 0, 1}, true}, /* not on the link, as in clouds */
        {{10, 1, 255, 255}, false}, {{10, 1, 0, 77}, false}, {{127, 0, 0, 1}, false},
        {{224, 0, 0, 1}, false},    {{240, 0, 0, 1}, false}, {{255, 255, 255, 255}, false},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        struct rig rig = rig_make(30 + i);
        struct answer a;

        hear(&rig);
        a = answer_of(&rig, 2);
        a.mask = 0xffff0000;
        memcpy(a.router, cases[i].router, 4);
        say(&rig, &a);
        hear(&rig);
        a.type = 5;
        say(&rig, &a);
        assert_true(salvo_dhcp_bound(&rig.dhcp));
        assert_int_equal(rig.dhcp.lease.gateway.version, cases[i].good ? 4 : 0);
        if (cases[i].good)
            assert_memory_equal(rig.dhcp.lease.gateway.bytes, cases[i].router, 4);
    }
}

/* To whom a REQUEST was, and for what. */
static void only_what_was_asked_for_is_taken(void **state)
{
    static const uint8_t other[4] = {10, 1, 0, 2};
    struct rig rig = rig_make(40);
    struct answer offer, a;

    hear(&rig);
    offer = answer_of(&rig, 2);
    say(&rig, &offer);
    assert_int_equal(hear(&rig)->type, 3);
    a = answer_of(&rig, 5);
    a.address[3]++;
    say(&rig, &a);
    assert_false(salvo_dhcp_bound(&rig.dhcp));
    for (uint8_t type = 5; type <= 6; type++) {
        a = answer_of(&rig, type);
        memcpy(a.server, other, 4);
        say(&rig, &a);
        assert_int_equal(rig.dhcp.state, SALVO_DHCP_REQUESTING);
    }
    assert_int_equal(rig.dhcp.naks, 0);
    pass(&rig); /* and is asked again */
    assert_int_equal(hear(&rig)->type, 3);
    a = answer_of(&rig, 5);
    say(&rig, &a);
    assert_true(salvo_dhcp_bound(&rig.dhcp));

    pass(&rig); /* T1: its server alone */
    assert_int_equal(hear(&rig)->type, 3);
    a = answer_of(&rig, 6);
    memcpy(a.server, other, 4);
    say(&rig, &a);
    assert_int_equal(rig.dhcp.lost, 0);
    rig.now_us = rig.dhcp.rebind_us; /* T2: anybody */
    salvo_dhcp_timers(&rig.dhcp, rig.now_us);
    assert_int_equal(hear(&rig)->to[0], 255);
    a = answer_of(&rig, 5);
    memcpy(a.server, other, 4);
    say(&rig, &a);
    assert_int_equal(rig.dhcp.state, SALVO_DHCP_BOUND);
    assert_memory_equal(rig.dhcp.lease.server.bytes, other, 4);
}

/* The link was down from T1 on: when it is back behind T2, anybody is asked. */
static void rebinding_begins_while_a_question_waits(void **state)
{
    struct rig rig = rig_make(41);

    bind_it(&rig, 1000);
    pass(&rig);
    assert_int_equal(rig.dhcp.state, SALVO_DHCP_RENEWING);
    assert_int_equal(pass(&rig), 375 * SECOND);
    assert_int_equal(rig.dhcp.state, SALVO_DHCP_REBINDING);
    assert_int_equal(salvo_dhcp_deadline_us(&rig.dhcp), rig.dhcp.lease.ends_us);
    assert_int_equal(hear(&rig)->to[0], 255);
    assert_int_equal(rig.dhcp.lost, 0);
}

/* Noise in what a server said: nothing is read past the end, and time always goes on. */
static void noise_does_no_harm(void **state)
{
    struct salvo_random random;
    uint64_t seed = unit_seed(1);

    print_message("SALVO_SEED=%llu\n", (unsigned long long)seed);
    salvo_random_init(&random, seed);
    for (unsigned i = 0; i < 3000; i++) {
        struct rig rig = rig_make(i);
        struct answer a;

        for (unsigned turn = 0; turn < 12; turn++) {
            hear(&rig);
            a = answer_of(&rig, (uint8_t)salvo_random_below(&random, 8));
            a.lease_s = (uint32_t)salvo_random_next(&random) >> salvo_random_below(&random, 32);
            a.t1_s = (uint32_t)salvo_random_next(&random) >> salvo_random_below(&random, 32);
            a.t2_s = (uint32_t)salvo_random_next(&random) >> salvo_random_below(&random, 32);
            say(&rig, &a);
            if (salvo_dhcp_bound(&rig.dhcp) && rig.dhcp.lease.ends_us == INT64_MAX)
                break;
            if (salvo_dhcp_deadline_us(&rig.dhcp) == INT64_MAX)
                continue; /* a question waits */
            if (salvo_dhcp_deadline_us(&rig.dhcp) > rig.now_us)
                pass(&rig);
            else
                salvo_dhcp_timers(&rig.dhcp, rig.now_us);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_is_asked_for_and_taken),
        cmocka_unit_test(questions_are_repeated_with_back_off),
        cmocka_unit_test(a_request_without_answer_begins_anew),
        cmocka_unit_test(a_nak_begins_anew),
        cmocka_unit_test(a_server_that_refuses_what_it_offers_is_asked_with_back_off),
        cmocka_unit_test(a_lease_is_renewed_with_its_server),
        cmocka_unit_test(a_lease_that_nobody_renews_is_lost),
        cmocka_unit_test(a_lease_ends_while_nothing_can_be_sent),
        cmocka_unit_test(a_lease_that_is_taken_back_is_lost),
        cmocka_unit_test(a_lease_for_ever_asks_nothing),
        cmocka_unit_test(answers_that_cannot_be_are_refused),
        cmocka_unit_test(a_gateway_that_cannot_be_is_left_out),
        cmocka_unit_test(only_what_was_asked_for_is_taken),
        cmocka_unit_test(rebinding_begins_while_a_question_waits),
        cmocka_unit_test(noise_does_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
