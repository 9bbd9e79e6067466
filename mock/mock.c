/* The mock cluster's handle: configuration, thread, lock, start and stop, statistics.
 *
 * In thread mode one lock covers the mock's state: the thread holds it during a turn and lets go of
 * it while it waits for the network. Calls of other threads take it, change state and wake the
 * thread; they never touch a net, which belongs to the thread that turns. */
#include "mock/mock_internal.h"
#include "base/cpu.h"
#include "base/error.h"

#include <pthread.h>
#include <sched.h>

#define MOCK_IDLE_WAIT_NS (100 * SALVO_NS_PER_MS)

struct mock_thread {
    pthread_mutex_t lock;
    pthread_t thread;
    bool running;
    _Atomic uint32_t
        callers; /* calls of others that want the lock: the thread lets them in first */
    _Atomic bool stop;

    /* start_thread <-> thread, under `lock` */
    pthread_cond_t opened;
    bool open_done;
    int open_result;
    char *errbuf;
    size_t errbuf_size;
};

void salvo_mock_conf_default(struct salvo_mock_conf *conf)
{
    memset(conf, 0, sizeof(*conf));
    conf->nameservers = 1;
    conf->brokers = 1;
    conf->auto_create = true;
    conf->auto_create_queues = 8;
    conf->body_size_max = SALVO_BODY_SIZE_MAX;
    conf->frame_size_max = SALVO_FRAME_SIZE_MAX;
    conf->connections_max = 1024;
    conf->idle_close_ms = 120000;
    conf->remember = true;
    conf->remember_max = 1u << 20;
    conf->net = "auto";
    conf->listen_address = "127.0.0.1";
    conf->cpu = -1;
    conf->receive_buffers = 256;
    conf->receive_buffer_size = (uint32_t)SALVO_KIB(64);
}

static int new_refuse(char *errbuf, size_t errbuf_size, const char *text)
{
    snprintf(errbuf, errbuf_size, "%s", text);
    return salvo_raise(-EINVAL);
}

static int new_no_memory(const struct salvo_mock_conf *conf, char *errbuf, size_t errbuf_size)
{
    snprintf(errbuf, errbuf_size, "mock: %s%s", SALVO_NO_MEMORY,
             conf->remember ? ", or lower remember_max" : "");
    return salvo_raise(-ENOMEM);
}

static int new_check(const struct salvo_mock_conf *conf, char *errbuf, size_t errbuf_size)
{
    if (conf->nameservers == 0 || conf->nameservers > SALVO_MOCK_NAMESERVERS_MAX)
        return new_refuse(errbuf, errbuf_size, "mock: nameservers must be 1 to 8");
    if (conf->brokers == 0 || conf->brokers > SALVO_MOCK_BROKERS_MAX)
        return new_refuse(errbuf, errbuf_size, "mock: brokers must be 1 to 32");
    if (conf->topics_count > SALVO_MOCK_TOPICS_MAX - 1)
        return new_refuse(errbuf, errbuf_size, "mock: at most 255 topics");
    if (conf->connections_max == 0 || conf->connections_max > 65536)
        return new_refuse(errbuf, errbuf_size, "mock: connections_max must be 1 to 65536");
    if (conf->body_size_max == 0 || conf->body_size_max > SALVO_FRAME_SIZE_MAX)
        return new_refuse(errbuf, errbuf_size, "mock: body_size_max must be 1 byte to 16 MiB");
    if (conf->frame_size_max < 1024 || conf->frame_size_max > SALVO_FRAME_SIZE_MAX)
        return new_refuse(errbuf, errbuf_size, "mock: frame_size_max must be 1 KiB to 16 MiB");
    if (conf->remember_max > (1u << 28))
        return new_refuse(errbuf, errbuf_size, "mock: remember_max is at most 2^28");
    if (conf->nets == NULL && conf->port != 0 &&
        conf->port + conf->nameservers + conf->brokers > 65536)
        return new_refuse(
            errbuf, errbuf_size,
            "mock: the port is too high: each host takes one more; use a lower one, or 0");
    return 0;
}

