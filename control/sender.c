/* Set-up, threads and stop of a sender: see sender.h. */
#include "control/sender.h"

#include "base/error.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Control has its turn at least so often when it shares a thread with lanes: its answers wait so
 * long. */
#define SENDER_CONTROL_TURN_NS (500 * SALVO_NS_PER_US)
/* The longest a thread sleeps without looking round. */
#define SENDER_SLEEP_NS_MAX SALVO_NS_PER_S

#define SENDER_WAIT_NS SALVO_NS_PER_MS
/* For a lane's turn: far longer than one takes. */
#define SENDER_SUBMITTER_WAIT_NS SALVO_NS_PER_S

/* --- turning ---------------------------------------------------------------------------------- */

/* Local time's month around `ms` (MessageClientIDSetter.setStartTime). */
static void sender_month(int64_t ms, int64_t *ret_start_ms, int64_t *ret_end_ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;

    localtime_r(&seconds, &tm);
    tm = (struct tm){.tm_year = tm.tm_year, .tm_mon = tm.tm_mon, .tm_mday = 1, .tm_isdst = -1};
    *ret_start_ms = (int64_t)mktime(&tm) * 1000;
    tm = (struct tm){.tm_year = tm.tm_year, .tm_mon = tm.tm_mon + 1, .tm_mday = 1, .tm_isdst = -1};
    *ret_end_ms = (int64_t)mktime(&tm) * 1000;
}

/* Control's turn, and what was asked of it from outside. */
static int sender_control_turn(struct salvo_sender *sender)
{
    /* Acquire: pairs with the release in salvo_sender_drain. */
    int64_t drain_at_ns = atomic_load_explicit(&sender->drain_at_ns, memory_order_acquire);
    int work = salvo_control_do_work(&sender->control);

    if (drain_at_ns != sender->drain_told_ns && salvo_control_drain(&sender->control, drain_at_ns))
        sender->drain_told_ns = drain_at_ns;
    if (sender->drain_told_ns != 0 && salvo_control_drained(&sender->control))
        atomic_store_explicit(&sender->drained, 1, memory_order_release);
    if (atomic_load_explicit(&sender->stopping, memory_order_acquire) == 0)
        return work;
    if (atomic_load_explicit(&sender->stopping, memory_order_relaxed) == 1) {
        salvo_control_begin_stop(&sender->control);
        atomic_store_explicit(&sender->stopping, 2, memory_order_relaxed);
    }
    if (salvo_control_stopped(&sender->control))
        atomic_store_explicit(&sender->control_done, 1, memory_order_release);
    return work;
}

/* One lane's rest after a turn that found no work: by its idle strategy, at most max_ns. */
static void sender_lane_rest(struct salvo_sender *sender, struct salvo_lane *lane,
                             struct salvo_idle *idle, int work, int64_t max_ns)
{
    struct salvo_idle_plan plan;
    int64_t now_ns;

    if (work > 0) {
        salvo_idle_next(idle, work, 0, INT64_MAX);
        return;
    }
    now_ns = salvo_clock_mono_ns(sender->clock);
    if (lane->answer_ns != 0)
        salvo_idle_note_answer(idle, lane->answer_ns);
    plan =
        salvo_idle_next(idle, work, salvo_lane_outstanding(lane), salvo_lane_next_ns(lane, now_ns));
    if (plan.yield)
        sched_yield();
    else if (plan.wait_ns <= 0)
        salvo_cpu_relax(); /* leaves the core to its other thread, the rings to their submitters */
    if (plan.wait_ns <= 0)
        return;
    plan.wait_ns = SALVO_MIN(plan.wait_ns, max_ns);
    salvo_counter_add(lane->conf.counters, SALVO_LANE_SLEEPS, 1);
    /* Short waits are not announced: a submitter's wake-up would cost more than they are long. */
    if (plan.wait_ns <= salvo_idle_gather_ns(idle))
        salvo_lane_sleep(lane, plan.events_min, plan.wait_ns, plan.wait_ns, false);
    else
        salvo_lane_sleep(lane, plan.events_min, 0, plan.wait_ns, true);
}

struct sender_lane_arg {
    struct salvo_sender *sender;
    uint32_t index;
};

