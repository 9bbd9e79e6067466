/* A submitter: a pair of rings bound to one lane, and the layout of what lies in them.
 *
 *   submitting thread --- messages (struct salvo_slot, body, properties) ---> lane
 *   submitting thread <--- results (struct salvo_result_slot) ---------------- lane
 *
 * A submitter never has more messages out than its results ring has room for, so giving a result
 * cannot fail: `claim` is where pressure shows, and nowhere else. */
#pragma once

#include "codec/compress.h"
#include "codec/message.h"
#include "dataplane/failures.h"
#include "dataplane/lane_port.h"
#include "dataplane/ring.h"

#include <salvo.h>

#define SALVO_SLOT_MAGIC 0x510751u

enum salvo_slot_flags {
    SALVO_SLOT_COMPRESSED = 1 << 0, /* the body is compressed by the configured type */
    SALVO_SLOT_SHARD = 1 << 1,      /* ordered by shard_hash */
    SALVO_SLOT_PINNED = 1 << 2,     /* queue_index was given */
    SALVO_SLOT_ALONE = 1 << 3,      /* may not share a batch (delay, flag in the header) */
    SALVO_SLOT_NO_WAIT = 1 << 4,    /* WAIT=false: shares only with its like */
    SALVO_SLOT_PLAIN = 1 << 5,      /* the lane found that to compress it does not pay */
};

/* A message in the ring: this, the body (8-byte aligned), the properties in wire form. */
struct salvo_slot {
    uint32_t magic;
    uint32_t flags;
    uint32_t topic;
    union {
        uint32_t queue_index;     /* PINNED */
        uint32_t failures_polled; /* SHARD: the stamp, see dataplane/failures.h */
    };
    uint32_t body_size;
    uint32_t body_room; /* claimed; properties start behind it */
    uint32_t properties_size;
    int32_t flag;
    uint64_t cookie;
    int64_t budget_ns;
    int64_t deadline_ns; /* mono */
    uint32_t shard_hash;
    uint8_t id[SALVO_ID_SIZE];
};
static_assert(sizeof(struct salvo_slot) % 8 == 0, "the body is 8-byte aligned");

static inline uint8_t *salvo_slot_body(struct salvo_slot *slot)
{
    return (uint8_t *)(slot + 1);
}

static inline uint8_t *salvo_slot_properties(struct salvo_slot *slot)
{
    return (uint8_t *)(slot + 1) + slot->body_room;
}

/* The largest slot payload for a body limit. */
static inline uint64_t salvo_slot_size_max(uint64_t body_size_max)
{
    return sizeof(struct salvo_slot) + ((body_size_max + 7) & ~UINT64_C(7)) +
           SALVO_PROPERTIES_SIZE_MAX + 256;
}

/* A result in the ring: 64 bytes. */
struct salvo_result_slot {
    uint64_t cookie;
    uint8_t code;   /* enum salvo_code */
    uint8_t stored; /* enum salvo_stored */
    uint8_t tries;
    uint8_t has_offset;  /* 1: offsets and store address; 2: of an IPv6 host, store_ip is its
                            number in the submitter's hosts */
    int16_t broker_code; /* response codes are below 2,000 */
    uint16_t store_port; /* as in the offset message id */
    int32_t queueId;
    uint16_t broker; /* small number; UINT16_MAX: none */
    uint16_t detail; /* index + 1 into the detail table; 0: none */
    int64_t queue_offset;
    int64_t commit_log_offset;
    uint8_t id[SALVO_ID_SIZE];
    uint32_t store_ip; /* as in the offset message id, IPv4 */
    int64_t done_ns;
};
static_assert(sizeof(struct salvo_result_slot) == 64, "nothing between the fields");

/* Results that a lane puts in with one claim. */
#define SALVO_RESULTS_BURST_MAX 16

/* Of the ring that takes messages_out_max results: and what a burst can leave unused at the end of
 * the memory, so that there is always room. */
