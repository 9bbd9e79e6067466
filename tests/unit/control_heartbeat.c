/* Heartbeats, unregistering, GO_AWAY and what brokers ask, over the simulated network. */
#include "tests/unit/unit.h"

#include <errno.h>

#include "tests/support/control_world.h"

#define MS SALVO_NS_PER_MS
#define S  SALVO_NS_PER_S

static uint64_t seed;

/* Nameserver 0; brokers a and b are servers 1 and 2. */
static struct world *cluster(void)
{
    struct world *world = world_new(seed, 2);
    struct salvo_route_data *route = world_topic(world, "T");

    for (uint32_t i = 0; i < 3; i++)
        world_server_start(world, i);
    world_route_add(world, route, "broker-a", 1, 2);
    world_route_add(world, route, "broker-b", 2, 2);
    return world;
}

static uint32_t beats(struct world *world, uint32_t server)
{
    return world->servers[server].asked[SALVO_REQUEST_HEART_BEAT];
}

static void a_broker_gets_one_at_once_and_then_each_interval(void **state)
{
    struct world *world = cluster();

    assert_int_equal(world_start(world), 0);
    world_topic_open(world, "T");
    world_run(world, 20 * MS);
    assert_int_equal(beats(world, 1), 1);
    assert_int_equal(beats(world, 2), 1);
    assert_non_null(strstr(world->servers[1].last_body, "\"groupName\":\"salvo\""));
    assert_non_null(strstr(world->servers[1].last_body, "\"clientID\":\"10.9.9.9@"));
    world_run(world, 95 * S);
    assert_int_equal(beats(world, 1), 4);
    assert_int_equal(world->servers[1].connections, 1);
    assert_int_equal(salvo_counter_get(world->counters, SALVO_CONTROL_HEARTBEATS), 8);
    assert_int_equal(salvo_counter_get(world->counters, SALVO_CONTROL_BROKERS), 2);
    world_free(world);
}

static void a_lost_connection_is_registered_anew_soon(void **state)
{
    struct world *world = cluster();

    assert_int_equal(world_start(world), 0);
    world_topic_open(world, "T");
    world_run(world, 5 * S);
    salvo_sim_host_down(world->sim, 1, true, false);
    world_run(world, 2 * S);
    salvo_sim_host_down(world->sim, 1, false, false);
    world_run(world, 5 * S);
    assert_int_equal(world->servers[1].connections, 2);
    assert_int_equal(beats(world, 1), 2);
    assert_int_equal(beats(world, 2), 1);
    world_free(world);
}

/* A lane has no descriptor for its connections: one sentence, whatever the broker. */
static void a_lane_out_of_descriptors_is_said_once_with_the_remedy(void **state)
{
    struct world *world = cluster();

    assert_int_equal(world_start(world), 0);
    world_topic_open(world, "T");
    world_run(world, 1 * S);
    for (uint32_t i = 0; i < 6; i++)
        world_lane_says(world, 0,
                        (struct salvo_event){.kind = SALVO_EVENT_CONNECTION_DOWN,
                                             .broker = i % 2,
                                             .down = SALVO_NET_DOWN_ERROR,
                                             .code = EMFILE});
    world_run(world, 1 * S);
    assert_true(world_error_has(world, "out of descriptors (EMFILE); raise ulimit -n"));
    assert_false(world_error_has(world, "network error"));
    world_free(world);
}

static void a_silent_broker_costs_one_connection_per_try_and_one_error(void **state)
{
    struct world *world = cluster();

    world->servers[1].behaviour = WORLD_SILENT;
    assert_int_equal(world_start(world), 0);
    world_topic_open(world, "T");
    world_run(world, 60 * S);
    assert_true(
        world_error_has(world, "broker broker-a did not take a heartbeat: it did not answer"));
    assert_in_range(beats(world, 1), 3, 6); /* 1, 2, 4, 8... s and the deadline between */
    assert_int_equal(world->servers[1].connections, beats(world, 1));
    assert_int_equal(beats(world, 2), 2); /* nothing else disturbed */
    world_free(world);
}

static void go_away_is_answered_by_a_new_connection_and_one_more_try(void **state)
{
    struct world *world = cluster();

    world->servers[1].code_next = SALVO_RESPONSE_GO_AWAY;
    assert_int_equal(world_start(world), 0);
    world_topic_open(world, "T");
    world_run(world, 100 * MS);
    assert_int_equal(beats(world, 1), 2);
    assert_int_equal(world->servers[1].connections, 2);
    assert_int_equal(salvo_counter_get(world->counters, SALVO_CONTROL_HEARTBEATS), 2);
    assert_int_equal(salvo_counter_get(world->counters, SALVO_CONTROL_HEARTBEAT_FAILURES), 0);
    world_free(world);
}

