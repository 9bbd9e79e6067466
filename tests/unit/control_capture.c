/* control/capture: filters, files that are there already, what goes into the file and in which
 * order, and how it ends: asked for, at its size, when nothing more can be written. The lanes are
 * played by the test. */
#include "tests/unit/unit.h"

#include "control/capture.h"

#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define LANES     2u
#define PORT_RING SALVO_KIB(16)
#define WALL_MS   INT64_C(1700000000000)

static struct {
    struct salvo_capture capture;
    struct salvo_mirror mirrors[LANES];
    struct salvo_lane_port ports[LANES], *port_pointers[LANES];
    uint8_t *memory[LANES];
    alignas(8) uint8_t commands[LANES][PORT_RING];
    struct salvo_clock_manual clock;
    struct salvo_log log;
    struct salvo_error_log errors;
    struct salvo_report report;
    salvo_counter counters[SALVO_CONTROL_COUNTERS];
    char folder[64], path[128], error[512];
    unsigned log_lines;
} w;

static void count_line(void *arg, enum salvo_log_level level, const char *line)
{
    w.log_lines++;
}

static int start(void **state)
{
    memset(&w, 0, sizeof(w));
    snprintf(w.folder, sizeof(w.folder), "/tmp/salvo-capture-XXXXXX");
    assert_non_null(mkdtemp(w.folder));
    snprintf(w.path, sizeof(w.path), "%s/a.pcap", w.folder);
    salvo_clock_manual_init(&w.clock, SALVO_NS_PER_S, WALL_MS);
    w.log = (struct salvo_log){.level = SALVO_LOG_WARN, .sink = count_line};
    w.report = (struct salvo_report){&w.clock.clock, &w.log, &w.errors, w.counters};
    for (uint32_t i = 0; i < LANES; i++) {
        w.memory[i] = malloc(SALVO_MIRROR_RING_SIZE);
        salvo_mirror_init(&w.mirrors[i], i, w.memory[i]);
        salvo_ring_init(&w.ports[i].commands, w.commands[i], PORT_RING, 0);
        w.port_pointers[i] = &w.ports[i];
    }
    salvo_capture_init(&w.capture, &(struct salvo_capture_conf){.mirrors = w.mirrors,
                                                                .ports = w.port_pointers,
                                                                .lanes_count = LANES,
                                                                .size_max = SALVO_MIB(64),
                                                                .report = &w.report});
    return 0;
}

static int end(void **state)
{
    salvo_capture_deinit(&w.capture);
    for (uint32_t i = 0; i < LANES; i++)
        free(w.memory[i]);
    unlink(w.path);
    assert_int_equal(rmdir(w.folder), 0);
    return 0;
}

static int begin(const char *filter)
{
    return salvo_capture_begin(&w.capture, "capture", w.path, filter, w.error, sizeof(w.error));
}

/* A turn of control, a millisecond after the last. */
static void control_turn(void)
{
    salvo_clock_manual_advance(&w.clock, SALVO_NS_PER_MS);
    salvo_capture_do_work(&w.capture, w.clock.mono_now_ns);
}

/* Lanes take their commands. Returns how many there were. */
static unsigned lanes_turn(void)
{
    unsigned count = 0;

    for (uint32_t i = 0; i < LANES; i++) {
        const struct salvo_command *command;
        uint32_t size;

        while ((command = salvo_ring_peek(&w.ports[i].commands, &size)) != NULL) {
            if (command->kind == SALVO_COMMAND_MIRROR_BEGIN)
                salvo_mirror_begin(&w.mirrors[i], &command->filter);
            else if (command->kind == SALVO_COMMAND_MIRROR_END)
                salvo_mirror_end(&w.mirrors[i]);
            salvo_ring_advance(&w.ports[i].commands, size);
            count++;
        }
        salvo_ring_release(&w.ports[i].commands);
    }
    return count;
}

static void lane_has(uint32_t lane, uint32_t size, uint8_t fill)
{
    static uint8_t frame[65535];

    memset(frame, fill, size);
    salvo_mirror_frame(&w.mirrors[lane], frame, size, w.clock.mono_now_ns);
    salvo_mirror_publish(&w.mirrors[lane]);
}

