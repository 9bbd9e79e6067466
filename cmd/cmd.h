/* The commands of `salvo`: each takes its own arguments, argv[0] being its name, and returns the
 * exit code. */
#pragma once

#include "base/base.h"

#define CMD_EXIT_GOOD   0
#define CMD_EXIT_FAILED 1 /* some message failed; malformed input */
#define CMD_EXIT_INVALID                                                                           \
    2 /* a run that proves nothing; arguments that make no sense; a second Ctrl-C */

int cmd_load(int argc, char **argv);
int cmd_send(int argc, char **argv);
int cmd_mock(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_stat(int argc, char **argv);
int cmd_frame(int argc, char **argv);

/* "salvo COMMAND: text" on standard error. Returns `code`, so that a command can end with it. */
int cmd_fail(const char *command, int code, const char *format, ...) SALVO_PRINTF(3, 4);
