/* Requests and answers of control's own, see rpc.h. Links are in rpc_link.c. */
#include "control/rpc.h"

#include "base/assert.h"
#include "control/rpc_link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* Room for any header of ours: names, a client id, an address. */
#define RPC_HEADER_ROOM 8192u

/* opaque = generation and slot, so that an old answer cannot meet a new request. */
#define RPC_OPAQUE_SLOTS       SALVO_RPC_REQUESTS_MAX
#define RPC_OPAQUE_GENERATIONS (UINT32_C(0x7fffffff) / RPC_OPAQUE_SLOTS)

int salvo_rpc_init(struct salvo_rpc *rpc, const struct salvo_rpc_conf *conf)
{
    /* A peer's new link may come up while its old one waits for GONE; some more for GO_AWAY. */
    *rpc = (struct salvo_rpc){.conf = *conf, .links_max = conf->peers_max * 2 + 8};
    rpc->deadline_ns_min = INT64_MAX;
    if (rpc->conf.asked == NULL)
        rpc->conf.asked = salvo_rpc_asked_default;
    rpc->peers = calloc(conf->peers_max, sizeof(*rpc->peers));
    rpc->links = calloc(rpc->links_max, sizeof(*rpc->links));
    rpc->requests = calloc(SALVO_RPC_REQUESTS_MAX, sizeof(*rpc->requests));
    if (rpc->peers == NULL || rpc->links == NULL || rpc->requests == NULL) {
        salvo_rpc_deinit(rpc);
        return salvo_raise(-ENOMEM);
    }
    return 0;
}

void salvo_rpc_deinit(struct salvo_rpc *rpc)
{
    for (uint32_t i = 0; rpc->requests != NULL && i < SALVO_RPC_REQUESTS_MAX; i++)
        if (rpc->requests[i].used)
            rpc_frame_put(rpc->requests[i].frame);
    for (uint32_t i = 0; rpc->links != NULL && i < rpc->links_max; i++)
        rpc_link_free_memory(&rpc->links[i]);
    free(rpc->peers);
    free(rpc->links);
    free(rpc->requests);
    free(rpc->scratch);
    *rpc = (struct salvo_rpc){0};
}

uint32_t salvo_rpc_peer_add(struct salvo_rpc *rpc, const struct salvo_endpoint *endpoint,
                            uint64_t user)
{
    for (uint32_t i = 0; i < rpc->conf.peers_max; i++) {
        if (rpc->peers[i].used)
            continue;
        rpc->peers[i] = (struct rpc_peer){
            .used = true, .endpoint = *endpoint, .link = RPC_LINK_NONE, .user = user};
        return i;
    }
    return SALVO_RPC_PEER_NONE;
}

bool salvo_rpc_peer_up(const struct salvo_rpc *rpc, uint32_t peer)
{
    const struct rpc_peer *p = &rpc->peers[peer];

    salvo_assert(p->used);
    return p->link != RPC_LINK_NONE && rpc->links[p->link].state == RPC_LINK_UP;
}

void rpc_frame_put(struct rpc_frame *frame)
{
    salvo_assert(frame->users > 0);
    if (--frame->users == 0)
        free(frame);
}

static int frame_make(struct salvo_rpc *rpc, enum salvo_header_form form,
                      const struct salvo_header *header, const void *body, uint32_t body_size,
                      struct rpc_frame **ret_frame)
{
    size_t room = RPC_HEADER_ROOM + (size_t)body_size;
    struct rpc_frame *frame = malloc(sizeof(*frame) + room);
    ssize_t size;

    if (frame == NULL)
        return salvo_raise(-ENOMEM);
    size = salvo_frame_write(frame->bytes, room, form, header, body, body_size);
    if (size < 0) {
        free(frame);
        return salvo_raise((int)size);
    }
    frame->next = NULL;
    frame->users = 1;
    frame->size = (size_t)size;
    *ret_frame = frame;
    return 0;
}

