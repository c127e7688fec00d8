# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""The model of the handover (model/handover.pml) speaks of what the code has: its
stages, messages, outcomes and steps of unwinding; and each of its arcs is taken
by the real programs in a test that model/arcs.txt names."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Messages of the code that the model leaves out: they are for a QEMU.
FOR_A_QEMU = {"SHUT", "PONG"}
# They come when it is over, and change nothing: what was done when.
AFTERWARDS = {"SPANS", "SPENT"}
# What is on the wire and is no message: the hello, its answers, the stream.
NO_MESSAGES = {"HELLO", "ACCEPT", "REFUSE", "STREAM", "END"}


def read(path):
    return (ROOT / path).read_text()


MODEL = read("model/handover.pml")
MIGRATION_H = read("src/migration/migration.h")
MESSAGE_H = read("src/migration/message.h")
STAGE_C = read("src/migration/stage.c")
OUTCOME_H = read("include/vfmig/migration.h")


def without_comments(text):
    return re.sub(r"/\*.*?\*/", "", text, flags=re.S)


def in_model(kind, prefix=""):
    """The names of the model's mtypes of that kind."""
    lists = re.findall(r"mtype:%s\s*=\s*\{(.*?)\}" % kind,
                       without_comments(MODEL), re.S)
    names = [name.strip() for part in lists for name in part.split(",")]
    assert names and all(name.startswith(prefix) for name in names)
    return {name[len(prefix):] for name in names}


def in_enum(text, enum, prefix):
    """The names of the code's enum, in the model's spelling."""
    body = re.search(r"enum %s \{(.*?)\};" % enum, without_comments(text),
                     re.S).group(1)
    names = [re.sub("=.*", "", name).strip() for name in body.split(",")]
    return {name[len(prefix):] for name in names if name}


def stages_in_code():
    """Name -> whether the source and the target have a function for it."""
    rows = re.findall(r"\[VFM_STAGE_\w+\]\s*=\s*\{\s*\"([a-z-]+)\",\s*(\w+),"
                      r"\s*(\w+)\s*\}", STAGE_C)
    return {name.replace("-", "_"): (source != "NULL", target != "NULL")
            for name, source, target in rows}


def arcs():
    """Of the model as it is checked, macros and all."""
    text = subprocess.run(["cc", "-E", "-P", "-x", "c", "-"], input=MODEL,
                          text=True, capture_output=True, check=True).stdout
    return set(re.findall(r'printf\("(\w+)"\)', text))


def messages_of_code(text):
    return in_enum(text, "message_type", "MESSAGE_") - FOR_A_QEMU - AFTERWARDS


def says_in_code(text):
    """Message -> who says it, as the comments beside the numbers tell."""
    rows = re.findall(r"MESSAGE_(\w+) = [^,]*, +/\* (\w+):", text)
    both = {"source": {"source"}, "target": {"target"},
            "either": {"source", "target"}}
    return {name: both[who] for name, who in rows
            if name not in FOR_A_QEMU | AFTERWARDS}


def says_in_model():
    said = {}
    text = without_comments(MODEL)
    for way, who in ("up", "source"), ("down", "target"):
        for name in re.findall(r"(?:say_%s\(|%s!)([A-Z_]+)" % (way, way), text):
            said.setdefault(name, set()).add(who)
    return {name: who for name, who in said.items() if name not in NO_MESSAGES}


# Both know the same things.

def test_the_stages_are_those_of_the_table():
    code = stages_in_code()
    assert in_model("stage", "at_") == set(code)
    assert len(code) == len(re.findall(r"\[VFM_STAGE_", STAGE_C))


@pytest.mark.parametrize("side, index", [("s", 0), ("t", 1)])
def test_a_side_has_arcs_in_the_stages_that_it_has_functions_for(side, index):
    for stage, has in stages_in_code().items():
        named = [a for a in arcs() if a.startswith(f"{side}_{stage}_")]
        assert bool(named) == has[index], f"{side} {stage}: {named}"


def test_the_steps_of_unwinding_are_those_of_the_code():
    assert in_model("unwind", "unwind_") == {
        name.lower() for name in in_enum(MIGRATION_H, "unwind_step", "UNWIND_")}


def test_the_outcomes_are_those_of_the_code():
    assert in_model("outcome", "is_") == {
        name.lower() for name in in_enum(OUTCOME_H, "vfm_outcome",
                                         "VFM_OUTCOME_")}


def test_the_messages_are_those_of_the_code():
    assert in_model("message") - NO_MESSAGES == messages_of_code(MESSAGE_H)


def test_the_same_side_says_them():
    assert says_in_model() == says_in_code(MESSAGE_H)


def test_a_message_that_the_model_does_not_have_is_noticed():
    more = MESSAGE_H.replace("    MESSAGE_FAILED =",
                             "    MESSAGE_NEW = 0x80ff, /* target: new */\n"
                             "    MESSAGE_FAILED =")
    assert more != MESSAGE_H
    assert messages_of_code(more) - in_model("message") == {"NEW"}
    assert says_in_code(more)["NEW"] == {"target"}


# The checks of the model are complete.

def test_each_planted_bug_is_looked_for_and_each_property_finds_one():
    script = read("scripts/model")
    rows = re.findall(r"^(BUG_\w+) +(\w+)$", script, re.M)
    assert {bug for bug, _ in rows} == set(re.findall(r"BUG_[A-Z_0-9]+[A-Z0-9]",
                                                      MODEL))
    assert {found_by for _, found_by in rows} == \
        set(re.findall(r"^ltl (\w+) ", MODEL, re.M))


# The real programs take every arc.

def rows_of_arcs():
    """Arc -> the tests in which it is taken."""
    rows = {}
    for line in read("model/arcs.txt").splitlines():
        if line and not line.startswith("#"):
            arc, test = line.split(None, 1)
            rows.setdefault(arc, []).append(test)
    return rows


def test_every_arc_has_a_test_and_every_row_an_arc():
    assert set(rows_of_arcs()) == arcs()


def pytest_ids(files):
    """Of the tests in these files of tests/integration."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
         "--collect-only", *sorted(files)], text=True, capture_output=True,
        cwd=ROOT / "tests/integration",
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, check=False)
    found = set(re.findall(r"(test_\w+\.py::.*)", done.stdout))
    assert found, done.stdout + done.stderr
    return found


def test_the_tests_of_the_arcs_exist():
    wanted = {t for tests in rows_of_arcs().values() for t in tests}
    unit = {t for t in wanted if t.startswith("unit/")}
    real = wanted - unit
    assert len(unit) <= 3  # what no process can be held at
    for test in unit:
        path, name = test.split("::")
        assert f"cmocka_unit_test({name})" in read(f"tests/{path}"), test
    missing = real - pytest_ids({t.split("::")[0] for t in real})
    assert not missing, sorted(missing)
