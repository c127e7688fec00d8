# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""vfmig bench and vfmig predict: what moving a device takes, and will take."""
import contextlib
import json
import signal
import socket
import struct

import pytest

from vfmig_programs import (DEADLINE, Device, MIB, Run, receive, vfmig,
                            wait_for_steps)

ALL = "stop-copy,pre-copy,p2p,data-size,precopy-info"

HELLO, PING, PONG, BULK, DONE, TRIAL, GO, FETCH, RESULT, BYE, REFUSED = \
    range(1, 12)


@contextlib.contextmanager
def listener(folder, *words):
    """A bench that is measured with; .uri is where."""
    with Run("bench", "--listen", f"unix:{folder}/link", *words) as run:
        run.uri = run.out.wait_for("listening on ")
        yield run


def contents(folder, device):
    """A digest of what the device holds."""
    path = folder / "contents"
    vfmig("save", "-d", device.word, "--quiet", path).ok()
    facts = vfmig("inspect", "--json", path).ok().json()
    path.unlink()
    return [section["data_sha256"] for section in facts["vfio"].values()]


def figures(told, section):
    for name, value in told[section].items():
        assert 0 <= value["min"] <= value["median"] <= value["max"], name
    return {name: value["median"] for name, value in told[section].items()}


@pytest.mark.parametrize("load", [(), ("--load",)])
def test_a_device_is_as_it_was(tmp_path, load):
    with Device(tmp_path, "d", "--features", ALL, "--seed", "7",
                "--report", tmp_path / "report") as device:
        told = vfmig("bench", "-d", device.word, "--json", "--rounds", "2",
                     *load).ok().json()
    after = json.loads((tmp_path / "report").read_text())
    assert after["state"] == "RUNNING" and after["resets"] == 0
    assert after["memory_seed"] == 7
    assert after["loads_accepted"] == (2 if load else 0)
    save = figures(told, "save")
    assert save["pre_copy_bytes"] >= MIB
    assert 0 < save["stop_copy_bytes"] < MIB
    assert save["bytes_per_sec"] > 0 and save["stop_ns"] > 0
    assert ("load" in told) == bool(load)
    if load:
        assert figures(told, "load")["bytes_per_sec"] > 0
    assert "link" not in told and "trial" not in told


def test_one_that_is_stopped_stays_so(tmp_path):
    with Device(tmp_path) as device:
        device.set_state("STOP")
        before = contents(tmp_path, device)
        told = vfmig("bench", "-d", device.word, "--json", "--load"
                     ).ok().json()
        assert device.state() == "STOP"
        assert contents(tmp_path, device) == before
    assert "stop_ns" not in told["save"] and "run_ns" not in told["save"]
    assert told["save"]["stop_copy_bytes"]["median"] >= MIB


def test_an_arc_is_as_long_as_the_device_makes_it(tmp_path):
    with Device(tmp_path, "d", "--features", "stop-copy", "--delay",
                "RUNNING>STOP:300,count=0") as device:
        told = vfmig("bench", "-d", device.word, "--json", "--rounds", "3"
                     ).ok().json()
    assert 300e6 <= figures(told, "save")["stop_ns"] < 2e9
    assert told["save"]["end_ns"]["median"] < \
        told["save"]["stop_ns"]["median"]


def test_a_device_that_is_being_moved_is_left_alone(tmp_path):
    with Device(tmp_path) as device:
        device.set_state("STOP_COPY")
        run = vfmig("bench", "-d", device.word).exits(1)
        assert "it is in STOP_COPY" in run.error()
        assert device.state() == "STOP_COPY"


def test_a_device_that_fails_to_save_runs_on(tmp_path):
    with Device(tmp_path, "d", "--features", "stop-copy",
                "--fail", "read@0:EIO") as device:
        run = vfmig("bench", "-d", device.word).exits(1)
        assert device.state() == "RUNNING"
    assert device.word in run.error() or "device" in run.error()


