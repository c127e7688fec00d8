# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""A small vfio-user client, and a way to start the emulated device.

Written from the protocol's text for black-box tests; it shares nothing with
the library.  Everything that waits has a deadline.
"""
import array
import errno
import json
import os
import select
import signal
import socket
import struct
import subprocess

import pytest

DEADLINE = 20.0

(VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, GET_REGION_INFO, GET_REGION_IO_FDS,
 GET_IRQ_INFO, SET_IRQS, REGION_READ, REGION_WRITE, DMA_READ, DMA_WRITE,
 RESET) = range(1, 14)
REGION_WRITE_MULTI, FEATURE, DATA_READ, DATA_WRITE, PRECOPY_INFO = range(15, 20)
AREA_SET, AREA_READ, AREA_WRITE = range(64, 67)

ERROR, STOP, RUNNING, STOP_COPY, RESUMING, RUNNING_P2P, PRE_COPY, \
    PRE_COPY_P2P = range(8)

GET, SET, PROBE = 1 << 16, 1 << 17, 1 << 18
F_MIGRATION, F_STATE, F_LOG_START, F_LOG_STOP, F_LOG_REPORT, F_SIZE = \
    1, 2, 6, 7, 8, 9
F_PRECOPY_V2 = 12

HEADER = struct.Struct("=HHIII")


class Refused(Exception):
    """The device answered with an error."""

    def __init__(self, number, payload=b""):
        super().__init__(errno.errorcode.get(number, str(number)))
        self.errno = number
        self.payload = payload


class Closed(Exception):
    """The device hung up."""


def device_program():
    build = os.environ.get("VFMIG_BUILD")
    if build is None:
        return "vfmig-device"
    return os.path.join(build, "emulator", "vfmig-device")


class Device:
    """A running vfmig-device."""

    always = []  # options that all have

    def __init__(self, directory, *options, name="dev", env=None):
        self.path = os.path.join(str(directory), name + ".sock")
        self.report_path = os.path.join(str(directory), name + ".json")
        self.process = subprocess.Popen(
            [device_program(), "--socket", self.path, "--report",
             self.report_path, *self.always, *options], env=env,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.line()
        assert line == "listening on %s\n" % self.path, \
            (line, self.process.stderr.read())

    def line(self):
        ready, _, _ = select.select([self.process.stdout], [], [], DEADLINE)
        assert ready, "the device printed nothing in time"
        return self.process.stdout.readline()

    def stop(self, number=signal.SIGTERM):
        """Ends it; returns its report."""
        self.process.send_signal(number)
        _, self.errors = self.process.communicate(timeout=DEADLINE)
        assert self.process.returncode == 0, self.errors
        with open(self.report_path, encoding="utf-8") as f:
            return json.load(f)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=DEADLINE)

    def report(self):
        """Its report, while it runs."""
        self.process.send_signal(signal.SIGUSR1)
        line = self.line()
        assert line == "reported\n", line
        with open(self.report_path, encoding="utf-8") as f:
            return json.load(f)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


@pytest.fixture
def start(tmp_path):
    """Starts devices that end with the test."""
    running = []

    def go(*options):
        device = Device(tmp_path, *options, name="dev%d" % len(running))
        running.append(device)
        return device

    yield go
    # A sanitizer that found something makes it fail here.
    for device in running:
        if device.process.poll() is None:
            device.stop()


class Client:
    """A connection to a device."""

    def __init__(self, address, negotiate=True, capabilities=None):
        if isinstance(address, socket.socket):
            self.socket = address
        else:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.settimeout(DEADLINE)
            self.socket.connect(address)
        self.socket.settimeout(DEADLINE)
        self.twin = None
        self.buffer = b""
        self.fds = []
        self.next_id = 1
        self.on_dma = None
        if negotiate:
            self.version = self.negotiate(capabilities)

    def close(self):
        self.socket.close()
        if self.twin is not None:
            self.twin.socket.close()
        for fd in self.fds:
            os.close(fd)
        self.fds = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # Messages.

    def send_raw(self, data, fds=()):
        if fds:
            n = self.socket.sendmsg(
                [data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                          array.array("i", fds))])
            data = data[n:]
        if data:
            self.socket.sendall(data)

    def send(self, command, payload=b"", fds=(), flags=0, msg_id=None,
             size=None):
        if msg_id is None:
            msg_id = self.next_id
            self.next_id = (self.next_id + 1) & 0xffff
        if size is None:
            size = HEADER.size + len(payload)
        self.send_raw(HEADER.pack(msg_id, command, size, flags, 0) + payload,
                      fds)
        return msg_id

    def _more(self):
        data, ancillary, _, _ = self.socket.recvmsg(
            1 << 16, socket.CMSG_SPACE(64 * 4))
        for level, kind, raw in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds = array.array("i")
                fds.frombytes(raw[:len(raw) - len(raw) % fds.itemsize])
                self.fds.extend(fds)
        if not data:
            raise Closed()
        self.buffer += data

    def receive(self):
        """The next message: (id, command, flags, error, payload)."""
        try:
            while len(self.buffer) < HEADER.size:
                self._more()
            msg_id, command, size, flags, error = HEADER.unpack_from(
                self.buffer)
            while len(self.buffer) < size:
                self._more()
        except (ConnectionResetError, BrokenPipeError) as e:
            raise Closed() from e
        payload = self.buffer[HEADER.size:size]
        self.buffer = self.buffer[size:]
        return msg_id, command, flags, error, payload

    def is_closed(self):
        """Does the device hang up without another message?"""
        try:
            self.receive()
        except Closed:
            return True
        return False

    def take_fds(self):
        fds, self.fds = self.fds, []
        return fds

    def wait(self, msg_id, command):
        while True:
            got = self.receive()
            if got[2] & 0xf == 0:
                self.serve_dma(got)
                continue
            assert (got[0], got[1]) == (msg_id, command), got
            if got[2] & 0x20:
                raise Refused(got[3], got[4])
            return got[4]

    def call(self, command, payload=b"", fds=()):
        return self.wait(self.send(command, payload, fds), command)

    def serve_dma(self, message):
        """Answers a DMA_READ or DMA_WRITE with self.on_dma(is_write, iova,
        count, data), which returns what was read."""
        msg_id, command, _, _, payload = message
        iova, count = struct.unpack_from("=QQ", payload)
        assert self.on_dma is not None, "unexpected DMA message"
        data = self.on_dma(command == DMA_WRITE, iova, count, payload[16:])
        reply = struct.pack("=QQ", iova, count) + (data or b"")
        self.send_raw(HEADER.pack(msg_id, command, HEADER.size + len(reply),
                                  1, 0) + reply)

    # Commands.

    def negotiate(self, capabilities=None, major=0, minor=2):
        if capabilities is None:
            capabilities = {"max_msg_fds": 8, "max_data_xfer_size": 1 << 20}
        text = json.dumps({"capabilities": capabilities}).encode() + b"\0"
        reply = self.call(VERSION, struct.pack("=HH", major, minor) + text)
        major, minor = struct.unpack_from("=HH", reply)
        assert reply.endswith(b"\0")
        caps = json.loads(reply[4:-1])["capabilities"]
        if "twin_socket" in caps:
            fds = self.take_fds()
            twin = socket.socket(fileno=fds[caps["twin_socket"]["fd_index"]])
            self.twin = Client(twin, negotiate=False)
        return major, minor, caps

    def feature(self, flags, data=b"", room=1 << 20):
        return self.call(FEATURE, struct.pack("=II", 8 + room, flags)
                         + data)[8:]

    def state(self):
        return struct.unpack("=II", self.feature(GET | F_STATE))[0]

    def set_state(self, state):
        self.feature(SET | F_STATE, struct.pack("=II", state, 0xffffffff))

    def data_size(self):
        return struct.unpack("=Q", self.feature(GET | F_SIZE))[0]

    def precopy_info(self):
        """(flags, initial bytes, dirty bytes)"""
        return struct.unpack("=IIQQ", self.call(
            PRECOPY_INFO, struct.pack("=IIQQ", 24, 0, 0, 0)))[1:]

    def read_data(self, size=1 << 20):
        reply = self.call(DATA_READ, struct.pack("=II", 8 + size, size))
        argsz, n = struct.unpack_from("=II", reply)
        assert argsz == 8 + n and n <= len(reply) - 8
        return reply[8:8 + n]

    def write_data(self, data):
        self.call(DATA_WRITE, struct.pack("=II", 8 + len(data), len(data))
                  + data)

    def area_set(self, fd, size, argsz=16, flags=0):
        self.call(AREA_SET, struct.pack("=IIQ", argsz, flags, size), [fd])

    def area_read(self, size, offset, argsz=None):
        """How many bytes the device put there."""
        reply = self.call(AREA_READ, struct.pack(
            "=IIQ", 16 + size if argsz is None else argsz, size, offset))
        argsz, n, at = struct.unpack("=IIQ", reply)
        assert argsz == 16 + n and n <= size and at == offset
        return n

    def area_write(self, size, offset, argsz=None):
        assert self.call(AREA_WRITE, struct.pack(
            "=IIQ", 16 + size if argsz is None else argsz, size,
            offset)) == b""

    def read_all(self, size=1 << 20):
        parts = []
        while True:
            part = self.read_data(size)
            if not part:
                return b"".join(parts)
            parts.append(part)

    def write_all(self, data, size=32768):
        for i in range(0, len(data), size):
            self.write_data(data[i:i + size])

    def save(self, size=1 << 20):
        """The whole state, with the device stopped."""
        self.set_state(STOP_COPY)
        return self.read_all(size)

    def load(self, data, size=32768):
        self.set_state(RESUMING)
        self.write_all(data, size)
        self.set_state(STOP)

    def reset(self):
        self.call(RESET)

    def device_info(self):
        """(flags, regions, interrupt kinds)"""
        return struct.unpack("=IIII", self.call(
            GET_INFO, struct.pack("=IIII", 16, 0, 0, 0)))[1:]

    def region_info(self, index, room=32):
        """(argsz, flags, index, cap offset, size, offset), raw reply"""
        reply = self.call(GET_REGION_INFO, struct.pack(
            "=IIIIQQ", room, 0, index, 0, 0, 0))
        return struct.unpack_from("=IIIIQQ", reply), reply

    def irq_count(self, index):
        return struct.unpack("=IIII", self.call(
            GET_IRQ_INFO, struct.pack("=IIII", 16, 0, index, 0)))[3]

    def set_irqs(self, index, flags, start, count, fds=(), data=b""):
        self.call(SET_IRQS, struct.pack("=IIIII", 20 + len(data), flags,
                                        index, start, count) + data, fds)

    def region_read(self, region, offset, count):
        reply = self.call(REGION_READ, struct.pack("=QII", offset, region,
                                                   count))
        assert struct.unpack_from("=QII", reply) == (offset, region, count)
        assert len(reply) == 16 + count
        return reply[16:]

    def region_write(self, region, offset, data):
        self.call(REGION_WRITE, struct.pack("=QII", offset, region, len(data))
                  + data)

    def get32(self, offset, region=0):
        return struct.unpack("=I", self.region_read(region, offset, 4))[0]

    def get64(self, offset, region=0):
        return struct.unpack("=Q", self.region_read(region, offset, 8))[0]

    def put32(self, offset, value, region=0):
        self.region_write(region, offset, struct.pack("=I", value))

    def put64(self, offset, value, region=0):
        self.region_write(region, offset, struct.pack("=Q", value))

    def dma_map(self, iova, size, fd=None, offset=0, flags=3):
        self.call(DMA_MAP, struct.pack("=IIQQQ", 32, flags, offset, iova,
                                       size), () if fd is None else (fd,))

    def dma_unmap(self, iova, size, flags=0):
        self.call(DMA_UNMAP, struct.pack("=IIQQ", 24, flags, iova, size))

    def log_start(self, page_size=4096, ranges=()):
        data = struct.pack("=QII", page_size, len(ranges), 0)
        for iova, length in ranges:
            data += struct.pack("=QQ", iova, length)
        return struct.unpack_from("=Q", self.feature(SET | F_LOG_START,
                                                     data))[0]

    def log_stop(self):
        self.feature(SET | F_LOG_STOP)

    def log_report(self, iova, length, page_size=4096):
        """The numbers of the dirty pages."""
        reply = self.feature(GET | F_LOG_REPORT, struct.pack(
            "=QQQ", iova, length, page_size))
        pages = -(-length // page_size)
        bitmap = reply[24:]
        assert len(bitmap) == -(-pages // 64) * 8
        bits = int.from_bytes(bitmap, "little")
        assert bits >> pages == 0
        return {n for n in range(pages) if bits >> n & 1}


# The device's registers (emulator/registers.h).
MAGIC, COUNTER, COUNTER_HZ = 0x000, 0x010, 0x018
MEM_SIZE, MEM_SEED, MEM_HOT, MEM_RATE, MEM_WRITES, MEM_PAGE, MEM_WORD = \
    0x020, 0x028, 0x030, 0x038, 0x040, 0x048, 0x050
SCRATCH = 0x080
IRQ_CAUSE, IRQ_ENABLE, IRQ_VECTOR, IRQ_RAISE, IRQ_SENT = \
    0x100, 0x104, 0x108, 0x10c, 0x110
DMA_SRC, DMA_DST, DMA_LENGTH, DMA_SEED, DMA_OP, DMA_BELL, DMA_STATUS, \
    DMA_ERROR = 0x200, 0x208, 0x210, 0x218, 0x220, 0x224, 0x228, 0x22c
DMA_DONE_BYTES, DMA_MISMATCHES, DMA_COMPLETED, DMA_FAILED, DMA_RATE, \
    DMA_SEQUENCE = 0x230, 0x238, 0x240, 0x248, 0x250, 0x258
FILL, COPY, VERIFY, RING = 1, 2, 3, 4
IDLE, BUSY, DONE, FAILED = 0, 1, 2, 3

STEP = 0x9e3779b97f4a7c15
MASK = (1 << 64) - 1


def mix(x):
    x ^= x >> 30
    x = x * 0xbf58476d1ce4e5b9 & MASK
    x ^= x >> 27
    x = x * 0x94d049bb133111eb & MASK
    return x ^ x >> 31


def page_words(seed, page, generation=0):
    x = mix((seed + STEP) & MASK)
    x = mix(x ^ (page + 1) * STEP & MASK)
    base = mix((x + generation * 0xd1b54a32d192ed03) & MASK)
    return [(base + i * STEP) & MASK for i in range(512)]


def pattern(seed, size, page=0):
    """What the DMA engine writes."""
    parts = []
    while size > 0:
        parts.append(struct.pack("=512Q", *page_words(seed, page))[:size])
        size -= 4096
        page += 1
    return b"".join(parts)
