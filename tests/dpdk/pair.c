/* The DPDK port against itself: net_virtio_user, which takes references and cuts segments, and in a
 * process of its own (in one the two drivers wait for each other's locks) net_vhost as the wire's
 * other end, where a small receiver checks every byte. What arrives there are the large packets
 * themselves. And net_null, which tells an RSS key and table. */
#include "tests/packet/wire.h"
#include "tests/unit/unit.h"

#include "base/bytes.h"
#include "dataplane/net_dpdk_internal.h"
#include "dataplane/net_tcp.h"
#include "dataplane/tcp/ip.h"

#include <arpa/inet.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <rte_ethdev.h>

#define MEMORY_SIZE SALVO_MIB(4)
#define BULK_SIZE   SALVO_MIB(256)
#define PIECE_SIZE  SALVO_KIB(48)
#define SEGMENT_MAX 1460u

static struct salvo_dpdk_port *port;
static struct salvo_log port_log = {.level = SALVO_LOG_WARN};
static uint8_t *memory;

static const uint8_t address4[16] = {10, 0, 0, 1}, peer4[16] = {10, 0, 0, 2};
static const uint8_t address6[16] = {0xfd, [15] = 1}, peer6[16] = {0xfd, [15] = 2};

/* --- the other end ---------------------------------------------------------------------------- */

/* Shared by the two processes. */
static struct peer {
    _Atomic bool ready, stop;
    _Atomic bool pause, paused; /* takes nothing */
    _Atomic unsigned drop_at;   /* the packet that is lost; 0: none */

    /* of the connection that was opened last */
    unsigned frames, frames_large, dropped;
    uint64_t wrong; /* bytes */
    _Atomic uint64_t received;

    /* the other end's alone */
    struct salvo_device *device;
    uint16_t id;
    uint32_t next, seq;
    struct wire_segment back; /* what an answer begins with */
} * peer;
static pid_t peer_pid;
static char peer_socket[64]; /* between the two */

static uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)((offset * UINT64_C(0x9e3779b97f4a7c15)) >> 56);
}

static const struct salvo_device_ops *ops_of(struct salvo_device *device)
{
    return salvo_device_head(device)->ops;
}

static void peer_sends(const uint8_t *frame, uint32_t size)
{
    struct salvo_tcp_packet packet = {.header_size = size};

    assert_true(ops_of(peer->device)->room(peer->device) != 0);
    memcpy(ops_of(peer->device)->claim(peer->device, size), frame, size);
    ops_of(peer->device)->commit(peer->device, &packet);
}

static void peer_says(uint8_t flags)
{
    uint8_t frame[256];
    struct wire_segment s = peer->back;

    s.seq = peer->seq;
    s.ack = peer->next;
    s.flags = flags;
    s.window = 65535;
    s.mss = flags & WIRE_SYN ? SEGMENT_MAX : 0;
    s.shift = flags & WIRE_SYN ? 7 : -1;
    peer_sends(frame, wire_build(frame, &s));
    peer->seq += (flags & WIRE_SYN) != 0;
}

/* A segment, as large as it came: the network's checksums are the device's to fill in when it cuts,
 * so they are not looked at; every byte is. */
static void peer_takes_segment(const uint8_t *frame, uint32_t size, uint32_t ip_size)
{
    const uint8_t *tcp = frame + SALVO_ETHERNET_SIZE + ip_size;
    const uint8_t *payload = tcp + (tcp[12] >> 4) * 4;
    uint32_t payload_size = size - (uint32_t)(payload - frame);
    uint32_t seq = salvo_load_be32(tcp + 4);

    memcpy(peer->back.source, frame + SALVO_ETHERNET_SIZE + (ip_size == 40 ? 24 : 16),
           ip_size == 40 ? 16 : 4);
    memcpy(peer->back.target, frame + SALVO_ETHERNET_SIZE + (ip_size == 40 ? 8 : 12),
           ip_size == 40 ? 16 : 4);
    peer->back.six = ip_size == 40;
    peer->back.source_port = (uint16_t)(tcp[2] << 8 | tcp[3]);
    peer->back.target_port = (uint16_t)(tcp[0] << 8 | tcp[1]);
    if (tcp[13] & WIRE_SYN) {
        peer->next = seq + 1;
        peer->seq = 5000;
        peer->frames = peer->frames_large = peer->dropped = 0;
        peer->wrong = 0;
        peer->received = 0;
        peer_says(WIRE_SYN | WIRE_ACK);
        return;
    }
    if (payload_size == 0)
        return;
    peer->frames++;
    peer->frames_large += payload_size > SEGMENT_MAX;
    if (peer->frames == peer->drop_at) {
        peer->dropped++;
        return;
    }
    if (seq - peer->next > payload_size && peer->next - seq < payload_size) {
        payload += peer->next - seq; /* the beginning is here already */
        payload_size -= peer->next - seq;
        seq = peer->next;
    }
    if (seq == peer->next) {
        uint64_t received = peer->received;

        for (uint32_t i = 0; i < payload_size; i++)
            peer->wrong += payload[i] != byte_at(received + i);
        peer->received += payload_size;
        peer->next += payload_size;
    }
    peer_says(WIRE_ACK);
}

