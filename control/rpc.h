/* Requests and answers of control's own: nameservers and brokers over any network backend.
 *
 *   peer     somebody to ask: an address, and at most one link that new requests go to
 *   link     a connection; made on demand, kept while it works
 *   request  a frame sent, found by its opaque; ends exactly once, in its `done` function
 *
 * A link is closed on a frame that makes no sense, and when a deadline passes with nothing received
 * on it. A link that was told GO_AWAY takes no new requests, gives up when its last answer came,
 * and the refused request is sent once more on a new link. Answers are decoded in either header
 * form whatever we send: peers answer in their own.
 *
 * Owner: control. Memory: allocated as needed, but bounded: a link gathers at most one frame of 16
 * MiB. */
#pragma once

#include "codec/header.h"
#include "control/report.h"
#include "dataplane/net.h"

#define SALVO_RPC_PEER_NONE UINT32_MAX
/* Open at once; heartbeats to more brokers than that go in turns. */
#define SALVO_RPC_REQUESTS_MAX 1024u
#define SALVO_RPC_NO_ANSWER    INT32_MIN

struct salvo_rpc_answer {
    /* 0: answered, whatever the code; else -ECONNREFUSED, -EHOSTUNREACH, -ETIMEDOUT, -ECONNRESET,
     * -EBADMSG or -ECANCELED. */
    int result;
    bool connected;                    /* a link was up; false: the peer could not be reached */
    const char *why;                   /* a literal that says more, never NULL */
    const struct salvo_header *header; /* NULL unless answered; valid during the call */
    const uint8_t *body;
    uint32_t body_size;
};

typedef void salvo_rpc_done_fn(void *arg, uint64_t cookie, const struct salvo_rpc_answer *answer,
                               int64_t now_ns);

/* A request from the peer. Returns the response code to send with ret_remark, or
 * SALVO_RPC_NO_ANSWER; one-way requests get none whatever it returns. */
typedef int32_t salvo_rpc_asked_fn(void *arg, uint64_t user, const struct salvo_header *request,
                                   const uint8_t *body, uint32_t body_size, char ret_remark[128]);

/* The link of the peer with that user value came up, or went down without being asked to. */
typedef void salvo_rpc_link_fn(void *arg, uint64_t user, bool up, int64_t now_ns);

struct salvo_rpc_conf {
    struct salvo_net *net;
    struct salvo_report *report;
    enum salvo_header_form form;
    int32_t language;
    int32_t version;
    uint32_t peers_max;
    int64_t connect_timeout_ns;
    salvo_rpc_asked_fn *asked;       /* NULL: salvo_rpc_asked_default */
    salvo_rpc_link_fn *link_changed; /* may be NULL */
    void *arg;                       /* of both */
};

struct salvo_rpc_call {
    uint32_t peer;
    const struct salvo_header *header; /* code, ext; the rest is filled in */
    const void *body;
    uint32_t body_size;
    int64_t timeout_ns;
    salvo_rpc_done_fn *done;
    void *arg;
    uint64_t cookie;
};

struct rpc_frame;
struct rpc_link;
struct rpc_peer;
struct rpc_request;

struct salvo_rpc {
    /* fixed after start */
    struct salvo_rpc_conf conf;
    uint32_t links_max;

    /* control only */
    struct rpc_peer *peers;
    struct rpc_link *links;
    struct rpc_request *requests;
    uint32_t requests_open;
    uint32_t request_next; /* where the search for a free one starts */
    uint32_t generation;
    int64_t deadline_ns_min; /* no open request is due before */
    uint8_t *scratch;        /* for JSON text with escapes */
    size_t scratch_size;
};

/* 0 or -ENOMEM. */
int salvo_rpc_init(struct salvo_rpc *rpc, const struct salvo_rpc_conf *conf);

/* Forgets everything; no `done` is called any more. The net must have been destroyed before: frames
 * are its until RELEASED. */
void salvo_rpc_deinit(struct salvo_rpc *rpc);

/* A peer, or SALVO_RPC_PEER_NONE when there are peers_max. `user` comes back in the hooks. */
uint32_t salvo_rpc_peer_add(struct salvo_rpc *rpc, const struct salvo_endpoint *endpoint,
                            uint64_t user);

/* Closes its link; its requests end with -ECANCELED. */
void salvo_rpc_peer_remove(struct salvo_rpc *rpc, uint32_t peer, int64_t now_ns);

/* True while requests would go out at once. */
bool salvo_rpc_peer_up(const struct salvo_rpc *rpc, uint32_t peer);

/* Sends a request, connecting first where there is no link. 0: `done` is called once, later, from
 * salvo_rpc_do_work or salvo_rpc_peer_remove. -EAGAIN: too many are open; or another negative errno
 * with nothing started. */
int salvo_rpc_request(struct salvo_rpc *rpc, const struct salvo_rpc_call *call, int64_t now_ns);

/* Takes what the network has for us and ends what is due. Returns how much it did. */
int salvo_rpc_do_work(struct salvo_rpc *rpc, int64_t now_ns);

/* The earliest deadline; INT64_MAX: none. */
int64_t salvo_rpc_next_ns(const struct salvo_rpc *rpc);

/* What a producer answers to a broker's requests (ClientRemotingProcessor.java). */
int32_t salvo_rpc_asked_default(void *arg, uint64_t user, const struct salvo_header *request,
                                const uint8_t *body, uint32_t body_size, char ret_remark[128]);
