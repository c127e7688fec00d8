# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""vfmig check: what it says of devices that are right, and of some that are
not."""
import json
import re
import signal
from pathlib import Path

import pytest

from vfmig_programs import Device, Run, vfmig, wait_for_steps

PERSONALITIES = ["spec", "libvfio-user", "rust", "qemu-limits"]
# The whole suite, with sanitizers, on a busy machine.
LONG = 300
# Those that only take time where nothing but names matters.
QUICK = ("--skip", "pieces", "--skip", "timing", "--skip", "repeats")


def check(device, *words):
    return vfmig("check", "-d", device.word, "--json", *words, seconds=LONG)


def outcomes(run):
    return {c["name"]: c["outcome"] for c in run.json()["checks"]}


def those(run, outcome):
    return [name for name, o in outcomes(run).items() if o == outcome]


def reasons(run):
    return {c["name"]: c["reason"] for c in run.json()["checks"]}


@pytest.mark.parametrize("personality", PERSONALITIES)
def test_no_device_of_any_personality_fails(tmp_path, personality):
    with Device(tmp_path, "d", "--personality", personality) as device:
        run = check(device).ok()
        assert those(run, "failed") == []
        assert len(those(run, "passed")) > 90
        assert device.state() == "RUNNING"


@pytest.mark.parametrize("options", [
    ("--features", "stop-copy"),
    ("--features", "stop-copy,pre-copy"),
    ("--features", "stop-copy,p2p"),
    ("--features", "stop-copy,pre-copy,p2p,data-size,precopy-info,reinit"),
    ("--dirty-rate", "50M"),
    ("--max-data-xfer", "4K"),
    ("--size", "4K"),
])
def test_no_device_fails_for_what_it_lacks(tmp_path, options):
    with Device(tmp_path, "d", *options) as device:
        assert those(check(device, *QUICK).ok(), "failed") == []


def test_p2p_and_pre_copy_are_left_out_where_there_are_none(tmp_path):
    with Device(tmp_path, "d", "--features", "stop-copy") as device:
        run = check(device, "--only", "states", "--only", "precopy").ok()
        assert reasons(run)["state-PRE_COPY-to-STOP"] == \
            "the device has no PRE_COPY"
        assert outcomes(run)["precopy-all-read"] == "skipped"
        # A state that it has not must be refused all the same.
        assert outcomes(run)["state-RUNNING-to-PRE_COPY_P2P"] == "passed"


def test_a_device_is_told_to_do_without(tmp_path):
    with Device(tmp_path) as device:
        run = vfmig("check", "-d", f"{device.word},pre-copy=off", "--json",
                    "--only", "precopy").ok()
        assert those(run, "passed") == []


# What the emulated device is told to do wrong, and who has to find it.
FAULTS = [
    ("--fail", "STOP>STOP_COPY,count=0", "state-STOP-to-STOP_COPY"),
    ("--fail", "RESUMING>STOP,count=0", "state-RESUMING-to-STOP"),
    ("--fail", "PRE_COPY>PRE_COPY_P2P,leave=STOP,count=0",
     "state-PRE_COPY-to-PRE_COPY_P2P"),
    ("--fail", "RUNNING>RUNNING_P2P,leave=ERROR,count=0",
     "state-RUNNING-to-RUNNING_P2P"),
    ("--corrupt", "read@100000,count=0", "session-closed-at-the-end"),
    ("--corrupt", "write@100000,count=0", "piece-writes-of-4K"),
    ("--short", "read@100000,count=0", "precopy-all-read"),
    ("--short", "read@0:0,count=0", "refusal-cut-anywhere"),
    ("--fail", "MIG_DATA_READ,count=0", "session-gives-a-state"),
    ("--fail", "MIG_DATA_WRITE,count=0", "piece-writes-of-1-byte"),
    ("--fail", "MIG_GET_PRECOPY_INFO,count=0", "estimate-info-in-PRE_COPY"),
    ("--data-size-report", "zero", "estimate-size-in-STOP_COPY"),
    ("--data-size-report", "huge", "estimate-size-after-PRE_COPY"),
    ("--close", "STOP_COPY>STOP,count=0", "session-gives-a-state"),
    ("--corrupt", "DEVICE_STATE:truncated,count=0,skip=2",
     "feature-probe-does-nothing"),
]


@pytest.mark.parametrize("option,value,name", FAULTS,
                         ids=[f"{o[2:]}-{v}" for o, v, _ in FAULTS])
def test_a_fault_is_found_by_the_check_of_that_name(tmp_path, option, value,
                                                    name):
    with Device(tmp_path, "d", option, value) as device:
        run = check(device, "--only", name)
        assert run.code == (5 if option == "--data-size-report" else 1)
        assert those(run, "failed") == [name]


def test_one_hangup_fails_one_check_and_the_rest_goes_on(tmp_path):
    with Device(tmp_path, "d", "--close", "STOP_COPY") as device:
        run = check(device, *QUICK).exits(1)
        assert len(those(run, "failed")) == 1
        assert "ECONNRESET" in reasons(run)[those(run, "failed")[0]]


def test_a_device_that_cannot_be_brought_back_is_left_alone(tmp_path):
    with Device(tmp_path, "d", "--fail", "STOP_COPY>STOP,count=0", "--fail",
                "DEVICE_RESET,count=0") as device:
        run = check(device, *QUICK).exits(1)
        lost = [reason for reason in reasons(run).values()
                if reason and "could not be brought back" in reason]
        assert len(lost) > 50
        assert outcomes(run)["session-gives-a-state"] == "skipped"


def test_a_device_that_does_not_answer_is_not_waited_for_all_the_time(tmp_path):
    with Device(tmp_path, "d", "--delay", "MIG_DATA_READ:0,count=0") as device:
        run = vfmig("check", "-d", f"{device.word},data-timeout=300", "--json",
                    seconds=LONG).exits(1)
        assert "does not answer" in run.json()["error"]
        assert len(those(run, "failed")) == 3
        assert all("ETIMEDOUT" in reasons(run)[name]
                   for name in those(run, "failed"))
        assert "--only" in reasons(run)[those(run, "skipped")[-1]]


def test_a_device_that_is_lost_in_a_quirks_check_is_a_failure(tmp_path):
    """The rest was skipped: nobody may take that for a device that is well."""
    with Device(tmp_path, "d", "--fail", "STOP_COPY>STOP,count=0", "--fail",
                "DEVICE_RESET,count=0") as device:
        run = check(device, "--only", "timing").exits(1)
        assert "could not be brought back" in reasons(run)[
            those(run, "failed")[-1]]
        assert "the device was lost" in run.json()["error"]
        assert "the device was lost" in run.stderr


def test_what_every_device_must_is_no_quirk(tmp_path):
    with Device(tmp_path, "d", "--fail", "STOP_COPY:EIO,count=0") as device:
        run = check(device, "--only", "timing").exits(1)
        assert reasons(run)["time-STOP-to-STOP_COPY"] == \
            "STOP -> STOP_COPY: the device says EIO"
        assert not those(run, "quirk")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_good_order(tmp_path, number):
    """The device is back, and what was found until then is reported."""
    with Device(tmp_path, "d", "--report", tmp_path / "report", "--delay",
                "RUNNING>STOP:100,count=0") as device, \
            Run("check", "-d", device.word, "--json") as run:
        wait_for_steps(device, tmp_path / "report")
        run.signal(number)
        run.finish().exits(1)
        assert device.state() == "RUNNING"
    checks = json.loads(run.stdout)["checks"]
    cancelled = [c for c in checks if c["reason"] == "cancelled"]
    assert len(checks) - 20 < len(cancelled) < len(checks)
    assert "cancelled" in run.error()


def test_a_should_alone_has_an_exit_code_of_its_own(tmp_path):
    with Device(tmp_path, "d", "--data-size-report", "zero") as device:
        check(device, "--only", "estimates").exits(5)
        check(device, "--only", "estimates", "--skip", "*size*").ok()


def test_a_device_that_cannot_be_opened_is_a_failure(tmp_path):
    run = vfmig("check", "-d", f"vfio-user:{tmp_path}/nobody").exits(1)
    assert "cannot connect" in run.error()


def test_a_device_that_cannot_be_migrated_is_a_failure(tmp_path):
    with Device(tmp_path, "d", "--features", "dma-logging") as device:
        run = vfmig("check", "-d", device.word).exits(1)
        assert "cannot be migrated" in run.error()


def test_a_device_that_was_left_stopped_is_brought_back(tmp_path):
    with Device(tmp_path, "d", "--personality", "libvfio-user") as device:
        device.set_state("STOP_COPY")
        check(device, "--only", "features").ok()
        assert device.state() == "RUNNING"


@pytest.mark.parametrize("words,expected", [
    (("--only", "state-STOP-to-*"), 8),
    (("--only", "state-STOP-to-RUNNING", "--only", "state-RUNNING-to-STOP"),
     2),
    (("--only", "state-STOP-to-*", "--skip", "*_*"), 4),
])
def test_globs_say_what_runs(tmp_path, words, expected):
    with Device(tmp_path) as device:
        assert len(check(device, *words).ok().json()["checks"]) == expected


def test_a_group_is_selected_by_its_name(tmp_path):
    with Device(tmp_path) as device:
        run = check(device, "--only", "features").ok()
        assert {c["group"] for c in run.json()["checks"]} == {"features"}


def test_the_list_needs_no_device():
    run = vfmig("check", "--list").ok()
    names = [line.split()[2] for line in run.stdout.splitlines()]
    assert len(names) == len(set(names)) >= 120
    told = vfmig("check", "--list", "--json").ok().json()
    assert [c["name"] for c in told] == names
    assert all(c["rule"] and c["look"] for c in told)
    assert {c["severity"] for c in told} == {"must", "should", "quirk"}


def test_every_check_can_be_explained():
    for c in vfmig("check", "--list", "--json").ok().json()[::10]:
        said = vfmig("check", "--explain", c["name"]).ok().stdout
        assert c["rule"] in said and c["look"] in said and \
            c["severity"] in said


@pytest.mark.parametrize("words", [
    (),
    ("--list", "--explain", "state-STOP-to-RUNNING"),
    ("--explain", "no-such-check"),
    ("--list", "--only", "nothing-has-this-name"),
    ("-d", "vfio-user:x", "--only", "nothing-has-this-name"),
    ("-d", "vfio-user:x", "--only", "features", "--only", "faetures"),
    ("-d", "vfio-user:x", "--skip", "state-STOP-to-RUNING"),
    ("--list", "--format", "tap"),
    ("--list", "--format", "junit"),
    ("--explain", "state-STOP-to-RUNNING", "--json"),
    ("-d", "vfio-user:x", "--json", "--format", "tap"),
    ("-d", "vfio-user:x", "--format", "yaml"),
    ("-d", "vfio-user:x", "--format", "markdown"),
    ("-d", "vfio-user:x", "-d", "vfio-user:y,id=2"),
    ("-d", "vfio-user:x", "word"),
])
def test_what_cannot_be_meant_is_a_usage_error(words):
    vfmig("check", *words).exits(2)


def test_the_page_of_all_checks_is_that_of_this_program():
    page = Path(__file__).parents[2] / "docs" / "conformance.md"
    run = vfmig("check", "--list", "--format", "markdown").ok()
    assert page.read_text() == run.stdout, \
        "run: vfmig check --list --format markdown -o docs/conformance.md"


def test_the_page_tells_each_rule_once_and_each_check():
    page = vfmig("check", "--list", "--format", "markdown").ok().stdout
    checks = json.loads(vfmig("check", "--list", "--json").ok().stdout)
    groups = re.split(r"^## ([\w-]+): .*$", page, flags=re.MULTILINE)[1:]
    told = dict(zip(groups[::2], groups[1::2]))
    for group, text in told.items():
        of_group = [c for c in checks if c["group"] == group]
        names = re.findall(r"^  \* \*\*\w+\*\* (.*)$", text, re.MULTILINE)
        assert sorted(f"`{c['name']}`" for c in of_group) == \
            sorted(", ".join(names).split(", "))
        rules = re.findall(r"^\* (.*)$", text, re.MULTILINE)
        assert len(rules) == len(set(rules))
        assert set(rules) == {c["rule"] for c in of_group}
    assert set(told) == {c["group"] for c in checks}


def test_of_some_checks_the_page_has_those():
    page = vfmig("check", "--list", "--format", "markdown", "--only",
                 "state-STOP-to-*", "--only", "dma-quiet-in-STOP").ok().stdout
    assert page.count("\n## ") == 2 and page.count("\n* ") == 3 + 2
    assert "`dma-quiet-in-STOP`\n" in page and "STOP_COPY-to" not in page