static bool sender_stopped(struct salvo_sender *sender)
{
    return atomic_load_explicit(&sender->stop, memory_order_acquire) != 0;
}

/* The n-th number of a comma list; -1 when there is none. */
static int sender_cpu(const char *list, uint32_t index)
{
    for (; index != 0 && list != NULL; index--) {
        list = strchr(list, ',');
        list = list == NULL ? NULL : list + 1;
    }
    return list == NULL || *list == '\0' ? -1 : (int)strtol(list, NULL, 10);
}

static void *sender_lane_run(void *arg)
{
    struct sender_lane_arg *lane_arg = arg;
    struct salvo_sender *sender = lane_arg->sender;
    uint32_t index = lane_arg->index;
    struct salvo_lane *lane = sender->lanes[index];
    int cpu = sender_cpu(sender->config.lane_cpus, index);

    free(lane_arg);
    if (cpu >= 0)
        salvo_cpu_pin(cpu);   /* checked at start */
    salvo_lane_do_work(lane); /* the first turn binds the net, and may allocate */
    salvo_alloc_forbid(true);
    while (!sender_stopped(sender)) {
        int work = salvo_lane_do_work(lane);

        sender_lane_rest(sender, lane, &sender->idles[index], work, SENDER_SLEEP_NS_MAX);
    }
    salvo_alloc_forbid(false);
    return NULL;
}

static void *sender_control_run(void *arg)
{
    struct salvo_sender *sender = arg;
    int cpu = sender_cpu(sender->config.control_cpu, 0);

    if (cpu >= 0)
        salvo_cpu_pin(cpu);
    while (!sender_stopped(sender)) {
        if (sender_control_turn(sender) == 0)
            salvo_control_wait(&sender->control, 0);
    }
    return NULL;
}

static int sender_turn_all(struct salvo_sender *sender)
{
    int64_t now_ns = salvo_clock_mono_ns(sender->clock);
    bool virtual = sender->env.pass != NULL;
    int lanes_work = 0;
    int work = 0;

    if (virtual || now_ns >= sender->control_due_ns) {
        sender->control_due_ns = now_ns + SENDER_CONTROL_TURN_NS;
        work += sender_control_turn(sender);
    }
    for (uint32_t i = 0; i < sender->lanes_count; i++) {
        int lane_work = salvo_lane_do_work(sender->lanes[i]);

        work += lane_work;
        lanes_work += lane_work;
    }
    /* Told here: who turns us need not call salvo_idle() after a turn that found work. The lanes of
     * one thread rest together, by the strategy of the first. */
    if (lanes_work > 0)
        salvo_idle_next(&sender->idles[0], lanes_work, 0, INT64_MAX);
    return work;
}

/* One thread turns control and every lane; whoever wakes one of them wakes it in lane 0's net. */
static void *sender_shared_run(void *arg)
{
    struct salvo_sender *sender = arg;
    int cpu = sender_cpu(sender->config.lane_cpus, 0);

    if (cpu >= 0)
        salvo_cpu_pin(cpu);
    while (!sender_stopped(sender)) {
        int work = sender_turn_all(sender);

        salvo_sender_idle(sender, work, SENDER_SLEEP_NS_MAX);
    }
    return NULL;
}

/* Caller mode: whether this thread may turn; the first that asks is the one. */
static bool sender_may_turn(struct salvo_sender *sender)
{
    if (sender->owner == 0)
        sender->owner = salvo_thread_id();
    return sender->owner == salvo_thread_id();
}

int salvo_sender_do_work(struct salvo_sender *sender)
{
    if (sender->config.threads != SALVO_THREADS_CALLER)
        return salvo_raise(-EINVAL);
    if (!sender_may_turn(sender))
        return salvo_raise(-EPERM);
    return sender_turn_all(sender);
}

int64_t salvo_sender_next_ns(struct salvo_sender *sender)
{
    int64_t now_ns = salvo_clock_mono_ns(sender->clock);
    int64_t next_ns = salvo_control_next_ns(&sender->control);

    for (uint32_t i = 0; i < sender->lanes_count; i++) {
        int64_t in_ns = salvo_lane_next_ns(sender->lanes[i], now_ns);

        if (in_ns != INT64_MAX)
            next_ns = SALVO_MIN(next_ns, now_ns + in_ns);
    }
    return next_ns;
}

