# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""vfmig proxy between two real QEMUs: the migration comes through, and the proxy
tells what it was."""
import json

import pytest

from stream_qemu import QEMU, Qemu, pair, socket_name

from vfmig_programs import Run

DIRECTION = "QEMU > proxy > QEMU"
pytestmark = pytest.mark.skipif(QEMU is None, reason="no qemu-system-x86_64")

FEATURES = {
    "plain": ((), 0),
    "return-path": (("return-path",), 0),
    "switchover-ack": (("return-path", "switchover-ack"), 0),
    "multifd-2": (("return-path", "multifd"), 2),
    "multifd-8": (("return-path", "multifd"), 8),
    "multifd-1-no-return-path": (("multifd",), 1),
    "ignore-shared": (("return-path", "x-ignore-shared"), 0),
    "xbzrle": (("return-path", "xbzrle"), 0),
    "validate-uuid": (("return-path", "validate-uuid"), 0),
    "pause-before-switchover": (("return-path", "pause-before-switchover"), 0),
}


def proxy(listen, target, *words):
    run = Run("proxy", *words, listen, target)
    lines = run.err if "--json" in words else run.out
    run.uri = lines.wait_for("listening on ")
    return run


def migrate(source, target, here, there, *words):
    target.do("migrate-incoming", uri=there)
    with proxy(here, there, *words) as run:
        uri = run.uri
        source.do("migrate", uri=uri)
        if any(c["state"] for c in source.do("query-migrate-capabilities")
               if c["capability"] == "pause-before-switchover"):
            while source.status() != "pre-switchover":
                source.events.append(source.message())
            source.do("migrate-continue", state="pre-switchover")
        ends = source.end_of_migration(), target.end_of_migration()
        run.finish()
    return run, ends


def kinds(facts, channel=None):
    return [e["kind"] for e in facts["timeline"]
            if channel in (None, e["channel"])]


@pytest.mark.parametrize("feature", FEATURES)
def test_a_migration_comes_through(feature, tmp_path):
    capabilities, channels = FEATURES[feature]
    source, target = pair(tmp_path, *capabilities, channels=channels)
    with source, target:
        words = ["--channels", channels] if channels else []
        run, ends = migrate(source, target, socket_name(tmp_path, "here"),
                            socket_name(tmp_path, "there"), "--json",
                            "--strict", *words)
    run.ok()
    assert ends == ("completed", "completed")
    facts = run.json()
    assert facts["faults"] == 0 and facts["error"] is None
    assert facts["channels"] == channels
    assert facts["connections"] == channels + 1
    assert facts["pages"] + facts["zero_pages"] >= 64 * 256
    if "return-path" in capabilities:
        assert facts["shut"] == 0
        texts = [e["text"] for e in facts["timeline"]
                 if e["kind"] == "message"]
        assert "PONG 1" in texts
        assert texts[-1] == "SHUT 0: all was loaded"
        assert ("SWITCHOVER_ACK" in texts) == \
            ("switchover-ack" in capabilities)
    else:
        assert facts["shut"] is None
    phases = [e["text"].strip("- ") for e in facts["timeline"]
              if e["kind"] == "phase"]
    assert phases == ["pre-copy", "switchover", "load", "over"]
    assert facts["phases_ns"]["pre-copy"] > 0
    assert "SWITCHOVER_START" in [e["text"] for e in facts["timeline"]]


def test_over_tcp(tmp_path):
    source, target = pair(tmp_path, "return-path", "multifd", channels=2)
    with source, target:
        target.do("migrate-incoming", uri="tcp:127.0.0.1:0")
        port = target.do("query-migrate")["socket-address"][0]["port"]
        with proxy("tcp:127.0.0.1:0", f"tcp:127.0.0.1:{port}", "--json",
                   "--strict") as run:
            source.do("migrate", uri=run.uri)
            assert source.end_of_migration() == "completed"
            assert target.end_of_migration() == "completed"
            run.finish().ok()
    assert run.json()["channels"] == 2


def test_the_timeline_is_told_as_it_happens(tmp_path):
    source, target = pair(tmp_path, "return-path")
    timeline = tmp_path / "timeline"
    with source, target:
        run, ends = migrate(source, target, socket_name(tmp_path, "here"),
                            socket_name(tmp_path, "there"), "--events",
                            timeline)
    run.ok()
    entries = [json.loads(line) for line in timeline.read_text().splitlines()]
    assert [e["ns"] for e in entries] == sorted(e["ns"] for e in entries)
    for entry in entries:
        assert entry["text"] in run.stdout
    assert "switchover " in run.stdout and "rounds" in run.stdout


def test_a_cancelled_migration_ends_at_both_sides(tmp_path):
    source, target = pair(tmp_path, "return-path")
    with source, target:
        # So slow that there is time to cancel it.
        source.do("migrate-set-parameters", max_bandwidth=1)
        target.do("migrate-incoming", uri=socket_name(tmp_path, "there"),
                  exit_on_error=False)
        with proxy(socket_name(tmp_path, "here"),
                   socket_name(tmp_path, "there")) as run:
            source.do("migrate", uri=run.uri)
            while source.status() in ("none", "setup"):
                pass
            source.do("migrate_cancel")
            assert source.end_of_migration() in ("cancelled", "failed")
            assert target.end_of_migration() == "failed"
            run.finish().exits(1)
    # Either is seen first.
    assert "the stream ends" in run.stderr or "hung up" in run.stderr


def test_a_target_that_is_another_machine_is_seen_to_fail(tmp_path):
    source, unused = pair(tmp_path, "return-path")
    unused.__exit__()
    with source, Qemu(tmp_path, "other", "-incoming", "defer",
                      machine=("-M", "q35", "-m", "64", "-nodefaults",
                               "-display", "none")) as target:
        target.allow("return-path")
        target.do("migrate-incoming", uri=socket_name(tmp_path, "there"),
                  exit_on_error=False)
        with proxy(socket_name(tmp_path, "here"),
                   socket_name(tmp_path, "there")) as run:
            source.do("migrate", uri=run.uri)
            assert source.end_of_migration() == "failed"
            assert target.end_of_migration() == "failed"
            run.finish().exits(1)
        assert source.do("query-status")["status"] != "postmigrate"
    assert "one side hung up" in run.error()
