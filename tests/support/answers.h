/* Whether two reads of answers to sends say the same, to the byte they point to in their frames. */
#pragma once

#include "codec/send.h"

static inline bool answer_text_same(struct salvo_text a, struct salvo_text b)
{
    return a.text == b.text && a.size == b.size;
}

static inline bool answers_same(const struct salvo_send_answer *a,
                                const struct salvo_send_answer *b)
{
    return a->code == b->code && a->opaque == b->opaque && a->flag == b->flag &&
           a->version == b->version && a->has_offset == b->has_offset && a->queueId == b->queueId &&
           a->queueOffset == b->queueOffset && a->trace_off == b->trace_off &&
           answer_text_same(a->msgId, b->msgId) && answer_text_same(a->remark, b->remark) &&
           answer_text_same(a->transactionId, b->transactionId) &&
           answer_text_same(a->recallHandle, b->recallHandle);
}
