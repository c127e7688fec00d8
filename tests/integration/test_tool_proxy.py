# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""vfmig proxy: what real QEMUs sent passes unchanged, and what is wrong with it is
told with its place, or stopped."""
import json
import lzma
import re
import socket
import struct
import threading
from pathlib import Path

import pytest

from vfmig_programs import KIB, MIB, Run

STREAMS = Path(__file__).parent.parent / "data" / "streams"
CAPTURES = sorted(path.parent.name for path in STREAMS.glob("*/truth.json"))
MULTIFD = "qemu-10.0.2-multifd"
PRECOPY = "qemu-10.0.2-precopy"
DEADLINE = 60

SHUT, PONG = 1, 2
INIT = 64
RAM_PACKET = 1344
SWITCHOVER_START = b"\x08\x00\x0b\x00\x00"
DEVICE_HEAD = struct.Struct(">III256sIIIII")


def parts(name):
    """The main stream, and its channels."""
    folder = STREAMS / name
    return [lzma.decompress(path.read_bytes())
            for path in [folder / "main.bin.xz",
                         *sorted(folder.glob("channel-*.bin.xz"))]]


def message(kind, value):
    return struct.pack(">HHI", kind, 4, value)


def connect(uri):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(DEADLINE)
    s.connect(uri.removeprefix("unix:"))
    return s


class Sink:
    """The target's place: takes all that comes on `count` connections."""

    def __init__(self, path, count, answers=b""):
        self.answers = answers
        self.path = f"unix:{path}"
        self.server = socket.socket(socket.AF_UNIX)
        self.server.settimeout(DEADLINE)
        self.server.bind(str(path))
        self.server.listen(count)
        self.came = [b""] * count
        self.threads = [threading.Thread(target=self.take, args=(i,))
                        for i in range(count)]
        self.accepted = threading.Semaphore(0)
        self.sockets = [None] * count
        self.runner = threading.Thread(target=self.accept)
        self.runner.start()

    def accept(self):
        for i, thread in enumerate(self.threads):
            try:
                self.sockets[i], _ = self.server.accept()
            except OSError:
                return
            thread.start()

    def take(self, i):
        s = self.sockets[i]
        s.settimeout(DEADLINE)
        data = bytearray()
        try:
            while piece := s.recv(256 * KIB):
                data += piece
            if i == 0:
                s.sendall(self.answers)
        except OSError:
            pass
        s.close()
        self.came[i] = bytes(data)

    def finish(self):
        # Nobody else comes: those who are waited for come from here.
        while self.runner.is_alive():
            connect(self.path).close()
            self.runner.join(0.1)
        self.server.close()
        for thread in self.threads:
            if thread.ident is not None:
                thread.join(DEADLINE)
                assert not thread.is_alive()
        return self.came


def start(folder, *words):
    run = Run("proxy", "--json", *words, f"unix:{folder}/here",
              f"unix:{folder}/there")
    run.uri = run.err.wait_for("listening on ")
    return run


def send(s, data):
    try:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def answers_of(s):
    data = b""
    try:
        while piece := s.recv(65536):
            data += piece
    except OSError:
        pass
    s.close()
    return data


def replay(folder, streams, *words, answers=b""):
    """Sends all of them at once; what came, what was answered, and the run."""
    sink = Sink(folder / "there", len(streams), answers)
    with start(folder, *words) as run:
        sockets = [connect(run.uri) for _ in streams]
        threads = [threading.Thread(target=send, args=pair)
                   for pair in zip(sockets, streams)]
        for thread in threads:
            thread.start()
        answered = [answers_of(s) for s in sockets]
        for thread in threads:
            thread.join(DEADLINE)
        run.finish(DEADLINE)
    return sink.finish(), answered[0], run


def good_answers(name):
    commands = json.loads((STREAMS / name / "truth.json").read_text())[
        "commands"]
    return message(PONG, 1) + message(SHUT, 0) if 1 in commands else b""


@pytest.mark.parametrize("words", [(), ("--strict",)])
@pytest.mark.parametrize("name", CAPTURES)
def test_what_qemu_sent_passes(name, words, tmp_path):
    streams, answers = parts(name), good_answers(name)
    came, answered, run = replay(tmp_path, streams, *words, answers=answers)
    run.ok()
    assert came == streams
    assert answered == answers
    facts = run.json()
    truth = json.loads((STREAMS / name / "truth.json").read_text())
    (section, device), = truth["vfio"].items()
    seen = facts["devices"][section]
    assert seen["pre_copy_bytes"] + seen["stop_copy_bytes"] + \
        seen["multifd_bytes"] == device["bytes"]
    assert facts["faults"] == 0
    assert facts["channels"] == len(streams) - 1


