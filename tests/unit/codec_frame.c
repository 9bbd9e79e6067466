/* codec/frame: one frame is one frame wherever the stream was cut, and a prefix that lies is found
 * out as soon as it is there. */
#include "tests/unit/unit.h"
#include "tests/unit/codec_examples.h"

#include "codec/frame.h"

static uint8_t stream[1024];

static void a_frame_split_anywhere_is_whole_only_at_its_end(void **state)
{
    size_t size = example_bytes(example_send_binary, stream, sizeof(stream));
    struct salvo_frame frame;
    const char *why = NULL;

    for (size_t have = 0; have < size; have++) {
        uint8_t *part = malloc(have + 1); /* so that the sanitizer sees a step too far */

        memcpy(part, stream, have);
        frame.size = 77;
        assert_int_equal(salvo_frame_parse(part, have, SALVO_FRAME_SIZE_MAX, &frame, &why),
                         SALVO_FRAME_MORE);
        assert_int_equal(frame.size, have < SALVO_FRAME_PREFIX_SIZE ? 0 : size);
        free(part);
    }
    assert_int_equal(salvo_frame_parse(stream, size, SALVO_FRAME_SIZE_MAX, &frame, &why), 0);
    assert_int_equal(frame.size, 242);
    assert_int_equal(frame.form, SALVO_HEADER_BINARY);
    assert_int_equal(frame.header_size, 229);
    assert_ptr_equal(frame.header, stream + 8);
    assert_int_equal(frame.body_size, 5);
    assert_memory_equal(frame.body, "Hello", 5);
    assert_null(why);
}

static void two_frames_in_one_piece_come_out_one_by_one(void **state)
{
    size_t first = example_bytes(example_route_request, stream, sizeof(stream));
    size_t second = example_bytes(example_send_binary, stream + first, sizeof(stream) - first);
    struct salvo_frame frame;
    const char *why;

    assert_int_equal(salvo_frame_parse(stream, first + second, SALVO_FRAME_SIZE_MAX, &frame, &why),
                     0);
    assert_int_equal(frame.size, first);
    assert_int_equal(frame.form, SALVO_HEADER_JSON);
    assert_int_equal(frame.body_size, 0);
    assert_int_equal(
        salvo_frame_parse(stream + frame.size, second, SALVO_FRAME_SIZE_MAX, &frame, &why), 0);
    assert_int_equal(frame.size, second);
}

static void prefixes_that_lie_are_refused_from_eight_bytes_on(void **state)
{
    static const struct {
        uint32_t length, word;
        int result;
    } cases[] = {
        {0, 1, SALVO_FRAME_BAD},
        {3, 1, SALVO_FRAME_BAD},
        {4, 0, SALVO_FRAME_BAD}, /* an empty header */
        {4, 1, SALVO_FRAME_BAD}, /* header over length */
        {5, 1, SALVO_FRAME_MORE},
        {5, 0x01000001, SALVO_FRAME_MORE},
        {5, 0x01000002, SALVO_FRAME_BAD},
        {5, 0x02000001, SALVO_FRAME_BAD}, /* no such form */
        {5, 0xff000001, SALVO_FRAME_BAD},
        {0x7fffffff, 1, SALVO_FRAME_BAD},
        {0xffffffff, 1, SALVO_FRAME_BAD},
        {SALVO_FRAME_SIZE_MAX - 4, 1, SALVO_FRAME_MORE},
        {SALVO_FRAME_SIZE_MAX - 3, 1, SALVO_FRAME_BAD},
        {SALVO_FRAME_SIZE_MAX - 4, 0x00fffff8, SALVO_FRAME_MORE},
        {SALVO_FRAME_SIZE_MAX - 4, 0x00fffff9, SALVO_FRAME_BAD},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        struct salvo_frame frame;
        const char *why = NULL;

        salvo_store_be32(stream, cases[i].length);
        salvo_store_be32(stream + 4, cases[i].word);
        assert_int_equal(salvo_frame_parse(stream, 8, SALVO_FRAME_SIZE_MAX, &frame, &why),
                         cases[i].result);
        assert_int_equal(why != NULL, cases[i].result == SALVO_FRAME_BAD);
    }
}

static void the_limit_counts_the_prefix(void **state)
{
    size_t size = example_bytes(example_send_binary, stream, sizeof(stream));
    struct salvo_frame frame;
    const char *why;

    assert_int_equal(salvo_frame_parse(stream, size, (uint32_t)size, &frame, &why), 0);
    assert_int_equal(salvo_frame_parse(stream, size, (uint32_t)size - 1, &frame, &why),
                     SALVO_FRAME_BAD);
    assert_int_equal(salvo_frame_parse(stream, 8, (uint32_t)size - 1, &frame, &why),
                     SALVO_FRAME_BAD);
}

static void a_written_prefix_reads_back(void **state)
{
    struct salvo_frame frame;
    const char *why;

    salvo_frame_write_prefix(stream, SALVO_HEADER_BINARY, 21, 100);
    assert_int_equal(salvo_frame_parse(stream, 129, SALVO_FRAME_SIZE_MAX, &frame, &why), 0);
    assert_int_equal(frame.size, 129);
    assert_int_equal(frame.header_size, 21);
    assert_int_equal(frame.body_size, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_split_anywhere_is_whole_only_at_its_end),
        cmocka_unit_test(two_frames_in_one_piece_come_out_one_by_one),
        cmocka_unit_test(prefixes_that_lie_are_refused_from_eight_bytes_on),
        cmocka_unit_test(the_limit_counts_the_prefix),
        cmocka_unit_test(a_written_prefix_reads_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
