# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""vfmig send --peer qemu: what it writes is what QEMU writes, and what the QEMU at
the other end answers decides who has the device."""
import lzma
import re
import socket
import struct
import threading
from pathlib import Path

import pytest

from test_qemu_replay import (DEADLINE, PONG, SHUT, SWITCHOVER_ACK, WHOLE,
                              Capture, u32)
from test_qemu_rest import EOS, take, without_device
from test_tool_proxy import parts
from vfmig_programs import Device, receive, vfmig

STOPPED = "STOP", "STOP_COPY"
DATA = EOS[:-1] + b"\x04"
INIT = EOS[:-1] + b"\x05"
GOLDEN = Path(__file__).parent.parent / "data" / "golden"
RETURN_PATH = b"\x08\x00\x01\x00\x00" + b"\x08\x00\x02\x00\x04\x00\x00\x00\x01"


def message(kind, payload=b""):
    return struct.pack(">HH", kind, len(payload)) + payload


class Loader(threading.Thread):
    """Takes a stream in QEMU's place; answers at its beginning and end."""

    def __init__(self, path, first, last, hang_up_after=None):
        super().__init__()
        self.first, self.last, self.limit = first, last, hang_up_after
        self.data = b""
        self.server = socket.socket(socket.AF_UNIX)
        self.server.settimeout(DEADLINE)
        self.server.bind(str(path))
        self.server.listen(1)
        self.start()

    def is_whole(self):
        at = self.data.rfind(b"\x00\x06")
        if at < 0 or len(self.data) < at + 6:
            return False
        size, = struct.unpack_from(">I", self.data, at + 2)
        return len(self.data) == at + 6 + size

    def run(self):
        s, _ = self.server.accept()
        s.settimeout(DEADLINE)
        data = bytearray()
        sent = False
        while piece := s.recv(1 << 16):
            data += piece
            if not sent:
                s.sendall(self.first)
                sent = True
            if self.limit is not None and len(data) >= self.limit:
                break
            self.data = bytes(data[-(4 << 20):])
            if self.is_whole():
                break
        self.data = bytes(data)
        try:
            s.sendall(self.last)
            s.shutdown(socket.SHUT_WR)
            while s.recv(1 << 16):
                pass
        except OSError:
            pass
        s.close()

    def finish(self):
        self.join(DEADLINE)
        assert not self.is_alive()
        self.server.close()
        return self.data


GOOD = message(PONG, u32(1)), message(SHUT, u32(0))
BAD = message(PONG, u32(1)), message(SHUT, u32(1))


def send(folder, device, answers, *words, limit=None):
    loader = Loader(folder / "there", *answers, limit)
    run = vfmig("send", "-q", "-d", device, "--peer", "qemu", *words,
                f"unix:{folder}/there")
    return run, loader.finish()


def test_a_qemu_that_has_loaded_it_has_the_device(tmp_path):
    with Device(tmp_path) as device:
        run, data = send(tmp_path, device.word, GOOD, "--machine",
                         "pc-q35-10.0")
        assert device.state() == "STOP"
    run.ok()
    assert data[:24] == b"QEVM\0\0\0\3\7\0\0\0\x0bpc-q35-10.0"
    assert data[24:24 + len(RETURN_PATH)] == RETURN_PATH


def test_one_that_was_told_to_acknowledges_unasked(tmp_path):
    with Device(tmp_path) as device:
        run, _ = send(tmp_path, device.word,
                      (message(SWITCHOVER_ACK) + GOOD[0], GOOD[1]))
    run.ok()


ACK = message(SWITCHOVER_ACK)


@pytest.mark.parametrize("machine, answers", [
    ("pc-q35-10.0", ACK), ("pc-q35-11.0", ACK), ("pc-q35-11.1", b"")])
def test_initial_data_is_announced_and_waited_for(machine, answers, tmp_path):
    """Machine types before 11.1 may acknowledge before they are told."""
    with Device(tmp_path) as device:
        run, data = send(tmp_path, device.word, (GOOD[0] + answers, GOOD[1]),
                         "--machine", machine, "--switchover-ack",
                         *([] if answers else ["--pre-copy-timeout", "200ms"]))
        assert device.state() == ("STOP" if answers else "RUNNING")
    run.exits(0 if answers else 1)
    assert data.count(INIT) == 1


