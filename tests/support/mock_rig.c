/* The rig of the mock's tests: see mock_rig.h. */
#include "tests/support/mock_rig.h"

#define RIG_DEADLINE_NS (10 * SALVO_NS_PER_S)
#define RIG_SIM_STEP_NS (100 * SALVO_NS_PER_MS)

void rig_conf(struct salvo_mock_conf *conf)
{
    salvo_mock_conf_default(conf);
    conf->remember_max = 4096;
    conf->connections_max = 16;
    conf->net = "epoll";
    snprintf(conf->topics[0].name, sizeof(conf->topics[0].name), "T");
    conf->topics[0].queues = 4;
    conf->topics_count = 1;
}

static void rig_open_net(struct rig *rig, uint32_t host, struct salvo_net **ret_net)
{
    struct salvo_net_conf net_conf;

    salvo_net_conf_default(&net_conf, rig->clock);
    net_conf.links_max = 32;
    net_conf.receive_buffers = 64;
    net_conf.receive_buffer_size = 4096;
    assert_int_equal(rig->sim ? salvo_net_sim_open(rig->world, host, &net_conf, ret_net)
                              : salvo_net_epoll_open(&net_conf, ret_net),
                     0);
}

void rig_open(struct rig *rig, void **state, struct salvo_mock_conf *conf)
{
    static struct salvo_mock_conf own; /* large */
    struct salvo_net *nets[SALVO_MOCK_HOSTS_MAX];
    char errbuf[256] = "";

    memset(rig, 0, sizeof(*rig));
    rig->sim = strcmp(*state, "sim") == 0;
    if (conf == NULL) {
        rig_conf(&own);
        conf = &own;
    }
    if (rig->sim) {
        struct salvo_sim_conf sim_conf;

        salvo_sim_conf_default(&sim_conf, 4711);
        assert_int_equal(salvo_sim_world_new(&sim_conf, &rig->world), 0);
        rig->clock = salvo_sim_world_clock(rig->world);
        for (uint32_t i = 0; i < conf->nameservers + conf->brokers; i++)
            rig_open_net(rig, i, &nets[i]);
        conf->nets = nets;
        conf->clock = rig->clock;
    } else {
        rig->clock = salvo_clock_system();
    }
    rig_open_net(rig, SALVO_MOCK_HOSTS_MAX, &rig->net);
    if (salvo_mock_new(conf, &rig->mock, errbuf, sizeof(errbuf)) ||
        salvo_mock_start(rig->mock, errbuf, sizeof(errbuf)))
        fail_msg("%s", errbuf);
    conf->nets = NULL;
    rig->out = malloc(RIG_OUT_MAX);
    assert_non_null(rig->out);
}

void rig_close(struct rig *rig)
{
    salvo_net_destroy(rig->net);
    salvo_mock_free(rig->mock);
    if (rig->sim)
        salvo_sim_world_free(rig->world);
    for (unsigned i = 0; i < RIG_LINKS_MAX; i++)
        free(rig->links[i].in);
    while (rig->kept != NULL) {
        struct rig_kept *kept = rig->kept;

        rig->kept = kept->next;
        free(kept);
    }
    free(rig->out);
}

static void rig_event(struct rig *rig, const struct salvo_net_event *event)
{
    struct rig_link *link = &rig->links[event->cookie];

    switch (event->kind) {
    case SALVO_NET_UP:
        link->up = true;
        break;
    case SALVO_NET_DATA:
        assert_true(link->in_size + event->data.size <= RIG_IN_MAX);
        memcpy(link->in + link->in_size, event->data.bytes, event->data.size);
        link->in_size += event->data.size;
        salvo_net_give_back(rig->net, event->data.buffer);
        break;
    case SALVO_NET_DOWN:
        link->up = false;
        link->down = true;
        link->reason = event->down.reason;
        break;
    case SALVO_NET_GONE:
        link->gone = true;
        break;
    default:
        break;
    }
}