def test_a_device_that_fails_to_load_has_lost_what_it_held(tmp_path):
    with Device(tmp_path, "d", "--fail", "RESUMING>STOP:EINVAL") as device:
        run = vfmig("bench", "-d", device.word, "--load").exits(3)
        assert device.state() == "RUNNING"
    assert "what it held is lost" in run.error()


def test_a_signal_brings_the_device_back(tmp_path):
    with Device(tmp_path, "d", "--features", "stop-copy", "--report",
                tmp_path / "report", "--delay",
                "RUNNING>STOP:300,count=0") as device, \
            Run("bench", "-d", device.word, "--rounds", "64") as run:
        wait_for_steps(device, tmp_path / "report")
        run.signal(signal.SIGINT)
        run.finish().exits(1)
        assert device.state() == "RUNNING"
    assert "cancelled" in run.error()


@contextlib.contextmanager
def measured(tmp_path, *words):
    """The figures of a trial between two devices, and both of them."""
    with Device(tmp_path, "a", "--seed", "1", "--report",
                tmp_path / "a.json", *words) as a, \
            Device(tmp_path, "b", "--seed", "2", "--report",
                   tmp_path / "b.json", *words) as b, \
            listener(tmp_path, "-d", b.word) as there:
        run = vfmig("bench", "-d", a.word, "--rounds", "3", "-o",
                    tmp_path / "figures", there.uri).ok()
        there.finish().ok()
        yield a, b, run


def test_a_trial_leaves_the_source_as_it_was(tmp_path):
    with measured(tmp_path) as (a, b, run):
        told = json.loads((tmp_path / "figures").read_text())
        assert a.state() == "RUNNING" and b.state() == "RUNNING"
    after = json.loads((tmp_path / "a.json").read_text())
    assert after["resets"] == after["loads_accepted"] == 0
    after = json.loads((tmp_path / "b.json").read_text())
    assert after["loads_accepted"] == after["resets"] == 3
    assert after["memory_seed"] == 2  # nothing of the source's is left there
    link, trial = figures(told, "link"), figures(told, "trial")
    assert 0 < link["rtt_ns"] < 1e9 and link["bytes_per_sec"] > MIB
    assert trial["stopped_ns"] >= trial["stop_ns"] > 0
    assert trial["check_ns"] > 0 and trial["start_ns"] > 0
    assert trial["stop_copy_bytes"] > 0
    assert 0 <= trial.get("busy_permille", 0) <= 1000
    for line in "to STOP_COPY", "the link alone", "stop until loaded":
        assert line in run.stdout


def test_a_link_is_measured_without_devices(tmp_path):
    with listener(tmp_path) as there:
        told = vfmig("bench", there.uri, "--json", "--rounds", "2").ok().json()
        there.finish().ok()
    assert told["device"] is None and "trial" not in told
    assert figures(told, "link")["bytes_per_sec"] > MIB


def test_a_target_that_cannot_load_fails_both(tmp_path):
    with Device(tmp_path, "a") as a, \
            Device(tmp_path, "b", "--fail", "RESUMING>STOP:EINVAL") as b, \
            listener(tmp_path, "-d", b.word) as there:
        run = vfmig("bench", "-d", a.word, there.uri).exits(1)
        there.finish().exits(1)
        assert a.state() == "RUNNING"
    assert "vfmig bench --listen" in run.error()


def test_a_target_that_cannot_be_reset_fails_both(tmp_path):
    with Device(tmp_path, "a") as a, \
            Device(tmp_path, "b", "--fail", "DEVICE_RESET:EIO") as b, \
            listener(tmp_path, "-d", b.word) as there:
        vfmig("bench", "-d", a.word, there.uri).exits(1)
        there.finish().exits(3)
        assert a.state() == "RUNNING"
    assert "cannot reset" in there.error()


