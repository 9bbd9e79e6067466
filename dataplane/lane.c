/* The lane's turn. Read this first: salvo_lane_do_work is the whole machine on one screen.
 *
 * The order of the stages is the order of need: finishing old work frees what new work wants. */
#include "dataplane/lane_internal.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>

/* A turn that takes longer than this is counted: a lane that is held up holds everybody up. */
#define LANE_CYCLE_SLOW_NS SALVO_NS_PER_MS

/* --- stages ----------------------------------------------------------------------------------- */

/* control -> lane. */
static int lane_take_commands(struct salvo_lane *lane, int64_t now_ns)
{
    int work = 0;

    for (; work < SALVO_LANE_COMMANDS_PER_CYCLE; work++) {
        uint32_t size;
        const struct salvo_command *command = salvo_ring_peek(&lane->port.commands, &size);

        if (command == NULL || !salvo_lane_on_command(lane, command, now_ns))
            break;
        salvo_ring_advance(&lane->port.commands, size);
    }
    if (work != 0)
        salvo_ring_release(&lane->port.commands);
    return work;
}

/* Network -> inflight -> results; and the connections' own lives. */
static int lane_take_answers(struct salvo_lane *lane, int64_t now_ns)
{
    unsigned n;

    if (lane->conf.streams_max != 0 && !salvo_lane_events_room(lane))
        return 0; /* control has to hear first what streams it already has */
    n = salvo_net_poll(lane->net, lane->events, SALVO_LANE_EVENTS_PER_CYCLE);
    for (unsigned i = 0; i < n; i++)
        salvo_lane_on_event(lane, &lane->events[i], now_ns);
    if (now_ns >= lane->tend_at_ns)
        salvo_lane_tend(lane, now_ns);
    salvo_lane_after_events(lane);
    return (int)n;
}

/* Deadlines -> retry or failed. */
static int lane_expire_requests(struct salvo_lane *lane, int64_t now_ns)
{
    int work = 0;

    for (; work < SALVO_LANE_EXPIRED_PER_CYCLE; work++) {
        struct salvo_request *request = salvo_wheel_expired(&lane->inflight, now_ns);

        if (request == NULL)
            break;
        salvo_lane_on_expired(lane, request, now_ns);
    }
    if (now_ns >= lane->drain_at_ns && lane->open != 0) {
        lane->drain_late = true;
        salvo_lane_give_up(lane, now_ns);
        work++;
    }
    return work;
}

/* Submitters that were opened or closed since the last look. */
static void lane_find_submitters(struct salvo_lane *lane)
{
    /* Acquire: pairs with the release in whoever opened or closed one. */
    uint32_t epoch = atomic_load_explicit(lane->conf.submitters_epoch, memory_order_acquire);

    if (SALVO_LIKELY(epoch == lane->submitters_epoch_seen))
        return;
    lane->submitters_epoch_seen = epoch;
    lane->submitters_count = 0;
    for (uint32_t i = 0; i < lane->conf.submitters_max; i++) {
        struct salvo_submitter *s = &lane->conf.submitters[i];
        /* Acquire: pairs with the release of OPEN in salvo_submitter_take: the rings are set up. */
        uint32_t state = atomic_load_explicit(&s->state, memory_order_acquire);

        if (atomic_load_explicit(&s->lane_index, memory_order_relaxed) != lane->conf.lane_index)
            continue;
        if (state == SALVO_SUBMITTER_OPEN)
            lane->submitters_mine[lane->submitters_count++] = i;
        else if (state == SALVO_SUBMITTER_CLOSING)
            /* Release: pairs with the acquire in salvo_submitter_take: we touch it no more. */
            atomic_store_explicit(&s->state, SALVO_SUBMITTER_FREE, memory_order_release);
    }
}

/* A message at the front of its ring that cannot be taken yet: the next event may change that, or
 * its own deadline. Until then nothing of this ring is a reason to stay awake. */
