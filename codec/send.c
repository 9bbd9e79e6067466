/* Requests that carry messages: the general writer and reader, and the template of the hot path.
 *
 * Both headers have the same fields in the same order (SendMessageRequestHeader.java,
 * SendMessageRequestHeaderV2.java): V2 calls them a to n. */
#include "codec/send.h"

#include "base/assert.h"
#include "base/error.h"
#include "base/json.h"
#include "codec/text.h"

#include <errno.h>

/* Fields by position; `l` (maxReconsumeTimes) and `n` (brokerName) may be absent. */
enum send_field {
    FIELD_PRODUCER_GROUP,
    FIELD_TOPIC,
    FIELD_DEFAULT_TOPIC,
    FIELD_DEFAULT_TOPIC_QUEUE_NUMS,
    FIELD_QUEUE_ID,
    FIELD_SYS_FLAG,
    FIELD_BORN_TIMESTAMP,
    FIELD_FLAG,
    FIELD_PROPERTIES,
    FIELD_RECONSUME_TIMES,
    FIELD_UNIT_MODE,
    FIELD_MAX_RECONSUME_TIMES,
    FIELD_BATCH,
    FIELD_BROKER_NAME,
    FIELD_COUNT,
};

static const char *const names_v1[FIELD_COUNT] = {
    "producerGroup", "topic",          "defaultTopic",  "defaultTopicQueueNums",
    "queueId",       "sysFlag",        "bornTimestamp", "flag",
    "properties",    "reconsumeTimes", "unitMode",      "maxReconsumeTimes",
    "batch",         "bname",
};

static const char *const names_v2[FIELD_COUNT] = {
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n",
};

/* SEND_REPLY_MESSAGE and its V2, which have the same headers. */
#define REQUEST_SEND_REPLY_MESSAGE    324
#define REQUEST_SEND_REPLY_MESSAGE_V2 325

static const char *const *send_names(int32_t code)
{
    return code == SALVO_REQUEST_SEND_MESSAGE || code == REQUEST_SEND_REPLY_MESSAGE ? names_v1
                                                                                    : names_v2;
}

static bool send_code_known(int32_t code)
{
    return code == SALVO_REQUEST_SEND_MESSAGE || code == SALVO_REQUEST_SEND_MESSAGE_V2 ||
           code == SALVO_REQUEST_SEND_BATCH_MESSAGE || code == REQUEST_SEND_REPLY_MESSAGE ||
           code == REQUEST_SEND_REPLY_MESSAGE_V2;
}

/* --- fields as texts ------------------------------------------------------------------------- */

#define DECIMAL_SIZE_MAX 20u /* -9223372036854775808 */

/* Every field as the text it has on the wire; absent ones are NULL. */
struct send_texts {
    struct salvo_text texts[FIELD_COUNT];
    char decimals[7][DECIMAL_SIZE_MAX];
    uint32_t decimals_count;
};

static struct salvo_text texts_decimal(struct send_texts *t, int64_t value)
{
    char *decimal = t->decimals[t->decimals_count];
    struct salvo_writer w = salvo_writer_over(decimal, DECIMAL_SIZE_MAX);

    salvo_assert(t->decimals_count < SALVO_ARRAY_LENGTH(t->decimals));
    t->decimals_count++;
    salvo_write_decimal(&w, value);
    return (struct salvo_text){decimal, (uint32_t)salvo_writer_size(&w)};
}

static struct salvo_text texts_bool(bool value)
{
    return value ? SALVO_TEXT("true") : SALVO_TEXT("false");
}

