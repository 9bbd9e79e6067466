"""`salvo frame` from outside: golden frames, streams, captures, and what is none of them."""

import random
import re
import struct
from pathlib import Path

import pytest

from program import run

ROOT = Path(__file__).resolve().parents[2]


def test_frame_reads_the_golden_frames(salvo_bin):
    paths = sorted((ROOT / "tests" / "golden").glob("*.hex"))
    assert len(paths) >= 40
    for path in paths:
        done = run(salvo_bin, "frame", "--hex", path)
        assert done.returncode == 0, done.stderr
        code = re.search(r"^# code: (-?\d+)", path.read_text(), re.M)[1]
        assert f"({code})," in done.stdout


def golden_bytes(name):
    text = (ROOT / "tests" / "golden" / name).read_text()
    return bytes.fromhex("".join(line.partition("#")[0] for line in text.splitlines()))


FRAMES = [golden_bytes(f"{name}-5.3.3-{form}.hex") for form in ("binary", "json")
          for name in ("send-v2", "batch-16", "response-bare")]


@pytest.mark.parametrize("cut", [1, 3, 4, 7, 8, 30, -1])
def test_frame_begins_in_the_middle_of_a_connection(salvo_bin, tmp_path, cut):
    """What is left of a frame in front is passed over, all behind it is read."""
    path = tmp_path / "stream"
    for first in (frame for frame in FRAMES if len(frame) > cut):
        path.write_bytes(first[cut:] + b"".join(FRAMES))
        done = run(salvo_bin, "frame", path)
        assert done.returncode == 0, done.stderr
        assert len(re.findall(r"^frame \d+ at ", done.stdout, re.M)) == len(FRAMES), done.stdout
        assert f"{len(first[cut:])} bytes passed over at offset 0" in done.stderr


def test_frame_goes_on_behind_bytes_that_make_no_sense(salvo_bin, tmp_path):
    path = tmp_path / "stream"
    path.write_bytes(FRAMES[0] + b"\xff" * 100 + FRAMES[1] + bytes(range(256)) + FRAMES[2])
    done = run(salvo_bin, "frame", path)
    assert done.returncode == 1
    assert len(re.findall(r"^frame \d+ at ", done.stdout, re.M)) == 3
    assert f"100 bytes passed over at offset {len(FRAMES[0])}" in done.stderr
    assert f"offset {len(FRAMES[0])}: " in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("rest", [b"#", b"# of a body\n", b"#" * 5000, b"5a" * 5000])
def test_frame_takes_no_stream_for_hex_text(salvo_bin, tmp_path, rest):
    """A body cut where it looks like the start of a text, for longer than a look at it would be."""
    path = tmp_path / "stream"
    path.write_bytes(rest + b"".join(FRAMES))
    done = run(salvo_bin, "frame", path)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^frame \d+ at ", done.stdout, re.M)) == len(FRAMES), done.stdout
    assert f"{len(rest)} bytes passed over at offset 0" in done.stderr


@pytest.mark.parametrize(
    "content",
    [
        random.Random(1).randbytes(1 << 20),
        bytes(1 << 20),
        b"a line of a log\n" * 1000,
        struct.pack(">II8x", 1000000, 0x01000010) * 65536,
    ],
    ids=["random", "zeros", "text", "starts without a header"],
)
def test_frame_finds_none_where_there_is_none(salvo_bin, tmp_path, content):
    path = tmp_path / "stream"
    path.write_bytes(content)
    done = run(salvo_bin, "frame", path)
    assert done.returncode == 1 and done.stdout == ""
    assert "offset 0: " in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("length", [0, 10, 1 << 24, 0xFFFFFFFF])
def test_frame_passes_over_a_length_that_lies(salvo_bin, tmp_path, length):
    path = tmp_path / "stream"
    path.write_bytes(struct.pack(">I", length) + FRAMES[0][4:] + b"".join(FRAMES))
    done = run(salvo_bin, "frame", path)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^frame \d+ at ", done.stdout, re.M)) == len(FRAMES), done.stdout
    assert f"{len(FRAMES[0])} bytes passed over at offset 0" in done.stderr


