/* The parts of `salvo frame`: bytes in (hex, pcap), readable frames out. */
#pragma once

#include "cmd/input.h"
#include "codec/header.h"

#include <stdio.h>

#define FRAME_ERROR_MAX 256
#define FRAME_NAME_MAX  128

/* frame_hex.c: hex digits, white space, and comments from '#' to the end of the line, decoded in
 * place. 0, or -EBADMSG with line and column in ret_error. */
int frame_hex_decode(struct cmd_input *input, char ret_error[FRAME_ERROR_MAX]);
/* True when it looks like such a text. */
bool frame_hex_likely(const struct cmd_input *input);

/* frame_print.c: one whole frame. `scratch` is as large as the frame. 0, or -EBADMSG with
 * ret_error. */
struct frame_print {
    FILE *to;
    bool full;         /* bodies and values to their ends */
    uint64_t number;   /* of the frame, from 1 */
    const char *where; /* "offset 12", "10.0.0.1:999 > 10.0.0.2:10911, offset 12" */
};
int frame_print(const struct frame_print *print, const struct salvo_frame *frame, void *scratch,
                char ret_error[FRAME_ERROR_MAX]);

/* frame_names.c: "SEND_MESSAGE_V2", or "unknown". */
const char *frame_request_name(int32_t code);
const char *frame_response_name(int32_t code);
/* Java's name of a one-letter field of SendMessageRequestHeaderV2, or NULL. */
const char *frame_send_field_name(struct salvo_text key);

/* frame_pcap.c, frame_packet.c, frame_flow.c: TCP payload of a classic pcap or pcapng in memory, in
 * order within each flow. */
struct frame_flow {
    char name[FRAME_NAME_MAX]; /* "10.0.0.1:999 > 10.0.0.2:10911" */
    uint64_t taken;            /* offset in the stream of the first byte of `bytes` */
    uint64_t missing;          /* bytes of the stream that the capture does not have */
    bool lost;      /* where a frame begins is not known: at its start, or behind missing bytes */
    uint8_t *bytes; /* in order, not yet taken */
    size_t size;

    /* frame_flow.c only */
    size_t room;
    uint8_t key[37];
    uint32_t sequence_first; /* of the stream, if its SYN was seen */
    uint32_t sequence_next;
    bool sequence_known;
    bool syn;
    unsigned pending_count;
    struct {
        const uint8_t *bytes;
        uint32_t size;
        uint32_t sequence;
    } pending[32]; /* segments behind a gap; they point into the capture */

    /* frame.c only */
    bool passed_over; /* does not speak RocketMQ */
    uint64_t skipped; /* bytes since the last frame, while it is lost */
    uint64_t frames;
};

#define FRAME_FLOWS_MAX 4096

struct frame_pcap {
    struct frame_flow *flows[FRAME_FLOWS_MAX];
    unsigned flows_count;
    uint64_t packets;
    uint64_t flows_dropped;   /* packets of flows beyond the table */
    uint64_t packets_ignored; /* not TCP over a link layer we know, or fragments */
};

bool frame_pcap_likely(const struct cmd_input *input);
/* Calls each after everything that brought a flow forward; each takes what it can from
 * flow->bytes with frame_flow_take. 0; -EBADMSG with the file offset in ret_error; -ENOMEM; or what
 * `each` returned. */
typedef int frame_pcap_fn(void *arg, struct frame_flow *flow);
int frame_pcap_read(struct frame_pcap *pcap, const struct cmd_input *input, frame_pcap_fn *each,
                    void *arg, char ret_error[FRAME_ERROR_MAX]);
void frame_flow_take(struct frame_flow *flow, size_t size);
void frame_pcap_deinit(struct frame_pcap *pcap);
