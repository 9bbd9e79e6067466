/* The cases of bench/micro/dataplane.cc. */
#include "bench/micro/dataplane_cases.h"

#include "base/arena.h"
#include "base/cpu.h"
#include "base/hist.h"
#include "dataplane/batch.h"
#include "dataplane/retry.h"
#include "dataplane/select.h"
#include "dataplane/submitter.h"

#include <sched.h>
#include <stdlib.h>

#define RING_SIZE SALVO_KIB(64)
#define BURST     8
#define SLOT_SIZE 128
/* A turn of a spinning lane that finds nothing, and with that how long until it looks into the ring
 * again: by io_uring; 114 ns by the null backend, 441 by epoll (lane_cycles of `salvo stat`). Who
 * looks more often takes the tail's line from the producer for nearly each record. */
#define LANE_TURN_NS 123

static uint64_t sink; /* so that nothing read is left out */

void dataplane_forbid_allocation(int forbidden)
{
    salvo_alloc_forbid(forbidden != 0);
}

/* --- ring ------------------------------------------------------------------------------------- */

static struct salvo_ring ring;
static _Alignas(64) uint8_t ring_memory[RING_SIZE];
static struct salvo_lane_port port; /* nobody sleeps there */
static pthread_t consumer;
static _Atomic bool consumer_stop;
static size_t item_size;
static unsigned consumer_pauses; /* between two looks into an empty ring */

static void ring_begin_8(void)
{
    item_size = 8;
    salvo_ring_init(&ring, ring_memory, RING_SIZE, 0);
}

static void ring_begin_128(void)
{
    item_size = SLOT_SIZE;
    salvo_ring_init(&ring, ring_memory, RING_SIZE, 0);
}

/* Fills a claimed item, all of it. */
static inline void fill(void *payload, size_t size, uint64_t value)
{
    uint64_t *words = payload;

    for (size_t i = 0; i < size / 8; i++)
        words[i] = value + i;
}

static inline uint64_t read_all(const void *payload, size_t size)
{
    const uint64_t *words = payload;
    uint64_t sum = 0;

    for (size_t i = 0; i < size / 8; i++)
        sum += words[i];
    return sum;
}

/* As many items as there are, at most `max`; one release for all. */
static inline uint64_t consume(uint64_t max, size_t size)
{
    uint64_t sum = 0;
    uint64_t n = 0;

    for (; n < max; n++) {
        uint32_t got;
        const void *payload = salvo_ring_peek(&ring, &got);

        if (payload == NULL)
            break;
        sum += read_all(payload, size);
        salvo_ring_advance(&ring, got);
    }
    sink += sum;
    if (n != 0)
        salvo_ring_release(&ring);
    return n;
}

static void pause_times(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        salvo_cpu_relax();
}

/* How many pauses a lane's turn takes. Of several tries the shortest: the others were interrupted.
 */
static unsigned pauses_of_a_turn(void)
{
    struct salvo_clock *clock = salvo_clock_system();
    int64_t best_ns = INT64_MAX;

    for (unsigned i = 0; i < 100; i++) {
        int64_t from_ns = salvo_clock_mono_ns(clock);

        pause_times(1000);
        best_ns = SALVO_MIN(best_ns, salvo_clock_mono_ns(clock) - from_ns);
    }
    return (unsigned)SALVO_MAX(INT64_C(1000) * LANE_TURN_NS / best_ns, INT64_C(1));
}

static void full(unsigned *spins)
{
    if (++*spins % 1024 == 0)
        sched_yield();
    else
        salvo_cpu_relax();
}

/* As a lane puts in the results of a batch. */
static inline void produce_8(uint64_t items, bool alone)
{
    for (uint64_t i = 0; i < items; i += BURST) {
        struct salvo_ring_burst burst;
        unsigned spins = 0;

        while (salvo_ring_claim_burst(&ring, BURST * salvo_ring_record_size(8), &burst) != 0)
            full(&spins);
        for (uint64_t k = 0; k < BURST; k++) {
            fill(salvo_ring_burst_next(&burst, 8), 8, i + k);
            /* One record behind the other, as where more is done for each: the compiler would store
             * all payloads and then all sizes. */
            atomic_signal_fence(memory_order_seq_cst);
        }
        salvo_ring_commit_burst(&ring, &burst);
        salvo_ring_publish(&ring);
        if (alone)
            consume(BURST, 8);
    }
}

