# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""vfmig splice: one device's state takes another's place, and nothing else of
the stream changes."""
import hashlib
import json
import lzma
import os
from pathlib import Path

import pytest

from vfmig_programs import Device, Run, vfmig

STREAMS = Path(__file__).parent.parent / "data" / "streams"
WHOLE = sorted(path.parent.name for path in STREAMS.glob("*/truth.json")
               if "multifd" not in str(path))
MULTIFD = "qemu-10.0.2-multifd"


@pytest.fixture(scope="module")
def streams(tmp_path_factory):
    """Every capture as a file, by name."""
    folder = tmp_path_factory.mktemp("streams")
    for name in [*WHOLE, MULTIFD]:
        data = lzma.decompress((STREAMS / name / "main.bin.xz").read_bytes())
        (folder / name).write_bytes(data)
    return {name: folder / name for name in [*WHOLE, MULTIFD]}


def device_of(name):
    truth = json.loads((STREAMS / name / "truth.json").read_text())
    (section, facts), = truth["vfio"].items()
    return section.removesuffix("/vfio"), facts


def splice(into, state, out, name=None):
    device = name or device_of(into.name)[0]
    return vfmig("splice", "-d", f"{device}={state}", "-o", out, into)


def facts_of(path):
    return vfmig("inspect", "--json", path).ok().json()


@pytest.mark.parametrize("name", WHOLE)
def test_a_states_own_device_gives_the_same_bytes(name, streams, tmp_path):
    splice(streams[name], streams[name], tmp_path / "out").ok()
    assert (tmp_path / "out").read_bytes() == streams[name].read_bytes()


@pytest.mark.parametrize("state", WHOLE)
@pytest.mark.parametrize("name", WHOLE)
def test_a_state_moves_and_the_rest_stays(name, state, streams, tmp_path):
    splice(streams[name], streams[state], tmp_path / "out").ok()
    new, old = facts_of(tmp_path / "out"), facts_of(streams[name])
    section = device_of(name)[0] + "/vfio"
    truth = device_of(state)[1]
    for key in "bytes", "data_sha256", "config_bytes", "config_sha256":
        assert new["vfio"][section][key] == truth[key], key
    for key in "machine", "commands", "full_sections", "ram_blocks", "ram_pages":
        assert new.get(key) == old.get(key), key
    # And back: nothing but the state was touched.
    splice(tmp_path / "out", streams[name], tmp_path / "back",
           device_of(name)[0]).ok()
    if state == name or new["sections"] == old["sections"]:
        assert (tmp_path / "back").read_bytes() == streams[name].read_bytes()


@pytest.mark.parametrize("name", WHOLE)
def test_what_inspect_extracted_can_be_put_back(name, streams, tmp_path):
    device, truth = device_of(name)
    state = tmp_path / "new.state"
    state.write_bytes(os.urandom(3_000_001))
    splice(streams[name], state, tmp_path / "out").ok()
    facts = facts_of(tmp_path / "out")["vfio"][device + "/vfio"]
    assert facts["bytes"] == 3_000_001
    assert facts["data_sha256"] == hashlib.sha256(
        state.read_bytes()).hexdigest()
    assert facts["config_sha256"] == truth["config_sha256"]


def test_a_saved_stream_takes_another_state_and_loads(tmp_path):
    with Device(tmp_path, "a", "--seed", 1) as a, \
            Device(tmp_path, "b", "--seed", 2) as b, \
            Device(tmp_path, "c", "--seed", 2) as c:
        for device in a, b:
            vfmig("save", "-q", "-d", device.word,
                  tmp_path / f"{device.path.stem}.state").ok()
        splice(tmp_path / "a.state", tmp_path / "b.state", tmp_path / "out",
               "0000:00:01.0").ok()
        vfmig("load", "-q", "-d", c.word, tmp_path / "out").ok()
    assert vfmig("compare", tmp_path / "out", tmp_path / "b.state").code == 0


def test_a_state_that_is_damaged_is_refused(tmp_path):
    with Device(tmp_path, "a", "--size", "300K") as device:
        vfmig("save", "-q", "-d", device.word, tmp_path / "good").ok()
    data = bytearray((tmp_path / "good").read_bytes())
    data[200_000] ^= 1
    (tmp_path / "bad").write_bytes(data)
    run = splice(tmp_path / "good", tmp_path / "bad", tmp_path / "out",
                 "0000:00:01.0")
    assert "damaged" in run.exits(1).error()
    assert not (tmp_path / "out").exists()


def test_one_of_several_devices_is_replaced(tmp_path):
    names = ["0000:00:01.0", "0000:00:02.0", "0000:00:03.0"]
    with Device(tmp_path, "a", "--seed", 1) as a, \
            Device(tmp_path, "b", "--seed", 2) as b, \
            Device(tmp_path, "c", "--seed", 3) as c:
        words = [w for device, name in zip((a, b, c), names)
                 for w in ("-d", f"{device.word},id={name}")]
        vfmig("save", "-q", *words, tmp_path / "all").ok()
        vfmig("save", "-q", "-d", c.word, tmp_path / "c.state").ok()
    # The device by another name is the only one of its file.
    splice(tmp_path / "all", tmp_path / "c.state", tmp_path / "out",
           names[1]).ok()
    new, old = facts_of(tmp_path / "out"), facts_of(tmp_path / "all")
    for name in names[0], names[2]:
        assert new["vfio"][name + "/vfio"] == old["vfio"][name + "/vfio"]
    # Of several, the one of the name.
    splice(tmp_path / "out", tmp_path / "all", tmp_path / "back",
           names[1]).ok()
    assert facts_of(tmp_path / "back")["vfio"] == old["vfio"]


def test_a_state_that_is_in_pieces_is_refused(streams, tmp_path):
    run = splice(streams[WHOLE[0]], streams[MULTIFD], tmp_path / "out")
    assert "multifd" in run.exits(1).error()
    run = splice(streams[MULTIFD], streams[MULTIFD], tmp_path / "out")
    assert "multifd" in run.exits(1).error()
    assert not (tmp_path / "out").exists()


def test_a_device_that_is_not_there_is_named(streams, tmp_path):
    name = WHOLE[0]
    run = splice(streams[name], streams[name], tmp_path / "out",
                 "0000:0a:0b.0")
    assert "'0000:0a:0b.0/vfio'" in run.exits(1).error()
    assert not (tmp_path / "out").exists()


def test_a_cut_stream_is_refused_on_either_side(streams, tmp_path):
    name = WHOLE[0]
    cut = tmp_path / "cut"
    cut.write_bytes(streams[name].read_bytes()[:-1])
    device = device_of(name)[0]
    for into, state in (cut, streams[name]), (streams[name], cut):
        run = splice(into, state, tmp_path / "out", device)
        assert str(cut) in run.exits(1).error()
        assert "offset" in run.error()
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words, what", [
    (["IN", "-o", "OUT"], "-d NAME=STATE-FILE is missing"),
    (["IN", "-d", "a=b"], "-o OUT is missing"),
    (["-d", "a=b", "-o", "OUT"], "IN is missing"),
    (["IN", "-d", "ab", "-o", "OUT"], "is not NAME=STATE-FILE"),
    (["IN", "-d", "a=b", "-d", "a=c", "-o", "OUT"], "replaced twice"),
])
def test_words_that_do_not_make_a_splice(words, what):
    assert what in vfmig("splice", *words).exits(2).error()


def test_a_full_disk_leaves_no_stream(streams):
    name = WHOLE[0]
    with Run("splice", "-d", f"{device_of(name)[0]}={streams[name]}", "-o",
             "-", streams[name], stdout=open("/dev/full", "wb")) as run:
        run.finish().exits(1)
    assert "No space" in run.stderr
