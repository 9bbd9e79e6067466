/* salvo send: lines of a file or of standard input, one message each; or a whole file as one
 * message. */
#include "base/assert.h"
#include "base/bytes.h"
#include "base/error.h"
#include "cmd/cmd.h"
#include "cmd/frame.h"
#include "cmd/lines.h"
#include "cmd/sender.h"
#include "cmd/stop.h"
#include "codec/message.h"
#include "codec/route_data.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Failures written out one by one; the others are counted. */
#define SEND_COMPLAINTS_MAX    10u
#define SEND_PROPERTY_NAME_MAX 255

struct send_values {
    struct cmd_settings settings;
    struct cmd_list configs;
    const char *topic;
    struct cmd_list keys;
    const char *tag;
    struct cmd_list properties;
    bool whole;
    bool verbose;
    const char *file;
};

#define AT(field) offsetof(struct send_values, field)

static const struct cmd_option send_options[] = {
    {"topic", 0, "T", CMD_TEXT, AT(topic), 0, 0, NULL, "where to; needed"},
    CMD_SENDER_OPTIONS(struct send_values),
    {"key", 0, "K", CMD_LIST, AT(keys), 0, 0, NULL, "key of each message; may be repeated"},
    {"tag", 0, "G", CMD_TEXT, AT(tag), 0, 0, NULL, "tag of each message"},
    {"property", 0, "N=V", CMD_LIST, AT(properties), 0, 0, NULL,
     "a property of each message; may be repeated"},
    {"whole", 0, NULL, CMD_FLAG, AT(whole), 0, 0, NULL,
     "the whole file is one message, line feeds and all"},
    {"verbose", 0, NULL, CMD_FLAG, AT(verbose), 0, 0, NULL,
     "print id, broker, queue and offset of each message, and list each failure"},
};

static_assert(SEND_COMPLAINTS_MAX == 10, "--help says so");

static const struct cmd_usage send_usage = {
    .command = "send",
    .summary =
        "Sends each line of FILE, or of standard input, as one message. Empty lines are passed "
        "over. Ends when the input does and every message has its result.",
    .positional = "[FILE|-]",
    .positional_offset = AT(file),
    .options = send_options,
    .options_count = SALVO_ARRAY_LENGTH(send_options),
    .notes = "A line ends at its line feed. A carriage return in front of it is part of the\n"
             "message, as any other byte; tr -d '\\r' takes it out.\n"
             "Without --verbose the first 10 failures are listed, and the others counted.\n"
             "Exit code: 0 all acknowledged, 1 some message was not, 2 it could not start, or\n"
             "what it printed was lost: then no more of the input is read.\n\n"
             "  tail -F app.log | salvo send --topic Logs --nameserver 127.0.0.1:9876\n"
             "  salvo send --topic Pictures --whole --property type=png cat.png\n",
};

struct send_run {
    struct send_values values;
    struct salvo_config config;
    struct cmd_sender sender;
    salvo_submitter *submitter;
    salvo_topic *topic;
    char keys[4096]; /* separated by blanks */
    int fd;

    uint64_t read;
    uint64_t acked;
    uint64_t failed;
    uint64_t empty;
    uint64_t too_long;
    uint64_t not_sent; /* Ctrl-C came first, or the output was lost */
    int output_error;  /* errno of the write that was the last; 0: none yet */
    char stopped[256]; /* what either left of the input; "": nothing */
};

/* "line 17", or the file with --whole. */
static const char *send_place(const struct send_run *run, uint64_t number, char buf[48])
{
    if (run->values.whole)
        snprintf(buf, 48, "the file");
    else
        snprintf(buf, 48, "line %llu", (unsigned long long)number);
    return buf;
}

/* No more is read of the input. A list of what was sent that somebody wanted and nobody has is
 * reason enough. */
static bool send_over(const struct send_run *run)
{
    return cmd_stop != 0 || run->output_error != 0;
}

/* What was printed goes out; the first failure of that is the last thing that is printed. */
static void send_flush(struct send_run *run)
{
    if (run->output_error == 0 && fflush(stdout))
        run->output_error = errno;
}

