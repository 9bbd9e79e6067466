/* Faults: steps, and which of them a request meets. What a step does to the answer is in
 * mock_answer.c.
 *
 * Steps stand in order. A request is hit by the first one that names its host and code, has let
 * `after` others pass, and has hits left; a step that only counts a request as passed lets it go on
 * to the next step. A step is taken out when it is used up. */
#include "mock/mock_internal.h"

static bool fault_names(const struct salvo_mock_fault *fault, uint32_t host, int32_t request)
{
    if (fault->host != SALVO_MOCK_ALL && fault->host != host)
        return false;
    if (fault->request == SALVO_MOCK_REQUEST_ANY)
        return true;
    if (fault->request != SALVO_MOCK_REQUEST_SENDS)
        return fault->request == request;
    return request == SALVO_REQUEST_SEND_MESSAGE || request == SALVO_REQUEST_SEND_MESSAGE_V2 ||
           request == SALVO_REQUEST_SEND_BATCH_MESSAGE || request == 324 || request == 325;
}

/* Lets hosts without steps pass unlooked at. */
static void fault_count_hosts(struct salvo_mock *mock)
{
    for (uint32_t h = 0; h < mock->hosts_count; h++) {
        mock->hosts[h].faults = 0;
        for (uint32_t i = 0; i < mock->faults_count; i++) {
            uint32_t host = mock->faults[i].host;

            mock->hosts[h].faults += host == SALVO_MOCK_ALL || host == h;
        }
    }
}

static void fault_take_out(struct salvo_mock *mock, uint32_t index)
{
    mock->faults_count--;
    memmove(&mock->faults[index], &mock->faults[index + 1],
            (mock->faults_count - index) * sizeof(mock->faults[0]));
    fault_count_hosts(mock);
}

bool mock_fault_match(struct salvo_mock *mock, uint32_t host, int32_t request,
                      struct salvo_mock_fault *ret_fault)
{
    for (uint32_t i = 0; i < mock->faults_count; i++) {
        struct salvo_mock_fault *fault = &mock->faults[i];

        if (!fault_names(fault, host, request))
            continue;
        if (fault->after > 0) {
            fault->after--;
            continue;
        }
        mock->stats.faults++;
        mock->fault_hits[fault->kind]++;
        *ret_fault = *fault;
        if (fault->count > 0 && --fault->count == 0)
            fault_take_out(mock, i);
        return true;
    }
    return false;
}

int mock_fault_add(struct salvo_mock *mock, const struct salvo_mock_fault *fault)
{
    if (fault->kind >= SALVO_MOCK_FAULT_KINDS || fault->delay_ms < 0 ||
        fault->delay_ms > INT64_MAX / SALVO_NS_PER_MS / 4 ||
        fault->request < SALVO_MOCK_REQUEST_SENDS ||
        (fault->host != SALVO_MOCK_ALL && fault->host >= mock->hosts_count) ||
        (fault->kind == SALVO_MOCK_FAULT_SLOW && fault->rate == 0))
        return salvo_raise(-EINVAL);
    if (mock->faults_count == SALVO_MOCK_FAULTS_MAX)
        return salvo_raise(-ENOSPC);
    mock->faults[mock->faults_count++] = *fault;
    fault_count_hosts(mock);
    return 0;
}

void mock_fault_truncate(struct salvo_mock *mock, uint32_t count)
{
    mock->faults_count = SALVO_MIN(mock->faults_count, count);
    fault_count_hosts(mock);
}

int salvo_mock_fault_add(struct salvo_mock *mock, const struct salvo_mock_fault *fault)
{
    int r;

    mock_lock(mock);
    r = mock_fault_add(mock, fault);
    mock_unlock(mock);
    return r ? salvo_trace(r) : 0;
}

void salvo_mock_fault_clear(struct salvo_mock *mock)
{
    mock_lock(mock);
    mock->faults_count = 0;
    fault_count_hosts(mock);
    for (uint32_t i = 0; i < mock->hosts_count; i++) {
        mock->hosts[i].silent_until_ns = 0;
        mock->hosts[i].slow_until_ns = 0;
        mock->hosts[i].slow_rate = 0;
    }
    mock->look_at_hosts = true;
    mock_wake(mock);
    mock_unlock(mock);
}

uint64_t salvo_mock_fault_hits(struct salvo_mock *mock, enum salvo_mock_fault_kind kind)
{
    uint64_t hits;

    salvo_assert(kind < SALVO_MOCK_FAULT_KINDS);
    mock_lock(mock);
    hits = mock->fault_hits[kind];
    mock_unlock(mock);
    return hits;
}

int salvo_mock_host_down(struct salvo_mock *mock, uint32_t host, bool down)
{
    if (host >= mock->hosts_count)
        return salvo_raise(-EINVAL);
    mock_lock(mock);
    mock->hosts[host].down = down;
    mock->look_at_hosts = true;
    mock_wake(mock);
    mock_unlock(mock);
    return 0;
}

int mock_host_find(struct salvo_mock *mock, const char *name, uint32_t *ret_host)
{
    if (strcmp(name, "*") == 0) {
        *ret_host = SALVO_MOCK_ALL;
        return 0;
    }
    for (uint32_t i = 0; i < mock->hosts_count; i++) {
        bool nameserver = mock->hosts[i].nameserver;
        char number[16];

        snprintf(number, sizeof(number), "%s%u", nameserver ? "ns" : "b",
                 nameserver ? i : i - mock->conf.nameservers);
        if (strcmp(name, number) == 0 ||
            (!nameserver && strcmp(name, mock->brokers[mock->hosts[i].broker].name) == 0)) {
            *ret_host = i;
            return 0;
        }
    }
    return salvo_raise(-ENOENT);
}

int salvo_mock_host_find(struct salvo_mock *mock, const char *name, uint32_t *ret_host)
{
    return mock_host_find(mock, name, ret_host); /* names are fixed after new */
}
