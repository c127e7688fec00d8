# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""The emulated device's DMA engine and its log of written pages."""
import errno
import os
import struct

import pytest

import vfio_user as vu
from vfio_user import Client, Refused, start  # pylint: disable=unused-import

BASE = 0x100000
MIB = 1 << 20


def refused(call, *args):
    with pytest.raises(Refused) as info:
        call(*args)
    return info.value.errno


class Guest:
    """A client with memory that the device can reach: mapped, or only by
    messages."""

    def __init__(self, device, size=MIB, mapped=True, chunk=None, **named):
        self.client = Client(device.path, **named)
        self.size = size
        self.fd = os.memfd_create("guest")
        os.ftruncate(self.fd, size)
        self.client.on_dma = self.serve
        self.messages = 0
        for at in range(0, size, chunk or size):
            self.client.dma_map(BASE + at, min(chunk or size, size - at),
                                self.fd if mapped else None,
                                at if mapped else 0)
        self.client.put32(4, 6, region=7)  # bus master

    def serve(self, is_write, iova, count, data):
        self.messages += 1
        if is_write:
            self.write(iova - BASE, data)
            return b""
        return self.read(iova - BASE, count)

    def read(self, offset, size):
        return os.pread(self.fd, size, offset)

    def write(self, offset, data):
        os.pwrite(self.fd, data, offset)

    def begin(self, op, src=0, dst=0, length=0, seed=0, rate=0):
        c = self.client
        c.put64(vu.DMA_SRC, BASE + src)
        c.put64(vu.DMA_DST, BASE + dst)
        c.put64(vu.DMA_LENGTH, length)
        c.put64(vu.DMA_SEED, seed)
        c.put64(vu.DMA_RATE, rate)
        c.put32(vu.DMA_OP, op)
        c.put32(vu.DMA_BELL, 1)

    def finish(self):
        """(status, error) when the operation has ended."""
        while self.client.get32(vu.DMA_STATUS) == vu.BUSY:
            pass
        return (self.client.get32(vu.DMA_STATUS),
                self.client.get32(vu.DMA_ERROR))

    def run(self, *args, **named):
        self.begin(*args, **named)
        return self.finish()

    def await_sequence(self, sequence):
        while self.client.get64(vu.DMA_SEQUENCE) < sequence:
            assert self.client.get32(vu.DMA_STATUS) == vu.BUSY

    def close(self):
        self.client.close()
        os.close(self.fd)


@pytest.fixture(name="device")
def _device(start):
    return start("--size", "4M")


@pytest.fixture(name="guest", params=["mapped", "messages", "pieces"])
def _guest(device, request):
    g = Guest(device, mapped=request.param != "messages",
              chunk=12288 if request.param == "pieces" else None)
    yield g
    g.close()


def test_fill_copy_and_verify(guest):
    assert guest.run(vu.FILL, dst=4096, length=300000, seed=7) == (vu.DONE, 0)
    want = vu.pattern(7, 300000)
    assert guest.read(0, MIB) == b"\0" * 4096 + want + \
        b"\0" * (MIB - 304096)
    assert guest.run(vu.COPY, src=4096, dst=400008, length=300000) == \
        (vu.DONE, 0)
    assert guest.read(400008, 300000) == want
    assert guest.run(vu.VERIFY, src=400008, length=300000, seed=7) == \
        (vu.DONE, 0)
    assert guest.client.get64(vu.DMA_MISMATCHES) == 0
    guest.write(400008 + 160, b"\xff")
    guest.write(400008 + 299999, b"\xff")
    assert guest.run(vu.VERIFY, src=400008, length=300000, seed=7) == \
        (vu.DONE, 0)
    assert guest.client.get64(vu.DMA_MISMATCHES) == 2
    assert guest.client.get64(vu.DMA_COMPLETED) == 4
    assert guest.client.get64(vu.DMA_DONE_BYTES) == 300000


