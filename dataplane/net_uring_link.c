/* Links of the io_uring backend: their states, requests and completions.
 *
 * A link has at most one send and one multishot receive with the kernel. It dies in two steps:
 * DYING, when a reason is known and its requests are being cancelled, and DOWN, when the last of
 * them has said how many bytes the kernel took. Zero-copy notifications are awaited after DOWN,
 * before GONE. */
#include "dataplane/net_uring.h"
#include "dataplane/net_uring_compat.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

struct uring_link *uring_link_of(struct uring *uring, uint32_t index)
{
    salvo_assert(index < uring->conf.links_max);
    return &uring->links[index];
}

static struct uring_link *link_take(struct uring *uring)
{
    for (uint32_t i = 0; i < uring->conf.links_max; i++) {
        uint32_t index = (uring->links_free_hint + i) % uring->conf.links_max;
        struct uring_link *link = &uring->links[index];

        if (link->state != URING_LINK_FREE || link->dirty)
            continue;
        salvo_assert(link->ops == 0);
        salvo_assert(!link->queued);
        memset(link, 0, sizeof(*link));
        link->index = index;
        link->fd = -1;
        uring->links_free_hint = index + 1;
        return link;
    }
    return NULL;
}

static void link_queue(struct uring *uring, struct uring_link *link)
{
    if (link->queued)
        return;
    link->queued = true;
    link->pending_next = NULL;
    if (uring->pending_first == NULL)
        uring->pending_first = link;
    else
        uring->pending_last->pending_next = link;
    uring->pending_last = link;
}

static struct io_uring_sqe *link_sqe(struct uring *uring, struct uring_link *link, enum uring_op op,
                                     unsigned slot)
{
    link->ops++;
    return uring_sqe(uring, op, link->index, slot);
}

static void link_arm_receive(struct uring *uring, struct uring_link *link)
{
    struct io_uring_sqe *sqe = link_sqe(uring, link, URING_OP_RECEIVE, 0);
    uint64_t user_data = sqe->user_data;

    io_uring_prep_recv_multishot(sqe, link->fd, NULL, 0, 0);
    sqe->user_data = user_data;
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    link->receiving = true;
}

static void link_arm_accept(struct uring *uring, struct uring_link *link)
{
    struct io_uring_sqe *sqe = link_sqe(uring, link, URING_OP_ACCEPT, 0);
    uint64_t user_data = sqe->user_data;

    io_uring_prep_multishot_accept(sqe, link->fd, NULL, NULL, SOCK_CLOEXEC);
    sqe->user_data = user_data;
}

/* Everything the kernel still does for this link is to end now. */
static void link_cancel(struct uring *uring, struct uring_link *link)
{
    struct io_uring_sqe *sqe;
    uint64_t user_data;

    if (link->ops == 0)
        return;
    sqe = link_sqe(uring, link, URING_OP_CANCEL, 0);
    user_data = sqe->user_data;
    io_uring_prep_cancel_fd(sqe, link->fd, IORING_ASYNC_CANCEL_ALL);
    sqe->user_data = user_data;
}

static void link_give_reason(struct uring_link *link, enum salvo_net_down reason, int code)
{
    if (link->has_reason)
        return;
    link->has_reason = true;
    link->reason = reason;
    link->code = code;
}

static void link_die(struct uring *uring, struct uring_link *link, enum salvo_net_down reason,
                     int code)
{
    link_give_reason(link, reason, code);
    if (link->state == URING_LINK_DYING || link->state == URING_LINK_DOWN)
        return;
    link->state = URING_LINK_DYING;
    if (link->starved) {
        link->starved = false;
        uring->starved_count--;
    }
    link_cancel(uring, link);
    link_queue(uring, link);
}

