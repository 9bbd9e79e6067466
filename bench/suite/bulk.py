"""Bulk from salvo's own TCP over a DPDK device to a kernel's, beside raw frames of the same size
through the same device: what the TCP costs.

The raw frames go into the same sink. They are segments made by hand, which the kernel's TCP takes:
payload copied and summed as a segment's is, numbers that go on, the peer's window kept, and no TCP
behind them that would remember, measure or repeat anything (bench/micro/bulk_raw.c). They are what
a TCP that costs nothing would reach.

Raw frames that nobody reads are shown beside: the kernel drops them, by their MAC, before it looks
into them, and what its TCP costs is missing from them. No sender reaches them, that which costs
nothing no more than another.

The kernel's end does its work on core 1 (RPS), as another host would. The word that a core has to
send to the other for that is an exit for a virtual machine (seen: a quarter of the sender's time
beside raw frames), and two hosts have none. So all are also shown beside a sink that polls: the
kernel's end then takes frames when it has time, on its core. What raw frames reach when they are
dropped on the sender's core, without a word between cores, and what Linux's own TCP reaches over
the same veth pair, is shown too.
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
# Of the sink: the kernel's default; and what keeps fewer segments waiting between the cores than
# RPS holds (1,000; the next is lost) and than their caches do (seen, raw frames into the sink:
# 4.4 Gbit/s where 3 MB may wait, 7.3 where 0.4 MB may).
RECEIVE_BUFFER, RECEIVE_BUFFER_STEERED = 6291456, {1500: 350000}

INTO, SALVO, LINUX = "raw frames into the sink", "salvo's TCP", "Linux's TCP"
UNREAD, SAME_CORE = "raw frames, unread", "raw frames, unread, dropped on the sender's core"
POLLED = ", polled"
ROWS = (INTO, SALVO, UNREAD, SAME_CORE, LINUX, INTO + POLLED, SALVO + POLLED, UNREAD + POLLED)


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


def _receive_buffer(pair, size):
    rig.inside(pair.server, "sysctl", "-qw", f"net.ipv4.tcp_rmem=4096 {min(size, 131072)} {size}")


def _unread(plan, pair, case, polled=False):
    said = rig.raw(plan, pair, *case, plan.seconds, polled)
    return {"rate": said["bytes"] * 8 / said["seconds"],
            "share": said["cpu_seconds"] / said["seconds"],
            "cpu_rate": said["bytes"] * 8 / said["cpu_seconds"]}


def _connection(plan, pair, case, sink, *sender):
    """By salvo's TCP ("net") or raw frames ("bare", and the sink's MAC)."""
    device, mtu = case
    rate, said, busy = sink.connection(plan, sender[0], f"{rig.SINK}:{rig.PORT}", rig.OURS, device,
                                       mtu, *sender[1:], namespace=pair.client)
    # The CPU is of the whole connection, and so are the segments.
    return {"rate": rate, "share": said["cpu_seconds"] / (plan.seconds + plan.warmup),
            "cpu_rate": said["segments_out"] * (mtu - rig.HEADERS) * 8 / said["cpu_seconds"],
            "again": said.get("retransmitted", said.get("again")), "sink_share": busy}


def _linux(plan, pair, sink):
    rate, said, busy = rig.linux(plan, pair, sink)
    return {"rate": rate, "share": said["cpu_seconds"] / (plan.seconds + plan.warmup),
            "sink_share": busy}


def _know_each_other(pair):
    """Raw frames ask for no MAC and answer nobody who asks for theirs. Returns the sink's."""
    rig.inside(pair.server, "ip", "neigh", "replace", rig.OURS, "lladdr",
               rig.mac(pair.client, rig.DEVICE), "dev", PEER, "nud", "permanent")
    return rig.mac(pair.server, PEER)


def _round(plan, pair, case, sink, runs, index, polled=""):
    """What is compared, side by side, every second time the other way round."""
    mac = _know_each_other(pair)
    turns = {INTO: lambda: _connection(plan, pair, case, sink, "bare", mac),
             SALVO: lambda: _connection(plan, pair, case, sink, "net"),
             UNREAD: lambda: _unread(plan, pair, case, bool(polled))}
    for row in reversed(turns) if index % 2 else turns:
        runs[row + polled].add(**turns[row]())


