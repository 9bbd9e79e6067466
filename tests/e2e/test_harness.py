"""The harness itself, proven without salvo: Java's producer writes, Java's consumer reads back.

What a killed, stopped or leaving process looks like is in test_rocketmq_faults.py.
"""

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from rocketmq import java, jars, readback, remoting
from rocketmq.cluster import wait_until

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"


def write(cluster, topic, count=50, first=0, nameserver=None):
    """What Java's producer sent, a dict a message."""
    out = cluster.directory / f"written-{topic}-{first}"
    java.run(
        cluster.version,
        "Writer",
        "--nameserver",
        nameserver or cluster.nameserver_addresses,
        "--topic",
        topic,
        "--count",
        count,
        "--from",
        first,
        "--out",
        out,
    )
    return [json.loads(line) for line in out.read_text("ascii").splitlines()]


def stored(cluster, topic, expect):
    return {m["offsetMsgId"]: m for m in readback.messages(cluster, topic, expect=expect)}


def assert_stored_as_sent(sent, found):
    assert [s for s in sent if s.get("status") != "SEND_OK"] == []
    assert {s["offsetMsgId"] for s in sent} == set(found)
    for s in sent:
        m = found[s["offsetMsgId"]]
        for key in ("msgId", "broker", "queueId", "queueOffset", "flag", "size"):
            assert m[key] == s[key], (key, s, m)
        assert s["properties"].items() - m["properties"].items() <= {("WAIT", "true")}
        assert m["body"].startswith(b"seq=0:%d " % s["n"])


def test_messages_are_read_back_as_java_sent_them(cluster):
    cluster.create_topic("shapes", queues=3)
    sent = write(cluster, "shapes")
    found = stored(cluster, "shapes", len(sent))
    assert_stored_as_sent(sent, found)
    assert {m["broker"] for m in found.values()} == {"broker-a", "broker-b"}
    assert any(m["size"] > 4096 and m["storeSize"] < 1000 for m in found.values()), "compressed"
    counts = readback.summary(cluster, "shapes", expect=len(sent))
    assert counts["messages"] == counts["distinct"] == counts["sequenced"] == len(sent)
    assert counts["duplicates"] == counts["out_of_order"] == counts["sequence_missing"] == 0
    assert counts["bytes"] == sum(s["size"] for s in sent)


def test_digest_is_that_of_the_body(cluster):
    import hashlib
    import zlib

    cluster.create_topic("digest", queues=1, broker="broker-a")
    write(cluster, "digest", count=8)
    whole = readback.messages(cluster, "digest", expect=8)
    for full, short in zip(whole, readback.messages(cluster, "digest", digest=True), strict=True):
        assert short["sha256"] == hashlib.sha256(full["body"]).hexdigest()
        assert short["crc32"] == zlib.crc32(full["body"])


def test_reader_fails_when_messages_are_missing(cluster):
    cluster.create_topic("missing", queues=1, broker="broker-a")
    write(cluster, "missing", count=3)
    with pytest.raises(java.JavaError, match="listed 3 messages, expected 4"):
        readback.messages(cluster, "missing", expect=4, wait_s=1)


def test_topic_has_the_queues_and_permission_it_was_given(cluster):
    cluster.create_topic("only-read", queues=5, broker="broker-b", perm=4)
    for nameserver in (0, 1):
        queues = cluster.route("only-read", nameserver)["queueDatas"]
        assert [
            (q["brokerName"], q["readQueueNums"], q["writeQueueNums"], q["perm"]) for q in queues
        ] == [("broker-b", 5, 5, 4)]
    cluster.delete_topic("only-read")
    assert cluster.route("only-read") is None


def test_java_admin_does_the_same(cluster):
    nameserver = cluster.nameserver_addresses
    java.run(
        cluster.version,
        "Admin",
        "create",
        "--nameserver",
        nameserver,
        "--topic",
        "by-java",
        "--queues",
        3,
        "--perm",
        6,
        "--broker",
        cluster.broker("broker-a").address,
    )
    wait_until(lambda: cluster.route("by-java"), "topic known")
    printed = java.run(
        cluster.version, "Admin", "route", "--nameserver", nameserver, "--topic", "by-java"
    ).stdout
    assert remoting.loads(printed.encode())["queueDatas"][0]["writeQueueNums"] == 3
    java.run(
        cluster.version,
        "Admin",
        "delete",
        "--nameserver",
        nameserver,
        "--topic",
        "by-java",
        "--brokers",
        cluster.broker("broker-a").address,
    )
    assert cluster.route("by-java") is None


def test_unknown_topic_is_created_on_the_way(cluster):
    sent = write(cluster, "made-up", count=4)
    assert_stored_as_sent(sent, stored(cluster, "made-up", 4))


def exchange(address, frame):
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(frame)
        (size,) = struct.unpack(">I", connection.recv(4, socket.MSG_WAITALL))
        return connection.recv(size, socket.MSG_WAITALL)


def answer_code(answer):
    """The code of an answer in either form, without its length field."""
    (mark,) = struct.unpack_from(">I", answer)
    if mark >> 24:
        return struct.unpack_from(">h", answer, 4)[0]
    return json.loads(answer[4 : 4 + (mark & 0xFFFFFF)])["code"]


def golden_frame(name):
    lines = (GOLDEN / f"{name}.hex").read_text("ascii").splitlines()
    return bytes.fromhex("".join(line for line in lines if not line.startswith("#")))


