/* Bulk to a kernel's TCP: by salvo's own TCP over a DPDK device, by the kernel's TCP, and as frames
 * made by hand through the same device (bulk_raw.c). bench/run makes the rig (bench/suite/bulk.py,
 * loss.py).
 *
 *   bulk sink ADDRESS:PORT SECONDS WARMUP [poll]
 *                                               accepts one connection after the other, reads and
 *                                               throws away, resets it after WARMUP + SECONDS; with
 *                                               poll it never sleeps, and takes frames out of its
 *                                               device itself (SO_PREFER_BUSY_POLL)
 *   bulk kernel ADDRESS:PORT CONGESTION         sends until the sink ends it
 *   bulk net ADDRESS:PORT OURS DEVICE MTU       the same by salvo's TCP; OURS is an address
 *   bulk bare ADDRESS:PORT OURS DEVICE MTU MAC  the same without a TCP: segments made by hand; MAC
 *                                               is the sink's, which knows ours
 *   bulk raw PAYLOAD OURS DEVICE MTU SECONDS WARMUP IF [ADDRESS:PORT]
 *                                               frames as long as a segment of PAYLOAD bytes, which
 *                                               nobody reads; a sink that polls is told by a
 *                                               datagram to ADDRESS:PORT which device to poll
 *
 * Each prints JSON: the sink a line for each connection, the others one at the end. */
#include "bench/micro/bulk.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/cpu.h"
#include "dataplane/net_tcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS_MAX 64

uint8_t bulk_memory[BULK_MEMORY_SIZE + BULK_OFFER_SIZE];

int64_t bulk_now_ns(void)
{
    return salvo_clock_mono_ns(salvo_clock_system());
}

void bulk_fail(const char *what)
{
    fprintf(stderr, "bulk: %s: %s\n", what, strerror(errno));
    exit(1);
}

static struct salvo_endpoint endpoint_read(const char *text)
{
    struct salvo_endpoint at = {.v4 = {.sin_family = AF_INET}};
    const char *colon = strchr(text, ':');
    char host[64];

    if (colon == NULL || (size_t)(colon - text) >= sizeof(host))
        bulk_fail(text);
    snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
    at.v4.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    if (inet_pton(AF_INET, host, &at.v4.sin_addr) != 1)
        bulk_fail(text);
    return at;
}

/* --- the kernel's ends ------------------------------------------------------------------------ */

/* Time of this CPU, in ticks: all of it, and what of it was idle. */
static void cpu_ticks(uint64_t *ret_all, uint64_t *ret_idle)
{
    static const char *const path = "/proc/stat";
    char line[256], name[16];
    int name_size = snprintf(name, sizeof(name), "cpu%d ", sched_getcpu());
    FILE *file = fopen(path, "r");

    *ret_all = *ret_idle = 0;
    if (file == NULL)
        bulk_fail(path);
    while (fgets(line, sizeof(line), file) != NULL) {
        char *at = line + name_size;
        if (strncmp(line, name, (size_t)name_size) != 0)
            continue;
        for (int column = 0; column < 8; column++) { /* user to steal: guests are in user */
            uint64_t ticks = strtoull(at, &at, 10);
            *ret_all += ticks;
            *ret_idle += column == 3 || column == 4 ? ticks : 0; /* idle, iowait */
        }
    }
    fclose(file);
}

/* From the first packet on, a receive that finds nothing looks into the device that it came from;
 * the kernel's own work for the device rests meanwhile. */
static void poll_by(int fd)
{
    int us = 1000; /* any but 0: nothing sleeps */
    int prefer = 1;
    int budget = 64; /* frames at once, as the kernel by itself */

    if (setsockopt(fd, SOL_SOCKET, SO_BUSY_POLL, &us, sizeof(us)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_PREFER_BUSY_POLL, &prefer, sizeof(prefer)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_BUSY_POLL_BUDGET, &budget, sizeof(budget)) != 0)
        bulk_fail("busy polling");
}

/* What one connection brings between the end of its warm-up and `seconds` later, and how busy that
 * kept this CPU. */
