/* Lines of a file or a pipe, as messages: bounded memory, nothing lost, an over-long line costs
 * itself. */
#pragma once

#include "base/base.h"

enum lines_code {
    LINES_LINE = 0, /* a line: *ret_line, *ret_size, without its line feed */
    LINES_EMPTY,    /* an empty line */
    LINES_LONG,     /* a line of more than size_max bytes, passed over */
    LINES_MORE,     /* call lines_read first */
    LINES_END,      /* no more */
};

struct lines {
    uint8_t *buffer; /* of size_max + LINES_READ_SIZE bytes */
    size_t size_max;
    size_t start;   /* first byte not given out */
    size_t scanned; /* first byte not looked at for a line feed */
    size_t end;
    uint64_t number; /* of the line given last, from 1 */
    bool ended;      /* the file has no more */
    bool skipping;   /* inside an over-long line */
};

/* 0 or -ENOMEM. */
int lines_init(struct lines *lines, size_t size_max);
void lines_deinit(struct lines *lines);

/* The next line, or what is in its way. The bytes stay until the next call of either function. */
enum lines_code lines_next(struct lines *lines, const uint8_t **ret_line, size_t *ret_size);

/* Reads once, where there is room for it: after LINES_MORE. 0, or a negative errno (-EAGAIN,
 * -EINTR: try again later). */
int lines_read(struct lines *lines, int fd);
