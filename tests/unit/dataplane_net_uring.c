/* dataplane/net, net_uring: what only it has. Threads it does not belong to, hosts that refuse it
 * or lock little memory, zero-copy that does not pay. What all backends share: dataplane_net.c. */
#include "tests/support/net_fixture.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static const struct net_backend uring = {.name = "uring", .open = salvo_net_uring_open};
static struct net_fixture fixture;

static void *poll_it(void *arg)
{
    struct salvo_net_event event;

    salvo_net_poll(arg, &event, 1);
    return NULL;
}

static void poll_on_another_thread(void *arg)
{
    struct salvo_net_conf conf;
    struct salvo_net *net;
    pthread_t thread;

    salvo_net_conf_default(&conf, salvo_clock_system());
    conf.disabled = true;
    if (salvo_net_uring_open(&conf, &net) != 0)
        return;
    poll_it(net);
    pthread_create(&thread, NULL, poll_it, net);
    pthread_join(thread, NULL);
}

static void a_call_by_another_thread_stops_the_process(void **state)
{
    assert_true(unit_aborts(poll_on_another_thread, NULL));
}

static void *destroy_it(void *arg)
{
    salvo_net_destroy(arg);
    return NULL;
}

/* It has the stack of the one before, and all its addresses; to the kernel it is another. */
static void a_thread_in_the_place_of_one_that_ended_is_not_the_owner(void **state)
{
    struct salvo_net_conf conf;
    struct salvo_net *net;
    pthread_t thread;

    salvo_net_conf_default(&conf, salvo_clock_system());
    conf.disabled = true;
    assert_int_equal(salvo_net_uring_open(&conf, &net), 0);
    pthread_create(&thread, NULL, poll_it, net);
    pthread_join(thread, NULL);
    pthread_create(&thread, NULL, destroy_it, net);
    pthread_join(thread, NULL);
}

/* Runs in a child, because it cannot be undone. Its exit code is the result. */
static int child_result(int (*run)(void))
{
    int status;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0)
        _exit(run());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int refuse_io_uring(unsigned error)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = SALVO_ARRAY_LENGTH(filter), .filter = filter};
    struct salvo_net_conf conf;
    struct salvo_net *net = NULL;
    const char *note = NULL;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        return 1;
    salvo_net_conf_default(&conf, salvo_clock_system());
    if (salvo_net_uring_open(&conf, &net) != -(int)error || net != NULL)
        return 2;
    if (salvo_net_open("uring", &conf, &net, &note) != -(int)error || net != NULL || note != NULL)
        return 3;
    if (salvo_net_open("auto", &conf, &net, &note) != 0 || note == NULL)
        return 4;
    if (strcmp(salvo_net_ops(net)->name, "epoll") != 0 || strstr(note, "using epoll") == NULL)
        return 5;
    salvo_net_destroy(net);
    return 0;
}

static int refuse_with_eperm(void)
{
    return refuse_io_uring(EPERM);
}

static int refuse_with_enosys(void)
{
    return refuse_io_uring(ENOSYS);
}

static void a_host_that_refuses_io_uring_gets_epoll_and_hears_why(void **state)
{
    assert_int_equal(child_result(refuse_with_eperm), 0);
    assert_int_equal(child_result(refuse_with_enosys), 0);
}

static void names_are_known_or_refused(void **state)
{
    struct salvo_net_conf conf;
    struct salvo_net *net = NULL;
    const char *note = "untouched";

    salvo_net_conf_default(&conf, salvo_clock_system());
    assert_int_equal(salvo_net_open("carrier pigeon", &conf, &net, &note), -EINVAL);
    assert_null(net);
    assert_string_equal(note, "untouched");
    assert_int_equal(salvo_net_open("auto", &conf, &net, &note), 0);
    assert_null(note);
    assert_string_equal(salvo_net_ops(net)->name, "uring");
    salvo_net_destroy(net);
    assert_int_equal(salvo_net_open("epoll", &conf, &net, &note), 0);
    assert_string_equal(salvo_net_ops(net)->name, "epoll");
    salvo_net_destroy(net);
}

static void echo_a_megabyte(struct net_fixture *f)
{
    uint32_t link;

    f->server.echo = true;
    link = fixture_connect(f);
    fixture_send(f, &f->client, link, SALVO_MIB(1), 0);
    FIXTURE_TURN_UNTIL(f, f->client.ends[link].received == SALVO_MIB(1) &&
                              f->client.ends[link].out.released == SALVO_MIB(1));
    fixture_end(&f->client, link);
    FIXTURE_TURN_UNTIL(f, f->client.ends[link].gone && f->server.gone_count == 1);
}

/* On loopback each zero-copy send is copied after all, and the kernel says so. */
static void zero_copy_turns_itself_off_where_it_does_not_pay(void **state)
{
    struct net_fixture *f = &fixture;

    fixture_init(f, &uring);
    f->conf.zero_copy_min = 1;
    fixture_open(f);
    assert_true(salvo_net_caps(f->client.net) & SALVO_NET_CAP_ZERO_COPY);
    echo_a_megabyte(f);
    assert_false(salvo_net_caps(f->client.net) & SALVO_NET_CAP_ZERO_COPY);
    fixture_close(f);

    fixture_init(f, &uring);
    f->conf.zero_copy_min = 0;
    fixture_open(f);
    assert_false(salvo_net_caps(f->client.net) & SALVO_NET_CAP_ZERO_COPY);
    fixture_close(f);
}

