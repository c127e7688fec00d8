# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""vfmig receive --peer qemu --rest: the devices get theirs, whatever channels it
came on, and all else is in a file, byte for byte."""
import os
import re
import socket
import struct
import threading
from pathlib import Path

import pytest

from faults import error_line
from test_qemu_replay import (CAPTURES, DEADLINE, MULTIFD, PONG, SHUT, STREAMS,
                              SWITCHOVER_ACK, WHOLE, Capture, Taker, connect,
                              messages, u32)
from test_tool_proxy import packets, parts
from vfmig_programs import Run, receive, vfmig

EOS = b"\xff\xff\xff\xff\xef\x10\x00\x01"


@pytest.fixture(scope="module")
def captures():
    return {name: Capture(name) for name in CAPTURES}


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
    return messages(data)


def replay(uri, streams):
    """All at once, as QEMU does; what was answered."""
    sockets = [connect(uri) for _ in streams]
    threads = [threading.Thread(target=send, args=pair)
               for pair in zip(sockets, streams)]
    for thread in threads:
        thread.start()
    answers = answers_of(sockets[0])
    for s in sockets:
        s.close()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()
    return answers


def take(folder, capture, streams, *words, uri=None, order=None):
    channels = ["--channels", len(streams) - 1] if len(streams) > 1 else []
    with Taker(folder) as device:
        with receive("-q", "-d", f"{device.word},id={capture.id}", "--peer",
                     "qemu", *channels, *words,
                     uri or f"unix:{folder}/move") as run:
            if order is not None:
                streams = [streams[i] for i in order]
            answers = replay_in_order(run.uri, streams)
            run.finish(DEADLINE)
        state = vfmig("state", "-d", device.word).ok().stdout.strip()
    return run, device, answers, state


def replay_in_order(uri, streams):
    main = next(i for i, s in enumerate(streams) if s[:4] == b"QEVM")
    sockets = [connect(uri) for _ in streams]
    threads = [threading.Thread(target=send, args=pair)
               for pair in zip(sockets, streams)]
    for thread in threads:
        thread.start()
    answers = answers_of(sockets[main])
    for s in sockets:
        s.close()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()
    return answers


def sections_of(path, section, part):
    """(offset, length, kind) of all but its START, by the map that inspect
    prints; `part` is how its PARTs begin."""
    data = path.read_bytes()
    for line in vfmig("inspect", path).ok().stdout.splitlines():
        if found := re.match(
                rf" *(\d+) +(\d+)  (PART|END|FULL) +\d+ '{section}'", line):
            yield int(found[1]), int(found[2]), found[3]
        elif found := re.match(r" *(\d+) +(\d+)  PARTs? .*nothing in", line):
            first, size = int(found[1]), int(found[2])
            assert size % 18 == 0
            for offset in range(first, first + size, 18):
                if data[offset:offset + 5] == part:
                    yield offset, 18, "PART"


def without_device(path, section):
    """What is to be left of a stream, but for what the device has."""
    data, left, at = path.read_bytes(), b"", 0
    # A START has its id in front of the length of its name.
    name = data.index(section.encode())
    part = b"\x02" + data[name - 5:name - 1]
    for offset, size, kind in sections_of(path, section, part):
        left += data[at:offset]
        at = offset + size
        if kind != "PART":
            head = 5 if kind == "END" else 14 + len(section)
            left += data[offset:offset + head] + EOS + data[at - 5:at]
    left += data[at:]
    # The description's length, and in it twice the length of the section.
    json_at = left.rindex(b"\x00\x06") + 6
    text = left[json_at:].decode()
    text = re.sub(rf'("{section}", "instance_id": 0, "size": )\d+'
                  r'(, "fields": \[\{"name": "data", "size": )\d+',
                  r"\g<1>8\g<2>8", text)
    return left[:json_at - 4] + struct.pack(">I", len(text)) + text.encode()


@pytest.mark.parametrize("uri", ["unix", "tcp:127.0.0.1:0"])
@pytest.mark.parametrize("name", CAPTURES)
def test_device_and_rest_are_all_of_it(name, uri, captures, tmp_path):
    capture, streams = captures[name], parts(name)
    run, device, answers, state = take(
        tmp_path, capture, streams, "--rest", tmp_path / "rest",
        uri=None if uri == "unix" else uri)
    run.ok()
    assert device.report["bytes_loaded"] == capture.device["bytes"]
    assert device.report["loaded_sha256"] == capture.device["data_sha256"]
    assert state == ("RUNNING" if capture.runs else "STOP")
    if capture.has_return_path:
        acks = [(SWITCHOVER_ACK, b"")] * capture.device["init_data_sent"]
        assert answers == [(PONG, u32(1)), *acks, (SHUT, u32(0))]
    else:
        assert answers == []
    facts = vfmig("inspect", "--json", tmp_path / "rest").ok().json()
    assert facts["machine"] == capture.truth["machine"]
    assert facts["vfio"][capture.id + "/vfio"]["bytes"] == 0


def receive_over(kind, folder, device, capture, main):
    """One stream by each way it can come; the run and what it answered."""
    words = ("-q", "-d", f"{device.word},id={capture.id}", "--peer", "qemu",
             "--rest", folder / "rest")
    (folder / "main").write_bytes(main)
    if kind in ("file", "exec"):
        uri = f"{kind}:{folder}/main" if kind == "file" else \
            f"exec:cat {folder}/main"
        return vfmig("receive", *words, uri), []
    if kind == "pipe":
        reader, writer = os.pipe()
        with Run("receive", *words, f"fd:{reader}", pass_fds=[reader]) as run:
            os.close(reader)
            with open(writer, "wb") as f:
                f.write(main)
            return run.finish(DEADLINE), []
    ours, theirs = socket.socketpair()
    ours.settimeout(DEADLINE)
    with Run("receive", *words, f"fd:{theirs.fileno()}",
             pass_fds=[theirs.fileno()]) as run, ours:
        theirs.close()
        thread = threading.Thread(target=send, args=(ours, main))
        thread.start()
        answers = answers_of(ours)
        thread.join(DEADLINE)
        return run.finish(DEADLINE), answers


def receive_at(fd_kind, folder, device, capture, streams):
    """fd: with a socket that listens: all connections come by it."""
    with socket.socket(fd_kind) as s:
        s.bind(("127.0.0.1", 0) if fd_kind == socket.AF_INET else
               str(folder / "at"))
        s.listen(8)
        uri = f"unix:{folder}/at" if fd_kind == socket.AF_UNIX else \
            "tcp:127.0.0.1:%d" % s.getsockname()[1]
        channels = ["--channels", len(streams) - 1] if streams[1:] else []
        run = Run("receive", "-q", "-d", f"{device.word},id={capture.id}",
                  "--peer", "qemu", *channels, "--rest", folder / "rest",
                  f"fd:{s.fileno()}", pass_fds=[s.fileno()])
    with run:
        answers = replay(uri, streams)
        return run.finish(DEADLINE), answers


WAYS = ["socket", "pipe", "file", "exec"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", WHOLE)
def test_a_stream_comes_by_any_way(name, way, captures, tmp_path):
    """One that asks for answers where nobody can hear them is loaded, too: that
    it asks is a question and no condition."""
    capture, (main,) = captures[name], parts(name)
    with Taker(tmp_path) as device:
        run, answers = receive_over(way, tmp_path, device, capture, main)
        state = device.state()
    run.ok()
    assert state == ("RUNNING" if capture.runs else "STOP")
    assert device.report["loaded_sha256"] == capture.device["data_sha256"]
    assert (tmp_path / "rest").read_bytes() == \
        without_device(tmp_path / "main", capture.id + "/vfio")
    if way == "socket" and capture.has_return_path:
        assert answers[0] == (PONG, u32(1)) and answers[-1] == (SHUT, u32(0))
    else:
        assert answers == []


@pytest.mark.parametrize("way", WAYS)
def test_a_cut_stream_leaves_no_rest_by_any_way(way, captures, tmp_path):
    name = "qemu-10.0.2-precopy"
    capture, (main,) = captures[name], parts(name)
    with Taker(tmp_path) as device:
        run, answers = receive_over(way, tmp_path, device, capture, main[:-1])
        state = device.state()
    assert re.search("vmdescription|reset by peer", run.exits(1).error())
    assert state == "RUNNING"
    assert device.report["loads_accepted"] == 0
    assert not (tmp_path / "rest").exists()
    if way == "socket":
        assert answers[-1] == (SHUT, u32(1))


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET],
                         ids=["unix", "tcp"])
@pytest.mark.parametrize("name", CAPTURES)
def test_a_socket_that_listens_takes_all_connections(name, family, captures,
                                                     tmp_path):
    capture, streams = captures[name], parts(name)
    with Taker(tmp_path) as device:
        run, answers = receive_at(family, tmp_path, device, capture, streams)
    run.ok()
    assert device.report["loaded_sha256"] == capture.device["data_sha256"]
    assert sorted(path.name for path in tmp_path.glob("rest*")) == \
        ["rest"] + [f"rest.channel-{i}" for i in range(len(streams) - 1)]
    if capture.has_return_path:
        assert answers[-1] == (SHUT, u32(0))


@pytest.mark.parametrize("name", ["mtty-stopcopy", "mtty-precopy",
                                  "qemu-10.0.2-precopy"])
def test_the_rest_is_kept_byte_for_byte(name, captures, tmp_path):
    capture, (main,) = captures[name], parts(name)
    (tmp_path / "main").write_bytes(main)
    run, *_ = take(tmp_path, capture, [main], "--rest", tmp_path / "rest")
    run.ok()
    assert (tmp_path / "rest").read_bytes() == \
        without_device(tmp_path / "main", capture.id + "/vfio")


def test_what_came_on_channels_is_kept_but_for_the_device(captures, tmp_path):
    capture, streams = captures[MULTIFD], parts(MULTIFD)
    run, *_ = take(tmp_path, capture, streams, "--rest", tmp_path / "rest")
    run.ok()
    kept = sorted((tmp_path / f"rest.channel-{i}").read_bytes()
                  for i in range(2))
    left = []
    for channel in streams[1:]:
        for at, size, _ in reversed(packets(channel)):
            channel = channel[:at] + channel[at + size:]
        left.append(channel)
    assert kept == sorted(left)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_connections_come_in_any_order(order, captures, tmp_path):
    capture = captures[MULTIFD]
    run, device, _, _ = take(tmp_path, capture, parts(MULTIFD), order=order)
    run.ok()
    assert device.report["loaded_sha256"] == capture.device["data_sha256"]


@pytest.mark.parametrize("name", WHOLE)
def test_a_state_is_put_back_into_the_rest(name, captures, tmp_path):
    capture, (main,) = captures[name], parts(name)
    (tmp_path / "main").write_bytes(main)
    run, *_ = take(tmp_path, capture, [main], "--rest", tmp_path / "rest")
    run.ok()
    vfmig("splice", "-d", f"{capture.id}={tmp_path}/main", "-o",
          tmp_path / "again", tmp_path / "rest").ok()
    assert (tmp_path / "again").stat().st_size == len(main)
    compared = vfmig("compare", tmp_path / "again", tmp_path / "main")
    assert compared.code == 0, compared.stdout


def test_a_rest_that_cannot_be_kept_fails_the_migration(captures, tmp_path):
    """Before QEMU hears that all is well: it goes on with the machine."""
    name = "qemu-10.0.2-precopy"
    capture = captures[name]
    run, device, answers, state = take(tmp_path, capture, parts(name),
                                       "--rest", "/dev/full")
    assert "No space" in error_line(run.exits(1), 1)
    assert answers[-1] == (SHUT, u32(1))
    assert device.report["loads_accepted"] == 0


def test_no_rest_is_left_of_what_was_not_loaded(captures, tmp_path):
    name = "qemu-10.0.2-precopy"
    capture, (main,) = captures[name], parts(name)
    run, *_ = take(tmp_path, capture, [main[:-1]], "--rest", tmp_path / "rest")
    run.exits(1)
    assert not (tmp_path / "rest").exists()


@pytest.mark.parametrize("words, what", [
    (["--rest", "x", "unix:y"], "--rest is for --peer qemu"),
    (["--peer", "qemu", "--channels", "0", "unix:y"], "--channels"),
    (["--peer", "qemu", "--channels", "256", "unix:y"], "--channels"),
])
def test_words_that_do_not_fit(words, what):
    run = vfmig("receive", "-d", "vfio-user:/nowhere", *words)
    assert what in run.exits(2).error()
