/* What goes wrong in a run. Each fault is aimed at a state of the connection it concerns: the state
 * is provoked, waited for, and the fault happens the moment it is seen, or when its time is up in
 * whatever state there is. The table counts what was hit. See sim.h. */
#include "tests/sim/sim.h"

#include "dataplane/net_sim_world.h"

#include <string.h>

const char *const sim_fault_names[SIM_FAULT_KINDS] = {
    [SIM_FAULT_RESET] = "connections reset",
    [SIM_FAULT_CUT] = "cut in mid-frame",
    [SIM_FAULT_DELAY] = "answers delayed",
    [SIM_FAULT_LATE] = "answers past their deadline",
    [SIM_FAULT_TWICE] = "answers given twice",
    [SIM_FAULT_WRONG_OPAQUE] = "answers with a wrong opaque",
    [SIM_FAULT_LOST] = "answers lost",
    [SIM_FAULT_KILLED] = "broker killed and restarted",
    [SIM_FAULT_SILENT] = "broker silent",
    [SIM_FAULT_NAMESERVER_DOWN] = "nameserver away",
    [SIM_FAULT_NAMESERVER_SILENT] = "nameserver silent",
    [SIM_FAULT_PARTITION] = "lane and broker parted",
    [SIM_FAULT_SLOW_HOST] = "slow host",
    [SIM_FAULT_BUSY] = "system busy",
    [SIM_FAULT_CODES] = "other codes",
    [SIM_FAULT_GO_AWAY] = "go away",
    [SIM_FAULT_QUEUES_SHRINK] = "queues shrink",
    [SIM_FAULT_BROKER_LEAVES] = "broker leaves and returns",
    [SIM_FAULT_PERM] = "write permission taken",
    [SIM_FAULT_BATCH_REFUSED] = "batches refused with 13",
    [SIM_FAULT_NOT_READING] = "peer never reads",
    [SIM_FAULT_SLOW_READING] = "peer reads slowly",
    [SIM_FAULT_CLOSED] = "closed instead of an answer",
    [SIM_FAULT_HALF_FRAME] = "half an answer, then closed",
    [SIM_FAULT_LYING_FRAME] = "frames that lie",
    [SIM_FAULT_LATE_RELEASE] = "bytes released late",
    [SIM_FAULT_PARTIAL_SEND] = "partial sends",
};

const char *const sim_state_names[SIM_STATES] = {"down",        "connecting", "up-idle",
                                                 "up-inflight", "up-blocked", "dying"};

#define FAULT_PROVOKE_NS_MAX (3 * SALVO_NS_PER_S)

/* --- the connection concerned ----------------------------------------------------------------- */

uint32_t sim_broker_number(const struct sim *sim, uint32_t broker)
{
    static const char *const names[SIM_BROKERS_MAX] = {"broker-a", "broker-b", "broker-c"};
    struct salvo_sender *sender = salvo_sender_of(sim->sender);

    for (uint32_t i = 0; i < sender->config.brokers_max; i++) {
        const char *name = salvo_control_broker_name(&sender->control, i);

        if (name != NULL && strcmp(name, names[broker]) == 0)
            return i;
    }
    return SALVO_BROKER_NONE;
}

static enum sim_state fault_state(const struct sim *sim, uint32_t lane_index, uint32_t broker)
{
    const struct salvo_lane *lane = salvo_sender_of(sim->sender)->lanes[lane_index];
    uint32_t number = sim_broker_number(sim, broker);
    const struct salvo_conn *conn;

    if (number == SALVO_BROKER_NONE)
        return SIM_STATE_DOWN;
    conn = &lane->conns[number];
    switch (conn->state) {
    case SALVO_CONN_DOWN:
        return SIM_STATE_DOWN;
    case SALVO_CONN_CONNECTING:
        return SIM_STATE_CONNECTING;
    case SALVO_CONN_DYING:
        return SIM_STATE_DYING;
    case SALVO_CONN_UP:
        break;
    }
    if (conn->blocked)
        return SIM_STATE_BLOCKED;
    return conn->inflight != 0 ? SIM_STATE_INFLIGHT : SIM_STATE_IDLE;
}

