"""Over a veth pair: salvo on one core, the mock on the other, beside the blaster.

The rows of a round run one after the other, what is compared side by side, then the next round, in
the opposite order: each round gives a ratio of two neighbours in time, and their median counts.
"""

import statistics

from . import netns, programs
from .report import Runs, number, ratios

CLIENT_CPU, SERVER_CPU = 0, 1
WINDOW = 4000         # messages out, of salvo and of the blaster
BATCH_WINDOW = 64     # frames out
BATCH_MESSAGES = 160  # about as many messages of 128 bytes as 32 KiB hold
OPEN_RATE = 200_000
PORT = 9876
CORE_IS_LIMIT = 0.9  # of its core's time

# body_size_max sizes the message ring: 1 MiB in place of 16, as a sender of small messages would
# have it. It made a difference before the lane fetched messages ahead; none was seen since.
CALLER = ("-D", "threads=caller", "-D", "body_size_max=64KiB")
UNBATCHED = (*CALLER, "--closed", str(WINDOW), "-D", f"requests_per_broker={WINDOW}")
BATCHED = (*CALLER, "--linger", "1ms", "--batch-bytes", "32KiB",
           "--closed", str(BATCH_WINDOW * BATCH_MESSAGES))

# Short runs, several to a round: a pause of the machine makes a run invalid, rightly, and virtual
# machines pause for 2 ms a few times a second; the shorter a run, the more of them have none.
OPEN = "salvo open"

# name: (mock, program, its options). Neighbours are compared.
CASES = {
    "blaster 128": ("answer", "blaster", ("--size", "128", "--window", str(WINDOW))),
    "salvo 128": ("answer", "load", ("--size", "128", *UNBATCHED, "--net", "uring")),
    "salvo 128 epoll": ("answer", "load", ("--size", "128", *UNBATCHED, "--net", "epoll")),
    "blaster 1k": ("answer", "blaster", ("--size", "1024", "--window", str(WINDOW))),
    "salvo 1k": ("answer", "load", ("--size", "1024", *UNBATCHED, "--net", "uring")),
    "blaster batch": ("answer", "blaster", ("--size", "128", "--batch-bytes", "32768",
                                            "--window", str(BATCH_WINDOW))),
    "salvo batch": ("answer", "load", ("--size", "128", *BATCHED, "--net", "uring")),
    "salvo null": ("answer", "load", ("--size", "128", *UNBATCHED, "--net", "null")),
    "salvo checked": ("check", "load", ("--size", "128", *UNBATCHED, "--net", "uring")),
    OPEN: ("answer", "load", ("--size", "128", *CALLER, "--rate", str(OPEN_RATE),
                              "--idle", "spin", "--net", "uring")),
}
# They spin: to wake one that sleeps costs its client an interrupt from core to core, which a broker
# at the other end of a wire does not (a tenth of a batched message's CPU).
MOCKS = {
    "answer": ("--answer-only", "--spin"),
    "check": ("--spin",),
}


# Beside nothing: fewer rounds of these, longer ones.
ALONE = ("salvo null", "salvo checked")


def _runs_of(plan, names):
    """(name, seconds) of each run in a round."""
    for name in names:
        if name == OPEN:
            yield from [(name, plan.open_seconds)] * plan.open_repeats
        else:
            yield name, plan.alone_seconds if name in ALONE else plan.seconds


def _run_case(plan, pair, name, nameserver, seconds):
    _, program, options = CASES[name]
    if program == "blaster":
        broker = f"{pair.server_address}:{PORT + 1}"
        return programs.blaster(plan, broker, *options, "--seconds", seconds,
                                "--warmup", plan.warmup, namespace=pair.client, cpu=CLIENT_CPU)
    return programs.load(plan, nameserver, "--topic", "T", *options,
                         "--duration", f"{seconds}s", "--warmup", f"{plan.warmup}s",
                         namespace=pair.client, cpu=CLIENT_CPU)


def _figures(done):
    figures = {"rate": done["rate_per_s"], "cpu_us": done["cpu_us_per_message"],
               "core_share": done["rate_per_s"] * done["cpu_us_per_message"] / 1e6}
    if "latency_us" in done:
        figures["p50_us"] = done["latency_us"]["p50"]
        figures["p99_us"] = done["latency_us"]["p99"]
    return figures


def _round(plan, pair, runs, report, index):
    cases = list(CASES.items())
    for kind, options in MOCKS.items():
        wanted = [name for name, case in (reversed(cases) if index % 2 else cases)
                  if case[0] == kind and (name not in ALONE or index < plan.alone_repeats)]
        if not wanted:
            continue
        with programs.mock(plan, "--listen", pair.server_address, "--port", PORT, "--topic",
                           "T:4", "--cpu", SERVER_CPU, *options, namespace=pair.server,
                           cpu=SERVER_CPU) as nameserver:
            for name, seconds in _runs_of(plan, wanted):
                done = _run_case(plan, pair, name, nameserver, seconds)
                if done.get("acked", 1) == 0:
                    raise programs.Failed(f"{name}: nothing was acknowledged")
                runs[name].add(done.get("invalid_reasons", ()), **_figures(done))
                if "build" in done:
                    report.note_build(done)


