/* TCP/IP as a pure machine, for a client: frames and time in; frames, events and the next deadline
 * out.
 *
 * It reads no clock, opens no socket, allocates nothing, logs nothing and draws no randomness: the
 * time is an argument, the keys are in the configuration, the memory is one block of the caller's,
 * sized by salvo_tcp_memory_size(). It opens connections and never listens. docs/TCP.md tells the
 * shape, the limits and what is left out.
 *
 * A driver's turn:
 *
 *     for each frame received      salvo_tcp_input(tcp, frame, size, checked, now_us);
 *     if (now_us >= salvo_tcp_deadline_us(tcp))
 *                                  salvo_tcp_timers(tcp, now_us);
 *     n = salvo_tcp_events(tcp, events, max);         and act on them: consume, send, close
 *     while (room && salvo_tcp_output(tcp, now_us, room, &packet))
 *                                  transmit it: attach its ranges, salvo_tcp_packet_write(), or
 *                                  salvo_tcp_cut_write() while it has segments
 *
 * Sent bytes are referenced, not owned. What salvo_tcp_send() took stays where it is, untouched,
 * until a RELEASED event covers it: it is what TCP retransmits from. Every connection that was
 * opened gets exactly one DOWN event, and all its bytes are RELEASED before it. A driver that hands
 * ranges to a device (external buffers) keeps its own count of them: RELEASED says that TCP is
 * done, not the device.
 *
 * Owner: one thread. Nothing here is shared. */
#pragma once

#include "dataplane/tcp/ip.h"

struct salvo_tcp;

enum salvo_tcp_congestion {
    SALVO_TCP_CUBIC = 0, /* RFC 9438 */
    SALVO_TCP_NEWRENO,   /* RFC 5681 growth */
};

/* All times in microseconds. salvo_tcp_config_defaults() fills what has a default. */
struct salvo_tcp_config {
    /* the link: no defaults */
    uint8_t mac[6];
    struct salvo_ip_address address4; /* version 0: no IPv4 */
    struct salvo_ip_address gateway4; /* version 0: only what is on the link can be reached */
    struct salvo_ip_address address6; /* version 0: no IPv6 */
    struct salvo_ip_address gateway6;
    uint8_t prefix4_bits;
    uint8_t prefix6_bits;
    uint8_t key[32]; /* secret and random: initial sequence numbers, ports, timestamps */

    /* the device */
    uint16_t mtu;          /* of IP datagrams; 1500 */
    uint32_t tso_max;      /* payload of one packet of several segments; 0: each is a packet. Cut by
                              the device with checksum_offload, else by salvo_tcp_cut_write() */
    bool checksum_offload; /* packets carry the pseudo header's sum only; the device does the rest
                            */

    /* sizes */
    uint32_t conns_max;             /* 64 */
    uint32_t segments_max;          /* in flight per connection, a power of two; 4096 */
    uint32_t ranges_max;            /* ranges held per connection, a power of two; 256 */
    uint32_t receive_size;          /* receive memory per connection, a power of two; 256 KiB */
    uint32_t time_wait_max;         /* closed connections remembered; the oldest goes first; 256 */
    uint16_t port_first, port_last; /* 32768 to 60999 */
    /* Says whether a local port will do, so that answers come back to the right queue (RSS); NULL:
     * all. */
    bool (*port_accepts)(void *arg, const struct salvo_ip_address *remote, uint16_t remote_port,
                         uint16_t local_port);
    void *port_accepts_arg;
    /* Among those, ports that are better than others; a few thousand are looked at. NULL: none. */
    bool (*port_prefers)(void *arg, const struct salvo_ip_address *remote, uint16_t remote_port,
                         uint16_t local_port);

    /* behaviour */
    enum salvo_tcp_congestion congestion;
    bool sack, timestamps, window_scale; /* offered in the SYN; all true */
    bool nagle;                          /* off: frames come coalesced already */
    bool pacing;                         /* spreads packets over the round trip; off */
    bool reset_unknown;                  /* answers segments of no connection with RST; true */
    bool address_answers; /* answers ARP, neighbour solicitations and echo; true. Of the machines
                           * that share an address, one does */
    uint32_t window_initial_segments; /* 10, RFC 6928 */
    uint32_t challenge_acks_per_s;    /* per connection, RFC 5961 section 7; 10 */

