/* SEND_MESSAGE (10), SEND_MESSAGE_V2 (310), SEND_BATCH_MESSAGE (320) and their answer.
 * SendMessageRequestHeader.java, SendMessageRequestHeaderV2.java, SendMessageResponseHeader.java.
 *
 * On the hot path a header is a template: everything in front of the properties (prefix) and behind
 * them (suffix) is built once per (topic, queue, kind, sysFlag) by control; sending copies both and
 * patches, at fixed widths, the lengths, opaque (ten digits in JSON) and bornTimestamp (13 digits
 * until 2286). */
#pragma once

#include "codec/header.h"

/* The fields of a send, in Java's order and with its names; V2's letters behind them. */
struct salvo_send_fields {
    int32_t code; /* 10, 310 or 320 */
    int32_t language;
    int32_t version;
    struct salvo_text producerGroup; /* a */
    struct salvo_text topic;         /* b */
    struct salvo_text defaultTopic;  /* c */
    int32_t defaultTopicQueueNums;   /* d */
    int32_t queueId;                 /* e */
    int32_t sysFlag;                 /* f */
    int64_t bornTimestamp;           /* g, ms */
    int32_t flag;                    /* h */
    struct salvo_text properties;    /* i */
    int32_t reconsumeTimes;          /* j, always 0 for us */
    bool unitMode;                   /* k */
    int32_t maxReconsumeTimes;       /* l, -1: absent */
    bool batch;                      /* m: the broker decides by this */
    struct salvo_text brokerName;    /* n (V1: bname); NULL: absent, as before 5.1 */
};

/* The general writer: any field set, either form, whole frame but for the body, which the caller
 * puts behind it: lengths are written for body_size. Returns the size of prefix and header, or
 * -ENOSPC. For messages with a flag, tests, golden frames. `oneway` sets flag bit 1. */
ssize_t salvo_send_write(void *ret_bytes, size_t size_max, enum salvo_header_form form,
                         const struct salvo_send_fields *fields, int32_t opaque, bool oneway,
                         uint32_t body_size);

/* Reads the fields of a request of code 10, 310 or 320 (also 324, 325), for the mock, tests and
 * `salvo frame`. -EBADMSG with *ret_why naming the missing or malformed field. */
int salvo_send_read(const struct salvo_header *header, struct salvo_send_fields *ret_fields,
                    const char **ret_why);

#define SALVO_SEND_TEMPLATE_SIZE_MAX 704u /* prefix + suffix: two 255-byte names, JSON */
#define SALVO_SEND_TEMPLATE_SLACK    32u  /* bytes behind a header that writing it may change */

struct salvo_send_template {
    enum salvo_header_form form;
    uint16_t prefix_size; /* with the 8 bytes of framing */
    uint16_t suffix_size;
    uint16_t opaque_offset; /* from the start of the prefix; JSON: from the start of the suffix */
    uint16_t born_offset;   /* from the start of the prefix */
    uint16_t ext_length_offset;        /* binary: the int32 extLen */
    uint16_t properties_length_offset; /* binary: the int32 in front of the properties */
    /* Prefix, then suffix; they are copied in whole pieces. */
    uint8_t bytes[SALVO_SEND_TEMPLATE_SIZE_MAX + SALVO_SEND_TEMPLATE_SLACK];
};

/* Builds a template; properties and bornTimestamp in `fields` are ignored. -EINVAL when the names
 * are too long. */
int salvo_send_template_init(struct salvo_send_template *t, enum salvo_header_form form,
                             const struct salvo_send_fields *fields, bool oneway);

/* bornTimestamp as a header has it: many messages of a lane share one. */
struct salvo_born {
    int64_t ms; /* 0: not set yet */
    char digits[13];
};

void salvo_born_write(struct salvo_born *born, int64_t ms);

/* ms: wall clock, not 0. A time that has no 13 digits, of a clock that was never set, is written as
 * the nearest that has. */
static inline void salvo_born_set(struct salvo_born *born, int64_t ms)
{
    if (born->ms != ms)
        salvo_born_write(born, ms);
}

