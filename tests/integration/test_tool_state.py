# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""vfmig state: shows or sets the state of a device."""
from vfmig_programs import Device, vfmig


def test_it_shows_the_state_and_leaves_it(tmp_path):
    with Device(tmp_path) as device:
        assert device.state() == "RUNNING"
        assert device.state() == "RUNNING"


def test_it_walks_a_device_through_its_states(tmp_path):
    with Device(tmp_path) as device:
        for state in ("STOP", "RUNNING", "PRE_COPY", "STOP_COPY", "STOP",
                      "RUNNING_P2P", "RUNNING"):
            run = vfmig("state", "-d", device.word, state).ok()
            assert run.stdout == f"{state}\n"
            assert device.state() == state


def test_a_state_may_be_spelled_in_lower_case(tmp_path):
    with Device(tmp_path) as device:
        device.set_state("stop-copy")
        assert device.state() == "STOP_COPY"


def test_json_tells_where_it_was_and_where_it_is(tmp_path):
    with Device(tmp_path) as device:
        told = vfmig("state", "-d", device.word, "STOP", "--json").ok().json()
        assert told == {"device": device.word, "previous": "RUNNING",
                        "state": "STOP", "error": None}


def test_json_is_utf8_whatever_the_path_is(tmp_path):
    with Device(tmp_path, "n\udcff\u00e4") as device:
        run = vfmig("state", "-d", device.word, "--json").ok()
    # As an escape; a byte that is no character would have been read as it, too.
    assert "n\\ufffd\u00e4" in run.stdout
    assert run.json()["device"] == device.word.replace("\udcff", "\ufffd")


def test_an_impossible_step_is_refused_and_the_device_stays(tmp_path):
    with Device(tmp_path) as device:
        device.set_state("STOP_COPY")
        run = vfmig("state", "-d", device.word, "PRE_COPY").exits(1)
        assert "PRE_COPY" in run.error()
        assert run.error().endswith("; the device is in STOP_COPY")
        assert device.state() == "STOP_COPY"


def test_a_state_the_device_lacks_is_refused(tmp_path):
    with Device(tmp_path, "d", "--features", "stop-copy") as device:
        run = vfmig("state", "-d", device.word, "PRE_COPY", "--json").exits(1)
        told = run.json()
        assert told["state"] == "RUNNING"
        assert told["error"] in run.error()


def test_where_a_failed_step_left_the_device_is_said(tmp_path):
    with Device(tmp_path, "d", "--fail", "STOP,leave=RUNNING_P2P") as device:
        run = vfmig("state", "-d", device.word, "STOP").exits(1)
        assert run.error().endswith("; the device is in RUNNING_P2P")
        assert device.state() == "RUNNING_P2P"


def test_a_reset_ends_error(tmp_path):
    with Device(tmp_path, "d", "--fail", "STOP,leave=ERROR") as device:
        vfmig("state", "-d", device.word, "STOP").exits(1)
        assert device.state() == "ERROR"
        run = vfmig("state", "-d", device.word, "RUNNING").exits(1)
        assert "ERROR" in run.error()
        run = vfmig("state", "-d", device.word, "--reset").ok()
        assert run.stdout == "RUNNING\n"
