"""What goes to standard output: data, and what a program prints."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys

from apxm.errors import ApxmError
from apxm.reports.progress import ProgressLine
from apxm.reports.terminal import discard

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def for_terminal(text: str) -> str:
    """`text` without the power to drive a terminal: control characters, and those that reverse text, are escaped.

    Unlike `printable` it keeps line ends, tabs and every kind of space: this is an answer to be read, not a quotation.
    """
    plain = text.replace("\r\n", "\n")
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), plain)


class OutputClosedError(Exception):
    """Nobody reads standard output any more."""


def write(text: str) -> None:
    """Writes text and a line end to standard output at once; as it is, except on a terminal (`for_terminal`).

    Raises `OutputClosedError`, which unlike `BrokenPipeError` no library on the way takes for its own."""
    try:
        print(for_terminal(text) if sys.stdout.isatty() else text, flush=True)
    except BrokenPipeError:
        raise OutputClosedError from None
    except OSError as error:
        if stat.S_ISCHR(os.fstat(sys.stdout.fileno()).st_mode) and error.errno == errno.EIO:
            raise OutputClosedError from None  # a terminal that was closed; the system does not call it one any more
        raise ApxmError(f"standard output cannot be written: {error.strerror}") from error


class ProgramOutput:
    """The lines of a run, which share the terminal with its progress."""

    def __init__(self, progress: ProgressLine) -> None:
        self._progress = progress
        self.closed = False
        """Whether the reader went away."""

    def line(self, text: str) -> None:
        if self.closed:
            return
        self._progress.clear()
        try:
            write(text)
        except OutputClosedError:
            self.closed = True
            discard(sys.stdout)
