"""What salvo sends is what Java reads: every kind of message, to each generation of real brokers.

One Java reader reads what a test's senders wrote with both header forms, and each message is
compared byte for byte with what was submitted and with what its result said.
"""

import random
import subprocess
import time
from collections import Counter, defaultdict

import pytest

import libsalvo
from libsalvo import SalvoError
from mocks import clean_environment
from rocketmq import jars, network, readback
from rocketmq.cluster import wait_until
from sending import HEADERS, assert_all_good, assert_stored_as_sent, sender

COMPRESSED = 0x1
TYPE_ZLIB = 0x300
TYPE_LZ4 = 0x100
TYPE_ZSTD = 0x200


def text_body(size, seed=0):
    """Compressible, and different for each seed."""
    words = random.Random(seed).choices(
        [b"alpha ", b"bravo ", b"charlie ", b"delta "], k=size // 5 + 1
    )
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
        s.submit(
            noise(i * 37 % 3000 + 1, i),
            tags=None if i % 3 == 0 else f"Tag{i % 3}",
            keys=None if i % 5 == 0 else f"key-{number}-{i} shared",
            properties=(
                {} if i % 2 else {"price": '12 € \U0001f680 "quoted" \\ \t end', "n": str(i)}
            ),
            flag=(None, 7, -1, 0x7FFFFFFF, -0x80000000)[i % 5],
            wait_store=(None, True, False)[i % 3],
        )


# --- one by one
# --------------------------------------------------------------------------------------


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
    lines = [f"line {i} äöü \U0001f600" for i in range(50)]
    done = subprocess.run(
        [
            salvo_bin,
            "send",
            "--nameserver",
            cluster.nameserver_addresses,
            *network.current().arguments(),
            "--topic",
            "lines",
            "--key",
            "k1",
            "--tag",
            "red",
            "--property",
            "color=b=l=u=e",
            "--verbose",
            "-D",
            "timeout_ms=60s",
            "-D",
            "retries=50",
            "-",
        ],
        input="".join(line + "\n" for line in lines),
        capture_output=True,
        text=True,
        timeout=300,
        env=clean_environment(),
    )
    assert done.returncode == 0, done.stderr
    found = {m["msgId"]: m for m in readback.messages(cluster, "lines", expect=50)}
    printed = [line.split("\t") for line in done.stdout.splitlines()]
    assert {p[0] for p in printed} == set(found)
    for id_, broker, queue, offset, *_ in printed:
        assert (found[id_]["broker"], found[id_]["queueId"], found[id_]["queueOffset"]) == (
            broker,
            int(queue),
            int(offset),
        )
    assert sorted(m["body"].decode() for m in found.values()) == sorted(lines)
    for m in found.values():
        assert (m["keys"], m["tags"], m["properties"]["color"]) == ("k1", "red", "b=l=u=e")


def test_every_legal_character_in_properties(cluster):
    """All of ASCII but the two separators, UTF-8 up to the last plane; in names as in values."""
    ascii_all = "".join(chr(c) for c in range(1, 0x80) if c not in (1, 2))
    unicode_some = "é߿ࠀ中\ud7ff\ue000￿\U00010000\U0001f680\U0010ffff"
    cluster.create_topic("characters", queues=1, broker="broker-a")

    def fill(s, number):
        s.submit(b"x", properties={"ascii": ascii_all, "unicode": unicode_some})
        s.submit(b"x", properties={"n" + ascii_all + "n": "v", unicode_some: "w"})
        s.submit(b"x", tags="T-ä\U0001f600", keys="k1 k-\U0001f680 " + ascii_all.strip())
        for c in ascii_all + unicode_some:
            if c.strip():  # a blank one is refused, as Java does
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
    batched = each_header(
        cluster, "long-properties", fill, batch="linger", linger_us="20ms", batch_bytes_max="256KiB"
    )
    assert_stored_as_sent(cluster, "long-properties", *plain, *batched)


# --- batches
# -----------------------------------------------------------------------------------------