void rig_turn(struct rig *rig, int64_t max_ns)
{
    struct salvo_net_event events[32];
    unsigned n;

    (void)salvo_mock_do_work(rig->mock);
    n = salvo_net_poll(rig->net, events, 32);
    for (unsigned i = 0; i < n; i++)
        rig_event(rig, &events[i]);
    salvo_net_flush(rig->net);
    if (rig->sim) {
        int64_t now_ns = salvo_clock_mono_ns(rig->clock);
        int64_t next_ns =
            SALVO_MIN(salvo_sim_world_next_ns(rig->world), salvo_mock_next_ns(rig->mock));

        next_ns = SALVO_CLAMP(next_ns, now_ns, now_ns + max_ns);
        salvo_sim_world_advance(rig->world, next_ns > now_ns ? next_ns : now_ns + 1000);
    } else if (n == 0) {
        salvo_mock_wait(rig->mock, SALVO_NS_PER_MS);
    }
}

void rig_quiet(struct rig *rig, int64_t ns)
{
    int64_t start_ns = salvo_clock_mono_ns(rig->clock);

    if (!rig->sim)
        ns = SALVO_MIN(ns, 30 * SALVO_NS_PER_MS);
    while (salvo_clock_mono_ns(rig->clock) - start_ns < ns)
        rig_turn(rig, SALVO_MIN(ns, RIG_SIM_STEP_NS));
}