static void send_complain(struct send_run *run, uint64_t number, const char *what,
                          const char *detail)
{
    char place[48];

    if (!run->values.verbose && run->failed + run->too_long > SEND_COMPLAINTS_MAX)
        return;
    send_flush(run); /* cmd_fail would not say that it failed */
    cmd_fail("send", 0, "%s: %s%s%s", send_place(run, number, place), what,
             detail[0] != '\0' ? ": " : "", detail);
    if (!run->values.verbose && run->failed + run->too_long == SEND_COMPLAINTS_MAX)
        cmd_fail("send", 0, "further failures are only counted; --verbose shows each");
}

/* A message that no broker has acknowledged. Of one refused by an answer, which and whose: a remark
 * need not be in it. */
static void send_failed(struct send_run *run, const salvo_result *result)
{
    enum salvo_code code = salvo_result_code(result);
    int answer = salvo_result_broker_code(result);
    const char *broker = salvo_result_broker(result);
    char refused[SALVO_ROUTE_NAME_MAX + 96];
    const char *what = salvo_code_text(code);

    run->failed++;
    if (code == SALVO_REFUSED && answer >= 0) {
        snprintf(refused, sizeof(refused), "refused with %d (%s)%s%s", answer,
                 frame_response_name(answer), broker[0] != '\0' ? " by " : "", broker);
        what = refused;
    }
    send_complain(run, salvo_result_cookie(result), what, salvo_result_detail(result));
}

static void send_result(void *arg, const salvo_result *result)
{
    struct send_run *run = arg;
    char id[SALVO_MSG_ID_MAX], broker[SALVO_ROUTE_NAME_MAX];

    if (salvo_result_code(result) > SALVO_OK_FLUSH_SLAVE_TIMEOUT) {
        send_failed(run, result);
        return;
    }
    run->acked++;
    if (!run->values.verbose || run->output_error != 0)
        return;
    snprintf(broker, sizeof(broker), "%s", salvo_result_broker(result));
    salvo_text_make_printable(broker);
    if (printf("%s\t%s\t%d\t%lld\n", salvo_result_msg_id(result, id, sizeof(id)), broker,
               salvo_result_queue_id(result), (long long)salvo_result_queue_offset(result)) < 0)
        run->output_error = errno;
}

static int send_poll(struct send_run *run)
{
    int count = salvo_poll(run->submitter, send_result, run, 256);

    if (count > 0 && run->values.verbose)
        send_flush(run);
    return count;
}

/* The exit code for a value that is refused; of a long one its beginning is enough. */
static int send_refuse(const char *option, const char *value, const char *why)
{
    return cmd_fail("send", CMD_EXIT_INVALID, "--%s %.80s%s: %s", option, value,
                    strlen(value) > 80 ? "..." : "", why);
}

/* Key, tag and properties on a message. 0; else the exit code, with the option named. */
static int send_decorate(struct send_run *run, salvo_msg *m)
{
    const struct send_values *values = &run->values;
    char name[SEND_PROPERTY_NAME_MAX + 1];

    if (run->keys[0] != '\0' && salvo_set_keys(m, run->keys))
        return send_refuse("key", run->keys, salvo_msg_error(m));
    if (values->tag != NULL && salvo_set_tags(m, values->tag))
        return send_refuse("tag", values->tag, salvo_msg_error(m));
    for (unsigned i = 0; i < values->properties.count; i++) {
        const char *item = values->properties.items[i];
        const char *equals = strchr(item, '=');
        int size = (int)SALVO_MIN((size_t)(equals - item), sizeof(name) - 1);

        snprintf(name, sizeof(name), "%.*s", size, item);
        if (salvo_set_property(m, name, equals + 1))
            return send_refuse("property", item, salvo_msg_error(m));
    }
    return 0;
}

/* A claim, as long as it takes. 0, or -EINTR when no more is to be sent. */
static int send_claim(struct send_run *run, size_t size, salvo_msg **ret_msg)
{
    int r;

    while ((r = salvo_claim(run->submitter, run->topic, size, ret_msg)) > 0) {
        if (send_over(run))
            return -EINTR;
        if (send_poll(run) == 0)
            cmd_sender_wait(&run->sender, run->submitter, -1, 100);
    }
    return r;
}

