# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""vfmig-device as a program: how it starts, what it says, how it ends."""
import os
import signal
import socket
import subprocess

import pytest

import vfio_user as vu
from vfio_user import Client, Device, start  # pylint: disable=unused-import

SMALL = ("--size", "64K")


def run(*words, **named):
    return subprocess.run([vu.device_program(), *words], text=True,
                          capture_output=True, timeout=vu.DEADLINE,
                          check=False, **named)


def launch(fd, *options):
    """Starts a device on descriptor @fd; returns it when it serves."""
    process = subprocess.Popen(
        [vu.device_program(), "--fd", str(fd), *SMALL, *options],
        pass_fds=[fd], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "serving fd %d\n" % fd
    return process


def end(process, number=None):
    if number is not None:
        process.send_signal(number)
    process.communicate(timeout=vu.DEADLINE)
    return process.returncode


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_its_socket(start, number):
    device = start(*SMALL)
    with Client(device.path):
        device.stop(number)
    assert not os.path.exists(device.path)


def test_a_dead_servers_socket_is_replaced(start, tmp_path):
    first = start(*SMALL)
    first.kill()
    assert os.path.exists(first.path)
    with Device(tmp_path, *SMALL, name="dev0") as second:
        with Client(second.path) as c:
            assert c.state() == vu.RUNNING


def test_a_living_servers_socket_is_not(start):
    device = start(*SMALL)
    r = run("--socket", device.path)
    assert r.returncode == 1
    assert r.stderr == "vfmig-device: %s: cannot listen: Address already " \
        "in use\n" % device.path
    with Client(device.path) as c:
        assert c.state() == vu.RUNNING


def test_a_file_that_is_no_socket_is_not_replaced(tmp_path):
    path = tmp_path / "precious"
    path.write_text("data")
    assert run("--socket", str(path)).returncode == 1
    assert path.read_text() == "data"


def test_a_connected_socket_is_served_until_it_closes():
    ours, theirs = socket.socketpair()
    process = launch(theirs.fileno())
    theirs.close()
    with Client(ours) as c:
        assert c.state() == vu.RUNNING
    assert end(process) == 0


def test_a_listening_socket_is_served_client_after_client(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        path = str(tmp_path / "s")
        listener.bind(path)
        listener.listen()
        process = launch(listener.fileno())
        for i in range(3):
            with Client(path) as c:
                assert c.get64(vu.SCRATCH) == i
                c.put64(vu.SCRATCH, i + 1)
        assert end(process, signal.SIGTERM) == 0
        assert os.path.exists(path), "not its own to remove"


def test_the_next_client_waits_for_its_turn(start):
    device = start(*SMALL)
    with Client(device.path) as first:
        with Client(device.path, negotiate=False) as second:
            request = second.send(vu.VERSION, b"\0\0\2\0")
            for _ in range(100):
                first.state()
            assert second.buffer == b""
            first.close()
            second.wait(request, vu.VERSION)


@pytest.mark.parametrize("words", [
    (), ("--size", "1G"), ("--socket",), ("--fd", "x"),
    ("--socket", "s", "--size", "5"), ("--socket", "s", "--fail", "WHAT"),
    ("--socket", "s", "--fd", "3"), ("word",), ("--socket", "s", "--nope")])
def test_a_bad_command_line_is_one_sentence_and_two(words):
    r = run(*words)
    assert (r.returncode, r.stdout) == (2, "")
    assert r.stderr.startswith("vfmig-device: ")
    assert r.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [
    ("--fd", "99"), ("--fd", "0"), ("--socket", "/nonexistent/dir/s"),
    ("--socket", "/tmp/" + "x" * 200)])
def test_what_cannot_be_served_is_one_sentence_and_one(words):
    r = run(*words, stdin=subprocess.DEVNULL)
    assert (r.returncode, r.stdout) == (1, "")
    assert r.stderr.startswith("vfmig-device: ")
    assert r.stderr.count("\n") == 1


def test_help_names_every_option():
    r = run("--help")
    assert r.returncode == 0 and r.stderr == ""
    for option in ("socket", "fd", "size", "features", "fail", "corrupt",
                   "personality", "report"):
        assert "--" + option in r.stdout
    assert run("--version").stdout.startswith("vfmig-device ")


def test_a_report_that_cannot_be_written_is_said(tmp_path):
    process = subprocess.Popen(
        [vu.device_program(), "--socket", str(tmp_path / "s"), "--report",
         str(tmp_path / "no" / "r")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=vu.DEADLINE)
    assert process.returncode == 1
    assert errors == "vfmig-device: %s: cannot be written: No such file or " \
        "directory\n" % (tmp_path / "no" / "r")


def test_the_report_is_there_while_it_runs_and_at_the_end(start):
    device = start(*SMALL)
    with Client(device.path) as c:
        c.set_state(vu.STOP)
        report = device.report()
        assert report["state"] == "STOP"
        assert report["steps"] == ["RUNNING>RUNNING_P2P", "RUNNING_P2P>STOP"]
        c.set_state(vu.STOP_COPY)
    assert device.stop()["state"] == "STOP_COPY"
    assert os.listdir(os.path.dirname(device.report_path)) == ["dev0.json"]
