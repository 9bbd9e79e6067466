/* See control_world.h. */
#include "tests/support/control_world.h"

#include "base/assert.h"
#include "codec/heartbeat.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void log_nothing(void *arg, enum salvo_log_level level, const char *line)
{
}

struct world *world_new(uint64_t seed, uint32_t lanes_count)
{
    struct world *world = calloc(1, sizeof(*world));
    struct salvo_sim_conf conf;

    salvo_assert(world != NULL);
    salvo_sim_conf_default(&conf, seed);
    salvo_assert(salvo_sim_world_new(&conf, &world->sim) == 0);
    world->clock = salvo_sim_world_clock(world->sim);
    world->lanes_count = lanes_count;
    world->log.sink = log_nothing;
    salvo_config_init(&world->config);
    world->config.brokers_max = 8;
    world->config.topics_max = 8;
    world->config.queues_max = 64;
    snprintf(world->config.client_ip, sizeof(world->config.client_ip), "10.9.9.9");
    snprintf(world->config.nameserver, sizeof(world->config.nameserver), "10.0.0.1:9000");
    for (uint32_t i = 0; i < lanes_count; i++) {
        struct world_lane *lane = &world->lanes[i];

        world->ports[i] = &lane->port;
        lane->port.lane_index = i;
        lane->port.availability = world->availability;
        salvo_ring_init(&lane->port.commands, lane->commands, sizeof(lane->commands), 0);
        salvo_ring_init(&lane->port.events, lane->events, sizeof(lane->events), 0);
    }
    return world;
}

void world_server_start(struct world *world, uint32_t index)
{
    struct world_server *server = &world->servers[index];
    struct salvo_endpoint at = {0};
    struct salvo_net_conf conf;

    salvo_net_conf_default(&conf, world->clock);
    conf.links_max = WORLD_LINKS_MAX;
    snprintf(server->address, sizeof(server->address), "10.0.0.%u:%u", index + 1, 9000 + index);
    salvo_assert(salvo_net_sim_open(world->sim, index, &conf, &server->net) == 0);
    at.v4.sin_family = AF_INET;
    at.v4.sin_port = htons((uint16_t)(9000 + index));
    at.v4.sin_addr.s_addr = htonl(0x0a000001 + index);
    salvo_assert(salvo_net_listen(server->net, &at, 0) == 0);
}

struct salvo_route_data *world_topic(struct world *world, const char *name)
{
    for (size_t i = 0; i < WORLD_TOPICS_MAX; i++) {
        struct world_topic *topic = &world->topics[i];

        if (topic->route != NULL && strcmp(topic->name, name) == 0)
            return topic->route;
        if (topic->route != NULL)
            continue;
        snprintf(topic->name, sizeof(topic->name), "%s", name);
        topic->route = calloc(1, sizeof(*topic->route));
        salvo_assert(topic->route != NULL);
        return topic->route;
    }
    salvo_unreachable();
}

void world_route_add(struct world *world, struct salvo_route_data *route, const char *broker,
                     uint32_t server, int32_t queues)
{
    struct salvo_route_broker_data *b = &route->brokers[route->brokers_count++];
    struct salvo_route_queue_data *q = &route->queue_datas[route->queue_datas_count++];

    snprintf(b->cluster, sizeof(b->cluster), "DefaultCluster");
    snprintf(b->brokerName, sizeof(b->brokerName), "%s", broker);
    snprintf(b->master_address, sizeof(b->master_address), "10.0.0.%u:%u", server + 1,
             9000 + server);
    b->has_master = true;
    b->addresses_count = 1;
    snprintf(q->brokerName, sizeof(q->brokerName), "%s", broker);
    q->readQueueNums = queues;
    q->writeQueueNums = queues;
    q->perm = SALVO_PERM_READ | SALVO_PERM_WRITE;
}

