# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""A driver of the emulated device, for a VM that has none.

Written from emulator/registers.h.
"""
import struct

from qemu import ECAM, SLOT

COMMAND = 0x04
MEMORY, MASTER = 2, 4

MAGIC, COUNTER, MEM_WRITES = 0x000, 0x010, 0x040
SCRATCH = 0x080
DMA_DST, DMA_LENGTH, DMA_SEED, DMA_OP, DOORBELL = \
    0x208, 0x210, 0x218, 0x220, 0x224
DMA_STATUS, DMA_ERROR, DMA_RATE, DMA_SEQUENCE = 0x228, 0x22c, 0x250, 0x258
FILL, RING = 1, 4
START, STOP = 1, 2
BUSY, DONE = 1, 2

PAGE = 4096
STEP = 0x9e3779b97f4a7c15
MASK = (1 << 64) - 1
RING_MAGIC = 0x474e495244454d56


def mix(x):
    x ^= x >> 30
    x = x * 0xbf58476d1ce4e5b9 & MASK
    x ^= x >> 27
    x = x * 0x94d049bb133111eb & MASK
    return x ^ x >> 31


def pattern(seed, page):
    """The 512 words of a page."""
    base = mix(mix(seed + STEP & MASK) ^ ((page + 1) * STEP & MASK))
    base = mix(base)
    return [base + i * STEP & MASK for i in range(512)]


class Driver:
    """Of device `n` of the VM."""

    def __init__(self, qemu, n=0):
        self.qemu = qemu
        self.config = ECAM + ((SLOT + n) << 15)
        self.bar0 = qemu.read("l", self.config + 0x10) & ~0xf

    def enable(self):
        self.qemu.write("w", self.config + COMMAND, MEMORY | MASTER)
        assert self.read32(MAGIC) == 0x44454d56

    def read32(self, at):
        return self.qemu.read("l", self.bar0 + at)

    def read64(self, at):
        return self.qemu.read("q", self.bar0 + at)

    def write32(self, at, value):
        self.qemu.write("l", self.bar0 + at, value)

    def write64(self, at, value):
        self.qemu.write("q", self.bar0 + at, value)

    def start_ring(self, base, pages, seed, rate):
        """The device writes these pages of memory, round and round."""
        self.base, self.pages, self.seed = base, pages, seed
        self.write64(DMA_DST, base)
        self.write64(DMA_LENGTH, pages * PAGE)
        self.write64(DMA_SEED, seed)
        self.write64(DMA_RATE, rate)
        self.write32(DMA_OP, RING)
        self.write32(DOORBELL, START)
        assert self.read32(DMA_STATUS) == BUSY, self.read32(DMA_ERROR)

    def goes_on_from(self, other):
        """It has the ring of another machine's."""
        self.base, self.pages, self.seed = other.base, other.pages, other.seed

    def ring_sequence(self):
        return self.read64(DMA_SEQUENCE)

    def wait_for_sequence(self, sequence):
        """Until so many pages were written: each read is a round trip to the
        device, which is what paces this."""
        while self.ring_sequence() < sequence:
            assert self.read32(DMA_STATUS) == BUSY, self.read32(DMA_ERROR)

    def stop_ring(self):
        self.write32(DOORBELL, STOP)
        while self.read32(DMA_STATUS) == BUSY:
            pass

    def check_ring(self):
        """Each page of the ring is the last that the device wrote there."""
        written = self.ring_sequence()
        data = self.qemu.read_bytes(self.base, self.pages * PAGE)
        for slot in range(min(self.pages, written)):
            page = data[slot * PAGE:(slot + 1) * PAGE]
            words = list(struct.unpack("<512Q", page))
            number = written - 1 - (written - 1 - slot) % self.pages
            assert words[:3] == [RING_MAGIC, number, self.seed], \
                (slot, number, words[:3])
            assert words[4:] == pattern(self.seed, number)[4:], slot
        return written
