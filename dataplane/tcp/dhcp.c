/* See dhcp.h. Sections are RFC 2131's unless said otherwise.
 *
 * What a server sent is parsed and refused, never asserted. */
#include "dataplane/tcp/dhcp.h"

#include "base/assert.h"
#include "base/bytes.h"

#include <string.h>

#define DHCP_PROTOCOL_UDP 17
#define DHCP_PORT_SERVER  67
#define DHCP_PORT_CLIENT  68
#define DHCP_UDP_SIZE     8
#define DHCP_FIXED_SIZE   236 /* BOOTP's fields, before the cookie */
#define DHCP_COOKIE       0x63825363u

#define DHCP_DISCOVER 1
#define DHCP_OFFER    2
#define DHCP_REQUEST  3
#define DHCP_ACK      5
#define DHCP_NAK      6

#define OPTION_MASK     1
#define OPTION_ROUTER   3
#define OPTION_MTU      26
#define OPTION_ADDRESS  50
#define OPTION_LEASE    51
#define OPTION_OVERLOAD 52
#define OPTION_TYPE     53
#define OPTION_SERVER   54
#define OPTION_ASKED    55
#define OPTION_T1       58
#define OPTION_T2       59
#define OPTION_CLIENT   61
#define OPTION_END      255

/* Section 4.1: 4 s, doubled up to 64 s, each a second more or less. */
#define DHCP_WAIT_US     INT64_C(4000000)
#define DHCP_WAIT_US_MAX INT64_C(64000000)
#define DHCP_SECOND_US   INT64_C(1000000)
/* Section 4.4.5: no renewal is repeated sooner. */
#define DHCP_RENEW_US_MIN INT64_C(60000000)
/* REQUESTs of one offer before all begins anew. */
#define DHCP_REQUESTS_MAX 4
#define DHCP_FOREVER      UINT32_MAX

/* What an answer holds. */
struct dhcp_answer {
    uint8_t type;
    uint8_t overload;
    bool mask_given;
    uint32_t mask, lease_s, t1_s, t2_s; /* 0: not given */
    struct salvo_dhcp_lease lease;
};

/* --- asking ----------------------------------------------------------------------------------- */

static int64_t ask_wait_us(struct salvo_dhcp *d, unsigned times)
{
    int64_t wait_us = DHCP_WAIT_US << SALVO_MIN(times, 4u);

    return SALVO_MIN(wait_us, DHCP_WAIT_US_MAX) - DHCP_SECOND_US +
           (int64_t)salvo_random_below(&d->random, 2 * DHCP_SECOND_US + 1);
}

static void ask_anew(struct salvo_dhcp *d, int64_t now_us)
{
    d->state = SALVO_DHCP_SELECTING;
    d->exchange = (uint32_t)salvo_random_next(&d->random);
    d->started_us = d->asked_us = now_us;
    d->tries = 0;
    d->wanted = true;
    d->due_us = INT64_MAX; /* output says */
}

/* What was leased is not ours any more. */
static void lease_end(struct salvo_dhcp *d, int64_t now_us)
{
    if (salvo_dhcp_bound(d))
        d->lost++;
    d->lease = (struct salvo_dhcp_lease){0};
    ask_anew(d, now_us);
}

/* Anew at once; but a server that goes on to refuse what it offers would be asked as fast as it
 * answers. */
static void refused(struct salvo_dhcp *d, int64_t now_us)
{
    d->naks++;
    lease_end(d, now_us);
    if (d->refusals++ == 0)
        return;
    d->wanted = false;
    d->due_us = now_us + ask_wait_us(d, d->refusals - 2);
}

void salvo_dhcp_init(struct salvo_dhcp *d, const uint8_t mac[6], uint64_t seed, int64_t now_us)
{
    memset(d, 0, sizeof(*d));
    memcpy(d->mac, mac, 6);
    salvo_random_init(&d->random, seed);
    ask_anew(d, now_us);
}

/* --- time ------------------------------------------------------------------------------------- */

int64_t salvo_dhcp_deadline_us(const struct salvo_dhcp *d)
{
    if (!d->wanted)
        return d->due_us;
    if (!salvo_dhcp_bound(d))
        return INT64_MAX;
    return d->state == SALVO_DHCP_RENEWING ? d->rebind_us : d->lease.ends_us;
}

