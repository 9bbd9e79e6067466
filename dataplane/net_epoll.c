/* The network over kernel TCP by epoll: where io_uring is refused, and the baseline to measure
 * against.
 *
 * Sockets are non-blocking and edge triggered: readiness is remembered per link until the kernel
 * says EAGAIN. send() only gathers; flush() makes one sendmsg per link of what the turn gathered,
 * and what the kernel does not take stays until the socket is writable again. */
#include "dataplane/net_socket.h"

#include "base/assert.h"
#include "base/error.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* 500 us: a wake() during a gather is seen at the latest so much later. */
#define EPOLL_GATHER_SLICE_NS (500 * SALVO_NS_PER_US)
/* 10 ms: how long a listener that failed to accept (out of files) rests. */
#define EPOLL_STALL_NS        (10 * SALVO_NS_PER_MS)
#define EPOLL_EVENTS_PER_CALL 128
#define EPOLL_WAKE_INDEX      UINT32_MAX

enum epoll_link_state {
    EPOLL_LINK_FREE,
    EPOLL_LINK_LISTENING,
    EPOLL_LINK_CONNECTING,
    EPOLL_LINK_UP,
    EPOLL_LINK_DYING, /* DOWN is due */
    EPOLL_LINK_DOWN,  /* DOWN was reported */
};

struct epoll_link {
    uint32_t index;
    uint32_t generation; /* told to epoll: an event for an earlier user of the number is dropped */
    enum epoll_link_state state;
    int fd;
    uint64_t cookie;
    int64_t deadline_ns; /* of the connect */

    bool announce; /* UP or ACCEPTED is due */
    bool accepted;
    bool wants; /* send() took less than offered */
    bool readable;
    bool writable;
    bool queued; /* on epoll->pending: readable, or something to report */
    bool dirty;  /* on epoll->dirty: something to send */
    struct epoll_link *pending_next;
    struct epoll_link *dirty_next;

    bool has_reason; /* the first one is reported */
    bool closed;     /* by our close() */
    enum salvo_net_down reason;
    int code;

    uint64_t taken;
    uint64_t handed_over;
    uint64_t released; /* as reported */
    struct salvo_net_gather gather;
};

enum epoll_sleep { EPOLL_AWAKE, EPOLL_ASLEEP, EPOLL_WOKEN };

struct epoll {
    /* fixed after start */
    struct salvo_net_head head;
    struct salvo_net_conf conf;
    struct epoll_link *links;
    uint8_t *buffers;
    int epoll_fd;
    int wake_fd;

    /* owner only */
    uint32_t *buffers_free;
    uint32_t buffers_free_count;
    uint32_t links_free_hint;
    uint32_t connecting_count;
    uint32_t stalled_count;
    int64_t stalled_until_ns;
    struct epoll_link *pending_first, *pending_last;
    struct epoll_link *dirty;

    /* anyone -> owner */
    alignas(SALVO_CACHE_LINE) _Atomic uint32_t sleep; /* enum epoll_sleep */
};

static struct epoll *epoll_of(struct salvo_net *net)
{
    struct epoll *epoll = (struct epoll *)net;
    salvo_assert(epoll->head.magic == SALVO_NET_MAGIC);
    return epoll;
}

static struct epoll_link *link_of(struct epoll *epoll, uint32_t index)
{
    salvo_assert(index < epoll->conf.links_max);
    return &epoll->links[index];
}

static void link_queue(struct epoll *epoll, struct epoll_link *link)
{
    if (link->queued)
        return;
    link->queued = true;
    link->pending_next = NULL;
    if (epoll->pending_first == NULL)
        epoll->pending_first = link;
    else
        epoll->pending_last->pending_next = link;
    epoll->pending_last = link;
}

static void link_mark_dirty(struct epoll *epoll, struct epoll_link *link)
{
    if (link->dirty || link->gather.size == 0)
        return;
    link->dirty = true;
    link->dirty_next = epoll->dirty;
    epoll->dirty = link;
}

/* A free link, watched by epoll. */
static int link_take(struct epoll *epoll, int fd, enum epoll_link_state state, uint64_t cookie,
                     struct epoll_link **ret_link)
{
    for (uint32_t i = 0; i < epoll->conf.links_max; i++) {
        uint32_t index = (epoll->links_free_hint + i) % epoll->conf.links_max;
        struct epoll_link *link = &epoll->links[index];
        uint32_t generation = link->generation + 1;
        struct epoll_event watch = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                    .data.u64 = (uint64_t)generation << 32 | index};

