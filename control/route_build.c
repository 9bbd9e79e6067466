/* Answers to snapshots, see route_build.h. One topic's part is made in route_topic.c. */
#include "control/route_build.h"

#include "base/assert.h"
#include "base/error.h"
#include "codec/heartbeat.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* 5.x writes heartbeatFingerprint and withoutSub. */
#define VERSION_HEARTBEAT_V5 413 /* V5_0_0 */

struct route_snapshot {
    struct salvo_route route;
    struct route_snapshot *next; /* the one that was published after it */
    uint64_t replaced_epoch;     /* the epoch of that one */
    uint64_t moved_on;           /* a bit for each lane that has */
    uint32_t *queues_lost;       /* free with this snapshot */
    uint32_t queues_lost_count;
    struct salvo_route_object **objects; /* by topic; NULL: unknown */
    const struct salvo_route_topic **topics;
    struct salvo_route_broker *brokers;
};

/* --- the empty heartbeat ----------------------------------------------------------------- */

static int heartbeat_make(struct salvo_route_table *table, const char *client_id)
{
    const struct salvo_config *config = table->config;
    enum salvo_header_form form = (enum salvo_header_form)config->header;
    bool v5 = config->version >= VERSION_HEARTBEAT_V5;
    struct salvo_header header = {
        .code = SALVO_REQUEST_HEART_BEAT,
        .language = (int32_t)config->language,
        .version = (int32_t)config->version,
        .opaque = 1000000000, /* ten digits, to be patched */
        .has_ext = v5,
    };
    static const char key[] = "\"opaque\":";
    uint8_t body[512];
    struct salvo_writer w = salvo_writer_over(body, sizeof(body));
    const uint8_t *at;
    ssize_t size;

    salvo_heartbeat_write(&w, salvo_text_of(client_id), NULL, 0, v5);
    if (w.failed)
        return salvo_raise(-ENOSPC);
    size = salvo_frame_write(table->heartbeat, sizeof(table->heartbeat), form, &header, body,
                             (uint32_t)salvo_writer_size(&w));
    if (size < 0)
        return salvo_raise((int)size);
    table->heartbeat_size = (uint32_t)size;
    if (form == SALVO_HEADER_BINARY) {
        /* prefix, then code (2), language (1), version (2) */
        table->heartbeat_opaque_offset = SALVO_FRAME_PREFIX_SIZE + 5;
        return 0;
    }
    at = memmem(table->heartbeat, (size_t)size, key, sizeof(key) - 1);
    salvo_assert(at != NULL);
    at += sizeof(key) - 1;
    salvo_assert(memcmp(at, "1000000000", 10) == 0);
    table->heartbeat_opaque_offset = (uint32_t)(at - table->heartbeat);
    return 0;
}

/* --- start and end ----------------------------------------------------------------------- */

int salvo_route_table_init(struct salvo_route_table *table, const struct salvo_config *config,
                           const char *client_id, struct salvo_topics *topics,
                           struct salvo_brokers *brokers, struct salvo_report *report,
                           struct salvo_lane_port **ports, uint32_t lanes_count)
{
    int r;

    *table = (struct salvo_route_table){
        .config = config,
        .topics = topics,
        .brokers = brokers,
        .report = report,
        .ports = ports,
        .lanes_count = lanes_count,
    };
    table->latest = calloc(config->topics_max, sizeof(struct salvo_route_object *));
    table->wants = calloc(config->queues_max, sizeof(*table->wants));
    if (table->latest == NULL || table->wants == NULL)
        r = salvo_raise(-ENOMEM);
    else
        r = salvo_queue_numbers_init(&table->numbers, config->queues_max);
    if (r == 0)
        r = heartbeat_make(table, client_id);
    if (r) {
        salvo_route_table_deinit(table);
        return r;
    }
    return 0;
}

static void snapshot_free(struct route_snapshot *snapshot)
{
    for (uint32_t i = 0; snapshot->objects != NULL && i < snapshot->route.topics_count; i++)
        if (snapshot->objects[i] != NULL)
            salvo_route_object_put(snapshot->objects[i]);
    free(snapshot->queues_lost);
    free(snapshot->objects);
    free(snapshot->topics);
    free(snapshot->brokers);
    free(snapshot);
}

void salvo_route_table_deinit(struct salvo_route_table *table)
{
    while (table->oldest != NULL) {
        struct route_snapshot *snapshot = table->oldest;

        table->oldest = snapshot->next;
        snapshot_free(snapshot);
    }
    if (table->current != NULL)
        snapshot_free(table->current);
    for (uint32_t i = 0; table->latest != NULL && i < table->config->topics_max; i++)
        if (table->latest[i] != NULL)
            salvo_route_object_put(table->latest[i]);
    free(table->latest);
    free(table->wants);
    salvo_queue_numbers_deinit(&table->numbers);
    *table = (struct salvo_route_table){0};
}

/* --- topics ------------------------------------------------------------------------------ */