def test_completion_and_failure_interrupt(guest):
    fd = os.eventfd(0)
    c = guest.client
    c.set_irqs(2, 0x24, 6, 1, [fd])
    c.put32(vu.IRQ_VECTOR, 6)
    c.put32(vu.IRQ_ENABLE, 3)
    guest.run(vu.FILL, length=4096)
    assert os.eventfd_read(fd) == 1
    assert c.get32(vu.IRQ_CAUSE) == 1
    guest.run(vu.FILL, dst=MIB, length=4096)
    assert os.eventfd_read(fd) == 1
    assert c.get32(vu.IRQ_CAUSE) == 3
    c.put32(vu.IRQ_CAUSE, 1)
    assert c.get32(vu.IRQ_CAUSE) == 2
    os.close(fd)


def test_bad_operations_fail_with_a_reason(guest):
    for named, error in (
            ({"op": 0, "length": 8}, 1), ({"op": 9, "length": 8}, 1),
            ({"op": vu.FILL, "length": 0}, 1),
            ({"op": vu.FILL, "length": 12}, 1),
            ({"op": vu.RING, "length": 4104}, 1),
            ({"op": vu.FILL, "length": (1 << 64) - 8}, 1),
            ({"op": vu.FILL, "dst": MIB, "length": 8}, 2),
            ({"op": vu.FILL, "dst": MIB - 4096, "length": 8192}, 2),
            ({"op": vu.COPY, "src": MIB, "length": 8}, 2),
            ({"op": vu.VERIFY, "src": -BASE, "length": 8}, 2)):
        assert guest.run(**named) == (vu.FAILED, error), named
    assert guest.client.get64(vu.DMA_FAILED) == 10
    assert guest.run(vu.FILL, length=8) == (vu.DONE, 0)


def test_without_bus_master_there_is_no_dma(guest):
    guest.client.put32(4, 2, region=7)
    assert guest.run(vu.FILL, length=4096) == (vu.FAILED, 6)
    assert guest.read(0, 4096) == b"\0" * 4096


@pytest.mark.parametrize("mapped", [True, False])
def test_permissions_are_respected(device, mapped):
    with Client(device.path) as c:
        fd = os.memfd_create("guest")
        os.ftruncate(fd, 8192)
        c.dma_map(BASE, 4096, fd if mapped else None, 0, flags=1)
        c.dma_map(BASE + 4096, 4096, fd if mapped else None,
                  4096 if mapped else 0, flags=2)
        c.put32(4, 6, region=7)
        for op, src, dst in ((vu.FILL, 0, BASE), (vu.VERIFY, BASE + 4096, 0),
                             (vu.COPY, BASE + 4096, BASE)):
            c.put64(vu.DMA_SRC, src)
            c.put64(vu.DMA_DST, dst)
            c.put64(vu.DMA_LENGTH, 64)
            c.put32(vu.DMA_OP, op)
            c.put32(vu.DMA_BELL, 1)
            while c.get32(vu.DMA_STATUS) == vu.BUSY:
                pass
            assert c.get32(vu.DMA_ERROR) == 3
        os.close(fd)


def ring_page(guest, number, pages, base=0):
    page = guest.read(base + number % pages * 4096, 4096)
    return struct.unpack_from("=QQQQ", page) + (page[32:],)


def check_ring(guest, sequence, pages, seed, base=0):
    """The ring holds the pages before @sequence, each whole."""
    for n in range(max(0, sequence - pages), sequence):
        magic, number, its_seed, _, rest = ring_page(guest, n, pages, base)
        assert (magic, number, its_seed) == (0x474e495244454d56, n, seed)
        assert rest == struct.pack("=512Q", *vu.page_words(seed, n))[32:]


