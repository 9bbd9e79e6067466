/* What the files of the mock share. The map:
 *
 *   mock.c             handle, thread, lock, start and stop, statistics
 *   mock_open.c        nets, listeners, addresses
 *   mock_turn.c        do_work: events of the nets -> connections; what falls due
 *   mock_conn.c        a connection: input gathered into frames, output chunks
 *   mock_answer.c      a whole frame -> fault? -> nameserver or broker -> answer, on time or late
 *   mock_nameserver.c  routes            mock_topic.c   topics, on brokers and in routes
 *   mock_broker.c      the other requests of a broker
 *   mock_send.c        checks of a send, storing, its answer
 *   mock_fast.c        answer_only
 *   mock_stored.c      what was stored
 *   mock_fault.c       steps             mock_script.c  their text
 *
 * Everything here is called with the mock's lock held; the nets are touched by the turning thread
 * alone. */
#pragma once

#include "base/assert.h"
#include "base/bytes.h"
#include "base/error.h"
#include "codec/frame.h"
#include "codec/header.h"
#include "mock/mock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOCK_GROUPS_MAX 32u /* groups one connection may register; more are ignored */
#define MOCK_CHUNK_SIZE ((uint32_t)SALVO_KIB(64))
/* Output a peer has not taken; behind it the connection is closed. 32 MiB: 2,048 batch answers of
 * 400 ids are 27 MB. */
#define MOCK_OUT_MAX SALVO_MIB(32)
/* An answer: a batch of the largest body lists up to 190,000 ids of 33 bytes. */
#define MOCK_ANSWER_MAX      SALVO_MIB(8)
#define MOCK_LATE_MAX        65536u /* answers waiting for their time */
#define MOCK_LATE_BYTES_MAX  SALVO_MIB(256)
#define MOCK_FREE_CHUNKS_MAX 256u /* kept for the next connection */
#define MOCK_ID_SIZE         32u  /* of an offset message id (IPv4) */
#define MOCK_EVENTS_PER_TURN 256u

/* --- connections ------------------------------------------------------------------------------ */

struct mock_chunk {
    struct mock_chunk *next;
    uint32_t size; /* written */
    uint32_t sent; /* taken by the net */
    uint32_t released;
    uint8_t bytes[MOCK_CHUNK_SIZE];
};

/* Received bytes that wait because the host is silent or slow; the net's buffer is kept with them.
 */
struct mock_held {
    struct mock_held *next;
    const uint8_t *bytes;
    uint32_t size;
    uint32_t at;
    uint32_t buffer;
};

enum mock_conn_state { MOCK_CONN_FREE, MOCK_CONN_UP, MOCK_CONN_DOWN };

/* answer_only: where in a frame the stream is. */
struct mock_fast_state {
    uint64_t body_left; /* of the send being skipped */
    uint32_t item_left; /* of the batch item */
    uint32_t items;
    uint32_t size_bytes; /* of the item's totalSize gathered so far, 0 to 3 */
    uint32_t size;
    int32_t opaque;
    bool in_body;
    bool batch;
    bool oneway;
    enum salvo_header_form form;
};

struct mock_conn {
    enum mock_conn_state state;
    uint32_t index;
    uint32_t generation; /* of the slot: a late answer must not reach a successor */
    uint32_t host;
    uint32_t link;
    int64_t last_ns; /* traffic */

    bool has_cookie;
    bool closing;             /* in mock->to_close, or net_close was called */
    bool close_when_released; /* after what is written has gone */
    bool out_blocked;         /* send took less; RELEASED says when */
    bool listed;              /* in mock->to_send */

    uint8_t *in; /* front of a frame that is not whole */
    size_t in_size;
    size_t in_max;
    bool in_ordinary; /* kept the ordinary way, and so it ends, whatever the faults do meanwhile */
    struct mock_held *held_first, *held_last;
    uint32_t held_count;
    bool held_lost;      /* bytes were thrown away: closed when the silence ends */
    uint32_t slow_times; /* the host's, when the next two were set */
    int64_t slow_from_ns;
    int64_t slow_taken;

    struct mock_chunk *out_first, *out_last, *out_send;
    size_t out_size; /* written and not released */
    struct mock_fast_state fast;

    uint64_t groups[MOCK_GROUPS_MAX]; /* digests of the names registered by heartbeat */
    uint32_t groups_count;
};

/* --- hosts, topics, faults -------------------------------------------------------------------- */

struct mock_host {
    struct salvo_net *net;
    bool nameserver;
    uint32_t broker; /* index, when it is one */
    bool down;
    struct salvo_endpoint endpoint;
    char address[80];
    uint32_t faults;         /* steps that could hit it */
    int64_t silent_until_ns; /* 0: not */
    int64_t slow_until_ns;
    uint32_t slow_rate;
    uint32_t slow_times; /* how often it has become slow */
};

struct mock_broker {
    char name[SALVO_MOCK_NAME_MAX];
    char cluster[SALVO_MOCK_NAME_MAX];
    bool in_routes;
    bool slave_only;
    char lie_address[80];
    uint32_t perm;
    int64_t commit_log_offset;
};

