"""Network namespaces: two with a veth pair between them, or a loopback interface alone. They are
gone when the block ends."""

import contextlib
import ctypes
import os
import re
import subprocess
from pathlib import Path

from . import programs

PREFIX = "salvo-bench-"
CONGESTION_CONTROL = "cubic"
CLONE_NEWNET = 0x40000000
NETWORK = "10.213.57"  # only ever inside the namespaces


def _ip(*words):
    programs.run(["ip", *words], limit_s=10)


def _names():
    folder = Path("/run/netns")
    return [each.name for each in folder.iterdir()] if folder.is_dir() else []


def _delete(name):
    subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def remove_stale():
    """Those of runs that were killed: their name holds the pid of nobody."""
    for name in _names():
        match = re.fullmatch(PREFIX + r"(\d+)-[cs]", name)
        if match and not Path(f"/proc/{match[1]}").exists():
            _delete(name)


def give_address(namespace, device, network, host):
    """An address of network/24 on a device that is up. The route chooses the congestion control,
    what a machine has unless somebody chose another: BBR paces each connection by timers. A
    namespace's own default would be refused where the host does not allow everybody cubic."""
    _ip("-n", namespace, "addr", "add", f"{network}.{host}/24", "dev", device, "noprefixroute")
    _ip("-n", namespace, "route", "add", network + ".0/24", "dev", device,
        "src", f"{network}.{host}", "congctl", CONGESTION_CONTROL)


def need_root():
    if os.geteuid() != 0:
        raise programs.Failed("network namespaces need root")


@contextlib.contextmanager
def loopback():
    """The calling thread, and what it starts, where there is nothing but 127.0.0.1."""
    need_root()
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.unshare(CLONE_NEWNET):
            raise programs.Failed(f"no network namespace: {os.strerror(ctypes.get_errno())}")
        try:
            _ip("link", "set", "lo", "up")
            _ip("route", "replace", "local", "127.0.0.1", "dev", "lo", "table", "local", "proto",
                "kernel", "scope", "host", "src", "127.0.0.1", "congctl", CONGESTION_CONTROL)
            yield
        finally:
            if libc.setns(before, CLONE_NEWNET):
                raise programs.Failed(f"no way back: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(before)


class Pair:
    """client and server are namespaces, server_address is where a server listens."""

    def __init__(self):
        pid = os.getpid()
        self.client, self.server = f"{PREFIX}{pid}-c", f"{PREFIX}{pid}-s"
        self.client_address, self.server_address = NETWORK + ".1", NETWORK + ".2"
        self._devices = (f"sbc{pid}", f"sbs{pid}")

    def make(self):
        _ip("netns", "add", self.client)
        _ip("netns", "add", self.server)
        _ip("link", "add", self._devices[0], "netns", self.client, "type", "veth",
            "peer", "name", self._devices[1], "netns", self.server)
        for namespace, device, host in ((self.client, self._devices[0], 1),
                                        (self.server, self._devices[1], 2)):
            _ip("-n", namespace, "link", "set", "lo", "up")
            _ip("-n", namespace, "link", "set", device, "up")
            give_address(namespace, device, NETWORK, host)

    def remove(self):
        _delete(self.client)
        _delete(self.server)


@contextlib.contextmanager
def pair():
    need_root()
    remove_stale()
    made = Pair()
    try:
        made.make()
        yield made
    finally:
        made.remove()
