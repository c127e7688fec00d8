# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""vfmig list: the VFIO devices of the kernel.  Most machines that run this have
none; what it says of those there are is tested in the lab."""
import json
from pathlib import Path

from vfmig_programs import vfmig

KEYS = {"address", "driver", "mediated", "way", "group", "cdev",
        "debugfs_state", "opened", "migratable", "reason", "state",
        "migration"}


def test_the_list_is_an_array_of_what_can_be_said_of_each():
    listed = json.loads(vfmig("list", "--json").ok().stdout)
    assert isinstance(listed, list)
    for device in listed:
        assert set(device) == KEYS
        assert device["migratable"] == (device["reason"] is None)
        assert device["opened"] == (device["state"] is not None)


def test_people_are_told_of_each_or_what_to_do():
    listed = json.loads(vfmig("list", "--json").ok().stdout)
    text = vfmig("list").ok().stdout
    for device in listed:
        assert f"{device['address']}\n  driver       " in text
    assert listed or "no device is bound to a VFIO driver: " in text


def test_what_is_bound_to_vfio_pci_is_in_it():
    bound = Path("/sys/bus/pci/drivers/vfio-pci").glob("*:*:*.*")
    listed = json.loads(vfmig("list", "--json").ok().stdout)
    assert {path.name for path in bound} <= {d["address"] for d in listed}
