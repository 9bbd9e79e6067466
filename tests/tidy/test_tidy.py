"""Each violation, planted into a small clean tree, is found; and nothing else is."""

import os
import shutil
import stat
from pathlib import Path

import pytest
import tidy

CLEAN = {
    "meson.build": "executable('x', 'base/good.c', 'codec/good.c', 'dataplane/lane.c',\n"
                   "  'control/good.c', 'cmd/main.c', 'tests/unit/good.c')\n",
    "include/salvo.h": "/* Public. */\n#pragma once\n\n#include <stdint.h>\n",
    "base/good.h": "/* Small. */\n#pragma once\n",
    "base/good.c": '/* Small. */\n#include "base/good.h"\n\n'
                   "int good(void)\n{\n    return 0; /* malloc() is not called */\n}\n",
    "codec/good.h": '/* Bytes. */\n#pragma once\n\n#include "base/good.h"\n',
    "codec/good.c": '/* Bytes. */\n#include "codec/good.h"\n\nconst char *text = "free(x)";\n',
    "dataplane/lane.h": '/* Lanes. */\n#pragma once\n\n#include "codec/good.h"\n'
                        '#include "include/salvo.h"\n',
    "dataplane/lane.c": '/* Lanes. */\n#include "dataplane/lane.h"\n',
    "dataplane/net.h": "/* Backends. */\n#pragma once\n",
    "control/good.c": '/* Control. */\n#include "dataplane/lane.h"\n#include "dataplane/net.h"\n',
    "cmd/main.c": '/* Main. */\n#include "dataplane/lane.h"\n',
    "tests/unit/good.c": '/* Tests. */\n#include "dataplane/lane.h"\n',
    "docs/HOW.md": "How to run `deploy/start`.\n",
    "deploy/start": "#!/bin/sh\n# See docs/HOW.md.\necho start\n",
    "README.md": "See [how](docs/HOW.md).\n",
}


@pytest.fixture(name="plant")
def plant_fixture(tmp_path):
    """plant({path: text}) writes the clean tree with these files over it and gives the findings."""
    def plant(files, exceptions=(), **arguments):
        shutil.copy(Path(__file__).parents[2] / ".clang-format", tmp_path)
        for path, text in {**CLEAN, **files}.items():
            full = tmp_path / path
            full.parent.mkdir(parents=True, exist_ok=True)
            full.write_text(text, encoding="utf-8")
            if text.startswith("#!"):
                full.chmod(full.stat().st_mode | stat.S_IXUSR)
        return tidy.run(tmp_path, exceptions=exceptions, **arguments)
    return plant


def built(*paths):
    """A meson.build that names these sources besides the clean ones."""
    names = ", ".join(f"'{p}'" for p in paths)
    return {"meson.build": CLEAN["meson.build"] + f"more = files({names})\n"}


def source(path, body):
    """A source file with `body`, known to meson."""
    return {path: f"/* Planted. */\n{body}", **built(path)}


def call(path, statement):
    return source(path, f"void planted(void)\n{{\n    {statement};\n}}\n")


def only(findings, rule, path, part=""):
    assert [(f.rule, f.path) for f in findings] == [(rule, path)], [str(f) for f in findings]
    assert part in findings[0].text, str(findings[0])
    return findings[0]


def test_a_clean_tree_has_no_findings(plant):
    assert [str(f) for f in plant({})] == []


UPWARDS = [
    ("base/up.c", "codec/good.h"),
    ("codec/up.c", "dataplane/net.h"),
    ("codec/up.c", "include/salvo.h"),
    ("dataplane/up.c", "control/up.h"),
    ("dataplane/tcp/up.c", "codec/good.h"),
    ("dataplane/tcp/up.c", "dataplane/net.h"),
    ("control/up.c", "mock/up.h"),
    ("mock/up.c", "dataplane/lane.h"),
    ("mock/up.c", "control/up.h"),
    ("bench/up.c", "control/up.h"),
    ("bench/up.c", "dataplane/lane.h"),
    ("gateway/up.c", "control/up.h"),
]


@pytest.mark.parametrize("path,target", UPWARDS)
def test_an_include_upwards_is_found(plant, path, target):
    more = {}
    if target not in CLEAN:
        more = {target: "/* Above. */\n#pragma once\n"}
    findings = plant({**source(path, f'#include "{target}"\n'), **more})
    assert only(findings, "layers", path, target).line == 2


def test_an_include_from_the_public_header_is_found(plant):
    text = CLEAN["include/salvo.h"] + '#include "base/good.h"\n'
    only(plant({"include/salvo.h": text}), "layers", "include/salvo.h")


