/* ISA-L's level 1: one pass, and with AVX several times as fast as zlib's own. The library looks at
 * the CPU itself, so it also runs where there is no SSSE3. */
#include "codec/zlib_fast.h"

#include "base/assert.h"

#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <stdlib.h>

struct salvo_zlib_fast {
    struct isal_zstream stream;
    uint8_t level_bytes[ISAL_DEF_LVL1_DEFAULT];
};

/* Two bytes in front, four of Adler-32 behind, five for each stored block of at most 65,535 bytes,
 * and what ISA-L wants to have to spare for its own block header. */
#define FRAME_SIZE      6u
#define STORED_SIZE_MAX 65535u
#define STORED_OVERHEAD 5u

int salvo_zlib_fast_new(struct salvo_zlib_fast **ret_zlib)
{
    struct salvo_zlib_fast *zlib = calloc(1, sizeof(*zlib));

    if (zlib == NULL)
        return -ENOMEM;
    *ret_zlib = zlib;
    return 0;
}

void salvo_zlib_fast_free(struct salvo_zlib_fast *zlib)
{
    free(zlib);
}

size_t salvo_zlib_fast_bound(const struct salvo_zlib_fast *zlib, size_t size)
{
    return size + FRAME_SIZE + STORED_OVERHEAD * (size / STORED_SIZE_MAX + 1) +
           ISAL_DEF_MAX_HDR_SIZE;
}

size_t salvo_zlib_fast_compress(struct salvo_zlib_fast *zlib, const void *body, size_t size,
                                void *ret_bytes, size_t size_max)
{
    struct isal_zstream *stream = &zlib->stream;
    union {
        const void *body;
        uint8_t *in; /* ISA-L's prototype lacks the const */
    } in = {.body = body};

    salvo_assert(size <= UINT32_MAX);
    isal_deflate_stateless_init(stream);
    stream->level = 1;
    stream->level_buf = zlib->level_bytes;
    stream->level_buf_size = sizeof(zlib->level_bytes);
    stream->gzip_flag = IGZIP_ZLIB;
    stream->end_of_stream = 1;
    stream->flush = NO_FLUSH;
    stream->next_in = in.in;
    stream->avail_in = (uint32_t)size;
    stream->next_out = ret_bytes;
    stream->avail_out = (uint32_t)SALVO_MIN(size_max, (size_t)UINT32_MAX);
    if (isal_deflate_stateless(stream) != COMP_OK || stream->avail_in != 0)
        return 0;
    return stream->total_out;
}
