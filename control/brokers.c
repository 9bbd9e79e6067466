/* Brokers by small number, see brokers.h. */
#include "control/brokers.h"

#include "base/assert.h"
#include "codec/route_data.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A broker known by name is looked up again when routes are refreshed, but not more often. */
#define RESOLVE_AGAIN_NS (10 * SALVO_NS_PER_S)
/* The resolver had no room for the question: by then it may have answered others. */
#define RESOLVE_BUSY_NS (10 * SALVO_NS_PER_MS)

struct salvo_broker_name {
    struct salvo_broker_name *next;
    char text[];
};

int salvo_brokers_init(struct salvo_brokers *brokers, uint32_t brokers_max,
                       struct salvo_lane_port **ports, uint32_t lanes_count,
                       struct salvo_report *report, struct salvo_resolver *resolver,
                       struct salvo_fault *fault)
{
    salvo_assert(lanes_count <= SALVO_LANES_MAX);
    *brokers = (struct salvo_brokers){
        .brokers_max = brokers_max,
        .ports = ports,
        .lanes_count = lanes_count,
        .report = report,
        .resolver = resolver,
        .fault = fault,
        .ask_again_ns = INT64_MAX,
    };
    brokers->table = calloc(brokers_max, sizeof(*brokers->table));
    brokers->names_published = calloc(brokers_max, sizeof(*brokers->names_published));
    if (brokers->table == NULL || brokers->names_published == NULL) {
        salvo_brokers_deinit(brokers);
        return salvo_raise(-ENOMEM);
    }
    return 0;
}

void salvo_brokers_deinit(struct salvo_brokers *brokers)
{
    while (brokers->names != NULL) {
        struct salvo_broker_name *name = brokers->names;

        brokers->names = name->next;
        free(name);
    }
    free(brokers->names_published);
    free(brokers->table);
    brokers->names_published = NULL;
    brokers->table = NULL;
}

/* The one copy of a name. NULL when there is no memory. */
static const char *name_intern(struct salvo_brokers *brokers, const char *text)
{
    size_t size = strlen(text) + 1;
    struct salvo_broker_name *name;

    for (name = brokers->names; name != NULL; name = name->next)
        if (strcmp(name->text, text) == 0)
            return name->text;
    name = malloc(sizeof(*name) + size);
    if (name == NULL)
        return NULL;
    memcpy(name->text, text, size);
    name->next = brokers->names;
    brokers->names = name;
    return name->text;
}

/* The number that has been free the longest; never used ones first. */
static uint32_t number_free(const struct salvo_brokers *brokers)
{
    uint32_t best = SALVO_BROKER_NONE;

    for (uint32_t i = 0; i < brokers->brokers_max; i++) {
        const struct salvo_broker *broker = &brokers->table[i];

        if (broker->state != SALVO_BROKER_FREE)
            continue;
        if (best == SALVO_BROKER_NONE || broker->freed_order < brokers->table[best].freed_order)
            best = i;
    }
    return best;
}

uint32_t salvo_brokers_take(struct salvo_brokers *brokers, const char *name)
{
    const char *kept;
    uint32_t number, generation;

    for (uint32_t i = 0; i < brokers->brokers_max; i++)
        if (brokers->table[i].state == SALVO_BROKER_USED &&
            strcmp(brokers->table[i].route.name, name) == 0)
            return i;
    number = number_free(brokers);
    kept = number == SALVO_BROKER_NONE ? NULL : name_intern(brokers, name);
    if (kept == NULL) {
        salvo_report_error(brokers->report, "control: brokers", -ENOSPC,
                           "no number is free for broker %s: its queues are left out; raise option "
                           "brokers_max (%u)",
                           name, brokers->brokers_max);
        return SALVO_BROKER_NONE;
    }
    generation = brokers->table[number].route.generation + 1;
    brokers->table[number] = (struct salvo_broker){
        .state = SALVO_BROKER_USED,
        .route = {.used = true, .generation = generation, .name = kept},
    };
    /* Pairs with the acquire in salvo_brokers_name. */
    atomic_store_explicit(&brokers->names_published[number], kept, memory_order_release);
    brokers->version++;
    return number;
}

static void broker_resolved(void *arg, uint64_t cookie, int result,
                            const struct salvo_endpoint *endpoint, int64_t now_ns)
{
    struct salvo_brokers *brokers = arg;
    struct salvo_broker *broker = &brokers->table[cookie & UINT32_MAX];

    /* Asked for another life of this number. */
    if (broker->state != SALVO_BROKER_USED || cookie >> 32 != broker->question)
        return;
    broker->resolving = false;
    if (result) {
        salvo_report_error(
            brokers->report, "control: broker address", result,
            "broker %s: %s has no address; check brokerIP1 of the broker and the name service",
            broker->route.name, broker->address);
        return;
    }
    if (broker->route.has_endpoint && salvo_endpoint_equal(&broker->route.endpoint, endpoint))
        return;
    broker->route.endpoint = *endpoint;
    broker->route.has_endpoint = true;
    broker->route.generation++;
    brokers->version++;
}

/* Asks where the broker's address leads to. False: there is no room for the question yet, and it is
 * asked again shortly. */
