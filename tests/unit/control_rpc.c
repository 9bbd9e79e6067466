/* Requests and answers under everything a network may do: cuts, large answers, late ones, lies. */
#include "tests/unit/unit.h"

#include "control/rpc.h"
#include "dataplane/net_sim.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#define MS SALVO_NS_PER_MS

static struct salvo_sim_world *sim;
static struct salvo_clock *simulated;
static struct salvo_net *server_net, *client_net;
static struct salvo_rpc rpc;
static struct salvo_report report;
static struct salvo_error_log errors;
static struct salvo_log log_quiet;
static salvo_counter counters[SALVO_CONTROL_COUNTERS];
static uint32_t peer;
static int link_ups, link_downs;

/* The server keeps what came and sends what it is told, in pieces as the network takes them. */
static struct {
    uint32_t link;
    bool up;
    uint8_t in[1 << 16];
    size_t in_size;
    const uint8_t *out;
    size_t out_size;
} server;

static struct {
    int count;
    int result;
    int32_t code;
    uint64_t cookie;
    uint32_t body_size;
    uint64_t body_sum;
    char why[64];
    bool ask_again;
} last;

static void sink(void *arg, enum salvo_log_level level, const char *line)
{
}

static void link_changed(void *arg, uint64_t user, bool up, int64_t now_ns)
{
    assert_int_equal(user, 99);
    link_ups += up;
    link_downs += !up;
}

static struct salvo_endpoint endpoint(void)
{
    struct salvo_endpoint at = {0};

    at.v4.sin_family = AF_INET;
    at.v4.sin_port = htons(1000);
    at.v4.sin_addr.s_addr = htonl(0x0a000001);
    return at;
}

static int setup(void **state)
{
    struct salvo_sim_conf conf;
    struct salvo_net_conf net_conf;
    struct salvo_endpoint at = endpoint();
    struct salvo_rpc_conf rpc_conf = {.report = &report,
                                      .form = SALVO_HEADER_BINARY,
                                      .language = 1,
                                      .version = 479,
                                      .peers_max = 4,
                                      .connect_timeout_ns = 1000 * MS,
                                      .link_changed = link_changed};

    salvo_sim_conf_default(&conf, unit_seed(24));
    assert_int_equal(salvo_sim_world_new(&conf, &sim), 0);
    simulated = salvo_sim_world_clock(sim);
    log_quiet.sink = sink;
    memset(&errors, 0, sizeof(errors));
    memset(&server, 0, sizeof(server));
    memset(&last, 0, sizeof(last));
    link_ups = link_downs = 0;
    report = (struct salvo_report){simulated, &log_quiet, &errors, counters};
    salvo_net_conf_default(&net_conf, simulated);
    assert_int_equal(salvo_net_sim_open(sim, 1, &net_conf, &server_net), 0);
    assert_int_equal(salvo_net_sim_open(sim, 2, &net_conf, &client_net), 0);
    assert_int_equal(salvo_net_listen(server_net, &at, 0), 0);
    rpc_conf.net = client_net;
    assert_int_equal(salvo_rpc_init(&rpc, &rpc_conf), 0);
    peer = salvo_rpc_peer_add(&rpc, &at, 99);
    return 0;
}

static int teardown(void **state)
{
    salvo_net_destroy(client_net);
    salvo_net_destroy(server_net);
    salvo_rpc_deinit(&rpc);
    salvo_sim_world_free(sim);
    return 0;
}

static void server_offer(void)
{
    struct salvo_range range = {server.out, server.out_size};
    size_t taken;

    if (!server.up || server.out_size == 0)
        return;
    taken = salvo_net_send(server_net, server.link, &range, 1);
    server.out += taken;
    server.out_size -= taken;
}

static int server_turn(void)
{
    struct salvo_net_event event;
    int count = 0;

    for (; salvo_net_poll(server_net, &event, 1) == 1; count++) {
        if (event.kind == SALVO_NET_ACCEPTED) {
            server.link = event.link;
            server.up = true;
            server.in_size = 0;
        } else if (event.kind == SALVO_NET_DATA) {
            assert_true(server.in_size + event.data.size <= sizeof(server.in));
            memcpy(server.in + server.in_size, event.data.bytes, event.data.size);
            server.in_size += event.data.size;
            salvo_net_give_back(server_net, event.data.buffer);
        } else if (event.kind == SALVO_NET_RELEASED && event.link == server.link) {
            server_offer();
        } else if (event.kind == SALVO_NET_DOWN && event.link == server.link) {
            server.up = false;
        }
    }
    salvo_net_flush(server_net);
    return count;
}

