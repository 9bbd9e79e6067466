/* The machine's configuration: defaults, checks, and the memory it comes to. */
#include "dataplane/tcp/tcp_conn.h"

#include <errno.h>
#include <string.h>

#define MS INT64_C(1000)
#define S  INT64_C(1000000)

void salvo_tcp_config_defaults(struct salvo_tcp_config *config)
{
    *config = (struct salvo_tcp_config){
        .mtu = 1500,
        .conns_max = 64,
        .segments_max = 4096,
        .ranges_max = 256,
        .receive_size = 256 << 10,
        .time_wait_max = 256,
        .port_first = 32768,
        .port_last = 60999,
        .sack = true,
        .timestamps = true,
        .window_scale = true,
        .reset_unknown = true,
        .address_answers = true,
        .window_initial_segments = 10,
        .challenge_acks_per_s = 10,
        .rto_min_us = 200 * MS,
        .rto_initial_us = 1 * S,
        .rto_max_us = 60 * S,
        .delayed_ack_us = 40 * MS,
        .peer_delayed_ack_us = 25 * MS,
        .connect_timeout_us = 10 * S,
        .user_timeout_us = 60 * S,
        .keepalive_us = 60 * S,
        .keepalive_interval_us = 10 * S,
        .keepalive_probes = 3,
        .time_wait_us = 60 * S,
        .fin_wait_us = 60 * S,
        .black_hole_timeouts = 3,
        .mtu_raise_us = 600 * S,
        .neighbour_fresh_us = 30 * S,
        .neighbour_retry_us = 1 * S,
    };
}

int salvo_tcp_config_check(const struct salvo_tcp_config *c)
{
    bool addresses = (c->address4.version == 4 || c->address4.version == 0) &&
                     (c->address6.version == 6 || c->address6.version == 0) &&
                     c->address4.version + c->address6.version != 0;
    bool sizes = c->conns_max >= 1 && c->conns_max <= 65536 &&
                 salvo_is_power_of_two(c->segments_max) && c->segments_max >= 4 &&
                 c->segments_max <= 1 << 20 && salvo_is_power_of_two(c->ranges_max) &&
                 c->ranges_max >= 2 && salvo_is_power_of_two(c->receive_size) &&
                 c->receive_size >= 2048 && c->receive_size <= 1 << 30 && c->time_wait_max >= 1;
    /* A window of 65,535 << 14 is the protocol's limit, RFC 7323 section 2.3. */
    bool link =
        c->mtu >= SALVO_IP4_MTU_SAFE &&
        (c->address6.version == 0 || c->mtu >= SALVO_IP6_MTU_SAFE) &&
        (c->tso_max == 0 || (c->tso_max >= c->mtu && c->tso_max <= SALVO_TCP_PACKET_PAYLOAD_MAX));
    bool times = c->rto_min_us > 0 && c->rto_min_us <= c->rto_max_us &&
                 c->rto_initial_us <= c->rto_max_us && c->rto_initial_us > 0 &&
                 c->delayed_ack_us > 0 && c->delayed_ack_us <= 500 * MS &&
                 c->connect_timeout_us > 0 && c->user_timeout_us > 0 && c->fin_wait_us > 0 &&
                 c->neighbour_retry_us > 0 && c->keepalive_us >= 0 &&
                 (c->keepalive_us == 0 || c->keepalive_interval_us > 0);

    if (!addresses || !sizes || !link || !times || c->port_first == 0 ||
        c->port_first > c->port_last || c->window_initial_segments == 0)
        return -EINVAL;
    return 0;
}

/* Where each table lies in the block. Twice as many buckets as connections keep the chains short.
 */
struct memory_plan {
    size_t conns, buckets, heap, neighbours, time_waits, time_wait_buckets, segments, spans,
        receive, total;
    uint32_t bucket_count;
};

static struct memory_plan memory_plan(const struct salvo_tcp_config *c)
{
    struct memory_plan p = {0};
    size_t at = salvo_align_up(sizeof(struct salvo_tcp), SALVO_CACHE_LINE);

#define PLACE(field, type, count)                                                                  \
    (p.field = at, at = salvo_align_up(at + sizeof(type) * (size_t)(count), SALVO_CACHE_LINE))

