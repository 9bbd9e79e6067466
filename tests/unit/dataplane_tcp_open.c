/* dataplane/tcp/tcp_open: what an attacker would have to guess. The keyed hash by its published
 * vectors; initial numbers and ports by what must differ and what must not. */
#include "tests/unit/unit.h"

#include "dataplane/tcp/tcp_conn.h"

struct machine {
    struct salvo_tcp *tcp;
    void *memory;
};

static void config_make(struct salvo_tcp_config *ret_config, uint8_t key)
{
    struct salvo_tcp_config config;

    salvo_tcp_config_defaults(&config);
    config.mac[0] = 2;
    config.address4 = salvo_ip4_address(10, 0, 0, 1);
    config.prefix4_bits = 24;
    config.receive_size = 2048;
    config.segments_max = 4;
    memset(config.key, key, sizeof(config.key));
    *ret_config = config;
}

static struct machine machine_with(const struct salvo_tcp_config *config)
{
    size_t size = salvo_align_up(salvo_tcp_memory_size(config), 64);
    struct machine m = {.memory = aligned_alloc(64, size)};

    m.tcp = salvo_tcp_init(m.memory, config);
    return m;
}

static struct machine machine_make(uint8_t key)
{
    struct salvo_tcp_config config;

    config_make(&config, key);
    return machine_with(&config);
}

/* Opens a connection to 10.0.0.`host` and tells what it was given. */
static const struct salvo_tcp_conn *opened(struct machine *m, uint8_t host, uint16_t port,
                                           int64_t now_us)
{
    struct salvo_tcp_target target = {
        .address = salvo_ip4_address(10, 0, 0, host), .port = 9876, .local_port = port};
    uint64_t conn;

    assert_int_equal(salvo_tcp_open(m->tcp, &target, now_us, &conn), SALVO_TCP_OPEN_OK);
    return &m->tcp->conns[(uint32_t)conn];
}

static uint32_t isn(struct machine *m, uint8_t host, uint16_t port, int64_t now_us)
{
    return (uint32_t)opened(m, host, port, now_us)->send.iss;
}

/* Aumasson and Bernstein's vectors: key 00 to 0f, message 00 01 02 ... of the length. */
static void the_hash_is_siphash_2_4(void **state)
{
    static const struct {
        size_t size;
        uint64_t hash;
    } vectors[] = {
        {0, UINT64_C(0x726fdb47dd0e0e31)},
        {1, UINT64_C(0x74f839c593dc67fd)},
        {8, UINT64_C(0x93f5f5799a932462)},
        {15, UINT64_C(0xa129ca6149be45e5)},
    };
    uint8_t key[16], message[16];

    for (uint8_t i = 0; i < 16; i++)
        key[i] = message[i] = i;
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(vectors); i++)
        assert_true(salvo_siphash(key, message, vectors[i].size) == vectors[i].hash);
}

/* RFC 6528: M + F(tuple, key). M advances by one every 4 us; F is another for every tuple and every
 * key, and none that could be seen by counting. */
static void initial_numbers_are_a_clock_and_a_secret(void **state)
{
    struct machine a = machine_make(1), b = machine_make(2), later = machine_make(1);
    uint32_t base = isn(&a, 2, 40000, 1000000);

    assert_int_equal(isn(&later, 2, 40000, 1000000 + 4 * 12345) - base, 12345);
    assert_true(isn(&b, 2, 40000, 1000000) != base);
    uint32_t host = isn(&a, 3, 40000, 1000000), port = isn(&a, 2, 40001, 1000000);
    assert_true(host - base + 1000000 > 2000000);
    assert_true(port - base + 1000000 > 2000000);
    assert_true(host != port);
    free(a.memory), free(b.memory), free(later.memory);
}

static void timestamps_begin_at_a_place_of_their_own(void **state)
{
    struct machine a = machine_make(1), b = machine_make(2);
    uint32_t first = opened(&a, 2, 40000, 1000000)->timestamp_offset;

    assert_true(opened(&a, 3, 40000, 1000000)->timestamp_offset != first);
    assert_true(opened(&b, 2, 40000, 1000000)->timestamp_offset != first);
    free(a.memory), free(b.memory);
}

/* RFC 6056 section 3.3.4: one target's ports follow each other; where they begin depends on the
 * target and the key. */
static void ports_begin_where_nobody_knows(void **state)
{
    struct machine a = machine_make(1), b = machine_make(2);
    uint16_t first = opened(&a, 2, 0, 1000000)->local_port;

    assert_int_equal(opened(&a, 2, 0, 1000000)->local_port, first == 60999 ? 32768 : first + 1);
    assert_true(first != 32768);
    uint16_t other_target = opened(&a, 3, 0, 1000000)->local_port;
    uint16_t other_key = opened(&b, 2, 0, 1000000)->local_port;
    assert_true(other_target - first > 10 || first - other_target > 10);
    assert_true(other_key - first > 10 || first - other_key > 10);
    free(a.memory), free(b.memory);
}

static bool is_even(void *arg, const struct salvo_ip_address *remote, uint16_t remote_port,
                    uint16_t local_port)
{
    return local_port % 2 == 0;
}

static bool ends_in_6(void *arg, const struct salvo_ip_address *remote, uint16_t remote_port,
                      uint16_t local_port)
{
    assert_true(is_even(arg, remote, remote_port, local_port)); /* only those are asked about */
    assert_int_equal(remote_port, 9876);
    return local_port % 10 == 6;
}

static void a_preferred_port_is_taken_while_there_is_one(void **state)
{
    struct salvo_tcp_config config;

    config_make(&config, 7);
    config.port_first = 40000;
    config.port_last = 40029;
    config.port_accepts = is_even;
    config.port_prefers = ends_in_6;
    struct machine m = machine_with(&config);
    for (unsigned i = 0; i < 15; i++) {
        uint16_t port = opened(&m, 2, 0, 1000)->local_port;

        assert_int_equal(port % 2, 0);
        assert_int_equal(port % 10 == 6, i < 3);
    }
    struct salvo_tcp_target target = {.address = salvo_ip4_address(10, 0, 0, 2), .port = 9876};
    uint64_t conn;
    assert_int_equal(salvo_tcp_open(m.tcp, &target, 1000, &conn), SALVO_TCP_OPEN_NO_PORT);
    free(m.memory);
}

/* All brokers may be on the link, and each is a neighbour then. */
static void every_connection_finds_room_for_its_neighbour(void **state)
{
    struct salvo_tcp_config config;
    uint64_t conn;

    config_make(&config, 1);
    config.conns_max = 200;
    struct machine m = machine_with(&config);
    for (uint8_t i = 0; i < 200; i++)
        opened(&m, (uint8_t)(2 + i), 0, 1000);
    struct salvo_tcp_target target = {.address = salvo_ip4_address(10, 0, 0, 202), .port = 9876};
    assert_int_equal(salvo_tcp_open(m.tcp, &target, 1000, &conn), SALVO_TCP_OPEN_FULL);
    free(m.memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_preferred_port_is_taken_while_there_is_one),
        cmocka_unit_test(the_hash_is_siphash_2_4),
        cmocka_unit_test(initial_numbers_are_a_clock_and_a_secret),
        cmocka_unit_test(timestamps_begin_at_a_place_of_their_own),
        cmocka_unit_test(ports_begin_where_nobody_knows),
        cmocka_unit_test(every_connection_finds_room_for_its_neighbour),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
