"""Generated documents: what is in the tree against what the built generator prints."""

import difflib
import os
import subprocess

from tree import Finding

DOCUMENTS = {  # path -> argument of docs/generate
    "docs/COUNTERS.md": "counters",
    "docs/CONFIG.md": "config",
    "deploy/salvo.yaml": "yaml",
}


def check(tree, generator, write=False):
    """With `write`, brings the tree up to date instead of complaining."""
    known = subprocess.run([generator], capture_output=True, text=True, check=False).stdout.split()
    for path, argument in DOCUMENTS.items():
        if argument not in known:
            if path in tree.by_path:
                yield Finding(path, 0, "generated", f"the generator knows no '{argument}'")
            continue
        done = subprocess.run([generator, argument], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            yield Finding(path, 0, "generated", f"the generator failed: {done.stderr.strip()}")
            continue
        file = tree.by_path.get(path)
        if file is not None and file.text == done.stdout:
            continue
        if write:
            full = os.path.join(tree.root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as out:
                out.write(done.stdout)
            continue
        if file is None:
            yield Finding(path, 0, "generated", "is missing: run tests/tidy/tidy.py --write")
            continue
        diff = difflib.unified_diff(file.lines, done.stdout.split("\n"), lineterm="", n=0)
        first = next((d for d in diff if d[0] in "+-" and d[:3] not in ("+++", "---")), "")
        yield Finding(path, 0, "generated",
                      f"is stale: run tests/tidy/tidy.py --write (first difference: {first[:60]})")
