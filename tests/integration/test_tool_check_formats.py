# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""vfmig check: the formats of its report say the same."""
import json
import re
import xml.etree.ElementTree as ElementTree

import pytest

from vfmig_programs import Device, vfmig

WORDS = ("--only", "estimates", "--only", "features")


@pytest.fixture(name="device")
def _device(tmp_path):
    """One with failures, skipped checks and passed ones."""
    with Device(tmp_path, "d & <\"'>", "--data-size-report", "zero",
                "--fail", "MIG_GET_PRECOPY_INFO:EIO,count=0") as device:
        yield device


def report(device, *words):
    run = vfmig("check", "-d", device.word, *WORDS, *words, seconds=300)
    assert run.code in (0, 1, 5)
    return run.stdout


@pytest.fixture(name="told")
def _told(device):
    return vfmig("check", "-d", device.word, *WORDS, "--json",
                 seconds=300).json()


def nothing(tmp_path, *words):
    """Of a device that is not there."""
    path = tmp_path / "report"
    run = vfmig("check", "-d", f"vfio-user:{tmp_path}/none", "-o", path, *words)
    assert "cannot connect" in run.exits(1).error()
    return path.read_text()


def test_nothing_is_a_report_too(tmp_path):
    told = json.loads(nothing(tmp_path, "--json"))
    assert "cannot connect" in told["error"] and told["checks"] == []
    version, bail = nothing(tmp_path, "--format", "tap").splitlines()
    assert version == "TAP version 14" and bail.startswith("Bail out! ")
    suites = ElementTree.fromstring(nothing(tmp_path, "--format", "junit"))
    assert suites.get("errors") == "1"
    assert "cannot connect" in suites.find(".//error").get("message")
    assert nothing(tmp_path) == ""


def read_tap(text):
    """A reader of TAP 14: (ok, name, directive, diagnostics) by number."""
    lines = text.splitlines()
    assert lines[0] == "TAP version 14"
    assert re.fullmatch(r"1\.\.\d+", lines[1])
    tests = []
    in_block = False
    for line in lines[2:]:
        if in_block:
            in_block = line != "  ..."
            if in_block:
                # What YAML has of JSON: enough for text and numbers.
                match = re.fullmatch(r"  (\w+): (.*)", line)
                tests[-1][3][match[1]] = json.loads(match[2])
        elif line == "  ---":
            in_block = True
        else:
            match = re.fullmatch(
                r"(ok|not ok) (\d+) - (\S+)(?: # (SKIP|TODO) (.*))?", line)
            assert match, line
            assert int(match[2]) == len(tests) + 1
            tests.append((match[1] == "ok", match[3], match[4], {}))
    assert len(tests) == int(lines[1][3:])
    return tests


def test_tap_says_what_json_says(device, told):
    tests = read_tap(report(device, "--format", "tap"))
    assert [t[1] for t in tests] == [c["name"] for c in told["checks"]]
    for (is_ok, _, directive, diagnostics), c in zip(tests, told["checks"]):
        assert is_ok == (c["outcome"] != "failed")
        assert (directive == "SKIP") == (c["outcome"] == "skipped")
        assert diagnostics["outcome"] == c["outcome"]
        assert diagnostics["severity"] == c["severity"]
        if c["outcome"] == "failed":
            assert diagnostics["reason"] == c["reason"]
            assert diagnostics["rule"] == c["rule"]


def test_junit_says_what_json_says(device, told):
    root = ElementTree.fromstring(report(device, "--format", "junit"))
    assert root.attrib["name"] == device.word
    cases = list(root.iter("testcase"))
    assert [c.attrib["name"] for c in cases] == \
        [c["name"] for c in told["checks"]]
    for case, c in zip(cases, told["checks"]):
        failure = case.find("failure")
        assert (failure is not None) == (c["outcome"] == "failed")
        assert (case.find("skipped") is not None) == \
            (c["outcome"] == "skipped")
        if failure is not None:
            assert failure.attrib["message"] == c["reason"]
            assert c["rule"] in failure.text
    for suite in root.iter("testsuite"):
        assert int(suite.attrib["tests"]) == len(suite.findall("testcase"))
        assert int(suite.attrib["failures"]) == \
            len(list(suite.iter("failure")))
        assert int(suite.attrib["skipped"]) == len(list(suite.iter("skipped")))


