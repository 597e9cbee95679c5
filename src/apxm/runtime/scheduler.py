"""The asyncio shell around the dataflow state: it takes operations from the state, runs those that need not wait at
once and in place, and hands the others to `Calls`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from time import process_time_ns
from typing import TYPE_CHECKING, TypeVar

from apxm.backends.protocol import NO_LIMITS, BackendInfo
from apxm.errors import ApxmError, InternalError, OperationError, Problems, UsageError
from apxm.operations.types import Value, text_form
from apxm.program.program import Flow, Program
from apxm.program.tail import Tail
from apxm.runtime.attempts import Attempts
from apxm.runtime.budget import Budget
from apxm.runtime.calls import Calls
from apxm.runtime.content import NO_FILES, ContentFiles
from apxm.runtime.ending import keep_failures, keep_result, why_stopped
from apxm.runtime.frames import Frame
from apxm.runtime.gates import Gate, found_limits
from apxm.runtime.handlers.inline import InlineOperation
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import TIMEOUT, RankedClock, VirtualLoop, clock_of, enter, limit_ns
from apxm.runtime.observing import ObservedCalls
from apxm.runtime.options import RunOptions
from apxm.runtime.progress import InFlight, Progress, Spending, refuse_unknown_prices
from apxm.runtime.result_text import ResultText
from apxm.runtime.state import State
from apxm.runtime.stopped import StopKind, Stopped
from apxm.runtime.streaming import Streams
from apxm.runtime.trace import CLOCKED_EACH, CLOCKED_INLINE, CLOCKED_ONE_IN, Status, Trace
from apxm.runtime.waiting import Binding, Call, Provider, WaitingOperation
from apxm.runtime.watch import WATCH, is_ours
from apxm.tools.toolbox import NO_TOOLS, Toolbox

if TYPE_CHECKING:
    from apxm.runtime.recording import Recorder  # loads SQLite, which only a journaled run needs

T = TypeVar("T")
_AS_USUAL = RunOptions()


class Run:
    """One run of one flow. `execute` it once, inside a running loop; other methods may be called meanwhile."""

    def __init__(
        self,
        program: LoadedProgram,
        flow: Flow,
        arguments: Sequence[Value],
        pool: BackendPool,
        options: RunOptions | None = None,
        tools: Toolbox = NO_TOOLS,
    ) -> None:
        """`arguments` are the values of the flow's parameters, in order, already of their types.

        Raises `UsageError` where its cost is limited and not known.
        """
        self._options = options or _AS_USUAL
        self._recorder: Recorder | None = None
        self._handlers = program.handlers
        self._flow = flow
        self._arguments = arguments
        self._state = self._new_state(program)
        self._state.ends_at_failure = self._options.on_error == "cancel"
        self._state.max_open_turns = self._options.max_open_turns
        self._linked = program.linked(flow)
        self.files = self._options.files or (
            ContentFiles.of(_path_of(program.program), flow, arguments) if self._linked.sends_content else NO_FILES
        )
        self._binding = Binding(pool, tools, program.declarations, self._options.seed, self.files, self._warn_of)
        self._providers: dict[Hashable, Provider] = {}
        self._unlinked = Problems()
        for key, (operation, *_) in self._linked.needs.items():
            if (provider := self._unlinked.of(partial(operation.bind, self._binding), None)) is not None:
                self._providers[key] = provider
        for flaw in content_flaws(program, flow, arguments, self._providers, self.files):
            self._unlinked.add(flaw)
        self._tail: Tail | None = None
        self._text: ResultText | None = None
        if self._options.on_text is not None:
            self._tail = Tail(program.program, flow)
            self._text = ResultText(partial(self._tell, self._options.on_text), self._printed_all)
        self._streams = (
            self._tail is not None
            or self._linked.limits_first_parts
            or any(provider.first_timeout_ns for provider in self._providers.values())
        )
        self._calls: Calls | None = None
        self._budget: Budget | None = None
        self._unasked = 0
        """Operations that would have waited, and are over without a call."""
        self._ending: Status | None = None
        self._error: BaseException | None = None
        """What ends it, raised by whoever called it or by ourselves: it is the caller's to hear."""
        self.trace = Trace(program.program, flow, started=0)
        self._spending = Spending(self.trace, self.who)
        if self._options.limits_cost:
            refuse_unknown_prices(self._uses())

    async def link(self) -> None:
        """Asks all whom it can need whether they have what it needs of them. Raises `UsageError` or
        `ConfigurationError` for what is missing, `LinkError` for several things."""
        await refuse_missing(self._linked.needs, self._providers, self._unlinked)

    async def execute(self, recorder: Recorder | None = None) -> Trace:
        """Runs to the end and gives the trace, however the run ended. `recorder` is for a run that is journaled;
        closing the journal is left to the caller.

        Cancelling it cancels everything in flight, waits until that is over, and raises `CancelledError` as usual. What
        `output`, `on_text` or `warn` raises, whatever it is, ends the run in the same way and is raised from here.
        Raises `ConfigurationError` where the flow asks for a backend that the pool does not have, `LinkError` for
        several, `UsageError` for a backend that cannot work on this loop, `InternalError` on a defect of ours.
        """
        self._unlinked.raise_all()
        loop = asyncio.get_running_loop()
        self._recorder = recorder
        virtual = isinstance(loop, VirtualLoop)
        if virtual:
            self._refuse_what_is_real()
        clock = clock_of(loop, self._abort)
        trace = self.trace
        self._now = clock.now
        self._finished: asyncio.Future[None] = loop.create_future()
        trace.frames = self._state.frames
        trace.started = clock.now()
        attempts = Attempts(clock, self._warn_of, self._abort, foreign=self._runs_foreign_code)
        calls = self._calls = self._new_calls(clock, attempts)
        attempts.received = calls.received
        self._attempt_ended = attempts.ended
        processor = process_time_ns()
        overall = None
        if self._options.timeout_s is not None:
            when = trace.started + limit_ns(self._options.timeout_s)
            overall = clock.call_at(when, lambda: self.stop(Status.STOPPED, "timeout"), TIMEOUT)
        if recorder is not None:
            recorder.start(self._journal_failed, self._abort)
        if not virtual:
            WATCH.begin(loop)
        try:
            if self._ending is None:
                self._begin()
                enter(calls.proceed, self._abort)
                await self._until_finished()
        finally:
            self._end()
            if overall is not None:
                overall.cancel()
            if not virtual:
                WATCH.end(loop)
            calls.cancel()
            await attempts.closed()
        if self._error is not None:
            raise self._error
        self._conclude(calls)
        trace.processor_ns = process_time_ns() - processor
        if self._recorder is not None:
            self._recorder.ended(trace)
        if self._text is not None and trace.status is Status.SUCCEEDED and self._flow.result is not None:
            self._text.end(text_form(trace.value))
            if self._error is not None:
                raise self._error
        return trace

    async def _until_finished(self) -> None:
        await self._finished

    def _new_state(self, program: LoadedProgram) -> State:
        return State(program.program, program.plans, self._emit, CLOCKED_INLINE)

    def _begin(self) -> None:
        """Makes the first operations ready."""
        self._state.start(self._flow.plan, self._arguments)

    def _end(self) -> None:
        """Nothing more is begun, and nothing in flight is cancelled yet."""

    def _new_calls(self, clock: RankedClock, attempts: Attempts) -> Calls:
        options, recorder = self._options, self._recorder
        spent = recorder.spent if recorder else None
        self._budget = budget = Budget.of(options.max_total_tokens, options.max_cost, spent, options.budget)
        gates = [provider.gate for provider in self._providers.values()]
        limited = options.max_concurrency is not None or budget is not None
        # Decided here, once: calls that nobody watches do not look for who might.
        kind = Calls if options.observer is None else partial(ObservedCalls, options.observer)
        return kind(
            clock,
            self._state,
            self.trace,
            limited=limited or any(gate is not None and gate.limited for gate in gates),
            max_concurrency=options.max_concurrency,
            budget=budget,
            recorder=recorder,
            begin=self._how_begun(clock, attempts),
            take=self._take_all,
            rest=self._rest,
            abort=self._abort,
        )

    def _how_begun(self, clock: RankedClock, attempts: Attempts) -> Callable[[Call], None]:
        """Begins an attempt, by as few steps as those of this run need."""
        begin = self._sent(clock, attempts.begin)
        begin = self._streamed(clock, begin) if self._streams else begin
        return self._named(begin) if any(provider.by_operation for provider in self._providers.values()) else begin

    @property
    def _runs_foreign_code(self) -> bool:
        """Whether the code that calls run in the event loop may be somebody else's, which may hold that up."""
        return not all(is_ours(getattr(p.begin or p.call, "__module__", None)) for p in self._providers.values())

    def _sent(self, clock: RankedClock, begin: Callable[[Call], None]) -> Callable[[Call], None]:
        """`begin`, as whoever watches wants it."""
        observer = self._options.observer
        return begin if observer is None else observer.sending(begin, clock)

    def _streamed(self, clock: RankedClock, begin: Callable[[Call], None]) -> Callable[[Call], None]:
        """`begin`, whose answers come in parts where somebody has a use for them."""
        return Streams(clock, begin, self._tail, self._text).begin

    def _named(self, begin: Callable[[Call], None]) -> Callable[[Call], None]:
        """`begin`, which where a provider wants to know says before which operation asks. A journal does not know."""

        def begin_named(call: Call) -> None:
            if call.provider.by_operation:
                path = self.trace.path_of(call.frame.index, call.node)
                call.made, call.request = call.original, call.provider.named(call.request, path)
            begin(call)

        return begin_named

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

    def _tell(self, listener: Callable[[T], None] | None, what: T) -> None:
        """The only way to the caller's functions. What they raise is no failure of whatever is going on, but the
        caller's way to end the run."""
        if listener is None:
            return
        try:
            listener(what)
        except BaseException as error:
            self._abort(error)

    def _warn(self, text: str) -> None:
        self._tell(self._options.warn, text)

    def _warn_of(self, call: Call, text: str) -> None:
        self._warn(f"{self.trace.path_of(call.frame.index, call.node)}: {text}")

    def _emit(self, line: str) -> None:
        if self._recorder is not None:
            self._recorder.printed(len(self.trace.printed), line)
        self.trace.printed.append(line)
        self._tell(self._options.output, line)

    def _printed_all(self) -> bool:
        """Whether nothing more will be printed."""
        assert self._tail is not None
        return all(port in self._state.results for port in self._tail.print_ports)

    # --- what may be asked of it -----------------------------------------------------------------------------------

    @property
    def backends(self) -> list[BackendInfo]:
        """Those that calls of the program may go to, in the order in which it names them."""
        return [provider.info for provider in self._providers.values() if provider.info is not None]

    @property
    def gates(self) -> list[Gate]:
        """Those that its calls so far, or those of its program, may have to pass."""
        return [gate for gate in dict.fromkeys(each.gate for each in self._providers.values()) if gate is not None]

    @property
    def tools(self) -> list[str]:
        """The tools that it may call, in the order in which the program names them."""
        return [provider.name for provider in self._providers.values() if provider.kind == "tool"]

    @property
    def limits_answers(self) -> bool:
        """Whether it has a budget, and so limits answers that nothing else limits."""
        return self._options.has_budget and any(provider.bounds(operation) for operation, provider in self._uses())

    @property
    def streams_result(self) -> bool:
        """Whether the text of its result may come in parts, as one call's answer."""
        return self._tail is not None and self._tail.has_calls

    def progress(self) -> Progress:
        """How far it is."""
        calls = self._calls
        running = calls.in_flight if calls else 0
        waiting = calls.unfinished - running if calls else 0
        elapsed = self._now() - self.trace.started if calls else 0
        done, found = self._executed + self._state.skipped, found_limits(self.gates)
        return Progress(done, running, waiting, elapsed, *self._spending.look(), found, self._state.failed)

    def longest(self, most: int) -> list[InFlight]:
        """So many of the calls in flight, those that were sent first in front."""
        calls = [] if self._calls is None else self._calls.longest(most)
        return [
            InFlight(
                self.trace.path_of(call.frame.index, call.node),
                call.provider.variant(call.request) or call.provider.name,
                self._now() - call.sent,
                len(call.earlier) + 1,
            )
            for call in calls
        ]

    @property
    def _executed(self) -> int:
        return self._unasked + (self._calls.delivered if self._calls else 0) + self._state.ran_inline

    def _uses(self) -> Iterator[tuple[WaitingOperation, Provider]]:
        """Its waiting operations as the program has them, however often each is made, and who does them."""
        for plan in self._linked.plans:
            for operation in self._handlers[plan]:
                if isinstance(operation, WaitingOperation) and operation.provider in self._providers:
                    yield operation, self._providers[operation.provider]

    def who(self, frame: int, node: int) -> tuple[WaitingOperation, Provider]:
        operation = self._handlers[self.trace.frames[frame].plan][node]
        assert isinstance(operation, WaitingOperation)
        return operation, self._providers[operation.provider]

    # --- the loop of the dataflow ----------------------------------------------------------------------------------

    def _take_all(self) -> None:
        """Starts everything that is ready, and what becomes ready by that, until nothing is."""
        state, now, handlers, providers, calls = self._state, self._now, self._handlers, self._providers, self._calls
        assert calls is not None
        take, ready, ended = state.take, calls.routed, self._attempt_ended
        recorder = self._recorder if self._recorder is not None and self._recorder.goes_on else None
        while state.ready:
            clocked = calls.added < CLOCKED_EACH or calls.added % CLOCKED_ONE_IN == 0
            inline_before = state.ran_inline
            last = now() if clocked else 0
            item = take()
            if item is None:
                break
            taken = now() if clocked else 0
            frame, node = item
            operation = handlers[frame.plan.index][node]
            try:
                if isinstance(operation, WaitingOperation):
                    provider = providers[operation.provider]
                    request = operation.request(frame.values, provider.form)
                    if recorder is not None and self._recorded(recorder, frame, node, provider, request):
                        continue
                    collected = now() if clocked else 0
                    # What ran inline on the way to this operation is no part of its dispatch.
                    taking = taken - last if state.ran_inline == inline_before else 0
                    collection = collected - taken
                    calls.add(Call(
                        ended, frame, node, operation, provider, request, ready, ready,
                        clocked, collected, collection, taking,
                    ))  # fmt: skip
                else:
                    assert operation is not None
                    self._run_clocked(frame, node, operation)
            except OperationError as error:
                self._unasked += isinstance(operation, WaitingOperation)
                state.broke(frame, node, error)

    def _recorded(self, recorder: Recorder, frame: Frame, node: int, provider: Provider, request: object) -> bool:
        """Whether an earlier process made this call: then its answer is the operation's, and nothing is sent."""
        path = self.trace.path_of(frame.index, node)
        result = recorder.recorded(path, request, provider.name, provider.variant(request))
        if result is None:
            return False
        if self._options.observer is not None:
            self._options.observer.reused(path, request, result)
        self._unasked += 1
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

    def _rest(self) -> None:
        """Nothing is left to do, or nothing that its budget could pay for, or it was stopped."""
        calls = self._calls
        assert calls is not None
        if self._state.stopped:
            self.stop(Status.FAILED)  # unless it was stopped before
            calls.cancel()
        elif calls.unfinished:
            self.stop(Status.STOPPED, calls.limit_reached)
        elif self._state.open_frames:
            raise InternalError("nothing is in flight, yet some operations never became ready")
        elif not self._finished.done():
            self._finished.set_result(None)

    # --- the end ---------------------------------------------------------------------------------------------------

    def _conclude(self, calls: Calls) -> None:
        trace, state = self.trace, self._state
        trace.ended = self._now()
        trace.executed, trace.failed = self._executed, state.failed
        trace.skipped = state.skipped
        trace.budget = self._budget
        trace.cost = self._spending.cost
        trace.max_in_flight = calls.max_in_flight
        trace.backends, trace.max_concurrency = tuple(self.backends), self._options.max_concurrency
        limits = {each.info.name: each.limits for each in self._binding.pool.backends.values()}
        trace.limits = tuple(limits.get(info.name, NO_LIMITS) for info in trace.backends)
        if state.failures or state.caught:
            keep_failures(trace, state.failures, state.caught)
        if self._ending is not None:
            trace.status = self._ending
        elif trace.failures:
            trace.status = Status.FAILED
        elif self._flow.result is not None:
            keep_result(trace, state)

    def _refuse_what_is_real(self) -> None:
        if self._recorder is not None:
            raise UsageError("a journal is written in real time, which a run on virtual time cannot see")
        for provider in self._providers.values():
            if not provider.virtual:
                raise UsageError(f"{provider.title} answers in real time, which a run on virtual time cannot see")