/* As a submitter puts in a message. */
static inline void produce_128(uint64_t items, bool alone)
{
    for (uint64_t i = 0; i < items; i++) {
        void *payload;
        unsigned spins = 0;

        while (salvo_ring_claim(&ring, SLOT_SIZE, &payload) != 0)
            full(&spins);
        fill(payload, SLOT_SIZE, i);
        salvo_ring_commit(&ring, SLOT_SIZE);
        salvo_ring_publish(&ring);
        salvo_lane_port_wake(&port);
        if (alone)
            consume(1, SLOT_SIZE);
    }
}

static void ring_8_one_thread(uint64_t items)
{
    produce_8(items, true);
}

static void ring_128_one_thread(uint64_t items)
{
    produce_128(items, true);
}

static void *consumer_run(void *arg)
{
    unsigned spins = 0;

    if (salvo_cpu_pin(*(const int *)arg) != 0)
        abort();
    while (!atomic_load_explicit(&consumer_stop, memory_order_relaxed)) {
        if ((item_size == 8 ? consume(64, 8) : consume(64, SLOT_SIZE)) != 0)
            spins = 0;
        else if (++spins % 1024 == 0)
            sched_yield();
        else
            pause_times(consumer_pauses);
    }
    return NULL;
}

/* Producer and consumer on a core each, if there are two: on one they never wait for a line. */
static void consumer_start(void)
{
    static int cpus[2];
    static unsigned count;

    if (count == 0)
        count = salvo_cpu_allowed(cpus, 2); /* before the first pinning */
    cpus[1] = count < 2 ? cpus[0] : cpus[1];
    if (salvo_cpu_pin(cpus[0]) != 0)
        abort();
    atomic_store(&consumer_stop, false);
    if (salvo_thread_start(&consumer, "consumer", consumer_run, &cpus[1]) != 0)
        abort();
}

static void consumer_end(void)
{
    atomic_store(&consumer_stop, true);
    salvo_thread_join(consumer);
}

static void ring_pair_begin_8(void)
{
    ring_begin_8();
    consumer_pauses = 1;
    consumer_start();
}

static void ring_pair_begin_128(void)
{
    ring_begin_128();
    consumer_pauses = pauses_of_a_turn();
    consumer_start();
}

static void ring_hammered_begin_128(void)
{
    ring_begin_128();
    consumer_pauses = 1;
    consumer_start();
}

static void ring_8_two_threads(uint64_t items)
{
    produce_8(items, false);
}

static void ring_128_two_threads(uint64_t items)
{
    produce_128(items, false);
}

/* --- submitter -------------------------------------------------------------------------------- */

static struct salvo_submitter submitter;
static _Atomic(uint32_t) draining;
static void *submitter_memory;

static void month(int64_t ms, int64_t *ret_start_ms, int64_t *ret_end_ms)
{
    *ret_start_ms = ms - ms % 2592000000;
    *ret_end_ms = *ret_start_ms + 2592000000;
}

static void submitter_begin(void)
{
    static const uint8_t ip[4] = {127, 0, 0, 1};
    const struct salvo_submitter_conf conf = {
        .ring_size = SALVO_MIB(1),
        .messages_out_max = 800,
        .body_size_max = SALVO_KIB(4),
        .timeout_ns = 3 * SALVO_NS_PER_S,
        .clock = salvo_clock_tsc(),
        .month = month,
        .ip = ip,
        .ip_size = 4,
    };

    submitter_memory = aligned_alloc(64, salvo_align_up(salvo_submitter_memory_size(&conf), 64));
    if (salvo_submitter_init(&submitter, &conf, submitter_memory, NULL, &draining) != 0 ||
        !salvo_submitter_take(&submitter, &port))
        abort();
}

static void submitter_end(void)
{
    salvo_submitter_deinit(&submitter);
    free(submitter_memory);
}

/* Claim, 128 bytes of body, commit; and the lane's side of the ring, which only steps over it. */
static void submitter_claim_commit(uint64_t items)
{
    for (uint64_t i = 0; i < items; i++) {
        struct salvo_msg *m;
        uint32_t size = 0;

        if (salvo_submitter_claim(&submitter, 0, SLOT_SIZE, &m) != 0)
            abort();
        fill(salvo_slot_body(m->slot), SLOT_SIZE, i);
        salvo_submitter_commit(m, SLOT_SIZE, i);
        salvo_ring_peek(&submitter.messages, &size);
        salvo_ring_advance(&submitter.messages, size);
        salvo_ring_release(&submitter.messages);
        submitter.polled++;
    }
}

