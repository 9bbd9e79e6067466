/* Messages of a run: made, submitted in bursts, and their results noted. See sim.h. */
#include "tests/sim/sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The last one is unknown to the nameservers at first. */
const char *const sim_topic_names[SIM_TOPICS] = {"SimA", "SimB", "SimC", "SimNew"};
#define LOAD_TOPIC_UNKNOWN (SIM_TOPICS - 1)
#define LOAD_BODY_MAX      SALVO_KIB(512)

/* --- what a message is ------------------------------------------------------------------------ */

static struct salvo_random load_random(const struct sim *sim, uint32_t index)
{
    struct salvo_random random;

    salvo_random_init(&random, sim->seed * UINT64_C(1000003) + index);
    return random;
}

/* Tags, keys and user properties come from the message's number alone. */
struct load_properties {
    char tags[16];
    char keys[32];
    char name[16];
    char value[3200];
};

static void load_properties(const struct sim *sim, uint32_t index, struct load_properties *ret)
{
    static const char *const pieces[] = {"x", "\"", "\\", "\xc3\xa4", "\xe2\x82\xac",
                                         " ", "/",  "\n"};
    struct salvo_random random = load_random(sim, index);
    uint32_t count = (uint32_t)salvo_random_below(&random, 30);
    size_t at = 0;

    memset(ret, 0, sizeof(*ret));
    if (salvo_random_chance(&random, 1, 2))
        snprintf(ret->tags, sizeof(ret->tags), "tag-%u", index % 7);
    if (salvo_random_chance(&random, 1, 3))
        snprintf(ret->keys, sizeof(ret->keys), "key-%u key-%u", index, index + 1);
    if (salvo_random_chance(&random, sim->plan.properties_permille, 1000))
        count = (uint32_t)salvo_random_below(&random, 1000);
    else if (salvo_random_chance(&random, 1, 2))
        return;
    snprintf(ret->name, sizeof(ret->name), "name-%u", index % 5);
    at = (size_t)snprintf(ret->value, sizeof(ret->value), "v"); /* blank ones are refused */
    for (uint32_t i = 0; i < count; i++) {
        const char *piece = pieces[salvo_random_below(&random, SALVO_ARRAY_LENGTH(pieces))];

        at += (size_t)snprintf(ret->value + at, sizeof(ret->value) - at, "%s", piece);
    }
}

size_t sim_load_properties(const struct sim *sim, uint32_t index, char *ret_text, size_t size)
{
    const struct sim_message *message = &sim->messages[index];
    struct load_properties p;
    int n = 0;

    load_properties(sim, index, &p);
    if (p.tags[0] != '\0')
        n += snprintf(ret_text + n, size - (size_t)n, "TAGS\x01%s\x02", p.tags);
    if (p.keys[0] != '\0')
        n += snprintf(ret_text + n, size - (size_t)n, "KEYS\x01%s\x02", p.keys);
    if (p.name[0] != '\0')
        n += snprintf(ret_text + n, size - (size_t)n, "%s\x01%s\x02", p.name, p.value);
    if (message->delayed)
        n += snprintf(ret_text + n, size - (size_t)n, "DELAY\x01%s\x02", "3");
    n += snprintf(ret_text + n, size - (size_t)n, "UNIQ_KEY\x01%s\x02", message->id);
    if (message->no_wait)
        n += snprintf(ret_text + n, size - (size_t)n, "WAIT\x01%s\x02", "false");
    salvo_assert((size_t)n < size);
    return (size_t)n;
}

/* Half of it compresses well. */
static void load_body(const struct sim *sim, uint32_t index, uint8_t *body, uint32_t size)
{
    struct salvo_random random = load_random(sim, index);
    uint64_t word = salvo_random_next(&random);

    for (uint32_t i = 0; i < size; i += 8) {
        if ((i & 64) != 0)
            word = salvo_random_next(&random);
        memcpy(body + i, &word, SALVO_MIN(size - i, 8u));
    }
    memcpy(body, &index, SALVO_MIN(size, (uint32_t)sizeof(index)));
}

