"""What a host program links: the libraries' names and what they need, an installed salvo found by
pkg-config, and the examples. Runs on a build as deploy/quickstart makes it too."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import libsalvo
from mocks import Mock

ROOT = Path(__file__).resolve().parents[2]
HEADER = ROOT / "include" / "salvo.h"
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.c"))


@pytest.fixture(scope="module")
def mock(salvo_bin):
    with Mock(salvo_bin, "--brokers", 2) as made:
        yield made


def output(*command, **options):
    return subprocess.run(
        [str(c) for c in command], check=True, text=True, stdout=subprocess.PIPE, **options
    ).stdout


def declared():
    """Every function of salvo.h."""
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.S)
    return set(re.findall(r"SALVO_API\b[^;{]*?\b(salvo_\w+)\(", text))


def test_exported_are_exactly_the_functions_of_the_header():
    lines = [
        line.split() for line in output("nm", "-D", "--defined-only", libsalvo.path()).splitlines()
    ]
    exported = {name.split("@")[0] for *_, kind, name in lines if kind != "A"}
    assert exported == declared() and len(exported) > 50
    assert {name.partition("@@")[2] for *_, kind, name in lines if kind != "A"} <= {"SALVO_0", ""}


def test_this_binding_knows_every_function():
    assert set(libsalvo.FUNCTIONS) == declared()
    codes = re.search(r"enum salvo_code \{(.*?)\};", HEADER.read_text(), re.S)[1]
    names = re.findall(r"^    SALVO_(\w+)\b(?: = 0)?,", codes, re.M)
    assert tuple(n.lower() for n in names) == libsalvo.CODES
    lib = libsalvo.load()
    for number, name in enumerate(libsalvo.CODES):
        assert lib.salvo_code_name(number) == name.encode()
        assert lib.salvo_code_text(number)
    assert [lib.salvo_stored_name(i) for i in range(3)] == [b"no", b"yes", b"unknown"]
    assert lib.salvo_code_name(99) == b"unknown"


def test_the_static_library_pollutes_no_name_space(installed):
    archive = installed.library / "libsalvo.a"
    names = {
        line.split()[-1]
        for line in output("nm", "-g", "--defined-only", archive).splitlines()
        if re.match(r"[0-9a-f]{16} ", line)
    }
    assert declared() <= names
    ours = ("salvo_", "config_", "rpc_", "sim_", "uring_", "net_tcp_", "dpdk_")
    assert {n for n in names if not n.startswith(ours)} == set()


def test_no_allocator_no_signal_handler_no_exit_is_linked():
    needed = output("readelf", "-d", libsalvo.path())
    assert "jemalloc" not in needed and "tcmalloc" not in needed
    undefined = {
        line.split()[-1].split("@")[0]
        for line in output("nm", "-D", "--undefined-only", libsalvo.path()).splitlines()
    }
    assert "malloc" in undefined or "calloc" in undefined
    unwanted = {"signal", "sigaction", "sigprocmask", "exit", "_exit", "atexit", "fork"}
    assert undefined & unwanted == set()


def test_the_programs_allocator_finds_its_settings(salvo_bin):
    """By a name that link-time optimisation would hide."""
    assert "jemalloc" in output("readelf", "-d", salvo_bin)
    assert " D malloc_conf\n" in output("nm", "-D", "--defined-only", salvo_bin)


HOST = """
import ctypes, sys
sys.path.insert(0, sys.argv[1])
libc = ctypes.CDLL(None)
def state():
    status = open("/proc/self/status").read().splitlines()
    masks = {l.split()[0]: int(l.split()[1], 16) for l in status if l.startswith("Sig") and "/" not
    in l}
    own = 3 << 31    # 32 and 33 are glibc's, for threads
    return [masks[name] & ~own for name in ("SigBlk:", "SigIgn:", "SigCgt:")]
def address(name):
    return ctypes.cast(getattr(libc, name), ctypes.c_void_p).value
before = state(), address("malloc"), address("free"), address("calloc")
from libsalvo import Sender
for turn in range(2):
    with Sender({"nameserver": sys.argv[2], "timeout_ms": "60s"}, "T") as s:
        for i in range(200):
            s.submit(b"x" * 100)
        assert all(r["code"] == "ok" for r in s.finish())
with Sender({"nameserver": sys.argv[2], "timeout_ms": "60s"}, "T") as a, Sender(
        {"nameserver": sys.argv[2], "timeout_ms": "60s", "lanes": 2}, "T") as b:
    for i in range(200):
        a.submit(b"a"), b.submit(b"b")
    ids = [r["msg_id"] for r in a.finish() + b.finish() if r["code"] == "ok"]
    assert len(set(ids)) == 400
