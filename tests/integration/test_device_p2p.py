# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""Devices that write into each other, and what is still on its way when one
stops: what a migration of several devices has to rely on."""
import errno
import mmap
import os
import struct

import pytest

import vfio_user as vu
from vfio_user import Client, Refused, start  # pylint: disable=unused-import

PEER = 0xe0000000  # where the other device's BAR2 is
BASE = 0x100000
MIB = 1 << 20
BAR2, TRAPPED, MAPPED = 2, 0x1000, 0xf000
PAGES = MAPPED // 4096


def bar2_fd(client):
    """The descriptor behind the part of BAR2 that can be mapped."""
    (room, *_), _ = client.region_info(BAR2)
    (_, _, _, _, _, offset), _ = client.region_info(BAR2, room)
    return client.take_fds()[0], offset + TRAPPED


class Board:
    """Two devices on one bus: the first reaches the second's BAR2."""

    def __init__(self, a, b):
        self.a, self.b = Client(a.path), Client(b.path)
        self.fd, offset = bar2_fd(self.b)
        self.a.dma_map(PEER, MAPPED, self.fd, offset)
        for client in self.a, self.b:
            client.put32(4, 6, region=7)  # bus master

    def ring(self, rate=0):
        self.a.put64(vu.DMA_DST, PEER)
        self.a.put64(vu.DMA_LENGTH, MAPPED)
        self.a.put64(vu.DMA_SEED, 5)
        self.a.put64(vu.DMA_RATE, rate)
        self.a.put32(vu.DMA_OP, vu.RING)
        self.a.put32(vu.DMA_BELL, 1)

    def await_sequence(self, sequence):
        while self.a.get64(vu.DMA_SEQUENCE) < sequence:
            assert self.a.get32(vu.DMA_STATUS) == vu.BUSY

    def peer(self):
        return self.b.region_read(BAR2, TRAPPED, MAPPED)

    def close(self):
        self.a.close()
        self.b.close()
        os.close(self.fd)


def check_ring(memory, sequence):
    """The last pages before @sequence, none missing, none twice."""
    for n in range(max(0, sequence - PAGES), sequence):
        at = n % PAGES * 4096
        page = memory[at:at + 4096]
        assert struct.unpack_from("=QQQ", page) == (0x474e495244454d56, n, 5)
        assert page[32:] == struct.pack("=512Q", *vu.page_words(5, n))[32:]


@pytest.fixture(name="board")
def _board(start):
    board = Board(start("--size", "1M"), start("--size", "1M"))
    yield board
    board.close()


def test_a_device_writes_into_another(board):
    board.ring()
    board.await_sequence(100)
    board.a.set_state(vu.STOP)
    check_ring(board.peer(), board.a.get64(vu.DMA_SEQUENCE))


@pytest.mark.parametrize("state", [vu.RUNNING_P2P, vu.PRE_COPY_P2P])
def test_in_p2p_states_nothing_is_written_any_more(board, state):
    board.ring()
    board.await_sequence(50)
    if state == vu.PRE_COPY_P2P:
        board.a.set_state(vu.PRE_COPY)
    board.a.set_state(state)
    sequence, before = board.a.get64(vu.DMA_SEQUENCE), board.peer()
    check_ring(before, sequence)
    board.a.data_size()  # whatever it has to do, it does it meanwhile
    assert board.a.get64(vu.DMA_SEQUENCE) == sequence
    assert board.peer() == before


def test_what_was_written_while_it_pre_copied_is_saved(board, start):
    """BAR2 is in the saved state as it was at the end, whoever wrote it."""
    board.ring()
    board.await_sequence(20)
    board.b.set_state(vu.PRE_COPY)
    state = board.b.read_data()
    board.await_sequence(200)
    board.a.set_state(vu.RUNNING_P2P)
    board.b.set_state(vu.PRE_COPY_P2P)
    board.a.set_state(vu.STOP)
    board.b.set_state(vu.STOP_COPY)
    state += board.b.read_all()
    with Client(start("--size", "1M").path) as c:
        c.load(state)
        memory = c.region_read(BAR2, TRAPPED, MAPPED)
    assert memory == board.peer()
    check_ring(memory, board.a.get64(vu.DMA_SEQUENCE))


