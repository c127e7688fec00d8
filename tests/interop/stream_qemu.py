# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""QEMU's own processes, told what to do by QMP, for the tests of the stream.

No guest, no acceleration, no VFIO: a machine of 64 MiB that has not begun to
run is enough to be migrated.  Nothing sleeps; whatever is waited for has a
deadline.
"""
import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "integration"))

QEMU = shutil.which("qemu-system-x86_64")
DEADLINE = 120
MACHINE = ("-M", "pc", "-m", "64", "-nodefaults", "-display", "none")


class Refused(Exception):
    """QEMU said no."""


class Qemu:
    """A QEMU that has answered; `words` come after the machine's."""

    def __init__(self, folder, name, *words, machine=MACHINE):
        self.path = Path(folder) / f"{name}.qmp"
        self.log = Path(folder) / f"{name}.log"
        self.process = subprocess.Popen(
            [QEMU, *machine, "-S", "-accel", "tcg", "-qmp",
             f"unix:{self.path},server=on,wait=off", *map(str, words)],
            stdin=subprocess.DEVNULL, stdout=self.log.open("wb"),
            stderr=subprocess.STDOUT)
        try:
            self.connect()
        except BaseException:
            self.__exit__()
            raise

    def connect(self):
        end = time.monotonic() + DEADLINE
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(DEADLINE)
        while True:
            try:
                self.socket.connect(str(self.path))
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise
                # It makes its socket when it is ready; a moment of CPU is
                # all there is to wait for.
                self.wait_for_process(0.02)
        self.lines = self.socket.makefile("rb")
        self.events = []
        json.loads(self.lines.readline())
        self.do("qmp_capabilities")

    def wait_for_process(self, seconds):
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def message(self):
        line = self.lines.readline()
        if not line:
            raise EOFError(self.log.read_text(errors="replace"))
        return json.loads(line)

    def do(self, command, **arguments):
        words = {"execute": command}
        if arguments:
            words["arguments"] = {key.replace("_", "-"): value
                                  for key, value in arguments.items()}
        self.socket.sendall(json.dumps(words).encode() + b"\n")
        while True:
            answer = self.message()
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise Refused(answer["error"]["desc"])
            else:
                return answer["return"]

    def allow(self, *capabilities):
        self.do("migrate-set-capabilities",
                capabilities=[{"capability": c, "state": True}
                              for c in ("events", *capabilities)])

    def status(self):
        return self.do("query-migrate").get("status", "none")

    def end_of_migration(self, seconds=DEADLINE):
        """Waits for the event; how it ended."""
        end = time.monotonic() + seconds
        while True:
            for event in self.events:
                status = event.get("data", {}).get("status")
                if event["event"] == "MIGRATION" and \
                        status in ("completed", "failed", "cancelled"):
                    return status
            self.socket.settimeout(max(0.1, end - time.monotonic()))
            self.events.append(self.message())

    def error(self):
        return self.do("query-migrate").get("error-desc", "")


def pair(folder, *capabilities, channels=0, machine=MACHINE):
    """A source and a target of the same kind; the target waits to be told where
    to listen."""
    source = Qemu(folder, "source", machine=machine)
    try:
        target = Qemu(folder, "target", "-incoming", "defer", machine=machine)
    except BaseException:
        source.__exit__()
        raise
    for qemu in source, target:
        qemu.allow(*capabilities)
        if channels:
            qemu.do("migrate-set-parameters", multifd_channels=channels)
    return source, target


def socket_name(prefix, name):
    return f"unix:{Path(prefix) / name}"
