/* The answer to a send. Brokers write the same few keys each time, so a JSON header is walked once,
 * key by key, without tokens; anything unusual (an escape, a key nobody knows, white space, a
 * number in quotes or the other way round) sends it to the general reader instead, which is the
 * judge of what is a header. Texts that are only skipped are not checked for UTF-8 on the fast way.
 */
#include "codec/send_answer_internal.h"

#include "base/assert.h"
#include "base/error.h"
#include "base/json.h"

#include <errno.h>

/* As in header_json.c. */
#define TOKENS_MAX 512

/* What has_offset needs. */
enum answer_key_seen {
    SEEN_QUEUE_ID = 1,
    SEEN_QUEUE_OFFSET = 2,
    SEEN_MSG_ID = 4,
    SEEN_ALL = 7,
};

static inline void answer_queue_id(struct salvo_answer_read *read, int r, int64_t value)
{
    read->seen &= ~(unsigned)SEEN_QUEUE_ID;
    if (r || value < 0 || value > INT32_MAX)
        return;
    read->answer->queueId = (int32_t)value;
    read->seen |= SEEN_QUEUE_ID;
}

static inline void answer_queue_offset(struct salvo_answer_read *read, int r, int64_t value)
{
    read->seen &= ~(unsigned)SEEN_QUEUE_OFFSET;
    if (r || value < 0)
        return;
    read->answer->queueOffset = value;
    read->seen |= SEEN_QUEUE_OFFSET;
}

static bool text_is_false(const uint8_t *text, size_t size)
{
    return size == 5 && memcmp(text, "false", 5) == 0;
}

/* --- decimal digits -------------------------------------------------------------------------- */

/* More than 18 digits may not fit. */
#define DIGITS_MAX 18u

/* Reads digits without a leading zero; *at moves behind them. False: let the others judge. One at a
 * time: the CPU foresees how many there are, and goes on behind them before their value is known.
 */
static inline bool digits_read(const uint8_t **at, const uint8_t *end, int64_t *ret_value)
{
    const uint8_t *p = *at;
    size_t left = SALVO_MIN((size_t)(end - p), (size_t)DIGITS_MAX + 1), count = 0;
    uint64_t value = 0; /* 19 digits fit, so that the one too many does no harm */

    for (; count < left && (uint8_t)(p[count] - '0') <= 9; count++)
        value = value * 10 + (uint64_t)(p[count] - '0');
    if (count == 0 || count > DIGITS_MAX || (count > 1 && p[0] == '0'))
        return false;
    *at = p + count;
    *ret_value = (int64_t)value;
    return true;
}

/* --- binary ---------------------------------------------------------------------------------- */

/* A value of a field as a number: its key and its size, at least eight bytes, lie in front. For
 * what is rare (signs, zeros in front, seventeen digits and more): salvo_parse_decimal. */
static inline int integer_parse(const uint8_t *text, size_t size, int64_t *ret_value)
{
    uint64_t low, high = 0;
    size_t low_size = SALVO_MIN(size, (size_t)8);

    if (SALVO_LIKELY(size != 0 && size <= 16 && (text[0] != '0' || size == 1)) &&
        digits_8_read(text + size - low_size, low_size, &low) &&
        (size <= 8 || digits_8_read(text, size - 8, &high))) {
        *ret_value = (int64_t)(high * 100000000 + low);
        return 0;
    }
    return salvo_parse_decimal((const char *)text, size, ret_value);
}

#define KEY_IS(literal) (memcmp(key, (literal), sizeof(literal) - 1) == 0)

static inline void binary_apply(struct salvo_answer_read *read, const uint8_t *key,
                                uint16_t key_size, const uint8_t *value, uint32_t value_size)
{
    struct salvo_text text = {(const char *)value, value_size};
    int64_t number = 0;
    int r;

    switch (key_size) {
    case sizeof("msgId") - 1:
        if (KEY_IS("msgId")) {
            read->answer->msgId = text;
            read->seen |= SEEN_MSG_ID;
        }
        break;
    case sizeof("queueId") - 1:
        if (KEY_IS("queueId")) {
            r = integer_parse(value, value_size, &number);
            answer_queue_id(read, r, number);
            read->queue_id = text;
        }
        break;
    case sizeof("TRACE_ON") - 1:
        if (KEY_IS("TRACE_ON"))
            read->answer->trace_off = text_is_false(value, value_size);
        break;
    case sizeof("queueOffset") - 1:
        if (KEY_IS("queueOffset")) {
            r = integer_parse(value, value_size, &number);
            answer_queue_offset(read, r, number);
            read->queue_offset = text;
        }
        break;
    case sizeof("recallHandle") - 1:
        if (KEY_IS("recallHandle"))
            read->answer->recallHandle = text;
        break;
    case sizeof("transactionId") - 1:
        if (KEY_IS("transactionId"))
            read->answer->transactionId = text;
        break;
    default:
        break;
    }
}