static void registered_memory_is_sent_from(void **state)
{
    struct net_fixture *f = &fixture;
    uint8_t *memory = aligned_alloc(4096, SALVO_MIB(2));
    uint32_t link;

    fixture_init(f, &uring);
    f->conf.zero_copy_min = 1;
    f->conf.send_memory = memory;
    f->conf.send_memory_size = SALVO_MIB(2);
    fixture_open(f);
    assert_true(salvo_net_caps(f->client.net) & SALVO_NET_CAP_REGISTERED_BUFFERS);
    link = fixture_connect(f);
    f->client.ends[link].out.bytes = memory;
    fixture_send(f, &f->client, link, SALVO_MIB(1), 0);
    FIXTURE_TURN_UNTIL(f, f->server.ends[f->server.accepted[0]].received == SALVO_MIB(1) &&
                              f->client.ends[link].out.released == SALVO_MIB(1));
    fixture_close(f); /* and frees `memory`, which is the link's */
}

/* Without zero-copy nothing would be sent from registered memory: none is locked for it. */
static void memory_is_registered_for_zero_copy_alone(void **state)
{
    struct net_fixture *f = &fixture;
    uint8_t *memory = aligned_alloc(4096, SALVO_MIB(2));

    fixture_init(f, &uring);
    f->conf.zero_copy_min = 0;
    f->conf.send_memory = memory;
    f->conf.send_memory_size = SALVO_MIB(2);
    fixture_open(f);
    assert_false(salvo_net_caps(f->client.net) & SALVO_NET_CAP_REGISTERED_BUFFERS);
    fixture_close(f);
    free(memory);
}

/* As another user, because root may lock what it likes. */
static int lock_at_most(size_t limit, struct salvo_net_conf *ret_conf)
{
    struct rlimit most = {limit, limit};

    if (setrlimit(RLIMIT_MEMLOCK, &most) != 0 || setuid(65534) != 0)
        return 1;
    salvo_net_conf_default(ret_conf, salvo_clock_system());
    ret_conf->send_memory_size = SALVO_MIB(4);
    ret_conf->send_memory = aligned_alloc(4096, ret_conf->send_memory_size);
    return 0;
}

static int lock_little(void)
{
    struct salvo_net_conf conf;
    struct salvo_net *net;
    uint32_t caps;

    if (lock_at_most(SALVO_MIB(1), &conf) != 0)
        return 1;
    if (salvo_net_uring_open(&conf, &net) != 0)
        return 2;
    caps = salvo_net_caps(net);
    salvo_net_destroy(net);
    free(conf.send_memory);
    return caps & SALVO_NET_CAP_REGISTERED_BUFFERS ? 3 : 0;
}

/* Since 6.13 the rings themselves are counted. */
static int lock_nothing(void)
{
    struct salvo_net_conf conf;
    struct salvo_net *net;
    const char *note = NULL;
    int r;

    if (lock_at_most(0, &conf) != 0)
        return 1;
    r = salvo_net_uring_open(&conf, &net);
    if (r == 0)
        salvo_net_destroy(net);
    if (r != 0 && r != -ENOMEM)
        return 2;
    if (salvo_net_open("auto", &conf, &net, &note) != 0)
        return 3;
    salvo_net_destroy(net);
    free(conf.send_memory);
    return (r == 0) == (note == NULL) ? 0 : 4;
}

static void little_lockable_memory_is_no_error(void **state)
{
    if (geteuid() != 0)
        skip(); /* cannot become another user with its own limit */
    assert_int_equal(child_result(lock_little), 0);
    assert_int_equal(child_result(lock_nothing), 0);
}

/* poll and flush with nothing to do stay out of the kernel: a filter would end the process. */
static int poll_without_entering(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_enter, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = SALVO_ARRAY_LENGTH(filter), .filter = filter};
    struct net_fixture *f = &fixture;
    struct salvo_net_event event;

    fixture_init(f, &uring);
    fixture_open(f);
    fixture_connect(f);
    for (unsigned i = 0; i < 100; i++)
        fixture_turn(f);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        return 1;
    for (unsigned i = 0; i < 1000; i++) {
        if (salvo_net_poll(f->client.net, &event, 1) != 0)
            return 2;
        salvo_net_flush(f->client.net);
    }
    return 0;
}

static void an_idle_turn_makes_no_system_call(void **state)
{
    assert_int_equal(child_result(poll_without_entering), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_by_another_thread_stops_the_process),
        cmocka_unit_test(a_thread_in_the_place_of_one_that_ended_is_not_the_owner),
        cmocka_unit_test(a_host_that_refuses_io_uring_gets_epoll_and_hears_why),
        cmocka_unit_test(names_are_known_or_refused),
        cmocka_unit_test(zero_copy_turns_itself_off_where_it_does_not_pay),
        cmocka_unit_test(registered_memory_is_sent_from),
        cmocka_unit_test(memory_is_registered_for_zero_copy_alone),
        cmocka_unit_test(little_lockable_memory_is_no_error),
        cmocka_unit_test(an_idle_turn_makes_no_system_call),
    };
    struct salvo_net_conf conf;
    struct salvo_net *net;
    int r;

    salvo_net_conf_default(&conf, salvo_clock_system());
    r = salvo_net_uring_open(&conf, &net);
    if (r != 0) {
        print_message("net_uring: skipped, because: %s\n", strerror(-r));
        return 77;
    }
    salvo_net_destroy(net);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