        if (link->state != EPOLL_LINK_FREE || link->dirty || link->queued)
            continue;
        if (epoll_ctl(epoll->epoll_fd, EPOLL_CTL_ADD, fd, &watch) != 0)
            return salvo_raise(-errno);
        memset(link, 0, sizeof(*link));
        link->index = index;
        link->generation = generation;
        link->state = state;
        link->fd = fd;
        link->cookie = cookie;
        epoll->links_free_hint = index + 1;
        *ret_link = link;
        return 0;
    }
    return salvo_raise(-ENOSPC);
}

static void link_die(struct epoll *epoll, struct epoll_link *link, enum salvo_net_down reason,
                     int code)
{
    if (!link->has_reason) {
        link->has_reason = true;
        link->reason = reason;
        link->code = code;
    }
    if (link->state == EPOLL_LINK_DYING || link->state == EPOLL_LINK_DOWN)
        return;
    if (link->state == EPOLL_LINK_CONNECTING)
        epoll->connecting_count--;
    link->state = EPOLL_LINK_DYING;
    close(link->fd); /* and out of epoll */
    link->fd = -1;
    link_queue(epoll, link);
}

static int epoll_connect(struct salvo_net *net, const struct salvo_endpoint *to, int64_t timeout_ns,
                         uint64_t cookie, uint32_t *ret_link)
{
    struct epoll *epoll = epoll_of(net);
    struct epoll_link *link = NULL;
    int error = 0;
    int fd;
    int r;

    salvo_assert(timeout_ns > 0);
    r = salvo_net_socket_new(to, true, &fd);
    if (r)
        return salvo_trace(r);
    if (connect(fd, &to->any, salvo_endpoint_size(to)) != 0 && errno != EINPROGRESS)
        error = errno;
    r = link_take(epoll, fd, EPOLL_LINK_CONNECTING, cookie, &link);
    if (r) {
        close(fd);
        return salvo_trace(r);
    }
    epoll->connecting_count++;
    link->deadline_ns = salvo_clock_mono_ns(epoll->conf.clock);
    link->deadline_ns =
        timeout_ns < INT64_MAX - link->deadline_ns ? link->deadline_ns + timeout_ns : INT64_MAX;
    if (error != 0)
        link_die(epoll, link, salvo_net_down_of(error), error);
    *ret_link = link->index;
    return 0;
}

static int epoll_listen(struct salvo_net *net, struct salvo_endpoint *at, uint64_t cookie)
{
    struct epoll *epoll = epoll_of(net);
    struct epoll_link *link;
    int fd;
    int r;

    r = salvo_net_socket_listen(at, true, &fd);
    if (r)
        return salvo_trace(r);
    r = link_take(epoll, fd, EPOLL_LINK_LISTENING, cookie, &link);
    if (r)
        close(fd);
    return salvo_trace(r);
}

static void epoll_set_cookie(struct salvo_net *net, uint32_t index, uint64_t cookie)
{
    struct epoll_link *link = link_of(epoll_of(net), index);

    salvo_assert(link->state >= EPOLL_LINK_CONNECTING);
    link->cookie = cookie;
}

static bool link_can_take(const struct epoll *epoll, const struct epoll_link *link)
{
    return link->state == EPOLL_LINK_UP && !link->has_reason &&
           link->gather.size < epoll->conf.send_max &&
           link->gather.ranges_count < SALVO_NET_GATHER_MAX;
}

static size_t epoll_send(struct salvo_net *net, uint32_t index, const struct salvo_range *ranges,
                         unsigned ranges_count)
{
    struct epoll *epoll = epoll_of(net);
    struct epoll_link *link = link_of(epoll, index);
    size_t offered = 0;
    size_t taken = 0;

    if (link->state == EPOLL_LINK_FREE)
        return 0;
    salvo_assert(link->state >= EPOLL_LINK_UP);
    for (unsigned i = 0; i < ranges_count; i++)
        offered += ranges[i].size;
    if (link_can_take(epoll, link))
        taken = salvo_net_gather_take(&link->gather, ranges, ranges_count,
                                      epoll->conf.send_max - link->gather.size);
    link->taken += taken;
    if (taken < offered)
        link->wants = true; /* something is gathered: its end is the sign */
    if (link->writable)
        link_mark_dirty(epoll, link);
    return taken;
}

