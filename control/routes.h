/* When to ask for which topic's route, and what to do with the answer.
 *
 * A new topic is asked for at once; a good one again each route_interval_ms. What is unknown is
 * asked for after 100 ms, 200 ms and so on: up to 1 s while messages wait for it (ROUTE_WANTED),
 * else up to route_interval_ms. A topic that the nameserver does not know gets the route of the
 * template topic (TBW102), as a broker would create it. An error never forgets a known route.
 * Owner: control. */
#pragma once

#include "control/nameserver.h"
#include "control/route_build.h"

struct salvo_routes_topic {
    bool asking;
    bool fallback;    /* its route is that of the template topic */
    int64_t ask_ns;   /* when to ask next; INT64_MAX while asking */
    int64_t asked_ns; /* when it was asked last */
    int64_t backoff_ns;
    int64_t wanted_until_ns;
};

struct salvo_routes {
    /* fixed after start */
    const struct salvo_config *config;
    struct salvo_topics *topics;
    struct salvo_route_table *table;
    struct salvo_nameservers *nameservers;
    struct salvo_report *report;

    /* control only */
    struct salvo_routes_topic *states; /* topics_max */
    uint32_t topics_seen;
    int64_t next_ns; /* the earliest ask_ns */
    bool stopped;
    struct salvo_route_data *data; /* work space */
    struct salvo_json_token *tokens;
};

/* 0 or -ENOMEM. */
int salvo_routes_init(struct salvo_routes *routes, const struct salvo_config *config,
                      struct salvo_topics *topics, struct salvo_route_table *table,
                      struct salvo_nameservers *nameservers, struct salvo_report *report);
void salvo_routes_deinit(struct salvo_routes *routes);

/* ROUTE_WANTED: messages wait for this topic, or a broker did not know it. */
void salvo_routes_wanted(struct salvo_routes *routes, uint32_t topic, int64_t now_ns);

/* Asks no more. */
void salvo_routes_stop(struct salvo_routes *routes);

/* Notices new topics and asks what is due. Returns work. */
int salvo_routes_do_work(struct salvo_routes *routes, int64_t now_ns);
int64_t salvo_routes_next_ns(const struct salvo_routes *routes);
