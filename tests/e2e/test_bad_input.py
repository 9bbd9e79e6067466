"""What is wrong around salvo costs one clear error in time, or one connection, and nothing else.

Cluster addresses that are none, peers that lie, topics and bodies that cannot be, hosts that refuse
memory or io_uring. No Java; the clusters are mocks, and fakes.py for what no mock would do.
"""

import errno
import json
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

import libsalvo
from fakes import FakeBroker, FakeNameserver, Server, frame, never_reads, read_frame
from libsalvo import Sender
from mocks import Mock, clean_environment
from rocketmq.cluster import wait_until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def mock(salvo_bin):
    with Mock(salvo_bin, "--brokers", 2) as made:
        yield made


def run(salvo_bin, *args, timeout=300, **options):
    return subprocess.run(
        [str(salvo_bin), *map(str, args)],
        timeout=timeout,
        capture_output=True,
        text=True,
        env=clean_environment(),
        **options,
    )


# --- nameservers that are none
# -----------------------------------------------------------------------


def http(connection):
    connection.recv(100)
    connection.sendall(
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n"
    )
    connection.close()


def ssh(connection):
    connection.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
    never_reads(connection)


NOT_NAMESERVERS = {
    "nobody": None,
    "http": http,
    "ssh": ssh,
    "silent": never_reads,
    "closes": lambda connection: connection.close(),
    "reads-and-closes": lambda connection: (connection.recv(100), connection.close()),
    "empty-frame": lambda connection: (
        connection.recv(4),
        connection.sendall(bytes(8)),
        never_reads(connection),
    ),
    "not-json": lambda connection: (
        connection.recv(4),
        connection.sendall(struct.pack(">II", 14, 10) + b"{]nonsense"),
        never_reads(connection),
    ),
    "huge": lambda connection: (
        connection.recv(4),
        connection.sendall(struct.pack(">II", 0x7FFFFFFF, 10) + b"x" * 1000),
        never_reads(connection),
    ),
}


@pytest.mark.parametrize("kind", NOT_NAMESERVERS)
def test_what_is_no_nameserver_is_one_clear_error(salvo_bin, kind):
    """The send fails at its deadline, unsent, and what is said names the address."""
    with Server(NOT_NAMESERVERS[kind]) as server:
        began = time.monotonic()
        done = run(
            salvo_bin,
            "send",
            "--topic",
            "T",
            "--nameserver",
            server.address,
            "-D",
            "timeout_ms=1500ms",
            "-D",
            "api_timeout_ms=300ms",
            "-D",
            "connect_timeout_ms=300ms",
            input="a\nb\n",
        )
        took = time.monotonic() - began
    assert done.returncode == 1, done.stderr
    assert took < 60
    assert "2 read, 0 acknowledged, 2 failed" in done.stderr
    assert server.address in done.stderr or "nameserver" in done.stderr
    assert 2 <= len(done.stderr.splitlines()) <= 12, done.stderr


def not_supported(connection):
    """As a broker answers a question for a route."""
    while True:
        code, opaque = read_frame(connection)
        text = f"request type {code} not supported"
        connection.sendall(frame(3, opaque, remark=text))


def test_a_brokers_port_is_no_nameserver(salvo_bin):
    with Server(not_supported) as broker:
        done = run(
            salvo_bin, "load", "--nameserver", broker.address, "--count", 1, "-D", "timeout_ms=1s"
        )
    assert done.returncode == 2
    assert f"{broker.address} knows no questions for routes" in done.stderr
    assert "is this a broker's port? check option nameserver" in done.stderr


@pytest.mark.parametrize("kind", NOT_NAMESERVERS)
def test_a_nameserver_beside_it_is_found(mock, kind):
    with Server(NOT_NAMESERVERS[kind]) as server:
        with Sender(
            {
                "nameserver": f"{server.address};{mock.address}",
                "timeout_ms": "60s",
                "api_timeout_ms": "300ms",
                "connect_timeout_ms": "300ms",
            },
            "T",
        ) as s:
            s.submit(b"x")
            assert s.finish()[0]["code"] == "ok"


