/* salvo check: every option with its source, the plan, and what the host offers. */
#include "cmd/check.h"
#include "base/error.h"
#include "cmd/cmd.h"
#include "cmd/sender.h"
#include "control/sender.h"

#include <errno.h>

struct check_values {
    struct cmd_settings settings;
    struct cmd_list configs;
};

static const struct cmd_option check_options[] = {
    CMD_SENDER_OPTIONS(struct check_values),
};

static const struct cmd_usage check_usage = {
    .command = "check",
    .summary =
        "Shows every option with where its value came from, the plan with its sizes, and what the "
        "host offers. Changes nothing.",
    .options = check_options,
    .options_count = SALVO_ARRAY_LENGTH(check_options),
    .notes = "Exit code: 0 salvo would start so, as far as options, plan, CPUs, addresses\n"
             "and files tell; 2 it would not. The cluster is not asked, and DPDK's devices are\n"
             "not opened.\n",
};

/* The plan against what the host has now. Chunks in DPDK's own memory are not told apart. */
static int check_plan(const struct salvo_config *config, const struct salvo_plan *plan)
{
    char error[SALVO_CONFIG_ERROR_MAX];
    struct salvo_memory memory;

    salvo_plan_print(plan, stdout);
    salvo_memory_read("", &memory);
    if (salvo_plan_fits(plan->arena_size, config->huge_pages, &memory, error) ||
        salvo_sender_check(config, error, sizeof(error)))
        return cmd_fail("check", CMD_EXIT_INVALID, "%s", error);
    return 0;
}

int cmd_check(int argc, char **argv)
{
    static struct check_values values;
    static struct salvo_config config;
    static struct salvo_plan plan;
    char error[SALVO_CONFIG_ERROR_MAX];
    uint32_t rings;
    int code, r;

    if (!cmd_options_begin(&check_usage, argc, argv, &values, &code))
        return code;
    code = cmd_config_make("check", &values.configs, &values.settings, &config);
    if (code)
        return code;
    printf("options\n");
    salvo_config_print(&config, stdout);
    printf("\nplan\n");
    if (salvo_plan_make(&config, &plan, error)) {
        code = cmd_fail("check", CMD_EXIT_INVALID, "%s", error);
        plan.lanes_count = 1; /* one of the usual size, to tell of the host */
        salvo_net_conf_default(&plan.net, NULL);
    } else {
        code = check_plan(&config, &plan);
    }
    printf("\n");
    r = cmd_check_host(&plan, code == 0, stdout, &rings);
    /* With auto too: where no io_uring can be opened for want of them, no epoll can. */
    if (code == 0 && (config.net == SALVO_NET_URING || config.net == SALVO_NET_AUTO) &&
        r == -EMFILE)
        code = cmd_fail("check", CMD_EXIT_INVALID,
                        "too few descriptors for the lanes' networks: " SALVO_RAISE_DESCRIPTORS);
    else if (code == 0 && config.net == SALVO_NET_URING && r)
        code = cmd_fail("check", CMD_EXIT_INVALID,
                        "the host refuses io_uring%s: set net to auto or epoll",
                        rings != 0 ? " to some lanes" : "");
    if (config.nameserver[0] == '\0')
        printf("\nno nameserver: salvo load brings a mock cluster of its own, salvo send and "
               "libsalvo refuse to start\n");
    return code;
}
