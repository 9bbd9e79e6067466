/* salvo's TCP over a DPDK device against this host's kernel, whatever its settings: tests/dpdk/run
 * makes the device, sets the kernel up and says so in the environment (tests/support/net_dpdk.h).
 *
 *     interop LABEL             transfers, and ends of connections
 *     interop LABEL bulk        the transfers alone, for bad links
 *     interop LABEL silence     peers that say nothing any more
 *
 * SALVO_TEST_BULK_MB, 256 unless set: how much goes each way. Prints TAP. */
#include "tests/support/net_dpdk.h"
#include "tests/unit/unit.h"

#include "base/base.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>

/* The stream is this again and again; not a power of two, so that bytes of another place differ. */
#define PATTERN_SIZE 1048583u
#define EVENTS_MAX   64
/* Nothing passes by waiting so long, on any machine. */
#define PATIENCE_NS (300 * SALVO_NS_PER_S)

static uint8_t pattern[2 * PATTERN_SIZE];
static uint64_t bulk_size;

static void pattern_make(void)
{
    struct salvo_random random;

    salvo_random_init(&random, unit_seed(20250301));
    for (size_t i = 0; i < PATTERN_SIZE; i++)
        pattern[i] = pattern[PATTERN_SIZE + i] = (uint8_t)salvo_random_next(&random);
}

static uint64_t bulk_bytes(void)
{
    const char *text = getenv("SALVO_TEST_BULK_MB");

    return (text == NULL ? 256 : strtoull(text, NULL, 10)) << 20;
}

/* --- the kernel's end: a listener, and a thread that reads, writes or both -------------------- */

struct peer {
    int listener, fd;
    struct salvo_endpoint at;
    pthread_t reader, writer;
    uint64_t to_read, to_write;
    _Atomic uint64_t was_read, was_written;
    _Atomic bool wrong;
};

static void *peer_read(void *arg)
{
    struct peer *p = arg;
    static uint8_t bytes[1 << 18];
    uint64_t total = 0;

    while (total < p->to_read) {
        ssize_t size = read(p->fd, bytes, sizeof(bytes));

        if (size <= 0 || memcmp(bytes, pattern + total % PATTERN_SIZE, (size_t)size) != 0) {
            p->wrong = true;
            break;
        }
        total += (uint64_t)size;
        p->was_read = total;
    }
    return NULL;
}

static void *peer_write(void *arg)
{
    struct peer *p = arg;
    uint64_t total = 0;

    while (total < p->to_write) {
        size_t left = (size_t)SALVO_MIN(p->to_write - total, UINT64_C(1) << 18);
        ssize_t size = write(p->fd, pattern + total % PATTERN_SIZE, left);

        if (size <= 0) {
            p->wrong = true;
            break;
        }
        total += (uint64_t)size;
        p->was_written = total;
    }
    return NULL;
}

static void peer_listen(struct peer *p)
{
    const char *address = getenv("SALVO_TEST_DPDK_PEER");
    socklen_t size = sizeof(p->at);

    *p = (struct peer){.fd = -1};
    if (inet_pton(AF_INET, address, &p->at.v4.sin_addr) == 1)
        p->at.v4.sin_family = AF_INET;
    else if (inet_pton(AF_INET6, address, &p->at.v6.sin6_addr) == 1)
        p->at.v6.sin6_family = AF_INET6;
    else
        fail_msg("SALVO_TEST_DPDK_PEER is %s", address);
    p->listener = socket(p->at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(p->listener, &p->at.any, size), 0);
    assert_int_equal(listen(p->listener, 8), 0);
    assert_int_equal(getsockname(p->listener, &p->at.any, &size), 0);
}

/* --- our end ---------------------------------------------------------------------------------- */

struct client {
    struct salvo_net *net;
    uint32_t link;
    bool up, down, gone, refused;
    enum salvo_net_down reason;
    uint64_t taken, released, received;
};