/* --- ending ----------------------------------------------------------------------------------- */

static uint32_t fault_host(const struct sim *sim, uint32_t broker)
{
    return salvo_mock_host_of_broker(sim->mock, broker);
}

static void fault_cure_later(struct sim *sim, enum sim_fault_kind kind, uint32_t broker,
                             uint32_t lane, int64_t in_ns)
{
    for (uint32_t i = 0; i < SIM_CURES_MAX; i++) {
        if (sim->cures[i].at_ns != 0)
            continue;
        sim->cures[i] = (struct sim_cure){
            .at_ns = sim_now(sim) + SALVO_MAX(in_ns, 1),
            .kind = kind,
            .broker = broker,
            .lane = lane,
        };
        return;
    }
    salvo_unreachable();
}

/* A connection that could not send has frames cut out of its stream. It is in use again when it
 * dies: what was handed over is then told from what was not in spite of the holes. */
static void fault_aftershock(struct sim *sim, const struct sim_cure *cure)
{
    for (uint32_t i = 0; i < SIM_CURES_MAX; i++) {
        if (sim->cures[i].at_ns != 0)
            continue;
        sim->cures[i] = *cure;
        sim->cures[i].at_ns = sim_now(sim) + sim_between(sim, 1, 60) * SALVO_NS_PER_MS;
        sim->cures[i].aftershock = true;
        sim_load_burst(sim, 40);
        return;
    }
}

static void fault_perm(struct sim *sim, uint32_t broker, uint32_t perm)
{
    salvo_mock_topic_set(sim->mock, sim_topic_names[0], broker, 4, perm);
}

static void fault_cure(struct sim *sim, const struct sim_cure *cure)
{
    uint32_t host = fault_host(sim, cure->broker);

    if (cure->aftershock) {
        salvo_sim_reset_links(sim->world, sim_chance(sim, 500) ? host : SIM_HOST_LANE(cure->lane));
        return;
    }
    sim_note(sim, "healed: %s, broker %u", sim_fault_names[cure->kind], cure->broker);
    if ((cure->kind == SIM_FAULT_SILENT || cure->kind == SIM_FAULT_PARTITION ||
         cure->kind == SIM_FAULT_NOT_READING || cure->kind == SIM_FAULT_SLOW_READING) &&
        sim_chance(sim, 500))
        fault_aftershock(sim, cure);
    switch (cure->kind) {
    case SIM_FAULT_KILLED:
    case SIM_FAULT_SILENT:
        salvo_sim_host_down(sim->world, host, false, false);
        break;
    case SIM_FAULT_NAMESERVER_DOWN:
    case SIM_FAULT_NAMESERVER_SILENT:
        for (uint32_t i = 0; i < sim->plan.nameservers; i++)
            salvo_sim_host_down(sim->world, i, false, false);
        break;
    case SIM_FAULT_PARTITION:
        salvo_sim_partition(sim->world, SIM_HOST_LANE(cure->lane), host, false);
        break;
    case SIM_FAULT_SLOW_HOST:
        salvo_sim_slow(sim->world, host, 0);
        break;
    case SIM_FAULT_QUEUES_SHRINK:
    case SIM_FAULT_PERM:
        fault_perm(sim, cure->broker, SALVO_PERM_READ | SALVO_PERM_WRITE);
        break;
    case SIM_FAULT_BROKER_LEAVES:
        salvo_mock_route_broker(sim->mock, cure->broker, true);
        break;
    case SIM_FAULT_LYING_FRAME:
        sim->watches[cure->lane].lies = 0;
        break;
    case SIM_FAULT_LATE_RELEASE:
        sim->world->conf.release_late_permille = 20;
        break;
    case SIM_FAULT_PARTIAL_SEND:
        sim->world->conf.partial_permille = 50;
        break;
    default: /* steps of the mock */
        salvo_mock_fault_clear(sim->mock);
        break;
    }
}

