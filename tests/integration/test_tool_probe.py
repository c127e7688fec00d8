# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""vfmig probe: what a device can do, and why not."""
import json

import pytest

from vfmig_programs import Device, vfmig

ALL = "stop-copy,pre-copy,p2p,data-size,precopy-info,dma-logging"

STATES = ["RUNNING", "RUNNING_P2P", "PRE_COPY", "PRE_COPY_P2P", "STOP",
          "STOP_COPY", "RESUMING"]


def test_a_device_with_everything_can_be_migrated(tmp_path):
    with Device(tmp_path, "d", "--features", ALL, "--size", "1M") as device:
        told = device.probe()
    assert told["device"] == device.word
    assert told["backend"] == "vfio-user"
    assert told["migratable"] is True
    assert told["reason"] is None and told["advice"] is None
    assert told["state"] == "RUNNING"
    assert told["migration"] == {"stop_copy": True, "pre_copy": True,
                                 "p2p": True}
    assert told["states"] == STATES
    assert told["features"] == {"data_size": True, "precopy_info": True,
                                "dma_logging": True, "reset": True}
    assert told["data_size_bytes"] >= 1 << 20
    assert told["precopy"] is None
    assert told["pci"]["config_bytes"] in (256, 4096)
    assert told["pci"]["vendor_id"] not in (0, 0xffff)
    assert told["limits"]["read_bytes"] >= 4096
    assert told["limits"]["write_bytes"] >= 4096
    assert told["notes"] == []


def test_people_get_the_same_in_words(tmp_path):
    with Device(tmp_path, "d", "--features", ALL, "--size", "1M") as device:
        told = device.probe()
        text = vfmig("probe", "-d", device.word).ok().stdout
    assert text.startswith(f"{device.word}\n  migration    yes\n")
    assert "  state        RUNNING\n" in text
    assert "  states       " + ", ".join(STATES) + "\n" in text
    assert f"  PCI          {told['pci']['vendor_id']:04x}:" in text
    assert "note:" not in text


def test_memory_shared_for_the_state_is_told_of(tmp_path):
    with Device(tmp_path, "d", "--size", "1M") as device, \
            Device(tmp_path, "e", "--size", "1M", "--no-data-area") as other:
        told = device.probe()
        text = vfmig("probe", "-d", device.word).ok().stdout
        held_off = json.loads(vfmig(
            "probe", "--json", "-d", device.word + ",data-area=off").ok().stdout)
        without = other.probe()
    assert told["limits"]["data_area_bytes"] == 2 << 20
    assert "  shared       2.0 MiB of memory" in text
    assert held_off["limits"]["data_area_bytes"] == 0
    assert without["limits"]["data_area_bytes"] == 0


def test_what_is_done_without_is_not_there(tmp_path):
    with Device(tmp_path, "d", "--features", ALL) as device:
        told = json.loads(vfmig(
            "probe", "--json", "-d",
            device.word + ",p2p=off,pre-copy=off").ok().stdout)
        again = json.loads(vfmig(
            "probe", "--json", "-d",
            device.word + ",p2p=off,p2p=on").ok().stdout)
    assert told["migration"] == {"stop_copy": True, "pre_copy": False,
                                 "p2p": False}
    assert told["states"] == ["RUNNING", "STOP", "STOP_COPY", "RESUMING"]
    assert told["features"]["precopy_info"] is False
    assert again["states"] == STATES


@pytest.mark.parametrize("missing,note", [
    ("pre-copy,precopy-info", "stands still"),
    ("p2p", "without P2P"),
    ("data-size", "cannot tell the size"),
    ("dma-logging", "does not log its writes"),
])
def test_what_a_gap_costs_is_said(tmp_path, missing, note):
    features = ",".join(f for f in ALL.split(",") if f not in missing)
    with Device(tmp_path, "d", "--features", features) as device:
        told = device.probe()
    assert told["migratable"] is True
    assert len(told["notes"]) == 1 and note in told["notes"][0]


@pytest.mark.parametrize("says,note", [("zero", "0 bytes"),
                                       ("huge", "not credible")])
def test_a_size_that_cannot_be_is_told_as_it_is(tmp_path, says, note):
    with Device(tmp_path, "d", "--features", ALL,
                "--data-size-report", says) as device:
        told = device.probe()
    assert (told["data_size_bytes"] == 0) == (says == "zero")
    assert any(note in n for n in told["notes"])


def test_a_device_without_migration_is_no_and_says_what_to_do(tmp_path):
    with Device(tmp_path, "d", "--features", "") as device:
        told = device.probe()
        text = vfmig("probe", "-d", device.word).ok().stdout
    assert told["migratable"] is False
    assert "no migration" in told["reason"]
    assert "driver or server" in told["advice"]
    assert told["migration"]["stop_copy"] is False
    assert f"  migration    no: {told['reason']}\n" in text
    assert f"  what to do   {told['advice']}\n" in text


def test_a_device_in_error_is_no_until_it_is_reset(tmp_path):
    with Device(tmp_path, "d", "--fail", "STOP,leave=ERROR") as device:
        vfmig("state", "-d", device.word, "STOP").exits(1)
        told = device.probe()
        assert told["state"] == "ERROR"
        assert told["migratable"] is False
        assert "--reset" in told["advice"]
        device.set_state("--reset")
        assert device.probe()["migratable"] is True


@pytest.mark.parametrize("state", STATES)
def test_probing_changes_nothing(tmp_path, state):
    with Device(tmp_path, "d", "--features", ALL) as device:
        device.set_state(state)
        told = device.probe()
        vfmig("probe", "-d", device.word).ok()
        assert told["state"] == state == device.state()
        assert told["migratable"] == (state in ("RUNNING", "RUNNING_P2P",
                                                "STOP"))
        assert (told["precopy"] is not None) == state.startswith("PRE_COPY")
        device.set_state("--reset")


def test_a_socket_that_is_not_there_is_named(tmp_path):
    run = vfmig("probe", "-d", f"vfio-user:{tmp_path}/none").exits(1)
    assert f"{tmp_path}/none" in run.error()
    assert run.stdout == ""


def test_a_comma_in_a_path_is_doubled(tmp_path):
    with Device(tmp_path, "a,b") as device:
        word = device.word.replace(",", ",,")
        assert vfmig("state", "-d", word + ",id=x").ok().stdout == "RUNNING\n"