static uint32_t load_body_size(struct sim *sim, bool live)
{
    uint32_t most = sim->plan.body_max;

    if (live) /* nothing that its broker refuses */
        most = SALVO_MIN(most, sim->plan.broker_body_max);
    if (sim_chance(sim, sim->plan.large_permille))
        return sim_between(sim, 1, most);
    return sim_between(sim, 1, SALVO_MIN(most, 400u));
}

static void load_make(struct sim *sim, struct sim_message *message, bool live)
{
    uint32_t draw = (uint32_t)sim_below(sim, 1000);

    *message = (struct sim_message){
        .topic = (uint8_t)sim_below(sim, SIM_TOPICS - 1),
        .submitter = (uint8_t)sim_below(sim, sim->plan.submitters),
        .live = live,
        .body_size = load_body_size(sim, live),
        .budget_ns = sim->plan.timeout_ms * SALVO_NS_PER_MS,
    };
    /* A topic that nobody creates may disturb nobody else. */
    if (sim_chance(sim, sim->plan.unknown_permille)) {
        message->live = live && sim->plan.auto_create;
        message->topic = LOAD_TOPIC_UNKNOWN;
    }
    if (draw < sim->plan.ordered_permille) {
        message->kind = SIM_ORDERED;
        message->shard = (uint8_t)sim_below(sim, SIM_SHARDS);
    } else if (draw < sim->plan.ordered_permille + sim->plan.pinned_permille) {
        message->kind = SIM_PINNED;
        message->queue_index = (uint8_t)sim_below(
            sim, message->topic == LOAD_TOPIC_UNKNOWN ? 4 : sim->plan.brokers * 2);
    }
    if (sim_chance(sim, 50))
        message->flag = (int32_t)sim_between(sim, 1, 1000);
    message->no_wait = sim_chance(sim, 50);
    message->delayed = message->kind != SIM_ORDERED && sim_chance(sim, 20);
    if (live)
        message->budget_ns = SIM_LIVE_BUDGET_MS * SALVO_NS_PER_MS;
    else if (sim_chance(sim, 100))
        message->budget_ns = sim_between(sim, 1, 8000) * SALVO_NS_PER_MS;
}

/* --- submitting ------------------------------------------------------------------------------- */

static void load_fill(struct sim *sim, uint32_t index, salvo_msg *m)
{
    struct sim_message *message = &sim->messages[index];
    struct load_properties p;
    char key[16];
    int r = 0;

    load_properties(sim, index, &p);
    load_body(sim, index, salvo_body(m), message->body_size);
    message->body_digest = salvo_mock_digest(salvo_body(m), message->body_size);
    if (p.tags[0] != '\0')
        r |= salvo_set_tags(m, p.tags);
    if (p.keys[0] != '\0')
        r |= salvo_set_keys(m, p.keys);
    if (p.name[0] != '\0')
        r |= salvo_set_property(m, p.name, p.value);
    if (message->delayed)
        r |= salvo_set_delay(m, 3);
    if (message->no_wait)
        r |= salvo_set_wait_store(m, 0);
    if (message->flag != 0)
        r |= salvo_set_flag(m, message->flag);
    if (message->kind == SIM_PINNED)
        r |= salvo_set_queue(m, message->queue_index);
    if (message->kind == SIM_ORDERED) {
        int n = snprintf(key, sizeof(key), "shard-%u", message->shard);

        r |= salvo_set_shard(m, key, (size_t)n);
    }
    r |= salvo_set_deadline(m, message->budget_ns / SALVO_NS_PER_MS);
    if (r != 0)
        sim_fail(sim, "message %u is refused: %s", index, salvo_msg_error(m));
}

