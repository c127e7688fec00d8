# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""Moves in QEMU's stream, with the rest of a machine around the device: --peer qemu
--rest at both ends."""
import json
import lzma
import socket

from bench import DEADLINE, Tool
from commands import STREAMS
from scenarios import Move, is_unreported

CAPTURE = STREAMS / "qemu-10.0.2-precopy"


class MoveRest(Move):
    words = ("-q", "--peer", "qemu")

    def __init__(self, folder):
        truth = json.loads((CAPTURE / "truth.json").read_text())
        (section, _), = truth["vfio"].items()
        self.id = section.removesuffix("/vfio")
        super().__init__(folder)
        self.rest = folder / "rest"
        self.kept = folder / "kept"
        try:
            self.take_rest()
        except BaseException:
            self.close()
            raise

    def take_rest(self):
        """What a QEMU sent, but for its device."""
        from vfio_user import Device
        device = Device(self.folder, "--accept-any", "--vectors", "5",
                        name="taker")
        try:
            receiver = Tool("receive", "-q", "--peer", "qemu", "-d",
                            f"vfio-user:{device.path},id={self.id}", "--rest",
                            self.rest, f"unix:{self.folder}/taken")
            path = receiver.line().split("unix:")[1].strip()
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(DEADLINE)
                s.connect(path)
                s.sendall(lzma.decompress(
                    (CAPTURE / "main.bin.xz").read_bytes()))
                s.shutdown(socket.SHUT_WR)
                while s.recv(4096):
                    pass
            assert receiver.finish().code == 0, receiver.story()
        finally:
            device.kill()

    def devices(self, sides):
        return ["-d", f"{sides[0].word},id={self.id}"]

    def before(self):
        self.kept.unlink(missing_ok=True)

    def sender_words(self):
        return ("--rest", self.rest)

    def receiver_words(self):
        return ("--rest", self.kept)

    def target(self, v, code):
        super().target(v, code)
        if code == 0:
            v.must(self.kept.exists(), "the rest is not kept")
        else:
            v.must(not self.kept.exists() or self.came_too_late(),
                   "half a rest is left")

    def came_too_late(self):
        """The rest was complete, and under its name, when it failed."""
        return is_unreported(self.receiver) or \
            "cannot write the directory" in self.receiver.err


class SendRest(MoveRest):
    name = "send-rest"


class ReceiveRest(MoveRest):
    name, fails = "receive-rest", "receive"


RESTS = {c.name: c for c in (SendRest, ReceiveRest)}
