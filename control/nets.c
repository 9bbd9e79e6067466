/* Options -> networks: see nets.h. */
#include "control/nets.h"

#include "base/assert.h"
#include "base/error.h"
#include "base/random.h"
#include "control/capture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* 10 s: a server that looks for the address first (ping) takes 3, and the second DISCOVER 4. */
#define DHCP_TIMEOUT_NS (10 * SALVO_NS_PER_S)

bool salvo_config_control_by_lane(const struct salvo_config *config)
{
    if (config->control_net == SALVO_CONTROL_NET_AUTO)
        return config->net == SALVO_NET_DPDK; /* what the NIC reaches, the kernel may not */
    return config->control_net == SALVO_CONTROL_NET_LANE;
}

/* "10.0.0.1", and with ret_bits "10.0.0.1/24". */
static bool address_parse(const char *text, struct salvo_ip_address *ret_address, uint8_t *ret_bits)
{
    char host[INET6_ADDRSTRLEN];
    size_t size = strcspn(text, "/");
    unsigned long bits = 0;
    char *end;

    memset(ret_address, 0, sizeof(*ret_address));
    if (size >= sizeof(host) || (text[size] == '/') != (ret_bits != NULL))
        return false;
    memcpy(host, text, size);
    host[size] = '\0';
    if (inet_pton(AF_INET, host, ret_address->bytes) == 1)
        ret_address->version = 4;
    else if (inet_pton(AF_INET6, host, ret_address->bytes) == 1)
        ret_address->version = 6;
    else
        return false;
    if (ret_bits == NULL)
        return true;
    if (text[size + 1] < '0' || text[size + 1] > '9')
        return false;
    bits = strtoul(text + size + 1, &end, 10);
    *ret_bits = (uint8_t)bits;
    return *end == '\0' && bits <= (ret_address->version == 4 ? 32 : 128);
}

/* At most one of each family, separated by a comma. `bits4` and `bits6` are NULL for gateways. */
static bool addresses_parse(const char *list, struct salvo_ip_address *ret_4, uint8_t *bits4,
                            struct salvo_ip_address *ret_6, uint8_t *bits6)
{
    while (*list != '\0') {
        char text[64];
        size_t size = strcspn(list, ",");
        struct salvo_ip_address address;
        uint8_t bits;

        if (size >= sizeof(text))
            return false;
        memcpy(text, list, size);
        text[size] = '\0';
        if (!address_parse(text, &address, bits4 == NULL ? NULL : &bits))
            return false;
        struct salvo_ip_address *place = address.version == 4 ? ret_4 : ret_6;
        if (place->version != 0)
            return false;
        *place = address;
        if (bits4 != NULL)
            *(address.version == 4 ? bits4 : bits6) = bits;
        list += size;
        if (*list == ',' && *++list == '\0')
            return false;
    }
    return true;
}

/* As a DHCP server may not grant others either. */
static bool addresses_are_of_hosts(const struct salvo_tcp_config *tcp)
{
    uint32_t host_mask = (uint32_t)(UINT64_C(0xffffffff) >> tcp->prefix4_bits); /* 32 bits: 0 */

    return (tcp->address4.version == 0 || salvo_ip4_is_host(&tcp->address4, host_mask)) &&
           (tcp->address6.version == 0 || salvo_ip_is_unicast(&tcp->address6));
}

/* Another host of the network, or one that needs none: a network of one address has no other, and
 * clouds have their gateway outside it; fe80::/10 is on every link (RFC 4291 section 2.5.6). */
static bool gateway_is_near(const struct salvo_ip_address *gateway,
                            const struct salvo_ip_address *address, unsigned bits)
{
    bool alone = address->version == gateway->version && bits == (gateway->version == 4 ? 32 : 128);
    bool link_local =
        gateway->version == 6 && gateway->bytes[0] == 0xfe && (gateway->bytes[1] & 0xc0) == 0x80;

    return gateway->version == 0 ||
           (address->version != 0 && !salvo_ip_equal(gateway, address) &&
            (alone || link_local || salvo_ip_same_prefix(gateway, address, bits)));
}

static bool by_dhcp(const struct salvo_config *config)
{
    return strcmp(config->dpdk_address, "dhcp") == 0;
}

