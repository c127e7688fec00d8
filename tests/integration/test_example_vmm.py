# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""examples/vmm: a VM with devices at work moves live, and its chain of checked
DMA jobs is never broken."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vmm_pair import DEADLINE, Device, Machine, program

SMALL = "--memory", "96", "--own-rate", "16"
SIZE = "--size", "2M", "--dirty-rate", "2M"


@pytest.fixture(name="site")
def _site(tmp_path):
    """Makes devices; they and all machines end with the test."""
    made = []
    machines = []

    class Site:
        path = tmp_path

        @staticmethod
        def devices(name, count, *options):
            new = [Device(str(tmp_path / f"{name}{i}"), *SIZE, *options)
                   for i in range(count)]
            made.extend(new)
            return new

        @staticmethod
        def machine(devices, *options, **named):
            """A busy machine may take long to stop one, and that is no
            failure here."""
            machines.append(Machine(devices, *SMALL, *options, **named))
            machines[-1].ask("migrate-set-parameters downtime-limit=5000")
            return machines[-1]

    yield Site
    for machine in machines:
        if machine.process.poll() is None:
            machine.kill()
    for device in made:
        device.close()


def await_jobs(machine, number):
    while machine.jobs("query-chain") < number:
        pass


def move(source, target):
    """Sends the VM; what the source says of it."""
    source.ask(f"migrate {target.address}")
    over = source.over()
    assert over["status"] == "completed", over.get("error")
    assert target.over()["status"] == "completed"
    assert source.end() == 0
    return over


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_a_vm_at_work_moves(site, devices):
    a = site.machine(site.devices("a", devices), "--cpus", "2")
    b = site.machine(site.devices("b", devices), "--cpus", "2",
                     incoming=f"unix:{site.path}/link")
    await_jobs(a, 50)
    before = a.jobs()
    over = move(a, b)
    assert over["ram"]["untracked"] == 0
    assert over["ram"]["tracker_failures"] == 0
    await_jobs(b, before + 200)
    b.jobs()
    assert b.quit() == 0


@pytest.mark.parametrize("uri", ["tcp:127.0.0.1:0", "unix:{}/link"])
def test_it_comes_back(site, uri):
    sites = [site.devices(name, 2) for name in "ab"]
    here = site.machine(sites[0])
    for _ in range(4):
        await_jobs(here, here.jobs() + 20)
        sites.reverse()
        there = site.machine(sites[0], incoming=uri.format(site.path))
        move(here, there)
        here = there
    here.jobs()


def test_it_goes_through_a_command(site):
    a, b = site.devices("a", 1), site.devices("b", 1)
    link = f"{site.path}/link"
    target = site.machine(b, incoming=f"unix:{link}")
    source = site.machine(a)
    await_jobs(source, 20)
    relay = (f"{sys.executable} -c 'import socket,sys,os,threading;"
             f"s=socket.socket(socket.AF_UNIX);s.connect(\"{link}\");"
             "p=lambda f,t:[os.write(t,d) for d in iter(lambda:os.read(f,65536"
             "),b\"\")];"
             "t=threading.Thread(target=p,args=(s.fileno(),1),daemon=True);"
             "t.start();"
             "[s.sendall(d) for d in iter(lambda:os.read(0,65536),b\"\")];"
             "s.shutdown(1);t.join()'")
    source.ask(f"migrate exec:{relay}")
    assert source.over()["status"] == "completed"
    assert target.over()["status"] == "completed"
    await_jobs(target, target.jobs() + 20)


def save_to_a_file(site):
    """A VM is saved, and goes on from there."""
    source = site.machine(site.devices("a", 2))
    await_jobs(source, 50)
    file = f"file:{site.path}/vm.state"
    source.ask(f"migrate {file}")
    assert source.over()["status"] == "completed"
    target = Machine(site.devices("b", 2), *SMALL, incoming=file)
    try:
        assert target.over()["status"] == "completed"
        await_jobs(target, target.jobs() + 50)
    finally:
        target.kill()
    return Path(f"{site.path}/vm.state")


def inspect(*words):
    return subprocess.run([program("tool", "vfmig"), "inspect", *words],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=DEADLINE)


