# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""Machines with emulated devices, over the bridge: what the tests of it move."""
import json
import signal
import time

import driver
import qemu
from vfmig_programs import DEADLINE, Device

RING = 16 << 20
RING_PAGES = 256
RATE = 4 << 20
SCRATCH = 0xfeed0000

# What the device can do.
STOP_COPY = ("--features", "stop-copy,data-size,dma-logging")
PRE_COPY = ("--features", "stop-copy,pre-copy,data-size,precopy-info,"
            "dma-logging")
P2P = ("--features", "stop-copy,pre-copy,p2p,data-size,precopy-info,"
       "dma-logging")
# What QEMU is told.
MULTIFD = ",x-migration-multifd-transfer=on"
NOT_MULTIFD = ",x-migration-multifd-transfer=off"
ACK = ("return-path", "switchover-ack")
WAITING = ("-S", "-incoming", "defer")


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

    def report_in(self, state):
        """Its report once it is there: QEMU tells of a migration's end before
        its devices have left STOP_COPY."""
        end = time.monotonic() + DEADLINE
        while (report := self.report())["state"] != state:
            assert time.monotonic() < end, f"not in {state}: {report}"
        return report


class Machine:
    """A QEMU with devices of its own."""

    def __init__(self, folder, stack, name, words, *more, devices=1,
                 **options):
        self.devices = [stack.enter_context(Emulated(folder, f"{name}{n}",
                                                     *words))
                        for n in range(devices)]
        self.qemu = stack.enter_context(qemu.Qemu(
            folder, name, [d.path for d in self.devices], *more, **options))

    def start_drivers(self, rate=RATE):
        """Each device writes memory of its own, and has gone round once."""
        self.qemu.wait_for_firmware()
        self.drivers = [driver.Driver(self.qemu, n)
                        for n in range(len(self.devices))]
        for n, d in enumerate(self.drivers):
            d.enable()
            d.start_ring(RING + n * RING_PAGES * driver.PAGE, RING_PAGES,
                         100 + n, rate)
            d.write64(driver.SCRATCH, SCRATCH + n)
        for d in self.drivers:
            d.wait_for_sequence(RING_PAGES + 1)

    def capabilities(self, *names):
        self.qemu.capabilities(*names)
        self.qemu.run("migrate-set-parameters", max_bandwidth=1 << 30,
                      downtime_limit=1000)

    def goes_on_from(self, other):
        """It runs, and so do its devices, from where the other's are."""
        self.qemu.run("cont")
        for n, old in enumerate(other.drivers):
            d = driver.Driver(self.qemu, n)
            assert d.bar0 == old.bar0
            d.goes_on_from(old)
            assert d.read64(driver.SCRATCH) == SCRATCH + n
            before = other.devices[n].report()
            d.wait_for_sequence(before["dma_sequence"] + 2 * RING_PAGES)
            d.stop_ring()
            d.check_ring()
            after = self.devices[n].report()
            assert after["loads_accepted"] == 1, after
            assert after["counter"] > before["counter"]
            other.devices[n].report_in("STOP")


def same_memory(a, b):
    """Which pages of two machines differ: none."""
    pages = zip(a.qemu.memory(), b.qemu.memory())
    assert [hex(n << 12) for n, (x, y) in enumerate(pages) if x != y] == []


class Pair:
    """Two machines of a kind; the second waits for the first."""

    def __init__(self, folder, stack, words, **options):
        self.folder = folder
        self.machines = [Machine(folder, stack, name, words, *more, **options)
                         for name, more in (("source", ()),
                                            ("target", WAITING))]
        self.source, self.target = (m.qemu for m in self.machines)
        self.devices = {"source": self.machines[0].devices,
                        "target": self.machines[1].devices}

    def start_drivers(self, rate=RATE):
        self.machines[0].start_drivers(rate)
        self.drivers = self.machines[0].drivers

    def capabilities(self, *names):
        for machine in self.machines:
            machine.capabilities(*names)

    def uri(self):
        return f"unix:{self.folder}/migration.sock"

    def migrate(self, wanted="completed", through=None):
        """`through`: where to send it, if not to the target itself."""
        self.target.run("migrate-incoming", uri=self.uri(),
                        exit_on_error=False)
        self.source.run("migrate", uri=through or self.uri())
        if wanted == "completed":
            self.source.migration_status("completed")
            self.target.migration_status("completed")
        return self.source.run("query-migrate")

    def compare(self):
        """What the target has is what the source had; nothing runs."""
        assert self.source.run("query-status")["status"] == "postmigrate"
        assert self.target.run("query-status")["status"] == "paused"
        same_memory(*self.machines)
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
        self.machines[1].goes_on_from(self.machines[0])
