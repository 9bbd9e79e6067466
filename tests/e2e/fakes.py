"""Peers that misbehave on the wire: a nameserver that gives any route, a broker that does what it
is
told, and things that are neither. Python threads, loopback only."""

import json
import socket
import struct
import threading

SEND_CODES = (10, 310, 320)
HEARTBEAT = 34
ROUTE = 105


def frame(code, opaque, body=b"", ext=None, remark=None, flag=1):
    header = {
        "code": code,
        "flag": flag,
        "language": "JAVA",
        "opaque": opaque,
        "version": 479,
        "serializeTypeCurrentRPC": "JSON",
    }
    if ext:
        header["extFields"] = ext
    if remark:
        header["remark"] = remark
    text = json.dumps(header).encode()
    return struct.pack(">II", 4 + len(text) + len(body), len(text)) + text + body


def read_exactly(connection, size):
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def read_frame(connection):
    """(code, opaque) of a request in either form."""
    size, mark = struct.unpack(">II", read_exactly(connection, 8))
    rest = read_exactly(connection, size - 4)
    if mark >> 24:
        code, _, _, opaque = struct.unpack_from(">hBhi", rest)
        return code, opaque
    header = json.loads(rest[: mark & 0xFFFFFF])
    return header["code"], header["opaque"]


class Server:
    """Accepts on a port of its own; serve(connection) runs in a thread for each connection. With
    None nobody listens there, nor can anybody else."""

    def __init__(self, serve, host="127.0.0.1"):
        self.accepted = 0
        self.connections = []
        self.socket = socket.socket()
        self.socket.bind((host, 0))
        self.port = self.socket.getsockname()[1]
        self.address = f"{host}:{self.port}"
        if serve is None:
            return
        self.serve = serve
        self.socket.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.accepted += 1
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            self.serve(connection)
        except (OSError, EOFError, ValueError, struct.error):
            pass

    def close(self):
        self.socket.close()
        for each in self.connections:
            each.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close()


class FakeNameserver(Server):
    """Gives every topic a route over the brokers given: {name: address}, `queues` on each."""

    def __init__(self, brokers, queues=1, host="127.0.0.1"):
        self.brokers = brokers
        self.queues = queues
        super().__init__(self.serve, host)

    def serve(self, connection):
        while True:
            code, opaque = read_frame(connection)
            if code != ROUTE:
                connection.sendall(frame(0, opaque))
                continue
            route = {
                "filterServerTable": {},
                "brokerDatas": [
                    {"brokerAddrs": {"0": address}, "brokerName": name, "cluster": "DefaultCluster"}
                    for name, address in self.brokers.items()
                ],
                "queueDatas": [
                    {
                        "brokerName": name,
                        "perm": 6,
                        "readQueueNums": self.queues,
                        "topicSysFlag": 0,
                        "writeQueueNums": self.queues,
                    }
                    for name in self.brokers
                ],
            }
            connection.sendall(frame(0, opaque, json.dumps(route).encode()))


class FakeBroker(Server):
    """Answers each send with what misbehave(opaque) returns, or well when it returns None; closes
    when that is b"" . `bad_max` limits how many are answered badly, after that all is well."""

    def __init__(self, misbehave=None, bad_max=1 << 30):
        self.misbehave = misbehave or (lambda opaque: None)
        self.bad_max = bad_max
        self.sends = 0
        self.bad = 0
        self.lock = threading.Lock()
        super().__init__(self.serve)

    def good(self, opaque, offset):
        return frame(
            0,
            opaque,
            ext={
                "msgId": "7F00000100002A9F%016X" % (offset * 100),
                "queueId": "0",
                "queueOffset": str(offset),
            },
        )

    def serve(self, connection):
        while True:
            code, opaque = read_frame(connection)
            if code not in SEND_CODES:
                connection.sendall(frame(0, opaque))
                continue
            with self.lock:
                self.sends += 1
                offset = self.sends
                bad = None
                if self.bad < self.bad_max:
                    bad = self.misbehave(opaque)
                    self.bad += bad is not None
            if bad == b"":
                connection.close()
                return
            connection.sendall(bad if bad is not None else self.good(opaque, offset))


def never_reads(connection):
    """Keeps the connection and its bytes in the kernel."""
    threading.Event().wait()