async def refuse_missing(
    needs: Mapping[Hashable, tuple[WaitingOperation, ...]], providers: Mapping[Hashable, Provider], problems: Problems
) -> None:
    """Asks providers whether they have what is needed of them. Raises for what is missing, and for what is among the
    `problems` already."""
    alone = sum(map(len, needs.values())) == 1
    asked = [provider.missing(needs[key], alone) for key, provider in providers.items()]
    # One is asked in place: a task would let the loop turn before a run has begun.
    found = await asyncio.gather(*asked) if len(asked) > 1 else [await each for each in asked]
    for error in chain.from_iterable(found):
        problems.add(error)
    problems.raise_all()


def content_flaws(
    program: LoadedProgram,
    flow: Flow,
    arguments: Sequence[Value],
    providers: Mapping[Hashable, Provider],
    files: ContentFiles,
) -> Iterator[ApxmError]:
    """What is wrong with the images and files that a flow names, and with who is to take them."""
    linked, names = program.linked(flow), program.program.names
    for plan in linked.plans if linked.sends_content else ():
        # What the flow itself asks for is certain to be needed, so what it is given is looked at, too.
        inputs = arguments if plan == flow.plan else ()
        for operation, name in zip(program.handlers[plan], names.plans[plan].nodes, strict=True):
            if isinstance(operation, WaitingOperation) and operation.provider in providers:
                place = f"{names.file}:{name.line}:{name.column}"
                yield from operation.content_flaws(providers[operation.provider], files, place, inputs)


def _path_of(program: Program) -> str | None:
    return None if program.origin is None else program.origin[0]
