/* One topic's part of a snapshot: queues with their templates, immutable, shared by every snapshot
 * in which the topic looks the same. Owner: control. */
#pragma once

#include "codec/route_data.h"
#include "control/brokers.h"
#include "control/config.h"

/* A queue as the latest answer wants it. */
struct salvo_route_want {
    uint32_t broker;
    int32_t queueId;
    uint32_t queue; /* its number, once it has one */
};

struct salvo_route_object {
    uint32_t users; /* snapshots, and the table while it is the topic's latest */
    struct salvo_send_fields fields;
    struct salvo_send_template *templates; /* SALVO_TEMPLATE_KINDS for each queue */
    struct salvo_route_topic route;        /* ends in its queues: last */
};

/* Java's rules (MQClientInstance.topicRouteData2TopicPublishInfo) over an answer: brokers get
 * numbers and addresses. queues_cap limits the queues of each broker (0: no limit), for routes
 * taken from TBW102. Fills at most wants_max; *ret_count says how many there would be. Returns the
 * topic's state. */
enum salvo_route_state salvo_route_wants(const struct salvo_route_data *data, uint32_t queues_cap,
                                         struct salvo_brokers *brokers,
                                         struct salvo_route_want *ret_wants, uint32_t wants_max,
                                         uint32_t *ret_count, int64_t now_ns);

/* True when the object has these queues, in this order, and this state. */
bool salvo_route_object_equal(const struct salvo_route_object *object, enum salvo_route_state state,
                              const struct salvo_route_want *wants, uint32_t wants_count);

/* Makes an object with one user. 0; -ENOMEM; -EINVAL: a template cannot hold its names. */
int salvo_route_object_new(const struct salvo_config *config, uint32_t topic, const char *name,
                           enum salvo_route_state state, const struct salvo_brokers *brokers,
                           const struct salvo_route_want *wants, uint32_t wants_count,
                           struct salvo_route_object **ret_object);
void salvo_route_object_put(struct salvo_route_object *object);
