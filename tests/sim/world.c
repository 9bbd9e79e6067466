/* What a seed means, the world's set-up, one step of it, and a run from start to close. See sim.h.
 *
 * Time stands still while anybody works and then moves to the next thing that will happen; turns
 * cost a microsecond or two, so that no busy turn can hold it up. */
#include "tests/sim/sim.h"

#include "codec/send.h"
#include "tests/support/net_filter.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define SIM_FAILURES_MAX 12u
/* A turn costs so much virtual time at least. */
#define SIM_TURN_NS (2 * SALVO_NS_PER_US)
/* Nothing to do: looks again after this at the latest, with doubling steps up to it. */
#define SIM_REST_NS_MIN (10 * SALVO_NS_PER_US)
#define SIM_REST_NS_MAX (4 * SALVO_NS_PER_MS)
/* From the last answer on a connection that drains to its close. */
#define SIM_DRAINING_NS_MAX (20 * SALVO_NS_PER_MS)
/* Two probes, each as long as the connection and the answer may take, and the pauses before. */
#define SIM_UNREACHABLE_NS_MAX (10 * SALVO_NS_PER_S)
/* More turns than this and the run does not get anywhere. */
#define SIM_TURNS_MAX 4000000u

/* --- words of the log ------------------------------------------------------------------------- */

static void sim_log_line(void *arg, int64_t now_ns, const char *line)
{
    struct sim *sim = arg;
    uint64_t hash = (sim->hash ^ (uint64_t)now_ns) * UINT64_C(0x100000001b3);

    for (const char *p = line; *p != '\0'; p++)
        hash = (hash ^ (uint8_t)*p) * UINT64_C(0x100000001b3);
    sim->hash = hash;
    if (sim->verbose)
        printf("%12.6f %s\n", (double)(now_ns - sim->start_ns) / 1e9, line);
}

void sim_note(struct sim *sim, const char *format, ...)
{
    char line[512];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    sim_log_line(sim, salvo_clock_mono_ns(sim->clock), line);
}

void sim_fail(struct sim *sim, const char *format, ...)
{
    char line[512];
    va_list args;

    if (sim->failures++ >= SIM_FAILURES_MAX)
        return;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    fprintf(sim->verbose ? stdout : stderr, "seed %llu, %.6f s: %s\n",
            (unsigned long long)sim->seed, (double)sim_now(sim) / 1e9, line);
}

int64_t sim_now(const struct sim *sim)
{
    return salvo_clock_mono_ns(sim->clock) - sim->start_ns;
}

uint64_t sim_below(struct sim *sim, uint64_t bound)
{
    return salvo_random_below(&sim->random, bound);
}

bool sim_chance(struct sim *sim, uint32_t permille)
{
    return salvo_random_chance(&sim->random, permille, 1000);
}

uint32_t sim_between(struct sim *sim, uint32_t least, uint32_t most)
{
    return least + (uint32_t)sim_below(sim, (uint64_t)(most - least) + 1);
}

/* --- what a seed means ------------------------------------------------------------------------ */

static void sim_set(struct sim *sim, salvo_conf *conf, const char *name, const char *format, ...)
    SALVO_PRINTF(4, 5);

static void sim_set(struct sim *sim, salvo_conf *conf, const char *name, const char *format, ...)
{
    char error[SALVO_ERROR_MAX];
    char value[256];
    va_list args;

    va_start(args, format);
    vsnprintf(value, sizeof(value), format, args);
    va_end(args);
    if (salvo_conf_set(conf, name, value, error, sizeof(error)) != 0) {
        fprintf(stderr, "sender_sim: %s\n", error);
        abort();
    }
    sim_note(sim, "%s = %s", name, value);
}

