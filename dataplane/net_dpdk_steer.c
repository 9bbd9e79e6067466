/* Answers to the lane that asked: receive-side scaling as the device does it, by rules where that
 * is asked for. See net_dpdk.h.
 *
 * The device is asked what it does, not believed to do what it was told: without a key, a table and
 * the hash of TCP ports from its own mouth nothing is foreseen, and lanes hand each other's frames
 * over (device_share.h). */
#include "dataplane/net_dpdk_internal.h"

#include "base/assert.h"
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_flow.h>

#define STEER_HASHES (RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP)
#define STEER_GROUPS (SALVO_RSS_ENTRIES_MAX / RTE_ETH_RETA_GROUP_SIZE)

/* The key of Microsoft's specification, as most drivers have it, and its beginning again for those
 * that want 52 bytes. */
static uint8_t steer_key[52] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25,
                                0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b,
                                0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a,
                                0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa, 0x6d, 0x5a, 0x56, 0xda,
                                0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d};

void dpdk_steer_configure(const struct salvo_dpdk_port *port, struct rte_eth_conf *conf)
{
    if (port->pairs == 1 || (port->info.flow_type_rss_offloads & STEER_HASHES) == 0)
        return;
    conf->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf->rx_adv_conf.rss_conf.rss_hf = port->info.flow_type_rss_offloads & STEER_HASHES;
    if (port->info.hash_key_size >= 40 && port->info.hash_key_size <= sizeof(steer_key)) {
        conf->rx_adv_conf.rss_conf.rss_key = steer_key;
        conf->rx_adv_conf.rss_conf.rss_key_len = port->info.hash_key_size;
    }
}

/* The table as it is, after it was asked to go round the queues. False: nobody knows. */
static bool steer_table(struct salvo_dpdk_port *port, uint32_t entries)
{
    struct rte_eth_rss_reta_entry64 groups[STEER_GROUPS];

    memset(groups, 0, sizeof(groups));
    for (uint32_t i = 0; i < entries; i++) {
        groups[i / RTE_ETH_RETA_GROUP_SIZE].mask |= UINT64_C(1) << (i % RTE_ETH_RETA_GROUP_SIZE);
        groups[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] =
            (uint16_t)(i % port->pairs);
    }
    (void)rte_eth_dev_rss_reta_update(port->id, groups, (uint16_t)entries);
    if (rte_eth_dev_rss_reta_query(port->id, groups, (uint16_t)entries) != 0)
        return false;
    for (uint32_t i = 0; i < entries; i++)
        port->rss.queues[i] = groups[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE];
    return true;
}

void dpdk_steer_learn(struct salvo_dpdk_port *port)
{
    struct rte_eth_rss_conf conf = {.rss_key = port->rss.key, .rss_key_len = SALVO_RSS_KEY_MAX};
    uint32_t entries = port->info.reta_size;
    uint32_t size = port->info.hash_key_size == 0 ? 40 : port->info.hash_key_size;

    if (port->pairs == 1 || !salvo_is_power_of_two(entries) || entries > SALVO_RSS_ENTRIES_MAX ||
        size < 40 || size > SALVO_RSS_KEY_MAX)
        return;
    conf.rss_key_len = (uint8_t)size;
    if (rte_eth_dev_rss_hash_conf_get(port->id, &conf) != 0 || !steer_table(port, entries))
        return;
    port->rss_families = (conf.rss_hf & RTE_ETH_RSS_NONFRAG_IPV4_TCP ? DPDK_RSS_IP4 : 0u) |
                         (conf.rss_hf & RTE_ETH_RSS_NONFRAG_IPV6_TCP ? DPDK_RSS_IP6 : 0u);
    port->rss.key_size = size;
    port->rss.entries = entries;
}

bool salvo_dpdk_port_steers(const struct salvo_dpdk_port *port)
{
    return port->rss.entries != 0 && port->rss_families != 0 && !port->rules;
}

bool salvo_dpdk_port_prefers(const struct salvo_dpdk_port *port, uint32_t queue,
                             const struct salvo_ip_address *remote, uint16_t remote_port,
                             const struct salvo_ip_address *local, uint16_t local_port)
{
    if (!(port->rss_families & (remote->version == 6 ? DPDK_RSS_IP6 : DPDK_RSS_IP4)))
        return true; /* hashed in a way that is not known */
    return salvo_rss_queue(&port->rss, remote, remote_port, local, local_port) == queue;
}

/* --- rules ------------------------------------------------------------------------------------ */

/* TCP to a local port whose low bits are the lane's number: to its queue. */
static int rule_make(struct salvo_dpdk_port *port, uint16_t queue, enum rte_flow_item_type family,
                     struct rte_flow_error *ret_error)
{
    struct rte_flow_attr attr = {.ingress = 1};
    struct rte_flow_item_tcp spec = {.hdr.dst_port = rte_cpu_to_be_16(queue)};
    struct rte_flow_item_tcp mask = {.hdr.dst_port =
                                         rte_cpu_to_be_16((uint16_t)(port->conf.queues - 1))};
    struct rte_flow_item pattern[] = {
        {.type = RTE_FLOW_ITEM_TYPE_ETH},
        {.type = family},
        {.type = RTE_FLOW_ITEM_TYPE_TCP, .spec = &spec, .mask = &mask},
        {.type = RTE_FLOW_ITEM_TYPE_END},
    };
    struct rte_flow_action_queue to = {.index = queue};
    struct rte_flow_action actions[] = {
        {.type = RTE_FLOW_ACTION_TYPE_QUEUE, .conf = &to},
        {.type = RTE_FLOW_ACTION_TYPE_END},
    };

    *ret_error = (struct rte_flow_error){.message = NULL};
    if (rte_flow_create(port->id, &attr, pattern, actions, ret_error) == NULL)
        return salvo_raise(-ENOTSUP);
    return 0;
}

int dpdk_steer_rules(struct salvo_dpdk_port *port, char *ret_error, size_t error_size)
{
    static const enum rte_flow_item_type families[] = {RTE_FLOW_ITEM_TYPE_IPV4,
                                                       RTE_FLOW_ITEM_TYPE_IPV6};
    struct rte_flow_error error;

    if (!port->conf.rules || port->conf.queues == 1)
        return 0;
    if (port->pairs != port->conf.queues || !salvo_is_power_of_two(port->pairs)) {
        snprintf(ret_error, error_size,
                 "dpdk_rules is on with %u lanes and %u queue pairs of dpdk_device %s: it needs 2, "
                 "4, 8, ... lanes and a queue pair for each; switch it off, or change lanes",
                 port->conf.queues, port->pairs, port->name);
        return salvo_raise(-EINVAL);
    }
    for (uint16_t queue = 0; queue < port->pairs; queue++)
        for (size_t i = 0; i < SALVO_ARRAY_LENGTH(families); i++)
            if (rule_make(port, queue, families[i], &error)) {
                snprintf(ret_error, error_size,
                         "dpdk_rules is on, and dpdk_device %s takes no rule on a part of the port "
                         "(%s): switch it off, lanes find their answers without",
                         port->name, error.message != NULL ? error.message : "no reason given");
                return salvo_raise(-ENOTSUP);
            }
    port->rules = true;
    return 0;
}

void dpdk_steer_end(struct salvo_dpdk_port *port)
{
    struct rte_flow_error error;

    if (port->conf.rules && port->configured && port->conf.queues != 1)
        (void)rte_flow_flush(port->id, &error);
}
