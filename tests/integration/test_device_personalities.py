# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""Whose habits the emulated device can have, beside libvfio-user's, which are
in test_device_faults.py."""
import errno
import struct

import pytest

import vfio_user as vu
from vfio_user import Client, Refused, start  # pylint: disable=unused-import


def refused(call, *args, **named):
    with pytest.raises(Refused) as info:
        call(*args, **named)
    return info.value.errno


def serve(start, personality):
    return start("--size", "1M", "--personality", personality).path


def test_the_crate_speaks_version_0_1_and_has_no_sizes(start):
    with Client(serve(start, "rust"), negotiate=False) as c:
        assert c.negotiate(minor=2)[:2] == (0, 1)
        assert refused(c.data_size) == errno.ENOTTY
        c.set_state(vu.PRE_COPY)
        with pytest.raises(Refused):
            c.precopy_info()


def test_the_crate_has_flags_of_its_own_for_unmapping(start):
    with Client(serve(start, "rust")) as c:
        c.dma_map(0, 4096)
        assert refused(c.dma_unmap, 0, 4096, flags=1) == errno.EINVAL
        c.dma_unmap(0, 0, flags=4)
        assert refused(c.dma_unmap, 0, 4096) == errno.ENOENT


def test_state_moves_between_the_crate_and_others(start):
    with Client(serve(start, "rust")) as c:
        state = c.save()
    with Client(serve(start, "qemu-limits")) as c:
        c.load(state)
        c.set_state(vu.RUNNING)


def test_qemu_speaks_version_0_0(start):
    with Client(serve(start, "qemu-limits"), negotiate=False) as c:
        assert c.negotiate(minor=2)[:2] == (0, 0)


@pytest.mark.parametrize("capability,most,too_much", [
    ("max_msg_fds", 16, 17),
    ("max_data_xfer_size", 64 << 20, (64 << 20) + 1),
    ("max_dma_maps", 65535, 65536),
    ("pgsizes", 4096, 2048),
])
def test_qemu_refuses_large_numbers(start, capability, most, too_much):
    path = serve(start, "qemu-limits")
    with Client(path, negotiate=False) as c:
        c.negotiate({capability: most})
    with Client(path, negotiate=False) as c:
        assert refused(c.negotiate, {capability: too_much}) == errno.EINVAL
        assert c.is_closed()


def test_a_reset_of_the_library_forgets_what_was_loaded(start):
    with Client(serve(start, "libvfio-user")) as c:
        state = c.save()
        c.set_state(vu.RUNNING)
        c.set_state(vu.RESUMING)
        c.write_data(b"what nobody saved")
        assert refused(c.set_state, vu.STOP) == errno.EINVAL
        c.reset()
        assert c.state() == vu.RESUMING
        c.write_all(state)
        c.set_state(vu.STOP)


def test_a_reset_of_the_library_begins_saving_anew(start):
    with Client(serve(start, "libvfio-user")) as c:
        c.set_state(vu.PRE_COPY)
        first = c.read_data(64)
        c.reset()
        assert c.state() == vu.PRE_COPY
        assert c.read_data(64) == first
        assert struct.unpack("=Q", c.feature(vu.GET | 1)) == (5,)