int uring_connect(struct salvo_net *net, const struct salvo_endpoint *to, int64_t timeout_ns,
                  uint64_t cookie, uint32_t *ret_link)
{
    struct uring *uring = uring_of(net);
    struct uring_link *link;
    struct io_uring_sqe *sqe;
    uint64_t user_data;
    int fd;
    int r;

    uring_bind(uring);
    salvo_assert(timeout_ns > 0);
    link = link_take(uring);
    if (link == NULL)
        return salvo_raise(-ENOSPC);
    r = salvo_net_socket_new(to, false, &fd);
    if (r)
        return salvo_trace(r);

    link->fd = fd;
    link->state = URING_LINK_CONNECTING;
    link->cookie = cookie;
    link->connecting = true;
    link->endpoint = *to;
    link->connect_timeout = (struct __kernel_timespec){.tv_sec = timeout_ns / SALVO_NS_PER_S,
                                                       .tv_nsec = timeout_ns % SALVO_NS_PER_S};

    uring_sqe_room(uring, 2); /* a linked pair must not be split */
    sqe = link_sqe(uring, link, URING_OP_CONNECT, 0);
    user_data = sqe->user_data;
    io_uring_prep_connect(sqe, fd, &link->endpoint.any, salvo_endpoint_size(to));
    sqe->user_data = user_data;
    sqe->flags |= IOSQE_IO_LINK;
    sqe = link_sqe(uring, link, URING_OP_CONNECT_TIMEOUT, 0);
    user_data = sqe->user_data;
    io_uring_prep_link_timeout(sqe, &link->connect_timeout, 0);
    sqe->user_data = user_data;

    *ret_link = link->index;
    return 0;
}

int uring_listen(struct salvo_net *net, struct salvo_endpoint *at, uint64_t cookie)
{
    struct uring *uring = uring_of(net);
    struct uring_link *link;
    int fd;
    int r;

    uring_bind(uring);
    link = link_take(uring);
    if (link == NULL)
        return salvo_raise(-ENOSPC);
    r = salvo_net_socket_listen(at, false, &fd);
    if (r)
        return salvo_trace(r);
    link->fd = fd;
    link->state = URING_LINK_LISTENING;
    link->cookie = cookie;
    link_arm_accept(uring, link);
    return 0;
}

void uring_set_cookie(struct salvo_net *net, uint32_t index, uint64_t cookie)
{
    struct uring *uring = uring_of(net);
    struct uring_link *link = uring_link_of(uring, index);

    uring_bind(uring);
    salvo_assert(link->state >= URING_LINK_CONNECTING);
    link->cookie = cookie;
}

static bool link_can_send(const struct uring *uring, const struct uring_link *link)
{
    return link->state == URING_LINK_UP && !link->has_reason && !link->sending &&
           link->segments_tail - link->segments_head < URING_SEGMENTS_MAX &&
           link->gather.size + link->segments_size < uring->conf.send_max &&
           link->gather.ranges_count < SALVO_NET_GATHER_MAX;
}

static void link_mark_dirty(struct uring *uring, struct uring_link *link)
{
    if (link->dirty || link->gather.size == 0)
        return;
    link->dirty = true;
    link->dirty_next = uring->dirty;
    uring->dirty = link;
}

size_t uring_send(struct salvo_net *net, uint32_t index, const struct salvo_range *ranges,
                  unsigned ranges_count)
{
    struct uring *uring = uring_of(net);
    struct uring_link *link = uring_link_of(uring, index);
    size_t offered = 0;
    size_t taken = 0;

    uring_bind(uring);
    if (link->state == URING_LINK_FREE)
        return 0;
    salvo_assert(link->state >= URING_LINK_UP);
    for (unsigned i = 0; i < ranges_count; i++)
        offered += ranges[i].size;
    if (link_can_send(uring, link))
        taken =
            salvo_net_gather_take(&link->gather, ranges, ranges_count,
                                  uring->conf.send_max - link->gather.size - link->segments_size);
    link->taken += taken;
    if (taken < offered)
        link->wants = true; /* something is with the kernel or about to be: its end is the sign */
    link_mark_dirty(uring, link);
    return taken;
}

