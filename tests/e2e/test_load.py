"""`salvo load` from outside: rates, reports, Ctrl-C, the live line; against mock clusters."""

import json
import os
import pty
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from mocks import Mock
from program import environment, late_only, report_of, run

ROOT = Path(__file__).resolve().parents[2]


def test_few_messages_at_a_rate_have_that_rate(salvo_bin, tmp_path):
    args = ("--rate", "20", "--duration", "200ms", "--warmup", "0s")
    report = report_of(salvo_bin, tmp_path, *args)
    assert report["seconds"] >= report["measured_acked"] / 20
    assert 0 < report["rate_per_s"] <= 20


def test_a_rate_of_less_than_one_a_second_is_not_zero(salvo_bin):
    done = run(salvo_bin, "load", "--rate", "0.4", "--count", "1", "--net", "null")
    assert "open loop, 0.4 messages/s" in done.stdout
    assert re.search(r"^ +rate +0\.4 messages/s", done.stdout, re.M), done.stdout


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


@pytest.mark.parametrize(
    "args",
    [
        ["--rate", "3", "--count", "2", "--warmup", "500ms"],  # two are due in the warm-up
        ["--rate", "1", "--count", "1", "--warmup", "100ms"],
        ["--net", "null", "--count", "5000", "--warmup", "100ms", "-D", "threads=caller"],
        ["--count", "100", "--warmup", "300ms"],
    ],
)
def test_a_count_is_measured_whole_behind_the_warmup(salvo_bin, tmp_path, args):
    report = report_of(salvo_bin, tmp_path, *args)
    assert report["measured_messages"] == int(args[args.index("--count") + 1])


@pytest.mark.parametrize(
    "args,planned,measured",
    [
        (["--rate", "1", "--duration", "100ms", "--warmup", "1s"], 2, 1),
        (["--rate", "2", "--duration", "700ms"], 2, 2),
        (["--rate", "7", "--duration", "1s"], 7, 7),
    ],
)
def test_a_duration_takes_what_is_due_in_it(salvo_bin, tmp_path, args, planned, measured):
    report = report_of(salvo_bin, tmp_path, *args)
    assert report["planned"] == planned and report["measured_messages"] == measured


@pytest.mark.parametrize(
    "args",
    [
        ["--rate", "2", "--duration", "300ms", "--warmup", "200ms"],
        ["--rate", "0.05", "--warmup", "1s"],
    ],
)
def test_a_duration_between_two_messages_is_refused(salvo_bin, args):
    done = run(salvo_bin, "load", *args)
    assert done.returncode == 2 and done.stdout == ""
    assert "--duration" in done.stderr and "no message is due" in done.stderr, done.stderr


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


@pytest.mark.parametrize(
    "tags, said",
    [
        ("good, ", "the tag ' ': it is empty or blank; take it out"),
        (" ", "the tag ' ': it is empty or blank; take it out"),
        ("good,a\x01b", "the tag 'a b': it holds one of the separators 0x01 and 0x02; take it out"),
        (b"good,\xff", "the tag '?': it is not UTF-8; take it out"),
        ("t" * 40000, "tttt...': it is too long; take one of at most 31994 bytes"),
        ("t" * 31995, "tttt...': it is too long; take one of at most 31994 bytes"),
    ],
)
def test_a_tag_that_no_message_takes_is_refused_before_the_start(
    salvo_bin, tmp_path, tags, said
):
    path = tmp_path / "report.json"
    path.write_text("an earlier one")
    done = subprocess.run(
        [str(salvo_bin), "load", "--count", "1000", "--tags", tags, "--json", str(path)],
        capture_output=True,
        timeout=300,
        env=environment(),
    )
    err = done.stderr.decode()
    assert done.returncode == 2 and done.stdout == b""
    assert "salvo load: --tags: the tag '" in err and said in err, err
    assert path.read_text() == "an earlier one"


