"""The asyncio shell around the dataflow state: it takes operations from the state, runs those that need not wait at
once and in place, and hands the others to `Calls`."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from apxm.backends.protocol import BackendInfo, ModelAnswer
from apxm.errors import InternalError, OperationError, UsageError
from apxm.operations.types import Value
from apxm.program.model import Flow
from apxm.runtime.calls import BoundBackend, Call, Calls, Outcome
from apxm.runtime.deadlines import limit_ns
from apxm.runtime.handlers.inline import InlineCall
from apxm.runtime.handlers.model import ModelCall
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import TIMEOUT, VirtualLoop, clock_of
from apxm.runtime.state import Failed, Frame, State
from apxm.runtime.trace import SAMPLING, Failure, Status, Trace


@dataclass(frozen=True)
class RunOptions:
    max_concurrency: int | None = None
    """Most model calls in flight at once; None is no limit."""
    timeout_s: float | None = None
    """Limit of the whole run; it then ends as `stopped`."""
    seed: int = 0
    """Of the pauses between retries."""
    output: Callable[[str], None] | None = None
    """Called with each line the program prints, in program order, as soon as it is printed."""


class Progress(NamedTuple):
    done: int
    """Operations over, skipped ones included."""
    running: int
    """Operations in flight."""
    waiting: int
    """Operations ready, but without a slot or between two attempts."""


class Run:
    """One run of one flow. `execute` it once, inside a running loop; other methods may be called meanwhile."""

    def __init__(
        self,
        program: LoadedProgram,
        flow: Flow,
        arguments: Sequence[Value],
        pool: BackendPool,
        options: RunOptions | None = None,
    ) -> None:
        """`arguments` are the values of the flow's parameters, in order, already of their types.

        Raises `ConfigurationError` where the program asks for a backend that the pool does not have.
        """
        self._options = options or RunOptions()
        self._handlers = program.handlers
        self._flow = flow
        self._arguments = arguments
        self._state = State(program.plans)
        self._backends = {
            handler.backend: BoundBackend(*pool.get(handler.backend))
            for plan in program.handlers
            for handler in plan
            if isinstance(handler, ModelCall)
        }
        self._calls: Calls | None = None
        self._inline = 0
        self._ending: Status | None = None
        self.trace = Trace(program.program, flow, started=0)

    async def execute(self) -> Trace:
        """Runs to the end and gives the trace, however the run ended.

        Cancelling it cancels everything in flight, waits until that is over, and raises `CancelledError` as usual.
        Raises `UsageError` for a backend that cannot work on this loop, `InternalError` on a defect of ours.
        """
        loop = asyncio.get_running_loop()
        if isinstance(loop, VirtualLoop):
            self._refuse_real_backends()
        clock = clock_of(loop)
        options, trace = self._options, self.trace
        self._now = clock.now
        self._finished: asyncio.Future[None] = loop.create_future()
        calls = self._calls = Calls(clock, options.max_concurrency, options.seed, trace, self._settle)
        trace.frames = self._state.frames
        trace.started = self._event = clock.now()
        overall = None
        if options.timeout_s is not None:
            when = trace.started + limit_ns(options.timeout_s)
            overall = clock.call_at(when, lambda: self.stop(Status.STOPPED), TIMEOUT)
        try:
            if self._ending is None:
                self._state.start(self._flow.plan, self._arguments)
                self._drain(calls)
                await self._finished
        finally:
            if overall is not None:
                overall.cancel()
            calls.cancel()
            await calls.closed()
        self._conclude()
        return trace

    def stop(self, status: Status) -> None:
        """Ends the run early: nothing new starts, what is in flight is cancelled, what is finished is kept."""
        if self._ending is not None or (self._calls is not None and self._finished.done()):
            return
        self._ending = status
        if self._calls is not None:
            self._calls.cancel()
            self._finished.set_result(None)

    @property
    def backends(self) -> list[BackendInfo]:
        """Those that calls of the program may go to, in the order in which it names them."""
        return [backend.info for backend in self._backends.values()]

    def progress(self) -> Progress:
        running = self._calls.in_flight if self._calls else 0
        waiting = len(self._calls) - running if self._calls else 0
        return Progress(self.trace.executed + self._state.skipped, running, waiting)

    # --- the loop of the dataflow ----------------------------------------------------------------------------------

    def _drain(self, calls: Calls) -> None:
        """Starts everything that is ready, and what becomes ready by that, until nothing is."""
        try:
            self._take_all(calls)
            if self._ending is not None:
                calls.cancel()
                return
            calls.grant()
            if not calls:
                if self._state.open_frames:
                    raise InternalError("nothing is in flight, yet some operations never became ready")
                self._finished.set_result(None)
        except BaseException as defect:
            # Not raised from here: this may be the callback of a timer, whose exceptions asyncio would only log.
            if not self._finished.done():
                self._finished.set_exception(defect)

    def _take_all(self, calls: Calls) -> None:
        state, now, handlers, trace = self._state, self._now, self._handlers, self.trace
        last: int | None = now()
        """When the previous operation was done with; None where that was not clocked."""
        while self._ending is None and (item := state.take()) is not None:
            frame, node = item
            handler = handlers[frame.plan.index][node]
            try:
                if isinstance(handler, InlineCall):
                    trace.executed += 1
                    self._inline += 1
                    if self._inline % SAMPLING == 1:
                        last = self._run_clocked(frame, node, handler, last)
                    else:
                        last = None
                        state.succeed(frame, node, handler.apply(handler.collect(frame.values), self._emit))
                else:
                    assert handler is not None
                    self._call(calls, frame, node, handler, last)
                    last = now()
            except OperationError as error:
                self._fail(frame, node, error)

    def _run_clocked(self, frame: Frame, node: int, handler: InlineCall, last: int | None) -> int:
        now, overhead = self._now, self.trace.overhead
        taken = now()
        arguments = handler.collect(frame.values)
        collected = now()
        value = handler.apply(arguments, self._emit)
        applied = now()
        self._state.succeed(frame, node, value)
        routed = now()
        if last is not None:
            overhead.dispatch.append(taken - last)
        overhead.input_collection.append(collected - taken)
        overhead.token_routing.append(routed - applied)
        return routed

    def _call(self, calls: Calls, frame: Frame, node: int, handler: ModelCall, last: int | None) -> None:
        taken = self._now()
        backend = self._backends[handler.backend]
        try:
            request = handler.request(frame.values, backend.can_reason)
        except OperationError:
            self.trace.executed += 1
            raise
        collected = self._now()
        self.trace.overhead.input_collection.append(collected - taken)
        call = Call(frame, node, handler, backend, request, self._event)
        call.since = collected
        call.dispatched = 0 if last is None else taken - last
        calls.add(call)

    def _settle(self, call: Call, outcome: Outcome) -> None:
        """An operation that waited is over: its token goes to the state, and on."""
        assert self._calls is not None
        trace = self.trace
        trace.executed += 1
        received = self._now()
        if isinstance(outcome, ModelAnswer):
            self._state.succeed(call.frame, call.node, outcome.text)
        else:
            self._fail(call.frame, call.node, outcome)
        self._event = self._now()
        trace.overhead.token_routing.append(self._event - received)
        trace.operations.append(call.record(self._event))
        self._drain(self._calls)

    def _fail(self, frame: Frame, node: int, error: OperationError) -> None:
        self.trace.failed += 1
        failure = Failed(frame, node, error)
        self._state.failures.append(failure)
        self._state.fail(frame, node, failure)

    def _emit(self, line: str) -> None:
        self.trace.printed.append(line)
        if self._options.output is not None:
            self._options.output(line)

    # --- the end ---------------------------------------------------------------------------------------------------

    def _conclude(self) -> None:
        trace, state = self.trace, self._state
        trace.ended = self._now()
        trace.skipped = state.skipped
        trace.failures = [self._failure(failed) for failed in sorted(state.failures, key=self._in_text)]
        if self._ending is not None:
            trace.status = self._ending
        elif trace.failures:
            trace.status = Status.FAILED
        elif self._flow.result is not None:
            # A copy: the value may share parts with the program's own literals.
            trace.value = copy.deepcopy(state.results[0])

    def _in_text(self, failed: Failed) -> tuple[tuple[int, int], str]:
        place = failed.frame.index, failed.node
        return self.trace.position_of(*place), self.trace.path_of(*place)

    def _failure(self, failed: Failed) -> Failure:
        place = failed.frame.index, failed.node
        return Failure(self.trace.path_of(*place), self.trace.place_of(*place), failed.error.kind, failed.error.message)

    def _refuse_real_backends(self) -> None:
        for backend in self._backends.values():
            if not backend.simulated:
                raise UsageError(
                    f"backend {backend.name!r} answers in real time, which a run on virtual time cannot see"
                )