static void link_start_send(struct uring *uring, struct uring_link *link)
{
    const int flags = MSG_WAITALL | MSG_NOSIGNAL;
    const struct iovec *first = &link->gather.ranges[0];
    uint32_t slot = link->segments_tail % URING_SEGMENTS_MAX;
    struct io_uring_sqe *sqe;
    uint64_t user_data;

    if (link->state != URING_LINK_UP || link->has_reason || link->sending ||
        link->gather.size == 0 || link->segments_tail - link->segments_head == URING_SEGMENTS_MAX)
        return;

    sqe = link_sqe(uring, link, URING_OP_SEND, slot);
    user_data = sqe->user_data;
    link->zero_copy = false;
    if (link->gather.ranges_count > 1) {
        link->message = (struct msghdr){.msg_iov = link->gather.ranges,
                                        .msg_iovlen = link->gather.ranges_count};
        io_uring_prep_sendmsg(sqe, link->fd, &link->message, (unsigned)flags);
    } else if (uring->conf.zero_copy_min != 0 && !uring->zero_copy_off &&
               first->iov_len >= uring->conf.zero_copy_min) {
        uintptr_t offset = (uintptr_t)first->iov_base - (uintptr_t)uring->conf.send_memory;
        link->zero_copy = true;
        io_uring_prep_send_zc(sqe, link->fd, first->iov_base, first->iov_len, flags, 0);
        sqe->ioprio = SALVO_URING_SEND_ZC_REPORT_USAGE;
        if (uring->memory_registered && offset < uring->conf.send_memory_size &&
            first->iov_len <= uring->conf.send_memory_size - offset) {
            sqe->ioprio |= IORING_RECVSEND_FIXED_BUF;
            sqe->buf_index = 0;
        }
    } else {
        io_uring_prep_send(sqe, link->fd, first->iov_base, first->iov_len, flags);
    }
    sqe->user_data = user_data;
    link->sending = true;
}

void uring_links_flush(struct uring *uring)
{
    struct uring_link *link = uring->dirty;

    uring->dirty = NULL;
    while (link != NULL) {
        struct uring_link *next = link->dirty_next;
        link->dirty = false;
        link_start_send(uring, link);
        link = next;
    }
}

void uring_links_revive(struct uring *uring)
{
    bool buffers = uring->buffers_out < uring->conf.receive_buffers;

    for (uint32_t i = 0; i < uring->conf.links_max; i++) {
        struct uring_link *link = &uring->links[i];

        if (link->starved && buffers) {
            link->starved = false;
            uring->starved_count--;
            link_arm_receive(uring, link);
        }
        if (link->state == URING_LINK_LISTENING && link->ops == 0) {
            uring->stalled_count--;
            link_arm_accept(uring, link);
        }
    }
}

void uring_close(struct salvo_net *net, uint32_t index)
{
    struct uring *uring = uring_of(net);
    struct uring_link *link = uring_link_of(uring, index);

    uring_bind(uring);
    if (link->state == URING_LINK_FREE || link->closed || link->state == URING_LINK_DOWN)
        return;
    salvo_assert(link->state >= URING_LINK_CONNECTING);
    link->closed = true;
    link->announce = false;
    link_die(uring, link, SALVO_NET_DOWN_CLOSED, 0);
}

static void link_accepted(struct uring *uring, struct uring_link *listener, int result)
{
    struct uring_link *link;

    if (result < 0) {
        /* Out of files, or the listener is being taken down. Tried again when a link has gone. */
        return;
    }
    link = link_take(uring);
    if (link == NULL) {
        close(result);
        return;
    }
    link->fd = result;
    link->state = URING_LINK_UP;
    link->cookie = listener->cookie;
    link->announce = true;
    link->accepted = true;
    link_arm_receive(uring, link);
    link_queue(uring, link);
}

