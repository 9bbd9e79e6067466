/* The network over kernel TCP by io_uring: the ring, its turns and its sleep.
 *
 * One ring per net: single issuer, deferred task work, registered ring, one ring of provided
 * buffers. A turn costs at most one system call: flush() submits what the turn made and runs the
 * kernel's task work; poll() reads the completion ring, which is memory, and enters the kernel only
 * when the kernel has said (SQ flags) that work waits there. Links are in net_uring_link.c. */
#include "dataplane/net_uring.h"
#include "dataplane/net_uring_compat.h"

#include "base/cpu.h"
#include "base/error.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

/* 0x5a17: the top 16 bits of each user_data we make, checked when it comes back. */
#define URING_USER_MAGIC UINT64_C(0x5a17)
/* 500 us: a wake() during a gather is seen at the latest so much later (the kernel cannot be told
 * to gather and yet to wake for one of the completions). Gathers are some tens of microseconds. */
#define URING_GATHER_SLICE_NS (500 * SALVO_NS_PER_US)
/* 10 ms: how long a listener that failed to accept (out of files) rests. */
#define URING_STALL_NS             (10 * SALVO_NS_PER_MS)
#define URING_COMPLETIONS_PER_POLL 1024

static bool uring_is_owner(const struct uring *uring)
{
    return uring->owner == salvo_thread_id();
}

static uint64_t user_data_of(enum uring_op op, uint32_t index, unsigned slot)
{
    return URING_USER_MAGIC << 48 | (uint64_t)op << 40 | (uint64_t)slot << 32 | index;
}

