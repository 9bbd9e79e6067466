"""Commands for gdb: gdb -x docs/gdb/salvo.py PROGRAM [CORE]

    salvo-ring EXPRESSION          a struct salvo_ring: positions, and the records in it
    salvo-inflight EXPRESSION      a struct salvo_inflight: requests that are not free
    salvo-frame ADDRESS SIZE       bytes on the wire: the header in words, the body in hex

They only read memory, so they work on a core as well."""

import json
import struct

import gdb

SHOWN_MAX = 64
BODY_SHOWN_MAX = 64


def memory(address, size):
    return bytes(gdb.selected_inferior().read_memory(int(address), size)) if size else b""


def structure(text, name):
    """The struct an expression means, be it the struct or a pointer to it."""
    value = gdb.parse_and_eval(text)
    if value.type.strip_typedefs().code == gdb.TYPE_CODE_PTR:
        value = value.dereference()
    if value.type.strip_typedefs().name != name:
        raise gdb.GdbError(f"{text} is a {value.type}, not a struct {name}")
    return value


def enumerator(type_name, value):
    """'SENT' for 2 of enum salvo_request_state: the name without what all have in common."""
    fields = {int(f.enumval): f.name for f in gdb.lookup_type("enum " + type_name).fields()}
    return fields.get(int(value), str(int(value))).rsplit("_", 1)[-1]


def flags(type_name, value):
    names = [f.name for f in gdb.lookup_type("enum " + type_name).fields()
             if int(value) & int(f.enumval)]
    return " ".join(n.removeprefix("SALVO_REQUEST_") for n in names)


class Ring(gdb.Command):
    """salvo-ring EXPRESSION: a struct salvo_ring."""

    def __init__(self):
        super().__init__("salvo-ring", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        ring = structure(argument, "salvo_ring")
        size, start = int(ring["size"]), int(ring["start"])
        # Positions in front of start hold nothing, and either end may not be there yet (ring.h).
        head, tail = max(int(ring["head"]), start), max(int(ring["tail"]), start)
        base = int(ring["memory"])
        print(f"ring of {size} bytes: head {head}, tail {tail}, {tail - head} bytes in it")
        if int(ring["tail_next"]) != tail:
            print(f"committed and not published: {int(ring['tail_next']) - tail} bytes")
        if int(ring["claim_size"]) != 0:
            print(f"claimed at {int(ring['tail_next'])}: {int(ring['claim_size'])} bytes")
        at, shown = head, 0
        while at < tail and shown < SHOWN_MAX:
            offset = at & (size - 1)
            payload, padding = struct.unpack("=II", memory(base + offset, 8))
            first = memory(base + offset + 8, min(payload, 16)).hex()
            print(f"  {at:12} {'padding' if padding else 'record '} {payload:8} bytes"
                  + ("" if padding else f"  {first}{'...' if payload > 16 else ''}"))
            at += 8 + (payload + 7) // 8 * 8
            shown += 1
        if at < tail:
            print(f"  and more, up to {tail}")


class Inflight(gdb.Command):
    """salvo-inflight EXPRESSION: the requests of a struct salvo_inflight that are not free."""

    def __init__(self):
        super().__init__("salvo-inflight", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        table = structure(argument, "salvo_inflight")
        count, free = int(table["requests_max"]), int(table["free_count"])
        print(f"{count - free} of {count} requests in use, "
              f"{int(table['items_max']) - int(table['items_free_count'])} messages")
        shown = 0
        for i in range(count):
            request = table["requests"][i]
            if int(request["state"]) == 0:
                continue
            if shown == SHOWN_MAX:
                print("  and more")
                break
            shown += 1
            print(f"  {i:6} opaque {int(request['opaque'])} "
                  f"{enumerator('salvo_request_state', request['state']):8} "
                  f"conn {int(request['conn'])} queue {int(request['queue'])} "
                  f"tries {int(request['tries'])} messages {int(request['items_count'])} "
                  f"deadline {int(request['deadline_ns'])} budget {int(request['budget_ns'])} "
                  f"{flags('salvo_request_flags', request['flags'])}".rstrip())


def header_binary(data):
    code, language, version, opaque, flag = struct.unpack_from(">hbhii", data)
    fields = {"code": code, "language": language, "version": version, "opaque": opaque,
              "flag": flag}
    at = 13
    size, = struct.unpack_from(">i", data, at)
    at += 4
    if size > 0:
        fields["remark"] = data[at:at + size].decode("utf-8", "replace")
        at += size
    size, = struct.unpack_from(">i", data, at)
    at += 4
    end, ext = at + size, {}
    while at < end:
        size, = struct.unpack_from(">h", data, at)
        name = data[at + 2:at + 2 + size].decode("utf-8", "replace")
        at += 2 + size
        size, = struct.unpack_from(">i", data, at)
        ext[name] = data[at + 4:at + 4 + size].decode("utf-8", "replace")
        at += 4 + size
    fields["extFields"] = ext
    return fields


class Frame(gdb.Command):
    """salvo-frame ADDRESS SIZE: a RemotingCommand as it is on the wire."""

    def __init__(self):
        super().__init__("salvo-frame", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        arguments = gdb.string_to_argv(argument)
        if len(arguments) != 2:
            raise gdb.GdbError("salvo-frame ADDRESS SIZE")
        value = gdb.parse_and_eval(arguments[0])
        if value.type.strip_typedefs().code == gdb.TYPE_CODE_ARRAY:
            value = value.address
        data = memory(value, int(gdb.parse_and_eval(arguments[1])))
        if len(data) < 8:
            raise gdb.GdbError("a frame has at least 8 bytes")
        length, word = struct.unpack_from(">II", data)
        form, header_size = word >> 24, word & 0xFFFFFF
        print(f"length {length} (frame of {length + 4} bytes, {len(data)} given), "
              f"{ {0: 'JSON', 1: 'binary'}.get(form, f'form {form}, unknown') }, "
              f"header {header_size} bytes")
        header, body = data[8:8 + header_size], data[8 + header_size:4 + length]
        try:
            fields = json.loads(header, strict=False) if form == 0 else header_binary(header)
        except (ValueError, struct.error) as error:
            print(f"header makes no sense ({error}): {header.hex()}")
            return
        for name, field in fields.items():
            if isinstance(field, dict):
                for key, text in field.items():
                    print(f"  ext.{key}: {text!r}"[:200])
            else:
                print(f"  {name}: {field!r}"[:200])
        print(f"  body: {len(body)} bytes {body[:BODY_SHOWN_MAX].hex()}"
              + ("..." if len(body) > BODY_SHOWN_MAX else ""))


Ring()
Inflight()
Frame()
