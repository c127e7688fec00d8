# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""An unmodified QEMU: started, spoken to, and its VM's device driven.

QEMU connects to sockets of ours, so there is nothing to wait for but its
connection.  The VM runs SeaBIOS and has nothing to boot; its firmware places
the device, and the test does what a driver would, by qtest.
"""
import hashlib
import json
import os
import select
import socket
import subprocess
import time

from vfmig_programs import BUILD, DEADLINE, Lines

QEMU = os.environ.get("VFMIG_QEMU", "qemu-system-x86_64")
VFMIG_RUN = str(BUILD / "bridge" / "vfmig-run")

RAM = 64 << 20
ECAM = 0xb0000000  # where SeaBIOS puts it on q35
SLOT = 5           # of the first device, on bus 0


class Refused(Exception):
    """QEMU answered with an error."""


class Peer:
    """A line-based connection that QEMU makes to us."""

    def __init__(self, folder, name):
        self.path = os.path.join(str(folder), name)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(1)
        self.listener.settimeout(DEADLINE)
        self.socket = None
        self.buffer = b""

    def accept(self):
        self.socket = self.listener.accept()[0]
        self.socket.settimeout(DEADLINE)

    def send(self, text):
        self.socket.sendall(text.encode())

    def line(self, seconds=DEADLINE):
        end = time.monotonic() + seconds
        while b"\n" not in self.buffer:
            left = max(0, end - time.monotonic())
            if not select.select([self.socket], [], [], left)[0]:
                raise TimeoutError(f"{self.path}: nothing for {seconds} s")
            data = self.socket.recv(1 << 20)
            if not data:
                raise EOFError(f"{self.path}: QEMU hung up")
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode()

    def close(self):
        self.listener.close()
        if self.socket is not None:
            self.socket.close()


class Qemu:
    """A QEMU whose VM has the devices of these sockets.

    `memory`: memfd, which the device can map, or anonymous.  `by`: group or
    cdev.  `properties` are those of every vfio-pci.
    """

    def __init__(self, folder, name, sockets, *words, memory="memfd",
                 by="group", properties="", machine="q35"):
        self.folder = str(folder)
        self.name = name
        self.qmp = Peer(folder, name + ".qmp")
        self.qtest = Peer(folder, name + ".qtest")
        self.events = []
        command = [VFMIG_RUN]
        for path in sockets:
            command += ["--device", str(path)]
        command += ["--", QEMU, "-nodefaults", "-no-user-config",
                    "-display", "none", "-accel", "tcg",
                    "-m", str(RAM >> 20), "-boot", "reboot-timeout=-1",
                    "-qmp", f"unix:{self.qmp.path}",
                    "-qtest", f"unix:{self.qtest.path}",
                    "-qtest-log", "none",
                    "-chardev", "stdio,id=con,signal=off",
                    "-device", "isa-debugcon,iobase=0x402,chardev=con"]
        if memory == "memfd":
            machine += ",memory-backend=mem"
            command += ["-object", "memory-backend-memfd,id=mem,share=on,"
                        f"size={RAM}"]
        command += ["-M", machine]
        if by == "cdev":
            command += ["-object", "iommufd,id=iommufd0"]
            properties += ",iommufd=iommufd0"
        for n in range(len(sockets)):
            command += ["-device", f"vfio-pci,host=5646:00:{n + 1:02x}.0,"
                        f"id=dev{n},addr={SLOT + n},enable-migration=on"
                        + properties]
        self.log = open(os.path.join(self.folder, name + ".log"), "w+b")
        self.process = subprocess.Popen([*command, *words],
                                        env={**os.environ,
                                             "TMPDIR": self.folder},
                                        stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE,
                                        stderr=self.log)
        self.console = Lines(self.process.stdout)
        try:
            self.begin()
        except (OSError, EOFError, TimeoutError) as error:
            self.close()
            raise AssertionError(f"{name}: {error}: {self.errors()}") from error

    def begin(self):
        """Until QEMU has connected, or ended."""
        for peer in self.qtest, self.qmp:
            ready = select.select([peer.listener, self.process.stdout], [], [],
                                  DEADLINE)[0]
            while peer.listener not in ready:
                data = os.read(self.console.fd, 65536) if ready else b""
                if not data:
                    raise EOFError("QEMU has ended")
                self.console.text += data.decode(errors="replace")
                ready = select.select([peer.listener, self.process.stdout],
                                      [], [], DEADLINE)[0]
            peer.accept()
        assert "QMP" in json.loads(self.qmp.line())
        self.run("qmp_capabilities")
        self.run("migrate-set-capabilities",
                 capabilities=[{"capability": "events", "state": True}])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(DEADLINE)
        self.process.stdout.close()
        self.log.close()
        self.qmp.close()
        self.qtest.close()

    def quit(self):
        """Ends it in good order."""
        self.run("quit")
        self.process.wait(DEADLINE)
        assert self.process.returncode == 0, self.errors()

    def errors(self):
        with open(self.log.name, encoding="utf-8", errors="replace") as f:
            return f.read()

    # ------------------------------------------------------------- QMP

    def run(self, command, **arguments):
        words = {key.replace("_", "-"): value
                 for key, value in arguments.items()}
        self.qmp.send(json.dumps({"execute": command,
                                  "arguments": words}) + "\n")
        while True:
            answer = json.loads(self.qmp.line())
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise Refused(answer["error"]["desc"])
            self.events.append(answer)

    def event(self, name, accept=lambda data: True, seconds=DEADLINE):
        """Waits for an event; returns its data."""
        end = time.monotonic() + seconds
        while True:
            event = self.events.pop(0) if self.events else \
                json.loads(self.qmp.line(max(0, end - time.monotonic())))
            data = event.get("data", {})
            if event.get("event") == name and accept(data):
                return data

    def capabilities(self, *names):
        self.run("migrate-set-capabilities",
                 capabilities=[{"capability": name, "state": True}
                               for name in names])

    def migration_status(self, *wanted):
        """Waits for one of these; another end is an error."""
        ends = {"completed", "failed", "cancelled"}
        status = self.event(
            "MIGRATION", lambda data: data["status"] in ends | set(wanted)
        )["status"]
        assert status in wanted, \
            f"{self.name}: {status}: {self.run('query-migrate')}: " \
            f"{self.errors()}"
        return status

    def memory(self):
        """The VM's memory: a digest of each page."""
        path = os.path.join(self.folder, self.name + ".ram")
        self.run("pmemsave", val=0, size=RAM, filename=path)
        try:
            with open(path, "rb") as f:
                return [hashlib.sha256(f.read(4096)).digest()
                        for _ in range(RAM // 4096)]
        finally:
            os.unlink(path)

    def pci_device(self, n=0):
        """What `info pci` knows of it."""
        for bus in self.run("query-pci"):
            for device in bus["devices"]:
                if device["qdev_id"] == f"dev{n}":
                    return device
        raise KeyError(f"dev{n}")

    # ----------------------------------------------------------- qtest

    def ask(self, *words):
        self.qtest.send(" ".join(words) + "\n")
        answer = self.qtest.line()
        assert answer.startswith("OK"), answer
        return answer[3:]

    def read(self, width, address):
        return int(self.ask(f"read{width}", hex(address)), 0)

    def write(self, width, address, value):
        self.ask(f"write{width}", hex(address), hex(value))

    def read_bytes(self, address, size):
        return bytes.fromhex(self.ask("read", hex(address), hex(size))[2:])

    def wait_for_firmware(self):
        """Until it has placed the devices and found nothing to boot."""
        self.console.wait_for("No bootable device")
