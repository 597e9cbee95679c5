"""A run of a Python flow: lanes on the scheduler's own calls, recorded as a program that grows."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from functools import partial
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, TypeVar, cast

from greenlet import GreenletExit, getcurrent
from msgspec.structs import replace

from apxm.api import INSIDE, ProgramFlow
from apxm.backends.protocol import BackendInfo
from apxm.errors import InternalError, JournalError, OperationError, UsageError
from apxm.lanes.blocking import watch_lanes
from apxm.lanes.files import OwnFiles
from apxm.lanes.grown import AnsweredOperations, Asked, Grown, Site
from apxm.lanes.interrupts import interrupts
from apxm.lanes.items import has_order_of_process
from apxm.lanes.lane import LANE, Hub, Lane
from apxm.lanes.places import site_of
from apxm.lanes.program_flows import CalledFlow, FlowCall, Guest, called_of, prints
from apxm.lanes.standing_in import standing_in
from apxm.operations.plain import plain
from apxm.operations.types import JSON, Value
from apxm.program.expressions import Literal
from apxm.program.nodes import Compute, Exit, Operate
from apxm.program.program import Flow
from apxm.runtime.attempts import Attempts
from apxm.runtime.calls import Calls
from apxm.runtime.frames import Frame
from apxm.runtime.handlers.inline import InlineOperation
from apxm.runtime.handlers.model import ModelCall
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.inner_loops import within
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import RankedClock, VirtualLoop, clock_of, enter
from apxm.runtime.options import RunOptions
from apxm.runtime.progress import refuse_unknown_prices, unknown_price
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Failure, Status, Trace
from apxm.runtime.waiting import Call, Provider, WaitingOperation
from apxm.runtime.watch import WATCH
from apxm.tools.toolbox import NO_TOOLS, Toolbox

if TYPE_CHECKING:
    from apxm.runtime.recording import Recorder  # loads SQLite, which only a journaled run needs

T = TypeVar("T")


RUN: ContextVar[LaneRun] = ContextVar("apxm run")
"""The run that the lane here is of."""


watch_lanes()
_MOST_TOLD = 3
"""The most places of a run that are told of because they let nobody else go on."""


class LaneRun(Run):
    """One run of one Python flow."""

    _state: AnsweredOperations

    def __init__(
        self,
        grown: Grown,
        main: Callable[[], object],
        pool: BackendPool,
        options: RunOptions | None = None,
        tools: Toolbox = NO_TOOLS,
    ) -> None:
        """`main` is the flow with its arguments."""
        self._grown = grown
        self._pool = pool
        self._main = main
        self._operations: list[WaitingOperation | None] = []
        """What each node of the program does."""
        self.run_id = ""
        """The id of the run, where it has one."""
        self.value: object = None
        """What the flow returned."""
        self.raised: BaseException | None = None
        """What the flow raised by itself."""
        self.ended_in_order = False
        """Whether it came to its own end, though perhaps it heard of an interrupt on its way."""
        self._is_interrupted = False
        self._root: Lane | None = None
        """The flow's own lane, once it has begun."""
        self._told: set[str] = set()
        """The places of which it was told that they block."""
        self._warned: set[str] = set()
        """What was said of loops over `each`."""
        self.late_journal: Callable[[], Recorder | None] | None = None
        """Opens the journal of a run that has one as soon as it asks somebody who is not simulated."""
        self._done_before: list[tuple[str, Value, str, Value]] = []
        """The steps that were done before it was opened, as it keeps them."""
        self.simulates = False
        """Whether its user asked for a simulated backend: then that answers the calls of SDKs, too."""
        self._is_passed_by = False
        """Whether its user was told that other threads call models."""
        self._paused: set[Lane] = set()
        """The lanes that wait until they are stirred."""
        self.toolbox = tools
        self.tools_by_name: dict[str, Any] = {}
        """The configured tools that a model has been offered."""
        self.before_writing: Callable[[], None] | None = None
        """Called before something is written to standard output."""
        self.line_is_open = False
        """Whether what was written there last is no whole line."""
        self._guests: dict[int, Guest] = {}
        """The programs of AIS of which it calls flows, by `id`."""
        told = dataclasses.replace(options or RunOptions(), files=OwnFiles())
        if told.limits_cost and pool.info.model not in pool.backends[pool.default].limits.prices:
            raise unknown_price(pool.info.name, pool.info.model)  # whom else it asks is known when it does
        super().__init__(LoadedProgram(grown.program), grown.flow, (), pool, told, tools)

    async def execute(self, recorder: Recorder | None = None) -> Trace:
        with standing_in(sleep, select) as self._write_out, interrupts(self._hear_interrupt):
            return await super().execute(recorder)

    def _hear_interrupt(self) -> None:
        self._is_interrupted = True

    async def _until_finished(self) -> None:
        try:
            await super()._until_finished()
        except asyncio.CancelledError:
            if not self._is_interrupted:
                raise
            self._end()
            if not self.ended_in_order:
                raise
            task = asyncio.current_task()  # it has heard of Ctrl-C, and came to an end of its own
            assert task is not None
            task.uncancel()

    def _new_state(self, program: LoadedProgram) -> AnsweredOperations:
        return AnsweredOperations(program, self._answered)

    def _how_begun(self, clock: RankedClock, attempts: Attempts) -> Callable[[Call], None]:
        plain = self._sent(clock, attempts.begin)
        special = self._named(self._streamed(clock, plain))
        if self._tail is not None:
            return special

        def begin(call: Call) -> None:  # nobody knows yet whom the run will ask, and how
            provider = call.provider
            if provider.by_operation or provider.first_timeout_ns or call.operation.first_timeout_ns:
                special(call)
            else:
                plain(call)

        return begin

    @property
    def _runs_foreign_code(self) -> bool:
        return True  # nobody knows yet whom it will ask

    def _begin(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = clock_of(self._loop, self._abort)
        self._frame = self._state.start(0, ())
        self.hub = Hub(
            self._write,
            self._join,
            self._give_up,
            self._abort,
            lambda: self._state.stopped,
            self._held_up,
            self._in_flight,
            self._warn_once,
        )
        self._root = Lane(self.hub, self._run_main)
        self.hub.ready.append((self._root, None))
        enter(self._take_all, self._abort)

    def _in_flight(self) -> bool:
        return self._calls is not None and self._calls.unfinished > 0

    def _held_up(self, place: str, duration: int, where: str) -> None:
        """Code of a lane has let nobody else go on for so many ns."""
        if place in self._told or len(self._told) == _MOST_TOLD:
            return
        self._told.add(place)
        self._warn(
            f"{place} let nothing else go on for at least {duration // 1_000_000} ms (at {where}); "
            "apxm.thread(function, …) is the place for code that blocks"
        )

    def goes_through(self, items: object, place: str) -> None:
        """Warns where an `each` goes through what has another order in the process that would go on with this run."""
        if self._recorder is not None and has_order_of_process(items):
            self._warn_once(
                f"{place} goes through a set, whose order is another one in each process: going on, the run takes "
                "another way; each(sorted(…)) has one order"
            )

    def goes_plainly(self, place: str) -> None:
        """Warns of an `each` in code that lanes cannot run."""
        self._warn_once(
            f"{place} goes through its items one after the other: lanes run functions under `def` whose source is in a "
            "file, or in a cell of a notebook"
        )

    def _warn_once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self._warn(text)

    def passed_by(self, where: str) -> None:
        """A thread that is no lane of this run, though of its program, calls a model at `where`. Raises `UsageError`
        where all calls of the run are simulated: this one would be paid."""
        if self.simulates:
            raise UsageError(
                "a thread of the program's own calls a model, which cannot be simulated there",
                where=where,
                hint="what lanes ask can: let `apxm.each` overlap the calls, instead of threads",
            )
        if not self._is_passed_by:
            self._is_passed_by = True
            text = (
                f"{where}: a thread of the program's own calls a model past the run: its limits, journal and numbers "
                "know nothing of that; apxm.each overlaps calls in the run"
            )
            with suppress(RuntimeError):  # the run's loop is closed: nobody listens any more
                self._loop.call_soon_threadsafe(self._warn, text)

    def _run_main(self, lane: Lane) -> None:
        RUN.set(self)
        INSIDE.set(call_flow)
        try:
            self.value = self._main()
            self.ended_in_order = True
        except BaseException as error:
            self.ended_in_order = not isinstance(error, GreenletExit | KeyboardInterrupt)
            if not lane.cancelled or (self.ended_in_order and self._how_it_ends() is KeyboardInterrupt):
                self.raised = error  # else it is what ended it
        lane.left(self.raised)
        lane.over = True

    def _take_all(self) -> None:
        state, hub = self._state, self.hub
        while True:
            # Python's own operations only have an end here, which costs a tenth of what taking any operation does.
            while state.ready and not state.stopped and state.ready[0][0] is self._frame:
                self._answered(state.ready.popleft()[1])
            if state.ready:
                super()._take_all()
            hub.go()
            if not state.ready or state.stopped:
                return

    def _answered(self, node: int) -> None:
        """One of Python's own operations is over."""
        asked = self._state.asked.pop(node)
        asked.over = True
        asked.call = None  # what the lane raises has frames that lead here, and the collector looks at no calls
        del asked.lane.pending[node]
        if asked.awaited:
            self.hub.ready.append((asked.lane, None))
        elif asked.then is not None:
            asked.then()

    def pause(self, lane: Lane) -> None:
        """Lets others go on until somebody stirs the lane; there may be no reason for it."""
        self._paused.add(lane)
        try:
            self._wait(lane)
        finally:
            self._paused.discard(lane)

    def stir(self, lane: Lane) -> None:
        """Lets a lane go on that has paused, as soon as the loop gets to it; any other is left as it is."""
        if lane in self._paused:
            self._paused.discard(lane)
            self._loop.call_soon(self._wake, lane)

    def select(self, lane: Lane, file: int, seconds: float | None) -> None:
        """Lets others go on until a file can be read, or so many seconds are over, or the lane is stirred."""
        stir = partial(self.stir, lane)
        timer = None if seconds is None else self._loop.call_later(seconds, stir)
        self._loop.add_reader(file, stir)
        try:
            self.pause(lane)
        finally:
            self._loop.remove_reader(file)
            if timer is not None:
                timer.cancel()

    @property
    def on_real_time(self) -> bool:
        return not isinstance(self._loop, VirtualLoop)

    def sleep(self, lane: Lane, seconds: float) -> None:
        """Lets others go on for so many seconds. Raises what `time.sleep` does."""
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        timer = self._clock.call_at(self._now() + round(seconds * 1e9), lambda: self._wake(lane))
        try:
            self._wait(lane)
        except BaseException:
            timer.cancel()
            raise

    def thread(self, lane: Lane, function: Callable[[], T]) -> T:
        """Calls a function in a thread, and lets others go on meanwhile."""
        context = _outside()
        return self._done(lane, self._loop.run_in_executor(None, lambda: context.run(function)))

    def awaited(self, lane: Lane, running: Coroutine[Any, Any, T]) -> T:
        """What a coroutine gives that runs in the event loop, where others go on meanwhile."""
        task = self._loop.create_task(running, context=_outside())
        try:
            return self._done(lane, task)
        finally:
            task.cancel()

    def _done(self, lane: Lane, future: asyncio.Future[T]) -> T:
        """What a future comes to, while others go on."""

        def done(future: asyncio.Future[T]) -> None:
            if not lane.over and not self._state.stopped:
                self._wake(lane)
            elif not future.cancelled():
                future.exception()  # nobody wants to hear of it any more

        future.add_done_callback(done)
        self._wait(lane)
        return future.result()

    def step(self, lane: Lane, name: str, function: Callable[[], T], given: Value, site: Site, effect: bool) -> T:
        """What a function gives that is called once in all processes which carry this run; where it has an `effect`
        outside, the journal knows that it began before it does."""
        recorder = self._recorder
        if recorder is None and self.late_journal is None:
            return function()
        path = self._path(lane, site)
        if recorder is not None:
            found = self._kept(path, site, lambda: recorder.recorded(path, given, name, None))
            if found is not None:
                self._unasked += 1
                self.trace.reused += 1
                return cast(T, found.value)
            if effect:
                recorder.begun(path, given, name, lambda: self._wake(lane))
                self._wait(lane)
        around, lane.step = lane.step, path
        try:
            value = function()
        finally:
            lane.step = around
        done = path, given, name, plain(value, JSON, f"what {name} returns")
        self._unasked += 1
        if self._recorder is None:
            self._done_before.append(done)
        else:
            self._recorder.kept(*done)
        return value

    def _open_journal(self) -> None:
        """Somebody real is to be asked: from here on the run is journaled."""
        opened, self.late_journal = self.late_journal, None
        recorder = None if opened is None else opened()
        if recorder is None:
            return
        assert self._calls is not None
        self._recorder = self._calls.recorder = recorder
        recorder.start(self._journal_failed, self._abort)
        for done in self._done_before:
            recorder.kept(*done)

    def _place_of(self, site: Site) -> str:
        return f"{self._grown.program.names.file}:{site.line}"

    def _path(self, lane: Lane, site: Site) -> str:
        """The path of what a lane does next at a place."""
        count = lane.counted(site.path)
        return site.path if count == 1 else f"{site.path}#{count}"

    def _kept(self, path: str, site: Site, find: Callable[[], T | None]) -> T | None:
        """What an earlier process has left at a path. Raises `JournalError` where that is of something else."""
        try:
            return find()
        except JournalError as other:
            raise JournalError(
                f"the program took another way at {path}: the journal has an answer to another request",
                where=self._place_of(site),
                hint="run it with the arguments that it had, or as it is now: as_changed=True, for a script "
                "--as-changed, keeps every answer to a request that is the same",
            ) from other

    def _wait(self, lane: Lane) -> None:
        """Parks a lane that waits for something else than a call, until it is woken."""
        self.hub.outside += 1
        try:
            lane.park()
        finally:
            self.hub.outside -= 1

    def _wake(self, lane: Lane) -> None:
        calls = self._calls
        assert calls is not None
        if lane.over or self._state.stopped:
            return
        self.hub.ready.append((lane, None))
        enter(self._take_all, self._abort)
        enter(calls.proceed, self._abort)

    def _abort(self, error: BaseException) -> None:
        within(self._loop, super()._abort, error)

    def _rest(self) -> None:
        calls = self._calls
        assert calls is not None
        assert self._root is not None
        if self._root.over and not calls.unfinished and not self._state.stopped:
            if not self._finished.done():
                self._finished.set_result(None)
        elif self._state.stopped or calls.unfinished:
            super()._rest()
        elif not self.hub.outside:
            raise InternalError("nothing is in flight, yet some lanes wait")

    def _end(self) -> None:
        self._state.stopped = True
        if self._root is not None and not self._root.over:
            if WATCH.asleep:
                WATCH.wake()
            enter(partial(self._root.cancel, self._how_it_ends()), self._abort)

    def _how_it_ends(self) -> type[BaseException]:
        """What is raised where a run that ends early stands."""
        return KeyboardInterrupt if self._is_interrupted else GreenletExit

    @property
    def backends(self) -> list[BackendInfo]:
        """The default one, which most calls go to, and those that were asked."""
        return list(dict.fromkeys([self._pool.info, *super().backends]))

    # --- what lanes ask --------------------------------------------------------------------------------------------

    def ask(self, lane: Lane, operation: WaitingOperation, values: list[Value], name: str, site: Site) -> Asked:
        """Makes a call of a lane: `operation`, which the user knows as `name`, of `values`. Raises `OperationError`
        where it cannot be asked, `ConfigurationError` where there is nobody to ask, and `JournalError` where an earlier
        process asked something else there."""
        if lane.cancelled:
            raise GreenletExit
        return within(self._loop, self._ask, lane, operation, values, name, site)

    def _ask(self, lane: Lane, operation: WaitingOperation, values: list[Value], name: str, site: Site) -> Asked:
        try:
            provider = self._provider_of(operation)
        except UsageError as error:
            error.where = error.where or self._place_of(site)
            raise
        if operation.has_content:
            place = self._place_of(site)
            for flaw in operation.content_flaws(provider, self.files, place, ()):
                raise flaw
        request = operation.request(values, provider.form)
        lane.come_next()
        lane.leave_head()
        operate = Operate(operation=name, after=lane.before, requires=lane.turns)
        node = self._grown.add(operate, self._path(lane, site), site.line)
        self._operations.append(operation)
        asked = self._state.asked[node] = lane.pending[node] = Asked(lane, node)
        if self._recorder is None or not self._answered_before(self._recorder, node, provider, request, site):
            now = self._now()
            asked.call = Call(
                self._attempt_ended, self._frame, node, operation, provider, request, now, now, False, now, 0, 0
            )
            assert self._calls is not None
            self._calls.add(asked.call)
        return asked

    def _answered_before(self, recorder: Recorder, node: int, provider: Provider, request: object, site: Site) -> bool:
        try:
            found = self._kept(
                self.trace.path_of(0, node),
                site,
                lambda: self._recorded(recorder, self._frame, node, provider, request),
            )
        except JournalError:
            self._state.asked.pop(node)
            raise
        return bool(found)

    def answer(self, asked: Asked) -> Value:
        """Waits for the answer of a call, in its lane. Raises what the call came to."""
        lane = asked.lane
        if not asked.over:
            asked.awaited = True
            lane.park()
        return self.taken(asked)

    def taken(self, asked: Asked) -> Value:
        """The answer of a call that is over. Raises what the call came to."""
        asked.lane.ended += (asked.node,)
        if asked.error is not None:
            raise asked.error
        return asked.value

    def drop(self, asked: Asked) -> None:
        """Nobody wants an answer any more."""
        self._state.asked.pop(asked.node, None)
        asked.lane.pending.pop(asked.node, None)
        assert self._calls is not None
        if asked.call is not None:
            within(self._loop, self._calls.give_up, asked.call)
        if asked.flow is not None:
            frames = set(map(id, asked.flow.drop()))
            for call in self._calls.pending:
                if id(call.frame) in frames:
                    within(self._loop, self._calls.give_up, call)

    def _provider_of(self, operation: WaitingOperation) -> Provider:
        provider = self._providers.get(operation.provider)
        if provider is None:
            if isinstance(operation, ModelCall) and operation.backend is not None:
                self._stand_in(operation.backend)
            provider = operation.bind(self._binding)
            self._bound(operation, provider)
        return provider

    def _stand_in(self, name: str) -> None:
        """A call names a backend, for which a simulated one may stand in. Raises `ConfigurationError`."""
        self._pool.refuse_unheard_of(name)
        if self._pool.is_unheard_of(name):
            self._warn(f"backend {name!r} is configured nowhere; backend {self._pool.info.name} answers for it")

    def _bound(self, operation: WaitingOperation, provider: Provider) -> None:
        """Somebody is to be asked. Raises `UsageError` where that cannot be."""
        assert self._calls is not None
        self._refuse(operation, provider)
        if self.late_journal is not None and provider.info is not None and not provider.info.simulated:
            self._open_journal()
        self._providers[operation.provider] = provider
        self._calls.limited |= provider.gate is not None and provider.gate.limited

    # --- flows of AIS ----------------------------------------------------------------------------------------------

    def call(self, lane: Lane, called: ProgramFlow, arguments: Sequence[Value], site: Site) -> Value:
        """Calls a flow of AIS, and waits for it in the lane. Raises what keeps it from being called, and the
        `OperationError` that it came to."""
        guest = self._hosted(called)
        if not guest.is_linked(called.flow):
            self.awaited(lane, guest.link(called.flow, arguments))
            for key, provider in guest.providers.items():
                self._bound(guest.operation(key), provider)
        if guest.acts(called.flow):
            lane.take_turn()
        asked = self._begin_flow(lane, guest, called.flow, arguments, site)
        try:
            return self.answer(asked)
        finally:
            flow = called.flow
            if asked.over and self._grown.program.plans[guest.first + flow.plan].outputs:
                self._operations.append(None)
                left = self._grown.add(Exit(opener=asked.node, port=0))
                lane.ended = (*lane.ended[:-1], left)

    def _hosted(self, called: ProgramFlow) -> Guest:
        guest = self._guests.get(id(called.program))
        if guest is None:
            tools = self.toolbox.but(called.tools) if called.tools else self.toolbox
            guest = Guest(called.program, len(self._state.plans), self._binding, tools)
            self._guests[id(called.program)] = guest
            self._grown.host(guest)
            self.trace.program = self._grown.program
            self._state.host(self._grown.program, guest)
            self._handlers = (*self._handlers, *guest.handlers)
        return guest

    def _begin_flow(self, lane: Lane, guest: Guest, flow: Flow, arguments: Sequence[Value], site: Site) -> Asked:
        if lane.cancelled:
            raise GreenletExit
        lane.come_next()
        lane.leave_head()
        guest.files.give(arguments)
        plan = guest.first + flow.plan
        called_flow = FlowCall(plan=plan, after=lane.before, requires=lane.turns)
        node = self._grown.add(called_flow, self._path(lane, site), site.line)
        self._operations.append(None)
        asked = self._state.asked[node] = lane.pending[node] = Asked(lane, node)
        asked.flow = CalledFlow(self._state, node, flow, lambda line: lane.write(f"{line}\n"), self.trace.place_of)
        asked.flow.begin(self._frame, self._state.plans[plan], arguments)
        return asked

    def _recorded(self, recorder: Recorder, frame: Frame, node: int, provider: Provider, request: object) -> bool:
        if frame.parent is None:
            return super()._recorded(recorder, frame, node, provider, request)
        path = self.trace.path_of(frame.index, node)
        site = Site(path, self.trace.position_of(0, called_of(frame).node)[0])
        recorded = super()._recorded
        return bool(self._kept(path, site, lambda: recorded(recorder, frame, node, provider, request)))

    def _run_clocked(self, frame: Frame, node: int, operation: InlineOperation) -> None:
        """What prints comes here, of flows of AIS: its lane writes it, at its turn."""
        self._state.ran_inline += prints(frame.plan.nodes[node])
        value = operation.apply(operation.collect(frame.values), called_of(frame).write)
        self._state.succeed(frame, node, value)

    def _give_up(self, lane: Lane) -> None:
        for asked in list(lane.pending.values()):
            assert isinstance(asked, Asked)
            self.drop(asked)

    def _join(self, operations: tuple[int, ...]) -> int:
        self._operations.append(None)
        return self._grown.add(Compute(after=operations, value=Literal(None)))

    def _refuse(self, operation: WaitingOperation, provider: Provider) -> None:
        """Raises `UsageError` where this run cannot ask the provider."""
        if isinstance(self._loop, VirtualLoop) and not provider.virtual:
            raise UsageError(f"{provider.title} answers in real time, which a run on virtual time cannot see")
        if self._options.limits_cost:
            refuse_unknown_prices([(operation, provider)])

    def who(self, frame: int, node: int) -> tuple[WaitingOperation, Provider]:
        plan = self.trace.frames[frame].plan
        operation = self._handlers[plan][node] if plan else self._operations[node]
        assert isinstance(operation, WaitingOperation)
        return operation, self._providers[operation.provider]

    def _uses(self) -> Iterator[tuple[WaitingOperation, Provider]]:
        own = (operation for operation in self._operations if operation is not None)
        for operation in (*own, *(each for guest in self._guests.values() for each in guest.operations)):
            if operation.provider in self._providers:
                yield operation, self._providers[operation.provider]

    # --- what it leaves --------------------------------------------------------------------------------------------

    def part(self, lane: Lane, name: str, main: Callable[[], object]) -> Trace:
        """Calls `main`, the flow called `name`, in a lane of this run, and gives what there is to see of that alone.
        Raises what it raises."""
        whole, first, reused = self.trace, len(self._grown.nodes), self.trace.reused
        flow = replace(self._grown.flow, name=name)
        trace = Trace(whole.program, flow, started=self._now(), frames=whole.frames)
        done = len(whole.raw)
        trace.value = cast(Value, main())
        trace.ended = self._now()
        trace.program = self._grown.frozen()
        inside = lane.path_prefix
        made = ((raw, self._node_of(raw[0], raw[1])) for raw in whole.raw[done:])
        trace.raw = [raw for raw, node in made if node >= first and self._grown.names[node].path.startswith(inside)]
        trace.reused = whole.reused - reused
        trace.executed = len(trace.raw) + trace.reused
        trace.max_in_flight = _most_at_once([(raw[8], raw[9]) for raw in trace.raw])
        return trace

    def _node_of(self, frame: int, node: int) -> int:
        """Python's own operation that a node is, or is part of."""
        while frame:
            record = self.trace.frames[frame]
            frame, node = record.parent, record.opener
        return node

    def _write(self, text: str) -> None:
        if self.before_writing is not None:
            self.before_writing()
        if text:
            self.line_is_open = not text.endswith("\n")
        self._write_out(text)

    def _conclude(self, calls: Calls) -> None:
        self._grown.freeze()
        self.trace.program = self._grown.program
        super()._conclude(calls)
        self.trace.value = cast(Value, self.value)  # whatever it is: nobody writes it out
        if self.raised is not None and self._ending is None:
            self.trace.status = Status.FAILED
            self.trace.failures = [failure_of(self.raised)]


def _outside() -> Context:
    """The context here, for what is no part of a lane."""
    context = copy_context()
    context.run(LANE.set, None)
    context.run(INSIDE.set, None)
    return context


def call_flow(called: ProgramFlow, arguments: Sequence[Value]) -> Value:
    """Calls a flow of AIS from the lane here."""
    lane = LANE.get()
    assert lane is not None
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage] - who calls it
    return RUN.get().call(lane, called, arguments, site_of(lane, frame))


