# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""Several devices move together, and one of them fails: they stay together."""
import contextlib

import pytest

from faults import CASE_DEADLINE, HERE_SEED, Look, Side, THERE_SEED, error_line
from vfmig_programs import Run, receive

WORDS = ("--size", "256K", "--dirty-size", "16K", "--initial-size", "16K")


class Three:
    """Three devices on either side, of which the second may have a fault."""

    def __init__(self, stack, folder, here=(), there=()):
        self.folder = folder
        self.here = [self.side(stack, f"h{i}", HERE_SEED, here, i)
                     for i in range(3)]
        self.there = [self.side(stack, f"t{i}", THERE_SEED, there, i)
                      for i in range(3)]

    def side(self, stack, name, seed, fault, i):
        side = Side(self.folder, name, *WORDS, "--seed", seed,
                    *(fault if i == 1 else ()))
        return stack.enter_context(side)

    @staticmethod
    def words(sides):
        return [w for i, side in enumerate(sides)
                for w in ("-d", f"{side.word},id={i}")]

    def run(self, sent, received):
        with receive("-q", *self.words(self.there),
                     f"unix:{self.folder}/move") as there:
            with Run("send", "-q", *self.words(self.here), there.uri) as here:
                here.finish(CASE_DEADLINE).exits(sent)
                there.finish(CASE_DEADLINE).exits(received)
        self.said = error_line(here, sent)
        error_line(there, received)
        self.after_here = [Look(side, HERE_SEED) for side in self.here]
        self.after_there = [Look(side, THERE_SEED) for side in self.there]
        faults = [x.faults for x in self.after_here + self.after_there]
        assert max(faults) > 0 or not any(
            side.has_faults for side in self.here + self.there)
        return self


@pytest.fixture(name="three")
def three_(tmp_path):
    with contextlib.ExitStack() as stack:
        yield lambda **words: Three(stack, tmp_path, **words)


def all_here(three, but=None):
    for i, (here, there) in enumerate(zip(three.after_here,
                                          three.after_there)):
        assert here.state == there.state == "RUNNING", (here, there)
        assert here.moved_state == (i != but), (here, there)
        assert not there.moved_state, (here, there)


def test_all_of_them_move(three):
    moved = three().run(0, 0)
    for here, there in zip(moved.after_here, moved.after_there):
        assert here.state == "STOP" and there.state == "RUNNING"
        assert there.moved_state


SOURCE = ["RUNNING>PRE_COPY", "PRE_COPY>PRE_COPY_P2P",
          "PRE_COPY_P2P>STOP_COPY"]
TARGET = ["RUNNING>RUNNING_P2P", "RUNNING_P2P>STOP", "STOP>RESUMING",
          "RESUMING>STOP", "STOP>RUNNING_P2P", "RUNNING_P2P>RUNNING"]


@pytest.mark.parametrize("arc", SOURCE)
def test_all_run_on_if_one_source_refuses(three, arc):
    all_here(three(here=("--fail", arc)).run(1, 1))


@pytest.mark.parametrize("arc", SOURCE)
def test_the_one_that_was_reset_is_named(three, arc):
    moved = three(here=("--fail", f"{arc},leave=ERROR")).run(3, 1)
    all_here(moved, but=1)
    assert "h1.sock was reset" in moved.said
    assert "h0.sock is RUNNING" in moved.said


@pytest.mark.parametrize("arc", TARGET)
@pytest.mark.parametrize("leave", ["", ",leave=ERROR"])
def test_all_run_on_if_one_target_fails(three, arc, leave):
    all_here(three(there=("--fail", arc + leave)).run(1, 1))


def test_all_run_on_if_one_source_hangs_up(three):
    moved = three(here=("--close", "PRE_COPY>PRE_COPY_P2P,when=before")
                  ).run(3, 1)
    assert "h1.sock could not be brought back" in moved.said
    for i in (0, 2):
        assert moved.after_here[i].state == "RUNNING"
        assert moved.after_here[i].moved_state
    assert not any(there.moved_state for there in moved.after_there)


@pytest.mark.parametrize("when", ["before", "unanswered"])
def test_none_is_given_back_if_one_target_may_run(three, when):
    """It hung up on its way to RUNNING, so nobody can stop it."""
    moved = three(there=("--close", f"RUNNING_P2P>RUNNING,when={when}")
                  ).run(4, 3)
    for here in moved.after_here:
        assert here.moved_state and here.state == "STOP_COPY"
    for i in (0, 2):
        assert not moved.after_there[i].moved_state
