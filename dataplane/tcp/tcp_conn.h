/* What the files of dataplane/tcp share: the machine's and a connection's state.
 *
 * Sequence numbers are 64 bits wide inside and 32 on the wire: tcp_wide() brings an arriving number
 * to the place nearest to one we know. So comparisons are plain, and wrapping is in one function.
 * The SYN has the number 2^32 + ISN, the first byte the one after it.
 *
 *        spans (ranges of the caller)      ...|=====|==========|====|
 *        segments in flight (ring)         |s|s|s|s|s|
 *        send.una ------------------------^           ^--- send.next          ^--- send.end
 *
 * Every segment in flight has a record. A record is on one of two lists of its connection, or
 * SACKed and on none: `outstanding`, in the order of last transmission, which is what RACK walks;
 * `lost`, in the order to send again. So an ACK costs what it covers and a loss costs what is lost.
 */
#pragma once

#include "dataplane/tcp/tcp.h"
#include "dataplane/tcp/tcp_copy.h"

#include "base/assert.h"
#include "base/bytes.h"

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_PSH 0x08
#define TCP_ACK 0x10

#define TCP_NONE UINT32_MAX

/* Four SACK blocks fill the option space without timestamps, three with (RFC 2018 section 3). */
#define TCP_SACK_BLOCKS_MAX 4
/* 16 separate islands of early data per connection: twice what a burst of losses in a window of
 * answers of 100 bytes was seen to make; what makes a 17th is dropped and comes again. */
#define TCP_ISLANDS_MAX 16
/* 64 raw frames wait at most: ARP and ICMP answers, RSTs. More is a flood, and is dropped. */
#define TCP_RAW_MAX 64
/* RFC 6056 section 3.3.4: a table of counters, so that one busy target does not show the ports of
 * all. */
#define TCP_PORT_COUNTERS 32
/* 16: how many packets a connection sends before it gives way to the next one; segments, where we
 * cut them ourselves. */
#define TCP_TURN_MAX 16u

/* Ethernet, IPv6, TCP and the timestamp option, and up to whole words of 32 bytes: a size that the
 * compiler knows and copies without a loop. */
#define TCP_TEMPLATE_SIZE 96
static_assert(TCP_TEMPLATE_SIZE >= SALVO_ETHERNET_SIZE + SALVO_IP6_SIZE + SALVO_TCP_SIZE + 12,
              "the longest usual header");
static_assert(TCP_TEMPLATE_SIZE <= SALVO_TCP_HEADER_MAX, "it is copied whole into a packet");

enum tcp_list {
    TCP_LIST_OUTSTANDING = 0,
    TCP_LIST_LOST = 1,
    TCP_LIST_COUNT = 2,
    TCP_LIST_NONE = 2, /* SACKed */
};

struct tcp_segment {
    uint64_t seq;
    int64_t sent_us;         /* last transmission */
    uint32_t size;           /* sequence numbers: payload and FIN */
    uint32_t span;           /* free-running index of the span that holds seq */
    uint32_t next, previous; /* slots, TCP_NONE at the ends */
    uint8_t list;
    uint8_t sends; /* sticks at 255 */
    bool fin;
};
static_assert(sizeof(struct tcp_segment) == 40, "eight records on five cache lines");

struct tcp_span {
    const uint8_t *bytes;
    uint64_t seq; /* of its first byte */
    uint64_t size;
};

struct tcp_slot_list {
    uint32_t head, tail;
};

struct tcp_island {
    uint64_t start, end;
    uint64_t stamp; /* when it last grew: SACK reports the newest first */
};

enum tcp_timer {
    TCP_TIMER_NONE = 0,
    TCP_TIMER_RTO,     /* RFC 6298 */
    TCP_TIMER_PROBE,   /* tail loss probe, RFC 8985 section 7 */
    TCP_TIMER_REORDER, /* RACK's wait for late segments, RFC 8985 section 6.2 */
    TCP_TIMER_PERSIST, /* zero or silly window, RFC 9293 section 3.8.6 */
};

