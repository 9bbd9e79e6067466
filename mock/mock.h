/* The mock cluster: n nameservers and m brokers in one process, for tests, the simulator, `salvo
 * load` without a cluster, and `salvo mock`.
 *
 * It speaks the protocol as RocketMQ 4.7.1, 4.9.7 or 5.3.3 was seen to (docs/PROTOCOL.md), checks a
 * send as a broker does and more strictly where a broker would store rubbish, remembers what it
 * stored, and misbehaves by script. A hostile client costs one connection.
 *
 *   struct salvo_mock_conf conf;
 *   struct salvo_mock *mock;
 *
 *   salvo_mock_conf_default(&conf);
 *   conf.brokers = 2;
 *   conf.topics[conf.topics_count++] = (struct salvo_mock_topic){.name = "T", .queues = 4};
 *   r = salvo_mock_new(&conf, &mock, errbuf, sizeof(errbuf));
 *   r = salvo_mock_start_thread(mock, errbuf, sizeof(errbuf));     its own thread
 *   r = salvo_mock_start(mock, errbuf, sizeof(errbuf));            or: then
 * salvo_mock_do_work(mock)...
 *   ... salvo_mock_nameserver_address(mock) ...
 *   salvo_mock_stop(mock);  ... salvo_mock_stored_find() and the like still answer ...
 *   salvo_mock_free(mock);
 *
 * Hosts: nameservers are hosts 0 to n-1, brokers n to n+m-1. Faults and nets name them by that
 * number.
 *
 * Thread: with start_thread the mock has its own, and every call below but start, stop, free,
 * do_work and wait may be made by any thread (a lock is taken). Without, one thread makes all
 * calls. */
#pragma once

#include "base/clock.h"
#include "codec/remoting.h"
#include "dataplane/net.h"

#define SALVO_MOCK_NAMESERVERS_MAX 8u
#define SALVO_MOCK_BROKERS_MAX     32u
#define SALVO_MOCK_HOSTS_MAX       (SALVO_MOCK_NAMESERVERS_MAX + SALVO_MOCK_BROKERS_MAX)
#define SALVO_MOCK_TOPICS_MAX      256u  /* configured and created later, together */
#define SALVO_MOCK_QUEUES_MAX      1024u /* of a topic on one broker */
#define SALVO_MOCK_NAME_MAX        128u  /* with the terminator; a topic has at most 127 bytes */
#define SALVO_MOCK_REMARK_MAX      160u
#define SALVO_MOCK_FAULTS_MAX      256u

#define SALVO_MOCK_ALL UINT32_MAX /* every broker, or every host */

struct salvo_mock;

/* Which release it behaves like (docs/PROTOCOL.md, "seen on live brokers"). */
enum salvo_mock_generation {
    SALVO_MOCK_5_3_3 = 0, /* default */
    SALVO_MOCK_4_9_7,
    SALVO_MOCK_4_7_1,
};

/* Form of the answers' headers. Real ones: 4.9.7 as the request, the others JSON. */
enum salvo_mock_form {
    SALVO_MOCK_FORM_AS_REQUEST = 0,
    SALVO_MOCK_FORM_JSON,
    SALVO_MOCK_FORM_BINARY,
};

struct salvo_mock_topic {
    char name[SALVO_MOCK_NAME_MAX];
    uint32_t queues; /* read and write, on every broker; 0: 4 */
    uint32_t perm;   /* 0: read and write (6) */
    bool order;      /* the route carries orderTopicConf */
};

struct salvo_mock_conf {
    uint32_t nameservers; /* default 1 */
    uint32_t brokers;     /* default 1 */
    /* Empty: "broker-a", "broker-b", ... "broker-z", "broker-27"; "DefaultCluster". */
    char broker_names[SALVO_MOCK_BROKERS_MAX][SALVO_MOCK_NAME_MAX];
    char clusters[SALVO_MOCK_BROKERS_MAX][SALVO_MOCK_NAME_MAX];

    uint32_t topics_count;
    struct salvo_mock_topic topics[SALVO_MOCK_TOPICS_MAX];
    bool auto_create;            /* default on: TBW102 is there, with INHERIT */
    uint32_t auto_create_queues; /* queues of TBW102; default 8 */

    enum salvo_mock_generation generation;
    enum salvo_mock_form answer_form;

