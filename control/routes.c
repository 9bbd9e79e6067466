/* Route questions and their schedule, see routes.h and 5.3 of the protocol reference. */
#include "control/routes.h"

#include "base/assert.h"

#include <errno.h>
#include <stdlib.h>

#define ROUTES_TOKENS_MAX                                                                          \
    16384u /* a broker takes some 12, a queue data 11: room for the tables' limits */
#define ROUTES_BACKOFF_FIRST_NS  (100 * SALVO_NS_PER_MS)
#define ROUTES_BACKOFF_WANTED_NS SALVO_NS_PER_S

/* The question about the template topic carries this bit beside the topic's number. */
#define ROUTES_COOKIE_TEMPLATE (UINT64_C(1) << 32)

int salvo_routes_init(struct salvo_routes *routes, const struct salvo_config *config,
                      struct salvo_topics *topics, struct salvo_route_table *table,
                      struct salvo_nameservers *nameservers, struct salvo_report *report)
{
    *routes = (struct salvo_routes){
        .config = config,
        .topics = topics,
        .table = table,
        .nameservers = nameservers,
        .report = report,
        .next_ns = INT64_MAX,
    };
    routes->states = calloc(config->topics_max, sizeof(*routes->states));
    routes->data = malloc(sizeof(*routes->data));
    routes->tokens = calloc(ROUTES_TOKENS_MAX, sizeof(*routes->tokens));
    if (routes->states == NULL || routes->data == NULL || routes->tokens == NULL) {
        salvo_routes_deinit(routes);
        return salvo_raise(-ENOMEM);
    }
    return 0;
}

void salvo_routes_deinit(struct salvo_routes *routes)
{
    free(routes->states);
    free(routes->data);
    free(routes->tokens);
    *routes = (struct salvo_routes){0};
}

static int64_t interval_ns(const struct salvo_routes *routes)
{
    return routes->config->route_interval_ms * SALVO_NS_PER_MS;
}

static void ask_at(struct salvo_routes *routes, struct salvo_routes_topic *state, int64_t at_ns)
{
    state->ask_ns = at_ns;
    routes->next_ns = SALVO_MIN(routes->next_ns, at_ns);
}

/* It is known: again in its turn. */
static void topic_settled(struct salvo_routes *routes, struct salvo_routes_topic *state,
                          int64_t now_ns)
{
    state->asking = false;
    state->backoff_ns = 0;
    ask_at(routes, state, now_ns + interval_ns(routes));
}

/* Not known, known only by its template, or the question failed: again soon, less often each time.
 */
static void topic_backs_off(struct salvo_routes *routes, struct salvo_routes_topic *state,
                            int64_t now_ns)
{
    int64_t limit_ns = interval_ns(routes);

    if (now_ns < state->wanted_until_ns)
        limit_ns = SALVO_MIN(limit_ns, ROUTES_BACKOFF_WANTED_NS);
    state->asking = false;
    state->backoff_ns = state->backoff_ns == 0 ? ROUTES_BACKOFF_FIRST_NS : state->backoff_ns * 2;
    state->backoff_ns = SALVO_MIN(state->backoff_ns, limit_ns);
    ask_at(routes, state, now_ns + state->backoff_ns);
}

/* The answer's body into routes->data. */
static int answer_read(struct salvo_routes *routes, uint32_t topic,
                       const struct salvo_rpc_answer *answer)
{
    const char *why = "it is larger than the tables";
    int r = salvo_route_data_read(routes->data, answer->body, answer->body_size, routes->tokens,
                                  ROUTES_TOKENS_MAX, &why);

    if (r)
        salvo_report_error(routes->report, "control: route answer", r,
                           "topic %s: the nameserver's answer cannot be read: %s",
                           salvo_topics_name(routes->topics, topic), why);
    return r;
}

static void question_failed(struct salvo_routes *routes, struct salvo_routes_topic *state,
                            int64_t now_ns)
{
    salvo_counter_add(routes->report->counters, SALVO_CONTROL_ROUTE_FAILURES, 1);
    topic_backs_off(routes, state, now_ns);
}

/* The template topic's route for a topic that does not exist yet. */
static void template_answered(void *arg, uint64_t cookie, const struct salvo_rpc_answer *answer,
                              int64_t now_ns)
{
    struct salvo_routes *routes = arg;
    uint32_t topic = (uint32_t)cookie;
    struct salvo_routes_topic *state = &routes->states[topic];

    if (answer->result) {
        question_failed(routes, state, now_ns);
        return;
    }
    if (answer->header->code != SALVO_RESPONSE_SUCCESS) {
        if (salvo_topics_state(routes->topics, topic) != SALVO_ROUTE_GOOD) {
            salvo_route_table_set_state(routes->table, topic, SALVO_ROUTE_NO_TOPIC);
            salvo_report_error(
                routes->report, "control: topic", SALVO_RESPONSE_TOPIC_NOT_EXIST,
                "topic %s does not exist and no broker creates topics by itself; create "
                "it (mqadmin updateTopic) or turn on autoCreateTopicEnable",
                salvo_topics_name(routes->topics, topic));
        }
        topic_backs_off(routes, state, now_ns);
        return;
    }
    if (answer_read(routes, topic, answer)) {
        question_failed(routes, state, now_ns);
        return;
    }
    state->fallback =
        salvo_route_table_apply(routes->table, topic, routes->data,
                                routes->config->default_topic_queues, now_ns) == SALVO_ROUTE_GOOD;
    topic_backs_off(routes, state, now_ns); /* it will be real soon: the first message makes it */
}

