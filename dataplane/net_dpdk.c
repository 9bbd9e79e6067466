/* The environment and the port: see net_dpdk.h.
 *
 * The EAL wants to own a process: it pins its caller, starts a thread for each CPU, writes to
 * standard error and the system's log. It gets one logical core that is all of our CPUs, its caller
 * has its CPUs and signals back when it returns, and its lines go to the sender's log. It cannot be
 * started twice, so it is never stopped; with memory that has no name (--in-memory) nothing is left
 * of it when the process ends. */
#include "dataplane/net_dpdk_internal.h"

#include "base/assert.h"
#include "base/error.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>

#define EAL_ARGUMENTS_MAX 32
#define EAL_TEXT_MAX      1024
/* 1,024 descriptors each way where the device says nothing better: half a millisecond at 2 Mpps. */
#define PORT_DESCRIPTORS 1024
/* Beside what the queues hold: frames being looked at. net_af_xdp takes 4,096 at once for its fill
 * ring, whatever it was asked for. */
#define POOL_SPARE     512
#define POOL_SPARE_XDP 4096
/* 22: Ethernet header, and two VLAN tags that some devices count. */
#define FRAME_MORE 22u
/* 256: XDP_PACKET_HEADROOM. The kernel leaves so much free in front of each frame that it puts into
 * a packet of net_af_xdp, and drops a frame that has no room behind it. */
#define XDP_ROOM 256u
/* Such a packet is a page at most: 64 bytes of the pool's in front, 64 that it may add to spread
 * packets over memory channels, 128 of the mbuf, its headroom, XDP_ROOM, and the frame. */
#define XDP_MTU_MAX (4096u - 64u - 64u - 128u - RTE_PKTMBUF_HEADROOM - XDP_ROOM - FRAME_MORE)
/* 32 of 2 MiB: the 6,400 packets of 2.4 KB of net_af_xdp are 8 of them, drivers take pools of their
 * own, and the EAL takes memory in large pieces. 16 for each queue more: the 2,800 packets of an
 * MTU of 9,000 are 13 of them. */
#define HUGE_PAGES_WANTED   32ull
#define HUGE_PAGES_MORE     16ull
#define AF_PACKET_PAIRS_MAX 16u

enum eal_state { EAL_NEVER, EAL_STARTING, EAL_RUNS, EAL_FAILED };

/* The one thing that is the process's and not a sender's, because DPDK's own state is. */
static struct {
    _Atomic uint32_t state; /* enum eal_state; the one who makes it STARTING goes on */
    _Atomic(struct salvo_log *) log;
} eal;

/* Of the log, for errors: what DPDK said last to this thread. Others may be saying something. */
static _Thread_local char line_last[256];

/* --- log -------------------------------------------------------------------------------------- */

static ssize_t eal_log_line(void *cookie, const char *bytes, size_t size)
{
    /* Acquire: pairs with the release in eal_log_to. */
    struct salvo_log *log = atomic_load_explicit(&eal.log, memory_order_acquire);
    size_t length = size;

    while (length > 0 && (bytes[length - 1] == '\n' || bytes[length - 1] == ' '))
        length--;
    if (length == 0)
        return (ssize_t)size;
    snprintf(line_last, sizeof(line_last), "%.*s", (int)length, bytes);
    if (log != NULL)
        salvo_log_write(
            log, rte_log_cur_msg_loglevel() <= (int)RTE_LOG_ERR ? SALVO_LOG_WARN : SALVO_LOG_DEBUG,
            "dpdk: %.*s", (int)length, bytes);
    return (ssize_t)size;
}

static void eal_log_to(struct salvo_log *log)
{
    /* Release: pairs with the acquire in eal_log_line. */
    atomic_store_explicit(&eal.log, log, memory_order_release);
}

static void eal_log_start(void)
{
    FILE *stream = fopencookie(NULL, "w", (cookie_io_functions_t){.write = eal_log_line});

    if (stream == NULL)
        return;
    setvbuf(stream, NULL, _IOLBF, 0);
    rte_openlog_stream(stream);
}

