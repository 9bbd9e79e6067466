"""`salvo mock` as a process of its own, and fixtures that need no Java."""

import os
import re
import signal
import subprocess

from rocketmq.cluster import stop_by_signal
from rocketmq.network import die_with_parent


def clean_environment():
    """Without SALVO_*: those are options to the program."""
    return {k: v for k, v in os.environ.items() if not k.startswith("SALVO_")}


class Mock:
    """with Mock(salvo_bin, "--brokers", 2) as mock: ... mock.address"""

    def __init__(self, salvo_bin, *args):
        self.process = subprocess.Popen(
            [str(salvo_bin), "mock", *map(str, args)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent,
        )
        line = self.process.stdout.readline()
        match = re.fullmatch(r"nameserver (\S+:\d+)\n", line)
        assert match, line + self.process.stderr.read()
        self.address = match[1]

    def stop_signal(self):
        """SIGSTOP: connections stay open, nothing is answered. Returns when it has stopped."""
        stop_by_signal(self.process, "the mock")

    def cont_signal(self):
        """SIGCONT after stop_signal()."""
        self.process.send_signal(signal.SIGCONT)

    def stop(self, by=signal.SIGINT):
        """What it printed at its end."""
        if self.process.poll() is not None:
            return ""
        self.process.send_signal(by)
        out, _ = self.process.communicate(timeout=300)
        return out

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.cont_signal()
        self.stop()
