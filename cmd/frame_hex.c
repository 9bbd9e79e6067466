/* Hex text with comments, as tests/golden/ keeps frames. */
#include "cmd/frame.h"

#include <errno.h>
#include <string.h>

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool hex_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* A body may be cut where it reads like a text, for any length. But the frame behind it begins with
 * a zero (its length is under 16 MiB), and no text has one. */
bool frame_hex_likely(const struct cmd_input *input)
{
    if (input->size == 0 || memchr(input->bytes, 0, input->size) != NULL)
        return false;
    for (size_t i = 0; i < input->size && i < 4096; i++) {
        uint8_t c = input->bytes[i];

        if (c == '#')
            return true;
        if (!hex_space(c) && hex_digit(c) < 0)
            return false;
    }
    return true;
}

int frame_hex_decode(struct cmd_input *input, char ret_error[FRAME_ERROR_MAX])
{
    size_t out = 0, line = 1, line_start = 0, high_line = 0;
    int high = -1;
    bool comment = false;

    for (size_t i = 0; i < input->size; i++) {
        uint8_t c = input->bytes[i];
        int digit = hex_digit(c);

        if (c == '\n') {
            line++;
            line_start = i + 1;
            comment = false;
            continue;
        }
        comment = comment || c == '#';
        if (comment || hex_space(c))
            continue;
        if (digit < 0) {
            snprintf(ret_error, FRAME_ERROR_MAX, "line %zu, column %zu: not a hex digit", line,
                     i - line_start + 1);
            return -EBADMSG;
        }
        if (high < 0) {
            high = digit;
            high_line = line;
            continue;
        }
        input->bytes[out++] = (uint8_t)(high << 4 | digit);
        high = -1;
    }
    if (high >= 0) {
        snprintf(ret_error, FRAME_ERROR_MAX, "line %zu: an odd number of hex digits", high_line);
        return -EBADMSG;
    }
    input->size = out;
    return 0;
}