def test_one_acknowledgement_too_many_is_refused(tmp_path):
    with Device(tmp_path) as device:
        run, _ = send(tmp_path, device.word, (GOOD[0] + ACK + ACK, GOOD[1]),
                      "--machine", "pc-q35-10.0", "--switchover-ack")
        assert device.state() == "RUNNING"
    assert "once too often" in run.exits(1).error()


@pytest.mark.parametrize("words", [
    ["--peer", "qemu", "--rest", "x"], ["--peer", "vfmig"]])
def test_acknowledgements_are_a_qemus(words, tmp_path):
    run = vfmig("send", "-d", "vfio-user:/nowhere", "--switchover-ack", *words,
                f"unix:{tmp_path}/there")
    assert "--switchover-ack is for" in run.exits(2).error()


def test_a_qemu_that_could_not_load_it_gives_it_back(tmp_path):
    with Device(tmp_path) as device:
        run, _ = send(tmp_path, device.word, BAD)
        assert device.state() == "RUNNING"
    assert "could not load the stream" in run.exits(1).error()


@pytest.mark.parametrize("last", [b"", message(SHUT, u32(0))[:5]])
def test_a_qemu_that_says_nothing_may_have_it(last, tmp_path):
    with Device(tmp_path) as device:
        run, _ = send(tmp_path, device.word, (GOOD[0], last))
        assert device.state() in STOPPED
    assert "handed over" in run.exits(4).error()


@pytest.mark.parametrize("what", [
    message(8), message(0), message(SHUT, b"\0\0\0"), message(PONG, b""),
    message(SHUT, u32(0)), struct.pack(">HH", PONG, 0xffff)])
def test_what_no_qemu_says_is_refused(what, tmp_path):
    """Half of the stream is not the end of it."""
    with Device(tmp_path, "device", "--size", "8M") as device:
        run, _ = send(tmp_path, device.word, (what, b""), limit=1 << 20)
        assert device.state() == "RUNNING"
    run.exits(1)


# ---------------------------------------------------------------------------


def sections(data, name):
    """What stands around a device's data: (type, head, body, tail)."""
    at = data.index(name)
    ident = data[at - 5:at - 1]
    named = ident + bytes([len(name)]) + name + u32(0) + u32(1)
    for kind, head in (1, named), (3, ident), (4, named):
        begin = data.index(bytes([kind]) + head)
        end = data.index(EOS + b"\x7e" + ident, begin) + len(EOS) + 5
        section = data[begin:end]
        yield kind, section[:1] + section[5:-4]


def test_around_the_data_it_is_what_qemu_writes(tmp_path):
    """Of a device that is known: the START to the byte, END and FULL but for
    what the device says of itself."""
    capture = Capture("qemu-10.0.2-precopy")
    with Device(tmp_path, "device", "--vectors", 5) as device:
        run, data = send(tmp_path, f"{device.word},id={capture.id}", GOOD,
                         "--machine", "pc-q35-10.0")
    run.ok()
    ours = list(sections(data, f"{capture.id}/vfio".encode()))
    theirs = list(sections(capture.data, f"{capture.id}/vfio".encode()))
    assert data[:38] == capture.data[:38]
    assert ours[0] == theirs[0]
    for (kind, a), (_, b) in zip(ours[1:], theirs[1:]):
        head = 1 + 8 if kind == 3 else 1 + 9 + len(capture.id) + 5 + 8
        assert a[:head] == b[:head]
        assert a[-9:] == b[-9:]
    # The record is as long as QEMU's: config space, INTx, MSI-X.
    assert len(ours[2][1]) == len(theirs[2][1])


def without_state(data):
    """What the device says is its own; some of it is what time it is."""
    at = data.index(DATA)
    while data[at:at + 8] == DATA:
        size, = struct.unpack_from(">Q", data, at + 8)
        data = data[:at + 16] + bytes(size) + data[at + 16 + size:]
        at += 16 + size
    for name in b"version", b"xxh3_128":
        data = re.sub(rb'"%s": "[0-9a-f.]+"' % name, b'"%s": ""' % name, data)
    return data


KNOWN = "--vectors", 5, "--seed", 7, "--size", "64K"


