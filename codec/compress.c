/* The three compressions of RocketMQ 5 behind one call.
 *
 * zlib: any stream is readable by every version, so the fastest writer is used (zlib_fast.h).
 * LZ4: the frame is written here around LZ4's block functions, because the frame functions refuse
 * an output smaller than their bound, and "smaller than the body or not at all" is what we ask for.
 * Java's reader wants independent blocks; flags are those of Java's writer.
 * ZSTD: a context in memory of its own: one from the heap may change its size between calls. */
#define ZSTD_STATIC_LINKING_ONLY /* ZSTD_initStaticCCtx */

#include "codec/compress.h"

#include "base/assert.h"
#include "base/error.h"
#include "codec/remoting.h"
#include "codec/zlib_fast.h"

#include <errno.h>
#include <libdeflate.h>
#include <lz4.h>
#include <lz4frame.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zstd.h>
#include <zstd_errors.h>

static const char *const names[] = {
    [SALVO_COMPRESS_NONE] = "none",
    [SALVO_COMPRESS_ZLIB] = "zlib",
    [SALVO_COMPRESS_LZ4] = "lz4",
    [SALVO_COMPRESS_ZSTD] = "zstd",
};

static const int levels_max[] = {
    [SALVO_COMPRESS_NONE] = 0,
    [SALVO_COMPRESS_ZLIB] = 12,
    [SALVO_COMPRESS_LZ4] = 1,
    [SALVO_COMPRESS_ZSTD] = 19, /* above are the ultra levels, which want hundreds of megabytes */
};

struct salvo_compressor {
    enum salvo_compression compression;
    size_t body_size_max;
    /* the one that is in use is not NULL */
    struct salvo_zlib_fast *zlib_fast;
    struct libdeflate_compressor *zlib;
    void *lz4;
    void *zstd_bytes;
    ZSTD_CCtx *zstd; /* in zstd_bytes */
};

int salvo_compression_parse(const char *name, enum salvo_compression *ret_compression)
{
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(names); i++) {
        if (strcasecmp(names[i], name) == 0) {
            *ret_compression = (enum salvo_compression)i;
            return 0;
        }
    }
    return salvo_raise(-EINVAL);
}

const char *salvo_compression_name(enum salvo_compression compression)
{
    salvo_assert((size_t)compression < SALVO_ARRAY_LENGTH(names));
    return names[compression];
}

int salvo_compression_level_max(enum salvo_compression compression)
{
    salvo_assert((size_t)compression < SALVO_ARRAY_LENGTH(levels_max));
    return levels_max[compression];
}

int32_t salvo_compression_sysflag(enum salvo_compression compression, bool old)
{
    switch (compression) {
    case SALVO_COMPRESS_NONE:
        return 0;
    case SALVO_COMPRESS_ZLIB:
        return old ? SALVO_SYSFLAG_COMPRESSED : SALVO_SYSFLAG_COMPRESSED | SALVO_SYSFLAG_TYPE_ZLIB;
    case SALVO_COMPRESS_LZ4:
        return SALVO_SYSFLAG_COMPRESSED | SALVO_SYSFLAG_TYPE_LZ4;
    case SALVO_COMPRESS_ZSTD:
        return SALVO_SYSFLAG_COMPRESSED | SALVO_SYSFLAG_TYPE_ZSTD;
    }
    salvo_unreachable();
}

int salvo_compression_of_sysflag(int32_t sysflag, enum salvo_compression *ret_compression)
{
    if ((sysflag & SALVO_SYSFLAG_COMPRESSED) == 0) {
        *ret_compression = SALVO_COMPRESS_NONE;
        return 0;
    }
    switch (sysflag & SALVO_SYSFLAG_TYPE_MASK) {
    case 0: /* as 4.x writes it */
    case SALVO_SYSFLAG_TYPE_ZLIB:
        *ret_compression = SALVO_COMPRESS_ZLIB;
        return 0;
    case SALVO_SYSFLAG_TYPE_LZ4:
        *ret_compression = SALVO_COMPRESS_LZ4;
        return 0;
    case SALVO_SYSFLAG_TYPE_ZSTD:
        *ret_compression = SALVO_COMPRESS_ZSTD;
        return 0;
    default:
        return salvo_raise(-EINVAL);
    }
}

