/* libdeflate's level 1, where there is no ISA-L. */
#include "codec/zlib_fast.h"

#include <errno.h>
#include <libdeflate.h>
#include <stdlib.h>

struct salvo_zlib_fast {
    struct libdeflate_compressor *compressor;
};

int salvo_zlib_fast_new(struct salvo_zlib_fast **ret_zlib)
{
    struct salvo_zlib_fast *zlib = calloc(1, sizeof(*zlib));

    if (zlib == NULL)
        return -ENOMEM;
    zlib->compressor = libdeflate_alloc_compressor(1);
    if (zlib->compressor == NULL) {
        free(zlib);
        return -ENOMEM;
    }
    *ret_zlib = zlib;
    return 0;
}

void salvo_zlib_fast_free(struct salvo_zlib_fast *zlib)
{
    if (zlib == NULL)
        return;
    libdeflate_free_compressor(zlib->compressor);
    free(zlib);
}

size_t salvo_zlib_fast_bound(const struct salvo_zlib_fast *zlib, size_t size)
{
    return libdeflate_zlib_compress_bound(zlib->compressor, size);
}

size_t salvo_zlib_fast_compress(struct salvo_zlib_fast *zlib, const void *body, size_t size,
                                void *ret_bytes, size_t size_max)
{
    return libdeflate_zlib_compress(zlib->compressor, body, size, ret_bytes, size_max);
}