static void sim_plan_make(struct sim *sim)
{
    struct sim_plan *plan = &sim->plan;
    bool small = sim_chance(sim, 700);

    *plan = (struct sim_plan){
        .nameservers = sim_between(sim, 1, 2),
        .brokers = sim_between(sim, 2, SIM_BROKERS_MAX),
        .lanes = sim_between(sim, 1, 2),
        .submitters = sim_between(sim, 1, SIM_SUBMITTERS_MAX),
        .messages = sim_between(sim, 2000, 2300),
        .faults = sim_between(sim, 6, 9),
        .filter = sim_chance(sim, 150),
        .auto_create = sim_chance(sim, 600),
        .body_max = small ? sim_between(sim, 400, 8000) : sim_between(sim, 8000, 200000),
        .large_permille = small ? sim_between(sim, 0, 300) : sim_between(sim, 1, 30),
        .properties_permille = sim_chance(sim, 300) ? 50 : 2,
        .ordered_permille = sim_chance(sim, 800) ? sim_between(sim, 0, 700) : 0,
        .pinned_permille = sim_chance(sim, 500) ? sim_between(sim, 0, 200) : 0,
        .unknown_permille = sim_chance(sim, 500) ? sim_between(sim, 0, 30) : 0,
        .burst_max = sim_between(sim, 5, 150),
        .receive_buffers = 4u << sim_below(sim, 5),
        .drain_short = sim_chance(sim, 300),
        .timeout_ms = sim_between(sim, 300, 6000),
    };
    plan->broker_body_max = sim_chance(sim, 300) ? sim_between(sim, 300, 4000) : SALVO_MIB(1);
}

/* Chunks: often as few as the plan allows, so that the ways round a shortage are walked. */
static void sim_set_chunks(struct sim *sim, salvo_conf *conf, bool json, uint32_t batch_bytes)
{
    uint32_t chunk = 4096u << sim_below(sim, 5);
    uint32_t frame = (uint32_t)SALVO_SEND_TEMPLATE_SIZE_MAX +
                     (SALVO_PROPERTIES_SIZE_MAX + 256u) * (json ? 6 : 1) +
                     SALVO_MAX(sim->plan.body_max, batch_bytes) + 64;
    uint32_t frame_chunks = (frame + chunk - 1) / chunk + 1;
    uint32_t least = SALVO_MAX(SALVO_MAX(frame_chunks + 1, 8u) + 2 * frame_chunks, 18u);

    sim_set(sim, conf, "chunk_bytes", "%u", chunk);
    sim_set(sim, conf, "retry_chunks", "%u", sim_between(sim, 1, 8));
    sim_set(sim, conf, "chunks_max", "%u",
            sim_chance(sim, 500) ? least + (uint32_t)sim_below(sim, 4) : 2 * least + 16);
}

static void sim_set_batch(struct sim *sim, salvo_conf *conf, uint32_t *ret_bytes)
{
    static const char *const modes[] = {"off", "natural", "linger"};
    uint64_t mode = sim_below(sim, 3);

    *ret_bytes = sim_chance(sim, 500) ? sim_between(sim, 64, 2000) : sim_between(sim, 2000, 40000);
    sim->plan.batch = mode != 0;
    sim_set(sim, conf, "batch", "%s", modes[mode]);
    sim_set(sim, conf, "batch_bytes_max", "%u", *ret_bytes);
    sim_set(sim, conf, "batch_count_max", "%u",
            sim_chance(sim, 500) ? sim_between(sim, 1, 8) : 500);
    sim_set(sim, conf, "batches_open_max", "%u",
            sim_chance(sim, 300) ? sim_between(sim, 1, 3) : 16);
    sim_set(sim, conf, "linger_us", "%u", sim_between(sim, 0, 20000));
}

static void sim_set_send(struct sim *sim, salvo_conf *conf, bool json)
{
    static const char *const types[] = {"none", "none", "none", "zlib", "lz4", "zstd"};
    int64_t timeout_ms = sim->plan.timeout_ms;
    uint32_t retries = sim_chance(sim, 700) ? sim_between(sim, 0, 4) : 20;
    int64_t try_ms = 50 + (int64_t)sim_below(sim, (uint64_t)timeout_ms);

    /* Long enough for a try that nothing is wrong with: a large body takes many round trips. */
    if (sim->plan.body_max > 8000 || sim_chance(sim, 500))
        try_ms = 0;
    sim->plan.tries_max = (int)retries + 1;
    sim_set(sim, conf, "header", "%s", json ? "json" : "binary");
    sim_set(sim, conf, "timeout_ms", "%lld", (long long)timeout_ms);
    sim_set(sim, conf, "try_timeout_ms", "%lld", (long long)SALVO_MIN(try_ms, timeout_ms));
    sim_set(sim, conf, "retries", "%u", retries);
    sim_set(sim, conf, "retry_not_stored_ok", "%s", sim_chance(sim, 200) ? "true" : "false");
    sim_set(sim, conf, "body_size_max", "%u", sim->plan.body_max);
    sim_set(sim, conf, "compress", "%s", types[sim_below(sim, SALVO_ARRAY_LENGTH(types))]);
    sim_set(sim, conf, "compress_min", "%u", sim_between(sim, 1, 2000));
    sim_set(sim, conf, "fault_latency", "%s", sim_chance(sim, 400) ? "true" : "false");
    sim_set(sim, conf, "fault_table", "%s", sim_chance(sim, 500) ? "4.7.1" : "5.1.4");
    sim_set(sim, conf, "fault_detector", "%s", sim->seed % 4 != 0 ? "true" : "false");
}

