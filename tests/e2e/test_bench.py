"""bench/run says everything it promises, and leaves nothing behind. What it says is not judged
here: benchmarks are not timed tests."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rocketmq.cluster import wait_until

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "bench" / "run"

ROWS = {
    "micro": [
        "ring, 8 bytes, burst 8",
        "ring, 128-byte slot to the other core",
        "send header",
        "1 KB frame with its copy",
        "send response, binary",
        "send response, JSON",
        "inflight, register and complete",
        "inflight, random, 65536 open",
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
    "idle": ["CPU per lane, whole process counted"],
    "java": [
        "Java sync",
        "Java async",
        "Java batch",
        "salvo",
        "salvo linger",
        "unbatched beside (sync|async): rate",
        "unbatched beside (sync|async): CPU per message",
        "unbatched beside (sync|async): p50",
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
        sys.executable,
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
    out, err = process.communicate(timeout=580)
    assert process.returncode == 0, out + err
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["failures"] == []
    found = [(row["section"], row["row"]) for row in report["rows"]]
    wanted = [(section, row) for section, rows in ROWS.items() for row in rows]
    assert len(found) == len(wanted)
    for (section, row), (wanted_section, pattern) in zip(found, wanted):
        assert section == wanted_section
        assert row == pattern or re.fullmatch(pattern, row)
    for row in report["rows"]:
        measured = row["verdict"] != "not measured"
        assert measured or row["section"] == "micro"
        assert (row["value"] != "") == measured
        assert row["verdict"] in ("", "met", "missed", "not measured")
        assert (row["target"] == "") == (row["verdict"] == "")
    assert report["settings"]["quick"] is True
    assert {"model", "cores", "kernel", "memory_gib"} <= report["machine"].keys()
    assert {"git", "compiler", "buildtype"} <= report["build"].keys()
    assert len(report["load_before"]) == len(report["load_after"]) == 3
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
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert namespaces(process.pid) == []


def test_what_is_not_there_is_named(salvo_bin, tmp_path):
    done = subprocess.run(
        command(salvo_bin, tmp_path, "--only", "macro"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "macro" in done.stderr and "veth" in done.stderr
    done = subprocess.run(
        [sys.executable, str(RUN), "--build", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "ninja -C build" in done.stderr
