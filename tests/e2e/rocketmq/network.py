"""Where real brokers listen, and how salvo gets to them.

    network.current()             by the kernel, on loopback; or what use() was given
    network.current().host        the address that nameservers and brokers listen on and advertise
    network.current().options()   what a sender of this process needs beside `nameserver`: one call
                                  a sender
    network.current().arguments() the same for the program, as -D NAME=VALUE

With DPDK a network of its own is made, for as long as this process lives:

    this namespace                                    namespace of the brokers
      salvo --- DPDK --- [veth svd0 - svb0] --+
      salvo --- DPDK --- [tap  svt1       ] --+-- bridge svbr --- svp - svk 10.93.0.2: kernel TCP
      Java, remoting --- 10.93.0.1 -----------+

Each sender gets a device and an address that no other has: a DPDK device belongs to one sender.
"""

import atexit
import ctypes
import itertools
import os
import re
import signal
import subprocess
import threading
from pathlib import Path

DEVICES = ("af_packet", "tap", "af_xdp")
CLONE_NEWNET = 0x40000000
PEER = "10.93.0.2"
ADDRESS_FIRST, ADDRESS_LAST = 10, 250
# net_af_xdp: of 2 MiB, ten for each sender. The driver keeps what a closed port had for the life of
# the process: given back to the kernel, pages would be lost to the next sender. So this process
# takes its own at once and keeps them (-m, MiB); the rest is for the program.
HUGE_PAGES = 256
XDP_KEEPS = "-m 440"
TAP_MAC = "02:73:76:74:00"


def die_with_parent():
    """In a child: SIGKILL when the test process dies, however it dies (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Loopback:
    """The kernel's, on 127.0.0.1."""

    dpdk = False

    def __init__(self, host="127.0.0.1"):
        self.host = host

    def enter(self):
        """In the child that becomes a nameserver or broker."""

    def begin(self):
        """A test begins: the senders of the last one are closed, and what they used is free."""

    def options(self):
        return self._device_options()

    def arguments(self):
        return [each for k, v in self._device_options().items() for each in ("-D", f"{k}={v}")]

    def _device_options(self):
        return {}


def ip(*words, **options):
    subprocess.run(["ip", *map(str, words)], check=True, **options)


def offload_off(interface, **options):
    """Frames as they would be on a wire: with sums, and no longer than the MTU."""
    off = "tx off tso off gso off gro off".split()
    subprocess.run(["ethtool", "-K", interface, *off], check=True, capture_output=True, **options)


def _namespace(number):
    libc = ctypes.CDLL(None, use_errno=True)
    if number is None:
        failed = libc.unshare(CLONE_NEWNET)
    else:
        failed = libc.setns(number, CLONE_NEWNET)
    if failed:
        raise OSError(ctypes.get_errno(), "network namespaces need root")


def huge_pages(count):
    """As many as net_af_xdp wants. What there was is left behind however this process ends: by a
    shell that waits for the end of its input."""
    path = Path("/proc/sys/vm/nr_hugepages")
    before = path.read_text().strip()
    if int(before) < count:
        give_back = subprocess.Popen(
            ["sh", "-c", f"read -r _; echo {before} >{path}"],
            stdin=subprocess.PIPE,
            start_new_session=True,  # our group may be killed as one
        )
        atexit.register(give_back.communicate)
        path.write_text(str(count))


def huge_pages_free():
    return int(re.search(r"HugePages_Free: +(\d+)", Path("/proc/meminfo").read_text())[1])


class Dpdk(Loopback):
    """Brokers in a namespace of their own; this process goes into another one, before it has
    threads. `device` is one of DEVICES."""

    dpdk = True

    def __init__(self, device):
        super().__init__(PEER)
        self.device = device
        self._numbers = itertools.cycle(range(ADDRESS_FIRST, ADDRESS_LAST + 1))
        self._taken = []
        if device == "af_xdp":
            huge_pages(HUGE_PAGES)
        _namespace(None)
        self._peer = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        _namespace(None)  # ours; the other lives as long as its descriptor
        ip("link", "set", "lo", "up")
        ip("link", "add", "svbr", "type", "bridge")
        ip("link", "add", "svp", "type", "veth", "peer", "name", "svk")
        ip("link", "set", "svk", "netns", f"/proc/{os.getpid()}/fd/{self._peer}")
        self._join("svp")
        ip("addr", "add", "10.93.0.1/24", "dev", "svbr")
        ip("link", "set", "svbr", "up")
        there = {"preexec_fn": self.enter}
        ip("link", "set", "lo", "up", **there)
        ip("addr", "add", f"{PEER}/24", "dev", "svk", **there)
        offload_off("svk", **there)
        ip("link", "set", "svk", "up", **there)
        monitor = subprocess.Popen(
            ["ip", "-o", "monitor", "link"],
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent,
        )
        threading.Thread(target=self._join_taps, args=(monitor,), daemon=True).start()

    def _join(self, interface):
        offload_off(interface)
        ip("link", "set", interface, "master", "svbr", "up")

    def _join_taps(self, monitor):
        """DPDK makes a TAP device when salvo starts, and calls both ends by one MAC: a bridge would
        keep for itself what is for salvo. An event may be about what is not so any more."""
        for line in monitor.stdout:
            found = re.match(r"\d+: svt(\d+):", line)
            if not found or TAP_MAC in line and "master svbr" in line:
                continue
            name = f"svt{found[1]}"
            for words in (["address", f"{TAP_MAC}:{int(found[1]):02x}"], ["master", "svbr", "up"]):
                subprocess.run(["ip", "link", "set", name, *words], capture_output=True)

    def ready(self):
        """Whether all huge pages are free: a process that has just ended gives them back a moment
        later."""
        return self.device != "af_xdp" or huge_pages_free() >= HUGE_PAGES

    def enter(self):
        _namespace(self._peer)

    def begin(self):
        for number in self._taken:
            if self.device != "tap":
                ip("link", "del", f"svb{number}")
        self._taken = []

    def options(self):
        keeps = {"dpdk_eal": XDP_KEEPS} if self.device == "af_xdp" else {}
        return {**super().options(), **keeps}

    def _device_options(self):
        # A number is not used again for long: net_af_xdp keeps an interface until its process ends.
        number = next(self._numbers)
        self._taken.append(number)
        if self.device == "tap":
            device = f"net_tap{number},iface=svt{number}"
        else:
            ip("link", "add", f"svb{number}", "type", "veth", "peer", "name", f"svd{number}")
            ip("link", "set", f"svd{number}", "arp", "off", "up")
            self._join(f"svb{number}")
            device = f"net_{self.device}{number},iface=svd{number}"
        return {
            "net": "dpdk",
            "dpdk_device": device,
            "dpdk_address": f"10.93.0.{number}/24",
            "dpdk_memory_mb": 512,  # of the whole process: the first sender's counts
        }


_current = Loopback()


def current():
    return _current


def use(network):
    global _current
    _current = network
