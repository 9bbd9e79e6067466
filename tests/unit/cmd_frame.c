/* `salvo frame` by its parts: the golden frames come out readable; captures of every kind give the
 * stream that was sent, whatever the order of its segments; damaged input is an error or nothing,
 * never more. */
#include "base/bytes.h"
#include "base/random.h"
#include "cmd/frame.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>

#include "tests/unit/unit.h"

/* --- golden frames ---------------------------------------------------------------------------- */

static const char *golden_folder(void)
{
    const char *folder = getenv("SALVO_GOLDEN");

    return folder != NULL ? folder : SALVO_SOURCE_ROOT "/tests/golden";
}

static bool input_load(const char *path, struct cmd_input *input)
{
    FILE *file = fopen(path, "r");

    if (file == NULL)
        return false;
    input->bytes = malloc(1 << 20);
    input->size = fread(input->bytes, 1, (1 << 20) - 1, file);
    input->bytes[input->size] = 0;
    fclose(file);
    return true;
}

/* The text of one frame, to be freed. */
static char *print_frame(const uint8_t *bytes, size_t size, int *ret_r)
{
    char error[FRAME_ERROR_MAX] = "";
    char *text = NULL;
    size_t text_size = 0;
    FILE *to = open_memstream(&text, &text_size);
    struct frame_print print = {.to = to, .full = true, .number = 1, .where = "offset 0"};
    void *scratch = malloc(size);
    struct salvo_frame frame;
    const char *why;

    *ret_r = salvo_frame_parse(bytes, size, SALVO_FRAME_SIZE_MAX, &frame, &why);
    if (*ret_r == 0)
        *ret_r = frame_print(&print, &frame, scratch, error);
    free(scratch);
    fclose(to);
    return text;
}

/* What the file's comments say of it ("# code: 310", "# ext.b: TopicTest") is in the text. */
static void golden_check(const char *path, struct cmd_input *input)
{
    char error[FRAME_ERROR_MAX], expected[64];
    int code = -1, opaque = -1, r;
    char *code_at, *opaque_at, *text;

    code_at = strstr((char *)input->bytes, "# code: ");
    opaque_at = strstr((char *)input->bytes, "# opaque: ");
    assert_non_null(code_at);
    assert_non_null(opaque_at);
    sscanf(code_at, "# code: %d", &code);
    sscanf(opaque_at, "# opaque: %d", &opaque);
    assert_true(frame_hex_likely(input));
    assert_int_equal(frame_hex_decode(input, error), 0);
    text = print_frame(input->bytes, input->size, &r);
    if (r)
        fail_msg("%s was not printed", path);
    snprintf(expected, sizeof(expected), "(%d), %zu bytes", code, input->size);
    if (strstr(text, expected) == NULL)
        fail_msg("%s: '%s' is not in: %s", path, expected, text);
    snprintf(expected, sizeof(expected), "opaque %d,", opaque);
    if (strstr(text, expected) == NULL || strstr(text, "unknown") != NULL)
        fail_msg("%s: %s", path, text);
    free(text);
}

