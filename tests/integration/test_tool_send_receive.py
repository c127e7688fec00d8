# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""vfmig send and receive: a device moves from one process to another."""
import os
import socket
import subprocess
import sys

import pytest

from vfmig_programs import DEADLINE, Device, MIB, Run, VFMIG, receive, vfmig

# Connects its standard input and output with a UNIX socket.
RELAY = """
import select, socket, sys, os
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
way = {0: (lambda: os.read(0, 65536), peer.sendall),
       peer.fileno(): (lambda: peer.recv(65536),
                       lambda data: os.write(1, data))}
while way:
    for fd in select.select(list(way), [], [])[0]:
        take, give = way[fd]
        data = take()
        if data:
            while data and fd != 0:
                data = data[give(data):]
            if fd == 0:
                give(data)
        else:
            del way[fd]
            if fd == 0:
                peer.shutdown(socket.SHUT_WR)
"""


def move(a, b, uri, *words, **options):
    """Moves a to b through the receiver's URI."""
    with receive("-d", b.word, "--json", uri) as receiving:
        to = options.pop("to", lambda address: address)(receiving.uri)
        sent = vfmig("send", "-d", a.word, "--json", *words, to, **options)
        receiving.finish()
    return sent, receiving


def check(sent, received, a, b):
    sent, received = sent.ok().json(), received.ok().json()
    assert sent["outcome"] == received["outcome"] == "done"
    assert sent["stage"] == received["stage"] == "done"
    assert sent["devices"][0]["xxh3_128"] == received["devices"][0]["xxh3_128"]
    assert a.state() == "STOP"
    assert b.state() == "RUNNING"
    return sent, received


@pytest.fixture(name="pair")
def pair_(tmp_path):
    with Device(tmp_path, "a", "--size", MIB, "--seed", 1) as a, \
            Device(tmp_path, "b", "--size", MIB, "--seed", 2) as b:
        yield a, b


def test_a_device_that_cannot_be_migrated_is_told_before_anybody_is_called(
        tmp_path):
    with Device(tmp_path, "a", "--features", "data-size") as device:
        run = vfmig("send", "-d", device.word, f"unix:{tmp_path}/nobody")
    assert "it cannot be migrated" in run.exits(1).error()


def test_a_device_moves_over_a_unix_socket(pair, tmp_path):
    sent, received = move(*pair, f"unix:{tmp_path}/move")
    sent, _ = check(sent, received, *pair)
    assert not (tmp_path / "move").exists()
    assert sent["downtime"]["total_ns"] > 0
    assert sent["device_bytes"] >= MIB
    assert sent["stages_ns"]["pre-copy"] > 0


def test_the_json_of_both_sides_has_the_members_of_the_manual(pair, tmp_path):
    runs = move(*pair, f"unix:{tmp_path}/move")
    stages = ["hello", "setup", "pre-copy", "stop", "pre-switchover",
              "complete", "check", "loaded", "yours", "start", "cleanup"]
    for told in check(*runs, *pair):
        assert list(told) == [
            "command", "where", "outcome", "error", "stage", "vm_runs",
            "stream_bytes", "device_bytes", "iterations", "elapsed_ns",
            "stages_ns", "causes_ns", "downtime", "devices", "warnings"]
        assert list(told["stages_ns"]) == stages
        expected = ["expected_ns"] if told["command"] == "send" else []
        assert list(told["downtime"]) == [
            "total_ns", "stages_ns", "causes_ns", "stages_causes_ns", "there_ns",
            "named", *expected]
        assert list(told["downtime"]["stages_ns"]) == stages[3:10]
        assert list(told["devices"][0]) == [
            "id", "device", "state", "pre_copy_bytes", "stop_copy_bytes",
            "config_bytes", "stop_ns", "check_ns", "start_ns", "xxh3_128"]
        assert told["error"] is None and told["warnings"] == []
        assert told["downtime"]["total_ns"] <= told["elapsed_ns"]
        assert sum(told["stages_ns"].values()) <= told["elapsed_ns"]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_a_device_moves_over_tcp(pair, host):
    check(*move(*pair, f"tcp:{host}:0"), *pair)


