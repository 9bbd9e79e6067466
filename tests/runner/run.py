"""Runs the stages of stages.py one after the other and adds up what they counted."""

import argparse
import collections
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from counting import Counts  # noqa: E402
from stages import STAGES  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(HERE))
TAIL_LINES = 60
SHOWN_LINES = 80


class Job:
    """One stage that runs: its commands, all of whose output goes into one log."""

    def __init__(self, stage):
        self.root = ROOT
        self.logs = os.path.join(ROOT, "build-logs")
        os.makedirs(self.logs, exist_ok=True)
        self.log = os.path.join(self.logs, stage.name + ".log")
        self._mark = 0
        with open(self.log, "w", encoding="utf-8"):
            pass

    def command(self, arguments, limit_s=600, environment=None, quiet=False, want_code=False,
                show_from=""):
        """Runs a command. True when it ended with 0, or its code with `want_code`. What it said
        is shown when it failed, from the first `show_from` on, unless `quiet`; it has no standard
        input and is stopped with all its children when its time is up."""
        with open(self.log, "a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(arguments)}\n")
            log.flush()
            self._mark = log.tell()
            try:
                process = subprocess.Popen(
                    arguments, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log,
                    stderr=subprocess.STDOUT, start_new_session=True,
                    env={**os.environ, **(environment or {})})
            except OSError as error:
                log.write(f"{arguments[0]}: {error}\n")
                code = 127
            else:
                code = self._wait(process, limit_s, log)
        if code != 0 and not quiet:
            said = self.said()
            self.show(" ".join(arguments[:4]), said[max(said.find(show_from), 0):], TAIL_LINES)
        return code if want_code else code == 0

    @staticmethod
    def _wait(process, limit_s, log):
        try:
            return process.wait(limit_s)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)  # it leads its group, and is not reaped yet
            process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            log.write(f"\nstopped after {limit_s} s\n")
            log.flush()
            return 124

    def said(self):
        """What the last command printed."""
        with open(self.log, "rb") as log:
            log.seek(self._mark)
            return log.read().decode("utf-8", "replace")

    def output(self, arguments):
        return subprocess.run(arguments, cwd=ROOT, stdin=subprocess.DEVNULL, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout

    def succeeds(self, arguments):
        return subprocess.run(arguments, cwd=ROOT, stdin=subprocess.DEVNULL, check=False,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

    @staticmethod
    def pythons():
        candidates = [sys.executable, "/usr/bin/python3",
                      os.path.join(ROOT, ".cache/venv/bin/python")]
        return [c for c in candidates if shutil.which(c)]

    @staticmethod
    def show(title, text, lines=SHOWN_LINES):
        rows = text.rstrip("\n").split("\n")
        print(f"   ---- {title}" + (f" (last {lines} lines)" if len(rows) > lines else ""))
        for row in rows[-lines:]:
            print(f"   {row}")
        print("   ----", flush=True)


def chosen(arguments):
    there = [s for s in STAGES if s.exists(ROOT)]
    unknown = set(arguments.stage) - {s.name for s in there}
    if unknown:
        sys.exit(f"tests/run: no such stage: {' '.join(sorted(unknown))} (see tests/run --list)")
    if arguments.stage:
        return [s for s in there if s.name in arguments.stage]
    return [s for s in there if s.fast or not arguments.fast]


def print_lines(word, lines):
    """Each line once, with how often it came."""
    for line, times in collections.Counter(lines).items():
        print(f"   {word} {line}" + (f" ({times} times)" if times > 1 else ""))


def run_stage(stage):
    print(f"== {stage.name}: {stage.what}", flush=True)
    started = time.monotonic()
    try:
        counts = stage.run(Job(stage))
    except Exception:  # a stage that breaks is a failure, never a gap
        traceback.print_exc(file=sys.stdout)
        counts = Counts(failures=[f"{stage.name}: the stage itself broke, see above"])
    if counts.passed + counts.failed + counts.skipped == 0:
        counts.failures.append(f"{stage.name}: nothing ran")
    print_lines("FAILED ", counts.failures)
    print_lines("skipped", counts.skips)
    print(f"-- {stage.name}: {counts} in {time.monotonic() - started:.0f} s", flush=True)
    return counts


def main():
    parser = argparse.ArgumentParser(prog="tests/run", description="Builds and tests everything.")
    parser.add_argument("--fast", action="store_true",
                        help="only: " + " ".join(s.name for s in STAGES if s.fast))
    parser.add_argument("--list", action="store_true", help="print the stages and end")
    parser.add_argument("stage", nargs="*", help="run only these")
    arguments = parser.parse_args()
    stages = chosen(arguments)
    if arguments.list:
        for stage in stages:
            print(f"{stage.name:10} {'fast' if stage.fast else '    '}  {stage.what}")
        return 0

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that children are stopped
    started = time.monotonic()
    results = [(stage, run_stage(stage)) for stage in stages]
    total = Counts()
    print(f"== all stages, {time.monotonic() - started:.0f} s; logs are in build-logs/")
    for stage, counts in results:
        print(f"   {stage.name:10} {counts}")
        total += counts
    print_lines("FAILED ", total.failures)
    print(total, flush=True)
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
