/* A sender as a command opens it: configuration from file, environment, -D and the command's own
 * options, then salvo_open; and what commands do with it in any threading mode. */
#pragma once

#include "cmd/capture.h"
#include "cmd/options.h"
#include "control/config.h"
#include "include/salvo.h"

/* Options that every command with a sender has. `type` is its struct of values, with the fields
 * `settings` and `configs`. */
#define CMD_SENDER_OPTIONS(type)                                                                   \
    {"nameserver",                                                                                 \
     0,                                                                                            \
     "H:P[;H:P]",                                                                                  \
     CMD_SETTING,                                                                                  \
     offsetof(type, settings),                                                                     \
     0,                                                                                            \
     0,                                                                                            \
     "nameserver",                                                                                 \
     "nameserver addresses, separated by semicolons"},                                             \
        {"config",                                                                                 \
         0,                                                                                        \
         "FILE",                                                                                   \
         CMD_LIST,                                                                                 \
         offsetof(type, configs),                                                                  \
         0,                                                                                        \
         0,                                                                                        \
         NULL,                                                                                     \
         "YAML file with options of the configuration (deploy/salvo.yaml has all of them); may "   \
         "be repeated, later files win"},                                                          \
    {                                                                                              \
        "define", 'D', "NAME=VALUE", CMD_DEFINE, offsetof(type, settings), 0, 0, NULL,             \
            "any option of the configuration (docs/CONFIG.md); SALVO_NAME in the environment "     \
            "does the same"                                                                        \
    }

/* Defaults, then files in their order, environment and settings. 0; else the exit code, with the
 * error printed. */
int cmd_config_make(const char *command, const struct cmd_list *files,
                    const struct cmd_settings *settings, struct salvo_config *ret_config);

/* Sets an option that the user left at its default. */
void cmd_config_prefer(struct salvo_config *config, enum salvo_config_option option,
                       const char *value);

struct cmd_sender {
    const char *command;
    salvo *sender;
    bool caller; /* threads=caller: this thread turns it */
    struct cmd_capture capture;
};

/* 0; else the exit code, with the error printed. The configuration stays until close. */
int cmd_sender_open(struct cmd_sender *s, const char *command, const struct salvo_config *config);
/* Closes it; all submitters are closed. */
void cmd_sender_close(struct cmd_sender *s);

/* One topic, its name checked first so that the error can say what is wrong. NULL: printed. */
salvo_topic *cmd_sender_topic(struct cmd_sender *s, const char *name);

/* Waits until the topic can be sent to, at most timeout_ms (the option), or until Ctrl-C. False:
 * printed why. */
bool cmd_sender_wait_route(struct cmd_sender *s, salvo_topic *topic, int64_t timeout_ms);

/* Waits until results may be there, or `fd` (-1: none) is readable, or the time is up; turns the
 * sender where that is the caller's job. Returns true when fd is readable (or at its end). */
bool cmd_sender_wait(struct cmd_sender *s, salvo_submitter *submitter, int fd, int64_t timeout_ms);
