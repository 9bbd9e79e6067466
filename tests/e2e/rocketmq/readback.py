"""What a cluster really stored, read back by Java's own consumer.

    messages = readback.messages(cluster, "orders", expect=100)
    assert {m["msgId"] for m in messages} == sent_ids
    assert readback.summary(cluster, "orders", expect=1_000_000)["duplicates"] == 0

`expect` is how many messages must at least be listed; they are waited for, and it is an error
when they do not come. `cluster` may be anything with .version and .nameserver_addresses.
"""

import base64
import json
import tempfile
from pathlib import Path

from . import java


def _read(cluster, topics, expect, wait_s, switches):
    topics = [topics] if isinstance(topics, str) else list(topics)
    with tempfile.TemporaryDirectory(prefix="salvo-read-") as directory:
        out = Path(directory) / "messages"
        java.read(
            cluster.version,
            "--nameserver",
            cluster.nameserver_addresses,
            "--topics",
            ",".join(topics),
            "--expect",
            expect,
            "--wait-s",
            wait_s,
            "--out",
            out,
            *switches
        )
        with open(out, encoding="ascii") as lines:
            return [json.loads(line) for line in lines]


def messages(cluster, topics, expect=0, wait_s=120, digest=False):
    """Every stored message as a dict, by topic, broker, queue and offset.

    Keys: topic broker queueId queueOffset msgId (UNIQ_KEY or None) offsetMsgId tags keys
    properties flag sysFlag bornTimestamp storeTimestamp storeSize reconsumeTimes size, and body
    as bytes, inflated where sysFlag says so. With digest crc32 and sha256 in place of the body.
    """
    found = _read(cluster, topics, expect, wait_s, ["--digest"] if digest else [])
    for each in found:
        if not digest:
            each["body"] = base64.b64decode(each["body"])
    found.sort(key=lambda m: (m["topic"], m["broker"], m["queueId"], m["queueOffset"]))
    return found


def summary(cluster, topics, expect=0, wait_s=120, places=None):
    """Counts only, for big runs: messages distinct duplicates without_id bytes listed queues
    seconds per_queue, and for bodies that begin with seq=<shard>:<n> sequenced shards
    sequence_missing sequence_repeated out_of_order first_out_of_order. `places` is a file that
    gets a line for each message: what `salvo send --verbose` prints for it, id, broker, queue and
    offset between tabs."""
    switches = ["--summary"] + (["--places", places] if places else [])
    return _read(cluster, topics, expect, wait_s, switches)[0]
