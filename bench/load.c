/* The generator's loop: see load.h. */
#include "bench/load.h"
#include "base/assert.h"
#include "base/cpu.h"
#include "bench/load_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Messages between two looks at results and stop flag: short enough to keep the lane's results ring
 * moving, long enough that the looks cost nothing. In caller mode this is also what a turn of the
 * lane finds, and so what it can hand to the network at once: as many as it takes in one. */
#define LOAD_BURST_MAX        32u
#define LOAD_BURST_CALLER_MAX 512u
/* Closed loop: messages that share a reading of the clock, taken before the first of them. Their
 * latency is said some microseconds too long, never too short. */
#define LOAD_CLOCK_SHARED 16u

static uint64_t load_lane_busy_ns(const struct salvo_load *load)
{
    uint64_t value = 0;

    salvo_counter_value(load->conf->sender, "lane_busy_ns", &value);
    return value;
}

static void load_measure_begin(struct salvo_load *load)
{
    load->measuring = true;
    load->cpu_before = salvo_cpu_process_seconds();
    load->lane_busy_before_ns = load_lane_busy_ns(load);
    if (load->conf->rate <= 0 && load->conf->count != 0)
        load->target = load->next + load->conf->count;
    atomic_store_explicit(&load->live->warming, false, memory_order_relaxed);
}

/* Open loop: when a message is due, from the start on. To the nearest nanosecond: what three
 * messages a second have sent in one second are three. */
static int64_t load_due_after_ns(double interval_ns, uint64_t number)
{
    return (int64_t)((double)number * interval_ns + 0.5);
}

static int64_t load_due_ns(const struct salvo_load *load, uint64_t number)
{
    return load->start_ns + load_due_after_ns(load->interval_ns, number);
}

/* Open loop: messages that are due before `ns` are over. The division rounds: what
 * load_due_after_ns says is what counts. */
static uint64_t load_count_before(double interval_ns, int64_t ns)
{
    uint64_t count = (uint64_t)((double)ns / interval_ns);

    while (load_due_after_ns(interval_ns, count) < ns)
        count++;
    return count;
}

static double load_interval_ns(const struct salvo_load_conf *conf)
{
    return (double)SALVO_NS_PER_S / conf->rate;
}

bool salvo_load_measures(const struct salvo_load_conf *conf)
{
    double interval_ns;

    if (conf->rate <= 0 || conf->duration_ns == 0)
        return true;
    interval_ns = load_interval_ns(conf);
    return load_count_before(interval_ns, conf->warmup_ns + conf->duration_ns) >
           load_count_before(interval_ns, conf->warmup_ns);
}

/* How many messages are due by now, the plan's end considered. */
static uint64_t load_due_count(const struct salvo_load *load, int64_t now_ns)
{
    uint64_t due = (uint64_t)((double)(now_ns - load->start_ns) / load->interval_ns) + 1;

    return SALVO_MIN(due, load->target);
}

static void load_note_room(struct salvo_load *load, int64_t now_ns, bool room)
{
    int64_t warm_ns = load->start_ns + load->conf->warmup_ns;

    if (room && load->full_since_ns != 0) {
        int64_t full_ns = now_ns - SALVO_MAX(load->full_since_ns, warm_ns);

        load->result->ring_full_ns += SALVO_MAX(full_ns, INT64_C(0));
        load->full_since_ns = 0;
    } else if (!room) {
        load->backlogged = true;
        if (load->full_since_ns == 0)
            load->full_since_ns = now_ns;
    }
}

/* Open loop: plan against deed. What came late because the sender had no room is not the
 * generator's fault, and neither is the backlog of it; the latency shows it all the same. */
static void load_note_schedule(struct salvo_load *load, int64_t due_ns, int64_t now_ns)
{
    int64_t error_ns = SALVO_MAX(now_ns - due_ns, INT64_C(0));

    salvo_hist_record(&load->result->schedule_error, (uint64_t)error_ns);
    if (error_ns <= SALVO_LOAD_LATE_NS)
        return;
    if (load->backlogged)
        load->result->held_back++;
    else
        load->result->late++;
}

