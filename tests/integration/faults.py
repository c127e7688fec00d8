# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""Two devices, a move from one to the other in which something goes wrong, and
the question who owns what afterwards.

The devices tell by their reports, which need no connection: a device that its
tool has lost can still be asked.
"""
import json
import re
import signal

from vfmig_programs import Device, Run, receive, vfmig

HERE_SEED, THERE_SEED = 7, 2

# No case takes longer than this, whatever is waited for in it.
CASE_DEADLINE = 30

# For a device that is to be given up, but not because the machine is slow.
IMPATIENT = ",state-timeout=400ms,command-timeout=400ms,data-timeout=400ms"

FAULTS = ("--fail", "--delay", "--short", "--corrupt", "--close", "--inject")

FEATURES = {
    "stop-copy": "stop-copy,data-size",
    "pre-copy": "stop-copy,pre-copy,data-size,precopy-info",
    "p2p": "stop-copy,p2p,data-size",
    "all": "stop-copy,pre-copy,p2p,data-size,precopy-info",
}


class Side(Device):
    """A device that reports."""

    def __init__(self, folder, name, *words):
        self.report_path = folder / f"{name}.json"
        self.reports = 0
        self.has_faults = any(w in FAULTS for w in words)
        self.killed = False
        super().__init__(folder, name, *words, "--report", self.report_path)

    def __exit__(self, *rest):
        if self.killed:
            self.process.communicate()
        else:
            super().__exit__(*rest)

    def report(self):
        """What the device is doing, asked past its connection."""
        self.reports += 1
        self.signal(signal.SIGUSR1)
        self.out.wait_for_count("reported\n", self.reports)
        return json.loads(self.report_path.read_text())

    def seen_by_vfmig(self):
        """Its state as an operator sees it."""
        return vfmig("state", "-d", self.word, "--json",
                     seconds=CASE_DEADLINE).ok().json()["state"]


class Look:
    """One side after the move."""

    def __init__(self, side, seed):
        told = side.report()
        self.state = told["state"]
        self.runs = self.state in ("RUNNING", "RUNNING_P2P", "PRE_COPY",
                                   "PRE_COPY_P2P")
        self.moved_state = told["memory_seed"] == HERE_SEED and \
            (seed == HERE_SEED and told["resets"] == 0 or
             seed == THERE_SEED and told["loads_accepted"] > 0)
        self.resets = told["resets"]
        self.counter = told["counter"]
        self.faults = told["faults"]
        self.steps = told["steps"]

    def __repr__(self):
        return str(self.__dict__)


class Case:
    """A move with faults.  `here` and `there` are options of the devices."""

    def __init__(self, folder, features="all", here=(), there=(), size="1M",
                 here_keys="", there_keys="", send_words=(), receive_words=()):
        features = ("--features", FEATURES[features], "--size", size,
                    "--dirty-size", "64K", "--initial-size", "64K")
        self.folder = folder
        self.here = Side(folder, "here", *features, "--seed", HERE_SEED, *here)
        try:
            self.there = Side(folder, "there", *features, "--seed",
                              THERE_SEED, *there)
        except BaseException:
            self.here.__exit__()
            raise
        self.here_word = self.here.word + here_keys
        self.there_word = self.there.word + there_keys
        self.send_words = send_words
        self.receive_words = receive_words
        self.sent = self.received = self.relay = None
        self.after_here = self.after_there = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for program in self.sent, self.received, self.relay:
            if program is not None:
                program.__exit__()
        try:
            self.here.__exit__()
        finally:
            self.there.__exit__()

    def begin(self, uri=None, relay=None):
        """Starts both tools, and between them the relay, if there is one."""
        self.before = self.here.report()["counter"]
        self.received = receive("-q", "-d", self.there_word,
                                *self.receive_words,
                                uri or f"unix:{self.folder}/move")
        uri = self.received.uri
        if relay is not None:
            self.relay = relay
            uri = relay(uri)
        self.sent = Run("send", "-q", "-d", self.here_word, *self.send_words,
                        uri)

    def end(self):
        """Waits for both tools; says who owns the device now."""
        self.sent.finish(CASE_DEADLINE)
        self.received.finish(CASE_DEADLINE)
        return self.look()

    def look(self):
        self.look_here()
        self.look_there()
        return self

    def look_here(self):
        self.after_here = Look(self.here, HERE_SEED)

    def look_there(self):
        self.after_there = Look(self.there, THERE_SEED)

    def run(self):
        self.begin()
        return self.end()

    def story(self):
        """All that is known, for the message of an assertion."""
        return "\n".join([
            "", f"here:    {self.after_here}", f"there:   {self.after_there}",
            *[f"{name} {getattr(run, 'code', None)} "
              f"{getattr(run, 'stderr', None)}" for name, run in
              (("send:", self.sent), ("receive:", self.received))]])

    # Who owns it.

    def goes_on(self, side, look):
        assert look.state == "RUNNING" and look.moved_state, self.story()
        assert look.counter > self.before, self.story()
        assert side.report()["counter"] > look.counter, self.story()

    def goes_on_here(self):
        there = self.after_there
        assert there is None or not (there.moved_state and there.runs), \
            self.story()
        self.goes_on(self.here, self.after_here)

    def goes_on_there(self):
        here = self.after_here
        assert here is None or not (here.moved_state and here.runs), \
            self.story()
        self.goes_on(self.there, self.after_there)

    def is_reset(self, look):
        assert look.state == "RUNNING" and look.resets > 0, self.story()
        assert not look.moved_state, self.story()

    # What the tools say.

    def check_source(self):
        """The sender's exit status is what its device is like."""
        code, here, there = self.sent.code, self.after_here, self.after_there
        said = error_line(self.sent, code)
        if code == 0:
            assert not here.runs and here.moved_state, self.story()
            self.goes_on_there()
        elif code == 1:
            self.goes_on_here()
        elif code == 3 and "was reset" in said:
            self.is_reset(here)
            assert not there.moved_state, self.story()
        elif code == 3:
            assert "could not be brought back" in said, self.story()
            assert not there.moved_state or not there.runs, self.story()
        else:
            assert code == 4, self.story()
            assert "handed over, but not confirmed" in said, self.story()
            assert here.state in ("STOP", "STOP_COPY"), self.story()
            assert here.moved_state, self.story()

    def check_target(self):
        """The receiver's too."""
        code, there = self.received.code, self.after_there
        said = error_line(self.received, code)
        if code == 0:
            self.goes_on_there()
        elif code == 1:
            assert there.state == "RUNNING", self.story()
            assert not there.moved_state, self.story()
        else:
            assert code == 3, self.story()
            assert "could not be brought back" in said, self.story()

    def check(self, send=None, receive_=None):
        """Exactly one owner, said as it is; and the exit statuses, if they
        are known beforehand."""
        both = [look for look in (self.after_here, self.after_there)
                if look.moved_state and look.runs]
        assert len(both) < 2, self.story()
        self.check_source()
        self.check_target()
        for run, codes in (self.sent, send), (self.received, receive_):
            codes = codes if isinstance(codes, tuple) or codes is None \
                else (codes,)
            assert codes is None or run.code in codes, \
                f"{codes} expected{self.story()}"
        for side, look in (self.here, self.after_here), \
                (self.there, self.after_there):
            assert side.killed or side.seen_by_vfmig() == look.state, \
                self.story()
            assert not side.has_faults or look.faults > 0, self.story()


def lines_of(run):
    """Its errors, without warnings and what --verbose says."""
    return [line for line in run.stderr.splitlines()
            if not line.startswith(("vfmig: warning: ", "stage ", "device "))]


def error_line(run, code):
    """Nothing if all went well, else one line `vfmig: WHO: WHAT...`."""
    lines = lines_of(run)
    # The first answer to a Ctrl-C, which may come too late.
    if lines and re.fullmatch("vfmig: [a-z]+: cancelling", lines[0]):
        lines = lines[1:]
    if code == 0:
        assert not lines, run.stderr
        return ""
    assert len(lines) == 1, run.stderr
    assert re.match(r"vfmig: \S+: \S", lines[0]), run.stderr
    return lines[0]
