/* The cases: each operation is what a lane or a submitter does for one message. */
#include "bench/micro/codec_cases.h"

#include "base/assert.h"
#include "base/random.h"
#include "codec/compress.h"
#include "codec/message.h"
#include "codec/send.h"

#include <stdio.h>
#include <stdlib.h>

#define CASES_MAX 64
#define BORN      INT64_C(1700000000000)
#define BODY_1K   1024u

static struct codec_case cases[CASES_MAX];
static size_t cases_count;
static uint8_t body[65536];

static void add(const char *name, void (*operation)(void *), void *argument, size_t bytes)
{
    salvo_assert(cases_count < CASES_MAX);
    cases[cases_count++] = (struct codec_case){name, operation, argument, bytes};
}

static void nothing(void *argument)
{
}

/* --- sends ------------------------------------------------------------------------------------ */

/* 62 bytes, and 150. */
static const char properties_small[] = "TAGS\x01TagA\x02WAIT\x01true\x02UNIQ_KEY\x01"
                                       "0A01020310921234ABCD000000010000\x02";
static const char properties_large[] = "TAGS\x01TagA\x02WAIT\x01true\x02KEYS\x01order-1234567 "
                                       "customer-998877\x02tenant\x01production-eu\x02"
                                       "trace\x01"
                                       "7f3a9c2e51d84b06\x02UNIQ_KEY\x01"
                                       "0A01020310921234ABCD000000010000\x02";

struct send_case {
    struct salvo_send_template template;
    const char *properties;
    size_t properties_size;
    size_t body_size;
    int32_t opaque;
    struct salvo_born born;
    uint8_t bytes[4096];
};

static void send_template(void *argument)
{
    struct send_case *c = argument;

    c->opaque = 1000000000 + ((c->opaque + 1) & 0xfffffff);
    salvo_born_set(&c->born, c->born.ms + 1);
    salvo_send_template_write(&c->template, c->bytes, c->opaque, &c->born, c->properties,
                              c->properties_size, BODY_1K);
}

/* As a lane does with a body that is not sent from where it lies. */
static void send_frame(void *argument)
{
    struct send_case *c = argument;
    size_t size;

    c->opaque = 1000000000 + ((c->opaque + 1) & 0xfffffff);
    salvo_born_set(&c->born, c->born.ms + 1);
    size = salvo_send_template_write(&c->template, c->bytes, c->opaque, &c->born, c->properties,
                                     c->properties_size, BODY_1K);
    memcpy(c->bytes + size, body, c->body_size); /* not a constant: gcc would make it rep movsq */
}

static struct send_case *send_case(enum salvo_header_form form, const char *properties, size_t size)
{
    struct salvo_send_fields fields = {
        .code = SALVO_REQUEST_SEND_MESSAGE_V2,
        .language = SALVO_LANGUAGE_CPP,
        .version = SALVO_VERSION_V5_3_3,
        .producerGroup = SALVO_TEXT("PG_orders"),
        .topic = SALVO_TEXT("TopicTest"),
        .defaultTopic = SALVO_TEXT("TBW102"),
        .defaultTopicQueueNums = 4,
        .queueId = 2,
        .maxReconsumeTimes = -1,
        .brokerName = SALVO_TEXT("broker-a"),
    };
    struct send_case *c = calloc(1, sizeof(*c));

    salvo_assert(c != NULL);
    salvo_assert(salvo_send_template_init(&c->template, form, &fields, false) == 0);
    c->properties = properties;
    c->properties_size = size;
    c->body_size = BODY_1K;
    salvo_born_set(&c->born, BORN);
    return c;
}

static void add_sends(void)
{
    struct send_case *c;

    c = send_case(SALVO_HEADER_BINARY, properties_small, sizeof(properties_small) - 1);
    add("template/binary/62", send_template, c, 0);
    add("frame_1k/binary/62", send_frame, c, BODY_1K);
    c = send_case(SALVO_HEADER_BINARY, properties_large, sizeof(properties_large) - 1);
    add("template/binary/150", send_template, c, 0);
    c = send_case(SALVO_HEADER_JSON, properties_small, sizeof(properties_small) - 1);
    add("template/json/62", send_template, c, 0);
    add("frame_1k/json/62", send_frame, c, BODY_1K);
    c = send_case(SALVO_HEADER_JSON, properties_large, sizeof(properties_large) - 1);
    add("template/json/150", send_template, c, 0);
}

