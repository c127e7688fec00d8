# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""The matrix: what was tried against what, and what came of it.

A test is a row if it says so, and may add a word on how it went:

    @pytest.mark.row("QEMU to QEMU", "PRE_COPY")
    def test_a_device_moves(note):
        ...
        note("stopped for 12 ms")

A parametrized one says it in its parameters: pytest.param(..., marks=row(...)).
Where a file has a DIRECTION, each of its tests is a row, by its name.
"""
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "integration"))


def pytest_configure(config):
    config.addinivalue_line("markers",
                            "row(direction, features): a row of the matrix")
    config.rows = []


@pytest.fixture
def note(request):
    """A word for the matrix."""
    def add(text):
        request.node.user_properties.append(("note", text))
    return add


def row_of(item):
    """The direction and the features of @item, or None."""
    row = item.get_closest_marker("row")
    if row is not None:
        return row.args
    direction = getattr(item.module, "DIRECTION", None)
    name = item.name.removeprefix("test_").replace("_", " ")
    return direction and (direction, name)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    row = row_of(item)
    if row is None or (report.when != "call" and report.passed):
        return
    notes = [text for key, text in report.user_properties if key == "note"]
    item.config.rows.append((*row, report.outcome, ", ".join(notes)))


def pytest_terminal_summary(terminalreporter, config):
    if not config.rows:
        return
    rows = [("direction", "features", "result", ""), *config.rows]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    terminalreporter.section("interop")
    for row in rows:
        cells = [row[i].ljust(widths[i]) for i in range(3)]
        terminalreporter.write_line("  ".join([*cells, row[3]]).rstrip())
