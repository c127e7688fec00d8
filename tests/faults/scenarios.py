# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is done while a call fails, and who owns the device afterwards.

A scenario has devices of its own; run() does it once, with the plan for the tool
that is to meet the fault, and returns what there is to judge.
"""
import os
import shutil

from bench import DEADLINE, HERE_SEED, KERNEL, THERE_SEED, Side, Told, Tool, dismiss

FEATURES = {
    "all": "stop-copy,pre-copy,p2p,data-size,precopy-info",
    "stop-copy": "stop-copy,data-size",
}


class Verdict:
    """How a run ended: a word for the matrix, and what is wrong with it."""

    def __init__(self):
        self.outcome = "?"
        self.wrong = []

    def must(self, truth, sentence):
        if not truth:
            self.wrong.append(sentence)


def is_unreported(tool):
    """It was done, and only that could not be told."""
    return tool is not None and "cannot write all of it" in tool.err


class Scenario:
    """features   of the devices; pairs how many there are at each side
       done       the exit status of a run without a fault
       only_ends  it is not asked what the tool says or keeps"""

    name = "?"
    done = 0
    only_ends = False
    features = "all"
    pairs = 1

    def __init__(self, folder):
        self.folder = folder
        self.log = folder / "log"
        self.runs = 0
        self.sides = []
        features = FEATURES[self.features]
        try:
            self.here = [self.side(f"here{i}", HERE_SEED, features)
                         for i in range(self.pairs)]
            self.there = [self.side(f"there{i}", THERE_SEED, features)
                          for i in range(self.pairs)]
        except BaseException:
            self.close()
            raise

    def side(self, name, seed, features):
        side = Side(self.folder, name, seed, features)
        self.sides.append(side)
        return side

    def close(self):
        for side in self.sides:
            side.kill()

    def prepare(self):
        self.runs += 1
        for i, side in enumerate(self.sides):
            side.prepare(self.runs << 8 | i)

    def devices(self, sides):
        return [w for i, s in enumerate(sides)
                for w in ("-d", f"{s.word},id=nic{i}")]

    def run(self, plan):
        self.victim = self.other = None
        self.looks = {}
        self.prepare()
        self.before()
        self.tools(plan)
        return self

    def before(self):
        """What precedes the tool."""

    def judge(self, v):
        """Who owns what, after the tool said what it said."""
        self.looks = {id(s): s.look() for s in self.sides}
        self.owners(v, self.victim.code)

    def look(self, side):
        return self.looks[id(side)]

    def ran(self):
        return [t for t in (self.victim, self.other) if t is not None]

    def told(self):
        """What the preloaded library told."""
        return Told(self.log)

    @property
    def binary(self):
        """What the places are in."""
        return self.victim.words[0]

    def story(self):
        return "\n".join([t.story() for t in self.ran()] + [
            f"{os.path.basename(s.path)}: {self.looks[id(s)]}"
            for s in self.sides if id(s) in self.looks])

    # What may be true of a side.

    def runs_on_here(self, v):
        for s in self.here:
            v.must(self.look(s).state == "RUNNING", "source: not RUNNING")
            v.must(self.look(s).holds(s) and self.look(s).resets == 0,
                   "source: its content is gone")

    def is_stopped_here(self, v, states=("STOP",)):
        for s in self.here:
            v.must(self.look(s).state in states,
                   f"source: not in {' or '.join(states)}")
            v.must(self.look(s).holds(s), "source: its content is gone")

    def moved(self, v):
        for s, t in zip(self.here, self.there):
            v.must(self.look(t).state == "RUNNING", "target: not RUNNING")
            v.must(self.look(t).holds(s) and self.look(t).loads == 1,
                   "target: has not the source's content")
            v.must(self.look(t).config == s.config,
                   "target: its configuration is not the source's")

    def has_nothing_there(self, v):
        for s, t in zip(self.here, self.there):
            v.must(not (self.look(t).runs and self.look(t).holds(s)),
                   "target: runs with the source's content")
            v.must(self.look(t).state == "RUNNING",
                   f"target: is {self.look(t).state}")


class OfOne(Scenario):
    """Commands with one device, whose partner is a file."""

    other = None

    def is_here(self, v, code):
        """It runs on, or is lost, and that was said."""
        v.must(v.outcome is not None, f"exit {code}")
        if code == 3:
            self.lost_here(v)
        else:
            self.runs_on_here(v)

    def lost_here(self, v):
        """Some device was reset, or is wherever it was left."""
        err = self.victim.err
        v.must("was reset" in err or "could not be brought back" in err,
               "does not say what became of the device")


class Probe(OfOne):
    name = "probe"

    def tools(self, plan):
        self.victim = Tool("probe", "-d", self.here[0].word, plan=plan,
                           log=self.log).finish()

    def owners(self, v, code):
        v.outcome = "done" if code == 0 else "refused"
        v.must(code in (0, 1), f"exit {code}")
        self.runs_on_here(v)
        if code == 0:
            v.must(self.is_whole(), "half an answer")

    def is_whole(self):
        return b"transfers" in self.victim.out and \
            b"8 MSI-X" in self.victim.out


class ProbeJson(Probe):
    name = "probe-json"

    def tools(self, plan):
        self.victim = Tool("probe", "--json", "-d", self.here[0].word,
                           plan=plan, log=self.log).finish()

    def is_whole(self):
        return whole(self.victim.out, ("device", "backend", "state", "pci",
                                       "migratable", "migration", "features",
                                       "limits", "notes"))


class State(OfOne):
    name = "state"

    def tools(self, plan):
        self.victim = Tool("state", "-d", self.here[0].word, "STOP",
                           plan=plan, log=self.log).finish()

    def owners(self, v, code):
        v.outcome = "done" if code == 0 else "refused"
        v.must(code in (0, 1), f"exit {code}")
        look = self.look(self.here[0])
        v.must(look.holds(self.here[0]) and look.resets == 0,
               "its content is gone")
        v.must(look.state in (("STOP",) if code == 0 else
                              ("STOP", "RUNNING", "RUNNING_P2P")),
               f"is {look.state}")


class Save(OfOne):
    name = "save"

    def before(self):
        self.out = self.folder / "out"
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()
        self.file = self.out / "state"

    def tools(self, plan):
        self.victim = Tool("save", "-q", *self.devices(self.here), self.file,
                           plan=plan, log=self.log).finish()

    def owners(self, v, code):
        v.outcome = {0: "done", 1: "runs on", 3: "lost, and said"}.get(code)
        self.is_here(v, code)
        if code == 0:
            self.loads(v)
        else:
            v.must(self.left() == (["state"] if self.came_too_late() else []),
                   f"left behind: {self.left()}")

    def came_too_late(self):
        """The file was complete, and under its name, when it failed."""
        return "cannot write the directory" in self.victim.err or \
            is_unreported(self.victim)

    def left(self):
        return [p.name for p in self.out.iterdir()]

    def loads(self, v):
        """What was saved can be loaded."""
        v.must(self.left() == ["state"], f"left behind: {self.left()}")
        Tool("load", "-q", *self.devices(self.there), self.file).finish()
        for t in self.there:
            self.looks[id(t)] = t.look()
        self.moved(v)


class SaveStopCopy(Save):
    name, features = "save-stop-copy", "stop-copy"


class SavePipe(Save):
    name = "save-pipe"

    def tools(self, plan):
        with open(self.file, "wb") as f:
            import subprocess
            reader = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=f)
            self.victim = Tool("save", "-q", *self.devices(self.here), "-",
                               plan=plan, log=self.log, stdout=reader.stdin)
            reader.stdin.close()
            self.victim.finish()
            reader.wait(DEADLINE)

    def left(self):
        """What the reader got is its own, half a state or a whole one."""
        return ["state"] if self.victim.code == 0 or self.came_too_late() \
            else []


class Load(OfOne):
    name = "load"

    def before(self):
        self.file = self.folder / "state"
        self.file.unlink(missing_ok=True)
        assert Tool("save", "-q", *self.devices(self.here),
                    self.file).finish().code == 0

    def tools(self, plan):
        self.victim = Tool("load", "-q", *self.devices(self.there), self.file,
                           plan=plan, log=self.log).finish()

    def owners(self, v, code):
        v.outcome = {0: "done", 1: "refused or reset",
                     3: "lost, and said"}.get(code)
        v.must(v.outcome is not None, f"exit {code}")
        if code == 0:
            self.moved(v)
        elif is_unreported(self.victim):
            self.moved(v)
        elif code == 1:
            self.has_nothing_there(v)
        else:
            self.could_not_be_reset(v)

    def could_not_be_reset(self, v):
        v.must("could not be brought back" in self.victim.err,
               "does not say what became of the device")
        for t in self.there:
            v.must(not (self.look(t).runs and self.look(t).loads),
                   "target: runs")


class LoadPipe(Load):
    name, features = "load-pipe", "stop-copy"

    def tools(self, plan):
        import subprocess
        writer = subprocess.Popen(["cat", self.file], stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL)
        self.victim = Tool("load", "-q", *self.devices(self.there), "-",
                           plan=plan, log=self.log, stdin=writer.stdout)
        writer.stdout.close()
        self.victim.finish()
        writer.wait(DEADLINE)


class Move(Scenario):
    """From here to there, over `uri`; `fails` names the side that meets it."""

    fails = "send"
    uri = "unix"
    words = ("-q",)

    def listen_uri(self):
        return f"unix:{self.folder}/move" if self.uri == "unix" \
            else "tcp:127.0.0.1:0"

    def tools(self, plan):
        plans = {"send": None, "receive": None, self.fails: plan}
        receiver = Tool("receive", *self.words, *self.receiver_words(),
                        *self.devices(self.there),
                        "--peer-timeout", "4s", self.listen_uri(),
                        plan=plans["receive"], log=self.log)
        self.other = None
        line = receiver.line()
        if line.startswith("listening on "):
            uri = line[len("listening on "):].strip()
            sender = Tool("send", *self.words, *self.sender_words(),
                          *self.devices(self.here),
                          "--connect-timeout", "2s", "--peer-timeout", "4s",
                          uri, plan=plans["send"], log=self.log)
            sender.finish()
            if sender.code != 0:
                dismiss(uri)
        else:
            sender = None
        receiver.finish()
        self.sender, self.receiver = sender, receiver
        self.victim, self.other = (sender, receiver) \
            if self.fails == "send" else (receiver, sender)

    def sender_words(self):
        return ()

    def receiver_words(self):
        return ()

    def owners(self, v, _code):
        sent = self.sender.code if self.sender else 1
        received = self.receiver.code
        if sent == 0 and received == 0:
            v.outcome = "done"
        elif sent == 4:
            v.outcome = "handed over, and said"
        elif 3 in (sent, received):
            v.outcome = "lost, and said"
        else:
            v.outcome = "runs on here"
        self.source(v, sent)
        self.target(v, received)
        self.one_owner(v, sent, received)

    def source(self, v, code):
        if code == 1 and is_unreported(self.sender):
            code = 0
        if code == 0:
            self.is_stopped_here(v)
            self.moved(v)
        elif code == 1:
            self.runs_on_here(v)
        elif code == 3:
            err = self.sender.err
            v.must("was reset" in err or "could not be brought back" in err,
                   "source: does not say what became of the device")
        elif code == 4:
            self.is_stopped_here(v, ("STOP", "STOP_COPY"))
        else:
            v.must(False, f"source: exit {code}")

    def target(self, v, code):
        if code == 1 and is_unreported(self.receiver):
            code = 0
        if code == 0:
            self.moved(v)
        elif code == 1:
            self.has_nothing_there(v)
        elif code == 3:
            v.must("could not be brought back" in self.receiver.err,
                   "target: does not say what became of the device")
        else:
            v.must(False, f"target: exit {code}")

    def one_owner(self, v, _sent, _received):
        for s, t in zip(self.here, self.there):
            here, there = self.look(s), self.look(t)
            v.must(not (here.runs and here.holds(s) and there.runs and
                        there.holds(s)), "it runs at both sides")
            v.must(here.holds(s) or there.holds(s),
                   "it is at neither side")


class SendUnix(Move):
    name = "send-unix"


class ReceiveUnix(Move):
    name, fails = "receive-unix", "receive"


class SendTcp(Move):
    name, uri, features = "send-tcp", "tcp", "stop-copy"


class ReceiveTcp(Move):
    name, uri, features, fails = "receive-tcp", "tcp", "stop-copy", "receive"


class SendTwo(Move):
    name, pairs = "send-two", 2


class ReceiveTwo(Move):
    name, pairs, fails = "receive-two", 2, "receive"


class SendExec(Move):
    """The command is a receiver; what became of it nobody hears."""

    name = "send-exec"

    def tools(self, plan):
        from bench import VFMIG
        words = " ".join(f"'{w}'" for w in self.devices(self.there))
        self.victim = self.sender = Tool(
            "send", "-q", *self.devices(self.here), "--peer-timeout", "4s",
            f"exec:exec '{VFMIG}' receive -q {words} --peer-timeout 4s fd:0 "
            "2>/dev/null",
            plan=plan, log=self.log).finish()
        self.other = None

    def owners(self, v, code):
        v.outcome = {0: "done", 1: "runs on here", 3: "lost, and said",
                     4: "handed over, and said"}.get(code)
        self.source(v, code)
        self.one_owner(v, code, None)
        if code == 1 and not is_unreported(self.sender):
            for s, t in zip(self.here, self.there):
                v.must(not (self.look(t).runs and self.look(t).holds(s)),
                       "target: runs with the source's content")


class Kernel(OfOne):
    """A device of the kernel, whose kernel is a fake in the same program."""

    name, pairs, action, way = "kernel-save-cdev", 0, "save", "cdev"
    codes = {0: "done", 1: "runs on", 3: "lost, and said"}

    def tools(self, plan):
        self.out = self.folder / "out"
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()
        self.victim = Tool(self.action, self.way, self.out, plan=plan,
                           log=self.log, program=KERNEL, waits=True).finish()

    def owners(self, v, code):
        v.outcome = self.codes.get(code)
        v.must(v.outcome is not None, f"exit {code}")
        for line in self.victim.err.splitlines():
            v.must(not line.startswith("kernel: "), line)


class KernelSaveGroup(Kernel):
    name, way = "kernel-save-group", "group"


class KernelLoad(Kernel):
    name, action = "kernel-load", "load"
    codes = {0: "done", 1: "refused or reset", 3: "lost, and said"}


def whole(text, keys):
    import json
    try:
        o = json.loads(text)
    except ValueError:
        return False
    return all(k in o for k in keys)


MOVES = {c.name: c for c in (
    Probe, ProbeJson, State, Save, SaveStopCopy, SavePipe, Load, LoadPipe,
    SendUnix, ReceiveUnix, SendTcp, ReceiveTcp, SendTwo, ReceiveTwo,
    SendExec, Kernel, KernelSaveGroup, KernelLoad)}
