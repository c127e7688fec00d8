# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""The emulated device as a vfio-user server: what the protocol's text says of
messages, and what no client can do to it."""
import errno
import json
import mmap
import os
import random
import socket
import struct

import pytest

import vfio_user as vu
from vfio_user import Client, Refused, start  # pylint: disable=unused-import


def refused(call, *args, **named):
    """Calls; returns the errno it is refused with."""
    with pytest.raises(Refused) as info:
        call(*args, **named)
    assert info.value.payload == b"", "an error reply is a header only"
    return info.value.errno


@pytest.fixture(name="device")
def _device(start):
    return start("--size", "1M")


@pytest.fixture(name="client")
def _client(device):
    with Client(device.path) as c:
        yield c


def raw_version(client, data, major=0, minor=2):
    return client.call(vu.VERSION, struct.pack("=HH", major, minor) + data)


def test_the_reply_to_version_has_the_lower_minor(device):
    for minor, expected in ((0, 0), (1, 1), (2, 2), (9, 2)):
        with Client(device.path, negotiate=False) as c:
            assert c.negotiate(minor=minor)[:2] == (0, expected)


def test_another_major_is_refused_and_the_connection_ends(device):
    with Client(device.path, negotiate=False) as c:
        assert refused(c.negotiate, major=1) == errno.EINVAL
        assert c.is_closed()


def test_only_proposed_capabilities_are_answered(device):
    with Client(device.path, negotiate=False) as c:
        assert c.negotiate({"unknown": [1]})[2] == {}
    caps = {"max_msg_fds": 16, "max_data_xfer_size": 4096, "pgsizes": 4096,
            "max_dma_maps": 10, "write_multiple": True}
    with Client(device.path, negotiate=False) as c:
        assert c.negotiate(caps)[2] == {
            "max_msg_fds": 8, "max_data_xfer_size": 1 << 20, "pgsizes": 4096,
            "max_dma_maps": 65535, "write_multiple": True}


def test_the_reply_is_no_longer_than_a_full_proposal(device):
    caps = {"max_msg_fds": 16, "max_data_xfer_size": 1048576,
            "max_dma_maps": 65535, "pgsizes": 4096, "write_multiple": True,
            "migration": {"pgsize": 4096, "max_bitmap_size": 268435456}}
    text = json.dumps({"capabilities": caps}).encode() + b"\0"
    with Client(device.path, negotiate=False) as c:
        assert len(raw_version(c, text)) <= 4 + len(text)


def test_version_without_json_is_accepted(device):
    with Client(device.path, negotiate=False) as c:
        assert raw_version(c, b"")[:4] == struct.pack("=HH", 0, 2)
        assert c.state() == vu.RUNNING


@pytest.mark.parametrize("text", [
    b"{}", b"[]\0", b"{\0", b"nonsense\0", b"{\"a\":" * 20 + b"1" + b"}" * 20
    + b"\0", b"{\"capabilities\":{\"max_data_xfer_size\":0}}\0", b"\0",
    b"\xff\xfe\0", b"{\"capabilities\":null,\"x\":\"\\u0000\"}\0"])
def test_json_that_cannot_be_is_refused(device, text):
    with Client(device.path, negotiate=False) as c:
        assert refused(raw_version, c, text) == errno.EINVAL
        assert c.is_closed()


@pytest.mark.parametrize("text", [
    b"{\"capabilities\":[]}\0", b"{\"capabilities\":{\"twin_socket\":1}}\0",
    b"{\"capabilities\":null}\0"])
def test_json_of_unexpected_types_is_survived(device, text):
    with Client(device.path, negotiate=False) as c:
        raw_version(c, text)
        assert c.state() == vu.RUNNING


def test_version_comes_first_and_once(device):
    with Client(device.path, negotiate=False) as c:
        assert refused(c.device_info) == errno.EINVAL
        c.negotiate()
        assert refused(c.negotiate) == errno.EINVAL


def test_a_message_may_arrive_byte_by_byte(client):
    message = vu.HEADER.pack(77, vu.GET_INFO, 32, 0, 0) + \
        struct.pack("=IIII", 16, 0, 0, 0)
    for i in range(len(message)):
        client.send_raw(message[i:i + 1])
    assert client.receive()[0] == 77


def test_replies_may_be_sent_byte_by_byte(start):
    with Client(start("--split", "1").path) as c:
        assert c.device_info() == (3, 9, 5)
        assert len(c.region_read(7, 0, 256)) == 256


def test_commands_in_one_packet_are_answered_in_order(client):
    info = struct.pack("=IIII", 16, 0, 0, 0)
    packet = b"".join(vu.HEADER.pack(i, vu.GET_INFO, 32, 0, 0) + info
                      for i in range(500))
    client.send_raw(packet)
    for i in range(500):
        assert client.receive()[0] == i


def test_a_client_that_does_not_read_is_not_read_from_for_ever(device):
    with Client(device.path) as c:
        c.socket.setblocking(False)
        request = vu.HEADER.pack(1, vu.REGION_READ, 32, 0, 0) + \
            struct.pack("=QII", 0, 0, 65536)
        sent = 0
        with pytest.raises(BlockingIOError):
            while sent < 1 << 30:
                sent += c.socket.send(request * 64)
        with open("/proc/%d/status" % device.process.pid,
                  encoding="ascii") as f:
            status = dict(line.split(":", 1) for line in f)
        assert int(status["VmRSS"].split()[0]) < 64 << 10
    # Another client is served at once.
    with Client(device.path) as c:
        assert c.state() == vu.RUNNING


@pytest.mark.parametrize("size", [0, 15, (1 << 20) + 33, 0xffffffff])
def test_a_size_that_cannot_be_ends_the_connection(device, size):
    with Client(device.path) as c:
        c.send(vu.GET_INFO, b"", msg_id=5, size=size)
        assert c.receive()[:4] == (5, vu.GET_INFO, 0x21, errno.EINVAL)
        assert c.is_closed()
    with Client(device.path) as c:
        assert c.state() == vu.RUNNING


@pytest.mark.parametrize("command", [0, 11, 12, 14, 20, 255, 65535])
def test_an_unknown_command_is_refused_and_skipped(client, command):
    assert refused(client.call, command, b"x" * 100) == errno.EINVAL
    assert client.state() == vu.RUNNING


@pytest.mark.parametrize("command", [n for n in range(2, 20) if n not in
                                     (11, 12, 13, 14, 19)])
def test_a_payload_too_short_is_refused(client, command):
    assert refused(client.call, command, b"\0" * 4) == errno.EINVAL
    assert client.state() == vu.RUNNING


def test_a_command_without_reply_gets_none(client):
    client.send(vu.REGION_WRITE, struct.pack("=QIIQ", vu.SCRATCH, 0, 8, 99),
                flags=0x10)
    client.send(99, b"", flags=0x10)
    assert client.get64(vu.SCRATCH) == 99


def test_a_reply_that_nobody_asked_for_is_ignored(client):
    client.send(vu.DMA_READ, b"\0" * 32, flags=1)
    client.send(vu.DMA_WRITE, b"", flags=0x21)
    assert client.state() == vu.RUNNING


def test_device_info_wants_room(client):
    assert client.device_info() == (3, 9, 5)
    assert refused(client.call, vu.GET_INFO,
                   struct.pack("=IIII", 15, 0, 0, 0)) == errno.EINVAL


def test_regions_are_the_documented_ones(client):
    sizes = [client.region_info(i)[0][4] for i in range(9)]
    assert sizes == [65536, 0, 65536, 0, 65536, 0, 0, 4096, 0]
    assert refused(client.region_info, 9) == errno.EINVAL
    assert refused(client.region_info, 0, 31) == errno.EINVAL


def test_the_mappable_region_comes_in_two_steps(client):
    (argsz, flags, _, cap, size, offset), reply = client.region_info(2)
    assert (argsz, flags, cap, len(reply)) == (64, 15, 0, 32)
    assert client.take_fds() == []
    (argsz, flags, _, cap, size, offset), reply = client.region_info(2, argsz)
    assert (len(reply), cap, flags) == (64, 32, 15)
    assert struct.unpack_from("=HHIIIQQ", reply, cap) == \
        (1, 1, 0, 1, 0, 4096, 61440)
    fd, = client.take_fds()
    with mmap.mmap(fd, size - 4096, offset=offset + 4096) as m:
        m[:5] = b"hello"
        assert client.region_read(2, 4096, 5) == b"hello"
        client.region_write(2, 65535, b"!")
        assert m[61439:] == b"!"
    # Nor can the client take the memory away.
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    os.close(fd)


def test_accesses_outside_a_region_are_refused(client):
    for region, offset, count in ((0, 65536, 1), (0, 65535, 2), (1, 0, 1),
                                  (7, 4096, 1), (7, 4095, 2), (9, 0, 1),
                                  (0, (1 << 64) - 1, 2), (0, 0, 0),
                                  (2, 0, 0x7fffffff), (0xffffffff, 0, 4)):
        assert refused(client.region_read, region, offset, count) == \
            errno.EINVAL
        assert refused(client.call, vu.REGION_WRITE, struct.pack(
            "=QII", offset, region, count) + b"x" * min(count, 8)) == \
            errno.EINVAL


def test_more_than_the_clients_limit_is_not_sent(device):
    with Client(device.path,
                capabilities={"max_data_xfer_size": 1024}) as c:
        assert len(c.region_read(0, 0, 1024)) == 1024
        assert refused(c.region_read, 0, 0, 1025) == errno.EINVAL
        c.set_state(vu.STOP_COPY)
        assert len(c.read_data(1024)) == 1024
        assert refused(c.read_data, 1025) == errno.EINVAL


def test_registers_keep_what_is_written_and_only_they(client):
    client.put64(vu.SCRATCH, 0x1122334455667788)
    client.put32(vu.SCRATCH + 12, 0xaabbccdd)
    assert client.get64(vu.SCRATCH) == 0x1122334455667788
    assert client.get64(vu.SCRATCH + 8) == 0xaabbccdd00000000
    assert client.region_read(0, vu.SCRATCH + 3, 7) == \
        bytes.fromhex("55443322110000")
    client.put32(vu.MAGIC, 0)
    assert client.region_read(0, vu.MAGIC, 4) == b"VMED"
    client.region_write(0, 0x4000, b"x" * 64)
    assert client.region_read(0, 0x4000, 64) == b"\0" * 64


def test_several_writes_in_one_message(client):
    def one(offset, value, count=8, region=0):
        return struct.pack("=QIIQ", offset, region, count, value)

    reply = client.call(vu.REGION_WRITE_MULTI, struct.pack("=Q", 2) +
                        one(vu.SCRATCH, 5) + one(vu.SCRATCH + 8, 6))
    assert reply == struct.pack("=Q", 2)
    assert client.region_read(0, vu.SCRATCH, 16) == struct.pack("=QQ", 5, 6)
    reply = client.call(vu.REGION_WRITE_MULTI, struct.pack("=Q", 3) +
                        one(vu.SCRATCH, 7) + one(vu.SCRATCH, 8, region=1) +
                        one(vu.SCRATCH, 9))
    assert reply == struct.pack("=Q", 1)
    assert client.get64(vu.SCRATCH) == 7
    for count in (0xffffffffffffffff, 2, 1 << 60):
        assert refused(client.call, vu.REGION_WRITE_MULTI, struct.pack(
            "=Q", count) + one(vu.SCRATCH, 1)) == errno.EINVAL


def test_interrupt_counts_and_region_descriptors(client):
    assert [client.irq_count(i) for i in range(5)] == [1, 8, 8, 1, 1]
    assert refused(client.irq_count, 5) == errno.EINVAL
    assert client.call(vu.GET_REGION_IO_FDS, struct.pack(
        "=IIII", 16, 0, 0, 0)) == struct.pack("=IIII", 16, 0, 0, 0)
    assert refused(client.call, vu.GET_REGION_IO_FDS, struct.pack(
        "=IIII", 16, 0, 9, 0)) == errno.EINVAL


def test_a_full_set_of_vectors_is_assigned_in_slices(start):
    with Client(start("--vectors", "2048").path) as c:
        fds = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(64)]
        for first in range(0, 2048, 8):
            c.set_irqs(2, 0x24, first, 8,
                       [fds[(first + i) % 64] for i in range(8)])
        c.put32(vu.IRQ_ENABLE, 4)
        for vector in (0, 777, 2047):
            c.put32(vu.IRQ_VECTOR, vector)
            c.put32(vu.IRQ_RAISE, 4)
            assert os.eventfd_read(fds[vector % 64]) == 1
        assert c.get64(vu.IRQ_SENT) == 3
        c.set_irqs(2, 0x21, 0, 0)
        c.put32(vu.IRQ_RAISE, 4)
        with pytest.raises(BlockingIOError):
            os.eventfd_read(fds[2047 % 64])
        for fd in fds:
            os.close(fd)


def test_interrupts_fall_back_to_msi_and_intx(client):
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    client.put32(vu.IRQ_ENABLE, 4)
    client.put32(vu.IRQ_VECTOR, 5)
    for index, vector in ((0, 0), (1, 5), (2, 5)):
        client.set_irqs(index, 0x24, vector, 1, [fd])
        client.put32(vu.IRQ_RAISE, 4)
        assert os.eventfd_read(fd) == 1
    os.close(fd)


def test_pending_bits_show_masked_vectors(client):
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    client.set_irqs(2, 0x24, 3, 1, [fd])
    client.set_irqs(2, 0x09, 3, 1)
    client.put32(vu.IRQ_ENABLE, 4)
    client.put32(vu.IRQ_VECTOR, 3)
    client.put32(vu.IRQ_RAISE, 4)
    assert client.region_read(4, 0x8000, 1) == b"\x08"
    client.set_irqs(2, 0x11, 3, 1)
    assert os.eventfd_read(fd) == 1
    assert client.region_read(4, 0x8000, 1) == b"\0"
    os.close(fd)


def test_no_descriptor_is_left_behind(device):
    def count():
        return len(os.listdir("/proc/%d/fd" % device.process.pid))

    with Client(device.path) as c:
        before = count()
        fd = os.eventfd(0)
        memory = os.memfd_create("m")
        os.ftruncate(memory, 8192)
        # Too many, unwanted, of the wrong kind, for a refused command.
        for command, payload, fds in (
                (vu.GET_INFO, struct.pack("=IIII", 16, 0, 0, 0), [fd] * 3),
                (vu.GET_INFO, struct.pack("=IIII", 16, 0, 0, 0), [fd] * 40),
                (vu.DMA_MAP, struct.pack("=IIQQQ", 32, 3, 0, 0, 4096),
                 [memory] * 2),
                (vu.DMA_MAP, struct.pack("=IIQQQ", 32, 9, 0, 0, 4096),
                 [memory]),
                (vu.DMA_MAP, b"", [memory]),
                (vu.SET_IRQS, struct.pack("=IIIII", 20, 0x24, 2, 0, 2),
                 [fd]),
                (vu.SET_IRQS, struct.pack("=IIIII", 20, 0x24, 2, 0, 1),
                 [memory]),
                (99, b"", [fd])):
            msg_id = c.send(command, payload, fds)
            assert c.receive()[0] == msg_id
        assert count() == before
        c.set_irqs(2, 0x24, 0, 1, [fd])
        c.dma_map(0, 4096, memory)
        assert count() == before + 1  # a mapping keeps its file by itself
        os.close(fd)
        os.close(memory)
    with Client(device.path) as c:
        assert c.state() == vu.RUNNING
        assert count() == before


def test_the_twin_socket_carries_dma_messages(device):
    caps = {"twin_socket": {"supported": True}}
    with Client(device.path, capabilities=caps) as c:
        assert c.version[2]["twin_socket"] == {"supported": True,
                                               "fd_index": 0}
        memory = bytearray(4096)

        def on_dma(is_write, iova, count, data):
            assert is_write
            memory[iova:iova + count] = data

        c.twin.on_dma = on_dma
        c.dma_map(0, 4096)
        c.put32(4, 6, region=7)
        c.put64(vu.DMA_LENGTH, 4096)
        c.put64(vu.DMA_SEED, 5)
        c.put32(vu.DMA_OP, vu.FILL)
        c.put32(vu.DMA_BELL, 1)
        c.twin.serve_dma(c.twin.receive())
        while c.get32(vu.DMA_STATUS) == vu.BUSY:
            pass
        assert memory == vu.pattern(5, 4096)


def test_random_bytes_do_it_no_harm(device):
    rng = random.Random(4)
    for _ in range(60):
        with Client(device.path, negotiate=rng.random() < 0.8) as c:
            for _ in range(40):
                size = rng.choice((16, 20, 24, 32, 48, 64, 200))
                payload = bytes(rng.choice((0, 1, 2, 3, 4, 8, 16, 255))
                                for _ in range(size - 16))
                try:
                    c.send(rng.randrange(0, 21), payload)
                except (BrokenPipeError, ConnectionResetError):
                    break
    with Client(device.path) as c:
        c.reset()
        assert c.state() == vu.RUNNING


def test_half_a_message_and_a_hang_up_do_it_no_harm(device):
    message = vu.HEADER.pack(1, vu.REGION_WRITE, 4096, 0, 0) + b"x" * 100
    for cut in (1, 15, 16, 40, len(message)):
        with Client(device.path) as c:
            c.send_raw(message[:cut])
    with Client(device.path) as c:
        c.socket.shutdown(socket.SHUT_WR)
        assert c.is_closed()
    with Client(device.path) as c:
        assert c.state() == vu.RUNNING
