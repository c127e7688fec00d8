# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is written for users is what the programs do."""
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ["VFMIG_BUILD"])
DEADLINE_S = 60

TOOL = BUILD / "tool/vfmig"
EMULATOR = BUILD / "emulator/vfmig-device"
BRIDGE = BUILD / "bridge/vfmig-run"


def help_of(*command):
    return subprocess.run([*command, "--help"], text=True, check=True,
                          timeout=DEADLINE_S, stdout=subprocess.PIPE).stdout


def options_in(text):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text))


def commands():
    listed = help_of(TOOL).split("commands:\n")[1].split("\n\n")[0]
    return [line.split()[0] for line in listed.splitlines()]


def page(name):
    return (ROOT / "man" / f"{name}.scd").read_text()


def test_the_page_of_the_tool_has_every_command():
    for command in commands():
        assert f"*{command}*" in page("vfmig.1")


def test_the_page_of_the_tool_has_every_option():
    known = set().union(*(options_in(help_of(TOOL, command))
                          for command in commands()))
    known |= options_in(help_of(TOOL))
    own = [f"vfmig-{command}.1" for command in commands()
           if (ROOT / "man" / f"vfmig-{command}.1.scd").exists()]
    assert known <= options_in("".join(map(page, ["vfmig.1", *own])))


def test_the_tool_has_every_option_of_its_page():
    known = set().union(*(options_in(help_of(TOOL, command))
                          for command in commands()))
    known |= {"--version"}
    assert options_in(page("vfmig.1")) <= known


def test_the_page_of_the_emulator_has_every_option():
    assert (options_in(help_of(EMULATOR)) <=
            options_in(page("vfmig-device.1")))


def test_the_page_of_the_bridge_has_every_option():
    assert options_in(help_of(BRIDGE)) <= options_in(page("vfmig-run.1"))


def test_programs_say_which_version_they_are():
    for program in TOOL, EMULATOR, BRIDGE:
        said = subprocess.run([program, "--version"], text=True, check=True,
                              timeout=DEADLINE_S, stdout=subprocess.PIPE)
        assert said.stdout == f"{program.name} 0.1.0\n"


def first_minutes():
    section = re.search(r"## First five minutes\n(.*?)\n## ",
                        (ROOT / "README.md").read_text(), re.S).group(1)
    blocks = re.findall(r"```sh\n(.*?)```", section, re.S)
    return "set -eu\n" + "".join(blocks).replace("$PWD/build", str(BUILD))


def test_the_first_five_minutes_of_the_readme_work(tmp_path):
    log = tmp_path / "output"
    # What it leaves running when it fails ends with its session.
    with log.open("w") as output:
        script = subprocess.Popen(["bash", "-c", first_minutes()],
                                  stdout=output, stderr=subprocess.STDOUT,
                                  env={**os.environ, "TMPDIR": str(tmp_path)},
                                  start_new_session=True)
    try:
        status = script.wait(DEADLINE_S)
    finally:
        try:
            os.killpg(script.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    assert status == 0, log.read_text()
    states = re.findall(r"\b(?:RUNNING|STOP)$", log.read_text(), re.M)
    assert states[-2:] == ["STOP", "RUNNING"], log.read_text()
