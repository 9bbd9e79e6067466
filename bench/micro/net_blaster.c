/* 1 KB frames over loopback, coalesced to 64 KB: what a backend costs beside plain write().
 *
 *   net_blaster [seconds per run] [runs]
 *
 * A thread on the second core reads and discards. Each frame is copied from a template into a ring
 * of send memory, as a lane does. The modes take turns, so that a ratio is of one time and one
 * machine; loopback is noisy (2.5 times between runs was seen), hence medians. Nothing here is
 * acknowledged: for that there is `salvo load`. */
#include "base/assert.h"
#include "base/cpu.h"
#include "dataplane/net.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FRAME_SIZE  1024u
#define COALESCED   SALVO_KIB(64)
#define MEMORY_SIZE SALVO_MIB(4)
#define RUNS_MAX    15

static uint8_t template_frame[FRAME_SIZE];
static uint8_t *memory;
static struct salvo_endpoint sink_at;
static int sink_listener;

/* One connection after the other, until the listener is shut down. */
static void *sink(void *arg)
{
    static uint8_t nowhere[SALVO_KIB(256)];
    int fd;

    salvo_cpu_pin(1);
    while ((fd = accept(sink_listener, NULL, NULL)) >= 0) {
        while (recv(fd, nowhere, sizeof(nowhere), MSG_TRUNC) > 0)
            ;
        close(fd);
    }
    return NULL;
}

static void fill(size_t offset, size_t size)
{
    for (size_t at = 0; at < size; at += FRAME_SIZE)
        memcpy(memory + offset + at, template_frame, FRAME_SIZE);
}

