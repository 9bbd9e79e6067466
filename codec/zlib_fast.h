/* The fastest zlib-format compressor of the machine, for compress.c: zlib_fast_isal.c where ISA-L
 * is, zlib_fast_libdeflate.c elsewhere. Chosen in meson.build. */
#pragma once

#include "base/base.h"

struct salvo_zlib_fast; /* one thread at a time */

/* 0 or -ENOMEM. Allocates here and never again. */
int salvo_zlib_fast_new(struct salvo_zlib_fast **ret_zlib);
void salvo_zlib_fast_free(struct salvo_zlib_fast *zlib);
size_t salvo_zlib_fast_bound(const struct salvo_zlib_fast *zlib, size_t size);
/* The size of the stream, or 0 when it does not fit size_max. */
size_t salvo_zlib_fast_compress(struct salvo_zlib_fast *zlib, const void *body, size_t size,
                                void *ret_bytes, size_t size_max);
