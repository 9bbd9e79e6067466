"""bench/run says everything it promises, and leaves nothing behind. What it says is not judged
here: benchmarks are not timed tests."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from rocketmq import jars
from rocketmq.cluster import wait_until

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "bench" / "run"

sys.path.insert(0, str(ROOT / "bench"))
from suite import bulk, java, loss, netns, report, rig, veth  # noqa: E402  pylint: disable=C0413

ROWS = {
    "micro": [
        "ring, 8 bytes, burst 8",
        "ring, 128-byte slot to the other core",
        "ring, 128-byte slot, its reader does nothing but look",
        "send header",
        "1 KB frame with its copy",
        "send response, binary",
        "send response, JSON",
        "inflight, register and complete",
        "inflight, random, 65536 open",
        "TCP segment with SACK",
        "TCP segment, 32 to 4096 in flight",
        "TCP payload per core",
    ],
    "veth": [
        "blaster, 128 B",
        "unbatched 128 B",
        "unbatched 128 B, beside the blaster",
        "blaster, 1 KB",
        "unbatched 1 KB, beside the blaster",
        "blaster, batches of 32 KB",
        "batched 32 KB, 128 B",
        "open loop 200 k/s, both sides spin: p50",
        "checking mock, unbatched 128 B",
        "epoll, unbatched 128 B",
        "uring beside epoll, unbatched 128 B",
        "null backend, unbatched 128 B",
    ],
    "dpdk": [
        "unbatched 1 KB, uring",
        "unbatched 1 KB, epoll",
        "unbatched 1 KB, uring, segments of a wire",
        "unbatched 1 KB, dpdk, net_af_packet",
        "unbatched 1 KB, dpdk, net_af_xdp",
    ],
    "bulk": [
        "net_af_xdp, MTU 1500: raw frames into the sink",
        "net_af_xdp, MTU 1500: salvo's TCP",
        "net_af_xdp, MTU 1500: raw frames, unread",
        "net_af_xdp, MTU 1500: raw frames, unread, dropped on the sender's core",
        "net_af_xdp, MTU 1500: Linux's TCP",
        "net_af_xdp, MTU 1500: raw frames into the sink, polled",
        "net_af_xdp, MTU 1500: salvo's TCP, polled",
        "net_af_xdp, MTU 1500: raw frames, unread, polled",
        "net_af_packet, MTU 9000: raw frames into the sink",
        "net_af_packet, MTU 9000: salvo's TCP",
        "net_af_packet, MTU 9000: raw frames, unread",
        "net_af_packet, MTU 9000: raw frames, unread, dropped on the sender's core",
        "net_af_packet, MTU 9000: Linux's TCP",
        "net_af_packet, MTU 9000: raw frames into the sink, polled",
        "net_af_packet, MTU 9000: salvo's TCP, polled",
        "net_af_packet, MTU 9000: raw frames, unread, polled",
    ],
    "loss": [
        "no loss: Linux CUBIC",
        "no loss: salvo CUBIC",
        "0.1 % loss: Linux CUBIC",
        "0.1 % loss: salvo CUBIC",
        "1 % loss: Linux CUBIC",
        "1 % loss: salvo CUBIC",
    ],
    "idle": ["CPU per lane, whole process counted"],
    "java": [
        "Java sync",
        "salvo, 16 out",
        "Java async",
        "salvo, 1000 out",
        "Java batch",
        "salvo linger",
        "unbatched beside sync: rate",
        "unbatched beside sync: CPU per message",
        "unbatched beside sync: p50",
        "unbatched beside async: rate",
        "unbatched beside async: CPU per message",
        "unbatched beside async: p50",
        "linger beside lists of 200: rate",
        "linger beside lists of 200: CPU per message",
    ],
}


def namespaces(pid):
    folder = Path("/run/netns")
    names = [each.name for each in folder.iterdir()] if folder.is_dir() else []
    return [name for name in names if name.startswith(f"salvo-bench-{pid}-")]


def command(salvo_bin, tmp_path, *args):
    return [
        str(RUN),
        "--quick",
        "--build",
        str(salvo_bin.parent),
        "--out",
        str(tmp_path),
        *args,
    ]


def needs_root():
    if os.geteuid() != 0:
        pytest.fail("network namespaces need root", pytrace=False)


def test_the_report_is_complete(salvo_bin, tmp_path):
    needs_root()
    process = subprocess.Popen(
        command(salvo_bin, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    out, err = process.communicate(timeout=1200)
    assert process.returncode == 0, out + err
    done = json.loads((tmp_path / "report.json").read_text())
    assert done["failures"] == []
    found = [(row["section"], row["row"]) for row in done["rows"]]
    wanted = [(section, row) for section, rows in ROWS.items() for row in rows]
    assert found == wanted
    for row in done["rows"]:
        assert row["value"] != "not run" or "built without DPDK" in row["detail"]
        measured = row["verdict"] != "not measured"
        assert measured or row["section"] == "micro"
        assert (row["value"] != "") == measured
        assert row["verdict"] in ("", "met", "missed", "invalid", "not measured")
        assert (row["target"] == "") == (row["verdict"] == "")
    judged = {row["row"].partition(":")[0] for row in done["rows"]
              if row["section"] == "java" and row["verdict"] != ""}
    assert len(judged) == 2  # the better one of Java's unbatched modes, and its lists
    assert done["settings"]["quick"] is True
    assert {"model", "cores", "kernel", "memory_gib"} <= done["machine"].keys()
    assert {"git", "compiler", "buildtype"} <= done["build"].keys()
    assert len(done["load_before"]) == len(done["load_after"]) == 3
    assert out == (tmp_path / "report.txt").read_text() + "\n"
    markdown = (tmp_path / "report.md").read_text()
    for _, row in found:
        assert row in out and row in markdown
    assert namespaces(process.pid) == []


def test_a_signal_leaves_no_namespace_behind(salvo_bin, tmp_path):
    needs_root()
    process = subprocess.Popen(
        command(salvo_bin, tmp_path, "--only", "veth", "--repeats", "100"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: len(namespaces(process.pid)) == 2, "both namespaces")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    assert namespaces(process.pid) == []


def test_what_is_not_there_is_named(salvo_bin, tmp_path):
    done = subprocess.run(
        command(salvo_bin, tmp_path, "--only", "macro"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "macro" in done.stderr and "veth" in done.stderr
    done = subprocess.run(
        [str(RUN), "--build", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "ninja -C build" in done.stderr


@pytest.mark.parametrize("mistake", [["--foo"], ["--only", "foo"], ["--buil", "build"]])
def test_a_mistake_is_said_before_anything_is_installed(tmp_path, mistake):
    (tmp_path / "bench").symlink_to(ROOT / "bench")
    (tmp_path / "deploy").mkdir()
    install = tmp_path / "deploy" / "install"
    install.write_text("#!/bin/sh\necho it would be installed >&2\nexit 1\n")
    install.chmod(0o755)
    done = subprocess.run(
        [str(tmp_path / "bench" / "run"), *mistake], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and mistake[-1] in done.stderr
    assert "installed" not in done.stderr


def test_where_no_report_can_be_written_nothing_is_measured(salvo_bin, tmp_path):
    (tmp_path / "file").touch()
    done = subprocess.run(
        command(salvo_bin, tmp_path / "file" / "folder", "--only", "idle"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "== idle" not in done.stderr
    assert "file/folder cannot be written: Not a directory" in done.stderr


class Plan:
    quick = False
    build = Path("/nowhere")
    repeats = alone_repeats = 1
    seconds = alone_seconds = warmup = java_seconds = 0.1
    java_repeats = 1


class Pair:
    client, server = "client", "server"


@pytest.fixture
def rows(monkeypatch):
    """A report without a build, and its rows by name."""
    with monkeypatch.context() as without_build:
        without_build.setattr(report.programs, "run", lambda *_: "salvo 0")
        return report.Report(Plan())


def by_name(result):
    return {row["row"]: row for row in result.rows}


def test_the_counts_name_a_section_that_failed(rows):
    rows.failures.append("bulk: timeout: not done after 120 s")
    rows.finish(1)
    counts = "0 met, 0 missed, 0 invalid, 0 not measured, and rows that are missing: bulk failed"
    assert counts in rows.text() and counts in rows.markdown()


def test_a_row_that_cannot_run_says_what_the_program_said(rows, monkeypatch):
    def run(*_, **__):
        raise rig.programs.Failed("bulk raw: ended with 1: port 0\nbulk: no such device\n")

    monkeypatch.setattr(rig.programs, "run", run)
    monkeypatch.setattr(rig, "inside", lambda *_: None)
    monkeypatch.setattr(rig, "link", lambda *_: None)
    monkeypatch.setattr(rig, "huge_pages", contextlib.nullcontext)
    monkeypatch.setattr(bulk.netns, "pair", lambda: contextlib.nullcontext(Pair()))
    bulk.run(Plan(), rows)
    assert [row["row"] for row in rows.rows] == ROWS["bulk"]
    for row in rows.rows:
        assert (row["value"], row["detail"]) == ("not run", "bulk: no such device")


def runs_of(*rounds, **common):
    """A round: (rate, reasons why it is invalid)."""
    runs = report.Runs()
    for rate, reasons in rounds:
        runs.add(reasons, **{"rate": rate, "cpu_us": 1.0, "core_share": 0.5,
                             "p50_us": 10.0, "p99_us": 20.0, **common})
    return runs


LATE = ["the generator was late"]


def test_invalid_rounds_do_not_count_and_are_named():
    runs = runs_of((1, []), (100, LATE), (3, []))
    assert runs.usable()
    assert runs.median("rate") == 2 and runs.spread("rate") == (1, 3)
    assert runs.why_not() == "1 of 3 rounds invalid: the generator was late"
    assert runs_of((1, [])).why_not() == ""


def test_a_row_whose_rounds_were_mostly_invalid_is_never_met(rows):
    veth._add_open(rows, runs_of((200e3, []), (200e3, LATE)))
    veth._add_rate(rows, "fast", runs_of((2e6, LATE)), 1e6)
    veth._add_beside(rows, "ratio", runs_of((2, LATE)), runs_of((1, [])), 0.5)
    for row in rows.rows:
        assert row["verdict"] == "invalid", row
    assert "1 of 2 rounds invalid" in rows.rows[0]["detail"]
    rows.finish(1)
    assert "3 invalid" in rows.text()


def test_ratios_are_of_the_two_runs_of_a_round():
    mine, theirs = runs_of((1, []), (8, []), (5, LATE)), runs_of((2, []), (10, []), (5, []))
    assert report.ratios(mine, theirs, "rate") == [0.5, 0.8]


def test_a_row_names_the_core_that_was_its_limit():
    assert veth.limit_of(0.99) == "the client's core is the limit"
    assert veth.limit_of(0.5).startswith("the client waited")


def test_a_peer_is_warm_when_its_compilers_rest_and_its_rate_stands():
    def turns(*figures):
        left = list(figures)

        def turn(warmup_s, seconds):
            assert (warmup_s, seconds) == (0, 2)
            rate, jit_ms = left.pop(0)
            return {"rate_per_s": rate, "jit_ms": jit_ms}

        return turn

    assert java.warm(turns((10, 3000), (20, 900), (40, 100), (41, 100)), 2, 20) == (8, True)
    assert java.warm(turns((10, 100), (10, 900), (10, 199)), 2, 20) == (6, True)
    assert java.warm(turns((10, 900), (10, 900)), 2, 4) == (4, False)


def test_the_better_of_javas_unbatched_modes_is_judged(rows):
    runs = {(who, mode): runs_of((rate, []))
            for who, mode, rate in (("java", "sync", 9), ("salvo", "sync", 40),
                                    ("java", "async", 30), ("salvo", "async", 33),
                                    ("java", "batch", 100), ("salvo", "batch", 120))}
    java.add_rows(rows, runs)
    found = by_name(rows)
    assert found["unbatched beside sync: rate"]["verdict"] == ""
    assert found["unbatched beside sync: rate"]["ratio"] == pytest.approx(40 / 9)
    assert found["unbatched beside async: rate"]["verdict"] == "met"
    assert found["unbatched beside async: CPU per message"]["verdict"] == "missed"
    assert found["unbatched beside async: p50"]["verdict"] == "met"
    assert found["linger beside lists of 200: rate"]["verdict"] == "missed"


def net_runs(*rates):
    runs = report.Runs()
    for rate in rates:
        runs.add(rate=rate, busy_rate=2 * rate, share=0.8, sink_share=0.97, again=1, segments=100,
                 timeouts=0, probes=0)
    return runs


def bulk_runs(**rates):
    return {row: net_runs(*rates[name]) for row, name in (
        (bulk.INTO, "into"), (bulk.SALVO, "tcp"), (bulk.UNREAD, "unread"),
        (bulk.SAME_CORE, "same_core"), (bulk.LINUX, "linux"),
        (bulk.INTO + bulk.POLLED, "into_polled"), (bulk.SALVO + bulk.POLLED, "tcp_polled"),
        (bulk.UNREAD + bulk.POLLED, "unread_polled"))}


def test_tcp_is_judged_beside_raw_frames_of_its_round(rows):
    bulk.add_rows(rows, "slow", bulk_runs(
        into=(8, 80), tcp=(10, 100), unread=(16, 160), same_core=(20, 200), linux=(20,),
        into_polled=(20, 30), tcp_polled=(19, 15), unread_polled=(40, 60)))
    bulk.add_rows(rows, "fast", bulk_runs(
        into=(10, 100), tcp=(9, 95), unread=(12, 110), same_core=(20, 200), linux=(20,),
        into_polled=(20,), tcp_polled=(17,), unread_polled=(25,)))
    bulk.add_rows(rows, "missed", bulk_runs(
        into=(10,), tcp=(8.9,), unread=(1,), same_core=(1,), linux=(1,), into_polled=(1,),
        tcp_polled=(1,), unread_polled=(1,)))
    found = by_name(rows)
    assert [row["row"] for row in rows.rows[:8]] == [f"slow: {row}" for row in bulk.ROWS]
    assert found["slow: salvo's TCP"]["ratio"] == pytest.approx(1.25)
    assert found["slow: salvo's TCP"]["verdict"] == "met"
    assert found["fast: salvo's TCP"]["ratio"] == pytest.approx(0.925)
    assert found["fast: salvo's TCP"]["verdict"] == "met"
    assert found["missed: salvo's TCP"]["verdict"] == "missed"
    assert found["fast: raw frames into the sink"]["verdict"] == ""
    assert "into the sink are 0.87 of it" in found["fast: raw frames, unread"]["detail"]
    assert found["fast: raw frames, unread"]["ratio"] == pytest.approx((9 / 12 + 95 / 110) / 2)
    assert found["fast: raw frames, unread"]["verdict"] == "missed"
    assert found["missed: raw frames, unread"]["verdict"] == "met"  # 8.9 beside 1
    assert "is 0.46 of it" in \
        found["fast: raw frames, unread, dropped on the sender's core"]["detail"]
    assert "kernel's end had 97% of its core" in found["fast: salvo's TCP"]["detail"]
    assert "salvo's is 0.45 of it" in found["fast: Linux's TCP"]["detail"]
    assert found["slow: salvo's TCP, polled"]["ratio"] == pytest.approx(0.725)
    assert found["fast: salvo's TCP, polled"]["verdict"] == "missed"  # 17 beside 20
    assert found["missed: salvo's TCP, polled"]["verdict"] == "met"
    assert found["fast: raw frames, unread, polled"]["ratio"] == pytest.approx(0.68)
    assert found["fast: raw frames, unread, polled"]["verdict"] == "missed"
    assert found["missed: raw frames, unread, polled"]["verdict"] == "met"


def test_bulk_takes_turns_and_bounds_what_waits_between_the_cores(monkeypatch):
    did = []

    class Sink:
        def connection(self, _plan, sender, *_, namespace):
            did.append(sender)
            return 8e9, {"segments_out": 11, "retransmitted": 1, "busy_seconds": 0.1}, 0.5

    def inside(_, *words):
        if words[0] in ("sysctl", "ethtool"):
            did.append(words[-1])

    def raw(*args):
        did.append("unread, polled" if args[-1] is True else "unread")
        return {"bytes": 1, "seconds": 1}

    monkeypatch.setattr(rig, "inside", inside)
    monkeypatch.setattr(rig, "link", lambda *_: None)
    monkeypatch.setattr(rig, "mac", lambda *_: "02:00:00:00:00:01")
    monkeypatch.setattr(rig, "why_not", lambda *_: "")
    monkeypatch.setattr(rig, "raw", raw)
    monkeypatch.setattr(rig, "linux", lambda *_: (1, {"cpu_seconds": 1}, 1))
    monkeypatch.setattr(rig, "sink", lambda *_, **__: contextlib.nullcontext(Sink()))
    plan = Plan()
    plan.repeats = 2
    runs = bulk._case(plan, Pair(), ("device", 1500))  # pylint: disable=protected-access
    assert did == ["net.ipv4.tcp_rmem=4096 131072 350000",
                   "bare", "net", "unread", "unread", "unread", "net", "bare", "unread",
                   "on", "net.ipv4.tcp_rmem=4096 131072 6291456",
                   "bare", "net", "unread, polled", "unread, polled", "net", "bare"]
    assert runs[bulk.SALVO].all() == {
        "rate": [8e9, 8e9], "share": [0.5, 0.5], "busy_rate": [10 * 1448 * 8 / 0.1] * 2,
        "again": [1, 1], "sink_share": [0.5, 0.5]}


def test_without_loss_nothing_is_judged(rows):
    runs = {(row, name): net_runs(*rates)
            for row, linux, salvo in (("no loss", (10,), (1,)), ("0.1 % loss", (10, 10), (9, 7)),
                                      ("1 % loss", (10,), (6.9,)))
            for name, rates in (("Linux", linux), ("salvo", salvo))}
    loss.add_rows(rows, runs)
    found = by_name(rows)
    assert found["no loss: salvo CUBIC"]["verdict"] == ""
    assert found["0.1 % loss: salvo CUBIC"]["verdict"] == "met"  # 0.8, the median
    assert found["1 % loss: salvo CUBIC"]["verdict"] == "missed"


def test_the_java_section_has_fetched_all_when_it_leaves_the_network(rows, tmp_path, monkeypatch):
    class Left(Exception):
        pass

    def leave():
        raise Left

    (jars.cache() / "m2").mkdir(parents=True, exist_ok=True)
    (tmp_path / "m2").symlink_to(jars.cache() / "m2")
    monkeypatch.setenv("SALVO_CACHE", str(tmp_path))
    monkeypatch.setattr(java.netns, "need_root", lambda: None)
    monkeypatch.setattr(java.netns, "loopback", leave)
    with pytest.raises(Left):
        java.run(Plan(), rows)
    made = {str(each.parent.relative_to(tmp_path)) for each in tmp_path.glob("*/*/complete")}
    assert made == {"jars/rocketmq-5.3.3", "jars/peer-java", "classes/e2e-5.3.3",
                    "classes/peer-java"}


def test_what_is_compared_on_loopback_is_alone_there_and_by_cubic():
    ours = os.readlink("/proc/self/ns/net")
    with contextlib.suppress(ZeroDivisionError), netns.loopback():
        assert os.readlink("/proc/self/ns/net") != ours
        assert [name for _, name in socket.if_nameindex()] == ["lo"]
        Path("/proc/sys/net/ipv4/tcp_congestion_control").write_text("reno")  # a default, as others
        with socket.create_server(("127.0.0.1", 0)) as listener, \
                socket.create_connection(listener.getsockname()) as client, \
                listener.accept()[0] as server:
            for each in (client, server):
                by = each.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
                assert by.rstrip(b"\0") == b"cubic"
        raise ZeroDivisionError  # left as a section is that failed
    assert os.readlink("/proc/self/ns/net") == ours
