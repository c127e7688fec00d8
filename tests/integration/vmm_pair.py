# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""Drives examples/vmm: machines with devices, that send their VM to each
other.  Nothing sleeps: a machine's standard output is waited for, with a
deadline."""
import json
import os
import select
import signal
import subprocess
import time

DEADLINE = 60.0


def program(*parts):
    return os.path.join(os.environ["VFMIG_BUILD"], *parts)


class Lines:
    """Standard output of a program, line by line."""

    def __init__(self, process):
        self.process = process
        self.buffer = b""

    def next(self, timeout=DEADLINE):
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([self.process.stdout], [], [], timeout)
            assert ready, f"{self.process.args[0]}: says nothing"
            more = os.read(self.process.stdout.fileno(), 65536)
            if not more:
                return None
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode()


class Device:
    """An emulated device; it outlives the machines that use it."""

    def __init__(self, path, *options):
        self.path = path
        self.process = subprocess.Popen(
            [program("emulator", "vfmig-device"), "--socket", path, *options],
            stdout=subprocess.PIPE)
        assert Lines(self.process).next().startswith("listening")

    def kill(self):
        self.process.kill()
        self.process.wait(DEADLINE)

    def close(self):
        if self.process.poll() == -signal.SIGKILL:
            self.process.stdout.close()
            return
        self.process.send_signal(signal.SIGTERM)
        self.process.stdout.close()
        assert self.process.wait(DEADLINE) == 0


class Machine:
    """A VMM, running or waiting for a VM."""

    def __init__(self, devices, *options, incoming=None):
        command = [program("examples", "vmm", "vmm"), *options]
        for device in devices:
            command += ["--device", f"vfio-user:{device.path}"]
        if incoming is not None:
            command += ["--incoming", incoming]
        self.devices = devices
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.lines = Lines(self.process)
        self.events = []
        self.ready = self.await_event("READY")
        if incoming is not None:
            self.address = self.await_event("LISTENING")["address"]

    def _next(self):
        line = self.lines.next()
        return None if line is None else json.loads(line)

    def await_event(self, name, **members):
        """The next event of that name with these members; None: it ended."""
        while True:
            for i, said in enumerate(self.events):
                if said["event"] == name and \
                        members.items() <= said.items():
                    del self.events[:i + 1]
                    return said
            said = self._next()
            if said is None:
                return None
            if "event" in said:  # or the answer to what was only said
                self.events.append(said)

    def wait(self, seconds):
        """Lets it go on for so long, or until its migration is over."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if any(said["event"] == "MIGRATION" for said in self.events):
                return
            if b"\n" not in self.lines.buffer and not select.select(
                    [self.process.stdout], [], [], left)[0]:
                return
            said = self._next()
            if said is None:
                return
            if "event" in said:
                self.events.append(said)

    def say(self, command):
        self.process.stdin.write((command + "\n").encode())
        self.process.stdin.flush()

    def ask(self, command):
        """The answer; an error is an AssertionError."""
        self.say(command)
        while True:
            said = self._next()
            assert said is not None, f"ended at {command}"
            if "event" in said:
                self.events.append(said)
                continue
            assert "return" in said, (command, said)
            return said["return"]

    def refuse(self, command):
        """The error that a command is answered with."""
        self.say(command)
        while True:
            said = self._next()
            if "event" in said:
                self.events.append(said)
                continue
            return said["error"]

    def over(self):
        """What became of the migration."""
        return self.await_event("MIGRATION")

    def jobs(self, command="check-chain"):
        """How many jobs the unbroken chain has."""
        answer = self.ask(command)
        assert answer["chain"] == "unbroken"
        return answer["jobs"]

    def kill(self):
        self.process.kill()
        self.end()

    def quit(self):
        if self.process.poll() is None:
            self.say("quit")
        return self.end()

    def end(self):
        """Waits until it has ended; its exit status."""
        self.process.stdin.close()
        status = self.process.wait(DEADLINE)
        self.process.stdout.close()
        return status
