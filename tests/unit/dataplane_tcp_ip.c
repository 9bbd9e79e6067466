/* dataplane/tcp/ip and tcp_copy: sums against one taken byte by byte, at every size and place;
 * addresses and headers by tables. */
#include "tests/unit/unit.h"

#include "dataplane/tcp/ip.h"
#include "dataplane/tcp/tcp_copy.h"

#define BYTES_MAX 4096

/* RFC 1071 as it is written: pairs of bytes, the first of each pair high, an odd last one high. */
static uint16_t sum_by_pairs(const uint8_t *bytes, size_t size)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < size; i++)
        sum += i & 1 ? bytes[i] : (uint32_t)bytes[i] << 8;
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* A sum in memory order, as the wire has it. 0 and 0xffff are one number. */
static uint16_t as_on_the_wire(uint64_t sum)
{
    uint16_t folded = __builtin_bswap16(salvo_sum_fold(sum));

    return folded == 0xffff ? 0 : folded;
}

static uint16_t one_zero(uint16_t sum)
{
    return sum == 0xffff ? 0 : sum;
}

static void fill(uint8_t *bytes, size_t size, uint32_t seed)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
}

static void a_sum_is_that_of_the_pairs(void **state)
{
    static uint8_t bytes[BYTES_MAX + 8];

    for (unsigned pattern = 0; pattern < 3; pattern++) {
        if (pattern == 0)
            fill(bytes, sizeof(bytes), 1);
        else /* all ones: every addition carries */
            memset(bytes, pattern == 1 ? 0xff : 0, sizeof(bytes));
        for (size_t place = 0; place < 8; place++)
            for (size_t size = 0; size <= 300; size++)
                assert_int_equal(as_on_the_wire(salvo_sum_bytes(bytes + place, size, 0)),
                                 one_zero(sum_by_pairs(bytes + place, size)));
        assert_int_equal(as_on_the_wire(salvo_sum_bytes(bytes, BYTES_MAX, 0)),
                         one_zero(sum_by_pairs(bytes, BYTES_MAX)));
    }
}

static void copies(salvo_tcp_copy_fn *copy, uint8_t pattern)
{
    static uint8_t source[BYTES_MAX + 64], target[BYTES_MAX + 64];

    fill(source, sizeof(source), 7);
    if (pattern != 0)
        memset(source, pattern, sizeof(source));
    for (size_t size = 0; size <= 1600; size++) {
        size_t from = size % 33, to = size % 29;

        memset(target, 0xa5, sizeof(target));
        uint64_t sum = copy(target + to, source + from, size);
        assert_int_equal(as_on_the_wire(sum), one_zero(sum_by_pairs(source + from, size)));
        assert_memory_equal(target + to, source + from, size);
        for (size_t i = 0; i < sizeof(target); i++)
            if (i < to || i >= to + size)
                assert_int_equal(target[i], 0xa5);
    }
}

static void a_copy_copies_sums_and_touches_nothing_else(void **state)
{
    copies(salvo_tcp_copy_plain, 0);
    copies(salvo_tcp_copy_plain, 0xff);
    copies(salvo_tcp_copy_choose(), 0);
    copies(salvo_tcp_copy_choose(), 0xff);
}

static void a_built_header_is_parsed_again(void **state)
{
    static const uint8_t six[16] = {0x20, 1, 0xd, 0xb8, [15] = 7};
    struct salvo_ip_address from[] = {salvo_ip4_address(10, 1, 2, 3), salvo_ip6_address(six)};
    struct salvo_ip_address to[] = {salvo_ip4_address(192, 168, 0, 255), salvo_ip6_address(six)};
    uint8_t bytes[SALVO_IP6_SIZE + 32] = {0};
    struct salvo_ip_packet packet;

    for (unsigned i = 0; i < 2; i++) {
        uint32_t size = salvo_ip_build(bytes, &from[i], &to[i], SALVO_IP_PROTOCOL_TCP, 64, 30);

        assert_int_equal(salvo_ip_parse(bytes, size + 32, false, &packet), SALVO_IP_OK);
        assert_int_equal(packet.payload_size, 30); /* the padding of the link is cut off */
        assert_int_equal(packet.protocol, SALVO_IP_PROTOCOL_TCP);
        assert_true(salvo_ip_equal(&packet.source, &from[i]));
        assert_true(salvo_ip_equal(&packet.target, &to[i]));
        for (uint32_t cut = 0; cut < size + 30; cut++)
            assert_int_equal(salvo_ip_parse(bytes, cut, false, &packet), SALVO_IP_MALFORMED);
    }
}