static void epoll_give_back(struct salvo_net *net, uint32_t buffer)
{
    struct epoll *epoll = epoll_of(net);

    salvo_assert(buffer < epoll->conf.receive_buffers);
    salvo_assert(epoll->buffers_free_count < epoll->conf.receive_buffers);
    epoll->buffers_free[epoll->buffers_free_count++] = buffer;
}

static void epoll_close(struct salvo_net *net, uint32_t index)
{
    struct epoll *epoll = epoll_of(net);
    struct epoll_link *link = link_of(epoll, index);

    if (link->state == EPOLL_LINK_FREE || link->closed || link->state == EPOLL_LINK_DOWN)
        return;
    link->closed = true;
    link->announce = false;
    link_die(epoll, link, SALVO_NET_DOWN_CLOSED, 0);
}

static void link_send(struct epoll *epoll, struct epoll_link *link)
{
    /* Twice: the first call may be cut short by a full socket buffer, the second says so. */
    for (unsigned i = 0; i < 2 && link->gather.size != 0; i++) {
        struct msghdr message = {.msg_iov = link->gather.ranges,
                                 .msg_iovlen = link->gather.ranges_count};
        ssize_t sent = sendmsg(link->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent < 0) {
            if (errno == EINTR)
                continue;
            link->writable = false;
            if (errno == EAGAIN)
                return;
            /* What the peer said before is still read; reading ends the link. */
            link->has_reason = true;
            link->code = errno;
            link->reason = salvo_net_down_of(link->code);
            shutdown(link->fd, SHUT_RDWR);
            link->readable = true;
            link_queue(epoll, link);
            return;
        }
        salvo_net_gather_drop(&link->gather, (size_t)sent);
        link->handed_over += (uint64_t)sent;
        link_queue(epoll, link); /* RELEASED */
    }
    link_mark_dirty(epoll, link); /* only after a signal, or a very short write: the next turn */
}

static void epoll_flush(struct salvo_net *net)
{
    struct epoll *epoll = epoll_of(net);
    struct epoll_link *link = epoll->dirty;

    epoll->dirty = NULL;
    while (link != NULL) {
        struct epoll_link *next = link->dirty_next;

        link->dirty = false;
        if (link->state == EPOLL_LINK_UP && !link->has_reason && link->writable)
            link_send(epoll, link);
        link = next;
    }
}

static void link_accept(struct epoll *epoll, struct epoll_link *listener)
{
    /* Bounded: what is left stays readable. */
    for (unsigned i = 0; i < EPOLL_EVENTS_PER_CALL; i++) {
        struct epoll_link *link = NULL;
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0) {
            listener->readable = errno != EAGAIN;
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                epoll->stalled_count = 1;
                epoll->stalled_until_ns = salvo_clock_mono_ns(epoll->conf.clock) + EPOLL_STALL_NS;
                listener->readable = false;
            }
            return;
        }
        if (link_take(epoll, fd, EPOLL_LINK_UP, listener->cookie, &link) != 0) {
            close(fd);
            continue;
        }
        link->announce = true;
        link->accepted = true;
        link_queue(epoll, link);
    }
    link_queue(epoll, listener);
}

static void link_connected(struct epoll *epoll, struct epoll_link *link)
{
    int error = 0;
    socklen_t size = sizeof(error);

    if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        error = errno;
    if (error != 0) {
        link_die(epoll, link, salvo_net_down_of(error), error);
        return;
    }
    epoll->connecting_count--;
    link->state = EPOLL_LINK_UP;
    link->announce = true;
    link_queue(epoll, link);
}

static void link_ready(struct epoll *epoll, struct epoll_link *link, uint32_t events)
{
    if (link->state == EPOLL_LINK_LISTENING) {
        link->readable = true;
        link_queue(epoll, link);
        return;
    }
    if (link->state == EPOLL_LINK_CONNECTING) {
        if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
            return;
        link_connected(epoll, link);
    }
    if (link->state != EPOLL_LINK_UP)
        return;
    if (events & EPOLLOUT) {
        link->writable = true;
        link_mark_dirty(epoll, link);
    }
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP)) {
        link->readable = true;
        link_queue(epoll, link);
    }
}

/* Asks the kernel what became ready. Returns how many answers there were. epoll_pwait2 would be one
 * call instead of two, but needs Linux 5.11 and a container that knows it. */
