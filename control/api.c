/* include/salvo.h over sender and submitter. Thin: checks what a caller may get wrong, and hands
 * on. */
#include "control/api.h"

#include "base/error.h"
#include "control/config_table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct salvo_conf {
    struct salvo_config config;
    struct salvo_log log;
    salvo_log_fn *sink;
    void *sink_arg;
};

struct salvo_topic {
    struct salvo_sender *sender;
    uint32_t number;
};

struct salvo {
    struct salvo_sender sender;
    struct salvo_topic *topics; /* by number */
    char net_note[160];         /* of some of the lanes */
    salvo_log_fn *sink;
    void *sink_arg;
};

struct salvo_result {
    const struct salvo_result_slot *slot;
    struct salvo_submitter *submitter;
};

static const struct salvo_sender *api_sender(const struct salvo_submitter *s)
{
    return s->owner;
}

struct salvo_sender *salvo_sender_of(salvo *sender)
{
    return &sender->sender;
}

const char *salvo_version(void)
{
    return SALVO_BUILD_VERSION;
}

/* --- options ---------------------------------------------------------------------------------- */

salvo_conf *salvo_conf_new(void)
{
    salvo_conf *conf = calloc(1, sizeof(*conf));

    if (conf != NULL)
        salvo_config_init(&conf->config);
    return conf;
}

void salvo_conf_free(salvo_conf *conf)
{
    free(conf);
}

static int api_result(int r, const char *error, char *errbuf, size_t errbuf_size)
{
    if (r != 0 && errbuf != NULL && errbuf_size != 0)
        snprintf(errbuf, errbuf_size, "%s", error);
    return r;
}

int salvo_conf_set(salvo_conf *conf, const char *name, const char *value, char *errbuf,
                   size_t errbuf_size)
{
    char error[SALVO_CONFIG_ERROR_MAX] = "";
    int r = salvo_config_set(&conf->config, name, value, SALVO_CONFIG_ARGUMENT, error);

    return api_result(r, error, errbuf, errbuf_size);
}

int salvo_conf_load(salvo_conf *conf, const char *path, char *errbuf, size_t errbuf_size)
{
    char error[SALVO_CONFIG_ERROR_MAX] = "";
    int r = salvo_config_load_file(&conf->config, path, error);

    return api_result(r, error, errbuf, errbuf_size);
}

int salvo_conf_environment(salvo_conf *conf, char *errbuf, size_t errbuf_size)
{
    char error[SALVO_CONFIG_ERROR_MAX] = "";
    int r = salvo_config_load_environment(&conf->config, environ, error);

    return api_result(r, error, errbuf, errbuf_size);
}

int salvo_conf_get(const salvo_conf *conf, const char *name, char *buf, size_t buf_size)
{
    char text[4096]; /* no option's is longer */
    int option = config_find(name);

    if (option < 0)
        return salvo_raise(-ENOENT);
    salvo_config_value(&conf->config, (enum salvo_config_option)option, text, sizeof(text));
    if (buf_size != 0)
        snprintf(buf, buf_size, "%s", text);
    return (int)strlen(text);
}

int salvo_conf_log(salvo_conf *conf, salvo_log_fn *sink, void *arg)
{
    conf->sink = sink;
    conf->sink_arg = arg;
    return 0;
}

/* --- the sender ------------------------------------------------------------------------------- */

static void api_log(void *arg, enum salvo_log_level level, const char *line)
{
    salvo *sender = arg;

    sender->sink(sender->sink_arg, (int)level, line);
}