/* --- LZ4 frames ----------------------------------------------------------------------------- */

/*   4 magic   1 FLG 0x60: version 1, independent blocks   1 BD: largest block   1 header checksum
 *   blocks: 4 size (top bit: stored as it is), bytes
 *   4 zero: no more
 * All little-endian. */

#define LZ4_HEADER_SIZE 7u
#define LZ4_WORD_SIZE   4u
#define LZ4_STORED      0x80000000u

/* The four block sizes with the whole header of each; the checksum is xxHash32 of FLG and BD. */
static const struct lz4_kind {
    uint32_t block_size;
    uint8_t header[LZ4_HEADER_SIZE];
} lz4_kinds[] = {
    {64 << 10, {0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82}},
    {256 << 10, {0x04, 0x22, 0x4d, 0x18, 0x60, 0x50, 0xfb}},
    {1 << 20, {0x04, 0x22, 0x4d, 0x18, 0x60, 0x60, 0x51}},
    {4 << 20, {0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73}},
};

/* The smallest that takes the body in one block, because readers allocate that much. */
static const struct lz4_kind *lz4_kind_for(size_t size)
{
    size_t i = 0;

    while (i < SALVO_ARRAY_LENGTH(lz4_kinds) - 1 && size > lz4_kinds[i].block_size)
        i++;
    return &lz4_kinds[i];
}

static size_t lz4_bound(size_t size)
{
    size_t blocks = size / lz4_kind_for(size)->block_size + 1;

    return LZ4_HEADER_SIZE + blocks * LZ4_WORD_SIZE + size + LZ4_WORD_SIZE;
}

static void store_le32(uint8_t *bytes, uint32_t value)
{
    memcpy(bytes, &value, sizeof(value));
}

/* One block: compressed when that is smaller, else stored. 0 when neither fits. */
static size_t lz4_block(void *state, const char *body, uint32_t size, uint8_t *bytes,
                        size_t size_max)
{
    size_t room;
    int packed;

    if (size_max <= LZ4_WORD_SIZE)
        return 0;
    room = SALVO_MIN(size_max - LZ4_WORD_SIZE, (size_t)size);
    packed = LZ4_compress_fast_extState(state, body, (char *)bytes + LZ4_WORD_SIZE, (int)size,
                                        (int)room, 1);
    if (packed > 0) {
        store_le32(bytes, (uint32_t)packed);
        return LZ4_WORD_SIZE + (uint32_t)packed;
    }
    if (size_max - LZ4_WORD_SIZE < size)
        return 0;
    store_le32(bytes, size | LZ4_STORED);
    memcpy(bytes + LZ4_WORD_SIZE, body, size);
    return LZ4_WORD_SIZE + size;
}

static size_t lz4_frame(void *state, const char *body, size_t size, uint8_t *bytes, size_t size_max)
{
    const struct lz4_kind *kind = lz4_kind_for(size);
    size_t at = LZ4_HEADER_SIZE;

    if (size_max < LZ4_HEADER_SIZE + LZ4_WORD_SIZE)
        return 0;
    size_max -= LZ4_WORD_SIZE; /* kept for the end mark */
    memcpy(bytes, kind->header, LZ4_HEADER_SIZE);
    while (size > 0) {
        uint32_t part = (uint32_t)SALVO_MIN(size, (size_t)kind->block_size);
        size_t used = lz4_block(state, body, part, bytes + at, size_max - at);

        if (used == 0)
            return 0;
        at += used;
        body += part;
        size -= part;
    }
    store_le32(bytes + at, 0);
    return at + LZ4_WORD_SIZE;
}

/* --- compressors ----------------------------------------------------------------------------- */

static int compressor_zlib(struct salvo_compressor *compressor, int level)
{
    if (level <= 1)
        return salvo_zlib_fast_new(&compressor->zlib_fast);
    compressor->zlib = libdeflate_alloc_compressor(level);
    return compressor->zlib == NULL ? salvo_raise(-ENOMEM) : 0;
}

