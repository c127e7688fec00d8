# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""The kernel's VFIO interface from a vfio-user server."""
import os
import signal
import stat
import subprocess

import pytest

from vfmig_bridge import (CLIENT, FIRST, SECOND, VFMIG_RUN, bridged,
                          over_bridge, succeeds)
from vfmig_programs import BUILD, DEADLINE, VFMIG, Device, vfmig

# What the kernel's own sample driver does, and no rule for others.
OF_A_DRIVER = {"unfinished-load-stays-in-resuming"}

FACTS = sorted(path.stem for path in
               (BUILD.parent / "docs" / "kernel").glob("*.c"))
if not FACTS:  # a build folder elsewhere
    FACTS = sorted(path.name for path in (BUILD / "docs" / "kernel").iterdir()
                   if path.is_file() and os.access(path, os.X_OK))


@pytest.fixture
def device(tmp_path):
    with Device(tmp_path, "device", "--size", "64K") as it:
        yield it


# -------------------------------------------------------------- programs

@pytest.mark.parametrize("how", ["group", "cdev"])
def test_a_program_that_knows_only_the_kernel_works(device, how):
    assert succeeds(over_bridge([device.path], CLIENT, how, FIRST)).split() \
        == ["regions", "interrupts", "dma", "log", "migration", "errors",
            "processes", "races"]


def test_it_does_so_twice(device):
    for _ in range(2):
        succeeds(over_bridge([device.path], CLIENT, "group", FIRST))


def test_a_server_with_other_habits_is_as_good(tmp_path):
    """No sizes there, and a reset that forgets nothing."""
    with Device(tmp_path, "library", "--personality", "libvfio-user") as it:
        succeeds(over_bridge([it.path], CLIENT, "group", FIRST,
                             "interrupts", "dma", "processes"))


def test_messages_in_pieces_are_as_good(tmp_path):
    with Device(tmp_path, "split", "--split", "7", "--size", "64K") as it:
        succeeds(over_bridge([it.path], CLIENT, "cdev", FIRST))


@pytest.mark.parametrize("fact", [fact for fact in FACTS
                                  if fact not in OF_A_DRIVER])
def test_a_fact_of_the_kernel_holds(device, fact):
    succeeds(over_bridge([device.path], BUILD / "docs" / "kernel" / fact,
                         FIRST))


@pytest.mark.parametrize("features", [
    "stop-copy", "stop-copy,pre-copy", "stop-copy,p2p",
    "stop-copy,pre-copy,p2p"])
def test_every_transition_is_the_kernels(tmp_path, features):
    features += ",data-size,precopy-info"
    with Device(tmp_path, "device", "--size", "64K", "--features",
                features) as it:
        succeeds(over_bridge([it.path], BUILD / "tests" / "lab" /
                             "transitions", FIRST))


# ------------------------------------------------------------------ vfmig

def test_vfmig_finds_the_devices(tmp_path, device):
    with Device(tmp_path, "other") as other:
        text = succeeds(over_bridge([device.path, other.path], VFMIG, "list"))
        assert FIRST in text and SECOND in text
        assert text.count("STOP_COPY, PRE_COPY, P2P") == 2


def test_vfmig_says_the_same_of_a_device_either_way(device):
    run = over_bridge([device.path], VFMIG, "probe", "-d", "vfio:" + FIRST,
                      "--json")
    succeeds(run)
    # The bridge has the state in messages.
    user = vfmig("probe", "-d", device.word + ",data-area=off", "--json")
    succeeds(user)
    kernel, user = run.json(), user.json()
    for key in kernel.keys() & user.keys():
        if key not in ("device", "backend", "name", "read_size", "write_size"):
            assert kernel[key] == user[key], key


def test_what_is_saved_over_the_bridge_is_loaded_without(tmp_path, device):
    file = tmp_path / "state"
    succeeds(over_bridge([device.path], VFMIG, "save", "-d", "vfio:" + FIRST,
                         file))
    with Device(tmp_path, "target", "--size", "64K") as target:
        vfmig("load", "-d", target.word, file).ok()


def test_what_is_saved_without_is_loaded_over_the_bridge(tmp_path, device):
    file = tmp_path / "state"
    vfmig("save", "-d", device.word, file).ok()
    with Device(tmp_path, "target", "--size", "64K") as target:
        succeeds(over_bridge([target.path], VFMIG, "load", "-d",
                             "vfio:" + FIRST, file))


def test_a_device_begins_anew_unless_it_is_kept(device):
    device.set_state("stop")
    words = VFMIG, "state", "-d", "vfio:" + FIRST
    kept = over_bridge([device.path], *words, options=["--keep"])
    assert succeeds(kept).strip() == "STOP"
    assert succeeds(over_bridge([device.path], *words)).strip() == "RUNNING"


# ----------------------------------------------------------------- errors

def test_a_refusal_is_the_servers_errno(tmp_path):
    with Device(tmp_path, "device", "--fail", "PRE_COPY:EBUSY") as it:
        run = over_bridge([it.path], VFMIG, "save", "-d", "vfio:" + FIRST,
                          tmp_path / "state")
        assert run.code == 1
        assert "Device or resource busy" in run.stderr, run.stderr