static void what_a_broker_asks_is_answered_as_a_producer_does(void **state)
{
    struct world *world = cluster();

    assert_int_equal(world_start(world), 0);
    world_topic_open(world, "T");
    world_run(world, 1 * S);
    world_server_asks(world, 1, SALVO_REQUEST_NOTIFY_CONSUMER_IDS_CHANGED, 0);
    world_run(world, 1 * S);
    assert_int_equal(world->servers[1].answers_came, 0);
    world_server_asks(world, 1, 9999, SALVO_REMOTING_ONEWAY);
    world_run(world, 1 * S);
    assert_int_equal(world->servers[1].answers_came, 0);
    world_server_asks(world, 1, 9999, 0);
    world_run(world, 1 * S);
    assert_int_equal(world->servers[1].answers_came, 1);
    assert_int_equal(world->servers[1].last_answer_code, 3);
    world_server_asks(world, 1, 307, 0);
    world_run(world, 1 * S);
    assert_int_equal(world->servers[1].last_answer_code, 1);
    world_free(world);
}

static void a_broker_that_left_is_dropped_by_every_lane_before_its_number_is_free(void **state)
{
    struct world *world = cluster();
    uint32_t topic, broker;

    assert_int_equal(world_start(world), 0);
    topic = world_topic_open(world, "T");
    world_run(world, 1 * S);
    broker = world_route_topic(world, topic)->queues[2].broker; /* broker-b */
    world_topic(world, "T")->queue_datas_count = 1;
    world->lanes[1].stands_still = true;
    world_run(world, 31 * S);
    assert_int_equal(world_route_topic(world, topic)->queues_count, 2);
    assert_false(broker < world_route(world)->brokers_count &&
                 world_route(world)->brokers[broker].used);
    /* Lane 1 still uses the old snapshot: nobody is told to drop yet. */
    assert_int_equal(world->lanes[0].drops, 0);
    assert_int_equal(world->control.brokers.table[broker].state, SALVO_BROKER_LEAVING);
    world->lanes[1].stands_still = false;
    world_run(world, 1 * S);
    assert_int_equal(world->lanes[0].drops, UINT64_C(1) << broker);
    assert_int_equal(world->lanes[1].drops, UINT64_C(1) << broker);
    assert_int_equal(world->control.brokers.table[broker].state, SALVO_BROKER_FREE);
    assert_string_equal(salvo_control_broker_name(&world->control, broker), "broker-b");
    /* No heartbeats to it any more; when it comes back it gets another number. */
    assert_int_equal(beats(world, 2), 1);
    world_topic(world, "T")->queue_datas_count = 2;
    world_run(world, 61 * S);
    assert_int_equal(world_route_topic(world, topic)->queues_count, 4);
    assert_int_not_equal(world_route_topic(world, topic)->queues[2].broker, broker);
    world_free(world);
}

/* While a lane still waits for answers on its own connection. */
static void a_broker_that_left_gets_no_heartbeat_and_has_no_connection_or_fault(void **state)
{
    struct world *world = cluster();
    struct salvo_event outcome = {
        .kind = SALVO_EVENT_OUTCOME, .outcome = SALVO_OUTCOME_TIMEOUT, .latency_ns = 20 * S};
    uint32_t topic, had, up = 0;

    world->config.fault_latency = true;
    assert_int_equal(world_start(world), 0);
    topic = world_topic_open(world, "T");
    world_run(world, 29 * S);
    outcome.broker = world_route_topic(world, topic)->queues[2].broker; /* broker-b */
    world_lane_says(world, 0, outcome);
    world_run(world, 500 * MS);
    assert_int_not_equal(atomic_load(&world->availability[outcome.broker]), 0);
    world_topic(world, "T")->queue_datas_count = 1;
    world->lanes[1].stands_still = true;
    world_run(world, 600 * MS); /* the route is asked for each 30 s */
    assert_int_equal(world->control.brokers.table[outcome.broker].state, SALVO_BROKER_LEAVING);
    assert_int_equal(salvo_counter_get(world->counters, SALVO_CONTROL_BROKERS), 1);
    for (uint32_t i = 0; i < WORLD_LINKS_MAX; i++)
        up += world->servers[2].links[i].up;
    assert_int_equal(up, 0);
    assert_int_equal(atomic_load(&world->availability[outcome.broker]), 0);
    had = beats(world, 2);
    world_lane_says(world, 0, outcome); /* late */
    world_run(world, 100 * S);
    assert_int_equal(atomic_load(&world->availability[outcome.broker]), 0);
    assert_int_equal(salvo_counter_get(world->counters, SALVO_CONTROL_BROKERS_UNAVAILABLE), 0);
    assert_int_equal(beats(world, 2), had);
    assert_int_equal(salvo_counter_get(world->counters, SALVO_CONTROL_HEARTBEAT_FAILURES), 0);
    world_free(world);
}