/* The rest of several lanes on one thread. It sleeps in one net, and what comes to those of the
 * others does not end that: while answers are awaited it is as short as they may gather. */
static void sender_lanes_rest(struct salvo_sender *sender, int64_t now_ns, int64_t max_ns)
{
    struct salvo_idle *idle = &sender->idles[0];
    struct salvo_lane *busiest = sender->lanes[0];
    uint64_t outstanding = 0;
    int64_t next_ns = INT64_MAX;
    struct salvo_idle_plan plan;
    int64_t gather_ns;

    for (uint32_t i = 0; i < sender->lanes_count; i++) {
        struct salvo_lane *lane = sender->lanes[i];

        outstanding += salvo_lane_outstanding(lane);
        next_ns = SALVO_MIN(next_ns, salvo_lane_next_ns(lane, now_ns));
        if (salvo_lane_outstanding(lane) > salvo_lane_outstanding(busiest))
            busiest = lane;
    }
    if (busiest->answer_ns != 0)
        salvo_idle_note_answer(idle, busiest->answer_ns);
    gather_ns = salvo_idle_gather_ns(idle);
    plan = salvo_idle_next(idle, 0, outstanding, next_ns);
    plan.wait_ns = SALVO_MIN(plan.wait_ns, max_ns);
    if (plan.yield || (plan.wait_ns > 0 && outstanding != 0 && gather_ns == 0))
        sched_yield();
    else if (plan.wait_ns > 0) {
        salvo_counter_add(busiest->conf.counters, SALVO_LANE_SLEEPS, 1);
        if (plan.wait_ns <= gather_ns)
            salvo_lane_sleep(busiest, plan.events_min, plan.wait_ns, plan.wait_ns, false);
        else
            salvo_lanes_sleep(sender->lanes, sender->lanes_count,
                              outstanding == 0 ? plan.wait_ns : gather_ns);
    } else {
        salvo_cpu_relax();
    }
}

void salvo_sender_idle(struct salvo_sender *sender, int work, int64_t max_ns)
{
    int64_t now_ns;

    if (work > 0 || sender->lanes[0]->owner != salvo_thread_id())
        return; /* who did not turn the lanes yet, has nothing to sleep in */
    /* Control's own connections are not in this wait: with something to do soon it is kept short.
     */
    now_ns = salvo_clock_mono_ns(sender->clock);
    max_ns = SALVO_MIN(max_ns, SALVO_MAX(salvo_control_next_ns(&sender->control) - now_ns, 0));
    max_ns = SALVO_MIN(max_ns, 4 * SENDER_CONTROL_TURN_NS);
    if (sender->lanes_count == 1)
        sender_lane_rest(sender, sender->lanes[0], &sender->idles[0], work, max_ns);
    else
        sender_lanes_rest(sender, now_ns, max_ns);
}

/* --- start ------------------------------------------------------------------------------------ */

static int sender_net_open(void *arg, uint32_t lane_index, const struct salvo_net_conf *conf,
                           struct salvo_net **ret_net, const char **ret_note)
{
    struct salvo_sender *sender = arg;

    static_assert(SALVO_ENV_CONTROL == UINT32_MAX, "as salvo_nets_open has it");
    return salvo_nets_open(&sender->nets, lane_index, conf, ret_net, ret_note);
}

static int sender_error(char *errbuf, size_t errbuf_size, int code, const char *what)
{
    snprintf(errbuf, errbuf_size, "%s: %s", what, salvo_error_text(code));
    return salvo_raise(code);
}

/* A host that refuses io_uring (containers do) refuses it by name only when it was asked for. */
static int sender_net_error(char *errbuf, size_t errbuf_size, int code, const char *what,
                            bool uring)
{
    if (!uring || code == -EMFILE)
        return sender_error(errbuf, errbuf_size, code, what);
    snprintf(errbuf, errbuf_size,
             "%s: the host refuses io_uring (%s): set net to auto or epoll; salvo check says more",
             what, strerror(-code));
    return salvo_raise(code);
}

