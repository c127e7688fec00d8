# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""Every transition that a migration takes fails once, in every way that a device
has, at either side: both tools end, their exit statuses say what became of the
device, and it runs at exactly one side."""
import pytest

from faults import Case, FEATURES, IMPATIENT

# What each side's device goes through, by what it can.
SOURCE = {
    "stop-copy": ["RUNNING>STOP", "STOP>STOP_COPY", "STOP_COPY>STOP"],
    "pre-copy": ["RUNNING>PRE_COPY", "PRE_COPY>STOP_COPY", "STOP_COPY>STOP"],
    "p2p": ["RUNNING>RUNNING_P2P", "RUNNING_P2P>STOP", "STOP>STOP_COPY",
            "STOP_COPY>STOP"],
    "all": ["RUNNING>PRE_COPY", "PRE_COPY>PRE_COPY_P2P",
            "PRE_COPY_P2P>STOP_COPY", "STOP_COPY>STOP"],
}
TARGET_ALONE = ["RUNNING>STOP", "STOP>RESUMING", "RESUMING>STOP",
                "STOP>RUNNING"]
TARGET_P2P = ["RUNNING>RUNNING_P2P", "RUNNING_P2P>STOP", "STOP>RESUMING",
              "RESUMING>STOP", "STOP>RUNNING_P2P", "RUNNING_P2P>RUNNING"]
TARGET = {"stop-copy": TARGET_ALONE, "pre-copy": TARGET_ALONE,
          "p2p": TARGET_P2P, "all": TARGET_P2P}

SOURCE_ARCS = [(f, arc) for f in FEATURES for arc in SOURCE[f]]
TARGET_ARCS = [(f, arc) for f in FEATURES for arc in TARGET[f]]

# The arcs after which nothing can fail any more: the device is given away.
TIDYING = "STOP_COPY>STOP"

# The arcs that the target takes as the owner.
AS_OWNER = ["STOP>RUNNING", "STOP>RUNNING_P2P", "RUNNING_P2P>RUNNING"]

# What may be wrong with the answer to a transition, and whether a client can
# live with it.
BAD_ANSWERS = ["id", "command", "type", "size-small", "size-large",
               "error-zero", "extra-fd", "truncated", "longer", "argsz"]
HARMLESS = ["extra-fd", "longer", "argsz"]


@pytest.mark.parametrize("features", FEATURES)
def test_these_are_the_transitions_of_a_migration(features, tmp_path):
    with Case(tmp_path, features) as case:
        case.run().check(0, 0)
        assert case.after_here.steps == SOURCE[features]
        assert case.after_there.steps == TARGET[features]


def source_fails(folder, features, fault, sent, **words):
    """A fault of the source's device; `sent` is what send must exit with,
    unless the device is no longer needed."""
    given_away = TIDYING in fault[1]
    with Case(folder, features, here=fault, **words) as case:
        case.run()
        if given_away:
            case.check(0, 0)
        else:
            case.check(sent, 1)
    return case


@pytest.mark.parametrize("features,arc", SOURCE_ARCS)
def test_a_source_that_refuses_runs_on(features, arc, tmp_path):
    source_fails(tmp_path, features, ("--fail", f"{arc}:EBUSY"), 1)


@pytest.mark.parametrize("features,arc", SOURCE_ARCS)
def test_a_source_that_refuses_half_way_runs_on(features, arc, tmp_path):
    """It did go there, and says that it did not."""
    to = arc.split(">")[1]
    source_fails(tmp_path, features, ("--fail", f"{arc},leave={to}"), 1)


@pytest.mark.parametrize("features,arc", SOURCE_ARCS)
def test_a_source_that_breaks_is_reset_and_that_is_said(features, arc,
                                                        tmp_path):
    source_fails(tmp_path, features, ("--fail", f"{arc},leave=ERROR"), 3)


@pytest.mark.parametrize("features,arc", SOURCE_ARCS)
def test_a_source_that_never_answers_is_given_up(features, arc, tmp_path):
    source_fails(tmp_path, features, ("--delay", f"{arc}:0"), 3,
                 here_keys=IMPATIENT)


@pytest.mark.parametrize("when", ["before", "mid", "after", "unanswered"])
@pytest.mark.parametrize("features,arc", SOURCE_ARCS)
def test_a_source_that_hangs_up_is_lost_and_that_is_said(features, arc, when,
                                                         tmp_path):
    source_fails(tmp_path, features, ("--close", f"{arc},when={when}"), 3)


@pytest.mark.parametrize("part", BAD_ANSWERS)
@pytest.mark.parametrize("arc", SOURCE["all"])
def test_a_bad_answer_of_the_source_is_no_way_to_two_owners(arc, part,
                                                            tmp_path):
    fault = ("--corrupt", f"{arc}:{part}")
    if part in HARMLESS:
        with Case(tmp_path, here=fault) as case:
            case.run().check(0, 0)
    else:
        source_fails(tmp_path, "all", fault, 1 if part == "error-zero" else 3)


def target_fails(folder, features, fault, reachable=True, **words):
    with Case(folder, features, there=fault, **words) as case:
        case.run()
        as_owner = any(arc in fault[1] for arc in AS_OWNER)
        if reachable:
            case.check(1, 1)
        elif as_owner:
            # It cannot be known whether it runs.
            case.check(4, 3)
        else:
            case.check(1, 3)
        return case


@pytest.mark.parametrize("features,arc", TARGET_ARCS)
def test_a_target_that_refuses_is_reset(features, arc, tmp_path):
    target_fails(tmp_path, features, ("--fail", f"{arc}:EBUSY"))


@pytest.mark.parametrize("features,arc", TARGET_ARCS)
def test_a_target_that_refuses_half_way_is_reset(features, arc, tmp_path):
    to = arc.split(">")[1]
    target_fails(tmp_path, features, ("--fail", f"{arc},leave={to}"))


@pytest.mark.parametrize("features,arc", TARGET_ARCS)
def test_a_target_that_breaks_is_reset(features, arc, tmp_path):
    target_fails(tmp_path, features, ("--fail", f"{arc},leave=ERROR"))


@pytest.mark.parametrize("features,arc", TARGET_ARCS)
def test_a_target_that_never_answers_is_given_up(features, arc, tmp_path):
    target_fails(tmp_path, features, ("--delay", f"{arc}:0"), reachable=False,
                 there_keys=IMPATIENT)


@pytest.mark.parametrize("when", ["before", "mid", "unanswered"])
@pytest.mark.parametrize("features,arc", TARGET_ARCS)
def test_a_target_that_hangs_up_is_given_up(features, arc, when, tmp_path):
    target_fails(tmp_path, features, ("--close", f"{arc},when={when}"),
                 reachable=False)


@pytest.mark.parametrize("features,arc", TARGET_ARCS)
def test_a_target_that_hangs_up_afterwards_counts_only_if_it_runs(
        features, arc, tmp_path):
    fault = ("--close", f"{arc},when=after")
    if arc in AS_OWNER:
        # The answer is about the last step, and all were taken.
        with Case(tmp_path, features, there=fault) as case:
            case.run().check(0, 0)
    else:
        target_fails(tmp_path, features, fault, reachable=False)


@pytest.mark.parametrize("part", BAD_ANSWERS)
@pytest.mark.parametrize("arc", TARGET["all"])
def test_a_bad_answer_of_the_target_is_no_way_to_two_owners(arc, part,
                                                            tmp_path):
    fault = ("--corrupt", f"{arc}:{part}")
    if part in HARMLESS:
        with Case(tmp_path, there=fault) as case:
            case.run().check(0, 0)
    elif part == "error-zero":
        target_fails(tmp_path, "all", fault)
    else:
        target_fails(tmp_path, "all", fault, reachable=False)