def test_an_include_not_from_the_root_is_found(plant):
    only(plant(source("base/near.c", '#include "good.h"\n')), "layers", "base/near.c", "root")


def test_an_include_of_a_missing_file_is_found(plant):
    only(plant(source("base/near.c", '#include "base/none.h"\n')), "layers", "base/near.c",
         "no such file")


def test_ours_in_angle_brackets_is_found(plant):
    only(plant(source("base/near.c", "#include <base/good.h>\n")), "layers", "base/near.c")


def test_an_example_that_sees_more_than_the_public_header_is_found(plant):
    only(plant(source("docs/examples/a.c", '#include "base/good.h"\n')), "layers",
         "docs/examples/a.c")


def test_a_folder_without_a_layer_is_found(plant):
    only(plant(source("util/drawer.c", "int x;\n")), "layers", "util/drawer.c", "no layer")


def test_an_include_inside_a_comment_is_none(plant):
    text = '/* Example:\n#include "control/x.h"\n */\nint x;\n'
    assert plant({"base/near.c": text, **built("base/near.c")}) == []


CALLS = [
    ("codec/a.c", "clock_gettime(0, 0)"),
    ("codec/a.c", "salvo_clock_now(0)"),
    ("codec/a.c", "send(1, 0, 0, 0)"),
    ("codec/a.c", "read(1, 0, 0)"),
    ("codec/a.c", "malloc(1)"),
    ("codec/a.c", "salvo_log_write(0)"),
    ("codec/a.c", "fprintf(0, 0)"),
    ("dataplane/tcp/a.c", "free(0)"),
    ("dataplane/tcp/a.c", "gettimeofday(0, 0)"),
    ("dataplane/tcp/a.c", "socket(0, 0, 0)"),
    ("dataplane/lane_x.c", "malloc(1)"),
    ("dataplane/lane_x.c", "dprintf(2, 0)"),
    ("dataplane/lane_x.c", "salvo_log_write(0)"),
    ("dataplane/conn.c", "usleep(1)"),
    ("dataplane/inflight.c", "realloc(0, 1)"),
    ("dataplane/batch.c", "free(0)"),
    ("dataplane/select.c", "calloc(1, 1)"),
    ("dataplane/chunk.c", "posix_memalign(0, 0, 0)"),
    ("dataplane/ring.c", "sched_yield()"),
    ("dataplane/retry.c", "poll(0, 0, 0)"),
    ("dataplane/lane_x.c", "send(1, 0, 0, 0)"),
    ("dataplane/net_x.c", "rte_eal_init(0, 0)"),
    ("dataplane/net_epoll.c", "io_uring_submit(0)"),
    ("dataplane/lane_x.c", "pthread_mutex_lock(0)"),
    ("bench/a.c", "pthread_create(0, 0, 0, 0)"),
    ("control/a.c", "clock_gettime(0, 0)"),
    ("mock/a.c", "exit(1)"),
    ("control/a.c", "_exit(1)"),
    ("base/a.c", "signal(1, 0)"),
    ("control/a.c", "abort()"),
    ("control/a.c", "printf(0)"),
    ("mock/a.c", "rand()"),
    ("cmd/a.c", "strcpy(0, 0)"),
    ("bench/a.c", "sprintf(0, 0)"),
    ("cmd/a.c", "strcat(0, 0)"),
    ("cmd/a.c", "gmtime(0)"),
    ("cmd/a.c", "strtok(0, 0)"),
    ("cmd/a.c", "atoi(0)"),
    ("cmd/a.c", "alloca(1)"),
    ("tests/unit/a.c", "alloca(1)"),
    ("cmd/a.c", "system(0)"),
    ("cmd/a.c", "sscanf(0, 0)"),
    ("base/a.c", "assert(1)"),
]


@pytest.mark.parametrize("path,statement", CALLS)
def test_a_forbidden_call_is_found(plant, path, statement):
    finding = plant(call(path, statement))
    name = statement.split("(")[0].strip() + "()"
    assert {(f.rule, f.path, f.line) for f in finding} == {("forbidden", path, 4)}, finding
    assert any(f.text.startswith(name) for f in finding)


def test_work_inside_a_macro_that_evaluates_twice_is_found(plant):
    for good in ("SALVO_MAX(r, 0)", "SALVO_MAX(a(1), 0);\n    x_do_work(2)"):
        assert [str(f) for f in plant(call("bench/a.c", good))] == []
    findings = plant(call("bench/a.c", "SALVO_MAX(x_do_work(a(1)), 0)"))
    assert [(f.rule, f.path, f.line) for f in findings] == [("forbidden", "bench/a.c", 4)]


