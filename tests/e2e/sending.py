"""What the tests of real clusters share: options for a busy machine, and sent = results = stored.

A broker here shares two cores with everything else, so where loss is not the point a message has a
minute and many tries. A retry after a silence may store a message twice, which is not what these
tests look for, so one try may take long as well.
"""

from collections import Counter

import libsalvo
from rocketmq import network, readback

HEADERS = ("binary", "json")

# Set by brokers, by the batch, or by salvo itself; everything else is the user's.
NOT_OURS = {
    "UNIQ_KEY",
    "TAGS",
    "KEYS",
    "WAIT",
    "DELAY",
    "CLUSTER",
    "MSG_REGION",
    "TRACE_ON",
    "REAL_TOPIC",
    "REAL_QID",
}


def options(cluster, **more):
    """Options for a Sender that has all the time it needs."""
    return {
        "nameserver": cluster.nameserver_addresses,
        "timeout_ms": "60s",
        "try_timeout_ms": "30s",
        "retries": 50,
        **network.current().options(),
        **more,
    }


def sender(cluster, topic, **more):
    return libsalvo.Sender(options(cluster, **more), topic)


def assert_all_good(done, sent):
    """Each message has one result, and that is good."""
    assert Counter(r["cookie"] for r in done) == Counter(list(sent))
    bad = [r for r in done if r["stored"] != libsalvo.STORED_YES]
    assert bad == [], bad[:5]
    assert len({r["msg_id"] for r in done}) == len(done)


def assert_stored_as_sent(cluster, topics, *senders):
    """Every message of these senders, all good, is stored once and equal; nothing else is there.

    Returns the stored messages by (sender's place, cookie)."""
    for each in senders:
        assert_all_good(each.done, each.sent)
    expect = sum(len(each.sent) for each in senders)
    found = readback.messages(cluster, topics, expect=expect)
    by_id = {m["msgId"]: m for m in found}
    assert len(found) == expect and len(by_id) == expect
    matched = {}
    for place, each in enumerate(senders):
        for result in each.done:
            m = by_id[result["msg_id"]]
            assert_equal(m, each.sent[result["cookie"]], result)
            matched[place, result["cookie"]] = m
    return matched


def assert_equal(stored, sent, result):
    assert stored["body"] == sent["body"], (
        len(stored["body"]),
        len(sent["body"]),
        stored["sysFlag"],
    )
    assert stored["topic"] == sent["topic"]
    assert stored["tags"] == sent["tags"] and (stored["keys"] or None) == sent["keys"]
    properties = {k: v for k, v in stored["properties"].items() if k not in NOT_OURS}
    assert properties == sent["properties"]
    assert (
        stored["properties"].get("WAIT", "true")
        == ("false" if sent["wait_store"] is False else "true")
        or stored["properties"].get("WAIT") is None
    )  # 4.9.7 does not store it
    assert stored["flag"] == sent["flag"]
    assert stored["reconsumeTimes"] == 0
    if not sent["delay"]:  # a delayed message's result tells of the schedule topic
        for ours, theirs in (
            ("broker", "broker"),
            ("queue_id", "queueId"),
            ("queue_offset", "queueOffset"),
            ("offset_msg_id", "offsetMsgId"),
        ):
            assert result[ours] == stored[theirs], (ours, result, stored)
