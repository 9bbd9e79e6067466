"""The stages of tests/run: one row each, in the order in which they run. Add a row.

A stage whose folder is not there is not in the list; any other stage runs, or fails."""

import os
import shutil
import sys
from pathlib import Path

from counting import Counts, last_line, meson, pytest, tap

# What a build's tests may take, seconds. Each single test has its own limit in meson.
BUILD_LIMIT = 1800
SCRIPT_LIMIT = 1800

SANITIZERS = {
    "ASAN_OPTIONS": "abort_on_error=1:detect_leaks=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "halt_on_error=1:abort_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


CXX = {"gcc": "g++", "clang-14": "clang++-14"}


class Stage:
    """`run(job)` gives Counts. `needs` are paths without which the stage does not exist yet."""

    def __init__(self, name, what, run, needs=(), fast=False):
        self.name, self.what, self.run, self.fast = name, what, run, fast
        self.needs = (needs,) if isinstance(needs, str) else tuple(needs)

    def exists(self, root):
        return all(os.path.exists(os.path.join(root, n)) for n in self.needs)


def build(job, folder, compiler, options):
    """Configures (once) and compiles. True when it worked."""
    where = os.path.join(job.root, folder)
    environment = {"CC": compiler, "CXX": CXX[compiler]}
    stamp = os.path.join(where, "tests-run-options")  # other options: from the beginning
    wanted = " ".join([compiler, *options])
    if not os.path.exists(stamp) or Path(stamp).read_text(encoding="utf-8") != wanted:
        shutil.rmtree(where, ignore_errors=True)
        if not job.command(["meson", "setup", folder, "-Dwerror=true", *options],
                           environment=environment):
            return False
        Path(stamp).write_text(wanted, encoding="utf-8")
    return job.command(["ninja", "--quiet", "-C", folder], limit_s=BUILD_LIMIT,
                       environment=environment, show_from="FAILED: ")


def meson_stage(name, what, folder, compiler="gcc", options=(), suites=(), slower=1, fast=False,
                needs=()):
    """Builds into `folder` and runs `meson test` there, of all suites or of these."""
    def run(job):
        if not build(job, folder, compiler, options):
            return Counts(failures=[f"{name}: does not build"])
        arguments = ["meson", "test", "-C", folder, "--no-rebuild", "--print-errorlogs",
                     "--timeout-multiplier", str(slower)]
        for suite in suites:
            arguments += ["--suite", suite]
        log = os.path.join(job.root, folder, "meson-logs", "testlog.json")
        if os.path.exists(log):
            os.unlink(log)
        worked = job.command(arguments, limit_s=BUILD_LIMIT, quiet=True,
                             environment={"CMOCKA_MESSAGE_OUTPUT": "TAP", **SANITIZERS})
        if not os.path.exists(log):
            return Counts(failures=[f"{name}: meson test ran nothing"])
        with open(log, encoding="utf-8") as file:
            counts, outputs = meson(file.read())
        for test, output in outputs:
            job.show(test, output)
        if not worked and counts.failed == 0:
            counts.failures.append(f"{name}: meson test failed")
        return counts
    return Stage(name, what, run, needs, fast)


def pytest_stage(name, what, paths, needs=(), fast=False, before=None, environment=None,
                 limit_s=SCRIPT_LIMIT, more=()):
    """Runs pytest over `paths`. `before(job)` prepares; False fails the stage."""
    def run(job):
        if before is not None and not before(job):
            return Counts(failures=[f"{name}: could not be prepared"])
        python = next((p for p in job.pythons() if job.succeeds([p, "-c", "import pytest"])), None)
        if python is None:
            return Counts(failures=[f"{name}: no Python with pytest"])
        report = os.path.join(job.logs, f"{name}.xml")
        if os.path.exists(report):
            os.unlink(report)
        there = [p for p in paths if os.path.exists(os.path.join(job.root, p))]
        code = job.command([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rs",
                            f"--junitxml={report}", *more, *there], limit_s=limit_s,
                           environment=environment or {}, want_code=True)
        if not os.path.exists(report):
            return Counts(failures=[f"{name}: pytest ended with {code}"])
        with open(report, encoding="utf-8") as file:
            counts = pytest(file.read())
        if code != 0 and counts.failed == 0:
            counts.failures.append(f"{name}: pytest ended with {code}")
        return counts
    return Stage(name, what, run, needs, fast)


def script_stage(name, what, arguments, needs=(), fast=False, before=None, environment=None,
                 limit_s=SCRIPT_LIMIT, count=last_line):
    """Runs a script of ours; `count` is last_line ("N passed, N failed") or tap."""
    def run(job):
        if before is not None and not before(job):
            return Counts(failures=[f"{name}: could not be prepared"])
        code = job.command(arguments, limit_s=limit_s, environment=environment or {},
                           want_code=True)
        text = job.said()
        return tap(name, text, code) if count is tap else last_line(name, text, code)
    return Stage(name, what, run, needs, fast)


GCC_RELEASE = ("build-gcc", "gcc", ("--buildtype=release",))


def with_program(job):
    """The release build, for stages that run the program itself."""
    return build(job, *GCC_RELEASE)


def as_shipped(job):
    """What deploy/quickstart builds, warnings of the link are errors."""
    return build(job, "build-shipped", "gcc", ("--buildtype=release", "-Db_lto=true",
                                               "-Dtests=false", "-Dbench=false"))


def with_java(job):
    job.command(["deploy/install", "e2e"], quiet=True)
    return with_program(job) and job.command(["tests/e2e/setup"], limit_s=SCRIPT_LIMIT)


def with_dpdk(job):
    """A build that has DPDK in it, or none."""
    job.command(["deploy/install", "dpdk"], quiet=True)
    return build(job, "build-dpdk", "gcc", ("--buildtype=release", "-Ddpdk=enabled"))


def with_dpdk_and_java(job):
    return with_java(job) and with_dpdk(job)


# Messages of every shape, alone, in batches and compressed; a broker killed and restarted.
ON_EACH_DEVICE = "single_messages or natural_batches or compressed_inside or killed_and_restarted"


def brokers_by_dpdk(device, which):
    """What of the end-to-end tests has a real cluster, by salvo's own TCP."""
    paths = ["test_rocketmq_send.py", "test_rocketmq_faults.py"]
    return pytest_stage(f"e2e-{device}", f"real brokers by DPDK's net_{device}, read back by Java",
                        [f"tests/e2e/{each}" for each in paths], needs="tests/e2e/setup",
                        before=with_dpdk_and_java,
                        environment={"SALVO_BIN": "build-dpdk/salvo"},
                        more=(f"--net={device}", "-k", which))


E2E_ENVIRONMENT = {"SALVO_BIN": "build-gcc/salvo"}

STAGES = (
    script_stage("tidy", "layers, forbidden calls, format, leftovers, dead files",
                 [sys.executable, "tests/tidy/tidy.py"], fast=True),
    pytest_stage("tools", "tests of tidy and of the counting", ["tests/tidy", "tests/runner"],
                 fast=True),
    meson_stage("gcc", "gcc, release, warnings are errors", *GCC_RELEASE[:2],
                options=GCC_RELEASE[2], fast=True),
    pytest_stage("gdb", "the gdb helpers, on a program with a ring in it", ["docs/gdb"],
                 needs="docs/gdb", before=with_program),
    meson_stage("clang", "clang 14, release, warnings are errors", "build-clang", "clang-14",
                ("--buildtype=release",)),
    meson_stage("sanitize", "gcc, debug, slow assertions, ASan and UBSan", "build-sanitize", "gcc",
                ("--buildtype=debug", "-Db_sanitize=address,undefined"), slower=5),
    meson_stage("thread", "gcc, TSan, unit tests", "build-thread", "gcc",
                # gcc knows that TSan does not see fences, and would warn at each
                ("--buildtype=debugoptimized", "-Db_sanitize=thread", "-Dc_args=-Wno-tsan"),
                suites=("unit",), slower=10),
    meson_stage("alloc", "gcc, debug, a lane that allocates aborts", "build-alloc", "gcc",
                ("--buildtype=debug", "-Dalloc_check=true"), slower=3),
    pytest_stage("shipped", "the library of a build as deploy/quickstart makes it, installed",
                 ["tests/e2e/test_library_linked.py"], before=as_shipped,
                 environment={"SALVO_BIN": "build-shipped/salvo"}),
    script_stage("sim", "1,000 seeds of the whole sender in virtual time",
                 ["tests/sim/run", "build-gcc"], needs="tests/sim/run", before=with_program),
    script_stage("sim-tcp", "200 seeds of the whole sender over salvo's own TCP, on a bad wire",
                 ["tests/sim/run", "--tcp", "build-gcc"], needs="tests/sim/run",
                 before=with_program),
    script_stage("dpdk", "DPDK and salvo's own TCP against this host's kernel, virtual devices",
                 ["tests/dpdk/run", "build-dpdk"], needs="tests/dpdk/run", before=with_dpdk,
                 environment={"CMOCKA_MESSAGE_OUTPUT": "TAP"}, count=tap),
    script_stage("planted", "each bug planted in the sender is caught by its simulation",
                 ["tests/planted/run", "sender"], needs="tests/planted/run", limit_s=3600),
    script_stage("planted-tcp", "each bug planted in dataplane/tcp is caught by its tests",
                 ["tests/planted/run", "tcp"], needs="tests/planted/run"),
    pytest_stage("golden", "the golden frames are what Java's encoder makes",
                 ["tests/e2e/test_golden.py"], needs="tests/e2e/test_golden.py", before=with_java),
    pytest_stage("e2e", "real RocketMQ nameservers and brokers, read back by Java", ["tests/e2e"],
                 needs="tests/e2e/setup", before=with_java, environment=E2E_ENVIRONMENT,
                 limit_s=3600, more=("--ignore=tests/e2e/test_golden.py",)),
    brokers_by_dpdk("af_packet", "(4.7.1 or 5.3.3 or million or one_by_one) and not 4.9.7"),
    *(brokers_by_dpdk(device, f"(4.7.1 or 5.3.3) and ({ON_EACH_DEVICE})")
      for device in ("tap", "af_xdp")),
)