/* A result into its ring and out again, 64 to a publish, one to a claim: as of messages that went
 * one by one. */
static void submitter_results(uint64_t items)
{
    for (uint64_t i = 0; i < items; i += 64) {
        for (uint64_t k = 0; k < 64; k++) {
            struct salvo_ring_burst burst;

            salvo_submitter_results_claim(&submitter, 1, &burst);
            *salvo_submitter_result_next(&burst) = (struct salvo_result_slot){.cookie = i + k};
            salvo_submitter_results_commit(&submitter, &burst);
        }
        salvo_submitter_results_publish(&submitter);
        submitter.committed += 64;
        for (uint64_t k = 0; k < 64; k++) {
            const struct salvo_result_slot *result = salvo_submitter_result(&submitter);

            sink += result->cookie;
            salvo_submitter_result_done(&submitter, result);
        }
        salvo_submitter_results_release(&submitter);
    }
}

/* --- inflight --------------------------------------------------------------------------------- */

static struct salvo_inflight inflight;
static struct salvo_request *requests; /* in an arena, as a lane's are */
static struct salvo_item request_items[16];
static uint32_t wheel[SALVO_WHEEL_SLOTS];
static uint64_t wheel_used[SALVO_WHEEL_SLOTS / 64];
static int32_t opaques[SALVO_REQUESTS_MAX];
static int64_t inflight_now_ns;
static uint64_t inflight_random;

static inline int32_t inflight_register(void)
{
    struct salvo_request *request = salvo_request_take(&inflight);

    request->state = SALVO_REQUEST_SENT;
    request->conn = 1;
    inflight_now_ns += 500; /* two million a second */
    salvo_wheel_add(&inflight, request, inflight_now_ns + SALVO_NS_PER_S);
    return request->opaque;
}

static inline void inflight_complete(int32_t opaque)
{
    struct salvo_request *request = salvo_inflight_find(&inflight, opaque, 1);

    if (request == NULL)
        abort();
    salvo_wheel_remove(&inflight, request);
    salvo_request_free(&inflight, request);
}

static void inflight_memory(void)
{
    static struct salvo_arena arena;
    size_t size = sizeof(*requests) * SALVO_REQUESTS_MAX;

    if (requests == NULL && salvo_arena_init(&arena, size + 128, true) != 0)
        abort();
    if (requests == NULL)
        requests = salvo_arena_take(&arena, size, 128);
}

static void inflight_begin(void)
{
    inflight_memory();
    inflight_now_ns = SALVO_NS_PER_S;
    salvo_inflight_init(&inflight, requests, 4096, request_items, 16, wheel, wheel_used,
                        inflight_now_ns);
}

/* 256 are open at a time and are answered in order. */
static void inflight_in_order(uint64_t items)
{
    for (uint64_t i = 0; i < items; i += 256) {
        for (uint64_t k = 0; k < 256; k++)
            opaques[k] = inflight_register();
        salvo_wheel_expired(&inflight, inflight_now_ns);
        for (uint64_t k = 0; k < 256; k++)
            inflight_complete(opaques[k]);
    }
}

static void inflight_random_begin(void)
{
    inflight_memory();
    inflight_now_ns = SALVO_NS_PER_S;
    inflight_random = 88172645463325252u;
    salvo_inflight_init(&inflight, requests, SALVO_REQUESTS_MAX, request_items, 16, wheel,
                        wheel_used, inflight_now_ns);
    for (uint32_t i = 0; i < SALVO_REQUESTS_MAX; i++)
        opaques[i] = inflight_register();
}

/* All 65,536 are open; one of them, anyone, is answered, and a new one takes its place. */
static void inflight_random_order(uint64_t items)
{
    for (uint64_t i = 0; i < items; i++) {
        uint32_t k;

        inflight_random ^= inflight_random << 13;
        inflight_random ^= inflight_random >> 7;
        inflight_random ^= inflight_random << 17;
        k = (uint32_t)inflight_random & (SALVO_REQUESTS_MAX - 1);
        inflight_complete(opaques[k]);
        opaques[k] = inflight_register();
    }
    salvo_wheel_expired(&inflight, inflight_now_ns - SALVO_NS_PER_S);
}

/* --- the rest --------------------------------------------------------------------------------- */

