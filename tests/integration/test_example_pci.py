# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""examples/pci.c: what the guest sees of a device moves with it."""
from vfmig_programs import BUILD, Device, Program

EXAMPLE = BUILD / "examples" / "example-pci"


def test_the_guest_finds_what_it_had_set_up(tmp_path):
    uri = f"unix:{tmp_path}/move"
    with Device(tmp_path, "a") as a, Device(tmp_path, "b") as b:
        with Program(EXAMPLE, "receive", b.path, uri) as there, \
                Program(EXAMPLE, "send", a.path, uri) as here:
            here.finish()
            there.finish()
        assert (here.code, here.stdout, here.stderr) == (0, "", "")
        assert (there.code, there.stderr) == (0, "")
        assert b.state() == "RUNNING"
    assert there.stdout == ("BAR 0 at 0xfebd0000, vector 0 to 0xfee01000, "
                            "command 0x06\n")


def test_the_example_says_why_it_failed(tmp_path):
    run = Program(EXAMPLE, "send", tmp_path / "none", "unix:/none").finish()
    assert run.code == 1
    assert run.stderr.startswith(f"example-pci: {tmp_path}/none: ")
