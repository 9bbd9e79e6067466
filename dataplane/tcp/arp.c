/* Neighbours of both families, and ARP (RFC 826), which finds the IPv4 ones. nd.c finds the others.
 *
 * A connection holds the entry of its next hop: the peer when it is on the link, else the gateway.
 * Entries are made for connections only, never because a stranger spoke. An entry is used unasked
 * while it is fresh; ACKs that move a connection keep it fresh (RFC 4861 section 7.3.1); an old one
 * is asked again but used meanwhile (RFC 1122 section 2.3.2.1), and such ACKs answer for it. */
#include "dataplane/tcp/tcp_conn.h"

#include <string.h>

/* Three questions without an answer (RFC 4861 section 10) and connections that wait are told. */
#define ASK_MAX 3

uint32_t salvo_tcp_neighbour_hold(struct salvo_tcp *tcp, const struct salvo_ip_address *remote)
{
    const struct salvo_tcp_config *c = &tcp->config;
    bool six = remote->version == 6;
    const struct salvo_ip_address *local = six ? &c->address6 : &c->address4;
    const struct salvo_ip_address *hop =
        salvo_ip_same_prefix(remote, local, six ? c->prefix6_bits : c->prefix4_bits) ? remote
        : six                                                                        ? &c->gateway6
                                                                                     : &c->gateway4;
    uint32_t free = TCP_NONE;

    if (local->version == 0 || hop->version == 0 || salvo_ip_equal(hop, local))
        return TCP_NONE;
    for (uint32_t i = 0; i < tcp->config.conns_max; i++) {
        struct tcp_neighbour *n = &tcp->neighbours[i];
        if (n->state != TCP_NEIGHBOUR_FREE && salvo_ip_equal(&n->address, hop)) {
            n->conns++;
            return i;
        }
        if (n->conns == 0 && (free == TCP_NONE || n->state == TCP_NEIGHBOUR_FREE))
            free = i;
    }
    if (free != TCP_NONE)
        tcp->neighbours[free] = (struct tcp_neighbour){
            .address = *hop, .state = TCP_NEIGHBOUR_ASKING, .conns = 1, .due_us = INT64_MAX};
    return free;
}

void salvo_tcp_neighbour_drop(struct salvo_tcp *tcp, uint32_t neighbour)
{
    salvo_assert(tcp->neighbours[neighbour].conns > 0);
    tcp->neighbours[neighbour].conns--; /* what is known is kept for the next connection */
}

/*   0             2               4        5        6           8     14    18    24
 *   | hardware, 1 | protocol, IP4 | size 6 | size 4 | operation | MAC | IP4 | MAC | IP4 |
 *                                                              sender      target       */
static void arp_out(struct salvo_tcp *tcp, uint16_t operation, const uint8_t target_mac[6],
                    const uint8_t target_ip[4])
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t unknown[6];
    struct tcp_raw *raw = salvo_tcp_raw_claim(tcp);

    if (raw == NULL)
        return;
    struct salvo_writer w = salvo_writer_over(raw->bytes, sizeof(raw->bytes));
    salvo_write_bytes(&w, target_mac == NULL ? broadcast : target_mac, 6);
    salvo_write_bytes(&w, tcp->config.mac, 6);
    salvo_write_u16(&w, SALVO_ETHERTYPE_ARP);
    salvo_write_u16(&w, 1);
    salvo_write_u16(&w, SALVO_ETHERTYPE_IP4);
    salvo_write_u16(&w, 0x0604);
    salvo_write_u16(&w, operation);
    salvo_write_bytes(&w, tcp->config.mac, 6);
    salvo_write_bytes(&w, tcp->config.address4.bytes, 4);
    salvo_write_bytes(&w, target_mac == NULL ? unknown : target_mac, 6);
    salvo_write_bytes(&w, target_ip, 4);
    raw->size = (uint32_t)salvo_writer_size(&w);
}

static void neighbour_ask(struct salvo_tcp *tcp, struct tcp_neighbour *n, int64_t now_us)
{
    n->asked++;
    n->due_us = now_us + tcp->config.neighbour_retry_us;
    tcp->neighbour_due_us = SALVO_MIN(tcp->neighbour_due_us, n->due_us);
    if (n->address.version == 6)
        salvo_nd_ask(tcp, n);
    else /* to the known address first: RFC 1122 section 2.3.2.1 (2), unicast poll */
        arp_out(tcp, 1, n->state == TCP_NEIGHBOUR_PROBING ? n->mac : NULL, n->address.bytes);
}

const uint8_t *salvo_tcp_neighbour_mac(struct salvo_tcp *tcp, uint32_t neighbour, int64_t now_us)
{
    struct tcp_neighbour *n = &tcp->neighbours[neighbour];

    if (SALVO_LIKELY(n->state == TCP_NEIGHBOUR_KNOWN)) {
        if (now_us - n->confirmed_us <= tcp->config.neighbour_fresh_us)
            return n->mac;
        n->state = TCP_NEIGHBOUR_PROBING;
        n->asked = 0;
        neighbour_ask(tcp, n, now_us);
    } else if (n->state == TCP_NEIGHBOUR_ASKING && n->due_us == INT64_MAX) {
        n->asked = 0;
        neighbour_ask(tcp, n, now_us);
    }
    return n->state == TCP_NEIGHBOUR_ASKING ? NULL : n->mac;
}

