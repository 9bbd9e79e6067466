/* The control thread's duty cycle and its set-up. Read salvo_control_do_work first. */
#include "control/control.h"

#include "base/assert.h"
#include "base/cpu.h"
#include "base/error.h"
#include "control/net_by_lane.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define EVENTS_PER_LANE_AND_TURN 256
#define HOUSEKEEPING_NS          SALVO_NS_PER_S
/* Until every lane has left an old snapshot. */
#define LOOK_AGAIN_NS (10 * SALVO_NS_PER_MS)

static void assert_on_control(const struct salvo_control *control)
{
    salvo_assert(control->owner == 0 || control->owner == salvo_thread_id());
}

/* --- one turn ---------------------------------------------------------------------------- */

static void control_connection_down(struct salvo_control *control, const struct salvo_event *event)
{
    const char *name = salvo_control_broker_name(control, event->broker);

    if (event->code == EMFILE)
        salvo_report_error(
            &control->report, "lane: connection", -EMFILE,
            "broker %s: this process is out of descriptors (EMFILE); " SALVO_RAISE_DESCRIPTORS,
            name);
    else
        salvo_report_error(&control->report, "lane: connection", -(int32_t)event->down - 1,
                           "broker %s: %s (%d)", name, salvo_net_down_text(event->down),
                           event->code);
}

static void control_lane_event(struct salvo_control *control, const struct salvo_event *event,
                               int64_t now_ns)
{
    struct salvo_report *report = &control->report;

    switch (event->kind) {
    case SALVO_EVENT_ROUTE_WANTED:
        salvo_routes_wanted(&control->routes, event->topic, now_ns);
        return;
    case SALVO_EVENT_OUTCOME:
        if (!salvo_brokers_used(&control->brokers, event->broker))
            return; /* the last ones of a broker that leaves */
        salvo_fault_outcome(&control->fault, event->broker, event->outcome, event->latency_ns,
                            now_ns);
        return;
    case SALVO_EVENT_CONNECTION_UP:
        salvo_log_info(report->log, "lane %u: connected to broker %s", event->lane_index,
                       salvo_control_broker_name(control, event->broker));
        return;
    case SALVO_EVENT_CONNECTION_DOWN:
        control_connection_down(control, event);
        return;
    case SALVO_EVENT_FRAME_ERROR:
        salvo_report_error(report, "lane: bad frame", event->code,
                           "broker %s: %s; connection closed",
                           salvo_control_broker_name(control, event->broker), event->text);
        return;
    case SALVO_EVENT_BROKER_DROPPED:
        salvo_brokers_dropped(&control->brokers, event->broker, event->lane_index);
        return;
    case SALVO_EVENT_DRAINED:
        control->lanes_drained |= UINT64_C(1) << event->lane_index;
        return;
    case SALVO_EVENT_STREAM_UP:
    case SALVO_EVENT_STREAM_BYTES:
    case SALVO_EVENT_STREAM_RELEASED:
    case SALVO_EVENT_STREAM_CLOSED:
        break; /* control_take_lane_events */
    }
    salvo_unreachable();
}

static int control_take_lane_events(struct salvo_control *control, int64_t now_ns)
{
    int taken = 0;

    for (uint32_t i = 0; i < control->conf.lanes_count; i++) {
        struct salvo_lane_port *port = control->conf.ports[i];

        for (int n = 0; n < EVENTS_PER_LANE_AND_TURN; n++) {
            const struct salvo_event *event = salvo_lane_port_event(port);

            if (event == NULL)
                break;
            if (!salvo_event_is_stream(event))
                control_lane_event(control, event, now_ns);
            else if (!salvo_net_by_lane_event(control->net, event))
                break; /* the rest after its poll */
            salvo_lane_port_event_done(port);
            taken++;
        }
    }
    return taken;
}