static void peer_takes(const uint8_t *frame, uint32_t size)
{
    uint8_t answer[256];
    const uint8_t *ours = salvo_device_head(peer->device)->caps.mac;
    struct wire_segment s;
    const char *bad;

    memcpy(peer->back.source_mac, ours, 6);
    memcpy(peer->back.target_mac, frame + 6, 6);
    if (frame[12] == 0x08 && frame[13] == 0 && frame[23] == SALVO_IP_PROTOCOL_TCP)
        peer_takes_segment(frame, size, 20);
    else if (frame[12] == 0x86 && frame[20] == SALVO_IP_PROTOCOL_TCP)
        peer_takes_segment(frame, size, 40);
    else if (wire_parse(frame, size, &s, &bad) == WIRE_ARP_ASK)
        peer_sends(answer, wire_arp(answer, 2, ours, s.target, frame + 6, s.source));
    else if (wire_parse(frame, size, &s, &bad) == WIRE_ND_ASK)
        peer_sends(answer, wire_nd(answer, 136, 255, ours, peer6, frame + 6, address6, peer6));
}

static void peer_turn(void)
{
    static uint8_t linear[WIRE_FRAME_MAX];
    struct rte_mbuf *mbufs[32];
    uint16_t count = rte_eth_rx_burst(peer->id, 0, mbufs, 32);

    for (uint16_t i = 0; i < count; i++) {
        uint32_t size = rte_pktmbuf_pkt_len(mbufs[i]);

        assert_true(size <= sizeof(linear));
        peer_takes(rte_pktmbuf_read(mbufs[i], 0, size, linear), size);
        rte_pktmbuf_free(mbufs[i]);
    }
    ops_of(peer->device)->flush(peer->device);
}

/* --- our end ---------------------------------------------------------------------------------- */

static struct salvo_dpdk_port *port_open(const char *device, uint32_t queues)
{
    struct salvo_dpdk_conf conf = {
        .device = device,
        .eal = "--single-file-segments", /* net_vhost takes eight pieces of memory at most */
        .queues = queues,
        .mtu = 1500,
        .memory_mb = 128,
        .huge_pages = true,
        .clock = salvo_clock_system(),
        .log = &port_log,
    };
    struct salvo_dpdk_port *opened;
    char error[512] = "out of memory";

    if (salvo_dpdk_port_open(&conf, &opened, error, sizeof(error)))
        fail_msg("%s", error);
    return opened;
}

/* Ends with the test, however that ends. */
static void peer_run(void)
{
    struct salvo_dpdk_port *port_peer;
    char device[256];

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(device, sizeof(device), "net_vhost0,iface=%s,tso=1", peer_socket);
    port_peer = port_open(device, 1);
    peer->device = salvo_dpdk_port_device(port_peer, 0);
    if (rte_eth_dev_get_port_by_name("net_vhost0", &peer->id) != 0)
        _exit(1);
    peer->ready = true;
    while (!peer->stop) {
        peer->paused = peer->pause;
        if (!peer->paused)
            peer_turn();
        sched_yield();
    }
    ops_of(peer->device)->close(peer->device);
    salvo_dpdk_port_close(port_peer);
    _exit(0);
}

static void peer_lives(void)
{
    assert_int_equal(waitpid(peer_pid, NULL, WNOHANG), 0);
}