def limit_of(client_share):
    """Whose core a row's rate is the limit of."""
    if client_share >= CORE_IS_LIMIT:
        return "the client's core is the limit"
    return "the client waited for the mock, or others had its core"


def _detail(runs, paced=False):
    low, high = runs.spread("rate")
    text = [f"{number(low)} to {number(high)}/s; {runs.median('cpu_us'):.3f} us CPU per message, "
            f"{number(1e6 / runs.median('cpu_us'))}/s a core; had {runs.median('core_share'):.0%} "
            f"of its core"]
    if not paced:
        text.append(limit_of(runs.median("core_share")))
    if "p50_us" in runs.all():
        text.append(f"p50 {runs.median('p50_us'):.0f} us, p99 {runs.median('p99_us'):.0f} us")
    return "; ".join(filter(None, (*text, runs.why_not())))


def _add_rate(report, row, runs, rate_min=None):
    rate = runs.median("rate")
    report.add("veth", row, number(rate) + "/s",
               f">= {number(rate_min)}/s" if rate_min else "",
               rate >= rate_min if rate_min else None, detail=_detail(runs), figures=runs.all(),
               valid=runs.usable() or not rate_min)


def _add_beside(report, row, runs, limit, ratio_min=None):
    each = ratios(runs, limit, "rate")
    valid = runs.usable() and bool(each)
    ratio = statistics.median(each) if each else None
    cpu = ratios(limit, runs, "cpu_us")
    detail = (f"{min(each):.2f} to {max(each):.2f} in {len(each)} rounds; by CPU per message "
              f"{statistics.median(cpu):.2f} of it, {min(cpu):.2f} to {max(cpu):.2f}"
              if each else "")
    if runs.median("core_share") < CORE_IS_LIMIT:
        detail += "; salvo did not have its core: read the ratio by CPU"
    report.add("veth", row, number(runs.median("rate")) + "/s",
               f">= {ratio_min} of it" if ratio_min else "",
               valid and ratio >= ratio_min if ratio_min else None,
               beside=number(limit.median("rate")) + "/s", ratio=ratio, detail=detail,
               figures={"ratios": each, "cpu_ratios": cpu}, valid=valid or not ratio_min)


def _add_open(report, runs):
    p50 = runs.median("p50_us")
    report.add("veth", "open loop 200 k/s, both sides spin: p50", f"{p50:.1f} us", "< 40 us",
               p50 < 40, detail=_detail(runs, paced=True), figures=runs.all(),
               valid=runs.usable())


def _rows(report, runs):
    _add_rate(report, "blaster, 128 B", runs["blaster 128"])
    _add_rate(report, "unbatched 128 B", runs["salvo 128"], 1e6)
    _add_beside(report, "unbatched 128 B, beside the blaster", runs["salvo 128"],
                runs["blaster 128"], 0.5)
    _add_rate(report, "blaster, 1 KB", runs["blaster 1k"])
    _add_beside(report, "unbatched 1 KB, beside the blaster", runs["salvo 1k"],
                runs["blaster 1k"], 0.6)
    _add_rate(report, "blaster, batches of 32 KB", runs["blaster batch"])
    _add_rate(report, "batched 32 KB, 128 B", runs["salvo batch"], 5e6)
    _add_open(report, runs[OPEN])
    _add_rate(report, "checking mock, unbatched 128 B", runs["salvo checked"])
    _add_rate(report, "epoll, unbatched 128 B", runs["salvo 128 epoll"])
    _add_beside(report, "uring beside epoll, unbatched 128 B", runs["salvo 128"],
                runs["salvo 128 epoll"])
    _add_rate(report, "null backend, unbatched 128 B", runs["salvo null"])


def run(plan, report):
    report.settings["veth"] = (
        f"client on core {CLIENT_CPU} (threads=caller, body_size_max=64KiB), salvo mock --spin on "
        f"core {SERVER_CPU}; {netns.CONGESTION_CONTROL}; window {WINDOW} messages, {BATCH_WINDOW} "
        f"frames in batches; {plan.repeats} rounds of {plan.seconds:g} s behind "
        f"{plan.warmup:g} s, every second one backwards "
        f"(what is beside nothing: {plan.alone_repeats} of {plan.alone_seconds:g} s; open loop: "
        f"{plan.open_repeats} of {plan.open_seconds:g} s in each round), medians")
    runs = {name: Runs() for name in CASES}
    with netns.pair() as pair:
        for index in range(plan.repeats):
            _round(plan, pair, runs, report, index)
    _rows(report, runs)
