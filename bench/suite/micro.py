"""Nanoseconds of single operations: the Google Benchmark programs in build/bench/micro, and
tcp_stack there."""

import operator
import os
import re
import statistics

from . import programs

# (row, which benchmark it is, ns at most). Of several repetitions the smallest counts: on a shared
# machine the others measure the others. The rows' repetitions take turns: a virtual machine has its
# cores near to each other or apart for seconds on end, and a line's way is 35 or 175 ns with that.
# CPU time, but for two threads, where one waits for the other. A benchmark that counts items gives
# ns per item. Without a limit: shown beside, not judged.
OPERATIONS = (
    ("ring, 8 bytes, burst 8", r"^ring_8_bytes_burst_8/two_threads(/real_time)?$", 3),
    ("ring, 128-byte slot to the other core",
     r"^ring_128_bytes_wake_check/two_threads(/real_time)?$", 40),
    ("ring, 128-byte slot, its reader does nothing but look",
     r"^ring_128_bytes_wake_check/two_threads_hammered", None),
    ("send header", r"^template/binary/62$", 20),
    ("1 KB frame with its copy", r"^frame_1k/binary/62$", 80),
    ("send response, binary", r"^answer/binary$", 40),
    ("send response, JSON", r"^answer/json$", 40),
    ("inflight, register and complete", r"^inflight_register_complete/in_order$", 15),
    ("inflight, random, 65536 open", r"^inflight_register_complete/random_65536_open$", 40),
)
# A segment of salvo's own TCP with SACK, each at its worst number of segments in flight: least ns,
# and the ratio to the row of 32, which is a median.
SEGMENT_NS_MAX = 180
SEGMENT_RATIO_MAX = 1.1
SEGMENT_GBIT_MIN = 60
TO_NS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}


def _programs(plan):
    folder = plan.build / "bench" / "micro"
    found = sorted(folder.glob("micro_*")) if folder.is_dir() else []
    return [each for each in found if each.is_file() and os.access(each, os.X_OK)]


def _measure(plan, program, pattern):
    """{benchmark: ns of each repetition, the smallest first} of one program, only what `pattern`
    finds."""
    names = programs.run([str(program), "--benchmark_list_tests"]).split("\n")
    wanted = [each for each in names if re.search(pattern, each)]
    if not wanted:
        return {}
    text = programs.run([str(program), "--benchmark_format=json",
                         "--benchmark_filter=" + "|".join(f"^{re.escape(n)}$" for n in wanted),
                         f"--benchmark_repetitions={plan.micro_repeats}",
                         "--benchmark_enable_random_interleaving=true",
                         f"--benchmark_min_time={plan.micro_seconds}"])
    found = {}
    for each in programs.last_json(text)["benchmarks"]:
        if each.get("run_type") == "aggregate":
            continue
        name = each.get("run_name", each["name"])
        time = "real_time" if name.endswith("/real_time") else "cpu_time"
        ns = each[time] * TO_NS[each["time_unit"]]
        if "items_per_second" in each:
            ns = 1e9 / each["items_per_second"]
        found.setdefault(name, []).append(ns)
    return {name: sorted(each) for name, each in found.items()}


def _tcp_rows(plan):
    """[(in flight, ns, ratio to the row of 32, Gbit/s)] of the rows with SACK."""
    program = plan.build / "bench" / "micro" / "tcp_stack"
    if not program.is_file():
        return []
    lines = programs.run([str(program), str(plan.micro_repeats)]).split("\n")
    rows = [line.split() for line in lines if line.startswith("sack")]
    return [(int(row[1]), float(row[2]), float(row[6]), float(row[4])) for row in rows]


def _tcp(plan, report):
    rows = _tcp_rows(plan)
    promised = (
        ("TCP segment with SACK", 1, max, "<= {} ns", SEGMENT_NS_MAX, "{:.1f} ns"),
        ("TCP segment, 32 to 4096 in flight", 2, max, "<= {} of 32", SEGMENT_RATIO_MAX, "{:.3f}"),
        ("TCP payload per core", 3, min, ">= {} Gbit/s", SEGMENT_GBIT_MIN, "{:.1f} Gbit/s"),
    )
    for row, column, worst, target, limit, form in promised:
        if not rows:
            report.add("micro", row, None, target.format(limit), detail="not in this build")
            continue
        found = worst(rows, key=operator.itemgetter(column))
        value = found[column]
        met = value <= limit if worst is max else value >= limit
        report.add("micro", row, form.format(value), target.format(limit), met,
                   ratio=value / limit, detail=f"tcp_stack, worst row: {found[0]} in flight",
                   figures={"worst": value})


def run(plan, report):
    pattern = "|".join(f"(?:{each})" for _, each, _ in OPERATIONS)
    found = {}
    for program in _programs(plan):
        found.update(_measure(plan, program, pattern))
    for row, wanted, target in OPERATIONS:
        names = [name for name in found if re.search(wanted, name)]
        judged = {"target": f"<= {target} ns"} if target else {}
        if not names:
            report.add("micro", row, None, detail="no such benchmark in this build", **judged)
            continue
        ns = found[names[0]]
        if target:
            judged.update(met=ns[0] <= target, ratio=ns[0] / target)
        report.add("micro", row, f"{ns[0]:.1f} ns", figures={"ns": ns}, **judged,
                   detail=f"median {statistics.median(ns):.1f}, at most {ns[-1]:.1f}; {names[0]}")
    _tcp(plan, report)
