/* Heartbeats with the producer group: from control, on its own connection, to each broker's master;
 * every heartbeat_interval_ms, at once when a broker appears, and soon when its connection was
 * lost. At the end the group is unregistered everywhere. Owner: control. */
#pragma once

#include "control/brokers.h"
#include "control/config.h"
#include "control/rpc.h"

struct salvo_heartbeat_broker {
    uint32_t peer;       /* SALVO_RPC_PEER_NONE: none */
    uint32_t generation; /* of the address that peer has */
    bool asking;
    bool registered; /* a heartbeat was answered well since the link came up */
    int64_t due_ns;
    int64_t backoff_ns;
};

struct salvo_heartbeat {
    /* fixed after start */
    const struct salvo_config *config;
    const char *client_id;
    struct salvo_brokers *brokers;
    struct salvo_rpc *rpc;
    struct salvo_report *report;
    uint8_t body[1024];
    uint32_t body_size;

    /* control only */
    struct salvo_heartbeat_broker *table; /* brokers_max */
    uint32_t brokers_version;             /* that the table was made from */
    int64_t next_ns;
    bool stopping;
    uint32_t unregisters_open;
};

/* 0; -ENOMEM; -ENOSPC when client id and group do not fit. */
int salvo_heartbeat_init(struct salvo_heartbeat *heartbeat, const struct salvo_config *config,
                         const char *client_id, struct salvo_brokers *brokers,
                         struct salvo_rpc *rpc, struct salvo_report *report);
void salvo_heartbeat_deinit(struct salvo_heartbeat *heartbeat);

/* control/rpc.h's hook, for brokers' links: `broker` is the peer's user value. */
void salvo_heartbeat_link(struct salvo_heartbeat *heartbeat, uint32_t broker, bool up,
                          int64_t now_ns);

/* Control's connection to that broker, for other questions; SALVO_RPC_PEER_NONE. */
uint32_t salvo_heartbeat_peer(const struct salvo_heartbeat *heartbeat, uint32_t broker);
/* Somebody else's question was not answered, and the connection was closed for it. */
void salvo_heartbeat_lost(struct salvo_heartbeat *heartbeat, uint32_t broker, int64_t now_ns);

/* No more heartbeats; unregisters where the group is registered. */
void salvo_heartbeat_stop(struct salvo_heartbeat *heartbeat, int64_t timeout_ns, int64_t now_ns);
/* True when every unregister was answered or given up. */
bool salvo_heartbeat_stopped(const struct salvo_heartbeat *heartbeat);

/* Follows the brokers, sends what is due. Returns work. */
int salvo_heartbeat_do_work(struct salvo_heartbeat *heartbeat, int64_t now_ns);
int64_t salvo_heartbeat_next_ns(const struct salvo_heartbeat *heartbeat);