#define FIELD_SIZES 6u /* | 2 key's | key | 4 value's | value | */

static int binary_ext(struct salvo_answer_read *read, const uint8_t *at, const uint8_t *end)
{
    uint32_t fields = 0;

    while (at != end) {
        size_t left = (size_t)(end - at);
        uint16_t key_size = left < FIELD_SIZES ? UINT16_MAX : salvo_load_be16(at);
        const uint8_t *key = at + 2, *value;
        uint32_t value_size;

        if (key_size > INT16_MAX || left < FIELD_SIZES + key_size)
            return salvo_raise(-EBADMSG);
        value_size = salvo_load_be32(key + key_size);
        value = key + key_size + 4;
        if (value_size > (size_t)(end - value))
            return salvo_raise(-EBADMSG);
        at = value + value_size;
        if (key_size == 0 || value_size == 0)
            continue; /* null */
        if (++fields > SALVO_EXT_FIELDS_MAX)
            return salvo_raise(-EBADMSG);
        binary_apply(read, key, key_size, value, value_size);
    }
    return 0;
}

/* | 2 code | 1 language | 2 version | 4 opaque | 4 flag | 4 remark's size | remark | 4 ext's size
 */
#define BINARY_SIZE_MIN 21u

static int answer_read_binary(struct salvo_answer_read *read, const uint8_t *header, size_t size)
{
    struct salvo_send_answer *answer = read->answer;
    uint32_t remark_size;
    const uint8_t *ext;
    int r;

    if (size < BINARY_SIZE_MIN)
        return salvo_raise(-EBADMSG);
    answer->code = (int16_t)salvo_load_be16(header);
    answer->version = (int16_t)salvo_load_be16(header + 3);
    read->opaque = (struct salvo_text){(const char *)header + 5, 4};
    answer->opaque = (int32_t)salvo_load_be32(header + 5);
    answer->flag = (int32_t)salvo_load_be32(header + 9);
    remark_size = salvo_load_be32(header + 13);
    if (remark_size > size - BINARY_SIZE_MIN)
        return salvo_raise(-EBADMSG);
    if (remark_size > 0)
        answer->remark = (struct salvo_text){(const char *)header + 17, remark_size};
    ext = header + BINARY_SIZE_MIN + remark_size;
    if (salvo_load_be32(ext - 4) != size - BINARY_SIZE_MIN - remark_size)
        return salvo_raise(-EBADMSG);

    r = binary_ext(read, ext, header + size);
    if (r)
        return salvo_trace(r);
    answer->has_offset = read->seen == SEEN_ALL;
    return 0;
}

/* --- JSON, the usual way --------------------------------------------------------------------- */

struct scan {
    const uint8_t *at;
    const uint8_t *end;
};

/* Steps over a literal if it is next. */
#define SCAN_OVER(scan, literal)                                                                   \
    ((size_t)((scan)->end - (scan)->at) >= sizeof(literal) - 1 &&                                  \
     memcmp((scan)->at, (literal), sizeof(literal) - 1) == 0 &&                                    \
     ((scan)->at += sizeof(literal) - 1, true))

static inline bool scan_integer(struct scan *scan, int64_t *ret_value)
{
    bool negative = SCAN_OVER(scan, "-");

    if (!digits_read(&scan->at, scan->end, ret_value))
        return false;
    if (negative)
        *ret_value = -*ret_value;
    return true;
}

/* ... and where it stands. */
static inline bool scan_number(struct scan *scan, int64_t *ret_value, struct salvo_text *ret_text)
{
    const uint8_t *start = scan->at;

    if (!scan_integer(scan, ret_value))
        return false;
    *ret_text = (struct salvo_text){(const char *)start, (uint32_t)(scan->at - start)};
    return true;
}

