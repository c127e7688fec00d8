# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""vfmig-device's planted bugs, and scripts/mutants, which counts how many of them
`vfmig check` finds.  All of them are `make mutants`; some are tried here."""
import fnmatch
import re
import subprocess
from pathlib import Path

import pytest

from vfmig_programs import BUILD, VFMIG, VFMIG_DEVICE

SOURCE = Path(__file__).resolve().parents[2]
SCRIPT = SOURCE / "scripts/mutants"

# One of each kind that needs no more than the states and the session.
SOME = ["stop-copy-to-pre-copy", "probe-acts", "last-byte-lost",
        "session-survives-stop", "data-size-refused-in-stop"]


def run(*words):
    return subprocess.run([str(w) for w in words], text=True, timeout=240,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)


def listed():
    done = run(VFMIG_DEVICE, "--list-mutants")
    assert done.returncode == 0 and done.stderr == ""
    return dict(line.split(None, 1) for line in done.stdout.splitlines())


def expected():
    rows = {}
    for line in (SOURCE / "tests/mutants/expected.txt").read_text() \
            .splitlines():
        if line and not line.startswith("#"):
            name, checks = line.split(":", 1)
            rows[name] = checks.split()
    return rows


def list_and_code(emulator):
    """The mutants that are in the list but have no row in the table; those that
    no code asks for; rows that are there twice."""
    in_list = re.findall(r"^    (MUTANT_\w+),$",
                         (emulator / "mutant.h").read_text(), re.MULTILINE)
    rows = re.findall(r"^    \[(MUTANT_\w+)\] =",
                      (emulator / "mutant.c").read_text(), re.MULTILINE)
    code = "".join(p.read_text() for p in sorted(emulator.glob("*.c"))
                   if p.name != "mutant.c")
    asked = set(re.findall(r"\bMUTANT_\w+", code))
    mutants = [m for m in in_list if m != "MUTANT_NONE"]
    return (sorted(set(mutants) - set(rows)), sorted(set(mutants) - asked),
            sorted({m for m in rows if rows.count(m) > 1}), len(mutants))


def test_every_mutant_has_a_row_and_code():
    no_row, no_code, twice, count = list_and_code(SOURCE / "emulator")
    assert (no_row, no_code, twice) == ([], [], [])
    assert count == len(listed())


def test_a_mutant_without_row_or_code_is_found(tmp_path):
    (tmp_path / "mutant.h").write_text(
        "    MUTANT_NONE,\n    MUTANT_A,\n    MUTANT_B,\n    MUTANT_C,\n")
    (tmp_path / "mutant.c").write_text(
        "    [MUTANT_A] = {\n    [MUTANT_B] = {\n    [MUTANT_A] = {\n")
    (tmp_path / "dma.c").write_text("mutant_is(d, MUTANT_A) MUTANT_C;")
    assert list_and_code(tmp_path) == (["MUTANT_C"], ["MUTANT_B"],
                                       ["MUTANT_A"], 3)


def test_there_are_at_least_sixty_each_with_a_sentence():
    mutants = listed()
    assert len(mutants) >= 60
    assert all(" " in sentence for sentence in mutants.values())


@pytest.mark.parametrize("name, near", [
    ("last-bite-lost", "last-byte-lost"),
    ("load-forgets", "load-forgets-scratch"),
    ("xyz", "--list-mutants"),
    ("", "--list-mutants"),
])
def test_an_unknown_mutant_is_a_usage_error_that_helps(name, near):
    done = run(VFMIG_DEVICE, "--mutant", name, "--socket", "/nonexistent/s")
    assert done.returncode == 2
    assert near in done.stderr and len(done.stderr.splitlines()) == 1


def test_every_mutant_has_checks_that_exist():
    rows = expected()
    assert rows.keys() == listed().keys()
    checks = [line.split()[-1]
              for line in run(VFMIG, "check", "--list").stdout.splitlines()]
    for name, globs in rows.items():
        assert any(fnmatch.filter(checks, g) for g in globs), name


def test_the_script_names_the_right_check_for_some():
    done = run(SCRIPT, BUILD, *SOME, "--jobs", 2)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"mutants: {len(SOME)} of {len(SOME)} caught, by the right check" \
        in done.stdout


def test_the_script_fails_for_a_mutant_that_is_missed(tmp_path):
    """The same script beside a list that names a check which has nothing to do
    with the bug."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "tests/mutants").mkdir(parents=True)
    (tmp_path / "scripts/mutants").write_text(SCRIPT.read_text())
    rows = expected()
    rows["last-byte-lost"] = ["feature-unknown-get"]
    (tmp_path / "tests/mutants/expected.txt").write_text(
        "".join(f"{name}: {' '.join(checks)}\n"
                for name, checks in rows.items()))
    script = ["/usr/bin/python3", tmp_path / "scripts/mutants", BUILD,
              "last-byte-lost"]

    done = run(*script)
    assert done.returncode == 1
    assert "MISSED by feature-unknown-get" in done.stdout
    assert "0 of 1 caught" in done.stdout

    done = run(*script, "--full")
    assert done.returncode == 1
    assert "WRONG CHECK" in done.stdout


def test_the_script_refuses_names_that_are_none():
    done = run(SCRIPT, BUILD, "no-such-mutant")
    assert done.returncode == 1
    assert "no-such-mutant" in done.stderr
