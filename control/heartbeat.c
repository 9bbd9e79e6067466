/* Group heartbeats and unregistering, see heartbeat.h and 2.5, 2.6, 4.6 of the protocol reference.
 */
#include "control/heartbeat.h"

#include "base/assert.h"
#include "codec/heartbeat.h"

#include <errno.h>
#include <stdlib.h>

/* 5.x writes heartbeatFingerprint and withoutSub, and a field-less header. */
#define VERSION_HEARTBEAT_V5       413 /* V5_0_0 */
#define HEARTBEAT_BACKOFF_FIRST_NS SALVO_NS_PER_S

int salvo_heartbeat_init(struct salvo_heartbeat *heartbeat, const struct salvo_config *config,
                         const char *client_id, struct salvo_brokers *brokers,
                         struct salvo_rpc *rpc, struct salvo_report *report)
{
    struct salvo_text group = salvo_text_of(config->group);
    struct salvo_writer w;

    *heartbeat = (struct salvo_heartbeat){
        .config = config,
        .client_id = client_id,
        .brokers = brokers,
        .rpc = rpc,
        .report = report,
        .next_ns = INT64_MAX,
    };
    w = salvo_writer_over(heartbeat->body, sizeof(heartbeat->body));
    salvo_heartbeat_write(&w, salvo_text_of(client_id), &group, 1,
                          config->version >= VERSION_HEARTBEAT_V5);
    if (w.failed)
        return salvo_raise(-ENOSPC);
    heartbeat->body_size = (uint32_t)salvo_writer_size(&w);
    heartbeat->table = calloc(config->brokers_max, sizeof(*heartbeat->table));
    if (heartbeat->table == NULL)
        return salvo_raise(-ENOMEM);
    for (uint32_t i = 0; i < config->brokers_max; i++)
        heartbeat->table[i] =
            (struct salvo_heartbeat_broker){.peer = SALVO_RPC_PEER_NONE, .due_ns = INT64_MAX};
    return 0;
}

void salvo_heartbeat_deinit(struct salvo_heartbeat *heartbeat)
{
    free(heartbeat->table);
    *heartbeat = (struct salvo_heartbeat){0};
}

static int64_t interval_ns(const struct salvo_heartbeat *heartbeat)
{
    return heartbeat->config->heartbeat_interval_ms * SALVO_NS_PER_MS;
}

static void due_at(struct salvo_heartbeat *heartbeat, struct salvo_heartbeat_broker *broker,
                   int64_t at_ns)
{
    broker->due_ns = at_ns;
    heartbeat->next_ns = SALVO_MIN(heartbeat->next_ns, at_ns);
}

/* Soon again, less soon each time, never later than the interval. */
static void back_off(struct salvo_heartbeat *heartbeat, struct salvo_heartbeat_broker *broker,
                     int64_t now_ns)
{
    broker->backoff_ns =
        broker->backoff_ns == 0 ? HEARTBEAT_BACKOFF_FIRST_NS : broker->backoff_ns * 2;
    broker->backoff_ns = SALVO_MIN(broker->backoff_ns, interval_ns(heartbeat));
    due_at(heartbeat, broker, now_ns + broker->backoff_ns);
}

static void answered(void *arg, uint64_t cookie, const struct salvo_rpc_answer *answer,
                     int64_t now_ns)
{
    struct salvo_heartbeat *heartbeat = arg;
    uint32_t number = (uint32_t)(cookie & UINT32_MAX);
    struct salvo_heartbeat_broker *broker = &heartbeat->table[number];
    const char *name;

    if (broker->peer == SALVO_RPC_PEER_NONE || broker->generation != (uint32_t)(cookie >> 32))
        return; /* that broker has left */
    broker->asking = false;
    if (answer->result == 0 && answer->header->code == SALVO_RESPONSE_SUCCESS) {
        broker->registered = true;
        broker->backoff_ns = 0;
        salvo_counter_add(heartbeat->report->counters, SALVO_CONTROL_HEARTBEATS, 1);
        due_at(heartbeat, broker, now_ns + interval_ns(heartbeat));
        return;
    }
    name = salvo_brokers_name(heartbeat->brokers, number);
    salvo_counter_add(heartbeat->report->counters, SALVO_CONTROL_HEARTBEAT_FAILURES, 1);
    if (answer->result)
        salvo_report_error(heartbeat->report, "control: heartbeat", answer->result,
                           "broker %s did not take a heartbeat: %s", name, answer->why);
    else
        salvo_report_error(heartbeat->report, "control: heartbeat", answer->header->code,
                           "broker %s answered a heartbeat with code %d", name,
                           answer->header->code);
    back_off(heartbeat, broker, now_ns);
}