def test_what_is_saved_is_shown_by_the_tool(site):
    saved = save_to_a_file(site)
    shown = inspect(saved).stdout
    for what in ("START  0 'ram'", "'cpus/vfmig-blob' version 1: a "
                 "blob of", "blob 'chipset/vfmig-blob': version 1"):
        assert what in shown
    blobs = json.loads(inspect("--json", saved).stdout)["blobs"]
    assert list(blobs) == ["cpus/vfmig-blob", "chipset/vfmig-blob"]
    assert blobs["chipset/vfmig-blob"]["bytes"] > 0
    assert all(len(b["xxh3_128"]) == 32 for b in blobs.values())


def test_a_blob_that_is_damaged_is_told(site):
    saved = save_to_a_file(site)
    data = bytearray(saved.read_bytes())
    at = data.index(b"cpus/vfmig-blob")
    data[at + len(b"cpus/vfmig-blob") + 8 + 8 + 3] ^= 1
    saved.write_bytes(data)
    shown = inspect(saved)
    assert shown.returncode == 1
    assert "'cpus/vfmig-blob': the blob is damaged" in shown.stderr


def test_a_paused_vm_stays_paused(site):
    source = site.machine(site.devices("a", 2))
    target = site.machine(site.devices("b", 2),
                          incoming=f"unix:{site.path}/link")
    await_jobs(source, 30)
    source.ask("stop")
    jobs = source.jobs()
    move(source, target)
    assert target.ask("query-status")["status"] == "paused"
    assert target.jobs() == jobs


def test_a_paused_vm_that_is_cancelled_stays_paused(site):
    source = site.machine(site.devices("a", 2))
    target = site.machine(site.devices("b", 2), "--stay",
                          incoming=f"unix:{site.path}/link")
    await_jobs(source, 30)
    source.ask("stop")
    source.ask("migrate-set-parameters pause-before-switchover=1")
    source.ask(f"migrate {target.address}")
    source.await_event("MIGRATION_STAGE", stage="pre-switchover")
    source.ask("migrate-cancel")
    assert source.over()["status"] == "failed"
    assert source.ask("query-status")["status"] == "paused"
    jobs = source.jobs()
    source.ask("cont")
    await_jobs(source, jobs + 20)
    source.jobs()


def test_it_waits_before_the_switchover(site):
    source = site.machine(site.devices("a", 2))
    target = site.machine(site.devices("b", 2),
                          incoming=f"unix:{site.path}/link")
    await_jobs(source, 30)
    source.ask("migrate-set-parameters pause-before-switchover=1")
    source.ask(f"migrate {target.address}")
    source.await_event("MIGRATION_STAGE", stage="pre-switchover")
    assert source.ask("query-migrate")["stage"] == "pre-switchover"
    source.ask("migrate-continue")
    assert source.over()["status"] == "completed"
    assert target.over()["status"] == "completed"
    target.jobs()


def test_late_dma_arrives(site):
    """Devices that still write while they are being stopped."""
    options = "--late-dma", "64K"
    sites = [site.devices(name, 2, *options) for name in "ab"]
    here = site.machine(sites[0])
    for number in range(6):
        await_jobs(here, here.jobs() + 20)
        sites.reverse()
        there = site.machine(sites[0], incoming=f"unix:{site.path}/{number}")
        move(here, there)
        here = there
    here.jobs()


@pytest.mark.parametrize("skip", [1, 2])
def test_a_log_that_fails_costs_time_and_no_byte(site, skip):
    """The first use of the feature is the question whether there is one."""
    source = site.machine(
        site.devices("a", 2, "--fail", f"LOG_REPORT:EIO,skip={skip}"))
    target = site.machine(site.devices("b", 2),
                          incoming=f"unix:{site.path}/link")
    await_jobs(source, 30)
    over = move(source, target)
    assert over["ram"]["tracker_failures"] == 2
    await_jobs(target, target.jobs() + 50)
    target.jobs()


