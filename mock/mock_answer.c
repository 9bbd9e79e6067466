/* From a whole frame to its answer: header read, fault looked up, request carried out, answer
 * written in the form asked for; on time, late, twice, in half or never. */
#include "mock/mock_internal.h"

#include <stdarg.h>

/* --- the answer in the making ----------------------------------------------------------------- */

struct salvo_text mock_answer_number(struct salvo_mock *mock, int64_t value)
{
    const uint8_t *at = mock->text.at;

    salvo_write_decimal(&mock->text, value);
    if (mock->text.failed)
        return (struct salvo_text){NULL, 0};
    return (struct salvo_text){(const char *)at, (uint32_t)(mock->text.at - at)};
}

void mock_answer_code(struct salvo_mock *mock, int32_t code, const char *remark, ...)
{
    char *at = (char *)mock->text.at;
    size_t room = salvo_writer_room(&mock->text);
    va_list args;
    int n;

    mock->answer.header.code = code;
    mock->answer.header.remark = (struct salvo_text){NULL, 0};
    if (remark == NULL)
        return;
    va_start(args, remark);
    n = vsnprintf(at, room, remark, args);
    va_end(args);
    if (n < 0 || (size_t)n >= room)
        return;
    mock->text.at += n;
    mock->answer.header.remark = (struct salvo_text){at, (uint32_t)n};
}

void mock_answer_add(struct salvo_mock *mock, const char *key, struct salvo_text value)
{
    mock->answer.header.has_ext = true;
    if (!salvo_header_add(&mock->answer.header, key, value))
        salvo_unreachable(); /* we add fewer than ten */
}

static void answer_begin(struct salvo_mock *mock)
{
    struct salvo_header *header = &mock->answer.header;

    mock->text = salvo_writer_over(mock->text_bytes, MOCK_ANSWER_MAX);
    mock->answer.none = false;
    mock->answer.body = NULL;
    mock->answer.body_size = 0;
    header->code = SALVO_RESPONSE_SUCCESS;
    header->language = SALVO_LANGUAGE_JAVA;
    header->version = mock_version(mock->conf.generation);
    header->opaque = mock->request.header.opaque;
    header->flag = SALVO_REMOTING_RESPONSE;
    header->remark = (struct salvo_text){NULL, 0};
    header->has_ext = false;
    header->ext_count = 0;
}

/* --- late answers: a binary heap by (due, sequence) ------------------------------------------- */

static bool late_before(const struct mock_late *a, const struct mock_late *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->sequence < b->sequence;
}

static void late_swap(struct mock_late *a, struct mock_late *b)
{
    struct mock_late keep = *a;

    *a = *b;
    *b = keep;
}

/* False: no room; the caller answers at once. */
static bool late_add(struct salvo_mock *mock, struct mock_conn *conn, int64_t delay_ms,
                     const uint8_t *bytes, size_t size, bool close)
{
    struct mock_late late = {
        .due_ns = mock->now_ns + delay_ms * SALVO_NS_PER_MS,
        .sequence = mock->late_sequence++,
        .conn = conn->index,
        .generation = conn->generation,
        .size = size,
        .close = close,
    };
    uint32_t i = mock->late_count;

    if (i == MOCK_LATE_MAX || mock->late_bytes + size > MOCK_LATE_BYTES_MAX)
        return false;
    if (size > 0) {
        late.bytes = malloc(size);
        if (late.bytes == NULL)
            return false;
        memcpy(late.bytes, bytes, size);
    }
    mock->late_bytes += size;
    mock->late_count++;
    mock->late[i] = late;
    for (; i > 0 && late_before(&mock->late[i], &mock->late[(i - 1) / 2]); i = (i - 1) / 2)
        late_swap(&mock->late[i], &mock->late[(i - 1) / 2]);
    return true;
}

static struct mock_late late_take(struct salvo_mock *mock)
{
    struct mock_late first = mock->late[0];
    uint32_t i = 0;