def test_a_ring_is_filled_page_after_page_until_stopped(guest):
    guest.begin(vu.RING, dst=8192, length=8 * 4096, seed=3)
    guest.await_sequence(20)
    guest.client.put32(vu.DMA_BELL, 2)
    assert guest.finish() == (vu.DONE, 0)
    check_ring(guest, guest.client.get64(vu.DMA_SEQUENCE), 8, 3, 8192)


def test_a_rate_bounds_the_ring(guest):
    start = guest.client.get64(vu.COUNTER)
    guest.begin(vu.RING, length=16 * 4096, seed=3, rate=4096 * 1000)
    guest.await_sequence(100)
    took = guest.client.get64(vu.COUNTER) - start
    assert took >= 90000  # microseconds, for 100 pages at 1000 a second


@pytest.mark.parametrize("state", [vu.RUNNING_P2P, vu.PRE_COPY_P2P, vu.STOP,
                                   vu.STOP_COPY])
def test_dma_rests_outside_running_and_pre_copy(guest, state):
    c = guest.client
    guest.begin(vu.RING, length=16 * 4096, seed=3)
    guest.await_sequence(5)
    c.set_state(state)
    before = guest.read(0, MIB)
    sequence = c.get64(vu.DMA_SEQUENCE)
    for _ in range(200):
        assert c.get64(vu.DMA_SEQUENCE) == sequence
    assert guest.read(0, MIB) == before
    c.set_state(vu.RUNNING)
    guest.await_sequence(sequence + 20)
    c.set_state(vu.PRE_COPY)
    guest.await_sequence(sequence + 40)
    c.set_state(vu.STOP)
    check_ring(guest, c.get64(vu.DMA_SEQUENCE), 16, 3)


def test_an_operation_goes_on_after_a_migration(device, start):
    other = start("--size", "4M")
    a = Guest(device)
    a.begin(vu.RING, length=16 * 4096, seed=9, rate=16 * MIB)
    a.await_sequence(10)
    state = a.client.save()
    sequence = a.client.get64(vu.DMA_SEQUENCE)
    memory = a.read(0, MIB)
    b = Guest(other)
    b.write(0, memory)
    b.client.load(state)
    b.client.set_state(vu.RUNNING)
    b.await_sequence(sequence + 30)
    b.client.set_state(vu.STOP)
    check_ring(b, b.client.get64(vu.DMA_SEQUENCE), 16, 9)
    a.close()
    b.close()


def test_a_dma_message_under_way_is_waited_for(device):
    g = Guest(device, mapped=False)
    c = g.client
    g.begin(vu.RING, length=16 * 4096, seed=3)
    # Let it send, and ask for STOP before its message is answered.
    while True:
        message = c.receive()
        if message[2] & 0xf == 0:
            break
    request = c.send(vu.FEATURE, struct.pack(
        "=IIII", 16, vu.SET | vu.F_STATE, vu.STOP, 0xffffffff))
    c.serve_dma(message)
    c.wait(request, vu.FEATURE)
    written = g.messages
    assert c.state() == vu.STOP
    sequence = c.get64(vu.DMA_SEQUENCE)
    check_ring(g, sequence, 16, 3)
    assert g.messages == written
    g.close()


def test_a_client_that_never_answers_dma_can_still_stop_it(device):
    c = Client(device.path)
    c.put32(4, 6, region=7)
    c.dma_map(BASE, 4096)
    c.on_dma = lambda *_: b""
    c.put64(vu.DMA_DST, BASE)
    c.put64(vu.DMA_LENGTH, 4096)
    c.put32(vu.DMA_OP, vu.FILL)
    c.serve_dma = lambda message: None
    c.put32(vu.DMA_BELL, 1)
    c.set_state(vu.STOP)
    assert c.state() == vu.STOP
    assert c.get32(vu.DMA_STATUS) == vu.BUSY
    c.close()


