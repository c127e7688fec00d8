# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""vfmig check: loads, refusals, resets, and what takes a driver: registers,
DMA, its log, interrupts; each finds what a device is told to do wrong."""
import pytest

from vfmig_programs import Device, vfmig

LONG = 300
# What `vfmig check` returns.
FAILED_MUST, FAILED_SHOULD = 1, 5


def check(device, *words):
    return vfmig("check", "-d", device.word, "--json", *words, seconds=LONG)


def reasons(run, outcome):
    return {c["name"]: c["reason"] for c in run.json()["checks"]
            if c["outcome"] == outcome}


FAULTS = [
    ("--corrupt write@100000,count=0", "load-then-save-again", "EINVAL"),
    ("--fail MIG_DATA_WRITE,count=0", "load-by-7-bytes", "EIO"),
    ("--fail RESUMING>STOP,count=0", "load-by-RUNNING_P2P", "EIO"),
    ("--accept-any", "refusal-empty", "0 of"),
    ("--accept-any", "refusal-cut-at-the-end", "was taken as a state"),
    ("--accept-any", "refusal-damaged-anywhere", "was taken as a state"),
    ("--accept-any", "refusal-foreign", "random bytes"),
    ("--accept-any", "refusal-doubled", "twice in one session"),
    ("--fail RESUMING>STOP,leave=STOP,count=0", "refusal-empty",
     "the device is in STOP, and not in RESUMING or ERROR"),
    ("--fail DEVICE_RESET,count=0", "reset-in-STOP", "EIO"),
    ("--close DEVICE_RESET,count=0", "reset-many-times", "ECONNRESET"),
    ("--fail STOP_COPY>STOP,skip=20", "repeat-save", "EIO"),
    ("--fail STOP>RESUMING,skip=20", "repeat-load", "EIO"),
    ("--fail STOP>RUNNING_P2P,count=0", "dma-goes-on-after-STOP", "EIO"),
    ("--fail LOG_START,count=0,skip=1", "log-has-all-pages", "EIO"),
    ("--fail LOG_REPORT,skip=1", "log-cleared-by-a-report", "EIO"),
    ("--fail LOG_STOP,count=0", "log-begins-again", "cannot be stopped"),
    ("--fail DEVICE_SET_IRQS,count=0", "irq-fires-once", "EIO"),
    ("--fail REGION_WRITE,count=0", "register-loaded", "EIO"),
]


NO_DRIVER = ("vfmig has no description of this device, by which it could be made "
             "to work: docs/testing-your-device.md")


@pytest.mark.parametrize("options,name,reason", FAULTS,
                         ids=[f"{name}-{o.split()[-1].split(',')[0]}"
                              for o, name, _ in FAULTS])
def test_a_fault_is_found_by_the_check_of_that_name(tmp_path, options, name,
                                                    reason):
    with Device(tmp_path, "d", *options.split()) as device:
        run = check(device, "--only", name)
        assert run.code in (FAILED_MUST, FAILED_SHOULD)
        failed = reasons(run, "failed")
        assert list(failed) == [name]
        assert reason in failed[name]


@pytest.mark.parametrize("options,group,reason", [
    ("--pci-id 1234:5678", "dma", NO_DRIVER),
    ("--pci-id 1234:5678", "registers", NO_DRIVER),
    ("--pci-id 1234:5678", "interrupts", NO_DRIVER),
    ("--fail DMA_MAP,count=0", "dma", "memory cannot be mapped: EIO"),
    ("--features stop-copy,pre-copy,p2p", "logs",
     "the device keeps no log of its DMA"),
])
def test_what_cannot_be_tried_is_skipped_with_the_reason(tmp_path, options,
                                                         group, reason):
    with Device(tmp_path, "d", *options.split()) as device:
        run = check(device, "--only", group).ok()
        assert set(reasons(run, "skipped").values()) == {reason}
        assert reasons(run, "passed") == {}


def test_the_last_writes_may_land_while_the_device_stops(tmp_path):
    with Device(tmp_path, "d", "--late-dma", "64K") as device:
        run = check(device, "--only", "dma", "--only", "logs").ok()
        assert reasons(run, "failed") == {}
        assert len(reasons(run, "passed")) > 30


def test_the_habits_of_a_server_are_no_failures(tmp_path):
    with Device(tmp_path, "d", "--personality", "libvfio-user") as device:
        found = reasons(check(device, "--only", "resets", "--only", "logs",
                              "--only", "log-errors").ok(), "quirk")
        assert "refuses to reset in STOP" in found["reset-in-STOP"]
        assert "keeps the state RESUMING" in found["reset-in-RESUMING"]
        assert "whole mappings" in found["log-without-what-no-range-has"]
