"""C source as the formatter writes it."""

import shutil
import subprocess

from tree import Finding

FORMATTER = "clang-format-14"


def check(tree):
    paths = [f.path for f in tree.files if f.suffix in (".c", ".h", ".cc")]
    if not paths:
        return
    if shutil.which(FORMATTER) is None:
        yield Finding(".clang-format", 0, "format", f"{FORMATTER} is not installed")
        return
    done = subprocess.run([FORMATTER, "--dry-run", "-Werror", "--ferror-limit=1", *paths],
                          cwd=tree.root, capture_output=True, text=True, check=False)
    seen = set()
    for line in done.stderr.split("\n"):
        if ": error: " in line:
            path, number = line.split(":")[:2]
            if path not in seen:
                seen.add(path)
                yield Finding(path, int(number), "format", f"differs from {FORMATTER}")
    if done.returncode != 0 and not seen:
        yield Finding(".clang-format", 0, "format", done.stderr.strip()[:200])
