"""Brokers and nameservers that die, stop, leave and come back, while salvo sends.

Several senders with different options run side by side through each fault, at a modest fixed rate
(open loop), so that one restart serves them all. What must hold for each of them:

* each message has exactly one result;
* stored YES: it was read back; stored NO: it was not; nothing else is in the topic;
* what had budget left was acknowledged.
"""

import json
import select
import subprocess
import threading
import time
from collections import Counter, defaultdict
from contextlib import contextmanager

import libsalvo
from libsalvo import Sender
from mocks import clean_environment
from rocketmq import network, readback
from rocketmq.cluster import wait_until
from sending import assert_all_good, options

PATIENT = {"timeout_ms": "120s", "try_timeout_ms": "2s", "retries": 60, "route_interval_ms": "1s"}

VARIANTS = {
    "plain": {},
    "fault-latency": {"fault_latency": True},
    "fault-latency-old-table": {"fault_latency": True, "fault_table": "4.7.1"},
    "fault-detector": {"fault_latency": True, "fault_detector": True},
    "control-by-lane": {"control_net": "lane"},
    "shared": {"threads": "shared"},
    "caller": {"threads": "caller"},
    "epoll": {"net": "epoll"},
    "json-linger-zlib": {
        "header": "json",
        "batch": "linger",
        "linger_us": "10ms",
        "compress": "zlib",
        "compress_min": 100,
    },
    "two-lanes": {"lanes": 2},
}


# By DPDK, what a device may make a difference to. A lane there asks its device again and again
# instead of being woken: a dozen of them, two brokers and a busy machine left no answer in time.
BY_DPDK = {"plain", "caller", "two-lanes", "json-linger-zlib", "ordered", "479", "401"}


def here(variants):
    """Those that this network runs."""
    if not network.current().dpdk:
        return variants
    return {k: v for k, v in variants.items() if k in BY_DPDK}