static void run(int64_t ns)
{
    int64_t until_ns = salvo_clock_mono_ns(simulated) + ns;

    for (;;) {
        int64_t now_ns = salvo_clock_mono_ns(simulated);
        int work = salvo_rpc_do_work(&rpc, now_ns) + server_turn();

        salvo_net_flush(client_net);
        if (work > 0)
            continue;
        if (now_ns >= until_ns)
            return;
        salvo_sim_world_advance(
            sim,
            SALVO_MIN(until_ns, SALVO_MAX(now_ns + 1000, SALVO_MIN(salvo_sim_world_next_ns(sim),
                                                                   salvo_rpc_next_ns(&rpc)))));
    }
}

static void request(uint64_t cookie, int64_t timeout_ns);

static void done(void *arg, uint64_t cookie, const struct salvo_rpc_answer *answer, int64_t now_ns)
{
    last.count++;
    last.result = answer->result;
    last.cookie = cookie;
    last.code = answer->header != NULL ? answer->header->code : -1;
    last.body_size = answer->body_size;
    last.body_sum = 0;
    for (uint32_t i = 0; i < answer->body_size; i++)
        last.body_sum += answer->body[i];
    snprintf(last.why, sizeof(last.why), "%s", answer->why);
    if (last.ask_again) {
        last.ask_again = false;
        request(cookie + 1, 500 * MS);
    }
}

static void request(uint64_t cookie, int64_t timeout_ns)
{
    struct salvo_header header = {.code = 105, .has_ext = true};
    struct salvo_rpc_call call = {
        .peer = peer, .header = &header, .timeout_ns = timeout_ns, .done = done, .cookie = cookie};

    salvo_header_add(&header, "topic", salvo_text_of("T"));
    assert_int_equal(salvo_rpc_request(&rpc, &call, salvo_clock_mono_ns(simulated)), 0);
}

/* The opaque of the n-th request that the server has. */
static int32_t asked_opaque(uint32_t n)
{
    size_t at = 0;

    for (;; n--) {
        struct salvo_frame frame;
        struct salvo_header header;
        const char *why = "";
        uint8_t scratch[1024];

        assert_int_equal(salvo_frame_parse(server.in + at, server.in_size - at,
                                           SALVO_FRAME_SIZE_MAX, &frame, &why),
                         0);
        assert_int_equal(salvo_header_read(&header, frame.form, frame.header, frame.header_size,
                                           scratch, sizeof(scratch)),
                         0);
        assert_int_equal(header.code, 105);
        if (n == 0)
            return header.opaque;
        at += frame.size;
    }
}

static void answer(uint8_t *frame, size_t room, int32_t opaque, const void *body,
                   uint32_t body_size)
{
    struct salvo_header header = {.flag = 1, .opaque = opaque};
    ssize_t size = salvo_frame_write(frame, room, SALVO_HEADER_JSON, &header, body, body_size);

    assert_true(size > 0);
    server.out = frame;
    server.out_size = (size_t)size;
    server_offer();
}

static void a_large_answer_in_pieces_is_gathered(void **state)
{
    static uint8_t body[12 << 20], frame[(12 << 20) + 1024];
    uint64_t sum = 0;

    for (size_t i = 0; i < sizeof(body); i++)
        sum += body[i] = (uint8_t)(i * 31);
    request(5, 60000 * MS);
    run(10 * MS);
    answer(frame, sizeof(frame), asked_opaque(0), body, sizeof(body));
    run(30000 * MS);
    assert_int_equal(last.count, 1);
    assert_int_equal(last.result, 0);
    assert_int_equal(last.cookie, 5);
    assert_int_equal(last.body_size, sizeof(body));
    assert_true(last.body_sum == sum);
}

static void answers_find_their_requests_in_any_order_and_late_ones_nobody(void **state)
{
    static uint8_t frames[3][256];

    request(1, 100 * MS);
    request(2, 5000 * MS);
    request(3, 5000 * MS);
    run(50 * MS);
    answer(frames[0], 256, asked_opaque(2), "c", 1);
    run(30 * MS);
    assert_int_equal(last.cookie, 3);
    run(40 * MS); /* the first is over its time; the link lives, for something came on it */
    assert_int_equal(last.count, 2);
    assert_int_equal(last.result, -ETIMEDOUT);
    assert_true(salvo_rpc_peer_up(&rpc, peer));
    answer(frames[1], 256, asked_opaque(0), "a", 1);
    run(30 * MS);
    assert_int_equal(last.count, 2);
    answer(frames[2], 256, asked_opaque(1), "b", 1);
    run(30 * MS);
    assert_int_equal(last.count, 3);
    assert_int_equal(last.cookie, 2);
    assert_int_equal(link_ups, 1);
}