/* A claim from the first submitter with room, in turn. 0, enum salvo_busy or -errno. */
static int load_claim(struct salvo_load *load, salvo_msg **ret_msg)
{
    const struct salvo_load_conf *conf = load->conf;
    salvo_topic *topic = conf->topics[load->topic_next];
    int r = SALVO_BUSY_RING_FULL;

    for (unsigned i = 0; i < conf->submitters; i++) {
        salvo_submitter *submitter = load->submitters[load->submitter_next];

        if (++load->submitter_next == conf->submitters)
            load->submitter_next = 0;
        r = salvo_claim(submitter, topic, load->draw.size, ret_msg);
        if (r == 0 || r < 0 || r == SALVO_BUSY_DRAINING)
            break;
    }
    return r;
}

static int load_give_up(struct salvo_load *load, const char *why)
{
    load->result->trouble = why;
    load->target = load->next;
    return -EIO;
}

static int load_fill(struct salvo_load *load, salvo_msg *m)
{
    const struct salvo_payload_draw *draw = &load->draw;

    if (draw->tag != NULL && salvo_set_tags(m, draw->tag))
        return -EINVAL;
    if (draw->key[0] != '\0' && salvo_set_keys(m, draw->key))
        return -EINVAL;
    salvo_payload_fill(&load->payload, draw, salvo_body(m));
    return 0;
}

static void load_note_commit(struct salvo_load *load, int64_t from_ns, int64_t now_ns)
{
    struct salvo_load_result *result = load->result;

    load_note_room(load, now_ns, true);
    load->last_commit_ns = now_ns;
    if (from_ns < load->start_ns + load->conf->warmup_ns) {
        load->warm.bytes += load->draw.size;
        return;
    }
    result->measured.committed++;
    result->measured.bytes += load->draw.size;
    if (load->conf->rate > 0)
        load_note_schedule(load, from_ns, now_ns);
}

/* Submits message load->next, at some time since now_ns. 0; enum salvo_busy: no room; negative: the
 * generator gave up. */
static int load_submit_one(struct salvo_load *load, int64_t now_ns)
{
    const struct salvo_load_conf *conf = load->conf;
    int64_t from_ns;
    salvo_msg *m;
    int r = load_claim(load, &m);

    if (r > 0 && r != SALVO_BUSY_DRAINING)
        return r;
    if (r)
        return load_give_up(load, "the sender takes no more messages");
    if (load_fill(load, m)) {
        salvo_abort(m);
        return load_give_up(load, "the sender refused a key or a tag");
    }
    from_ns = now_ns;
    if (conf->rate > 0) {
        now_ns = salvo_now_ns(conf->sender);
        from_ns = load_due_ns(load, load->next);
    }
    (void)salvo_set_now(m, now_ns); /* refused when this process stood still: commit reads it */
    r = salvo_commit(m, load->draw.size, (uint64_t)(from_ns - load->start_ns));
    salvo_assert(r == 0);
    load_note_commit(load, from_ns, now_ns);
    load->next++;
    load->out++;
    if (++load->topic_next == conf->topics_count)
        load->topic_next = 0;
    salvo_payload_next(&load->payload, &load->draw);
    return 0;
}

/* Closed loop: the window is full; or the warm-up ended within this burst, and what is measured is
 * counted from load_measure_begin on. */
static bool load_burst_over(const struct salvo_load *load, int64_t now_ns)
{
    const struct salvo_load_conf *conf = load->conf;

    if (conf->rate > 0)
        return false;
    if (!load->measuring && now_ns >= load->start_ns + conf->warmup_ns)
        return true;
    return conf->window != 0 && load->out >= conf->window;
}

/* Up to a burst of what is due by now, which a turn of the lane may have made more than it was
 * before. Returns how many messages went out. */
static int load_submit(struct salvo_load *load)
{
    const struct salvo_load_conf *conf = load->conf;
    unsigned burst = conf->caller ? LOAD_BURST_CALLER_MAX : LOAD_BURST_MAX;
    int64_t now_ns = salvo_now_ns(conf->sender);
    uint64_t limit = load->target;
    unsigned n;

    if (conf->rate > 0) {
        limit = load_due_count(load, now_ns);
        if (load->next == limit && load->full_since_ns == 0)
            load->backlogged = false;
    }
    for (n = 0; n < burst && load->next < limit; n++) {
        if (n != 0 && n % LOAD_CLOCK_SHARED == 0)
            now_ns = salvo_now_ns(conf->sender);
        if (load_burst_over(load, now_ns))
            break;
        if (load_submit_one(load, now_ns)) {
            now_ns = salvo_now_ns(conf->sender); /* it may be the burst's start */
            load_note_room(load, now_ns, load->result->trouble != NULL);
            break;
        }
    }
    return (int)n;
}