int world_start(struct world *world)
{
    struct salvo_net_conf net_conf;
    struct salvo_control_conf conf = {
        .config = &world->config,
        .clock = world->clock,
        .seed = 1,
        .ports = world->ports,
        .lanes_count = world->lanes_count,
        .availability = world->availability,
        .counters = world->counters,
        .errors = &world->errors,
        .log = &world->log,
    };
    int r;

    salvo_net_conf_default(&net_conf, world->clock);
    net_conf.links_max = salvo_control_links_max(&world->config);
    salvo_assert(salvo_net_sim_open(world->sim, 100, &net_conf, &conf.net) == 0);
    for (uint32_t i = 0; i < world->lanes_count; i++)
        world->lanes[i].port.net = conf.net;
    r = salvo_control_init(&world->control, &conf, world->error, sizeof(world->error));
    if (r)
        salvo_net_destroy(conf.net);
    return r;
}

static void link_free(struct world_link *link)
{
    while (link->first != NULL) {
        struct world_out *out = link->first;

        link->first = out->next;
        free(out);
    }
    link->last = NULL;
}

void world_free(struct world *world)
{
    salvo_control_deinit(&world->control);
    for (size_t i = 0; i < WORLD_SERVERS_MAX; i++)
        if (world->servers[i].net != NULL)
            salvo_net_destroy(world->servers[i].net);
    for (size_t i = 0; i < WORLD_TOPICS_MAX; i++)
        free(world->topics[i].route);
    for (size_t i = 0; i < WORLD_SERVERS_MAX; i++)
        for (size_t j = 0; j < WORLD_LINKS_MAX; j++)
            link_free(&world->servers[i].links[j]);
    salvo_sim_world_free(world->sim);
    free(world);
}

/* --- servers ----------------------------------------------------------------------------- */

static void server_offer(struct world_server *server, uint32_t index)
{
    struct world_link *link = &server->links[index];

    for (struct world_out *out = link->first; out != NULL && link->up; out = out->next) {
        struct salvo_range range = {out->bytes + out->taken, out->size - out->taken};

        if (range.size == 0)
            continue;
        out->taken += salvo_net_send(server->net, index, &range, 1);
        if (out->taken < out->size)
            return;
    }
}

/* Bytes stay until their link is gone: nobody counts what was released. */
static void server_send(struct world_server *server, uint32_t index, const void *bytes, size_t size)
{
    struct world_link *link = &server->links[index];
    struct world_out *out = calloc(1, sizeof(*out) + size);

    salvo_assert(out != NULL);
    memcpy(out->bytes, bytes, size);
    out->size = size;
    if (link->last != NULL)
        link->last->next = out;
    else
        link->first = out;
    link->last = out;
    server_offer(server, index);
}

static const struct salvo_route_data *route_find(struct world *world, struct salvo_text name)
{
    for (size_t i = 0; i < WORLD_TOPICS_MAX; i++)
        if (world->topics[i].route != NULL && salvo_text_equals(name, world->topics[i].name))
            return world->topics[i].route;
    return NULL;
}

static void server_answer(struct world *world, struct world_server *server, uint32_t index,
                          const struct salvo_header *request)
{
    static uint8_t frame[1 << 16], body[1 << 15];
    struct salvo_writer w = salvo_writer_over(body, sizeof(body));
    struct salvo_header answer = {
        .flag = SALVO_REMOTING_RESPONSE, .opaque = request->opaque, .version = 479};
    ssize_t size;

    if (request->code == SALVO_REQUEST_GET_ROUTEINFO_BY_TOPIC) {
        const struct salvo_route_data *route =
            route_find(world, salvo_header_ext(request, "topic"));

        if (route == NULL)
            answer.code = SALVO_RESPONSE_TOPIC_NOT_EXIST;
        else
            salvo_route_data_write(&w, route, server->bare_keys);
    }
    if (server->code_next != 0) {
        answer.code = server->code_next;
        server->code_next = 0;
    }
    salvo_assert(!w.failed);
    size = salvo_frame_write(frame, sizeof(frame), server->form, &answer, body,
                             (uint32_t)salvo_writer_size(&w));
    salvo_assert(size > 0);
    if (server->behaviour == WORLD_CUT) {
        server_send(server, index, frame, (size_t)size / 2);
        salvo_net_flush(server->net);
        salvo_net_close(server->net, index);
        server->links[index].up = false;
        return;
    }
    server_send(server, index, frame, (size_t)size);
}