static int sender_lane_start(struct salvo_sender *sender, uint32_t index, uint64_t seed,
                             char *errbuf, size_t errbuf_size)
{
    struct salvo_plan *plan = &sender->plan;
    struct salvo_lane_conf conf = plan->lane;
    struct salvo_net_conf net_conf = plan->net;
    uint8_t *chunks = sender->nets.lanes[index].memory;
    struct salvo_lane *lane = SALVO_ARENA_TAKE(&sender->arena, struct salvo_lane, 1);
    const char *note = NULL;
    char what[64];
    int r;

    if (chunks == NULL)
        chunks = salvo_arena_take(&sender->arena, plan->chunks_memory, 4096);
    net_conf.clock = sender->clock;
    net_conf.send_memory = chunks;
    net_conf.send_memory_size = plan->chunks_memory;
    conf.lane_index = index;
    conf.clock = sender->clock;
    snprintf(what, sizeof(what), "network backend of lane %u", index);
    r = sender->env.net_open(sender->env.arg, index, &net_conf, &conf.net, &note);
    if (r)
        return sender_net_error(errbuf, errbuf_size, r, what,
                                sender->config.net == SALVO_NET_URING);
    if (note != NULL) {
        sender->net_note = note;
        sender->net_note_lanes++;
    }
    conf.mirror = sender->nets.mirrors != NULL ? &sender->nets.mirrors[index] : NULL;
    conf.submitters = sender->submitters;
    conf.submitters_epoch = &sender->submitters_epoch;
    conf.availability = sender->availability;
    conf.counters = salvo_statfile_lane_counters(&sender->statfile, index);
    conf.latency = salvo_statfile_hist(&sender->statfile, index);
    conf.seed = seed + index;
    r = salvo_lane_init(lane, &conf, &sender->arena, chunks);
    if (r) {
        salvo_net_destroy(conf.net);
        return sender_error(errbuf, errbuf_size, r, "a lane");
    }
    sender->lanes[index] = lane;
    sender->ports[index] = &lane->port;
    salvo_idle_init(&sender->idles[index], (enum salvo_idle_kind)sender->config.idle,
                    (uint32_t)sender->config.gather_us, sender->config.gather_answers);
    sender->lanes_count = index + 1;
    return 0;
}

static int sender_statfile_start(struct salvo_sender *sender, char *errbuf, size_t errbuf_size)
{
    char labels[64][48];
    const char *pointers[64];
    char error[SALVO_STATFILE_ERROR_MAX];
    struct salvo_statfile_conf conf = {
        .path = sender->config.stat_file,
        .lanes_count = sender->config.lanes,
        .hists_count = sender->config.lanes,
        .hist_labels = pointers,
        .start_ms = salvo_clock_wall_ms(sender->clock),
        .salvo_version = salvo_version(),
    };
    int r;

    for (uint32_t i = 0; i < sender->config.lanes; i++) {
        snprintf(labels[i], sizeof(labels[i]), "lane %u: sent to answered, ns", i);
        pointers[i] = labels[i];
    }
    r = salvo_statfile_open(&sender->statfile, &conf, error);
    if (r) {
        snprintf(errbuf, errbuf_size, "%s", error);
        return salvo_trace(r);
    }
    sender->statfile_open = true;
    for (uint32_t i = 0; i < sender->config.lanes; i++)
        salvo_hist_reset(salvo_statfile_hist(&sender->statfile, i));
    return 0;
}

static int sender_submitters_start(struct salvo_sender *sender, uint64_t seed, char *errbuf,
                                   size_t errbuf_size)
{
    struct salvo_submitter_conf conf = sender->plan.submitter;
    const struct salvo_identity *identity = &sender->control.identity;

    conf.clock = sender->clock;
    conf.month = sender_month;
    conf.ip = identity->ip;
    conf.ip_size = identity->ip_size;
    conf.pid = identity->pid;
    for (uint32_t i = 0; i < sender->config.submitters_max; i++) {
        int r;

        conf.index = i;
        conf.mid = (uint32_t)(seed >> 16) + i;
        r = salvo_submitter_init(
            &sender->submitters[i], &conf,
            salvo_arena_take(&sender->arena, sender->plan.submitter_memory, SALVO_CACHE_LINE),
            sender, &sender->draining);
        if (r)
            return sender_error(errbuf, errbuf_size, r, "a submitter");
    }
    return 0;
}

