"""Runs our Java tools (tests/e2e/java) with the client that fits a cluster's version."""

import atexit
import shutil
import subprocess
import tempfile
import threading

from . import jars, network

TIMEOUT_S = 600.0


class JavaError(RuntimeError):
    pass


def _command(version, home, heap, main, *args):
    return [
        jars.tool("java"),
        f"-Xmx{heap}",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=4",
        "-Dfile.encoding=UTF-8",
        f"-Duser.home={home}",
        f"-Djava.io.tmpdir={home}",
        f"-Drocketmq.client.logRoot={home}",
        "-cp",
        jars.tools(version),
        main,
        *map(str, args),
    ]


def run(version, main, *args, heap="1g", check=True, timeout_s=TIMEOUT_S):
    """Runs one of Reader, Admin and Writer to its end; returns the CompletedProcess (text)."""
    with tempfile.TemporaryDirectory(prefix="salvo-java-") as home:
        done = subprocess.run(
            _command(version, home, heap, main, *args),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            timeout=timeout_s,
        )
    if check and done.returncode:
        raise JavaError(
            f"{main} {' '.join(map(str, args))}: ended with {done.returncode}\n"
            f"{done.stdout[-2000:]}{done.stderr[-6000:]}"
        )
    return done


class _Served:
    """A Reader that stays: the first read takes a JVM's start, the next ones milliseconds."""

    def __init__(self, version):
        self.home = tempfile.mkdtemp(prefix="salvo-java-")
        self.errors = open(self.home + "/errors", "w+", encoding="utf-8", errors="replace")
        self.process = subprocess.Popen(
            _command(version, self.home, "4g", "Reader", "serve"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            bufsize=1,
            preexec_fn=network.die_with_parent,
        )

    def read(self, args, timeout_s):
        start = self.errors.seek(0, 2)
        guard = threading.Timer(timeout_s, self.process.kill)
        guard.start()
        try:
            self.process.stdin.write("\t".join(map(str, args)) + "\n")
            status = next(
                (line for line in self.process.stdout if line.startswith("status ")),
                "died, or took too long",
            )  # the 4.9.7 client logs to standard output
        except BrokenPipeError:
            status = "died"
        finally:
            guard.cancel()
        if status != "status 0\n":
            self.errors.seek(start)
            raise JavaError(
                f"Reader {' '.join(map(str, args))}: {status}\n" f"{self.errors.read()[-6000:]}"
            )

    def stop(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)


_served = {}
_served_lock = threading.Lock()


def read(version, *args, timeout_s=TIMEOUT_S):
    """As run(version, "Reader", ...), in a JVM that was started before."""
    client = jars.CLIENT_OF[version]
    with _served_lock:
        if client in _served and _served[client].process.poll() is not None:
            _served.pop(client).stop()
        if client not in _served:
            _served[client] = _Served(version)
        _served[client].read(args, timeout_s)


@atexit.register
def _stop_served():
    for each in _served.values():
        each.stop()
