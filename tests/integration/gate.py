# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""Holds a program at a moment of one's choice without its knowing: where it says
the next line, or where it sends the next byte.

A gate is its standard error, a pipe that is filled but for the lines that it may
still say.  A jam is its socket, whose buffer is filled by somebody else.
"""
import ctypes
import fcntl
import os
import select
import socket
import struct
import termios
import time

DEADLINE = 30
PAGE = 4096
FILLER = "\0"

WRITE, PIDFD_GETFD = 1, 438


def wait_until(is_so, what):
    """Of what no descriptor tells."""
    end = time.monotonic() + DEADLINE
    while not is_so():
        assert time.monotonic() < end, what
        select.select([], [], [], 0.005)


class Gate:
    """Closed at once; the program may still say `room` bytes."""

    def __init__(self, run, room=""):
        self.run = run
        self.pid = run.process.pid
        reader = run.err.fd
        while self.unread(reader):
            run.err.read(time.monotonic() + DEADLINE, "what is there")
        fd = os.open(f"/proc/{self.pid}/fd/2", os.O_WRONLY | os.O_NONBLOCK)
        try:
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PAGE)
            os.write(fd, FILLER.encode() * (PAGE - len(room)))
        finally:
            os.close(fd)

    @staticmethod
    def unread(fd):
        return struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD,
                                              b"\0" * 4))[0]

    def is_reached(self):
        with open(f"/proc/{self.pid}/syscall", encoding="ascii") as f:
            return f.read().startswith(f"{WRITE} 0x2 ")

    def wait(self):
        """Until the program cannot say what it wants to."""
        wait_until(self.is_reached, f"{self.run.words}: not at the gate")

    def open(self):
        self.run.err.read(time.monotonic() + DEADLINE, "filler")
        self.run.err.text = self.run.err.text.replace(FILLER, "")


def socket_of(run, path):
    """Ours of the program's sockets the one that is connected with, or accepted
    at, the UNIX socket `path`."""
    pid = run.process.pid
    pidfd = os.pidfd_open(pid)
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            if not os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"):
                continue
            fd = libc.syscall(PIDFD_GETFD, pidfd, int(name), 0)
            assert fd >= 0, os.strerror(ctypes.get_errno())
            s = socket.socket(fileno=fd)
            try:
                if path in (s.getpeername(), s.getsockname()):
                    return s
            except OSError:
                pass  # one that listens
            s.close()
    finally:
        os.close(pidfd)
    raise AssertionError(f"no socket {path} in {run.words}")


def jam(run, path):
    """Nothing that the program sends there leaves it any more.  What fills the
    way is no message: whoever is to read on reads nonsense."""
    with socket_of(run, path) as s:
        for size in 65536, 1:
            while True:
                try:
                    s.send(b"\0" * size, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    break
