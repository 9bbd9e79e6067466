/* What must hold after a run, from what the mock stored and what the results said. See sim.h.
 *
 * Order of ordered messages: of one submitter and one key, those with a good result are first
 * stored on a queue in the order of their commits, and their results come in that order. (A second
 * copy, of a try whose answer was lost, may lie anywhere behind the first; a message whose result
 * says "unknown" has no place.) A key whose queue changes, because its topic's queues did, begins
 * anew on the other queue. All copies of an ordered or pinned message lie on one queue.
 *
 * When one fails, those of its shard that were committed before the failure was polled fail too;
 * those after it begin anew. (Not looked at where a fault changes queues: see above.) */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

/* A result may come so long after its message's time is up: a tick of the wheel, the longest rest,
 * a few turns. */
#define CHECK_SLACK_NS (10 * SALVO_NS_PER_MS)

struct check_index {
    uint32_t *slots; /* message + 1 by its id */
    uint32_t mask;
};

static uint32_t check_find(const struct sim *sim, const struct check_index *index, const char *id)
{
    uint32_t at = (uint32_t)salvo_mock_digest(id, strlen(id)) & index->mask;

    while (index->slots[at] != 0) {
        if (strcmp(sim->messages[index->slots[at] - 1].id, id) == 0)
            return index->slots[at] - 1;
        at = (at + 1) & index->mask;
    }
    return UINT32_MAX;
}

static void check_ids(struct sim *sim, struct check_index *index)
{
    for (uint32_t i = 0; i < sim->messages_count; i++) {
        const char *id = sim->messages[i].id;
        uint32_t at = (uint32_t)salvo_mock_digest(id, strlen(id)) & index->mask;

        if (check_find(sim, index, id) != UINT32_MAX) {
            if (sim->messages[i].results != 0)
                sim_fail(sim, "messages %u and %u have the same id", check_find(sim, index, id), i);
            continue;
        }
        while (index->slots[at] != 0)
            at = (at + 1) & index->mask;
        index->slots[at] = i + 1;
    }
}

/* One message as the mock stored it, against what was submitted. */
static void check_copy(struct sim *sim, uint32_t number, const struct salvo_mock_stored *stored)
{
    struct sim_message *message = &sim->messages[number];
    char properties[4096];
    size_t size = sim_load_properties(sim, number, properties, sizeof(properties));
    const char *name = stored->broker < SIM_BROKERS_MAX ? &"abc"[stored->broker] : "?";

    if (message->copies++ == 0) {
        message->first_order = stored->order;
        message->first_broker = stored->broker;
        message->first_queue = stored->queue;
    } else if (stored->broker != message->first_broker || stored->queue != message->first_queue) {
        message->elsewhere = true;
    }
    if (strcmp(salvo_mock_topic_name(sim->mock, stored->topic), sim_topic_names[message->topic]) !=
        0)
        sim_fail(sim, "message %u was stored under another topic", number);
    if (stored->body_size != message->body_size || stored->body_digest != message->body_digest)
        sim_fail(sim, "message %u was stored with another body (%u bytes, not %u)", number,
                 stored->body_size, message->body_size);
    if (stored->properties_size != size ||
        stored->properties_digest != salvo_mock_digest(properties, size))
        sim_fail(sim, "message %u was stored with other properties (%u bytes, not %zu)", number,
                 stored->properties_size, size);
    if (stored->flag != message->flag)
        sim_fail(sim, "message %u was stored with flag %d, not %d", number, stored->flag,
                 message->flag);
    if (stored->queue == message->queue_id && stored->offset == message->queue_offset &&
        message->broker[0] != '\0' && message->broker[strlen(message->broker) - 1] == *name)
        message->offset_found = true;
}

static void check_stored(struct sim *sim)
{
    struct check_index index = {.mask = 4 * SIM_MESSAGES_MAX - 1};
    struct salvo_mock_stored stored;

    index.slots = calloc(4 * SIM_MESSAGES_MAX, sizeof(*index.slots));
    salvo_assert(index.slots != NULL);
    check_ids(sim, &index);
    for (uint64_t order = 0; salvo_mock_stored_at(sim->mock, order, &stored) == 0; order++) {
        uint32_t number = check_find(sim, &index, stored.uniq_key);

        if (number == UINT32_MAX)
            sim_fail(sim, "the broker stored %s, which nobody sent", stored.uniq_key);
        else
            check_copy(sim, number, &stored);
    }
    free(index.slots);
}

