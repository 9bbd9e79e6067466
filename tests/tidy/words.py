"""How lines look, and words that should not be left in the tree."""

import re

from tree import Finding, matches

LINE_MAX = 100
LINE_SUFFIXES = (".c", ".h", ".cc", ".py", ".sh", ".java", ".build")
# Data, and patches, whose empty context lines hold a blank: not ours to lay out.
TEXT_ANYWAY = (".hex", ".bin", ".svg", ".patch")

# A leftover word is excused by a reason: a colon and at least four words.
LEFTOVER = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b(:[ \t]*(?:\S+[ \t]+){3,}\S)?")
SLEEPS = {
    ".c": re.compile(r"(?<![\w.>])(?:sleep|usleep|nanosleep|clock_nanosleep|thrd_sleep)\s*\("),
    ".py": re.compile(r"(?<!\w)(?:time\.)?sleep\s*\("),
    ".java": re.compile(r"\b(?:Thread|TimeUnit\.\w+)\.sleep\s*\("),
    "sh": re.compile(r"(?:^|[;&|]|\bdo)\s*sleep\s", re.M),
}

# An address is of a site that readers can reach, or of nobody (RFC 2606, RFC 6761).
ADDRESS = re.compile(r"\b(?:https?|ftp|git|ssh)://([\w.-]*\w)")
PUBLIC_SITES = re.compile(
    r"(?:[\w-]+\.)*(?:apache\.org|w3\.org|rfc-editor\.org|ietf\.org|kernel\.org|dpdk\.org"
    r"|github\.com|github\.io|debian\.org|mesonbuild\.com|cmocka\.org|example"
    r"|example\.(?:com|org|net)|localhost|invalid|test)|127\.0\.0\.1|0\.0\.0\.0")
MACHINE_PATH = re.compile(r"(?<![\w./$}*-])/(?:work|root|home|Users|workspace|builds|opt)/[\w.$-]")


def check_text(tree):
    for file in tree.files:
        if not file.is_text or file.suffix in TEXT_ANYWAY or file.text == "":
            continue
        path = file.path
        if not file.text.endswith("\n"):
            yield Finding(path, len(file.lines), "text", "no newline at the end")
        elif file.text.endswith("\n\n"):
            yield Finding(path, len(file.lines) - 1, "text", "an empty line at the end")
        if "\r" in file.text:
            yield Finding(path, 0, "text", "carriage returns")
        measured = file.suffix in LINE_SUFFIXES or file.is_script
        for number, line in enumerate(file.lines, 1):
            if line.endswith((" ", "\t")):
                yield Finding(path, number, "text", "trailing space")
            if "\t" in line:
                yield Finding(path, number, "text", "a tab")
            if measured and len(line) > LINE_MAX:
                yield Finding(path, number, "text",
                              f"{len(line)} columns, more than {LINE_MAX}")
        if file.suffix in (".c", ".h", ".cc") and not file.text.startswith("/*"):
            yield Finding(path, 1, "text", "no comment at the top that says what the file is for")
        if file.suffix == ".h" and not re.search(r"^#pragma once$", file.text, re.M):
            yield Finding(path, 1, "text", "no #pragma once")


def check_words(tree):
    for file in tree.files:
        if not file.is_text or file.suffix in TEXT_ANYWAY:
            continue
        for number, line in enumerate(file.lines, 1):
            for match in LEFTOVER.finditer(line):
                if match.group(2) is None:
                    yield Finding(file.path, number, "words",
                                  f"{match.group(1)} without a reason (\": \" and why)")
            for match in ADDRESS.finditer(line):
                if not PUBLIC_SITES.fullmatch(match.group(1)):
                    yield Finding(file.path, number, "words",
                                  f"{match.group(1)} is not a site that every reader knows")
            match = MACHINE_PATH.search(line)
            if match:
                yield Finding(file.path, number, "words",
                              f"a path of one machine: {line[match.start():].split()[0]}")


def check_sleeps(tree):
    """Tests wait for a condition or drive the time."""
    for file in tree.files:
        if not matches(file.path, ("tests/",)):
            continue
        kind = file.suffix if file.suffix in SLEEPS else ""
        if kind == "" and file.interpreter in ("sh", "bash"):
            kind = "sh"
        elif kind == "" and file.interpreter.startswith("python"):
            kind = ".py"
        if kind == "":
            continue
        text = file.code if file.is_c else file.text
        for match in SLEEPS[kind].finditer(text):
            yield Finding(file.path, file.line_of(match.start()), "sleeps",
                          "a test sleeps: wait for the condition, or drive the time")