static void client_open(struct client *c)
{
    struct salvo_net_conf conf;

    *c = (struct client){0};
    salvo_net_conf_default(&conf, salvo_clock_system());
    assert_int_equal(test_dpdk_open(&conf, &c->net), 0);
}

static void client_turn(struct client *c)
{
    struct salvo_net_event events[EVENTS_MAX];
    unsigned count = salvo_net_poll(c->net, events, EVENTS_MAX);

    for (unsigned i = 0; i < count; i++) {
        const struct salvo_net_event *e = &events[i];

        switch (e->kind) {
        case SALVO_NET_UP:
            c->up = true;
            break;
        case SALVO_NET_DATA:
            if (memcmp(e->data.bytes, pattern + c->received % PATTERN_SIZE, e->data.size) != 0)
                fail_msg("wrong behind byte %llu", (unsigned long long)c->received);
            c->received += e->data.size;
            salvo_net_give_back(c->net, e->data.buffer);
            break;
        case SALVO_NET_RELEASED:
            c->released += e->released.bytes;
            c->refused = false;
            break;
        case SALVO_NET_DOWN:
            c->down = true;
            c->reason = e->down.reason;
            break;
        case SALVO_NET_GONE:
            c->gone = true;
            break;
        default:
            fail_msg("event %d of a client", (int)e->kind);
        }
    }
    if (count == 0)
        salvo_net_wait(c->net, 1, 0, SALVO_NS_PER_MS);
    else
        salvo_net_flush(c->net);
}

static void client_offer(struct client *c, uint64_t size)
{
    struct salvo_range range;

    if (!c->up || c->down || c->refused || c->taken == size)
        return;
    range.bytes = pattern + c->taken % PATTERN_SIZE;
    range.size = (size_t)SALVO_MIN(size - c->taken, (uint64_t)PATTERN_SIZE);
    size_t part = salvo_net_send(c->net, c->link, &range, 1);
    c->refused = part < range.size;
    c->taken += part;
}

#define TURN_UNTIL(c, size, condition)                                                             \
    for (int64_t since_ns = salvo_clock_mono_ns(salvo_clock_system()); !(condition);) {            \
        client_offer(c, size);                                                                     \
        client_turn(c);                                                                            \
        if (salvo_clock_mono_ns(salvo_clock_system()) - since_ns > PATIENCE_NS)                    \
            fail_msg("never: %s", #condition);                                                     \
    }

static bool peer_accept(struct peer *p)
{
    struct pollfd waiting = {.fd = p->listener, .events = POLLIN};

    if (poll(&waiting, 1, 0) == 1)
        p->fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);
    return p->fd >= 0;
}

static void connect_both(struct client *c, struct peer *p)
{
    peer_listen(p);
    client_open(c);
    assert_int_equal(salvo_net_connect(c->net, &p->at, 60 * SALVO_NS_PER_S, 1, &c->link), 0);
    TURN_UNTIL(c, 0, c->up || c->down);
    assert_true(c->up);
    /* We are up before the kernel is: when our ACK is lost, we have to answer its SYN-ACK again. */
    TURN_UNTIL(c, 0, c->down || peer_accept(p));
    assert_true(p->fd >= 0);
}

static void close_both(struct client *c, struct peer *p)
{
    if (p->fd >= 0)
        close(p->fd);
    close(p->listener);
    if (!c->down)
        salvo_net_close(c->net, c->link);
    TURN_UNTIL(c, 0, c->gone);
    salvo_net_destroy(c->net);
}

/* --- cases ------------------------------------------------------------------------------------ */

static void transfer(uint64_t up, uint64_t down, const char *what)
{
    struct client c;
    struct peer p;
    int64_t began_ns;

    connect_both(&c, &p);
    p.to_read = up;
    p.to_write = down;
    began_ns = salvo_clock_mono_ns(salvo_clock_system());
    assert_int_equal(pthread_create(&p.reader, NULL, peer_read, &p), 0);
    assert_int_equal(pthread_create(&p.writer, NULL, peer_write, &p), 0);
    TURN_UNTIL(&c, up,
               p.wrong || c.down || (p.was_read == up && c.released == up && c.received == down));
    assert_false(p.wrong);
    assert_false(c.down);
    pthread_join(p.reader, NULL);
    pthread_join(p.writer, NULL);
    double seconds = (double)(salvo_clock_mono_ns(salvo_clock_system()) - began_ns) / 1e9;
    printf("# %s: %.2f s, %.2f Gbit/s\n", what, seconds, (double)(up + down) * 8 / 1e9 / seconds);
    close_both(&c, &p);
    assert_int_equal(c.received, down); /* and not a byte more */
}

