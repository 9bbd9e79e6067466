/* The simulated world: virtual time, the queue of what will happen, faults. Links: net_sim_link.c.
 */
#include "dataplane/net_sim_world.h"

#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 2023-11-14: the wall clock of a new world, so that ids made in it look like real ones. */
#define SIM_WALL_START_MS INT64_C(1700000000000)
#define SIM_PORT_FIRST    20000

void salvo_sim_conf_default(struct salvo_sim_conf *conf, uint64_t seed)
{
    *conf = (struct salvo_sim_conf){
        .seed = seed,
        .latency_ns_min = 50 * SALVO_NS_PER_US,
        .latency_ns_max = 500 * SALVO_NS_PER_US,
        .cut_permille = 200,
        .partial_permille = 100,
        .release_late_permille = 20,
        .window_bytes = SALVO_MIB(1),
    };
}

int64_t sim_now_ns(struct salvo_sim_world *world)
{
    return world->clock.mono_now_ns;
}

void sim_log(struct salvo_sim_world *world, const char *format, ...)
{
    char line[256];
    va_list args;

    if (world->log == NULL)
        return;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    world->log(world->log_arg, sim_now_ns(world), line);
}

int salvo_sim_world_new(const struct salvo_sim_conf *conf, struct salvo_sim_world **ret_world)
{
    struct salvo_sim_world *world;

    salvo_assert(conf->latency_ns_min >= 0);
    salvo_assert(conf->latency_ns_max >= conf->latency_ns_min);
    salvo_assert(conf->window_bytes > 0);
    world = calloc(1, sizeof(*world));
    if (world == NULL)
        return salvo_raise(-ENOMEM);
    world->conf = *conf;
    world->port_next = SIM_PORT_FIRST;
    salvo_clock_manual_init(&world->clock, SALVO_NS_PER_S, SIM_WALL_START_MS);
    salvo_random_init(&world->random, conf->seed);
    *ret_world = world;
    return 0;
}

struct salvo_clock *salvo_sim_world_clock(struct salvo_sim_world *world)
{
    return &world->clock.clock;
}

struct salvo_random *salvo_sim_world_random(struct salvo_sim_world *world)
{
    return &world->random;
}

void salvo_sim_world_log(struct salvo_sim_world *world, salvo_sim_log_fn *log, void *arg)
{
    world->log = log;
    world->log_arg = arg;
}

void sim_list_push(struct sim_list *list, struct sim_happening *happening)
{
    happening->next = NULL;
    if (list->first == NULL)
        list->first = happening;
    else
        list->last->next = happening;
    list->last = happening;
}

struct sim_happening *sim_list_pop(struct sim_list *list)
{
    struct sim_happening *first = list->first;

    if (first != NULL)
        list->first = first->next;
    return first;
}

static bool sim_before(const struct sim_happening *a, const struct sim_happening *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->sequence < b->sequence;
}

