/* A lane turned by hand over a net that does what the test says, with two brokers of two queues.
 *
 * The test reads the frames off the wire, answers them, holds them up, and kills links after any
 * byte; time moves only when it is told to. After each test the lane is drained and must hold
 * nothing, and each message must have had exactly one result. No turn may allocate. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>

#include "base/arena.h"
#include "codec/header.h"
#include "dataplane/lane.h"

#define MS        SALVO_NS_PER_MS
#define LINKS     64u
#define WIRE_MAX  SALVO_KIB(512)
#define EVENTS    512u
#define MESSAGES  512u
#define BROKERS   2u
#define QUEUES    4u
#define CHUNKS    32u
#define CHUNK     4096u
#define BODY_MAX  16000u
#define BUDGET_MS 3000

/* --- the net ---------------------------------------------------------------------------------- */

struct fake_link {
    bool used, up, down;
    uint32_t broker;
    uint64_t cookie;
    size_t room; /* how much is still taken */
    uint8_t *wire;
    size_t taken;
    size_t read; /* by the broker */
    size_t released;
};

static struct fake_net {
    struct salvo_net_head head;
    struct fake_link links[LINKS];
    uint32_t links_count; /* numbers are not used twice: easier to read */
    struct salvo_net_event events[EVENTS];
    unsigned events_first, events_count;
    uint8_t buffers[EVENTS][512];
    unsigned buffers_out, buffer_next;
    bool refuse; /* connects fail */
    int error;   /* not 0: connects cannot be begun, because of it */
    bool pend;   /* connects neither succeed nor fail */
    unsigned waits;
    size_t room; /* of new links */
} net;

static uint8_t wires[LINKS][WIRE_MAX];

static struct salvo_net_event *push_event(enum salvo_net_event_kind kind, uint32_t link)
{
    struct salvo_net_event *e = &net.events[(net.events_first + net.events_count++) % EVENTS];

    assert_true(net.events_count <= EVENTS);
    *e = (struct salvo_net_event){.kind = kind, .link = link, .cookie = net.links[link].cookie};
    return e;
}

/* The link ends: of what was taken, handed_over bytes may have reached the broker. */
static void link_dies(uint32_t link, enum salvo_net_down reason, uint64_t handed_over)
{
    struct fake_link *l = &net.links[link];
    struct salvo_net_event *e = push_event(SALVO_NET_DOWN, link);

    assert_false(l->down);
    e->down.reason = reason;
    e->down.handed_over = handed_over;
    l->down = true;
    push_event(SALVO_NET_RELEASED, link)->released.bytes = l->taken - l->released;
    l->released = l->taken;
    push_event(SALVO_NET_GONE, link);
}

static int fake_connect(struct salvo_net *self, const struct salvo_endpoint *to, int64_t timeout_ns,
                        uint64_t cookie, uint32_t *ret_link)
{
    uint32_t link = net.links_count;
    struct fake_link *l = &net.links[link];

    (void)self;
    (void)timeout_ns;
    if (net.error != 0)
        return -net.error;
    assert_true(link < LINKS);
    *l = (struct fake_link){.used = true, .cookie = cookie, .wire = wires[link], .room = net.room};
    l->broker = (uint32_t)ntohs(to->v4.sin_port) - 1000;
    net.links_count++;
    *ret_link = link;
    if (net.refuse) {
        link_dies(link, SALVO_NET_DOWN_REFUSED, 0);
    } else if (!net.pend) {
        l->up = true;
        push_event(SALVO_NET_UP, link);
    }
    return 0;
}

static size_t fake_send(struct salvo_net *self, uint32_t link, const struct salvo_range *ranges,
                        unsigned ranges_count)
{
    struct fake_link *l = &net.links[link];
    size_t taken = 0;

    (void)self;
    assert_true(l->up && !l->down);
    for (unsigned i = 0; i < ranges_count; i++) {
        size_t here = SALVO_MIN(ranges[i].size, l->room);

        assert_true(l->taken + here <= WIRE_MAX);
        memcpy(l->wire + l->taken, ranges[i].bytes, here);
        l->taken += here;
        l->room -= here;
        taken += here;
        if (here < ranges[i].size)
            break;
    }
    return taken;
}

static void fake_give_back(struct salvo_net *self, uint32_t buffer)
{
    (void)self;
    (void)buffer;
    assert_true(net.buffers_out-- != 0);
}

static unsigned fake_poll(struct salvo_net *self, struct salvo_net_event *ret_events,
                          unsigned events_max)
{
    unsigned n = SALVO_MIN(events_max, net.events_count);

    (void)self;
    for (unsigned i = 0; i < n; i++)
        ret_events[i] = net.events[(net.events_first + i) % EVENTS];
    net.events_first = (net.events_first + n) % EVENTS;
    net.events_count -= n;
    return n;
}

static void fake_flush(struct salvo_net *self)
{
    (void)self;
}

static void fake_wait(struct salvo_net *self, unsigned events_min, int64_t gather_ns,
                      int64_t timeout_ns)
{
    (void)self;
    (void)events_min;
    (void)gather_ns;
    assert_true(timeout_ns > 0);
    net.waits++;
}

static void fake_close(struct salvo_net *self, uint32_t link)
{
    (void)self;
    if (!net.links[link].down)
        link_dies(link, SALVO_NET_DOWN_CLOSED, net.links[link].taken);
}

static const struct salvo_net_ops fake_ops = {
    .name = "fake",
    .connect = fake_connect,
    .send = fake_send,
    .give_back = fake_give_back,
    .poll = fake_poll,
    .flush = fake_flush,
    .wait = fake_wait,
    .wake = fake_flush,
    .close = fake_close,
};

/* The live link to a broker. */
static uint32_t link_to(uint32_t broker)
{
    for (uint32_t i = net.links_count; i-- > 0;)
        if (net.links[i].broker == broker && net.links[i].up && !net.links[i].down)
            return i;
    fail_msg("no link to broker %u", broker);
    return 0;
}

/* --- the lane --------------------------------------------------------------------------------- */

struct got {
    unsigned count;
    struct salvo_result_slot slot;
    char detail[SALVO_DETAIL_SIZE];
};

static struct {
    struct salvo_lane lane;
    struct salvo_lane_conf conf;
    struct salvo_arena arena;
    uint8_t chunk_bytes[CHUNKS * CHUNK];
    struct salvo_clock_manual clock;
    struct salvo_submitter submitters[2];
    _Atomic(uint32_t) epoch;
    _Atomic(uint32_t) draining;
    salvo_availability availability[BROKERS];
    salvo_counter counters[SALVO_LANE_COUNTERS];
    struct salvo_route route;
    struct salvo_route_broker brokers[BROKERS];
    union {
        struct salvo_route_topic topic;
        uint8_t room[sizeof(struct salvo_route_topic) + QUEUES * sizeof(struct salvo_route_queue)];
    } topics[2];
    const struct salvo_route_topic *topic_list[2];
    struct salvo_send_template templates[QUEUES][SALVO_TEMPLATE_KINDS];
    struct salvo_send_fields fields;
    uint64_t committed;
    struct got got[MESSAGES];
    unsigned route_wanted, frame_errors, drained, connections_down, dropped;
    int down_code; /* of the last one */
} f;