@pytest.mark.parametrize("step", ["STOP>RUNNING_P2P", "RUNNING_P2P>RUNNING"])
def test_a_target_that_does_not_start_at_once_runs_in_the_end(tmp_path, step):
    with Device(tmp_path, "a") as a, \
            Device(tmp_path, "b", "--fail", f"{step}:EIO") as b, \
            listener(tmp_path, "-d", b.word) as there:
        vfmig("bench", "-d", a.word, there.uri).exits(1)
        there.finish().exits(1)
        assert a.state() == "RUNNING" and b.state() == "RUNNING"


def test_a_target_that_is_given_a_device_says_so(tmp_path):
    """The other side is no bench: it does what a migration does."""
    with Device(tmp_path, "a") as a, Device(tmp_path, "b") as b, \
            listener(tmp_path, "-d", b.word) as there:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(DEADLINE)
            peer.connect(there.uri[len("unix:"):])
            peer.sendall(frame(HELLO) + frame(TRIAL))
            for _ in "hello", "go":
                assert len(peer.recv(32, socket.MSG_WAITALL)) == 32
            peer.settimeout(None)
            vfmig("send", "-d", f"{a.word},id=bench", f"fd:{peer.fileno()}",
                  pass_fds=(peer.fileno(),)).ok()
        there.finish().exits(3)
        assert b.state() == "STOP"
    assert "is in this one now" in there.error()


def test_a_signal_ends_a_trial_and_both_devices_run(tmp_path):
    """It comes while the target checks what it has loaded."""
    slow = "RESUMING>STOP:3000,count=0"
    with Device(tmp_path, "a", "--report", tmp_path / "a.json") as a, \
            Device(tmp_path, "b", "--delay", slow, "--report",
                   tmp_path / "b.json") as b, \
            listener(tmp_path, "-d", b.word) as there, \
            Run("bench", "-d", a.word, "--rounds", "64", there.uri) as run:
        wait_for_steps(b, tmp_path / "b.json")
        run.signal(signal.SIGINT)
        run.finish().exits(1)
        there.finish().exits(1)
        assert a.state() == "RUNNING" and b.state() == "RUNNING"
    assert "cancelled" in run.error()


def rows(*pairs):
    """Test cases by their last word: the first is no name for a test."""
    return [pytest.param(*pair, id=pair[-1]) for pair in pairs]


def frame(kind, a=0, version=1, magic=b"vfmB", run=0):
    return magic + struct.pack(">HHQQQ", version, kind, a, run, 0)


def tell(there, sent):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(DEADLINE)
        peer.connect(there.uri[len("unix:"):])
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            peer.sendall(sent)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(1 << 16):
                pass


@pytest.mark.parametrize("sent,why", rows(
    (b"", "hung up"),
    (b"GET / HTTP/1.1\r\n" + b"x" * 40, "no vfmig bench"),
    (frame(HELLO, version=2), "version 2"),
    (frame(PING), "of type 2, not 1"),
))
def test_a_listener_is_no_strangers_to_end(tmp_path, sent, why):
    with listener(tmp_path) as there:
        tell(there, sent)
        vfmig("bench", there.uri, "--rounds", "1").ok()
        there.finish().ok()
    assert why in there.stderr and "still listening" in there.stderr


def test_a_listener_serves_one_bench_at_a_time(tmp_path):
    with listener(tmp_path) as there:
        tell(there, frame(HELLO, run=7) + frame(BYE))
        other = vfmig("bench", there.uri).exits(1)
        tell(there, frame(HELLO, run=7) + frame(BYE, 1))
        there.finish().ok()
    assert "another bench is under way" in other.error()
    assert "still listening" in there.stderr


def test_what_a_file_held_stays_if_there_is_nothing_better(tmp_path):
    (tmp_path / "old").write_text("figures")
    with Device(tmp_path) as device:
        for name in "old", "new":
            vfmig("bench", "-d", device.word, "-o", tmp_path / name,
                  "file:/dev/null").exits(1)
        assert (tmp_path / "old").read_text() == "figures"
        assert not (tmp_path / "new").exists()
        vfmig("bench", "-d", device.word, "-o", tmp_path / "old").ok()
    json.loads((tmp_path / "old").read_text())


