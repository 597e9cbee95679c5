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

from msgspec import Struct

from apxm.backends.protocol import AnyBackend, CallbackBackend, CoroutineBackend, Handle, ModelAnswer, ModelRequest
from apxm.errors import BackendError, OperationError
from apxm.runtime.deadlines import Deadlines, limit_ns
from apxm.runtime.handlers.model import ModelCall
from apxm.runtime.limits import BackendSlots, RunSlots
from apxm.runtime.loops import START, RankedClock
from apxm.runtime.state import Frame
from apxm.runtime.trace import ANOTHER_RUN, Place, RawAttempt, RawOperation, Trace

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


class Call(Struct, eq=False):
    """One operation that waits for a model. A `Struct`, because making one costs a quarter of a class's `__init__`."""

    owner: Calls
    frame: Frame
    node: int
    handler: ModelCall
    backend: BoundBackend
    request: ModelRequest
    ready: int
    asked: int
    """When the running attempt, or the next one, could start if there is a slot."""
    since: int | None
    """When our own work on this call last began; None while it waits."""
    input_collection: int
    """Our own time, in ns, until its operands were collected; waiting left out, as in the next one."""
    dispatch: int
    """From there until its attempt was sent."""
    attempts: tuple[RawAttempt, ...] = ()
    running: bool = False
    """Whether an attempt holds a slot."""
    granted: int = 0
    slot_from: Place | None = None
    sent: int | None = None
    """Of the running attempt; None until then."""
    limit: int | None = None
    """Time limit of the running attempt, in ns."""
    timed_out: bool = False
    handle: Handle | None = None
    """Of the running attempt."""

    @property
    def slots(self) -> BackendSlots:
        return self.backend.slots

    @property
    def rank(self) -> int:
        return self.frame.base + self.handler.priority

    def receive(self, outcome: Outcome) -> None:
        """The running attempt is over."""
        self.owner.receive(self, outcome)

    def record(self, received: int, routed: int) -> RawOperation:
        return (
            self.frame.index,
            self.node,
            self.backend.name,
            self.ready,
            routed,
            self.attempts,
            self.input_collection,
            self.dispatch,
            routed - received,
        )