static bool uring_kernel_has_work(const struct uring *uring)
{
    unsigned flags = __atomic_load_n(uring->ring.sq.kflags, __ATOMIC_RELAXED);
    return flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

/* Publishes the SQEs made so far; returns how many the kernel has not taken yet. liburing keeps
 * this to itself, and without it a sleep would cost a second system call. The index array is the
 * identity. */
static unsigned uring_publish(struct uring *uring)
{
    struct io_uring_sq *sq = &uring->ring.sq;

    if (sq->sqe_head != sq->sqe_tail) {
        sq->sqe_head = sq->sqe_tail;
        __atomic_store_n(sq->ktail, sq->sqe_tail, __ATOMIC_RELEASE);
    }
    return sq->sqe_tail - __atomic_load_n(sq->khead, __ATOMIC_ACQUIRE);
}

/* The one place that enters the kernel in a turn. Errors are not passed on: what was not submitted
 * stays in the ring for the next call (EAGAIN, EBUSY), and a sleep may end early (EINTR, ETIME). */
static void uring_enter(struct uring *uring, unsigned wait_count, const void *argument,
                        size_t argument_size, unsigned flags)
{
    unsigned submit = uring_publish(uring);
    int r =
        io_uring_enter2((unsigned)uring->enter_fd, submit, wait_count, flags | uring->enter_flags,
                        (sigset_t *)(uintptr_t)argument, argument_size);

    salvo_assert(r >= 0 || r == -EAGAIN || r == -EBUSY || r == -EINTR || r == -ETIME ||
                 r == -ENOMEM);
}

void uring_sqe_room(struct uring *uring, unsigned count)
{
    for (unsigned tries = 0; io_uring_sq_space_left(&uring->ring) < count; tries++) {
        salvo_assert(tries < 1000); /* the kernel takes nothing any more */
        uring_enter(uring, 0, NULL, _NSIG / 8, tries == 0 ? 0 : IORING_ENTER_GETEVENTS);
    }
}

struct io_uring_sqe *uring_sqe(struct uring *uring, enum uring_op op, uint32_t index, unsigned slot)
{
    struct io_uring_sqe *sqe;

    uring_sqe_room(uring, 1);
    sqe = io_uring_get_sqe(&uring->ring);
    salvo_assert(sqe != NULL);
    sqe->user_data = user_data_of(op, index, slot);
    uring->ops++;
    return sqe;
}

void uring_buffer_add(struct uring *uring, uint32_t buffer)
{
    io_uring_buf_ring_add(uring->buffer_ring,
                          uring->buffers + (size_t)buffer * uring->conf.receive_buffer_size,
                          uring->conf.receive_buffer_size, (unsigned short)buffer,
                          io_uring_buf_ring_mask(uring->conf.receive_buffers), 0);
    io_uring_buf_ring_advance(uring->buffer_ring, 1);
}

/* A multishot poll is edge triggered: each write to wake_fd is one completion, and nobody has to
 * read. */
static void uring_arm_wake(struct uring *uring)
{
    struct io_uring_sqe *sqe = uring_sqe(uring, URING_OP_WAKE, 0, 0);
    uint64_t user_data = sqe->user_data;

    io_uring_prep_poll_multishot(sqe, uring->wake_fd, POLLIN);
    sqe->user_data = user_data;
    uring->waking = true;
}

static void uring_bind_first(struct uring *uring)
{
    salvo_assert(uring->owner == 0); /* else: a call by a thread that is not the owner */
    uring->owner = salvo_thread_id();
    if (uring->ring_disabled) {
        /* Raw, because Debian's liburing 2.3 declares io_uring_enable_rings and does not have it.
         */
        int r =
            io_uring_register((unsigned)uring->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
        salvo_assert(r == 0);
        uring->ring_disabled = false;
    }
    /* Registered for this thread only; saves a file lookup per enter. Not vital. */
    if (io_uring_register_ring_fd(&uring->ring) == 1) {
        uring->enter_fd = uring->ring.enter_ring_fd;
        uring->enter_flags = IORING_ENTER_REGISTERED_RING;
    }
    uring_arm_wake(uring);
}

void uring_bind(struct uring *uring)
{
    if (SALVO_UNLIKELY(!uring_is_owner(uring)))
        uring_bind_first(uring);
}

static void uring_give_back(struct salvo_net *net, uint32_t buffer)
{
    struct uring *uring = uring_of(net);

    uring_bind(uring);
    salvo_assert(buffer < uring->conf.receive_buffers);
    salvo_assert(uring->buffers_out > 0);
    uring->buffers_out--;
    uring_buffer_add(uring, buffer);
}

/* Takes the oldest completion out of the ring. True when it became an event. */
static bool uring_take_completion(struct uring *uring, struct salvo_net_event *ret_event)
{
    struct io_uring_cq *cq = &uring->ring.cq;
    unsigned head = *cq->khead; /* ours alone */
    const struct io_uring_cqe *cqe = &cq->cqes[head & *cq->kring_mask];
    uint64_t user_data = cqe->user_data;
    int result = cqe->res;
    unsigned flags = cqe->flags;
    enum uring_op op = (enum uring_op)(user_data >> 40 & 0xff);

    io_uring_cq_advance(&uring->ring, 1);
    salvo_assert(user_data >> 48 == URING_USER_MAGIC);
    if (!(flags & IORING_CQE_F_MORE)) {
        salvo_assert(uring->ops > 0);
        uring->ops--;
    }
    if (op == URING_OP_WAKE) {
        if (!(flags & IORING_CQE_F_MORE))
            uring->waking = false;
        return false;
    }
    return uring_link_complete(uring, uring_link_of(uring, (uint32_t)user_data), op,
                               (unsigned)(user_data >> 32 & 0xff), result, flags, ret_event);
}

static unsigned uring_poll(struct salvo_net *net, struct salvo_net_event *ret_events,
                           unsigned events_max)
{
    struct uring *uring = uring_of(net);
    unsigned count;

    uring_bind(uring);
    count = uring_links_report(uring, ret_events, events_max);
    if (io_uring_cq_ready(&uring->ring) == 0 && uring_kernel_has_work(uring))
        uring_enter(uring, 0, NULL, _NSIG / 8, IORING_ENTER_GETEVENTS);

    for (unsigned i = 0; i < URING_COMPLETIONS_PER_POLL && count < events_max; i++) {
        if (io_uring_cq_ready(&uring->ring) == 0)
            break;
        if (uring_take_completion(uring, &ret_events[count]))
            count++;
        count += uring_links_report(uring, ret_events + count, events_max - count);
    }
    if (!uring->waking)
        uring_arm_wake(uring);
    return count;
}

/* What the turn made, as requests. */
static void uring_prepare(struct uring *uring)
{
    if (uring->dirty != NULL)
        uring_links_flush(uring);
    if (uring->stalled_count != 0 ||
        (uring->starved_count != 0 && uring->buffers_out < uring->conf.receive_buffers))
        uring_links_revive(uring);
}

static void uring_flush(struct salvo_net *net)
{
    struct uring *uring = uring_of(net);

    uring_bind(uring);
    uring_prepare(uring);
    if (io_uring_sq_ready(&uring->ring) != 0 || uring_kernel_has_work(uring))
        uring_enter(uring, 0, NULL, _NSIG / 8, IORING_ENTER_GETEVENTS);
}

/* Sleeps for `wait_count` completions, at most timeout_ns; with gather_ns, after that long one is
 * enough. */
static void uring_sleep_once(struct uring *uring, unsigned wait_count, int64_t gather_ns,
                             int64_t timeout_ns)
{
    struct __kernel_timespec timeout = {.tv_sec = timeout_ns / SALVO_NS_PER_S,
                                        .tv_nsec = timeout_ns % SALVO_NS_PER_S};
    struct salvo_uring_getevents_arg argument = {
        .sigmask_sz = _NSIG / 8,
        .min_wait_usec =
            (uint32_t)((gather_ns + SALVO_NS_PER_US - 1) / SALVO_NS_PER_US), /* not 0 by rounding */
        .ts = (uint64_t)(uintptr_t)&timeout,
    };

    uring_enter(uring, wait_count, &argument, sizeof(argument),
                IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG);
}

/* One step of a wait; `have` events are there already. */
static void uring_wait_step(struct uring *uring, unsigned have, unsigned events_min,
                            int64_t gather_ns, int64_t timeout_ns)
{
    unsigned missing = events_min - have;
    int64_t slice_ns = SALVO_MIN(SALVO_MIN(gather_ns, timeout_ns), URING_GATHER_SLICE_NS);
    unsigned ready = io_uring_cq_ready(&uring->ring);

    /* Completions in the ring count for the kernel too. */
    if (slice_ns > 0 && have != 0)
        uring_sleep_once(uring, ready + missing, 0, slice_ns);
    else if (slice_ns > 0 && uring->min_wait)
        uring_sleep_once(uring, ready + missing, slice_ns, timeout_ns);
    else
        uring_sleep_once(uring, ready + 1, 0, timeout_ns);
}

static unsigned uring_have(const struct uring *uring)
{
    return io_uring_cq_ready(&uring->ring) + (uring->pending_first != NULL);
}

/* Sleeping and waking: the owner goes AWAKE -> ASLEEP before it enters the kernel and back to AWAKE
 * behind it; wake() makes it WOKEN and writes to wake_fd only when it found it ASLEEP. Either the
 * owner finds WOKEN and does not sleep, or wake() finds ASLEEP and writes: the exchanges pair with
 * each other (acquire-release on one word). A write can come late and end one later wait: that is
 * allowed. */
static void uring_wait(struct salvo_net *net, unsigned events_min, int64_t gather_ns,
                       int64_t timeout_ns)
{
    struct uring *uring = uring_of(net);
    uint32_t awake = URING_AWAKE;
    int64_t started_ns = 0;
    int64_t waited_ns = 0;

    uring_flush(net);
    if (!uring->waking)
        uring_arm_wake(uring);
    events_min = SALVO_CLAMP(events_min, 1u, uring->ring.cq.ring_entries / 2);
    /* A thousand years less a little: an endless sleep, that yet has a timeout, because without one
     * the kernel takes the end of the gather for the end of the wait. */
    timeout_ns = SALVO_MIN(timeout_ns, INT64_MAX / 2);
    if (uring->stalled_count != 0)
        timeout_ns = SALVO_MIN(timeout_ns, URING_STALL_NS);
    gather_ns = SALVO_MAX(gather_ns, 0);
    if (timeout_ns <= 0 || uring_have(uring) >= events_min)
        timeout_ns = 0;
    if (!atomic_compare_exchange_strong_explicit(&uring->sleep, &awake, URING_ASLEEP,
                                                 memory_order_acq_rel, memory_order_acquire))
        timeout_ns = 0;

    for (unsigned step = 0; timeout_ns > waited_ns; step++) {
        unsigned have = uring_have(uring);

        if (have >= events_min || (have != 0 && waited_ns >= gather_ns))
            break;
        if (step == 0 && have == 0 &&
            (gather_ns == 0 || (uring->min_wait && gather_ns <= URING_GATHER_SLICE_NS))) {
            uring_wait_step(uring, 0, events_min, gather_ns, timeout_ns);
            break; /* nearly always: one entry, no clock read */
        }
        if (started_ns == 0)
            started_ns = salvo_clock_mono_ns(uring->conf.clock);
        uring_wait_step(uring, have, events_min, SALVO_MAX(gather_ns - waited_ns, 0),
                        timeout_ns - waited_ns);
        if (atomic_load_explicit(&uring->sleep, memory_order_acquire) == URING_WOKEN)
            break;
        waited_ns = salvo_clock_mono_ns(uring->conf.clock) - started_ns;
    }
    atomic_exchange_explicit(&uring->sleep, URING_AWAKE, memory_order_acq_rel);
}

static void uring_wake(struct salvo_net *net)
{
    struct uring *uring = uring_of(net);
    uint64_t one = 1;

    /* Pairs with the exchanges in uring_wait. */
    if (atomic_exchange_explicit(&uring->sleep, URING_WOKEN, memory_order_acq_rel) ==
        URING_ASLEEP) {
        ssize_t r = write(uring->wake_fd, &one, sizeof(one));
        salvo_assert(r == sizeof(one));
    }
}

static uint32_t uring_caps(struct salvo_net *net)
{
    const struct uring *uring = uring_of(net);
    uint32_t caps = 0;

    if (uring->conf.zero_copy_min != 0 && !uring->zero_copy_off)
        caps |= SALVO_NET_CAP_ZERO_COPY;
    if (uring->memory_registered)
        caps |= SALVO_NET_CAP_REGISTERED_BUFFERS;
    if (uring->min_wait)
        caps |= SALVO_NET_CAP_GATHER_WAIT;
    return caps;
}

/* Links that only wait for notifications are closed with a reset, which brings them. */
static void uring_drain_notifications(struct uring *uring)
{
    for (uint32_t i = 0; i < uring->conf.links_max; i++) {
        struct uring_link *link = &uring->links[i];

        if (link->state == URING_LINK_DYING && link->fd >= 0 && !link->sending &&
            !link->receiving && link->segments_head != link->segments_tail)
            uring_link_close_fd(link);
    }
}

/* Ends every request and takes its completion, so that the kernel refers to nothing of ours. */
static void uring_drain(struct uring *uring)
{
    struct io_uring_sync_cancel_reg all = {
        .fd = -1,
        .flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL,
        .timeout = {.tv_sec = -1, .tv_nsec = -1},
    };
    struct salvo_net_event event;

    uring_enter(uring, 0, NULL, _NSIG / 8, IORING_ENTER_GETEVENTS);
    for (unsigned tries = 0; uring->ops != 0 && tries < 1000; tries++) {
        io_uring_register_sync_cancel(&uring->ring, &all);
        uring_sleep_once(uring, 1, 0, 10 * SALVO_NS_PER_MS);
        while (io_uring_cq_ready(&uring->ring) != 0)
            uring_take_completion(uring, &event);
        uring_drain_notifications(uring);
    }
}

static void uring_destroy(struct salvo_net *net)
{
    struct uring *uring = uring_of(net);

    for (uint32_t i = 0; i < uring->conf.links_max; i++) {
        struct uring_link *link = &uring->links[i];

        if (link->state == URING_LINK_FREE)
            continue;
        link->closed = true;
        link->state = link->state == URING_LINK_LISTENING ? link->state : URING_LINK_DYING;
    }
    /* By another thread only after the owner has ended: its end has cancelled its requests. */
    if (uring_is_owner(uring))
        uring_drain(uring);
    for (uint32_t i = 0; i < uring->conf.links_max; i++) {
        if (uring->links[i].state != URING_LINK_FREE && uring->links[i].fd >= 0)
            uring_link_close_fd(&uring->links[i]);
    }
    io_uring_queue_exit(&uring->ring);
    close(uring->wake_fd);
    munmap(uring->buffer_ring, uring->buffer_ring_size);
    munmap(uring->buffers, uring->buffers_size);
    free(uring->links);
    uring->head.magic = 0;
    free(uring);
}

static const struct salvo_net_ops uring_ops = {
    .name = "uring",
    .connect = uring_connect,
    .listen = uring_listen,
    .set_cookie = uring_set_cookie,
    .send = uring_send,
    .give_back = uring_give_back,
    .poll = uring_poll,
    .flush = uring_flush,
    .wait = uring_wait,
    .wake = uring_wake,
    .close = uring_close,
    .caps = uring_caps,
    .destroy = uring_destroy,
};

static int open_memory(struct uring *uring)
{
    const int protection = PROT_READ | PROT_WRITE;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;
    const struct salvo_net_conf *conf = &uring->conf;

    uring->buffers_size = (size_t)conf->receive_buffers * conf->receive_buffer_size;
    uring->buffer_ring_size = conf->receive_buffers * sizeof(struct io_uring_buf);
    uring->buffers = mmap(NULL, uring->buffers_size, protection, flags, -1, 0);
    uring->buffer_ring = mmap(NULL, uring->buffer_ring_size, protection, flags, -1, 0);
    uring->links = calloc(conf->links_max, sizeof(*uring->links));
    if (uring->buffers == MAP_FAILED || uring->buffer_ring == MAP_FAILED || uring->links == NULL)
        return salvo_raise(-ENOMEM);
    for (uint32_t i = 0; i < conf->links_max; i++)
        uring->links[i].index = i;
    return 0;
}

static int open_ring(struct uring *uring)
{
    const struct salvo_net_conf *conf = &uring->conf;
    /* A link makes at most six requests between two submissions (connect, its timeout, receive,
     * send, cancel, and one to spare); completions: each buffer filled, each request ended. */
    uint32_t sq_entries =
        SALVO_MIN((uint32_t)salvo_power_of_two_up(6 * conf->links_max + 16), 8192u);
    uint32_t cq_entries =
        SALVO_MIN((uint32_t)salvo_power_of_two_up(2 * sq_entries + conf->receive_buffers), 32768u);
    struct io_uring_params params = {
        .flags = IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL |
                 IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_TASKRUN_FLAG | (conf->disabled ? IORING_SETUP_R_DISABLED : 0),
        .cq_entries = cq_entries,
    };
    int r = io_uring_queue_init_params(sq_entries, &uring->ring, &params);

    if (r)
        return salvo_raise(r);
    for (unsigned i = 0; uring->ring.sq.array != NULL && i < uring->ring.sq.ring_entries; i++)
        uring->ring.sq.array[i] = i;
    uring->ring_disabled = conf->disabled;
    uring->enter_fd = uring->ring.ring_fd;
    uring->min_wait = params.features & SALVO_URING_FEAT_MIN_TIMEOUT;
    return 0;
}

static int open_buffers(struct uring *uring)
{
    const struct salvo_net_conf *conf = &uring->conf;
    struct io_uring_buf_reg buffers = {.ring_addr = (uint64_t)(uintptr_t)uring->buffer_ring,
                                       .ring_entries = conf->receive_buffers};
    struct iovec memory = {.iov_base = conf->send_memory, .iov_len = conf->send_memory_size};
    int r;

    io_uring_buf_ring_init(uring->buffer_ring);
    r = io_uring_register_buf_ring(&uring->ring, &buffers, 0);
    if (r)
        return salvo_raise(r);
    for (uint32_t i = 0; i < conf->receive_buffers; i++)
        uring_buffer_add(uring, i);
    /* Only zero-copy sends gain by it, and it is locked; when too little may be, they pin it
     * themselves. */
    if (conf->send_memory != NULL && conf->zero_copy_min != 0)
        uring->memory_registered = io_uring_register_buffers(&uring->ring, &memory, 1) == 0;
    return 0;
}

int salvo_net_uring_open(const struct salvo_net_conf *conf, struct salvo_net **ret_net)
{
    struct uring *uring;
    int r;

    salvo_assert(salvo_is_power_of_two(conf->receive_buffers));
    salvo_assert(conf->receive_buffers <= 32768); /* the kernel's limit for a buffer ring */
    salvo_assert(conf->links_max != 0);
    salvo_assert(conf->send_max != 0);
    uring = aligned_alloc(SALVO_CACHE_LINE, salvo_align_up(sizeof(*uring), SALVO_CACHE_LINE));
    if (uring == NULL)
        return salvo_raise(-ENOMEM);
    memset(uring, 0, sizeof(*uring));
    uring->head = (struct salvo_net_head){.magic = SALVO_NET_MAGIC, .ops = &uring_ops};
    uring->conf = *conf;
    uring->buffers = MAP_FAILED;
    uring->buffer_ring = MAP_FAILED;
    uring->ring.ring_fd = -1;
    uring->wake_fd = eventfd(0, EFD_CLOEXEC);
    r = uring->wake_fd < 0 ? salvo_raise(-errno) : 0;
    if (r == 0)
        r = open_memory(uring);
    if (r == 0)
        r = open_ring(uring);
    if (r == 0)
        r = open_buffers(uring);
    if (r == 0) {
        if (!conf->disabled)
            uring_bind(uring);
        *ret_net = (struct salvo_net *)uring;
        return 0;
    }

    if (uring->ring.ring_fd >= 0)
        io_uring_queue_exit(&uring->ring);
    if (uring->buffer_ring != MAP_FAILED)
        munmap(uring->buffer_ring, uring->buffer_ring_size);
    if (uring->buffers != MAP_FAILED)
        munmap(uring->buffers, uring->buffers_size);
    if (uring->wake_fd >= 0)
        close(uring->wake_fd);
    free(uring->links);
    free(uring);
    return salvo_trace(r);
}
