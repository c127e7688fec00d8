# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""The real programs, for tests that run them against each other.

Nothing here sleeps: a device is up when it has said so, and everything that is
waited for has a deadline.  VFMIG_BUILD is the build folder.
"""
import json
import os
import select
import signal
import subprocess
import time
from pathlib import Path

BUILD = Path(os.environ.get("VFMIG_BUILD", "build")).resolve()
VFMIG = str(BUILD / "tool" / "vfmig")
VFMIG_DEVICE = str(BUILD / "emulator" / "vfmig-device")

# Long enough for a sanitizer build on a busy machine; nothing takes as long
# unless it hangs.
DEADLINE = 60

# Whoever started the tests in the background may have some signals ignored, and
# programs leave those that are ignored alone.
for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT:
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)

KIB = 1 << 10
MIB = 1 << 20


class Lines:
    """Reads a pipe line by line, with a deadline."""

    def __init__(self, pipe):
        self.fd = pipe.fileno()
        self.text = ""

    def wait_for(self, start, seconds=DEADLINE):
        """Returns what follows `start` in the first line that has it first."""
        end = time.monotonic() + seconds
        while True:
            for line in self.text.splitlines(keepends=True):
                if line.startswith(start) and line.endswith("\n"):
                    return line[len(start):].strip()
            self.read(end, start)

    def wait_for_count(self, line, count, seconds=DEADLINE):
        """Until `line` was there `count` times."""
        end = time.monotonic() + seconds
        while self.text.splitlines(keepends=True).count(line) < count:
            self.read(end, line)

    def read(self, end, what):
        """Reads what comes until then; `what` is waited for."""
        if not select.select([self.fd], [], [],
                             max(0, end - time.monotonic()))[0]:
            raise TimeoutError(f"no line '{what}...' in {self.text!r}")
        data = os.read(self.fd, 65536)
        if not data:
            raise EOFError(f"no line '{what}...' in {self.text!r}")
        self.text += data.decode(errors="replace")


class Program:
    """A program that runs while the test does something else."""

    def __init__(self, *words, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        self.process = subprocess.Popen([str(w) for w in words], **options)
        self.out = Lines(self.process.stdout) if self.process.stdout else None
        self.err = Lines(self.process.stderr) if self.process.stderr else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def signal(self, number):
        self.process.send_signal(number)

    def finish(self, seconds=DEADLINE):
        """Waits for its end; returns it with .code, .stdout and .stderr."""
        out, err = self.process.communicate(timeout=seconds)
        self.stdout = (self.out.text if self.out else "") + \
            (out or b"").decode(errors="replace")
        self.stderr = (self.err.text if self.err else "") + \
            (err or b"").decode(errors="replace")
        self.code = self.process.returncode
        return self

    def json(self):
        return json.loads(self.stdout)


class Device(Program):
    """An emulated device, up when the constructor returns."""

    def __init__(self, folder, name="device", *words):
        self.path = Path(folder) / f"{name}.sock"
        self.word = f"vfio-user:{self.path}"
        if "--size" not in words:
            words += ("--size", "1M")
        super().__init__(VFMIG_DEVICE, "--socket", self.path, *words)
        try:
            self.out.wait_for("listening on ")
        except (EOFError, TimeoutError):
            self.__exit__()
            raise

    def __exit__(self, *_):
        """A device that did not end in good order fails the test."""
        self.signal(signal.SIGTERM)
        try:
            self.finish()
        finally:
            super().__exit__()
        assert self.code == 0, self.stderr

    def state(self):
        return vfmig("state", "-d", self.word).ok().stdout.strip()

    def set_state(self, *words):
        vfmig("state", "-d", self.word, *words).ok()

    def probe(self):
        return vfmig("probe", "-d", self.word, "--json").ok().json()


def wait_for_steps(device, path):
    """Until the device has changed its state: each look is an answer of it."""
    end = time.monotonic() + DEADLINE
    looks = 0
    while time.monotonic() < end:
        device.signal(signal.SIGUSR1)
        looks += 1
        device.out.wait_for_count("reported\n", looks)
        if json.loads(path.read_text())["num_steps"] > 0:
            return
    raise TimeoutError("the device stays where it is")


class Run(Program):
    """A run of vfmig."""

    def __init__(self, *words, **options):
        super().__init__(VFMIG, *words, **options)
        self.words = words

    def ok(self):
        return self.exits(0)

    def exits(self, code):
        assert self.code == code, \
            f"{self.words}: exit {self.code}\n{self.stdout}\n{self.stderr}"
        return self

    def error(self):
        """Its last line of standard error, which must be an error's."""
        line = self.stderr.strip().splitlines()[-1]
        assert line.startswith("vfmig: "), self.stderr
        return line


def vfmig(*words, seconds=DEADLINE, **options):
    """Runs vfmig to its end."""
    with Run(*words, **options) as run:
        return run.finish(seconds)


def receive(*words, **options):
    """Starts a receiver; .uri is where it listens."""
    run = Run("receive", *words, **options)
    lines = run.err if "--json" in words else run.out
    try:
        run.uri = lines.wait_for("listening on ")
    except (EOFError, TimeoutError):
        run.__exit__()
        raise
    return run