static unsigned epoll_collect(struct epoll *epoll, int64_t timeout_ns)
{
    struct epoll_event events[EPOLL_EVENTS_PER_CALL];
    int count;

    if (timeout_ns > 0) {
        struct pollfd any = {.fd = epoll->epoll_fd, .events = POLLIN};
        struct timespec timeout = {.tv_sec = timeout_ns / SALVO_NS_PER_S,
                                   .tv_nsec = timeout_ns % SALVO_NS_PER_S};

        if (ppoll(&any, 1, &timeout, NULL) <= 0)
            return 0;
    }
    count = epoll_wait(epoll->epoll_fd, events, EPOLL_EVENTS_PER_CALL, 0);
    salvo_assert(count >= 0 || errno == EINTR);
    for (int i = 0; i < count; i++) {
        uint32_t index = (uint32_t)events[i].data.u64;

        if (index == EPOLL_WAKE_INDEX)
            continue; /* edge triggered: never read, each write is an event */
        struct epoll_link *link = link_of(epoll, index);
        if (link->generation == (uint32_t)(events[i].data.u64 >> 32))
            link_ready(epoll, link, events[i].events);
    }
    return count < 0 ? 0 : (unsigned)count;
}

static void epoll_expire(struct epoll *epoll)
{
    int64_t now_ns = salvo_clock_mono_ns(epoll->conf.clock);

    for (uint32_t i = 0; i < epoll->conf.links_max; i++) {
        struct epoll_link *link = &epoll->links[i];

        if (link->state == EPOLL_LINK_CONNECTING && now_ns >= link->deadline_ns)
            link_die(epoll, link, SALVO_NET_DOWN_TIMEOUT, ETIMEDOUT);
        if (link->state == EPOLL_LINK_LISTENING && epoll->stalled_count != 0 &&
            now_ns >= epoll->stalled_until_ns) {
            link->readable = true;
            link_queue(epoll, link);
        }
    }
    if (now_ns >= epoll->stalled_until_ns)
        epoll->stalled_count = 0;
}

/* Reads once. True when there was something. */
static bool link_receive(struct epoll *epoll, struct epoll_link *link,
                         struct salvo_net_event *ret_event)
{
    uint32_t buffer = epoll->buffers_free[epoll->buffers_free_count - 1];
    uint8_t *bytes = epoll->buffers + (size_t)buffer * epoll->conf.receive_buffer_size;
    ssize_t got = recv(link->fd, bytes, epoll->conf.receive_buffer_size, MSG_DONTWAIT);

    if (got > 0) {
        epoll->buffers_free_count--;
        *ret_event = (struct salvo_net_event){
            .kind = SALVO_NET_DATA,
            .link = link->index,
            .cookie = link->cookie,
            .data = {.bytes = bytes, .size = (uint32_t)got, .buffer = buffer}};
        return true;
    }
    if (got < 0 && errno == EINTR)
        return false;
    if (got < 0 && errno == EAGAIN)
        link->readable = false;
    else
        link_die(epoll, link, salvo_net_down_of(got < 0 ? errno : 0), got < 0 ? errno : 0);
    return false;
}

/* The next thing a link has to say, or its next bytes. False when there is nothing (now). */
static bool link_report(struct epoll *epoll, struct epoll_link *link,
                        struct salvo_net_event *ret_event)
{
    struct salvo_net_event event = {.link = link->index, .cookie = link->cookie};
    uint64_t released = link->state >= EPOLL_LINK_DYING ? link->taken : link->handed_over;

    *ret_event = event;
    if (link->announce) {
        link->announce = false;
        ret_event->kind = link->accepted ? SALVO_NET_ACCEPTED : SALVO_NET_UP;
        return true;
    }
    if (link->state == EPOLL_LINK_DYING) {
        link->state = EPOLL_LINK_DOWN;
        ret_event->kind = SALVO_NET_DOWN;
        ret_event->down.reason = link->reason;
        ret_event->down.code = link->code;
        ret_event->down.handed_over = link->handed_over;
        return true;
    }
    if (released != link->released) {
        ret_event->kind = SALVO_NET_RELEASED;
        ret_event->released.bytes = released - link->released;
        link->released = released;
        link->wants = false;
        return true;
    }
    if (link->state == EPOLL_LINK_DOWN) {
        ret_event->kind = SALVO_NET_GONE;
        return true;
    }
    if (link->state == EPOLL_LINK_UP && link->readable && epoll->buffers_free_count != 0)
        return link_receive(epoll, link, ret_event);
    return false;
}

/* Takes one event from the oldest pending link, and puts a link that may have more behind the
 * others. */
