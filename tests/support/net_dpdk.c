/* A net over a DPDK device of the environment's. See net_dpdk.h. */
#include "tests/support/net_dpdk.h"
#include "base/cpu.h"
#include "dataplane/device_share.h"
#include "dataplane/net_dpdk.h"
#include "dataplane/net_tcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct salvo_dpdk_port *port;
static uint32_t port_lanes;

/* With two lanes: lane 0, which has nothing to do but for lane 1. */
static struct salvo_device_share *share;
static struct salvo_net *hub;
static pthread_t hub_thread;
static _Atomic bool hub_stop;

static int64_t user_timeout_us, keepalive_us; /* 0: as by default */

static struct salvo_log port_log = {.level = SALVO_LOG_WARN};

static in_addr_t address_of(const char *name)
{
    const char *text = getenv(name);

    return text == NULL ? INADDR_NONE : inet_addr(text);
}

bool test_dpdk_there(void)
{
    return getenv("SALVO_TEST_DPDK_DEVICE") != NULL;
}

uint32_t test_dpdk_peer(void)
{
    return address_of("SALVO_TEST_DPDK_PEER");
}

static uint16_t test_mtu(void)
{
    const char *text = getenv("SALVO_TEST_DPDK_MTU");

    return text == NULL ? 1500 : (uint16_t)strtoul(text, NULL, 10);
}

static void *hub_run(void *arg)
{
    struct salvo_net_event event;

    while (!atomic_load(&hub_stop)) {
        (void)salvo_net_poll(hub, &event, 1); /* it has no links */
        salvo_net_wait(hub, 1, 0, SALVO_NS_PER_S);
    }
    return NULL;
}

static void tcp_conf_fill(struct salvo_net_tcp_conf *tcp_conf)
{
    const char *address = getenv("SALVO_TEST_DPDK_ADDRESS");

    salvo_tcp_config_defaults(&tcp_conf->tcp);
    if (inet_pton(AF_INET6, address, tcp_conf->tcp.address6.bytes) == 1) {
        tcp_conf->tcp.address6.version = 6;
        tcp_conf->tcp.prefix6_bits = 64;
    } else {
        inet_pton(AF_INET, address, tcp_conf->tcp.address4.bytes);
        tcp_conf->tcp.address4.version = 4;
        tcp_conf->tcp.prefix4_bits = 24;
    }
    tcp_conf->tcp.mtu = test_mtu();
    if (user_timeout_us != 0)
        tcp_conf->tcp.user_timeout_us = user_timeout_us;
    if (keepalive_us != 0) {
        tcp_conf->tcp.keepalive_us = keepalive_us;
        tcp_conf->tcp.keepalive_interval_us = keepalive_us;
    }
    memset(tcp_conf->tcp.key, 7, sizeof(tcp_conf->tcp.key));
}

void test_dpdk_patience(int64_t new_user_timeout_us, int64_t new_keepalive_us)
{
    user_timeout_us = new_user_timeout_us;
    keepalive_us = new_keepalive_us;
}

static int hub_open(void)
{
    struct salvo_device *devices[2] = {salvo_dpdk_port_device(port, 0),
                                       salvo_dpdk_port_device(port, 1)};
    struct salvo_device_share_conf conf = {
        .lanes = 2, .pairs = salvo_dpdk_port_pairs(port), .devices = devices};
    struct salvo_net_tcp_conf tcp_conf = {0};
    struct salvo_net_conf net_conf;
    int r = salvo_device_share_open(&conf, &share);

    if (r)
        return r;
    tcp_conf_fill(&tcp_conf);
    tcp_conf.device = salvo_device_share_lane(share, 0);
    salvo_net_conf_default(&net_conf, salvo_clock_system());
    r = salvo_net_tcp_open(&net_conf, &tcp_conf, &hub);
    if (r)
        return r;
    atomic_store(&hub_stop, false);
    return salvo_thread_start(&hub_thread, "hub", hub_run, NULL);
}

static int port_open(uint32_t lanes)
{
    struct salvo_dpdk_conf conf = {
        .device = getenv("SALVO_TEST_DPDK_DEVICE"),
        .eal = "",
        .queues = lanes,
        .mtu = test_mtu(),
        .memory_mb = 128,
        .huge_pages = true, /* when there are any */
        .clock = salvo_clock_system(),
        .log = &port_log,
    };
    char error[512] = "out of memory";
    int r = salvo_dpdk_port_open(&conf, &port, error, sizeof(error));

    if (r) {
        fprintf(stderr, "%s\n", error);
        return r;
    }
    port_lanes = lanes;
    return lanes == 2 ? hub_open() : 0;
}

static bool port_is_lane_1s(void *arg, const struct salvo_ip_address *remote, uint16_t remote_port,
                            uint16_t local_port)
{
    return salvo_device_share_owns(2, 1, local_port);
}

static int net_open(const struct salvo_net_conf *conf, uint32_t lanes, struct salvo_net **ret_net)
{
    struct salvo_net_tcp_conf tcp_conf = {0};
    int r = 0;

    if (port != NULL && port_lanes != lanes)
        test_dpdk_end();
    if (port == NULL)
        r = port_open(lanes);
    if (r)
        return r;
    tcp_conf_fill(&tcp_conf);
    /* A case begins where the last one ended, with the same key: ports of its own keep the peer's
     * old connections out of it. */
    static uint16_t port_first = 20000;
    tcp_conf.tcp.port_first = port_first;
    tcp_conf.tcp.port_last = (uint16_t)(port_first + 999);
    port_first = port_first >= 60000 ? 20000 : (uint16_t)(port_first + 1000);
    if (lanes == 2) {
        tcp_conf.tcp.port_accepts = port_is_lane_1s;
        tcp_conf.tcp.address_answers = false;
        tcp_conf.device = salvo_device_share_lane(share, 1);
    } else {
        tcp_conf.device = salvo_dpdk_port_device(port, 0);
    }
    r = salvo_net_tcp_open(conf, &tcp_conf, ret_net);
    if (r)
        salvo_device_head(tcp_conf.device)->ops->close(tcp_conf.device);
    return r;
}

int test_dpdk_open(const struct salvo_net_conf *conf, struct salvo_net **ret_net)
{
    return net_open(conf, 1, ret_net);
}

int test_dpdk_open_lane(const struct salvo_net_conf *conf, struct salvo_net **ret_net)
{
    return net_open(conf, 2, ret_net);
}

void test_dpdk_end(void)
{
    if (hub != NULL) {
        atomic_store(&hub_stop, true);
        salvo_net_wake(hub);
        salvo_thread_join(hub_thread);
        salvo_net_destroy(hub);
    }
    hub = NULL;
    if (share != NULL)
        salvo_device_share_close(share);
    share = NULL;
    if (port != NULL)
        salvo_dpdk_port_close(port);
    port = NULL;
}
