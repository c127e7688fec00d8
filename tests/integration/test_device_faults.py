# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""Faults of the emulated device on request, and its other personality."""
import errno
import os
import json
import struct
import time

import pytest

import vfio_user as vu
from vfio_user import Client, Closed, Refused, start
# pylint: disable=redefined-outer-name

SMALL = ("--size", "1M")


def refused(call, *args):
    with pytest.raises(Refused) as info:
        call(*args)
    return info.value.errno


def connect(start, *options):
    return Client(start(*SMALL, *options).path)


@pytest.mark.parametrize("fault,want,number,left", [
    ("RUNNING>PRE_COPY", vu.PRE_COPY, errno.EIO, vu.RUNNING),
    ("RUNNING>PRE_COPY:EBUSY", vu.PRE_COPY, errno.EBUSY, vu.RUNNING),
    ("PRE_COPY_P2P>STOP_COPY:28", vu.STOP_COPY, 28, vu.STOP),
    ("STOP>STOP_COPY", vu.STOP_COPY, errno.EIO, vu.STOP),
    ("RUNNING_P2P>STOP", vu.STOP_COPY, errno.EIO, vu.RUNNING_P2P),
    ("STOP_COPY", vu.STOP_COPY, errno.EIO, vu.STOP),
    ("STOP>STOP_COPY,leave=error", vu.STOP_COPY, errno.EIO, vu.ERROR),
    ("STOP>STOP_COPY,leave=RUNNING", vu.STOP_COPY, errno.EIO, vu.RUNNING),
    ("STOP>STOP_COPY,leave=STOP_COPY", vu.STOP_COPY, errno.EIO,
     vu.STOP_COPY),
    ("STOP>RESUMING:ENODEV", vu.RESUMING, errno.ENODEV, vu.STOP)])
def test_a_step_fails_half_way_and_works_the_next_time(start, fault, want,
                                                       number, left):
    with connect(start, "--fail", fault) as c:
        if "PRE_COPY_P2P>" in fault:
            c.set_state(vu.PRE_COPY)
            left = vu.PRE_COPY_P2P
        assert refused(c.set_state, want) == number
        assert c.state() == left
        if left == vu.ERROR:
            for state in range(8):
                if state != vu.ERROR:
                    assert refused(c.set_state, state) == errno.EINVAL
            c.reset()
            assert c.state() == vu.RUNNING
        c.set_state(want)


def test_a_step_to_stop_copy_from_pre_copy_fails_on_either_leg(start):
    for leg, left in (("PRE_COPY>PRE_COPY_P2P", vu.PRE_COPY),
                      ("PRE_COPY_P2P>STOP_COPY", vu.PRE_COPY_P2P)):
        with connect(start, "--fail", leg) as c:
            c.set_state(vu.PRE_COPY)
            part = c.read_data(1000)
            assert refused(c.set_state, vu.STOP_COPY) == errno.EIO
            assert c.state() == left
            # The session lives.
            c.set_state(vu.STOP_COPY)
            state = part + c.read_all()
            c.set_state(vu.RUNNING)
            c.load(state)


def test_count_and_skip(start):
    with connect(start, "--fail", "STOP_COPY,count=2,skip=1") as c:
        outcomes = []
        for _ in range(5):
            try:
                c.set_state(vu.STOP_COPY)
                outcomes.append(True)
            except Refused:
                outcomes.append(False)
            c.set_state(vu.RUNNING)
    assert outcomes == [True, False, False, True, True]


@pytest.mark.parametrize("where,call", [
    ("MIG_DATA_READ:ENOMEM", lambda c: c.read_data(10)),
    ("DEVICE_STATE:ENOMEM", lambda c: c.state()),
    ("DEVICE_FEATURE:ENOMEM", lambda c: c.state()),
    ("DATA_SIZE:ENOMEM", lambda c: c.data_size()),
    ("LOG_START:ENOMEM", lambda c: c.log_start()),
    ("DEVICE_RESET:ENOMEM", lambda c: c.reset()),
    ("DMA_MAP:ENOMEM", lambda c: c.dma_map(0, 4096)),
    ("REGION_READ:ENOMEM", lambda c: c.get32(0)),
    ("read@5000:ENOMEM", lambda c: c.read_data(6000))])