static void sim_set_limits(struct sim *sim, salvo_conf *conf)
{
    sim_set(sim, conf, "requests_per_broker", "%u",
            sim_chance(sim, 400) ? sim_between(sim, 1, 8) : 512);
    sim_set(sim, conf, "requests_max", "%u",
            sim_chance(sim, 400) ? sim_between(sim, 16, 64) : 1024);
    sim_set(sim, conf, "messages_out_max", "%u",
            sim_chance(sim, 300) ? sim_between(sim, 1, 40) : 600);
    sim_set(sim, conf, "submitters_max", "%u", SIM_SUBMITTERS_MAX);
    sim_set(sim, conf, "topics_max", "%u", 8u);
    sim_set(sim, conf, "brokers_max", "%u", SIM_SENDER_BROKERS);
    sim_set(sim, conf, "queues_max", "%u", 256u);
    sim_set(sim, conf, "huge_pages", "false");
}

static salvo_conf *sim_conf(struct sim *sim)
{
    salvo_conf *conf = salvo_conf_new();
    bool json = sim_chance(sim, 400);
    uint32_t batch_bytes;

    salvo_assert(conf != NULL);
    sim_set(sim, conf, "nameserver", "%s", salvo_mock_nameserver_address(sim->mock));
    sim_set(sim, conf, "threads", "caller");
    sim_set(sim, conf, "client_ip", "10.9.8.7");
    sim_set(sim, conf, "instance_name", "sim");
    sim_set(sim, conf, "log_level", "error");
    sim_set(sim, conf, "lanes", "%u", sim->plan.lanes);
    sim_set(sim, conf, "control_net", "%s", sim_chance(sim, 300) ? "lane" : "kernel");
    sim_set(sim, conf, "route_interval_ms", "%u", sim_between(sim, 300, 5000));
    sim_set(sim, conf, "heartbeat_interval_ms", "%u", sim_between(sim, 500, 30000));
    sim_set(sim, conf, "connect_timeout_ms", "%u", sim_between(sim, 100, 3000));
    sim_set(sim, conf, "api_timeout_ms", "%u", sim_between(sim, 100, 3000));
    sim_set_send(sim, conf, json);
    sim_set_batch(sim, conf, &batch_bytes);
    sim_set_chunks(sim, conf, json, batch_bytes);
    sim_set_limits(sim, conf);
    return conf;
}

/* --- set-up ----------------------------------------------------------------------------------- */

static struct salvo_net *sim_net(struct sim *sim, uint32_t host, const struct salvo_net_conf *conf)
{
    struct salvo_net *net;
    int r = salvo_net_sim_open(sim->world, host, conf, &net);

    salvo_assert(r == 0);
    if (sim->plan.filter) {
        r = salvo_net_filter_open(net, conf, sim->seed + host, &net);
        salvo_assert(r == 0);
    }
    return net;
}

static void sim_world_start(struct sim *sim)
{
    struct salvo_sim_conf conf;
    int r;

    salvo_sim_conf_default(&conf, sim->seed);
    conf.latency_ns_min = (int64_t)sim_between(sim, 20, 200) * SALVO_NS_PER_US;
    conf.latency_ns_max = conf.latency_ns_min + sim_between(sim, 0, 3000) * SALVO_NS_PER_US;
    conf.cut_permille = sim_between(sim, 0, 300);
    conf.partial_permille = 50;
    conf.release_late_permille = 20;
    conf.window_bytes = 2048u << sim_below(sim, sim_chance(sim, 500) ? 3 : 9);
    r = salvo_sim_world_new(&conf, &sim->world);
    salvo_assert(r == 0);
    sim->clock = salvo_sim_world_clock(sim->world);
    sim->start_ns = salvo_clock_mono_ns(sim->clock);
    salvo_sim_world_log(sim->world, sim_log_line, sim);
}