/* One message. 0; else the exit code. */
static int send_one(struct send_run *run, const void *body, size_t size, uint64_t number)
{
    salvo_msg *m;
    int r = send_claim(run, size, &m);

    run->read++;
    if (r == -EINTR) {
        run->not_sent++;
        return 0;
    }
    if (r)
        return cmd_fail("send", CMD_EXIT_FAILED, "line %llu: %s", (unsigned long long)number,
                        strerror(-r));
    r = send_decorate(run, m);
    if (r) {
        salvo_abort(m);
        return r;
    }
    memcpy(salvo_body(m), body, size);
    salvo_commit(m, size, number);
    return 0;
}

/* A value that no message would be taken with. 0, or the exit code. */
static int send_check_value(const char *option, const char *value)
{
    int refusal = salvo_property_value_check(value, strlen(value));

    if (refusal)
        return send_refuse(option, value, salvo_refusal_text(refusal));
    return 0;
}

static int send_check_property(const char *item)
{
    const char *equals = strchr(item, '=');
    int refusal;

    if (equals == NULL || equals == item || equals - item > SEND_PROPERTY_NAME_MAX)
        return send_refuse("property", item, "it takes NAME=VALUE, such as --property color=red");
    refusal = salvo_property_check(item, (size_t)(equals - item), equals + 1, strlen(equals + 1));
    if (refusal)
        return send_refuse("property", item, salvo_refusal_text(refusal));
    return 0;
}

/* A message has one property of a name. The items up to `index` have their '='. */
static int send_check_property_again(const struct cmd_list *properties, unsigned index)
{
    const char *item = properties->items[index];
    size_t size = (size_t)(strchr(item, '=') - item) + 1; /* with it */

    for (unsigned i = 0; i < index; i++)
        if (strncmp(properties->items[i], item, size) == 0)
            return send_refuse("property", item,
                               "this name was given before; a property has one value");
    return 0;
}

/* Mistakes in what every message carries are found before anything is opened. */
static int send_check(const struct send_values *values)
{
    int r = 0;

    for (unsigned i = 0; i < values->keys.count && r == 0; i++)
        r = send_check_value("key", values->keys.items[i]);
    if (r == 0 && values->tag != NULL)
        r = send_check_value("tag", values->tag);
    for (unsigned i = 0; i < values->properties.count && r == 0; i++) {
        r = send_check_property(values->properties.items[i]);
        if (r == 0)
            r = send_check_property_again(&values->properties, i);
    }
    return r;
}

static void send_line_long(struct send_run *run, uint64_t number)
{
    char what[160];

    run->read++;
    run->too_long++;
    snprintf(what, sizeof(what),
             "over %llu bytes (body_size_max), not sent; the brokers' limit is 4 MiB",
             (unsigned long long)run->config.body_size_max);
    send_complain(run, number, what, "");
}

/* The end of the input, or what is in its way. */
static int send_read(struct send_run *run, struct lines *lines)
{
    int r;

    if (!cmd_sender_wait(&run->sender, run->submitter, run->fd, 100))
        return 0;
    r = lines_read(lines, run->fd);
    if (r && r != -EAGAIN && r != -EINTR)
        return cmd_fail(
            "send", lines->number == 0 ? CMD_EXIT_INVALID : CMD_EXIT_FAILED, "reading %s: %s",
            run->values.file != NULL ? run->values.file : "standard input", salvo_error_text(r));
    return 0;
}

/* Keeps for the report what was left, and why unless by Ctrl-C. A line that has no end yet may be
 * half of one: it is not sent. Nor is one that waited for room. */
