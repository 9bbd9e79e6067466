/* Lines as messages: see lines.h. */
#include "cmd/lines.h"
#include "base/assert.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINES_READ_SIZE (256u * 1024u)

int lines_init(struct lines *lines, size_t size_max)
{
    *lines = (struct lines){.size_max = size_max};
    lines->buffer = malloc(size_max + LINES_READ_SIZE);
    return lines->buffer == NULL ? -ENOMEM : 0;
}

void lines_deinit(struct lines *lines)
{
    free(lines->buffer);
    lines->buffer = NULL;
}

/* A line of `size` bytes at start, followed by `behind` bytes of line end. */
static enum lines_code lines_give(struct lines *lines, size_t size, size_t behind,
                                  const uint8_t **ret_line, size_t *ret_size)
{
    bool was_skipping = lines->skipping;

    *ret_line = lines->buffer + lines->start;
    *ret_size = size;
    lines->start += size + behind;
    lines->scanned = lines->start;
    lines->skipping = false;
    lines->number++;
    if (was_skipping || size > lines->size_max)
        return LINES_LONG;
    return size == 0 ? LINES_EMPTY : LINES_LINE;
}

enum lines_code lines_next(struct lines *lines, const uint8_t **ret_line, size_t *ret_size)
{
    const uint8_t *from = lines->buffer + lines->scanned;
    const uint8_t *feed = memchr(from, '\n', lines->end - lines->scanned);
    size_t size = lines->end - lines->start;

    if (feed != NULL)
        return lines_give(lines, (size_t)(feed - lines->buffer) - lines->start, 1, ret_line,
                          ret_size);
    if (lines->ended) {
        if (size == 0 && !lines->skipping)
            return LINES_END;
        return lines_give(lines, size, 0, ret_line, ret_size);
    }
    lines->scanned = lines->end;
    if (size > lines->size_max) {
        lines->skipping = true; /* too long already: what is here need not be kept */
        lines->start = lines->end;
    }
    return LINES_MORE;
}

int lines_read(struct lines *lines, int fd)
{
    size_t held = lines->end - lines->start;
    ssize_t size;

    salvo_assert(held <= lines->size_max);
    if (lines->start > 0) {
        memmove(lines->buffer, lines->buffer + lines->start, held);
        lines->scanned -= lines->start;
        lines->end = held;
        lines->start = 0;
    }
    size = read(fd, lines->buffer + lines->end, lines->size_max + LINES_READ_SIZE - lines->end);
    if (size < 0)
        return -errno;
    if (size == 0)
        lines->ended = true;
    lines->end += (size_t)size;
    return 0;
}