static void link_connected(struct uring *uring, struct uring_link *link, int result)
{
    link->connecting = false;
    link_queue(uring, link);
    if (link->state != URING_LINK_CONNECTING)
        return;
    if (result == -ECANCELED) /* the linked timeout; our own cancel comes with DYING */
        result = -ETIME;
    if (result < 0) {
        link_die(uring, link, salvo_net_down_of(-result), -result);
        return;
    }
    link->state = URING_LINK_UP;
    link->announce = true;
    link_arm_receive(uring, link);
}

static bool link_received(struct uring *uring, struct uring_link *link, int result, unsigned flags,
                          struct salvo_net_event *ret_event)
{
    if (flags & IORING_CQE_F_BUFFER) {
        uint32_t buffer = flags >> IORING_CQE_BUFFER_SHIFT;

        salvo_assert(buffer < uring->conf.receive_buffers);
        if (result > 0 && !link->closed) {
            uring->buffers_out++;
            *ret_event = (struct salvo_net_event){
                .kind = SALVO_NET_DATA,
                .link = link->index,
                .cookie = link->cookie,
                .data = {.bytes = uring->buffers + (size_t)buffer * uring->conf.receive_buffer_size,
                         .size = (uint32_t)result,
                         .buffer = buffer}};
        } else {
            uring_buffer_add(uring, buffer);
        }
    }
    if (flags & IORING_CQE_F_MORE)
        return result > 0 && !link->closed;

    link->receiving = false;
    if (link->state == URING_LINK_DYING) {
        link_queue(uring, link);
    } else if (result == -ENOBUFS) {
        link->starved = true;
        uring->starved_count++;
    } else if (result > 0 || result == -EINTR || result == -EAGAIN) {
        link_arm_receive(uring, link);
    } else {
        link_die(uring, link, salvo_net_down_of(-result), -result);
    }
    return result > 0 && !link->closed;
}

static void link_pop_segments(struct uring_link *link)
{
    while (link->segments_head != link->segments_tail) {
        struct uring_segment *segment = &link->segments[link->segments_head % URING_SEGMENTS_MAX];

        if (segment->open)
            return;
        link->segments_size -= segment->size;
        link->segments_head++;
    }
}

static void link_sent(struct uring *uring, struct uring_link *link, unsigned slot, int result,
                      unsigned flags)
{
    size_t size = result > 0 ? (size_t)result : 0;

    link_queue(uring, link);
    if (flags & IORING_CQE_F_NOTIF) {
        salvo_assert(link->segments[slot].open);
        link->segments[slot].open = false;
        if ((unsigned)result & SALVO_URING_NOTIF_ZC_COPIED)
            uring->zero_copy_off = true;
        link_pop_segments(link);
        link_mark_dirty(uring, link);
        return;
    }

    salvo_assert(link->sending);
    salvo_assert(slot == link->segments_tail % URING_SEGMENTS_MAX);
    link->sending = false;
    salvo_net_gather_drop(&link->gather, size);
    link->handed_over += size;
    if ((flags & IORING_CQE_F_MORE) || link->segments_head != link->segments_tail) {
        link->segments[slot] =
            (struct uring_segment){.size = size, .open = flags & IORING_CQE_F_MORE};
        link->segments_size += size;
        link->segments_tail++;
        link_pop_segments(link);
    }
    if (link->state != URING_LINK_UP)
        return;
    if (result < 0 && result != -EINTR && result != -EAGAIN) {
        if (link->zero_copy && (result == -EOPNOTSUPP || result == -ENOMEM || result == -EINVAL)) {
            uring->zero_copy_off = true; /* pinning was refused: again, as a copy */
        } else {
            /* What the peer said before is still read: receiving ends the link. */
            link_give_reason(link, salvo_net_down_of(-result), -result);
            if (link->receiving || link->starved)
                shutdown(link->fd, SHUT_RDWR);
            else
                link_die(uring, link, link->reason, link->code);
            return;
        }
    }
    link_mark_dirty(uring, link); /* cut short: the rest goes with the next flush */
}

