"""The program from outside: help, mistakes, exit codes, reports, Ctrl-C; against mock clusters."""

import json
import os
import pty
import random
import re
import resource
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest

from mocks import Mock, clean_environment
from rocketmq.cluster import wait_until

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ["load", "send", "mock", "check", "stat", "frame"]

# Where time is not the point a busy machine has enough of it.
PATIENT = {"SALVO_TIMEOUT_MS": "60s", "SALVO_DRAIN_MS": "10m"}


def environment(more=None):
    return clean_environment() | PATIENT | (more or {})


def run(salvo_bin, *args, timeout=300, env=None, **options):
    return subprocess.run(
        [str(salvo_bin), *map(str, args)],
        timeout=timeout,
        capture_output=True,
        text=True,
        env=environment(env),
        **options,
    )


class Load:
    """`salvo load` that runs until it is told to stop."""

    def __init__(self, salvo_bin, *args):
        self.process = subprocess.Popen(
            [str(salvo_bin), "load", *map(str, args)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        self.err = ""

    def until(self, pattern):
        """Waits for a line of standard error."""
        for line in self.process.stderr:
            self.err += line
            if re.search(pattern, line):
                return
        pytest.fail(f"ended without a line of '{pattern}': {self.err}")

    def until_second(self, n):
        """Waits for the live line of that second."""
        self.until(rf"^ +{n} s ")

    def taken(self):
        """Whether no SIGINT waits to be delivered."""
        if self.process.poll() is not None:
            return True
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        waiting = re.search(r"^ShdPnd:\t(\w+)$", status, re.M)
        return not int(waiting[1], 16) >> (signal.SIGINT - 1) & 1

    def stop(self, signals=1, timeout=120):
        """Sends SIGINT so often; standard output and error of the whole run."""
        for _ in range(signals):
            self.process.send_signal(signal.SIGINT)
            wait_until(self.taken, "the signal taken: two that wait are one")
        self.process.wait(timeout=timeout)
        self.err += self.process.stderr.read()
        return self.process.stdout.read(), self.err

    def end(self):
        """Whatever became of the test."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture
def start_load(salvo_bin):
    """start_load(ARGUMENT...): a Load, which does not outlive its test."""
    started = []

    def start(*args):
        started.append(Load(salvo_bin, *args))
        return started[-1]

    yield start
    for load in started:
        load.end()


def late_only(report):
    """True when the one thing wrong is that this machine was too busy for an open loop."""
    return report["invalid_reasons"] != [] and all(
        "the generator was late" in reason for reason in report["invalid_reasons"]
    )


def report_of(salvo_bin, tmp_path, *args, code=0, **options):
    path = tmp_path / "report.json"
    done = run(salvo_bin, "load", "--json", path, *args, **options)
    report = json.loads(path.read_text())
    assert done.returncode == (2 if late_only(report) else code), done.stdout + done.stderr
    ended = sum(report[name] for name in ("acked", "failed", "timed_out", "unsent"))
    assert report["planned"] == ended
    assert report["stored_unknown"] <= report["failed"] + report["timed_out"]
    assert sum(report["answers"].values()) == report["acked"]
    return report


@pytest.fixture
def mock(salvo_bin):
    with Mock(salvo_bin) as made:
        yield made


# --- help and mistakes ---------------------------------------------------------------------------


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
    ("mock --cpu 9999", "--cpu 9999", "taskset"),
    ("mock --script /nowhere", "/nowhere", "No such file"),
    ("mock --like 3.2.6", "--like 3.2.6", "5.3.3"),
    ("mock --port 99999", "--port 99999", "65535"),
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


# --- load ----------------------------------------------------------------------------------------


def test_few_messages_at_a_rate_have_that_rate(salvo_bin, tmp_path):
    args = ("--rate", "20", "--duration", "200ms", "--warmup", "0s")
    report = report_of(salvo_bin, tmp_path, *args)
    assert report["seconds"] >= report["measured_acked"] / 20
    assert 0 < report["rate_per_s"] <= 20


def test_the_window_is_no_larger_than_what_may_be_out(salvo_bin, tmp_path):
    report = report_of(salvo_bin, tmp_path, "--count", "100", "-D", "messages_out_max=3")
    assert report["settings"]["window"] == 3


def test_the_null_backend_says_that_nothing_was_sent(salvo_bin, mock):
    done = run(salvo_bin, "load", "--net", "null", "--count", "100", "--warmup", "0s")
    assert "nothing was sent" in done.stdout
    args = ("--nameserver", mock.address, "--topic", "T", "-D", "net=null")
    done = run(salvo_bin, "send", *args, input="line\n")
    assert done.returncode == 2 and "net: null" in done.stderr


def test_closed_loop_by_count(salvo_bin, tmp_path):
    report = report_of(salvo_bin, tmp_path, "--count", "20k", "--closed", "100")
    assert report["valid"] and report["acked"] == 20000
    assert report["loop"] == "closed" and report["latency_from"] == "submission"
    assert report["settings"]["embedded_mock"] is True
    assert report["latency_us"]["min"] <= report["latency_us"]["p50"] <= report["latency_us"]["max"]
    assert report["rate_per_s"] == pytest.approx(20000 / report["seconds"], rel=1e-6)


def stolen_seconds():
    steal = Path("/proc/stat").read_text().split()[8]
    return int(steal) / os.sysconf("SC_CLK_TCK")


def test_open_loop_by_duration_and_warmup(salvo_bin, tmp_path):
    began, stolen = time.monotonic(), stolen_seconds()
    report = report_of(salvo_bin, tmp_path, "--rate", "2k", "--duration", "2s", "--warmup", "500ms")
    took = time.monotonic() - began
    assert report["planned"] == report["acked"] == 5000
    assert abs(report["measured_messages"] - 4000) <= 1
    assert report["loop"] == "open" and report["latency_from"] == "intended"
    assert 1.99 < report["seconds"] < took - 0.5
    assert report["client"]["schedule_error_us"]["max"] > 0
    assert -0.001 < report["machine"]["stolen_seconds"] < stolen_seconds() - stolen + 0.001


def test_open_loop_by_count(salvo_bin, tmp_path):
    began = time.monotonic()
    report = report_of(salvo_bin, tmp_path, "--rate", "5k", "--count", "2500")
    assert report["planned"] == report["acked"] == 2500
    assert 0.49 < report["seconds"] < time.monotonic() - began


def test_caller_mode_turns_the_sender_itself(salvo_bin, tmp_path):
    report = report_of(salvo_bin, tmp_path, "-D", "threads=caller", "--count", "20k")
    assert report["acked"] == 20000 and report["settings"]["options"]["threads"] == "caller"


def test_payload_topics_keys_tags_batches_and_compression(salvo_bin, tmp_path):
    report = report_of(
        salvo_bin,
        tmp_path,
        "--count",
        "5000",
        "--topic",
        "A,B,C",
        "--size",
        "10-8KiB",
        "--keys",
        "50",
        "--tags",
        "red,blue",
        "--compressibility",
        "0.7",
        "--compress",
        "zlib",
        "--linger",
        "1ms",
        "--batch-bytes",
        "32KiB",
        "--header",
        "json",
        "--lanes",
        "2",
        "--seed",
        "9",
    )
    assert report["acked"] == 5000
    assert report["settings"]["topics"] == ["A", "B", "C"]
    options = report["settings"]["options"]
    assert options["batch"] == "linger" and options["lanes"] == "2" and options["header"] == "json"


def test_a_run_that_ends_in_its_warmup_is_invalid(start_load, tmp_path):
    path = tmp_path / "report.json"
    load = start_load("--rate", "100", "--warmup", "1h", "--json", path)
    load.until_second(2)
    out, _ = load.stop()
    assert re.search(r"^ +\d+ s +warm-up +[1-9]\d*/s ", load.err, re.M), load.err
    assert load.process.returncode == 2 and "INVALID" in out and "warm-up" in out
    assert json.loads(path.read_text())["valid"] is False


def test_ctrl_c_drains_and_reports(start_load, tmp_path):
    path = tmp_path / "report.json"
    load = start_load("--rate", "1k", "--duration", "1h", "--json", path)
    load.until_second(2)
    out, err = load.stop()
    report = json.loads(path.read_text())
    assert late_only(report) or (load.process.returncode == 0 and report["valid"]), out
    assert report["interrupted"] and report["planned"] == report["acked"] > 1000
    assert "interrupted" in out
    assert len(re.findall(r"^ +\d+ s .*p50 .*p99 .*p99\.9 .*max .*in flight", err, re.M)) >= 1


def test_a_capture_of_kernel_tcp_names_tcpdump_and_nothing_ends(start_load, tmp_path):
    capture = ("-D", f"dpdk_capture={tmp_path}/a", "-D", "dpdk_capture_at_start=false")
    load = start_load("--rate", "1k", "--duration", "1h", *capture)
    load.until_second(1)
    for _ in range(2):
        load.process.send_signal(signal.SIGUSR1)
        load.until(r"^salvo load: capture: .*dpdk.*tcpdump")
    out, _ = load.stop()
    assert re.search(r"failed 0 \+ timed out 0 \+ unsent", out)  # what was due may be left
    assert not list(tmp_path.iterdir())


def test_a_capture_from_the_start_is_for_dpdk(salvo_bin, tmp_path):
    done = run(salvo_bin, "load", "-D", f"dpdk_capture={tmp_path}/a", "--count", "1")
    assert done.returncode == 2
    assert "dpdk_capture: " in done.stderr and "tcpdump" in done.stderr
    assert not list(tmp_path.iterdir())


def test_ctrl_c_before_there_is_a_route_says_that_nothing_was_sent(start_load):
    load = start_load("--nameserver", "127.0.0.1:1", "-D", "timeout_ms=60s")
    load.until("127.0.0.1:1 cannot be reached")
    out, err = load.stop()
    assert load.process.returncode == 2 and out == ""
    assert "nothing was sent" in err, err


def test_a_second_ctrl_c_quits_at_once(salvo_bin, start_load):
    silent = Mock(salvo_bin)
    silent.stop_signal()
    try:
        load = start_load("--nameserver", silent.address, "-D", "timeout_ms=60s")
        load.until("no answer within")
        load.stop(signals=2, timeout=50)
        assert load.process.returncode == 2
    finally:
        silent.cont_signal()
        silent.stop()


def test_messages_that_fail_give_exit_code_1(salvo_bin, tmp_path):
    failing = Mock(salvo_bin, "--script", write_script(tmp_path))
    try:
        report = report_of(
            salvo_bin,
            tmp_path,
            "--nameserver",
            failing.address,
            "--count",
            "1000",
            "--closed",
            "50",
            "-D",
            "retries=0",
            code=1,
        )
        assert report["valid"] and report["failed"] == 10 and report["errors"] == {"refused_13": 10}
        assert "refused_13" in report["error_texts"]
    finally:
        failing.stop()


def write_script(tmp_path):
    path = tmp_path / "script"
    path.write_text('* send code 13 next 10 remark "the test says no"\n')
    return str(path)


def test_no_route_is_one_clear_error(salvo_bin):
    before = time.monotonic()
    done = run(salvo_bin, "load", "--nameserver", "127.0.0.1:1", "-D", "timeout_ms=1s")
    assert done.returncode == 2 and time.monotonic() - before < 60
    assert "cannot be sent to" in done.stderr


def test_the_live_line_is_rewritten_on_a_terminal(salvo_bin):
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [str(salvo_bin), "load", "--rate", "1k", "--duration", "2500ms"],
        stdout=subprocess.DEVNULL,
        stderr=child,
    )
    os.close(child)
    shown = b""
    while True:
        try:
            part = os.read(parent, 4096)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(parent)
    assert process.wait(timeout=120) in (0, 2)  # 2: late, on a busy machine
    assert shown.count(b"\r") >= 2 and b"\033[K" in shown and b"p99.9" in shown
    # In a terminal of 80 columns it would wrap, and then could not be rewritten.
    lines = re.findall(rb"\r\033\[\?7l(.*?)\033\[K\033\[\?7h", shown, re.S)
    assert len(lines) == shown.count(b"p99.9") and all(b"errors" in line[:40] for line in lines)


LOST_OUTPUT = {
    "help": ["load", "--help"],
    "load": ["load", "--count", "10"],
    "json": ["load", "--count", "10", "--json", "-"],
    "check": ["check"],
    "mock": ["mock"],
    "frame": ["frame", ROOT / "tests" / "golden" / "send-v2-5.3.3-binary.hex"],
}


def test_an_empty_nameserver_in_the_environment_is_none(salvo_bin):
    done = run(salvo_bin, "load", "--count", "10", env={"SALVO_NAMESERVER": ""})
    assert done.returncode == 0 and "embedded mock" in done.stderr, done.stderr


@pytest.mark.parametrize("command", LOST_OUTPUT)
def test_output_that_cannot_be_written_is_no_success(salvo_bin, command):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [str(salvo_bin), *map(str, LOST_OUTPUT[command])],
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert done.returncode == 2 and "standard output" in done.stderr, done.stderr


def test_send_counts_on_when_its_output_is_lost(salvo_bin, mock):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [str(salvo_bin), "send", "--topic", "T", "--nameserver", mock.address, "--verbose"],
            input="one\ntwo\n",
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert "2 read, 2 acknowledged, 0 failed" in done.stderr
    assert done.returncode == 2 and "standard output" in done.stderr


@pytest.mark.parametrize("fd, named", [(0, "standard input"), (1, "standard output")])
def test_a_closed_descriptor_is_not_handed_to_a_socket(salvo_bin, mock, fd, named):
    """The kernel gives the lowest free number to the next descriptor that is opened."""
    send = [str(salvo_bin), "send", "--topic", "T", "--nameserver", mock.address, "--verbose"]
    closing = "<&-" if fd == 0 else ">&-"
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closing}', "sh", *send],
        input="one\n",
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0 and named in done.stderr, done.stderr
    assert "Bad file descriptor" in done.stderr or fd == 1
    assert ("1 read, 1 acknowledged" in done.stderr) == (fd == 1)


def test_hdr_file_and_json_on_standard_output(salvo_bin, tmp_path):
    path = tmp_path / "latency.hgrm"
    done = run(salvo_bin, "load", "--count", "1000", "--json", "-", "--hdr", path)
    assert done.returncode == 0
    report = json.loads(done.stdout)
    lines = path.read_text().splitlines()
    assert lines[0].split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    values = [line.split() for line in lines[2:] if not line.startswith("#")]
    assert float(values[-1][1]) == 1 and int(values[-1][2]) == 1000
    assert float(values[-1][0]) == pytest.approx(report["latency_us"]["max"], abs=0.01)


def flatten(value, prefix=""):
    names = set()
    for name, item in value.items():
        path = f"{prefix}{name}"
        if path in ("errors", "error_texts", "settings.options"):
            names.add(path + ".*")
        elif isinstance(item, dict):
            names |= flatten(item, path + ".")
        else:
            names.add(path)
    return names


def test_report_md_names_every_field_and_no_other(salvo_bin, tmp_path):
    text = (ROOT / "docs" / "REPORT.md").read_text()
    documented = set(re.findall(r"^\| `([^`]+)` \|", text, re.M))
    assert flatten(report_of(salvo_bin, tmp_path, "--count", "100")) == documented


def test_environment_file_and_argument_in_this_order(salvo_bin, tmp_path):
    config = tmp_path / "salvo.yaml"
    config.write_text("send:\n  retries: 7\n  timeout_ms: 9s\nlanes:\n  lanes: 2\n")
    env = {"SALVO_TIMEOUT_MS": "8s", "SALVO_LANES": "3"}
    path = tmp_path / "report.json"
    done = run(
        salvo_bin,
        "load",
        "--count",
        "10",
        "--config",
        config,
        "-D",
        "lanes=1",
        "--json",
        path,
        env=env,
    )
    assert done.returncode == 0, done.stderr
    options = json.loads(path.read_text())["settings"]["options"]
    assert (options["retries"], options["timeout_ms"], options["lanes"]) == ("7", "8s", "1")


def test_of_two_files_the_later_wins_and_both_count(salvo_bin, tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("retries: 7\nbody_size_max: 1KiB\n")
    second.write_text("send:\n  body_size_max: 2KiB\n")
    done = run(salvo_bin, "check", "--config", first, "--config", second)
    assert done.returncode == 0, done.stderr
    shown = dict(re.findall(r"^send +(\w+) +(\S+) +file$", done.stdout, re.M))
    assert shown == {"retries": "7", "body_size_max": "2KiB"}


def test_a_run_that_cannot_start_leaves_the_last_report(salvo_bin, tmp_path):
    report = tmp_path / "report.json"
    done = run(salvo_bin, "load", "--count", "100", "-D", "timeout_ms=60s", "--json", report)
    assert done.returncode == 0, done.stderr
    before = report.read_text()
    assert json.loads(before)["acked"] == 100

    done = run(salvo_bin, "load", "--nameserver", "127.0.0.1:1", "--count", "100",
               "-D", "api_timeout_ms=200ms", "-D", "timeout_ms=1s", "--json", report)
    assert done.returncode == 2 and report.read_text() == before
    assert f"--json {report} still holds an earlier report" in done.stderr

    done = run(salvo_bin, "load", "--count", "7", "-D", "timeout_ms=60s", "--json", report)
    assert done.returncode == 0 and json.loads(report.read_text())["acked"] == 7


@pytest.mark.parametrize("second", ["same", "./same", "link"])
def test_two_reports_do_not_share_a_file(salvo_bin, tmp_path, second):
    (tmp_path / "link").symlink_to("same")
    done = run(
        salvo_bin, "load", "--count", 10, "--json", "same", "--hdr", second, cwd=tmp_path
    )
    assert done.returncode == 2 and "are one file" in done.stderr
    assert (tmp_path / "same").read_text() == ""
    nowhere = run(
        salvo_bin, "load", "--count", 10, "--json", "/dev/null", "--hdr", "/dev/null"
    )
    assert nowhere.returncode == 0, nowhere.stderr


def test_a_sender_that_does_not_start_says_only_why(salvo_bin):
    done = run(salvo_bin, "load", "--count", 10, "-D", "stat_file=/nowhere/x")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr


def test_linger_needs_a_unit(salvo_bin):
    """The setting's name has one, the option's does not: 5 would be microseconds."""
    done = run(salvo_bin, "load", "--linger", "5", "--count", "10")
    assert done.returncode == 2 and "a time needs its unit" in done.stderr


def test_a_number_too_large_is_out_of_range(salvo_bin):
    done = run(salvo_bin, "load", "--count", "99999999999999999999")
    assert done.returncode == 2 and "out of range" in done.stderr


def test_send_could_not_start_without_its_input(salvo_bin, tmp_path):
    with Mock(salvo_bin, "--topic", "T:4") as mock:
        done = run(salvo_bin, "send", "--nameserver", mock.address, "--topic", "T", tmp_path)
    assert done.returncode == 2 and "Is a directory" in done.stderr


# --- mock, send, stat, check, frame --------------------------------------------------------------


def test_a_script_for_a_host_that_is_not_there_names_those_that_are(salvo_bin):
    for brokers, hosts in ((1, "use *, ns0, b0 or a"), (3, "use *, ns0, b0 to b2 or a")):
        done = run(
            salvo_bin, "mock", "--brokers", brokers, "--script", "-", input="b7 send drop\n"
        )
        assert done.returncode == 2 and hosts in done.stderr


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


@pytest.mark.parametrize(
    "content", [b"", b"x" * 100, b"\0" * 10000], ids=["empty", "text", "zeros"]
)
def test_stat_refuses_what_is_not_a_stat_file(salvo_bin, tmp_path, content):
    path = tmp_path / "no-stat"
    path.write_bytes(content)
    done = run(salvo_bin, "stat", path)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and str(path) in done.stderr


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


def test_frame_reads_the_golden_frames(salvo_bin):
    paths = sorted((ROOT / "tests" / "golden").glob("*.hex"))
    assert len(paths) >= 40
    for path in paths:
        done = run(salvo_bin, "frame", "--hex", path)
        assert done.returncode == 0, done.stderr
        code = re.search(r"^# code: (-?\d+)", path.read_text(), re.M)[1]
        assert f"({code})," in done.stdout


def golden_bytes(name):
    text = (ROOT / "tests" / "golden" / name).read_text()
    return bytes.fromhex("".join(line.partition("#")[0] for line in text.splitlines()))


FRAMES = [golden_bytes(f"{name}-5.3.3-{form}.hex") for form in ("binary", "json")
          for name in ("send-v2", "batch-16", "response-bare")]


@pytest.mark.parametrize("cut", [1, 3, 4, 7, 8, 30, -1])
def test_frame_begins_in_the_middle_of_a_connection(salvo_bin, tmp_path, cut):
    """What is left of a frame in front is passed over, all behind it is read."""
    path = tmp_path / "stream"
    for first in (frame for frame in FRAMES if len(frame) > cut):
        path.write_bytes(first[cut:] + b"".join(FRAMES))
        done = run(salvo_bin, "frame", path)
        assert done.returncode == 0, done.stderr
        assert len(re.findall(r"^frame \d+ at ", done.stdout, re.M)) == len(FRAMES), done.stdout
        assert f"{len(first[cut:])} bytes passed over at offset 0" in done.stderr


def test_frame_goes_on_behind_bytes_that_make_no_sense(salvo_bin, tmp_path):
    path = tmp_path / "stream"
    path.write_bytes(FRAMES[0] + b"\xff" * 100 + FRAMES[1] + bytes(range(256)) + FRAMES[2])
    done = run(salvo_bin, "frame", path)
    assert done.returncode == 1
    assert len(re.findall(r"^frame \d+ at ", done.stdout, re.M)) == 3
    assert f"100 bytes passed over at offset {len(FRAMES[0])}" in done.stderr
    assert f"offset {len(FRAMES[0])}: " in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("rest", [b"#", b"# of a body\n", b"#" * 5000, b"5a" * 5000])
def test_frame_takes_no_stream_for_hex_text(salvo_bin, tmp_path, rest):
    """A body cut where it looks like the start of a text, for longer than a look at it would be."""
    path = tmp_path / "stream"
    path.write_bytes(rest + b"".join(FRAMES))
    done = run(salvo_bin, "frame", path)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^frame \d+ at ", done.stdout, re.M)) == len(FRAMES), done.stdout
    assert f"{len(rest)} bytes passed over at offset 0" in done.stderr


@pytest.mark.parametrize(
    "content",
    [
        random.Random(1).randbytes(1 << 20),
        bytes(1 << 20),
        b"a line of a log\n" * 1000,
        struct.pack(">II8x", 1000000, 0x01000010) * 65536,
    ],
    ids=["random", "zeros", "text", "starts without a header"],
)
def test_frame_finds_none_where_there_is_none(salvo_bin, tmp_path, content):
    path = tmp_path / "stream"
    path.write_bytes(content)
    done = run(salvo_bin, "frame", path)
    assert done.returncode == 1 and done.stdout == ""
    assert "offset 0: " in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("length", [0, 10, 1 << 24, 0xFFFFFFFF])
def test_frame_passes_over_a_length_that_lies(salvo_bin, tmp_path, length):
    path = tmp_path / "stream"
    path.write_bytes(struct.pack(">I", length) + FRAMES[0][4:] + b"".join(FRAMES))
    done = run(salvo_bin, "frame", path)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^frame \d+ at ", done.stdout, re.M)) == len(FRAMES), done.stdout
    assert f"{len(FRAMES[0])} bytes passed over at offset 0" in done.stderr


def pcap_of(segments):
    """A capture of one direction of a connection: (sequence, bytes), without its SYN."""
    out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    for sequence, payload in segments:
        size = 40 + len(payload)
        packet = struct.pack(">BBHHHBBH4s4s", 0x45, 0, size, 0, 0, 64, 6, 0, b"\x0a\0\0\x01",
                             b"\x0a\0\0\x02")
        packet += struct.pack(">HHIIBBHHH", 40000, 10911, sequence, 0, 0x50, 0x18, 8192, 0, 0)
        out += struct.pack("<IIII", 0, 0, size, size) + packet + payload
    return out


def test_frame_reads_a_capture_that_misses_packets(salvo_bin, tmp_path):
    """It begins in the middle, and two packets are lost: only the frames they cut are missing."""
    stream = b"".join(FRAMES * 20)
    chunks = [(at, stream[at:at + 1000]) for at in range(333, len(stream), 1000)]
    lost = (len(chunks) // 3, 2 * len(chunks) // 3)
    path = tmp_path / "capture.pcap"
    path.write_bytes(pcap_of(c for i, c in enumerate(chunks) if i not in lost))
    done = run(salvo_bin, "frame", path)
    assert done.returncode == 0, done.stderr

    ends, whole = 0, 0
    for frame in FRAMES * 20:
        begin, ends = ends, ends + len(frame)
        whole += begin >= 333 and not any(begin < chunks[i][0] + 1000 and ends > chunks[i][0]
                                          for i in lost)
    assert len(re.findall(r"^frame \d+ at ", done.stdout, re.M)) == whole
    assert "2000 bytes are missing in the capture" in done.stderr


@pytest.mark.parametrize(
    "content, place",
    [
        ("00000010", "offset 0"),
        ("0000001", "line 1"),
        ("zz", "line 1, column 1"),
        ("", "no frame"),
        ("ffffffff00000000", "offset 0"),
    ],
)
def test_frame_says_where_input_is_malformed(salvo_bin, content, place):
    done = run(salvo_bin, "frame", "--hex", "-", input=content)
    assert done.returncode == 1 and place in done.stderr
    assert len(done.stderr.splitlines()) == 1