@pytest.mark.parametrize("path,statement", [
    ("codec/compress_x.c", "malloc(1)"),
    ("dataplane/net_uring_x.c", "io_uring_submit(0)"),
    ("dataplane/net_dpdk.c", "rte_eal_init(0, 0)"),
    ("base/cpu.c", "pthread_create(0, 0, 0, 0)"),
    ("mock/mock.c", "pthread_create(0, 0, 0, 0)"),
    ("base/clock.c", "clock_gettime(0, 0)"),
    ("base/assert.c", "abort()"),
    ("cmd/a.c", "exit(1)"),
    ("cmd/a.c", "gmtime_r(0, 0)"),
    ("codec/a.c", "conn->send(0)"),
    ("codec/a.c", "table.free(0)"),
    ("dataplane/lane_x.c", "chunk_free(0)"),
])
def test_a_call_where_it_belongs_is_none(plant, path, statement):
    assert [str(f) for f in plant(call(path, statement))] == []


def test_a_call_in_a_comment_or_a_string_is_none(plant):
    body = "/* calls malloc(1) */\nconst char *t = \"exit(1)\"; // free(t)\nint c = '\"';\n"
    assert [str(f) for f in plant(source("codec/a.c", body))] == []


LAYOUT = [
    ("base/a.c", "/* A. */\nint x; \n", "trailing"),
    ("base/a.c", "/* A.\t*/\nint x;\n", "tab"),
    ("base/a.c", "/* A. */\nint x;", "newline"),
    ("base/a.c", "/* A. */\nint x;\n\n", "empty line"),
    ("base/a.c", "/* A. */\r\nint x;\n", "carriage"),
    ("base/a.c", "/* A. */\n/* " + "x" * 95 + " */\n", "columns"),
    ("base/a.c", "int x;\n", "comment at the top"),
]


@pytest.mark.parametrize("path,text,part", LAYOUT)
def test_bad_layout_is_found(plant, path, text, part):
    checks = [c for c in tidy.CHECKS if c != "format"]
    only(plant({path: text, **built(path)}, checks=checks), "text", path, part)


def test_a_header_without_pragma_once_is_found(plant):
    text = "/* Small. */\nint small;\n"
    only(plant({"base/good.h": text}), "text", "base/good.h", "pragma")


def test_a_long_line_of_prose_is_none(plant):
    assert plant({"docs/HOW.md": "How to run `deploy/start`, " + "word " * 30 + "end.\n"}) == []


LEFT = "TODO"


@pytest.mark.parametrize("comment,wrong", [
    (LEFT, True),
    (LEFT + " later", True),
    (LEFT + ": later", True),
    ("FIXME: x", True),
    ("HACK", True),
    ("XXX", True),
    (LEFT + ": the kernel of Debian 13 makes this needless", False),
])
def test_leftover_words_need_a_reason(plant, comment, wrong):
    findings = plant(source("base/a.c", f"/* {comment} */\nint x;\n"))
    assert [f.rule for f in findings] == (["words"] if wrong else [])


@pytest.mark.parametrize("text,wrong", [
    ("https://packages.inside.corp/simple", True),
    ("http://10.1.2.3:8081/repository", True),
    ("https://rocketmq.apache.org/docs", False),
    ("http://127.0.0.1:9876/", False),
    ("http://example.com/a", False),
    ("built in /root/salvo", True),
    ("see /home/someone/x", True),
    ("$prefix/root/x", False),
])
def test_hosts_and_paths_of_one_machine_are_found(plant, text, wrong):
    findings = plant({"docs/HOW.md": f"How to run `deploy/start`: {text}\n"})
    assert [f.rule for f in findings] == (["words"] if wrong else [])


SLEEPS = [
    ("tests/unit/good.c", '/* Tests. */\n#include "dataplane/lane.h"\n\n'
                          "void wait(void)\n{\n    usleep(10);\n}\n"),
    ("tests/e2e/test_a.py", "import time\n\ntime.sleep(1)\n"),
    ("tests/e2e/java/A.java", "class A { void a() { Thread.sleep(1); } }\n"),
    ("tests/start", "#!/bin/sh\nwhile true; do sleep 1; done\n"),
]


@pytest.mark.parametrize("path,text", SLEEPS)
def test_a_test_that_sleeps_is_found(plant, path, text):
    named = {"README.md": "docs/HOW.md tests/start A\n"}
    only(plant({path: text, **named}), "sleeps", path)