/* --- environment ------------------------------------------------------------------------------ */

static bool device_is_pci(const char *device)
{
    return strncmp(device, "net_", 4) != 0 && strncmp(device, "eth_", 4) != 0 &&
           strchr(device, ':') != NULL;
}

static unsigned long long huge_pages_free(void)
{
    FILE *file = fopen("/proc/meminfo", "r");
    unsigned long long count = 0;
    char line[128];

    if (file == NULL)
        return 0;
    while (fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, "HugePages_Free:", 15) == 0)
            count = strtoull(line + 15, NULL, 10);
    fclose(file);
    return count;
}

struct eal_arguments {
    char text[EAL_TEXT_MAX];
    size_t used;
    char *items[EAL_ARGUMENTS_MAX];
    int count;
};

/* False when there is no room. */
static bool argument_put(struct eal_arguments *a, const char *format, ...) SALVO_PRINTF(2, 3);

static bool argument_put(struct eal_arguments *a, const char *format, ...)
{
    va_list list;
    int size;

    va_start(list, format);
    size = vsnprintf(a->text + a->used, sizeof(a->text) - a->used, format, list);
    va_end(list);
    if (size < 0 || (size_t)size >= sizeof(a->text) - a->used || a->count == EAL_ARGUMENTS_MAX - 1)
        return false;
    a->items[a->count++] = a->text + a->used;
    a->used += (size_t)size + 1;
    return true;
}

/* "0@(0,2,5)": one logical core that may run wherever we may. */
static bool argument_put_cores(struct eal_arguments *a)
{
    char list[512] = "";
    size_t used = 0;
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set))
        return false;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE && used < sizeof(list) - 8; cpu++)
        if (CPU_ISSET(cpu, &set))
            used +=
                (size_t)snprintf(list + used, sizeof(list) - used, used == 0 ? "%u" : ",%u", cpu);
    return argument_put(a, "--lcores=0@(%s)", list);
}

static bool arguments_make(struct eal_arguments *a, const struct salvo_dpdk_conf *conf)
{
    bool huge = conf->huge_pages &&
                huge_pages_free() >= HUGE_PAGES_WANTED + HUGE_PAGES_MORE * (conf->queues - 1);
    bool good = argument_put(a, "salvo") && argument_put_cores(a) &&
                argument_put(a, "--no-telemetry") && argument_put(a, "--no-shconf");
    const char *at = conf->eal;

    if (huge)
        good = good && argument_put(a, "--in-memory");
    else
        good = good && argument_put(a, "--no-huge") && argument_put(a, "-m") &&
               argument_put(a, "%u", conf->memory_mb);
    if (device_is_pci(conf->device))
        good = good && argument_put(a, "-a") && argument_put(a, "%s", conf->device);
    else
        good = good && argument_put(a, "--no-pci");
    while (good && *at != '\0') {
        size_t size = strcspn(at, " ");

        if (size != 0)
            good = argument_put(a, "%.*s", (int)size, at);
        at += size + strspn(at + size, " ");
    }
    return good;
}

/* rte_eal_init with the caller's CPUs and signals as they were; the EAL's own threads are born with
 * every signal blocked. */
static int eal_init(struct eal_arguments *a)
{
    sigset_t all, before;
    cpu_set_t cpus;
    int r;

    sched_getaffinity(0, sizeof(cpus), &cpus);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = rte_eal_init(a->count, a->items) < 0 ? -rte_errno : 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    sched_setaffinity(0, sizeof(cpus), &cpus);
    return r;
}

