/* dataplane/net: one suite over every backend, plain and behind a filter that stands for TLS.
 *
 * The contract itself (order of events, RELEASED against taken, untouched memory) is checked event
 * by event in tests/support/net_fixture.c; the cases here bring about what it speaks of. */
#include "tests/support/net_dpdk.h"
#include "tests/support/net_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>

static struct net_fixture fixture;

static struct net_fixture *start(void **state)
{
    fixture_init(&fixture, *state);
    return &fixture;
}

static struct net_fixture *start_open(void **state)
{
    fixture_open(start(state));
    return &fixture;
}

static void a_connect_is_up_here_and_accepted_there(void **state)
{
    struct net_fixture *f = start_open(state);
    uint32_t link = fixture_connect(f);

    assert_true(f->client.ends[link].up);
    assert_int_equal(f->server.accepted_count, 1);
    fixture_settle(f, link, f->server.accepted[0]);
    fixture_end(&f->client, link);
    FIXTURE_TURN_UNTIL(f, f->client.ends[link].gone && f->server.gone_count == 1);
    assert_int_equal(f->client.ends[link].reason, SALVO_NET_DOWN_CLOSED);
    assert_int_equal(f->server.ends[f->server.accepted[0]].reason, SALVO_NET_DOWN_PEER);
    fixture_close(f);
}

static void nobody_listening_is_refused(void **state)
{
    struct net_fixture *f = start_open(state);
    struct salvo_endpoint nobody = f->endpoint;
    socklen_t size = sizeof(nobody.v4);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    uint32_t link;

    nobody.v4.sin_port = 0; /* bound, so that nobody else gets it, and not listening */
    assert_int_equal(bind(fd, &nobody.any, size), 0);
    assert_int_equal(getsockname(fd, &nobody.any, &size), 0);
    link = fixture_connect_start(f, &nobody, 20 * SALVO_NS_PER_S);
    FIXTURE_TURN_UNTIL(f, f->client.ends[link].gone);
    assert_false(f->client.ends[link].up);
    assert_int_equal(f->client.ends[link].reason, SALVO_NET_DOWN_REFUSED);
    assert_int_equal(f->client.ends[link].handed_over, 0);
    close(fd);
    fixture_close(f);
}

/* A kernel listener whose backlog is full drops further SYNs. Returns the descriptors to close. */
static unsigned black_hole(const struct net_fixture *f, struct salvo_endpoint *ret_at, int *ret_fds,
                           unsigned fds_max)
{
    socklen_t size = sizeof(ret_at->v4);
    unsigned count = 0;

    *ret_at = (struct salvo_endpoint){
        .v4 = {.sin_family = AF_INET, .sin_addr.s_addr = fixture_address(f)}};
    ret_fds[count++] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(ret_fds[0], &ret_at->any, size), 0);
    assert_int_equal(listen(ret_fds[0], 0), 0);
    assert_int_equal(getsockname(ret_fds[0], &ret_at->any, &size), 0);
    while (count < fds_max) {
        struct tcp_info info;
        socklen_t info_size = sizeof(info);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

        ret_fds[count++] = fd;
        connect(fd, &ret_at->any, size);
        assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &info_size), 0);
        if (info.tcpi_state == TCP_SYN_SENT) /* loopback answers within connect() */
            return count;
    }
    fail_msg("the backlog never filled");
    return count;
}

static void silence_is_a_timeout(void **state)
{
    struct net_fixture *f = start_open(state);
    struct salvo_endpoint hole = f->endpoint;
    unsigned fds_count = 0;
    int64_t started_ns;
    uint32_t link;
    int fds[64];

    if (f->backend->kind == NET_SIM)
        salvo_sim_host_down(f->world, NET_SERVER_HOST, true, true);
    else
        fds_count = black_hole(f, &hole, fds, SALVO_ARRAY_LENGTH(fds));
    started_ns = salvo_clock_mono_ns(f->clock);
    link = fixture_connect_start(f, &hole, 30 * SALVO_NS_PER_MS);
    FIXTURE_TURN_UNTIL(f, f->client.ends[link].gone);
    assert_int_equal(f->client.ends[link].reason, SALVO_NET_DOWN_TIMEOUT);
    assert_true(salvo_clock_mono_ns(f->clock) - started_ns >= 30 * SALVO_NS_PER_MS);
    while (fds_count != 0)
        close(fds[--fds_count]);
    fixture_close(f);
}