static int compressor_lz4(struct salvo_compressor *compressor)
{
    compressor->lz4 = calloc(1, (size_t)LZ4_sizeofState());
    return compressor->lz4 == NULL ? salvo_raise(-ENOMEM) : 0;
}

static int compressor_zstd(struct salvo_compressor *compressor, int level)
{
    size_t size;

    level = level == 0 ? 1 : level;
    size = salvo_align_up(ZSTD_estimateCCtxSize(level), SALVO_CACHE_LINE);
    compressor->zstd_bytes = aligned_alloc(SALVO_CACHE_LINE, size);
    if (compressor->zstd_bytes == NULL)
        return salvo_raise(-ENOMEM);
    compressor->zstd = ZSTD_initStaticCCtx(compressor->zstd_bytes, size);
    if (compressor->zstd == NULL ||
        ZSTD_isError(ZSTD_CCtx_setParameter(compressor->zstd, ZSTD_c_compressionLevel, level)))
        return salvo_raise(-ENOMEM);
    return 0;
}

int salvo_compressor_new(struct salvo_compressor **ret_compressor,
                         enum salvo_compression compression, int level, size_t body_size_max)
{
    struct salvo_compressor *compressor;
    int r;

    if (body_size_max > INT32_MAX)
        return salvo_raise(-EINVAL);
    if ((size_t)compression >= SALVO_ARRAY_LENGTH(levels_max) || level < 0 ||
        level > levels_max[compression])
        return salvo_raise(-EINVAL);
    compressor = calloc(1, sizeof(*compressor));
    if (compressor == NULL)
        return salvo_raise(-ENOMEM);
    compressor->compression = compression;
    compressor->body_size_max = body_size_max;
    switch (compression) {
    case SALVO_COMPRESS_ZLIB:
        r = compressor_zlib(compressor, level);
        break;
    case SALVO_COMPRESS_LZ4:
        r = compressor_lz4(compressor);
        break;
    case SALVO_COMPRESS_ZSTD:
        r = compressor_zstd(compressor, level);
        break;
    case SALVO_COMPRESS_NONE:
    default:
        r = salvo_raise(-EINVAL);
        break;
    }
    if (r) {
        salvo_compressor_free(compressor);
        return salvo_trace(r);
    }
    *ret_compressor = compressor;
    return 0;
}

void salvo_compressor_free(struct salvo_compressor *compressor)
{
    if (compressor == NULL)
        return;
    salvo_zlib_fast_free(compressor->zlib_fast);
    libdeflate_free_compressor(compressor->zlib);
    free(compressor->lz4);
    free(compressor->zstd_bytes);
    free(compressor);
}

size_t salvo_compress_bound(const struct salvo_compressor *compressor, size_t size)
{
    switch (compressor->compression) {
    case SALVO_COMPRESS_ZLIB:
        if (compressor->zlib_fast != NULL)
            return salvo_zlib_fast_bound(compressor->zlib_fast, size);
        return libdeflate_zlib_compress_bound(compressor->zlib, size);
    case SALVO_COMPRESS_LZ4:
        return lz4_bound(size);
    case SALVO_COMPRESS_ZSTD:
        return ZSTD_compressBound(size);
    case SALVO_COMPRESS_NONE:
        break;
    }
    salvo_unreachable();
}

size_t salvo_compress(struct salvo_compressor *compressor, const void *body, size_t size,
                      void *ret_bytes, size_t size_max)
{
    size_t packed;

    salvo_assert(size <= compressor->body_size_max);
    switch (compressor->compression) {
    case SALVO_COMPRESS_ZLIB:
        if (compressor->zlib_fast != NULL)
            return salvo_zlib_fast_compress(compressor->zlib_fast, body, size, ret_bytes, size_max);
        return libdeflate_zlib_compress(compressor->zlib, body, size, ret_bytes, size_max);
    case SALVO_COMPRESS_LZ4:
        return lz4_frame(compressor->lz4, body, size, ret_bytes, size_max);
    case SALVO_COMPRESS_ZSTD:
        packed = ZSTD_compress2(compressor->zstd, ret_bytes, size_max, body, size);
        return ZSTD_isError(packed) ? 0 : packed;
    case SALVO_COMPRESS_NONE:
        break;
    }
    salvo_unreachable();
}

