"""Rows, and the report they make: text, JSON and markdown from the same rows."""

import json
import os
import statistics
import time
from pathlib import Path

from . import programs

COLUMNS = ("section", "row", "value", "target", "beside", "ratio", "verdict", "detail")


class Runs:
    """Several runs of one thing: medians, and how far they lay apart."""

    def __init__(self):
        self._values = {}
        self._why_not = []  # a run's invalid_reasons; [] when it was valid

    def add(self, invalid_reasons=(), **figures):
        self._why_not.append(list(invalid_reasons))
        for name, value in figures.items():
            self._values.setdefault(name, []).append(value)

    def valid(self):
        return [not each for each in self._why_not]

    def usable(self):
        """Whether more than half of the runs were valid: these are what is judged."""
        return sum(self.valid()) * 2 > len(self._why_not)

    def why_not(self):
        """What was wrong with those that were not valid; "" when all were."""
        reasons = sorted({reason for each in self._why_not for reason in each})
        bad = self.valid().count(False)
        return f"{bad} of {len(self._why_not)} rounds invalid: {'; '.join(reasons)}" if bad else ""

    def _judged(self, name):
        """The valid ones; all of them, for the row that says so, when too few were."""
        values = self._values[name]
        if not self.usable():
            return values
        return [value for value, good in zip(values, self.valid()) if good]

    def median(self, name):
        return statistics.median(self._judged(name))

    def spread(self, name):
        return min(self._judged(name)), max(self._judged(name))

    def all(self):
        return self._values


def ratios(one, other, name):
    """Of runs that were made in turn: round by round, where both runs were valid."""
    pairs = zip(one.all()[name], other.all()[name], one.valid(), other.valid())
    return [a / b for a, b, good, other_good in pairs if b and good and other_good]


def number(value):
    """1234567 -> '1.23 M': three digits are more than such a machine is good for."""
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}" if value / limit < 100 else \
                f"{value / limit:.0f}{unit}"
    return f"{value:.3g}"


def _read(path):
    return Path(path).read_text(encoding="utf-8")


def machine():
    lines = _read("/proc/cpuinfo").splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines
                  if line.startswith("model name")), "unknown")
    kib = int(next(line for line in _read("/proc/meminfo").splitlines()
                   if line.startswith("MemTotal")).split()[1])
    return {"model": model, "cores": os.cpu_count(), "kernel": os.uname().release,
            "memory_gib": round(kib / 2**20, 1)}


class Report:
    def __init__(self, plan):
        self.plan = plan
        self.rows = []
        self.failures = []
        self.settings = {"quick": plan.quick}
        self.build = {"program": programs.run([str(plan.build / "salvo"), "--version"]).strip()}
        self.machine = machine()
        self.load_before = os.getloadavg()
        self.load_after = None
        self.seconds = None
        self.started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

    def add(self, section, row, value, target="", met=None, beside="", ratio=None, detail="",
            figures=None, valid=True):
        """met: True, False, or None where nothing was promised. value None: not measured. What was
        measured by invalid runs is shown, and never judged."""
        verdict = "" if met is None else "met" if met else "missed"
        if not valid:
            verdict = "invalid"
        if value is None:
            verdict, value = "not measured", ""
        self.rows.append({
            "section": section, "row": row, "value": value, "target": target, "beside": beside,
            "ratio": ratio, "verdict": verdict, "detail": detail, "figures": figures or {},
            "load_average": os.getloadavg()[0]})

    def note_build(self, load_report):
        """What a report of `salvo load` says about its build."""
        self.build.update(load_report["build"])

    def finish(self, seconds):
        self.seconds = seconds
        self.load_after = os.getloadavg()

    def json(self):
        return json.dumps({
            "started": self.started, "seconds": self.seconds, "machine": self.machine,
            "build": self.build, "settings": self.settings, "load_before": self.load_before,
            "load_after": self.load_after, "failures": self.failures, "rows": self.rows,
        }, indent=2) + "\n"

    def _head(self):
        m = self.machine
        yield (f"{m['model']}, {m['cores']} cores, {m['memory_gib']} GiB, Linux {m['kernel']}, "
               f"{self.started}")
        yield "build: " + ", ".join(str(value) for value in self.build.values())
        yield (f"load average {self.load_before[0]:.1f} before, {self.load_after[0]:.1f} after; "
               f"{self.seconds:.0f} s" + ("; --quick: the figures mean nothing"
                                          if self.plan.quick else ""))
        for name, value in self.settings.items():
            if name != "quick":
                yield f"{name}: {value}"

    def _cells(self):
        for row in self.rows:
            ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
            yield [row["section"], row["row"], str(row["value"]), row["target"],
                   str(row["beside"]), ratio, row["verdict"], row["detail"]]

    def _counts(self):
        verdicts = [row["verdict"] for row in self.rows]
        counts = ", ".join(f"{verdicts.count(each)} {each}"
                           for each in ("met", "missed", "invalid", "not measured"))
        return counts + (", and rows that are missing: " if self.failures else "") + \
            ", ".join(each.partition(":")[0] + " failed" for each in self.failures)

    def text(self):
        cells = [list(COLUMNS), *self._cells()]
        widths = [max(len(row[i]) for row in cells) for i in range(len(COLUMNS))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
                 for row in cells]
        return "\n".join([*self._head(), "", *lines, "", self._counts(),
                          *("FAILED " + each for each in self.failures)]) + "\n"

    def markdown(self):
        lines = [f"* {line}" for line in self._head()]
        lines += ["", "| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
        lines += ["| " + " | ".join(cell.replace("|", "/") for cell in row) + " |"
                  for row in self._cells()]
        return "\n".join([*lines, "", self._counts(),
                          *("* failed: " + each for each in self.failures)]) + "\n"