static void month(int64_t ms, int64_t *ret_start_ms, int64_t *ret_end_ms)
{
    *ret_start_ms = ms - ms % 2592000000;
    *ret_end_ms = *ret_start_ms + 2592000000;
}

/* Topic 0 has a route: queue i is on broker i / 2 with queueId i % 2. Topic 1 has none. */
static void make_route(void)
{
    f.fields = (struct salvo_send_fields){
        .code = SALVO_REQUEST_SEND_MESSAGE_V2,
        .version = 479,
        .producerGroup = SALVO_TEXT("G"),
        .topic = SALVO_TEXT("T"),
        .defaultTopic = SALVO_TEXT("TBW102"),
        .defaultTopicQueueNums = 8,
        .maxReconsumeTimes = -1,
    };
    for (uint32_t q = 0; q < QUEUES; q++) {
        for (uint32_t kind = 0; kind < SALVO_TEMPLATE_KINDS; kind++) {
            struct salvo_send_fields fields = f.fields;

            fields.queueId = (int32_t)q % 2;
            fields.batch = kind >= SALVO_TEMPLATE_BATCH;
            fields.code = fields.batch ? SALVO_REQUEST_SEND_BATCH_MESSAGE : fields.code;
            assert_int_equal(
                salvo_send_template_init(&f.templates[q][kind], f.conf.form, &fields, false), 0);
        }
        f.topics[0].topic.queues[q] = (struct salvo_route_queue){
            .queue = q, .broker = q / 2, .queueId = (int32_t)q % 2, .templates = f.templates[q]};
    }
    f.topics[0].topic = (struct salvo_route_topic){.state = SALVO_ROUTE_GOOD,
                                                   .topic = 0,
                                                   .fields = &f.fields,
                                                   .queues_count = QUEUES,
                                                   .brokers_count = BROKERS};
    f.topics[1] = f.topics[0];
    f.topics[1].topic.topic = 1;
    f.topic_list[0] = &f.topics[0].topic;
    f.topic_list[1] = NULL;
    for (uint32_t i = 0; i < BROKERS; i++) {
        f.brokers[i] = (struct salvo_route_broker){
            .used = true, .has_endpoint = true, .generation = 1, .name = i == 0 ? "a" : "b"};
        f.brokers[i].endpoint.v4.sin_family = AF_INET;
        f.brokers[i].endpoint.v4.sin_port = htons((uint16_t)(1000 + i));
    }
    f.route = (struct salvo_route){.epoch = 1,
                                   .topics_count = 2,
                                   .topics = f.topic_list,
                                   .brokers_count = BROKERS,
                                   .brokers = f.brokers};
}

/* The configuration that a test may change between setup and start. */
static int setup(void **state)
{
    (void)state;
    memset(&f, 0, sizeof(f));
    memset(&net, 0, sizeof(net));
    net.head = (struct salvo_net_head){.magic = SALVO_NET_MAGIC, .ops = &fake_ops};
    net.room = SIZE_MAX;
    salvo_clock_manual_init(&f.clock, SALVO_NS_PER_S, INT64_C(1700000000000));
    f.conf = (struct salvo_lane_conf){
        .clock = &f.clock.clock,
        .net = (struct salvo_net *)&net,
        .submitters = f.submitters,
        .submitters_max = 2,
        .submitters_epoch = &f.epoch,
        .availability = f.availability,
        .counters = f.counters,
        .seed = 1,
        .requests_max = 64,
        .items_max = 256,
        .chunks_max = CHUNKS,
        .chunk_size = CHUNK,
        .chunks_reserve = 8,
        .topics_max = 2,
        .brokers_max = BROKERS,
        .queues_max = QUEUES,
        .gather_max = 4096,
        .frame_size_max = 65536,
        .window = 16,
        .form = SALVO_HEADER_BINARY,
        .batch = {.mode = SALVO_BATCH_MODE_OFF,
                  .bytes_max = 2048,
                  .count_max = 8,
                  .open_max = 4,
                  .linger_ns = 0},
        .tries_max = 3,
        .try_timeout_ns = 1000 * MS,
        .connect_timeout_ns = 1000 * MS,
        .heartbeat_ns = 1000000 * MS,
    };
    return 0;
}

static void turn(void)
{
    const struct salvo_event *event;

    salvo_alloc_forbid(true);
    salvo_lane_do_work(&f.lane);
    salvo_alloc_forbid(false);
    while ((event = salvo_lane_port_event(&f.lane.port)) != NULL) {
        f.route_wanted += event->kind == SALVO_EVENT_ROUTE_WANTED && event->topic == 1;
        f.frame_errors += event->kind == SALVO_EVENT_FRAME_ERROR;
        f.drained += event->kind == SALVO_EVENT_DRAINED;
        if (event->kind == SALVO_EVENT_CONNECTION_DOWN) {
            f.connections_down++;
            f.down_code = event->code;
        }
        f.dropped += event->kind == SALVO_EVENT_BROKER_DROPPED && event->broker == 1;
        salvo_lane_port_event_done(&f.lane.port);
    }
    for (int i = 0; i < 2; i++) {
        const struct salvo_result_slot *result;

        while ((result = salvo_submitter_result(&f.submitters[i])) != NULL) {
            struct got *got = &f.got[result->cookie];

            got->count++;
            got->slot = *result;
            if (result->detail != 0)
                snprintf(got->detail, sizeof(got->detail), "%s",
                         f.submitters[i].details[result->detail - 1]);
            salvo_submitter_result_done(&f.submitters[i], result);
        }
        salvo_submitter_results_release(&f.submitters[i]);
    }
}

static void turns(unsigned n)
{
    while (n-- != 0)
        turn();
}

/* Moves time in steps of a millisecond, a turn in each. */
static void pass_ms(unsigned ms)
{
    while (ms-- != 0) {
        salvo_clock_manual_advance(&f.clock, MS);
        turn();
    }
}

static void start(void)
{
    struct salvo_submitter_conf conf = {
        .ring_size = SALVO_MIB(1),
        .results_ring_size = salvo_power_of_two_up((MESSAGES + 2) * 72),
        .messages_out_max = MESSAGES,
        .body_size_max = BODY_MAX,
        .timeout_ns = BUDGET_MS * MS,
        .clock = &f.clock.clock,
        .month = month,
        .ip = (const uint8_t *)"\x0a\0\0\x01",
        .ip_size = 4,
    };

    make_route();
    assert_int_equal(
        salvo_arena_init(&f.arena,
                         salvo_lane_memory_size(&f.conf) +
                             2 * salvo_arena_cost(salvo_submitter_memory_size(&conf), 64),
                         false),
        0);
    assert_int_equal(salvo_lane_init(&f.lane, &f.conf, &f.arena, f.chunk_bytes), 0);
    for (uint32_t i = 0; i < 2; i++) {
        conf.index = i;
        conf.mid = i;
        assert_int_equal(
            salvo_submitter_init(&f.submitters[i], &conf,
                                 salvo_arena_take(&f.arena, salvo_submitter_memory_size(&conf), 64),
                                 NULL, &f.draining),
            0);
        assert_true(salvo_submitter_take(&f.submitters[i], &f.lane.port));
    }
    salvo_lane_port_publish(&f.lane.port, &f.route);
    turns(3);
    if (!net.refuse)
        assert_int_equal(net.links_count, BROKERS);
}