/* --- happening -------------------------------------------------------------------------------- */

static void fault_step(struct sim *sim, const struct sim_fault *fault, struct salvo_mock_fault step)
{
    step.host = fault_host(sim, fault->broker);
    if (step.request == 0)
        step.request = SALVO_MOCK_REQUEST_SENDS;
    if (step.count == 0)
        step.count = sim_between(sim, 1, 30);
    if (salvo_mock_fault_add(sim->mock, &step) != 0)
        salvo_unreachable();
}

/* A batch that is stored without an answer, then refused, then refused item by item: its messages
 * may be stored all the same. On every broker, since a retry goes elsewhere. */
static void fault_batch_story(struct sim *sim)
{
    struct salvo_mock_fault step = {.kind = SALVO_MOCK_FAULT_DROP,
                                    .host = SALVO_MOCK_ALL,
                                    .request = SALVO_REQUEST_SEND_BATCH_MESSAGE,
                                    .stored = true,
                                    .count = sim_between(sim, 1, 6)};
    int r = salvo_mock_fault_add(sim->mock, &step);

    step = (struct salvo_mock_fault){.kind = SALVO_MOCK_FAULT_CODE,
                                     .host = SALVO_MOCK_ALL,
                                     .request = SALVO_REQUEST_SEND_BATCH_MESSAGE,
                                     .code = 13,
                                     .count = sim_between(sim, 1, 6)};
    r |= salvo_mock_fault_add(sim->mock, &step);
    step = (struct salvo_mock_fault){.kind = SALVO_MOCK_FAULT_CODE,
                                     .host = SALVO_MOCK_ALL,
                                     .request = SALVO_REQUEST_SEND_MESSAGE_V2,
                                     .code = 208,
                                     .count = sim_between(sim, 1, 60)};
    r |= salvo_mock_fault_add(sim->mock, &step);
    salvo_assert(r == 0);
}

static int32_t fault_code(struct sim *sim)
{
    static const int32_t codes[] = {1,   10,  11,  12,  13, 14,  16,  17,
                                    204, 205, 215, 208, 3,  500, 1999};

    return codes[sim_below(sim, SALVO_ARRAY_LENGTH(codes))];
}

/* Faults that are steps of the mock. False: it is another. */
static bool fault_by_mock(struct sim *sim, const struct sim_fault *fault)
{
    int64_t lasts_ms = fault->lasts_ns / SALVO_NS_PER_MS;
    bool stored = sim_chance(sim, 500);
    struct salvo_mock_fault step = {0};

    switch (fault->kind) {
    case SIM_FAULT_DELAY:
        step = (struct salvo_mock_fault){.kind = SALVO_MOCK_FAULT_DELAY,
                                         .delay_ms = sim_between(sim, 1, 300)};
        break;
    case SIM_FAULT_LATE:
        step = (struct salvo_mock_fault){.kind = SALVO_MOCK_FAULT_DELAY,
                                         .delay_ms = sim_between(sim, 300, 12000)};
        break;
    case SIM_FAULT_TWICE:
        step = (struct salvo_mock_fault){.kind = SALVO_MOCK_FAULT_TWICE,
                                         .delay_ms =
                                             (int64_t)(sim_below(sim, 2) * sim_below(sim, 900))};
        break;
    case SIM_FAULT_WRONG_OPAQUE:
        step.kind = SALVO_MOCK_FAULT_WRONG_OPAQUE;
        break;
    case SIM_FAULT_LOST:
        step = (struct salvo_mock_fault){.kind = SALVO_MOCK_FAULT_DROP, .stored = stored};
        break;
    case SIM_FAULT_BUSY:
        step = (struct salvo_mock_fault){
            .kind = SALVO_MOCK_FAULT_CODE, .code = 2, .count = sim_between(sim, 1, 100)};
        snprintf(step.remark, sizeof(step.remark),
                 "[REJECTREQUEST]system busy, start flow control for a while");
        break;
    case SIM_FAULT_CODES:
        step = (struct salvo_mock_fault){.kind = SALVO_MOCK_FAULT_CODE, .code = fault_code(sim)};
        snprintf(step.remark, sizeof(step.remark), "as the fault said");
        /* 0 to 12 are only given for what was stored. */
        break;
    case SIM_FAULT_GO_AWAY:
        step.kind = SALVO_MOCK_FAULT_GO_AWAY;
        break;
    case SIM_FAULT_BATCH_REFUSED:
        if (sim_chance(sim, 800)) {
            fault_batch_story(sim);
            return true;
        }
        step = (struct salvo_mock_fault){
            .kind = SALVO_MOCK_FAULT_CODE, .code = 13, .request = SALVO_REQUEST_SEND_BATCH_MESSAGE};
        break;
    case SIM_FAULT_NOT_READING:
        step = (struct salvo_mock_fault){
            .kind = SALVO_MOCK_FAULT_SILENCE, .delay_ms = lasts_ms, .count = 1, .stored = stored};
        break;
    case SIM_FAULT_SLOW_READING:
        step = (struct salvo_mock_fault){.kind = SALVO_MOCK_FAULT_SLOW,
                                         .delay_ms = lasts_ms,
                                         .count = 1,
                                         .rate = sim_between(sim, 1000, 200000)};
        break;
    case SIM_FAULT_CLOSED:
        step = (struct salvo_mock_fault){
            .kind = SALVO_MOCK_FAULT_RESET, .count = sim_between(sim, 1, 5), .stored = stored};
        break;
    case SIM_FAULT_HALF_FRAME:
        step = (struct salvo_mock_fault){
            .kind = SALVO_MOCK_FAULT_HALF, .count = sim_between(sim, 1, 5), .stored = true};
        break;
    default:
        return false;
    }
    fault_step(sim, fault, step);
    return true;
}

