/* Batch bodies and the property strings inside; and, since any bytes will do, decompression. */
#include "tests/fuzz/fuzz.h"

#include "codec/compress.h"
#include "codec/message.h"

#include <errno.h>

static void walk_properties(const void *properties, size_t size)
{
    struct salvo_text name, value;
    size_t at = 0, count = 0;

    while (salvo_property_next(properties, size, &at, &name, &value)) {
        FUZZ_CHECK(name.size > 0 && value.size > 0);
        FUZZ_CHECK(memchr(name.text, SALVO_PROPERTY_NAME_END, name.size) == NULL);
        FUZZ_CHECK(memchr(value.text, SALVO_PROPERTY_VALUE_END, value.size) == NULL);
        fuzz_touch(name.text, name.size);
        fuzz_touch(value.text, value.size);
        (void)salvo_property_check(name.text, name.size, value.text, value.size);
        count++;
    }
    FUZZ_CHECK(count <= size / 3);
}

static void walk_batch(const uint8_t *bytes, size_t size)
{
    struct salvo_reader r = salvo_reader_over(bytes, size);
    struct salvo_batch_item item;
    size_t used = 0;
    int result;

    while ((result = salvo_batch_item_read(&r, &item)) == 0) {
        uint8_t *written =
            malloc(SALVO_BATCH_ITEM_OVERHEAD + item.body_size + item.properties_size);
        struct salvo_writer w;

        used += SALVO_BATCH_ITEM_OVERHEAD + item.body_size + item.properties_size;
        FUZZ_CHECK(written != NULL && used <= size);
        fuzz_touch(item.body, item.body_size);
        walk_properties(item.properties, item.properties_size);
        w = salvo_writer_over(written,
                              SALVO_BATCH_ITEM_OVERHEAD + item.body_size + item.properties_size);
        salvo_batch_item_write(&w, &item);
        FUZZ_CHECK(!w.failed && w.at == w.end);
        free(written);
    }
    FUZZ_CHECK(result == -EBADMSG || used == size);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static uint8_t body[65536];

    walk_batch(bytes, size);
    walk_properties(bytes, size);
    (void)salvo_java_hash(bytes, size);
    (void)salvo_topic_check(bytes, size);
    (void)salvo_group_check(bytes, size);
    for (int i = SALVO_COMPRESS_ZLIB; i <= SALVO_COMPRESS_ZSTD; i++) {
        ssize_t unpacked =
            salvo_decompress((enum salvo_compression)i, bytes, size, body, sizeof(body));

        FUZZ_CHECK(unpacked <= (ssize_t)sizeof(body));
    }
    return 0;
}
