"""The program run from outside, as the tests of its commands do it."""

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest

from mocks import clean_environment
from rocketmq.cluster import wait_until

# Where time is not the point a busy machine has enough of it.
PATIENT = {"SALVO_TIMEOUT_MS": "60s", "SALVO_DRAIN_MS": "10m"}


def environment(more=None):
    return clean_environment() | PATIENT | (more or {})


def run(salvo_bin, *args, timeout=300, env=None, **options):
    return subprocess.run(
        [str(salvo_bin), *map(str, args)],
        timeout=timeout,
        capture_output=True,
        text=True,
        env=environment(env),
        **options,
    )


class Load:
    """`salvo load` that runs until it is told to stop."""

    def __init__(self, salvo_bin, *args):
        self.process = subprocess.Popen(
            [str(salvo_bin), "load", *map(str, args)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        self.err = ""

    def until(self, pattern):
        """Waits for a line of standard error."""
        for line in self.process.stderr:
            self.err += line
            if re.search(pattern, line):
                return
        pytest.fail(f"ended without a line of '{pattern}': {self.err}")

    def until_second(self, n):
        """Waits for the live line of that second."""
        self.until(rf"^ +{n} s ")

    def taken(self):
        """Whether no SIGINT waits to be delivered."""
        if self.process.poll() is not None:
            return True
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        waiting = re.search(r"^ShdPnd:\t(\w+)$", status, re.M)
        return not int(waiting[1], 16) >> (signal.SIGINT - 1) & 1

    def stop_again_and_again(self):
        """Sends SIGINT until it has ended."""

        def ended():
            self.process.send_signal(signal.SIGINT)
            return self.process.poll() is not None

        wait_until(ended, "the end, at the second SIGINT or the third")

    def stop(self, signals=1, timeout=120):
        """Sends SIGINT so often; standard output and error of the whole run."""
        for _ in range(signals):
            self.process.send_signal(signal.SIGINT)
            while not self.taken():
                pass  # two that wait are one
        self.process.wait(timeout=timeout)
        self.err += self.process.stderr.read()
        return self.process.stdout.read(), self.err

    def end(self):
        """Whatever became of the test."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


def late_only(report):
    """True when the one thing wrong is that this machine was too busy for an open loop."""
    return report["invalid_reasons"] != [] and all(
        "the generator was late" in reason for reason in report["invalid_reasons"]
    )


def report_of(salvo_bin, tmp_path, *args, code=0, **options):
    path = tmp_path / "report.json"
    done = run(salvo_bin, "load", "--json", path, *args, **options)
    report = json.loads(path.read_text())
    assert done.returncode == (2 if late_only(report) else code), done.stdout + done.stderr
    ended = sum(report[name] for name in ("acked", "failed", "timed_out", "unsent"))
    assert report["planned"] == ended
    assert report["stored_unknown"] <= report["failed"] + report["timed_out"]
    assert sum(report["answers"].values()) == report["acked"]
    return report
