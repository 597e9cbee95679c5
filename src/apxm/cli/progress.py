"""What moves on a terminal while a run goes on, and the lines that stand for it elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from apxm.cli.terminal import is_terminal, tell

if TYPE_CHECKING:  # most commands that print something need no run
    from apxm.reports.progress import RunState

INTERVAL_S = 0.1
LINES_EACH_S = 5.0
"""How often a line tells of a run where there is no terminal."""
MOST_SHOWN = 5
"""Calls that are shown by themselves, those that take longest."""
LONG_S = 1.0
"""What takes less is not shown by itself: nobody could read it."""
_WIDE = 80
"""Where nobody knows; a new pseudo-terminal says 0 columns."""


def terminal_width() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _WIDE
    except (OSError, ValueError):  # no terminal behind it, or no file
        return _WIDE


class ProgressLine:
    """``3 done, 8 running, 2 waiting; 0:12; 1,234 tokens; cost 0.0021`` and what takes longest, on the last lines of
    standard error, drawn over themselves."""

    def __init__(self, wanted: bool) -> None:
        self.moves = wanted and is_terminal(sys.stderr)
        """Whether there is a terminal to draw on."""
        self.active = self.moves
        """Whether that is still its own."""
        self._shown = 0
        """The lines that stand there now."""

    def draw(self, state: RunState) -> None:
        """Shows a run, and the calls that hold it up."""
        from apxm.reports.progress import state_lines

        self._draw(state_lines(state, terminal_width()))

    def say(self, text: str) -> None:
        """`text` is ours."""
        self._draw([text])

    def _draw(self, lines: Sequence[str]) -> None:
        """What is wider than the terminal is cut: a line that wraps could not be drawn over."""
        if self.active:
            width = terminal_width() - 1
            tell(self._back() + "\n".join(line[:width] for line in lines))
            self._shown = len(lines)

    def _back(self) -> str:
        """Goes to the begin of what stands there, and takes it away."""
        return f"\x1b[{self._shown - 1}A\r\x1b[J" if self._shown > 1 else "\r\x1b[K"

    def clear(self) -> None:
        """Makes room for a line of output, or for the end."""
        if self._shown:
            tell(self._back())
            self._shown = 0
