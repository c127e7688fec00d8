# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""Devices that stay while tools come and go, and a tool one of whose calls fails.

A device is made new for each run by a reset and a word of its own in its
registers, and asked by its report and its registers who owns what afterwards.
"""
import functools
import itertools
import os
import re
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

BUILD = Path(os.environ.get("VFMIG_BUILD", "build")).resolve()
os.environ["VFMIG_BUILD"] = str(BUILD)

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "integration"))

import vfio_user  # noqa: E402

VFMIG = str(BUILD / "tool" / "vfmig")
KERNEL = str(BUILD / "tests" / "faults" / "kernel")
DEVICE = str(BUILD / "emulator" / "vfmig-device")
FAIL = str(BUILD / "tests" / "faults" / "libfail.so")

# Reached only by what hangs.
DEADLINE = float(os.environ.get("FAULTS_DEADLINE", "30"))

COMMAND_REGISTER, BUS_MASTER = 4, 6
CONFIG_REGION, CONFIG_SIZE = 7, 64
HERE_SEED, THERE_SEED = 7, 2

# Short enough that a run in which something is lost is a short one.
KEYS = (",connect-timeout=2s,command-timeout=2s,state-timeout=2s,"
        "data-timeout=2s")


# What the devices do, or those who ask them, when a run has broken them.
BROKEN = (AssertionError, OSError, subprocess.TimeoutExpired, vfio_user.Closed,
          vfio_user.Refused)


class Side(vfio_user.Device):
    """A device, made new again and again."""

    def __init__(self, folder, name, seed, features, env=None):
        super().__init__(folder, "--size", "128K", "--dirty-size", "64K",
                         "--initial-size", "32K", "--seed", str(seed),
                         "--features", features, name=name, env=env)
        self.seed = seed
        self.word = f"vfio-user:{self.path}{KEYS}"
        self.mark = None

    def prepare(self, mark):
        """Reset, RUNNING, and told apart by `mark`."""
        with vfio_user.Client(self.path) as c:
            c.reset()
            c.put64(vfio_user.SCRATCH, mark)
            if self.seed == HERE_SEED:
                c.region_write(CONFIG_REGION, COMMAND_REGISTER,
                               struct.pack("=H", BUS_MASTER))
            self.config = c.region_read(CONFIG_REGION, 0, CONFIG_SIZE)
        self.mark = mark
        self.before = self.report()

    def look(self):
        return Look(self)


class Look:
    """What a device is and holds."""

    def __init__(self, side):
        told = side.report()
        self.state = told["state"]
        self.seed = told["memory_seed"]
        self.counter = told["counter"]
        self.resets = told["resets"] - side.before["resets"]
        self.loads = told["loads_accepted"] - side.before["loads_accepted"]
        with vfio_user.Client(side.path) as c:
            self.mark = c.get64(vfio_user.SCRATCH)
            self.config = c.region_read(CONFIG_REGION, 0, CONFIG_SIZE)
            self.word = c.get64(vfio_user.MEM_WORD)
            self.writes = told["memory_writes"]
        self.runs = self.state in ("RUNNING", "RUNNING_P2P", "PRE_COPY",
                                   "PRE_COPY_P2P")

    def holds(self, side):
        """What `side` was given to begin with."""
        return self.seed == side.seed and self.mark == side.mark and \
            self.counter >= side.before["counter"]

    def __repr__(self):
        return (f"{self.state}, seed {self.seed}, mark {self.mark:x}, "
                f"{self.resets} resets, {self.loads} loads, counter "
                f"{self.counter}")


# Set for a tool, and so for all that it starts, whatever its process group.
TAG = "VFMIG_FAULTS_RUN"


def tagged(tag):
    """The processes that have the tag: what was started for one run."""
    line = f"{TAG}={tag}\0".encode()
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as f:
                if line in f.read():
                    found.append(int(name))
        except OSError:
            pass
    return found


def preloaded(plan, log):
    """An environment in which what `plan` says fails; None: nothing does."""
    env = dict(os.environ, LC_ALL="C")
    if plan is None:
        return env
    log.unlink(missing_ok=True)
    env.update(LD_PRELOAD=FAIL, FAULT_LOG=str(log))
    # Where the sanitizer's library comes after ours.
    env["ASAN_OPTIONS"] = "verify_asan_link_order=0:" + \
        env.get("ASAN_OPTIONS", "")
    if plan:
        env["FAULT_PLAN"] = plan
    return env


def wait_for_end(pid):
    """Of a process that is not our child; its run's deadline ends it."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        select.select([fd], [], [], 2 * DEADLINE)
    finally:
        os.close(fd)


