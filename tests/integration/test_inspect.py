# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""vfmig inspect and vfmig compare: real streams of QEMU, our own, and damaged
ones."""
import hashlib
import json
import lzma
import random
from pathlib import Path

import pytest

from vfmig_programs import Device, vfmig

STREAMS = Path(__file__).parent.parent / "data" / "streams"
CAPTURES = sorted(path.parent.name for path in STREAMS.glob("*/truth.json"))
MULTIFD = "qemu-10.0.2-multifd"
PRECOPY = "qemu-10.0.2-precopy"

# Where a small stream of QEMU is cut for whole runs of the program; the unit
# tests cut at every byte.
CUTS = 60


@pytest.fixture(scope="session")
def streams(tmp_path_factory):
    """Unpacks a capture: its main stream and its channels."""
    folder = tmp_path_factory.mktemp("streams")

    def unpack(name):
        files = []
        packed = [STREAMS / name / "main.bin.xz"]
        packed += sorted((STREAMS / name).glob("channel-*.bin.xz"))
        for source in packed:
            target = folder / f"{name}-{source.stem}"
            if not target.exists():
                target.write_bytes(lzma.decompress(source.read_bytes()))
            files.append(target)
        return files

    return unpack


def truth(name):
    return json.loads((STREAMS / name / "truth.json").read_text())


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A stream that vfmig wrote, of two devices."""
    folder = tmp_path_factory.mktemp("own")
    path = folder / "saved"
    with Device(folder, "one", "--size", "64K", "--seed", "1") as one, \
            Device(folder, "two", "--size", "32K", "--seed", "2") as two:
        vfmig("save", "-d", one.word + ",id=one", "-d", two.word + ",id=two",
              path).ok()
    return path


# inspect, on what is good

@pytest.mark.parametrize("name", CAPTURES)
def test_the_facts_agree_with_the_truth(streams, name):
    found = vfmig("inspect", "--json", *streams(name)).ok().json()
    assert found == truth(name)


def test_channels_may_come_in_any_order(streams):
    main, *channels = streams(MULTIFD)
    found = vfmig("inspect", "--json", main, *reversed(channels)).ok().json()
    assert found == truth(MULTIFD)


@pytest.mark.parametrize("name", [MULTIFD, PRECOPY])
def test_state_and_configuration_are_extracted(streams, tmp_path, name):
    vfmig("inspect", "--extract", tmp_path / "to", *streams(name)).ok()
    expected = truth(name)["vfio"]["0000:00:01.0/vfio"]
    state = (tmp_path / "to" / "0000:00:01.0.state").read_bytes()
    config = (tmp_path / "to" / "0000:00:01.0.config").read_bytes()
    assert hashlib.sha256(state).hexdigest() == expected["data_sha256"]
    assert hashlib.sha256(config).hexdigest() == expected["config_sha256"]
    assert len(list((tmp_path / "to").iterdir())) == 2


def test_a_stream_is_read_from_standard_input(streams):
    with open(streams(PRECOPY)[0], "rb") as f:
        found = vfmig("inspect", "--json", "-", stdin=f).ok().json()
    assert found == truth(PRECOPY)


def test_the_map_folds_parts_with_nothing_in_them(streams):
    run = vfmig("inspect", *streams("qemu-11.1.3-precopy")).ok()
    assert len(run.stdout.splitlines()) < 90
    assert "PARTs  913, nothing in them" in run.stdout
    assert "1 DATA record of 300000 bytes, INIT_DATA_SENT" in run.stdout
    assert "pci       1af4:10f0" in run.stdout


def test_our_own_stream_keeps_what_it_promises(own):
    found = vfmig("inspect", "--json", own).ok().json()
    assert list(found["vfio"]) == ["one/vfio", "two/vfio"]
    assert found["file_bytes"] == own.stat().st_size
    for name, device in found["vfio"].items():
        said = found["vfmig"]["devices"][name]
        assert said["bytes"] == device["bytes"]
        assert len(said["xxh3_128"]) == 32
        assert said["identity"]["backend"] == "vfio-user"
    assert "as the stream says" in vfmig("inspect", own).ok().stdout


# inspect, on what is not

def fails(*words):
    """Runs inspect, which must say one sentence and nothing else."""
    run = vfmig("inspect", "--json", *words).exits(1)
    assert run.stdout == ""
    assert len(run.stderr.splitlines()) == 1
    return run.error()