static bool scan_int32(struct scan *scan, int32_t *ret_value)
{
    int64_t value;

    if (!scan_integer(scan, &value) || value < INT32_MIN || value > INT32_MAX)
        return false;
    *ret_value = (int32_t)value;
    return true;
}

/* Top bits of the bytes that are `c`; above the first of them there may be false ones. */
static uint64_t word_match(uint64_t word, char c)
{
    uint64_t x = word ^ BYTES((uint8_t)c);

    return (x - BYTES(1)) & ~x & BYTES(0x80);
}

#define SCAN_BLOCK 64 /* bytes: four vectors of SSE2 for one look at what they found */

/* Whether a block has neither quote nor backslash; *high gathers its top bits. Compiled to vectors:
 * the ids of a batch are one string of some kilobytes. */
static inline bool block_is_plain(const uint8_t *block, uint64_t *high)
{
    uint8_t stop = 0, top = 0;

    for (unsigned i = 0; i < SCAN_BLOCK; i++) {
        stop |= (uint8_t)((block[i] == '"') | (block[i] == '\\'));
        top |= block[i];
    }
    if (stop == 0)
        *high |= top;
    return stop == 0;
}

/* The rest of a string, behind its first quote; steps over the last. False when it has an escape or
 * no end. *ret_ascii: no byte has its top bit. */
static bool scan_string(struct scan *scan, struct salvo_text *ret_text, bool *ret_ascii)
{
    const uint8_t *start = scan->at, *at = start;
    uint64_t high = 0;

    while (scan->end - at >= SCAN_BLOCK && block_is_plain(at, &high))
        at += SCAN_BLOCK;
    while (scan->end - at >= 8) {
        uint64_t word, stop;

        memcpy(&word, at, 8);
        stop = word_match(word, '"') | word_match(word, '\\');
        if (stop != 0) {
            uint64_t before = stop & -stop; /* the top bit of the byte that stops */

            at += __builtin_ctzll(stop) / 8;
            high |= word & (before - 1);
            break;
        }
        high |= word;
        at += 8;
    }
    while (at < scan->end && *at != '"' && *at != '\\')
        high |= *at++;
    if (at == scan->end || *at != '"')
        return false;
    *ret_text = (struct salvo_text){(const char *)start, (uint32_t)(at - start)};
    *ret_ascii = (high & BYTES(0x80)) == 0;
    scan->at = at + 1;
    return true;
}

static bool scan_skip(struct scan *scan)
{
    struct salvo_text text;
    bool ascii;

    return scan_string(scan, &text, &ascii);
}

/* Steps over a key and a value that is not ours: first as it nearly always is, in one comparison.
 */
#define SCAN_USUALLY(scan, key, value)                                                             \
    (SCAN_OVER(scan, key value) || (SCAN_OVER(scan, key) && scan_skip(scan)))

/* A string that is given to others: the general reader has to look at one that is not ASCII. */
static inline bool scan_text(struct scan *scan, struct salvo_text *ret_text)
{
    bool ascii;

    /* What nearly all of them are: an id of an IPv4 host. */
    if (SALVO_LIKELY((size_t)(scan->end - scan->at) > ID_SIZE && scan->at[ID_SIZE] == '"' &&
                     id_plain(scan->at))) {
        *ret_text = (struct salvo_text){(const char *)scan->at, ID_SIZE};
        scan->at += ID_SIZE + 1;
        return true;
    }
    return scan_string(scan, ret_text, &ascii) && ascii;
}

