"""Calls that somebody watches: a run that nobody watches has `Calls`, and pays nothing for this."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from apxm.backends.protocol import Clock
from apxm.errors import OperationError
from apxm.journal.rows import Answered
from apxm.operations.types import Value
from apxm.runtime.calls import Calls
from apxm.runtime.phases import EXPIRED, OVER, SENT, STARTING
from apxm.runtime.waiting import Answer, Call

Outcome = Answer | OperationError
Begin = Callable[[Call], None]
"""Begins an attempt."""


class CallObserver:
    """Who is told of each attempt of a run as it happens, on the thread of its loop. `path` is that of the operation;
    ``len(call.earlier)`` attempts came before the one that is told of."""

    def sending(self, begin: Begin, _clock: Clock, /) -> Begin:
        """What begins the attempts, for one who has something to do around that."""
        return begin

    def added(self, call: Call) -> None:
        """An operation is ready, and will be made when it gets its slots. In a lane, this is the lane's own code."""

    def began(self, path: str, call: Call) -> None:
        """An attempt has its slots and is about to be sent."""

    def ended(self, path: str, call: Call, outcome: Outcome | None, duration: int | None) -> None:
        """It is over, `duration` ns after it was sent; None where it never was. Without an outcome it was given up."""

    def pauses(self, path: str, pause: int) -> None:
        """What ended last was in vain, and is tried again after so many ns at the earliest."""

    def over(self, call: Call) -> None:
        """No further attempt of the operation is made. What this leads to may have been told of before."""

    def reused(self, path: str, request: Any, result: Answered) -> None:
        """An earlier process made this call: nothing is sent, its answer is taken from the journal."""


class Observers(CallObserver):
    """Several, told one after the other."""

    def __init__(self, observers: Sequence[CallObserver]) -> None:
        self._observers = observers

    def sending(self, begin: Begin, clock: Clock, /) -> Begin:
        for each in self._observers:
            begin = each.sending(begin, clock)
        return begin

    def added(self, call: Call) -> None:
        for each in self._observers:
            each.added(call)

    def began(self, path: str, call: Call) -> None:
        for each in self._observers:
            each.began(path, call)

    def ended(self, path: str, call: Call, outcome: Outcome | None, duration: int | None) -> None:
        for each in self._observers:
            each.ended(path, call, outcome, duration)

    def pauses(self, path: str, pause: int) -> None:
        for each in self._observers:
            each.pauses(path, pause)

    def over(self, call: Call) -> None:
        for each in self._observers:
            each.over(call)

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

    def add(self, call: Call) -> None:
        self._observer.added(call)
        super().add(call)

    # What ended is told of before what it leads to: the calls that waited for it begin in there.

    def _commit(self, call: Call, answer: Answer, value: Value, received: int) -> None:
        self._tell(call, answer, received - call.sent)
        super()._commit(call, answer, value, received)

    def _answered(self, call: Call, answer: Answer, value: Value, received: int, began: int) -> None:
        if self.recorder is None:
            self._tell(call, answer, received - call.sent)
        super()._answered(call, answer, value, received, began)
        self._observer.over(call)

    def _failed(self, call: Call, error: OperationError, received: int, answer: Answer | None = None) -> None:
        self._tell(call, error, received - call.sent)
        super()._failed(call, error, received, answer)
        if call.phase is OVER:
            self._observer.over(call)

    def _refuse(self, call: Call, error: OperationError) -> None:
        self._tell(call, error, None)
        super()._refuse(call, error)
        self._observer.over(call)

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
        self._observer.over(call)

    def _tell(self, call: Call, outcome: Outcome | None, duration: int | None) -> None:
        self._observer.ended(self._records.path(call), call, outcome, duration)
