/* TCP streams: segments in order within each direction of a connection. A segment that lies behind
 * a gap waits, with a limited number of others, until the gap is filled or it is clear that it
 * never will be: then the stream goes on behind it, and whoever reads it has to find its place
 * again. */
#include "base/bytes.h"
#include "cmd/frame_pcap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void flow_name(struct frame_flow *flow)
{
    const uint8_t *key = flow->key;
    int family = key[0] == 4 ? AF_INET : AF_INET6;
    char source[INET6_ADDRSTRLEN] = "?", target[INET6_ADDRSTRLEN] = "?";

    inet_ntop(family, key + 1, source, sizeof(source));
    inet_ntop(family, key + 17, target, sizeof(target));
    snprintf(flow->name, sizeof(flow->name), "%s:%u > %s:%u", source, salvo_load_be16(key + 33),
             target, salvo_load_be16(key + 35));
}

/* A SYN begins another connection of the same ports, but for one that was sent again. */
static bool flow_has(const struct frame_flow *flow, const struct pcap_segment *segment)
{
    return memcmp(flow->key, segment->key, sizeof(flow->key)) == 0 &&
           (!segment->syn || (flow->syn && flow->sequence_first == segment->sequence));
}

struct frame_flow *frame_flow_find(struct frame_pcap *pcap, const struct pcap_segment *segment)
{
    struct frame_flow *flow;

    for (unsigned i = pcap->flows_count; i-- > 0;)
        if (flow_has(pcap->flows[i], segment))
            return pcap->flows[i];
    if (pcap->flows_count == FRAME_FLOWS_MAX)
        return NULL;
    flow = calloc(1, sizeof(*flow));
    if (flow == NULL)
        return NULL;
    memcpy(flow->key, segment->key, sizeof(flow->key));
    flow_name(flow);
    pcap->flows[pcap->flows_count++] = flow;
    return flow;
}

/* 0, or -ENOMEM. */
static int flow_append(struct frame_flow *flow, const uint8_t *bytes, size_t size)
{
    if (flow->size + size > flow->room) {
        size_t room = salvo_power_of_two_up(flow->size + size);
        uint8_t *grown = realloc(flow->bytes, room);

        if (grown == NULL)
            return -ENOMEM;
        flow->bytes = grown;
        flow->room = room;
    }
    memcpy(flow->bytes + flow->size, bytes, size);
    flow->size += size;
    return 0;
}

/* A segment that does not lie before a gap: what is new of it. 0, -ENOMEM. */
static int flow_extend(struct frame_flow *flow, const uint8_t *bytes, uint32_t size,
                       uint32_t sequence)
{
    uint32_t known = flow->sequence_next - sequence; /* of its bytes, so many came before */

    if (known >= size)
        return 0;
    flow->sequence_next = sequence + size;
    return flow_append(flow, bytes + known, size - known);
}

static bool flow_behind_gap(const struct frame_flow *flow, uint32_t sequence)
{
    return (int32_t)(sequence - flow->sequence_next) > 0;
}

/* Segments that waited and fit now. */
static int flow_fill(struct frame_flow *flow)
{
    for (unsigned i = 0; i < flow->pending_count;) {
        int r;

        if (flow_behind_gap(flow, flow->pending[i].sequence)) {
            i++;
            continue;
        }
        r = flow_extend(flow, flow->pending[i].bytes, flow->pending[i].size,
                        flow->pending[i].sequence);
        if (r)
            return r;
        flow->pending[i] = flow->pending[--flow->pending_count];
        i = 0; /* it may have closed the gap of one before */
    }
    return 0;
}

/* Goes on with the first segment behind the gap; the beginning of a frame before it is of no use.
 */
static int flow_jump(struct frame_flow *flow)
{
    uint32_t gap = UINT32_MAX;

    for (unsigned i = 0; i < flow->pending_count; i++)
        gap = SALVO_MIN(gap, flow->pending[i].sequence - flow->sequence_next);
    flow->sequence_next += gap;
    flow->missing += gap;
    flow->lost = true;
    frame_flow_take(flow, flow->size);
    flow->taken += gap;
    return flow_fill(flow);
}

static void flow_wait(struct frame_flow *flow, const struct pcap_segment *segment)
{
    unsigned n = flow->pending_count++;

    flow->pending[n].bytes = segment->bytes;
    flow->pending[n].size = segment->size;
    flow->pending[n].sequence = segment->sequence;
}

int frame_flow_add(struct frame_flow *flow, const struct pcap_segment *segment)
{
    int r = 0;

    if (!flow->sequence_known) {
        flow->sequence_known = true;
        flow->syn = segment->syn;
        flow->lost = !segment->syn;
        flow->sequence_first = flow->sequence_next = segment->sequence;
    }
    if (segment->size == 0 || flow->passed_over)
        return 0;
    if (flow_behind_gap(flow, segment->sequence)) {
        flow_wait(flow, segment);
        if (flow->pending_count < SALVO_ARRAY_LENGTH(flow->pending))
            return 0;
        r = flow_jump(flow);
        return r ? r : 1;
    }
    r = flow_extend(flow, segment->bytes, segment->size, segment->sequence);
    if (r == 0)
        r = flow_fill(flow);
    return r ? r : 1;
}

int frame_flow_end(struct frame_flow *flow)
{
    int r;

    if (flow->pending_count == 0 || flow->passed_over)
        return 0;
    r = flow_jump(flow);
    return r ? r : 1;
}

void frame_flow_take(struct frame_flow *flow, size_t size)
{
    flow->taken += size;
    flow->size -= size;
    if (size > 0 && flow->size > 0)
        memmove(flow->bytes, flow->bytes + size, flow->size);
}
