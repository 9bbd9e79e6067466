/* What a sender that is turned by its caller tells its idle strategy; polls within polls; several
 * senders at once; captures where there is nothing to capture. */
#include "tests/unit/unit.h"

#include "control/api.h"

#include <errno.h>
#include <pthread.h>

/* Nobody answers there: whatever is submitted waits for its route. */
static salvo *sender_in_caller_mode(const char *lanes)
{
    const char *const options[][2] = {
        {"lanes", lanes},
        {"threads", "caller"},
        {"net", "null"},
        {"nameserver", "127.0.0.1:1"},
        {"body_size_max", "64KiB"},
    };
    salvo_conf *conf = salvo_conf_new();
    char error[256];
    salvo *sender;

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(options); i++)
        assert_int_equal(salvo_conf_set(conf, options[i][0], options[i][1], error, sizeof(error)),
                         0);
    sender = salvo_open(conf, error, sizeof(error));
    assert_non_null(sender);
    salvo_conf_free(conf);
    return sender;
}

static void count_result(void *arg, const salvo_result *result)
{
    (*(unsigned *)arg)++;
}

/* Callers idle only after a turn that found nothing. If the strategy then counted on from the last
 * such turn, it would never gather again, and wake for each answer. */
static void a_turn_that_found_work_ends_the_idle_turns(void **state)
{
    salvo *sender = sender_in_caller_mode("1");
    const struct salvo_idle *idle = &salvo_sender_of(sender)->idles[0];
    salvo_submitter *submitter = salvo_submitter_open(sender);
    salvo_topic *topic = salvo_topic_open(sender, "T");
    unsigned results = 0;
    salvo_msg *m;

    while (salvo_do_work(sender) != 0)
        ;
    for (unsigned i = 0; i < 3; i++)
        salvo_idle(sender, 0, 0);
    assert_true(idle->idle_turns >= 3);

    assert_int_equal(salvo_claim(submitter, topic, 1, &m), 0);
    *(char *)salvo_body(m) = 'x';
    assert_int_equal(salvo_commit(m, 1, 0), 0);
    assert_true(salvo_do_work(sender) > 0);
    assert_int_equal(idle->idle_turns, 0);

    salvo_drain(sender, 0);
    salvo_poll(submitter, count_result, &results, 1);
    assert_int_equal(results, 1);
    assert_int_equal(salvo_submitter_close(submitter), 0);
    assert_int_equal(salvo_close(sender), 0);
}

/* The lanes of one thread sleep together: what wakes one of them wakes the thread. */
static void several_lanes_sleep_when_none_has_work(void **state)
{
    salvo *sender = sender_in_caller_mode("3");
    struct salvo_sender *inside = salvo_sender_of(sender);
    uint64_t sleeps = 0;

    salvo_idle(sender, 0, 1000); /* nothing was turned yet: returns */
    while (salvo_do_work(sender) != 0)
        ;
    for (unsigned i = 0; i < 3; i++)
        salvo_idle(sender, 0, 1000);
    for (uint32_t i = 0; i < 3; i++) {
        sleeps += salvo_counter_get(inside->lanes[i]->conf.counters, SALVO_LANE_SLEEPS);
        assert_ptr_equal(inside->ports[i]->net, inside->lanes[0]->net);
        assert_int_equal(atomic_load(&inside->ports[i]->asleep), 0);
    }
    assert_true(sleeps > 0);
    salvo_drain(sender, 0);
    assert_int_equal(salvo_close(sender), 0);
}

static int epoll_in_lanes_1_and_2(void *arg, uint32_t lane_index, const struct salvo_net_conf *conf,
                                  struct salvo_net **ret_net, const char **ret_note)
{
    bool falls_back = lane_index == 1 || lane_index == 2;
    int r = salvo_net_open(falls_back ? "epoll" : "null", conf, ret_net, ret_note);

    if (falls_back)
        *ret_note = "too little of something: using epoll";
    return r;
}

static void the_note_about_the_network_counts_the_lanes_it_is_of(void **state)
{
    const struct salvo_sender_env env = {.net_open = epoll_in_lanes_1_and_2};
    salvo_conf *conf = salvo_conf_new();
    char error[SALVO_ERROR_MAX];
    salvo *sender;

    salvo_conf_set(conf, "nameserver", "127.0.0.1:1", NULL, 0);
    salvo_conf_set(conf, "threads", "caller", NULL, 0);
    salvo_conf_set(conf, "lanes", "4", NULL, 0);
    sender = salvo_open_in(conf, &env, error, sizeof(error));
    assert_non_null(sender);
    assert_string_equal(salvo_net_name(sender), "null");
    assert_string_equal(salvo_net_note(sender),
                        "in 2 of 4 lanes: too little of something: using epoll");
    assert_int_equal(salvo_close(sender), 0);

    sender = sender_in_caller_mode("4");
    assert_null(salvo_net_note(sender));
    assert_int_equal(salvo_close(sender), 0);
    salvo_conf_free(conf);
}