int salvo_control_do_work(struct salvo_control *control)
{
    int64_t now_ns = salvo_clock_mono_ns(control->conf.clock);
    int work = 0;

    if (control->owner == 0)
        control->owner = salvo_thread_id();
    assert_on_control(control);
    work += control_take_lane_events(control, now_ns); /* lanes -> faults, routes, streams */
    work += salvo_capture_do_work(&control->capture, now_ns);
    work += salvo_rpc_do_work(&control->rpc, now_ns);           /* answers and deadlines */
    work += salvo_resolver_do_work(&control->resolver, now_ns); /* addresses */
    work += salvo_brokers_ask_again(&control->brokers, now_ns);
    work += salvo_timers_run(&control->timers, now_ns);
    work += salvo_routes_do_work(&control->routes, now_ns); /* questions due */
    work += salvo_route_table_do_work(&control->table);     /* answers -> snapshots -> lanes */
    work += salvo_heartbeat_do_work(&control->heartbeat, now_ns);
    work += salvo_detector_do_work(&control->detector, now_ns); /* probes due */
    salvo_net_flush(control->net);

    salvo_counter_add(control->conf.counters, SALVO_CONTROL_CYCLES, 1);
    salvo_counter_max(control->conf.counters, SALVO_CONTROL_CYCLE_NS_MAX,
                      (uint64_t)(salvo_clock_mono_ns(control->conf.clock) - now_ns));
    return work;
}

int64_t salvo_control_next_ns(const struct salvo_control *control)
{
    int64_t next_ns = salvo_timers_next_ns(&control->timers);

    next_ns = SALVO_MIN(next_ns, salvo_capture_next_ns(&control->capture));
    next_ns = SALVO_MIN(next_ns, salvo_rpc_next_ns(&control->rpc));
    next_ns = SALVO_MIN(next_ns, salvo_brokers_next_ns(&control->brokers));
    next_ns = SALVO_MIN(next_ns, salvo_routes_next_ns(&control->routes));
    next_ns = SALVO_MIN(next_ns, salvo_heartbeat_next_ns(&control->heartbeat));
    next_ns = SALVO_MIN(next_ns, salvo_detector_next_ns(&control->detector));
    if (control->stopping && !salvo_control_stopped(control))
        next_ns = SALVO_MIN(next_ns, control->stop_ns);
    if (salvo_route_table_waits(&control->table)) /* lanes do not say when they move on */
        next_ns = SALVO_MIN(next_ns, salvo_clock_mono_ns(control->conf.clock) + LOOK_AGAIN_NS);
    return next_ns;
}

static bool control_lane_events_wait(struct salvo_control *control)
{
    for (uint32_t i = 0; i < control->conf.lanes_count; i++)
        if (salvo_lane_port_event(control->conf.ports[i]) != NULL)
            return true;
    return false;
}

void salvo_control_wait(struct salvo_control *control, int64_t next_ns)
{
    int64_t now_ns = salvo_clock_mono_ns(control->conf.clock);

    assert_on_control(control);
    if (next_ns == 0)
        next_ns = salvo_control_next_ns(control);
    if (next_ns <= now_ns)
        return;
    atomic_store_explicit(&control->asleep, 1, memory_order_relaxed);
    /* Our store of asleep before our look at the rings; pairs with the fence between a lane's store
     * of its event ring's tail and its load of asleep. One of the two sees the other. */
    atomic_thread_fence(memory_order_seq_cst);
    if (!control_lane_events_wait(control) &&
        salvo_topics_count(&control->topics) == control->routes.topics_seen)
        salvo_net_wait(control->net, 1, 0, next_ns - now_ns);
    atomic_store_explicit(&control->asleep, 0, memory_order_relaxed);
}

void salvo_control_wake(struct salvo_control *control)
{
    salvo_net_wake(control->net);
}

/* --- set-up ------------------------------------------------------------------------------ */

static void control_housekeeping(void *arg, int64_t now_ns)
{
    struct salvo_control *control = arg;

    salvo_counter_set(control->conf.counters, SALVO_CONTROL_BROKERS_UNAVAILABLE,
                      salvo_fault_unavailable(&control->fault, now_ns));
    salvo_counter_set(control->conf.counters, SALVO_CONTROL_BROKERS_UNREACHABLE,
                      control->fault.unreachable_count);
    salvo_lease_watch_look(&control->lease_watch, &control->report);
    if (control->conf.statfile != NULL)
        salvo_statfile_copy_errors(control->conf.statfile, control->conf.errors);
}

static void control_link_changed(void *arg, uint64_t user, bool up, int64_t now_ns)
{
    struct salvo_control *control = arg;

    if (user != UINT64_MAX) /* a broker's; nameservers are asked when there is something to ask */
        salvo_heartbeat_link(&control->heartbeat, (uint32_t)user, up, now_ns);
}

