# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""vfmig and a QEMU that has emulated devices over the bridge: what the device
holds comes through, in each direction, with each feature."""
import contextlib
import json
import re
import socket

import pytest

import driver
import qemu
from machine import (ACK, MULTIFD, NOT_MULTIFD, P2P, PRE_COPY, RING_PAGES,
                     SCRATCH, STOP_COPY, WAITING, Emulated, Machine, Pair,
                     same_memory)
from test_qemu_send import same_sections
from vfio_user import Client
from vfmig_programs import Run, receive, vfmig

row = pytest.mark.row
NAME = "0000:00:{:02x}.0".format(qemu.SLOT)
SECTION = NAME + "/vfio"
BUSY = ("--size", "8M", "--dirty-rate", "1M")
CHANNELS = 2
MACHINE = "pc-q35-10.0"

TAKEN = [
    # what the device can do, QEMU's capabilities, its options, the row's words
    (STOP_COPY, (), "", "STOP_COPY alone"),
    (PRE_COPY, ("return-path",), "", "PRE_COPY"),
    (P2P, ("return-path",), "", "PRE_COPY, P2P"),
    (P2P, ACK, "", "switchover-ack"),
    (STOP_COPY, ACK, "", "switchover-ack, STOP_COPY alone"),
    (P2P, ("multifd", "return-path"), NOT_MULTIFD,
     "multifd, without device state"),
    (P2P, ("multifd", *ACK), MULTIFD, "multifd, with device state"),
    (STOP_COPY, ("multifd", "return-path"), MULTIFD,
     "multifd, with device state, STOP_COPY alone"),
]


@pytest.fixture
def stack():
    with contextlib.ExitStack() as s:
        yield s


def rows(direction, moves):
    return [pytest.param(*move[:-1], id=move[-1],
                         marks=row(direction, move[-1])) for move in moves]


def source_machine(folder, stack, words, capabilities, properties=""):
    source = Machine(folder, stack, "source", (*BUSY, *words),
                     properties=properties)
    source.start_drivers()
    source.capabilities(*capabilities)
    if "multifd" in capabilities:
        source.qemu.run("migrate-set-parameters", multifd_channels=CHANNELS)
    return source


def take(folder, stack, source, *words, features=(), channels=0):
    """The device leaves its machine; who has it now, and the command."""
    taker = stack.enter_context(
        Emulated(folder, "taker", *BUSY, *features))
    if channels:
        words += ("--channels", channels)
    with receive("-q", "-d", f"{taker.word},id={NAME}", "--peer", "qemu",
                 "--paused", "--rest", folder / "rest", *words,
                 f"unix:{folder}/here") as run:
        source.qemu.run("migrate", uri=run.uri)
        source.qemu.migration_status("completed")
        run.finish()
    run.ok()
    return taker


def arrived(sent, loaded, state):
    assert sent["state"] == "STOP", sent
    assert loaded["state"] == state, loaded
    assert loaded["loads_accepted"] == (state != "RESUMING"), loaded
    assert loaded["loads_refused"] == 0, loaded
    assert sent["bytes_saved"] == loaded["bytes_loaded"] > 0
    assert sent["saved_sha256"] == loaded["loaded_sha256"]


def check_registers(device, old):
    """What the guest's driver wrote is there, and where the device is."""
    with Client(str(device.path)) as client:
        assert client.get64(driver.SCRATCH) == SCRATCH
        assert client.get64(driver.DMA_DST) == old.base
        assert client.get64(driver.DMA_SEQUENCE) > RING_PAGES
        config = client.region_read(7, 0, 64)
        assert int.from_bytes(config[0x10:0x14], "little") & ~0xf == old.bar0
        assert config[driver.COMMAND] & driver.MASTER


@pytest.mark.parametrize("words, capabilities, properties",
                         rows("QEMU to vfmig, over the bridge", TAKEN))
def test_a_device_leaves_its_machine(tmp_path, stack, note, words,
                                     capabilities, properties):
    source = source_machine(tmp_path, stack, words, capabilities, properties)
    # With ACK a QEMU waits for what a device with PRE_COPY has to say: both have
    # it, or none.
    taker = take(tmp_path, stack, source, features=words,
                 channels=CHANNELS if "multifd" in capabilities else 0)
    arrived(source.devices[0].report_in("STOP"), taker.report(), "STOP")
    check_registers(taker, source.drivers[0])
    facts = vfmig("inspect", "--json", tmp_path / "rest").ok().json()
    assert facts["machine"] == MACHINE
    assert facts["vfio"][SECTION]["bytes"] == 0
    channels = sorted(p.name for p in tmp_path.glob("rest.*"))
    assert channels == [f"rest.channel-{i}" for i in range(CHANNELS)
                        if "multifd" in capabilities]
    note(f"stopped for {source.qemu.run('query-migrate')['downtime']} ms")


