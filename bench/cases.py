# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""What `make bench` measures: a table of cases.

A case gives samples, one in each round, so that all cases and both sides of a
ratio share whatever else the machine does.  A side that is compared with
another is run right before or after it.
"""
from dataclasses import dataclass
from typing import Callable, Optional

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
PRE_COPY = "stop-copy,pre-copy,data-size,precopy-info"
STOP_COPY = "stop-copy,data-size"
SEVERAL = "stop-copy,data-size,p2p"

# A device whose own time dominates: what it takes to stop and to start.
SLOW = ("--delay", "RUNNING_P2P>STOP:100,count=0",
        "--delay", "STOP>RUNNING_P2P:100,count=0")


def text(size):
    for unit, name in (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"):
        if size >= unit:
            return f"{size // unit} {name}"
    return f"{size} B"


@dataclass
class Case:
    """`run(bench)` gives figures by name; those of `shows` are samples."""
    name: str
    run: Callable
    unit: str = ""
    target: Optional[str] = None  # the row of the table of targets
    least: Optional[float] = None
    most: Optional[float] = None
    once: bool = False   # repeatable
    every: int = 1       # too slow for every round: in one of so many
    size: int = 0
    devices: int = 1
    group: str = ""


def over_floor(link, size, features=STOP_COPY, channels=0):
    def run(bench):
        floor = bench.floor(link, size)
        ours = bench.move(size, link=link, features=features,
                          channels=channels)
        return {"value": ours["rate"] / floor["rate"], **ours}
    return run


def over_file(size):
    def run(bench):
        plain = bench.plain_file(size)
        return {"value": bench.save(size)["rate"] / plain["rate"]}
    return run


def move(pick, size, **options):
    """One figure of a move, or a function of them."""
    def run(bench):
        facts = bench.move(size, **options)
        value = pick(facts) if callable(pick) else facts[pick]
        return {**facts, "value": value}
    return run


def arcs_ms(facts):
    """The downtime over what the devices' own transitions took."""
    return (facts["downtime_ns"] - facts["arcs_ns"]) / 1e6


def prediction(size, n, features, link, faults=()):
    def run(bench):
        facts = bench.move(size, n, link, features, faults, predict=True)
        return {**facts, "value":
                100 * (facts["predicted_ns"] / facts["downtime_ns"] - 1)}
    return run


def against_qemu(size):
    def run(bench):
        theirs = bench.qemu(size)
        ours = bench.move(size)
        return {"value": ours["downtime_ns"] / theirs["downtime_ns"],
                "downtime_ns": ours["downtime_ns"],
                "qemu_ns": theirs["downtime_ns"]}
    return run


def several(n):
    def run(bench):
        one = bench.move(4 * KIB, 1, features=SEVERAL, faults=SLOW)
        many = bench.move(4 * KIB, n, features=SEVERAL, faults=SLOW)
        return {"value": many["downtime_ns"] / one["downtime_ns"]}
    return run


def over_one_message(size, chunk, way):
    def run(bench):
        plain = bench.relay(size, "plain", str(chunk))
        return {"value": bench.relay(size, way)["rate"] / plain["rate"]}
    return run


def relays(size):
    """32 KiB is what a client of the usual kind can use with every server, for
    it is the largest write that libvfio-user takes whole."""
    for way, name, least in (("messages", "messages", 3),
                             ("area", "the passed descriptor", 6)):
        for chunk, target in (32 * KIB, f"relay, {name}"), (MIB, None):
            yield Case(
                f"relay of {text(size)} by {name}, against one request of "
                f"{text(chunk)}", over_one_message(size, chunk, way),
                target=target, least=least if target else None, size=size,
                group=f"relay {text(chunk)}")


def slower_ones(case):
    """A round takes about a minute."""
    if case.size >= 8 * GIB:
        return 10 if case.group == "prediction" else 5
    if case.size >= GIB and case.group in ("prediction", "file", "channels"):
        return 2
    return 4 if case.group == "qemu" and case.target is None else 1