static void drain(int64_t deadline_ns)
{
    struct salvo_command command = {.kind = SALVO_COMMAND_DRAIN, .deadline_ns = deadline_ns};

    assert_int_equal(salvo_lane_port_command(&f.lane.port, &command), 0);
}

/* What must hold after every test. */
static int teardown(void **state)
{
    const char *left;

    (void)state;
    net.refuse = true;
    drain(f.clock.mono_now_ns);
    turns(3);
    for (uint32_t i = 0; i < net.links_count; i++)
        if (!net.links[i].down)
            link_dies(i, SALVO_NET_DOWN_RESET, net.links[i].taken);
    turns(3);
    left = salvo_lane_leftovers(&f.lane);
    if (left != NULL)
        print_error("left over: %s\n", left);
    assert_null(left);
    assert_int_equal(net.buffers_out, 0);
    for (uint64_t i = 0; i < f.committed; i++)
        assert_int_equal(f.got[i].count, 1);
    assert_true(f.drained >= 1);
    salvo_lane_deinit(&f.lane);
    for (int i = 0; i < 2; i++)
        salvo_submitter_deinit(&f.submitters[i]);
    salvo_arena_deinit(&f.arena);
    return 0;
}

/* --- messages and what the brokers see -------------------------------------------------------- */

/* Claims a message whose body begins with its cookie. */
static struct salvo_msg *claim(unsigned submitter, uint32_t topic, size_t size)
{
    struct salvo_msg *m = NULL;

    assert_int_equal(salvo_submitter_claim(&f.submitters[submitter], topic, size, &m), 0);
    memset(salvo_slot_body(m->slot), 'x', size);
    memcpy(salvo_slot_body(m->slot), &f.committed, sizeof(uint32_t));
    return m;
}

static uint32_t commit(struct salvo_msg *m)
{
    assert_int_equal(salvo_submitter_commit(m, m->size_max, f.committed), 0);
    return (uint32_t)f.committed++;
}

static uint32_t submit(uint32_t topic, size_t size)
{
    return commit(claim(0, topic, size));
}

static uint32_t submit_shard(unsigned submitter, uint32_t shard_hash)
{
    struct salvo_msg *m = claim(submitter, 0, 40);

    m->slot->flags |= SALVO_SLOT_SHARD;
    m->slot->shard_hash = shard_hash;
    return commit(m);
}

static uint32_t submit_pinned(uint32_t queue)
{
    struct salvo_msg *m = claim(0, 0, 40);

    m->slot->flags |= SALVO_SLOT_PINNED;
    m->slot->queue_index = queue;
    return commit(m);
}

struct request {
    uint32_t link;
    uint32_t broker;
    int32_t opaque;
    struct salvo_send_fields fields;
    uint8_t body[BODY_MAX];
    uint32_t body_size;
    uint32_t cookie; /* of its first message */
    char id[33];
};

/* The next request that a broker has whole; false when there is none. */
static bool next_request(uint32_t broker, struct request *ret_request)
{
    for (uint32_t i = 0; i < net.links_count; i++) {
        struct fake_link *l = &net.links[i];
        struct salvo_frame frame;
        struct salvo_header header;
        struct salvo_text id;
        const char *why;

        if (l->broker != broker || l->read == l->taken ||
            salvo_frame_parse(l->wire + l->read, l->taken - l->read, SALVO_FRAME_SIZE_MAX, &frame,
                              &why) != 0)
            continue;
        l->read += frame.size;
        assert_int_equal(salvo_header_read(&header, frame.form, frame.header, frame.header_size,
                                           (uint8_t[4096]){0}, 4096),
                         0);
        *ret_request = (struct request){.link = i, .broker = broker, .opaque = header.opaque};
        assert_int_equal(salvo_send_read(&header, &ret_request->fields, &why), 0);
        ret_request->body_size = frame.body_size;
        memcpy(ret_request->body, frame.body, frame.body_size);
        memcpy(&ret_request->cookie, frame.body + (ret_request->fields.batch ? 20 : 0), 4);
        id = salvo_property_find(ret_request->fields.properties.text,
                                 ret_request->fields.properties.size, "UNIQ_KEY");
        if (id.size == 32)
            memcpy(ret_request->id, id.text, 32);
        return true;
    }
    return false;
}

static bool any_request(struct request *ret_request)
{
    return next_request(0, ret_request) || next_request(1, ret_request);
}

/* An answer to `opaque` on a link, remark NULL: none. */
static void answer_opaque(uint32_t link, int32_t opaque, int32_t code, const char *remark)
{
    uint32_t buffer = net.buffer_next++ % EVENTS;
    struct salvo_header header = {.code = code, .version = 479, .opaque = opaque, .flag = 1};
    struct salvo_net_event *e = push_event(SALVO_NET_DATA, link);
    ssize_t size;

    if (code == 0 || (code >= 10 && code <= 12)) {
        salvo_header_add(&header, "msgId", SALVO_TEXT("0A00000200002A9F0000000000000ABC"));
        salvo_header_add(&header, "queueId", SALVO_TEXT("1"));
        salvo_header_add(&header, "queueOffset", SALVO_TEXT("77"));
    }
    if (remark != NULL)
        header.remark = salvo_text_of(remark);
    size = salvo_frame_write(net.buffers[buffer], sizeof(net.buffers[buffer]), SALVO_HEADER_JSON,
                             &header, NULL, 0);
    assert_true(size > 0);
    e->data.bytes = net.buffers[buffer];
    e->data.size = (uint32_t)size;
    e->data.buffer = buffer;
    net.buffers_out++;
}

static void answer(const struct request *request, int32_t code)
{
    answer_opaque(request->link, request->opaque, code, code == 0 ? NULL : "remark");
}

static void expect(uint32_t cookie, enum salvo_code code, enum salvo_stored stored, int tries)
{
    const struct got *got = &f.got[cookie];

    assert_int_equal(got->count, 1);
    assert_int_equal(got->slot.code, code);
    assert_int_equal(got->slot.stored, stored);
    assert_int_equal(got->slot.tries, tries);
}

/* --- one message ------------------------------------------------------------------------------ */

static void a_good_answer_fills_every_field(void **state)
{
    static struct request r;
    uint32_t cookie;
    const struct salvo_result_slot *slot = &f.got[0].slot;

    (void)state;
    start();
    cookie = submit(0, 100);
    turn();
    assert_true(any_request(&r));
    assert_int_equal(r.cookie, cookie);
    assert_int_equal(r.body_size, 100);
    assert_int_equal(r.fields.code, SALVO_REQUEST_SEND_MESSAGE_V2);
    assert_false(any_request(&r));
    assert_int_equal(f.got[0].count, 0);
    salvo_clock_manual_advance(&f.clock, 5 * MS);
    answer(&r, 0);
    turn();
    expect(cookie, SALVO_OK, SALVO_STORED_YES, 1);
    assert_int_equal(slot->broker, r.broker);
    assert_int_equal(slot->broker_code, 0);
    assert_int_equal(slot->queueId, 1);
    assert_int_equal(slot->queue_offset, 77);
    assert_int_equal(slot->commit_log_offset, 0xabc);
    assert_int_equal(slot->store_ip, 0x0a000002);
    assert_int_equal(slot->store_port, 10911);
    assert_int_equal(slot->has_offset, 1);
    assert_int_equal(slot->detail, 0);
    assert_int_equal(slot->done_ns, f.clock.mono_now_ns);
}

