/* A little cluster in virtual time for control's tests: control over net_sim, lanes that do no more
 * than take snapshots and answer commands, and servers that answer as they are told. */
#pragma once

#include "control/control.h"
#include "dataplane/net_sim.h"

#include "codec/route_data.h"

#define WORLD_SERVERS_MAX 6
#define WORLD_LANES_MAX   2
#define WORLD_TOPICS_MAX  4
#define WORLD_LINKS_MAX   32

enum world_behaviour {
    WORLD_GOOD,
    WORLD_SILENT,    /* takes everything, answers nothing */
    WORLD_HTTP,      /* answers as a web server does */
    WORLD_OVERSIZED, /* a frame that claims two gigabytes */
    WORLD_GARBAGE,   /* a whole frame whose header is nonsense */
    WORLD_CUT,       /* half an answer, then the end */
};

struct world_out {
    struct world_out *next;
    size_t size;
    size_t taken;
    uint8_t bytes[];
};

struct world_link {
    bool up;
    uint8_t in[8192];
    size_t in_size;
    struct world_out *first, *last;
};

struct world_server {
    char address[32];
    struct salvo_net *net;
    enum world_behaviour behaviour;
    bool bare_keys;
    enum salvo_header_form form; /* of its answers */
    int32_t code_next;           /* answered once in place of the real one; 0: none */
    uint32_t asked[2000];        /* requests by code */
    uint32_t connections;
    char last_body[1024];
    int32_t last_answer_code; /* of an answer that came to a request of ours */
    uint32_t answers_came;
    struct world_link links[WORLD_LINKS_MAX];
};

struct world_topic {
    char name[64];
    struct salvo_route_data *route; /* NULL: unknown */
};

struct world_lane {
    struct salvo_lane_port port;
    alignas(8) uint8_t commands[1 << 14];
    alignas(8) uint8_t events[1 << 14];
    uint64_t drops;    /* bits of broker numbers told to drop */
    bool stands_still; /* takes nothing until it is told to go on */
};

struct world {
    struct salvo_sim_world *sim;
    struct salvo_clock *clock;
    struct salvo_config config;
    struct salvo_control control;
    struct salvo_lane_port *ports[WORLD_LANES_MAX];
    struct world_lane lanes[WORLD_LANES_MAX];
    uint32_t lanes_count;
    salvo_availability availability[64];
    salvo_counter counters[SALVO_CONTROL_COUNTERS];
    struct salvo_error_log errors;
    struct salvo_log log;
    struct world_server servers[WORLD_SERVERS_MAX];
    struct world_topic topics[WORLD_TOPICS_MAX];
    char error[512];
};

/* The world with its defaults; options may be changed before world_start. */
struct world *world_new(uint64_t seed, uint32_t lanes_count);
/* Server `index` begins to listen at 10.0.0.<index + 1>:<9000 + index>. */
void world_server_start(struct world *world, uint32_t index);
/* What nameservers answer for this topic: brokers a, b, ... are servers, each with so many queues.
 */
struct salvo_route_data *world_topic(struct world *world, const char *name);
void world_route_add(struct world *world, struct salvo_route_data *route, const char *broker,
                     uint32_t server, int32_t queues);
/* Opens control; 0 or what salvo_control_init returned, with world->error. */
int world_start(struct world *world);
/* Turns everything for so long. */
void world_run(struct world *world, int64_t ns);
void world_free(struct world *world);

uint32_t world_topic_open(struct world *world, const char *name);
/* The snapshot a lane has now, and the part of a topic in it (or NULL). */
const struct salvo_route *world_route(struct world *world);
const struct salvo_route_topic *world_route_topic(struct world *world, uint32_t topic);
/* True when an error was noted whose text has `part` in it. */
bool world_error_has(struct world *world, const char *part);
/* A lane says something. */
void world_lane_says(struct world *world, uint32_t lane, struct salvo_event event);
/* A request from a server on every link it has. */
void world_server_asks(struct world *world, uint32_t index, int32_t code, int32_t flag);
