# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""Starts QEMU, lets its VM run, or stop, and migrates it.

    migrate.py [--stopped] [--capability NAME]... URI QEMU [ARGUMENT]...
"""
import argparse
import json
import subprocess
import sys
import threading

DEADLINE = 120


class Qemu:
    def __init__(self, command):
        self.process = subprocess.Popen([*command, "-qmp", "stdio"],
                                        stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.timer = threading.Timer(DEADLINE, self.process.kill)
        self.timer.start()
        self.events = []
        self.read()
        self.run("qmp_capabilities")

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"migrate: QEMU is gone, or said nothing for {DEADLINE} s")
        return json.loads(line)

    def run(self, command, **arguments):
        print(json.dumps({"execute": command, "arguments": arguments}),
              file=self.process.stdin, flush=True)
        while True:
            answer = self.read()
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                sys.exit(f"migrate: {command}: {answer['error']['desc']}")
            self.events.append(answer)

    def wait_migrated(self):
        while True:
            event = self.events.pop(0) if self.events else self.read()
            if event.get("event") != "MIGRATION":
                continue
            if event["data"]["status"] == "completed":
                return
            if event["data"]["status"] == "failed":
                info = self.run("query-migrate")
                sys.exit(f"migrate: {info.get('error-desc', info)}")

    def quit(self):
        self.run("quit")
        self.timer.cancel()
        return self.process.wait(DEADLINE)


parser = argparse.ArgumentParser()
parser.add_argument("--stopped", action="store_true")
parser.add_argument("--capability", action="append", default=[])
parser.add_argument("uri")
parser.add_argument("qemu", nargs=argparse.REMAINDER)
arguments = parser.parse_args()

qemu = Qemu(arguments.qemu)
qemu.run("migrate-set-capabilities",
         capabilities=[{"capability": name, "state": True}
                       for name in ["events", *arguments.capability]])
if arguments.stopped:
    qemu.run("stop")
status = qemu.run("query-status")["status"]
if status != ("paused" if arguments.stopped else "running"):
    sys.exit(f"migrate: the VM is {status}")
qemu.run("migrate", uri=arguments.uri)
qemu.wait_migrated()
sys.exit(qemu.quit())