def test_natural_batches(cluster):
    """What lies in the ring when the lane turns goes together; in caller mode that is up to us."""
    cluster.create_topic("natural", queues=3)
    senders = []
    for number, header in enumerate(HEADERS):
        with sender(
            cluster,
            "natural",
            header=header,
            batch="natural",
            threads="caller",
            batch_bytes_max="16KiB",
            batch_count_max=40,
        ) as s:
            for _ in range(3):
                for i in range(200):
                    s.submit(
                        noise(20 + i, i),
                        tags=f"Tag{i % 3}",
                        keys=f"k{i}",
                        flag=i % 4 - 1,
                        properties={"n": str(i)},
                        wait_store=i % 20 != 0,
                    )
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
        with sender(
            cluster,
            "linger",
            header=header,
            batch="linger",
            linger_us="10s",
            batch_bytes_max="32KiB",
            batch_count_max=50,
        ) as s:
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
            assert s.counter("lane_batches_closed") == s.counter("lane_requests_sent") == 18
            s.finish()
        senders.append(s)
    stored = assert_stored_as_sent(cluster, "linger", *senders)
    # Each batch lies in one queue in the order of its commits.
    first = [stored[0, cookie] for cookie in range(1, 51)]
    assert len({(m["broker"], m["queueId"]) for m in first}) == 1
    assert [m["queueOffset"] for m in first] == list(
        range(first[0]["queueOffset"], first[0]["queueOffset"] + 50)
    )


def test_a_lonely_message_is_no_batch(cluster):
    cluster.create_topic("lonely", queues=1, broker="broker-a")
    with sender(cluster, "lonely", batch="linger", linger_us="1ms") as s:
        s.submit(b"alone", flag=7, properties={"a": "b"})
        s.wait()
        assert s.counter("lane_batches_closed") == 0
        s.finish()
    stored = assert_stored_as_sent(cluster, "lonely", s)
    assert "WAIT" not in stored[0, 1]["properties"]


# --- compression
# -------------------------------------------------------------------------------------


def compress_kinds(version):
    """(options, sysFlag as the version's own consumer gives it back)"""
    # The 5.3.3 consumer clears bit 0x1 after inflating; the 4.9.7 one, which reads 4.x, does not.
    # 4.7.1 knows zlib alone: that a newer client can read more from its broker is not its doing.
    bit = 0 if version == "5.3.3" else COMPRESSED
    kinds = [
        ({"compress": "zlib"}, bit | TYPE_ZLIB),
        ({"compress": "zlib", "compress_old_flag": True}, bit),
    ]
    if version != "4.7.1":
        kinds += [
            ({"compress": "lz4"}, bit | TYPE_LZ4),
            ({"compress": "zstd"}, bit | TYPE_ZSTD),
            ({"compress": "zstd", "compress_level": 9}, bit | TYPE_ZSTD),
        ]
    return kinds


def test_compressed(cluster):
    """Below and above the size at which commit compresses in the lane's place; noise stays as it
    is."""
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
            with sender(
                cluster,
                "compressed-batch",
                header=header,
                batch="linger",
                linger_us="100ms",
                batch_bytes_max="64KiB",
                compress_min=200,
                **kind,
            ) as s:
                for i in range(300):
                    size = 100 + i * 97 % 3000
                    what = ("text", "noise")[i % 2]
                    s.submit(
                        (text_body if what == "text" else noise)(size, i),
                        flag=i % 4 - 1,
                        tags=f"Tag{i % 3}",
                        properties={"kind": what, "n": str(i)},
                    )
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
        found = [
            m["sysFlag"]
            for (p, _), m in stored.items()
            if p == place and m["properties"]["kind"] == "text" and m["size"] > 400
        ]
        assert found and set(found) == {flag}


# --- sizes
# -------------------------------------------------------------------------------------------

BODY_MAX = 4 << 20


def largest_body(version, topic, tag):
    """4 MiB since 4.9; before, the whole stored record had to be within them: 91 bytes, topic, and
    properties with UNIQ_KEY and the broker's CLUSTER."""
    if version != "4.7.1":
        return BODY_MAX
    properties = len("UNIQ_KEY..") + 32 + len("TAGS.." + tag) + len("CLUSTER.DefaultCluster.")
    return BODY_MAX - 91 - len(topic) - properties