    uint32_t body_size_max;    /* brokers' maxMessageSize; default 4 MiB */
    uint32_t frame_size_max;   /* default SALVO_FRAME_SIZE_MAX */
    uint32_t connections_max;  /* default 1024, all hosts together */
    int64_t idle_close_ms;     /* a connection without traffic is closed; default 120 s, 0: never */
    bool answer_only;          /* sends are counted and answered from a template: no checks, nothing
                                  remembered, queue 0 offset 0; a batch gets one id per item */
    bool answer_one_id;        /* with answer_only: a single id for a batch, whatever it holds */
    bool remember;             /* default on: keep id, digests and order of each stored message */
    uint32_t remember_max;     /* default 1 Mi messages; what comes later is counted as forgotten */
    struct salvo_clock *clock; /* NULL: the system's */

    /* Over kernel sockets. */
    const char *net;               /* "auto" (default), "uring", "epoll" */
    const char *listen_address;    /* default "127.0.0.1" */
    const char *advertise_address; /* in routes and nameserver_address; NULL: the listen address */
    uint16_t port;                 /* of the first host, the others follow; 0: any free ones */
    bool spin;                     /* thread mode: never sleep */
    int cpu;                       /* thread mode: pin there; -1 (default): no */
    uint32_t receive_buffers;      /* default 256 */
    uint32_t receive_buffer_size;  /* default 64 KiB */

    /* Over given nets (the simulator): one per host, in the hosts' order. From salvo_mock_start on
     * they are the mock's, which destroys them in stop; the array is not kept. Nameserver i then is
     * at 10.1.0.(i+1):9876, broker i at 10.2.0.(i+1):10911. NULL: kernel sockets. */
    struct salvo_net *const *nets;
};

void salvo_mock_conf_default(struct salvo_mock_conf *conf);

/* "TOPIC:QUEUES" or "TOPIC" (4 queues), for command lines. 0, or -EINVAL with a sentence in errbuf
 * that says what is wrong and how it should look. */
int salvo_mock_topic_parse(const char *text, struct salvo_mock_topic *ret_topic, char *errbuf,
                           size_t errbuf_size);
/* "4.7.1", "4.9.7", "5.3.3"; "request", "json", "binary". 0 or -EINVAL. */
int salvo_mock_generation_parse(const char *text, enum salvo_mock_generation *ret_generation);
int salvo_mock_form_parse(const char *text, enum salvo_mock_form *ret_form);

/* Checks the configuration and takes the memory. 0, or a negative errno with a sentence in errbuf
 * that names option and remedy. */
int salvo_mock_new(const struct salvo_mock_conf *conf, struct salvo_mock **ret_mock, char *errbuf,
                   size_t errbuf_size);
/* Stops first, if need be; then frees everything. NULL is fine. */
void salvo_mock_free(struct salvo_mock *mock);

/* Listens; clients may connect when it has returned. 0 or a negative errno with a sentence in
 * errbuf. start: the calling thread will also call do_work and stop (a ring of io_uring belongs to
 * one thread). start_thread: a thread of its own turns the mock until stop; kernel sockets only.
 * Once per mock. */
int salvo_mock_start(struct salvo_mock *mock, char *errbuf, size_t errbuf_size);
int salvo_mock_start_thread(struct salvo_mock *mock, char *errbuf, size_t errbuf_size);
/* Ends the thread, all connections and the mock's own nets. What was stored can still be asked. */
void salvo_mock_stop(struct salvo_mock *mock);

/* One turn: takes what came, answers, sends. Returns how much was done. Caller mode only. */
int salvo_mock_do_work(struct salvo_mock *mock);
/* Caller mode over kernel sockets: sleeps until something comes, or at most timeout_ns. */
void salvo_mock_wait(struct salvo_mock *mock, int64_t timeout_ns);
/* When a delayed answer, the end of a silence or a slow read falls due, on the mock's clock;
 * INT64_MAX: nothing planned. A simulation steps to the earlier of this and
 * salvo_sim_world_next_ns(). */
int64_t salvo_mock_next_ns(struct salvo_mock *mock);

/* "host:port;host:port" of the nameservers; lives as long as the mock. */
const char *salvo_mock_nameserver_address(struct salvo_mock *mock);
/* "host:port" of a host. */
const char *salvo_mock_host_address(struct salvo_mock *mock, uint32_t host);
struct salvo_endpoint salvo_mock_host_endpoint(struct salvo_mock *mock, uint32_t host);
/* The host number of "ns0", "b0" or a broker's name; SALVO_MOCK_ALL for "*"; -ENOENT. */
int salvo_mock_host_find(struct salvo_mock *mock, const char *name, uint32_t *ret_host);
uint32_t salvo_mock_host_of_broker(struct salvo_mock *mock, uint32_t broker);
/* Name of the backend in use, and why not the wanted one (a literal, or NULL). */
const char *salvo_mock_net_name(struct salvo_mock *mock, const char **ret_note);

