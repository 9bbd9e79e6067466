/* A lane turned by hand over a net that does what the test says, with two brokers of two queues.
 *
 * The test reads the frames off the wire, answers them, holds them up, and kills links after any
 * byte; time moves only when it is told to. After each test the lane is drained and must hold
 * nothing, and each message must have had exactly one result. No turn may allocate. */
#pragma once

#include "tests/unit/unit.h"

#include "base/arena.h"
#include "codec/header.h"
#include "dataplane/lane.h"

#define MS            SALVO_NS_PER_MS
#define RIG_LINKS     64u
#define RIG_WIRE_MAX  SALVO_KIB(512)
#define RIG_EVENTS    512u
#define RIG_MESSAGES  512u
#define RIG_BROKERS   2u
#define RIG_QUEUES    4u
#define RIG_CHUNKS    32u
#define RIG_CHUNK     4096u
#define RIG_BATCHES   4u
#define RIG_BODY_MAX  16000u
#define RIG_BUDGET_MS 3000

struct rig_link {
    bool used, up, down;
    uint32_t broker;
    uint64_t cookie;
    size_t room; /* how much is still taken */
    uint8_t *wire;
    size_t taken;
    size_t read; /* by the broker */
    size_t released;
};

struct rig_net {
    struct salvo_net_head head;
    struct rig_link links[RIG_LINKS];
    uint32_t links_count; /* numbers are not used twice: easier to read */
    struct salvo_net_event events[RIG_EVENTS];
    unsigned events_first, events_count;
    uint8_t buffers[RIG_EVENTS][512];
    unsigned buffers_out, buffer_next;
    bool refuse; /* connects fail */
    int error;   /* not 0: connects cannot be begun, because of it */
    bool pend;   /* connects neither succeed nor fail */
    unsigned waits;
    size_t room; /* of new links */
};

extern struct rig_net rig_net;

struct rig_got {
    unsigned count;
    struct salvo_result_slot slot;
    char detail[SALVO_DETAIL_SIZE];
};

struct rig {
    struct salvo_lane lane;
    struct salvo_lane_conf conf;
    struct salvo_arena arena;
    uint8_t chunk_bytes[(RIG_CHUNKS + RIG_BATCHES) * RIG_CHUNK];
    struct salvo_clock_manual clock;
    struct salvo_submitter submitters[2];
    _Atomic(uint32_t) epoch;
    _Atomic(uint32_t) draining;
    salvo_availability availability[RIG_BROKERS];
    salvo_counter counters[SALVO_LANE_COUNTERS];
    struct salvo_route route;
    struct salvo_route_broker brokers[RIG_BROKERS];
    union {
        struct salvo_route_topic topic;
        uint8_t
            room[sizeof(struct salvo_route_topic) + RIG_QUEUES * sizeof(struct salvo_route_queue)];
    } topics[2];
    const struct salvo_route_topic *topic_list[2];
    struct salvo_send_template templates[RIG_QUEUES][SALVO_TEMPLATE_KINDS];
    struct salvo_send_fields fields;
    uint64_t committed;
    struct rig_got got[RIG_MESSAGES];
    unsigned route_wanted, frame_errors, drained, connections_down, dropped, streams_closed;
    int down_code; /* of the last one */
};

extern struct rig rig;

/* Around each test: the configuration stands in rig.conf until rig_start; what must hold after
 * every test is checked at its end. */
int rig_setup(void **state);
int rig_teardown(void **state);
#define RIG_TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

/* The lane, its submitters and the connections to both brokers, unless rig_net says otherwise. */
void rig_start(void);
/* A turn of the lane; its events and results are counted in rig. */
void rig_turn(void);
void rig_turns(unsigned n);
/* Moves time in steps of a millisecond, a turn in each. */
void rig_pass_ms(unsigned ms);
void rig_drain(int64_t deadline_ns);

/* The live link to a broker. */
uint32_t rig_link_to(uint32_t broker);
/* The link ends: of what was taken, handed_over bytes may have reached the broker. */
void rig_link_dies(uint32_t link, enum salvo_net_down reason, uint64_t handed_over);
/* Something that happens on a link: the caller fills the rest. */
struct salvo_net_event *rig_push_event(enum salvo_net_event_kind kind, uint32_t link);

/* A message whose body begins with its cookie; commit and submit return the cookie. */
struct salvo_msg *rig_claim(unsigned submitter, uint32_t topic, size_t size);
uint32_t rig_commit(struct salvo_msg *m);
uint32_t rig_submit(uint32_t topic, size_t size);
uint32_t rig_submit_shard(unsigned submitter, uint32_t shard_hash);
uint32_t rig_submit_pinned(uint32_t queue);

struct rig_request {
    uint32_t link;
    uint32_t broker;
    int32_t opaque;
    struct salvo_send_fields fields;
    uint8_t body[RIG_BODY_MAX];
    uint32_t body_size;
    uint32_t cookie; /* of its first message */
    char id[33];
};

/* The next request that a broker has whole; false when there is none. */
bool rig_next_request(uint32_t broker, struct rig_request *ret_request);
bool rig_any_request(struct rig_request *ret_request);
/* An answer to `opaque` on a link, remark NULL: none. */
void rig_answer_opaque(uint32_t link, int32_t opaque, int32_t code, const char *remark);
void rig_answer(const struct rig_request *request, int32_t code);
/* What the message came to. */
void rig_expect(uint32_t cookie, enum salvo_code code, enum salvo_stored stored, int tries);