def test_smallest_and_largest_body(cluster):
    """The largest is what this generation takes: one byte more is refused by it, not by us."""
    cluster.create_topic("sizes", queues=1, broker="broker-a")
    largest = largest_body(cluster.version, "sizes", "T")

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
    if largest == BODY_MAX:
        return
    with sender(cluster, "sizes") as s:
        s.submit(b"x" * (largest + 1), tags="T")
        s.finish()
    assert (s.done[0]["code"], s.done[0]["broker_code"], s.done[0]["stored"]) == (
        "refused",
        13,
        libsalvo.STORED_NO,
    )
    assert s.done[0]["tries"] == 1 and s.done[0]["detail"] != ""


# --- topics and queues
# -------------------------------------------------------------------------------


def test_a_topic_is_created_on_the_way(cluster):
    """From TBW102, by the first message, on the broker that gets it; later routes are its own."""
    topics = [f"on-the-way-{header}" for header in HEADERS]
    senders = []
    for topic, header in zip(topics, HEADERS):
        assert cluster.route(topic) is None
        with sender(cluster, topic, header=header, route_interval_ms="1s") as s:
            for i in range(50):
                s.submit(b"%d" % i, properties={"n": str(i)})
            s.wait()
            assert s.trouble() is None and s.queues() > 0
            wait_until(lambda t=topic: cluster.route(t), "the topic in a nameserver")
            for i in range(50):
                s.submit(b"later %d" % i, properties={"n": str(i)})
            s.finish()
        senders.append(s)
    assert_stored_as_sent(cluster, topics, *senders)


@pytest.mark.parametrize("version", jars.VERSIONS)
def test_without_automatic_creation_a_topic_has_to_be_made(new_cluster, salvo_bin, version):
    """Until it is, a message waits for it within its budget, and then says why it was not sent."""
    cluster = new_cluster(version, brokers=1, auto_create=False)
    with sender(cluster, "made-later", route_interval_ms="1s") as s:
        s.submit(b"hasty", topic="nobody-made-it", deadline_ms=5000)
        s.submit(b"patient")
        s.wait(until=lambda: len(s.done) == 1)
        assert (s.done[0]["code"], s.done[0]["stored"]) == ("no_route", libsalvo.STORED_NO)
        assert "does not exist" in s.trouble("nobody-made-it")
        assert s.done[0]["detail"] != ""
        cluster.create_topic("made-later", queues=1)
        assert s.finish()[1]["code"] == "ok"
    assert [m["body"] for m in readback.messages(cluster, "made-later", expect=1)] == [b"patient"]
    done = subprocess.run(
        [
            salvo_bin,
            "send",
            "--nameserver",
            cluster.nameserver_addresses,
            *network.current().arguments(),
            "--topic",
            "nobody-made-it",
            "-D",
            "timeout_ms=5s",
        ],
        input="a\n",
        capture_output=True,
        text=True,
        timeout=300,
        env=clean_environment(),
    )
    assert done.returncode == 1 and "nobody-made-it" in done.stderr, done.stderr


def test_several_topics_and_queues_in_turn(cluster):
    """Round robin: each writable queue of each topic gets its share; a read-only one gets
    nothing."""
    shapes = {"turn-3": 3, "turn-1": 1, "turn-8": 8}
    for topic, queues in shapes.items():
        cluster.create_topic(topic, queues=queues)
    cluster.create_topic("turn-one-broker", queues=2, broker="broker-b")
    shapes["turn-one-broker"] = 1
    senders = []
    for header in HEADERS:
        with sender(cluster, None, header=header) as s:
            for topic in shapes:
                s.topic_pointer(topic)
            wait_until(lambda s=s: all(s.queues(t) for t in shapes), "routes")
            for i in range(96):
                for topic in shapes:
                    s.submit(b"%d" % i, topic=topic, keys=f"k{i}")
            s.finish()
        senders.append(s)
    stored = assert_stored_as_sent(cluster, list(shapes), *senders)
    for place, s in enumerate(senders):
        for topic, queues in shapes.items():
            shares = Counter(
                (m["broker"], m["queueId"])
                for (p, _), m in stored.items()
                if p == place and m["topic"] == topic
            )
            assert len(shares) == 2 * queues and sum(shares.values()) == 96
            # Equal, but for what connections that came up later missed and retries moved.
            assert max(shares.values()) <= 96 / (2 * queues) * 3 + 2, shares