static void topic_unknown(struct salvo_routes *routes, uint32_t topic, int64_t now_ns)
{
    struct salvo_routes_topic *state = &routes->states[topic];

    /* A real route is never forgotten because of a 17. */
    if (salvo_topics_state(routes->topics, topic) == SALVO_ROUTE_GOOD && !state->fallback) {
        topic_settled(routes, state, now_ns);
        return;
    }
    if (salvo_nameservers_ask(routes->nameservers, routes->config->create_topic_key,
                              template_answered, routes, topic | ROUTES_COOKIE_TEMPLATE, now_ns))
        topic_backs_off(routes, state, now_ns);
}

static void topic_answered(void *arg, uint64_t cookie, const struct salvo_rpc_answer *answer,
                           int64_t now_ns)
{
    struct salvo_routes *routes = arg;
    uint32_t topic = (uint32_t)cookie;
    struct salvo_routes_topic *state = &routes->states[topic];

    salvo_assert(state->asking);
    if (answer->result) {
        question_failed(routes, state, now_ns);
        return;
    }
    if (answer->header->code == SALVO_RESPONSE_TOPIC_NOT_EXIST) {
        topic_unknown(routes, topic, now_ns);
        return;
    }
    if (answer_read(routes, topic, answer)) {
        question_failed(routes, state, now_ns);
        return;
    }
    state->fallback = false;
    if (salvo_route_table_apply(routes->table, topic, routes->data, 0, now_ns) == SALVO_ROUTE_GOOD)
        topic_settled(routes, state, now_ns);
    else
        topic_backs_off(routes, state, now_ns);
}

void salvo_routes_wanted(struct salvo_routes *routes, uint32_t topic, int64_t now_ns)
{
    struct salvo_routes_topic *state = &routes->states[topic];
    int64_t wait_ns;

    salvo_assert(topic < routes->config->topics_max);
    if (routes->stopped || topic >= routes->topics_seen)
        return; /* a topic just added is asked for anyway */
    /* As long as the messages that wait for it can. */
    state->wanted_until_ns = now_ns + routes->config->timeout_ms * SALVO_NS_PER_MS;
    if (state->asking)
        return;
    /* Known (a broker said 17 all the same): at most once a second. */
    wait_ns = state->backoff_ns == 0 ? ROUTES_BACKOFF_WANTED_NS
                                     : SALVO_MIN(state->backoff_ns, ROUTES_BACKOFF_WANTED_NS);
    if (state->asked_ns + wait_ns < state->ask_ns)
        ask_at(routes, state, SALVO_MAX(now_ns, state->asked_ns + wait_ns));
}

void salvo_routes_stop(struct salvo_routes *routes)
{
    routes->stopped = true;
    routes->next_ns = INT64_MAX;
}

static int topics_notice(struct salvo_routes *routes, int64_t now_ns)
{
    uint32_t count = salvo_topics_count(routes->topics);
    int noticed = (int)(count - routes->topics_seen);

    for (; routes->topics_seen < count; routes->topics_seen++) {
        struct salvo_routes_topic *state = &routes->states[routes->topics_seen];

        /* Somebody opened it to send. */
        state->wanted_until_ns = now_ns + routes->config->timeout_ms * SALVO_NS_PER_MS;
        ask_at(routes, state, now_ns);
    }
    if (noticed > 0)
        salvo_counter_set(routes->report->counters, SALVO_CONTROL_TOPICS, count);
    return noticed;
}

/* Asks one topic. False when too many questions are open: the rest waits for the next turn. */
static bool topic_ask(struct salvo_routes *routes, uint32_t topic, int64_t now_ns)
{
    struct salvo_routes_topic *state = &routes->states[topic];

    state->asking = true;
    state->asked_ns = now_ns;
    state->ask_ns = INT64_MAX;
    if (salvo_nameservers_ask(routes->nameservers, salvo_topics_name(routes->topics, topic),
                              topic_answered, routes, topic, now_ns) == 0)
        return true;
    state->asking = false;
    state->ask_ns = now_ns;
    return false;
}

int salvo_routes_do_work(struct salvo_routes *routes, int64_t now_ns)
{
    int work = topics_notice(routes, now_ns);
    bool room = true;

    if (routes->stopped || now_ns < routes->next_ns)
        return work;
    for (uint32_t i = 0; i < routes->topics_seen && room; i++) {
        if (routes->states[i].ask_ns > now_ns)
            continue;
        room = topic_ask(routes, i, now_ns);
        work += room;
    }
    routes->next_ns = INT64_MAX;
    for (uint32_t i = 0; i < routes->topics_seen; i++)
        routes->next_ns = SALVO_MIN(routes->next_ns, routes->states[i].ask_ns);
    if (!room) /* an answer makes room */
        routes->next_ns = SALVO_MAX(routes->next_ns, now_ns + SALVO_NS_PER_MS);
    return work;
}

int64_t salvo_routes_next_ns(const struct salvo_routes *routes)
{
    return routes->stopped ? INT64_MAX : routes->next_ns;
}
