/* Queue choice. TopicPublishInfo.selectOneMessageQueue and MQFaultStrategy: round robin, away from
 * the broker that just failed, in passes: available, reachable, any. A connection that is full or
 * not up is passed over. Owner: one lane. */
#pragma once

#include "base/random.h"
#include "dataplane/conn.h"
#include "dataplane/route.h"

enum salvo_select_code {
    SALVO_SELECT_FULL = 1, /* connections are up, but none takes a request now */
    SALVO_SELECT_DOWN = 2, /* no connection of the topic is up, or those that are say nothing and
                              take no more before they do */
};

struct salvo_select {
    uint32_t *next; /* by topic: where the next round starts; random at first, as in Java */
    uint32_t topics_max;
};

void salvo_select_init(struct salvo_select *select, uint32_t *next, uint32_t topics_max,
                       struct salvo_random *random);

/* chunks_free: a new chunk may be had; a connection at its share of chunks_share counts as full.
 * broker_last: to be avoided if possible; SALVO_BROKER_NONE. Returns 0 with *ret_index into
 * topic->queues, or a select code. */
int salvo_select_queue(struct salvo_select *select, const struct salvo_route_topic *topic,
                       const struct salvo_conn *conns, const salvo_availability *availability,
                       uint32_t chunks_share, uint32_t broker_last, int64_t now_ns,
                       uint32_t *ret_index);

/* One queue's connection: 0, FULL or DOWN. */
int salvo_select_check(const struct salvo_conn *conn, uint32_t chunks_share);
