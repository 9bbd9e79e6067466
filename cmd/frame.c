/* salvo frame: hex, a capture or raw bytes in, readable frames out. */
#include "cmd/frame.h"
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
    .notes = "Exit code: 0, or 1 when something makes no sense; the message says where.\n\n"
             "  tcpdump -s 0 -w - port 10911 | salvo frame -\n"
             "  salvo frame tests/golden/send-v2-5.3.3-binary.hex\n",
};

struct frame_run {
    struct frame_values values;
    uint64_t frames;
    uint8_t *scratch; /* SALVO_FRAME_SIZE_MAX bytes */
    char error[FRAME_ERROR_MAX];
    uint64_t flows_passed_over;
};

/* Prints the whole frames at the front of `bytes`. Returns how many bytes they have; *ret_r is 0
 * when what follows is the beginning of a frame (or nothing), else -EBADMSG with run->error. */
static size_t frame_take(struct frame_run *run, const uint8_t *bytes, size_t size, const char *flow,
                         uint64_t offset, int *ret_r)
{
    struct frame_print print = {.to = stdout, .full = run->values.full};
    char where[FRAME_NAME_MAX + 40];
    const char *why = NULL;
    size_t at = 0;
    int r = 0;

    print.where = where;
    while (at < size && r == 0) {
        struct salvo_frame frame;

        snprintf(where, sizeof(where), "%s%soffset %" PRIu64, flow, flow[0] != '\0' ? ", " : "",
                 offset + at);
        r = salvo_frame_parse(bytes + at, size - at, SALVO_FRAME_SIZE_MAX, &frame, &why);
        if (r == SALVO_FRAME_MORE) {
            r = 0;
            break;
        }
        if (r == SALVO_FRAME_BAD) {
            snprintf(run->error, FRAME_ERROR_MAX, "%s: %s", where, why);
            r = -EBADMSG;
            break;
        }
        print.number = ++run->frames;
        r = frame_print(&print, &frame, run->scratch, run->error);
        at += frame.size;
    }
    *ret_r = r;
    return at;
}

/* Bytes of one connection, from their beginning. */
static int frame_stream(struct frame_run *run, const struct cmd_input *input)
{
    size_t at;
    int r;

    at = frame_take(run, input->bytes, input->size, "", 0, &r);
    if (r == 0 && at < input->size) {
        snprintf(run->error, FRAME_ERROR_MAX,
                 "offset %zu: the frame is cut short; %zu bytes of it are there", at,
                 input->size - at);
        r = -EBADMSG;
    }
    if (r == 0 && run->frames == 0) {
        snprintf(run->error, FRAME_ERROR_MAX, "there is no frame in it");
        r = -EBADMSG;
    }
    return r;
}

/* A flow has grown. One that never held a frame speaks something else and is passed over. */
static int frame_flow(void *arg, struct frame_flow *flow)
{
    struct frame_run *run = arg;
    uint64_t frames = run->frames;
    size_t taken;
    int r;

    if (flow->passed_over) {
        frame_flow_take(flow, flow->size);
        return 0;
    }
    taken = frame_take(run, flow->bytes, flow->size, flow->name, flow->taken, &r);
    flow->frames += run->frames - frames;
    frame_flow_take(flow, taken);
    if (r == -EBADMSG && flow->frames == 0) {
        flow->passed_over = true;
        run->flows_passed_over++;
        return 0;
    }
    return r;
}

/* What was left over when the capture ended. */
static int frame_flows_end(struct frame_run *run, const struct frame_pcap *pcap)
{
    for (unsigned i = 0; i < pcap->flows_count; i++) {
        const struct frame_flow *flow = pcap->flows[i];

        if (flow->broken != NULL && flow->frames > 0) {
            snprintf(run->error, FRAME_ERROR_MAX,
                     "%s, offset %" PRIu64 ": %s, at byte %" PRIu64 " of the file", flow->name,
                     flow->taken, flow->broken, flow->broken_at);
            return -EBADMSG;
        }
    }
    return 0;
}

static int frame_capture(struct frame_run *run, const struct cmd_input *input)
{
    struct frame_pcap *pcap = calloc(1, sizeof(*pcap));
    int r = -ENOMEM;

    if (pcap != NULL) {
        r = frame_pcap_read(pcap, input, frame_flow, run, run->error);
        if (r == 0)
            r = frame_flows_end(run, pcap);
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

static int frame_run(struct frame_run *run, struct cmd_input *input)
{
    if (run->values.hex || (!frame_pcap_likely(input) && frame_hex_likely(input))) {
        int r = frame_hex_decode(input, run->error);

        return r ? r : frame_stream(run, input);
    }
    if (frame_pcap_likely(input))
        return frame_capture(run, input);
    return frame_stream(run, input);
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
        code = cmd_fail("frame", CMD_EXIT_FAILED, "%s: %s", run.values.file,
                        r == -ENOMEM ? "out of memory" : run.error);
    else
        code = CMD_EXIT_GOOD;
    free(run.scratch);
    cmd_input_free(&input);
    return code;
}