static void fault_by_world(struct sim *sim, const struct sim_fault *fault)
{
    uint32_t host = fault_host(sim, fault->broker);

    switch (fault->kind) {
    case SIM_FAULT_RESET:
        salvo_sim_reset_links(sim->world, sim_chance(sim, 500) ? host : SIM_HOST_LANE(fault->lane));
        break;
    case SIM_FAULT_CUT:
        salvo_sim_cut_after(sim->world, host, sim_between(sim, 1, 4000));
        break;
    case SIM_FAULT_KILLED:
        salvo_sim_host_down(sim->world, host, true, false);
        break;
    case SIM_FAULT_SILENT:
        salvo_sim_host_down(sim->world, host, true, true);
        break;
    case SIM_FAULT_NAMESERVER_DOWN:
    case SIM_FAULT_NAMESERVER_SILENT:
        for (uint32_t i = 0; i < sim->plan.nameservers; i++)
            if (i == 0 || sim_chance(sim, 500))
                salvo_sim_host_down(sim->world, i, true,
                                    fault->kind == SIM_FAULT_NAMESERVER_SILENT);
        break;
    case SIM_FAULT_PARTITION:
        salvo_sim_partition(sim->world, SIM_HOST_LANE(fault->lane), host, true);
        break;
    case SIM_FAULT_SLOW_HOST:
        salvo_sim_slow(sim->world, host, sim_between(sim, 1, 400) * SALVO_NS_PER_MS);
        break;
    case SIM_FAULT_QUEUES_SHRINK:
        salvo_mock_topic_set(sim->mock, sim_topic_names[0], fault->broker, 1,
                             SALVO_PERM_READ | SALVO_PERM_WRITE);
        break;
    case SIM_FAULT_BROKER_LEAVES:
        salvo_mock_route_broker(sim->mock, fault->broker, false);
        break;
    case SIM_FAULT_PERM:
        fault_perm(sim, fault->broker, SALVO_PERM_READ);
        break;
    case SIM_FAULT_LYING_FRAME:
        sim->watches[fault->lane].lies = sim_between(sim, 1, 3);
        sim->watches[fault->lane].lies_broker = fault->broker;
        break;
    case SIM_FAULT_LATE_RELEASE:
        sim->world->conf.release_late_permille = 600;
        break;
    case SIM_FAULT_PARTIAL_SEND:
        sim->world->conf.partial_permille = 900;
        break;
    default:
        salvo_unreachable();
    }
}

