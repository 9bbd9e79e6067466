/* The network backend table: what a lane, control and the mock know of the network.
 *
 * A net is a set of links (stream connections) and listeners owned by one thread; only
 * salvo_net_wake may be called by others. The caller hands over byte ranges and gets events.
 * Backends: net_uring, net_epoll (kernel TCP), net_sim (in process, virtual time), net_null
 * (answers every request itself); a filter (TLS, tests) is a net over another net. One conformance
 * suite runs over all of them (tests/unit/dataplane_net.c).
 *
 * Life of a link, as the owner sees it:
 *
 *   connect() -> UP | DOWN         accept: ACCEPTED (the link is up)
 *   up: DATA*, RELEASED*           send() takes bytes, in order, and refers to them until RELEASED
 *   DOWN (once: peer, error, or our close())
 *   RELEASED* until all bytes taken have been released
 *   GONE  (once, last: nothing refers to the link any more; its number may be used again)
 *
 * A poll may report DATA, DOWN and GONE of a link at once, before the owner has acted on the first:
 * send() takes nothing and close() does nothing on a link whose GONE was reported, until the
 * owner's next connect() or poll().
 *
 * Bytes taken by send() must stay untouched until a RELEASED event covers them, which can be long
 * after their answer came and also after DOWN. RELEASED comes in stream order. */
#pragma once

#include "base/base.h"
#include "base/clock.h"
#include "base/random.h"

#include <sys/socket.h>
#include <netinet/in.h>

#define SALVO_NET_LINK_NONE UINT32_MAX

/* An IPv4 or IPv6 endpoint. */
struct salvo_endpoint {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
};

struct salvo_range {
    const uint8_t *bytes;
    size_t size;
};

enum salvo_net_event_kind {
    SALVO_NET_UP,       /* connect succeeded */
    SALVO_NET_ACCEPTED, /* a listener got a link; cookie is the listener's until set_cookie */
    SALVO_NET_DATA,     /* bytes came; the buffer is ours until give_back(buffer) */
    SALVO_NET_RELEASED, /* so many bytes, the oldest first, are no longer referred to (may be 0);
                           after a send() that took less than offered also the sign to offer again
                         */
    SALVO_NET_DOWN,     /* the link is dead; nothing more will come or be taken */
    SALVO_NET_GONE,     /* all bytes released, the link's number is free */
};

enum salvo_net_down {
    SALVO_NET_DOWN_CLOSED,  /* our close() */
    SALVO_NET_DOWN_PEER,    /* the peer closed in order */
    SALVO_NET_DOWN_REFUSED, /* connect: refused */
    SALVO_NET_DOWN_TIMEOUT, /* connect: no answer in time, or the kernel gave up */
    SALVO_NET_DOWN_RESET,   /* the peer reset it */
    SALVO_NET_DOWN_UNREACHABLE,
    SALVO_NET_DOWN_ERROR, /* anything else */
};
const char *salvo_net_down_text(enum salvo_net_down reason);

struct salvo_net_event {
    enum salvo_net_event_kind kind;
    uint32_t link;
    uint64_t cookie; /* of the link */
    union {
        struct {
            const uint8_t *bytes;
            uint32_t size; /* not 0 */
            uint32_t buffer;
        } data;
        struct {
            uint64_t bytes;
        } released;
        struct {
            enum salvo_net_down reason;
            int code; /* errno, 0 when there is none */
            /* Of the bytes taken, the first so many may have reached the peer (were given to the
             * kernel, put on a wire, or written into a record that went out whole). Bytes behind
             * them did not. */
            uint64_t handed_over;
        } down;
    };
};

/* Optional things a backend can do; a caller may only ask. */
enum salvo_net_caps {
    SALVO_NET_CAP_ZERO_COPY = 1 << 0, /* zero-copy send is on and pays */
    SALVO_NET_CAP_VIRTUAL_TIME = 1 << 1,
    SALVO_NET_CAP_REGISTERED_BUFFERS = 1 << 2,
    SALVO_NET_CAP_GATHER_WAIT = 1 << 3, /* wait() can gather without waking for each event */
};

struct salvo_net; /* begins with struct salvo_net_head */

struct salvo_net_ops {
    const char *name; /* "uring", "epoll", "sim", "null", ... */
    int (*connect)(struct salvo_net *net, const struct salvo_endpoint *to, int64_t timeout_ns,
                   uint64_t cookie, uint32_t *ret_link);
    int (*listen)(struct salvo_net *net, struct salvo_endpoint *at, uint64_t cookie);
    void (*set_cookie)(struct salvo_net *net, uint32_t link, uint64_t cookie);
    size_t (*send)(struct salvo_net *net, uint32_t link, const struct salvo_range *ranges,
                   unsigned ranges_count);
    void (*give_back)(struct salvo_net *net, uint32_t buffer);
    unsigned (*poll)(struct salvo_net *net, struct salvo_net_event *ret_events,
                     unsigned events_max);
    void (*flush)(struct salvo_net *net);
    void (*wait)(struct salvo_net *net, unsigned events_min, int64_t gather_ns, int64_t timeout_ns);
    void (*wake)(struct salvo_net *net);
    void (*close)(struct salvo_net *net, uint32_t link);
    uint32_t (*caps)(struct salvo_net *net);
    void (*destroy)(struct salvo_net *net);
};