static void renew_timers(struct salvo_dhcp *d, int64_t now_us)
{
    enum salvo_dhcp_state state =
        now_us >= d->rebind_us ? SALVO_DHCP_REBINDING : SALVO_DHCP_RENEWING;
    if (d->state != state) {
        d->exchange = (uint32_t)salvo_random_next(&d->random);
        d->started_us = d->asked_us = now_us;
        d->state = state;
    }
    d->wanted = true;
}

void salvo_dhcp_timers(struct salvo_dhcp *d, int64_t now_us)
{
    /* Also when a question still waits to go out: there may be no room or no link for long. */
    if (salvo_dhcp_bound(d) && now_us >= d->lease.ends_us) {
        lease_end(d, now_us);
        return;
    }
    if (d->wanted && d->state == SALVO_DHCP_RENEWING && now_us >= d->rebind_us)
        renew_timers(d, now_us);
    if (d->wanted || now_us < d->due_us)
        return;
    if (salvo_dhcp_bound(d))
        renew_timers(d, now_us);
    else if (d->state == SALVO_DHCP_REQUESTING && d->tries >= DHCP_REQUESTS_MAX)
        ask_anew(d, now_us);
    else
        d->wanted = true;
}

/* Section 4.4.5: half of what is left until the next state, and not sooner than a minute. */
static int64_t renew_next_us(const struct salvo_dhcp *d, int64_t now_us)
{
    int64_t until_us = d->state == SALVO_DHCP_RENEWING ? d->rebind_us : d->lease.ends_us;
    int64_t wait_us = SALVO_MAX((until_us - now_us) / 2, DHCP_RENEW_US_MIN);

    return SALVO_MIN(now_us + wait_us, until_us);
}

/* --- out -------------------------------------------------------------------------------------- */

static void write_address(struct salvo_writer *w, uint8_t option,
                          const struct salvo_ip_address *address)
{
    salvo_write_u8(w, option);
    salvo_write_u8(w, 4);
    salvo_write_bytes(w, address->bytes, 4);
}

static void write_options(const struct salvo_dhcp *d, struct salvo_writer *w)
{
    static const uint8_t asked[] = {OPTION_MASK,   OPTION_ROUTER, OPTION_MTU, OPTION_LEASE,
                                    OPTION_SERVER, OPTION_T1,     OPTION_T2};

    salvo_write_u32(w, DHCP_COOKIE);
    salvo_write_u16(w, OPTION_TYPE << 8 | 1);
    salvo_write_u8(w, d->state == SALVO_DHCP_SELECTING ? DHCP_DISCOVER : DHCP_REQUEST);
    salvo_write_u16(w, OPTION_CLIENT << 8 | 7);
    salvo_write_u8(w, 1); /* Ethernet */
    salvo_write_bytes(w, d->mac, 6);
    if (d->state == SALVO_DHCP_REQUESTING) { /* table 5: both only here */
        write_address(w, OPTION_ADDRESS, &d->offer.address);
        write_address(w, OPTION_SERVER, &d->offer.server);
    }
    salvo_write_u16(w, OPTION_ASKED << 8 | sizeof(asked));
    salvo_write_bytes(w, asked, sizeof(asked));
    salvo_write_u8(w, OPTION_END);
}

/*   0    1      2      3      4     8      10      12       16       20       24       28
 *   | op | kind | size | hops | xid | secs | flags | ciaddr | yiaddr | siaddr | giaddr | chaddr ...
 *   44            108          236
 *   | sname (64) | file (128) | cookie, options ...
 *
 * The broadcast flag stays off: frames to our MAC reach us before we have an address. */
