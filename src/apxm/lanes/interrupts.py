"""Ctrl-C, while asyncio runs a flow: `asyncio.Runner` cancels its task, and nobody in there hears why."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any, cast


class _Heard:
    """Handles Ctrl-C in the place of what a runner does, which comes behind it."""

    def __init__(self, before: Callable[[int, FrameType | None], Any]) -> None:
        self.before = before
        self.told: list[Callable[[], object]] = []
        """Several flows may run in one event loop."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        for tell in self.told:
            tell()
        self.before(number, frame)


@contextmanager
def interrupts(tell: Callable[[], object]) -> Generator[None]:
    """Calls `tell` where Ctrl-C is about to cancel the task of a runner. Whoever else handles it decides what it
    means."""
    handler = signal.getsignal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else None
    if isinstance(handler, partial) and isinstance(getattr(handler.func, "__self__", None), asyncio.Runner):
        handler = _Heard(cast("partial[None]", handler))
        signal.signal(signal.SIGINT, handler)
    if not isinstance(handler, _Heard):
        yield
        return
    handler.told.append(tell)
    try:
        yield
    finally:
        handler.told.remove(tell)
        if not handler.told and signal.getsignal(signal.SIGINT) is handler:
            signal.signal(signal.SIGINT, handler.before)