static union {
    struct salvo_route_topic topic;
    uint8_t room[sizeof(struct salvo_route_topic) + 16 * sizeof(struct salvo_route_queue)];
} route;
static struct salvo_conn conns[2];
static salvo_availability availability[2];
static uint32_t select_next[1];
static struct salvo_select select_state = {.next = select_next, .topics_max = 1};

static void select_begin(void)
{
    route.topic.queues_count = 16;
    for (uint32_t i = 0; i < 16; i++)
        route.topic.queues[i].broker = i / 8;
    for (uint32_t i = 0; i < 2; i++) {
        conns[i].state = SALVO_CONN_UP;
        conns[i].window = 1;
    }
}

static void select_queue(uint64_t items)
{
    for (uint64_t i = 0; i < items; i++) {
        uint32_t index;

        if (salvo_select_queue(&select_state, &route.topic, conns, availability, 8,
                               SALVO_BROKER_NONE, 1000, &index) != 0)
            abort();
        sink += index;
    }
}

static void retry_decide(uint64_t items)
{
    static const int32_t codes[8] = {0, 1, 2, 0, 10, 13, 17, 1500};

    for (uint64_t i = 0; i < items; i++) {
        struct salvo_retry_input input = {
            .end = SALVO_TRY_ANSWERED,
            .code = codes[i % 8],
            .tries = 1,
            .tries_max = 3,
            .time_left = true,
        };

        sink += (uint64_t)salvo_retry_decide(&input).action;
    }
}

#define BATCH_BYTES SALVO_KIB(32)

static struct salvo_batches batches;
static struct salvo_batch open_batches[8];
static uint8_t batch_buffers[8 * BATCH_BYTES];

static void batch_begin(void)
{
    const struct salvo_batch_limits limits = {
        .mode = SALVO_BATCH_MODE_LINGER,
        .bytes_max = BATCH_BYTES,
        .count_max = 1024,
        .open_max = 8,
    };

    salvo_batches_init(&batches, &limits, open_batches, batch_buffers, BATCH_BYTES);
}

/* 128 bytes of body and 52 of properties, found by key, added; a full one is closed. */
static void batch_add(uint64_t items)
{
    static uint8_t body[SLOT_SIZE];
    static uint8_t properties[52];
    const struct salvo_batch_item item = {
        .body = body,
        .body_size = sizeof(body),
        .properties = properties,
        .properties_size = sizeof(properties),
    };
    const struct salvo_batch_key key = {.topic = 1, .queue = UINT32_MAX};

    for (uint64_t i = 0; i < items; i++) {
        struct salvo_batch *batch = salvo_batch_find(&batches, &key);

        if (batch == NULL)
            batch = salvo_batch_open(&batches, &key, 0, 0);
        if (!salvo_batch_add(&batches, batch, &item))
            salvo_batch_close(&batches, batch);
    }
}

static struct salvo_hist hist;

static void hist_record(uint64_t items)
{
    for (uint64_t i = 0; i < items; i++)
        salvo_hist_record(&hist, 50000 + (i * 7919) % 100000);
}

size_t dataplane_cases(const struct dataplane_case **ret_cases)
{
    static const struct dataplane_case cases[] = {
        {"ring_8_bytes_burst_8/one_thread", ring_8_one_thread, ring_begin_8, NULL},
        {"ring_8_bytes_burst_8/two_threads", ring_8_two_threads, ring_pair_begin_8, consumer_end},
        {"ring_128_bytes_wake_check/one_thread", ring_128_one_thread, ring_begin_128, NULL},
        {"ring_128_bytes_wake_check/two_threads", ring_128_two_threads, ring_pair_begin_128,
         consumer_end},
        {"ring_128_bytes_wake_check/two_threads_hammered", ring_128_two_threads,
         ring_hammered_begin_128, consumer_end},
        {"submitter_claim_commit_128", submitter_claim_commit, submitter_begin, submitter_end},
        {"submitter_result", submitter_results, submitter_begin, submitter_end},
        {"inflight_register_complete/in_order", inflight_in_order, inflight_begin, NULL},
        {"inflight_register_complete/random_65536_open", inflight_random_order,
         inflight_random_begin, NULL},
        {"select_16_queues", select_queue, select_begin, NULL},
        {"retry_decide", retry_decide, NULL, NULL},
        {"batch_add_128", batch_add, batch_begin, NULL},
        {"hist_record", hist_record, NULL, NULL},
    };

    salvo_hist_reset(&hist);
    *ret_cases = cases;
    return sizeof(cases) / sizeof(cases[0]);
}
