/* Probes of brokers that are not reachable, see detector.h and 6.4 of the protocol reference. */
#include "control/detector.h"

#include "base/assert.h"

#include <errno.h>
#include <stdlib.h>

int salvo_detector_init(struct salvo_detector *detector, const struct salvo_config *config,
                        struct salvo_fault *fault, const struct salvo_route_table *routes,
                        struct salvo_heartbeat *heartbeat, struct salvo_report *report)
{
    *detector = (struct salvo_detector){
        .config = config,
        .fault = fault,
        .routes = routes,
        .heartbeat = heartbeat,
        .report = report,
        .next_ns = INT64_MAX,
    };
    detector->table = calloc(config->brokers_max, sizeof(*detector->table));
    if (detector->table == NULL)
        return salvo_raise(-ENOMEM);
    for (uint32_t i = 0; i < config->brokers_max; i++)
        detector->table[i].due_ns = INT64_MAX;
    return 0;
}

void salvo_detector_deinit(struct salvo_detector *detector)
{
    free(detector->table);
    *detector = (struct salvo_detector){0};
}

static void due_at(struct salvo_detector *detector, uint32_t number, int64_t at_ns)
{
    detector->table[number].due_ns = at_ns;
    detector->next_ns = SALVO_MIN(detector->next_ns, at_ns);
}

static int64_t interval_ns(const struct salvo_detector *detector)
{
    return detector->config->detect_interval_ms * SALVO_NS_PER_MS;
}

static void probe_failed(struct salvo_detector *detector, uint32_t number, int64_t now_ns)
{
    salvo_counter_add(detector->report->counters, SALVO_CONTROL_PROBE_FAILURES, 1);
    due_at(detector, number,
           SALVO_MAX(now_ns, detector->table[number].asked_ns + interval_ns(detector)));
}

static void probe_answered(void *arg, uint64_t cookie, const struct salvo_rpc_answer *answer,
                           int64_t now_ns)
{
    struct salvo_detector *detector = arg;
    uint32_t number = (uint32_t)cookie;
    struct salvo_detector_broker *broker = &detector->table[number];
    int64_t took_ns = now_ns - broker->asked_ns;

    salvo_assert(broker->asking);
    broker->asking = false;
    if (answer->result == -ECANCELED) { /* it left, or has another address now */
        due_at(detector, number, now_ns);
        return;
    }
    if (answer->result == -ETIMEDOUT)
        salvo_heartbeat_lost(detector->heartbeat, number, now_ns);
    if (answer->result || answer->header->code != SALVO_RESPONSE_SUCCESS ||
        took_ns > detector->config->detect_timeout_ms * SALVO_NS_PER_MS) {
        probe_failed(detector, number, now_ns);
        return;
    }
    if (salvo_fault_reachable(detector->fault, number))
        return; /* by a good result */
    salvo_fault_reached(detector->fault, number);
    salvo_counter_add(detector->report->counters, SALVO_CONTROL_PROBES, 1);
    salvo_log_info(detector->report->log, "control: broker %s is reachable again",
                   salvo_brokers_name(detector->routes->brokers, number));
}

static void probe(struct salvo_detector *detector, uint32_t number, int64_t now_ns)
{
    struct salvo_detector_broker *broker = &detector->table[number];
    const struct salvo_config *config = detector->config;
    const char *topic = salvo_route_table_topic_on(detector->routes, number);
    struct salvo_header header = {.code = SALVO_REQUEST_GET_MAX_OFFSET, .has_ext = true};
    struct salvo_rpc_call call = {
        .peer = salvo_heartbeat_peer(detector->heartbeat, number),
        .header = &header,
        .timeout_ns =
            SALVO_MAX(config->detect_timeout_ms, config->api_timeout_ms) * SALVO_NS_PER_MS,
        .done = probe_answered,
        .arg = detector,
        .cookie = number,
    };

    broker->due_ns = INT64_MAX;
    if (salvo_fault_reachable(detector->fault, number))
        return;
    if (call.peer == SALVO_RPC_PEER_NONE || topic == NULL) { /* no address yet */
        due_at(detector, number, now_ns + interval_ns(detector));
        return;
    }
    salvo_header_add(&header, "topic", salvo_text_of(topic));
    salvo_header_add(&header, "queueId", SALVO_TEXT("0"));
    broker->asking = true;
    broker->asked_ns = now_ns;
    if (salvo_rpc_request(detector->heartbeat->rpc, &call, now_ns)) {
        broker->asking = false;
        probe_failed(detector, number, now_ns);
    }
}

/* Those that became unreachable since the last look get their first probe an interval later. */
static void detector_notice(struct salvo_detector *detector, int64_t now_ns)
{
    if (detector->unreachable_version == detector->fault->unreachable_version)
        return;
    detector->unreachable_version = detector->fault->unreachable_version;
    for (uint32_t i = 0; i < detector->config->brokers_max; i++)
        if (!salvo_fault_reachable(detector->fault, i) && !detector->table[i].asking &&
            detector->table[i].due_ns == INT64_MAX)
            due_at(detector, i, now_ns + interval_ns(detector));
}

int salvo_detector_do_work(struct salvo_detector *detector, int64_t now_ns)
{
    int work = 0;

    if (detector->heartbeat->stopping)
        return 0;
    detector_notice(detector, now_ns);
    if (now_ns < detector->next_ns)
        return 0;
    detector->next_ns = INT64_MAX;
    for (uint32_t i = 0; i < detector->config->brokers_max; i++) {
        if (detector->table[i].due_ns <= now_ns) {
            probe(detector, i, now_ns);
            work++;
        }
        detector->next_ns = SALVO_MIN(detector->next_ns, detector->table[i].due_ns);
    }
    return work;
}

int64_t salvo_detector_next_ns(const struct salvo_detector *detector)
{
    return detector->heartbeat->stopping ? INT64_MAX : detector->next_ns;
}