static void lane_hold_ring(struct salvo_lane *lane, struct salvo_submitter *s,
                           const struct salvo_slot *slot)
{
    int64_t at = SALVO_MIN(slot->deadline_ns, lane->drain_at_ns);

    lane->rings_held_ns = SALVO_MIN(lane->rings_held_ns, at);
    salvo_ring_look(&s->messages);
}

/* One submitter's ring, up to `max` messages. */
static int lane_take_from(struct salvo_lane *lane, struct salvo_submitter *s, int max,
                          int64_t now_ns)
{
    int taken = 0;

    while (taken < max && lane->compressed < SALVO_LANE_COMPRESS_PER_CYCLE) {
        uint32_t size;
        struct salvo_slot *slot = salvo_ring_peek(&s->messages, &size);

        if (slot == NULL)
            break;
        if (salvo_lane_take_slot(lane, s, slot, now_ns) != LANE_TAKEN) {
            lane_hold_ring(lane, s, slot);
            break;
        }
        salvo_ring_advance(&s->messages, size);
        taken++;
    }
    if (taken != 0)
        salvo_ring_release(&s->messages);
    return taken;
}

/* Rings -> frames, batches, or the waiting list; each submitter in turn gets its share. */
static int lane_take_messages(struct salvo_lane *lane, int64_t now_ns)
{
    int left = SALVO_LANE_MESSAGES_PER_CYCLE;
    bool dirty = lane->waiting_dirty;
    bool compressed_enough;
    int share;

    lane_find_submitters(lane);
    lane->ring_has_more = false;
    lane->compressed = 0;
    lane->rings_held_ns = INT64_MAX;
    if (lane->submitters_count == 0)
        return 0;
    share = SALVO_MAX(left / (int)lane->submitters_count, 1);
    for (uint32_t i = 0; i < lane->submitters_count && left > 0; i++) {
        uint32_t at = (lane->submitter_next + i) % lane->submitters_count;
        struct salvo_submitter *s = &lane->conf.submitters[lane->submitters_mine[at]];
        int taken = lane_take_from(lane, s, SALVO_MIN(share, left), now_ns);

        left -= taken;
        lane->ring_has_more |= taken == share;
    }
    compressed_enough = lane->compressed >= SALVO_LANE_COMPRESS_PER_CYCLE;
    lane->ring_has_more |= compressed_enough;
    lane->submitter_next++;
    /* Work too, though no message was taken: what made room for one, and compression, behind which
     * rings were not looked at. The next turn goes on. */
    return SALVO_LANE_MESSAGES_PER_CYCLE - left + (lane->waiting_dirty && !dirty) +
           compressed_enough;
}

/* Frames -> network: each connection that was written to hands over all it has, as byte ranges. */
static int lane_push(struct salvo_lane *lane, int64_t now_ns)
{
    uint32_t chunks_free = lane->chunks.free_count;
    int work = 0;

    for (uint32_t i = 0; i < lane->touched_count; i++) {
        struct salvo_conn *conn = &lane->conns[lane->touched[i]];
        uint64_t taken = salvo_conn_push(conn, &lane->chunks, &lane->inflight, lane->net);

        conn->touched = false;
        if (taken == 0)
            continue;
        conn->last_sent_ns = now_ns;
        lane_count(lane, SALVO_LANE_BYTES_SENT, taken);
        work++;
    }
    lane->touched_count = 0;
    if (SALVO_UNLIKELY(lane->chunks.free_count > chunks_free) && lane->waiting.count != 0) {
        lane->waiting_dirty = true; /* there were holes: what lay there is free without RELEASED */
        work++;
    }
    return work;
}

static void lane_tell_drained(struct salvo_lane *lane)
{
    struct salvo_event event = {.kind = SALVO_EVENT_DRAINED};

    if (SALVO_LIKELY(!lane->drained_wanted) || lane->open != 0)
        return;
    for (uint32_t i = 0; i < lane->submitters_count; i++)
        if (!salvo_ring_empty(&lane->conf.submitters[lane->submitters_mine[i]].messages))
            return;
    if (salvo_lane_tell(lane, &event))
        lane->drained_wanted = false;
}

