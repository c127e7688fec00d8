# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""vfmig: every exit status, the summary, and reports that cannot be written."""
import os
import re
import resource
import signal

import pytest

from vfmig_programs import Device, Run, receive, vfmig
from vfmig_terminal import Terminal


def test_done_is_0_and_summed_up(tmp_path):
    with Device(tmp_path, "a", "--size", "1M") as a, \
            Device(tmp_path, "b", "--size", "1M") as b, \
            receive("-d", b.word, f"unix:{tmp_path}/move") as there:
        sent = vfmig("send", "-d", a.word, "--downtime-limit", "60s",
                     there.uri).ok()
        there.finish().ok()
    lines = sent.stdout.splitlines()
    assert re.fullmatch(r"sent 1\.\d MiB of device state \(1\.\d MiB of stream\) "
                        rf"to unix:{tmp_path}/move in [\d.]+ m?s", lines[0])
    assert re.fullmatch(r"stopped for [\d.]+ [mu]?s: "
                        r"[a-z-]+ [\d.]+ [mun]?s(, [a-z-]+ [\d.]+ [mun]?s)*",
                        lines[1])
    table = lines[2:-2]
    for line in table:
        assert re.fullmatch(r"    (here   |there  |       )[a-z-]* +[a-z ]+ "
                            r"[\d.]+ [mun]?s +\d+\.\d %", line)
    assert 99 <= sum(float(line.split()[-2]) for line in table) <= 101
    assert table[-1].split()[0] == "self"
    assert re.fullmatch(r"when they were stopped the state that was left was "
                        r"expected to take \S+ \w+; it was \S+ \w+ in all",
                        lines[-2])
    assert re.fullmatch(r"0000:00:01\.0: \S+ \w+ while it ran, \S+ \w+ while it "
                        r"was stopped; STOP here; XXH3 [0-9a-f]{32}", lines[-1])
    assert sent.stderr == ""
    lines = there.stdout.splitlines()
    assert lines[0] == f"listening on unix:{tmp_path}/move"
    assert lines[1].startswith("received 1.")


def test_verbose_says_every_stage_and_state(tmp_path):
    with Device(tmp_path) as device:
        run = vfmig("save", "-v", "-d", device.word, tmp_path / "state").ok()
    lines = run.stderr.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("stage ")] == [
        "hello", "setup", "pre-copy", "stop", "pre-switchover", "complete",
        "check", "loaded", "yours", "start", "cleanup", "done"]
    states = [line.split()[2] for line in lines if line.startswith("device ")]
    assert states[0] == "PRE_COPY"
    assert states[-1] == "RUNNING"
    assert "STOP_COPY" in states


def test_failed_is_1_and_the_device_is_where_it_was(tmp_path):
    with Device(tmp_path, "a", "--fail", "STOP_COPY") as device:
        run = vfmig("save", "-d", device.word, "--json",
                    tmp_path / "state").exits(1)
        assert device.state() == "RUNNING"
    assert run.json()["outcome"] == "failed"
    assert run.json()["error"] in run.error()


def test_lost_is_3_and_the_error_says_that_it_was_reset(tmp_path):
    # It cannot stop, and not go back either.
    with Device(tmp_path, "a", "--fail", "STOP_COPY,leave=ERROR") as device:
        run = vfmig("save", "-d", device.word, "--json",
                    tmp_path / "state").exits(3)
        assert device.state() == "RUNNING"
    assert run.json()["outcome"] == "lost"
    assert "reset" in run.error()
    assert not (tmp_path / "state").exists()


def test_handed_over_is_4_and_the_error_says_what_to_do(tmp_path):
    # The target is killed when it has been given the device, which takes its
    # time to start.
    with Device(tmp_path, "a") as a, \
            Device(tmp_path, "b", "--delay", "STOP>RUNNING_P2P:5000") as b, \
            Terminal("receive", "-d", b.word, f"unix:{tmp_path}/move") as there:
        there.out.wait_for("listening on ")
        with Run("send", "-d", a.word, "--json",
                 f"unix:{tmp_path}/move") as here:
            there.wait_for("start")
            there.signal(signal.SIGKILL)
            here.finish().exits(4)
        assert a.state() in ("STOP", "STOP_COPY")
        assert here.json()["outcome"] == "handed-over"
        assert f"vfmig state -d {a.word} RUNNING" in here.error()
        # Which is how an operator decides for this side.
        a.set_state("RUNNING")


def test_a_full_standard_output_is_noticed_before_anything_is_touched(tmp_path):
    with Device(tmp_path) as device, open("/dev/full", "wb") as full:
        run = vfmig("save", "-d", device.word, tmp_path / "state",
                    stdout=full).exits(1)
        assert "standard output" in run.error()
        assert "No space left" in run.error()
        assert not (tmp_path / "state").exists()


def let_no_file_grow():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


@pytest.mark.parametrize("words", [["receive", "-q", "-d", "DEVICE", "unix:a"],
                                   ["proxy", "unix:a", "unix:b"]])
def test_who_cannot_say_where_he_listens_does_not_wait(words, tmp_path):
    with Device(tmp_path) as device, open(tmp_path / "out", "wb") as out:
        words = [device.word if w == "DEVICE" else w for w in words]
        run = vfmig(*words, stdout=out, cwd=tmp_path,
                    preexec_fn=let_no_file_grow).exits(1)
        assert "cannot tell anybody to come: File too large" in run.error()
        assert len(run.stderr.splitlines()) == 1
        assert device.state() == "RUNNING"


@pytest.mark.parametrize("words", [["--version"], ["--help"],
                                   ["send", "--help"]])
def test_what_cannot_be_printed_is_an_error(words):
    with open("/dev/full", "wb") as full:
        run = vfmig(*words, stdout=full).exits(1)
    assert "standard output" in run.error()


def test_a_comparison_that_cannot_be_printed_says_nothing(tmp_path):
    """1 would say that they differ."""
    (tmp_path / "a").write_bytes(b"state")
    with open("/dev/full", "wb") as full:
        run = vfmig("compare", tmp_path / "a", tmp_path / "a",
                    stdout=full).exits(2)
    assert "No space left" in run.error()


def test_a_report_on_a_full_disk_is_an_error(tmp_path):
    with Device(tmp_path) as device, open("/dev/full", "wb") as full:
        run = vfmig("probe", "-d", device.word, stdout=full).exits(1)
    assert "No space left" in run.error()


def test_a_closed_standard_output_is_an_error(tmp_path):
    with Device(tmp_path) as device:
        for words in (["probe", "-d", device.word],
                      ["save", "-d", device.word, tmp_path / "state"]):
            run = vfmig(*words, stdout=None,
                        preexec_fn=lambda: os.close(1)).exits(1)
            assert "standard output" in run.error()
        assert not (tmp_path / "state").exists()


def test_a_reader_that_went_away_is_an_error_and_no_signal(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    with Device(tmp_path) as device:
        run = vfmig("probe", "-d", device.word, stdout=writing).exits(1)
    os.close(writing)
    assert "Broken pipe" in run.error()


def test_closed_standard_descriptors_do_not_become_a_device(tmp_path):
    """Not one byte of a report may reach a socket that took its number."""
    def close_all():
        for fd in (0, 1, 2):
            os.close(fd)

    with Device(tmp_path) as device:
        run = vfmig("probe", "-d", device.word, stdin=None, stdout=None,
                    stderr=None, preexec_fn=close_all)
        assert run.code == 1
        assert device.state() == "RUNNING"