static bool epoll_report(struct epoll *epoll, struct salvo_net_event *ret_event)
{
    struct epoll_link *link = epoll->pending_first;
    bool reported;

    epoll->pending_first = link->pending_next;
    link->queued = false;
    if (link->state == EPOLL_LINK_LISTENING) {
        if (link->readable)
            link_accept(epoll, link);
        return false;
    }
    reported = link_report(epoll, link, ret_event);
    if (reported && ret_event->kind == SALVO_NET_GONE)
        link->state = EPOLL_LINK_FREE;
    else if (reported || (link->state == EPOLL_LINK_UP && link->readable))
        link_queue(epoll, link);
    return reported;
}

/* How many links have something to report; links that only wait for buffers do not. */
static unsigned epoll_pending_count(const struct epoll *epoll)
{
    unsigned count = 0;

    for (const struct epoll_link *link = epoll->pending_first; link != NULL;
         link = link->pending_next)
        count += epoll->buffers_free_count != 0 || link->state != EPOLL_LINK_UP || link->announce ||
                 link->released != link->handed_over;
    return count;
}

static unsigned epoll_poll(struct salvo_net *net, struct salvo_net_event *ret_events,
                           unsigned events_max)
{
    struct epoll *epoll = epoll_of(net);
    unsigned count = 0;
    uint32_t idle = 0;

    epoll_collect(epoll, 0);
    if (epoll->connecting_count != 0 || epoll->stalled_count != 0)
        epoll_expire(epoll);
    /* `idle` bounds the turn when all that is left waits for buffers or was interrupted. */
    while (epoll->pending_first != NULL && count < events_max && idle <= epoll->conf.links_max) {
        if (epoll_report(epoll, &ret_events[count])) {
            count++;
            idle = 0;
        } else {
            idle++;
        }
    }
    return count;
}

/* How long to sleep at most, for the deadlines that only we watch. */
static int64_t epoll_next_ns(const struct epoll *epoll, int64_t timeout_ns)
{
    int64_t now_ns;

    timeout_ns = SALVO_CLAMP(timeout_ns, 0, INT64_MAX / 2);
    if (epoll->stalled_count != 0)
        timeout_ns = SALVO_MIN(timeout_ns, EPOLL_STALL_NS);
    if (epoll->connecting_count == 0)
        return timeout_ns;
    now_ns = salvo_clock_mono_ns(epoll->conf.clock);
    for (uint32_t i = 0; i < epoll->conf.links_max; i++) {
        if (epoll->links[i].state == EPOLL_LINK_CONNECTING)
            timeout_ns = SALVO_MIN(timeout_ns, epoll->links[i].deadline_ns - now_ns);
    }
    return SALVO_MAX(timeout_ns, 0);
}

static bool epoll_woken(const struct epoll *epoll)
{
    return atomic_load_explicit(&epoll->sleep, memory_order_acquire) == EPOLL_WOKEN;
}

/* Sleeps through the gather, looking up after each slice. Returns true when the wait is over. */
static bool epoll_gather(struct epoll *epoll, unsigned events_min, int64_t gather_ns)
{
    while (gather_ns > 0) {
        int64_t slice_ns = SALVO_MIN(gather_ns, EPOLL_GATHER_SLICE_NS);
        struct timespec slice = {.tv_nsec = slice_ns};

        clock_nanosleep(CLOCK_MONOTONIC, 0, &slice, NULL);
        gather_ns -= slice_ns;
        epoll_collect(epoll, 0);
        if (epoll_pending_count(epoll) >= events_min || epoll_woken(epoll))
            return true;
    }
    return epoll_pending_count(epoll) != 0;
}

/* wake() and this: as uring_wait in net_uring.c. */
static void epoll_wait_net(struct salvo_net *net, unsigned events_min, int64_t gather_ns,
                           int64_t timeout_ns)
{
    struct epoll *epoll = epoll_of(net);
    uint32_t awake = EPOLL_AWAKE;
    unsigned pending;
    bool over;

    epoll_flush(net);
    timeout_ns = epoll_next_ns(epoll, timeout_ns);
    gather_ns = SALVO_MIN(gather_ns, timeout_ns);
    pending = epoll_pending_count(epoll);
    over = timeout_ns == 0 || pending >= SALVO_MAX(events_min, 1u);
    if (!atomic_compare_exchange_strong_explicit(&epoll->sleep, &awake, EPOLL_ASLEEP,
                                                 memory_order_acq_rel, memory_order_acquire))
        over = true;
    if (!over && events_min > 1 && gather_ns > 0) {
        over = epoll_gather(epoll, events_min, gather_ns);
        timeout_ns -= gather_ns;
    } else if (pending != 0) {
        over = true;
    }
    if (!over)
        epoll_collect(epoll, timeout_ns);
    atomic_exchange_explicit(&epoll->sleep, EPOLL_AWAKE, memory_order_acq_rel);
}