/* True when nothing more will be submitted. */
static bool load_submitting_over(struct salvo_load *load, int64_t now_ns)
{
    const struct salvo_load_conf *conf = load->conf;

    if (conf->stop != NULL && *conf->stop != 0) {
        load->result->interrupted = true;
        /* What the sender had no room for was planned; what became due since the last burst is not
         * any more. */
        if (conf->rate > 0 && load->backlogged)
            load->target = load_due_count(load, now_ns);
        else
            load->target = load->next;
        return true;
    }
    if (load->next >= load->target)
        return true;
    return now_ns >= load->end_ns;
}

static void load_publish(struct salvo_load *load)
{
    struct salvo_load_live *live = load->live;
    const struct salvo_load_counts *warm = &load->warm;
    const struct salvo_load_counts *measured = &load->result->measured;

    atomic_store_explicit(&live->planned, load->target == UINT64_MAX ? 0 : load->target,
                          memory_order_relaxed);
    atomic_store_explicit(&live->committed, load->next, memory_order_relaxed);
    atomic_store_explicit(&live->acked, warm->acked + measured->acked, memory_order_relaxed);
    /* Who sees these sees the kinds of all that are in them: pairs with the acquire in
     * live_failures. */
    atomic_store_explicit(&live->failed, warm->failed + measured->failed, memory_order_release);
    atomic_store_explicit(&live->timed_out, warm->timed_out + measured->timed_out,
                          memory_order_release);
    atomic_store_explicit(&live->unsent, warm->unsent + measured->unsent, memory_order_release);
    load->swaps = salvo_load_live_swap(live, load->swaps);
}

/* One turn. Returns the work done. */
static int load_turn(struct salvo_load *load, bool submitting)
{
    int work = 0;

    if (load->conf->caller) {
        work = salvo_do_work(load->conf->sender);
        work = SALVO_MAX(work, 0);
    }
    work += salvo_load_poll(load);
    if (submitting)
        work += load_submit(load);
    load_publish(load);
    return work;
}

static int64_t load_next_due_ns(const struct salvo_load *load)
{
    if (load->conf->rate > 0 && load->full_since_ns == 0)
        return load_due_ns(load, load->next);
    return load->end_ns;
}

static void load_note_busy(struct salvo_load *load, int work, int64_t ns)
{
    if (work > 0 && load->measuring)
        load->result->busy_ns += ns;
}

static void load_submit_all(struct salvo_load *load)
{
    int64_t warm_ns = load->start_ns + load->conf->warmup_ns;
    int64_t now_ns = load->start_ns;
    bool over = false;

    while (!over) {
        int64_t turn_ns = now_ns;
        int work;

        if (!load->measuring && now_ns >= warm_ns)
            load_measure_begin(load);
        work = load_turn(load, true);
        now_ns = salvo_now_ns(load->conf->sender);
        load_note_busy(load, work, now_ns - turn_ns);
        over = load_submitting_over(load, now_ns);
        if (work == 0 && !over) {
            int64_t until_ns = load_next_due_ns(load);

            if (!load->measuring)
                until_ns = SALVO_MIN(until_ns, warm_ns);
            salvo_load_wait(load, now_ns, until_ns);
            now_ns = salvo_now_ns(load->conf->sender);
        }
    }
    load_note_room(load, now_ns, true);
}

/* Waits for the results of what is out. */
static void load_drain_until(struct salvo_load *load, int64_t deadline_ns)
{
    int64_t now_ns = salvo_now_ns(load->conf->sender);

    while (load->out > 0 && now_ns < deadline_ns) {
        int64_t turn_ns = now_ns;
        int work = load_turn(load, false);

        now_ns = salvo_now_ns(load->conf->sender);
        load_note_busy(load, work, now_ns - turn_ns);
        if (work == 0) {
            salvo_load_wait(load, now_ns, deadline_ns);
            now_ns = salvo_now_ns(load->conf->sender);
        }
    }
}

static void load_drain(struct salvo_load *load)
{
    int64_t now_ns = salvo_now_ns(load->conf->sender);

    atomic_store_explicit(&load->live->draining, true, memory_order_relaxed);
    load_drain_until(load, now_ns + load->conf->drain_ns);
    if (load->out > 0) {
        load->result->drain_cut = true;
        salvo_drain(load->conf->sender, 0);
        now_ns = salvo_now_ns(load->conf->sender);
        load_drain_until(load, now_ns + SALVO_NS_PER_S);
    }
    load_publish(load);
    salvo_load_live_end(load->live);
}

