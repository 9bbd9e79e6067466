/* Names to addresses on a helper thread, see resolve.h.
 *
 * Jobs stand in a fixed table, shared under one lock; a job goes FREE -> ASKED -> RUNNING ->
 * ANSWERED -> FREE. The shared part is counted by its two users, because a helper that hangs in
 * getaddrinfo may outlive its resolver. */
#include "control/resolve.h"

#include "base/assert.h"
#include "base/cpu.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum job_state { JOB_FREE, JOB_ASKED, JOB_RUNNING, JOB_ANSWERED };

struct salvo_resolve_job {
    enum job_state state;
    char host[SALVO_RESOLVE_HOST_MAX];
    uint16_t port;
    uint32_t turn;
    int result;
    struct salvo_endpoint endpoint;
    salvo_resolve_fn *done;
    void *arg;
    uint64_t cookie;
};

struct salvo_resolve_shared {
    /* under lock */
    pthread_mutex_t lock;
    pthread_cond_t asked;
    pthread_cond_t ended;
    bool stop;
    bool helper_ended;
    unsigned users;
    struct salvo_net *wake; /* NULL once the resolver is gone */
    struct salvo_resolve_job jobs[SALVO_RESOLVE_JOBS_MAX];

    /* anyone: answers not yet delivered, so that a turn without any costs no lock */
    _Atomic unsigned answers;

    /* fixed after start */
    pthread_t thread;
};

int salvo_resolve_numeric(const char *host, uint16_t port, struct salvo_endpoint *ret_endpoint)
{
    struct salvo_endpoint endpoint;
    char bare[SALVO_RESOLVE_HOST_MAX];
    size_t size = strlen(host);

    if (size >= sizeof(bare))
        return -EINVAL;
    memcpy(bare, host, size + 1);
    if (size >= 2 && bare[0] == '[' && bare[size - 1] == ']') {
        memmove(bare, bare + 1, size - 2);
        bare[size - 2] = '\0';
    }
    memset(&endpoint, 0, sizeof(endpoint));
    if (inet_pton(AF_INET, bare, &endpoint.v4.sin_addr) == 1) {
        endpoint.v4.sin_family = AF_INET;
        endpoint.v4.sin_port = htons(port);
    } else if (inet_pton(AF_INET6, bare, &endpoint.v6.sin6_addr) == 1) {
        endpoint.v6.sin6_family = AF_INET6;
        endpoint.v6.sin6_port = htons(port);
    } else {
        return -EINVAL;
    }
    *ret_endpoint = endpoint;
    return 0;
}

void salvo_endpoint_print(const struct salvo_endpoint *endpoint, char *ret_text, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "?";

    if (endpoint->any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &endpoint->v4.sin_addr, host, sizeof(host));
        snprintf(ret_text, size, "%s:%u", host, ntohs(endpoint->v4.sin_port));
    } else {
        inet_ntop(AF_INET6, &endpoint->v6.sin6_addr, host, sizeof(host));
        snprintf(ret_text, size, "[%s]:%u", host, ntohs(endpoint->v6.sin6_port));
    }
}

bool salvo_endpoint_equal(const struct salvo_endpoint *a, const struct salvo_endpoint *b)
{
    if (a->any.sa_family != b->any.sa_family)
        return false;
    if (a->any.sa_family == AF_INET)
        return a->v4.sin_port == b->v4.sin_port && a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
    return a->v6.sin6_port == b->v6.sin6_port &&
           memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof(a->v6.sin6_addr)) == 0;
}

static void shared_put(struct salvo_resolve_shared *shared)
{
    bool last;

    pthread_mutex_lock(&shared->lock);
    last = --shared->users == 0;
    pthread_mutex_unlock(&shared->lock);
    if (!last)
        return;
    pthread_cond_destroy(&shared->asked);
    pthread_cond_destroy(&shared->ended);
    pthread_mutex_destroy(&shared->lock);
    free(shared);
}

static bool address_fits(const struct addrinfo *at)
{
    return (at->ai_family == AF_INET || at->ai_family == AF_INET6) &&
           at->ai_addrlen <= sizeof(struct salvo_endpoint);
}

int salvo_resolve_choose(const struct addrinfo *list, uint32_t turn,
                         struct salvo_endpoint *ret_endpoint)
{
    uint32_t count = 0;

    for (const struct addrinfo *at = list; at != NULL; at = at->ai_next)
        count += address_fits(at);
    turn = count == 0 ? 0 : turn % count;
    for (const struct addrinfo *at = list; at != NULL; at = at->ai_next) {
        if (!address_fits(at) || turn-- != 0)
            continue;
        memset(ret_endpoint, 0, sizeof(*ret_endpoint));
        memcpy(ret_endpoint, at->ai_addr, at->ai_addrlen);
        return 0;
    }
    return -ENOENT;
}

static int helper_look_up(const char *host, uint16_t port, uint32_t turn,
                          struct salvo_endpoint *ret_endpoint)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    char service[8];
    int r;

    snprintf(service, sizeof(service), "%u", port);
    r = getaddrinfo(host, service, &hints, &list);
    if (r == EAI_AGAIN)
        return -EAGAIN;
    if (r == EAI_MEMORY)
        return -ENOMEM;
    if (r)
        return -ENOENT;
    r = salvo_resolve_choose(list, turn, ret_endpoint);
    freeaddrinfo(list);
    return r;
}

static struct salvo_resolve_job *job_in_state(struct salvo_resolve_shared *shared,
                                              enum job_state state)
{
    for (size_t i = 0; i < SALVO_RESOLVE_JOBS_MAX; i++)
        if (shared->jobs[i].state == state)
            return &shared->jobs[i];
    return NULL;
}

