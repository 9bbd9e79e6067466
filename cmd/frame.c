/* salvo frame: hex, a capture or raw bytes in, readable frames out. */
#include "cmd/frame.h"
#include "base/bytes.h"
#include "base/error.h"
#include "cmd/cmd.h"
#include "cmd/options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define FRAME_INPUT_MAX ((size_t)1 << 30)

struct frame_values {
    bool hex;
    bool full;
    const char *file;
};

static const struct cmd_option frame_options[] = {
    {"hex", 0, NULL, CMD_FLAG, offsetof(struct frame_values, hex), 0, 0, NULL,
     "the input is hex text, with comments behind #; else that is found out"},
    {"full", 0, NULL, CMD_FLAG, offsetof(struct frame_values, full), 0, 0, NULL,
     "show bodies and values to their ends"},
};

static const struct cmd_usage frame_usage = {
    .command = "frame",
    .summary = "Shows RocketMQ frames: hex text, a capture (pcap or pcapng; TCP over IPv4 or "
               "IPv6), or the "
               "bytes of a connection as they are.",
    .positional = "FILE|-",
    .positional_needed = true,
    .positional_offset = offsetof(struct frame_values, file),
    .options = frame_options,
    .options_count = SALVO_ARRAY_LENGTH(frame_options),
    .notes = "What begins in the middle of a connection, or misses pieces of it, is\n"
             "read from the next frame on.\n\n"
             "Exit code: 0; 1 when something makes no sense, and the message says\n"
             "where, or when the file cannot be read; 2 when the options are wrong.\n\n"
             "  tcpdump -s 0 -w - port 10911 | salvo frame -\n"
             "  salvo frame tests/golden/send-v2-5.3.3-binary.hex\n",
};

struct frame_run {
    struct frame_values values;
    uint64_t frames;
    uint8_t *scratch;            /* SALVO_FRAME_SIZE_MAX bytes */
    char error[FRAME_ERROR_MAX]; /* the first */
    uint64_t errors;
    bool text; /* a text, and taken for bytes: it is no hex */
    uint64_t flows_passed_over;
};

/* A header that is larger is not looked for: none has so many properties. */
#define FRAME_FIND_HEADER_MAX SALVO_KIB(256)

/* Keeps the first error; reading goes on. */
static void frame_note(struct frame_run *run, const char *where, const char *what)
{
    if (run->errors++ == 0)
        snprintf(run->error, FRAME_ERROR_MAX, "%s: %s", where, what);
}

/* Where the first frame begins whose header makes sense. When there is none: size, or the first
 * place whose header has not come wholly. */
static size_t frame_find(struct frame_run *run, const uint8_t *bytes, size_t size, bool *ret_found)
{
    size_t first = size;

    *ret_found = false;
    for (size_t at = 0; at < size; at++) {
        struct salvo_header header;
        struct salvo_frame frame;
        size_t left = size - at, header_size;
        const char *why;

        if (left < SALVO_FRAME_PREFIX_SIZE)
            return SALVO_MIN(first, at);
        if (salvo_frame_parse(bytes + at, left, SALVO_FRAME_SIZE_MAX, &frame, &why) ==
            SALVO_FRAME_BAD)
            continue;
        header_size = salvo_load_be32(bytes + at + 4) & 0xffffff;
        if (header_size > FRAME_FIND_HEADER_MAX)
            continue;
        if (header_size > left - SALVO_FRAME_PREFIX_SIZE) {
            first = SALVO_MIN(first, at);
            continue;
        }
        if (salvo_header_read(&header, (enum salvo_header_form)bytes[at + 4],
                              bytes + at + SALVO_FRAME_PREFIX_SIZE, header_size, run->scratch,
                              SALVO_FRAME_SIZE_MAX) == 0) {
            *ret_found = true;
            return at;
        }
    }
    return first;
}

