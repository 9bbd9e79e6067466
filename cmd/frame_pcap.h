/* Between the capture's files: packets become segments, segments become streams. */
#pragma once

#include "cmd/frame.h"

/* One TCP segment, wherever it came from. */
struct pcap_segment {
    uint8_t key[37];   /* family, source address, target address, ports */
    uint32_t sequence; /* of its first byte; a SYN may have some too */
    bool syn;
    const uint8_t *bytes;
    uint32_t size;
};

/* frame_packet.c: true when we know the link type; and when a packet of it is a TCP segment. */
bool frame_packet_link_known(uint32_t link);
bool frame_packet_read(uint32_t link, const uint8_t *bytes, uint32_t size,
                       struct pcap_segment *ret_segment);

/* frame_flow.c: the flow of a segment, made when it is new. NULL: too many, or no memory. */
struct frame_flow *frame_flow_find(struct frame_pcap *pcap, const struct pcap_segment *segment);
/* Takes a segment. 1: the flow has moved on; 0; -ENOMEM. */
int frame_flow_add(struct frame_flow *flow, const struct pcap_segment *segment);
/* Nothing more comes: goes on behind the next gap. 1: the flow has moved on, call again; 0;
 * -ENOMEM.
 */
int frame_flow_end(struct frame_flow *flow);
