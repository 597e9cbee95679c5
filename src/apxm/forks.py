"""What a forked process begins anew: of its parent's threads it has only the one that forked, and what the others held,
locks and slots and files, nobody there would ever give back.
"""

from __future__ import annotations

import os
import sys
import threading
from types import TracebackType
from typing import Protocol
from weakref import WeakSet


class ForkObserver(Protocol):
    def forked(self) -> None:
        """Called in a forked process before anything else, in its only thread."""
        ...


_things: WeakSet[ForkObserver] = WeakSet()


def tell_of_forks(thing: ForkObserver) -> None:
    """Has `thing.forked` called, for as long as there is this thing, in each process that is forked from this one."""
    _things.add(thing)


def _forked() -> None:
    for thing in list(_things):
        thing.forked()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forked)


class ProcessLock:
    """A lock among the threads of a process, free in one that was just forked."""

    def __init__(self) -> None:
        self.forked()
        tell_of_forks(self)

    def forked(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock.release()