def test_both_go_on_elsewhere(board, start):
    board.ring(rate=8 * MIB)
    board.await_sequence(40)
    for state in vu.RUNNING_P2P, vu.STOP:
        for client in board.a, board.b:
            client.set_state(state)
    a, b = board.a.save(), board.b.save()
    there = Board(start("--size", "1M"), start("--size", "1M"))
    there.a.load(a)
    there.b.load(b)
    sequence = there.a.get64(vu.DMA_SEQUENCE)
    assert sequence == board.a.get64(vu.DMA_SEQUENCE)
    for state in vu.RUNNING_P2P, vu.RUNNING:
        for client in there.a, there.b:
            client.set_state(state)
    for client in there.a, there.b:
        client.put32(4, 6, region=7)
    there.await_sequence(sequence + 3 * PAGES)
    there.a.set_state(vu.STOP)
    check_ring(there.peer(), there.a.get64(vu.DMA_SEQUENCE))
    there.close()


class Guest:
    """Memory, and a device that is busy with it."""

    def __init__(self, device):
        self.client = Client(device.path)
        self.fd = os.memfd_create("guest")
        os.ftruncate(self.fd, MIB)
        self.memory = mmap.mmap(self.fd, MIB)
        self.client.dma_map(BASE, MIB, self.fd)
        self.client.put32(4, 6, region=7)
        self.client.put64(vu.DMA_DST, BASE)
        self.client.put64(vu.DMA_LENGTH, MIB)
        self.client.put64(vu.DMA_RATE, 4096 * 50)
        self.client.put32(vu.DMA_OP, vu.RING)
        self.client.put32(vu.DMA_BELL, 1)

    def close(self):
        self.client.close()
        self.memory.close()
        os.close(self.fd)


@pytest.mark.parametrize("path", [
    (vu.STOP,), (vu.STOP_COPY,), (vu.RUNNING_P2P, vu.STOP),
    (vu.PRE_COPY, vu.STOP_COPY), (vu.PRE_COPY, vu.PRE_COPY_P2P, vu.STOP_COPY)])
def test_late_dma_is_written_and_logged_before_the_stop(start, path):
    guest = Guest(start("--size", "1M", "--late-dma", "40K"))
    c = guest.client
    c.log_start()
    while c.get64(vu.DMA_SEQUENCE) < 3:
        pass
    for state in path[:-1]:
        c.set_state(state)
    c.log_report(BASE, MIB)
    before = guest.memory[:]
    c.set_state(path[-1])
    changed = {n for n in range(256)
               if before[n * 4096:n * 4096 + 4096]
               != guest.memory[n * 4096:n * 4096 + 4096]}
    dirty = c.log_report(BASE, MIB)
    assert changed <= dirty
    assert len(changed) >= 10
    assert c.log_report(BASE, MIB) == set()
    guest.close()


def test_without_late_dma_a_stop_is_one(start):
    guest = Guest(start("--size", "1M"))
    guest.client.log_start()
    while guest.client.get64(vu.DMA_SEQUENCE) < 3:
        pass
    guest.client.set_state(vu.RUNNING_P2P)
    guest.client.log_report(BASE, MIB)
    guest.client.set_state(vu.STOP)
    assert guest.client.log_report(BASE, MIB) == set()
    guest.close()


def test_a_report_that_fails_has_forgotten(start):
    guest = Guest(start("--size", "1M", "--fail", "LOG_REPORT:EIO"))
    guest.client.log_start()
    while guest.client.get64(vu.DMA_SEQUENCE) < 3:
        pass
    guest.client.set_state(vu.STOP)
    with pytest.raises(Refused) as info:
        guest.client.log_report(BASE, MIB)
    assert info.value.errno == errno.EIO
    assert guest.client.log_report(BASE, MIB) == set()
    guest.close()