/* The room that salvo_send_template_write wants for properties of this size: JSON escapes every
 * separator to six bytes, and the worst case is six for one; and slack, whose bytes may change. */
static inline size_t salvo_send_template_bound(const struct salvo_send_template *t,
                                               size_t properties_size)
{
    return (size_t)t->prefix_size + t->suffix_size + SALVO_SEND_TEMPLATE_SLACK +
           properties_size * (t->form == SALVO_HEADER_JSON ? 6 : 1);
}

/* Writes prefix, properties and suffix into `bytes`, which has room for the bound above (the caller
 * asserts it), with lengths set for body_size. The properties are in wire form (unescaped). NULL:
 * they lie behind the prefix already, as they stand in a header of this form (JSON: escaped), and
 * properties_size is their size there. `opaque` has ten digits. Returns the size. */
size_t salvo_send_template_write(const struct salvo_send_template *t, uint8_t *bytes,
                                 int32_t opaque, const struct salvo_born *born,
                                 const void *properties, size_t properties_size,
                                 uint32_t body_size);

/* An answer to a send, as far as a lane needs it. Text points into the frame's header. */
struct salvo_send_answer {
    int32_t code;
    int32_t opaque;
    int32_t flag;
    int32_t version;
    bool has_offset; /* queueId, queueOffset and msgId were there */
    int32_t queueId;
    int64_t queueOffset;
    struct salvo_text msgId;  /* offset message id; batch: comma list */
    struct salvo_text remark; /* as written */
    bool remark_escaped;      /* it has JSON's escapes */
    struct salvo_text transactionId;
    struct salvo_text recallHandle;
    bool trace_off; /* TRACE_ON is exactly "false" */
};

/* Reads any response header of either form (codes, opaque) with the send fields where they are.
 * Bounded, no scratch. -EBADMSG when it is not a header. Fast for what brokers write; falls back to
 * the general reader's rules for anything else. Only for frames with flag bit 0 set does `opaque`
 * mean ours. */
int salvo_send_answer_read(struct salvo_send_answer *ret_answer, const struct salvo_frame *frame);

/* What the answers of one connection have in common: learnt from them, zero at first. */
#define SALVO_ANSWER_MOULD_MAX 512u

struct salvo_answer_span {
    uint16_t at;
    uint16_t size; /* 0: not there */
};

struct salvo_answer_mould {
    uint16_t size; /* of the header; 0: none yet */
    uint8_t form;  /* enum salvo_header_form */
    uint16_t misses;
    struct salvo_answer_span opaque; /* where the values stand */
    struct salvo_answer_span queue_id;
    struct salvo_answer_span queue_offset;
    struct salvo_answer_span msg_id;
    struct salvo_answer_span transaction_id;
    struct salvo_send_answer answer; /* all other values */
    uint8_t bytes[SALVO_ANSWER_MOULD_MAX];
    uint8_t mask[SALVO_ANSWER_MOULD_MAX]; /* 0 where a value stands, else 0xff */
};

/* As salvo_send_answer_read, which it asks where the answer is not like earlier ones of the same
 * connection; faster where it is. */
int salvo_send_answer_read_like(struct salvo_answer_mould *mould,
                                struct salvo_send_answer *ret_answer,
                                const struct salvo_frame *frame);

/* An offsetMsgId (MessageDecoder.createMessageId), in hex digits:
 * | 4|16 address | 4 port | 8 commit-log offset | */
#define SALVO_OFFSET_MSG_ID_V4_SIZE 32u
#define SALVO_OFFSET_MSG_ID_V6_SIZE 56u

struct salvo_offset_msg_id {
    uint64_t commit_log_offset;
    uint32_t port;
    uint32_t ip4;     /* first byte on top; 0 for an IPv6 host */
    uint32_t ip_size; /* 4 or 16 */
};

/* 0; -EINVAL when the size is neither or a character is no hex digit. */
int salvo_offset_msg_id_read(struct salvo_text msg_id, struct salvo_offset_msg_id *ret_id);
