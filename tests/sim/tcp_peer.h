/* A model of the other end: a listening TCP written for clearness, with nothing of dataplane/tcp in
 * it.
 *
 * It keeps a flag for every byte it has, looks for its SACK blocks by walking them, sends go-back-N
 * with a fixed timeout, and can be told to misbehave: to read slowly or not at all for a while, to
 * shrink its window, to throw SACKed data away, to acknowledge bytes in the middle of segments. It
 * checks every byte it is sent, duplicates too, against tcp_peer_byte(); or, with `bytes_in`, keeps
 * what it is sent, and checks duplicates against that. */
#pragma once

#include "base/random.h"
#include "tests/packet/wire.h"

#define TCP_PEER_STREAM_MAX (4u << 20)

struct tcp_peer_config {
    uint32_t isn;
    uint32_t timestamp_0; /* at start_us */
    int64_t start_us;
    uint16_t mss;
    int shift; /* -1: no window scaling */
    bool sack, timestamps;
    uint32_t buffer_size;
    uint32_t ack_every; /* segments; 1: each */
    int64_t delayed_ack_us;
    uint32_t send_total; /* bytes it sends, then FIN */
    bool fin_at_once;    /* FIN when all is sent, whether the other side has closed or not */
    bool shrinks, reneges, splits_acks;
    struct salvo_random *random;
    /* Real streams: what comes is kept in bytes_in, what goes is bytes_out, of which send_total may
     * grow until fin_at_once. `have` and bytes_in are of stream_max bytes, and zero. */
    uint8_t *bytes_in;
    const uint8_t *bytes_out;
    uint32_t stream_max; /* 0: TCP_PEER_STREAM_MAX */
};

struct tcp_peer {
    struct tcp_peer_config config;
    enum { PEER_LISTEN, PEER_OPEN, PEER_RESET } state;
    uint32_t irs; /* the client's ISN */
    bool sack, timestamps;
    int shift_ours, shift_theirs;
    /* receiving; offsets count from the first byte of the stream */
    uint8_t *have;
    uint32_t next, read, highest, fin_at, last_start;
    uint32_t buffer_now; /* smaller than buffer_size while shrunk */
    uint32_t ack_told;
    bool fin_known, fin_taken;
    uint32_t segments_unacked;
    bool ack_now;
    int64_t ack_due_us;
    uint32_t timestamp_recent;
    /* sending */
    uint32_t una, sent, window, sent_max;
    uint32_t mss_theirs;
    int64_t resend_us, resend_wait_us;
    bool syn_acked, fin_sent, fin_acked, probe_due;
    const char *wrong;                    /* what the client did wrong, NULL when nothing */
    int64_t renege_due_us;                /* not before */
    uint32_t shrunk, reneged, acks_split; /* how often a vice was lived out */
    uint64_t bytes_refused;               /* beyond the window, or thrown away again */
};

/* Byte `offset` of a stream; side 0 is the client's. */
uint8_t tcp_peer_byte(unsigned side, uint32_t offset);
void tcp_peer_init(struct tcp_peer *peer, const struct tcp_peer_config *config, uint8_t *have);
void tcp_peer_input(struct tcp_peer *peer, const struct wire_segment *s, int64_t now_us);
/* The next segment, with numbers, flags, options; addresses and ports are the world's. `payload` is
 * a room of 64 KiB. */
bool tcp_peer_output(struct tcp_peer *peer, int64_t now_us, struct wire_segment *ret,
                     uint8_t *payload);
int64_t tcp_peer_deadline_us(const struct tcp_peer *peer);
void tcp_peer_tick(struct tcp_peer *peer, int64_t now_us);
/* The application takes bytes out of the buffer. */
void tcp_peer_read(struct tcp_peer *peer, uint32_t size, int64_t now_us);
bool tcp_peer_done(const struct tcp_peer *peer);