int salvo_nets_tcp_config(const struct salvo_config *config, struct salvo_tcp_config *ret_tcp,
                          char ret_error[SALVO_CONFIG_ERROR_MAX])
{
    struct salvo_tcp_config tcp;

    salvo_tcp_config_defaults(&tcp);
    tcp.mtu = (uint16_t)config->dpdk_mtu;
    if (config->dpdk_device[0] == '\0') {
        snprintf(ret_error, SALVO_CONFIG_ERROR_MAX,
                 "net is dpdk, and dpdk_device is empty: set it to a NIC's PCI address, or to a "
                 "virtual device as in net_af_packet0,iface=eth1 (docs/DPDK.md)");
        return salvo_raise(-EINVAL);
    }
    if (config->dpdk_rules && !salvo_is_power_of_two(config->lanes)) {
        snprintf(ret_error, SALVO_CONFIG_ERROR_MAX,
                 "dpdk_rules is on and lanes is %u: rules tell lanes apart by the last bits of a "
                 "port, so set lanes to 1, 2, 4, 8, ..., or switch dpdk_rules off",
                 config->lanes);
        return salvo_raise(-EINVAL);
    }
    if (by_dhcp(config)) {
        if (config->dpdk_gateway[0] == '\0') {
            *ret_tcp = tcp;
            return 0;
        }
        snprintf(
            ret_error, SALVO_CONFIG_ERROR_MAX,
            "dpdk_address is dhcp, and dpdk_gateway is \"%s\": leave it empty, the DHCP server "
            "names the gateway",
            config->dpdk_gateway);
        return salvo_raise(-EINVAL);
    }
    if (!addresses_parse(config->dpdk_address, &tcp.address4, &tcp.prefix4_bits, &tcp.address6,
                         &tcp.prefix6_bits) ||
        tcp.address4.version + tcp.address6.version == 0) {
        snprintf(ret_error, SALVO_CONFIG_ERROR_MAX,
                 "dpdk_address is \"%s\": write salvo's own address on that network with its "
                 "prefix, as in 10.0.0.5/24, or 10.0.0.5/24,fd00::5/64; or dhcp",
                 config->dpdk_address);
        return salvo_raise(-EINVAL);
    }
    if (!addresses_are_of_hosts(&tcp)) {
        snprintf(ret_error, SALVO_CONFIG_ERROR_MAX,
                 "dpdk_address is \"%s\", which no single host has: write salvo's own address, not "
                 "one of a group or of loopback, nor a network's first or last",
                 config->dpdk_address);
        return salvo_raise(-EINVAL);
    }
    if (!addresses_parse(config->dpdk_gateway, &tcp.gateway4, NULL, &tcp.gateway6, NULL)) {
        snprintf(ret_error, SALVO_CONFIG_ERROR_MAX,
                 "dpdk_gateway is \"%s\": write an address, as in 10.0.0.1, one of each family at "
                 "most, or leave it empty when all brokers are on the link",
                 config->dpdk_gateway);
        return salvo_raise(-EINVAL);
    }
    if (!gateway_is_near(&tcp.gateway4, &tcp.address4, tcp.prefix4_bits) ||
        !gateway_is_near(&tcp.gateway6, &tcp.address6, tcp.prefix6_bits)) {
        snprintf(
            ret_error, SALVO_CONFIG_ERROR_MAX,
            "dpdk_gateway is \"%s\", no other host of the network of dpdk_address \"%s\": write "
            "the router's address there; where it is outside (clouds), give dpdk_address with "
            "/32",
            config->dpdk_gateway, config->dpdk_address);
        return salvo_raise(-EINVAL);
    }
    if (tcp.address6.version != 0 && tcp.mtu < SALVO_IP6_MTU_SAFE) {
        snprintf(ret_error, SALVO_CONFIG_ERROR_MAX,
                 "dpdk_mtu is %u, and IPv6 needs %u: raise it, or leave the IPv6 address out",
                 tcp.mtu, SALVO_IP6_MTU_SAFE);
        return salvo_raise(-EINVAL);
    }
    *ret_tcp = tcp;
    return 0;
}

/* Initial sequence numbers and ports must not be guessed: 32 bytes from the kernel. */
static void key_draw(uint8_t *ret_key, size_t size)
{
    struct salvo_random random;

    salvo_random_init_system(&random);
    static_assert(sizeof(random.state) == 32, "the whole of it comes from the kernel");
    salvo_assert(size == sizeof(random.state));
    memcpy(ret_key, random.state, size);
}

/* --- local ports ------------------------------------------------------------------------------ */

static bool lane_accepts(void *arg, const struct salvo_ip_address *remote, uint16_t remote_port,
                         uint16_t local_port)
{
    const struct salvo_nets_lane *lane = arg;

    return salvo_device_share_owns(lane->nets->config->lanes, lane->index, local_port);
}