struct nested {
    salvo_submitter *submitter;
    uint64_t cookies; /* a bit each */
    int r;            /* of the poll within */
};

static void poll_again(void *arg, const salvo_result *result)
{
    struct nested *nested = arg;

    assert_int_equal(nested->cookies >> salvo_result_cookie(result) & 1, 0);
    nested->cookies |= UINT64_C(1) << salvo_result_cookie(result);
    nested->r = salvo_poll(nested->submitter, poll_again, nested, 1);
}

/* It would give the front result, which is with the callback, a second time, and the next one
 * never. */
static void a_poll_within_a_results_callback_takes_nothing(void **state)
{
    salvo *sender = sender_in_caller_mode("1");
    struct nested nested = {.submitter = salvo_submitter_open(sender)};
    salvo_topic *topic = salvo_topic_open(sender, "T");
    salvo_msg *m;

    for (uint64_t cookie = 0; cookie < 4; cookie++) {
        assert_int_equal(salvo_claim(nested.submitter, topic, 1, &m), 0);
        *(char *)salvo_body(m) = 'x';
        assert_int_equal(salvo_commit(m, 1, cookie), 0);
    }
    salvo_drain(sender, 0);
    assert_int_equal(salvo_poll(nested.submitter, poll_again, &nested, 8), 4);
    assert_int_equal(nested.cookies, 15);
    assert_int_equal(nested.r, -EBUSY);
    assert_int_equal(salvo_poll(nested.submitter, poll_again, &nested, 8), 0);
    assert_int_equal(salvo_submitter_close(nested.submitter), 0);
    assert_int_equal(salvo_close(sender), 0);
}

static void *open_and_close(void *arg)
{
    char text[16];

    for (unsigned i = 0; i < 3; i++) {
        salvo_conf *conf = salvo_conf_new();
        salvo *sender = sender_in_caller_mode("1");

        assert_int_equal(salvo_conf_get(conf, "net", text, sizeof(text)), 4);
        assert_string_equal(salvo_net_name(sender), "null");
        assert_int_equal(salvo_close(sender), 0);
        salvo_conf_free(conf);
    }
    return NULL;
}

/* They share nothing that is written: TSan looks. */
static void senders_are_opened_by_several_threads_at_once(void **state)
{
    pthread_t threads[4];

    for (unsigned i = 0; i < SALVO_ARRAY_LENGTH(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, open_and_close, NULL), 0);
    for (unsigned i = 0; i < SALVO_ARRAY_LENGTH(threads); i++)
        pthread_join(threads[i], NULL);
}

static void captures_are_for_dpdk_and_the_error_names_the_way_of_others(void **state)
{
    salvo *sender = sender_in_caller_mode("1");
    char error[SALVO_ERROR_MAX];

    assert_int_equal(salvo_capture_start(sender, "/tmp/none.pcap", NULL, error, sizeof(error)),
                     -ENOTSUP);
    assert_non_null(strstr(error, "dpdk"));
    assert_non_null(strstr(error, "tcpdump"));
    assert_int_equal(access("/tmp/none.pcap", F_OK), -1);
    assert_int_equal(salvo_capture_active(sender), 0);
    assert_int_equal(salvo_capture_stop(sender), -ENOENT);
    assert_int_equal(salvo_close(sender), 0);
}

static void options_of_captures_are_checked_before_anything_is_taken(void **state)
{
    static const struct {
        const char *name, *value, *says;
    } cases[] = {
        {"dpdk_capture", "/tmp/none.pcap", "tcpdump"},
        {"dpdk_capture_filter", "port http", "host ADDRESS"},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        salvo_conf *conf = salvo_conf_new();
        char error[SALVO_ERROR_MAX];

        salvo_conf_set(conf, "nameserver", "127.0.0.1:1", NULL, 0);
        salvo_conf_set(conf, "net", "null", NULL, 0);
        assert_int_equal(salvo_conf_set(conf, cases[i].name, cases[i].value, error, sizeof(error)),
                         0);
        assert_null(salvo_open(conf, error, sizeof(error)));
        assert_non_null(strstr(error, cases[i].name));
        assert_non_null(strstr(error, cases[i].says));
        salvo_conf_free(conf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_turn_that_found_work_ends_the_idle_turns),
        cmocka_unit_test(several_lanes_sleep_when_none_has_work),
        cmocka_unit_test(the_note_about_the_network_counts_the_lanes_it_is_of),
        cmocka_unit_test(a_poll_within_a_results_callback_takes_nothing),
        cmocka_unit_test(senders_are_opened_by_several_threads_at_once),
        cmocka_unit_test(captures_are_for_dpdk_and_the_error_names_the_way_of_others),
        cmocka_unit_test(options_of_captures_are_checked_before_anything_is_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
