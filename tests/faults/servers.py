# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""The call that fails is one of the device's own: a tool, in which nothing fails,
asks, saves, loads or moves a vfmig-device in which something does."""
import re
import subprocess

from bench import BROKEN, DEVICE, HERE_SEED, THERE_SEED, Faulty, Gone, Told
from scenarios import FEATURES, Load, Move, Probe, Save

# How long a device may take to end when it is told to.
END_S = 10


class Server:
    """What all of them have in common: the device `fails_in` is new for each run.

    It is counted while the tool runs and not while it is asked about itself.  What
    must be true of it then is what must be true when nothing of it has failed,
    unless it has ended."""

    of_device = True
    fails_in = "here0"
    binary = DEVICE

    def __init__(self, folder):
        self.plan = ""
        super().__init__(folder)

    def side(self, name, seed, features):
        if name != self.fails_in:
            return super().side(name, seed, features)
        self.faulty = Faulty(self.folder, name, seed, features, self.plan)
        self.sides.append(self.faulty)
        return self.faulty

    def run(self, plan):
        self.renew(plan)
        self.victim = self.other = None
        self.looks, self.said = {}, ""
        self.prepare()
        self.before()
        self.faulty.turn(True)
        self.tools(None)
        self.faulty.turn(False)
        return self

    def renew(self, plan):
        """Another device in the place of the last one."""
        self.faulty.kill()
        self.sides.remove(self.faulty)
        self.plan = plan
        here = self.fails_in == "here0"
        (self.here if here else self.there)[0] = self.side(
            self.fails_in, HERE_SEED if here else THERE_SEED,
            FEATURES[self.features])

    def look_at(self, side):
        if side is not self.faulty:
            return side.look()
        try:
            if not self.gone:
                return side.look()
        except BROKEN:
            # It may be about to end.
            side.process.wait(END_S)
            self.gone = True
        return Gone()

    def judge(self, v):
        self.gone = self.faulty.process.poll() is not None
        self.looks = {id(s): self.look_at(s) for s in self.sides}
        if not self.gone:
            self.owners(v, self.victim.code)
        elif self.user().code == 0:
            v.outcome = "done, then ended"
            self.done_without_it(v)
        else:
            v.outcome = "ended, and said"
            self.failed_without_it(v)
        self.end(v)

    def user(self):
        """The tool that has the device."""
        return self.victim

    def done_without_it(self, v):
        """The device has ended when the tool was done with it."""

    def failed_without_it(self, v):
        """It has ended while the tool had it."""

    def end(self, v):
        """It ends when it is told to."""
        if not self.gone:
            self.faulty.process.terminate()
        try:
            _, self.said = self.faulty.process.communicate(timeout=END_S)
        except subprocess.TimeoutExpired:
            v.must(False, "the device does not end")
            self.faulty.kill()
            self.said = ""

    def told(self):
        return Told(self.faulty.log)

    def check_words(self, point, told, v):
        code, lines = self.faulty.process.returncode, self.said.splitlines()
        v.must(code >= 0, f"the device: killed by signal {-code}")
        v.must(code == (1 if self.gone else 0), f"the device: exit {code}")
        if self.gone:
            v.must(lines and re.match(r"vfmig-device: \S.*: \S", lines[-1]) and
                   point.is_said(lines[-1]),
                   f"the device does not say {point.text()!r}")
        for tool in self.ran():
            lines = tool.errors()
            v.must(len(lines) == (tool.code != 0),
                   f"status {tool.code}, {len(lines)} lines of errors")
            v.must(tool.code == 0 or told.struck, "fails without a fault")
        if self.user().code != 0 and self.user().errors():
            v.must(re.match(rf"vfmig: .*(nic0|{self.fails_in})[^ ]*: \S",
                            self.user().errors()[-1]),
                   "does not name the device")

    def story(self):
        return super().story() + f"\nvfmig-device: {self.said.strip()!r}"


class DeviceProbe(Server, Probe):
    name = "device-probe"


class DeviceSave(Server, Save):
    name = "device-save"

    def done_without_it(self, v):
        self.loads(v)

    def failed_without_it(self, v):
        v.must(self.victim.code in (1, 3), f"exit {self.victim.code}")
        v.must(self.left() == [], f"left behind: {self.left()}")


class DeviceLoad(Server, Load):
    name, fails_in = "device-load", "there0"

    def could_not_be_reset(self, v):
        """It may run: that it does is what it could not answer."""
        v.must("could not be brought back" in self.victim.err,
               "does not say what became of the device")


class DeviceSend(Server, Move):
    name, fails = "device-send", "send"

    def source(self, v, code):
        """Once it is at the other side nobody needs it to leave STOP_COPY."""
        if code == 0:
            self.is_stopped_here(v, ("STOP", "STOP_COPY"))
            self.moved(v)
        else:
            super().source(v, code)

    def done_without_it(self, v):
        self.moved(v)

    def failed_without_it(self, v):
        """What it held is lost with it, if it is not at the other side."""
        if self.sender.code == 4:
            self.moved(v)
        else:
            self.has_nothing_there(v)

    def user(self):
        return self.sender


class DeviceReceive(Server, Move):
    name, fails_in, fails = "device-receive", "there0", "receive"

    def user(self):
        return self.receiver

    def done_without_it(self, v):
        self.is_stopped_here(v)

    def failed_without_it(self, v):
        """The source has it still, or was told that it has not."""
        if self.sender is None or self.sender.code == 1:
            self.runs_on_here(v)
        else:
            v.must(self.sender.code in (3, 4), f"exit {self.sender.code}")
            self.is_stopped_here(v, ("STOP", "STOP_COPY"))


SERVERS = {c.name: c for c in (
    DeviceProbe, DeviceSave, DeviceLoad, DeviceSend, DeviceReceive)}
