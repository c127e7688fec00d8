# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""In every stage of a move, each of the four programs is killed, hangs, or is
interrupted: what is left ends, and the device runs at one side, or can be run
there by hand."""
import signal

import pytest

from faults import CASE_DEADLINE
from stages import HOLDS, HeldCase

BEFORE = [s for s, hold in HOLDS.items() if not hold.given]
AFTER = [s for s, hold in HOLDS.items() if hold.given and s != "yours"]
IMPATIENT_PEER = ("--peer-timeout", "1s")


def finish_one(case, run):
    run.finish(CASE_DEADLINE)
    return case.look()


def take_back(case):
    """What docs/handover.md tells an operator to do at the source."""
    here = case.look().after_here
    assert here.moved_state, case.story()
    case.here.set_state("RUNNING")
    case.look().goes_on_here()


# The sender is killed.

@pytest.mark.parametrize("link", ["passes on what was sent", "is cut"])
@pytest.mark.parametrize("stage", BEFORE)
def test_a_sender_killed_before_it_gave_away(stage, link, tmp_path):
    with HeldCase(tmp_path, stage) as case:
        case.kill("sent")
        case.relay.release() if link != "is cut" else case.relay.cut()
        finish_one(case, case.received).check_target()
        assert case.received.code == 1, case.received.stderr
        take_back(case)


@pytest.mark.parametrize("stage", AFTER)
def test_a_sender_killed_after_it_gave_away(stage, tmp_path):
    with HeldCase(tmp_path, stage) as case:
        case.kill("sent")
        case.relay.release()
        finish_one(case, case.received).check_target()
        assert case.received.code == 0, case.received.stderr
        case.goes_on_there()


@pytest.mark.parametrize("arrives", [True, False])
def test_a_sender_killed_while_it_gives_away(arrives, tmp_path):
    with HeldCase(tmp_path, "yours") as case:
        case.kill("sent")
        case.relay.release() if arrives else case.relay.cut()
        finish_one(case, case.received).check_target()
        assert case.received.code == (0 if arrives else 1)
        if arrives:
            case.goes_on_there()
        else:
            take_back(case)


# The receiver is killed.

@pytest.mark.parametrize("stage", BEFORE)
def test_a_receiver_killed_before_it_owned(stage, tmp_path):
    with HeldCase(tmp_path, stage) as case:
        case.kill("received")
        case.relay.cut()
        finish_one(case, case.sent).check_source()
        assert case.sent.code == 1, case.story()
        case.goes_on_here()


@pytest.mark.parametrize("stage", ["loaded", "yours", "start at the target"])
def test_a_receiver_killed_before_it_said_that_it_runs(stage, tmp_path):
    """Nobody can know; an operator asks both devices."""
    with HeldCase(tmp_path, stage) as case:
        case.kill("received")
        case.relay.release()
        finish_one(case, case.sent).check_source()
        if stage == "loaded" and case.sent.code == 1:
            return  # it heard the end right after LOADED
        assert case.sent.code == 4, case.story()
        if case.there.seen_by_vfmig() == "RUNNING":
            case.goes_on_there()
        else:
            take_back(case)


@pytest.mark.parametrize("stage", ["start at the source", "cleanup"])
def test_a_receiver_killed_after_it_said_that_it_runs(stage, tmp_path):
    with HeldCase(tmp_path, stage) as case:
        case.kill("received")
        case.relay.release()
        finish_one(case, case.sent).check_source()
        assert case.sent.code == 0, case.story()
        case.goes_on_there()


# A device's process is killed.

@pytest.mark.parametrize("stage", HOLDS)
def test_the_source_device_is_killed(stage, tmp_path):
    """Once all of its state has left it, nobody misses it."""
    with HeldCase(tmp_path, stage) as case:
        case.kill("here")
        case.relay.release()
        case.sent.finish(CASE_DEADLINE)
        case.received.finish(CASE_DEADLINE)
        case.look_there()
        case.check_target()
        if HOLDS[stage].complete:
            assert (case.sent.code, case.received.code) == (0, 0), case.story()
            case.goes_on_there()
        else:
            assert (case.sent.code, case.received.code) == (3, 1), case.story()
            assert "could not be brought back" in case.sent.stderr


@pytest.mark.parametrize("stage", [s for s in HOLDS if s not in
                                   ("start at the source", "cleanup")])
def test_the_target_device_is_killed(stage, tmp_path):
    with HeldCase(tmp_path, stage) as case:
        case.kill("there")
        case.relay.release()
        case.sent.finish(CASE_DEADLINE)
        case.received.finish(CASE_DEADLINE)
        assert case.received.code == 3, case.story()
        assert "could not be brought back" in case.received.stderr
        case.look_here()
        if stage == "start at the target":
            # It may have been running when it died.
            assert case.sent.code == 4, case.story()
            case.here.set_state("RUNNING")
            case.look_here()
        else:
            assert case.sent.code == 1, case.story()
        case.goes_on_here()


# A tool hangs, longer than the other has patience.

@pytest.mark.parametrize("stage", BEFORE)
def test_a_sender_that_hangs_before_it_gave_away(stage, tmp_path):
    with HeldCase(tmp_path, stage, receive_words=IMPATIENT_PEER) as case:
        case.sent.signal(signal.SIGSTOP)
        case.relay.release()
        case.received.finish(CASE_DEADLINE)
        case.sent.signal(signal.SIGCONT)
        case.end().check(1, 1)


@pytest.mark.parametrize("stage", AFTER + ["yours"])
def test_a_sender_that_hangs_after_it_gave_away(stage, tmp_path):
    with HeldCase(tmp_path, stage, receive_words=IMPATIENT_PEER) as case:
        case.sent.signal(signal.SIGSTOP)
        case.relay.release()
        case.received.finish(CASE_DEADLINE)
        case.sent.signal(signal.SIGCONT)
        case.end().check(0, 0)


@pytest.mark.parametrize("stage", [s for s in BEFORE if s != "loaded"])
def test_a_receiver_that_hangs_before_it_owned(stage, tmp_path):
    with HeldCase(tmp_path, stage, send_words=IMPATIENT_PEER) as case:
        case.received.signal(signal.SIGSTOP)
        case.relay.release()
        case.sent.finish(CASE_DEADLINE)
        case.received.signal(signal.SIGCONT)
        case.end().check(1, 1)


@pytest.mark.parametrize("stage", ["loaded", "yours", "start at the target"])
def test_a_receiver_that_hangs_before_it_said_that_it_runs(stage, tmp_path):
    """It wakes up as the owner."""
    with HeldCase(tmp_path, stage, send_words=IMPATIENT_PEER) as case:
        case.received.signal(signal.SIGSTOP)
        case.relay.release()
        case.sent.finish(CASE_DEADLINE)
        case.received.signal(signal.SIGCONT)
        case.end().check(4, 0)
        case.goes_on_there()


@pytest.mark.parametrize("stage", ["start at the source", "cleanup"])
def test_a_receiver_that_hangs_after_it_said_that_it_runs(stage, tmp_path):
    with HeldCase(tmp_path, stage, send_words=IMPATIENT_PEER) as case:
        case.received.signal(signal.SIGSTOP)
        case.relay.release()
        case.sent.finish(CASE_DEADLINE)
        case.received.signal(signal.SIGCONT)
        case.end().check(0, 0)


# Somebody presses Ctrl-C.

@pytest.mark.parametrize("who", ["sent", "received"])
@pytest.mark.parametrize("stage", BEFORE)
def test_an_interrupt_before_it_was_given_away(stage, who, tmp_path):
    with HeldCase(tmp_path, stage) as case:
        getattr(case, who).signal(signal.SIGINT)
        getattr(case, who).err.wait_for("vfmig: ")
        case.relay.release()
        case.end().check(1, 1)
        said = getattr(case, who).stderr
        assert said.count("cancelled") == 1, said


@pytest.mark.parametrize("who", ["sent", "received"])
@pytest.mark.parametrize("stage", AFTER)
def test_an_interrupt_after_it_was_given_away_is_too_late(stage, who,
                                                          tmp_path):
    with HeldCase(tmp_path, stage) as case:
        getattr(case, who).signal(signal.SIGINT)
        case.relay.release()
        case.end().check(0, 0)


def test_an_interrupted_sender_waits_for_what_it_gave_away(tmp_path):
    with HeldCase(tmp_path, "yours") as case:
        case.sent.signal(signal.SIGINT)
        case.sent.err.wait_for("vfmig: ")
        case.relay.release()
        case.end().check(0, 0)


def test_an_interrupted_receiver_returns_what_it_was_about_to_get(tmp_path):
    with HeldCase(tmp_path, "yours") as case:
        case.received.signal(signal.SIGINT)
        case.received.err.wait_for("vfmig: ")
        case.relay.release()
        case.end().check(1, 1)