static void end_in_order(void)
{
    assert_int_equal(salvo_capture_end(&w.capture), 0);
    control_turn();
    lanes_turn();
    control_turn();
    assert_false(salvo_capture_runs(&w.capture));
}

static uint64_t counter(unsigned index)
{
    return salvo_counter_get(w.counters, index);
}

struct packet {
    uint32_t seconds, nanoseconds, size_kept, size;
    uint8_t fill;
};

/* The file's packets; each is of one byte's value. Asserts that the file is whole. */
static unsigned packets_read(struct packet *ret_packets, unsigned packets_max)
{
    static uint8_t bytes[65536];
    uint32_t header[6];
    FILE *file = fopen(w.path, "rb");
    unsigned count = 0;

    assert_non_null(file);
    assert_int_equal(fread(header, sizeof(header), 1, file), 1);
    assert_int_equal(header[0], 0xa1b23c4d);
    assert_int_equal(header[5], 1);
    while (fread(header, 16, 1, file) == 1) {
        struct packet *p = &ret_packets[count++];

        assert_true(count <= packets_max);
        *p = (struct packet){header[0], header[1], header[2], header[3], 0};
        assert_int_equal(fread(bytes, p->size_kept, 1, file), 1);
        p->fill = bytes[p->size_kept - 1];
        assert_int_equal(bytes[0], p->fill);
    }
    assert_true(feof(file));
    fclose(file);
    return count;
}

static void filters_are_read_as_tcpdump_reads_them(void **state)
{
    static const struct {
        const char *text;
        uint8_t version;
        uint16_t ports[2];
    } good[] = {
        {"", 0, {0, 0}},
        {"host 10.0.0.2", 4, {0, 0}},
        {"port 10911", 0, {10911, 0}},
        {"host 10.0.0.2 and port 10911", 4, {10911, 0}},
        {"port 10911 and host fd00::5 and port 40001", 6, {10911, 40001}},
        {"  port   1  ", 0, {1, 0}},
    };
    static const char *const bad[] = {
        "host",           "10.0.0.2",   "host broker-a",
        "port 0",         "port 65536", "port 10911 port 2",
        "port 1x",        "port",       "host 10.0.0.2 or port 1",
        "port 1 and",     "and port 1", "port 1 and port 2 and port 3",
        "port -1",        "tcp port 1", "host 10.0.0.1 and host 10.0.0.2",
        "host 10.0.0.256"};
    struct salvo_mirror_filter filter;

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(good); i++) {
        assert_int_equal(salvo_capture_filter_parse(good[i].text, &filter, w.error), 0);
        assert_int_equal(filter.host.version, good[i].version);
        assert_memory_equal(filter.ports, good[i].ports, sizeof(filter.ports));
    }
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(bad); i++) {
        w.error[0] = '\0';
        assert_int_equal(salvo_capture_filter_parse(bad[i], &filter, w.error), -EINVAL);
        assert_non_null(strstr(w.error, bad[i]));
    }
}

static void packets_of_all_lanes_come_in_the_order_of_their_times(void **state)
{
    struct packet packets[8];

    assert_int_equal(begin(""), 0);
    assert_int_equal(begin(""), -EBUSY);
    control_turn();
    assert_int_equal(lanes_turn(), LANES);
    for (uint8_t i = 0; i < 6; i++) {
        lane_has(i % 2, 100u + i, i);
        salvo_clock_manual_advance(&w.clock, 1001);
    }
    control_turn();
    end_in_order();
    assert_int_equal(packets_read(packets, 8), 6);
    for (uint8_t i = 0; i < 6; i++) {
        assert_int_equal(packets[i].fill, i);
        assert_int_equal(packets[i].size, 100 + i);
        assert_int_equal(packets[i].size_kept, 100 + i);
        assert_int_equal(packets[i].seconds, WALL_MS / 1000);
        assert_int_equal(packets[i].nanoseconds, SALVO_NS_PER_MS + i * 1001);
    }
    assert_int_equal(counter(SALVO_CONTROL_CAPTURE_PACKETS), 6);
    assert_int_equal(counter(SALVO_CONTROL_CAPTURE_DROPPED), 0);
    assert_int_equal(w.log_lines, 0);
}

