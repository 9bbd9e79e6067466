"""The program from outside: help, mistakes, and its smaller commands; against mock clusters."""

import fcntl
import json
import os
import re
import resource
import signal
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from mocks import Mock
from program import environment, report_of, run
from rocketmq.cluster import stop_by_signal, wait_until

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ["load", "send", "mock", "check", "stat", "frame"]


def test_help_and_version(salvo_bin):
    done = run(salvo_bin, "--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert re.search(rf"^  {command} ", done.stdout, re.M)
    assert re.fullmatch(r"salvo \d+\.\d+\.\d+\n", run(salvo_bin, "--version").stdout)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(salvo_bin, command):
    done = run(salvo_bin, command, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith(f"usage: salvo {command}")
    assert max(map(len, done.stdout.splitlines())) <= 80


MISTAKES = [
    # arguments, what the error names, the remedy in it
    ("", "usage: salvo COMMAND", "salvo COMMAND --help"),
    ("lod", "'lod'", "did you mean 'load'?"),
    ("load --rat 5", "--rat", "did you mean --rate?"),
    ("load --rate x", "--rate x", "10k"),
    ("load --rate 0", "--rate 0", "0.001 to"),
    ("load --rate 5 --closed 5", "--rate", "give one of them"),
    ("load --closed 99999999", "--closed", "1 to"),
    ("load --closed 2M", "--closed 2000000", "--lanes 2"),
    ("load --closed 3M --lanes 2", "there are 2", "--lanes 3"),
    ("load --closed 500 -D messages_out_max=99", "(99) of 1 lane;", "-D messages_out_max=500"),
    ("load --count 1e16", "--count 1e16", "1 to 1000000000000000"),
    ("load --duration 99999m", "--duration", "0.001 to 2592000 s"),
    ("load --duration 0", "--duration 0", "0.001 to 2592000 s"),
    ("load --duration 1e12h", "--duration 1e12h", "0.001 to 2592000 s"),
    ("load --batch off --linger 5ms", "--linger", "--batch linger"),
    ("load --batch natural --linger 5ms", "--linger", "--batch linger"),
    ("load --batch off --batch-count 5", "--batch-count", "--batch natural"),
    ("load --batch off --batch-bytes 500", "--batch-bytes", "--batch natural"),
    ("load --size 5x", "--size 5x", "4KiB"),
    ("load --size 9-3", "--size 9-3", "smaller size first"),
    ("load --size 5MiB", "--size 5MiB", "1 to 4194304"),
    ("load --size 2000 -D body_size_max=1000", "--size", "body_size_max"),
    ("load --duration 30", "--duration 30", "30s"),
    ("load --warmup 30", "--warmup 30", "30s"),
    ("load --compressibility 2", "--compressibility 2", "0 to 1"),
    ("load --compressibility abc", "--compressibility abc: not a number", "it may be 0 to 1"),
    ("load --keys -1", "--keys -1: out of range", "0 to 1000000000000000"),
    ("load --seed -1", "--seed -1: out of range", "0 to 9000000000000000"),
    ("load --rate -5", "--rate -5: out of range", "0.001 to 1000000000"),
    ("load --linger -5ms", "--linger", "is negative"),
    ("load --count", "--count", "--count N"),
    ("load --topic a,,b", "--topic a,,b", "single commas"),
    ("load --topic a@b", "--topic", "character"),
    ("load --topic RMQ_SYS_TRANS_HALF_TOPIC", "--topic", "RMQ_SYS_TRANS_HALF_TOPIC"),
    ("load --tags ,", "--tags ,", "single commas"),
    ("load --linger 3x", "--linger", "ms"),
    ("load --header xml", "--header", "json or binary"),
    ("load --net token-ring", "--net", "epoll"),
    ("load --idle never", "--idle", "gather"),
    ("load --lanes 0", "--lanes", "1 to 64"),
    ("load -D foo=1", "foo", "docs/CONFIG.md"),
    ("load -D lanes", "-D lanes", "name=value"),
    ("load --config /nowhere", "/nowhere", "--config"),
    ("load --nameserver=", "--nameserver", "H:P"),
    ("load --json - --hdr -", "--hdr -", "a file"),
    ("load --json /nowhere/x", "--json /nowhere/x", "No such file"),
    ("load extra", "'extra'", "--help"),
    ("send", "--topic", "--topic NAME"),
    ("send --topic T", "nameserver", "--nameserver HOST:PORT"),
    ("send --topic T --nameserver 127.0.0.1:1 /nowhere", "/nowhere", "No such file"),
    ("send --topic T --nameserver 127.0.0.1:1 --property x", "--property x", "NAME=VALUE"),
    ("send --topic T --nameserver 127.0.0.1:1 --property KEYS=x", "--property KEYS=x", ""),
    ("send --topic T --nameserver a:1 --property x=y --property x=z", "x=z", "before"),
    ("send --topic T --nameserver nonsense", "nameserver", "port"),
    ("mock --brokers 99", "--brokers 99", "1 to 32"),
    ("mock --topic T:x", "--topic", "T:"),
    ("mock --topic T:1 --topic T:2", "--topic T:2", "before as T:1"),
    ("mock --cpu 9999", "--cpu 9999", "it may use "),
    ("mock --cpu 0.5", "--cpu 0.5", "whole number"),
    ("mock --script /nowhere", "/nowhere", "No such file"),
    ("mock --like 3.2.6", "--like 3.2.6", "5.3.3"),
    ("mock --port 99999", "--port 99999", "65535"),
    ("mock --port http", "--port http: not a number", "65535"),
    ("mock --brokers -1", "--brokers -1: out of range", "1 to 32"),
    ("mock --net null", "--net null", "auto, uring or epoll"),
    ("stat", "FILE", "--help"),
    ("frame", "FILE", "--help"),
    ("check -D chunk_bytes=5000", "chunk_bytes", ""),
]


@pytest.mark.parametrize("args, named, remedy", MISTAKES, ids=[m[0] or "nothing" for m in MISTAKES])
def test_a_mistake_names_the_option_and_the_remedy(salvo_bin, args, named, remedy):
    done = run(salvo_bin, *args.split(), stdin=subprocess.DEVNULL)
    assert done.returncode == 2, done.stdout + done.stderr
    assert named in done.stderr and remedy in done.stderr
    if args:
        lines = [line for line in done.stderr.splitlines() if "embedded mock" not in line]
        assert len(lines) == 1, done.stderr


def test_an_unknown_name_in_the_environment_is_an_error(salvo_bin):
    done = run(salvo_bin, "check", env={"SALVO_LINGERS_US": "1"})
    assert done.returncode == 2 and "SALVO_LINGERS_US" in done.stderr


# --- mock, send, stat, check, frame --------------------------------------------------------------


def test_a_script_for_a_host_that_is_not_there_names_those_that_are(salvo_bin):
    for brokers, hosts in ((1, "use *, ns0, b0 or a"), (3, "use *, ns0, b0 to b2 or a")):
        done = run(
            salvo_bin, "mock", "--brokers", brokers, "--script", "-", input="b7 send drop\n"
        )
        assert done.returncode == 2 and hosts in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_mock_that_waits_for_its_script_is_stopped_by_one_signal(salvo_bin, number):
    with subprocess.Popen(
        [salvo_bin, "mock", "--script", "-"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        try:
            process.stdin.write("# more is to come\n")
            process.stdin.flush()
            stat = Path(f"/proc/{process.pid}/stat")
            wait_until(
                lambda: unread(process.stdin) == 0 and ") S " in stat.read_text(),
                "the mock to wait for the rest of its script",
            )
            process.send_signal(number)
            assert process.wait(10) == 2
            assert process.stderr.read() == "salvo mock: -: Interrupted system call\n"
        finally:
            process.kill()


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "127.0.0.1", "::1"])
def test_mock_says_where_its_routes_lead(salvo_bin, address):
    with Mock(salvo_bin, "--listen", address) as listening:
        listening.process.send_signal(signal.SIGINT)
        _, err = listening.process.communicate(timeout=60)
    assert ("another machine" in err) == (address in ("0.0.0.0", "::")), err


def test_mock_takes_load_from_another_process(salvo_bin, tmp_path, mock):
    report = report_of(salvo_bin, tmp_path, "--nameserver", mock.address, "--count", "3000")
    assert report["acked"] == 3000 and report["settings"]["embedded_mock"] is False
    assert report["cpu_includes_mock"] is False
    out = mock.stop(signal.SIGTERM)
    assert mock.process.returncode == 0 and "3000" in out.replace(",", "")


def test_send_lines_from_standard_input(salvo_bin, mock):
    lines = "".join(f"line {i}\n" for i in range(20000)) + "\n\nlast, without a line feed"
    done = run(
        salvo_bin,
        "send",
        "--topic",
        "Lines",
        "--nameserver",
        mock.address,
        "--verbose",
        input=lines,
    )
    assert done.returncode == 0, done.stderr
    ids = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(ids) == 20001 and len({i[0] for i in ids}) == 20001
    assert all(re.fullmatch(r"[0-9A-F]{32,56}", i[0]) and i[1] == "broker-a" for i in ids)
    assert "20001 read, 20001 acknowledged, 0 failed, 2 empty passed over" in done.stderr
    assert "20001" in mock.stop().replace(",", "")


def test_send_echoes_no_long_value(salvo_bin):
    done = run(salvo_bin, "send", "--topic", "T", "--nameserver", "a:1",
               "--property", "x=" + 33000 * "y")
    assert done.returncode == 2 and "--property x=yyy" in done.stderr
    assert len(done.stderr) < 300


@pytest.mark.parametrize(
    "rest, said",
    [
        ("half a line", "behind line 1; 11 bytes read behind it, an unfinished line,"),
        ("", "behind line 1; what follows was not read"),
    ],
)
def test_send_says_what_a_signal_left(salvo_bin, mock, rest, said):
    process = subprocess.Popen(
        [str(salvo_bin), "send", "--topic", "Stopped", "--nameserver", mock.address, "--verbose"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    process.stdin.write("whole\n" + rest)
    process.stdin.flush()
    process.stdout.readline()  # the first has its result: what came with it was read
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    err = process.stderr.read()
    process.stdin.close()
    assert process.returncode == 0, err
    *_, stopped, counted = err.splitlines()
    assert said in stopped and "1 read, 1 acknowledged, 0 failed" in counted


def sleeps(process):
    stat = Path(f"/proc/{process.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "S"


@pytest.mark.parametrize("last", ["", "fourth\n"])
def test_send_names_the_line_that_waited_for_room_when_a_signal_came(salvo_bin, tmp_path, last):
    """One message may be out: the second is, and the third waits for its place."""
    script = tmp_path / "script"
    script.write_text("* send delay 3s after 1 forever\n")
    with Mock(salvo_bin, "--script", script) as slow:
        process = subprocess.Popen(
            [str(salvo_bin), "send", "--topic", "T", "--nameserver", slow.address,
             "-D", "messages_out_max=1", "--verbose"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=environment(),
        )
        process.stdin.write("first\nsecond\nthird\n" + last)
        process.stdin.close()
        process.stdout.readline()
        wait_until(lambda: sleeps(process), "it waiting")
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    *_, stopped, counted = process.stderr.read().splitlines()
    assert "stopped at line 3, not sent" in stopped, stopped
    assert "3 read, 2 acknowledged, 1 failed" in counted


def unread(pipe):
    return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]


def test_send_loses_no_line_to_a_signal_while_its_reader_is_slow(salvo_bin, tmp_path, mock):
    lines = tmp_path / "lines"
    lines.write_text("a line\n" * 20000)
    process = subprocess.Popen(
        [str(salvo_bin), "send", "--topic", "T", "--nameserver", mock.address, "--verbose",
         str(lines)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )
    wait_until(lambda: unread(process.stdout) > 30000 and sleeps(process), "the pipe full")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert f" {out.count(chr(10))} acknowledged, 0 failed" in err


def assert_stopped_for_its_output(process, said):
    """It ends by itself. Returns how many it has sent, each with its result."""
    assert process.wait(60) == 2
    err = process.stderr.read()
    stopped, counted = err.splitlines()
    assert stopped.startswith("salvo send: standard output: Broken pipe; stopped "), err
    assert said in stopped
    read, acknowledged = re.search(r"(\d+) read, (\d+) acknowledged", counted).groups()
    assert int(read) - int(acknowledged) in (0, 1)  # one may have waited for room
    return int(acknowledged)


def send_into_a_closed_pipe(salvo_bin, mock, more):
    """Its first line is acknowledged and printed; nobody reads what it prints of `more`."""
    process = subprocess.Popen(
        [str(salvo_bin), "send", "--topic", "T", "--nameserver", mock.address, "--verbose"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment(),
    )
    process.stdin.write("first\n")
    process.stdin.flush()
    process.stdout.readline()
    process.stdout.close()
    process.stdin.write(more)
    process.stdin.flush()
    return process


def test_send_reads_no_more_when_nobody_reads_what_it_prints(salvo_bin, mock):
    process = send_into_a_closed_pipe(salvo_bin, mock, "second\nhalf")
    said = "behind line 2; 4 bytes read behind it, an unfinished line, and what follows them"
    assert assert_stopped_for_its_output(process, said) == 2
    process.stdin.close()


def test_send_stops_in_the_midst_of_a_file_when_its_reader_has_enough(salvo_bin, tmp_path, mock):
    """What is out when the pipe breaks gets its results, and the rest of the file stays."""
    lines = tmp_path / "lines"
    lines.write_text("a line\n" * 20000)
    process = subprocess.Popen(
        [str(salvo_bin), "send", "--topic", "T", "--nameserver", mock.address, "--verbose",
         "-D", "messages_out_max=100", str(lines)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )
    wait_until(lambda: unread(process.stdout) > 30000 and sleeps(process), "the pipe full")
    process.stdout.close()
    sent = assert_stopped_for_its_output(process, "what follows")
    assert sent < 10000
    assert f" {sent} stored" in mock.stop()


def test_send_says_that_its_output_was_lost_behind_a_signal(salvo_bin, tmp_path):
    """The pipe breaks with the last result, when the input was left for another reason."""
    script = tmp_path / "script"
    script.write_text("* send delay 1s after 1 forever\n")
    with Mock(salvo_bin, "--script", script) as slow:
        process = send_into_a_closed_pipe(salvo_bin, slow, "second\n")
        wait_until(lambda: unread(process.stdin) == 0 and sleeps(process), "the second read")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 2
    err = process.stderr.read()
    process.stdin.close()
    assert "stopped behind line 2; what follows was not read" in err
    assert "2 read, 2 acknowledged, 0 failed" in err and "standard output" in err


@pytest.mark.parametrize("begun", ["", "half a file\n"])
def test_send_a_whole_file_says_that_a_signal_came_before_its_end(salvo_bin, mock, begun):
    args = ["send", "--topic", "Stopped", "--nameserver", mock.address, "--whole"]
    process = subprocess.Popen(
        [str(salvo_bin), *args],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    process.stdin.write("x" + begun)
    process.stdin.flush()
    wait_until(lambda: unread(process.stdin) == 0, "the beginning read")
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    err = process.stderr.read()
    process.stdin.close()
    assert process.returncode == 1, err
    *_, stopped, counted = err.splitlines()
    assert f"stopped before the file's end; the {1 + len(begun)} bytes read" in stopped
    assert "1 read, 0 acknowledged, 1 failed" in counted


def waits_for_a_writer(process):
    """Its handlers are there, and it sleeps: in the opening of its file."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = int(re.search(r"^SigCgt:\t(\w+)$", status, re.M)[1], 16)
    return caught >> (signal.SIGINT - 1) & 1 == 1 and sleeps(process)


@pytest.mark.parametrize(
    "args, code, said",
    [
        ([], 0, ["stopped behind line 0; what follows was not read",
                 "0 read, 0 acknowledged, 0 failed"]),
        (["--whole"], 1, ["stopped before the file's end; the 0 bytes read were not sent",
                          "1 read, 0 acknowledged, 1 failed"]),
    ],
)
def test_send_from_a_pipe_that_no_writer_came_to_is_stopped_as_an_empty_one(
    salvo_bin, tmp_path, mock, args, code, said
):
    """The other is open, and nothing was written."""
    send = [str(salvo_bin), "send", "--topic", "T", "--nameserver", mock.address, *args]
    os.mkfifo(tmp_path / "pipe")
    for opened in (False, True):
        process = subprocess.Popen(
            [*send, str(tmp_path / "pipe")], stderr=subprocess.PIPE, text=True, env=environment()
        )
        wait_until(lambda: waits_for_a_writer(process), "it waiting for a writer")
        writer = os.open(tmp_path / "pipe", os.O_WRONLY) if opened else None
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == code
        if writer is not None:
            os.close(writer)
        assert process.stderr.read().splitlines() == [f"salvo send: {line}" for line in said]


def test_send_a_file_with_key_tag_and_properties(salvo_bin, tmp_path, mock):
    path = tmp_path / "lines"
    path.write_text("a\nb\n")
    done = run(
        salvo_bin,
        "send",
        "--topic",
        "T",
        "--nameserver",
        mock.address,
        "--key",
        "k1",
        "--key",
        "k2",
        "--tag",
        "red",
        "--property",
        "color=a=b",
        path,
    )
    assert done.returncode == 0 and "2 read, 2 acknowledged" in done.stderr


def test_send_keeps_carriage_returns_and_says_so(salvo_bin, mock):
    done = run(salvo_bin, "send", "--nameserver", mock.address, "--topic", "T", input="a\r\n\r\n\n")
    assert "2 read, 2 acknowledged, 0 failed, 1 empty" in done.stderr
    assert "carriage return" in run(salvo_bin, "send", "--help").stdout


def test_send_a_whole_file(salvo_bin, tmp_path, mock):
    path = tmp_path / "whole"
    path.write_bytes(os.urandom(1 << 20) + b"\n\n\n")
    done = run(salvo_bin, "send", "--topic", "T", "--nameserver", mock.address, "--whole", path)
    assert done.returncode == 0 and "1 read, 1 acknowledged" in done.stderr


def test_send_passes_over_a_line_that_is_too_long(salvo_bin, mock):
    done = run(
        salvo_bin,
        "send",
        "--topic",
        "T",
        "--nameserver",
        mock.address,
        "-D",
        "body_size_max=1000",
        input="a\n" + "x" * 5000 + "\nb\n",
    )
    assert done.returncode == 1
    assert re.search(r"line 2: over 1000 bytes", done.stderr)
    assert "3 read, 2 acknowledged, 1 failed (1 too long)" in done.stderr


def test_send_fails_when_the_cluster_does_not_answer(salvo_bin):
    done = run(
        salvo_bin,
        "send",
        "--topic",
        "T",
        "--nameserver",
        "127.0.0.1:1",
        "-D",
        "timeout_ms=500ms",
        input="a\nb\n",
    )
    assert done.returncode == 1 and "2 read, 0 acknowledged, 2 failed" in done.stderr
    assert "line 1:" in done.stderr


def test_send_lists_as_many_failures_as_its_help_says(salvo_bin, tmp_path):
    said = run(salvo_bin, "send", "--help").stdout
    listed = int(re.search(r"Without --verbose the first (\d+) failures are listed", said)[1])
    script = tmp_path / "script"
    script.write_text("* send code 13 forever\n")
    with Mock(salvo_bin, "--script", script) as mock:
        args = ["send", "--topic", "T", "--nameserver", mock.address]
        few = run(salvo_bin, *args, input="a\n" * (listed + 5))
        all_ = run(salvo_bin, *args, "--verbose", input="a\n" * (listed + 5))
    assert len(re.findall(r"^salvo send: line \d+:", few.stderr, re.M)) == listed
    assert "further failures are only counted; --verbose shows each" in few.stderr
    assert len(re.findall(r"^salvo send: line \d+:", all_.stderr, re.M)) == listed + 5


@pytest.mark.parametrize(
    "code, more, said",
    [
        (17, "", r"refused with 17 \(TOPIC_NOT_EXIST\) by broker-[ab]"),
        (13, ' remark "no"', r"refused with 13 \(MESSAGE_ILLEGAL\) by broker-[ab]: no"),
        (999, "", r"refused with 999 \(unknown\) by broker-[ab]"),
    ],
)
def test_send_names_the_code_and_the_broker_of_a_refusal(salvo_bin, tmp_path, code, more, said):
    script = tmp_path / "script"
    script.write_text(f"* send code {code} forever{more}\n")
    with Mock(salvo_bin, "--brokers", 2, "--script", script) as mock:
        done = run(salvo_bin, "send", "--topic", "T", "--nameserver", mock.address,
                   "-D", "retries=0", input="a\nb\n")
    assert done.returncode == 1 and "2 read, 0 acknowledged, 2 failed" in done.stderr
    for line in (1, 2):
        assert re.search(rf"^salvo send: line {line}: {said}$", done.stderr, re.M), done.stderr


@pytest.mark.parametrize(
    "topic, said",
    [
        (128 * "t", "it is over 127 bytes; choose a shorter name"),
        (800 * "t", "it is over 127 bytes; choose a shorter name"),
        ("SCHEDULE_TOPIC_XXXX", "RocketMQ keeps this name to itself; choose another"),
        ("a.b", "it holds a character other than letters, digits, %, _, - and |"),
        ("  ", "it is empty or blank; a topic is 1 to 127 letters, digits, %, _, - and |"),
    ],
)
@pytest.mark.parametrize(
    "command", ["load", "load --nameserver 127.0.0.1:1", "send --nameserver 127.0.0.1:1", "mock"]
)
def test_a_topic_that_cannot_be_is_refused_alike_by_all(salvo_bin, command, topic, said):
    done = run(salvo_bin, *command.split(), "--topic", topic, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert f"salvo {command.split()[0]}: --topic {topic}: {said}\n" in done.stderr


@pytest.mark.parametrize("threads", ["caller", "dedicated"])
def test_send_waits_as_long_as_its_options_say(salvo_bin, tmp_path, threads):
    script = tmp_path / "script"
    script.write_text("* send delay 3s forever\n")
    env = {"SALVO_TIMEOUT_MS": "20s", "SALVO_DRAIN_MS": "5s", "SALVO_TRY_TIMEOUT_MS": "20s"}
    with Mock(salvo_bin, "--script", script) as slow:
        done = run(salvo_bin, "send", "--topic", "T", "--nameserver", slow.address,
                   "-D", f"threads={threads}", input="a\nb\n", env=env)
    assert done.returncode == 0, done.stderr
    assert "2 read, 2 acknowledged, 0 failed" in done.stderr


def test_stat_shows_a_running_salvo(salvo_bin, start_load, tmp_path):
    path = tmp_path / "stat"
    load = start_load("--rate", "1k", "--duration", "1h", "-D", f"stat_file={path}")
    load.until_second(1)

    def shown():
        return json.loads(run(salvo_bin, "stat", "--json", path).stdout)

    assert shown()["alive"] and shown()["pid"] == load.process.pid
    wait_until(lambda: shown()["counters"]["lane_messages_good"] > 100, "messages counted")
    text = run(salvo_bin, "stat", path).stdout
    assert "lane_messages_good" in text
    assert re.search(r"^  lane 0: sent to answered +\d+ times; us p50 ", text, re.M), text


def test_stat_divides_by_the_time_between_two_looks(salvo_bin, start_load, tmp_path):
    path = tmp_path / "stat"
    load = start_load("--rate", "1k", "--duration", "1h", "-D", f"stat_file={path}")
    load.until_second(1)
    watch = subprocess.Popen(
        [str(salvo_bin), "stat", "--watch", str(path)], stdout=subprocess.PIPE, text=True
    )

    def good():
        shown = json.loads(run(salvo_bin, "stat", "--json", path).stdout)
        return shown["counters"]["lane_messages_good"]

    def rate():
        for line in watch.stdout:
            if found := re.search(r"^  lane_messages_good .* (\d+)/s$", line):
                return int(found[1])
        pytest.fail("it ended without a rate")

    try:
        rate()
        stop_by_signal(watch, "salvo stat")
        before = good()
        wait_until(lambda: good() > before + 3000, "three seconds of messages", 60.0)
        watch.send_signal(signal.SIGCONT)
        assert 500 < rate() < 2500  # of 4,000 messages
    finally:
        watch.kill()
        watch.communicate()


def test_stat_tells_a_file_it_cannot_read_from_wrong_options(salvo_bin, tmp_path):
    foreign = tmp_path / "foreign"
    foreign.write_text("no counters\n")
    for args, code in (
        ([tmp_path / "nowhere"], 1),
        ([foreign], 1),
        (["--no-such-option", foreign], 2),
    ):
        done = run(salvo_bin, "stat", *args)
        assert done.returncode == code and done.stdout == "", done.stderr
    said = " ".join(run(salvo_bin, "stat", "--help").stdout.split())
    assert re.search(r"Exit code: 0; 1 the file cannot be read, .*; 2 the options are wrong", said)


@pytest.fixture
def stat_copy(salvo_bin, start_load, tmp_path):
    """A stat file with one error in it, which nobody writes."""
    path, script = tmp_path / "stat", tmp_path / "script"
    script.write_text("* heartbeat code 1 forever\n")
    with Mock(salvo_bin, "--script", script) as refusing:
        load = start_load("--nameserver", refusing.address, "--rate", "10", "--duration", "1h",
                          "-D", f"stat_file={path}")
        load.until_second(1)
        wait_until(lambda: b"answered a heartbeat" in path.read_bytes(), "the error counted")
        content = path.read_bytes()
        load.stop()
    path.write_bytes(content)
    return path


def stat_names(shown):
    names = set()
    for name, value in shown.items():
        if name == "counters":
            names.add("counters.*")
        elif name == "latencies":
            names |= {f"latencies.*.{field}" for each in value.values() for field in each}
        elif name == "errors":
            names |= {f"errors[].{field}" for each in value for field in each}
        else:
            names.add(name)
    return names


def test_counters_md_names_all_that_stat_writes_as_json_and_nothing_else(salvo_bin, stat_copy):
    counters, fields = (ROOT / "docs" / "COUNTERS.md").read_text().split("## As JSON")
    shown = json.loads(run(salvo_bin, "stat", "--json", stat_copy).stdout)
    documented = [set(re.findall(r"^\| `([^`]+)` \|", t, re.M)) for t in (counters, fields)]
    assert [set(shown["counters"]), stat_names(shown)] == documented


def test_stat_shows_an_error_whose_text_is_not_utf_8(salvo_bin, stat_copy):
    content = stat_copy.read_bytes()
    stat_copy.write_bytes(content.replace(b"answered a heartbeat", b"\xff" * 20))
    shown = json.loads(run(salvo_bin, "stat", "--json", stat_copy).stdout)
    assert not shown["alive"]
    error, = shown["errors"]
    assert error["place"] == "control: heartbeat" and error["text"] == "(not UTF-8)"


def test_stat_shows_an_error_whose_text_drives_no_terminal(salvo_bin, stat_copy):
    content = stat_copy.read_bytes()
    stat_copy.write_bytes(content.replace(b"answered a heartbeat", b"\x1b[2J\xff" * 4))
    shown = run(salvo_bin, "stat", stat_copy)
    assert " [2J? [2J? [2J? [2J?" in shown.stdout, repr(shown.stdout)


def test_stat_ends_when_the_file_it_watches_is_cut_off(salvo_bin, stat_copy):
    with stat_copy.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        watch = subprocess.Popen([str(salvo_bin), "stat", "--watch", "--json", str(stat_copy)],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert json.loads(watch.stdout.readline())["alive"]
        file.truncate(100)
        _, err = watch.communicate(timeout=60)
    assert watch.returncode == 1 and "was cut off" in err


@pytest.mark.parametrize(
    "content", [b"", b"x" * 100, b"\0" * 10000], ids=["empty", "text", "zeros"]
)
def test_stat_refuses_what_is_not_a_stat_file(salvo_bin, tmp_path, content):
    path = tmp_path / "no-stat"
    path.write_bytes(content)
    done = run(salvo_bin, "stat", path)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and str(path) in done.stderr


def test_a_nic_of_its_own_does_not_reach_the_embedded_mock(salvo_bin):
    done = run(salvo_bin, "load", "-D", "net=dpdk", "-D", "dpdk_device=net_af_packet0,iface=eth7")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "does not reach the embedded mock" in done.stderr and "--nameserver" in done.stderr


def test_check_shows_options_plan_and_host(salvo_bin):
    done = run(salvo_bin, "check", "-D", "lanes=2", env={"SALVO_RETRIES": "5"})
    assert done.returncode == 0, done.stderr
    for expected in ("lanes", "retries", "io_uring", "huge pages", "lockable memory", "cores"):
        assert expected in done.stdout


@pytest.mark.parametrize(
    "option",
    [
        "nameserver=foo",
        "nameserver=foo:99999",
        "nameserver=:9876",
        "nameserver=127.0.0.1",
        "nameserver=http://localhost",
        "lane_cpus=9999",
        "control_cpu=9999",
        "stat_file=/nonexist/x",
        "stat_file=/tmp",
        "stat_file=/dev/full",
        "net=dpdk",
    ],
)
def test_check_refuses_what_load_refuses_with_the_same_words(salvo_bin, option):
    check, load = (run(salvo_bin, command, "-D", option) for command in ("check", "load"))
    assert (check.returncode, load.returncode) == (2, 2), check.stderr + load.stderr
    said = check.stderr.removeprefix("salvo check: ")
    assert option.split("=")[0] in said or "dpdk" in said
    assert load.stderr.splitlines()[-1] == "salvo load: " + said.rstrip()


def cpus_as_ranges():
    """Those this process may use, as "0-3,8"."""
    runs = []
    for cpu in sorted(os.sched_getaffinity(0)):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)


@pytest.mark.parametrize("option", ["lane_cpus", "control_cpu"])
def test_a_cpu_that_is_not_ours_is_refused_with_those_that_are(salvo_bin, option):
    done = run(salvo_bin, "check", "-D", f"{option}=16383")
    assert done.returncode == 2
    said = f"{option} names CPU 16383, which this process may not use: it may use "
    assert said + cpus_as_ranges() + "\n" in done.stderr
    assert re.search(rf"cores .* online, {cpus_as_ranges()}\b", done.stdout), done.stdout


def test_a_mocks_cpu_that_is_not_ours_is_refused_with_those_that_are(salvo_bin):
    done = run(salvo_bin, "mock", "--cpu", "16383")
    assert done.returncode == 2 and done.stderr.endswith(f"it may use {cpus_as_ranges()}\n")


def test_check_shows_little_lockable_memory(salvo_bin):
    little = (65536, 65536)
    done = run(
        salvo_bin,
        "check",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_MEMLOCK, little),
    )
    assert re.search(r"lockable memory +64 KiB;", done.stdout), done.stdout


def test_check_makes_no_stat_file(salvo_bin, tmp_path):
    done = run(salvo_bin, "check", "-D", f"stat_file={tmp_path / 'stat'}")
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_check_without_a_nameserver_says_who_starts_so(salvo_bin):
    done = run(salvo_bin, "check")
    assert done.returncode == 0 and "no nameserver" in done.stdout
    assert "no nameserver" not in run(salvo_bin, "check", "--nameserver", "a:1").stdout


def test_a_plan_larger_than_the_hosts_memory_does_not_start(salvo_bin):
    """The largest plan that the options allow is of some hundred GB."""
    large = ["-D", "submitters_max=1024", "-D", "ring_bytes=1GiB", "-D", "huge_pages=off"]
    for done in (run(salvo_bin, "check", *large), run(salvo_bin, "load", *large)):
        assert done.returncode == 2
        assert "would be taken at start" in done.stderr and "lower submitters_max" in done.stderr
        assert len(done.stderr.splitlines()) <= 2
    assert "taken at start" in run(salvo_bin, "check", *large).stdout