static uint32_t control_peers_max(const struct salvo_config *config)
{
    return config->brokers_max + SALVO_NAMESERVERS_MAX;
}

uint32_t salvo_control_links_max(const struct salvo_config *config)
{
    return control_peers_max(config) * 2 + 8; /* as salvo_rpc_init counts */
}

static int control_init_net(struct salvo_control *control, char *ret_error, size_t error_size)
{
    struct salvo_net_conf net_conf = {
        .clock = control->conf.clock,
        .links_max = salvo_control_links_max(control->conf.config),
    };
    int r;

    control->net = control->conf.net;
    if (control->net != NULL)
        return 0;
    r = salvo_net_by_lane_open(&net_conf, control->conf.ports[0], &control->net);
    if (r)
        snprintf(ret_error, error_size, "control's connections by lane 0 cannot be opened (%d)", r);
    control->net_is_ours = r == 0;
    return r;
}

static int control_init_rpc(struct salvo_control *control)
{
    const struct salvo_config *config = control->conf.config;
    struct salvo_rpc_conf rpc_conf = {
        .net = control->net,
        .report = &control->report,
        .form = (enum salvo_header_form)config->header,
        .language = (int32_t)config->language,
        .version = (int32_t)config->version,
        .peers_max = control_peers_max(config),
        .connect_timeout_ns = config->connect_timeout_ms * SALVO_NS_PER_MS,
        .link_changed = control_link_changed,
        .arg = control,
    };

    return salvo_rpc_init(&control->rpc, &rpc_conf);
}

/* Everything that takes memory. What was made before a failure is unmade by deinit: each part's
 * deinit may be called on zeroes. */
static int control_init_parts(struct salvo_control *control)
{
    const struct salvo_control_conf *conf = &control->conf;
    int r;

    salvo_resolver_init(&control->resolver, control->net);
    salvo_fault_init(&control->fault, conf->config, conf->availability);
    r = salvo_topics_init(&control->topics, conf->config->topics_max);
    if (r == 0)
        r = control_init_rpc(control);
    if (r == 0)
        r = salvo_brokers_init(&control->brokers, conf->config->brokers_max, conf->ports,
                               conf->lanes_count, &control->report, &control->resolver,
                               &control->fault);
    if (r == 0)
        r = salvo_route_table_init(&control->table, conf->config, control->identity.client_id,
                                   &control->topics, &control->brokers, &control->report,
                                   conf->ports, conf->lanes_count);
    if (r == 0)
        r = salvo_routes_init(&control->routes, conf->config, &control->topics, &control->table,
                              &control->nameservers, &control->report);
    if (r == 0)
        r = salvo_heartbeat_init(&control->heartbeat, conf->config, control->identity.client_id,
                                 &control->brokers, &control->rpc, &control->report);
    if (r == 0)
        r = salvo_detector_init(&control->detector, conf->config, &control->fault, &control->table,
                                &control->heartbeat, &control->report);
    return r;
}

static int control_init_all(struct salvo_control *control, char *ret_error, size_t error_size)
{
    const struct salvo_config *config = control->conf.config;
    struct salvo_random random;
    int r = salvo_nameservers_check(config->nameserver, ret_error, error_size);

    if (r)
        return r;
    r = control_init_net(control, ret_error, error_size);
    if (r)
        return r;
    r = control_init_parts(control);
    if (r) {
        snprintf(ret_error, error_size, "%s",
                 r == -ENOSPC ? "client id and group do not fit a heartbeat; shorten options "
                                "instance_name or group"
                              : "no memory for control's tables; lower options topics_max, "
                                "brokers_max or queues_max");
        return r;
    }
    salvo_random_init(&random, control->conf.seed);
    return salvo_nameservers_init(&control->nameservers, config->nameserver, &control->rpc,
                                  &control->resolver, &control->report, &random,
                                  config->api_timeout_ms * SALVO_NS_PER_MS, ret_error, error_size);
}