/* Ports whose answers come to the lane's own queue. */
static bool lane_prefers(void *arg, const struct salvo_ip_address *remote, uint16_t remote_port,
                         uint16_t local_port)
{
    const struct salvo_nets_lane *lane = arg;
    const struct salvo_tcp_config *tcp = &lane->nets->tcp;

    return salvo_dpdk_port_prefers(lane->nets->port, lane->index, remote, remote_port,
                                   remote->version == 6 ? &tcp->address6 : &tcp->address4,
                                   local_port);
}

static struct salvo_tcp_config lane_tcp(struct salvo_nets *nets, uint32_t lane_index)
{
    struct salvo_nets_lane *lane = &nets->lanes[lane_index];
    struct salvo_tcp_config tcp = nets->tcp;

    salvo_assert(lane_index < SALVO_NETS_LANES_MAX);
    if (nets->share == NULL)
        return tcp;
    lane->nets = nets;
    lane->index = lane_index;
    tcp.port_accepts = lane_accepts;
    tcp.port_accepts_arg = lane;
    if (salvo_dpdk_port_steers(nets->port) && lane_index < salvo_dpdk_port_pairs(nets->port))
        tcp.port_prefers = lane_prefers;
    tcp.address_answers = lane_index == 0;
    return tcp;
}

/* --- start and stop --------------------------------------------------------------------------- */

static int share_start(struct salvo_nets *nets)
{
    struct salvo_device *devices[SALVO_NETS_LANES_MAX];
    struct salvo_device_share_conf conf = {.lanes = nets->config->lanes,
                                           .pairs = salvo_dpdk_port_pairs(nets->port),
                                           .devices = devices};
    int r;

    if (conf.lanes == 1)
        return 0;
    for (uint32_t i = 0; i < conf.lanes; i++)
        devices[i] = salvo_dpdk_port_device(nets->port, i);
    r = salvo_device_share_open(&conf, &nets->share);
    for (uint32_t i = 0; r != 0 && i < conf.lanes; i++)
        salvo_device_head(devices[i])->ops->close(devices[i]);
    return salvo_trace(r);
}

static int mirrors_take(struct salvo_nets *nets)
{
    uint32_t lanes = nets->config->lanes;

    nets->mirrors = aligned_alloc(alignof(struct salvo_mirror), lanes * sizeof(*nets->mirrors));
    for (uint32_t i = 0; nets->mirrors != NULL && i < lanes; i++)
        nets->mirrors[i].ring.memory = NULL;
    for (uint32_t i = 0; nets->mirrors != NULL && i < lanes; i++) {
        void *memory = aligned_alloc(4096, SALVO_MIRROR_RING_SIZE);

        if (memory == NULL)
            return salvo_raise(-ENOMEM);
        salvo_mirror_init(&nets->mirrors[i], i, memory);
    }
    return nets->mirrors == NULL ? salvo_raise(-ENOMEM) : 0;
}

static void mirrors_free(struct salvo_nets *nets)
{
    for (uint32_t i = 0; nets->mirrors != NULL && i < nets->config->lanes; i++)
        free(nets->mirrors[i].ring.memory);
    free(nets->mirrors);
    nets->mirrors = NULL;
}

/* A capture from the start has the exchange too: control, which writes it, comes later, and finds
 * it in lane 0's ring. */
static void mirror_begin(struct salvo_nets *nets)
{
    const struct salvo_config *config = nets->config;
    struct salvo_mirror_filter filter;
    char error[SALVO_CONFIG_ERROR_MAX];

    if (config->dpdk_capture[0] == '\0' || !config->dpdk_capture_at_start)
        return;
    salvo_assert(salvo_capture_filter_parse(config->dpdk_capture_filter, &filter, error) == 0);
    salvo_mirror_begin(&nets->mirrors[0], &filter);
}

