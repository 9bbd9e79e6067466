/* Capture files: classic pcap and pcapng. Everything read is bounded by the file in memory. */
#include "cmd/frame_pcap.h"
#include "base/bytes.h"

#include <errno.h>
#include <stdlib.h>

#define PCAP_INTERFACES_MAX 64

struct pcap_reader {
    struct frame_pcap *pcap;
    const struct cmd_input *input;
    frame_pcap_fn *each;
    void *arg;
    char *error;
    bool little; /* byte order of the file */
    uint32_t links[PCAP_INTERFACES_MAX];
    unsigned links_count;
};

static uint32_t pcap_u32(const struct pcap_reader *reader, const uint8_t *p)
{
    return reader->little ? __builtin_bswap32(salvo_load_be32(p)) : salvo_load_be32(p);
}

static uint16_t pcap_u16(const struct pcap_reader *reader, const uint8_t *p)
{
    return reader->little ? __builtin_bswap16(salvo_load_be16(p)) : salvo_load_be16(p);
}

static uint64_t pcap_offset(const struct pcap_reader *reader, const uint8_t *p)
{
    return (uint64_t)(p - reader->input->bytes);
}

static int pcap_error(const struct pcap_reader *reader, const uint8_t *at, const char *what)
{
    snprintf(reader->error, FRAME_ERROR_MAX, "capture, offset %llu: %s",
             (unsigned long long)pcap_offset(reader, at), what);
    return -EBADMSG;
}

static int pcap_packet(struct pcap_reader *reader, uint32_t link, const uint8_t *bytes,
                       uint32_t size)
{
    struct pcap_segment segment;
    struct frame_flow *flow;
    int r;

    reader->pcap->packets++;
    if (!frame_packet_read(link, bytes, size, &segment)) {
        reader->pcap->packets_ignored++;
        return 0;
    }
    flow = frame_flow_find(reader->pcap, &segment);
    if (flow == NULL) {
        reader->pcap->flows_dropped++;
        return 0;
    }
    r = frame_flow_add(flow, &segment);
    return r > 0 ? reader->each(reader->arg, flow) : r;
}

static int pcap_classic(struct pcap_reader *reader, struct salvo_reader *r)
{
    const uint8_t *head = salvo_read_bytes(r, 24), *record;
    uint32_t link;

    if (head == NULL)
        return pcap_error(reader, reader->input->bytes, "the file ends inside its header");
    link = pcap_u32(reader, head + 20) & 0x0fffffff;
    if (!frame_packet_link_known(link))
        return pcap_error(reader, head + 20,
                          "unknown link type; it may be Ethernet, Linux cooked, "
                          "loopback or raw IP");
    while (salvo_reader_left(r) > 0) {
        const uint8_t *at = r->at, *bytes;
        uint32_t size;
        int result;

        record = salvo_read_bytes(r, 16);
        if (record == NULL)
            return pcap_error(reader, at, "the file ends inside a packet's header");
        size = pcap_u32(reader, record + 8);
        bytes = salvo_read_bytes(r, size);
        if (bytes == NULL)
            return pcap_error(reader, at, "the packet is longer than the file");
        result = pcap_packet(reader, link, bytes, size);
        if (result)
            return result;
    }
    return 0;
}

/* One pcapng block's content, without its lengths. */
static int pcapng_block(struct pcap_reader *reader, uint32_t type, const uint8_t *at, uint32_t size)
{
    uint32_t interface = 0, fixed, captured;

    switch (type) {
    case 0x00000001: /* interface description */
        if (size < 8)
            return pcap_error(reader, at, "an interface block that is too short");
        if (reader->links_count == PCAP_INTERFACES_MAX)
            return pcap_error(reader, at, "more than 64 interfaces");
        reader->links[reader->links_count++] = pcap_u16(reader, at);
        return 0;
    case 0x00000003: /* simple packet: at most the snap length, and so the block's rest */
        fixed = 4;
        break;
    case 0x00000006: /* enhanced packet */
    case 0x00000002: /* packet, its forerunner */
        fixed = 20;
        break;
    default:
        return 0;
    }
    if (size < fixed)
        return pcap_error(reader, at, "a packet block that is too short");
    captured = SALVO_MIN(pcap_u32(reader, at + (fixed == 20 ? 12 : 0)),
                         fixed == 4 ? size - fixed : UINT32_MAX);
    if (fixed == 20)
        interface = type == 6 ? pcap_u32(reader, at) : pcap_u16(reader, at);
    if (captured > size - fixed)
        return pcap_error(reader, at, "the packet is longer than its block");
    if (interface >= reader->links_count)
        return pcap_error(reader, at, "a packet of an interface that was not described");
    return pcap_packet(reader, reader->links[interface], at + fixed, captured);
}

