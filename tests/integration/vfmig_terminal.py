# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""vfmig with standard error on a terminal, whose screen the test reads."""
import fcntl
import os
import pty
import select
import struct
import termios
import time

from vfmig_programs import DEADLINE, Run


class Terminal(Run):
    """A run of vfmig whose standard error is a terminal of its own."""

    def __init__(self, *words, columns=100, **options):
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ,
                    struct.pack("HHHH", 24, columns, 0, 0))
        options["env"] = {**os.environ, "TERM": "xterm",
                          **options.get("env", {})}
        super().__init__(*words, stderr=theirs, **options)
        os.close(theirs)
        self.seen = ""

    def __exit__(self, *rest):
        super().__exit__(*rest)
        os.close(self.ours)

    def read(self, seconds):
        """Reads what comes; returns False at the end."""
        if not select.select([self.ours], [], [], seconds)[0]:
            raise TimeoutError(f"the terminal shows {self.seen!r}")
        try:
            data = os.read(self.ours, 65536)
        except OSError:  # EIO: nobody has it open any more
            data = b""
        self.seen += data.decode()
        return bool(data)

    def wait_for(self, text, seconds=DEADLINE):
        end = time.monotonic() + seconds
        while text not in self.seen:
            if not self.read(max(0, end - time.monotonic())):
                raise EOFError(f"no {text!r} in {self.seen!r}")

    def read_to_end(self, seconds=DEADLINE):
        end = time.monotonic() + seconds
        while self.read(max(0, end - time.monotonic())):
            pass

    def screen(self):
        """The lines that are left when all has been drawn."""
        lines = []
        for line in self.seen.replace("\r\n", "\n").split("\n"):
            shown = ""
            for part in line.split("\r"):
                text = part.replace("\x1b[K", "")
                shown = text if "\x1b[K" in part else \
                    text + shown[len(text):]
            lines.append(shown)
        return [line for line in lines if line]