    p.bucket_count = (uint32_t)salvo_power_of_two_up(2 * (uint64_t)c->conns_max);
    PLACE(conns, struct salvo_tcp_conn, c->conns_max);
    PLACE(buckets, uint32_t, p.bucket_count);
    PLACE(heap, uint32_t, c->conns_max);
    PLACE(neighbours, struct tcp_neighbour, c->conns_max);
    PLACE(time_waits, struct tcp_time_wait, c->time_wait_max);
    PLACE(time_wait_buckets, uint32_t, p.bucket_count);
    PLACE(segments, struct tcp_segment, (size_t)c->conns_max * c->segments_max);
    PLACE(spans, struct tcp_span, (size_t)c->conns_max * c->ranges_max);
    PLACE(receive, uint8_t, (size_t)c->conns_max * c->receive_size);
#undef PLACE
    p.total = at;
    return p;
}

size_t salvo_tcp_memory_size(const struct salvo_tcp_config *config)
{
    return memory_plan(config).total;
}

static void tcp_init_conns(struct salvo_tcp *tcp, uint8_t *base, const struct memory_plan *plan)
{
    const struct salvo_tcp_config *c = &tcp->config;

    for (uint32_t i = 0; i < c->conns_max; i++) {
        struct salvo_tcp_conn *conn = &tcp->conns[i];

        memset(conn, 0, sizeof(*conn));
        conn->index = i;
        conn->generation = 1;
        conn->free_next = i + 1 < c->conns_max ? i + 1 : TCP_NONE;
        conn->heap_place = TCP_NONE;
        conn->neighbour = TCP_NONE;
        conn->send.segments =
            (struct tcp_segment *)(void *)(base + plan->segments) + (size_t)i * c->segments_max;
        conn->send.spans =
            (struct tcp_span *)(void *)(base + plan->spans) + (size_t)i * c->ranges_max;
        conn->receive.memory = base + plan->receive + (size_t)i * c->receive_size;
    }
    tcp->free_head = 0;
    tcp->free_tail = c->conns_max - 1;
}

struct salvo_tcp *salvo_tcp_init(void *memory, const struct salvo_tcp_config *config)
{
    struct memory_plan plan = memory_plan(config);
    struct salvo_tcp *tcp = memory;
    uint8_t *base = memory;

    salvo_assert((uintptr_t)memory % SALVO_CACHE_LINE == 0);
    salvo_assert(salvo_tcp_config_check(config) == 0);

    memset(tcp, 0, sizeof(*tcp));
    tcp->config = *config;
    tcp->link_local6 = salvo_ip6_link_local(config->mac);
    tcp->copy = salvo_tcp_copy_choose();
    tcp->conns = (struct salvo_tcp_conn *)(void *)(base + plan.conns);
    tcp->buckets = (uint32_t *)(void *)(base + plan.buckets);
    tcp->bucket_mask = plan.bucket_count - 1;
    tcp->heap = (uint32_t *)(void *)(base + plan.heap);
    tcp->neighbours = (struct tcp_neighbour *)(void *)(base + plan.neighbours);
    tcp->time_waits = (struct tcp_time_wait *)(void *)(base + plan.time_waits);
    tcp->time_wait_buckets = (uint32_t *)(void *)(base + plan.time_wait_buckets);
    for (uint32_t i = 0; i < plan.bucket_count; i++)
        tcp->buckets[i] = tcp->time_wait_buckets[i] = TCP_NONE;
    memset(tcp->time_waits, 0, sizeof(*tcp->time_waits) * config->time_wait_max);
    tcp->ready_head = tcp->ready_tail = TCP_NONE;
    tcp->event_head = tcp->event_tail = TCP_NONE;
    tcp->grave_head = TCP_NONE;
    tcp->neighbour_due_us = INT64_MAX;
    for (uint32_t i = 0; i < config->conns_max; i++)
        tcp->neighbours[i] = (struct tcp_neighbour){.due_us = INT64_MAX};
    tcp_init_conns(tcp, base, &plan);
    return tcp;
}
