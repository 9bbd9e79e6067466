/* The mould of a connection's answers. A broker writes the same keys in the same order each time,
 * and numbers of the same width for a long time: the header differs from the last one in a few
 * places that are known. So it is compared with that one outside of them, all at once, and the
 * values are taken from where they must stand; any other header goes the long way and may become
 * the mould. */
#include "codec/send_answer_internal.h"

#include "base/assert.h"
#include "base/error.h"

/* A header that does not fit becomes the mould only now and then: two kinds of answers that take
 * turns would pay for a new one each time. */
#define MISSES_PER_MOULD 16u

typedef uint64_t words_2 __attribute__((vector_size(16), aligned(1)));

static words_2 words_at(const uint8_t *bytes)
{
    words_2 words;

    memcpy(&words, bytes, sizeof(words));
    return words;
}

/* True when the header is the mould's outside of the values. */
static bool mould_fits(const struct salvo_answer_mould *mould, const uint8_t *header)
{
    words_2 odd = {0};
    uint32_t last = mould->size - (uint32_t)sizeof(odd);

    for (uint32_t i = 0; i < last; i += sizeof(odd))
        odd |= (words_at(header + i) ^ words_at(mould->bytes + i)) & words_at(mould->mask + i);
    odd |= (words_at(header + last) ^ words_at(mould->bytes + last)) & words_at(mould->mask + last);
    return (odd[0] | odd[1]) == 0;
}

/* Up to sixteen digits, as many as the mould has there, without a zero in front. At least eight
 * bytes of key lie before them. */
static bool mould_number(const uint8_t *header, struct salvo_answer_span span, uint64_t *ret_value)
{
    const uint8_t *text = header + span.at;
    uint64_t low, high = 0;

    if (text[0] == '0' && span.size > 1)
        return false;
    if (span.size <= 8) {
        if (!digits_8_read(text, span.size, ret_value))
            return false;
        return true;
    }
    if (!digits_8_read(text + span.size - 8, 8, &low) ||
        !digits_8_read(text, (size_t)span.size - 8, &high))
        return false;
    *ret_value = high * 100000000 + low;
    return true;
}

/* A text of an answer; JSON: only when there is nothing to undo and nothing to look closer at. */
static bool mould_text(const struct salvo_answer_mould *mould, const uint8_t *header,
                       struct salvo_answer_span span, struct salvo_text *ret_text)
{
    if (span.size == 0)
        return true;
    if (mould->form == SALVO_HEADER_JSON && !id_plain(header + span.at))
        return false;
    ret_text->text = (const char *)header + span.at;
    return true;
}

static bool mould_read(const struct salvo_answer_mould *mould, struct salvo_send_answer *ret_answer,
                       const uint8_t *header)
{
    uint64_t opaque, queue_id, queue_offset;

    if (!mould_fits(mould, header))
        return false;
    if (mould->form == SALVO_HEADER_BINARY)
        opaque = salvo_load_be32(header + mould->opaque.at);
    else if (!mould_number(header, mould->opaque, &opaque) || opaque > INT32_MAX)
        return false;
    if (!mould_number(header, mould->queue_id, &queue_id) ||
        !mould_number(header, mould->queue_offset, &queue_offset))
        return false;
    *ret_answer = mould->answer;
    ret_answer->opaque = (int32_t)(uint32_t)opaque;
    ret_answer->queueId = (int32_t)queue_id;
    ret_answer->queueOffset = (int64_t)queue_offset;
    return mould_text(mould, header, mould->msg_id, &ret_answer->msgId) &&
           mould_text(mould, header, mould->transaction_id, &ret_answer->transactionId);
}

/* --- a new mould ------------------------------------------------------------------------------ */

/* Notes a value and takes it out of the comparison. False when a mould cannot hold it. */
static bool mould_note(struct salvo_answer_mould *mould, const struct salvo_frame *frame,
                       struct salvo_text text, uint32_t size_max,
                       struct salvo_answer_span *ret_span)
{
    size_t at = (size_t)((const uint8_t *)text.text - frame->header);

    if (text.size == 0 || text.size > size_max || text.text[0] == '-')
        return false;
    *ret_span = (struct salvo_answer_span){(uint16_t)at, (uint16_t)text.size};
    memset(mould->mask + at, 0, text.size);
    return true;
}

static bool mould_note_text(struct salvo_answer_mould *mould, const struct salvo_frame *frame,
                            struct salvo_text text, struct salvo_answer_span *ret_span)
{
    if (text.text == NULL)
        return true;
    if (frame->form == SALVO_HEADER_JSON && text.size != ID_SIZE)
        return false;
    return mould_note(mould, frame, text, SALVO_ANSWER_MOULD_MAX, ret_span);
}

static void mould_make(struct salvo_answer_mould *mould, const struct salvo_answer_read *read,
                       const struct salvo_frame *frame)
{
    const struct salvo_send_answer *answer = read->answer;
    bool binary = frame->form == SALVO_HEADER_BINARY;

    mould->size = 0;
    if (!answer->has_offset || answer->remark.text != NULL || answer->recallHandle.text != NULL ||
        read->opaque.text == NULL || read->queue_id.text == NULL ||
        read->queue_offset.text == NULL || frame->header_size > SALVO_ANSWER_MOULD_MAX)
        return;
    memset(mould->mask, 0xff, sizeof(mould->mask));
    mould->opaque = mould->msg_id = mould->transaction_id = (struct salvo_answer_span){0};
    if (binary) { /* four bytes of any value */
        mould->opaque.at = (uint16_t)((const uint8_t *)read->opaque.text - frame->header);
        memset(mould->mask + mould->opaque.at, 0, read->opaque.size);
    } else if (!mould_note(mould, frame, read->opaque, 10, &mould->opaque)) {
        return;
    }
    if (!mould_note(mould, frame, read->queue_id, 9, &mould->queue_id) ||
        !mould_note(mould, frame, read->queue_offset, 16, &mould->queue_offset) ||
        !mould_note_text(mould, frame, answer->msgId, &mould->msg_id) ||
        !mould_note_text(mould, frame, answer->transactionId, &mould->transaction_id))
        return;
    memcpy(mould->bytes, frame->header, frame->header_size);
    mould->answer = *answer;
    mould->form = (uint8_t)frame->form;
    mould->size = (uint16_t)frame->header_size;
}

int salvo_send_answer_read_like(struct salvo_answer_mould *mould,
                                struct salvo_send_answer *ret_answer,
                                const struct salvo_frame *frame)
{
    struct salvo_answer_read read = {.answer = ret_answer};
    int r;

    if (SALVO_LIKELY(mould->size == frame->header_size && mould->form == frame->form &&
                     mould->size != 0) &&
        mould_read(mould, ret_answer, frame->header))
        return 0;
    r = salvo_answer_read_noted(&read, frame);
    if (r)
        return salvo_trace(r);
    if (mould->misses++ % MISSES_PER_MOULD == 0)
        mould_make(mould, &read, frame);
    return 0;
}