def test_a_command_fails_once(start, where, call):
    with connect(start, "--fail", where + ",skip=%d" %
                 (1 if "DEVICE_" in where and "RESET" not in where
                  else 0)) as c:
        c.set_state(vu.STOP_COPY)
        assert refused(call, c) == errno.ENOMEM
        call(c)


def test_a_read_fails_at_its_byte_and_not_before(start):
    with connect(start, "--fail", "read@5000:EFAULT") as c:
        c.set_state(vu.STOP_COPY)
        assert len(c.read_data(5000)) == 5000
        assert refused(c.read_data, 1) == errno.EFAULT
        assert len(c.read_data(1)) == 1


def test_a_write_fails_at_its_byte_and_not_before(start):
    with connect(start, "--fail", "write@5000:ENOSPC") as c:
        c.set_state(vu.RESUMING)
        c.write_data(b"x" * 5000)
        assert refused(c.write_data, b"x" * 10) == errno.ENOSPC


def test_short_reads_lose_nothing(start):
    with connect(start, "--short", "read@5000", "--short", "read@9000:1",
                 "--short", "read@20000:0") as c:
        c.set_state(vu.STOP_COPY)
        parts = [c.read_data(10000) for _ in range(4)]
        assert [len(p) for p in parts] == [5000, 1, 10000, 0]
        state = b"".join(parts) + c.read_all()
        c.set_state(vu.RUNNING)
        c.load(state)


def test_one_byte_of_saved_state_is_flipped(start):
    with connect(start, "--corrupt", "read@70000") as c:
        c.set_state(vu.STOP_COPY)
        wrong = c.read_all()
        c.set_state(vu.STOP)
        c.set_state(vu.STOP_COPY)
        right = c.read_all()
        assert [i for i in range(len(right)) if right[i] != wrong[i]] == \
            [70000]
        c.set_state(vu.RESUMING)
        c.write_all(wrong)
        assert refused(c.set_state, vu.STOP) == errno.EINVAL


def test_one_byte_of_loaded_state_is_flipped(start):
    with connect(start, "--corrupt", "write@70000") as c:
        state = c.save()
        c.set_state(vu.RESUMING)
        c.write_all(state)
        assert refused(c.set_state, vu.STOP) == errno.EINVAL
        c.reset()
        c.load(state)


@pytest.mark.parametrize("milliseconds", [30, 200])
def test_a_reply_comes_late(start, milliseconds):
    with connect(start, "--delay", "RUNNING>RUNNING_P2P:%d" %
                 milliseconds) as c:
        begin = time.monotonic()
        c.set_state(vu.STOP)
        assert time.monotonic() - begin >= milliseconds / 1000
        begin = time.monotonic()
        c.set_state(vu.RUNNING)
        c.set_state(vu.STOP)
        assert time.monotonic() - begin < 10


def test_a_reply_never_comes_and_the_next_client_is_served(start):
    device = start(*SMALL, "--delay", "DATA_SIZE:0")
    with Client(device.path) as c:
        c.send(vu.FEATURE, struct.pack("=II", 100, vu.GET | vu.F_SIZE))
        c.send(vu.GET_INFO, struct.pack("=IIII", 16, 0, 0, 0))
        c.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            c.receive()
    with Client(device.path) as c:
        assert c.data_size() > 0


@pytest.mark.parametrize("part,check", [
    ("id", lambda m, r: m[0] != r[0]),
    ("command", lambda m, r: m[1] != r[1]),
    ("type", lambda m, r: m[2] != r[2]),
    ("size-small", lambda m, r: m[3] == 15),
    ("size-large", lambda m, r: m[3] > 1 << 31),
    ("error-zero", lambda m, r: (m[2], m[4], m[3]) == (0x21, 0, 16)),
    ("truncated", lambda m, r: m[3] == r[3] - 1),
    ("longer", lambda m, r: m[3] == r[3] + 8)])