static void sim_mock_start(struct sim *sim)
{
    struct salvo_net *nets[SALVO_MOCK_HOSTS_MAX];
    struct salvo_mock_conf conf;
    struct salvo_net_conf net_conf;
    char error[256];
    int r;

    salvo_mock_conf_default(&conf);
    conf.nameservers = sim->plan.nameservers;
    conf.brokers = sim->plan.brokers;
    for (uint32_t i = 0; i + 1 < SIM_TOPICS; i++) {
        struct salvo_mock_topic *topic = &conf.topics[conf.topics_count++];

        *topic = (struct salvo_mock_topic){.queues = i == 0 ? 4 : 2, .order = i == 1};
        snprintf(topic->name, sizeof(topic->name), "%s", sim_topic_names[i]);
    }
    conf.auto_create = sim->plan.auto_create;
    conf.generation = (enum salvo_mock_generation)sim_below(sim, 3);
    conf.answer_form = (enum salvo_mock_form)sim_below(sim, 3);
    conf.body_size_max = sim->plan.broker_body_max;
    conf.frame_size_max = SALVO_MIB(2);
    conf.connections_max = 64;
    conf.remember_max = 4 * SIM_MESSAGES_MAX;
    conf.clock = sim->clock;
    salvo_net_conf_default(&net_conf, sim->clock);
    net_conf.links_max = 24;
    net_conf.receive_buffers = 4u << sim_below(sim, 4);
    net_conf.receive_buffer_size = 2048u << sim_below(sim, 4);
    for (uint32_t i = 0; i < conf.nameservers + conf.brokers; i++)
        nets[i] = sim_net(sim, i, &net_conf);
    conf.nets = nets;
    r = salvo_mock_new(&conf, &sim->mock, error, sizeof(error));
    if (r == 0)
        r = salvo_mock_start(sim->mock, error, sizeof(error));
    if (r != 0) {
        fprintf(stderr, "sender_sim: %s\n", error);
        abort();
    }
}

/* A lane's net over salvo's own TCP. */
static struct salvo_net *sim_net_tcp(struct sim *sim, uint32_t lane,
                                     const struct salvo_net_conf *conf)
{
    struct salvo_net *net;

    sim_path_open(sim, lane, conf, &net);
    if (sim->plan.filter) {
        int r = salvo_net_filter_open(net, conf, sim->seed + SIM_HOST_LANE(lane), &net);

        salvo_assert(r == 0);
    }
    return net;
}

static int sim_net_open(void *arg, uint32_t lane_index, const struct salvo_net_conf *asked,
                        struct salvo_net **ret_net, const char **ret_note)
{
    struct sim *sim = arg;
    struct salvo_net_conf conf = *asked;
    struct salvo_net *net;

    if (lane_index == SALVO_ENV_CONTROL) {
        *ret_net = sim_net(sim, SIM_HOST_CONTROL, &conf);
        return 0;
    }
    conf.receive_buffers = sim->plan.receive_buffers;
    net = sim->tcp ? sim_net_tcp(sim, lane_index, &conf)
                   : sim_net(sim, SIM_HOST_LANE(lane_index), &conf);
    sim->watches[lane_index] = (struct sim_watch){.sim = sim, .lane = lane_index};
    return sim_watch_open(&sim->watches[lane_index], net, ret_net);
}

static void sim_step(struct sim *sim, int work, int64_t until_ns);

/* While salvo_drain or salvo_close wait: the rest of the world goes on. */
static void sim_pass(void *arg, int64_t until_ns)
{
    struct sim *sim = arg;

    sim_step(sim, salvo_mock_do_work(sim->mock), until_ns);
}

static void sim_sender_start(struct sim *sim)
{
    struct salvo_sender_env env = {
        .clock = sim->clock,
        .seed = sim->seed + 1,
        .net_open = sim_net_open,
        .pass = sim_pass,
        .arg = sim,
    };
    salvo_conf *conf = sim_conf(sim);
    char error[SALVO_ERROR_MAX] = "";

    sim->sender = salvo_open_in(conf, &env, error, sizeof(error));
    salvo_conf_free(conf);
    if (sim->sender == NULL) {
        fprintf(stderr, "seed %llu: %s\n", (unsigned long long)sim->seed, error);
        abort();
    }
    for (uint32_t i = 0; i < SIM_TOPICS; i++)
        sim->topics[i] = salvo_topic_open(sim->sender, sim_topic_names[i]);
    for (uint32_t i = 0; i < sim->plan.submitters; i++)
        sim->submitters[i] = salvo_submitter_open(sim->sender);
}

