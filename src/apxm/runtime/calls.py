"""Model calls of one run: slots, attempts, time limits, retries, cancellation. The only file that makes tasks.

A `Call` waits for its slots, makes one attempt or more, and then gives its outcome back. With a callback backend that
costs no task; for a coroutine backend the run holds the task until it is over.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import cast

from apxm.backends.protocol import AnyBackend, CallbackBackend, CoroutineBackend, Handle, ModelAnswer, ModelRequest
from apxm.errors import BackendError, OperationError
from apxm.runtime.deadlines import Deadlines, limit_ns
from apxm.runtime.handlers.model import ModelCall
from apxm.runtime.limits import BackendSlots, RunSlots
from apxm.runtime.loops import START, RankedClock
from apxm.runtime.state import Frame
from apxm.runtime.trace import ANOTHER_RUN, Attempt, OperationRecord, Place, Trace

logger = logging.getLogger("apxm")

FIRST_PAUSE_NS = 500_000_000
LONGEST_PAUSE_NS = 30_000_000_000

Outcome = ModelAnswer | OperationError


class BoundBackend:
    """A backend as a run uses it."""

    __slots__ = ("begin", "call", "can_reason", "info", "name", "simulated", "slots", "timeout_ns")

    def __init__(self, backend: AnyBackend, slots: BackendSlots) -> None:
        self.info = backend.info
        self.name = backend.info.name
        self.simulated = backend.info.simulated
        self.can_reason = backend.can_reason
        self.slots = slots
        self.timeout_ns = None if backend.timeout_s is None else limit_ns(backend.timeout_s)
        self.begin = cast(CallbackBackend, backend).begin if hasattr(backend, "begin") else None
        self.call = None if self.begin else cast(CoroutineBackend, backend).call


class Call:
    """One operation that waits for a model."""

    __slots__ = (
        "asked",
        "attempts",
        "backend",
        "dispatched",
        "frame",
        "granted",
        "handle",
        "handler",
        "node",
        "ready",
        "request",
        "running",
        "sent",
        "since",
        "slot_from",
        "timed_out",
    )

    handle: Handle

    def __init__(
        self, frame: Frame, node: int, handler: ModelCall, backend: BoundBackend, request: ModelRequest, ready: int
    ) -> None:
        self.frame = frame
        self.node = node
        self.handler = handler
        self.backend = backend
        self.request = request
        self.ready = ready
        self.attempts: tuple[Attempt, ...] = ()
        self.running = False
        """Whether an attempt holds a slot."""
        self.asked = ready
        """When the running attempt, or the next one, could start if there is a slot."""
        self.granted = 0
        self.slot_from: Place | None = None
        self.sent: int | None = None
        """Of the running attempt; None until then."""
        self.timed_out = False
        self.since: int | None = None
        """When our own work on this call last began; None while it waits."""
        self.dispatched = 0
        """Our own time so far from its operands being collected to its attempt being sent."""

    @property
    def slots(self) -> BackendSlots:
        return self.backend.slots

    @property
    def rank(self) -> int:
        return self.frame.base + self.handler.priority

    def record(self, routed: int) -> OperationRecord:
        return OperationRecord(self.frame.index, self.node, self.backend.name, self.ready, routed, self.attempts)


class Calls:
    def __init__(
        self,
        clock: RankedClock,
        max_concurrency: int | None,
        seed: int,
        trace: Trace,
        settled: Callable[[Call, Outcome], None],
    ) -> None:
        """`settled` is called once per call that is over, unless it was cancelled."""
        self._clock = clock
        self._now = clock.now
        self._trace = trace
        self._settled = settled
        self._limited = max_concurrency is not None
        self._slots: RunSlots[Call] = RunSlots(max_concurrency, self._start, self._wake)
        self._released: Place | None = None
        """The attempt that gave its slot back in this very event, if one did."""
        self._random = random.Random(seed)
        self._deadlines: Deadlines[Call] = Deadlines(clock, self._expire)
        self._calls: dict[Call, None] = {}  # in order, so that all ends are deterministic
        self._pauses: dict[Call, Handle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._create_task = asyncio.get_running_loop().create_task
        self.in_flight = 0

    def __len__(self) -> int:
        """Calls that are not over."""
        return len(self._calls)

    def add(self, call: Call) -> None:
        """Starts a call, at once where nothing limits it; else `grant` starts it when its turn has come."""
        self._calls[call] = None
        if self._limited or call.slots.limit is not None:
            self._slots.request(call)
            self._stop_clock(call)
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
        self._deadlines.clear()
        for pause in self._pauses.values():
            pause.cancel()
        self._pauses.clear()
        for call in list(self._calls):
            if call.running:
                call.handle.cancel()
                if call.sent is not None:
                    self._end_attempt(call, "cancelled", None)
                else:
                    self._release(call)
            if call.attempts:
                self._trace.operations.append(call.record(self._now()))
        self._slots.clear()
        self._calls.clear()

    async def closed(self) -> None:
        """Returns once no task is left."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    # --- an attempt ------------------------------------------------------------------------------------------------

    def _start(self, call: Call) -> None:
        """The call has its slots."""
        backend = call.backend
        call.running = True
        call.slot_from = self._released
        if call.since is None:
            call.granted = call.since = self._now()
        else:
            call.granted = call.ready
        if backend.begin is not None:
            self._send(call)
            self._stop_clock(call)
            self._trace.overhead.dispatch.append(call.dispatched)
            call.handle = backend.begin(call.request, self._clock, lambda outcome: self._receive(call, outcome))
        else:
            call.handle = task = self._create_task(self._attempt(call))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            self._stop_clock(call)
            self._trace.overhead.dispatch.append(call.dispatched)

    async def _attempt(self, call: Call) -> None:
        assert call.backend.call is not None
        self._send(call)
        outcome: Outcome
        try:
            outcome = await call.backend.call(call.request)
        except OperationError as error:
            outcome = error
        except asyncio.CancelledError:
            if not call.running:
                raise
            outcome = (
                _timeout(call) if call.timed_out else OperationError("cancelled", "the backend cancelled the call")
            )
        except Exception as error:
            logger.exception("backend %s failed in an unexpected way", call.backend.name)
            outcome = OperationError("backend_defect", f"backend {call.backend.name!r} raised {error!r}")
        self._receive(call, outcome)

    def _send(self, call: Call) -> None:
        call.sent = sent = self._now()
        self.in_flight += 1
        if self.in_flight > self._trace.max_in_flight:
            self._trace.max_in_flight = self.in_flight
        limit = call.handler.timeout_ns or call.backend.timeout_ns
        if limit is not None:
            self._deadlines.add(call, sent, limit)

    def _receive(self, call: Call, outcome: Outcome) -> None:
        if not call.running:
            return
        if isinstance(outcome, ModelAnswer):
            self._end_attempt(call, "ok", outcome)
        else:
            self._end_attempt(call, outcome.kind, None)
            if isinstance(outcome, BackendError) and outcome.retryable and len(call.attempts) <= call.handler.retries:
                self._pause(call)
                return
        del self._calls[call]
        self._settled(call, outcome)

    def _end_attempt(self, call: Call, outcome: str, answer: ModelAnswer | None) -> None:
        assert call.sent is not None
        received = self._now()
        service = answer.service_ns if answer else None
        if service is not None:
            service = min(service, received - call.sent)
        usage = answer.usage if answer else None
        attempt = Attempt(
            call.asked,
            call.granted,
            call.sent,
            received,
            outcome,
            service,
            usage.input_tokens if usage else None,
            usage.output_tokens if usage else None,
            call.slot_from,
        )
        call.attempts = (*call.attempts, attempt)
        call.sent = None
        self.in_flight -= 1
        self._release(call)

    def _release(self, call: Call) -> None:
        call.running = False
        if self._limited or call.slots.limit is not None:
            self._released = (call.frame.index, call.node, len(call.attempts) - 1)
            self._slots.give_back(call.slots)

    def _expire(self, call: Call) -> None:
        call.timed_out = True
        call.handle.cancel()
        if call.backend.begin is not None:
            self._receive(call, _timeout(call))

    def _pause(self, call: Call) -> None:
        """Asks for a slot again after a while: exponential backoff with full jitter, as AWS's architecture blog has it
        ("Exponential Backoff And Jitter", 2015)."""
        longest = min(LONGEST_PAUSE_NS, FIRST_PAUSE_NS << min(len(call.attempts) - 1, 16))
        call.timed_out = False
        call.dispatched = 0
        call.asked = self._now() + self._random.randrange(longest)
        self._pauses[call] = self._clock.call_at(call.asked, lambda: self._resume(call), START)
        self.grant()

    def _resume(self, call: Call) -> None:
        del self._pauses[call]
        self.add(call)
        self.grant()

    def _stop_clock(self, call: Call) -> None:
        """Our own work on the call is done for now."""
        if call.since is not None:
            call.dispatched += self._now() - call.since
            call.since = None


def _timeout(call: Call) -> BackendError:
    limit = (call.handler.timeout_ns or call.backend.timeout_ns or 0) / 1e9
    return BackendError("timeout", f"no answer from backend {call.backend.name!r} within {limit:g} s", retryable=True)