def table(quick, channels, relay):
    """The cases; `channels`: send has several; `relay`: bench/relay is there."""
    sizes = [4 * KIB, MIB, 100 * MIB]
    sizes += [] if quick else [GIB, 8 * GIB]
    counts = [1, 4] if quick else [1, 4, 16, 64]
    big = 100 * MIB if quick else GIB
    cases = []
    for link in "unix", "tcp":
        for size in sizes[2:]:
            cases.append(Case(
                f"{text(size)} over {link}, against the floor",
                over_floor(link, size), target="device state against the floor",
                least=0.90, size=size, group=f"floor {link}"))
        cases.append(Case(
            f"{text(big)} over {link} with PRE_COPY, against the floor",
            over_floor(link, big, PRE_COPY), size=big))
    for n in [1, 2, 4, 8] if channels else []:
        cases.append(Case(
            f"{text(big)} over tcp, {n} channels, against the floor",
            over_floor("tcp", big, channels=n), size=big, devices=n,
            group="channels"))
    cases.append(Case(f"{text(big)} to a file, against dd with fsync",
                      over_file(big), size=big, group="file"))
    if relay:
        cases += relays((64 if quick else 256) * MIB)
    for size in [big] if quick else [MIB, 100 * MIB, big]:
        cases.append(Case(
            f"downtime of {text(size)} against QEMU's", against_qemu(size),
            target="downtime against QEMU, same device" if size == big
            else None, most=0.5 if size == big else None, size=size,
            group="qemu"))
    for n in counts[1:]:
        cases.append(Case(
            f"downtime of {n} slow devices against 1", several(n),
            target="downtime of 4 devices against 1" if n == 4 else None,
            most=1.1 if n == 4 else None, devices=n, group="several"))
    cases.append(Case(
        "4 KiB: downtime over the devices' own time", move(
            arcs_ms, 4 * KIB), unit="ms",
        target="fixed downtime over the device's arcs", most=2))
    for features, name in (STOP_COPY, ""), (PRE_COPY, ", PRE_COPY"):
        for size in sizes:
            cases.append(Case(
                f"{text(size)}: predicted over actual{name}",
                prediction(size, 1, features, "unix"), size=size,
                unit="%", group="prediction"))
    for n in counts[:2]:
        cases.append(Case(
            f"slow devices, {n}: predicted over actual",
            prediction(4 * KIB, n, SEVERAL, "unix", SLOW), devices=n,
            unit="%", group="prediction"))
    for n in counts[1:]:
        cases.append(Case(
            f"{n} devices of 1 MiB: predicted over actual",
            prediction(MIB, n, SEVERAL, "tcp"), devices=n, size=MIB,
            unit="%", group="prediction"))
    for n in [1, 2, 4, 8] if channels else []:
        cases.append(Case(
            f"peak memory, {n} channels, {text(sizes[-1])}",
            move("peak_mib", sizes[-1], channels=n),
            unit="MiB", most=64, target="peak memory, 8 channels"
            if n == 8 else None, size=sizes[-1], once=True))
    cases.append(Case(
        f"peak memory, one channel, {text(sizes[-1])}",
        move("peak_mib", sizes[-1]), unit="MiB", most=64, size=sizes[-1],
        once=True,
        target=None if channels else "peak memory (one channel)"))
    cases.append(Case(
        f"{text(big)}: downtime attributed", move("named", big),
        target="downtime attributed to named causes", least=0.95))
    cases.append(Case(
        f"{text(big)}: of that to vfmig itself", move("self", big)))
    cases.append(Case(
        f"{text(big)}: processor time of both sides",
        move("cpu_ns_per_byte", big), unit="ns/byte"))
    cases.append(Case(
        f"{text(100 * MIB)}: cycles of both sides",
        lambda bench: {"value": bench.cycles(100 * MIB)["cycles"]},
        unit="per byte", once=True))
    cases.append(Case(
        f"{text(100 * MIB)}: system calls of both sides",
        lambda bench: {"value": bench.syscalls(100 * MIB)["calls"]},
        unit="per MiB", once=True))
    for what, unit in (("encode", "record"), ("decode", "record"),
                       ("merge", "word"), ("merge-shifted", "word"),
                       ("next", "word"), ("count", "word"), ("zero", "page")):
        cases.append(Case(
            f"instructions: {what}",
            lambda bench, what=what: {"value": bench.instructions(what)},
            unit=f"per {unit}", once=True, group="instructions"))
    for case in cases:
        case.every = slower_ones(case)
    return cases