int salvo_control_init(struct salvo_control *control, const struct salvo_control_conf *conf,
                       char *ret_error, size_t error_size)
{
    int64_t now_ns = salvo_clock_mono_ns(conf->clock);
    int r;

    salvo_assert(conf->lanes_count >= 1);
    salvo_assert(conf->lanes_count <= SALVO_LANES_MAX);
    *control = (struct salvo_control){.conf = *conf, .lease_watch.lease = conf->lease};
    control->report = (struct salvo_report){conf->clock, conf->log, conf->errors, conf->counters};
    salvo_capture_init(&control->capture,
                       &(struct salvo_capture_conf){.mirrors = conf->mirrors,
                                                    .ports = conf->ports,
                                                    .lanes_count = conf->lanes_count,
                                                    .size_max = conf->config->dpdk_capture_max,
                                                    .report = &control->report});
    salvo_identity_init(&control->identity, conf->config, now_ns, salvo_clock_wall_ms(conf->clock));
    salvo_timers_init(&control->timers);
    salvo_timers_add(&control->timers, "housekeeping", now_ns + HOUSEKEEPING_NS, HOUSEKEEPING_NS,
                     control_housekeeping, control);
    r = control_init_all(control, ret_error, error_size);
    if (r) {
        control->conf.net = NULL; /* still the caller's */
        salvo_control_deinit(control);
    }
    return r;
}

void salvo_control_deinit(struct salvo_control *control)
{
    salvo_resolver_deinit(&control->resolver); /* before the net that it wakes */
    if (control->net_is_ours || control->conf.net != NULL)
        salvo_net_destroy(control->net);
    salvo_capture_deinit(&control->capture);
    salvo_rpc_deinit(&control->rpc);
    salvo_detector_deinit(&control->detector);
    salvo_heartbeat_deinit(&control->heartbeat);
    salvo_routes_deinit(&control->routes);
    salvo_route_table_deinit(&control->table);
    salvo_brokers_deinit(&control->brokers);
    salvo_topics_deinit(&control->topics);
}

/* --- topics and names -------------------------------------------------------------------- */

int salvo_control_topic_add(struct salvo_control *control, const char *name, size_t size,
                            uint32_t *ret_topic)
{
    uint32_t before = salvo_topics_count(&control->topics);
    int r = salvo_topics_add(&control->topics, name, size, ret_topic);

    if (r == 0 && *ret_topic >= before)
        salvo_control_wake(control);
    return r;
}

enum salvo_route_state salvo_control_topic_state(struct salvo_control *control, uint32_t topic)
{
    return salvo_topics_state(&control->topics, topic);
}

uint32_t salvo_control_topic_queues(struct salvo_control *control, uint32_t topic)
{
    return salvo_topics_queues(&control->topics, topic);
}

const char *salvo_control_topic_name(struct salvo_control *control, uint32_t topic)
{
    return salvo_topics_name(&control->topics, topic);
}

const char *salvo_control_broker_name(struct salvo_control *control, uint32_t broker)
{
    return salvo_brokers_name(&control->brokers, broker);
}

/* --- the end ----------------------------------------------------------------------------- */

bool salvo_control_drain(struct salvo_control *control, int64_t deadline_ns)
{
    struct salvo_command command = {.kind = SALVO_COMMAND_DRAIN, .deadline_ns = deadline_ns};
    bool all = true;

    assert_on_control(control);
    if (control->drain_ns != deadline_ns)
        control->lanes_told = 0;
    control->drain_ns = deadline_ns;
    for (uint32_t i = 0; i < control->conf.lanes_count; i++) {
        if (control->lanes_told >> i & 1)
            continue;
        if (salvo_lane_port_command(control->conf.ports[i], &command) == SALVO_RING_FULL)
            all = false;
        else
            control->lanes_told |= UINT64_C(1) << i;
    }
    return all;
}

bool salvo_control_drained(const struct salvo_control *control)
{
    return (uint32_t)__builtin_popcountll(control->lanes_drained) == control->conf.lanes_count;
}

void salvo_control_begin_stop(struct salvo_control *control)
{
    int64_t now_ns = salvo_clock_mono_ns(control->conf.clock);
    int64_t timeout_ns = control->conf.config->api_timeout_ms * SALVO_NS_PER_MS;

    assert_on_control(control);
    if (control->stopping)
        return;
    control->stopping = true;
    control->stop_ns = now_ns + timeout_ns;
    salvo_routes_stop(&control->routes);
    salvo_heartbeat_stop(&control->heartbeat, timeout_ns, now_ns);
    salvo_net_flush(control->net);
}

bool salvo_control_stopped(const struct salvo_control *control)
{
    if (!control->stopping)
        return false;
    return salvo_heartbeat_stopped(&control->heartbeat) ||
           salvo_clock_mono_ns(control->conf.clock) >= control->stop_ns;
}
