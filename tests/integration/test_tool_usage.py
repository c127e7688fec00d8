# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""vfmig: a command line that is wrong is refused before anything is touched."""
import pytest

from vfmig_programs import vfmig

DEVICE = "vfio-user:/nonexistent"

# The words, and what the one line on standard error must name.
WRONG = [
    ([], "no command given"),
    (["sned"], "sned: no such command"),
    (["help", "sned"], "sned: no such command"),
    (["--frob"], "--frob: no such command"),
    (["probe"], "-d DEVICE is missing"),
    (["probe", "-d"], "option '-d' needs a value"),
    (["probe", "--device"], "option '--device' needs a value"),
    (["probe", "-x"], "unknown option '-x'"),
    (["probe", "--frob"], "unknown option '--frob'"),
    (["probe", "word", "--frob"], "unknown option '--frob'"),
    (["probe", "--json=yes"], "option '--json=yes' takes no value"),
    (["probe", "-d", DEVICE, "word"], "unexpected word 'word'"),
    (["probe", "-d", DEVICE, "-d", DEVICE], "one device at a time"),
    (["list", "word"], "unexpected word 'word'"),
    (["list", "-d", DEVICE], "unknown option '-d'"),
    (["state", "-d", DEVICE, "STOPPED"], "'STOPPED' is no state"),
    (["state", "-d", DEVICE, "ERROR"], "'ERROR' is no state"),
    (["state", "-d", DEVICE, "STOP", "RUNNING"], "unexpected word 'RUNNING'"),
    (["state", "-d", DEVICE, "STOP", "--reset"], "only one of them"),
    (["save", "-d", DEVICE], "FILE is missing"),
    (["save", "file"], "-d DEVICE is missing"),
    (["save", "-d", DEVICE, "a", "b"], "unexpected word 'b'"),
    (["save", "-d", DEVICE, "--json", "-"], "both want standard output"),
    (["load", "-d", DEVICE], "FILE is missing"),
    (["load", "-d", DEVICE, "--stop", "a"], "unknown option '--stop'"),
    (["send", "-d", DEVICE], "URI is missing"),
    (["send", "-d", DEVICE, "/path"], "/path"),
    (["send", "-d", DEVICE, "udp:host:1"], "udp:host:1"),
    (["send", "-d", DEVICE, "tcp:host"], "tcp:host"),
    (["receive", "-d", DEVICE, "fd:x"], "fd:x"),
    (["send", "-d", DEVICE, "--peer", "xen", "unix:/x"], "'xen' is not vfmig"),
    (["send", "-d", DEVICE, "-d", DEVICE, "unix:/x"], "',id=ID'"),
    (["send", "-d", DEVICE + ",id=a", "-d", DEVICE + ",id=a", "unix:/x"],
     "two devices have the id a"),
    (["send", "-d", DEVICE, "--machine", "", "unix:/x"],
     "--machine: it must not be empty"),
]

# What may follow --downtime-limit, and --max-bandwidth.
WRONG_TIMES = ["", "x", "-1", "+1", " 1", "1 s", "0", "1.", ".5", "1.5.2",
               "0x10", "10d", "50000d", "99999999999999999999", "1200h"]
WRONG_RATES = ["", "x", "-1", "0", "1KB", "1Kb", "9223372036854775808",
               "99999999T", "1e6"]

WRONG_DEVICES = [
    ("", "is no device"),
    ("/path", "is no device"),
    ("vfio-user", "is no device"),
    ("vfio-user:", "names no device"),
    ("vfio-user:,id=a", "names no device"),
    ("vfio:", "names no device"),
    ("vfio:0000:00:01.0,read-size=4096", "unknown key 'read-size'"),
    (DEVICE + ",", "'' is not KEY=VALUE"),
    (DEVICE + ",id", "'id' is not KEY=VALUE"),
    (DEVICE + ",id=", "id: it must not be empty"),
    (DEVICE + ",id=a/b", "'a/b' has a '/' in it"),
    (DEVICE + ",id=" + "x" * 251, "longer than 250 bytes"),
    (DEVICE + ",frob=1", "unknown key 'frob'"),
    (DEVICE + ",read-size=4095", "read-size: '4095' is not from 4096 to"),
    (DEVICE + ",read-size=17M", "read-size: '17M' is not from 4096 to"),
    (DEVICE + ",write-depth=17", "write-depth: '17' is not from 1 to 16"),
    (DEVICE + ",write-depth=1K", "'1K' is no number"),
    (DEVICE + ",pre-copy=maybe", "pre-copy: 'maybe' is not on or off"),
    ("vfio:0000:00:01.0,p2p=", "p2p: '' is not on or off"),
    (DEVICE + ",state-timeout=0", "state-timeout: '0' is not from 1 to"),
    (DEVICE + ",state-timeout=soon", "state-timeout: 'soon' is no time"),
]


def refused(words):
    run = vfmig(*words).exits(2)
    assert run.stdout == ""
    assert run.stderr.count("\n") == 1, run.stderr
    return run.error()


@pytest.mark.parametrize("words,what", WRONG, ids=lambda x: str(x)[:60])
def test_a_wrong_word_is_named_and_the_help_is_pointed_to(words, what):
    line = refused(words)
    assert what in line
    assert "--help'" in line


@pytest.mark.parametrize("time", WRONG_TIMES)
def test_a_time_that_is_none_is_refused(time):
    line = refused(["send", "-d", DEVICE, "--downtime-limit", time, "unix:/x"])
    assert line.startswith(f"vfmig: send: --downtime-limit: '{time}")


@pytest.mark.parametrize("rate", WRONG_RATES)
def test_a_rate_that_is_none_is_refused(rate):
    line = refused(["send", "-d", DEVICE, "--max-bandwidth", rate, "unix:/x"])
    assert line.startswith(f"vfmig: send: --max-bandwidth: '{rate}")


@pytest.mark.parametrize("device,what", WRONG_DEVICES,
                         ids=lambda x: str(x)[:60])
def test_a_device_that_is_none_is_refused(device, what):
    line = refused(["send", "-d", device, "unix:/x"])
    assert line.startswith("vfmig: send: --device: ")
    assert what in line


def test_more_devices_than_a_migration_takes_are_refused():
    words = ["send"]
    for n in range(65):
        words += ["-d", f"{DEVICE},id={n}"]
    assert "more than 64 devices" in refused(words + ["unix:/x"])


def test_control_characters_in_a_word_do_not_reach_the_terminal():
    line = refused(["probe", "a\x1b[2Jb\nc"])
    assert "'a?[2Jb?c'" in line


@pytest.mark.parametrize("command",
                         ["probe", "save", "load", "send", "receive", "state"])
def test_every_command_explains_itself(command):
    asked = vfmig(command, "--help").ok()
    assert asked.stdout.startswith(f"usage: vfmig {command} ")
    assert "--help" in asked.stdout
    assert max(map(len, asked.stdout.splitlines())) <= 80
    assert vfmig("help", command).ok().stdout == asked.stdout
    assert f"  {command} " in vfmig("help").ok().stdout


def test_the_version_is_printed():
    name, version = vfmig("--version").ok().stdout.split()
    assert name == "vfmig"
    assert version[0].isdigit()


def test_help_is_printed_and_is_no_error():
    assert vfmig("--help").ok().stdout == vfmig("help").ok().stdout