def test_pinned_queue(cluster):
    cluster.create_topic("pinned", queues=3)
    senders = []
    for header, batch in zip(HEADERS, ("off", "linger")):
        with sender(cluster, "pinned", header=header, batch=batch) as s:
            wait_until(lambda s=s: s.queues() == 6, "route")
            for i in range(60):
                s.submit(b"%d" % i, queue=i % 6, properties={"queue": str(i % 6)})
            s.finish()
        senders.append(s)
    stored = assert_stored_as_sent(cluster, "pinned", *senders)
    places = defaultdict(set)
    for m in stored.values():
        places[m["properties"]["queue"]].add((m["broker"], m["queueId"]))
    assert all(len(each) == 1 for each in places.values())
    assert len(set.union(*places.values())) == 6


def test_a_queue_that_is_not_there_is_an_error(cluster):
    cluster.create_topic("pinned-far", queues=2, broker="broker-a")
    with sender(cluster, "pinned-far") as s:
        wait_until(lambda: s.queues() == 2, "route")
        began = time.monotonic()
        s.submit(b"nowhere", queue=2, deadline_ms=1500)
        s.submit(b"here", queue=1, deadline_ms=60000)
        s.finish()
        assert time.monotonic() - began < 30
    by_cookie = {r["cookie"]: r for r in s.done}
    assert by_cookie[1]["stored"] == libsalvo.STORED_NO and by_cookie[1]["tries"] == 0
    assert by_cookie[1]["detail"] != ""
    assert by_cookie[2]["code"] == "ok"


# --- order
# -------------------------------------------------------------------------------------------


def submit_ordered(s, shards, numbers, **more):
    for n in numbers:
        for shard in range(shards):
            s.submit(b"seq=%d:%d " % (shard, n), shard=f"order-{shard}", **more)


@pytest.mark.parametrize("batch", ["off", "natural", "linger"])
def test_shards_keep_their_order(cluster, batch):
    topics = [f"ordered-{batch}-{header}" for header in HEADERS]
    for topic, header in zip(topics, HEADERS):
        cluster.create_topic(topic, queues=4)
        with sender(cluster, topic, header=header, batch=batch) as s:
            wait_until(lambda s=s: s.queues() == 8, "route")
            submit_ordered(s, 20, range(30))
            s.finish()
        assert_all_good(s.done, s.sent)
        counts = readback.summary(cluster, topic, expect=600)
        assert counts["messages"] == counts["distinct"] == counts["sequenced"] == 600
        assert counts["shards"] == 20
        assert (
            counts["sequence_missing"] == counts["sequence_repeated"] == counts["out_of_order"] == 0
        ), counts
        # Each shard in one queue, and not all in the same.
        found = readback.messages(cluster, topic, expect=600)
        queues = defaultdict(set)
        for m in found:
            queues[m["body"].split(b":")[0]].add((m["broker"], m["queueId"]))
        assert all(len(each) == 1 for each in queues.values())
        assert len(set.union(*queues.values())) > 3


# --- later, and without waiting
# ----------------------------------------------------------------------


def test_delayed_messages_come_later_with_their_properties(cluster):
    """Level 1: the broker lists it in its topic a second later, as it was sent, with where it was
    to go. (ScheduleMessageService takes DELAY out when its time has come, but only after it has
    written down the properties, so that consumers still see it.)"""
    cluster.create_topic("delayed", queues=2)
    senders = []
    for header, batch in zip(HEADERS, ("off", "linger")):
        with sender(cluster, "delayed", header=header, batch=batch) as s:
            for i in range(10):
                s.submit(
                    b"later %d" % i,
                    delay=1,
                    tags="T",
                    keys=f"k{i}",
                    flag=7,
                    properties={"n": str(i), "u": "ä"},
                )
            s.submit(b"now", properties={"n": "now"})
            s.finish()
        senders.append(s)
    stored = assert_stored_as_sent(cluster, "delayed", *senders)
    for (place, cookie), m in stored.items():
        p = m["properties"]
        if cookie == 11:
            assert not p.keys() & {"DELAY", "REAL_TOPIC", "REAL_QID"}
            continue
        assert m["storeTimestamp"] - m["bornTimestamp"] >= 800
        assert (p["DELAY"], p["REAL_TOPIC"]) == ("1", "delayed")
        assert p["REAL_QID"] == str(m["queueId"])
