"""Beside the Java client, on one real RocketMQ 5.3.3 broker on a loopback interface, in turns.

A Java client is fast once its JIT compilers have nothing left to do, which takes some ten seconds
of two cores. So each of its modes is a process of its own that stays, is warmed until then, and
waits between its turns. salvo has its turn beside each with as many messages out.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys

from . import netns, programs
from .report import Runs, number, ratios

sys.path.insert(0, str(programs.ROOT / "tests" / "e2e"))
from rocketmq import jars  # noqa: E402  pylint: disable=C0413
from rocketmq.cluster import Cluster, ClusterError  # noqa: E402  pylint: disable=C0413

PEER = programs.ROOT / "bench" / "peers" / "java" / "run"
VERSION = "5.3.3"
FETCH_LIMIT_S = 600
TOPIC = "bench"
SIZE = 128
TIMEOUT_S = 30  # a broker that a busy machine stops for a moment is slow, not a failure
SYNC_THREADS = 16
WINDOW = 1000
LISTS, LIST = 32, 200
# One thread for lane, control and generator: a thread more is a wake-up more for each message. All
# else is as it comes.
CALLER = ("-D", "threads=caller", "-D", f"timeout_ms={TIMEOUT_S}s", "-D", f"drain_ms={TIMEOUT_S}s")

# Java's mode: (its options, salvo's beside it): as many messages out, and in a frame.
MODES = {
    "sync": (("--threads", SYNC_THREADS), ("--closed", SYNC_THREADS)),
    "async": (("--threads", 2, "--window", WINDOW), ("--closed", WINDOW)),
    "batch": (("--threads", 2, "--window", LISTS, "--batch", LIST),
              ("--linger", "1ms", "--batch-bytes", "64KiB", "--batch-count", LIST, "--closed",
               LISTS * LIST)),
}
SALVO = {"sync": f"salvo, {SYNC_THREADS} out", "async": f"salvo, {WINDOW} out",
         "batch": "salvo linger"}

BROKER = {
    # Default 200 ms: what waited longer in the broker's queue is answered "busy". On two cores that
    # would measure retries.
    "waitTimeMillsInSendQueue": 20000,
    "maxTransferCountOnMessageInMemory": 32,
}


class _Peer:
    """The Java client in one mode, in one process that waits for its turns."""

    def __init__(self, process, mode):
        self.process = process
        self.mode = mode

    def turn(self, warmup_s, seconds):
        self.process.stdin.write(f"{warmup_s} {seconds}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise programs.Failed(f"java {self.mode}: ended: "
                                  + self.process.stderr.read()[-800:])
        done = json.loads(line)
        if done["acked"] == 0:
            raise programs.Failed(f"java {self.mode}: nothing was acknowledged: "
                                  f"{done['first_error']}")
        return done


def _peer_command(*options):
    return programs.command([sys.executable, PEER, *options])


def _peer_environment():
    return {key: value for key, value in os.environ.items()
            if key in ("SALVO_CACHE", "SALVO_PEER_JAVA")}


def _fetch():
    """All that the section needs from elsewhere: there is no way out of its namespace."""
    try:
        jars.rocketmq(VERSION)
        jars.tools(VERSION)
    except jars.JarsError as error:
        raise programs.Failed(str(error)) from None
    programs.run(_peer_command("--fetch"), limit_s=FETCH_LIMIT_S, env=_peer_environment())


@contextlib.contextmanager
def _peer(nameserver, mode):
    command = _peer_command("--nameserver", nameserver, "--topic", TOPIC, "--mode", mode, "--size",
                            SIZE, "--timeout-ms", TIMEOUT_S * 1000, "--commands", *MODES[mode][0])
    with programs.running(command, stdin=subprocess.PIPE, env=_peer_environment()) as process:
        try:
            yield _Peer(process, mode)
        finally:
            process.stdin.close()  # which ends it
            process.stdin = None
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)


def warm(turn, step_s, limit_s):
    """Turns of step_s, until in one of them the compilers had little to do (under a tenth of the
    time) and the rate did not grow by a tenth. (seconds it took, whether it came to that)."""
    best = spent = 0
    while spent < limit_s:
        done = turn(0, step_s)
        spent += step_s
        if done["jit_ms"] < 100 * step_s and done["rate_per_s"] < 1.1 * best:
            return spent, True
        best = max(best, done["rate_per_s"])
    return spent, False


def _salvo(plan, nameserver, options, seconds):
    return programs.load(plan, nameserver, "--topic", TOPIC, "--size", SIZE, "--duration",
                         f"{seconds}s", "--warmup", "1s", *CALLER, *options)


def _add(runs, done):
    reasons = done.get("invalid_reasons", [])
    if done["failed"]:
        reasons = [*reasons, "messages failed"]
    runs.add(reasons, rate=done["rate_per_s"], cpu_us=done["cpu_us_per_message"],
             p50_us=done["latency_us"]["p50"], p99_us=done["latency_us"]["p99"])


def _warm_all(plan, nameserver, peers, report):
    """The broker first, by its fastest client, then each of the peers."""
    said = []
    _salvo(plan, nameserver, MODES["async"][1], plan.broker_warmup)
    for mode, peer in peers.items():
        seconds, settled = warm(peer.turn, plan.java_warmup_step, plan.java_warmup_max)
        said.append(f"{mode} {seconds} s" + ("" if settled else " (its compilers still at work)"))
    report.settings["java warm-up"] = (
        f"broker {plan.broker_warmup} s; {', '.join(said)}, until the JIT compilers are idle and "
        f"the rate grows no more; and 1 s before each turn")


def _round(plan, nameserver, peers, runs, report, backwards):
    for mode in reversed(MODES) if backwards else MODES:
        turns = [("java", lambda m=mode: peers[m].turn(1, plan.java_seconds)),
                 ("salvo", lambda m=mode: _salvo(plan, nameserver, MODES[m][1],
                                                 plan.java_seconds))]
        for who, turn in reversed(turns) if backwards else turns:
            done = turn()
            _add(runs[who, mode], done)
            if who == "salvo":
                report.note_build(done)
            else:
                report.settings["jvm"] = (
                    f"{done['jvm']}, {' + '.join(done['gc']['collectors'])}, heap at most "
                    f"{done['gc']['heap_max_mb']} MB; options the same for each mode")


def _detail(runs):
    low, high = runs.spread("rate")
    text = (f"{number(low)} to {number(high)}/s; {runs.median('cpu_us'):.3f} us CPU per message; "
            f"p50 {runs.median('p50_us') / 1e3:.2f} ms, p99 {runs.median('p99_us') / 1e3:.2f} ms")
    return "; ".join(filter(None, (text, runs.why_not())))


def _compare(report, what, mine, theirs, targets, judged, note):
    """A row for each target: (figure, its name, how it is said, limit, whether at least)."""
    for figure, name, text, limit, at_least in targets:
        each = ratios(mine, theirs, figure)
        valid = mine.usable() and theirs.usable() and bool(each)
        ratio = statistics.median(each) if each else None
        target = f"{'>=' if at_least else '<='} {limit if limit >= 1 else f'1/{1 / limit:.0f}'}"
        met = valid and (ratio >= limit if at_least else ratio <= limit)
        spread = f"{min(each):.2f} to {max(each):.2f}" if each else ""
        report.add("java", f"{what}: {name}", text(mine.median(figure)),
                   f"{target} of Java's" if judged else "", met if judged else None,
                   beside=text(theirs.median(figure)), ratio=ratio,
                   detail="; ".join(filter(None, (spread, note))), valid=valid or not judged,
                   figures={"salvo": mine.all()[figure], "java": theirs.all()[figure],
                            "ratios": each})


def _rate(value):
    return number(value) + "/s"


def _cpu(value):
    return f"{value:.3f} us"


def _ms(value):
    return f"{value / 1e3:.2f} ms"


UNBATCHED_TARGETS = (("rate", "rate", _rate, 1.0, True),
                     ("cpu_us", "CPU per message", _cpu, 1 / 10, False),
                     ("p50_us", "p50", _ms, 1.5, False))
LINGER_TARGETS = (("rate", "rate", _rate, 1.3, True),
                  ("cpu_us", "CPU per message", _cpu, 1 / 6, False))


def add_rows(report, runs):
    for mode in MODES:
        for who, name in (("java", "Java " + mode), ("salvo", SALVO[mode])):
            each = runs[who, mode]
            report.add("java", name, _rate(each.median("rate")), detail=_detail(each),
                       figures=each.all())
    best = max(("sync", "async"), key=lambda mode: runs["java", mode].median("rate"))
    for mode in ("sync", "async"):
        _compare(report, f"unbatched beside {mode}", runs["salvo", mode], runs["java", mode],
                 UNBATCHED_TARGETS, mode == best,
                 "Java's better one by rate" if mode == best else "not judged: Java's slower one")
    _compare(report, f"linger beside lists of {LIST}", runs["salvo", "batch"],
             runs["java", "batch"], LINGER_TARGETS, True, "")


def run(plan, report):
    report.settings["java"] = (
        f"RocketMQ {VERSION} broker on loopback, {netns.CONGESTION_CONTROL}, "
        f"waitTimeMillsInSendQueue={BROKER['waitTimeMillsInSendQueue']}; {SIZE} B; sync "
        f"{SYNC_THREADS} threads beside --closed {SYNC_THREADS}, async with {WINDOW} out beside "
        f"--closed {WINDOW}, lists of {LIST} x {LISTS} beside --linger 1ms --closed "
        f"{LISTS * LIST}; salvo threads=caller, idle=gather (its default), batches of {LIST} too; "
        f"{plan.java_repeats} rounds of {plan.java_seconds} s, medians")
    runs = {(who, mode): Runs() for who in ("java", "salvo") for mode in MODES}
    netns.need_root()
    _fetch()
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(netns.loopback())
            cluster = stack.enter_context(Cluster(VERSION, brokers=1, broker_properties=BROKER))
            cluster.create_topic(TOPIC, queues=8)
            nameserver = cluster.nameserver_addresses
            peers = {mode: stack.enter_context(_peer(nameserver, mode)) for mode in MODES}
            _warm_all(plan, nameserver, peers, report)
            for index in range(plan.java_repeats):
                _round(plan, nameserver, peers, runs, report, index % 2 == 1)
    except ClusterError as error:
        raise programs.Failed(str(error)) from None
    add_rows(report, runs)