static void object_count_brokers(struct salvo_route_table *table,
                                 const struct salvo_route_object *object, bool gained)
{
    for (uint32_t i = 0; object != NULL && i < object->route.queues_count; i++)
        if (object->route.queues[i].queueId == 0)
            salvo_brokers_topic(table->brokers, object->route.queues[i].broker, gained);
}

static void topic_replace(struct salvo_route_table *table, uint32_t topic,
                          struct salvo_route_object *object)
{
    struct salvo_route_object *old = table->latest[topic];

    object_count_brokers(table, object, true);
    object_count_brokers(table, old, false);
    salvo_queue_numbers_lose(&table->numbers, old, object);
    table->latest[topic] = object;
    table->changed = true;
    salvo_topics_set_state(table->topics, topic, object->route.state, object->route.queues_count);
    if (old != NULL)
        salvo_route_object_put(old);
}

static void topic_build(struct salvo_route_table *table, uint32_t topic,
                        enum salvo_route_state state, uint32_t wants_count)
{
    struct salvo_route_object *old = table->latest[topic], *object = NULL;
    const char *name = salvo_topics_name(table->topics, topic);
    uint32_t given;
    int r;

    if (salvo_route_object_equal(old, state, table->wants, wants_count))
        return;
    given = salvo_queue_numbers_give(&table->numbers, table->brokers, topic, old, table->wants,
                                     wants_count);
    if (given < wants_count)
        salvo_report_error(table->report, "control: queues", -ENOSPC,
                           "topic %s: only %u of %u queues fit; raise option queues_max (%u)", name,
                           given, wants_count, table->config->queues_max);
    if (given == 0 && state == SALVO_ROUTE_GOOD) {
        if (old != NULL && old->route.queues_count > 0)
            return; /* numbers come back soon: better the old route until the next answer */
        state = SALVO_ROUTE_NO_ROOM;
    }
    if (salvo_route_object_equal(old, state, table->wants, given))
        return; /* what fits is what it has: nothing was taken */
    r = salvo_route_object_new(table->config, topic, name, state, table->brokers, table->wants,
                               given, &object);
    if (r) {
        salvo_queue_numbers_return(&table->numbers, old, table->wants, given);
        salvo_report_error(table->report, "control: route", r,
                           r == -EINVAL
                               ? "topic %s: group, topic and broker name are too long together"
                               : "topic %s: no memory for its route; " SALVO_RAISE_MEMORY,
                           name);
        return;
    }
    topic_replace(table, topic, object);
    salvo_log_info(table->report->log, "control: topic %s: %u queues on %u brokers", name,
                   object->route.queues_count, object->route.brokers_count);
}

enum salvo_route_state salvo_route_table_apply(struct salvo_route_table *table, uint32_t topic,
                                               const struct salvo_route_data *data,
                                               uint32_t queues_cap, int64_t now_ns)
{
    uint32_t count;
    enum salvo_route_state state = salvo_route_wants(data, queues_cap, table->brokers, table->wants,
                                                     table->config->queues_max, &count, now_ns);

    if (state == SALVO_ROUTE_UNSUPPORTED)
        salvo_report_error(
            table->report, "control: static topic", -EOPNOTSUPP,
            "topic %s is a static topic (logical queues), which is not supported; use an "
            "ordinary one",
            salvo_topics_name(table->topics, topic));
    if (count > table->config->queues_max) {
        salvo_report_error(table->report, "control: queues", -ENOSPC,
                           "topic %s has %u queues; raise option queues_max (%u)",
                           salvo_topics_name(table->topics, topic), count,
                           table->config->queues_max);
        count = table->config->queues_max;
    }
    topic_build(table, topic, state, count);
    return salvo_topics_state(table->topics, topic);
}

void salvo_route_table_set_state(struct salvo_route_table *table, uint32_t topic,
                                 enum salvo_route_state state)
{
    salvo_assert(state != SALVO_ROUTE_GOOD);
    topic_build(table, topic, state, 0);
}

const char *salvo_route_table_topic_on(const struct salvo_route_table *table, uint32_t broker)
{
    for (uint32_t topic = 0; topic < table->config->topics_max; topic++) {
        const struct salvo_route_object *object = table->latest[topic];

        for (uint32_t i = 0; object != NULL && i < object->route.queues_count; i++)
            if (object->route.queues[i].broker == broker && object->route.queues[i].queueId == 0)
                return salvo_topics_name(table->topics, topic);
    }
    return NULL;
}

/* --- publishing -------------------------------------------------------------------------- */

static struct route_snapshot *snapshot_new(struct salvo_route_table *table)
{
    uint32_t topics_count = salvo_topics_count(table->topics);
    uint32_t brokers_count = salvo_brokers_count(table->brokers);
    struct route_snapshot *snapshot = calloc(1, sizeof(*snapshot));

