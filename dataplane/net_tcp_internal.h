/* Between net_tcp.c (turns, packets, the table) and net_tcp_link.c (links, and what they have to
 * say). */
#pragma once

#include "dataplane/net_tcp.h"

#include "base/assert.h"

/* 4096: releases that wait for a device; when there are more the machine adds them up. */
#define TCP_HOLDS_MAX 4096u /* power of two */
/* 32: a peer that does not close holds a connection of ours that nobody wants; then the oldest is
 * reset. */
#define TCP_ORPHANS_MAX 32u

enum tcp_link_state {
    TCP_LINK_FREE,
    TCP_LINK_CONNECTING,
    TCP_LINK_UP,
    TCP_LINK_DYING, /* DOWN is due */
    TCP_LINK_DOWN,  /* DOWN was reported */
};

struct tcp_link {
    uint32_t index;
    uint32_t generation; /* part of the connection's cookie: orphans are not mistaken */
    enum tcp_link_state state;
    uint64_t conn;
    bool ended; /* the machine's DOWN was seen */
    uint64_t cookie;
    int64_t deadline_ns; /* of the connect; when DOWN: of the linger */

    bool announce;    /* UP is due */
    bool wants;       /* send() took less than offered */
    bool starved;     /* because the machine has no place: only a release helps */
    bool readable;    /* there may be bytes */
    bool peer_closed; /* and nothing comes behind them */
    bool unread;      /* ended, but there are bytes: counted in unread_count */
    bool closed;      /* by our close() */
    bool queued;      /* on pending */
    struct tcp_link *pending_next;

    enum salvo_net_down reason;
    int code;
    uint64_t taken;
    uint64_t acknowledged; /* as the machine released them */
    uint64_t releasable;   /* and the device let go of them */
    uint64_t released;     /* as reported */
    uint64_t handed_over;
};

/* Bytes acknowledged while the device had packets: free when it has done so many. */
struct tcp_hold {
    uint32_t link;
    uint64_t bytes;
    uint64_t attached;
};

enum tcp_sleep { TCP_AWAKE, TCP_ASLEEP, TCP_WOKEN };

struct net_tcp {
    /* fixed after start */
    struct salvo_net_head head;
    struct salvo_net_ops table;
    struct salvo_net_conf conf;
    struct salvo_device *device;
    const struct salvo_device_ops *ops;
    bool references;
    struct salvo_mirror *mirror;       /* NULL: none */
    struct salvo_net_tcp_lease *lease; /* NULL: the address is static */
    bool lease_renews;
    struct salvo_tcp *tcp;
    struct tcp_link *links;
    uint8_t *buffers;

    /* owner only */
    uint32_t *buffers_free;
    uint32_t buffers_free_count;
    uint32_t links_free_hint;
    uint32_t deadlines_count; /* links that connect or linger */
    uint32_t wants_count;
    uint32_t unread_count;
    uint64_t orphans[TCP_ORPHANS_MAX]; /* a ring of handles, some of them old */
    uint32_t orphans_next;
    struct tcp_link *pending_first, *pending_last;
    uint64_t attached; /* packets given by reference */
    uint32_t holds_head, holds_tail;
    struct tcp_hold *holds;
    struct salvo_tcp_packet packet; /* 1 KB: not on the stack of every turn */

    /* anyone -> owner */
    alignas(SALVO_CACHE_LINE) _Atomic uint32_t sleep; /* enum tcp_sleep */
};

static inline struct net_tcp *net_tcp_of(struct salvo_net *net)
{
    struct net_tcp *n = (struct net_tcp *)net;
    salvo_assert(n->head.magic == SALVO_NET_MAGIC);
    return n;
}

static inline int64_t net_tcp_now_us(const struct net_tcp *n)
{
    return salvo_clock_mono_ns(n->conf.clock) / SALVO_NS_PER_US;
}

/* Whether the address is ours. */
static inline bool net_tcp_lease_holds(const struct net_tcp *n)
{
    /* Acquire: pairs with the release in lease_changed and salvo_net_tcp_lease_take. */
    return n->lease == NULL || atomic_load_explicit(&n->lease->holds, memory_order_acquire);
}

/* The net that renews: timers, and whether the lease still holds. */
void net_tcp_lease_look(struct net_tcp *n, int64_t now_us);
void net_tcp_lease_output(struct net_tcp *n, int64_t now_us);

/* Puts a link that has something to say on `pending`. */
void net_tcp_link_queue(struct net_tcp *n, struct tcp_link *link);
void net_tcp_link_deadline(struct net_tcp *n, struct tcp_link *link, int64_t in_ns);
void net_tcp_link_deadline_end(struct net_tcp *n, struct tcp_link *link);
uint64_t net_tcp_link_unsent(const struct net_tcp *n, const struct tcp_link *link);
/* A refused offer may be made again. */
bool net_tcp_link_may_offer(const struct net_tcp *n, const struct tcp_link *link);
/* DOWN is due. */
void net_tcp_link_die(struct net_tcp *n, struct tcp_link *link, enum salvo_net_down reason,
                      int code);

/* How many links have something to say. */
unsigned net_tcp_pending_count(const struct net_tcp *n);
/* One event of the oldest pending link. False when it has none now. */
bool net_tcp_report(struct net_tcp *n, struct salvo_net_event *ret_event);