static void send_one(struct salvo_heartbeat *heartbeat, uint32_t number, int64_t now_ns)
{
    struct salvo_heartbeat_broker *broker = &heartbeat->table[number];
    struct salvo_header header = {
        .code = SALVO_REQUEST_HEART_BEAT,
        .has_ext = heartbeat->config->version >= VERSION_HEARTBEAT_V5,
    };
    struct salvo_rpc_call call = {
        .peer = broker->peer,
        .header = &header,
        .body = heartbeat->body,
        .body_size = heartbeat->body_size,
        .timeout_ns = heartbeat->config->api_timeout_ms * SALVO_NS_PER_MS,
        .done = answered,
        .arg = heartbeat,
        .cookie = (uint64_t)broker->generation << 32 | number,
    };

    broker->asking = true;
    broker->due_ns = INT64_MAX;
    if (salvo_rpc_request(heartbeat->rpc, &call, now_ns)) {
        broker->asking = false;
        salvo_counter_add(heartbeat->report->counters, SALVO_CONTROL_HEARTBEAT_FAILURES, 1);
        back_off(heartbeat, broker, now_ns);
    }
}

static void peer_drop(struct salvo_heartbeat *heartbeat, struct salvo_heartbeat_broker *broker,
                      int64_t now_ns)
{
    uint32_t peer = broker->peer;

    *broker = (struct salvo_heartbeat_broker){.peer = SALVO_RPC_PEER_NONE, .due_ns = INT64_MAX};
    if (peer != SALVO_RPC_PEER_NONE)
        salvo_rpc_peer_remove(heartbeat->rpc, peer, now_ns);
}

/* Follows one broker: none, a new one, or one with a new address. */
static void broker_follow(struct salvo_heartbeat *heartbeat, uint32_t number,
                          const struct salvo_route_broker *route, int64_t now_ns)
{
    struct salvo_heartbeat_broker *broker = &heartbeat->table[number];
    bool wanted = route->used && route->has_endpoint;

    if (wanted && broker->peer != SALVO_RPC_PEER_NONE && broker->generation == route->generation)
        return;
    if (broker->peer != SALVO_RPC_PEER_NONE)
        peer_drop(heartbeat, broker, now_ns);
    if (!wanted)
        return;
    broker->peer = salvo_rpc_peer_add(heartbeat->rpc, &route->endpoint, number);
    salvo_assert(broker->peer != SALVO_RPC_PEER_NONE); /* peers_max counts every broker */
    broker->generation = route->generation;
    due_at(heartbeat, broker, now_ns);
}

static int brokers_follow(struct salvo_heartbeat *heartbeat, int64_t now_ns)
{
    uint32_t used = 0;

    if (heartbeat->brokers_version == heartbeat->brokers->version)
        return 0;
    heartbeat->brokers_version = heartbeat->brokers->version;
    for (uint32_t i = 0; i < heartbeat->config->brokers_max; i++) {
        const struct salvo_route_broker *route = &heartbeat->brokers->table[i].route;

        broker_follow(heartbeat, i, route, now_ns);
        used += route->used;
    }
    salvo_counter_set(heartbeat->report->counters, SALVO_CONTROL_BROKERS, used);
    return 1;
}

