"""The golden frames are what RocketMQ's encoder makes today, and say the truth about themselves."""

import json
import re
import struct
import subprocess
from pathlib import Path

import pytest

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
FILES = sorted(GOLDEN.glob("*.hex"))
LANGUAGES = {"JAVA": 0, "CPP": 1}
KEY = re.compile(r"# ([a-zA-Z0-9_.-]+):(?: (.*))?")


def load(path):
    """(keys in order as (key, bytes value), frame)."""
    keys, frame = [], ""
    for line in path.read_text("ascii").splitlines():
        match = KEY.fullmatch(line)
        if match is None:
            assert len(line) <= 64
            frame += line
            continue
        assert not frame, "keys come before the frame"
        key, value = match.group(1), match.group(2) or ""
        if key.endswith("-hex"):
            keys.append((key.removesuffix("-hex"), bytes.fromhex(value)))
        else:
            keys.append((key, value.encode("ascii")))
    return keys, bytes.fromhex(frame)


def body_of(text):
    if text.startswith(b"pattern:"):
        return bytes((i * 31 + 7) & 0xFF for i in range(int(text[8:])))
    return bytes.fromhex(text.decode())


def decode_binary(header):
    code, language, version, opaque, flag = struct.unpack_from(">hbhii", header)
    at = 13
    (size,) = struct.unpack_from(">i", header, at)
    at += 4
    remark = header[at : at + size] or None
    at += size
    (size,) = struct.unpack_from(">i", header, at)
    at += 4
    assert at + size == len(header)
    ext = []
    while at < len(header):
        (size,) = struct.unpack_from(">h", header, at)
        key = header[at + 2 : at + 2 + size].decode()
        at += 2 + size
        (size,) = struct.unpack_from(">i", header, at)
        ext.append((key, header[at + 4 : at + 4 + size]))
        at += 4 + size
    return code, language, version, opaque, flag, remark, ext


def decode_json(header):
    all_ = json.loads(header, object_pairs_hook=list)
    keys = [key for key, _ in all_]
    assert keys == sorted(keys)
    fields = dict(all_)
    remark = fields.get("remark")
    return (
        fields["code"],
        LANGUAGES[fields["language"]],
        fields["version"],
        fields["opaque"],
        fields["flag"],
        None if remark is None else remark.encode(),
        [(key, value.encode()) for key, value in fields.get("extFields") or []],
    )


def test_regeneration_gives_what_is_committed():
    done = subprocess.run(
        [GOLDEN / "regenerate", "--check"],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout


def test_there_are_cases():
    assert len(FILES) >= 60


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_frame_is_what_its_keys_say(path):
    keys, frame = load(path)
    single = {key: value for key, value in keys if not key.startswith("ext.")}
    assert single["case"].decode() == path.stem
    assert int(single["frame-size"]) == len(frame)
    total, mark = struct.unpack_from(">II", frame)
    header_size = mark & 0xFFFFFF
    assert total == len(frame) - 4
    assert mark >> 24 == {b"json": 0, b"binary": 1}[single["form"]]
    body = frame[8 + header_size :]
    assert int(single["body-size"]) == len(body)
    assert body_of(single["body"]) == body

    decode = decode_binary if mark >> 24 else decode_json
    code, language, version, opaque, flag, remark, ext = decode(frame[8 : 8 + header_size])
    assert (code, version, opaque, flag) == tuple(
        int(single[key]) for key in ("code", "version", "opaque", "flag")
    )
    assert language == LANGUAGES[single["language"].decode()]
    assert remark == (single.get("remark") or (None if mark >> 24 else single.get("remark")))
    assert ext == [
        (key.removeprefix("ext."), value) for key, value in keys if key.startswith("ext.")
    ]

    if "batch-count" in single:
        at = 0
        for index in range(int(single["batch-count"])):
            item = f"item.{index}."
            size, magic, crc, item_flag, body_size = struct.unpack_from(">IIIiI", body, at)
            assert (magic, crc, item_flag) == (0, 0, int(single[item + "flag"]))
            assert body[at + 20 : at + 20 + body_size] == body_of(single[item + "body"])
            (properties_size,) = struct.unpack_from(">H", body, at + 20 + body_size)
            properties = body[at + 22 + body_size : at + 22 + body_size + properties_size]
            assert properties == single[item + "properties"]
            assert size == 22 + body_size + properties_size
            at += size
        assert at == len(body)