/* One pair of extFields; true when it was one of the usual. */
static bool scan_ext_pair(struct scan *scan, struct salvo_answer_read *read)
{
    struct salvo_send_answer *answer = read->answer;
    struct salvo_text text;
    int64_t value;

    if (scan->end - scan->at < 2)
        return false;
    switch (scan->at[1]) {
    case 'q':
        if (SCAN_OVER(scan, "\"queueId\":\"")) {
            if (!scan_number(scan, &value, &read->queue_id) || !SCAN_OVER(scan, "\""))
                return false;
            answer_queue_id(read, 0, value);
            return true;
        }
        if (!SCAN_OVER(scan, "\"queueOffset\":\"") ||
            !scan_number(scan, &value, &read->queue_offset) || !SCAN_OVER(scan, "\""))
            return false;
        answer_queue_offset(read, 0, value);
        return true;
    case 'm':
        read->seen |= SEEN_MSG_ID;
        return SCAN_OVER(scan, "\"msgId\":\"") && scan_text(scan, &answer->msgId);
    case 't':
        return SCAN_OVER(scan, "\"transactionId\":\"") && scan_text(scan, &answer->transactionId);
    case 'r':
        return SCAN_OVER(scan, "\"recallHandle\":\"") && scan_text(scan, &answer->recallHandle);
    case 'T':
        if (SCAN_OVER(scan, "\"TRACE_ON\":\"true\"")) {
            answer->trace_off = false;
            return true;
        }
        if (!SCAN_OVER(scan, "\"TRACE_ON\":\"") || !scan_text(scan, &text))
            return false;
        answer->trace_off = text_is_false((const uint8_t *)text.text, text.size);
        return true;
    case 'M':
        return SCAN_USUALLY(scan, "\"MSG_REGION\":\"", "DefaultRegion\"");
    default:
        return false;
    }
}

static bool scan_ext(struct scan *scan, struct salvo_answer_read *read)
{
    if (SCAN_OVER(scan, "}"))
        return true;
    for (unsigned i = 0; i < SALVO_EXT_FIELDS_MAX; i++) {
        if (!scan_ext_pair(scan, read))
            return false;
        if (SCAN_OVER(scan, "}"))
            return true;
        if (!SCAN_OVER(scan, ","))
            return false;
    }
    return false;
}

/* The top-level keys, as bits: each may come once on this way. */
enum answer_key {
    KEY_CODE = 1,
    KEY_OPAQUE = 2,
    KEY_EXT = 4,
    KEY_FLAG = 8,
    KEY_LANGUAGE = 16,
    KEY_REMARK = 32,
    KEY_FORM = 64,
    KEY_VERSION = 128,
};

#define KEYS_COUNT 8u

/* One top-level pair: its bit, or 0 when it is unusual. */
static unsigned scan_pair(struct scan *scan, struct salvo_answer_read *read)
{
    struct salvo_send_answer *answer = read->answer;
    int64_t value;

    if (scan->end - scan->at < 2)
        return 0;
    switch (scan->at[1]) {
    case 'c':
        return SCAN_OVER(scan, "\"code\":") && scan_int32(scan, &answer->code) ? KEY_CODE : 0;
    case 'e':
        return SCAN_OVER(scan, "\"extFields\":{") && scan_ext(scan, read) ? KEY_EXT : 0;
    case 'f':
        return SCAN_OVER(scan, "\"flag\":") && scan_int32(scan, &answer->flag) ? KEY_FLAG : 0;
    case 'l':
        return SCAN_USUALLY(scan, "\"language\":\"", "JAVA\"") ? KEY_LANGUAGE : 0;
    case 'o':
        if (!SCAN_OVER(scan, "\"opaque\":") || !scan_number(scan, &value, &read->opaque) ||
            value < INT32_MIN || value > INT32_MAX)
            return 0;
        answer->opaque = (int32_t)value;
        return KEY_OPAQUE;
    case 'r':
        return SCAN_OVER(scan, "\"remark\":\"") && scan_text(scan, &answer->remark) ? KEY_REMARK
                                                                                    : 0;
    case 's':
        return SCAN_USUALLY(scan, "\"serializeTypeCurrentRPC\":\"", "JSON\"") ? KEY_FORM : 0;
    case 'v':
        return SCAN_OVER(scan, "\"version\":") && scan_int32(scan, &answer->version) ? KEY_VERSION
                                                                                     : 0;
    default:
        return 0;
    }
}

/* True when the header was of the usual shape from the first byte to the last. */
static bool answer_scan_json(struct salvo_answer_read *read, const uint8_t *header, size_t size)
{
    struct scan scan = {header, header + size};
    unsigned keys = 0;

    if (!SCAN_OVER(&scan, "{"))
        return false;
    for (unsigned i = 0; i < KEYS_COUNT; i++) {
        unsigned key = scan_pair(&scan, read);

        if (key == 0 || (keys & key) != 0)
            return false;
        keys |= key;
        if (SCAN_OVER(&scan, "}")) {
            read->answer->has_offset = read->seen == SEEN_ALL;
            return scan.at == scan.end && (keys & KEY_CODE) != 0 && (keys & KEY_OPAQUE) != 0;
        }
        if (!SCAN_OVER(&scan, ","))
            return false;
    }
    return false;
}

