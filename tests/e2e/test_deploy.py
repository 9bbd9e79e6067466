"""The scripts in deploy/ where they stop early: help, mistakes, a tree that is not ours. Nothing is
built or installed here."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from rocketmq.cluster import wait_until

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def run(*args, **options):
    return subprocess.run(
        [*map(str, args)], capture_output=True, text=True, timeout=300, **options
    )


@pytest.mark.parametrize("script", ["try-dpdk", "quickstart", "install"])
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_is_the_head_of_the_script_and_nothing_runs(script, option):
    done = run(DEPLOY / script, option)
    assert done.returncode == 0 and done.stderr == ""
    head = (DEPLOY / script).read_text().split("\nset -eu")[0].splitlines()[1:]
    assert done.stdout.splitlines() == [line.removeprefix("#").removeprefix(" ") for line in head]


@pytest.mark.parametrize(
    "args, said",
    [
        (["--device"], "--device needs a value: af_packet, tap or af_xdp"),
        (["--rocketmq"], "--rocketmq needs a value: 4.7.1, 4.9.7 or 5.3.3"),
        (["--rocketmq", "5.3.3", "--device"], "--device needs a value"),
        (["--device", "eth0"], "--device eth0: it may be"),
        (["--rocketmq", "6"], "--rocketmq 6: it may be"),
    ],
)
def test_a_mistake_of_try_dpdk_is_one_line(args, said):
    done = run(DEPLOY / "try-dpdk", *args)
    assert done.returncode == 2 and done.stdout == ""
    assert said in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_of_preflight_is_no_fact_of_the_host(option):
    done = run(DEPLOY / "preflight", option)
    assert done.returncode == 0 and "Tells what of this host matters to salvo" in done.stdout
    assert "lockable memory" not in done.stdout


def test_preflight_refuses_what_it_does_not_know():
    done = run(DEPLOY / "preflight", "--nonsense")
    assert done.returncode == 2 and done.stdout == "" and "--nonsense" in done.stderr


@pytest.mark.parametrize("kib", [64, 1024])
def test_preflight_and_salvo_are_refused_the_same_ring(salvo_bin, kib):
    """64 KiB hold a small ring, and none of a lane."""
    if os.geteuid() != 0:
        pytest.fail("a limit on lockable memory binds all but root, who sets it", pytrace=False)
    place = Path("/tmp") / f"salvo-preflight-{os.getpid()}"
    place.mkdir(mode=0o755)
    nobody = [
        *("prlimit", f"--memlock={kib * 1024}:{kib * 1024}"),
        *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
        *("--no-new-privs", "--inh-caps=-all"),
    ]
    try:
        shutil.copy(DEPLOY / "preflight", place)
        shutil.copy(salvo_bin, place / "salvo")
        facts = run(*nobody, place / "preflight").stdout
        check = run(*nobody, place / "salvo", "check").stdout
    finally:
        shutil.rmtree(place)
    if re.search(r"io_uring +not allowed \(Cannot allocate memory\)", check):
        assert re.search(r"io_uring +refused: Cannot allocate memory.*\n.*lockable memory", facts)
    else:
        assert re.search(r"io_uring +allowed", check) and re.search(r"io_uring +allowed", facts)


def test_preflight_may_lose_its_reader():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([DEPLOY / "preflight"], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert done.stderr == ""


def of_tree(tree):
    """The processes that run what is in `tree`."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(tree).encode() in each.read_bytes():
                found.append(each.parent.name)
        except OSError:
            pass  # it has ended
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_nothing_of_try_dpdk_outlives_its_shell(tmp_path, number):
    """The shell alone gets the signal, and has no hand in the end of the others."""
    if os.geteuid() != 0:
        pytest.fail("network namespaces need root", pytrace=False)
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    build = tmp_path / "build-dpdk"
    build.mkdir()
    (build / "build.ninja").write_text("build salvo: phony\n")
    (build / "salvo").write_text(
        f"#!/bin/sh\ntouch {build}/$1\necho nameserver 10.93.0.2:9876\nsleep 60 # {build}\n"
    )
    (tmp_path / "deploy/install").write_text("#!/bin/sh\n")
    (build / "salvo").chmod(0o755)
    with subprocess.Popen([tmp_path / "deploy/try-dpdk"], stdout=subprocess.DEVNULL) as process:
        wait_until((build / "load").exists, "salvo load")
        process.send_signal(number)
    assert process.returncode == -number
    wait_until(lambda: not of_tree(tmp_path), "the end of all the others", 20.0)


def test_quickstart_in_a_tree_of_somebody_else():
    """The build did not fail: it was not tried."""
    if os.geteuid() != 0:
        pytest.fail("a tree of somebody else needs root", pytrace=False)
    tree = Path("/tmp") / f"salvo-deploy-{os.getpid()}"
    shutil.copytree(DEPLOY, tree / "deploy")
    try:
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        done = run(*nobody, tree / "deploy/quickstart")
    finally:
        shutil.rmtree(tree)
    assert done.returncode == 1
    assert "build-logs/quickstart.log cannot be written" in done.stderr
    assert "failed" not in done.stderr