    if (snapshot == NULL)
        return NULL;
    snapshot->objects = calloc(topics_count + 1, sizeof(struct salvo_route_object *));
    snapshot->topics = calloc(topics_count + 1, sizeof(struct salvo_route_topic *));
    snapshot->brokers = calloc(brokers_count + 1, sizeof(*snapshot->brokers));
    snapshot->queues_lost = calloc(table->numbers.lost_count + 1, sizeof(*snapshot->queues_lost));
    if (snapshot->objects == NULL || snapshot->topics == NULL || snapshot->brokers == NULL ||
        snapshot->queues_lost == NULL) {
        snapshot_free(snapshot);
        return NULL;
    }
    snapshot->route = (struct salvo_route){
        .epoch = table->epoch + 1,
        .topics_count = topics_count,
        .topics = snapshot->topics,
        .brokers_count = brokers_count,
        .brokers = snapshot->brokers,
        .heartbeat = table->heartbeat,
        .heartbeat_size = table->heartbeat_size,
        .heartbeat_opaque_offset = table->heartbeat_opaque_offset,
        .heartbeat_form = (enum salvo_header_form)table->config->header,
        .outcomes_wanted = table->config->fault_latency,
    };
    for (uint32_t i = 0; i < topics_count; i++) {
        snapshot->objects[i] = table->latest[i];
        if (table->latest[i] == NULL)
            continue;
        table->latest[i]->users++;
        snapshot->topics[i] = &table->latest[i]->route;
    }
    for (uint32_t i = 0; i < brokers_count; i++)
        snapshot->brokers[i] = table->brokers->table[i].route;
    return snapshot;
}

/* The one in use so far goes on the list, with the queue numbers that only it and older ones have.
 * The array was made with the new snapshot, so that nothing can fail here. */
static void snapshot_retire_current(struct salvo_route_table *table, struct route_snapshot *next)
{
    struct route_snapshot *old = table->current;
    uint32_t *lost = next->queues_lost;

    next->queues_lost = NULL;
    if (old == NULL) { /* nobody has seen the numbers that are lost already */
        while (table->numbers.lost_count > 0)
            salvo_queue_numbers_free(&table->numbers,
                                     table->numbers.lost[--table->numbers.lost_count]);
        free(lost);
        table->epoch_all = next->route.epoch;
        return;
    }
    memcpy(lost, table->numbers.lost, table->numbers.lost_count * sizeof(*lost));
    old->queues_lost = lost;
    old->queues_lost_count = table->numbers.lost_count;
    old->replaced_epoch = next->route.epoch;
    table->numbers.lost_count = 0;
    if (table->newest != NULL)
        table->newest->next = old;
    else
        table->oldest = old;
    table->newest = old;
}

static int table_publish(struct salvo_route_table *table)
{
    struct route_snapshot *snapshot;

    if (!table->changed && table->brokers_version == table->brokers->version)
        return 0;
    salvo_brokers_leave(table->brokers, table->epoch + 1);
    snapshot = snapshot_new(table);
    if (snapshot == NULL) { /* next turn */
        salvo_report_error(table->report, "control: route", -ENOMEM,
                           "no memory for a route snapshot; " SALVO_RAISE_MEMORY);
        return 0;
    }
    snapshot_retire_current(table, snapshot);
    table->current = snapshot;
    table->epoch = snapshot->route.epoch;
    table->changed = false;
    table->brokers_version = table->brokers->version;
    for (uint32_t i = 0; i < table->lanes_count; i++)
        salvo_lane_port_publish(table->ports[i], &snapshot->route);
    salvo_counter_add(table->report->counters, SALVO_CONTROL_ROUTE_CHANGES, 1);
    return 1;
}

static bool snapshot_left_by_all(struct salvo_route_table *table, struct route_snapshot *snapshot)
{
    for (uint32_t i = 0; i < table->lanes_count; i++)
        if (!(snapshot->moved_on >> i & 1) &&
            salvo_lane_port_moved_on(table->ports[i], snapshot->replaced_epoch))
            snapshot->moved_on |= UINT64_C(1) << i;
    return (uint32_t)__builtin_popcountll(snapshot->moved_on) == table->lanes_count;
}

static int table_take_back(struct salvo_route_table *table)
{
    int taken = 0;

    while (table->oldest != NULL && snapshot_left_by_all(table, table->oldest)) {
        struct route_snapshot *snapshot = table->oldest;

        table->oldest = snapshot->next;
        if (table->oldest == NULL)
            table->newest = NULL;
        table->epoch_all = snapshot->replaced_epoch;
        for (uint32_t i = 0; i < snapshot->queues_lost_count; i++)
            salvo_queue_numbers_free(&table->numbers, snapshot->queues_lost[i]);
        snapshot_free(snapshot);
        taken++;
    }
    return taken;
}

int salvo_route_table_do_work(struct salvo_route_table *table)
{
    int work = table_publish(table);

    work += table_take_back(table);
    work += salvo_brokers_do_work(table->brokers, table->epoch_all);
    return work;
}

bool salvo_route_table_waits(const struct salvo_route_table *table)
{
    return table->oldest != NULL || table->brokers->leaving_count > 0;
}
