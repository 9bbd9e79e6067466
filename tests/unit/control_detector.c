/* Probes of brokers that are not reachable, over the simulated network. */
#include "tests/unit/unit.h"

#include "tests/support/control_world.h"

#define MS SALVO_NS_PER_MS
#define S  SALVO_NS_PER_S

static struct world *world;
static uint32_t topic;

/* Nameserver 0; brokers a and b are servers 1 and 2. */
static int setup(void **state)
{
    struct salvo_route_data *route;

    world = world_new(unit_seed(31), 2);
    route = world_topic(world, "T");
    for (uint32_t i = 0; i < 3; i++)
        world_server_start(world, i);
    world_route_add(world, route, "broker-a", 1, 2);
    world_route_add(world, route, "broker-b", 2, 2);
    world->config.fault_latency = true;
    world->config.fault_detector = true;
    return 0;
}

static int teardown(void **state)
{
    world_free(world);
    return 0;
}

static void start(void)
{
    assert_int_equal(world_start(world), 0);
    topic = world_topic_open(world, "T");
    world_run(world, 1 * S);
}

static uint32_t broker_b(void)
{
    return world_route_topic(world, topic)->queues[2].broker;
}

static uint64_t word(void)
{
    return atomic_load(&world->availability[broker_b()]);
}

static uint32_t probes(uint32_t server)
{
    return world->servers[server].asked[SALVO_REQUEST_GET_MAX_OFFSET];
}

static uint64_t counter(enum salvo_control_counter which)
{
    return salvo_counter_get(world->counters, which);
}

static void says(enum salvo_outcome outcome)
{
    world_lane_says(world, 0,
                    (struct salvo_event){.kind = SALVO_EVENT_OUTCOME,
                                         .broker = broker_b(),
                                         .outcome = outcome,
                                         .latency_ns = MS});
}

static void only_a_good_probe_makes_a_lost_broker_reachable(void **state)
{
    uint64_t until;

    start();
    salvo_sim_host_down(world->sim, 2, true, false);
    says(SALVO_OUTCOME_CONNECTION_LOST);
    world_run(world, 19 * S); /* its 10 s of penalty are long over */
    assert_false(salvo_availability_reachable(word()));
    assert_false(salvo_availability_available(word(), salvo_clock_mono_ns(world->clock)));
    assert_int_equal(counter(SALVO_CONTROL_BROKERS_UNREACHABLE), 1);
    assert_int_equal(counter(SALVO_CONTROL_PROBES), 0);
    assert_in_range(counter(SALVO_CONTROL_PROBE_FAILURES), 8, 9); /* each 2 s, all refused */
    until = word() & ~SALVO_AVAILABILITY_UNREACHABLE;
    salvo_sim_host_down(world->sim, 2, false, false);
    world_run(world, 4 * S);
    assert_int_equal(word(), until);
    assert_int_equal(counter(SALVO_CONTROL_PROBES), 1);
    assert_int_equal(counter(SALVO_CONTROL_BROKERS_UNREACHABLE), 0);
    assert_int_equal(probes(2), 1);
    world_run(world, 60 * S); /* and no more of them */
    assert_int_equal(probes(2), 1);
    assert_int_equal(probes(1), 0);
}

static void an_answer_that_is_late_or_no_success_leaves_it_unreachable(void **state)
{
    start();
    says(SALVO_OUTCOME_TIMEOUT);
    world_run(world, 1 * S);
    salvo_sim_slow(world->sim, 2, 150 * MS); /* there and back: more than 200 ms */
    world_run(world, 4 * S);
    assert_int_equal(probes(2), 2);
    assert_int_equal(counter(SALVO_CONTROL_PROBE_FAILURES), 2);
    salvo_sim_slow(world->sim, 2, 0);
    world->servers[2].code_next = SALVO_RESPONSE_SYSTEM_ERROR;
    world_run(world, 2 * S);
    assert_int_equal(counter(SALVO_CONTROL_PROBE_FAILURES), 3);
    assert_false(salvo_availability_reachable(word()));
    world_run(world, 2 * S);
    assert_true(salvo_availability_reachable(word()));
    /* None of this cost the connection on which the group is registered. */
    assert_int_equal(world->servers[2].connections, 1);
}

static void a_silent_broker_is_registered_with_anew_when_it_speaks_again(void **state)
{
    uint32_t beats;

    start();
    world->servers[2].behaviour = WORLD_SILENT;
    says(SALVO_OUTCOME_TIMEOUT);
    world_run(world, 10 * S);
    assert_false(salvo_availability_reachable(word()));
    assert_true(world->servers[2].connections > 1); /* closed after api_timeout_ms without a word */
    beats = world->servers[2].asked[SALVO_REQUEST_HEART_BEAT];
    world->servers[2].behaviour = WORLD_GOOD;
    world_run(world, 9 * S);
    assert_true(salvo_availability_reachable(word()));
    assert_true(world->servers[2].asked[SALVO_REQUEST_HEART_BEAT] > beats);
}