static void new_brokers(struct salvo_mock *mock, const struct salvo_mock_conf *conf)
{
    for (uint32_t i = 0; i < conf->brokers; i++) {
        struct mock_broker *broker = &mock->brokers[i];

        if (conf->broker_names[i][0] != '\0')
            snprintf(broker->name, sizeof(broker->name), "%s", conf->broker_names[i]);
        else if (i < 26)
            snprintf(broker->name, sizeof(broker->name), "broker-%c", (char)('a' + (int)i));
        else
            snprintf(broker->name, sizeof(broker->name), "broker-%u", i + 1);
        snprintf(broker->cluster, sizeof(broker->cluster), "%s",
                 conf->clusters[i][0] != '\0' ? conf->clusters[i] : "DefaultCluster");
        broker->in_routes = true;
        broker->perm = SALVO_PERM_READ | SALVO_PERM_WRITE;
    }
    mock->hosts_count = conf->nameservers + conf->brokers;
    for (uint32_t i = 0; i < mock->hosts_count; i++) {
        mock->hosts[i].nameserver = i < conf->nameservers;
        mock->hosts[i].broker = i < conf->nameservers ? 0 : i - conf->nameservers;
    }
}

static int new_memory(struct salvo_mock *mock)
{
    const struct salvo_mock_conf *conf = &mock->conf;

    /* Header text undone of escapes is never longer than the header, which is shorter than a frame.
     */
    mock->scratch_size = conf->frame_size_max;
    mock->conns = calloc(conf->connections_max, sizeof(*mock->conns));
    mock->conns_free = calloc(conf->connections_max, sizeof(*mock->conns_free));
    mock->to_send = calloc(conf->connections_max, sizeof(*mock->to_send));
    mock->to_close =
        calloc((size_t)conf->connections_max + MOCK_EVENTS_PER_TURN, sizeof(*mock->to_close));
    mock->late = calloc(MOCK_LATE_MAX, sizeof(*mock->late));
    mock->text_bytes = malloc(MOCK_ANSWER_MAX);
    mock->wire = malloc(MOCK_WIRE_MAX);
    mock->scratch = malloc(mock->scratch_size);
    mock->inflated = malloc((size_t)conf->body_size_max + 1);
    mock->thread = calloc(1, sizeof(*mock->thread));
    if (mock->conns == NULL || mock->conns_free == NULL || mock->to_send == NULL ||
        mock->to_close == NULL || mock->late == NULL || mock->text_bytes == NULL ||
        mock->wire == NULL || mock->scratch == NULL || mock->inflated == NULL ||
        mock->thread == NULL)
        return salvo_raise(-ENOMEM);
    pthread_mutex_init(&mock->thread->lock, NULL);
    pthread_cond_init(&mock->thread->opened, NULL);
    for (uint32_t i = 0; i < conf->connections_max; i++) {
        mock->conns[i].index = i;
        mock->conns_free[i] = conf->connections_max - 1 - i; /* 0 is taken first */
    }
    mock->conns_free_count = conf->connections_max;
    return 0;
}

int salvo_mock_new(const struct salvo_mock_conf *conf, struct salvo_mock **ret_mock, char *errbuf,
                   size_t errbuf_size)
{
    struct salvo_mock *mock;
    int r = new_check(conf, errbuf, errbuf_size);

    if (r)
        return salvo_trace(r);
    mock = calloc(1, sizeof(*mock));
    if (mock == NULL)
        return new_no_memory(conf, errbuf, errbuf_size);
    mock->conf = *conf;
    mock->clock = conf->clock != NULL ? conf->clock : salvo_clock_system();
    mock->own_net = conf->nets == NULL;
    mock->auto_create = conf->auto_create;
    new_brokers(mock, conf);
    r = new_memory(mock);
    if (!r && conf->remember && !conf->answer_only)
        r = mock_store_init(&mock->store, conf->remember_max);
    if (!r) {
        r = mock_topic_init(mock);
        if (r == -EINVAL)
            snprintf(errbuf, errbuf_size, "mock: topics have 1 to 127 bytes and at most %u queues",
                     SALVO_MOCK_QUEUES_MAX);
    }
    if (!r && conf->answer_only)
        r = mock_fast_init(mock);
    if (r) {
        if (r == -ENOMEM)
            new_no_memory(conf, errbuf, errbuf_size);
        salvo_mock_free(mock);
        return salvo_trace(r);
    }
    *ret_mock = mock;
    return 0;
}