static void fault_happen(struct sim *sim, struct sim_fault *fault)
{
    fault->done = true;
    fault->hit = fault_state(sim, fault->lane, fault->broker);
    sim->table.cells[fault->kind][fault->hit]++;
    sim_note(sim, "fault: %s, broker %u, lane %u, connection %s", sim_fault_names[fault->kind],
             fault->broker, fault->lane, sim_state_names[fault->hit]);
    if (!fault_by_mock(sim, fault))
        fault_by_world(sim, fault);
    fault_cure_later(sim, fault->kind, fault->broker, fault->lane, fault->lasts_ns);
    sim_load_burst(sim, sim_between(sim, 1, sim_chance(sim, 300) ? 150 : 30)); /* to go wrong */
}

/* --- provoking a state ------------------------------------------------------------------------ */

static void fault_provoke(struct sim *sim, const struct sim_fault *fault)
{
    uint32_t host = fault_host(sim, fault->broker);
    int64_t lasts_ns = FAULT_PROVOKE_NS_MAX + (int64_t)sim_below(sim, SALVO_NS_PER_S);

    switch (fault->wanted) {
    case SIM_STATE_DOWN:
        salvo_sim_host_down(sim->world, host, true, false);
        fault_cure_later(sim, SIM_FAULT_KILLED, fault->broker, fault->lane, lasts_ns);
        break;
    case SIM_STATE_CONNECTING:
        salvo_sim_host_down(sim->world, host, true, true);
        salvo_sim_reset_links(sim->world, SIM_HOST_LANE(fault->lane));
        fault_cure_later(sim, SIM_FAULT_SILENT, fault->broker, fault->lane, lasts_ns);
        break;
    case SIM_STATE_IDLE:
        break;
    case SIM_STATE_INFLIGHT:
        sim_load_burst(sim, 40);
        break;
    case SIM_STATE_BLOCKED:
        sim->world->conf.partial_permille = 600;
        fault_cure_later(sim, SIM_FAULT_PARTIAL_SEND, fault->broker, fault->lane, lasts_ns);
        sim_load_burst(sim, 60);
        break;
    case SIM_STATE_DYING:
        sim->world->conf.release_late_permille = 1000;
        fault_cure_later(sim, SIM_FAULT_LATE_RELEASE, fault->broker, fault->lane, lasts_ns);
        sim_load_burst(sim, 40);
        break;
    case SIM_STATES:
        salvo_unreachable();
    }
}

/* A connection that dies while it is waited for. */
static void fault_provoke_on(struct sim *sim, const struct sim_fault *fault, enum sim_state now)
{
    if (fault->wanted == SIM_STATE_DYING &&
        (now == SIM_STATE_INFLIGHT || now == SIM_STATE_BLOCKED) && sim_chance(sim, 300))
        salvo_sim_reset_links(sim->world, SIM_HOST_LANE(fault->lane));
    if ((fault->wanted == SIM_STATE_BLOCKED || fault->wanted == SIM_STATE_INFLIGHT ||
         fault->wanted == SIM_STATE_DYING) &&
        now == SIM_STATE_IDLE && sim->burst_left == 0 && sim_chance(sim, 100))
        sim_load_burst(sim, 10);
}

/* --- the run's faults ------------------------------------------------------------------------- */