/* Ends a request: its slot is free before its function is called, which may ask again. */
static void request_end(struct salvo_rpc *rpc, struct rpc_request *request,
                        const struct salvo_rpc_answer *answer, int64_t now_ns)
{
    struct rpc_request ended = *request;
    struct rpc_link *link = &rpc->links[request->link];

    salvo_assert(request->used);
    salvo_assert(link->requests_open > 0);
    request->used = false;
    rpc->requests_open--;
    link->requests_open--;
    rpc_frame_put(ended.frame);
    if (link->state == RPC_LINK_UP && link->peer == SALVO_RPC_PEER_NONE && link->requests_open == 0)
        rpc_link_end(rpc, ended.link, -ECANCELED, "it was told to go away", now_ns);
    ended.done(ended.arg, ended.cookie, answer, now_ns);
}

void rpc_requests_fail(struct salvo_rpc *rpc, uint32_t link, int result, bool connected,
                       const char *why, int64_t now_ns)
{
    struct salvo_rpc_answer answer = {.result = result, .connected = connected, .why = why};

    for (uint32_t i = 0; i < SALVO_RPC_REQUESTS_MAX && rpc->links[link].requests_open > 0; i++)
        if (rpc->requests[i].used && rpc->requests[i].link == link)
            request_end(rpc, &rpc->requests[i], &answer, now_ns);
}

void salvo_rpc_peer_remove(struct salvo_rpc *rpc, uint32_t peer, int64_t now_ns)
{
    struct rpc_peer *p = &rpc->peers[peer];

    salvo_assert(p->used);
    for (uint32_t i = 0; i < rpc->links_max; i++) { /* with those that were told GO_AWAY */
        struct rpc_link *link = &rpc->links[i];

        if (link->origin == peer &&
            (link->state == RPC_LINK_CONNECTING || link->state == RPC_LINK_UP))
            rpc_link_end(rpc, i, -ECANCELED, "no longer asked", now_ns);
    }
    p->used = false; /* last: those that failed may add peers, and this number is looked for */
}

static struct rpc_request *request_take(struct salvo_rpc *rpc)
{
    for (uint32_t i = 0; i < SALVO_RPC_REQUESTS_MAX; i++) {
        uint32_t slot = (rpc->request_next + i) % SALVO_RPC_REQUESTS_MAX;

        if (rpc->requests[slot].used)
            continue;
        rpc->request_next = slot + 1;
        rpc->generation = (rpc->generation + 1) % RPC_OPAQUE_GENERATIONS;
        rpc->requests[slot].opaque = (int32_t)(rpc->generation * RPC_OPAQUE_SLOTS + slot);
        return &rpc->requests[slot];
    }
    return NULL;
}

int salvo_rpc_request(struct salvo_rpc *rpc, const struct salvo_rpc_call *call, int64_t now_ns)
{
    struct rpc_request *request = request_take(rpc);
    struct salvo_header header = *call->header;
    struct rpc_frame *frame = NULL;
    uint32_t link;
    int r;

    salvo_assert(rpc->peers[call->peer].used);
    salvo_assert(call->timeout_ns > 0);
    if (request == NULL)
        return -EAGAIN;
    header.language = rpc->conf.language;
    header.version = rpc->conf.version;
    header.opaque = request->opaque;
    header.flag = 0;
    r = frame_make(rpc, rpc->conf.form, &header, call->body, call->body_size, &frame);
    if (r)
        return salvo_trace(r);
    r = rpc_link_for(rpc, call->peer, &link);
    if (r) {
        rpc_frame_put(frame);
        return r;
    }
    *request = (struct rpc_request){
        .used = true,
        .opaque = request->opaque,
        .peer = call->peer,
        .link = link,
        .created_ns = now_ns,
        .deadline_ns = now_ns + call->timeout_ns,
        .frame = frame,
        .done = call->done,
        .arg = call->arg,
        .cookie = call->cookie,
    };
    rpc->requests_open++;
    rpc->links[link].requests_open++;
    rpc->deadline_ns_min = SALVO_MIN(rpc->deadline_ns_min, request->deadline_ns);
    rpc_link_send(rpc, link, frame);
    return 0;
}