static int pair_open(void **state)
{
    char device[256];

    peer = mmap(NULL, sizeof(*peer), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(peer != MAP_FAILED);
    snprintf(peer_socket, sizeof(peer_socket), "/tmp/salvo-dpdk-pair-%d", (int)getpid());
    peer_pid = fork();
    if (peer_pid == 0)
        peer_run();
    while (!peer->ready) {
        peer_lives();
        sched_yield();
    }
    snprintf(device, sizeof(device), "net_virtio_user0,path=%s,queue_size=1024", peer_socket);
    port = port_open(device, 1);
    memory = salvo_dpdk_port_memory(port, 0, MEMORY_SIZE);
    assert_non_null(memory);
    return 0;
}

static int pair_close(void **state)
{
    int status;

    salvo_dpdk_port_close(port);
    peer->stop = true;
    assert_int_equal(waitpid(peer_pid, &status, 0), peer_pid);
    assert_int_equal(status, 0);
    return 0;
}

static struct salvo_net *net_open(void)
{
    struct salvo_net_tcp_conf tcp_conf = {.device = salvo_dpdk_port_device(port, 0)};
    struct salvo_net_conf conf;
    struct salvo_net *net;

    salvo_net_conf_default(&conf, salvo_clock_system());
    conf.send_memory = memory;
    conf.send_memory_size = MEMORY_SIZE;
    salvo_tcp_config_defaults(&tcp_conf.tcp);
    tcp_conf.tcp.address4.version = 4;
    memcpy(tcp_conf.tcp.address4.bytes, address4, 16);
    tcp_conf.tcp.prefix4_bits = 24;
    tcp_conf.tcp.address6 = salvo_ip6_address(address6);
    tcp_conf.tcp.prefix6_bits = 64;
    assert_int_equal(salvo_net_tcp_open(&conf, &tcp_conf, &net), 0);
    return net;
}

/* Sends the stream from `from`, a ring of MEMORY_SIZE bytes that is written anew as soon as it is
 * released: bytes that were still referred to would arrive wrong. */
static void bulk(uint8_t *from, bool six, unsigned drop_at, uint64_t size)
{
    struct salvo_endpoint to = {.v4 = {.sin_family = AF_INET, .sin_port = htons(9876)}};
    struct salvo_net *net = net_open();
    struct salvo_net_event events[32];
    uint64_t written = 0, taken = 0, released = 0;
    uint32_t link;
    bool up = false;
    int64_t until_ns = salvo_clock_mono_ns(salvo_clock_system()) + 120 * SALVO_NS_PER_S;

    peer->drop_at = drop_at;
    peer->received = 0;
    memcpy(&to.v4.sin_addr, peer4, 4);
    if (six) {
        to.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(9876)};
        memcpy(&to.v6.sin6_addr, peer6, 16);
    }
    assert_int_equal(salvo_net_connect(net, &to, 60 * SALVO_NS_PER_S, 1, &link), 0);
    while (released < size) {
        unsigned count = salvo_net_poll(net, events, 32);

        assert_true(salvo_clock_mono_ns(salvo_clock_system()) < until_ns);
        for (unsigned i = 0; i < count; i++) {
            up |= events[i].kind == SALVO_NET_UP;
            assert_int_not_equal(events[i].kind, SALVO_NET_DOWN);
            if (events[i].kind == SALVO_NET_RELEASED)
                released += events[i].released.bytes;
        }
        for (; written < size && written - released < MEMORY_SIZE; written++)
            from[written % MEMORY_SIZE] = byte_at(written);
        while (up && taken < written) {
            size_t at = taken % MEMORY_SIZE;
            struct salvo_range range = {from + at, SALVO_MIN(written - taken, MEMORY_SIZE - at)};
            size_t part;

            range.size = SALVO_MIN(range.size, PIECE_SIZE + 1); /* no alignment is special */
            part = salvo_net_send(net, link, &range, 1);
            taken += part;
            if (part < range.size)
                break;
        }
        salvo_net_flush(net);
        peer_lives();
    }
    assert_int_equal(peer->wrong, 0);
    assert_int_equal(peer->received, size);
    assert_int_equal(released, size);
    print_message("# %u packets, %u of them to be cut, %u dropped, %llu segments of the machine\n",
                  peer->frames, peer->frames_large, peer->dropped,
                  (unsigned long long)salvo_net_tcp_stats(net)->segments_out);
    salvo_net_destroy(net);
}

static void large_packets_arrive_byte_exact_from_where_they_lie(void **state)
{
    bulk(memory, false, 0, BULK_SIZE);
    assert_true(peer->frames_large > peer->frames / 2);
    assert_true(BULK_SIZE / peer->frames > 10 * SEGMENT_MAX); /* it pays */
}

static void so_they_do_by_ip6(void **state)
{
    bulk(memory, true, 0, BULK_SIZE / 8);
    assert_true(peer->frames_large > peer->frames / 2);
}