enum tcp_recovery {
    TCP_OPEN = 0,
    TCP_RECOVERING, /* losses found by RACK or duplicate ACKs */
    TCP_TIMED_OUT,  /* losses after a retransmission timeout */
};

struct tcp_sender {
    uint64_t iss;
    uint64_t una;    /* oldest not acknowledged */
    uint64_t next;   /* next to send; falls back to una on a rewind */
    uint64_t max;    /* highest ever sent */
    uint64_t end;    /* behind the last byte taken from the user */
    uint64_t window; /* bytes from una on */
    uint64_t
        window_max;    /* largest seen: half of it is worth sending (RFC 9293 section 3.8.6.2.1) */
    uint64_t wl1, wl2; /* seq and ack of the last window update */
    struct tcp_segment *segments;
    struct tcp_span *spans;
    uint32_t segment_head, segment_tail; /* free-running; the ring is [head, tail) */
    uint32_t span_head, span_tail;
    uint32_t span_next; /* the span that holds `next` */
    uint32_t mss;       /* payload bytes of a full segment, options taken off */
    uint32_t mss_peer;  /* as the peer said */
    uint16_t mtu;       /* of the path */
    uint8_t shift;      /* of windows the peer sends */
    bool fin_wanted;
    bool fin_sent;
};

struct tcp_receiver {
    uint64_t irs;
    uint64_t next;       /* next in order */
    uint64_t advertised; /* right edge last told */
    uint64_t consumed;   /* the user has taken everything before */
    uint64_t acked;      /* last ACK sent */
    uint64_t reported;   /* events told of everything before */
    uint8_t *memory;
    struct tcp_island islands[TCP_ISLANDS_MAX];
    uint64_t stamp;
    uint64_t duplicate_start, duplicate_end; /* to report by D-SACK (RFC 2883), equal when none */
    uint64_t fin_seq;
    int64_t ack_due_us;
    uint32_t mss_seen; /* the largest segment seen: two of them ask for an ACK */
    uint32_t timestamp_recent;
    int64_t timestamp_recent_us;
    uint8_t island_count;
    uint8_t shift;
    bool ack_now;
    bool ack_delayed;
    bool fin_known; /* a FIN arrived, at fin_seq */
};

struct tcp_rack { /* RFC 8985 section 5 */
    int64_t sent_us;
    uint64_t end_seq;
    int64_t rtt_us;
    uint64_t forward;        /* RACK.fack */
    uint64_t forward_before; /* as the ACKs before this one left it */
    uint64_t dsack_round;
    uint32_t window_multiplier;
    uint32_t window_persist;
    bool reordering_seen;
    bool dsack_seen;
    uint64_t probe_end; /* TLP.end_seq; 0: no probe in flight */
    bool probe_is_retransmission;
};

struct tcp_rtt {
    int64_t smoothed_us; /* 0: no sample yet */
    int64_t variation_us;
    int64_t rto_us;
    int64_t min_us;
    int64_t min_taken_us;
    uint32_t backoff;
};

struct tcp_control { /* congestion control */
    uint32_t window;
    uint32_t threshold;
    uint64_t recovery_point;
    uint64_t pipe;   /* bytes on `outstanding` */
    uint64_t sacked; /* bytes SACKed and above una */
    uint64_t flight; /* bytes behind una when we last sent: ACKs come many at a time */
    uint32_t lost_count, sacked_count;
    uint32_t duplicate_acks; /* without SACK only */
    uint32_t sent_again;     /* segments, by the last recovery */
    bool window_limited;
    /* proportional rate reduction, RFC 6937 */
    uint64_t prr_delivered, prr_out, prr_flight;
    /* CUBIC, RFC 9438, in bytes and seconds */
    double w_max, k, w_est;
    int64_t epoch_us;     /* 0: the next growth starts one */
    uint32_t bytes_acked; /* NewReno's count of the current window */
    /* Eifel detection, RFC 3522 */
    uint32_t undo_window, undo_threshold;
    uint32_t undo_timestamp;
    bool undo_possible;
};

