/* Route questions over the simulated network: failover, liars, the template topic, bare keys. */
#include "tests/unit/unit.h"

#include "tests/support/control_world.h"

#include <stdio.h>

#define MS SALVO_NS_PER_MS
#define S  SALVO_NS_PER_S

static uint64_t seed;

static enum salvo_route_state state_of(struct world *world, uint32_t topic)
{
    return salvo_control_topic_state(&world->control, topic);
}

/* Nameservers 0 to 2, brokers 3 and 4, one topic of two queues on each broker. */
static struct world *cluster(uint32_t nameservers)
{
    struct world *world = world_new(seed, 1);
    struct salvo_route_data *route = world_topic(world, "T");
    size_t at = 0;

    for (uint32_t i = 0; i < nameservers; i++)
        at += (size_t)snprintf(world->config.nameserver + at, sizeof(world->config.nameserver) - at,
                               "%s10.0.0.%u:%u", i > 0 ? ";" : "", i + 1, 9000 + i);
    world_server_start(world, 3);
    world_server_start(world, 4);
    world_route_add(world, route, "broker-b", 4, 2);
    world_route_add(world, route, "broker-a", 3, 2);
    return world;
}

static void a_new_topic_gets_its_route_at_once(void **state)
{
    struct world *world = cluster(1);
    const struct salvo_route_topic *route;
    uint32_t topic;

    world_server_start(world, 0);
    assert_int_equal(world_start(world), 0);
    topic = world_topic_open(world, "T");
    assert_int_equal(state_of(world, topic), SALVO_ROUTE_UNKNOWN);
    world_run(world, 20 * MS);
    assert_int_equal(state_of(world, topic), SALVO_ROUTE_GOOD);
    route = world_route_topic(world, topic);
    assert_int_equal(route->queues_count, 4);
    assert_int_equal(route->brokers_count, 2);
    /* By broker name, then queue id. */
    for (uint32_t i = 0; i < 4; i++) {
        const char *name = salvo_control_broker_name(&world->control, route->queues[i].broker);

        assert_string_equal(name, i < 2 ? "broker-a" : "broker-b");
        assert_int_equal(route->queues[i].queueId, i % 2);
        assert_true(world_route(world)->brokers[route->queues[i].broker].has_endpoint);
    }
    assert_int_equal(world->servers[0].asked[SALVO_REQUEST_GET_ROUTEINFO_BY_TOPIC], 1);
    world_free(world);
}

static void routes_are_asked_for_again_each_interval_and_not_published_unchanged(void **state)
{
    struct world *world = cluster(1);

    world_server_start(world, 0);
    assert_int_equal(world_start(world), 0);
    world_topic_open(world, "T");
    world_run(world, 95 * S);
    assert_int_equal(world->servers[0].asked[SALVO_REQUEST_GET_ROUTEINFO_BY_TOPIC], 4);
    assert_int_equal(world_route(world)->epoch, 1);
    world_free(world);
}

static void bare_keys_and_binary_answers_are_read(void **state)
{
    for (int i = 0; i < 4; i++) {
        struct world *world = cluster(1);
        uint32_t topic;

        world_server_start(world, 0);
        world->servers[0].bare_keys = (i & 1) != 0;
        world->servers[0].form = i & 2 ? SALVO_HEADER_BINARY : SALVO_HEADER_JSON;
        world->config.header = i & 2 ? SALVO_HEADER_JSON : SALVO_HEADER_BINARY;
        assert_int_equal(world_start(world), 0);
        topic = world_topic_open(world, "T");
        world_run(world, 20 * MS);
        assert_int_equal(state_of(world, topic), SALVO_ROUTE_GOOD);
        assert_int_equal(atomic_load(&world->errors.used), 0);
        world_free(world);
    }
}

/* Whatever the first three do, the topic is good as soon as a good one is asked; the first question
 * starts at any of them, so each case is run with several. */