#define RIG_UNTIL(rig, condition)                                                                  \
    do {                                                                                           \
        int64_t start_ns_ = salvo_clock_mono_ns((rig)->clock);                                     \
        while (!(condition)) {                                                                     \
            rig_turn((rig), RIG_SIM_STEP_NS);                                                      \
            if (salvo_clock_mono_ns((rig)->clock) - start_ns_ > RIG_DEADLINE_NS)                   \
                fail_msg("%s:%d: waited 10 s for: %s", __func__, __LINE__, #condition);            \
        }                                                                                          \
    } while (0)

unsigned rig_connect_maybe(struct rig *rig, uint32_t host)
{
    struct salvo_endpoint to = salvo_mock_host_endpoint(rig->mock, host);
    struct rig_link *link;
    unsigned i;

    for (i = 0; i < RIG_LINKS_MAX && rig->links[i].used; i++)
        ;
    assert_true(i < RIG_LINKS_MAX);
    link = &rig->links[i];
    link->used = true;
    link->in = malloc(RIG_IN_MAX);
    assert_non_null(link->in);
    assert_int_equal(salvo_net_connect(rig->net, &to, 5 * SALVO_NS_PER_S, i, &link->link), 0);
    RIG_UNTIL(rig, link->up || link->down);
    return i;
}

unsigned rig_connect(struct rig *rig, uint32_t host)
{
    unsigned i = rig_connect_maybe(rig, host);

    assert_true(rig->links[i].up);
    return i;
}

void rig_send(struct rig *rig, unsigned index, const void *bytes, size_t size)
{
    struct rig_link *link = &rig->links[index];
    struct rig_kept *kept = malloc(sizeof(*kept) + size);
    int64_t start_ns = salvo_clock_mono_ns(rig->clock);
    size_t sent = 0;

    assert_non_null(kept);
    memcpy(kept->bytes, bytes, size);
    kept->next = rig->kept;
    rig->kept = kept;
    while (sent < size && link->up) {
        struct salvo_range range = {kept->bytes + sent, size - sent};

        sent += salvo_net_send(rig->net, link->link, &range, 1);
        if (sent < size)
            rig_turn(rig, RIG_SIM_STEP_NS);
        if (salvo_clock_mono_ns(rig->clock) - start_ns > RIG_DEADLINE_NS)
            fail_msg("%s: the host took %zu of %zu bytes", __func__, sent, size);
    }
    salvo_net_flush(rig->net);
}

static bool rig_has_frame(const struct rig_link *link, struct salvo_frame *ret_frame)
{
    const char *why;

    return salvo_frame_parse(link->in, link->in_size, SALVO_FRAME_SIZE_MAX, ret_frame, &why) == 0;
}

void rig_answer_take(struct rig *rig, unsigned index, struct rig_answer *ret_answer)
{
    struct rig_link *link = &rig->links[index];
    struct salvo_frame frame;
    const char *why;

    RIG_UNTIL(rig, rig_has_frame(link, &frame) || link->down);
    assert_true(rig_has_frame(link, &frame));
    ret_answer->bytes = malloc(frame.size);
    ret_answer->scratch = malloc(frame.header_size + 1);
    assert_non_null(ret_answer->bytes);
    assert_non_null(ret_answer->scratch);
    memcpy(ret_answer->bytes, link->in, frame.size);
    link->in_size -= frame.size;
    memmove(link->in, link->in + frame.size, link->in_size);
    assert_int_equal(salvo_frame_parse(ret_answer->bytes, frame.size, SALVO_FRAME_SIZE_MAX,
                                       &ret_answer->frame, &why),
                     0);
    assert_int_equal(salvo_header_read(&ret_answer->header, frame.form, ret_answer->frame.header,
                                       frame.header_size, ret_answer->scratch,
                                       frame.header_size + 1),
                     0);
    assert_true(ret_answer->header.flag & SALVO_REMOTING_RESPONSE);
}

void rig_answer_free(struct rig_answer *answer)
{
    free(answer->bytes);
    free(answer->scratch);
}

void rig_expect_down(struct rig *rig, unsigned index)
{
    struct rig_link *link = &rig->links[index];
    struct salvo_frame frame;

    RIG_UNTIL(rig, link->down);
    assert_false(rig_has_frame(link, &frame));
}

void rig_expect_silence(struct rig *rig, unsigned index, int64_t ns)
{
    rig_quiet(rig, ns);
    assert_int_equal(rig->links[index].in_size, 0);
    assert_true(rig->links[index].up);
}

size_t rig_request(struct rig *rig, enum salvo_header_form form, int32_t code, int32_t opaque,
                   const char *key, const char *value, const void *body, size_t body_size)
{
    struct salvo_header header = {
        .code = code, .language = SALVO_LANGUAGE_CPP, .version = 479, .opaque = opaque};
    ssize_t size;

    if (key != NULL)
        assert_true(salvo_header_add(&header, key, salvo_text_of(value)));
    size = salvo_frame_write(rig->out, RIG_OUT_MAX, form, &header, body, (uint32_t)body_size);
    assert_true(size > 0);
    return (size_t)size;
}

void rig_ask(struct rig *rig, unsigned link, int32_t code, const char *key, const char *value,
             struct rig_answer *ret_answer)
{
    rig_send(rig, link, rig->out,
             rig_request(rig, SALVO_HEADER_BINARY, code, 7, key, value, NULL, 0));
    rig_answer_take(rig, link, ret_answer);
    assert_int_equal(ret_answer->header.opaque, 7);
}

struct salvo_send_fields rig_fields(const char *topic, const char *properties)
{
    return (struct salvo_send_fields){
        .code = SALVO_REQUEST_SEND_MESSAGE_V2,
        .language = SALVO_LANGUAGE_CPP,
        .version = 479,
        .producerGroup = SALVO_TEXT("PG"),
        .topic = salvo_text_of(topic),
        .defaultTopic = SALVO_TEXT("TBW102"),
        .defaultTopicQueueNums = 4,
        .bornTimestamp = 1700000000000,
        .properties = salvo_text_of(properties),
        .maxReconsumeTimes = -1,
    };
}

void rig_send_message(struct rig *rig, unsigned link, const struct salvo_send_fields *fields,
                      int32_t opaque, const void *body, size_t body_size)
{
    ssize_t size = salvo_send_write(rig->out, RIG_OUT_MAX - body_size, SALVO_HEADER_BINARY, fields,
                                    opaque, false, (uint32_t)body_size);

    assert_true(size > 0);
    if (body_size > 0)
        memcpy(rig->out + size, body, body_size);
    rig_send(rig, link, rig->out, (size_t)size + body_size);
}

int32_t rig_send_code(struct rig *rig, unsigned link, const struct salvo_send_fields *fields,
                      const void *body, size_t body_size)
{
    struct rig_answer answer;
    int32_t code;

    rig_send_message(rig, link, fields, 1000000007, body, body_size);
    rig_answer_take(rig, link, &answer);
    assert_int_equal(answer.header.opaque, 1000000007);
    code = answer.header.code;
    if (code != SALVO_RESPONSE_SUCCESS)
        assert_true(answer.header.remark.size > 0);
    rig_answer_free(&answer);
    return code;
}