def _case(plan, pair, case):
    """Runs by row; or why not here, as a text."""
    runs = {row: Runs() for row in ROWS}
    rig.link((pair.client, rig.DEVICE), (pair.server, PEER), case[1])
    try:
        rig.inside(pair.client, "ip", "link", "set", rig.DEVICE, "arp", "off")
        rig.inside(pair.server, "ip", "addr", "add", rig.SINK + "/24", "dev", PEER)
        missing = rig.why_not(plan, pair, *case)
        if missing:
            return missing
        _receive_buffer(pair, RECEIVE_BUFFER_STEERED.get(case[1], RECEIVE_BUFFER))
        with rig.sink(plan, pair.server, plan.seconds) as sink:
            for index in range(plan.repeats):
                _steer(pair, 1 << rig.SINK_CPU)
                _round(plan, pair, case, sink, runs, index)
                runs[LINUX].add(**_linux(plan, pair, sink))
                _steer(pair, 0)
                runs[SAME_CORE].add(**_unread(plan, pair, case))
        _poll(pair)
        _receive_buffer(pair, RECEIVE_BUFFER)
        with rig.sink(plan, pair.server, plan.seconds, polls=True) as sink:
            for index in range(plan.repeats):
                _round(plan, pair, case, sink, runs, index, POLLED)
        return runs
    finally:
        rig.unlink(pair.client, rig.DEVICE)


def _detail(runs):
    low, high = runs.spread("rate")
    return (f"{number(low)} to {number(high)}bit/s; had {runs.median('share'):.0%} of its core, "
            f"{number(runs.median('cpu_rate'))}bit a CPU second")


def _end(runs):
    return (f"{runs.median('again'):.0f} sent again; the kernel's end had "
            f"{runs.median('sink_share'):.0%} of its core")


def _part(runs, row, whole):
    """How much of what `whole` reached this was."""
    return f"{statistics.median(ratios(runs[row], runs[whole], 'rate')):.2f}"


def _salvo_row(report, name, runs, polled):
    tcp, into = runs[SALVO + polled], runs[INTO + polled]
    each, by_cpu = ratios(tcp, into, "rate"), ratios(tcp, into, "cpu_rate")
    ratio = statistics.median(each)
    report.add("bulk", f"{name}: {SALVO}{polled}", number(tcp.median("rate")) + "bit/s",
               "" if polled else f">= {RATIO_MIN} of it", None if polled else ratio >= RATIO_MIN,
               beside=number(into.median("rate")) + "bit/s", ratio=ratio,
               detail=f"{min(each):.2f} to {max(each):.2f} in {len(each)} rounds; by CPU "
               f"{statistics.median(by_cpu):.2f}; {_detail(tcp)}; {_end(tcp)}",
               figures=dict(tcp.all(), ratios=each, cpu_ratios=by_cpu))


def add_rows(report, name, runs):
    """A device's rows, in the order of ROWS."""
    def add(row, detail):
        report.add("bulk", f"{name}: {row}", number(runs[row].median("rate")) + "bit/s",
                   detail=detail, figures=runs[row].all())

    def add_three(polled):
        into, tcp, unread = INTO + polled, SALVO + polled, UNREAD + polled
        add(into, f"{_detail(runs[into])}; {_end(runs[into])}")
        _salvo_row(report, name, runs, polled)
        add(unread, f"raw frames into the sink are {_part(runs, into, unread)} of it, salvo's TCP "
            f"{_part(runs, tcp, unread)}; {_detail(runs[unread])}")

    add_three("")
    add(SAME_CORE, f"salvo's TCP, received on the other, is {_part(runs, SALVO, SAME_CORE)} of it; "
        f"{_detail(runs[SAME_CORE])}")
    add(LINUX, f"without a device of DPDK; salvo's is {_part(runs, SALVO, LINUX)} of it; had "
        f"{runs[LINUX].median('share'):.0%} of its core; the kernel's end had "
        f"{runs[LINUX].median('sink_share'):.0%} of its core")
    add_three(POLLED)


def run(plan, report):
    report.settings["bulk"] = (
        f"sender on core {rig.SENDER_CPU}, the kernel's end (RPS) and the sink on core "
        f"{rig.SINK_CPU}, which reads with MSG_TRUNC into a receive buffer of "
        f"{RECEIVE_BUFFER_STEERED[1500]} bytes by MTU 1500, {RECEIVE_BUFFER} else; no offloads on "
        f"either end; polled: no RPS, GRO, and the sink polls the interface; all of them "
        f"at nice -20; {plan.repeats} rounds of {plan.seconds:g} s behind "
        f"{plan.warmup:g} s; payload bits, medians")
    with rig.huge_pages(), netns.pair() as pair:
        for name, case in CASES.items():
            runs = _case(plan, pair, case)
            if isinstance(runs, str):
                for row in ROWS:
                    report.add("bulk", f"{name}: {row}", "not run", detail=runs)
            else:
                add_rows(report, name, runs)
