/* Opening connections: numbers nobody can guess (RFC 6528, RFC 6056), and TIME-WAIT.
 *
 * TIME-WAIT keeps no connection's slot: a closed connection leaves a small record, the oldest of
 * which goes first. It keeps the port, for that peer, but a port whose record is a second old may
 * be used again when timestamps tell the old connection's segments from the new one's (RFC 6191,
 * seen from the opening side). */
#include "dataplane/tcp/tcp_conn.h"

#include <string.h>

/* 2048: ports looked at for one that is preferred; 16 lanes share them out to one in 256. */
#define PORTS_PREFERRED 2048u

#define ROTATE(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

static inline void siphash_round(uint64_t v[4])
{
    v[0] += v[1], v[1] = ROTATE(v[1], 13), v[1] ^= v[0], v[0] = ROTATE(v[0], 32);
    v[2] += v[3], v[3] = ROTATE(v[3], 16), v[3] ^= v[2];
    v[0] += v[3], v[3] = ROTATE(v[3], 21), v[3] ^= v[0];
    v[2] += v[1], v[1] = ROTATE(v[1], 17), v[1] ^= v[2], v[2] = ROTATE(v[2], 32);
}

/* SipHash-2-4 of Aumasson and Bernstein: the keyed hash of F() in RFC 6528 section 3. */
uint64_t salvo_siphash(const uint8_t key[16], const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    uint64_t k[2], last = (uint64_t)size << 56;

    memcpy(k, key, 16);
    uint64_t v[4] = {k[0] ^ UINT64_C(0x736f6d6570736575), k[1] ^ UINT64_C(0x646f72616e646f6d),
                     k[0] ^ UINT64_C(0x6c7967656e657261), k[1] ^ UINT64_C(0x7465646279746573)};

    for (; size >= 8; size -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        v[3] ^= word;
        siphash_round(v), siphash_round(v);
        v[0] ^= word;
    }
    for (size_t i = 0; i < size; i++)
        last |= (uint64_t)p[i] << (8 * i);
    v[3] ^= last;
    siphash_round(v), siphash_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        siphash_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* Of the four-tuple; the local address is one per family. `use` separates the uses of the key. */
static uint64_t tuple_hash(const struct salvo_tcp *tcp, const struct salvo_ip_address *remote,
                           uint16_t remote_port, uint16_t local_port, uint8_t use)
{
    uint8_t bytes[16 + 1 + 2 + 2 + 1];

    memcpy(bytes, remote->bytes, 16);
    bytes[16] = remote->version;
    memcpy(bytes + 17, &remote_port, 2);
    memcpy(bytes + 19, &local_port, 2);
    bytes[21] = use;
    return salvo_siphash(tcp->config.key + (use & 1) * 16, bytes, sizeof(bytes));
}

/* For the tables: only we choose the tuples in them, so it needs no key. */
uint32_t salvo_tcp_hash(const struct salvo_ip_address *remote, uint16_t remote_port,
                        uint16_t local_port)
{
    uint64_t a, b;

    memcpy(&a, remote->bytes, 8);
    memcpy(&b, remote->bytes + 8, 8);
    uint64_t h = (a ^ ROTATE(b, 31) ^ ((uint64_t)remote_port << 16 | local_port)) *
                 UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(h >> 32);
}

struct tcp_time_wait *salvo_tcp_time_wait_find(struct salvo_tcp *tcp,
                                               const struct salvo_ip_address *remote,
                                               uint16_t remote_port, uint16_t local_port)
{
    uint32_t bucket = salvo_tcp_hash(remote, remote_port, local_port) & tcp->bucket_mask;

    for (uint32_t i = tcp->time_wait_buckets[bucket]; i != TCP_NONE; i = tcp->time_waits[i].next) {
        struct tcp_time_wait *w = &tcp->time_waits[i];
        if (w->local_port == local_port && w->remote_port == remote_port &&
            salvo_ip_equal(&w->remote, remote))
            return w;
    }
    return NULL;
}

static void time_wait_remove(struct salvo_tcp *tcp, struct tcp_time_wait *wait)
{
    uint32_t bucket =
        salvo_tcp_hash(&wait->remote, wait->remote_port, wait->local_port) & tcp->bucket_mask;
    uint32_t *link = &tcp->time_wait_buckets[bucket];

    while (&tcp->time_waits[*link] != wait)
        link = &tcp->time_waits[*link].next;
    *link = wait->next;
    wait->until_us = 0;
}

void salvo_tcp_time_wait_enter(struct salvo_tcp *tcp, const struct salvo_tcp_conn *conn,
                               int64_t now_us)
{
    struct tcp_time_wait *w = &tcp->time_waits[tcp->time_wait_next];
    uint32_t bucket =
        salvo_tcp_hash(&conn->remote, conn->remote_port, conn->local_port) & tcp->bucket_mask;

    if (w->until_us != 0) {
        if (w->until_us > now_us)
            tcp->stats.time_wait_evicted++;
        time_wait_remove(tcp, w);
    }
    *w = (struct tcp_time_wait){
        .remote = conn->remote,
        .local_port = conn->local_port,
        .remote_port = conn->remote_port,
        .next = tcp->time_wait_buckets[bucket],
        .send_next = (uint32_t)conn->send.max,
        .receive_next = (uint32_t)conn->receive.next,
        .timestamps = conn->timestamps,
        .timestamp_offset = conn->timestamp_offset,
        .timestamp_recent = conn->receive.timestamp_recent,
        .closed_us = now_us,
        .until_us = now_us + tcp->config.time_wait_us,
    };
    tcp->time_wait_buckets[bucket] = tcp->time_wait_next;
    tcp->time_wait_next = (tcp->time_wait_next + 1) % tcp->config.time_wait_max;
}

/* A port can be taken when no connection has it and no TIME-WAIT forbids it: a record over its time
 * forbids nothing, nor one a second old whose timestamps will be smaller than the new ones (RFC
 * 6191). */
static bool port_free(struct salvo_tcp *tcp, const struct salvo_tcp_target *target, uint16_t port,
                      int64_t now_us)
{
    struct tcp_time_wait *w;

    if (salvo_tcp_find(tcp, &target->address, target->port, port) != NULL)
        return false;
    w = salvo_tcp_time_wait_find(tcp, &target->address, target->port, port);
    if (w == NULL)
        return true;
    if (now_us < w->until_us && !(w->timestamps && now_us - w->closed_us > INT64_C(1000000)))
        return false;
    time_wait_remove(tcp, w);
    return true;
}

/* RFC 6056 section 3.3.4, double-hash port selection: the start depends on the target, the counter
 * on a second hash, so ports of one target follow each other and those of two targets say nothing
 * of each other. 0 when none is free. */
static uint16_t port_choose(struct salvo_tcp *tcp, const struct salvo_tcp_target *target,
                            int64_t now_us)
{
    const struct salvo_tcp_config *c = &tcp->config;
    uint32_t count = (uint32_t)c->port_last - c->port_first + 1;
    uint64_t offset = tuple_hash(tcp, &target->address, target->port, 0, 2);
    uint32_t *counter = &tcp->port_counters[tuple_hash(tcp, &target->address, target->port, 0, 3) %
                                            TCP_PORT_COUNTERS];

    uint32_t prefer = c->port_prefers == NULL ? 0 : SALVO_MIN(count, PORTS_PREFERRED);

    for (uint32_t i = 0; i < prefer + count; i++) {
        uint16_t port = (uint16_t)(c->port_first + (offset + (*counter)++) % count);
        if (c->port_accepts != NULL &&
            !c->port_accepts(c->port_accepts_arg, &target->address, target->port, port))
            continue;
        if (i < prefer &&
            !c->port_prefers(c->port_accepts_arg, &target->address, target->port, port))
            continue;
        if (port_free(tcp, target, port, now_us))
            return port;
    }
    return 0;
}

void salvo_tcp_mss_update(struct salvo_tcp_conn *conn)
{
    /* RFC 9293 section 3.7.1: what the peer takes and what the path carries, less our own options.
     */
    uint32_t path = conn->send.mtu - (uint32_t)conn->ip_size - SALVO_TCP_SIZE;

    conn->send.mss = SALVO_MIN(conn->send.mss_peer, path) - (conn->timestamps ? 12u : 0u);
}

static void open_init(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn,
                      const struct salvo_tcp_target *target, uint16_t port, uint32_t neighbour,
                      int64_t now_us)
{
    uint64_t hash = tuple_hash(tcp, &target->address, target->port, port, 0);
    /* RFC 6528 section 3: ISN = M + F(...), M a clock of 4 microseconds. */
    uint32_t isn = (uint32_t)(uint64_t)(now_us / 4) + (uint32_t)hash;

    conn->cookie = target->cookie;
    conn->remote = target->address;
    conn->remote_port = target->port;
    conn->local_port = port;
    conn->neighbour = neighbour;
    conn->state = SALVO_TCP_SYN_SENT;
    conn->timestamp_offset = (uint32_t)(hash >> 32);
    conn->lists[0] = conn->lists[1] = (struct tcp_slot_list){TCP_NONE, TCP_NONE};
    conn->send.iss = (UINT64_C(1) << 32) + isn;
    conn->send.una = conn->send.next = conn->send.max = conn->send.iss;
    conn->send.end = conn->send.iss + 1;
    conn->send.mtu = tcp->config.mtu;
    /* RFC 9293 section 3.7.1: without the option 536, or 1220 over IPv6. */
    conn->send.mss_peer = target->address.version == 6 ? 1220 : 536;
    /* RFC 7323 section 2.3: no more than 14, which a peer would take another for. */
    while (tcp->config.window_scale && conn->receive.shift < 14 &&
           (UINT64_C(65535) << conn->receive.shift) < tcp->config.receive_size)
        conn->receive.shift++;
    conn->rtt.rto_us = tcp->config.rto_initial_us;
    conn->opened_us = conn->heard_us = conn->progress_us = conn->sent_us = now_us;
    salvo_tcp_header_init(tcp, conn);
}

/* Puts the slot back as it was made, memory and generation kept. */
static void open_clean(struct salvo_tcp_conn *conn)
{
    struct salvo_tcp_conn old = *conn;

    memset(conn, 0, sizeof(*conn));
    conn->index = old.index;
    conn->generation = old.generation;
    conn->heap_place = TCP_NONE;
    conn->neighbour = TCP_NONE;
    conn->send.segments = old.send.segments;
    conn->send.spans = old.send.spans;
    conn->receive.memory = old.receive.memory;
}

enum salvo_tcp_open_result salvo_tcp_open(struct salvo_tcp *tcp,
                                          const struct salvo_tcp_target *target, int64_t now_us,
                                          uint64_t *ret_conn)
{
    /* Output takes the dead off the ready list too, but a driver whose link is down does not ask
     * for any. */
    if (tcp->free_head == TCP_NONE)
        salvo_tcp_ready_clear(tcp);
    if (tcp->free_head == TCP_NONE)
        return SALVO_TCP_OPEN_FULL;
    if (!salvo_ip_is_unicast(&target->address) || target->port == 0)
        return SALVO_TCP_OPEN_NO_ROUTE;
    uint16_t port = target->local_port;
    if (port == 0)
        port = port_choose(tcp, target, now_us);
    else if (!port_free(tcp, target, port, now_us))
        port = 0;
    if (port == 0)
        return SALVO_TCP_OPEN_NO_PORT;
    uint32_t neighbour = salvo_tcp_neighbour_hold(tcp, &target->address);
    if (neighbour == TCP_NONE)
        return SALVO_TCP_OPEN_NO_ROUTE;

    struct salvo_tcp_conn *conn = &tcp->conns[tcp->free_head];
    uint32_t bucket = salvo_tcp_hash(&target->address, target->port, port) & tcp->bucket_mask;

    salvo_assert(conn->state == SALVO_TCP_FREE);
    tcp->free_head = conn->free_next;
    if (tcp->free_head == TCP_NONE)
        tcp->free_tail = TCP_NONE;
    open_clean(conn);
    open_init(tcp, conn, target, port, neighbour, now_us);
    conn->bucket_next = tcp->buckets[bucket];
    tcp->buckets[bucket] = conn->index;

    conn->syn_wanted = true;
    salvo_tcp_heap_insert(tcp, conn, now_us + tcp->config.connect_timeout_us);
    salvo_tcp_ready(tcp, conn);
    *ret_conn = tcp_handle(conn);
    return SALVO_TCP_OPEN_OK;
}
