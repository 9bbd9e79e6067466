/* A stand-in for TLS: a net over another net, which it owns.
 *
 * Plaintext goes in records of at most 16 KiB with 29 bytes around them:
 *
 *   | type 1 | version 2 | length 2 | bytes, each XOR 0x5a | checksum 24 |
 *
 * A made-up handshake of one round trip comes first (either side sends a hello and waits for the
 * other's); until then, and sometimes for some flushes after (from the seed), plaintext is taken
 * but held back. Of a record that was not wholly handed over, nothing was handed over. RELEASED
 * comes when the record was released, or, on some links, as soon as it was written. */
#pragma once

#include "dataplane/net.h"

#define SALVO_FILTER_PLAIN_MAX 16384u
#define SALVO_FILTER_OVERHEAD  29u

int salvo_net_filter_open(struct salvo_net *inner, const struct salvo_net_conf *conf, uint64_t seed,
                          struct salvo_net **ret_net);
