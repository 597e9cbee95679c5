"""The threads in which `asyncio.to_thread` works."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from threading import Thread
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class LooseThreads(Executor):
    """A thread per call, which holds up neither the end of its loop nor that of the process.

    A thread cannot be cancelled. Those of the standard pool are waited for, by `asyncio.Runner` and then by the
    interpreter, so that one that is stuck would keep a run from ending, and a signal from being obeyed. Nor has the
    standard pool more than a few, behind which the calls of a wide fan-out would queue.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()

        def work() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    result = fn(*args, **kwargs)
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)

        Thread(target=work, daemon=True).start()
        return future