static void lane_note_cycle(struct salvo_lane *lane, int64_t now_ns, int work)
{
    salvo_counter *counters = lane->conf.counters;
    int64_t spent_ns;

    salvo_counter_add(counters, SALVO_LANE_CYCLES, 1);
    salvo_counter_set(counters, SALVO_LANE_MESSAGES_OPEN, lane->open);
    salvo_counter_set(counters, SALVO_LANE_REQUESTS_INFLIGHT, salvo_lane_outstanding(lane));
    salvo_counter_set(counters, SALVO_LANE_CHUNKS_FREE, lane->chunks.free_count);
    salvo_counter_set(counters, SALVO_LANE_WAITING, lane->waiting.count + lane->lined);
    if (work == 0)
        return;
    spent_ns = salvo_clock_mono_ns(lane->conf.clock) - now_ns;
    salvo_counter_add(counters, SALVO_LANE_CYCLES_BUSY, 1);
    salvo_counter_add(counters, SALVO_LANE_BUSY_NS, (uint64_t)spent_ns);
    salvo_counter_max(counters, SALVO_LANE_CYCLE_NS_MAX, (uint64_t)spent_ns);
    if (spent_ns > LANE_CYCLE_SLOW_NS)
        salvo_counter_add(counters, SALVO_LANE_CYCLES_SLOW, 1);
}

/* This turn's snapshot; control may free older ones from now on. */
static void lane_load_route(struct salvo_lane *lane, int64_t now_ns)
{
    /* Acquire: pairs with the release in salvo_lane_port_publish. */
    lane->route = atomic_load_explicit(&lane->port.route_published, memory_order_acquire);
    if (lane->route == NULL || lane->route->epoch == lane->route_epoch)
        return;
    lane->route_epoch = lane->route->epoch;
    lane->waiting_dirty = true;
    lane->tend_at_ns = now_ns;
    /* Release: pairs with the acquire in salvo_lane_port_moved_on: the old one is read no more. */
    atomic_store_explicit(&lane->port.route_seen, lane->route->epoch, memory_order_release);
}

/* --- the turn --------------------------------------------------------------------------------- */

int salvo_lane_do_work(struct salvo_lane *lane)
{
    int64_t now_ns = salvo_clock_mono_ns(lane->conf.clock);
    int work = 0;

    if (SALVO_UNLIKELY(lane->owner == 0))
        lane->owner = salvo_thread_id();
    salvo_assert_on_lane(lane);
    salvo_born_set(&lane->born, salvo_clock_wall_ms(lane->conf.clock));
    lane->chunks_gathered = false;
    lane_load_route(lane, now_ns);

    work += lane_take_commands(lane, now_ns);   /* control -> lane */
    work += lane_take_answers(lane, now_ns);    /* network -> inflight -> results */
    work += lane_expire_requests(lane, now_ns); /* deadlines -> retry or failed */
    work +=
        salvo_lane_send_waiting(lane, now_ns); /* retries, and what a route or its turn came for */
    work += lane_take_messages(lane, now_ns);  /* rings -> frames, batches */
    work += salvo_lane_send_batches(lane, now_ns); /* batches -> frames */
    work += lane_push(lane, now_ns);               /* frames -> network */
    salvo_net_flush(lane->net);
    salvo_lane_publish_results(lane); /* results -> submitters */
    lane_tell_drained(lane);

    lane_note_cycle(lane, now_ns, work);
    return work;
}

int64_t salvo_lane_next_ns(const struct salvo_lane *lane, int64_t now_ns)
{
    int64_t at = SALVO_MIN(salvo_wheel_next_ns(&lane->inflight), lane->tend_at_ns);

    at = SALVO_MIN(at, lane->waiting_at_ns);
    at = SALVO_MIN(at, lane->rings_held_ns);
    at = SALVO_MIN(at, salvo_batches_next_ns(&lane->batches));
    if (lane->open != 0)
        at = SALVO_MIN(at, lane->drain_at_ns);
    if (at == INT64_MAX)
        return INT64_MAX;
    return SALVO_MAX(at - now_ns, 0);
}