/* --- routes and topics, at run time ----------------------------------------------------------- */

/* These return 0, -ENOENT (no such topic), -EINVAL (a value out of range) or -ENOSPC
 * (SALVO_MOCK_TOPICS_MAX). */

/* Makes the topic, or changes it, on one broker or on all: brokers and route. */
int salvo_mock_topic_set(struct salvo_mock *mock, const char *topic, uint32_t broker,
                         uint32_t queues, uint32_t perm);
int salvo_mock_topic_remove(struct salvo_mock *mock, const char *topic, uint32_t broker);
/* orderTopicConf in the route, from the queue counts. */
int salvo_mock_topic_order(struct salvo_mock *mock, const char *topic, bool order);
/* Lies: the route alone says so many queues and this perm; the broker keeps what it has. queues
 * SALVO_MOCK_ALL: the truth again. */
int salvo_mock_route_lie(struct salvo_mock *mock, const char *topic, uint32_t broker,
                         uint32_t queues, uint32_t perm);
/* The broker is (not) in any route. */
int salvo_mock_route_broker(struct salvo_mock *mock, uint32_t broker, bool present);
/* The route lists only a slave (id 1) for it. */
int salvo_mock_route_slave_only(struct salvo_mock *mock, uint32_t broker, bool on);
/* The address that routes give for it; NULL: the true one. */
int salvo_mock_route_address(struct salvo_mock *mock, uint32_t broker, const char *address);
/* The broker's own permission (brokerPermission): without write an order topic is refused with 16.
 */
int salvo_mock_broker_perm(struct salvo_mock *mock, uint32_t broker, uint32_t perm);
void salvo_mock_auto_create(struct salvo_mock *mock, bool on);
/* A host that is down closes its connections and each new one at once (kernel sockets; simulations
 * have salvo_sim_host_down). */
int salvo_mock_host_down(struct salvo_mock *mock, uint32_t host, bool down);

/* --- faults (mock_fault.c; text form in mock/README.md) --------------------------------------- */

enum salvo_mock_fault_kind {
    SALVO_MOCK_FAULT_CODE, /* answer `code` and `remark`. Codes 10, 11, 12: the message is stored */
    SALVO_MOCK_FAULT_DELAY,   /* the true answer, late by delay_ms */
    SALVO_MOCK_FAULT_DROP,    /* no answer */
    SALVO_MOCK_FAULT_RESET,   /* the connection is closed, no answer */
    SALVO_MOCK_FAULT_HALF,    /* the front half of the answer, then the connection is closed */
    SALVO_MOCK_FAULT_SILENCE, /* the host stops reading and answering for delay_ms; 0: for ever */
    SALVO_MOCK_FAULT_SLOW,    /* from here on the host reads `rate` bytes per second and connection;
                                 for delay_ms, 0: for ever */
    SALVO_MOCK_FAULT_WRONG_OPAQUE, /* the true answer with another opaque */
    SALVO_MOCK_FAULT_TWICE,        /* the true answer, two times */
    SALVO_MOCK_FAULT_NO_EXT,       /* the true answer without ext fields */
    SALVO_MOCK_FAULT_JSON,         /* the true answer in this form */
    SALVO_MOCK_FAULT_BINARY,
    SALVO_MOCK_FAULT_GO_AWAY, /* 1500 "please go away" */
    SALVO_MOCK_FAULT_KINDS
};

/* Which requests: a code, or one of these. */
#define SALVO_MOCK_REQUEST_ANY   0
#define SALVO_MOCK_REQUEST_SENDS (-1) /* 10, 310, 320, 324, 325 */

struct salvo_mock_fault {
    enum salvo_mock_fault_kind kind;
    uint32_t host;    /* or SALVO_MOCK_ALL */
    int32_t request;  /* a request code, or SALVO_MOCK_REQUEST_* */
    uint64_t after;   /* so many matching requests pass first */
    uint64_t count;   /* then so many are hit; 0: all */
    int64_t delay_ms; /* also delays the answers of every other kind that answers */
    int32_t code;
    bool stored;   /* CODE, DROP, RESET, HALF, SILENCE, GO_AWAY: the request is carried out first */
    uint32_t rate; /* SLOW */
    char remark[SALVO_MOCK_REMARK_MAX];
};

/* Appends a step. A request is hit by the first step that matches it and has hits left; steps that
 * are used up are taken out. 0, -ENOSPC, -EINVAL. */
