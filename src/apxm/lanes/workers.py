"""Greenlets that run one lane after another.

A greenlet's frames lie on pages of its own, which Python asks the system for as it begins and gives back as it ends:
that costs half as much as all else about a lane of three calls. So one whose lane is over waits for the next, of
whichever run. It does in the main thread only: a greenlet that waits when its thread ends is never freed.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident, main_thread

from greenlet import greenlet

MOST_IDLE = 1024
"""The most that wait, which hold some 10 KiB each."""
_MAIN = main_thread().ident


class Worker(greenlet):
    """A greenlet that runs what it is given, and then waits to be given more."""

    def __init__(self, parent: greenlet) -> None:
        super().__init__(self._work, parent)
        self.task: Callable[[], bool] | None = None
        """What it does when it is next switched to; false where it has to end behind that."""

    def _work(self, _outcome: object = None) -> None:
        while self.task is not None:
            goes_on = self.task()
            self.task = None
            if not goes_on or len(IDLE) >= MOST_IDLE or get_ident() != _MAIN:
                return
            self.gr_context = None  # it would keep the lane
            IDLE.append(self)
            self.parent.switch()  # pyright: ignore[reportOptionalMemberAccess] - only a thread's main one has none


IDLE: list[Worker] = []
"""Those that wait."""


def worker(parent: greenlet, task: Callable[[], bool]) -> Worker:
    """A greenlet that runs `task` when it is switched to, and switches to `parent` then."""
    if not IDLE or get_ident() != _MAIN:
        found = Worker(parent)
    else:
        found = IDLE.pop()
        if found.parent is not parent:
            found.parent = parent
    found.task = task
    return found