    int64_t rto_min_us;            /* 200 ms; RFC 6298 says 1 s, Linux 200 ms */
    int64_t rto_initial_us;        /* 1 s, RFC 6298 */
    int64_t rto_max_us;            /* 60 s, RFC 6298 */
    int64_t delayed_ack_us;        /* 40 ms; at most 500 ms, RFC 9293 section 3.8.6.3 */
    int64_t peer_delayed_ack_us;   /* 25 ms: added to the probe timeout, RFC 8985 section 7.2 */
    int64_t connect_timeout_us;    /* 10 s */
    int64_t user_timeout_us;       /* sent and not acknowledged for so long: DOWN; 60 s */
    int64_t keepalive_us;          /* silence before the first probe; 0: none; 60 s */
    int64_t keepalive_interval_us; /* 10 s */
    uint32_t keepalive_probes;     /* 3 */
    int64_t time_wait_us;          /* 2 MSL; 60 s */
    int64_t fin_wait_us;           /* closed here and the peer does not close: DOWN; 60 s. When its
                                    * window is shut, user_timeout_us later */
    uint32_t black_hole_timeouts;  /* timeouts in a row before smaller segments are tried; 3 */
    int64_t mtu_raise_us;       /* before a lowered path MTU is tried at full size again; 600 s. At
                                 * most 10 s when timeouts lowered it, unless that just failed */
    int64_t neighbour_fresh_us; /* an entry is used unasked for so long; 30 s */
    int64_t neighbour_retry_us; /* between two questions; 1 s */
};

void salvo_tcp_config_defaults(struct salvo_tcp_config *config);
/* 0, or -EINVAL when a value cannot be (sizes not powers of two, no address, MTU below 576, ...).
 */
int salvo_tcp_config_check(const struct salvo_tcp_config *config);
size_t salvo_tcp_memory_size(const struct salvo_tcp_config *config);

/* Builds the machine in `memory` (aligned to 64, zeroed or not). The configuration is copied. */
struct salvo_tcp *salvo_tcp_init(void *memory, const struct salvo_tcp_config *config);

/* Connections. A handle holds a slot and its generation: an old handle is refused, not mistaken. */
struct salvo_tcp_target {
    struct salvo_ip_address address;
    uint16_t port;
    uint16_t local_port; /* 0: chosen (RFC 6056) */
    uint64_t cookie;     /* comes back with every event */
};

enum salvo_tcp_open_result {
    SALVO_TCP_OPEN_OK = 0,
    SALVO_TCP_OPEN_FULL,     /* conns_max are open */
    SALVO_TCP_OPEN_NO_PORT,  /* no local port is free for this target */
    SALVO_TCP_OPEN_NO_ROUTE, /* no address of that family, or not on the link and no gateway */
};

enum salvo_tcp_open_result salvo_tcp_open(struct salvo_tcp *tcp,
                                          const struct salvo_tcp_target *target, int64_t now_us,
                                          uint64_t *ret_conn);

struct salvo_tcp_range {
    const uint8_t *bytes;
    size_t size;
};

/* Takes ranges to send, in order, and returns how many bytes it took: fewer than given when
 * ranges_max are held. Bytes may be given before UP. 0 after a shutdown, a close or DOWN. */
size_t salvo_tcp_send(struct salvo_tcp *tcp, uint64_t conn, const struct salvo_tcp_range *ranges,
                      unsigned range_count, int64_t now_us);

/* What has arrived in order and was not consumed: up to two ranges of receive memory, valid until
 * the next salvo_tcp_consume. Returns how many. */
unsigned salvo_tcp_readable(struct salvo_tcp *tcp, uint64_t conn,
                            struct salvo_tcp_range ret_ranges[2]);