/* The refused request once more, on a new link under a new opaque. 0, or it could not be sent. */
static int request_send_again(struct salvo_rpc *rpc, struct rpc_request *request)
{
    const char *why;
    struct salvo_frame old;
    struct salvo_header header;
    struct rpc_frame *frame = NULL;
    uint8_t scratch[RPC_HEADER_ROOM];
    uint32_t link, slot = (uint32_t)(request - rpc->requests);
    int r = salvo_frame_parse(request->frame->bytes, request->frame->size, SALVO_FRAME_SIZE_MAX,
                              &old, &why);

    salvo_assert(r == 0); /* our own frame */
    r = salvo_header_read(&header, old.form, old.header, old.header_size, scratch, sizeof(scratch));
    salvo_assert(r == 0);
    rpc->generation = (rpc->generation + 1) % RPC_OPAQUE_GENERATIONS;
    header.opaque = (int32_t)(rpc->generation * RPC_OPAQUE_SLOTS + slot);
    r = frame_make(rpc, old.form, &header, old.body, old.body_size, &frame);
    if (r)
        return salvo_trace(r);
    r = rpc_link_for(rpc, request->peer, &link);
    if (r) {
        rpc_frame_put(frame);
        return r;
    }
    rpc_frame_put(request->frame);
    rpc->links[request->link].requests_open--;
    rpc->links[link].requests_open++;
    request->frame = frame;
    request->link = link;
    request->opaque = header.opaque;
    rpc_link_send(rpc, link, frame);
    return 0;
}

/* GO_AWAY: the link takes no new requests, and this one goes out again. True when it did. */
static bool request_went_away(struct salvo_rpc *rpc, struct rpc_request *request, int64_t now_ns)
{
    uint32_t old = request->link;
    struct rpc_link *link = &rpc->links[old];

    if (link->peer != SALVO_RPC_PEER_NONE) {
        rpc->peers[link->peer].link = RPC_LINK_NONE;
        link->peer = SALVO_RPC_PEER_NONE;
    }
    if (request->again || !rpc->peers[request->peer].used || request_send_again(rpc, request))
        return false;
    request->again = true;
    if (link->requests_open == 0 && link->state == RPC_LINK_UP)
        rpc_link_end(rpc, old, -ECANCELED, "it was told to go away", now_ns);
    return true;
}

static void answer_came(struct salvo_rpc *rpc, uint32_t link, const struct salvo_frame *frame,
                        const struct salvo_header *header, int64_t now_ns)
{
    uint32_t slot = (uint32_t)header->opaque % RPC_OPAQUE_SLOTS;
    struct rpc_request *request = &rpc->requests[slot];
    struct salvo_rpc_answer answer = {
        .connected = true,
        .why = "answered",
        .header = header,
        .body = frame->body,
        .body_size = frame->body_size,
    };

    if (!request->used || request->opaque != header->opaque || request->link != link)
        return; /* late: its request has ended */
    if (header->code == SALVO_RESPONSE_GO_AWAY && request_went_away(rpc, request, now_ns))
        return;
    request_end(rpc, request, &answer, now_ns);
}

int32_t salvo_rpc_asked_default(void *arg, uint64_t user, const struct salvo_header *request,
                                const uint8_t *body, uint32_t body_size, char ret_remark[128])
{
    switch (request->code) {
    case SALVO_REQUEST_NOTIFY_CONSUMER_IDS_CHANGED:
        return SALVO_RPC_NO_ANSWER;
    case 220: /* RESET_CONSUMER_CLIENT_OFFSET */
    case 221: /* GET_CONSUMER_STATUS_FROM_CLIENT */
    case 307: /* GET_CONSUMER_RUNNING_INFO */
    case 309: /* CONSUME_MESSAGE_DIRECTLY */
        snprintf(ret_remark, 128, "a producer has no consumer to ask");
        return SALVO_RESPONSE_SYSTEM_ERROR;
    default:
        snprintf(ret_remark, 128, " request type %d not supported", request->code);
        return SALVO_RESPONSE_REQUEST_CODE_NOT_SUPPORTED;
    }
}