def cut_points(size):
    points = {0, 1, 7, 8, 9, size - 1}
    return sorted(points | set(random.Random(1).sample(range(size), CUTS)))


def test_our_own_stream_cut_anywhere_is_refused_with_the_offset(own, tmp_path):
    data = own.read_bytes()
    end = data.rindex(b"\x00\x06\x00\x00")
    for at in cut_points(len(data)) + list(range(end, end + 12)):
        (tmp_path / "cut").write_bytes(data[:at])
        path = tmp_path / "cut"
        assert fails(path).startswith(f"vfmig: {path}: offset {at}: ")


@pytest.mark.parametrize("name", CAPTURES)
def test_a_capture_cut_anywhere_is_refused_with_the_offset(streams, tmp_path,
                                                           name):
    data = streams(name)[0].read_bytes()
    path = tmp_path / "cut"
    for at in cut_points(len(data))[::3]:
        path.write_bytes(data[:at])
        assert fails(path).startswith(f"vfmig: {path}: offset {at}: ")


def test_a_channel_that_is_cut_is_refused_with_the_offset(streams, tmp_path):
    main, first, second = streams(MULTIFD)
    path = tmp_path / "cut"
    path.write_bytes(second.read_bytes()[:1000000])
    assert fails(main, first, path).startswith(
        f"vfmig: {path}: offset 1000000: the channel ends in ")


def test_a_channel_that_is_missing_is_refused(streams):
    main, first, second = streams(MULTIFD)
    assert "packet" in fails(main, first)
    assert "packet" in fails(main, second)


def test_a_channel_that_comes_twice_is_refused(streams):
    main, first, second = streams(MULTIFD)
    assert "offset 0: channel" in fails(main, first, second, first)


def test_state_on_channels_is_not_extracted_without_them(streams, tmp_path):
    line = fails("--extract", tmp_path / "to", streams(MULTIFD)[0])
    assert "on a multifd channel whose file is not here" in line
    assert list((tmp_path / "to").iterdir()) == []


def test_damage_is_found_by_the_digest(own, tmp_path):
    data = bytearray(own.read_bytes())
    data[30000] ^= 1
    (tmp_path / "bad").write_bytes(data)
    assert "its state is damaged" in fails(tmp_path / "bad")


def test_a_failure_leaves_no_files_behind(own, tmp_path):
    (tmp_path / "cut").write_bytes(own.read_bytes()[:-1])
    fails("--extract", tmp_path / "to", tmp_path / "cut")
    assert list((tmp_path / "to").iterdir()) == []


def test_what_follows_the_stream_is_refused(own, tmp_path):
    size = own.stat().st_size
    (tmp_path / "long").write_bytes(own.read_bytes() + b"x")
    assert f"offset {size}: something follows" in fails(tmp_path / "long")


@pytest.mark.parametrize("path", ["/nonexistent", "/", "/dev/null"])
def test_what_is_no_stream_is_refused(path):
    assert fails(path).startswith(f"vfmig: {path}: ")


def section(kind, number, name):
    return (bytes([kind]) + number.to_bytes(4, "big") + bytes([len(name)]) +
            name + bytes(4) + b"\0\0\0\1")


def tag(number):
    return b"\xff\xff\xff\xff\xef\x10\x00" + bytes([number])


def stream_of(name):
    """A stream of one device of any name, with a state of two bytes."""
    footer = b"\x7e\0\0\0\1"
    return (b"QEVM\0\0\0\3" + section(1, 1, name) + tag(3) + tag(1) + footer +
            b"\3\0\0\0\1" + tag(4) + (2).to_bytes(8, "big") + b"ab" + tag(1) +
            footer + section(4, 1, name) + tag(2) + b"config" + tag(1) +
            footer + b"\0\6\0\0\0\x0f{\"devices\": []}")


@pytest.mark.parametrize("name, file", [
    (b"../../evil/vfio", "%2E.%2F..%2Fevil"),
    (b"/etc/passwd/vfio", "%2Fetc%2Fpasswd"),
    (b"./vfio", "%2E"),
    (b"-rf $HOME;*/vfio", "-rf%20%24HOME%3B%2A"),
    (b"vfio", "vfio"),
    (b"%41/vfio", "%2541"),
])
def test_extracted_files_stay_in_their_folder(tmp_path, name, file):
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    (tmp_path / "stream").write_bytes(stream_of(name))
    vfmig("inspect", "--extract", folder, tmp_path / "stream").ok()
    assert sorted(p.name for p in folder.iterdir()) == \
        [file + ".config", file + ".state"]
    assert (folder / (file + ".state")).read_bytes() == b"ab"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "stream"]