static void write_message(const struct salvo_dhcp *d, uint8_t *p, int64_t now_us)
{
    struct salvo_writer w = salvo_writer_over(p + DHCP_FIXED_SIZE, 300 - DHCP_FIXED_SIZE);

    memset(p, 0, 300);
    p[0] = p[1] = 1;
    p[2] = 6;
    salvo_store_be32(p + 4, d->exchange);
    salvo_store_be16(
        p + 8, (uint16_t)SALVO_MIN((now_us - d->started_us) / DHCP_SECOND_US, INT64_C(65535)));
    if (salvo_dhcp_bound(d))
        memcpy(p + 12, d->lease.address.bytes, 4);
    memcpy(p + 28, d->mac, 6);
    write_options(d, &w);
    salvo_assert(!w.failed);
}

static void sent(struct salvo_dhcp *d, int64_t now_us)
{
    d->wanted = false;
    if (salvo_dhcp_bound(d))
        d->due_us = renew_next_us(d, now_us);
    else
        d->due_us = now_us + ask_wait_us(d, d->tries);
    d->tries++;
}

uint32_t salvo_dhcp_output(struct salvo_dhcp *d, uint8_t *frame, int64_t now_us)
{
    static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct salvo_ip_address from = salvo_ip4_address(0, 0, 0, 0);
    struct salvo_ip_address to = salvo_ip4_address(255, 255, 255, 255);
    uint8_t *udp = frame + SALVO_ETHERNET_SIZE + SALVO_IP4_SIZE;
    bool direct = d->state == SALVO_DHCP_RENEWING;

    if (!d->wanted)
        return 0;
    if (salvo_dhcp_bound(d))
        from = d->lease.address;
    if (direct)
        to = d->lease.server;
    memcpy(frame, direct ? d->server_mac : everybody, 6);
    memcpy(frame + 6, d->mac, 6);
    salvo_store_be16(frame + 12, SALVO_ETHERTYPE_IP4);
    salvo_ip_build(frame + SALVO_ETHERNET_SIZE, &from, &to, DHCP_PROTOCOL_UDP, 64,
                   DHCP_UDP_SIZE + 300);
    salvo_store_be16(udp, DHCP_PORT_CLIENT);
    salvo_store_be16(udp + 2, DHCP_PORT_SERVER);
    salvo_store_be16(udp + 4, DHCP_UDP_SIZE + 300);
    salvo_store_be16(udp + 6, 0);
    write_message(d, udp + DHCP_UDP_SIZE, now_us);
    uint64_t sum = salvo_sum_pseudo(&from, &to, DHCP_PROTOCOL_UDP, DHCP_UDP_SIZE + 300);
    uint16_t checksum = salvo_sum_finish(salvo_sum_bytes(udp, DHCP_UDP_SIZE + 300, sum));
    if (checksum == 0) /* RFC 768: zero says that there is none */
        checksum = 0xffff;
    memcpy(udp + 6, &checksum, 2);
    sent(d, now_us);
    return SALVO_DHCP_FRAME_SIZE;
}

/* --- in --------------------------------------------------------------------------------------- */

static void parse_option(uint8_t option, struct salvo_reader r, struct dhcp_answer *answer)
{
    size_t size = salvo_reader_left(&r);
    const uint8_t *p = r.at;

    if (option == OPTION_TYPE && size == 1) {
        answer->type = p[0];
    } else if (option == OPTION_OVERLOAD && size == 1) {
        answer->overload = p[0];
    } else if (option == OPTION_MTU && size == 2) {
        answer->lease.mtu = salvo_load_be16(p);
    } else if (option == OPTION_MASK && size == 4) {
        answer->mask_given = true;
        answer->mask = salvo_load_be32(p);
    } else if (option == OPTION_ROUTER && size >= 4) { /* the first is preferred */
        answer->lease.gateway = salvo_ip4_address(p[0], p[1], p[2], p[3]);
    } else if (option == OPTION_SERVER && size == 4) {
        answer->lease.server = salvo_ip4_address(p[0], p[1], p[2], p[3]);
    } else if (option == OPTION_LEASE && size == 4) {
        answer->lease_s = salvo_load_be32(p);
    } else if (option == OPTION_T1 && size == 4) {
        answer->t1_s = salvo_load_be32(p);
    } else if (option == OPTION_T2 && size == 4) {
        answer->t2_s = salvo_load_be32(p);
    }
}