class Tool:
    """A run of vfmig; `plan` is what fails in it, "" if it is only counted.

    When its deadline has passed it is killed with all that it started, so that
    whoever waits for it, or for the end of what it writes, waits no longer."""

    numbers = itertools.count()

    def __init__(self, *words, plan=None, log=None, stdin=None, stdout=None,
                 program=VFMIG, fds=(), waits=False):
        self.tag = f"{os.getpid()}.{next(self.numbers)}"
        env = dict(preloaded(plan, log), **{TAG: self.tag})
        if waits:
            env["FAULT_WAITS"] = "1"
        self.log = log
        self.words = [program, *map(str, words)]
        self.process = subprocess.Popen(
            self.words, env=env, stdin=stdin or subprocess.DEVNULL,
            stdout=stdout or subprocess.PIPE, stderr=subprocess.PIPE,
            pass_fds=fds)
        self.hung = False
        self.watch = threading.Timer(DEADLINE, self.end)
        self.watch.daemon = True
        self.watch.start()

    def end(self):
        """It hangs, or what it started does."""
        self.hung = True
        for pid in tagged(self.tag):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def line(self):
        """Its first line on standard output; "" if it ends without."""
        return self.process.stdout.readline().decode()

    def finish(self):
        """Waits for it and, if it started others, for these."""
        self.out, err = self.process.communicate(timeout=2 * DEADLINE)
        for pid in tagged(self.tag):
            wait_for_end(pid)
        self.watch.cancel()
        self.err = err.decode(errors="replace")
        self.code = self.process.returncode
        return self

    def errors(self):
        """Its lines on standard error but for warnings."""
        return [line for line in self.err.splitlines()
                if not line.startswith("vfmig: warning: ")]

    def story(self):
        return f"{' '.join(self.words[:3])}...: exit {self.code}" \
               f"{' HUNG' if self.hung else ''}\n    " + \
               "\n    ".join(self.err.splitlines())


class Told:
    """The log of fail.c, read."""

    def __init__(self, path):
        self.struck, self.counts, self.leaks, self.ended = None, {}, [], False
        text = path.read_text() if path.exists() else ""
        for line in text.splitlines():
            word = line.split()
            if word[0] == "struck":
                self.struck = word[3]
            elif word[0] == "count":
                self.counts[word[1]] = int(word[2])
            elif word[0] == "leak":
                self.leaks.append((word[1], word[2], word[4]))
            elif word[0] == "end":
                self.ended = True


@functools.cache
def place(where, program=VFMIG):
    """A function and a line for what fail.c calls a place."""
    name, offset = where.split("+")
    path = {"program": program}.get(name)
    if name.startswith("libc.so"):
        return exported(name, int(offset, 16))
    if name.startswith("libvfmig"):
        path = str(BUILD / "src" / name)
    if path is None:
        return where
    address = hex(int(offset, 16) - 1)
    out = subprocess.run(["addr2line", "-fspe", path, address],
                         capture_output=True, text=True).stdout.strip()
    return re.sub(r"\(discriminator \d+\)|\S*/(?=\S+:\d)", "", out) or where


@functools.cache
def exports(name):
    """What the C library exports, by address."""
    with open("/proc/self/maps", encoding="utf-8") as f:
        path = next(line.split()[-1] for line in f if line.rstrip().endswith(
            "/" + name))
    out = subprocess.run(["nm", "-D", "--defined-only", path],
                         capture_output=True, text=True).stdout
    return sorted((int(words[0], 16), words[2].split("@")[0])
                  for words in map(str.split, out.splitlines())
                  if len(words) == 3)


def exported(name, offset):
    """The function of the C library before `offset`, as far as is known."""
    before = [s for at, s in exports(name) if at < offset]
    return f"{before[-1]} in {name}"


class Faulty(Side):
    """A device one of whose calls fails while the switch is on."""

    def __init__(self, folder, name, seed, features, plan):
        self.log = folder / f"{name}.log"
        self.switch = folder / f"{name}.switch"
        self.switch.write_bytes(b"\0")
        env = dict(preloaded(plan, self.log), FAULT_SWITCH=str(self.switch))
        super().__init__(folder, name, seed, features, env=env)

    def turn(self, on):
        # In place: it is mapped.
        with open(self.switch, "r+b") as f:
            f.write(b"\1" if on else b"\0")


class Gone:
    """A device whose process has ended holds nothing."""

    state, seed, counter, mark = "gone", 0, 0, 0
    resets = loads = 0
    config, runs = b"", False

    def holds(self, _side):
        return False

    def __repr__(self):
        return self.state


def dismiss(uri):
    """Ends a receiver that still waits at `uri`: its sender will not come."""
    import socket
    kind, _, address = uri.partition(":")
    try:
        if kind == "unix":
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(1)
            s.connect(address)
        else:
            host, _, port = address.rpartition(":")
            s = socket.create_connection((host.strip("[]"), int(port)), 1)
        s.close()
    except (OSError, ValueError):
        pass


def now():
    return time.monotonic()