def test_a_name_that_does_not_resolve(salvo_bin):
    done = run(
        salvo_bin,
        "send",
        "--topic",
        "T",
        "--nameserver",
        "no-such-host.invalid:9876",
        "-D",
        "timeout_ms=1s",
        input="a\n",
    )
    assert done.returncode == 1 and "1 failed" in done.stderr


def test_a_name_at_whose_first_address_nobody_listens(salvo_bin, tmp_path):
    """As "localhost" where it is ::1 first. It has a hosts file of its own."""
    if os.geteuid() != 0:
        pytest.fail("mounts a file over /etc/hosts, which needs root", pytrace=False)
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 twice.test\n127.0.0.9 twice.test\n")
    with FakeBroker() as broker, FakeNameserver({"a": broker.address}, host="127.0.0.9") as server:
        done = run(
            *("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', hosts),
            *(salvo_bin, "send", "--topic", "T", "--nameserver", f"twice.test:{server.port}"),
            input="a\n",
        )
    assert done.returncode == 0 and "1 acknowledged" in done.stderr, done.stderr


def test_an_unreachable_nameserver_for_load(salvo_bin):
    began = time.monotonic()
    done = run(
        salvo_bin, "load", "--nameserver", "127.0.0.1:1", "--count", "10", "-D", "timeout_ms=1s"
    )
    assert done.returncode == 2 and time.monotonic() - began < 60
    assert "nameserver" in done.stdout + done.stderr


def test_a_lane_without_a_descriptor_says_so_once(salvo_bin, mock, tmp_path):
    """The limit at which control still has its connections, and the lane gets none: sought, as it
    hangs on the backend."""
    for limit in range(8, 40):
        path = tmp_path / f"{limit}.json"
        done = run(
            salvo_bin,
            "load",
            *("--nameserver", mock.address, "--count", "100", "--json", path),
            *("-D", "timeout_ms=1s"),
            preexec_fn=lambda limit=limit: resource.setrlimit(
                resource.RLIMIT_NOFILE, (limit, limit)
            ),
        )
        if "no connection to a broker" in done.stdout:
            break
        assert done.returncode in (1, 2) and done.stderr != "", (limit, done.stdout)
    assert done.returncode == 1
    assert done.stderr.count("(EMFILE); raise ulimit -n") == 1, done.stderr
    report = json.loads(path.read_text())
    assert report["client"]["was_limit"] is False and report["client"]["limit_reason"] == ""
    assert report["seconds"] > 0.5
    assert report["machine"]["model"] != "unknown"


# --- topics and bodies
# -------------------------------------------------------------------------------


def test_an_unknown_topic_where_none_is_created(salvo_bin):
    with Mock(salvo_bin, "--no-auto-create", "--topic", "There:2") as mock:
        with Sender({"nameserver": mock.address}, "There") as s:
            s.submit(b"nowhere", topic="NotThere", deadline_ms=1000)
            s.submit(b"here", deadline_ms=60000)
            assert s.wait()
            wait_until(lambda: "does not exist" in (s.trouble("NotThere") or ""), "its answer")
            assert s.queues("NotThere") == 0
            s.finish()
        by_cookie = {r["cookie"]: r for r in s.done}
        assert by_cookie[2]["code"] == "ok"
        assert (by_cookie[1]["code"], by_cookie[1]["stored"]) == ("no_route", libsalvo.STORED_NO)
        done = run(
            salvo_bin,
            "send",
            "--topic",
            "NotThere",
            "--nameserver",
            mock.address,
            "-D",
            "timeout_ms=1s",
            input="a\n",
        )
        assert done.returncode == 1 and "NotThere" in done.stderr


@pytest.mark.parametrize(
    "topic", ["", "a b", "a@b", "ä", "x" * 128, "SCHEDULE_TOPIC_XXXX", "RMQ_SYS_TRANS_HALF_TOPIC"]
)
def test_a_topic_that_cannot_be(salvo_bin, topic):
    done = run(salvo_bin, "send", "--topic", topic, "--nameserver", "127.0.0.1:1", input="a\n")
    assert done.returncode == 2 and "--topic" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_body_that_is_too_large(salvo_bin, mock):
    done = run(
        salvo_bin,
        "send",
        "--topic",
        "T",
        "--nameserver",
        mock.address,
        "--whole",
        "-D",
        "timeout_ms=60s",
        input="x" * ((4 << 20) + 1),
    )
    assert done.returncode in (1, 2) and "4194304" in done.stderr
    done = run(
        salvo_bin,
        "send",
        "--topic",
        "T",
        "--nameserver",
        mock.address,
        "--whole",
        "-D",
        "timeout_ms=60s",
        input="x" * (4 << 20),
    )
    assert done.returncode == 0, done.stderr


# --- brokers that lie
# --------------------------------------------------------------------------------


def raw(length, mark, rest=b""):
    return struct.pack(">II", length, mark) + rest


def ext(**fields):
    return {
        "msgId": "7F00000100002A9F0000000000000000",
        "queueId": "0",
        "queueOffset": "0",
        **fields,
    }


# What comes back for a send, by the opaque it had.
LIES = {
    "length-too-small": lambda opaque: raw(3, 0),
    "length-zero": lambda opaque: raw(0, 0),
    "length-negative": lambda opaque: raw(0xFFFFFFFF, 10, b"x" * 100),
    "over-16-MiB": lambda opaque: raw((16 << 20) + 1, 10, b"x" * 1000),
    "header-beyond-frame": lambda opaque: raw(14, 11, b"x" * 10),
    "no-header": lambda opaque: raw(4, 0),
    "unknown-form": lambda opaque: raw(14, (7 << 24) + 10, b"x" * 10),
    "not-json": lambda opaque: raw(14, 10, b"{]nonsense"),
    "cut-json": lambda opaque: raw(14, 10, b'{"code":0,'),
    "deep-json": lambda opaque: raw(4004, 4000, b"[" * 4000),
    "binary-cut": lambda opaque: raw(
        4 + 10, (1 << 24) + 10, struct.pack(">hBhiB", 0, 0, 479, opaque, 0)
    ),
    "binary-ext-beyond": lambda opaque: raw(
        4 + 25, (1 << 24) + 25, struct.pack(">hBhiiiI", 0, 0, 479, opaque, 1, 0, 1 << 30) + bytes(4)
    ),
    "cut-short": lambda opaque: frame(0, opaque, ext=ext())[:30],
    "tls-alert": lambda opaque: bytes.fromhex("15030300020228") * 3,
    "http": lambda opaque: b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "closes": lambda opaque: b"",
}


@pytest.mark.parametrize("lie", LIES)
def test_an_answer_that_lies_costs_one_connection(lie):
    """The liar is tried again or passed over; the other broker notices nothing. Both backends, side
    by side."""
    with ExitStack() as stack:
        worlds = []
        for net in ("uring", "epoll"):
            liar = stack.enter_context(FakeBroker(LIES[lie], bad_max=1))
            good = stack.enter_context(FakeBroker())
            nameserver = stack.enter_context(
                FakeNameserver({"liar": liar.address, "good": good.address})
            )
            s = stack.enter_context(
                Sender(
                    {
                        "nameserver": nameserver.address,
                        "timeout_ms": "60s",
                        "net": net,
                        "retries": 20,
                        "connect_timeout_ms": "30s",
                        "api_timeout_ms": "30s",
                        "try_timeout_ms": "20s" if lie != "cut-short" else "2s",
                    },
                    "T",
                )
            )
            worlds.append((liar, good, s))
        for _ in range(40):
            for _, _, s in worlds:
                for _ in range(5):
                    s.submit(b"x")
            for _, _, s in worlds:
                s.wait()
        for liar, good, s in worlds:
            s.finish()
            assert len(s.done) == 200 and {r["code"] for r in s.done} == {"ok"}
            assert liar.bad == 1 and good.accepted <= 2  # one for data, one of control's
            assert liar.accepted <= 4


@pytest.mark.parametrize("lie", LIES)
def test_a_broker_that_only_lies_ends_in_time(lie):
    with FakeBroker(LIES[lie]) as liar, FakeNameserver(
        {"liar": liar.address}
    ) as nameserver, Sender({"nameserver": nameserver.address, "timeout_ms": "2s"}, "T") as s:
        wait_until(s.queues, "a route: what waits for it for 2 s is never sent")
        began = time.monotonic()
        for _ in range(20):
            s.submit(b"x")
        s.finish()
        assert time.monotonic() - began < 60
        assert len(s.done) == 20 and {r["stored"] for r in s.done} <= {
            libsalvo.STORED_UNKNOWN,
            libsalvo.STORED_NO,
        }
        assert all(
            r["code"] in ("timed_out", "connection_lost", "timed_out_unsent") for r in s.done
        )
        assert any(r["stored"] == libsalvo.STORED_UNKNOWN for r in s.done)


OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffd]")
EVIL = b"r\xc3\xa9d \x1b[31m \xc2\x9b31m \xff\x9b \x7f"