def test_golden_frames_are_taken_by_a_real_broker(cluster):
    cluster.create_topic("TopicTest", queues=4)
    names = [
        f"{kind}-{version}-{form}"
        for version in ("4.9.7", "5.3.3")
        for form in ("json", "binary")
        for kind in (
            "send-v2",
            "send-v2-no-broker-name",
            "send-v2-flag-minus-1",
            "send-v1",
            "send-v2-utf8",
            "send-v2-escapes",
            "send-v2-body-5000",
            "batch-1",
            "send-v2-cpp-401",
            "send-v2-acl",
            "send-v2-zlib-4x",
            "batch-3-flags",
            "batch-16",
            "batch-2-as-310",
            "heartbeat",
            "unregister",
        )
    ]
    broker = cluster.broker("broker-a").address
    codes = {name: answer_code(exchange(broker, golden_frame(name))) for name in names}
    assert {name: code for name, code in codes.items() if code} == {}
    expected = 4 * (10 + 1 + 3 + 16 + 2)
    found = readback.messages(cluster, "TopicTest", expect=expected)
    assert len(found) == expected
    bodies = [m["body"] for m in found]
    assert bodies.count(b"a" * 40) == 4, "inflated by the consumer"
    assert bodies.count(bytes((i * 31 + 7) & 0xFF for i in range(5000))) == 4
    escapes = [m["properties"] for m in found if "quote" in m["properties"]]
    assert len(escapes) == 4
    assert all(
        p["quote"] == 'say "hi"'
        and p["rocket"] == "\U0001f680\U0001f600"
        and p["lines"] == "a\nb\r\n"
        and p["equals"] == "a=b=c"
        for p in escapes
    )


def test_properties_reach_one_broker_or_all(new_cluster):
    cluster = new_cluster(
        "4.7.1",
        broker_properties={"maxMessageSize": 100000, "broker-b": {"brokerClusterName": "Other"}},
    )
    brokers = cluster.route("TBW102")["brokerDatas"]
    assert {b["brokerName"]: b["cluster"] for b in brokers} == {
        "broker-a": "DefaultCluster",
        "broker-b": "Other",
    }
    assert all(b.properties["maxMessageSize"] == 100000 for b in cluster.brokers)


def test_nothing_is_left_of_a_cluster(new_cluster):
    cluster = new_cluster("4.7.1", brokers=1)
    pids = [each.pid for each in cluster.nameservers + cluster.brokers]
    cluster.broker("broker-a").stop_signal()
    cluster.stop()
    assert not cluster.directory.exists()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_cluster_dies_with_a_killed_test_run():
    program = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from rocketmq.cluster import Cluster\n"
        "c = Cluster('4.7.1', brokers=1).start()\n"
        "print(c.directory, *[p.pid for p in c.nameservers + c.brokers], flush=True)\n"
        "sys.stdin.read()\n"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", program, str(Path(__file__).parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    directory, *pids = run.stdout.readline().split()
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    wait_until(lambda: not any(_runs(pid) for pid in pids), "orphans gone")
    subprocess.run(["rm", "-rf", directory], check=True)


def test_a_killed_run_gives_its_huge_pages_back():
    pages = Path("/proc/sys/vm/nr_hugepages")
    before = int(pages.read_text())
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from rocketmq import network\n"
        f"network.huge_pages({before + 1})\n"
        "print('taken', flush=True)\n"
        "sys.stdin.read()\n"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", program, str(Path(__file__).parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout.readline() == "taken\n"
    assert int(pages.read_text()) == before + 1
    run.kill()
    run.communicate()
    wait_until(lambda: int(pages.read_text()) == before, "the pages given back")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stopped_run_of_the_dpdk_tests_gives_its_huge_pages_back(number, tmp_path):
    """Without touching any: sysctl and unshare are ours."""
    done = tmp_path / "done"
    stubs = {
        "sysctl": f'[ "$1" = -n ] && echo 7 || echo "$*" >>{done}',
        "unshare": f"echo runs $$ >>{done}; exec tail -f /dev/null",
    }
    for name, text in stubs.items():
        (tmp_path / name).write_text("#!/bin/sh\n" + text + "\n")
        (tmp_path / name).chmod(0o755)
    run = subprocess.Popen(
        [ROOT / "tests" / "dpdk" / "run", "no-build", "tap"],
        env=dict(os.environ, PATH=f"{tmp_path}:{os.environ['PATH']}"),
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        start_new_session=True,
    )
    try:
        wait_until(lambda: "runs" in done.read_text(), "the device's tests")
        taken, runs = done.read_text().splitlines()
        run.send_signal(number)
        assert run.wait(60) == 1
        assert taken == "-qw vm.nr_hugepages=128"
        assert done.read_text().splitlines()[2:] == ["-qw vm.nr_hugepages=7"]
        wait_until(lambda: not _runs(runs.split()[1]), "the device's tests ended")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_fetching_again_does_nothing():
    before = {v: (jars.rocketmq(v) / "complete").stat().st_mtime_ns for v in jars.VERSIONS}
    done = subprocess.run(
        [sys.executable, "-m", "rocketmq.jars"],
        cwd=Path(__file__).parent,
        env={**os.environ, "PATH": ""},
        timeout=60,
        text=True,
        stdout=subprocess.PIPE,
        check=True,
    )
    assert len(done.stdout.splitlines()) == len(jars.VERSIONS)
    assert before == {v: (jars.rocketmq(v) / "complete").stat().st_mtime_ns for v in jars.VERSIONS}
