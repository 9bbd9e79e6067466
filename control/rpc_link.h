/* Links of control's requests: private to rpc.c and rpc_link.c. */
#pragma once

#include "control/rpc.h"

#define RPC_LINK_NONE UINT32_MAX

/* A whole frame on its way out; counted by its request (which may have to send it again) and its
 * link. */
struct rpc_frame {
    struct rpc_frame *next; /* in its link */
    unsigned users;
    size_t size;
    uint8_t bytes[];
};

enum rpc_link_state {
    RPC_LINK_FREE,
    RPC_LINK_CONNECTING,
    RPC_LINK_UP,
    RPC_LINK_ENDING, /* closed or down; GONE has not come yet */
};

struct rpc_link {
    enum rpc_link_state state;
    uint32_t peer;   /* SALVO_RPC_PEER_NONE: takes no new requests (GO_AWAY, ended) */
    uint32_t origin; /* the peer it was made for */
    uint32_t net_link;
    uint64_t user;
    uint32_t requests_open;
    int64_t received_ns;

    /* out: first is the oldest not released, unsent the first not wholly taken by the net */
    struct rpc_frame *first;
    struct rpc_frame *last;
    struct rpc_frame *unsent;
    size_t unsent_taken; /* bytes of `unsent` that were taken */
    uint64_t released;   /* bytes released in front of which `first` starts */

    /* in: gathered bytes, from the start of a frame */
    uint8_t *in;
    size_t in_size;
    size_t in_room;
};

struct rpc_peer {
    bool used;
    struct salvo_endpoint endpoint;
    uint32_t link;
    uint64_t user;
};

struct rpc_request {
    bool used;
    bool again; /* GO_AWAY was answered once */
    int32_t opaque;
    uint32_t peer;
    uint32_t link;
    int64_t created_ns;
    int64_t deadline_ns;
    struct rpc_frame *frame;
    salvo_rpc_done_fn *done;
    void *arg;
    uint64_t cookie;
};

/* --- rpc.c, for rpc_link.c --------------------------------------------------------------- */

/* A whole frame of link came. */
void rpc_frame_came(struct salvo_rpc *rpc, uint32_t link, const struct salvo_frame *frame,
                    const struct salvo_header *header, int64_t now_ns);
/* Every request on the link ends so. */
void rpc_requests_fail(struct salvo_rpc *rpc, uint32_t link, int result, bool connected,
                       const char *why, int64_t now_ns);
void rpc_frame_put(struct rpc_frame *frame);

/* --- rpc_link.c, for rpc.c --------------------------------------------------------------- */

/* The peer's link, made when there is none. 0 or a negative errno. */
int rpc_link_for(struct salvo_rpc *rpc, uint32_t peer, uint32_t *ret_link);
/* Puts a frame behind the others; takes a count of its own. */
void rpc_link_send(struct salvo_rpc *rpc, uint32_t link, struct rpc_frame *frame);
/* Closes it and fails what is open on it. */
void rpc_link_end(struct salvo_rpc *rpc, uint32_t link, int result, const char *why,
                  int64_t now_ns);
int rpc_links_poll(struct salvo_rpc *rpc, int64_t now_ns);
void rpc_link_free_memory(struct rpc_link *link);