def test_an_unanswered_dma_message_times_out(device):
    fd = os.eventfd(0)
    c = Client(device.path)
    c.put32(4, 6, region=7)
    c.dma_map(BASE, 4096)
    c.serve_dma = lambda message: None
    c.put64(vu.DMA_SRC, BASE)
    c.put64(vu.DMA_LENGTH, 4096)
    c.put32(vu.DMA_OP, vu.VERIFY)
    c.put32(vu.IRQ_ENABLE, 2)
    c.set_irqs(2, 0x24, 0, 1, [fd])
    c.put32(vu.DMA_BELL, 1)
    assert os.eventfd_read(fd) == 1
    assert c.get32(vu.DMA_ERROR) == 5
    c.close()
    os.close(fd)


@pytest.mark.parametrize("reply", [
    lambda iova, count: (0x21, b"", errno.EIO),
    lambda iova, count: (0x21, b"", 0),
    lambda iova, count: (1, b"", 0),
    lambda iova, count: (1, struct.pack("=QQ", iova, count), 0),
    lambda iova, count: (1, struct.pack("=QQ", iova, count - 1)
                         + b"x" * (count - 1), 0),
    lambda iova, count: (1, struct.pack("=QQ", iova, count)
                         + b"x" * (count + 1), 0)])
def test_a_wrong_answer_to_dma_fails_the_operation(device, reply):
    c = Client(device.path)
    c.put32(4, 6, region=7)
    c.dma_map(BASE, 4096)

    def answer(message):
        msg_id, command, _, _, payload = message
        flags, data, error = reply(*struct.unpack_from("=QQ", payload))
        c.send_raw(vu.HEADER.pack(msg_id, command, 16 + len(data), flags,
                                  error) + data)

    c.serve_dma = answer
    c.put64(vu.DMA_SRC, BASE)
    c.put64(vu.DMA_LENGTH, 4096)
    c.put32(vu.DMA_OP, vu.VERIFY)
    c.put32(vu.DMA_BELL, 1)
    while c.get32(vu.DMA_STATUS) == vu.BUSY:
        pass
    assert c.get32(vu.DMA_ERROR) == 4
    c.close()


def test_messages_respect_the_clients_limit(device):
    g = Guest(device, mapped=False, capabilities={"max_data_xfer_size": 600})
    assert g.run(vu.FILL, length=6000, seed=1) == (vu.DONE, 0)
    assert g.messages == 10
    assert g.read(0, 6000) == vu.pattern(1, 6000)
    g.close()


def test_mappings_with_odd_ends_are_crossed(device):
    c = Client(device.path)
    memory = bytearray(4096)

    def serve(is_write, iova, count, data):
        if is_write:
            memory[iova:iova + count] = data
            return b""
        return bytes(memory[iova:iova + count])

    c.on_dma = serve
    c.put32(4, 6, region=7)
    for at, size in ((0, 13), (13, 1), (14, 1003), (1017, 3079)):
        c.dma_map(at, size)
    for op in (vu.FILL, vu.VERIFY):
        c.put64(vu.DMA_LENGTH, 4096)
        c.put32(vu.DMA_OP, op)
        c.put32(vu.DMA_BELL, 1)
        while c.get32(vu.DMA_STATUS) == vu.BUSY:
            pass
        assert c.get32(vu.DMA_STATUS) == vu.DONE
    assert memory == vu.pattern(0, 4096)
    assert c.get64(vu.DMA_MISMATCHES) == 0
    c.close()


def test_memory_that_shrinks_under_the_device_is_an_error(device):
    g = Guest(device)
    os.ftruncate(g.fd, 4096)
    assert g.run(vu.FILL, length=MIB) == (vu.FAILED, 2)
    assert g.run(vu.VERIFY, src=8192, length=64) == (vu.FAILED, 2)
    assert g.run(vu.FILL, length=4096) == (vu.DONE, 0)
    g.close()


