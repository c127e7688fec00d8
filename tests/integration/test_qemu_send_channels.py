# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""vfmig send --peer qemu --channels: packets of a device's state to something
that takes them as QEMU does, and what becomes of the device when it does not."""
import contextlib
import socket
import struct
import threading

import pytest

from test_qemu_replay import DEADLINE, PONG, SHUT, SWITCHOVER_ACK, u32
from test_qemu_send import EOS, INIT, message, sections
from vfmig_programs import Device, receive, vfmig

ID = "0000:00:01.0"
SECTION = f"{ID}/vfio".encode()
MAGIC = b"\x11\x22\x33\x44" + u32(1)
DEVICE_STATE = u32(0x40)
HEAD = 276
SWITCHOVER_START = b"\x08\x00\x0b\x00\x00"
STOPPED = "--features", "stop-copy,p2p"


class Channels:
    """In QEMU's place: main first, then `count` more.  The first ping is
    answered when all have come, and SHUT follows the end of the stream."""

    def __init__(self, path, count, ack=False, cut=None):
        self.count, self.ack, self.cut = count, ack, cut
        self.main, self.lanes = bytearray(), {}
        self.before_pong = []
        self.server = socket.socket(socket.AF_UNIX)
        self.server.settimeout(DEADLINE)
        self.server.bind(str(path))
        self.server.listen(count + 1)
        self.threads = []
        self.stack = contextlib.ExitStack()
        self.accepting = self.thread(self.take_all)

    def thread(self, run, *args):
        one = threading.Thread(target=run, args=args)
        one.start()
        self.threads.append(one)
        return one

    def accept(self):
        s, _ = self.server.accept()
        s.settimeout(DEADLINE)
        return self.stack.enter_context(s)

    def take_all(self):
        main = self.accept()
        lanes = [self.accept() for _ in range(self.count)]
        for number, lane in enumerate(lanes):
            init = b""
            while len(init) < 64:
                init += lane.recv(64 - len(init))
            self.lanes[number] = bytearray(init)
        self.before_pong = [len(b) for b in self.lanes.values()]
        main.sendall(message(PONG, u32(1)) +
                     (message(SWITCHOVER_ACK) if self.ack else b""))
        for number, lane in enumerate(lanes):
            self.thread(self.take, lane, self.lanes[number], number)
        self.take_main(main)

    def take(self, lane, into, number):
        with contextlib.suppress(OSError):
            while piece := lane.recv(1 << 16):
                into += piece
                if number == 0 and self.cut and len(into) >= self.cut:
                    lane.shutdown(socket.SHUT_RDWR)
                    return

    def take_main(self, main):
        with contextlib.suppress(OSError):
            while piece := main.recv(1 << 16):
                self.main += piece
                at = self.main.rfind(b"\0\6")
                if at >= 0 and len(self.main) >= at + 6 and len(self.main) == \
                        at + 6 + struct.unpack_from(">I", self.main, at + 2)[0]:
                    main.sendall(message(SHUT, u32(0)))

    def finish(self):
        for one in self.threads:
            one.join(DEADLINE)
            assert not one.is_alive()
        self.stack.close()
        self.server.close()


def packets(lane):
    """(index, is the last, payload) of each packet behind the first 64 bytes."""
    at = 64
    while at < len(lane):
        head = lane[at:at + HEAD]
        assert head[:12] == MAGIC + DEVICE_STATE
        assert head[12:268].rstrip(b"\0") == SECTION
        instance, size, version, index, flags = struct.unpack_from(
            ">5I", lane, at + 268)
        assert (instance, version) == (0, 0) and flags in (0, 1)
        yield index, flags == 1, bytes(lane[at + HEAD + 12:at + HEAD + size])
        at += HEAD + size
    assert at == len(lane)


def send(folder, device, *words):
    return vfmig("send", "-q", "-d", f"{device.word},id={ID}", "--peer", "qemu",
                 "--machine", "pc-q35-10.0", *words, f"unix:{folder}/there")


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("words", [STOPPED, ()])
def test_the_packets_are_those_of_a_qemu(words, count, tmp_path):
    with Device(tmp_path, "device", "--size", "8M", *words) as device:
        peer = Channels(tmp_path / "there", count)
        send(tmp_path, device, "--channels", count).ok()
        peer.finish()
        assert device.state() == "STOP"
    for number, lane in peer.lanes.items():
        assert lane[:64] == MAGIC + bytes(16) + bytes([number]) + bytes(39)
    # Nothing but the greeting before it was said that there is room for more.
    assert peer.before_pong == [64] * count
    assert peer.main.count(SWITCHOVER_START) == 1
    found = sorted(p for lane in peer.lanes.values() for p in packets(lane))
    assert [index for index, *_ in found] == list(range(len(found)))
    assert [last for _, last, _ in found] == [False] * (len(found) - 1) + [True]
    config = found[-1][2]
    assert config[:8] == EOS[:-1] + b"\2" and config[-8:] == EOS
    # The main channel has the frame of it and no more.
    _, end, full = (body for _, body in sections(bytes(peer.main), SECTION))
    named = bytes([len(SECTION)]) + SECTION + u32(0) + u32(1)
    assert (end, full) == (b"\3" + EOS + b"\x7e",
                           b"\4" + named + EOS + b"\x7e")


def test_initial_data_is_announced_there_too(tmp_path):
    with Device(tmp_path) as device:
        peer = Channels(tmp_path / "there", 2, ack=True)
        send(tmp_path, device, "--channels", 2, "--switchover-ack").ok()
        peer.finish()
    assert peer.main.count(INIT) == 1


@pytest.mark.parametrize("words", [STOPPED, ()])
def test_a_receiver_of_ours_takes_them(words, tmp_path):
    with Device(tmp_path, "a", "--size", "8M", *words) as here, \
            Device(tmp_path, "b", "--size", "8M", *words) as there:
        with receive("-q", "-d", f"{there.word},id={ID}", "--peer", "qemu",
                     "--channels", 2, f"unix:{tmp_path}/there") as run:
            send(tmp_path, here, "--channels", 2).ok()
            run.finish()
        run.ok()
        assert (here.state(), there.state()) == ("STOP", "RUNNING")


@pytest.mark.parametrize("cut", [64, 200, 100000])
def test_a_channel_that_dies_leaves_the_device_here(cut, tmp_path):
    with Device(tmp_path, "device", "--size", "16M", *STOPPED) as device:
        peer = Channels(tmp_path / "there", 2, cut=cut + 1)
        run = send(tmp_path, device, "--channels", 2)
        assert device.state() == "RUNNING"
        peer.finish()
    assert "unix:" in run.exits(1).error()


def test_a_qemu_that_waits_for_more_channels_has_its_time(tmp_path):
    """It answers nothing before, and the device has not been stopped."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "there"))
    server.listen(8)
    with server, Device(tmp_path, "device", *STOPPED) as device:
        run = send(tmp_path, device, "--channels", 2, "--peer-timeout", "200ms",
                   "-v")
        assert device.state() == "RUNNING"
    assert "multifd-channels" in run.exits(1).error()
    assert "STOP_COPY" not in run.stderr


