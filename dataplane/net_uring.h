/* The inside of the io_uring backend: the ring (net_uring.c) and its links (net_uring_link.c).
 *
 * Owner: the thread that made it, or, when it was made disabled, the thread of the first call. */
#pragma once

#include "base/assert.h"
#include "dataplane/net.h"
#include "dataplane/net_socket.h"

#include <liburing.h>

/* 32: notifications of zero-copy sends that may be awaited on one link; at the limit the link stops
 * taking. 32 sends of 256 KiB are more than a socket buffer. */
#define URING_SEGMENTS_MAX 32

enum uring_link_state {
    URING_LINK_FREE,
    URING_LINK_LISTENING,
    URING_LINK_CONNECTING,
    URING_LINK_UP,
    URING_LINK_DYING, /* nothing more is taken; the kernel's last words are awaited */
    URING_LINK_DOWN,  /* DOWN was reported */
};

enum uring_op {
    URING_OP_WAKE = 1,
    URING_OP_ACCEPT,
    URING_OP_CONNECT,
    URING_OP_CONNECT_TIMEOUT,
    URING_OP_RECEIVE,
    URING_OP_SEND,
    URING_OP_CANCEL,
};

/* A finished send whose bytes may still be referred to. */
struct uring_segment {
    uint64_t size;
    bool open; /* its notification has not come */
};

struct uring_link {
    uint32_t index;
    enum uring_link_state state;
    int fd;
    uint32_t ops; /* requests the kernel still knows; each is a completion to come */
    uint64_t cookie;

    /* what the owner has still to be told */
    bool announce; /* UP or ACCEPTED */
    bool accepted;
    bool wants;  /* send() took less than offered */
    bool queued; /* on uring->pending */
    struct uring_link *pending_next;

    /* death */
    bool closed;     /* by our close(): what still arrives is dropped */
    bool has_reason; /* the first reason is the one reported */
    enum salvo_net_down reason;
    int code;

    /* receiving */
    bool receiving; /* the multishot receive is with the kernel */
    bool starved;   /* it ended for want of buffers */

    /* sending */
    bool connecting;
    bool sending;   /* the one send is with the kernel */
    bool dirty;     /* on uring->dirty */
    bool zero_copy; /* this send is */
    struct uring_link *dirty_next;
    uint64_t taken;
    uint64_t handed_over;
    uint64_t released; /* as reported */
    uint64_t segments_size;
    uint32_t segments_head, segments_tail; /* free-running */
    struct uring_segment segments[URING_SEGMENTS_MAX];
    struct msghdr message;
    struct salvo_net_gather gather; /* untouched while the kernel has it */

    struct __kernel_timespec connect_timeout;
    struct salvo_endpoint endpoint;
};

/* How the owner and wake() find each other; see uring_wait. */
enum uring_sleep { URING_AWAKE, URING_ASLEEP, URING_WOKEN };

struct uring {
    /* fixed after start */
    struct salvo_net_head head;
    struct salvo_net_conf conf;
    struct uring_link *links;
    struct io_uring_buf_ring *buffer_ring;
    size_t buffer_ring_size;
    uint8_t *buffers;
    size_t buffers_size;
    int wake_fd;
    bool min_wait;          /* the kernel gathers for us */
    bool memory_registered; /* conf.send_memory is fixed buffer 0 */
    bool ring_disabled;     /* until the first call */
    int enter_fd;
    unsigned enter_flags;

    /* owner only */
    alignas(SALVO_CACHE_LINE) uint32_t owner; /* salvo_thread_id(); 0: none yet */
    struct io_uring ring;
    struct uring_link *pending_first, *pending_last; /* links with events to report */
    struct uring_link *dirty;                        /* links with bytes to send */
    uint32_t links_free_hint;
    uint32_t starved_count;
    uint32_t stalled_count; /* listeners whose accept ended in an error */
    uint32_t ops;
    uint32_t buffers_out; /* with the owner */
    bool zero_copy_off;   /* a notification said "copied" */
    bool waking;          /* the poll on wake_fd is with the kernel */

    /* anyone -> owner */
    alignas(SALVO_CACHE_LINE) _Atomic uint32_t sleep; /* enum uring_sleep */
};

static inline struct uring *uring_of(struct salvo_net *net)
{
    struct uring *uring = (struct uring *)net;
    salvo_assert(uring->head.magic == SALVO_NET_MAGIC);
    return uring;
}

/* net_uring.c */
void uring_bind(struct uring *uring); /* each call but wake() begins with it */
struct io_uring_sqe *uring_sqe(struct uring *uring, enum uring_op op, uint32_t index,
                               unsigned slot);
void uring_sqe_room(struct uring *uring, unsigned count); /* so many fit into one submission */
void uring_buffer_add(struct uring *uring, uint32_t buffer);

/* net_uring_link.c */
struct uring_link *uring_link_of(struct uring *uring, uint32_t index);
int uring_connect(struct salvo_net *net, const struct salvo_endpoint *to, int64_t timeout_ns,
                  uint64_t cookie, uint32_t *ret_link);
int uring_listen(struct salvo_net *net, struct salvo_endpoint *at, uint64_t cookie);
void uring_set_cookie(struct salvo_net *net, uint32_t link, uint64_t cookie);
size_t uring_send(struct salvo_net *net, uint32_t link, const struct salvo_range *ranges,
                  unsigned ranges_count);
void uring_close(struct salvo_net *net, uint32_t link);

void uring_link_close_fd(struct uring_link *link);
/* Turns what send() took into requests; arms again what ran out of buffers or failed to accept. */
void uring_links_flush(struct uring *uring);
void uring_links_revive(struct uring *uring);
/* One completion. True when it was bytes, and *ret_event is filled. */
bool uring_link_complete(struct uring *uring, struct uring_link *link, enum uring_op op,
                         unsigned slot, int result, unsigned flags,
                         struct salvo_net_event *ret_event);
/* Reports what links have to say. Returns how many events were written. */
unsigned uring_links_report(struct uring *uring, struct salvo_net_event *ret_events,
                            unsigned events_max);
