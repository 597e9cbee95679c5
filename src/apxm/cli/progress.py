"""The line that moves while a run goes on, on a terminal only."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from apxm.cli.terminal import is_terminal, tell
from apxm.reports.progress import progress_text

if TYPE_CHECKING:  # the runtime, which most commands that print something do not need
    from apxm.runtime.progress import Progress

INTERVAL_S = 0.1
_WIDE = 80
"""Where nobody knows; a new pseudo-terminal says 0 columns."""


def terminal_width() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _WIDE
    except (OSError, ValueError):  # no terminal behind it, or no file
        return _WIDE


class ProgressLine:
    """``3 done, 8 running, 2 waiting; 0:12; 1,234 tokens; cost 0.0021``, on the last line of standard error, drawn over
    itself."""

    def __init__(self, wanted: bool) -> None:
        self.active = wanted and is_terminal(sys.stderr)
        self._shown = False

    def draw(self, progress: Progress) -> None:
        self.say(progress_text(progress, terminal_width()))

    def say(self, text: str) -> None:
        """`text` is ours. What is wider than the terminal is cut: only one line can be drawn over."""
        if self.active:
            tell(f"\r\x1b[K{text[: terminal_width() - 1]}")
            self._shown = True

    def clear(self) -> None:
        """Makes room for a line of output, or for the end."""
        if self._shown:
            tell("\r\x1b[K")
            self._shown = False