class Calls:
    def __init__(
        self,
        clock: RankedClock,
        limited: bool,
        max_concurrency: int | None,
        seed: int,
        trace: Trace,
        settled: Callable[[Call, Outcome, int], None],
    ) -> None:
        """`limited` is false where neither the run nor any backend it uses has a limit: then no call asks for a slot.

        `settled` is called once per call that is over, unless it was cancelled; it also gets the instant at which
        the outcome was received.
        """
        self._clock = clock
        self._now = clock.now
        self._trace = trace
        self._settled = settled
        self.limited = limited
        self._slots: RunSlots[Call] = RunSlots(max_concurrency, self._start, self._wake)
        self._released: Place | None = None
        """The attempt that gave its slot back in this very event, if one did."""
        self._seed = seed
        self._random: random.Random | None = None
        """Of the pauses; made for the first of them."""
        self._running: Deadlines[Call] = Deadlines(clock, self._expire)
        self._pauses: dict[Call, Handle] = {}  # in order, so that all ends are deterministic
        self._tasks: set[asyncio.Task[None]] = set()
        self._create_task = asyncio.get_running_loop().create_task
        self.unfinished = 0
        """Calls that are not over."""
        self.in_flight = 0
        self.max_in_flight = 0

    def add(self, call: Call) -> None:
        """Starts a call, at once where nothing is limited; else `grant` starts it when its turn has come."""
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
        for call in self._slots.clear():
            self._record_cancelled(call)
        for call, pause in paused:
            pause.cancel()
            self._record_cancelled(call)
        for call in running:
            if call.handle is not None:
                call.handle.cancel()
            if call.sent is not None:
                self._end_attempt(call, call.sent, self._now(), "cancelled", None)
            else:
                self._leave(call)
            self._record_cancelled(call)
        self._slots.clear()
        self.unfinished = 0

    def _record_cancelled(self, call: Call) -> None:
        if call.attempts:
            now = self._now()
            self._trace.raw.append(call.record(now, now))

    async def closed(self) -> None:
        """Returns once no task is left."""
        while self._tasks:
            done, _ = await asyncio.wait(self._tasks)
            self._tasks -= done

    # --- an attempt ------------------------------------------------------------------------------------------------

    def _queue(self, call: Call) -> None:
        self._slots.request(call)
        if call.since is not None:
            call.dispatch += self._now() - call.since
            call.since = None

    def _start(self, call: Call) -> None:
        """The call has its slots."""
        backend = call.backend
        call.running = True
        call.slot_from = self._released
        call.limit = call.handler.timeout_ns or backend.timeout_ns
        self._running.add(call)
        since = call.since
        if since is None:
            call.granted = since = self._now()
        else:
            call.granted = call.ready
            call.since = None
        self.in_flight = in_flight = self.in_flight + 1
        if in_flight > self.max_in_flight:
            self.max_in_flight = in_flight
        if backend.begin is not None:
            call.sent = sent = self._now()
            call.dispatch += sent - since
            call.handle = backend.begin(call.request, self._clock, call.receive)
        else:
            call.handle = task = self._create_task(self._attempt(call))
            self._tasks.add(task)
            call.dispatch += self._now() - since

    async def _attempt(self, call: Call) -> None:
        assert call.backend.call is not None
        outcome: Outcome
        call.sent = self._now()
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
        finally:
            # Nothing is awaited from here on: whoever waits for the tasks need not wait for this one.
            self._tasks.discard(cast("asyncio.Task[None]", call.handle))
        self.receive(call, outcome)

    def receive(self, call: Call, outcome: Outcome) -> None:
        """The running attempt of a call is over; nothing happens where it was given up before."""
        sent = call.sent
        if not call.running or sent is None:
            return
        received = self._now()
        if isinstance(outcome, ModelAnswer):
            self._end_attempt(call, sent, received, "ok", outcome)
        else:
            self._end_attempt(call, sent, received, outcome.kind, None)
            if isinstance(outcome, BackendError) and outcome.retryable and len(call.attempts) <= call.handler.retries:
                self._pause(call)
                return
        self.unfinished -= 1
        self._settled(call, outcome, received)

    def _end_attempt(self, call: Call, sent: int, received: int, outcome: str, answer: ModelAnswer | None) -> None:
        service = input_tokens = output_tokens = None
        if answer is not None:
            usage = answer.usage
            input_tokens, output_tokens = usage.input_tokens, usage.output_tokens
            service = answer.service_ns
            if service is not None and service > received - sent:
                service = received - sent
        asked, granted, slot = call.asked, call.granted, call.slot_from
        attempt = (asked, granted, sent, received, outcome, service, input_tokens, output_tokens, slot)
        call.attempts = (*call.attempts, attempt) if call.attempts else (attempt,)
        call.sent = None
        self._leave(call)

    def _leave(self, call: Call) -> None:
        """It is not in flight any more."""
        call.running = False
        self.in_flight -= 1
        self._running.remove(call)
        if self.limited:
            self._released = (call.frame.index, call.node, len(call.attempts) - 1)
            self._slots.give_back(call.backend.slots)

    def _expire(self, call: Call) -> None:
        call.timed_out = True
        if call.handle is not None:
            call.handle.cancel()
        if call.backend.begin is not None:
            self.receive(call, _timeout(call))

    def _pause(self, call: Call) -> None:
        """Asks for a slot again after a while: exponential backoff with full jitter, as AWS's architecture blog has it
        ("Exponential Backoff And Jitter", 2015)."""
        longest = min(LONGEST_PAUSE_NS, FIRST_PAUSE_NS << min(len(call.attempts) - 1, 16))
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
        if self.limited:
            self._queue(call)
            self.grant()
        else:
            self._start(call)


def _timeout(call: Call) -> BackendError:
    limit, info = (call.limit or 0) / 1e9, call.backend.info
    where = f" ({info.endpoint})" if info.endpoint else ""
    return BackendError("timeout", f"no answer from backend {info.name!r}{where} within {limit:g} s", retryable=True)