def test_a_device_without_a_log_may_have_written_everything(site):
    features = "--features", "stop-copy,pre-copy,p2p,data-size,precopy-info"
    source = site.machine(site.devices("a", 2, *features))
    target = site.machine(site.devices("b", 2),
                          incoming=f"unix:{site.path}/link")
    await_jobs(source, 30)
    # Within a millisecond all memory cannot go: it is refused, with the reason.
    source.ask("migrate-set-parameters downtime-limit=1")
    source.ask(f"migrate {target.address}")
    over = source.over()
    assert over["status"] == "failed"
    assert "without anybody's knowing" in over["error"]
    assert any("nobody knows what it writes" in e.get("text", "")
               for e in source.events) or over["ram"]["untracked"] == 96 << 20
    assert target.end() == 1
    target = site.machine(site.devices("c", 2),
                          incoming=f"unix:{site.path}/other")
    source.ask("migrate-set-parameters downtime-limit=10000")
    over = move(source, target)
    assert over["ram"]["untracked"] == 96 << 20
    assert over["ram"]["stopped_pages"] == (96 << 20) // 4096
    await_jobs(target, target.jobs() + 50)
    target.jobs()


def test_without_p2p_states_several_devices_do_not_move(site):
    features = "--features", "stop-copy,pre-copy,data-size,dma-logging"
    source = site.machine(site.devices("a", 2, *features))
    target = site.machine(site.devices("b", 2, *features),
                          incoming=f"unix:{site.path}/link")
    await_jobs(source, 10)
    source.ask(f"migrate {target.address}")
    over = source.over()
    assert over["status"] == "failed"
    assert "has no P2P states" in over["error"]
    await_jobs(source, source.jobs() + 20)
    source.jobs()


def test_a_byte_of_memory_that_is_lost_breaks_the_chain(site):
    machine = site.machine(site.devices("a", 1), "--own-size", "1")
    await_jobs(machine, 10)
    machine.ask("damage 0x4000")  # nobody's
    machine.jobs()
    for address in range(0x1000000, 0x1000000 + (1 << 20), 4096):
        machine.ask(f"damage {address}")
    while True:
        machine.say("query-chain")
        said = machine._next()
        if "error" in said:
            break
    assert "page" in said["error"] and "of its own is wrong" in said["error"]


def test_a_broken_hash_is_noticed(site):
    machine = site.machine(site.devices("a", 1))
    await_jobs(machine, 10)
    machine.ask("stop")
    machine.ask("damage 0x10008")
    assert "the hash of" in machine.refuse("check-chain")


def test_fifty_migrations_with_cancels_and_kills():
    """What make soak does a thousand times."""
    here = os.path.dirname(__file__)
    subprocess.run([sys.executable, os.path.join(here, "soak.py"),
                    "--rounds", "50", "--memory", "96"],
                   check=True, timeout=600)


@pytest.mark.parametrize("options, why", [
    (("--cpus", "2"), "the source has 1 processors, this VMM 2"),
    (("--memory", "128"), "\"pc.ram\" has 100663296 bytes, ours 134217728"),
])
def test_another_machine_is_refused(site, options, why):
    source = site.machine(site.devices("a", 1))
    target = site.machine(site.devices("b", 1), *options,
                          incoming=f"unix:{site.path}/link")
    await_jobs(source, 30)
    source.ask(f"migrate {target.address}")
    over = source.over()
    assert over["status"] == "failed" and why in over["error"]
    await_jobs(source, source.jobs() + 30)
    assert target.over()["status"] == "failed"
    assert target.end() == 1


def test_a_target_whose_device_dies_says_so(site):
    source = site.machine(site.devices("a", 2))
    doomed = site.devices("b", 2)
    target = site.machine(doomed, incoming=f"unix:{site.path}/link")
    await_jobs(source, 30)
    source.ask("migrate-set-parameters max-bandwidth=5000000")
    source.ask(f"migrate {target.address}")
    target.await_event("MIGRATION_STAGE", stage="pre-copy")
    doomed[0].kill()
    over = target.over()
    assert over["status"] == "lost"  # it cannot be reset any more
    assert "server closed the connection" in over["error"]
    over = source.over()
    assert over["status"] == "failed"
    assert "server closed the connection" in over["error"]
    await_jobs(source, source.jobs() + 30)


def test_help_explains_itself():
    done = subprocess.run([program("examples", "vmm", "vmm"), "--help"],
                          stdout=subprocess.PIPE, text=True, check=True,
                          timeout=DEADLINE)
    for word in "--device", "--incoming", "migrate URI", "take-back":
        assert word in done.stdout
    assert subprocess.run([program("examples", "vmm", "vmm"), "--memory", "1"],
                          stderr=subprocess.DEVNULL, timeout=DEADLINE,
                          check=False).returncode == 2