static void every_golden_frame_is_readable(void **state)
{
    DIR *folder = opendir(golden_folder());
    struct dirent *entry;
    unsigned count = 0;

    assert_non_null(folder);
    while ((entry = readdir(folder)) != NULL) {
        size_t size = strlen(entry->d_name);
        struct cmd_input input;
        char path[1024];

        if (size < 5 || strcmp(entry->d_name + size - 4, ".hex") != 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", golden_folder(), entry->d_name);
        assert_true(input_load(path, &input));
        golden_check(path, &input);
        free(input.bytes);
        count++;
    }
    closedir(folder);
    assert_true(count >= 40);
}

static void hex_errors_name_the_place(void **state)
{
    static const struct {
        const char *text;
        const char *error;
    } cases[] = {
        {"# a comment\n00 0x", "line 2, column 5"},
        {"00\n0", "line 2: an odd number"},
        {"00\n0\n\n# the end\n", "line 2: an odd number"},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        char error[FRAME_ERROR_MAX];
        struct cmd_input input = {(uint8_t *)strdup(cases[i].text), strlen(cases[i].text)};

        assert_int_equal(frame_hex_decode(&input, error), -EBADMSG);
        assert_non_null(strstr(error, cases[i].error));
        free(input.bytes);
    }
}

/* --- captures --------------------------------------------------------------------------------- */

enum { CAPTURE_MAX = 1 << 20, STREAM_SIZE = 4000 };

struct capture {
    uint8_t bytes[CAPTURE_MAX];
    struct salvo_writer w;
    bool next; /* pcapng */
    uint32_t link;
    bool v6;
};

static uint8_t stream[STREAM_SIZE];

static void capture_u32(struct capture *c, uint32_t value)
{
    salvo_write_u32(&c->w, value); /* big-endian files; little-endian ones are made by hand below */
}

static void capture_begin(struct capture *c, bool next, uint32_t link, bool v6)
{
    c->w = salvo_writer_over(c->bytes, sizeof(c->bytes));
    c->next = next;
    c->link = link;
    c->v6 = v6;
    if (next) {
        const uint32_t words[] = {0x0a0d0d0a, 28, 0x1a2b3c4d, 0x00010000, 0xffffffff, 0xffffffff,
                                  28,         1,  20,         link << 16, 65536,      20};

        for (size_t i = 0; i < SALVO_ARRAY_LENGTH(words); i++)
            capture_u32(c, words[i]);
    } else {
        const uint32_t words[] = {0xa1b2c3d4, 0x00020004, 0, 0, 65536, link};

        for (size_t i = 0; i < SALVO_ARRAY_LENGTH(words); i++)
            capture_u32(c, words[i]);
    }
}

static void packet_link(struct salvo_writer *w, uint32_t link, bool v6)
{
    uint16_t type = v6 ? 0x86dd : 0x0800;
    uint8_t zeros[20] = {0};

    if (link == 1) {
        salvo_write_bytes(w, zeros, 12);
        salvo_write_u16(w, 0x8100); /* a VLAN tag, for good measure */
        salvo_write_u16(w, 7);
        salvo_write_u16(w, type);
    } else if (link == 113) {
        salvo_write_bytes(w, zeros, 14);
        salvo_write_u16(w, type);
    } else if (link == 276) {
        salvo_write_u16(w, type);
        salvo_write_bytes(w, zeros, 18);
    } else if (link == 0) {
        salvo_write_u32(w, 2);
    }
}

static void packet_ip(struct salvo_writer *w, bool v6, uint32_t size)
{
    uint8_t zeros[40] = {0};

    if (v6) {
        salvo_write_u32(w, 0x60000000);
        salvo_write_u16(w, (uint16_t)(20 + size));
        salvo_write_u8(w, 6);
        salvo_write_u8(w, 64);
        salvo_write_bytes(w, zeros, 32);
    } else {
        salvo_write_u16(w, 0x4500);
        salvo_write_u16(w, (uint16_t)(40 + size));
        salvo_write_u32(w, 0);
        salvo_write_u16(w, 0x4006);
        salvo_write_u16(w, 0);
        salvo_write_u32(w, 0x0a000001);
        salvo_write_u32(w, 0x0a000002);
    }
}

/* Bytes from..to of the stream, whose first byte has the sequence number `first`. */
static void capture_segment_of(struct capture *c, uint32_t first, bool syn, uint32_t from,
                               uint32_t to, uint32_t missing)
{
    uint8_t bytes[STREAM_SIZE + 128];
    struct salvo_writer w = salvo_writer_over(bytes, sizeof(bytes));
    uint32_t size;

    packet_link(&w, c->link, c->v6);
    packet_ip(&w, c->v6, to - from);
    salvo_write_u16(&w, 40000);
    salvo_write_u16(&w, 10911);
    salvo_write_u32(&w, first + from - syn);
    salvo_write_u32(&w, 0);
    salvo_write_u32(&w, syn ? 0x50020000 : 0x50180000);
    salvo_write_u32(&w, 0);
    salvo_write_bytes(&w, stream + from, to - from - missing);
    size = (uint32_t)salvo_writer_size(&w);
    if (c->next) {
        uint32_t padded = (size + 3) & ~3u;

        capture_u32(c, 6);
        capture_u32(c, 32 + padded);
        for (int i = 0; i < 3; i++)
            capture_u32(c, 0);
        capture_u32(c, size);
        capture_u32(c, size + missing);
        salvo_write_bytes(&c->w, bytes, padded);
        capture_u32(c, 32 + padded);
    } else {
        capture_u32(c, 0);
        capture_u32(c, 0);
        capture_u32(c, size);
        capture_u32(c, size + missing);
        salvo_write_bytes(&c->w, bytes, size);
    }
}

/* The number wraps on the way. */
static void capture_segment(struct capture *c, uint32_t from, uint32_t to, uint32_t missing)
{
    capture_segment_of(c, 4294967000u, false, from, to, missing);
}

struct collected {
    uint8_t bytes[2 * STREAM_SIZE];
    size_t size;
    unsigned flows;
};

static int collect(void *arg, struct frame_flow *flow)
{
    struct collected *collected = arg;
    size_t size = SALVO_MIN(flow->size, sizeof(collected->bytes) - collected->size);

    memcpy(collected->bytes + collected->size, flow->bytes, size);
    collected->size += size;
    frame_flow_take(flow, flow->size);
    return 0;
}

/* Reads a capture. Returns what frame_pcap_read did. */
static int capture_read(struct capture *c, struct collected *collected,
                        char flow_name[FRAME_NAME_MAX], uint64_t *ret_missing)
{
    struct cmd_input input = {c->bytes, salvo_writer_size(&c->w)};
    struct frame_pcap *pcap = calloc(1, sizeof(*pcap));
    char error[FRAME_ERROR_MAX];
    int r;

    collected->size = 0;
    r = frame_pcap_read(pcap, &input, collect, collected, error);
    collected->flows = pcap->flows_count;
    *ret_missing = 0;
    flow_name[0] = '\0';
    for (unsigned i = 0; i < pcap->flows_count; i++) {
        *ret_missing += pcap->flows[i]->missing;
        snprintf(flow_name, FRAME_NAME_MAX, "%s", pcap->flows[i]->name);
    }
    frame_pcap_deinit(pcap);
    free(pcap);
    return r;
}

static struct capture capture;
static struct collected collected;

static void expect_stream(const char *name)
{
    char flow_name[FRAME_NAME_MAX];
    uint64_t missing;

    assert_int_equal(capture_read(&capture, &collected, flow_name, &missing), 0);
    assert_int_equal(missing, 0);
    assert_string_equal(flow_name, name);
    assert_int_equal(collected.size, STREAM_SIZE);
    assert_memory_equal(collected.bytes, stream, STREAM_SIZE);
}

static void every_kind_of_capture_gives_the_stream(void **state)
{
    static const uint32_t links[] = {1, 113, 276, 0, 101};

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(links); i++) {
        for (int kind = 0; kind < 4; kind++) {
            bool v6 = kind & 1, next = kind & 2;

            capture_begin(&capture, next, links[i], v6);
            for (uint32_t at = 0; at < STREAM_SIZE; at += 1000)
                capture_segment(&capture, at, at + 1000, 0);
            expect_stream(v6 ? ":::40000 > :::10911" : "10.0.0.1:40000 > 10.0.0.2:10911");
        }
    }
}