static void send_stopped(struct send_run *run, const struct lines *lines)
{
    size_t left = lines->end - lines->start;
    bool half = left > 0 && memchr(lines->buffer + lines->start, '\n', left) == NULL;
    char place[64], why[96] = "";

    if (run->output_error != 0) {
        snprintf(why, sizeof(why), "standard output: %s; ", strerror(run->output_error));
        clearerr(stdout); /* it is told here, and main need not */
    }
    snprintf(place, sizeof(place),
             run->not_sent > 0 ? "at line %llu, not sent" : "behind line %llu",
             (unsigned long long)lines->number);
    if (left > 0)
        snprintf(run->stopped, sizeof(run->stopped),
                 "%sstopped %s; %zu bytes read behind it%s, and what follows them, were not sent",
                 why, place, left, half ? ", an unfinished line" : "");
    else
        snprintf(run->stopped, sizeof(run->stopped), "%sstopped %s; what follows was not read", why,
                 place);
}

/* Every line of the input. 0 or the exit code. */
static int send_lines(struct send_run *run)
{
    const uint8_t *line;
    struct lines lines;
    size_t size;
    int r = 0;

    if (lines_init(&lines, run->config.body_size_max))
        return cmd_fail("send", CMD_EXIT_INVALID, SALVO_NO_MEMORY);
    for (bool over = false; !over && r == 0 && !send_over(run);) {
        switch (lines_next(&lines, &line, &size)) {
        case LINES_LINE:
            r = send_one(run, line, size, lines.number);
            break;
        case LINES_EMPTY:
            run->empty++;
            break;
        case LINES_LONG:
            send_line_long(run, lines.number);
            break;
        case LINES_MORE:
            send_poll(run);
            if (!send_over(run))
                r = send_read(run, &lines);
            break;
        case LINES_END:
            over = true;
            break;
        }
    }
    if (run->not_sent > 0 || (send_over(run) && !(lines.ended && lines.start == lines.end)))
        send_stopped(run, &lines);
    lines_deinit(&lines);
    return r;
}

/* Ctrl-C came before the end of the file: half of one is not sent. */
static void send_whole_stopped(struct send_run *run, size_t size)
{
    run->read++;
    run->not_sent++;
    snprintf(run->stopped, sizeof(run->stopped),
             "stopped before the file's end; the %zu bytes read were not sent", size);
}

/* The whole input as one message: as a line that no line feed ends. */
static int send_whole(struct send_run *run)
{
    struct lines lines;
    int r = 0;

    if (lines_init(&lines, run->config.body_size_max))
        return cmd_fail("send", CMD_EXIT_INVALID, SALVO_NO_MEMORY);
    while (r == 0 && !lines.ended && lines.end <= lines.size_max && cmd_stop == 0)
        r = send_read(run, &lines);
    if (r == 0 && lines.end > lines.size_max)
        send_line_long(run, 1);
    else if (r == 0 && !lines.ended)
        send_whole_stopped(run, lines.end);
    else if (r == 0 && lines.end == 0)
        run->empty++;
    else if (r == 0)
        r = send_one(run, lines.buffer, lines.end, 1);
    lines_deinit(&lines);
    return r;
}

/* Waits for the results that are missing; at the drain's deadline they come all at once. */
static void send_drain(struct send_run *run)
{
    salvo *sender = run->sender.sender;
    int64_t ns = (run->config.drain_ms + run->config.timeout_ms) * SALVO_NS_PER_MS;
    int64_t until_ns = salvo_now_ns(sender) + ns;

    while (salvo_out(run->submitter) > 0 && salvo_now_ns(sender) < until_ns)
        if (send_poll(run) == 0)
            cmd_sender_wait(&run->sender, run->submitter, -1, 10);
    salvo_drain(sender, 0);
    while (send_poll(run) > 0)
        ;
}

/* A pipe that nobody writes into yet is waited for here. Ctrl-C leaves it unopened: nothing will be
 * read. */
static int send_open_file(struct send_run *run)
{
    const char *file = run->values.file;

    run->fd = STDIN_FILENO;
    if (file == NULL || strcmp(file, "-") == 0)
        return 0;
    do {
        run->fd = open(file, O_RDONLY | O_CLOEXEC);
    } while (run->fd < 0 && errno == EINTR && cmd_stop == 0);
    if (run->fd < 0 && errno != EINTR)
        return cmd_fail("send", CMD_EXIT_INVALID, "%s: %s", file, salvo_error_text(-errno));
    return 0;
}

