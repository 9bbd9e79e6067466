/* Copy and checksum in one pass, for devices that cannot sum.
 *
 * A one's complement sum does not care for the word size it is taken in (RFC 1071 section 2B):
 * 32-bit words are added into 64-bit places and folded once at the end. Payload is read once for
 * both jobs, since on this path memory is the bound. Function targets keep the file free of -m
 * flags, which DPDK's own flags would overrule. */
#include "dataplane/tcp/tcp_copy.h"

#include "dataplane/tcp/ip.h"

#include <string.h>

uint64_t salvo_tcp_copy_plain(uint8_t *target, const uint8_t *source, size_t size)
{
    uint64_t sum = 0;

    for (; size >= 8; size -= 8, source += 8, target += 8) {
        uint64_t word;
        memcpy(&word, source, 8);
        memcpy(target, &word, 8);
        sum += (word & 0xffffffff) + (word >> 32);
    }
    memcpy(target, source, size);
    return salvo_sum_bytes(target, size, sum);
}

#if defined(__x86_64__)
#include <immintrin.h>

#define PREFETCH_AHEAD 1536 /* bytes: a full segment of Ethernet, in whole cache lines */

__attribute__((target("avx2"))) static uint64_t copy_avx2(uint8_t *target, const uint8_t *source,
                                                          size_t size)
{
    const __m256i low = _mm256_set1_epi64x(0xffffffff);
    __m256i sum_a = _mm256_setzero_si256();
    __m256i sum_b = _mm256_setzero_si256();

    for (; size >= 64; size -= 64, source += 64, target += 64) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)source);
        __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(source + 32));
        /* The next segment lies there, as a rule, and is on its way while this one's ACKs and
         * headers are made. Where nothing lies a prefetch does nothing. */
        _mm_prefetch((const char *)source + PREFETCH_AHEAD, _MM_HINT_T0);
        _mm256_storeu_si256((__m256i *)(void *)target, a);
        _mm256_storeu_si256((__m256i *)(void *)(target + 32), b);
        sum_a = _mm256_add_epi64(sum_a, _mm256_and_si256(a, low));
        sum_b = _mm256_add_epi64(sum_b, _mm256_srli_epi64(a, 32));
        sum_a = _mm256_add_epi64(sum_a, _mm256_and_si256(b, low));
        sum_b = _mm256_add_epi64(sum_b, _mm256_srli_epi64(b, 32));
    }
    sum_a = _mm256_add_epi64(sum_a, sum_b);
    uint64_t lanes[4];
    _mm256_storeu_si256((__m256i *)(void *)lanes, sum_a);
    return lanes[0] + lanes[1] + lanes[2] + lanes[3] + salvo_tcp_copy_plain(target, source, size);
}
#endif

salvo_tcp_copy_fn *salvo_tcp_copy_choose(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2"))
        return copy_avx2;
#endif
    return salvo_tcp_copy_plain;
}
