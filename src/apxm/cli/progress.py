"""The line that moves while a run goes on, on a terminal only."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from apxm.cli.terminal import is_terminal, tell
from apxm.reports.summary import count

if TYPE_CHECKING:  # the runtime, which most commands that print something do not need
    from apxm.runtime.progress import Progress

INTERVAL_S = 0.1
_WIDE = 80
"""Where nobody knows; a new pseudo-terminal says 0 columns."""


def _width() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _WIDE
    except (OSError, ValueError):  # no terminal behind it, or no file
        return _WIDE


def _elapsed(seconds: int) -> str:
    """``0:07``, ``12:34``, ``1:02:03``: of one width for a while, so that the line does not jump."""
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


class ProgressLine:
    """``3 done, 8 running, 2 waiting; 0:12; 1,234 tokens; cost 0.0021``, on the last line of standard error, drawn over
    itself."""

    def __init__(self, wanted: bool) -> None:
        self.active = wanted and is_terminal(sys.stderr)
        self._shown = False

    def draw(self, progress: Progress) -> None:
        parts = [
            f"{progress.done:,} done, {progress.running:,} running, {progress.waiting:,} waiting",
            _elapsed(progress.elapsed_ns // 1_000_000_000),
            *([count(progress.tokens, "token")] if progress.tokens else []),
            *([] if progress.cost is None else [f"cost {progress.cost:.4g}"]),
        ]
        # What does not fit is left out whole: half of a number would be another one.
        while len(parts) > 1 and len("; ".join(parts)) >= _width():
            parts.pop()
        self.say("; ".join(parts))

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
