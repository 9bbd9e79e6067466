"""libsalvo as a host program meets it, through ctypes. Mock clusters only."""

import errno
import os
import re
import resource
import select
import socket
import threading
import time
from pathlib import Path

import pytest

import libsalvo
from libsalvo import Busy, Conf, SalvoError, Sender
from mocks import Mock
from rocketmq.cluster import wait_until


@pytest.fixture(scope="module")
def mock(salvo_bin):
    with Mock(salvo_bin, "--brokers", 2) as made:
        yield made


@pytest.fixture
def nowhere():
    """An address where nobody listens, and nobody else can while the test runs."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield "127.0.0.1:%d" % held.getsockname()[1]


def conf(mock, **more):
    return {"nameserver": mock.address, "timeout_ms": "60s", **more}


def test_nothing_is_left_after_close(mock):
    def left():
        return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

    def one():
        with Sender(conf(mock, lanes=2), "T") as s:
            s.submit(b"x")
            s.finish()

    one()
    before = left()
    memory = None
    for turn in range(12):
        one()
        if turn == 3:
            memory = resident()
    wait_until(lambda: left() == before, "a thread that was joined is gone a moment later")
    assert resident() - memory < 8 << 20, "bytes more after eight turns"


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_a_fork_of_the_host_disturbs_nobody(mock):
    """What lanes have pinned is not copied: with huge pages there may be too few for that."""
    with Sender(conf(mock), "T") as s:
        for i in range(200):
            s.submit(b"x" * 100)
            if i % 50 == 0:
                child = os.fork()
                if child == 0:
                    os._exit(0)
                assert os.waitpid(child, 0) == (child, 0)
        assert all(r["code"] == "ok" for r in s.finish())


# --- options
# -----------------------------------------------------------------------------------------


def test_options_are_read_back_as_they_were_set():
    made = Conf(
        {
            "timeout_ms": "2s",
            "batch_bytes_max": "64KiB",
            "header": "json",
            "lanes": 3,
            "fault_latency": True,
            "nameserver": "a:1;b:2",
        }
    )
    try:
        assert made.get("timeout_ms") in ("2s", "2000ms", "2000")
        assert made.get("batch_bytes_max") in ("64KiB", "65536")
        assert (made.get("header"), made.get("lanes"), made.get("nameserver")) == (
            "json",
            "3",
            "a:1;b:2",
        )
        assert made.get("fault_latency") == "true"
        again = Conf({name: made.get(name) for name in ("timeout_ms", "batch_bytes_max")})
        assert again.get("timeout_ms") == made.get("timeout_ms")
        again.free()
        with pytest.raises(SalvoError) as caught:
            made.get("no_such")
        assert caught.value.code == -errno.ENOENT
    finally:
        made.free()


@pytest.mark.parametrize(
    "name, value, code, said",
    [
        ("no_such", "1", -errno.ENOENT, "no_such"),
        ("timout_ms", "1", -errno.ENOENT, "timeout_ms"),
        ("timeout_ms", "3 parsecs", -errno.EINVAL, "timeout_ms"),
        ("timeout_ms", "3KiB", -errno.EINVAL, "ms"),
        ("timeout_ms", "0", -errno.EINVAL, "timeout_ms"),
        ("timeout_ms", "-5", -errno.EINVAL, "timeout_ms"),
        ("timeout_ms", "99999999999999999999", -errno.EINVAL, "timeout_ms"),
        ("timeout_ms", "", -errno.EINVAL, "timeout_ms"),
        ("linger_us", "1h", -errno.EINVAL, "linger_us"),
        ("batch_bytes_max", "10ms", -errno.EINVAL, "batch_bytes_max"),
        ("batch_bytes_max", "1TiB", -errno.EINVAL, "batch_bytes_max"),
        ("header", "xml", -errno.EINVAL, "binary"),
        ("fault_latency", "perhaps", -errno.EINVAL, "true"),
        ("lanes", "many", -errno.EINVAL, "lanes"),
        ("lanes", "1.5", -errno.EINVAL, "lanes"),
        ("lanes", "65", -errno.EINVAL, "64"),
        ("retries", "0x10", -errno.EINVAL, "retries"),
        ("group", "x" * 200, -errno.EINVAL, "group"),
    ],
)
def test_a_bad_option_is_one_sentence_that_names_it(name, value, code, said):
    made = Conf()
    try:
        with pytest.raises(SalvoError) as caught:
            made.set(name, value)
        assert caught.value.code == code
        assert said in caught.value.text and "\n" not in caught.value.text
        assert len(caught.value.text) > 20
    finally:
        made.free()


@pytest.mark.parametrize(
    "options, said",
    [
        ({"nameserver": ""}, "nameserver"),
        ({"nameserver": "nonsense"}, "port"),
        ({"nameserver": "h:0"}, "port"),
        ({"nameserver": "h:99999"}, "port"),
        ({"nameserver": ";;"}, "nameserver"),
        ({"group": "bad group!"}, "group"),
        ({"group": "DEFAULT_PRODUCER"}, "group"),
        ({"chunk_bytes": "5000"}, "chunk_bytes"),
        ({"try_timeout_ms": "5s", "timeout_ms": "1s"}, "try_timeout_ms"),
        ({"batch": "linger", "linger_us": "5s", "timeout_ms": "3s"}, "linger_us"),
        ({"chunks_max": 8}, "chunks_max"),
        ({"retry_chunks": 300}, "retry_chunks"),
        ({"ring_bytes": "100"}, "ring_bytes"),
        ({"chunks_max": 65536, "chunk_bytes": "1MiB", "lanes": 64}, ""),
        ({"lane_cpus": "4000"}, "lane_cpus"),
        ({"lane_cpus": "one"}, "lane_cpus"),
        ({"lane_cpus": "0,"}, "lane_cpus"),
        ({"lane_cpus": "0,,1"}, "lane_cpus"),
        ({"lane_cpus": "99999999999"}, "lane_cpus"),
        ({"control_cpu": "4000"}, "control_cpu"),
        ({"client_ip": "not an address"}, "client_ip"),
        ({"stat_file": "/nowhere/at/all"}, "/nowhere/at/all"),
    ],
)
def test_what_cannot_work_is_refused_at_open_with_the_option_and_a_remedy(options, said):
    options = {"nameserver": "127.0.0.1:1", **options}
    with pytest.raises(SalvoError) as caught:
        Sender(options).shut()
    text = caught.value.text
    assert said in text and "\n" not in text and len(text) > 20, text


def test_a_yaml_file_and_what_may_be_wrong_in_it(tmp_path, mock):
    good = tmp_path / "salvo.yaml"
    good.write_text(f"cluster:\n  nameserver: {mock.address}\nsend:\n  timeout_ms: 60s\n")
    made = Conf()
    made.load(good)
    with Sender(made, "T") as s:
        s.submit(b"x")
        assert s.finish()[0]["code"] == "ok"
    for text, said in (
        ("send:\n  timeout_ms: 3x\n", ":2"),
        ("send:\n  nonsense: 1\n", "nonsense"),
        ("send: [1\n", ":1"),
        ("nosection:\n  a: 1\n", "nosection"),
        ("send:\n  timeout_ms: [1, 2]\n", "timeout_ms"),
        ("\0\0", ""),
    ):
        bad = tmp_path / "bad.yaml"
        bad.write_text(text)
        with pytest.raises(SalvoError) as caught:
            made.load(bad)
        assert "bad.yaml" in caught.value.text and said in caught.value.text, caught.value.text
        assert "\n" not in caught.value.text
    with pytest.raises(SalvoError) as caught:
        made.load(tmp_path / "absent.yaml")
    assert caught.value.code == -errno.ENOENT and "absent.yaml" in caught.value.text
    made.free()


def test_the_environment(monkeypatch):
    lib = libsalvo.load()  # found by SALVO_BIN
    monkeypatch.setenv("SALVO_TIMEOUT_MS", "7s")
    for name in ("SALVO_BIN", "SALVO_LIB", "SALVO_CACHE", "SALVO_E2E_KEEP"):
        monkeypatch.delenv(name, raising=False)
    made = Conf(lib=lib)
    made.environment()
    assert made.get("timeout_ms") in ("7s", "7000ms", "7000")
    monkeypatch.setenv("SALVO_TIMEOUT_MS", "7 fortnights")
    with pytest.raises(SalvoError, match="SALVO_TIMEOUT_MS|timeout_ms"):
        made.environment()
    made.free()


def test_log_lines_go_to_the_sink(nowhere):
    lines = []
    made = Conf({"nameserver": nowhere, "log_level": "debug", "timeout_ms": "1s"})
    made.log(lambda level, line: lines.append((level, line)))
    with Sender(made, "T") as s:
        s.submit(b"x")
        s.finish()
    made.free()
    assert lines and all(0 <= level <= 3 and line and "\n" not in line for level, line in lines)
    assert any(nowhere in line for _, line in lines)


# --- messages that are refused
# -----------------------------------------------------------------------


def test_what_a_message_may_not_have(mock):
    with Sender(conf(mock, body_size_max=1000), "T") as s:
        refused = [
            dict(body=b""),
            dict(body=b"x" * 1001),
            dict(tags=""),
            dict(tags=" "),
            dict(tags="a\x01"),
            dict(keys="a\x02b"),
            dict(tags=b"\xff"),
            dict(properties={"": "x"}),
            dict(properties={"a": ""}),
            dict(properties={"KEYS": "x"}),
            dict(properties={"UNIQ_KEY": "x"}),
            dict(properties={"TAGS": "x"}),
            dict(properties={"a": b"\xc0\x80"}),
            dict(properties={"a": "x" * 32001}),
            dict(deadline_ms=0),
            dict(deadline_ms=86400001),
            dict(delay=0),
            dict(delay=19),
            dict(queue=1, shard="x"),
        ]
        for each in refused:
            with pytest.raises(SalvoError) as caught:
                s.submit(each.pop("body", b"x"), **each)
            assert caught.value.code in (-errno.EINVAL, -errno.ENOSPC), each
            assert caught.value.text, each
        assert s.out() == 0
        # A refused call changes nothing: the message can go without it.
        lib, m = s.lib, libsalvo.c_void_p()
        assert lib.salvo_claim(s.pointer, s.topic_pointer(), 10, libsalvo.ctypes.byref(m)) == 0
        assert (
            lib.salvo_claim(s.pointer, s.topic_pointer(), 10, libsalvo.ctypes.byref(m))
            == -errno.EINVAL
        )
        assert lib.salvo_submitter_close(s.pointer) == -errno.EBUSY
        m = m.value
        assert lib.salvo_set_tags(m, b"a\x01") == -errno.EINVAL
        assert lib.salvo_set_tags(m, b"a") == 0
        assert lib.salvo_set_property(m, b"b", b"x" * 31980) == 0
        assert lib.salvo_set_property(m, b"c", b"x" * 100) == -errno.ENOSPC
        assert lib.salvo_set_property(m, b"d", b"e") == 0
        assert lib.salvo_body(m) % 8 == 0
        assert lib.salvo_commit(m, 0, 9) == -errno.EINVAL
        assert lib.salvo_commit(m, 11, 9) == -errno.EINVAL
        assert lib.salvo_commit(m, 10, 9) == 0
        assert [r["cookie"] for r in s.finish()] == [9]


def test_topics_that_are_refused(mock):
    with Sender(conf(mock, topics_max=3), "T") as s:
        for name in (
            "",
            " ",
            "a b",
            "a@b",
            "ä",
            "x" * 128,
            "SCHEDULE_TOPIC_XXXX",
            "RMQ_SYS_TRANS_HALF_TOPIC",
        ):
            with pytest.raises(SalvoError) as caught:
                s.topic_pointer(name or "\0")
            assert caught.value.code == -errno.EINVAL, name
        first = s.topic_pointer("x" * 127)
        s.topics.clear()
        assert s.topic_pointer("x" * 127) == first, "interned"
        assert s.lib.salvo_topic_name(first) == b"x" * 127
        s.topic_pointer("third")
        with pytest.raises(SalvoError) as caught:
            s.topic_pointer("fourth")
        assert caught.value.code == -errno.ENOSPC


def test_an_id_of_ones_own_comes_back(mock):
    with Sender(conf(mock), "T") as s:
        s.submit(b"x", id=bytes(range(12)))
        assert s.finish()[0]["msg_id"].endswith(bytes(range(12)).hex().upper())


def test_counters_net_and_version(mock):
    with Sender(conf(mock, net="epoll"), "T") as s:
        s.submit(b"x")
        s.wait()
        assert s.counter("lane_messages_good") == 1
        with pytest.raises(SalvoError) as caught:
            s.counter("no_such")
        assert caught.value.code == -errno.ENOENT
        assert s.net() == ("epoll", None)
        assert re.fullmatch(rb"\d+\.\d+\.\d+", s.lib.salvo_version())


@pytest.mark.parametrize("threads", ["dedicated", "shared"])
def test_a_lane_with_nothing_to_do_counts_its_sleeps(mock, threads):
    with Sender(conf(mock, threads=threads), "T") as s:
        before = s.counter("lane_sleeps")
        wait_until(lambda: s.counter("lane_sleeps") > before, "the lane sleeps")


# --- not now
# -----------------------------------------------------------------------------------------


def test_busy_when_too_many_are_out(mock):
    with Sender(conf(mock, messages_out_max=16), "T") as s:
        for _ in range(16):
            s.try_submit(b"x")
        with pytest.raises(Busy) as caught:
            s.try_submit(b"x")
        assert caught.value.code == libsalvo.BUSY_RESULTS
        while s.poll(1) == 0:
            s.turn()
        s.try_submit(b"x")
        assert len(s.finish()) == 17


def test_busy_when_the_ring_is_full(mock):
    """In caller mode nobody empties it but us."""
    with Sender(conf(mock, threads="caller", body_size_max="100KiB"), "T") as s:
        taken = 0
        with pytest.raises(Busy) as caught:
            for taken in range(1000):
                s.try_submit(b"x" * 100000)
        assert caught.value.code == libsalvo.BUSY_RING_FULL and 1 < taken < 100
        assert len(s.finish()) == taken


def test_busy_once_draining(mock):
    with Sender(conf(mock), "T") as s:
        s.submit(b"x")
        assert s.drain() == 0
        with pytest.raises(Busy) as caught:
            s.try_submit(b"x")
        assert caught.value.code == libsalvo.BUSY_DRAINING
        assert s.drain() == 0, "a second time"
        assert len(s.finish()) == 1


def test_close_is_refused_while_something_is_open(mock):
    with Sender(conf(mock), "T") as s:
        s.submit(b"x")
        assert s.lib.salvo_close(s.sender_pointer) == -errno.EBUSY, "a submitter is open"
        assert s.lib.salvo_submitter_close(s.pointer) == -errno.EBUSY, "a result is unpolled"
        s.wait()
        assert s.lib.salvo_close(s.sender_pointer) == -errno.EBUSY
        s.submit(b"y")
        assert len(s.finish()) == 2


def test_submitters_are_limited_and_come_back(mock):
    with Sender(conf(mock, submitters_max=2), "T") as s:
        other = s.submitter()
        with pytest.raises(SalvoError) as caught:
            s.submitter()
        assert caught.value.code == -errno.ENOSPC
        other.submit(b"x")
        other.wait()
        other.close()
        deadline = time.monotonic() + 30
        while True:  # the lane lets go of it a moment later
            try:
                again = s.submitter()
                break
            except SalvoError:
                assert time.monotonic() < deadline
        again.submit(b"y")
        assert len(again.wait()) == 1


def test_many_threads_each_with_a_submitter(mock):
    with Sender(conf(mock, lanes=2, submitters_max=5), "T") as s:
        others = [s.submitter() for _ in range(4)]

        def run(each):
            for i in range(500):
                each.submit(b"%d" % i, shard="x" if i % 2 else None)
            each.wait()

        threads = [threading.Thread(target=run, args=(each,)) for each in others]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        ids = [r["msg_id"] for each in others for r in each.done if r["code"] == "ok"]
        assert len(set(ids)) == 2000


# --- the descriptor
# ----------------------------------------------------------------------------------


def test_descriptor_is_readable_when_results_wait(mock):
    with Sender(conf(mock), "T") as s:
        assert s.poll() == 0  # arms it
        assert select.select([s.fd()], [], [], 0)[0] == []
        for turn in range(200):
            s.try_submit(b"x")
            assert select.select([s.fd()], [], [], 60)[0] == [s.fd()], turn
            while s.poll():
                pass
            # A lane that rang late may have left it readable: a poll that finds nothing clears
            # that.
            while select.select([s.fd()], [], [], 0)[0]:
                assert s.poll() == 0
        assert len(s.finish()) == 200


# --- caller mode
# -------------------------------------------------------------------------------------


def test_caller_mode_belongs_to_its_first_thread(mock):
    with Sender(conf(mock, threads="caller"), "T") as s:
        tasks = len(os.listdir("/proc/self/task"))
        s.do_work()
        found = []
        other = threading.Thread(target=lambda: found.append(s.lib.salvo_do_work(s.sender_pointer)))
        other.start()
        other.join()
        assert found == [-errno.EPERM]
        for i in range(100):
            s.submit(b"%d" % i)
        assert all(r["code"] == "ok" for r in s.wait())
        wait_until(lambda: len(os.listdir("/proc/self/task")) == tasks, "no thread of salvo's")
        s.submit(b"drained by drain alone")
        assert s.drain() == 0
        assert s.finish()[-1]["code"] == "ok"


def test_caller_mode_drained_and_closed_without_a_turn(mock):
    with Sender(conf(mock, threads="caller"), "T") as s:
        s.submit(b"x")
        assert s.drain() == 0
        assert s.finish()[0]["code"] == "ok"
    with Sender(conf(mock, threads="caller"), "T"):
        pass


@pytest.mark.parametrize("threads", ["dedicated", "shared"])
def test_do_work_is_for_caller_mode_only(mock, threads):
    with Sender(conf(mock, threads=threads), "T") as s:
        with pytest.raises(SalvoError) as caught:
            s.do_work()
        assert caught.value.code == -errno.EINVAL


# --- draining
# ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", ["dedicated", "shared", "caller"])
def test_drain_deadline_gives_each_message_one_result(nowhere, threads):
    """No nameserver: what waits for its route is given up, unsent, when the deadline comes."""
    with Sender({"nameserver": nowhere, "timeout_ms": "60m", "threads": threads}, "T") as s:
        for i in range(50):
            s.submit(b"%d" % i)
        began = time.monotonic()
        assert s.drain(300) == -errno.ETIMEDOUT
        assert 0.29 < time.monotonic() - began < 30
        s.finish()
        assert sorted(r["cookie"] for r in s.done) == list(range(1, 51))
        assert {
            (r["code"], r["stored"], r["tries"], r["broker"], r["queue_id"], r["offset_msg_id"])
            for r in s.done
        } == {("unsent_stopped", libsalvo.STORED_NO, 0, "", -1, "")}


def test_drain_deadline_with_an_answer_out_leaves_it_unknown(salvo_bin, tmp_path):
    script = tmp_path / "script"
    script.write_text("* send silence forever\n")
    with Mock(salvo_bin, "--script", script) as silent, Sender(
        {"nameserver": silent.address, "timeout_ms": "60m"}, "T"
    ) as s:
        s.submit(b"x")
        wait_until(lambda: s.counter("lane_requests_sent") != 0, "the request is on its way")
        assert s.drain(300) == -errno.ETIMEDOUT
        s.finish()
        assert s.done[0]["stored"] == libsalvo.STORED_UNKNOWN and s.done[0]["tries"] == 1


def test_a_broker_that_was_silent_is_probed_until_it_answers(salvo_bin):
    options = {
        "timeout_ms": "60m",
        "fault_latency": True,
        "fault_detector": True,
        "detect_interval_ms": "100ms",
        "detect_timeout_ms": "1s",
        "api_timeout_ms": "1s",
    }
    with Mock(salvo_bin) as mock, Sender({"nameserver": mock.address, **options}, "T") as s:
        s.submit(b"good")
        s.wait()
        mock.stop_signal()
        s.submit(b"silence", deadline_ms=2000)  # time enough to be sent
        s.wait()
        assert [r["code"] for r in s.done] == ["ok", "timed_out"]
        wait_until(lambda: s.counter("control_brokers_unreachable") == 1, "it is not reachable")
        wait_until(lambda: s.counter("control_probe_failures") != 0, "a probe was not answered")
        assert s.counter("control_probes") == 0
        mock.cont_signal()  # no message is open: nothing but a probe says so
        wait_until(lambda: s.counter("control_probes") != 0, "a probe was answered")
        wait_until(lambda: s.counter("control_brokers_unreachable") == 0, "it is reachable again")
        s.submit(b"good")
        assert s.drain(600000) == 0
        s.finish()
        assert s.done[-1]["code"] == "ok"


def test_drain_waits_for_what_can_be_sent(salvo_bin, tmp_path):
    script = tmp_path / "script"
    script.write_text("* send delay 500ms next 5\n")
    with Mock(salvo_bin, "--script", script) as slow, Sender(
        {"nameserver": slow.address, "timeout_ms": "60m"}, "T"
    ) as s:
        for i in range(100):
            s.submit(b"%d" % i)
        assert s.drain(600000) == 0
        assert len(s.finish()) == 100 and all(r["code"] == "ok" for r in s.done)


# --- time
# --------------------------------------------------------------------------------------------


def test_the_budget_counts_from_a_time_that_was_handed_over(nowhere):
    with Sender({"nameserver": nowhere, "timeout_ms": "60m"}, "T") as s:
        now_ns = s.lib.salvo_now_ns(s.sender_pointer)
        s.submit(b"x", deadline_ms=1500, now_ns=now_ns - 900_000_000)
        s.submit(b"x", deadline_ms=1500)
        for wrong_ns in (0, time.time_ns(), now_ns - 3_000_000_000):
            with pytest.raises(SalvoError, match="salvo_now_ns"):
                s.submit(b"x", now_ns=wrong_ns)
        s.wait()
        aged, twin = s.done
        assert (aged["cookie"], twin["cookie"]) == (1, 2)
        assert 0.59 < (aged["done_ns"] - now_ns) / 1e9 < 30
        assert twin["done_ns"] - aged["done_ns"] > 500_000_000


def test_a_message_without_a_route_ends_at_its_own_deadline(nowhere):
    with Sender({"nameserver": nowhere, "timeout_ms": "60m"}, "T") as s:
        began = time.monotonic()
        s.submit(b"short", deadline_ms=200)
        s.submit(b"longer", deadline_ms=1000)
        s.wait()
        short, longer = s.done
        assert (short["cookie"], longer["cookie"]) == (1, 2)
        assert {r["code"] for r in s.done} == {"no_route"}
        assert {r["stored"] for r in s.done} == {libsalvo.STORED_NO}
        assert all(r["detail"] for r in s.done)
        assert s.queues() == 0 and s.trouble()
        for result, limit in ((short, 0.2), (longer, 1.0)):
            late = result["done_ns"] / 1e9 - began - limit
            assert -0.05 < late < 30