static void closing_while_connecting_is_down_and_gone(void **state)
{
    struct net_fixture *f = start_open(state);
    uint32_t link;

    for (unsigned turns = 0; turns < 4; turns++) {
        link = fixture_connect_start(f, &f->endpoint, 20 * SALVO_NS_PER_S);
        for (unsigned i = 0; i < turns; i++)
            salvo_net_flush(f->client.net);
        fixture_end(&f->client, link);
        FIXTURE_TURN_UNTIL(f, f->client.ends[link].gone);
        assert_int_equal(f->client.ends[link].reason, SALVO_NET_DOWN_CLOSED);
    }
    FIXTURE_TURN_UNTIL(f, f->server.gone_count == f->server.accepted_count);
    fixture_close(f);
}

static void bytes_come_back_whatever_the_size_and_cut(void **state)
{
    struct net_fixture *f = start_open(state);
    uint32_t link;
    size_t total = 0;

    f->server.echo = true;
    link = fixture_connect(f);
    for (size_t size = 1; size <= 24; size++) {
        for (size_t cut = 1; cut <= size; cut++) {
            fixture_send(f, &f->client, link, size, cut);
            total += size;
            if (cut % 4 == 0)
                fixture_turn(f);
        }
    }
    for (size_t around = 16384; around <= 131072; around *= 2) {
        for (size_t size = around - 2; size <= around + 2; size++) {
            fixture_send(f, &f->client, link, size, size / 2 + 1);
            total += size;
            FIXTURE_TURN_UNTIL(f, f->client.ends[link].out.taken == total);
        }
    }
    FIXTURE_TURN_UNTIL(f, f->client.ends[link].received == total &&
                              f->client.ends[link].out.released == total);
    fixture_close(f);
}

static void many_ranges_are_one_stream(void **state)
{
    struct net_fixture *f = start_open(state);
    uint32_t link = fixture_connect(f);
    struct net_end *server = &f->server.ends[f->server.accepted[0]];
    struct salvo_range ranges[256];
    uint8_t *bytes[256];
    size_t offset = 0;
    size_t taken = 0;
    uint64_t seed = f->client.ends[link].seed;

    /* Each in memory of its own, so that nothing can be merged. */
    for (unsigned i = 0; i < 256; i++) {
        size_t size = i % 37;

        bytes[i] = malloc(size + 1);
        for (size_t k = 0; k < size; k++)
            bytes[i][k] = fixture_byte(seed, offset + k);
        ranges[i] = (struct salvo_range){bytes[i], size};
        offset += size;
    }
    f->client.ends[link].out.bytes = malloc(offset); /* the same stream, for the checks */
    for (size_t i = 0; i < offset; i++)
        f->client.ends[link].out.bytes[i] = fixture_byte(seed, i);
    for (unsigned first = 0; taken < offset;) {
        size_t part = salvo_net_send(f->client.net, link, ranges + first, 256 - first);

        taken += part;
        f->client.ends[link].out.taken = f->client.ends[link].out.size = taken;
        while (first < 256 && part >= ranges[first].size)
            part -= ranges[first++].size;
        if (first < 256) {
            unsigned before = f->client.ends[link].released_events;

            ranges[first].bytes += part;
            ranges[first].size -= part;
            FIXTURE_TURN_UNTIL(f, f->client.ends[link].released_events > before);
        }
    }
    FIXTURE_TURN_UNTIL(f,
                       server->received == offset && f->client.ends[link].out.released == offset);
    for (unsigned i = 0; i < 256; i++)
        free(bytes[i]);
    fixture_close(f);
}

static void more_than_send_max_goes_in_parts(void **state)
{
    struct net_fixture *f = start(state);
    struct net_end *end;
    uint32_t link;

    f->conf.send_max = SALVO_KIB(48);
    f->server.echo = true;
    fixture_open(f);
    link = fixture_connect(f);
    end = &f->client.ends[link];
    fixture_send(f, &f->client, link, SALVO_MIB(3), 0);
    assert_true(end->out.taken <= f->conf.send_max);
    assert_true(end->out.refused);
    FIXTURE_TURN_UNTIL(f, end->received == SALVO_MIB(3) && end->out.released == SALVO_MIB(3));
    assert_true(end->released_events >= SALVO_MIB(3) / SALVO_KIB(48));
    fixture_close(f);
}