def test_a_remark_drives_no_terminal(salvo_bin, tmp_path):
    """And the report is JSON with it."""
    script, path = tmp_path / "script", tmp_path / "report.json"
    script.write_bytes(b'* send code 13 forever remark "' + EVIL + b'"\n')
    with Mock(salvo_bin, "--script", script) as mock:
        to = ["--nameserver", mock.address, "-D", "retries=0"]
        sent = run(salvo_bin, "send", *to, "--topic", "T", input="a\n", errors="replace")
        load = run(salvo_bin, "load", *to, "--count", 5, "--json", path, errors="replace")
    assert (sent.returncode, load.returncode) == (1, 1)
    text = json.loads(path.read_text())["error_texts"]["refused_13"]
    for said in (sent.stderr, load.stdout + load.stderr, text):
        assert "r\u00e9d  [31m ??31m" in said and not OBEYED.search(said), repr(said)


def test_a_brokers_name_drives_no_terminal(salvo_bin):
    name = "a\x1b[31m\tb"
    with FakeBroker() as broker, FakeNameserver({name: broker.address}) as server:
        done = run(
            *(salvo_bin, "send", "--topic", "T", "--nameserver", server.address, "--verbose"),
            input="a\n",
        )
    assert done.returncode == 0 and done.stdout.split("\t")[1] == "a [31m b", repr(done.stdout)