static inline uint64_t salvo_results_ring_size(uint32_t messages_out_max)
{
    return salvo_power_of_two_up(((uint64_t)messages_out_max + SALVO_RESULTS_BURST_MAX) *
                                 salvo_ring_record_size(sizeof(struct salvo_result_slot)));
}

/* IPv6 hosts that results of one submitter name in their offset message ids. */
#define SALVO_HOSTS_MAX      64
#define SALVO_HOST_TEXT_SIZE 32 /* hex digits */

#define SALVO_DETAILS_MAX 256
#define SALVO_DETAIL_SIZE 256

enum salvo_submitter_state {
    SALVO_SUBMITTER_FREE = 0, /* lane -> anyone: may be opened */
    SALVO_SUBMITTER_TAKEN,    /* being set up by the thread that took it */
    SALVO_SUBMITTER_OPEN,     /* submitting thread -> lane */
    SALVO_SUBMITTER_CLOSING,  /* submitting thread -> lane: forget it, then FREE */
};

/* Whether the file descriptor is to become readable with the next result. Three values: while the
 * lane is about to write, the submitting thread must not arm anew, or the write would make the
 * descriptor readable for a result that was polled already, and nobody would empty it. */
enum salvo_submitter_armed {
    SALVO_SUBMITTER_UNARMED = 0,
    SALVO_SUBMITTER_ARMED,   /* submitting thread: found no results */
    SALVO_SUBMITTER_RINGING, /* lane: about to write, or has just written; then UNARMED */
};

struct salvo_submitter_conf {
    uint32_t index;
    uint64_t ring_size;
    uint32_t messages_out_max;
    uint64_t body_size_max;
    int64_t timeout_ns;
    enum salvo_compression compression;
    int compress_level;
    uint64_t compress_min;
    struct salvo_clock *clock;
    salvo_month_fn *month;
    const uint8_t *ip;
    size_t ip_size;
    uint16_t pid;
    uint32_t mid;
};

struct salvo_msg {
    struct salvo_slot *slot;
    struct salvo_writer properties;
    struct salvo_submitter *submitter;
    const char *error; /* a literal */
    size_t size_max;   /* of the body, as claimed */
    int64_t now_ns;    /* when it was made; 0: commit reads the clock */
    bool has_id;
};

struct salvo_submitter {
    /* fixed after start */
    struct salvo_submitter_conf conf;
    uint8_t *memory; /* message ring, results ring, scratch; used while open */
    uint8_t *results_memory;
    uint8_t *scratch; /* for compression at commit; NULL when there is none */
    struct salvo_compressor *compressor;
    int event_fd;
    const void *owner; /* the sender, for accessors of results */

    /* anyone: see enum salvo_submitter_state */
    alignas(SALVO_CACHE_LINE) _Atomic uint32_t state;
    _Atomic uint32_t lane_index; /* written before OPEN */

    /* submitting thread only */
    alignas(SALVO_CACHE_LINE) struct salvo_lane_port *port;
    struct salvo_id_source ids;
    struct salvo_msg msg;
    uint64_t committed;
    uint64_t polled;
    uint64_t released;        /* of these, whose room the lane has back */
    bool polling;             /* a result is with its callback */
    uint32_t failures_polled; /* results polled that do not say "stored" */
    int64_t wall_ms; /* wall clock when mono stood at wall_read_ns: read anew every millisecond */
    int64_t wall_read_ns;
    int64_t now_checked_ns; /* the last reading of the caller's that was held against the clock */
    bool event_fd_wanted;   /* somebody asked for the descriptor: it is armed from then on */
    _Atomic(uint32_t) *draining; /* the sender's: inputs are closed */

    /* both: one producer, one consumer each */
    struct salvo_ring messages;
    struct salvo_ring results;

    /* lane -> submitting thread: detail texts; an entry is free again when its result was polled */
    alignas(SALVO_CACHE_LINE) uint64_t details_used; /* lane only */
    alignas(SALVO_CACHE_LINE) _Atomic uint64_t details_polled;
    char (*details)[SALVO_DETAIL_SIZE];

