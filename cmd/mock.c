/* salvo mock: the mock cluster, for any RocketMQ client. */
#include "mock/mock.h"
#include "base/assert.h"
#include "base/cpu.h"
#include "base/error.h"
#include "cmd/cmd.h"
#include "cmd/input.h"
#include "cmd/options.h"
#include "cmd/stop.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define MOCK_SCRIPT_SIZE_MAX SALVO_MIB(1)
#define MOCK_STATS_TEXT_MAX  4096
#define MOCK_CPU_NONE        UINT64_MAX

struct mock_values {
    uint64_t port;
    const char *listen;
    uint64_t nameservers;
    uint64_t brokers;
    struct cmd_list topics;
    const char *script;
    bool answer_only;
    bool no_auto_create;
    const char *like;
    const char *answers;
    const char *net;
    bool spin;
    uint64_t cpu; /* MOCK_CPU_NONE: not pinned */
};

#define AT(field) offsetof(struct mock_values, field)

static const struct cmd_option mock_options[] = {
    {"port", 0, "P", CMD_COUNT, AT(port), 0, 65535, NULL,
     "port of the nameserver, brokers take the next ones; default 0: any free ones"},
    {"listen", 0, "ADDRESS", CMD_TEXT, AT(listen), 0, 0, NULL,
     "address to listen on; default 127.0.0.1"},
    {"nameservers", 0, "N", CMD_COUNT, AT(nameservers), 1, SALVO_MOCK_NAMESERVERS_MAX, NULL,
     "nameservers; default 1"},
    {"brokers", 0, "N", CMD_COUNT, AT(brokers), 1, SALVO_MOCK_BROKERS_MAX, NULL,
     "brokers; default 1"},
    {"topic", 0, "T:QUEUES", CMD_LIST, AT(topics), 0, 0, NULL,
     "a topic that is there from the start; may be repeated"},
    {"no-auto-create", 0, NULL, CMD_FLAG, AT(no_auto_create), 0, 0, NULL,
     "refuse messages to other topics, instead of creating them"},
    {"script", 0, "FILE", CMD_TEXT, AT(script), 0, 0, NULL,
     "misbehave as the script says (mock/README.md); - is standard input"},
    {"answer-only", 0, NULL, CMD_FLAG, AT(answer_only), 0, 0, NULL,
     "count and answer sends without looking at them: for measuring clients"},
    {"like", 0, "VERSION", CMD_TEXT, AT(like), 0, 0, NULL,
     "behave like RocketMQ 4.7.1, 4.9.7 or 5.3.3; default 5.3.3"},
    {"answers", 0, "FORM", CMD_TEXT, AT(answers), 0, 0, NULL,
     "header form of answers: request (as the request had it), json or binary; default request"},
    {"net", 0, "NAME", CMD_TEXT, AT(net), 0, 0, NULL, "auto, uring or epoll; default auto"},
    {"spin", 0, NULL, CMD_FLAG, AT(spin), 0, 0, NULL, "never sleep: lowest latency, a whole core"},
    {"cpu", 0, "N", CMD_COUNT, AT(cpu), 0, SALVO_CPU_MAX - 1, NULL,
     "pin the mock's thread to this CPU"},
};

static const struct cmd_usage mock_usage = {
    .command = "mock",
    .summary =
        "Runs a mock cluster in one process: nameservers and brokers that check what they get and "
        "answer as real ones do. Prints the nameserver address when it is ready.",
    .options = mock_options,
    .options_count = SALVO_ARRAY_LENGTH(mock_options),
    .notes = "Ctrl-C stops it and prints what it has seen.\n\n"
             "  salvo mock --port 9876 --topic Orders:8\n",
};

/* The mock's thread takes its CPU for a wish, a user does not. 0 or the exit code. */
static int mock_check_cpu(int cpu)
{
    char allowed[128];

    if (cpu < 0 || salvo_cpu_is_allowed(cpu))
        return 0;
    salvo_cpu_print_allowed(allowed, sizeof(allowed));
    return cmd_fail("mock", CMD_EXIT_INVALID,
                    "--cpu %d: this process may not use that CPU; it may use %s", cpu, allowed);
}

