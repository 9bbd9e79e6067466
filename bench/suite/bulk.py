"""Bulk from salvo's own TCP over a DPDK device to a kernel's, beside raw frames of the same size
through the same device: what the TCP costs where the device is the limit.

The raw frames go into the same sink. They are segments made by hand, which the kernel's TCP takes:
payload copied and summed as a segment's is, the peer's window filled and kept, and no TCP behind
them that would remember or measure anything (bench/micro/bulk_raw.c, "bare").

Raw frames that nobody reads are shown beside: the kernel drops them, by their MAC, before it looks
into them, so what its TCP costs is missing from them. Where the kernel's end is the limit no TCP is
their equal, and neither are the raw frames into the sink. Both are judged, beside either sink.

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
# Bytes, of the sink. Where RPS takes frames to its core (1,000; the next is lost), fewer should
# wait than the caches hold. Seen, raw frames into the sink: 4.4 Gbit/s by a window of 3 MB, 7.3 by
# one of 0.2 MB, which is what comes of 350,000.
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
    return {"rate": said["bytes"] * 8 / said["seconds"]}


def _connection(plan, pair, case, sink, *sender):
    """By salvo's TCP ("net") or raw frames ("bare", and the sink's MAC)."""
    device, mtu = case
    rate, said, busy = sink.connection(plan, sender[0], f"{rig.SINK}:{rig.PORT}", rig.OURS, device,
                                       mtu, *sender[1:], namespace=pair.client)
    # The busy time is of the whole connection, and so are the segments.
    segments = said["segments_out"] - said["retransmitted"]
    return {"rate": rate, "share": said["busy_seconds"] / (plan.seconds + plan.warmup),
            "busy_rate": segments * (mtu - rig.HEADERS) * 8 / said["busy_seconds"],
            "again": said["retransmitted"], "sink_share": busy}


def _linux(plan, pair, sink):
    rate, said, busy = rig.linux(plan, pair, sink)
    return {"rate": rate, "share": said["cpu_seconds"] / (plan.seconds + plan.warmup),
            "sink_share": busy}


def _know_each_other(pair):
    """Raw frames ask for no MAC and answer nobody who asks for theirs. Returns the sink's."""
    rig.inside(pair.server, "ip", "neigh", "replace", rig.OURS, "lladdr",
               rig.mac(pair.client, rig.DEVICE), "dev", PEER, "nud", "permanent")
    return rig.mac(pair.server, PEER)


def _round(plan, pair, case, sink, mac, runs, index, polled=""):
    """What is compared, side by side, every second time the other way round."""
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
        mac = _know_each_other(pair)
        _receive_buffer(pair, RECEIVE_BUFFER_STEERED.get(case[1], RECEIVE_BUFFER))
        with rig.sink(plan, pair.server, plan.seconds) as sink:
            for index in range(plan.repeats):
                _steer(pair, 1 << rig.SINK_CPU)
                _round(plan, pair, case, sink, mac, runs, index)
                runs[LINUX].add(**_linux(plan, pair, sink))
                _steer(pair, 0)
                runs[SAME_CORE].add(**_unread(plan, pair, case))
        _poll(pair)
        _receive_buffer(pair, RECEIVE_BUFFER)
        with rig.sink(plan, pair.server, plan.seconds, polls=True) as sink:
            for index in range(plan.repeats):
                _round(plan, pair, case, sink, mac, runs, index, POLLED)
        return runs
    finally:
        rig.unlink(pair.client, rig.DEVICE)


def _spread(runs):
    low, high = runs.spread("rate")
    return f"{number(low)} to {number(high)}bit/s"


def _detail(runs):
    """Of one that reads answers: what it was busy with, and how the other end was."""
    return (f"{_spread(runs)}; busy for {runs.median('share'):.0%} of the time, "
            f"{number(runs.median('busy_rate'))}bit a second of it; "
            f"{runs.median('again'):.0f} segments sent again; the kernel's end had "
            f"{runs.median('sink_share'):.0%} of its core")


def _part(runs, row, whole):
    """How much of what `whole` reached this was."""
    return f"{statistics.median(ratios(runs[row], runs[whole], 'rate')):.2f}"


def _salvo_row(report, name, runs, polled):
    tcp, into = runs[SALVO + polled], runs[INTO + polled]
    each, by_busy = ratios(tcp, into, "rate"), ratios(tcp, into, "busy_rate")
    ratio = statistics.median(each)
    report.add("bulk", f"{name}: {SALVO}{polled}", number(tcp.median("rate")) + "bit/s",
               f">= {RATIO_MIN} of it", ratio >= RATIO_MIN,
               beside=number(into.median("rate")) + "bit/s", ratio=ratio,
               detail=f"{min(each):.2f} to {max(each):.2f} in {len(each)} rounds; by time that "
               f"the sender was busy {statistics.median(by_busy):.2f}; {_detail(tcp)}",
               figures=dict(tcp.all(), ratios=each, busy_ratios=by_busy))


def add_rows(report, name, runs):
    """A device's rows, in the order of ROWS."""
    def add(row, detail):
        report.add("bulk", f"{name}: {row}", number(runs[row].median("rate")) + "bit/s",
                   detail=detail, figures=runs[row].all())

    def add_three(polled):
        into, tcp, unread = INTO + polled, SALVO + polled, UNREAD + polled
        add(into, _detail(runs[into]))
        _salvo_row(report, name, runs, polled)
        each = ratios(runs[tcp], runs[unread], "rate")
        ratio = statistics.median(each)
        report.add("bulk", f"{name}: {unread}", number(runs[unread].median("rate")) + "bit/s",
                   f"{SALVO} >= {RATIO_MIN} of it", ratio >= RATIO_MIN, ratio=ratio,
                   detail="the ratio is salvo's TCP to it; raw frames into the sink "
                   f"are {_part(runs, into, unread)} of it; {_spread(runs[unread])}",
                   figures=dict(runs[unread].all(), ratios=each))

    add_three("")
    add(SAME_CORE, f"salvo's TCP, received on the other, is {_part(runs, SALVO, SAME_CORE)} of it; "
        f"{_spread(runs[SAME_CORE])}")
    add(LINUX, f"without a device of DPDK; salvo's is {_part(runs, SALVO, LINUX)} of it; had "
        f"{runs[LINUX].median('share'):.0%} of its core; the kernel's end had "
        f"{runs[LINUX].median('sink_share'):.0%} of its core")
    add_three(POLLED)


def run(plan, report):
    report.settings["bulk"] = (
        f"sender on core {rig.SENDER_CPU}, the kernel's end (RPS) and the sink on core "
        f"{rig.SINK_CPU}, which reads with MSG_TRUNC into a receive buffer of "
        f"{RECEIVE_BUFFER_STEERED[1500]} bytes by MTU 1500, {RECEIVE_BUFFER} else; no offloads on "
        f"either end; but for Linux's, no sender sleeps; polled: no RPS, GRO, and the sink polls "
        f"the interface; all of them at nice -20; {plan.repeats} rounds of {plan.seconds:g} s "
        f"behind {plan.warmup:g} s; payload bits, medians")
    with rig.huge_pages(), netns.pair() as pair:
        for name, case in CASES.items():
            runs = _case(plan, pair, case)
            if isinstance(runs, str):
                for row in ROWS:
                    report.add("bulk", f"{name}: {row}", "not run", detail=runs)
            else:
                add_rows(report, name, runs)