static double run_write(int64_t run_ns, size_t per_call)
{
    struct salvo_clock *clock = salvo_clock_system();
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int on = 1;
    int64_t started_ns;
    int64_t now_ns;
    uint64_t bytes = 0;
    size_t offset = 0;

    salvo_assert(connect(fd, &sink_at.any, sizeof(sink_at.v4)) == 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    started_ns = now_ns = salvo_clock_mono_ns(clock);
    while (now_ns - started_ns < run_ns) {
        for (unsigned i = 0; i < 16; i++) {
            fill(offset, per_call);
            for (size_t at = 0; at < per_call;) {
                ssize_t part = write(fd, memory + offset + at, per_call - at);
                salvo_assert(part > 0);
                at += (size_t)part;
            }
            bytes += per_call;
            offset = (offset + per_call) % MEMORY_SIZE;
        }
        now_ns = salvo_clock_mono_ns(clock);
    }
    close(fd);
    return (double)bytes / FRAME_SIZE / ((double)(now_ns - started_ns) / 1e9);
}

struct blaster {
    struct salvo_net *net;
    uint32_t link;
    bool up;
    uint64_t filled, taken, released; /* of the stream; memory is a ring over it */
};

/* One turn: takes events, fills up to COALESCED, offers it. Returns the events there were. */
static unsigned blaster_turn(struct blaster *b)
{
    struct salvo_net_event events[16];
    unsigned count = salvo_net_poll(b->net, events, 16);

    for (unsigned i = 0; i < count; i++) {
        b->up = b->up || events[i].kind == SALVO_NET_UP;
        if (events[i].kind == SALVO_NET_RELEASED)
            b->released += events[i].released.bytes;
        salvo_assert(events[i].kind != SALVO_NET_DOWN);
    }
    if (b->up && b->filled - b->taken < COALESCED &&
        b->filled + COALESCED - b->released <= MEMORY_SIZE) {
        fill(b->filled % MEMORY_SIZE, COALESCED);
        b->filled += COALESCED;
    }
    if (b->up && b->filled != b->taken) {
        size_t offset = b->taken % MEMORY_SIZE;
        struct salvo_range range = {
            memory + offset, SALVO_MIN((size_t)(b->filled - b->taken), MEMORY_SIZE - offset)};

        b->taken += salvo_net_send(b->net, b->link, &range, 1);
    }
    salvo_net_flush(b->net);
    return count;
}

static double run_net(int64_t run_ns, const char *name, uint32_t zero_copy_min)
{
    struct salvo_clock *clock = salvo_clock_system();
    struct salvo_net_conf conf;
    struct blaster b = {0};
    const char *note;
    int64_t started_ns = 0;
    int64_t now_ns;

    salvo_net_conf_default(&conf, clock);
    conf.zero_copy_min = zero_copy_min;
    conf.send_memory = memory;
    conf.send_memory_size = MEMORY_SIZE;
    if (salvo_net_open(name, &conf, &b.net, &note) != 0)
        return 0;
    salvo_assert(salvo_net_connect(b.net, &sink_at, SALVO_NS_PER_S, 0, &b.link) == 0);
    do {
        uint64_t before = b.taken;

        if (blaster_turn(&b) == 0 && b.taken == before)
            salvo_net_wait(b.net, 1, 0, 100 * SALVO_NS_PER_MS);
        if (!b.up)
            continue;
        now_ns = salvo_clock_mono_ns(clock);
        if (started_ns == 0)
            started_ns = now_ns;
    } while (!b.up || now_ns - started_ns < run_ns);
    salvo_net_destroy(b.net);
    return (double)b.taken / FRAME_SIZE / ((double)(now_ns - started_ns) / 1e9);
}

static double run_mode(unsigned mode, int64_t run_ns)
{
    switch (mode) {
    case 0:
        return run_write(run_ns, COALESCED);
    case 1:
        return run_net(run_ns, "uring", 0);
    case 2:
        return run_net(run_ns, "epoll", 0);
    case 3:
        return run_net(run_ns, "uring", SALVO_KIB(16));
    default:
        return run_write(run_ns, FRAME_SIZE);
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {
        "write, 64 frames per call", "uring, 64 KB per turn", "epoll, 64 KB per turn",
        "uring, zero copy (turns itself off)", "write, 1 frame per call"};
    double rates[SALVO_ARRAY_LENGTH(names)][RUNS_MAX];
    int64_t run_ns = (int64_t)((argc > 1 ? strtod(argv[1], NULL) : 0.5) * 1e9);
    unsigned runs = argc > 2 ? (unsigned)SALVO_CLAMP(strtol(argv[2], NULL, 10), 1, RUNS_MAX) : 5;
    socklen_t size = sizeof(sink_at.v4);
    pthread_t thread;

    memory = aligned_alloc(SALVO_MIB(2), MEMORY_SIZE);
    memset(template_frame, 'x', sizeof(template_frame));
    sink_at.v4 =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    sink_listener = socket(AF_INET, SOCK_STREAM, 0);
    salvo_assert(bind(sink_listener, &sink_at.any, size) == 0);
    salvo_assert(listen(sink_listener, 1) == 0);
    salvo_assert(getsockname(sink_listener, &sink_at.any, &size) == 0);
    salvo_assert(pthread_create(&thread, NULL, sink, NULL) == 0);
    salvo_cpu_pin(0);

    for (unsigned run = 0; run < runs; run++) {
        for (unsigned mode = 0; mode < SALVO_ARRAY_LENGTH(names); mode++)
            rates[mode][run] = run_mode(mode, run_ns);
    }
    printf("1 KB frames over loopback, %u runs of %.1f s each in turn, medians\n", runs,
           (double)run_ns / 1e9);
    for (unsigned mode = 0; mode < SALVO_ARRAY_LENGTH(names); mode++)
        qsort(rates[mode], runs, sizeof(double), by_value);
    for (unsigned mode = 0; mode < SALVO_ARRAY_LENGTH(names); mode++)
        printf("%-38s %6.2f Mframes/s   (%.2f to %.2f)   %.2f of write\n", names[mode],
               rates[mode][runs / 2] / 1e6, rates[mode][0] / 1e6, rates[mode][runs - 1] / 1e6,
               rates[mode][runs / 2] / rates[0][runs / 2]);
    shutdown(sink_listener, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(sink_listener);
    free(memory);
    return 0;
}