/* What lanes had before they took the command to end is in it; and another can begin. */
static void a_capture_is_whole_when_its_end_is_told(void **state)
{
    struct packet packets[4];

    for (unsigned round = 0; round < 2; round++) {
        assert_int_equal(begin(""), 0);
        control_turn();
        assert_int_equal(lanes_turn(), LANES);
        assert_int_equal(salvo_capture_end(&w.capture), 0);
        assert_int_equal(salvo_capture_end(&w.capture), -ENOENT);
        control_turn();
        lane_has(1, 60, 7);
        control_turn();
        assert_true(salvo_capture_runs(&w.capture)); /* lanes have it still */
        lane_has(0, 60, 8);
        assert_int_equal(lanes_turn(), LANES);
        control_turn();
        assert_false(salvo_capture_runs(&w.capture));
        assert_int_equal(packets_read(packets, 4), 2);
        assert_int_equal(packets[1].fill, 8);
        unlink(w.path);
    }
}

/* Ended before lanes have taken the command to begin: they get both, in their order. */
static void an_end_may_follow_at_once(void **state)
{
    struct packet packets[1];

    assert_int_equal(begin(""), 0);
    control_turn();
    assert_int_equal(salvo_capture_end(&w.capture), 0);
    control_turn();
    assert_true(salvo_capture_runs(&w.capture));
    assert_int_equal(lanes_turn(), 2 * LANES);
    control_turn();
    assert_false(salvo_capture_runs(&w.capture));
    assert_int_equal(packets_read(packets, 1), 0);
    unlink(w.path);
    assert_int_equal(begin(""), 0);
    assert_int_equal(salvo_capture_end(&w.capture), 0);
    control_turn(); /* nobody was told */
    assert_int_equal(lanes_turn(), 0);
    assert_false(salvo_capture_runs(&w.capture));
}

static void a_file_that_is_there_is_left_alone(void **state)
{
    char text[8];
    FILE *file = fopen(w.path, "w");

    fputs("mine", file);
    fclose(file);
    assert_int_equal(begin(""), -EEXIST);
    assert_non_null(strstr(w.error, w.path));
    assert_false(salvo_capture_runs(&w.capture));
    file = fopen(w.path, "r");
    assert_non_null(fgets(text, sizeof(text), file));
    fclose(file);
    assert_string_equal(text, "mine");
    assert_int_equal(salvo_capture_begin(&w.capture, "capture", "/no/such/folder/a", "", w.error,
                                         sizeof(w.error)),
                     -ENOENT);
    assert_int_equal(begin("port"), -EINVAL);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(salvo_capture_begin(&w.capture, "capture", i == 0 ? NULL : "", "", w.error,
                                             sizeof(w.error)),
                         -EINVAL);
        assert_non_null(strstr(w.error, "no file is named"));
        assert_false(salvo_capture_runs(&w.capture));
    }
    w.capture.conf.mirrors = NULL;
    assert_int_equal(begin(""), -ENOTSUP);
    assert_non_null(strstr(w.error, "tcpdump"));
    w.capture.conf.mirrors = w.mirrors;
}

