"""Counts of single test cases out of what each kind of runner leaves behind."""

import json
import re
import xml.etree.ElementTree

TAP_CASE = re.compile(r"^(not ok|ok) \d+(?: - |\s+)?([^#\n]*)(?:#\s*(SKIP|skip)\b[ \t]*(.*))?$")
TAP_PLAN = re.compile(r"^1\.\.(\d+)")
PASSED = re.compile(r"^(?:.*: )?(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$")
REPLAYED = re.compile(r"^(\d+) inputs replayed, (\d+) failed$")
SEEDS = re.compile(r"^(\d+) seeds from .*, (\d+) failed(, \d+ cells? of the table .* empty)?$")


class Counts:
    """Passed, failed and skipped cases. `failures` and `skips` are lines to print."""

    def __init__(self, passed=0, failures=(), skips=()):
        self.passed = passed
        self.failures = list(failures)
        self.skips = list(skips)

    @property
    def failed(self):
        return len(self.failures)

    @property
    def skipped(self):
        return len(self.skips)

    def __iadd__(self, other):
        self.passed += other.passed
        self.failures += other.failures
        self.skips += other.skips
        return self

    def __str__(self):
        tail = f", {self.skipped} skipped" if self.skips else ""
        return f"{self.passed} passed, {self.failed} failed{tail}"


def tap(name, text, returncode=0):
    """Cases of one program that printed TAP (cmocka does, when told to). One that printed its
    counts as the last line is counted by that, one that printed neither is one case. One that
    died, or printed fewer cases than it planned, has a failure more."""
    counts, planned, seen, before = Counts(), 0, 0, ""
    for line in text.splitlines():
        plan = TAP_PLAN.match(line)
        case = TAP_CASE.match(line)
        if plan:
            planned += int(plan.group(1))
        elif case:
            seen += 1
            label = f"{name}: {case.group(2).strip()}"
            if case.group(3):
                reason = case.group(4).strip() or before
                counts.skips.append(f"{label}: {reason or 'no reason given'}")
            elif case.group(1) == "ok":
                counts.passed += 1
            else:
                counts.failures.append(label)
        if not case and line.strip() and not line.startswith("#"):
            before = line.strip()
    if planned == 0 and seen == 0:
        spoken = last_line(name, text, returncode, required=False)
        if spoken is not None:
            counts = spoken
        elif returncode == 0:
            counts.passed = 1
        else:
            counts.failures.append(f"{name}: ended with {returncode}")
    elif seen < planned:
        counts.failures.append(f"{name}: {planned - seen} of {planned} cases did not run"
                               f" (ended with {returncode})")
    elif returncode != 0 and not counts.failures:
        counts.failures.append(f"{name}: ended with {returncode} after its last case")
    return counts


def meson(testlog_json):
    """(Counts, [(name, output of a test with failures)]) from meson-logs/testlog.json."""
    counts, outputs = Counts(), []
    for line in testlog_json.splitlines():
        test = json.loads(line)
        said = (test.get("stdout") or "") + (test.get("stderr") or "")
        if test["result"] == "SKIP":
            reason = said.strip().splitlines()
            one = Counts(skips=[f"{test['name']}: {reason[-1] if reason else 'no reason given'}"])
        else:
            one = tap(test["name"], test.get("stdout") or "", test["returncode"])
            if test["result"] not in ("OK", "EXPECTEDFAIL") and not one.failures:
                one.failures.append(f"{test['name']}: {test['result'].lower()}")
        counts += one
        if one.failures:
            outputs.append((test["name"], said))
    return counts, outputs


def pytest(junit_xml):
    """From pytest's --junitxml. What failed says how: the last lines of a run may be all that is
    kept of it."""
    counts = Counts()
    for case in xml.etree.ElementTree.fromstring(junit_xml).iter("testcase"):
        label = f"{case.get('classname')}: {case.get('name')}"
        skipped = case.find("skipped")
        broken = next((child for child in case if child.tag in ("failure", "error")), None)
        if broken is not None:
            why = (broken.get("message") or "no reason given").splitlines()[0]
            counts.failures.append(f"{label}: {why[:300]}")
        elif skipped is not None:
            counts.skips.append(f"{label}: {skipped.get('message')}")
        else:
            counts.passed += 1
    return counts


def last_line(name, text, returncode, required=True):
    """From a program of ours whose last line has its counts. Without one: a failure, or None when
    it is not required."""
    lines = text.strip().splitlines()
    last = lines[-1].strip() if lines else ""
    match = PASSED.match(last) or REPLAYED.match(last)
    seeds = SEEDS.match(last)
    if match:
        passed, failed = int(match.group(1)), int(match.group(2))
        skipped = int(match.group(3) or 0) if match.re is PASSED else 0
    elif seeds:
        passed, failed = int(seeds.group(1)) - int(seeds.group(2)), int(seeds.group(2))
        skipped = 0
    elif required:
        return Counts(failures=[f"{name}: did not end with its counts (ended with {returncode})"])
    else:
        return None
    if returncode != 0 and failed == 0:
        failed = 1
    return Counts(passed, [f"{name}: see above"] * failed, [f"{name}: see above"] * skipped)
