/* zlib-format, LZ4 frame and ZSTD behind one call, with contexts the caller owns. After init
 * nothing allocates. CompressionType.java, ZlibCompressor.java, Lz4Compressor.java,
 * ZstdCompressor.java. */
#pragma once

#include "base/base.h"

#include <sys/types.h>

enum salvo_compression {
    SALVO_COMPRESS_NONE = 0,
    SALVO_COMPRESS_ZLIB,
    SALVO_COMPRESS_LZ4,
    SALVO_COMPRESS_ZSTD,
};

/* By name: none, zlib, lz4, zstd. 0 or -EINVAL. */
int salvo_compression_parse(const char *name, enum salvo_compression *ret_compression);
const char *salvo_compression_name(enum salvo_compression compression);
/* Levels go from 0 to this. */
int salvo_compression_level_max(enum salvo_compression compression);

/* sysFlag bits: 0x301, 0x101, 0x201. With `old` zlib is 0x1 alone, as 4.x writes it. */
int32_t salvo_compression_sysflag(enum salvo_compression compression, bool old);
/* What a sysFlag says. -EINVAL for a type nobody defined. */
int salvo_compression_of_sysflag(int32_t sysflag, enum salvo_compression *ret_compression);

struct salvo_compressor; /* one thread at a time */

/* level 0: the default of salvo for the type (zlib: ISA-L level 1 where the CPU has it, else
 * libdeflate 1; lz4 fast; zstd 1). zlib levels 2 to 12 are libdeflate's. Allocates here and never
 * again for bodies up to body_size_max. 0, -EINVAL, -ENOMEM. */
int salvo_compressor_new(struct salvo_compressor **ret_compressor,
                         enum salvo_compression compression, int level, size_t body_size_max);
void salvo_compressor_free(struct salvo_compressor *compressor);

/* The most bytes a body of this size can take compressed. */
size_t salvo_compress_bound(const struct salvo_compressor *compressor, size_t size);

/* The size of the compressed body, or 0 when it would not fit size_max: it does not pay. */
size_t salvo_compress(struct salvo_compressor *compressor, const void *body, size_t size,
                      void *ret_bytes, size_t size_max);

/* Undoes any of the three, for the mock and verifiers. The size, or -EBADMSG (not such a stream, or
 * cut short, or bytes behind it), -E2BIG when it is larger than size_max. May allocate. */
ssize_t salvo_decompress(enum salvo_compression compression, const void *bytes, size_t size,
                         void *ret_body, size_t size_max);