class Run:
    """Senders, a topic each, fed at a fixed rate by this thread while something happens."""

    def __init__(self, cluster, name, variants, rate=60, queues=2):
        self.cluster = cluster
        self.rate = rate
        self.names = list(variants)
        self.topics = [f"{name}-{each}" for each in variants]
        for topic in self.topics:
            cluster.create_topic(topic, queues=queues)
        self.senders = [
            Sender(options(cluster, **{**PATIENT, **more}), topic)
            for topic, more in zip(self.topics, variants.values())
        ]
        self.shards = [0] * len(self.senders)
        self.submitted = [0] * len(self.senders)
        self.queues = 2 * queues
        self.began = time.monotonic()
        self.due = 0

    def all(self):
        return zip(self.names, self.topics, self.senders)

    def turn(self):
        """Submits what is due, polls everyone."""
        wanted = int((time.monotonic() - self.began) * self.rate)
        for _ in range(min(wanted - self.due, 200)):
            for number, s in enumerate(self.senders):
                n = self.submitted[number]
                shard, more = 0, {}
                if self.shards[number]:
                    shard = n % self.shards[number]
                    n //= self.shards[number]
                    more = {"shard": f"shard-{shard}"}
                s.submit(b"seq=%d:%d %s" % (shard, n, b"x" * 100), properties={"n": str(n)}, **more)
                self.submitted[number] += 1
            self.due += 1
        for s in self.senders:
            s.poll()
            if s.caller:
                s.do_work()
        select.select([s.fd() for s in self.senders], [], [], 0.001)

    def during(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.turn()

    def until(self, condition, what, timeout_s=300):
        """Goes on until condition(sender) holds for each sender."""
        deadline = time.monotonic() + timeout_s
        while True:
            asked = time.monotonic()
            missing = [name for name, _, s in self.all() if not condition(s)]
            if not missing:
                return
            assert asked < deadline, (what, missing)
            # A condition may look through all results: on a busy machine there would be time for
            # nothing else.
            self.during(max(0.05, 10 * (time.monotonic() - asked)))

    def while_calling(self, function):
        """Goes on while function() runs in a thread of its own."""
        failed = []

        def run():
            try:
                function()
            except BaseException as error:  # shown by the main thread
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        while thread.is_alive():
            self.turn()
        thread.join()
        if failed:
            raise failed[0]

    def restart(self, process):
        """Here and not in that thread: what is started dies with the thread that started it."""
        process.restart(wait=False)
        self.while_calling(process.wait_ready)

    def restart_nameserver(self, nameserver):
        self.restart(nameserver)
        for broker in self.cluster.brokers:
            self.while_calling(broker.register)
            self.while_calling(
                lambda b=broker: wait_until(
                    lambda: b.registered_at(nameserver), f"{b.name} registered"
                )
            )

    def finish(self):
        # Everyone goes on while others are waited for.
        deadline = time.monotonic() + 300
        while any(s.out() for s in self.senders):
            assert time.monotonic() < deadline, [(n, s.out()) for n, _, s in self.all()]
            for s in self.senders:
                s.poll()
                if s.caller:
                    s.do_work()
            select.select([s.fd() for s in self.senders], [], [], 0.001)
        for s in self.senders:
            s.finish()

    def close(self):
        for s in self.senders:
            s.shut()


@contextmanager
def running(cluster, name, variants, **more):
    run = Run(cluster, name, here(variants), **more)
    try:
        yield run
    finally:
        run.close()


def acked_by(s, broker, since_ns=0, until_ns=1 << 62):
    return sum(
        1
        for r in s.done
        if r["broker"] == broker
        and r["stored"] == libsalvo.STORED_YES
        and since_ns <= r["done_ns"] < until_ns
    )


def used_again(run, broker):
    """Each sender goes on until the broker acknowledges again: but for those who stay away from it
    for 10 minutes, because a request was in flight when it failed."""
    back_ns = time.monotonic_ns()
    away = [s for name, _, s in run.all() if name == "fault-latency-old-table"]
    run.until(lambda s: s in away or acked_by(s, broker.name, back_ns) >= 5, "it is used again")


def assert_results_are_true(cluster, run, good=lambda name: True):
    """One result each, and what it says of the store is so. Returns what was read, by topic."""
    yes = sum(r["stored"] == libsalvo.STORED_YES for s in run.senders for r in s.done)
    found = defaultdict(list)
    for m in readback.messages(cluster, run.topics, expect=yes):
        found[m["topic"]].append(m)
    for name, topic, s in run.all():
        assert Counter(r["cookie"] for r in s.done) == Counter(list(s.sent)), name
        if good(name):
            assert_all_good(s.done, s.sent)
        stored = {m["msgId"]: m for m in found[topic]}
        by_id = {r["msg_id"]: r for r in s.done}
        assert len(by_id) == len(s.done), name
        assert set(stored) <= set(by_id), name
        for id_, r in by_id.items():
            if r["stored"] == libsalvo.STORED_YES:
                assert id_ in stored, (name, r)
            elif r["stored"] == libsalvo.STORED_NO:
                assert id_ not in stored, (name, r)
        for m in found[topic]:
            assert m["body"] == s.sent[by_id[m["msgId"]]["cookie"]]["body"], name
        # Twice only what was tried more than once.
        for id_, count in Counter(m["msgId"] for m in found[topic]).items():
            assert count <= max(1, by_id[id_]["tries"]), (name, count, by_id[id_])
    return found


def assert_in_order(messages):
    """Within each shard and queue the first copies are in order (a try again may repeat some)."""
    seen = defaultdict(list)
    for m in messages:
        shard, n = m["body"][4:].split(b" ")[0].split(b":")
        place = (shard, m["broker"], m["queueId"])
        if int(n) not in seen[place]:
            seen[place].append(int(n))
    for place, numbers in seen.items():
        assert numbers == sorted(numbers), (place, numbers)


# --- brokers
# -----------------------------------------------------------------------------------------


def test_a_broker_killed_and_restarted_under_load(cluster):
    """It leaves the route and comes back into it; what it had in flight goes to the other."""
    variants = {
        **VARIANTS,
        "ordered": {},
        "ordered-natural": {"batch": "natural"},
        "hasty": {"retries": 0, "timeout_ms": "1s", "try_timeout_ms": 0},
        "hasty-linger": {
            "retries": 0,
            "timeout_ms": "1s",
            "try_timeout_ms": 0,
            "batch": "linger",
            "linger_us": "20ms",
        },
    }
    broker = cluster.broker("broker-a")
    with running(cluster, "killed", variants) as run:
        for number, name in enumerate(run.names):
            run.shards[number] = 7 if name.startswith("ordered") else 0
        try:
            run.until(
                lambda s: acked_by(s, "broker-a") and acked_by(s, "broker-b"), "both used"
            )
            run.during(1)
            broker.kill()
            run.until(lambda s: s.queues() == run.queues // 2, "the route without it")
            run.during(1)
            run.restart(broker)
        finally:
            if not broker.running:
                broker.restart()
        run.until(lambda s: s.queues() == run.queues, "the route with it")
        used_again(run, broker)
        run.during(0.5)
        run.finish()
        found = assert_results_are_true(cluster, run, good=lambda name: "hasty" not in name)
        for name, topic, s in run.all():
            if name.startswith("ordered"):
                assert_in_order(found[topic])


def slowed_by_a_stop(run, broker, window_s=4):
    """Stops broker-a between two windows. Who got less than 0.9 of its acknowledgements before from
    broker-b after it: {name: (before, after)}."""
    run.during(window_s)
    stop_ns = time.monotonic_ns()
    broker.stop_signal()
    run.during(window_s)
    end_ns = time.monotonic_ns()
    slowed = {}
    for name, _, s in run.all():
        before = acked_by(s, "broker-b", stop_ns - (end_ns - stop_ns), stop_ns)
        after = acked_by(s, "broker-b", stop_ns, end_ns)
        if before == 0 or after < 0.9 * before:
            slowed[name] = (before, after)
    return slowed


def test_a_broker_that_stops_does_not_slow_the_other(cluster):
    """SIGSTOP: connections stay up, nothing is answered. At a fixed rate the other broker's
    acknowledged messages in a window from the stop on are at least 0.9 of those in the window
    before: its own share, and what the stopped one did not answer, tried again. A machine that was
    busy in one window is given another; a sender that waits for the stopped one fails in each."""
    broker = cluster.broker("broker-a")
    with running(cluster, "stopped", VARIANTS) as run:
        try:
            run.until(lambda s: acked_by(s, "broker-a") and acked_by(s, "broker-b"), "both used")
            for _ in range(3):
                slowed = slowed_by_a_stop(run, broker)
                if not slowed:
                    break
                broker.cont_signal()
                used_again(run, broker)
            assert not slowed
            # All that was submitted so far is acknowledged, while it is still stopped.
            so_far = dict(zip(run.senders, run.submitted))
            run.until(
                lambda s: sum(r["cookie"] <= so_far[s] for r in s.done) >= so_far[s],
                "everything acknowledged by the other",
            )
        finally:
            broker.cont_signal()
        used_again(run, broker)
        run.finish()
        assert_results_are_true(cluster, run)


def test_a_broker_shut_down_in_order_loses_nothing(cluster):
    """A 5.3.3 broker with enableShutdownGracefully answers GO_AWAY to those who declare more than
    475, for as long as it waits; others only close."""
    variants = {
        "479": {"route_interval_ms": "10m"},  # hears of the leaving from the broker alone
        "401": {"version": 401},
        "linger": {"batch": "linger"},
        "ordered": {},
        "epoll": {"net": "epoll"},
        "control-by-lane": {"control_net": "lane"},
        "caller": {"threads": "caller"},
    }
    broker = cluster.broker("broker-b")
    with running(cluster, "goodbye", variants) as run:
        run.shards[run.names.index("ordered")] = 7
        try:
            run.until(
                lambda s: acked_by(s, "broker-a") and acked_by(s, "broker-b"), "both used"
            )
            run.during(1)
            run.while_calling(broker.shutdown)
            run.during(1)
            run.restart(broker)
        finally:
            if not broker.running:
                broker.restart()
        used_again(run, broker)
        told = {name: s.counter("lane_go_aways") for name, _, s in run.all()}
        if cluster.version == "5.3.3":
            assert told["479"] > 0 and told["401"] == 0, told
        else:
            assert not any(told.values()), told
        run.finish()
        found = assert_results_are_true(cluster, run)
        assert_in_order(found["goodbye-ordered"])


# --- nameservers
# -------------------------------------------------------------------------------------


def test_nameservers_that_fail(cluster):
    """One of two, then both: with routes known sending goes on; a new topic waits for one of
    them."""
    variants = {
        "plain": {},
        "control-by-lane": {"control_net": "lane"},
        "caller": {"threads": "caller"},
        "epoll": {"net": "epoll"},
        "shared": {"threads": "shared"},
    }
    first, second = cluster.nameservers
    cluster.create_topic("new-one-down", queues=1)
    cluster.create_topic("new-both-down", queues=1)
    with running(cluster, "nameservers", variants) as run:

        def one_acked(topic):
            for s in run.senders:
                s.submit(b"seq=0:0 new", topic=topic)
            cookies = [max(s.sent) for s in run.senders]
            run.until(
                lambda s: any(r["cookie"] == cookies[run.senders.index(s)] for r in s.done),
                f"acknowledged in {topic}",
            )

        try:
            run.until(
                lambda s: acked_by(s, "broker-a") and acked_by(s, "broker-b"), "both used"
            )
            first.kill()
            one_acked("new-one-down")
            # Who starts now finds the first of its list dead.
            with Sender(options(cluster, **PATIENT), run.topics[0]) as late:
                late.submit(b"seq=0:0 late")
                late.finish()
            assert late.done[0]["code"] == "ok"
            second.kill()
            marks = [len(s.done) for s in run.senders]
            run.during(3)  # three route intervals without any
            for s, mark in zip(run.senders, marks):
                assert len(s.done) - mark > 0 and s.queues() == run.queues
            for s in run.senders:
                s.submit(b"seq=0:0 hasty", topic="new-both-down", deadline_ms=500)
            hasty = [max(s.sent) for s in run.senders]
            run.until(
                lambda s: any(r["cookie"] == hasty[run.senders.index(s)] for r in s.done),
                "an answer for those who cannot wait",
            )
            for s, cookie in zip(run.senders, hasty):
                result = next(r for r in s.done if r["cookie"] == cookie)
                assert (result["code"], result["stored"]) == ("no_route", libsalvo.STORED_NO)
                assert result["detail"]
                del s.sent[cookie]
                s.done.remove(result)
            run.restart_nameserver(second)
            one_acked("new-both-down")
        finally:
            for each in (first, second):
                if not each.running:
                    each.restart()
        run.finish()
        for name, _, s in run.all():
            assert_all_good(s.done, s.sent)
        expect = sum(len(s.done) for s in run.senders) + 1
        found = readback.messages(
            cluster, [*run.topics, "new-one-down", "new-both-down"], expect=expect
        )
        assert {r["msg_id"] for s in [*run.senders, late] for r in s.done} == {
            m["msgId"] for m in found
        }


# --- many
# --------------------------------------------------------------------------------------------


COUNT = 1_000_000
WITHOUT_HURRY = ["-D", "timeout_ms=10m", "-D", "try_timeout_ms=5m", "-D", "retries=50"]


def salvo(salvo_bin, cluster, *args, **more):
    """A program that sends to the cluster; ends well."""
    done = subprocess.run(
        [
            str(salvo_bin),
            args[0],
            "--nameserver",
            cluster.nameserver_addresses,
            *WITHOUT_HURRY,
            *network.current().arguments(),
            *map(str, args[1:]),
        ],
        stderr=subprocess.PIPE,
        text=True,
        timeout=900,
        env=clean_environment(),
        **more,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_a_million_messages_are_each_acknowledged_once_and_read_back(
    cluster_5_3_3, salvo_bin, tmp_path
):
    """In batches. Each line was stored once, and each acknowledgement names where: id, broker,
    queue and offset of the million acknowledged are those of the million stored."""
    cluster = cluster_5_3_3
    cluster.create_topic("million", queues=4)
    lines, acked, stored = (tmp_path / name for name in ("lines", "acked", "stored"))
    with open(lines, "w", encoding="ascii") as out:
        out.writelines(f"seq=0:{n} {n:0>100}\n" for n in range(COUNT))
    with open(acked, "w", encoding="ascii") as out:
        args = ["--topic", "million", "--verbose", "-D", "batch=linger", lines]
        done = salvo(salvo_bin, cluster, "send", *args, stdout=out)
    assert f"{COUNT} read, {COUNT} acknowledged, 0 failed" in done.stderr
    counts = readback.summary(cluster, "million", expect=COUNT, places=stored)
    assert counts["messages"] == counts["distinct"] == counts["sequenced"] == COUNT
    assert counts["sequence_missing"] == counts["sequence_repeated"] == 0
    assert counts["bytes"] == lines.stat().st_size - COUNT  # but for the line feeds
    told = acked.read_text("ascii").splitlines()
    assert len(told) == COUNT
    assert set(told) == set(stored.read_text("ascii").splitlines())


def test_a_million_messages_one_by_one(cluster_5_3_3, salvo_bin, tmp_path):
    """As fast as brokers take them, by `salvo load`, whose report agrees with what was stored."""
    size = 128
    cluster = cluster_5_3_3
    cluster.create_topic("one-by-one", queues=4)
    path = tmp_path / "report.json"
    args = ["--topic", "one-by-one", "--count", COUNT, "--size", size, "--json", path]
    salvo(salvo_bin, cluster, "load", *args, stdout=subprocess.DEVNULL)
    report = json.loads(path.read_text())
    assert report["planned"] == report["acked"] == COUNT and report["valid"]
    assert report["failed"] == report["timed_out"] == report["unsent"] == 0
    counts = readback.summary(cluster, "one-by-one", expect=COUNT)
    assert counts["messages"] == counts["distinct"] == COUNT
    assert counts["duplicates"] == counts["without_id"] == 0
    assert counts["bytes"] == COUNT * size
