# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""The emulated device's state through memory of its client: the same bytes as in
messages, and nothing that a client does with that memory hurts the device."""
import contextlib
import errno
import fcntl
import mmap
import os
import struct

import pytest

import vfio_user as vu
from vfio_user import Client, Refused, start  # pylint: disable=unused-import

SMALL = ("--size", "4M", "--initial-size", "64K")
AREA = 1 << 20
MOST = 64 << 20

# Python 3.11 has no names for all of these.
F_ADD_SEALS, F_SEAL_SHRINK = 1033, 2


def refused(call, *args):
    with pytest.raises(Refused) as info:
        call(*args)
    return info.value.errno


def connect(start, *options, wish=AREA):
    c = Client(start(*(options or SMALL)).path, negotiate=False)
    _, _, caps = c.negotiate({"max_msg_fds": 8, "vfmig_data_area": wish})
    return c, caps


@contextlib.contextmanager
def memory(size=AREA, seals=F_SEAL_SHRINK):
    fd = os.memfd_create("area", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, F_ADD_SEALS, seals)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def shared(c, size=AREA):
    with memory(size) as fd, mmap.mmap(fd, size) as area:
        c.area_set(fd, size)
        yield area


def is_well(c):
    """The device goes on as if nothing had been."""
    c.reset()
    state = c.save()
    c.reset()
    c.load(state)
    return c.state() == vu.STOP


@pytest.mark.parametrize("wish,answer", [
    (AREA, AREA), (1, 1), (MOST, MOST), (MOST + 1, MOST), (1 << 62, MOST),
    (0, None), (-1, None), (True, None), (None, None), ("much", None)])
def test_no_more_is_taken_than_was_proposed(start, wish, answer):
    _, caps = connect(start, wish=wish)
    assert caps.get("vfmig_data_area") == answer


@pytest.mark.parametrize("options", [
    ("--no-data-area",), ("--personality", "libvfio-user"),
    ("--personality", "rust"), ("--personality", "qemu-limits")])
def test_not_everybody_takes_it(start, options):
    c = Client(start(*SMALL, *options).path, negotiate=False)
    minor = 0 if "qemu-limits" in options else 2
    _, _, caps = c.negotiate({"vfmig_data_area": AREA}, minor=minor)
    assert "vfmig_data_area" not in caps
    with memory() as fd:
        assert refused(c.area_set, fd, AREA) == errno.EINVAL
    c.set_state(vu.STOP_COPY)
    assert refused(c.area_read, 4096, 0) == errno.EINVAL
    assert c.read_data(64)


def test_who_proposes_nothing_gets_nothing(start):
    c = Client(start(*SMALL).path)
    with memory() as fd:
        assert refused(c.area_set, fd, AREA) == errno.EINVAL


@pytest.mark.parametrize("piece", [AREA, 65536, 4099])
def test_what_is_saved_and_loaded_is_what_messages_carry(start, piece):
    c, _ = connect(start)
    by_message = c.save()
    c.reset()
    parts = []
    with shared(c) as area:
        c.set_state(vu.STOP_COPY)
        n = at = 0
        while (n := c.area_read(piece, at)) > 0:
            parts.append(area[at:at + n])
            at = (at + 4096) % (AREA - piece + 1)
        # The end stays the end.
        assert c.area_read(piece, 0) == 0
        c.reset()
        c.set_state(vu.RESUMING)
        for part in parts:
            area[4096:4096 + len(part)] = part[:AREA - 4096]
            c.area_write(min(len(part), AREA - 4096), 4096)
            if len(part) > AREA - 4096:
                area[:4096] = part[AREA - 4096:]
                c.area_write(4096, 0)
        c.set_state(vu.STOP)
    # But for how long it ran.
    assert len(b"".join(parts)) == len(by_message)
    assert parts[0][:1000] == by_message[:1000]


def test_pre_copy_says_nothing_for_now_and_then_goes_on(start):
    c, _ = connect(start, *SMALL, "--dirty-rate", "0")
    state = b""
    with shared(c) as area:
        c.set_state(vu.PRE_COPY)
        while (n := c.area_read(AREA, 0)) > 0:
            state += area[:n]
        assert c.area_read(AREA, 0) == 0
        c.set_state(vu.STOP_COPY)
        while (n := c.area_read(AREA, 0)) > 0:
            state += area[:n]
    c.reset()
    c.load(state)


def test_both_ways_may_take_turns_in_one_session(start):
    c, _ = connect(start)
    state = b""
    with shared(c) as area:
        c.set_state(vu.STOP_COPY)
        while n := c.area_read(70000, 0):
            state += area[:n] + c.read_data(70000)
    c.reset()
    c.load(state)


def test_a_state_that_lacks_its_end_is_refused(start):
    c, _ = connect(start)
    state = c.save()
    c.reset()
    with shared(c) as area:
        c.set_state(vu.RESUMING)
        for at in range(0, len(state) - AREA, AREA):
            area[:] = state[at:at + AREA]
            c.area_write(AREA, 0)
        assert refused(c.set_state, vu.STOP) == errno.EINVAL
    assert is_well(c)


@pytest.mark.parametrize("size", [0, AREA + 1, MOST + 1, 1 << 63])
def test_an_area_that_is_not_there_is_refused(start, size):
    c, _ = connect(start)
    with memory() as fd:
        assert refused(c.area_set, fd, size) == errno.EINVAL
    assert is_well(c)


def test_a_file_shorter_than_the_area_is_refused(start):
    c, _ = connect(start)
    with memory(4096) as fd:
        assert refused(c.area_set, fd, AREA) == errno.EINVAL
        c.area_set(fd, 4096)


def test_what_can_be_taken_away_is_refused(start, tmp_path):
    c, _ = connect(start)
    with memory(seals=0) as fd:
        assert refused(c.area_set, fd, AREA) == errno.EINVAL
    with open(tmp_path / "file", "w+b") as f:
        f.truncate(AREA)
        assert refused(c.area_set, f.fileno(), AREA) == errno.EINVAL
    for fd in os.pipe():
        assert refused(c.area_set, fd, AREA) == errno.EINVAL
        os.close(fd)
    assert is_well(c)


def test_there_is_one_descriptor_and_one_area(start):
    c, _ = connect(start)
    words = struct.pack("=IIQ", 16, 0, AREA)
    with memory() as fd:
        assert refused(c.call, vu.AREA_SET, words) == errno.EINVAL
        assert refused(c.call, vu.AREA_SET, words, [fd, fd]) == errno.EINVAL
        assert refused(c.area_set, fd, AREA, 15) == errno.EINVAL
        assert refused(c.area_set, fd, AREA, 16, 1) == errno.EINVAL
        c.area_set(fd, AREA)
        assert refused(c.area_set, fd, AREA) == errno.EEXIST


@pytest.mark.parametrize("size,offset,argsz", [
    (1, AREA, None), (AREA + 1, 0, None), (AREA, 1, None),
    (2, (1 << 64) - 1, None), (0xffffff00, 0, None), (4096, 1 << 63, None),
    (4096, 0, 16), (4096, 0, 4096), (4096, 0, 0), (4096, 0, 0xffffffff)])
@pytest.mark.parametrize("way", ["read", "write"])
def test_what_is_not_in_the_area_is_refused(start, way, size, offset, argsz):
    c, _ = connect(start)
    call = c.area_read if way == "read" else c.area_write
    with shared(c):
        c.set_state(vu.STOP_COPY if way == "read" else vu.RESUMING)
        assert refused(call, size, offset, argsz) == errno.EINVAL
        assert is_well(c)


@pytest.mark.parametrize("cut", range(16))
def test_a_request_that_is_cut_short_is_refused(start, cut):
    c, _ = connect(start)
    with shared(c):
        for command in vu.AREA_SET, vu.AREA_READ, vu.AREA_WRITE:
            assert refused(c.call, command, bytes(cut)) == errno.EINVAL


def test_an_area_goes_with_its_client(start):
    device = start(*SMALL)
    for _ in range(3):
        c = Client(device.path, negotiate=False)
        c.negotiate({"max_msg_fds": 8, "vfmig_data_area": AREA})
        c.set_state(vu.STOP_COPY)
        assert refused(c.area_read, 4096, 0) == errno.EINVAL
        with shared(c):
            assert c.area_read(4096, 0) == 4096
        c.reset()
        c.close()


def test_states_without_a_session_have_no_data(start):
    c, _ = connect(start)
    with shared(c):
        for state in vu.RUNNING, vu.STOP, vu.RESUMING:
            c.set_state(state)
            assert refused(c.area_read, 64, 0) == errno.EINVAL
        c.reset()
        for state in vu.STOP, vu.STOP_COPY:
            c.set_state(state)
            assert refused(c.area_write, 64, 0) == errno.EINVAL
