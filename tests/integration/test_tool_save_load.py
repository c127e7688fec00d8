# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""vfmig save and load: a device's state to a file and back."""
import os
import subprocess

import pytest

from vfmig_programs import Device, KIB, MIB, Run, VFMIG, vfmig

FEATURES = {
    "all": "stop-copy,pre-copy,p2p,data-size,precopy-info,dma-logging",
    "reinit": "stop-copy,pre-copy,p2p,data-size,precopy-info,reinit",
    "no pre-copy": "stop-copy,p2p,data-size",
    "no p2p": "stop-copy,pre-copy,data-size,precopy-info",
    "no size": "stop-copy,pre-copy,p2p",
    "bare": "stop-copy",
}


def save(device, path, *words):
    return vfmig("save", "-d", device.word, "--json", *words,
                 path).ok().json()


def load(device, path, *words):
    return vfmig("load", "-d", device.word, "--json", *words,
                 path).ok().json()


def digest(told):
    return told["devices"][0]["xxh3_128"]


@pytest.mark.parametrize("size", [4 * KIB, MIB, 17 * MIB + 4 * KIB])
@pytest.mark.parametrize("features", FEATURES)
def test_what_is_saved_is_what_is_loaded(tmp_path, features, size):
    words = ("--features", FEATURES[features], "--size", size)
    with Device(tmp_path, "a", *words, "--seed", 1) as a, \
            Device(tmp_path, "b", *words, "--seed", 2) as b:
        saved = save(a, tmp_path / "state")
        loaded = load(b, tmp_path / "state")
        assert a.state() == b.state() == "RUNNING"
    assert saved["outcome"] == loaded["outcome"] == "done"
    assert digest(saved) == digest(loaded) != None
    assert saved["device_bytes"] == loaded["device_bytes"] >= size
    assert saved["stream_bytes"] == loaded["stream_bytes"] == \
        (tmp_path / "state").stat().st_size
    moved = saved["devices"][0]
    assert (moved["pre_copy_bytes"] > 0) == ("pre-copy" in FEATURES[features])


@pytest.mark.parametrize("says", ["zero", "huge", "12345"])
def test_a_device_that_lies_about_its_size_is_saved_all_the_same(tmp_path,
                                                                 says):
    with Device(tmp_path, "a", "--size", MIB, "--data-size-report", says) as a, \
            Device(tmp_path, "b", "--size", MIB) as b:
        saved = save(a, tmp_path / "state", "--pre-copy-timeout", "2s",
                     "--force-switchover")
        assert digest(saved) == digest(load(b, tmp_path / "state"))


def test_a_pipe_that_nobody_reads_is_given_up(tmp_path):
    ours, theirs = os.pipe()
    with Device(tmp_path, "a", "--size", "1M", "--features",
                "stop-copy") as device:
        run = Run("save", "-d", device.word, "--peer-timeout", "300ms", "-",
                  stdout=theirs)
        os.close(theirs)
        with run:
            run.finish().exits(1)
        os.close(ours)
        assert device.state() == "RUNNING"
    assert "got nothing done for 300 ms in stage complete" in run.error()


def test_a_limit_of_ours_is_no_silence_of_the_peers(tmp_path):
    with Device(tmp_path, "a", "--size", "4K") as device:
        vfmig("save", "-d", device.word, "--peer-timeout", "40ms",
              "--max-bandwidth", "32K", tmp_path / "state").ok()


def test_how_a_device_is_talked_to_can_be_chosen(tmp_path):
    slow = ",read-size=4096,read-depth=1,write-size=4K,write-depth=1"
    fast = ",read-size=1M,read-depth=16,write-size=1M,write-depth=16"
    with Device(tmp_path, "a") as a, Device(tmp_path, "b") as b:
        a.set_state("STOP")
        path = tmp_path / "state"
        digests = set()
        for keys in slow, fast:
            saved = vfmig("save", "-d", a.word + keys, "--json",
                          path).ok().json()
            loaded = vfmig("load", "-d", b.word + keys, "--json",
                           path).ok().json()
            digests |= {digest(saved), digest(loaded)}
        assert len(digests) == 1


def test_a_device_that_does_not_answer_is_given_up_on_in_time(tmp_path):
    with Device(tmp_path, "a", "--delay", "PRE_COPY:0,count=0") as device:
        run = vfmig("save", "-d", device.word + ",state-timeout=200ms",
                    "--json", tmp_path / "state", seconds=20).exits(3)
    assert str(device.path) in run.error()
    assert run.json()["outcome"] == "lost"
    assert not (tmp_path / "state").exists()


def test_a_device_that_ran_may_be_left_stopped(tmp_path):
    with Device(tmp_path) as device:
        told = save(device, tmp_path / "state", "--stop")
        assert device.state() == "STOP"
        assert told["devices"][0]["state"] == "STOP"


def test_a_paused_device_stays_stopped_at_both_ends(tmp_path):
    with Device(tmp_path, "a") as a, Device(tmp_path, "b") as b:
        a.set_state("STOP")
        saved = save(a, tmp_path / "state")
        loaded = load(b, tmp_path / "state")
        assert a.state() == b.state() == "STOP"
    assert saved["vm_runs"] is False
    assert loaded["vm_runs"] is False


