/* Asks nameservers for routes. One is chosen (at random at first) and kept while it works; a failed
 * connection, a timeout, or an answer that makes no sense moves on to the next. A question is tried
 * once at each nameserver before it fails. Owner: control. */
#pragma once

#include "base/random.h"
#include "control/resolve.h"
#include "control/rpc.h"

#define SALVO_NAMESERVERS_MAX        16u
#define SALVO_NAMESERVER_QUERIES_MAX 64u

struct salvo_nameserver_entry {
    char name[SALVO_RESOLVE_HOST_MAX + 8]; /* as it was given */
    char host[SALVO_RESOLVE_HOST_MAX];
    uint16_t port;
    bool numeric; /* no name: its address cannot change */
    bool resolving;
    uint32_t turn; /* which of its addresses, when its name has several */
    uint32_t peer; /* SALVO_RPC_PEER_NONE until the address is known */
};

/* answer->result 0: code 0 with a body, or 17 (the topic is unknown); else every nameserver failed.
 */
struct salvo_nameserver_query {
    bool used;
    bool waiting; /* for the chosen one's address */
    uint32_t entry;
    uint32_t tries_left;
    char topic[SALVO_TOPIC_SIZE_MAX + 1];
    salvo_rpc_done_fn *done;
    void *arg;
    uint64_t cookie;
};

struct salvo_nameservers {
    /* fixed after start */
    struct salvo_rpc *rpc;
    struct salvo_resolver *resolver;
    struct salvo_report *report;
    int64_t timeout_ns;
    uint32_t entries_count;

    /* control only */
    struct salvo_nameserver_entry entries[SALVO_NAMESERVERS_MAX];
    uint32_t chosen;
    struct salvo_nameserver_query queries[SALVO_NAMESERVER_QUERIES_MAX];
};

/* Checks "host:port;host:port". 0, or -EINVAL with a sentence that names the remedy. */
int salvo_nameservers_check(const char *list, char *ret_error, size_t error_size);

/* As above, and fills the list; nothing is asked yet. */
int salvo_nameservers_init(struct salvo_nameservers *ns, const char *list, struct salvo_rpc *rpc,
                           struct salvo_resolver *resolver, struct salvo_report *report,
                           struct salvo_random *random, int64_t timeout_ns, char *ret_error,
                           size_t error_size);

/* Asks for a topic's route; `done` is called once, possibly before this returns. 0, or -EAGAIN: too
 * many questions are open. */
int salvo_nameservers_ask(struct salvo_nameservers *ns, const char *topic, salvo_rpc_done_fn *done,
                          void *arg, uint64_t cookie, int64_t now_ns);
