/* Ctrl-C, in the program only: libsalvo installs no handlers.
 *
 * The first SIGINT, SIGTERM or SIGHUP (the terminal is gone) sets cmd_stop, so that a command can
 * drain and report; the second ends the process at once with exit code 2. What comes within a fifth
 * of a second of the first is the same one. A SIGHUP that is ignored stays so. */
#pragma once

#include "base/base.h"

#include <signal.h>

extern volatile sig_atomic_t cmd_stop;

/* Installs the handlers; system calls that wait are interrupted (EINTR), such as the opening of a
 * pipe that nobody has at its other end. */
void cmd_stop_init(void);
/* All is open: from here on a write is not interrupted, because stdio throws away what it could not
 * write. A reader that takes its time loses nothing. */
void cmd_stop_opened(void);

/* What the second signal does about a file that the command is going to write at its end: where
 * there is something in it, it writes `line` (copied, without its line feed) to standard error; an
 * empty one that the command has made at `made_path` (lives until cmd_stop_files_done; NULL: it
 * has not) it takes away, unless something else is there by now. `fd` stays open until then. */
#define CMD_STOP_FILES_MAX 2
void cmd_stop_file(int fd, const char *made_path, const char *line);
/* Whatever was said about files is not so any more. */
void cmd_stop_files_done(void);
