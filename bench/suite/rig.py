"""For the sections bulk and loss: a kernel's TCP at the far end, and who sends to it."""

import contextlib
import json
from pathlib import Path

from . import programs

NETWORK = "10.213.59"  # only ever inside the namespaces
KERNEL, OURS, SINK = NETWORK + ".1", NETWORK + ".3", NETWORK + ".2"
PORT = 9000
SENDER_CPU, SINK_CPU = 0, 1
HEADERS = 52  # IPv4 and TCP with timestamps, of the MTU
DEVICE = "sbdc"  # the interface that DPDK's device is over
# Before what else runs on these cores. Not SCHED_FIFO: a sender that never rests would keep the
# kernel's own threads from what they do for it (seen: no end within 30 s).
FIRST = ("nice", "-n", "-20")


HUGE_PAGES = 64


@contextlib.contextmanager
def huge_pages():
    """What net_af_xdp's buffers take; afterwards there are as many as before."""
    path = Path("/proc/sys/vm/nr_hugepages")
    before = int(path.read_text())
    if before < HUGE_PAGES:
        path.write_text(str(HUGE_PAGES))
    try:
        yield
    finally:
        if before < HUGE_PAGES:
            path.write_text(str(before))


def inside(namespace, *words):
    programs.run(["ip", "netns", "exec", namespace, *map(str, words)], limit_s=10)


def link(one, other, mtu=1500):
    """A veth pair, (namespace, name) each, with sums and segments as a wire would have them."""
    programs.run(["ip", "link", "add", one[1], "netns", one[0], "type", "veth", "peer", "name",
                  other[1], "netns", other[0]], limit_s=10)
    for namespace, name in (one, other):
        inside(namespace, "ethtool", "-K", name, "tx", "off", "tso", "off", "gso", "off",
               "gro", "off")
        inside(namespace, "sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1")
        inside(namespace, "ip", "link", "set", name, "mtu", mtu, "up")


def mac(namespace, name):
    return programs.run(["ip", "netns", "exec", namespace, "cat", f"/sys/class/net/{name}/address"],
                        limit_s=10).strip()


def unlink(namespace, name):
    inside(namespace, "ip", "link", "del", name)


def bulk(plan, *args, namespace):
    """A sender: what it says at its end."""
    return programs.last_json(programs.run(programs.command(
        [*FIRST, plan.build / "bench/micro/bulk", *args], namespace, SENDER_CPU)))


def raw(plan, pair, device, mtu, seconds, polled=False):
    """Raw frames through DPDK's device, as long as full segments; beside a sink that polls."""
    return bulk(plan, "raw", mtu - HEADERS, OURS, device, mtu, seconds, plan.warmup, DEVICE,
                *([f"{SINK}:{PORT}"] if polled else []), namespace=pair.client)


def why_not(plan, pair, device, mtu):
    """What is missing here, in the program's words; "": nothing."""
    try:
        raw(plan, pair, device, mtu, 0.1)
    except programs.Failed as error:
        return error.last_line()
    return ""


class Sink:
    """Reads and throws away, one connection after the other; it decides how long each lasts."""

    def __init__(self, process):
        self._process = process

    def result(self):
        """What came by the connection that has ended."""
        got = json.loads(self._process.stdout.readline())
        if not got["whole"] or got["bytes"] == 0:
            raise programs.Failed(f"a transfer ended early: {got}")
        return got

    def connection(self, plan, *args, namespace):
        """Bits/s of one connection, what its sender says, and how busy the sink's CPU was."""
        said = bulk(plan, *args, namespace=namespace)
        got = self.result()
        return got["bytes"] * 8 / got["seconds"], said, got["busy"]


@contextlib.contextmanager
def ready(args, namespace):
    """A program of ours that says "ready"."""
    with programs.running(programs.command([*FIRST, *args], namespace, SINK_CPU)) as process:
        if process.stdout.readline() != "ready\n":
            process.kill()
            raise programs.Failed(f"{args[0]}: {process.stderr.read()[-800:]}")
        yield process


@contextlib.contextmanager
def sink(plan, namespace, seconds, polls=False):
    with ready([plan.build / "bench/micro/bulk", "sink", f"{SINK}:{PORT}", seconds, plan.warmup,
                *(["poll"] if polls else [])], namespace) as process:
        yield Sink(process)


def linux(plan, pair, sink):
    """A connection by Linux's CUBIC, over the same interface."""
    inside(pair.client, "ip", "link", "set", DEVICE, "arp", "on")
    inside(pair.client, "ip", "addr", "add", KERNEL + "/24", "dev", DEVICE)
    try:
        return sink.connection(plan, "kernel", f"{SINK}:{PORT}", "cubic",
                               namespace=pair.client)
    finally:
        inside(pair.client, "ip", "addr", "flush", "dev", DEVICE)
        inside(pair.client, "ip", "link", "set", DEVICE, "arp", "off")
