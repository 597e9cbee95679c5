"""The line that moves while a run goes on, on a terminal only."""

from __future__ import annotations

import os
import sys

from apxm.reports.terminal import is_terminal, tell
from apxm.runtime.scheduler import Progress

INTERVAL_S = 0.1
_WIDE = 80
"""Where nobody knows; a new pseudo-terminal says 0 columns."""


def _width() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _WIDE
    except (OSError, ValueError):  # no terminal behind it, or no file
        return _WIDE


class ProgressLine:
    """``3 done, 8 running, 2 waiting``, on the last line of standard error, drawn over itself."""

    def __init__(self, wanted: bool) -> None:
        self.active = wanted and is_terminal(sys.stderr)
        self._shown = False

    def draw(self, progress: Progress) -> None:
        done, running, waiting = progress
        self.say(f"{done:,} done, {running:,} running, {waiting:,} waiting")

    def say(self, text: str) -> None:
        """`text` is ours. What is wider than the terminal is cut: only one line can be drawn over."""
        if self.active:
            tell(f"\r\x1b[K{text[: _width() - 1]}")
            self._shown = True

    def clear(self) -> None:
        """Makes room for a line of output, or for the end."""
        if self._shown:
            tell("\r\x1b[K")
            self._shown = False