/* --- answers ---------------------------------------------------------------------------------- */

/* Answers of one connection: opaque, offset and id go up from one to the next. */
#define ANSWERS 16u
#define IDS_MAX 200u /* of a batch */

struct answer_case {
    uint32_t next;
    struct salvo_answer_mould mould;
    struct salvo_send_answer answer;
    struct salvo_frame frames[ANSWERS];
    uint8_t bytes[ANSWERS][512 + IDS_MAX * 33];
};

/* As a lane does it: like the last one. */
static void answer(void *argument)
{
    struct answer_case *c = argument;
    const struct salvo_frame *frame = &c->frames[c->next++ % ANSWERS];

    salvo_assert(salvo_send_answer_read_like(&c->mould, &c->answer, frame) == 0);
}

/* One that is like none before. */
static void answer_unlike(void *argument)
{
    struct answer_case *c = argument;

    salvo_assert(salvo_send_answer_read(&c->answer, &c->frames[c->next++ % ANSWERS]) == 0);
}

/* The whole way from the stream: the frame is found, then read. */
static void answer_frame(void *argument)
{
    struct answer_case *c = argument;
    const uint8_t *bytes = c->bytes[c->next++ % ANSWERS];
    struct salvo_frame frame;
    const char *why;

    salvo_assert(
        salvo_frame_parse(bytes, sizeof(c->bytes[0]), SALVO_FRAME_SIZE_MAX, &frame, &why) == 0);
    salvo_assert(salvo_send_answer_read_like(&c->mould, &c->answer, &frame) == 0);
}

/* One for a message, or a batch of `ids`. */
static void answer_write(struct answer_case *c, uint32_t index, enum salvo_header_form form,
                         uint32_t ids)
{
    struct salvo_header header = {.version = 479, .opaque = 1234567890 + (int32_t)index, .flag = 1};
    char id[IDS_MAX * 33 + 1], offset[8];
    const char *why;

    for (uint32_t i = 0; i < ids; i++)
        snprintf(id + i * 33, 34, "0A01020300002A9F%016X,", 0x123u + 289 * (index * ids + i));
    id[ids * 33 - 1] = '\0';
    snprintf(offset, sizeof(offset), "%u", 5512345 + index);
    salvo_header_add(&header, "queueId", SALVO_TEXT("2"));
    salvo_header_add(&header, "transactionId", SALVO_TEXT("0A01020310921234ABCD000000010000"));
    salvo_header_add(&header, "msgId", salvo_text_of(id));
    salvo_header_add(&header, "TRACE_ON", SALVO_TEXT("true"));
    salvo_header_add(&header, "MSG_REGION", SALVO_TEXT("DefaultRegion"));
    salvo_header_add(&header, "queueOffset", salvo_text_of(offset));
    salvo_assert(
        salvo_frame_write(c->bytes[index], sizeof(c->bytes[index]), form, &header, NULL, 0) > 0);
    salvo_assert(salvo_frame_parse(c->bytes[index], sizeof(c->bytes[index]), SALVO_FRAME_SIZE_MAX,
                                   &c->frames[index], &why) == 0);
}

static struct answer_case *answer_case(enum salvo_header_form form, uint32_t ids)
{
    struct answer_case *c = calloc(1, sizeof(*c));

    salvo_assert(c != NULL);
    for (uint32_t i = 0; i < ANSWERS; i++)
        answer_write(c, i, form, ids);
    return c;
}

static void add_answers(void)
{
    add("answer/binary", answer, answer_case(SALVO_HEADER_BINARY, 1), 0);
    add("answer/json", answer, answer_case(SALVO_HEADER_JSON, 1), 0);
    add("answer_unlike/binary", answer_unlike, answer_case(SALVO_HEADER_BINARY, 1), 0);
    add("answer_unlike/json", answer_unlike, answer_case(SALVO_HEADER_JSON, 1), 0);
    add("answer/json_batch_200", answer, answer_case(SALVO_HEADER_JSON, IDS_MAX), 0);
    add("answer_frame/json", answer_frame, answer_case(SALVO_HEADER_JSON, 1), 0);
}

