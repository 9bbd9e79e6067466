/* The retry decision, and nothing else: a pure function of what happened and what is left.
 *
 * DefaultMQProducerImpl.sendDefaultImpl and its retry set (protocol reference 7.1, the set
 * of 5.3.1: 17, 14, 1, 16, 204, 205, 2, 1500), with these differences, on purpose: a frame that was
 * never wholly handed to the network is no try; a pinned queue is tried again on that queue; a
 * batch refused as illegal (13) is taken apart, so that one bad item fails alone. */
#pragma once

#include "base/base.h"

#include <salvo.h>

enum salvo_try_end {
    SALVO_TRY_ANSWERED,  /* `code` is the broker's */
    SALVO_TRY_TIMED_OUT, /* handed over (at least in part), and no answer in time */
    SALVO_TRY_LOST,      /* the connection died when the whole frame had been handed over */
    SALVO_TRY_NOT_SENT,  /* the connection died before that: not stored by this try */
};

enum salvo_retry_action {
    SALVO_RETRY_GOOD,      /* stored: result `code` */
    SALVO_RETRY_SAME,      /* again on the same queue */
    SALVO_RETRY_ELSEWHERE, /* again, another broker preferred */
    SALVO_RETRY_SPLIT,     /* each item of the batch on its own */
    SALVO_RETRY_FAIL,      /* result `code` */
};

struct salvo_retry_input {
    enum salvo_try_end end;
    int32_t code;   /* response code when answered */
    uint32_t tries; /* transmissions so far, this one included unless NOT_SENT */
    uint32_t tries_max;
    bool time_left;           /* the budget is not used up */
    bool queue_fixed;         /* ordered, or the caller named the queue */
    bool batch;               /* more than one item */
    bool stored_maybe;        /* an earlier try may have stored it */
    bool stored_ok_elsewhere; /* retryAnotherBrokerWhenNotStoreOK */
};

struct salvo_retry_decision {
    enum salvo_retry_action action;
    enum salvo_code code;     /* GOOD and FAIL */
    enum salvo_stored stored; /* GOOD and FAIL */
    bool stored_maybe;        /* for the next try: this or an earlier one may have stored it */
    bool busy;        /* the broker is overloaded: halve the window, pause before the same one */
    bool route_stale; /* ask for the topic's route */
    bool go_away;     /* the broker wants the connection closed */
};

struct salvo_retry_decision salvo_retry_decide(const struct salvo_retry_input *input);
