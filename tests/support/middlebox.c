/* A bad link in real time: carries frames between two interfaces, late, in another order, twice,
 * wrong or not at all, by a seed (bad_link.h). ARP and neighbour discovery are only late.
 *
 *     middlebox IF IF [seed=N] [delay_us=N] [jitter_us=N] [rate=BYTES/S] [queue_us=N]
 *               [loss=N] [burst=N] [reorder=N] [duplicate=N] [corrupt=N]      per 10,000
 *
 * Both interfaces are its alone: veth ends without address and ARP, whose other ends are one wire
 * then. Frames of up to 1,514 bytes. Prints "ready", and on SIGTERM what it did. */
#include "tests/support/bad_link.h"

#include "base/base.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#define SLOT_SIZE   2048u
#define SLOTS       8192u
#define BLOCK_SIZE  (SLOT_SIZE * 64)
#define BURST       64u
#define TCP_OFFSET4 23u /* the protocol's place in a frame: IPv4, IPv6 */
#define TCP_OFFSET6 20u

struct end {
    int fd;
    uint8_t *ring;
    uint32_t slot;
    struct bad_link link;  /* what came in here goes to the other end by it */
    struct bad_link clean; /* as late, and no more */
    struct bad_flight out[BURST];
    unsigned out_count;
    uint64_t refused; /* by the kernel */
};

static struct end ends[2];
static struct bad_air air;
static volatile sig_atomic_t stopped;

static void stop(int number)
{
    stopped = 1;
}

static int64_t now_us(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000) + time.tv_nsec / 1000;
}

static void fail(const char *what)
{
    perror(what);
    exit(2);
}

static void end_open(struct end *end, const char *interface)
{
    struct tpacket_req request = {.tp_block_size = BLOCK_SIZE,
                                  .tp_frame_size = SLOT_SIZE,
                                  .tp_block_nr = SLOTS / 64,
                                  .tp_frame_nr = SLOTS};
    struct sockaddr_ll at = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(ETH_P_ALL),
                             .sll_ifindex = (int)if_nametoindex(interface)};
    int version = TPACKET_V2, one = 1, size = 32 << 20;

    if (at.sll_ifindex == 0)
        fail(interface);
    end->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (end->fd < 0 ||
        setsockopt(end->fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) != 0 ||
        setsockopt(end->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) != 0 ||
        setsockopt(end->fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)) != 0 ||
        setsockopt(end->fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) != 0 ||
        setsockopt(end->fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof(request)) != 0)
        fail("packet socket");
    end->ring = mmap(NULL, SLOT_SIZE * SLOTS, PROT_READ | PROT_WRITE, MAP_SHARED, end->fd, 0);
    if (end->ring == MAP_FAILED || bind(end->fd, (struct sockaddr *)&at, sizeof(at)) != 0)
        fail("packet ring");
}

static bool frame_is_tcp(const uint8_t *frame, uint32_t size)
{
    if (size < 54)
        return false;
    if (frame[12] == 0x08 && frame[13] == 0x00)
        return frame[TCP_OFFSET4] == IPPROTO_TCP;
    return frame[12] == 0x86 && frame[13] == 0xdd && frame[TCP_OFFSET6] == IPPROTO_TCP;
}