def test_headers_are_corrupted_in_the_way_asked_for(start, part, check):
    with connect(start, "--corrupt", "DEVICE_GET_INFO:%s,skip=1" % part) as c:
        replies = []
        for _ in range(2):
            c.send(vu.GET_INFO, struct.pack("=IIII", 16, 0, 0, 0), msg_id=7)
            while len(c.buffer) < 16:
                c._more()
            replies.append(vu.HEADER.unpack_from(c.buffer))
            c.buffer = b""
        assert check((replies[1][0], replies[1][1], replies[1][3],
                      replies[1][2], replies[1][4]),
                     (replies[0][0], replies[0][1], replies[0][3],
                      replies[0][2], replies[0][4]))


def test_sizes_in_payloads_lie(start):
    with connect(start, "--corrupt", "MIG_DATA_READ:count", "--corrupt",
                 "MIG_DATA_READ:argsz,skip=1") as c:
        c.set_state(vu.STOP_COPY)
        reply = c.call(vu.DATA_READ, struct.pack("=II", 108, 100))
        assert struct.unpack_from("=II", reply) == (108, 100 + 4096)
        assert len(reply) == 108
        reply = c.call(vu.DATA_READ, struct.pack("=II", 108, 100))
        assert struct.unpack_from("=II", reply) == (0xffffffff, 100)


def test_descriptors_are_missing_or_surplus(start):
    with connect(start, "--corrupt", "DEVICE_GET_REGION_INFO:no-fd",
                 "--corrupt", "DEVICE_GET_REGION_INFO:extra-fd,skip=1,"
                 "count=2") as c:
        counts = []
        for index, room in ((2, 64), (2, 64), (0, 32), (2, 64)):
            c.region_info(index, room)
            fds = c.take_fds()
            counts.append(len(fds))
            for fd in fds:
                os.close(fd)
        assert counts == [0, 2, 1, 1]


def test_region_information_lies(start):
    parts = ("cap-offset", "cap-loop", "nr-areas")
    options = []
    for i, part in enumerate(parts):
        options += ["--corrupt", "DEVICE_GET_REGION_INFO:%s,skip=%d" %
                    (part, i)]
    with connect(start, *options) as c:
        assert c.region_info(2, 64)[0][3] == 0xfffffff0
        _, reply = c.region_info(2, 64)
        assert struct.unpack_from("=I", reply, 36) == (32,)
        _, reply = c.region_info(2, 64)
        assert struct.unpack_from("=I", reply, 40) == (0x10000000,)


def test_the_bitmap_has_bits_that_stand_for_nothing(start):
    with connect(start, "--corrupt", "LOG_REPORT:bits") as c:
        c.dma_map(0, 8192)
        c.log_start()
        reply = c.feature(vu.GET | 8, struct.pack("=QQQ", 0, 8192, 4096))
        assert reply[24:] == b"\0" * 7 + b"\xf0"


@pytest.mark.parametrize("part", ["higher-minor", "other-major", "no-json",
                                  "no-nul", "not-json", "unknown-keys",
                                  "deep", "huge"])
def test_the_version_reply_is_corrupted(start, part):
    with Client(start(*SMALL, "--corrupt", "VERSION:" + part).path,
                negotiate=False) as c:
        reply = c.call(vu.VERSION, struct.pack("=HH", 0, 2))
        major, minor = struct.unpack_from("=HH", reply)
        text = reply[4:]
        assert (major, minor) == (part == "other-major",
                                  3 if part == "higher-minor" else 2)
        assert (len(text) == 0) == (part == "no-json")
        assert text.endswith(b"\0") == (part not in ("no-json", "no-nul"))
        assert (len(text) > 1000000) == (part == "huge")
        if part == "deep":
            assert text.count(b"{") == 10000
        elif part not in ("no-json", "not-json", "no-nul"):
            json.loads(text[:-1])
        elif part == "not-json":
            with pytest.raises(ValueError):
                json.loads(text[:-1])