def test_a_channel_that_nobody_takes_is_an_error(tmp_path):
    """One listens for the first, and then no more."""
    server = socket.socket(socket.AF_UNIX)
    server.settimeout(DEADLINE)
    server.bind(str(tmp_path / "there"))
    server.listen(1)

    def one():
        s, _ = server.accept()
        server.close()
        (tmp_path / "there").unlink()
        s.close()

    taker = threading.Thread(target=one)
    taker.start()
    with Device(tmp_path) as device:
        run = send(tmp_path, device, "--channels", 8, "--connect-timeout", "1s")
        assert device.state() == "RUNNING"
    taker.join(DEADLINE)
    run.exits(1)


@pytest.mark.parametrize("words, why", [
    (("--channels", 2, "--rest", "x"), "goes over one connection"),
    (("--channels", 33), "is no number from 1 to 32"),
])
def test_what_cannot_be_is_said(words, why, tmp_path):
    run = vfmig("send", "-d", "vfio-user:/nowhere", "--peer", "qemu", *words,
                f"unix:{tmp_path}/there")
    assert why in run.exits(2).error()


def test_where_nobody_answers_there_are_no_channels():
    vfmig("send", "-d", "vfio-user:/nowhere", "--peer", "qemu", "--channels", 2,
          "exec:cat").exits(2)
