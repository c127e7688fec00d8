# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""The emulated device as something that migrates: states, what a saved state
holds, and what is not taken for one."""
import errno
import hashlib
import itertools
import mmap
import os
import struct

import pytest

import vfio_user as vu
from vfio_user import Client, Refused, start  # pylint: disable=unused-import

SMALL = ("--size", "4M", "--initial-size", "64K")


def refused(call, *args):
    with pytest.raises(Refused) as info:
        call(*args)
    return info.value.errno


def connect(start, *options):
    device = start(*(options or SMALL))
    return device, Client(device.path)


# Every direct step, as the kernel lists them.
STEPS = {(vu.RUNNING_P2P, vu.STOP), (vu.STOP_COPY, vu.STOP),
         (vu.PRE_COPY, vu.RUNNING), (vu.RUNNING_P2P, vu.RUNNING),
         (vu.PRE_COPY_P2P, vu.RUNNING_P2P), (vu.RUNNING, vu.RUNNING_P2P),
         (vu.STOP, vu.RUNNING_P2P), (vu.RUNNING, vu.PRE_COPY),
         (vu.RUNNING_P2P, vu.PRE_COPY_P2P), (vu.STOP, vu.STOP_COPY),
         (vu.PRE_COPY, vu.PRE_COPY_P2P), (vu.PRE_COPY_P2P, vu.PRE_COPY),
         (vu.PRE_COPY_P2P, vu.STOP_COPY), (vu.STOP, vu.RESUMING)}
NAMES = ("ERROR", "STOP", "RUNNING", "STOP_COPY", "RESUMING", "RUNNING_P2P",
         "PRE_COPY", "PRE_COPY_P2P")


@pytest.mark.parametrize("features,states", [
    ("stop-copy", (1, 2, 3, 4)),
    ("stop-copy,p2p", (1, 2, 3, 4, 5)),
    ("stop-copy,pre-copy", (1, 2, 3, 4, 6)),
    ("stop-copy,pre-copy,p2p", (1, 2, 3, 4, 5, 6, 7))])
def test_every_state_is_reached_from_every_other(start, features, states):
    _, c = connect(start, *SMALL, "--features", features)
    flags, = struct.unpack("=Q", c.feature(vu.GET | vu.F_MIGRATION))
    assert flags == 1 | 2 * (5 in states) | 4 * (6 in states)
    for a, b in itertools.product(states, range(9)):
        c.reset()
        c.set_state(a)
        assert c.state() == a
        if b not in states:
            assert refused(c.set_state, b) == errno.EINVAL
            assert c.state() == a
        elif a == vu.STOP_COPY and b in (vu.PRE_COPY, vu.PRE_COPY_P2P):
            assert refused(c.set_state, b) == errno.EINVAL
            assert c.state() == a
        elif a == vu.RESUMING and b != a:
            # Nothing was loaded: it cannot be left but by reset.
            assert refused(c.set_state, b) == errno.EINVAL
            assert c.state() == a
        else:
            c.set_state(b)
            assert c.state() == b


def test_only_direct_steps_are_taken(start):
    device, c = connect(start)
    for state in (3, 2, 6, 3, 1, 7, 5, 6, 2, 1, 7, 3, 2, 4):
        c.set_state(state)
    c.reset()
    for step in device.stop()["steps"]:
        a, b = (NAMES.index(name) for name in step.split(">"))
        assert (a, b) in STEPS, step


def test_a_device_without_states_has_no_migration_features(start):
    _, c = connect(start, *SMALL, "--features", "dma-logging")
    assert refused(c.feature, vu.GET | vu.F_MIGRATION) == errno.ENOTTY
    assert refused(c.state) == errno.ENOTTY
    assert refused(c.data_size) == errno.ENOTTY
    c.log_start()


def test_a_probe_tells_and_does_nothing(start):
    _, c = connect(start)
    for flags in (vu.GET | 1, vu.GET | 2, vu.SET | 2, vu.GET | vu.SET | 2,
                  vu.SET | 6, vu.SET | 7, vu.GET | 8, vu.GET | 9, 9):
        c.feature(vu.PROBE | flags, b"\xff" * 8)
    assert c.state() == vu.RUNNING
    for flags in (vu.SET | 1, vu.GET | 6, vu.SET | 8, vu.SET | 9,
                  vu.GET | vu.SET | 1):
        assert refused(c.feature, vu.PROBE | flags) == errno.EINVAL
    for number in (0, 3, 4, 5, 10, 11, 12, 0xffff):
        assert refused(c.feature, vu.PROBE | vu.GET | number) == errno.ENOTTY


def test_a_feature_call_that_cannot_be_is_refused(start):
    _, c = connect(start)
    for flags in (1, vu.GET | vu.SET | 2, vu.GET | 1 | 1 << 19, vu.SET | 1):
        assert refused(c.feature, flags, b"\0" * 8) == errno.EINVAL
    assert refused(c.feature, vu.SET | 2, b"\0" * 4) == errno.EINVAL
    assert refused(c.feature, vu.GET | 8, b"\0" * 16) == errno.EINVAL
    assert refused(c.feature, vu.GET | 1, b"", 4) == errno.EINVAL


def test_the_same_state_again_keeps_the_session(start):
    _, c = connect(start)
    c.set_state(vu.STOP_COPY)
    first = c.read_data(1000)
    c.set_state(vu.STOP_COPY)
    second = c.read_data(1000)
    c.set_state(vu.STOP)
    c.set_state(vu.STOP_COPY)
    assert c.read_data(2000) == first + second


def test_data_moves_only_in_the_states_of_its_session(start):
    _, c = connect(start)
    for state in range(1, 8):
        c.reset()
        c.set_state(state)
        if state in (vu.STOP_COPY, vu.PRE_COPY, vu.PRE_COPY_P2P):
            assert len(c.read_data(64)) == 64
        else:
            assert refused(c.read_data, 64) == errno.EINVAL
        if state == vu.RESUMING:
            c.write_data(b"x")
        else:
            assert refused(c.write_data, b"x") == errno.EINVAL
        if state in (vu.PRE_COPY, vu.PRE_COPY_P2P):
            c.precopy_info()
        else:
            assert refused(c.precopy_info) == errno.EINVAL


def test_read_wants_room_and_respects_the_limit(start):
    _, c = connect(start, *SMALL, "--max-data-xfer", "4096")
    c.set_state(vu.STOP_COPY)
    for argsz, size in ((8, 1), (7, 0), (5000, 4097), (8, 0xffffffff)):
        assert refused(c.call, vu.DATA_READ,
                       struct.pack("=II", argsz, size)) == errno.EINVAL
    assert c.read_data(0) == b""
    assert len(c.read_data(4096)) == 4096


def test_a_write_must_be_what_it_says(start):
    _, c = connect(start)
    c.set_state(vu.RESUMING)
    for size, data in ((2, b"x"), (0, b"x"), (0xffffffff, b"x")):
        assert refused(c.call, vu.DATA_WRITE, struct.pack(
            "=II", 8 + len(data), size) + data) == errno.EINVAL
    assert c.call(vu.DATA_WRITE, struct.pack("=II", 8, 1) + b"x") == b""


@pytest.mark.parametrize("cut", [1 << 20, 65536, 4097, 1000])
def test_a_state_moves_whole_in_pieces_of_any_size(start, cut):
    _, a = connect(start, *SMALL, "--seed", "77")
    _, b = connect(start, *SMALL, "--seed", "78")
    for i in range(8):
        a.put64(vu.SCRATCH + 8 * i, 1000 + i)
    a.region_write(2, 100, b"in BAR2")
    a.region_write(4, 16, b"vector 1")
    state = a.save(cut)
    size = a.data_size()
    assert size == 0
    b.load(state, cut)
    b.set_state(vu.RUNNING)
    assert b.get64(vu.MEM_SEED) == 77
    for i in range(8):
        assert b.get64(vu.SCRATCH + 8 * i) == 1000 + i
    assert b.region_read(2, 100, 7) == b"in BAR2"
    assert b.region_read(4, 16, 8) == b"vector 1"
    for page in (0, 5, 1023):
        b.put64(vu.MEM_PAGE, page)
        assert b.get64(vu.MEM_WORD) == vu.page_words(77, page)[0]


def test_the_size_is_told_to_the_byte(start):
    _, c = connect(start)
    before = c.data_size()
    c.set_state(vu.STOP_COPY)
    assert c.data_size() == before
    state = c.read_data(100000)
    assert c.data_size() == before - 100000
    assert len(state + c.read_all()) == before


@pytest.mark.parametrize("word,size", [("zero", 0), ("huge", (1 << 64) - 1),
                                       ("123K", 123 << 10)])
def test_the_size_may_be_a_lie(start, word, size):
    _, c = connect(start, *SMALL, "--data-size-report", word)
    assert c.data_size() == size


def test_sizes_may_be_unknown(start):
    _, c = connect(start, *SMALL, "--features", "stop-copy,pre-copy")
    assert refused(c.data_size) == errno.ENOTTY
    c.set_state(vu.PRE_COPY)
    assert refused(c.precopy_info) == errno.EINVAL


def test_the_counter_counts_only_while_the_device_runs(start):
    _, c = connect(start)
    for state in (vu.RUNNING, vu.RUNNING_P2P, vu.PRE_COPY, vu.PRE_COPY_P2P):
        c.set_state(state)
        first = c.get64(vu.COUNTER)
        while c.get64(vu.COUNTER) < first + 100:
            pass
    for state in (vu.STOP_COPY, vu.STOP):
        c.set_state(state)
        first = c.get64(vu.COUNTER)
        assert c.get64(vu.COUNTER) == first
    c.set_state(vu.RUNNING)
    while c.get64(vu.COUNTER) == first:
        pass


def test_the_counter_goes_on_after_a_migration(start):
    _, a = connect(start)
    _, b = connect(start)
    while a.get64(vu.COUNTER) < 100000:
        pass
    state = a.save()
    stopped = a.get64(vu.COUNTER)
    b.load(state)
    assert b.get64(vu.COUNTER) == stopped
    b.set_state(vu.RUNNING)
    while b.get64(vu.COUNTER) <= stopped:
        pass
    assert b.get64(vu.COUNTER) < stopped + 10 * 1000000


def test_pre_copy_gives_all_then_nothing_then_what_is_rewritten(start):
    _, a = connect(start)
    _, b = connect(start)
    a.set_state(vu.PRE_COPY)
    flags, initial, dirty = a.precopy_info()
    assert flags == 0
    stream = a.read_all(50000)
    assert len(stream) == initial + dirty
    assert a.precopy_info() == (0, 0, 0)
    assert a.read_data() == b""
    a.put64(vu.MEM_RATE, 400 << 20)
    while a.precopy_info()[2] == 0:
        pass
    more = a.read_data()
    assert more
    a.set_state(vu.STOP_COPY)
    left = a.data_size()
    last = a.read_all()
    assert len(last) == left
    assert a.read_data() == b""
    b.load(stream + more + last)
    assert b.get64(vu.MEM_WRITES) == a.get64(vu.MEM_WRITES) > 0


def test_the_initial_part_comes_first(start):
    _, c = connect(start)
    c.set_state(vu.PRE_COPY)
    _, initial, dirty = c.precopy_info()
    assert initial == 65536 + 40 + 2 * 40
    c.read_data(1000)
    assert c.precopy_info() == (0, initial - 1000, dirty)
    c.read_data(initial - 1000)
    assert c.precopy_info() == (0, 0, dirty)
    c.read_data(10)
    assert c.precopy_info() == (0, 0, dirty - 10)


def test_new_initial_data_shows_in_the_flags_once_wanted(start):
    _, c = connect(start, *SMALL, "--features",
                   "stop-copy,pre-copy,precopy-info,reinit",
                   "--reinit-after", "1M")
    c.feature(vu.SET | vu.F_PRECOPY_V2)
    c.set_state(vu.PRE_COPY)
    stream = c.read_data(900000)
    assert c.precopy_info()[:2] == (0, 0)
    while c.precopy_info()[0] == 0:
        part = c.read_data(10000)
        assert part
        stream += part
    assert c.precopy_info()[1] > 0
    while c.precopy_info()[1] > 0:
        stream += c.read_data(10000)
    stream += c.read_all()
    assert c.precopy_info() == (0, 0, 0)
    c.set_state(vu.STOP_COPY)
    stream += c.read_all()
    c.set_state(vu.RUNNING)
    c.load(stream)


def test_without_the_wish_the_flags_are_an_echo(start):
    _, c = connect(start, *SMALL, "--features",
                   "stop-copy,pre-copy,precopy-info,reinit",
                   "--reinit-after", "1M")
    c.set_state(vu.PRE_COPY)
    c.read_data(1 << 20)
    c.read_data(1000)
    assert struct.unpack("=IIQQ", c.call(vu.PRECOPY_INFO, struct.pack(
        "=IIQQ", 24, 6, 0, 0)))[1] == 6
    # Any payload will do, none as well.
    for payload in (b"", b"\0" * 4, b"\0" * 24, b"\0" * 100):
        assert len(c.call(vu.PRECOPY_INFO, payload)) == 24


def test_pre_copy_continues_into_stop_copy_with_one_stream(start):
    _, a = connect(start)
    _, b = connect(start)
    a.set_state(vu.PRE_COPY)
    stream = a.read_data(123456)
    a.set_state(vu.PRE_COPY_P2P)
    stream += a.read_data(1000)
    a.set_state(vu.STOP_COPY)
    b.load(stream + a.read_all())


def test_a_cancelled_save_harms_nothing(start):
    _, a = connect(start)
    _, b = connect(start)
    for state in (vu.PRE_COPY, vu.STOP_COPY):
        a.set_state(state)
        a.read_data(1000000)
        a.set_state(vu.RUNNING)
    b.load(a.save())


@pytest.fixture(name="loader")
def _loader(start):
    device, c = connect(start)
    return device, c


def saved(start, *options):
    _, c = connect(start, *(options or SMALL))
    return c.save()


def test_what_is_incomplete_is_refused_and_reset_leads_out(start, loader):
    device, c = loader
    state = saved(start)
    for cut in (0, 10, 100000, len(state) - 1):
        c.set_state(vu.RESUMING)
        c.write_all(state[:cut])
        assert refused(c.set_state, vu.STOP) == errno.EINVAL
        assert c.state() == vu.RESUMING
        assert refused(c.set_state, vu.RUNNING) == errno.EINVAL
        c.reset()
        assert c.state() == vu.RUNNING
    report = device.stop()
    assert (report["loads_refused"], report["loads_accepted"]) == (8, 0)
    assert "the stream ends after" in report["last_refusal"]
    assert device.errors.count("vfmig-device: load refused: ") == 8


@pytest.mark.parametrize("wrong,reason", [
    (lambda s: s[:500000] + b"\xff" + s[500001:], "checksum"),
    (lambda s: b"QEMU" + s[4:], "not the state of such a device"),
    (lambda s: s + b"x", "after the end"),
    (lambda s: s[:80] + s[100:], "frame 1: not a frame"),
    (lambda s: s[:80] + s[:80] + s[80:], "frame 1: has number 0")])
def test_what_is_damaged_is_refused_with_a_reason(start, loader, wrong,
                                                  reason):
    device, c = loader
    c.set_state(vu.RESUMING)
    c.write_all(wrong(saved(start)))
    assert refused(c.set_state, vu.STOP) == errno.EINVAL
    report = device.stop()
    assert reason in report["last_refusal"]
    assert reason in device.errors


@pytest.mark.parametrize("options,reason", [
    (("--size", "8M"), "from a device with 8388608 bytes"),
    (("--size", "4M", "--vectors", "9"), "9 vectors"),
    (("--size", "4M", "--dirty-size", "8K"), "rewrites 8192 bytes"),
    (("--size", "4M", "--pci-id", "8086:1234"), "another device, 8086:1234")])
def test_the_state_of_another_kind_of_device_is_refused(start, loader,
                                                        options, reason):
    device, c = loader
    c.set_state(vu.RESUMING)
    c.write_all(saved(start, *options))
    assert refused(c.set_state, vu.STOP) == errno.EINVAL
    assert reason in device.stop()["last_refusal"]


def test_a_refused_load_changes_nothing(start, loader):
    _, c = loader
    c.put64(vu.SCRATCH, 5)
    _, other = connect(start, *SMALL, "--seed", "3")
    other.put64(vu.SCRATCH, 6)
    c.set_state(vu.RESUMING)
    c.write_all(other.save()[:-8])
    assert refused(c.set_state, vu.STOP) == errno.EINVAL
    assert c.get64(vu.SCRATCH) == 5
    assert c.get64(vu.MEM_SEED) == 1


def test_configuration_space_is_not_in_the_state(start, loader):
    _, c = loader
    _, a = connect(start)
    a.put32(4, 6, region=7)
    c.load(a.save())
    assert c.get32(4, region=7) & 0xffff == 0


def test_bar2_written_through_the_mapping_moves(start, loader):
    _, b = loader
    _, a = connect(start)
    a.region_info(2, 64)
    fd, = a.take_fds()
    with mmap.mmap(fd, 65536) as m:
        m[5000:5005] = b"guest"
    os.close(fd)
    b.load(a.save())
    assert b.region_read(2, 5000, 5) == b"guest"


def test_a_sink_takes_anything_and_tells_its_digest(start):
    device = start("--accept-any", "--size", "4K")
    data = os.urandom(100001)
    with Client(device.path) as c:
        assert c.device_info()[0] == 1, "no PCI device"
        assert c.region_info(7)[0][4] == 0, "nothing to be configured"
        c.load(data)
        assert device.line() == "loaded 100001 bytes sha256 %s\n" % \
            hashlib.sha256(data).hexdigest()
        c.set_state(vu.RUNNING)
        c.load(b"")
        c.set_state(vu.RUNNING)
    report = device.stop()
    assert report["loads_accepted"] == 2
    assert report["loaded_sha256"] == hashlib.sha256(b"").hexdigest()


def test_digests_of_both_sides_agree(start):
    a, ac = connect(start, *SMALL, "--digest")
    b, bc = connect(start, *SMALL, "--digest")
    state = ac.save()
    bc.load(state)
    digest = hashlib.sha256(state).hexdigest()
    assert a.stop()["saved_sha256"] == digest
    assert b.stop()["loaded_sha256"] == digest


def test_reset_is_power_on_from_every_state(start):
    _, c = connect(start)
    for state in range(1, 8):
        c.set_state(state)
        c.put64(vu.SCRATCH, 9)
        c.put32(4, 6, region=7)
        c.region_write(2, 0, b"x")
        c.reset()
        assert c.state() == vu.RUNNING
        assert c.get64(vu.SCRATCH) == 0
        assert c.get32(4, region=7) & 0xffff == 0
        assert c.region_read(2, 0, 1) == b"\0"
        assert c.get64(vu.COUNTER) < 1000000


def test_everything_but_the_session_of_a_client_outlives_it(start):
    device = start(*SMALL)
    with Client(device.path) as c:
        c.put64(vu.SCRATCH, 9)
        c.set_state(vu.STOP_COPY)
        first = c.read_data(1000)
        c.dma_map(0, 4096)
    with Client(device.path) as c:
        assert c.state() == vu.STOP_COPY
        assert c.get64(vu.SCRATCH) == 9
        c.dma_map(0, 4096)
        # The stream goes on where the other client left it.
        rest = c.read_all()
        c.set_state(vu.RUNNING)
        c.load(first + rest)


@pytest.mark.parametrize("size", ["4K", "64K", "1M"])
def test_small_devices_migrate(start, size):
    for dirty in ("0", "4K", size):
        options = ("--size", size, "--dirty-size", dirty)
        _, a = connect(start, *options)
        _, b = connect(start, *options)
        b.load(a.save())


def test_all_memory_may_be_hot(start):
    options = ("--size", "2M", "--dirty-size", "2M", "--dirty-rate", "50M")
    _, a = connect(start, *options)
    _, b = connect(start, *options)
    a.set_state(vu.PRE_COPY)
    stream = b"".join(a.read_data(100000) for _ in range(100))
    b.load(stream + a.save())
    assert b.get64(vu.MEM_WRITES) > 0


def test_a_large_device_needs_no_memory(start):
    device, c = connect(start, "--size", "64G")
    c.set_state(vu.PRE_COPY)
    for _ in range(64):
        assert len(c.read_data()) == 1 << 20
    assert c.data_size() > 63 << 30
    with open("/proc/%d/status" % device.process.pid, encoding="ascii") as f:
        status = dict(line.split(":", 1) for line in f)
    assert int(status["VmRSS"].split()[0]) < 64 << 10