static void asked(struct salvo_rpc *rpc, uint32_t link, const struct salvo_frame *frame,
                  const struct salvo_header *header, int64_t now_ns)
{
    char remark[128] = "";
    struct salvo_header answer = {
        .language = rpc->conf.language,
        .version = rpc->conf.version,
        .opaque = header->opaque,
        .flag = SALVO_REMOTING_RESPONSE,
    };
    struct rpc_frame *out = NULL;

    answer.code = rpc->conf.asked(rpc->conf.arg, rpc->links[link].user, header, frame->body,
                                  frame->body_size, remark);
    if (answer.code == SALVO_RPC_NO_ANSWER || (header->flag & SALVO_REMOTING_ONEWAY) != 0)
        return;
    if (rpc->links[link].state != RPC_LINK_UP)
        return;
    if (remark[0] != '\0')
        answer.remark = salvo_text_of(remark);
    if (frame_make(rpc, rpc->conf.form, &answer, NULL, 0, &out))
        return;
    rpc_link_send(rpc, link, out);
    rpc_frame_put(out);
}

void rpc_frame_came(struct salvo_rpc *rpc, uint32_t link, const struct salvo_frame *frame,
                    const struct salvo_header *header, int64_t now_ns)
{
    if ((header->flag & SALVO_REMOTING_RESPONSE) != 0)
        answer_came(rpc, link, frame, header, now_ns);
    else
        asked(rpc, link, frame, header, now_ns);
}

/* A deadline passed. Where nothing came since the request was made the link is given up with all
 * that is open on it: a peer that answers nothing would cost every request its time. */
static void request_expired(struct salvo_rpc *rpc, struct rpc_request *request, int64_t now_ns)
{
    struct rpc_link *link = &rpc->links[request->link];
    struct salvo_rpc_answer answer = {
        .result = -ETIMEDOUT,
        .connected = link->state == RPC_LINK_UP,
        .why = link->state == RPC_LINK_UP ? "it did not answer" : "no connection in time",
    };

    if (link->state == RPC_LINK_UP && link->received_ns < request->created_ns)
        rpc_link_end(rpc, request->link, -ETIMEDOUT, answer.why, now_ns);
    else
        request_end(rpc, request, &answer, now_ns);
}

static int rpc_expire(struct salvo_rpc *rpc, int64_t now_ns)
{
    int expired = 0;

    if (now_ns < rpc->deadline_ns_min)
        return 0;
    for (uint32_t i = 0; i < SALVO_RPC_REQUESTS_MAX && rpc->requests_open > 0; i++) {
        if (!rpc->requests[i].used || rpc->requests[i].deadline_ns > now_ns)
            continue;
        request_expired(rpc, &rpc->requests[i], now_ns);
        expired++;
    }
    rpc->deadline_ns_min = INT64_MAX;
    for (uint32_t i = 0; i < SALVO_RPC_REQUESTS_MAX && rpc->requests_open > 0; i++)
        if (rpc->requests[i].used)
            rpc->deadline_ns_min = SALVO_MIN(rpc->deadline_ns_min, rpc->requests[i].deadline_ns);
    return expired;
}

int salvo_rpc_do_work(struct salvo_rpc *rpc, int64_t now_ns)
{
    return rpc_links_poll(rpc, now_ns) + rpc_expire(rpc, now_ns);
}

int64_t salvo_rpc_next_ns(const struct salvo_rpc *rpc)
{
    return rpc->deadline_ns_min;
}