class PortDriver(driver.Driver):
    """Of a machine whose firmware did not run: what a stream without memory
    leaves of one.  It places the device itself, by the ports."""

    BASE = 0xe0000000

    def __init__(self, machine):
        self.qemu, self.bar0 = machine.qemu, self.BASE
        for at, value in ((0x10, self.BASE), (0x14, 0),
                          (driver.COMMAND, driver.MEMORY)):
            address = 1 << 31 | qemu.SLOT << 11 | at
            self.qemu.ask("outl", "0xcf8", hex(address))
            self.qemu.ask("outl", "0xcfc", hex(value))
        assert self.read32(driver.MAGIC) == 0x44454d56


GIVEN = [
    (STOP_COPY, ("return-path",), "", "STOP_COPY alone"),
    (PRE_COPY, ("return-path",), "", "PRE_COPY"),
    (P2P, ("return-path",), "", "PRE_COPY, P2P"),
    (P2P, ACK, "", "switchover-ack"),
    (PRE_COPY, ACK, "", "switchover-ack, without P2P"),
    (STOP_COPY, ACK, "", "switchover-ack, STOP_COPY alone"),
    (P2P, ("multifd", "return-path"), MULTIFD, "multifd, with device state"),
    (PRE_COPY, ("multifd", *ACK), MULTIFD,
     "multifd, with device state, switchover-ack"),
    (STOP_COPY, ("multifd", "return-path"), MULTIFD,
     "multifd, with device state, STOP_COPY alone"),
]


def waiting_machine(folder, stack, words, capabilities, properties=""):
    target = Machine(folder, stack, "target", (*BUSY, *words), *WAITING,
                     properties=properties)
    target.capabilities(*capabilities)
    if "multifd" in capabilities:
        target.qemu.run("migrate-set-parameters", multifd_channels=CHANNELS)
    target.uri = f"unix:{folder}/there"
    target.qemu.run("migrate-incoming", uri=target.uri, exit_on_error=False)
    return target


@pytest.mark.parametrize("words, capabilities, properties",
                         rows("vfmig to QEMU, over the bridge", GIVEN))
def test_a_device_arrives_in_a_machine(tmp_path, stack, words, capabilities,
                                       properties):
    """SHUT 0 has said so; and what is asked of it by the machine."""
    giver = stack.enter_context(Emulated(tmp_path, "giver", *BUSY, *words))
    with Client(str(giver.path)) as client:
        client.put64(driver.SCRATCH, SCRATCH)
    giver.set_state("RUNNING")
    target = waiting_machine(tmp_path, stack, words, capabilities, properties)
    more = ["--switchover-ack"] if "switchover-ack" in capabilities else []
    more += ["--channels", CHANNELS] if "multifd" in capabilities else []
    run = vfmig("send", "-d", f"{giver.word},id={NAME}", "--peer", "qemu",
                "--machine", MACHINE, "--json", *more, target.uri)
    run.ok()
    target.qemu.migration_status("completed")
    arrived(giver.report(), target.devices[0].report(), "RESUMING")
    target.qemu.run("cont")
    assert PortDriver(target).read64(driver.SCRATCH) == SCRATCH
    after = target.devices[0].report()
    assert after["loads_accepted"] == 1 and after["state"] == "RUNNING"
    assert after["counter"] > giver.report()["counter"] > 0


REFUSING = [
    (("return-path",), "", "state refused: the device is back"),
    (("multifd", "return-path"), MULTIFD,
     "multifd, state refused: the device is back"),
]


@pytest.mark.parametrize("capabilities, properties",
                         rows("vfmig to QEMU, over the bridge", REFUSING))
def test_a_device_that_the_machine_refuses_is_back(tmp_path, stack,
                                                   capabilities, properties):
    giver = stack.enter_context(Emulated(tmp_path, "giver", *BUSY, *P2P))
    target = waiting_machine(
        tmp_path, stack, (*P2P, "--fail", "RESUMING:EIO,count=0"),
        capabilities, properties)
    more = ["--channels", CHANNELS] if "multifd" in capabilities else []
    run = vfmig("send", "-q", "-d", f"{giver.word},id={NAME}", "--peer",
                "qemu", "--machine", MACHINE, *more, target.uri)
    target.qemu.migration_status("failed")
    # It hangs up at once, and its answer may come too late.
    assert re.search("could not load the stream|hung up|Broken pipe|reset by",
                     run.exits(1).error())
    assert giver.state() == "RUNNING"
    assert target.devices[0].report()["loads_accepted"] == 0


@row("QEMU and vfmig, the same device", "byte for byte")
def test_the_bytes_are_those_of_qemu(tmp_path, stack):
    """Of a device that a guest's driver has set up."""
    source = source_machine(tmp_path, stack, STOP_COPY, ())
    # Its guest is idle, and QEMU would measure that it sends nothing.
    source.drivers[0].stop_ring()
    source.qemu.run("migrate-set-parameters", avail_switchover_bandwidth=1 << 30)
    source.qemu.run("migrate", uri=f"file:{tmp_path}/theirs")
    source.qemu.migration_status("completed")
    taker = stack.enter_context(Emulated(tmp_path, "taker", *BUSY, *STOP_COPY))
    word = f"{taker.word},id={NAME}"
    vfmig("receive", "-q", "-d", word, "--peer", "qemu", "--paused",
          f"file:{tmp_path}/theirs").ok()
    vfmig("send", "-q", "-d", word, "--peer", "qemu", "--machine", MACHINE,
          f"exec:cat >{tmp_path}/ours").ok()
    same_sections((tmp_path / "ours").read_bytes(),
                  (tmp_path / "theirs").read_bytes(), SECTION.encode())


