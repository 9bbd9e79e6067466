"""libsalvo through ctypes: the whole of include/salvo.h, and a Sender for tests.

    with Sender({"nameserver": cluster.nameserver_addresses}, "orders") as sender:
        for i in range(100):
            sender.submit(b"body %d" % i, tags="red", keys="k1 k2", properties={"a": "b"})
        results = sender.finish()          # every result, in the order it was polled
        assert all(r["code"] == "ok" for r in results)
        sender.sent[results[0]["cookie"]]  # what was submitted under that cookie

The library is SALVO_LIB, or libsalvo.so beside SALVO_BIN, or build/libsalvo.so. Nothing here is
clever: what a C program would do, with the same functions.
"""

import ctypes
import errno
import os
import select
import time
from ctypes import c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

CODES = (
    "ok",
    "ok_flush_disk_timeout",
    "ok_slave_not_available",
    "ok_flush_slave_timeout",
    "refused",
    "timed_out",
    "timed_out_unsent",
    "connection_lost",
    "no_route",
    "unsent_stopped",
    "unsent_earlier_failed",
)
STORED_NO, STORED_YES, STORED_UNKNOWN = range(3)
BUSY_RING_FULL, BUSY_RESULTS, BUSY_DRAINING = 1, 2, 3
ERROR_MAX = 512
MSG_ID_MAX = 57

RESULT_FN = ctypes.CFUNCTYPE(None, c_void_p, c_void_p)
LOG_FN = ctypes.CFUNCTYPE(None, c_void_p, c_int, c_char_p)

# Name, what it returns, what it takes: include/salvo.h, in its order.
FUNCTIONS = {
    "salvo_conf_new": (c_void_p, []),
    "salvo_conf_free": (None, [c_void_p]),
    "salvo_conf_set": (c_int, [c_void_p, c_char_p, c_char_p, c_char_p, c_size_t]),
    "salvo_conf_load": (c_int, [c_void_p, c_char_p, c_char_p, c_size_t]),
    "salvo_conf_environment": (c_int, [c_void_p, c_char_p, c_size_t]),
    "salvo_conf_get": (c_int, [c_void_p, c_char_p, c_char_p, c_size_t]),
    "salvo_conf_log": (c_int, [c_void_p, LOG_FN, c_void_p]),
    "salvo_open": (c_void_p, [c_void_p, c_char_p, c_size_t]),
    "salvo_topic_open": (c_void_p, [c_void_p, c_char_p]),
    "salvo_topic_name": (c_char_p, [c_void_p]),
    "salvo_topic_queues": (c_uint32, [c_void_p]),
    "salvo_topic_trouble": (c_char_p, [c_void_p]),
    "salvo_submitter_open": (c_void_p, [c_void_p]),
    "salvo_submitter_close": (c_int, [c_void_p]),
    "salvo_claim": (c_int, [c_void_p, c_void_p, c_size_t, ctypes.POINTER(c_void_p)]),
    "salvo_body": (c_void_p, [c_void_p]),
    "salvo_set_tags": (c_int, [c_void_p, c_char_p]),
    "salvo_set_keys": (c_int, [c_void_p, c_char_p]),
    "salvo_set_property": (c_int, [c_void_p, c_char_p, c_char_p]),
    "salvo_msg_error": (c_char_p, [c_void_p]),
    "salvo_set_queue": (c_int, [c_void_p, c_uint32]),
    "salvo_set_shard": (c_int, [c_void_p, c_char_p, c_size_t]),
    "salvo_set_flag": (c_int, [c_void_p, c_int32]),
    "salvo_set_deadline": (c_int, [c_void_p, c_int64]),
    "salvo_set_delay": (c_int, [c_void_p, c_int]),
    "salvo_set_wait_store": (c_int, [c_void_p, c_int]),
    "salvo_set_id": (c_int, [c_void_p, c_char_p]),
    "salvo_now_ns": (c_int64, [c_void_p]),
    "salvo_set_now": (c_int, [c_void_p, c_int64]),
    "salvo_commit": (c_int, [c_void_p, c_size_t, c_uint64]),
    "salvo_abort": (None, [c_void_p]),
    "salvo_poll": (c_int, [c_void_p, RESULT_FN, c_void_p, c_int]),
    "salvo_fd": (c_int, [c_void_p]),
    "salvo_out": (c_uint64, [c_void_p]),
    "salvo_result_cookie": (c_uint64, [c_void_p]),
    "salvo_result_code": (c_int, [c_void_p]),
    "salvo_result_stored": (c_int, [c_void_p]),
    "salvo_result_broker_code": (c_int, [c_void_p]),
    "salvo_result_tries": (c_int, [c_void_p]),
    "salvo_result_done_ns": (c_int64, [c_void_p]),
    "salvo_result_broker": (c_char_p, [c_void_p]),
    "salvo_result_queue_id": (c_int, [c_void_p]),
    "salvo_result_queue_offset": (c_int64, [c_void_p]),
    "salvo_result_msg_id": (c_char_p, [c_void_p, c_char_p, c_size_t]),
    "salvo_result_offset_msg_id": (c_char_p, [c_void_p, c_char_p, c_size_t]),
    "salvo_result_detail": (c_char_p, [c_void_p]),
    "salvo_code_name": (c_char_p, [c_int]),
    "salvo_code_text": (c_char_p, [c_int]),
    "salvo_stored_name": (c_char_p, [c_int]),
    "salvo_do_work": (c_int, [c_void_p]),
    "salvo_idle": (None, [c_void_p, c_int, c_int64]),
    "salvo_drain": (c_int, [c_void_p, c_int64]),
    "salvo_close": (c_int, [c_void_p]),
    "salvo_capture_start": (c_int, [c_void_p, c_char_p, c_char_p, c_char_p, c_size_t]),
    "salvo_capture_stop": (c_int, [c_void_p]),
    "salvo_capture_active": (c_int, [c_void_p]),
    "salvo_counter_value": (c_int, [c_void_p, c_char_p, ctypes.POINTER(c_uint64)]),
    "salvo_net_name": (c_char_p, [c_void_p]),
    "salvo_net_note": (c_char_p, [c_void_p]),
    "salvo_version": (c_char_p, []),
}


