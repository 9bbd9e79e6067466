"""Measures salvo beside its limits and its peers, in one run and one report.

    bench/run                          everything, about twenty minutes; needs root for namespaces
    bench/run --quick                  a minute of it: does it work, not how fast is it
    bench/run --only micro,veth        of: micro veth dpdk bulk loss idle java
    bench/run --out DIR                report.txt, .json and .md; default build-bench/bench/report
    bench/run --build DIR              that release tree, in place of one of its own

How to read the report: bench/README.md. It ends with 0 unless something could not be measured.
"""

import argparse
import signal
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE))

# pylint: disable=wrong-import-position
from suite import bulk, dpdk, idle, java, loss, micro, programs, report, veth  # noqa: E402

# In the order in which they run: what needs quiet comes before what leaves a warm machine.
SECTIONS = {"micro": micro.run, "veth": veth.run, "dpdk": dpdk.run, "bulk": bulk.run,
            "loss": loss.run, "idle": idle.run, "java": java.run}
SUFFIXES = ("txt", "json", "md")


class Plan:
    """How much of everything: one set of numbers for a real run, one for --quick."""

    def __init__(self, args):
        quick = args.quick
        self.quick = quick
        self.build = args.build.resolve()
        self.repeats = args.repeats or (1 if quick else 10)
        self.seconds = 0.5 if quick else 1.0
        self.warmup = 0.3 if quick else 0.5
        # Rows that are beside nothing need fewer rounds.
        self.alone_repeats = min(self.repeats, 5)
        self.alone_seconds = 0.5 if quick else 2.0
        self.open_repeats = 1 if quick else 5
        self.open_seconds = 0.5 if quick else 0.2
        self.loss_seconds = 0.5 if quick else 4.0
        self.java_repeats = 1 if quick else 4
        self.java_seconds = 1 if quick else 4
        # A JVM is warm when its compilers have nothing left to do: at most this long, each.
        self.java_warmup_max = 2 if quick else 24
        self.java_warmup_step = 1 if quick else 3
        self.broker_warmup = 1 if quick else 8
        self.idle_seconds = 2 if quick else 10
        self.micro_seconds = 0.01 if quick else 0.02
        self.micro_repeats = 1 if quick else 25


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False  # bench/run looks for --build too
    )
    parser.add_argument("--quick", action="store_true", help="tiny counts")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, separated by commas")
    parser.add_argument("--build", type=Path, default=HERE.parent / "build-bench",
                        help="a built release tree; nothing is installed or compiled")
    parser.add_argument("--out", type=Path, help="where the three files go")
    parser.add_argument("--repeats", type=int, help="rounds of the rows over veth; default 10")
    parser.add_argument("--check", action="store_true", help="only look at the other options")
    args = parser.parse_args()
    args.only = args.only.split(",")
    unknown = set(args.only) - set(SECTIONS)
    if unknown:
        parser.error(f"--only {','.join(unknown)}: there are {', '.join(SECTIONS)}")
    if args.check:
        sys.exit(0)
    for each in ("salvo", "bench/blaster"):
        if not (args.build / each).exists():
            parser.error(f"{args.build / each} is not there: meson setup build && ninja -C build")
    args.out = args.out or args.build / "bench" / "report"
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        for suffix in SUFFIXES:
            (args.out / f"report.{suffix}").touch()
    except OSError as error:
        parser.error(f"{error.filename} cannot be written: {error.strerror}; choose another --out")
    return args


def main():
    args = arguments()
    plan = Plan(args)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(130))

    result = report.Report(plan)
    started = time.monotonic()
    failed = False
    for name in SECTIONS:
        if name not in args.only:
            continue
        print(f"== {name}", file=sys.stderr, flush=True)
        try:
            SECTIONS[name](plan, result)
        except (programs.Failed, OSError) as error:
            print(f"bench/run: {name}: {error}", file=sys.stderr)
            result.failures.append(f"{name}: {error}")
            failed = True
    result.finish(time.monotonic() - started)
    for suffix, text in zip(SUFFIXES, (result.text(), result.json(), result.markdown())):
        (args.out / f"report.{suffix}").write_text(text)
    print(result.text())
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