void salvo_heartbeat_link(struct salvo_heartbeat *heartbeat, uint32_t number, bool up,
                          int64_t now_ns)
{
    struct salvo_heartbeat_broker *broker = &heartbeat->table[number];

    salvo_assert(number < heartbeat->config->brokers_max);
    if (heartbeat->stopping || broker->peer == SALVO_RPC_PEER_NONE)
        return;
    if (up) {
        /* Whatever made it come up: the broker knows nobody on a new connection. */
        if (!broker->asking)
            due_at(heartbeat, broker, now_ns);
        return;
    }
    broker->registered = false;
    if (!broker->asking)
        back_off(heartbeat, broker, now_ns);
}

uint32_t salvo_heartbeat_peer(const struct salvo_heartbeat *heartbeat, uint32_t number)
{
    salvo_assert(number < heartbeat->config->brokers_max);
    return heartbeat->table[number].peer;
}

void salvo_heartbeat_lost(struct salvo_heartbeat *heartbeat, uint32_t number, int64_t now_ns)
{
    struct salvo_heartbeat_broker *broker = &heartbeat->table[number];

    /* Once: what is not registered has its next heartbeat planned. */
    if (broker->peer != SALVO_RPC_PEER_NONE && broker->registered &&
        !salvo_rpc_peer_up(heartbeat->rpc, broker->peer))
        salvo_heartbeat_link(heartbeat, number, false, now_ns);
}

static void unregistered(void *arg, uint64_t cookie, const struct salvo_rpc_answer *answer,
                         int64_t now_ns)
{
    struct salvo_heartbeat *heartbeat = arg;

    salvo_assert(heartbeat->unregisters_open > 0);
    heartbeat->unregisters_open--;
}

void salvo_heartbeat_stop(struct salvo_heartbeat *heartbeat, int64_t timeout_ns, int64_t now_ns)
{
    struct salvo_header header = {0};

    salvo_assert(!heartbeat->stopping);
    heartbeat->stopping = true;
    heartbeat->next_ns = INT64_MAX;
    salvo_unregister_header(&header, salvo_text_of(heartbeat->client_id),
                            salvo_text_of(heartbeat->config->group));
    for (uint32_t i = 0; i < heartbeat->config->brokers_max; i++) {
        struct salvo_heartbeat_broker *broker = &heartbeat->table[i];
        struct salvo_rpc_call call = {
            .peer = broker->peer,
            .header = &header,
            .timeout_ns = timeout_ns,
            .done = unregistered,
            .arg = heartbeat,
        };

        /* A broker whose connection died has forgotten us already. */
        if (broker->peer == SALVO_RPC_PEER_NONE || !broker->registered ||
            !salvo_rpc_peer_up(heartbeat->rpc, broker->peer))
            continue;
        heartbeat->unregisters_open++;
        if (salvo_rpc_request(heartbeat->rpc, &call, now_ns))
            heartbeat->unregisters_open--;
    }
}

bool salvo_heartbeat_stopped(const struct salvo_heartbeat *heartbeat)
{
    return heartbeat->stopping && heartbeat->unregisters_open == 0;
}

int salvo_heartbeat_do_work(struct salvo_heartbeat *heartbeat, int64_t now_ns)
{
    int work = 0;

    if (heartbeat->stopping)
        return 0;
    work += brokers_follow(heartbeat, now_ns);
    if (now_ns < heartbeat->next_ns)
        return work;
    for (uint32_t i = 0; i < heartbeat->config->brokers_max; i++) {
        if (heartbeat->table[i].due_ns > now_ns)
            continue;
        send_one(heartbeat, i, now_ns);
        work++;
    }
    heartbeat->next_ns = INT64_MAX;
    for (uint32_t i = 0; i < heartbeat->config->brokers_max; i++)
        heartbeat->next_ns = SALVO_MIN(heartbeat->next_ns, heartbeat->table[i].due_ns);
    return work;
}

int64_t salvo_heartbeat_next_ns(const struct salvo_heartbeat *heartbeat)
{
    return heartbeat->next_ns;
}
