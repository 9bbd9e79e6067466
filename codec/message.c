/* Properties, batch items and validators. Ids are in id.c. */
#include "codec/message.h"

#include "base/assert.h"
#include "base/error.h"

#include <errno.h>

/* --- what is refused ------------------------------------------------------------------------- */

const char *salvo_refusal_text(int refusal)
{
    switch (refusal) {
    case SALVO_REFUSED_EMPTY:
        return "it is empty or blank";
    case SALVO_REFUSED_TOO_LONG:
        return "it is too long";
    case SALVO_REFUSED_CHARACTER:
        return "it holds a character other than letters, digits, %, _, - and |";
    case SALVO_REFUSED_SEPARATOR:
        return "it holds one of the separators 0x01 and 0x02";
    case SALVO_REFUSED_UTF8:
        return "it is not UTF-8";
    case SALVO_REFUSED_RESERVED:
        return "the name is reserved by RocketMQ";
    case SALVO_REFUSED_FORBIDDEN:
        return "the name is not allowed to senders";
    default:
        return "it is fine";
    }
}

static_assert(SALVO_TOPIC_SIZE_MAX == 127, "the sentences say so");

const char *salvo_topic_refusal_text(int refusal)
{
    switch (refusal) {
    case SALVO_REFUSED_EMPTY:
        return "it is empty or blank; a topic is 1 to 127 letters, digits, %, _, - and |";
    case SALVO_REFUSED_TOO_LONG:
        return "it is over 127 bytes; choose a shorter name";
    case SALVO_REFUSED_FORBIDDEN:
        return "RocketMQ keeps this name to itself; choose another";
    default:
        return salvo_refusal_text(refusal);
    }
}

/* A name with its size, so that lists are searched without strlen. */
struct known_name {
    uint8_t size;
    char text[31];
};

#define NAME(literal)                                                                              \
    {                                                                                              \
        sizeof(literal) - 1, literal                                                               \
    }

static bool name_known(const struct known_name *names, size_t count, const void *name, size_t size)
{
    for (size_t i = 0; i < count; i++) {
        if (names[i].size == size && memcmp(names[i].text, name, size) == 0)
            return true;
    }
    return false;
}

/* MessageConst.STRING_HASH_SET. */
static const struct known_name reserved_names[] = {
    NAME("TRACE_ON"),
    NAME("MSG_REGION"),
    NAME("KEYS"),
    NAME("TAGS"),
    NAME("WAIT"),
    NAME("DELAY"),
    NAME("RETRY_TOPIC"),
    NAME("REAL_TOPIC"),
    NAME("REAL_QID"),
    NAME("TRAN_MSG"),
    NAME("PGROUP"),
    NAME("MIN_OFFSET"),
    NAME("MAX_OFFSET"),
    NAME("BUYER_ID"),
    NAME("ORIGIN_MESSAGE_ID"),
    NAME("TRANSFER_FLAG"),
    NAME("CORRECTION_FLAG"),
    NAME("MQ2_FLAG"),
    NAME("RECONSUME_TIME"),
    NAME("UNIQ_KEY"),
    NAME("MAX_RECONSUME_TIMES"),
    NAME("CONSUME_START_TIME"),
    NAME("POP_CK"),
    NAME("POP_CK_OFFSET"),
    NAME("1ST_POP_TIME"),
    NAME("TRAN_PREPARED_QUEUE_OFFSET"),
    NAME("DUP_INFO"),
    NAME("EXTEND_UNIQ_INFO"),
    NAME("INSTANCE_ID"),
    NAME("CORRELATION_ID"),
    NAME("REPLY_TO_CLIENT"),
    NAME("TTL"),
    NAME("ARRIVE_TIME"),
    NAME("PUSH_REPLY_TIME"),
    NAME("CLUSTER"),
    NAME("MSG_TYPE"),
    NAME("INNER_MULTI_QUEUE_OFFSET"),
    NAME("TIMER_DELAY_MS"),
    NAME("TIMER_DELAY_SEC"),
    NAME("TIMER_DELIVER_MS"),
    NAME("TIMER_ENQUEUE_MS"),
    NAME("TIMER_DEQUEUE_MS"),
    NAME("TIMER_ROLL_TIMES"),
    NAME("TIMER_OUT_MS"),
    NAME("TIMER_DEL_UNIQKEY"),
    NAME("TIMER_DELAY_LEVEL"),
    NAME("__BORNHOST"),
    NAME("BORN_TIMESTAMP"),
    NAME("DLQ_ORIGIN_TOPIC"),
    NAME("DLQ_ORIGIN_MESSAGE_ID"),
    NAME("__CRC32#"),
};

/* StringUtils.isBlank, for ASCII. */
static bool blank(const uint8_t *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        bool white = text[i] == ' ' || (text[i] >= 0x09 && text[i] <= 0x0d) ||
                     (text[i] >= 0x1c && text[i] <= 0x1f);

        if (!white)
            return false;
    }
    return true;
}