/* Turns the client until it has refused bytes for 20 turns. */
static void send_until_stuck(struct net_fixture *f, struct net_end *end)
{
    unsigned quiet = 0;

    while (quiet < 20) {
        unsigned count = fixture_turn_side(f, &f->client);

        quiet = count == 0 && end->out.refused ? quiet + 1 : 0;
        assert_true(end->out.taken < end->out.size); /* else it never stopped */
        if (count == 0)
            salvo_net_wait(f->client.net, 1, 0, SALVO_NS_PER_MS);
    }
}

static void a_peer_that_never_reads_stops_us_and_no_more(void **state)
{
    struct net_fixture *f = start(state);
    struct net_end *client;
    struct net_end *server;
    uint32_t link;

    f->echo_max = SALVO_MIB(32);
    f->conf.zero_copy_min = 0; /* bytes not yet acknowledged would be thrown away */
    fixture_open(f);
    link = fixture_connect(f);
    client = &f->client.ends[link];
    server = &f->server.ends[f->server.accepted[0]];
    fixture_settle(f, link, f->server.accepted[0]);
    f->server.still = true;
    fixture_send(f, &f->client, link, SALVO_MIB(31), 0);
    send_until_stuck(f, client);

    fixture_end(&f->client, link);
    FIXTURE_TURN_UNTIL(f, client->gone);
    assert_true(client->handed_over <= client->out.taken);
    assert_true(client->handed_over > 0);
    f->server.still = false;
    FIXTURE_TURN_UNTIL(f, server->gone);
    /* What was handed over came; what was not did not. */
    assert_int_equal(server->received, client->handed_over);
    fixture_close(f);
}

static void closing_in_the_middle_gives_an_honest_count(void **state)
{
    struct net_fixture *f = start(state);

    f->conf.send_max = SALVO_MIB(1);
    fixture_open(f);
    for (unsigned turns = 0; turns < 12; turns++) {
        unsigned accepted = f->server.accepted_count;
        uint32_t link = fixture_connect(f);
        struct net_end *client = &f->client.ends[link];
        struct net_end *server = &f->server.ends[f->server.accepted[accepted]];

        fixture_send(f, &f->client, link, SALVO_MIB(2), turns % 2 == 0 ? 0 : 30000);
        for (unsigned i = 0; i < turns; i++)
            fixture_turn_side(f, turns % 3 == 0 ? &f->server : &f->client);
        fixture_end(&f->client, link);
        FIXTURE_TURN_UNTIL(f, client->gone && server->gone);
        assert_true(server->received <= client->handed_over);
        assert_true(client->handed_over <= client->out.taken);
    }
    fixture_close(f);
}

static void what_the_peer_said_is_read_before_its_end(void **state)
{
    struct net_fixture *f = start_open(state);
    uint32_t link = fixture_connect(f);
    uint32_t peer = f->server.accepted[0];
    struct net_end *client = &f->client.ends[link];

    client->received_seed = f->server.ends[peer].seed = 42;
    fixture_settle(f, link, peer);
    f->client.still = true;
    fixture_send(f, &f->server, peer, 100000, 0);
    FIXTURE_TURN_UNTIL(f, f->server.ends[peer].out.released == 100000);
    fixture_end(&f->server, peer);
    FIXTURE_TURN_UNTIL(f, f->server.ends[peer].gone);
    if (!f->backend->filtered) /* a filter may release what is still in its records */
        assert_int_equal(f->server.ends[peer].handed_over, 100000);
    f->client.still = false;
    FIXTURE_TURN_UNTIL(f, client->gone);
    assert_int_equal(client->received, f->server.ends[peer].handed_over);
    assert_int_equal(client->reason, SALVO_NET_DOWN_PEER);
    fixture_close(f);
}

