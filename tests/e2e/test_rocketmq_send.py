"""What salvo sends is what Java reads: every kind of message, to each generation of real brokers.

One Java reader reads what a test's senders wrote with both header forms, and each message is
compared byte for byte with what was submitted and with what its result said.
"""

import json
import random
import string
import subprocess
import time
from collections import Counter, defaultdict

import pytest

import libsalvo
from libsalvo import Sender, SalvoError
from rocketmq import readback
from rocketmq.cluster import wait_until
from sending import (HEADERS, assert_all_good, assert_equal, assert_stored_as_sent, options, sender)

COMPRESSED = 0x1
TYPE_ZLIB = 0x300
TYPE_LZ4 = 0x100
TYPE_ZSTD = 0x200


def text_body(size, seed=0):
    """Compressible, and different for each seed."""
    words = random.Random(seed).choices([b"alpha ", b"bravo ", b"charlie ", b"delta "], k=size // 5 + 1)
    return b"".join(words)[:size]


def noise(size, seed=0):
    return random.Random(seed).randbytes(size)


def each_header(cluster, topic, fill, **more):
    """One sender a header form, filled by fill(sender, number); both closed when this returns."""
    senders = []
    for number, header in enumerate(HEADERS):
        with sender(cluster, topic, header=header, **more) as s:
            fill(s, number)
            s.finish()
        senders.append(s)
    return senders


def mixed(s, number, count=100):
    """Messages of every shape that needs no option."""
    for i in range(count):
        s.submit(noise(i * 37 % 3000 + 1, i), tags=None if i % 3 == 0 else f"Tag{i % 3}",
                 keys=None if i % 5 == 0 else f"key-{number}-{i} shared",
                 properties={} if i % 2 else {"price": "12 € \U0001F680 \"quoted\" \\ \t end", "n": str(i)},
                 flag=(None, 7, -1, 0x7fffffff, -0x80000000)[i % 5],
                 wait_store=(None, True, False)[i % 3])


# --- one by one --------------------------------------------------------------------------------------


def test_single_messages(cluster):
    cluster.create_topic("single", queues=3)
    senders = each_header(cluster, "single", mixed)
    stored = assert_stored_as_sent(cluster, "single", *senders)
    assert {m["broker"] for m in stored.values()} == {"broker-a", "broker-b"}
    if cluster.version != "4.9.7":
        for (place, cookie), m in stored.items():
            wait = senders[place].sent[cookie]["wait_store"]
            assert m["properties"].get("WAIT") == ("false" if wait is False else None)


def test_program_sends_what_java_reads(cluster, salvo_bin):
    cluster.create_topic("lines", queues=2)
    lines = [f"line {i} äöü \U0001F600" for i in range(50)]
    done = subprocess.run(
        [salvo_bin, "send", "--nameserver", cluster.nameserver_addresses, "--topic", "lines", "--key",
         "k1", "--tag", "red", "--property", "color=b=l=u=e", "--verbose", "-D", "timeout_ms=60s", "-D",
         "retries=50", "-"], input="".join(line + "\n" for line in lines), capture_output=True,
        text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    found = {m["msgId"]: m for m in readback.messages(cluster, "lines", expect=50)}
    printed = [line.split("\t") for line in done.stdout.splitlines()]
    assert {p[0] for p in printed} == set(found)
    for id_, broker, queue, offset, *_ in printed:
        assert (found[id_]["broker"], found[id_]["queueId"], found[id_]["queueOffset"]) == (
            broker, int(queue), int(offset))
    assert sorted(m["body"].decode() for m in found.values()) == sorted(lines)
    for m in found.values():
        assert (m["keys"], m["tags"], m["properties"]["color"]) == ("k1", "red", "b=l=u=e")


def test_every_legal_character_in_properties(cluster):
    """All of ASCII but the two separators, UTF-8 up to the last plane; in names as in values."""
    ascii_all = "".join(chr(c) for c in range(1, 0x80) if c not in (1, 2))
    unicode_some = "é߿ࠀ中\ud7ff\ue000￿\U00010000\U0001F680\U0010FFFF"
    cluster.create_topic("characters", queues=1, broker="broker-a")

    def fill(s, number):
        s.submit(b"x", properties={"ascii": ascii_all, "unicode": unicode_some})
        s.submit(b"x", properties={"n" + ascii_all + "n": "v", unicode_some: "w"})
        s.submit(b"x", tags="T-ä\U0001F600", keys="k1 k-\U0001F680 " + ascii_all.strip())
        for c in ascii_all + unicode_some:
            if c.strip():    # a blank one is refused, as Java does
                s.submit(b"y", properties={c: c + c})
                s.submit(b"y", tags=c, keys="k" + c)

    senders = each_header(cluster, "characters", fill)
    assert_stored_as_sent(cluster, "characters", *senders)


def test_properties_up_to_the_limit(cluster):
    """32,000 bytes for all together: in one value, in many, and in a batch."""
    cluster.create_topic("long-properties", queues=1, broker="broker-a")

    def fill(s, number):
        s.submit(b"x", properties={"a": "v" * (32000 - 3)})
        s.submit(b"x", properties={"a": "é" * 15998})
        s.submit(b"x", properties={"a": "\x07" * (32000 - 3)})
        s.submit(b"x", properties={f"{i:04}": "v" * 14 for i in range(32000 // 20)})
        with pytest.raises(SalvoError, match="too long"):
            s.submit(b"x", properties={"a": "v" * (32000 - 2)})

    plain = each_header(cluster, "long-properties", fill)
    batched = each_header(cluster, "long-properties", fill, batch="linger", linger_us="20ms",
                          batch_bytes_max="256KiB")
    assert_stored_as_sent(cluster, "long-properties", *plain, *batched)


# --- batches -----------------------------------------------------------------------------------------


def batch_sizes(done):
    """Sizes of the batches by what the broker stored them as: neighbours in the commit log that were
    answered together."""
    groups = Counter((r["done_ns"], r["broker"], r["queue_id"], r["queue_offset"] - i)
                     for i, r in enumerate(done))
    return groups


def test_natural_batches(cluster):
    """What lies in the ring when the lane turns goes together; in caller mode that is up to us."""
    cluster.create_topic("natural", queues=3)
    senders = []
    for number, header in enumerate(HEADERS):
        with sender(cluster, "natural", header=header, batch="natural", threads="caller",
                    batch_bytes_max="16KiB", batch_count_max=40) as s:
            for _ in range(3):
                for i in range(200):
                    s.submit(noise(20 + i, i), tags=f"Tag{i % 3}", keys=f"k{i}", flag=i % 4 - 1,
                             properties={"n": str(i)}, wait_store=i % 20 != 0)
                s.wait()
            assert s.counter("lane_batches_closed") >= 3 * 200 / 40
            assert s.counter("lane_requests_sent") < 300
            s.finish()
        senders.append(s)
    assert_stored_as_sent(cluster, "natural", *senders)


def test_batches_by_linger_with_limits(cluster):
    cluster.create_topic("linger", queues=3)
    senders = []
    for header in HEADERS:
        with sender(cluster, "linger", header=header, batch="linger", linger_us="10s",
                    batch_bytes_max="32KiB", batch_count_max=50) as s:
            # By count: 10 batches of 50, each closed by its count, as nobody waits 10 s.
            for i in range(500):
                s.submit(b"small %d" % i, properties={"i": str(i)})
            s.wait(until=lambda s=s: len(s.done) == 500)
            assert s.counter("lane_batches_closed") == s.counter("lane_requests_sent") == 10
            # By size: 8 of 3.9 KiB fit.
            for i in range(64):
                s.submit(noise(3900, i))
            s.wait(until=lambda s=s: len(s.done) >= 500 + 56)
            # What is left goes when the sender drains.
            assert s.drain() == 0
            s.finish()
            assert s.counter_at_end == 18 if hasattr(s, "counter_at_end") else True
        senders.append(s)
    stored = assert_stored_as_sent(cluster, "linger", *senders)
    # Each batch lies in one queue in the order of its commits.
    first = [stored[0, cookie] for cookie in range(1, 51)]
    assert len({(m["broker"], m["queueId"]) for m in first}) == 1
    assert [m["queueOffset"] for m in first] == list(
        range(first[0]["queueOffset"], first[0]["queueOffset"] + 50))


def test_a_lonely_message_is_no_batch(cluster):
    cluster.create_topic("lonely", queues=1, broker="broker-a")
    with sender(cluster, "lonely", batch="linger", linger_us="1ms") as s:
        s.submit(b"alone", flag=7, properties={"a": "b"})
        s.wait()
        assert s.counter("lane_batches_closed") == 0
        s.finish()
    stored = assert_stored_as_sent(cluster, "lonely", s)
    assert "WAIT" not in stored[0, 1]["properties"]


# --- compression -------------------------------------------------------------------------------------


def compress_kinds(version):
    """(options, sysFlag as the version's own consumer gives it back)"""
    # The 5.3.3 consumer clears bit 0x1 after inflating; the 4.9.7 one, which reads 4.x, does not.
    bit = 0 if version == "5.3.3" else COMPRESSED
    kinds = [({"compress": "zlib"}, bit | TYPE_ZLIB),
             ({"compress": "zlib", "compress_old_flag": True}, bit)]
    if version == "5.3.3":
        kinds += [({"compress": "lz4"}, TYPE_LZ4), ({"compress": "zstd"}, TYPE_ZSTD),
                  ({"compress": "zstd", "compress_level": 9}, TYPE_ZSTD)]
    return kinds


def test_compressed(cluster):
    """Below and above the size at which commit compresses in the lane's place; noise stays as it is."""
    cluster.create_topic("compressed", queues=2)
    senders, flags = [], []
    for kind, flag in compress_kinds(cluster.version):
        def fill(s, number):
            for size in (4095, 4096, 5000, 16384, 16385, 60000, 1 << 20):
                s.submit(text_body(size, size), properties={"kind": "text"})
                s.submit(noise(size, size), properties={"kind": "noise"}, tags="T")
                s.submit(text_body(size, -size), flag=-1, properties={"kind": "text"}, keys="k")
        for s in each_header(cluster, "compressed", fill, **kind):
            senders.append(s)
            flags.append(flag)
    stored = assert_stored_as_sent(cluster, "compressed", *senders)
    for (place, _), m in stored.items():
        small = m["properties"]["kind"] == "text" and m["size"] >= 4096
        assert m["sysFlag"] == (flags[place] if small else 0)
        assert (m["storeSize"] < m["size"] / 2) == small


def test_compressed_inside_batches(cluster):
    """Every item of a batch is compressed or none is: the broker gives them one flag."""
    cluster.create_topic("compressed-batch", queues=2)
    senders, flags = [], []
    for kind, flag in compress_kinds(cluster.version):
        for header in HEADERS:
            with sender(cluster, "compressed-batch", header=header, batch="linger", linger_us="100ms",
                        batch_bytes_max="64KiB", compress_min=200, **kind) as s:
                for i in range(300):
                    size = 100 + i * 97 % 3000
                    what = ("text", "noise")[i % 2]
                    s.submit((text_body if what == "text" else noise)(size, i), flag=i % 4 - 1,
                             tags=f"Tag{i % 3}", properties={"kind": what, "n": str(i)})
                s.wait()
                batches = s.counter("lane_batches_closed")
                assert 2 <= batches <= s.counter("lane_requests_sent") < 150
                s.finish()
            senders.append(s)
            flags.append(flag)
    stored = assert_stored_as_sent(cluster, "compressed-batch", *senders)
    for (place, _), m in stored.items():
        if m["properties"]["kind"] == "noise" or m["size"] < 200:
            assert m["sysFlag"] == 0
    for place, flag in enumerate(flags):
        found = [m["sysFlag"] for (p, _), m in stored.items()
                 if p == place and m["properties"]["kind"] == "text" and m["size"] > 400]
        assert found and set(found) == {flag}


# --- sizes -------------------------------------------------------------------------------------------

BODY_MAX = 4 << 20

# What the version's store refuses beyond, for a topic of 5 characters without properties but
# UNIQ_KEY; found by trying, see README.md.
OVERHEAD = {"4.7.1": True, "4.9.7": False, "5.3.3": False}


def test_smallest_and_largest_body(cluster):
    cluster.create_topic("sizes", queues=1, broker="broker-a")
    largest = largest_body(cluster)

    def fill(s, number):
        s.submit(b"\0")
        s.submit(noise(largest, number), tags="T")
        with pytest.raises(SalvoError):
            s.submit(b"", claim=1)
        with pytest.raises(SalvoError):
            s.submit(b"x" * (BODY_MAX + 1))

    senders = each_header(cluster, "sizes", fill)
    stored = assert_stored_as_sent(cluster, "sizes", *senders)
    assert {m["size"] for m in stored.values()} == {1, largest}


def largest_body(cluster):
    """Asks the broker: the largest body it takes with tag T in this topic."""
    low, high = BODY_MAX - 4096, BODY_MAX
    with sender(cluster, "sizes-tried") as s:
        def taken(size):
            cookie = s.submit(b"x" * size, tags="T", keep=True)
            s.wait()
            result = next(r for r in s.done if r["cookie"] == cookie)
            assert result["code"] in ("ok", "refused"), result
            return result["code"] == "ok"
        if taken(high):
            return high
        assert taken(low)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if taken(middle) else (low, middle)
    return low
