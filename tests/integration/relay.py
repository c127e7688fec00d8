# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""A relay between `vfmig send` and `vfmig receive`, which can hold the link at
any byte that matters: of the hello, the stream, and the messages of the handover
(docs/handover.md).

It runs in a thread of its own; the test waits until the link is held, does its
damage, and lets go or cuts.
"""
import select
import socket
import struct
import threading
import time

LOADED, YOURS, RUNNING, RETURNED, FAILED = range(0x8002, 0x8007)

DEADLINE = 30


def connect(uri):
    kind, address = uri.split(":", 1)
    if kind == "unix":
        s = socket.socket(socket.AF_UNIX)
        s.connect(address)
    else:
        host, port = address.rsplit(":", 1)
        s = socket.create_connection((host.strip("[]"), int(port)))
    return s


class Way:
    """One direction: what came, how much of it went on, and how far it may."""

    def __init__(self):
        self.data = bytearray()
        self.sent = 0
        self.limit = None
        self.over = False
        self.closed = False

    def ready(self):
        """The bytes that may go on now."""
        end = len(self.data) if self.limit is None else \
            min(self.limit, len(self.data))
        return memoryview(self.data)[self.sent:end]

    def is_held(self):
        return self.limit is not None and self.sent >= self.limit and \
            len(self.data) > self.limit

    def hello_size(self):
        """Of the hello or its answer; None while that is not known."""
        if len(self.data) < 12:
            return None
        return 12 + struct.unpack_from(">I", self.data, 8)[0]


class Relay(threading.Thread):
    """
    hold   ("up", N)             after N bytes of the source
           ("stream", N)         after N bytes after its hello
           ("yours", N)          after N bytes of YOURS
           ("down", N)           after N bytes of the target
           (MESSAGE TYPE, N)     after N bytes of the target's message
    """

    def __init__(self, folder, hold=(None, 0), tcp=False):
        super().__init__(daemon=True)
        self.what, self.count = hold
        if tcp:
            self.listener = socket.create_server(("127.0.0.1", 0))
            self.uri = "tcp:127.0.0.1:%d" % self.listener.getsockname()[1]
        else:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(str(folder / "relay"))
            self.listener.listen()
            self.uri = f"unix:{folder}/relay"
        self.up, self.down = Way(), Way()
        self.lock = threading.Condition()
        self.wake, self.woken = socket.socketpair()
        self.stopping = self.deaf = self.reads_nothing = False
        self.parsed = 0
        self.messages = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cut()

    def __call__(self, uri):
        """Returns where the source is to go.  The target hears of it when it
        comes: how long a program takes to start is no matter of its patience."""
        self.target_uri = uri
        self.start()
        return self.uri

    # What the test asks for.

    def wait_held(self, seconds=DEADLINE):
        with self.lock:
            assert self.lock.wait_for(
                lambda: self.up.is_held() or self.down.is_held(), seconds), \
                f"not held: {len(self.up.data)} up, {self.messages} down"

    def release(self):
        with self.lock:
            self.what = None
            self.up.limit = self.down.limit = None
        self.wake.send(b"x")

    def cut(self):
        """Both sides find the link gone."""
        with self.lock:
            self.stopping = True
        self.wake.send(b"x")
        if self.is_alive():
            self.join(DEADLINE)

    def wait_for_message(self, kind, seconds=DEADLINE):
        """Until the target has said it."""
        with self.lock:
            assert self.lock.wait_for(lambda: kind in self.messages, seconds), \
                self.messages

    def wait_passed(self, kind, seconds=DEADLINE):
        """Until it has gone on to the source."""
        self.wait_for_message(kind, seconds)
        with self.lock:
            assert self.lock.wait_for(
                lambda: self.down.sent == len(self.down.data), seconds)

    def stop_reading(self):
        """Takes nothing more, from either side."""
        with self.lock:
            self.deaf = True
            self.wake.send(b"x")
            assert self.lock.wait_for(lambda: self.reads_nothing, DEADLINE)

    def is_silent(self, seconds):
        """Whether nothing came for so long."""
        with self.lock:
            before = len(self.up.data), len(self.down.data)
            return not self.lock.wait_for(
                lambda: (len(self.up.data), len(self.down.data)) != before,
                seconds)

    # The thread.

    def run(self):
        came, _, _ = select.select([self.listener, self.woken], [], [],
                                   DEADLINE)
        self.target = connect(self.target_uri)
        if self.listener not in came:
            self.listener.close()
            self.target.close()
            return
        self.source, _ = self.listener.accept()
        self.listener.close()
        for s in self.source, self.target:
            s.setblocking(False)
        ends = [(self.up, self.source, self.target),
                (self.down, self.target, self.source)]
        end = time.monotonic() + 2 * DEADLINE
        while not self.stopping and time.monotonic() < end and \
                not all(way.closed for way, _, _ in ends):
            self.step(ends)
        self.source.close()
        self.target.close()

    def step(self, ends):
        with self.lock:
            self.reads_nothing = self.deaf
            self.lock.notify_all()
        # A link that is held takes no more than its buffers do.
        reading = [i for way, i, _ in ends
                   if not way.over and not way.is_held() and
                   not self.reads_nothing]
        writing = [o for way, _, o in ends
                   if len(way.ready()) > 0 and not way.closed]
        readable, writable, _ = select.select(reading + [self.woken], writing,
                                              [], 1)
        if self.woken in readable:
            self.woken.recv(100)
        with self.lock:
            for way, i, o in ends:
                if i in readable:
                    self.take(way, i)
                if o in writable:
                    self.give(way, o)
                self.finish(way, o)
            self.lock.notify_all()

    def take(self, way, i):
        try:
            data = i.recv(65536)
        except OSError:
            data = b""
        way.data += data
        way.over = not data
        self.set_limits()

    def give(self, way, o):
        with way.ready() as data:
            try:
                way.sent += o.send(data)
            except BlockingIOError:
                pass
            except OSError:
                way.closed = way.over = True
        self.set_limits()

    def finish(self, way, o):
        """Passes the end on when all that may go has gone."""
        if way.over and not way.closed and len(way.ready()) == 0 and \
                not way.is_held():
            way.closed = True
            try:
                o.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def set_limits(self):
        self.parse_messages()
        if self.what == "up":
            self.up.limit = self.count
        elif self.what == "down":
            self.down.limit = self.count
        elif self.what == "stream" and self.up.hello_size() is not None:
            self.up.limit = self.up.hello_size() + self.count
        elif self.what == "yours" and LOADED in self.messages and \
                self.up.limit is None:
            self.up.limit = len(self.up.data) + self.count

    def parse_messages(self):
        """Of the target.  Nothing of a message goes on before all is known that
        holds it."""
        if self.down.hello_size() is None:
            return
        at = max(self.parsed, self.down.hello_size())
        while at + 4 <= len(self.down.data):
            kind, size = struct.unpack_from(">HH", self.down.data, at)
            if at + 4 + size > len(self.down.data):
                break
            self.messages.append(kind)
            if kind == self.what and self.down.limit is None:
                self.down.limit = at + self.count
            at += 4 + size
        self.parsed = at
