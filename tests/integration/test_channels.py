# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""vfmig send and receive over several channels."""
import os
import socket
import subprocess
import threading

import pytest

from vfmig_programs import BUILD, Device, MIB, receive, vfmig

STOPPED = ("--features", "stop-copy,p2p")


def devices(folder, name, count, *words):
    return [Device(folder, f"{name}{i}", *words, "--seed", i + 1)
            for i in range(count)]


def words_for(some):
    return [w for i, device in enumerate(some)
            for w in ("-d", f"{device.word},id=dev{i}")]


@pytest.fixture(name="make")
def make_(tmp_path):
    made = []

    def make(name, count, *words):
        some = devices(tmp_path, name, count, *words)
        made.extend(some)
        return some
    yield make
    for device in made:
        device.__exit__()


def check(sources, targets, sent, received):
    sent, received = sent.ok().json(), received.ok().json()
    assert sent["outcome"] == received["outcome"] == "done"
    for a, b in zip(sent["devices"], received["devices"]):
        assert a["xxh3_128"] == b["xxh3_128"]
    assert {d.state() for d in sources} == {"STOP"}
    assert {d.state() for d in targets} == {"RUNNING"}
    return sent, received


def move(sources, targets, uri, channels, *words, to=None, theirs=None):
    theirs = channels if theirs is None else theirs
    more = ("--channels", theirs) if theirs else ()
    with receive(*words_for(targets), "--json", *more, uri) as receiving:
        address = to(receiving.uri) if to else receiving.uri
        more = ("--channels", channels) if channels else ()
        sent = vfmig("send", *words_for(sources), "--json", *more, *words,
                     address)
        receiving.finish()
    return sent, receiving


class Crossing:
    """Between the sender and the receiver; sees connection after connection.

    `meddle` is asked for each what becomes of the bytes: it gets the number of
    the connection (0: the main one), what came, and how much before that, and
    returns what is passed on, or None to cut it.
    """

    def __init__(self, folder, meddle):
        self.listener = socket.socket(socket.AF_UNIX)
        self.path = os.path.join(folder, "crossing.sock")
        self.listener.bind(self.path)
        self.listener.listen(64)
        self.meddle = meddle
        self.accepted = []
        self.sockets = []

    def to(self, uri):
        self.target = uri[len("unix:"):]
        threading.Thread(target=self.accept, daemon=True).start()
        return f"unix:{self.path}"

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(self.target)
            number = len(self.accepted)
            self.accepted.append(near)
            self.sockets += [near, far]
            for take, give, hook in (near, far, self.meddle), (far, near, None):
                threading.Thread(target=self.pump, daemon=True,
                                 args=(number, take, give, hook)).start()

    @staticmethod
    def pump(number, take, give, meddle):
        seen = 0
        try:
            while data := take.recv(65536):
                out = data if meddle is None else meddle(number, data, seen)
                seen += len(data)
                if out is None:
                    for end in take, give:
                        end.shutdown(socket.SHUT_RDWR)
                    return
                give.sendall(out)
            give.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        for one in self.sockets:
            one.close()


@pytest.mark.parametrize("channels", [1, 2, 3, 8, 32])
@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_any_number_of_channels_carries_a_device(make, tmp_path, kind, channels):
    uri = f"unix:{tmp_path}/m.sock" if kind == "unix" else "tcp:127.0.0.1:0"
    a, b = (make(n, 1, "--size", 8 * MIB, *STOPPED) for n in "ab")
    check(a, b, *move(a, b, uri, channels))


def test_several_devices_with_pre_copy_share_them(make, tmp_path):
    a, b = (make(n, 3, "--size", 8 * MIB) for n in "ab")
    check(a, b, *move(a, b, f"unix:{tmp_path}/m.sock", 4))


@pytest.mark.parametrize("ours, theirs, warns", [(4, 2, True), (2, 4, False),
                                                 (4, 0, True), (0, 4, False)])
def test_both_sides_get_as_many_as_both_want(make, tmp_path, ours, theirs,
                                             warns):
    a, b = (make(n, 1, *STOPPED) for n in "ab")
    sent, _ = check(a, b, *move(a, b, f"unix:{tmp_path}/m.sock", ours,
                                theirs=theirs))
    assert (f"takes {theirs} channels, not {ours}" in
            " ".join(sent["warnings"])) == warns


@pytest.mark.parametrize("after", [0, 40, 64, 200, 70000, 1500000])
def test_a_channel_that_is_cut_leaves_the_device_where_it_was(make, tmp_path,
                                                              after):
    a, b = (make(n, 1, "--size", 16 * MIB, *STOPPED) for n in "ab")

    def cut(number, data, seen):
        return None if number == 2 and seen + len(data) > after else data

    with Crossing(tmp_path, cut) as crossing:
        sent, received = move(a, b, f"unix:{tmp_path}/m.sock", 3,
                              to=crossing.to)
    assert sent.exits(1).json()["outcome"] == "failed"
    assert received.exits(1).json()["outcome"] == "failed"
    assert a[0].state() == "RUNNING"