def test_a_device_moves_through_a_command(pair, tmp_path):
    relay = tmp_path / "relay.py"
    relay.write_text(RELAY)
    run = move(*pair, f"unix:{tmp_path}/move",
               to=lambda _: f"exec:{sys.executable} {relay} {tmp_path}/move")
    check(*run, *pair)


def test_a_device_moves_over_descriptors(pair):
    a, b = pair
    ours, theirs = socket.socketpair()
    with Run("receive", "-d", b.word, "--json", f"fd:{theirs.fileno()}",
             pass_fds=[theirs.fileno()]) as receiving:
        theirs.close()
        sent = vfmig("send", "-d", a.word, "--json", f"fd:{ours.fileno()}",
                     pass_fds=[ours.fileno()])
        ours.close()
        receiving.finish()
    assert "listening" not in receiving.stderr
    check(sent, receiving, a, b)


def test_a_descriptor_that_listens_is_accepted_from(pair, tmp_path):
    a, b = pair
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/move")
        listener.listen()
        with Run("receive", "-d", b.word, "--json", f"fd:{listener.fileno()}",
                 pass_fds=[listener.fileno()]) as receiving:
            sent = vfmig("send", "-d", a.word, "--json",
                         f"unix:{tmp_path}/move")
            receiving.finish()
    check(sent, receiving, a, b)


def test_a_file_stops_the_device_for_whoever_reads_it(pair, tmp_path):
    a, b = pair
    sent = vfmig("send", "-d", a.word, "--json", f"file:{tmp_path}/state")
    received = vfmig("receive", "-d", b.word, "--json", f"file:{tmp_path}/state")
    check(sent, received, a, b)


def test_nobody_need_answer(pair, tmp_path):
    a, b = pair
    sent = vfmig("send", "-d", a.word, "--json", "--peer", "none",
                 f"exec:cat >{tmp_path}/state")
    received = vfmig("receive", "-d", b.word, "--json", "--peer", "none",
                     f"exec:cat {tmp_path}/state")
    check(sent, received, a, b)


NEVER_ENDS = "exec tail -f /dev/null"


def test_a_command_that_takes_all_and_does_not_end_has_a_deadline(pair):
    a, _ = pair
    run = vfmig("send", "-d", a.word, "--peer", "none", "--peer-timeout",
                "300ms", f"exec:cat >/dev/null; {NEVER_ENDS}").exits(1)
    assert "did not end within 300 ms" in run.error()
    assert a.state() == "RUNNING"


def test_a_command_that_gave_all_and_does_not_end_has_a_deadline(pair,
                                                                 tmp_path):
    a, b = pair
    vfmig("save", "-d", a.word, tmp_path / "state").ok()
    run = vfmig("receive", "-d", b.word, "--peer", "none", "--peer-timeout",
                "300ms", f"exec:cat {tmp_path}/state; {NEVER_ENDS}").ok()
    assert "did not end within 300 ms" in run.stderr
    assert b.state() == "RUNNING"


def test_a_stream_that_stalls_is_given_up(pair, tmp_path):
    a, b = pair
    vfmig("save", "-d", a.word, tmp_path / "state").ok()
    run = vfmig("receive", "-d", b.word, "--peer", "none", "--peer-timeout",
                "300ms", f"exec:head -c 100000 {tmp_path}/state; {NEVER_ENDS}")
    assert "got nothing done for 300 ms" in run.exits(1).error()
    assert b.state() == "RUNNING"


def test_a_peer_must_be_able_to_answer(pair):
    a, _ = pair
    reading, writing = os.pipe()
    run = vfmig("send", "-d", a.word, f"fd:{writing}",
                pass_fds=[writing]).exits(1)
    os.close(reading)
    os.close(writing)
    assert run.error()
    assert a.state() == "RUNNING"


def test_a_stream_on_standard_output_is_all_that_is_there(pair, tmp_path):
    a, b = pair
    send = ["send", "-d", a.word, "--peer", "none"]
    assert "want standard output" in \
        vfmig(*send, "--json", "fd:1").exits(2).error()
    with open(tmp_path / "state", "wb") as stream:
        done = subprocess.run([VFMIG, *send, "fd:1"], stdout=stream,
                              stderr=subprocess.PIPE, timeout=DEADLINE,
                              check=False)
    assert done.returncode == 0, done.stderr
    vfmig("load", "-d", b.word, str(tmp_path / "state")).ok()
    assert b.state() == "RUNNING"


