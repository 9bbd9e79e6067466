/* The parts of the byte reader and writer that are too long for a header: decimal and hex text, and
 * the UTF-8 check that stands in front of every JSON text salvo sends or believes. */
#include "base/bytes.h"

#include <errno.h>

void salvo_write_decimal(struct salvo_writer *w, int64_t value)
{
    char digits[20]; /* -9223372036854775808 has 20 characters */
    unsigned at = sizeof(digits);
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

    do {
        digits[--at] = (char)('0' + left % 10);
        left /= 10;
    } while (left != 0);
    if (value < 0)
        digits[--at] = '-';
    salvo_write_bytes(w, digits + at, sizeof(digits) - at);
}

typedef uint8_t bytes_16 __attribute__((vector_size(16)));

/* A CPU compares and adds sixteen digits as fast as one. */
static void hex_encode_16(char *to, const uint8_t *from)
{
    bytes_16 bytes, high, low, first, second;

    memcpy(&bytes, from, sizeof(bytes));
    high = bytes >> 4;
    low = bytes & 15;
    first =
        __builtin_shufflevector(high, low, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    second = __builtin_shufflevector(high, low, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14,
                                     30, 15, 31);
    first += '0' + ((bytes_16)(first > 9) & ('A' - '9' - 1));
    second += '0' + ((bytes_16)(second > 9) & ('A' - '9' - 1));
    memcpy(to, &first, sizeof(first));
    memcpy(to + sizeof(first), &second, sizeof(second));
}

void salvo_hex_encode(char *to, const void *bytes, size_t size)
{
    static const char digits[16] = "0123456789ABCDEF";
    const uint8_t *from = bytes;

    for (; size >= sizeof(bytes_16); size -= sizeof(bytes_16)) {
        hex_encode_16(to, from);
        to += 2 * sizeof(bytes_16);
        from += sizeof(bytes_16);
    }
    for (size_t i = 0; i < size; i++) {
        to[2 * i] = digits[from[i] >> 4];
        to[2 * i + 1] = digits[from[i] & 15];
    }
}

void salvo_write_hex(struct salvo_writer *w, const void *bytes, size_t size)
{
    uint8_t *to;

    if (size > SIZE_MAX / 2) {
        w->failed = true;
        return;
    }
    to = salvo_write_room(w, 2 * size);
    if (to != NULL)
        salvo_hex_encode((char *)to, bytes, size);
}

int salvo_parse_decimal(const char *text, size_t size, int64_t *ret_value)
{
    size_t i = 0;
    bool negative = size > 0 && text[0] == '-';
    uint64_t limit = (uint64_t)INT64_MAX + negative; /* the lowest number has no positive twin */
    uint64_t value = 0;

    if (negative)
        i++;
    if (i == size)
        return -EINVAL;
    for (; i < size; i++) {
        unsigned digit = (unsigned)(uint8_t)text[i] - '0';

        if (digit > 9 || value > (limit - digit) / 10)
            return -EINVAL;
        value = value * 10 + digit;
    }
    *ret_value = (int64_t)(negative ? 0 - value : value);
    return 0;
}

static bool utf8_continues(uint8_t byte)
{
    return (byte & 0xC0) == 0x80;
}

unsigned salvo_utf8_sequence(const uint8_t *p, size_t left)
{
    if (left == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xC2) /* a continuation byte, or C0 and C1, which only overlong forms need */
        return 0;
    if (p[0] < 0xE0)
        return left >= 2 && utf8_continues(p[1]) ? 2 : 0;
    if (p[0] < 0xF0) {
        if (left < 3 || !utf8_continues(p[1]) || !utf8_continues(p[2]))
            return 0;
        if (p[0] == 0xE0 && p[1] < 0xA0) /* overlong */
            return 0;
        if (p[0] == 0xED && p[1] > 0x9F) /* surrogates D800 to DFFF */
            return 0;
        return 3;
    }
    if (p[0] > 0xF4 || left < 4 || !utf8_continues(p[1]) || !utf8_continues(p[2]) ||
        !utf8_continues(p[3]))
        return 0;
    if (p[0] == 0xF0 && p[1] < 0x90) /* overlong */
        return 0;
    if (p[0] == 0xF4 && p[1] > 0x8F) /* above 10FFFF */
        return 0;
    return 4;
}

bool salvo_utf8_valid(const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    size_t i = 0;

    while (i < size) {
        unsigned sequence;
        uint64_t word;

        /* Nearly everything is ASCII: eight bytes at a time. */
        while (size - i >= sizeof(word)) {
            memcpy(&word, p + i, sizeof(word));
            if (word & UINT64_C(0x8080808080808080))
                break;
            i += sizeof(word);
        }
        if (i == size)
            return true;
        sequence = salvo_utf8_sequence(p + i, size - i);
        if (sequence == 0)
            return false;
        i += sequence;
    }
    return true;
}

unsigned salvo_utf8_printable(const uint8_t *p, size_t left)
{
    unsigned size = salvo_utf8_sequence(p, left);
    bool control = size != 0 && (p[0] < ' ' || p[0] == 0x7f || (p[0] == 0xc2 && p[1] < 0xa0));

    return control ? 0 : size;
}

void salvo_text_make_printable(char *text)
{
    uint8_t *p = (uint8_t *)text;
    size_t left = strlen(text);

    while (left != 0) {
        unsigned size = salvo_utf8_printable(p, left);

        if (size == 0) {
            *p = *p < 0x80 ? ' ' : '?';
            size = 1;
        }
        p += size;
        left -= size;
    }
}