def path():
    if os.environ.get("SALVO_LIB"):
        return Path(os.environ["SALVO_LIB"]).resolve()
    if os.environ.get("SALVO_BIN"):
        return Path(os.environ["SALVO_BIN"]).resolve().parent / "libsalvo.so"
    return ROOT / "build" / "libsalvo.so"


def load(library=None):
    """The library with every function's types set; the process keeps one copy of it."""
    lib = ctypes.CDLL(str(library or path()), use_errno=True)
    for name, (returns, takes) in FUNCTIONS.items():
        function = getattr(lib, name)
        function.restype = returns
        function.argtypes = takes
    return lib


class SalvoError(RuntimeError):
    """A function said no: `code` is what it returned, the text what it had to say."""

    def __init__(self, code, text):
        name = errno.errorcode.get(-code, code) if code < 0 else code
        super().__init__(f"{name}: {text}")
        self.code = code
        self.text = text


class Busy(SalvoError):
    """Not now: a BUSY_ code."""


def text(value):
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


class Conf:
    """salvo_conf; give it to Sender in place of a dict to use what a dict cannot."""

    def __init__(self, options=None, lib=None):
        self.lib = lib or load()
        self.pointer = self.lib.salvo_conf_new()
        self.kept = []
        try:
            for name, value in (options or {}).items():
                self.set(name, value)
        except SalvoError:
            self.free()
            raise

    def set(self, name, value):
        buffer = ctypes.create_string_buffer(ERROR_MAX)
        self._check(
            self.lib.salvo_conf_set(
                self.pointer, name.encode(), text(value).encode(), buffer, ERROR_MAX
            ),
            buffer,
        )

    def load(self, file):
        buffer = ctypes.create_string_buffer(ERROR_MAX)
        self._check(
            self.lib.salvo_conf_load(self.pointer, str(file).encode(), buffer, ERROR_MAX), buffer
        )

    def environment(self):
        buffer = ctypes.create_string_buffer(ERROR_MAX)
        self._check(self.lib.salvo_conf_environment(self.pointer, buffer, ERROR_MAX), buffer)

    def get(self, name):
        buffer = ctypes.create_string_buffer(4200)
        size = self.lib.salvo_conf_get(self.pointer, name.encode(), buffer, 4200)
        if size < 0:
            raise SalvoError(size, name)
        return buffer.value.decode()

    def log(self, sink):
        """sink(level, line) for every log line."""
        function = LOG_FN(lambda _, level, line: sink(level, line.decode()))
        self.kept.append(function)
        assert self.lib.salvo_conf_log(self.pointer, function, None) == 0

    def free(self):
        self.lib.salvo_conf_free(self.pointer)
        self.pointer = None

    @staticmethod
    def _check(code, buffer):
        if code:
            raise SalvoError(code, buffer.value.decode())


