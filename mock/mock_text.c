/* What the command line needs of the mock: names into settings, statistics into lines. */
#include "mock/mock_internal.h"
#include "codec/message.h"

int salvo_mock_topic_parse(const char *text, struct salvo_mock_topic *ret_topic, char *errbuf,
                           size_t errbuf_size)
{
    struct salvo_mock_topic topic = {.queues = 4};
    const char *colon = strrchr(text, ':');
    size_t size = colon != NULL ? (size_t)(colon - text) : strlen(text);
    int64_t queues = 4;
    int refusal;

    if (colon != NULL && (salvo_parse_decimal(colon + 1, strlen(colon + 1), &queues) ||
                          queues < 1 || queues > SALVO_MOCK_QUEUES_MAX)) {
        snprintf(errbuf, errbuf_size,
                 "the number of queues behind the colon must be 1 to %u, as in Orders:8",
                 SALVO_MOCK_QUEUES_MAX);
        return salvo_raise(-EINVAL);
    }
    refusal = salvo_topic_check(text, size);
    if (refusal != 0) {
        snprintf(errbuf, errbuf_size, "%s", salvo_topic_refusal_text(refusal));
        return salvo_raise(-EINVAL);
    }
    static_assert(SALVO_TOPIC_SIZE_MAX < sizeof(topic.name), "a checked name fits");
    memcpy(topic.name, text, size);
    topic.queues = (uint32_t)queues;
    *ret_topic = topic;
    return 0;
}

int salvo_mock_generation_parse(const char *text, enum salvo_mock_generation *ret_generation)
{
    if (strcmp(text, "5.3.3") == 0)
        *ret_generation = SALVO_MOCK_5_3_3;
    else if (strcmp(text, "4.9.7") == 0)
        *ret_generation = SALVO_MOCK_4_9_7;
    else if (strcmp(text, "4.7.1") == 0)
        *ret_generation = SALVO_MOCK_4_7_1;
    else
        return salvo_raise(-EINVAL);
    return 0;
}

int salvo_mock_form_parse(const char *text, enum salvo_mock_form *ret_form)
{
    if (strcmp(text, "request") == 0)
        *ret_form = SALVO_MOCK_FORM_AS_REQUEST;
    else if (strcmp(text, "json") == 0)
        *ret_form = SALVO_MOCK_FORM_JSON;
    else if (strcmp(text, "binary") == 0)
        *ret_form = SALVO_MOCK_FORM_BINARY;
    else
        return salvo_raise(-EINVAL);
    return 0;
}

void salvo_mock_stats(struct salvo_mock *mock, struct salvo_mock_stats *ret_stats)
{
    mock_lock(mock);
    *ret_stats = mock->stats;
    mock_unlock(mock);
}

size_t salvo_mock_stats_text(struct salvo_mock *mock, char *ret_text, size_t size)
{
    struct salvo_mock_stats s;
    int n;

    salvo_mock_stats(mock, &s);
#define N(field) ((unsigned long long)s.field)
    n = snprintf(
        ret_text, size,
        "connections  %llu now, %llu accepted, %llu refused, %llu closed for bad frames, %llu for "
        "unread answers, %llu idle\n"
        "bytes        %llu in, %llu out\n"
        "requests     %llu: %llu sends (%llu batches), %llu routes, %llu heartbeats (%llu empty), "
        "%llu unregisters, %llu unknown, %llu one-way\n"
        "messages     %llu stored, %llu of them forgotten; %llu sends refused; %llu topics "
        "created\n"
        "faults       %llu requests hit\n",
        N(connections_now), N(connections_accepted), N(connections_refused), N(connections_bad),
        N(connections_unread), N(connections_idle), N(bytes_in), N(bytes_out), N(requests),
        N(sends), N(batches), N(routes), N(heartbeats), N(heartbeats_empty), N(unregisters),
        N(unknown_codes), N(oneways), N(messages), N(forgotten), N(refused), N(topics_created),
        N(faults));
#undef N
    return SALVO_MIN((size_t)SALVO_MAX(n, 0), size > 0 ? size - 1 : 0);
}