bool uring_link_complete(struct uring *uring, struct uring_link *link, enum uring_op op,
                         unsigned slot, int result, unsigned flags,
                         struct salvo_net_event *ret_event)
{
    if (!(flags & IORING_CQE_F_MORE)) {
        salvo_assert(link->ops > 0);
        link->ops--;
    }
    switch (op) {
    case URING_OP_ACCEPT:
        if (link->ops == 0)
            uring->stalled_count++;
        link_accepted(uring, link, result);
        return false;
    case URING_OP_CONNECT:
        link_connected(uring, link, result);
        return false;
    case URING_OP_RECEIVE:
        return link_received(uring, link, result, flags, ret_event);
    case URING_OP_SEND:
        link_sent(uring, link, slot, result, flags);
        return false;
    case URING_OP_CONNECT_TIMEOUT:
    case URING_OP_CANCEL:
        link_queue(uring, link);
        return false;
    case URING_OP_WAKE:
        break;
    }
    salvo_unreachable();
}

/* How many of the taken bytes nothing refers to any more. */
static uint64_t link_released(const struct uring_link *link)
{
    if (link->state >= URING_LINK_DYING && !link->sending && link->segments_size == 0 &&
        link->segments_head == link->segments_tail)
        return link->taken;
    return link->handed_over - link->segments_size;
}

static bool link_down_due(const struct uring_link *link)
{
    return link->state == URING_LINK_DYING && !link->connecting && !link->sending &&
           !link->receiving;
}

static bool link_gone_due(const struct uring_link *link)
{
    return link->state == URING_LINK_DOWN && link->ops == 0 &&
           link->segments_head == link->segments_tail && link->released == link->taken;
}

/* Zero-copy bytes are referred to until they are acknowledged, which a silent peer may never do. A
 * reset throws them away, and their notifications come. In an orderly end all have been answered
 * before. */
void uring_link_close_fd(struct uring_link *link)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};

    if (link->segments_head != link->segments_tail || (link->sending && link->zero_copy))
        setsockopt(link->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(link->fd);
    link->fd = -1;
}

/* The next thing a link has to say. False when there is nothing. */
static bool link_report(struct uring *uring, struct uring_link *link,
                        struct salvo_net_event *ret_event)
{
    struct salvo_net_event event = {.link = link->index, .cookie = link->cookie};
    uint64_t released;

    if (link->announce) {
        link->announce = false;
        event.kind = link->accepted ? SALVO_NET_ACCEPTED : SALVO_NET_UP;
        *ret_event = event;
        return true;
    }
    if (link_down_due(link)) {
        link->state = URING_LINK_DOWN;
        link->wants = false;
        uring_link_close_fd(link);
        event.kind = SALVO_NET_DOWN;
        event.down.reason = link->reason;
        event.down.code = link->code;
        event.down.handed_over = link->handed_over;
        *ret_event = event;
        return true;
    }
    released = link_released(link);
    if (released != link->released || (link->wants && link_can_send(uring, link))) {
        event.kind = SALVO_NET_RELEASED;
        event.released.bytes = released - link->released;
        link->released = released;
        link->wants = false;
        *ret_event = event;
        return true;
    }
    if (link_gone_due(link)) {
        event.kind = SALVO_NET_GONE;
        *ret_event = event;
        return true;
    }
    return false;
}

unsigned uring_links_report(struct uring *uring, struct salvo_net_event *ret_events,
                            unsigned events_max)
{
    unsigned count = 0;

    while (uring->pending_first != NULL && count < events_max) {
        struct uring_link *link = uring->pending_first;

        if (link_report(uring, link, &ret_events[count])) {
            if (ret_events[count++].kind != SALVO_NET_GONE)
                continue;
            link->state = URING_LINK_FREE;
        }
        uring->pending_first = link->pending_next;
        link->queued = false;
    }
    return count;
}
