"""How far a run is, shown to whoever waits for it: on the last line of a terminal, or below the cell of a notebook."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from typing import Any, Protocol

from apxm.api import in_notebook
from apxm.lanes.run import LaneRun
from apxm.reports.progress import progress_text

logger = logging.getLogger("apxm")

_AFTER_S = 2.0
"""Who waits no longer than this is not told."""
_INTERVAL_S = 0.2
_NOTEBOOK_INTERVAL_S = 0.5
_WIDE = 80
"""Where nobody knows; a new pseudo-terminal says 0 columns."""
_ONE = threading.Lock()
"""There is one last line."""


class Display(Protocol):
    interval_s: float

    def draw(self, run: LaneRun) -> None: ...

    def clear(self) -> None:
        """Makes room for what the run writes."""

    def end(self, run: LaneRun) -> None: ...


class TerminalLine(Display):
    """Drawn over itself, on standard error."""

    interval_s = _INTERVAL_S

    def __init__(self) -> None:
        self._stream = sys.stderr
        self._shown = False

    def draw(self, run: LaneRun) -> None:
        if not run.line_is_open:  # else it would be drawn over
            width = self._width()
            self._stream.write(f"\r\x1b[K{progress_text(run.progress(), width)[: width - 1]}")
            self._stream.flush()
            self._shown = True

    def clear(self) -> None:
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._shown = False

    def end(self, run: LaneRun) -> None:
        del run
        self.clear()

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or _WIDE
        except (OSError, ValueError):  # no terminal behind it, or no file
            return _WIDE


class NotebookLine(Display):
    """An output of the cell, which changes."""

    interval_s = _NOTEBOOK_INTERVAL_S

    def __init__(self) -> None:
        self._handle: Any = None

    def draw(self, run: LaneRun) -> None:
        shown = {"text/plain": progress_text(run.progress(), _WIDE)}
        if self._handle is None:
            self._handle = import_module("IPython.display").display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)

    def clear(self) -> None:
        """What is written stands in an output of its own."""

    def end(self, run: LaneRun) -> None:
        if self._handle is not None:
            self.draw(run)


def display() -> Display | None:
    """Where the user looks; None where nobody does."""
    if in_notebook():
        return NotebookLine()
    with suppress(AttributeError, ValueError):  # there is none, or it is closed
        if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            return TerminalLine()
    return None


@asynccontextmanager
async def shown(run: LaneRun, *, wanted: bool) -> AsyncGenerator[None]:
    """Shows how far a run is, as soon as it takes a while, where it is `wanted` and somebody looks."""
    found = display() if wanted else None
    if found is None or not _ONE.acquire(blocking=False):
        yield
        return
    run.before_writing = found.clear
    drawing = asyncio.ensure_future(_draw(run, found))
    try:
        yield
    finally:
        drawing.cancel()
        _drawn(found.end, run)
        _ONE.release()


async def _draw(run: LaneRun, found: Display) -> None:
    await asyncio.sleep(_AFTER_S)
    while True:
        if not _drawn(found.draw, run):
            return
        await asyncio.sleep(found.interval_s)


def _drawn(draw: Callable[[LaneRun], None], run: LaneRun) -> bool:
    """Whether that worked. A run does not fail because nobody can see how far it is."""
    try:
        draw(run)
    except Exception as error:  # the terminal is gone, for instance
        logger.debug("how far the run is cannot be shown: %r", error)
        return False
    return True