static void silence_costs_the_connection_and_all_that_is_open_on_it(void **state)
{
    request(1, 100 * MS);
    request(2, 5000 * MS);
    run(110 * MS);
    assert_int_equal(last.count, 2);
    assert_int_equal(last.result, -ETIMEDOUT);
    assert_string_equal(last.why, "it did not answer");
    assert_false(salvo_rpc_peer_up(&rpc, peer));
    request(3, 100 * MS); /* a new connection */
    run(50 * MS);
    assert_int_equal(link_ups, 2);
    assert_true(salvo_rpc_peer_up(&rpc, peer));
}

static void a_done_function_may_ask_again_from_any_end(void **state)
{
    last.ask_again = true;
    request(1, 100 * MS);
    run(150 * MS);
    assert_int_equal(last.count, 1);
    assert_int_equal(server.up, true); /* the second is on a new connection */
    salvo_rpc_peer_remove(&rpc, peer, salvo_clock_mono_ns(simulated));
    assert_int_equal(last.result, -ECANCELED);
    assert_int_equal(last.count, 2);
}

static void every_cut_of_a_connection_ends_its_request_once(void **state)
{
    for (uint64_t bytes = 0; bytes < 100; bytes += 3) {
        static uint8_t frame[256];

        last.count = 0;
        request(bytes, 2000 * MS);
        run(10 * MS);
        salvo_sim_cut_after(sim, 2, bytes); /* of what comes to us */
        answer(frame, sizeof(frame), asked_opaque(0), "body", 4);
        run(3000 * MS);
        assert_int_equal(last.count, 1);
        assert_true(last.result == 0 || last.result == -ECONNRESET || last.result == -ETIMEDOUT);
        run(3000 * MS);
    }
}

static void lies_about_length_are_refused_from_the_first_eight_bytes(void **state)
{
    static const uint8_t lies[][12] = {
        {0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 20}, /* two gigabytes */
        {0x01, 0x00, 0x00, 0x00, 0, 0, 0, 20}, /* one byte over 16 MiB with its prefix */
        {0, 0, 0, 3, 0, 0, 0, 1},              /* under four */
        {0, 0, 0, 20, 0, 0, 0, 100},           /* header longer than all */
        {0, 0, 0, 20, 9, 0, 0, 10},            /* unknown form */
        {0x80, 0, 0, 0, 0, 0, 0, 4},           /* negative */
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(lies); i++) {
        last.count = 0;
        request(i, 60000 * MS);
        run(10 * MS);
        server.out = lies[i];
        server.out_size = 8;
        server_offer();
        run(10 * MS);
        assert_int_equal(last.count, 1);
        assert_int_equal(last.result, -EBADMSG);
        assert_false(salvo_rpc_peer_up(&rpc, peer));
    }
}

static void too_many_requests_are_refused_and_room_comes_back(void **state)
{
    struct salvo_header header = {.code = 105};
    struct salvo_rpc_call call = {
        .peer = peer, .header = &header, .timeout_ns = 100 * MS, .done = done};

    for (uint32_t i = 0; i < SALVO_RPC_REQUESTS_MAX; i++)
        assert_int_equal(salvo_rpc_request(&rpc, &call, salvo_clock_mono_ns(simulated)), 0);
    assert_int_equal(salvo_rpc_request(&rpc, &call, salvo_clock_mono_ns(simulated)), -EAGAIN);
    run(200 * MS);
    assert_int_equal(last.count, SALVO_RPC_REQUESTS_MAX);
    request(1, 100 * MS);
}

int main(void)
{
#define RPC_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        RPC_TEST(a_large_answer_in_pieces_is_gathered),
        RPC_TEST(answers_find_their_requests_in_any_order_and_late_ones_nobody),
        RPC_TEST(silence_costs_the_connection_and_all_that_is_open_on_it),
        RPC_TEST(a_done_function_may_ask_again_from_any_end),
        RPC_TEST(every_cut_of_a_connection_ends_its_request_once),
        RPC_TEST(lies_about_length_are_refused_from_the_first_eight_bytes),
        RPC_TEST(too_many_requests_are_refused_and_room_comes_back),
    };
    print_message("seed %llu\n", (unsigned long long)unit_seed(24));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
