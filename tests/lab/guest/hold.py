# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""A relay that holds the link in the middle of a device's state, says so by a
file, and waits for whatever happens then.

    hold.py TARGET-URI SOCKET MARK
"""
import sys
import threading
from pathlib import Path

LAB = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(LAB.parent / "integration"))
sys.dont_write_bytecode = True

from relay import Relay  # noqa: E402

SOCKET = Path(sys.argv[2])
# Of the stream's bytes: the first device's section has begun.
MIDDLE = 150

relay = Relay(SOCKET.parent, ("stream", MIDDLE))
relay(sys.argv[1])
relay.wait_held(60)
Path(sys.argv[3]).touch()
threading.Event().wait(120)
