/* The embedded mock cluster: see cluster.h. */
#include "cmd/cluster.h"
#include "base/error.h"
#include "cmd/cmd.h"

#include <stdlib.h>

static int cluster_fill(const char *command, struct salvo_mock_conf *conf,
                        const char *const *topics, unsigned topics_count)
{
    char error[256];

    salvo_mock_conf_default(conf);
    conf->remember = false; /* nobody asks, and a long run must not grow */
    for (unsigned i = 0; i < topics_count && i < SALVO_MOCK_TOPICS_MAX; i++) {
        if (salvo_mock_topic_parse(topics[i], &conf->topics[i], error, sizeof(error)))
            return cmd_fail(command, CMD_EXIT_INVALID, "--topic %s: %s", topics[i], error);
        conf->topics_count++;
    }
    return 0;
}

int cmd_cluster_start(const char *command, const char *const *topics, unsigned topics_count,
                      struct salvo_mock **ret_mock)
{
    struct salvo_mock_conf *conf = calloc(1, sizeof(*conf));
    struct salvo_mock *mock = NULL;
    char error[512];
    int r;

    if (conf == NULL)
        return cmd_fail(command, CMD_EXIT_INVALID, SALVO_NO_MEMORY);
    r = cluster_fill(command, conf, topics, topics_count);
    if (r == 0 && salvo_mock_new(conf, &mock, error, sizeof(error)))
        r = cmd_fail(command, CMD_EXIT_INVALID, "the embedded mock did not start: %s", error);
    if (r == 0 && salvo_mock_start_thread(mock, error, sizeof(error))) {
        r = cmd_fail(command, CMD_EXIT_INVALID, "the embedded mock did not start: %s", error);
        salvo_mock_free(mock);
        mock = NULL;
    }
    free(conf);
    *ret_mock = mock;
    return r;
}
