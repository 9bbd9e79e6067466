/* Captures: see capture.h. */
#include "control/capture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* A ring holds 13 of a 10 Gbit/s NIC. */
#define CAPTURE_LOOK_NS SALVO_NS_PER_MS
/* The clocks drift apart by some millionths. */
#define CAPTURE_CLOCKS_NS    SALVO_NS_PER_S
#define CAPTURE_CLOCKS_TRIES 8
/* 256: packets in one write. */
#define CAPTURE_BURST 256u
/* 4,096: control has other things to do. */
#define CAPTURE_PACKETS_PER_TURN 4096u
/* As tcpdump has it: nothing is cut. */
#define CAPTURE_SNAP_SIZE 262144u

/* https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-05.html; in this machine's byte order. */
struct capture_header {
    uint32_t magic; /* of nanoseconds */
    uint16_t version_major, version_minor;
    uint32_t reserved[2];
    uint32_t snap_size;
    uint32_t link_type; /* Ethernet */
};

struct capture_record {
    uint32_t seconds, nanoseconds;
    uint32_t size_kept, size;
};
static_assert(sizeof(struct capture_record) == sizeof(struct salvo_mirror_record),
              "written over it, in front of the frame");

/* --- options ---------------------------------------------------------------------------------- */

static bool port_parse(const char *text, uint16_t *ret_port)
{
    char *end;
    unsigned long port = strtoul(text, &end, 10);

    if (*end != '\0' || text[0] < '0' || text[0] > '9' || port < 1 || port > 65535)
        return false;
    *ret_port = (uint16_t)port;
    return true;
}

static bool host_parse(const char *text, struct salvo_ip_address *ret_host)
{
    if (inet_pton(AF_INET, text, ret_host->bytes) == 1)
        ret_host->version = 4;
    else if (inet_pton(AF_INET6, text, ret_host->bytes) == 1)
        ret_host->version = 6;
    return ret_host->version != 0;
}

/* "host A", "port N". False: neither, or one too many. */
static bool term_parse(const char *word, const char *value, struct salvo_mirror_filter *filter)
{
    uint16_t *port = &filter->ports[filter->ports[0] != 0];

    if (word == NULL || value == NULL)
        return false;
    if (strcmp(word, "host") == 0)
        return filter->host.version == 0 && host_parse(value, &filter->host);
    return strcmp(word, "port") == 0 && *port == 0 && port_parse(value, port);
}

int salvo_capture_filter_parse(const char *text, struct salvo_mirror_filter *ret_filter,
                               char ret_error[SALVO_CONFIG_ERROR_MAX])
{
    struct salvo_mirror_filter filter = {0};
    char copy[256];
    char *rest = NULL, *word;
    bool good = strlen(text) < sizeof(copy);

    snprintf(copy, sizeof(copy), "%s", text);
    word = strtok_r(copy, " ", &rest);
    while (good && word != NULL) {
        good = term_parse(word, strtok_r(NULL, " ", &rest), &filter);
        word = strtok_r(NULL, " ", &rest);
        if (word == NULL)
            break;
        good = good && strcmp(word, "and") == 0;
        word = strtok_r(NULL, " ", &rest);
        good = good && word != NULL;
    }
    if (!good) {
        snprintf(ret_error, SALVO_CONFIG_ERROR_MAX,
                 "the filter is \"%.100s\": write \"host ADDRESS\" and \"port NUMBER\" with "
                 "\"and\" between them, one host and two ports at most, as in \"host 10.0.0.2 and "
                 "port 10911\"; or leave it empty for everything",
                 text);
        return salvo_raise(-EINVAL);
    }
    *ret_filter = filter;
    return 0;
}

static int not_over_dpdk(const char *what, char *errbuf, size_t errbuf_size, int code)
{
    snprintf(errbuf, errbuf_size,
             "%s: only what goes by net: dpdk is captured by salvo; kernel TCP is captured by "
             "tcpdump -i any -s 0 -w FILE tcp port PORT",
             what);
    return salvo_raise(code);
}

