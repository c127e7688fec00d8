# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""The programs that `make bench` runs against each other, and one run of each.

A run returns figures by name; what is made of them is cases.py's.
"""
import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEADLINE_S = 300
CHUNK = 1 << 20


class Failed(Exception):
    """A program did not do what it was started for."""


class Missing(Failed):
    """This machine has no way to measure that, which is no failure."""


def wait_for_line(pipe, start, seconds=DEADLINE_S):
    """What follows `start` in the first line that has it first."""
    text, end = b"", time.monotonic() + seconds
    while True:
        for line in text.splitlines(keepends=True):
            if line.startswith(start.encode()) and line.endswith(b"\n"):
                return line[len(start):].decode().strip()
        left = end - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            raise Failed(f"no line '{start}...'")
        data = os.read(pipe.fileno(), 65536)
        if not data:
            raise Failed(f"ended without a line '{start}...'")
        text += data


class Child:
    """A program; `usage` is what it took, once it was waited for."""

    def __init__(self, *words, **options):
        options.setdefault("stdout", subprocess.PIPE)
        self.words = [str(w) for w in words]
        self.process = subprocess.Popen(self.words, **options)
        self.usage = None

    def wait(self, seconds=DEADLINE_S):
        """Its standard output.  Whoever has something to say there says less
        than a pipe holds."""
        if self.process.returncode is not None:
            return ""
        end = time.monotonic() + seconds
        fd = os.pidfd_open(self.process.pid)
        try:
            if not select.select([fd], [], [], end - time.monotonic())[0]:
                raise Failed(f"{self.words[:2]}: not done in {seconds} s")
        finally:
            os.close(fd)
        _, status, self.usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        if self.process.stdout is None:
            return ""
        with self.process.stdout as out:
            return out.read().decode()

    def ok(self):
        out = self.wait()
        if self.process.returncode != 0:
            raise Failed(f"{' '.join(self.words[:2])}: exit "
                         f"{self.process.returncode}")
        return out

    def end(self):
        if self.process.returncode is None:
            os.kill(self.process.pid, signal.SIGTERM)
            with contextlib.suppress(Failed):
                self.wait(30)
        if self.process.returncode is None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.wait(30)


class Bench:
    """The programs of one build, in one folder for their sockets."""

    def __init__(self, build, folder):
        self.build = Path(build).resolve()
        self.folder = Path(folder)
        self.count = 0

    def program(self, name):
        return str(self.build / {"vfmig": "tool", "vfmig-device": "emulator"
                                 }.get(name, "bench") / name)

    def path(self, name):
        self.count += 1
        return self.folder / f"{name}{self.count}"

    @contextlib.contextmanager
    def devices(self, n, size, features, *words):
        """`n` devices; yields the words that name them to vfmig."""
        children = []
        try:
            for _ in range(n):
                path = self.path("d")
                children.append((Child(
                    self.program("vfmig-device"), "--socket", path, "--size",
                    size, "--features", features, *words), path))
            for child, _ in children:
                wait_for_line(child.process.stdout, "listening on ")
            yield [f"vfio-user:{path}" for _, path in children]
        finally:
            for child, _ in children:
                child.end()

    def uri(self, link):
        return f"unix:{self.path('l')}" if link == "unix" else "tcp:127.0.0.1:0"

    def named(self, devices):
        return [w for i, d in enumerate(devices) for w in ("-d", f"{d},id=d{i}")]

    def move(self, size, n=1, link="unix", features="stop-copy,data-size",
             faults=(), words=(), predict=False, trace=(), channels=0):
        """n devices from one vfmig to another; what it took."""
        channels = ("--channels", str(channels)) if channels else ()
        words = (*words, *channels)
        with self.devices(n, size, features, *faults) as a, \
                self.devices(n, size, features, *faults) as b:
            if predict:
                file = self.figures(a[0], b[0], link)
                words = (*words, "--predict", file)
            receive = Child(*self.traced(trace, "r"), self.program("vfmig"),
                            "receive", *self.named(b), self.uri(link),
                            *channels, "--json", stderr=subprocess.PIPE)
            try:
                uri = wait_for_line(receive.process.stderr, "listening on ")
                send = Child(*self.traced(trace, "s"), self.program("vfmig"),
                             "send", *self.named(a), uri, "--json", *words)
                try:
                    told = json.loads(send.ok())
                    there = json.loads(receive.ok())
                finally:
                    send.end()
            finally:
                receive.end()
                receive.process.stderr.close()
        return self.facts(told, there, send, receive)

    def traced(self, trace, name):
        return [str(self.folder / name) if w == "FILE" else w for w in trace]

    @staticmethod
    def facts(told, there, send, receive):
        down, devices = told["downtime"], told["devices"]
        causes = down["causes_ns"]
        cpu = sum(u.ru_utime + u.ru_stime for u in (send.usage, receive.usage))
        return {
            "bytes": told["device_bytes"],
            "ns": told["elapsed_ns"],
            "rate": told["device_bytes"] / told["elapsed_ns"],
            "downtime_ns": down["total_ns"],
            "arcs_ns": max(d["stop_ns"] for d in devices) +
            max(d["check_ns"] for d in there["devices"]) +
            max(d["start_ns"] for d in there["devices"]),
            "predicted_ns": down.get("predicted_ns"),
            "causes": causes,
            "named": sum(causes.values()) / max(1, down["total_ns"]),
            "self": causes["self"] / max(1, down["total_ns"]),
            "cpu_ns_per_byte": cpu * 1e9 / told["device_bytes"],
            "peak_mib": max(send.usage.ru_maxrss,
                            receive.usage.ru_maxrss) / 1024,
        }

    def figures(self, a, b, link):
        """A file for vfmig predict, of these two devices."""
        file = self.path("f")
        there = Child(self.program("vfmig"), "bench", "-d", b, "--listen",
                      self.uri(link))
        try:
            uri = wait_for_line(there.process.stdout, "listening on ")
            Child(self.program("vfmig"), "bench", "-d", a, "-o", file, uri,
                  "--rounds", "3").ok()
            there.ok()
        finally:
            there.end()
        return file

    def floor(self, link, size):
        out = Child(self.program("floor"), link, size, CHUNK).ok()
        return {"bytes": size, "ns": int(out), "rate": size / int(out)}

    def save(self, size):
        """To a file, to the disk."""
        file = self.path("state")
        with self.devices(1, size, "stop-copy,data-size") as devices:
            out = Child(self.program("vfmig"), "save", "-d", devices[0],
                        "--json", file).ok()
        file.unlink()
        told = json.loads(out)
        return {"bytes": told["device_bytes"], "ns": told["elapsed_ns"],
                "rate": told["device_bytes"] / told["elapsed_ns"]}

    def plain_file(self, size):
        file = self.path("plain")
        start = time.monotonic_ns()
        Child("dd", "if=/dev/zero", f"of={file}", f"bs={CHUNK}",
              f"count={size // CHUNK}", "conv=fsync", "status=none").ok()
        ns = time.monotonic_ns() - start
        file.unlink()
        return {"bytes": size, "ns": ns, "rate": size / ns}

    def relay(self, size, *words):
        """bench/relay: from one device to another, in one process."""
        with self.devices(1, size, "stop-copy,data-size") as a, \
                self.devices(1, size, "stop-copy,data-size") as b:
            out = Child(self.program("relay"), *words,
                        a[0].partition(":")[2], b[0].partition(":")[2]).ok()
        moved, ns = map(int, out.split()[:2])
        return {"bytes": moved, "ns": ns, "rate": moved / ns}

    def qemu(self, size):
        """The same device under two QEMUs, through the bridge."""
        os.environ["VFMIG_BUILD"] = str(self.build)
        for folder in "integration", "interop":
            sys.path.insert(0, str(ROOT / "tests" / folder))
        import qemu  # pylint: disable=import-error,import-outside-toplevel
        paths = []
        with contextlib.ExitStack() as stack:
            for _ in range(2):
                words = stack.enter_context(self.devices(
                    1, size, "stop-copy,data-size"))
                paths.append(words[0].partition(":")[2])
            folder = stack.enter_context(tempfile.TemporaryDirectory(
                dir=self.folder))
            source = stack.enter_context(qemu.Qemu(folder, "s", [paths[0]]))
            target = stack.enter_context(qemu.Qemu(
                folder, "t", [paths[1]], "-S", "-incoming", "defer"))
            for each in source, target:
                each.run("migrate-set-parameters", max_bandwidth=1 << 36,
                         downtime_limit=100000)
            uri = f"unix:{folder}/m"
            target.run("migrate-incoming", uri=uri)
            source.run("migrate", uri=uri)
            source.migration_status("completed")
            told = source.run("query-migrate")
        return {"bytes": size, "downtime_ns": told["downtime"] * 10**6}

    def syscalls(self, size):
        """System calls per MiB of state, of both sides."""
        trace = ("strace", "-f", "-c", "-o", "FILE")
        facts = self.move(size, trace=trace)
        calls = 0
        for name in "r", "s":
            text = (self.folder / name).read_text()
            calls += int(re.search(r"^100\.00 .*", text, re.M
                                   ).group(0).split()[3])
        return {"calls": calls / (facts["bytes"] / 2**20)}

    def cycles(self, size):
        """Cycles per byte, of both sides; the kernel's part included."""
        trace = ("perf", "stat", "-x,", "-e", "cycles", "-o", "FILE", "--")
        facts = self.move(size, trace=trace)
        cycles = 0
        for name in "r", "s":
            text = (self.folder / name).read_text()
            found = re.search(r"^(\d+),,cycles", text, re.M)
            if found is None:
                raise Missing("this machine counts no cycles")
            cycles += int(found.group(1))
        return {"cycles": cycles / facts["bytes"]}

    def instructions(self, what):
        """Per unit of work, the start of the program taken off."""
        def count(*words):
            run = subprocess.run(
                ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
                 self.program("instructions"), *words], check=False, text=True,
                stderr=subprocess.PIPE, stdout=subprocess.PIPE,
                timeout=DEADLINE_S)
            found = re.search(r"Collected : (\d+)", run.stderr)
            if run.returncode != 0 or found is None:
                raise Failed(f"callgrind: instructions {words}: {run.stderr}")
            return int(found.group(1)), run.stdout
        units = int(count(what, "1")[1])
        return (count(what, "2")[0] - count(what, "1")[0]) / units