def test_a_device_may_be_loaded_without_running_it(tmp_path):
    with Device(tmp_path, "a") as a, Device(tmp_path, "b") as b:
        save(a, tmp_path / "state")
        load(b, tmp_path / "state", "--paused")
        assert a.state() == "RUNNING"
        assert b.state() == "STOP"


def test_a_stopped_device_is_saved_the_same_twice(tmp_path):
    with Device(tmp_path, "a") as a:
        a.set_state("STOP")
        assert digest(save(a, tmp_path / "1")) == \
            digest(save(a, tmp_path / "2"))


def test_a_pipe_takes_the_place_of_a_file(tmp_path):
    with Device(tmp_path, "a") as a, Device(tmp_path, "b") as b:
        with Run("save", "-d", a.word, "-") as saving:
            saving.out = None
            loading = vfmig("load", "-d", b.word, "-",
                            stdin=saving.process.stdout)
            saving.process.stdout = None
            saving.finish().ok()
        loading.ok()
        assert b.state() == "RUNNING"
    assert saving.stderr.startswith("sent ")
    assert loading.stdout.startswith("received ")


def test_two_devices_go_into_one_file_and_back(tmp_path):
    with Device(tmp_path, "a", "--seed", 1) as a, \
            Device(tmp_path, "b", "--seed", 2) as b, \
            Device(tmp_path, "c") as c, Device(tmp_path, "d") as d:
        saved = vfmig("save", "--json", "-d", a.word + ",id=first", "-d",
                      b.word + ",id=second", tmp_path / "state").ok().json()
        # In another order: it is the ids that count.
        loaded = vfmig("load", "--json", "-d", d.word + ",id=second", "-d",
                       c.word + ",id=first", tmp_path / "state").ok().json()
    there = {d["id"]: d["xxh3_128"] for d in loaded["devices"]}
    assert {d["id"]: d["xxh3_128"] for d in saved["devices"]} == there
    assert there["first"] != there["second"]


def test_a_failed_save_leaves_an_older_file_as_it_was(tmp_path):
    path = tmp_path / "state"
    path.write_text("older")
    with Device(tmp_path, "a", "--fail", "read@0") as device:
        vfmig("save", "-d", device.word, path).exits(1)
        assert device.state() == "RUNNING"
    assert path.read_text() == "older"
    assert sorted(p.name for p in tmp_path.iterdir()
                  if not p.name.endswith(".sock")) == ["state"]


def test_a_full_disk_leaves_the_device_running(tmp_path):
    with Device(tmp_path) as device:
        run = vfmig("save", "-d", device.word, "/dev/full").exits(1)
        assert "No space left" in run.error()
        assert device.state() == "RUNNING"


def test_a_file_that_is_not_there_is_named(tmp_path):
    with Device(tmp_path) as device:
        run = vfmig("load", "-d", device.word, tmp_path / "none").exits(1)
        assert f"{tmp_path}/none" in run.error()
        assert device.state() == "RUNNING"


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.999])
def test_a_file_that_is_cut_is_refused_with_the_offset(tmp_path, keep):
    path = tmp_path / "state"
    with Device(tmp_path, "a") as a, Device(tmp_path, "b") as b:
        save(a, path)
        whole = path.read_bytes()
        length = keep if isinstance(keep, int) else int(len(whole) * keep)
        path.write_bytes(whole[:length])
        run = vfmig("load", "-d", b.word, path, "--json").exits(1)
        assert f"{path}: offset {length}: " in run.error()
        assert run.json()["outcome"] == "failed"


def test_a_byte_that_changed_is_found(tmp_path):
    path = tmp_path / "state"
    with Device(tmp_path, "a", "--size", MIB) as a, \
            Device(tmp_path, "b", "--size", MIB) as b:
        save(a, path)
        whole = bytearray(path.read_bytes())
        whole[len(whole) // 2] ^= 1
        path.write_bytes(whole)
        vfmig("load", "-d", b.word, path).exits(1)


def test_a_stream_of_other_devices_is_refused(tmp_path):
    path = tmp_path / "state"
    with Device(tmp_path, "a") as a, Device(tmp_path, "b") as b:
        vfmig("save", "-d", a.word + ",id=x", path).ok()
        run = vfmig("load", "-d", b.word + ",id=y", path).exits(1)
        assert "x" in run.error()


def test_a_stream_of_another_machine_type_is_refused(tmp_path):
    path = tmp_path / "state"
    with Device(tmp_path, "a") as a, Device(tmp_path, "b") as b:
        vfmig("save", "-d", a.word, "--machine", "pc", path).ok()
        run = vfmig("load", "-d", b.word, "--machine", "virt", path).exits(1)
        assert "pc" in run.error() and "virt" in run.error()
        vfmig("load", "-d", b.word, "--machine", "pc", path).ok()


def test_a_stream_does_not_go_to_a_terminal(tmp_path):
    with Device(tmp_path) as device:
        run = subprocess.run(
            ["script", "-qec", f"{VFMIG} save -d {device.word} -",
             "/dev/null"], stdin=subprocess.DEVNULL, capture_output=True,
            timeout=60, check=False)
        assert b"is a terminal" in run.stdout
        assert run.returncode == 1
        assert device.state() == "RUNNING"