static void a_refused_try_goes_to_the_other_broker(void **state)
{
    static struct request first, second;
    uint32_t cookie;

    (void)state;
    start();
    cookie = submit(0, 100);
    turn();
    assert_true(any_request(&first));
    answer(&first, SALVO_RESPONSE_SYSTEM_ERROR);
    turn();
    assert_true(next_request(!first.broker, &second));
    assert_int_not_equal(second.opaque, first.opaque);
    assert_string_equal(second.id, first.id);
    assert_memory_equal(second.body, first.body, 100);
    answer(&second, 0);
    turn();
    expect(cookie, SALVO_OK, SALVO_STORED_YES, 2);
    assert_int_equal(f.got[cookie].slot.broker, second.broker);
}

static void after_the_last_try_the_brokers_word_is_given(void **state)
{
    static struct request r;
    uint32_t cookie;

    (void)state;
    start();
    cookie = submit(0, 100);
    for (int i = 0; i < 3; i++) {
        turn();
        assert_true(any_request(&r));
        answer(&r, SALVO_RESPONSE_SYSTEM_ERROR);
    }
    turns(3);
    assert_false(any_request(&r));
    expect(cookie, SALVO_REFUSED, SALVO_STORED_NO, 3);
    assert_int_equal(f.got[cookie].slot.broker_code, 1);
    assert_string_equal(f.got[cookie].detail, "remark");
    assert_int_equal(f.got[cookie].slot.has_offset, 0);
}

/* The fake broker answers in JSON, which escapes: the word is shown as it was meant. */
static void a_brokers_word_is_shown_without_escapes(void **state)
{
    static struct request r;
    uint32_t cookie;

    (void)state;
    start();
    cookie = submit(0, 100);
    for (int i = 0; i < 3; i++) {
        turn();
        assert_true(any_request(&r));
        answer_opaque(r.link, r.opaque, SALVO_RESPONSE_SYSTEM_ERROR, "say \"no\"\n\\");
    }
    turns(3);
    assert_string_equal(f.got[cookie].detail, "say \"no\"\n\\");
}

static void a_pinned_message_stays_on_its_queue(void **state)
{
    static struct request r;
    uint32_t cookie;

    (void)state;
    start();
    cookie = submit_pinned(3);
    for (int i = 0; i < 3; i++) {
        turn();
        assert_true(next_request(1, &r));
        assert_int_equal(r.fields.queueId, 1);
        answer(&r, i < 2 ? SALVO_RESPONSE_SYSTEM_ERROR : 0);
        pass_ms(100); /* over the pause before the same broker */
    }
    expect(cookie, SALVO_OK, SALVO_STORED_YES, 3);
}

/* --- time-outs, late answers, cut frames ------------------------------------------------------ */

static void an_answer_after_its_try_was_given_up_is_late(void **state)
{
    static struct request first, second, other;
    uint32_t cookie;

    (void)state;
    start();
    cookie = submit(0, 100);
    turn();
    assert_true(any_request(&first));
    pass_ms(1001);
    assert_true(next_request(!first.broker, &second));
    answer(&first, SALVO_RESPONSE_MESSAGE_ILLEGAL);
    turn();
    assert_int_equal(f.got[cookie].count, 0);
    assert_int_equal(salvo_counter_get(f.counters, SALVO_LANE_ANSWERS_LATE), 1);
    answer_opaque(first.link, second.opaque, 13, NULL); /* the right number on the wrong link */
    turn();
    assert_int_equal(f.got[cookie].count, 0);
    answer(&second, 0);
    turn();
    expect(cookie, SALVO_OK, SALVO_STORED_YES, 2);
    /* The slots go round; an old answer meets none of the new requests. */
    for (int i = 0; i < 200; i++) {
        uint32_t next = submit(0, 20);

        turn();
        assert_true(any_request(&other));
        answer(&first, SALVO_RESPONSE_MESSAGE_ILLEGAL);
        answer(&second, SALVO_RESPONSE_MESSAGE_ILLEGAL);
        turn();
        assert_int_equal(f.got[next].count, 0);
        answer(&other, 0);
        turn();
        expect(next, SALVO_OK, SALVO_STORED_YES, 1);
    }
}

static void silence_until_the_budget_is_spent_is_unknown(void **state)
{
    static struct request r;
    uint32_t cookie;
    int seen = 0;

    (void)state;
    start();
    cookie = submit(0, 100);
    pass_ms(BUDGET_MS - 1);
    assert_int_equal(f.got[cookie].count, 0);
    pass_ms(2);
    expect(cookie, SALVO_TIMED_OUT, SALVO_STORED_UNKNOWN, 3);
    while (any_request(&r))
        seen++;
    assert_int_equal(seen, 3);
    assert_int_equal(f.got[cookie].slot.broker_code, -1);
}

/* The network takes nothing: the frame is cut out of the stream, and is never on the wire. */
static void a_frame_that_was_not_begun_is_not_sent(void **state)
{
    static struct request r;
    uint32_t cookie;
    uint32_t next;

    (void)state;
    net.room = 0;
    start();
    cookie = submit(0, 100);
    pass_ms(BUDGET_MS + 1);
    expect(cookie, SALVO_TIMED_OUT_UNSENT, SALVO_STORED_NO, 0);
    for (uint32_t broker = 0; broker < BROKERS; broker++) {
        net.links[link_to(broker)].room = SIZE_MAX;
        push_event(SALVO_NET_RELEASED, link_to(broker));
    }
    turns(2);
    assert_false(any_request(&r));
    next = submit(0, 100);
    turns(2);
    assert_true(any_request(&r));
    assert_int_equal(r.cookie, next);
    answer(&r, 0);
    turn();
    expect(next, SALVO_OK, SALVO_STORED_YES, 1);
}

/* One byte of it was taken: whatever happens now, it may be stored. */
static void a_frame_that_was_begun_may_be_stored(void **state)
{
    uint32_t cookie;

    (void)state;
    f.conf.tries_max = 1;
    net.room = 1;
    start();
    cookie = submit(0, 100);
    pass_ms(BUDGET_MS + 1);
    expect(cookie, SALVO_TIMED_OUT, SALVO_STORED_UNKNOWN, 1);
}

/* --- a connection dies ------------------------------------------------------------------------ */

/* Dies after every byte of a frame: only with the last one it may have arrived. */
static void death_tells_sent_from_not_sent(void **state)
{
    static struct request r;
    uint32_t link;
    uint32_t first, second;
    size_t before, size;

    (void)state;
    f.conf.tries_max = 1;
    start();
    for (int behind = 0; behind < 2; behind++) {
        submit_pinned(0);
        turn();
        assert_true(next_request(0, &r));
        answer(&r, 0);
        turn();
        link = r.link;
        before = net.links[link].taken;
        first = submit_pinned(0);
        second = submit_pinned(0);
        turn();
        assert_true(next_request(0, &r) && next_request(0, &r));
        size = (net.links[link].taken - before) / 2; /* of one frame */
        link_dies(link, SALVO_NET_DOWN_RESET, before + size - (size_t)!behind);
        turns(2);
        /* The second was not handed over: it goes again, though tries_max is 1. */
        if (behind)
            expect(first, SALVO_CONNECTION_LOST, SALVO_STORED_UNKNOWN, 1);
        pass_ms(50);
        while (next_request(0, &r)) {
            assert_true(r.cookie == second || (!behind && r.cookie == first));
            answer(&r, 0);
            turn();
        }
        if (!behind)
            expect(first, SALVO_OK, SALVO_STORED_YES, 1);
        expect(second, SALVO_OK, SALVO_STORED_YES, 1);
    }
    assert_int_equal(f.connections_down, 2);
}