def pcap_of(segments, port=40000):
    """A capture of one direction of a connection: (sequence, bytes), without its SYN."""
    out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    for sequence, payload in segments:
        size = 40 + len(payload)
        packet = struct.pack(">BBHHHBBH4s4s", 0x45, 0, size, 0, 0, 64, 6, 0, b"\x0a\0\0\x01",
                             b"\x0a\0\0\x02")
        packet += struct.pack(">HHIIBBHHH", port, 10911, sequence, 0, 0x50, 0x18, 8192, 0, 0)
        out += struct.pack("<IIII", 0, 0, size, size) + packet + payload
    return out


def test_frame_says_that_there_were_too_many_connections(salvo_bin, tmp_path):
    path = tmp_path / "capture.pcap"
    for port_count, left_out in ((4096, 0), (4099, 3)):
        captures = [pcap_of([(0, FRAMES[0])], port=1000 + i) for i in range(port_count)]
        path.write_bytes(captures[0] + b"".join(c[24:] for c in captures[1:]))
        done = run(salvo_bin, "frame", path)
        assert len(re.findall(r"^frame \d+ at ", done.stdout, re.M)) == 4096
        assert done.returncode == (1 if left_out else 0), done.stderr
        said = "3 packets left out, of connections behind the first 4096"
        assert (said in done.stderr) == (left_out > 0)


def test_frame_reads_a_capture_that_misses_packets(salvo_bin, tmp_path):
    """It begins in the middle, and two packets are lost: only the frames they cut are missing."""
    stream = b"".join(FRAMES * 20)
    chunks = [(at, stream[at:at + 1000]) for at in range(333, len(stream), 1000)]
    lost = (len(chunks) // 3, 2 * len(chunks) // 3)
    path = tmp_path / "capture.pcap"
    path.write_bytes(pcap_of(c for i, c in enumerate(chunks) if i not in lost))
    done = run(salvo_bin, "frame", path)
    assert done.returncode == 0, done.stderr

    ends, whole = 0, 0
    for frame in FRAMES * 20:
        begin, ends = ends, ends + len(frame)
        whole += begin >= 333 and not any(begin < chunks[i][0] + 1000 and ends > chunks[i][0]
                                          for i in lost)
    assert len(re.findall(r"^frame \d+ at ", done.stdout, re.M)) == whole
    assert "2000 bytes are missing in the capture" in done.stderr


@pytest.mark.parametrize(
    "content, place",
    [
        ("00000010", "offset 0"),
        ("0000001", "line 1"),
        ("zz", "line 1, column 1"),
        ("", "no frame"),
        ("ffffffff00000000", "offset 0"),
    ],
)
def test_frame_says_where_input_is_malformed(salvo_bin, content, place):
    done = run(salvo_bin, "frame", "--hex", "-", input=content)
    assert done.returncode == 1 and place in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "content, hint",
    [("00 00 01 02 00 zz\n", True), ("", False), ("\0" * 20, False), ("\u00fc" * 9, False)],
)
def test_frame_points_to_hex_when_a_text_is_no_frame(salvo_bin, content, hint):
    done = run(salvo_bin, "frame", "-", input=content)
    assert done.returncode == 1 and ("--hex" in done.stderr) == hint


def test_frame_help_names_its_exit_codes(salvo_bin, tmp_path):
    text = " ".join(run(salvo_bin, "frame", "--help").stdout.split())
    assert "Exit code: 0; 1 when" in text and "; 2 when the options are wrong." in text
    assert run(salvo_bin, "frame", tmp_path / "nothing").returncode == 1
    assert run(salvo_bin, "frame").returncode == 2


def test_frame_shows_a_terminal_nothing_to_obey(salvo_bin, tmp_path):
    header = (
        b'{"code":10,"extFields":{"\\u001b[31mred":"x","\xc2\x9b31m":"\xc2\x9b32m","a\\nb":"c",'
        b'"properties":"na\x1b[31mme\x01v\x02\xc3\xa4\x01\xc3\xb6\x02"},"flag":0,"opaque":7}'
    )
    path = tmp_path / "frame"
    path.write_bytes(struct.pack(">II", 4 + len(header), len(header)) + header)
    out = run(salvo_bin, "frame", path).stdout
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", out), repr(out)
    assert '"a\\nb" = "c"' in out and '\u00e4 = "\u00f6"' in out
