/* Ctrl-C: see stop.h. */
#include "cmd/stop.h"
#include "base/clock.h"
#include "cmd/cmd.h"

#include <string.h>
#include <unistd.h>

/* timeout(1) signals its command, and then the command's process group: two within microseconds. A
 * finger takes longer. */
#define STOP_SAME_NS (200 * SALVO_NS_PER_MS)

volatile sig_atomic_t cmd_stop;

static void stop_note(int signal_number)
{
    static const char text[] = "\nsalvo: stopped at once; open messages are not accounted for\n";
    static int64_t first_ns;
    int64_t now_ns = salvo_clock_mono_ns(salvo_clock_system());

    if (cmd_stop != 0 && now_ns - first_ns < STOP_SAME_NS)
        return;
    if (cmd_stop != 0) {
        ssize_t written = write(STDERR_FILENO, text, sizeof(text) - 1);

        (void)written; /* nothing to be done about it here */
        _exit(CMD_EXIT_INVALID);
    }
    first_ns = now_ns;
    cmd_stop = signal_number;
}

static void stop_install(int flags)
{
    struct sigaction action, before;

    memset(&action, 0, sizeof(action));
    action.sa_handler = stop_note;
    action.sa_flags = flags;
    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, SIGINT); /* one at a time */
    sigaddset(&action.sa_mask, SIGTERM);
    sigaddset(&action.sa_mask, SIGHUP);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, NULL, &before);
    if (before.sa_handler != SIG_IGN) /* as nohup(1) leaves it */
        sigaction(SIGHUP, &action, NULL);
}

void cmd_stop_init(void)
{
    stop_install(0);
}

void cmd_stop_opened(void)
{
    stop_install(SA_RESTART); /* poll is interrupted all the same */
}