STRANGE = {
    "no-ext": lambda opaque: frame(0, opaque),
    "other-opaque": lambda opaque: frame(0, opaque ^ 0x40000000, ext=ext()),
    "a-request": lambda opaque: frame(39, opaque, flag=0),
    "twice": lambda opaque: frame(0, opaque, ext=ext()) * 2,
    "long-remark": lambda opaque: frame(1, opaque, remark="no " * 4000),
    "garbled-id": lambda opaque: frame(0, opaque, ext=ext(msgId="not hex at all")),
    "garbled-offset": lambda opaque: frame(0, opaque, ext=ext(queueOffset="many")),
    "with-body": lambda opaque: frame(0, opaque, ext=ext(), body=b"x" * 100000),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_an_answer_that_is_strange_disturbs_nobody(kind):
    with FakeBroker(STRANGE[kind], bad_max=3) as strange, FakeNameserver(
        {"strange": strange.address}
    ) as nameserver, Sender(
        {
            "nameserver": nameserver.address,
            "timeout_ms": "60s",
            "try_timeout_ms": "500ms",
            "retries": 100,
        },
        "T",
    ) as s:
        for _ in range(50):
            s.submit(b"x")
        s.finish()
        assert len(s.done) == 50 and {r["stored"] for r in s.done} == {libsalvo.STORED_YES}


@pytest.mark.parametrize(
    "serve",
    [never_reads, lambda connection: (connection.recv(1 << 20), never_reads(connection))],
    ids=["never-reads", "never-answers"],
)
@pytest.mark.parametrize("net", ["uring", "epoll"])
def test_a_broker_that_does_not_react_holds_nobody_up(serve, net):
    """More is sent to it than its socket takes. The other broker gets everything in the end."""
    with Server(serve) as deaf, FakeBroker() as good, FakeNameserver(
        {"deaf": deaf.address, "good": good.address}
    ) as nameserver, Sender(
        {
            "nameserver": nameserver.address,
            "timeout_ms": "90s",
            "try_timeout_ms": "1s",
            "net": net,
            "retries": 80,
            "body_size_max": "100KiB",
        },
        "T",
    ) as s:
        for _ in range(200):
            s.submit(b"x" * 100000)
        s.finish()
        assert len(s.done) == 200 and {(r["code"], r["broker"]) for r in s.done} == {("ok", "good")}


@pytest.mark.parametrize(
    "serve",
    [never_reads, lambda connection: (connection.recv(1 << 20), never_reads(connection))],
    ids=["never-reads", "never-answers"],
)
def test_a_broker_that_does_not_react_alone_ends_in_time(serve):
    with Server(serve) as deaf, FakeNameserver({"deaf": deaf.address}) as nameserver, Sender(
        {"nameserver": nameserver.address, "timeout_ms": "2s"}, "T"
    ) as s:
        began = time.monotonic()
        for _ in range(50):
            s.submit(b"x" * 1000)
        s.finish()
        assert 1.9 < time.monotonic() - began < 60
        assert {r["code"] for r in s.done} <= {"timed_out", "timed_out_unsent"} and len(
            s.done
        ) == 50
        for r in s.done:
            assert r["stored"] == (
                libsalvo.STORED_NO if r["code"] == "timed_out_unsent" else libsalvo.STORED_UNKNOWN
            )


ROUTES = {
    "broker-without-address": {"liar": "127.0.0.1:1"},
    "address-nonsense": {"liar": "nonsense"},
    "port-nonsense": {"liar": "127.0.0.1:99999"},
}


@pytest.mark.parametrize("kind", ROUTES)
def test_a_route_with_a_broker_that_cannot_be_reached(kind):
    with FakeBroker() as good, FakeNameserver(
        {**ROUTES[kind], "good": good.address}
    ) as nameserver, Sender({"nameserver": nameserver.address, "timeout_ms": "60s"}, "T") as s:
        for _ in range(50):
            s.submit(b"x")
        s.finish()
        assert {(r["code"], r["broker"]) for r in s.done} == {("ok", "good")}


def run_with_memory(kib, *command):
    limit = kib << 10
    return run(
        *command, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    )


def assert_names_a_limit_or_an_option(done):
    if done.returncode != 0:
        assert done.returncode == 2, done.stderr
        assert re.search("ulimit|lower", done.stderr), done.stderr
        assert "remember_max" not in done.stderr


@pytest.mark.parametrize("kib", [30_000, 50_000, 70_000, 100_000, 200_000, 280_000, 330_000])
def test_with_little_memory_each_error_names_a_limit_or_an_option(salvo_bin, kib):
    """Where it stops differs from host to host; that it says what to raise or lower does not."""
    assert_names_a_limit_or_an_option(run_with_memory(kib, salvo_bin, "load", "--count", 1000))


def test_wherever_memory_ends_the_error_names_a_limit_or_an_option(salvo_bin):
    """From the least with which a process comes up at all (its libraries are not ours) to the least
    that is enough. Addresses are not random here: they decide where the memory ends."""
    salvo = ("setarch", "-R", salvo_bin)
    done = run(*salvo, "--help")
    assert done.stdout, done.stderr  # a container may forbid such addresses
    first = next(
        kib for kib in range(4096, 400_000, 256) if run_with_memory(kib, *salvo, "--help").stdout
    )
    said = set()
    for kib in range(first, 1_000_000, 512):
        done = run_with_memory(kib, *salvo, "load", "--count", 1000)
        assert_names_a_limit_or_an_option(done)
        if done.returncode == 0:
            break
        said.add(re.sub(r"\d+", "", done.stderr))
    assert done.returncode == 0 and len(said) > 3


@pytest.mark.parametrize("limit", range(4, 13))
def test_with_too_few_descriptors_to_start_the_error_names_their_limit(salvo_bin, limit):
    done = run(
        *(salvo_bin, "load", "--count", 10),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)),
    )
    assert done.returncode == 2
    assert re.search("Too many open files; raise ulimit -n or LimitNOFILE$", done.stderr, re.M)