int salvo_property_value_check(const void *value, size_t value_size)
{
    if (blank(value, value_size))
        return SALVO_REFUSED_EMPTY;
    if (value_size > SALVO_PROPERTIES_SIZE_MAX)
        return SALVO_REFUSED_TOO_LONG;
    if (memchr(value, SALVO_PROPERTY_NAME_END, value_size) != NULL ||
        memchr(value, SALVO_PROPERTY_VALUE_END, value_size) != NULL)
        return SALVO_REFUSED_SEPARATOR;
    if (!salvo_utf8_valid(value, value_size))
        return SALVO_REFUSED_UTF8;
    return 0;
}

int salvo_property_check(const void *name, size_t name_size, const void *value, size_t value_size)
{
    int refusal = salvo_property_value_check(name, name_size);

    if (refusal)
        return refusal;
    if (name_known(reserved_names, SALVO_ARRAY_LENGTH(reserved_names), name, name_size))
        return SALVO_REFUSED_RESERVED;
    refusal = salvo_property_value_check(value, value_size);
    if (refusal)
        return refusal;
    if (name_size + value_size + 2 > SALVO_PROPERTIES_SIZE_MAX)
        return SALVO_REFUSED_TOO_LONG;
    return 0;
}

/* --- properties ------------------------------------------------------------------------------ */

void salvo_property_write(struct salvo_writer *w, const void *name, size_t name_size,
                          const void *value, size_t value_size)
{
    uint8_t *p = salvo_write_room(w, name_size + value_size + 2);

    if (p == NULL)
        return;
    memcpy(p, name, name_size);
    p[name_size] = SALVO_PROPERTY_NAME_END;
    memcpy(p + name_size + 1, value, value_size);
    p[name_size + 1 + value_size] = SALVO_PROPERTY_VALUE_END;
}

/* MessageDecoder.string2messageProperties: an entry ends at the next 0x02 or at the end; it counts
 * when a 0x01 stands inside it with something on both sides. */
bool salvo_property_next(const void *properties, size_t size, size_t *at,
                         struct salvo_text *ret_name, struct salvo_text *ret_value)
{
    const char *start = properties;

    while (*at < size) {
        const char *entry = start + *at;
        const char *end = memchr(entry, SALVO_PROPERTY_VALUE_END, size - *at);
        const char *between;

        if (end == NULL)
            end = start + size;
        *at = (size_t)(end - start) + 1;
        between = memchr(entry, SALVO_PROPERTY_NAME_END, (size_t)(end - entry));
        if (between == NULL || between == entry || between + 1 == end)
            continue;
        *ret_name = (struct salvo_text){entry, (uint32_t)(between - entry)};
        *ret_value = (struct salvo_text){between + 1, (uint32_t)(end - between - 1)};
        return true;
    }
    return false;
}

/* Where a name comes twice, Java's map keeps the last. */
struct salvo_text salvo_property_find(const void *properties, size_t size, const char *name)
{
    struct salvo_text wanted = salvo_text_of(name);
    struct salvo_text found = {0}, key, value;
    size_t at = 0;

    while (salvo_property_next(properties, size, &at, &key, &value)) {
        if (salvo_text_same(key, wanted))
            found = value;
    }
    return found;
}

/* --- batch items ----------------------------------------------------------------------------- */

void salvo_batch_item_write(struct salvo_writer *w, const struct salvo_batch_item *item)
{
    uint32_t size = SALVO_BATCH_ITEM_OVERHEAD + item->body_size + item->properties_size;
    uint8_t *p;

    salvo_assert(item->body_size <= SALVO_FRAME_SIZE_MAX);
    salvo_assert(item->properties_size <= INT16_MAX);

    p = salvo_write_room(w, size);
    if (p == NULL)
        return;
    salvo_store_be32(p, size);
    salvo_store_be64(p + 4, 0); /* magic, bodyCRC */
    salvo_store_be32(p + 12, (uint32_t)item->flag);
    salvo_store_be32(p + 16, item->body_size);
    if (item->body_size > 0)
        memcpy(p + 20, item->body, item->body_size);
    p += 20 + item->body_size;
    salvo_store_be16(p, item->properties_size);
    if (item->properties_size > 0)
        memcpy(p + 2, item->properties, item->properties_size);
}

/* Java reads neither magic nor bodyCRC, so both may hold anything. */
int salvo_batch_item_read(struct salvo_reader *r, struct salvo_batch_item *ret_item)
{
    struct salvo_batch_item item;
    uint32_t size;

    if (!r->failed && salvo_reader_left(r) == 0)
        return -ENOENT;
    size = salvo_read_u32(r);
    (void)salvo_read_u64(r);
    item.flag = (int32_t)salvo_read_u32(r);
    item.body_size = salvo_read_u32(r);
    item.body = salvo_read_bytes(r, item.body_size);
    item.properties_size = salvo_read_u16(r);
    item.properties = salvo_read_bytes(r, item.properties_size);
    if (r->failed || item.properties_size > INT16_MAX ||
        size != (uint64_t)SALVO_BATCH_ITEM_OVERHEAD + item.body_size + item.properties_size) {
        r->failed = true; /* nothing behind it can be trusted */
        return salvo_raise(-EBADMSG);
    }
    *ret_item = item;
    return 0;
}

/* --- validators ------------------------------------------------------------------------------ */