assert before == (state(), address("malloc"), address("free"), address("calloc"))
maps = open("/proc/self/maps").read()
assert "libsalvo" in maps and "jemalloc" not in maps
print("fine")
"""


def test_started_twice_and_two_at_once_in_a_host_that_keeps_its_signals_and_allocator(mock):
    assert output(sys.executable, "-c", HOST, Path(__file__).parent, mock.address) == "fine\n"

# --- pkg-config and the examples
# ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """`meson install` below a directory of its own, in parts as packages are made; returns
    pkg-config's arguments and environment."""
    destination = tmp_path_factory.mktemp("installed")
    build = libsalvo.path().parent
    subprocess.run(
        ["meson", "install", "--no-rebuild", "--quiet", "-C", build, "--destdir", destination]
        + ["--tags", "runtime,devel"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    found = list(destination.rglob("salvo.pc"))
    assert len(found) == 1
    prefix = next(p for p in found[0].parents if (p / "include" / "salvo.h").is_file())

    def pkg_config(*arguments):
        return output(
            "pkg-config",
            f"--define-variable=prefix={prefix}",
            *arguments,
            "salvo",
            env=dict(os.environ, PKG_CONFIG_PATH=str(found[0].parent)),
        ).split()

    pkg_config.library = found[0].parent.parent
    return pkg_config


def compiled(source, to, pkg_config, static, *flags):
    """Built as a user would, with every warning an error."""
    link = pkg_config("--libs", "--static") if static else pkg_config("--libs")
    if static:  # salvo itself; Debian has some of what it needs as shared libraries only
        link = ["-l:libsalvo.a" if each == "-lsalvo" else each for each in link]
    subprocess.run(
        [
            "cc",
            "-std=c11",
            "-Wall",
            "-Wextra",
            "-Werror",
            *flags,
            "-o",
            to,
            source,
            *pkg_config("--cflags"),
            *link,
        ],
        check=True,
    )
    return to


@pytest.mark.parametrize("static", [False, True], ids=["shared", "static"])
def test_an_example_builds_against_the_build_directory(static, mock, tmp_path):
    build = libsalvo.path().parent

    def pkg_config(*arguments):
        env = dict(os.environ, PKG_CONFIG_PATH=str(build / "meson-uninstalled"))
        return output("pkg-config", *arguments, "salvo", env=env).split()

    # Before it is installed the archive holds link-time code too, which this compiler would compile
    # anew, and warn of.
    program = compiled(EXAMPLES[0], tmp_path / "example", pkg_config, static, "-fno-lto")
    env = dict(os.environ, LD_LIBRARY_PATH=str(build))
    out = output(program, mock.address, "Examples", "Hello", env=env, timeout=300)
    assert re.match(r"[0-9A-F]{32,56} ok broker-[ab] ", out), out


@pytest.mark.parametrize("static", [False, True], ids=["shared", "static"])
@pytest.mark.parametrize("source", EXAMPLES, ids=lambda p: p.name)
def test_examples_build_by_pkg_config_and_run(source, static, installed, mock, tmp_path):
    program = compiled(source, tmp_path / "example", installed, static)
    env = dict(os.environ, LD_LIBRARY_PATH=str(installed.library))
    linked = output("readelf", "-d", program)
    assert ("libsalvo.so.0" in linked) == (not static)
    out = output(program, mock.address, "Examples", "Hello", env=env, timeout=300)
    assert re.match(r"[0-9A-F]{32,56} ok broker-[ab] queue \d+ offset \d+", out), out


def test_the_program_in_the_header_is_one(installed, mock, tmp_path):
    """What stands in salvo.h's first comment compiles, and sends."""
    comment = re.match(r"/\*.*?\*/", HEADER.read_text(), re.S)[0]
    lines = [
        line[7:] for line in comment.splitlines() if line.startswith(" *     ") or line == " *"
    ]
    text = "\n".join(lines)
    text = text[text.index("#include <salvo.h>") :]
    assert len(text.splitlines()) <= 40
    source = tmp_path / "header.c"
    source.write_text(text.replace("127.0.0.1:9876", mock.address))
    program = compiled(source, tmp_path / "header", installed, True, "-Wno-unused-parameter")
    out = output(program, timeout=300)
    assert re.fullmatch(r"1 stored [0-9A-F]{32,56}\n", out), out


def test_the_header_is_cpp_and_stands_alone(tmp_path):
    source = tmp_path / "x.cc"
    source.write_text("#include <salvo.h>\nint main() { return salvo_version() == nullptr; }\n")
    subprocess.run(
        [
            shutil.which("g++") or "c++",
            "-std=c++11",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-pedantic",
            "-I",
            ROOT / "include",
            "-fsyntax-only",
            source,
        ],
        check=True,
    )
