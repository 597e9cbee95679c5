"""Model calls of one run: slots, attempts, time limits, retries, cancellation.

A `Call` waits for its slots, makes one attempt or more, and then gives its outcome back.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from apxm.backends.protocol import Handle, ModelAnswer
from apxm.errors import BackendError
from apxm.runtime.call import Call, Outcome
from apxm.runtime.deadlines import Deadlines
from apxm.runtime.limits import RunSlots
from apxm.runtime.loops import START, RankedClock
from apxm.runtime.trace import ANOTHER_RUN, Place, Trace
from apxm.runtime.workers import Workers

FIRST_PAUSE_NS = 500_000_000
LONGEST_PAUSE_NS = 30_000_000_000


class Calls:
    def __init__(
        self,
        clock: RankedClock,
        limited: bool,
        max_concurrency: int | None,
        seed: int,
        trace: Trace,
        deliver: Callable[[Call, Outcome], int],
        proceed: Callable[[], None],
        held_up: Callable[[Call, int, str], None],
    ) -> None:
        """`limited` is false where neither the run nor any backend it uses has a limit: then no call asks for a slot.

        `deliver` is called once per call that is over, unless it was cancelled, and says when its tokens were
        delivered. `proceed` is called behind it, when the slot is free again. `held_up` is that of an `Owner`.
        """
        self._clock = clock
        self._now = clock.now
        self._trace = trace
        self._deliver = deliver
        self._proceed = proceed
        self.held_up = held_up
        self.limited = limited
        self._slots: RunSlots[Call] = RunSlots(max_concurrency, self._start, self._wake)
        self._released: Place | None = None
        """The attempt that gave its slot back in this very event, if one did."""
        self._seed = seed
        self._random: random.Random | None = None
        """Of the pauses; made for the first of them."""
        self._running: Deadlines[Call] = Deadlines(clock, self._expire)
        self._pauses: dict[Call, Handle] = {}  # in order, so that all ends are deterministic
        self._workers = Workers(clock, self.receive)
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
        if self.limited:
            self._queue(call)
        else:
            self._start(call)

    def grant(self) -> None:
        """Starts the calls that can have their slots now, those with the longest path to the end first."""
        self._slots.grant()
        self._released = None

    def _wake(self) -> None:
        """A slot of a backend became free, given back by a call of this run or of another one."""
        if self._released is None:
            self._released = ANOTHER_RUN
            self.grant()
        else:
            self._slots.grant()

    def cancel(self) -> None:
        """Ends all calls: nothing is reported any more, and what is in flight is cancelled."""
        paused, running = list(self._pauses.items()), list(self._running)
        self._pauses.clear()
        self._running.clear()
        self._workers.clear()
        for call in self._slots.clear():
            self._record_cancelled(call)
        for call, pause in paused:
            pause.cancel()
            self._record_cancelled(call)
        now = self._now()
        for call in running:
            if call.handle is not None:
                call.handle.cancel()
            sent = call.sent
            self._leave(call)
            if sent is None:
                self._record_cancelled(call)
            else:
                self._record(call, sent, now, "cancelled", None, None, None, now)
        self._slots.clear()
        self.unfinished = 0

    def _record_cancelled(self, call: Call) -> None:
        """Of a call without an attempt in flight: those it had are kept."""
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
        self._slots.request(call)
        if call.clocked:
            call.dispatch += self._now() - call.since

    def _start(self, call: Call) -> None:
        """The call has its slots."""
        backend = call.backend
        call.running = True
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
        if backend.begin is not None:
            call.sent = sent = self._now()
            if call.clocked:
                call.dispatch += sent - call.since
            call.handle = backend.begin(call.request, self._clock, call.receive)
        else:
            self._workers.start(call)
            if call.clocked:
                call.dispatch += self._now() - call.since

    def receive(self, call: Call, outcome: Outcome) -> None:
        """The running attempt of a call is over; nothing happens where it was given up before."""
        sent = call.sent
        if sent is None:
            return
        received = self._now()
        if isinstance(outcome, ModelAnswer):
            # Tokens first: they are what others wait for.
            routed = self._deliver(call, outcome)
            usage, service = outcome.usage, outcome.service_ns
            if service is not None and service > received - sent:
                service = received - sent
            self._leave(call)
            self._record(call, sent, received, "ok", service, usage.input_tokens, usage.output_tokens, routed)
        else:
            self._leave(call)
            retryable = isinstance(outcome, BackendError) and outcome.retryable
            if retryable and len(call.earlier) < call.handler.retries:
                self._pause(call, sent, received, outcome.kind)
                return
            routed = self._deliver(call, outcome)
            self._record(call, sent, received, outcome.kind, None, None, None, routed)
        self.unfinished -= 1
        self._proceed()

    def _leave(self, call: Call) -> None:
        """It is not in flight any more."""
        call.running = False
        call.sent = None
        self._running.remove(call)
        self.in_flight -= 1
        if self.limited:
            self._released = (call.frame.index, call.node, len(call.earlier))
            self._slots.give_back(call.backend.slots)

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
    ) -> None:
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
            overhead.token_routing.append(routed - received)
            overhead.dispatch.append(call.dispatch + self._now() - routed)

    def _expire(self, call: Call) -> None:
        call.timed_out = True
        if call.handle is not None:
            call.handle.cancel()
        if call.backend.begin is not None:
            self.receive(call, call.timeout())

    def _pause(self, call: Call, sent: int, received: int, outcome: str) -> None:
        """Asks for a slot again after a while: exponential backoff with full jitter, as AWS's architecture blog has it
        ("Exponential Backoff And Jitter", 2015)."""
        longest = min(LONGEST_PAUSE_NS, FIRST_PAUSE_NS << min(len(call.earlier), 16))
        attempt = (call.asked, call.granted, sent, received, outcome, None, None, None, call.slot_from)
        call.earlier = (*call.earlier, attempt)
        call.timed_out = False
        call.dispatch = 0
        if self._random is None:
            self._random = random.Random(self._seed)
        call.asked = self._now() + self._random.randrange(longest)
        self._pauses[call] = self._clock.call_at(call.asked, lambda: self._resume(call), START)
        if self.limited:
            self.grant()

    def _resume(self, call: Call) -> None:
        del self._pauses[call]
        call.since = self._now()
        if self.limited:
            self._queue(call)
            self.grant()
        else:
            self._start(call)