/* --- a step ----------------------------------------------------------------------------------- */

/* The next thing that happens in the network. */
static int64_t sim_net_next_ns(const struct sim *sim)
{
    int64_t next_ns = salvo_sim_world_next_ns(sim->world);

    for (uint32_t i = 0; i < SALVO_ARRAY_LENGTH(sim->paths); i++)
        if (sim->paths[i] != NULL)
            next_ns = SALVO_MIN(next_ns, sim_path_next_ns(sim->paths[i]));
    return next_ns;
}

static void sim_heal(struct sim *sim)
{
    sim_faults_heal(sim);
    for (uint32_t i = 0; i < SALVO_ARRAY_LENGTH(sim->paths); i++)
        if (sim->paths[i] != NULL)
            sim_path_heal(sim->paths[i]);
}

/* Time moves to the next thing that will happen, or until_ns. */
static void sim_step(struct sim *sim, int work, int64_t until_ns)
{
    int64_t now_ns = salvo_clock_mono_ns(sim->clock);
    int64_t next_ns = now_ns + SIM_TURN_NS;

    if (++sim->turns == SIM_TURNS_MAX)
        sim_fail(sim, "%u turns, and no end", SIM_TURNS_MAX);
    if (work != 0) {
        sim->rests = 0;
    } else {
        int64_t rest_ns = SIM_REST_NS_MIN << SALVO_MIN(sim->rests, 9u);

        sim->rests++;
        next_ns = SALVO_MIN(until_ns, sim_net_next_ns(sim));
        next_ns = SALVO_MIN(next_ns, salvo_mock_next_ns(sim->mock));
        next_ns = SALVO_MIN(next_ns, sim_load_next_ns(sim));
        next_ns = SALVO_MIN(next_ns, sim_faults_next_ns(sim));
        next_ns = SALVO_MIN(next_ns, now_ns + SIM_REST_NS_MAX);
        next_ns = SALVO_MAX(next_ns, now_ns + SALVO_MIN(rest_ns, SIM_REST_NS_MAX));
        /* What falls due meanwhile is seen at its own time all the same. */
        next_ns = SALVO_MIN(next_ns, SALVO_MAX(sim_net_next_ns(sim), now_ns + SIM_TURN_NS));
    }
    salvo_sim_world_advance(sim->world, next_ns);
}

/* Requests in flight to a broker that are no heartbeats: those pass by the window. */
static uint32_t sim_messages_sent(const struct salvo_lane *lane, uint32_t broker)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < lane->inflight.requests_max; i++) {
        const struct salvo_request *request = &lane->inflight.requests[i];

        count += request->state == SALVO_REQUEST_SENT && request->conn == broker &&
                 (request->flags & SALVO_REQUEST_HEARTBEAT) == 0;
    }
    return count;
}

/* A connection that is to be closed when nothing is in flight is closed when nothing is; and no
 * more is in flight than its window allows. */
static void sim_look_at_conns(struct sim *sim)
{
    struct salvo_sender *sender = salvo_sender_of(sim->sender);

    for (uint32_t i = 0; i < sender->lanes_count; i++) {
        for (uint32_t k = 0; k < SIM_SENDER_BROKERS; k++) {
            const struct salvo_conn *conn = &sender->lanes[i]->conns[k];
            int64_t *since_ns = &sim->draining_since_ns[i][k];

            if (conn->inflight > conn->window_max &&
                sim_messages_sent(sender->lanes[i], k) > conn->window_max)
                sim_fail(sim, "lane %u: %u requests in flight to broker %u, %u allowed", i,
                         conn->inflight, k, conn->window_max);
            if (conn->state != SALVO_CONN_UP || !conn->draining || conn->closing ||
                conn->inflight != 0)
                *since_ns = 0;
            else if (*since_ns == 0)
                *since_ns = sim_now(sim);
            else if (sim_now(sim) - *since_ns > SIM_DRAINING_NS_MAX) {
                sim_fail(sim, "lane %u: the connection to broker %u is drained and not closed", i,
                         k);
                *since_ns = INT64_MAX;
            }
        }
    }
}