static int send_join_keys(struct send_run *run)
{
    size_t used = 0;

    for (unsigned i = 0; i < run->values.keys.count; i++) {
        int size = snprintf(run->keys + used, sizeof(run->keys) - used, "%s%s", i > 0 ? " " : "",
                            run->values.keys.items[i]);

        used += (size_t)size;
        if (used >= sizeof(run->keys))
            return cmd_fail("send", CMD_EXIT_INVALID, "--key: over %zu bytes together",
                            sizeof(run->keys) - 1);
    }
    return 0;
}

static int send_open(struct send_run *run)
{
    int r;

    run->fd = -1;
    if (run->values.topic == NULL)
        return cmd_fail("send", CMD_EXIT_INVALID, "--topic is missing; write --topic NAME");
    r = send_check(&run->values);
    if (r == 0)
        r = cmd_config_make("send", &run->values.configs, &run->values.settings, &run->config);
    if (r == 0 && run->config.nameserver[0] == '\0')
        r = cmd_fail("send", CMD_EXIT_INVALID,
                     "no nameserver; give --nameserver HOST:PORT, or SALVO_NAMESERVER in the "
                     "environment, or one in --config");
    if (r == 0 && strcmp(salvo_config_enum_name(&run->config, SALVO_OPTION_net), "null") == 0)
        r = cmd_fail("send", CMD_EXIT_INVALID,
                     "option net: null answers by itself and sends nothing, which is for "
                     "measuring with load; leave net out");
    if (r == 0)
        r = send_join_keys(run);
    if (r == 0)
        r = send_open_file(run);
    if (r == 0)
        r = cmd_sender_open(&run->sender, "send", &run->config);
    if (r)
        return r;
    if (salvo_net_note(run->sender.sender) != NULL)
        cmd_fail("send", 0, "%s", salvo_net_note(run->sender.sender));
    run->topic = cmd_sender_topic(&run->sender, run->values.topic);
    if (run->topic == NULL)
        return CMD_EXIT_INVALID;
    run->submitter = salvo_submitter_open(run->sender.sender);
    if (run->submitter == NULL)
        return cmd_fail("send", CMD_EXIT_INVALID, "no submitter: %s",
                        errno == ENOSPC ? "raise -D submitters_max=N" : salvo_error_text(-errno));
    return 0;
}

static void send_close(struct send_run *run)
{
    if (run->submitter != NULL)
        salvo_submitter_close(run->submitter);
    cmd_sender_close(&run->sender);
    if (run->fd > STDIN_FILENO)
        close(run->fd);
}

static int send_report(const struct send_run *run, int code)
{
    uint64_t failed = run->failed + run->too_long + run->not_sent;

    if (run->stopped[0] != '\0')
        cmd_fail("send", 0, "%s", run->stopped);
    fprintf(stderr, "salvo send: %llu read, %llu acknowledged, %llu failed",
            (unsigned long long)run->read, (unsigned long long)run->acked,
            (unsigned long long)failed);
    if (run->too_long > 0)
        fprintf(stderr, " (%llu too long)", (unsigned long long)run->too_long);
    if (run->empty > 0)
        fprintf(stderr, ", %llu empty passed over", (unsigned long long)run->empty);
    fprintf(stderr, "\n");
    if (run->output_error != 0)
        return CMD_EXIT_INVALID;
    return code == 0 && failed > 0 ? CMD_EXIT_FAILED : code;
}

int cmd_send(int argc, char **argv)
{
    static struct send_run run;
    int code;

    if (!cmd_options_begin(&send_usage, argc, argv, &run.values, &code))
        return code;
    cmd_stop_init();
    code = send_open(&run);
    if (code == 0) {
        cmd_stop_opened();
        code = run.values.whole ? send_whole(&run) : send_lines(&run);
        send_drain(&run);
        code = send_report(&run, code);
    }
    send_close(&run);
    return code;
}