struct salvo_tcp_conn {
    /* identity */
    uint32_t index;
    uint32_t generation;
    uint64_t cookie;
    struct salvo_ip_address remote;
    uint16_t local_port, remote_port;
    uint32_t bucket_next;
    uint32_t neighbour;
    uint8_t state; /* enum salvo_tcp_state */
    uint8_t recovery;
    uint8_t timer;
    bool sack, timestamps;
    bool closed_here; /* salvo_tcp_close: nobody reads any more */
    bool on_ready, on_events, buried;
    bool syn_wanted;
    bool wait_neighbour;
    bool probe_wanted;   /* a tail loss probe */
    bool persist_wanted; /* a window probe */
    bool keepalive_wanted;
    bool window_probing; /* what is in flight was sent into a shut window */
    bool reopened;       /* this ACK opened it */
    bool force_one;      /* one segment goes whatever the congestion window says */
    uint32_t turn;       /* of TCP_TURN_MAX, used up */
    uint32_t ready_next, event_next;
    uint32_t free_next;

    /* header template: Ethernet, IP, TCP ports, the head of the timestamp option */
    uint8_t header[TCP_TEMPLATE_SIZE];
    uint8_t ip_size;
    uint64_t sum_pseudo; /* without the length */
    uint64_t sum_usual;  /* of what does not change from packet to packet, pseudo header included */
    uint64_t sum_ip;     /* IPv4 header without length and checksum */
    uint32_t timestamp_offset;

    struct tcp_sender send;
    struct tcp_slot_list lists[TCP_LIST_COUNT];
    struct tcp_receiver receive;
    struct tcp_rack rack;
    struct tcp_rtt rtt;
    struct tcp_control control;

    /* times */
    int64_t opened_us;
    int64_t timer_us;
    int64_t timeout_due_us; /* of the retransmission timeout, whatever timer stands before it; 0:
                               none */
    int64_t progress_us;    /* when the peer last took something, for the user timeout */
    int64_t heard_us;
    int64_t sent_us;      /* last data sent */
    int64_t keepalive_us; /* last keepalive probe */
    int64_t fin_wait_due_us;
    int64_t pace_due_us;
    int64_t mtu_raise_us;  /* when a lowered MTU is tried at full size again; 0: not lowered */
    int64_t mtu_raised_us; /* when it last was; 0: never */
    int64_t challenge_start_us;
    uint32_t challenge_count;
    uint32_t keepalive_count;
    uint32_t timeouts; /* in a row, without progress */
    int64_t wake_us;   /* key in the heap */
    uint32_t heap_place;

    /* events not yet taken */
    uint64_t released;
    bool event_up, event_peer_closed, event_down;
    bool peer_closed_reported;
    uint8_t reason;
};

enum tcp_neighbour_state {
    TCP_NEIGHBOUR_FREE = 0,
    TCP_NEIGHBOUR_ASKING, /* no MAC yet */
    TCP_NEIGHBOUR_KNOWN,
    TCP_NEIGHBOUR_PROBING, /* a MAC, old: still used, asked again */
};

struct tcp_neighbour {
    struct salvo_ip_address address;
    uint8_t mac[6];
    uint8_t state;
    uint8_t asked;
    uint32_t conns; /* connections that hold it */
    int64_t confirmed_us;
    int64_t due_us; /* next question; INT64_MAX: none */
};

struct tcp_time_wait {
    struct salvo_ip_address remote;
    uint16_t local_port, remote_port;
    uint32_t next; /* in the bucket */
    uint32_t send_next, receive_next, timestamp_last, timestamp_recent;
    uint32_t timestamp_offset;
    bool timestamps;
    int64_t closed_us;
    int64_t until_us; /* 0: free */
};

struct tcp_raw {
    uint32_t size;
    uint8_t bytes[SALVO_TCP_HEADER_MAX];
};