class Submitter:
    """Puts messages in and takes results out. `sent` and `done` keep both, by cookie and in
    order."""

    def __init__(self, sender):
        self.sender = sender
        self.lib = sender.lib
        self.pointer = self.lib.salvo_submitter_open(sender.pointer)
        if not self.pointer:
            raise SalvoError(-ctypes.get_errno(), "no submitter is free")
        self.sent = {}
        self.done = []
        self._next = 1
        self._each = RESULT_FN(self._on_result)

    def try_submit(
        self,
        body,
        topic=None,
        tags=None,
        keys=None,
        properties=None,
        queue=None,
        shard=None,
        flag=None,
        deadline_ms=None,
        delay=None,
        wait_store=None,
        id=None,
        now_ns=None,
        claim=None,
        keep=True,
    ):
        """One message, or SalvoError (Busy among them) with nothing left behind. The cookie."""
        lib, m = self.lib, c_void_p()
        r = lib.salvo_claim(
            self.pointer,
            self.sender.topic_pointer(topic),
            len(body) if claim is None else claim,
            ctypes.byref(m),
        )
        if r:
            raise (Busy if r > 0 else SalvoError)(r, "claim")
        m = m.value
        try:
            ctypes.memmove(lib.salvo_body(m), body, len(body))
            if tags is not None:
                self._set(m, lib.salvo_set_tags(m, _bytes(tags)))
            if keys is not None:
                self._set(m, lib.salvo_set_keys(m, _bytes(keys)))
            for name, value in (properties or {}).items():
                self._set(m, lib.salvo_set_property(m, _bytes(name), _bytes(value)))
            if queue is not None:
                self._set(m, lib.salvo_set_queue(m, queue))
            if shard is not None:
                self._set(m, lib.salvo_set_shard(m, _bytes(shard), len(_bytes(shard))))
            if flag is not None:
                self._set(m, lib.salvo_set_flag(m, flag))
            if deadline_ms is not None:
                self._set(m, lib.salvo_set_deadline(m, deadline_ms))
            if delay is not None:
                self._set(m, lib.salvo_set_delay(m, delay))
            if wait_store is not None:
                self._set(m, lib.salvo_set_wait_store(m, 1 if wait_store else 0))
            if id is not None:
                self._set(m, lib.salvo_set_id(m, id))
            if now_ns is not None:
                self._set(m, lib.salvo_set_now(m, now_ns))
            cookie = self._next
            self._set(m, lib.salvo_commit(m, len(body), cookie))
        except SalvoError:
            lib.salvo_abort(m)
            raise
        self._next += 1
        if keep:
            self.sent[cookie] = {
                "topic": topic or self.sender.topic,
                "body": bytes(body),
                "tags": tags,
                "keys": keys,
                "properties": dict(properties or {}),
                "flag": flag or 0,
                "queue": queue,
                "wait_store": wait_store,
                "delay": delay,
                "shard": shard,
            }
        return cookie

    def submit(self, body, timeout_s=600, **options):
        """As try_submit; polls and tries again while the sender is busy."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return self.try_submit(body, **options)
            except Busy as busy:
                if busy.code == BUSY_DRAINING or time.monotonic() > deadline:
                    raise
                if not self.poll():
                    self.sender.turn()

    def poll(self, results_max=1000):
        """Takes results into `done`; how many."""
        return self.lib.salvo_poll(self.pointer, self._each, None, results_max)

    def out(self):
        return self.lib.salvo_out(self.pointer)

    def fd(self):
        return self.lib.salvo_fd(self.pointer)

    def results(self):
        """Every result polled so far."""
        self.poll()
        return self.done

    def wait(self, timeout_s=600, until=None):
        """Until nothing is out, or until() is true; then every result."""
        deadline = time.monotonic() + timeout_s
        while not (until() if until else self.out() == 0):
            if not self.poll():
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{self.out()} of {len(self.sent)} messages still out")
                self.sender.turn()
        return self.done

    def close(self):
        r = self.lib.salvo_submitter_close(self.pointer)
        if r:
            raise SalvoError(r, "submitter")
        self.pointer = None

    def _set(self, m, r):
        if r:
            raise SalvoError(r, (self.lib.salvo_msg_error(m) or b"").decode())

    def _on_result(self, _, result):
        lib = self.lib
        buffer = ctypes.create_string_buffer(MSG_ID_MAX)
        offset = ctypes.create_string_buffer(MSG_ID_MAX)
        code = lib.salvo_result_code(result)
        self.done.append(
            {
                "cookie": lib.salvo_result_cookie(result),
                "code": CODES[code],
                "stored": lib.salvo_result_stored(result),
                "broker_code": lib.salvo_result_broker_code(result),
                "tries": lib.salvo_result_tries(result),
                "done_ns": lib.salvo_result_done_ns(result),
                "broker": lib.salvo_result_broker(result).decode(),
                "queue_id": lib.salvo_result_queue_id(result),
                "queue_offset": lib.salvo_result_queue_offset(result),
                "msg_id": lib.salvo_result_msg_id(result, buffer, MSG_ID_MAX).decode(),
                "offset_msg_id": lib.salvo_result_offset_msg_id(
                    result, offset, MSG_ID_MAX
                ).decode(),
                "detail": lib.salvo_result_detail(result).decode(),
            }
        )


class Sender(Submitter):
    """salvo_open with one submitter of its own; submitter() gives more."""

    def __init__(self, conf, topic=None, lib=None):
        self.lib = lib or load()
        self.caller = False
        owned = not isinstance(conf, Conf)
        conf = Conf(conf, self.lib) if owned else conf
        self._kept = conf.kept
        self.caller = conf.get("threads") == "caller"
        buffer = ctypes.create_string_buffer(ERROR_MAX)
        self.pointer = None
        self.sender_pointer = self.lib.salvo_open(conf.pointer, buffer, ERROR_MAX)
        if owned:
            conf.free()
        if not self.sender_pointer:
            raise SalvoError(-1, buffer.value.decode())
        self.topic = topic
        self.topics = {}
        self._submitters = []
        handle = _Handle(self)
        super().__init__(handle)
        if topic is not None:
            self.topic_pointer(topic)

    def topic_pointer(self, name=None):
        name = name or self.topic
        if name not in self.topics:
            found = self.lib.salvo_topic_open(self.sender_pointer, name.encode())
            if not found:
                raise SalvoError(-ctypes.get_errno(), f"topic {name}")
            self.topics[name] = found
        return self.topics[name]

    def queues(self, topic=None):
        return self.lib.salvo_topic_queues(self.topic_pointer(topic))

    def trouble(self, topic=None):
        found = self.lib.salvo_topic_trouble(self.topic_pointer(topic))
        return found.decode() if found is not None else None

    def submitter(self):
        self._submitters.append(Submitter(_Handle(self)))
        return self._submitters[-1]

    def turn(self):
        """Lets the sender do something: a turn in caller mode, else a wait for results."""
        if self.caller:
            self.lib.salvo_idle(self.sender_pointer, self.do_work(), 1000)
        else:
            select.select([self.fd()], [], [], 0.001)

    def do_work(self):
        r = self.lib.salvo_do_work(self.sender_pointer)
        if r < 0:
            raise SalvoError(r, "do_work")
        return r

    def counter(self, name):
        value = c_uint64()
        r = self.lib.salvo_counter_value(self.sender_pointer, name.encode(), ctypes.byref(value))
        if r:
            raise SalvoError(r, name)
        return value.value

    def net(self):
        note = self.lib.salvo_net_note(self.sender_pointer)
        return self.lib.salvo_net_name(self.sender_pointer).decode(), (
            note.decode() if note else None
        )

    def drain(self, drain_ms=60000):
        return self.lib.salvo_drain(self.sender_pointer, drain_ms)

    def finish(self, timeout_s=600):
        """Waits for every message, closes the sender; every result of this submitter."""
        self.wait(timeout_s)
        self.shut()
        return self.done

    def shut(self):
        """Drains with no time left, polls what is left, closes everything."""
        if not self.sender_pointer:
            return
        self.drain(0)
        for each in [*self._submitters, self]:
            if each.pointer:
                while each.poll():
                    pass
                each.close()
        r = self.lib.salvo_close(self.sender_pointer)
        if r:
            raise SalvoError(r, "close")
        self.sender_pointer = None

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.shut()


class _Handle:
    """What a Submitter needs of its Sender; keeps Sender.pointer free for the submitter's own."""

    def __init__(self, sender):
        self._sender = sender
        self.lib = sender.lib
        self.pointer = sender.sender_pointer

    @property
    def topic(self):
        return self._sender.topic

    def topic_pointer(self, name):
        return self._sender.topic_pointer(name)

    def turn(self):
        self._sender.turn()


def _bytes(value):
    return value if isinstance(value, bytes) else value.encode()
