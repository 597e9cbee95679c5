"""Ctrl-C, SIGTERM and SIGHUP during a run.

One of them that was ignored when the process began stays so: a shell's background job ignores Ctrl-C, and what nohup
starts ignores SIGHUP. Where a terminal is closed SIGHUP comes twice, from the shell and, when that is gone, from the
kernel: further ones are the same.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Protocol

from apxm.cli.starting import SIGNALS, leave
from apxm.cli.terminal import note
from apxm.reports.progress import RunState, state_lines
from apxm.runtime.trace import Status


class Stoppable(Protocol):
    def stop(self, status: Status) -> None: ...


class Interruption:
    """While entered, the first signal ends the run in order, and a second one ends the process at once.

    The handlers are Python's and not the loop's, whose turn would come only when the loop is free: a run may work on
    large texts for a while, and it must be possible to end that too.
    """

    def __init__(self, run: Stoppable) -> None:
        self._run = run
        self.signal_number = 0
        """The signal that came, or 0."""

    def __enter__(self) -> Interruption:
        self._loop = asyncio.get_running_loop()
        self._before = {number: signal.signal(number, self._stop) for number in _heeded()}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self.signal_number:
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.signal_number = number
        for other in self._before:
            signal.signal(other, signal.SIG_IGN if number == other == _HANGUP else signal.SIG_DFL)
        self._loop.call_soon_threadsafe(self._run.stop, Status.INTERRUPTED)


@contextmanager
def signals_as_ctrl_c() -> Generator[None]:
    """Ctrl-C unwinds the block, so that nothing it opened is left behind. SIGTERM and SIGHUP do as Ctrl-C, and leave
    with 143 and 129.

    They are passed on to whatever handles SIGINT at that moment. Inside `asyncio.Runner.run` that cancels the main
    task; an exception raised from the handler would come out of whichever callback of the loop was running, foreign
    ones included, which may swallow it or make another error of it.
    """
    came: int = signal.SIGINT

    def pass_on(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = number
        if number == _HANGUP:
            signal.signal(number, signal.SIG_IGN)
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler):
            handler(number, frame)
        else:  # Ctrl-C is ignored, as in a shell's background job
            raise KeyboardInterrupt

    def lost(raised: sys.UnraisableHookArgs) -> None:
        # It came while a destructor ran, out of which nothing can be raised. It is meant all the same.
        if issubclass(raised.exc_type, KeyboardInterrupt):
            os._exit(128 + came)
        hook(raised)

    before = {number: signal.getsignal(number) for number in _heeded()}
    hook = sys.unraisablehook
    try:
        try:
            sys.unraisablehook = lost
            for number in before:
                if number != signal.SIGINT:
                    signal.signal(number, pass_on)
                elif before[number] is leave:
                    # Only where this one is in place does `asyncio.Runner` cancel its main task.
                    signal.signal(number, signal.default_int_handler)
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            sys.unraisablehook = hook
    except KeyboardInterrupt:
        if came != signal.SIGINT:
            raise SystemExit(128 + came) from None
        raise


@contextmanager
def told_by_signal(state: Callable[[], RunState]) -> Generator[None]:
    """SIGUSR1 writes to standard error what a run is doing, as soon as its loop is free. One that somebody else has
    taken is left to them, and so is Windows, which has none."""
    number = getattr(signal, "SIGUSR1", None)
    if number is None or signal.getsignal(number) is not signal.SIG_DFL:
        yield
        return
    loop = asyncio.get_running_loop()

    def tell() -> None:
        for line in state_lines(state(), sys.maxsize):
            note(line)

    before = signal.signal(number, handler := lambda _number, _frame: loop.call_soon_threadsafe(tell))
    try:
        yield
    finally:
        if signal.getsignal(number) is handler:
            signal.signal(number, before)


_HANGUP = signal.SIGHUP if sys.platform != "win32" else 0


def _heeded() -> list[signal.Signals]:
    return [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
