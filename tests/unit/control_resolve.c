/* Addresses, names, the table of topics and who we are. */
#include "tests/unit/unit.h"

#include "base/cpu.h"
#include "control/brokers.h"
#include "control/identity.h"
#include "control/resolve.h"
#include "control/topics.h"
#include "dataplane/net_sim.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>

static void numeric_addresses_are_read_and_printed(void **state)
{
    static const struct {
        const char *host, *printed;
    } cases[] = {
        {"127.0.0.1", "127.0.0.1:9876"},
        {"::1", "[::1]:9876"},
        {"[::1]", "[::1]:9876"},
        {"localhost", NULL},
        {"1.2.3", NULL},
        {"", NULL},
        {"[]", NULL},
        {"[", NULL},
        {"1.2.3.4.5", NULL},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        struct salvo_endpoint endpoint;
        char text[64];
        int r = salvo_resolve_numeric(cases[i].host, 9876, &endpoint);

        assert_int_equal(r, cases[i].printed == NULL ? -EINVAL : 0);
        if (r)
            continue;
        salvo_endpoint_print(&endpoint, text, sizeof(text));
        assert_string_equal(text, cases[i].printed);
        assert_true(salvo_endpoint_equal(&endpoint, &endpoint));
    }
}

/* "localhost" is ::1 and 127.0.0.1, and often nobody listens at the first. */
static void each_address_of_a_name_has_its_turn(void **state)
{
    struct salvo_endpoint v4 = {.v4 = {.sin_family = AF_INET, .sin_port = 1}};
    struct salvo_endpoint v6 = {.v6 = {.sin6_family = AF_INET6, .sin6_port = 1}};
    struct addrinfo last = {.ai_family = AF_INET, .ai_addrlen = sizeof(v4.v4), .ai_addr = &v4.any};
    struct addrinfo other = {.ai_family = AF_UNIX, .ai_next = &last};
    struct addrinfo first = {
        .ai_family = AF_INET6, .ai_addrlen = sizeof(v6.v6), .ai_addr = &v6.any, .ai_next = &other};

    for (uint32_t turn = 0; turn < 5; turn++) {
        struct salvo_endpoint chosen;

        assert_int_equal(salvo_resolve_choose(&first, turn, &chosen), 0);
        assert_true(salvo_endpoint_equal(&chosen, turn % 2 == 0 ? &v6 : &v4));
    }
    other.ai_next = NULL;
    assert_int_equal(salvo_resolve_choose(&other, 3, &v4), -ENOENT);
    assert_int_equal(salvo_resolve_choose(NULL, 3, &v4), -ENOENT);
}

struct answer {
    int count;
    int result;
    uint64_t cookie;
    struct salvo_endpoint endpoint;
};

static void answered(void *arg, uint64_t cookie, int result, const struct salvo_endpoint *endpoint,
                     int64_t now_ns)
{
    struct answer *answer = arg;

    answer->count++;
    answer->result = result;
    answer->cookie = cookie;
    answer->endpoint = *endpoint;
}

static void names_are_looked_up_on_the_helper_and_wake_us(void **state)
{
    struct salvo_resolver resolver;
    struct salvo_net_conf conf;
    struct salvo_net *net;
    struct answer good = {0}, bad = {0}, at_once = {0};

    salvo_net_conf_default(&conf, salvo_clock_system());
    assert_int_equal(salvo_net_epoll_open(&conf, &net), 0);
    salvo_resolver_init(&resolver, net);
    assert_int_equal(salvo_resolver_ask(&resolver, "10.1.2.3", 5, 0, answered, &at_once, 1, 0), 0);
    assert_int_equal(at_once.count, 1);
    assert_null(resolver.shared); /* no thread for that */
    assert_int_equal(salvo_resolver_ask(&resolver, "localhost", 9876, 0, answered, &good, 7, 0), 0);
    assert_int_equal(salvo_resolver_ask(&resolver, "not a name", 9876, 0, answered, &bad, 8, 0), 0);
    for (int i = 0; i < 100 && good.count + bad.count < 2; i++) {
        salvo_net_wait(net, 1, 0, SALVO_NS_PER_S);
        salvo_resolver_do_work(&resolver, 0);
    }
    assert_int_equal(good.count, 1);
    assert_int_equal(good.result, 0);
    assert_int_equal(good.cookie, 7);
    assert_int_equal(bad.count, 1);
    assert_true(bad.result < 0);
    salvo_resolver_deinit(&resolver);
    salvo_net_destroy(net);
}