int salvo_mock_fault_add(struct salvo_mock *mock, const struct salvo_mock_fault *fault);
/* Forgets all steps and ends silences and slow reads. */
void salvo_mock_fault_clear(struct salvo_mock *mock);
/* How many requests each kind has hit. */
uint64_t salvo_mock_fault_hits(struct salvo_mock *mock, enum salvo_mock_fault_kind kind);
/* Reads a script and appends its steps, all or none. 0, or -EINVAL with "line N: what is wrong;
 * remedy" in errbuf. */
int salvo_mock_script(struct salvo_mock *mock, const char *text, size_t size, char *errbuf,
                      size_t errbuf_size);

/* --- what was stored -------------------------------------------------------------------------- */

struct salvo_mock_stored {
    uint64_t order; /* 0, 1, 2...: over all brokers, as they stored */
    uint32_t broker;
    int32_t queue;
    int64_t offset; /* in its queue */
    int64_t commit_log_offset;
    uint64_t body_digest;       /* salvo_mock_digest() of the body, decompressed */
    uint64_t properties_digest; /* of the property string as received (a batch item: its own) */
    uint32_t body_size;         /* decompressed */
    uint32_t properties_size;
    int32_t sysFlag;
    int32_t flag;
    int64_t bornTimestamp;
    uint16_t topic; /* index; salvo_mock_topic_name() */
    bool batch;     /* came in a batch */
    uint8_t uniq_key_size;
    char uniq_key[SALVO_UNIQ_KEY_SIZE_MAX + 1]; /* terminated; empty: there was none */
};

/* The digest used above: 64 bits, not for secrets. */
uint64_t salvo_mock_digest(const void *bytes, size_t size);

/* How many are remembered, and how many were stored in all (also forgotten and answer_only ones).
 */
uint64_t salvo_mock_stored_remembered(struct salvo_mock *mock);
uint64_t salvo_mock_stored_count(struct salvo_mock *mock);
/* Copies the message of this order number. 0 or -ENOENT. */
int salvo_mock_stored_at(struct salvo_mock *mock, uint64_t order,
                         struct salvo_mock_stored *ret_stored);
/* How many times this UNIQ_KEY is stored; copies at most stored_max of them, the first stored
 * first. */
uint32_t salvo_mock_stored_find(struct salvo_mock *mock, const char *uniq_key,
                                struct salvo_mock_stored *ret_stored, uint32_t stored_max);
/* Calls each (NULL: only counts) for every message of a queue, by offset. Returns how many. The
 * mock's lock is held: do not call the mock from inside. */
typedef void salvo_mock_stored_fn(void *arg, const struct salvo_mock_stored *stored);
uint64_t salvo_mock_stored_each(struct salvo_mock *mock, const char *topic, uint32_t broker,
                                int32_t queue, salvo_mock_stored_fn *each, void *arg);
/* The next offset of a queue; -ENOENT. */
int64_t salvo_mock_queue_offset(struct salvo_mock *mock, const char *topic, uint32_t broker,
                                int32_t queue);
const char *salvo_mock_topic_name(struct salvo_mock *mock, uint16_t topic);
/* Forgets what is remembered; offsets go on. */
void salvo_mock_stored_clear(struct salvo_mock *mock);

/* Connections of this broker on which the group is registered by heartbeat. */
uint32_t salvo_mock_group_connections(struct salvo_mock *mock, uint32_t broker, const char *group);

/* --- statistics ------------------------------------------------------------------------------- */

struct salvo_mock_stats {
    uint64_t connections_accepted;
    uint64_t connections_now;
    uint64_t connections_refused; /* over connections_max, or the host is down */
    uint64_t connections_bad;     /* closed for a frame that makes no sense */
    uint64_t connections_unread;  /* closed because the peer did not read its answers */
    uint64_t connections_idle;    /* closed by idle_close_ms */
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t requests; /* frames understood */
    uint64_t sends;    /* among them: send requests */
    uint64_t batches;  /* among them: batches */
    uint64_t messages; /* stored; answer_only: counted */
    uint64_t oneways;
    uint64_t routes; /* route requests */
    uint64_t heartbeats;
    uint64_t heartbeats_empty; /* without groups: a data connection's keep-alive */
    uint64_t unregisters;
    uint64_t unknown_codes;
    uint64_t topics_created; /* from TBW102 */
    uint64_t refused;        /* sends answered with an error by a check */
    uint64_t faults;         /* requests hit by a step */
    uint64_t forgotten;      /* stored and not remembered */
};

void salvo_mock_stats(struct salvo_mock *mock, struct salvo_mock_stats *ret_stats);
/* Some readable lines of the above, with a terminator; never more than `size`. Returns the length.
 */
size_t salvo_mock_stats_text(struct salvo_mock *mock, char *ret_text, size_t size);
