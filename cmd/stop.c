/* Ctrl-C: see stop.h. */
#include "cmd/stop.h"
#include "cmd/cmd.h"

#include <string.h>
#include <unistd.h>

volatile sig_atomic_t cmd_stop;

static void stop_note(int signal_number)
{
    static const char text[] = "\nsalvo: stopped at once; open messages are not accounted for\n";

    if (cmd_stop != 0) {
        ssize_t written = write(STDERR_FILENO, text, sizeof(text) - 1);

        (void)written; /* nothing to be done about it here */
        _exit(CMD_EXIT_INVALID);
    }
    cmd_stop = signal_number;
}

void cmd_stop_init(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    action.sa_handler = stop_note;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}