void salvo_mock_free(struct salvo_mock *mock)
{
    if (mock == NULL)
        return;
    salvo_mock_stop(mock);
    mock_topic_deinit(mock);
    mock_store_deinit(&mock->store);
    while (mock->chunks_free != NULL) {
        struct mock_chunk *chunk = mock->chunks_free;

        mock->chunks_free = chunk->next;
        free(chunk);
    }
    if (mock->thread != NULL) {
        pthread_cond_destroy(&mock->thread->opened);
        pthread_mutex_destroy(&mock->thread->lock);
    }
    free(mock->thread);
    free(mock->ids);
    free(mock->inflated);
    free(mock->scratch);
    free(mock->wire);
    free(mock->text_bytes);
    free(mock->late);
    free(mock->to_close);
    free(mock->to_send);
    free(mock->conns_free);
    free(mock->conns);
    free(mock);
}

/* --- lock and thread -------------------------------------------------------------------------- */

void mock_lock(struct salvo_mock *mock)
{
    struct mock_thread *thread = mock->thread;

    /* Announces the caller: pairs with the relaxed load in thread_run, which is only a courtesy
     * (the lock orders everything). */
    atomic_fetch_add_explicit(&thread->callers, 1, memory_order_relaxed);
    pthread_mutex_lock(&thread->lock);
    atomic_fetch_sub_explicit(&thread->callers, 1, memory_order_relaxed);
}

void mock_unlock(struct salvo_mock *mock)
{
    pthread_mutex_unlock(&mock->thread->lock);
}

void mock_wake(struct salvo_mock *mock)
{
    if (mock->started && mock->own_net)
        salvo_net_wake(mock->hosts[0].net);
}

/* Waits without the lock: the net is this thread's, whatever others do to the mock meanwhile. */
static void thread_wait(struct salvo_mock *mock, int64_t next_ns)
{
    int64_t wait_ns = MOCK_IDLE_WAIT_NS;

    if (next_ns != INT64_MAX) {
        next_ns -= salvo_clock_mono_ns(mock->clock);
        wait_ns = SALVO_CLAMP(next_ns, 0, wait_ns);
    }
    if (wait_ns > 0)
        salvo_net_wait(mock->hosts[0].net, 1, 0, wait_ns);
}

static void *thread_run(void *arg)
{
    struct salvo_mock *mock = arg;
    struct mock_thread *thread = mock->thread;
    int r;

    if (mock->conf.cpu >= 0)
        (void)salvo_cpu_pin(mock->conf.cpu); /* a wish: without it only the speed differs */
    pthread_mutex_lock(&thread->lock);
    r = mock_open(mock, thread->errbuf, thread->errbuf_size);
    thread->open_result = r;
    thread->open_done = true;
    pthread_cond_signal(&thread->opened);
    pthread_mutex_unlock(&thread->lock);
    if (r)
        return NULL;

    /* Pairs with the release in salvo_mock_stop. */
    while (!atomic_load_explicit(&thread->stop, memory_order_acquire)) {
        int64_t next_ns;
        int work;

        while (atomic_load_explicit(&thread->callers, memory_order_relaxed) > 0)
            sched_yield();
        pthread_mutex_lock(&thread->lock);
        work = mock_turn(mock);
        next_ns = work == 0 ? mock_next_ns(mock) : 0;
        pthread_mutex_unlock(&thread->lock);
        if (work == 0 && !mock->conf.spin)
            thread_wait(mock, next_ns);
    }
    pthread_mutex_lock(&thread->lock);
    mock_close(mock);
    pthread_mutex_unlock(&thread->lock);
    return NULL;
}

