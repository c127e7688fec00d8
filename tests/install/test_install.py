# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""What `ninja install` leaves is enough for a second project.

The consumer is copied away from here and sees the staged tree alone: its
headers, libraries and pkg-config file.
"""
import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BUILD = Path(os.environ["VFMIG_BUILD"])
DEADLINE_S = 120
OUTPUT = ("PRE_COPY_P2P\n", "/nonexistent/socket")


def run(*command, **options):
    done = subprocess.run(command, text=True, timeout=DEADLINE_S,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          **options)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    root = tmp_path_factory.mktemp("stage")
    run("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", root)
    return root


@pytest.fixture(scope="module")
def pkg_config(stage):
    path, = stage.rglob("libvfmig.pc")
    return {**os.environ, "PKG_CONFIG_SYSROOT_DIR": str(stage),
            "PKG_CONFIG_PATH": str(path.parent)}


@pytest.fixture(scope="module")
def programs(tmp_path_factory, pkg_config):
    folder = tmp_path_factory.mktemp("consumer")
    shutil.copy(HERE / "consumer.c", folder)
    shutil.copy(HERE / "consumer.mk", folder / "Makefile")
    run("make", "-C", folder, env=pkg_config)
    return folder


def check_output(output):
    state, sentence = OUTPUT
    assert output.startswith(state)
    assert sentence in output


def test_a_program_linked_with_the_shared_library_runs(programs, stage):
    library, = stage.rglob("libvfmig.so")
    check_output(run(programs / "shared",
                     env={**os.environ,
                          "LD_LIBRARY_PATH": str(library.parent)}))


def test_a_program_linked_statically_runs_without_the_library(programs):
    check_output(run(programs / "static"))
    assert "not a dynamic executable" in subprocess.run(
        ["ldd", programs / "static"], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=DEADLINE_S).stdout


@pytest.mark.parametrize("source", sorted(
    (HERE / "../../examples").glob("*.c")), ids=lambda path: path.name)
def test_an_example_is_built_as_the_readme_says(source, tmp_path, pkg_config):
    flags = run("pkg-config", "--cflags", "--libs", "libvfmig",
                env=pkg_config).split()
    run("cc", "-Werror", source, *flags, "-o", tmp_path / "program",
        env=pkg_config)


@pytest.mark.parametrize("way", [("--libs",), ("-static", "--static", "--libs")],
                         ids=["shared", "static"])
def test_a_program_that_moves_a_device_is_linked(way, tmp_path, pkg_config):
    """With all that a migration needs of the libraries underneath."""
    *static, libs = way
    flags = run("pkg-config", "--cflags", libs, *static[1:], "libvfmig",
                env=pkg_config).split()
    run("cc", HERE / "../../examples/migration.c",
        *static[:1], *flags, "-o", tmp_path / "program", env=pkg_config)


def test_static_linking_is_told_of_the_libraries_underneath(pkg_config):
    private = run("pkg-config", "--print-requires-private", "libvfmig",
                  env=pkg_config).split()
    assert "libxxhash" in private


def test_every_public_header_is_installed(stage):
    ours = {p.name for p in (HERE / "../../include/vfmig").glob("*.h")}
    installed, = stage.rglob("include/vfmig")
    assert {p.name for p in installed.glob("*.h")} == ours
