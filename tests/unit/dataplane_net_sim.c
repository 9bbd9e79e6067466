/* dataplane/net_sim: faults, one seed one run, and memory that was touched too early. What all
 * backends share: dataplane_net.c. */
#include "tests/support/net_fixture.h"

#include <stdio.h>

static const struct net_backend sim = {.name = "sim", .kind = NET_SIM};
static struct net_fixture fixture;

static struct net_fixture *start(void)
{
    fixture_init(&fixture, &sim);
    fixture_open(&fixture);
    return &fixture;
}

static void pass(struct net_fixture *f, int64_t ns)
{
    int64_t end_ns = salvo_clock_mono_ns(f->clock) + ns;

    fixture_turn_side(f, &f->client);
    fixture_turn_side(f, &f->server);
    while (salvo_clock_mono_ns(f->clock) < end_ns) {
        salvo_sim_world_advance(f->world, SALVO_MIN(end_ns, salvo_sim_world_next_ns(f->world)));
        fixture_turn_side(f, &f->client);
        fixture_turn_side(f, &f->server);
    }
}

static void note_line(void *arg, int64_t now_ns, const char *line)
{
    uint64_t *hash = arg;

    *hash = (*hash ^ (uint64_t)now_ns) * UINT64_C(0x100000001b3);
    for (; *line != '\0'; line++)
        *hash = (*hash ^ (uint8_t)*line) * UINT64_C(0x100000001b3);
}

/* Some of everything; returns a hash of the event log. */
static uint64_t story(uint64_t seed)
{
    struct net_fixture *f = &fixture;
    uint64_t hash = 0;
    uint32_t link;

    fixture_init(f, &sim);
    salvo_random_init(&f->random, seed);
    salvo_sim_conf_default(&f->sim, seed);
    f->server.echo = true;
    fixture_open(f);
    salvo_sim_world_log(f->world, note_line, &hash);
    for (unsigned i = 0; i < 5; i++) {
        link = fixture_connect(f);
        fixture_send(f, &f->client, link, 30000, 700);
        pass(f, 2 * SALVO_NS_PER_MS);
    }
    salvo_sim_reset_links(f->world, NET_SERVER_HOST);
    pass(f, 5 * SALVO_NS_PER_S);
    assert_int_equal(f->client.gone_count, 5);
    fixture_close(f);
    return hash;
}

static void one_seed_is_one_run(void **state)
{
    uint64_t first = story(1);

    assert_true(story(1) == first);
    assert_true(story(2) != first);
    assert_true(story(1) == first);
}

static void a_silent_host_keeps_its_links_and_says_nothing(void **state)
{
    struct net_fixture *f = start();
    uint32_t link = fixture_connect(f);
    struct net_end *server = &f->server.ends[f->server.accepted[0]];

    salvo_sim_host_down(f->world, NET_SERVER_HOST, true, true);
    fixture_send(f, &f->client, link, 5000, 0);
    pass(f, 10 * SALVO_NS_PER_S);
    assert_int_equal(server->received, 0);
    assert_false(f->client.ends[link].down);
    salvo_sim_host_down(f->world, NET_SERVER_HOST, false, false);
    pass(f, SALVO_NS_PER_S);
    assert_int_equal(server->received, 5000);
    fixture_close(f);
}

static void a_host_that_is_down_resets_and_refuses_until_it_is_up(void **state)
{
    struct net_fixture *f = start();
    uint32_t link = fixture_connect(f);

    salvo_sim_host_down(f->world, NET_SERVER_HOST, true, false);
    pass(f, 3 * SALVO_NS_PER_S);
    assert_int_equal(f->client.ends[link].reason, SALVO_NET_DOWN_RESET);
    assert_true(f->client.ends[link].gone);
    link = fixture_connect_start(f, &f->endpoint, SALVO_NS_PER_S);
    pass(f, SALVO_NS_PER_S);
    assert_int_equal(f->client.ends[link].reason, SALVO_NET_DOWN_REFUSED);
    salvo_sim_host_down(f->world, NET_SERVER_HOST, false, false);
    fixture_connect(f);
    fixture_close(f);
}

