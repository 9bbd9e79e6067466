/* codec/compress: what is packed unpacks, also by the library of the format; nothing is allocated
 * after init (the watched malloc aborts); a stream that lies is refused. */
#include "tests/unit/unit.h"
#include "tests/unit/codec_examples.h"

#include "base/arena.h"
#include "base/random.h"
#include "codec/compress.h"

#include <errno.h>
#include <lz4frame.h>

#define BODY_SIZE_MAX SALVO_MIB(5)

static const struct {
    enum salvo_compression compression;
    int level;
} kinds[] = {
    {SALVO_COMPRESS_ZLIB, 0}, {SALVO_COMPRESS_ZLIB, 1}, {SALVO_COMPRESS_ZLIB, 5},
    {SALVO_COMPRESS_ZLIB, 9}, {SALVO_COMPRESS_LZ4, 0},  {SALVO_COMPRESS_LZ4, 1},
    {SALVO_COMPRESS_ZSTD, 0}, {SALVO_COMPRESS_ZSTD, 3}, {SALVO_COMPRESS_ZSTD, 9},
};

static const size_t sizes[] = {1,       2,       3,       15,           40,    100,
                               1024,    4096,    65535,   65536,        65537, 262144,
                               1000000, 4194304, 4194305, BODY_SIZE_MAX};

static uint8_t *body, *packed, *unpacked;
static size_t packed_max;

enum content { CONTENT_SAME, CONTENT_TEXT, CONTENT_RANDOM, CONTENT_COUNT };

static void fill(enum content content)
{
    struct salvo_random random;

    salvo_random_init(&random, 11);
    for (size_t i = 0; i < BODY_SIZE_MAX; i++) {
        uint64_t draw = content == CONTENT_SAME ? 0 : salvo_random_next(&random);

        if (content == CONTENT_TEXT)
            body[i] = draw % 3 == 0 || i < 64 ? (uint8_t)('a' + draw % 16) : body[i - 64];
        else
            body[i] = content == CONTENT_SAME ? 'a' : (uint8_t)draw;
    }
}

static int setup(void **state)
{
    packed_max = BODY_SIZE_MAX + BODY_SIZE_MAX / 100 + 4096;
    body = malloc(BODY_SIZE_MAX);
    packed = malloc(packed_max);
    unpacked = malloc(BODY_SIZE_MAX);
    return 0;
}

static int teardown(void **state)
{
    free(body);
    free(packed);
    free(unpacked);
    return 0;
}

static void every_kind_packs_every_size_and_allocates_nothing(void **state)
{
    for (int content = 0; content < CONTENT_COUNT; content++) {
        fill((enum content)content);
        for (size_t k = 0; k < SALVO_ARRAY_LENGTH(kinds); k++) {
            struct salvo_compressor *compressor;

            assert_int_equal(salvo_compressor_new(&compressor, kinds[k].compression, kinds[k].level,
                                                  BODY_SIZE_MAX),
                             0);
            for (size_t i = 0; i < SALVO_ARRAY_LENGTH(sizes); i++) {
                size_t bound = salvo_compress_bound(compressor, sizes[i]), size;

                assert_true(bound <= packed_max);
                salvo_alloc_forbid(true);
                size = salvo_compress(compressor, body, sizes[i], packed, bound);
                salvo_alloc_forbid(false);
                assert_true(size > 0);
                assert_int_equal(
                    salvo_decompress(kinds[k].compression, packed, size, unpacked, sizes[i]),
                    sizes[i]);
                assert_memory_equal(unpacked, body, sizes[i]);
            }
            salvo_compressor_free(compressor);
        }
    }
}

static void many_bodies_of_changing_size_allocate_nothing(void **state)
{
    uint64_t seed = unit_seed(5);
    struct salvo_random random;

    print_message("seed %llu\n", (unsigned long long)seed);
    salvo_random_init(&random, seed);
    fill(CONTENT_TEXT);
    for (size_t k = 0; k < SALVO_ARRAY_LENGTH(kinds); k++) {
        struct salvo_compressor *compressor;

        assert_int_equal(
            salvo_compressor_new(&compressor, kinds[k].compression, kinds[k].level, BODY_SIZE_MAX),
            0);
        salvo_alloc_forbid(true);
        for (int round = 0; round < 500; round++) {
            size_t size =
                1 + salvo_random_below(&random, UINT64_C(1) << salvo_random_below(&random, 18));
            size_t at = salvo_random_below(&random, BODY_SIZE_MAX - size);

            if (salvo_compress(compressor, body + at, size, packed,
                               salvo_compress_bound(compressor, size)) == 0)
                abort();
        }
        salvo_alloc_forbid(false);
        salvo_compressor_free(compressor);
    }
}