salvo *salvo_open_in(const salvo_conf *conf, const struct salvo_sender_env *env, char *errbuf,
                     size_t errbuf_size)
{
    char ignored[SALVO_ERROR_MAX];
    salvo *sender;
    struct salvo_log log = {.level = (enum salvo_log_level)conf->config.log_level};
    int r;

    if (errbuf == NULL || errbuf_size == 0) {
        errbuf = ignored;
        errbuf_size = sizeof(ignored);
    }
    sender =
        aligned_alloc(2 * SALVO_CACHE_LINE, salvo_align_up(sizeof(*sender), 2 * SALVO_CACHE_LINE));
    if (sender == NULL) {
        snprintf(errbuf, errbuf_size, "%s", SALVO_NO_MEMORY);
        return NULL;
    }
    sender->sink = conf->sink;
    sender->sink_arg = conf->sink_arg;
    if (conf->sink != NULL) {
        log.sink = api_log;
        log.arg = sender;
    }
    sender->topics = calloc(conf->config.topics_max, sizeof(*sender->topics));
    if (sender->topics == NULL) {
        snprintf(errbuf, errbuf_size, "%s", SALVO_NO_MEMORY);
        free(sender);
        return NULL;
    }
    r = salvo_sender_start(&sender->sender, &conf->config, &log, env, errbuf, errbuf_size);
    if (r) {
        free(sender->topics);
        free(sender);
        errno = -r;
        return NULL;
    }
    /* Lockable memory may end between one lane's ring and the next one's. */
    snprintf(sender->net_note, sizeof(sender->net_note), "in %u of %u lanes: %s",
             sender->sender.net_note_lanes, sender->sender.lanes_count,
             sender->sender.net_note != NULL ? sender->sender.net_note : "");
    for (uint32_t i = 0; i < conf->config.topics_max; i++)
        sender->topics[i] = (struct salvo_topic){&sender->sender, i};
    return sender;
}

salvo *salvo_open(const salvo_conf *conf, char *errbuf, size_t errbuf_size)
{
    return salvo_open_in(conf, NULL, errbuf, errbuf_size);
}

salvo_topic *salvo_topic_open(salvo *sender, const char *name)
{
    uint32_t number;
    int r = salvo_topic_check(name, strlen(name)) != 0 ? -EINVAL : 0;

    if (r == 0)
        r = salvo_control_topic_add(&sender->sender.control, name, strlen(name), &number);
    if (r) {
        errno = -r;
        return NULL;
    }
    return &sender->topics[number];
}

const char *salvo_topic_name(const salvo_topic *topic)
{
    return salvo_control_topic_name(&topic->sender->control, topic->number);
}

uint32_t salvo_topic_queues(const salvo_topic *topic)
{
    return salvo_control_topic_queues(&topic->sender->control, topic->number);
}

const char *salvo_topic_trouble(const salvo_topic *topic)
{
    return salvo_route_trouble(salvo_control_topic_state(&topic->sender->control, topic->number));
}

salvo_submitter *salvo_submitter_open(salvo *sender)
{
    salvo_submitter *s = NULL;
    int r = salvo_sender_submitter(&sender->sender, &s);

    if (r)
        errno = -r;
    return s;
}

int salvo_submitter_close(salvo_submitter *s)
{
    if (s->msg.slot != NULL || s->committed != s->polled)
        return salvo_raise(-EBUSY);
    salvo_sender_submitter_done((struct salvo_sender *)(uintptr_t)s->owner, s);
    return 0;
}

/* --- a message -------------------------------------------------------------------------------- */

int salvo_claim(salvo_submitter *s, salvo_topic *topic, size_t size_max, salvo_msg **ret_msg)
{
    if (s->msg.slot != NULL)
        return salvo_raise(-EINVAL); /* one claim at a time */
    return salvo_submitter_claim(s, topic->number, size_max, ret_msg);
}

void *salvo_body(salvo_msg *m)
{
    return salvo_slot_body(m->slot);
}

static int api_refuse(salvo_msg *m, const char *why)
{
    m->error = why;
    return salvo_raise(-EINVAL);
}

int salvo_set_tags(salvo_msg *m, const char *tags)
{
    return salvo_submitter_set_property(m, "TAGS", tags, true);
}

int salvo_set_keys(salvo_msg *m, const char *keys)
{
    return salvo_submitter_set_property(m, "KEYS", keys, true);
}