static bool broker_ask(struct salvo_brokers *brokers, uint32_t number, int64_t now_ns)
{
    struct salvo_broker *broker = &brokers->table[number];
    char host[SALVO_RESOLVE_HOST_MAX];
    uint16_t port;
    int r = salvo_address_split(broker->address, host, sizeof(host), &port);

    broker->ask_again = false;
    if (r == 0 && port == 0)
        r = -EINVAL;
    if (r == 0) {
        broker->resolving = true;
        broker->resolve_after_ns = now_ns + RESOLVE_AGAIN_NS;
        broker->question = ++brokers->questions;
        r = salvo_resolver_ask(brokers->resolver, host, port, 0, broker_resolved, brokers,
                               (uint64_t)broker->question << 32 | number, now_ns);
    }
    if (r == 0)
        return true;
    broker->resolving = false;
    if (r == -EBUSY) {
        broker->ask_again = true;
        brokers->ask_again_ns = SALVO_MIN(brokers->ask_again_ns, now_ns + RESOLVE_BUSY_NS);
        return false;
    }
    salvo_report_error(brokers->report, "control: broker address", r,
                       "broker %s: \"%s\" is no address that can be used", broker->route.name,
                       broker->address);
    return true;
}

void salvo_brokers_address(struct salvo_brokers *brokers, uint32_t number, const char *address,
                           int64_t now_ns)
{
    struct salvo_broker *broker = &brokers->table[number];

    salvo_assert(broker->state == SALVO_BROKER_USED);
    if (strcmp(broker->address, address) != 0) {
        snprintf(broker->address, sizeof(broker->address), "%s", address);
        broker->resolving = false;
        broker->resolve_after_ns = 0;
    }
    if (!broker->resolving && now_ns >= broker->resolve_after_ns)
        broker_ask(brokers, number, now_ns);
}

int salvo_brokers_ask_again(struct salvo_brokers *brokers, int64_t now_ns)
{
    int asked = 0;

    if (now_ns < brokers->ask_again_ns)
        return 0;
    brokers->ask_again_ns = INT64_MAX;
    for (uint32_t i = 0; i < brokers->brokers_max; i++) {
        const struct salvo_broker *broker = &brokers->table[i];

        if (broker->state != SALVO_BROKER_USED || !broker->ask_again)
            continue;
        if (!broker_ask(brokers, i, now_ns)) /* and none for those behind it */
            break;
        asked++;
    }
    return asked;
}

int64_t salvo_brokers_next_ns(const struct salvo_brokers *brokers)
{
    return brokers->ask_again_ns;
}

void salvo_brokers_topic(struct salvo_brokers *brokers, uint32_t broker, bool gained)
{
    struct salvo_broker *b = &brokers->table[broker];

    salvo_assert(b->state == SALVO_BROKER_USED);
    salvo_assert(gained || b->topics_count > 0);
    b->topics_count += gained ? 1u : UINT32_MAX;
}

void salvo_brokers_leave(struct salvo_brokers *brokers, uint64_t epoch)
{
    for (uint32_t i = 0; i < brokers->brokers_max; i++) {
        struct salvo_broker *broker = &brokers->table[i];

        if (broker->state != SALVO_BROKER_USED || broker->topics_count != 0)
            continue;
        broker->state = SALVO_BROKER_LEAVING;
        broker->leaving_epoch = epoch;
        broker->route.used = false;
        brokers->leaving_count++;
        brokers->version++; /* heartbeats end, control's connection is closed */
        salvo_fault_forget(brokers->fault, i);
        salvo_log_info(brokers->report->log, "control: broker %s is in no route any more",
                       broker->route.name);
    }
}

static void broker_free(struct salvo_brokers *brokers, uint32_t number)
{
    struct salvo_broker *broker = &brokers->table[number];

    broker->state = SALVO_BROKER_FREE;
    broker->freed_order = ++brokers->freed_count;
    brokers->leaving_count--;
}

int salvo_brokers_do_work(struct salvo_brokers *brokers, uint64_t epoch)
{
    int sent = 0;

    for (uint32_t i = 0; i < brokers->brokers_max && brokers->leaving_count > 0; i++) {
        struct salvo_broker *broker = &brokers->table[i];
        struct salvo_command command = {.kind = SALVO_COMMAND_BROKER_DROP, .broker = i};

        if (broker->state != SALVO_BROKER_LEAVING || broker->leaving_epoch > epoch)
            continue;
        for (uint32_t lane = 0; lane < brokers->lanes_count; lane++) {
            if (broker->drop_sent >> lane & 1)
                continue;
            if (salvo_lane_port_command(brokers->ports[lane], &command) == SALVO_RING_FULL)
                continue; /* next turn */
            broker->drop_sent |= UINT64_C(1) << lane;
            sent++;
        }
    }
    return sent;
}

void salvo_brokers_dropped(struct salvo_brokers *brokers, uint32_t number, uint32_t lane_index)
{
    struct salvo_broker *broker = &brokers->table[number];
    uint64_t all =
        brokers->lanes_count == 64 ? UINT64_MAX : (UINT64_C(1) << brokers->lanes_count) - 1;

    salvo_assert(number < brokers->brokers_max);
    salvo_assert(broker->state == SALVO_BROKER_LEAVING);
    salvo_assert(broker->drop_sent >> lane_index & 1);
    broker->dropped |= UINT64_C(1) << lane_index;
    if (broker->dropped == all)
        broker_free(brokers, number);
}

bool salvo_brokers_used(const struct salvo_brokers *brokers, uint32_t broker)
{
    salvo_assert(broker < brokers->brokers_max);
    return brokers->table[broker].state == SALVO_BROKER_USED;
}

uint32_t salvo_brokers_count(const struct salvo_brokers *brokers)
{
    uint32_t count = brokers->brokers_max;

    while (count > 0 && brokers->table[count - 1].state != SALVO_BROKER_USED)
        count--;
    return count;
}

const char *salvo_brokers_name(struct salvo_brokers *brokers, uint32_t broker)
{
    salvo_assert(broker < brokers->brokers_max);
    /* Pairs with the release in salvo_brokers_take. */
    return atomic_load_explicit(&brokers->names_published[broker], memory_order_acquire);
}
