/* Nameserver list, failover and route questions, see nameserver.h. */
#include "control/nameserver.h"

#include "base/assert.h"
#include "base/error.h"
#include "codec/route_data.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* One piece of the list into an entry. */
static int entry_parse(struct salvo_nameserver_entry *entry, const char *text, size_t size)
{
    struct salvo_endpoint endpoint;

    *entry = (struct salvo_nameserver_entry){.peer = SALVO_RPC_PEER_NONE};
    while (size > 0 && *text == ' ') {
        text++;
        size--;
    }
    while (size > 0 && text[size - 1] == ' ')
        size--;
    if (size >= sizeof(entry->name))
        return -EINVAL;
    memcpy(entry->name, text, size);
    if (salvo_address_split(entry->name, entry->host, sizeof(entry->host), &entry->port))
        return -EINVAL;
    if (strpbrk(entry->host, " /,@") != NULL) /* a URL, or a list with commas */
        return -EINVAL;
    entry->numeric = salvo_resolve_numeric(entry->host, entry->port, &endpoint) == 0;
    return entry->host[0] == '\0' || entry->port == 0 ? -EINVAL : 0;
}

static int list_parse(struct salvo_nameserver_entry *ret_entries, const char *list,
                      uint32_t *ret_count, char *ret_error, size_t error_size)
{
    uint32_t count = 0;

    for (const char *at = list; *at != '\0';) {
        size_t size = strcspn(at, ";");

        if (count == SALVO_NAMESERVERS_MAX) {
            snprintf(ret_error, error_size,
                     "option nameserver: more than %u addresses; take some out",
                     SALVO_NAMESERVERS_MAX);
            return -EINVAL;
        }
        if (strspn(at, " ;") < size && entry_parse(&ret_entries[count++], at, size)) {
            snprintf(ret_error, error_size,
                     "option nameserver: \"%.*s\" is not an address; write "
                     "host:port, several separated by semicolons%s",
                     (int)SALVO_MIN(size, (size_t)80), at,
                     memchr(at, ',', size) != NULL ? " (;), not by commas" : "");
            return -EINVAL;
        }
        at += size + (at[size] == ';');
    }
    if (count == 0) {
        snprintf(
            ret_error, error_size,
            "option nameserver: none is given; set it to host:port, for instance 127.0.0.1:9876");
        return -EINVAL;
    }
    *ret_count = count;
    return 0;
}

int salvo_nameservers_check(const char *list, char *ret_error, size_t error_size)
{
    struct salvo_nameserver_entry entries[SALVO_NAMESERVERS_MAX];
    uint32_t count;

    return list_parse(entries, list, &count, ret_error, error_size);
}

int salvo_nameservers_init(struct salvo_nameservers *ns, const char *list, struct salvo_rpc *rpc,
                           struct salvo_resolver *resolver, struct salvo_report *report,
                           struct salvo_random *random, int64_t timeout_ns, char *ret_error,
                           size_t error_size)
{
    int r;

    *ns = (struct salvo_nameservers){
        .rpc = rpc, .resolver = resolver, .report = report, .timeout_ns = timeout_ns};
    r = list_parse(ns->entries, list, &ns->entries_count, ret_error, error_size);
    if (r)
        return r;
    ns->chosen = (uint32_t)salvo_random_below(random, ns->entries_count);
    return 0;
}

static void query_try(struct salvo_nameservers *ns, struct salvo_nameserver_query *query,
                      int64_t now_ns);

static void query_end(struct salvo_nameserver_query *query, const struct salvo_rpc_answer *answer,
                      int64_t now_ns)
{
    struct salvo_nameserver_query ended = *query;

    query->used = false; /* before the call, which may ask again */
    ended.done(ended.arg, ended.cookie, answer, now_ns);
}

static void report_failure(struct salvo_nameservers *ns, const struct salvo_nameserver_entry *entry,
                           const struct salvo_rpc_answer *answer)
{
    if (answer->result == -ETIMEDOUT && answer->connected)
        salvo_report_error(ns->report, "control: nameserver", -ETIMEDOUT,
                           "%s: no answer within %" PRId64
                           " ms; is it a nameserver? check option nameserver",
                           entry->name, ns->timeout_ns / SALVO_NS_PER_MS);
    else if (answer->result == -EBADMSG)
        salvo_report_error(ns->report, "control: nameserver", -EBADMSG,
                           "%s is no nameserver: %s; check option nameserver", entry->name,
                           answer->why);
    else if (answer->result)
        salvo_report_error(ns->report, "control: nameserver", answer->result,
                           "%s cannot be reached: %s; check option nameserver and that it runs",
                           entry->name, answer->why);
    else if (answer->header->code == SALVO_RESPONSE_REQUEST_CODE_NOT_SUPPORTED)
        salvo_report_error(ns->report, "control: nameserver", answer->header->code,
                           "%s knows no questions for routes (code %d): is this a broker's port? "
                           "check option nameserver",
                           entry->name, answer->header->code);
    else
        salvo_report_error(ns->report, "control: nameserver", answer->header->code,
                           "%s answered code %d: %.*s", entry->name, answer->header->code,
                           (int)SALVO_MIN(answer->header->remark.size, 160u),
                           answer->header->remark.text != NULL ? answer->header->remark.text : "");
}

/* This one failed the query: on to the next, for this query and, when it was the chosen one, for
 * all. */