static void heap_push(struct salvo_sim_world *world, struct sim_happening *happening)
{
    size_t at = world->heap_count++;

    if (world->heap_count > world->heap_max) {
        world->heap_max = SALVO_MAX(world->heap_max * 2, (size_t)256);
        world->heap = realloc(world->heap, world->heap_max * sizeof(struct sim_happening *));
        salvo_assert(world->heap != NULL);
    }
    while (at != 0 && sim_before(happening, world->heap[(at - 1) / 2])) {
        world->heap[at] = world->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    world->heap[at] = happening;
}

static struct sim_happening *heap_pop(struct salvo_sim_world *world)
{
    struct sim_happening *first = world->heap[0];
    struct sim_happening *last = world->heap[--world->heap_count];
    size_t at = 0;

    for (;;) {
        size_t child = 2 * at + 1;

        if (child >= world->heap_count)
            break;
        if (child + 1 < world->heap_count && sim_before(world->heap[child + 1], world->heap[child]))
            child++;
        if (!sim_before(world->heap[child], last))
            break;
        world->heap[at] = world->heap[child];
        at = child;
    }
    if (world->heap_count != 0)
        world->heap[at] = last;
    return first;
}

struct sim_wire *sim_wire_new(struct salvo_sim_world *world)
{
    struct sim_wire *wire = calloc(1, sizeof(*wire));

    salvo_assert(wire != NULL);
    wire->refs = 1;
    wire->number = world->wires_made++;
    wire->side[0].host = wire->side[1].host = UINT32_MAX;
    wire->next = world->wires;
    if (world->wires != NULL)
        world->wires->previous = wire;
    world->wires = wire;
    return wire;
}

void sim_wire_unref(struct salvo_sim_world *world, struct sim_wire *wire)
{
    salvo_assert(wire->refs > 0);
    if (--wire->refs != 0)
        return;
    if (wire->previous != NULL)
        wire->previous->next = wire->next;
    else
        world->wires = wire->next;
    if (wire->next != NULL)
        wire->next->previous = wire->previous;
    free(wire);
}

void sim_happening_free(struct salvo_sim_world *world, struct sim_happening *happening)
{
    sim_wire_unref(world, happening->wire);
    free(happening->bytes);
    free(happening);
}

static int64_t sim_latency_ns(struct salvo_sim_world *world, const struct sim_wire *wire)
{
    uint64_t spread = (uint64_t)(world->conf.latency_ns_max - world->conf.latency_ns_min) + 1;
    int64_t latency_ns =
        world->conf.latency_ns_min + (int64_t)salvo_random_below(&world->random, spread);

    for (unsigned i = 0; i < 2; i++) {
        if (wire->side[i].host != UINT32_MAX)
            latency_ns += world->hosts[wire->side[i].host].slow_ns;
    }
    return latency_ns;
}

/* In the queue at the time its wire allows. */
static void sim_travel(struct salvo_sim_world *world, struct sim_happening *happening,
                       int64_t delay_ns)
{
    struct sim_wire *wire = happening->wire;
    int64_t *last_ns = &wire->side[happening->side].last_arrival_ns;

    happening->at_ns = sim_now_ns(world) + delay_ns + sim_latency_ns(world, wire);
    happening->at_ns = SALVO_MAX(happening->at_ns, *last_ns);
    *last_ns = happening->at_ns;
    happening->sequence = world->sequence++;
    heap_push(world, happening);
}

void sim_happen(struct salvo_sim_world *world, struct sim_wire *wire, unsigned side,
                enum sim_happening_kind kind, int64_t delay_ns, uint64_t number, uint8_t *bytes,
                size_t size)
{
    struct sim_happening *happening = calloc(1, sizeof(*happening));

    salvo_assert(happening != NULL);
    wire->refs++;
    *happening = (struct sim_happening){
        .kind = kind, .wire = wire, .side = side, .number = number, .bytes = bytes, .size = size};
    if (kind < SIM_LOCAL_FIRST) {
        sim_travel(world, happening, delay_ns);
        return;
    }
    happening->at_ns =
        delay_ns < INT64_MAX - sim_now_ns(world) ? sim_now_ns(world) + delay_ns : INT64_MAX;
    happening->sequence = world->sequence++;
    heap_push(world, happening);
}

/* Whether anything gets from one end of the wire to the other. */
static bool wire_passes(const struct salvo_sim_world *world, const struct sim_wire *wire)
{
    uint32_t a = wire->side[0].host;
    uint32_t b = wire->side[1].host;

    if (a != UINT32_MAX && world->hosts[a].down && world->hosts[a].silent)
        return false;
    if (b != UINT32_MAX && world->hosts[b].down && world->hosts[b].silent)
        return false;
    return a == UINT32_MAX || b == UINT32_MAX || !world->partitioned[a][b];
}

int64_t salvo_sim_world_next_ns(struct salvo_sim_world *world)
{
    return world->heap_count == 0 ? INT64_MAX : world->heap[0]->at_ns;
}

void salvo_sim_world_advance(struct salvo_sim_world *world, int64_t to_ns)
{
    salvo_assert(to_ns >= sim_now_ns(world));
    while (world->heap_count != 0 && world->heap[0]->at_ns <= to_ns) {
        struct sim_happening *happening = heap_pop(world);
        int64_t ahead_ns = happening->at_ns - sim_now_ns(world);

        if (ahead_ns > 0)
            salvo_clock_manual_advance(&world->clock, ahead_ns);
        if (happening->kind < SIM_LOCAL_FIRST && !wire_passes(world, happening->wire))
            sim_list_push(&happening->wire->side[happening->side].held, happening);
        else
            sim_arrive(world, happening);
    }
    salvo_clock_manual_advance(&world->clock, to_ns - sim_now_ns(world));
}

/* After a fault has healed: what was held arrives now, by its first number in front of what was
 * sent later and is still on its way. */
static void sim_resume(struct salvo_sim_world *world)
{
    for (struct sim_wire *wire = world->wires; wire != NULL; wire = wire->next) {
        if (!wire_passes(world, wire))
            continue;
        for (unsigned side = 0; side < 2; side++) {
            struct sim_list held = wire->side[side].held;
            struct sim_happening *happening;

            wire->side[side].held = (struct sim_list){0};
            while ((happening = sim_list_pop(&held)) != NULL) {
                happening->at_ns = sim_now_ns(world);
                heap_push(world, happening);
            }
        }
    }
}

void salvo_sim_reset_links(struct salvo_sim_world *world, uint32_t host)
{
    salvo_assert(host < SIM_HOSTS_MAX);
    sim_log(world, "host %u: links reset", host);
    for (struct sim_net *net = world->nets; net != NULL; net = net->next) {
        for (uint32_t i = 0; net->host == host && i < net->conf.links_max; i++) {
            if (net->links[i].state == SIM_LINK_CONNECTING || net->links[i].state == SIM_LINK_UP)
                sim_link_reset(net, &net->links[i]);
        }
    }
}

void salvo_sim_host_down(struct salvo_sim_world *world, uint32_t host, bool down, bool silent)
{
    salvo_assert(host < SIM_HOSTS_MAX);
    sim_log(world, "host %u: %s", host, !down ? "up" : silent ? "silent" : "down");
    world->hosts[host].down = down;
    world->hosts[host].silent = down && silent;
    if (down && !silent)
        salvo_sim_reset_links(world, host);
    sim_resume(world);
}

void salvo_sim_partition(struct salvo_sim_world *world, uint32_t a, uint32_t b, bool on)
{
    salvo_assert(a < SIM_HOSTS_MAX && b < SIM_HOSTS_MAX);
    sim_log(world, "hosts %u and %u: %s", a, b, on ? "parted" : "joined");
    world->partitioned[a][b] = world->partitioned[b][a] = on;
    sim_resume(world);
}

void salvo_sim_slow(struct salvo_sim_world *world, uint32_t host, int64_t extra_ns)
{
    salvo_assert(host < SIM_HOSTS_MAX);
    salvo_assert(extra_ns >= 0);
    sim_log(world, "host %u: %lld ns slower", host, (long long)extra_ns);
    world->hosts[host].slow_ns = extra_ns;
}

void salvo_sim_cut_after(struct salvo_sim_world *world, uint32_t host, uint64_t bytes)
{
    salvo_assert(host < SIM_HOSTS_MAX);
    sim_log(world, "host %u: to be cut after %llu bytes", host, (unsigned long long)bytes);
    world->hosts[host].cut = true;
    world->hosts[host].cut_after = bytes;
}

static bool endpoint_equals(const struct salvo_endpoint *a, const struct salvo_endpoint *b)
{
    if (a->any.sa_family != b->any.sa_family)
        return false;
    if (a->any.sa_family == AF_INET6)
        return a->v6.sin6_port == b->v6.sin6_port &&
               memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof(a->v6.sin6_addr)) == 0;
    return a->v4.sin_port == b->v4.sin_port && a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
}

