/* mock/mock.c and mock_text.c: its own thread over each kernel backend, calls of other threads
 * while it runs, settings by name, configurations that cannot be. */
#include "tests/support/mock_rig.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

static struct salvo_mock_conf conf; /* large */
static char errbuf[256];

/* A blocking socket, as the simplest of clients has it. */
static int dial(const char *address)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    char host[64];
    const char *colon = strrchr(address, ':');
    int64_t port;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    snprintf(host, sizeof(host), "%.*s", (int)(colon - address), address);
    assert_int_equal(inet_pton(AF_INET, host, &to.sin_addr), 1);
    assert_int_equal(salvo_parse_decimal(colon + 1, strlen(colon + 1), &port), 0);
    to.sin_port = htons((uint16_t)port);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

/* Sends one message and returns the code of its answer. */
static int32_t send_blocking(int fd, const char *key)
{
    char properties[64];
    struct salvo_send_fields fields;
    struct salvo_send_answer answer;
    struct salvo_frame frame;
    uint8_t bytes[2048];
    const char *why;
    ssize_t size;
    size_t have = 0;

    snprintf(properties, sizeof(properties), "UNIQ_KEY\001%s\002", key);
    fields = rig_fields("T", properties);
    size = salvo_send_write(bytes, sizeof(bytes) - 4, SALVO_HEADER_BINARY, &fields, 1000000001,
                            false, 4);
    assert_true(size > 0);
    memcpy(bytes + size, "body", 4);
    assert_int_equal(write(fd, bytes, (size_t)size + 4), size + 4);
    while (salvo_frame_parse(bytes, have, sizeof(bytes), &frame, &why) != 0) {
        size = read(fd, bytes + have, sizeof(bytes) - have);
        assert_true(size > 0);
        have += (size_t)size;
    }
    assert_int_equal(salvo_send_answer_read(&answer, &frame), 0);
    return answer.code;
}

static struct salvo_mock *started(const char *net)
{
    struct salvo_mock *mock = NULL;

    rig_conf(&conf);
    conf.net = net;
    if (salvo_mock_new(&conf, &mock, errbuf, sizeof(errbuf)) ||
        salvo_mock_start_thread(mock, errbuf, sizeof(errbuf)))
        fail_msg("%s", errbuf);
    return mock;
}

static void thread_of_its_own_serves_while_others_ask(void **state)
{
    struct salvo_mock *mock = started(*state);
    struct salvo_mock_stored stored;
    struct salvo_mock_stats stats;
    char text[2048];
    const char *note;
    int fd = dial(salvo_mock_host_address(mock, 1));

    assert_non_null(salvo_mock_net_name(mock, &note));
    for (int i = 0; i < 100; i++) {
        char key[16];

        snprintf(key, sizeof(key), "key-%d", i);
        assert_int_equal(send_blocking(fd, key), 0);
        assert_int_equal(salvo_mock_stored_find(mock, key, &stored, 1), 1);
        assert_int_equal(stored.order, i);
    }
    assert_int_equal(salvo_mock_topic_set(mock, "T", 0, 0, 6), 0);
    assert_int_equal(send_blocking(fd, "no queue"), 29);
    assert_int_equal(salvo_mock_host_down(mock, 1, true), 0);
    assert_int_equal(read(fd, text, 1), 0); /* the thread was woken to close it */
    close(fd);
    salvo_mock_stop(mock);
    salvo_mock_stats(mock, &stats);
    assert_int_equal(stats.messages, 100);
    assert_int_equal(stats.refused, 1);
    assert_int_equal(salvo_mock_stored_find(mock, "key-7", &stored, 1), 1);
    assert_true(salvo_mock_stats_text(mock, text, sizeof(text)) > 100);
    assert_non_null(strstr(text, "100 stored"));
    assert_int_equal(salvo_mock_stats_text(mock, text, 10), 9);
    salvo_mock_free(mock);
}

static void stopping_with_clients_connected_ends_at_once(void **state)
{
    struct salvo_mock *mock = started(*state);
    struct salvo_mock_fault fault = {.kind = SALVO_MOCK_FAULT_DELAY,
                                     .host = SALVO_MOCK_ALL,
                                     .request = SALVO_MOCK_REQUEST_ANY,
                                     .delay_ms = 3600000};
    int fd = dial(salvo_mock_nameserver_address(mock));
    uint8_t byte;

    assert_int_equal(salvo_mock_fault_add(mock, &fault), 0);
    assert_int_equal(write(fd, "\0\0", 2), 2); /* the front of a frame */
    salvo_mock_free(mock);
    assert_true(read(fd, &byte, 1) <= 0);
    close(fd);
}

static void port_that_is_taken_is_said_with_a_remedy(void **state)
{
    struct salvo_mock *first = started("epoll"), *second = NULL;
    struct salvo_endpoint at = salvo_mock_host_endpoint(first, 0);

    conf.port = ntohs(at.v4.sin_port);
    assert_int_equal(salvo_mock_new(&conf, &second, errbuf, sizeof(errbuf)), 0);
    assert_true(salvo_mock_start_thread(second, errbuf, sizeof(errbuf)) < 0);
    assert_non_null(strstr(errbuf, "cannot listen on 127.0.0.1:"));
    assert_non_null(strstr(errbuf, "choose another port"));
    salvo_mock_free(second);
    salvo_mock_free(first);
}

