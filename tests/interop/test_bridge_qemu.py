# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""An unmodified QEMU with vfio-pci on emulated devices, over the bridge."""
import contextlib
import json
import signal

import pytest

import driver
import qemu
from vfmig_programs import Device

row = pytest.mark.row

RING = 16 << 20
RING_PAGES = 256
RATE = 4 << 20


class Emulated(Device):
    """A device that keeps a report."""

    def __init__(self, folder, name, *words):
        self.report_path = folder / (name + ".json")
        super().__init__(folder, name, "--report", self.report_path,
                         "--digest", *words)
        self.reports = 0

    def report(self):
        self.signal(signal.SIGUSR1)
        self.reports += 1
        self.out.wait_for_count("reported\n", self.reports)
        return json.loads(self.report_path.read_text())


class Pair:
    """Two QEMUs, each with devices of its own."""

    def __init__(self, folder, stack, words, devices=1, **options):
        self.folder = folder
        self.devices = {}
        self.qemus = {}
        for side, more in ("source", ()), ("target", ("-S", "-incoming",
                                                     "defer")):
            self.devices[side] = [
                stack.enter_context(Emulated(folder, f"{side}{n}", *words))
                for n in range(devices)]
            self.qemus[side] = stack.enter_context(qemu.Qemu(
                folder, side, [d.path for d in self.devices[side]], *more,
                **options))
        self.source, self.target = self.qemus["source"], self.qemus["target"]

    def start_drivers(self, rate=RATE):
        """Each device writes memory of its own, and has gone round once."""
        self.source.wait_for_firmware()
        self.drivers = [driver.Driver(self.source, n)
                        for n in range(len(self.devices["source"]))]
        for n, d in enumerate(self.drivers):
            d.enable()
            d.start_ring(RING + n * RING_PAGES * driver.PAGE, RING_PAGES,
                         100 + n, rate)
            d.write64(driver.SCRATCH, 0xfeed0000 + n)
        for d in self.drivers:
            d.wait_for_sequence(RING_PAGES + 1)

    def capabilities(self, *names):
        for each in self.source, self.target:
            each.capabilities(*names)
            each.run("migrate-set-parameters", max_bandwidth=1 << 30,
                     downtime_limit=1000)

    def uri(self):
        return f"unix:{self.folder}/migration.sock"

    def migrate(self, wanted="completed"):
        self.target.run("migrate-incoming", uri=self.uri(),
                        exit_on_error=False)
        self.source.run("migrate", uri=self.uri())
        if wanted == "completed":
            self.source.migration_status("completed")
            self.target.migration_status("completed")
        return self.source.run("query-migrate")

    def compare(self):
        """What the target has is what the source had; nothing runs."""
        assert self.source.run("query-status")["status"] == "postmigrate"
        assert self.target.run("query-status")["status"] == "paused"
        pages = zip(self.source.memory(), self.target.memory())
        assert [hex(n << 12) for n, (a, b) in enumerate(pages) if a != b] == []
        for a, b in zip(self.devices["source"], self.devices["target"]):
            sent, loaded = a.report(), b.report()
            assert sent["state"] == "STOP", sent
            assert loaded["state"] == "RESUMING", loaded
            assert loaded["loads_refused"] == 0, loaded
            assert sent["bytes_saved"] == loaded["bytes_loaded"] > 0
            assert sent["saved_sha256"] == loaded["loaded_sha256"]
            assert sent["dma_sequence"] > RING_PAGES

    def go_on(self):
        """The machine runs at the target, and so do its devices."""
        self.target.run("cont")
        for n, old in enumerate(self.drivers):
            d = driver.Driver(self.target, n)
            assert d.bar0 == old.bar0
            d.goes_on_from(old)
            assert d.read64(driver.SCRATCH) == 0xfeed0000 + n
            before = self.devices["source"][n].report()
            d.wait_for_sequence(before["dma_sequence"] + 2 * RING_PAGES)
            d.stop_ring()
            d.check_ring()
            after = self.devices["target"][n].report()
            assert after["loads_accepted"] == 1, after
            assert after["counter"] > before["counter"]
            assert self.devices["source"][n].report()["state"] == "STOP"


@pytest.fixture
def pair(tmp_path):
    """Makes a pair that ends with the test."""
    with contextlib.ExitStack() as stack:
        def make(*words, **options):
            return Pair(tmp_path, stack, words, **options)
        yield make


STOP_COPY = ("--features", "stop-copy,data-size,dma-logging")
PRE_COPY = ("--features", "stop-copy,pre-copy,data-size,precopy-info,"
            "dma-logging")