/* Of a broker that left nothing is kept but what lanes still wait for; and one that is there and
 * unreachable is found out to be there. */
static void sim_look_at_brokers(struct sim *sim)
{
    struct salvo_control *control = &salvo_sender_of(sim->sender)->control;
    bool healed = sim_now(sim) >= SIM_HEAL_NS && sim_now(sim) < SIM_LOAD_END_NS && !sim->draining;

    for (uint32_t k = 0; k < SIM_SENDER_BROKERS; k++) {
        int64_t *since_ns = &sim->unreachable_since_ns[k];
        uint64_t word = atomic_load_explicit(&control->fault.availability[k], memory_order_relaxed);
        bool reachable = salvo_availability_reachable(word);

        if (!salvo_brokers_used(&control->brokers, k) &&
            (salvo_heartbeat_peer(&control->heartbeat, k) != SALVO_RPC_PEER_NONE || word != 0))
            sim_fail(sim, "control holds on to broker %u, which has left", k);
        if (!healed || reachable)
            *since_ns = 0;
        else if (*since_ns == 0)
            *since_ns = sim_now(sim);
        else if (sim_now(sim) - *since_ns > SIM_UNREACHABLE_NS_MAX) {
            sim_fail(sim, "broker %u stays unreachable", k);
            *since_ns = INT64_MAX;
        }
    }
}

static void sim_turn(struct sim *sim)
{
    int work;

    sim_faults_step(sim);
    sim_load_step(sim);
    work = salvo_do_work(sim->sender);
    work += salvo_mock_do_work(sim->mock);
    sim_load_poll(sim);
    sim_look_at_conns(sim);
    sim_look_at_brokers(sim);
    sim_step(sim, work, salvo_sender_next_ns(salvo_sender_of(sim->sender)));
}

static const char *sim_leftovers(struct sim *sim)
{
    struct salvo_sender *sender = salvo_sender_of(sim->sender);
    const char *what = NULL;

    for (uint32_t i = 0; i < sender->lanes_count && what == NULL; i++)
        what = salvo_lane_leftovers(sender->lanes[i]);
    for (uint32_t i = 0; i < sim->plan.submitters && what == NULL; i++)
        if (!salvo_ring_empty(&sim->submitters[i]->messages))
            what = "messages in a ring";
    return what;
}

/* --- a run ------------------------------------------------------------------------------------ */

static uint64_t sim_out(const struct sim *sim)
{
    uint64_t out = 0;

    for (uint32_t i = 0; i < sim->plan.submitters; i++)
        out += salvo_out(sim->submitters[i]);
    return out;
}

static bool sim_goes_on(const struct sim *sim)
{
    return sim->turns < SIM_TURNS_MAX;
}

static void sim_run_load(struct sim *sim)
{
    bool healed = false;

    while (sim_goes_on(sim) && !sim->load_done && sim_now(sim) < 4 * SIM_LOAD_END_NS) {
        if (!healed && sim_now(sim) >= SIM_HEAL_NS) {
            healed = true;
            sim_heal(sim);
        }
        sim_turn(sim);
    }
    if (!sim->load_done)
        sim_fail(sim, "after %u messages the sender took no more", sim->messages_count);
}

/* With enough time for everything, or with a deadline that comes in the middle of a fault. */
static void sim_run_drain(struct sim *sim)
{
    int64_t until_ns = sim_now(sim) + 2 * SIM_LIVE_BUDGET_MS * SALVO_NS_PER_MS;
    int64_t drain_ms = 20000;
    int r;

    if (sim->plan.drain_short) {
        while (sim_goes_on(sim) && sim_out(sim) != 0 && sim_now(sim) < until_ns)
            sim_turn(sim);
        sim->draining = true;
        drain_ms = sim_between(sim, 0, 400);
        sim->load_done = false;
        salvo_sim_host_down(sim->world, salvo_mock_host_of_broker(sim->mock, 0), true,
                            sim_chance(sim, 500));
        sim->plan.messages = sim->messages_count + 60;
        sim_load_burst(sim, 60);
        for (int i = 0; i < 20; i++)
            sim_turn(sim);
        sim->load_done = true;
    }
    sim_note(sim, "drain: %lld ms", (long long)drain_ms);
    r = salvo_drain(sim->sender, drain_ms);
    if (r != 0 && !sim->plan.drain_short)
        sim_fail(sim, "the drain needed its deadline");
    sim_heal(sim);
}