/* --- JSON, any way --------------------------------------------------------------------------- */

/* A scalar's text as written; absent for null and for nested values. */
static struct salvo_text token_text(const struct salvo_json *json, uint32_t index)
{
    const struct salvo_json_token *token = &json->tokens[index];

    if (token->kind == SALVO_JSON_NULL || token->kind == SALVO_JSON_ARRAY ||
        token->kind == SALVO_JSON_OBJECT)
        return (struct salvo_text){0};
    return (struct salvo_text){json->text + token->start, token->size};
}

static int token_int32(const struct salvo_json *json, uint32_t index, int32_t *ret_value)
{
    int64_t value;

    if (salvo_json_integer(json, index, &value) || value < INT32_MIN || value > INT32_MAX)
        return salvo_raise(-EBADMSG);
    *ret_value = (int32_t)value;
    return 0;
}

static void general_ext_pair(struct salvo_answer_read *read, const struct salvo_json *json,
                             uint32_t key)
{
    struct salvo_send_answer *answer = read->answer;
    struct salvo_text text = token_text(json, key + 1);
    int64_t value = 0;
    int r;

    if (text.text == NULL)
        return;
    if (salvo_json_equals(json, key, "msgId")) {
        answer->msgId = text;
        read->seen |= SEEN_MSG_ID;
    } else if (salvo_json_equals(json, key, "queueId")) {
        r = salvo_json_integer(json, key + 1, &value);
        answer_queue_id(read, r, value);
    } else if (salvo_json_equals(json, key, "queueOffset")) {
        r = salvo_json_integer(json, key + 1, &value);
        answer_queue_offset(read, r, value);
    } else if (salvo_json_equals(json, key, "transactionId")) {
        answer->transactionId = text;
    } else if (salvo_json_equals(json, key, "recallHandle")) {
        answer->recallHandle = text;
    } else if (salvo_json_equals(json, key, "TRACE_ON")) {
        answer->trace_off = text_is_false((const uint8_t *)text.text, text.size);
    }
}

static int general_ext(struct salvo_answer_read *read, const struct salvo_json *json,
                       uint32_t object)
{
    struct salvo_send_answer *answer = read->answer;
    const struct salvo_json_token *token = &json->tokens[object];
    uint32_t key = object + 1, fields = 0;

    /* The last of two extFields wins, as everywhere. */
    read->seen = 0;
    answer->msgId = answer->transactionId = answer->recallHandle = (struct salvo_text){0};
    answer->trace_off = false;
    if (token->kind == SALVO_JSON_NULL)
        return 0;
    if (token->kind != SALVO_JSON_OBJECT)
        return salvo_raise(-EBADMSG);
    for (uint32_t i = 0; i < token->children; i++) {
        if (token_text(json, key + 1).text != NULL && ++fields > SALVO_EXT_FIELDS_MAX)
            return salvo_raise(-EBADMSG);
        general_ext_pair(read, json, key);
        key = json->tokens[key + 1].next;
    }
    return 0;
}

static int general_pair(struct salvo_answer_read *read, const struct salvo_json *json, uint32_t key,
                        unsigned *keys)
{
    struct salvo_send_answer *answer = read->answer;

    if (salvo_json_equals(json, key, "code")) {
        *keys |= KEY_CODE;
        return token_int32(json, key + 1, &answer->code);
    }
    if (salvo_json_equals(json, key, "opaque")) {
        *keys |= KEY_OPAQUE;
        return token_int32(json, key + 1, &answer->opaque);
    }
    if (salvo_json_equals(json, key, "flag"))
        return token_int32(json, key + 1, &answer->flag);
    if (salvo_json_equals(json, key, "version"))
        return token_int32(json, key + 1, &answer->version);
    if (salvo_json_equals(json, key, "remark")) {
        answer->remark = token_text(json, key + 1);
        answer->remark_escaped = json->tokens[key + 1].escaped;
    }
    if (salvo_json_equals(json, key, "extFields"))
        return general_ext(read, json, key + 1);
    return 0;
}