/* Prints the whole frames at the front of `bytes`. Returns how many bytes they have; *ret_why is
 * NULL when what follows is the beginning of a frame (or nothing), else why it is none. */
static size_t frame_take(struct frame_run *run, const uint8_t *bytes, size_t size, const char *flow,
                         uint64_t offset, const char **ret_why)
{
    struct frame_print print = {.to = stdout, .full = run->values.full};
    char where[FRAME_NAME_MAX + 40], error[FRAME_ERROR_MAX];
    size_t at = 0;

    print.where = where;
    *ret_why = NULL;
    while (at < size) {
        struct salvo_frame frame;
        int r = salvo_frame_parse(bytes + at, size - at, SALVO_FRAME_SIZE_MAX, &frame, ret_why);

        if (r != 0) {
            if (r == SALVO_FRAME_MORE)
                *ret_why = NULL;
            break;
        }
        snprintf(where, sizeof(where), "%s%soffset %" PRIu64, flow, flow[0] != '\0' ? ", " : "",
                 offset + at);
        print.number = ++run->frames;
        if (frame_print(&print, &frame, run->scratch, error) && run->errors++ == 0)
            memcpy(run->error, error, sizeof(error));
        at += frame.size;
    }
    return at;
}

static void frame_passed_over(uint64_t size, const char *flow, uint64_t offset)
{
    fprintf(stderr, "salvo frame: %s%s%" PRIu64 " bytes passed over at offset %" PRIu64 "\n", flow,
            flow[0] != '\0' ? ": " : "", size, offset);
}

/* Bytes of one connection. They may begin in the middle of it. */
static void frame_stream(struct frame_run *run, const struct cmd_input *input)
{
    bool found;
    size_t at = frame_find(run, input->bytes, input->size, &found);

    if (!found)
        at = 0; /* so that it is said why */
    else if (at > 0)
        frame_passed_over(at, "", 0);
    while (at < input->size) {
        char where[40], cut[64];
        const char *why;
        size_t next;

        at += frame_take(run, input->bytes + at, input->size - at, "", at, &why);
        if (at == input->size)
            break;
        next = at + 1 + frame_find(run, input->bytes + at + 1, input->size - at - 1, &found);
        snprintf(where, sizeof(where), "offset %zu", at);
        snprintf(cut, sizeof(cut), "the frame is cut short; %zu bytes of it are there",
                 input->size - at);
        frame_note(run, where, why != NULL ? why : cut);
        if (!found)
            return;
        frame_passed_over(next - at, "", at);
        at = next;
    }
    if (run->frames == 0)
        frame_note(run, "offset 0", "there is no frame in it");
}

/* Looks for the next frame where none is known to begin. True when it was found. */
static bool frame_resume(struct frame_run *run, struct frame_flow *flow)
{
    bool found;
    size_t size = frame_find(run, flow->bytes, flow->size, &found);

    flow->skipped += size;
    frame_flow_take(flow, size);
    if (!found)
        return false;
    if (flow->skipped > 0)
        frame_passed_over(flow->skipped, flow->name, flow->taken - flow->skipped);
    flow->skipped = 0;
    flow->lost = false;
    return true;
}

/* A flow has grown. One that never held a frame speaks something else and is passed over. */
static int frame_flow(void *arg, struct frame_flow *flow)
{
    struct frame_run *run = arg;

    while (flow->size > 0 && !flow->passed_over && (!flow->lost || frame_resume(run, flow))) {
        char where[FRAME_NAME_MAX + 40];
        uint64_t frames = run->frames;
        const char *why;

        frame_flow_take(flow,
                        frame_take(run, flow->bytes, flow->size, flow->name, flow->taken, &why));
        flow->frames += run->frames - frames;
        if (why == NULL)
            return 0;
        if (flow->frames == 0) {
            flow->passed_over = true;
            run->flows_passed_over++;
        } else {
            snprintf(where, sizeof(where), "%s, offset %" PRIu64, flow->name, flow->taken);
            frame_note(run, where, why);
            flow->skipped++;
            frame_flow_take(flow, 1);
            flow->lost = true;
        }
    }
    if (flow->passed_over)
        frame_flow_take(flow, flow->size);
    return 0;
}

