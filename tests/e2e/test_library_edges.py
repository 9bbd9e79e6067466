"""libsalvo at the edges of what salvo.h allows: calls in odd order, extreme arguments, hosts with
nothing left. What once ended in an assertion runs in a process of its own."""

import ctypes
import errno
import resource
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import fakes
import libsalvo
from libsalvo import SalvoError, Sender
from mocks import Mock
from rocketmq.cluster import wait_until

HERE = Path(__file__).parent


def host(code, *args, timeout=60):
    """What a program of its own says that uses the library."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.path.insert(0, sys.argv[1])\n" + code, HERE]
        + [str(each) for each in args],
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    return done.stdout


SEVERAL_TOPICS = """
import time
from libsalvo import Sender
from rocketmq.cluster import wait_until
with Sender({"nameserver": sys.argv[2], "api_timeout_ms": "300ms"}) as s:
    for topic in "ABCD":
        s.topic_pointer(topic)
    wait_until(lambda: s.counter("control_route_failures") >= 8, "eight questions failed", 30)
print("fine")
"""


def test_several_topics_ask_a_nameserver_by_name_that_does_not_answer_the_call():
    """The first question that times out ends the connection, and with it the others."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        address = silent.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        try:
            for each in fillers:  # the queue is full: who comes now gets no answer
                each.setblocking(False)
                each.connect_ex(address)
            assert host(SEVERAL_TOPICS, f"localhost:{address[1]}") == "fine\n"
        finally:
            for each in fillers:
                each.close()


class Broker(fakes.Server):
    """Answers everything well, on any address of this host."""

    def __init__(self):
        self.answered = {}
        super().__init__(self.serve, host="0.0.0.0")

    def serve(self, connection):
        mine = connection.getsockname()[0]
        while True:
            _, opaque = fakes.read_frame(connection)
            connection.sendall(fakes.frame(0, opaque))
            self.answered[mine] = self.answered.get(mine, 0) + 1


MOVING = """
from libsalvo import Sender
with Sender({"nameserver": sys.argv[2], "control_net": "lane", "brokers_max": 32,
             "route_interval_ms": "100ms"}, "T") as s:
    print("ready", flush=True)
    sys.stdin.read()
print("fine")
"""