def test_a_server_that_goes_is_an_input_output_error(tmp_path):
    with Device(tmp_path, "device", "--close", "MIG_DATA_READ") as it:
        run = over_bridge([it.path], VFMIG, "save", "-d", "vfio:" + FIRST,
                          tmp_path / "state")
        assert run.code != 0
        assert "Input/output error" in run.stderr, run.stderr


def test_a_server_that_is_not_there_is_named(tmp_path):
    run = over_bridge([tmp_path / "nobody"], "true")
    assert run.code == 125
    assert f"{tmp_path}/nobody: No such file" in run.stderr


def test_a_device_that_is_given_twice_is_named(device):
    run = over_bridge([device.path, device.path], "true")
    assert run.code == 2
    assert f"{device.path}: given twice" in run.stderr


def test_a_device_that_is_not_on_a_bus_is_named(tmp_path):
    with Device(tmp_path, "device", "--accept-any") as it:
        run = over_bridge([it.path], "true")
        assert run.code == 125
        assert "not on a PCI bus" in run.stderr


# -------------------------------------------------------------- vfmig-run

def tree_of(run):
    return run.out.wait_for("VFMIG_UAPI_TREE=")


def test_the_folder_goes_with_the_program(tmp_path, device):
    run = over_bridge([device.path], "env")
    tree = [line for line in run.stdout.splitlines()
            if line.startswith("VFMIG_UAPI_TREE=")][0].partition("=")[2]
    assert run.code == 0
    assert not os.path.exists(tree)


def test_the_programs_status_is_passed_on(device):
    assert over_bridge([device.path], "sh", "-c", "exit 7").code == 7
    assert over_bridge([device.path], "/nowhere").code == 127
    assert over_bridge([device.path], "sh", "-c", "kill -9 $$").code == 137


def test_signals_are_passed_on(device):
    script = 'trap "echo caught; exit 3" TERM; echo ready; ' \
        'while :; do read line; done'
    with bridged([device.path], "sh", "-c", script,
                 stdin=subprocess.PIPE) as run:
        run.out.wait_for("ready")
        run.signal(signal.SIGTERM)
        run.process.stdin.write(b"\n")
        run.process.stdin.flush()
        run.out.wait_for("caught")
        assert run.finish().code == 3


def test_sysfs_and_dev_show_the_device_beside_the_machines_own(device):
    script = f"""
        cat /sys/bus/pci/devices/{FIRST}/vendor
        cat /sys/bus/pci/drivers/vfio-pci/{FIRST}/class
        readlink /sys/bus/pci/devices/{FIRST}/iommu_group
        realpath -m /sys/bus/pci/devices/{FIRST}
        stat -c %F /dev/vfio/5646
        ls /dev/vfio
    """
    lines = succeeds(over_bridge([device.path], "sh", "-c", script)).split("\n")
    assert lines[:5] == [
        "0x5646", "0x088000", "../../../kernel/iommu_groups/5646",
        f"/sys/devices/vfmig/{FIRST}", "character special file"]
    assert {"5646", "devices", "vfio"} <= set(lines[5:])
    mine = os.listdir("/sys/bus/pci/devices") \
        if os.path.isdir("/sys/bus/pci/devices") else []
    seen = succeeds(over_bridge([device.path], "ls", "/sys/bus/pci/devices"))
    assert set(seen.split()) == {FIRST, *mine}


def test_a_named_folder_stays_and_the_environment_is_enough(tmp_path, device):
    tree = tmp_path / "tree"
    tree.mkdir()
    run = subprocess.run([VFMIG_RUN, "--device", device.path, "--tree", tree],
                         stdout=subprocess.PIPE, text=True, check=True,
                         timeout=DEADLINE)
    env = dict(line.partition("=")[::2] for line in run.stdout.splitlines())
    assert stat.S_ISDIR(os.stat(tree / "sys").st_mode)
    subprocess.run([CLIENT, "cdev", FIRST], env={**os.environ, **env},
                   check=True, timeout=DEADLINE)


def test_the_environment_says_that_a_device_is_kept(tmp_path, device):
    device.set_state("stop")
    tree = tmp_path / "tree"
    tree.mkdir()
    run = subprocess.run([VFMIG_RUN, "--device", device.path, "--keep",
                          "--tree", tree], stdout=subprocess.PIPE, text=True,
                         check=True, timeout=DEADLINE)
    env = dict(line.partition("=")[::2] for line in run.stdout.splitlines())
    state = subprocess.run([VFMIG, "state", "-d", "vfio:" + FIRST],
                           env={**os.environ, **env}, stdout=subprocess.PIPE,
                           text=True, check=True, timeout=DEADLINE)
    assert state.stdout.strip() == "STOP"


@pytest.mark.parametrize("words, text", [
    ((), "no device"),
    (("--device", "x"), "no program"),
    (("--nonsense",), "--help"),
    (tuple(["--device", "x"] * 17) + ("true",), "16 devices at most"),
])
def test_a_bad_command_line_is_refused(words, text):
    run = subprocess.run([VFMIG_RUN, *words], stderr=subprocess.PIPE,
                         text=True, check=False, timeout=DEADLINE)
    assert run.returncode == 2
    assert text in run.stderr
