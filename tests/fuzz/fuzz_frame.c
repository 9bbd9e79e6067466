/* A stream of frames, as a connection hands it over: parsed frame by frame, then each frame cut
 * short. */
#include "tests/fuzz/fuzz.h"

#include "codec/header.h"

#define SIZE_MAX_HERE 4096u

static void check_frame(const struct salvo_frame *frame, const uint8_t *bytes, size_t size)
{
    FUZZ_CHECK(frame->size >= SALVO_FRAME_PREFIX_SIZE + 1);
    FUZZ_CHECK(frame->size <= size);
    FUZZ_CHECK(frame->size <= SIZE_MAX_HERE);
    FUZZ_CHECK(frame->header == bytes + SALVO_FRAME_PREFIX_SIZE);
    FUZZ_CHECK(frame->header_size > 0);
    FUZZ_CHECK(frame->body == frame->header + frame->header_size);
    FUZZ_CHECK(frame->body + frame->body_size == bytes + frame->size);
}

static void check_prefix(const struct salvo_frame *frame, const uint8_t *bytes)
{
    uint8_t prefix[SALVO_FRAME_PREFIX_SIZE];

    salvo_frame_write_prefix(prefix, frame->form, frame->header_size, frame->body_size);
    FUZZ_CHECK(memcmp(prefix, bytes, sizeof(prefix)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static uint8_t scratch[SIZE_MAX_HERE];

    while (size > 0) {
        struct salvo_header header;
        struct salvo_frame frame, part;
        const char *why = NULL;
        int r = salvo_frame_parse(bytes, size, SIZE_MAX_HERE, &frame, &why);

        FUZZ_CHECK((r == SALVO_FRAME_BAD) == (why != NULL));
        if (r) {
            FUZZ_CHECK(r == SALVO_FRAME_BAD || frame.size == 0 || frame.size > size);
            return 0;
        }
        check_frame(&frame, bytes, size);
        check_prefix(&frame, bytes);
        FUZZ_CHECK(salvo_frame_parse(bytes, frame.size - 1, SIZE_MAX_HERE, &part, &why) ==
                   SALVO_FRAME_MORE);
        FUZZ_CHECK(part.size == frame.size || frame.size - 1 < SALVO_FRAME_PREFIX_SIZE);
        (void)salvo_header_read(&header, frame.form, frame.header, frame.header_size, scratch,
                                frame.header_size);
        bytes += frame.size;
        size -= frame.size;
    }
    return 0;
}