def test_a_paused_device_moves_and_runs_at_neither_side(pair, tmp_path):
    a, b = pair
    a.set_state("STOP")
    sent, received = move(a, b, f"unix:{tmp_path}/move")
    assert sent.ok().json()["vm_runs"] is False
    assert received.ok().json()["vm_runs"] is False
    assert a.state() == b.state() == "STOP"


def test_two_devices_move_together(tmp_path):
    with Device(tmp_path, "a", "--seed", 1) as a, \
            Device(tmp_path, "b", "--seed", 2) as b, \
            Device(tmp_path, "c") as c, Device(tmp_path, "d") as d:
        with receive("-d", c.word + ",id=1", "-d", d.word + ",id=2", "--json",
                     f"unix:{tmp_path}/move") as receiving:
            sent = vfmig("send", "-d", a.word + ",id=1", "-d", b.word + ",id=2",
                         "--json", receiving.uri).ok().json()
            received = receiving.finish().ok().json()
        assert [x.state() for x in (a, b, c, d)] == \
            ["STOP", "STOP", "RUNNING", "RUNNING"]
    digests = [x["xxh3_128"] for x in sent["devices"]]
    assert digests == [x["xxh3_128"] for x in received["devices"]]
    assert len(set(digests)) == 2


def test_devices_without_p2p_do_not_move_together(tmp_path):
    words = ("--features", "stop-copy,pre-copy")
    with Device(tmp_path, "a", *words) as a, \
            Device(tmp_path, "b", *words) as b:
        run = vfmig("save", "-d", a.word + ",id=1", "-d", b.word + ",id=2",
                    tmp_path / "state").exits(1)
        assert "P2P" in run.error()
        assert a.state() == b.state() == "RUNNING"


def test_another_device_over_there_is_refused_before_the_bulk(tmp_path):
    with Device(tmp_path, "a", "--size", "64M", "--pci-id", "1af4:1001") as a, \
            Device(tmp_path, "b", "--size", "64M", "--pci-id",
                   "8086:1234") as b:
        sent, received = move(a, b, f"unix:{tmp_path}/move")
        told = sent.exits(1).json()
        received.exits(1)
        assert told["outcome"] == "failed"
        assert told["stage"] == "hello"
        assert told["device_bytes"] == 0
        assert told["stream_bytes"] < 65536
        assert a.state() == "RUNNING"
        assert b.state() == "RUNNING"
    assert "1af4" in sent.error() or "8086" in sent.error()


def test_nobody_at_the_uri_is_an_error_after_the_time_given(pair, tmp_path):
    a, _ = pair
    run = vfmig("send", "-d", a.word, "--connect-timeout", "50ms", "--json",
                f"unix:{tmp_path}/none").exits(1)
    assert f"{tmp_path}/none" in run.error()
    assert run.json()["outcome"] == "failed"
    assert run.json()["error"] in run.error()
    assert a.state() == "RUNNING"


def test_nobody_who_comes_is_an_error_after_the_time_given(pair, tmp_path):
    _, b = pair
    with receive("-d", b.word, "--connect-timeout", "50ms",
                 f"unix:{tmp_path}/move") as receiving:
        receiving.finish().exits(1)
    assert b.state() == "RUNNING"
    assert not (tmp_path / "move").exists()


def test_a_peer_that_is_no_vfmig_is_refused(pair, tmp_path):
    _, b = pair
    with receive("-d", b.word, f"unix:{tmp_path}/move") as receiving:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(f"{tmp_path}/move")
            peer.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
            receiving.finish().exits(1)
    assert receiving.error()
    assert b.state() == "RUNNING"


def test_the_bandwidth_limit_holds(pair, tmp_path):
    sent, received = move(*pair, f"unix:{tmp_path}/move", "--max-bandwidth",
                          "4M", "--downtime-limit", "5s")
    sent, _ = check(sent, received, *pair)
    assert sent["elapsed_ns"] > 150e6