/* More names than the resolver takes at once: the others are asked for as soon as it can, and
 * nobody is told of an error. Answers are taken only after all were asked for, so that it does run
 * full. */
static void brokers_by_name_wait_for_the_resolver(void **state)
{
    enum { BROKERS = 3 * SALVO_RESOLVE_JOBS_MAX };
    struct salvo_error_log errors = {0};
    salvo_counter counters[SALVO_CONTROL_COUNTERS] = {0};
    struct salvo_report report = {.clock = salvo_clock_system(),
                                  .log = &(struct salvo_log){.level = SALVO_LOG_ERROR},
                                  .errors = &errors,
                                  .counters = counters};
    struct salvo_resolver resolver;
    struct salvo_brokers brokers;
    struct salvo_net_conf conf;
    struct salvo_net *net;
    int64_t now_ns = 0;
    uint32_t left = BROKERS;

    salvo_net_conf_default(&conf, salvo_clock_system());
    assert_int_equal(salvo_net_epoll_open(&conf, &net), 0);
    salvo_resolver_init(&resolver, net);
    assert_int_equal(salvo_brokers_init(&brokers, BROKERS, NULL, 1, &report, &resolver, NULL), 0);
    assert_int_equal(salvo_brokers_next_ns(&brokers), INT64_MAX);
    for (uint32_t i = 0; i < BROKERS; i++) {
        char name[16], address[32];

        snprintf(name, sizeof(name), "b%u", i);
        snprintf(address, sizeof(address), "localhost:%u", 1000 + i);
        assert_int_equal(salvo_brokers_take(&brokers, name), i);
        salvo_brokers_address(&brokers, i, address, now_ns);
    }
    for (int round = 0; round < 1000 && left != 0; round++) {
        assert_true(salvo_brokers_next_ns(&brokers) == INT64_MAX ||
                    salvo_brokers_next_ns(&brokers) - now_ns <= SALVO_NS_PER_S);
        now_ns += 100 * SALVO_NS_PER_MS;
        salvo_brokers_ask_again(&brokers, now_ns);
        salvo_net_wait(net, 1, 0, 100 * SALVO_NS_PER_MS);
        salvo_resolver_do_work(&resolver, now_ns);
        left = 0;
        for (uint32_t i = 0; i < BROKERS; i++)
            left += !brokers.table[i].route.has_endpoint;
    }
    assert_int_equal(left, 0);
    assert_int_equal(salvo_brokers_next_ns(&brokers), INT64_MAX);
    assert_int_equal(atomic_load(&errors.used), 0);
    for (uint32_t i = 0; i < BROKERS; i++)
        assert_int_equal(ntohs(brokers.table[i].route.endpoint.v4.sin_port), 1000 + i);
    salvo_brokers_deinit(&brokers);
    salvo_resolver_deinit(&resolver);
    salvo_net_destroy(net);
}

static void virtual_time_has_addresses_only(void **state)
{
    struct salvo_sim_world *world;
    struct salvo_resolver resolver;
    struct salvo_sim_conf sim;
    struct salvo_net_conf conf;
    struct salvo_net *net;
    struct answer answer = {0};

    salvo_sim_conf_default(&sim, 1);
    assert_int_equal(salvo_sim_world_new(&sim, &world), 0);
    salvo_net_conf_default(&conf, salvo_sim_world_clock(world));
    assert_int_equal(salvo_net_sim_open(world, 1, &conf, &net), 0);
    salvo_resolver_init(&resolver, net);
    assert_int_equal(salvo_resolver_ask(&resolver, "localhost", 1, 0, answered, &answer, 0, 0),
                     -ENOENT);
    assert_int_equal(salvo_resolver_ask(&resolver, "10.0.0.1", 1, 0, answered, &answer, 0, 0), 0);
    assert_int_equal(answer.count, 1);
    salvo_resolver_deinit(&resolver);
    salvo_net_destroy(net);
    salvo_sim_world_free(world);
}