void sim_faults_plan(struct sim *sim)
{
    int64_t each_ns = (SIM_FAULTS_END_NS - SIM_FAULTS_FROM_NS) / sim->plan.faults;

    for (uint32_t i = 0; i < sim->plan.faults; i++) {
        /* Seeds in a row go through every pair of fault and state. */
        uint64_t cell = (sim->seed * 7 + i) % (SIM_FAULT_KINDS * SIM_STATES);
        int64_t from_ns = SIM_FAULTS_FROM_NS + i * each_ns;

        sim->faults[i] = (struct sim_fault){
            .kind = (enum sim_fault_kind)(cell % SIM_FAULT_KINDS),
            .wanted = (enum sim_state)(cell / SIM_FAULT_KINDS),
            .broker = (uint32_t)sim_below(sim, sim->plan.brokers),
            .lane = (uint32_t)sim_below(sim, sim->plan.lanes),
            .from_ns = from_ns + (int64_t)sim_below(sim, (uint64_t)each_ns / 4),
            .until_ns = from_ns + each_ns / 2 + (int64_t)sim_below(sim, (uint64_t)each_ns / 4),
            .lasts_ns =
                (int64_t)sim_between(sim, 20, sim_chance(sim, 300) ? 9000 : 2000) * SALVO_NS_PER_MS,
        };
        sim->plan.routes_change |= sim->faults[i].kind == SIM_FAULT_QUEUES_SHRINK ||
                                   sim->faults[i].kind == SIM_FAULT_BROKER_LEAVES ||
                                   sim->faults[i].kind == SIM_FAULT_PERM;
    }
}

void sim_faults_step(struct sim *sim)
{
    int64_t now_ns = sim_now(sim);

    for (uint32_t i = 0; i < SIM_CURES_MAX; i++) {
        struct sim_cure cure = sim->cures[i];

        if (cure.at_ns == 0 || cure.at_ns > now_ns)
            continue;
        sim->cures[i].at_ns = 0;
        fault_cure(sim, &cure);
    }
    for (uint32_t i = 0; i < sim->plan.faults; i++) {
        struct sim_fault *fault = &sim->faults[i];
        enum sim_state state;

        if (fault->done || now_ns < fault->from_ns)
            continue;
        if (!fault->provoked) {
            fault->provoked = true;
            fault_provoke(sim, fault);
        }
        state = fault_state(sim, fault->lane, fault->broker);
        if (state == fault->wanted || now_ns >= fault->until_ns)
            fault_happen(sim, fault);
        else
            fault_provoke_on(sim, fault, state);
    }
}

int64_t sim_faults_next_ns(const struct sim *sim)
{
    int64_t next_ns = INT64_MAX;

    for (uint32_t i = 0; i < SIM_CURES_MAX; i++)
        if (sim->cures[i].at_ns != 0)
            next_ns = SALVO_MIN(next_ns, sim->cures[i].at_ns);
    for (uint32_t i = 0; i < sim->plan.faults; i++) {
        const struct sim_fault *fault = &sim->faults[i];

        if (!fault->done)
            next_ns = SALVO_MIN(next_ns, fault->provoked ? fault->until_ns : fault->from_ns);
    }
    return next_ns == INT64_MAX ? INT64_MAX : sim->start_ns + next_ns;
}

void sim_faults_heal(struct sim *sim)
{
    sim_note(sim, "everything heals");
    salvo_mock_fault_clear(sim->mock);
    memset(sim->cures, 0, sizeof(sim->cures));
    /* The filter has few records: one that is released late holds all traffic up. */
    sim->world->conf.release_late_permille = sim->plan.filter ? 0 : 20;
    sim->world->conf.partial_permille = 50;
    for (uint32_t i = 0; i < sim->plan.nameservers; i++)
        salvo_sim_host_down(sim->world, i, false, false);
    for (uint32_t i = 0; i < sim->plan.brokers; i++) {
        uint32_t host = fault_host(sim, i);

        sim->world->hosts[host].cut = false;
        salvo_sim_host_down(sim->world, host, false, false);
        salvo_sim_slow(sim->world, host, 0);
        for (uint32_t k = 0; k < sim->plan.lanes; k++)
            salvo_sim_partition(sim->world, SIM_HOST_LANE(k), host, false);
        fault_perm(sim, i, SALVO_PERM_READ | SALVO_PERM_WRITE);
        salvo_mock_route_broker(sim->mock, i, true);
    }
    for (uint32_t i = 0; i < sim->plan.lanes; i++)
        sim->watches[i].lies = 0;
}