    mock->late[0] = mock->late[--mock->late_count];
    mock->late_bytes -= first.size;
    for (;;) {
        uint32_t least = i, left = 2 * i + 1;

        if (left < mock->late_count && late_before(&mock->late[left], &mock->late[least]))
            least = left;
        if (left + 1 < mock->late_count && late_before(&mock->late[left + 1], &mock->late[least]))
            least = left + 1;
        if (least == i)
            return first;
        late_swap(&mock->late[i], &mock->late[least]);
        i = least;
    }
}

static void answer_put(struct salvo_mock *mock, struct mock_conn *conn, const uint8_t *bytes,
                       size_t size, bool close)
{
    if (size > 0)
        mock_conn_write(mock, conn, bytes, size);
    else if (close)
        mock_conn_close(mock, conn); /* also what it still had to read is lost */
    if (close)
        mock_conn_close_when_released(mock, conn);
}

void mock_answer_late(struct salvo_mock *mock)
{
    while (mock->late_count > 0 && mock->late[0].due_ns <= mock->now_ns) {
        struct mock_late late = late_take(mock);
        struct mock_conn *conn = &mock->conns[late.conn];

        if (conn->state == MOCK_CONN_UP && conn->generation == late.generation)
            answer_put(mock, conn, late.bytes, late.size, late.close);
        free(late.bytes);
    }
}

void mock_answer_late_forget(struct salvo_mock *mock)
{
    while (mock->late_count > 0)
        free(mock->late[--mock->late_count].bytes);
    mock->late_bytes = 0;
}

/* --- with and without a fault ----------------------------------------------------------------- */

static enum salvo_header_form answer_form(const struct salvo_mock *mock)
{
    switch (mock->conf.answer_form) {
    case SALVO_MOCK_FORM_JSON:
        return SALVO_HEADER_JSON;
    case SALVO_MOCK_FORM_BINARY:
        return SALVO_HEADER_BINARY;
    case SALVO_MOCK_FORM_AS_REQUEST:
        break;
    }
    return mock->request.frame.form;
}

static bool answer_stored_code(int32_t code)
{
    return code == SALVO_RESPONSE_FLUSH_DISK_TIMEOUT ||
           code == SALVO_RESPONSE_SLAVE_NOT_AVAILABLE || code == SALVO_RESPONSE_FLUSH_SLAVE_TIMEOUT;
}

/* Is the request carried out all the same? */
static bool fault_carries_out(const struct salvo_mock_fault *fault)
{
    switch (fault->kind) {
    case SALVO_MOCK_FAULT_CODE:
        return fault->stored || answer_stored_code(fault->code);
    case SALVO_MOCK_FAULT_DROP:
    case SALVO_MOCK_FAULT_RESET:
    case SALVO_MOCK_FAULT_HALF:
    case SALVO_MOCK_FAULT_SILENCE:
    case SALVO_MOCK_FAULT_GO_AWAY:
        return fault->stored;
    default:
        return true;
    }
}

static void fault_code(struct salvo_mock *mock, int32_t code, const char *remark)
{
    struct salvo_header *header = &mock->answer.header;

    mock->answer.none = false;
    if (answer_stored_code(code)) {
        if (header->code == SALVO_RESPONSE_SUCCESS) /* a check that refused it stands */
            header->code = code;
        return;
    }
    header->ext_count = 0;
    header->has_ext = false;
    mock->answer.body_size = 0;
    mock_answer_code(mock, code, remark[0] != '\0' ? "%s" : NULL, remark);
}

static void fault_host(struct salvo_mock *mock, const struct salvo_mock_fault *fault)
{
    struct mock_host *host = &mock->hosts[mock->request.conn->host];
    int64_t until_ns =
        fault->delay_ms == 0 ? INT64_MAX : mock->now_ns + fault->delay_ms * SALVO_NS_PER_MS;

    if (fault->kind == SALVO_MOCK_FAULT_SILENCE) {
        host->silent_until_ns = until_ns;
    } else {
        host->slow_until_ns = fault->delay_ms == 0 ? 0 : until_ns;
        host->slow_times += host->slow_rate != fault->rate;
        host->slow_rate = fault->rate;
    }
}