static void a_body_that_does_not_shrink_gives_zero(void **state)
{
    fill(CONTENT_RANDOM);
    for (size_t k = 0; k < SALVO_ARRAY_LENGTH(kinds); k++) {
        struct salvo_compressor *compressor;

        assert_int_equal(
            salvo_compressor_new(&compressor, kinds[k].compression, kinds[k].level, BODY_SIZE_MAX),
            0);
        for (size_t i = 0; i < SALVO_ARRAY_LENGTH(sizes); i++) {
            uint8_t *exact = malloc(sizes[i]);

            assert_int_equal(salvo_compress(compressor, body, sizes[i], exact, sizes[i] - 1), 0);
            free(exact);
        }
        salvo_compressor_free(compressor);
    }
}

/* Any room: either it fits and unpacks, or it is zero; nothing is written past it. */
static void room_is_respected_to_the_byte(void **state)
{
    fill(CONTENT_TEXT);
    for (size_t k = 0; k < SALVO_ARRAY_LENGTH(kinds); k++) {
        struct salvo_compressor *compressor;
        size_t least;

        assert_int_equal(
            salvo_compressor_new(&compressor, kinds[k].compression, kinds[k].level, 1024), 0);
        least = salvo_compress(compressor, body, 1024, packed, packed_max);
        for (size_t room = 0; room <= least + 40; room++) {
            uint8_t *exact = malloc(room + 1);
            size_t size = salvo_compress(compressor, body, 1024, exact, room);

            assert_true(size <= room);
            if (size > 0) {
                assert_int_equal(
                    salvo_decompress(kinds[k].compression, exact, size, unpacked, 1024), 1024);
                assert_memory_equal(unpacked, body, 1024);
            }
            free(exact);
        }
        salvo_compressor_free(compressor);
    }
}

static void what_java_packed_unpacks(void **state)
{
    static const struct {
        enum salvo_compression compression;
        const char *hex;
    } cases[] = {
        {SALVO_COMPRESS_ZLIB, "785e4b4c240e000036eb0f29"},
        {SALVO_COMPRESS_LZ4, "04224d186070730b0000001f6101000f50616161616100000000"},
        {SALVO_COMPRESS_ZSTD, "28b52ffd005844000010616101001f8005010000"},
    };

    fill(CONTENT_SAME);
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        size_t size = example_bytes(cases[i].hex, packed, packed_max);

        assert_int_equal(salvo_decompress(cases[i].compression, packed, size, unpacked, 40), 40);
        assert_memory_equal(unpacked, body, 40);
        assert_int_equal(salvo_decompress(cases[i].compression, packed, size, unpacked, 39),
                         -E2BIG);
        for (size_t cut = 0; cut < size; cut++) {
            uint8_t *exact = malloc(cut + 1);

            memcpy(exact, packed, cut);
            assert_int_equal(salvo_decompress(cases[i].compression, exact, cut, unpacked, 40),
                             -EBADMSG);
            free(exact);
        }
        packed[size] = 0;
        assert_int_equal(salvo_decompress(cases[i].compression, packed, size + 1, unpacked, 40),
                         -EBADMSG);
        assert_int_equal(
            salvo_decompress(cases[i].compression, "plain text, not packed", 22, unpacked, 100),
            -EBADMSG);
    }
}

/* The frame is written by hand, so its shape is checked: Java's reader wants independent blocks,
 * and the whole header is one of four we have as literals. */
static void an_lz4_frame_has_the_shape_java_reads(void **state)
{
    static const uint8_t java[] = {0x0b, 0,    0,   0,   0x1f, 'a', 1,  0,
                                   0x0f, 0x50, 'a', 'a', 'a',  'a', 'a'};
    struct salvo_compressor *compressor;
    size_t size;

    fill(CONTENT_SAME);
    assert_int_equal(salvo_compressor_new(&compressor, SALVO_COMPRESS_LZ4, 0, BODY_SIZE_MAX), 0);
    size = salvo_compress(compressor, body, 40, packed, packed_max);
    assert_int_equal(size, 26);
    assert_memory_equal(packed + 7, java, sizeof(java)); /* the block as Java's encoder has it */

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(sizes); i++) {
        LZ4F_frameInfo_t info;
        LZ4F_dctx *context;
        size_t used;

        size = salvo_compress(compressor, body, sizes[i], packed, packed_max);
        used = size;
        assert_false(LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION)));
        assert_false(LZ4F_isError(LZ4F_getFrameInfo(context, &info, packed, &used)));
        assert_int_equal(info.blockMode, LZ4F_blockIndependent);
        assert_int_equal(info.contentChecksumFlag, LZ4F_noContentChecksum);
        assert_int_equal(info.blockSizeID, sizes[i] <= 65536     ? LZ4F_max64KB
                                           : sizes[i] <= 262144  ? LZ4F_max256KB
                                           : sizes[i] <= 1048576 ? LZ4F_max1MB
                                                                 : LZ4F_max4MB);
        LZ4F_freeDecompressionContext(context);
    }
    salvo_compressor_free(compressor);
}

