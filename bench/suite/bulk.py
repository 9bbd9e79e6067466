"""Bulk from salvo's own TCP over a DPDK device to a kernel's, beside raw frames through the same
device: what the TCP costs.

A raw frame is as long as a full segment, its payload is copied as a segment's is, and the kernel
drops it unread. Rates are of payload in both. The kernel's end does its work on core 1 (RPS), as
another host would; what raw frames reach when they are dropped on the sender's core, without a word
between cores, and what Linux's own TCP reaches over the same veth pair, is shown beside.

Such a word is an exit for a virtual machine (seen: a quarter of the sender's time beside raw
frames), and two hosts have none. So both are also shown beside a sink that polls: the kernel's end
then takes frames when it has time, on its core.
"""

import statistics

from . import netns, rig
from .report import Runs, number, ratios

RATIO_MIN = 0.9
PEER = "sbds"
# row: (DPDK's device, MTU)
CASES = {
    "net_af_xdp, MTU 1500": (f"net_af_xdp0,iface={rig.DEVICE}", 1500),
    "net_af_packet, MTU 9000": (
        f"net_af_packet0,iface={rig.DEVICE},framesz=16384,blocksz=65536", 9000),
}


def _steer(pair, cpus):
    """Where the kernel's end works: a mask of CPUs, 0 for the sender's own."""
    rig.inside(pair.server, "sh", "-c", f"echo {cpus} > /sys/class/net/{PEER}/queues/rx-0/rps_cpus")


def _poll(pair):
    """The kernel's end leaves its device to who polls it. GRO, because that is what makes veth have
    something to poll; 10 ms: what is not polled for so long is worked off as ever."""
    _steer(pair, 0)
    rig.inside(pair.server, "ethtool", "-K", PEER, "gro", "on")
    for name, value in (("napi_defer_hard_irqs", 100), ("gro_flush_timeout", 10000000)):
        rig.inside(pair.server, "sh", "-c", f"echo {value} > /sys/class/net/{PEER}/{name}")


def _raw(plan, pair, case, polled=False):
    said = rig.raw(plan, pair, *case, plan.alone_seconds, polled)
    return {"rate": said["bytes"] * 8 / said["seconds"],
            "share": said["cpu_seconds"] / said["seconds"],
            "cpu_rate": said["bytes"] * 8 / said["cpu_seconds"]}


def _tcp(plan, pair, case, sink):
    device, mtu = case
    rate, said, busy = sink.connection(plan, "net", f"{rig.SINK}:{rig.PORT}", rig.OURS, device,
                                       mtu, namespace=pair.client)
    # The CPU is of the whole connection, and so are the segments.
    return {"rate": rate, "share": said["cpu_seconds"] / (plan.alone_seconds + plan.warmup),
            "cpu_rate": said["segments_out"] * (mtu - rig.HEADERS) * 8 / said["cpu_seconds"],
            "retransmitted": said["retransmitted"], "sink_share": busy}


def _linux(plan, pair, sink):
    rate, said, busy = rig.linux(plan, pair, sink)
    return {"rate": rate, "share": said["cpu_seconds"] / (plan.alone_seconds + plan.warmup),
            "sink_share": busy}


def _both(plan, pair, case, sink, raw, tcp, backwards, polled=False):
    turns = [lambda: raw.add(**_raw(plan, pair, case, polled)),
             lambda: tcp.add(**_tcp(plan, pair, case, sink))]
    for turn in reversed(turns) if backwards else turns:
        turn()


def _polled(plan, pair, case):
    """Runs of raw frames and TCP beside a sink that polls."""
    raw, tcp = Runs(), Runs()
    _poll(pair)
    with rig.sink(plan, pair.server, plan.alone_seconds, polls=True) as sink:
        for index in range(plan.alone_repeats):
            _both(plan, pair, case, sink, raw, tcp, index % 2 == 1, polled=True)
    return raw, tcp