def test_all_brokers_move_at_once_and_again_when_a_lane_carries_controls_connections():
    brokers = [Broker() for _ in range(32)]

    def move(address):
        nameserver.brokers = {
            f"broker-{i}": f"{address}:{each.port}" for i, each in enumerate(brokers)
        }

    nameserver = fakes.FakeNameserver({})
    move("127.0.0.1")
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.path.insert(0, sys.argv[1])\n" + MOVING]
        + [str(HERE), nameserver.address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            for turn in range(6):
                address = f"127.0.0.{1 + turn}"
                move(address)
                wait_until(
                    lambda a=address: process.poll() is not None
                    or all(a in each.answered for each in brokers),
                    f"all brokers are spoken to at {address}",
                    30,
                )
                assert process.poll() is None
            said, _ = process.communicate("", timeout=60)
            assert said == "fine\n" and process.returncode == 0
        finally:
            process.kill()
            nameserver.close()
            for each in brokers:
                each.close()


@pytest.mark.parametrize("threads", ["dedicated", "shared", "caller"])
def test_a_drain_for_ever_waits_for_the_messages_and_one_for_nothing_is_in_time(mock, threads):
    with Sender({"nameserver": mock.address, "threads": threads}, "T") as s:
        for _ in range(500):
            s.submit(b"x", keep=False)
        assert s.drain(2**63 - 1) == 0
        assert s.drain(0) == 0 and s.drain(-1) == 0
        assert [each["code"] for each in s.wait()] == ["ok"] * 500
    with Sender({"nameserver": mock.address, "threads": threads}, "T") as s:
        assert s.drain(0) == 0


def test_a_drain_whose_deadline_was_needed_says_so():
    with Sender({"nameserver": "127.0.0.1:1", "timeout_ms": "60s"}, "T") as s:
        s.submit(b"x")
        assert s.drain(100) == -errno.ETIMEDOUT
        assert s.drain(2**63 - 1) == -errno.ETIMEDOUT
        assert [each["code"] for each in s.wait()] == ["unsent_stopped"]


def is_draining(s):
    try:
        s.try_submit(b"x")
    except libsalvo.Busy as busy:
        return busy.code == libsalvo.BUSY_DRAINING
    return False


@pytest.mark.parametrize("threads", ["dedicated", "shared"])
def test_a_drain_beside_another_ends_both_when_its_deadline_is_earlier(threads):
    options = {"nameserver": "127.0.0.1:1", "timeout_ms": "10m", "threads": threads, "lanes": 2}
    with Sender(options, "T") as s:
        s.submit(b"x")
        said = []
        patient = threading.Thread(target=lambda: said.append(s.drain(20000)))
        began = time.monotonic()
        patient.start()
        wait_until(lambda: is_draining(s), "the inputs are closed")
        assert s.drain(100) == -errno.ETIMEDOUT
        patient.join()
        assert said == [-errno.ETIMEDOUT] and time.monotonic() - began < 10
        assert {each["code"] for each in s.wait()} == {"unsent_stopped"}


@pytest.mark.parametrize("threads", ["dedicated", "shared", "caller"])
def test_a_submitter_that_was_closed_can_be_opened_again_at_once(mock, threads):
    with Sender({"nameserver": mock.address, "threads": threads, "submitters_max": 2}, "T") as s:
        for _ in range(300):
            s.submitter().close()
        open_one = s.submitter()
        with pytest.raises(SalvoError) as refused:
            s.submitter()
        assert refused.value.code == -errno.ENOSPC
        open_one.close()


def test_in_caller_mode_another_thread_may_not_drain(mock):
    said = []
    with Sender({"nameserver": mock.address, "threads": "caller"}, "T") as s:
        s.submit(b"x")
        s.do_work()
        other = threading.Thread(target=lambda: said.append(s.drain(60000)))
        other.start()
        other.join()
        assert said == [-errno.EPERM]
        assert s.drain(60000) == 0
        assert [each["code"] for each in s.wait()] == ["ok"]


CLOSED_ELSEWHERE = """
import threading
from libsalvo import Sender
s = Sender({"nameserver": sys.argv[2], "threads": "caller"}, "T")
def work():
    s.submit(b"x")
    s.wait()
worker = threading.Thread(target=work)
worker.start()
worker.join()
s.shut()
print("fine")
"""


def test_in_caller_mode_another_thread_may_close(mock):
    assert host(CLOSED_ELSEWHERE, mock.address) == "fine\n"


NO_DESCRIPTORS = """
import os, resource
from libsalvo import SalvoError, Sender, load
load()
def used():
    return len(os.listdir("/proc/self/fd"))
before = used()
failed = 0
for more in range(1, 64):
    resource.setrlimit(resource.RLIMIT_NOFILE, (before + more, int(sys.argv[3])))
    try:
        Sender({"nameserver": sys.argv[2], "submitters_max": 32, "net": sys.argv[4]}).shut()
        break
    except SalvoError as error:
        assert "raise ulimit -n" in error.text, (more, error.text)
        assert "io_uring" not in error.text, (more, error.text)
        failed += 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[3]), int(sys.argv[3])))
    assert used() == before, (more, used() - before)
assert failed > 32 and more < 63, failed
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[3]), int(sys.argv[3])))
with Sender({"nameserver": sys.argv[2], "submitters_max": 32}, "T") as s:
    s.submit(b"x")
    s.wait()
print("fine")
"""


@pytest.mark.parametrize("net", ["auto", "uring", "epoll"])
def test_an_open_that_fails_for_want_of_descriptors_says_so_and_gives_back_those_it_had(mock, net):
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert host(NO_DESCRIPTORS, mock.address, min(most, 4096), net) == "fine\n"


MANY_IN_A_BATCH = """
from libsalvo import Sender
with Sender({"nameserver": sys.argv[2], "messages_out_max": 1, "submitters_max": 17,
             "batch": "linger", "linger_us": "50ms", "timeout_ms": "60s"}, "T") as s:
    submitters = [s.submitter() for _ in range(16)]
    for turn in range(4):
        for each in submitters:
            each.try_submit(b"x")
        for each in submitters:
            each.wait()
    assert all([r["code"] for r in each.done] == ["ok"] * 4 for each in submitters)
    assert s.counter("lane_batches_closed") <= 8
    for each in submitters:
        each.close()
print("fine")
"""


def test_a_batch_of_many_submitters_messages_finds_room_for_each_ones_result(mock):
    """A results ring has room for its own submitter's, not for the batch's."""
    assert host(MANY_IN_A_BATCH, mock.address) == "fine\n"


def test_every_offset_message_id_of_an_ipv6_broker_is_there(salvo_bin):
    """However many results wait to be polled."""
    with Mock(salvo_bin, "--listen", "::1", "--topic", "T:4") as mock:
        with Sender({"nameserver": mock.address, "timeout_ms": "60s"}, "T") as s:
            for _ in range(3000):
                s.submit(b"x", keep=False)
            assert s.drain(60000) == 0
            ids = [each["offset_msg_id"] for each in s.wait()]
    assert len(set(ids)) == len(ids) == 3000
    assert {(each[:32], len(each)) for each in ids} == {(f"{1:032X}", 56)}


def test_an_options_whole_length_is_told_whatever_fits():
    lib = libsalvo.load()
    conf = lib.salvo_conf_new()
    buffer = ctypes.create_string_buffer(b"?" * 16)
    assert lib.salvo_conf_get(conf, b"create_topic_key", None, 0) == 6
    assert lib.salvo_conf_get(conf, b"create_topic_key", buffer, 4) == 6
    assert buffer.value == b"TBW"
    assert lib.salvo_conf_get(conf, b"create_topic_key", buffer, 7) == 6
    assert buffer.value == b"TBW102"
    lib.salvo_conf_free(conf)


def test_a_topic_whose_queues_find_no_room_names_the_option(salvo_bin):
    """It can be written: whoever looks for what is wrong at the broker finds nothing."""
    with Mock(salvo_bin, "--topic", "First:4", "--topic", "Second:4") as mock:
        with Sender({"nameserver": mock.address, "queues_max": "4"}, "First") as s:
            wait_until(lambda: s.queues() == 4, "the first topic's route")
            s.submit(b"nowhere", topic="Second", deadline_ms=500)
            assert s.wait()
            assert "queues_max" in s.trouble("Second")
            assert s.queues("Second") == 0
            s.finish()
        assert [r["code"] for r in s.done] == ["no_route"]
        assert "queues_max" in s.done[0]["detail"]
