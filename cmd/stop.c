/* Ctrl-C: see stop.h. */
#include "cmd/stop.h"
#include "base/assert.h"
#include "base/clock.h"
#include "cmd/cmd.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* timeout(1) signals its command, and then the command's process group: two within microseconds. A
 * finger takes longer. */
#define STOP_SAME_NS (200 * SALVO_NS_PER_MS)

volatile sig_atomic_t cmd_stop;

struct stop_file {
    int fd;
    const char *made_path;
    char line[PATH_MAX + 64]; /* a path that was opened, and what is said of it */
};

static struct stop_file stop_files[CMD_STOP_FILES_MAX];
/* The main thread and its signal handler; all other threads have signals blocked. */
static _Atomic unsigned stop_files_count;
static_assert(ATOMIC_INT_LOCK_FREE == 2, "a signal handler reads it");

/* In a signal handler. The same file still: who renamed another one to its place keeps that. */
static void stop_leave_file(const struct stop_file *file)
{
    struct stat ours, there;
    ssize_t written;

    if (fstat(file->fd, &ours) != 0 || !S_ISREG(ours.st_mode))
        return;
    if (ours.st_size > 0) {
        written = write(STDERR_FILENO, file->line, strlen(file->line));
        (void)written;
    } else if (file->made_path != NULL && lstat(file->made_path, &there) == 0 &&
               there.st_dev == ours.st_dev && there.st_ino == ours.st_ino) {
        unlink(file->made_path);
    }
}

/* In a signal handler: calls nothing that is not async-signal-safe (signal-safety(7)). */
static void stop_at_once(void)
{
    static const char text[] = "\nsalvo: stopped at once; open messages are not accounted for\n";
    ssize_t written = write(STDERR_FILENO, text, sizeof(text) - 1);
    /* Pairs with the release in cmd_stop_file. */
    unsigned files_count = atomic_load_explicit(&stop_files_count, memory_order_acquire);

    (void)written; /* nothing to be done about it here */
    for (unsigned i = 0; i < files_count; i++)
        stop_leave_file(&stop_files[i]);
    _exit(CMD_EXIT_INVALID);
}

static void stop_note(int signal_number)
{
    static int64_t first_ns;
    int64_t now_ns = salvo_clock_mono_ns(salvo_clock_system());

    if (cmd_stop != 0 && now_ns - first_ns < STOP_SAME_NS)
        return;
    if (cmd_stop != 0)
        stop_at_once();
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

void cmd_stop_file(int fd, const char *made_path, const char *line)
{
    unsigned count = atomic_load_explicit(&stop_files_count, memory_order_relaxed);
    struct stop_file *file = &stop_files[count];

    salvo_assert(count < CMD_STOP_FILES_MAX);
    file->fd = fd;
    file->made_path = made_path;
    snprintf(file->line, sizeof(file->line), "%s\n", line);
    /* The file is described: pairs with the acquire in stop_at_once. */
    atomic_store_explicit(&stop_files_count, count + 1, memory_order_release);
}

void cmd_stop_files_done(void)
{
    atomic_store_explicit(&stop_files_count, 0, memory_order_release);
}