def _case(plan, pair, case):
    """Runs of raw frames, TCP, raw frames dropped on the sender's core, Linux's TCP, and raw frames
    and TCP beside a sink that polls; or why not here, as a text."""
    raw, tcp, same_core, linux = Runs(), Runs(), Runs(), Runs()
    rig.link((pair.client, rig.DEVICE), (pair.server, PEER), case[1])
    try:
        rig.inside(pair.client, "ip", "link", "set", rig.DEVICE, "arp", "off")
        rig.inside(pair.server, "ip", "addr", "add", rig.SINK + "/24", "dev", PEER)
        missing = rig.why_not(plan, pair, *case)
        if missing:
            return missing
        with rig.sink(plan, pair.server, plan.alone_seconds) as sink:
            for index in range(plan.alone_repeats):
                _steer(pair, 1 << rig.SINK_CPU)
                _both(plan, pair, case, sink, raw, tcp, index % 2 == 1)
                linux.add(**_linux(plan, pair, sink))
                _steer(pair, 0)
                same_core.add(**_raw(plan, pair, case))
        return raw, tcp, same_core, linux, *_polled(plan, pair, case)
    finally:
        rig.unlink(pair.client, rig.DEVICE)


def _detail(runs):
    low, high = runs.spread("rate")
    return (f"{number(low)} to {number(high)}bit/s; had {runs.median('share'):.0%} of its core, "
            f"{number(runs.median('cpu_rate'))}bit a CPU second")


def _sink(runs):
    return f"the kernel's end had {runs.median('sink_share'):.0%} of its core"


ROWS = ("raw frames", "salvo's TCP", "raw frames, dropped on the sender's core", "Linux's TCP",
        "raw frames, polled", "salvo's TCP, polled")


def add_rows(report, name, raw, tcp, same_core, linux, raw_polled, tcp_polled):
    each, by_cpu = ratios(tcp, raw, "rate"), ratios(tcp, raw, "cpu_rate")
    beside = number(raw.median("rate")) + "bit/s"
    ratio = statistics.median(each)
    report.add("bulk", f"{name}: {ROWS[0]}", beside, detail=_detail(raw), figures=raw.all())
    report.add("bulk", f"{name}: {ROWS[1]}", number(tcp.median("rate")) + "bit/s",
               f">= {RATIO_MIN} of it", ratio >= RATIO_MIN, beside=beside, ratio=ratio,
               detail=f"{min(each):.2f} to {max(each):.2f} in {len(each)} rounds; by CPU "
               f"{statistics.median(by_cpu):.2f}; {_detail(tcp)}; {_sink(tcp)}; "
               f"{tcp.median('retransmitted'):.0f} segments sent again",
               figures=dict(tcp.all(), ratios=each, cpu_ratios=by_cpu))
    each = ratios(tcp, same_core, "rate")
    report.add("bulk", f"{name}: {ROWS[2]}",
               number(same_core.median("rate")) + "bit/s",
               detail="salvo's TCP, received on the other, is "
               f"{statistics.median(each):.2f} of it; {_detail(same_core)}",
               figures=same_core.all())
    each = ratios(tcp, linux, "rate")
    report.add("bulk", f"{name}: {ROWS[3]}", number(linux.median("rate")) + "bit/s",
               detail=f"without a device of DPDK; salvo's is {statistics.median(each):.2f} of it; "
               f"had {linux.median('share'):.0%} of its core; {_sink(linux)}",
               figures=linux.all())
    report.add("bulk", f"{name}: {ROWS[4]}", number(raw_polled.median("rate")) + "bit/s",
               detail=_detail(raw_polled), figures=raw_polled.all())
    each = ratios(tcp_polled, raw_polled, "rate")
    report.add("bulk", f"{name}: {ROWS[5]}", number(tcp_polled.median("rate")) + "bit/s",
               beside=number(raw_polled.median("rate")) + "bit/s", ratio=statistics.median(each),
               detail=f"{min(each):.2f} to {max(each):.2f} in {len(each)} rounds; "
               f"{_detail(tcp_polled)}", figures=dict(tcp_polled.all(), ratios=each))


def run(plan, report):
    report.settings["bulk"] = (
        f"sender on core {rig.SENDER_CPU}, the kernel's end (RPS) and the sink on core "
        f"{rig.SINK_CPU}, which reads with MSG_TRUNC; no offloads on either end; "
        f"polled: no RPS, GRO, and the sink polls the interface; all of them "
        f"at nice -20; {plan.alone_repeats} rounds of {plan.alone_seconds:g} s behind "
        f"{plan.warmup:g} s; payload bits, medians")
    with rig.huge_pages(), netns.pair() as pair:
        for name, case in CASES.items():
            figures = _case(plan, pair, case)
            if isinstance(figures, str):
                for row in ROWS:
                    report.add("bulk", f"{name}: {row}", "not run", detail=figures)
            else:
                add_rows(report, name, *figures)
