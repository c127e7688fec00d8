# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""What make bench says of its samples."""
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "bench" / "page.py"
BEGIN, END = "<!-- written by make bench -->", \
    "<!-- end of what make bench writes -->"


def case(name, samples, **more):
    return {"name": name, "unit": "", "target": None, "least": None,
            "most": None, "size": 0, "devices": 1, "group": "",
            "samples": samples, "spent": {}, "error": None, **more}


def page(folder, *cases, text=f"before\n{BEGIN}\nold\n{END}\nafter\n"):
    (folder / "performance.md").write_text(text)
    (folder / "results.json").write_text(json.dumps(
        {"rounds": 3, "quick": False, "processors": 2, "load": 0.1,
         "cases": cases}))
    return subprocess.run(
        [sys.executable, PAGE, folder / "results.json", folder, "--no-plot"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60,
        check=False)


def test_the_median_is_held_against_the_target(tmp_path):
    run = page(tmp_path,
               case("fast", [0.8, 0.95, 1.2], target="t", least=0.9),
               case("slow", [0.8, 0.85, 1.2], target="t", least=0.9,
                    spent={"link": 90, "self": 10}),
               case("big", [70, 60, 71], target="t", most=64, unit="MiB"),
               case("broken", [], target="t", most=1, error="it fell over"))
    assert run.returncode == 0, run.stderr
    text = (tmp_path / "performance.md").read_text()
    assert "| fast | at least 0.90 | 0.95 | reached |" in text
    assert "| slow | at least 0.90 | 0.85 | **missed** |" in text
    assert "| big | at most 64.0 MiB | 70.0 MiB | **missed** |" in text
    assert "| broken | at most 1.00 | not measured | it fell over |" in text
    assert "link 90 %, self 10 %" in text


def test_what_people_wrote_stays(tmp_path):
    page(tmp_path, case("one", [1, 2, 3]))
    text = (tmp_path / "performance.md").read_text()
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n") and "old" not in text
    again = page(tmp_path, case("one", [1, 2, 3]), text=text)
    assert again.returncode == 0
    assert (tmp_path / "performance.md").read_text() == text


def test_a_page_without_a_place_is_left_alone(tmp_path):
    run = page(tmp_path, case("one", [1]), text="nothing\n")
    assert run.returncode != 0 and "no place" in run.stderr
    assert (tmp_path / "performance.md").read_text() == "nothing\n"


def test_every_sample_is_in_the_file(tmp_path):
    page(tmp_path, case("one, two", [0.5, 2]), case("none", []))
    assert (tmp_path / "performance.csv").read_text() == \
        'case,unit,round,value\n"one, two",,0,0.5\n"one, two",,1,2\n'


def test_errors_of_predictions_are_summed_up(tmp_path):
    page(tmp_path, case("p", [-30, 4, 6], unit="%", group="prediction"),
         case("q", [-12], unit="%", group="prediction"))
    text = (tmp_path / "performance.md").read_text()
    assert "Over the 2 cases" in text and "error is 8 % (target" in text
    assert "at most 12 % under" in text
    assert "of all 4 in them the median error is" in text
    assert "and 1 were more than 20 % under" in text
    assert "by 30 % the worst" in text
