# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""Programs that see emulated devices as the kernel's."""
from vfmig_programs import BUILD, DEADLINE, Program

VFMIG_RUN = str(BUILD / "bridge" / "vfmig-run")
CLIENT = str(BUILD / "tests" / "bridge" / "client")

# The first and the second device.
FIRST, SECOND = "5646:00:01.0", "5646:00:02.0"


def bridged(devices, *words, options=(), **named):
    """Starts a program with these devices, which are paths of sockets."""
    command = [VFMIG_RUN, *options]
    for path in devices:
        command += ["--device", path]
    return Program(*command, "--", *words, **named)


def over_bridge(devices, *words, seconds=DEADLINE, **named):
    """Runs a program to its end."""
    with bridged(devices, *words, **named) as run:
        return run.finish(seconds)


def succeeds(run):
    assert run.code == 0, (run.stdout, run.stderr)
    return run.stdout