static int sender_control_start(struct salvo_sender *sender, uint64_t seed, char *errbuf,
                                size_t errbuf_size)
{
    struct salvo_control_conf conf = {
        .config = &sender->config,
        .clock = sender->clock,
        .seed = seed,
        .ports = sender->ports,
        .lanes_count = sender->lanes_count,
        .mirrors = sender->nets.mirrors,
        .availability = sender->availability,
        .counters = salvo_statfile_control_counters(&sender->statfile),
        .errors = &sender->errors,
        .log = &sender->log,
        .statfile = &sender->statfile,
        .lease = salvo_nets_lease(&sender->nets),
        .net = sender->control_net,
    };
    int r = salvo_control_init(&sender->control, &conf, errbuf, errbuf_size);

    sender->control_ready = r == 0;
    if (r == 0 && sender->config.dpdk_capture[0] != '\0' && sender->config.dpdk_capture_at_start)
        r = salvo_capture_begin(&sender->control.capture, "dpdk_capture",
                                sender->config.dpdk_capture, sender->config.dpdk_capture_filter,
                                errbuf, errbuf_size);
    if (r == 0 && sender->config.threads == SALVO_THREADS_DEDICATED)
        for (uint32_t i = 0; i < sender->lanes_count; i++)
            salvo_lane_tells(sender->lanes[i], sender->control.net, &sender->control.asleep);
    return salvo_trace(r);
}

/* Every CPU named must be one of ours. */
static int sender_check_cpus(const struct salvo_config *config, char *errbuf, size_t errbuf_size)
{
    char allowed[128];

    for (uint32_t i = 0; i <= config->lanes; i++) {
        int cpu = i == config->lanes ? sender_cpu(config->control_cpu, 0)
                                     : sender_cpu(config->lane_cpus, i);

        if (cpu < 0 || salvo_cpu_is_allowed(cpu))
            continue;
        salvo_cpu_print_allowed(allowed, sizeof(allowed));
        snprintf(errbuf, errbuf_size,
                 "%s names CPU %d, which this process may not use: it may use %s",
                 i == config->lanes ? "control_cpu" : "lane_cpus", cpu, allowed);
        return salvo_raise(-EINVAL);
    }
    return 0;
}

static int sender_take(struct salvo_sender *sender, uint64_t seed, char *errbuf, size_t errbuf_size)
{
    char error[SALVO_CONFIG_ERROR_MAX];
    struct salvo_net_conf control_net;
    struct salvo_memory memory;
    const char *note = NULL;
    size_t size;
    int r = 0;

    /* First: packets may need huge pages, the arena can do without. */
    if (sender->env.net_open == sender_net_open)
        r = salvo_nets_start(&sender->nets, &sender->config, sender->clock, &sender->log, errbuf,
                             errbuf_size);
    if (r)
        return r;
    size = sender->plan.arena_size -
           salvo_nets_take_memory(&sender->nets, sender->plan.chunks_memory) *
               salvo_arena_cost(sender->plan.chunks_memory, SALVO_MIB(2));
    salvo_memory_read("", &memory);
    r = salvo_plan_fits(size, sender->config.huge_pages, &memory, error);
    if (r) {
        snprintf(errbuf, errbuf_size, "%s", error);
        return salvo_trace(r);
    }
    r = salvo_arena_init(&sender->arena, size, sender->config.huge_pages);
    if (r)
        return sender_error(errbuf, errbuf_size, r,
                            "memory (salvo check prints how much; lower messages_out_max, "
                            "chunks_max or body_size_max)");
    r = sender_statfile_start(sender, errbuf, errbuf_size);
    if (r)
        return r;
    sender->submitters =
        SALVO_ARENA_TAKE(&sender->arena, struct salvo_submitter, sender->config.submitters_max);
    sender->availability =
        SALVO_ARENA_TAKE(&sender->arena, salvo_availability, sender->config.brokers_max);
    if (!salvo_config_control_by_lane(&sender->config)) {
        salvo_net_conf_default(&control_net, sender->clock);
        control_net.links_max = salvo_control_links_max(&sender->config);
        control_net.disabled = sender->plan.net.disabled;
        r = sender->env.net_open(sender->env.arg, SALVO_ENV_CONTROL, &control_net,
                                 &sender->control_net, &note);
        if (r)
            return sender_net_error(errbuf, errbuf_size, r, "control's network", false);
    }
    for (uint32_t i = 0; i < sender->plan.lanes_count; i++) {
        r = sender_lane_start(sender, i, seed, errbuf, errbuf_size);
        if (r)
            return r;
    }
    if (sender->config.threads != SALVO_THREADS_DEDICATED) /* their thread sleeps there */
        for (uint32_t i = 1; i < sender->lanes_count; i++)
            sender->ports[i]->net = sender->ports[0]->net;
    r = sender_control_start(sender, seed, errbuf, errbuf_size);
    if (r == 0)
        r = sender_submitters_start(sender, seed, errbuf, errbuf_size);
    if (r == 0)
        salvo_arena_lock(&sender->arena);
    return r;
}