static void server_misbehave(struct world_server *server, uint32_t index)
{
    static const char http[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    static const uint8_t oversized[] = {0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 20};
    static const uint8_t garbage[] = {0, 0, 0, 8, 0, 0, 0, 4, 'x', 'y', 'z', '!'};

    if (server->behaviour == WORLD_HTTP)
        server_send(server, index, http, sizeof(http) - 1);
    if (server->behaviour == WORLD_OVERSIZED)
        server_send(server, index, oversized, sizeof(oversized));
    if (server->behaviour == WORLD_GARBAGE)
        server_send(server, index, garbage, sizeof(garbage));
}

static void server_frames(struct world *world, struct world_server *server, uint32_t index)
{
    struct world_link *link = &server->links[index];
    static uint8_t scratch[8192];

    for (;;) {
        struct salvo_frame frame;
        struct salvo_header header;
        const char *why;

        if (salvo_frame_parse(link->in, link->in_size, SALVO_FRAME_SIZE_MAX, &frame, &why))
            return;
        salvo_assert(salvo_header_read(&header, frame.form, frame.header, frame.header_size,
                                       scratch, sizeof(scratch)) == 0);
        if (header.flag & SALVO_REMOTING_RESPONSE) {
            server->answers_came++;
            server->last_answer_code = header.code;
        } else {
            server->asked[header.code]++;
            snprintf(server->last_body, sizeof(server->last_body), "%.*s", (int)frame.body_size,
                     frame.body_size > 0 ? (const char *)frame.body : "");
            if (server->behaviour == WORLD_GOOD || server->behaviour == WORLD_CUT)
                server_answer(world, server, index, &header);
            else
                server_misbehave(server, index);
        }
        memmove(link->in, link->in + frame.size, link->in_size - frame.size);
        link->in_size -= frame.size;
    }
}

static void server_event(struct world *world, struct world_server *server,
                         const struct salvo_net_event *event)
{
    struct world_link *link = &server->links[event->link];

    switch (event->kind) {
    case SALVO_NET_ACCEPTED:
        link->up = true;
        link->in_size = 0;
        server->connections++;
        return;
    case SALVO_NET_DATA:
        salvo_assert(link->in_size + event->data.size <= sizeof(link->in));
        memcpy(link->in + link->in_size, event->data.bytes, event->data.size);
        link->in_size += event->data.size;
        salvo_net_give_back(server->net, event->data.buffer);
        if (link->up)
            server_frames(world, server, event->link);
        return;
    case SALVO_NET_RELEASED:
        server_offer(server, event->link);
        return;
    case SALVO_NET_DOWN:
        link->up = false;
        return;
    case SALVO_NET_GONE:
        link_free(link);
        return;
    case SALVO_NET_UP:
        break;
    }
    salvo_unreachable();
}

static int server_do_work(struct world *world, struct world_server *server)
{
    struct salvo_net_event event;
    int count = 0;

    if (server->net == NULL)
        return 0;
    while (count < 64 && salvo_net_poll(server->net, &event, 1) == 1) {
        server_event(world, server, &event);
        count++;
    }
    salvo_net_flush(server->net);
    return count;
}

void world_server_asks(struct world *world, uint32_t index, int32_t code, int32_t flag)
{
    struct world_server *server = &world->servers[index];
    struct salvo_header header = {.code = code, .flag = flag, .opaque = 77, .version = 479};
    uint8_t frame[512];
    ssize_t size = salvo_frame_write(frame, sizeof(frame), SALVO_HEADER_JSON, &header, NULL, 0);

    salvo_assert(size > 0);
    for (uint32_t i = 0; i < WORLD_LINKS_MAX; i++)
        if (server->links[i].up)
            server_send(server, i, frame, (size_t)size);
}

/* --- lanes ------------------------------------------------------------------------------- */

void world_lane_says(struct world *world, uint32_t index, struct salvo_event event)
{
    struct world_lane *lane = &world->lanes[index];
    void *slot;

    event.lane_index = index;
    salvo_assert(salvo_ring_claim(&lane->port.events, sizeof(event), &slot) == 0);
    memcpy(slot, &event, sizeof(event));
    salvo_ring_commit(&lane->port.events, sizeof(event));
    salvo_ring_publish(&lane->port.events);
}

static int lane_do_work(struct world *world, uint32_t index)
{
    struct world_lane *lane = &world->lanes[index];
    const struct salvo_route *route;
    const struct salvo_command *command;
    uint32_t size;
    int work = 0;

    if (lane->stands_still)
        return 0;
    route = atomic_load_explicit(&lane->port.route_published, memory_order_acquire);
    if (route != NULL)
        atomic_store_explicit(&lane->port.route_seen, route->epoch, memory_order_release);
    while ((command = salvo_ring_peek(&lane->port.commands, &size)) != NULL) {
        if (command->kind == SALVO_COMMAND_BROKER_DROP) {
            lane->drops |= UINT64_C(1) << command->broker;
            world_lane_says(world, index,
                            (struct salvo_event){.kind = SALVO_EVENT_BROKER_DROPPED,
                                                 .broker = command->broker});
        }
        if (command->kind == SALVO_COMMAND_DRAIN)
            world_lane_says(world, index, (struct salvo_event){.kind = SALVO_EVENT_DRAINED});
        salvo_ring_advance(&lane->port.commands, size);
        salvo_ring_release(&lane->port.commands);
        work++;
    }
    return work;
}

/* --- time -------------------------------------------------------------------------------- */

void world_run(struct world *world, int64_t ns)
{
    int64_t until_ns = salvo_clock_mono_ns(world->clock) + ns;

    for (int turns = 0;; turns++) {
        int64_t now_ns = salvo_clock_mono_ns(world->clock), next_ns;
        int work = salvo_control_do_work(&world->control);

        salvo_assert(turns < 1000000);
        for (uint32_t i = 0; i < world->lanes_count; i++)
            work += lane_do_work(world, i);
        for (size_t i = 0; i < WORLD_SERVERS_MAX; i++)
            work += server_do_work(world, &world->servers[i]);
        if (work > 0)
            continue;
        if (now_ns >= until_ns)
            return;
        next_ns =
            SALVO_MIN(salvo_sim_world_next_ns(world->sim), salvo_control_next_ns(&world->control));
        next_ns = SALVO_MIN(SALVO_MAX(next_ns, now_ns + 1000), until_ns);
        salvo_sim_world_advance(world->sim, next_ns);
    }
}

/* --- questions --------------------------------------------------------------------------- */

uint32_t world_topic_open(struct world *world, const char *name)
{
    uint32_t topic = SALVO_TOPIC_NONE;

    salvo_assert(salvo_control_topic_add(&world->control, name, strlen(name), &topic) == 0);
    return topic;
}

const struct salvo_route *world_route(struct world *world)
{
    return atomic_load_explicit(&world->ports[0]->route_published, memory_order_acquire);
}

const struct salvo_route_topic *world_route_topic(struct world *world, uint32_t topic)
{
    const struct salvo_route *route = world_route(world);

    return route == NULL || topic >= route->topics_count ? NULL : route->topics[topic];
}

bool world_error_has(struct world *world, const char *part)
{
    uint32_t used = atomic_load(&world->errors.used);

    for (uint32_t i = 0; i < used; i++)
        if (strstr(world->errors.entries[i].text, part) != NULL)
            return true;
    return false;
}