static void a_lost_try_goes_to_the_other_broker(void **state)
{
    static struct request first, second;
    uint32_t cookie;

    (void)state;
    start();
    cookie = submit(0, 3 * CHUNK); /* over several chunks, that a second frame is copied from */
    turn();
    assert_true(any_request(&first));
    link_dies(first.link, SALVO_NET_DOWN_PEER, net.links[first.link].taken);
    turns(2);
    assert_true(next_request(!first.broker, &second));
    assert_int_equal(second.body_size, 3 * CHUNK);
    assert_memory_equal(second.body, first.body, 3 * CHUNK);
    answer(&second, SALVO_RESPONSE_MESSAGE_ILLEGAL);
    turn();
    /* The second broker refused it; the first may have it. */
    expect(cookie, SALVO_REFUSED, SALVO_STORED_UNKNOWN, 2);
}

static void rubbish_costs_one_connection(void **state)
{
    static struct request r;
    struct salvo_net_event *e;
    uint32_t cookie;

    (void)state;
    start();
    cookie = submit_pinned(0);
    turn();
    assert_true(next_request(0, &r));
    e = push_event(SALVO_NET_DATA, r.link);
    e->data.bytes = (const uint8_t *)"HTTP/1.1 400 Bad Request\r\n\r\n";
    e->data.size = 28;
    net.buffers_out++;
    turns(2);
    assert_int_equal(f.frame_errors, 1);
    assert_true(net.links[r.link].down);
    assert_false(net.links[link_to(1)].down);
    pass_ms(200);
    assert_true(next_request(0, &r)); /* on a new connection */
    answer(&r, 0);
    turn();
    expect(cookie, SALVO_OK, SALVO_STORED_YES, 2);
}

/* Nobody would know why else: nothing of it is on the wire. */
static void a_connection_that_cannot_be_begun_is_told_with_the_cause(void **state)
{
    struct request r;
    uint32_t cookie;

    (void)state;
    net.refuse = true; /* so that start() expects no links */
    net.error = EMFILE;
    start();
    assert_int_equal(f.connections_down, BROKERS);
    assert_int_equal(f.down_code, EMFILE);
    assert_int_equal(salvo_counter_get(f.counters, SALVO_LANE_CONNECTS_FAILED), BROKERS);
    net.refuse = false;
    net.error = 0;
    cookie = submit(0, 100);
    pass_ms(200);
    assert_true(any_request(&r));
    answer(&r, 0);
    turn();
    expect(cookie, SALVO_OK, SALVO_STORED_YES, 1);
}

/* --- routes ----------------------------------------------------------------------------------- */

static void messages_without_a_route_wait_for_it(void **state)
{
    static struct request r;
    static struct salvo_route with_both;
    static const struct salvo_route_topic *both[2];
    uint32_t cookies[5];

    (void)state;
    start();
    for (int i = 0; i < 5; i++)
        cookies[i] = submit(1, 60);
    turn();
    assert_int_equal(f.route_wanted, 1); /* asked once */
    pass_ms(20);
    assert_false(any_request(&r));
    both[0] = f.topic_list[0];
    both[1] = &f.topics[1].topic;
    with_both = f.route;
    with_both.epoch = 2;
    with_both.topics = both;
    salvo_lane_port_publish(&f.lane.port, &with_both);
    turns(2);
    for (int i = 0; i < 5; i++) {
        assert_true(any_request(&r));
        answer(&r, 0);
    }
    turn();
    for (int i = 0; i < 5; i++)
        expect(cookies[i], SALVO_OK, SALVO_STORED_YES, 1);
    assert_int_equal(f.lane.port.route_seen, 2);
}

/* The next snapshot, in which broker 1 is no more, or is somewhere else. */
static void publish_without_1(bool elsewhere)
{
    static struct salvo_route next;
    static struct salvo_route_broker brokers[BROKERS];

    memcpy(brokers, f.brokers, sizeof(brokers));
    brokers[1].used = elsewhere;
    brokers[1].generation++;
    next = f.route;
    next.epoch = 2;
    next.brokers = brokers;
    salvo_lane_port_publish(&f.lane.port, &next);
}

static void drop_1(void)
{
    struct salvo_command command = {.kind = SALVO_COMMAND_BROKER_DROP, .broker = 1};

    assert_int_equal(salvo_lane_port_command(&f.lane.port, &command), 0);
}

static void a_broker_that_leaves_may_answer_what_is_in_flight(void **state)
{
    static struct request r;
    uint32_t cookie, link;

    (void)state;
    start();
    link = link_to(1);
    cookie = submit_pinned(2);
    turn();
    assert_true(next_request(1, &r));
    publish_without_1(false);
    turn();
    drop_1();
    pass_ms(20);
    assert_false(net.links[link].down);
    assert_int_equal(f.dropped, 0);
    answer(&r, 0);
    turns(3);
    expect(cookie, SALVO_OK, SALVO_STORED_YES, 1);
    assert_true(net.links[link].down);
    assert_int_equal(f.dropped, 1);
    assert_int_equal(f.counters[SALVO_LANE_CONNECTIONS_LOST], 0);
    assert_int_equal(f.counters[SALVO_LANE_CONNECTIONS_UP], 1);
}

/* No time passes: nobody waits for the connection's time to be up. */
static void a_broker_that_leaves_is_not_waited_for_while_connecting(void **state)
{
    uint32_t link;

    (void)state;
    start();
    net.pend = true;
    link_dies(link_to(1), SALVO_NET_DOWN_RESET, 0);
    turn();
    pass_ms(20);
    link = net.links_count - 1;
    assert_int_equal(net.links[link].broker, 1);
    assert_false(net.links[link].down);
    publish_without_1(false);
    turn();
    drop_1();
    turns(3);
    assert_true(net.links[link].down);
    assert_int_equal(f.dropped, 1);
}

static void a_broker_that_moves_is_connected_to_where_it_is_now(void **state)
{
    uint32_t links;

    (void)state;
    start();
    links = net.links_count;
    net.pend = true;
    link_dies(link_to(1), SALVO_NET_DOWN_RESET, 0);
    turn();
    pass_ms(20);
    assert_int_equal(net.links_count, links + 1);
    publish_without_1(true);
    turns(3);
    assert_true(net.links[links].down);
    pass_ms(100);
    assert_int_equal(net.links_count, links + 2);
    assert_false(net.links[links + 1].down);
}

static void no_route_in_time_is_said(void **state)
{
    uint32_t cookie;

    (void)state;
    start();
    cookie = submit(1, 60);
    pass_ms(BUDGET_MS - 1);
    assert_int_equal(f.got[cookie].count, 0);
    pass_ms(2);
    expect(cookie, SALVO_NO_ROUTE, SALVO_STORED_NO, 0);
    assert_true(strlen(f.got[cookie].detail) > 10);
}