static void configurations_that_cannot_be_are_refused(void **state)
{
    struct salvo_mock *mock = NULL;

    rig_conf(&conf);
    conf.brokers = 33;
    assert_int_equal(salvo_mock_new(&conf, &mock, errbuf, sizeof(errbuf)), -EINVAL);
    assert_string_equal(errbuf, "mock: brokers must be 1 to 32");
    rig_conf(&conf);
    conf.port = 65535;
    assert_int_equal(salvo_mock_new(&conf, &mock, errbuf, sizeof(errbuf)), -EINVAL);
    rig_conf(&conf);
    conf.topics[0].queues = SALVO_MOCK_QUEUES_MAX + 1;
    assert_int_equal(salvo_mock_new(&conf, &mock, errbuf, sizeof(errbuf)), -EINVAL);
    rig_conf(&conf);
    conf.listen_address = "localhost";
    assert_int_equal(salvo_mock_new(&conf, &mock, errbuf, sizeof(errbuf)), 0);
    assert_int_equal(salvo_mock_start(mock, errbuf, sizeof(errbuf)), -EINVAL);
    assert_non_null(strstr(errbuf, "\"localhost\" is no IPv4 or IPv6 address"));
    salvo_mock_free(mock);
    rig_conf(&conf);
    conf.net = "carrier-pigeon";
    assert_int_equal(salvo_mock_new(&conf, &mock, errbuf, sizeof(errbuf)), 0);
    assert_true(salvo_mock_start(mock, errbuf, sizeof(errbuf)) < 0);
    salvo_mock_free(mock);
    salvo_mock_free(NULL);
}

static void addresses_are_advertised(void **state)
{
    struct salvo_mock *mock = NULL;
    uint32_t host;

    rig_conf(&conf);
    conf.nameservers = 2;
    conf.listen_address = "0.0.0.0";
    conf.advertise_address = "127.0.0.1";
    assert_int_equal(salvo_mock_new(&conf, &mock, errbuf, sizeof(errbuf)), 0);
    assert_int_equal(salvo_mock_start(mock, errbuf, sizeof(errbuf)), 0);
    assert_memory_equal(salvo_mock_nameserver_address(mock), "127.0.0.1:", 10);
    assert_non_null(strstr(salvo_mock_nameserver_address(mock), ";127.0.0.1:"));
    assert_int_equal(salvo_mock_host_find(mock, "broker-a", &host), 0);
    assert_int_equal(host, 2);
    assert_int_equal(salvo_mock_host_find(mock, "ns1", &host), 0);
    assert_int_equal(host, 1);
    assert_int_equal(salvo_mock_host_find(mock, "b1", &host), -ENOENT);
    salvo_mock_free(mock);
    rig_conf(&conf);
    conf.listen_address = "::1";
    assert_int_equal(salvo_mock_new(&conf, &mock, errbuf, sizeof(errbuf)), 0);
    if (salvo_mock_start(mock, errbuf, sizeof(errbuf)) == 0) /* a host may have no IPv6 */
        assert_memory_equal(salvo_mock_nameserver_address(mock), "[::1]:", 6);
    salvo_mock_free(mock);
}

static void settings_are_read_from_text(void **state)
{
    static const char *const bad[] = {
        "", "T:0", "T:1025", "T:x", "T:4:", "a b:4", ":4", "SCHEDULE_TOPIC_XXXX:1", "T:-1", "T: 4"};
    enum salvo_mock_generation generation;
    enum salvo_mock_form form;
    struct salvo_mock_topic topic;

    assert_int_equal(salvo_mock_topic_parse("Orders:8", &topic, errbuf, sizeof(errbuf)), 0);
    assert_string_equal(topic.name, "Orders");
    assert_int_equal(topic.queues, 8);
    assert_int_equal(salvo_mock_topic_parse("T", &topic, errbuf, sizeof(errbuf)), 0);
    assert_int_equal(topic.queues, 4);
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(bad); i++) {
        errbuf[0] = '\0';
        assert_int_equal(salvo_mock_topic_parse(bad[i], &topic, errbuf, sizeof(errbuf)), -EINVAL);
        assert_true(strlen(errbuf) > 20);
    }
    assert_int_equal(salvo_mock_generation_parse("4.9.7", &generation), 0);
    assert_int_equal(generation, SALVO_MOCK_4_9_7);
    assert_int_equal(salvo_mock_generation_parse("4.9", &generation), -EINVAL);
    assert_int_equal(salvo_mock_form_parse("binary", &form), 0);
    assert_int_equal(form, SALVO_MOCK_FORM_BINARY);
    assert_int_equal(salvo_mock_form_parse("xml", &form), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"epoll_thread_of_its_own", thread_of_its_own_serves_while_others_ask, NULL, NULL,
         (void *)"epoll"},
        {"auto_thread_of_its_own", thread_of_its_own_serves_while_others_ask, NULL, NULL,
         (void *)"auto"},
        {"epoll_stopping", stopping_with_clients_connected_ends_at_once, NULL, NULL,
         (void *)"epoll"},
        {"auto_stopping", stopping_with_clients_connected_ends_at_once, NULL, NULL, (void *)"auto"},
        cmocka_unit_test(port_that_is_taken_is_said_with_a_remedy),
        cmocka_unit_test(configurations_that_cannot_be_are_refused),
        cmocka_unit_test(addresses_are_advertised),
        cmocka_unit_test(settings_are_read_from_text),
    };

    return cmocka_run_group_tests_name("mock_mock", tests, NULL, NULL);
}
