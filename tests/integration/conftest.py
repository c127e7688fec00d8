# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""With sanitizers a test of many rows runs every sixth of them: what a sanitizer
looks for is in all of them, what sets them apart is asked by the build without, and
each takes several times as long.  VFMIG_FULL=1 runs all."""
import itertools
import os

MANY = 6
EVERY = 6


def is_sampled(config):
    return os.environ.get("VFMIG_SANITIZED", "none") not in ("", "none") and \
        not os.environ.get("VFMIG_FULL") and not config.option.collectonly


def sample(items):
    """Of a test with many rows some; of the others all."""
    for _, rows in itertools.groupby(items, lambda item: item.originalname):
        rows = list(rows)
        yield from rows[::EVERY] if len(rows) > MANY else rows


def pytest_collection_modifyitems(config, items):
    if is_sampled(config):
        taken = list(sample(items))
        config.hook.pytest_deselected(
            items=[item for item in items if item not in taken])
        items[:] = taken