/* --- batch items and ids ---------------------------------------------------------------------- */

static uint8_t item_bytes[2048];

static void batch_item(void *argument)
{
    const struct salvo_batch_item *item = argument;
    struct salvo_writer w = salvo_writer_over(item_bytes, sizeof(item_bytes));

    salvo_batch_item_write(&w, item);
}

static void month(int64_t ms, int64_t *ret_start_ms, int64_t *ret_end_ms)
{
    *ret_start_ms = ms - ms % INT64_C(2592000000);
    *ret_end_ms = *ret_start_ms + INT64_C(2592000000);
}

static struct salvo_id_source id_source;

static void id_make_write(void *argument)
{
    static char text[SALVO_UNIQ_KEY_SIZE_MAX];
    uint8_t id[SALVO_ID_SIZE];

    salvo_id_make(&id_source, BORN, month, id);
    salvo_id_write_made(&id_source, text);
}

static void add_messages(void)
{
    static struct salvo_batch_item small, large;

    small = (struct salvo_batch_item){.body = body,
                                      .body_size = 128,
                                      .properties = (const uint8_t *)properties_small,
                                      .properties_size = sizeof(properties_small) - 1};
    large = small;
    large.body_size = BODY_1K;
    add("batch_item/128", batch_item, &small, 128);
    add("batch_item/1024", batch_item, &large, BODY_1K);
    salvo_id_source_init(&id_source, "\x0a\x01\x02\x03", 4, 4242, 7);
    add("id_make_write", id_make_write, NULL, 0);
}

/* --- compression ------------------------------------------------------------------------------ */

struct compress_case {
    struct salvo_compressor *compressor;
    size_t size;
    uint8_t bytes[65536 + 8192];
};

static void compress(void *argument)
{
    struct compress_case *c = argument;

    salvo_assert(salvo_compress(c->compressor, body, c->size, c->bytes, sizeof(c->bytes)) > 0);
}

static void add_compress(const char *name, enum salvo_compression compression, int level,
                         size_t size)
{
    struct compress_case *c = calloc(1, sizeof(*c));

    salvo_assert(c != NULL);
    salvo_assert(salvo_compressor_new(&c->compressor, compression, level, sizeof(body)) == 0);
    c->size = size;
    add(name, compress, c, size);
}

/* Words, so that it shrinks to about half. */
static void body_fill(void)
{
    static const char *const words[] = {"order ",   "price=",     "customer ",
                                        "2024-01-", "status:ok ", "\n"};
    struct salvo_random random;
    size_t at = 0;

    salvo_random_init(&random, 1);
    while (at + 32 < sizeof(body)) {
        const char *word = words[salvo_random_below(&random, SALVO_ARRAY_LENGTH(words))];

        at += (size_t)snprintf((char *)body + at, 32, "%s%u", word,
                               (unsigned)salvo_random_below(&random, 10000));
    }
}

size_t codec_cases(const struct codec_case **ret_cases)
{
    body_fill();
    add("nothing", nothing, NULL, 0);
    add_sends();
    add_answers();
    add_messages();
    add_compress("compress/zlib/1024", SALVO_COMPRESS_ZLIB, 0, 1024);
    add_compress("compress/zlib/4096", SALVO_COMPRESS_ZLIB, 0, 4096);
    add_compress("compress/zlib5/1024", SALVO_COMPRESS_ZLIB, 5, 1024);
    add_compress("compress/zlib5/4096", SALVO_COMPRESS_ZLIB, 5, 4096);
    add_compress("compress/lz4/1024", SALVO_COMPRESS_LZ4, 0, 1024);
    add_compress("compress/lz4/4096", SALVO_COMPRESS_LZ4, 0, 4096);
    add_compress("compress/zstd/1024", SALVO_COMPRESS_ZSTD, 0, 1024);
    add_compress("compress/zstd/4096", SALVO_COMPRESS_ZSTD, 0, 4096);
    *ret_cases = cases;
    return cases_count;
}