static void a_file_is_its_owners(void **state)
{
    struct stat st;

    assert_int_equal(begin(""), 0);
    assert_int_equal(stat(w.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void a_capture_ends_at_its_size_behind_a_whole_packet(void **state)
{
    struct packet packets[64];

    w.capture.conf.size_max = 4096;
    assert_int_equal(begin(""), 0);
    control_turn();
    lanes_turn();
    for (uint8_t i = 0; i < 10; i++)
        lane_has(0, 1000, i);
    control_turn();
    assert_int_equal(w.log_lines, 1);
    control_turn();
    lane_has(0, 1000, 99);
    assert_int_equal(lanes_turn(), LANES); /* told to end, by nobody but control */
    control_turn();
    assert_false(salvo_capture_runs(&w.capture));
    assert_int_equal(packets_read(packets, 64), 4); /* 24 + 4 x 1,016 */
    assert_int_equal(counter(SALVO_CONTROL_CAPTURE_PACKETS), 4);
    assert_int_equal(counter(SALVO_CONTROL_CAPTURE_DROPPED), 0);
    assert_int_equal(w.log_lines, 1);
}

/* A full disk, as far as a test can make one: the process may write no longer files. */
static void when_nothing_more_can_be_written_it_is_told_once_and_counted(void **state)
{
    struct rlimit before, limit;
    struct packet packets[64];

    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    limit = (struct rlimit){24 + 2 * 1016 + 500, before.rlim_max};
    assert_int_equal(begin(""), 0);
    control_turn();
    lanes_turn();
    lane_has(0, 1000, 1);
    lane_has(1, 1000, 2);
    control_turn();
    setrlimit(RLIMIT_FSIZE, &limit);
    lane_has(0, 1000, 3);
    lane_has(1, 1000, 4);
    control_turn();
    lane_has(0, 1000, 5);
    control_turn();
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(counter(SALVO_CONTROL_ERRORS), 1);
    assert_int_equal(w.log_lines, 1);
    assert_int_equal(w.errors.entries[0].code, -EFBIG);
    lanes_turn();
    control_turn();
    assert_false(salvo_capture_runs(&w.capture));
    assert_int_equal(counter(SALVO_CONTROL_ERRORS), 1);
    assert_int_equal(counter(SALVO_CONTROL_CAPTURE_DROPPED), 3);
    assert_int_equal(packets_read(packets, 64), 2);
}

static void what_a_lane_has_left_out_is_counted(void **state)
{
    struct packet packets[4096];

    assert_int_equal(begin(""), 0);
    control_turn();
    lanes_turn();
    while (w.mirrors[1].dropped < 5)
        lane_has(1, 9000, 1);
    lane_has(0, 60, 2);
    end_in_order();
    assert_int_equal(counter(SALVO_CONTROL_CAPTURE_DROPPED), 5);
    assert_int_equal(packets_read(packets, 4096), counter(SALVO_CONTROL_CAPTURE_PACKETS));
    assert_int_equal(w.log_lines, 1);
}

/* The way to an address by DHCP: it was over before there was a control. */
static void what_a_lane_had_before_is_in_it(void **state)
{
    static const struct salvo_mirror_filter everything = {0};
    struct packet packets[4];

    salvo_mirror_begin(&w.mirrors[0], &everything);
    lane_has(0, 300, 1);
    lane_has(0, 300, 2);
    salvo_mirror_end(&w.mirrors[0]);
    assert_int_equal(begin(""), 0);
    control_turn();
    assert_int_equal(lanes_turn(), LANES);
    lane_has(1, 60, 3);
    end_in_order();
    assert_int_equal(packets_read(packets, 4), 3);
    for (uint8_t i = 0; i < 3; i++)
        assert_int_equal(packets[i].fill, i + 1);
}

/* Threads have ended without a word: what there is goes into the file. */
static void the_senders_end_ends_it(void **state)
{
    struct packet packets[4];

    assert_int_equal(begin(""), 0);
    control_turn();
    lanes_turn();
    lane_has(0, 60, 1);
    lane_has(1, 60, 2);
    salvo_capture_deinit(&w.capture);
    assert_false(salvo_capture_runs(&w.capture));
    assert_int_equal(packets_read(packets, 4), 2);
}

static void nothing_is_due_while_none_runs(void **state)
{
    assert_int_equal(salvo_capture_next_ns(&w.capture), INT64_MAX);
    assert_int_equal(begin(""), 0);
    control_turn();
    assert_int_equal(salvo_capture_next_ns(&w.capture), w.clock.mono_now_ns + SALVO_NS_PER_MS);
    lanes_turn();
    end_in_order();
    assert_int_equal(salvo_capture_next_ns(&w.capture), INT64_MAX);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, start, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(filters_are_read_as_tcpdump_reads_them),
        CASE(packets_of_all_lanes_come_in_the_order_of_their_times),
        CASE(a_capture_is_whole_when_its_end_is_told),
        CASE(an_end_may_follow_at_once),
        CASE(a_file_that_is_there_is_left_alone),
        CASE(a_file_is_its_owners),
        CASE(a_capture_ends_at_its_size_behind_a_whole_packet),
        CASE(when_nothing_more_can_be_written_it_is_told_once_and_counted),
        CASE(what_a_lane_has_left_out_is_counted),
        CASE(what_a_lane_had_before_is_in_it),
        CASE(the_senders_end_ends_it),
        CASE(nothing_is_due_while_none_runs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
