/* The embedded mock cluster: what `salvo load` sends to when no nameserver is given. */
#pragma once

#include "mock/mock.h"

/* One nameserver and one broker on loopback, with a thread of their own; the topics are there. 0;
 * else the exit code, with the error printed. Free with salvo_mock_free. */
int cmd_cluster_start(const char *command, const char *const *topics, unsigned topics_count,
                      struct salvo_mock **ret_mock);