static void texts_fill(struct send_texts *t, const struct salvo_send_fields *fields)
{
    struct salvo_text *texts = t->texts;

    t->decimals_count = 0;
    texts[FIELD_PRODUCER_GROUP] = fields->producerGroup;
    texts[FIELD_TOPIC] = fields->topic;
    texts[FIELD_DEFAULT_TOPIC] = fields->defaultTopic;
    texts[FIELD_DEFAULT_TOPIC_QUEUE_NUMS] = texts_decimal(t, fields->defaultTopicQueueNums);
    texts[FIELD_QUEUE_ID] = texts_decimal(t, fields->queueId);
    texts[FIELD_SYS_FLAG] = texts_decimal(t, fields->sysFlag);
    texts[FIELD_BORN_TIMESTAMP] = texts_decimal(t, fields->bornTimestamp);
    texts[FIELD_FLAG] = texts_decimal(t, fields->flag);
    texts[FIELD_PROPERTIES] = fields->properties;
    texts[FIELD_RECONSUME_TIMES] = texts_decimal(t, fields->reconsumeTimes);
    texts[FIELD_UNIT_MODE] = texts_bool(fields->unitMode);
    texts[FIELD_MAX_RECONSUME_TIMES] = (struct salvo_text){0};
    if (fields->maxReconsumeTimes >= 0)
        texts[FIELD_MAX_RECONSUME_TIMES] = texts_decimal(t, fields->maxReconsumeTimes);
    texts[FIELD_BATCH] = texts_bool(fields->batch);
    texts[FIELD_BROKER_NAME] = fields->brokerName;
}

/* --- the general writer ---------------------------------------------------------------------- */

ssize_t salvo_send_write(void *ret_bytes, size_t size_max, enum salvo_header_form form,
                         const struct salvo_send_fields *fields, int32_t opaque, bool oneway,
                         uint32_t body_size)
{
    const char *const *names = send_names(fields->code);
    struct salvo_writer w = salvo_writer_over(ret_bytes, size_max);
    struct send_texts texts;
    struct salvo_header header;
    size_t header_size;

    header.code = fields->code;
    header.language = fields->language;
    header.version = fields->version;
    header.opaque = opaque;
    header.flag = oneway ? SALVO_REMOTING_ONEWAY : 0;
    header.remark = (struct salvo_text){0};
    header.has_ext = true;
    header.ext_count = 0;
    texts_fill(&texts, fields);
    for (uint32_t i = 0; i < FIELD_COUNT; i++) {
        if (texts.texts[i].text != NULL)
            (void)salvo_header_add(&header, names[i], texts.texts[i]); /* 14 of 48 */
    }

    if (salvo_write_room(&w, SALVO_FRAME_PREFIX_SIZE) == NULL)
        return salvo_raise(-ENOSPC);
    if (form == SALVO_HEADER_BINARY)
        salvo_header_binary_write(&w, &header);
    else
        salvo_header_json_write(&w, &header);
    if (w.failed || salvo_writer_size(&w) > SALVO_FRAME_SIZE_MAX ||
        body_size > SALVO_FRAME_SIZE_MAX - salvo_writer_size(&w))
        return salvo_raise(-ENOSPC);

    header_size = salvo_writer_size(&w) - SALVO_FRAME_PREFIX_SIZE;
    salvo_frame_write_prefix(ret_bytes, form, (uint32_t)header_size, body_size);
    return (ssize_t)salvo_writer_size(&w);
}

/* --- the reader ------------------------------------------------------------------------------ */

/* A read under way. `why` is set by the first field that is missing or malformed. */
struct send_read {
    struct salvo_text values[FIELD_COUNT];
    const char *why;
};

/* The fields by number; where a key comes twice, Java's map keeps the last. They nearly always come
 * in our order: the search for each begins behind the one before. */
static void read_find(struct send_read *read, const struct salvo_header *header)
{
    const char *const *names = send_names(header->code);
    uint32_t field = 0;

    for (uint32_t i = 0; i < header->ext_count; i++) {
        for (uint32_t n = 0; n < FIELD_COUNT; n++) {
            uint32_t tried = (field + n) % FIELD_COUNT;

            if (salvo_text_equals(header->ext[i].key, names[tried])) {
                read->values[tried] = header->ext[i].value;
                field = tried + 1;
                break;
            }
        }
    }
}

