#!/usr/bin/env python3
"""Checks what a compiler does not: layers, forbidden calls, layout, leftovers, dead files, stale
documents. Prints one line for each finding and ends with how many checks passed and failed."""

import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=wrong-import-position
import dead  # noqa: E402
import forbidden  # noqa: E402
import formatting  # noqa: E402
import generated  # noqa: E402
import layers  # noqa: E402
import words  # noqa: E402
from tree import Finding, Tree, matches  # noqa: E402

CHECKS = {
    "layers": layers.check,
    "forbidden": forbidden.check,
    "size": forbidden.check_sizes,
    "text": words.check_text,
    "words": words.check_words,
    "sleeps": words.check_sleeps,
    "dead": dead.check,
    "format": formatting.check,
}

# (path, rule, reason). One that is not needed any more is a finding itself.
EXCEPTIONS = (
    ("control/config_undef.h", "text", "included after each use of config.def, so more than once"),
    ("include/salvo.h", "text", "guarded by #ifndef: other people's compilers read it as C99"),
    ("tests/e2e/java/src/Reader.java", "sleeps", "pauses between looks at what a broker lists"),
    ("tests/e2e/rocketmq/cluster.py", "sleeps", "pauses between looks, in wait_until"),
    ("tests/fuzz/corpus/*/*", "text", "what a peer might send, byte for byte"),
    ("tests/tidy/*.py", "words", "names and plants what tidy looks for"),
    ("tests/tidy/test_tidy.py", "sleeps", "plants what tidy looks for"),
)


def run(root, checks=None, exceptions=EXCEPTIONS, generator=None, write=False):
    """All findings of the named checks (default: all) that no exception covers."""
    tree = Tree(root)
    used, findings = set(), []
    names = list(CHECKS) if checks is None else checks
    for name in names:
        findings += CHECKS[name](tree)
    if generator is not None:
        findings += generated.check(tree, generator, write)
    kept = []
    for finding in findings:
        covering = [e for e in exceptions
                    if e[1] == finding.rule and matches(finding.path, (e[0],))]
        used.update(covering)
        if not covering:
            kept.append(finding)
    for exception in exceptions:
        if exception[1] in names and exception not in used:
            kept.append(Finding(exception[0], 0, exception[1],
                                "the exception in tidy.py is not needed any more"))
    return kept


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default=os.path.join(here, "..", ".."), help="the source tree")
    parser.add_argument("--generator", metavar="FILE",
                        help="the built docs/generate: compare the generated documents with it")
    parser.add_argument("--write", action="store_true",
                        help="with --generator: write the documents that are stale")
    parser.add_argument("check", nargs="*", help="only these: " + " ".join(CHECKS))
    args = parser.parse_args()
    unknown = set(args.check) - set(CHECKS) - {"generated"}
    if unknown:
        parser.error(f"no such check: {' '.join(sorted(unknown))}")
    if args.write and args.generator is None:
        parser.error("--write needs --generator build/docs/generate")

    names = [c for c in args.check if c != "generated"] if args.check else list(CHECKS)
    findings = run(args.root, names, generator=args.generator, write=args.write)
    for finding in sorted(findings, key=lambda f: (f.path, f.line)):
        print(finding)
    rules = names + (["generated"] if args.generator else [])
    failed = {f.rule for f in findings if not f.warning}
    print(f"tidy: {len(rules) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