@pytest.mark.parametrize("words, capabilities, properties",
                         rows("QEMU to vfmig to QEMU, by --rest", [
                             (STOP_COPY, ("return-path",), "",
                              "STOP_COPY alone"),
                             (P2P, ACK, "", "switchover-ack")]))
def test_a_machine_is_put_together_again(tmp_path, stack, words, capabilities,
                                         properties):
    """It leaves as a device and a file, and goes on where it was."""
    source = source_machine(tmp_path, stack, words, capabilities, properties)
    taker = take(tmp_path, stack, source)
    target = waiting_machine(tmp_path, stack, words, ("return-path",),
                             properties)
    vfmig("send", "-q", "-d", f"{taker.word},id={NAME}", "--peer", "qemu",
          "--rest", tmp_path / "rest", target.uri).ok()
    target.qemu.migration_status("completed")
    arrived(taker.report() | {"state": "STOP"}, target.devices[0].report(),
            "RESUMING")
    same_memory(source, target)
    target.goes_on_from(source)


@pytest.mark.parametrize("way", [
    pytest.param(way, id=way, marks=row("splice, and load into QEMU", way))
    for way in ("file:", "exec:", "unix:")])
def test_a_spliced_stream_is_loaded(tmp_path, stack, way):
    capabilities = ("return-path",) if way == "unix:" else ()
    source = source_machine(tmp_path, stack, P2P, capabilities)
    taker = take(tmp_path, stack, source)
    vfmig("save", "-q", "-d", f"{taker.word},id={NAME}",
          tmp_path / "state").ok()
    vfmig("splice", "-d", f"{NAME}={tmp_path}/state", "-o",
          tmp_path / "whole", tmp_path / "rest").ok()
    target = Machine(tmp_path, stack, "target", (*BUSY, *P2P), *WAITING)
    target.capabilities(*capabilities)
    uri = {"file:": f"file:{tmp_path}/whole",
           "exec:": f"exec:cat {tmp_path}/whole",
           "unix:": f"unix:{tmp_path}/there"}[way]
    target.qemu.run("migrate-incoming", uri=uri, exit_on_error=False)
    if way == "unix:":
        assert feed(tmp_path / "there", tmp_path / "whole")[-8:] == \
            b"\0\1\0\4\0\0\0\0"
    target.qemu.migration_status("completed")
    assert target.devices[0].report()["loaded_sha256"] == \
        taker.report()["saved_sha256"]
    same_memory(source, target)
    target.goes_on_from(source)


def feed(path, stream):
    """Sends it; what was answered."""
    answered = b""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(60)
        s.connect(str(path))
        s.sendall(stream.read_bytes())
        s.shutdown(socket.SHUT_WR)
        while piece := s.recv(4096):
            answered += piece
    return answered


# ---------------------------------------------------------------------------


@pytest.mark.parametrize("words, capabilities, properties",
                         rows("QEMU > proxy > QEMU, over the bridge", TAKEN))
def test_a_proxy_sees_a_machine_move(tmp_path, stack, note, words,
                                     capabilities, properties):
    p = Pair(tmp_path, stack, (*BUSY, *words), properties=properties)
    p.start_drivers()
    p.capabilities(*capabilities)
    channels = 0
    if "multifd" in capabilities:
        channels = CHANNELS
        for each in p.source, p.target:
            each.run("migrate-set-parameters", multifd_channels=channels)
    more = ("--channels", channels) if channels else ()
    with Run("proxy", "--json", "--strict", *more, f"unix:{tmp_path}/here",
             p.uri()) as run:
        here = run.err.wait_for("listening on ")
        p.migrate(through=here)
        run.finish()
    run.ok()
    p.compare()
    p.go_on()
    check_timeline(run.json(), words, capabilities, properties, channels)
    note(f"{len(run.json()['timeline'])} entries in the timeline")


def check_timeline(facts, words, capabilities, properties, channels):
    assert facts["faults"] == 0 and facts["error"] is None
    assert facts["channels"] == channels
    assert facts["shut"] == (0 if "return-path" in capabilities else None)
    told = json.dumps(facts["timeline"])
    assert SECTION in told
    texts = [e["text"] for e in facts["timeline"]]
    assert "SWITCHOVER_START" in texts
    announces = "switchover-ack" in capabilities and words is not STOP_COPY
    assert (f"'{SECTION}': INIT_DATA_SENT" in texts) == announces
    assert texts.count("SWITCHOVER_ACK") == ("switchover-ack" in capabilities)