#define SALVO_NET_MAGIC 0x53a1f0e7u

struct salvo_net_head {
    uint32_t magic;
    const struct salvo_net_ops *ops;
};

/* What every backend is opened with. Memory is taken at open and never after. */
struct salvo_net_conf {
    struct salvo_clock *clock;
    uint32_t links_max;       /* links and listeners at once */
    uint32_t receive_buffers; /* power of two */
    uint32_t receive_buffer_size;
    uint32_t send_max; /* most bytes one send() may leave outstanding on a link; default 256 KiB */
    uint32_t zero_copy_min; /* zero-copy send from this size on; 0: never */
    /* Memory that sends will mostly come from, to be registered where that is possible. */
    void *send_memory;
    size_t send_memory_size;
    bool disabled; /* caller mode: bound to the thread of the first call */
};

void salvo_net_conf_default(struct salvo_net_conf *conf, struct salvo_clock *clock);

/* 0; -ENOSYS / -EPERM when the host refuses io_uring (the caller falls back to epoll and says so);
 * -ENOMEM (lockable memory); another negative errno. */
int salvo_net_uring_open(const struct salvo_net_conf *conf, struct salvo_net **ret_net);
int salvo_net_epoll_open(const struct salvo_net_conf *conf, struct salvo_net **ret_net);
int salvo_net_null_open(const struct salvo_net_conf *conf, struct salvo_net **ret_net);

/* By name: "uring", "epoll", "null"; "auto" tries uring, then epoll, and says in *ret_note (a
 * literal or NULL) why it fell back. -EINVAL for a name nobody knows. */
int salvo_net_open(const char *name, const struct salvo_net_conf *conf, struct salvo_net **ret_net,
                   const char **ret_note);

/* --- the calls; thin wrappers that assert the magic ------------------------------------------- */

static inline const struct salvo_net_ops *salvo_net_ops(struct salvo_net *net)
{
    const struct salvo_net_head *head = (const struct salvo_net_head *)net;
    return head->ops;
}

/* Starts a connection. UP or DOWN follows within timeout_ns. 0; -ENOSPC when links_max are in use,
 * or another negative errno with nothing started. */
static inline int salvo_net_connect(struct salvo_net *net, const struct salvo_endpoint *to,
                                    int64_t timeout_ns, uint64_t cookie, uint32_t *ret_link)
{
    return salvo_net_ops(net)->connect(net, to, timeout_ns, cookie, ret_link);
}

/* Listens; port 0 is replaced by the one chosen. 0 or a negative errno; -EOPNOTSUPP (null). */
static inline int salvo_net_listen(struct salvo_net *net, struct salvo_endpoint *at,
                                   uint64_t cookie)
{
    return salvo_net_ops(net)->listen(net, at, cookie);
}

static inline void salvo_net_set_cookie(struct salvo_net *net, uint32_t link, uint64_t cookie)
{
    salvo_net_ops(net)->set_cookie(net, link, cookie);
}

/* Offers bytes. Returns how many were taken, from the front, possibly 0 and possibly in the middle
 * of a range; the ranges array itself is not kept. Taking less than offered is followed by a
 * RELEASED event when it is worth offering again. Only between UP/ACCEPTED and DOWN. */
static inline size_t salvo_net_send(struct salvo_net *net, uint32_t link,
                                    const struct salvo_range *ranges, unsigned ranges_count)
{
    return salvo_net_ops(net)->send(net, link, ranges, ranges_count);
}

static inline void salvo_net_give_back(struct salvo_net *net, uint32_t buffer)
{
    salvo_net_ops(net)->give_back(net, buffer);
}

/* Takes what has happened, without waiting and without a system call when nothing can have
 * happened. */
static inline unsigned salvo_net_poll(struct salvo_net *net, struct salvo_net_event *ret_events,
                                      unsigned events_max)
{
    return salvo_net_ops(net)->poll(net, ret_events, events_max);
}

/* Everything taken so far goes out now. Once per turn. */
static inline void salvo_net_flush(struct salvo_net *net)
{
    salvo_net_ops(net)->flush(net);
}

/* Sleeps until events_min events are there, or at least one is there and gather_ns have passed
 * since the call, or timeout_ns have passed, or wake() was called (also shortly before). Flushes
 * first. */
static inline void salvo_net_wait(struct salvo_net *net, unsigned events_min, int64_t gather_ns,
                                  int64_t timeout_ns)
{
    salvo_net_ops(net)->wait(net, events_min, gather_ns, timeout_ns);
}

/* Any thread: ends the current or the next wait(). */
static inline void salvo_net_wake(struct salvo_net *net)
{
    salvo_net_ops(net)->wake(net);
}

/* Ends a link in any state before GONE; DOWN (if it has not come) and GONE follow. Bytes taken and
 * not handed over may be thrown away. */
static inline void salvo_net_close(struct salvo_net *net, uint32_t link)
{
    salvo_net_ops(net)->close(net, link);
}

static inline uint32_t salvo_net_caps(struct salvo_net *net)
{
    return salvo_net_ops(net)->caps(net);
}

/* Ends all links and gives everything back; nothing taken is referred to any more when it returns.
 */
static inline void salvo_net_destroy(struct salvo_net *net)
{
    salvo_net_ops(net)->destroy(net);
}
