# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""The link between sender and receiver breaks, or stalls, at every byte of the
handover and at chosen ones of the rest; and what a person then does."""
import re
import shlex

import pytest

from faults import CASE_DEADLINE, Case
from relay import LOADED, RUNNING, Relay
from vfmig_programs import Run, vfmig

LOADED_SIZE, YOURS_SIZE, RUNNING_SIZE = 12, 5, 4
IMPATIENT = ("--peer-timeout", "1s")
# By who is patient.
IMPATIENT_ONE = {"sender": ("receive_words", "received"),
                 "receiver": ("send_words", "sent")}


def held(folder, hold, tcp=False, **words):
    case = Case(folder, **words)
    try:
        case.begin(relay=Relay(folder, hold, tcp))
        case.relay.wait_held()
    except BaseException:
        case.__exit__()
        raise
    return case


def cut(folder, hold, tcp=False, **words):
    case = held(folder, hold, tcp, **words)
    case.relay.cut()
    return case


def resolve_here(case):
    """The device does not run at the target: the command that the sender has
    named brings it back."""
    told = vfmig("state", "-d", case.there.word, "--json").ok().json()
    assert told["state"] == "RUNNING"  # but reset, as its receiver said
    assert "was reset" in case.received.stderr
    named = re.search("'(vfmig state -d [^']* RUNNING)' here",
                      case.sent.stderr).group(1)
    Run(*shlex.split(named)[1:]).finish(CASE_DEADLINE).ok()
    case.look().goes_on_here()


def resolve_there(case):
    """The device runs at the target: what is left here is thrown away."""
    assert case.there.seen_by_vfmig() == "RUNNING"
    case.here.set_state("--reset")
    case.look()
    assert not case.after_here.moved_state, case.story()
    case.goes_on_there()


# The hello: nothing is touched.

HELLO = [0, 1, 3, 4, 8, 11, 12, 13, 40]


@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("count", HELLO)
def test_a_link_cut_in_the_hello_costs_nothing(way, count, tmp_path):
    with cut(tmp_path, (way, count)) as case:
        case.end().check(1, 1)
        assert case.after_here.steps == case.after_there.steps == []


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_link_that_stalls_in_the_hello_is_given_up(way, tmp_path):
    with held(tmp_path, (way, 12), send_words=IMPATIENT) as case:
        case.sent.finish(CASE_DEADLINE)
        case.relay.cut()
        case.end().check(1, 1)


# The stream: the device runs on at the source.

STREAM = [0, 1, 7, 8, 40, 96, 100, 5000, 600000, 1050000]


@pytest.mark.parametrize("features", ["all", "stop-copy"])
@pytest.mark.parametrize("count", STREAM)
def test_a_link_cut_in_the_stream_leaves_the_device_here(count, features,
                                                         tmp_path):
    with cut(tmp_path, ("stream", count), features=features) as case:
        case.end().check(1, 1)


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("patient", ["sender", "receiver"])
def test_a_link_that_stalls_in_the_stream_leaves_the_device_here(patient, tcp,
                                                                 tmp_path):
    words, run = IMPATIENT_ONE[patient]
    with held(tmp_path, ("stream", 600000), tcp, size="16M",
              **{words: IMPATIENT}) as case:
        getattr(case, run).finish(CASE_DEADLINE)
        case.relay.cut()
        case.end().check(1, 1)


# The handover, every byte of it.

@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("count", range(LOADED_SIZE))
def test_a_link_cut_in_loaded_leaves_the_device_here(count, tcp, tmp_path):
    with cut(tmp_path, (LOADED, count), tcp) as case:
        case.end().check(1, 1)


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("count", range(YOURS_SIZE))
def test_a_link_cut_in_yours_is_resolved_for_the_source(count, tcp, tmp_path):
    with cut(tmp_path, ("yours", count), tcp) as case:
        case.end().check(4, 1)
        resolve_here(case)


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("count", range(RUNNING_SIZE))
def test_a_link_cut_in_running_is_resolved_for_the_target(count, tcp,
                                                          tmp_path):
    with cut(tmp_path, (RUNNING, count), tcp) as case:
        case.end().check(4, 0)
        resolve_there(case)


def test_a_link_cut_after_running_is_no_failure(tmp_path):
    with held(tmp_path, (RUNNING, RUNNING_SIZE - 1)) as case:
        case.relay.release()
        case.end().check(0, 0)


@pytest.mark.parametrize("patient", ["sender", "receiver"])
def test_a_link_that_stalls_in_loaded_leaves_the_device_here(patient,
                                                             tmp_path):
    words, run = IMPATIENT_ONE[patient]
    with held(tmp_path, (LOADED, 5), **{words: IMPATIENT}) as case:
        getattr(case, run).finish(CASE_DEADLINE)
        case.relay.cut()
        case.end().check(1, 1)


def test_a_target_that_gives_up_before_yours_gives_the_device_back(tmp_path):
    """It says so while YOURS is on its way."""
    with held(tmp_path, ("yours", 2), receive_words=IMPATIENT) as case:
        case.end().check(1, 1)
        assert "gave the devices back" in case.sent.stderr


@pytest.mark.parametrize("arrives", [True, False])
def test_a_source_that_gives_up_after_yours_has_handed_over(arrives,
                                                            tmp_path):
    with held(tmp_path, ("yours", 0), send_words=IMPATIENT) as case:
        case.sent.finish(CASE_DEADLINE)
        case.relay.release() if arrives else case.relay.cut()
        case.end().check(4, 0 if arrives else 1)
        resolve_there(case) if arrives else resolve_here(case)


def test_a_source_that_does_not_hear_running_has_handed_over(tmp_path):
    with held(tmp_path, (RUNNING, 0), send_words=IMPATIENT) as case:
        case.sent.finish(CASE_DEADLINE)
        case.relay.cut()
        case.end().check(4, 0)
        resolve_there(case)