def test_fewer_submitters_than_lanes_name_their_option(salvo_bin):
    done = run(salvo_bin, "load", "--lanes", 2, "-D", "submitters_max=1", "--count", 10)
    assert done.returncode == 2 and "raise submitters_max" in done.stderr.splitlines()[-1]


# --- plans that cannot be
# ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, named, remedy",
    [
        ("chunk_bytes=5000", "chunk_bytes", "8192"),
        ("chunks_max=8", "chunks_max", "raise"),
        ("ring_bytes=1000", "ring_bytes", "raise"),
        ("retry_chunks=300", "retry_chunks", "half"),
        ("retry_chunks=512", "retry_chunks", "lower retry_chunks"),
        ("try_timeout_ms=10s", "try_timeout_ms", "lower"),
        ("batch=linger linger_us=5s", "linger_us", "lower"),
        ("group=a@b", "group", "letters"),
        ("create_topic_key=", "create_topic_key", "TBW102"),
        ("client_ip=here", "client_ip", "address"),
        ("lane_cpus=x", "lane_cpus", "numbers"),
        ("lane_cpus=0,1", "lane_cpus", "take some out"),
        ("lane_cpus=99999", "no CPU has a number above 16383", "`salvo check` shows those"),
        ("control_cpu=0,1", "control_cpu", "take some out"),
        ("messages_out_max=0", "messages_out_max", "1"),
        ("body_size_max=5MiB", "body_size_max", "4"),
        ("timeout_ms=3KiB", "timeout_ms", "ms"),
        ("timeout_ms=1.5s", "timeout_ms", "a whole number with a unit, such as 1500ms"),
        ("linger_us=fast", "linger_us", "us"),
        ("no_such_option=1", "no_such_option", "CONFIG.md"),
    ],
)
def test_a_plan_that_cannot_be_names_option_and_remedy(salvo_bin, options, named, remedy):
    arguments = [x for each in options.split() for x in ("-D", each)]
    done = run(salvo_bin, "check", *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert named in done.stderr and remedy in done.stderr
    assert len(done.stderr.splitlines()) == 1


# --- hosts that refuse
# -------------------------------------------------------------------------------


def load(salvo_bin, tmp_path, *prefix, more=(), **options):
    """A small load behind a prefix of commands; its report and its standard error."""
    path = tmp_path / "report.json"
    path.touch()
    path.chmod(0o666)
    tmp_path.chmod(0o777)
    command = [
        *map(str, prefix),
        str(salvo_bin),
        "load",
        "--count",
        "5000",
        "--json",
        str(path),
        "-D",
        "timeout_ms=60s",
        *map(str, more),
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        cwd="/",
        env=clean_environment(),
        **options,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(path.read_text())
    assert report["acked"] == 5000 and report["valid"]
    return report, done.stdout + done.stderr


@pytest.fixture
def shared_bin(salvo_bin, tmp_path_factory):
    """The program where any user can run it."""
    folder = Path("/tmp") / f"salvo-e2e-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    yield shutil.copy(salvo_bin, folder / "salvo")
    shutil.rmtree(folder)


@pytest.fixture
def open_tmp():
    folder = Path("/tmp") / f"salvo-e2e-out-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


NOBODY = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--no-new-privs",
    "--inh-caps=-all",
]


def test_without_root(shared_bin, open_tmp):
    if os.geteuid() != 0:
        NOBODY.clear()
    load(shared_bin, open_tmp, *NOBODY)
    done = subprocess.run(
        [*NOBODY, shared_bin, "check"],
        capture_output=True,
        text=True,
        timeout=300,
        env=clean_environment(),
    )
    assert done.returncode == 0 and "lockable memory" in done.stdout


@pytest.mark.parametrize("kib", [8192, 64, 0])
def test_with_little_lockable_memory(shared_bin, open_tmp, kib):
    """8 MB is what Debian gives; containers give 64 KB. Zero-copy has to do without registered
    buffers, and epoll takes over where not even the ring fits."""
    prefix = NOBODY if os.geteuid() == 0 else []
    report, said = load(
        shared_bin, open_tmp, "prlimit", f"--memlock={kib * 1024}:{kib * 1024}", *prefix
    )
    settings = report["settings"]
    if settings["net"] == "epoll":
        assert "using epoll" in settings["net_note"] and settings["net_note"] in said
        sent = subprocess.run(
            ["prlimit", f"--memlock={kib * 1024}:{kib * 1024}", *prefix, shared_bin, "send"]
            + ["--topic", "T", "--nameserver", "127.0.0.1:1"],
            input="",
            capture_output=True,
            text=True,
            timeout=300,
            env=clean_environment(),
        )
        assert sent.stderr.splitlines()[0] == f"salvo send: {settings['net_note']}"
    else:
        assert (settings["net"], settings["net_note"]) == ("uring", None)
    done = subprocess.run(
        ["prlimit", f"--memlock={kib * 1024}:{kib * 1024}", *prefix, shared_bin, "check"]
        + ["-D", "zero_copy_min=16KiB"],
        capture_output=True,
        text=True,
        timeout=300,
        env=clean_environment(),
    )
    assert done.returncode == 0
    assert re.search(r"lockable memory .* KiB; io_uring registers no buffers above it", done.stdout)
    if settings["net"] == "epoll":
        assert re.search(r"io_uring +not allowed .* salvo uses epoll", done.stdout)
    else:
        assert re.search(r"io_uring +allowed: registered buffers no", done.stdout)


@pytest.mark.parametrize(
    "kib, registered", [(1024, "no"), (4096, "in 1 of 2 lanes"), (8192, "yes")]
)
def test_check_registers_what_the_lanes_would(shared_bin, kib, registered):
    """Two MiB and a ring for each lane. Users of their own, as below."""
    user = [each.replace("--reuid=65534", f"--reuid={50000 + kib}") for each in NOBODY]
    prefix = ["prlimit", f"--memlock={kib * 1024}", *(user if os.geteuid() == 0 else [])]
    small = ["-D", "lanes=2", "-D", "chunks_max=32", "-D", "retry_chunks=2"]
    small += ["-D", "zero_copy_min=16KiB"]
    done = subprocess.run(
        [*prefix, shared_bin, "check", *small, "-D", "body_size_max=64KiB"],
        capture_output=True,
        text=True,
        timeout=300,
        env=clean_environment(),
    )
    assert done.returncode == 0
    assert re.search(rf"io_uring +allowed: registered buffers {registered}, ", done.stdout)


@pytest.mark.parametrize("net", ["uring", "auto"])
def test_check_with_too_few_descriptors_names_their_limit(salvo_bin, net):
    done = run(
        *(salvo_bin, "check", "-D", "lanes=16", "-D", f"net={net}"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20)),
    )
    remedy = r"\(Too many open files\); raise ulimit -n or LimitNOFILE$"
    assert re.search(rf"^  io_uring +allowed in \d+ of 16 lanes {remedy}", done.stdout, re.M)
    assert done.returncode == 2 and "too few descriptors" in done.stderr