static void epoll_wake(struct salvo_net *net)
{
    struct epoll *epoll = epoll_of(net);
    uint64_t one = 1;

    /* Pairs with the exchanges in epoll_wait_net. */
    if (atomic_exchange_explicit(&epoll->sleep, EPOLL_WOKEN, memory_order_acq_rel) ==
        EPOLL_ASLEEP) {
        ssize_t r = write(epoll->wake_fd, &one, sizeof(one));
        salvo_assert(r == sizeof(one));
    }
}

static uint32_t epoll_caps(struct salvo_net *net)
{
    return 0;
}

static void epoll_free(struct epoll *epoll)
{
    if (epoll->epoll_fd >= 0)
        close(epoll->epoll_fd);
    if (epoll->wake_fd >= 0)
        close(epoll->wake_fd);
    free(epoll->links);
    free(epoll->buffers);
    free(epoll->buffers_free);
    free(epoll);
}

static void epoll_destroy(struct salvo_net *net)
{
    struct epoll *epoll = epoll_of(net);

    for (uint32_t i = 0; i < epoll->conf.links_max; i++) {
        if (epoll->links[i].state != EPOLL_LINK_FREE && epoll->links[i].fd >= 0)
            close(epoll->links[i].fd);
    }
    epoll->head.magic = 0;
    epoll_free(epoll);
}

static const struct salvo_net_ops epoll_ops = {
    .name = "epoll",
    .connect = epoll_connect,
    .listen = epoll_listen,
    .set_cookie = epoll_set_cookie,
    .send = epoll_send,
    .give_back = epoll_give_back,
    .poll = epoll_poll,
    .flush = epoll_flush,
    .wait = epoll_wait_net,
    .wake = epoll_wake,
    .close = epoll_close,
    .caps = epoll_caps,
    .destroy = epoll_destroy,
};

static int open_parts(struct epoll *epoll)
{
    const struct salvo_net_conf *conf = &epoll->conf;
    struct epoll_event watch = {.events = EPOLLIN | EPOLLET, .data.u64 = EPOLL_WAKE_INDEX};

    epoll->links = calloc(conf->links_max, sizeof(*epoll->links));
    epoll->buffers = calloc(conf->receive_buffers, conf->receive_buffer_size);
    epoll->buffers_free = calloc(conf->receive_buffers, sizeof(*epoll->buffers_free));
    if (epoll->links == NULL || epoll->buffers == NULL || epoll->buffers_free == NULL)
        return salvo_raise(-ENOMEM);
    for (uint32_t i = 0; i < conf->receive_buffers; i++)
        epoll->buffers_free[epoll->buffers_free_count++] = conf->receive_buffers - 1 - i;
    epoll->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll->epoll_fd < 0)
        return salvo_raise(-errno);
    epoll->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (epoll->wake_fd < 0)
        return salvo_raise(-errno);
    if (epoll_ctl(epoll->epoll_fd, EPOLL_CTL_ADD, epoll->wake_fd, &watch) != 0)
        return salvo_raise(-errno);
    return 0;
}

int salvo_net_epoll_open(const struct salvo_net_conf *conf, struct salvo_net **ret_net)
{
    struct epoll *epoll =
        aligned_alloc(SALVO_CACHE_LINE, salvo_align_up(sizeof(*epoll), SALVO_CACHE_LINE));
    int r;

    salvo_assert(conf->links_max != 0);
    salvo_assert(conf->receive_buffers != 0);
    salvo_assert(conf->send_max != 0);
    if (epoll == NULL)
        return salvo_raise(-ENOMEM);
    memset(epoll, 0, sizeof(*epoll));
    epoll->head = (struct salvo_net_head){.magic = SALVO_NET_MAGIC, .ops = &epoll_ops};
    epoll->conf = *conf;
    epoll->epoll_fd = -1;
    epoll->wake_fd = -1;
    r = open_parts(epoll);
    if (r) {
        epoll_free(epoll);
        return salvo_trace(r);
    }
    *ret_net = (struct salvo_net *)epoll;
    return 0;
}