def test_sleeping_outside_of_tests_is_none(plant):
    assert plant(call("cmd/a.c", "usleep(10)")) == []


DEAD = [
    ("base/alone.c", "/* Alone. */\nint x;\n"),
    ("base/alone.h", "/* Alone. */\n#pragma once\n"),
    ("base/alone.def", "ROW(a)\n"),
    ("deploy/alone", "#!/bin/sh\necho\n"),
    ("deploy/alone.sh", "echo\n"),
    ("tests/alone.py", "print()\n"),
    ("docs/ALONE.md", "Alone.\n"),
    ("tests/e2e/java/Alone.java", "class Alone { }\n"),
]


@pytest.mark.parametrize("path,text", DEAD)
def test_a_file_that_nothing_uses_is_found(plant, path, text):
    only(plant({path: text}), "dead", path)


def test_a_source_named_from_another_folder_is_dead(plant):
    more = {"base/meson.build": "files('alone.c')\n",
            "base/alone.c": "/* A. */\nint x;\n", "codec/alone.c": "/* A. */\nint x;\n"}
    only(plant(more), "dead", "codec/alone.c")


def test_a_source_that_only_a_comment_of_meson_names_is_dead(plant):
    more = {"base/meson.build": "# files('alone.c')\n", "base/alone.c": "/* A. */\nint x;\n"}
    only(plant(more), "dead", "base/alone.c")


def test_unformatted_source_is_found(plant):
    only(plant(source("base/a.c", "int   x;\n")), "format", "base/a.c")


def test_a_function_that_is_too_long_is_found(plant):
    body = "void a(void)\n{\n" + "    a();\n" * 99 + "}\n"
    only(plant(source("base/a.c", body)), "size", "base/a.c", "101 lines")


def test_a_long_function_within_the_limit_is_none(plant):
    body = "void a(void)\n{\n" + "    a();\n" * 98 + "}\n"
    assert plant(source("base/a.c", body)) == []


def test_a_file_that_is_too_long_is_a_warning(plant):
    finding = only(plant(source("base/a.c", "extern int x;\n" * 800)), "size", "base/a.c")
    assert finding.warning


def test_an_exception_covers_its_rule_and_path_only(plant):
    planted = call("cmd/a.c", "atoi(0)")
    assert plant(planted, exceptions=[("cmd/a.c", "forbidden", "because")]) == []
    assert plant(planted, exceptions=[("cmd/*.c", "forbidden", "because")]) == []
    findings = plant(planted, exceptions=[("cmd/b.c", "forbidden", "because")])
    assert [f.path for f in findings] == ["cmd/a.c", "cmd/b.c"]
    assert "not needed" in findings[1].text


@pytest.fixture(name="generator")
def generator_fixture(tmp_path_factory):
    path = tmp_path_factory.mktemp("built") / "generate"
    path.write_text('#!/bin/sh\ncase "$1" in "") echo counters;; counters) echo one;; esac\n')
    path.chmod(0o755)
    return str(path)


def test_a_fresh_document_is_none(plant, generator):
    files = {"docs/COUNTERS.md": "one\n", "README.md": "docs/HOW.md docs/COUNTERS.md\n"}
    assert plant(files, generator=generator) == []


def test_a_stale_document_is_found_and_written(plant, generator, tmp_path):
    files = {"docs/COUNTERS.md": "two\n", "README.md": "docs/HOW.md docs/COUNTERS.md\n"}
    only(plant(files, generator=generator), "generated", "docs/COUNTERS.md", "stale")
    assert plant(files, generator=generator, write=True) == []
    assert (tmp_path / "docs/COUNTERS.md").read_text() == "one\n"


def test_a_missing_document_is_found(plant, generator):
    only(plant({}, generator=generator), "generated", "docs/COUNTERS.md", "missing")


def test_a_document_that_is_generated_no_more_is_found(plant, generator):
    files = {"docs/COUNTERS.md": "one\n", "docs/CONFIG.md": "x\n",
             "README.md": "docs/HOW.md docs/COUNTERS.md docs/CONFIG.md\n"}
    only(plant(files, generator=generator), "generated", "docs/CONFIG.md", "knows no")


def test_build_folders_are_not_looked_at(plant):
    assert plant({"build/x.c": "int x;\t", "build-gcc/y.c": "int y;\t"}) == []


def test_the_real_tree_says_why_for_each_exception():
    for path, rule, reason in tidy.EXCEPTIONS:
        assert rule in tidy.CHECKS, path
        assert len(reason.split()) >= 4, path
    assert os.path.isdir(os.path.dirname(tidy.__file__))