static struct salvo_text read_text(struct send_read *read, enum send_field field)
{
    if (read->values[field].text == NULL && read->why == NULL)
        read->why = names_v1[field];
    return read->values[field];
}

static int64_t read_integer(struct send_read *read, enum send_field field, int64_t low,
                            int64_t high)
{
    struct salvo_text text = read->values[field];
    int64_t value = 0;

    if ((text.text == NULL || salvo_parse_decimal(text.text, text.size, &value) != 0 ||
         value < low || value > high) &&
        read->why == NULL)
        read->why = names_v1[field];
    return value;
}

static int32_t read_int32(struct send_read *read, enum send_field field)
{
    return (int32_t)read_integer(read, field, INT32_MIN, INT32_MAX);
}

static int32_t read_int32_or(struct send_read *read, enum send_field field, int32_t absent)
{
    if (read->values[field].text == NULL)
        return absent;
    return read_int32(read, field);
}

/* Boolean.parseBoolean: "true" in any case, all else is false. */
static bool read_bool(const struct send_read *read, enum send_field field)
{
    struct salvo_text text = read->values[field];
    const char *yes = "true";

    if (text.size != 4)
        return false;
    for (uint32_t i = 0; i < 4; i++) {
        if ((text.text[i] | 0x20) != yes[i])
            return false;
    }
    return true;
}

int salvo_send_read(const struct salvo_header *header, struct salvo_send_fields *ret_fields,
                    const char **ret_why)
{
    struct send_read read = {.why = NULL};
    struct salvo_send_fields fields;

    if (!send_code_known(header->code)) {
        *ret_why = "code";
        return salvo_raise(-EBADMSG);
    }
    read_find(&read, header);
    fields.code = header->code;
    fields.language = header->language;
    fields.version = header->version;
    fields.producerGroup = read_text(&read, FIELD_PRODUCER_GROUP);
    fields.topic = read_text(&read, FIELD_TOPIC);
    fields.defaultTopic = read_text(&read, FIELD_DEFAULT_TOPIC);
    fields.defaultTopicQueueNums = read_int32(&read, FIELD_DEFAULT_TOPIC_QUEUE_NUMS);
    fields.queueId = read_int32(&read, FIELD_QUEUE_ID);
    fields.sysFlag = read_int32(&read, FIELD_SYS_FLAG);
    fields.bornTimestamp = read_integer(&read, FIELD_BORN_TIMESTAMP, INT64_MIN, INT64_MAX);
    fields.flag = read_int32(&read, FIELD_FLAG);
    fields.properties = read.values[FIELD_PROPERTIES];
    fields.reconsumeTimes = read_int32_or(&read, FIELD_RECONSUME_TIMES, 0);
    fields.unitMode = read_bool(&read, FIELD_UNIT_MODE);
    fields.maxReconsumeTimes = read_int32_or(&read, FIELD_MAX_RECONSUME_TIMES, -1);
    fields.batch = read_bool(&read, FIELD_BATCH);
    fields.brokerName = read.values[FIELD_BROKER_NAME];

    if (read.why != NULL) {
        *ret_why = read.why;
        return salvo_raise(-EBADMSG);
    }
    *ret_fields = fields;
    return 0;
}

/* --- the template ---------------------------------------------------------------------------- */

#define BORN_DIGITS        13u
#define OPAQUE_DIGITS      10u
#define BORN_PLACEHOLDER   INT64_C(1000000000000)
#define OPAQUE_PLACEHOLDER 1000000000

/* Offsets of the binary header's fixed part, in the frame. */
#define CODE_OFFSET   8u
#define OPAQUE_OFFSET 13u

/* What a properties field costs in front of its value, binary: 2 + name + 4. */
#define PROPERTIES_KEY_SIZE(name) (2u + (uint32_t)(sizeof(name) - 1) + 4u)

