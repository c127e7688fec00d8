# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""Arcs of the handover's model (model/handover.pml) that last no time, taken by
the real programs: each is held at the very step, and then something happens to
it.  The others have tests elsewhere; model/arcs.txt names all of them."""
import signal

from faults import CASE_DEADLINE
from gate import Gate, jam
from relay import RETURNED
from stages import Hold, HOLDS, HeldCase

IMPATIENT = ("--peer-timeout", "1s")


def at_yours(case):
    """The sender has heard LOADED, and no byte of YOURS has left it."""
    gate = Gate(case.sent)
    case.relay.release()
    gate.wait()
    return gate


def at_loaded(case):
    """The receiver has checked all, and no byte of LOADED has left it."""
    gate = Gate(case.received, "device 0000:00:01.0 STOP\n")
    gate.wait()
    return gate


def take_back(case):
    case.look()
    assert case.after_here.moved_state, case.story()
    case.here.set_state("RUNNING")
    case.look().goes_on_here()


# The source between LOADED and YOURS.

def test_an_interrupt_between_loaded_and_yours(tmp_path):
    with HeldCase(tmp_path, "loaded") as case:
        gate = at_yours(case)
        case.sent.signal(signal.SIGINT)
        gate.open()
        case.end().check(1, 1)
        assert "cancelled" in case.sent.stderr


def test_a_link_that_breaks_between_loaded_and_yours(tmp_path):
    with HeldCase(tmp_path, "loaded") as case:
        gate = at_yours(case)
        case.relay.cut()
        gate.open()
        case.end().check(1, 1)


def test_a_sender_killed_between_loaded_and_yours(tmp_path):
    with HeldCase(tmp_path, "loaded") as case:
        at_yours(case)
        case.kill("sent")
        case.received.finish(CASE_DEADLINE)
        take_back(case)
        assert case.received.code == 1, case.received.stderr


def test_a_source_that_cannot_send_yours_hears_why(tmp_path):
    """Its target gave up, said so, and is gone."""
    with HeldCase(tmp_path, "loaded") as case:
        gate = at_yours(case)
        case.received.signal(signal.SIGINT)
        case.relay.wait_passed(RETURNED)
        case.relay.cut()
        gate.open()
        case.end().check(1, 1)
        assert "gave the devices back" in case.sent.stderr


def test_a_source_that_gets_no_byte_of_yours_away_keeps_the_device(tmp_path):
    """And cannot say that it does."""
    with HeldCase(tmp_path, "loaded", send_words=IMPATIENT) as case:
        gate = at_yours(case)
        case.relay.stop_reading()
        jam(case.sent, f"{tmp_path}/relay")
        gate.open()
        case.sent.finish(CASE_DEADLINE)
        case.relay.cut()
        case.end().check(1, 1)
        assert "in stage yours" in case.sent.stderr


# The target between its check and LOADED.

def test_an_interrupt_between_check_and_loaded(tmp_path):
    with HeldCase(tmp_path, "check") as case:
        gate = at_loaded(case)
        case.received.signal(signal.SIGINT)
        gate.open()
        case.end().check(1, 1)
        assert "gave the devices back" in case.sent.stderr


def test_a_link_that_breaks_between_check_and_loaded(tmp_path):
    with HeldCase(tmp_path, "check") as case:
        gate = at_loaded(case)
        case.relay.cut()
        gate.open()
        case.end().check(1, 1)


def test_a_receiver_killed_between_check_and_loaded(tmp_path):
    with HeldCase(tmp_path, "check") as case:
        at_loaded(case)
        case.kill("received")
        case.relay.cut()
        case.sent.finish(CASE_DEADLINE)
        case.look().check_source()
        assert case.sent.code == 1, case.story()


def test_a_target_that_cannot_say_loaded_gives_up(tmp_path):
    """And cannot say that it does."""
    with HeldCase(tmp_path, "check", receive_words=IMPATIENT) as case:
        gate = at_loaded(case)
        case.relay.stop_reading()
        jam(case.received, f"{tmp_path}/move")
        gate.open()
        case.received.finish(CASE_DEADLINE)
        case.relay.cut()
        case.end().check(1, 1)
        assert "in stage loaded" in case.received.stderr, case.story()


# The target when it runs.

def test_a_target_that_cannot_say_that_it_runs_runs(tmp_path):
    with HeldCase(tmp_path, "start at the target") as case:
        case.relay.cut()
        case.end().check(4, 0)
        assert "could not be told that the devices run" in \
            case.received.stderr
        case.here.set_state("--reset")
        case.look().goes_on_there()


def test_a_receiver_killed_when_the_device_runs(tmp_path):
    """Nobody said so; an operator sees it."""
    with HeldCase(tmp_path, "start at the target") as case:
        Gate(case.received).wait()  # where it says that the device runs
        case.kill("received")
        case.relay.cut()
        case.sent.finish(CASE_DEADLINE)
        case.look().check_source()
        assert case.sent.code == 4, case.story()
        assert case.there.seen_by_vfmig() == "RUNNING"
        case.here.set_state("--reset")
        case.look().goes_on_there()


# Whoever is killed while it brings back what it had.

def test_a_sender_killed_while_it_goes_back(tmp_path):
    with HeldCase(tmp_path, "slow to go back") as case:
        case.sent.signal(signal.SIGINT)
        case.sent.err.wait_for("vfmig: ")
        case.kill("sent")
        case.relay.cut()
        case.received.finish(CASE_DEADLINE)
        assert case.received.code == 1, case.received.stderr
        take_back(case)


def test_a_receiver_killed_after_it_gave_back(tmp_path):
    with HeldCase(tmp_path, "yours") as case:
        case.received.signal(signal.SIGINT)
        case.relay.wait_for_message(RETURNED)
        case.kill("received")
        case.relay.release()
        case.sent.finish(CASE_DEADLINE)
        case.look().check_source()
        assert case.sent.code == 1, case.story()
        case.goes_on_here()


def test_a_sender_killed_after_it_had_to_reset(tmp_path):
    """Nobody says so but the device."""
    with HeldCase(tmp_path, "slow to break") as case:
        Gate(case.sent, "device 0000:00:01.0 ERROR\n").wait()
        case.kill("sent")
        case.relay.cut()
        case.received.finish(CASE_DEADLINE)
        case.look().is_reset(case.after_here)
        assert case.received.code == 1, case.received.stderr


# Two more ways to be held.
HOLDS["slow to go back"] = Hold("complete", "complete", ("stream", 300000),
                                features="stop-copy", size="16M",
                                here_delay="STOP_COPY>STOP")
HOLDS["slow to break"] = Hold("stop", None,
                              here_delay="PRE_COPY_P2P>STOP_COPY",
                              here_fails="PRE_COPY_P2P>STOP_COPY,leave=ERROR")
