"""Beside the Java client, on one real RocketMQ 5.3.3 broker on loopback, in turns."""

import json
import os
import sys

from . import programs
from .report import Runs, median_ratio, number

sys.path.insert(0, str(programs.ROOT / "tests" / "e2e"))
from rocketmq.cluster import Cluster, ClusterError  # noqa: E402  pylint: disable=C0413

TOPIC = "bench"
SIZE = 128
TIMEOUT_S = 30  # a broker that a busy machine stops for a moment is slow, not a failure
WINDOW = 1000  # of Java's async mode and of salvo
# One thread for lane, control and generator: a thread more is a wake-up more for each message. The
# window of Java's lists is 32 x 200 messages.
CALLER = ("-D", "threads=caller", "-D", f"timeout_ms={TIMEOUT_S}s", "-D", f"drain_ms={TIMEOUT_S}s")
UNBATCHED = (*CALLER, "--closed", str(WINDOW))
LINGER = (*CALLER, "--linger", "1ms", "--batch-bytes", "32KiB", "--closed", "6400")

BROKER = {
    # Default 200 ms: what waited longer in the broker's queue is answered "busy". On two cores that
    # would measure retries.
    "waitTimeMillsInSendQueue": 20000,
    "maxTransferCountOnMessageInMemory": 32,
}


def _java(plan, nameserver, mode, tries=2):
    """Once more when a start took all of its time: a JVM on a busy machine can need seconds."""
    text = programs.run(
        [sys.executable, str(programs.ROOT / "bench" / "peers" / "java" / "run"),
         "--nameserver", nameserver, "--topic", TOPIC, "--mode", mode, "--size", str(SIZE),
         "--duration-s", str(plan.java_seconds), "--warmup-s", str(plan.java_warmup),
         "--timeout-ms", str(TIMEOUT_S * 1000)],
        env=dict(programs.environment(), **{
            key: value for key, value in os.environ.items() if key == "SALVO_CACHE"}))
    done = json.loads(text.strip().splitlines()[-1])
    if done["acked"] == 0 and tries > 1:
        return _java(plan, nameserver, mode, tries - 1)
    if done["acked"] == 0:
        raise programs.Failed(f"java {mode}: nothing was acknowledged: {done['first_error']}")
    return done


def _salvo(plan, nameserver, *options):
    return programs.load(plan, nameserver, "--topic", TOPIC, "--size", str(SIZE), "--duration",
                         f"{plan.java_seconds}s", "--warmup", "1s", *options)


def _add(runs, done):
    runs.add(rate=done["rate_per_s"], cpu_us=done["cpu_us_per_message"],
             p50_us=done["latency_us"]["p50"], p99_us=done["latency_us"]["p99"],
             failed=done["failed"])


def _measure(plan, nameserver, report):
    """Each of the five in turn, and again."""
    runs = {name: Runs() for name in ("sync", "async", "batch", "salvo", "salvo linger")}
    _salvo(plan, nameserver, *UNBATCHED, "--duration", f"{plan.broker_warmup}s")
    for _ in range(plan.java_repeats):
        for mode in ("async", "sync", "batch"):
            _add(runs[mode], _java(plan, nameserver, mode))
            done = _salvo(plan, nameserver, *(LINGER if mode == "batch" else UNBATCHED))
            report.note_build(done)
            if mode != "sync":
                _add(runs["salvo linger" if mode == "batch" else "salvo"], done)
    return runs


def _detail(runs):
    low, high = runs.spread("rate")
    return (f"{number(low)} to {number(high)}/s; {runs.median('cpu_us'):.3f} us CPU per message; "
            f"p50 {runs.median('p50_us') / 1e3:.2f} ms, p99 {runs.median('p99_us') / 1e3:.2f} ms")


def _compare(report, what, mine, theirs, rate_min, cpu_max, p50_max):
    def row(name, figure, text, target, met):
        ratio = median_ratio(mine, theirs, figure)
        report.add("java", f"{what}: {name}", text(mine), target, met(ratio), beside=text(theirs),
                   ratio=ratio, figures={"salvo": mine.all()[figure],
                                         "java": theirs.all()[figure]})

    row("rate", "rate", lambda r: number(r.median("rate")) + "/s", f">= {rate_min} of Java's",
        lambda ratio: ratio >= rate_min)
    row("CPU per message", "cpu_us", lambda r: f"{r.median('cpu_us'):.3f} us",
        f"<= 1/{1 / cpu_max:.0f} of Java's", lambda ratio: ratio <= cpu_max)
    if p50_max:
        row("p50", "p50_us", lambda r: f"{r.median('p50_us') / 1e3:.2f} ms",
            f"<= {p50_max} of Java's", lambda ratio: ratio <= p50_max)


def _rows(report, runs):
    for name, each in runs.items():
        report.add("java", name if "salvo" in name else "Java " + name,
                   number(each.median("rate")) + "/s", detail=_detail(each), figures=each.all())
    best = max(("sync", "async"), key=lambda mode: runs[mode].median("rate"))
    _compare(report, f"unbatched beside {best}", runs["salvo"], runs[best], 1.0, 1 / 10, 1.5)
    _compare(report, "linger beside lists of 200", runs["salvo linger"], runs["batch"], 1.3, 1 / 6,
             None)


def run(plan, report):
    report.settings["java"] = (
        f"RocketMQ 5.3.3 broker on loopback, waitTimeMillsInSendQueue="
        f"{BROKER['waitTimeMillsInSendQueue']}; {SIZE} B; window {WINDOW}, lists of 200 x 32; "
        f"{plan.java_repeats} rounds of {plan.java_seconds} s, Java behind {plan.java_warmup} s")
    try:
        with Cluster("5.3.3", brokers=1, broker_properties=BROKER) as cluster:
            cluster.create_topic(TOPIC, queues=8)
            runs = _measure(plan, cluster.nameserver_addresses, report)
    except ClusterError as error:
        raise programs.Failed(str(error)) from None
    _rows(report, runs)