struct salvo_tcp {
    struct salvo_tcp_config config;
    struct salvo_ip_address link_local6;
    salvo_tcp_copy_fn *copy;
    struct salvo_tcp_conn *conns;
    uint32_t *buckets; /* connections by hash of their four-tuple */
    uint32_t bucket_mask;
    uint32_t *time_wait_buckets;
    struct tcp_time_wait *time_waits;
    uint32_t time_wait_next; /* all wait equally long: the next slot is the oldest */
    uint32_t *heap;
    uint32_t heap_count;
    uint32_t free_head, free_tail;
    uint32_t ready_head, ready_tail;
    uint32_t event_head, event_tail;
    uint32_t grave_head; /* DOWN was taken; freed by the next call */
    int64_t neighbour_due_us;
    struct tcp_neighbour *neighbours; /* conns_max: each connection holds one */
    struct tcp_raw raws[TCP_RAW_MAX];
    uint32_t raw_head, raw_tail;
    uint32_t port_counters[TCP_PORT_COUNTERS];
    struct salvo_tcp_stats stats;
};

/* One arrived TCP segment. */
struct tcp_arrival {
    const struct salvo_ip_packet *ip;
    const uint8_t *source_mac;
    const uint8_t *payload;
    uint32_t size;
    uint32_t seq, ack;
    uint16_t window;
    uint16_t source_port, target_port;
    uint8_t flags;
    /* options; UINT8_MAX and 0 when absent */
    uint8_t shift;
    uint16_t mss;
    bool sack_permitted, has_timestamp;
    uint8_t sack_count;
    uint32_t timestamp, timestamp_echo;
    uint32_t sack_start[TCP_SACK_BLOCKS_MAX], sack_end[TCP_SACK_BLOCKS_MAX];
};

/* The 64-bit number nearest to `near` whose low half is `seq`. */
static inline uint64_t tcp_wide(uint64_t near, uint32_t seq)
{
    return near + (uint64_t)(int64_t)(int32_t)(seq - (uint32_t)near);
}

static inline struct tcp_segment *tcp_segment_at(const struct salvo_tcp *tcp,
                                                 const struct salvo_tcp_conn *conn, uint32_t index)
{
    return &conn->send.segments[index & (tcp->config.segments_max - 1)];
}

static inline struct tcp_span *tcp_span_at(const struct salvo_tcp *tcp,
                                           const struct salvo_tcp_conn *conn, uint32_t index)
{
    return &conn->send.spans[index & (tcp->config.ranges_max - 1)];
}

static inline uint32_t tcp_in_flight(const struct salvo_tcp_conn *conn)
{
    return conn->send.segment_tail - conn->send.segment_head;
}

static inline bool tcp_synchronized(const struct salvo_tcp_conn *conn)
{
    return conn->state >= SALVO_TCP_ESTABLISHED && conn->state <= SALVO_TCP_LAST_ACK;
}

/* Bytes and FIN taken from the user and not sent yet. */
static inline uint64_t tcp_unsent(const struct salvo_tcp_conn *conn)
{
    return conn->send.end > conn->send.next ? conn->send.end - conn->send.next : 0;
}

/* The number of a segment without payload: what was sent into a window that is shut, or has shrunk,
 * is not taken, and neither is an ACK or a RST from behind it. */
static inline uint64_t tcp_bare_seq(const struct salvo_tcp_conn *conn)
{
    return SALVO_MIN(conn->send.max, conn->send.una + conn->send.window);
}

/* RFC 7323 section 4.1: ticks of a millisecond, from a place of each connection's own. */
static inline uint32_t tcp_timestamp(const struct salvo_tcp_conn *conn, int64_t now_us)
{
    return conn->timestamp_offset + (uint32_t)(uint64_t)(now_us / 1000);
}

static inline uint64_t tcp_handle(const struct salvo_tcp_conn *conn)
{
    return (uint64_t)conn->generation << 32 | conn->index;
}

/* tcp.c: the table, lists and events */
struct salvo_tcp_conn *salvo_tcp_find(struct salvo_tcp *tcp, const struct salvo_ip_address *remote,
                                      uint16_t remote_port, uint16_t local_port);
void salvo_tcp_ready(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn);
/* Takes the dead off the ready list, and frees those whose DOWN was taken. */
void salvo_tcp_ready_clear(struct salvo_tcp *tcp);
void salvo_tcp_note_event(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn);
/* Ends a connection: everything is released, DOWN is noted, the slot is free once DOWN was taken.
 */