static void a_reset_is_told_from_an_end(void **state)
{
    struct net_fixture *f = start_open(state);
    struct salvo_endpoint at = f->endpoint;
    socklen_t size = sizeof(at.v4);
    struct linger reset = {.l_onoff = 1};
    struct net_end *client;
    uint32_t link;

    if (f->backend->kind == NET_SIM) {
        link = fixture_connect(f);
        client = &f->client.ends[link];
        fixture_send(f, &f->client, link, 50000, 0);
        salvo_sim_reset_links(f->world, NET_SERVER_HOST);
        FIXTURE_TURN_UNTIL(f, client->gone && f->server.gone_count == 1);
        assert_int_equal(f->server.ends[f->server.accepted[0]].reason, SALVO_NET_DOWN_RESET);
    } else {
        int listener = socket(AF_INET, SOCK_STREAM, 0);
        int peer;

        at.v4.sin_port = 0;
        assert_int_equal(bind(listener, &at.any, size), 0);
        assert_int_equal(listen(listener, 1), 0);
        assert_int_equal(getsockname(listener, &at.any, &size), 0);
        link = fixture_connect_start(f, &at, 20 * SALVO_NS_PER_S);
        client = &f->client.ends[link];
        FIXTURE_TURN_UNTIL(f, client->up);
        fixture_send(f, &f->client, link, 50000, 0);
        peer = accept(listener, NULL, NULL);
        assert_true(peer >= 0);
        assert_int_equal(setsockopt(peer, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
        close(peer);
        FIXTURE_TURN_UNTIL(f, client->gone);
        close(listener);
    }
    assert_int_equal(client->reason, SALVO_NET_DOWN_RESET);
    fixture_close(f);
}

static void a_peer_that_dies_under_a_long_send_is_down(void **state)
{
    struct net_fixture *f = start(state);
    struct net_end *client;
    uint32_t link;

    f->echo_max = SALVO_MIB(32);
    f->conf.receive_buffers = 4;
    fixture_open(f);
    link = fixture_connect(f);
    client = &f->client.ends[link];
    f->server.hold = true;
    fixture_send(f, &f->client, link, SALVO_MIB(31), 0);
    FIXTURE_TURN_UNTIL(f, f->server.held_count != 0);
    for (unsigned i = 0; i < 200; i++)
        fixture_turn_side(f, &f->client);
    fixture_end(&f->server, f->server.accepted[0]);
    FIXTURE_TURN_UNTIL(f, client->gone);
    assert_true(client->reason == SALVO_NET_DOWN_RESET || client->reason == SALVO_NET_DOWN_PEER);
    assert_true(client->out.taken < client->out.size);
    fixture_give_back(&f->server);
    fixture_close(f);
}

static void numbers_are_used_again_and_are_limited(void **state)
{
    struct net_fixture *f = start(state);
    uint32_t links[FIXTURE_LINKS_MAX];
    uint32_t none = 4711;

    f->conf.links_max = 8;
    fixture_open(f);
    for (unsigned round = 0; round < 5; round++) {
        unsigned count = f->conf.links_max - 1; /* the server's listener is one of its eight */

        for (unsigned i = 0; i < count; i++)
            links[i] = fixture_connect(f);
        links[count] = fixture_connect_start(f, &f->endpoint, 20 * SALVO_NS_PER_S);
        assert_int_equal(salvo_net_connect(f->client.net, &f->endpoint, 1000, 0, &none), -ENOSPC);
        assert_int_equal(none, 4711);
        for (unsigned i = 0; i <= count; i++) {
            for (unsigned k = 0; k < i; k++)
                assert_int_not_equal(links[i], links[k]);
            if (!f->client.ends[links[i]].down)
                fixture_end(&f->client, links[i]);
        }
        FIXTURE_TURN_UNTIL(f, f->client.gone_count == (round + 1) * f->conf.links_max &&
                                  f->server.gone_count == f->server.accepted_count);
    }
    fixture_close(f);
}

static void a_hundred_links_at_once(void **state)
{
    struct net_fixture *f = start(state);
    uint32_t links[100];
    size_t done = 0;

    f->conf.links_max = 128;
    f->echo_max = 20000;
    f->server.echo = true;
    fixture_open(f);
    for (unsigned i = 0; i < 100; i++)
        links[i] = fixture_connect(f);
    for (unsigned i = 0; i < 100; i++)
        fixture_send(f, &f->client, links[i], 10000 + i, 3000);
    while (done < 100) {
        FIXTURE_TURN_UNTIL(f, f->client.ends[links[done]].received == 10000 + done);
        done++;
    }
    for (unsigned i = 0; i < 100; i++)
        fixture_end(i % 2 == 0 ? &f->client : &f->server,
                    i % 2 == 0 ? links[i] : f->server.accepted[i]);
    FIXTURE_TURN_UNTIL(f, f->client.gone_count == 100 && f->server.gone_count == 100);
    fixture_close(f);
}

static void without_buffers_nothing_comes_and_nothing_is_lost(void **state)
{
    struct net_fixture *f = start(state);
    uint32_t links[3];

    f->conf.receive_buffers = 4;
    f->conf.receive_buffer_size = 1000;
    fixture_open(f);
    for (unsigned i = 0; i < 3; i++) {
        links[i] = fixture_connect(f);
        fixture_send(f, &f->client, links[i], 1, 0);
        FIXTURE_TURN_UNTIL(f, f->server.ends[f->server.accepted[i]].received == 1);
    }
    f->server.hold = true;
    for (unsigned i = 0; i < 3; i++)
        fixture_send(f, &f->client, links[i], 50000, 0);
    for (unsigned round = 0; round < 4; round++) {
        FIXTURE_TURN_UNTIL(f, f->server.held_count == 4);
        for (unsigned i = 0; i < 20; i++)
            fixture_turn(f);
        assert_int_equal(f->server.held_count, 4);
        fixture_give_back(&f->server);
    }
    f->server.hold = false;
    for (unsigned i = 0; i < 3; i++)
        FIXTURE_TURN_UNTIL(f, f->server.ends[f->server.accepted[i]].received == 50001);
    fixture_close(f);
}

static void the_cookie_is_the_owners(void **state)
{
    struct net_fixture *f = start_open(state);
    uint32_t link = fixture_connect(f);
    uint32_t peer = f->server.accepted[0];

    /* The fixture compares the cookie of each event with the end's. */
    salvo_net_set_cookie(f->server.net, peer, f->server.ends[peer].cookie = UINT64_MAX - 5);
    salvo_net_set_cookie(f->client.net, link, f->client.ends[link].cookie = 3);
    f->server.echo = true;
    fixture_send(f, &f->client, link, 5000, 0);
    FIXTURE_TURN_UNTIL(f, f->client.ends[link].received == 5000);
    fixture_end(&f->client, link);
    FIXTURE_TURN_UNTIL(f, f->client.ends[link].gone && f->server.ends[peer].gone);
    fixture_close(f);
}

static void destroy_ends_links_in_any_state(void **state)
{
    for (unsigned turns = 0; turns < 8; turns++) {
        struct net_fixture *f = start(state);
        uint32_t link;

        f->echo_max = SALVO_MIB(8);
        fixture_open(f);
        f->server.echo = true;
        link = fixture_connect(f);
        fixture_send(f, &f->client, link, SALVO_MIB(3), turns % 2 == 0 ? 0 : 5000);
        f->server.still = turns % 4 >= 2;
        for (unsigned i = 0; i < turns * 3; i++)
            fixture_turn(f);
        fixture_connect_start(f, &f->endpoint, SALVO_NS_PER_S);
        if (turns % 3 == 0)
            salvo_net_flush(f->client.net);
        /* Nothing is referred to when it returns: ASan looks on. */
        salvo_net_destroy(f->client.net);
        f->client.net = NULL;
        free(f->client.ends[link].out.bytes);
        f->client.ends[link].out.bytes = NULL;
        fixture_close(f);
    }
}

static void the_peers_of_a_destroyed_net_hear_of_it(void **state)
{
    struct net_fixture *f = start_open(state);
    uint32_t link = fixture_connect(f);

    salvo_net_destroy(f->client.net);
    f->client.net = NULL;
    FIXTURE_TURN_UNTIL(f, f->server.gone_count == 1);
    assert_true(f->client.ends[link].up);
    fixture_close(f);
}

static void a_wait_ends_at_its_time(void **state)
{
    struct net_fixture *f = start_open(state);
    int64_t started_ns = salvo_clock_mono_ns(f->clock);
    struct salvo_net_event event;

    salvo_net_wait(f->client.net, 1, 0, 5 * SALVO_NS_PER_MS);
    assert_true(salvo_clock_mono_ns(f->clock) - started_ns >= 5 * SALVO_NS_PER_MS);
    assert_int_equal(salvo_net_poll(f->client.net, &event, 1), 0);
    salvo_net_wait(f->client.net, 8, SALVO_NS_PER_MS, 5 * SALVO_NS_PER_MS);
    assert_true(salvo_clock_mono_ns(f->clock) - started_ns >= 10 * SALVO_NS_PER_MS);
    salvo_net_wait(f->client.net, 1, 0, 0);
    fixture_close(f);
}

/* The server says one thing; the client waits for a hundred. */
static void a_gather_ends_after_its_time_with_what_there_is(void **state)
{
    struct net_fixture *f = start_open(state);
    uint32_t link = fixture_connect(f);
    uint32_t peer = f->server.accepted[0];
    uint64_t before;
    int64_t started_ns;

    f->client.ends[link].received_seed = f->server.ends[peer].seed = 42;
    fixture_send(f, &f->server, peer, 1, 0);
    FIXTURE_TURN_UNTIL(f, f->client.ends[link].received == 1); /* any handshake is over */
    for (unsigned i = 1; i <= 5; i++) {
        f->client.still = true;
        fixture_send(f, &f->server, peer, 10, 0);
        FIXTURE_TURN_UNTIL(f, f->server.ends[peer].out.released == 10 * i + 1);
        f->client.still = false;
        if (f->backend->kind == NET_SIM) /* released is not yet arrived */
            salvo_sim_world_advance(f->world, salvo_clock_mono_ns(f->clock) + SALVO_NS_PER_MS);
        before = f->client.data_events;
        started_ns = salvo_clock_mono_ns(f->clock);
        salvo_net_wait(f->client.net, 100, i * SALVO_NS_PER_MS, 30 * SALVO_NS_PER_S);
        assert_true(salvo_clock_mono_ns(f->clock) - started_ns >= i * SALVO_NS_PER_MS);
        assert_true(salvo_clock_mono_ns(f->clock) - started_ns < 20 * SALVO_NS_PER_S);
        FIXTURE_TURN_UNTIL(f, f->client.data_events > before);
    }
    fixture_close(f);
}

static void a_gather_waits_on_for_the_first_event(void **state)
{
    struct net_fixture *f = start_open(state);
    struct net_end *client;
    uint32_t link = fixture_connect(f);
    int64_t started_ns;

    fixture_settle(f, link, f->server.accepted[0]);
    started_ns = salvo_clock_mono_ns(f->clock);
    /* Nothing comes: the end of the gather is not the end of the wait. */
    salvo_net_wait(f->client.net, 64, SALVO_NS_PER_MS, 20 * SALVO_NS_PER_MS);
    assert_true(salvo_clock_mono_ns(f->clock) - started_ns >= 20 * SALVO_NS_PER_MS);
    client = &f->client.ends[link];
    assert_true(client->up);
    fixture_close(f);
}

static void enough_events_end_a_gather(void **state)
{
    struct net_fixture *f = start_open(state);
    uint32_t link = fixture_connect(f);
    uint32_t peer = f->server.accepted[0];
    int64_t started_ns;

    fixture_settle(f, link, peer);
    f->client.ends[link].received_seed = f->server.ends[peer].seed = 42;
    f->client.still = true;
    fixture_send(f, &f->server, peer, 1, 0);
    FIXTURE_TURN_UNTIL(f, f->server.ends[peer].out.released == 1);
    f->client.still = false;
    started_ns = salvo_clock_mono_ns(f->clock);
    salvo_net_wait(f->client.net, 1, 40 * SALVO_NS_PER_S, 50 * SALVO_NS_PER_S);
    assert_true(salvo_clock_mono_ns(f->clock) - started_ns < 20 * SALVO_NS_PER_S);
    FIXTURE_TURN_UNTIL(f, f->client.ends[link].received == 1);
    fixture_close(f);
}

static void a_wake_before_the_wait_counts(void **state)
{
    struct net_fixture *f = start_open(state);
    int64_t started_ns = salvo_clock_mono_ns(f->clock);

    for (unsigned i = 0; i < 10; i++) {
        salvo_net_wake(f->client.net);
        salvo_net_wake(f->client.net);
        salvo_net_wait(f->client.net, 1, 0, 30 * SALVO_NS_PER_S);
    }
    assert_true(salvo_clock_mono_ns(f->clock) - started_ns < 20 * SALVO_NS_PER_S);
    fixture_close(f);
}

struct waker {
    struct salvo_net *net;
    _Atomic unsigned asked;
    _Atomic bool stop;
};

static void *wake_when_asked(void *arg)
{
    struct waker *waker = arg;
    unsigned seen = 0;

    while (!atomic_load_explicit(&waker->stop, memory_order_acquire)) {
        unsigned asked = atomic_load_explicit(&waker->asked, memory_order_acquire);

        if (asked == seen)
            continue;
        for (unsigned i = 0; i < asked % 50 * 40; i++) /* before, at and after falling asleep */
            salvo_cpu_relax();
        salvo_net_wake(waker->net);
        seen = asked;
    }
    return NULL;
}

static void another_thread_ends_a_wait(void **state)
{
    struct net_fixture *f = start_open(state);
    struct waker waker = {.net = f->client.net};
    int64_t started_ns = salvo_clock_mono_ns(f->clock);
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, wake_when_asked, &waker), 0);
    for (unsigned i = 1; i <= 500; i++) {
        atomic_store_explicit(&waker.asked, i, memory_order_release);
        salvo_net_wait(f->client.net, i % 3 == 0 ? 16 : 1, i % 3 == 0 ? 50000 : 0,
                       30 * SALVO_NS_PER_S);
    }
    atomic_store_explicit(&waker.stop, true, memory_order_release);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(salvo_clock_mono_ns(f->clock) - started_ns < 25 * SALVO_NS_PER_S);
    fixture_close(f);
}

