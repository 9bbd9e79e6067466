/* A lane: one pinned data thread with its rings, connections, buffers and network backend.
 *
 * salvo_lane_do_work (lane.c) is one turn and shows the whole machine; lane_send.c puts messages
 * into frames, lane_answer.c turns answers, deadlines and deaths into results. A lane never
 * allocates, blocks, locks or logs. Owner: the thread that turns it; salvo_assert_on_lane() checks.
 */
#pragma once

#include "base/arena.h"
#include "base/counters.h"
#include "base/cpu.h"
#include "base/hist.h"
#include "base/random.h"
#include "codec/compress.h"
#include "dataplane/batch.h"
#include "dataplane/chunk.h"
#include "dataplane/conn.h"
#include "dataplane/inflight.h"
#include "dataplane/lane_port.h"
#include "dataplane/retry.h"
#include "dataplane/select.h"
#include "dataplane/submitter.h"

/* Bounds of one turn's stages: enough to amortise a turn, small enough that none starves the
 * others. Messages: a flush costs some 10 to 20 us however little it carries; of 256, 512 and 1,024
 * the second was a tenth cheaper a message than the first, the third hardly better, and the latency
 * of a lane at its limit doubles with each. */
#define SALVO_LANE_COMMANDS_PER_CYCLE 8
#define SALVO_LANE_EVENTS_PER_CYCLE   64
#define SALVO_LANE_EXPIRED_PER_CYCLE  256
#define SALVO_LANE_WAITING_PER_CYCLE  64
#define SALVO_LANE_MESSAGES_PER_CYCLE 512
/* Bytes of bodies handed to the compressor, the last body not cut: ISA-L takes 2 to 3 ns for each.
 */
#define SALVO_LANE_COMPRESS_PER_CYCLE SALVO_KIB(256)

/* Bytes of the rings from and to control: some 500 commands and 2,000 events. */
#define SALVO_LANE_COMMANDS_RING SALVO_KIB(64)
#define SALVO_LANE_EVENTS_RING   SALVO_KIB(256)

struct salvo_lane_conf {
    uint32_t lane_index;
    struct salvo_clock *clock;
    struct salvo_net *net;
    struct salvo_mirror *mirror; /* the net's; NULL: it has none */
    struct salvo_submitter
        *submitters; /* all of the sender's; those bound here are found by state */
    uint32_t submitters_max;
    _Atomic(uint32_t) *submitters_epoch; /* goes up when one was opened or closed */
    salvo_availability *availability;
    salvo_counter *counters;
    struct salvo_hist *latency; /* sent to answered, ns; NULL: not kept */
    uint64_t seed;

    /* sizes */
    uint32_t requests_max;
    uint32_t items_max;
    uint32_t chunks_max;
    uint32_t chunk_size;
    bool zero_copy; /* the net may send without copying, see zero_copy_min */
    uint32_t chunks_reserve;
    uint32_t topics_max;
    uint32_t brokers_max;
    uint32_t queues_max;
    uint32_t gather_max;     /* largest answer */
    uint32_t frame_size_max; /* largest frame with header, for the scratch */
    uint32_t window;         /* requests in flight to one broker from this lane */
    uint32_t streams_max;    /* control's connections carried; 0: none */

    /* behaviour */
    enum salvo_header_form form;
    struct salvo_batch_limits batch;
    enum salvo_compression compression;
    int compress_level;
    int32_t compressed_sysflag; /* what a compressed body's header says */
    uint64_t compress_min;
    uint32_t tries_max;
    int64_t try_timeout_ns; /* 0: a third of the budget */
    bool retry_not_stored_ok;
    int64_t connect_timeout_ns;
    int64_t heartbeat_ns;
};

/* Ordered sends: one request in flight on a queue, what follows waits in line. */
struct salvo_lane_line {
    uint32_t busy; /* the request whose turn it is; SALVO_REQUEST_NONE */
    uint32_t head;
    uint32_t tail;
};

struct salvo_request_list {
    uint32_t head;
    uint32_t tail;
    uint32_t count;
};

struct salvo_lane {
    /* fixed after start */
    struct salvo_lane_conf conf;
    struct salvo_net *net;
    uint8_t *scratch; /* frame_size_max: large headers, bodies in one piece */
    uint8_t *compress_scratch;
    struct salvo_compressor *compressor;
    uint32_t *submitters_mine; /* indices of those open on this lane */
    struct salvo_lane_stream *streams;
    struct salvo_net *control_net; /* to wake control with; NULL: nobody sleeps there */
    _Atomic(uint32_t) *control_asleep;