int salvo_set_property(salvo_msg *m, const char *name, const char *value)
{
    return salvo_submitter_set_property(m, name, value, false);
}

const char *salvo_msg_error(const salvo_msg *m)
{
    return m->error == NULL ? "" : m->error;
}

int salvo_set_queue(salvo_msg *m, uint32_t index)
{
    if (m->slot->flags & SALVO_SLOT_SHARD)
        return api_refuse(m, "a message has a queue or a shard, not both");
    m->slot->flags |= SALVO_SLOT_PINNED;
    m->slot->queue_index = index;
    return 0;
}

int salvo_set_shard(salvo_msg *m, const void *key, size_t key_size)
{
    if (m->slot->flags & SALVO_SLOT_PINNED)
        return api_refuse(m, "a message has a queue or a shard, not both");
    m->slot->flags |= SALVO_SLOT_SHARD;
    m->slot->shard_hash = (uint32_t)salvo_java_hash(key, key_size);
    return 0;
}

int salvo_set_flag(salvo_msg *m, int32_t flag)
{
    m->slot->flag = flag;
    return 0;
}

int salvo_set_deadline(salvo_msg *m, int64_t budget_ms)
{
    if (budget_ms < 1 || budget_ms > INT64_C(86400000))
        return api_refuse(m, "a deadline is 1 ms to 1 day");
    m->slot->budget_ns = budget_ms * SALVO_NS_PER_MS;
    return 0;
}

int salvo_set_delay(salvo_msg *m, int level)
{
    char text[16];
    int r;

    if (level < 1 || level > 18)
        return api_refuse(m, "a delay level is 1 to 18");
    snprintf(text, sizeof(text), "%d", level);
    r = salvo_submitter_set_property(m, "DELAY", text, true);
    if (r == 0)
        m->slot->flags |= SALVO_SLOT_ALONE;
    return r;
}

int salvo_set_wait_store(salvo_msg *m, int wait)
{
    if (wait)
        m->slot->flags &= ~(uint32_t)SALVO_SLOT_NO_WAIT;
    else
        m->slot->flags |= SALVO_SLOT_NO_WAIT;
    return 0;
}

int salvo_set_id(salvo_msg *m, const uint8_t id[12])
{
    memcpy(m->slot->id, id, SALVO_ID_SIZE);
    m->has_id = true;
    return 0;
}

int64_t salvo_now_ns(const salvo *sender)
{
    return salvo_clock_mono_ns(sender->sender.clock);
}

int salvo_set_now(salvo_msg *m, int64_t now_ns)
{
    return salvo_submitter_set_now(m, now_ns);
}

int salvo_commit(salvo_msg *m, size_t size, uint64_t cookie)
{
    return salvo_submitter_commit(m, size, cookie);
}

void salvo_abort(salvo_msg *m)
{
    salvo_submitter_abort(m);
}

/* --- results ---------------------------------------------------------------------------------- */

int salvo_poll(salvo_submitter *s, salvo_result_fn *each, void *arg, int results_max)
{
    int n = 0;

    if (s->polling)
        return salvo_raise(-EBUSY); /* by `each`, whose result is still the front one */
    s->polling = true;
    for (; n < results_max; n++) {
        struct salvo_result result = {.slot = salvo_submitter_result(s), .submitter = s};

        if (result.slot == NULL)
            break;
        each(arg, &result);
        salvo_submitter_result_done(s, result.slot);
    }
    s->polling = false;
    if (n != 0)
        salvo_submitter_results_release(s);
    return n;
}

int salvo_fd(salvo_submitter *s)
{
    return salvo_submitter_fd(s);
}

uint64_t salvo_out(const salvo_submitter *s)
{
    return s->committed - s->polled;
}

uint64_t salvo_result_cookie(const salvo_result *result)
{
    return result->slot->cookie;
}

enum salvo_code salvo_result_code(const salvo_result *result)
{
    return (enum salvo_code)result->slot->code;
}

