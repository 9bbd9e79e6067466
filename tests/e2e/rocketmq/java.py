"""Runs our Java tools (tests/e2e/java) with the client that fits a cluster's version."""

import subprocess
import tempfile

from . import jars

TIMEOUT_S = 180.0


class JavaError(RuntimeError):
    pass


def run(version, main, *args, heap="1g", check=True, timeout_s=TIMEOUT_S):
    """Runs one of Reader, Admin and Writer to its end; returns the CompletedProcess (text)."""
    class_path = jars.tools(version)
    with tempfile.TemporaryDirectory(prefix="salvo-java-") as home:
        done = subprocess.run(
            [jars.tool("java"), f"-Xmx{heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=4",
             "-Dfile.encoding=UTF-8", f"-Duser.home={home}", f"-Djava.io.tmpdir={home}",
             f"-Drocketmq.client.logRoot={home}", "-cp", class_path, main, *map(str, args)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout_s)
    if check and done.returncode:
        raise JavaError(f"{main} {' '.join(map(str, args))}: ended with {done.returncode}\n"
                        f"{done.stdout[-2000:]}{done.stderr[-6000:]}")
    return done
