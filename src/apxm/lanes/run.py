"""A run of a Python flow: lanes on the scheduler's own calls, recorded as a program that grows."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextvars import Context, ContextVar, copy_context
from functools import partial
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from greenlet import GreenletExit
from msgspec.structs import replace

from apxm.backends.protocol import BackendInfo
from apxm.errors import InternalError, JournalError, OperationError, UsageError
from apxm.lanes.files import OwnFiles
from apxm.lanes.lane import LANE, Hub, Lane
from apxm.lanes.standing_in import standing_in
from apxm.operations.plain import plain
from apxm.operations.types import JSON, Value
from apxm.program.expressions import Literal
from apxm.program.nodes import Compute, Operate
from apxm.program.program import Flow, Kind, Names, NodeName, Plan, PlanNames, Program
from apxm.runtime.calls import Calls
from apxm.runtime.frames import Frame
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import VirtualLoop, clock_of, enter
from apxm.runtime.options import RunOptions
from apxm.runtime.progress import refuse_unknown_prices
from apxm.runtime.scheduler import Run
from apxm.runtime.state import State
from apxm.runtime.trace import Failure, Status, Trace
from apxm.runtime.waiting import Call, Provider, WaitingOperation
from apxm.tools.toolbox import NO_TOOLS, Toolbox

if TYPE_CHECKING:
    from apxm.runtime.recording import Recorder  # loads SQLite, which only a journaled run needs

T = TypeVar("T")


class Grown:
    """The program that a run of Python comes to: one plan, to which each operation is added as it begins, behind the
    operations that the sequential program would have waited for."""

    def __init__(self, name: str, file: str, kind: Kind = "flow") -> None:
        self.nodes: list[Operate | Compute] = []
        self.names: list[NodeName] = []
        # Plans hold tuples, which cannot grow. Whoever reads them meanwhile only looks nodes up.
        plan = Plan(nodes=cast("tuple[Operate, ...]", self.nodes), inputs=0, outputs=(), values=0)
        names = PlanNames(path=name, nodes=cast("tuple[NodeName, ...]", self.names), order_edges=())
        self.flow = Flow(agent="", name=name, parameters=(), result=None, plan=0)
        self.program = Program(
            plans=(plan,), flows=(self.flow,), entry=0, optimization_level=0, names=Names(file=file, plans=(names,))
        )
        self.program.came_from(file, kind)

    def freeze(self) -> None:
        """The run is over, and nothing more is added."""
        self.program = self.frozen()

    def frozen(self) -> Program:
        """The program as it is now."""
        (plan,), (names,) = self.program.plans, self.program.names.plans
        plans = (replace(plan, nodes=tuple(self.nodes)),)
        named = replace(self.program.names, plans=(replace(names, nodes=tuple(self.names)),))
        return replace(self.program, plans=plans, names=named)

    def add(self, node: Operate | Compute, path: str = "", line: int = 0) -> int:
        """Adds a node, and gives its number."""
        self.nodes.append(node)
        self.names.append(NodeName(path=path, line=line, column=1 if line else 0))
        return len(self.nodes) - 1


class Site(NamedTuple):
    """Where a call stands."""

    path: str
    """That of its lane, and its place, such as ``label:9[17]``."""
    line: int


class Asked:
    """A call that a lane has made, and what came of it."""

    __slots__ = ("awaited", "call", "error", "lane", "made", "node", "over", "value")

    def __init__(self, lane: Lane, node: int) -> None:
        self.lane = lane
        self.node = node
        self.call: Call | None = None
        """None where an earlier process made it."""
        self.made: Callable[[Value], Any] | None = None
        """Makes of the answer what the code wants; None where that is the answer."""
        self.awaited = False
        self.over = False
        self.value: Value = None
        self.error: OperationError | None = None


class AnsweredOperations(State):
    """What `Calls` tells of its answers: `ready` has the operations that are over, and whose lanes may go on."""

    def __init__(self, program: LoadedProgram) -> None:
        super().__init__(program.program, program.plans)
        self.asked: dict[int, Asked] = {}
        """The calls that are under way, by their nodes."""

    def start(self, plan: int, arguments: Sequence[Value]) -> Frame:
        """Makes the one frame that there is."""
        frame = super().start(plan, arguments)
        self.open_frames = 0
        return frame

    def succeed(self, frame: Frame, node: int, value: Value) -> None:
        self.asked[node].value = value
        self.ready.append((frame, node))

    def broke(self, frame: Frame, node: int, error: OperationError) -> None:
        self.failed += 1
        self.asked[node].error = error
        self.ready.append((frame, node))


RUN: ContextVar[LaneRun] = ContextVar("apxm run")
"""The run that the lane here is of."""


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
        *,
        as_changed: bool = False,
    ) -> None:
        """`main` is the flow with its arguments; where an earlier process asked something else than it does, it goes on
        with calls of its own if `as_changed`."""
        self._grown = grown
        self._as_changed = as_changed
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
        self._root: Lane | None = None
        """The flow's own lane, once it has begun."""
        self.toolbox = tools
        self.tools_by_name: dict[str, Any] = {}
        """The configured tools that a model has been offered."""
        told = dataclasses.replace(options or RunOptions(), files=OwnFiles())
        super().__init__(LoadedProgram(grown.program), grown.flow, (), pool, told, tools)

    async def execute(self, recorder: Recorder | None = None) -> Trace:
        with standing_in(sleep) as self._write_out:
            return await super().execute(recorder)

    def _new_state(self, program: LoadedProgram) -> AnsweredOperations:
        return AnsweredOperations(program)

    def _by_operation(self, begin: Callable[[Call], None]) -> Callable[[Call], None]:
        return self._named(begin)  # nobody knows yet whom it will ask

    def _begin(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = clock_of(self._loop, self._abort)
        self._frame = self._state.start(0, ())
        self.hub = Hub(self._write, self._join, self._give_up, self._abort, lambda: self._state.stopped)
        self._root = Lane(self.hub, self._run_main)
        self.hub.ready.append((self._root, None))
        enter(self._take_all, self._abort)

    def _run_main(self, lane: Lane) -> None:
        RUN.set(self)
        try:
            self.value = self._main()
        except BaseException as error:
            if not lane.cancelled:  # else it is what ended it
                self.raised = error
        lane.left(self.raised)
        lane.over = True

    def _take_all(self) -> None:
        state, hub = self._state, self.hub
        while True:
            while state.ready and not state.stopped:
                asked = state.asked.pop(state.ready.popleft()[1])
                asked.over = True
                del asked.lane.pending[asked.node]
                if asked.awaited:
                    hub.ready.append((asked.lane, None))
            hub.go()
            if not state.ready or state.stopped:
                return

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
        if recorder is None:
            return function()
        path = self._path(lane, site)
        found = self._kept(path, site, lambda: recorder.recorded(path, given, name, None))
        if found is not None:
            self.trace.reused += 1
            return cast(T, found.value)
        if effect:
            recorder.begun(path, given, name, lambda: self._wake(lane))
            self._wait(lane)
        value = function()
        recorder.kept(path, given, name, plain(value, JSON, f"what {name} returns"))
        return value

    def _path(self, lane: Lane, site: Site) -> str:
        """The path of what a lane does next at a place."""
        count = lane.counted(site.path)
        return site.path if count == 1 else f"{site.path}#{count}"

    def _kept(self, path: str, site: Site, find: Callable[[], T | None]) -> T | None:
        """What an earlier process has left at a path. Raises `JournalError` where that is of something else."""
        try:
            return find()
        except JournalError as other:
            if self._as_changed:
                return None
            raise JournalError(
                f"the program took another way at {path}: the journal has an answer to another request",
                where=f"{self._grown.program.names.file}:{site.line}",
                hint="run it with the arguments that it had, or go on with new calls from there: as_changed=True",
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
            enter(partial(self._root.cancel, self._how_it_ends()), self._abort)

    def _how_it_ends(self) -> type[BaseException]:
        """What is raised where a run that ends early stands."""
        return GreenletExit

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
        provider = self._provider_of(operation)
        if operation.has_content:
            place = f"{self._grown.program.names.file}:{site.line}"
            for flaw in operation.content_flaws(provider, self.files, place, ()):
                raise flaw
        request = operation.request(values, provider.form)
        if lane.ended:
            lane.before, lane.ended = lane.ended, ()
        lane.in_head = False
        node = self._grown.add(Operate(operation=name, after=lane.before), self._path(lane, site), site.line)
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
        lane.ended += (asked.node,)
        if asked.error is not None:
            raise asked.error
        return asked.value

    def drop(self, asked: Asked) -> None:
        """Nobody wants an answer any more."""
        self._state.asked.pop(asked.node, None)
        asked.lane.pending.pop(asked.node, None)
        if asked.call is not None:
            assert self._calls is not None
            self._calls.give_up(asked.call)

    def _provider_of(self, operation: WaitingOperation) -> Provider:
        provider = self._providers.get(operation.provider)
        if provider is None:
            provider = operation.bind(self._binding)
            assert self._calls is not None
            self._refuse(operation, provider)
            self._providers[operation.provider] = provider
            self._calls.limited |= provider.gate is not None and provider.gate.limited
        return provider

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
        if self._options.max_cost is not None:
            refuse_unknown_prices([(operation, provider)])

    def _who(self, frame: int, node: int) -> tuple[WaitingOperation, Provider]:
        del frame  # there is one
        operation = self._operations[node]
        assert operation is not None
        return operation, self._providers[operation.provider]

    def _uses(self) -> Iterator[tuple[WaitingOperation, Provider]]:
        for operation in self._operations:
            if operation is not None:
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
        trace.raw = [
            raw for raw in whole.raw[done:] if raw[1] >= first and self._grown.names[raw[1]].path.startswith(inside)
        ]
        trace.reused = whole.reused - reused
        trace.executed = len(trace.raw) + trace.reused
        trace.max_in_flight = _most_at_once([(raw[8], raw[9]) for raw in trace.raw])
        return trace

    def _write(self, text: str) -> None:
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
    return context


def sleep(seconds: float) -> None:
    """Parks the lane here for so many seconds."""
    lane = LANE.get()
    assert lane is not None
    RUN.get().sleep(lane, seconds)


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