def test_map_and_unmap_follow_the_text(device):
    with Client(device.path) as c:
        c.dma_map(0, 8192)
        assert refused(c.dma_map, 4096, 8192) == errno.EEXIST
        assert refused(c.dma_map, 0, 8192) == errno.EEXIST
        assert refused(c.dma_map, 8192, 0) == errno.EINVAL
        assert refused(c.dma_map, 8192, 4096, None, 0, 0x13) == errno.EINVAL
        assert refused(c.dma_unmap, 0, 4096) == errno.ENOENT
        assert c.call(vu.DMA_UNMAP, struct.pack("=IIQQ", 24, 0, 0, 8192)) == \
            struct.pack("=IIQQ", 24, 0, 0, 8192)
        assert refused(c.dma_unmap, 0, 8192) == errno.ENOENT
        for at in range(10):
            c.dma_map(at * 4096, 4096)
        assert refused(c.dma_unmap, 4096, 0, 2) == errno.EINVAL
        assert refused(c.dma_unmap, 0, 4096, 2) == errno.EINVAL
        assert refused(c.dma_unmap, 0, 0, 3) == errno.EINVAL
        c.dma_unmap(0, 0, 2)
        c.dma_map(0, 1 << 40)


def test_unmap_can_report_dirty_pages(device):
    g = Guest(device, chunk=12288)
    g.client.log_start()
    g.run(vu.FILL, dst=4096, length=8192)
    reply = g.client.call(vu.DMA_UNMAP, struct.pack(
        "=IIQQQQ", 48, 1, BASE, 12288, 4096, 8))
    assert reply == struct.pack("=IIQQQQQ", 48, 1, BASE, 12288, 4096, 8, 6)
    assert refused(g.client.dma_unmap, BASE, 12288) == errno.ENOENT
    g.close()


def test_the_log_has_exactly_the_pages_written(guest):
    c = guest.client
    guest.run(vu.FILL, length=4096)
    assert refused(c.log_report, BASE, MIB) == errno.EINVAL
    assert c.log_start() == 4096
    assert c.log_report(BASE, MIB) == set()
    guest.run(vu.FILL, dst=3 * 4096 + 8, length=8)
    guest.run(vu.FILL, dst=100 * 4096 - 8, length=16)
    guest.run(vu.COPY, src=0, dst=200 * 4096, length=3 * 4096)
    guest.run(vu.VERIFY, src=150 * 4096, length=4096)
    assert c.log_report(BASE, MIB) == {3, 99, 100, 200, 201, 202}
    assert c.log_report(BASE, MIB) == set()
    c.log_stop()
    assert refused(c.log_report, BASE, MIB) == errno.EINVAL


