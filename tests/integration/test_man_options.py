# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""The manual has the options that the programs have, and no others.

What a program has is what its --help prints, which its parser's own table is
printed as.  An entry of the manual whose text begins with a command's name holds
for the commands that it names, and for all of those that have the option."""
import re
import subprocess
from pathlib import Path

import pytest

from vfmig_programs import BUILD, VFMIG, VFMIG_DEVICE

MAN = Path(__file__).resolve().parents[2] / "man"

# Which page has the options of which commands of vfmig.
PAGES = {
    "vfmig.1": ["list", "probe", "state", "save", "load", "send", "receive",
                "inspect", "compare", "splice", "proxy", "check"],
    "vfmig-bench.1": ["bench"],
    "vfmig-predict.1": ["predict"],
}
OTHERS = {"vfmig-device.1": VFMIG_DEVICE,
          "vfmig-run.1": BUILD / "bridge" / "vfmig-run"}

OPTION = r"(?<![\w-])(--[a-z][a-z0-9-]*|-[a-zA-Z])(?![\w-])"


def options_of(*command):
    """What --help lists: the words at the beginning of its lines."""
    text = subprocess.run([*command, "--help"], text=True, check=True,
                          timeout=60, stdout=subprocess.PIPE).stdout
    heads = re.findall(r"^ +(-[^ ,]+(?:, -[^ ,]+)*)", text, re.MULTILINE)
    return set(re.findall(OPTION, " ".join(heads)))


def entries_of(text):
    """[(options, what is said of them)]: an entry begins with *-."""
    found = []
    for match in re.finditer(r"^(\*-.*)\n((?:\t.*\n|\n(?=\t))+)", text,
                             re.MULTILINE):
        found.append((re.findall(OPTION, match[1]), match[2]))
    return found


def differences(entries, having):
    """Sentences on what the page's `entries` and the options `having`, by
    command, do not have in common."""
    wrong = []
    told = {o for options, _ in entries for o in options}
    there = set().union(*having.values())
    wrong += [f"{o} is no option" for o in sorted(told - there)]
    wrong += [f"{o} has no entry" for o in sorted(there - told)]
    for option in sorted(told & there):
        texts = [text for options, text in entries if option in options]
        if any(not re.match(rf"\t\*(?:{'|'.join(having)})\*", text)
               for text in texts):
            continue
        named = {c for c in having if f"*{c}*" in "".join(texts)}
        has = {c for c in having if option in having[c]}
        wrong += [f"{option} is not of {c}" for c in sorted(named - has)]
        wrong += [f"{option} of {c} is not told" for c in sorted(has - named)]
    return wrong


def page(name):
    return (MAN / f"{name}.scd").read_text()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_the_options_of_its_commands(name):
    having = {c: options_of(VFMIG, c) for c in PAGES[name]}
    assert differences(entries_of(page(name)), having) == []


@pytest.mark.parametrize("name", OTHERS)
def test_a_page_has_the_options_of_its_program(name):
    having = {name: options_of(OTHERS[name])}
    assert differences(entries_of(page(name)), having) == []


def test_every_command_has_a_page():
    text = subprocess.run([VFMIG, "help"], text=True, check=True, timeout=60,
                          stdout=subprocess.PIPE).stdout
    commands = re.findall(r"^  ([a-z]+)  ", text, re.MULTILINE)
    assert sorted(commands) == sorted(c for page in PAGES.values()
                                      for c in page)


def test_every_page_leads_to_every_other():
    pages = sorted(path.name.removesuffix(".scd")
                   for path in MAN.glob("*.scd"))
    see_also = page("vfmig.1").split("# SEE ALSO")[1]
    for name in pages:
        title, section = name.rsplit(".", 1)
        if name != "vfmig.1":
            assert f"*{title}*({section})" in see_also


@pytest.mark.parametrize("text, wrong", [
    ("*-a*, *--all* _X_\n\tText.\n\n*--one*\n\t*b*: text.\n", []),
    ("*-a*, *--all*\n\tText.\n", ["--one has no entry"]),
    ("*-a*, *--all*, *--more*\n\tText.\n\n*--one*\n\t*b*: text.\n",
     ["--more is no option"]),
    ("*-a*, *--all*\n\tText.\n\n*--one*\n\t*c*: text.\n",
     ["--one is not of c", "--one of b is not told"]),
])
def test_a_difference_is_found(text, wrong):
    having = {"b": {"-a", "--all", "--one"}, "c": {"-a", "--all"}}
    assert differences(entries_of(text), having) == wrong
