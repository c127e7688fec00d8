# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""A peer that means no good, or is broken, in QEMU's place: each thing that a
loader of such streams has been seen to fall for.  It is refused with a clear
error within a deadline, in little memory; nothing of it is loaded, and the peer
never hears that all is well.

What loaders have been seen to do, and the test that aims at it:

 1  a stream without sections is taken             no_sections
 2  a machine's name that is empty or a beginning  empty_machine, prefix_...
 3  a name of 4 GiB is waited for, or allocated    endless_name
 4  a section of another version, CONFIG twice,    ..._later_version_...,
    CONFIG in a PART, DATA before SETUP are taken  config_..., data_...
 5  no description: both sides run                 no_description
 6  SWITCHOVER_START twice aborts                  switchover_twice, ..._channels
 7  state on channels, no SWITCHOVER_START: never  no_switchover
    loaded, and said to be
 8  a packet of index 0x7fffffff: 64 GiB           far_index, no_index
 9  a packet that is missing: waits for ever       lost_packet, lost_config,
                                                   ..._never_comes_has_its_time
10  a load that fails after all was said to be     ..._said_before_the_end,
    well: the machine is lost                      ..._does_not_fit_is_told
11  the same where nobody can be told              ..._without_a_return_path
12  a display's subsection that nobody wants       display_of_a_device_without
13  an error on the main stream while channels     bad_main_beside_channels
    are being loaded aborts
14  a channel whose number is that of channels     number_of_a_channel
15  a connection that says nothing stops all       ..._keeps_nobody_waiting
16  data that looks like a subsection              looks_like_a_subsection
17  a record of another size                       config_of_another_size
18  the end of the stream is read as zeroes        test_qemu_replay cuts it at
                                                   many places
"""
import json
import os
import re
import socket
import struct
import threading
import time
from pathlib import Path

import pytest

from faults import error_line
from test_qemu_replay import (DEADLINE, MULTIFD, PONG, SHUT, Capture, Taker,
                              connect, messages, replay, u32)
from test_qemu_send import GOOD
from test_qemu_send import send as write_as_qemu
from test_tool_proxy import SWITCHOVER_START, packets, parts
from vfmig_programs import KIB, MIB, Device, receive, vfmig

PRECOPY = "qemu-10.0.2-precopy"
MTTY = "mtty-stopcopy"
SECTION = b"0000:00:01.0/vfio"

TAG = b"\xff\xff\xff\xff\xef\x10\x00"
EOS, CONFIG, SETUP, DATA, INIT = (TAG + bytes([n]) for n in (1, 2, 3, 4, 5))

# What a refusal may take: a receiver's buffers and a decoder's limits.
RSS_MAX = 96 * MIB
SECONDS = 20


@pytest.fixture(scope="module")
def captures():
    return {name: Capture(name) for name in (PRECOPY, MULTIFD, MTTY)}


def peak(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * KIB
    return 0


class Peak(threading.Thread):
    """How much memory a process has taken, as long as it lives."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.bytes, self.over = pid, 0, threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(0.02):
            try:
                self.bytes = max(self.bytes, peak(self.pid))
            except OSError:
                return


def send(s, data, hang_up):
    try:
        s.sendall(data)
        if hang_up:
            s.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def attack(folder, capture, streams, *words, hang_up=True):
    """Sends these; the run, the device, the answers, how long, and how much."""
    channels = ["--channels", len(streams) - 1] if len(streams) > 1 else []
    with Taker(folder) as device:
        with receive("-q", "-d", f"{device.word},id={capture.id}", "--peer",
                     "qemu", *channels, *words, f"unix:{folder}/move") as run:
            began = time.monotonic()
            memory = Peak(run.process.pid)
            sockets = [connect(run.uri) for _ in streams]
            threads = [threading.Thread(target=send, args=(s, d, hang_up))
                       for s, d in zip(sockets, streams)]
            for thread in threads:
                thread.start()
            answered = b""
            try:
                while piece := sockets[0].recv(65536):
                    answered += piece
            except OSError:
                pass
            for s in sockets:
                s.close()
            run.finish(DEADLINE)
            took = time.monotonic() - began
            memory.over.set()
            for thread in threads:
                thread.join(DEADLINE)
        state = vfmig("state", "-d", device.word).ok().stdout.strip()
    assert run.process.returncode == 1, run.stderr
    assert took < SECONDS, took

    if os.environ.get("VFMIG_SANITIZED", "none") in ("none", ""):
        assert memory.bytes < RSS_MAX, memory.bytes
    assert device.report["loads_accepted"] == 0
    assert state == "RUNNING"  # as it was, or reset
    answers = messages(answered)
    assert (SHUT, u32(0)) not in answers
    if (PONG, u32(1)) in answers:
        assert answers[-1] == (SHUT, u32(1))
    return error_line(run, 1)