# ---------------------------------------------------------------------------


def break_footer(streams):
    """The footer of the first VFIO section belongs to another."""
    at = streams[0].index(b"/vfio")
    at = streams[0].index(b"\x7e", at)
    main = streams[0][:at + 4] + b"\xee" + streams[0][at + 5:]
    return [main, *streams[1:]], rf"main: offset {at}: .*footer"


def drop_switchover(streams):
    at = streams[0].rindex(SWITCHOVER_START)
    main = streams[0][:at] + streams[0][at + len(SWITCHOVER_START):]
    return [main, *streams[1:]], "no SWITCHOVER_START"


def repeat_switchover(streams):
    at = streams[0].rindex(SWITCHOVER_START)
    main = streams[0][:at] + SWITCHOVER_START + streams[0][at:]
    return [main, *streams[1:]], r"main: offset \d+: .*SWITCHOVER_START came twice"


def packets(channel):
    """(offset, length, index) of the device packets; index None: others."""
    at, found = INIT, []
    while at < len(channel):
        flags = struct.unpack_from(">I", channel, at + 8)[0]
        if flags & 0x40:
            size, _, index = struct.unpack_from(">III", channel, at + 272)
            found.append((at, 276 + size, index))
            at += 276 + size
        else:
            size = struct.unpack_from(">I", channel, at + 20)[0]
            at += RAM_PACKET + size
    assert at == len(channel)
    return found


def drop_packet(streams):
    """The first one of the first channel."""
    at, size, index = packets(streams[1])[0]
    channel = streams[1][:at] + streams[1][at + size:]
    return [streams[0], channel, *streams[2:]], f"packet {index} is missing"


def repeat_packet(streams):
    at, size, _ = packets(streams[1])[0]
    channel = streams[1][:at + size] + streams[1][at:]
    return [streams[0], channel, *streams[2:]], r"multifd \d: offset \d+: .*"


def far_packet(streams):
    at, _, _ = packets(streams[1])[0]
    channel = bytearray(streams[1])
    channel[at + 280:at + 284] = struct.pack(">I", 0x7fffffff)
    return [streams[0], bytes(channel), *streams[2:]], r"multifd \d: offset \d+"


def same_channel(streams):
    return [streams[0], streams[1], streams[1]], "a second channel"


FAULTS = [break_footer, drop_switchover, repeat_switchover, drop_packet,
          repeat_packet, far_packet, same_channel]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_and_passes(fault, tmp_path):
    streams, what = fault(parts(MULTIFD))
    came, answered, run = replay(tmp_path, streams,
                                 answers=good_answers(MULTIFD))
    run.exits(1)
    assert came == streams
    assert answered == good_answers(MULTIFD)
    facts = run.json()
    assert facts["faults"] >= 1
    texts = [f"{e['channel']}: {e['text'].removeprefix('FAULT: ')}"
             for e in facts["timeline"] if e["kind"] == "fault"]
    assert any(re.search(what, text) for text in texts), texts


@pytest.mark.parametrize("fault", [break_footer, repeat_switchover, far_packet,
                                   repeat_packet, drop_switchover])
def test_strictly_a_fault_goes_no_further(fault, tmp_path):
    """The target never gets the end of the stream."""
    streams, _ = fault(parts(MULTIFD))
    came, _, run = replay(tmp_path, streams, "--strict",
                          answers=good_answers(MULTIFD))
    run.exits(1)
    assert "; cut off" in run.error()
    assert any(len(a) < len(b) for a, b in zip(came, streams))


@pytest.mark.parametrize("answers, what", [
    (struct.pack(">HH", 8, 0), "type 8 is not known"),
    (struct.pack(">HH", 0, 0), "type 0 is not known"),
    (struct.pack(">HHI", SHUT, 3, 0), "SHUT has a length of 3"),
    (message(SHUT, 0) + message(PONG, 1), "PONG after SHUT"),
    (message(SHUT, 1), "could not load"),
    (b"", "without a SHUT"),
])
def test_what_the_target_says_is_checked(answers, what, tmp_path):
    came, answered, run = replay(tmp_path, parts(PRECOPY), answers=answers)
    run.exits(1)
    assert came == parts(PRECOPY)
    assert answered == answers
    assert what in run.error()