def stopped_device(folder):
    """A device that does not run sends the same every time."""
    with Device(folder, "device", *KNOWN) as device:
        device.set_state("STOP")
        run, data = send(folder, f"{device.word},id=0000:00:01.0", GOOD,
                         "--machine", "pc-q35-10.0")
    run.ok()
    return data


def kept(name):
    return lzma.decompress((GOLDEN / f"{name}.bin.xz").read_bytes())


def test_the_stream_is_the_one_that_is_kept(tmp_path):
    assert without_state(stopped_device(tmp_path)) == kept("send-qemu")


def data_of(section):
    """What its records hold, one after the other."""
    at, data = section.index(DATA), b""
    while section[at:at + 8] == DATA:
        size, = struct.unpack_from(">Q", section, at + 8)
        data += section[at + 16:at + 16 + size]
        at += 16 + size
    assert section[at:at + 8] == EOS
    return data


# Of the emulated device's state, emulator/stream.h: a frame's head, and the
# frame that holds the MSI-X table.
FRAME = struct.Struct("<2I3Q")
FRAME_MSIX, FRAME_END = 6, 7
CHECK = 8


def without_table(state):
    """All of it but the table and the check of that one frame: the table is the
    guest's where vfmig is, and QEMU's own where QEMU is.  What kinds of frames
    there are, too."""
    at, found, kinds = 0, bytearray(state), []
    while at < len(state):
        magic, kind, number, _, length = FRAME.unpack_from(state, at)
        assert (magic, number) == (0x53454d56, len(kinds))
        kinds.append(kind)
        body, at = at + FRAME.size, at + FRAME.size + length + CHECK
        if kind == FRAME_MSIX:
            found[body:at] = bytes(at - body)
    assert at == len(state)
    return bytes(found), kinds


def same_sections(ours, theirs, name):
    """Byte for byte, but for the sections' numbers, for where a record of the
    state ends and the next begins, and for the table of the device itself."""
    for (kind, a), (_, b) in zip(sections(ours, name), sections(theirs, name),
                                 strict=True):
        if kind == 3:
            a, b = data_of(a), data_of(b)
            assert len(a) == len(b) > 64 << 10
            (a, kinds), (b, _) = without_table(a), without_table(b)
            assert kinds[-2:] == [FRAME_MSIX, FRAME_END]
        assert a == b, kind


def test_what_qemu_wrote_is_written_again(tmp_path):
    """By the device that was QEMU's over the bridge."""
    theirs, name = kept("from-qemu"), "0000:00:05.0"
    (tmp_path / "stream").write_bytes(theirs)
    with Device(tmp_path, "device", *KNOWN) as device:
        word = f"{device.word},id={name}"
        vfmig("receive", "-q", "-d", word, "--peer", "qemu", "--paused",
              f"file:{tmp_path}/stream").ok()
        run, data = send(tmp_path, word, GOOD, "--machine", "pc-q35-10.0")
    run.ok()
    same_sections(data, theirs, f"{name}/vfio".encode())


@pytest.fixture(scope="module")
def rests(tmp_path_factory):
    """What is left of each capture when the device was taken out of it."""
    found = {}
    for name in WHOLE:
        folder = tmp_path_factory.mktemp(name)
        run, *_ = take(folder, Capture(name), parts(name), "--rest",
                       folder / "rest")
        run.ok()
        (folder / "main").write_bytes(parts(name)[0])
        found[name] = folder
    return found


@pytest.mark.parametrize("name", WHOLE)
def test_a_device_and_the_rest_are_the_machine_again(name, rests, tmp_path):
    capture = Capture(name)
    rest = rests[name] / "rest"
    with Device(tmp_path, "device", "--vectors", 5) as device:
        loader = Loader(tmp_path / "there", *GOOD)
        run = vfmig("send", "-q", "-d", f"{device.word},id={capture.id}",
                    "--peer", "qemu", "--rest", rest, f"unix:{tmp_path}/there")
        data = loader.finish()
        assert device.state() == "STOP"
        run.ok()
    (tmp_path / "sent").write_bytes(data)
    facts = vfmig("inspect", "--json", tmp_path / "sent").ok().json()
    assert facts["vfio"][capture.id + "/vfio"]["bytes"] > 0
    # And without the device it is the rest again, but for the questions.
    left = without_device(tmp_path / "sent", capture.id + "/vfio")
    was = rest.read_bytes()
    if not capture.has_return_path:
        at = was.index(b"\x01\0\0\0")
        was = was[:at] + RETURN_PATH + was[at:]
    assert left == was