static int sender_thread(struct salvo_sender *sender, const char *name, void *(*run)(void *),
                         void *arg)
{
    int r = salvo_thread_start(&sender->threads[sender->threads_count], name, run, arg);

    if (r == 0)
        sender->threads_count++;
    return r;
}

/* EAGAIN hides memory for the stack, too. */
static void sender_thread_error(char *errbuf, size_t errbuf_size, int code)
{
    snprintf(errbuf, errbuf_size,
             "no thread can be started: %s; raise the limit on memory (ulimit -v) or on processes "
             "(ulimit -u, TasksMax, the cgroup's pids.max)",
             strerror(-code));
}

static int sender_threads_start(struct salvo_sender *sender)
{
    char name[16];
    int r;

    switch ((enum salvo_config_threads)sender->config.threads) {
    case SALVO_THREADS_CALLER:
        return 0;
    case SALVO_THREADS_SHARED:
        return sender_thread(sender, "salvo-shared", sender_shared_run, sender);
    case SALVO_THREADS_DEDICATED:
        break;
    }
    r = sender_thread(sender, "salvo-control", sender_control_run, sender);
    for (uint32_t i = 0; r == 0 && i < sender->lanes_count; i++) {
        struct sender_lane_arg *arg = malloc(sizeof(*arg));

        if (arg == NULL)
            return salvo_raise(-ENOMEM);
        *arg = (struct sender_lane_arg){sender, i};
        snprintf(name, sizeof(name), "salvo-lane-%u", i & 255);
        r = sender_thread(sender, name, sender_lane_run, arg);
        if (r)
            free(arg);
    }
    return r;
}

int salvo_sender_check(const struct salvo_config *config, char *errbuf, size_t errbuf_size)
{
    char error[SALVO_STATFILE_ERROR_MAX];
    int r = sender_check_cpus(config, errbuf, errbuf_size);

    if (r == 0 && config->nameserver[0] != '\0')
        r = salvo_nameservers_check(config->nameserver, errbuf, errbuf_size);
    if (r)
        return salvo_trace(r);
    r = salvo_statfile_check(config->stat_file, error);
    if (r)
        snprintf(errbuf, errbuf_size, "%s", error);
    return salvo_trace(r);
}