static int eal_error(const struct salvo_dpdk_conf *conf, int code, char *ret_error,
                     size_t error_size)
{
    const char *help = "dpdk_eal holds an argument it does not take, or memory is short";

    if (geteuid() != 0)
        help =
            "DPDK needs root, or the capabilities and device permissions that docs/DPDK.md names";
    else if (device_is_pci(conf->device) && huge_pages_free() < HUGE_PAGES_WANTED)
        help = "a NIC needs huge pages: sysctl vm.nr_hugepages=128";
    snprintf(ret_error, error_size, "DPDK did not start (%s; its last words: %s): %s",
             strerror(code < 0 ? -code : EINVAL), line_last, help);
    return salvo_raise(code < 0 ? code : -EINVAL);
}

static int eal_start(const struct salvo_dpdk_conf *conf, char *ret_error, size_t error_size)
{
    static struct eal_arguments arguments; /* the EAL keeps pointers into it */
    uint32_t never = EAL_NEVER;
    int r;

    if (!atomic_compare_exchange_strong_explicit(&eal.state, &never, EAL_STARTING,
                                                 memory_order_acq_rel, memory_order_acquire)) {
        if (never == EAL_RUNS)
            return 0;
        snprintf(ret_error, error_size,
                 never == EAL_STARTING ? "DPDK is being started by another sender: try again"
                                       : "DPDK did not start before, and a process can try once");
        return salvo_raise(never == EAL_STARTING ? -EAGAIN : -EALREADY);
    }
    eal_log_start();
    rte_log_set_global_level(RTE_LOG_NOTICE);
    r = arguments_make(&arguments, conf) ? eal_init(&arguments) : -E2BIG;
    /* Release: pairs with the acquire of the exchange above. */
    atomic_store_explicit(&eal.state, r == 0 ? EAL_RUNS : EAL_FAILED, memory_order_release);
    return r == 0 ? 0 : eal_error(conf, r, ret_error, error_size);
}

/* --- port ------------------------------------------------------------------------------------- */

static int port_error(const struct salvo_dpdk_port *port, int code, const char *what,
                      const char *help, char *ret_error, size_t error_size)
{
    snprintf(ret_error, error_size, "dpdk_device %s: %s (%s%s%s): %s", port->name, what,
             strerror(code < 0 ? -code : code), line_last[0] != '\0' ? "; DPDK says: " : "",
             line_last, help);
    return salvo_raise(code < 0 ? code : -code);
}

/* Its frames lie in memory that the kernel wants in one piece; in ordinary pages those that cross a
 * border are lost, and their memory with them. */
static bool device_needs_huge_pages(const char *device)
{
    return strncmp(device, "net_af_xdp", 10) == 0;
}

/* net_af_packet makes as many queues as it is told, one otherwise; others know how many they have.
 */
static const char *port_arguments(const struct salvo_dpdk_port *port, char *buffer, size_t size)
{
    if (port->conf.queues == 1 || strncmp(port->name, "net_af_packet", 13) != 0 ||
        strstr(port->conf.device, "qpairs=") != NULL)
        return port->conf.device;
    snprintf(buffer, size, "%s,qpairs=%u", port->conf.device,
             SALVO_MIN(port->conf.queues, AF_PACKET_PAIRS_MAX));
    return buffer;
}

/* What to ask the device for; 0: it would lose large frames. net_af_packet says 1,518 whatever its
 * frames may hold. */
static uint32_t port_mtu(const struct salvo_dpdk_port *port)
{
    if (strncmp(port->name, "net_af_packet", 13) != 0 || port->conf.mtu <= RTE_ETHER_MTU)
        return port->conf.mtu;
    return strstr(port->conf.device, "framesz=") != NULL ? RTE_ETHER_MTU : 0;
}

static int port_mtu_check(const struct salvo_dpdk_port *port, char *ret_error, size_t error_size)
{
    if (device_needs_huge_pages(port->conf.device) && port->conf.mtu > XDP_MTU_MAX) {
        snprintf(
            ret_error, error_size,
            "dpdk_mtu is %u, and net_af_xdp takes %u at most, as a frame and what belongs to it "
            "lie in one page: lower dpdk_mtu",
            port->conf.mtu, (unsigned)XDP_MTU_MAX);
        return salvo_raise(-EINVAL);
    }
    if (port_mtu(port) == 0) {
        snprintf(ret_error, error_size,
                 "dpdk_mtu is %u, and net_af_packet takes frames of framesz bytes: write "
                 "%s,framesz=16384,blocksz=65536, or lower dpdk_mtu to 1500",
                 port->conf.mtu, port->conf.device);
        return salvo_raise(-EINVAL);
    }
    return 0;
}