static int mock_conf_fill(struct salvo_mock_conf *conf, const struct mock_values *values)
{
    char error[512];

    salvo_mock_conf_default(conf);
    conf->nameservers = (uint32_t)values->nameservers;
    conf->brokers = (uint32_t)values->brokers;
    conf->port = (uint16_t)values->port;
    conf->answer_only = values->answer_only;
    conf->remember = false; /* no checker in this process could ask */
    conf->auto_create = !values->no_auto_create;
    conf->spin = values->spin;
    conf->cpu = values->cpu == MOCK_CPU_NONE ? -1 : (int)values->cpu;
    if (values->listen != NULL)
        conf->listen_address = values->listen;
    if (values->net != NULL)
        conf->net = values->net;
    if (strcmp(conf->net, "auto") != 0 && strcmp(conf->net, "uring") != 0 &&
        strcmp(conf->net, "epoll") != 0)
        return cmd_fail("mock", CMD_EXIT_INVALID,
                        "--net %s: no network that can listen; it may be auto, uring or epoll",
                        conf->net);
    if (values->like != NULL && salvo_mock_generation_parse(values->like, &conf->generation))
        return cmd_fail("mock", CMD_EXIT_INVALID,
                        "--like %s: no such generation; it may be 4.7.1, 4.9.7 or 5.3.3",
                        values->like);
    if (values->answers != NULL && salvo_mock_form_parse(values->answers, &conf->answer_form))
        return cmd_fail("mock", CMD_EXIT_INVALID,
                        "--answers %s: no such form; it may be request, json or binary",
                        values->answers);
    for (unsigned i = 0; i < values->topics.count; i++) {
        const char *text = values->topics.items[i];

        if (salvo_mock_topic_parse(text, &conf->topics[i], error, sizeof(error)))
            return cmd_fail("mock", CMD_EXIT_INVALID, "--topic %s: %s", text, error);
        for (unsigned k = 0; k < i; k++)
            if (strcmp(conf->topics[k].name, conf->topics[i].name) == 0)
                return cmd_fail("mock", CMD_EXIT_INVALID,
                                "--topic %s: given before as %s; take one of them out", text,
                                values->topics.items[k]);
        conf->topics_count++;
    }
    return mock_check_cpu(conf->cpu);
}
static_assert(CMD_LIST_MAX <= SALVO_MOCK_TOPICS_MAX, "every --topic has its place");

/* Routes give clients the address that is listened on. */
static void mock_note_listen(const char *address)
{
    struct in6_addr v6;
    struct in_addr v4;

    if ((inet_pton(AF_INET, address, &v4) == 1 && v4.s_addr == htonl(INADDR_ANY)) ||
        (inet_pton(AF_INET6, address, &v6) == 1 && IN6_IS_ADDR_UNSPECIFIED(&v6)))
        cmd_fail("mock", 0,
                 "--listen %s: routes name the brokers so, and lead a client on another machine to "
                 "itself; for such a client listen on the address that it knows this machine by",
                 address);
}

static int mock_load_script(struct salvo_mock *mock, const char *path)
{
    struct cmd_input input;
    char error[512];
    int r;

    if (path == NULL)
        return 0;
    if (cmd_input_read("mock", path, MOCK_SCRIPT_SIZE_MAX, &input))
        return CMD_EXIT_INVALID;
    r = salvo_mock_script(mock, (const char *)input.bytes, input.size, error, sizeof(error));
    cmd_input_free(&input);
    if (r)
        return cmd_fail("mock", CMD_EXIT_INVALID, "--script %s: %s", path, error);
    return 0;
}

static void mock_run(struct salvo_mock *mock, const struct mock_values *values)
{
    char text[MOCK_STATS_TEXT_MAX];
    const char *note = NULL;

    if (salvo_mock_net_name(mock, &note) != NULL && note != NULL)
        cmd_fail("mock", 0, "%s", note);
    if (values->listen != NULL)
        mock_note_listen(values->listen);
    printf("nameserver %s\n", salvo_mock_nameserver_address(mock));
    if (fflush(stdout))
        return; /* nobody learns where it is: main() says so */
    while (cmd_stop == 0)
        poll(NULL, 0, 200);
    salvo_mock_stats_text(mock, text, sizeof(text));
    fputs(text, stdout);
}

int cmd_mock(int argc, char **argv)
{
    struct mock_values values = {.nameservers = 1, .brokers = 1, .cpu = MOCK_CPU_NONE};
    struct salvo_mock_conf *conf;
    struct salvo_mock *mock = NULL;
    char error[512];
    int code;

    if (!cmd_options_begin(&mock_usage, argc, argv, &values, &code))
        return code;
    cmd_stop_init();
    conf = calloc(1, sizeof(*conf));
    if (conf == NULL)
        return cmd_fail("mock", CMD_EXIT_INVALID, SALVO_NO_MEMORY);
    code = mock_conf_fill(conf, &values);
    if (code == 0 && salvo_mock_new(conf, &mock, error, sizeof(error)))
        code = cmd_fail("mock", CMD_EXIT_INVALID, "%s", error);
    if (code == 0)
        code = mock_load_script(mock, values.script);
    if (code == 0 && salvo_mock_start_thread(mock, error, sizeof(error)))
        code = cmd_fail("mock", CMD_EXIT_INVALID, "%s", error);
    if (code == 0) {
        cmd_stop_opened();
        mock_run(mock, &values);
    }
    salvo_mock_free(mock);
    free(conf);
    return code;
}