@pytest.mark.parametrize("sent,why", rows(
    (frame(HELLO) + frame(99), "no request"),
    (frame(HELLO) + frame(TRIAL), "no device here"),
    (frame(HELLO) + frame(FETCH), "no trial yet"),
    (frame(HELLO) + frame(BULK, 1 << 60), "too many"),
    (frame(HELLO) + frame(BULK, 1 << 20) + b"x", "hung up"),
    (frame(HELLO) + frame(REFUSED, 1 << 40), "a refusal of"),
    (frame(HELLO) + frame(PING) * 1100, "asks for ever"),
))
def test_a_listener_takes_no_nonsense(tmp_path, sent, why):
    with listener(tmp_path) as there:
        tell(there, sent)
        there.finish().exits(1)
    assert why in there.error()


@pytest.mark.parametrize("said,why", rows(
    (b"", "hung up"),
    (b"HTTP/1.1 400 Bad Request\r\n" + b"x" * 40, "no vfmig bench"),
    (frame(HELLO, version=9), "version 9"),
    (frame(HELLO) + frame(DONE), "of type 5, not 3"),
    (frame(REFUSED, 9) + b"no \x1b[2Jway", "no "),
    (frame(REFUSED, 401) + b"x" * 401, "a refusal of 401"),
))
def test_a_measuring_side_takes_no_nonsense(tmp_path, said, why):
    with socket.socket(socket.AF_UNIX) as lis, Device(tmp_path) as device:
        lis.bind(str(tmp_path / "hostile"))
        lis.listen(1)
        lis.settimeout(DEADLINE)
        with Run("bench", "-d", device.word, "--rounds", "1",
                 f"unix:{tmp_path}/hostile") as run:
            peer = lis.accept()[0]
            with peer, contextlib.suppress(BrokenPipeError,
                                           ConnectionResetError):
                peer.settimeout(DEADLINE)
                peer.sendall(said)
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(1 << 16):
                    pass
            run.finish().exits(1)
        assert device.state() == "RUNNING"
    assert why in run.error() and "\x1b" not in run.error()


def test_a_listener_is_cancelled_by_a_signal(tmp_path):
    with listener(tmp_path) as there:
        there.signal(signal.SIGTERM)
        there.finish().exits(1)


def predicted(path, *words):
    return vfmig("predict", "--json", *words, path).ok().json()


def test_a_prediction_is_the_sum_of_what_it_names(tmp_path):
    with measured(tmp_path):
        path = tmp_path / "figures"
        told = predicted(path)
        text = vfmig("predict", path).ok().stdout
        many = predicted(path, "--devices", "64")
    assert told["from_trial"] is True and told["devices"] == 1
    assert told["downtime_ns"] == \
        told["device_ns"] + told["data_ns"] + told["link_ns"]
    assert told["low_ns"] <= told["downtime_ns"] <= told["high_ns"]
    assert "1 device, stopped for " in text and "note:" not in text
    assert many["devices"] == 64
    assert many["stop_copy_bytes"] == 64 * told["stop_copy_bytes"]
    assert many["device_ns"] == told["device_ns"]
    assert many["data_ns"] >= told["data_ns"]


def test_a_prediction_from_rates_says_so(tmp_path):
    path = tmp_path / "figures"
    with Device(tmp_path) as device:
        vfmig("bench", "-d", device.word, "-o", path).ok()
    assert predicted(path)["from_trial"] is False
    assert "note:" in vfmig("predict", path).ok().stdout