static void order_and_repetition_do_not_matter(void **state)
{
    struct salvo_random random;

    salvo_random_init(&random, 5);
    for (int round = 0; round < 200; round++) {
        uint32_t order[20];

        capture_begin(&capture, round & 1, 1, false);
        capture_segment(&capture, 0, 200, 0); /* the first tells where the stream begins */
        for (uint32_t i = 0; i < 20; i++)
            order[i] = i;
        for (uint32_t i = 20; i > 0; i--) { /* any order, with overlaps and repetitions */
            uint32_t pick = (uint32_t)salvo_random_below(&random, i);
            uint32_t from = order[pick] * 200 -
                            SALVO_MIN(order[pick], 1u) * (uint32_t)salvo_random_below(&random, 200);
            uint32_t to = order[pick] * 200 + 200;

            capture_segment(&capture, from, to, 0);
            if (salvo_random_chance(&random, 1, 4))
                capture_segment(&capture, from, to, 0);
            order[pick] = order[i - 1];
        }
        expect_stream("10.0.0.1:40000 > 10.0.0.2:10911");
    }
}

/* Its SYN has the number before the first byte's, and may bring bytes itself (RFC 7413). */
static void a_connection_begins_with_its_syn(void **state)
{
    static const uint32_t firsts[] = {1, 0, 70000};
    static const uint32_t sizes[] = {0, 1, 1000};

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(firsts); i++) {
        for (size_t k = 0; k < SALVO_ARRAY_LENGTH(sizes); k++) {
            capture_begin(&capture, false, 1, false);
            for (int times = 0; times < 2; times++) /* nobody has acknowledged the first */
                capture_segment_of(&capture, firsts[i], true, 0, sizes[k], 0);
            capture_segment_of(&capture, firsts[i], false, sizes[k], STREAM_SIZE, 0);
            capture_segment_of(&capture, firsts[i], true, 0, sizes[k], 0); /* late */
            expect_stream("10.0.0.1:40000 > 10.0.0.2:10911");
            assert_int_equal(collected.flows, 1);
        }
    }
}