static void topics_keep_their_numbers(void **state)
{
    struct salvo_topics topics;
    char name[32], long_name[200];
    uint32_t number;

    assert_int_equal(salvo_topics_init(&topics, 100), 0);
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 100; i++) {
            int n = snprintf(name, sizeof(name), "topic-%u", i);

            assert_int_equal(salvo_topics_add(&topics, name, (size_t)n, &number), 0);
            assert_int_equal(number, i);
            assert_string_equal(salvo_topics_name(&topics, number), name);
        }
    }
    number = 12345;
    assert_int_equal(salvo_topics_add(&topics, "one more", 8, &number), -ENOSPC);
    memset(long_name, 'a', sizeof(long_name));
    assert_int_equal(salvo_topics_add(&topics, long_name, 128, &number), -EINVAL);
    assert_int_equal(salvo_topics_add(&topics, "", 0, &number), -EINVAL);
    assert_int_equal(number, 12345);
    assert_int_equal(salvo_topics_count(&topics), 100);
    salvo_topics_deinit(&topics);
}

static void *add_all(void *arg)
{
    struct salvo_topics *topics = arg;

    for (uint32_t i = 0; i < 1000; i++) {
        char name[32];
        int n = snprintf(name, sizeof(name), "topic-%u", i);
        uint32_t number;

        assert_int_equal(salvo_topics_add(topics, name, (size_t)n, &number), 0);
        assert_string_equal(salvo_topics_name(topics, number), name);
    }
    return NULL;
}

static void threads_agree_on_topics(void **state)
{
    struct salvo_topics topics;
    pthread_t threads[4];

    assert_int_equal(salvo_topics_init(&topics, 1000), 0);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(salvo_thread_start(&threads[i], "topics", add_all, &topics), 0);
    for (size_t i = 0; i < 4; i++)
        salvo_thread_join(threads[i]);
    assert_int_equal(salvo_topics_count(&topics), 1000);
    salvo_topics_deinit(&topics);
}

static void the_client_id_is_address_and_instance(void **state)
{
    struct salvo_identity identity;
    static struct salvo_config config;
    char expected[64];

    salvo_config_init(&config);
    salvo_identity_init(&identity, &config, 77, 1700000000000);
    assert_non_null(strchr(identity.client_id, '@'));
    snprintf(expected, sizeof(expected), "@%d#77", (int)getpid());
    assert_non_null(strstr(identity.client_id, expected));
    assert_true(identity.ip_size == 4 || identity.ip_size == 16);
    assert_int_equal(identity.pid, (uint16_t)getpid());

    snprintf(config.client_ip, sizeof(config.client_ip), "10.1.2.3");
    snprintf(config.instance_name, sizeof(config.instance_name), "me");
    salvo_identity_init(&identity, &config, 77, 1700000000000);
    assert_string_equal(identity.client_id, "10.1.2.3@me");
    assert_memory_equal(identity.ip, "\x0a\x01\x02\x03", 4);
    snprintf(config.client_ip, sizeof(config.client_ip), "fd00::1");
    salvo_identity_init(&identity, &config, 77, 1700000000000);
    assert_int_equal(identity.ip_size, 16);
    snprintf(config.client_ip, sizeof(config.client_ip), "my-host");
    salvo_identity_init(&identity, &config, 77, 1700000000000);
    assert_string_equal(identity.client_id, "my-host@me");
    assert_true(identity.ip_size == 4 || identity.ip_size == 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numeric_addresses_are_read_and_printed),
        cmocka_unit_test(each_address_of_a_name_has_its_turn),
        cmocka_unit_test(names_are_looked_up_on_the_helper_and_wake_us),
        cmocka_unit_test(brokers_by_name_wait_for_the_resolver),
        cmocka_unit_test(virtual_time_has_addresses_only),
        cmocka_unit_test(topics_keep_their_numbers),
        cmocka_unit_test(threads_agree_on_topics),
        cmocka_unit_test(the_client_id_is_address_and_instance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