def replace(data, old, new, count=1):
    assert old in data
    return data.replace(old, new, count)


# What is done to the main stream, and what is said of it. --------------------


def no_sections(main):
    return main[:24] + b"\0" + b"\6" + u32(2) + b"{}", "holds no state|list of devices"


def empty_machine(main):
    return replace(main, b"\x07\0\0\0\x0bpc-q35-10.0", b"\x07\0\0\0\0"), \
        'machine is ""'


def prefix_of_the_machine(main):
    return replace(main, b"\x07\0\0\0\x0bpc-q35-10.0", b"\x07\0\0\0\3pc-"), \
        'machine is "pc-"'


def endless_name(main):
    return main[:9] + b"\xff\xff\xff\xff" + main[13:], "too long"


def config_twice(main):
    at = main.index(CONFIG)
    end = main.index(EOS, at) + 8
    begin = main.rindex(b"\x04", 0, main.rindex(SECTION, 0, at))
    section = main[begin:end + 5]
    return main[:end + 5] + section + main[end + 5:], "it came before|length"


def config_in_a_part(main):
    at = main.index(DATA)
    return main[:at] + CONFIG + main[at + 8:], "CONFIG does not belong here"


def data_before_setup(main):
    at = main.index(SETUP)
    return main[:at] + DATA + u32(0) + u32(4) + b"data" + main[at:], \
        "DATA does not belong here"


def display_of_a_device_without(main):
    """A subsection at the end of the record: our devices have no display."""
    at = main.index(EOS, main.index(CONFIG))
    name = b"VFIOPCIDevice/VFIODisplay"
    more = b"\5" + bytes([len(name)]) + name + u32(1) + bytes(28)
    return main[:at] + more + main[at:], ""


def looks_like_a_subsection(main):
    """The same, but nobody's: a record is not guessed at."""
    at = main.index(EOS, main.index(CONFIG))
    more = b"\5\x12VFIOPCIDevice/none" + u32(1)
    return main[:at] + more + main[at:], ""


def no_description(main):
    at = main.rindex(b"\0\6")
    return main[:at + 1], "vmdescription"


def switchover_twice(main):
    return replace(main, SWITCHOVER_START, 2 * SWITCHOVER_START), \
        "SWITCHOVER_START came twice"


def endless_record(main):
    at = main.index(DATA) + 8
    return main[:at] + b"\xff" * 8 + main[at + 8:], "above the limit"


def endless_description(main):
    at = main.rindex(b"\0\6") + 2
    return main[:at] + b"\xff\xff\xff\xff" + main[at + 4:], ""


def config_of_another_size(main):
    at = main.index(CONFIG) + 8
    return main[:at + 100] + main[at + 101:], ""


def unknown_tag(main):
    at = main.index(DATA)
    return main[:at] + TAG + b"\x77" + main[at + 8:], "tag .* is not known"


def postcopy(main):
    at = main.index(SWITCHOVER_START)
    return main[:at] + b"\x08\0\x07\0\4\xff\xff\xff\xff" + main[at:], \
        "PACKAGED"


def no_end(main):
    """The END section of the device is missing."""
    at = main.index(b"\x03", main.index(SWITCHOVER_START))
    name = main.index(SECTION)
    ident = main[name - 5:name - 1]
    at = main.index(b"\x03" + ident, at)
    end = main.index(EOS + b"\x7e" + ident, at) + 13
    return main[:at] + main[end:], "END is missing"


def much_opaque(main):
    """Sections without a length, and no end to them."""
    at = main.index(b"\x04\0\0\0\0\x05timer")
    return main[:at + 19] + bytes(80 * MIB), "no vmdescription that tells it"


MAIN = [no_sections, empty_machine, prefix_of_the_machine, endless_name,
        config_twice, config_in_a_part, data_before_setup, no_description,
        display_of_a_device_without, looks_like_a_subsection,
        switchover_twice, endless_record, endless_description,
        config_of_another_size, unknown_tag, postcopy, no_end, much_opaque]