/* What the code says of storing. */
static bool check_code_fits(const struct sim_message *message)
{
    switch (message->code) {
    case SALVO_OK:
    case SALVO_OK_FLUSH_DISK_TIMEOUT:
    case SALVO_OK_SLAVE_NOT_AVAILABLE:
    case SALVO_OK_FLUSH_SLAVE_TIMEOUT:
        return message->stored == SALVO_STORED_YES;
    case SALVO_REFUSED:
        return message->stored != SALVO_STORED_YES;
    case SALVO_TIMED_OUT:
    case SALVO_CONNECTION_LOST:
        return message->stored == SALVO_STORED_UNKNOWN;
    case SALVO_TIMED_OUT_UNSENT:
    case SALVO_NO_ROUTE:
    case SALVO_UNSENT_STOPPED:
    case SALVO_UNSENT_EARLIER_FAILED:
        return message->stored == SALVO_STORED_NO;
    case SALVO_CODES:
        break;
    }
    return false;
}

static void check_result(struct sim *sim, uint32_t number, int64_t ring_until_ns)
{
    const struct sim_message *m = &sim->messages[number];
    int64_t until_ns = SALVO_MAX(m->commit_ns + m->budget_ns, ring_until_ns) + CHECK_SLACK_NS;

    if (m->results != 1) {
        sim_fail(sim, "message %u has %u results", number, m->results);
        return;
    }
    if (!check_code_fits(m))
        sim_fail(sim, "message %u: %s and stored %s do not fit", number, salvo_code_name(m->code),
                 salvo_stored_name(m->stored));
    if (m->stored == SALVO_STORED_YES && m->copies == 0)
        sim_fail(sim, "message %u: result %s, but no broker stored it", number,
                 salvo_code_name(m->code));
    if (m->stored == SALVO_STORED_NO && m->copies != 0)
        sim_fail(sim, "message %u: result %s, not stored, but a broker has it", number,
                 salvo_code_name(m->code));
    if (m->copies > (uint32_t)SALVO_MAX(m->tries, 0))
        sim_fail(sim, "message %u: %u copies of %d tries", number, m->copies, m->tries);
    if (m->tries == 0 && (m->code == SALVO_REFUSED || m->stored != SALVO_STORED_NO))
        sim_fail(sim, "message %u: %s (broker code %d) of no try", number, salvo_code_name(m->code),
                 m->broker_code);
    if (m->tries > sim->plan.tries_max)
        sim_fail(sim, "message %u: %d tries, %d allowed", number, m->tries, sim->plan.tries_max);
    if (m->stored == SALVO_STORED_YES && !m->offset_found)
        sim_fail(sim, "message %u: no copy on %s queue %d at %lld", number, m->broker, m->queue_id,
                 (long long)m->queue_offset);
    if (m->elsewhere && m->kind != SIM_FREE)
        sim_fail(sim, "message %u: bound to one queue, stored on two", number);
    if (m->done_ns > until_ns || m->done_ns < m->commit_ns)
        sim_fail(sim, "message %u: %s %.3f s after its commit, budget %.3f s", number,
                 salvo_code_name(m->code), (double)(m->done_ns - m->commit_ns) / 1e9,
                 (double)m->budget_ns / 1e9);
    /* One that failed may have been committed before: check_earlier_failed. */
    if (m->live && m->stored != SALVO_STORED_YES && m->code != SALVO_UNSENT_EARLIER_FAILED)
        sim_fail(sim, "message %u: %s (broker code %d), though nothing was wrong any more", number,
                 salvo_code_name(m->code), m->broker_code);
}

static bool check_same_shard(const struct sim_message *a, const struct sim_message *b)
{
    return a->kind == SIM_ORDERED && b->kind == SIM_ORDERED && a->submitter == b->submitter &&
           a->topic == b->topic && a->shard == b->shard;
}

