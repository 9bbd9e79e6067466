"""Files that nothing uses."""

import os
import re

from tree import Finding

# Read by their tool from where they are.
FOUND_BY_NAME = (".clang-format", ".editorconfig", ".gitignore", "LICENSE", "README.md",
                 "meson.build", "meson_options.txt", "conftest.py", "__init__.py", "run")
QUOTED = re.compile(r"'([^'\n]+)'")


def check(tree):
    built = built_files(tree)
    included = {target for f in tree.files if f.is_c for _, _, target in f.includes()}
    included |= {"include/" + target for target in included}
    texts = [(f.path, f.text) for f in tree.files if f.is_text]

    def mentioned(file, name):
        word = re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])")
        return any(word.search(text) for path, text in texts if path != file.path)

    for file in tree.files:
        if file.name in FOUND_BY_NAME:
            continue
        if file.suffix in (".c", ".cc"):
            if file.path not in built:
                yield Finding(file.path, 0, "dead", "no meson.build names it")
        elif file.suffix in (".h", ".def"):
            if file.path not in included:
                yield Finding(file.path, 0, "dead", "nothing includes it")
        elif file.suffix == ".py":
            stem = file.name[:-3]
            if not stem.startswith("test_") and not mentioned(file, stem):
                yield Finding(file.path, 0, "dead", "nothing imports or names it")
        elif file.suffix == ".java":
            if not mentioned(file, file.name[:-5]):
                yield Finding(file.path, 0, "dead", "nothing names it")
        elif file.suffix == ".md" or file.is_script or file.executable:
            if not mentioned(file, file.name):
                yield Finding(file.path, 0, "dead", "nothing names it")


def built_files(tree):
    """Every path that a quoted word of a meson.build means, seen from its own folder."""
    found = set()
    for file in tree.files:
        if file.name == "meson.build":
            text = re.sub(r"#[^\n]*", "", file.text)
            for word in QUOTED.findall(text):
                found.add(os.path.normpath(os.path.join(file.folder, word)))
    return found