static unsigned end_receive(struct end *end, unsigned way)
{
    unsigned count = 0;

    for (; count < BURST; count++) {
        struct tpacket2_hdr *slot = (void *)(end->ring + (size_t)end->slot * SLOT_SIZE);

        /* Acquire: pairs with the kernel's release of the slot. */
        if (!(__atomic_load_n(&slot->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
            break;
        const uint8_t *frame = (const uint8_t *)slot + slot->tp_mac;
        bool tcp = frame_is_tcp(frame, slot->tp_snaplen);

        /* A full air is one more loss. */
        (void)bad_link_carry(tcp ? &end->link : &end->clean, &air, way, frame, slot->tp_snaplen,
                             slot->tp_snaplen > 66 ? slot->tp_snaplen - 66 : 0, now_us());
        __atomic_store_n(&slot->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
        end->slot = (end->slot + 1) % SLOTS;
    }
    return count;
}

static void end_flush(struct end *end)
{
    struct mmsghdr messages[BURST] = {0};
    struct iovec pieces[BURST];
    unsigned done = 0;

    for (unsigned i = 0; i < end->out_count; i++) {
        pieces[i] = (struct iovec){end->out[i].frame, end->out[i].size};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &pieces[i], .msg_iovlen = 1};
    }
    while (done < end->out_count) {
        int sent = sendmmsg(end->fd, messages + done, end->out_count - done, 0);

        if (sent <= 0) {
            end->refused++;
            sent = 1; /* that one is lost */
        }
        done += (unsigned)sent;
    }
    for (unsigned i = 0; i < end->out_count; i++)
        free(end->out[i].frame);
    end->out_count = 0;
}

/* What has arrived goes out. */
static unsigned deliver(void)
{
    unsigned count = 0;

    for (int64_t now = now_us(); count < 2 * BURST && bad_air_next_us(&air) <= now; count++) {
        struct bad_flight flight = bad_air_pop(&air);
        struct end *to = &ends[1 - flight.way];

        to->out[to->out_count++] = flight;
        if (to->out_count == BURST)
            end_flush(to);
    }
    end_flush(&ends[0]);
    end_flush(&ends[1]);
    return count;
}

static void wait_next(void)
{
    struct pollfd fds[2] = {{.fd = ends[0].fd, .events = POLLIN},
                            {.fd = ends[1].fd, .events = POLLIN}};
    int64_t left_us = bad_air_next_us(&air) - now_us();
    struct timespec time = {0, SALVO_MIN(left_us, INT64_C(100000)) * 1000};

    if (left_us > 0)
        ppoll(fds, 2, &time, NULL);
}

static bool option(struct bad_link *link, const char *text)
{
    const struct {
        const char *name;
        uint32_t *value;
    } shares[] = {{"loss=", &link->loss},
                  {"burst=", &link->burst},
                  {"reorder=", &link->reorder},
                  {"duplicate=", &link->duplicate},
                  {"corrupt=", &link->corrupt}};
    const char *value = strchr(text, '=');

    if (value == NULL)
        return false;
    unsigned long long number = strtoull(value + 1, NULL, 0);
    for (unsigned i = 0; i < SALVO_ARRAY_LENGTH(shares); i++)
        if (strncmp(text, shares[i].name, strlen(shares[i].name)) == 0)
            return *shares[i].value = (uint32_t)number, true;
    if (strncmp(text, "seed=", 5) == 0)
        link->seed = number;
    else if (strncmp(text, "delay_us=", 9) == 0)
        link->delay_us = (int64_t)number;
    else if (strncmp(text, "jitter_us=", 10) == 0)
        link->jitter_us = (int64_t)number;
    else if (strncmp(text, "rate=", 5) == 0)
        link->rate = number;
    else if (strncmp(text, "queue_us=", 9) == 0)
        link->queue_us = (int64_t)number;
    else
        return false;
    return true;
}

int main(int argc, char **argv)
{
    struct bad_link link = {.seed = 1, .queue_us = 10000};

    for (int i = 3; i < argc; i++)
        if (!option(&link, argv[i]))
            argc = 0;
    if (argc < 3) {
        fprintf(stderr, "usage: middlebox IF IF [NAME=N...]; names are at the top of its source\n");
        return 2;
    }
    signal(SIGTERM, stop);
    prctl(PR_SET_TIMERSLACK, 1);
    for (unsigned i = 0; i < 2; i++) {
        end_open(&ends[i], argv[1 + i]);
        ends[i].link = link;
        ends[i].link.seed += i;
        ends[i].clean = (struct bad_link){.seed = link.seed, .delay_us = link.delay_us};
    }
    puts("ready");
    fflush(stdout);
    while (!stopped)
        if (end_receive(&ends[0], 0) + end_receive(&ends[1], 1) + deliver() == 0)
            wait_next();
    for (unsigned i = 0; i < 2; i++) {
        const struct bad_link *l = &ends[i].link;

        printf("%s: %llu frames, %llu lost, %llu reordered, %llu duplicated, %llu corrupted, "
               "%llu refused\n",
               argv[1 + i], (unsigned long long)l->sent, (unsigned long long)l->lost,
               (unsigned long long)l->reordered, (unsigned long long)l->duplicated,
               (unsigned long long)l->corrupted, (unsigned long long)ends[i].refused);
    }
    return 0;
}
