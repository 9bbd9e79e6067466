/* SSE2, which every x86-64 has. A size that is no power of two is done as two pieces that overlap.
 */
#include "codec/escape_mask.h"

#include "base/assert.h"

#include <emmintrin.h>

static uint64_t mask_16(const uint8_t *text)
{
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)text);
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1f)), x);
    __m128i quote = _mm_cmpeq_epi8(x, _mm_set1_epi8('"'));
    __m128i backslash = _mm_cmpeq_epi8(x, _mm_set1_epi8('\\'));

    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(control, _mm_or_si128(quote, backslash)));
}

static uint64_t mask_32(const uint8_t *text)
{
    return mask_16(text) | mask_16(text + 16) << 16;
}

static uint64_t mask_bytes(const uint8_t *text, size_t size)
{
    uint64_t mask = 0;

    for (size_t i = 0; i < size; i++)
        mask |= (uint64_t)(text[i] < 0x20 || text[i] == '"' || text[i] == '\\') << i;
    return mask;
}

uint64_t salvo_escape_mask(const uint8_t *text, size_t size)
{
    salvo_assert(size > 0);
    salvo_assert(size <= SALVO_ESCAPE_BLOCK_SIZE);

    if (size >= 32)
        return mask_32(text) | mask_32(text + size - 32) << (size - 32);
    if (size >= 16)
        return mask_16(text) | mask_16(text + size - 16) << (size - 16);
    return mask_bytes(text, size);
}
