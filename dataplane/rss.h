/* Receive-side scaling, as NICs do it: which receive queue a segment will come to. A lane asks it
 * before it opens a connection, to choose a local port whose answers come to its own queue.
 *
 * The hash is Toeplitz's over both addresses and ports of the received segment, its low bits index
 * a table of queues. Pure functions. */
#pragma once

#include "dataplane/tcp/ip.h"

/* 64: the longest key that NICs take is 52 bytes; 36 + 4 are needed for IPv6. */
#define SALVO_RSS_KEY_MAX 64u
/* 2048: the largest table that NICs have. */
#define SALVO_RSS_ENTRIES_MAX 2048u

/* What a NIC was told, or says of itself. */
struct salvo_rss {
    uint32_t key_size;
    uint32_t entries; /* power of two; 0: not known */
    uint8_t key[SALVO_RSS_KEY_MAX];
    uint16_t queues[SALVO_RSS_ENTRIES_MAX];
};

/* key_size is input_size + 4 at least. */
uint32_t salvo_rss_hash(const uint8_t *key, size_t key_size, const uint8_t *input,
                        size_t input_size);

/* The queue of the segments that remote:remote_port sends to local:local_port. */
uint16_t salvo_rss_queue(const struct salvo_rss *rss, const struct salvo_ip_address *remote,
                         uint16_t remote_port, const struct salvo_ip_address *local,
                         uint16_t local_port);
