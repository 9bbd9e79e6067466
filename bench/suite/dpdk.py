"""The same `salvo load` by each backend, over veth: io_uring and epoll through the kernel's TCP,
dpdk through salvo's own, over net_af_packet and, with huge pages, net_af_xdp.

What it can show is what a message costs the sender's side on each path. What it cannot show is what
a NIC would do: each burst is a system call here, and the receiver's TCP runs on the sender's core.
The kernel is measured twice: as it is, with 64 KiB segments that no wire carries, and with segments
as a wire has them, which is what DPDK's devices get.
"""

import statistics

from . import netns, programs, rig
from .report import Runs, number, ratios

CLIENT_CPU, SERVER_CPU = 0, 1
PORT = 9876
NETWORK = "10.213.58"  # of the second pair, where no end does a NIC's work
CALLER = ("-D", "threads=caller", "-D", "body_size_max=64KiB", "--closed", "4000",
          "-D", "requests_per_broker=4000", "--size", "1024")
# row: (whether over the second pair, options)
CASES = {
    "uring": (False, ("--net", "uring")),
    "epoll": (False, ("--net", "epoll")),
    "uring, segments of a wire": (True, ("--net", "uring")),
    "dpdk, net_af_packet": (True, ("--net", "dpdk", "-D", "dpdk_device=net_af_packet0,iface=sbdc",
                                   "-D", f"dpdk_address={NETWORK}.3/24")),
    "dpdk, net_af_xdp": (True, ("--net", "dpdk", "-D", "dpdk_device=net_af_xdp0,iface=sbdc",
                                "-D", f"dpdk_address={NETWORK}.3/24")),
}


def _second_pair(pair):
    def inside(namespace, *words):
        programs.run(["ip", "netns", "exec", namespace, *words], limit_s=10)

    programs.run(["ip", "link", "add", "sbdc", "netns", pair.client, "type", "veth", "peer", "name",
                  "sbds", "netns", pair.server], limit_s=10)
    for namespace, device, host in ((pair.client, "sbdc", 1), (pair.server, "sbds", 2)):
        inside(namespace, "ethtool", "-K", device, "tx", "off", "tso", "off", "gso", "off", "gro",
               "off")
        inside(namespace, "ip", "link", "set", device, "up")
        netns.give_address(namespace, device, NETWORK, host)


def _why_not(plan, pair, nameserver, options):
    """What is missing here (DPDK, huge pages), in salvo's words; "": nothing."""
    try:
        programs.load(plan, nameserver, *CALLER, *options, "--count", "1000",
                      namespace=pair.client, cpu=CLIENT_CPU)
    except programs.Failed as error:
        return error.last_line()
    return ""


def _round(plan, pair, nameservers, runs, cases):
    for name, (second, options) in cases:
        done = programs.load(plan, nameservers[second], "--topic", "T", *CALLER, *options,
                             "--duration", f"{plan.seconds}s", "--warmup", f"{plan.warmup}s",
                             namespace=pair.client, cpu=CLIENT_CPU)
        if done["acked"] == 0:
            raise programs.Failed(f"{name}: nothing was acknowledged")
        runs[name].add(done.get("invalid_reasons", ()), rate=done["rate_per_s"],
                       cpu_us=done["cpu_us_per_message"])


def _rows(report, runs, missing):
    for name in CASES:
        if name not in runs:
            report.add("dpdk", f"unbatched 1 KB, {name}", "not run", "", None, detail=missing[name])
            continue
        each = runs[name]
        low, high = each.spread("rate")
        beside = ratios(each, runs["uring"], "rate")
        report.add("dpdk", f"unbatched 1 KB, {name}", number(each.median("rate")) + "/s", "", None,
                   beside=number(runs["uring"].median("rate")) + "/s",
                   ratio=statistics.median(beside) if beside else None,
                   detail=f"{number(low)} to {number(high)}/s; {each.median('cpu_us'):.3f} us CPU "
                   f"per message. {each.why_not()}", figures=each.all())


def run(plan, report):
    report.settings["dpdk"] = (
        f"client on core {CLIENT_CPU} (threads=caller), salvo mock on core {SERVER_CPU}, MTU 1500; "
        "virtual devices: each burst is a system call, and the receiver's TCP runs on the sender's "
        "core, so this compares paths, and says nothing of a NIC")
    with rig.huge_pages(), netns.pair() as pair:
        _second_pair(pair)
        mocks = [programs.mock(plan, "--listen", address, "--port", PORT, "--topic", "T:4", "--cpu",
                               SERVER_CPU, "--answer-only", namespace=pair.server, cpu=SERVER_CPU)
                 for address in (pair.server_address, f"{NETWORK}.2")]
        with mocks[0] as first, mocks[1] as second:
            missing = {name: _why_not(plan, pair, second, options)
                       for name, (_, options) in CASES.items() if name.startswith("dpdk")}
            cases = [(name, case) for name, case in CASES.items() if not missing.get(name)]
            runs = {name: Runs() for name, _ in cases}
            for index in range(plan.alone_repeats):
                _round(plan, pair, (first, second), runs, cases[::-1] if index % 2 else cases)
    _rows(report, runs, missing)