static void bulk_to_the_kernel(void **state)
{
    transfer(bulk_size, 0, "to the kernel");
}

static void bulk_from_the_kernel(void **state)
{
    transfer(0, bulk_size, "from the kernel");
}

static void bulk_both_ways_at_once(void **state)
{
    transfer(bulk_size, bulk_size, "both ways");
}

static void nobody_there_is_refused(void **state)
{
    struct client c;
    struct peer p;

    peer_listen(&p);
    close(p.listener);
    client_open(&c);
    assert_int_equal(salvo_net_connect(c.net, &p.at, 60 * SALVO_NS_PER_S, 1, &c.link), 0);
    TURN_UNTIL(&c, 0, c.gone);
    assert_int_equal(c.reason, SALVO_NET_DOWN_REFUSED);
    salvo_net_destroy(c.net);
}

static void a_reset_under_load_is_one(void **state)
{
    struct linger reset = {.l_onoff = 1};
    struct client c;
    struct peer p;

    connect_both(&c, &p);
    TURN_UNTIL(&c, SALVO_MIB(8), c.released > 0);
    assert_int_equal(setsockopt(p.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
    close(p.fd);
    p.fd = -1;
    TURN_UNTIL(&c, SALVO_MIB(8), c.down);
    assert_int_equal(c.reason, SALVO_NET_DOWN_RESET);
    close_both(&c, &p);
}

/* Half open: the kernel forgets the connection and tells nobody (a socket under TCP_REPAIR closes
 * so), as a host does that was switched off and on. What we send next is answered by a reset. */
static void a_peer_that_forgot_us_is_a_reset(void **state)
{
    int on = 1;
    struct client c;
    struct peer p;

    connect_both(&c, &p);
    assert_int_equal(setsockopt(p.fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)), 0);
    close(p.fd);
    p.fd = -1;
    TURN_UNTIL(&c, 1000, c.down);
    assert_int_equal(c.reason, SALVO_NET_DOWN_RESET);
    close_both(&c, &p);
}

/* From here on the kernel throws away what comes for this connection, as a path does that leads
 * nowhere: neither an answer nor an error comes back. */
static void peer_falls_silent(struct peer *p)
{
    struct sock_filter nothing[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
    struct sock_fprog program = {.len = 1, .filter = nothing};

    assert_int_equal(setsockopt(p->fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)), 0);
}

static void silence_in_mid_transfer_ends_at_the_user_timeout(void **state)
{
    const int64_t user_timeout_ns = 3 * SALVO_NS_PER_S;
    struct client c;
    struct peer p;
    int64_t silent_ns;

    test_dpdk_patience(user_timeout_ns / SALVO_NS_PER_US, 0);
    connect_both(&c, &p);
    p.to_read = UINT64_MAX;
    assert_int_equal(pthread_create(&p.reader, NULL, peer_read, &p), 0);
    TURN_UNTIL(&c, SALVO_MIB(1024), c.down || c.released > SALVO_MIB(1));
    assert_false(c.down);
    peer_falls_silent(&p);
    silent_ns = salvo_clock_mono_ns(salvo_clock_system());
    TURN_UNTIL(&c, SALVO_MIB(1024), c.down);
    assert_int_equal(c.reason, SALVO_NET_DOWN_TIMEOUT);
    /* From the last progress, which may have been a little before. */
    assert_true(salvo_clock_mono_ns(salvo_clock_system()) - silent_ns > user_timeout_ns / 2);
    shutdown(p.fd, SHUT_RD);
    pthread_join(p.reader, NULL);
    assert_true(p.was_read >= SALVO_MIB(1));
    close_both(&c, &p);
}

static void a_silent_peer_is_noticed_by_keepalive(void **state)
{
    struct client c;
    struct peer p;

    test_dpdk_patience(0, 300000);
    connect_both(&c, &p);
    peer_falls_silent(&p);
    TURN_UNTIL(&c, 0, c.down);
    assert_int_equal(c.reason, SALVO_NET_DOWN_TIMEOUT);
    close_both(&c, &p);
}

/* Half open, and nobody sends anything: the probe is answered by a reset. */
static void a_peer_that_forgot_us_is_noticed_by_keepalive(void **state)
{
    int on = 1;
    struct client c;
    struct peer p;

    test_dpdk_patience(0, 300000);
    connect_both(&c, &p);
    assert_int_equal(setsockopt(p.fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)), 0);
    close(p.fd);
    p.fd = -1;
    TURN_UNTIL(&c, 0, c.down);
    assert_int_equal(c.reason, SALVO_NET_DOWN_RESET);
    close_both(&c, &p);
}