/* Bytes that the capture does not have, of flows that speak RocketMQ. */
static uint64_t frame_missing(const struct frame_pcap *pcap)
{
    uint64_t missing = 0;

    for (unsigned i = 0; i < pcap->flows_count; i++)
        missing += pcap->flows[i]->frames > 0 ? pcap->flows[i]->missing : 0;
    return missing;
}

static void frame_flows_dropped(struct frame_run *run, uint64_t packets)
{
    fprintf(stderr,
            "salvo frame: %" PRIu64 " packets left out, of connections behind the first %d\n",
            packets, FRAME_FLOWS_MAX);
    frame_note(run, "capture", "too many connections, not all of them were read");
}

static int frame_capture(struct frame_run *run, const struct cmd_input *input)
{
    struct frame_pcap *pcap = calloc(1, sizeof(*pcap));
    int r = -ENOMEM;

    if (pcap != NULL) {
        uint64_t missing;

        r = frame_pcap_read(pcap, input, frame_flow, run, run->error);
        missing = frame_missing(pcap);
        if (missing > 0)
            fprintf(stderr,
                    "salvo frame: %" PRIu64
                    " bytes are missing in the capture (capture all of them with tcpdump -s 0)\n",
                    missing);
        if (pcap->flows_dropped > 0)
            frame_flows_dropped(run, pcap->flows_dropped);
        fprintf(stderr,
                "salvo frame: %" PRIu64 " packets, %u flows, %" PRIu64
                " frames; passed over: %" PRIu64 " flows without RocketMQ, %" PRIu64
                " packets without TCP\n",
                pcap->packets, pcap->flows_count, run->frames, run->flows_passed_over,
                pcap->packets_ignored);
        frame_pcap_deinit(pcap);
    }
    free(pcap);
    return r;
}

/* Printable ASCII and white space: frames are none, each has a zero. */
static bool frame_is_text(const struct cmd_input *input)
{
    for (size_t i = 0; i < input->size; i++) {
        uint8_t c = input->bytes[i];

        if (c != '\t' && c != '\n' && c != '\r' && (c < ' ' || c > '~'))
            return false;
    }
    return input->size > 0;
}

static int frame_run(struct frame_run *run, struct cmd_input *input)
{
    if (run->values.hex || (!frame_pcap_likely(input) && frame_hex_likely(input))) {
        int r = frame_hex_decode(input, run->error);

        if (r)
            return r;
        frame_stream(run, input);
    } else if (frame_pcap_likely(input)) {
        int r = frame_capture(run, input);

        if (r)
            return r;
    } else {
        frame_stream(run, input);
        run->text = frame_is_text(input);
    }
    return run->errors > 0 ? -EBADMSG : 0;
}

int cmd_frame(int argc, char **argv)
{
    struct frame_run run = {0};
    struct cmd_input input;
    int code, r;

    if (!cmd_options_begin(&frame_usage, argc, argv, &run.values, &code))
        return code;
    if (cmd_input_read("frame", run.values.file, FRAME_INPUT_MAX, &input))
        return CMD_EXIT_FAILED;
    run.scratch = malloc(SALVO_FRAME_SIZE_MAX);
    r = run.scratch != NULL ? frame_run(&run, &input) : -ENOMEM;
    if (r)
        code = cmd_fail("frame", CMD_EXIT_FAILED, "%s: %s%s", run.values.file,
                        r == -ENOMEM ? SALVO_NO_MEMORY : run.error,
                        run.text ? "; it is a text: --hex shows where it is no hex" : "");
    else
        code = CMD_EXIT_GOOD;
    free(run.scratch);
    cmd_input_free(&input);
    return code;
}