static int port_probe(struct salvo_dpdk_port *port, char *ret_error, size_t error_size)
{
    char arguments[512];
    bool pci = port->pci;
    int r = 0;

    if (device_needs_huge_pages(port->conf.device) && !rte_eal_has_hugepages()) {
        snprintf(ret_error, error_size,
                 "dpdk_device %s needs huge pages, and DPDK started without: sysctl "
                 "vm.nr_hugepages=64, and leave huge_pages on",
                 port->name);
        return salvo_raise(-ENOMEM);
    }
    if (rte_eth_dev_get_port_by_name(port->name, &port->id) == 0) {
        if (!pci) {
            snprintf(ret_error, error_size,
                     "dpdk_device %s is in use by another sender of this process: give it another "
                     "name, as in net_tap1",
                     port->name);
            return salvo_raise(-EBUSY);
        }
        return 0; /* found when the environment started */
    }
    r = port_mtu_check(port, ret_error, error_size);
    if (r == 0)
        r = dpdk_interface_open(port, ret_error, error_size);
    if (r)
        return salvo_trace(r);
    r = rte_dev_probe(port_arguments(port, arguments, sizeof(arguments)));
    if (r == 0)
        r = rte_eth_dev_get_port_by_name(port->name, &port->id);
    if (r != 0)
        return port_error(port, r, "no such device, or it cannot be used",
                          pci ? "see dpdk-devbind.py --status; most NICs must be bound to vfio-pci "
                                "(docs/DPDK.md)"
                              : "the name begins with a driver that is installed (deploy/install "
                                "dpdk), and its arguments follow, as in net_af_packet0,iface=eth1; "
                                "what they name must exist",
                          ret_error, error_size);
    port->probed = true;
    return 0;
}

/* Both or none. A segment whose IPv4 header nobody has checked is summed here all the same, so
 * TCP's sum alone is not worth the asking. And it costs: net_virtio, which has no other, is then
 * given segments of peers on its own host without a sum (RTE_MBUF_F_RX_L4_CKSUM_NONE). Not asked,
 * it has the host fill them in. */
uint64_t dpdk_sums_received(uint64_t capabilities)
{
    uint64_t sums = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM;

    return (capabilities & sums) == sums ? sums : 0;
}

static int port_configure(struct salvo_dpdk_port *port, char *ret_error, size_t error_size)
{
    struct rte_eth_conf conf = {0};
    uint64_t sums = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
    uint16_t queues;
    int r = rte_eth_dev_info_get(port->id, &port->info);

    if (r != 0)
        return port_error(port, r, "says nothing of itself", "try another driver", ret_error,
                          error_size);
    queues = SALVO_MIN(port->info.max_rx_queues, port->info.max_tx_queues);
    queues = (uint16_t)SALVO_MIN(port->conf.queues, queues);
    if (queues == 0)
        return port_error(port, -ENODEV, "has no queues", "try another driver", ret_error,
                          error_size);
    port->pairs = queues;
    dpdk_steer_configure(port, &conf);
    /* net_virtio leaves the IPv4 header's sum to us, who have it anyway. */
    if (port->info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_TCP_CKSUM)
        conf.txmode.offloads = sums & port->info.tx_offload_capa;
    conf.rxmode.offloads = dpdk_sums_received(port->info.rx_offload_capa);
    conf.rxmode.mtu = port_mtu(port);
    port->transmit_offloads = conf.txmode.offloads;
    dpdk_attach_choose(port);
    conf.txmode.offloads = port->transmit_offloads;
    r = rte_eth_dev_configure(port->id, queues, queues, &conf);
    if (r != 0)
        return port_error(port, r, "does not take this configuration",
                          "dpdk_mtu may be too large for it", ret_error, error_size);
    port->configured = true;
    return 0;
}

