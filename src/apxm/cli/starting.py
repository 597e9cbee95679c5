"""Ctrl-C, SIGTERM and SIGHUP while there is nothing to end in order: until a command opens something, and after its
last word.

An exception raised from the handler would come out of whichever import is going on. What is being imported may make
another error of it, or lose it, and then the command would go on.

This file is loaded first, so it loads nothing.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, *([] if sys.platform == "win32" else [signal.SIGHUP]))
"""The signals that ask a process to end."""

_NOBODY_CHOSE = (signal.SIG_DFL, signal.default_int_handler)


def leave_on_signals() -> None:
    """Has `SIGNALS` end the process at once from here on. One that is ignored, as in a shell's background job or
    under nohup, stays so."""
    for number in SIGNALS:
        if signal.getsignal(number) in _NOBODY_CHOSE:
            signal.signal(number, leave)


def leave(number: int, frame: FrameType | None) -> NoReturn:
    """A handler of signals."""
    del frame
    os._exit(128 + number)