static void another_connection_of_the_same_ports_is_another_flow(void **state)
{
    capture_begin(&capture, false, 1, false);
    capture_segment_of(&capture, 5000, true, 0, 0, 0);
    capture_segment_of(&capture, 5000, false, 0, 1000, 0);
    capture_segment_of(&capture, 900000, true, 0, 0, 0);
    capture_segment_of(&capture, 900000, false, 1000, STREAM_SIZE, 0);
    capture_segment_of(&capture, 900000, false, 0, 1000, 0);
    char name[FRAME_NAME_MAX];
    uint64_t missing;

    assert_int_equal(capture_read(&capture, &collected, name, &missing), 0);
    assert_int_equal(collected.flows, 2);
    assert_int_equal(missing, 0);
    assert_int_equal(collected.size, STREAM_SIZE + 1000);
    assert_memory_equal(collected.bytes, stream, 1000);
    assert_memory_equal(collected.bytes + 1000, stream, STREAM_SIZE);
}

static void missing_bytes_are_counted_and_passed(void **state)
{
    char name[FRAME_NAME_MAX];
    uint64_t missing;

    /* cut by the snap length, and a packet that is not there at all */
    capture_begin(&capture, false, 1, false);
    capture_segment(&capture, 0, 1000, 500);
    capture_segment(&capture, 1000, 2000, 0);
    capture_segment(&capture, 2600, STREAM_SIZE, 0);
    assert_int_equal(capture_read(&capture, &collected, name, &missing), 0);
    assert_int_equal(missing, 500 + 600);
    assert_int_equal(collected.size, 500 + 1000 + STREAM_SIZE - 2600);
    assert_memory_equal(collected.bytes, stream, 500);
    assert_memory_equal(collected.bytes + 500, stream + 1000, 1000);
    assert_memory_equal(collected.bytes + 1500, stream + 2600, STREAM_SIZE - 2600);

    /* more of them behind the gap than wait for it */
    capture_begin(&capture, true, 1, false);
    capture_segment(&capture, 0, 100, 0);
    for (uint32_t at = 150; at < STREAM_SIZE; at += 10)
        capture_segment(&capture, at, at + 10, 0);
    capture_segment(&capture, 100, 150, 0); /* too late */
    assert_int_equal(capture_read(&capture, &collected, name, &missing), 0);
    assert_int_equal(missing, 50);
    assert_int_equal(collected.size, STREAM_SIZE - 50);
    assert_memory_equal(collected.bytes + 100, stream + 150, STREAM_SIZE - 150);
}