static uint16_t writer_offset(const struct salvo_writer *w)
{
    return (uint16_t)salvo_writer_size(w);
}

static void template_binary_key(struct salvo_writer *w, const char *name, uint32_t value_size)
{
    size_t name_size = strlen(name);

    salvo_write_u16(w, (uint16_t)name_size);
    salvo_write_bytes(w, name, name_size);
    salvo_write_u32(w, value_size);
}

/* Writes the present fields from `field` up to `end`; notes where bornTimestamp starts. */
static void template_binary_fields(struct salvo_writer *w, struct salvo_send_template *t,
                                   const char *const *names, const struct send_texts *texts,
                                   uint32_t field, uint32_t end)
{
    for (; field < end; field++) {
        struct salvo_text text = texts->texts[field];

        if (text.text == NULL || text.size == 0)
            continue;
        template_binary_key(w, names[field], text.size);
        if (field == FIELD_BORN_TIMESTAMP)
            t->born_offset = writer_offset(w);
        salvo_write_bytes(w, text.text, text.size);
    }
}

static void template_binary(struct salvo_writer *w, struct salvo_send_template *t,
                            const struct salvo_send_fields *fields, const struct send_texts *texts,
                            bool oneway)
{
    const char *const *names = send_names(fields->code);

    (void)salvo_write_room(w, SALVO_FRAME_PREFIX_SIZE);
    salvo_write_u16(w, (uint16_t)fields->code);
    salvo_write_u8(w, (uint8_t)fields->language);
    salvo_write_u16(w, (uint16_t)fields->version);
    t->opaque_offset = writer_offset(w);
    salvo_write_u32(w, OPAQUE_PLACEHOLDER);
    salvo_write_u32(w, oneway ? SALVO_REMOTING_ONEWAY : 0);
    salvo_write_u32(w, 0); /* no remark */
    t->ext_length_offset = writer_offset(w);
    salvo_write_u32(w, 0);
    template_binary_fields(w, t, names, texts, 0, FIELD_PROPERTIES);
    template_binary_key(w, names[FIELD_PROPERTIES], 0);
    t->properties_length_offset = (uint16_t)(writer_offset(w) - 4);
    t->prefix_size = writer_offset(w);
    template_binary_fields(w, t, names, texts, FIELD_PROPERTIES + 1, FIELD_COUNT);
}

static void template_json_fields(struct salvo_writer *w, struct salvo_send_template *t,
                                 const char *const *names, const struct send_texts *texts,
                                 uint32_t field, uint32_t end)
{
    for (; field < end; field++) {
        struct salvo_text text = texts->texts[field];

        if (text.text == NULL)
            continue;
        if (w->at[-1] != '{')
            salvo_write_u8(w, ',');
        salvo_json_write_string(w, names[field], strlen(names[field]));
        salvo_write_u8(w, ':');
        if (field == FIELD_BORN_TIMESTAMP)
            t->born_offset = (uint16_t)(writer_offset(w) + 1); /* behind the quote */
        salvo_json_write_string(w, text.text, text.size);
    }
}