static void load_finish(struct salvo_load *load)
{
    struct salvo_load_result *result = load->result;
    int64_t from_ns = load->start_ns + load->conf->warmup_ns;
    int64_t committing_ns = SALVO_MAX(load->last_commit_ns - from_ns, INT64_C(0));

    result->open_loop = load->conf->rate > 0;
    /* n messages at a rate stand for n intervals: the last one's too. */
    if (result->open_loop)
        committing_ns = SALVO_MAX(
            committing_ns, (int64_t)((double)result->measured.committed * 1e9 / load->conf->rate));
    salvo_load_counts_add(&result->all, &load->warm);
    salvo_load_counts_add(&result->all, &result->measured);
    result->all.committed = load->next;
    result->all.planned = load->next;
    if (result->open_loop && load->target != UINT64_MAX)
        result->all.planned = SALVO_MAX(load->target, load->next);
    result->all.unsent += result->all.planned - load->next;
    result->warmup_ns = load->conf->warmup_ns;
    result->measured_ns = SALVO_MAX(
        committing_ns,
        (result->measured.acked != 0 ? load->last_ack_ns : load->last_result_ns) - from_ns);
    result->stolen_seconds = salvo_cpu_stolen_seconds() - load->stolen_before;
    if (load->measuring) {
        result->cpu_seconds = salvo_cpu_process_seconds() - load->cpu_before;
        result->lanes_busy_ns = (int64_t)(load_lane_busy_ns(load) - load->lane_busy_before_ns);
    }
}

/* The plan: how many messages, and until when. */
static void load_plan(struct salvo_load *load)
{
    const struct salvo_load_conf *conf = load->conf;
    int64_t span_ns = conf->warmup_ns + conf->duration_ns;

    load->target = UINT64_MAX;
    load->end_ns = INT64_MAX;
    if (conf->rate > 0) {
        load->interval_ns = load_interval_ns(conf);
        if (conf->count != 0)
            load->target = conf->count + load_count_before(load->interval_ns, conf->warmup_ns);
        if (conf->duration_ns != 0) {
            load->target = SALVO_MIN(load->target, load_count_before(load->interval_ns, span_ns));
            load->end_ns = load->start_ns + span_ns + conf->drain_ns;
        }
    } else {
        if (conf->duration_ns != 0)
            load->end_ns = load->start_ns + span_ns;
    }
    atomic_store_explicit(&load->live->warming, conf->warmup_ns > 0, memory_order_relaxed);
}

static int load_open(struct salvo_load *load)
{
    const struct salvo_load_conf *conf = load->conf;

    salvo_assert(conf->submitters >= 1 && conf->submitters <= SALVO_LOAD_SUBMITTERS_MAX);
    salvo_assert(conf->topics_count >= 1 && conf->topics_count <= SALVO_LOAD_TOPICS_MAX);
    for (unsigned i = 0; i < conf->submitters; i++) {
        load->submitters[i] = salvo_submitter_open(conf->sender);
        if (load->submitters[i] == NULL)
            return -errno;
    }
    return salvo_payload_init(&load->payload, &conf->payload);
}

/* Undoes load_open, also a half one. */
static void load_close(struct salvo_load *load)
{
    for (unsigned i = 0; i < load->conf->submitters; i++) {
        if (load->submitters[i] != NULL && salvo_submitter_close(load->submitters[i]))
            load->result->trouble = "a submitter could not be closed: results are missing";
    }
    salvo_payload_deinit(&load->payload);
}

int salvo_load_run(const struct salvo_load_conf *conf, struct salvo_load_live *live,
                   struct salvo_load_result *ret_result)
{
    struct salvo_load load = {.conf = conf, .live = live, .result = ret_result};
    int r;

    memset(ret_result, 0, sizeof(*ret_result));
    salvo_hist_reset(&ret_result->latency);
    salvo_hist_reset(&ret_result->schedule_error);
    r = load_open(&load);
    if (r == 0) {
        salvo_load_wait_init();
        salvo_payload_next(&load.payload, &load.draw);
        /* Not behind the warm-up: on large machines the kernel takes long to say it. */
        load.stolen_before = salvo_cpu_stolen_seconds();
        load.start_ns = salvo_now_ns(conf->sender);
        load_plan(&load);
        load_submit_all(&load);
        load_drain(&load);
        load_finish(&load);
    }
    load_close(&load);
    return r;
}