def test_the_longest_tag_leaves_room_for_a_key(salvo_bin, tmp_path):
    args = ("--count", "100", "--keys", "1000", "--tags")
    assert report_of(salvo_bin, tmp_path, *args, "t" * 31984)["acked"] == 100
    done = run(salvo_bin, "load", *args, "t" * 31985)
    assert done.returncode == 2 and "take one of at most 31984 bytes" in done.stderr, done.stderr


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


def test_a_run_whose_terminal_is_gone_drains_and_reports(start_load, tmp_path):
    path = tmp_path / "report.json"
    load = start_load("--rate", "1k", "--duration", "1h", "--json", path)
    load.until_second(2)
    load.process.send_signal(signal.SIGHUP)
    load.process.wait(timeout=120)
    report = json.loads(path.read_text())
    assert report["interrupted"] and report["planned"] == report["acked"] > 1000


def test_a_run_that_ignores_the_end_of_its_terminal_goes_on(salvo_bin, tmp_path):
    path = tmp_path / "report.json"
    process = subprocess.Popen(
        [str(salvo_bin), "load", "--rate", "1k", "--duration", "2s", "--json", path],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert any(re.match(r" +1 s ", line) for line in process.stderr)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=120)
    report = json.loads(path.read_text())
    assert not report["interrupted"] and report["acked"] == 2000


def test_ctrl_c_in_an_open_loop_plans_nothing_more(start_load, tmp_path):
    path = tmp_path / "report.json"
    load = start_load("--rate", "20k", "--duration", "1h", "--warmup", "0s", "--json", path)
    load.until_second(1)
    load.stop()
    report = json.loads(path.read_text())
    assert report["interrupted"]
    if report["client"]["ring_full_seconds"] == 0:
        assert "never_submitted" not in report["errors"]


def test_time_without_room_is_counted_behind_the_warmup(salvo_bin, tmp_path):
    """Three messages may be out, and the first three have their answers half a second behind it."""
    script = tmp_path / "script"
    script.write_text("* send delay 2500ms next 3\n")
    with Mock(salvo_bin, "--script", script) as slow:
        report = report_of(
            salvo_bin, tmp_path, "--nameserver", slow.address,
            "--rate", "10", "--duration", "1s", "--warmup", "2s", "-D", "messages_out_max=3",
        )
    assert report["client"]["held_back_messages"] > 0
    assert 0 < report["client"]["ring_full_seconds"] <= report["seconds"]


def test_a_generator_that_waits_for_answers_is_not_busy(salvo_bin, tmp_path):
    script = tmp_path / "script"
    script.write_text("* send delay 2500ms forever\n")
    with Mock(salvo_bin, "--script", script) as slow:
        report = report_of(
            salvo_bin, tmp_path, "--nameserver", slow.address,
            "--closed", "100", "--duration", "2s",
        )
    assert report["client"]["generator_busy_share"] < 0.9
    assert not report["client"]["was_limit"]


@pytest.mark.parametrize("args", [["--rate", "5", "--count", "1"], ["--count", "50"]])
def test_a_run_that_is_submitted_at_once_is_not_limited_by_that(salvo_bin, tmp_path, args):
    """What was submitted within microseconds was waited for much longer."""
    script = tmp_path / "script"
    script.write_text("* send delay 50ms forever\n")
    with Mock(salvo_bin, "--script", script) as slow:
        report = report_of(salvo_bin, tmp_path, "--nameserver", slow.address, *args)
    assert report["client"]["generator_busy_share"] < 0.9
    assert not report["client"]["was_limit"]


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


@pytest.fixture
def stop_twice(salvo_bin, start_load):
    """stop_twice(ARGUMENT..., before=F): what a run says that a second SIGINT ends, F() before."""

    def stop(*args, before=lambda: None):
        silent = Mock(salvo_bin)
        load = start_load(
            "--nameserver", silent.address, "--rate", "100", "--duration", "1h", *args
        )
        load.until_second(1)
        silent.stop_signal()
        try:
            load.until(r" in flight [1-9]")  # else it would not drain, but report
            before()
            load.stop_again_and_again()
            assert load.process.returncode == 2
            return load.process.stderr.read()
        finally:
            silent.cont_signal()
            silent.stop()

    return stop