void salvo_tcp_down(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn,
                    enum salvo_tcp_reason reason);
void salvo_tcp_release_to(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, uint64_t seq);

/* tcp_open.c: numbers nobody can guess, TIME-WAIT */
struct tcp_time_wait *salvo_tcp_time_wait_find(struct salvo_tcp *tcp,
                                               const struct salvo_ip_address *remote,
                                               uint16_t remote_port, uint16_t local_port);
void salvo_tcp_time_wait_enter(struct salvo_tcp *tcp, const struct salvo_tcp_conn *conn,
                               int64_t now_us);
uint32_t salvo_tcp_hash(const struct salvo_ip_address *remote, uint16_t remote_port,
                        uint16_t local_port);
uint64_t salvo_siphash(const uint8_t key[16], const void *bytes, size_t size);
/* The largest payload of a segment for the path's and the peer's limits. */
void salvo_tcp_mss_update(struct salvo_tcp_conn *conn);

/* tcp_in.c */
void salvo_tcp_segment_in(struct salvo_tcp *tcp, const struct salvo_ip_packet *ip,
                          const uint8_t *source_mac, bool checksum_verified, int64_t now_us);

/* tcp_ack.c: what an acceptable ACK does. False when the segment must not be looked at further. */
bool salvo_tcp_ack_in(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn,
                      const struct tcp_arrival *arrival, int64_t now_us);
void salvo_tcp_window_in(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn,
                         const struct tcp_arrival *arrival, uint64_t seq, uint64_t ack);

/* tcp_loss.c: scoreboard, RACK, retransmission records */
void salvo_tcp_list_append(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, uint32_t slot,
                           enum tcp_list list);
void salvo_tcp_list_remove(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, uint32_t slot);
void salvo_tcp_mark_lost(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, uint32_t slot,
                         bool first);
uint64_t salvo_tcp_sack_in(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn,
                           const struct tcp_arrival *arrival, int64_t now_us);
void salvo_tcp_rack_note(struct salvo_tcp_conn *conn, const struct tcp_segment *segment,
                         const struct tcp_arrival *arrival, int64_t now_us);
/* Marks what is lost; returns how long until the next may be, 0 for never. */
int64_t salvo_tcp_rack_detect(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us);
void salvo_tcp_mark_all_lost(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us);
/* Forgets all records: everything from una on is sent again, in segments of the size of the day. */
void salvo_tcp_rewind(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn);

/* tcp_receive.c: payload in, ACKs owed */
void salvo_tcp_payload_in(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn,
                          const struct tcp_arrival *arrival, uint64_t seq, int64_t now_us);
uint64_t salvo_tcp_receive_edge(const struct salvo_tcp *tcp, struct salvo_tcp_conn *conn);
void salvo_tcp_ack_now(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn);
/* An ACK that tells an attacker nothing and a confused peer everything (RFC 5961), rate limited. */
void salvo_tcp_challenge(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us);

/* tcp_out.c */
bool salvo_tcp_conn_out(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us,
                        uint32_t room, struct salvo_tcp_packet *ret_packet);

/* tcp_build.c */
/* Fills in headers over the payload already in `packet`; the peer learns by it what we have
 * received. */
void salvo_tcp_build(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us,
                     uint64_t seq, uint8_t flags, struct salvo_tcp_packet *packet);
void salvo_tcp_header_init(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn);
void salvo_tcp_reset_out(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn);
/* A bare ACK as a raw frame, for a connection that is about to go. */
void salvo_tcp_ack_out(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us);
void salvo_tcp_reset_answer(struct salvo_tcp *tcp, const struct tcp_arrival *arrival);
void salvo_tcp_time_wait_answer(struct salvo_tcp *tcp, const struct tcp_time_wait *wait,
                                const struct tcp_arrival *arrival, int64_t now_us);

