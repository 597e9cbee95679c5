"""When a simulator process ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from contextlib import suppress

_SIGNALS = (signal.SIGINT, signal.SIGTERM, *([] if sys.platform == "win32" else [signal.SIGHUP]))


def told_to_end(*, by_input: bool = False) -> asyncio.Future[int]:
    """A future that SIGINT, SIGTERM or SIGHUP sets to its number from here on, unless it is ignored; with `by_input`
    the end of standard input does, too, to 0. After the first signal the next one ends the process at once.

    Called while an event loop runs.
    """
    loop = asyncio.get_running_loop()
    told: asyncio.Future[int] = loop.create_future()
    heeded = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]

    def stop(number: int) -> None:
        for other in heeded:
            loop.remove_signal_handler(other)
            signal.signal(other, signal.SIG_DFL)
        if not told.done():
            told.set_result(number)

    for number in heeded:
        try:
            loop.add_signal_handler(number, stop, number)
        except NotImplementedError:  # Windows: there Ctrl-C cancels the task that awaits this
            break
    if by_input:
        # A thread, because the input may be anything: an event loop could wait for a pipe, but not for a file.
        threading.Thread(target=_read_to_end, args=(loop, told), daemon=True).start()
    return told


def _read_to_end(loop: asyncio.AbstractEventLoop, told: asyncio.Future[int]) -> None:
    with suppress(OSError):  # closed from the start
        while os.read(0, 4096):
            pass
    with suppress(RuntimeError):  # the loop has ended first
        loop.call_soon_threadsafe(lambda: told.done() or told.set_result(0))
