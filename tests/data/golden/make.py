#!/usr/bin/python3
# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""Makes the streams of this folder anew: VFMIG_BUILD=build make.py

For a change that is meant: look at what is different, and say in the commit
why."""
import contextlib
import lzma
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent.parent
sys.path[:0] = [str(TESTS / "interop"), str(TESTS / "integration")]

import test_qemu_send as ours  # noqa: E402
from machine import STOP_COPY, Machine  # noqa: E402


def keep(name, data):
    packed = lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)
    (HERE / f"{name}.bin.xz").write_bytes(packed)
    print(f"{name}: {len(data)} bytes, {len(packed)} packed")


def from_vfmig(folder):
    return ours.without_state(ours.stopped_device(folder))


def from_qemu(folder):
    """A machine that has not begun to run, with firmware that is none."""
    (folder / "firmware").write_bytes(bytes(65536))
    with contextlib.ExitStack() as stack:
        source = Machine(folder, stack, "source",
                         (*ours.KNOWN, *STOP_COPY), "-S", "-bios",
                         str(folder / "firmware"))
        source.capabilities()
        source.qemu.run("migrate-set-parameters",
                        avail_switchover_bandwidth=1 << 30)
        source.qemu.run("migrate", uri=f"file:{folder}/stream")
        source.qemu.migration_status("completed")
    return (folder / "stream").read_bytes()


def main():
    with tempfile.TemporaryDirectory() as name:
        keep("send-qemu", from_vfmig(Path(name)))
        keep("from-qemu", from_qemu(Path(name)))


if __name__ == "__main__":
    main()
