# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""vfmig and a real QEMU that has no VFIO device: what it takes, what it refuses,
and that nothing is lost by it."""
import socket
import struct

import pytest

from stream_qemu import QEMU, Qemu, socket_name

from vfmig_programs import Device, receive, vfmig

DIRECTION = "vfmig <> QEMU"
pytestmark = pytest.mark.skipif(QEMU is None, reason="no qemu-system-x86_64")

MACHINES = {"pc": "pc-i440fx-10.0", "q35": "pc-q35-10.0",
            "microvm": "microvm", "none": "none"}
DEADLINE = 60


def words(machine):
    return ("-M", machine, "-m", "64", "-nodefaults", "-display", "none")


def incoming(folder, machine):
    qemu = Qemu(folder, "target", "-incoming", "defer", machine=words(machine))
    qemu.allow("return-path")
    qemu.do("migrate-incoming", uri=socket_name(folder, "there"),
            exit_on_error=False)
    return qemu


@pytest.mark.parametrize("machine", MACHINES)
def test_a_stream_of_nothing_is_taken(machine, tmp_path):
    """A fact that docs/qemu.md tells: no section of the machine is needed."""
    name = MACHINES[machine].encode()
    stream = b"QEVM\0\0\0\3\7" + struct.pack(">I", len(name)) + name + \
        b"\x08\0\1\0\0\0\6\0\0\0\2{}"
    with incoming(tmp_path, machine) as qemu:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(DEADLINE)
            s.connect(str(tmp_path / "there"))
            s.sendall(stream)
            s.shutdown(socket.SHUT_WR)
            assert s.recv(64) == b"\0\1\0\4\0\0\0\0"
        assert qemu.end_of_migration() == "completed"


@pytest.mark.parametrize("machine", MACHINES)
def test_a_device_that_it_has_not_comes_back(machine, tmp_path):
    with incoming(tmp_path, machine) as qemu, Device(tmp_path) as device:
        run = vfmig("send", "-q", "-d", device.word, "--peer", "qemu",
                    "--machine", MACHINES[machine],
                    socket_name(tmp_path, "there"))
        assert qemu.end_of_migration() == "failed"
        assert device.state() == "RUNNING"
    assert "could not load the stream" in run.exits(1).error()


def test_another_machine_is_refused(tmp_path):
    with incoming(tmp_path, "pc") as qemu, Device(tmp_path) as device:
        run = vfmig("send", "-q", "-d", device.word, "--peer", "qemu",
                    "--machine", "pc-q35-10.0", socket_name(tmp_path, "there"))
        assert qemu.end_of_migration() == "failed"
        assert device.state() == "RUNNING"
    run.exits(1)


def test_a_source_that_does_not_wait_for_it_takes_an_acknowledgement(tmp_path):
    """A fact that a receiver relies on: before 11.1 it may come unasked."""
    server = socket.socket(socket.AF_UNIX)
    server.settimeout(DEADLINE)
    server.bind(str(tmp_path / "there"))
    server.listen(1)
    with Qemu(tmp_path, "source") as qemu:
        qemu.allow("return-path")
        qemu.do("migrate", uri=socket_name(tmp_path, "there"))
        s, _ = server.accept()
        s.settimeout(DEADLINE)
        s.sendall(b"\0\7\0\0")
        tail = b""
        while not tail.endswith(b"}]}]}"):
            tail = (tail + s.recv(1 << 20))[-64:]
        s.sendall(b"\0\1\0\4\0\0\0\0")
        assert qemu.end_of_migration() == "completed"
        s.close()
    server.close()


@pytest.mark.parametrize("rest, channels", [(False, 0), (True, 0), (True, 2)])
def test_a_machine_without_the_device_goes_on_running(rest, channels, tmp_path):
    """It is told that the migration has failed, and its VM is its own."""
    more = ["--rest", tmp_path / "rest"] if rest else []
    more += ["--channels", channels] if channels else []
    with Qemu(tmp_path, "source") as qemu, Device(tmp_path) as device:
        qemu.allow("return-path", *(["multifd"] if channels else []))
        if channels:
            qemu.do("migrate-set-parameters", multifd_channels=channels)
        with receive("-q", "-d", device.word, "--peer", "qemu", *more,
                     socket_name(tmp_path, "here")) as run:
            qemu.do("migrate", uri=run.uri)
            assert qemu.end_of_migration() == "failed"
            run.finish().exits(1)
        assert device.state() == "RUNNING"
        assert qemu.do("query-status")["status"] == "prelaunch"
    assert "holds no state" in run.error()
    assert not (tmp_path / "rest").exists()
