# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""A VM goes back and forth under load, and what can happen to it happens:
migrations that are cancelled, targets that are killed.  Its chain must never
break, and nothing may leak.

    soak.py [--rounds N] [--seed N] [--memory MIB] [--devices N]

VFMIG_BUILD names the build folder.
"""
import argparse
import os
import random
import sys
import tempfile
import time

from vmm_pair import Device, Machine


# Of a device, after any number of machines.  Instruments keep what was freed:
# little of it, or that would be all there is to see.
os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + \
    ":quarantine_size_mb=4"
DESCRIPTORS_MAX = 40
MEMORY_MAX = 64 << 20


class Site:
    """A host: its devices, and the machine that has them now."""

    def __init__(self, folder, name, args):
        self.name = name
        self.folder = folder
        self.options = ["--memory", str(args.memory), "--cpus", "2",
                        "--own-rate", "24"]
        self.devices = [
            Device(os.path.join(folder, f"{name}{i}"), "--size", "4M",
                   "--seed", str(i), "--dirty-rate", "4M")
            for i in range(args.devices)]
        self.machine = None

    def start(self):
        self.machine = Machine(self.devices, *self.options)

    def wait(self, number):
        self.machine = Machine(
            self.devices, *self.options,
            incoming=f"unix:{self.folder}/link{number}")

    def descriptors(self):
        return [len(os.listdir(f"/proc/{device.process.pid}/fd"))
                for device in self.devices]

    def memory(self):
        sizes = []
        for device in self.devices:
            with open(f"/proc/{device.process.pid}/statm",
                      encoding="ascii") as f:
                sizes.append(int(f.read().split()[1]) * 4096)
        return sizes

    def close(self):
        if self.machine is not None:
            self.machine.quit()
        for device in self.devices:
            device.close()


class Soak:
    def __init__(self, args, folder):
        self.random = random.Random(args.seed)
        self.sites = [Site(folder, name, args) for name in "ab"]
        self.args = args
        self.counts = {"moved": 0, "cancelled": 0, "killed": 0,
                       "taken back": 0}
        self.downtimes = []
        self.jobs = 0
        self.usual = 0.5  # how long a migration takes; learned

    def round(self, number):
        here, there = self.sites
        kind = self.random.choices(["move", "cancel", "kill"],
                                   [6, 2, 2])[0]
        there.wait(number)
        began_at = time.monotonic()
        here.machine.ask(f"migrate {there.machine.address}")
        if kind != "move":
            here.machine.wait(self.random.random() * self.usual * 1.2)
            if kind == "kill":
                there.machine.kill()
            else:
                here.machine.say("migrate-cancel")
        over = here.machine.over()
        self.judge(kind, over, here, there)
        if kind == "move":
            self.usual = time.monotonic() - began_at

    def judge(self, kind, over, here, there):
        status = over["status"]
        if status == "completed":
            self.arrived(over, here, there, kind == "kill")
            return
        assert kind != "move", over
        if status == "handed-over":
            assert kind == "kill", over
            here.machine.ask("take-back")
            self.counts["taken back"] += 1
        else:
            assert status == "failed", over
            self.counts["killed" if kind == "kill" else "cancelled"] += 1
        if kind != "kill":
            assert there.machine.over()["status"] == "failed"
            there.machine.end()
        there.machine = None
        self.check(here)

    def arrived(self, over, here, there, was_killed):
        self.counts["moved"] += 1
        self.downtimes.append(over["downtime_us"])
        assert here.machine.process.wait(60) == 0
        # A cancel that came too late may not have been answered.
        here.machine.end()
        here.machine = None
        if was_killed:
            raise Lost
        assert there.machine.over()["status"] == "completed"
        self.sites.reverse()
        self.check(there)

    def check(self, site, command="query-chain"):
        jobs = site.machine.jobs(command)
        assert jobs >= self.jobs
        self.jobs = jobs

    def run(self):
        self.sites[0].start()
        lost = 0
        for number in range(self.args.rounds):
            try:
                self.round(number)
            except Lost:
                # It was killed when the VM was its own: like a host that
                # burns.  A new VM begins.
                lost += 1
                self.sites[1].machine = None
                self.sites[0].start()
                self.jobs = 0
            if number % 50 == 49:
                self.check(self.sites[0], "check-chain")
                self.report(number + 1, lost)
        self.check(self.sites[0], "check-chain")
        self.check_leaks()
        if self.args.rounds % 50 != 0:
            self.report(self.args.rounds, lost)

    def check_leaks(self):
        """The devices have served every machine that there was."""
        for site in self.sites:
            for n in site.descriptors():
                assert n < DESCRIPTORS_MAX, f"{n} descriptors are open"
            for n in site.memory():
                assert n < MEMORY_MAX, f"{n} bytes of memory are used"

    def report(self, number, lost):
        median = sorted(self.downtimes)[len(self.downtimes) // 2] \
            if self.downtimes else 0
        print(f"soak: {number} migrations: "
              + ", ".join(f"{n} {what}" for what, n in self.counts.items())
              + f", {lost} lost with their host; chain of {self.jobs} jobs "
              f"unbroken; downtime: median {median / 1000:.1f} ms, longest "
              f"{max(self.downtimes, default=0) / 1000:.1f} ms", flush=True)


class Lost(Exception):
    """The VM was killed when it had just arrived."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--memory", type=int, default=128)
    parser.add_argument("--devices", type=int, default=2)
    args = parser.parse_args()
    if args.seed is None:
        args.seed = random.SystemRandom().randrange(1 << 30)
    print(f"soak: seed {args.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(args, folder)
        try:
            soak.run()
        finally:
            for site in soak.sites:
                site.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
