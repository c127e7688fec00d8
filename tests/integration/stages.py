# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""A move that is held in a stage of one's choice: by a device that takes its time
for a transition, or by a relay that keeps a byte to itself."""
import signal

from faults import Case
from relay import LOADED, RUNNING, Relay

# How long a device takes for the transition that is held: longer than it takes
# to send a signal, and no longer than one likes to wait when nothing ends it.
HOLD_MS = 800

# Into all the buffers between the source's device and the relay.
MORE_THAN_FITS = "16M"


class Hold:
    """name    of the stage, at one side or both
    here, there      what that side's tool prints when it is there
    given            the source has given the device away
    complete         all of the state has reached the target
    """

    def __init__(self, here=None, there=None, relay=(None, 0), given=False,
                 complete=False, here_delay=None, there_delay=None,
                 features="all", size="1M", here_fails=None):
        self.lines = here, there
        self.relay = relay
        self.given = given
        self.complete = complete or given
        self.features = features
        self.size = size
        self.delays = [("--delay", f"{arc}:{HOLD_MS}") if arc else ()
                       for arc in (here_delay, there_delay)]
        if here_fails:
            self.delays[0] += "--fail", here_fails


HOLDS = {
    "hello": Hold("hello", "hello", ("up", 0)),
    "setup at the source": Hold("setup", None,
                                here_delay="RUNNING>PRE_COPY"),
    "setup at the target": Hold(None, "setup", there_delay="STOP>RESUMING"),
    "pre-copy": Hold("pre-copy", "pre-copy", ("stream", 300000),
                     size=MORE_THAN_FITS),
    "stop": Hold("stop", None, here_delay="PRE_COPY_P2P>STOP_COPY"),
    "complete": Hold("complete", "complete", ("stream", 300000),
                     features="stop-copy", size=MORE_THAN_FITS),
    "check": Hold("loaded", "check", there_delay="RESUMING>STOP",
                  complete=True),
    "loaded": Hold("loaded", "yours", (LOADED, 0), complete=True),
    "yours": Hold("start", "yours", ("yours", 0), given=True),
    "start at the target": Hold("start", "start", given=True,
                                there_delay="STOP>RUNNING_P2P"),
    "start at the source": Hold("start", "cleanup", (RUNNING, 0), given=True),
    "cleanup": Hold("cleanup", None, given=True,
                    here_delay="STOP_COPY>STOP"),
}


class HeldCase(Case):
    """A case that begins, and is in that stage when the constructor returns."""

    def __init__(self, folder, stage, tcp=False, **words):
        self.hold = HOLDS[stage]
        for side in "send_words", "receive_words":
            words[side] = ("-v", *words.get(side, ()))
        words.setdefault("size", self.hold.size)
        super().__init__(folder, self.hold.features, here=self.hold.delays[0],
                         there=self.hold.delays[1], **words)
        # Whether a device has come to its delay when things happen is chance.
        self.here.has_faults = self.there.has_faults = False
        try:
            self.begin(relay=Relay(folder, self.hold.relay, tcp))
            self.wait()
        except BaseException:
            self.__exit__()
            raise

    def wait(self):
        here, there = self.hold.lines
        if here is not None:
            self.sent.err.wait_for("stage " + here)
        if there is not None:
            self.received.err.wait_for("stage " + there)
        if self.hold.relay[0] is not None:
            self.relay.wait_held()

    def kill(self, victim):
        """SIGKILL, and it is gone."""
        program = getattr(self, victim)
        program.signal(signal.SIGKILL)
        program.process.wait(30)
        program.killed = True