def test_what_has_come_to_a_receiver_is_not_waited_for(rests, tmp_path):
    """Who waits for the answer sends nothing more, and does not hang up: the
    many small sections of a machine are there, and nothing wakes a receiver
    but that it has them still to read."""
    name = "qemu-10.0.2-precopy"
    with Device(tmp_path, "here", "--size", "128K") as here, \
            Device(tmp_path, "there", "--size", "128K") as there:
        for n in range(3):
            with receive("-q", "-d", f"{there.word},id={Capture(name).id}",
                         "--peer", "qemu", "--rest", tmp_path / f"kept{n}",
                         f"unix:{tmp_path}/move{n}") as run:
                vfmig("send", "-q", "-d", f"{here.word},id={Capture(name).id}",
                      "--peer", "qemu", "--rest", rests[name] / "rest", run.uri,
                      seconds=15).ok()
                run.finish(15)
            run.ok()
            here, there = there, here
            vfmig("state", "-d", here.word, "RUNNING").ok()


def test_a_rest_that_qemu_does_not_load_gives_the_device_back(rests, tmp_path):
    name = WHOLE[0]
    with Device(tmp_path, "device", "--vectors", 5) as device:
        loader = Loader(tmp_path / "there", *BAD)
        run = vfmig("send", "-q", "-d", f"{device.word},id={Capture(name).id}",
                    "--peer", "qemu", "--rest", rests[name] / "rest",
                    f"unix:{tmp_path}/there")
        loader.finish()
        assert device.state() == "RUNNING"
    assert "could not load" in run.exits(1).error()


def test_a_rest_that_is_none_gives_the_device_back(tmp_path):
    (tmp_path / "rest").write_bytes(b"QEVM\0\0\0\3")
    with Device(tmp_path) as device:
        loader = Loader(tmp_path / "there", b"", b"")
        run = vfmig("send", "-q", "-d", device.word, "--peer", "qemu",
                    "--rest", tmp_path / "rest", f"unix:{tmp_path}/there")
        loader.finish()
        assert device.state() == "RUNNING"
    assert f"{tmp_path}/rest" in run.exits(1).error()


def test_a_rest_without_the_device_gives_it_back(rests, tmp_path):
    with Device(tmp_path) as device:
        loader = Loader(tmp_path / "there", b"", b"")
        run = vfmig("send", "-q", "-d", f"{device.word},id=0000:09:09.0",
                    "--peer", "qemu", "--rest", rests[WHOLE[0]] / "rest",
                    f"unix:{tmp_path}/there")
        loader.finish()
        assert device.state() == "RUNNING"
    assert f"{rests[WHOLE[0]]}/rest: section" in run.exits(1).error()


def test_a_qemu_that_never_answers_has_its_time(rests, tmp_path):
    name = WHOLE[0]
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "there"))
    server.listen(1)
    taker = threading.Thread(target=swallow, args=(server,))
    taker.start()
    with Device(tmp_path, "device", "--vectors", 5) as device:
        run = vfmig("send", "-q", "-d", f"{device.word},id={Capture(name).id}",
                    "--peer", "qemu", "--rest", rests[name] / "rest",
                    "--peer-timeout", "100ms", f"unix:{tmp_path}/there")
        assert device.state() in STOPPED
    taker.join(DEADLINE)
    assert "has not said whether it has loaded" in run.exits(4).error()


def swallow(server):
    s, _ = server.accept()
    s.settimeout(DEADLINE)
    while s.recv(1 << 16):
        pass


def test_where_nobody_answers_a_rest_is_not_sent(tmp_path):
    (tmp_path / "rest").touch()
    with Device(tmp_path) as device:
        run = vfmig("send", "-q", "-d", device.word, "--peer", "qemu",
                    "--rest", tmp_path / "rest", "exec:cat >/dev/null")
        assert device.state() == "RUNNING"
    assert "vfmig splice" in run.exits(1).error()
