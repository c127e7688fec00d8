# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""vfmig receive --peer qemu: what a real QEMU sent is sent again, and the device
gets all of it and nothing else; the answers are those that QEMU waits for."""
import json
import lzma
import random
import re
import socket
import struct
from pathlib import Path

import pytest

from faults import error_line
from vfmig_programs import Device, receive, vfmig

STREAMS = Path(__file__).parent.parent / "data" / "streams"
CAPTURES = sorted(path.parent.name for path in STREAMS.glob("*/truth.json"))
MULTIFD = "qemu-10.0.2-multifd"
WHOLE = [name for name in CAPTURES if name != MULTIFD]

DEADLINE = 30

SHUT, PONG, SWITCHOVER_ACK = 1, 2, 7
OPEN_RETURN_PATH = 1
CUTS = 20


class Capture:
    def __init__(self, name):
        folder = STREAMS / name
        self.data = lzma.decompress((folder / "main.bin.xz").read_bytes())
        self.truth = json.loads((folder / "truth.json").read_text())
        (section, self.device), = self.truth["vfio"].items()
        self.id = section.removesuffix("/vfio")
        self.has_return_path = OPEN_RETURN_PATH in self.truth["commands"]
        # The VM's run state is in a section of its own, after a length.
        self.runs = re.search(rb"\x0bglobalstate.{12}(running|paused)\0",
                              self.data, re.DOTALL).group(1) == b"running"
        # What comes before the type and the length of the description.
        self.end = len(self.data) - self.truth["vmdescription_bytes"] - 5


@pytest.fixture(scope="module")
def captures():
    return {name: Capture(name) for name in CAPTURES}


class Taker(Device):
    """A device that takes any state and says what it was."""

    def __init__(self, folder):
        self.report_path = folder / "report.json"
        super().__init__(folder, "device", "--accept-any", "--vectors", 5,
                         "--report", self.report_path)

    def __exit__(self, *rest):
        super().__exit__(*rest)
        self.report = json.loads(self.report_path.read_text())


def connect(uri):
    kind, address = uri.split(":", 1)
    if kind == "unix":
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(DEADLINE)
        s.connect(address)
        return s
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), DEADLINE)


def messages(data):
    """The return path, taken apart."""
    at, found = 0, []
    while at < len(data):
        kind, size = struct.unpack_from(">HH", data, at)
        found.append((kind, data[at + 4:at + 4 + size]))
        at += 4 + size
    assert at == len(data)
    return found


def replay(uri, data):
    """Sends it as fast as it is taken; returns what was answered."""
    answered = b""
    with connect(uri) as s:
        try:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # refused half-way: it has said why
        try:
            while part := s.recv(65536):
                answered += part
        except ConnectionResetError:
            pass
    return messages(answered)


def take(folder, capture, data, uri=None, words=()):
    with Taker(folder) as device:
        with receive("-q", "-d", f"{device.word},id={capture.id}", "--peer",
                     "qemu", *words, uri or f"unix:{folder}/move") as run:
            answers = replay(run.uri, data)
            run.finish(DEADLINE)
        state = vfmig("state", "-d", device.word).ok().stdout.strip()
    return run, device, answers, state


def u32(number):
    return struct.pack(">I", number)


@pytest.mark.parametrize("uri", ["unix", "tcp:127.0.0.1:0"])
@pytest.mark.parametrize("name", WHOLE)
def test_the_device_gets_what_qemu_sent(name, uri, captures, tmp_path):
    capture = captures[name]
    run, device, answers, state = take(tmp_path, capture, capture.data,
                                       None if uri == "unix" else uri)
    run.ok()
    assert f"sha256 {capture.device['data_sha256']}" in device.stdout
    assert device.report["bytes_loaded"] == capture.device["bytes"]
    assert device.report["loaded_sha256"] == capture.device["data_sha256"]
    assert state == ("RUNNING" if capture.runs else "STOP")
    if not capture.has_return_path:
        assert answers == []
        return
    acks = [(SWITCHOVER_ACK, b"")] * capture.device["init_data_sent"]
    assert answers == [(PONG, u32(1)), *acks, (SHUT, u32(0))]


def refused(capture, run, device, answers, state):
    """Nothing of it is left, and QEMU was not told that all was well."""
    error_line(run.exits(1), 1)
    assert state == "RUNNING"
    assert device.report["loads_accepted"] == 0
    if "STOP>RESUMING" in device.report["steps"]:
        assert device.report["resets"] == 1
        assert "was reset" in run.stderr
    assert (SHUT, u32(0)) not in answers
    if (PONG, u32(1)) in answers:
        assert answers[-1] == (SHUT, u32(1))


def cuts(capture, seed):
    """Offsets everywhere, and more of them where the small pieces are."""
    some = random.Random(seed)
    return sorted({0, 1, 7, 8, 9, capture.end - 1, capture.end,
                   len(capture.data) - 1} |
                  {some.randrange(8, 4096) for _ in range(CUTS // 4)} |
                  {some.randrange(capture.end - 8192, capture.end)
                   for _ in range(CUTS // 4)} |
                  {some.randrange(8, capture.end) for _ in range(CUTS // 2)})


@pytest.mark.parametrize("name", WHOLE)
def test_a_stream_that_is_cut_is_refused(name, captures, tmp_path):
    capture = captures[name]
    for offset in cuts(capture, name):
        folder = tmp_path / str(offset)
        folder.mkdir()
        run, *rest = take(folder, capture, capture.data[:offset])
        refused(capture, run, *rest)
        assert re.search(r"offset \d+: (section .*: )?the stream ends ",
                         run.stderr), (offset, run.stderr)


def test_state_that_went_through_other_channels_is_refused(captures, tmp_path):
    capture = captures[MULTIFD]
    run, *rest = take(tmp_path, capture, capture.data)
    refused(capture, run, *rest)
    assert "it was sent on a multifd channel, or not at all" in run.stderr


@pytest.mark.parametrize("name", WHOLE)
def test_a_device_by_another_name_gets_nothing(name, captures, tmp_path):
    capture = captures[name]
    with Taker(tmp_path) as device:
        with receive("-q", "-d", device.word + ",id=0000:ff:1f.7", "--peer",
                     "qemu", f"unix:{tmp_path}/move") as run:
            replay(run.uri, capture.data)
            run.finish(DEADLINE).exits(1)
    assert f'"{capture.id}/vfio"' in run.error()
    assert device.report["bytes_loaded"] == 0


@pytest.mark.parametrize("name", WHOLE)
def test_a_machine_that_was_not_asked_for_is_refused(name, captures, tmp_path):
    capture = captures[name]
    run, *rest = take(tmp_path, capture, capture.data,
                      words=("--machine", "pc-i440fx-2.0"))
    refused(capture, run, *rest)
    assert capture.truth["machine"] in run.stderr


@pytest.mark.parametrize("name", WHOLE)
def test_a_paused_device_is_loaded_and_stays_stopped(name, captures, tmp_path):
    capture = captures[name]
    run, device, _, state = take(tmp_path, capture, capture.data,
                                 words=("--paused",))
    run.ok()
    assert device.report["loaded_sha256"] == capture.device["data_sha256"]
    assert state == "STOP"


# Two devices, which nobody has captured: made of what was. --------------------

TAG = b"\xff\xff\xff\xff\xef\x10\x00"
EOS, CONFIG, SETUP, INIT = (TAG + bytes([n]) for n in (1, 2, 3, 5))


def two_devices(capture, machine, ids):
    """A stream in which each announces its initial data, one after the other."""
    at = capture.data.index(CONFIG) + 8
    record = capture.data[at:capture.data.index(EOS + b"\x7e", at)]
    stream = b"QEVM\0\0\0\3\7" + u32(len(machine)) + machine.encode() + \
        b"\x08\0\1\0\0"
    named = []
    for n, name in enumerate(ids, 1):
        name = f"{name}/vfio".encode()
        named.append(u32(n) + bytes([len(name)]) + name + u32(0) + u32(1))
    foot = [b"\x7e" + u32(n) for n in (1, 2)]
    for i in 0, 1:
        stream += b"\1" + named[i] + SETUP + EOS + foot[i]
    for i in 0, 1:
        stream += b"\2" + u32(i + 1) + INIT + foot[i]
    for i in 0, 1:
        stream += b"\3" + u32(i + 1) + EOS + foot[i]
    for i in 0, 1:
        stream += b"\4" + named[i] + CONFIG + record + EOS + foot[i]
    sizes = ", ".join(
        f'{{"name": "{name}/vfio", "instance_id": 0, "size": {len(record) + 16}'
        f', "fields": [{{"name": "data", "size": {len(record) + 16}, '
        f'"type": "buffer"}}]}}' for name in ids)
    text = f'{{"page_size": 4096, "devices": [{sizes}]}}'.encode()
    return stream + b"\0\6" + u32(len(text)) + text


@pytest.mark.parametrize("machine, acks", [("pc-q35-10.0", 1),
                                           ("pc-q35-11.0", 1),
                                           ("pc-q35-11.1", 2)])
def test_initial_data_is_acknowledged_as_the_machine_type_has_it(
        machine, acks, captures, tmp_path):
    ids = ["0000:00:01.0", "0000:00:02.0"]
    data = two_devices(captures["qemu-10.0.2-precopy"], machine, ids)
    words = ("--accept-any", "--vectors", 5)
    with Device(tmp_path, "a", *words) as a, Device(tmp_path, "b", *words) as b:
        with receive("-q", "-d", f"{a.word},id={ids[0]}", "-d",
                     f"{b.word},id={ids[1]}", "--peer", "qemu",
                     f"unix:{tmp_path}/move") as run:
            answers = replay(run.uri, data)
            run.finish(DEADLINE)
    run.ok()
    assert answers == [(SWITCHOVER_ACK, b"")] * acks + [(SHUT, u32(0))]


@pytest.mark.parametrize("machine, acks", [("pc-q35-10.0", 1),
                                           ("pc-q35-11.1", 0)])
def test_a_device_that_will_announce_nothing_is_acknowledged_at_once(
        machine, acks, captures, tmp_path):
    """Or a source that was told to wait for it would wait for ever."""
    ids = ["0000:00:01.0", "0000:00:02.0"]
    data = two_devices(captures["qemu-10.0.2-precopy"], machine, ids)
    for n in 1, 2:
        data = data.replace(b"\2" + u32(n) + INIT + b"\x7e" + u32(n), b"")
    words = ("--accept-any", "--vectors", 5)
    with Device(tmp_path, "a", *words) as a, Device(tmp_path, "b", *words) as b:
        with receive("-q", "-d", f"{a.word},id={ids[0]},pre-copy=off", "-d",
                     f"{b.word},id={ids[1]},pre-copy=off", "--peer", "qemu",
                     f"unix:{tmp_path}/move") as run:
            answers = replay(run.uri, data)
            run.finish(DEADLINE)
    run.ok()
    assert answers == [(SWITCHOVER_ACK, b"")] * acks + [(SHUT, u32(0))]