/* net_af_packet wants room for framesz bytes; 0: not said. */
static unsigned device_framesz(const char *device)
{
    const char *at = strstr(device, "framesz=");

    return at == NULL ? 0 : (unsigned)SALVO_MIN(strtoul(at + 8, NULL, 10), 32768ul);
}

static int queue_pool(struct dpdk_queue *queue, uint16_t index, uint16_t receive_count,
                      uint16_t transmit_count)
{
    struct salvo_dpdk_port *port = queue->port;
    bool xdp = device_needs_huge_pages(port->conf.device);
    unsigned frame = port->conf.mtu + FRAME_MORE + (xdp ? XDP_ROOM : 0);
    unsigned room = SALVO_MAX(SALVO_MAX(frame, 2048u), device_framesz(port->conf.device)) +
                    RTE_PKTMBUF_HEADROOM;
    unsigned spare = xdp ? POOL_SPARE_XDP : POOL_SPARE;
    int socket = rte_eth_dev_socket_id(port->id);
    char name[RTE_MEMPOOL_NAMESIZE];

    snprintf(name, sizeof(name), "salvo-%u-%u", port->id, index);
    queue->pool = rte_pktmbuf_pool_create_by_ops(
        name, receive_count + transmit_count + DPDK_OUT_MAX + spare + dpdk_attach_buffers(port), 0,
        0, (uint16_t)room, socket < 0 ? SOCKET_ID_ANY : socket, "stack");
    if (queue->pool == NULL)
        return salvo_raise(-ENOMEM);
    queue->attached = calloc(DPDK_ATTACHED_MAX, sizeof(*queue->attached));
    if (queue->attached == NULL)
        return salvo_raise(-ENOMEM);
    return salvo_trace(dpdk_attach_open(queue, socket));
}

static int port_wake_fds(struct salvo_dpdk_port *port)
{
    for (uint32_t i = 0; i < port->conf.queues; i++) {
        port->queues[i].wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (port->queues[i].wake_fd < 0)
            return salvo_raise(-errno);
    }
    return 0;
}

static int port_queues(struct salvo_dpdk_port *port, char *ret_error, size_t error_size)
{
    uint16_t receive_count = PORT_DESCRIPTORS, transmit_count = PORT_DESCRIPTORS;
    int socket = rte_eth_dev_socket_id(port->id);
    int r = rte_eth_dev_adjust_nb_rx_tx_desc(port->id, &receive_count, &transmit_count);

    if (r == 0 || r == -ENOTSUP)
        r = port_wake_fds(port);
    if (r != 0)
        return port_error(port, r, "has no queues", "try another driver", ret_error, error_size);
    for (uint16_t i = 0; i < port->pairs; i++) {
        struct rte_eth_txconf transmit = port->info.default_txconf;
        struct dpdk_queue *queue = &port->queues[i];

        queue->port = port;
        queue->index = i;
        r = queue_pool(queue, i, receive_count, transmit_count);
        if (r != 0)
            return port_error(port, r, "no memory for its packets",
                              "raise dpdk_memory_mb, or the number of huge pages", ret_error,
                              error_size);
        transmit.offloads = port->transmit_offloads;
        /* net_virtio lets go of packets when so few descriptors are free: as soon as it can. */
        if (strncmp(port->name, "net_virtio", 10) == 0)
            transmit.tx_free_thresh = (uint16_t)(transmit_count - 4);
        r = rte_eth_rx_queue_setup(port->id, i, receive_count, (unsigned)socket, NULL, queue->pool);
        if (r == 0)
            r = rte_eth_tx_queue_setup(port->id, i, transmit_count, (unsigned)socket, &transmit);
        if (r != 0)
            return port_error(port, r, "a queue cannot be set up",
                              "its arguments may be too small for the MTU (framesz of "
                              "net_af_packet)",
                              ret_error, error_size);
    }
    return 0;
}

