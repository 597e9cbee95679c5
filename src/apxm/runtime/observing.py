"""Calls that somebody watches: a run that nobody watches has `Calls`, and pays nothing for this."""

from __future__ import annotations

from typing import Any, Protocol

from apxm.errors import OperationError
from apxm.journal.rows import Answered
from apxm.operations.types import Value
from apxm.runtime.calls import Calls
from apxm.runtime.phases import EXPIRED, SENT, STARTING
from apxm.runtime.waiting import Answer, Call

Outcome = Answer | OperationError


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

    def reused(self, path: str, request: Any, result: Answered) -> None:
        """An earlier process made this call: nothing is sent, its answer is taken from the journal."""
        ...


class CallObservers:
    """Tells several, one after the other."""

    def __init__(self, *observers: CallObserver) -> None:
        self._observers = observers

    def began(self, path: str, call: Call) -> None:
        for each in self._observers:
            each.began(path, call)

    def ended(self, path: str, call: Call, outcome: Outcome | None, duration: int | None) -> None:
        for each in self._observers:
            each.ended(path, call, outcome, duration)

    def pauses(self, path: str, pause: int) -> None:
        for each in self._observers:
            each.pauses(path, pause)

    def reused(self, path: str, request: Any, result: Answered) -> None:
        for each in self._observers:
            each.reused(path, request, result)


class ObservedCalls(Calls):
    def __init__(self, observer: CallObserver, *arguments: Any, **options: Any) -> None:
        """`arguments` and `options` are those of `Calls`."""
        super().__init__(*arguments, **options)
        self._observer = observer
        begin = self._begin

        def observed(call: Call) -> None:
            observer.began(self._records.path(call), call)
            begin(call)

        self._begin = observed

    # What ended is told of before what it leads to: the calls that waited for it begin in there.

    def _commit(self, call: Call, answer: Answer, value: Value, received: int) -> None:
        self._tell(call, answer, received - call.sent)
        super()._commit(call, answer, value, received)

    def _answered(self, call: Call, answer: Answer, value: Value, received: int, began: int) -> None:
        if self.recorder is None:
            self._tell(call, answer, received - call.sent)
        super()._answered(call, answer, value, received, began)

    def _failed(self, call: Call, error: OperationError, received: int, answer: Answer | None = None) -> None:
        self._tell(call, error, received - call.sent)
        super()._failed(call, error, received, answer)

    def _refuse(self, call: Call, error: OperationError) -> None:
        self._tell(call, error, None)
        super()._refuse(call, error)

    def _pause(self, call: Call, error: OperationError, pause: int, revised: object) -> None:
        super()._pause(call, error, pause, revised)
        self._observer.pauses(self._records.path(call), pause)

    def _give_up(self, call: Call, now: int) -> None:
        phase = call.phase
        super()._give_up(call, now)
        if phase is STARTING:
            self._tell(call, None, None)
        elif phase is SENT or phase is EXPIRED:
            self._tell(call, None, now - call.sent)

    def _tell(self, call: Call, outcome: Outcome | None, duration: int | None) -> None:
        self._observer.ended(self._records.path(call), call, outcome, duration)