def test_a_link_of_a_byte_a_second_is_slow(tmp_path):
    path = tmp_path / "figures"
    with Device(tmp_path) as device:
        vfmig("bench", "-d", device.word, "-o", path).ok()
    told = predicted(path, "--link", "1,2000000")
    assert told["data_ns"] == pytest.approx(
        told["stop_copy_bytes"] * 10**9, rel=1e-3)
    assert told["link_ns"] == 4 * 10**9


def move(tmp_path, a, b, *words):
    with receive("-d", b.word, f"unix:{tmp_path}/move") as there:
        run = vfmig("send", "-d", a.word, *words, there.uri)
        there.finish()
    return run


def test_a_sender_says_what_was_predicted_and_what_it_was(tmp_path):
    with measured(tmp_path) as (a, b, _):
        path = tmp_path / "figures"
        told = predicted(path)
        down = move(tmp_path, a, b, "--json", "--predict", path
                    ).ok().json()["downtime"]
        text = move(tmp_path, b, a, "--predict", path).ok().stdout
    assert down["predicted_ns"] == told["downtime_ns"]
    assert down["predicted_low_ns"] == told["low_ns"]
    assert down["predicted_high_ns"] == told["high_ns"]
    assert "\npredicted: " in text


def test_what_a_slow_device_takes_is_foreseen(tmp_path):
    """600 of its milliseconds are the device's own; how near it is otherwise is
    what `make bench` measures."""
    with measured(tmp_path, "--features", "stop-copy",
                  "--delay", "RUNNING>STOP:400,count=0",
                  "--delay", "STOP>RUNNING:200,count=0") as (a, b, _):
        told = move(tmp_path, a, b, "--json", "--predict",
                    tmp_path / "figures").ok().json()["downtime"]
    assert told["total_ns"] >= 600e6 <= told["predicted_ns"]


def test_without_a_file_it_is_what_was_expected_at_the_end(tmp_path):
    with Device(tmp_path, "a", "--features", ALL, "--size", "16M") as a, \
            Device(tmp_path, "b", "--features", ALL, "--size", "16M") as b:
        down = move(tmp_path, a, b, "--json").ok().json()["downtime"]
    assert down["expected_ns"] is None or down["expected_ns"] < 60 * 10**9
    assert not any(name.startswith("predicted") for name in down)


def test_a_bad_prediction_is_refused_before_anything_is_touched(tmp_path):
    path = tmp_path / "figures"
    path.write_text("{}")
    with Device(tmp_path) as device:
        run = vfmig("send", "-d", device.word, "--predict", path,
                    f"file:{tmp_path}/out").exits(1)
        assert device.state() == "RUNNING"
    assert "not written by" in run.error()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text,why", rows(
    ("", "not JSON"),
    ("{}", "not written by"),
    ('{"vfmig_bench": 7}', "version 7"),
    ('{"vfmig_bench": 1}', "no figures"),
    ('{"vfmig_bench": 1, "save": {"stop_ns": 3}}', "no object"),
    ("[" * 100000, "not JSON"),
    ("[" + "1," * 600000 + "1]", "too large"),
))
def test_a_bad_file_is_no_prediction(tmp_path, text, why):
    path = tmp_path / "figures"
    path.write_text(text)
    assert why in vfmig("predict", path).exits(1).error()


def test_a_file_that_is_missing_is_named(tmp_path):
    error = vfmig("predict", tmp_path / "none").exits(1).error()
    assert str(tmp_path / "none") in error and "No such file" in error


@pytest.mark.parametrize("words", [
    ["bench"], ["bench", "--load", "unix:/x"], ["bench", "nowhere"],
    ["bench", "--rounds", "0", "unix:/x"],
    ["bench", "--rounds", "65", "unix:/x"],
    ["bench", "--listen", "unix:/x", "unix:/y"],
    ["bench", "--listen", "unix:/x", "--json"],
    ["predict"], ["predict", "--devices", "0", "f"],
    ["predict", "--devices", "65", "f"],
])
def test_wrong_words_are_refused(words):
    vfmig(*words).exits(2)
