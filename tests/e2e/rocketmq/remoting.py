"""Just enough of RocketMQ's remoting protocol to ask a real nameserver or broker something.

JSON headers only, one request per connection. The cluster uses it to see that a process is really
ready and to create topics in milliseconds, where a JVM would need a second for each question.
"""

import json
import re
import socket
import struct

UPDATE_AND_CREATE_TOPIC = 17
GET_ALL_TOPIC_CONFIG = 21
UPDATE_BROKER_CONFIG = 25
GET_ROUTEINFO_BY_TOPIC = 105
GET_BROKER_CLUSTER_INFO = 106
DELETE_TOPIC_IN_BROKER = 215
DELETE_TOPIC_IN_NAMESRV = 216

SUCCESS = 0
TOPIC_NOT_EXIST = 17

# Declared to everyone: standard JSON in routes from 4.9.4 on, no GO_AWAY.
VERSION = 401

FRAME_SIZE_MAX = 16 * 1024 * 1024


class RemotingError(RuntimeError):
    pass


def _receive(connection, size):
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise RemotingError("connection closed before the answer was complete")
        data += part
    return data


def loads(body):
    """JSON as RocketMQ writes it: keys of maps may be bare numbers. Strings are left alone."""
    text = body.decode("utf-8") if body else "{}"
    bare = re.compile(r'("(?:[^"\\]|\\.)*")|([{,]\s*)(-?\d+)(\s*:)')
    return json.loads(
        bare.sub(lambda m: m.group(1) or f'{m.group(2)}"{m.group(3)}"{m.group(4)}', text)
    )


def invoke(address, code, fields=None, body=b"", timeout_s=30.0):
    """Sends one request; returns (header dict, body bytes). OSError when there is nobody."""
    header = {
        "code": code,
        "flag": 0,
        "language": "PYTHON",
        "opaque": 1,
        "serializeTypeCurrentRPC": "JSON",
        "version": VERSION,
    }
    if fields is not None:
        header["extFields"] = {key: str(value) for key, value in fields.items()}
    text = json.dumps(header).encode()
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=timeout_s) as connection:
        connection.sendall(struct.pack(">II", 4 + len(text) + len(body), len(text)) + text + body)
        size, form_and_header = struct.unpack(">II", _receive(connection, 8))
        header_size = form_and_header & 0xFFFFFF
        if form_and_header >> 24:
            raise RemotingError("answer is not in JSON form; does the process run with defaults?")
        if size > FRAME_SIZE_MAX or header_size + 4 > size:
            raise RemotingError(f"answer of {size} bytes with a header of {header_size}")
        rest = _receive(connection, size - 4)
    return json.loads(rest[:header_size]), rest[header_size:]


def route(nameserver, topic):
    """The route of a topic as the nameserver gives it; None when it knows none."""
    header, body = invoke(nameserver, GET_ROUTEINFO_BY_TOPIC, {"topic": topic})
    if header["code"] == TOPIC_NOT_EXIST:
        return None
    if header["code"] != SUCCESS:
        raise RemotingError(f"route of {topic} from {nameserver}: {header}")
    return loads(body)


def cluster_brokers(nameserver):
    """{broker name: {broker id: address}} of all brokers registered there."""
    header, body = invoke(nameserver, GET_BROKER_CLUSTER_INFO)
    if header["code"] != SUCCESS:
        raise RemotingError(f"cluster info from {nameserver}: {header}")
    table = loads(body).get("brokerAddrTable") or {}
    return {name: broker["brokerAddrs"] for name, broker in table.items()}