int salvo_sender_start(struct salvo_sender *sender, const struct salvo_config *config,
                       const struct salvo_log *log, const struct salvo_sender_env *env,
                       char *errbuf, size_t errbuf_size)
{
    char error[SALVO_CONFIG_ERROR_MAX];
    struct salvo_random random;
    uint64_t seed;
    int r;

    memset(sender, 0, sizeof(*sender));
    sender->config = *config;
    sender->log = *log;
    if (env != NULL)
        sender->env = *env;
    if (sender->env.net_open == NULL) {
        sender->env.net_open = sender_net_open;
        sender->env.arg = sender;
    }
    sender->clock = sender->env.clock != NULL ? sender->env.clock : salvo_clock_tsc();
    seed = sender->env.seed;
    if (seed == 0) {
        salvo_random_init_system(&random);
        seed = salvo_random_next(&random);
    }
    r = salvo_plan_make(config, &sender->plan, error);
    if (r) {
        snprintf(errbuf, errbuf_size, "%s", error);
        return salvo_trace(r);
    }
    r = salvo_sender_check(config, errbuf, errbuf_size);
    if (r)
        return salvo_trace(r);
    sender->lanes = calloc(sender->plan.lanes_count, sizeof(struct salvo_lane *));
    sender->ports = calloc(sender->plan.lanes_count, sizeof(struct salvo_lane_port *));
    sender->idles = calloc(sender->plan.lanes_count, sizeof(struct salvo_idle));
    sender->threads = calloc(sender->plan.lanes_count + 1, sizeof(pthread_t));
    if (sender->lanes == NULL || sender->ports == NULL || sender->idles == NULL ||
        sender->threads == NULL)
        r = sender_error(errbuf, errbuf_size, -ENOMEM, "memory");
    if (r == 0)
        r = sender_take(sender, seed, errbuf, errbuf_size);
    if (r == 0) {
        r = sender_threads_start(sender);
        if (r)
            sender_thread_error(errbuf, errbuf_size, r);
    }
    if (r)
        salvo_sender_stop(sender);
    return salvo_trace(r);
}

/* --- drain and stop --------------------------------------------------------------------------- */

/* Waits a moment for what threads or turns are to bring. */
static void sender_pass(struct salvo_sender *sender, int64_t until_ns)
{
    struct timespec moment = {.tv_nsec = SENDER_WAIT_NS / 4};
    int work;

    if (sender->config.threads != SALVO_THREADS_CALLER || !sender->control_ready) {
        nanosleep(&moment, NULL);
        return;
    }
    work = sender_turn_all(sender);
    if (work != 0)
        return;
    if (sender->env.pass != NULL)
        sender->env.pass(sender->env.arg, SALVO_MIN(until_ns, salvo_sender_next_ns(sender)));
    else
        salvo_sender_idle(sender, work, SENDER_WAIT_NS);
}

int salvo_sender_drain(struct salvo_sender *sender, int64_t drain_ns)
{
    int64_t deadline_ns = salvo_clock_mono_ns(sender->clock) + drain_ns;
    int64_t earliest_ns = atomic_load_explicit(&sender->drain_at_ns, memory_order_relaxed);
    bool late = false;

    if (sender->config.threads == SALVO_THREADS_CALLER && !sender_may_turn(sender))
        return salvo_raise(-EPERM);
    atomic_store_explicit(&sender->draining, 1, memory_order_relaxed);
    /* Release: pairs with the acquire in sender_control_turn. */
    while ((earliest_ns == 0 || deadline_ns < earliest_ns) &&
           !atomic_compare_exchange_weak_explicit(&sender->drain_at_ns, &earliest_ns, deadline_ns,
                                                  memory_order_release, memory_order_relaxed))
        ;
    if (sender->control_ready)
        salvo_control_wake(&sender->control);
    /* Acquire: pairs with the release of drained; results are in their rings. */
    while (atomic_load_explicit(&sender->drained, memory_order_acquire) == 0)
        sender_pass(sender, deadline_ns);
    for (uint32_t i = 0; i < sender->lanes_count; i++)
        late |= sender->lanes[i]->drain_late;
    return late ? -ETIMEDOUT : 0;
}

static void sender_threads_stop(struct salvo_sender *sender)
{
    int64_t until_ns = salvo_clock_mono_ns(sender->clock) +
                       (sender->config.api_timeout_ms + 100) * SALVO_NS_PER_MS;

    /* In caller mode by the thread that turned; another only frees. */
    if (sender->control_ready &&
        (sender->threads_count != 0 || sender->owner == salvo_thread_id())) {
        atomic_store_explicit(&sender->stopping, 1, memory_order_release);
        salvo_control_wake(&sender->control);
        while (atomic_load_explicit(&sender->control_done, memory_order_acquire) == 0 &&
               salvo_clock_mono_ns(sender->clock) < until_ns)
            sender_pass(sender, until_ns);
    }
    atomic_store_explicit(&sender->stop, 1, memory_order_release);
    if (sender->threads_count != 0) {
        salvo_control_wake(&sender->control);
        for (uint32_t i = 0; i < sender->lanes_count; i++)
            salvo_net_wake(sender->lanes[i]->net);
    }
    for (uint32_t i = 0; i < sender->threads_count; i++)
        salvo_thread_join(sender->threads[i]);
    sender->threads_count = 0;
}