/* TopicValidator.NOT_ALLOWED_SEND_TOPIC_SET of 5.x, which holds those of 4.x. */
static const struct known_name forbidden_topics[] = {
    NAME("SCHEDULE_TOPIC_XXXX"),
    NAME("RMQ_SYS_TRANS_HALF_TOPIC"),
    NAME("RMQ_SYS_TRANS_OP_HALF_TOPIC"),
    NAME("TRANS_CHECK_MAX_TIME_TOPIC"),
    NAME("SELF_TEST_TOPIC"),
    NAME("OFFSET_MOVED_EVENT"),
};

/* TopicValidator.SYSTEM_TOPIC_SET; with it goes whatever starts with rmq_sys_. */
static const struct known_name system_topics[] = {
    NAME("TBW102"),
    NAME("SCHEDULE_TOPIC_XXXX"),
    NAME("BenchmarkTest"),
    NAME("RMQ_SYS_TRANS_HALF_TOPIC"),
    NAME("RMQ_SYS_TRACE_TOPIC"),
    NAME("RMQ_SYS_TRANS_OP_HALF_TOPIC"),
    NAME("TRANS_CHECK_MAX_TIME_TOPIC"),
    NAME("SELF_TEST_TOPIC"),
    NAME("OFFSET_MOVED_EVENT"),
    NAME("CHECKPOINT_TOPIC"),
};

static const struct known_name forbidden_groups[] = {NAME("DEFAULT_PRODUCER")};

/* Validators.checkTopic and checkGroup: ^[%|a-zA-Z0-9_-]+$ */
static bool name_character(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '%' ||
           c == '|' || c == '_' || c == '-';
}

static int name_check(const uint8_t *name, size_t size, size_t size_max)
{
    if (blank(name, size))
        return SALVO_REFUSED_EMPTY;
    if (size > size_max)
        return SALVO_REFUSED_TOO_LONG;
    for (size_t i = 0; i < size; i++) {
        if (!name_character(name[i]))
            return SALVO_REFUSED_CHARACTER;
    }
    return 0;
}

int salvo_topic_check(const void *topic, size_t size)
{
    int refusal = name_check(topic, size, SALVO_TOPIC_SIZE_MAX);

    if (refusal)
        return refusal;
    if (name_known(forbidden_topics, SALVO_ARRAY_LENGTH(forbidden_topics), topic, size))
        return SALVO_REFUSED_FORBIDDEN;
    return 0;
}

int salvo_group_check(const void *group, size_t size)
{
    int refusal = name_check(group, size, SALVO_GROUP_SIZE_MAX);

    if (refusal)
        return refusal;
    if (name_known(forbidden_groups, SALVO_ARRAY_LENGTH(forbidden_groups), group, size))
        return SALVO_REFUSED_FORBIDDEN;
    return 0;
}

bool salvo_topic_is_system(const void *topic, size_t size)
{
    static const char prefix[] = "rmq_sys_";

    if (size >= sizeof(prefix) - 1 && memcmp(topic, prefix, sizeof(prefix) - 1) == 0)
        return true;
    return name_known(system_topics, SALVO_ARRAY_LENGTH(system_topics), topic, size);
}

/* --- hash ------------------------------------------------------------------------------------ */

#define REPLACEMENT 0xfffdu /* what Java makes of a byte that is not UTF-8 */

static unsigned sequence_size(uint8_t first)
{
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf)
        return 2;
    if (first >= 0xe0 && first <= 0xef)
        return 3;
    if (first >= 0xf0 && first <= 0xf4)
        return 4;
    return 0;
}

/* The character at `text`; *ret_size is how many bytes it takes. */
static uint32_t character_read(const uint8_t *text, size_t size, unsigned *ret_size)
{
    unsigned length = sequence_size(text[0]);
    uint32_t character;

    if (length == 1) {
        *ret_size = 1;
        return text[0];
    }
    if (length == 0 || length > size || !salvo_utf8_valid(text, length)) {
        *ret_size = 1;
        return REPLACEMENT;
    }
    character = text[0] & (0x7fu >> length);
    for (unsigned i = 1; i < length; i++)
        character = character << 6 | (text[i] & 0x3fu);
    *ret_size = length;
    return character;
}

int32_t salvo_java_hash(const void *text, size_t size)
{
    const uint8_t *at = text;
    uint32_t hash = 0;

    while (size > 0) {
        unsigned length;
        uint32_t c = character_read(at, size, &length);

        if (c < 0x10000) {
            hash = hash * 31 + c;
        } else {
            hash = hash * 31 + (0xd800 + ((c - 0x10000) >> 10));
            hash = hash * 31 + (0xdc00 + ((c - 0x10000) & 0x3ff));
        }
        at += length;
        size -= length;
    }
    return (int32_t)hash;
}

uint32_t salvo_java_hash_queue(int32_t hash, uint32_t queues_count)
{
    int64_t index;

    salvo_assert(queues_count > 0);
    salvo_assert(queues_count <= INT32_MAX);
    index = (int64_t)hash % (int64_t)queues_count;
    return (uint32_t)(index < 0 ? -index : index);
}
