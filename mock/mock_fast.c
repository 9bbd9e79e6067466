/* answer_only: sends are answered from a template as fast as this side can, so that a benchmark
 * measures the sender.
 *
 * Of a send only the prefix, the code, opaque and the one-way bit are read, its body is passed over
 * without being gathered; in a batch the items' totalSize fields are walked to count them, and the
 * answer lists one id per item (pre-built text), as a broker's does. Everything else, and every
 * request of a host that has fault steps, takes the ordinary way. */
#include "mock/mock_internal.h"

#define FAST_IDS_MAX       16384u /* ids listed at most; a 32 KiB batch has 1,400 */
#define FAST_OPAQUE_DIGITS 11u

/* --- templates -------------------------------------------------------------------------------- */

static void fast_template(struct salvo_mock *mock, enum salvo_header_form form)
{
    static const char opaque_mark[] = "\"opaque\":";
    struct mock_template *t = &mock->templates[form];
    struct salvo_header header = {
        .language = SALVO_LANGUAGE_JAVA,
        .version = mock_version(mock->conf.generation),
        .flag = SALVO_REMOTING_RESPONSE,
        .has_ext = true,
    };
    char json[sizeof(t->bytes)];
    ssize_t size;
    char *mark;

    salvo_header_add(&header, "queueId", SALVO_TEXT("0"));
    salvo_header_add(&header, "msgId", (struct salvo_text){mock->ids, MOCK_ID_SIZE});
    salvo_header_add(&header, "TRACE_ON", SALVO_TEXT("true"));
    salvo_header_add(&header, "MSG_REGION", SALVO_TEXT("DefaultRegion"));
    salvo_header_add(&header, "queueOffset", SALVO_TEXT("0"));
    size =
        salvo_frame_write(t->bytes, sizeof(t->bytes) - FAST_OPAQUE_DIGITS, form, &header, NULL, 0);
    salvo_assert(size > 0);
    t->size = (uint32_t)size;
    if (form == SALVO_HEADER_BINARY) {
        t->opaque_at = SALVO_FRAME_PREFIX_SIZE + 5;
    } else { /* the one digit of opaque makes room for eleven, blanks in front */
        mark = memmem(t->bytes, t->size, opaque_mark, sizeof(opaque_mark) - 1);
        salvo_assert(mark != NULL);
        t->opaque_at = (uint32_t)((uint8_t *)mark - t->bytes) + (uint32_t)sizeof(opaque_mark) - 1;
        memcpy(json, t->bytes, t->size);
        memset(t->bytes + t->opaque_at, ' ', FAST_OPAQUE_DIGITS);
        memcpy(t->bytes + t->opaque_at + FAST_OPAQUE_DIGITS, json + t->opaque_at + 1,
               t->size - t->opaque_at - 1);
        t->size += FAST_OPAQUE_DIGITS - 1;
        salvo_frame_write_prefix(t->bytes, form, t->size - SALVO_FRAME_PREFIX_SIZE, 0);
    }
    t->ids_at =
        (uint32_t)((uint8_t *)memmem(t->bytes, t->size, mock->ids, MOCK_ID_SIZE) - t->bytes);
}

int mock_fast_init(struct salvo_mock *mock)
{
    size_t id_size = MOCK_ID_SIZE + 1;

    mock->ids = malloc(FAST_IDS_MAX * id_size + 1);
    if (mock->ids == NULL)
        return salvo_raise(-ENOMEM);
    for (uint32_t i = 0; i < FAST_IDS_MAX; i++)
        snprintf(mock->ids + i * id_size, id_size + 1, "7F00000100002A9F%016X,", i * 256);
    fast_template(mock, SALVO_HEADER_JSON);
    fast_template(mock, SALVO_HEADER_BINARY);
    return 0;
}

/* --- answers ---------------------------------------------------------------------------------- */

static void fast_write_opaque(uint8_t *at, enum salvo_header_form form, int32_t opaque)
{
    uint32_t n = opaque < 0 ? 0u - (uint32_t)opaque : (uint32_t)opaque;
    unsigned i = FAST_OPAQUE_DIGITS;

    if (form == SALVO_HEADER_BINARY) {
        salvo_store_be32(at, (uint32_t)opaque);
        return;
    }
    do {
        at[--i] = (uint8_t)('0' + n % 10);
        n /= 10;
    } while (n != 0);
    if (opaque < 0)
        at[--i] = '-';
    memset(at, ' ', i);
}

/* A template with more ids than the one it has: lengths in front of them are set anew. */
static void fast_answer_list(struct salvo_mock *mock, struct mock_conn *conn,
                             enum salvo_header_form form, int32_t opaque, uint32_t items)
{
    const struct mock_template *t = &mock->templates[form];
    uint32_t ids_size = items * (MOCK_ID_SIZE + 1) - 1;
    uint32_t more = ids_size - MOCK_ID_SIZE;
    uint32_t tail_at = t->ids_at + MOCK_ID_SIZE;
    uint8_t head[sizeof(t->bytes)];
    uint8_t tail[sizeof(t->bytes)];