/* The last good message of each (submitter, topic, shard, broker, queue). */
static void check_order(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->messages_count; i++) {
        const struct sim_message *later = &sim->messages[i];

        if (later->kind != SIM_ORDERED || later->stored != SALVO_STORED_YES)
            continue;
        for (uint32_t k = i; k-- > 0;) {
            const struct sim_message *earlier = &sim->messages[k];

            if (!check_same_shard(earlier, later) || earlier->stored != SALVO_STORED_YES ||
                earlier->first_broker != later->first_broker ||
                earlier->first_queue != later->first_queue)
                continue;
            if (earlier->first_order > later->first_order)
                sim_fail(sim, "message %u was stored before message %u of its shard", i, k);
            if (earlier->result_order > later->result_order)
                sim_fail(sim, "message %u had its result before message %u of its shard", i, k);
            break; /* the others were before that one */
        }
    }
}

/* "An earlier one failed" is said only when one did. */
static void check_earlier_failed(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->messages_count; i++) {
        const struct sim_message *later = &sim->messages[i];
        bool found = later->code != SALVO_UNSENT_EARLIER_FAILED;

        for (uint32_t k = i; !found && k-- > 0;) {
            const struct sim_message *earlier = &sim->messages[k];

            found = check_same_shard(earlier, later) && earlier->stored != SALVO_STORED_YES &&
                    earlier->code != SALVO_UNSENT_EARLIER_FAILED;
        }
        if (!found)
            sim_fail(sim, "message %u: %s, but none of its shard did", i,
                     salvo_code_name(later->code));
    }
}

/* Nothing goes on behind a failure that its submitter did not know of yet. */
static void check_failures(struct sim *sim)
{
    static uint32_t broken[SIM_SUBMITTERS_MAX][SIM_TOPICS][SIM_SHARDS]; /* message + 1 */

    memset(broken, 0, sizeof(broken));
    for (uint32_t i = 0; i < sim->messages_count; i++) {
        const struct sim_message *m = &sim->messages[i];
        uint32_t *last;

        if (m->kind != SIM_ORDERED)
            continue;
        last = &broken[m->submitter][m->topic][m->shard];
        if (*last == 0 || m->results_before > sim->messages[*last - 1].result_order)
            *last = m->stored == SALVO_STORED_YES ? 0 : i + 1;
        else if (m->stored == SALVO_STORED_YES && !sim->plan.routes_change)
            sim_fail(sim, "message %u was stored behind message %u of its shard, which failed", i,
                     *last - 1);
    }
}

/* Neither side saw nonsense but where the harness made it. */
static void check_frames(struct sim *sim)
{
    struct salvo_mock_stats stats;
    uint64_t bad = 0;
    uint64_t lies = 0;

    for (uint32_t i = 0; i < sim->plan.lanes; i++)
        lies += sim->watches[i].lies_made;
    if (salvo_counter_value(sim->sender, "lane_frames_bad", &bad) != 0)
        salvo_unreachable();
    if (bad > lies)
        sim_fail(sim, "%llu frames made no sense to the sender, %llu were made so",
                 (unsigned long long)bad, (unsigned long long)lies);
    salvo_mock_stats(sim->mock, &stats);
    if (stats.connections_bad != 0)
        sim_fail(sim,
                 "%llu connections were closed for a frame of the sender's that makes no sense",
                 (unsigned long long)stats.connections_bad);
}

void sim_checks(struct sim *sim)
{
    /* A message behind others in its ring is seen when their time is up, not before. */
    int64_t ring_until_ns[SIM_SUBMITTERS_MAX] = {0};

    check_stored(sim);
    for (uint32_t i = 0; i < sim->messages_count; i++) {
        const struct sim_message *m = &sim->messages[i];

        check_result(sim, i, ring_until_ns[m->submitter]);
        ring_until_ns[m->submitter] =
            SALVO_MAX(ring_until_ns[m->submitter], m->commit_ns + m->budget_ns);
    }
    check_frames(sim);
    check_order(sim);
    check_earlier_failed(sim);
    check_failures(sim);
}
