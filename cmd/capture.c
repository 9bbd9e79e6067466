/* SIGUSR1: see capture.h. */
#include "cmd/capture.h"
#include "base/cpu.h"
#include "cmd/cmd.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* FILE, FILE.2, FILE.3, ...: more captures than anybody takes in one run. */
#define CAPTURE_FILES_MAX 1000u

static void capture_signal(sigset_t *ret_set)
{
    sigemptyset(ret_set);
    sigaddset(ret_set, SIGUSR1);
}

/* The first of the names that is not there yet. 0, or -errno with the reason in `error`. */
static int capture_begin(struct cmd_capture *capture, char *ret_path, size_t path_size, char *error,
                         size_t error_size)
{
    const struct salvo_config *config = capture->config;
    char name[SALVO_ERROR_MAX];
    int r = -EEXIST;

    snprintf(name, sizeof(name), "salvo-%d.pcap", (int)getpid());
    for (unsigned i = 1; r == -EEXIST && i <= CAPTURE_FILES_MAX; i++) {
        size_t size =
            (size_t)snprintf(ret_path, path_size, "%s",
                             config->dpdk_capture[0] != '\0' ? config->dpdk_capture : name);

        if (i > 1 && size < path_size)
            snprintf(ret_path + size, path_size - size, ".%u", i);
        r = salvo_capture_start(capture->sender, ret_path, config->dpdk_capture_filter, error,
                                error_size);
    }
    return r;
}

static void capture_toggle(struct cmd_capture *capture)
{
    char path[1040], error[SALVO_ERROR_MAX];

    if (salvo_capture_active(capture->sender)) {
        if (salvo_capture_stop(capture->sender) == 0)
            fprintf(stderr, "salvo %s: the capture ends\n", capture->command);
    } else if (capture_begin(capture, path, sizeof(path), error, sizeof(error)) == 0) {
        fprintf(stderr, "salvo %s: captures to %s; SIGUSR1 ends it\n", capture->command, path);
    } else {
        cmd_fail(capture->command, 0, "%s", error);
    }
}

static void *capture_run(void *arg)
{
    struct cmd_capture *capture = arg;
    sigset_t set;
    int number;

    capture_signal(&set);
    while (sigwait(&set, &number) == 0 &&
           !atomic_load_explicit(&capture->over, memory_order_acquire))
        capture_toggle(capture);
    return NULL;
}

void cmd_capture_init(void)
{
    sigset_t set;

    capture_signal(&set);
    sigprocmask(SIG_BLOCK, &set, NULL); /* this thread's; no other takes any */
}

void cmd_capture_start(struct cmd_capture *capture, const char *command,
                       const struct salvo_config *config, salvo *sender)
{
    *capture = (struct cmd_capture){.command = command, .config = config, .sender = sender};
    capture->started =
        salvo_thread_start(&capture->thread, "salvo-capture", capture_run, capture) == 0;
}

void cmd_capture_stop(struct cmd_capture *capture)
{
    if (!capture->started)
        return;
    atomic_store_explicit(&capture->over, true, memory_order_release);
    kill(getpid(), SIGUSR1); /* nobody else waits for it */
    salvo_thread_join(capture->thread);
    capture->started = false;
}