static void a_datagram_that_cannot_be_is_refused(void **state)
{
    static const struct {
        unsigned at;
        uint8_t value;
        enum salvo_ip_result result;
    } four[] =
        {
            {0, 0x44, SALVO_IP_MALFORMED}, /* a header of 16 bytes */
            {0, 0x4f, SALVO_IP_MALFORMED}, /* longer than the datagram */
            {0, 0x55, SALVO_IP_MALFORMED}, /* version 5 */
            {3, 19, SALVO_IP_MALFORMED},   /* shorter than its header */
            {8, 63, SALVO_IP_CHECKSUM},    /* one router did not sum */
            {6, 0x20, SALVO_IP_FRAGMENT},  /* more fragments */
            {7, 1, SALVO_IP_FRAGMENT},     /* at an offset */
        },
      six[] = {
          {6, 44, SALVO_IP_FRAGMENT},
          {6, 0, SALVO_IP_EXTENSION},
          {6, 60, SALVO_IP_EXTENSION},
          {5, 31, SALVO_IP_MALFORMED},
      };
    struct salvo_ip_address a4 = salvo_ip4_address(10, 0, 0, 1);
    struct salvo_ip_address a6 = salvo_ip6_address((const uint8_t[16]){0x20, 1});
    struct salvo_ip_packet packet;
    uint8_t bytes[SALVO_IP6_SIZE + 30] = {0};

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(four); i++) {
        uint32_t size = salvo_ip_build(bytes, &a4, &a4, 6, 64, 30);
        bytes[four[i].at] = four[i].value;
        if (four[i].result == SALVO_IP_FRAGMENT) { /* or the sum would be seen first */
            memset(bytes + 10, 0, 2);
            uint16_t sum = salvo_sum_finish(salvo_sum_bytes(bytes, SALVO_IP4_SIZE, 0));
            memcpy(bytes + 10, &sum, 2);
        }
        assert_int_equal(salvo_ip_parse(bytes, size + 30, false, &packet), four[i].result);
    }
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(six); i++) {
        uint32_t size = salvo_ip_build(bytes, &a6, &a6, 6, 64, 30);
        bytes[six[i].at] = six[i].value;
        assert_int_equal(salvo_ip_parse(bytes, size + 30, false, &packet), six[i].result);
    }
}

static void a_prefix_is_compared_to_the_bit(void **state)
{
    struct salvo_ip_address a = salvo_ip4_address(10, 0, 0, 0x80);
    struct salvo_ip_address b = salvo_ip4_address(10, 0, 0, 0xc0);

    assert_true(salvo_ip_same_prefix(&a, &b, 0));
    assert_true(salvo_ip_same_prefix(&a, &b, 24));
    assert_true(salvo_ip_same_prefix(&a, &b, 25));
    assert_false(salvo_ip_same_prefix(&a, &b, 26));
    assert_false(salvo_ip_same_prefix(&a, &b, 32));
    b.version = 6;
    assert_false(salvo_ip_same_prefix(&a, &b, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sum_is_that_of_the_pairs),
        cmocka_unit_test(a_copy_copies_sums_and_touches_nothing_else),
        cmocka_unit_test(a_built_header_is_parsed_again),
        cmocka_unit_test(a_datagram_that_cannot_be_is_refused),
        cmocka_unit_test(a_prefix_is_compared_to_the_bit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