/* Connections that waited for the address go on, or are told that there is none. */
static void neighbour_tell(struct salvo_tcp *tcp, uint32_t neighbour, bool reached)
{
    for (uint32_t i = 0; i < tcp->config.conns_max; i++) {
        struct salvo_tcp_conn *conn = &tcp->conns[i];

        if (conn->neighbour != neighbour || conn->state == SALVO_TCP_FREE ||
            conn->state == SALVO_TCP_DEAD)
            continue;
        if (reached) {
            conn->wait_neighbour = false;
            salvo_tcp_ready(tcp, conn);
        } else if (conn->state == SALVO_TCP_SYN_SENT) {
            salvo_tcp_down(tcp, conn, SALVO_TCP_REASON_UNREACHABLE);
        } /* an established one has its user timeout: the link may come back */
    }
}

/* `answer`: it was sent because we asked. Only that, or a matching address, makes it fresh;
 * `override` says that another MAC may replace the known one. */
void salvo_tcp_neighbour_heard(struct salvo_tcp *tcp, const struct salvo_ip_address *address,
                               const uint8_t mac[6], bool answer, bool override, int64_t now_us)
{
    for (uint32_t i = 0; i < tcp->config.conns_max; i++) {
        struct tcp_neighbour *n = &tcp->neighbours[i];

        if (n->state == TCP_NEIGHBOUR_FREE || !salvo_ip_equal(&n->address, address))
            continue;
        if (mac[0] & 1)
            return; /* no host has a group's address */
        bool same = n->state != TCP_NEIGHBOUR_ASKING && memcmp(n->mac, mac, 6) == 0;
        if (n->state != TCP_NEIGHBOUR_ASKING && !same && !override)
            return;
        bool waited = n->state == TCP_NEIGHBOUR_ASKING;
        memcpy(n->mac, mac, 6);
        if (answer || same || waited) {
            n->state = TCP_NEIGHBOUR_KNOWN;
            n->confirmed_us = now_us;
            n->due_us = INT64_MAX;
        }
        if (waited)
            neighbour_tell(tcp, i, true);
        return;
    }
}

void salvo_tcp_neighbour_timers(struct salvo_tcp *tcp, int64_t now_us)
{
    tcp->neighbour_due_us = INT64_MAX;
    for (uint32_t i = 0; i < tcp->config.conns_max; i++) {
        struct tcp_neighbour *n = &tcp->neighbours[i];

        if (n->state == TCP_NEIGHBOUR_FREE || n->due_us == INT64_MAX)
            continue;
        if (n->due_us > now_us) {
            tcp->neighbour_due_us = SALVO_MIN(tcp->neighbour_due_us, n->due_us);
            continue;
        }
        n->due_us = INT64_MAX;
        if (n->asked < ASK_MAX) {
            neighbour_ask(tcp, n, now_us);
        } else if (n->state == TCP_NEIGHBOUR_PROBING) {
            n->state =
                TCP_NEIGHBOUR_ASKING; /* the known address is gone: by broadcast from here on */
            n->asked = 0;
            neighbour_ask(tcp, n, now_us);
        } else {
            neighbour_tell(tcp, i, false);
            if (n->conns != 0) { /* established connections wait on: keep asking */
                n->asked = ASK_MAX - 1;
                neighbour_ask(tcp, n, now_us);
            } else {
                n->state = TCP_NEIGHBOUR_FREE;
            }
        }
    }
}

void salvo_arp_in(struct salvo_tcp *tcp, const uint8_t *frame, uint32_t size, int64_t now_us)
{
    struct salvo_reader r =
        salvo_reader_over(frame + SALVO_ETHERNET_SIZE, size - SALVO_ETHERNET_SIZE);
    bool ethernet = salvo_read_u16(&r) == 1 && salvo_read_u16(&r) == SALVO_ETHERTYPE_IP4 &&
                    salvo_read_u16(&r) == 0x0604;
    uint16_t operation = salvo_read_u16(&r);
    const uint8_t *sender_mac = salvo_read_bytes(&r, 6);
    const uint8_t *sender_ip = salvo_read_bytes(&r, 4);
    const uint8_t *target_mac = salvo_read_bytes(&r, 6);
    const uint8_t *target_ip = salvo_read_bytes(&r, 4);

    if (r.failed || !ethernet || target_mac == NULL) {
        tcp->stats.frames_malformed++;
        return;
    }
    bool to_us =
        tcp->config.address4.version == 4 && memcmp(target_ip, tcp->config.address4.bytes, 4) == 0;
    struct salvo_ip_address sender =
        salvo_ip4_address(sender_ip[0], sender_ip[1], sender_ip[2], sender_ip[3]);

    /* RFC 826: a known sender is updated by whatever it says; a new one is not learnt. */
    salvo_tcp_neighbour_heard(tcp, &sender, sender_mac, to_us && operation == 2, true, now_us);
    if (operation == 1 && to_us && !(sender_mac[0] & 1) && tcp->config.address_answers)
        arp_out(tcp, 2, sender_mac, sender_ip);
}