static void a_queue_that_is_not_there_is_said_at_once(void **state)
{
    uint32_t cookie;

    (void)state;
    start();
    cookie = submit_pinned(QUEUES);
    turn();
    expect(cookie, SALVO_NO_ROUTE, SALVO_STORED_NO, 0);
}

/* --- batches ---------------------------------------------------------------------------------- */

static void a_refused_batch_is_taken_apart(void **state)
{
    static struct request batch, r;
    uint32_t cookies[3];

    (void)state;
    f.conf.batch.mode = SALVO_BATCH_MODE_NATURAL;
    start();
    for (int i = 0; i < 3; i++)
        cookies[i] = submit(0, 50 + (size_t)i);
    turn();
    assert_true(any_request(&batch));
    assert_true(batch.fields.batch);
    assert_int_equal(batch.cookie, cookies[0]);
    answer(&batch, SALVO_RESPONSE_MESSAGE_ILLEGAL);
    turns(2);
    for (int i = 0; i < 3; i++) {
        assert_true(any_request(&r));
        assert_false(r.fields.batch);
        assert_int_equal(r.body_size, 50 + (r.cookie - cookies[0]));
        assert_int_equal(strlen(r.id), 32); /* its own id, from the item */
        answer(&r, r.cookie == cookies[1] ? SALVO_RESPONSE_MESSAGE_ILLEGAL : 0);
    }
    assert_false(any_request(&r));
    turns(2);
    expect(cookies[0], SALVO_OK, SALVO_STORED_YES, 2);
    expect(cookies[1], SALVO_REFUSED, SALVO_STORED_NO, 2);
    expect(cookies[2], SALVO_OK, SALVO_STORED_YES, 2);
    assert_int_equal(salvo_counter_get(f.counters, SALVO_LANE_REQUESTS_SPLIT), 1);
}

/* Each item has its own offsets: queue offsets count up, ids come as a list. */
static void a_batch_answer_is_shared_out(void **state)
{
    static struct request batch;
    struct salvo_header header = {.version = 479, .flag = 1};
    struct salvo_net_event *e;
    uint32_t cookies[2];

    (void)state;
    f.conf.batch.mode = SALVO_BATCH_MODE_NATURAL;
    start();
    for (int i = 0; i < 2; i++)
        cookies[i] = submit(0, 50);
    turn();
    assert_true(any_request(&batch));
    header.opaque = batch.opaque;
    salvo_header_add(&header, "msgId",
                     SALVO_TEXT("0A00000200002A9F0000000000000ABC,"
                                "0A00000200002A9F0000000000000DEF"));
    salvo_header_add(&header, "queueId", SALVO_TEXT("1"));
    salvo_header_add(&header, "queueOffset", SALVO_TEXT("5"));
    e = push_event(SALVO_NET_DATA, batch.link);
    e->data.bytes = net.buffers[0];
    e->data.size =
        (uint32_t)salvo_frame_write(net.buffers[0], 512, SALVO_HEADER_BINARY, &header, NULL, 0);
    net.buffers_out++;
    turn();
    for (int i = 0; i < 2; i++) {
        expect(cookies[i], SALVO_OK, SALVO_STORED_YES, 1);
        assert_int_equal(f.got[cookies[i]].slot.queue_offset, 5 + i);
        assert_int_equal(f.got[cookies[i]].slot.commit_log_offset, i == 0 ? 0xabc : 0xdef);
    }
}

static void linger_gathers_until_due(void **state)
{
    static struct request r;
    uint32_t first;

    (void)state;
    f.conf.batch.mode = SALVO_BATCH_MODE_LINGER;
    f.conf.batch.linger_ns = 10 * MS;
    start();
    first = submit(0, 50);
    turn();
    pass_ms(5);
    submit(0, 50);
    pass_ms(4);
    assert_false(any_request(&r));
    pass_ms(1);
    assert_true(any_request(&r));
    assert_true(r.fields.batch);
    assert_int_equal(r.cookie, first);
    answer(&r, 0);
    turn();
    expect(first, SALVO_OK, SALVO_STORED_YES, 1);
    expect(first + 1, SALVO_OK, SALVO_STORED_YES, 1);
}

/* A batch that is due and finds every window full must not keep the lane from sleeping. */
static void a_batch_that_cannot_go_lets_the_lane_sleep(void **state)
{
    static struct request r;

    (void)state;
    f.conf.batch.mode = SALVO_BATCH_MODE_LINGER;
    f.conf.batch.linger_ns = 2 * MS;
    f.conf.window = 1;
    start();
    for (int i = 0; i < 3; i++) {
        submit(0, 50);
        pass_ms(3);
    }
    assert_int_equal(f.lane.batches.count, 1);
    assert_true(salvo_lane_next_ns(&f.lane, f.clock.mono_now_ns) > 100 * MS);
    for (int i = 0; i < 3; i++) {
        assert_true(any_request(&r));
        answer(&r, 0);
        turns(2);
    }
    expect(2, SALVO_OK, SALVO_STORED_YES, 1);
}

/* --- a full window ---------------------------------------------------------------------------- */

/* Whether a lane that is sent to sleep now waits for the network. */
static bool sleeps(void)
{
    unsigned before = net.waits;

    salvo_lane_sleep(&f.lane, 1, 0, MS, true);
    return net.waits != before;
}

static void a_ring_that_cannot_be_taken_from_lets_the_lane_sleep(void **state)
{
    static struct request r;
    uint32_t first;

    (void)state;
    f.conf.window = 1;
    start();
    first = submit(0, 50);
    for (int i = 0; i < 4; i++)
        submit(0, 50);
    assert_false(sleeps());
    turns(2);
    assert_int_equal(f.lane.open, 2); /* one to each broker; three stay in the ring */
    assert_true(sleeps());
    submit(0, 50); /* is news, once */
    assert_false(sleeps());
    turn();
    assert_true(sleeps());
    for (int i = 0; i < 6; i++) {
        assert_true(any_request(&r));
        answer(&r, 0);
        turns(2);
    }
    for (uint32_t i = first; i < first + 6; i++)
        expect(i, SALVO_OK, SALVO_STORED_YES, 1);
}

static void a_message_at_the_front_of_its_ring_ends_at_its_own_deadline(void **state)
{
    struct salvo_msg *m;
    uint32_t front;

    (void)state;
    f.conf.window = 1;
    start();
    submit(0, 50);
    submit(0, 50);
    turns(2);
    m = claim(0, 0, 50);
    m->slot->budget_ns = 20 * MS;
    front = commit(m);
    turns(2);
    assert_int_equal(salvo_lane_next_ns(&f.lane, f.clock.mono_now_ns), 20 * MS);
    salvo_clock_manual_advance(&f.clock, 20 * MS);
    turn();
    expect(front, SALVO_TIMED_OUT_UNSENT, SALVO_STORED_NO, 0);
    assert_true(salvo_lane_next_ns(&f.lane, f.clock.mono_now_ns) > 100 * MS);
}

/* --- order ------------------------------------------------------------------------------------ */

