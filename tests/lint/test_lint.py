# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""The checks of scripts/ find what they are there to find.

Each builds a small tree with one mistake; the tree without it passes.
"""
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
DEADLINE_S = 60

LICENSE = ("/* Copyright (c) 2026 The vfmig authors\n"
           " * SPDX-License-Identifier: BSD-3-Clause */\n")
PUBLIC = "const char *vfm_name(int number);\n"
MAP = "VFMIG_0.1 {\nglobal:\n    vfm_name;\nlocal:\n    *;\n};\n"


def run(script, *args):
    return subprocess.run([SCRIPTS / script, *args], text=True,
                          timeout=DEADLINE_S, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def tree(tmp_path):
    write(tmp_path / "include/vfmig/device.h", PUBLIC)
    write(tmp_path / "src/util/error.h", "struct error;\n")
    write(tmp_path / "src/stream/encoder.h", "struct encoder;\n")
    write(tmp_path / "src/migration/source.h",
          '#include <vfmig/device.h>\n#include "stream/encoder.h"\n')
    write(tmp_path / "emulator/memory.c", '#include "util/error.h"\n')
    write(tmp_path / "tool/main.c", "#include <vfmig/device.h>\n")
    return tmp_path


def test_a_tree_with_arrows_downwards_passes(tree):
    done = run("check-layers", tree)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path, include", [
    ("src/util/error.h", '"stream/encoder.h"'),
    ("src/util/error.h", "<vfmig/device.h>"),
    ("src/stream/encoder.h", '"migration/source.h"'),
    ("emulator/memory.c", "<vfmig/device.h>"),
    ("emulator/memory.c", '"stream/encoder.h"'),
    ("tool/main.c", '"migration/source.h"'),
    ("tool/main.c", '"../src/migration/source.h"'),
    ("examples/probe.c", '"util/error.h"'),
    ("include/vfmig/error.h", '"util/error.h"'),
    ("src/migration/source.h", "<vfmig/unheard.h>"),
    ("src/migration/source.h", "<nettle/sha2.h>"),
    ("src/misc/misc.h", "<stdint.h>"),
])
def test_an_include_that_points_upwards_is_found(tree, path, include):
    write(tree / path, f"#include {include}\n")
    done = run("check-layers", tree)
    assert done.returncode == 1
    assert path in done.stdout


def test_the_page_on_the_design_has_every_folder_and_no_other(tree):
    row = "".join(f"| `src/{name}` | |\n" for name in
                  ("util", "stream", "migration"))
    write(tree / "docs/design.md", row)
    done = run("check-layers", tree)
    assert done.returncode == 0, done.stdout
    write(tree / "tests/unit/test-a.c", "int a;\n")
    write(tree / "docs/design.md", row + "`src/old`\n")
    done = run("check-layers", tree)
    assert done.returncode == 1
    assert "tests/unit is not told" in done.stdout
    assert "src/old is not there" in done.stdout


def function(name, lines):
    return f"int {name}(void)\n{{\n" + "    ;\n" * (lines - 3) + "}\n"


def test_a_tree_of_short_functions_passes(tree):
    write(tree / "src/util/a.c", function("a", 15))
    done = run("check-sizes", tree)
    assert done.returncode == 0, done.stdout


def test_a_function_of_more_than_a_hundred_lines_is_found(tree):
    short = "".join(function(f"s{n}", 5) for n in range(20))
    write(tree / "src/util/a.c", short + function("endless", 102))
    done = run("check-sizes", tree)
    assert done.returncode == 1
    assert "endless" in done.stdout


def test_a_median_of_more_than_fifteen_lines_is_found(tree):
    write(tree / "src/util/a.c", function("a", 18) + function("b", 18))
    done = run("check-sizes", tree)
    assert done.returncode == 1
    assert "median" in done.stdout


def test_many_long_functions_are_found(tree):
    write(tree / "src/util/a.c",
          "".join(function(f"s{n}", 5) for n in range(8)) +
          function("long1", 60) + function("long2", 60))
    done = run("check-sizes", tree)
    assert done.returncode == 1
    assert "tenth" in done.stdout


def test_a_file_of_more_than_six_hundred_lines_is_found(tree):
    write(tree / "src/util/a.c", "int x;\n" * 601)
    done = run("check-sizes", tree)
    assert done.returncode == 1
    assert "601 lines" in done.stdout


@pytest.fixture
def library(tree):
    def build(code=PUBLIC + "const char *vfm_name(int n)"
                            "{ return n ? 0 : 0; }\n"):
        write(tree / "src/all.c", code)
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", tree / "lib.so",
                        tree / "src/all.c"], check=True, timeout=DEADLINE_S)
        return tree / "lib.so"
    write(tree / "src/libvfmig.map", MAP)
    return build


def test_a_map_that_says_what_headers_and_library_say_passes(tree, library):
    done = run("check-map", library(), tree)
    assert done.returncode == 0, done.stdout


def test_a_declared_function_that_the_map_lacks_is_found(tree, library):
    write(tree / "include/vfmig/more.h", "int vfm_more(void);\n")
    done = run("check-map", library(), tree)
    assert done.returncode == 1
    assert "vfm_more: declared" in done.stdout


def test_a_mapped_function_that_no_header_declares_is_found(tree, library):
    write(tree / "src/libvfmig.map", MAP.replace("vfm_name;",
                                                 "vfm_name; vfm_gone;"))
    done = run("check-map", library(), tree)
    assert done.returncode == 1
    assert "vfm_gone: listed" in done.stdout


def test_a_function_that_only_the_library_exports_is_found(tree, library):
    done = run("check-map",
               library("int vfm_name(int n) { return n; }\n"
                       "int leaked(void) { return 0; }\n"), tree)
    assert done.returncode == 1
    assert "leaked: exported" in done.stdout


def test_a_file_without_its_licence_is_found(tree):
    write(tree / "good.c", LICENSE)
    write(tree / "bad.c", "int x;\n")
    assert run("check-licenses", tree / "good.c").returncode == 0
    done = run("check-licenses", tree / "good.c", tree / "bad.c")
    assert done.returncode == 1
    assert "bad.c" in done.stdout and "good.c" not in done.stdout


def test_a_header_that_needs_another_before_it_is_found(tree):
    for header in tree.glob("src/migration/*.h"):
        write(header, "#include <stdint.h>\n")
    assert run("check-headers", tree).returncode == 0
    write(tree / "include/vfmig/device.h", "uint32_t vfm_size(void);\n")
    assert run("check-headers", tree).returncode == 1


def test_a_header_that_cxx_refuses_is_found(tree):
    write(tree / "include/vfmig/device.h", "int vfm_new(int new);\n")
    assert run("check-headers", tree).returncode == 1


def test_an_initializer_that_cxx_refuses_is_found(tree):
    for header in tree.glob("src/migration/*.h"):
        header.unlink()
    text = ("#pragma once\nstruct vfm_x { int first; int second; };\n"
            "#define VFM_X_INIT { %s }\n")
    write(tree / "include/vfmig/device.h", text % ".first = 1, .second = 2")
    refused = run("check-headers", tree).returncode
    write(tree / "include/vfmig/device.h", text % "1, 2")
    assert (refused, run("check-headers", tree).returncode) == (1, 0)


def test_every_package_is_listed_once():
    packages = run("packages", "list").stdout.split()
    assert len(packages) == len(set(packages)) > 0