@pytest.mark.parametrize("start_size", [4096, 65536, 1 << 21])
@pytest.mark.parametrize("report_size", [4096, 16384, 1 << 20])
def test_any_report_size_covers_what_was_written(device, start_size,
                                                 report_size):
    guest = Guest(device)
    c = guest.client
    assert c.log_start(start_size) == start_size
    written = (0, 17, 130, 255)
    for page in written:
        guest.run(vu.FILL, dst=page * 4096, length=4096)
    pages = c.log_report(BASE, MIB, report_size)
    coarse = max(start_size, report_size)
    assert pages == {
        n for n in range(-(-MIB // report_size))
        if any((BASE + n * report_size) // coarse
               <= (BASE + p * 4096) // coarse
               <= (BASE + min(MIB, (n + 1) * report_size) - 1) // coarse
               for p in written)}
    guest.close()


def test_a_large_log_page_is_reported_for_all_of_its_mapping(device):
    guest = Guest(device)
    guest.client.log_start(65536)
    guest.run(vu.FILL, dst=20 * 4096, length=8)
    assert guest.client.log_report(BASE, MIB) == set(range(16, 32))
    guest.close()
    guest = Guest(device, chunk=12288)
    guest.client.log_start(65536)
    guest.run(vu.FILL, dst=20 * 4096, length=8)
    assert guest.client.log_report(BASE, MIB) == {18, 19, 20}
    guest.close()


def test_only_the_ranges_of_start_are_logged(guest):
    guest.client.log_start(4096, [(BASE + 65536, 65536)])
    guest.run(vu.FILL, length=MIB)
    assert guest.client.log_report(BASE, MIB) == set(range(16, 32))


def test_a_report_may_cross_mappings_and_holes(device):
    c = Client(device.path)
    fd = os.memfd_create("guest")
    os.ftruncate(fd, MIB)
    c.put32(4, 6, region=7)
    c.dma_map(0, 8192, fd)
    c.dma_map(8192, 4096, fd, 8192)
    c.dma_map(65536, 65536, fd, 65536)
    c.log_start()
    for dst, length in ((4096, 8192), (65536, 65536)):
        c.put64(vu.DMA_DST, dst)
        c.put64(vu.DMA_LENGTH, length)
        c.put32(vu.DMA_OP, vu.FILL)
        c.put32(vu.DMA_BELL, 1)
        while c.get32(vu.DMA_STATUS) == vu.BUSY:
            pass
    assert c.log_report(4096, 65536) == {0, 1, 15}
    assert c.log_report(0, 1 << 20) == set(range(17, 32))
    assert refused(c.log_report, 1 << 30, 4096) == errno.ENOENT
    os.close(fd)
    c.close()


def test_logging_requests_that_cannot_be_are_refused(guest):
    c = guest.client
    for size in (0, 512, 3000):
        assert refused(c.log_start, size) == errno.EINVAL
    assert refused(c.log_start, 4096, [(0, 0)]) == errno.EINVAL
    assert refused(c.log_start, 4096, [(0, 8192), (4096, 4096)]) == \
        errno.EINVAL
    assert refused(c.feature, vu.SET | 6, struct.pack(
        "=QII", 4096, 3, 0) + b"\0" * 16) == errno.EINVAL
    assert refused(c.feature, vu.SET | 6, struct.pack(
        "=QII", 4096, 1 << 30, 0)) == errno.E2BIG
    c.log_start()
    assert refused(c.log_start) == errno.EBUSY
    for iova, length, page in ((BASE, 0, 4096), (BASE, MIB, 1000),
                               ((1 << 64) - 4096, 8192, 4096)):
        assert refused(c.log_report, iova, length, page) == errno.EINVAL
    assert refused(c.log_report, 0, 1 << 40) == errno.E2BIG


def test_no_page_written_while_saving_is_missed(device):
    """The proof that a migration needs: copy, then what the log says, until
    the device stands still; then the copy is the memory."""
    g = Guest(device, size=4 * MIB)
    c = g.client
    c.log_start()
    c.set_state(vu.PRE_COPY)
    g.begin(vu.RING, length=2 * MIB, seed=5, rate=200 * MIB)
    copy = bytearray(g.read(0, 4 * MIB))

    def update():
        pages = c.log_report(BASE, 4 * MIB)
        for n in pages:
            copy[n * 4096:(n + 1) * 4096] = g.read(n * 4096, 4096)
        return pages

    for i in range(20):
        g.await_sequence(i * 100)
        update()
    g.await_sequence(c.get64(vu.DMA_SEQUENCE) + 10)
    c.set_state(vu.STOP_COPY)
    assert update()
    assert not update()
    assert copy == g.read(0, 4 * MIB)
    check_ring(g, c.get64(vu.DMA_SEQUENCE), 512, 5)
    g.close()


def test_mappings_end_with_the_connection(device):
    g = Guest(device)
    g.begin(vu.RING, length=65536, rate=MIB)
    g.close()
    with Client(device.path) as c:
        sequence = c.get64(vu.DMA_SEQUENCE)
        for _ in range(50):
            assert c.get64(vu.DMA_SEQUENCE) == sequence
    g = Guest(device)
    g.await_sequence(sequence + 10)
    g.close()