# What readers of JUnit's XML know: attributes that must be there, those that may,
# and children in their order.
JUNIT = {
    "testsuites": ({"name", "tests", "failures", "errors", "time"}, set(),
                   ["testsuite"]),
    "testsuite": ({"name", "tests", "failures", "errors", "skipped", "time"},
                  set(), ["testcase"]),
    "testcase": ({"classname", "name", "time"}, set(),
                 ["skipped", "error", "failure", "system-out"]),
    "failure": ({"type", "message"}, set(), []),
    "skipped": (set(), {"message"}, []),
    "system-out": (set(), set(), []),
}


def expect_junit(element):
    must, may, children = JUNIT[element.tag]
    assert must <= set(element.attrib) <= must | may, element.tag
    order = [children.index(child.tag) for child in element]
    assert order == sorted(order)
    assert all(float(element.attrib[k]) >= 0 for k in
               must - {"name", "classname", "type", "message"})
    for child in element:
        expect_junit(child)


def test_junit_is_what_its_strict_readers_take(device):
    text = report(device, "--format", "junit")
    root = ElementTree.fromstring(text)
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n')
    assert root.tag == "testsuites"
    expect_junit(root)
    for count in ("tests", "failures", "errors"):
        assert int(root.attrib[count]) == \
            sum(int(suite.attrib[count]) for suite in root)
    names = [suite.attrib["name"] for suite in root]
    assert len(set(names)) == len(names)


def test_json_counts_its_own_checks(told):
    for outcome in ("passed", "failed", "quirk", "skipped"):
        assert told[outcome] == \
            sum(c["outcome"] == outcome for c in told["checks"])
    assert told["failed"] > 0 and told["passed"] > 0


def test_the_table_names_what_failed_and_where_to_look(device, told):
    table = report(device)
    for c in told["checks"]:
        assert (f"FAILED {c['name']} " in table) == (c["outcome"] == "failed")
        if c["outcome"] == "failed":
            assert c["reason"] in table
            assert c["look"] in table or \
                f"FAILED {c['name']} ({c['severity']}): the same as" in table
    assert (f"{len(told['checks'])} checks: {told['passed']} passed, "
            f"{told['failed']} failed") in table.splitlines()[-1]


def test_the_same_reason_is_told_once(tmp_path):
    with Device(tmp_path, "d", "--fail", "STOP>STOP_COPY:EIO,count=0") as d:
        table = vfmig("check", "-d", d.word, "--only",
                      "session-gives-a-state", "--only",
                      "session-same-state-twice").exits(1).stdout
    assert table.count("the device says EIO") == 1
    assert "the same as session-gives-a-state" in table


def test_a_report_goes_to_a_file(device, tmp_path):
    file = tmp_path / "report"
    assert report(device, "--format", "junit", "--output", file) == ""
    ElementTree.fromstring(file.read_text())


def test_a_report_that_cannot_be_written_is_a_failure(device, tmp_path):
    words = ("check", "-d", device.word, "--only", "feature-flags-known")
    run = vfmig(*words, "--output", tmp_path / "no" / "report").exits(1)
    assert "cannot open it" in run.error()
    run = vfmig(*words, "--output", "/dev/full").exits(1)
    assert "cannot write all of it" in run.error()


def test_figures_are_told(device):
    run = vfmig("check", "-d", device.word, "--json", "--only",
                "time-GET-of-the-state").ok()
    (c,) = run.json()["checks"]
    assert 0 < c["figures_ns"]["median"] <= c["figures_ns"]["worst"]