/* Idle for longer than all probes of the two above take. */
static void a_peer_that_is_there_answers_keepalive(void **state)
{
    struct client c;
    struct peer p;
    int64_t until_ns = salvo_clock_mono_ns(salvo_clock_system()) + 2 * SALVO_NS_PER_S;

    test_dpdk_patience(0, 300000);
    connect_both(&c, &p);
    TURN_UNTIL(&c, 0, c.down || salvo_clock_mono_ns(salvo_clock_system()) > until_ns);
    assert_false(c.down);
    assert_int_equal(write(p.fd, pattern, 4000), 4000);
    TURN_UNTIL(&c, 0, c.down || c.received == 4000);
    assert_false(c.down);
    close_both(&c, &p);
}

static void the_peer_goes_in_order(void **state)
{
    struct client c;
    struct peer p;

    connect_both(&c, &p);
    assert_int_equal(write(p.fd, pattern, 4000), 4000);
    close(p.fd);
    p.fd = -1;
    TURN_UNTIL(&c, 0, c.down);
    assert_int_equal(c.received, 4000);
    assert_int_equal(c.reason, SALVO_NET_DOWN_PEER);
    close_both(&c, &p);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest bulk[] = {
        cmocka_unit_test(bulk_to_the_kernel),
        cmocka_unit_test(bulk_from_the_kernel),
        cmocka_unit_test(bulk_both_ways_at_once),
    };
    const struct CMUnitTest ends[] = {
        cmocka_unit_test(nobody_there_is_refused),
        cmocka_unit_test(a_reset_under_load_is_one),
        cmocka_unit_test(a_peer_that_forgot_us_is_a_reset),
        cmocka_unit_test(the_peer_goes_in_order),
    };
    const struct CMUnitTest silence[] = {
        cmocka_unit_test(silence_in_mid_transfer_ends_at_the_user_timeout),
        cmocka_unit_test(a_silent_peer_is_noticed_by_keepalive),
        cmocka_unit_test(a_peer_that_forgot_us_is_noticed_by_keepalive),
        cmocka_unit_test(a_peer_that_is_there_answers_keepalive),
    };
    const char *part = argc > 2 ? argv[2] : "";
    int failed = 0;

    if (argc < 2 || !test_dpdk_there()) {
        fprintf(stderr, "usage: interop LABEL [bulk | silence], under tests/dpdk/run\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    pattern_make();
    bulk_size = bulk_bytes();
    printf("# %s\n", argv[1]);
    if (strcmp(part, "silence") == 0)
        failed = cmocka_run_group_tests_name(argv[1], silence, NULL, NULL);
    else
        failed = cmocka_run_group_tests_name(argv[1], bulk, NULL, NULL);
    if (part[0] == '\0')
        failed += cmocka_run_group_tests_name(argv[1], ends, NULL, NULL);
    test_dpdk_end();
    return failed != 0;
}