P2P = ("--features", "stop-copy,pre-copy,p2p,data-size,precopy-info,"
       "dma-logging")
MULTIFD = ",x-migration-multifd-transfer=on"
ACK = ("return-path", "switchover-ack")

MOVES = [
    # what the device can do, capabilities, options of QEMU, the row's words
    (STOP_COPY, (), {}, "STOP_COPY alone"),
    (PRE_COPY, (), {}, "PRE_COPY"),
    (P2P, (), {}, "PRE_COPY, P2P"),
    (P2P, ACK, {}, "switchover-ack"),
    (P2P, ("multifd", *ACK), {"properties": MULTIFD},
     "multifd, with device state"),
    (STOP_COPY, ("multifd", "return-path"), {"properties": MULTIFD},
     "multifd, with device state, STOP_COPY alone"),
    (P2P, (), {"by": "cdev"}, "cdev and iommufd"),
    (P2P, ("multifd", *ACK), {"by": "cdev", "properties": MULTIFD},
     "cdev and iommufd, multifd, with device state"),
    (P2P, (), {"memory": "anonymous"}, "memory by messages"),
    (P2P, ACK, {"devices": 2}, "two devices"),
    (P2P, (), {"properties": ",x-device-dirty-page-tracking=off"},
     "dirty tracking of type 1 alone"),
]


@pytest.mark.parametrize(
    "words, capabilities, options",
    [pytest.param(*move[:3], id=move[3],
                  marks=row("QEMU to QEMU, over the bridge", move[3]))
     for move in MOVES])
def test_a_running_machine_moves(pair, note, words, capabilities, options):
    p = pair("--size", "8M", "--dirty-rate", "1M", *words, **options)
    p.start_drivers()
    p.capabilities(*capabilities)
    info = p.migrate()
    p.compare()
    p.go_on()
    assert info["vfio"]["transferred"] > 8 << 20
    note(f"stopped for {info['downtime']} ms")
    for each in p.source, p.target:
        each.quit()


@row("QEMU to QEMU, over the bridge", "cancelled: goes on at the source")
def test_a_cancelled_machine_goes_on(pair):
    p = pair("--size", "8M", *P2P)
    p.start_drivers()
    p.capabilities()
    p.source.run("migrate-set-parameters", max_bandwidth=1 << 20,
                 downtime_limit=1)
    p.target.run("migrate-incoming", uri=p.uri(), exit_on_error=False)
    p.source.run("migrate", uri=p.uri())
    p.source.migration_status("active")
    p.source.run("migrate_cancel")
    p.source.migration_status("cancelled")
    mine = p.drivers[0]
    mine.wait_for_sequence(mine.ring_sequence() + 2 * RING_PAGES)
    mine.stop_ring()
    mine.check_ring()
    assert p.devices["source"][0].report()["state"] == "RUNNING"
    p.source.quit()


@row("QEMU to QEMU, over the bridge", "state refused: goes on at the source")
def test_a_machine_whose_state_is_refused_goes_on(tmp_path):
    """The target's device refuses to load; with a return path QEMU hears of
    it."""
    with contextlib.ExitStack() as stack:
        p = Pair(tmp_path, stack, ("--size", "8M", *P2P,
                                   "--fail", "RESUMING:EIO,count=0"))
        p.start_drivers()
        p.capabilities("return-path")
        p.migrate(wanted="failed")
        p.target.migration_status("failed")
        p.source.migration_status("failed")
        mine = p.drivers[0]
        mine.wait_for_sequence(mine.ring_sequence() + 2 * RING_PAGES)
        assert p.source.run("query-status")["status"] == "running"
        assert p.devices["source"][0].report()["state"] == "RUNNING"
        assert p.devices["target"][0].report()["loads_accepted"] == 0


@pytest.mark.parametrize("machine", [
    pytest.param(machine, marks=row("QEMU over the bridge",
                                    f"the device on its bus, {machine}"))
    for machine in ("q35", "pc")])
def test_the_device_is_on_its_bus(tmp_path, machine):
    with Emulated(tmp_path, "device") as device, \
            qemu.Qemu(tmp_path, "vm", [device.path], machine=machine) as vm:
        vm.wait_for_firmware()
        found = vm.pci_device()
        assert found["id"]["vendor"] == 0x5646
        assert found["id"]["device"] == 0x4d44
        assert [r["bar"] for r in found["regions"]] == [0, 2, 4]
        assert all(r["address"] > 0 for r in found["regions"])
        assert vm.run("query-migrate").get("blocked-reasons") is None
        vm.quit()
        assert device.report()["resets"] > 0
