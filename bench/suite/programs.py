"""The programs that take part: started, pinned, measured, and ended with us however we end."""

import contextlib
import ctypes
import json
import os
import re
import signal
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 120


class Failed(RuntimeError):
    """A program did not do what was to be measured."""

    def last_line(self):
        """What the program said last, for a row's details."""
        return str(self).strip().splitlines()[-1]


def _die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def command(args, namespace=None, cpu=None):
    """`args` inside a network namespace and on a CPU; both step aside by exec: the pid is its."""
    if cpu is not None:
        args = ["taskset", "-c", str(cpu), *args]
    if namespace is not None:
        args = ["ip", "netns", "exec", namespace, *args]
    return [str(each) for each in args]


def environment(also=None):
    ours = {key: value for key, value in os.environ.items() if not key.startswith("SALVO_")}
    return ours | (also or {})


def run(args, limit_s=LIMIT_S, env=None, good=(0,)):
    """Runs to the end; returns standard output."""
    try:
        done = subprocess.run(args, capture_output=True, text=True, timeout=limit_s,
                              env=environment(env), preexec_fn=_die_with_parent)
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(args)}: not done after {limit_s} s") from None
    if done.returncode not in good:
        raise Failed(f"{' '.join(args)}: ended with {done.returncode}: "
                     + (done.stderr or done.stdout)[-800:])
    return done.stdout


def last_json(text):
    return json.loads(text[text.index("{"):])


def load(plan, nameserver, *options, namespace=None, cpu=None, limit_s=LIMIT_S):
    """`salvo load`: its JSON report. A run that is invalid because this machine was too busy for
    the schedule is a figure all the same; one that lost messages is not."""
    with tempfile.TemporaryDirectory(prefix="salvo-bench-") as folder:
        path = Path(folder) / "load.json"
        run(command([plan.build / "salvo", "load", "--nameserver", nameserver, "--json", path,
                     *options], namespace, cpu), limit_s=limit_s, good=(0, 2))
        if not path.exists() or path.stat().st_size == 0:
            raise Failed(f"salvo load {' '.join(map(str, options))}: no report")
        return json.loads(path.read_text())


def blaster(plan, to, *options, namespace=None, cpu=None):
    return last_json(run(command([plan.build / "bench" / "blaster", "--to", to, *options],
                                 namespace, cpu)))


@contextlib.contextmanager
def mock(plan, *options, namespace=None, cpu=None):
    """`salvo mock`: gives its nameserver address."""
    with running(command([plan.build / "salvo", "mock", *options], namespace, cpu)) as process:
        line = process.stdout.readline()
        match = re.fullmatch(r"nameserver (\S+:\d+)\n", line)
        if match is None:
            process.kill()
            raise Failed("salvo mock: " + (line + process.stderr.read())[-800:])
        yield match[1]


@contextlib.contextmanager
def running(args, stdin=subprocess.DEVNULL, env=None):
    """A program that goes on until the end of the block, then gets SIGINT."""
    process = subprocess.Popen(args, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, env=environment(env), preexec_fn=_die_with_parent)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def cpu_seconds(pid, thread=""):
    """What the threads whose name begins with `thread` have used, to the nanosecond."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            if (task / "comm").read_text().startswith(thread):
                total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9