int salvo_capture_check(const struct salvo_config *config, char ret_error[SALVO_CONFIG_ERROR_MAX])
{
    struct salvo_mirror_filter filter;
    char error[SALVO_CONFIG_ERROR_MAX];

    if (config->dpdk_capture[0] != '\0' && config->dpdk_capture_at_start &&
        config->net != SALVO_NET_DPDK)
        return not_over_dpdk("dpdk_capture", ret_error, SALVO_CONFIG_ERROR_MAX, -EINVAL);
    if (salvo_capture_filter_parse(config->dpdk_capture_filter, &filter, error)) {
        snprintf(ret_error, SALVO_CONFIG_ERROR_MAX, "dpdk_capture_filter: %.400s", error);
        return salvo_raise(-EINVAL);
    }
    return 0;
}

/* --- begin and end, by anybody ---------------------------------------------------------------- */

static int file_make(struct salvo_capture *capture)
{
    struct capture_header header = {.magic = 0xa1b23c4d,
                                    .version_major = 2,
                                    .version_minor = 4,
                                    .snap_size = CAPTURE_SNAP_SIZE,
                                    .link_type = 1};
    ssize_t written;
    int r;

    /* Messages are in it: for its owner's eyes. */
    capture->fd = open(capture->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (capture->fd < 0)
        return -errno;
    written = write(capture->fd, &header, sizeof(header));
    if (written == (ssize_t)sizeof(header)) {
        capture->size = sizeof(header);
        return 0;
    }
    r = written < 0 ? -errno : -ENOSPC;
    close(capture->fd);
    unlink(capture->path);
    return r;
}

static int capture_open(struct salvo_capture *capture, const char *what, const char *path,
                        const char *filter, char *errbuf, size_t errbuf_size)
{
    char error[SALVO_CONFIG_ERROR_MAX];
    int r = salvo_capture_filter_parse(filter, &capture->filter, error);

    if (r) {
        snprintf(errbuf, errbuf_size, "%s: %s", what, error);
        return r;
    }
    if (strlen(path) >= sizeof(capture->path)) {
        r = -ENAMETOOLONG;
    } else {
        memcpy(capture->path, path, strlen(path) + 1);
        r = file_make(capture);
    }
    if (r == -EEXIST)
        snprintf(errbuf, errbuf_size,
                 "%s: %.300s is there already: move it away, or name another file", what, path);
    else if (r)
        snprintf(errbuf, errbuf_size,
                 "%s: %.300s cannot be written: %s; name a file in a folder that can, with room",
                 what, path, strerror(-r));
    return r;
}

/* Once: lanes fault no pages in, and who never captures has none. What is in the ring stays: an
 * address may have been asked for (nets.c). */
static void ring_touch(const struct salvo_ring *ring)
{
    volatile uint8_t *memory = ring->memory;

    for (size_t at = 0; at < SALVO_MIRROR_RING_SIZE; at += 4096)
        memory[at] = memory[at];
}

int salvo_capture_begin(struct salvo_capture *capture, const char *what, const char *path,
                        const char *filter, char *errbuf, size_t errbuf_size)
{
    uint32_t idle = SALVO_CAPTURE_IDLE;
    int r;

    if (capture->conf.mirrors == NULL)
        return not_over_dpdk(what, errbuf, errbuf_size, -ENOTSUP);
    if (path == NULL || path[0] == '\0') {
        snprintf(errbuf, errbuf_size, "%s: no file is named: give the path of one to be made",
                 what);
        return salvo_raise(-EINVAL);
    }
    /* Acquire: pairs with the release in capture_close. */
    if (!atomic_compare_exchange_strong_explicit(&capture->state, &idle, SALVO_CAPTURE_OPENING,
                                                 memory_order_acquire, memory_order_relaxed)) {
        snprintf(errbuf, errbuf_size, "%s: one runs already: end it first", what);
        return salvo_raise(-EBUSY);
    }
    r = capture_open(capture, what, path, filter, errbuf, errbuf_size);
    for (uint32_t i = 0; r == 0 && !capture->touched && i < capture->conf.lanes_count; i++)
        ring_touch(&capture->conf.mirrors[i].ring);
    capture->touched |= r == 0;
    /* Release: pairs with the acquire in salvo_capture_do_work. */
    atomic_store_explicit(&capture->state, r == 0 ? SALVO_CAPTURE_RUNNING : SALVO_CAPTURE_IDLE,
                          memory_order_release);
    return salvo_trace(r);
}

int salvo_capture_end(struct salvo_capture *capture)
{
    uint32_t running = SALVO_CAPTURE_RUNNING;

    if (!atomic_compare_exchange_strong_explicit(&capture->state, &running, SALVO_CAPTURE_STOPPING,
                                                 memory_order_acq_rel, memory_order_relaxed))
        return salvo_raise(-ENOENT);
    return 0;
}

bool salvo_capture_runs(const struct salvo_capture *capture)
{
    /* Acquire: pairs with the release in capture_close: the file is whole. */
    return atomic_load_explicit(&capture->state, memory_order_acquire) != SALVO_CAPTURE_IDLE;
}

/* --- rings to file ---------------------------------------------------------------------------- */

/* What time it is for the wall when it is 0 for lanes: the closest of some readings. */
static void clocks_read(struct salvo_capture *capture)
{
    struct salvo_clock *clock = capture->conf.report->clock;
    int64_t apart_min = INT64_MAX;

    for (unsigned i = 0; i < CAPTURE_CLOCKS_TRIES; i++) {
        int64_t before_ns = salvo_clock_mono_ns(clock);
        int64_t wall_ns = salvo_clock_wall_ns(clock);
        int64_t apart_ns = salvo_clock_mono_ns(clock) - before_ns;

        if (apart_ns >= apart_min)
            continue;
        apart_min = apart_ns;
        capture->wall_offset_ns = wall_ns - before_ns - apart_ns / 2;
    }
}

/* No more of it; the lanes are told by the next turn. */
static void capture_over(struct salvo_capture *capture)
{
    capture->over = true;
    (void)salvo_capture_end(capture);
}

static void capture_failed(struct salvo_capture *capture, int code)
{
    capture->lost = true;
    capture_over(capture);
    salvo_report_error(capture->conf.report, "capture", code,
                       "%.200s: %s; it ends with %" PRIu64
                       " packets: make room, or lower dpdk_capture_max",
                       capture->path, strerror(-code), capture->packets);
    /* What is there of a packet that is not whole. */
    if (ftruncate(capture->fd, (off_t)capture->size) != 0)
        salvo_report_error(capture->conf.report, "capture: ftruncate", -errno,
                           "%.200s may end inside a packet: %s", capture->path, strerror(errno));
}

static struct salvo_mirror_record *record_oldest(struct salvo_capture *capture,
                                                 struct salvo_ring **ret_ring, uint32_t *ret_size)
{
    struct salvo_mirror_record *oldest = NULL;

    for (uint32_t i = 0; i < capture->conf.lanes_count; i++) {
        struct salvo_ring *ring = &capture->conf.mirrors[i].ring;
        uint32_t size;
        struct salvo_mirror_record *record = salvo_ring_peek(ring, &size);

        if (record == NULL || (oldest != NULL && oldest->mono_ns <= record->mono_ns))
            continue;
        oldest = record;
        *ret_ring = ring;
        *ret_size = size;
    }
    return oldest;
}

/* Packets as they go into the file, each with its header in front, where they lie in the rings. */
static unsigned packets_gather(struct salvo_capture *capture, struct iovec *ret_packets,
                               size_t *ret_size)
{
    unsigned count = 0;

    *ret_size = 0;
    while (count < CAPTURE_BURST) {
        struct salvo_ring *ring;
        uint32_t size;
        struct salvo_mirror_record *record = record_oldest(capture, &ring, &size);
        int64_t wall_ns;
        struct capture_record header;

        if (record == NULL)
            break;
        wall_ns = record->mono_ns + capture->wall_offset_ns;
        header = (struct capture_record){.seconds = (uint32_t)(wall_ns / SALVO_NS_PER_S),
                                         .nanoseconds = (uint32_t)(wall_ns % SALVO_NS_PER_S),
                                         .size_kept = record->size,
                                         .size = record->size};
        memcpy(record, &header, sizeof(header));
        ret_packets[count++] = (struct iovec){record, size};
        *ret_size += size;
        salvo_ring_advance(ring, size);
    }
    return count;
}

/* 0 or -errno. */
static int packets_write(struct salvo_capture *capture, struct iovec *packets, unsigned count,
                         size_t size)
{
    size_t written = 0;

    while (written < size) {
        ssize_t r = writev(capture->fd, packets, (int)count);

        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return r < 0 ? -errno : -EIO;
        written += (size_t)r;
        for (; count != 0 && (size_t)r >= packets->iov_len; packets++, count--)
            r -= (ssize_t)packets->iov_len;
        if (count != 0)
            *packets =
                (struct iovec){(uint8_t *)packets->iov_base + r, packets->iov_len - (size_t)r};
    }
    return 0;
}

/* How many of the packets the file may still take. */
static unsigned packets_fitting(const struct salvo_capture *capture, const struct iovec *packets,
                                unsigned count, size_t *ret_size)
{
    unsigned fitting = 0;

    for (*ret_size = 0; fitting < count; *ret_size += packets[fitting++].iov_len)
        if (capture->size + *ret_size + packets[fitting].iov_len > capture->conf.size_max)
            break;
    return fitting;
}

static void packets_keep(struct salvo_capture *capture, struct iovec *packets, unsigned count,
                         size_t size)
{
    salvo_counter *counters = capture->conf.report->counters;
    unsigned fitting = count;
    int r;

    if (capture->size + size > capture->conf.size_max)
        fitting = packets_fitting(capture, packets, count, &size);
    r = packets_write(capture, packets, fitting, size);
    if (r) {
        capture_failed(capture, r);
        return;
    }
    capture->size += size;
    capture->packets += fitting;
    salvo_counter_add(counters, SALVO_CONTROL_CAPTURE_PACKETS, fitting);
    if (fitting == count)
        return;
    capture_over(capture);
    salvo_log_warn(capture->conf.report->log,
                   "capture: %.200s has reached dpdk_capture_max (%" PRIu64
                   " bytes) and ends: raise it, or begin anew",
                   capture->path, capture->conf.size_max);
}

static void dropped_count(struct salvo_capture *capture)
{
    uint64_t dropped = 0;

    for (uint32_t i = 0; i < capture->conf.lanes_count; i++)
        dropped += atomic_load_explicit(&capture->conf.mirrors[i].dropped, memory_order_relaxed);
    capture->dropped += dropped - capture->dropped_seen;
    salvo_counter_add(capture->conf.report->counters, SALVO_CONTROL_CAPTURE_DROPPED,
                      dropped - capture->dropped_seen);
    capture->dropped_seen = dropped;
}

/* Empties the rings, as far as a turn goes. Returns how many packets there were. */
static unsigned rings_drain(struct salvo_capture *capture)
{
    struct iovec packets[CAPTURE_BURST];
    unsigned total = 0, count;

    do {
        size_t size;

        count = packets_gather(capture, packets, &size);
        if (count != 0 && !capture->over)
            packets_keep(capture, packets, count, size);
        if (capture->lost) {
            capture->dropped += count;
            salvo_counter_add(capture->conf.report->counters, SALVO_CONTROL_CAPTURE_DROPPED, count);
        }
        for (uint32_t i = 0; i < capture->conf.lanes_count; i++)
            salvo_ring_release(&capture->conf.mirrors[i].ring);
        total += count;
    } while (count == CAPTURE_BURST && total < CAPTURE_PACKETS_PER_TURN);
    dropped_count(capture);
    return total;
}

/* --- lanes ------------------------------------------------------------------------------------ */

/* A lane whose command ring is full is told next turn. */
static void lanes_tell(struct salvo_capture *capture, bool running)
{
    struct salvo_command command = {.kind = running ? SALVO_COMMAND_MIRROR_BEGIN
                                                    : SALVO_COMMAND_MIRROR_END,
                                    .filter = capture->filter};
    uint64_t *told = running ? &capture->lanes_begun : &capture->lanes_ended;

    for (uint32_t i = 0; i < capture->conf.lanes_count; i++) {
        uint64_t bit = UINT64_C(1) << i;

        if (*told & bit || (!running && !(capture->lanes_begun & bit)))
            continue;
        if (running)
            capture->ended_before[i] =
                atomic_load_explicit(&capture->conf.mirrors[i].ended, memory_order_relaxed);
        if (salvo_lane_port_command(capture->conf.ports[i], &command) == 0)
            *told |= bit;
    }
}

static bool capture_lanes_ended(const struct salvo_capture *capture)
{
    for (uint32_t i = 0; i < capture->conf.lanes_count; i++)
        /* Acquire: pairs with the release in salvo_mirror_end. */
        if (capture->lanes_begun >> i & 1 &&
            atomic_load_explicit(&capture->conf.mirrors[i].ended, memory_order_acquire) ==
                capture->ended_before[i])
            return false;
    return true;
}

/* --- control's turns -------------------------------------------------------------------------- */

static void capture_close(struct salvo_capture *capture)
{
    /* Some file systems say only now that there is no room. */
    if (close(capture->fd) != 0 && !capture->lost)
        salvo_report_error(capture->conf.report, "capture: close", -errno,
                           "%.200s is not whole: %s", capture->path, strerror(errno));
    salvo_log_write(capture->conf.report->log,
                    capture->dropped != 0 ? SALVO_LOG_WARN : SALVO_LOG_INFO,
                    "capture: %.200s has %" PRIu64 " packets, %" PRIu64 " were left out",
                    capture->path, capture->packets, capture->dropped);
    capture->lanes_begun = capture->lanes_ended = 0;
    capture->over = capture->lost = false;
    capture->packets = capture->dropped = 0;
    /* Release: pairs with the acquires in salvo_capture_begin and _runs. */
    atomic_store_explicit(&capture->state, SALVO_CAPTURE_IDLE, memory_order_release);
}

int salvo_capture_do_work(struct salvo_capture *capture, int64_t now_ns)
{
    /* Acquire: pairs with the release in salvo_capture_begin. */
    uint32_t state = atomic_load_explicit(&capture->state, memory_order_acquire);
    bool ended;
    unsigned count;

    if (SALVO_LIKELY(state < SALVO_CAPTURE_RUNNING))
        return 0;
    lanes_tell(capture, state == SALVO_CAPTURE_RUNNING);
    if (now_ns < capture->due_ns && state == SALVO_CAPTURE_RUNNING)
        return 0;
    if (now_ns >= capture->clocks_due_ns) {
        clocks_read(capture);
        capture->clocks_due_ns = now_ns + CAPTURE_CLOCKS_NS;
    }
    ended = state == SALVO_CAPTURE_STOPPING && capture_lanes_ended(capture);
    count = rings_drain(capture);
    if (count >= CAPTURE_PACKETS_PER_TURN)
        return (int)count; /* the rest in the next turn */
    capture->due_ns = now_ns + CAPTURE_LOOK_NS;
    if (ended)
        capture_close(capture);
    return ended ? 1 : 0;
}

int64_t salvo_capture_next_ns(const struct salvo_capture *capture)
{
    return atomic_load_explicit(&capture->state, memory_order_relaxed) < SALVO_CAPTURE_RUNNING
               ? INT64_MAX
               : capture->due_ns;
}

void salvo_capture_init(struct salvo_capture *capture, const struct salvo_capture_conf *conf)
{
    salvo_assert(conf->lanes_count <= SALVO_ARRAY_LENGTH(capture->ended_before));
    memset(capture, 0, sizeof(*capture));
    capture->conf = *conf;
}

void salvo_capture_deinit(struct salvo_capture *capture)
{
    if (!salvo_capture_runs(capture))
        return;
    clocks_read(capture);
    while (rings_drain(capture) != 0)
        ;
    capture_close(capture);
}