static void helper_run_job(struct salvo_resolve_shared *shared, struct salvo_resolve_job *job)
{
    struct salvo_endpoint endpoint = {0};
    int r;

    job->state = JOB_RUNNING; /* host, port and turn are the helper's until ANSWERED */
    pthread_mutex_unlock(&shared->lock);
    r = helper_look_up(job->host, job->port, job->turn, &endpoint);
    pthread_mutex_lock(&shared->lock);
    job->result = r;
    job->endpoint = endpoint;
    job->state = JOB_ANSWERED;
    atomic_fetch_add_explicit(&shared->answers, 1, memory_order_relaxed);
    if (shared->wake != NULL)
        salvo_net_wake(shared->wake);
}

static void *helper_run(void *arg)
{
    struct salvo_resolve_shared *shared = arg;

    pthread_mutex_lock(&shared->lock);
    while (!shared->stop) {
        struct salvo_resolve_job *job = job_in_state(shared, JOB_ASKED);

        if (job != NULL)
            helper_run_job(shared, job);
        else
            pthread_cond_wait(&shared->asked, &shared->lock);
    }
    shared->helper_ended = true;
    pthread_cond_signal(&shared->ended);
    pthread_mutex_unlock(&shared->lock);
    shared_put(shared);
    return NULL;
}

void salvo_resolver_init(struct salvo_resolver *resolver, struct salvo_net *wake)
{
    *resolver = (struct salvo_resolver){
        .wake = wake,
        .numeric_only = (salvo_net_caps(wake) & SALVO_NET_CAP_VIRTUAL_TIME) != 0,
    };
}

void salvo_resolver_deinit(struct salvo_resolver *resolver)
{
    struct salvo_resolve_shared *shared = resolver->shared;
    struct timespec until;
    bool ended;

    if (shared == NULL)
        return;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 1;
    pthread_mutex_lock(&shared->lock);
    shared->stop = true;
    shared->wake = NULL;
    pthread_cond_signal(&shared->asked);
    while (!shared->helper_ended &&
           pthread_cond_timedwait(&shared->ended, &shared->lock, &until) == 0)
        ;
    ended = shared->helper_ended;
    pthread_mutex_unlock(&shared->lock);
    if (ended)
        salvo_thread_join(shared->thread);
    else
        pthread_detach(shared->thread);
    shared_put(shared);
    resolver->shared = NULL;
}

static int resolver_start(struct salvo_resolver *resolver)
{
    struct salvo_resolve_shared *shared = calloc(1, sizeof(*shared));
    int r;

    if (shared == NULL)
        return -ENOMEM;
    pthread_mutex_init(&shared->lock, NULL);
    pthread_cond_init(&shared->asked, NULL);
    pthread_cond_init(&shared->ended, NULL);
    shared->wake = resolver->wake;
    shared->users = 2;
    r = salvo_thread_start(&shared->thread, "salvo-resolve", helper_run, shared);
    if (r) {
        shared->users = 1;
        shared_put(shared);
        return -EAGAIN;
    }
    resolver->shared = shared;
    return 0;
}

int salvo_resolver_ask(struct salvo_resolver *resolver, const char *host, uint16_t port,
                       uint32_t turn, salvo_resolve_fn *done, void *arg, uint64_t cookie,
                       int64_t now_ns)
{
    struct salvo_endpoint endpoint;
    struct salvo_resolve_job *job;
    int r;

    if (salvo_resolve_numeric(host, port, &endpoint) == 0) {
        done(arg, cookie, 0, &endpoint, now_ns);
        return 0;
    }
    if (resolver->numeric_only || strlen(host) >= SALVO_RESOLVE_HOST_MAX)
        return -ENOENT;
    if (resolver->shared == NULL) {
        r = resolver_start(resolver);
        if (r)
            return r;
    }
    pthread_mutex_lock(&resolver->shared->lock);
    job = job_in_state(resolver->shared, JOB_FREE);
    if (job != NULL) {
        *job = (struct salvo_resolve_job){.state = JOB_ASKED,
                                          .port = port,
                                          .turn = turn,
                                          .done = done,
                                          .arg = arg,
                                          .cookie = cookie};
        snprintf(job->host, sizeof(job->host), "%s", host);
        pthread_cond_signal(&resolver->shared->asked);
    }
    pthread_mutex_unlock(&resolver->shared->lock);
    return job == NULL ? -EBUSY : 0;
}

int salvo_resolver_do_work(struct salvo_resolver *resolver, int64_t now_ns)
{
    struct salvo_resolve_shared *shared = resolver->shared;
    int delivered = 0;

    if (shared == NULL || atomic_load_explicit(&shared->answers, memory_order_relaxed) == 0)
        return 0;
    for (; delivered < SALVO_RESOLVE_JOBS_MAX; delivered++) {
        struct salvo_resolve_job *job, answer;

        pthread_mutex_lock(&shared->lock);
        job = job_in_state(shared, JOB_ANSWERED);
        if (job != NULL) {
            answer = *job;
            job->state = JOB_FREE;
            atomic_fetch_sub_explicit(&shared->answers, 1, memory_order_relaxed);
        }
        pthread_mutex_unlock(&shared->lock);
        if (job == NULL)
            break;
        /* The job is free: the call may ask again. */
        answer.done(answer.arg, answer.cookie, answer.result, &answer.endpoint, now_ns);
    }
    return delivered;
}
