"""The source tree as tidy sees it: its files, and C source with what is not code blanked out."""

import bisect
import fnmatch
import os
import re
import subprocess
from pathlib import Path

SKIPPED_FOLDERS = ("build", ".cache", ".git", "__pycache__", ".pytest_cache")
C_SUFFIXES = (".c", ".h", ".cc", ".def")

NOT_CODE = re.compile(
    r"""/\*.*?\*/ | //[^\n]* | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'""", re.S | re.X)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.M)


class Finding:
    """One thing that is wrong. A warning is printed and does not fail."""

    def __init__(self, path, line, rule, text, warning=False):
        self.path, self.line, self.rule, self.text, self.warning = path, line, rule, text, warning

    def __str__(self):
        place = f"{self.path}:{self.line}" if self.line else self.path
        return f"{place}: {'warning: ' if self.warning else ''}{self.rule}: {self.text}"


class File:
    """One file. `code` and `comments` have the length of `text`, the rest as blanks."""

    def __init__(self, root, path):
        self.path = path
        self.name = os.path.basename(path)
        self.folder = os.path.dirname(path)
        self.suffix = os.path.splitext(path)[1]
        self.executable = os.access(os.path.join(root, path), os.X_OK)
        data = Path(root, path).read_bytes()
        self.is_text = b"\0" not in data
        self.text = data.decode("utf-8", "replace") if self.is_text else ""
        self.lines = self.text.split("\n")
        self._starts = None
        self._split = None

    @property
    def is_c(self):
        return self.suffix in C_SUFFIXES

    @property
    def interpreter(self):
        """'python3', 'sh', 'bash' or ''."""
        first = self.lines[0] if self.is_text else ""
        return first.replace("env ", "").split()[0].split("/")[-1] if first[:2] == "#!" else ""

    @property
    def is_script(self):
        return self.suffix in (".py", ".sh") or self.interpreter != ""

    def line_of(self, offset):
        if self._starts is None:
            self._starts = [0] + [m.end() for m in re.finditer("\n", self.text)]
        return bisect.bisect_right(self._starts, offset)

    def _divide(self):
        if self._split is None:
            def blank(text):
                return re.sub(r"[^\n]", " ", text)

            code, comments, at = [], [], 0
            for match in NOT_CODE.finditer(self.text):
                between = self.text[at:match.start()]
                code += [between, blank(match.group())]
                is_comment = match.group().startswith(("/*", "//"))
                comments += [blank(between),
                             match.group() if is_comment else blank(match.group())]
                at = match.end()
            rest = self.text[at:]
            self._split = ("".join(code + [rest]), "".join(comments + [blank(rest)]))
        return self._split

    @property
    def code(self):
        """C source without comments, strings and character constants."""
        return self._divide()[0]

    @property
    def comments(self):
        return self._divide()[1]

    def includes(self):
        """(line, '<' or '"', name) for each #include that is not inside a comment."""
        for match in INCLUDE.finditer(self.text):
            if self.comments[match.start(1)] == " ":
                yield self.line_of(match.start(1)), match.group(1), match.group(2)

    def functions(self):
        """(line of the opening brace, number of lines) of each function: the formatter puts both
        braces into the first column."""
        start = None
        for number, line in enumerate(self.code.split("\n"), 1):
            if line.startswith("{"):
                start = number
            elif line.startswith("}") and start is not None:
                yield start, number - start + 1
                start = None


class Tree:
    """All files of a source tree: what git knows or would add, else what is in the folder."""

    def __init__(self, root):
        self.root = os.path.abspath(root)
        self.files = [File(self.root, p) for p in sorted(self._paths())]
        self.by_path = {f.path: f for f in self.files}

    def _paths(self):
        if os.path.exists(os.path.join(self.root, ".git")):
            out = subprocess.run(
                ["git", "-C", self.root, "ls-files", "-z", "-co", "--exclude-standard"],
                check=True, capture_output=True, text=True).stdout
            paths = {p for p in out.split("\0") if p}
        else:
            paths = set()
            for folder, folders, names in os.walk(self.root):
                folders[:] = [d for d in folders
                              if d not in SKIPPED_FOLDERS and not d.startswith("build-")]
                paths |= {os.path.relpath(os.path.join(folder, n), self.root) for n in names}
        return [p for p in paths
                if os.path.isfile(os.path.join(self.root, p))
                and not os.path.islink(os.path.join(self.root, p))]

    def matching(self, *patterns):
        return [f for f in self.files if matches(f.path, patterns)]


def matches(path, patterns):
    """True when path fits one of the patterns; '*' does not cross a '/', 'folder/' is all below."""
    for pattern in patterns:
        if pattern.endswith("/"):
            if path.startswith(pattern):
                return True
        elif path.count("/") == pattern.count("/") and fnmatch.fnmatchcase(path, pattern):
            return True
    return False