/* False when a length passes the end. */
static bool parse_options(struct salvo_reader r, struct dhcp_answer *answer)
{
    while (salvo_reader_left(&r) != 0) {
        uint8_t option = salvo_read_u8(&r);

        if (option == OPTION_END)
            return true;
        if (option == 0)
            continue;
        uint8_t size = salvo_read_u8(&r);
        const uint8_t *value = salvo_read_bytes(&r, size);
        if (value == NULL || r.failed)
            return false;
        parse_option(option, salvo_reader_over(value, size), answer);
    }
    return true;
}

/* Whether the answer names an address that we could live with. A gateway that is none is left out:
 * the brokers may be on the link. It may lie outside the network, as clouds have it. */
static bool answer_usable(struct dhcp_answer *answer)
{
    struct salvo_dhcp_lease *lease = &answer->lease;
    uint32_t host = ~answer->mask;

    if (answer->lease_s == 0 || !answer->mask_given || answer->mask == 0 || (host & (host + 1)) ||
        !salvo_ip4_is_host(&lease->address, host) || !salvo_ip4_is_host(&lease->server, 0) ||
        salvo_ip_equal(&lease->server, &lease->address))
        return false;
    bool near = ((salvo_load_be32(lease->gateway.bytes) ^ salvo_load_be32(lease->address.bytes)) &
                 answer->mask) == 0;
    if (!salvo_ip4_is_host(&lease->gateway, near ? host : 0) ||
        salvo_ip_equal(&lease->gateway, &lease->address))
        lease->gateway = (struct salvo_ip_address){0};
    lease->prefix_bits = (uint8_t)__builtin_popcount(answer->mask);
    if (lease->mtu < SALVO_IP4_MTU_SAFE)
        lease->mtu = 0;
    return true;
}

static bool parse_message(const struct salvo_dhcp *d, const uint8_t *p, uint32_t size,
                          struct dhcp_answer *answer)
{
    *answer = (struct dhcp_answer){0};
    if (size < DHCP_FIXED_SIZE + 4 || p[0] != 2 || p[1] != 1 || p[2] != 6 ||
        salvo_load_be32(p + DHCP_FIXED_SIZE) != DHCP_COOKIE || memcmp(p + 28, d->mac, 6) != 0)
        return false;
    uint32_t options_size = size - DHCP_FIXED_SIZE - 4;
    answer->lease.address = salvo_ip4_address(p[16], p[17], p[18], p[19]);
    if (!parse_options(salvo_reader_over(p + DHCP_FIXED_SIZE + 4, options_size), answer))
        return false;
    /* RFC 2132 section 9.3: options may go on in `file`, in `sname`, or in both. */
    if ((answer->overload & 1) && !parse_options(salvo_reader_over(p + 108, 128), answer))
        return false;
    return !(answer->overload & 2) || parse_options(salvo_reader_over(p + 44, 64), answer);
}

/* Section 4.4.5: times count from when we asked; half and seven eighths unless said otherwise. */
static void lease_take(struct salvo_dhcp *d, const struct dhcp_answer *answer)
{
    int64_t lease_us = answer->lease_s * DHCP_SECOND_US;
    int64_t t1_us = answer->t1_s * DHCP_SECOND_US;
    int64_t t2_us = answer->t2_s * DHCP_SECOND_US;

    if (t2_us == 0 || t2_us >= lease_us)
        t2_us = lease_us / 8 * 7;
    if (t1_us == 0 || t1_us >= t2_us)
        t1_us = SALVO_MIN(lease_us / 2, t2_us);
    d->state = SALVO_DHCP_BOUND;
    d->acks++;
    d->tries = d->refusals = 0;
    d->wanted = false;
    d->lease = answer->lease;
    if (answer->lease_s == DHCP_FOREVER) {
        d->lease.ends_us = d->renew_us = d->rebind_us = d->due_us = INT64_MAX;
        return;
    }
    d->lease.ends_us = d->asked_us + lease_us;
    d->rebind_us = d->asked_us + t2_us;
    d->renew_us = d->due_us = d->asked_us + t1_us;
}

