/* Inflight requests: finds the request an answer belongs to, and the ones whose time is up.
 *
 * A request is one frame's worth of messages on its way to a result: WAITING (for a route, a
 * connection, its turn), SENT (a frame lies in a connection's chunks and its answer is awaited), or
 * CUT (its time was up before its first byte was handed over: its messages have their results, its
 * bytes are skipped). It is registered before its frame can be handed to the network and removed
 * exactly once.
 *
 * opaque = 1,000,000,000 + (generation << 16 | slot): ten digits always, below 2^31. Slots come
 * from a FIFO free list, so that an old answer cannot soon meet a new request and one slow request
 * hinders no other; an answer counts only when the whole opaque and its connection match.
 *
 * Deadlines lie in a wheel of 1 ms slots; later ones than a turn of the wheel are looked at again
 * each time it comes round. A request that has its answer stays linked until its slot is visited:
 * by then its number has mostly been used again, with a later deadline, and it only moves on. So
 * neither adding nor removing touches another request, which would be a cache miss each; the visits
 * are one for each request number in the time of a deadline. All work is O(1) for a request, never
 * in what is in flight.
 *
 * Items are the messages themselves, as far as their results need them.
 *
 * Owner: one lane. Memory: taken at start. */
#pragma once

#include "base/assert.h"
#include "base/base.h"
#include "codec/message.h"
#include "dataplane/chunk.h"

#define SALVO_REQUEST_NONE      UINT32_MAX
#define SALVO_ITEM_NONE         UINT32_MAX
#define SALVO_OPAQUE_BASE       1000000000
#define SALVO_REQUEST_SLOT_BITS 16
#define SALVO_REQUESTS_MAX      (1u << SALVO_REQUEST_SLOT_BITS)
#define SALVO_WHEEL_SLOTS       4096u /* of 1 ms */

enum salvo_request_state {
    SALVO_REQUEST_FREE = 0,
    SALVO_REQUEST_WAITING,
    SALVO_REQUEST_SENT,
    SALVO_REQUEST_CUT,
};

enum salvo_request_flags {
    SALVO_REQUEST_BATCH = 1 << 0, /* the body is a batch body */
    SALVO_REQUEST_COMPRESSED = 1 << 1,
    SALVO_REQUEST_ORDERED = 1 << 2,      /* one at a time on its queue */
    SALVO_REQUEST_PINNED = 1 << 3,       /* on `queue` only */
    SALVO_REQUEST_STORED_MAYBE = 1 << 4, /* an earlier try may have stored it */
    SALVO_REQUEST_RAW_PROPERTIES =
        1 << 5,                       /* properties lie in wire form (parked), not as in a header */
    SALVO_REQUEST_HEARTBEAT = 1 << 6, /* no items */
    SALVO_REQUEST_SPLITTING = 1 << 7, /* a refused batch being taken apart, item by item */
    SALVO_REQUEST_GONE_AWAY = 1 << 8, /* was told GO_AWAY once */
    SALVO_REQUEST_IN_LIST = 1 << 9,   /* in the waiting list */
    SALVO_REQUEST_IN_LINE = 1 << 10,  /* behind others of its queue */
    SALVO_REQUEST_PARKED = 1 << 11,   /* its body lies in the parking place */
    SALVO_REQUEST_NO_WAIT = 1 << 12,  /* batch of WAIT=false messages */
};

struct salvo_request {
    /* first line: what an answer touches */
    int32_t opaque;
    uint8_t state;
    uint8_t tries;
    uint16_t flags;
    union {
        uint32_t conn;        /* SENT: connection (broker) number */
        int32_t refused_code; /* WAITING: how a broker refused the last try; 0: none did */
    };
    uint32_t item_first;
    uint32_t items_count;
    uint32_t chunk;           /* the frame's, or the parked message's, first chunk */
    uint32_t offset;          /* in it */
    uint32_t prefix_size;     /* header bytes in front of the properties; parked: 0 */
    uint32_t properties_size; /* as they lie there */
    uint32_t suffix_size;
    uint32_t body_size;
    uint32_t wheel_next;
    uint32_t wheel_previous;
    uint16_t wheel_slot;  /* UINT16_MAX: not linked */
    uint16_t broker_last; /* to be avoided next; UINT16_MAX: none */
    int64_t sent_ns;      /* of this try; SPLITTING: bytes of the body already taken apart */