def sleep(seconds: float) -> None:
    """Parks the lane here for so many seconds."""
    lane = LANE.get()
    assert lane is not None
    RUN.get().sleep(lane, seconds)


def select(file: int, seconds: float | None) -> bool:
    """Parks the lane here until a file can be read or so many seconds are over; false where it cannot wait so."""
    lane = LANE.get()
    run = RUN.get()
    if lane is None or lane.cancelled or getcurrent() is not lane.greenlet or not run.on_real_time:
        return False
    run.select(lane, file, seconds)
    return True


def _most_at_once(spans: Sequence[tuple[int, int]]) -> int:
    """How many of some spans of time lay over each other at most; one that ends when another begins does not."""
    most = now = 0
    for _, change in sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans]):
        now += change
        most = max(most, now)
    return most


def failure_of(raised: BaseException) -> Failure:
    """What a flow raised, as a failure of its run: its place is the user's own line that it came from."""
    kind = raised.kind if isinstance(raised, OperationError) else type(raised).__name__
    places = [(frame.f_code.co_name, frame.f_code.co_filename, line) for frame, line in walk_tb(raised.__traceback__)]
    name, file, line = places[-1] if places else ("", "", 0)
    return Failure(f"{name}:{line}", f"{file}:{line}", kind, str(raised))
