# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""vfmig on a terminal: the progress line, and Ctrl-C."""
import re
import signal
import socket
import time

import pytest

from vfmig_programs import Device, Run, receive, vfmig
from vfmig_terminal import Terminal

# Slow enough to see pre-copy.
SLOW = ("--max-bandwidth", "8M", "--downtime-limit", "100ms")


def test_a_terminal_shows_how_far_it_is(tmp_path):
    with Device(tmp_path, "a", "--size", "8M") as device:
        started = time.monotonic()
        with Terminal("save", "-d", device.word, *SLOW,
                      tmp_path / "state") as run:
            run.wait_for("pre-copy")
            run.wait_for("MiB/s")
            run.read_to_end()
            run.finish().ok()
        seconds = time.monotonic() - started
    frames = run.seen.split("\r")
    assert any(re.search(r"pre-copy +\[#*-*\] +\d+% \S+ \w+ of \S+ MiB, "
                         r"\S+ \wiB/s.*, \d+:\d\d left", frame)
               for frame in frames), frames
    assert run.screen() == []
    assert run.stdout.startswith("sent ")
    # One frame is empty before the first, one wipes the last.
    assert len(frames) <= 10 * seconds + 3
    assert run.seen.endswith("\r\x1b[K")


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_the_line_fits_the_terminal(tmp_path, columns):
    with Device(tmp_path, "a", "--size", "4M") as device, \
            Terminal("save", "-d", device.word, *SLOW, tmp_path / "state",
                     columns=columns) as run:
        run.read_to_end()
        run.finish().ok()
    frames = [f.replace("\x1b[K", "") for f in run.seen.split("\r")]
    assert max(map(len, frames)) == min(max(map(len, frames)), columns - 1)
    assert any("pre-copy" in frame for frame in frames)


def test_a_pipe_shows_nothing(tmp_path):
    with Device(tmp_path, "a", "--size", "4M") as device:
        run = vfmig("save", "-d", device.word, *SLOW, tmp_path / "state").ok()
    assert run.stderr == ""


def test_quiet_shows_nothing_on_a_terminal_either(tmp_path):
    with Device(tmp_path, "a", "--size", "4M") as device, \
            Terminal("save", "-q", "-d", device.word, *SLOW,
                     tmp_path / "state") as run:
        run.read_to_end()
        run.finish().ok()
    assert run.seen == ""
    assert run.stdout == ""


def test_an_error_stands_alone_where_the_line_was(tmp_path):
    with Device(tmp_path, "a", "--size", "8M", "--fail",
                "read@4194304,count=0") as device, \
            Terminal("save", "-d", device.word, *SLOW,
                     tmp_path / "state") as run:
        run.wait_for("pre-copy")
        run.read_to_end()
        run.finish().exits(1)
        assert device.state() == "RUNNING"
    lines = run.screen()
    assert len(lines) == 1 and lines[0].startswith("vfmig: "), lines


def test_who_is_waited_for_is_shown(tmp_path):
    with Device(tmp_path) as device, \
            Terminal("send", "-d", device.word, "--connect-timeout", "0",
                     f"unix:{tmp_path}/move", columns=30) as run:
        run.wait_for(f"\rconnecting to unix:{tmp_path}"[:30] + "\x1b[K")
        run.signal(signal.SIGINT)
        run.read_to_end()
        run.finish().exits(1)
        assert device.state() == "RUNNING"
    assert run.screen()[0] == "vfmig: send: cancelling"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM,
                                    signal.SIGHUP])
def test_a_signal_during_pre_copy_leaves_the_device_running(tmp_path, number):
    with Device(tmp_path, "a", "--size", "64M") as a, \
            Device(tmp_path, "b", "--size", "64M") as b, \
            receive("-d", b.word, "--json", f"unix:{tmp_path}/move") as there, \
            Terminal("send", "-d", a.word, *SLOW, "--json",
                     there.uri) as here:
        here.wait_for("pre-copy")
        here.signal(number)
        here.read_to_end()
        here.finish().exits(1)
        there.finish().exits(1)
        assert a.state() == "RUNNING"
        # What it held was lost when it began to load.
        assert b.state() == "RUNNING"
        assert here.json()["outcome"] == "failed"
    assert here.screen()[0] == "vfmig: send: cancelling"
    assert here.screen()[1].startswith("vfmig: send: cancelled: ")


def test_a_signal_at_the_target_ends_both_sides(tmp_path):
    with Device(tmp_path, "a", "--size", "64M") as a, \
            Device(tmp_path, "b", "--size", "64M") as b, \
            receive("-d", b.word, f"unix:{tmp_path}/move") as there, \
            Terminal("send", "-d", a.word, *SLOW, there.uri) as here:
        here.wait_for("pre-copy")
        there.signal(signal.SIGINT)
        there.finish().exits(1)
        here.read_to_end()
        here.finish().exits(1)
        assert a.state() == "RUNNING"
    assert there.error().startswith("vfmig: receive: cancelled: ")


def test_a_signal_while_nobody_comes_ends_the_wait(tmp_path):
    with Device(tmp_path) as device, \
            receive("-d", device.word, f"unix:{tmp_path}/move") as run:
        run.signal(signal.SIGTERM)
        run.finish().exits(1)
        assert device.state() == "RUNNING"
    assert run.error().startswith("vfmig: receive: cancelled: ")
    assert not (tmp_path / "move").exists()


def test_a_signal_while_the_peer_is_mute_ends_the_wait(tmp_path):
    with Device(tmp_path) as device, \
            socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/move")
        listener.listen()
        with Run("send", "-d", device.word, f"unix:{tmp_path}/move") as run:
            listener.settimeout(30)
            peer, _ = listener.accept()
            run.signal(signal.SIGINT)
            run.finish().exits(1)
            peer.close()
        assert device.state() == "RUNNING"
    assert run.error().startswith("vfmig: send: cancelled: ")


def test_a_second_signal_is_answered_and_changes_nothing(tmp_path):
    # Coming back from PRE_COPY takes this device a while.
    with Device(tmp_path, "a", "--size", "64M", "--delay",
                "PRE_COPY>RUNNING:1500") as device, \
            Terminal("save", "-d", device.word, *SLOW,
                     tmp_path / "state") as run:
        run.wait_for("pre-copy")
        run.signal(signal.SIGINT)
        run.wait_for("vfmig: save: cancelling")
        run.signal(signal.SIGINT)
        run.wait_for("vfmig: save: still cancelling")
        run.read_to_end()
        run.finish().exits(1)
        assert device.state() == "RUNNING"
    assert not (tmp_path / "state").exists()


def test_a_signal_that_was_ignored_stays_ignored(tmp_path):
    def ignore():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with Device(tmp_path, "a", "--size", "4M") as device, \
            Terminal("save", "-d", device.word, *SLOW, tmp_path / "state",
                     preexec_fn=ignore) as run:
        run.wait_for("pre-copy")
        run.signal(signal.SIGHUP)
        run.read_to_end()
        run.finish().ok()
