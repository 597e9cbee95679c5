"""Event loops of the user's own inside of lanes: ``asyncio.run`` in a flow.

A lane is a greenlet of the thread in which the run's event loop runs, and to its code no event loop is running. One
that it starts is parked with it: the marks by which asyncio knows in a thread which loop runs are lifted then, and put
back when it goes on. Where such a loop has nothing to do, it waits in its selector; there its lane is parked, until one
of its files is ready or its time has come.
"""

from __future__ import annotations

import signal
import sys
import threading
from asyncio import SelectorEventLoop
from asyncio.events import (
    _get_running_loop,  # pyright: ignore[reportPrivateUsage] - documented for those who write event loops
    _set_running_loop,  # pyright: ignore[reportPrivateUsage]
)
from collections.abc import Callable, Generator
from contextlib import contextmanager
from selectors import DefaultSelector
from typing import Any, NamedTuple, TypeVar, TypeVarTuple, Unpack

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

_AS_ONE = sys.version_info >= (3, 14)
"""Whether Python knows one running task in a thread, whichever loop it is of."""


class Marks(NamedTuple):
    """What a thread says of the event loop that runs in it."""

    loop: Any
    hooks: Any
    """Who is told of asynchronous generators."""
    task: Any


def lift(hooks: Any = None) -> Marks | None:
    """Lets no event loop seem to run in this thread, and gives what `put_back` takes; None where none does. With
    `hooks` these are told of asynchronous generators from here on."""
    loop = _get_running_loop()
    if loop is None:
        return None
    task = _swap_task(loop, None) if _AS_ONE else None
    own = None
    if hooks is not None:
        own = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(*hooks)
    _set_running_loop(None)
    return Marks(loop, own, task)


def put_back(marks: Marks | None) -> None:
    """Undoes `lift`."""
    if marks is None:
        return
    _set_running_loop(marks.loop)
    if marks.hooks is not None:
        sys.set_asyncgen_hooks(*marks.hooks)
    if marks.task is not None:
        _swap_task(marks.loop, marks.task)


def within(loop: Any, function: Callable[[Unpack[Ts]], R], *arguments: *Ts) -> R:
    """Calls a function to which `loop` runs in this thread."""
    marks = lift()
    _set_running_loop(loop)
    try:
        return function(*arguments)
    finally:
        _set_running_loop(None)
        if marks is not None:
            put_back(marks)


@contextmanager
def aside() -> Generator[None]:
    """No event loop seems to run in this thread meanwhile, so that another one can: the one that does stands still."""
    main = threading.current_thread() is threading.main_thread()
    descriptor = signal.set_wakeup_fd(-1) if main else -1
    marks = lift()
    try:
        yield
    finally:
        put_back(marks)
        if main:
            signal.set_wakeup_fd(descriptor)


def _swap_task(loop: Any, task: Any) -> Any:
    from asyncio import tasks

    return tasks._swap_current_task(loop, task)  # type: ignore[attr-defined]  # of Python 3.12 and later


def can_park() -> bool:
    """Whether the event loop that runs here, in a lane, lets others go on where it has nothing to do."""
    loop = _get_running_loop()  # there is none in trio, for instance
    return isinstance(loop, SelectorEventLoop) and isinstance(getattr(loop, "_selector", None), DefaultSelector)