struct sim_listener *sim_listener_find(struct salvo_sim_world *world,
                                       const struct salvo_endpoint *at)
{
    struct sim_listener *listener = world->listeners;

    while (listener != NULL && !endpoint_equals(&listener->endpoint, at))
        listener = listener->next;
    return listener;
}

void salvo_sim_world_free(struct salvo_sim_world *world)
{
    salvo_assert(world->nets == NULL);
    while (world->heap_count != 0)
        sim_happening_free(world, heap_pop(world));
    for (struct sim_wire *wire = world->wires, *next; wire != NULL; wire = next) {
        struct sim_happening *happening;

        next = wire->next;
        wire->refs++;
        for (unsigned side = 0; side < 2; side++) {
            while ((happening = sim_list_pop(&wire->side[side].held)) != NULL)
                sim_happening_free(world, happening);
        }
        sim_wire_unref(world, wire);
    }
    salvo_assert(world->wires == NULL);
    free(world->heap);
    free(world);
}

int salvo_net_sim_open(struct salvo_sim_world *world, uint32_t host,
                       const struct salvo_net_conf *conf, struct salvo_net **ret_net)
{
    struct sim_net *net = calloc(1, sizeof(*net));

    salvo_assert(host < SIM_HOSTS_MAX);
    salvo_assert(conf->links_max != 0 && conf->receive_buffers != 0);
    salvo_assert(net != NULL);
    net->head = (struct salvo_net_head){.magic = SALVO_NET_MAGIC, .ops = &sim_ops};
    net->conf = *conf;
    net->world = world;
    net->host = host;
    net->links = calloc(conf->links_max, sizeof(*net->links));
    net->buffers = calloc(conf->receive_buffers, conf->receive_buffer_size);
    net->buffers_free = calloc(conf->receive_buffers, sizeof(*net->buffers_free));
    salvo_assert(net->links != NULL && net->buffers != NULL && net->buffers_free != NULL);
    for (uint32_t i = 0; i < conf->receive_buffers; i++)
        net->buffers_free[net->buffers_free_count++] = conf->receive_buffers - 1 - i;
    net->next = world->nets;
    world->nets = net;
    *ret_net = (struct salvo_net *)net;
    return 0;
}