def test_a_second_ctrl_c_quits_at_once(stop_twice):
    err = stop_twice()
    assert "not accounted for" in err and "still holds" not in err


def test_a_second_ctrl_c_says_which_report_is_an_earlier_one(stop_twice, tmp_path):
    earlier, empty, made = tmp_path / "earlier", tmp_path / "empty", tmp_path / "made"
    earlier.write_text("an earlier one")
    err = stop_twice("--json", earlier, "--hdr", made)
    assert f"\nsalvo load: --json {earlier} still holds an earlier report\n" in err
    assert err.count("still holds") == 1
    assert earlier.read_text() == "an earlier one" and not made.exists()

    empty.touch()
    err = stop_twice("--json", empty, "--hdr", earlier)
    assert f"\nsalvo load: --hdr {earlier} still holds an earlier report\n" in err
    assert err.count("still holds") == 1 and empty.exists()


def test_a_second_ctrl_c_takes_away_no_file_of_another(stop_twice, tmp_path):
    path, other = tmp_path / "report.json", tmp_path / "other"
    other.touch()
    stop_twice("--json", path, before=lambda: other.rename(path))
    assert path.exists()


def test_two_signals_at_once_are_one(salvo_bin, start_load, tmp_path):
    """As timeout(1) sends them: to its command, and to the command's process group."""
    path, script = tmp_path / "report.json", tmp_path / "script"
    script.write_text("* send delay 1500ms forever\n")
    with Mock(salvo_bin, "--script", script) as slow:
        load = start_load("--nameserver", slow.address, "--closed", "5", "--json", path)
        load.until_second(1)
        out, err = load.stop(signals=2)
    assert load.process.returncode == 0, err
    assert "not accounted for" not in err
    assert json.loads(path.read_text())["interrupted"]


def test_a_live_line_says_why_messages_failed(salvo_bin, start_load, tmp_path):
    path = tmp_path / "report.json"
    with Mock(salvo_bin, "--script", write_script(tmp_path)) as failing:
        load = start_load("--nameserver", failing.address, "--rate", "1k", "--duration", "1h",
                          "--json", path, "-D", "retries=0", "-D", "timeout_ms=60s")
        load.until(r" \d+ s .*/s  errors 10: refused_13 10  ")
        load.stop()
    assert json.loads(path.read_text())["errors"]["refused_13"] == 10


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


def test_no_route_says_how_long_it_was_waited_for(salvo_bin):
    """A nameserver that is well and had no time to answer is not to blame."""
    with Mock(salvo_bin) as silent:
        silent.stop_signal()
        done = run(salvo_bin, "load", "--nameserver", silent.address, "-D", "timeout_ms=1ms")
    assert done.returncode == 2
    assert "waited for 1 ms, which timeout_ms sets" in done.stderr, done.stderr


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


@pytest.mark.parametrize("option", ["--json", "--hdr"])
def test_a_report_that_cannot_be_written_says_why(salvo_bin, option):
    done = run(salvo_bin, "load", "--count", "10", option, "/dev/full")
    assert done.returncode == 2
    assert f"{option} /dev/full: cannot be written" in done.stderr
    assert "No space left on device" in done.stderr


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


def test_a_run_that_cannot_start_makes_no_report(salvo_bin, tmp_path):
    files = [tmp_path / "report.json", tmp_path / "report.hgrm"]
    done = run(salvo_bin, "load", "--nameserver", "127.0.0.1:1", "-D", "timeout_ms=300ms",
               "--json", files[0], "--hdr", files[1])
    assert done.returncode == 2 and "cannot be sent to" in done.stderr
    assert not any(file.exists() for file in files)


@pytest.mark.parametrize("second", ["same", "./same", "link"])
def test_two_reports_do_not_share_a_file(salvo_bin, tmp_path, second):
    (tmp_path / "link").symlink_to("same")
    done = run(
        salvo_bin, "load", "--count", 10, "--json", "same", "--hdr", second, cwd=tmp_path
    )
    assert done.returncode == 2 and "are one file" in done.stderr
    assert not (tmp_path / "same").exists()
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
