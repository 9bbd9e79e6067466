/* Answers to snapshots: gives small numbers, shares what did not change, publishes to every lane,
 * and takes old snapshots back when every lane has moved on.
 *
 * Queue numbers that a topic lost are free again when the last snapshot that had them is; broker
 * numbers when in addition every lane has dropped them (control/brokers.h). Many answers of one
 * turn make one snapshot. Owner: control. */
#pragma once

#include "control/identity.h"
#include "control/queue_numbers.h"
#include "control/route_topic.h"
#include "control/topics.h"

struct route_snapshot;

struct salvo_route_table {
    /* fixed after start */
    const struct salvo_config *config;
    struct salvo_topics *topics;
    struct salvo_brokers *brokers;
    struct salvo_report *report;
    struct salvo_lane_port **ports;
    uint32_t lanes_count;
    uint8_t heartbeat[1024]; /* the empty one, for data connections */
    uint32_t heartbeat_size;
    uint32_t heartbeat_opaque_offset;

    /* control only */
    struct salvo_route_object **latest; /* by topic; NULL: unknown */
    bool changed;                       /* a topic differs from the snapshot */
    uint32_t brokers_version;           /* of the snapshot */
    struct route_snapshot *current;     /* NULL: none published yet */
    struct route_snapshot *oldest;      /* replaced ones, in order */
    struct route_snapshot *newest;
    uint64_t epoch;
    uint64_t epoch_all;             /* no lane uses an older snapshot than this */
    struct salvo_route_want *wants; /* work space, queues_max */
    struct salvo_queue_numbers numbers;
};

/* 0; -ENOMEM; -ENOSPC when client id and names do not fit a heartbeat. */
int salvo_route_table_init(struct salvo_route_table *table, const struct salvo_config *config,
                           const char *client_id, struct salvo_topics *topics,
                           struct salvo_brokers *brokers, struct salvo_report *report,
                           struct salvo_lane_port **ports, uint32_t lanes_count);

/* When no lane runs any more. */
void salvo_route_table_deinit(struct salvo_route_table *table);

/* A topic's answer. queues_cap: see salvo_route_wants. Returns its state. */
enum salvo_route_state salvo_route_table_apply(struct salvo_route_table *table, uint32_t topic,
                                               const struct salvo_route_data *data,
                                               uint32_t queues_cap, int64_t now_ns);

/* A topic that has no route: NO_TOPIC. Never called for one that had a good one. */
void salvo_route_table_set_state(struct salvo_route_table *table, uint32_t topic,
                                 enum salvo_route_state state);

/* The name of a topic with a queue 0 on this broker, or NULL. */
const char *salvo_route_table_topic_on(const struct salvo_route_table *table, uint32_t broker);

/* Publishes what changed, takes back what every lane has left. Returns work. */
int salvo_route_table_do_work(struct salvo_route_table *table);

/* True while lanes are to be looked at again soon: they do not say when they move on. */
bool salvo_route_table_waits(const struct salvo_route_table *table);