static bool sim_all_down(const struct sim *sim)
{
    struct salvo_sender *sender = salvo_sender_of(sim->sender);

    for (uint32_t i = 0; i < sender->lanes_count; i++)
        for (uint32_t k = 0; k < sender->config.brokers_max; k++)
            if (sender->lanes[i]->conns[k].state == SALVO_CONN_UP ||
                sender->lanes[i]->conns[k].state == SALVO_CONN_DYING)
                return false;
    return true;
}

/* Nothing may be left: first with connections up, then with all of them gone. */
static void sim_run_leftovers(struct sim *sim)
{
    struct salvo_sender *sender = salvo_sender_of(sim->sender);
    int64_t until_ns = sim_now(sim) + 20 * SALVO_NS_PER_S;

    while (sim_goes_on(sim) && sim_now(sim) < until_ns &&
           (sim_out(sim) != 0 || sim_leftovers(sim) != NULL))
        sim_turn(sim);
    if (sim_out(sim) != 0)
        sim_fail(sim, "%llu messages have no result after the drain",
                 (unsigned long long)sim_out(sim));
    if (sim_leftovers(sim) != NULL)
        sim_fail(sim, "left after the drain: %s", sim_leftovers(sim));
    for (uint32_t i = 0; i < sim->plan.brokers; i++)
        salvo_sim_host_down(sim->world, salvo_mock_host_of_broker(sim->mock, i), true, false);
    until_ns = sim_now(sim) + 20 * SALVO_NS_PER_S;
    while (sim_goes_on(sim) && sim_now(sim) < until_ns && !sim_all_down(sim))
        sim_turn(sim);
    if (!sim_all_down(sim))
        sim_fail(sim, "a connection did not go down with its host");
    if (sim_leftovers(sim) != NULL)
        sim_fail(sim, "left after the connections: %s", sim_leftovers(sim));
    for (uint32_t i = 0; i < sender->lanes_count; i++)
        for (uint32_t k = 0; k < sender->config.brokers_max; k++)
            if (sender->lanes[i]->conns[k].chunks_held != 0)
                sim_fail(sim, "a dead connection holds chunks");
}

static void sim_run_close(struct sim *sim)
{
    int r;

    for (uint32_t i = 0; i < sim->plan.submitters; i++) {
        r = salvo_submitter_close(sim->submitters[i]);
        if (r != 0 && sim->failures == 0)
            sim_fail(sim, "a submitter does not close: %d", r);
    }
    if (sim->failures != 0)
        return; /* as it is: the process ends or leaks a little */
    r = salvo_close(sim->sender);
    if (r != 0)
        sim_fail(sim, "the sender does not close: %d", r);
    salvo_mock_stop(sim->mock);
}

bool sim_run(uint64_t seed, bool tcp, bool verbose, struct sim_table *table, uint64_t *ret_hash,
             uint32_t *ret_messages)
{
    struct sim *sim = calloc(1, sizeof(*sim));
    bool good;

    salvo_assert(sim != NULL);
    sim->seed = seed;
    sim->tcp = tcp;
    sim->verbose = verbose;
    sim->messages = calloc(SIM_MESSAGES_MAX, sizeof(*sim->messages));
    salvo_assert(sim->messages != NULL);
    salvo_random_init(&sim->random, seed ^ UINT64_C(0x5a1f0));
    sim_plan_make(sim);
    sim_world_start(sim);
    sim_mock_start(sim);
    sim_sender_start(sim);
    sim_faults_plan(sim);
    sim_run_load(sim);
    sim_run_drain(sim);
    sim_run_leftovers(sim);
    sim_checks(sim);
    sim_run_close(sim);
    for (uint32_t i = 0; i < SIM_FAULT_KINDS; i++)
        for (uint32_t k = 0; k < SIM_STATES; k++)
            table->cells[i][k] += sim->table.cells[i][k];
    if (verbose)
        printf("%u messages, %llu turns, %.3f virtual seconds\n", sim->messages_count,
               (unsigned long long)sim->turns, (double)sim_now(sim) / 1e9);
    *ret_hash = sim->hash;
    *ret_messages = sim->messages_count;
    good = sim->failures == 0;
    if (good) {
        salvo_mock_free(sim->mock);
        salvo_sim_world_free(sim->world);
        free(sim->messages);
        free(sim);
    }
    return good;
}
