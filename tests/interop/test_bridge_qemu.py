# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""An unmodified QEMU with vfio-pci on emulated devices, over the bridge."""
import contextlib

import pytest

import qemu
from machine import (ACK, MULTIFD, P2P, PRE_COPY, RING_PAGES, STOP_COPY,
                     Emulated, Pair)

row = pytest.mark.row


@pytest.fixture
def pair(tmp_path):
    """Makes a pair that ends with the test."""
    with contextlib.ExitStack() as stack:
        def make(*words, **options):
            return Pair(tmp_path, stack, words, **options)
        yield make


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
    p.devices["source"][0].report_in("RUNNING")
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
        p.devices["source"][0].report_in("RUNNING")
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
