# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""examples/migration.c: both sides of a migration in a loop of one's own."""
from vfmig_programs import BUILD, Device, Program

EXAMPLE = BUILD / "examples" / "example-migration"

# What both sides go through, in this order.
STAGES = ["hello", "setup", "pre-copy", "stop", "complete", "check", "loaded",
          "yours", "start", "cleanup", "done"]


def stages(run):
    said = [line.split(": ")[1] for line in run.stdout.splitlines()]
    return [stage for stage in said if stage in STAGES]


def test_the_example_moves_a_device(tmp_path):
    uri = f"unix:{tmp_path}/move"
    with Device(tmp_path, "a") as a, Device(tmp_path, "b") as b:
        with Program(EXAMPLE, "receive", b.path, uri) as there, \
                Program(EXAMPLE, "send", a.path, uri) as here:
            here.finish()
            there.finish()
        assert (here.code, here.stderr) == (0, "")
        assert (there.code, there.stderr) == (0, "")
        assert a.state() == "STOP"
        assert b.state() == "RUNNING"
    assert stages(here) == stages(there) == STAGES
    assert "send: the VM stops\n" in here.stdout
    assert "receive: the VM runs\n" in there.stdout
    assert there.stdout.endswith("receive: the device is in RUNNING here\n")


def test_the_example_says_why_it_failed(tmp_path):
    run = Program(EXAMPLE, "send", tmp_path / "none", "unix:/none").finish()
    assert run.code == 1
    assert run.stderr.startswith(f"example-migration: {tmp_path}/none: ")
