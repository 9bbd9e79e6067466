/* The few definitions every file may use. Nothing here knows of messages or of sockets. */
#pragma once

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 64: x86-64 and the ARM server cores have 64-byte lines; the neighbour-line prefetcher is answered
 * by keeping fields of different writers two lines apart where it was measured to matter (ring). */
#define SALVO_CACHE_LINE 64

#define SALVO_LIKELY(x)   __builtin_expect(!!(x), 1)
#define SALVO_UNLIKELY(x) __builtin_expect(!!(x), 0)

#define SALVO_ARRAY_LENGTH(a)     (sizeof(a) / sizeof((a)[0]))
#define SALVO_MIN(a, b)           ((a) < (b) ? (a) : (b))
#define SALVO_MAX(a, b)           ((a) > (b) ? (a) : (b))
#define SALVO_CLAMP(x, low, high) SALVO_MIN(SALVO_MAX(x, low), high)
#define SALVO_CONTAINER_OF(pointer, type, member)                                                  \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define SALVO_KIB(n) ((size_t)(n) << 10)
#define SALVO_MIB(n) ((size_t)(n) << 20)

#define SALVO_NS_PER_US INT64_C(1000)
#define SALVO_NS_PER_MS INT64_C(1000000)
#define SALVO_NS_PER_S  INT64_C(1000000000)

/* Functions that libsalvo gives to the world; all others are hidden. */
#define SALVO_PUBLIC              __attribute__((visibility("default")))
#define SALVO_PRINTF(text, first) __attribute__((format(printf, text, first)))
#define SALVO_UNUSED              __attribute__((unused))

static inline bool salvo_is_power_of_two(uint64_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

/* The smallest power of two not below n; n is 1 to 2^63. */
static inline uint64_t salvo_power_of_two_up(uint64_t n)
{
    return n <= 1 ? 1 : UINT64_C(1) << (64 - __builtin_clzll(n - 1));
}

/* Rounds up to a multiple of a power of two. */
static inline size_t salvo_align_up(size_t n, size_t alignment)
{
    return (n + alignment - 1) & ~(alignment - 1);
}

/* Spins politely: tells the core that this is a wait loop. */
static inline void salvo_cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}