/* tcp_timer.c */
void salvo_tcp_heap_insert(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t at_us);
void salvo_tcp_heap_remove(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn);
/* The connection is looked at by `at_us` at the latest. Cheap when it already will be. */
void salvo_tcp_wake_by(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t at_us);
void salvo_tcp_timer_set(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, enum tcp_timer kind,
                         int64_t at_us);
/* Starts the timer that fits what is in flight (RFC 6298 section 5, RFC 8985 section 7.2). */
void salvo_tcp_timer_rearm(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us);
/* RACK's timer, or the timeout if that comes first. */
void salvo_tcp_timer_reorder(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t at_us,
                             int64_t now_us);
/* `exact`: not rounded to ticks of a timestamp, so that RACK can use it. */
void salvo_tcp_rtt_sample(const struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t rtt_us,
                          bool exact, int64_t now_us);
int64_t salvo_tcp_rto_us(const struct salvo_tcp *tcp, const struct salvo_tcp_conn *conn);

/* tcp_cc.c: congestion control */
void salvo_tcp_cc_init(const struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, bool syn_lost);
void salvo_tcp_cc_acked(const struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, uint32_t bytes,
                        int64_t now_us);
void salvo_tcp_cc_recover(struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us);
void salvo_tcp_cc_prr(struct salvo_tcp_conn *conn, uint64_t delivered, bool advanced);
void salvo_tcp_cc_recovered(struct salvo_tcp_conn *conn);
void salvo_tcp_cc_timeout(const struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us);
void salvo_tcp_cc_idle(const struct salvo_tcp *tcp, struct salvo_tcp_conn *conn, int64_t now_us);
void salvo_tcp_cc_undo(struct salvo_tcp_conn *conn);
/* Bytes a second, or 0 for as fast as can be. */
uint64_t salvo_tcp_cc_pace(const struct salvo_tcp *tcp, const struct salvo_tcp_conn *conn);

/* link.c: frames of no connection */
struct tcp_raw *salvo_tcp_raw_claim(struct salvo_tcp *tcp);
bool salvo_tcp_raw_out(struct salvo_tcp *tcp, struct salvo_tcp_packet *ret_packet);
/* Writes an Ethernet and an IP header from us to `target`; returns where the payload begins. */
uint8_t *salvo_tcp_raw_headers(struct salvo_tcp *tcp, struct tcp_raw *raw, const uint8_t mac[6],
                               const struct salvo_ip_address *source,
                               const struct salvo_ip_address *target, uint8_t protocol,
                               uint8_t hop_limit, uint32_t payload_size);

/* arp.c: neighbours of both families, and ARP */
uint32_t salvo_tcp_neighbour_hold(struct salvo_tcp *tcp, const struct salvo_ip_address *remote);
void salvo_tcp_neighbour_drop(struct salvo_tcp *tcp, uint32_t neighbour);
/* Its MAC, or NULL while it is not known; asks for it if need be. */
const uint8_t *salvo_tcp_neighbour_mac(struct salvo_tcp *tcp, uint32_t neighbour, int64_t now_us);
void salvo_tcp_neighbour_heard(struct salvo_tcp *tcp, const struct salvo_ip_address *address,
                               const uint8_t mac[6], bool answer, bool override, int64_t now_us);
void salvo_tcp_neighbour_timers(struct salvo_tcp *tcp, int64_t now_us);
void salvo_arp_in(struct salvo_tcp *tcp, const uint8_t *frame, uint32_t size, int64_t now_us);

/* nd.c: IPv6 neighbour discovery */
void salvo_nd_ask(struct salvo_tcp *tcp, const struct tcp_neighbour *neighbour);
void salvo_nd_in(struct salvo_tcp *tcp, const struct salvo_ip_packet *ip, const uint8_t *source_mac,
                 int64_t now_us);

/* icmp.c */
void salvo_icmp4_in(struct salvo_tcp *tcp, const struct salvo_ip_packet *ip,
                    const uint8_t *source_mac, int64_t now_us);
void salvo_icmp6_in(struct salvo_tcp *tcp, const struct salvo_ip_packet *ip,
                    const uint8_t *source_mac, int64_t now_us);
