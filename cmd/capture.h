/* SIGUSR1, in the program only: begins a capture of what goes over net: dpdk, or ends the one that
 * runs. */
#pragma once

#include "control/config.h"
#include "include/salvo.h"

#include <pthread.h>

struct cmd_capture {
    const char *command;
    const struct salvo_config *config;
    salvo *sender;
    pthread_t thread;
    bool started;
    _Atomic bool over;
};

/* The signal waits from here on. Before the first thread is started. */
void cmd_capture_init(void);
/* Acts on it, in a thread of its own, as long as the sender is open. */
void cmd_capture_start(struct cmd_capture *capture, const char *command,
                       const struct salvo_config *config, salvo *sender);
void cmd_capture_stop(struct cmd_capture *capture);