static void query_failed(struct salvo_nameservers *ns, struct salvo_nameserver_query *query,
                         const struct salvo_rpc_answer *answer, int64_t now_ns)
{
    struct salvo_nameserver_entry *entry = &ns->entries[query->entry];

    report_failure(ns, entry, answer);
    if (!answer->connected && !entry->numeric && entry->peer != SALVO_RPC_PEER_NONE) {
        uint32_t peer = entry->peer;

        entry->peer = SALVO_RPC_PEER_NONE; /* before the call: it fails the others on the link */
        entry->turn++;
        salvo_rpc_peer_remove(ns->rpc, peer, now_ns); /* look its name up anew */
    }
    if (ns->chosen == query->entry && ns->entries_count > 1) {
        ns->chosen = (ns->chosen + 1) % ns->entries_count;
        salvo_counter_add(ns->report->counters, SALVO_CONTROL_NAMESERVER_SWITCHES, 1);
    }
    if (query->tries_left == 0) {
        struct salvo_rpc_answer failed = *answer;

        if (failed.result == 0)
            failed.result = -EIO; /* an error code is as good as no answer */
        query_end(query, &failed, now_ns);
        return;
    }
    query_try(ns, query, now_ns);
}

static void query_fail_errno(struct salvo_nameservers *ns, struct salvo_nameserver_query *query,
                             int result, const char *why, int64_t now_ns)
{
    struct salvo_rpc_answer answer = {.result = result, .why = why};

    query_failed(ns, query, &answer, now_ns);
}

static void query_answered(void *arg, uint64_t cookie, const struct salvo_rpc_answer *answer,
                           int64_t now_ns)
{
    struct salvo_nameservers *ns = arg;
    struct salvo_nameserver_query *query = &ns->queries[cookie];

    salvo_assert(cookie < SALVO_NAMESERVER_QUERIES_MAX);
    salvo_assert(query->used);
    if (answer->result == 0 && (answer->header->code == SALVO_RESPONSE_SUCCESS ||
                                answer->header->code == SALVO_RESPONSE_TOPIC_NOT_EXIST))
        query_end(query, answer, now_ns);
    else
        query_failed(ns, query, answer, now_ns);
}

static void query_send(struct salvo_nameservers *ns, struct salvo_nameserver_query *query,
                       int64_t now_ns)
{
    struct salvo_header header = {.code = SALVO_REQUEST_GET_ROUTEINFO_BY_TOPIC, .has_ext = true};
    struct salvo_rpc_call call = {
        .peer = ns->entries[query->entry].peer,
        .header = &header,
        .timeout_ns = ns->timeout_ns,
        .done = query_answered,
        .arg = ns,
        .cookie = (uint64_t)(query - ns->queries),
    };
    int r;

    query->waiting = false;
    salvo_header_add(&header, "topic", salvo_text_of(query->topic));
    salvo_counter_add(ns->report->counters, SALVO_CONTROL_ROUTE_QUERIES, 1);
    r = salvo_rpc_request(ns->rpc, &call, now_ns);
    if (r)
        query_fail_errno(ns, query, r,
                         r == -EMFILE   ? "out of descriptors (EMFILE), " SALVO_RAISE_DESCRIPTORS
                         : r == -ENOMEM ? SALVO_NO_MEMORY
                                        : "no connection can be made",
                         now_ns);
}

/* Goes on with the queries that wait for this address. */
static void entry_resolved(void *arg, uint64_t cookie, int result,
                           const struct salvo_endpoint *endpoint, int64_t now_ns)
{
    struct salvo_nameservers *ns = arg;
    struct salvo_nameserver_entry *entry = &ns->entries[cookie];

    entry->resolving = false;
    if (result == 0 && entry->peer == SALVO_RPC_PEER_NONE)
        entry->peer = salvo_rpc_peer_add(ns->rpc, endpoint, UINT64_MAX);
    for (uint32_t i = 0; i < SALVO_NAMESERVER_QUERIES_MAX; i++) {
        struct salvo_nameserver_query *query = &ns->queries[i];

        if (!query->used || !query->waiting || query->entry != cookie)
            continue;
        query->waiting = false;
        if (result)
            query_fail_errno(ns, query, result, "its name has no address", now_ns);
        else
            query_send(ns, query, now_ns);
    }
}

/* Once at the chosen nameserver. Recursion through a failure is bounded by tries_left. */
static void query_try(struct salvo_nameservers *ns, struct salvo_nameserver_query *query,
                      int64_t now_ns)
{
    struct salvo_nameserver_entry *entry = &ns->entries[ns->chosen];
    int r;

    salvo_assert(query->tries_left > 0);
    query->entry = ns->chosen;
    query->tries_left--;
    if (entry->peer != SALVO_RPC_PEER_NONE) {
        query_send(ns, query, now_ns);
        return;
    }
    query->waiting = true;
    if (entry->resolving)
        return;
    entry->resolving = true;
    r = salvo_resolver_ask(ns->resolver, entry->host, entry->port, entry->turn, entry_resolved, ns,
                           (uint64_t)(entry - ns->entries), now_ns);
    if (r) {
        entry->resolving = false;
        query->waiting = false;
        query_fail_errno(ns, query, r, "its name cannot be looked up", now_ns);
    }
}

int salvo_nameservers_ask(struct salvo_nameservers *ns, const char *topic, salvo_rpc_done_fn *done,
                          void *arg, uint64_t cookie, int64_t now_ns)
{
    for (uint32_t i = 0; i < SALVO_NAMESERVER_QUERIES_MAX; i++) {
        struct salvo_nameserver_query *query = &ns->queries[i];

        if (query->used)
            continue;
        *query = (struct salvo_nameserver_query){.used = true,
                                                 .tries_left = ns->entries_count,
                                                 .done = done,
                                                 .arg = arg,
                                                 .cookie = cookie};
        snprintf(query->topic, sizeof(query->topic), "%s", topic);
        query_try(ns, query, now_ns);
        return 0;
    }
    return -EAGAIN;
}