    /* lane -> submitting thread: each host once; read behind a result that names it */
    char (*hosts)[SALVO_HOST_TEXT_SIZE];
    uint32_t hosts_count; /* lane only */

    /* both: see enum salvo_submitter_armed */
    alignas(SALVO_CACHE_LINE) _Atomic uint32_t armed;

    /* lane only */
    alignas(SALVO_CACHE_LINE) bool results_dirty; /* results committed and not published */
    uint32_t next_dirty;
    struct salvo_failures failures;
};

/* Bytes of arena memory one submitter takes. */
size_t salvo_submitter_memory_size(const struct salvo_submitter_conf *conf);

/* At start; memory of the size above, 64-byte aligned. 0, -ENOMEM or -EMFILE. */
int salvo_submitter_init(struct salvo_submitter *s, const struct salvo_submitter_conf *conf,
                         void *memory, const void *owner, _Atomic(uint32_t) *draining);
void salvo_submitter_deinit(struct salvo_submitter *s);

/* Takes a free submitter for a lane: true when it was free. Thread: any. */
bool salvo_submitter_take(struct salvo_submitter *s, struct salvo_lane_port *port);

/* --- submitting thread: what salvo.h promises ------------------------------------------------- */

int salvo_submitter_claim(struct salvo_submitter *s, uint32_t topic, size_t size_max,
                          struct salvo_msg **ret_msg);
int salvo_submitter_commit(struct salvo_msg *m, size_t size, uint64_t cookie);
void salvo_submitter_abort(struct salvo_msg *m);
int salvo_submitter_set_property(struct salvo_msg *m, const char *name, const char *value,
                                 bool reserved_too);
int salvo_submitter_set_now(struct salvo_msg *m, int64_t now_ns);
/* The result at the front, or NULL (and the file descriptor, once asked for, is armed). Ends with
 * _result_done, once for each; what is committed in between knows of it. */
const struct salvo_result_slot *salvo_submitter_result(struct salvo_submitter *s);
void salvo_submitter_result_done(struct salvo_submitter *s, const struct salvo_result_slot *result);
void salvo_submitter_results_release(struct salvo_submitter *s);
/* The descriptor, armed. Who never asks does not pay for it: two system calls each time the results
 * run out. */
int salvo_submitter_fd(struct salvo_submitter *s);

/* --- lane ------------------------------------------------------------------------------------- */

/* Room for 1 to SALVO_RESULTS_BURST_MAX results; never fails. Commit follows. */
static inline void salvo_submitter_results_claim(struct salvo_submitter *s, uint32_t count,
                                                 struct salvo_ring_burst *ret_burst)
{
    uint64_t size = count * salvo_ring_record_size(sizeof(struct salvo_result_slot));
    int r;

    salvo_assert(count <= SALVO_RESULTS_BURST_MAX);
    r = salvo_ring_claim_burst(&s->results, size, ret_burst);
    salvo_assert(r == 0); /* claim on the other side keeps fewer messages out than there is room */
}
static inline struct salvo_result_slot *salvo_submitter_result_next(struct salvo_ring_burst *burst)
{
    return salvo_ring_burst_next(burst, sizeof(struct salvo_result_slot));
}
static inline void salvo_submitter_results_commit(struct salvo_submitter *s,
                                                  const struct salvo_ring_burst *burst)
{
    salvo_ring_commit_burst(&s->results, burst);
    s->results_dirty = true;
}
/* Keeps a detail text for a result: index + 1, or 0 when the table is full. */
uint16_t salvo_submitter_detail(struct salvo_submitter *s, const char *text, size_t size);
/* The number of an IPv6 host, or -1 when the table is full. */
int salvo_submitter_host(struct salvo_submitter *s, const char text[SALVO_HOST_TEXT_SIZE]);
/* Publishes what was committed and makes the file descriptor readable when that is wanted. */
void salvo_submitter_results_publish(struct salvo_submitter *s);