/* False: the sender takes no more just now. */
static bool load_submit(struct sim *sim, bool live)
{
    uint32_t index = sim->messages_count;
    struct sim_message *message = &sim->messages[index];
    salvo_msg *m;
    uint32_t room;
    int r;

    if (message->body_size == 0)
        load_make(sim, message, live);
    message->live = live && message->live;
    room = message->body_size + (index % 3 == 0 ? 40u : 0u);
    r = salvo_claim(sim->submitters[message->submitter], sim->topics[message->topic],
                    SALVO_MIN(room, sim->plan.body_max), &m);
    if (r > 0)
        return false;
    salvo_assert(r == 0);
    if (sim_chance(sim, 10)) { /* a claim may be given up */
        memset(salvo_body(m), 0xee, 1);
        salvo_abort(m);
        return true;
    }
    load_fill(sim, index, m);
    message->commit_ns = salvo_clock_mono_ns(sim->clock);
    message->results_before = sim->results_count;
    r = salvo_commit(m, message->body_size, index);
    salvo_assert(r == 0);
    sim->messages_count++;
    return true;
}

void sim_load_burst(struct sim *sim, uint32_t count)
{
    sim->burst_left += count;
}

/* Some are kept for the end of the run. */
static bool load_may_submit(const struct sim *sim)
{
    uint32_t kept = sim_now(sim) < SIM_LIVE_NS ? 300 : sim->draining ? 0 : 100;

    return sim->messages_count < SIM_MESSAGES_MAX - kept;
}

static bool load_ended(const struct sim *sim)
{
    return (sim_now(sim) >= SIM_LOAD_END_NS && sim->messages_count >= sim->plan.messages);
}

void sim_load_step(struct sim *sim)
{
    bool live = sim_now(sim) >= SIM_LIVE_NS && !sim->draining;

    if (sim->load_done)
        return;
    if (sim->burst_left == 0 && sim_now(sim) >= sim->burst_at_ns) {
        int64_t mean_ns = SIM_LOAD_END_NS * sim->plan.burst_max / (2 * sim->plan.messages);

        sim->burst_left = sim_between(sim, 1, live ? 20 : sim->plan.burst_max);
        if (live)
            mean_ns = 100 * SALVO_NS_PER_MS;
        sim->burst_at_ns = sim_now(sim) + (int64_t)sim_below(sim, 2 * (uint64_t)mean_ns);
    }
    if (!load_may_submit(sim))
        sim->burst_left = 0;
    while (sim->burst_left != 0 && load_may_submit(sim) && !load_ended(sim) &&
           load_submit(sim, live))
        sim->burst_left--;
    sim->load_done = load_ended(sim);
}

int64_t sim_load_next_ns(const struct sim *sim)
{
    if (sim->load_done)
        return INT64_MAX;
    return sim->start_ns +
           (sim->burst_left != 0 ? sim_now(sim) + SALVO_NS_PER_MS : sim->burst_at_ns);
}

/* --- results ---------------------------------------------------------------------------------- */

static void load_result(void *arg, const salvo_result *result)
{
    struct sim *sim = arg;
    uint64_t index = salvo_result_cookie(result);
    struct sim_message *message;

    if (index >= sim->messages_count) {
        sim_fail(sim, "a result for message %llu, which nobody sent", (unsigned long long)index);
        return;
    }
    message = &sim->messages[index];
    message->results++;
    message->result_order = sim->results_count++;
    message->code = salvo_result_code(result);
    message->stored = salvo_result_stored(result);
    message->broker_code = salvo_result_broker_code(result);
    message->tries = salvo_result_tries(result);
    message->queue_id = salvo_result_queue_id(result);
    message->queue_offset = salvo_result_queue_offset(result);
    message->done_ns = salvo_result_done_ns(result);
    snprintf(message->broker, sizeof(message->broker), "%s", salvo_result_broker(result));
    salvo_result_msg_id(result, message->id, sizeof(message->id));
    sim_note(sim, "message %llu: %s stored %s tries %d broker %s code %d queue %d offset %lld%s%s",
             (unsigned long long)index, salvo_code_name(message->code),
             salvo_stored_name(message->stored), message->tries, message->broker,
             message->broker_code, message->queue_id, (long long)message->queue_offset,
             salvo_result_detail(result)[0] != '\0' ? ": " : "", salvo_result_detail(result));
}

void sim_load_poll(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->plan.submitters; i++)
        salvo_poll(sim->submitters[i], load_result, sim, 64);
}
