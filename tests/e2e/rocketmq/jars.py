"""Jars from Maven Central, fetched once, and our own Java compiled against them.

Everything lands in the cache folder: `.cache` in the repository's root, or SALVO_CACHE. A folder
is complete when its marker holds the digest of what it was made from, so a second run is a few
file reads, needs no network and starts no process.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
POM = Path(__file__).resolve().parent / "pom.xml"
JAVA = Path(__file__).resolve().parent.parent / "java"

VERSIONS = ("4.7.1", "4.9.7", "5.3.3")

# A 5.x consumer reads nothing from a 4.x cluster in its first seconds, so each cluster is read by
# the client of its own generation.
CLIENT_OF = {"4.7.1": "4.9.7", "4.9.7": "4.9.7", "5.3.3": "5.3.3"}


class JarsError(RuntimeError):
    pass


def cache():
    return Path(os.environ.get("SALVO_CACHE") or ROOT / ".cache").resolve()


@contextmanager
def _locked(folder):
    """One process at a time makes a folder; the others find it made."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / (folder.name + ".lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(folder, digest, make):
    """Runs make(folder) unless the folder was already made from the same digest."""
    marker = folder / "complete"
    if marker.is_file() and marker.read_text() == digest:
        return folder
    with _locked(folder):
        if marker.is_file() and marker.read_text() == digest:
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        make(folder)
        marker.write_text(digest)
    return folder


def _digest(paths, *words):
    h = hashlib.sha256("\0".join(words).encode())
    for path in sorted(paths):
        h.update(b"\0" + path.name.encode() + b"\0" + path.read_bytes())
    return h.hexdigest()


def tool(name):
    path = shutil.which(name)
    if path is None:
        raise JarsError(f"{name} is missing: run tests/e2e/setup")
    return path


def _run(command, what):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise JarsError(f"{what} failed ({done.returncode}):\n{done.stdout[-6000:]}")


def fetch(pom, name, **properties):
    """Copies the dependencies of a pom to <cache>/jars/<name>; returns that folder."""
    words = [f"{key}={value}" for key, value in sorted(properties.items())]

    def make(folder):
        _run(
            [
                tool("mvn"),
                "-B",
                "-q",
                "-f",
                str(pom),
                "-Dmaven.repo.local=" + str(cache() / "m2"),
                *["-D" + word for word in words],
                "dependency:copy-dependencies",
                "-DincludeScope=runtime",
                "-DoutputDirectory=" + str(folder),
            ],
            f"fetching {name}",
        )

    return _make(cache() / "jars" / name, _digest([pom], *words), make)


def rocketmq(version):
    """The folder with everything of one RocketMQ version."""
    return fetch(POM, "rocketmq-" + version, **{"rocketmq.version": version})


def classpath(*folders):
    return ":".join(str(folder) + ("/*" if any(folder.glob("*.jar")) else "") for folder in folders)


def compiled(source, name, *jars):
    """Compiles every .java below source against the jars into <cache>/classes/<name>."""
    files = sorted(source.rglob("*.java"))

    def make(folder):
        _run(
            [
                tool("javac"),
                "-nowarn",
                "-Xlint:none",
                "-proc:none",
                "-encoding",
                "UTF-8",
                "-cp",
                classpath(*jars),
                "-d",
                str(folder),
                *map(str, files),
            ],
            f"compiling {name}",
        )

    made_from = [(folder / "complete").read_text() for folder in jars]
    return _make(cache() / "classes" / name, _digest(files, *made_from), make)


def tools(version):
    """The class path of our Reader, Admin and Writer for a cluster of this version."""
    client = CLIENT_OF[version]
    jars = rocketmq(client)
    return classpath(JAVA / "resources", compiled(JAVA / "src", "e2e-" + client, jars), jars)


if __name__ == "__main__":
    for each in VERSIONS:
        print(each, rocketmq(each))