# compare

def compare(*words, code):
    return vfmig("compare", "--json", *words).exits(code).json()


@pytest.mark.parametrize("name", CAPTURES)
def test_a_stream_equals_itself(streams, name):
    main = streams(name)[0]
    assert compare(main, main, code=0) == {"equal": True}


def test_a_stream_equals_the_state_that_was_extracted(streams, tmp_path):
    main = streams(PRECOPY)[0]
    vfmig("inspect", "--extract", tmp_path, main).ok()
    state = tmp_path / "0000:00:01.0.state"
    assert compare(main, state, code=0) == {"equal": True}
    data = bytearray(state.read_bytes())
    data[400000] ^= 1
    state.write_bytes(data)
    found = compare(main, state, code=1)
    assert found["byte"] == 400000
    assert found["a"]["section_type"] == "END"
    assert found["a"]["record"] == 3
    assert found["b"] == {"offset": 400000}


def test_the_first_byte_that_differs_is_named(own, tmp_path):
    data = bytearray(own.read_bytes())
    data[30000] ^= 1
    other = tmp_path / "other"
    other.write_bytes(data)
    found = compare(own, other, code=1)
    assert found["kind"] == "state"
    # Which of the two devices has it depends on whose turn it was.
    section = found["section"]
    assert section in ("one/vfio", "two/vfio")
    assert found["a"]["offset"] == found["b"]["offset"] == 30000
    text = vfmig("compare", own, other).exits(1).stdout
    assert f"the state of '{section}' differs at byte" in text
    assert "offset 30000" in text


def test_a_page_that_differs_is_named(streams, tmp_path):
    main = streams(PRECOPY)[0]
    data = bytearray(main.read_bytes())
    data[200000] ^= 1
    (tmp_path / "other").write_bytes(data)
    found = compare(main, tmp_path / "other", code=1)
    assert found["section"] == "ram"
    assert "of 'pc.ram'" in found["difference"]


def test_how_a_state_is_cut_into_records_makes_no_difference(tmp_path):
    whole = stream_of(b"a/vfio")
    two = tag(4) + (2).to_bytes(8, "big") + b"ab"
    one = tag(4) + (1).to_bytes(8, "big")
    (tmp_path / "a").write_bytes(whole)
    (tmp_path / "b").write_bytes(whole.replace(two, one + b"a" + one + b"b"))
    assert compare(tmp_path / "a", tmp_path / "b", code=0)["equal"]
    (tmp_path / "b").write_bytes(whole.replace(two, one + b"a"))
    found = compare(tmp_path / "a", tmp_path / "b", code=1)
    assert found["byte"] == 1 and found["b"] == {}


def test_a_device_that_only_one_has_is_named(tmp_path):
    (tmp_path / "a").write_bytes(stream_of(b"a/vfio"))
    (tmp_path / "b").write_bytes(stream_of(b"b/vfio"))
    found = compare(tmp_path / "a", tmp_path / "b", code=1)
    assert found["difference"] == \
        "the state of 'a/vfio' is only in the first"


def test_plain_files_are_compared(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 100000)
    (tmp_path / "b").write_bytes(b"abc" * 100000 + b"d")
    (tmp_path / "empty").write_bytes(b"")
    found = compare(tmp_path / "a", tmp_path / "b", code=1)
    assert found["byte"] == 300000 and found["a"] == {}
    assert compare(tmp_path / "a", tmp_path / "empty", code=1)["byte"] == 0
    assert compare(tmp_path / "empty", tmp_path / "empty", code=0)["equal"]


def test_what_cannot_be_compared_exits_with_2(own, tmp_path):
    (tmp_path / "plain").write_bytes(b"x")
    (tmp_path / "cut").write_bytes(own.read_bytes()[:-1])
    for words in [[own], [own, "/nonexistent"], [own, tmp_path],
                  [own, tmp_path / "plain"], [tmp_path / "cut", own]]:
        run = vfmig("compare", *words).exits(2)
        assert run.stdout == ""
        assert len(run.stderr.splitlines()) == 1