static void *echo_on_this_thread(void *arg)
{
    struct net_fixture *f = arg;
    uint32_t link;

    f->server.echo = true;
    assert_int_equal(salvo_net_listen(f->server.net, &f->endpoint, 77), 0);
    link = fixture_connect(f);
    fixture_send(f, &f->client, link, 300000, 0);
    FIXTURE_TURN_UNTIL(f, f->client.ends[link].received == 300000);
    fixture_send(f, &f->client, link, SALVO_MIB(1), 0); /* and leave in the middle */
    fixture_turn_side(f, &f->client);
    return NULL;
}

static void a_disabled_net_is_its_first_callers(void **state)
{
    struct net_fixture *f = start(state);
    pthread_t thread;

    f->conf.disabled = true;
    f->clock = f->conf.clock;
    assert_int_equal(fixture_open_net(f, NET_CLIENT_HOST, &f->client.net), 0);
    assert_int_equal(fixture_open_net(f, NET_SERVER_HOST, &f->server.net), 0);
    f->endpoint = (struct salvo_endpoint){
        .v4 = {.sin_family = AF_INET, .sin_addr.s_addr = fixture_address(f)}};
    salvo_net_wake(f->client.net); /* by anyone, and nobody's first call */
    assert_int_equal(pthread_create(&thread, NULL, echo_on_this_thread, f), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    fixture_close(f); /* by us, when the owner has ended */

    f = start(state);
    f->conf.disabled = true;
    assert_int_equal(fixture_open_net(f, NET_CLIENT_HOST, &f->client.net), 0);
    fixture_close(f); /* never used */
}

static void caps_say_what_there_is(void **state)
{
    struct net_fixture *f = start_open(state);
    uint32_t caps = salvo_net_caps(f->client.net);

    assert_int_equal(!!(caps & SALVO_NET_CAP_VIRTUAL_TIME), f->backend->kind == NET_SIM);
    fixture_close(f);
}

static void everything_arrives_however_it_is_cut_and_released(void **state)
{
    struct net_fixture *f = start(state);
    uint32_t link;

    f->sim.cut_permille = f->sim.partial_permille = f->sim.release_late_permille = 700;
    f->sim.window_bytes = 5000;
    f->conf.receive_buffer_size = 700;
    f->server.echo = true;
    fixture_open(f);
    link = fixture_connect(f);
    for (unsigned i = 0; i < 30; i++) {
        fixture_send(f, &f->client, link, 1000 + i, 100 + i);
        fixture_turn(f);
    }
    FIXTURE_TURN_UNTIL(f, f->client.ends[link].received == 30435 &&
                              f->client.ends[link].out.released == 30435);
    fixture_close(f);
}

/* --- the table -------------------------------------------------------------------------------- */

/* Where a case applies: threads and real time mean nothing in a world of virtual time. */
enum { EVERYWHERE, KERNEL_ONLY };

static const struct {
    const char *name;
    CMUnitTestFunction run;
    int where;
} cases[] = {
#define CASE(function, where)                                                                      \
    {                                                                                              \
#function, function, where                                                                 \
    }
    CASE(a_connect_is_up_here_and_accepted_there, EVERYWHERE),
    CASE(nobody_listening_is_refused, EVERYWHERE),
    CASE(silence_is_a_timeout, EVERYWHERE),
    CASE(closing_while_connecting_is_down_and_gone, EVERYWHERE),
    CASE(bytes_come_back_whatever_the_size_and_cut, EVERYWHERE),
    CASE(many_ranges_are_one_stream, EVERYWHERE),
    CASE(more_than_send_max_goes_in_parts, EVERYWHERE),
    CASE(a_peer_that_never_reads_stops_us_and_no_more, EVERYWHERE),
    CASE(closing_in_the_middle_gives_an_honest_count, EVERYWHERE),
    CASE(what_the_peer_said_is_read_before_its_end, EVERYWHERE),
    CASE(a_reset_is_told_from_an_end, EVERYWHERE),
    CASE(a_peer_that_dies_under_a_long_send_is_down, EVERYWHERE),
    CASE(numbers_are_used_again_and_are_limited, EVERYWHERE),
    CASE(a_hundred_links_at_once, EVERYWHERE),
    CASE(without_buffers_nothing_comes_and_nothing_is_lost, EVERYWHERE),
    CASE(the_cookie_is_the_owners, EVERYWHERE),
    CASE(destroy_ends_links_in_any_state, EVERYWHERE),
    CASE(the_peers_of_a_destroyed_net_hear_of_it, EVERYWHERE),
    CASE(a_wait_ends_at_its_time, EVERYWHERE),
    CASE(a_gather_ends_after_its_time_with_what_there_is, EVERYWHERE),
    CASE(a_gather_waits_on_for_the_first_event, EVERYWHERE),
    CASE(enough_events_end_a_gather, EVERYWHERE),
    CASE(a_wake_before_the_wait_counts, EVERYWHERE),
    CASE(another_thread_ends_a_wait, KERNEL_ONLY),
    CASE(a_disabled_net_is_its_first_callers, KERNEL_ONLY),
    CASE(caps_say_what_there_is, EVERYWHERE),
    CASE(everything_arrives_however_it_is_cut_and_released, EVERYWHERE),
};

static const struct net_backend backends[] = {
    {.name = "epoll", .open = salvo_net_epoll_open},
    {.name = "uring", .open = salvo_net_uring_open},
    {.name = "sim", .kind = NET_SIM},
    {.name = "filter over epoll", .open = salvo_net_epoll_open, .filtered = true},
    {.name = "filter over uring", .open = salvo_net_uring_open, .filtered = true},
    {.name = "filter over sim", .kind = NET_SIM, .filtered = true},
    {.name = "dpdk",
     .open = salvo_net_epoll_open,
     .open_client = test_dpdk_open,
     .address = test_dpdk_peer},
    {.name = "filter over dpdk",
     .open = salvo_net_epoll_open,
     .open_client = test_dpdk_open,
     .address = test_dpdk_peer,
     .filtered = true},
    {.name = "lane 1 of two",
     .open = salvo_net_epoll_open,
     .open_client = test_dpdk_open_lane,
     .address = test_dpdk_peer},
};

/* NULL, or why the backend cannot run on this host. */
static const char *backend_absent(const struct net_backend *backend)
{
    struct salvo_net_conf conf;
    struct salvo_net *net;
    int r;

    if (backend->kind == NET_SIM)
        return NULL;
    salvo_net_conf_default(&conf, salvo_clock_system());
    r = (backend->open_client != NULL ? backend->open_client : backend->open)(&conf, &net);
    if (r != 0)
        return strerror(-r);
    salvo_net_destroy(net);
    return NULL;
}

static void skipped(void **state)
{
    skip();
}

/* A part of a name, and one of a case's, to run some: dataplane_net uring silence */
int main(int argc, char **argv)
{
    int failed = 0;

    print_message("seed %llu\n", (unsigned long long)unit_seed(20250301));
    for (size_t b = 0; b < SALVO_ARRAY_LENGTH(backends); b++) {
        const struct net_backend *backend = &backends[b];
        struct CMUnitTest tests[SALVO_ARRAY_LENGTH(cases)] = {0};
        const char *absent;
        size_t count = 0;

        if (argc > 1 && strstr(backend->name, argv[1]) == NULL)
            continue;
        if (backend->open_client != NULL && !test_dpdk_there())
            continue; /* tests/dpdk/run makes a device for these */
        absent = backend_absent(backend);
        if (absent != NULL)
            print_message("%s: skipped, because: %s\n", backend->name, absent);
        for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
            if (argc > 2 && strstr(cases[i].name, argv[2]) == NULL)
                continue;
            if (cases[i].where == KERNEL_ONLY && backend->kind == NET_SIM)
                continue;
            tests[count++] = (struct CMUnitTest){
                .name = cases[i].name,
                .test_func = absent != NULL ? skipped : cases[i].run,
                .initial_state = (void *)(uintptr_t)backend,
            };
        }
        failed += _cmocka_run_group_tests(backend->name, tests, count, NULL, NULL);
    }
    test_dpdk_end();
    return failed;
}