    /* lane only */
    alignas(SALVO_CACHE_LINE) uint32_t owner; /* thread id; 0: not turned yet */
    uint32_t submitters_epoch_seen;
    uint32_t submitters_count;
    uint32_t submitter_next; /* where this turn's round starts */
    uint32_t dirty_first;    /* submitters with results to publish */
    uint32_t failures;       /* of ordered messages, those that ended at once for one; runs free */
    const struct salvo_route *route; /* this turn only */
    uint64_t route_epoch;            /* of the last turn's snapshot */
    struct salvo_chunk_pool chunks;
    struct salvo_inflight inflight;
    struct salvo_conn *conns;          /* by broker number */
    struct salvo_answer_mould *moulds; /* by broker number */
    struct salvo_conn parking;         /* keeps what waits; never connected */
    /* By queue number; behind them one for each topic: bound messages whose queue is not known yet.
     */
    struct salvo_lane_line *lines;
    struct salvo_select select;
    struct salvo_batches batches;
    struct salvo_request_list waiting; /* may be sent as soon as a connection takes them */
    uint32_t lined;                    /* requests in lines, behind others of their queue */
    struct salvo_random random;
    uint32_t *touched; /* brokers whose connection was written to this turn */
    uint32_t touched_count;
    uint32_t chunks_share;    /* chunks one connection may hold */
    bool chunks_gathered;     /* this turn: those that idle connections held */
    int64_t *route_wanted_ns; /* by topic: when control was last asked */
    int64_t tend_at_ns;       /* connections want looking after */
    int64_t waiting_at_ns;    /* not before: a paused retry */
    int64_t rings_held_ns;    /* deadline of the first message that no ring could give */
    bool ring_has_more;       /* this turn's bound was reached before the rings were empty */
    uint64_t compressed;      /* bytes handed to the compressor this turn */
    uint32_t unbound;         /* requests in the lines of topics */
    bool bind_again;          /* of a topic that has a route, for want of room: in the next turn */
    bool waiting_dirty;       /* something changed that may let waiting requests go */
    uint32_t waiting_unseen;  /* those at the front that were not looked at since it did */
    uint64_t open;            /* messages taken and without a result */
    int64_t drain_at_ns;      /* INT64_MAX: not draining; inputs are closed */
    bool drain_late;          /* something was given up for it */
    bool drained_wanted;
    bool close_wanted;      /* a connection is to be closed when the events are through */
    bool streams_wanted;    /* a stream may have room again */
    int64_t answer_ns;      /* from a request to its answer: the last one; 0: none yet */
    struct salvo_born born; /* when this turn began: bornTimestamp of its frames */
    struct salvo_net_event events[SALVO_LANE_EVENTS_PER_CYCLE];

    /* control -> lane, lane -> control */
    struct salvo_lane_port port;
};

#define salvo_assert_on_lane(lane) salvo_assert((lane)->owner == salvo_thread_id())

/* Bytes of arena memory a lane takes, all but chunks and batch buffers; the formula is the sum in
 * lane_layout. */
size_t salvo_lane_memory_size(const struct salvo_lane_conf *conf);
/* Bytes of the memory that the net registers: chunks, and the buffers of open batches, which may
 * become chunks. */
size_t salvo_lane_chunks_memory_size(const struct salvo_lane_conf *conf);
/* Whether a batch's buffer may be exchanged for a chunk, when it fills at least a part of one; not
 * beside zero copy, which takes a frame in one piece. */
#define SALVO_LANE_EXCHANGE_PART 4
bool salvo_lane_exchanges(const struct salvo_lane_conf *conf);
/* Bytes of one such buffer: a chunk's when it may be exchanged, else the longest batch's. */
size_t salvo_lane_batch_room(const struct salvo_lane_conf *conf);

/* Before start. chunks_memory: of the size above, the memory that the net registered. The
 * compressor is made here. 0 or -ENOMEM. */
int salvo_lane_init(struct salvo_lane *lane, const struct salvo_lane_conf *conf,
                    struct salvo_arena *arena, uint8_t *chunks_memory);
/* Before the first turn: whom to wake with events. Without, nobody sleeps there. */
void salvo_lane_tells(struct salvo_lane *lane, struct salvo_net *control_net,
                      _Atomic(uint32_t) *control_asleep);
/* After the last turn; the net has been destroyed. */
void salvo_lane_deinit(struct salvo_lane *lane);

/* One turn. Bounded. Returns the work done; 0 lets the caller idle. */
int salvo_lane_do_work(struct salvo_lane *lane);

/* How long until something is due by itself, in ns from now: 0 at once, INT64_MAX never. */
int64_t salvo_lane_next_ns(const struct salvo_lane *lane, int64_t now_ns);

/* Requests whose answer is awaited. */
uint64_t salvo_lane_outstanding(const struct salvo_lane *lane);

/* Sleeps in the net's wait. Announced (`asleep`): submitters and control wake it, and it does not
 * sleep when something is there already; unannounced: only answers and the time-out end it. */
void salvo_lane_sleep(struct salvo_lane *lane, unsigned events_min, int64_t gather_ns,
                      int64_t timeout_ns, bool announced);

/* The same, announced, for lanes that one thread turns: in the net of the first, which the ports of
 * all of them wake. */
void salvo_lanes_sleep(struct salvo_lane *const *lanes, uint32_t lanes_count, int64_t timeout_ns);

/* What must hold when nothing is open: no request, item, or chunk in use, nothing waiting. For
 * tests and the simulator, after a drain and with all connections gone. NULL, or a literal saying
 * what is left. */
const char *salvo_lane_leftovers(const struct salvo_lane *lane);
