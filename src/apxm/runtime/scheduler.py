"""The asyncio shell around the dataflow state: it takes operations from the state, runs those that need not wait at
once and in place, and hands the others to `Calls`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from time import process_time_ns
from typing import TYPE_CHECKING

from apxm.backends.protocol import BackendInfo, ModelAnswer, ModelRequest
from apxm.errors import BackendError, InternalError, OperationError, UsageError
from apxm.operations.types import Value
from apxm.program.model import Flow
from apxm.runtime.budget import Budget, Tariff, money
from apxm.runtime.call import BoundBackend, Call, Outcome
from apxm.runtime.calls import Calls
from apxm.runtime.deadlines import limit_ns
from apxm.runtime.ending import keep_failures, keep_result, why_stopped
from apxm.runtime.handlers.inline import InlineOperation
from apxm.runtime.handlers.model import ModelCall
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import TIMEOUT, VirtualLoop, clock_of
from apxm.runtime.observing import ObservedCalls
from apxm.runtime.options import RunOptions
from apxm.runtime.progress import Progress, Spending
from apxm.runtime.state import Frame, State
from apxm.runtime.stopped import StopKind, Stopped
from apxm.runtime.trace import CLOCKED_EACH, CLOCKED_INLINE, CLOCKED_ONE_IN, Status, Trace
from apxm.runtime.watch import WATCH

_MOST_WARNINGS = 3
"""Of handlers that keep the event loop busy, in one run."""

if TYPE_CHECKING:
    from apxm.runtime.recording import Recorder  # loads SQLite, which only a journaled run needs


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

        Raises `ConfigurationError` where the program asks for a backend that the pool does not have, `UsageError` where
        its cost is limited and not known.
        """
        self._options = options or RunOptions()
        self._recorder: Recorder | None = None
        self._handlers = program.handlers
        self._flow = flow
        self._arguments = arguments
        self._state = State(program.plans, self._emit, CLOCKED_INLINE)
        self._state.ends_at_failure = self._options.on_error == "cancel"
        self._backends = {name: BoundBackend(*pool.get(name)) for name in program.backends}
        self._retries = pool.retries
        self._budget: Budget | None = None
        self._calls: Calls | None = None
        self._waited = 0
        """Operations that waited and are over, well or badly."""
        self._ending: Status | None = None
        self._error: BaseException | None = None
        """What ends it, raised by whoever called it or by ourselves: it is the caller's to hear."""
        self._warned_of: set[str] = set()
        """Paths of operations whose handlers kept the event loop busy."""
        self._cut_short: set[tuple[int, int]] = set()
        """Operations, as plan and node, of which an answer was ended by its limit of tokens."""
        self._struggling: set[str] = set()
        """Backends at which a call failed more than once."""
        self.trace = Trace(program.program, flow, started=0)
        self._spending = Spending(self.trace, self._price_of)
        if self._options.max_cost is not None:
            self._refuse_unknown_prices()

    async def execute(self, recorder: Recorder | None = None) -> Trace:
        """Runs to the end and gives the trace, however the run ended. `recorder` is for a run that is journaled;
        closing the journal is left to the caller.

        Cancelling it cancels everything in flight, waits until that is over, and raises `CancelledError` as usual. What
        `output` or `warn` raises, whatever it is, ends the run in the same way and is raised from here.
        Raises `UsageError` for a backend that cannot work on this loop, `InternalError` on a defect of ours.
        """
        loop = asyncio.get_running_loop()
        self._recorder = recorder
        virtual = isinstance(loop, VirtualLoop)
        if virtual:
            self._refuse_what_is_real()
        self._budget = self._make_budget()
        clock = clock_of(loop, self._abort)
        options, trace = self._options, self.trace
        self._now = clock.now
        self._finished: asyncio.Future[None] = loop.create_future()
        limit = options.max_concurrency
        limited = (
            limit is not None
            or self._budget is not None
            or any(backend.gate.limited for backend in self._backends.values())
        )
        calls = self._calls = self._kind_of_calls()(
            clock,
            limited,
            limit,
            options.seed,
            trace,
            retries=self._retries,
            budget=self._budget,
            recorder=recorder,
            deliver=self._deliver,
            proceed=self._proceed,
            held_up=self._held_up,
            tries_again=self._tries_again,
            abort=self._abort,
        )
        trace.frames = self._state.frames
        trace.started = self._event = clock.now()
        processor = process_time_ns()
        overall = None
        if options.timeout_s is not None:
            when = trace.started + limit_ns(options.timeout_s)
            overall = clock.call_at(when, lambda: self.stop(Status.STOPPED, "timeout"), TIMEOUT)
        if self._recorder is not None:
            self._recorder.start(self._journal_failed)
        if not virtual:
            WATCH.begin(loop)
        try:
            if self._ending is None:
                self._state.start(self._flow.plan, self._arguments)
                self._drain(calls)
                await self._finished
        finally:
            if overall is not None:
                overall.cancel()
            if not virtual:
                WATCH.end(loop)
            calls.cancel()
            await calls.closed()
        if self._error is not None:
            raise self._error
        self._conclude()
        if self._recorder is not None:
            self._recorder.ended(trace)
        trace.processor_ns = process_time_ns() - processor
        return trace

    def _journal_failed(self) -> None:
        assert self._recorder is not None
        self._warn(f"{self._recorder.failure}")
        if self._recorder.required:
            self.stop(Status.STOPPED, "journal")

    def stop(self, status: Status, kind: StopKind = "interrupted") -> None:
        """Ends the run early: nothing new starts, what is in flight is cancelled, what is finished is kept. `kind` says
        why, unless it failed."""
        if self._ending is not None or (self._calls is not None and self._finished.done()):
            return
        self._ending = status
        self._state.stopped = True
        if self._calls is None:  # it has not begun
            self.trace.stopped = Stopped(kind, used=0.0)
            return
        try:
            if status is not Status.FAILED:
                seconds = (self._now() - self.trace.started) / 1e9
                reason = str(self._recorder.failure) if self._recorder else ""
                self.trace.stopped = why_stopped(
                    kind, self.trace, self._calls, self._budget, self._options, seconds, reason
                )
            self._calls.cancel()
        finally:
            self._finished.set_result(None)

    def _abort(self, error: BaseException) -> None:
        """Ends the run by an error. The end itself comes with the loop's next turn: here anything may be going on."""
        if self._error is None:
            self._error = error
        self._state.stopped = True
        asyncio.get_running_loop().call_soon(self.stop, Status.FAILED)

    def _tell(self, listener: Callable[[str], None] | None, text: str) -> None:
        """The only way to the caller's functions. What they raise is no failure of whatever is going on, but the
        caller's way to end the run."""
        if listener is None:
            return
        try:
            listener(text)
        except BaseException as error:
            self._abort(error)

    def _warn(self, text: str) -> None:
        self._tell(self._options.warn, text)

    @property
    def backends(self) -> list[BackendInfo]:
        """Those that calls of the program may go to, in the order in which it names them."""
        return [backend.info for backend in self._backends.values()]

    @property
    def limits_answers(self) -> bool:
        """Whether it has a budget, and so gives `DEFAULT_MAX_TOKENS` to calls that nothing else limits."""
        unlimited = (
            call.max_tokens is None and self._backends[call.backend].limits.max_tokens is None
            for call in self._model_calls()
        )
        return self._options.has_budget and any(unlimited)

    def progress(self) -> Progress:
        running = self._calls.in_flight if self._calls else 0
        waiting = self._calls.unfinished - running if self._calls else 0
        elapsed = self._now() - self.trace.started if self._calls else 0
        return Progress(self._executed + self._state.skipped, running, waiting, elapsed, *self._spending.look())

    def _price_of(self, frame: int, node: int) -> tuple[Tariff, str]:
        """What a call costs, and the model that it asks for."""
        handler = self._handlers[self.trace.frames[frame].plan][node]
        assert isinstance(handler, ModelCall)
        backend = self._backends[handler.backend]
        return backend.tariff, handler.model or backend.info.model

    def _kind_of_calls(self) -> Callable[..., Calls]:
        """Decided here, once: calls that nobody watches do not look for who might."""
        return Calls if self._options.observer is None else partial(ObservedCalls, self._options.observer)

    def _make_budget(self) -> Budget | None:
        options = self._options
        if not options.has_budget:
            return None
        spent = self._recorder.spent if self._recorder else None
        return Budget(options.max_total_tokens, None if options.max_cost is None else money(options.max_cost), spent)

    def _refuse_unknown_prices(self) -> None:
        if unpriced := self._unpriced():
            name, model = unpriced[0]
            raise UsageError(
                f"the cost of this run cannot be limited: the price of {model!r} at backend {name!r} is not known",
                hint=f'set [backends.{name}.prices."{model}"] with input and output, per million tokens',
            )

    def _unpriced(self) -> list[tuple[str, str]]:
        """Backend and model of the calls whose price nobody wrote down."""
        used = {(self._backends[call.backend], call.model) for call in self._model_calls()}
        named = ((backend, model or backend.info.model) for backend, model in used)
        return sorted((b.name, model) for b, model in named if model not in b.limits.prices)

    def _model_calls(self) -> Iterator[ModelCall]:
        """As the program has them, however often each is made."""
        return (handler for plan in self._handlers for handler in plan if isinstance(handler, ModelCall))

    # --- the loop of the dataflow ----------------------------------------------------------------------------------

    @property
    def _executed(self) -> int:
        return self._waited + self._state.ran_inline

    def _drain(self, calls: Calls) -> None:
        """Starts everything that is ready, and what becomes ready by that, until nothing is."""
        try:
            if self._state.ready:
                self._take_all(calls)
            if self._state.stopped:
                self.stop(Status.FAILED)  # unless it was stopped before
                calls.cancel()
                return
            if calls.limited:
                calls.grant()
                if self._finished.done():  # by what that led to
                    return
            if calls.unaffordable and calls.unfinished == len(calls.unaffordable):
                self.stop(Status.STOPPED, calls.limit_reached)
            elif not calls.unfinished:
                if self._state.open_frames:
                    raise InternalError("nothing is in flight, yet some operations never became ready")
                self._finished.set_result(None)
        except BaseException as error:
            # Not raised from here: whoever is told of the end of a call has its own work to finish.
            self._abort(error)

    def _take_all(self, calls: Calls) -> None:
        state, now, handlers, backends = self._state, self._now, self._handlers, self._backends
        take, ready = state.take, self._event
        while True:
            clocked = calls.added < CLOCKED_EACH or calls.added % CLOCKED_ONE_IN == 0
            inline_before = state.ran_inline
            last = now() if clocked else 0
            item = take()
            if item is None:
                break
            taken = now() if clocked else 0
            frame, node = item
            handler = handlers[frame.plan.index][node]
            try:
                if isinstance(handler, ModelCall):
                    backend = backends[handler.backend]
                    request = handler.request(frame.values, backend.can_reason)
                    if self._recorder is not None and self._recorded(self._recorder, frame, node, backend, request):
                        continue
                    collected = now() if clocked else 0
                    # What ran inline on the way to this operation is no part of its dispatch.
                    taking = taken - last if state.ran_inline == inline_before else 0
                    collection = collected - taken
                    calls.add(
                        Call(
                            calls,
                            frame,
                            node,
                            handler,
                            backend,
                            request,
                            ready,
                            ready,
                            clocked,
                            collected,
                            collection,
                            taking,
                        )
                    )
                else:
                    assert handler is not None
                    self._run_clocked(frame, node, handler)
            except OperationError as error:
                self._waited += isinstance(handler, ModelCall)
                state.broke(frame, node, error)

    def _recorded(
        self, recorder: Recorder, frame: Frame, node: int, backend: BoundBackend, request: ModelRequest
    ) -> bool:
        """Whether an earlier process made this call: then its answer is the operation's, and nothing is sent."""
        path = self.trace.path_of(frame.index, node)
        result = recorder.recorded(path, request, backend.name, request.model or backend.info.model)
        if result is None:
            return False
        if self._options.observer is not None:
            self._options.observer.reused(path, request, result)
        self._waited += 1
        self.trace.reused += 1
        self._state.succeed(frame, node, result.value)
        return True

    def _run_clocked(self, frame: Frame, node: int, operation: InlineOperation) -> None:
        now, overhead = self._now, self.trace.overhead
        taken = now()
        arguments = operation.collect(frame.values)
        collected = now()
        value = operation.apply(arguments, self._emit)
        applied = now()
        self._state.succeed(frame, node, value)
        overhead.token_routing.append(now() - applied)
        overhead.input_collection.append(collected - taken)

    def _deliver(self, call: Call, outcome: Outcome) -> int:
        """An operation that waited is over: its token goes to the state. Returns when that was done."""
        self._waited += 1
        if isinstance(outcome, ModelAnswer):
            if outcome.cut_off:
                self._cut_off(call)
            self._state.succeed(call.frame, call.node, outcome.text)
        else:
            self._state.broke(call.frame, call.node, outcome)
        self._event = routed = self._now()
        return routed

    def _proceed(self) -> None:
        calls = self._calls
        assert calls is not None
        if self._state.ready or calls.limited or not calls.unfinished or self._state.stopped:
            self._drain(calls)

    def _emit(self, line: str) -> None:
        if self._recorder is not None:
            self._recorder.printed(len(self.trace.printed), line)
        self.trace.printed.append(line)
        self._tell(self._options.output, line)

    def _held_up(self, call: Call, duration: int, where: str) -> None:
        path = self.trace.path_of(call.frame.index, call.node)
        if path in self._warned_of or len(self._warned_of) == _MOST_WARNINGS:
            return
        self._warned_of.add(path)
        self._warn(
            f"{path}: backend {call.backend.name!r} kept the event loop busy for at least {duration // 1_000_000} ms "
            f"(at {where}), and nothing else could go on; asyncio.to_thread is the place for code that blocks"
        )

    def _cut_off(self, call: Call) -> None:
        """Said once per operation of the program, however often it is called."""
        place = call.frame.plan.index, call.node
        if place in self._cut_short:
            return
        self._cut_short.add(place)
        most = call.request.max_tokens or call.backend.limits.max_tokens
        limit = f"max_tokens: {most:,}" if most else "the endpoint's own, as there is no max_tokens"
        path = self.trace.path_of(call.frame.index, call.node)
        self._warn(f"{path}: the answer was cut off by a limit of tokens ({limit}); a larger one gives more")

    def _tries_again(self, call: Call, error: BackendError) -> None:
        """Said once per backend: whoever waits shall know why."""
        if call.backend.name in self._struggling:
            return
        self._struggling.add(call.backend.name)
        path = self.trace.path_of(call.frame.index, call.node)
        limit = f"up to {call.retries} times" if call.hoping_since is None else f"for {error.patience_s:g} s"
        self._warn(f"{path}: {error.message}; tried again, {limit}, as others may be")

    # --- the end ---------------------------------------------------------------------------------------------------

    def _conclude(self) -> None:
        trace, state = self.trace, self._state
        trace.ended = self._now()
        trace.executed, trace.failed = self._executed, state.failed
        trace.skipped = state.skipped
        trace.budget = self._budget
        trace.max_in_flight = self._calls.max_in_flight if self._calls else 0
        keep_failures(trace, state.failures)
        if self._ending is not None:
            trace.status = self._ending
        elif trace.failures:
            trace.status = Status.FAILED
        elif self._flow.result is not None:
            keep_result(trace, state)

    def _refuse_what_is_real(self) -> None:
        if self._recorder is not None:
            raise UsageError("a journal is written in real time, which a run on virtual time cannot see")
        for backend in self._backends.values():
            if not backend.simulated:
                raise UsageError(
                    f"backend {backend.name!r} answers in real time, which a run on virtual time cannot see"
                )