static void ordered_messages_go_one_at_a_time(void **state)
{
    static struct request r;

    (void)state;
    start();
    for (int i = 0; i < 6; i++)
        submit_shard(0, 8);
    for (uint32_t i = 0; i < 6; i++) {
        turns(2);
        assert_true(any_request(&r));
        assert_int_equal(r.cookie, i);
        turns(2);
        {
            static struct request more;
            assert_false(any_request(&more));
        }
        if (i == 2) { /* tried again in place, nobody overtakes */
            answer(&r, SALVO_RESPONSE_SYSTEM_ERROR);
            pass_ms(100);
            assert_true(any_request(&r));
            assert_int_equal(r.cookie, i);
        }
        answer(&r, 0);
    }
    turn();
    for (uint32_t i = 0; i < 6; i++)
        expect(i, SALVO_OK, SALVO_STORED_YES, i == 2 ? 2 : 1);
}

/* Shards 8 and 12 share a queue: when one of 8 fails for good, 12 goes on. */
static void a_failed_shard_fails_alone(void **state)
{
    static struct request r;
    uint32_t bad, behind, other, elsewhere;

    (void)state;
    for (int batched = 0; batched < 2; batched++) {
        if (batched) {
            assert_int_equal(teardown(NULL), 0);
            setup(NULL);
            f.conf.batch.mode = SALVO_BATCH_MODE_NATURAL;
        }
        start();
        bad = submit_shard(0, 8);
        turns(2);
        behind = submit_shard(0, 8);
        other = submit_shard(0, 12);
        elsewhere = submit_shard(1, 8); /* another submitter's order is its own */
        turns(2);
        assert_true(any_request(&r));
        assert_int_equal(r.cookie, bad);
        answer(&r, SALVO_RESPONSE_MESSAGE_ILLEGAL);
        turns(2);
        expect(bad, SALVO_REFUSED, SALVO_STORED_NO, 1);
        expect(behind, SALVO_UNSENT_EARLIER_FAILED, SALVO_STORED_NO, 0);
        while (any_request(&r)) {
            assert_int_not_equal(r.cookie, behind);
            answer(&r, 0);
            turns(2);
        }
        expect(other, SALVO_OK, SALVO_STORED_YES, 1);
        expect(elsewhere, SALVO_OK, SALVO_STORED_YES, 1);
    }
}

/* ... and so does what was committed before the submitter could know, and is still in its ring. */
static void a_failure_holds_for_what_is_in_the_ring_until_it_is_polled(void **state)
{
    static struct request r;
    uint32_t bad, behind, other, elsewhere, anew;

    (void)state;
    for (int batched = 0; batched < 2; batched++) {
        if (batched) {
            assert_int_equal(teardown(NULL), 0);
            setup(NULL);
            f.conf.batch.mode = SALVO_BATCH_MODE_NATURAL;
        }
        start();
        bad = submit_shard(0, 8);
        turns(2);
        assert_true(any_request(&r));
        assert_int_equal(r.cookie, bad);
        answer(&r, SALVO_RESPONSE_MESSAGE_ILLEGAL);
        behind = submit_shard(0, 8); /* seen by the same turn as the answer */
        other = submit_shard(0, 12);
        elsewhere = submit_shard(1, 8);
        turn();
        expect(bad, SALVO_REFUSED, SALVO_STORED_NO, 1);
        expect(behind, SALVO_UNSENT_EARLIER_FAILED, SALVO_STORED_NO, 0);
        assert_string_equal(f.got[behind].detail, "an earlier message of its shard failed");
        anew = submit_shard(0, 8); /* both results were polled */
        turns(2);
        while (any_request(&r)) {
            answer(&r, 0);
            turns(2);
        }
        expect(other, SALVO_OK, SALVO_STORED_YES, 1);
        expect(elsewhere, SALVO_OK, SALVO_STORED_YES, 1);
        expect(anew, SALVO_OK, SALVO_STORED_YES, 1);
    }
}

/* Its time may also be up in the ring, or in a batch that could not go. */
static void a_failure_before_the_first_byte_holds_too(void **state)
{
    static struct request r;
    struct salvo_msg *m;
    uint32_t late, behind;

    (void)state;
    for (int batched = 0; batched < 2; batched++) {
        if (batched) {
            assert_int_equal(teardown(NULL), 0);
            setup(NULL);
            f.conf.batch.mode = SALVO_BATCH_MODE_LINGER;
            f.conf.batch.linger_ns = 1000 * MS;
        }
        start();
        m = claim(0, 0, 40);
        m->slot->flags |= SALVO_SLOT_SHARD;
        m->slot->shard_hash = 8;
        m->slot->budget_ns = MS;
        late = commit(m);
        if (batched)
            turn();
        salvo_clock_manual_advance(&f.clock, 2 * MS);
        salvo_lane_do_work(&f.lane); /* not polled yet */
        behind = submit_shard(0, 8);
        turns(2);
        expect(late, SALVO_TIMED_OUT_UNSENT, SALVO_STORED_NO, 0);
        expect(behind, SALVO_UNSENT_EARLIER_FAILED, SALVO_STORED_NO, 0);
        assert_false(any_request(&r));
    }
}

/* Without a route messages wait in the line of their topic, not of their queue. */
static void a_failure_holds_for_what_came_after_the_route_was_lost(void **state)
{
    static struct request r;
    struct salvo_route lost;
    struct salvo_route_topic none = {.state = SALVO_ROUTE_UNKNOWN};
    const struct salvo_route_topic *topics[2] = {&none, &none};
    uint32_t bad, behind, other;

    (void)state;
    start();
    bad = submit_shard(0, 8);
    turns(2);
    assert_true(any_request(&r));
    lost = f.route;
    lost.epoch = 2;
    lost.topics = topics;
    salvo_lane_port_publish(&f.lane.port, &lost);
    behind = submit_shard(0, 8);
    other = submit_shard(0, 12);
    turns(2);
    answer(&r, SALVO_RESPONSE_MESSAGE_ILLEGAL);
    turns(2);
    expect(bad, SALVO_REFUSED, SALVO_STORED_NO, 1);
    expect(behind, SALVO_UNSENT_EARLIER_FAILED, SALVO_STORED_NO, 0);
    f.route.epoch = 3;
    salvo_lane_port_publish(&f.lane.port, &f.route);
    turns(3);
    assert_true(any_request(&r));
    assert_int_equal(r.cookie, other);
    answer(&r, 0);
    turns(2);
    expect(other, SALVO_OK, SALVO_STORED_YES, 1);
}

/* The failures come in order; who commits each again as it is polled has them stored in order. */
static void failed_messages_may_be_submitted_again_one_by_one(void **state)
{
    static struct request r;
    struct salvo_submitter *s = &f.submitters[0];
    const struct salvo_result_slot *result;
    uint32_t first = 0, again[4], n = 0;

    (void)state;
    f.conf.batch.mode = SALVO_BATCH_MODE_NATURAL;
    f.conf.tries_max = 1;
    start();
    for (int i = 0; i < 4; i++) { /* two in a frame, one behind it, one in the ring */
        uint32_t cookie = submit_shard(0, 8);

        first = i == 0 ? cookie : first;
        if (i == 1 || i == 2)
            turns(2);
        if (i == 2) {
            assert_true(any_request(&r));
            assert_int_equal(r.cookie, first);
            answer(&r, SALVO_RESPONSE_SYSTEM_ERROR);
        }
    }
    salvo_lane_do_work(&f.lane);
    while ((result = salvo_submitter_result(s)) != NULL) {
        assert_int_equal(result->cookie, first + n);
        assert_int_not_equal(result->stored, SALVO_STORED_YES);
        f.got[result->cookie].count++;
        again[n++] = submit_shard(0, 8);
        salvo_submitter_result_done(s, result);
        salvo_submitter_results_release(s);
        salvo_lane_do_work(&f.lane);
    }
    assert_int_equal(n, 4);
    n = 0;
    turns(2);
    while (any_request(&r)) {
        assert_int_equal(r.cookie, again[n]);
        while (n < 4 && again[n] < r.cookie + (r.fields.batch ? 4 : 1))
            n++;
        answer(&r, 0);
        turns(2);
    }
    for (int i = 0; i < 4; i++)
        expect(again[i], SALVO_OK, SALVO_STORED_YES, 1);
}