def test_a_packet_that_comes_twice_is_refused(make, tmp_path):
    a, b = (make(n, 1, *STOPPED) for n in "ab")

    def twice(number, data, seen):
        """The head of the first packet of each channel gets index 0."""
        at = 64 + 280 - seen
        if number > 0 and 0 <= at <= len(data) - 4:
            data = data[:at] + bytes(4) + data[at + 4:]
        return data

    with Crossing(tmp_path, twice) as crossing:
        sent, received = move(a, b, f"unix:{tmp_path}/m.sock", 2, to=crossing.to)
    assert "packet 0 came twice" in received.exits(1).stderr
    sent.exits(1)
    assert a[0].state() == "RUNNING"


def test_a_packet_that_is_missing_is_missed(make, tmp_path):
    """Each channel has one at its front whose turn does not come, so that the
    configuration, which is behind them, is not seen."""
    a, b = (make(n, 1, "--size", 8 * MIB, *STOPPED) for n in "ab")

    def skip(number, data, seen):
        """The first packet is said to be one that is far behind."""
        at = 64 + 280 - seen
        if number > 0 and 0 <= at <= len(data) - 4 and \
                data[at:at + 4] == bytes(4):
            data = data[:at] + (100).to_bytes(4, "big") + data[at + 4:]
        return data

    with Crossing(tmp_path, skip) as crossing:
        sent, received = move(a, b, f"unix:{tmp_path}/m.sock", 2, to=crossing.to)
    assert "packet 0 of its state came on none of the 2 channels" in \
        received.exits(1).stderr
    sent.exits(1)
    assert a[0].state() == "RUNNING"


@pytest.fixture(name="zstd")
def zstd_():
    told = subprocess.run(["ldd", BUILD / "tool" / "vfmig"], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    if "libzstd" not in told:
        pytest.skip("this build has no zstd")
    return "--compress", "zstd"


@pytest.mark.parametrize("channels", [1, 4])
def test_channels_are_compressed(make, tmp_path, zstd, channels):
    a, b = (make(n, 2, "--size", 8 * MIB) for n in "ab")
    sent, _ = check(a, b, *move(a, b, f"unix:{tmp_path}/m.sock", channels,
                                *zstd))
    assert not sent["warnings"]


def test_a_target_that_does_not_know_zstd_is_told_of(make, tmp_path, zstd):
    a, b = (make(n, 1, *STOPPED) for n in "ab")

    def older(number, data, _):
        return data.replace(b'"compress"', b'"cOmpress"') if number == 0 \
            else data

    with Crossing(tmp_path, older) as crossing:
        sent, _ = check(a, b, *move(a, b, f"unix:{tmp_path}/m.sock", 2, *zstd,
                                    to=crossing.to))
    assert "the target does not know zstd" in " ".join(sent["warnings"])


@pytest.mark.parametrize("at, put, why", [
    (64, b"\xff\xff\xff\xff", "zstd: a piece of"),
    (68, b"\xff\xff\xff\xff", "zstd: a piece of"),
    (68, b"\0\0\0\1", "zstd: a frame of"),
    (72, b"\0\0\0\0", "zstd: a frame of"),
])
def test_pieces_that_are_wrong_are_refused(make, tmp_path, zstd, at, put, why):
    a, b = (make(n, 1, "--size", 8 * MIB, *STOPPED) for n in "ab")

    def spoil(number, data, seen):
        here = at - seen
        if number > 0 and 0 <= here <= len(data) - 4:
            data = data[:here] + put + data[here + 4:]
        return data

    with Crossing(tmp_path, spoil) as crossing:
        sent, received = move(a, b, f"unix:{tmp_path}/m.sock", 2, *zstd,
                              to=crossing.to)
    assert why in received.exits(1).stderr
    sent.exits(1)
    assert a[0].state() == "RUNNING"


def test_a_foreign_connection_does_no_harm(make, tmp_path):
    a, b = (make(n, 1, *STOPPED) for n in "ab")
    strangers = []

    def to(uri):
        """The main connection goes through; then strangers come first."""
        def knock(number, data, seen):
            if number == 0 and seen == 0:
                init = bytes.fromhex("1122334400000001") + bytes(56)
                for words in b"GET / HTTP/1.1\r\n\r\n", init, init[:4], b"":
                    one = socket.socket(socket.AF_UNIX)
                    one.connect(uri[len("unix:"):])
                    one.sendall(words)
                    strangers.append(one)
            return data
        crossing.meddle = knock
        return crossing.to(uri)

    with Crossing(tmp_path, None) as crossing:
        sent, received = move(a, b, f"unix:{tmp_path}/m.sock", 2, to=to)
    check(a, b, sent, received)
    assert "turned away" in " ".join(received.json()["warnings"])
    for one in strangers:
        one.close()


@pytest.mark.parametrize("words", [
    ("--channels", "0"), ("--channels", "33"), ("--channels", "x"),
    ("--memory-max", "1M"),
    ("--compress", "zstd"), ("--compress", "xz", "--channels", "2"),
    ("--channels", "2", "--peer", "none"),
])
def test_what_cannot_be_is_a_mistake_of_usage(words):
    for command in "send", "receive":
        vfmig(command, "-d", "vfio-user:/nowhere", *words,
              "unix:/nowhere/m.sock").exits(2)


@pytest.mark.parametrize("uri", ["exec:cat", "fd:0", "file:/nowhere"])
def test_one_channel_cannot_be_several(uri):
    vfmig("send", "-d", "vfio-user:/nowhere", "--channels", "2", uri).exits(2)