/* What the fault makes of the answer, but for half, twice, reset and late. */
static void fault_change(struct salvo_mock *mock, const struct salvo_mock_fault *fault,
                         enum salvo_header_form *form)
{
    struct salvo_header *header = &mock->answer.header;

    switch (fault->kind) {
    case SALVO_MOCK_FAULT_CODE:
        fault_code(mock, fault->code, fault->remark);
        break;
    case SALVO_MOCK_FAULT_GO_AWAY:
        fault_code(mock, SALVO_RESPONSE_GO_AWAY, "please go away");
        break;
    case SALVO_MOCK_FAULT_DROP:
        mock->answer.none = true;
        break;
    case SALVO_MOCK_FAULT_SILENCE:
        mock->answer.none = true;
        fault_host(mock, fault);
        break;
    case SALVO_MOCK_FAULT_SLOW:
        fault_host(mock, fault);
        break;
    case SALVO_MOCK_FAULT_WRONG_OPAQUE:
        header->opaque = ~header->opaque; /* below 0: no client has given it */
        break;
    case SALVO_MOCK_FAULT_NO_EXT:
        header->ext_count = 0;
        header->has_ext = false;
        break;
    case SALVO_MOCK_FAULT_JSON:
        *form = SALVO_HEADER_JSON;
        break;
    case SALVO_MOCK_FAULT_BINARY:
        *form = SALVO_HEADER_BINARY;
        break;
    default:
        break;
    }
}

static void answer_out(struct salvo_mock *mock, const struct salvo_mock_fault *fault)
{
    struct mock_conn *conn = mock->request.conn;
    enum salvo_header_form form = answer_form(mock);
    bool close = false;
    ssize_t size = 0;
    int64_t delay_ms = 0;

    if (fault != NULL) {
        fault_change(mock, fault, &form);
        close = fault->kind == SALVO_MOCK_FAULT_RESET || fault->kind == SALVO_MOCK_FAULT_HALF;
        if (fault->kind != SALVO_MOCK_FAULT_SLOW)
            delay_ms = fault->delay_ms;
    }
    if (!mock->answer.none && !mock->request.oneway &&
        (fault == NULL || fault->kind != SALVO_MOCK_FAULT_RESET)) {
        size = salvo_frame_write(mock->wire, MOCK_WIRE_MAX, form, &mock->answer.header,
                                 mock->answer.body, mock->answer.body_size);
        salvo_assert(size > 0);
    }
    if (fault != NULL && fault->kind == SALVO_MOCK_FAULT_HALF)
        size /= 2;
    if (size == 0 && !close)
        return;
    for (int i = 0; i < (fault != NULL && fault->kind == SALVO_MOCK_FAULT_TWICE ? 2 : 1); i++) {
        if (delay_ms == 0 || !late_add(mock, conn, delay_ms, mock->wire, (size_t)size, close))
            answer_put(mock, conn, mock->wire, (size_t)size, close);
    }
}

bool mock_answer_frame(struct salvo_mock *mock, struct mock_conn *conn,
                       const struct salvo_frame *frame)
{
    struct mock_request *request = &mock->request;
    struct salvo_mock_fault fault;
    bool hit;

    if (salvo_header_read(&request->header, frame->form, frame->header, frame->header_size,
                          mock->scratch, mock->scratch_size))
        return false;
    if (request->header.flag & SALVO_REMOTING_RESPONSE)
        return true; /* we ask nothing, so it answers nothing */
    request->conn = conn;
    request->frame = *frame;
    request->oneway = (request->header.flag & SALVO_REMOTING_ONEWAY) != 0;
    mock->stats.requests++;
    mock->stats.oneways += request->oneway;
    answer_begin(mock);
    hit = mock->hosts[conn->host].faults != 0 &&
          mock_fault_match(mock, conn->host, request->header.code, &fault);
    if (!hit || fault_carries_out(&fault)) {
        if (mock->hosts[conn->host].nameserver)
            mock_nameserver_request(mock);
        else
            mock_broker_request(mock);
    }
    answer_out(mock, hit ? &fault : NULL);
    return true;
}
