"""Doing without the garbage collector for a while."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager
from threading import get_ident

from apxm.forks import tell_of_forks


@contextmanager
def without_collector() -> Generator[None]:
    """Turns the collector off, for work whose objects live to its end: looking for garbage is a third of the cost of
    a large parse, and half of that of a large simulated run, and makes their time grow faster than their size. The
    setting is the process's; threads at most see it restored early."""
    enabled = gc.isenabled()
    gc.disable()
    if enabled:
        _off.threads.add(get_ident())
    try:
        yield
    finally:
        if enabled:
            _off.threads.discard(get_ident())
            gc.enable()


class _Pauses:
    def __init__(self) -> None:
        self.threads: set[int] = set()
        """The threads that turned the collector off, and will turn it on again."""
        tell_of_forks(self)

    def forked(self) -> None:
        if self.threads - {get_ident()}:
            gc.enable()
        self.threads &= {get_ident()}


_off = _Pauses()
