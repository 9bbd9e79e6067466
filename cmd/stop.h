/* Ctrl-C, in the program only: libsalvo installs no handlers.
 *
 * The first SIGINT, SIGTERM or SIGHUP (the terminal is gone) sets cmd_stop, so that a command can
 * drain and report; the second ends the process at once with exit code 2. What comes within a fifth
 * of a second of the first is the same one. A SIGHUP that is ignored stays so. */
#pragma once

#include <signal.h>

extern volatile sig_atomic_t cmd_stop;

/* Installs the handlers; system calls that wait are interrupted (EINTR), such as the opening of a
 * pipe that nobody has at its other end. */
void cmd_stop_init(void);
/* All is open: from here on a write is not interrupted, because stdio throws away what it could not
 * write. A reader that takes its time loses nothing. */
void cmd_stop_opened(void);