static void what_is_lost_is_sent_again_from_where_it_lies(void **state)
{
    bulk(memory, false, 97, BULK_SIZE / 16);
    assert_int_equal(peer->dropped, 1); /* and 4 MiB behind it are of no use to this receiver */
}

static void memory_of_others_is_copied(void **state)
{
    static uint8_t other[MEMORY_SIZE];

    bulk(other, false, 0, BULK_SIZE / 8);
    assert_true(peer->frames_large > peer->frames / 2);
}

/* The first `size` bytes of the memory. */
static void packet_make(struct salvo_tcp_packet *packet, uint32_t size, uint16_t segment_size)
{
    struct wire_segment s = {.flags = WIRE_ACK, .shift = -1, .payload = memory, .size = size};
    static uint8_t frame[8192];

    *packet = (struct salvo_tcp_packet){.header_size = 54,
                                        .payload_size = size,
                                        .range_count = 1,
                                        .segment_size = segment_size,
                                        .ip_size = 20,
                                        .tcp_size = 20,
                                        .ranges = {{memory, size}}};
    wire_build(frame, &s);
    memcpy(packet->header, frame, packet->header_size);
}

static void what_the_device_still_has_is_not_completed(void **state)
{
    struct salvo_device *device = salvo_dpdk_port_device(port, 0);
    struct salvo_tcp_packet packet;
    int64_t until_ns;

    peer->pause = true;
    while (!peer->paused)
        peer_lives();
    packet_make(&packet, 4096, SEGMENT_MAX);
    ops_of(device)->attach(device, &packet);
    ops_of(device)->flush(device);
    until_ns = salvo_clock_mono_ns(salvo_clock_system()) + 20 * SALVO_NS_PER_MS;
    while (salvo_clock_mono_ns(salvo_clock_system()) < until_ns)
        assert_int_equal(ops_of(device)->completed(device), 0);
    peer->pause = false;
    while (ops_of(device)->completed(device) == 0) /* though nothing else is sent */
        peer_lives();
    ops_of(device)->close(device);
}

/* --- room ------------------------------------------------------------------------------------- */

/* References with short ranges between them, each of which is copied into a buffer of its own. */
static void packet_make_alternating(struct salvo_tcp_packet *packet, unsigned pairs)
{
    packet_make(packet, pairs * (256 + 8), 0);
    packet->range_count = 2 * pairs;
    for (unsigned i = 0; i < pairs; i++) {
        packet->ranges[2 * i] = (struct salvo_tcp_range){memory + (size_t)i * 264, 256};
        packet->ranges[2 * i + 1] = (struct salvo_tcp_range){memory + (size_t)i * 264 + 256, 8};
    }
}

/* Whatever the packets are made of: as many as room() says leave receiving its buffers. */
static void what_room_promises_is_there(bool tso)
{
    struct salvo_device *device = salvo_dpdk_port_device(port, 0);
    struct dpdk_queue *queue = &port->queues[0];
    static struct rte_mbuf *others[65536];
    struct salvo_tcp_packet packet;
    unsigned others_count, room, reserved = DPDK_RECEIVE_MAX;
    uint32_t tso_max = port->tso_max, pieces_max = port->segments_max;

    if (!tso)
        port->tso_max = 0;
    port->segments_max = 64; /* as many NICs take */
    packet_make_alternating(&packet, 5);
    others_count = rte_mempool_avail_count(queue->pool) - reserved - (tso ? 40 : 20);
    assert_true(others_count <= SALVO_ARRAY_LENGTH(others));
    assert_int_equal(rte_pktmbuf_alloc_bulk(queue->pool, others, others_count), 0);
    room = ops_of(device)->room(device);
    assert_in_range(room, 1, DPDK_BURST - 1); /* they stay with us */
    for (unsigned i = 0; i < room; i++)
        ops_of(device)->attach(device, &packet);
    assert_true(rte_mempool_avail_count(queue->pool) >= reserved);
    rte_pktmbuf_free_bulk(others, others_count);
    ops_of(device)->flush(device);
    while (ops_of(device)->completed(device) != room)
        peer_lives();
    port->tso_max = tso_max;
    port->segments_max = pieces_max;
    ops_of(device)->close(device);
}

static void packets_of_many_pieces_fit_into_the_room(void **state)
{
    what_room_promises_is_there(false);
    what_room_promises_is_there(true);
}

/* --- packets that the driver refuses ---------------------------------------------------------- */

#define REFUSED_SIZE 60u

