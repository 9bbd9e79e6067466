"""salvo's own TCP beside Linux's, both CUBIC, over a link of 1 ms that loses packets.

    sender (net_af_packet, or the kernel) - veth - middlebox - veth - sink (the kernel)

The senders take turns at the same interface, and send segments of one MTU each: the kernel's has
no offloads either. In a round both have the same seed, so that the n-th packet is lost for both;
the next round has another. Without loss the middlebox is the limit, and says so in rows of its own.
"""

import statistics

from . import netns, rig
from .report import Runs, number, ratios

DELAY_US = 500
SEED = 1000
# row: (loss per 10,000, least ratio)
CASES = {"no loss": (0, None), "0.1 % loss": (10, 0.8), "1 % loss": (100, 0.7)}
DEVICE = f"net_af_packet0,iface={rig.DEVICE}"
BOX = ("sbma", "sbmb")  # in the sink's namespace, and not its business
PEER = "sbds"


def _make(pair):
    rig.link((pair.client, rig.DEVICE), (pair.server, BOX[0]))
    rig.link((pair.server, BOX[1]), (pair.server, PEER))
    for name in BOX:
        rig.inside(pair.server, "ip", "link", "set", name, "arp", "off")
    rig.inside(pair.server, "ip", "addr", "add", rig.SINK + "/24", "dev", PEER)


def _salvo(plan, pair, sink):
    return sink.connection(plan, "net", f"{rig.SINK}:{rig.PORT}", rig.OURS,
                           DEVICE, 1500, namespace=pair.client)


SENDERS = {"Linux": rig.linux, "salvo": _salvo}


def _round(plan, pair, sink, runs, index):
    names = list(SENDERS)
    for row, (loss, _) in CASES.items():
        for name in reversed(names) if index % 2 else names:
            with rig.ready([plan.build / "bench/micro/middlebox", *BOX, f"seed={SEED + 2 * index}",
                            f"loss={loss}", f"delay_us={DELAY_US}"], pair.server):
                rate, said, _ = SENDERS[name](plan, pair, sink)
            runs[row, name].add(rate=rate, again=said["retransmitted"],
                                segments=said["segments_out"],
                                timeouts=said.get("timeouts", 0), probes=said.get("tail_probes", 0))


def _detail(runs):
    low, high = runs.spread("rate")
    return (f"{number(low)} to {number(high)}bit/s; {runs.median('again'):.0f} of "
            f"{runs.median('segments'):.0f} segments sent again")


def add_rows(report, runs):
    for row, (loss, ratio_min) in CASES.items():
        linux, salvo = runs[row, "Linux"], runs[row, "salvo"]
        each = ratios(salvo, linux, "rate")
        ratio = statistics.median(each)
        beside = number(linux.median("rate")) + "bit/s"
        report.add("loss", f"{row}: Linux CUBIC", beside, figures=linux.all(),
                   detail=_detail(linux) + ("" if loss else "; the middlebox is the limit"))
        report.add("loss", f"{row}: salvo CUBIC", number(salvo.median("rate")) + "bit/s",
                   f">= {ratio_min} of it" if ratio_min else "",
                   ratio >= ratio_min if ratio_min else None, beside=beside, ratio=ratio,
                   detail=f"{min(each):.2f} to {max(each):.2f} in {len(each)} rounds; "
                   f"{_detail(salvo)}; {salvo.median('timeouts'):.0f} timeouts, "
                   f"{salvo.median('probes'):.0f} tail probes",
                   figures=dict(salvo.all(), ratios=each))


def run(plan, report):
    report.settings["loss"] = (
        f"{2 * DELAY_US} us round trip by tests/support/middlebox.c, which loses in both "
        f"directions; MTU 1500, no offloads on any end, the kernel sender's included; salvo does "
        f"not sleep; sender on core {rig.SENDER_CPU}, middlebox and sink on core {rig.SINK_CPU}, "
        "all at nice -20; "
        f"{plan.alone_repeats} rounds of {plan.loss_seconds:g} s behind {plan.warmup:g} s in "
        "turns, medians")
    runs = {(row, name): Runs() for row in CASES for name in SENDERS}
    with netns.pair() as pair:
        _make(pair)
        missing = rig.why_not(plan, pair, DEVICE, 1500)
        if missing:
            for row in CASES:
                for name in SENDERS:
                    report.add("loss", f"{row}: {name} CUBIC", "not run", detail=missing)
            return
        with rig.sink(plan, pair.server, plan.loss_seconds) as sink:
            for index in range(plan.alone_repeats):
                _round(plan, pair, sink, runs, index)
    add_rows(report, runs)