/* Frees the first `size` readable bytes and opens the window by them. */
void salvo_tcp_consume(struct salvo_tcp *tcp, uint64_t conn, size_t size, int64_t now_us);

/* Sends FIN behind the last byte taken; the other direction stays open (half close). */
void salvo_tcp_shutdown(struct salvo_tcp *tcp, uint64_t conn, int64_t now_us);
/* As shutdown, and nothing more is wanted: unread or later bytes of the peer are answered with RST.
 */
void salvo_tcp_close(struct salvo_tcp *tcp, uint64_t conn, int64_t now_us);
/* RST now; DOWN(ABORTED) follows. */
void salvo_tcp_abort(struct salvo_tcp *tcp, uint64_t conn, int64_t now_us);

enum salvo_tcp_event_kind {
    SALVO_TCP_UP,       /* the handshake is done */
    SALVO_TCP_DATA,     /* `bytes` more are readable */
    SALVO_TCP_RELEASED, /* the oldest `bytes` of what was given to send are no longer referenced */
    SALVO_TCP_PEER_CLOSED, /* the peer's FIN arrived: no more DATA */
    SALVO_TCP_DOWN, /* the last event. `bytes`: how many were handed to the network at least once */
};

enum salvo_tcp_reason {
    SALVO_TCP_REASON_CLOSED = 0,  /* both sides said FIN and everything was acknowledged */
    SALVO_TCP_REASON_REFUSED,     /* RST in answer to the SYN */
    SALVO_TCP_REASON_RESET,       /* RST later */
    SALVO_TCP_REASON_TIMEOUT,     /* no answer to SYN, data or keepalive */
    SALVO_TCP_REASON_UNREACHABLE, /* ICMP said so, or the neighbour did not answer, while connecting
                                   */
    SALVO_TCP_REASON_ABORTED,     /* salvo_tcp_abort, or data for a closed connection */
};

struct salvo_tcp_event {
    enum salvo_tcp_event_kind kind;
    enum salvo_tcp_reason reason; /* of DOWN */
    uint64_t conn;
    uint64_t cookie;
    uint64_t bytes;
};

/* Events since the last call, at most `events_max`; what does not fit waits. A handle whose DOWN
 * was given out stays readable until the next call. */
unsigned salvo_tcp_events(struct salvo_tcp *tcp, struct salvo_tcp_event *events,
                          unsigned events_max);

/* One received Ethernet frame. It is not kept. `checksum_verified`: the device found the IPv4
 * header's and the TCP checksum right. */
void salvo_tcp_input(struct salvo_tcp *tcp, const uint8_t *frame, uint32_t size,
                     bool checksum_verified, int64_t now_us);

/* When salvo_tcp_timers() has to be called at the latest; INT64_MAX: never. It may be early. */
int64_t salvo_tcp_deadline_us(const struct salvo_tcp *tcp);
void salvo_tcp_timers(struct salvo_tcp *tcp, int64_t now_us);

/* 114: Ethernet, IPv6 and the longest TCP header; raw frames (ARP, ICMP answers) are header only.
 */
#define SALVO_TCP_HEADER_MAX 128
/* 48: a 64 KiB packet of 4 KiB ranges needs 17; a packet ends early when it would need more. */
#define SALVO_TCP_PACKET_RANGES_MAX 48
/* The length of an IP datagram has 16 bits. */
#define SALVO_TCP_PACKET_PAYLOAD_MAX (65535 - 120)

struct salvo_tcp_packet {
    uint32_t header_size;
    uint32_t payload_size;
    uint32_t range_count;
    uint16_t segment_size; /* payload of each segment but the last when there are several; else 0 */
    uint8_t ip_size;       /* 0 for a frame that is not TCP: nothing is left to fill in */
    uint8_t tcp_size;
    uint64_t header_sum; /* pseudo header and TCP header; 0 with checksum_offload */
    uint64_t conn;       /* 0 for frames of no connection */
    uint8_t header[SALVO_TCP_HEADER_MAX];
    struct salvo_tcp_range ranges[SALVO_TCP_PACKET_RANGES_MAX];
};