static void stopping_unregisters_where_we_are_known(void **state)
{
    struct world *world = cluster();
    uint32_t asked;

    assert_int_equal(world_start(world), 0);
    world_topic_open(world, "T");
    world_run(world, 1 * S);
    assert_true(salvo_control_drain(&world->control, 0));
    world_run(world, 10 * MS);
    assert_true(salvo_control_drained(&world->control));
    assert_false(salvo_control_stopped(&world->control));
    asked = world->servers[0].asked[SALVO_REQUEST_GET_ROUTEINFO_BY_TOPIC];
    salvo_control_begin_stop(&world->control);
    assert_false(salvo_control_stopped(&world->control));
    world_run(world, 10 * MS);
    assert_true(salvo_control_stopped(&world->control));
    assert_int_equal(world->servers[1].asked[SALVO_REQUEST_UNREGISTER_CLIENT], 1);
    assert_int_equal(world->servers[2].asked[SALVO_REQUEST_UNREGISTER_CLIENT], 1);
    world_run(world, 100 * S);
    assert_int_equal(world->servers[0].asked[SALVO_REQUEST_GET_ROUTEINFO_BY_TOPIC], asked);
    world_free(world);
}

static void stopping_waits_for_a_silent_broker_no_longer_than_the_api_timeout(void **state)
{
    struct world *world = cluster();

    assert_int_equal(world_start(world), 0);
    world_topic_open(world, "T");
    world_run(world, 1 * S);
    world->servers[1].behaviour = WORLD_SILENT;
    salvo_control_begin_stop(&world->control);
    world_run(world, 2900 * MS);
    assert_false(salvo_control_stopped(&world->control));
    world_run(world, 101 * MS);
    assert_true(salvo_control_stopped(&world->control));
    world_free(world);
}

static void outcomes_become_availability_words(void **state)
{
    struct world *world = cluster();
    uint32_t topic, broker;

    world->config.fault_latency = true;
    assert_int_equal(world_start(world), 0);
    topic = world_topic_open(world, "T");
    world_run(world, 1 * S);
    assert_true(world_route(world)->outcomes_wanted);
    broker = world_route_topic(world, topic)->queues[0].broker;
    world_lane_says(world, 1,
                    (struct salvo_event){.kind = SALVO_EVENT_OUTCOME,
                                         .broker = broker,
                                         .outcome = SALVO_OUTCOME_TIMEOUT,
                                         .latency_ns = 1 * S});
    world_run(world, 2 * S);
    assert_false(salvo_availability_available(atomic_load(&world->availability[broker]),
                                              salvo_clock_mono_ns(world->clock)));
    assert_int_equal(salvo_counter_get(world->counters, SALVO_CONTROL_BROKERS_UNAVAILABLE), 1);
    world_run(world, 10 * S);
    assert_int_equal(salvo_counter_get(world->counters, SALVO_CONTROL_BROKERS_UNAVAILABLE), 0);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_broker_gets_one_at_once_and_then_each_interval),
        cmocka_unit_test(a_lost_connection_is_registered_anew_soon),
        cmocka_unit_test(a_lane_out_of_descriptors_is_said_once_with_the_remedy),
        cmocka_unit_test(a_silent_broker_costs_one_connection_per_try_and_one_error),
        cmocka_unit_test(go_away_is_answered_by_a_new_connection_and_one_more_try),
        cmocka_unit_test(what_a_broker_asks_is_answered_as_a_producer_does),
        cmocka_unit_test(a_broker_that_left_is_dropped_by_every_lane_before_its_number_is_free),
        cmocka_unit_test(a_broker_that_left_gets_no_heartbeat_and_has_no_connection_or_fault),
        cmocka_unit_test(stopping_unregisters_where_we_are_known),
        cmocka_unit_test(stopping_waits_for_a_silent_broker_no_longer_than_the_api_timeout),
        cmocka_unit_test(outcomes_become_availability_words),
    };
    seed = unit_seed(21);
    print_message("seed %llu\n", (unsigned long long)seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