static void template_json(struct salvo_writer *w, struct salvo_send_template *t,
                          const struct salvo_send_fields *fields, const struct send_texts *texts,
                          bool oneway)
{
    const char *const *names = send_names(fields->code);

    (void)salvo_write_room(w, SALVO_FRAME_PREFIX_SIZE);
    salvo_write_text(w, "{\"code\":");
    salvo_write_decimal(w, fields->code);
    salvo_write_text(w, ",\"extFields\":{");
    template_json_fields(w, t, names, texts, 0, FIELD_PROPERTIES);
    salvo_write_text(w, ",\"");
    salvo_write_text(w, names[FIELD_PROPERTIES]);
    salvo_write_text(w, "\":\"");
    t->prefix_size = writer_offset(w);
    salvo_write_u8(w, '"');
    template_json_fields(w, t, names, texts, FIELD_PROPERTIES + 1, FIELD_COUNT);
    salvo_write_text(w, "},\"flag\":");
    salvo_write_decimal(w, oneway ? SALVO_REMOTING_ONEWAY : 0);
    salvo_write_text(w, ",\"language\":\"");
    salvo_write_text(w, salvo_language_name(fields->language));
    salvo_write_text(w, "\",\"opaque\":");
    t->opaque_offset = (uint16_t)(writer_offset(w) - t->prefix_size);
    salvo_write_decimal(w, OPAQUE_PLACEHOLDER);
    salvo_write_text(w, ",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
    salvo_write_decimal(w, fields->version);
    salvo_write_u8(w, '}');
}

int salvo_send_template_init(struct salvo_send_template *t, enum salvo_header_form form,
                             const struct salvo_send_fields *fields, bool oneway)
{
    struct salvo_send_template made = {.form = form};
    struct salvo_writer w = salvo_writer_over(made.bytes, SALVO_SEND_TEMPLATE_SIZE_MAX);
    struct salvo_send_fields placed = *fields;
    struct send_texts texts;

    placed.bornTimestamp = BORN_PLACEHOLDER;
    texts_fill(&texts, &placed);
    if (form == SALVO_HEADER_BINARY)
        template_binary(&w, &made, fields, &texts, oneway);
    else
        template_json(&w, &made, fields, &texts, oneway);
    if (w.failed)
        return salvo_raise(-EINVAL);

    made.suffix_size = (uint16_t)(salvo_writer_size(&w) - made.prefix_size);
    salvo_assert(made.born_offset + BORN_DIGITS <= made.prefix_size);
    if (form == SALVO_HEADER_BINARY) {
        salvo_assert(made.opaque_offset == OPAQUE_OFFSET);
        salvo_assert(made.properties_length_offset + 4u == made.prefix_size);
    } else {
        salvo_assert(made.opaque_offset + OPAQUE_DIGITS <= made.suffix_size);
        salvo_assert(made.suffix_size >= SALVO_ESCAPE_SLACK);
    }
    *t = made;
    return 0;
}

/* `pairs` two-digit groups of `value`, which has no more digits than that. */
static void digits_write(uint8_t *bytes, uint32_t value, unsigned pairs)
{
    for (unsigned i = pairs; i > 0; i--) {
        memcpy(bytes + 2 * (i - 1), salvo_digit_pairs + 2 * (value % 100), 2);
        value /= 100;
    }
}

void salvo_born_write(struct salvo_born *born, int64_t ms)
{
    uint8_t *to = (uint8_t *)born->digits;
    int64_t written = SALVO_CLAMP(ms, BORN_PLACEHOLDER, 10 * BORN_PLACEHOLDER - 1);
    uint32_t low = (uint32_t)(written % 100000000);
    uint32_t high = (uint32_t)(written / 100000000); /* five digits */

    born->ms = ms;
    to[0] = (uint8_t)('0' + high / 10000);
    digits_write(to + 1, high % 10000, 2);
    /* Two halves of four digits: shorter chains of multiplications than one of eight. */
    digits_write(to + 5, low / 10000, 2);
    digits_write(to + 9, low % 10000, 2);
}

static void opaque_write(uint8_t *bytes, int32_t opaque)
{
    uint32_t value = (uint32_t)opaque;

    digits_write(bytes, value / 100000000, 1);
    digits_write(bytes + 2, value / 10000 % 10000, 2);
    digits_write(bytes + 6, value % 10000, 2);
}

/* In whole pieces, which is faster than asking how many bytes there are: reads and writes up to 31
 * bytes past the end. */
static inline void template_copy(uint8_t *to, const uint8_t *from, size_t size)
{
    for (size_t at = 0; at < size; at += SALVO_SEND_TEMPLATE_SLACK)
        memcpy(to + at, from + at, SALVO_SEND_TEMPLATE_SLACK);
}

/* Binary, properties empty: their field is left out, because peers read an empty value as null.
 * Only batches come here; a message always has its UNIQ_KEY. */
static size_t template_write_bare(const struct salvo_send_template *t, uint8_t *bytes)
{
    bool v1 = salvo_load_be16(t->bytes + CODE_OFFSET) == SALVO_REQUEST_SEND_MESSAGE;
    size_t prefix_size =
        t->prefix_size - (v1 ? PROPERTIES_KEY_SIZE("properties") : PROPERTIES_KEY_SIZE("i"));

    memcpy(bytes, t->bytes, prefix_size);
    memcpy(bytes + prefix_size, t->bytes + t->prefix_size, t->suffix_size);
    return prefix_size + t->suffix_size;
}

/* exact: what is behind it stays as it is. */
static inline void template_prefix(const struct salvo_send_template *t, uint8_t *bytes, bool exact)
{
    if (SALVO_UNLIKELY(exact))
        memcpy(bytes, t->bytes, t->prefix_size);
    else
        template_copy(bytes, t->bytes, t->prefix_size);
}

static size_t template_write_binary(const struct salvo_send_template *t, uint8_t *bytes,
                                    int32_t opaque, const void *properties, size_t properties_size)
{
    size_t size = t->prefix_size + properties_size + t->suffix_size;

    if (SALVO_LIKELY(properties_size > 0)) {
        template_prefix(t, bytes, properties == NULL);
        if (properties != NULL)
            memcpy(bytes + t->prefix_size, properties, properties_size);
        template_copy(bytes + t->prefix_size + properties_size, t->bytes + t->prefix_size,
                      t->suffix_size);
        salvo_store_be32(bytes + t->properties_length_offset, (uint32_t)properties_size);
    } else {
        size = template_write_bare(t, bytes);
    }
    salvo_store_be32(bytes + t->opaque_offset, (uint32_t)opaque);
    salvo_store_be32(bytes + t->ext_length_offset, (uint32_t)(size - t->ext_length_offset - 4));
    return size;
}

static size_t template_write_json(const struct salvo_send_template *t, uint8_t *bytes,
                                  int32_t opaque, const void *properties, size_t properties_size)
{
    uint8_t *suffix;

    salvo_assert(opaque >= OPAQUE_PLACEHOLDER); /* a number in JSON has no leading zeros */

    template_prefix(t, bytes, properties == NULL);
    if (properties == NULL) /* in place, escaped: a retry copies them from its old header */
        suffix = bytes + t->prefix_size + properties_size;
    else
        suffix = salvo_escape(bytes + t->prefix_size, properties, properties_size);
    template_copy(suffix, t->bytes + t->prefix_size, t->suffix_size);
    opaque_write(suffix + t->opaque_offset, opaque);
    return (size_t)(suffix + t->suffix_size - bytes);
}

size_t salvo_send_template_write(const struct salvo_send_template *t, uint8_t *bytes,
                                 int32_t opaque, const struct salvo_born *born,
                                 const void *properties, size_t properties_size, uint32_t body_size)
{
    size_t size;

    /* A broker stores its length in 16 bits, unescaped: those that lie there may be longer. */
    salvo_assert(properties == NULL || properties_size <= INT16_MAX);
    salvo_assert(born->ms != 0);

    if (t->form == SALVO_HEADER_BINARY)
        size = template_write_binary(t, bytes, opaque, properties, properties_size);
    else
        size = template_write_json(t, bytes, opaque, properties, properties_size);
    memcpy(bytes + t->born_offset, born->digits, sizeof(born->digits));
    salvo_frame_write_prefix(bytes, t->form, (uint32_t)(size - SALVO_FRAME_PREFIX_SIZE), body_size);
    return size;
}