int salvo_mock_start_thread(struct salvo_mock *mock, char *errbuf, size_t errbuf_size)
{
    struct mock_thread *thread = mock->thread;
    int r;

    salvo_assert(!mock->started && !thread->running);
    salvo_assert(mock->own_net); /* simulated nets belong to the thread of their world */
    thread->errbuf = errbuf;
    thread->errbuf_size = errbuf_size;
    pthread_mutex_lock(&thread->lock);
    r = salvo_thread_start(&thread->thread, "salvo-mock", thread_run, mock);
    if (!r) {
        thread->running = true;
        while (!thread->open_done)
            pthread_cond_wait(&thread->opened, &thread->lock);
        r = thread->open_result;
    } else {
        snprintf(errbuf, errbuf_size,
                 "mock: no thread can be started: %s; raise the limit on memory (ulimit -v) or on "
                 "processes (ulimit -u, TasksMax)",
                 strerrordesc_np(-r));
    }
    pthread_mutex_unlock(&thread->lock);
    if (r && thread->running) {
        salvo_thread_join(thread->thread);
        thread->running = false;
    }
    return r ? salvo_trace(r) : 0;
}

int salvo_mock_start(struct salvo_mock *mock, char *errbuf, size_t errbuf_size)
{
    int r;

    salvo_assert(!mock->started && !mock->thread->running);
    mock_lock(mock);
    r = mock_open(mock, errbuf, errbuf_size);
    mock_unlock(mock);
    return r ? salvo_trace(r) : 0;
}

void salvo_mock_stop(struct salvo_mock *mock)
{
    struct mock_thread *thread = mock->thread;

    if (thread != NULL && thread->running) {
        /* Under the lock, so that the net is still there to be woken. The release pairs with the
         * acquire in thread_run. */
        mock_lock(mock);
        atomic_store_explicit(&thread->stop, true, memory_order_release);
        mock_wake(mock);
        mock_unlock(mock);
        salvo_thread_join(thread->thread);
        thread->running = false;
    } else if (mock->started) {
        mock_lock(mock);
        mock_close(mock);
        mock_unlock(mock);
    }
}

/* --- the caller's turn ------------------------------------------------------------------------ */

int salvo_mock_do_work(struct salvo_mock *mock)
{
    int work;

    salvo_assert(mock->started && !mock->thread->running);
    mock_lock(mock);
    work = mock_turn(mock);
    mock_unlock(mock);
    return work;
}

void salvo_mock_wait(struct salvo_mock *mock, int64_t timeout_ns)
{
    salvo_assert(mock->started && mock->own_net && !mock->thread->running);
    salvo_net_wait(mock->hosts[0].net, 1, 0, timeout_ns);
}

int64_t salvo_mock_next_ns(struct salvo_mock *mock)
{
    int64_t next_ns;

    mock_lock(mock);
    next_ns = mock_next_ns(mock);
    mock_unlock(mock);
    return next_ns;
}

/* --- names ------------------------------------------------------------------------------------ */

const char *salvo_mock_nameserver_address(struct salvo_mock *mock)
{
    return mock->nameserver_address;
}

const char *salvo_mock_host_address(struct salvo_mock *mock, uint32_t host)
{
    salvo_assert(host < mock->hosts_count);
    return mock->hosts[host].address;
}

struct salvo_endpoint salvo_mock_host_endpoint(struct salvo_mock *mock, uint32_t host)
{
    salvo_assert(host < mock->hosts_count);
    return mock->hosts[host].endpoint;
}

uint32_t salvo_mock_host_of_broker(struct salvo_mock *mock, uint32_t broker)
{
    salvo_assert(broker < mock->conf.brokers);
    return mock->conf.nameservers + broker;
}

const char *salvo_mock_net_name(struct salvo_mock *mock, const char **ret_note)
{
    salvo_assert(mock->started);
    if (ret_note != NULL)
        *ret_note = mock->net_note;
    return salvo_net_ops(mock->hosts[0].net)->name;
}

int32_t mock_version(enum salvo_mock_generation generation)
{
    switch (generation) {
    case SALVO_MOCK_4_7_1:
        return SALVO_VERSION_V4_7_1;
    case SALVO_MOCK_4_9_7:
        return 407;
    case SALVO_MOCK_5_3_3:
        break;
    }
    return SALVO_VERSION_V5_3_3;
}
