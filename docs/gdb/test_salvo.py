"""Loads salvo.py into a real gdb, over a program that holds rings, requests and a frame."""

import os
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
BUILD = Path(os.environ.get("SALVO_BUILD") or HERE.parents[1] / "build-gcc")


@pytest.fixture(scope="module", name="gdb")
def gdb_fixture():
    def run(*commands):
        arguments = [part for c in ("break sample_ready", "run", *commands) for part in ("-ex", c)]
        done = subprocess.run(
            ["gdb", "-nx", "-batch", "-iex", "set auto-load off", "-x", HERE / "salvo.py",
             *arguments, BUILD / "docs" / "gdb_sample"],
            capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
        return done.stdout + done.stderr
    return run


def test_a_ring_shows_its_records(gdb):
    said = gdb("salvo-ring sample_ring")
    assert "ring of 256 bytes: head 224, tail 296, 72 bytes in it" in said
    assert "committed and not published: 24 bytes" in said
    assert "record         3 bytes  6f6e65" in said
    assert "padding        8 bytes" in said
    assert "record        31 bytes  61207265636f7264207468617420676f..." in said


def test_a_pointer_to_a_ring_does_too(gdb):
    assert "ring of 256 bytes" in gdb("salvo-ring &sample_ring")


def test_a_ring_that_began_anew_shows_no_record_between(gdb):
    said = gdb("salvo-ring sample_anew", "salvo-ring sample_anew_unpublished")
    assert "head 256, tail 296, 40 bytes in it" in said
    assert said.count("record ") == 1 and "padding" not in said, said
    assert "record        31 bytes  61207265636f7264207468617420676f..." in said
    assert "head 256, tail 256, 0 bytes in it" in said
    assert "committed and not published: 40 bytes" in said


def test_requests_that_are_not_free_are_listed(gdb):
    said = gdb("salvo-inflight &sample_inflight")
    assert "2 of 8 requests in use, 0 messages" in said
    assert "SENT     conn 3 queue 5 tries 2 messages 7 deadline 1000 budget 3000 BATCH ORDERED" \
        in said
    assert "WAITING" in said


def test_a_frame_is_put_in_words(gdb):
    said = gdb("salvo-frame sample_frame sample_frame_size")
    for part in ("binary, header", "code: 310", "opaque: 1000000009", "ext.b: 'TopicTest'",
                 "ext.e: '2'", "body: 5 bytes 48656c6c6f"):
        assert part in said, said


def test_the_wrong_thing_is_refused_in_words(gdb):
    assert "not a struct salvo_ring" in gdb("salvo-ring sample_inflight")
