"""Calls that a folder may not make, and lengths of files and functions."""

import re

from tree import Finding, matches

FILE_LINES_MAX = 800      # above: a warning, the file begins to eat its neighbours
FUNCTION_LINES_MAX = 100  # above: a finding; one screen is the aim

LIBRARY = ("base/", "codec/", "dataplane/", "control/", "gateway/")
LANE = tuple(f"dataplane/{n}*.c" for n in (
    "lane", "conn", "inflight", "batch", "select", "chunk", "ring", "retry", "submitter"))
PURE = ("codec/", "dataplane/tcp/")
EVERYWHERE = ("",)

ALLOCATION = r"malloc|calloc|realloc|reallocarray|aligned_alloc|posix_memalign|memalign|valloc" \
             r"|free|strdup|strndup|asprintf|vasprintf|open_memstream|getline"
PRINTING = r"printf|fprintf|vprintf|vfprintf|dprintf|vdprintf|puts|fputs|putchar|fputc|putc" \
           r"|fwrite|perror|syslog"
SLEEPING = r"sleep|usleep|nanosleep|clock_nanosleep|sched_yield|poll|ppoll|select|pselect"
CLOCK = r"clock_gettime|clock_getres|gettimeofday|time|clock|ftime|timespec_get|salvo_clock_\w+"
SOCKETS = r"socket|socketpair|bind|listen|accept|accept4|connect|send|sendto|sendmsg|recv" \
          r"|recvfrom|recvmsg|setsockopt|getsockopt|shutdown|getaddrinfo|gethostbyname"
FILES = r"open|openat|fopen|fdopen|read|write|pread|pwrite|readv|writev|close|fclose|mmap" \
        r"|munmap|ioctl"
LOG = r"salvo_log_\w+"


class Rule:
    """`calls` (a regular expression for the whole name) may not be called in `where` but for
    `but`."""

    def __init__(self, where, calls, why, but=()):
        self.where, self.but, self.why = where, but, why
        self.calls = re.compile(rf"(?<![\w.>])(?:{calls})\s*\(")

    def covers(self, path):
        in_where = "" in self.where or matches(path, self.where)
        return in_where and not matches(path, self.but)


RULES = (
    Rule(PURE, CLOCK, "time is passed in"),
    Rule(PURE, SOCKETS + "|" + FILES, "no I/O here"),
    Rule(PURE, ALLOCATION, "no allocation here",
         but=("codec/compress*.c", "codec/zlib_fast*.c")),
    Rule(PURE, PRINTING + "|" + LOG, "no logging here"),
    Rule(PURE, SLEEPING, "no waiting here"),
    Rule(LANE, ALLOCATION, "a lane allocates nothing after start"),
    Rule(LANE, PRINTING + "|" + LOG, "a lane does not log: raise an error, count it"),
    Rule(LANE, SLEEPING, "a lane waits in its backend only"),
    Rule(LANE, SOCKETS + "|" + FILES, "a lane reaches the network by its backend's table",
         but=("dataplane/submitter.c",)),  # its eventfd
    Rule(EVERYWHERE, r"rte_\w+", "DPDK is called in net_dpdk*.c alone",
         but=("dataplane/net_dpdk*.c", "tests/dpdk/*.c")),
    Rule(EVERYWHERE, r"io_uring_\w+", "io_uring is called in net_uring*.c alone",
         but=("dataplane/net_uring*.c", "dataplane/net_uring*.h", "cmd/check_host.c",
              "tests/unit/dataplane_net*.c")),
    Rule(EVERYWHERE, r"pthread_\w+", "threads are made in a few named files",
         but=("control/sender.c", "control/resolve.c", "gateway/gateway.c", "mock/mock.c",
              "base/cpu.c", "bench/micro/", "tests/",
              "dataplane/net_dpdk.c")),  # the signals that the EAL's threads are born with
    Rule(LIBRARY + ("mock/",), r"clock_gettime|gettimeofday|time|timespec_get|ftime",
         "ask the salvo_clock that was handed in",
         but=("base/clock*.c", "base/cpu.c", "control/resolve.c")),
    Rule(LIBRARY + ("mock/",), r"exit|_exit|_Exit|quick_exit|atexit|signal|sigaction|sigwait\w*",
         "a library leaves its host's process and signals alone"),
    Rule(LIBRARY + ("mock/",), r"abort", "an assertion stops the process, nothing else",
         but=("base/assert.c", "base/alloc_check.c")),
    Rule(LIBRARY + ("mock/",), r"printf|puts|putchar|vprintf",
         "standard output belongs to the program"),
    Rule(LIBRARY + ("mock/",), r"rand|srand|random|srandom|drand48|rand_r",
         "chance comes from base/random, by a seed"),
    Rule(EVERYWHERE, r"strcpy|strcat|sprintf|vsprintf|gets|strncpy|strncat|stpcpy",
         "writes without a bound, or without an end"),
    Rule(EVERYWHERE, r"scanf|sscanf|fscanf", "overflows unseen", but=("tests/",)),
    Rule(EVERYWHERE, r"gmtime|localtime|ctime|asctime|strtok|getpwnam|tmpnam"
                     r"|mktemp|inet_ntoa", "keeps hidden state: take the _r form"),
    Rule(EVERYWHERE, r"atoi|atol|atoll|atof", "cannot say that the text is no number"),
    Rule(EVERYWHERE, r"alloca|__builtin_alloca|strdupa", "the stack has no error to give"),
    Rule(EVERYWHERE, r"system|popen|vfork", "no shell in between"),
    Rule(EVERYWHERE, r"SALVO_(?:MIN|MAX|CLAMP)\((?:[^;()]|\([^;()]*\))*?\b\w+_do_work",
         "its arguments are evaluated twice, and that does the work twice"),
    Rule(EVERYWHERE, r"assert", "salvo_assert stays on in every build",
         but=("tests/", "docs/examples/")),
)

C_SUFFIXES = (".c", ".h", ".cc")


def check(tree):
    for file in tree.files:
        if file.suffix not in C_SUFFIXES:
            continue
        for rule in RULES:
            if rule.covers(file.path):
                for match in rule.calls.finditer(file.code):
                    name = match.group().rstrip("( \t\n")
                    yield Finding(file.path, file.line_of(match.start()), "forbidden",
                                  f"{name}(): {rule.why}")


def check_sizes(tree):
    for file in tree.files:
        if file.suffix not in C_SUFFIXES and not file.is_script and file.suffix != ".java":
            continue
        lines = file.text.count("\n")
        if lines > FILE_LINES_MAX:
            yield Finding(file.path, 0, "size", f"{lines} lines, more than {FILE_LINES_MAX}",
                          warning=True)
        if file.suffix in C_SUFFIXES:
            for line, size in file.functions():
                if size > FUNCTION_LINES_MAX:
                    yield Finding(file.path, line, "size",
                                  f"a function of {size} lines, more than {FUNCTION_LINES_MAX}")