/* --- decompression --------------------------------------------------------------------------- */

static ssize_t decompress_zlib(const void *bytes, size_t size, void *ret_body, size_t size_max)
{
    struct libdeflate_decompressor *decompressor = libdeflate_alloc_decompressor();
    enum libdeflate_result result;
    size_t used = 0, made = 0;

    if (decompressor == NULL)
        return salvo_raise(-ENOMEM);
    result =
        libdeflate_zlib_decompress_ex(decompressor, bytes, size, ret_body, size_max, &used, &made);
    libdeflate_free_decompressor(decompressor);
    if (result == LIBDEFLATE_INSUFFICIENT_SPACE)
        return salvo_raise(-E2BIG);
    if (result != LIBDEFLATE_SUCCESS || used != size)
        return salvo_raise(-EBADMSG);
    return (ssize_t)made;
}

static ssize_t decompress_lz4_frame(LZ4F_dctx *context, const uint8_t *bytes, size_t size,
                                    uint8_t *body, size_t size_max)
{
    size_t used = 0, made = 0;
    uint8_t beyond;

    /* Each round uses input or makes output, or it is the last. */
    for (;;) {
        size_t in = size - used;
        size_t out = made < size_max ? size_max - made : 1;
        size_t hint = LZ4F_decompress(context, made < size_max ? body + made : &beyond, &out,
                                      bytes + used, &in, NULL);

        if (LZ4F_isError(hint))
            return salvo_raise(-EBADMSG);
        if (made == size_max && out > 0)
            return salvo_raise(-E2BIG);
        used += in;
        made += out;
        if (hint == 0)
            return used == size ? (ssize_t)made : salvo_raise(-EBADMSG);
        if (in == 0 && out == 0)
            return salvo_raise(-EBADMSG); /* cut short */
    }
}

static ssize_t decompress_lz4(const void *bytes, size_t size, void *ret_body, size_t size_max)
{
    LZ4F_dctx *context;
    ssize_t made;

    if (LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION)))
        return salvo_raise(-ENOMEM);
    made = decompress_lz4_frame(context, bytes, size, ret_body, size_max);
    LZ4F_freeDecompressionContext(context);
    return made;
}

static ssize_t decompress_zstd(const void *bytes, size_t size, void *ret_body, size_t size_max)
{
    size_t frame = ZSTD_findFrameCompressedSize(bytes, size);
    size_t made;

    if (ZSTD_isError(frame) || frame != size)
        return salvo_raise(-EBADMSG);
    made = ZSTD_decompress(ret_body, size_max, bytes, size);
    if (!ZSTD_isError(made))
        return (ssize_t)made;
    return ZSTD_getErrorCode(made) == ZSTD_error_dstSize_tooSmall ? salvo_raise(-E2BIG)
                                                                  : salvo_raise(-EBADMSG);
}

static ssize_t decompress_none(const void *bytes, size_t size, void *ret_body, size_t size_max)
{
    if (size > size_max)
        return salvo_raise(-E2BIG);
    if (size > 0)
        memcpy(ret_body, bytes, size);
    return (ssize_t)size;
}

ssize_t salvo_decompress(enum salvo_compression compression, const void *bytes, size_t size,
                         void *ret_body, size_t size_max)
{
    switch (compression) {
    case SALVO_COMPRESS_NONE:
        return decompress_none(bytes, size, ret_body, size_max);
    case SALVO_COMPRESS_ZLIB:
        return decompress_zlib(bytes, size, ret_body, size_max);
    case SALVO_COMPRESS_LZ4:
        return decompress_lz4(bytes, size, ret_body, size_max);
    case SALVO_COMPRESS_ZSTD:
        return decompress_zstd(bytes, size, ret_body, size_max);
    }
    salvo_unreachable();
}