@pytest.mark.parametrize("rest", [False, True], ids=["plain", "rest"])
@pytest.mark.parametrize("change", MAIN)
def test_a_bad_main_stream_is_refused(change, rest, captures, tmp_path):
    capture = captures[PRECOPY]
    main, what = change(parts(PRECOPY)[0])
    words = ["--rest", tmp_path / "rest"] if rest else []
    if "machine" in change.__name__:
        words += ["--machine", "pc-q35-10.0"]
    said = attack(tmp_path, capture, [main], *words)
    assert re.search(what, said), said
    assert not list(tmp_path.glob("rest*"))


# What is done to the channels. -----------------------------------------------


def edit(streams, channel, number, offset, value):
    """Puts a 32-bit value into a packet of a channel."""
    at = packets(streams[channel])[number][0] + offset
    data = streams[channel]
    streams[channel] = data[:at] + u32(value) + data[at + 4:]
    return streams


def far_index(streams):
    return edit(streams, 1, 0, 280, 0x7fffffff), "missing|after"


def no_index(streams):
    return edit(streams, 1, 0, 280, 0xffffffff), r"offset \d+"


def endless_packet(streams):
    return edit(streams, 1, 0, 272, 0xffffffff), r"offset \d+"


def empty_packet(streams):
    return edit(streams, 1, 0, 272, 0), r"offset \d+"


def other_version(streams):
    return edit(streams, 1, 0, 276, 7), r"offset \d+"


def lost_packet(streams):
    at, size, index = packets(streams[1])[0]
    streams[1] = streams[1][:at] + streams[1][at + size:]
    return streams, f"packet {index} .*missing"


def lost_config(streams):
    for i in 1, 2:
        at, size, index = packets(streams[i])[-1]
        flags = struct.unpack_from(">I", streams[i], at + 284)[0]
        if flags & 1:
            streams[i] = streams[i][:at] + streams[i][at + size:]
            return streams, f"packet {index} .*missing"
    raise LookupError


def packet_twice(streams):
    at, size, _ = packets(streams[1])[0]
    streams[1] = streams[1][:at + size] + streams[1][at:]
    return streams, "a second time"


def packet_after_the_config(streams):
    for i in 1, 2:
        at, size, index = packets(streams[i])[-1]
        if struct.unpack_from(">I", streams[i], at + 284)[0] & 1:
            more = bytearray(streams[i][at:at + size])
            more[280:284] = u32(index + 1)
            streams[i] += bytes(more)
            return streams, r"offset \d+"
    raise LookupError


def no_switchover(streams):
    streams[0] = replace(streams[0], SWITCHOVER_START, b"")
    return streams, "no SWITCHOVER_START"


def switchover_twice_on_channels(streams):
    streams[0] = replace(streams[0], SWITCHOVER_START, 2 * SWITCHOVER_START)
    return streams, "SWITCHOVER_START came twice"


def number_of_a_channel(streams):
    data = streams[1]
    streams[1] = data[:24] + bytes([2]) + data[25:]  # there are 0 and 1
    return streams, r"offset \d+"


def same_number(streams):
    number = streams[2][24:25]
    streams[1] = streams[1][:24] + number + streams[1][25:]
    return streams, "a second channel"


def unterminated_name(streams):
    at = packets(streams[1])[0][0]
    streams[1] = streams[1][:at + 12] + b"x" * 256 + streams[1][at + 268:]
    return streams, r"offset \d+"


def bad_main_beside_channels(streams):
    """At its SWITCHOVER_START, when the channels are full of state."""
    at = streams[0].index(SWITCHOVER_START)
    streams[0] = streams[0][:at] + b"\x08\0\x63\0\0" + streams[0][at:]
    return streams, r"offset \d+"


CHANNELS = [bad_main_beside_channels, far_index, no_index, endless_packet, empty_packet, other_version,
            lost_packet, lost_config, packet_twice, no_switchover,
            switchover_twice_on_channels, number_of_a_channel, same_number,
            unterminated_name]


@pytest.mark.parametrize("change", CHANNELS)
def test_bad_channels_are_refused(change, captures, tmp_path):
    streams, what = change(parts(MULTIFD))
    said = attack(tmp_path, captures[MULTIFD], streams, "--rest",
                  tmp_path / "rest")
    assert re.search(what, said), said
    assert not list(tmp_path.glob("rest*"))


@pytest.mark.parametrize("change", [lost_packet, lost_config])
def test_a_packet_that_never_comes_has_its_time(change, captures, tmp_path):
    """Even if the channels stay open, as QEMU's do."""
    streams, _ = change(parts(MULTIFD))
    said = attack(tmp_path, captures[MULTIFD], streams, "--peer-timeout",
                  "500ms", hang_up=False)
    assert "missing" in said or "nothing came for" in said, said