/* A topic on one broker. */
struct mock_topic_part {
    bool present;
    uint32_t queues;
    uint32_t perm;
    uint32_t lie_queues; /* SALVO_MOCK_ALL: none */
    uint32_t lie_perm;
    int64_t *offsets; /* of each queue; kept when the topic goes and comes back */
    uint32_t offsets_count;
};

struct mock_topic {
    char name[SALVO_MOCK_NAME_MAX];
    uint32_t name_size;
    bool order;
    struct mock_topic_part parts[SALVO_MOCK_BROKERS_MAX];
};

struct mock_late {
    int64_t due_ns;
    uint64_t sequence;
    uint32_t conn;
    uint32_t generation;
    uint8_t *bytes; /* NULL: only close */
    size_t size;
    bool close;
};

/* --- what was stored -------------------------------------------------------------------------- */

struct mock_store {
    struct salvo_mock_stored *records;
    uint32_t *index; /* record + 1 by hash of UNIQ_KEY, linear probing; 0: empty */
    uint64_t index_mask;
    uint64_t used;
    uint64_t records_max;
    uint64_t stored; /* order of the next */
    uint64_t first;  /* order of records[0] */
};

/* --- the mock --------------------------------------------------------------------------------- */

/* An answer in the making. Text of `header` points into the request or into mock->text. */
struct mock_answer {
    bool none;
    struct salvo_header header;
    const uint8_t *body;
    uint32_t body_size;
};

/* The request in hand. */
struct mock_request {
    struct mock_conn *conn;
    struct salvo_frame frame;
    struct salvo_header header;
    bool oneway;
};

struct mock_template {
    uint8_t bytes[512];
    uint32_t size;
    uint32_t opaque_at;
    uint32_t ids_at; /* where the msgId value begins; it has MOCK_ID_SIZE bytes */
};

struct salvo_mock {
    /* fixed after start */
    struct salvo_mock_conf conf;
    struct salvo_clock *clock;
    bool own_net;
    bool started;
    const char *net_note;
    char nameserver_address[SALVO_MOCK_NAMESERVERS_MAX * 80];
    uint32_t hosts_count;
    struct mock_template templates[2];
    char *ids; /* comma list of msgIds for answer_only */
    uint32_t ids_max;
    struct mock_thread *thread; /* mock.c */

    /* under the lock */
    struct mock_host hosts[SALVO_MOCK_HOSTS_MAX];
    struct mock_broker brokers[SALVO_MOCK_BROKERS_MAX];
    struct mock_topic topics[SALVO_MOCK_TOPICS_MAX];
    uint32_t topics_count;
    bool auto_create;
    struct mock_store store;
    struct salvo_mock_stats stats;
    struct salvo_mock_fault faults[SALVO_MOCK_FAULTS_MAX];
    uint32_t faults_count;
    uint64_t fault_hits[SALVO_MOCK_FAULT_KINDS];

    /* the turning thread only */
    struct mock_conn *conns;
    uint32_t *conns_free;
    uint32_t conns_free_count;
    uint32_t *to_send; /* connections with output */
    uint32_t to_send_count;
    uint32_t *to_close; /* each at most once, and once more for each accepted since */
    uint32_t to_close_count;
    uint32_t fresh[MOCK_EVENTS_PER_TURN]; /* accepted in this poll */
    uint32_t fresh_count;
    uint32_t refused[MOCK_EVENTS_PER_TURN]; /* links; SALVO_NET_LINK_NONE: gone already */
    uint32_t refused_count;
    uint32_t held_total;
    bool look_at_hosts; /* one went down */
    struct mock_chunk *chunks_free;
    uint32_t chunks_free_count;
    int64_t now_ns;
    int64_t idle_look_ns;
    struct mock_late *late; /* binary heap by (due, sequence) */
    uint32_t late_count;
    size_t late_bytes;
    uint64_t late_sequence;
    struct mock_request request;
    struct mock_answer answer;
    struct salvo_writer text;
    uint8_t *text_bytes; /* MOCK_ANSWER_MAX: texts and bodies of the answer in the making */
    uint8_t *wire;       /* MOCK_ANSWER_MAX + 64 KiB: its frame */
    uint8_t *scratch;    /* header text whose escapes were undone */
    size_t scratch_size;
    uint8_t *inflated;  /* body_size_max + 1 */
    uint64_t generated; /* UNIQ_KEYs made for messages without one */
    char generated_key[40];
    struct salvo_net_event events[MOCK_EVENTS_PER_TURN];
};

#define MOCK_WIRE_MAX (MOCK_ANSWER_MAX + SALVO_KIB(64))

/* mock.c */
void mock_lock(struct salvo_mock *mock);
void mock_unlock(struct salvo_mock *mock);
/* After a change that the turning thread should look at. */
void mock_wake(struct salvo_mock *mock);

/* mock_turn.c */
int mock_turn(struct salvo_mock *mock);
int64_t mock_next_ns(struct salvo_mock *mock);
/* Gives back the buffers of a silent or slow host's connection. */
void mock_turn_drop_held(struct salvo_mock *mock, struct mock_conn *conn);