static void a_bad_nameserver_costs_its_deadline_and_one_clear_error(void **state)
{
    static const struct {
        enum world_behaviour behaviour;
        int64_t within_ms;
        const char *says;
    } cases[] = {
        {WORLD_SILENT, 3000, "no answer within 3000 ms; is it a nameserver?"},
        {WORLD_HTTP, 0, "it answers HTTP: not a RocketMQ port"},
        {WORLD_OVERSIZED, 0, "is no nameserver"},
        {WORLD_GARBAGE, 0, "is no nameserver"},
        {WORLD_CUT, 0, "cannot be reached"},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        struct world *world = cluster(2);
        uint32_t topic;

        world_server_start(world, 0);
        world_server_start(world, 1);
        world->servers[0].behaviour = cases[i].behaviour;
        assert_int_equal(world_start(world), 0);
        world->control.nameservers.chosen = 0;
        topic = world_topic_open(world, "T");
        world_run(world, (cases[i].within_ms + 20) * MS);
        assert_int_equal(state_of(world, topic), SALVO_ROUTE_GOOD);
        if (!world_error_has(world, cases[i].says))
            fail_msg("nothing says \"%s\"", cases[i].says);
        assert_true(world_error_has(world, "10.0.0.1:9000"));
        assert_int_equal(world->control.nameservers.chosen, 1);
        assert_int_equal(salvo_counter_get(world->counters, SALVO_CONTROL_NAMESERVER_SWITCHES), 1);
        /* The good one is kept. */
        world_run(world, 65 * S);
        assert_int_equal(world->servers[0].asked[SALVO_REQUEST_GET_ROUTEINFO_BY_TOPIC], 1);
        world_free(world);
    }
}

static void nobody_listening_is_an_error_within_the_deadline_and_is_tried_again(void **state)
{
    struct world *world = cluster(1);
    uint32_t topic;

    assert_int_equal(world_start(world), 0);
    topic = world_topic_open(world, "T");
    world_run(world, 50 * MS);
    assert_true(world_error_has(world, "cannot be reached"));
    assert_true(world_error_has(world, "option nameserver"));
    world_run(world, 5 * S);
    assert_int_equal(state_of(world, topic), SALVO_ROUTE_UNKNOWN);
    world_server_start(world, 0);
    salvo_routes_wanted(&world->control.routes, topic, salvo_clock_mono_ns(world->clock));
    world_run(world, 1100 * MS);
    assert_int_equal(state_of(world, topic), SALVO_ROUTE_GOOD);
    assert_true(atomic_load(&world->errors.entries[0].count) > 3); /* one entry, many times */
    world_free(world);
}

static void failover_when_the_chosen_nameserver_dies(void **state)
{
    struct world *world = cluster(3);
    uint32_t topic, chosen;

    for (uint32_t i = 0; i < 3; i++)
        world_server_start(world, i);
    assert_int_equal(world_start(world), 0);
    topic = world_topic_open(world, "T");
    world_run(world, 10 * S);
    chosen = world->control.nameservers.chosen;
    salvo_sim_host_down(world->sim, chosen, true, false);
    world_run(world, 30 * S);
    assert_int_equal(world->control.nameservers.chosen, (chosen + 1) % 3);
    assert_int_equal(world->servers[(chosen + 1) % 3].asked[SALVO_REQUEST_GET_ROUTEINFO_BY_TOPIC],
                     1);
    assert_int_equal(state_of(world, topic), SALVO_ROUTE_GOOD);
    world_free(world);
}

static void an_unknown_topic_gets_the_templates_route_until_it_is_real(void **state)
{
    struct world *world = cluster(1);
    const struct salvo_route_topic *route;
    struct salvo_route_data *real;
    uint32_t topic;

    world_server_start(world, 0);
    world_route_add(world, world_topic(world, "TBW102"), "broker-a", 3, 8);
    assert_int_equal(world_start(world), 0);
    topic = world_topic_open(world, "NEW");
    world_run(world, 20 * MS);
    assert_int_equal(state_of(world, topic), SALVO_ROUTE_GOOD);
    route = world_route_topic(world, topic);
    assert_int_equal(route->queues_count, 4); /* min(4, 8) */
    real = world_topic(world, "NEW");
    world_route_add(world, real, "broker-a", 3, 6);
    world_run(world, 31 * S);
    route = world_route_topic(world, topic);
    assert_int_equal(route->queues_count, 6);
    /* From here on a 17 changes nothing. */
    world->servers[0].code_next = SALVO_RESPONSE_TOPIC_NOT_EXIST;
    world_run(world, 31 * S);
    route = world_route_topic(world, topic);
    assert_int_equal(route->queues_count, 6);
    world_free(world);
}

