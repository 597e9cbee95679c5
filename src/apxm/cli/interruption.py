"""Ctrl-C and SIGTERM during a run."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType, TracebackType

from apxm.cli.starting import leave
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Status

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """While entered, the first signal ends the run in order, and a second one ends the process at once.

    The handlers are Python's and not the loop's, whose turn would come only when the loop is free: a run may work on
    large texts for a while, and it must be possible to end that too.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self.signal_number = 0
        """The signal that came, or 0."""

    def __enter__(self) -> Interruption:
        self._loop = asyncio.get_running_loop()
        self._before = {number: signal.signal(number, self._stop) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self.signal_number:
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.signal_number = number
        for other in SIGNALS:
            signal.signal(other, signal.SIG_DFL)
        self._loop.call_soon_threadsafe(self._run.stop, Status.INTERRUPTED)


@contextmanager
def sigterm_as_ctrl_c() -> Generator[None]:
    """Ctrl-C unwinds the block, so that nothing it opened is left behind, and SIGTERM does as Ctrl-C and leaves with
    143.

    SIGTERM is passed on to whatever handles SIGINT at that moment. Inside `asyncio.Runner.run` that cancels the main
    task; an exception raised from the handler would come out of whichever callback of the loop was running, foreign
    ones included, which may swallow it or make another error of it.
    """
    came = False

    def pass_on(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler):
            handler(number, frame)
        else:  # Ctrl-C is ignored, as in a shell's background job
            raise KeyboardInterrupt

    def lost(raised: sys.UnraisableHookArgs) -> None:
        # It came while a destructor ran, out of which nothing can be raised. It is meant all the same.
        if issubclass(raised.exc_type, KeyboardInterrupt):
            os._exit(128 + (signal.SIGTERM if came else signal.SIGINT))
        hook(raised)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    hook = sys.unraisablehook
    try:
        try:
            sys.unraisablehook = lost
            if before[signal.SIGINT] is leave:
                # Only where this one is in place does `asyncio.Runner` cancel its main task.
                signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, pass_on)
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            sys.unraisablehook = hook
    except KeyboardInterrupt:
        if came:
            raise SystemExit(128 + signal.SIGTERM) from None
        raise