/* The next packet to transmit, of at most `room` segments (1 and more), or false. A packet given
 * out counts as sent: ask only when there is room. */
bool salvo_tcp_output(struct salvo_tcp *tcp, int64_t now_us, uint32_t room,
                      struct salvo_tcp_packet *ret_packet);

static inline uint32_t salvo_tcp_packet_segments(const struct salvo_tcp_packet *packet)
{
    return packet->segment_size == 0
               ? 1
               : (packet->payload_size + packet->segment_size - 1) / packet->segment_size;
}

/* Writes header and payload to `frame` (header_size + payload_size bytes), summing while it copies,
 * and fills in the TCP checksum unless the device does. Returns the size. */
uint32_t salvo_tcp_packet_write(const struct salvo_tcp *tcp, const struct salvo_tcp_packet *packet,
                                uint8_t *frame);

/* A packet of several segments on its way into frames, one for each: what a device with
 * segmentation offload does, for one that has none, and no checksum offload. */
struct salvo_tcp_cut {
    uint32_t done;            /* payload of the segments before */
    uint32_t range, range_at; /* where the next one's begins */
    uint32_t seq;             /* of the packet */
    uint16_t flags;           /* its header size and flags, as they lie in memory */
    uint64_t sum, sum_ip;     /* of what all segments have alike */
};

void salvo_tcp_cut_start(struct salvo_tcp_cut *cut, const struct salvo_tcp_packet *packet);

/* Bytes of the next segment's frame. 0: there is none left. */
static inline uint32_t salvo_tcp_cut_size(const struct salvo_tcp_cut *cut,
                                          const struct salvo_tcp_packet *packet)
{
    uint32_t left = packet->payload_size - cut->done;

    return left == 0 ? 0 : packet->header_size + SALVO_MIN(left, (uint32_t)packet->segment_size);
}

/* Writes the next segment as salvo_tcp_packet_write() does a packet. FIN and PSH are the last
 * one's. */
void salvo_tcp_cut_write(const struct salvo_tcp *tcp, const struct salvo_tcp_packet *packet,
                         struct salvo_tcp_cut *cut, uint8_t *frame);

/* For reports and tests. */
enum salvo_tcp_state {
    SALVO_TCP_FREE = 0,
    SALVO_TCP_SYN_SENT,
    SALVO_TCP_ESTABLISHED,
    SALVO_TCP_FIN_WAIT_1,
    SALVO_TCP_FIN_WAIT_2,
    SALVO_TCP_CLOSE_WAIT,
    SALVO_TCP_CLOSING,
    SALVO_TCP_LAST_ACK,
    SALVO_TCP_DEAD, /* waits for its DOWN event to be taken */
};

struct salvo_tcp_info {
    enum salvo_tcp_state state;
    uint16_t local_port;
    uint32_t mss; /* payload bytes of a full segment */
    uint32_t window_congestion, window_peer, threshold_slow_start;
    uint64_t bytes_unacked, bytes_unsent, bytes_in_pipe;
    uint64_t bytes_handed_over; /* at least once: what DOWN would say now */
    uint32_t segments_in_flight;
    int64_t rtt_smoothed_us, rtt_min_us, rto_us;
    bool recovering;
};

/* False when the handle is old. */
bool salvo_tcp_conn_info(const struct salvo_tcp *tcp, uint64_t conn,
                         struct salvo_tcp_info *ret_info);

struct salvo_tcp_stats {
    uint64_t frames_in, frames_malformed, checksum_wrong, fragments_dropped, segments_in,
        segments_unknown, segments_out, segments_retransmitted, packets_out, timeouts, tail_probes,
        recoveries, window_probes, keepalive_probes, challenge_acks, challenge_acks_held,
        paws_rejected, out_of_order, duplicates, out_of_order_dropped, resets_in, resets_out,
        icmp_used, icmp_ignored, mtu_lowered, frames_raw_dropped, time_wait_evicted,
        spurious_recoveries;
};

const struct salvo_tcp_stats *salvo_tcp_stats(const struct salvo_tcp *tcp);