def test_the_file_of_events_is_the_timeline_line_by_line(tmp_path):
    events = tmp_path / "events"
    _, _, run = replay(tmp_path, parts(PRECOPY), "--events", events,
                       answers=good_answers(PRECOPY))
    run.ok()
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    assert len(lines) > 10 and lines == run.json()["timeline"]


def test_events_that_nobody_can_keep_are_an_error(tmp_path):
    came, _, run = replay(tmp_path, parts(PRECOPY), "--events", "/dev/full",
                          answers=good_answers(PRECOPY))
    assert came == parts(PRECOPY)
    assert run.exits(1).json()["error"].startswith("/dev/full: cannot write")


def test_a_stream_that_is_cut_is_told(tmp_path):
    main = parts(PRECOPY)[0][:-10]
    came, _, run = replay(tmp_path, [main], answers=good_answers(PRECOPY))
    assert came == [main]
    assert re.search(rf"offset {len(main)}: .*the stream ends in",
                     run.exits(1).error())


def test_what_is_no_stream_passes(tmp_path):
    junk = b"GET / HTTP/1.0\r\n\r\n" * 100
    came, _, run = replay(tmp_path, [junk])
    assert came == [junk]
    assert "no migration stream" in run.exits(1).error()
    (tmp_path / "there").unlink()
    came, _, run = replay(tmp_path, [junk], "--strict")
    assert came == [b""]
    run.exits(1)


def rss(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * KIB
    raise LookupError


def test_a_target_that_takes_nothing_holds_up_the_source(tmp_path):
    """And the proxy does not keep what is in between."""
    main = parts(PRECOPY)[0]
    # Device data without end, as one record after the other.
    at = main.index(b"\xff\xff\xff\xff\xef\x10\x00\x04")
    record = main[at:at + 8] + struct.pack(">Q", MIB) + bytes(MIB)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "there"))
    server.listen(1)
    server.settimeout(DEADLINE)
    with start(tmp_path, "--idle-timeout", "2s") as run, \
            connect(run.uri) as s:
        s.sendall(main[:at])
        taker, _ = server.accept()
        sent = 0
        try:
            for _ in range(256):
                sent += s.send(record)
        except OSError:
            pass  # the proxy has given up
        run_pid = run.process.pid
        assert sent < 8 * MIB
        run.finish(DEADLINE).exits(1)
        taker.close()
    server.close()
    assert "nothing has passed for" in run.error()
    assert run_pid


def test_memory_does_not_grow_with_the_stream(tmp_path):
    main = parts(PRECOPY)[0]
    at = main.index(b"\xff\xff\xff\xff\xef\x10\x00\x04")
    record = main[at:at + 8] + struct.pack(">Q", MIB) + bytes(MIB)
    sink = Sink(tmp_path / "there", 1)
    with start(tmp_path, "-q") as run, connect(run.uri) as s:
        s.sendall(main[:at])
        for n in range(128):
            s.sendall(record)
            if n == 8:
                early = rss(run.process.pid)
        late = rss(run.process.pid)
        s.close()
        run.finish(DEADLINE).exits(1)
    sink.finish()
    assert late - early < 4 * MIB, (early, late)


def test_a_connection_that_says_nothing_has_its_time(tmp_path):
    sink = Sink(tmp_path / "there", 1)
    with start(tmp_path, "--idle-timeout", "200ms") as run, connect(run.uri):
        run.finish(DEADLINE).exits(1)
    assert "nothing has passed for" in run.error()
    sink.finish()


def test_a_target_that_is_not_there_is_named(tmp_path):
    with start(tmp_path, "--connect-timeout", "200ms") as run, \
            connect(run.uri):
        run.finish(DEADLINE).exits(1)
    assert "there" in run.error()


def test_a_capture_is_replayed_from_a_file(tmp_path):
    (tmp_path / "capture").write_bytes(parts("mtty-precopy")[0])
    with Run("proxy", "-q", f"file:{tmp_path}/capture",
             f"file:{tmp_path}/copy") as run:
        run.finish(DEADLINE).ok()
    assert (tmp_path / "copy").read_bytes() == parts("mtty-precopy")[0]


@pytest.mark.parametrize("words, what", [
    (["unix:a"], "is missing"),
    (["unix:a", "nowhere:b"], "nowhere:b"),
    (["--channels", "0", "unix:a", "unix:b"], "--channels"),
    (["--channels", "400", "unix:a", "unix:b"], "--channels"),
])
def test_words_that_make_no_proxy(words, what):
    with Run("proxy", *words) as run:
        assert what in run.finish().exits(2).error()
