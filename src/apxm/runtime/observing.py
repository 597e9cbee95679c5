"""Calls that somebody watches: a run that nobody watches has `Calls`, and pays nothing for this."""

from __future__ import annotations

from typing import Any, Protocol

from apxm.backends.protocol import ModelRequest
from apxm.errors import BackendError
from apxm.journal.rows import Answered
from apxm.runtime.call import Call, Outcome
from apxm.runtime.calls import Calls


class CallObserver(Protocol):
    """Who is told of each attempt of a run as it happens, on the thread of its loop. `path` is that of the operation;
    ``len(call.earlier)`` attempts came before the one that is told of."""

    def began(self, path: str, call: Call) -> None:
        """An attempt has its slots and is about to be sent."""
        ...

    def ended(self, path: str, call: Call, outcome: Outcome | None, duration: int | None) -> None:
        """It is over, `duration` ns after it was sent; None where it never was. Without an outcome it was given up."""
        ...

    def pauses(self, path: str, pause: int) -> None:
        """What ended last was in vain, and is tried again after so many ns at the earliest."""
        ...

    def reused(self, path: str, request: ModelRequest, result: Answered) -> None:
        """An earlier process made this call: nothing is sent, its answer is taken from the journal."""
        ...


class ObservedCalls(Calls):
    def __init__(self, observer: CallObserver, *arguments: Any, **options: Any) -> None:
        """`arguments` and `options` are those of `Calls`."""
        super().__init__(*arguments, **options)
        self._observer = observer

    def _begin(self, call: Call) -> None:
        self._observer.began(self._path(call), call)
        super()._begin(call)

    def _ended(self, call: Call, outcome: Outcome, sent: int, received: int) -> None:
        # Before what it leads to: the calls that waited for this answer begin in there.
        self._observer.ended(self._path(call), call, outcome, received - sent)
        super()._ended(call, outcome, sent, received)

    def _refuse(self, call: Call) -> None:
        self._observer.ended(self._path(call), call, call.gate.refusal(), None)
        super()._refuse(call)

    def _pause(self, call: Call, sent: int, received: int, error: BackendError) -> None:
        super()._pause(call, sent, received, error)
        self._observer.pauses(self._path(call), call.asked - received)

    def cancel(self) -> None:
        given_up = [(call, call.sent) for call in self._running]
        super().cancel()
        now = self._now()
        for call, sent in given_up:
            self._observer.ended(self._path(call), call, None, None if sent is None else now - sent)