static uint16_t refusing_prepare(void *queue, struct rte_mbuf **packets, uint16_t count)
{
    for (uint16_t i = 0; i < count; i++)
        if (rte_pktmbuf_pkt_len(packets[i]) == REFUSED_SIZE)
            return i;
    return count;
}

static void a_packet_that_is_refused_holds_up_no_other(void **state)
{
    struct salvo_device *device = salvo_dpdk_port_device(port, 0);
    struct salvo_tcp_packet refused = {.header_size = REFUSED_SIZE}, packet;
    eth_tx_prep_t prepare;
    uint16_t id;
    int64_t until_ns = salvo_clock_mono_ns(salvo_clock_system()) + 60 * SALVO_NS_PER_S;

    assert_int_equal(rte_eth_dev_get_port_by_name("net_virtio_user0", &id), 0);
    prepare = rte_eth_fp_ops[id].tx_pkt_prepare;
    rte_eth_fp_ops[id].tx_pkt_prepare = refusing_prepare;
    packet_make(&packet, 4096, SEGMENT_MAX);
    for (unsigned i = 0; i < 3; i++) {
        memset(ops_of(device)->claim(device, REFUSED_SIZE), 0xff, REFUSED_SIZE);
        ops_of(device)->commit(device, &refused);
        ops_of(device)->attach(device, &packet);
    }
    ops_of(device)->flush(device);
    while (ops_of(device)->completed(device) != 3) {
        assert_true(salvo_clock_mono_ns(salvo_clock_system()) < until_ns);
        ops_of(device)->flush(device);
        peer_lives();
    }
    rte_eth_fp_ops[id].tx_pkt_prepare = prepare;
    ops_of(device)->close(device);
}

/* --- receive-side scaling --------------------------------------------------------------------- */

static void a_device_that_tells_its_hash_is_believed(void **state)
{
    struct salvo_dpdk_port *null_port = port_open("net_null0", 2);
    struct salvo_ip_address local = salvo_ip4_address(10, 0, 0, 1);
    struct salvo_ip_address remote = salvo_ip4_address(10, 0, 0, 2);
    unsigned first = 0;

    assert_int_equal(salvo_dpdk_port_pairs(null_port), 2);
    assert_true(salvo_dpdk_port_steers(null_port));
    for (uint16_t local_port = 40000; local_port < 41000; local_port++) {
        bool to_0 = salvo_dpdk_port_prefers(null_port, 0, &remote, 9876, &local, local_port);

        assert_true(to_0 !=
                    salvo_dpdk_port_prefers(null_port, 1, &remote, 9876, &local, local_port));
        first += to_0;
    }
    assert_in_range(first, 300, 700);
    salvo_dpdk_port_close(null_port);
}

/* --- errors ----------------------------------------------------------------------------------- */

static _Atomic bool talker_stop;

static void *talker_run(void *arg)
{
    while (!talker_stop) {
        rte_log(RTE_LOG_NOTICE, RTE_LOGTYPE_EAL, "of no concern\n");
        sched_yield();
    }
    return NULL;
}

static void an_error_holds_what_its_own_thread_was_told(void **state)
{
    struct salvo_log quiet = {.level = SALVO_LOG_ERROR};
    struct salvo_dpdk_conf conf = port->conf;
    struct salvo_dpdk_port *none;
    pthread_t talker;
    char error[512];

    conf.device = "net_nobody_has0";
    conf.log = &quiet;
    assert_int_equal(pthread_create(&talker, NULL, talker_run, NULL), 0);
    for (unsigned i = 0; i < 2000; i++) {
        assert_true(salvo_dpdk_port_open(&conf, &none, error, sizeof(error)) != 0);
        assert_non_null(strstr(error, "net_nobody_has0"));
        assert_null(strstr(error, "of no concern"));
    }
    talker_stop = true;
    pthread_join(talker, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_packets_arrive_byte_exact_from_where_they_lie),
        cmocka_unit_test(so_they_do_by_ip6),
        cmocka_unit_test(what_is_lost_is_sent_again_from_where_it_lies),
        cmocka_unit_test(memory_of_others_is_copied),
        cmocka_unit_test(what_the_device_still_has_is_not_completed),
        cmocka_unit_test(packets_of_many_pieces_fit_into_the_room),
        cmocka_unit_test(a_packet_that_is_refused_holds_up_no_other),
        cmocka_unit_test(an_error_holds_what_its_own_thread_was_told),
        cmocka_unit_test(a_device_that_tells_its_hash_is_believed),
    };

    return cmocka_run_group_tests(tests, pair_open, pair_close);
}