static int address_take(struct salvo_nets *nets, struct salvo_clock *clock, char *ret_error)
{
    struct salvo_device *devices[SALVO_NETS_LANES_MAX];
    const struct salvo_dhcp_lease *lease = &nets->lease.first;
    uint32_t count = nets->share != NULL ? nets->config->lanes : 1;
    struct salvo_random random;
    int r;

    for (uint32_t i = 0; i < count; i++)
        devices[i] = nets->share != NULL ? salvo_device_share_lane(nets->share, i)
                                         : salvo_dpdk_port_device(nets->port, i);
    salvo_random_init_system(&random);
    mirror_begin(nets);
    r = salvo_net_tcp_lease_take(&nets->lease, devices, count, &nets->mirrors[0], clock,
                                 random.state[0], DHCP_TIMEOUT_NS);
    if (salvo_mirror_on(&nets->mirrors[0]))
        salvo_mirror_end(&nets->mirrors[0]);
    if (nets->share == NULL)
        salvo_device_head(devices[0])->ops->close(devices[0]);
    if (r) {
        bool refused = r == -ECONNREFUSED;

        snprintf(ret_error, SALVO_CONFIG_ERROR_MAX,
                 "%s on %s in %d s: see %s, or set dpdk_address to an address with its prefix, as "
                 "in 10.0.0.5/24",
                 refused ? "a DHCP server refused an address (NAK)" : "no DHCP server answered",
                 nets->config->dpdk_device, (int)(DHCP_TIMEOUT_NS / SALVO_NS_PER_S),
                 refused ? "in its log why" : "that one serves that network");
        return salvo_trace(r);
    }
    nets->tcp.address4 = lease->address;
    nets->tcp.prefix4_bits = lease->prefix_bits;
    nets->tcp.gateway4 = lease->gateway;
    return 0;
}

int salvo_nets_start(struct salvo_nets *nets, const struct salvo_config *config,
                     struct salvo_clock *clock, struct salvo_log *log, char *errbuf,
                     size_t errbuf_size)
{
    struct salvo_dpdk_conf conf = {
        .device = config->dpdk_device,
        .eal = config->dpdk_eal,
        .queues = config->lanes,
        .rules = config->dpdk_rules,
        .mtu = (uint16_t)config->dpdk_mtu,
        .memory_mb = config->dpdk_memory_mb,
        .huge_pages = config->huge_pages,
        .clock = clock,
        .log = log,
    };
    char error[SALVO_CONFIG_ERROR_MAX] = SALVO_NO_MEMORY;
    int r;

    *nets = (struct salvo_nets){.config = config};
    if (config->net != SALVO_NET_DPDK)
        return 0;
    r = salvo_nets_tcp_config(config, &nets->tcp, error);
    if (r == 0)
        r = salvo_dpdk_port_open(&conf, &nets->port, error, sizeof(error));
    if (r == 0)
        r = share_start(nets);
    if (r == 0)
        r = mirrors_take(nets);
    if (r == 0 && by_dhcp(config))
        r = address_take(nets, clock, error);
    if (r) {
        salvo_nets_stop(nets);
        snprintf(errbuf, errbuf_size, "%s", error);
        return salvo_trace(r);
    }
    key_draw(nets->tcp.key, sizeof(nets->tcp.key));
    return 0;
}

uint32_t salvo_nets_take_memory(struct salvo_nets *nets, size_t size)
{
    uint32_t count = 0;

    for (uint32_t i = 0; nets->port != NULL && i < nets->config->lanes; i++) {
        nets->lanes[i].memory = salvo_dpdk_port_memory(nets->port, i, size);
        count += nets->lanes[i].memory != NULL;
    }
    return count;
}

struct salvo_net_tcp_lease *salvo_nets_lease(struct salvo_nets *nets)
{
    return nets->port != NULL && by_dhcp(nets->config) ? &nets->lease : NULL;
}

int salvo_nets_open(struct salvo_nets *nets, uint32_t lane_index, const struct salvo_net_conf *conf,
                    struct salvo_net **ret_net, const char **ret_note)
{
    char name[16];

    salvo_config_value(nets->config, SALVO_OPTION_net, name, sizeof(name));
    if (lane_index == UINT32_MAX) /* real TCP even when lanes measure themselves against "null" */
        return salvo_net_open("epoll", conf, ret_net, ret_note);
    if (nets->port == NULL)
        return salvo_net_open(name, conf, ret_net, ret_note);
    struct salvo_net_tcp_conf tcp_conf = {
        .tcp = lane_tcp(nets, lane_index),
        .lease = salvo_nets_lease(nets),
        .lease_renews = by_dhcp(nets->config) && lane_index == 0,
        .mirror = &nets->mirrors[lane_index],
        .device = nets->share != NULL ? salvo_device_share_lane(nets->share, lane_index)
                                      : salvo_dpdk_port_device(nets->port, lane_index),
    };
    int r = salvo_net_tcp_open(conf, &tcp_conf, ret_net);
    if (r)
        salvo_device_head(tcp_conf.device)->ops->close(tcp_conf.device);
    return salvo_trace(r);
}

void salvo_nets_stop(struct salvo_nets *nets)
{
    if (nets->share != NULL)
        salvo_device_share_close(nets->share);
    nets->share = NULL;
    if (nets->port != NULL)
        salvo_dpdk_port_close(nets->port);
    nets->port = NULL;
    mirrors_free(nets);
}