uint64_t salvo_lane_outstanding(const struct salvo_lane *lane)
{
    const struct salvo_inflight *inflight = &lane->inflight;

    return inflight->requests_max - inflight->free_count - inflight->cut_count -
           lane->waiting.count - lane->lined;
}

/* True when something came in since the last turn looked. What it saw and could not take does not
 * count: a lane that waits for its peers would spin. */
static bool lane_has_input(struct salvo_lane *lane)
{
    if (!salvo_ring_empty(&lane->port.commands) ||
        atomic_load_explicit(&lane->port.route_published, memory_order_relaxed) != lane->route ||
        atomic_load_explicit(lane->conf.submitters_epoch, memory_order_relaxed) !=
            lane->submitters_epoch_seen)
        return true;
    for (uint32_t i = 0; i < lane->submitters_count; i++)
        if (salvo_ring_has_news(&lane->conf.submitters[lane->submitters_mine[i]].messages))
            return true;
    return false;
}

void salvo_lane_sleep(struct salvo_lane *lane, unsigned events_min, int64_t gather_ns,
                      int64_t timeout_ns, bool announced)
{
    salvo_assert_on_lane(lane);
    if (!announced) {
        salvo_net_wait(lane->net, events_min, gather_ns, timeout_ns);
        return;
    }
    atomic_store_explicit(&lane->port.asleep, 1, memory_order_release);
    /* Our store of asleep before our look at the rings; pairs with the fences in
     * salvo_lane_port_wake and salvo_lane_port_moved_on. One of the two sides sees the other. */
    atomic_thread_fence(memory_order_seq_cst);
    if (!lane_has_input(lane))
        salvo_net_wait(lane->net, events_min, gather_ns, timeout_ns);
    atomic_store_explicit(&lane->port.asleep, 0, memory_order_relaxed);
    /* Our store of asleep before our next load of route_published: control counts a sleeping lane
     * as moved on, so the pointer must be loaded anew after this. */
    atomic_thread_fence(memory_order_seq_cst);
}