static void a_partition_parts_two_hosts_until_it_heals(void **state)
{
    struct net_fixture *f = start();
    uint32_t link = fixture_connect(f);
    struct net_end *server = &f->server.ends[f->server.accepted[0]];
    uint32_t late;

    salvo_sim_partition(f->world, NET_CLIENT_HOST, NET_SERVER_HOST, true);
    fixture_send(f, &f->client, link, 5000, 0);
    late = fixture_connect_start(f, &f->endpoint, 100 * SALVO_NS_PER_S);
    pass(f, 10 * SALVO_NS_PER_S);
    assert_int_equal(server->received, 0);
    assert_false(f->client.ends[late].up);
    salvo_sim_partition(f->world, NET_SERVER_HOST, NET_CLIENT_HOST, false);
    pass(f, SALVO_NS_PER_S);
    assert_int_equal(server->received, 5000);
    assert_true(f->client.ends[late].up);
    fixture_close(f);
}

static void a_cut_comes_after_so_many_bytes(void **state)
{
    for (uint64_t bytes = 1; bytes < 3000; bytes += 211) {
        struct net_fixture *f = start();
        uint32_t link = fixture_connect(f);
        struct net_end *server = &f->server.ends[f->server.accepted[0]];

        salvo_sim_cut_after(f->world, NET_SERVER_HOST, bytes);
        fixture_send(f, &f->client, link, 4000, 100);
        pass(f, 5 * SALVO_NS_PER_S);
        assert_int_equal(server->received, bytes);
        assert_int_equal(server->reason, SALVO_NET_DOWN_RESET);
        assert_int_equal(f->client.ends[link].reason, SALVO_NET_DOWN_RESET);
        assert_true(f->client.ends[link].handed_over >= bytes);
        fixture_close(f);
    }
}

static void slow_is_slower(void **state)
{
    struct net_fixture *f = start();
    uint32_t link = fixture_connect(f);
    struct net_end *server = &f->server.ends[f->server.accepted[0]];

    salvo_sim_slow(f->world, NET_SERVER_HOST, SALVO_NS_PER_S);
    fixture_send(f, &f->client, link, 100, 0);
    pass(f, SALVO_NS_PER_S - 1);
    assert_int_equal(server->received, 0);
    pass(f, 3 * SALVO_NS_PER_S);
    assert_int_equal(server->received, 100);
    fixture_close(f);
}

/* A planted bug: bytes written over before they were released. */
static void touch_too_early(void *arg)
{
    struct net_fixture *f = &fixture;
    uint32_t link;

    fixture_init(f, &sim);
    f->sim.release_late_permille = 1000;
    f->sim.partial_permille = 0; /* all are taken before the touch */
    fixture_open(f);
    link = fixture_connect(f);
    f->server.ends[f->server.accepted[0]].received_any = true; /* it would notice first */
    fixture_send(f, &f->client, link, 100, 0);
    f->client.ends[link].out.bytes[*(int *)arg] ^= 1;
    pass(f, 3 * SALVO_NS_PER_S);
}

static void memory_touched_before_its_release_stops_the_process(void **state)
{
    for (int i = 0; i < 100; i += 33)
        assert_true(unit_aborts(touch_too_early, &i));
}

static void a_net_opened_again_takes_the_place_of_one_destroyed(void **state)
{
    struct net_fixture *f = start();
    uint32_t link = fixture_connect(f);
    struct salvo_endpoint at = f->endpoint;

    salvo_net_destroy(f->server.net);
    memset(f->server.ends, 0, sizeof(f->server.ends));
    assert_int_equal(fixture_open_net(f, NET_SERVER_HOST, &f->server.net), 0);
    pass(f, 5 * SALVO_NS_PER_S);
    assert_true(f->client.ends[link].gone);
    assert_int_equal(salvo_net_listen(f->server.net, &at, 77), 0);
    assert_int_equal(at.v4.sin_port, f->endpoint.v4.sin_port);
    fixture_connect(f);
    fixture_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_seed_is_one_run),
        cmocka_unit_test(a_silent_host_keeps_its_links_and_says_nothing),
        cmocka_unit_test(a_host_that_is_down_resets_and_refuses_until_it_is_up),
        cmocka_unit_test(a_partition_parts_two_hosts_until_it_heals),
        cmocka_unit_test(a_cut_comes_after_so_many_bytes),
        cmocka_unit_test(slow_is_slower),
        cmocka_unit_test(memory_touched_before_its_release_stops_the_process),
        cmocka_unit_test(a_net_opened_again_takes_the_place_of_one_destroyed),
    };

    print_message("seed %llu\n", (unsigned long long)unit_seed(20250301));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