static void a_bomb_is_too_big_and_no_more(void **state)
{
    fill(CONTENT_SAME);
    for (size_t k = 0; k < SALVO_ARRAY_LENGTH(kinds); k++) {
        struct salvo_compressor *compressor;
        size_t size;

        assert_int_equal(
            salvo_compressor_new(&compressor, kinds[k].compression, kinds[k].level, BODY_SIZE_MAX),
            0);
        size = salvo_compress(compressor, body, BODY_SIZE_MAX, packed, packed_max);
        assert_int_equal(salvo_decompress(kinds[k].compression, packed, size, unpacked, 1000),
                         -E2BIG);
        assert_int_equal(
            salvo_decompress(kinds[k].compression, packed, size - 5, unpacked, BODY_SIZE_MAX),
            -EBADMSG);
        salvo_compressor_free(compressor);
    }
}

static void names_levels_and_flags(void **state)
{
    struct salvo_compressor *compressor;
    enum salvo_compression compression;

    for (int i = SALVO_COMPRESS_NONE; i <= SALVO_COMPRESS_ZSTD; i++) {
        assert_int_equal(salvo_compression_parse(salvo_compression_name((enum salvo_compression)i),
                                                 &compression),
                         0);
        assert_int_equal(compression, i);
        for (int old = 0; old <= 1; old++) {
            assert_int_equal(
                salvo_compression_of_sysflag(
                    salvo_compression_sysflag((enum salvo_compression)i, old == 1) | 0x4,
                    &compression),
                0);
            assert_int_equal(compression, i);
        }
    }
    assert_int_equal(salvo_compression_parse("gzip", &compression), -EINVAL);
    assert_int_equal(salvo_compression_sysflag(SALVO_COMPRESS_ZLIB, false), 0x301);
    assert_int_equal(salvo_compression_sysflag(SALVO_COMPRESS_ZLIB, true), 0x1);
    assert_int_equal(salvo_compression_sysflag(SALVO_COMPRESS_LZ4, false), 0x101);
    assert_int_equal(salvo_compression_sysflag(SALVO_COMPRESS_ZSTD, false), 0x201);
    assert_int_equal(salvo_compression_of_sysflag(0x401, &compression), -EINVAL);
    assert_int_equal(salvo_compression_of_sysflag(0x400, &compression), 0);
    assert_int_equal(compression, SALVO_COMPRESS_NONE);
    assert_int_equal(salvo_compressor_new(&compressor, SALVO_COMPRESS_NONE, 0, 1), -EINVAL);
    assert_int_equal(salvo_compressor_new(&compressor, SALVO_COMPRESS_ZLIB, 13, 1), -EINVAL);
    assert_int_equal(salvo_compressor_new(&compressor, SALVO_COMPRESS_LZ4, 2, 1), -EINVAL);
    assert_int_equal(salvo_compressor_new(&compressor, SALVO_COMPRESS_ZSTD, 20, 1), -EINVAL);
    assert_int_equal(salvo_compressor_new(&compressor, SALVO_COMPRESS_ZSTD, -1, 1), -EINVAL);
    salvo_compressor_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_packs_every_size_and_allocates_nothing),
        cmocka_unit_test(many_bodies_of_changing_size_allocate_nothing),
        cmocka_unit_test(a_body_that_does_not_shrink_gives_zero),
        cmocka_unit_test(room_is_respected_to_the_byte),
        cmocka_unit_test(what_java_packed_unpacks),
        cmocka_unit_test(an_lz4_frame_has_the_shape_java_reads),
        cmocka_unit_test(a_bomb_is_too_big_and_no_more),
        cmocka_unit_test(names_levels_and_flags),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
