/* A net over a DPDK device of the environment's. See net_dpdk.h. */
#include "tests/support/net_dpdk.h"
#include "dataplane/net_dpdk.h"
#include "dataplane/net_tcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct salvo_dpdk_port *port;
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

static int port_open(void)
{
    struct salvo_dpdk_conf conf = {
        .device = getenv("SALVO_TEST_DPDK_DEVICE"),
        .eal = "",
        .queues = 1,
        .mtu = 1500,
        .memory_mb = 128,
        .huge_pages = true, /* when there are any */
        .clock = salvo_clock_system(),
        .log = &port_log,
    };
    char error[512] = "out of memory";
    int r = salvo_dpdk_port_open(&conf, &port, error, sizeof(error));

    if (r)
        fprintf(stderr, "%s\n", error);
    return r;
}

int test_dpdk_open(const struct salvo_net_conf *conf, struct salvo_net **ret_net)
{
    struct salvo_net_tcp_conf tcp_conf;
    uint32_t address = address_of("SALVO_TEST_DPDK_ADDRESS");
    int r = port == NULL ? port_open() : 0;

    if (r)
        return r;
    salvo_tcp_config_defaults(&tcp_conf.tcp);
    tcp_conf.tcp.address4.version = 4;
    memcpy(tcp_conf.tcp.address4.bytes, &address, sizeof(address));
    tcp_conf.tcp.prefix4_bits = 24;
    memset(tcp_conf.tcp.key, 7, sizeof(tcp_conf.tcp.key));
    /* A case begins where the last one ended, with the same key: ports of its own keep the peer's
     * old connections out of it. */
    static uint16_t port_first = 20000;
    tcp_conf.tcp.port_first = port_first;
    tcp_conf.tcp.port_last = (uint16_t)(port_first + 999);
    port_first = port_first >= 60000 ? 20000 : (uint16_t)(port_first + 1000);
    tcp_conf.device = salvo_dpdk_port_device(port, 0);
    r = salvo_net_tcp_open(conf, &tcp_conf, ret_net);
    if (r)
        salvo_device_head(tcp_conf.device)->ops->close(tcp_conf.device);
    return r;
}

void test_dpdk_end(void)
{
    if (port != NULL)
        salvo_dpdk_port_close(port);
    port = NULL;
}
