/* The retry table: see retry.h. */
#include "dataplane/retry.h"

#include "base/assert.h"
#include "codec/remoting.h"

/* ResponseCode -> what it means for a send. Codes that are not here fail at once, as in Java. */
static const struct retry_code {
    int32_t code;
    bool again;
    bool stored; /* 0, 10, 11, 12: the message is on the master */
    bool busy;
    bool route_stale;
    enum salvo_code good;
} retry_codes[] = {
    {SALVO_RESPONSE_SUCCESS, false, true, false, false, SALVO_OK},
    {SALVO_RESPONSE_FLUSH_DISK_TIMEOUT, false, true, false, false, SALVO_OK_FLUSH_DISK_TIMEOUT},
    {SALVO_RESPONSE_SLAVE_NOT_AVAILABLE, false, true, false, false, SALVO_OK_SLAVE_NOT_AVAILABLE},
    {SALVO_RESPONSE_FLUSH_SLAVE_TIMEOUT, false, true, false, false, SALVO_OK_FLUSH_SLAVE_TIMEOUT},
    {SALVO_RESPONSE_TOPIC_NOT_EXIST, true, false, false, true, SALVO_OK},
    {SALVO_RESPONSE_SERVICE_NOT_AVAILABLE, true, false, false, false, SALVO_OK},
    {SALVO_RESPONSE_SYSTEM_ERROR, true, false, false, false, SALVO_OK},
    {SALVO_RESPONSE_SYSTEM_BUSY, true, false, true, false, SALVO_OK},
    {SALVO_RESPONSE_FLOW_CONTROL, true, false, true, false, SALVO_OK},
    {SALVO_RESPONSE_NO_PERMISSION, true, false, false, true, SALVO_OK},
    {SALVO_RESPONSE_NO_BUYER_ID, true, false, false, false, SALVO_OK},
    {SALVO_RESPONSE_NOT_IN_CURRENT_UNIT, true, false, false, false, SALVO_OK},
    {SALVO_RESPONSE_GO_AWAY, true, false, false, false, SALVO_OK},
    /* Not retried, but the route we used is out of date. */
    {SALVO_RESPONSE_INVALID_PARAMETER, false, false, false, true, SALVO_OK},
};

static const struct retry_code *retry_code_find(int32_t code)
{
    static const struct retry_code unknown = {.code = -1};

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(retry_codes); i++)
        if (retry_codes[i].code == code)
            return &retry_codes[i];
    return &unknown;
}

static enum salvo_stored retry_stored(bool maybe)
{
    return maybe ? SALVO_STORED_UNKNOWN : SALVO_STORED_NO;
}

static struct salvo_retry_decision retry_answered(const struct salvo_retry_input *input)
{
    const struct retry_code *row = retry_code_find(input->code);
    bool left = input->time_left && input->tries < input->tries_max;
    struct salvo_retry_decision d = {
        .stored_maybe = input->stored_maybe,
        .busy = row->busy,
        .route_stale = row->route_stale,
        .go_away = input->code == SALVO_RESPONSE_GO_AWAY,
    };

    if (row->stored) {
        d.action = SALVO_RETRY_GOOD;
        d.code = row->good;
        d.stored = SALVO_STORED_YES;
        if (input->code != SALVO_RESPONSE_SUCCESS && input->stored_ok_elsewhere && left &&
            !input->queue_fixed) {
            d.action = SALVO_RETRY_ELSEWHERE;
            d.stored_maybe = true;
        }
        return d;
    }
    if (input->code == SALVO_RESPONSE_MESSAGE_ILLEGAL && input->batch && input->time_left) {
        d.action = SALVO_RETRY_SPLIT;
        return d;
    }
    if (row->again && left) {
        d.action = input->queue_fixed ? SALVO_RETRY_SAME : SALVO_RETRY_ELSEWHERE;
        return d;
    }
    d.action = SALVO_RETRY_FAIL;
    d.code = SALVO_REFUSED;
    d.stored = retry_stored(input->stored_maybe);
    return d;
}

struct salvo_retry_decision salvo_retry_decide(const struct salvo_retry_input *input)
{
    struct salvo_retry_decision d = {.stored_maybe = input->stored_maybe};

    if (input->end == SALVO_TRY_ANSWERED)
        return retry_answered(input);
    if (input->end != SALVO_TRY_NOT_SENT)
        d.stored_maybe = true;
    if (input->time_left && (input->end == SALVO_TRY_NOT_SENT || input->tries < input->tries_max)) {
        d.action = input->queue_fixed ? SALVO_RETRY_SAME : SALVO_RETRY_ELSEWHERE;
        return d;
    }
    d.action = SALVO_RETRY_FAIL;
    d.stored = retry_stored(d.stored_maybe);
    if (input->end == SALVO_TRY_TIMED_OUT)
        d.code = SALVO_TIMED_OUT;
    else if (input->end == SALVO_TRY_LOST)
        d.code = SALVO_CONNECTION_LOST;
    else
        d.code = d.stored_maybe ? SALVO_TIMED_OUT : SALVO_TIMED_OUT_UNSENT;
    return d;
}