@pytest.mark.parametrize("when,state", [("before", vu.RUNNING),
                                        ("mid", vu.STOP_COPY),
                                        ("after", vu.STOP_COPY),
                                        ("unanswered", vu.STOP_COPY)])
@pytest.mark.parametrize("where", ["RUNNING>RUNNING_P2P", "DEVICE_STATE"])
def test_the_device_hangs_up(start, where, when, state):
    device = start(*SMALL, "--close", "%s,when=%s" % (where, when))
    with Client(device.path) as c:
        if when == "after":
            c.set_state(vu.STOP_COPY)
            assert c.is_closed()
        else:
            with pytest.raises(Closed):
                c.set_state(vu.STOP_COPY)
            assert len(c.buffer) == (16 if when == "mid" else 0)
    with Client(device.path) as c:
        assert c.state() == state


def test_it_hangs_up_at_a_byte_of_the_state(start):
    with connect(start, "--close", "read@100000,when=mid") as c:
        c.set_state(vu.STOP_COPY)
        c.read_data(90000)
        with pytest.raises(Closed):
            c.read_data(20000)
        assert len(c.buffer) == 24 + 20000 - (24 + 20000) // 2


def test_messages_of_its_own_come_in_between(start):
    with connect(start, "--inject", "DEVICE_GET_INFO", "--inject",
                 "DEVICE_GET_INFO:reply,skip=1") as c:
        request = c.send(vu.GET_INFO, struct.pack("=IIII", 16, 0, 0, 0))
        message = c.receive()
        assert (message[1], message[2]) == (vu.DMA_READ, 0)
        c.on_dma = lambda *_: b"x" * 8
        c.serve_dma(message)
        assert c.receive()[0] == request
        request = c.send(vu.GET_INFO, struct.pack("=IIII", 16, 0, 0, 0))
        assert c.receive()[:3] == (0xdead, vu.DATA_READ, 1)
        assert c.receive()[0] == request
        assert c.device_info() == (3, 9, 5)


def test_the_report_counts_faults(start):
    device = start(*SMALL, "--fail", "STOP_COPY", "--fail", "DATA_SIZE")
    with Client(device.path) as c:
        assert refused(c.data_size) == errno.EIO
        assert refused(c.set_state, vu.STOP_COPY) == errno.EIO
        assert device.report()["faults"] == 2


# The habits of the most used server library.

LIBRARY = ("--personality", "libvfio-user")


def test_library_replies_are_padded(start):
    with connect(start, *LIBRARY) as c:
        c.set_state(vu.STOP_COPY)
        while True:
            reply = c.call(vu.DATA_READ, struct.pack("=II", 100008, 100000))
            _, n = struct.unpack_from("=II", reply)
            assert len(reply) == 100008
            assert reply[8 + n:] == b"\0" * (100000 - n)
            if n == 0:
                break
        reply = c.call(vu.DATA_READ, struct.pack("=II", 108, 100) +
                       b"x" * 50)
        assert len(reply) == 158


def test_library_errors_have_a_payload(start):
    with connect(start, *LIBRARY, "--fail", "STOP>STOP_COPY") as c:
        with pytest.raises(Refused) as info:
            c.set_state(vu.STOP_COPY)
        assert len(info.value.payload) == 16
        assert c.state() == vu.STOP
        c.set_state(vu.RUNNING)
        with pytest.raises(Refused) as info:
            c.region_read(9, 0, 4)
        assert len(info.value.payload) == 20


def test_library_refuses_most_commands_while_stopped(start):
    with connect(start, *LIBRARY) as c:
        c.set_state(vu.STOP)
        for call in (c.device_info, c.reset, lambda: c.dma_map(0, 4096),
                     lambda: c.region_info(0), lambda: c.irq_count(0)):
            assert refused(call) == errno.EINVAL
        c.get32(0)
        c.set_state(vu.STOP_COPY)
        assert refused(c.get32, 0) == errno.EINVAL
        c.set_state(vu.RUNNING)
        c.device_info()