enum salvo_stored salvo_result_stored(const salvo_result *result)
{
    return (enum salvo_stored)result->slot->stored;
}

int salvo_result_broker_code(const salvo_result *result)
{
    return result->slot->broker_code;
}

int salvo_result_tries(const salvo_result *result)
{
    return result->slot->tries;
}

int64_t salvo_result_done_ns(const salvo_result *result)
{
    return result->slot->done_ns;
}

const char *salvo_result_broker(const salvo_result *result)
{
    struct salvo_sender *sender = (struct salvo_sender *)(uintptr_t)api_sender(result->submitter);
    const char *name = NULL;

    if (result->slot->broker != UINT16_MAX)
        name = salvo_control_broker_name(&sender->control, result->slot->broker);
    return name == NULL ? "" : name;
}

int salvo_result_queue_id(const salvo_result *result)
{
    return result->slot->queueId;
}

int64_t salvo_result_queue_offset(const salvo_result *result)
{
    return result->slot->queue_offset;
}

char *salvo_result_msg_id(const salvo_result *result, char *buf, size_t buf_size)
{
    const struct salvo_submitter_conf *conf = &result->submitter->conf;
    char text[SALVO_MSG_ID_MAX];
    size_t size = salvo_id_write(conf->ip, conf->ip_size, result->slot->id, text);

    text[size] = '\0';
    snprintf(buf, buf_size, "%s", text);
    return buf;
}

char *salvo_result_offset_msg_id(const salvo_result *result, char *buf, size_t buf_size)
{
    const struct salvo_result_slot *slot = result->slot;

    if (slot->has_offset == 1)
        snprintf(buf, buf_size, "%08X%08X%016llX", slot->store_ip, slot->store_port,
                 (unsigned long long)slot->commit_log_offset);
    else if (slot->has_offset == 2)
        snprintf(buf, buf_size, "%.*s%08X%016llX", SALVO_HOST_TEXT_SIZE,
                 result->submitter->hosts[slot->store_ip], slot->store_port,
                 (unsigned long long)slot->commit_log_offset);
    else if (buf_size != 0)
        buf[0] = '\0';
    return buf;
}

const char *salvo_result_detail(const salvo_result *result)
{
    if (result->slot->detail == 0)
        return "";
    return result->submitter->details[result->slot->detail - 1];
}

static const struct {
    const char *name;
    const char *text;
} api_codes[SALVO_CODES] = {
    [SALVO_OK] = {"ok", "stored"},
    [SALVO_OK_FLUSH_DISK_TIMEOUT] = {"ok_flush_disk_timeout",
                                     "stored, but the broker did not flush it to disk in time"},
    [SALVO_OK_SLAVE_NOT_AVAILABLE] = {"ok_slave_not_available",
                                      "stored, but no slave was there to copy it to"},
    [SALVO_OK_FLUSH_SLAVE_TIMEOUT] = {"ok_flush_slave_timeout",
                                      "stored, but no slave confirmed it in time"},
    [SALVO_REFUSED] = {"refused", "the broker answered with an error"},
    [SALVO_TIMED_OUT] = {"timed_out", "no answer came in time; it may have been stored"},
    [SALVO_TIMED_OUT_UNSENT] = {"timed_out_unsent", "time was up before a byte of it was sent"},
    [SALVO_CONNECTION_LOST] = {"connection_lost",
                               "the connection died and no try was left; it may have been stored"},
    [SALVO_NO_ROUTE] = {"no_route", "the topic had no queue to send to until time was up"},
    [SALVO_UNSENT_STOPPED] = {"unsent_stopped", "the sender was stopped before it was sent"},
    [SALVO_UNSENT_EARLIER_FAILED] = {"unsent_earlier_failed",
                                     "not sent: an earlier message of its shard failed"},
};

const char *salvo_code_name(enum salvo_code code)
{
    return (unsigned)code < SALVO_CODES ? api_codes[code].name : "unknown";
}

const char *salvo_code_text(enum salvo_code code)
{
    return (unsigned)code < SALVO_CODES ? api_codes[code].text : "unknown";
}

