"""What a sender costs that has nothing to send: `salvo send` at the end of a silent pipe."""

import subprocess
import time

from . import programs

LANES = 2
SETTLE_S = 2
TARGET = 0.01  # of a core, per lane


def run(plan, report):
    with programs.mock(plan, "--topic", "T:4") as nameserver:
        args = programs.command([plan.build / "salvo", "send", "--topic", "T", "--nameserver",
                                 nameserver, "-D", f"lanes={LANES}", "-"])
        with programs.running(args, stdin=subprocess.PIPE) as process:
            process.stdin.write("one message, so that routes and connections are there\n")
            process.stdin.flush()
            time.sleep(SETTLE_S)
            started = time.monotonic()
            before = (programs.cpu_seconds(process.pid),
                      programs.cpu_seconds(process.pid, "salvo-lane"))
            time.sleep(plan.idle_seconds)
            if process.poll() is not None:
                raise programs.Failed("salvo send ended: " + process.stderr.read()[-800:])
            seconds = time.monotonic() - started
            whole = (programs.cpu_seconds(process.pid) - before[0]) / seconds
            lanes = (programs.cpu_seconds(process.pid, "salvo-lane") - before[1]) / seconds
    share = max(whole, lanes) / LANES
    report.settings["idle"] = f"default idle strategy, {LANES} lanes, {plan.idle_seconds} s"
    report.add("idle", "CPU per lane, whole process counted", f"{share:.4%} of a core",
               f"<= {TARGET:.0%} of a core", share <= TARGET, ratio=share / TARGET,
               detail=f"lanes alone {lanes / LANES:.4%} each",
               figures={"whole": whole, "lanes": lanes, "lanes_count": LANES})