def test_library_has_no_p2p_no_sizes_and_no_enotty(start):
    with connect(start, *LIBRARY) as c:
        assert struct.unpack("=Q", c.feature(vu.GET | 1)) == (5,)
        for state in (0, 5, 7, 8):
            assert refused(c.set_state, state) == errno.EINVAL
        assert refused(c.data_size) == errno.EINVAL
        c.set_state(vu.PRE_COPY)
        assert refused(c.precopy_info) == errno.EINVAL


def test_library_reset_keeps_the_state(start):
    with connect(start, *LIBRARY) as c:
        c.set_state(vu.RESUMING)
        c.reset()
        assert c.state() == vu.RESUMING


def test_library_takes_a_large_message_for_several(start):
    with connect(start, *LIBRARY) as c:
        state = c.save()
        c.set_state(vu.RUNNING)
        c.set_state(vu.RESUMING)
        c.write_data(state[:32768])
        whole = 36544 - 24
        c.write_data(state[32768:32768 + whole])
        request = c.send(vu.DATA_WRITE, struct.pack(
            "=II", 8 + 50000, 50000) + b"\0" * 50000)
        assert c.receive()[:4] == (request, vu.DATA_WRITE, 0x21,
                                   errno.EINVAL)
        # The rest is read as headers, sixteen bytes at a time.
        rest = 24 + 50000 - 36544
        for _ in range(rest // 16):
            assert c.receive()[:4] == (0, 0, 0x21, errno.EINVAL)


def test_library_state_round_trip_with_small_messages(start):
    with connect(start, *LIBRARY) as c:
        state = c.save()
        c.set_state(vu.RUNNING)
        c.load(state)
        c.set_state(vu.RUNNING)


def test_library_wants_room_for_what_it_does_not_send(start):
    with connect(start, *LIBRARY) as c:
        c.set_state(vu.RESUMING)
        assert refused(c.call, vu.DATA_WRITE,
                       struct.pack("=II", 8, 1) + b"x") == errno.EINVAL


def test_library_accepts_the_same_mapping_twice(start):
    with connect(start, *LIBRARY) as c:
        c.dma_map(0, 8192)
        c.dma_map(0, 8192)
        assert refused(c.dma_map, 4096, 8192) == errno.EINVAL


def test_library_says_all_it_has_and_wants_its_page_size(start):
    device = start(*SMALL, *LIBRARY)
    with Client(device.path, capabilities={}) as c:
        assert c.version[2] == {"max_msg_fds": 8,
                                "max_data_xfer_size": 1 << 20,
                                "migration": {"pgsize": 4096}}
    for size, good in ((4096, True), (65536, False)):
        with Client(device.path, negotiate=False) as c:
            caps = {"migration": {"pgsize": size}}
            if good:
                c.negotiate(caps)
            else:
                assert refused(c.negotiate, caps) == errno.EINVAL


def test_library_reports_one_mapping_from_its_start(start):
    with connect(start, *LIBRARY) as c:
        fd = os.memfd_create("guest")
        os.ftruncate(fd, 16384)
        c.dma_map(0, 8192, fd)
        c.dma_map(8192, 8192, fd, 8192)
        c.dma_map(65536, 4096)
        c.log_start(4096, [(1 << 40, 4096)])
        c.put32(4, 6, region=7)
        c.put64(vu.DMA_LENGTH, 16384)
        c.put32(vu.DMA_OP, vu.FILL)
        c.put32(vu.DMA_BELL, 1)
        while c.get32(vu.DMA_STATUS) == vu.BUSY:
            pass
        assert c.log_report(0, 8192) == {0, 1}
        assert refused(c.log_report, 4096, 4096) == errno.EOPNOTSUPP
        assert refused(c.log_report, 65536, 4096) == errno.EINVAL
        assert refused(c.log_report, 1 << 30, 4096) == errno.ENOENT
        reply = c.call(vu.FEATURE, struct.pack(
            "=IIQQQ", 4096, vu.GET | 8, 0, 16384, 4096))
        assert reply == b""
        assert c.log_report(8192, 8192) == {0, 1}
        os.close(fd)
