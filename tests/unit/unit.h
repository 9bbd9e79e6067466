/* What every unit test includes: cmocka, and how to expect that the process is stopped. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* True when action(arg) ends a forked child by SIGABRT, after it said something on standard error.
 */
static inline bool unit_aborts(void (*action)(void *arg), void *arg)
{
    int pipe_fds[2], status;
    char said;
    bool spoke;
    pid_t child;

    assert_int_equal(pipe(pipe_fds), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL); /* cmocka catches it */
        dup2(pipe_fds[1], STDERR_FILENO);
        action(arg);
        _exit(0);
    }
    close(pipe_fds[1]);
    spoke = read(pipe_fds[0], &said, 1) == 1;
    close(pipe_fds[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return spoke && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

/* A seed for a test that draws: SALVO_SEED, or `fallback`. The caller prints it. */
static inline uint64_t unit_seed(uint64_t fallback)
{
    const char *text = getenv("SALVO_SEED");

    return text == NULL ? fallback : strtoull(text, NULL, 0);
}