/* mock_open.c */
#define MOCK_COOKIE_LISTENER (UINT64_C(1) << 63) /* and the host's number */
/* Opens what has to be opened and listens. errbuf as in salvo_mock_start. */
int mock_open(struct salvo_mock *mock, char *errbuf, size_t errbuf_size);
void mock_close(struct salvo_mock *mock);

/* mock_conn.c */
/* Takes a slot; there is one. */
struct mock_conn *mock_conn_accepted(struct salvo_mock *mock, uint32_t host, uint32_t link);
/* Bytes of the stream; nothing of them is referred to after return. False: the connection is done
 * for. */
bool mock_conn_take(struct salvo_mock *mock, struct mock_conn *conn, const uint8_t *bytes,
                    size_t size);
void mock_conn_released(struct salvo_mock *mock, struct mock_conn *conn, uint64_t bytes);
void mock_conn_gone(struct salvo_mock *mock, struct mock_conn *conn);
void mock_conn_close(struct salvo_mock *mock, struct mock_conn *conn);
/* Room for a piece of at most MOCK_CHUNK_SIZE, to be committed; NULL: the peer does not read,
 * closed. */
uint8_t *mock_conn_reserve(struct salvo_mock *mock, struct mock_conn *conn, uint32_t size);
void mock_conn_commit(struct salvo_mock *mock, struct mock_conn *conn, uint32_t size);
void mock_conn_write(struct salvo_mock *mock, struct mock_conn *conn, const uint8_t *bytes,
                     size_t size);
void mock_conn_close_when_released(struct salvo_mock *mock, struct mock_conn *conn);
/* Offers the output to the net. */
void mock_conn_send(struct salvo_mock *mock, struct mock_conn *conn);

/* mock_answer.c: a whole frame. False: it made no sense. */
bool mock_answer_frame(struct salvo_mock *mock, struct mock_conn *conn,
                       const struct salvo_frame *frame);
void mock_answer_late(struct salvo_mock *mock);
void mock_answer_late_forget(struct salvo_mock *mock);
/* Sets code and remark (copied; NULL: none) of the answer in the making. */
void mock_answer_code(struct salvo_mock *mock, int32_t code, const char *remark, ...)
    SALVO_PRINTF(3, 4);
void mock_answer_add(struct salvo_mock *mock, const char *key, struct salvo_text value);
/* In decimal digits, which live until the answer is written. */
struct salvo_text mock_answer_number(struct salvo_mock *mock, int64_t value);

/* mock_nameserver.c, mock_broker.c, mock_send.c: fill mock->answer for mock->request. */
void mock_nameserver_request(struct salvo_mock *mock);
void mock_broker_request(struct salvo_mock *mock);
void mock_send_request(struct salvo_mock *mock);
void mock_unknown_code(struct salvo_mock *mock);
int32_t mock_version(enum salvo_mock_generation generation);

/* mock_fast.c */
int mock_fast_init(struct salvo_mock *mock);
/* Takes from the front of the stream what it can: returns how many bytes, 0 for "not mine, or more
 * is needed"; SIZE_MAX: makes no sense. */
size_t mock_fast_take(struct salvo_mock *mock, struct mock_conn *conn, const uint8_t *bytes,
                      size_t size);
/* How many bytes more it would like to see behind the `size` kept ones; SIZE_MAX: the whole frame.
 */
size_t mock_fast_need(const uint8_t *bytes, size_t size);
static inline bool mock_fast_on(const struct salvo_mock *mock, const struct mock_conn *conn)
{
    const struct mock_host *host = &mock->hosts[conn->host];

    return mock->conf.answer_only && !host->nameserver && !conn->in_ordinary &&
           (host->faults == 0 || conn->fast.in_body);
}

/* mock_topic.c */
struct mock_topic *mock_topic_find(struct salvo_mock *mock, const char *name, size_t name_size);
/* Finds or makes. NULL: the table is full or the name too long. */
struct mock_topic *mock_topic_get(struct salvo_mock *mock, const char *name, size_t name_size);
/* -EINVAL, -ENOMEM. */
int mock_topic_part_set(struct mock_topic_part *part, uint32_t queues, uint32_t perm);
int mock_topic_init(struct salvo_mock *mock);
void mock_topic_deinit(struct salvo_mock *mock);

/* mock_stored.c */
int mock_store_init(struct mock_store *store, uint32_t records_max);
void mock_store_deinit(struct mock_store *store);
/* record->order is set here; the rest is the caller's. */
void mock_store_add(struct salvo_mock *mock, struct salvo_mock_stored *record);

/* mock_fault.c: the step that hits this request, its hit counted; false: none. */
bool mock_fault_match(struct salvo_mock *mock, uint32_t host, int32_t request,
                      struct salvo_mock_fault *ret_fault);
int mock_fault_add(struct salvo_mock *mock, const struct salvo_mock_fault *fault);
/* Takes the steps from `count` on out again. */
void mock_fault_truncate(struct salvo_mock *mock, uint32_t count);
int mock_host_find(struct salvo_mock *mock, const char *name, uint32_t *ret_host);
