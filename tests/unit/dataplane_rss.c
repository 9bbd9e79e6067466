/* dataplane/rss: Toeplitz's hash by the vectors that Microsoft published with RSS, and the table
 * behind it. */
#include "tests/unit/unit.h"

#include "dataplane/rss.h"

#include <arpa/inet.h>

static const uint8_t key[40] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
                                0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
                                0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
                                0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

static const struct {
    const char *source;
    uint16_t source_port;
    const char *target;
    uint16_t target_port;
    uint32_t hash_addresses, hash;
} vectors[] = {
    {"66.9.149.187", 2794, "161.142.100.80", 1766, 0x323e8fc2, 0x51ccc178},
    {"199.92.111.2", 14230, "65.69.140.83", 4739, 0xd718262a, 0xc626b0ea},
    {"24.19.198.95", 12898, "12.22.207.184", 38024, 0xd2d0a5de, 0x5c2b394a},
    {"38.27.205.30", 48228, "209.142.163.6", 2217, 0x82989176, 0xafc7327f},
    {"153.39.163.191", 44251, "202.188.127.2", 1303, 0x5d1809c5, 0x10e828a2},
    {"3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766, 0x2cc18cd5, 0x40207d3d},
    {"3ffe:501:8::260:97ff:fe40:efab", 14230, "ff02::1", 4739, 0x0f0c461c, 0xdde51bbf},
    {"3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, "fe80::200:f8ff:fe21:67cf", 38024, 0x4b61e985,
     0x02d1feef},
};

static struct salvo_ip_address address_of(const char *text)
{
    struct salvo_ip_address a = {0};

    a.version = strchr(text, ':') != NULL ? 6 : 4;
    assert_int_equal(inet_pton(a.version == 6 ? AF_INET6 : AF_INET, text, a.bytes), 1);
    return a;
}

static void the_hash_is_the_published_one(void **state)
{
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(vectors); i++) {
        struct salvo_ip_address source = address_of(vectors[i].source);
        struct salvo_ip_address target = address_of(vectors[i].target);
        size_t size = source.version == 6 ? 16 : 4;
        uint8_t input[36];

        memcpy(input, source.bytes, size);
        memcpy(input + size, target.bytes, size);
        assert_int_equal(salvo_rss_hash(key, sizeof(key), input, 2 * size),
                         vectors[i].hash_addresses);
        uint16_t ports[2] = {htons(vectors[i].source_port), htons(vectors[i].target_port)};
        memcpy(input + 2 * size, ports, 4);
        assert_int_equal(salvo_rss_hash(key, sizeof(key), input, 2 * size + 4), vectors[i].hash);
    }
}

static void the_low_bits_of_the_hash_choose_the_queue(void **state)
{
    static struct salvo_rss rss = {.key_size = sizeof(key), .entries = 128};

    memcpy(rss.key, key, sizeof(key));
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(vectors); i++) {
        struct salvo_ip_address source = address_of(vectors[i].source);
        struct salvo_ip_address target = address_of(vectors[i].target);

        memset(rss.queues, 0, sizeof(rss.queues));
        rss.queues[vectors[i].hash & 127] = 5;
        assert_int_equal(
            salvo_rss_queue(&rss, &source, vectors[i].source_port, &target, vectors[i].target_port),
            5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_hash_is_the_published_one),
        cmocka_unit_test(the_low_bits_of_the_hash_choose_the_queue),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
