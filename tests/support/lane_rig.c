/* See lane_rig.h. */
#include "tests/support/lane_rig.h"

#include <stdio.h>

struct rig rig;
struct rig_net rig_net;

/* --- the net ---------------------------------------------------------------------------------- */

static uint8_t wires[RIG_LINKS][RIG_WIRE_MAX];

struct salvo_net_event *rig_push_event(enum salvo_net_event_kind kind, uint32_t link)
{
    struct salvo_net_event *e =
        &rig_net.events[(rig_net.events_first + rig_net.events_count++) % RIG_EVENTS];

    assert_true(rig_net.events_count <= RIG_EVENTS);
    *e = (struct salvo_net_event){.kind = kind, .link = link, .cookie = rig_net.links[link].cookie};
    return e;
}

void rig_link_dies(uint32_t link, enum salvo_net_down reason, uint64_t handed_over)
{
    struct rig_link *l = &rig_net.links[link];
    struct salvo_net_event *e = rig_push_event(SALVO_NET_DOWN, link);

    assert_false(l->down);
    e->down.reason = reason;
    e->down.handed_over = handed_over;
    l->down = true;
    rig_push_event(SALVO_NET_RELEASED, link)->released.bytes = l->taken - l->released;
    l->released = l->taken;
    rig_push_event(SALVO_NET_GONE, link);
}

static int fake_connect(struct salvo_net *self, const struct salvo_endpoint *to, int64_t timeout_ns,
                        uint64_t cookie, uint32_t *ret_link)
{
    uint32_t link = rig_net.links_count;
    struct rig_link *l = &rig_net.links[link];

    (void)self;
    (void)timeout_ns;
    if (rig_net.error != 0)
        return -rig_net.error;
    assert_true(link < RIG_LINKS);
    *l = (struct rig_link){
        .used = true, .cookie = cookie, .wire = wires[link], .room = rig_net.room};
    l->broker = (uint32_t)ntohs(to->v4.sin_port) - 1000;
    rig_net.links_count++;
    *ret_link = link;
    if (rig_net.refuse) {
        rig_link_dies(link, SALVO_NET_DOWN_REFUSED, 0);
    } else if (!rig_net.pend) {
        l->up = true;
        rig_push_event(SALVO_NET_UP, link);
    }
    return 0;
}