/* The probe is open, and nothing else is asked on that connection. */
static void a_connection_closed_for_a_probe_is_made_and_registered_anew(void **state)
{
    uint32_t beats;

    start();
    says(SALVO_OUTCOME_TIMEOUT);
    world_run(world, 1 * S);
    world->servers[2].behaviour = WORLD_SILENT;
    beats = world->servers[2].asked[SALVO_REQUEST_HEART_BEAT];
    world_run(world, 2 * S);
    assert_int_equal(probes(2), 1);
    says(SALVO_OUTCOME_GOOD); /* no more probes */
    world_run(world, 2900 * MS);
    world->servers[2].behaviour = WORLD_GOOD;
    world_run(world, 3 * S);
    assert_int_equal(probes(2), 1);
    assert_int_equal(world->servers[2].connections, 2);
    assert_int_equal(world->servers[2].asked[SALVO_REQUEST_HEART_BEAT], beats + 1);
}

static void a_good_result_ends_the_probes(void **state)
{
    start();
    says(SALVO_OUTCOME_CONNECTION_LOST);
    world_run(world, 1 * S);
    assert_false(salvo_availability_reachable(word()));
    says(SALVO_OUTCOME_GOOD);
    world_run(world, 10 * S);
    assert_true(salvo_availability_reachable(word()));
    assert_int_equal(probes(2), 0);
}

static void an_error_answered_by_a_broker_says_that_it_is_reachable(void **state)
{
    start();
    says(SALVO_OUTCOME_BROKER_ERROR);
    world_run(world, 1 * S);
    assert_true(salvo_availability_reachable(word()));
    assert_false(salvo_availability_available(word(), salvo_clock_mono_ns(world->clock)));
}

static void a_broker_that_left_is_not_probed(void **state)
{
    uint32_t before;

    start();
    world->servers[2].behaviour = WORLD_SILENT; /* a probe is open nearly all the time */
    says(SALVO_OUTCOME_TIMEOUT);
    world_run(world, 27 * S);
    assert_int_equal(counter(SALVO_CONTROL_BROKERS_UNREACHABLE), 1);
    world_topic(world, "T")->queue_datas_count = 1;
    world_run(world, 5 * S);
    before = probes(2);
    assert_int_equal(counter(SALVO_CONTROL_BROKERS_UNREACHABLE), 0);
    world_run(world, 60 * S);
    assert_int_equal(probes(2), before);
}

static void nothing_of_it_without_the_option_or_with_the_old_table(void **state)
{
    if (*state != NULL)
        world->config.fault_table = SALVO_FAULT_TABLE_4_7_1;
    else
        world->config.fault_detector = false;
    start();
    says(SALVO_OUTCOME_CONNECTION_LOST);
    world_run(world, 9 * S);
    assert_true(salvo_availability_reachable(word()));
    assert_false(salvo_availability_available(word(), salvo_clock_mono_ns(world->clock)));
    assert_int_equal(probes(2), 0);
}

static void stopping_ends_the_probes(void **state)
{
    start();
    says(SALVO_OUTCOME_CONNECTION_LOST);
    world_run(world, 1 * S);
    salvo_control_begin_stop(&world->control);
    world_run(world, 10 * S);
    assert_int_equal(probes(2), 0);
}

#define DETECTOR_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    static int old_table;
    const struct CMUnitTest tests[] = {
        DETECTOR_TEST(only_a_good_probe_makes_a_lost_broker_reachable),
        DETECTOR_TEST(an_answer_that_is_late_or_no_success_leaves_it_unreachable),
        DETECTOR_TEST(a_silent_broker_is_registered_with_anew_when_it_speaks_again),
        DETECTOR_TEST(a_connection_closed_for_a_probe_is_made_and_registered_anew),
        DETECTOR_TEST(a_good_result_ends_the_probes),
        DETECTOR_TEST(an_error_answered_by_a_broker_says_that_it_is_reachable),
        DETECTOR_TEST(a_broker_that_left_is_not_probed),
        DETECTOR_TEST(nothing_of_it_without_the_option_or_with_the_old_table),
        {"the old table", nothing_of_it_without_the_option_or_with_the_old_table, setup, teardown,
         &old_table},
        DETECTOR_TEST(stopping_ends_the_probes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
