# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""The library's vfio-user client against the emulated device, by way of the
examples of its headers: every byte arrives, and whatever the device does wrong
ends in one sentence and a device that runs."""
import hashlib
import os
import subprocess

import pytest

from vfio_user import Device

DEADLINE = 120
KIB, MIB = 1 << 10, 1 << 20

PERSONALITIES = ["spec", "libvfio-user"]


@pytest.fixture(autouse=True, params=["area", "messages"])
def way(request, monkeypatch):
    """How the state goes."""
    words = [] if request.param == "area" else ["--no-data-area"]
    monkeypatch.setattr("vfio_user.Device.always", words)


def example(name, *words):
    program = os.path.join(os.environ["VFMIG_BUILD"], "examples",
                           "example-" + name)
    return subprocess.run([program, *map(str, words)], timeout=DEADLINE,
                          capture_output=True, text=True, check=False)


def save(device, path):
    return example("device", device.path, "save", path)


def load(device, path):
    return example("device", device.path, "load", path)


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def moves(directory, *options, size=MIB):
    """Saves one device and loads another; returns what both report."""
    words = ("--size", str(size), "--digest", *options)
    state = directory / "state"
    with Device(directory, *words, "--seed", "7", name="a") as a, \
            Device(directory, *words, "--seed", "8", name="b") as b:
        done = save(a, state)
        assert (done.returncode, done.stderr) == (0, "")
        done = load(b, state)
        assert (done.returncode, done.stderr) == (0, "")
        a, b = a.stop(), b.stop()
    assert a["saved_sha256"] == b["loaded_sha256"] == sha256(state)
    assert a["bytes_saved"] == b["bytes_loaded"] == state.stat().st_size
    assert a["state"] == b["state"] == "RUNNING"
    assert b["loads_accepted"] == 1 and b["loads_refused"] == 0
    return a, b


@pytest.mark.parametrize("personality", PERSONALITIES)
@pytest.mark.parametrize("size", [4 * KIB, MIB + 4 * KIB, 64 * MIB])
def test_what_is_saved_is_what_is_loaded(tmp_path, personality, size):
    moves(tmp_path, "--personality", personality, size=size)


@pytest.mark.parametrize("personality", PERSONALITIES)
@pytest.mark.parametrize("limit", ["64K", "4K"])
def test_the_limit_of_the_server_is_kept_to(tmp_path, personality, limit):
    moves(tmp_path, "--personality", personality, "--max-data-xfer", limit)


@pytest.mark.parametrize("split", [1, 15, 17, 36544])
def test_replies_in_pieces_are_put_together(tmp_path, split):
    moves(tmp_path, "--split", str(split), size=64 * KIB)


@pytest.mark.parametrize("offset", [0, 1, 4095, 65536, MIB - 1])
def test_a_short_read_does_not_end_the_state(tmp_path, offset):
    a, _ = moves(tmp_path, "--short", f"read@{offset}:1,count=3")
    assert a["faults"] > 0


@pytest.mark.parametrize("features", ["stop-copy", "stop-copy,p2p",
                                      "stop-copy,pre-copy"])
def test_what_a_device_does_not_have_is_not_missed(tmp_path, features):
    moves(tmp_path, "--features", features)


@pytest.mark.parametrize("command", ["MIG_DATA_READ", "MIG_DATA_WRITE",
                                     "DEVICE_FEATURE", "REGION_READ"])
def test_the_device_may_ask_for_memory_before_it_answers(tmp_path, command):
    a, b = moves(tmp_path, "--inject", f"{command}:dma-read,count=5")
    assert a["faults"] + b["faults"] > 0


def fails(directory, verb, *options, state=None):
    """Runs `verb` on a device of these options.  It must fail with a sentence
    and leave the device running."""
    with Device(directory, "--size", "1M", *options, name="x") as device:
        done = example("device", device.path, verb,
                       state or directory / "out")
        report = device.stop()
    assert done.returncode == 1
    assert done.stderr.startswith(f"example-device: {device.path}: ")
    assert done.stderr.count("\n") == 1
    return done.stderr, report


@pytest.fixture(name="state", scope="module")
def fixture_state(tmp_path_factory):
    directory = tmp_path_factory.mktemp("state")
    with Device(directory, "--size", "1M") as device:
        assert save(device, directory / "state").returncode == 0
    return directory / "state"


@pytest.mark.parametrize("personality", PERSONALITIES)
def test_a_read_that_fails_is_told_and_recovered_from(tmp_path, personality):
    words, report = fails(tmp_path, "save", "--fail", "read@500000:EIO",
                          "--personality", personality)
    assert "cannot read its state: Input/output error" in words
    assert report["state"] == "RUNNING"


@pytest.mark.parametrize("personality", PERSONALITIES)
def test_a_write_that_fails_is_told_and_recovered_from(tmp_path, state,
                                                       personality):
    words, report = fails(tmp_path, "load", "--fail", "write@500000:ENOSPC",
                          "--personality", personality, state=state)
    assert "cannot write its state: No space left on device" in words
    # A reset leaves the latter where it is: with half a state, which it does
    # not let go.
    if personality == "spec":
        assert report["state"] == "RUNNING"
    else:
        assert "could not be brought back from RESUMING" in words


@pytest.mark.parametrize("personality", PERSONALITIES)
def test_a_state_that_is_refused_is_told_and_recovered_from(
        tmp_path, state, personality):
    words, report = fails(tmp_path, "load", "--fail", "RESUMING>STOP:EINVAL",
                          "--personality", personality, state=state)
    assert "cannot enter state STOP: Invalid argument" in words
    assert report["state"] == "RUNNING"


def test_a_transition_that_stops_half_way_is_told(tmp_path):
    words, report = fails(tmp_path, "save", "--fail",
                          "STOP>STOP_COPY:EIO,leave=STOP")
    assert "cannot enter state STOP_COPY: Input/output error" in words
    assert report["state"] == "RUNNING"


# The connection is lost, so the device stays where it was; nobody can tell it
# to go on.
@pytest.mark.parametrize("part", [
    "id", "command", "type", "size-small", "size-large", "count"])
def test_an_answer_that_makes_no_sense_ends_the_connection(tmp_path, part):
    words, report = fails(tmp_path, "save", "--corrupt",
                          f"MIG_DATA_READ:{part},skip=1")
    assert "cannot read its state" in words
    assert report["faults"] == 1


@pytest.mark.parametrize("when", ["before", "mid", "after", "unanswered"])
@pytest.mark.parametrize("where", ["VERSION", "DEVICE_GET_INFO",
                                   "STOP_COPY", "read@300000"])
def test_a_device_that_hangs_up_while_it_is_saved_is_told(tmp_path, where,
                                                          when):
    words, report = fails(tmp_path, "save", "--close", f"{where},when={when}")
    assert "closed the connection" in words
    assert report["faults"] == 1


@pytest.mark.parametrize("when", ["before", "mid", "after"])
@pytest.mark.parametrize("where", ["RESUMING", "write@300000", "STOP"])
def test_a_device_that_hangs_up_while_it_is_loaded_is_told(tmp_path, state,
                                                           where, when):
    words, report = fails(tmp_path, "load", "--close", f"{where},when={when}",
                          state=state)
    assert "closed the connection" in words
    assert report["faults"] == 1


def test_a_reply_to_nothing_ends_the_connection(tmp_path):
    words, _ = fails(tmp_path, "save", "--inject", "MIG_DATA_READ:reply")
    assert "to no request" in words


def test_a_device_that_falls_silent_is_told_in_time(tmp_path):
    words, _ = fails(tmp_path, "save", "--delay", "DEVICE_GET_INFO:0")
    assert "no answer to DEVICE_GET_INFO within 5000 ms" in words


@pytest.mark.parametrize("personality", PERSONALITIES)
def test_a_vmm_sets_its_device_up(tmp_path, personality):
    with Device(tmp_path, "--size", "1M", "--vectors", "40", "--personality",
                personality) as device:
        done = example("vfio-user", device.path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"{device.path} is RUNNING"
    assert lines[1] == "40 interrupts"
    assert lines[2].startswith("region 2: ")
    assert lines[2].endswith("can be mapped")


@pytest.mark.parametrize("part", ["cap-offset", "cap-loop", "nr-areas",
                                  "extra-fd", "no-fd"])
def test_region_information_that_makes_no_sense_harms_nothing(tmp_path, part):
    with Device(tmp_path, "--size", "1M", "--corrupt",
                f"DEVICE_GET_REGION_INFO:{part},count=0") as device:
        done = example("vfio-user", device.path)
        device.stop()
    assert done.returncode in (0, 1)
    assert done.stderr.count("\n") == done.returncode


def test_nobody_at_the_address_is_told(tmp_path):
    done = example("device", tmp_path / "none", "save", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr == (
        f"example-device: {tmp_path}/none: cannot connect: "
        "No such file or directory (does its server run?)\n")