def test_with_lockable_memory_for_some_of_the_lanes(shared_bin, open_tmp):
    """The sender uses what it gets and says in how many lanes it did not; check counts the same.
    Users of their own: what a ring had locked comes back a while after its process has ended."""

    def somebody(uid):
        user = [each.replace("--reuid=65534", f"--reuid={uid}") for each in NOBODY]
        return ["prlimit", "--memlock=524288:524288", *(user if os.geteuid() == 0 else [])]

    report, said = load(shared_bin, open_tmp, *somebody(65530), more=["--lanes", "16"])
    note = report["settings"]["net_note"]
    refused = re.match(r"in (\d+) of 16 lanes: too little lockable memory", note)
    assert refused and note in said
    done = subprocess.run(
        [*somebody(65531), shared_bin, "check", "-D", "lanes=16", "-D", "net=uring"],
        capture_output=True,
        text=True,
        timeout=300,
        env=clean_environment(),
    )
    assert done.returncode == 2 and "refuses io_uring to some lanes" in done.stderr
    assert f"allowed in {16 - int(refused[1])} of 16 lanes (Cannot allocate" in done.stdout


# A launcher that makes io_uring_setup fail as container runtimes do, then becomes the program.
SECCOMP = r"""
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, FILTER = 38, 22, 2
def op(code, jt, jf, k):
    return struct.pack("HBBI", code, jt, jf, k)
error = int(sys.argv[1])
program = b"".join([op(0x20, 0, 0, 0),                      # the system call's number
                    op(0x15, 0, 1, 425),                    # io_uring_setup?
                    op(0x06, 0, 0, 0x00050000 | error),     # refused with this errno
                    op(0x06, 0, 0, 0x7fff0000)])            # everything else is allowed
buffer = ctypes.create_string_buffer(program)
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
made = Program(len(program) // 8, ctypes.cast(buffer, ctypes.c_void_p))
assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
assert libc.prctl(PR_SET_SECCOMP, FILTER, ctypes.byref(made), 0, 0) == 0, ctypes.get_errno()
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
def test_where_io_uring_is_refused(salvo_bin, tmp_path, error):
    prefix = [sys.executable, "-c", SECCOMP, getattr(errno, error)]
    report, said = load(salvo_bin, tmp_path, *prefix)
    assert report["settings"]["net"] == "epoll"
    assert "io_uring" in report["settings"]["net_note"] and "epoll" in said
    # Asked for by name: refused, with the remedy.
    done = subprocess.run(
        [*map(str, prefix), str(salvo_bin), "load", "--count", "10", "--net", "uring"],
        capture_output=True,
        text=True,
        timeout=300,
        env=clean_environment(),
    )
    assert done.returncode == 2 and "net" in done.stderr and "epoll" in done.stderr, done.stderr
    done = subprocess.run(
        [*map(str, prefix), str(salvo_bin), "check"],
        capture_output=True,
        text=True,
        timeout=300,
        env=clean_environment(),
    )
    assert done.returncode == 0 and re.search(r"io_uring.*(refused|not)", done.stdout)


def test_where_the_kernel_has_io_uring_off(shared_bin, open_tmp):
    """kernel.io_uring_disabled=1 refuses those without CAP_SYS_ADMIN, 2 everyone."""
    switch = Path("/proc/sys/kernel/io_uring_disabled")
    before = switch.read_text() if switch.exists() else None
    if before is None or not os.access(switch, os.W_OK):
        before = None
    try:
        if before is not None:
            switch.write_text("2")
            report, said = load(shared_bin, open_tmp)
        else:  # the same answer from the kernel, by a filter
            report, said = load(shared_bin, open_tmp, sys.executable, "-c", SECCOMP, 1)
    finally:
        if before is not None:
            switch.write_text(before)
    assert report["settings"]["net"] == "epoll" and "epoll" in said
