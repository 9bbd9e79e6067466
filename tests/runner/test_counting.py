"""What the runners leave behind is counted by the case, and no way to fail is counted as none."""

import json
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import counting  # noqa: E402


def test_tap_counts_cases():
    counts = counting.tap("ring", "1..3\nok 1 - a\nnot ok 2 - b\nwhy\nok 3 # SKIP c\n", 1)
    assert (counts.passed, counts.failures, counts.skips) == (1, ["ring: b"], ["ring: : c"])


def test_a_skip_without_a_reason_takes_the_line_before():
    counts = counting.tap("net", "1..1\nnet_uring: refused here\nok 1 - a # SKIP\n", 0)
    assert counts.skips == ["net: a: net_uring: refused here"]


def test_two_groups_in_one_program_are_added():
    counts = counting.tap("x", "1..1\nok 1 - a\n# ok\n1..1\nok 1 - b\n", 0)
    assert str(counts) == "2 passed, 0 failed"


@pytest.mark.parametrize("text,code,part", [
    ("", 1, "ended with 1"),
    ("", -11, "ended with -11"),
    ("1..3\nok 1 - a\n", -6, "2 of 3 cases did not run"),
    ("1..3\nok 1 - a\n", 0, "2 of 3 cases did not run"),
    ("1..1\nok 1 - a\n", 1, "after its last case"),
])
def test_a_program_that_ends_badly_is_a_failure(text, code, part):
    counts = counting.tap("x", text, code)
    assert counts.failed == 1 and part in counts.failures[0]


def test_a_program_without_cases_is_one():
    assert str(counting.tap("x", "fine\n", 0)) == "1 passed, 0 failed"


def test_a_program_without_cases_that_counts_is_counted_so():
    assert str(counting.tap("x", "b.pkt: wrong\n7 passed, 1 failed\n", 1)) == "7 passed, 1 failed"


def row(**values):
    return json.dumps({"name": "x", "stdout": "", "stderr": "", "result": "OK",
                       "returncode": 0, **values}) + "\n"


def test_meson_adds_programs_up():
    log = row(stdout="1..2\nok 1 - a\nok 2 - b\n") + row() \
        + row(result="SKIP", returncode=77, stdout="no io_uring\n") \
        + row(result="TIMEOUT", returncode=-15, stdout="1..2\nok 1 - a\n", stderr="stuck") \
        + row(result="FAIL", returncode=1)
    counts, outputs = counting.meson(log)
    assert str(counts) == "4 passed, 2 failed, 1 skipped"
    assert counts.skips == ["x: no io_uring"]
    assert len(outputs) == 2 and "stuck" in outputs[0][1]


def test_a_failed_meson_test_whose_cases_all_passed_is_a_failure():
    counts, _ = counting.meson(row(result="TIMEOUT", stdout="1..1\nok 1 - a\n"))
    assert (counts.passed, counts.failures) == (1, ["x: timeout"])


def test_pytest_reports():
    counts = counting.pytest(
        '<testsuites><testsuite><testcase classname="m" name="a"/>'
        '<testcase classname="m" name="b"><failure message="at 3&#10;1 == 2"/></testcase>'
        '<testcase classname="m" name="c"><error/></testcase>'
        '<testcase classname="m" name="d"><skipped message="why"/></testcase>'
        "</testsuite></testsuites>")
    assert (str(counts), counts.skips) == ("1 passed, 2 failed, 1 skipped", ["m: d: why"])
    assert counts.failures == ["m: b: at 3", "m: c: no reason given"]


@pytest.mark.parametrize("text,code,expected", [
    ("noise\n3 passed, 0 failed\n", 0, "3 passed, 0 failed"),
    ("tidy: 3 passed, 2 failed\n", 1, "3 passed, 2 failed"),
    ("3 passed, 1 failed, 2 skipped\n", 1, "3 passed, 1 failed, 2 skipped"),
    ("3 passed, 0 failed\n", 1, "3 passed, 1 failed"),
    ("seeds 1 to 9: 8 passed, 1 failed\n", 1, "8 passed, 1 failed"),
    ("12 inputs replayed, 0 failed\n", 0, "12 passed, 0 failed"),
    ("40 seeds from 1, 107352 messages, 11.3 s (3.5 seeds a second), 2 failed\n", 1,
     "38 passed, 2 failed"),
    ("40 seeds from 1, 9 messages, 1.0 s (40.0 seeds a second), 0 failed, 8 cells of the table are"
     " empty\n", 1, "40 passed, 1 failed"),
    ("3 passed, 0 failed\nand more\n", 0, "0 passed, 1 failed"),
    ("", 0, "0 passed, 1 failed"),
])
def test_scripts_end_with_their_counts(text, code, expected):
    assert str(counting.last_line("s", text, code)) == expected