void salvo_lanes_sleep(struct salvo_lane *const *lanes, uint32_t lanes_count, int64_t timeout_ns)
{
    bool input = false;

    for (uint32_t i = 0; i < lanes_count; i++) {
        salvo_assert_on_lane(lanes[i]);
        atomic_store_explicit(&lanes[i]->port.asleep, 1, memory_order_release);
    }
    /* As in salvo_lane_sleep, before and after. */
    atomic_thread_fence(memory_order_seq_cst);
    for (uint32_t i = 0; i < lanes_count; i++)
        input |= lane_has_input(lanes[i]);
    if (!input)
        salvo_net_wait(lanes[0]->net, 1, 0, timeout_ns);
    for (uint32_t i = 0; i < lanes_count; i++)
        atomic_store_explicit(&lanes[i]->port.asleep, 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
}

/* --- memory ----------------------------------------------------------------------------------- */

/* The pieces of a lane's memory that are not fields of its own. */
struct lane_pieces {
    struct salvo_chunk *chunks;
    struct salvo_request *requests;
    struct salvo_item *items;
    uint32_t *wheel;
    uint64_t *wheel_used;
    uint8_t *gather;
    struct salvo_batch *batches;
    uint32_t *select;
};

static uint32_t lane_batches_max(const struct salvo_lane_conf *conf)
{
    return conf->batch.mode == SALVO_BATCH_MODE_OFF ? 0 : conf->batch.open_max;
}

/* Takes every piece of the lane, in one place, so that the plan counts with the same lines. Without
 * an arena it only counts. */
static size_t lane_layout(struct salvo_lane *lane, const struct salvo_lane_conf *conf,
                          struct salvo_arena *arena, struct lane_pieces *pieces)
{
    size_t total = 0;
    uint32_t open_max = lane_batches_max(conf);

#define LAYOUT(place, type, count)                                                                 \
    do {                                                                                           \
        size_t layout_count = (size_t)(count);                                                     \
        total += salvo_arena_cost(sizeof(type) * layout_count, 2 * SALVO_CACHE_LINE);              \
        if (arena != NULL)                                                                         \
            (place) = salvo_arena_take(arena, sizeof(type) * layout_count, 2 * SALVO_CACHE_LINE);  \
    } while (0)

    LAYOUT(pieces->chunks, struct salvo_chunk, conf->chunks_max);
    LAYOUT(pieces->requests, struct salvo_request, conf->requests_max);
    LAYOUT(pieces->items, struct salvo_item, conf->items_max);
    LAYOUT(pieces->wheel, uint32_t, SALVO_WHEEL_SLOTS);
    LAYOUT(pieces->wheel_used, uint64_t, SALVO_WHEEL_SLOTS / 64);
    LAYOUT(lane->conns, struct salvo_conn, conf->brokers_max);
    LAYOUT(lane->moulds, struct salvo_answer_mould, conf->brokers_max);
    LAYOUT(pieces->gather, uint8_t, (size_t)conf->gather_max * conf->brokers_max);
    LAYOUT(lane->lines, struct salvo_lane_line, conf->queues_max + conf->topics_max);
    LAYOUT(pieces->batches, struct salvo_batch, SALVO_MAX(open_max, 1u));
    LAYOUT(pieces->select, uint32_t, conf->topics_max);
    LAYOUT(lane->route_wanted_ns, int64_t, conf->topics_max);
    LAYOUT(lane->touched, uint32_t, conf->brokers_max);
    LAYOUT(lane->submitters_mine, uint32_t, conf->submitters_max);
    LAYOUT(lane->streams, struct salvo_lane_stream, SALVO_MAX(conf->streams_max, 1u));
    LAYOUT(lane->scratch, uint8_t, conf->frame_size_max);
    LAYOUT(lane->compress_scratch, uint8_t, conf->frame_size_max);
    LAYOUT(lane->port.commands.memory, uint8_t, SALVO_LANE_COMMANDS_RING);
    LAYOUT(lane->port.events.memory, uint8_t, SALVO_LANE_EVENTS_RING);
#undef LAYOUT
    return total;
}

size_t salvo_lane_memory_size(const struct salvo_lane_conf *conf)
{
    struct salvo_lane lane;
    struct lane_pieces pieces;

    return lane_layout(&lane, conf, NULL, &pieces);
}

bool salvo_lane_exchanges(const struct salvo_lane_conf *conf)
{
    return !conf->zero_copy && conf->batch.bytes_max <= conf->chunk_size &&
           conf->batch.bytes_max >= conf->chunk_size / SALVO_LANE_EXCHANGE_PART;
}

size_t salvo_lane_batch_room(const struct salvo_lane_conf *conf)
{
    return salvo_lane_exchanges(conf) ? conf->chunk_size : conf->batch.bytes_max;
}

size_t salvo_lane_chunks_memory_size(const struct salvo_lane_conf *conf)
{
    return (size_t)conf->chunks_max * conf->chunk_size +
           lane_batches_max(conf) * salvo_lane_batch_room(conf);
}

int salvo_lane_init(struct salvo_lane *lane, const struct salvo_lane_conf *conf,
                    struct salvo_arena *arena, uint8_t *chunks_memory)
{
    struct salvo_batch_limits limits = conf->batch;
    struct lane_pieces pieces = {0};
    int64_t now_ns = salvo_clock_mono_ns(conf->clock);
    int r;

    memset(lane, 0, sizeof(*lane));
    lane->conf = *conf;
    lane->net = conf->net;
    if (conf->compression != SALVO_COMPRESS_NONE) {
        r = salvo_compressor_new(&lane->compressor, conf->compression, conf->compress_level,
                                 SALVO_KIB(16));
        if (r)
            return salvo_trace(r);
    }
    lane_layout(lane, conf, arena, &pieces);
    salvo_random_init(&lane->random, conf->seed);
    salvo_chunk_pool_init(&lane->chunks, pieces.chunks, chunks_memory, conf->chunks_max,
                          conf->chunk_size, conf->chunks_reserve);
    salvo_inflight_init(&lane->inflight, pieces.requests, conf->requests_max, pieces.items,
                        conf->items_max, pieces.wheel, pieces.wheel_used, now_ns);
    for (uint32_t i = 0; i < conf->brokers_max; i++)
        salvo_conn_init(&lane->conns[i], pieces.gather + (size_t)i * conf->gather_max,
                        conf->gather_max, conf->window);
    memset(lane->moulds, 0, sizeof(*lane->moulds) * conf->brokers_max);
    salvo_conn_init(&lane->parking, NULL, 0, 0);
    for (uint32_t i = 0; i < conf->queues_max + conf->topics_max; i++)
        lane->lines[i] =
            (struct salvo_lane_line){SALVO_REQUEST_NONE, SALVO_REQUEST_NONE, SALVO_REQUEST_NONE};
    for (uint32_t i = 0; i < conf->topics_max; i++)
        lane->route_wanted_ns[i] = INT64_MIN / 2;
    limits.open_max = lane_batches_max(conf);
    salvo_batches_init(&lane->batches, &limits, pieces.batches,
                       chunks_memory + (size_t)conf->chunks_max * conf->chunk_size,
                       salvo_lane_batch_room(conf));
    salvo_select_init(&lane->select, pieces.select, conf->topics_max, &lane->random);
    salvo_ring_init(&lane->port.commands, lane->port.commands.memory, SALVO_LANE_COMMANDS_RING, 0);
    salvo_ring_init(&lane->port.events, lane->port.events.memory, SALVO_LANE_EVENTS_RING, 0);
    lane->port.lane_index = conf->lane_index;
    lane->port.net = conf->net;
    lane->port.availability = conf->availability;
    lane->waiting = (struct salvo_request_list){SALVO_REQUEST_NONE, SALVO_REQUEST_NONE, 0};
    lane->dirty_first = UINT32_MAX;
    lane->submitters_epoch_seen = UINT32_MAX;
    lane->chunks_share = conf->chunks_max;
    lane->tend_at_ns = INT64_MAX;
    lane->waiting_at_ns = INT64_MAX;
    lane->rings_held_ns = INT64_MAX;
    lane->drain_at_ns = INT64_MAX;
    return 0;
}

void salvo_lane_tells(struct salvo_lane *lane, struct salvo_net *control_net,
                      _Atomic(uint32_t) *control_asleep)
{
    lane->control_net = control_net;
    lane->control_asleep = control_asleep;
}

void salvo_lane_deinit(struct salvo_lane *lane)
{
    if (lane->compressor != NULL)
        salvo_compressor_free(lane->compressor);
    lane->compressor = NULL;
}

const char *salvo_lane_leftovers(const struct salvo_lane *lane)
{
    uint32_t held = 0;

    for (uint32_t i = 0; i < lane->conf.brokers_max; i++)
        held += lane->conns[i].chunks_held;
    held += lane->parking.chunks_held;
    if (lane->open != 0)
        return "messages without a result";
    if (lane->inflight.free_count != lane->inflight.requests_max)
        return "requests in use";
    if (lane->inflight.items_free_count != lane->inflight.items_max)
        return "items in use";
    if (lane->waiting.count != 0 || lane->batches.count != 0)
        return "requests or batches waiting";
    if (lane->chunks.free_count + held != lane->chunks.chunks_max)
        return "chunks in use that no connection holds";
    for (uint32_t i = 0; i < lane->chunks.chunks_max; i++)
        if (!lane->chunks.chunks[i].free && lane->chunks.chunks[i].awaited != 0)
            return "frames awaited";
    for (uint32_t i = 0; i < lane->conf.queues_max + lane->conf.topics_max; i++)
        if (lane->lines[i].busy != SALVO_REQUEST_NONE || lane->lines[i].head != SALVO_REQUEST_NONE)
            return "lines of ordered messages";
    return NULL;
}