const char *salvo_stored_name(enum salvo_stored stored)
{
    static const char *const names[] = {"no", "yes", "unknown"};

    return (unsigned)stored < SALVO_ARRAY_LENGTH(names) ? names[stored] : "unknown";
}

/* --- running and stopping --------------------------------------------------------------------- */

int salvo_do_work(salvo *sender)
{
    return salvo_sender_do_work(&sender->sender);
}

/* Longer is as good as for ever, and a sum with the clock stays in range: 30 years. */
#define API_WAIT_NS_MAX (INT64_C(1000000000) * SALVO_NS_PER_S)

void salvo_idle(salvo *sender, int work, int64_t max_us)
{
    salvo_sender_idle(&sender->sender, work,
                      SALVO_CLAMP(max_us, 0, API_WAIT_NS_MAX / SALVO_NS_PER_US) * SALVO_NS_PER_US);
}

int salvo_drain(salvo *sender, int64_t drain_ms)
{
    return salvo_sender_drain(&sender->sender,
                              SALVO_CLAMP(drain_ms, 0, API_WAIT_NS_MAX / SALVO_NS_PER_MS) *
                                  SALVO_NS_PER_MS);
}

int salvo_close(salvo *sender)
{
    for (uint32_t i = 0; i < sender->sender.config.submitters_max; i++) {
        uint32_t state =
            atomic_load_explicit(&sender->sender.submitters[i].state, memory_order_acquire);

        if (state == SALVO_SUBMITTER_OPEN || state == SALVO_SUBMITTER_TAKEN)
            return salvo_raise(-EBUSY);
    }
    salvo_sender_stop(&sender->sender);
    free(sender->topics);
    free(sender);
    return 0;
}

int salvo_capture_start(salvo *sender, const char *path, const char *filter, char *errbuf,
                        size_t errbuf_size)
{
    struct salvo_control *control = &sender->sender.control;
    char error[SALVO_ERROR_MAX];
    int r = salvo_capture_begin(&control->capture, "capture", path, filter != NULL ? filter : "",
                                error, sizeof(error));

    if (r == 0)
        salvo_control_wake(control);
    return api_result(r, error, errbuf, errbuf_size);
}

int salvo_capture_stop(salvo *sender)
{
    struct salvo_control *control = &sender->sender.control;
    int r = salvo_capture_end(&control->capture);

    if (r == 0)
        salvo_control_wake(control);
    return r;
}

int salvo_capture_active(const salvo *sender)
{
    return salvo_capture_runs(&sender->sender.control.capture);
}

int salvo_counter_value(salvo *sender, const char *name, uint64_t *ret_value)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < SALVO_LANE_COUNTERS; i++) {
        if (strcmp(salvo_lane_counter_info[i].name, name) != 0)
            continue;
        for (uint32_t k = 0; k < sender->sender.lanes_count; k++) {
            uint64_t value = salvo_counter_get(sender->sender.lanes[k]->conf.counters, i);

            if (salvo_lane_counter_info[i].kind == SALVO_COUNTER_MAX)
                sum = SALVO_MAX(sum, value);
            else
                sum += value;
        }
        *ret_value = sum;
        return 0;
    }
    for (unsigned i = 0; i < SALVO_CONTROL_COUNTERS; i++) {
        if (strcmp(salvo_control_counter_info[i].name, name) != 0)
            continue;
        *ret_value = salvo_counter_get(sender->sender.control.conf.counters, i);
        return 0;
    }
    return salvo_raise(-ENOENT);
}

const char *salvo_net_name(const salvo *sender)
{
    return salvo_net_ops(sender->sender.lanes[0]->net)->name;
}

const char *salvo_net_note(const salvo *sender)
{
    uint32_t lanes = sender->sender.net_note_lanes;

    return lanes == 0 || lanes == sender->sender.lanes_count ? sender->sender.net_note
                                                             : sender->net_note;
}
