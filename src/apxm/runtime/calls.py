"""The calls of one run: slots, attempts, time limits, retries, cancellation.

A state machine: `phases.MOVES` is its table. Events come in as `add`, `received`, `woken`, `cancel`, by timers of the
clock and by commits of the journal; actions go out to the state, the slots, the journal, the clock, and through
`begin`, `take` and `rest`. It knows no event loop and no thread, so its tests are lists of events and what they led to.
`Attempts` is the shell that moves a call from `STARTING` to `SENT`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from heapq import nsmallest
from typing import TYPE_CHECKING

from apxm.backends.protocol import UNKNOWN_USAGE, Usage
from apxm.errors import OperationError
from apxm.operations.types import Value
from apxm.runtime.budget import NOTHING, Budget, Cost
from apxm.runtime.deadlines import Deadlines
from apxm.runtime.defects import raised_by
from apxm.runtime.loops import START, FailureHandler, RankedClock, enter
from apxm.runtime.phases import COMMITTING, EXPIRED, OVER, PAUSED, QUEUED, SENT, STARTING, UNAFFORDABLE
from apxm.runtime.records import Records, failed_attempt
from apxm.runtime.slots import Slots
from apxm.runtime.state import State
from apxm.runtime.stopped import StopKind
from apxm.runtime.trace import ANOTHER_RUN, Place, Trace
from apxm.runtime.waiting import Answer, Call

if TYPE_CHECKING:
    from apxm.runtime.recording import Recorder


class Calls:
    """The calls of one run. What is raised behind an event goes to `abort`, as whoever brings it would not pass it on;
    behind a timer, or a commit, the clock and the recorder see to that."""

    def __init__(
        self,
        clock: RankedClock,
        state: State,
        trace: Trace,
        *,
        limited: bool,
        max_concurrency: int | None,
        budget: Budget | None,
        recorder: Recorder | None,
        begin: Callable[[Call], None],
        take: Callable[[], None],
        rest: Callable[[], None],
        abort: FailureHandler,
    ) -> None:
        """`limited` is false where neither the run nor any gate it uses has a limit: then no call asks for a slot.

        `begin` begins an attempt of a call. `take` takes all operations that are ready, and adds those that wait.
        `rest` is called when nothing is left to do, or nothing that the budget could pay for, or the state was stopped.
        """
        self._clock = clock
        self._now = clock.now
        self._state = state
        self._records = Records(trace, clock.now)
        self.limited = limited
        self._slots = Slots(max_concurrency, clock, partial(enter, self.woken, abort), budget)
        self._budget = budget
        self.recorder = recorder
        self._begin = begin
        self._take = take
        self._rest = rest
        self._abort = abort
        self._running = Deadlines(clock, self._expire)
        self._aside: dict[Call, None] = {}  # in order, so that all ends are deterministic
        """Those that pause, and those whose answers are being committed."""
        self.unaffordable: list[Call] = []
        """Those that the budget cannot pay for any more."""
        self._committing = 0
        self._left: list[Call] = []
        """Those whose attempts ended in this very event: they hold their slots until its `Slots.turn`."""
        self._released: Place | None = None
        """The attempt that gave its slot back in this very event, if one did."""
        self._refused = False
        """Whether the last turn refused calls, so that others may be ready by that."""
        self.added = 0
        """Calls so far."""
        self.delivered = 0
        """Those of them whose outcomes the state has."""
        self.unfinished = 0
        """Calls that are not over."""
        self.in_flight = 0
        self.max_in_flight = 0
        self.routed = clock.now()
        """When the last outcome was delivered: what is ready now is since then."""

    # --- events ----------------------------------------------------------------------------------------------------

    def add(self, call: Call) -> None:
        """A call is to be made: it begins at once where nothing is limited, else when its turn has come."""
        self.added += 1
        self.unfinished += 1
        gate = call.provider.gate
        if (
            gate is not None
            and (self.limited or gate.troubled)
            and not self._slots.take_at_once(call, gate, len(self._state.ready))
        ):
            self._queue(call)
        else:
            call.granted = call.asked
            self._start(call)

    def received(self, call: Call, outcome: object) -> None:
        """The attempt of a call is over; nothing happens where it was given up before."""
        try:
            if call.phase is not SENT and call.phase is not EXPIRED:
                return
            received = self._now()
            answer = call.provider.answer(call, outcome)
            if isinstance(answer, OperationError):
                self._failed(call, answer, received)
                return
            try:
                value = call.operation.value(answer, call.request)
            except OperationError as error:
                self._failed(call, error, received, answer)
                return
            if call.phase is OVER:
                return  # the provider had something to say, and whoever heard it ended the run
            if self.recorder is None:
                self._answered(call, answer, value, received, received)
            else:
                self._commit(call, answer, value, received)
        except BaseException as error:
            self._abort(error)

    def woken(self) -> None:
        """A gate has something to give, given back by a call of this run or of another one."""
        if self._released is None:
            self._released = ANOTHER_RUN
            self.proceed()
        else:
            self._turn()  # from within one: a gate lets those that wait go in its own order

    def cancel(self) -> None:
        """The run is over: nothing is reported any more, and what is in flight is cancelled."""
        pending = self.pending if self.unfinished else []
        self.unfinished = 0
        self._running.clear()  # its timers too: one would keep all this alive until it fires
        self._aside.clear()
        self.unaffordable = []
        now = self._now()
        for call in pending:
            self._give_up(call, now)
        if self.limited:
            left, self._left = self._left, []
            self._slots.clear(left)
            self._released = None

    def give_up(self, call: Call) -> None:
        """Nobody wants the answer to a call any more: it is cancelled, wherever it is, and nothing of it is
        reported."""
        if call.phase is OVER:
            return
        if call.phase is QUEUED:
            self._slots.forget(call)
        elif call.phase is UNAFFORDABLE:
            self.unaffordable.remove(call)
        self._aside.pop(call, None)
        self._give_up(call, self._now())
        self.unfinished -= 1

    # --- what follows ----------------------------------------------------------------------------------------------

    def proceed(self) -> None:
        """Goes on with what the last event led to, until nothing is left to do but wait."""
        state = self._state
        while True:
            if state.ready:
                self._take()
            if state.stopped or not self.limited:
                break
            self._turn()
            self._released = None
            if not self._refused:
                break
            self._refused = False
        if state.stopped or not self.unfinished or len(self.unaffordable) == self.unfinished:
            self._rest()

    @property
    def pending(self) -> list[Call]:
        """Those that are not over, in no order."""
        return [*self._slots.waiting, *self.unaffordable, *self._aside, *self._running]

    def longest(self, most: int) -> list[Call]:
        """So many of those in flight, those that were sent first in front."""
        return nsmallest(most, (call for call in self._running if call.phase is SENT), key=lambda call: call.sent)

    @property
    def limit_reached(self) -> StopKind:
        """Which budget does not cover the first of the unaffordable ones."""
        assert self._budget is not None
        return self._budget.shortage(self.unaffordable[0].worst).kind

    def _turn(self) -> None:
        """Starts the calls that can have their slots now, those with the longest path to the end first."""
        left, self._left = self._left, []
        for phase, call in self._slots.turn(left):
            if phase is STARTING:
                call.slot_from = self._released
                call.granted = call.since = self._now()
                self._start(call)
                continue
            call.phase = phase
            if phase is UNAFFORDABLE:
                self.unaffordable.append(call)
            else:
                self._refused = True
                assert call.provider.gate is not None
                self._refuse(call, call.provider.gate.refusal())

    def _queue(self, call: Call) -> None:
        gate = call.provider.gate
        assert gate is not None
        self.limited = True
        call.phase = QUEUED
        self._slots.request(call, gate)
        if call.clocked:
            call.dispatch += self._now() - call.since

    def _refuse(self, call: Call, error: OperationError) -> None:
        """It gets no slot any more."""
        self._state.broke(call.frame, call.node, error)
        self.routed = self._now()
        self.delivered += 1
        self.unfinished -= 1
        self._records.keep_earlier(call)

    # --- an attempt ------------------------------------------------------------------------------------------------

    def _start(self, call: Call) -> None:
        """The call has its slots."""
        provider = call.provider
        call.phase = STARTING
        call.limit = call.operation.timeout_ns or provider.timeout_ns
        self._running.add(call)
        self.in_flight = in_flight = self.in_flight + 1
        if in_flight > self.max_in_flight:
            self.max_in_flight = in_flight
        if self.recorder is not None and (provider.records_started or call.worst is not NOTHING):
            self._begin_recorded(call, self.recorder)
        else:
            self._begin(call)

    def _begin_recorded(self, call: Call, recorder: Recorder) -> None:
        """A reservation that a crash could lose would let the next process spend it again, and an outside effect that
        no journal knows of would happen twice."""

        def safe() -> None:
            if call.phase is STARTING:  # else it was given up meanwhile
                call.since = self._now()
                self._begin(call)

        path, alone = self._records.path(call), self.in_flight == 1
        started = call.provider.records_started
        if call.worst is not NOTHING:
            recorder.reserved(path, call, None if started else safe, urgent=alone)
        if started:
            recorder.started(path, call, safe, urgent=alone)
        if call.clocked:
            call.dispatch += self._now() - call.since

    def _commit(self, call: Call, answer: Answer, value: Value, received: int) -> None:
        """Nothing may depend on an answer, nor take its slot, before it is in the journal."""
        assert self.recorder is not None
        call.phase = COMMITTING
        call.answer, call.received = answer, received
        self._running.remove(call)
        self._aside[call] = None
        self._committing += 1

        def committed() -> None:
            if call.phase is COMMITTING:
                del self._aside[call]
                self._committing -= 1
                self._answered(call, answer, value, received, self._now())

        alone = self.in_flight == self._committing
        self.recorder.received(self._records.path(call), call, value, answer.usage, committed, urgent=alone)

    def _answered(self, call: Call, answer: Answer, value: Value, received: int, began: int) -> None:
        """`began` is when our own work on the answer did."""
        # Tokens first: they are what others wait for.
        state = self._state
        state.succeed(call.frame, call.node, value)
        self.routed = routed = self._now()
        self.delivered += 1
        gate = call.provider.gate
        if gate is not None:
            gate.answered += 1
            if gate.troubled:
                gate.recovered()
        call.answer, call.received = answer, received
        self._leave(call, None if self._budget is None else call.provider.cost(call.operation, answer.usage))
        call.phase = OVER
        self._records.keep(call, "ok", answer.usage, answer.service_ns, routed, began)
        self.unfinished -= 1
        if state.ready or self.limited or not self.unfinished or state.stopped:
            self.proceed()

    def _failed(self, call: Call, error: OperationError, received: int, answer: Answer | None = None) -> None:
        """`answer` is one that came, and is of no use."""
        provider = call.provider
        if answer is None:
            revised, pause = None, provider.retry(call, error, received)
        else:
            revised = call.operation.revised(call, answer, error)
            pause = None if revised is None else 0
        if call.phase is OVER:
            return  # as in `received`
        call.received, call.answer = received, answer
        if answer is None:
            usage, service = UNKNOWN_USAGE, None
            self._leave(call, NOTHING if error.kind in provider.unpaid else None)
        else:
            usage, service = answer.usage, answer.service_ns
            self._discard(call, usage, error)
        if pause is not None:
            self._pause(call, error, pause, revised)
            return
        call.phase = OVER
        self._state.broke(call.frame, call.node, error)
        self.routed = routed = self._now()
        self.delivered += 1
        self._records.keep(call, error.kind, usage, service, routed, received)
        self.unfinished -= 1
        self.proceed()

    def _discard(self, call: Call, usage: Usage, error: OperationError) -> None:
        """An answer that used so much is of no use. Its endpoint did answer, and is paid."""
        provider = call.provider
        if provider.gate is not None:
            provider.gate.answered += 1
            if provider.gate.troubled:
                provider.gate.recovered()
        if self.recorder is not None:
            self.recorder.discarded(self._records.path(call), call, usage, error)
        self._leave(call, None if self._budget is None else provider.cost(call.operation, usage))

    def _leave(self, call: Call, cost: Cost | None) -> None:
        """It is not in flight any more; `cost` is what the attempt cost, None where nobody knows."""
        if self._budget is not None:
            self._budget.settle(call.worst, cost)
            if self.recorder is not None:
                self.recorder.settled(self._records.path(call), call, call.worst if cost is None else cost)
        call.handle = call.stream = None
        self._running.remove(call)
        self.in_flight -= 1
        if self.limited and call.provider.gate is not None:
            self._released = (call.frame.index, call.node, len(call.earlier))
            self._left.append(call)

    def _expire(self, call: Call) -> None:
        """The time of its attempt is over."""
        if call.provider.begin is None:
            call.phase, call.limit = EXPIRED, None
            self._running.add(call)  # until its task has ended
            self._stop(call)
        else:
            self._stop(call)
            self.received(call, call.timeout())

    def _stop(self, call: Call) -> None:
        try:
            if call.handle is not None:
                call.handle.cancel()
        except Exception as error:  # its attempt is over all the same
            raised_by(call.provider, error)

    def _pause(self, call: Call, error: OperationError, pause: int, revised: object) -> None:
        """Another attempt follows after so many ns, and asks what is `revised`, where that is anything."""
        call.earlier = (*call.earlier, failed_attempt(call, error.kind))
        if revised is not None:
            call.revise(revised)
        call.slot_from = call.first = None
        call.dispatch = 0
        call.phase = PAUSED
        self._aside[call] = None
        self._sleep(call, self._now() + pause)
        if self.limited:
            self.proceed()

    def _sleep(self, call: Call, until: int) -> None:
        call.asked = until
        call.handle = self._clock.call_at(until, partial(self._resume, call), START)

    def _resume(self, call: Call) -> None:
        """Its pause is over."""
        call.since = now = self._now()
        wait = call.provider.delay(call, now)
        if wait:
            self._sleep(call, now + wait)
            return
        call.handle = call.answer = None
        del self._aside[call]
        gate = call.provider.gate
        if gate is not None and (self.limited or gate.troubled):
            self._queue(call)
            self.proceed()
        else:
            call.granted = call.asked
            self._start(call)

    # --- the end ---------------------------------------------------------------------------------------------------

    def _give_up(self, call: Call, now: int) -> None:
        """Ends a call that is not over, from whichever phase, and keeps what there was of it."""
        phase, call.phase = call.phase, OVER
        if phase is SENT or phase is EXPIRED:
            self._stop(call)
            call.received = now
            self._leave(call, None)
            self._records.keep(call, "cancelled", UNKNOWN_USAGE, None, now, now)
        elif phase is COMMITTING:
            assert call.answer is not None
            usage, service = call.answer.usage, call.answer.service_ns
            self._leave(call, None if self._budget is None else call.provider.cost(call.operation, usage))
            self._records.keep(call, "ok", usage, service, now, now)
        else:
            if phase is STARTING:
                self._leave(call, NOTHING)
            elif phase is PAUSED:
                self._stop(call)
            self._records.keep_earlier(call)