static void a_capture_cut_short_is_an_error(void **state)
{
    char name[FRAME_NAME_MAX];
    size_t whole;
    uint64_t missing;

    for (int next = 0; next < 2; next++) {
        capture_begin(&capture, next, 1, false);
        capture_segment(&capture, 0, 100, 0);
        whole = salvo_writer_size(&capture.w);
        for (size_t size = 4; size < whole; size++) {
            size_t head = next ? 28 : 24;

            capture.w.at = capture.bytes + size;
            if (size == head || (next && size == 48))
                continue; /* a capture without packets */
            assert_int_equal(capture_read(&capture, &collected, name, &missing), -EBADMSG);
        }
    }
}

static void damaged_captures_do_no_harm(void **state)
{
    static const uint32_t links[] = {1, 113, 276, 0, 101};
    char name[FRAME_NAME_MAX];
    struct salvo_random random;
    uint64_t missing;

    salvo_random_init(&random, 11);
    for (int round = 0; round < 20000; round++) {
        size_t size;

        capture_begin(&capture, round & 1, links[round % 5], round & 2);
        for (uint32_t at = 0; at < 300; at += 100)
            capture_segment(&capture, at, at + 100, 0);
        size = salvo_writer_size(&capture.w);
        for (int i = 0; i < 4; i++)
            capture.bytes[4 + salvo_random_below(&random, size - 4)] =
                (uint8_t)salvo_random_next(&random);
        capture_read(&capture, &collected, name, &missing);
    }
}

static void damaged_frames_do_no_harm(void **state)
{
    struct salvo_header header = {.code = 310, .opaque = 5, .flag = 0};
    struct salvo_random random;
    uint8_t bytes[1024];
    ssize_t size;

    salvo_header_add(&header, "b", SALVO_TEXT("TopicTest"));
    salvo_header_add(&header, "f", SALVO_TEXT("769"));
    salvo_header_add(&header, "i", SALVO_TEXT("TAGS\001a\002KEYS\001b\002"));
    salvo_header_add(&header, "m", SALVO_TEXT("true"));
    salvo_random_init(&random, 12);
    for (int round = 0; round < 20000; round++) {
        enum salvo_header_form form = round & 1 ? SALVO_HEADER_BINARY : SALVO_HEADER_JSON;
        int r;

        size = salvo_frame_write(bytes, sizeof(bytes), form, &header, stream, 64);
        assert_true(size > 0);
        for (int i = 0; i < 3; i++)
            bytes[8 + salvo_random_below(&random, (uint64_t)size - 8)] =
                (uint8_t)salvo_random_next(&random);
        free(print_frame(bytes, (size_t)size, &r));
    }
}

static int stream_fill(void **state)
{
    struct salvo_random random;

    salvo_random_init(&random, 1);
    for (size_t i = 0; i < sizeof(stream); i++)
        stream[i] = (uint8_t)salvo_random_next(&random);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_golden_frame_is_readable),
        cmocka_unit_test(hex_errors_name_the_place),
        cmocka_unit_test(every_kind_of_capture_gives_the_stream),
        cmocka_unit_test(order_and_repetition_do_not_matter),
        cmocka_unit_test(a_connection_begins_with_its_syn),
        cmocka_unit_test(another_connection_of_the_same_ports_is_another_flow),
        cmocka_unit_test(missing_bytes_are_counted_and_passed),
        cmocka_unit_test(a_capture_cut_short_is_an_error),
        cmocka_unit_test(damaged_captures_do_no_harm),
        cmocka_unit_test(damaged_frames_do_no_harm),
    };

    return cmocka_run_group_tests(tests, stream_fill, NULL);
}
