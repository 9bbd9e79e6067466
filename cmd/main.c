/* salvo: the dispatch table. Each command has its own file and its own --help. */
#include "base/bytes.h"
#include "base/error.h"
#include "cmd/cmd.h"
#include "cmd/options.h"
#include "include/salvo.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* jemalloc reads it. One arena: what a salvo allocates while it sends is little, and where memory
 * ends, jemalloc 5.3 locks the arena that it could not make for a new thread. */
extern const char *malloc_conf;
SALVO_PUBLIC const char *malloc_conf = "narenas:1";

struct main_command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *text;
};

static const struct main_command main_commands[] = {
    {"load", cmd_load, "send generated messages at a rate or through a window, and report"},
    {"send", cmd_send, "send lines of a file or of standard input, one message each"},
    {"mock", cmd_mock, "run a mock cluster: a nameserver and brokers in one process"},
    {"check", cmd_check, "show the plan, every option with its source, and what the host offers"},
    {"stat", cmd_stat, "show counters, errors and latencies of a running salvo"},
    {"frame", cmd_frame, "make hex, a pcap or raw bytes readable as RocketMQ frames"},
};

static void main_help(FILE *to)
{
    fprintf(to,
            "usage: salvo COMMAND [options]\n\n"
            "salvo %s, a RocketMQ sender. Commands:\n\n",
            salvo_version());
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(main_commands); i++)
        fprintf(to, "  %-8s %s\n", main_commands[i].name, main_commands[i].text);
    fprintf(to,
            "\n'salvo COMMAND --help' shows the options of a command.\n"
            "First steps: 'salvo load' sends a million messages to a mock cluster of its own.\n");
}

static const char *main_name_of(const void *arg, unsigned i)
{
    return main_commands[i].name;
}

static int main_unknown(const char *name)
{
    const char *near = cmd_nearest(name, main_name_of, NULL, SALVO_ARRAY_LENGTH(main_commands));

    fprintf(stderr, "salvo: there is no command '%s';%s%s%s 'salvo --help' lists all\n", name,
            near != NULL ? " did you mean '" : "", near != NULL ? near : "",
            near != NULL ? "'?" : "");
    return CMD_EXIT_INVALID;
}

int cmd_fail(const char *command, int code, const char *format, ...)
{
    va_list args;
    char *text;
    int size;

    fflush(stdout);
    va_start(args, format);
    size = vasprintf(&text, format, args);
    va_end(args);
    if (size < 0) {
        fprintf(stderr, "salvo %s: %s\n", command, SALVO_NO_MEMORY);
        return code;
    }
    salvo_text_make_printable(text);
    fprintf(stderr, "salvo %s: %s\n", command, text);
    free(text);
    return code;
}

/* A standard descriptor that we were started without would become the next socket, and a broker
 * would be sent what we print. In its place stands one whose use fails. */
static void main_fill_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 &&
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
            return; /* no /dev: as it was */
    }
}

static int main_run(int argc, char **argv)
{
    if (argc < 2) {
        main_help(stderr);
        return CMD_EXIT_INVALID;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        (strcmp(argv[1], "help") == 0 && argc == 2)) {
        main_help(stdout);
        return CMD_EXIT_GOOD;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("salvo %s\n", salvo_version());
        return CMD_EXIT_GOOD;
    }
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(main_commands); i++) {
        if (strcmp(argv[1], main_commands[i].name) == 0)
            return main_commands[i].run(argc - 1, argv + 1);
    }
    return main_unknown(argv[1]);
}

int main(int argc, char **argv)
{
    int code;

    main_fill_descriptors();
    /* A closed pipe behind us (| head) is an error of a write, not the end of a run without a
     * report. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* ulimit -f: as a full disk */
    code = main_run(argc, argv);
    /* A report that did not arrive is no success, whatever it said. */
    if (fflush(stdout) || ferror(stdout))
        return cmd_fail(argc > 1 ? argv[1] : "", CMD_EXIT_INVALID,
                        "standard output could not be written, what was printed is not whole; it "
                        "is closed, a pipe without a reader, or on a full disk");
    return code;
}
