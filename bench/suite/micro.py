"""Nanoseconds of single operations: the Google Benchmark programs in build/bench/micro."""

import os
import re

from . import programs

# What was promised: (row, which benchmark it is, ns at most). Of several repetitions the smallest
# counts: on a shared machine the others measure the others. CPU time, but for two threads, where
# one waits for the other. A benchmark that counts items gives ns per item.
PROMISED = (
    ("ring, 8 bytes, burst 8", r"^ring_8_bytes_burst_8/two_threads", 3),
    ("ring, 128-byte slot to the other core", r"^ring_128_bytes_wake_check/two_threads", 40),
    ("send header", r"^template/binary/62$", 20),
    ("1 KB frame with its copy", r"^frame_1k/binary/62$", 80),
    ("send response, binary", r"^answer/binary$", 40),
    ("send response, JSON", r"^answer/json$", 40),
    ("inflight, register and complete", r"^inflight_register_complete/in_order$", 15),
    ("inflight, random, 65536 open", r"^inflight_register_complete/random_65536_open$", 40),
)
TO_NS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}


def _programs(plan):
    folder = plan.build / "bench" / "micro"
    found = sorted(folder.glob("micro_*")) if folder.is_dir() else []
    return [each for each in found if each.is_file() and os.access(each, os.X_OK)]


def _measure(plan, program, pattern):
    """{benchmark: smallest ns} of one program, only what `pattern` finds."""
    names = programs.run([str(program), "--benchmark_list_tests"]).split("\n")
    wanted = [each for each in names if re.search(pattern, each)]
    if not wanted:
        return {}
    text = programs.run([str(program), "--benchmark_format=json",
                         "--benchmark_filter=" + "|".join(f"^{re.escape(n)}$" for n in wanted),
                         f"--benchmark_repetitions={plan.micro_repeats}",
                         f"--benchmark_min_time={plan.micro_seconds}"])
    best = {}
    for each in programs.last_json(text)["benchmarks"]:
        if each.get("run_type") == "aggregate":
            continue
        name = each.get("run_name", each["name"])
        time = "real_time" if name.endswith("/real_time") else "cpu_time"
        ns = each[time] * TO_NS[each["time_unit"]]
        if "items_per_second" in each:
            ns = 1e9 / each["items_per_second"]
        best[name] = min(ns, best.get(name, ns))
    return best


def run(plan, report):
    pattern = "|".join(f"(?:{each})" for _, each, _ in PROMISED)
    best = {}
    for program in _programs(plan):
        best.update(_measure(plan, program, pattern))
    for row, wanted, target in PROMISED:
        found = sorted((ns, name) for name, ns in best.items() if re.search(wanted, name))
        if not found:
            report.add("micro", row, None, f"<= {target} ns",
                       detail="no such benchmark in this build")
            continue
        ns, name = found[0]
        report.add("micro", row, f"{ns:.1f} ns", f"<= {target} ns", ns <= target,
                   ratio=ns / target, detail=name, figures={"ns": ns})