/*   | type | total length | content ... | total length |     all of it padded to 4 bytes
 *   A section header (0x0a0d0d0a) begins with the byte order and forgets the interfaces. */
static int pcap_next_generation(struct pcap_reader *reader, struct salvo_reader *r)
{
    while (salvo_reader_left(r) > 0) {
        const uint8_t *at = r->at, *head = salvo_read_bytes(r, 8);
        uint32_t type, total;
        int result;

        if (head == NULL)
            return pcap_error(reader, at, "the file ends inside a block's header");
        type = pcap_u32(reader, head);
        if (type == 0x0a0d0d0a) {
            if (salvo_reader_left(r) < 4)
                return pcap_error(reader, at, "the file ends inside a section header");
            reader->little = salvo_load_be32(r->at) == 0x4d3c2b1a;
            if (!reader->little && salvo_load_be32(r->at) != 0x1a2b3c4d)
                return pcap_error(reader, r->at, "a section header without its byte-order magic");
            reader->links_count = 0;
        }
        total = pcap_u32(reader, head + 4);
        if (total < 12 || total % 4 != 0 || salvo_read_bytes(r, total - 8) == NULL)
            return pcap_error(reader, at, "the block's length makes no sense");
        result = pcapng_block(reader, type, head + 8, total - 12);
        if (result)
            return result;
    }
    return 0;
}

static bool pcap_magic(const struct cmd_input *input, bool *ret_little, bool *ret_next)
{
    uint32_t magic;

    if (input->size < 4)
        return false;
    magic = salvo_load_be32(input->bytes);
    *ret_next = magic == 0x0a0d0d0a;
    *ret_little = magic == 0xd4c3b2a1 || magic == 0x4d3cb2a1; /* microseconds, nanoseconds */
    return *ret_next || *ret_little || magic == 0xa1b2c3d4 || magic == 0xa1b23c4d;
}

bool frame_pcap_likely(const struct cmd_input *input)
{
    bool little, next;

    return pcap_magic(input, &little, &next);
}

/* What waits behind gaps that nothing filled. */
static int pcap_flows_end(struct pcap_reader *reader)
{
    for (unsigned i = 0; i < reader->pcap->flows_count; i++) {
        int r;

        while ((r = frame_flow_end(reader->pcap->flows[i])) > 0) {
            r = reader->each(reader->arg, reader->pcap->flows[i]);
            if (r)
                return r;
        }
        if (r)
            return r;
    }
    return 0;
}

int frame_pcap_read(struct frame_pcap *pcap, const struct cmd_input *input, frame_pcap_fn *each,
                    void *arg, char ret_error[FRAME_ERROR_MAX])
{
    struct pcap_reader reader = {
        .pcap = pcap, .input = input, .each = each, .arg = arg, .error = ret_error};
    struct salvo_reader r = salvo_reader_over(input->bytes, input->size);
    bool next;
    int error;

    if (!pcap_magic(input, &reader.little, &next))
        return pcap_error(&reader, input->bytes, "not a capture file");
    error = next ? pcap_next_generation(&reader, &r) : pcap_classic(&reader, &r);
    return error ? error : pcap_flows_end(&reader);
}

void frame_pcap_deinit(struct frame_pcap *pcap)
{
    for (unsigned i = 0; i < pcap->flows_count; i++) {
        free(pcap->flows[i]->bytes);
        free(pcap->flows[i]);
    }
}
