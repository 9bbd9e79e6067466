#!/usr/bin/env python3
"""What a capture of salvo's holds, for tests/dpdk/run: says what is wrong, and ends with 1 then.

    capture.py FILE handshake PORT...      each peer's port: SYN, its answer, bytes each way
    capture.py FILE dhcp                   begins with discover, offer, request and acknowledgment
    capture.py FILE only PORT FROM TO      TCP of this port alone, each way, in time and between
                                           FROM and TO (seconds since the epoch)
"""

import struct
import sys

SYN, ACK = 2, 16


def packets(path):
    """(time in ns, frame) of each packet; every packet is whole, and nothing is behind the last."""
    with open(path, "rb") as file:
        data = file.read()
    magic, _, _, _, _, _, link = struct.unpack_from("=IHHIIII", data)
    assert magic == 0xA1B23C4D, "not a pcap file of nanoseconds"
    assert link == 1, "not Ethernet"
    at = 24
    while at < len(data):
        seconds, ns, kept, size = struct.unpack_from("=IIII", data, at)
        at += 16 + kept
        assert kept == size and at <= len(data), "a packet is cut short"
        yield seconds * 10**9 + ns, data[at - kept:at]


def segment(frame):
    """Ports, sequence, acknowledgment, flags and payload size, or None: no TCP."""
    kind = struct.unpack_from(">H", frame, 12)[0]
    if kind == 0x0800 and frame[23] == 6:
        at, end = 14 + (frame[14] & 15) * 4, 14 + struct.unpack_from(">H", frame, 16)[0]
    elif kind == 0x86DD and frame[20] == 6:
        at, end = 54, 54 + struct.unpack_from(">H", frame, 18)[0]
    else:
        return None
    source, target, sequence, acknowledgment = struct.unpack_from(">HHII", frame, at)
    return (source, target, sequence, acknowledgment, frame[at + 13],
            end - at - (frame[at + 12] >> 4) * 4)


def check_handshake(path, ports):
    segments = [s for s in (segment(frame) for _, frame in packets(path)) if s]
    for port in ports:
        asked = [s for s in segments if s[1] == port and s[4] & (SYN | ACK) == SYN]
        assert asked, f"no SYN to port {port}"
        answers = [s for s in segments if s[0] == port and s[1] == asked[0][0] and
                   s[4] & (SYN | ACK) == SYN | ACK]
        assert answers and answers[0][3] == asked[0][2] + 1 & 0xFFFFFFFF, \
            f"no answer to the SYN to port {port}"
        for way in 0, 1:
            assert any(s[way] == port and s[5] > 0 for s in segments), \
                f"no bytes {'from' if way == 0 else 'to'} port {port}"


def check_dhcp(path):
    """Whatever else the link carries comes and goes as it likes; and TCP has to wait. A server that
    was slow may have been asked again, and may answer both."""
    kinds = []
    for _, frame in packets(path):
        if segment(frame):
            break
        if frame[12:14] == b"\x08\x00" and frame[23] == 17 and frame[36:38] in (b"\0C", b"\0D"):
            kinds.append(frame[284])
    assert list(dict.fromkeys(kinds)) == [1, 2, 3, 5], f"DHCP messages of the kinds {kinds}"


def check_only(path, port, first_s, last_s):
    ways = set()
    before_ns = first_s * 1e9
    # 1 ms: the wall's clock is looked at each second anew, and somebody may be setting it.
    slack_ns = 1e6
    for ns, frame in packets(path):
        found = segment(frame)
        assert found is not None, "a packet that is no TCP"
        assert port in found[:2], f"a segment between ports {found[0]} and {found[1]}"
        assert before_ns - slack_ns <= ns <= last_s * 1e9 + slack_ns, \
            f"a packet of {ns} ns, behind one of {before_ns}, and {last_s} s is the end"
        before_ns = ns
        if found[5] > 0:
            ways.add(found[0] == port)
    assert len(ways) == 2, "bytes go one way only, or not at all"


def main(path, what, *rest):
    try:
        if what == "handshake":
            check_handshake(path, [int(port) for port in rest])
        elif what == "dhcp":
            check_dhcp(path)
        else:
            check_only(path, int(rest[0]), float(rest[1]), float(rest[2]))
    except AssertionError as wrong:
        sys.exit(f"{path}: {wrong}")


if __name__ == "__main__":
    main(*sys.argv[1:])
