/* Toeplitz's hash and the table behind it: see rss.h. */
#include "dataplane/rss.h"

#include "base/assert.h"
#include "base/bytes.h"

#include <string.h>

/* For each bit of the input that is set, the 32 bits of the key that begin at its place. */
uint32_t salvo_rss_hash(const uint8_t *key, size_t key_size, const uint8_t *input,
                        size_t input_size)
{
    uint32_t hash = 0;

    salvo_assert(key_size >= input_size + 4);
    for (size_t i = 0; i < input_size; i++) {
        uint64_t window = (uint64_t)salvo_load_be32(key + i) << 8 | key[i + 4];

        for (unsigned bit = 0; bit < 8; bit++)
            if (input[i] & (0x80u >> bit))
                hash ^= (uint32_t)(window >> (8 - bit));
    }
    return hash;
}

/*   IPv4: | source 4 | target 4 | source port | target port |      IPv6: with 16 and 16 */
uint16_t salvo_rss_queue(const struct salvo_rss *rss, const struct salvo_ip_address *remote,
                         uint16_t remote_port, const struct salvo_ip_address *local,
                         uint16_t local_port)
{
    size_t size = remote->version == 6 ? 16 : 4;
    uint8_t input[36];

    salvo_assert(salvo_is_power_of_two(rss->entries));
    memcpy(input, remote->bytes, size);
    memcpy(input + size, local->bytes, size);
    salvo_store_be16(input + 2 * size, remote_port);
    salvo_store_be16(input + 2 * size + 2, local_port);
    return rss
        ->queues[salvo_rss_hash(rss->key, rss->key_size, input, 2 * size + 4) & (rss->entries - 1)];
}