/* A slow queue's line may not use up what every other queue needs. */
static void a_message_that_waits_in_its_line_too_long_is_told_so(void **state)
{
    (void)state;
    start();
    submit_shard(0, 8); /* is sent, and never answered */
    for (int i = 0; i < 2; i++) {
        struct salvo_msg *m = claim(0, 0, 40);

        m->slot->flags |= SALVO_SLOT_SHARD;
        m->slot->shard_hash = 8;
        m->slot->budget_ns = 50 * MS;
        commit(m);
    }
    turns(2);
    pass_ms(60);
    expect(1, SALVO_TIMED_OUT_UNSENT, SALVO_STORED_NO, 0);
    assert_non_null(strstr(f.got[1].detail, "ordered messages before it"));
}

static void a_long_line_does_not_stop_the_others(void **state)
{
    static struct request r;
    uint32_t cookie;

    (void)state;
    start();
    for (int i = 0; i < 200; i++)
        submit_shard(0, 8);
    turns(10);
    {
        struct salvo_msg *m = claim(1, 0, 40);

        m->slot->flags |= SALVO_SLOT_PINNED;
        m->slot->queue_index = 3;
        cookie = commit(m);
    }
    turns(3);
    assert_true(next_request(1, &r) && r.cookie == cookie);
    answer(&r, 0);
    turn();
    expect(cookie, SALVO_OK, SALVO_STORED_YES, 1);
}

/* --- shortage and the end --------------------------------------------------------------------- */

/* More than the chunks hold: nothing is lost, and all goes as answers and releases come. */
static void short_chunks_only_hold_up(void **state)
{
    static struct request r;
    unsigned seen = 0;

    (void)state;
    start();
    for (int i = 0; i < 40; i++)
        submit(0, 3 * CHUNK);
    for (int round = 0; round < 400 && seen < 40; round++) {
        turn();
        while (any_request(&r)) {
            struct fake_link *l = &net.links[r.link];

            seen++;
            answer(&r, 0);
            push_event(SALVO_NET_RELEASED, r.link)->released.bytes = l->taken - l->released;
            l->released = l->taken;
        }
    }
    turn();
    assert_int_equal(seen, 40);
    assert_true(salvo_counter_get(f.counters, SALVO_LANE_CHUNKS_SHORT) != 0);
    for (uint32_t i = 0; i < 40; i++)
        expect(i, SALVO_OK, SALVO_STORED_YES, 1);
}

static void the_drain_gives_every_message_its_result(void **state)
{
    static struct request r;
    uint32_t sent, waiting, lined, ringed;

    (void)state;
    start();
    sent = submit(0, 50);
    turn();
    assert_true(any_request(&r));
    waiting = submit(1, 50);
    submit_shard(0, 8);
    lined = submit_shard(0, 8);
    turns(2);
    drain(f.clock.mono_now_ns + 100 * MS);
    turn();
    assert_int_equal(f.drained, 0);
    pass_ms(99);
    assert_int_equal(f.got[sent].count, 0);
    ringed = submit(0, 50); /* committed just before the inputs were closed, say */
    salvo_clock_manual_advance(&f.clock, MS);
    turn();
    expect(sent, SALVO_TIMED_OUT, SALVO_STORED_UNKNOWN, 1);
    expect(waiting, SALVO_UNSENT_STOPPED, SALVO_STORED_NO, 0);
    assert_int_equal(f.got[lined].slot.stored, SALVO_STORED_NO);
    expect(ringed, SALVO_UNSENT_STOPPED, SALVO_STORED_NO, 0);
    turn();
    assert_int_equal(f.drained, 1);
}

static void a_drain_of_nothing_is_done_at_once(void **state)
{
    (void)state;
    start();
    drain(f.clock.mono_now_ns + 100000 * MS);
    turn();
    assert_int_equal(f.drained, 1);
}

#define LANE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LANE_TEST(a_good_answer_fills_every_field),
        LANE_TEST(a_refused_try_goes_to_the_other_broker),
        LANE_TEST(after_the_last_try_the_brokers_word_is_given),
        LANE_TEST(a_brokers_word_is_shown_without_escapes),
        LANE_TEST(a_pinned_message_stays_on_its_queue),
        LANE_TEST(an_answer_after_its_try_was_given_up_is_late),
        LANE_TEST(silence_until_the_budget_is_spent_is_unknown),
        LANE_TEST(a_frame_that_was_not_begun_is_not_sent),
        LANE_TEST(a_frame_that_was_begun_may_be_stored),
        LANE_TEST(death_tells_sent_from_not_sent),
        LANE_TEST(a_lost_try_goes_to_the_other_broker),
        LANE_TEST(rubbish_costs_one_connection),
        LANE_TEST(messages_without_a_route_wait_for_it),
        LANE_TEST(a_connection_that_cannot_be_begun_is_told_with_the_cause),
        LANE_TEST(a_broker_that_leaves_may_answer_what_is_in_flight),
        LANE_TEST(a_broker_that_leaves_is_not_waited_for_while_connecting),
        LANE_TEST(a_broker_that_moves_is_connected_to_where_it_is_now),
        LANE_TEST(no_route_in_time_is_said),
        LANE_TEST(a_queue_that_is_not_there_is_said_at_once),
        LANE_TEST(a_refused_batch_is_taken_apart),
        LANE_TEST(a_batch_answer_is_shared_out),
        LANE_TEST(linger_gathers_until_due),
        LANE_TEST(a_batch_that_cannot_go_lets_the_lane_sleep),
        LANE_TEST(a_ring_that_cannot_be_taken_from_lets_the_lane_sleep),
        LANE_TEST(a_message_at_the_front_of_its_ring_ends_at_its_own_deadline),
        LANE_TEST(ordered_messages_go_one_at_a_time),
        LANE_TEST(a_failed_shard_fails_alone),
        LANE_TEST(a_failure_holds_for_what_is_in_the_ring_until_it_is_polled),
        LANE_TEST(a_failure_before_the_first_byte_holds_too),
        LANE_TEST(a_failure_holds_for_what_came_after_the_route_was_lost),
        LANE_TEST(failed_messages_may_be_submitted_again_one_by_one),
        LANE_TEST(a_message_that_waits_in_its_line_too_long_is_told_so),
        LANE_TEST(a_long_line_does_not_stop_the_others),
        LANE_TEST(short_chunks_only_hold_up),
        LANE_TEST(the_drain_gives_every_message_its_result),
        LANE_TEST(a_drain_of_nothing_is_done_at_once),
    };

    return cmocka_run_group_tests_name("dataplane/lane", tests, NULL, NULL);
}