static int port_start(struct salvo_dpdk_port *port, char *ret_error, size_t error_size)
{
    struct salvo_device_caps caps = {.mtu = port->conf.mtu,
                                     .checksum = port->transmit_offloads != 0,
                                     .references = port->references,
                                     .tso_max = port->tso_max};
    struct rte_ether_addr mac;
    int r = rte_eth_dev_start(port->id);

    if (r == 0) {
        port->started = true;
        r = rte_eth_macaddr_get(port->id, &mac);
    }
    if (r != 0)
        return port_error(port, r, "does not start", "see what DPDK says, with log_level=debug",
                          ret_error, error_size);
    dpdk_steer_learn(port);
    r = dpdk_steer_rules(port, ret_error, error_size);
    if (r)
        return salvo_trace(r);
    memcpy(caps.mac, mac.addr_bytes, sizeof(caps.mac));
    for (uint16_t i = 0; i < port->conf.queues; i++)
        dpdk_queue_init(&port->queues[i], port, &caps);
    return 0;
}

int salvo_dpdk_port_open(const struct salvo_dpdk_conf *conf, struct salvo_dpdk_port **ret_port,
                         char *ret_error, size_t error_size)
{
    struct salvo_dpdk_port *port = calloc(1, sizeof(*port));
    int r;

    salvo_assert(conf->queues != 0);
    if (port == NULL)
        return salvo_raise(-ENOMEM);
    port->conf = *conf;
    port->claim_fd = -1;
    port->pci = device_is_pci(conf->device);
    snprintf(port->name, sizeof(port->name), "%.*s", (int)strcspn(conf->device, ","), conf->device);
    port->queues = calloc(conf->queues, sizeof(*port->queues));
    for (uint32_t i = 0; port->queues != NULL && i < conf->queues; i++)
        port->queues[i].wake_fd = -1;
    eal_log_to(conf->log);
    line_last[0] = '\0';
    r = port->queues == NULL ? -ENOMEM : eal_start(conf, ret_error, error_size);
    if (r == 0)
        r = port_probe(port, ret_error, error_size);
    if (r == 0)
        r = port_configure(port, ret_error, error_size);
    if (r == 0)
        r = port_queues(port, ret_error, error_size);
    if (r == 0)
        r = port_start(port, ret_error, error_size);
    if (r) {
        salvo_dpdk_port_close(port);
        return salvo_trace(r);
    }
    *ret_port = port;
    return 0;
}

uint32_t salvo_dpdk_port_pairs(const struct salvo_dpdk_port *port)
{
    return port->pairs;
}

struct salvo_device *salvo_dpdk_port_device(struct salvo_dpdk_port *port, uint32_t queue)
{
    salvo_assert(queue < port->conf.queues);
    salvo_assert(!port->queues[queue].open);
    port->queues[queue].open = true;
    port->queues[queue].attached_base = port->queues[queue].attached_tail;
    return (struct salvo_device *)&port->queues[queue];
}

void salvo_dpdk_port_close(struct salvo_dpdk_port *port)
{
    struct rte_device *device = port->info.device;

    dpdk_steer_end(port);
    if (port->started)
        rte_eth_dev_stop(port->id);
    if (port->configured)
        rte_eth_dev_close(port->id);
    if (port->probed && device != NULL)
        rte_dev_remove(device);
    for (uint32_t i = 0; port->queues != NULL && i < port->conf.queues; i++) {
        struct dpdk_queue *queue = &port->queues[i];

        salvo_assert(!queue->open); /* its lane's net closes it */
        dpdk_attach_close(queue);
        rte_mempool_free(queue->pool);
        free(queue->attached);
        if (queue->wake_fd >= 0)
            close(queue->wake_fd);
    }
    dpdk_interface_close(port);
    eal_log_to(NULL);
    free(port->queues);
    free(port);
}
