/* Answers to sends: the first byte chooses the form. The fast ways must say what the general reader
 * says; only where a skipped text is not UTF-8 may they be more lenient. */
#include "tests/fuzz/fuzz_header.h"
#include "tests/support/answers.h"

static bool general_has_offset(const struct salvo_header *header)
{
    int64_t value;

    return salvo_header_ext(header, "msgId").text != NULL &&
           !salvo_header_ext_integer(header, "queueId", &value) && value >= 0 &&
           value <= INT32_MAX && !salvo_header_ext_integer(header, "queueOffset", &value) &&
           value >= 0;
}

static void check_agreement(const struct salvo_send_answer *answer,
                            const struct salvo_header *header)
{
    int64_t value;

    FUZZ_CHECK(answer->code == header->code);
    FUZZ_CHECK(answer->opaque == header->opaque);
    FUZZ_CHECK(answer->flag == header->flag);
    FUZZ_CHECK(answer->version == header->version);
    FUZZ_CHECK(answer->has_offset == general_has_offset(header));
    if (answer->has_offset) {
        FUZZ_CHECK(!salvo_header_ext_integer(header, "queueOffset", &value));
        FUZZ_CHECK(answer->queueOffset == value);
        FUZZ_CHECK(!salvo_header_ext_integer(header, "queueId", &value));
        FUZZ_CHECK(answer->queueId == value);
    }
    FUZZ_CHECK(answer->trace_off ==
               salvo_text_equals(salvo_header_ext(header, "TRACE_ON"), "false"));
}

/* What was learnt from a header is exactly what is read from its like: the same with another byte.
 */
static void check_like(const struct salvo_frame *frame, uint8_t *copy)
{
    struct salvo_answer_mould mould = {0};
    struct salvo_send_answer like, answer;
    struct salvo_frame other = *frame;
    uint32_t at = frame->header[frame->header_size - 1] * 2u % frame->header_size;

    if (salvo_send_answer_read_like(&mould, &like, frame) != 0)
        return;
    memcpy(copy, frame->header, frame->header_size);
    other.header = copy;
    for (int i = 0; i < 2; i++) {
        int r = salvo_send_answer_read_like(&mould, &like, &other);

        FUZZ_CHECK(r == salvo_send_answer_read(&answer, &other));
        FUZZ_CHECK(r != 0 || answers_same(&like, &answer));
        copy[at] = frame->header[0];
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct salvo_send_answer answer;
    struct salvo_frame frame = {0};
    struct salvo_header header;
    struct salvo_offset_msg_id id;
    uint8_t *scratch;
    int r, general;

    if (size < 2)
        return 0;
    frame.form = bytes[0] % 2 == 0 ? SALVO_HEADER_JSON : SALVO_HEADER_BINARY;
    frame.header = bytes + 1;
    frame.header_size = (uint32_t)size - 1;
    scratch = malloc(size);
    FUZZ_CHECK(scratch != NULL);

    r = salvo_send_answer_read(&answer, &frame);
    general =
        salvo_header_read(&header, frame.form, frame.header, frame.header_size, scratch, size);
    if (general == 0)
        FUZZ_CHECK(r == 0);
    if (r == 0 && general != 0)
        FUZZ_CHECK(!salvo_utf8_valid(frame.header, frame.header_size));
    if (r == 0) {
        fuzz_touch(answer.remark.text, answer.remark.size);
        fuzz_touch(answer.msgId.text, answer.msgId.size);
        fuzz_touch(answer.transactionId.text, answer.transactionId.size);
        fuzz_touch(answer.recallHandle.text, answer.recallHandle.size);
        (void)salvo_offset_msg_id_read(answer.msgId, &id);
    }
    if (r == 0 && general == 0)
        check_agreement(&answer, &header);
    if (r == 0)
        check_like(&frame, scratch);
    free(scratch);
    return 0;
}
