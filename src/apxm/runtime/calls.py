"""Model calls of one run: slots, attempts, time limits, retries, cancellation.

A `Call` waits for its slots, makes one attempt or more, and then gives its outcome back.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING

from apxm.backends.protocol import Handle, ModelAnswer, sound_outcome
from apxm.errors import BackendError, OperationError
from apxm.runtime.budget import Budget, Verdict
from apxm.runtime.call import NOTHING, Call, Outcome
from apxm.runtime.deadlines import Deadlines
from apxm.runtime.defects import gave_no_answer, raised_by
from apxm.runtime.limits import RunSlots
from apxm.runtime.loops import START, Failed, RankedClock, enter
from apxm.runtime.retries import LONGEST_RETRY_AFTER_S, RATE_LIMITED, SHORT_PAUSE_NS, RetryBudget, pause_ns
from apxm.runtime.stopped import StopKind
from apxm.runtime.trace import ANOTHER_RUN, Place, Trace
from apxm.runtime.workers import Workers

if TYPE_CHECKING:
    from apxm.runtime.recording import Recorder


class Calls:
    def __init__(
        self,
        clock: RankedClock,
        limited: bool,
        max_concurrency: int | None,
        seed: int,
        trace: Trace,
        *,
        retries: RetryBudget,
        budget: Budget | None,
        recorder: Recorder | None,
        deliver: Callable[[Call, Outcome], int],
        proceed: Callable[[], None],
        held_up: Callable[[Call, int, str], None],
        tries_again: Callable[[Call, BackendError], None],
        abort: Failed,
    ) -> None:
        """`limited` is false where neither the run nor any backend it uses has a limit: then no call asks for a slot.

        `deliver` is called once per call that is over, unless it was cancelled, and says when its tokens were
        delivered. `proceed` is called behind it, when the slot is free again. `held_up` is that of an `Owner`.
        `tries_again` is told of each call that has failed more than once and is tried again.

        Events come in by the clock's timers, `receive`, `ended`, the journal and the gates; `abort` is told of whatever
        is raised there, as whoever raises events would not pass it on. Those of the timers are the clock's to tell.
        """
        self._loop = asyncio.get_running_loop()
        self._thread = get_ident()
        self._abort = abort
        self._clock = clock
        self._now = clock.now
        self._trace = trace
        self._deliver = deliver
        self._proceed = proceed
        self.held_up = held_up
        self._tries_again = tries_again
        self.limited = limited
        self._slots: RunSlots[Call] = RunSlots(
            max_concurrency, clock, self._start, self._refuse, partial(enter, self._wake, abort), self._afford
        )
        self._released: Place | None = None
        """The attempt that gave its slot back in this very event, if one did."""
        self._retries = retries
        self._budget = budget
        self._recorder = recorder
        self._committing: dict[Call, tuple[ModelAnswer, int, int]] = {}
        """Answers that are not in the journal yet, with the instants at which they were sent for and received."""
        self.unaffordable: list[Call] = []
        """Those that the budget cannot pay for any more."""
        self._gone = False
        """Whether `grant` found calls that will get no slot."""
        self._seed = seed
        self._random: random.Random | None = None
        """Of the pauses; made for the first of them."""
        self._running: Deadlines[Call] = Deadlines(clock, self._expire)
        self._pauses: dict[Call, Handle] = {}  # in order, so that all ends are deterministic
        self._workers = Workers(clock, self.receive, abort)
        self.added = 0
        """Calls so far."""
        self.unfinished = 0
        """Calls that are not over."""
        self.in_flight = 0
        self.max_in_flight = 0

    def add(self, call: Call) -> None:
        """Starts a call, at once where nothing is limited; else `grant` starts it when its turn has come."""
        self.added += 1
        self.unfinished += 1
        if self.limited or call.backend.gate.troubled:
            self._queue(call)
        else:
            self._start(call)

    def grant(self) -> None:
        """Starts the calls that can have their slots now, those with the longest path to the end first."""
        self._slots.grant()
        self._released = None
        if self._gone:
            self._gone = False
            self._proceed()

    def _afford(self, call: Call) -> bool | None:
        if self._budget is None:
            return True
        verdict = self._budget.judge(call.worst)
        if verdict is Verdict.NEVER:
            self.unaffordable.append(call)
            self._gone = True
            return None
        return verdict is Verdict.FITS

    def _refuse(self, call: Call) -> None:
        """It gets no slot any more."""
        self._gone = True
        self._deliver(call, call.gate.refusal())
        self.unfinished -= 1
        self._record_earlier(call)

    def _wake(self) -> None:
        """A slot of a backend became free, given back by a call of this run or of another one."""
        if self._released is None:
            self._released = ANOTHER_RUN
            self.grant()
        else:
            self._slots.grant()

    @property
    def pending(self) -> list[Call]:
        """Those that are not over, in no order."""
        return [*self._running, *self._committing, *self._pauses, *self._slots.waiting, *self.unaffordable]

    @property
    def limit_reached(self) -> StopKind:
        """Which budget does not cover the first of the unaffordable ones."""
        assert self._budget is not None
        return "tokens" if self._budget.lacks_tokens(self.unaffordable[0].worst) else "cost"

    def cancel(self) -> None:
        """Ends all calls: nothing is reported any more, and what is in flight is cancelled."""
        paused, running = list(self._pauses.items()), list(self._running)
        self._running.clear()  # its timers too: one would keep all this alive until it fires
        if not self.unfinished and not self.limited:
            return
        self._pauses.clear()
        self._workers.clear()
        for call in self._slots.clear():
            self._record_earlier(call)
        for call, pause in paused:
            pause.cancel()
            self._record_earlier(call)
        now = self._now()
        for call in running:
            self._give_up(call)
            sent = call.sent
            self._leave(call)
            if sent is None:
                self._record_earlier(call)
            else:
                self._record(call, sent, now, "cancelled", None, None, None, now, now)
        for call, (answer, sent, received) in self._committing.items():
            usage = answer.usage
            self._leave(call, answer)
            self._record(call, sent, received, "ok", None, usage.input_tokens, usage.output_tokens, now, now)
        self._committing.clear()
        self._slots.clear()
        self.unfinished = 0

    def _record_earlier(self, call: Call) -> None:
        """Of a call that ends without an attempt in flight: those it had are kept."""
        if call.earlier:
            now = self._now()
            call.earlier, last = call.earlier[:-1], call.earlier[-1]
            raw = call.frame.index, call.node, call.backend.name, call.ready, now, call.earlier, *last
            self._trace.raw.append(raw)

    async def closed(self) -> None:
        """Returns once no task is left."""
        await self._workers.closed()

    # --- an attempt ------------------------------------------------------------------------------------------------

    def _queue(self, call: Call) -> None:
        self.limited = True
        if call.gate.counts_tokens and not call.tokens:
            call.tokens = call.most_tokens()
        if self._budget is not None and call.worst is NOTHING:
            call.limit_answer()
        self._slots.request(call)
        if call.clocked:
            call.dispatch += self._now() - call.since

    def _start(self, call: Call) -> None:
        """The call has its slots."""
        backend = call.backend
        call.running = True
        if self._budget is not None:
            self._budget.reserve(call.worst)
        call.slot_from = self._released
        call.limit = call.handler.timeout_ns or backend.timeout_ns
        self._running.add(call)
        if self.limited:
            call.granted = call.since = self._now()
        else:
            call.granted = call.asked
        self.in_flight = in_flight = self.in_flight + 1
        if in_flight > self.max_in_flight:
            self.max_in_flight = in_flight
        if self._budget is not None and self._recorder is not None:
            self._begin_behind_reservation(call, self._recorder)
        else:
            self._begin(call)

    def _begin_behind_reservation(self, call: Call, recorder: Recorder) -> None:
        """A reservation that a crash could lose would let the next process spend it again."""

        def reserved() -> None:
            if call.running:  # else it was given up meanwhile
                call.since = self._now()
                self._begin(call)

        alone = self.in_flight == 1
        then = partial(enter, reserved, self._abort)
        recorder.reserved(self._path(call), len(call.earlier), call.worst, then, urgent=alone)
        if call.clocked:
            call.dispatch += self._now() - call.since

    def _begin(self, call: Call) -> None:
        backend = call.backend
        if backend.begin is not None:
            call.sent = sent = self._now()
            if call.clocked:
                call.dispatch += sent - call.since
            done = partial(self.ended, call, len(call.earlier)) if call.earlier else call.first_ended
            try:
                call.handle = backend.begin(call.request, self._clock, done)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:
                done(raised_by(backend.name, error))
        else:
            self._workers.start(call)
            if call.clocked:
                call.dispatch += self._now() - call.since

    def ended(self, call: Call, attempt: int, outcome: object) -> None:
        """That of an `Owner`."""
        if call.sent is None or len(call.earlier) != attempt:
            return  # it is over already
        if call.handle is None or get_ident() != self._thread:
            # From inside `begin`, or from another thread: then we may be in the middle of something.
            self._loop.call_soon_threadsafe(self._ended_later, call, attempt, outcome)
        else:
            self.receive(call, outcome)

    def _ended_later(self, call: Call, attempt: int, outcome: object) -> None:
        if len(call.earlier) == attempt:
            self.receive(call, outcome)

    def receive(self, call: Call, outcome: object) -> None:
        """The running attempt of a call is over; nothing happens where it was given up before."""
        sent = call.sent
        if sent is None:
            return
        try:
            received = self._now()
            try:
                found = sound_outcome(outcome)
            except TypeError as flaw:
                found = gave_no_answer(call.backend.name, flaw)
            self._ended(call, found, sent, received)
        except BaseException as error:
            self._abort(error)

    def _ended(self, call: Call, outcome: Outcome, sent: int, received: int) -> None:
        if not isinstance(outcome, ModelAnswer):
            self._failed(call, outcome, sent, received)
        elif self._recorder is None:
            self._answered(call, outcome, sent, received, received)
        else:
            self._commit(call, outcome, sent, received)

    def _commit(self, call: Call, answer: ModelAnswer, sent: int, received: int) -> None:
        """Nothing may depend on an answer, nor take its slot, before it is in the journal."""
        assert self._recorder is not None
        call.sent = None
        self._running.remove(call)
        self._committing[call] = answer, sent, received

        def committed() -> None:
            if self._committing.pop(call, None):
                self._answered(call, answer, sent, received, self._now())

        alone = self.in_flight == len(self._committing)
        then = partial(enter, committed, self._abort)
        self._recorder.received(
            self._path(call), call.original, call.backend.name, call.model, answer, then, urgent=alone
        )

    def _answered(self, call: Call, answer: ModelAnswer, sent: int, received: int, began: int) -> None:
        """`began` is when our own work on the answer did."""
        # Tokens first: they are what others wait for.
        routed = self._deliver(call, answer)
        usage, service = answer.usage, answer.service_ns
        if service is not None and service > received - sent:
            service = received - sent
        gate = call.backend.gate
        gate.answered += 1
        if gate.troubled:
            gate.recovered()
        if self.limited and call.ticket:
            call.settle(answer, received)
        self._leave(call, answer)
        self._record(call, sent, received, "ok", service, usage.input_tokens, usage.output_tokens, routed, began)
        self.unfinished -= 1
        self._proceed()

    def _failed(self, call: Call, error: OperationError, sent: int, received: int) -> None:
        if isinstance(error, BackendError):
            patience = call.patience(error, received)
            self._tell(call, error, received)
        else:
            patience = None
        self._leave(call, error)
        spent = len(call.earlier) >= call.retries or (patience is not None and patience <= 0)
        if isinstance(error, BackendError) and self._may_pass(error) and not spent:
            self._pause(call, sent, received, error)
            return
        routed = self._deliver(call, error)
        self._record(call, sent, received, error.kind, None, None, None, routed, received)
        self.unfinished -= 1
        self._proceed()

    def _leave(self, call: Call, outcome: Outcome | None = None) -> None:
        """It is not in flight any more; without an outcome where it was given up."""
        if self._budget is not None:
            cost = call.cost(outcome)
            self._budget.settle(call.worst, cost)
            if self._recorder is not None:
                self._recorder.settled(self._path(call), len(call.earlier), call.worst if cost is None else cost)
        call.running = False
        call.sent = call.handle = None
        self._running.remove(call)
        self.in_flight -= 1
        if self.limited:
            self._released = (call.frame.index, call.node, len(call.earlier))
            self._slots.give_back(call)

    def _record(
        self,
        call: Call,
        sent: int,
        received: int,
        outcome: str,
        service: int | None,
        input_tokens: int | None,
        output_tokens: int | None,
        routed: int,
        began: int,
    ) -> None:
        """`began` is when our own work on the outcome did."""
        trace = self._trace
        trace.raw.append(
            (
                call.frame.index,
                call.node,
                call.backend.name,
                call.ready,
                routed,
                call.earlier,
                call.asked,
                call.granted,
                sent,
                received,
                outcome,
                service,
                input_tokens,
                output_tokens,
                call.slot_from,
            )
        )
        if call.clocked:
            overhead = trace.overhead
            overhead.input_collection.append(call.input_collection)
            overhead.token_routing.append(routed - began)
            overhead.dispatch.append(call.dispatch + self._now() - routed)

    def _expire(self, call: Call) -> None:
        call.timed_out = True
        self._give_up(call)
        if call.backend.begin is not None:
            self.receive(call, call.timeout())

    def _give_up(self, call: Call) -> None:
        try:
            if call.handle is not None:
                call.handle.cancel()
        except Exception as error:  # its attempt is over all the same
            raised_by(call.backend.name, error)

    def _tell(self, call: Call, error: BackendError, now: int) -> None:
        """What the failed attempt of a call says about its endpoint."""
        gate, granted = call.gate, call.granted
        if error.retry_after_s is not None and error.retry_after_s <= LONGEST_RETRY_AFTER_S:
            gate.pause(now + round(error.retry_after_s * 1e9))
        if error.kind == RATE_LIMITED:
            gate.answered += 1
            gate.refused(granted, now)
        elif not error.retryable:
            gate.answered += 1
        else:
            gate.broke(error, granted, now, hurried=call.hoping_since is not None)

    def _may_pass(self, error: BackendError) -> bool:
        return error.retryable and (error.retry_after_s or 0) <= LONGEST_RETRY_AFTER_S

    def _path(self, call: Call) -> str:
        return self._trace.path_of(call.frame.index, call.node)

    def _pause(self, call: Call, sent: int, received: int, error: BackendError) -> None:
        """Asks for a slot again after a while."""
        attempt = (call.asked, call.granted, sent, received, error.kind, None, None, None, call.slot_from)
        if self._random is None:
            self._random = random.Random(self._seed)
        hurried = call.hoping_since is not None
        call.asked = self._now() + (SHORT_PAUSE_NS if hurried else pause_ns(len(call.earlier), self._random))
        if call.earlier:
            self._tries_again(call, error)
        call.earlier = (*call.earlier, attempt)
        call.timed_out = False
        call.dispatch = 0
        self._pauses[call] = self._clock.call_at(call.asked, lambda: self._resume(call), START)
        if self.limited:
            self.grant()

    def _resume(self, call: Call) -> None:
        call.since = now = self._now()
        # What was one call too many for the endpoint has been no burden to it, and comes again as slowly as it bears.
        # Where nobody listens there is nobody to be burdened.
        free = call.earlier[-1][4] == RATE_LIMITED or call.hoping_since is not None
        wait = 0 if free else self._retries.take(now)
        if wait:
            call.asked = now + wait
            self._pauses[call] = self._clock.call_at(call.asked, lambda: self._resume(call), START)
            return
        del self._pauses[call]
        if self.limited or call.backend.gate.troubled:
            self._queue(call)
            self.grant()
        else:
            self._start(call)
