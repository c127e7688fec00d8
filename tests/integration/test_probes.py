# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""The library's probes: in its ELF notes, by the names of what a timeline shows,
and with what tools/vfmig.bt takes from them.

Whether a tracer can look at them is the kernel's business and not tried here."""
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from vfmig_programs import BUILD, Device, vfmig

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = BUILD / "src" / "libvfmig.so"
SCRIPT = (ROOT / "tools" / "vfmig.bt").read_text()
HEADER = (ROOT / "include" / "vfmig" / "figures.h").read_text()
# As it was built; without Meson nobody says.
HAS_PROBES = os.environ.get("VFMIG_PROBES")

needs_probes = pytest.mark.skipif(HAS_PROBES != "1",
                                  reason="built without sys/sdt.h")


def notes():
    """Probe -> how many arguments it has."""
    text = subprocess.run(["readelf", "-n", "-W", LIBRARY], text=True,
                          capture_output=True, check=True).stdout
    found = {}
    for provider, name, words in re.findall(
            r"Provider: (\w+)\s+Name: (\w+)\s+Location: .*\s+Arguments:(.*)",
            text):
        assert provider == "vfmig"
        # One that was inlined is there more than once, and the same.
        count = len(re.findall(r"-?\d+@", words))
        assert found.setdefault(name, count) == count
    return found


def kinds():
    """What a timeline is made of, by the header."""
    body = re.search(r"enum vfm_span_kind \{(.*?)\};", HEADER, re.S).group(1)
    return {name.lower() for name in re.findall(r"\bVFM_SPAN_(\w+)", body)}


def used():
    """Probe of the script -> the highest argument it takes, plus one."""
    return {name: 1 + max(int(n) for n in re.findall(r"\barg(\d)", body))
            for name, body in re.findall(r"usdt:\$1:vfmig:(\w+)\n\{(.*?)\n\}",
                                         SCRIPT, re.S)}


@needs_probes
def test_every_kind_of_span_has_a_probe_of_its_name():
    assert set(notes()) == kinds()


@needs_probes
def test_the_script_names_all_probes_and_takes_what_they_have():
    assert SCRIPT.count("usdt:") == len(used())
    assert used() == notes()


@pytest.mark.skipif(HAS_PROBES != "0", reason="built with sys/sdt.h")
def test_without_the_header_there_are_none():
    assert notes() == {}


def test_a_timeline_calls_things_by_the_same_names(tmp_path):
    with Device(tmp_path, "a", "--delay", "PRE_COPY_P2P>STOP_COPY:20") as device:
        vfmig("save", "-d", device.word, "--timeline", tmp_path / "t.json",
              tmp_path / "state").ok()
    events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    # Of channels, which save has none of: test_tool_timeline.py.
    assert {e["cat"] for e in events if "cat" in e} == kinds() - {"channel"}