    memcpy(head, t->bytes, t->ids_at);
    memcpy(tail, t->bytes + tail_at, t->size - tail_at);
    salvo_frame_write_prefix(head, form, t->size + more - SALVO_FRAME_PREFIX_SIZE, 0);
    if (form == SALVO_HEADER_BINARY) {
        uint8_t *ext_size = head + SALVO_FRAME_PREFIX_SIZE + 17;

        fast_write_opaque(head + t->opaque_at, form, opaque);
        salvo_store_be32(ext_size, salvo_load_be32(ext_size) + more);
        salvo_store_be32(head + t->ids_at - 4, ids_size);
    } else {
        salvo_assert(t->opaque_at > tail_at); /* extFields come before opaque */
        fast_write_opaque(tail + (t->opaque_at - tail_at), form, opaque);
    }
    mock_conn_write(mock, conn, head, t->ids_at);
    mock_conn_write(mock, conn, (const uint8_t *)mock->ids, ids_size);
    mock_conn_write(mock, conn, tail, t->size - tail_at);
}

static enum salvo_header_form fast_form(const struct salvo_mock *mock, enum salvo_header_form asked)
{
    switch (mock->conf.answer_form) {
    case SALVO_MOCK_FORM_JSON:
        return SALVO_HEADER_JSON;
    case SALVO_MOCK_FORM_BINARY:
        return SALVO_HEADER_BINARY;
    case SALVO_MOCK_FORM_AS_REQUEST:
        break;
    }
    return asked;
}

static void fast_answer(struct salvo_mock *mock, struct mock_conn *conn)
{
    const struct mock_fast_state *fast = &conn->fast;
    enum salvo_header_form form = fast_form(mock, fast->form);
    const struct mock_template *t = &mock->templates[form];
    uint32_t items = fast->batch ? SALVO_CLAMP(fast->items, 1u, FAST_IDS_MAX) : 1;
    uint8_t *at;

    mock->stats.messages += fast->batch ? fast->items : 1;
    if (fast->oneway)
        return;
    if (items > 1 && !mock->conf.answer_one_id) {
        fast_answer_list(mock, conn, form, fast->opaque, items);
        return;
    }
    at = mock_conn_reserve(mock, conn, t->size);
    if (at == NULL)
        return;
    memcpy(at, t->bytes, t->size);
    fast_write_opaque(at + t->opaque_at, form, fast->opaque);
    mock_conn_commit(mock, conn, t->size);
}

/* --- requests --------------------------------------------------------------------------------- */

/* A lying size only miscounts: at least the field itself is passed over. */
static uint32_t fast_item_left(uint32_t size)
{
    return size > 4 ? size - 4 : 1;
}

/* Counts batch items in a piece of the body: only their totalSize fields are looked at. One that is
 * cut by the end of the piece is gathered byte by byte. */
static void fast_walk(struct mock_fast_state *fast, const uint8_t *bytes, size_t size)
{
    size_t at = (size_t)SALVO_MIN((uint64_t)fast->item_left, (uint64_t)size);

    fast->item_left -= (uint32_t)at;
    while (at < size) {
        size_t left;

        if (fast->size_bytes == 0 && size - at >= 4) {
            fast->item_left = fast_item_left(salvo_load_be32(bytes + at));
            at += 4;
            fast->items++;
        } else {
            fast->size = fast->size << 8 | bytes[at++];
            if (++fast->size_bytes < 4)
                continue;
            fast->item_left = fast_item_left(fast->size);
            fast->size = fast->size_bytes = 0;
            fast->items++;
        }
        left = SALVO_MIN((size_t)fast->item_left, size - at);
        at += left;
        fast->item_left -= (uint32_t)left;
    }
}

static size_t fast_take_body(struct salvo_mock *mock, struct mock_conn *conn, const uint8_t *bytes,
                             size_t size)
{
    struct mock_fast_state *fast = &conn->fast;
    size_t n = (size_t)SALVO_MIN(fast->body_left, (uint64_t)size);

    if (fast->batch)
        fast_walk(fast, bytes, n);
    fast->body_left -= n;
    if (fast->body_left == 0) {
        fast->in_body = false;
        fast_answer(mock, conn);
    }
    return n;
}

/* Where the mark begins, "key": as it stands in a header. Jumps from quote to quote, which is
 * cheaper than memmem here. */
