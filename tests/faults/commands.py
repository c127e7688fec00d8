# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""Commands that move no device: what they say is what they say without a fault, or
it is an error; and check, of which it is asked only that it ends."""
import lzma
import shutil
from pathlib import Path

from bench import KERNEL, Tool
from scenarios import OfOne, Scenario, whole

STREAMS = Path(__file__).resolve().parent.parent / "data" / "streams"


class Command(Scenario):
    """done     the exit status without a fault
       failed   that of an error"""

    pairs = 0
    other = None
    failed = 1
    program = None

    def __init__(self, folder):
        super().__init__(folder)
        self.out = folder / "out"
        self.streams = folder / "streams"
        self.streams.mkdir(exist_ok=True)
        self.prepare_files()
        self.expected = None

    def capture(self, name, part="main"):
        path = self.streams / f"{name}.{part}"
        path.write_bytes(lzma.decompress(
            (STREAMS / name / f"{part}.bin.xz").read_bytes()))
        return path

    def native(self, seed):
        """A device saved by vfmig itself."""
        path = self.streams / f"native{seed}"
        side = self.side("saved", seed, "stop-copy,pre-copy,p2p")
        assert Tool("save", "-q", "-d", side.word, path).finish().code == 0
        side.stop()
        self.sides.remove(side)
        return path

    def prepare_files(self):
        """What the command reads."""

    def tool(self, plan):
        options = {"program": self.program} if self.program else {}
        return Tool(*self.words(), plan=plan, log=self.log, **options,
                    waits=self.program is not None).finish()

    def before(self):
        self.clean()
        if self.expected is None:
            tool = self.tool(None)
            assert tool.code == self.done, tool.story()
            self.expected = (tool.out, self.files())
            self.clean()

    def clean(self):
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()

    def files(self):
        return {p.name: p.read_bytes() for p in self.out.iterdir()}

    def tools(self, plan):
        self.victim = self.tool(plan)

    def owners(self, v, code):
        v.outcome = "done" if code == self.done else "refused"
        out, files = self.expected
        if code == self.done:
            v.must(self.victim.out == out, "says something else")
            v.must(self.files() == files, "wrote something else")
        else:
            v.must(code == self.failed, f"exit {code}")
            for name, data in self.files().items():
                v.must(files.get(name) == data, f"left behind: {name}")


class List(Command):
    """Of this machine, which may have no VFIO device."""

    name = "list"

    def words(self):
        return ["list"]


class KernelList(Command):
    """Of a fake kernel, with devices of either kind."""

    name, program = "kernel-list", KERNEL

    def words(self):
        return ["list", "cdev", self.out]


class Inspect(Command):
    name = "inspect"

    def prepare_files(self):
        self.stream = self.native(3)

    def words(self):
        return ["inspect", self.stream]


class InspectQemu(Inspect):
    name = "inspect-qemu"

    def prepare_files(self):
        self.stream = self.capture("qemu-10.0.2-precopy")


class InspectExtract(Inspect):
    """In JSON, and with files."""

    name = "inspect-extract"

    def words(self):
        return ["inspect", "--json", "--extract", self.out, self.stream]


class InspectMultifd(Command):
    name = "inspect-multifd"

    def prepare_files(self):
        self.parts = [self.capture("qemu-10.0.2-multifd", part)
                      for part in ("main", "channel-0", "channel-1")]

    def words(self):
        return ["inspect", *self.parts]


class Compare(Command):
    name, failed = "compare", 2

    def prepare_files(self):
        self.pair = [self.capture("qemu-10.0.2-precopy")] * 2

    def words(self):
        return ["compare", *self.pair]


class CompareDiffers(Compare):
    name, done = "compare-differs", 1

    def prepare_files(self):
        self.pair = [self.native(3), self.native(4)]


class Splice(Command):
    name = "splice"

    def prepare_files(self):
        self.stream = self.native(3)
        self.state = self.native(4)

    def words(self):
        return ["splice", "-d", f"0000:00:01.0={self.state}",
                "-o", self.out / "new", self.stream]


class SpliceQemu(Splice):
    name = "splice-qemu"

    def prepare_files(self):
        self.stream = self.capture("qemu-10.0.2-precopy")
        self.state = self.stream

    def words(self):
        import json
        truth = json.loads((STREAMS / "qemu-10.0.2-precopy" /
                            "truth.json").read_text())
        (section, _), = truth["vfio"].items()
        return ["splice", "-d", f"{section.removesuffix('/vfio')}={self.state}",
                "-o", self.out / "new", self.stream]


class Check(OfOne):
    """Whatever fails, it ends, and with one of its exit statuses."""

    name = "check"
    only_ends = True

    def tools(self, plan):
        self.victim = Tool("check", "--json", "-d", self.here[0].word,
                           "--only", "load-then-save-again", "--only",
                           "reset-in-RESUMING", "--only", "state-RUNNING-to-STOP",
                           plan=plan, log=self.log).finish()

    def owners(self, v, code):
        v.outcome = {0: "passed", 1: "a must failed, or an error",
                     5: "a should failed"}.get(code)
        v.must(v.outcome is not None, f"exit {code}")
        if code == 0:
            v.must(whole(self.victim.out, ("checks",)), "half a report")


class Bench(OfOne):
    """Of a device, there and back: it says the figures, or an error and none, and
    the device runs on."""

    name = "bench"

    def tools(self, plan):
        self.victim = Tool("bench", "--json", "-d", self.here[0].word,
                           "--rounds", "1", plan=plan, log=self.log).finish()

    def owners(self, v, code):
        v.outcome = {0: "measured", 1: "refused", 3: "lost"}.get(code)
        self.is_here(v, code)
        if code == 0:
            v.must(whole(self.victim.out, ("vfmig_bench", "save")),
                   "half the figures")


class Predict(Command):
    """From what a bench of that device has said."""

    name = "predict"

    def prepare_files(self):
        self.figures = self.streams / "figures"
        side = self.side("measured", 3, "stop-copy,pre-copy,p2p")
        assert Tool("bench", "-d", side.word, "-o",
                    self.figures).finish().code == 0
        side.stop()
        self.sides.remove(side)

    def words(self):
        return ["predict", "--json", "--devices", "4", self.figures]


COMMANDS = {c.name: c for c in (
    List, KernelList, Inspect, InspectQemu, InspectExtract, InspectMultifd,
    Compare, CompareDiffers, Splice, SpliceQemu, Check,
    Bench, Predict)}