static void sink_one(int fd, double seconds, double warmup, bool polls)
{
    static uint8_t nowhere[SALVO_KIB(256)];
    struct timeval patience = {.tv_usec = 10000};
    struct linger reset = {.l_onoff = 1};
    int64_t began_ns = bulk_now_ns() + (int64_t)(warmup * 1e9);
    int64_t end_ns = began_ns + (int64_t)(seconds * 1e9);
    int64_t at_ns, first_ns = 0;
    uint64_t all = 0, idle = 0, all_before = 0, idle_before = 0, bytes = 0;
    ssize_t size;

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    if (polls)
        poll_by(fd);
    do {
        size = recv(fd, nowhere, sizeof(nowhere), MSG_TRUNC | (polls ? MSG_DONTWAIT : 0));
        at_ns = bulk_now_ns();
        if (first_ns != 0 && size > 0) {
            bytes += (uint64_t)size;
        } else if (first_ns == 0 && at_ns >= began_ns) {
            cpu_ticks(&all_before, &idle_before);
            first_ns = at_ns;
        }
    } while (at_ns < end_ns && (size > 0 || (size < 0 && errno == EAGAIN)));
    cpu_ticks(&all, &idle);
    close(fd);
    all -= all_before;
    idle -= idle_before;
    printf("{\"bytes\": %llu, \"seconds\": %.6f, \"whole\": %s, \"busy\": %.2f}\n",
           (unsigned long long)bytes, (double)(at_ns - first_ns) / 1e9,
           at_ns >= end_ns ? "true" : "false", all != 0 ? (double)(all - idle) / (double)all : 0.0);
    fflush(stdout);
}

/* The next connection. Who polls goes on with it meanwhile, by a socket for datagrams. */
static int sink_accept(int listener, int datagrams)
{
    char nowhere[64];
    int fd;

    while ((fd = accept(listener, NULL, NULL)) < 0 && datagrams >= 0 && errno == EAGAIN)
        for (unsigned i = 0; i < 1000; i++)
            (void)!recv(datagrams, nowhere, sizeof(nowhere), MSG_DONTWAIT);
    return fd;
}

static int sink(const struct salvo_endpoint *at, double seconds, double warmup, bool polls)
{
    int type = SOCK_CLOEXEC | (polls ? SOCK_NONBLOCK : 0);
    int fd, on = 1, listener = socket(AF_INET, SOCK_STREAM | type, 0), datagrams = -1;

    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(listener, &at->any, sizeof(at->v4)) != 0 || listen(listener, 8) != 0)
        bulk_fail("listen");
    if (polls) {
        datagrams = socket(AF_INET, SOCK_DGRAM | type, 0);
        if (bind(datagrams, &at->any, sizeof(at->v4)) != 0)
            bulk_fail("bind");
        poll_by(datagrams);
    }
    puts("ready");
    fflush(stdout);
    while ((fd = sink_accept(listener, datagrams)) >= 0)
        sink_one(fd, seconds, warmup, polls);
    bulk_fail("accept");
    return 1;
}

static int kernel(const struct salvo_endpoint *to, const char *congestion)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);
    size_t at = 0;
    ssize_t part;

    if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, congestion, (socklen_t)strlen(congestion)) != 0)
        bulk_fail(congestion);
    if (connect(fd, &to->any, sizeof(to->v4)) != 0)
        bulk_fail("connect");
    while ((part = send(fd, bulk_memory + at, BULK_OFFER_SIZE, MSG_NOSIGNAL)) > 0)
        at = (at + (size_t)part) % BULK_MEMORY_SIZE;
    getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size);
    printf("{\"segments_out\": %u, \"retransmitted\": %u, \"cpu_seconds\": %.3f}\n",
           info.tcpi_segs_out, info.tcpi_total_retrans, salvo_cpu_process_seconds());
    close(fd);
    return 0;
}

/* --- over the device -------------------------------------------------------------------------- */

static struct salvo_log port_log = {.level = SALVO_LOG_WARN};

struct salvo_dpdk_port *bulk_port_open(const char *device, uint16_t mtu)
{
    struct salvo_dpdk_conf conf = {
        .device = device,
        .eal = "",
        .queues = 1,
        .mtu = mtu,
        .memory_mb = 128,
        .huge_pages = true, /* when there are any */
        .clock = salvo_clock_system(),
        .log = &port_log,
    };
    struct salvo_dpdk_port *port;
    char error[512] = "out of memory";

    if (salvo_dpdk_port_open(&conf, &port, error, sizeof(error)) != 0) {
        fprintf(stderr, "bulk: %s\n", error);
        exit(1);
    }
    return port;
}

struct client {
    struct salvo_net *net;
    uint32_t link;
    bool up, down, refused;
    uint64_t taken;
};

static void client_events(struct client *c)
{
    struct salvo_net_event events[EVENTS_MAX];
    unsigned count = salvo_net_poll(c->net, events, EVENTS_MAX);

    for (unsigned i = 0; i < count; i++) {
        if (events[i].kind == SALVO_NET_UP)
            c->up = true;
        else if (events[i].kind == SALVO_NET_RELEASED)
            c->refused = false;
        else if (events[i].kind == SALVO_NET_DATA)
            salvo_net_give_back(c->net, events[i].data.buffer);
        else
            c->down = true;
    }
}

/* The sink's memory is not looked at: what was released may be offered again at once. */
static void client_offer(struct client *c)
{
    while (c->up && !c->down && !c->refused) {
        struct salvo_range range = {bulk_memory + c->taken % BULK_MEMORY_SIZE, BULK_OFFER_SIZE};
        size_t part = salvo_net_send(c->net, c->link, &range, 1);

        c->refused = part < range.size;
        c->taken += part;
    }
}