def test_a_load_that_fails_without_a_return_path_is_our_failure(captures,
                                                                tmp_path):
    """The source cannot be told: it is our exit status that says it, and no
    half of the state is left to run."""
    capture, (main,) = captures[MTTY], parts(MTTY)
    assert not capture.has_return_path
    main, _ = config_of_another_size(main)
    attack(tmp_path, capture, [main], "--rest", tmp_path / "rest")
    assert not list(tmp_path.glob("rest*"))


def version(main, number):
    at = main.index(SECTION) + len(SECTION) + 4
    return main[:at] + u32(number) + main[at + 4:]


def test_a_section_of_a_later_version_is_refused(captures, tmp_path):
    """0 is taken as QEMU takes it, with a warning."""
    main = version(parts(PRECOPY)[0], 2)
    assert "version" in attack(tmp_path, captures[PRECOPY], [main])


def test_a_connection_that_says_nothing_keeps_nobody_waiting(captures,
                                                             tmp_path):
    capture = captures[MULTIFD]
    with Taker(tmp_path) as device:
        with receive("-q", "-d", f"{device.word},id={capture.id}", "--peer",
                     "qemu", "--channels", 2, "--peer-timeout", "500ms",
                     f"unix:{tmp_path}/move") as run:
            began = time.monotonic()
            with connect(run.uri):
                run.finish(DEADLINE).exits(1)
    assert time.monotonic() - began < SECONDS
    assert "0 connections of 3" in run.error()
    assert "STOP>RESUMING" not in device.report["steps"]


RECORD = {
    "another vendor": (4, b"\xee\xee", "cannot take|is another|vendor"),
    "a level of an interrupt": (4 + 4096, u32(7), "INTA has the level 7"),
}


@pytest.mark.parametrize("what", RECORD)
def test_a_record_that_does_not_fit_is_told(what, tmp_path):
    """It is looked at when all else is loaded: what was is not left to run."""
    offset, value, words = RECORD[what]
    name = "0000:00:05.0"
    with Device(tmp_path, "giver", "--vectors", 5) as giver:
        run, stream = write_as_qemu(tmp_path, f"{giver.word},id={name}", GOOD,
                                    "--machine", "pc-q35-10.0")
        run.ok()
    at = stream.index(CONFIG) + 8 + offset
    stream = stream[:at] + value + stream[at + len(value):]
    report = tmp_path / "report.json"
    with Device(tmp_path, "device", "--vectors", 5, "--report",
                report) as device:
        with receive("-q", "-d", f"{device.word},id={name}", "--peer", "qemu",
                     "--rest", tmp_path / "rest",
                     f"unix:{tmp_path}/move") as run:
            answers = replay(run.uri, stream)
            run.finish(DEADLINE)
        assert device.state() == "RUNNING"
    assert re.search(words, error_line(run, 1)), run.stderr
    assert answers == [(PONG, u32(1)), (SHUT, u32(1))]
    assert json.loads(report.read_text())["resets"] >= 1
    assert not list(tmp_path.glob("rest*"))


def test_a_device_that_refuses_its_state_is_said_before_the_end(captures,
                                                                tmp_path):
    """The source goes on with the machine: it has not heard SHUT 0."""
    capture = captures[MULTIFD]
    report = tmp_path / "report.json"

    with Device(tmp_path, "device", "--vectors", 5, "--report",
                report) as device:  # takes only its own kind of state
        with receive("-q", "-d", f"{device.word},id={capture.id}", "--peer",
                     "qemu", "--channels", 2, "--rest", tmp_path / "rest",
                     f"unix:{tmp_path}/move") as run:
            streams = parts(MULTIFD)
            sockets = [connect(run.uri) for _ in streams]
            threads = [threading.Thread(target=send, args=(s, d, False))
                       for s, d in zip(sockets, streams)]
            for thread in threads:
                thread.start()
            answered = b""
            try:
                while piece := sockets[0].recv(65536):
                    answered += piece
            except OSError:
                pass
            for s in sockets:
                s.close()
            run.finish(DEADLINE)
            for thread in threads:
                thread.join(DEADLINE)
    run.exits(1)
    answers = messages(answered)
    assert answers[-1] == (SHUT, u32(1)), answers
    assert (SHUT, u32(0)) not in answers
    assert json.loads(report.read_text())["loads_accepted"] == 0
    assert not list(tmp_path.glob("rest*"))