void salvo_sender_stop(struct salvo_sender *sender)
{
    sender_threads_stop(sender);
    for (uint32_t i = 0; i < sender->lanes_count; i++)
        salvo_net_destroy(sender->lanes[i]->net);
    if (sender->control_ready)
        salvo_control_deinit(&sender->control); /* and its net */
    else if (sender->control_net != NULL)
        salvo_net_destroy(sender->control_net);
    salvo_nets_stop(&sender->nets);
    for (uint32_t i = 0; i < sender->lanes_count; i++)
        salvo_lane_deinit(sender->lanes[i]);
    if (sender->submitters != NULL) /* what was not made yet is zero */
        for (uint32_t i = 0; i < sender->config.submitters_max; i++)
            salvo_submitter_deinit(&sender->submitters[i]);
    if (sender->statfile_open)
        salvo_statfile_close(&sender->statfile);
    salvo_arena_deinit(&sender->arena);
    free(sender->lanes);
    free(sender->ports);
    free(sender->idles);
    free(sender->threads);
}

/* --- submitters ------------------------------------------------------------------------------- */

/* The lane that fewest submitters are bound to. */
static uint32_t sender_lane_fewest(struct salvo_sender *sender)
{
    uint32_t counts[64] = {0};
    uint32_t fewest = 0;

    for (uint32_t i = 0; i < sender->config.submitters_max; i++) {
        struct salvo_submitter *s = &sender->submitters[i];

        if (atomic_load_explicit(&s->state, memory_order_acquire) == SALVO_SUBMITTER_OPEN)
            counts[atomic_load_explicit(&s->lane_index, memory_order_relaxed)]++;
    }
    for (uint32_t i = 1; i < sender->lanes_count; i++)
        if (counts[i] < counts[fewest])
            fewest = i;
    return fewest;
}

static void sender_submitters_changed(struct salvo_sender *sender, uint32_t lane_index)
{
    /* Release: pairs with the acquire in lane_find_submitters. */
    atomic_fetch_add_explicit(&sender->submitters_epoch, 1, memory_order_release);
    salvo_lane_port_wake(sender->ports[lane_index]);
}

/* 0, -ENOSPC when all are open, -EAGAIN when one is with its lane yet. */
static int sender_submitter_take(struct salvo_sender *sender, struct salvo_submitter **ret_s)
{
    uint32_t lane_index = sender_lane_fewest(sender);
    bool closing = false;

    for (uint32_t i = 0; i < sender->config.submitters_max; i++) {
        struct salvo_submitter *s = &sender->submitters[i];

        if (salvo_submitter_take(s, sender->ports[lane_index])) {
            sender_submitters_changed(sender, lane_index);
            *ret_s = s;
            return 0;
        }
        closing |= atomic_load_explicit(&s->state, memory_order_relaxed) != SALVO_SUBMITTER_OPEN;
    }
    return closing ? -EAGAIN : -ENOSPC;
}

int salvo_sender_submitter(struct salvo_sender *sender, struct salvo_submitter **ret_s)
{
    int64_t until_ns = salvo_clock_mono_ns(sender->clock) + SENDER_SUBMITTER_WAIT_NS;
    int r = sender_submitter_take(sender, ret_s);

    /* One that was closed is free with its lane's next turn. */
    while (r == -EAGAIN && salvo_clock_mono_ns(sender->clock) < until_ns) {
        if (sender->config.threads == SALVO_THREADS_CALLER && !sender_may_turn(sender))
            break;
        sender_pass(sender, until_ns);
        r = sender_submitter_take(sender, ret_s);
    }
    return salvo_trace(r);
}

void salvo_sender_submitter_done(struct salvo_sender *sender, struct salvo_submitter *s)
{
    uint32_t lane_index = atomic_load_explicit(&s->lane_index, memory_order_relaxed);

    /* Release: pairs with the acquire in lane_find_submitters: we touch it no more. */
    atomic_store_explicit(&s->state, SALVO_SUBMITTER_CLOSING, memory_order_release);
    sender_submitters_changed(sender, lane_index);
}