static const uint8_t *fast_json_find(const uint8_t *at, const uint8_t *end, const char *mark,
                                     size_t mark_size)
{
    while ((size_t)(end - at) > mark_size) {
        at = memchr(at, '"', (size_t)(end - at) - mark_size);
        if (at == NULL || (at[1] == mark[1] && memcmp(at, mark, mark_size) == 0))
            return at;
        at++;
    }
    return NULL;
}

/* The number behind a JSON key. Inside strings quotes are escaped, so the mark cannot be met there;
 * the header's own keys stand at its ends, which are looked at first. */
static bool fast_json_number(const uint8_t *header, size_t size, const char *mark, bool from_end,
                             int32_t *ret_value)
{
    enum { NEAR = 110 }; /* what Java writes behind extFields, and room */
    size_t mark_size = strlen(mark);
    const uint8_t *end = header + size;
    const uint8_t *near = from_end && size > NEAR ? end - NEAR : header;
    const uint8_t *at = fast_json_find(near, end, mark, mark_size);
    int64_t value = 0;
    bool negative;

    if (at == NULL && near != header)
        at = fast_json_find(header, end, mark, mark_size);
    if (at == NULL)
        return false;
    at += mark_size;
    while (at < end && *at == ' ')
        at++;
    negative = at < end && *at == '-';
    if (negative)
        at++;
    if (at == end || *at < '0' || *at > '9')
        return false;
    for (; at < end && *at >= '0' && *at <= '9' && value < INT32_MAX; at++)
        value = value * 10 + (*at - '0');
    if (value > INT32_MAX)
        return false;
    *ret_value = (int32_t)(negative ? -value : value);
    return true;
}

static bool fast_read(const uint8_t *header, uint32_t size, struct mock_fast_state *fast,
                      int32_t *ret_code)
{
    int32_t flag;

    if (fast->form == SALVO_HEADER_BINARY) {
        if (size < 21)
            return false;
        *ret_code = (int16_t)salvo_load_be16(header);
        fast->opaque = (int32_t)salvo_load_be32(header + 5);
        flag = (int32_t)salvo_load_be32(header + 9);
    } else if (!fast_json_number(header, size, "\"code\":", false, ret_code) ||
               !fast_json_number(header, size, "\"opaque\":", true, &fast->opaque) ||
               !fast_json_number(header, size, "\"flag\":", true, &flag)) {
        return false;
    }
    fast->oneway = (flag & SALVO_REMOTING_ONEWAY) != 0;
    return (flag & SALVO_REMOTING_RESPONSE) == 0;
}

static bool fast_is_send(int32_t code)
{
    return code == SALVO_REQUEST_SEND_MESSAGE_V2 || code == SALVO_REQUEST_SEND_BATCH_MESSAGE ||
           code == SALVO_REQUEST_SEND_MESSAGE;
}

size_t mock_fast_need(const uint8_t *bytes, size_t size)
{
    size_t header_size;

    if (size < SALVO_FRAME_PREFIX_SIZE)
        return SALVO_FRAME_PREFIX_SIZE - size;
    header_size = salvo_load_be32(bytes + 4) & 0xffffff;
    if (size < SALVO_FRAME_PREFIX_SIZE + header_size)
        return SALVO_FRAME_PREFIX_SIZE + header_size - size;
    return SIZE_MAX;
}

size_t mock_fast_take(struct salvo_mock *mock, struct mock_conn *conn, const uint8_t *bytes,
                      size_t size)
{
    struct mock_fast_state *fast = &conn->fast;
    uint32_t length, word, header_size;
    int32_t code;

    if (fast->in_body)
        return fast_take_body(mock, conn, bytes, size);
    if (size < SALVO_FRAME_PREFIX_SIZE)
        return 0;
    length = salvo_load_be32(bytes);
    word = salvo_load_be32(bytes + 4);
    header_size = word & 0xffffff;
    if (length > mock->conf.frame_size_max - 4 || length < 4 + header_size || word >> 25 != 0)
        return 0; /* the ordinary parser says what is wrong */
    if (size < SALVO_FRAME_PREFIX_SIZE + header_size)
        return 0;
    fast->form = word >> 24 != 0 ? SALVO_HEADER_BINARY : SALVO_HEADER_JSON;
    if (!fast_read(bytes + SALVO_FRAME_PREFIX_SIZE, header_size, fast, &code) ||
        !fast_is_send(code))
        return 0;
    fast->batch = code == SALVO_REQUEST_SEND_BATCH_MESSAGE;
    fast->body_left = length - 4 - header_size;
    fast->items = fast->size = fast->size_bytes = 0;
    fast->item_left = 0;
    mock->stats.requests++;
    mock->stats.sends++;
    mock->stats.batches += fast->batch;
    mock->stats.oneways += fast->oneway;
    if (fast->body_left == 0)
        fast_answer(mock, conn);
    else
        fast->in_body = true;
    return SALVO_FRAME_PREFIX_SIZE + header_size;
}
