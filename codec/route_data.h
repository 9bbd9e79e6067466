/* Topic route answer -> plain structs. TopicRouteData.java; keys quoted or bare (both generations),
 * topicSysFlag or topicSynFlag, orderTopicConf; unknown keys ignored. */
#pragma once

#include "base/json.h"
#include "codec/header.h"

#define SALVO_ROUTE_BROKERS_MAX     256
#define SALVO_ROUTE_QUEUE_DATAS_MAX 256
#define SALVO_ROUTE_NAME_MAX        256

struct salvo_route_broker_data {
    char cluster[SALVO_ROUTE_NAME_MAX];
    char brokerName[SALVO_ROUTE_NAME_MAX];
    bool has_master;
    char master_address[SALVO_ROUTE_NAME_MAX]; /* "host:port" of id 0 */
    uint32_t addresses_count;
};

struct salvo_route_queue_data {
    char brokerName[SALVO_ROUTE_NAME_MAX];
    int32_t readQueueNums;
    int32_t writeQueueNums;
    int32_t perm;
    int32_t topicSysFlag;
};

struct salvo_route_data {
    uint32_t brokers_count;
    struct salvo_route_broker_data brokers[SALVO_ROUTE_BROKERS_MAX];
    uint32_t queue_datas_count;
    struct salvo_route_queue_data queue_datas[SALVO_ROUTE_QUEUE_DATAS_MAX];
    char orderTopicConf[4096]; /* "brokerName:num;brokerName:num", empty when absent */
    bool static_topic;         /* topicQueueMappingByBroker is there and not empty: not supported */
};

/* 0, -EBADMSG (not such a body; *ret_why is a literal), -E2BIG (more than the tables hold).
 * `tokens` is the caller's working memory. The struct is large: keep it off the stack. */
int salvo_route_data_read(struct salvo_route_data *ret_route, const void *body, size_t size,
                          struct salvo_json_token *tokens, uint32_t tokens_max,
                          const char **ret_why);

/* Writes a route body, for the mock and tests: standard keys, or bare ones as name servers <= 4.9.3
 * do (with topicSynFlag). Sticky failure when short. */
void salvo_route_data_write(struct salvo_writer *w, const struct salvo_route_data *route,
                            bool bare_keys);

/* Splits "host:port" at the last colon; brackets around an IPv6 host come off. 0 or -EINVAL. */
int salvo_address_split(const char *address, char *ret_host, size_t host_size, uint16_t *ret_port);