static int answer_read_json(struct salvo_answer_read *read, const uint8_t *header, size_t size)
{
    struct salvo_json_token tokens[TOKENS_MAX];
    struct salvo_json json;
    unsigned keys = 0;
    uint32_t key = 1;

    if (salvo_json_parse(&json, header, size, tokens, TOKENS_MAX, NULL) ||
        tokens[0].kind != SALVO_JSON_OBJECT)
        return salvo_raise(-EBADMSG);
    for (uint32_t i = 0; i < tokens[0].children; i++) {
        int r = general_pair(read, &json, key, &keys);

        if (r)
            return salvo_trace(r);
        key = tokens[key + 1].next;
    }
    if ((keys & KEY_CODE) == 0 || (keys & KEY_OPAQUE) == 0)
        return salvo_raise(-EBADMSG);
    read->answer->has_offset = read->seen == SEEN_ALL;
    return 0;
}

int salvo_answer_read_noted(struct salvo_answer_read *read, const struct salvo_frame *frame)
{
    struct salvo_send_answer *answer = read->answer;
    int r;

    *answer = (struct salvo_send_answer){0};
    if (frame->form == SALVO_HEADER_BINARY)
        return answer_read_binary(read, frame->header, frame->header_size);
    if (answer_scan_json(read, frame->header, frame->header_size))
        return 0;
    *answer = (struct salvo_send_answer){0};
    *read = (struct salvo_answer_read){.answer = answer};
    r = answer_read_json(read, frame->header, frame->header_size);
    return r ? salvo_trace(r) : 0;
}

int salvo_send_answer_read(struct salvo_send_answer *ret_answer, const struct salvo_frame *frame)
{
    struct salvo_answer_read read = {.answer = ret_answer};

    return salvo_answer_read_noted(&read, frame);
}

/* --- offset message ids ---------------------------------------------------------------------- */

typedef uint8_t digits_16 __attribute__((vector_size(16)));
typedef uint16_t pairs_8 __attribute__((vector_size(16)));
typedef uint8_t bytes_8 __attribute__((vector_size(8)));

/* Sixteen hex digits at once: *bad gets a bit where one is none. */
static inline uint64_t hex_16_read(const char *text, digits_16 *bad)
{
    digits_16 digits, letters, is_digit, is_letter, values;
    pairs_8 pairs;
    bytes_8 bytes;

    memcpy(&digits, text, sizeof(digits));
    letters = (digits | 0x20) - 'a';
    digits -= '0';
    is_digit = (digits_16)(digits < 10);
    is_letter = (digits_16)(letters < 6);
    *bad |= ~(is_digit | is_letter);
    values = (digits & is_digit) | ((letters + 10) & is_letter);
    /* A pair is | first digit | second | in memory: a byte of the number. */
    memcpy(&pairs, &values, sizeof(pairs));
    pairs = (pairs << 4 | pairs >> 8) & 0xff;
    bytes = __builtin_convertvector(pairs, bytes_8);
    return salvo_load_be64(&bytes);
}

int salvo_offset_msg_id_read(struct salvo_text msg_id, struct salvo_offset_msg_id *ret_id)
{
    bool v4 = msg_id.size == SALVO_OFFSET_MSG_ID_V4_SIZE;
    digits_16 bad = {0};
    uint64_t first, last, bad_bits[2];

    if (msg_id.text == NULL || (!v4 && msg_id.size != SALVO_OFFSET_MSG_ID_V6_SIZE))
        return salvo_raise(-EINVAL);
    last = hex_16_read(msg_id.text + msg_id.size - 16, &bad);
    first = hex_16_read(msg_id.text, &bad); /* v4: address and port */
    if (!v4) {
        (void)hex_16_read(msg_id.text + 16, &bad);
        first = hex_16_read(msg_id.text + 24, &bad); /* end of address, and port */
    }
    memcpy(bad_bits, &bad, sizeof(bad_bits));
    if ((bad_bits[0] | bad_bits[1]) != 0)
        return salvo_raise(-EINVAL);
    *ret_id = (struct salvo_offset_msg_id){
        .commit_log_offset = last,
        .port = (uint32_t)first,
        .ip4 = v4 ? (uint32_t)(first >> 32) : 0,
        .ip_size = v4 ? 4 : 16,
    };
    return 0;
}
