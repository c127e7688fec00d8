# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""Another's program that drives devices by VFIO, unmodified: DPDK's testpmd.

No driver of DPDK's is for the emulated device.  One for virtio tries to be: it
is given the device by its PCI id, looks at its registers, and finds no queue.
Until there, and from there back, it is vfio-pci as for any device."""
import os
import shutil

import pytest

from machine import Emulated
from qemu import VFMIG_RUN
from vfmig_programs import Program

TESTPMD = shutil.which("dpdk-testpmd")
DIRECTION = "DPDK's testpmd, over the bridge"
pytestmark = pytest.mark.skipif(TESTPMD is None, reason="no dpdk-testpmd")

DEVICE = "5646:00:01.0"


def run_testpmd(folder, device):
    words = ("--no-huge", "-m", "64", "--no-telemetry", "--iova-mode=va",
             "--log-level=lib.eal:debug", "-a", DEVICE)
    with Program(VFMIG_RUN, "--device", device.path, "--", TESTPMD, *words,
                 "--", "--total-num-mbufs=2048",
                 env={**os.environ, "RUNTIME_DIRECTORY": str(folder),
                      "XDG_RUNTIME_DIR": str(folder)}) as run:
        run.finish()
    assert run.code == 0 and "Bye..." in run.stdout, \
        run.stdout + run.stderr
    return run.stdout + run.stderr


def in_order(text, *lines):
    at = 0
    for line in lines:
        at = text.find(line, at)
        assert at >= 0, f"no '{line}' where it should be in\n{text}"


def test_vfio_pci_probes_the_device(tmp_path):
    with Emulated(tmp_path, "device", "--pci-id", "1af4:1041",
                  "--no-mmap") as device:
        said = run_testpmd(tmp_path, device)
        report = device.report()
    in_order(said, "probe driver: 1af4:1041 net_virtio",
             "Using IOMMU type 1 (Type 1)",
             "virtio_init_queue(): virtqueue does not exist",
             f"Releasing PCI mapped resource for {DEVICE}",
             f"Requested device {DEVICE} cannot be used")
    # It was reset when it was opened, asked, and is what it was.
    assert report["resets"] >= 1 and report["commands"] > 40
    assert report["state"] == "RUNNING"


def test_a_bar_that_maps_in_part_only_is_refused_by_dpdk(tmp_path):
    """A fact that docs/bridge.md tells."""
    with Emulated(tmp_path, "device", "--pci-id", "1af4:1041") as device:
        said = run_testpmd(tmp_path, device)
        assert device.report()["state"] == "RUNNING"
    in_order(said, "Using IOMMU type 1 (Type 1)", "Failed to map pci BAR2",
             f"Requested device {DEVICE} cannot be used")