static size_t fake_send(struct salvo_net *self, uint32_t link, const struct salvo_range *ranges,
                        unsigned ranges_count)
{
    struct rig_link *l = &rig_net.links[link];
    size_t taken = 0;

    (void)self;
    assert_true(l->up && !l->down);
    for (unsigned i = 0; i < ranges_count; i++) {
        size_t here = SALVO_MIN(ranges[i].size, l->room);

        assert_true(l->taken + here <= RIG_WIRE_MAX);
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
    assert_true(rig_net.buffers_out-- != 0);
}

static unsigned fake_poll(struct salvo_net *self, struct salvo_net_event *ret_events,
                          unsigned events_max)
{
    unsigned n = SALVO_MIN(events_max, rig_net.events_count);

    (void)self;
    for (unsigned i = 0; i < n; i++)
        ret_events[i] = rig_net.events[(rig_net.events_first + i) % RIG_EVENTS];
    rig_net.events_first = (rig_net.events_first + n) % RIG_EVENTS;
    rig_net.events_count -= n;
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
    rig_net.waits++;
}

static void fake_close(struct salvo_net *self, uint32_t link)
{
    (void)self;
    if (!rig_net.links[link].down)
        rig_link_dies(link, SALVO_NET_DOWN_CLOSED, rig_net.links[link].taken);
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

uint32_t rig_link_to(uint32_t broker)
{
    for (uint32_t i = rig_net.links_count; i-- > 0;)
        if (rig_net.links[i].broker == broker && rig_net.links[i].up && !rig_net.links[i].down)
            return i;
    fail_msg("no link to broker %u", broker);
    return 0;
}

/* --- the lane --------------------------------------------------------------------------------- */

static void month(int64_t ms, int64_t *ret_start_ms, int64_t *ret_end_ms)
{
    *ret_start_ms = ms - ms % 2592000000;
    *ret_end_ms = *ret_start_ms + 2592000000;
}

/* Topic 0 has a route: queue i is on broker i / 2 with queueId i % 2. Topic 1 has none. */
static void make_route(void)
{
    rig.fields = (struct salvo_send_fields){
        .code = SALVO_REQUEST_SEND_MESSAGE_V2,
        .version = 479,
        .producerGroup = SALVO_TEXT("G"),
        .topic = SALVO_TEXT("T"),
        .defaultTopic = SALVO_TEXT("TBW102"),
        .defaultTopicQueueNums = 8,
        .maxReconsumeTimes = -1,
    };
    for (uint32_t q = 0; q < RIG_QUEUES; q++) {
        for (uint32_t kind = 0; kind < SALVO_TEMPLATE_KINDS; kind++) {
            struct salvo_send_fields fields = rig.fields;

            fields.queueId = (int32_t)q % 2;
            fields.batch = kind >= SALVO_TEMPLATE_BATCH;
            fields.code = fields.batch ? SALVO_REQUEST_SEND_BATCH_MESSAGE : fields.code;
            assert_int_equal(
                salvo_send_template_init(&rig.templates[q][kind], rig.conf.form, &fields, false),
                0);
        }
        rig.topics[0].topic.queues[q] = (struct salvo_route_queue){
            .queue = q, .broker = q / 2, .queueId = (int32_t)q % 2, .templates = rig.templates[q]};
    }
    rig.topics[0].topic = (struct salvo_route_topic){.state = SALVO_ROUTE_GOOD,
                                                     .topic = 0,
                                                     .fields = &rig.fields,
                                                     .queues_count = RIG_QUEUES,
                                                     .brokers_count = RIG_BROKERS};
    rig.topics[1] = rig.topics[0];
    rig.topics[1].topic.topic = 1;
    rig.topic_list[0] = &rig.topics[0].topic;
    rig.topic_list[1] = NULL;
    for (uint32_t i = 0; i < RIG_BROKERS; i++) {
        rig.brokers[i] = (struct salvo_route_broker){
            .used = true, .has_endpoint = true, .generation = 1, .name = i == 0 ? "a" : "b"};
        rig.brokers[i].endpoint.v4.sin_family = AF_INET;
        rig.brokers[i].endpoint.v4.sin_port = htons((uint16_t)(1000 + i));
    }
    rig.route = (struct salvo_route){.epoch = 1,
                                     .topics_count = 2,
                                     .topics = rig.topic_list,
                                     .brokers_count = RIG_BROKERS,
                                     .brokers = rig.brokers};
}

int rig_setup(void **state)
{
    (void)state;
    memset(&rig, 0, sizeof(rig));
    memset(&rig_net, 0, sizeof(rig_net));
    rig_net.head = (struct salvo_net_head){.magic = SALVO_NET_MAGIC, .ops = &fake_ops};
    rig_net.room = SIZE_MAX;
    salvo_clock_manual_init(&rig.clock, SALVO_NS_PER_S, INT64_C(1700000000000));
    rig.conf = (struct salvo_lane_conf){
        .clock = &rig.clock.clock,
        .net = (struct salvo_net *)&rig_net,
        .submitters = rig.submitters,
        .submitters_max = 2,
        .submitters_epoch = &rig.epoch,
        .availability = rig.availability,
        .counters = rig.counters,
        .seed = 1,
        .requests_max = 64,
        .items_max = 256,
        .chunks_max = RIG_CHUNKS,
        .chunk_size = RIG_CHUNK,
        .chunks_reserve = 8,
        .topics_max = 2,
        .brokers_max = RIG_BROKERS,
        .queues_max = RIG_QUEUES,
        .gather_max = 4096,
        .frame_size_max = 65536,
        .window = 16,
        .form = SALVO_HEADER_BINARY,
        .batch = {.mode = SALVO_BATCH_MODE_OFF,
                  .bytes_max = 2048,
                  .count_max = 8,
                  .open_max = RIG_BATCHES,
                  .linger_ns = 0},
        .tries_max = 3,
        .try_timeout_ns = 1000 * MS,
        .connect_timeout_ns = 1000 * MS,
        .heartbeat_ns = 1000000 * MS,
    };
    return 0;
}

void rig_turn(void)
{
    const struct salvo_event *event;

    salvo_alloc_forbid(true);
    salvo_lane_do_work(&rig.lane);
    salvo_alloc_forbid(false);
    while ((event = salvo_lane_port_event(&rig.lane.port)) != NULL) {
        rig.route_wanted += event->kind == SALVO_EVENT_ROUTE_WANTED && event->topic == 1;
        rig.frame_errors += event->kind == SALVO_EVENT_FRAME_ERROR;
        rig.drained += event->kind == SALVO_EVENT_DRAINED;
        rig.streams_closed += event->kind == SALVO_EVENT_STREAM_CLOSED;
        if (event->kind == SALVO_EVENT_CONNECTION_DOWN) {
            rig.connections_down++;
            rig.down_code = event->code;
        }
        rig.dropped += event->kind == SALVO_EVENT_BROKER_DROPPED && event->broker == 1;
        salvo_lane_port_event_done(&rig.lane.port);
    }
    for (int i = 0; i < 2; i++) {
        const struct salvo_result_slot *result;

        while ((result = salvo_submitter_result(&rig.submitters[i])) != NULL) {
            struct rig_got *got = &rig.got[result->cookie];

            got->count++;
            got->slot = *result;
            if (result->detail != 0)
                snprintf(got->detail, sizeof(got->detail), "%s",
                         rig.submitters[i].details[result->detail - 1]);
            salvo_submitter_result_done(&rig.submitters[i], result);
        }
        salvo_submitter_results_release(&rig.submitters[i]);
    }
}

void rig_turns(unsigned n)
{
    while (n-- != 0)
        rig_turn();
}

void rig_pass_ms(unsigned ms)
{
    while (ms-- != 0) {
        salvo_clock_manual_advance(&rig.clock, MS);
        rig_turn();
    }
}

void rig_start(void)
{
    struct salvo_submitter_conf conf = {
        .ring_size = SALVO_MIB(1),
        .messages_out_max = RIG_MESSAGES,
        .body_size_max = RIG_BODY_MAX,
        .timeout_ns = RIG_BUDGET_MS * MS,
        .clock = &rig.clock.clock,
        .month = month,
        .ip = (const uint8_t *)"\x0a\0\0\x01",
        .ip_size = 4,
    };

    make_route();
    assert_int_equal(
        salvo_arena_init(&rig.arena,
                         salvo_lane_memory_size(&rig.conf) +
                             2 * salvo_arena_cost(salvo_submitter_memory_size(&conf), 64),
                         false),
        0);
    assert_in_range(salvo_lane_chunks_memory_size(&rig.conf), 1, sizeof(rig.chunk_bytes));
    assert_int_equal(salvo_lane_init(&rig.lane, &rig.conf, &rig.arena, rig.chunk_bytes), 0);
    for (uint32_t i = 0; i < 2; i++) {
        conf.index = i;
        conf.mid = i;
        assert_int_equal(salvo_submitter_init(
                             &rig.submitters[i], &conf,
                             salvo_arena_take(&rig.arena, salvo_submitter_memory_size(&conf), 64),
                             NULL, &rig.draining),
                         0);
        assert_true(salvo_submitter_take(&rig.submitters[i], &rig.lane.port));
    }
    salvo_lane_port_publish(&rig.lane.port, &rig.route);
    rig_turns(3);
    if (!rig_net.refuse)
        assert_int_equal(rig_net.links_count, RIG_BROKERS);
}

void rig_drain(int64_t deadline_ns)
{
    struct salvo_command command = {.kind = SALVO_COMMAND_DRAIN, .deadline_ns = deadline_ns};

    assert_int_equal(salvo_lane_port_command(&rig.lane.port, &command), 0);
}

int rig_teardown(void **state)
{
    const char *left;

    (void)state;
    rig_net.refuse = true;
    rig_drain(rig.clock.mono_now_ns);
    rig_turns(3);
    for (uint32_t i = 0; i < rig_net.links_count; i++)
        if (!rig_net.links[i].down)
            rig_link_dies(i, SALVO_NET_DOWN_RESET, rig_net.links[i].taken);
    rig_turns(3);
    left = salvo_lane_leftovers(&rig.lane);
    if (left != NULL)
        print_error("left over: %s\n", left);
    assert_null(left);
    assert_int_equal(rig_net.buffers_out, 0);
    for (uint64_t i = 0; i < rig.committed; i++)
        assert_int_equal(rig.got[i].count, 1);
    assert_true(rig.drained >= 1);
    salvo_lane_deinit(&rig.lane);
    for (int i = 0; i < 2; i++)
        salvo_submitter_deinit(&rig.submitters[i]);
    salvo_arena_deinit(&rig.arena);
    return 0;
}

/* --- messages and what the brokers see -------------------------------------------------------- */

struct salvo_msg *rig_claim(unsigned submitter, uint32_t topic, size_t size)
{
    struct salvo_msg *m = NULL;

    assert_int_equal(salvo_submitter_claim(&rig.submitters[submitter], topic, size, &m), 0);
    memset(salvo_slot_body(m->slot), 'x', size);
    memcpy(salvo_slot_body(m->slot), &rig.committed, sizeof(uint32_t));
    return m;
}

uint32_t rig_commit(struct salvo_msg *m)
{
    assert_int_equal(salvo_submitter_commit(m, m->size_max, rig.committed), 0);
    return (uint32_t)rig.committed++;
}

uint32_t rig_submit(uint32_t topic, size_t size)
{
    return rig_commit(rig_claim(0, topic, size));
}

uint32_t rig_submit_shard(unsigned submitter, uint32_t shard_hash)
{
    struct salvo_msg *m = rig_claim(submitter, 0, 40);

    m->slot->flags |= SALVO_SLOT_SHARD;
    m->slot->shard_hash = shard_hash;
    return rig_commit(m);
}

uint32_t rig_submit_pinned(uint32_t queue)
{
    struct salvo_msg *m = rig_claim(0, 0, 40);

    m->slot->flags |= SALVO_SLOT_PINNED;
    m->slot->queue_index = queue;
    return rig_commit(m);
}

bool rig_next_request(uint32_t broker, struct rig_request *ret_request)
{
    static uint8_t unescaped[SALVO_KIB(16)]; /* what the request's fields point into */

    for (uint32_t i = 0; i < rig_net.links_count; i++) {
        struct rig_link *l = &rig_net.links[i];
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
                                           unescaped, sizeof(unescaped)),
                         0);
        *ret_request = (struct rig_request){.link = i, .broker = broker, .opaque = header.opaque};
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

bool rig_any_request(struct rig_request *ret_request)
{
    return rig_next_request(0, ret_request) || rig_next_request(1, ret_request);
}

void rig_answer_opaque(uint32_t link, int32_t opaque, int32_t code, const char *remark)
{
    uint32_t buffer = rig_net.buffer_next++ % RIG_EVENTS;
    struct salvo_header header = {.code = code, .version = 479, .opaque = opaque, .flag = 1};
    struct salvo_net_event *e = rig_push_event(SALVO_NET_DATA, link);
    ssize_t size;

    if (code == 0 || (code >= 10 && code <= 12)) {
        salvo_header_add(&header, "msgId", SALVO_TEXT("0A00000200002A9F0000000000000ABC"));
        salvo_header_add(&header, "queueId", SALVO_TEXT("1"));
        salvo_header_add(&header, "queueOffset", SALVO_TEXT("77"));
    }
    if (remark != NULL)
        header.remark = salvo_text_of(remark);
    size = salvo_frame_write(rig_net.buffers[buffer], sizeof(rig_net.buffers[buffer]),
                             SALVO_HEADER_JSON, &header, NULL, 0);
    assert_true(size > 0);
    e->data.bytes = rig_net.buffers[buffer];
    e->data.size = (uint32_t)size;
    e->data.buffer = buffer;
    rig_net.buffers_out++;
}

void rig_answer(const struct rig_request *request, int32_t code)
{
    rig_answer_opaque(request->link, request->opaque, code, code == 0 ? NULL : "remark");
}

void rig_expect(uint32_t cookie, enum salvo_code code, enum salvo_stored stored, int tries)
{
    const struct rig_got *got = &rig.got[cookie];

    assert_int_equal(got->count, 1);
    assert_int_equal(got->slot.code, code);
    assert_int_equal(got->slot.stored, stored);
    assert_int_equal(got->slot.tries, tries);
}
