/* Configuration and sender of a command: see sender.h. */
#include "cmd/sender.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/error.h"
#include "cmd/cmd.h"
#include "cmd/stop.h"
#include "codec/message.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

static int config_apply(const char *command, const struct cmd_settings *settings,
                        struct salvo_config *config)
{
    char error[SALVO_CONFIG_ERROR_MAX];

    for (unsigned i = 0; i < settings->count; i++) {
        const char *given = settings->items[i].given;
        const char *name = settings->items[i].name;
        const char *value = settings->items[i].value;
        int r;

        if (name == NULL)
            r = salvo_config_set_argument(config, value, error);
        else
            r = salvo_config_set(config, name, value, SALVO_CONFIG_ARGUMENT, error);
        if (r && name == NULL) /* the error names the setting itself */
            return cmd_fail(command, CMD_EXIT_INVALID, "%s", error);
        if (r)
            return cmd_fail(command, CMD_EXIT_INVALID, "%.*s: %s", (int)strcspn(given, "="), given,
                            error);
    }
    return 0;
}

int cmd_config_make(const char *command, const struct cmd_list *files,
                    const struct cmd_settings *settings, struct salvo_config *ret_config)
{
    char error[SALVO_CONFIG_ERROR_MAX];

    salvo_config_init(ret_config);
    for (unsigned i = 0; i < files->count; i++)
        if (salvo_config_load_file(ret_config, files->items[i], error))
            return cmd_fail(command, CMD_EXIT_INVALID, "--config: %s", error);
    if (salvo_config_load_environment(ret_config, environ, error))
        return cmd_fail(command, CMD_EXIT_INVALID, "%s", error);
    return config_apply(command, settings, ret_config);
}

void cmd_config_prefer(struct salvo_config *config, enum salvo_config_option option,
                       const char *value)
{
    char error[SALVO_CONFIG_ERROR_MAX];
    int r;

    if (config->sources[option] != SALVO_CONFIG_DEFAULT)
        return;
    r = salvo_config_set(config, salvo_config_option_info(option).name, value,
                         SALVO_CONFIG_ARGUMENT, error);
    salvo_assert(r == 0);
}

/* What is not at its default, through the public API. 0 or -errno. */
static int sender_conf_fill(salvo_conf *conf, const struct salvo_config *config, char *error,
                            size_t error_size)
{
    static char value[8192]; /* nameserver is the longest, 4,096 */

    for (unsigned i = 0; i < SALVO_OPTIONS; i++) {
        int r;

        if (config->sources[i] == SALVO_CONFIG_DEFAULT)
            continue;
        salvo_config_value(config, (enum salvo_config_option)i, value, sizeof(value));
        r = salvo_conf_set(conf, salvo_config_option_info((enum salvo_config_option)i).name, value,
                           error, error_size);
        if (r)
            return r;
    }
    return 0;
}

int cmd_sender_open(struct cmd_sender *s, const char *command, const struct salvo_config *config)
{
    char error[SALVO_ERROR_MAX] = SALVO_NO_MEMORY;
    salvo_conf *conf = salvo_conf_new();

    cmd_capture_init();
    *s = (struct cmd_sender){.command = command, .caller = config->threads == SALVO_THREADS_CALLER};
    if (conf != NULL && sender_conf_fill(conf, config, error, sizeof(error)) == 0)
        s->sender = salvo_open(conf, error, sizeof(error));
    if (conf != NULL)
        salvo_conf_free(conf);
    if (s->sender == NULL)
        return cmd_fail(command, CMD_EXIT_INVALID, "%s", error);
    cmd_capture_start(&s->capture, command, config, s->sender);
    return 0;
}

void cmd_sender_close(struct cmd_sender *s)
{
    cmd_capture_stop(&s->capture);
    if (s->sender != NULL && salvo_close(s->sender))
        cmd_fail(s->command, 0, "the sender could not be closed: results are missing");
    s->sender = NULL;
}

salvo_topic *cmd_sender_topic(struct cmd_sender *s, const char *name)
{
    int refusal = salvo_topic_check(name, strlen(name));
    salvo_topic *topic;

    if (refusal) {
        cmd_fail(s->command, 0, "--topic %s: %s", name, salvo_topic_refusal_text(refusal));
        return NULL;
    }
    topic = salvo_topic_open(s->sender, name);
    if (topic == NULL && errno == ENOSPC)
        cmd_fail(s->command, 0, "--topic %s: one too many; raise -D topics_max=N", name);
    else if (topic == NULL)
        cmd_fail(s->command, 0, "--topic %s: %s", name, salvo_error_text(-errno));
    return topic;
}

static int64_t sender_now_ns(void)
{
    return salvo_clock_mono_ns(salvo_clock_system());
}

bool cmd_sender_wait_route(struct cmd_sender *s, salvo_topic *topic, int64_t timeout_ms)
{
    int64_t until_ns = sender_now_ns() + timeout_ms * SALVO_NS_PER_MS;
    const char *trouble;

    while (salvo_topic_queues(topic) == 0 && cmd_stop == 0) {
        if (sender_now_ns() >= until_ns) {
            trouble = salvo_topic_trouble(topic);
            cmd_fail(s->command, 0,
                     "topic '%s' cannot be sent to: %s; waited for %lld ms, which timeout_ms sets",
                     salvo_topic_name(topic), trouble != NULL ? trouble : "no route came in time",
                     (long long)timeout_ms);
            return false;
        }
        cmd_sender_wait(s, NULL, -1, 1);
    }
    if (cmd_stop != 0)
        cmd_fail(s->command, 0, "stopped before topic '%s' had a route; nothing was sent",
                 salvo_topic_name(topic));
    return cmd_stop == 0;
}

/* Caller mode: turns until something happened, for at most a millisecond at a time, because the
 * sender's own descriptors cannot be waited for together with fd. */
static void sender_wait_turn(struct cmd_sender *s, int64_t timeout_ms)
{
    int64_t until_ns = sender_now_ns() + SALVO_MIN(timeout_ms, INT64_C(1)) * SALVO_NS_PER_MS;
    int64_t left_us;
    int work;

    do {
        work = salvo_do_work(s->sender);
        left_us = (until_ns - sender_now_ns()) / 1000;
        if (work == 0)
            salvo_idle(s->sender, work, SALVO_MAX(left_us, INT64_C(0)));
    } while (work == 0 && sender_now_ns() < until_ns);
}

bool cmd_sender_wait(struct cmd_sender *s, salvo_submitter *submitter, int fd, int64_t timeout_ms)
{
    struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.fd = -1, .events = POLLIN}};

    if (s->caller) {
        sender_wait_turn(s, timeout_ms);
        timeout_ms = 0;
    }
    if (submitter != NULL)
        fds[1].fd = salvo_fd(submitter);
    if (poll(fds, 2, (int)timeout_ms) < 0)
        return false;
    return fds[0].revents != 0;
}