    /* second line: what deadlines, retries and death touch */
    int64_t deadline_ns;   /* of this try, or of the budget while waiting; INT64_MAX: none */
    int64_t budget_ns;     /* mono: all tries together */
    int64_t not_before_ns; /* a pause before the same broker is tried again */
    uint64_t stream_start; /* SENT: the frame's place in its connection's stream */
    uint64_t stream_end;
    uint32_t topic;
    uint32_t queue;  /* number of the queue tried last, or to be tried (pinned, ordered) */
    uint32_t try_ms; /* limit of one try */
    int32_t flag;    /* message flag, for the general writer */
    uint32_t next;   /* waiting list, ordered line, cut list */
    uint32_t previous;
};
static_assert(sizeof(struct salvo_request) == 2 * SALVO_CACHE_LINE, "an answer touches the first");

struct salvo_item {
    uint64_t cookie;
    uint32_t submitter;
    uint32_t next;
    uint32_t shard_hash;
    uint8_t id[SALVO_ID_SIZE];
};
static_assert(sizeof(struct salvo_item) == 32, "two in a line");

struct salvo_inflight {
    /* fixed after start */
    struct salvo_request *requests;
    uint32_t requests_max;
    struct salvo_item *items;
    uint32_t items_max;
    uint32_t *wheel;      /* first request of each slot */
    uint64_t *wheel_used; /* a bit for each slot that is not empty */

    /* lane only */
    uint32_t free_head; /* FIFO through `next` */
    uint32_t free_tail;
    uint32_t free_count;
    uint32_t cut_count; /* requests that mark a hole, state CUT */
    uint32_t items_free;
    uint32_t items_free_count;
    int64_t wheel_tick;   /* ms; slots up to here have been visited */
    uint32_t wheel_count; /* requests with a deadline */
};

void salvo_inflight_init(struct salvo_inflight *inflight, struct salvo_request *requests,
                         uint32_t requests_max, struct salvo_item *items, uint32_t items_max,
                         uint32_t *wheel, uint64_t *wheel_used, int64_t now_ns);

static inline uint32_t salvo_inflight_index(const struct salvo_inflight *inflight,
                                            const struct salvo_request *request)
{
    return (uint32_t)(request - inflight->requests);
}

/* A fresh request, state WAITING, with a new opaque; the caller has looked at free_count. */
struct salvo_request *salvo_request_take(struct salvo_inflight *inflight);
/* A new opaque for another try: what still comes for the old one is late. */
void salvo_request_renew(struct salvo_inflight *inflight, struct salvo_request *request);
/* Back to the free list; out of the wheel already. */
void salvo_request_free(struct salvo_inflight *inflight, struct salvo_request *request);

/* The request an answer on `conn` belongs to, or NULL: late, or never asked for. */
static inline struct salvo_request *salvo_inflight_find(struct salvo_inflight *inflight,
                                                        int32_t opaque, uint32_t conn)
{
    uint32_t slot = ((uint32_t)opaque - SALVO_OPAQUE_BASE) & (SALVO_REQUESTS_MAX - 1);
    struct salvo_request *request;

    if (opaque < SALVO_OPAQUE_BASE || slot >= inflight->requests_max)
        return NULL;
    request = &inflight->requests[slot];
    if (request->opaque != opaque || request->state != SALVO_REQUEST_SENT || request->conn != conn)
        return NULL;
    return request;
}

/* Puts the request's deadline into the wheel, or takes it out. */
void salvo_wheel_add(struct salvo_inflight *inflight, struct salvo_request *request,
                     int64_t deadline_ns);
void salvo_wheel_remove(struct salvo_inflight *inflight, struct salvo_request *request);

/* The next request whose deadline has passed, taken out of the wheel; NULL when there is none (and
 * the wheel stands at now). */
struct salvo_request *salvo_wheel_expired(struct salvo_inflight *inflight, int64_t now_ns);

/* Not later than the next deadline; INT64_MAX when there is none. */
int64_t salvo_wheel_next_ns(const struct salvo_inflight *inflight);

struct salvo_item *salvo_item_take(struct salvo_inflight *inflight, uint32_t *ret_index);
void salvo_item_free(struct salvo_inflight *inflight, uint32_t index);
/* A list of `count` items, linked by `next` from `first` to `last`. */
void salvo_items_free(struct salvo_inflight *inflight, uint32_t first, uint32_t last,
                      uint32_t count);