/* Until the sink ends it. As a lane that spins, and as the frames made by hand, it never sleeps.
 * Returns the time of turns that did something. */
static int64_t client_run(struct client *c)
{
    const struct salvo_tcp_stats *stats = salvo_net_tcp_stats(c->net);
    int64_t busy_ns = 0, last_ns = bulk_now_ns();

    while (!c->down) {
        uint64_t done = stats->segments_in + stats->packets_out;

        client_offer(c);
        client_events(c);
        salvo_net_flush(c->net);
        int64_t now_ns = bulk_now_ns();
        busy_ns += stats->segments_in + stats->packets_out != done ? now_ns - last_ns : 0;
        last_ns = now_ns;
    }
    return busy_ns;
}

static void client_report(const struct client *c, double busy_s)
{
    const struct salvo_tcp_stats *s = salvo_net_tcp_stats(c->net);

    printf("{\"segments_out\": %llu, \"retransmitted\": %llu, \"timeouts\": %llu, "
           "\"recoveries\": %llu, \"tail_probes\": %llu, \"spurious\": %llu, "
           "\"packets_out\": %llu, \"segments_in\": %llu, \"busy_seconds\": %.3f}\n",
           (unsigned long long)s->segments_out, (unsigned long long)s->segments_retransmitted,
           (unsigned long long)s->timeouts, (unsigned long long)s->recoveries,
           (unsigned long long)s->tail_probes, (unsigned long long)s->spurious_recoveries,
           (unsigned long long)s->packets_out, (unsigned long long)s->segments_in, busy_s);
}

static int net(const struct salvo_endpoint *to, const char *ours, const char *device, uint16_t mtu)
{
    struct salvo_dpdk_port *port = bulk_port_open(device, mtu);
    struct salvo_net_tcp_conf tcp_conf = {.device = salvo_dpdk_port_device(port, 0)};
    struct salvo_net_conf conf;
    struct client c = {0};

    salvo_net_conf_default(&conf, salvo_clock_system());
    salvo_tcp_config_defaults(&tcp_conf.tcp);
    if (inet_pton(AF_INET, ours, tcp_conf.tcp.address4.bytes) != 1)
        bulk_fail(ours);
    tcp_conf.tcp.address4.version = 4;
    tcp_conf.tcp.prefix4_bits = 24;
    for (unsigned i = 0; i < sizeof(tcp_conf.tcp.key); i++)
        tcp_conf.tcp.key[i] =
            (uint8_t)(bulk_now_ns() >> i % 32); /* other ports than the last run's */
    if (salvo_net_tcp_open(&conf, &tcp_conf, &c.net) != 0 ||
        salvo_net_connect(c.net, to, 10 * SALVO_NS_PER_S, 1, &c.link) != 0)
        bulk_fail("connect");
    client_report(&c, (double)client_run(&c) / 1e9);
    bool came = c.up;
    salvo_net_destroy(c.net);
    salvo_dpdk_port_close(port);
    return came ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct salvo_endpoint at;

    for (size_t i = 0; i < sizeof(bulk_memory); i++)
        bulk_memory[i] = (uint8_t)(i * 7 + i / 251);
    bool polls = argc == 6 && strcmp(argv[5], "poll") == 0;
    if ((argc == 5 || polls) && strcmp(argv[1], "sink") == 0) {
        at = endpoint_read(argv[2]);
        return sink(&at, strtod(argv[3], NULL), strtod(argv[4], NULL), polls);
    }
    if (argc == 4 && strcmp(argv[1], "kernel") == 0) {
        at = endpoint_read(argv[2]);
        return kernel(&at, argv[3]);
    }
    if (argc == 6 && strcmp(argv[1], "net") == 0) {
        at = endpoint_read(argv[2]);
        return net(&at, argv[3], argv[4], (uint16_t)strtoul(argv[5], NULL, 10));
    }
    if (argc == 7 && strcmp(argv[1], "bare") == 0) {
        at = endpoint_read(argv[2]);
        return bulk_bare(&at, argv[3], argv[4], (uint16_t)strtoul(argv[5], NULL, 10), argv[6]);
    }
    if ((argc == 9 || argc == 10) && strcmp(argv[1], "raw") == 0) {
        if (argc == 10)
            at = endpoint_read(argv[9]);
        return bulk_raw((uint32_t)strtoul(argv[2], NULL, 10), argv[3], argv[4],
                        (uint16_t)strtoul(argv[5], NULL, 10), strtod(argv[6], NULL),
                        strtod(argv[7], NULL), argv[8], argc == 10 ? &at : NULL);
    }
    fprintf(stderr, "usage: bulk sink|kernel|net|bare|raw ...: see the head of bulk.c\n");
    return 2;
}
