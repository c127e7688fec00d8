# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a move costs in memory and descriptors: the same for any device, and
nothing that stays.

VFMIG_SANITIZED: the programs have a sanitizer, which takes time and memory of its
own.
"""
import os
import re
import signal
from pathlib import Path

import pytest

from faults import FEATURES, HERE_SEED, Look, Side, THERE_SEED
from relay import LOADED, Relay
from vfmig_programs import MIB, Run, receive

SANITIZED = os.environ.get("VFMIG_SANITIZED", "none") not in ("", "none")

# The device's, and what a tool may take for it.
LARGE = "1G" if SANITIZED else "16G"
TOOL_LIMIT = (320 if SANITIZED else 64) * MIB

# A long-lived device: moves, and what its memory may have grown by.
MOVES = 50
FAILURES = 12
GROWTH_LIMIT = (64 if SANITIZED else 2) * MIB

DEADLINE = 240


def memory(program, what):
    """VmRSS or VmHWM of a running program."""
    status = Path(f"/proc/{program.process.pid}/status").read_text()
    return int(re.search(rf"{what}:\s*(\d+) kB", status).group(1)) << 10


def descriptors(program):
    """What it has open, in a form that can be compared."""
    folder = Path(f"/proc/{program.process.pid}/fd")
    return sorted(re.sub(r"\[\d+\]", "", os.readlink(fd))
                  for fd in folder.iterdir())


@pytest.mark.parametrize("features", ["all", "stop-copy"])
def test_the_tools_need_the_same_for_a_large_device(features, tmp_path):
    words = ("--size", LARGE, "--features", FEATURES[features],
             "--dirty-size", "1M")
    # It takes its time to start, so that both tools can be looked at when
    # all has been through their hands.
    with Side(tmp_path, "here", *words, "--seed", HERE_SEED) as here, \
            Side(tmp_path, "there", *words, "--seed", THERE_SEED,
                 "--delay", "RUNNING:1000") as there:
        with receive("-v", "-q", "-d", there.word,
                     f"unix:{tmp_path}/move") as taking:
            with Run("send", "-v", "-q", "-d", here.word,
                     taking.uri) as giving:
                taking.err.wait_for("stage start", DEADLINE)
                giving.err.wait_for("stage start", DEADLINE)
                peaks = [memory(tool, "VmHWM") for tool in (giving, taking)]
                giving.finish(DEADLINE).ok()
                taking.finish(DEADLINE).ok()
        assert Look(there, THERE_SEED).moved_state
    assert max(peaks) < TOOL_LIMIT, [peak // MIB for peak in peaks]


def test_many_channels_need_the_same_for_a_large_device(tmp_path):
    words = ("--size", "1G", "--features", "stop-copy")
    with Side(tmp_path, "here", *words, "--seed", HERE_SEED) as here, \
            Side(tmp_path, "there", *words, "--seed", THERE_SEED,
                 "--delay", "RUNNING:1000") as there:
        with receive("-v", "-q", "-d", there.word, "--channels", 8,
                     f"unix:{tmp_path}/move") as taking:
            with Run("send", "-v", "-q", "-d", here.word, "--channels", 8,
                     taking.uri) as giving:
                taking.err.wait_for("stage start", DEADLINE)
                giving.err.wait_for("stage start", DEADLINE)
                peaks = [memory(tool, "VmHWM") for tool in (giving, taking)]
                giving.finish(DEADLINE).ok()
                taking.finish(DEADLINE).ok()
        assert Look(there, THERE_SEED).moved_state
    assert max(peaks) < TOOL_LIMIT, [peak // MIB for peak in peaks]


@pytest.fixture(name="pair")
def pair_(tmp_path):
    words = ("--size", "256K", "--dirty-size", "64K", "--dirty-rate", "1M",
             "--seed", HERE_SEED)
    with Side(tmp_path, "a", *words) as a, Side(tmp_path, "b", *words) as b:
        yield a, b


def move(folder, source, target):
    with receive("-q", "-d", target.word, f"unix:{folder}/move") as taking:
        with Run("send", "-q", "-d", source.word, taking.uri) as giving:
            giving.finish().ok()
            taking.finish().ok()


def fail(folder, source, target, hold):
    """The link is cut there."""
    with Relay(folder, hold) as relay, \
            receive("-q", "-d", target.word, f"unix:{folder}/move") as taking:
        with Run("send", "-q", "-d", source.word,
                 relay(taking.uri)) as giving:
            relay.wait_held()
            relay.cut()
            giving.finish().exits(1)
            taking.finish().exits(1)
    (folder / "relay").unlink()


def wait_for_descriptors(device, wanted):
    """Until it has noticed that its last client is gone: it looks at least as
    often as it is asked for a report."""
    for _ in range(100):
        device.report()
        if descriptors(device) == wanted:
            return
    assert descriptors(device) == wanted


def costs_nothing(devices, action, times):
    """Afterwards the devices have open what they had at first, and the memory
    that they had when it was done a few times."""
    fds = [descriptors(device) for device in devices]
    for _ in range(4):
        action()
    rss = [memory(device, "VmRSS") for device in devices]
    for _ in range(times):
        action()
    for device, had_open, had in zip(devices, fds, rss):
        wait_for_descriptors(device, had_open)
        assert memory(device, "VmRSS") - had < GROWTH_LIMIT


def test_a_device_that_moves_often_keeps_nothing_but_its_state(pair, tmp_path):
    at = [0]
    counters = []

    def move_on():
        source, target = pair[at[0]], pair[1 - at[0]]
        move(tmp_path, source, target)
        at[0] = 1 - at[0]
        told = target.report()
        assert told["state"] == "RUNNING" and told["resets"] == 0
        counters.append((told["counter"], told["memory_writes"]))

    costs_nothing(pair, move_on, MOVES)
    assert counters == sorted(counters)
    assert len({counter for counter, _ in counters}) == len(counters)


@pytest.mark.parametrize("hold", [("up", 20), ("stream", 100000), (LOADED, 3)])
def test_a_device_that_does_not_move_keeps_nothing_either(hold, pair,
                                                          tmp_path):
    source, target = pair
    before = source.report()["counter"]
    costs_nothing(pair, lambda: fail(tmp_path, source, target, hold), FAILURES)
    told = source.report()
    assert told["state"] == "RUNNING" and told["resets"] == 0
    assert told["counter"] > before


def cpu_ticks(program):
    stat = Path(f"/proc/{program.process.pid}/stat").read_text()
    return sum(int(n) for n in stat.rsplit(")", 1)[1].split()[11:13])


@pytest.mark.parametrize("victim", ["source", "target"])
def test_waiting_with_a_device_that_is_gone_costs_no_time(victim, pair,
                                                          tmp_path):
    """The sender needs its device no more; the receiver gives up."""
    source, target = pair
    device = source if victim == "source" else target
    with Relay(tmp_path, (LOADED, 0)) as relay, \
            receive("-q", "-d", target.word, f"unix:{tmp_path}/move") as taking:
        with Run("send", "-q", "-d", source.word,
                 relay(taking.uri)) as giving:
            relay.wait_held()
            device.signal(signal.SIGKILL)
            device.process.wait()
            device.killed = True
            before = cpu_ticks(giving)
            # The receiver still tells that it is there, once a second.
            relay.is_silent(0.7)
            assert cpu_ticks(giving) - before <= 10
            relay.release()
            giving.finish().exits(0 if victim == "source" else 1)
            taking.finish().exits(0 if victim == "source" else 3)