static void no_topic_and_no_template_is_said_once_and_asked_again(void **state)
{
    struct world *world = cluster(1);
    uint32_t topic;

    world_server_start(world, 0);
    assert_int_equal(world_start(world), 0);
    topic = world_topic_open(world, "NEW");
    world_run(world, 20 * MS);
    assert_int_equal(state_of(world, topic), SALVO_ROUTE_NO_TOPIC);
    assert_int_equal(world_route_topic(world, topic)->state, SALVO_ROUTE_NO_TOPIC);
    assert_true(world_error_has(world, "autoCreateTopicEnable"));
    world_route_add(world, world_topic(world, "NEW"), "broker-a", 3, 1);
    world_run(world, 1 * S);
    assert_int_equal(state_of(world, topic), SALVO_ROUTE_GOOD);
    world_free(world);
}

static void an_error_forgets_no_route(void **state)
{
    struct world *world = cluster(1);
    uint32_t topic;

    world_server_start(world, 0);
    assert_int_equal(world_start(world), 0);
    topic = world_topic_open(world, "T");
    world_run(world, 1 * S);
    world->servers[0].behaviour = WORLD_HTTP;
    world_run(world, 100 * S);
    assert_int_equal(state_of(world, topic), SALVO_ROUTE_GOOD);
    assert_int_equal(world_route(world)->epoch, 1);
    world->servers[0].behaviour = WORLD_GOOD;
    world->servers[0].code_next = SALVO_RESPONSE_SYSTEM_ERROR;
    world_run(world, 40 * S);
    assert_true(world_error_has(world, "answered code 1"));
    assert_int_equal(state_of(world, topic), SALVO_ROUTE_GOOD);
    world_free(world);
}

static void wanting_a_route_is_limited_in_rate(void **state)
{
    struct world *world = cluster(1);
    uint32_t topic, before;

    world_server_start(world, 0);
    assert_int_equal(world_start(world), 0);
    topic = world_topic_open(world, "T");
    world_run(world, 5 * S);
    before = world->servers[0].asked[SALVO_REQUEST_GET_ROUTEINFO_BY_TOPIC];
    for (int i = 0; i < 400; i++) { /* for 4 s */
        world_lane_says(world, 0,
                        (struct salvo_event){.kind = SALVO_EVENT_ROUTE_WANTED, .topic = topic});
        world_run(world, 10 * MS);
    }
    assert_in_range(world->servers[0].asked[SALVO_REQUEST_GET_ROUTEINFO_BY_TOPIC] - before, 3, 5);
    world_free(world);
}

static void a_list_that_is_none_is_refused_with_the_remedy(void **state)
{
    static const char *const lists[] = {
        "",        ";",     "host", "host:", ":9876", "host:0", "host:99999", "http://localhost:80",
        "a:1,b:2", "a:1;b", "a b:1"};
    char error[256];

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(lists); i++) {
        if (salvo_nameservers_check(lists[i], error, sizeof(error)) == 0)
            fail_msg("\"%s\" was taken", lists[i]);
        assert_non_null(strstr(error, "option nameserver"));
        assert_non_null(strstr(error, "host:port"));
        assert_int_equal(strstr(error, "not by commas") != NULL, strchr(lists[i], ',') != NULL);
    }
    assert_int_equal(salvo_nameservers_check("a:1; b:2 ;[::1]:9876;", error, sizeof(error)), 0);
}

/* Control does not start without a list, and its net stays the caller's. */
static void starting_without_a_nameserver_is_refused(void **state)
{
    struct world *world = world_new(seed, 1);

    world->config.nameserver[0] = '\0';
    assert_true(world_start(world) < 0);
    assert_non_null(strstr(world->error, "option nameserver: none is given"));
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_topic_gets_its_route_at_once),
        cmocka_unit_test(routes_are_asked_for_again_each_interval_and_not_published_unchanged),
        cmocka_unit_test(bare_keys_and_binary_answers_are_read),
        cmocka_unit_test(a_bad_nameserver_costs_its_deadline_and_one_clear_error),
        cmocka_unit_test(nobody_listening_is_an_error_within_the_deadline_and_is_tried_again),
        cmocka_unit_test(failover_when_the_chosen_nameserver_dies),
        cmocka_unit_test(an_unknown_topic_gets_the_templates_route_until_it_is_real),
        cmocka_unit_test(no_topic_and_no_template_is_said_once_and_asked_again),
        cmocka_unit_test(an_error_forgets_no_route),
        cmocka_unit_test(wanting_a_route_is_limited_in_rate),
        cmocka_unit_test(a_list_that_is_none_is_refused_with_the_remedy),
        cmocka_unit_test(starting_without_a_nameserver_is_refused),
    };
    seed = unit_seed(20);
    print_message("seed %llu\n", (unsigned long long)seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
