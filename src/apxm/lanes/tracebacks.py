"""Tracebacks without what is not the user's."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType


def kept(traceback: TracebackType | None, is_kept: Callable[[str], bool]) -> TracebackType | None:
    """The entries of a traceback whose files are to be seen."""
    entries: list[TracebackType] = []
    while traceback is not None:
        if is_kept(traceback.tb_frame.f_code.co_filename):
            entries.append(traceback)
        traceback = traceback.tb_next
    found: TracebackType | None = None
    for entry in reversed(entries):
        found = TracebackType(found, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return found