static void offered(struct salvo_dhcp *d, const struct dhcp_answer *answer, int64_t now_us)
{
    if (d->state != SALVO_DHCP_SELECTING || d->tries == 0)
        return; /* the first one is taken */
    d->offer = answer->lease;
    d->state = SALVO_DHCP_REQUESTING;
    d->asked_us = now_us;
    d->tries = 0;
    d->wanted = true;
}

static void acknowledged(struct salvo_dhcp *d, const struct dhcp_answer *answer,
                         const uint8_t *source_mac, int64_t now_us)
{
    if (d->state == SALVO_DHCP_REQUESTING &&
        !salvo_ip_equal(&answer->lease.address, &d->offer.address)) {
        d->malformed++; /* not what was asked for: the question is repeated */
        return;
    }
    if (salvo_dhcp_bound(d) && !salvo_ip_equal(&answer->lease.address, &d->lease.address)) {
        lease_end(d, now_us); /* another address in answer to a renewal: ours is gone */
        return;
    }
    memcpy(d->server_mac, source_mac, 6);
    lease_take(d, answer);
}

/* Whether a REQUEST of ours is open, and this server was asked: the one whose offer or lease it is;
 * past T2 all are. Every server hears a broadcast, and another's NAK is not about us. */
static bool answer_is_awaited(const struct salvo_dhcp *d, const struct dhcp_answer *answer)
{
    const struct salvo_ip_address *server = &answer->lease.server;

    switch (d->state) {
    case SALVO_DHCP_REQUESTING:
        return salvo_ip_equal(server, &d->offer.server);
    case SALVO_DHCP_RENEWING:
        return salvo_ip_equal(server, &d->lease.server);
    case SALVO_DHCP_REBINDING:
        return true;
    default:
        return false;
    }
}

static void message_in(struct salvo_dhcp *d, const uint8_t *message, uint32_t size,
                       const uint8_t *source_mac, int64_t now_us)
{
    struct dhcp_answer answer;

    if (!parse_message(d, message, size, &answer)) {
        d->malformed++;
        return;
    }
    if (salvo_load_be32(message + 4) != d->exchange)
        return; /* of an exchange before, or of nobody's */
    if (answer.type == DHCP_NAK) {
        if (!answer_is_awaited(d, &answer))
            return;
        refused(d, now_us);
        return;
    }
    if (answer.type != DHCP_OFFER && (answer.type != DHCP_ACK || !answer_is_awaited(d, &answer)))
        return;
    if (!answer_usable(&answer))
        d->malformed++;
    else if (answer.type == DHCP_OFFER)
        offered(d, &answer, now_us);
    else
        acknowledged(d, &answer, source_mac, now_us);
}

void salvo_dhcp_input(struct salvo_dhcp *d, const uint8_t *frame, uint32_t size, int64_t now_us)
{
    struct salvo_ip_packet ip;
    const uint8_t *udp;

    if (size < SALVO_ETHERNET_SIZE || salvo_load_be16(frame + 12) != SALVO_ETHERTYPE_IP4 ||
        (!(frame[0] & 1) && memcmp(frame, d->mac, 6) != 0) ||
        salvo_ip_parse(frame + SALVO_ETHERNET_SIZE, size - SALVO_ETHERNET_SIZE, false, &ip) !=
            SALVO_IP_OK)
        return;
    udp = ip.payload;
    if (ip.protocol != DHCP_PROTOCOL_UDP || ip.payload_size < DHCP_UDP_SIZE ||
        salvo_load_be16(udp) != DHCP_PORT_SERVER || salvo_load_be16(udp + 2) != DHCP_PORT_CLIENT)
        return;
    uint16_t udp_size = salvo_load_be16(udp + 4);
    if (udp_size < DHCP_UDP_SIZE || udp_size > ip.payload_size) {
        d->malformed++;
        return;
    }
    uint64_t sum = salvo_sum_pseudo(&ip.source, &ip.target, DHCP_PROTOCOL_UDP, udp_size);
    if (salvo_load_be16(udp + 6) != 0 &&
        salvo_sum_fold(salvo_sum_bytes(udp, udp_size, sum)) != 0xffff) {
        d->malformed++;
        return;
    }
    message_in(d, udp + DHCP_UDP_SIZE, udp_size - DHCP_UDP_SIZE, frame + 6, now_us);
}
